//! The plan node that writes data files: rows in, one batch of actions per partition out. Edge.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::Statistics;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, EvaluationType};
use datafusion::physical_plan::metrics::{BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PlanProperties,
};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};

use super::align::Alignment;
use super::checks::{Checks, not_null};
use super::outcome::{SCHEMA, answer};
use super::sink::Sink;
use super::{Check, CheckKind, Target, WriteSpec};
use crate::codec::{Expressions, WireNode};
use crate::delta::wire;
use crate::{EngineError, flow, malformed};

/// Writes the rows of its child into new data files of a table and gives one batch of actions per partition. A
/// repeat writes other files: only the actions of one attempt per partition may be committed.
#[derive(Debug, Clone)]
pub struct DeltaWriteExec {
    spec: WriteSpec,
    alignment: Alignment,
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

#[derive(Serialize, Deserialize)]
struct Header {
    target: Target,
    checks: Vec<(String, CheckKind)>,
}

impl DeltaWriteExec {
    /// # Errors
    /// `invalid-job` when the columns of `input` do not fit the table.
    pub(super) fn new(spec: WriteSpec, input: Arc<dyn ExecutionPlan>) -> crate::Result<Self> {
        let alignment = Alignment::new(&input.schema(), &spec.target.schema)?;
        let partitioning = Partitioning::UnknownPartitioning(input.output_partitioning().partition_count());
        let equivalences = EquivalenceProperties::new(SCHEMA.clone());
        let properties = PlanProperties::new(equivalences, partitioning, EmissionType::Final, Boundedness::Bounded)
            .with_evaluation_type(EvaluationType::Lazy);
        let metrics = ExecutionPlanMetricsSet::new();
        Ok(Self { spec, alignment, input, properties: Arc::new(properties), metrics })
    }
}

impl DisplayAs for DeltaWriteExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = &self.spec.target;
        write!(f, "DeltaWriteExec: table={}, partition_by=[{}]", target.location, target.partition_by.join(", "))?;
        let checks: Vec<&str> = self.spec.checks.iter().map(|check| check.name.as_str()).collect();
        if checks.is_empty() { Ok(()) } else { write!(f, ", checks=[{}]", checks.join(", ")) }
    }
}

impl ExecutionPlan for DeltaWriteExec {
    fn name(&self) -> &'static str {
        "DeltaWriteExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for check in &self.spec.checks {
            if f(&check.expression)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = <[_; 1]>::try_from(children)
            .map_err(|children| EngineError::internal(format!("a Delta write has 1 input, not {}", children.len())))?;
        Ok(Arc::new(Self::new(self.spec.clone(), input)?))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = self.input.execute(partition, context.clone())?;
        let task = Task {
            alignment: self.alignment.clone(),
            checks: Checks::new(self.spec.checks.clone()),
            sink: Sink::new(self.spec.target.clone(), &context, partition)?,
            target: self.spec.target.clone(),
            input: self.input.clone(),
            metrics: BaselineMetrics::new(&self.metrics, partition),
            written_bytes: MetricBuilder::new(&self.metrics).counter(flow::WRITTEN_BYTES, partition),
        };
        let answer = futures::stream::once(async move { Ok(task.run(rows).await?) });
        Ok(Box::pin(RecordBatchStreamAdapter::new(SCHEMA.clone(), answer)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn partition_statistics(&self, _: Option<usize>) -> Result<Arc<Statistics>> {
        Ok(Arc::new(Statistics::new_unknown(&SCHEMA)))
    }
}

struct Task {
    alignment: Alignment,
    checks: Checks,
    sink: Sink,
    target: Target,
    /// Whose scans have counted what did not parse.
    input: Arc<dyn ExecutionPlan>,
    /// Rows are those that went into files so far: what people ask of a write, while its answer is for the driver alone.
    metrics: BaselineMetrics,
    written_bytes: Count,
}

impl Task {
    async fn run(mut self, mut rows: SendableRecordBatchStream) -> crate::Result<RecordBatch> {
        let mut received = 0;
        let elapsed = self.metrics.elapsed_compute().clone();
        while let Some(batch) = rows.try_next().await? {
            received += batch.num_rows() as u64;
            let _timer = elapsed.timer();
            self.take(&batch).await?;
        }
        // Sorts and windows below hold their memory until their stream is gone, and finishing files takes a while.
        drop(rows);
        lake_proto::point::reached("task-before-close");
        let _timer = elapsed.timer();
        let adds = if self.checks.failed() {
            self.sink.abort().await;
            Vec::new()
        } else {
            self.sink.close().await?
        };
        for add in &adds {
            self.written_bytes.add(usize::try_from(add.size).unwrap_or(0));
        }
        answer(&adds, received, &self.checks, &malformed::found(&self.input))
    }

    async fn take(&mut self, batch: &RecordBatch) -> crate::Result<()> {
        let aligned = self.alignment.align(batch)?;
        let kept = self.checks.apply(aligned, self.target.location.as_str())?;
        if self.checks.failed() {
            return Ok(());
        }
        not_null(&kept, &self.target.schema, self.target.location.as_str())?;
        self.sink.write(&kept).await?;
        self.metrics.record_output(kept.num_rows());
        Ok(())
    }
}

impl WireNode for DeltaWriteExec {
    const KIND: u8 = 2;

    fn to_bytes(&self, expressions: &Expressions<'_>) -> Result<Vec<u8>> {
        let checks = &self.spec.checks;
        let blobs = checks.iter().map(|check| expressions.encode(&check.expression)).collect::<Result<Vec<_>>>()?;
        let checks = checks.iter().map(|check| (check.name.clone(), check.kind)).collect();
        wire::join(&Header { target: self.spec.target.clone(), checks }, &blobs)
    }

    fn from_bytes(bytes: &[u8], inputs: &[Arc<dyn ExecutionPlan>], expressions: &Expressions<'_>) -> Result<Self> {
        let [input] = inputs else {
            return Err(EngineError::internal(format!("a Delta write has 1 input, not {}", inputs.len())).into());
        };
        let (Header { target, checks }, blobs) = wire::split::<Header>(bytes)?;
        let checks = checks.into_iter().zip(blobs).map(|((name, kind), blob)| {
            Ok(Check { name, kind, expression: expressions.decode(blob, &target.schema)? })
        });
        let checks = checks.collect::<Result<Vec<_>>>()?;
        Ok(Self::new(WriteSpec { target, checks }, input.clone())?)
    }
}
