//! Opening pieces in the task that got them, through DataFusion's own Parquet reader. Edge.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::common::config::TableParquetOptions;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::{ParquetAccessPlan, RowGroupAccess};
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, FileSource, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::DataFusionError;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr_adapter::PhysicalExprAdapterFactory;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::Count;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, TryStreamExt};
use lake_proto::ErrorClass;
use object_store::ObjectStore;
use url::Url;

use super::ids::FieldIds;
use super::layout::Layout;
use super::pieces::{Footers, Piece, object_meta};
use super::readers::Readers;
use crate::delta::columns::Mapping;
use crate::delta::dv;
use crate::delta::files::{locate, partition_value};
use crate::error::{BAD_FILE, damage};
use crate::stores::Stores;
use crate::{EngineError, Result};

/// Deletion vectors and footers loaded at once before a task's first row.
const PREPARED_AT_ONCE: usize = 8;

/// How the pieces of one task are read.
pub(super) struct Reader {
    pub(super) layout: Arc<Layout>,
    /// Over the layout's source schema; used for pruning, never for correctness.
    pub(super) predicate: Option<Arc<dyn PhysicalExpr>>,
    /// Rows wanted at most.
    pub(super) limit: Option<usize>,
    /// Bytes read of data files; footers are not among them.
    pub(super) bytes: Count,
}

impl Reader {
    /// The rows of `pieces`, under physical names.
    ///
    /// # Errors
    /// The store's class; `data-quality` (code `bad-file`) for a damaged data file, also while rows are read;
    /// `internal` for a damaged deletion vector or partition value.
    pub(super) async fn open(
        &self,
        pieces: Vec<Piece>,
        context: &Arc<TaskContext>,
    ) -> Result<Vec<SendableRecordBatchStream>> {
        let stores = Stores::of(context)?;
        let cache = context.runtime_env().cache_manager.get_file_metadata_cache();
        let footers = Footers { stores: &stores, table: &self.layout.location, cache: cache.clone() };
        let (stores, footers) = (&stores, &footers);
        let prepare = |piece: Piece| async move {
            let file = self.prepare(&piece, stores, footers).await?;
            let (root, path) = locate(&self.layout.location, &piece.path)?;
            Ok::<_, EngineError>((
                stores.store(&root)?,
                PartitionedFile { object_meta: object_meta(path, &piece), ..file },
            ))
        };
        let prepared = futures::stream::iter(pieces).map(prepare).buffered(PREPARED_AT_ONCE);
        let prepared: Vec<(Arc<dyn ObjectStore>, PartitionedFile)> = prepared.try_collect().await?;
        // One scan per object store; only shallow clones have files in more than one.
        let mut scans: Vec<(Arc<dyn ObjectStore>, Vec<PartitionedFile>)> = Vec::new();
        for (store, file) in prepared {
            match scans.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &store)) {
                Some((_, files)) => files.push(file),
                None => scans.push((store, vec![file])),
            }
        }
        let mut streams = Vec::with_capacity(scans.len());
        for (store, files) in scans {
            streams.push(self.scan(Readers::new(store, cache.clone(), self.bytes.clone()), files, context)?);
        }
        Ok(streams)
    }

    /// The piece as DataFusion's file: partition values and the row groups and rows to read.
    async fn prepare(&self, piece: &Piece, stores: &Stores, footers: &Footers<'_>) -> Result<PartitionedFile> {
        let values = self.layout.partitions.iter().zip(&piece.partition);
        let values = values.map(|(field, text)| partition_value(text.as_deref(), field.data_type()));
        let values = values.collect::<Result<Vec<ScalarValue>>>()?;
        let file = PartitionedFile::new(piece.path.clone(), piece.size).with_partition_values(values);
        match self.access(piece, stores, footers).await? {
            Some(access) => Ok(file.with_extension(access)),
            None => Ok(file),
        }
    }

    async fn access(&self, piece: &Piece, stores: &Stores, footers: &Footers<'_>) -> Result<Option<ParquetAccessPlan>> {
        let Some(vector) = &piece.vector else {
            return Ok(piece.row_groups.map(|groups| {
                let mut access = ParquetAccessPlan::new_none(groups.total);
                (groups.first..groups.first + groups.count).for_each(|group| access.scan(group));
                access
            }));
        };
        let (deleted, footer) =
            futures::try_join!(dv::load(stores, &self.layout.location, vector), footers.read(piece))?;
        let wanted = |group: usize| {
            piece.row_groups.is_none_or(|groups| (groups.first..groups.first + groups.count).contains(&group))
        };
        let mut first = 0;
        let mut access = Vec::with_capacity(footer.num_row_groups());
        for (index, group) in footer.row_groups().iter().enumerate() {
            let rows = u64::try_from(group.num_rows()).unwrap_or(0);
            access.push(match wanted(index) {
                true => dv::surviving(&deleted, first, rows).map_or(RowGroupAccess::Scan, RowGroupAccess::Selection),
                false => RowGroupAccess::Skip,
            });
            first += rows;
        }
        Ok(Some(ParquetAccessPlan::new(access)))
    }

    fn scan(
        &self,
        readers: Readers,
        files: Vec<PartitionedFile>,
        context: &Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let mut options = TableParquetOptions {
            global: context.session_config().options().execution.parquet.clone(),
            ..TableParquetOptions::default()
        };
        // Delta's instants have microseconds; Spark's old files hold INT96 nanoseconds, which end in 2262.
        options.global.coerce_int96.get_or_insert_with(|| "us".to_owned());
        let table = TableSchema::builder(self.layout.file.clone())
            .with_table_partition_cols(self.layout.partitions.clone())
            .build();
        let mut source = ParquetSource::new(table)
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(readers));
        if let Some(predicate) = &self.predicate {
            source = source.with_predicate(predicate.clone());
        }
        let source: Arc<dyn FileSource> = Arc::new(source);
        let ids: Option<Arc<dyn PhysicalExprAdapterFactory>> =
            (self.layout.mapping == Mapping::Id).then(|| Arc::new(FieldIds) as _);
        // The URL is never resolved: the reader factory has the store. This one is always registered.
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), source)
            .with_file_group(FileGroup::new(files))
            .with_projection_indices(Some(self.layout.projection.clone()))?
            .with_limit(self.limit)
            .with_expr_adapter(ids)
            .build();
        let rows = DataSourceExec::from_data_source(config).execute(0, context.clone())?;
        let (schema, location) = (rows.schema(), self.layout.location.clone());
        let rows = rows.map_err(move |error| damaged(&location, error));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}

/// What the Parquet reader complains about is the file, of which it does not tell the name.
fn damaged(table: &Url, error: DataFusionError) -> DataFusionError {
    match damage(&error) {
        Some(why) => {
            let message = format!("a data file of table '{table}' is damaged: {why}");
            EngineError::new(ErrorClass::DataQuality, BAD_FILE, message).into()
        }
        None => error,
    }
}
