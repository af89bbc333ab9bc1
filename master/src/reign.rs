//! What a master knows only while it leads: streams of workers, running queries, live progress. Edge.
//!
//! It ends with the leadership: every stream of it is closed, so that workers, drivers and clients look for the next
//! leader, and nothing that a deposed leader started or heard can be taken for news of a later one.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use lake_master_core::Timeouts;
use lake_metrics::Tally;
use lake_proto::AppId;
use lake_scheduler::{Scheduler, SchedulerSettings};
use tokio_util::sync::CancellationToken;

use crate::liveness::Fleet;
use crate::progress::Progress;
use crate::records::Pipelines;
use crate::utilisation::Samples;

/// Shared by reference; every part guards itself.
pub(crate) struct Reign {
    pub(crate) scheduler: Scheduler,
    pub(crate) fleet: Fleet,
    pub(crate) progress: Progress,
    pub(crate) pipelines: Pipelines,
    /// How the cluster was used while it lasts.
    pub(crate) samples: Samples,
    /// Applications that had a driver before it began.
    inherited: OnceLock<BTreeSet<AppId>>,
    /// Ends every stream and loop of this reign; also when the master stops.
    pub(crate) stop: CancellationToken,
}

impl Reign {
    pub(crate) fn new(stop: CancellationToken, tally: Arc<Tally>) -> Self {
        Self {
            scheduler: Scheduler::start(SchedulerSettings { tally, ..SchedulerSettings::default() }),
            fleet: Fleet::new(Timeouts::default()),
            progress: Progress::new(),
            pipelines: Pipelines::default(),
            samples: Samples::default(),
            inherited: OnceLock::new(),
            stop,
        }
    }

    /// Takes note, once, of the applications that had a driver before.
    pub(crate) fn inherit(&self, apps: BTreeSet<AppId>) {
        // A reign begins once.
        let _ = self.inherited.set(apps);
    }

    /// Whether something of this application may not be known here.
    pub(crate) fn has_inherited(&self, app: &AppId) -> bool {
        self.inherited.get().is_some_and(|apps| apps.contains(app))
    }

    /// Closes the streams, then ends the queries.
    pub(crate) async fn end(&self) {
        self.stop.cancel();
        self.scheduler.shutdown().await;
    }
}
