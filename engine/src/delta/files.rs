//! Live data files of a snapshot: what the log says about them. Pure.

use std::collections::{BTreeMap, HashMap};

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use deltalake_core::kernel::{Add, DeletionVectorDescriptor, LogicalFileView, Remove};
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::sql_type::sql_type;
use crate::stores::Stores;
use crate::{EngineError, Result};

/// A data file that belongs to a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveFile {
    /// Path below the table's root, or an absolute URL; percent-decoded once, as the protocol says.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// Creation time in milliseconds since the epoch.
    pub modified_ms: i64,
    /// Partition values by physical column name, as the log spells them.
    pub partition_values: BTreeMap<String, Option<String>>,
    /// Statistics, the JSON text of the log.
    pub stats: Option<String>,
    /// Rows deleted from it.
    pub deletion_vector: Option<DeletionVectorDescriptor>,
    /// Tags of the log.
    pub tags: Option<BTreeMap<String, Option<String>>>,
}

/// What makes two log entries speak of one logical file: the path and the deletion vector.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileKey {
    path: String,
    vector: Option<String>,
}

impl FileKey {
    /// The key of a path with a deletion vector's unique id.
    pub fn new(path: impl Into<String>, vector: Option<&DeletionVectorDescriptor>) -> Self {
        Self { path: path.into(), vector: vector.map(vector_id) }
    }
}

fn vector_id(vector: &DeletionVectorDescriptor) -> String {
    let offset = vector.offset.map(|offset| format!("@{offset}")).unwrap_or_default();
    format!("{}{}{offset}", vector.storage_type, vector.path_or_inline_dv)
}

impl LiveFile {
    pub(crate) fn of_view(view: &LogicalFileView) -> Result<Self> {
        let size = u64::try_from(view.size())
            .map_err(|_| EngineError::internal(format!("data file '{}' has a negative size", view.path())))?;
        Ok(Self {
            path: view.path().into_owned(),
            size,
            modified_ms: view.modification_time(),
            partition_values: view.partition_values_map().into_iter().collect(),
            stats: view.stats(),
            deletion_vector: view.deletion_vector_descriptor(),
            tags: None,
        })
    }

    /// The file that an `add` action brings in.
    ///
    /// # Errors
    /// `internal` when its size is negative.
    pub fn of_add(add: &Add) -> Result<Self> {
        let size = u64::try_from(add.size)
            .map_err(|_| EngineError::internal(format!("data file '{}' has a negative size", add.path)))?;
        Ok(Self {
            path: add.path.clone(),
            size,
            modified_ms: add.modification_time,
            partition_values: add.partition_values.clone().into_iter().collect(),
            stats: add.stats.clone(),
            deletion_vector: add.deletion_vector.clone(),
            tags: add.tags.clone().map(|tags| tags.into_iter().collect()),
        })
    }

    /// Its identity in the log.
    pub fn key(&self) -> FileKey {
        FileKey::new(self.path.clone(), self.deletion_vector.as_ref())
    }

    /// The action that takes it out of the table.
    pub(crate) fn remove(&self, now_ms: i64) -> Remove {
        Remove {
            path: self.path.clone(),
            data_change: true,
            deletion_timestamp: Some(now_ms),
            extended_file_metadata: Some(true),
            partition_values: Some(self.partition_values.clone().into_iter().collect::<HashMap<_, _>>()),
            size: i64::try_from(self.size).ok(),
            tags: self.tags.clone().map(|tags| tags.into_iter().collect()),
            deletion_vector: self.deletion_vector.clone(),
            base_row_id: None,
            default_row_commit_version: None,
        }
    }

    /// Rows that the deletion vector takes away.
    pub fn deleted_rows(&self) -> u64 {
        self.deletion_vector.as_ref().and_then(|vector| u64::try_from(vector.cardinality).ok()).unwrap_or(0)
    }
}

/// The typed value of a partition column; an absent or empty text is NULL, as the protocol says.
///
/// # Errors
/// `internal` when the text is not of the type: the log is damaged.
pub(crate) fn partition_value(text: Option<&str>, kind: &DataType) -> Result<ScalarValue> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(ScalarValue::try_from(kind)?);
    };
    let damaged = |error| {
        EngineError::internal(format!(
            "partition value '{text}' in the log is not a value of type {}: {error}",
            sql_type(kind)
        ))
    };
    let value = match kind {
        DataType::Utf8View => Ok(ScalarValue::Utf8View(Some(text.to_owned()))),
        DataType::Utf8 => Ok(ScalarValue::Utf8(Some(text.to_owned()))),
        DataType::Binary | DataType::BinaryView => ScalarValue::Binary(Some(text.as_bytes().to_vec())).cast_to(kind),
        other => ScalarValue::try_from_string(text.to_owned(), other),
    };
    value.map_err(damaged)
}

/// Where a data file or deletion vector lives: the URL whose store holds it and its path in that store.
///
/// # Errors
/// `invalid-job` when the path cannot be an object path.
pub(crate) fn locate(table: &Url, path: &str) -> Result<(Url, Path)> {
    if path.contains("://") {
        let url = Url::parse(path)
            .map_err(|error| EngineError::internal(format!("data file '{path}' has no readable URL: {error}")))?;
        let path = Stores::path(&url)?;
        return Ok((url, path));
    }
    let joined = format!("{}/{path}", Stores::path(table)?);
    let path = Path::parse(&joined)
        .map_err(|error| EngineError::invalid("object-path", format!("'{joined}' is not an object path: {error}")))?;
    Ok((table.clone(), path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partition_values_take_the_type_of_their_column() {
        let value = |text, kind: &DataType| partition_value(text, kind).unwrap();
        assert_eq!(value(Some("7"), &DataType::Int32), ScalarValue::Int32(Some(7)));
        assert_eq!(value(Some("1970-01-02"), &DataType::Date32), ScalarValue::Date32(Some(1)));
        assert_eq!(value(Some("a b%"), &DataType::Utf8View), ScalarValue::Utf8View(Some("a b%".into())));
        assert!(value(None, &DataType::Int32).is_null());
        assert!(value(Some(""), &DataType::Utf8View).is_null());
        let micros = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into()));
        for text in ["1970-01-01 00:00:01.500000", "1970-01-01T00:00:01.500000Z"] {
            assert_eq!(
                value(Some(text), &micros),
                ScalarValue::TimestampMicrosecond(Some(1_500_000), Some("UTC".into())),
                "{text}"
            );
        }
        assert!(partition_value(Some("x"), &DataType::Int32).is_err());
    }

    #[test]
    fn a_path_is_below_the_table_or_a_url_of_its_own() {
        let table = Url::parse("s3://bucket/a%20b/t").unwrap();
        let (_, path) = locate(&table, "p=x%2Fy/part 0.parquet").unwrap();
        assert_eq!(path.as_ref(), "a b/t/p=x%2Fy/part 0.parquet");
        let (url, path) = locate(&table, "s3://other/dir/f.parquet").unwrap();
        assert_eq!((url.host_str(), path.as_ref()), (Some("other"), "dir/f.parquet"));
    }
}
