//! Where a plan runs. Two real places: this process ([`local`]) and the cluster ([`cluster`]). Edge.

pub mod cluster;
mod course;
pub mod local;

use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;
use lake_proto::QueryId;
use lake_proto::v1::StageProgress;
use tokio::sync::watch;

use crate::{EngineError, Result};

/// One physical plan to run.
pub struct Query {
    /// Fresh for every run: shuffle files are named after it.
    pub id: QueryId,
    /// The step it belongs to, for progress and messages.
    pub label: String,
    /// What to run; every output partition is collected.
    pub plan: Arc<dyn ExecutionPlan>,
    /// The settings it was planned with.
    pub config: SessionConfig,
    /// Bytes its scans are expected to read.
    pub estimated_scan_bytes: u64,
}

/// A place where plans run.
#[async_trait]
pub trait QueryRunner: Send + Sync {
    /// Cores a plan may use at once: the number of partitions worth planning for.
    fn cores(&self) -> usize;

    /// Settings that plans for this place are made with.
    fn session_config(&self) -> SessionConfig;

    /// Runs the query to its end and returns the rows of all output partitions, each exactly once. Dropping the
    /// future cancels the query. `progress` gets the stages as they move.
    ///
    /// # Errors
    /// The class of whatever failed; `unavailable` when the place itself was lost.
    async fn run(&self, query: Query, progress: watch::Sender<Vec<StageProgress>>) -> Result<Vec<RecordBatch>>;
}

/// A query id that was never used.
///
/// # Errors
/// Never in practice: a UUID is a valid id.
pub fn fresh_query_id() -> Result<QueryId> {
    uuid::Uuid::new_v4().to_string().parse().map_err(|error| EngineError::internal(format!("query id: {error}")))
}
