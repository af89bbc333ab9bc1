//! A Delta table as a step left it, told by the driver that committed. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Upper bounds of the sizes of data files that [`TableRecord::file_sizes`] counts, in bytes; the last bucket has none.
pub const SIZE_BUCKETS: [u64; 7] = lake_proto::quantity::FILE_SIZE_BOUNDS;

/// The bucket of a file of this size: an index into [`TableRecord::file_sizes`].
pub fn size_bucket(bytes: u64) -> usize {
    lake_proto::quantity::file_size_bucket(bytes)
}

/// One table at one version.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TableRecord {
    /// The version that this describes.
    pub version: i64,
    /// When it was committed.
    pub committed_at_ms: u64,
    /// Delta's name of the operation: WRITE, MERGE, …
    pub operation: String,
    /// Delta's operation metrics, as in the commit.
    pub operation_metrics: BTreeMap<String, String>,
    /// Its columns, in order.
    pub columns: Vec<ColumnRecord>,
    /// Its partition columns.
    pub partition_by: Vec<String>,
    /// Live data files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Rows by the statistics of the log; `None` when a file has none.
    pub rows: Option<u64>,
    /// Live files by size: one number per bucket of [`SIZE_BUCKETS`] and one for larger files. Empty = not told.
    pub file_sizes: Vec<u64>,
    /// Different values of the partition columns; `None` = not told.
    pub partitions: Option<u64>,
}

/// One column.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ColumnRecord {
    /// Its name.
    pub name: String,
    /// Its type as SQL writes it.
    pub data_type: String,
    /// Whether it may be NULL.
    pub is_nullable: bool,
}
