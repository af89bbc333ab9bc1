//! What is answered of an attempt of a task. Pure.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::date::Date;
use crate::failure::Problem;

/// An attempt of a task. Spark's fields; ours come last.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskData {
    /// The attempt's number, unique within its query.
    pub task_id: u64,
    /// Which task of the stage, from 0.
    pub index: u32,
    /// Which attempt of that task, from 0.
    pub attempt: u64,
    /// As `index`.
    pub partition_id: u32,
    /// When it was sent to its worker.
    pub launch_time: Date,
    /// Milliseconds from its launch to the news of its end, or until now.
    pub duration: u64,
    /// Its worker.
    pub executor_id: String,
    /// The host of its worker.
    pub host: String,
    /// RUNNING, SUCCESS, FAILED or KILLED.
    pub status: &'static str,
    /// Data is in an object store, as near to one worker as to another.
    pub task_locality: &'static str,
    /// It ran beside another attempt that was slow.
    pub speculative: bool,
    /// There are no accumulators.
    pub accumulator_updates: Vec<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// What it did; of a running one as its worker last said.
    pub task_metrics: TaskMetrics,
    /// Logs are by driver, see `logs`.
    pub executor_logs: BTreeMap<String, String>,
    /// Milliseconds on the way to its worker and back.
    pub scheduler_delay: u64,
    /// Results travel with the end of the attempt.
    pub getting_result_time: u64,
    /// RUNNING, SUCCESS, FAILED, KILLED or LOST.
    pub state: AttemptStateName,
    /// Rows it gave, or wrote into a table.
    pub rows: u64,
    /// Their bytes in memory, or those of the files that it wrote.
    pub bytes: u64,
    /// Why it failed, with its class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Problem>,
}

/// How an attempt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AttemptStateName {
    /// It was sent to a worker.
    Running,
    /// Its output counts, or did until it was lost.
    Success,
    /// It failed.
    Failed,
    /// It was told to end.
    Killed,
    /// Its worker was lost.
    Lost,
}

/// What an attempt did. Spark's fields; where nothing is measured there is 0.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskMetrics {
    /// Not measured.
    pub executor_deserialize_time: u64,
    /// Not measured.
    pub executor_deserialize_cpu_time: u64,
    /// Milliseconds on the worker.
    pub executor_run_time: u64,
    /// Not measured by attempt; the stage has it.
    pub executor_cpu_time: u64,
    /// Not measured.
    pub result_size: u64,
    /// There is no garbage collector.
    pub jvm_gc_time: u64,
    /// Not measured.
    pub result_serialization_time: u64,
    /// Not measured.
    pub memory_bytes_spilled: u64,
    /// Bytes written to local disk for want of memory.
    pub disk_bytes_spilled: u64,
    /// Not measured.
    pub peak_execution_memory: u64,
    /// What its scans read.
    pub input_metrics: InputMetrics,
    /// Rows of a result, or those that it wrote into a table.
    pub output_metrics: OutputMetrics,
    /// What it read of other stages.
    pub shuffle_read_metrics: ShuffleReadMetrics,
    /// What it wrote for other stages.
    pub shuffle_write_metrics: ShuffleWriteMetrics,
}

/// Spark's fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InputMetrics {
    /// Bytes that its scans read of stores and databases.
    pub bytes_read: u64,
    /// Rows that its scans gave.
    pub records_read: u64,
}

/// Spark's fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutputMetrics {
    /// Bytes of the rows of a result, or of the files that it wrote.
    pub bytes_written: u64,
    /// Rows of a result, or those that it wrote into a table.
    pub records_written: u64,
}

/// Spark's fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShuffleReadMetrics {
    /// Not measured.
    pub remote_blocks_fetched: u64,
    /// Not measured.
    pub local_blocks_fetched: u64,
    /// Not measured.
    pub fetch_wait_time: u64,
    /// Bytes read of other stages, from whatever worker.
    pub remote_bytes_read: u64,
    /// Not measured.
    pub remote_bytes_read_to_disk: u64,
    /// In `remoteBytesRead`.
    pub local_bytes_read: u64,
    /// Rows read of other stages.
    pub records_read: u64,
}

/// Spark's fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShuffleWriteMetrics {
    /// Bytes of its shuffle files.
    pub bytes_written: u64,
    /// Not measured.
    pub write_time: u64,
    /// Rows in its shuffle files.
    pub records_written: u64,
}
