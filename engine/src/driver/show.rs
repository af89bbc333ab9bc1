//! The first rows of a table of the job, as text. Edge.

use std::sync::Arc;

use arrow::util::pretty::pretty_format_batches;
use lake_job::Pipeline;
use lake_proto::Fault;

use super::inputs;
use crate::delta::{DeltaTable, DeltaTableProvider};
use crate::session::{local_config, runtime, session};
use crate::stores::Stores;
use crate::{EngineError, Result};

const MEMORY_BYTES: usize = 1 << 30;

/// The first `limit` rows of `table` of the job.
///
/// # Errors
/// `not-found` when the job has no such table or it was never written.
pub async fn show(pipeline: Pipeline, table: &str, limit: usize) -> Result<String, Fault> {
    rows(&pipeline, table, limit).await.map_err(Fault::from)
}

async fn rows(pipeline: &Pipeline, table: &str, limit: usize) -> Result<String> {
    let known = pipeline.tables.iter().find(|step| step.name.to_string().eq_ignore_ascii_case(table));
    let known = known.ok_or_else(|| {
        let names: Vec<String> = pipeline.tables.iter().map(|step| step.name.to_string()).collect();
        EngineError::not_found("table", format!("the job has no table '{table}': it has {}", names.join(", ")))
    })?;
    let stores = Arc::new(Stores::new(inputs::profiles(pipeline)));
    let location = inputs::location(&known.location)?;
    let snapshot = DeltaTable::open(&stores, &location).await?;
    let snapshot = snapshot.ok_or_else(|| {
        EngineError::not_found("table", format!("table {} was never written at {location}", known.name))
    })?;
    let session = session(local_config(1), runtime(MEMORY_BYTES, &std::env::temp_dir())?, stores);
    let provider = Arc::new(DeltaTableProvider::new(snapshot));
    let batches = session.read_table(provider)?.limit(0, Some(limit))?.collect().await?;
    Ok(pretty_format_batches(&batches)?.to_string())
}
