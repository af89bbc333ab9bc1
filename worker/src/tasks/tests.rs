//! Attempts that are cancelled, panic, fail, or say what they have done, over plans that no master would send.

use std::fmt;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use ballista_core::error::BallistaError;
use ballista_core::execution_plans::sort_shuffle::SortShuffleConfig;
use ballista_core::execution_plans::{ShuffleWriterExec, SortShuffleWriterExec};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::col;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::limit::LocalLimitExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::StreamExt;
use lake_proto::v1::WorkerMessage;
use lake_proto::v1::worker_message::Message;

use super::attempt::Output;
use super::probe::Watch;
use super::*;

const DEADLINE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy)]
enum Behaviour {
    /// A batch whenever asked.
    Endless,
    /// No batch, ever.
    Silent,
    Panics,
    LosesAWorker,
    /// Two batches of three rows, then its end.
    Few,
}

/// A leaf with two partitions that behave badly.
#[derive(Debug)]
struct Leaf {
    behaviour: Behaviour,
    properties: Arc<PlanProperties>,
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("v", DataType::Int64, false)]))
}

fn leaf(behaviour: Behaviour) -> Arc<dyn ExecutionPlan> {
    let properties = PlanProperties::new(
        EquivalenceProperties::new(schema()),
        Partitioning::UnknownPartitioning(2),
        EmissionType::Incremental,
        Boundedness::Bounded,
    );
    Arc::new(Leaf { behaviour, properties: Arc::new(properties) })
}

impl DisplayAs for Leaf {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Leaf")
    }
}

impl ExecutionPlan for Leaf {
    fn name(&self) -> &'static str {
        "Leaf"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DataFusionResult<TreeNodeRecursion>,
    ) -> DataFusionResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> DataFusionResult<SendableRecordBatchStream> {
        let behaviour = self.behaviour;
        let batch = RecordBatch::try_new(schema(), vec![Arc::new(Int64Array::from(vec![1, 2, 3]))])?;
        let batches = if matches!(behaviour, Behaviour::Few) { 2 } else { usize::MAX };
        let stream = futures::stream::repeat(()).take(batches).then(move |()| {
            let batch = batch.clone();
            async move {
                match behaviour {
                    Behaviour::Few => Ok(batch),
                    Behaviour::Endless => {
                        tokio::task::yield_now().await;
                        Ok(batch)
                    }
                    Behaviour::Silent => std::future::pending().await,
                    Behaviour::Panics => panic!("a bug in an operator"),
                    Behaviour::LosesAWorker => {
                        let lost = BallistaError::FetchFailed("worker-9".to_owned(), 5, 0, "gone".to_owned());
                        Err(DataFusionError::External(Box::new(lost)))
                    }
                }
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema(), stream)))
    }
}

enum Root {
    Hash,
    Passthrough,
    Result,
}

struct Ran {
    outcome: Result<Output, Failed>,
    ended: CancellationToken,
    _directory: tempfile::TempDir,
}

/// Runs a plan as an attempt; `told` is cancelled once it runs and has shown rows, if it ever does.
async fn run(behaviour: Behaviour, root: Root, told: CancellationToken) -> Ran {
    let directory = tempfile::tempdir().unwrap();
    let work = Arc::new(WorkDir::open(directory.path(), "one").unwrap());
    let tasks = Tasks::new(2, 1 << 30, work.clone(), Arc::new(Outbox::default()));
    let message = PrepareQuery { query_id: "q1".to_owned(), ..PrepareQuery::default() };
    let query = Arc::new(Query::new("q1".parse().unwrap(), &message, 2, tasks.shared().map_err(Fault::from)));
    // The leaf has no metrics of its own.
    let leaf: Arc<dyn ExecutionPlan> = Arc::new(LocalLimitExec::new(leaf(behaviour), usize::MAX));
    let plan: Arc<dyn ExecutionPlan> = match root {
        Root::Result => leaf,
        Root::Passthrough => Arc::new(ShuffleWriterExec::try_new("q1".into(), 1, leaf, String::new()).unwrap()),
        Root::Hash => {
            let keys = Partitioning::Hash(vec![col("v", &schema()).unwrap()], 3);
            let config = SortShuffleConfig::new(true, 8192);
            Arc::new(SortShuffleWriterExec::try_new("q1".into(), 1, leaf, String::new(), keys, config).unwrap())
        }
    };
    let counters = Arc::new(Counters::default());
    let attempt = Attempt {
        query: query.clone(),
        launch: LaunchTask {
            is_result: matches!(root, Root::Result),
            cores: 2,
            output_partitions: vec![0, 1],
            ..LaunchTask::default()
        },
        stage: 1,
        number: 7,
        counters: counters.clone(),
        stop: told.child_token(),
        clients: Arc::new(Clients::default()),
        work,
    };
    let ended = CancellationToken::new();
    let watch = Arc::new(Watch::new(attempt.stop.clone(), counters.clone(), ended.clone().drop_guard()));
    let context = query.context("1/7".to_owned()).unwrap();
    let running = async {
        let outcome = attempt::run_plan(&attempt, &watch, plan, context).await;
        attempt.stop.cancel();
        drop(watch);
        outcome
    };
    let cancelling = async {
        let shows_rows = matches!(behaviour, Behaviour::Endless);
        while shows_rows && counters.rows() < 100 {
            tokio::task::yield_now().await;
        }
        told.cancel();
    };
    let outcome = if matches!(behaviour, Behaviour::Endless | Behaviour::Silent) {
        in_time(async { tokio::join!(running, cancelling).0 }).await
    } else {
        in_time(running).await
    };
    in_time(ended.cancelled()).await;
    Ran { outcome, ended, _directory: directory }
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("it did not happen in time")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_attempt_leaves_no_stream_behind_whatever_it_waits_for() {
    for behaviour in [Behaviour::Endless, Behaviour::Silent] {
        for root in [Root::Hash, Root::Passthrough, Root::Result] {
            let ran = run(behaviour, root, CancellationToken::new()).await;
            assert!(ran.outcome.is_err());
            assert!(ran.ended.is_cancelled());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_an_operator_fails_the_attempt_as_internal() {
    for root in [Root::Hash, Root::Passthrough, Root::Result] {
        let failed = run(Behaviour::Panics, root, CancellationToken::new()).await.outcome.unwrap_err();
        assert_eq!((failed.fault.class, failed.fault.code.as_str()), (ErrorClass::Internal, "task-panic"));
        assert!(failed.fault.message.contains("a bug in an operator"), "{}", failed.fault);
        assert!(!failed.transient);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_map_output_is_named_through_every_writer() {
    for root in [Root::Hash, Root::Passthrough, Root::Result] {
        let failed = run(Behaviour::LosesAWorker, root, CancellationToken::new()).await.outcome.unwrap_err();
        assert_eq!(failed.fetch, Some(("worker-9".to_owned(), 5)));
        assert!(failed.transient);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_done_attempt_says_what_its_operators_did_without_probe_and_writer() {
    for (root, shuffled) in [(Root::Hash, 12), (Root::Passthrough, 12), (Root::Result, 0)] {
        let output = run(Behaviour::Few, root, CancellationToken::new()).await.outcome.unwrap();
        let operators = output.metrics.operators.iter().map(|told| (told.name.as_str(), told.output_rows));
        assert_eq!(operators.collect::<Vec<_>>(), [("LocalLimitExec", 12), ("Leaf", 0)]);
        assert_eq!((output.metrics.shuffle_write_rows, output.metrics.shuffle_read_rows), (shuffled, 0));
        assert_eq!(output.metrics.shuffle_write_bytes > 0, shuffled > 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn launches_that_cannot_run_are_answered_and_repeats_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let work = Arc::new(WorkDir::open(directory.path(), "one").unwrap());
    let outbox = Arc::new(Outbox::default());
    let tasks = Tasks::new(1, 1 << 30, work, outbox.clone());
    let launch = |query: &str, attempt| LaunchTask {
        task: Some(TaskRef { query_id: query.to_owned(), stage_id: 1, task_index: 0, attempt }),
        plan: bytes::Bytes::from_static(b"not a plan"),
        cores: 1,
        ..LaunchTask::default()
    };
    tasks.launch(launch("q1", 1));
    assert_eq!(code(&next(&outbox).await), ("unavailable".to_owned(), "query-unknown".to_owned(), true));
    tasks.launch(launch("../q1", 1));
    assert_eq!(code(&next(&outbox).await).1, "internal");

    tasks.prepare(&PrepareQuery { query_id: "q1".to_owned(), ..PrepareQuery::default() });
    tasks.launch(launch("q1", 1));
    tasks.launch(launch("q1", 1));
    let (class, _, transient) = code(&next(&outbox).await);
    assert_eq!((class.as_str(), transient), ("internal", false));
    in_time(tasks.wait_idle(DEADLINE)).await;
    assert!(outbox.is_empty(), "a repeat was answered");
    assert!(tasks.running().is_empty());

    let profiles = bytes::Bytes::from_static(b"{broken");
    tasks.prepare(&PrepareQuery { query_id: "q2".to_owned(), profiles, ..PrepareQuery::default() });
    tasks.launch(launch("q2", 1));
    assert_eq!(code(&next(&outbox).await).1, "profiles");

    in_time(tasks.stop(DEADLINE)).await;
    tasks.launch(launch("q1", 2));
    assert_eq!(code(&next(&outbox).await).1, "worker-stopping");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queries_of_a_driver_that_was_replaced_stop_and_their_tasks_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let work = Arc::new(WorkDir::open(directory.path(), "one").unwrap());
    let outbox = Arc::new(Outbox::default());
    let tasks = Tasks::new(1, 1 << 30, work, outbox.clone());
    let prepare = |query: &str, epoch| PrepareQuery {
        query_id: query.to_owned(),
        app_id: "app-1".to_owned(),
        epoch,
        ..PrepareQuery::default()
    };
    let launch = |query: &str, epoch| LaunchTask {
        task: Some(TaskRef { query_id: query.to_owned(), stage_id: 1, task_index: 0, attempt: 1 }),
        plan: bytes::Bytes::from_static(b"not a plan"),
        app_id: "app-1".to_owned(),
        epoch,
        ..LaunchTask::default()
    };
    tasks.prepare(&prepare("q1", 5));
    let old = lock(&tasks.queries).get(&"q1".parse().unwrap()).cloned().unwrap();
    assert!(!old.token.is_cancelled());
    tasks.prepare(&prepare("q2", 9));
    assert!(old.token.is_cancelled());
    tasks.launch(launch("q1", 5));
    assert_eq!(code(&next(&outbox).await), ("conflict".to_owned(), "stale-epoch".to_owned(), false));
    assert_eq!(tasks.fence().check_query(&old.id).unwrap_err().code, "stale-epoch");
    tasks.launch(launch("q2", 9));
    assert_ne!(code(&next(&outbox).await).1, "stale-epoch");
    in_time(tasks.wait_idle(DEADLINE)).await;
}

fn code(status: &TaskStatus) -> (String, String, bool) {
    match status.outcome.clone().unwrap() {
        Outcome::Failed(failed) => {
            let failure = failed.failure.unwrap();
            (failure.class, failure.code, failed.transient)
        }
        other => panic!("expected a failure, found {other:?}"),
    }
}

async fn next(outbox: &Outbox) -> TaskStatus {
    in_time(async {
        loop {
            let changed = outbox.changed();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some((seq, WorkerMessage { message: Some(Message::TaskStatus(status)) })) = outbox.next_after(0) {
                outbox.acknowledge(seq);
                return status;
            }
            changed.await;
        }
    })
    .await
}
