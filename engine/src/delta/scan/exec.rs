//! The plan node that reads data files: an interior node over a work list. Edge.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Statistics, stats::Precision};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::DynamicFilterTracking;
use datafusion::physical_expr::utils::{conjunction_opt, split_conjunction};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation, PushedDown,
};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PlanProperties,
};
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::layout::Layout;
use super::pieces::Piece;
use super::reader::Reader;
use crate::codec::{Expressions, WireNode};
use crate::delta::wire;
use crate::{EngineError, flow, worklist};

/// Reads the data files named by its child's rows. Partition `i` reads the pieces of the child's partition `i`, so
/// the child can be cut into tasks like any table in memory.
#[derive(Debug, Clone)]
pub struct DeltaFilesScanExec {
    layout: Arc<Layout>,
    /// Over the layout's source schema. Prunes row groups and pages; whoever pushed it down still filters.
    predicate: Option<Arc<dyn PhysicalExpr>>,
    limit: Option<usize>,
    statistics: Arc<Statistics>,
    files: ScannedFiles,
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

/// Data files of scanned tables, for reports; known where the scan was planned, not where it runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScannedFiles {
    /// Files that are opened.
    pub read: usize,
    /// Files of the tables.
    pub total: usize,
}

#[derive(Serialize, Deserialize)]
struct Header {
    layout: Layout,
    limit: Option<usize>,
    rows: Option<usize>,
    bytes: Option<usize>,
}

impl DeltaFilesScanExec {
    pub(super) fn new(
        layout: Arc<Layout>,
        predicate: Option<Arc<dyn PhysicalExpr>>,
        statistics: Statistics,
        input: Arc<dyn ExecutionPlan>,
    ) -> Self {
        let properties = properties(layout.output.clone(), &input);
        let metrics = ExecutionPlanMetricsSet::new();
        let files = ScannedFiles::default();
        Self { layout, predicate, limit: None, statistics: Arc::new(statistics), files, input, properties, metrics }
    }

    pub(super) fn with_files(self, files: ScannedFiles) -> Self {
        Self { files, ..self }
    }

    /// What all Delta scans of a plan open.
    pub fn files(plan: &Arc<dyn ExecutionPlan>) -> ScannedFiles {
        let own = plan.downcast_ref::<Self>().map_or(ScannedFiles::default(), |scan| scan.files);
        plan.children()
            .into_iter()
            .map(Self::files)
            .fold(own, |sum, files| ScannedFiles { read: sum.read + files.read, total: sum.total + files.total })
    }

    fn with_input(&self, input: Arc<dyn ExecutionPlan>) -> Self {
        let properties = properties(self.layout.output.clone(), &input);
        Self { input, properties, metrics: ExecutionPlanMetricsSet::new(), ..self.clone() }
    }

    /// The predicates it was given, one by one.
    fn conjuncts(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.predicate.as_ref().map(split_conjunction).unwrap_or_default()
    }
}

fn properties(schema: SchemaRef, input: &Arc<dyn ExecutionPlan>) -> Arc<PlanProperties> {
    let partitioning = Partitioning::UnknownPartitioning(input.output_partitioning().partition_count());
    let equivalences = EquivalenceProperties::new(schema);
    Arc::new(PlanProperties::new(equivalences, partitioning, EmissionType::Incremental, Boundedness::Bounded))
}

impl DisplayAs for DeltaFilesScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<&str> = self.layout.output.fields().iter().map(|field| field.name().as_str()).collect();
        write!(f, "DeltaFilesScanExec: table={}, columns=[{}]", self.layout.location, columns.join(", "))?;
        if let Some(predicate) = &self.predicate {
            write!(f, ", predicate={predicate}")?;
        }
        self.limit.map_or(Ok(()), |limit| write!(f, ", limit={limit}"))
    }
}

impl ExecutionPlan for DeltaFilesScanExec {
    fn name(&self) -> &'static str {
        "DeltaFilesScanExec"
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
        self.predicate.as_ref().map_or(Ok(TreeNodeRecursion::Continue), f)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = <[_; 1]>::try_from(children)
            .map_err(|children| EngineError::internal(format!("a Delta scan has 1 input, not {}", children.len())))?;
        Ok(Arc::new(self.with_input(input)))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let mut work = self.input.execute(partition, context.clone())?;
        let reader = Reader {
            layout: self.layout.clone(),
            predicate: self.predicate.clone(),
            limit: self.limit,
            bytes: MetricBuilder::new(&self.metrics).counter(flow::READ_BYTES, partition),
        };
        let opening = async move {
            let mut pieces: Vec<Piece> = Vec::new();
            while let Some(batch) = work.try_next().await? {
                pieces.extend(worklist::pieces(&batch)?);
            }
            let streams = reader.open(pieces, &context).await?;
            Ok::<_, datafusion::error::DataFusionError>(futures::stream::iter(streams).flatten())
        };
        let layout = self.layout.clone();
        let rows = futures::stream::once(opening)
            .try_flatten()
            .map(move |batch| batch.and_then(|batch| layout.rename(&batch)));
        let rows = RecordBatchStreamAdapter::new(self.layout.output.clone(), rows);
        Ok(flow::metered(Box::pin(rows), BaselineMetrics::new(&self.metrics, partition)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn partition_statistics(&self, partition: Option<usize>) -> Result<Arc<Statistics>> {
        let partitions = self.properties.partitioning.partition_count().max(1);
        if partition.is_none() || partitions == 1 {
            return Ok(self.statistics.clone());
        }
        let share = |total: &Precision<usize>| {
            total.get_value().map_or(Precision::Absent, |total| Precision::Inexact(total / partitions))
        };
        let mut statistics = Statistics::new_unknown(&self.layout.output);
        statistics.num_rows = share(&self.statistics.num_rows);
        statistics.total_byte_size = share(&self.statistics.total_byte_size);
        Ok(Arc::new(statistics))
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        Some(Arc::new(Self { limit, ..self.clone() }))
    }

    fn fetch(&self) -> Option<usize> {
        self.limit
    }

    /// Takes what it can use for pruning and leaves every filter in place.
    fn handle_child_pushdown_result(
        &self,
        _: FilterPushdownPhase,
        child: ChildPushdownResult,
        _: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        let mut conjuncts: Vec<Arc<dyn PhysicalExpr>> = self.conjuncts().into_iter().cloned().collect();
        let before = conjuncts.len();
        for filter in &child.parent_filters {
            for filter in split_conjunction(&filter.filter) {
                let Some(filter) = self.layout.output_to_source(filter)? else { continue };
                if !conjuncts.contains(&filter) {
                    conjuncts.push(filter);
                }
            }
        }
        let result =
            FilterPushdownPropagation::with_parent_pushdown_result(vec![PushedDown::No; child.parent_filters.len()]);
        if conjuncts.len() == before {
            return Ok(result);
        }
        let node: Arc<dyn ExecutionPlan> = Arc::new(Self { predicate: conjunction_opt(conjuncts), ..self.clone() });
        Ok(result.with_updated_node(node))
    }
}

impl WireNode for DeltaFilesScanExec {
    const KIND: u8 = 1;

    fn to_bytes(&self, expressions: &Expressions<'_>) -> Result<Vec<u8>> {
        // A filter that a join fills in while it runs cannot cross processes; it is only a shortcut.
        let fixed = self.conjuncts().into_iter().filter(|filter| !is_dynamic(filter));
        let blobs = fixed.map(|filter| expressions.encode(filter)).collect::<Result<Vec<_>>>()?;
        let header = Header {
            layout: self.layout.as_ref().clone(),
            limit: self.limit,
            rows: self.statistics.num_rows.get_value().copied(),
            bytes: self.statistics.total_byte_size.get_value().copied(),
        };
        wire::join(&header, &blobs)
    }

    fn from_bytes(bytes: &[u8], inputs: &[Arc<dyn ExecutionPlan>], expressions: &Expressions<'_>) -> Result<Self> {
        let [input] = inputs else {
            return Err(EngineError::internal(format!("a Delta scan has 1 input, not {}", inputs.len())).into());
        };
        let (header, blobs) = wire::split::<Header>(bytes)?;
        let schema = header.layout.source_schema();
        let filters = blobs.into_iter().map(|blob| expressions.decode(blob, &schema)).collect::<Result<Vec<_>>>()?;
        let mut statistics = Statistics::new_unknown(&header.layout.output);
        statistics.num_rows = header.rows.map_or(Precision::Absent, Precision::Inexact);
        statistics.total_byte_size = header.bytes.map_or(Precision::Absent, Precision::Inexact);
        let mut node = Self::new(Arc::new(header.layout), conjunction_opt(filters), statistics, input.clone());
        node.limit = header.limit;
        Ok(node)
    }
}

fn is_dynamic(filter: &Arc<dyn PhysicalExpr>) -> bool {
    DynamicFilterTracking::classify(filter).contains_dynamic_filter()
}
