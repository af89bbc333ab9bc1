//! Every row once, under one snapshot, however it is divided.

use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::catalog::TableProvider;
use datafusion::common::runtime::SpawnedTask;
use datafusion::physical_plan::{ExecutionPlanProperties, collect, displayable};

use super::*;
use crate::codec;

const COUNTS: &str = "SELECT count(*), count(DISTINCT id), sum(id) FROM t";

/// 1 M rows with every kind of key: even, skewed, NULL, textual, random.
const MILLION: &str = "CREATE TABLE big (id bigint NOT NULL, skewed integer, code text, token uuid, \
      day date, amount numeric(12,2)); \
    INSERT INTO big SELECT i, CASE WHEN i % 10 = 0 THEN NULL WHEN i % 10 < 8 THEN 7 ELSE i END, \
      'c' || md5(i::text), md5(i::text)::uuid, CASE WHEN i % 100 = 0 THEN NULL ELSE date '2020-01-01' + i % 1000 END, \
      i / 100.0 FROM generate_series(1, 1000000) i";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_rows_are_read_once_by_every_kind_of_range() {
    let database = Database::new(MILLION);
    let expected = [1_000_000, 1_000_000, 500_000_500_000];
    // Before and after the server has statistics: sampled and from the histogram.
    for analyzed in [false, true] {
        if analyzed {
            database.psql("ANALYZE big");
        }
        for key in ["id", "skewed", "code", "token", "day", "amount"] {
            let source = by(table("big"), key, 8);
            assert_eq!(database.integers(&source, COUNTS).await, expected, "key {key}, analyzed {analyzed}");
        }
        let source = paged(table("public.big"), 8);
        let provider = database.provider(&source).await.unwrap();
        assert_eq!(provider.pieces(), 8);
        assert_eq!(database.integers(&source, COUNTS).await, expected, "pages, analyzed {analyzed}");
    }
    for key in ["id", "skewed", "code", "token", "day", "amount"] {
        let source = by(query("SELECT * FROM big -- all of it"), key, 3);
        assert_eq!(database.integers(&source, COUNTS).await, expected, "query by {key}");
    }
}

#[tokio::test]
async fn a_skewed_key_is_cut_where_its_rows_are() {
    let database = Database::new(
        "CREATE TABLE s (id integer); INSERT INTO s SELECT (i::float8 ^ 3 / 1e9)::integer FROM generate_series(1, 100000) i",
    );
    for analyzed in [false, true] {
        if analyzed {
            database.psql("ANALYZE s");
        }
        let provider = database.provider(&by(table("s"), "id", 8)).await.unwrap();
        let conditions: Vec<String> = provider.pieces.iter().filter_map(|piece| piece.condition.clone()).collect();
        assert_eq!(conditions.len(), 8, "{conditions:?}");
        for condition in &conditions {
            let rows: u32 = database.value(&format!("SELECT count(*) FROM s src WHERE {condition}")).parse().unwrap();
            assert!((8_000..18_000).contains(&rows), "{rows} rows where {condition}, analyzed {analyzed}");
        }
    }
}

#[tokio::test]
async fn null_keys_empty_tables_and_single_values_lose_nothing() {
    let database = Database::new(
        "CREATE TABLE nulls (id integer, k integer); INSERT INTO nulls SELECT i, NULL FROM generate_series(1, 10) i; \
         CREATE TABLE one (id integer, k integer); INSERT INTO one SELECT i, 5 FROM generate_series(1, 10) i; \
         CREATE TABLE empty (id integer, k integer); \
         CREATE TABLE odd (id integer, k numeric, d date, x timestamptz); \
         INSERT INTO odd VALUES (1, 'NaN', 'infinity', 'infinity'), (2, '-Infinity', '-infinity', '-infinity'), \
           (3, 5, '2020-01-01', '2020-01-01'), (4, NULL, NULL, NULL), (5, 9, '2021-01-01', '2021-01-01')",
    );
    for source in [table("nulls"), query("TABLE nulls"), table("one"), query("TABLE one")] {
        assert_eq!(database.integers(&by(source, "k", 4), COUNTS).await, [10, 10, 55]);
    }
    for source in [table("empty"), query("TABLE empty")] {
        assert_eq!(database.integers(&by(source, "k", 4), "SELECT count(*) FROM t").await, [0]);
    }
    for key in ["k", "d", "x"] {
        for source in [table("odd"), query("TABLE odd")] {
            assert_eq!(database.integers(&by(source, key, 4), COUNTS).await, [5, 5, 15], "{key}");
        }
    }
}

#[tokio::test]
async fn text_keys_are_cut_in_the_order_of_their_collation() {
    let database = Database::new(
        "CREATE COLLATION loud (provider = icu, locale = 'und-u-ks-level1', deterministic = false); \
         CREATE TABLE words (id integer, plain text, turned text COLLATE \"en-x-icu\", loud text COLLATE loud, \
           padded char(8), short varchar(40), \"Odd \"\"Name\" name); \
         INSERT INTO words SELECT i, w, w, w, left(w, 8), w, w FROM (SELECT i, CASE i % 3 WHEN 0 THEN upper(md5(i::text)) \
           WHEN 1 THEN 'Ä''\\\"{},' || md5(i::text) ELSE md5(i::text) END w FROM generate_series(1, 5000) i) x",
    );
    for analyzed in [false, true] {
        if analyzed {
            database.psql("ANALYZE words");
        }
        for key in ["plain", "turned", "loud", "padded", "short", "Odd \"Name"] {
            let counts = database.integers(&by(table("words"), key, 7), COUNTS).await;
            assert_eq!(counts, [5000, 5000, 12_502_500], "{key}, analyzed {analyzed}");
        }
    }
}

#[tokio::test]
async fn partitions_children_views_and_odd_names_are_read() {
    let database = Database::new(
        "CREATE SCHEMA \"My Schema\"; CREATE TABLE \"My Schema\".\"Some Table\" (id integer); \
         INSERT INTO \"My Schema\".\"Some Table\" SELECT generate_series(1, 1000); \
         CREATE VIEW v AS SELECT * FROM \"My Schema\".\"Some Table\" WHERE id <= 10; \
         CREATE MATERIALIZED VIEW m AS SELECT generate_series(1, 50000) AS id; \
         CREATE TABLE p (id integer, region text) PARTITION BY LIST (region); \
         CREATE TABLE p1 PARTITION OF p FOR VALUES IN ('a'); CREATE TABLE p2 PARTITION OF p DEFAULT; \
         INSERT INTO p SELECT i, CASE WHEN i % 4 = 0 THEN 'a' ELSE 'b' END FROM generate_series(1, 100000) i; \
         CREATE TABLE parent (id integer); CREATE TABLE child (more text) INHERITS (parent); \
         INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2, 'x'); CREATE SEQUENCE seq",
    );
    assert_eq!(database.integers(&table("My Schema.Some Table"), COUNTS).await, [1000, 1000, 500_500]);
    assert_eq!(database.integers(&table("\"My Schema\".\"Some Table\""), COUNTS).await, [1000, 1000, 500_500]);
    assert_eq!(database.integers(&paged(table("v"), 4), COUNTS).await, [10, 10, 55]);
    assert_eq!(database.integers(&by(table("v"), "id", 4), COUNTS).await, [10, 10, 55]);
    for source in [paged(table("m"), 4), by(table("m"), "id", 4)] {
        assert_eq!(database.integers(&source, COUNTS).await, [50_000, 50_000, 1_250_025_000]);
    }
    for source in [paged(table("p"), 4), by(table("p"), "id", 4), by(table("p"), "region", 4)] {
        assert_eq!(database.integers(&source, COUNTS).await, [100_000, 100_000, 5_000_050_000]);
    }
    assert_eq!(database.integers(&paged(table("parent"), 4), COUNTS).await, [2, 2, 3]);
    assert_eq!(failure(database.provider(&table("seq")).await).code(), "source-table");
}

#[tokio::test]
async fn projection_filters_and_limits_reach_the_server_and_answers_stay_right() {
    let database = Database::new(
        "CREATE TABLE f (id integer, name text, day date, ok boolean, pair point); \
         INSERT INTO f SELECT i, CASE i % 3 WHEN 0 THEN NULL WHEN 1 THEN 'a' ELSE 'B' END, date '2020-01-01' + i, \
           i % 2 = 0, point(i, i) FROM generate_series(1, 1000) i",
    );
    let source = by(table("f"), "id", 3);
    for condition in [
        "id > 990 AND name = 'a'",
        "name IS NULL AND day BETWEEN DATE '2020-02-01' AND DATE '2020-02-10'",
        "name < 'b' OR id IN (3, 5, 2000)",
        "ok AND NOT (name = 'B')",
        "pair IS NOT NULL AND day > DATE '2022-01-01'",
    ] {
        let found = database.integers(&source, &format!("SELECT count(*), sum(id) FROM t WHERE {condition}")).await;
        let expected = database.psql(&format!("SELECT count(*), sum(id) FROM f WHERE {condition}")).remove(0);
        let found: Vec<_> = found.iter().map(|number| Some(number.to_string())).collect();
        assert_eq!(found, expected, "{condition}");
    }
    let context = database.session(database.provider(&source).await.unwrap());
    let plan = context.sql("SELECT name FROM t WHERE id > 990 AND name < 'b'").await.unwrap();
    let plan = plan.create_physical_plan().await.unwrap();
    let shown = displayable(plan.as_ref()).indent(false).to_string();
    let scan = shown.lines().find(|line| line.contains("PostgresScanExec")).expect("the scan").trim().to_owned();
    assert_eq!(scan, "PostgresScanExec: source=src_under_test, columns=[id, name], filter=src.\"id\" > '990'::bigint");
    let limited = context.sql("SELECT id FROM t LIMIT 7").await.unwrap();
    let plan = limited.create_physical_plan().await.unwrap();
    assert!(displayable(plan.as_ref()).indent(false).to_string().contains("limit=7"));
    assert_eq!(rows(&collect(plan, context.task_ctx()).await.unwrap()), 7);
}

#[tokio::test]
async fn estimates_and_nullability_come_from_the_server() {
    let database = Database::new(
        "CREATE TABLE e (id integer NOT NULL, name text); INSERT INTO e SELECT i, 'x' FROM generate_series(1, 10000) i; \
         ANALYZE e",
    );
    let provider = database.provider(&table("e")).await.unwrap();
    assert_eq!(provider.estimated_rows(), 10_000);
    assert!(!provider.schema().field(0).is_nullable() && provider.schema().field(1).is_nullable());
    let provider = database.provider(&query("SELECT * FROM e WHERE id < 100;")).await.unwrap();
    assert!((50..200).contains(&provider.estimated_rows()), "{}", provider.estimated_rows());
    assert!(provider.schema().field(0).is_nullable());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_see_one_state_while_another_session_writes() {
    let database = Database::new(
        "CREATE TABLE accounts (id integer PRIMARY KEY, balance bigint); \
         INSERT INTO accounts SELECT i, 100 FROM generate_series(1, 50000) i",
    );
    for source in [by(table("accounts"), "id", 4), by(table("accounts"), "balance", 4), paged(table("accounts"), 4)] {
        let context = database.session(database.provider(&source).await.unwrap());
        let stop = AtomicBool::new(false);
        let (client, connection) =
            tokio_postgres::connect(&database.server.url(&database.name), tokio_postgres::NoTls).await.unwrap();
        let _connection = SpawnedTask::spawn(connection);
        let before = database.psql("SELECT count(*), sum(balance) FROM accounts").remove(0);
        // Every statement changes counts or sums, and moves rows to other pages and other ranges.
        let write = async {
            let mut written = 0_u32;
            while !stop.load(Ordering::Relaxed) {
                client
                    .batch_execute(
                        "UPDATE accounts SET balance = balance + 1000000 WHERE id % 97 = 0; \
                         INSERT INTO accounts SELECT max(id) + 1, 5 FROM accounts; \
                         DELETE FROM accounts WHERE id = (SELECT min(id) FROM accounts)",
                    )
                    .await
                    .unwrap();
                written += 1;
            }
            written
        };
        let read = async {
            let mut answers = Vec::new();
            for _ in 0..5 {
                let frame = context.sql("SELECT count(*), sum(balance) FROM t").await.unwrap();
                answers.push(integers(&frame.collect().await.unwrap()));
            }
            stop.store(true, Ordering::Relaxed);
            answers
        };
        let (written, answers) = futures::join!(write, read);
        assert!(written > 0);
        for answer in answers {
            let answer: Vec<_> = answer.iter().map(|number| Some(number.to_string())).collect();
            assert_eq!(answer, before);
        }
        let after = database.psql("SELECT count(*), sum(balance) FROM accounts").remove(0);
        assert_ne!(after, before);
    }
}

#[tokio::test]
async fn a_plan_travels_and_reads_the_same_rows() {
    let database =
        Database::new("CREATE TABLE c (id integer, v text); INSERT INTO c SELECT i, i FROM generate_series(1, 999) i");
    let provider = database.provider(&by(table("c"), "id", 3)).await.unwrap();
    let context = database.session(provider);
    let scan = context.sql("SELECT v FROM t").await.unwrap().create_physical_plan().await.unwrap();
    assert_eq!(scan.output_partitioning().partition_count(), 3);
    let bytes = codec::encode_plan(&scan, codec::codec().as_ref()).unwrap();
    assert!(!String::from_utf8_lossy(&bytes).contains("word"), "the password travels");
    let decoded = codec::decode_plan(&bytes, &context.task_ctx(), codec::codec().as_ref()).unwrap();
    assert_eq!(
        displayable(decoded.as_ref()).indent(true).to_string(),
        displayable(scan.as_ref()).indent(true).to_string()
    );
    assert_eq!(decoded.output_partitioning().partition_count(), 3);
    assert_eq!(rows(&collect(decoded, context.task_ctx()).await.unwrap()), 999);
}
