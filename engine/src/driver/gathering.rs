//! Whether a step's rows are brought together by partition before they are written: an exchange of every row for fewer
//! files. Edge: a few rows are read to see in how many partitions they lie.

use std::sync::Arc;
use std::time::Duration;

use datafusion::common::Column;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::aggregates::group_values::new_group_values;
use datafusion::physical_plan::aggregates::order::GroupOrdering;
use datafusion::physical_plan::execution_plan::EmissionType;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;

use crate::Result;
use crate::delta::DeltaFilesScanExec;
use crate::source::files::FilesScanExec;

/// An exchange is worth its price when files would be smaller than this without it.
const LEAST_FILE_BYTES: u64 = 8 << 20;
/// Files that a task keeps open at ease; with more partitions it would close them half full.
const MOST_PARTITIONS: usize = 64;
/// Rows at the start, in the middle and at the end are looked at: what lies together in the input comes together anyway.
const SAMPLES: usize = 3;
/// A look that takes longer costs more than it can save.
const PATIENCE: Duration = Duration::from_millis(500);

/// Whether the rows of `query`, which reads about `scan_bytes`, go to one of `tasks` tasks by their partition before they
/// are written. In doubt they do: many small files slow down every later reader. A wrong guess costs time, never rows.
pub(super) async fn is_needed(
    session: &SessionContext,
    query: &LogicalPlan,
    partition_by: &[String],
    tasks: usize,
    scan_bytes: u64,
) -> bool {
    if partition_by.is_empty() {
        return false;
    }
    let files = scan_bytes / LEAST_FILE_BYTES;
    let most = usize::try_from(files).unwrap_or(usize::MAX) / tasks.max(1);
    if most == 0 {
        return true;
    }
    match tokio::time::timeout(PATIENCE, partitions_seen(session, query, partition_by)).await {
        Ok(Ok(Some(seen))) => seen > most.min(MOST_PARTITIONS),
        Ok(Ok(None)) | Err(_) => true,
        // Whatever is wrong with the input, the step itself meets it and says so.
        Ok(Err(error)) => {
            tracing::debug!(%error, "the partitions of a step's rows could not be looked at");
            true
        }
    }
}

/// Different partitions among a few rows; `None` when even a few rows need all the input.
async fn partitions_seen(
    session: &SessionContext,
    query: &LogicalPlan,
    partition_by: &[String],
) -> Result<Option<usize>> {
    let fields = query.schema().iter();
    let is_key = |name: &str| partition_by.iter().any(|key| key.eq_ignore_ascii_case(name));
    let keys: Vec<Expr> = fields
        .filter(|(_, field)| is_key(field.name()))
        .map(|(qualifier, field)| Expr::Column(Column::new(qualifier.cloned(), field.name())))
        .collect();
    if keys.len() != partition_by.len() {
        return Ok(None);
    }
    let keys = LogicalPlanBuilder::from(query.clone()).project(keys)?.build()?;
    let plan = session.state().create_physical_plan(&keys).await?;
    if !reads_as_it_gives(&plan) {
        return Ok(None);
    }
    let mut seen = new_group_values(plan.schema(), &GroupOrdering::None)?;
    let last = plan.output_partitioning().partition_count().saturating_sub(1);
    let mut samples: Vec<usize> = (0..SAMPLES).map(|sample| last * sample / (SAMPLES - 1)).collect();
    samples.dedup();
    for sample in samples {
        let mut rows = plan.execute(sample, session.task_ctx())?;
        while let Some(batch) = rows.try_next().await? {
            if batch.num_rows() > 0 {
                seen.intern(batch.columns(), &mut Vec::new())?;
                break;
            }
        }
    }
    Ok(Some(seen.len()))
}

/// Whether the first rows come after little of the input: files under operators that pass on row by row.
fn reads_as_it_gives(plan: &Arc<dyn ExecutionPlan>) -> bool {
    if plan.is::<FilesScanExec>() || plan.is::<DeltaFilesScanExec>() {
        return true;
    }
    match plan.children().as_slice() {
        [input] => plan.pipeline_behavior() == EmissionType::Incremental && reads_as_it_gives(input),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use lake_job::{CsvOptions, FileFormat, FilesSource, ParseMode};
    use tempfile::TempDir;

    use super::*;
    use crate::session;
    use crate::source::files;
    use crate::stores::{Profiles, Stores};

    const TASKS: usize = 2;
    const LARGE: u64 = 1 << 30;

    /// Orders of three countries, each with a day and a number of its own.
    async fn orders(directory: &TempDir) -> SessionContext {
        let line = |n: usize| format!("{},d{n},{n}\n", ["DE", "FR", "NL"][n % 3]);
        let text: String = (0..20_000).map(line).collect();
        std::fs::write(directory.path().join("orders.csv"), format!("country,day,n\n{text}")).unwrap();
        let stores = Arc::new(Stores::new(Profiles::default()));
        let runtime = session::runtime(256 << 20, directory.path()).unwrap();
        let session = session::session(session::local_config(TASKS), runtime, stores.clone());
        let source = FilesSource {
            format: FileFormat::Csv,
            path: format!("file://{}/orders.csv", directory.path().display()),
            mode: ParseMode::FailFast,
            schema: None,
            csv: CsvOptions::default(),
        };
        let orders = files::provider(stores, "orders", &source).await.unwrap();
        session.register_table("orders", Arc::new(orders)).unwrap();
        session
    }

    #[tokio::test]
    async fn rows_in_few_partitions_are_written_where_they_are() {
        let directory = TempDir::new().unwrap();
        let session = orders(&directory).await;
        let cases = [
            ("SELECT * FROM orders", "country", LARGE, false),
            ("SELECT upper(o.country) AS country, n FROM orders o WHERE n > 5", "country", LARGE, false),
            // Files of less than 8 MiB.
            ("SELECT * FROM orders", "country", 40 << 20, true),
            ("SELECT * FROM orders", "country", 1 << 20, true),
            // As many partitions as rows.
            ("SELECT * FROM orders", "day", LARGE, true),
            // The first row comes after the last one was read.
            ("SELECT country, count(*) AS orders FROM orders GROUP BY country", "country", LARGE, true),
            ("SELECT a.* FROM orders a JOIN orders b ON a.n = b.n", "country", LARGE, true),
            ("SELECT country FROM (VALUES ('DE')) AS t(country)", "country", LARGE, true),
            // What the step itself fails of.
            ("SELECT CAST(day AS INT) AS country FROM orders", "country", LARGE, true),
            ("SELECT n FROM orders", "country", LARGE, true),
        ];
        for (sql, key, bytes, needed) in cases {
            let frame = session.sql(sql).await.unwrap();
            let found = is_needed(&session, frame.logical_plan(), &[key.to_owned()], TASKS, bytes).await;
            assert_eq!(found, needed, "{sql} by {key}");
        }
        let frame = session.sql("SELECT * FROM orders").await.unwrap();
        assert!(!is_needed(&session, frame.logical_plan(), &[], TASKS, LARGE).await);
    }
}
