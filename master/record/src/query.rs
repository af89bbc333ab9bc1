//! One physical plan on the workers: stages, their operators, every attempt of their tasks. Pure.

use lake_proto::Fault;
use serde::{Deserialize, Serialize};

/// How a query stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum QueryState {
    /// Its tasks run or wait for cores.
    #[default]
    Running,
    /// Its driver has the answer.
    Finished,
    /// It failed.
    Failed,
    /// Its driver does not want it any more.
    Cancelled,
}

/// How an attempt of a task stands. Names are Spark's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AttemptState {
    /// It was sent to a worker.
    #[default]
    Running,
    /// Its output counts, or did until it was lost.
    Success,
    /// It failed.
    Failed,
    /// It was told to end: its query ended, another attempt won, or it took too long.
    Killed,
    /// Its worker was lost.
    Lost,
}

/// One query.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueryRecord {
    /// Unique.
    pub query_id: String,
    /// The table whose step it belongs to.
    pub step: String,
    /// How it stands.
    pub state: QueryState,
    /// When it was accepted by the leader that tells this.
    pub accepted_at_ms: u64,
    /// When its answer was complete, or it failed.
    pub ended_at_ms: u64,
    /// It was begun under another leader: attempts of that time are not told.
    pub is_attached: bool,
    /// Bytes its scans were expected to read.
    pub estimated_scan_bytes: u64,
    /// Why it failed.
    pub failure: Option<Fault>,
    /// By number; producers come before consumers.
    pub stages: Vec<StageRecord>,
}

/// One stage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StageRecord {
    /// Number within the query, from 1.
    pub stage_id: u32,
    /// Stages whose output it reads.
    pub inputs: Vec<u32>,
    /// Tasks it has.
    pub tasks: u32,
    /// Tasks whose output is there.
    pub tasks_done: u32,
    /// Cores that an attempt holds.
    pub cores_per_task: u32,
    /// It answers with rows instead of shuffle files.
    pub is_result: bool,
    /// From the root on, inputs after their consumer.
    pub operators: Vec<OperatorRecord>,
    /// In the order of their launch; at most [`StageRecord::MOST_ATTEMPTS`].
    pub attempts: Vec<AttemptRecord>,
    /// Attempts that are not among [`Self::attempts`] because they are too many.
    pub attempts_left_out: u64,
}

/// One operator of a stage's plan.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OperatorRecord {
    /// Distance from the root of the stage: its input is the next operator with a depth of one more.
    pub depth: u32,
    /// `HashJoinExec`, `DeltaFilesScanExec`, …
    pub name: String,
    /// The plan's one line of it. Cut at 300 characters; without credentials, because plans have none.
    pub detail: String,
    /// Of all tasks that are done, added up.
    pub metrics: OperatorMetrics,
}

/// What an operator did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OperatorMetrics {
    /// Rows it gave.
    pub output_rows: u64,
    /// Time it computed, over all cores.
    pub compute_ns: u64,
    /// Bytes it wrote to local disk for want of memory.
    pub spilled_bytes: u64,
    /// Times it did so.
    pub spills: u64,
}

/// One attempt of a task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AttemptRecord {
    /// Which task, from 0.
    pub task: u32,
    /// Unique within the query.
    pub attempt: u64,
    /// Where.
    pub worker_id: String,
    /// Host of that worker.
    pub host: String,
    /// How it stands.
    pub state: AttemptState,
    /// It ran beside another attempt that was slow.
    pub is_speculative: bool,
    /// When it was sent.
    pub launched_at_ms: u64,
    /// When its end was known.
    pub ended_at_ms: u64,
    /// What it did; of a running one as its worker last said.
    pub totals: AttemptTotals,
    /// Why it failed.
    pub failure: Option<Fault>,
}

/// Figures of one attempt, and of many added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AttemptTotals {
    /// Rows it gave, or wrote into a table.
    pub rows: u64,
    /// Their bytes in memory, or those of the files that it wrote.
    pub bytes: u64,
    /// Time on the worker.
    pub elapsed_ms: u64,
    /// Bytes it wrote to local disk for want of memory.
    pub spilled_bytes: u64,
    /// Rows it read of other stages.
    pub shuffle_read_rows: u64,
    /// Bytes of the shuffle files of other stages that it read, as they were written.
    pub shuffle_read_bytes: u64,
    /// Rows in its shuffle files.
    pub shuffle_write_rows: u64,
    /// Bytes of its shuffle files.
    pub shuffle_write_bytes: u64,
    /// Rows that its scans read of stores and databases.
    pub input_rows: u64,
    /// Bytes that its scans read of stores and databases.
    pub input_bytes: u64,
}

impl StageRecord {
    /// More attempts of one stage are counted and not kept: a page of them is of no use, and a master's memory is
    /// bounded.
    pub const MOST_ATTEMPTS: usize = 20_000;

    /// Its attempts that did not succeed.
    pub fn failed(&self) -> impl Iterator<Item = &AttemptRecord> {
        self.attempts.iter().filter(|attempt| matches!(attempt.state, AttemptState::Failed | AttemptState::Lost))
    }

    /// Attempts that run.
    pub fn running(&self) -> usize {
        self.attempts.iter().filter(|attempt| attempt.state == AttemptState::Running).count()
    }

    /// What its successful attempts did together; the one that counts when a task has several.
    pub fn totals(&self) -> AttemptTotals {
        let mut totals = AttemptTotals::default();
        for attempt in self.attempts.iter().filter(|attempt| attempt.state == AttemptState::Success) {
            totals.add(&attempt.totals);
        }
        totals
    }

    /// From the first launch to the last end, or to `now_ms` while something runs; 0 before the first launch.
    pub fn elapsed_ms(&self, now_ms: u64) -> u64 {
        let Some(first) = self.attempts.iter().map(|attempt| attempt.launched_at_ms).min() else { return 0 };
        let last = if self.running() > 0 || self.tasks_done < self.tasks {
            now_ms
        } else {
            self.attempts.iter().map(|attempt| attempt.ended_at_ms).max().unwrap_or(now_ms)
        };
        last.saturating_sub(first)
    }
}

impl AttemptTotals {
    /// Adds `other` to it.
    pub fn add(&mut self, other: &Self) {
        let fields = [
            (&mut self.rows, other.rows),
            (&mut self.bytes, other.bytes),
            (&mut self.elapsed_ms, other.elapsed_ms),
            (&mut self.spilled_bytes, other.spilled_bytes),
            (&mut self.shuffle_read_rows, other.shuffle_read_rows),
            (&mut self.shuffle_read_bytes, other.shuffle_read_bytes),
            (&mut self.shuffle_write_rows, other.shuffle_write_rows),
            (&mut self.shuffle_write_bytes, other.shuffle_write_bytes),
            (&mut self.input_rows, other.input_rows),
            (&mut self.input_bytes, other.input_bytes),
        ];
        for (sum, more) in fields {
            *sum = sum.saturating_add(more);
        }
    }
}

impl AttemptRecord {
    /// How long it took, or has taken at `now_ms`, from its launch to the news of its end.
    pub fn elapsed_ms(&self, now_ms: u64) -> u64 {
        let end = if self.ended_at_ms > 0 { self.ended_at_ms } else { now_ms };
        end.saturating_sub(self.launched_at_ms)
    }
}

impl OperatorMetrics {
    /// Adds `other` to it.
    pub fn add(&mut self, other: &Self) {
        self.output_rows = self.output_rows.saturating_add(other.output_rows);
        self.compute_ns = self.compute_ns.saturating_add(other.compute_ns);
        self.spilled_bytes = self.spilled_bytes.saturating_add(other.spilled_bytes);
        self.spills = self.spills.saturating_add(other.spills);
    }
}
