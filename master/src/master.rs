//! What the services, the pages and the leader loop share. Edge.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use lake_master_core::view::{self, ApplicationView, Before, Live};
use lake_master_core::{Application, QueueBound};
use lake_metrics::Tally;
use lake_pages::Setting;
use lake_proto::{AppId, Fault};
use lake_raft::Raft;
use lake_scheduler::QueryOverview;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::confirmation::Confirmation;
use crate::history::History;
use crate::records::Fresh;
use crate::reign::Reign;
use crate::web::MOST_LISTENERS;

/// Applications that are shown before commands get their turn again.
const SHOWN_AT_ONCE: usize = 500;

/// Ports that are bound.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) grpc: u16,
    /// Of the pages.
    pub(crate) http: u16,
}

/// Shared by reference; every part guards itself.
pub(crate) struct Master {
    pub(crate) raft: Raft,
    /// This master's number in its group.
    pub(crate) id: u64,
    confirmation: Confirmation,
    reign: watch::Sender<Arc<Reign>>,
    /// Ends every stream and loop.
    pub(crate) stop: CancellationToken,
    /// Every task that lives longer than a request.
    pub(crate) tasks: TaskTracker,
    pub(crate) ports: Ports,
    /// What this master asks for when it proposes a submission.
    pub(crate) queue: QueueBound,
    /// Host in URLs given to drivers; `None` when it is bound to every address.
    pub(crate) reachable_host: Option<String>,
    pub(crate) history: History,
    pub(crate) fresh: Fresh,
    /// What it runs with.
    pub(crate) settings: Vec<Setting>,
    /// Places for pages that are told when something changes.
    pub(crate) listeners: Arc<Semaphore>,
    /// What was counted while it led, since the start.
    pub(crate) tally: Arc<Tally>,
    /// When it started.
    pub(crate) started: Instant,
}

impl Master {
    pub(crate) fn new(
        raft: Raft,
        id: u64,
        reachable_host: Option<String>,
        ports: Ports,
        queue: QueueBound,
        history: History,
        settings: Vec<Setting>,
    ) -> Arc<Self> {
        let stop = CancellationToken::new();
        let tally: Arc<Tally> = Arc::default();
        Arc::new(Self {
            raft,
            id,
            confirmation: Confirmation::new(),
            reign: watch::Sender::new(Arc::new(Reign::new(stop.child_token(), Arc::clone(&tally)))),
            stop,
            tasks: TaskTracker::new(),
            ports,
            queue,
            reachable_host,
            history,
            fresh: Fresh::default(),
            settings,
            listeners: Arc::new(Semaphore::new(MOST_LISTENERS)),
            tally,
            started: Instant::now(),
        })
    }

    /// The reign of now. It is empty on a master that does not lead; a call that may change something checks first.
    pub(crate) fn reign(&self) -> Arc<Reign> {
        Arc::clone(&self.reign.borrow())
    }

    /// Waits until a majority has confirmed, after this call, that this master leads.
    ///
    /// # Errors
    /// `unavailable` when it does not, or nobody can tell.
    pub(crate) async fn confirm(&self) -> Result<(), Fault> {
        self.confirmation.ask(&self.raft).await
    }

    /// Puts an empty reign in the place of the one that is over, and ends that.
    pub(crate) async fn end_reign(&self) {
        let next = Arc::new(Reign::new(self.stop.child_token(), self.tally.clone()));
        let over = self.reign.send_replace(next);
        over.end().await;
    }

    /// The reign of now, and those after it.
    pub(crate) fn reigns(&self) -> watch::Receiver<Arc<Reign>> {
        self.reign.subscribe()
    }

    /// Workers' momentary figures, and what runs on them.
    pub(crate) async fn live(&self) -> (Live, BTreeMap<AppId, Vec<QueryOverview>>) {
        let reign = self.reign();
        let overview = reign.scheduler.overview().await;
        let mut live = reign.fleet.live();
        for worker in overview.workers {
            if let Some(figures) = live.get_mut(&worker.worker) {
                figures.cores_used = worker.used;
            }
        }
        let mut queries: BTreeMap<AppId, Vec<QueryOverview>> = BTreeMap::new();
        for query in overview.queries {
            queries.entry(query.app.clone()).or_default().push(query);
        }
        (live, queries)
    }

    /// The newest applications that are `wanted` first; `limit` 0 = all.
    pub(crate) fn applications(&self, wanted: impl Fn(&Application) -> bool, limit: usize) -> Vec<ApplicationView> {
        let limit = if limit == 0 { usize::MAX } else { limit };
        let mut found = Vec::new();
        let mut next = Some(Before::NEWEST);
        while let Some(before) = next.filter(|_| found.len() < limit) {
            let at_once = SHOWN_AT_ONCE.min(limit - found.len());
            let (more, after) = self.raft.read(|state| view::newest(state, &wanted, before, at_once));
            found.extend(more);
            next = after;
        }
        found
    }
}
