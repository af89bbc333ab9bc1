use lake_job::{LoadOptions, parse};

use super::*;

const JOB: &str = r#"
[job]
name = "shop"
timeout = "1h"
task_timeout = "90s"
speculation = true

[params]
ds = { type = "date", default = "2026-01-02" }

[warehouse]
root = "s3://lakehouse"

[storage."s3://lakehouse"]
endpoint = "http://127.0.0.1:9000"
allow_http = true
access_key_id = { env = "KEY" }
secret_access_key = { file = "/run/secrets/key" }

[connection.crm]
kind = "postgres"
url = { env = "CRM_URL" }

[[source]]
name = "landing"
kind = "files"
format = "csv"
path = "s3://lakehouse/landing/ds=${ds}/"
mode = "drop"
schema = { id = "bigint", price = "decimal(10,2)" }
csv = { delimiter = ";", header = false }

[[source]]
name = "customers"
connection = "crm"
table = "public.customers"
partition_by = "id"
partitions = 4

[[table]]
name = "bronze.orders"
from = "landing"
mode = "append"
audit = true

[[table]]
name = "gold.orders"
mode = "replace_where"
replace_where = "ds = '2026-01-02'"
partition_by = ["ds"]
target_file_size = "64MiB"
properties = { "delta.appendOnly" = false }
sql = """
SELECT *, 'a\\b' AS x, date '2026-01-02' AS ds
FROM bronze.orders
"""
  [[table.expect]]
  name = "positive"
  check = "price > 0"
  action = "fail"
"#;

fn pipeline(text: &str) -> Pipeline {
    let today = chrono::NaiveDate::from_ymd_opt(2026, 1, 2).unwrap();
    let options = LoadOptions::new(today, "/jobs");
    parse("job.toml", text, &options, &|_| Err("no files".to_owned())).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn what_is_shown_means_what_was_submitted() {
    let submitted = pipeline(JOB);
    let shown = render(&submitted);
    // Parameters are in place already, and the comments tell other lines than the text that is shown.
    let parameters = shown.replace("ds = \"2026-01-02\"", "ds = { type = \"string\", default = \"2026-01-02\" }");
    let mut again = pipeline(&parameters);
    for (table, first) in again.tables.iter_mut().zip(&submitted.tables) {
        table.origin = first.origin.clone();
        match (&mut table.input, &first.input) {
            (again @ TableInput::Sql { .. }, first @ TableInput::Sql { .. }) => {
                if let (TableInput::Sql { text, .. }, TableInput::Sql { text: was, .. }) = (&again, first) {
                    assert_eq!(text.trim(), was.trim());
                }
                *again = first.clone();
            }
            (again, first) => assert_eq!(again, first),
        }
        if let (WriteMode::ReplaceWhere { origin, .. }, WriteMode::ReplaceWhere { origin: at, .. }) =
            (&mut table.mode, &first.mode)
        {
            *origin = at.clone();
        }
        for (expectation, first) in table.expectations.iter_mut().zip(&first.expectations) {
            expectation.origin = first.origin.clone();
        }
    }
    for (source, first) in again.sources.iter_mut().zip(&submitted.sources) {
        source.origin = first.origin.clone();
    }
    assert_eq!(again, submitted, "{shown}");
}

#[test]
fn secrets_are_references_and_never_values() {
    let mut pipeline = pipeline(JOB);
    let shown = render(&pipeline);
    assert!(shown.contains("access_key_id = { env = \"KEY\" }"), "{shown}");
    assert!(shown.contains("secret_access_key = { file = \"/run/secrets/key\" }"), "{shown}");
    // No release lets these through; if one did, they would still not be shown.
    let storage = pipeline.storage.values_mut().next().unwrap();
    storage.options.insert("secret_access_key".to_owned(), Setting::Literal("TOPSECRET".to_owned()));
    let url = Setting::Literal("postgres://ann:TOPSECRET@db/shop".to_owned());
    let password = Some(Setting::Literal("TOPSECRET".to_owned()));
    pipeline.connections.insert("crm".to_owned(), ConnectionProfile::Postgres { url, password });
    let shown = render(&pipeline);
    assert!(!shown.contains("TOPSECRET") && shown.contains("postgres://ann:…@db/shop"), "{shown}");
}

#[test]
fn text_stays_within_its_quotes() {
    assert_eq!(quoted("a\"b\\c\nd\u{7}"), "\"a\\\"b\\\\c\\nd\\u0007\"");
    assert_eq!(block("SELECT 1"), "\"SELECT 1\"");
    assert_eq!(block("SELECT\n\"\"\""), "\"\"\"\nSELECT\n\"\"\\\"\n\"\"\"");
    assert_eq!([key_of("a-b_1"), key_of("a.b"), key_of("")], ["a-b_1", "\"a.b\"", "\"\""]);
    assert_eq!(one_line("a\n[x]"), "a [x]");
    assert_eq!([span(5_400_000), span(90_000), span(1_500)], ["90m", "90s", "1500ms"]);
    assert_eq!([size(64 << 20), size(1_000)], ["64MiB", "1000b"]);
}

#[test]
fn a_url_keeps_its_user_and_loses_the_password() {
    for (url, expected) in [
        ("s3://bucket/a@b:c", "s3://bucket/a@b:c"),
        ("postgres://u:p@h:5432/d", "postgres://u:…@h:5432/d"),
        ("postgres://u:p@ss@h/d", "postgres://u:…@h/d"),
        ("postgres://u@h/d", "postgres://u@h/d"),
        ("/a/b:c@d", "/a/b:c@d"),
    ] {
        assert_eq!(without_password(url), expected);
    }
}
