//! What can be set about scheduling. Pure.

use std::sync::Arc;
use std::time::Duration;

use lake_metrics::Tally;
use lake_scheduler_core::{Speculation, TASK_PAUSE};

/// Settings of the scheduler; the defaults are meant for production.
#[derive(Debug, Clone)]
pub struct SchedulerSettings {
    /// How long results that stayed on workers are kept for a driver that neither fetches them nor goes away.
    pub result_retention: Duration,
    /// How long queries wait while no worker takes tasks, before they fail as `unavailable`.
    pub worker_grace: Duration,
    /// How long a new leader keeps what workers hold and run of a query whose driver has not attached it yet, from the
    /// first report of it; then the workers are told to end and drop it, and all of it is run again. Longer than drivers
    /// look for a leader ([`lake_proto::MASTER_SEARCH`]) and then wait for the reports of the workers.
    pub attach_grace: Duration,
    /// What a task waits before its third attempt when what it needs is away, as [`lake_scheduler_core::TASK_PAUSE`].
    pub task_pause: Duration,
    /// Age below which an attempt that its worker does not report is not failed, however many heartbeats lack it.
    pub watchdog: Duration,
    /// How long an attempt of an application that has no limit of its own may run; none is no limit.
    pub task_timeout: Option<Duration>,
    /// When an attempt of an application that wants speculation straggles.
    pub speculation: Speculation,
    /// Result rows of one query that may be held in this process, in bytes; more fail it as `resource`.
    pub max_inline_bytes: u64,
    /// Scans below this many bytes may run as one task; at or above they are always cut into stages.
    pub small_query_bytes: u64,
    /// Bytes of scan that are worth one core.
    pub bytes_per_core: u64,
    /// Threads that plan and encode.
    pub planning_threads: usize,
    /// Where queries and task attempts are counted; it may outlive the scheduler.
    pub tally: Arc<Tally>,
}

impl Default for SchedulerSettings {
    fn default() -> Self {
        Self {
            result_retention: Duration::from_secs(600),
            worker_grace: Duration::from_secs(60),
            attach_grace: Duration::from_secs(60),
            task_pause: TASK_PAUSE,
            watchdog: Duration::from_secs(3),
            task_timeout: None,
            speculation: Speculation::default(),
            max_inline_bytes: 256 << 20,
            small_query_bytes: 1 << 30,
            bytes_per_core: 32 << 20,
            planning_threads: 2,
            tally: Arc::default(),
        }
    }
}
