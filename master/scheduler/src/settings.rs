//! What can be set about scheduling. Pure.

use std::sync::Arc;
use std::time::Duration;

use lake_metrics::Tally;
use lake_scheduler_core::Speculation;

/// Settings of the scheduler; the defaults are meant for production.
#[derive(Debug, Clone)]
pub struct SchedulerSettings {
    /// How long results that stayed on workers are kept for a driver that neither fetches them nor goes away.
    pub result_retention: Duration,
    /// How long queries wait while no worker takes tasks, before they fail as `unavailable`.
    pub worker_grace: Duration,
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
