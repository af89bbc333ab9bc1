//! Parquet and Avro: row groups, unions, pushed predicates, equal rows.

use arrow::array::{Int64Array, StringArray, TimestampNanosecondArray, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow_avro::writer::AvroWriter;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use super::*;

/// `id` from 0 and `name` = `n<id>`.
pub(super) fn numbers(count: i64) -> RecordBatch {
    let schema = Schema::new(vec![Field::new("id", DataType::Int64, false), Field::new("name", DataType::Utf8, true)]);
    let names = StringArray::from_iter_values((0..count).map(|id| format!("n{id}")));
    let ids = Int64Array::from_iter_values(0..count);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(ids), Arc::new(names)]).unwrap()
}

pub(super) fn parquet_bytes(batch: &RecordBatch, row_group_rows: usize) -> Vec<u8> {
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(row_group_rows)).build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    bytes
}

pub(super) fn avro_bytes(batch: &RecordBatch) -> Vec<u8> {
    let mut writer = AvroWriter::new(Vec::new(), batch.schema().as_ref().clone()).unwrap();
    writer.write(batch).unwrap();
    writer.finish().unwrap();
    writer.into_inner()
}

#[tokio::test]
async fn every_row_group_is_read_once_and_predicates_leave_some_out() {
    let fixture = Fixture::new();
    fixture.write("d/1.parquet", parquet_bytes(&numbers(10_000), 100));
    fixture.write("d/2.parquet", parquet_bytes(&numbers(500), 100)).write("d/_SUCCESS", "");
    let source = fixture.source(FileFormat::Parquet, "d/", ParseMode::Permissive);
    let sql = "SELECT count(*) AS n, count(DISTINCT id) AS ids, max(name) AS name FROM src";
    assert_eq!(fixture.rows(&source, sql).await.unwrap(), ["n|ids|name", "10500|10000|n9999"]);
    let sql = "SELECT name, id FROM src WHERE id = 4321";
    assert_eq!(fixture.rows(&source, sql).await.unwrap(), ["name|id", "n4321|4321"]);
    let plan = fixture.plan(&source, sql).await.unwrap();
    let shown = datafusion::physical_plan::displayable(plan.as_ref()).indent(true).to_string();
    assert!(shown.contains("predicate=id@0 = 4321"), "{shown}");
}

#[tokio::test]
async fn columns_of_all_files_are_united_and_missing_ones_are_null() {
    let fixture = Fixture::new();
    fixture
        .write("p/1", parquet_bytes(&numbers(2), 10))
        .write("p/2", parquet_bytes(&numbers(2).project(&[0]).unwrap(), 10));
    fixture.write("a/1", avro_bytes(&numbers(2))).write("a/2", avro_bytes(&numbers(2).project(&[0]).unwrap()));
    for (format, name) in [(FileFormat::Parquet, "p/"), (FileFormat::Avro, "a/")] {
        let source = fixture.source(format, name, ParseMode::Drop);
        let sql = "SELECT name, count(*) AS n FROM src GROUP BY name ORDER BY name";
        assert_eq!(fixture.rows(&source, sql).await.unwrap(), ["name|n", "n0|1", "n1|1", "|2"]);
    }
}

#[tokio::test]
async fn types_that_delta_does_not_have_are_widened() {
    let fixture = Fixture::new();
    let schema = Schema::new(vec![
        Field::new("u", DataType::UInt32, true),
        Field::new("t", DataType::Timestamp(TimeUnit::Nanosecond, Some("+01:00".into())), true),
    ]);
    let times = TimestampNanosecondArray::from(vec![1_704_067_200_000_000_999]).with_timezone("+01:00");
    let columns: Vec<arrow::array::ArrayRef> = vec![Arc::new(UInt32Array::from(vec![u32::MAX])), Arc::new(times)];
    let batch = RecordBatch::try_new(Arc::new(schema), columns).unwrap();
    fixture.write("in.parquet", parquet_bytes(&batch, 10));
    let source = fixture.source(FileFormat::Parquet, "in.parquet", ParseMode::Drop);
    let sql = "SELECT u, arrow_typeof(u) AS ut, t FROM src";
    assert_eq!(fixture.rows(&source, sql).await.unwrap()[1], "4294967295|Int64|2024-01-01T00:00:00Z");
}

#[tokio::test]
async fn avro_rows_equal_parquet_rows() {
    let fixture = Fixture::new();
    fixture.write("in.avro", avro_bytes(&numbers(20_000))).write("in.parquet", parquet_bytes(&numbers(20_000), 3_000));
    let sql = "SELECT name, id FROM src WHERE id % 997 = 0 ORDER BY id";
    let avro = fixture.rows(&fixture.source(FileFormat::Avro, "in.avro", ParseMode::Drop), sql).await.unwrap();
    let parquet = fixture.rows(&fixture.source(FileFormat::Parquet, "in.parquet", ParseMode::Drop), sql).await.unwrap();
    assert_eq!(avro, parquet);
    assert_eq!(avro.len(), 22);
}
