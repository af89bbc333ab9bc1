//! Pieces of a relation: half-open ranges of a key or of pages that hold every row once. Pure.
//!
//! The first range has no lower and the last no upper end, and one of them takes the NULL keys, so that no estimate
//! can lose a row: cuts decide balance, never content. They only have to be in the server's order.

use serde::{Deserialize, Serialize};
use tokio_postgres::types::{Kind, Type};

use super::sql;

/// Fewer pages than this are not worth a connection of their own.
const MIN_PAGES: u64 = 64;

/// One row of the work list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Piece {
    /// Boolean SQL over the relation `src`; `None` = all rows.
    pub(super) condition: Option<String>,
}

/// What kind of values a key has, and so how cuts are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyKind {
    Integer,
    Numeric,
    Date,
    Timestamp,
    /// Ordered, without arithmetic: text and uuid.
    Ordinal,
}

/// A column that rows are divided by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    /// `src."column"`.
    pub(super) expression: String,
    pub(super) column: String,
    pub(super) kind: KeyKind,
    /// The type that cuts are cast to.
    pub(super) sql_type: String,
}

impl Key {
    /// The key by its column's type; `None` when rows cannot be divided by it.
    pub(super) fn new(column: &str, found: &Type) -> Option<Self> {
        if let Kind::Domain(base) = found.kind() {
            return Self::new(column, base);
        }
        let (kind, sql_type) = match found.name() {
            "int2" => (KeyKind::Integer, "smallint"),
            "int4" => (KeyKind::Integer, "integer"),
            "int8" => (KeyKind::Integer, "bigint"),
            "numeric" => (KeyKind::Numeric, "numeric"),
            "date" => (KeyKind::Date, "date"),
            "timestamp" => (KeyKind::Timestamp, "timestamp"),
            "timestamptz" => (KeyKind::Timestamp, "timestamptz"),
            "uuid" => (KeyKind::Ordinal, "uuid"),
            "text" | "varchar" => (KeyKind::Ordinal, "text"),
            "bpchar" => (KeyKind::Ordinal, "bpchar"),
            "name" => (KeyKind::Ordinal, "name"),
            "citext" => (KeyKind::Ordinal, ""),
            _ => return None,
        };
        let sql_type = match sql_type {
            // An extension's type lives in the schema that the extension was created in.
            "" => format!("{}.{}", sql::identifier(found.schema()), sql::identifier(found.name())),
            known => known.to_owned(),
        };
        let expression = format!("src.{}", sql::identifier(column));
        Some(Self { expression, column: column.to_owned(), kind, sql_type })
    }

    /// Ranges between cuts, which must be in the order of the key at the server; equal ones count once.
    pub(super) fn pieces(&self, mut cuts: Vec<String>) -> Vec<Piece> {
        cuts.dedup();
        let key = &self.expression;
        let cuts: Vec<String> = cuts.iter().map(|cut| format!("{}::{}", sql::literal(cut), self.sql_type)).collect();
        between(&cuts, |low, high| match (low, high) {
            (None, None) => None,
            (None, Some(high)) => Some(format!("({key} < {high} OR {key} IS NULL)")),
            (Some(low), Some(high)) => Some(format!("{key} >= {low} AND {key} < {high}")),
            (Some(low), None) => Some(format!("{key} >= {low}")),
        })
    }
}

/// Ranges of a table's pages; rows beyond the last known page belong to the last range.
pub(super) fn page_pieces(pages: u64, partitions: u32) -> Vec<Piece> {
    let ranges = (pages / MIN_PAGES).clamp(1, u64::from(partitions.max(1)));
    let cuts: Vec<String> = (1..ranges).map(|range| format!("'({},0)'::tid", pages * range / ranges)).collect();
    between(&cuts, |low, high| match (low, high) {
        (None, None) => None,
        (None, Some(high)) => Some(format!("src.ctid < {high}")),
        (Some(low), Some(high)) => Some(format!("src.ctid >= {low} AND src.ctid < {high}")),
        (Some(low), None) => Some(format!("src.ctid >= {low}")),
    })
}

/// Cuts that divide values, given in order with their weights, into `partitions` of nearly equal weight. A value of
/// great weight gets a range of its own, as far as possible.
pub(super) fn weighted_cuts(values: &[(String, f64)], partitions: u32) -> Vec<String> {
    let total: f64 = values.iter().map(|(_, weight)| weight).sum();
    let target = total / f64::from(partitions.max(1));
    let mut cuts = Vec::new();
    let mut next = target;
    let mut before = 0.0;
    for (value, weight) in values {
        // Cut before a value when that is closer to the target than cutting after it.
        if before > 0.0 && before + weight / 2.0 >= next && cuts.len() + 1 < usize_of(partitions) {
            cuts.push(value.clone());
            while next <= before + weight / 2.0 {
                next += target;
            }
        }
        before += weight;
    }
    cuts
}

/// The ranges between cuts, from an open beginning to an open end.
fn between(cuts: &[String], condition: impl Fn(Option<&str>, Option<&str>) -> Option<String>) -> Vec<Piece> {
    let lows = std::iter::once(None).chain(cuts.iter().map(|cut| Some(cut.as_str())));
    let highs = cuts.iter().map(|cut| Some(cut.as_str())).chain(std::iter::once(None));
    lows.zip(highs).map(|(low, high)| Piece { condition: condition(low, high) }).collect()
}

fn usize_of(partitions: u32) -> usize {
    usize::try_from(partitions).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(pieces: Vec<Piece>) -> Vec<String> {
        pieces.into_iter().map(|piece| piece.condition.unwrap_or_default()).collect()
    }

    #[test]
    fn ranges_are_half_open_with_open_ends_and_nulls_in_the_first() {
        let key = Key::new("i\"d", &Type::INT4).unwrap();
        let cuts = ["5", "5", "9"].map(str::to_owned).to_vec();
        assert_eq!(
            conditions(key.pieces(cuts)),
            [
                "(src.\"i\"\"d\" < '5'::integer OR src.\"i\"\"d\" IS NULL)",
                "src.\"i\"\"d\" >= '5'::integer AND src.\"i\"\"d\" < '9'::integer",
                "src.\"i\"\"d\" >= '9'::integer",
            ]
        );
        assert_eq!(key.pieces(Vec::new()), [Piece { condition: None }]);
    }

    #[test]
    fn page_ranges_cover_every_page_and_small_tables_are_one_piece() {
        assert_eq!(
            conditions(page_pieces(1000, 3)),
            [
                "src.ctid < '(333,0)'::tid",
                "src.ctid >= '(333,0)'::tid AND src.ctid < '(666,0)'::tid",
                "src.ctid >= '(666,0)'::tid"
            ]
        );
        assert_eq!(page_pieces(1000, 99).len(), 15);
        assert_eq!(page_pieces(0, 8), [Piece { condition: None }]);
    }

    #[test]
    fn a_heavy_value_gets_a_range_of_its_own() {
        let values = |weights: &[f64]| {
            weights.iter().enumerate().map(|(at, weight)| (at.to_string(), *weight)).collect::<Vec<_>>()
        };
        assert_eq!(weighted_cuts(&values(&[1.0; 8]), 4), ["2", "4", "6"]);
        assert_eq!(weighted_cuts(&values(&[1.0, 1.0, 20.0, 1.0, 1.0]), 4), ["2", "3"]);
        assert!(weighted_cuts(&values(&[1.0]), 4).is_empty());
        assert!(weighted_cuts(&values(&[1.0; 100]), 1).is_empty());
        assert_eq!(weighted_cuts(&values(&[1.0; 100]), 8).len(), 7);
    }

    #[test]
    fn keys_without_a_useful_order_are_refused() {
        assert!(Key::new("x", &Type::JSONB).is_none());
        assert!(Key::new("x", &Type::BOOL).is_none());
        assert_eq!(Key::new("x", &Type::TIMESTAMPTZ).map(|key| key.kind), Some(KeyKind::Timestamp));
    }
}
