//! What valid jobs mean.

use super::*;

fn names(pipeline: &Pipeline) -> Vec<String> {
    pipeline.tables.iter().map(|table| table.name.to_string()).collect()
}

fn table<'a>(pipeline: &'a Pipeline, name: &str) -> &'a Table {
    pipeline.tables.iter().find(|table| table.name.to_string() == name).expect(name)
}

#[test]
fn the_example_means_what_it_says() {
    let pipeline = read(EXAMPLE).unwrap();
    assert_eq!((pipeline.name.as_str(), pipeline.max_attempts, pipeline.timeout_ms), ("customers", 3, Some(3_600_000)));
    assert_eq!(pipeline.params["ds"], "2026-11-21");
    assert_eq!(pipeline.warehouse_root, "s3://lakehouse");
    assert_eq!(pipeline.storage["s3://lakehouse"].options["endpoint"], Setting::Env("S3_ENDPOINT".into()));
    let expected = ConnectionProfile::Postgres { url: Setting::Env("CRM_URL".into()), password: None };
    assert_eq!(pipeline.connections["crm"], expected);

    let SourceInput::Postgres(crm) = &pipeline.sources[0].input else { panic!("not postgres") };
    assert_eq!((crm.partitions, crm.partition_by.as_deref()), (8, Some("customer_id")));
    assert_eq!(crm.relation, Relation::Table("public.customers".into()));
    let SourceInput::Files(orders) = &pipeline.sources[1].input else { panic!("not files") };
    assert_eq!(orders.path, "s3://landing/orders/ds=2026-11-21/");
    assert_eq!((orders.csv.delimiter, orders.csv.null_value.as_deref(), orders.csv.header), (';', Some("NULL"), true));
    let columns: Vec<&str> = orders.schema.iter().flatten().map(|column| column.name.as_str()).collect();
    assert_eq!(columns, ["order_id", "customer_id", "amount"]);

    // In order of what they read; of those that are free, the first of the file.
    let expected = ["bronze.customers", "silver.customers_cleansed", "gold.customers_by_country", "silver.orders"];
    assert_eq!(names(&pipeline), expected);
    assert_eq!(pipeline.dependencies(), [vec![], vec![0], vec![1], vec![0]]);
    assert_eq!(pipeline.levels(), [vec![0], vec![1, 3], vec![2]]);

    let cleansed = table(&pipeline, "silver.customers_cleansed");
    assert_eq!(cleansed.location, "s3://lakehouse/silver/customers_cleansed");
    assert_eq!(cleansed.partition_by, ["country"]);
    assert_eq!(cleansed.target_file_size_bytes, 64 << 20);
    assert_eq!(cleansed.properties["delta.appendOnly"], "false");
    assert_eq!(cleansed.expectations[0].action, ExpectationAction::Drop);
    let TableInput::Sql { origin, text, column: 1 } = &cleansed.input else { panic!("not SQL") };
    assert_eq!(origin.to_string(), "sql/silver.sql:1");
    assert!(text.starts_with("SELECT customer_id"));

    let orders = table(&pipeline, "silver.orders");
    let WriteMode::ReplaceWhere { predicate, origin } = &orders.mode else { panic!("not replace_where") };
    assert_eq!(predicate, "ds = DATE '2026-11-21'");
    let line_of = |key: &str| EXAMPLE.lines().position(|line| line.trim_start().starts_with(key)).unwrap() + 1;
    let lines = |origin: &Option<Origin>| origin.as_ref().map(|origin| (origin.file.clone(), origin.line as usize));
    assert_eq!(lines(origin), Some(("job.toml".to_owned(), line_of("replace_where"))));
    assert_eq!(lines(&cleansed.expectations[0].origin), Some(("job.toml".to_owned(), line_of("check"))));
    let TableInput::Sql { origin, text, .. } = &orders.input else { panic!("not SQL") };
    assert_eq!(origin.to_string(), "job.toml:66");
    assert!(text.starts_with("SELECT o.*, DATE '2026-11-21' AS ds\n"), "{text}");
    let bronze = TableName { schema: "bronze".into(), table: "customers".into() };
    let currencies = TableName { schema: "reference".into(), table: "currencies".into() };
    let expected = [Read::Source("orders_landing".into()), Read::External(currencies), Read::Table(bronze)];
    assert_eq!(orders.reads, expected);
    assert!(table(&pipeline, "bronze.customers").audit);
}

#[test]
fn a_query_knows_the_column_that_it_begins_at() {
    let begins = |sql: &str| {
        let table = format!("[[table]]\nname = \"a.b\"\nmode = \"append\"\n{sql}\n");
        let text = format!("[job]\nname = \"j\"\n[warehouse]\nroot = \"/lake\"\n{table}");
        let TableInput::Sql { origin, column, .. } = read(&text).unwrap().tables[0].input.clone() else {
            panic!("not SQL")
        };
        (origin.line, column)
    };
    assert_eq!(begins("sql = \"SELECT 1 AS n\""), (8, 8));
    assert_eq!(begins("sql = \"\"\"\n  SELECT 1 AS n\"\"\""), (9, 1));
    assert_eq!(begins("sql = '''SELECT 1 AS n'''"), (8, 10));
}

#[test]
fn conditions_of_older_submissions_have_no_place() {
    let mode: WriteMode = serde_json::from_str(r#"{"mode":"replace_where","predicate":"a = 1"}"#).unwrap();
    assert_eq!(mode, WriteMode::ReplaceWhere { predicate: "a = 1".into(), origin: None });
    let expectation: Expectation = serde_json::from_str(r#"{"name":"n","check":"a > 1","action":"warn"}"#).unwrap();
    assert_eq!(expectation.origin, None);
    let input = r#"{"sql":{"text":"SELECT 1","origin":{"file":"job.toml","line":3}}}"#;
    let parsed: TableInput = serde_json::from_str(input).unwrap();
    assert!(matches!(parsed, TableInput::Sql { column: 1, .. }), "{parsed:?}");
    assert_eq!(serde_json::to_string(&parsed).unwrap(), input);
}

#[test]
fn a_pipeline_survives_its_json() {
    let pipeline = read(EXAMPLE).unwrap();
    let json = serde_json::to_string(&pipeline).unwrap();
    assert_eq!(serde_json::from_str::<Pipeline>(&json).unwrap(), pipeline);
    assert!(!json.contains("external_locations"));
}

#[test]
fn what_is_set_about_tasks_travels_and_what_is_not_set_leaves_the_json_as_it_was() {
    let pipeline = read(EXAMPLE).unwrap();
    assert_eq!((pipeline.task_timeout_ms, pipeline.speculation), (None, false));
    let json = serde_json::to_string(&pipeline).unwrap();
    assert!(!json.contains("task_timeout") && !json.contains("speculation"));
    let set = "timeout = \"1h\"\ntask_timeout = \"90s\"\nspeculation = true";
    let pipeline = read(&EXAMPLE.replace("timeout = \"1h\"", set)).unwrap();
    assert_eq!((pipeline.task_timeout_ms, pipeline.speculation), (Some(90_000), true));
    let json = serde_json::to_string(&pipeline).unwrap();
    assert_eq!(serde_json::from_str::<Pipeline>(&json).unwrap(), pipeline);
}

const SMALL: &str = r#"
[job]
name = "small"
[params]
n = { type = "int", default = 4 }
day = { type = "date", default = 2026-01-31 }
day_before = { type = "date", default = "yesterday" }
ratio = { type = "float", default = 0.5 }
full = { type = "bool", default = false }
text = { type = "string" }
mode = { type = "string", default = "append" }
[warehouse]
root = "warehouse"
[connection.db]
kind = "postgres"
url = "postgres://reader@localhost/db"
password = { file = "/run/secrets/db" }
[[source]]
name = "Rows"
connection = "db"
query = "SELECT * FROM t WHERE x = '${text}' AND y = '$${n}';"
partition_by = "id"
partitions = "${n}"
[[table]]
name = "Bronze.Rows"
from = "ROWS"
mode = "${mode}"
audit = "${full}"
[[table]]
name = "copy"
path = "elsewhere/copy/"
sql = "SELECT * FROM BRONZE.rows WHERE a < ${ratio} AND b > ${day_before}"
mode = "append"
"#;

fn small() -> LoadOptions {
    let mut options = options();
    options.params = vec![("text".into(), "a".into()), ("text".into(), "b".into()), ("full".into(), "true".into())];
    options
}

#[test]
fn parameters_take_the_type_that_their_place_wants() {
    let pipeline = read_with(SMALL, &small()).unwrap();
    let values: Vec<(&str, &str)> =
        pipeline.params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let expected = [
        ("day", "2026-01-31"),
        ("day_before", "2026-11-20"),
        ("full", "true"),
        ("mode", "append"),
        ("n", "4"),
        ("ratio", "0.5"),
        ("text", "b"),
    ];
    assert_eq!(values, expected);
    let SourceInput::Postgres(rows) = &pipeline.sources[0].input else { panic!("not postgres") };
    assert_eq!(rows.partitions, 4);
    assert_eq!(rows.relation, Relation::Query("SELECT * FROM t WHERE x = 'b' AND y = '${n}'".into()));
    assert!(table(&pipeline, "bronze.rows").audit);
}

#[test]
fn names_compare_as_in_sql_and_paths_are_relative_to_the_job() {
    let pipeline = parse("daily/job.toml", SMALL, &small(), &sql_file).unwrap();
    assert_eq!(pipeline.sources[0].name, "rows");
    assert_eq!(pipeline.tables[0].reads, [Read::Source("rows".into())]);
    assert_eq!(pipeline.tables[0].input, TableInput::From("rows".into()));
    assert_eq!(pipeline.tables[0].location, "file:///jobs/daily/warehouse/bronze/rows");
    assert_eq!(pipeline.tables[1].location, "file:///jobs/daily/elsewhere/copy");
    assert_eq!(pipeline.dependencies(), [vec![], vec![0]]);
}

#[test]
fn overrides_take_the_place_of_values_in_the_file() {
    let mut options = small();
    for (key, value) in [
        ("warehouse.root", "out"),
        ("job.max_attempts", "7"),
        ("table.\"bronze.rows\".mode", "overwrite"),
        ("table.copy.partition_by", "[\"a\", \"b\"]"),
        ("connection.db.url", "{ env = \"DB\" }"),
        ("storage.\"s3a://lake/y/\".region", "eu-${n}"),
    ] {
        options.overrides.push((key.into(), value.into()));
    }
    let pipeline = parse("daily/job.toml", SMALL, &options, &sql_file).unwrap();
    // Typed on a command line, a path is relative to where it was typed.
    assert_eq!(pipeline.warehouse_root, "file:///jobs/out");
    assert_eq!(pipeline.max_attempts, 7);
    assert_eq!(table(&pipeline, "bronze.rows").mode, WriteMode::Overwrite);
    assert_eq!(table(&pipeline, "copy").partition_by, ["a", "b"]);
    assert_eq!(pipeline.storage["s3://lake/y"].options["region"], Setting::Literal("eu-4".into()));
}

#[test]
fn only_keeps_the_named_tables_and_reads_the_others_as_they_stand() {
    let mut options = options();
    options.only = vec!["Silver.Orders".into()];
    let pipeline = read_with(EXAMPLE, &options).unwrap();
    assert_eq!(names(&pipeline), ["silver.orders"]);
    assert_eq!(pipeline.sources.len(), 1);
    let bronze = TableName { schema: "bronze".into(), table: "customers".into() };
    assert!(pipeline.tables[0].reads.contains(&Read::External(bronze.clone())));
    assert_eq!(pipeline.external_location(&bronze), "s3://lakehouse/bronze/customers");
    assert_eq!(pipeline.dependencies(), [Vec::<usize>::new()]);
}

#[test]
fn a_table_with_its_own_path_is_found_when_it_is_not_selected() {
    let text = SMALL.replace("mode = \"append\"\n\"#", "")
        + "[[table]]\nname = \"last\"\nfrom = \"copy\"\nmode = \"append\"\n";
    let mut options = small();
    options.only = vec!["last".into()];
    let pipeline = read_with(&text, &options).unwrap();
    let copy = TableName { schema: String::new(), table: "copy".into() };
    assert_eq!(pipeline.tables[0].reads, [Read::External(copy.clone())]);
    assert_eq!(pipeline.external_location(&copy), "file:///jobs/elsewhere/copy");
    let json = serde_json::to_string(&pipeline).unwrap();
    assert_eq!(serde_json::from_str::<Pipeline>(&json).unwrap(), pipeline);
}

#[test]
fn from_keeps_a_table_and_everything_downstream() {
    let mut options = options();
    options.from = Some("silver.customers_cleansed".into());
    let pipeline = read_with(EXAMPLE, &options).unwrap();
    assert_eq!(names(&pipeline), ["silver.customers_cleansed", "gold.customers_by_country"]);
    options.from = Some("bronze.customers".into());
    assert_eq!(read_with(EXAMPLE, &options).unwrap().tables.len(), 4);
}

#[test]
fn full_refresh_overwrites_and_name_renames() {
    let mut options = options();
    options.full_refresh = true;
    options.name = Some("other".into());
    let pipeline = read_with(EXAMPLE, &options).unwrap();
    assert!(pipeline.tables.iter().all(|table| table.mode == WriteMode::Overwrite));
    assert_eq!(pipeline.name, "other");
}

#[test]
fn columns_may_be_a_list() {
    let text = EXAMPLE.replace(
        "schema = { order_id = \"bigint\", customer_id = \"bigint\", amount = \"decimal(12,2)\" }",
        "schema = [{ name = \"z\", type = \"long\" }, { name = \"a\", type = \"string\" }]",
    );
    let pipeline = read(&text).unwrap();
    let SourceInput::Files(orders) = &pipeline.sources[1].input else { panic!("not files") };
    let columns: Vec<(&str, ColumnType)> =
        orders.schema.iter().flatten().map(|column| (column.name.as_str(), column.data_type)).collect();
    assert_eq!(columns, [("z", ColumnType::BigInt), ("a", ColumnType::String)]);
}
