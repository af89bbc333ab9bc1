//! The only door to the engine: everything that runs in this process. Without the feature `local` the door is shut
//! and says so. Edge.

#[cfg(feature = "local")]
pub(crate) use open::{dry_run, run_attached, run_local, show};
#[cfg(not(feature = "local"))]
pub(crate) use shut::{dry_run, run_attached, run_local, show};

/// What a dry run found: text for people and a document for scripts.
pub(crate) struct Plan {
    pub(crate) text: String,
    pub(crate) document: serde_json::Value,
}

/// The first rows of a table.
pub(crate) struct Shown {
    /// Drawn as a table.
    pub(crate) rows: String,
    /// How many these are, and of how many.
    pub(crate) extent: String,
}

#[cfg(feature = "local")]
mod open {
    use std::path::Path;

    use lake_engine::driver::{self, DriverArgs, LocalOptions};
    use lake_job::Pipeline;
    use lake_proto::host::memory_bytes;
    use lake_proto::v1::{StepProgress, StepRecord, SubmitResponse};
    use lake_proto::{DEFAULT_DRIVER_MEMORY_BYTES, ErrorClass, Fault};
    use tokio::sync::watch;

    use super::{Plan, Shown};
    use crate::options::Options;

    const LOCAL_MEMORY_WHEN_UNKNOWN: u64 = 2 << 30;

    /// Runs the pipeline in this process; what does not fit into memory goes to `directory`. Dropping the future cancels
    /// it.
    pub(crate) async fn run_local(
        pipeline: Pipeline,
        options: &Options,
        directory: &Path,
        progress: watch::Sender<Vec<StepProgress>>,
    ) -> Result<Vec<StepRecord>, Fault> {
        let threads = || std::thread::available_parallelism().map_or(1, usize::from);
        let cores = options.total_executor_cores.and_then(|cores| usize::try_from(cores).ok()).unwrap_or_else(threads);
        let memory = options.driver_memory.unwrap_or_else(local_memory);
        let options = LocalOptions {
            cores,
            memory_bytes: usize::try_from(memory).unwrap_or(usize::MAX),
            spill_directory: directory.to_owned(),
        };
        driver::run_local(pipeline, options, progress).await
    }

    /// Acts as the driver of a submission made with deploy mode `client`. `lease_ended` is called on another thread when
    /// another driver may have the submission by now, and is to end this process.
    pub(crate) async fn run_attached(
        options: &Options,
        submitted: &SubmitResponse,
        directory: &Path,
        lease_ended: impl FnOnce(Fault) + Send + 'static,
    ) -> Result<(), Fault> {
        let driver_id = submitted.driver_id.parse().map_err(|error| {
            Fault::new(ErrorClass::Internal, "driver-id", format!("the master's answer is not usable: {error}"))
        })?;
        let arguments = DriverArgs {
            master_url: options.master.clone(),
            driver_id,
            epoch: submitted.epoch,
            work_dir: directory.to_owned(),
            memory_bytes: options.driver_memory.unwrap_or(DEFAULT_DRIVER_MEMORY_BYTES),
            // The current span's.
            traceparent: String::new(),
        };
        driver::run_attached(arguments, lease_ended).await
    }

    /// Plans the pipeline and changes nothing.
    pub(crate) async fn dry_run(pipeline: Pipeline) -> Result<Plan, Fault> {
        let plan = driver::dry_run(pipeline).await?;
        let document = serde_json::to_value(&plan)
            .map_err(|error| Fault::new(ErrorClass::Internal, "json", format!("the plan has no JSON form: {error}")))?;
        Ok(Plan { text: plan.to_string(), document })
    }

    /// The first rows of a table of the pipeline.
    pub(crate) async fn show(pipeline: Pipeline, table: &str, limit: usize) -> Result<Shown, Fault> {
        let driver::Shown { rows, extent } = driver::show(pipeline, table, limit).await?;
        Ok(Shown { rows, extent })
    }

    /// 60 % of what this process may have: the rest is for what the pool does not count.
    fn local_memory() -> u64 {
        memory_bytes().map_or(LOCAL_MEMORY_WHEN_UNKNOWN, |total| total / 10 * 6)
    }
}

#[cfg(not(feature = "local"))]
mod shut {
    use std::path::Path;

    use lake_job::Pipeline;
    use lake_proto::v1::{StepProgress, StepRecord, SubmitResponse};
    use lake_proto::{ErrorClass, Fault};
    use tokio::sync::watch;

    use super::{Plan, Shown};
    use crate::options::Options;

    pub(crate) async fn run_local(
        _pipeline: Pipeline,
        _options: &Options,
        _directory: &Path,
        _progress: watch::Sender<Vec<StepProgress>>,
    ) -> Result<Vec<StepRecord>, Fault> {
        Err(no_engine("--deploy-mode local"))
    }

    pub(crate) async fn run_attached(
        _options: &Options,
        _submitted: &SubmitResponse,
        _directory: &Path,
        _lease_ended: impl FnOnce(Fault) + Send + 'static,
    ) -> Result<(), Fault> {
        Err(no_engine("--deploy-mode client"))
    }

    pub(crate) async fn dry_run(_pipeline: Pipeline) -> Result<Plan, Fault> {
        Err(no_engine("--dry-run"))
    }

    pub(crate) async fn show(_pipeline: Pipeline, _table: &str, _limit: usize) -> Result<Shown, Fault> {
        Err(no_engine("--show"))
    }

    fn no_engine(what: &str) -> Fault {
        let message = format!("{what} needs the engine, and this lake-submit was built without the feature 'local'");
        Fault::new(ErrorClass::InvalidJob, "no-engine", message)
    }
}
