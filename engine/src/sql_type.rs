//! Types as people write them in job.toml and SQL, for messages. Pure.

use arrow::datatypes::{DataType, Field};

/// The name of a type in job.toml, which is Spark's; nested ones as Spark shows them. What Delta has no type for has
/// the name that SQL gives it.
pub(crate) fn sql_type(kind: &DataType) -> String {
    let plain = match kind {
        DataType::Null => "void",
        DataType::Boolean => "boolean",
        DataType::Int8 => "tinyint",
        DataType::Int16 => "smallint",
        DataType::Int32 => "int",
        DataType::Int64 => "bigint",
        DataType::UInt8 => "tinyint unsigned",
        DataType::UInt16 => "smallint unsigned",
        DataType::UInt32 => "int unsigned",
        DataType::UInt64 => "bigint unsigned",
        DataType::Float16 | DataType::Float32 => "float",
        DataType::Float64 => "double",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => "binary",
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Time32(_) | DataType::Time64(_) => "time",
        DataType::Timestamp(_, Some(_)) => "timestamp",
        DataType::Timestamp(_, None) => "timestamp_ntz",
        DataType::Duration(_) | DataType::Interval(_) => "interval",
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => return format!("decimal({precision},{scale})"),
        DataType::Dictionary(_, value) => return sql_type(value),
        DataType::RunEndEncoded(_, values) => return sql_type(values.data_type()),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => return format!("array<{}>", sql_type(item.data_type())),
        DataType::Struct(fields) => return format!("struct<{}>", columns(fields.iter().map(AsRef::as_ref))),
        DataType::Map(entries, _) => return map(entries),
        other => return other.to_string().to_lowercase(),
    };
    plain.to_owned()
}

fn map(entries: &Field) -> String {
    match entries.data_type() {
        DataType::Struct(pair) => {
            let sides: Vec<String> = pair.iter().map(|side| sql_type(side.data_type())).collect();
            format!("map<{}>", sides.join(", "))
        }
        other => format!("map<{}>", sql_type(other)),
    }
}

/// `a bigint, b string`
pub(crate) fn columns<'a>(fields: impl Iterator<Item = &'a Field>) -> String {
    fields.map(column).collect::<Vec<_>>().join(", ")
}

/// `a bigint`
pub(crate) fn column(field: &Field) -> String {
    format!("{} {}", field.name(), sql_type(field.data_type()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{Fields, TimeUnit};

    use super::*;

    #[test]
    fn types_have_the_names_that_people_write() {
        let field = |name: &str, kind| Arc::new(Field::new(name, kind, true));
        let inner = Fields::from(vec![field("a", DataType::Int64), field("b", DataType::Utf8View)]);
        let pair = Fields::from(vec![field("key", DataType::Utf8), field("value", DataType::Float64)]);
        for (kind, name) in [
            (DataType::Utf8View, "string"),
            (DataType::Decimal128(12, 2), "decimal(12,2)"),
            (DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), "timestamp"),
            (DataType::Timestamp(TimeUnit::Nanosecond, None), "timestamp_ntz"),
            (DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)), "string"),
            (DataType::List(field("item", DataType::Struct(inner))), "array<struct<a bigint, b string>>"),
            (DataType::Map(field("entries", DataType::Struct(pair)), false), "map<string, double>"),
            (DataType::Time64(TimeUnit::Microsecond), "time"),
        ] {
            assert_eq!(sql_type(&kind), name);
        }
    }
}
