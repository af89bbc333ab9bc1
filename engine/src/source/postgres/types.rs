//! PostgreSQL types and their Arrow counterparts. Pure.
//!
//! A type is read in its binary form where that is cheap and exact, as the text that `psql` shows where Arrow has no
//! counterpart (cast in the SELECT), and refused where neither is what a user would expect.

use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, Schema, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};
use tokio_postgres::types::{Kind, Type};

use super::sql;
use crate::{EngineError, Result};

/// Scale of `numeric` without precision, as in Spark.
const DEFAULT_SCALE: i8 = 18;

/// How the values of a column come over the wire, and so what they become.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Wire {
    Bool,
    Int2,
    Int4,
    Int8,
    /// Unsigned 32 bits, read as `Int64`.
    Oid,
    Float4,
    Float8,
    /// To `Decimal128(precision, scale)`; digits beyond the scale are rounded half away from zero.
    Numeric {
        precision: u8,
        scale: i8,
    },
    Date,
    Timestamp,
    TimestampTz,
    /// Text `HH:MM:SS.ffffff`.
    Time,
    Uuid,
    Text,
    /// Text after a version byte.
    Jsonb,
    Bytea,
    List(Box<Self>),
}

impl Wire {
    /// The Arrow type of the column.
    pub(super) fn data_type(&self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int2 => DataType::Int16,
            Self::Int4 => DataType::Int32,
            Self::Int8 | Self::Oid => DataType::Int64,
            Self::Float4 => DataType::Float32,
            Self::Float8 => DataType::Float64,
            Self::Numeric { precision, scale } => DataType::Decimal128(*precision, *scale),
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Time | Self::Uuid | Self::Text | Self::Jsonb => DataType::Utf8,
            Self::Bytea => DataType::Binary,
            Self::List(element) => DataType::List(Arc::new(Field::new_list_field(element.data_type(), true))),
        }
    }
}

/// A column as it is selected and decoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) wire: Wire,
    /// PostgreSQL's own name of the type; decides which filters mean the same on both sides.
    pub(super) type_name: String,
    /// The server turns it into text.
    pub(super) as_text: bool,
    pub(super) nullable: bool,
}

impl Column {
    /// The column in the SELECT list over the relation `src`.
    pub(super) fn expression(&self) -> String {
        let column = format!("src.{}", sql::identifier(&self.name));
        match (self.as_text, self.type_name.as_str()) {
            (false, _) => column,
            // The cast of an address always writes its mask, psql only one that is not that of a host.
            (true, "inet") => format!("pg_catalog.abbrev({column})"),
            (true, "_inet") => format!("{column}::text::text[]"),
            (true, _) if matches!(self.wire, Wire::List(_)) => format!("{column}::text[]"),
            (true, _) => format!("{column}::text"),
        }
    }
}

/// The schema of columns, in their order.
pub(super) fn schema(columns: &[Column]) -> SchemaRef {
    let fields = columns.iter().map(|column| Field::new(&column.name, column.wire.data_type(), column.nullable));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The column that PostgreSQL describes as `name` of `found` with a type modifier (-1 for none).
///
/// # Errors
/// `invalid-job` with code `source-type` when the type has no counterpart.
pub(super) fn column(name: &str, found: &Type, modifier: i32, nullable: bool) -> Result<Column> {
    let (wire, as_text) = wire_of(found, modifier).map_err(|why| {
        let quoted = sql::identifier(name);
        let cast = if found.name() == "money" { "numeric" } else { "text" };
        EngineError::invalid(
            "source-type",
            format!(
                "column '{name}' has type {found}, {why}: leave it out or cast it, with a `query` in place of the \
                 table, for example SELECT {quoted}::{cast} AS {quoted}, …"
            ),
        )
    })?;
    Ok(Column { name: name.to_owned(), wire, type_name: found.name().to_owned(), as_text, nullable })
}

/// The wire form and whether it is one of text made by the server; or why there is none.
fn wire_of(found: &Type, modifier: i32) -> Result<(Wire, bool), &'static str> {
    let binary = |wire| Ok((wire, false));
    match found.kind() {
        Kind::Array(element) => {
            let (wire, as_text) = wire_of(element, modifier)?;
            return match wire {
                Wire::List(_) => Err("whose elements are arrays themselves"),
                wire => Ok((Wire::List(Box::new(wire)), as_text)),
            };
        }
        Kind::Domain(base) => return wire_of(base, modifier),
        Kind::Enum(_) => return binary(Wire::Text),
        Kind::Range(_) | Kind::Multirange(_) | Kind::Composite(_) => return Ok((Wire::Text, true)),
        _ => {}
    }
    match found.name() {
        "bool" => binary(Wire::Bool),
        "int2" => binary(Wire::Int2),
        "int4" => binary(Wire::Int4),
        "int8" => binary(Wire::Int8),
        "oid" => binary(Wire::Oid),
        "float4" => binary(Wire::Float4),
        "float8" => binary(Wire::Float8),
        "numeric" => numeric(modifier).map(|wire| (wire, false)),
        "date" => binary(Wire::Date),
        "timestamp" => binary(Wire::Timestamp),
        "timestamptz" => binary(Wire::TimestampTz),
        "time" => binary(Wire::Time),
        "uuid" => binary(Wire::Uuid),
        "text" | "varchar" | "bpchar" | "name" | "citext" | "json" => binary(Wire::Text),
        "jsonb" => binary(Wire::Jsonb),
        "bytea" => binary(Wire::Bytea),
        "char" | "interval" | "timetz" | "xml" | "inet" | "cidr" | "macaddr" | "macaddr8" | "bit" | "varbit"
        | "point" | "line" | "lseg" | "box" | "path" | "polygon" | "circle" | "tsvector" | "tsquery" | "pg_lsn"
        | "jsonpath" | "hstore" | "ltree" | "regclass" | "regproc" | "regprocedure" | "regoper" | "regoperator"
        | "regtype" | "regrole" | "regnamespace" | "regconfig" | "regdictionary" => Ok((Wire::Text, true)),
        "money" => Err("whose text depends on the server's locale"),
        _ => Err("which has no counterpart in a Delta table"),
    }
}

/// `numeric(p,s)` by its type modifier. PostgreSQL allows 1 000 digits, negative scales, and scales above the
/// precision; Delta none of them.
fn numeric(modifier: i32) -> Result<Wire, &'static str> {
    let max = i32::from(DECIMAL128_MAX_PRECISION);
    let (precision, scale) = if modifier < 4 {
        (max, i32::from(DEFAULT_SCALE))
    } else {
        let packed = modifier - 4;
        // The scale is a signed number of 11 bits.
        let (precision, scale) = ((packed >> 16) & 0xffff, ((packed & 0x7ff) ^ 0x400) - 0x400);
        if scale < 0 { (precision - scale, 0) } else { (precision.max(scale), scale) }
    };
    if scale > max {
        return Err("with more digits after the point than the 38 of a Delta decimal");
    }
    let too_wide = "with more digits than a Delta decimal";
    let precision = u8::try_from(precision.min(max)).map_err(|_| too_wide)?;
    let scale = i8::try_from(scale).map_err(|_| too_wide)?;
    Ok(Wire::Numeric { precision, scale })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modifier(precision: i32, scale: i32) -> i32 {
        ((precision << 16) | (scale & 0x7ff)) + 4
    }

    #[test]
    fn numeric_modifiers_become_decimals_that_delta_has() {
        let decimal = |modifier| numeric(modifier).map(|wire| wire.data_type());
        assert_eq!(decimal(-1), Ok(DataType::Decimal128(38, 18)));
        assert_eq!(decimal(modifier(10, 2)), Ok(DataType::Decimal128(10, 2)));
        assert_eq!(decimal(modifier(5, -2)), Ok(DataType::Decimal128(7, 0)));
        assert_eq!(decimal(modifier(3, 5)), Ok(DataType::Decimal128(5, 5)));
        assert_eq!(decimal(modifier(1000, 10)), Ok(DataType::Decimal128(38, 10)));
        assert!(decimal(modifier(100, 50)).is_err());
    }

    #[test]
    fn refused_types_name_column_type_and_remedy() {
        let error = column("price", &Type::MONEY, -1, true).unwrap_err();
        assert_eq!(error.code(), "source-type");
        for part in ["'price'", "money", "SELECT \"price\"::numeric"] {
            assert!(error.to_string().contains(part), "{error}");
        }
        assert!(column("x", &Type::XID, -1, true).is_err());
    }

    #[test]
    fn arrays_and_text_casts_are_selected_as_they_are_decoded() {
        let spans = column("s\"p", &Type::INTERVAL_ARRAY, -1, true).unwrap();
        assert_eq!(spans.expression(), "src.\"s\"\"p\"::text[]");
        assert_eq!(spans.wire, Wire::List(Box::new(Wire::Text)));
        assert_eq!(column("ip", &Type::INET, -1, true).unwrap().expression(), "pg_catalog.abbrev(src.\"ip\")");
        let prices = column("p", &Type::NUMERIC_ARRAY, modifier(8, 3), true).unwrap();
        assert_eq!(prices.wire, Wire::List(Box::new(Wire::Numeric { precision: 8, scale: 3 })));
        assert_eq!(prices.expression(), "src.\"p\"");
    }
}
