//! The node that is put over joins that make many rows of few: it stops the work when told. Pure.
//!
//! Such a join, and a filter over it that lets nothing pass, can be busy for hours without waiting for anything: nobody
//! above gets a batch, so nobody above can stop it. Between their batches this node is asked.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions};
use futures::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;

use super::probe::cancelled;

/// Its name, by which figures leave it out.
pub(super) const NAME: &str = "BrakeExec";

/// The plan with a brake over each of its joins.
///
/// # Errors
/// Those of nodes that are made anew with other inputs.
pub(super) fn put(plan: Arc<dyn ExecutionPlan>, stop: &CancellationToken) -> Result<Arc<dyn ExecutionPlan>> {
    let braked = plan.transform(|node| {
        if node.name().ends_with("JoinExec") {
            return Ok(Transformed::yes(Arc::new(BrakeExec { input: node, stop: stop.clone() }) as Arc<_>));
        }
        Ok(Transformed::no(node))
    })?;
    Ok(braked.data)
}

/// The node. Properties and rows are its input's.
#[derive(Debug)]
struct BrakeExec {
    input: Arc<dyn ExecutionPlan>,
    stop: CancellationToken,
}

impl DisplayAs for BrakeExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)
    }
}

impl ExecutionPlan for BrakeExec {
    fn name(&self) -> &'static str {
        NAME
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
            (Some(input), true) => Ok(Arc::new(Self { input, stop: self.stop.clone() })),
            _ => Err(DataFusionError::Internal(format!("{NAME} has exactly one child"))),
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        use datafusion::physical_plan::execution_plan::ChildrenPropertiesMode;
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        Ok(Box::pin(BrakeStream { input, stop: self.stop.clone() }))
    }
}

struct BrakeStream {
    input: SendableRecordBatchStream,
    stop: CancellationToken,
}

impl Stream for BrakeStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.stop.is_cancelled() {
            return Poll::Ready(Some(Err(cancelled().into())));
        }
        self.input.poll_next_unpin(cx)
    }
}

impl RecordBatchStream for BrakeStream {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use datafusion::physical_plan::collect;
    use datafusion::prelude::SessionContext;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_join_under_a_filter_that_lets_nothing_pass_ends_when_told() {
        let session = SessionContext::new();
        let sql =
            "SELECT * FROM generate_series(1, 10000000) a(x), generate_series(1, 10000000) b(y) WHERE x * y % 7 = 8";
        let plan = session.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        let stop = CancellationToken::new();
        let running = tokio::spawn(collect(put(plan, &stop).unwrap(), session.task_ctx()));
        // It is busy, or not yet: both must end.
        tokio::task::yield_now().await;
        stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(60), running).await.unwrap().unwrap();
        assert!(ended.unwrap_err().to_string().contains("told to stop"));
    }
}
