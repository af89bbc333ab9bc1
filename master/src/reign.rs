//! What a master knows only while it leads: streams of workers, running queries, live progress. Edge.
//!
//! It ends with the leadership: every stream of it is closed, so that workers, drivers and clients look for the next
//! leader, and nothing that a deposed leader started or heard can be taken for news of a later one.

use std::sync::Arc;

use lake_master_core::Timeouts;
use lake_metrics::Tally;
use lake_scheduler::{Scheduler, SchedulerSettings};
use tokio_util::sync::CancellationToken;

use crate::liveness::Fleet;
use crate::progress::Progress;

/// Shared by reference; every part guards itself.
pub(crate) struct Reign {
    pub(crate) scheduler: Scheduler,
    pub(crate) fleet: Fleet,
    pub(crate) progress: Progress,
    /// Ends every stream and loop of this reign; also when the master stops.
    pub(crate) stop: CancellationToken,
}

impl Reign {
    pub(crate) fn new(stop: CancellationToken, tally: Arc<Tally>) -> Self {
        Self {
            scheduler: Scheduler::start(SchedulerSettings { tally, ..SchedulerSettings::default() }),
            fleet: Fleet::new(Timeouts::default()),
            progress: Progress::new(),
            stop,
        }
    }

    /// Closes the streams, then ends the queries.
    pub(crate) async fn end(&self) {
        self.stop.cancel();
        self.scheduler.shutdown().await;
    }
}
