//! What a leader counts of queries, tasks and steps while it leads. Pure. One for the life of a process.

use std::time::Duration;

use lake_proto::{ErrorClass, Fault, v1};

use crate::instrument::{ByClass, Counter, Histogram, Outcomes};
use crate::steps::{StepSums, Steps};

/// Of attempts of tasks, as the leader and their workers count them: boards compare the two.
pub(crate) const TASK_SECONDS_BOUNDS: &[f64] = &[0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0];
const QUERY_SECONDS: &[f64] = &[0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 7_200.0];
const STEP_SECONDS: &[f64] = QUERY_SECONDS;
const COMMIT_SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

const TASK_OUTCOMES: [&str; 4] = ["done", "failed", "cancelled", "lost"];
const QUERY_OUTCOMES: [&str; 3] = ["finished", "cancelled", "failed"];
/// What becomes of a step: `v1::StepRecord::outcome`; one that is not known counts as the last.
pub(crate) const STEP_OUTCOMES: [&str; 4] = ["COMMITTED", "SKIPPED", "FENCED", "UNKNOWN"];

/// How an attempt of a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Its output is there.
    Done,
    /// It failed.
    Failed(ErrorClass),
    /// It was told to end.
    Cancelled,
    /// Its worker is gone, or does not run it any more.
    Lost,
}

/// The counters.
#[derive(Debug)]
pub struct Tally {
    pub(crate) queries_accepted: Counter,
    pub(crate) queries: Outcomes<3>,
    pub(crate) tasks: Outcomes<4>,
    pub(crate) task_failures: ByClass,
    pub(crate) step_outcomes: [Counter; STEP_OUTCOMES.len()],
    pub(crate) step_seconds: Histogram,
    pub(crate) commit_seconds: Histogram,
    pub(crate) steps: Steps,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            queries_accepted: Counter::default(),
            queries: Outcomes::new(QUERY_OUTCOMES, QUERY_SECONDS),
            tasks: Outcomes::new(TASK_OUTCOMES, TASK_SECONDS_BOUNDS),
            task_failures: ByClass::default(),
            step_outcomes: Default::default(),
            step_seconds: Histogram::new(STEP_SECONDS),
            commit_seconds: Histogram::new(COMMIT_SECONDS),
            steps: Steps::default(),
        }
    }
}

impl Tally {
    /// A driver has sent a query.
    pub fn query_accepted(&self) {
        self.queries_accepted.add_one();
    }

    /// A query has its answer, or has none and will not get one.
    pub fn query_ended(&self, failure: Option<&Fault>, took: Duration) {
        let outcome = match failure {
            None => "finished",
            Some(fault) if fault.class == ErrorClass::Cancelled => "cancelled",
            Some(_) => "failed",
        };
        self.queries.observe(outcome, took);
    }

    /// An attempt of a task has ended after so long.
    pub fn task_ended(&self, ending: Ending, took: Duration) {
        let outcome = match ending {
            Ending::Done => "done",
            Ending::Cancelled => "cancelled",
            Ending::Lost => "lost",
            Ending::Failed(class) => {
                self.task_failures.add_one(class);
                "failed"
            }
        };
        self.tasks.observe(outcome, took);
    }

    /// An attempt has gone with its worker after so long; one that was never sent is not counted.
    pub fn task_lost(&self, took: Option<Duration>) {
        if let Some(took) = took {
            self.task_ended(Ending::Lost, took);
        }
    }

    /// A step of this job is on record, for the first time.
    pub fn step_recorded(&self, job: &str, step: &v1::StepRecord) {
        let outcome = STEP_OUTCOMES.iter().position(|name| *name == step.outcome);
        if let Some(counter) = self.step_outcomes.get(outcome.unwrap_or(STEP_OUTCOMES.len() - 1)) {
            counter.add_one();
        }
        // Of the others nothing was read or written, or nobody can say what.
        if step.outcome != "COMMITTED" {
            return;
        }
        self.step_seconds.observe(Duration::from_millis(step.elapsed_ms));
        if step.commit_ms > 0 {
            self.commit_seconds.observe(Duration::from_millis(step.commit_ms));
        }
        let violations = step.expectations.iter().fold(0, |sum: u64, found| sum.saturating_add(found.violations));
        let sums = StepSums {
            input_rows: step.rows_in,
            output_rows: step.rows_out,
            output_bytes: step.bytes_out,
            output_files: step.files.into(),
            violations,
            elapsed_ms: step.elapsed_ms,
        };
        self.steps.add(job, &step.table, sums);
    }
}
