//! A run that touches nothing: plans every step and says what it would read. Edge.

use std::fmt;
use std::sync::Arc;

use chrono::Utc;
use lake_job::{Pipeline, Read};
use lake_proto::Fault;
use lake_proto::quantity::counted;
use serde::Serialize;

use super::inputs;
use super::planning::{estimated_scan_bytes, physical_plan};
use super::target::Target;
use crate::delta::{DeltaFilesScanExec, plan_write};
use crate::session::{local_config, runtime, session_at};
use crate::stores::{Patience, Stores};
use crate::{EngineError, Result, sql_type};

const PLANNING_MEMORY_BYTES: usize = 1 << 30;

/// What a run would do.
#[derive(Debug, Clone, Serialize)]
pub struct DryRun {
    /// The job's name.
    pub job: String,
    /// Its steps, in an order they could run in.
    pub steps: Vec<DryStep>,
}

/// What one step would do.
#[derive(Debug, Clone, Serialize)]
pub struct DryStep {
    /// The table it writes.
    pub table: String,
    /// How.
    pub mode: String,
    /// Whether the table exists, and its version.
    pub version: Option<i64>,
    /// What it reads.
    pub reads: Vec<String>,
    /// Its columns, as `name type`.
    pub columns: Vec<String>,
    /// Data files of Delta tables that would be opened, after pruning.
    pub files_read: usize,
    /// Data files of those tables in all.
    pub files_total: usize,
    /// Bytes the scans are expected to read.
    pub estimated_bytes: u64,
}

/// Plans every step, with the planned columns of tables that do not exist yet.
///
/// # Errors
/// What the same run would fail with before its first task.
pub async fn dry_run(pipeline: Pipeline) -> Result<DryRun, Fault> {
    plan(pipeline).await.map_err(Fault::from)
}

async fn plan(pipeline: Pipeline) -> Result<DryRun> {
    let stores = Arc::new(Stores::new(inputs::profiles(&pipeline)).with_patience(Patience::Short));
    let runtime = runtime(PLANNING_MEMORY_BYTES, &std::env::temp_dir())?;
    let moment = Utc::now();
    let mut planned = inputs::Planned::new();
    let mut steps = Vec::with_capacity(pipeline.tables.len());
    for table in &pipeline.tables {
        let step = async {
            let session = session_at(local_config(1), runtime.clone(), stores.clone(), moment);
            let inputs::PlannedStep { frame, columns: schema, destination } =
                inputs::plan(&pipeline, table, &stores, &session, &planned).await?;
            let plan = physical_plan(&session, frame.logical_plan()).await;
            let plan = plan.map_err(|error| inputs::in_query(table, error))?;
            plan_write(plan.clone(), destination.spec.with_checks(destination.checks))?;
            let version = match &destination.target {
                Target::Exists(snapshot) => Some(snapshot.version()),
                Target::New(_) => None,
            };
            let files = DeltaFilesScanExec::files(&plan);
            let columns = schema.fields().iter().map(|field| sql_type::column(field));
            let step = DryStep {
                table: table.name.to_string(),
                mode: table.mode.to_string(),
                version,
                reads: table.reads.iter().map(read).collect(),
                columns: columns.collect(),
                files_read: files.read,
                files_total: files.total,
                estimated_bytes: estimated_scan_bytes(&plan),
            };
            Ok::<_, EngineError>((step, schema))
        };
        let (step, schema) =
            step.await.map_err(|error| error.within(format!("table {} ({})", table.name, table.origin)))?;
        planned.insert(table.name.clone(), schema);
        steps.push(step);
    }
    Ok(DryRun { job: pipeline.name, steps })
}

fn read(read: &Read) -> String {
    match read {
        Read::Source(name) => format!("source {name}"),
        Read::Table(name) => name.to_string(),
        Read::External(name) => format!("{name} (existing)"),
    }
}

impl fmt::Display for DryRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "job {}: {}, nothing was written", self.job, counted(self.steps.len(), "step"))?;
        for step in &self.steps {
            let version =
                step.version.map_or_else(|| "new table".to_owned(), |version| format!("at version {version}"));
            writeln!(f, "  {} <- {}", step.table, step.reads.join(", "))?;
            writeln!(f, "      {}, {version}, {}", step.mode, counted(step.columns.len(), "column"))?;
            if step.files_total > 0 {
                writeln!(f, "      reads {} of {}", step.files_read, counted(step.files_total, "data file"))?;
            }
        }
        Ok(())
    }
}
