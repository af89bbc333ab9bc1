use arrow::array::{Int32Array, Int64Array, StringArray, StringViewArray};
use arrow::datatypes::{Int32Type, TimeUnit};

use super::*;

fn schema(fields: &[(&str, DataType)]) -> Schema {
    Schema::new(fields.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect::<Vec<_>>())
}

#[test]
fn columns_are_matched_by_name_and_our_own_may_be_missing() {
    let input = schema(&[("B", DataType::Utf8View), ("a", DataType::Int64)]);
    let table = schema(&[("a", DataType::Int32), ("b", DataType::Utf8), ("_rescued", DataType::Utf8)]);
    let alignment = Alignment::new(&input, &table).unwrap();
    let columns: Vec<ArrayRef> = vec![Arc::new(StringViewArray::from(vec!["x"])), Arc::new(Int64Array::from(vec![7]))];
    let batch = RecordBatch::try_new(Arc::new(input), columns).unwrap();
    let aligned = alignment.align(&batch).unwrap();
    assert_eq!(aligned.column(0).as_primitive::<Int32Type>().value(0), 7);
    assert_eq!(aligned.column(1).as_string::<i32>(), &StringArray::from(vec!["x"]));
    assert!(aligned.column(2).is_null(0));
    assert_eq!(alignment.source_of("b"), Some(0));
}

#[test]
fn what_does_not_fit_is_refused_at_planning_and_names_the_column() {
    let table = schema(&[("a", DataType::Int32), ("d", DataType::Decimal128(10, 2))]);
    let refusal = |fields: &[(&str, DataType)]| Alignment::new(&schema(fields), &table).unwrap_err();
    assert_eq!(refusal(&[("z", DataType::Int32)]).code(), "write-columns");
    let error = refusal(&[("a", DataType::Float64)]);
    assert_eq!(error.code(), "write-types");
    assert!(error.to_string().contains("column 'a' of the query is double, the table's is int"), "{error}");
    assert_eq!(refusal(&[("a", DataType::Int32), ("d", DataType::Decimal128(10, 3))]).code(), "write-types");
    assert_eq!(refusal(&[("a", DataType::Int32), ("A", DataType::Int32)]).code(), "write-columns");
    let error = refusal(&[("a", DataType::Int32)]);
    assert_eq!(error.code(), "write-columns");
    assert!(error.to_string().contains("no column 'd'"), "{error}");
}

#[test]
fn a_value_out_of_range_is_an_error_of_its_column() {
    let input = schema(&[("a", DataType::Int64)]);
    let alignment = Alignment::new(&input, &schema(&[("a", DataType::Int32)])).unwrap();
    let column: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX]));
    let error = alignment.align(&RecordBatch::try_new(Arc::new(input), vec![column]).unwrap()).unwrap_err();
    assert_eq!(error.code(), "write-cast");
    let expected = "the value 9223372036854775807 of column 'a' (bigint) does not fit the table's type int";
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn nested_columns_are_matched_by_field_name() {
    let inner = |fields: &[(&str, DataType)]| DataType::Struct(schema(fields).fields().clone());
    let from = inner(&[("y", DataType::Int32), ("x", DataType::Utf8View)]);
    let to = inner(&[("x", DataType::Utf8), ("y", DataType::Int64), ("z", DataType::Int64)]);
    let list = |kind: DataType, name: &str| DataType::List(Arc::new(Field::new(name, kind, true)));
    let alignment =
        Alignment::new(&schema(&[("s", list(from.clone(), "item"))]), &schema(&[("s", list(to, "element"))])).unwrap();
    let DataType::Struct(fields) = from else { panic!("not a struct") };
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int32Array::from(vec![1, 2])), Arc::new(StringViewArray::from(vec!["a", "b"]))];
    let values = StructArray::try_new(fields.clone(), columns, None).unwrap();
    let item = Arc::new(Field::new("item", DataType::Struct(fields), true));
    let offsets = arrow::buffer::OffsetBuffer::from_lengths([2]);
    let array: ArrayRef = Arc::new(ListArray::try_new(item, offsets, Arc::new(values), None).unwrap());
    let batch = RecordBatch::try_from_iter([("s", array)]).unwrap();
    let aligned = alignment.align(&batch).unwrap();
    let values = aligned.column(0).as_list::<i32>().values().as_struct().clone();
    assert_eq!(values.column_by_name("x").unwrap().as_string::<i32>().value(1), "b");
    assert_eq!(values.column_by_name("z").unwrap().null_count(), 2);
}

#[test]
fn times_lose_what_delta_does_not_keep_and_never_change_their_zone_unseen() {
    let time = |unit, zone: Option<&str>| schema(&[("t", DataType::Timestamp(unit, zone.map(Into::into)))]);
    let (nanos, micros) = (TimeUnit::Nanosecond, TimeUnit::Microsecond);
    Alignment::new(&time(nanos, None), &time(micros, None)).unwrap();
    for zone in ["UTC", "+00:00", "Europe/Berlin"] {
        Alignment::new(&time(nanos, Some(zone)), &time(micros, Some("UTC"))).unwrap();
    }
    for (from, to, words) in [
        (time(nanos, None), time(micros, Some("UTC")), "t AT TIME ZONE 'UTC'"),
        (time(nanos, Some("UTC")), time(micros, None), "CAST(t AS TIMESTAMP)"),
    ] {
        let error = Alignment::new(&from, &to).unwrap_err();
        assert_eq!(error.code(), "write-types");
        assert!(error.to_string().contains("'t'") && error.to_string().contains(words), "{error}");
    }
}
