//! Filters that the server can apply first. Pure.
//!
//! The engine filters again, so a translation may let more rows through, never fewer: text is compared for equality
//! only (order depends on collations), and there is no negation.

use chrono::{DateTime, Datelike, Days, NaiveDate};
use datafusion::common::{Column as ColumnName, ScalarValue};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator};

use super::sql;
use super::types::{Column, Wire};

/// Longer lists are left to the engine.
const MAX_LIST: usize = 1_000;

/// A condition over the relation `src` that holds wherever `filter` does; `None` when there is none.
pub(super) fn translate(filter: &Expr, columns: &[Column]) -> Option<String> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            match (translate(left, columns), translate(right, columns)) {
                (Some(left), Some(right)) => Some(format!("({left} AND {right})")),
                (one, other) => one.or(other),
            }
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            Some(format!("({} OR {})", translate(left, columns)?, translate(right, columns)?))
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (left.as_ref(), right.as_ref()) {
            (Expr::Column(name), Expr::Literal(value, _)) => compare(column(name, columns)?, *op, value),
            (Expr::Literal(value, _), Expr::Column(name)) => compare(column(name, columns)?, op.swap()?, value),
            _ => None,
        },
        Expr::Between(Between { expr, negated: false, low, high }) => {
            match (expr.as_ref(), low.as_ref(), high.as_ref()) {
                (Expr::Column(name), Expr::Literal(low, _), Expr::Literal(high, _)) => {
                    let column = column(name, columns)?;
                    let low = compare(column, Operator::GtEq, low)?;
                    Some(format!("({low} AND {})", compare(column, Operator::LtEq, high)?))
                }
                _ => None,
            }
        }
        Expr::InList(InList { expr, list, negated: false }) => in_list(expr, list, columns),
        // By the expression that is selected: of a composite value, IS NULL asks about its fields.
        Expr::IsNull(inner) => named(inner, columns).map(|column| format!("{} IS NULL", column.expression())),
        Expr::IsNotNull(inner) => named(inner, columns).map(|column| format!("{} IS NOT NULL", column.expression())),
        Expr::Column(name) => {
            let column = column(name, columns)?;
            (column.wire == Wire::Bool).then(|| reference(column))
        }
        _ => None,
    }
}

fn in_list(expr: &Expr, list: &[Expr], columns: &[Column]) -> Option<String> {
    let column = named(expr, columns)?;
    if list.is_empty() || list.len() > MAX_LIST {
        return None;
    }
    let values = list.iter().map(|item| match item {
        Expr::Literal(value, _) => literal(column, value),
        _ => None,
    });
    Some(format!("{} IN ({})", reference(column), values.collect::<Option<Vec<_>>>()?.join(", ")))
}

fn compare(column: &Column, operator: Operator, value: &ScalarValue) -> Option<String> {
    let symbol = match operator {
        Operator::Eq => "=",
        // What is unequal here may be equal there, under a collation that ignores case.
        _ if column.wire == Wire::Text => return None,
        Operator::NotEq => "<>",
        Operator::Lt => "<",
        Operator::LtEq => "<=",
        Operator::Gt => ">",
        Operator::GtEq => ">=",
        _ => return None,
    };
    Some(format!("{} {symbol} {}", reference(column), literal(column, value)?))
}

/// The literal as the server must read it to mean the same.
fn literal(column: &Column, value: &ScalarValue) -> Option<String> {
    match &column.wire {
        Wire::Bool => match value {
            ScalarValue::Boolean(Some(value)) => Some(value.to_string()),
            _ => None,
        },
        Wire::Int2 | Wire::Int4 | Wire::Int8 => match value {
            ScalarValue::Int8(Some(value)) => Some(format!("'{value}'::bigint")),
            ScalarValue::Int16(Some(value)) => Some(format!("'{value}'::bigint")),
            ScalarValue::Int32(Some(value)) => Some(format!("'{value}'::bigint")),
            ScalarValue::Int64(Some(value)) => Some(format!("'{value}'::bigint")),
            _ => None,
        },
        // Blank-padded text and enums compare by rules of their own.
        Wire::Text if matches!(column.type_name.as_str(), "text" | "varchar" | "name" | "citext") => {
            let text = value.try_as_str()??;
            (!text.contains('\0')).then(|| format!("{}::text", sql::literal(text)))
        }
        Wire::Date => match value {
            ScalarValue::Date32(Some(days)) => {
                let date = NaiveDate::from_ymd_opt(1970, 1, 1)?;
                let offset = Days::new(u64::from(days.unsigned_abs()));
                let date = if *days < 0 { date.checked_sub_days(offset) } else { date.checked_add_days(offset) }?;
                is_plain_year(date.year()).then(|| format!("'{date}'::date"))
            }
            _ => None,
        },
        Wire::Timestamp => match value {
            ScalarValue::TimestampMicrosecond(Some(micros), None) => Some(format!("{}::timestamp", instant(*micros)?)),
            _ => None,
        },
        Wire::TimestampTz => match value {
            ScalarValue::TimestampMicrosecond(Some(micros), Some(_)) => {
                Some(format!("{}::timestamptz", instant(*micros)?))
            }
            _ => None,
        },
        _ => None,
    }
}

/// Quoted, in UTC, which is the time zone of every session of ours.
fn instant(micros: i64) -> Option<String> {
    let instant = DateTime::from_timestamp_micros(micros)?.naive_utc();
    is_plain_year(instant.year()).then(|| format!("'{}'", instant.format("%Y-%m-%d %H:%M:%S%.6f")))
}

fn is_plain_year(year: i32) -> bool {
    (1..=9999).contains(&year)
}

fn named<'a>(expr: &Expr, columns: &'a [Column]) -> Option<&'a Column> {
    match expr {
        Expr::Column(name) => column(name, columns),
        _ => None,
    }
}

fn column<'a>(name: &ColumnName, columns: &'a [Column]) -> Option<&'a Column> {
    columns.iter().find(|column| column.name == name.name)
}

fn reference(column: &Column) -> String {
    format!("src.{}", sql::identifier(&column.name))
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{col, lit, not};

    use super::*;

    fn columns() -> Vec<Column> {
        let column = |name: &str, wire, type_name: &str| Column {
            name: name.to_owned(),
            wire,
            type_name: type_name.to_owned(),
            as_text: false,
            nullable: true,
        };
        vec![
            column("id", Wire::Int8, "int8"),
            column("name", Wire::Text, "text"),
            column("padded", Wire::Text, "bpchar"),
            column("day", Wire::Date, "date"),
            column("at", Wire::TimestampTz, "timestamptz"),
            column("price", Wire::Numeric { precision: 38, scale: 18 }, "numeric"),
        ]
    }

    fn sql_of(filter: &Expr) -> Option<String> {
        translate(filter, &columns())
    }

    #[test]
    fn comparisons_that_mean_the_same_are_sent() {
        assert_eq!(sql_of(&col("id").gt(lit(5_i64))).unwrap(), "src.\"id\" > '5'::bigint");
        assert_eq!(sql_of(&lit(5_i32).gt(col("id"))).unwrap(), "src.\"id\" < '5'::bigint");
        assert_eq!(sql_of(&col("name").eq(lit("it's"))).unwrap(), "src.\"name\" = 'it''s'::text");
        assert_eq!(sql_of(&col("name").is_null()).unwrap(), "src.\"name\" IS NULL");
        assert_eq!(
            sql_of(&col("id").in_list(vec![lit(1_i64), lit(2_i64)], false)).unwrap(),
            "src.\"id\" IN ('1'::bigint, '2'::bigint)"
        );
        let day = Expr::Literal(ScalarValue::Date32(Some(-1)), None);
        assert_eq!(sql_of(&col("day").lt_eq(day)).unwrap(), "src.\"day\" <= '1969-12-31'::date");
        let at = Expr::Literal(ScalarValue::TimestampMicrosecond(Some(1), Some("UTC".into())), None);
        assert_eq!(sql_of(&col("at").eq(at)).unwrap(), "src.\"at\" = '1970-01-01 00:00:00.000001'::timestamptz");
    }

    #[test]
    fn what_may_mean_something_else_stays_with_the_engine() {
        for filter in [
            col("name").lt(lit("m")),
            col("name").not_eq(lit("m")),
            col("padded").eq(lit("m")),
            col("price").eq(lit(1.5)),
            col("name").eq(lit("a\0b")),
            not(col("id").eq(lit(1_i64))),
            col("id").in_list(vec![lit(1_i64)], true),
            col("id").gt(lit(1.5)),
            col("other").is_null(),
        ] {
            assert_eq!(sql_of(&filter), None, "{filter}");
        }
    }

    #[test]
    fn a_conjunction_keeps_what_it_can_and_a_disjunction_needs_all() {
        let known = col("id").eq(lit(1_i64));
        let unknown = col("name").lt(lit("m"));
        assert_eq!(sql_of(&known.clone().and(unknown.clone())), sql_of(&known));
        assert_eq!(sql_of(&known.clone().or(unknown)), None);
        assert!(sql_of(&known.clone().or(known)).is_some());
    }
}
