//! One submission, with everything that was seen of it. Pure.

use lake_job::Pipeline;
use lake_proto::Fault;
use serde::{Deserialize, Serialize};

use crate::query::QueryRecord;
use crate::step::StepRecord;

/// One application as lists show it. Names of states and modes are Spark's, as in `lake.v1.ApplicationStatus`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ApplicationSummary {
    /// `app-…`.
    pub app_id: String,
    /// `driver-…`.
    pub driver_id: String,
    /// Made by the submitter.
    pub submission_id: String,
    /// Shown to people.
    pub name: String,
    /// Runs with the same job name follow each other.
    pub job_name: String,
    /// SUBMITTED RUNNING RELAUNCHING FINISHED FAILED KILLED ERROR.
    pub state: String,
    /// It was asked to end and has not ended yet.
    pub is_killing: bool,
    /// `cluster` or `client`.
    pub deploy_mode: String,
    /// When it was submitted.
    pub submitted_at_ms: u64,
    /// When a driver of it ran first.
    pub started_at_ms: u64,
    /// When it ended.
    pub ended_at_ms: u64,
    /// The version in the Delta transaction id.
    pub run_number: u64,
    /// Driver launches so far.
    pub attempt: u32,
    /// Driver launches at most.
    pub max_attempts: u32,
    /// Memory its driver holds.
    pub driver_memory_bytes: u64,
    /// Cores it may use at most; 0 = no cap.
    pub total_executor_cores: u32,
    /// Why it failed, or why its last attempt ended.
    pub failure: Option<Fault>,
    /// What it waits for, in words; empty when it does not wait.
    pub waits_for: String,
    /// Worker of the current or last attempt; empty before placement and in client mode.
    pub worker_id: String,
    /// `host:port` of that worker.
    pub worker_address: String,
}

/// One launch of the driver.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DriverAttempt {
    /// From 1.
    pub number: u32,
    /// Log index of its assignment.
    pub epoch: u64,
    /// Where; empty in client mode.
    pub worker_id: String,
    /// When it was placed.
    pub launched_at_ms: u64,
    /// When its end was known; 0 = it runs.
    pub ended_at_ms: u64,
    /// As the worker saw it; `None` when it runs, when a signal ended it, or when its worker was lost.
    pub exit_code: Option<i32>,
    /// What ended it; 0 = none.
    pub signal: i32,
    /// Why it ended, when it was not success.
    pub failure: Option<Fault>,
}

/// Where a record comes from, and so how much it can tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Put together by the leader from what it knows now.
    #[default]
    Live,
    /// Read from a history file, whole.
    History,
    /// Read from a history file that is cut off or damaged: what could be read.
    Damaged,
}

/// Everything that is known of one application.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ApplicationRecord {
    /// As lists show it.
    pub summary: ApplicationSummary,
    /// Where this record comes from.
    pub origin: Origin,
    /// Another master led while it ran: queries of that time are not among [`Self::queries`].
    pub is_partial: bool,
    /// What was submitted: secrets are references, never values.
    pub pipeline: Option<Pipeline>,
    /// Every launch of its driver, the first one first.
    pub attempts: Vec<DriverAttempt>,
    /// In the order of the pipeline.
    pub steps: Vec<StepRecord>,
    /// In the order in which they were accepted.
    pub queries: Vec<QueryRecord>,
}

impl ApplicationSummary {
    /// Whether it is in one of its last states.
    pub fn is_over(&self) -> bool {
        self.ended_at_ms > 0
    }

    /// How long it ran, or has run at `now_ms`; 0 before its driver ran.
    pub fn elapsed_ms(&self, now_ms: u64) -> u64 {
        let end = if self.is_over() { self.ended_at_ms } else { now_ms };
        if self.started_at_ms == 0 { 0 } else { end.saturating_sub(self.started_at_ms) }
    }
}

impl ApplicationRecord {
    /// The step that writes this table.
    pub fn step(&self, table: &str) -> Option<&StepRecord> {
        self.steps.iter().find(|step| step.table == table)
    }

    /// The query with this id.
    pub fn query(&self, id: &str) -> Option<&QueryRecord> {
        self.queries.iter().find(|query| query.query_id == id)
    }

    /// The queries of one step, in the order in which they were accepted.
    pub fn queries_of<'a>(&'a self, table: &'a str) -> impl Iterator<Item = &'a QueryRecord> {
        self.queries.iter().filter(move |query| query.step == table)
    }
}
