//! Masters, workers and drivers. Ours. Pure.

use lake_master_core::view::WorkerView;
use lake_record::ApplicationSummary;
use schemars::JsonSchema;
use serde::Serialize;

use crate::SPARK_VERSION;
use crate::failure::Problem;

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct VersionInfo {
    /// Spark's: the release of Spark whose shapes this API has.
    pub spark: &'static str,
    /// The release of this master.
    pub version: &'static str,
    /// Number of the master that answers.
    pub id: u64,
    /// `leader`, `follower` or `no quorum`.
    pub role: &'static str,
    /// Raft's term.
    pub term: u64,
    /// Index of the last log entry that it has applied.
    pub applied: u64,
}

impl VersionInfo {
    /// The master with this number as it is now.
    pub const fn new(version: &'static str, id: u64, role: &'static str, term: u64, applied: u64) -> Self {
        Self { spark: SPARK_VERSION, version, id, role, term, applied }
    }
}

/// One master of the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Master {
    /// Its number.
    pub id: u64,
    /// `host:port` of its gRPC server.
    pub address: String,
    /// `leader`, `follower`, `learner`, …
    pub role: &'static str,
    /// Index of the last log entry known to be on its disk; 0 where this is not known.
    pub matched: u64,
    /// The leader has heard of it lately.
    pub is_active: bool,
}

/// One worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Worker {
    /// `worker-…`.
    pub worker_id: String,
    /// Where others reach it.
    pub host: String,
    /// Its gRPC port.
    pub grpc_port: u16,
    /// Its Arrow Flight port.
    pub flight_port: u16,
    /// Its page.
    pub http_port: u16,
    /// Cores it offers to tasks.
    pub cores: u32,
    /// Cores held by tasks.
    pub cores_used: u32,
    /// Memory it offers to drivers.
    pub memory_bytes: u64,
    /// Memory that drivers hold.
    pub driver_memory_bytes: u64,
    /// Memory its tasks use, as it says.
    pub task_memory_bytes: u64,
    /// Free space of its work dir, as it says.
    pub disk_free_bytes: u64,
    /// Task attempts that run on it, as it says.
    pub running_tasks: usize,
    /// Bytes of shuffle files that it holds for running queries, as it says.
    pub shuffle_bytes: u64,
    /// `ALIVE`, `DRAINING`, `DECOMMISSIONED` (it drained and has left) or `LOST`.
    pub state: &'static str,
    /// Why it is lost.
    pub lost_reason: Option<String>,
    /// When it was lost or had left; 0 = it is here.
    pub gone_at_ms: u64,
    /// Drivers on it now.
    pub drivers: usize,
    /// When it registered.
    pub registered_at_ms: u64,
    /// Last heartbeat; 0 = none at this leader.
    pub last_heartbeat_ms: u64,
}

/// One driver: that of an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Driver {
    /// `driver-…`; `submissionId` on the REST port.
    pub driver_id: String,
    /// `app-…`.
    pub app_id: String,
    /// Made by the submitter.
    pub submission_id: String,
    /// Shown to people.
    pub name: String,
    /// SUBMITTED RUNNING RELAUNCHING FINISHED FAILED KILLED ERROR.
    pub state: String,
    /// It was asked to end and has not ended yet.
    pub is_killing: bool,
    /// `cluster` or `client`.
    pub deploy_mode: String,
    /// Worker of the current or last launch; empty before placement and in client mode.
    pub worker_id: String,
    /// `host:port` of that worker.
    pub worker_address: String,
    /// Launches so far.
    pub attempt: u32,
    /// Launches at most.
    pub max_attempts: u32,
    /// Memory it holds.
    pub memory_bytes: u64,
    /// When it was submitted.
    pub submitted_at_ms: u64,
    /// When it ran first; 0 = not yet.
    pub started_at_ms: u64,
    /// When it ended for good; 0 = not yet.
    pub ended_at_ms: u64,
    /// Why its last launch ended, when it was not success.
    pub failure: Option<Problem>,
}

impl From<WorkerView> for Worker {
    fn from(worker: WorkerView) -> Self {
        Self {
            worker_id: worker.worker_id,
            host: worker.host,
            grpc_port: worker.grpc_port,
            flight_port: worker.flight_port,
            http_port: worker.http_port,
            cores: worker.cores,
            cores_used: worker.cores_used,
            memory_bytes: worker.memory_bytes,
            driver_memory_bytes: worker.driver_memory_bytes,
            task_memory_bytes: worker.task_memory_bytes,
            disk_free_bytes: worker.disk_free_bytes,
            running_tasks: worker.running_tasks,
            shuffle_bytes: worker.shuffle_bytes,
            state: worker.state,
            lost_reason: worker.lost_reason,
            gone_at_ms: worker.gone_at_ms,
            drivers: worker.drivers,
            registered_at_ms: worker.registered_at_ms,
            last_heartbeat_ms: worker.last_heartbeat_ms,
        }
    }
}

impl From<&ApplicationSummary> for Driver {
    fn from(summary: &ApplicationSummary) -> Self {
        Self {
            driver_id: summary.driver_id.clone(),
            app_id: summary.app_id.clone(),
            submission_id: summary.submission_id.clone(),
            name: summary.name.clone(),
            state: summary.state.clone(),
            is_killing: summary.is_killing,
            deploy_mode: summary.deploy_mode.clone(),
            worker_id: summary.worker_id.clone(),
            worker_address: summary.worker_address.clone(),
            attempt: summary.attempt,
            max_attempts: summary.max_attempts,
            memory_bytes: summary.driver_memory_bytes,
            submitted_at_ms: summary.submitted_at_ms,
            started_at_ms: summary.started_at_ms,
            ended_at_ms: summary.ended_at_ms,
            failure: summary.failure.as_ref().map(Problem::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    #[test]
    fn a_worker_has_the_fields_that_the_view_has() {
        let view = WorkerView {
            worker_id: "worker-1".to_owned(),
            host: "h1".to_owned(),
            grpc_port: 1,
            flight_port: 2,
            http_port: 3,
            cores: 4,
            cores_used: 5,
            memory_bytes: 6,
            driver_memory_bytes: 7,
            task_memory_bytes: 8,
            disk_free_bytes: 9,
            running_tasks: 14,
            shuffle_bytes: 15,
            state: "LOST",
            lost_reason: Some("silent".to_owned()),
            gone_at_ms: 10,
            drivers: 11,
            registered_at_ms: 12,
            last_heartbeat_ms: 13,
        };
        let expected = serde_json::to_value(&view).unwrap();
        assert_eq!(serde_json::to_value(Worker::from(view)).unwrap(), expected);
    }

    #[test]
    fn a_driver_is_that_of_its_application() {
        let json = serde_json::to_value(Driver::from(&example::summary())).unwrap();
        assert_eq!((&json["driver_id"], &json["state"]), (&"driver-20261121093012-0001".into(), &"RUNNING".into()));
        assert_eq!((&json["memory_bytes"], &json["failure"]), (&(512 << 20).into(), &serde_json::Value::Null));
    }
}
