//! Records of steps: what is kept of one, and shown. Pure.

use std::time::Instant;

use lake_job::Table;
use lake_proto::v1::StepRecord;

use super::expectations;
use crate::delta::{Committed, Written};

/// Of a step whose rows are in the table, as `version`, by this attempt of the run; without how long its commit took.
pub(super) fn committed(table: &Table, version: i64, written: &Written, started: Instant) -> StepRecord {
    StepRecord {
        table: table.name.to_string(),
        outcome: "COMMITTED".to_owned(),
        version,
        rows_in: written.input_rows,
        rows_out: written.output_rows,
        bytes_out: written.output_bytes,
        files: u32::try_from(written.adds.len()).unwrap_or(u32::MAX),
        elapsed_ms: elapsed_ms(started),
        expectations: expectations::results(table, written),
        ..StepRecord::default()
    }
}

/// Of a step whose rows were in the table already, by an earlier attempt of the run: at the latest as `version`, and as
/// the log tells it in `found`.
pub(super) fn skipped(table: &Table, version: i64, found: Option<&Committed>, started: Instant) -> StepRecord {
    let record = StepRecord {
        table: table.name.to_string(),
        outcome: "SKIPPED".to_owned(),
        version,
        elapsed_ms: elapsed_ms(started),
        ..StepRecord::default()
    };
    match found {
        Some(found) => with(record, found),
        None => record,
    }
}

/// The record with the figures of the commit.
pub(super) fn with(record: StepRecord, found: &Committed) -> StepRecord {
    StepRecord {
        version: found.version,
        rows_in: found.input_rows,
        rows_out: found.output_rows,
        bytes_out: found.bytes,
        files: u32::try_from(found.files).unwrap_or(u32::MAX),
        ..record
    }
}

/// Milliseconds since `started`.
pub(super) fn elapsed_ms(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}
