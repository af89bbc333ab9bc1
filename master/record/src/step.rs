//! One step of a pipeline: a table, what filled it and what was found. Pure.

use lake_proto::Fault;
use serde::{Deserialize, Serialize};

use crate::table::TableRecord;

/// One step as it is, or was when it ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StepRecord {
    /// The table it writes.
    pub table: String,
    /// Root of the table.
    pub location: String,
    /// How rows are put in, as job.toml says it.
    pub mode: String,
    /// PENDING RUNNING COMMITTING COMMITTED SKIPPED FAILED KILLED FENCED UNKNOWN, or NOT_RUN: it waited when its run ended.
    pub state: String,
    /// When it began.
    pub started_at_ms: u64,
    /// When it had ended.
    pub ended_at_ms: u64,
    /// How long it took as its driver measured it; 0 = not told. Also known where the instants are not.
    pub took_ms: u64,
    /// The table's version before it; `None` when it was not there or is not known.
    pub version_before: Option<i64>,
    /// The table's version after it.
    pub version: Option<i64>,
    /// Rows read.
    pub rows_in: u64,
    /// Rows written.
    pub rows_out: u64,
    /// Bytes of the files written.
    pub bytes_out: u64,
    /// Files written.
    pub files: u64,
    /// What it read, pinned.
    pub reads: Vec<ReadRecord>,
    /// What its expectations found, and how many records of its sources did not parse.
    pub expectations: Vec<ExpectationRecord>,
    /// Why it failed.
    pub failure: Option<Fault>,
    /// The table as this step left it; `None` while it is not committed.
    pub table_after: Option<TableRecord>,
}

/// Kind of what a step reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadKind {
    /// A source of the job: files or a database.
    #[default]
    Source,
    /// A Delta table.
    Table,
}

/// One thing that a step read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReadRecord {
    /// Its name in the job.
    pub name: String,
    /// What it is.
    pub kind: ReadKind,
    /// Where it is: a URL of files or of a table, `connection/schema.table` of a database. Never a credential.
    pub location: String,
    /// The version of a table that was read.
    pub version: Option<i64>,
    /// Files that were there to be read.
    pub files: Option<u64>,
    /// Their bytes.
    pub bytes: Option<u64>,
}

/// What one expectation found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExpectationRecord {
    /// Its name.
    pub name: String,
    /// warn, drop or fail.
    pub action: String,
    /// Rows that violate it.
    pub violations: u64,
    /// Rows it was evaluated on; `None` when that is not known.
    pub checked: Option<u64>,
}

impl StepRecord {
    /// Whether it did anything yet, or ever. Records of older releases have PENDING steps of runs that are over.
    pub fn has_begun(&self) -> bool {
        !matches!(self.state.as_str(), "PENDING" | "NOT_RUN")
    }

    /// How long it took, or has taken at `now_ms`.
    pub fn elapsed_ms(&self, now_ms: u64) -> u64 {
        let end = if self.ended_at_ms > 0 { self.ended_at_ms } else { now_ms };
        if self.took_ms > 0 || self.started_at_ms == 0 { self.took_ms } else { end.saturating_sub(self.started_at_ms) }
    }

    /// Violations of all expectations together.
    pub fn violations(&self) -> u64 {
        self.expectations.iter().fold(0, |sum, found| sum.saturating_add(found.violations))
    }
}
