//! DataFusion's cached Parquet readers, but an error keeps its type, and names the file: theirs turns a store that is
//! away while a footer is read into text, and then nobody can tell it from a broken file. Edge.

use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::error::Result;
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet};
use futures::FutureExt;
use futures::future::BoxFuture;
use lake_proto::ErrorClass;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::ParquetMetaData;

use crate::EngineError;
use crate::error::BAD_FILE;

/// How long the size of a file is asked for that could not be read: a store that is away is not waited for twice.
const LOOK: Duration = Duration::from_secs(2);

/// Makes readers over one store; footers are kept in the runtime's cache.
#[derive(Debug)]
pub(super) struct Readers {
    store: Arc<dyn ObjectStore>,
    cache: Arc<FileMetadataCache>,
    inner: CachedParquetFileReaderFactory,
    bytes: Count,
}

impl Readers {
    /// What is read of data files is added to `bytes`.
    pub(super) fn new(store: Arc<dyn ObjectStore>, cache: Arc<FileMetadataCache>, bytes: Count) -> Self {
        let inner = CachedParquetFileReaderFactory::new(store.clone(), cache.clone());
        Self { store, cache, inner, bytes }
    }
}

impl ParquetFileReaderFactory for Readers {
    fn create_reader(
        &self,
        partition: usize,
        file: PartitionedFile,
        size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let inner = self.inner.create_reader(partition, file.clone(), size_hint, metrics)?;
        let (store, cache, read) = (self.store.clone(), self.cache.clone(), self.bytes.clone());
        Ok(Box::new(Reader { inner, file, size_hint, store, cache, read }))
    }
}

struct Reader {
    inner: Box<dyn AsyncFileReader + Send>,
    file: PartitionedFile,
    size_hint: Option<usize>,
    store: Arc<dyn ObjectStore>,
    cache: Arc<FileMetadataCache>,
    read: Count,
}

/// A failure to read the data file that the log describes by `meta`, with its name. A file of another size than the log
/// says was damaged: a store has no better answer to a read beyond its end than to a connection that is gone.
pub(super) async fn explained(store: &dyn ObjectStore, meta: &ObjectMeta, error: EngineError) -> EngineError {
    if error.class() == ErrorClass::Unavailable
        && let Ok(Ok(found)) = tokio::time::timeout(LOOK, store.head(&meta.location)).await
        && found.size != meta.size
    {
        let message = format!(
            "data file '{}' is damaged: it has {} bytes, the log says {}",
            meta.location, found.size, meta.size
        );
        return EngineError::new(ErrorClass::DataQuality, BAD_FILE, message);
    }
    error.within(format!("data file '{}'", meta.location))
}

async fn failed(store: &dyn ObjectStore, meta: &ObjectMeta, error: EngineError) -> ParquetError {
    ParquetError::External(Box::new(explained(store, meta, error).await))
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        async move {
            match self.inner.get_bytes(range).await {
                Ok(bytes) => {
                    self.read.add(bytes.len());
                    Ok(bytes)
                }
                Err(error) => Err(failed(self.store.as_ref(), &self.file.object_meta, error.into()).await),
            }
        }
        .boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        async move {
            match self.inner.get_byte_ranges(ranges).await {
                Ok(parts) => {
                    self.read.add(parts.iter().map(Bytes::len).sum());
                    Ok(parts)
                }
                Err(error) => Err(failed(self.store.as_ref(), &self.file.object_meta, error.into()).await),
            }
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        async move {
            let footer = DFParquetMetadata::new(self.store.as_ref(), &self.file.object_meta)
                .with_file_metadata_cache(Some(self.cache.clone()))
                .with_metadata_size_hint(self.size_hint)
                .with_page_index_policy(options.map(ArrowReaderOptions::column_index_policy));
            // The decoder trusts the length that a footer gives itself, and panics when that is larger than the file.
            let read = AssertUnwindSafe(footer.fetch_metadata()).catch_unwind().await;
            match read.unwrap_or_else(|_| Err(ParquetError::General("its footer is damaged".to_owned()).into())) {
                Ok(footer) => Ok(footer),
                Err(error) => {
                    let error = EngineError::from(error).within("footer");
                    Err(failed(self.store.as_ref(), &self.file.object_meta, error).await)
                }
            }
        }
        .boxed()
    }
}
