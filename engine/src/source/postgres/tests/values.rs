//! Every type against what psql shows of the same rows.

use arrow::array::ListArray;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, TimestampMicrosecondType,
};
use datafusion::catalog::TableProvider;
use lake_proto::ErrorClass;

use super::*;

/// Column type, its values in SQL, and how psql's session shows `v` in the form of [`shown`].
const TYPES: &[(&str, &[&str], &str)] = &[
    ("boolean", &["true", "false"], "v::text"),
    ("smallint", &["-32768", "0", "32767"], "v"),
    ("integer", &["-2147483648", "2147483647"], "v"),
    ("bigint", &["-9223372036854775808", "9223372036854775807"], "v"),
    ("oid", &["0", "4294967295"], "v"),
    ("real", &["'NaN'", "'Infinity'", "'-Infinity'", "1.17549435e-38", "3.4028235e38", "0.1", "'-0'"], "v"),
    ("double precision", &["'NaN'", "'-Infinity'", "5e-324", "1.7976931348623157e308", "0.1", "'-0'"], "v"),
    ("numeric(10,2)", &["0", "-99999999.99", "0.01", "12345678.9", "100", "10000.00"], "v"),
    ("numeric(38,0)", &["99999999999999999999999999999999999999", "-99999999999999999999999999999999999999"], "v"),
    ("numeric(38,38)", &["0.00000000000000000000000000000000000001", "-0.5"], "v"),
    ("numeric(5,-2)", &["1234567", "-50"], "v"),
    ("numeric(3,5)", &["0.00999", "-0.00001"], "v"),
    (
        "numeric",
        &["1", "-99999999999999999999.999999999999999999", "1e-18", "1.0000000000000000005", "1/3.0", "0.0001"],
        "round(v, 18)::text",
    ),
    (
        "text",
        &["''", "'plain'", "E'tab\\there\\nline \\\\ \"quoted\" ''single'''", "'Ünïcödé 🦀'", "'∅'", "'NULL'"],
        "v",
    ),
    ("varchar(5)", &["'abc'", "''"], "v"),
    ("char(5)", &["'abc'", "'     '"], "v"),
    ("name", &["'a_name'"], "v"),
    ("\"char\"", &["'x'", "'\u{7f}'"], "v"),
    ("citext", &["'MiXed'"], "v"),
    ("mood", &["'happy'", "'it''s'"], "v"),
    ("money_like", &["12.34"], "v"),
    ("email", &["'a@b'"], "v"),
    (
        "date",
        &["'4713-01-01 BC'", "'0001-01-01'", "'1969-12-31'", "'2000-01-01'", "'5874897-12-31'"],
        "(v - date '1970-01-01')::text",
    ),
    (
        "timestamp",
        &[
            "'4713-01-01 00:00:00 BC'",
            "'1969-12-31 23:59:59.999999'",
            "'2024-02-29 12:34:56.789012'",
            "'290000-12-31 23:59:59'",
        ],
        "trunc(extract(epoch FROM v) * 1000000)::text",
    ),
    (
        "timestamptz",
        &["'4713-01-01 00:00:00+00 BC'", "'2024-02-29 12:34:56.789012+05:30'", "'1970-01-01 00:00:00+00'"],
        "trunc(extract(epoch FROM v) * 1000000)::text",
    ),
    (
        "time",
        &["'00:00'", "'24:00:00'", "'12:34:56.000789'"],
        "CASE WHEN v = '24:00' THEN '24:00:00.000000' ELSE to_char(v, 'HH24:MI:SS.US') END",
    ),
    ("timetz", &["'12:34:56.5+02:30'"], "v"),
    ("interval", &["'1 year -2 months 3 days 04:05:06.789'", "'-1 microsecond'", "'0'"], "v"),
    ("uuid", &["'00000000-0000-0000-0000-000000000000'", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'"], "v"),
    ("json", &["'{\"a\": [1,  2]}'", "'null'"], "v"),
    ("jsonb", &["'{\"b\": 1, \"a\": [1,  2]}'", "'null'", "'\"x\"'"], "v"),
    ("bytea", &["''", "'\\x00ff5c27'"], "encode(v, 'hex')"),
    ("xml", &["'<a>1</a>'"], "v"),
    ("inet", &["'192.168.0.1/24'", "'::1'"], "v"),
    ("cidr", &["'10.0.0.0/8'"], "v"),
    ("macaddr", &["'08:00:2b:01:02:03'"], "v"),
    ("macaddr8", &["'08:00:2b:01:02:03:04:05'"], "v"),
    ("bit(3)", &["B'101'"], "v"),
    ("varbit", &["B'1'", "B''"], "v"),
    ("point", &["'(1.5,-2)'"], "v"),
    ("tsvector", &["'a:1 b:2'"], "v"),
    ("hstore", &["'a=>1, b=>NULL'"], "v"),
    ("int4range", &["'[1,5)'", "'empty'", "'(,)'"], "v"),
    ("tstzmultirange", &["'{[2020-01-01 00:00+02,2020-01-02)}'"], "v"),
    ("pair", &["ROW(1, 'x y')", "ROW(NULL, NULL)"], "v"),
    ("regclass", &["'pg_class'"], "v"),
    ("integer[]", &["'{}'", "'{1,NULL,-3}'", "'[5:6]={7,8}'"], LIST),
    ("boolean[]", &["'{t,f,NULL}'"], "replace(replace(replace(v::text, 't', 'true'), 'f', 'false'), 'NULL', '∅')"),
    ("bigint[]", &["'{9223372036854775807}'"], LIST),
    ("double precision[]", &["'{0.1,NULL,NaN}'"], LIST),
    ("numeric(6,2)[]", &["'{1.5,NULL,-9999.99}'"], LIST),
    ("text[]", &["'{a,NULL,\"NULL\",\"\",\"x,y\"}'"], LIST),
    ("varchar(3)[]", &["'{abc}'"], LIST),
    ("mood[]", &["'{happy,NULL}'"], LIST),
    ("email[]", &["'{a@b}'"], LIST),
    ("uuid[]", &["'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'"], LIST),
    ("jsonb[]", &["ARRAY['{\"a\": 1}'::jsonb, NULL]"], LIST),
    ("inet[]", &["'{10.0.0.1,NULL}'"], LIST),
    ("interval[]", &["'{1 day,02:00}'"], LIST),
    ("int4range[]", &["ARRAY['[1,2)'::int4range]"], LIST),
    (
        "bytea[]",
        &["ARRAY['\\x00ff'::bytea, NULL]"],
        "(SELECT '{' || string_agg(coalesce(encode(e, 'hex'), '∅'), ',') || '}' FROM unnest(v) e)",
    ),
    (
        "timestamptz[]",
        &["ARRAY['1970-01-01 00:00:01+00'::timestamptz, NULL]"],
        "(SELECT '{' || string_agg(coalesce(trunc(extract(epoch FROM e) * 1000000)::text, '∅'), ',') || '}' FROM unnest(v) e)",
    ),
    (
        "date[]",
        &["'{1970-01-02}'"],
        "(SELECT '{' || string_agg(coalesce((e - date '1970-01-01')::text, '∅'), ',') || '}' FROM unnest(v) e)",
    ),
    (
        "time[]",
        &["'{01:02:03}'"],
        "(SELECT '{' || string_agg(to_char(e, 'HH24:MI:SS.US'), ',') || '}' FROM unnest(v) e)",
    ),
];

const LIST: &str = "'{' || array_to_string(v, ',', '∅') || '}'";

const SETUP: &str = "CREATE EXTENSION citext; CREATE EXTENSION hstore; \
     CREATE TYPE mood AS ENUM ('happy', 'it''s'); CREATE DOMAIN money_like AS numeric(10,2); \
     CREATE DOMAIN email AS text CHECK (VALUE LIKE '%@%'); CREATE TYPE pair AS (a integer, b text);";

#[tokio::test]
async fn every_type_reads_as_psql_shows_it() {
    let mut sql = SETUP.to_owned();
    for (index, (kind, values, _)) in TYPES.iter().enumerate() {
        sql.push_str(&format!("CREATE TABLE v{index} (id integer, v {kind});"));
        let values = values.iter().chain(&["NULL"]).enumerate();
        let rows: Vec<String> = values.map(|(id, value)| format!("({id}, ({value})::{kind})")).collect();
        sql.push_str(&format!("INSERT INTO v{index} VALUES {};", rows.join(", ")));
    }
    let database = Database::new(&sql);
    for (index, (kind, _, form)) in TYPES.iter().enumerate() {
        let expected: Vec<Option<String>> = database
            .psql(&format!("SET extra_float_digits = 3; SELECT {form} FROM v{index} ORDER BY id"))
            .into_iter()
            .map(|mut row| row.remove(0))
            .collect();
        let batches = database.query(&table(&format!("v{index}")), "SELECT id, v FROM t ORDER BY id").await.unwrap();
        let found: Vec<Option<String>> = batches
            .iter()
            .flat_map(|batch| (0..batch.num_rows()).map(|row| shown(batch.column(1).as_ref(), row)).collect::<Vec<_>>())
            .collect();
        let is_float = matches!(*kind, "real" | "double precision");
        let expected: Vec<_> = expected.into_iter().map(|text| if is_float { text.map(float) } else { text }).collect();
        assert_eq!(found, expected, "{kind}");
        assert_eq!(found.last(), Some(&None), "{kind}");
    }
}

/// Floats of both sides in one form.
fn float(text: String) -> String {
    text.parse::<f64>().map_or(text, |number| format!("{number:e}"))
}

/// A value in a form that both sides can write: numbers of days and microseconds, hexadecimal bytes, `{a,b,∅}`.
fn shown(array: &dyn Array, row: usize) -> Option<String> {
    if array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Date32 => array.as_primitive::<Date32Type>().value(row).to_string(),
        DataType::Timestamp(..) => array.as_primitive::<TimestampMicrosecondType>().value(row).to_string(),
        DataType::Float32 => float(array.as_primitive::<Float32Type>().value(row).to_string()),
        DataType::Float64 => float(array.as_primitive::<Float64Type>().value(row).to_string()),
        DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().value_as_string(row),
        DataType::Binary => array.as_binary::<i32>().value(row).iter().map(|byte| format!("{byte:02x}")).collect(),
        DataType::List(_) => {
            let values = array.as_any().downcast_ref::<ListArray>().unwrap().value(row);
            let values = (0..values.len()).map(|at| shown(values.as_ref(), at).unwrap_or_else(|| "∅".to_owned()));
            // Floats as array_to_string writes them.
            let values = values.map(|text| text.strip_suffix("e-1").map_or(text.clone(), |digit| format!("0.{digit}")));
            format!("{{{}}}", values.collect::<Vec<_>>().join(","))
        }
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        _ => arrow::util::display::array_value_to_string(array, row).unwrap(),
    })
}

#[tokio::test]
async fn arrow_types_are_those_of_delta() {
    let database = Database::new(&format!(
        "{SETUP} CREATE TABLE a (n numeric, p numeric(10,2), d money_like, x timestamp, z timestamptz, u uuid, \
           b bytea, o oid, l numeric(4,1)[], r real)"
    ));
    let provider = database.provider(&table("a")).await.unwrap();
    let schema = provider.schema();
    let types: Vec<String> = schema.fields().iter().map(|field| field.data_type().to_string()).collect();
    let expected = [
        "Decimal128(38, 18)",
        "Decimal128(10, 2)",
        "Decimal128(10, 2)",
        "Timestamp(µs)",
        "Timestamp(µs, \"UTC\")",
        "Utf8",
        "Binary",
        "Int64",
        "List(Decimal128(4, 1))",
        "Float32",
    ];
    assert_eq!(types, expected);
}

#[tokio::test]
async fn values_without_counterpart_name_column_and_value() {
    let database = Database::new("SELECT 1");
    for (value, parts) in [
        ("'NaN'::numeric", ["'v'", "NaN"]),
        ("'Infinity'::numeric", ["'v'", "Infinity"]),
        ("1e20::numeric", ["'v'", "100000000000000000000"]),
        ("'infinity'::date", ["'v'", "infinity"]),
        ("'-infinity'::timestamptz", ["'v'", "-infinity"]),
        ("'294276-12-31'::timestamp", ["'v'", "range"]),
        ("'{{1,2},{3,4}}'::integer[]", ["'v'", "2 dimensions"]),
    ] {
        let source = query(&format!("SELECT {value} AS v"));
        let error = failure(database.query(&source, "SELECT * FROM t").await);
        assert_eq!((error.class(), error.code()), (ErrorClass::DataQuality, "source-value"), "{value}: {error}");
        for part in parts {
            assert!(error.to_string().contains(part), "{value}: {error}");
        }
    }
}

#[tokio::test]
async fn text_that_is_not_utf_8_is_not_data_to_be_kept() {
    let server = Server::shared();
    server.psql("postgres", "DROP DATABASE IF EXISTS ascii");
    server
        .psql("postgres", "CREATE DATABASE ascii ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
    server.psql("ascii", "CREATE TABLE raw (v text); INSERT INTO raw VALUES (E'\\xff')");
    let stores = stores(&server.url("ascii"));
    let provider = provider(Arc::clone(&stores), "raw", &table("raw")).await.unwrap();
    let context = SessionContext::new_with_config(session::local_config(1).with_extension(stores));
    context.register_table("t", Arc::new(provider)).unwrap();
    let error = EngineError::from(context.sql("SELECT * FROM t").await.unwrap().collect().await.unwrap_err());
    assert_eq!((error.class(), error.code()), (ErrorClass::DataQuality, "source-value"));
    assert!(error.to_string().contains("0xff"), "{error}");
}

#[tokio::test]
async fn counting_needs_no_columns_and_rows_of_large_values_come_in_small_batches() {
    let database = Database::new(
        "CREATE TABLE w (id integer, v text); INSERT INTO w SELECT i, repeat('x', 1000000) FROM generate_series(1, 100) i",
    );
    let batches = database.query(&table("w"), "SELECT id, v FROM t").await.unwrap();
    assert_eq!(rows(&batches), 100);
    assert!(batches.len() >= 3, "{}", batches.len());
    assert_eq!(database.integers(&table("w"), "SELECT count(*) FROM t").await, [100]);
    let ids = batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int32Type>().values().to_vec());
    assert_eq!(ids.map(i64::from).sum::<i64>(), 5050);
}
