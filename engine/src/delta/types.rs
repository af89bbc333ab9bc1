//! The arrow types of a Delta table's columns. Pure.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};

use crate::sql_type::sql_type;
use crate::{EngineError, Result};

/// The columns a new table gets for rows of `schema`: text as `Utf8`, instants in microseconds, unsigned numbers in
/// the next wider signed type. Metadata is dropped, and every column may be NULL, as in Spark: that a query happens
/// to give no NULL today is no promise of the table.
///
/// # Errors
/// `invalid-job` (code `delta-type`) naming a column whose type Delta does not have.
pub fn table_schema(schema: &Schema) -> Result<SchemaRef> {
    let mut fields = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let same = |other: &FieldRef| other.name().eq_ignore_ascii_case(field.name());
        if fields.iter().any(same) {
            return Err(EngineError::invalid(
                "delta-column",
                format!(
                    "column '{}' appears twice: Delta column names are unique without regard to case",
                    field.name()
                ),
            ));
        }
        fields.push(table_field(field, field.name())?);
    }
    Ok(Arc::new(Schema::new(fields)))
}

fn table_field(field: &Field, path: &str) -> Result<FieldRef> {
    Ok(Arc::new(Field::new(field.name(), table_type(field.data_type(), path)?, true)))
}

fn table_type(kind: &DataType, path: &str) -> Result<DataType> {
    Ok(match kind {
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Date32 => kind.clone(),
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        DataType::Date64 => DataType::Date32,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            DataType::Binary
        }
        DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp(_, Some(_)) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale)
            if *precision <= 38 && *scale >= 0 =>
        {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Dictionary(_, value) => table_type(value, path)?,
        DataType::Struct(children) => {
            let children = children.iter().map(|child| table_field(child, &format!("{path}.{}", child.name())));
            DataType::Struct(children.collect::<Result<Fields>>()?)
        }
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => {
            let kind = table_type(item.data_type(), &format!("{path}.element"))?;
            DataType::List(Arc::new(Field::new("element", kind, true)))
        }
        DataType::Map(entries, _) => map_type(entries, path)?,
        other => {
            return Err(EngineError::invalid(
                "delta-type",
                format!(
                    "column '{path}' has type {}, which a Delta table cannot hold; CAST it to another type",
                    sql_type(other)
                ),
            ));
        }
    })
}

fn map_type(entries: &Field, path: &str) -> Result<DataType> {
    let DataType::Struct(pair) = entries.data_type() else {
        return Err(EngineError::internal(format!("map column '{path}' has no entries")));
    };
    let [key, value] = pair.as_ref() else {
        return Err(EngineError::internal(format!("map column '{path}' does not have a key and a value")));
    };
    let key = Field::new("key", table_type(key.data_type(), &format!("{path}.key"))?, false);
    let value = Field::new("value", table_type(value.data_type(), &format!("{path}.value"))?, true);
    let entries = Field::new("key_value", DataType::Struct(vec![key, value].into()), false);
    Ok(DataType::Map(Arc::new(entries), false))
}

/// The type a column is read in: text and bytes as views, which the Parquet reader fills without copying.
pub(crate) fn scan_type(kind: &DataType) -> DataType {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plan_type_has_a_table_type_or_a_clear_refusal() {
        let of = |kind| table_schema(&Schema::new(vec![Field::new("c", kind, true)]));
        let kind = |kind| of(kind).unwrap().field(0).data_type().clone();
        assert_eq!(kind(DataType::Utf8View), DataType::Utf8);
        assert_eq!(kind(DataType::UInt64), DataType::Decimal128(20, 0));
        assert_eq!(
            kind(DataType::Timestamp(TimeUnit::Nanosecond, Some("+01:00".into()))),
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
        );
        let error = of(DataType::Time64(TimeUnit::Microsecond)).unwrap_err();
        assert_eq!(error.code(), "delta-type");
        assert!(error.to_string().contains("'c'"));
        assert_eq!(of(DataType::Null).unwrap_err().code(), "delta-type");
    }

    #[test]
    fn names_that_differ_only_in_case_are_refused() {
        let fields = vec![Field::new("a", DataType::Int8, true), Field::new("A", DataType::Int8, true)];
        assert_eq!(table_schema(&Schema::new(fields)).unwrap_err().code(), "delta-column");
    }
}
