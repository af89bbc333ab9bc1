//! Rows in, files and actions out.

use std::collections::BTreeSet;

use arrow::datatypes::TimeUnit;
use datafusion::common::DFSchema;
use lake_proto::ErrorClass;

use super::*;

#[tokio::test]
async fn appended_rows_come_back_and_delta_rs_agrees() {
    let lake = lake(2);
    lake.create("t", &[("id", DataType::Int64), ("name", DataType::Utf8)], &[]).await;
    lake.append("t", 1, "SELECT value AS id, 'n' || value AS name FROM generate_series(1, 1000)").await;
    let snapshot = lake.append("t", 2, "SELECT CAST(7 AS BIGINT) AS id, CAST(NULL AS VARCHAR) AS name").await;
    assert_eq!(snapshot.version(), 2);
    let answer = lake.query(&snapshot, "SELECT count(*), count(name), sum(id), min(name), max(name) FROM t").await;
    assert_eq!(answer, ["1001|1000|500507|n1|n999"]);
    assert_eq!(lake.query(&snapshot, "SELECT count(*) FROM t").await, ["1001"]);

    let url = lake.location("t");
    let theirs = deltalake_core::DeltaTableBuilder::from_url(url).unwrap().load().await.unwrap();
    let state = theirs.snapshot().unwrap();
    let ours: BTreeSet<String> = snapshot.live_files().await.unwrap().iter().map(|file| file.path.clone()).collect();
    let files: BTreeSet<String> = state.log_data().iter().map(|file| file.path().into_owned()).collect();
    assert_eq!(ours, files);
    assert_eq!(state.log_data().iter().filter_map(|file| file.num_records()).sum::<usize>(), 1001);
    assert_eq!(snapshot.txn_version("lake/job/table").await.unwrap(), Some(2));
    assert_eq!(snapshot.txn_version("other").await.unwrap(), None);
    assert_eq!(snapshot.size().await.unwrap().0, ours.len());
}

#[tokio::test]
async fn every_column_type_survives_a_write_and_a_read() {
    let lake = lake(1);
    let columns = [
        ("b", DataType::Boolean),
        ("i8", DataType::Int8),
        ("i16", DataType::Int16),
        ("i32", DataType::Int32),
        ("f32", DataType::Float32),
        ("f64", DataType::Float64),
        ("dec", DataType::Decimal128(38, 10)),
        ("day", DataType::Date32),
        ("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
        ("wall", DataType::Timestamp(TimeUnit::Microsecond, None)),
        ("bytes", DataType::Binary),
        ("list", DataType::List(Arc::new(Field::new("item", DataType::Int64, true)))),
    ];
    lake.create("t", &columns, &[]).await;
    let sql = "SELECT true AS b, CAST(-8 AS TINYINT) AS i8, CAST(300 AS SMALLINT) AS i16, CAST(1 AS INT) AS i32, \
        CAST(1.5 AS FLOAT) AS f32, CAST(2.25 AS DOUBLE) AS f64, \
        CAST('12345678901234567890.0123456789' AS DECIMAL(38,10)) AS dec, CAST('2024-02-29' AS DATE) AS day, \
        CAST('2024-02-29T01:02:03.123456Z' AS TIMESTAMP WITH TIME ZONE) AS at, \
        CAST('1969-12-31T23:59:59.999999' AS TIMESTAMP) AS wall, \
        X'00ff' AS bytes, [1, NULL, 3] AS list";
    let snapshot = lake.append("t", 1, sql).await;
    let row = lake.query(&snapshot, "SELECT b, i8, i16, i32, f32, f64, dec, day, at, wall, bytes, list FROM t").await;
    assert_eq!(
        row,
        ["true|-8|300|1|1.5|2.25|12345678901234567890.0123456789|2024-02-29|2024-02-29T01:02:03.123456Z|\
          1969-12-31T23:59:59.999999|00ff|[1, , 3]"]
    );
    for filter in [
        "dec = CAST('12345678901234567890.0123456789' AS DECIMAL(38,10))",
        "at >= TIMESTAMP '2024-02-29T01:02:03.123456Z'",
        "wall < TIMESTAMP '1970-01-01'",
        "day = DATE '2024-02-29' AND f64 > 2 AND i8 < 0 AND b",
        "bytes = X'00ff'",
    ] {
        let found = lake.query(&snapshot, &format!("SELECT i32 FROM t WHERE {filter}")).await;
        assert_eq!(found, ["1"], "{filter}");
    }
}

#[tokio::test]
async fn odd_partition_values_survive_and_are_found_by_filters() {
    let lake = lake(3);
    let values = ["a b", "50%", "x=y", "a/b", "ä ö/日本", "%20", "quote'd", "a:b?c#d&e", "+", "..", "z "];
    lake.create("t", &[("p", DataType::Utf8), ("n", DataType::Int64)], &["p"]).await;
    let rows: Vec<String> =
        values.iter().enumerate().map(|(n, value)| format!("('{}', {n})", value.replace('\'', "''"))).collect();
    let sql = format!("SELECT column1 AS p, column2 AS n FROM (VALUES {}, (NULL, 100), ('', 101))", rows.join(", "));
    let snapshot = lake.append("t", 1, &sql).await;
    for (n, value) in values.iter().enumerate() {
        let filter = format!("SELECT n, p FROM t WHERE p = '{}'", value.replace('\'', "''"));
        let expected = format!("{n}|{}", value.trim());
        assert_eq!(lake.query(&snapshot, &filter).await, [expected], "{value}");
    }
    // The protocol does not tell empty text from NULL.
    assert_eq!(lake.query(&snapshot, "SELECT n FROM t WHERE p IS NULL ORDER BY n").await, ["100", "101"]);
    assert_eq!(lake.query(&snapshot, "SELECT count(*) FROM t WHERE p IS NOT NULL").await, ["11"]);
    let url = lake.location("t");
    let theirs = deltalake_core::DeltaTableBuilder::from_url(url).unwrap().load().await.unwrap();
    for file in theirs.snapshot().unwrap().log_data().iter() {
        let path = file.object_store_path();
        object_store::ObjectStoreExt::head(theirs.object_store().as_ref(), &path).await.unwrap();
    }
}

#[tokio::test]
async fn partitions_of_every_type_come_back_with_it() {
    let lake = lake(2);
    let columns = [
        ("day", DataType::Date32),
        ("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
        ("amount", DataType::Decimal128(10, 2)),
        ("flag", DataType::Boolean),
        ("code", DataType::Int32),
        ("n", DataType::Int64),
    ];
    let snapshot = lake.create("t", &columns, &["day", "at", "amount", "flag", "code"]).await;
    assert_eq!(snapshot.partition_columns(), ["day", "at", "amount", "flag", "code"]);
    let sql = "SELECT CAST('2024-01-05' AS DATE) AS day, CAST('2024-01-05T10:00:00.5Z' AS TIMESTAMP WITH TIME ZONE) AS at, \
        CAST(-12.50 AS DECIMAL(10,2)) AS amount, false AS flag, CAST(3 AS INT) AS code, CAST(1 AS BIGINT) AS n \
        UNION ALL SELECT NULL, NULL, NULL, NULL, NULL, CAST(2 AS BIGINT)";
    let snapshot = lake.append("t", 1, sql).await;
    let rows = lake.query(&snapshot, "SELECT n, day, at, amount, flag, code FROM t ORDER BY n").await;
    assert_eq!(rows, ["1|2024-01-05|2024-01-05T10:00:00.500Z|-12.50|false|3", "2|||||"]);
    let filter = "SELECT n FROM t WHERE amount < 0 AND NOT flag AND at > TIMESTAMP '2024-01-05T09:00:00Z' AND code = 3";
    assert_eq!(lake.query(&snapshot, filter).await, ["1"]);
}

#[tokio::test]
async fn rows_of_a_partition_meet_in_one_task() {
    let lake = lake(4);
    let snapshot = lake.create("t", &[("p", DataType::Int64), ("n", DataType::Int64)], &["p"]).await;
    let sql = "SELECT value % 10 AS p, value AS n FROM generate_series(1, 50000)";
    let written = lake.write(&snapshot, sql).await;
    assert_eq!((written.adds.len(), written.input_rows, written.output_rows), (10, 50000, 50000));
    assert_eq!(written.tasks, 4);
    assert_eq!(data_files(&lake.path("t")).len(), 10);
    assert!(written.output_bytes > 0);
}

#[tokio::test]
async fn small_target_sizes_make_more_files() {
    let lake = lake(1);
    let snapshot = lake.create("t", &[("n", DataType::Int64), ("s", DataType::Utf8)], &[]).await;
    let spec = WriteSpec::new(&snapshot, 200_000).unwrap();
    let sql = "SELECT value AS n, md5(CAST(value AS VARCHAR)) AS s FROM generate_series(1, 60000)";
    let written = lake.write_with(spec, sql).await.unwrap();
    assert!(written.adds.len() > 3, "{} files", written.adds.len());
    commit(&lake.stores, &snapshot, request(Mode::Append, written.adds, 1)).await.unwrap();
    let snapshot = lake.open("t").await;
    assert_eq!(
        lake.query(&snapshot, "SELECT count(*), count(DISTINCT s), sum(n) FROM t").await,
        ["60000|60000|1800030000"]
    );
}

async fn checked(lake: &Lake, kind: CheckKind, condition: &str) -> Result<Written, crate::EngineError> {
    let snapshot = lake.open("t").await;
    let spec = WriteSpec::new(&snapshot, 128 << 20).unwrap();
    let schema = DFSchema::try_from(spec.schema().as_ref().clone()).unwrap();
    let expression = lake.session.parse_sql_expr(condition, &schema).unwrap();
    let expression = lake.session.create_physical_expr(expression, &schema).unwrap();
    let spec = spec.with_checks(vec![Check { name: "check".to_owned(), expression, kind }]);
    let sql =
        "SELECT value AS n, CASE WHEN value % 10 = 0 THEN NULL ELSE 'x@y' END AS mail FROM generate_series(1, 100)";
    lake.write_with(spec, sql).await
}

#[tokio::test]
async fn checks_count_drop_or_fail() {
    let lake = lake(2);
    lake.create("t", &[("n", DataType::Int64), ("mail", DataType::Utf8)], &[]).await;
    let condition = "mail LIKE '%@%'";
    let warned = checked(&lake, CheckKind::Warn, condition).await.unwrap();
    assert_eq!((warned.expectations[0].violations, warned.output_rows), (10, 100));
    let dropped = checked(&lake, CheckKind::Drop, condition).await.unwrap();
    assert_eq!((dropped.expectations[0].violations, dropped.output_rows, dropped.input_rows), (10, 90, 100));
    let files = data_files(&lake.path("t")).len();
    let failed = checked(&lake, CheckKind::Fail, condition).await.unwrap();
    assert_eq!((failed.expectations[0].violations, failed.adds.len()), (10, 0));
    assert_eq!(data_files(&lake.path("t")).len(), files, "a task that failed its check leaves no file");
    let error = checked(&lake, CheckKind::Constraint, condition).await.unwrap_err();
    assert_eq!((error.class(), error.code()), (ErrorClass::DataQuality, "constraint"));
}

#[tokio::test]
async fn columns_that_do_not_fit_are_refused_before_anything_runs() {
    let lake = lake(1);
    let snapshot = lake.create("t", &[("n", DataType::Int32)], &[]).await;
    let spec = || WriteSpec::new(&snapshot, 1 << 20).unwrap();
    let error = lake.write_with(spec(), "SELECT 1 AS n, 2 AS other").await.unwrap_err();
    assert_eq!((error.class(), error.code()), (ErrorClass::InvalidJob, "write-columns"));
    let error = lake.write_with(spec(), "SELECT 1.5 AS n").await.unwrap_err();
    assert_eq!(error.code(), "write-types");
    let error = lake.write_with(spec(), "SELECT 3000000000 AS n").await.unwrap_err();
    assert_eq!((error.class(), error.code()), (ErrorClass::InvalidJob, "write-cast"));
    assert!(data_files(&lake.path("t")).is_empty());
}

#[tokio::test]
async fn a_dropped_write_leaves_nothing_but_orphans() {
    let lake = lake(1);
    let snapshot = lake.create("t", &[("n", DataType::Int64)], &[]).await;
    let spec = WriteSpec::new(&snapshot, 128 << 20).unwrap();
    let sql = "SELECT value AS n FROM generate_series(1, 100000000)";
    let rows = lake.session.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    let plan = plan_write(rows, spec).unwrap();
    let mut stream = plan.execute(0, lake.session.task_ctx()).unwrap();
    let first =
        tokio::time::timeout(std::time::Duration::from_millis(300), futures::StreamExt::next(&mut stream)).await;
    assert!(first.is_err(), "the write is still running");
    drop(stream);
    let pool = lake.session.runtime_env().memory_pool.clone();
    assert_eq!(pool.reserved(), 0);
    assert_eq!(lake.open("t").await.version(), 0);
    assert!(data_files(&lake.path("t")).is_empty());
}

#[tokio::test]
async fn creating_twice_is_one_table_and_a_different_one_conflicts() {
    let lake = lake(1);
    let columns = [("n", DataType::Int32), ("s", DataType::Utf8View)];
    let first = lake.create("t", &columns, &["n"]).await;
    assert_eq!((first.version(), first.schema().field(1).data_type()), (0, &DataType::Utf8));
    assert_eq!(lake.create("t", &columns, &["n"]).await.version(), 0);
    let new = |partition_by: &[&str], name: &str| NewTable {
        name: "t".to_owned(),
        schema: Arc::new(Schema::new(vec![
            Field::new(name, DataType::Int32, true),
            Field::new("s", DataType::Utf8, true),
        ])),
        partition_by: partition_by.iter().map(|name| (*name).to_owned()).collect(),
        properties: [].into(),
    };
    let create = async |new: NewTable, table: &str| DeltaTable::create(&lake.stores, &lake.location(table), &new).await;
    assert_eq!(create(new(&[], "n"), "t").await.unwrap_err().class(), ErrorClass::Conflict);
    assert_eq!(create(new(&[], "m"), "t").await.unwrap_err().code(), "delta-create");
    assert_eq!(create(new(&["gone"], "n"), "u").await.unwrap_err().class(), ErrorClass::InvalidJob);
    assert_eq!(create(new(&["n", "s"], "n"), "u").await.unwrap_err().code(), "delta-create");
    assert!(DeltaTable::open(&lake.stores, &lake.location("u")).await.unwrap().is_none());
}

#[tokio::test]
async fn columns_with_statistics_must_be_columns_of_the_table() {
    let lake = lake(1);
    let inner = DataType::Struct(vec![Field::new("city", DataType::Utf8, true)].into());
    let fields = vec![Field::new("n", DataType::Int64, true), Field::new("address", inner, true)];
    let new = |columns: &str| NewTable {
        name: "t".to_owned(),
        schema: Arc::new(Schema::new(fields.clone())),
        partition_by: vec![],
        properties: [("delta.dataSkippingStatsColumns".to_owned(), columns.to_owned())].into(),
    };
    for columns in ["m", "n, m", "address.street", "n.city", "N"] {
        let refusals = [
            WriteSpec::create(&lake.location("t"), &new(columns), 1 << 20).map(|_| ()).unwrap_err(),
            DeltaTable::create(&lake.stores, &lake.location("t"), &new(columns)).await.unwrap_err(),
        ];
        for error in refusals {
            assert_eq!((error.class(), error.code()), (ErrorClass::InvalidJob, "delta-property"), "{columns}: {error}");
            assert!(error.to_string().contains("its columns are n, address"), "{error}");
        }
    }
    assert!(DeltaTable::open(&lake.stores, &lake.location("t")).await.unwrap().is_none());
    DeltaTable::create(&lake.stores, &lake.location("t"), &new("n, `address.city`")).await.unwrap();
}

#[tokio::test]
async fn racing_creations_make_one_table() {
    let lake = lake(1);
    let columns = [("n", DataType::Int32)];
    let (one, two, three) = futures::join!(
        lake.create("t", &columns, &[]),
        lake.create("t", &columns, &[]),
        lake.create("t", &columns, &[])
    );
    assert_eq!((one.version(), two.version(), three.version()), (0, 0, 0));
}
