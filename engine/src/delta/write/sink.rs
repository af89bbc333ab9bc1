//! The open data files of one task. Edge.
//!
//! Every file is named by a fresh uuid, so attempts of a task never meet. Files are streamed to the store while they
//! are written; what is not committed is an orphan, and what is not finished is aborted when the sink is dropped.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::row::{RowConverter, SortField};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use delta_kernel::expressions::Scalar;
use delta_kernel::table_properties::DataSkippingNumIndexedCols;
use deltalake_core::datafile::writer::{PartitionWriter, PartitionWriterConfig};
use deltalake_core::kernel::Add;
use deltalake_core::kernel::scalars::ScalarExt;
use object_store::ObjectStore;
use object_store::path::Path;
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::{Codec, Target};
use crate::delta::rename::retype;
use crate::stores::Stores;
use crate::{EngineError, Result};

/// Files open at once in one task; the one that waited longest is closed first.
const OPEN_FILES: usize = 128;
/// A row group ends at this size, which bounds what an open file holds in memory.
const ROW_GROUP_BYTES: usize = 64 << 20;
/// As [`ROW_GROUP_BYTES`], when many files are open.
const PARTITIONED_ROW_GROUP_BYTES: usize = 32 << 20;
/// Rows encoded between two looks at the size of a file.
const ROWS_AT_ONCE: usize = 8192;

/// Writes batches of one table into data files.
pub(super) struct Sink {
    store: Arc<dyn ObjectStore>,
    layout: Layout,
    open: HashMap<Vec<u8>, OpenFile>,
    adds: Vec<Add>,
    memory: MemoryReservation,
    clock: u64,
}

struct Layout {
    target: Target,
    /// Columns of the data files.
    file: SchemaRef,
    file_columns: Vec<usize>,
    partition_columns: Vec<usize>,
    properties: WriterProperties,
    rows: Option<RowConverter>,
    row_group_bytes: usize,
}

struct OpenFile {
    writer: PartitionWriter,
    held: usize,
    used: u64,
}

impl Sink {
    /// # Errors
    /// As [`Stores::rooted`].
    pub(super) fn new(target: Target, context: &TaskContext, partition: usize) -> Result<Self> {
        let store = Stores::of(context)?.rooted(&target.location)?;
        let consumer = MemoryConsumer::new(format!("DeltaWriteExec[{partition}]")).with_can_spill(true);
        let memory = consumer.register(context.memory_pool());
        Ok(Self { store, layout: Layout::new(target)?, open: HashMap::new(), adds: Vec::new(), memory, clock: 0 })
    }

    /// Takes the rows of `batch`, which has the table's columns.
    ///
    /// # Errors
    /// The store's class; `resource` (code `memory`) when not even one file's buffer fits the memory pool.
    pub(super) async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        for (key, values, rows) in self.layout.split(batch)? {
            self.write_partition(key, values, &rows).await?;
        }
        Ok(())
    }

    async fn write_partition(&mut self, key: Vec<u8>, values: Vec<(String, Scalar)>, rows: &RecordBatch) -> Result<()> {
        self.clock += 1;
        if !self.open.contains_key(&key) {
            if self.open.len() >= OPEN_FILES {
                let oldest = self.open.iter().min_by_key(|(_, file)| file.used).map(|(key, _)| key.clone());
                self.close_file(oldest).await?;
            }
            let writer = self.layout.open_file(self.store.clone(), values.clone())?;
            self.open.insert(key.clone(), OpenFile { writer, held: 0, used: self.clock });
        }
        self.reserve(&key, rows.get_array_memory_size()).await?;
        if !self.open.contains_key(&key) {
            // Its own file had to go to make room.
            let writer = self.layout.open_file(self.store.clone(), values)?;
            self.open.insert(key.clone(), OpenFile { writer, held: 0, used: self.clock });
        }
        let file = self.open.get_mut(&key).ok_or_else(|| EngineError::internal("an open data file was lost"))?;
        file.used = self.clock;
        file.writer.write(rows).await.map_err(|error| write_error(error, &self.layout.target))
    }

    /// Accounts for `bytes` more in the buffers of `key`'s file; closes the fullest files when memory is short.
    async fn reserve(&mut self, key: &[u8], bytes: usize) -> Result<()> {
        loop {
            let limit = self.layout.row_group_bytes;
            let Some(file) = self.open.get_mut(key) else { return Ok(()) };
            let growth = (file.held + bytes).min(limit).saturating_sub(file.held);
            let Err(error) = self.memory.try_grow(growth) else {
                file.held += growth;
                return Ok(());
            };
            let fullest = self.open.iter().filter(|(_, file)| file.held > 0).max_by_key(|(_, file)| file.held);
            match fullest.map(|(key, _)| key.clone()) {
                Some(fullest) => self.close_file(Some(fullest)).await?,
                None => return Err(EngineError::from(error).within("a data file's buffer does not fit")),
            }
        }
    }

    async fn close_file(&mut self, key: Option<Vec<u8>>) -> Result<()> {
        let Some(file) = key.and_then(|key| self.open.remove(&key)) else { return Ok(()) };
        let closed = file.writer.close().await;
        self.memory.shrink(file.held);
        self.adds.extend(closed.map_err(|error| write_error(error, &self.layout.target))?);
        Ok(())
    }

    /// Finishes every file.
    ///
    /// # Errors
    /// The store's class.
    pub(super) async fn close(mut self) -> Result<Vec<Add>> {
        let mut keys: Vec<Vec<u8>> = self.open.keys().cloned().collect();
        keys.sort();
        for key in keys {
            self.close_file(Some(key)).await?;
        }
        Ok(mem::take(&mut self.adds))
    }

    /// Gives up what is not finished; finished files stay behind as orphans.
    pub(super) async fn abort(mut self) {
        abort_files(mem::take(&mut self.open)).await;
    }
}

async fn abort_files(open: HashMap<Vec<u8>, OpenFile>) {
    for (_, file) in open {
        if let Err(error) = file.writer.abort().await {
            tracing::warn!(%error, "upload of a data file could not be aborted");
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let open = mem::take(&mut self.open);
        if open.is_empty() {
            return;
        }
        // A dropped query cannot wait; outside a runtime the store's own clean-up of unfinished uploads remains.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(abort_files(open));
        }
    }
}

/// The store's own class where there is one.
fn write_error(error: deltalake_core::DeltaTableError, target: &Target) -> EngineError {
    EngineError::from(error).within(format!("cannot write to table '{}'", target.location))
}

impl Layout {
    fn new(target: Target) -> Result<Self> {
        let position = |name: &String| target.schema.index_of(name);
        let partition_columns = target.partition_by.iter().map(position).collect::<Result<Vec<_>, _>>()?;
        let file_columns: Vec<usize> =
            (0..target.schema.fields().len()).filter(|index| !partition_columns.contains(index)).collect();
        let file = Arc::new(target.physical.project(&file_columns)?);
        let row_group_bytes = if partition_columns.is_empty() { ROW_GROUP_BYTES } else { PARTITIONED_ROW_GROUP_BYTES };
        let properties = WriterProperties::builder()
            .set_created_by(super::super::commit::ENGINE.to_owned())
            .set_compression(compression(target.compression)?)
            .set_max_row_group_bytes(Some(row_group_bytes))
            .build();
        let keys =
            partition_columns.iter().map(|index| SortField::new(target.schema.field(*index).data_type().clone()));
        let keys: Vec<SortField> = keys.collect();
        let rows = if keys.is_empty() { None } else { Some(RowConverter::new(keys)?) };
        Ok(Self { target, file, file_columns, partition_columns, properties, rows, row_group_bytes })
    }

    /// The batch by partition: key, values, and the rows as a data file holds them.
    #[expect(clippy::type_complexity, reason = "a key, its values and its rows, used once")]
    fn split(&self, batch: &RecordBatch) -> Result<Vec<(Vec<u8>, Vec<(String, Scalar)>, RecordBatch)>> {
        let columns = self.file_columns.iter().zip(self.file.fields());
        let columns = columns.map(|(index, field)| retype(batch.column(*index), field.data_type()));
        let data = RecordBatch::try_new(self.file.clone(), columns.collect::<Result<Vec<_>, _>>()?)?;
        let Some(converter) = &self.rows else { return Ok(vec![(Vec::new(), Vec::new(), data)]) };
        let keys: Vec<ArrayRef> = self.partition_columns.iter().map(|index| batch.column(*index).clone()).collect();
        let rows = converter.convert_columns(&keys)?;
        let mut groups: Vec<(&[u8], Vec<u32>)> = Vec::new();
        let mut known: HashMap<&[u8], usize> = HashMap::new();
        let count = u32::try_from(data.num_rows()).map_err(|error| EngineError::internal(error.to_string()))?;
        let encoded: Vec<_> = rows.iter().collect();
        for (row, key) in (0..count).zip(&encoded) {
            let group = *known.entry(key.as_ref()).or_insert_with(|| {
                groups.push((key.as_ref(), Vec::new()));
                groups.len() - 1
            });
            if let Some((_, members)) = groups.get_mut(group) {
                members.push(row);
            }
        }
        let single = groups.len() == 1;
        let mut split = Vec::with_capacity(groups.len());
        for (key, members) in groups {
            let first = members.first().map_or(0, |row| *row as usize);
            let values = self.values(&keys, first)?;
            let rows = if single { data.clone() } else { take_record_batch(&data, &UInt32Array::from(members))? };
            split.push((key.to_vec(), values, rows));
        }
        Ok(split)
    }

    /// Partition values of one row under physical names. Empty text is NULL, as in the log.
    fn values(&self, keys: &[ArrayRef], row: usize) -> Result<Vec<(String, Scalar)>> {
        let mut values = Vec::with_capacity(keys.len());
        for (index, key) in self.partition_columns.iter().zip(keys) {
            let name = self.target.physical.field(*index).name();
            let value = Scalar::from_array(key.as_ref(), row).ok_or_else(|| {
                EngineError::internal(format!("partition column '{name}' of type {} has no scalar", key.data_type()))
            })?;
            let empty = matches!(&value, Scalar::String(text) if text.is_empty());
            let value = if empty && *key.data_type() == DataType::Utf8 {
                Scalar::Null(delta_kernel::schema::DataType::STRING)
            } else {
                value
            };
            values.push((name.clone(), value));
        }
        Ok(values)
    }

    fn open_file(&self, store: Arc<dyn ObjectStore>, values: Vec<(String, Scalar)>) -> Result<PartitionWriter> {
        let prefix = match self.target.prefix_length {
            Some(length) => random_prefix(length),
            None => hive_path(&values),
        };
        let prefix = Path::parse(&prefix).map_err(|error| {
            EngineError::invalid("object-path", format!("'{prefix}' is not an object path: {error}"))
        })?;
        let config = PartitionWriterConfig::try_new(
            self.file.clone(),
            values.into_iter().collect(),
            Some(self.properties.clone()),
            Some(self.target.file_bytes),
            Some(ROWS_AT_ONCE),
            None,
            Some(prefix),
        )?;
        let indexed = match u64::try_from(self.target.indexed_columns) {
            Ok(count) => DataSkippingNumIndexedCols::NumColumns(count),
            Err(_) => DataSkippingNumIndexedCols::AllColumns,
        };
        Ok(PartitionWriter::try_with_config(store, config, indexed, self.target.stats_columns.clone())?)
    }
}

/// `a=1/b=x%20y`, names and values percent-encoded.
fn hive_path(values: &[(String, Scalar)]) -> String {
    let name = |name: &String| Scalar::String(name.clone()).serialize_encoded();
    let parts = values.iter().map(|(column, value)| format!("{}={}", name(column), value.serialize_encoded()));
    parts.collect::<Vec<_>>().join("/")
}

fn random_prefix(length: usize) -> String {
    uuid::Uuid::new_v4().simple().to_string().chars().take(length).collect()
}

fn compression(codec: Codec) -> Result<Compression> {
    Ok(match codec {
        Codec::Snappy => Compression::SNAPPY,
        Codec::Zstd => Compression::ZSTD(ZstdLevel::try_new(3)?),
        Codec::Gzip => Compression::GZIP(GzipLevel::default()),
        Codec::Lz4 => Compression::LZ4_RAW,
        Codec::None => Compression::UNCOMPRESSED,
    })
}
