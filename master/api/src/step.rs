//! Steps of an application: in short, as the masters keep them, and in full. Pure.

use std::collections::BTreeMap;

use lake_master_core::step::{FENCED, Step, UNKNOWN};
use lake_record::{ColumnRecord, ExpectationRecord, ReadKind, ReadRecord, StepRecord, TableRecord};
use schemars::JsonSchema;
use serde::Serialize;

use crate::failure::Problem;

/// What a step left behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RecordedStep {
    /// The table it wrote.
    pub table: String,
    /// COMMITTED, SKIPPED (its transaction was there already), FENCED (it can never be committed), UNKNOWN.
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
    pub files: u64,
    /// Wall time.
    pub elapsed_ms: u64,
    /// What the expectations found.
    pub expectations: Vec<Found>,
}

/// What one expectation found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Found {
    /// Its name in job.toml.
    pub name: String,
    /// `warn`, `drop` or `fail`.
    pub action: String,
    /// Rows that violated it.
    pub violations: u64,
}

/// A step in full.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct StepDetail {
    /// The table it writes.
    pub table: String,
    /// Root of the table.
    pub location: String,
    /// How rows are put in, as job.toml says it.
    pub mode: String,
    /// PENDING RUNNING COMMITTING COMMITTED SKIPPED FAILED KILLED FENCED UNKNOWN, or NOT_RUN: it waited when its run ended.
    pub state: String,
    /// When it began; 0 = not yet.
    pub started_at_ms: u64,
    /// When it had ended; 0 = not yet.
    pub ended_at_ms: u64,
    /// How long it took, or has taken.
    pub elapsed_ms: u64,
    /// The table's version before it; null when it was not there or is not known.
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
    pub reads: Vec<ReadDetail>,
    /// What its expectations found.
    pub expectations: Vec<ExpectationDetail>,
    /// Why it failed.
    pub failure: Option<Problem>,
    /// The table as this step left it.
    pub table_after: Option<TableState>,
}

/// One thing that a step read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ReadDetail {
    /// Its name in the job.
    pub name: String,
    /// `source` or `table`.
    pub kind: &'static str,
    /// Where it is.
    pub location: String,
    /// The version of a table that was read.
    pub version: Option<i64>,
    /// Files that were there to be read.
    pub files: Option<u64>,
    /// Their bytes.
    pub bytes: Option<u64>,
}

/// What one expectation found, of how many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ExpectationDetail {
    /// Its name in job.toml.
    pub name: String,
    /// `warn`, `drop` or `fail`.
    pub action: String,
    /// Rows that violated it.
    pub violations: u64,
    /// Rows it was evaluated on; null when that is not known.
    pub checked: Option<u64>,
}

/// A table at one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TableState {
    /// The version that this describes.
    pub version: i64,
    /// When it was committed.
    pub committed_at_ms: u64,
    /// Delta's name of the operation: WRITE, MERGE, …
    pub operation: String,
    /// Delta's operation metrics, as in the commit.
    pub operation_metrics: BTreeMap<String, String>,
    /// Its columns, in order.
    pub columns: Vec<Column>,
    /// Its partition columns.
    pub partition_by: Vec<String>,
    /// Live data files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Rows by the statistics of the log; null when a file has none.
    pub rows: Option<u64>,
    /// Live files by size: one number per bound of `tables/{name}`, and one for larger files; empty = not told.
    pub file_sizes: Vec<u64>,
    /// Different values of the partition columns; null = not told.
    pub partitions: Option<u64>,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type as SQL writes it.
    pub data_type: String,
    /// Whether it may be NULL.
    pub is_nullable: bool,
}

impl RecordedStep {
    /// Those steps of a record that have left something behind.
    pub fn of_records(steps: &[StepRecord]) -> Vec<Self> {
        const OUTCOMES: [&str; 4] = ["COMMITTED", "SKIPPED", FENCED, UNKNOWN];
        steps.iter().filter(|step| OUTCOMES.contains(&step.state.as_str())).map(Self::from).collect()
    }
}

impl From<&Step> for RecordedStep {
    fn from(step: &Step) -> Self {
        let found = step.expectations.iter().map(|found| Found {
            name: found.name.clone(),
            action: found.action.clone(),
            violations: found.violations,
        });
        Self {
            table: step.table.clone(),
            outcome: step.outcome.clone(),
            version: step.version,
            rows_in: step.rows_in,
            rows_out: step.rows_out,
            bytes_out: step.bytes_out,
            files: u64::from(step.files),
            elapsed_ms: step.elapsed_ms,
            expectations: found.collect(),
        }
    }
}

impl From<&StepRecord> for RecordedStep {
    fn from(step: &StepRecord) -> Self {
        let found = step.expectations.iter().map(|found| Found {
            name: found.name.clone(),
            action: found.action.clone(),
            violations: found.violations,
        });
        Self {
            table: step.table.clone(),
            outcome: step.state.clone(),
            // Delta's first version is 0.
            version: step.version.unwrap_or(-1),
            rows_in: step.rows_in,
            rows_out: step.rows_out,
            bytes_out: step.bytes_out,
            files: step.files,
            elapsed_ms: step.elapsed_ms(step.ended_at_ms),
            expectations: found.collect(),
        }
    }
}

impl StepDetail {
    /// A step as it is at `now_ms`.
    pub fn new(step: &StepRecord, now_ms: u64) -> Self {
        Self {
            table: step.table.clone(),
            location: step.location.clone(),
            mode: step.mode.clone(),
            state: step.state.clone(),
            started_at_ms: step.started_at_ms,
            ended_at_ms: step.ended_at_ms,
            elapsed_ms: step.elapsed_ms(now_ms),
            version_before: step.version_before,
            version: step.version,
            rows_in: step.rows_in,
            rows_out: step.rows_out,
            bytes_out: step.bytes_out,
            files: step.files,
            reads: step.reads.iter().map(ReadDetail::from).collect(),
            expectations: step.expectations.iter().map(ExpectationDetail::from).collect(),
            failure: step.failure.as_ref().map(Problem::from),
            table_after: step.table_after.as_ref().map(TableState::from),
        }
    }
}

impl From<&ReadRecord> for ReadDetail {
    fn from(read: &ReadRecord) -> Self {
        Self {
            name: read.name.clone(),
            kind: kind_of(read),
            location: read.location.clone(),
            version: read.version,
            files: read.files,
            bytes: read.bytes,
        }
    }
}

/// `source` or `table`.
pub(crate) const fn kind_of(read: &ReadRecord) -> &'static str {
    match read.kind {
        ReadKind::Source => "source",
        ReadKind::Table => "table",
    }
}

impl From<&ExpectationRecord> for ExpectationDetail {
    fn from(found: &ExpectationRecord) -> Self {
        Self {
            name: found.name.clone(),
            action: found.action.clone(),
            violations: found.violations,
            checked: found.checked,
        }
    }
}

impl From<&TableRecord> for TableState {
    fn from(table: &TableRecord) -> Self {
        Self {
            version: table.version,
            committed_at_ms: table.committed_at_ms,
            operation: table.operation.clone(),
            operation_metrics: table.operation_metrics.clone(),
            columns: table.columns.iter().map(Column::from).collect(),
            partition_by: table.partition_by.clone(),
            files: table.files,
            bytes: table.bytes,
            rows: table.rows,
            file_sizes: table.file_sizes.clone(),
            partitions: table.partitions,
        }
    }
}

impl From<&ColumnRecord> for Column {
    fn from(column: &ColumnRecord) -> Self {
        Self { name: column.name.clone(), data_type: column.data_type.clone(), is_nullable: column.is_nullable }
    }
}

#[cfg(test)]
mod tests {
    use lake_master_core::step::Expectation;

    use super::*;
    use crate::example;

    #[test]
    fn a_recorded_step_is_as_the_masters_keep_it_wherever_it_comes_from() {
        let kept = Step {
            table: "bronze.orders".to_owned(),
            outcome: "COMMITTED".to_owned(),
            version: 4,
            rows_in: 100,
            rows_out: 90,
            bytes_out: 1_000,
            files: 2,
            elapsed_ms: 1_400,
            expectations: vec![Expectation { name: "has_id".to_owned(), action: "drop".to_owned(), violations: 10 }],
        };
        let from_state = RecordedStep::from(&kept);
        assert_eq!(serde_json::to_value(&from_state).unwrap(), serde_json::to_value(&kept).unwrap());
        // The second step runs: it has left nothing behind.
        assert_eq!(RecordedStep::of_records(&example::record().steps), [from_state]);
    }

    #[test]
    fn a_step_in_full_tells_what_it_read_and_what_the_table_became() {
        let json = serde_json::to_value(StepDetail::new(&example::bronze(), 9_000)).unwrap();
        assert_eq!((&json["elapsed_ms"], &json["version_before"]), (&1_400.into(), &3.into()));
        assert_eq!(json["reads"][0]["kind"], "source");
        assert_eq!(json["expectations"][0]["checked"], 100);
        assert_eq!(json["table_after"]["columns"][1]["data_type"], "date");
        assert_eq!(json["table_after"]["operation_metrics"]["numFiles"], "2");
        let running = serde_json::to_value(StepDetail::new(&example::silver(), 9_000)).unwrap();
        assert_eq!((&running["elapsed_ms"], &running["table_after"]), (&3_900.into(), &serde_json::Value::Null));
        assert_eq!(running["reads"][0]["version"], 4);
    }
}
