//! Input that is not what it says: a classed error that names the file, and no rows.

use arrow::array::Int64Array;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::physical_plan::collect;
use lake_proto::ErrorClass;

use super::binary::{avro_bytes, numbers, parquet_bytes};
use super::*;

async fn error_of(fixture: &Fixture, source: &FilesSource) -> EngineError {
    fixture.rows(source, "SELECT * FROM src").await.unwrap_err()
}

#[tokio::test]
async fn bytes_that_are_not_utf8_name_file_line_and_byte() {
    let fixture = Fixture::new();
    fixture.write("in.csv", b"a,b\n1,x\n2,\xff\n");
    fixture.write("in.json", b"{\"a\":\"x\"}\n{\"a\":\"\xff\"}\n");
    for mode in [ParseMode::Permissive, ParseMode::Drop, ParseMode::FailFast] {
        let mut csv = fixture.source(FileFormat::Csv, "in.csv", mode);
        csv.schema = declared(&[("a", ColumnType::BigInt), ("b", ColumnType::String)]);
        let error = error_of(&fixture, &csv).await;
        assert_eq!((error.class(), error.code()), (ErrorClass::DataQuality, "bad-file"), "{error}");
        assert!(error.to_string().contains("in.csv' line 3: byte 0xff is not UTF-8"), "{error}");
        let mut json = fixture.source(FileFormat::Json, "in.json", mode);
        json.schema = declared(&[("a", ColumnType::String)]);
        assert_eq!(error_of(&fixture, &json).await.code(), "bad-file");
    }
}

#[tokio::test]
async fn truncated_files_are_bad_files() {
    let fixture = Fixture::new();
    let batch = numbers(10_000);
    let parquet = parquet_bytes(&batch, 1_000);
    let avro = avro_bytes(&batch);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, "a\n1\n2\n".repeat(10_000).as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let cut = |bytes: &[u8]| bytes[..bytes.len() * 2 / 3].to_vec();
    fixture.write("in.parquet", cut(&parquet)).write("in.avro", cut(&avro)).write("in.csv.gz", cut(&gzip));
    fixture
        .write("no.parquet", "hello")
        .write("no.avro", "hello")
        .write("no.csv.gz", "hello")
        .write("empty.parquet", "");
    for (format, name) in [
        (FileFormat::Parquet, "in.parquet"),
        (FileFormat::Parquet, "no.parquet"),
        (FileFormat::Parquet, "empty.parquet"),
        (FileFormat::Avro, "in.avro"),
        (FileFormat::Avro, "no.avro"),
        (FileFormat::Csv, "in.csv.gz"),
        (FileFormat::Csv, "no.csv.gz"),
    ] {
        let error = error_of(&fixture, &fixture.source(format, name, ParseMode::Drop)).await;
        assert_eq!((error.class(), error.code()), (ErrorClass::DataQuality, "bad-file"), "{name}: {error}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[tokio::test]
async fn a_damaged_page_behind_a_good_footer_is_a_bad_file() {
    let fixture = Fixture::new();
    let mut parquet = parquet_bytes(&numbers(10_000), 10_000);
    parquet[20..200].fill(0xff);
    fixture.write("in.parquet", parquet);
    let error = error_of(&fixture, &fixture.source(FileFormat::Parquet, "in.parquet", ParseMode::Drop)).await;
    assert_eq!((error.class(), error.code()), (ErrorClass::DataQuality, "bad-file"), "{error}");
}

#[tokio::test]
async fn a_file_that_changes_or_goes_after_planning_is_a_conflict() {
    for (format, name, before, after) in [
        (FileFormat::Csv, "in.csv", b"a\n1\n".to_vec(), b"a\n1\n2\n".to_vec()),
        (FileFormat::Json, "in.json", b"{\"a\":1}".to_vec(), b"{\"a\":22}".to_vec()),
        (FileFormat::Parquet, "in.parquet", parquet_bytes(&numbers(10), 5), parquet_bytes(&numbers(11), 5)),
        (FileFormat::Avro, "in.avro", avro_bytes(&numbers(10)), avro_bytes(&numbers(12))),
    ] {
        let fixture = Fixture::new();
        fixture.write(name, &before);
        let plan = fixture.plan(&fixture.source(format, name, ParseMode::Drop), "SELECT * FROM src").await.unwrap();
        for change in [Some(&after), None] {
            match change {
                Some(after) => std::fs::write(fixture.path().join(name), after).unwrap(),
                None => std::fs::remove_file(fixture.path().join(name)).unwrap(),
            }
            let error = EngineError::from(collect(plan.clone(), fixture.context.task_ctx()).await.unwrap_err());
            assert_eq!((error.class(), error.code()), (ErrorClass::Conflict, "file-changed"), "{name}: {error}");
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}

#[tokio::test]
async fn files_that_disagree_about_a_column_are_named_both() {
    let fixture = Fixture::new();
    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Float64, true)]));
    let other = RecordBatch::try_new(schema, vec![Arc::new(arrow::array::Float64Array::from(vec![1.0]))]).unwrap();
    for (name, format) in [("parquet", FileFormat::Parquet), ("avro", FileFormat::Avro)] {
        let encode = |batch: &RecordBatch| if name == "avro" { avro_bytes(batch) } else { parquet_bytes(batch, 10) };
        fixture.write(&format!("{name}/1"), encode(&numbers(3))).write(&format!("{name}/2"), encode(&other));
        let mut source = fixture.source(format, &format!("{name}/"), ParseMode::Drop);
        let error = error_of(&fixture, &source).await;
        assert_eq!((error.class(), error.code()), (ErrorClass::InvalidJob, "schema-conflict"), "{error}");
        assert!(error.to_string().contains(&format!("{name}/1")), "{error}");
        assert!(error.to_string().contains(&format!("{name}/2")), "{error}");
        source.schema = declared(&[("id", ColumnType::Double)]);
        assert_eq!(fixture.rows(&source, "SELECT sum(id) AS s FROM src").await.unwrap(), ["s", "4.0"]);
    }
}

#[tokio::test]
async fn a_value_that_cannot_be_cast_to_its_declared_type_is_a_bad_record() {
    let fixture = Fixture::new();
    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Utf8, true)]));
    let texts = arrow::array::StringArray::from(vec!["1", "x"]);
    let batch = RecordBatch::try_new(schema, vec![Arc::new(texts)]).unwrap();
    fixture.write("in.parquet", parquet_bytes(&batch, 10)).write("in.avro", avro_bytes(&batch));
    for (format, name) in [(FileFormat::Parquet, "in.parquet"), (FileFormat::Avro, "in.avro")] {
        let mut source = fixture.source(format, name, ParseMode::Drop);
        source.schema = declared(&[("id", ColumnType::BigInt)]);
        let error = error_of(&fixture, &source).await;
        assert_eq!((error.class(), error.code()), (ErrorClass::DataQuality, "bad-record"), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[tokio::test]
async fn what_cannot_be_a_source_is_refused_when_it_is_planned() {
    let fixture = Fixture::new();
    fixture.write("twice.csv", "a,A\n1,2\n").write("empty.csv", "").write("array.json", "[\n{\"a\":1}\n]\n");
    for (format, name, code) in [
        (FileFormat::Csv, "twice.csv", "source-schema"),
        (FileFormat::Csv, "empty.csv", "source-schema"),
        (FileFormat::Csv, "missing.csv", "source-files"),
        (FileFormat::Csv, "missing/*.csv", "source-files"),
        (FileFormat::Json, "empty.csv", "source-schema"),
    ] {
        let error = error_of(&fixture, &fixture.source(format, name, ParseMode::Drop)).await;
        assert_eq!(error.code(), code, "{name}: {error}");
        assert!(error.to_string().contains("src"), "{error}");
    }
    let mut source = fixture.source(FileFormat::Csv, "empty.csv", ParseMode::Drop);
    source.schema = declared(&[("a", ColumnType::BigInt)]);
    assert_eq!(fixture.rows(&source, "SELECT count(*) AS n FROM src").await.unwrap(), ["n", "0"]);
    source.csv.delimiter = '"';
    assert_eq!(error_of(&fixture, &source).await.code(), "csv-options");
    assert_eq!(numbers(1).column(0).as_any().downcast_ref::<Int64Array>().unwrap().value(0), 0);
}
