//! The first rows of a table of the job, as text. Edge.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use lake_job::Pipeline;
use lake_proto::Fault;
use lake_proto::quantity::{count, counted};

use super::inputs;
use crate::delta::{DeltaTable, DeltaTableProvider, LiveFile, stats};
use crate::session::{local_config, runtime, session};
use crate::stores::{Patience, Stores};
use crate::{EngineError, Result};

const MEMORY_BYTES: usize = 1 << 30;

/// The first rows of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The rows, drawn as a table.
    pub rows: String,
    /// How many these are, and of how many: `7 rows`, `20 of 1,234 rows`.
    pub extent: String,
}

/// The first `limit` rows of `table` of the job.
///
/// # Errors
/// `not-found` when the job has no such table or it was never written.
pub async fn show(pipeline: Pipeline, table: &str, limit: usize) -> Result<Shown, Fault> {
    rows(&pipeline, table, limit).await.map_err(Fault::from)
}

async fn rows(pipeline: &Pipeline, table: &str, limit: usize) -> Result<Shown> {
    let known = pipeline.tables.iter().find(|step| step.name.to_string().eq_ignore_ascii_case(table));
    let known = known.ok_or_else(|| {
        let names: Vec<String> = pipeline.tables.iter().map(|step| step.name.to_string()).collect();
        EngineError::not_found("table", format!("the job has no table '{table}': it has {}", names.join(", ")))
    })?;
    let stores = Arc::new(Stores::new(inputs::profiles(pipeline)).with_patience(Patience::Short));
    let location = inputs::location(&known.location)?;
    let snapshot = DeltaTable::open(&stores, &location).await?;
    let snapshot = snapshot.ok_or_else(|| {
        EngineError::not_found("table", format!("table {} was never written at {location}", known.name))
    })?;
    let files = snapshot.live_files().await?;
    let session = session(local_config(1), runtime(MEMORY_BYTES, &std::env::temp_dir())?, stores);
    let provider = Arc::new(DeltaTableProvider::new(snapshot));
    // One more than is shown tells whether there are more, also where the log has no counts.
    let batches = session.read_table(provider)?.limit(0, Some(limit.saturating_add(1)))?.collect().await?;
    let (batches, has_more) = first(batches, limit);
    let shown = batches.iter().map(RecordBatch::num_rows).sum();
    let logged = if has_more { logged_rows(&files) } else { None };
    Ok(Shown { rows: pretty_format_batches(&batches)?.to_string(), extent: extent(shown, has_more, logged) })
}

/// The first `limit` rows, and whether there were more.
fn first(batches: Vec<RecordBatch>, limit: usize) -> (Vec<RecordBatch>, bool) {
    let mut kept = Vec::new();
    let mut left = limit;
    let mut has_more = false;
    for batch in batches {
        let rows = batch.num_rows().min(left);
        has_more |= rows < batch.num_rows();
        left -= rows;
        kept.push(batch.slice(0, rows));
    }
    (kept, has_more)
}

/// Rows of the table, when the log knows.
fn logged_rows(files: &[LiveFile]) -> Option<u64> {
    files.iter().map(stats::live_rows).sum()
}

fn extent(shown: usize, has_more: bool, logged: Option<u64>) -> String {
    let shown = u64::try_from(shown).unwrap_or(u64::MAX);
    match logged {
        _ if !has_more => counted(shown, "row"),
        // Who wrote the log may have counted wrongly: more than were seen there are in any case.
        Some(all) if all > shown => format!("{} of {}", count(shown), counted(all, "row")),
        Some(_) | None => format!("the first {}; there are more", counted(shown, "row")),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array};

    use super::*;

    fn batch(rows: i64) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        RecordBatch::try_from_iter([("n", column)]).unwrap()
    }

    #[test]
    fn what_is_beyond_the_limit_is_cut_and_noticed() {
        for (sizes, limit, expected, more) in [
            (&[2, 1][..], 3, 3, false),
            (&[2, 2], 3, 3, true),
            (&[3, 1], 3, 3, true),
            (&[], 3, 0, false),
            (&[1], 0, 0, true),
        ] {
            let (kept, has_more) = first(sizes.iter().map(|size| batch(*size)).collect(), limit);
            let rows: usize = kept.iter().map(RecordBatch::num_rows).sum();
            assert_eq!((rows, has_more), (expected, more), "{sizes:?} to {limit}");
        }
    }

    #[test]
    fn the_extent_says_how_many_rows_there_are_when_that_is_known() {
        assert_eq!(extent(1, false, Some(1)), "1 row");
        assert_eq!(extent(0, false, None), "0 rows");
        assert_eq!(extent(20, true, Some(1_234_567)), "20 of 1,234,567 rows");
        assert_eq!(extent(20, true, None), "the first 20 rows; there are more");
        assert_eq!(extent(20, true, Some(20)), "the first 20 rows; there are more");
    }
}
