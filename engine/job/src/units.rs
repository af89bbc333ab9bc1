//! Durations, byte sizes and column types as text. Pure.

use crate::pipeline::ColumnType;

/// Milliseconds of `90s`, `1h30m`, `2d`, `500ms`.
///
/// # Errors
/// What was expected, when it is something else.
pub(crate) fn duration_ms(text: &str) -> Result<u64, String> {
    let invalid = || format!("expected a duration such as 90s, 30m, 1h30m or 2d, found '{text}'");
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (number, after) = split_number(rest);
        let unit_length = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_length);
        let factor = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(invalid()),
        };
        let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
        total = part.and_then(|part| total.checked_add(part)).ok_or_else(invalid)?;
        rest = after.trim_start();
    }
    Ok(total)
}

fn split_number(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// Names of column types, for messages and suggestions.
pub(crate) const COLUMN_TYPES: [&str; 14] = [
    "tinyint",
    "smallint",
    "int",
    "bigint",
    "float",
    "double",
    "decimal(10,2)",
    "string",
    "boolean",
    "date",
    "timestamp",
    "timestamp_ntz",
    "binary",
    "decimal",
];

/// A column type by its Spark SQL name or one of Spark's synonyms.
pub(crate) fn column_type(text: &str) -> Option<ColumnType> {
    let text: String = text.trim().to_ascii_lowercase();
    Some(match text.as_str() {
        "tinyint" | "byte" => ColumnType::TinyInt,
        "smallint" | "short" => ColumnType::SmallInt,
        "int" | "integer" => ColumnType::Int,
        "bigint" | "long" => ColumnType::BigInt,
        "float" | "real" => ColumnType::Float,
        "double" => ColumnType::Double,
        "string" => ColumnType::String,
        "boolean" => ColumnType::Boolean,
        "date" => ColumnType::Date,
        "timestamp" | "timestamp_ltz" => ColumnType::Timestamp,
        "timestamp_ntz" => ColumnType::TimestampNtz,
        "binary" => ColumnType::Binary,
        other => return decimal(other),
    })
}

fn decimal(text: &str) -> Option<ColumnType> {
    let rest = ["decimal", "numeric", "dec"].iter().find_map(|name| text.strip_prefix(name))?.trim();
    // Spark's default.
    let (mut precision, mut scale) = (10_u8, 0_i8);
    if !rest.is_empty() {
        let inside = rest.strip_prefix('(')?.strip_suffix(')')?;
        let mut numbers = inside.split(',').map(str::trim);
        precision = numbers.next()?.parse().ok()?;
        scale = numbers.next().map_or(Some(0), |number| number.parse().ok())?;
        if numbers.next().is_some() {
            return None;
        }
    }
    let valid = (1..=38).contains(&precision) && scale >= 0 && u8::try_from(scale).ok()? <= precision;
    valid.then_some(ColumnType::Decimal { precision, scale })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_sums_of_numbers_with_units() {
        let cases = [("30s", 30_000), ("1h", 3_600_000), ("1h30m", 5_400_000), ("2d", 172_800_000), ("500ms", 500)];
        for (text, expected) in cases {
            assert_eq!(duration_ms(text), Ok(expected), "{text}");
        }
        for text in ["", "1", "h", "1 hour", "-1s", "1.5h", "99999999999999999999s", "1s x"] {
            assert!(duration_ms(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn column_types_have_spark_names() {
        assert_eq!(column_type("Decimal(12, 2)"), Some(ColumnType::Decimal { precision: 12, scale: 2 }));
        assert_eq!(column_type("decimal"), Some(ColumnType::Decimal { precision: 10, scale: 0 }));
        assert_eq!(column_type("LONG"), Some(ColumnType::BigInt));
        for name in COLUMN_TYPES {
            assert!(column_type(name).is_some(), "{name}");
        }
        for text in ["", "text", "decimal(39,2)", "decimal(2,3)", "decimal(0,0)", "decimal(1,2,3)", "decimal(10,-1)"] {
            assert_eq!(column_type(text), None, "{text:?}");
        }
    }
}
