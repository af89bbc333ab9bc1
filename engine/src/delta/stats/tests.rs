use std::collections::BTreeMap;

use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{binary, col, is_null, lit};
use serde_json::json;

use super::*;
use crate::delta::columns::Mapping;

fn columns() -> Columns {
    let schema = Schema::new(vec![
        Field::new("p", DataType::Int32, true),
        Field::new("n", DataType::Int64, true),
        Field::new("s", DataType::Utf8, true),
        Field::new("f", DataType::Float64, true),
        Field::new("d", DataType::Decimal128(12, 2), true),
        Field::new("big", DataType::Decimal128(30, 2), true),
        Field::new("t", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
    ]);
    Columns::new(&schema, &["p".to_owned()], Mapping::None).unwrap()
}

fn file(part: Option<&str>, stats: Value) -> LiveFile {
    LiveFile {
        path: "f".to_owned(),
        size: 100,
        modified_ms: 0,
        partition_values: BTreeMap::from([("p".to_owned(), part.map(str::to_owned))]),
        stats: Some(stats.to_string()),
        deletion_vector: None,
        tags: None,
    }
}

fn bounds(column: &str, min: Value, max: Value) -> LiveFile {
    file(
        Some("1"),
        json!({"numRecords": 10, "minValues": {column: min}, "maxValues": {column: max}, "nullCount": {column: 0}}),
    )
}

fn matches(file: &LiveFile, column: &str, operator: Operator, value: ScalarValue) -> bool {
    let columns = columns();
    let left = col(column, &columns.scan).unwrap();
    let predicate = binary(left, operator, lit(value), &columns.scan).unwrap();
    may_match(&columns, &predicate, [file]).unwrap()[0]
}

#[test]
fn bounds_of_each_type_prune_what_they_exclude_and_nothing_else() {
    let micros = |text: &str| {
        let kind = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        ScalarValue::try_from_string(text.to_owned(), &kind).unwrap()
    };
    let decimal = |value: i128| ScalarValue::Decimal128(Some(value), 12, 2);
    let text = |value: &str| ScalarValue::Utf8View(Some(value.to_owned()));
    let cases = [
        (bounds("n", json!(5), json!(9)), "n", ScalarValue::Int64(Some(9)), ScalarValue::Int64(Some(10))),
        (bounds("s", json!("b"), json!("d")), "s", text("d"), text("e")),
        (bounds("d", json!(1.25), json!(9.5)), "d", decimal(950), decimal(951)),
        (
            bounds("t", json!("2024-01-01T00:00:00.000Z"), json!("2024-01-01T00:00:00.123Z")),
            "t",
            micros("2024-01-01T00:00:00.123999Z"),
            micros("2024-01-01T00:00:00.124Z"),
        ),
    ];
    for (file, column, inside, outside) in cases {
        assert!(matches(&file, column, Operator::GtEq, inside.clone()), "{column} >= {inside}");
        assert!(!matches(&file, column, Operator::GtEq, outside.clone()), "{column} >= {outside}");
    }
}

#[test]
fn bounds_that_may_be_rounded_or_hide_nan_are_not_trusted() {
    let big = bounds("big", json!(1.0), json!(12345678901234567.89));
    assert!(matches(&big, "big", Operator::Gt, ScalarValue::Decimal128(Some(i128::from(i64::MAX) * 100), 30, 2)));
    let float = bounds("f", json!(1.0), json!(2.0));
    assert!(matches(&float, "f", Operator::Gt, ScalarValue::Float64(Some(5.0))), "NaN is above every number");
    assert!(!matches(&float, "f", Operator::Lt, ScalarValue::Float64(Some(0.5))));
}

#[test]
fn loose_null_counts_count_only_at_their_ends() {
    let columns = columns();
    let predicate = is_null(col("n", &columns.scan).unwrap()).unwrap();
    let with = |nulls: u64, tight: bool| {
        file(None, json!({"numRecords": 10, "nullCount": {"n": nulls}, "tightBounds": tight}))
    };
    let may = |file: &LiveFile| may_match(&columns, &predicate, [file]).unwrap()[0];
    assert!(!may(&with(0, true)) && !may(&with(0, false)));
    assert!(may(&with(3, false)) && may(&with(10, false)));
    assert_eq!(exact_null_counts(&FileStatistics::new(&columns, [&with(3, false)]), "n"), [None]);
    assert_eq!(exact_null_counts(&FileStatistics::new(&columns, [&with(3, true)]), "n"), [Some(3)]);
}

#[test]
fn files_without_readable_statistics_are_always_read() {
    for stats in [json!(null), json!({}), json!({"numRecords": "x"}), json!({"minValues": {"n": "text"}})] {
        assert!(matches(&file(None, stats), "n", Operator::Eq, ScalarValue::Int64(Some(1))));
    }
    let broken = LiveFile { stats: Some("{".to_owned()), ..file(None, json!(null)) };
    assert!(matches(&broken, "n", Operator::Eq, ScalarValue::Int64(Some(1))));
    assert_eq!(live_rows(&broken), None);
}

#[test]
fn partition_predicates_are_decided_by_evaluation() {
    let columns = columns();
    let part = || col("p", &columns.scan).unwrap();
    let square = binary(part(), Operator::Multiply, part(), &columns.scan).unwrap();
    let predicate = binary(square, Operator::Eq, lit(9_i32), &columns.scan).unwrap();
    let files =
        [file(Some("3"), json!({})), file(Some("4"), json!({})), file(None, json!({})), file(Some("-3"), json!({}))];
    assert_eq!(may_match(&columns, &predicate, &files).unwrap(), [true, false, false, true]);
    assert!(is_over_partitions(&columns, &predicate));
}

#[test]
fn estimates_are_absent_when_one_file_says_nothing() {
    let columns = columns();
    let known = bounds("n", json!(1), json!(2));
    let unknown = LiveFile { stats: None, ..known.clone() };
    let estimate = |files: &[LiveFile]| estimate(&columns, files, &[1]);
    assert_eq!(estimate(&[known.clone(), known.clone()]).num_rows, Precision::Inexact(20));
    assert_eq!(estimate(&[known, unknown]).num_rows, Precision::Absent);
    assert_eq!(estimate(&[]).num_rows, Precision::Inexact(0));
}
