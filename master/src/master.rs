//! What the services, the pages and the leader loop share. Edge.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lake_master_core::Timeouts;
use lake_master_core::view::Live;
use lake_proto::AppId;
use lake_scheduler::{QueryOverview, Scheduler, SchedulerSettings};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::liveness::Fleet;
use crate::progress::Progress;
use crate::raft::Raft;

/// Shared by reference; every part guards itself.
pub(crate) struct Master {
    pub(crate) raft: Raft,
    pub(crate) scheduler: Scheduler,
    pub(crate) fleet: Fleet,
    pub(crate) progress: Progress,
    /// Ends every stream and loop.
    pub(crate) stop: CancellationToken,
    /// Every task that lives longer than a request.
    pub(crate) tasks: TaskTracker,
    pub(crate) grpc_port: u16,
    /// Host in URLs given to drivers; `None` when it is bound to every address.
    pub(crate) reachable_host: Option<String>,
    /// Queries accepted since the start.
    pub(crate) queries_total: AtomicU64,
}

impl Master {
    pub(crate) fn new(raft: Raft, reachable_host: Option<String>, grpc_port: u16) -> Arc<Self> {
        Arc::new(Self {
            raft,
            scheduler: Scheduler::start(SchedulerSettings::default()),
            fleet: Fleet::new(Timeouts::default()),
            progress: Progress::new(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            grpc_port,
            reachable_host,
            queries_total: AtomicU64::new(0),
        })
    }

    /// Workers' momentary figures, and what runs on them.
    pub(crate) async fn live(&self) -> (Live, BTreeMap<AppId, Vec<QueryOverview>>) {
        let overview = self.scheduler.overview().await;
        let mut live = self.fleet.live();
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

    pub(crate) fn count_query(&self) {
        self.queries_total.fetch_add(1, Ordering::Relaxed);
    }
}
