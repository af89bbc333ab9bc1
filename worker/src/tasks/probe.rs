//! The node we put under every shuffle writer and at the root of every result plan: it stops the work when told,
//! counts what passes, keeps the first error before others wrap it, turns a panic into an error, and remembers the plan
//! that ran, whose metrics are read afterwards. Pure.
//!
//! Writers run in spawned tasks that outlive the future that started them. Each of them holds the plan below it, and
//! so this node: the attempt has ended when the last reference to the node's state is gone, and not before.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions};
use futures::{Stream, StreamExt};
use lake_engine::EngineError;
use lake_engine::delta::is_actions;
use lake_proto::ErrorClass;
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};

/// What an attempt has produced so far.
#[derive(Debug, Default)]
pub(super) struct Counters {
    rows: AtomicU64,
    bytes: AtomicU64,
    // The plan below the probe, once it runs. It is not kept alive: what it holds is freed when the attempt ends.
    plan: Mutex<Option<Weak<dyn ExecutionPlan>>>,
}

impl Counters {
    /// Rows that left the attempt's plan; those of a write, which describe files, do not count.
    pub(super) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Their bytes in memory.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The plan that runs.
    pub(super) fn plan(&self) -> Option<Arc<dyn ExecutionPlan>> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.upgrade()
    }

    fn follow(&self, plan: &Arc<dyn ExecutionPlan>) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::downgrade(plan));
    }

    fn add(&self, batch: &RecordBatch) {
        let number = |figure: usize| u64::try_from(figure).unwrap_or(u64::MAX);
        self.rows.fetch_add(number(batch.num_rows()), Ordering::Relaxed);
        self.bytes.fetch_add(number(batch.get_array_memory_size()), Ordering::Relaxed);
    }
}

/// What an attempt shares with its probe.
#[derive(Debug)]
pub(super) struct Watch {
    stop: CancellationToken,
    counters: Arc<Counters>,
    first_error: Mutex<Option<Arc<DataFusionError>>>,
    // What is below the probe: not the plan that was decoded, because Ballista makes nodes anew.
    plan: Mutex<Option<Arc<dyn ExecutionPlan>>>,
    // Tells that the attempt has ended, by being dropped.
    _alive: DropGuard,
}

impl Watch {
    /// `stop` ends the streams; `alive` is dropped with the last reference to this.
    pub(super) fn new(stop: CancellationToken, counters: Arc<Counters>, alive: DropGuard) -> Self {
        Self { stop, counters, first_error: Mutex::new(None), plan: Mutex::new(None), _alive: alive }
    }

    /// The first error that passed, as its type was below the writer.
    pub(super) fn first_error(&self) -> Option<Arc<DataFusionError>> {
        self.first_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The plan below the probe, when it was executed.
    pub(super) fn plan(&self) -> Option<Arc<dyn ExecutionPlan>> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn executes(&self, plan: &Arc<dyn ExecutionPlan>) {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| Arc::clone(plan));
        self.counters.follow(plan);
    }

    fn note(&self, error: DataFusionError) -> DataFusionError {
        let shared = Arc::new(error);
        let mut first = self.first_error.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| shared.clone());
        DataFusionError::Shared(shared)
    }
}

/// The node. Properties and rows are its input's.
#[derive(Debug)]
pub(super) struct ProbeExec {
    input: Arc<dyn ExecutionPlan>,
    watch: Arc<Watch>,
}

impl ProbeExec {
    /// A probe over `input`.
    pub(super) fn new(input: Arc<dyn ExecutionPlan>, watch: Arc<Watch>) -> Self {
        Self { input, watch }
    }
}

impl DisplayAs for ProbeExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProbeExec")
    }
}

impl ExecutionPlan for ProbeExec {
    fn name(&self) -> &'static str {
        "ProbeExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(Self { input, watch: self.watch.clone() })),
            _ => Err(DataFusionError::Internal("ProbeExec has exactly one child".to_owned())),
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        use datafusion::physical_plan::execution_plan::ChildrenPropertiesMode;
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.watch.executes(&self.input);
        let started = catch_unwind(AssertUnwindSafe(|| self.input.execute(partition, context)));
        let input =
            started.unwrap_or_else(|panic| Err(panicked(panic.as_ref()))).map_err(|error| self.watch.note(error))?;
        Ok(Box::pin(ProbeStream {
            schema: input.schema(),
            input: Some(input),
            cancelled: Box::pin(self.watch.stop.clone().cancelled_owned()),
            counters: (!is_actions(&self.input.schema())).then(|| self.watch.counters.clone()),
            watch: self.watch.clone(),
        }))
    }
}

struct ProbeStream {
    schema: SchemaRef,
    // Gone after the end, an error, a panic or a cancel: whatever it holds is freed at once.
    input: Option<SendableRecordBatchStream>,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
    counters: Option<Arc<Counters>>,
    watch: Arc<Watch>,
}

impl Stream for ProbeStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(input) = this.input.as_mut() else {
            return Poll::Ready(None);
        };
        // Before every batch, and also while one is waited for.
        if this.cancelled.as_mut().poll(cx).is_ready() {
            this.input = None;
            return Poll::Ready(Some(Err(cancelled().into())));
        }
        let polled = catch_unwind(AssertUnwindSafe(|| input.poll_next_unpin(cx)));
        match polled.unwrap_or_else(|panic| Poll::Ready(Some(Err(panicked(panic.as_ref()))))) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => {
                this.input = None;
                Poll::Ready(None)
            }
            Poll::Ready(Some(Ok(batch))) => {
                if let Some(counters) = &this.counters {
                    counters.add(&batch);
                }
                Poll::Ready(Some(Ok(batch)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.input = None;
                Poll::Ready(Some(Err(this.watch.note(error))))
            }
        }
    }
}

impl RecordBatchStream for ProbeStream {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

/// What a task that was told to stop ends with.
pub(super) fn cancelled() -> EngineError {
    EngineError::new(ErrorClass::Cancelled, "task-cancelled", "the task was told to stop")
}

fn panicked(panic: &(dyn Any + Send)) -> DataFusionError {
    panic_fault(panic).into()
}

/// The error of a task that panicked.
pub(super) fn panic_fault(panic: &(dyn Any + Send)) -> EngineError {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    EngineError::new(ErrorClass::Internal, "task-panic", format!("the task panicked: {text}; please report this"))
}
