//! The plan node that reads pieces of a relation in a task. Edge.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result as PlanResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::{BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties};
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio_postgres::CopyOutStream;

use super::connect::Session;
use super::decode::Decoder;
use super::ranges::Piece;
use super::snapshot::Snapshot;
use super::types::{Column, schema};
use crate::codec::{Expressions, WireNode};
use crate::stores::Stores;
use crate::{EngineError, Result, flow, worklist};

/// All that a task needs to know, except its pieces. Names the connection, holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ScanSpec {
    /// The source's name in job.toml, for messages.
    pub(super) source: String,
    pub(super) connection: String,
    pub(super) snapshot: String,
    /// FROM item with alias `src`.
    pub(super) from: String,
    pub(super) columns: Vec<Column>,
    /// Boolean SQL that may keep more rows than the query wants, never fewer.
    pub(super) filter: Option<String>,
    /// Rows of each piece at most.
    pub(super) limit: Option<u64>,
    /// The snapshot decides about its rows alone: not so for views and queries, which may call functions that answer
    /// differently each time, and for tables that are elsewhere.
    pub(super) is_stored: bool,
    /// Estimated rows of all pieces, before the filter.
    pub(super) rows: u64,
    /// Estimated bytes of all pieces.
    pub(super) bytes: u64,
}

/// Reads pieces of a PostgreSQL relation under one snapshot. Its child is a work list of key or page ranges; the rows
/// of a partition are those of its pieces, one after the other, over one connection.
#[derive(Debug, Clone)]
pub struct PostgresScanExec {
    spec: Arc<ScanSpec>,
    pieces: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
    /// On the driver: the snapshot lives as long as the plan. In tasks: nothing, the driver holds it.
    snapshot: Option<Arc<Snapshot>>,
}

impl PostgresScanExec {
    pub(super) fn new(spec: ScanSpec, pieces: &[Piece], snapshot: Arc<Snapshot>) -> Result<Self> {
        let lists: Vec<Vec<Piece>> = pieces.iter().map(|piece| vec![piece.clone()]).collect();
        Ok(Self::over(Arc::new(spec), worklist::leaf(&lists)?, Some(snapshot)))
    }

    /// Whether a piece gives the same rows each time it is read, in whatever order.
    pub(crate) fn is_repeatable(&self) -> bool {
        self.spec.is_stored && self.spec.limit.is_none()
    }

    fn over(spec: Arc<ScanSpec>, pieces: Arc<dyn ExecutionPlan>, snapshot: Option<Arc<Snapshot>>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema(&spec.columns)),
            Partitioning::UnknownPartitioning(pieces.output_partitioning().partition_count()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { spec, pieces, properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new(), snapshot }
    }
}

impl DisplayAs for PostgresScanExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<&str> = self.spec.columns.iter().map(|column| column.name.as_str()).collect();
        write!(f, "PostgresScanExec: source={}, columns=[{}]", self.spec.source, columns.join(", "))?;
        if let Some(filter) = &self.spec.filter {
            write!(f, ", filter={filter}")?;
        }
        if let Some(limit) = self.spec.limit {
            write!(f, ", limit={limit}")?;
        }
        Ok(())
    }
}

impl ExecutionPlan for PostgresScanExec {
    fn name(&self) -> &'static str {
        "PostgresScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.pieces]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> PlanResult<TreeNodeRecursion>,
    ) -> PlanResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> PlanResult<Arc<dyn ExecutionPlan>> {
        // The work list decides the number of partitions, so the properties are made anew whatever the options say.
        let pieces = only_child(children)?;
        Ok(Arc::new(Self::over(Arc::clone(&self.spec), pieces, self.snapshot.clone())))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> PlanResult<Arc<dyn ExecutionPlan>> {
        let pieces = only_child(children)?;
        Ok(Arc::new(Self::over(Arc::clone(&self.spec), pieces, self.snapshot.clone())))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> PlanResult<SendableRecordBatchStream> {
        let reader = Reader {
            stores: Stores::of(&context)?,
            spec: Arc::clone(&self.spec),
            lists: self.pieces.execute(partition, Arc::clone(&context))?,
            waiting: VecDeque::new(),
            session: None,
            copy: None,
            decoder: Decoder::new(&self.spec.columns, context.session_config().batch_size()),
            bytes: MetricBuilder::new(&self.metrics).counter(flow::READ_BYTES, partition),
            _snapshot: self.snapshot.clone(),
        };
        let batches = stream::try_unfold(reader, |mut reader| async move {
            let batch = match reader.next().await {
                Ok(batch) => batch,
                Err(error) => return Err(error.within(format!("source '{}'", reader.spec.source)).into()),
            };
            Ok(batch.map(|batch| (batch, reader)))
        });
        let batches = RecordBatchStreamAdapter::new(self.schema(), batches);
        Ok(flow::metered(Box::pin(batches), BaselineMetrics::new(&self.metrics, partition)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(
        &self,
        _input_stats: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> PlanResult<Arc<Statistics>> {
        let parts = match args.partition() {
            Some(_) => self.properties.partitioning.partition_count().max(1),
            None => 1,
        };
        let count = |number: u64| Precision::Inexact(usize::try_from(number).unwrap_or(usize::MAX) / parts);
        let mut statistics = Statistics::new_unknown(&self.schema());
        statistics.num_rows = count(self.spec.rows);
        statistics.total_byte_size = count(self.spec.bytes);
        Ok(Arc::new(statistics))
    }
}

impl WireNode for PostgresScanExec {
    const KIND: u8 = 4;

    fn to_bytes(&self, _expressions: &Expressions<'_>) -> PlanResult<Vec<u8>> {
        Ok(serde_json::to_vec(self.spec.as_ref()).map_err(|error| EngineError::internal(error.to_string()))?)
    }

    fn from_bytes(bytes: &[u8], inputs: &[Arc<dyn ExecutionPlan>], _expressions: &Expressions<'_>) -> PlanResult<Self> {
        let spec: ScanSpec = serde_json::from_slice(bytes)
            .map_err(|error| EngineError::internal(format!("PostgresScanExec does not decode: {error}")))?;
        Ok(Self::over(Arc::new(spec), only_child(inputs.to_vec())?, None))
    }
}

fn only_child(children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
    match <[_; 1]>::try_from(children) {
        Ok([child]) => Ok(child),
        Err(children) => {
            Err(EngineError::internal(format!("PostgresScanExec has {} children and needs one", children.len())))
        }
    }
}

/// One partition being read.
struct Reader {
    stores: Arc<Stores>,
    spec: Arc<ScanSpec>,
    lists: SendableRecordBatchStream,
    waiting: VecDeque<Piece>,
    /// Opened for the first piece, used for all.
    session: Option<Session>,
    copy: Option<Pin<Box<CopyOutStream>>>,
    decoder: Decoder,
    bytes: Count,
    _snapshot: Option<Arc<Snapshot>>,
}

impl Reader {
    /// The next batch; `None` after the last one.
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if self.read_copy().await? {
                return self.decoder.batch().map(Some);
            }
            if let Some(piece) = self.waiting.pop_front() {
                self.start(&piece).await?;
            } else if let Some(batch) = self.lists.try_next().await? {
                self.waiting.extend(worklist::pieces::<Piece>(&batch)?);
            } else {
                break;
            }
        }
        if !self.decoder.is_empty() {
            return self.decoder.batch().map(Some);
        }
        if let Some(session) = self.session.take() {
            session.close().await;
        }
        Ok(None)
    }

    /// Reads the piece that is open: true when a batch is full, false when there is nothing more to read.
    async fn read_copy(&mut self) -> Result<bool> {
        let (Some(copy), Some(session)) = (&mut self.copy, &self.session) else { return Ok(false) };
        while let Some(chunk) = copy.next().await {
            let chunk = chunk.map_err(|error| session.explain(&error, None))?;
            self.bytes.add(chunk.len());
            self.decoder.feed(&chunk)?;
            if self.decoder.is_full() {
                return Ok(true);
            }
        }
        self.copy = None;
        self.decoder.end_copy()?;
        Ok(false)
    }

    async fn start(&mut self, piece: &Piece) -> Result<()> {
        let session = match self.session.take() {
            Some(session) => session,
            None => {
                let connection = self.stores.connection(&self.spec.connection)?;
                let session = Session::open(&connection, &self.spec.connection).await?;
                session.join_snapshot(&self.spec.snapshot).await?;
                session
            }
        };
        let copy = session.copy_out(&statement(&self.spec, piece)).await?;
        self.copy = Some(Box::pin(copy));
        self.session = Some(session);
        Ok(())
    }
}

/// The COPY of a piece.
fn statement(spec: &ScanSpec, piece: &Piece) -> String {
    let columns: Vec<String> = spec.columns.iter().map(Column::expression).collect();
    let conditions: Vec<&str> = piece.condition.iter().chain(&spec.filter).map(String::as_str).collect();
    let mut select = format!("SELECT {} FROM {}", columns.join(", "), spec.from);
    if !conditions.is_empty() {
        select.push_str(" WHERE ");
        select.push_str(&conditions.join(" AND "));
    }
    if let Some(limit) = spec.limit {
        select.push_str(&format!(" LIMIT {limit}"));
    }
    format!("COPY ({select}) TO STDOUT (FORMAT binary)")
}
