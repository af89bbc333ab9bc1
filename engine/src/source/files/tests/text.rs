//! CSV and JSON: values, modes, headers, compression.

use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use futures::{StreamExt, TryStreamExt, stream};
use lake_proto::ErrorClass;

use super::*;

const BAD_CSV: &str = "id,amount,note\n1,1.5,ok\n2,x,bad amount\n3,2.5\n4,3.5,more,fields\n5,4.5,\"open\n6,5.5,last";

fn typed(fixture: &Fixture, mode: ParseMode) -> FilesSource {
    let columns = [
        ("id", ColumnType::BigInt),
        ("amount", ColumnType::Decimal { precision: 10, scale: 2 }),
        ("note", ColumnType::String),
    ];
    FilesSource { schema: declared(&columns), ..fixture.source(FileFormat::Csv, "in.csv", mode) }
}

#[tokio::test]
async fn permissive_csv_keeps_every_row_and_rescues_the_lines_that_do_not_fit() {
    let fixture = Fixture::new();
    fixture.write("in.csv", BAD_CSV);
    let rows = fixture.rows(&typed(&fixture, ParseMode::Permissive), "SELECT * FROM src ORDER BY id").await.unwrap();
    let expected = [
        "id|amount|note|_rescued",
        "1|1.50|ok|",
        "2||bad amount|2,x,bad amount",
        "3|2.50||3,2.5",
        "4|3.50|more|4,3.5,more,fields",
        "5|4.50||5,4.5,\"open",
        "6|5.50|last|",
    ];
    assert_eq!(rows, expected);
}

#[tokio::test]
async fn dropped_rows_do_not_depend_on_the_columns_that_are_asked_for() {
    let fixture = Fixture::new();
    fixture.write("in.csv", BAD_CSV);
    let source = typed(&fixture, ParseMode::Drop);
    assert_eq!(fixture.rows(&source, "SELECT id FROM src ORDER BY id").await.unwrap(), ["id", "1", "6"]);
    assert_eq!(fixture.rows(&source, "SELECT note FROM src ORDER BY note").await.unwrap(), ["note", "last", "ok"]);
    assert_eq!(fixture.rows(&source, "SELECT count(*) AS n FROM src").await.unwrap(), ["n", "2"]);
}

#[tokio::test]
async fn fail_fast_names_file_line_column_and_text() {
    let fixture = Fixture::new();
    fixture.write("in.csv", BAD_CSV);
    let source = typed(&fixture, ParseMode::FailFast);
    let error = fixture.rows(&source, "SELECT count(*) FROM src").await.unwrap_err();
    assert_eq!((error.class(), error.code()), (ErrorClass::DataQuality, "bad-record"), "{error}");
    let message = error.to_string();
    assert!(message.contains("in.csv' line 3: column 'amount' expects decimal(10,2), found \"x\""), "{message}");
}

#[tokio::test]
async fn every_declared_type_is_read_and_what_does_not_fit_is_null() {
    let fixture = Fixture::new();
    fixture.write(
        "in.csv",
        "a,b,c,d,e,f,g,h,i,j,k\n\
         127,32767,2147483647,9223372036854775807,1.5,2.5,-0.05,t,2024-02-29,2024-01-01T10:00:00+02:00,2024-01-01 10:00\n\
         128,32768,2147483648,9223372036854775808,x,x,123456789.01,maybe,2023-02-29,nope,2024-01-01T10:00Z\n\
         ,,,,,,,,,,\n",
    );
    let columns = [
        ("a", ColumnType::TinyInt),
        ("b", ColumnType::SmallInt),
        ("c", ColumnType::Int),
        ("d", ColumnType::BigInt),
        ("e", ColumnType::Float),
        ("f", ColumnType::Double),
        ("g", ColumnType::Decimal { precision: 8, scale: 2 }),
        ("h", ColumnType::Boolean),
        ("i", ColumnType::Date),
        ("j", ColumnType::Timestamp),
        ("k", ColumnType::TimestampNtz),
    ];
    let source =
        FilesSource { schema: declared(&columns), ..fixture.source(FileFormat::Csv, "in.csv", ParseMode::Permissive) };
    let rows = fixture.rows(&source, "SELECT a,b,c,d,e,f,g,h,i,j,k,_rescued IS NULL AS ok FROM src").await.unwrap();
    assert_eq!(
        rows[1],
        "127|32767|2147483647|9223372036854775807|1.5|2.5|-0.05|true|2024-02-29|2024-01-01T08:00:00Z|\
         2024-01-01T10:00:00|true"
    );
    assert_eq!(rows[2], "|||||||||||false");
    assert_eq!(rows[3], "|||||||||||true");
}

#[tokio::test]
async fn empty_text_is_null_unless_quoted_and_the_null_text_is_null_unless_quoted() {
    let fixture = Fixture::new();
    fixture.write("in.csv", "\u{feff}a;b\r\n;\"\"\r\n\r\nNA;'NA'\r\n");
    let csv = CsvOptions { delimiter: ';', null_value: Some("NA".to_owned()), ..CsvOptions::default() };
    let mut source = fixture.source(FileFormat::Csv, "in.csv", ParseMode::Drop);
    source.csv = csv.clone();
    let sql = "SELECT a IS NULL AS a, b FROM src";
    assert_eq!(fixture.rows(&source, sql).await.unwrap(), ["a|b", "true|", "true|'NA'"]);
    source.csv = CsvOptions { quote: '\'', ..csv };
    let sql = "SELECT a IS NULL AS a, b FROM src WHERE b = 'NA'";
    assert_eq!(fixture.rows(&source, sql).await.unwrap(), ["a|b", "true|NA"]);
}

#[tokio::test]
async fn files_with_other_column_orders_are_matched_by_name() {
    let fixture = Fixture::new();
    fixture.write("d/1.csv", "a,b\n1,x\n").write("d/2.csv", "b,a\ny,2\n").write("d/3.csv", "a\n3\n");
    let source = fixture.source(FileFormat::Csv, "d/", ParseMode::FailFast);
    let rows = fixture.rows(&source, "SELECT a, b FROM src ORDER BY a").await.unwrap();
    assert_eq!(rows, ["a|b", "1|x", "2|y", "3|"]);
    let mut source = source;
    source.schema = declared(&[("a", ColumnType::BigInt), ("b", ColumnType::String)]);
    assert_eq!(fixture.rows(&source, "SELECT a FROM src").await.unwrap_err().code(), "csv-header");
}

#[tokio::test]
async fn quoted_line_breaks_are_read_in_multiline_mode() {
    let fixture = Fixture::new();
    fixture.write("in.csv", "a,b\n1,\"two\nlines\"\n2,\"\"\"q\"\"\"\n");
    let mut source = fixture.source(FileFormat::Csv, "in.csv", ParseMode::FailFast);
    source.csv.multiline = true;
    let sql = "SELECT a, replace(b, chr(10), '~') AS b FROM src ORDER BY a";
    assert_eq!(fixture.rows(&source, sql).await.unwrap(), ["a|b", "1|two~lines", "2|\"q\""]);
}

#[tokio::test]
async fn compressed_files_are_read_to_their_very_end_even_when_joined_from_several() {
    for (ending, compression) in [
        ("gz", FileCompressionType::GZIP),
        ("bz2", FileCompressionType::BZIP2),
        ("zst", FileCompressionType::ZSTD),
        ("xz", FileCompressionType::XZ),
    ] {
        let fixture = Fixture::new();
        let mut bytes = compressed(compression, "a,b\n1,x\n").await;
        bytes.extend(compressed(compression, "2,y\n3,z\n").await);
        fixture.write(&format!("in.csv.{ending}"), &bytes);
        fixture.write(&format!("in.json.{ending}"), compressed(compression, "{\"a\":1}\n{\"a\":2}").await);
        let csv = fixture.source(FileFormat::Csv, &format!("in.csv.{ending}"), ParseMode::FailFast);
        assert_eq!(fixture.rows(&csv, "SELECT sum(a) AS s FROM src").await.unwrap(), ["s", "6"], "{ending}");
        let json = fixture.source(FileFormat::Json, &format!("in.json.{ending}"), ParseMode::FailFast);
        assert_eq!(fixture.rows(&json, "SELECT sum(a) AS s FROM src").await.unwrap(), ["s", "3"], "{ending}");
    }
}

async fn compressed(compression: FileCompressionType, text: &str) -> Vec<u8> {
    let text = stream::iter([Ok(bytes::Bytes::from(text.to_owned()))]).boxed();
    let parts: Vec<_> = compression.convert_to_compress_stream(text).unwrap().try_collect().await.unwrap();
    parts.concat()
}

const BAD_JSON: &str = "{\"id\":1,\"v\":\"a\",\"n\":{\"x\":1},\"extra\":true}\n\
                        {\"id\":1.5,\"v\":\"b\"}\n\
                        not json\n\
                        \n\
                        [1]\n\
                        {\"id\":3,\"v\":{\"deep\":[1]}}\n\
                        {\"id\":4} {\"id\":5}\n\
                        {\"id\":\"6\",\"v\":7}";

#[tokio::test]
async fn permissive_json_keeps_every_line_and_rescues_those_that_do_not_fit() {
    let fixture = Fixture::new();
    fixture.write("in.json", BAD_JSON);
    let mut source = fixture.source(FileFormat::Json, "in.json", ParseMode::Permissive);
    source.schema = declared(&[("id", ColumnType::BigInt), ("v", ColumnType::String)]);
    let rows = fixture.rows(&source, "SELECT * FROM src").await.unwrap();
    let expected = [
        "id|v|_rescued",
        "1|a|",
        "|b|{\"id\":1.5,\"v\":\"b\"}",
        "||not json",
        "||[1]",
        "3|{\"deep\":[1]}|",
        "||{\"id\":4} {\"id\":5}",
        "6|7|",
    ];
    assert_eq!(rows, expected);
    source.mode = ParseMode::Drop;
    assert_eq!(fixture.rows(&source, "SELECT count(*) AS n FROM src").await.unwrap(), ["n", "3"]);
    source.mode = ParseMode::FailFast;
    let error = fixture.rows(&source, "SELECT v FROM src").await.unwrap_err();
    assert!(error.to_string().contains("line 2: column 'id' expects bigint, found \"1.5\""), "{error}");
}

#[tokio::test]
async fn nested_json_is_inferred_and_read_exactly() {
    let fixture = Fixture::new();
    let text = "{\"o\":{\"a\":1,\"b\":[\"x\",null]},\"big\":9007199254740993}\n{\"o\":{\"a\":2.5},\"big\":null}\n";
    fixture.write("in.json", text);
    let source = fixture.source(FileFormat::Json, "in.json", ParseMode::Permissive);
    let sql = "SELECT o['a'] AS a, o['b'] AS b, big, _rescued FROM src ORDER BY a";
    let rows = fixture.rows(&source, sql).await.unwrap();
    assert_eq!(rows, ["a|b|big|_rescued", "1.0|[x, ]|9007199254740993|", "2.5|||"]);
}

#[tokio::test]
async fn a_nested_value_that_does_not_fit_is_null_and_its_line_is_rescued() {
    let fixture = Fixture::new();
    let mut text = "{\"o\":{\"a\":1}}\n".repeat(200_000);
    text += "{\"o\":{\"a\":1.5}}\n{\"o\":7}\n";
    fixture.write("in.json", text);
    let source = fixture.source(FileFormat::Json, "in.json", ParseMode::Permissive);
    let rows = fixture.rows(&source, "SELECT o, _rescued FROM src WHERE _rescued IS NOT NULL").await.unwrap();
    assert_eq!(rows, ["o|_rescued", "|{\"o\":{\"a\":1.5}}", "|{\"o\":7}"]);
    let count = fixture.rows(&source, "SELECT count(*) AS n, sum(o['a']) AS s FROM src").await.unwrap();
    assert_eq!(count, ["n|s", "200002|200000"]);
}
