//! What is answered of an application. Pure.

use schemars::JsonSchema;
use serde::Serialize;

use crate::date::Date;
use crate::failure::Problem;
use crate::step::RecordedStep;

/// An application, as lists show it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Application {
    /// Spark's: the application's id.
    pub id: String,
    /// Shown to people.
    pub name: String,
    /// Spark's: cores it may use at most; not there without a cap.
    #[serde(rename = "maxCores", skip_serializing_if = "Option::is_none")]
    pub max_cores: Option<u32>,
    /// Spark's: launches of its driver, the last one first. Lists have the last one only.
    pub attempts: Vec<Attempt>,
    /// Made by the submitter.
    pub submission_id: String,
    /// `app-…`.
    pub app_id: String,
    /// `driver-…`.
    pub driver_id: String,
    /// Run numbers are counted per job name.
    pub job_name: String,
    /// SUBMITTED RUNNING RELAUNCHING FINISHED FAILED KILLED ERROR.
    pub state: String,
    /// It was asked to end and has not ended yet.
    pub is_killing: bool,
    /// `cluster` or `client`.
    pub deploy_mode: String,
    /// Worker of the current or last attempt; empty before placement and in client mode.
    pub worker_id: String,
    /// `host:port` of that worker.
    pub worker_address: String,
    /// Driver launches so far.
    pub attempt: u32,
    /// Driver launches at most.
    pub max_attempts: u32,
    /// The version in the Delta transaction id.
    pub run_number: u64,
    /// Memory its driver holds.
    pub driver_memory_bytes: u64,
    /// Cores it may use at most; 0 = no cap.
    pub total_executor_cores: u32,
    /// When it was submitted.
    pub submitted_at_ms: u64,
    /// When a driver of it ran first; 0 = not yet.
    pub started_at_ms: u64,
    /// When it ended; 0 = not yet.
    pub ended_at_ms: u64,
    /// Why the last attempt ended, when it was not success.
    pub failure: Option<Problem>,
    /// Why it waits, when it does.
    pub waits_for: Option<String>,
    /// Why the attempt before ended, while another one is waited for or runs.
    pub relaunch_reason: Option<Problem>,
    /// What its steps left behind.
    pub steps: Vec<RecordedStep>,
}

/// A launch of a driver. Spark's fields; what is not there in Spark comes last.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// From 1; not there before the first launch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt_id: Option<String>,
    /// When it began; of an application that waits, when that was submitted.
    pub start_time: Date,
    /// When it ended; before 1970 while it has not.
    pub end_time: Date,
    /// When this was true.
    pub last_updated: Date,
    /// Milliseconds that it took, or has taken.
    pub duration: u64,
    /// Nobody is known here.
    pub spark_user: String,
    /// Whether it has ended.
    pub completed: bool,
    /// The release of Spark whose shapes these are.
    pub app_spark_version: String,
    /// As `startTime`, in milliseconds.
    pub start_time_epoch: i64,
    /// As `endTime`, in milliseconds; -1 while it has not ended.
    pub end_time_epoch: i64,
    /// As `lastUpdated`, in milliseconds.
    pub last_updated_epoch: i64,
    /// Where it ran; empty in client mode.
    pub worker_id: String,
    /// How its process ended, when it ended by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// What ended its process; 0 = no signal.
    pub signal: i32,
    /// Why it ended, when it was not success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Problem>,
}

/// An application with what its driver said last, what runs now, and every launch.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Detail {
    /// As in lists.
    #[serde(flatten)]
    pub application: Application,
    /// Live, as its driver reported it last; empty once the application is over, and after a change of the leading master
    /// until the driver reports again.
    pub progress: Vec<StepPicture>,
    /// Running now.
    pub queries: Vec<QueryPicture>,
    /// `live`, `history`, or `damaged` when only a part of its history file could be read.
    pub origin: &'static str,
    /// Another master led while it ran: queries of that time are not known.
    pub is_partial: bool,
}

/// A step while it runs.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct StepPicture {
    /// The table it writes.
    pub table: String,
    /// PENDING RUNNING COMMITTING COMMITTED SKIPPED FAILED KILLED.
    pub state: String,
    /// Its query's stages.
    pub stages: Vec<StagePicture>,
    /// Why it failed.
    pub failure: Option<Problem>,
}

/// How far a stage is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StagePicture {
    /// Number within its query, from 1.
    pub stage_id: u32,
    /// Tasks it has.
    pub tasks_total: u32,
    /// Tasks that run.
    pub tasks_running: u32,
    /// Tasks that are done.
    pub tasks_done: u32,
    /// Rows so far.
    pub rows: u64,
    /// Bytes so far.
    pub bytes: u64,
    /// Attempts that failed and were tried again.
    pub retries: u32,
}

/// A query that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct QueryPicture {
    /// Unique.
    pub query_id: String,
    /// The table whose step it belongs to.
    pub label: String,
    /// How far it is.
    pub stages: Vec<StagePicture>,
}

/// What came of asking an application to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Killed {
    /// `app-…`.
    pub app_id: String,
    /// `driver-…`.
    pub driver_id: String,
    /// Its state now: KILLED, another last one if it had ended before, or where it was while its driver ends.
    pub state: String,
}
