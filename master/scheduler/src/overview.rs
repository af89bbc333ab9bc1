//! What the UI shows of the scheduler. Pure.

use lake_proto::v1::StageProgress;
use lake_proto::{AppId, QueryId, WorkerId};

/// Workers and queries at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overview {
    /// Every attached worker, by id.
    pub workers: Vec<WorkerOverview>,
    /// Every running query, in the order in which they get cores.
    pub queries: Vec<QueryOverview>,
}

/// One worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerOverview {
    /// Which one.
    pub worker: WorkerId,
    /// Where it is.
    pub host: String,
    /// Cores it offers.
    pub cores: u32,
    /// Cores that task attempts hold.
    pub used: u32,
    /// It takes no new tasks.
    pub is_draining: bool,
}

/// One query.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryOverview {
    /// Which one.
    pub query: QueryId,
    /// The application that runs it.
    pub app: AppId,
    /// The step it belongs to.
    pub label: String,
    /// Its stages; none when it has ended and waits for its last attempts.
    pub stages: Vec<StageProgress>,
}
