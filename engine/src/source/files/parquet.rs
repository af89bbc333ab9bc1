//! Parquet files: footers for planning, row groups through DataFusion's own scan for reading. Edge.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use chrono::DateTime;
use datafusion::config::TableParquetOptions;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::{ParquetAccessPlan, RowGroupAccess};
use datafusion::datasource::physical_plan::{
    FileGroup, FileScanConfigBuilder, ParquetFileReaderFactory, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::{DataFusionError, Result as PlanResult};
use datafusion::execution::TaskContext;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use lake_proto::ErrorClass;
use object_store::{OBJECT_STORE_COALESCE_DEFAULT, ObjectMeta, coalesce_ranges};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::{AsyncFileReader, MetadataFetch};
use parquet::arrow::parquet_to_arrow_schema;
use parquet::basic::Type as PhysicalType;
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};

use super::input::OpenFile;
use super::listing::{Listing, SourceFile};
use super::schema;
use crate::error::{damage, find_classed, words};
use crate::{EngineError, Result};

const CONCURRENT_FOOTERS: usize = 16;
/// Read at once from a file's end; most footers fit.
const FOOTER_BYTES: usize = 64 * 1024;

/// What planning needs to know of one file.
#[derive(Debug, Clone)]
pub(super) struct Footer {
    /// The file's name.
    pub name: String,
    /// Its columns, as they are read.
    pub schema: Schema,
    /// Compressed bytes of every row group.
    pub row_groups: Vec<u64>,
    /// Its rows.
    pub rows: u64,
}

/// The footers of all files, in the order of the listing.
///
/// # Errors
/// `data-quality` (code `bad-file`) naming the file that is no Parquet file; `conflict` for one that changed.
pub(super) async fn footers(listing: &Listing) -> Result<Vec<Footer>> {
    let files: Vec<OpenFile> = listing.files.iter().map(|file| listing.open(file)).collect();
    stream::iter(files.into_iter().map(footer)).buffered(CONCURRENT_FOOTERS).try_collect().await
}

async fn footer(file: OpenFile) -> Result<Footer> {
    let metadata = load_footer(&file, PageIndexPolicy::Skip).await.map_err(|error| damaged(&file, error.into()))?;
    let schema = columns(&metadata).map_err(|error| damaged(&file, error.into()))?;
    let bytes = |group: &parquet::file::metadata::RowGroupMetaData| u64::try_from(group.compressed_size()).unwrap_or(0);
    Ok(Footer {
        schema,
        row_groups: metadata.row_groups().iter().map(bytes).collect(),
        rows: u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0),
        name: file.name,
    })
}

async fn load_footer(file: &OpenFile, page_indexes: PageIndexPolicy) -> Result<ParquetMetaData, ParquetError> {
    let reader =
        ParquetMetaDataReader::new().with_prefetch_hint(Some(FOOTER_BYTES)).with_page_index_policy(page_indexes);
    reader.load_and_finish(FooterFetch(file), file.file.size).await
}

/// Reads ranges of the listed version.
struct FooterFetch<'a>(&'a OpenFile);

impl MetadataFetch for FooterFetch<'_> {
    fn fetch(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        let bytes = self.0.range(range);
        async move { bytes.await.map_err(|error| ParquetError::External(Box::new(error))) }.boxed()
    }
}

/// The footer that was read last: a task's pieces come file by file.
#[derive(Debug, Default)]
pub(super) struct LastFooter(Mutex<Option<(SourceFile, PageIndexPolicy, Arc<ParquetMetaData>)>>);

impl LastFooter {
    fn get(&self, file: &SourceFile, page_indexes: PageIndexPolicy) -> Option<Arc<ParquetMetaData>> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref()
            .filter(|(known, with, _)| known == file && *with == page_indexes)
            .map(|(.., footer)| footer.clone())
    }

    fn put(&self, file: &SourceFile, page_indexes: PageIndexPolicy, footer: Arc<ParquetMetaData>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((file.clone(), page_indexes, footer));
    }
}

/// Readers of one listed file. DataFusion's own turn a store's error into text, and with it a lost connection into a
/// damaged file; these keep its class.
#[derive(Debug)]
struct ListedFile {
    file: OpenFile,
    footer: Arc<LastFooter>,
}

impl ParquetFileReaderFactory for ListedFile {
    fn create_reader(
        &self,
        _: usize,
        _: PartitionedFile,
        _: Option<usize>,
        _: &ExecutionPlanMetricsSet,
    ) -> PlanResult<Box<dyn AsyncFileReader + Send>> {
        Ok(Box::new(ListedReader { file: self.file.clone(), footer: self.footer.clone() }))
    }
}

struct ListedReader {
    file: OpenFile,
    footer: Arc<LastFooter>,
}

impl AsyncFileReader for ListedReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        async move { self.file.range(range).await.map_err(|error| ParquetError::External(Box::new(error))) }.boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        async move {
            let file = &self.file;
            let bytes = coalesce_ranges(&ranges, |range| file.range(range), OBJECT_STORE_COALESCE_DEFAULT).await;
            bytes.map_err(|error| ParquetError::External(Box::new(error)))
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async move {
            let page_indexes = options.map_or(PageIndexPolicy::Skip, ArrowReaderOptions::column_index_policy);
            if let Some(footer) = self.footer.get(&self.file.file, page_indexes) {
                return Ok(footer);
            }
            let footer = Arc::new(load_footer(&self.file, page_indexes).await?);
            self.footer.put(&self.file.file, page_indexes, footer.clone());
            Ok(footer)
        }
        .boxed()
    }
}

/// The file's columns with the types they are read as. The old 96-bit timestamps of Spark and Hive are instants.
fn columns(metadata: &ParquetMetaData) -> Result<Schema, ParquetError> {
    let described = metadata.file_metadata().schema_descr();
    let stored = parquet_to_arrow_schema(described, metadata.file_metadata().key_value_metadata())?;
    let is_int96 = |name: &str| {
        let mut leaves = described.columns().iter();
        leaves.any(|leaf| leaf.path().parts() == [name.to_owned()] && leaf.physical_type() == PhysicalType::INT96)
    };
    let readable = |field: &Arc<Field>| {
        let data_type = if is_int96(field.name()) {
            DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some(schema::UTC.into()))
        } else {
            schema::readable(field.data_type())
        };
        Field::new(field.name(), data_type, true)
    };
    Ok(Schema::new(stored.fields().iter().map(readable).collect::<Vec<_>>()))
}

/// Some row groups of a file, to be read as columns of a table.
pub(super) struct Read<'a> {
    /// The file.
    pub file: &'a OpenFile,
    /// Row groups to read, and how many the file has.
    pub groups: (&'a [usize], usize),
    /// The table's columns.
    pub table: &'a SchemaRef,
    /// Those to put out.
    pub projection: &'a [usize],
    /// The task's last footer.
    pub footer: &'a Arc<LastFooter>,
    /// What rows must fulfil; used to leave out row groups and pages.
    pub predicate: Option<&'a Arc<dyn PhysicalExpr>>,
}

/// The rows of the row groups.
///
/// # Errors
/// `internal` when the scan cannot be set up.
pub(super) fn read(read: &Read<'_>, context: &Arc<TaskContext>) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let (groups, of) = read.groups;
    let access = (0..of).map(|group| if groups.contains(&group) { RowGroupAccess::Scan } else { RowGroupAccess::Skip });
    let meta = ObjectMeta {
        location: read.file.file.path(),
        last_modified: DateTime::from_timestamp_millis(read.file.file.modified_ms).unwrap_or_default(),
        size: read.file.file.size,
        e_tag: read.file.file.etag.clone(),
        version: None,
    };
    let partitioned =
        PartitionedFile::new_from_meta(meta).with_extension(ParquetAccessPlan::new(access.collect::<Vec<_>>()));
    let mut options = TableParquetOptions {
        global: context.session_config().options().execution.parquet.clone(),
        ..TableParquetOptions::default()
    };
    options.global.coerce_int96 = Some("us".to_owned());
    options.global.coerce_int96_tz = Some(schema::UTC.to_owned());
    let factory = ListedFile { file: read.file.clone(), footer: read.footer.clone() };
    let mut source = ParquetSource::new(read.table.clone())
        .with_table_parquet_options(options)
        .with_parquet_file_reader_factory(Arc::new(factory));
    if let Some(predicate) = read.predicate {
        source = source.with_predicate(predicate.clone());
    }
    // The URL only has to be one that every session knows: the bytes come through the factory's store.
    let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), Arc::new(source))
        .with_file_group(FileGroup::new(vec![partitioned]))
        .with_projection_indices(Some(read.projection.to_vec()))?
        .build();
    let rows = DataSourceExec::from_data_source(config).execute(0, context.clone())?;
    let file = read.file.clone();
    Ok(rows.map_err(move |error| damaged(&file, error)).boxed())
}

/// What a read error says about the file, unless a store or the memory pool is behind it.
fn damaged(file: &OpenFile, error: DataFusionError) -> EngineError {
    if let Some(why) = damage(&error) {
        return file.bad(why);
    }
    if let Some(cause) = find_classed(&error) {
        return cause;
    }
    match error.find_root() {
        DataFusionError::ArrowError(arrow, _) => EngineError::new(
            ErrorClass::DataQuality,
            "bad-record",
            format!(
                "'{}' has a value that is not of its column's declared type: {}",
                file.name,
                words::of_arrow(arrow)
            ),
        ),
        _ => EngineError::from(error).within(format!("cannot read '{}'", file.name)),
    }
}
