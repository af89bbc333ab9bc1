//! One attempt of a task, on the compute threads: decode, put the probe in, run, say what came out. Edge.

use std::path::Path;
use std::sync::Arc;

use ballista_core::client_pool::BallistaClientPool;
use ballista_core::execution_plans::{RangeShuffleReaderExec, ShuffleReaderExec};
use ballista_executor::execution_engine::{DefaultExecutionEngine, ExecutionEngine};
use bytes::Bytes;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use lake_engine::{EngineError, codec};
use lake_proto::v1::{LaunchTask, ShuffleOutput, TaskDone, TaskMetrics};
use lake_proto::{ErrorClass, QueryId, codes};
use lake_telemetry::trace;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Span;
use tracing::field::Empty;

use super::clients::Clients;
use super::failure::Failed;
use super::probe::{Counters, ProbeExec, Watch};
use super::query::Query;
use super::result::{self, Rows};
use super::{brake, operators};
use crate::flight::ticket::ResultTicket;
use crate::workdir::WorkDir;

/// Everything an attempt needs. Dropped with its future.
pub(super) struct Attempt {
    pub(super) query: Arc<Query>,
    pub(super) launch: LaunchTask,
    pub(super) stage: u32,
    pub(super) number: u64,
    pub(super) counters: Arc<Counters>,
    /// Ends the streams of this attempt only.
    pub(super) stop: CancellationToken,
    pub(super) clients: Arc<Clients>,
    pub(super) work: Arc<WorkDir>,
}

impl Attempt {
    /// The span of the attempt, as part of its stage's trace.
    pub(super) fn span(&self) -> Span {
        let (query_id, app_id) = (&self.query.id, self.query.app_id.as_str());
        let task_id = self.launch.task.as_ref().map_or(0, |task| task.task_index);
        let span = tracing::info_span!("task_attempt", app_id, %query_id, stage_id = self.stage, task_id,
            attempt = self.number, error.class = Empty, error.code = Empty);
        trace::follow(&span, &self.launch.traceparent);
        span
    }
}

/// What a successful attempt hands over.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) done: TaskDone,
    /// What its plan has done. Rows and bytes are only those that it wrote into a table; time is not in it.
    pub(super) metrics: TaskMetrics,
}

/// Runs the attempt to its end. On failure everything it started is told to stop. `alive` is dropped when nothing of
/// the attempt is left, which may be later than the end of this.
pub(super) async fn run(attempt: Attempt, alive: DropGuard) -> Result<Output, Failed> {
    let stop = attempt.stop.clone();
    let watch = Arc::new(Watch::new(stop.clone(), attempt.counters.clone(), alive));
    let outcome = execute(&attempt, &watch).await;
    if outcome.is_err() {
        stop.cancel();
    }
    outcome
}

async fn execute(attempt: &Attempt, watch: &Arc<Watch>) -> Result<Output, Failed> {
    let context = attempt.query.context(format!("{}/{}", attempt.stage, attempt.number))?;
    let codec = codec::codec();
    let plan = codec::decode_plan(&attempt.launch.plan, &context, codec.as_ref()).map_err(undecodable)?;
    run_plan(attempt, watch, plan, context).await
}

/// Runs a decoded plan as the launch asks for it.
pub(super) async fn run_plan(
    attempt: &Attempt,
    watch: &Arc<Watch>,
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
) -> Result<Output, Failed> {
    if attempt.launch.is_result {
        collect_rows(attempt, watch, plan, context).await
    } else {
        write_shuffle(attempt, watch, plan, context).await
    }
}

/// The plan came from our own master: if it does not decode, that is never the author's fault.
fn undecodable(error: EngineError) -> Failed {
    // Rows within a plan travel as IPC, which otherwise is between tasks.
    let error = if error.class() == ErrorClass::InvalidJob || error.code() == codes::SHUFFLE_FETCH {
        EngineError::new(ErrorClass::Internal, "plan-decode", error.0.message)
    } else {
        error
    };
    Failed::from(error.within("task plan"))
}

async fn write_shuffle(
    attempt: &Attempt,
    watch: &Arc<Watch>,
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
) -> Result<Output, Failed> {
    let shuffle = attempt.work.shuffle();
    let directory = path_text(&shuffle)?;
    let number = index(attempt.number, "attempt")?;
    let mut outputs = Vec::with_capacity(attempt.launch.output_partitions.len());
    for partition in &attempt.launch.output_partitions {
        outputs.push(index(*partition, "output partition")?);
    }
    let probed = put_probe_below(plan, watch).map_err(|error| Failed::of_writer(error, &shuffle))?;
    let pool: Arc<dyn BallistaClientPool> = attempt.clients.clone();
    let stage = DefaultExecutionEngine::with_client_pool(pool)
        .create_query_stage_exec(
            attempt.query.id.as_str().into(),
            index(u64::from(attempt.stage), "stage")?,
            number,
            outputs,
            probed,
            &directory,
            context.session_config(),
        )
        .map_err(|error| Failed::of_writer(error, &shuffle))?;
    let written = match stage.execute_query_stage(number, context).await {
        Ok(written) => written,
        Err(error) => return Err(blame(watch, error, &shuffle)),
    };
    // With the writer, which is not below the probe.
    let spilled_bytes = stage.collect_plan_metrics().iter().map(operators::spilled_bytes).sum();
    let mut metrics = TaskMetrics { spilled_bytes, ..figures(watch) };
    let mut outputs = Vec::with_capacity(written.len());
    for partition in written {
        metrics.shuffle_write_rows = metrics.shuffle_write_rows.saturating_add(partition.num_rows);
        metrics.shuffle_write_bytes = metrics.shuffle_write_bytes.saturating_add(partition.num_bytes);
        outputs.push(ShuffleOutput {
            partition_id: partition.partition_id,
            num_batches: partition.num_batches,
            num_rows: partition.num_rows,
            num_bytes: partition.num_bytes,
            file_id: partition.file_id,
            is_sort_shuffle: partition.is_sort_shuffle,
        });
    }
    lake_proto::point::reached("task-after-shuffle");
    Ok(Output { done: TaskDone { outputs, ..TaskDone::default() }, metrics })
}

async fn collect_rows(
    attempt: &Attempt,
    watch: &Arc<Watch>,
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
) -> Result<Output, Failed> {
    let shuffle = attempt.work.shuffle();
    let readable = open_readers(plan, &path_text(&shuffle)?, &attempt.clients)
        .and_then(brake::put)
        .map_err(|error| Failed::of_writer(error, &shuffle))?;
    let root: Arc<dyn ExecutionPlan> = Arc::new(ProbeExec::new(readable, watch.clone()));
    let file = attempt.work.result_file(&attempt.query.id, attempt.stage, attempt.number);
    let cores = usize::try_from(attempt.launch.cores).unwrap_or(1);
    let rows = match result::collect(root, context, cores, file).await {
        Ok(rows) => rows,
        Err(result::Error::Plan(error)) => return Err(blame(watch, error, &shuffle)),
        Err(result::Error::Writer(error)) => return Err(Failed::of_writer(error, &shuffle)),
    };
    let mut done = TaskDone::default();
    match rows {
        Rows::Inline(bytes) => done.inline_ipc = Bytes::from(bytes),
        Rows::Filed => {
            done.ticket = ResultTicket::new(attempt.query.id.clone(), attempt.stage, attempt.number).to_bytes();
        }
    }
    Ok(Output { done, metrics: figures(watch) })
}

fn figures(watch: &Watch) -> TaskMetrics {
    watch.plan().as_ref().map(operators::figures).unwrap_or_default()
}

/// The plan is to blame for an error that passed the probe, the writer for any other.
fn blame(watch: &Watch, error: DataFusionError, directory: &Path) -> Failed {
    match watch.first_error() {
        Some(first) => Failed::of_plan(&first),
        None => Failed::of_writer(error, directory),
    }
}

#[expect(deprecated, reason = "Ballista's writers implement only the older of the two methods")]
fn put_probe_below(
    writer: Arc<dyn ExecutionPlan>,
    watch: &Arc<Watch>,
) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    let children = writer.children();
    let [child] = children.as_slice() else {
        let found = writer.name().to_owned();
        return Err(DataFusionError::Internal(format!("expected a shuffle writer at the plan's root, found {found}")));
    };
    let probe = Arc::new(ProbeExec::new(brake::put(Arc::clone(child))?, watch.clone()));
    writer.with_new_children(vec![probe])
}

/// What Ballista's engine does for shuffle stages: readers learn where local files are and how to reach others.
fn open_readers(
    plan: Arc<dyn ExecutionPlan>,
    directory: &str,
    clients: &Arc<Clients>,
) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    let opened = plan.transform(|node| {
        let pool: Arc<dyn BallistaClientPool> = clients.clone();
        if let Some(reader) = node.downcast_ref::<ShuffleReaderExec>() {
            let reader = reader.with_work_dir(directory.to_owned()).with_client_pool(pool);
            return Ok(Transformed::yes(Arc::new(reader) as Arc<dyn ExecutionPlan>));
        }
        if let Some(reader) = node.downcast_ref::<RangeShuffleReaderExec>() {
            let reader = reader.with_work_dir(directory.to_owned()).with_client_pool(pool);
            return Ok(Transformed::yes(Arc::new(reader) as Arc<dyn ExecutionPlan>));
        }
        Ok(Transformed::no(node))
    })?;
    Ok(opened.data)
}

fn path_text(path: &Path) -> Result<String, Failed> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        let message = format!("work directory {} is not UTF-8: choose another --work-dir", path.display());
        Failed::from(EngineError::new(ErrorClass::Internal, "work-dir", message))
    })
}

fn index(number: u64, what: &str) -> Result<usize, Failed> {
    usize::try_from(number).map_err(|_| Failed::from(EngineError::internal(format!("{what} {number} is too large"))))
}

/// The key of an attempt on this worker.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AttemptId {
    pub(super) query: QueryId,
    pub(super) number: u64,
}
