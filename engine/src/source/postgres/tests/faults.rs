//! What goes wrong has a class, a code, and a message that says what to do.

use datafusion::physical_plan::{ExecutionPlan, collect, execute_stream};
use futures::StreamExt;
use lake_proto::ErrorClass;

use super::*;
use crate::codec;

const LARGE: &str = "CREATE TABLE large (id bigint, filler text); \
     INSERT INTO large SELECT i, repeat('x', 200) FROM generate_series(1, 300000) i";

fn check(error: &EngineError, class: ErrorClass, code: &str, parts: &[&str]) {
    assert_eq!((error.class(), error.code()), (class, code), "{error}");
    assert!(error.to_string().contains("source 'src_under_test'"), "{error}");
    for part in parts {
        assert!(error.to_string().contains(part), "'{part}' is not in: {error}");
    }
}

async fn failed(database: &Database, source: &PostgresSource) -> EngineError {
    failure(database.provider(source).await)
}

#[tokio::test]
async fn what_is_named_wrong_is_not_found_or_an_invalid_job() {
    let database = Database::new("CREATE TABLE t1 (id integer, price money, flag boolean)");
    let (not_found, invalid) = (ErrorClass::NotFound, ErrorClass::InvalidJob);
    check(&failed(&database, &table("nope")).await, not_found, "source-table", &["'nope'"]);
    check(&failed(&database, &table("nope.t1")).await, not_found, "source-table", &["'nope.t1'"]);
    let missing = failed(&database, &query("SELECT *\nFROM nope")).await;
    check(&missing, not_found, "source-table", &["nope", "42P01", "line 2 column 6"]);
    let column = failed(&database, &query("SELECT id, wrong FROM t1")).await;
    check(&column, not_found, "source-column", &["wrong", "42703", "line 1 column 12"]);
    check(&failed(&database, &query("SELEC 1")).await, invalid, "source-query", &["42601", "line 1 column 1"]);
    check(&failed(&database, &query("SELECT 1; DROP TABLE t1")).await, invalid, "source-query", &["42601"]);
    check(&failed(&database, &query("SELECT 1) x; DROP TABLE t1; --")).await, invalid, "source-query", &["42601"]);
    check(&failed(&database, &query("DELETE FROM t1")).await, invalid, "source-query", &["SELECT"]);
    check(&failed(&database, &query("SELECT 1 AS a, 2 AS a")).await, invalid, "source-column", &["'a'"]);
    let money = failed(&database, &table("t1")).await;
    check(&money, invalid, "source-type", &["'price'", "money", "SELECT \"price\"::numeric"]);
    let ids = query("SELECT id, flag FROM t1");
    check(&failed(&database, &by(ids.clone(), "nope", 2)).await, not_found, "source-column", &["'nope'", "id, flag"]);
    check(&failed(&database, &by(ids, "flag", 2)).await, invalid, "source-key", &["'flag'", "bool"]);
    assert_eq!(database.value("SELECT count(*) FROM t1"), "0");
}

#[tokio::test]
async fn refused_log_ins_are_denied_and_unreachable_servers_unavailable() {
    let database = Database::new(
        "CREATE TABLE secret (id integer); \
         DO $$ BEGIN CREATE ROLE guest LOGIN PASSWORD 'guest'; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
    );
    let port = database.server.port();
    let open = async |url: &str| failure(provider(stores(url), "src_under_test", &table("secret")).await);
    let (name, denied) = (&database.name, ErrorClass::Denied);
    let wrong = open(&format!("postgres://postgres:wrong@127.0.0.1:{port}/{name}")).await;
    check(&wrong, denied, "source-denied", &["crm", "28P01"]);
    let none = open(&format!("postgres://postgres@127.0.0.1:{port}/{name}")).await;
    check(&none, denied, "source-denied", &["no password"]);
    let guest = open(&format!("postgres://guest:guest@127.0.0.1:{port}/{name}")).await;
    check(&guest, denied, "source-denied", &["secret", "42501"]);
    let database_missing = open(&database.server.url("nope")).await;
    check(&database_missing, ErrorClass::NotFound, "source-database", &["nope", "3D000"]);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let unreachable = open(&format!("postgres://u:hidden@127.0.0.1:{closed}/d")).await;
    check(&unreachable, ErrorClass::Unavailable, "source-unavailable", &["127.0.0.1"]);
    assert!(!unreachable.to_string().contains("hidden"));
    let tls = open(&format!("{}?sslmode=require", database.server.url(name))).await;
    check(&tls, ErrorClass::InvalidJob, "source-tls", &["sslmode=require"]);
}

#[tokio::test]
async fn an_evaluation_error_in_a_query_is_the_jobs() {
    let database = Database::new("SELECT 1");
    let source = query("SELECT 1 / (5 - i) AS q FROM generate_series(1, 9) i");
    let error = failure(database.query(&source, "SELECT * FROM t").await);
    check(&error, ErrorClass::InvalidJob, "source-query", &["22012"]);
}

#[tokio::test]
async fn a_backend_that_is_ended_in_mid_read_is_unavailable() {
    let database = Database::new(LARGE);
    let context = database.session(database.provider(&table("large")).await.unwrap());
    let plan = context.sql("SELECT * FROM t").await.unwrap().create_physical_plan().await.unwrap();
    let mut stream = execute_stream(plan, context.task_ctx()).unwrap();
    assert!(stream.next().await.unwrap().is_ok());
    let ended = database.value(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
         WHERE datname = current_database() AND query LIKE 'COPY%'",
    );
    assert_eq!(ended, "1");
    let error = loop {
        match stream.next().await.expect("an error before the end") {
            Ok(_) => {}
            Err(error) => break EngineError::from(error),
        }
    };
    check(&error, ErrorClass::Unavailable, "source-unavailable", &[]);
}

#[tokio::test]
async fn a_server_that_crashes_in_mid_read_is_unavailable_and_its_snapshot_gone() {
    let database = Database::at(Arc::new(Server::start()), LARGE);
    let context = database.session(database.provider(&table("large")).await.unwrap());
    let plan = context.sql("SELECT * FROM t").await.unwrap().create_physical_plan().await.unwrap();
    let mut stream = execute_stream(Arc::clone(&plan), context.task_ctx()).unwrap();
    assert!(stream.next().await.unwrap().is_ok());
    database.server.crash();
    let error = loop {
        match stream.next().await.expect("an error before the end") {
            Ok(_) => {}
            Err(error) => break EngineError::from(error),
        }
    };
    check(&error, ErrorClass::Unavailable, "source-unavailable", &[]);
    let error = EngineError::from(collect(plan, context.task_ctx()).await.unwrap_err());
    check(&error, ErrorClass::Unavailable, "source-unavailable", &["127.0.0.1"]);
}

#[tokio::test]
async fn a_task_without_its_snapshot_asks_for_the_step_again() {
    let database = Database::new("CREATE TABLE g (id integer); INSERT INTO g VALUES (1)");
    let context = database.session(database.provider(&table("g")).await.unwrap());
    let plan = context.sql("SELECT * FROM t").await.unwrap().create_physical_plan().await.unwrap();
    let bytes = codec::encode_plan(&plan, codec::codec().as_ref()).unwrap();
    let travelled = || codec::decode_plan(&bytes, &context.task_ctx(), codec::codec().as_ref()).unwrap();

    // A plan keeps the snapshot when the provider is gone.
    context.deregister_table("t").unwrap();
    assert_eq!(rows(&collect(travelled(), context.task_ctx()).await.unwrap()), 1);

    // Without either, the server drops it as soon as it has noticed.
    drop(plan);
    let error = loop {
        match collect(travelled(), context.task_ctx()).await {
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => break EngineError::from(error),
        }
    };
    check(&error, ErrorClass::Unavailable, "source-snapshot", &["run the step again"]);
    let idle = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    while database.value(idle) != "0" {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_dropped_read_leaves_no_session_behind() {
    let database = Database::new(LARGE);
    let context = database.session(database.provider(&table("large")).await.unwrap());
    let plan: Arc<dyn ExecutionPlan> =
        context.sql("SELECT * FROM t").await.unwrap().create_physical_plan().await.unwrap();
    let mut stream = execute_stream(plan, context.task_ctx()).unwrap();
    assert!(stream.next().await.unwrap().is_ok());
    drop(stream);
    let reading = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'COPY%'";
    while database.value(reading) != "0" {
        tokio::task::yield_now().await;
    }
}
