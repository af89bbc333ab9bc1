//! Arrow types of file sources: of declared columns, and of what files hold. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use lake_job::{Column, ColumnType, RESCUED};

use crate::{EngineError, Result};

/// Zone of instants.
pub(super) const UTC: &str = "UTC";

/// The Arrow type of a declared one. Text and bytes are views: scans with them are a quarter faster.
pub(super) fn arrow_type(column: ColumnType) -> DataType {
    match column {
        ColumnType::TinyInt => DataType::Int8,
        ColumnType::SmallInt => DataType::Int16,
        ColumnType::Int => DataType::Int32,
        ColumnType::BigInt => DataType::Int64,
        ColumnType::Float => DataType::Float32,
        ColumnType::Double => DataType::Float64,
        ColumnType::Decimal { precision, scale } => DataType::Decimal128(precision, scale),
        ColumnType::String => DataType::Utf8View,
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::Date => DataType::Date32,
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
        ColumnType::TimestampNtz => DataType::Timestamp(TimeUnit::Microsecond, None),
        ColumnType::Binary => DataType::BinaryView,
    }
}

/// The schema of declared columns.
///
/// # Errors
/// `invalid-job` for no columns or a name that is there twice.
pub(super) fn declared(columns: &[Column]) -> Result<Schema> {
    let fields: Vec<Field> =
        columns.iter().map(|column| Field::new(&column.name, arrow_type(column.data_type), true)).collect();
    if fields.is_empty() {
        return Err(EngineError::invalid("source-schema", "the declared schema has no columns"));
    }
    check_names(fields.iter().map(|field| field.name().as_str()), "the declared schema")?;
    Ok(Schema::new(fields))
}

/// Column names must differ in more than case, as Delta's must.
///
/// # Errors
/// `invalid-job` (code `source-schema`) naming the column.
pub(super) fn check_names<'a>(names: impl Iterator<Item = &'a str>, place: &str) -> Result<()> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name.to_lowercase()) {
            return Err(EngineError::invalid(
                "source-schema",
                format!("{place} has column '{name}' twice (names must differ in more than case); rename one of them"),
            ));
        }
    }
    Ok(())
}

/// The schema with the column for raw lines behind its own.
///
/// # Errors
/// `invalid-job` (code `source-schema`) when a column has that name already.
pub(super) fn with_rescued(table: &Schema) -> Result<Schema> {
    if let Some(field) = table.fields().iter().find(|field| field.name().eq_ignore_ascii_case(RESCUED)) {
        return Err(EngineError::invalid(
            "source-schema",
            format!(
                "column '{}' has the name that mode = \"permissive\" keeps for rows that do not parse; rename it or \
                 choose another mode",
                field.name()
            ),
        ));
    }
    let rescued = Arc::new(Field::new(RESCUED, DataType::Utf8View, true));
    Ok(Schema::new(table.fields().iter().cloned().chain([rescued]).collect::<Vec<_>>()))
}

/// The type a file's column is read as: what Delta can hold, in view form where there is one. Nested types keep
/// their shape.
pub(super) fn readable(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            DataType::BinaryView
        }
        DataType::Dictionary(_, values) => readable(values),
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        DataType::Date64 => DataType::Date32,
        DataType::Timestamp(_, Some(_)) => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
        DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_only_in_case_are_refused() {
        let error = check_names(["id", "ID"].into_iter(), "file a.csv").unwrap_err();
        assert_eq!(error.code(), "source-schema");
        assert!(error.to_string().contains("'ID' twice"), "{error}");
        let taken = Schema::new(vec![Field::new("_Rescued", DataType::Utf8View, true)]);
        assert_eq!(with_rescued(&taken).unwrap_err().code(), "source-schema");
    }
}
