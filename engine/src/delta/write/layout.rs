//! How the rows of a table lie in its data files: by partition, under which paths, in row groups of which size. Pure,
//! but for random names.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::execution::memory_pool::{MemoryLimit, MemoryPool};
use delta_kernel::expressions::Scalar;
use delta_kernel::table_properties::DataSkippingNumIndexedCols;
use deltalake_core::datafile::writer::{PartitionWriter, PartitionWriterConfig};
use deltalake_core::kernel::scalars::ScalarExt;
use object_store::ObjectStore;
use object_store::path::Path;
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::partitions::Partitions;
use super::{Codec, Target};
use crate::delta::rename::retype;
use crate::{EngineError, Result};

/// A row group ends at this size at the latest, which bounds what an open file holds in memory.
const ROW_GROUP_BYTES: usize = 64 << 20;
/// As [`ROW_GROUP_BYTES`], when many files are open.
const PARTITIONED_ROW_GROUP_BYTES: usize = 32 << 20;
/// However little memory there is: smaller row groups cost every reader more than they save here.
const LEAST_ROW_GROUP_BYTES: usize = 8 << 20;
/// The part of the memory pool that one row group may have: other tasks and what feeds this one need the rest.
const POOL_PER_ROW_GROUP: usize = 16;
/// Parts of one file on their way to the store at once.
const UPLOADS_PER_FILE: usize = 4;
/// Rows encoded between two looks at the size of a file.
const ROWS_AT_ONCE: usize = 8192;

/// How the rows of one write become files.
pub(super) struct Layout {
    pub(super) target: Target,
    /// Columns of the data files.
    file: SchemaRef,
    file_columns: Vec<usize>,
    partition_columns: Vec<usize>,
    properties: WriterProperties,
    /// A row group ends at this size.
    pub(super) row_group_bytes: usize,
}

impl Layout {
    /// # Errors
    /// `invalid-job` for a compression that cannot be.
    pub(super) fn new(target: Target, pool: &dyn MemoryPool) -> Result<Self> {
        let position = |name: &String| target.schema.index_of(name);
        let partition_columns = target.partition_by.iter().map(position).collect::<Result<Vec<_>, _>>()?;
        let file_columns: Vec<usize> =
            (0..target.schema.fields().len()).filter(|index| !partition_columns.contains(index)).collect();
        let file = Arc::new(target.physical.project(&file_columns)?);
        let most = if partition_columns.is_empty() { ROW_GROUP_BYTES } else { PARTITIONED_ROW_GROUP_BYTES };
        let row_group_bytes = row_group_bytes(pool).min(most);
        let properties = WriterProperties::builder()
            .set_created_by(super::super::commit::ENGINE.to_owned())
            .set_compression(compression(target.compression)?)
            .set_max_row_group_bytes(Some(row_group_bytes))
            .build();
        Ok(Self { target, file, file_columns, partition_columns, properties, row_group_bytes })
    }

    /// The rows of `batch` as a data file holds them: without partition columns.
    pub(super) fn rows(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = self.file_columns.iter().zip(self.file.fields());
        let columns = columns.map(|(index, field)| retype(batch.column(*index), field.data_type()));
        Ok(RecordBatch::try_new(self.file.clone(), columns.collect::<Result<Vec<_>, _>>()?)?)
    }

    /// The partition columns of `batch`; none for a table without partitions.
    pub(super) fn keys(&self, batch: &RecordBatch) -> Vec<ArrayRef> {
        self.partition_columns.iter().map(|index| batch.column(*index).clone()).collect()
    }

    /// Tells the rows of different partitions apart; `None` for a table without partitions.
    pub(super) fn partitions(&self) -> Result<Option<Partitions>> {
        if self.partition_columns.is_empty() {
            return Ok(None);
        }
        Partitions::new(&self.target.schema.project(&self.partition_columns)?).map(Some)
    }

    /// Partition values of one row under physical names. Empty text is NULL, as in the log.
    pub(super) fn values(&self, keys: &[ArrayRef], row: usize) -> Result<Vec<(String, Scalar)>> {
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

    /// A new file of the partition with these values; nothing is stored before its first rows.
    ///
    /// # Errors
    /// `invalid-job` (code `object-path`) when a value cannot be part of a path.
    pub(super) fn open_file(
        &self,
        store: Arc<dyn ObjectStore>,
        values: Vec<(String, Scalar)>,
    ) -> Result<PartitionWriter> {
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
            Some(UPLOADS_PER_FILE),
            Some(prefix),
        )?;
        let indexed = match u64::try_from(self.target.indexed_columns) {
            Ok(count) => DataSkippingNumIndexedCols::NumColumns(count),
            Err(_) => DataSkippingNumIndexedCols::AllColumns,
        };
        Ok(PartitionWriter::try_with_config(store, config, indexed, self.target.stats_columns.clone())?)
    }
}

/// What one row group may hold of the pool's memory.
fn row_group_bytes(pool: &dyn MemoryPool) -> usize {
    match pool.memory_limit() {
        MemoryLimit::Finite(bytes) => (bytes / POOL_PER_ROW_GROUP).clamp(LEAST_ROW_GROUP_BYTES, ROW_GROUP_BYTES),
        MemoryLimit::Infinite | MemoryLimit::Unknown => ROW_GROUP_BYTES,
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
