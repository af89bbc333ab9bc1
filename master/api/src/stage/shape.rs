//! What is answered of a stage. Pure.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::date::Date;

/// How a stage stands. Names are Spark's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// An attempt of it was sent to a worker.
    Active,
    /// All its outputs are there.
    Complete,
    /// It waits for other stages or for cores.
    Pending,
    /// Its query ended without success when it had begun.
    Failed,
    /// Its query ended before it began.
    Skipped,
}

impl Status {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Complete => "COMPLETE",
            Self::Pending => "PENDING",
            Self::Failed => "FAILED",
            Self::Skipped => "SKIPPED",
        }
    }
}

/// A stage. Spark's fields; ours come last. Where nothing is measured there is 0.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StageData {
    /// How it stands.
    pub status: Status,
    /// From 0, through all queries of the application.
    pub stage_id: u64,
    /// Always 0.
    pub attempt_id: u64,
    /// Tasks it has.
    pub num_tasks: u64,
    /// Attempts that run.
    pub num_active_tasks: u64,
    /// Attempts that succeeded.
    pub num_complete_tasks: u64,
    /// Attempts that failed, or were lost with their worker.
    pub num_failed_tasks: u64,
    /// Attempts that were told to end.
    pub num_killed_tasks: u64,
    /// Tasks whose output is there.
    pub num_completed_indices: u64,
    /// When its query was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub submission_time: Option<Date>,
    /// When its first attempt was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_task_launched_time: Option<Date>,
    /// When its last attempt ended, once it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Date>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
    /// Milliseconds of all attempts on their workers.
    pub executor_run_time: u64,
    /// Nanoseconds that its operators computed.
    pub executor_cpu_time: u64,
    /// Not measured.
    pub result_size: u64,
    /// There is no garbage collector.
    pub jvm_gc_time: u64,
    /// Not measured: spilled rows are not kept in memory in another form.
    pub memory_bytes_spilled: u64,
    /// Bytes written to local disk for want of memory.
    pub disk_bytes_spilled: u64,
    /// Bytes that its scans read of stores and databases.
    pub input_bytes: u64,
    /// Rows that its scans gave.
    pub input_records: u64,
    /// Bytes of the rows of a result, or of the files that it wrote.
    pub output_bytes: u64,
    /// Rows of a result, or those that it wrote.
    pub output_records: u64,
    /// Bytes read of other stages.
    pub shuffle_read_bytes: u64,
    /// Rows read of other stages.
    pub shuffle_read_records: u64,
    /// Bytes of its shuffle files.
    pub shuffle_write_bytes: u64,
    /// Rows in its shuffle files.
    pub shuffle_write_records: u64,
    /// The operator at its root, and the table whose step it belongs to.
    pub name: String,
    /// The table whose step it belongs to.
    pub description: String,
    /// Its operators, one a line, inputs below their consumer.
    pub details: String,
    /// There are no pools.
    pub scheduling_pool: &'static str,
    /// There are no RDDs.
    pub rdd_ids: Vec<u64>,
    /// There are no accumulators.
    pub accumulator_updates: Vec<String>,
    /// Attempts that were told to end, by the reason.
    pub killed_tasks_summary: BTreeMap<String, u64>,
    /// There is one profile.
    pub resource_profile_id: u64,
    /// Numbers of the stages whose output it reads.
    pub parent_ids: Vec<u64>,
    /// What each worker did of it; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executor_summary: Option<BTreeMap<String, ExecutorStageSummary>>,
    /// Number of its query, as a job.
    pub job_id: u64,
    /// Its query, unique over all applications.
    pub query_id: String,
    /// Its number within the query, from 1.
    pub query_stage_id: u32,
    /// Cores that an attempt holds.
    pub cores_per_task: u32,
    /// Attempts that are counted and not kept, because they are too many.
    pub attempts_left_out: u64,
    /// Its operators with what they did; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operators: Option<Vec<Operator>>,
}

/// What one worker did of a stage. Spark's fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecutorStageSummary {
    /// Milliseconds of its attempts.
    pub task_time: u64,
    /// Attempts that failed, or were lost with it.
    pub failed_tasks: u64,
    /// Attempts that succeeded.
    pub succeeded_tasks: u64,
    /// Attempts that were told to end.
    pub killed_tasks: u64,
    /// Bytes that its scans read of stores and databases.
    pub input_bytes: u64,
    /// Rows that its scans gave.
    pub input_records: u64,
    /// Bytes of the rows of a result, or of the files that it wrote.
    pub output_bytes: u64,
    /// Rows of a result, or those that it wrote.
    pub output_records: u64,
    /// Bytes read of other stages.
    pub shuffle_read: u64,
    /// Rows read of other stages.
    pub shuffle_read_records: u64,
    /// Bytes of its shuffle files.
    pub shuffle_write: u64,
    /// Rows in its shuffle files.
    pub shuffle_write_records: u64,
    /// Not measured.
    pub memory_bytes_spilled: u64,
    /// Bytes written to local disk for want of memory.
    pub disk_bytes_spilled: u64,
    /// Workers are not excluded by stage.
    pub is_excluded_for_stage: bool,
}

/// One operator of a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Operator {
    /// Distance from the root of the stage.
    pub depth: u32,
    /// `HashJoinExec`, `DeltaFilesScanExec`, …
    pub name: String,
    /// The plan's one line of it.
    pub detail: String,
    /// Rows it gave.
    pub output_rows: u64,
    /// Nanoseconds it computed, over all cores.
    pub compute_ns: u64,
    /// Bytes it wrote to local disk for want of memory.
    pub spilled_bytes: u64,
    /// Times it did so.
    pub spills: u64,
}
