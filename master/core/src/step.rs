//! What a step of a pipeline left behind: small and replicated, so that a relaunched driver skips it. Pure.

use lake_proto::v1;
use serde::{Deserialize, Serialize};

/// The step was not committed and no attempt can commit it any more.
pub const FENCED: &str = "FENCED";
/// The step may or may not be committed: nobody could find out.
pub const UNKNOWN: &str = "UNKNOWN";

/// The record of one step. Mirrors `lake.v1.StepRecord`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Step {
    /// The table it wrote; one record per table and application.
    pub table: String,
    /// `COMMITTED`, or `SKIPPED` when the transaction was already in the table; of an application that has ended before
    /// its step was on record also [`FENCED`] or [`UNKNOWN`].
    pub outcome: String,
    /// The table's version after it.
    pub version: i64,
    /// Rows read.
    pub rows_in: u64,
    /// Rows written.
    pub rows_out: u64,
    /// Bytes of the files written.
    pub bytes_out: u64,
    /// Files written.
    pub files: u32,
    /// Wall time.
    pub elapsed_ms: u64,
    /// What the expectations found.
    #[serde(default)]
    pub expectations: Vec<Expectation>,
}

/// The result of one expectation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Expectation {
    /// Its name in job.toml.
    pub name: String,
    /// `warn`, `drop` or `fail`.
    pub action: String,
    /// Rows that violated it.
    pub violations: u64,
}

impl From<v1::StepRecord> for Step {
    fn from(record: v1::StepRecord) -> Self {
        let expectations = record
            .expectations
            .into_iter()
            .map(|result| Expectation { name: result.name, action: result.action, violations: result.violations })
            .collect();
        Self {
            table: record.table,
            outcome: record.outcome,
            version: record.version,
            rows_in: record.rows_in,
            rows_out: record.rows_out,
            bytes_out: record.bytes_out,
            files: record.files,
            elapsed_ms: record.elapsed_ms,
            expectations,
        }
    }
}

impl From<Step> for v1::StepRecord {
    fn from(step: Step) -> Self {
        let expectations = step
            .expectations
            .into_iter()
            .map(|result| v1::ExpectationResult {
                name: result.name,
                action: result.action,
                violations: result.violations,
                checked: None,
            })
            .collect();
        Self {
            table: step.table,
            outcome: step.outcome,
            version: step.version,
            rows_in: step.rows_in,
            rows_out: step.rows_out,
            bytes_out: step.bytes_out,
            files: step.files,
            elapsed_ms: step.elapsed_ms,
            expectations,
            // Not kept.
            commit_ms: 0,
        }
    }
}
