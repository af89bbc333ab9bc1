//! A driver without a cluster: everything in this process. Edge.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::Utc;
use lake_job::Pipeline;
use lake_proto::Fault;
use lake_proto::v1::{StepProgress, StepRecord};
use lake_telemetry::lineage::Catalogue;
use tokio::sync::watch;
use tracing::Instrument;

use super::run::{Commits, Identity, Run};
use super::spans;
use crate::runner::local::LocalRunner;
use crate::session;
use crate::stores::Stores;

/// What a local run may use.
#[derive(Debug, Clone)]
pub struct LocalOptions {
    /// Cores.
    pub cores: usize,
    /// Memory of queries, in bytes; beyond it they spill.
    pub memory_bytes: usize,
    /// Where they spill to.
    pub spill_directory: PathBuf,
}

/// Runs the pipeline here and returns what its steps did, in the order they ended. `progress` always holds every
/// step.
///
/// # Errors
/// The first failure; tables committed before it stay.
pub async fn run_local(
    pipeline: Pipeline,
    options: LocalOptions,
    progress: watch::Sender<Vec<StepProgress>>,
) -> Result<Vec<StepRecord>, Fault> {
    let stores = Arc::new(Stores::new(super::inputs::profiles(&pipeline)));
    std::fs::create_dir_all(&options.spill_directory).map_err(crate::EngineError::from)?;
    let runtime = session::runtime(options.memory_bytes, &options.spill_directory)?;
    let moment = Utc::now();
    let run_number = moment.timestamp_millis();
    let identity = Identity { run_id: format!("local-{run_number}"), run_number, moment };
    let runner = Arc::new(LocalRunner::new(options.cores, runtime.clone()));
    let catalogue = Catalogue::of_environment();
    let span = spans::application(&identity.run_id, "", "");
    let run = Run::new(pipeline, identity, stores.clone(), runtime, runner, Arc::new(Alone), progress);
    let outcome = Box::pin(run.told_to(catalogue.lineage()).execute(Vec::new())).instrument(span).await;
    stores.cleaned_up().await;
    catalogue.close().await;
    outcome.map_err(Fault::from)
}

/// Nobody else runs this job, as far as this process can know.
pub(super) struct Alone;

#[async_trait]
impl Commits for Alone {
    async fn permit(&self, _table: &str, _inputs: &str) -> crate::Result<u64> {
        Ok(0)
    }

    /// There is nobody who could take over.
    fn check(&self) -> crate::Result<()> {
        Ok(())
    }

    async fn record(&self, _step: StepRecord) -> crate::Result<()> {
        Ok(())
    }

    fn keeps_records(&self) -> bool {
        false
    }
}
