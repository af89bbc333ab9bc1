//! Plain DataFusion in this process, with nothing of ours. Edge.

use std::path::Path;
use std::time::Instant;

use arrow::array::RecordBatch;
use datafusion::dataframe::DataFrameWriteOptions;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use serde_json::json;
use url::Url;

pub(crate) fn session(cores: usize) -> SessionContext {
    SessionContext::new_with_config(SessionConfig::new().with_target_partitions(cores))
}

/// The same tables, their data files read as plain Parquet.
pub(crate) async fn register(session: &SessionContext, tables: &Url, names: &[&str]) -> anyhow::Result<()> {
    for name in names {
        let folder = format!("{}/{name}/", tables.as_str().trim_end_matches('/'));
        session.register_parquet(*name, folder, ParquetReadOptions::default()).await?;
    }
    Ok(())
}

pub(crate) async fn query(session: &SessionContext, sql: &str) -> anyhow::Result<Vec<RecordBatch>> {
    Ok(session.sql(sql).await?.collect().await?)
}

pub(crate) async fn write_parquet(
    from: &str,
    to: &str,
    partition_by: Option<&str>,
    cores: usize,
) -> anyhow::Result<()> {
    let session = session(cores);
    let started = Instant::now();
    let frame = session.read_parquet(from, ParquetReadOptions::default()).await?;
    let mut options = DataFrameWriteOptions::new();
    if let Some(column) = partition_by {
        options = options.with_partition_by(vec![column.to_owned()]);
    }
    frame.write_parquet(to, options, None).await?;
    let seconds = started.elapsed().as_secs_f64();
    let rows = session.read_parquet(from, ParquetReadOptions::default()).await?.count().await?;
    println!("{}", json!({ "seconds": seconds, "rows": rows }));
    Ok(())
}

pub(crate) async fn statements(file: &Path, cores: usize) -> anyhow::Result<()> {
    let session = session(cores);
    let text = std::fs::read_to_string(file)?;
    let started = Instant::now();
    for statement in text.split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
        session.sql(statement).await?.collect().await?;
    }
    println!("{}", json!({ "seconds": started.elapsed().as_secs_f64() }));
    Ok(())
}
