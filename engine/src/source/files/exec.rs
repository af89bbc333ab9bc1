//! The scan of a file source: an interior node over a work list of pieces. It carries no secret: tasks open stores
//! through their own session. Edge.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Statistics, internal_err};
use datafusion::error::{DataFusionError, Result as PlanResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::TryStreamExt;
use futures::stream::{self, BoxStream, StreamExt};
use lake_job::{CsvOptions, FileFormat, ParseMode};
use serde::{Deserialize, Serialize};
use url::Url;

use super::csv::dialect::Dialect;
use super::csv::{self, CsvFormat};
use super::input::OpenFile;
use super::listing::display_name;
use super::pieces::{Part, Piece};
use super::text::{TextPlan, column_names};
use super::{avro, json, parquet};
use crate::malformed::{Malformed, Tally};
use crate::stores::Stores;
use crate::{EngineError, Result, flow, worklist};

/// Everything a scan is, but for its schema and predicate, which have their own encoding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ScanSpec {
    /// The source's name in the job.
    pub source: String,
    /// URL that picks the storage profile.
    pub base: Url,
    /// Format of the files.
    pub format: FileFormat,
    /// What happens to rows that do not parse.
    pub mode: ParseMode,
    /// Options of CSV.
    pub csv: CsvOptions,
    /// The columns were declared, not inferred.
    pub is_declared: bool,
    /// Columns to put out, by index into the table's.
    pub projection: Vec<usize>,
    /// Rows wanted at most from each partition.
    pub fetch: Option<usize>,
    /// Estimated rows of all pieces.
    pub rows: Option<usize>,
    /// Bytes of all pieces.
    pub bytes: usize,
}

/// Reads pieces of files (csv, json, parquet, avro) that its child lists, one output partition per child partition.
#[derive(Debug)]
pub struct FilesScanExec {
    scan: Arc<Scan>,
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
    tally: Arc<Tally>,
}

/// What every piece of a scan shares.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) spec: ScanSpec,
    /// All columns of the source.
    pub(super) table: SchemaRef,
    /// What rows must fulfil (Parquet): leaves out row groups, decides nothing.
    pub(super) predicate: Option<Arc<dyn PhysicalExpr>>,
}

impl FilesScanExec {
    /// A scan of the pieces that `input` lists.
    ///
    /// # Errors
    /// `internal` for a projection beyond the table's columns.
    pub(super) fn try_new(scan: Arc<Scan>, input: Arc<dyn ExecutionPlan>) -> Result<Self> {
        let output = Arc::new(scan.table.project(&scan.spec.projection)?);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(output),
            Partitioning::UnknownPartitioning(input.properties().partitioning.partition_count()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let (metrics, tally) = (ExecutionPlanMetricsSet::new(), Arc::default());
        Ok(Self { scan, input, properties: Arc::new(properties), metrics, tally })
    }

    /// The records that it found so far not to parse; `None` where such a record fails the step.
    pub(crate) fn malformed(&self) -> Option<Malformed> {
        let ScanSpec { source, format, mode, .. } = &self.scan.spec;
        let is_text = matches!(format, FileFormat::Csv | FileFormat::Json);
        let goes_on = is_text && *mode != ParseMode::FailFast;
        goes_on.then(|| Malformed { source: source.clone(), mode: *mode, pieces: self.tally.pieces() })
    }

    pub(super) fn scan(&self) -> &Scan {
        &self.scan
    }

    fn with_input(&self, mut children: Vec<Arc<dyn ExecutionPlan>>) -> PlanResult<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(Self::try_new(self.scan.clone(), input)?)),
            _ => internal_err!("FilesScanExec takes one child"),
        }
    }
}

impl DisplayAs for FilesScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ScanSpec { source, format, bytes, fetch, .. } = &self.scan.spec;
        write!(f, "FilesScanExec: source={source}, format={format:?}, bytes={bytes}")?;
        write!(f, ", columns=[{}]", column_names(self.schema().as_ref()))?;
        if let Some(predicate) = &self.scan.predicate {
            write!(f, ", predicate={predicate}")?;
        }
        fetch.map_or(Ok(()), |fetch| write!(f, ", fetch={fetch}"))
    }
}

impl ExecutionPlan for FilesScanExec {
    fn name(&self) -> &str {
        "FilesScanExec"
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
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> PlanResult<TreeNodeRecursion>,
    ) -> PlanResult<TreeNodeRecursion> {
        self.scan.predicate.as_ref().map_or(Ok(TreeNodeRecursion::Continue), visit)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: datafusion::physical_plan::ReplaceChildrenOptions,
    ) -> PlanResult<Arc<dyn ExecutionPlan>> {
        self.with_input(children)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> PlanResult<Arc<dyn ExecutionPlan>> {
        self.with_input(children)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> PlanResult<SendableRecordBatchStream> {
        let reader = Reader {
            scan: self.scan.clone(),
            stores: Stores::of(&context)?,
            batch_rows: context.session_config().batch_size(),
            scanned: MetricBuilder::new(&self.metrics).counter(flow::READ_BYTES, partition),
            context: context.clone(),
            footer: Arc::default(),
            tally: self.tally.clone(),
        };
        let reader = Arc::new(reader);
        let lists = self.input.execute(partition, context)?.map_err(EngineError::from);
        let pieces = lists
            .map(|list| worklist::pieces::<Piece>(&list?))
            .map_ok(|pieces| stream::iter(pieces).map(Ok::<Piece, EngineError>))
            .try_flatten();
        let batches = pieces
            .and_then(move |piece| {
                let reader = reader.clone();
                async move { reader.open(piece).await }
            })
            .try_flatten();
        let batches = limited(batches.boxed(), self.scan.spec.fetch).map_err(DataFusionError::from);
        let batches = RecordBatchStreamAdapter::new(self.schema(), batches);
        Ok(flow::metered(Box::pin(batches), BaselineMetrics::new(&self.metrics, partition)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(&self, _: &[Arc<Statistics>], args: &StatisticsArgs) -> PlanResult<Arc<Statistics>> {
        let parts = match args.partition() {
            Some(_) => self.properties.partitioning.partition_count().max(1),
            None => 1,
        };
        let ScanSpec { rows, bytes, .. } = &self.scan.spec;
        let mut statistics = Statistics::new_unknown(self.schema().as_ref());
        statistics.num_rows = rows.map_or(Precision::Absent, |rows| Precision::Inexact(rows / parts));
        statistics.total_byte_size = Precision::Inexact(bytes / parts);
        Ok(Arc::new(statistics))
    }
}

/// Opens pieces within one task.
struct Reader {
    scan: Arc<Scan>,
    stores: Arc<Stores>,
    batch_rows: usize,
    scanned: Count,
    context: Arc<TaskContext>,
    footer: Arc<parquet::LastFooter>,
    tally: Arc<Tally>,
}

impl Reader {
    async fn open(&self, piece: Piece) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let spec = &self.scan.spec;
        self.scanned.add(usize::try_from(piece.bytes()).unwrap_or(usize::MAX));
        let name = piece.name();
        let file = OpenFile {
            store: self.stores.store(&spec.base)?,
            name: display_name(&spec.base, &piece.file.key),
            file: piece.file,
        };
        match (spec.format, &piece.part) {
            (FileFormat::Csv, part) => {
                let (start, end) = range(part, &file);
                csv::read(Arc::new(csv_format(spec)?), self.text_plan(name)?, file, start, end).await
            }
            (FileFormat::Json, part) => {
                let (start, end) = range(part, &file);
                Ok(json::read(self.text_plan(name)?, file, start, end))
            }
            (FileFormat::Parquet, Part::RowGroups { groups, of, .. }) => {
                let read = parquet::Read {
                    file: &file,
                    groups: (groups, *of),
                    table: &self.scan.table,
                    projection: &spec.projection,
                    footer: &self.footer,
                    predicate: self.scan.predicate.as_ref(),
                };
                parquet::read(&read, &self.context)
            }
            (FileFormat::Parquet, part) => {
                Err(EngineError::internal(format!("{part:?} is no piece of a Parquet file")))
            }
            (FileFormat::Avro, _) => {
                let output = Arc::new(self.scan.table.project(&spec.projection)?);
                Ok(avro::read(file, output, self.batch_rows))
            }
        }
    }

    fn text_plan(&self, piece: String) -> Result<Arc<TextPlan>> {
        let Scan { spec, table, .. } = self.scan.as_ref();
        let plan = TextPlan::new(table, spec.mode, &spec.projection, self.batch_rows)?;
        Ok(Arc::new(plan.counting(self.tally.of_piece(piece))))
    }
}

fn range(part: &Part, file: &OpenFile) -> (u64, u64) {
    match part {
        Part::Lines { start, end } => (*start, *end),
        Part::Whole | Part::RowGroups { .. } => (0, file.file.size),
    }
}

/// How the CSV files of a scan are read.
pub(super) fn csv_format(spec: &ScanSpec) -> Result<CsvFormat> {
    Ok(CsvFormat {
        dialect: Dialect::new(&spec.csv)?,
        has_header: spec.csv.header,
        is_declared: spec.is_declared,
        null_value: spec.csv.null_value.clone(),
    })
}

/// The first `fetch` rows; reading stops there.
fn limited(
    batches: BoxStream<'static, Result<RecordBatch>>,
    fetch: Option<usize>,
) -> BoxStream<'static, Result<RecordBatch>> {
    let Some(fetch) = fetch else { return batches };
    stream::try_unfold((batches, fetch), |(mut batches, wanted)| async move {
        if wanted == 0 {
            return Ok(None);
        }
        let Some(batch) = batches.try_next().await? else { return Ok(None) };
        let batch = if batch.num_rows() > wanted { batch.slice(0, wanted) } else { batch };
        let left = wanted - batch.num_rows();
        Ok(Some((batch, (batches, left))))
    })
    .boxed()
}
