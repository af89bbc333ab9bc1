//! Bad input gets a clear error with class and exit code, and nothing half-done.

use std::path::Path;

use anyhow::{Context, Result};
use lake_tests::cluster::Cluster;
use lake_tests::fixture::{Workspace, numbers_csv, tpch};
use lake_tests::http::get;
use lake_tests::oracle::Oracle;
use lake_tests::postgres::Postgres;
use lake_tests::s3::S3;
use lake_tests::submit::{Run, Submit};

const NUMBERS: &str = r#"
[[source]]
name = "numbers"
kind = "files"
format = "csv"
path = "numbers.csv"
mode = "fail_fast"
schema = { id = "bigint", bucket = "int", amount = "decimal(12,2)" }

[[table]]
name = "bronze.numbers"
from = "numbers"
mode = "overwrite"
"#;

fn local(job: &Path) -> Result<Run> {
    Submit::local().arg(job).run()
}

/// The job in `text` fails in local mode as told, and no table has got data.
fn refused(text: &str, class: &str, code: &str, texts: &[&str]) -> Result<()> {
    let workspace = Workspace::new()?;
    workspace.file("numbers.csv", numbers_csv(100))?;
    let job = workspace.job("bad", text)?;
    local(&job)?.failed(class, code, texts)?;
    assert_eq!(workspace.tables_with_data(), [""; 0], "half-done");
    Ok(())
}

#[test]
fn broken_toml_names_the_line() -> Result<()> {
    refused("[[source\nname = 1\n", "invalid-job", "toml-syntax", &["job.toml:7"])
}

#[test]
fn an_unknown_key_gets_a_suggestion() -> Result<()> {
    let text = NUMBERS.replace("mode = \"overwrite\"", "mdoe = \"overwrite\"");
    refused(&text, "invalid-job", "unknown-key", &["job.toml:", "mdoe", "did you mean 'mode'?"])
}

#[test]
fn a_cycle_between_tables_is_named() -> Result<()> {
    let text = r#"
[[table]]
name = "a.one"
sql = "SELECT * FROM a.two"
mode = "overwrite"

[[table]]
name = "a.two"
sql = "SELECT * FROM a.one"
mode = "overwrite"
"#;
    refused(text, "invalid-job", "cycle", &["a.one", "a.two"])
}

#[test]
fn two_tables_with_one_name_are_refused() -> Result<()> {
    let table = "\n[[table]]\nname = \"bronze.numbers\"\nfrom = \"numbers\"\nmode = \"append\"\n";
    refused(&(NUMBERS.to_owned() + table), "invalid-job", "duplicate-name", &["bronze.numbers"])
}

#[test]
fn sql_with_a_syntax_error_is_refused_at_its_place() -> Result<()> {
    let text =
        NUMBERS.to_owned() + "\n[[table]]\nname = \"g.t\"\nsql = \"SELECT (1 FROM numbers\"\nmode = \"overwrite\"\n";
    refused(&text, "invalid-job", "sql-syntax", &["job.toml:"])
}

#[test]
fn sql_that_does_not_plan_is_refused_at_its_place_before_anything_is_written() -> Result<()> {
    let sql = "\n[[table]]\nname = \"gold.t\"\nsql = \"SELECT amuont FROM numbers\"\nmode = \"overwrite\"\n";
    refused(&(NUMBERS.to_owned() + sql), "invalid-job", "sql-plan", &["gold.t", "amuont", "job.toml:"])
}

#[test]
fn what_a_later_version_executes_is_refused_and_not_ignored() -> Result<()> {
    let merge = NUMBERS.replace("mode = \"overwrite\"", "mode = \"merge\"\nkeys = [\"id\"]");
    refused(&merge, "invalid-job", "not-supported", &["merge"])?;
    let quarantine =
        NUMBERS.to_owned() + "[[table.expect]]\nname = \"e\"\ncheck = \"id > 0\"\naction = \"quarantine\"\n";
    refused(&quarantine, "invalid-job", "not-supported", &["quarantine"])?;
    let incremental = NUMBERS.replace("mode = \"fail_fast\"", "incremental = true");
    refused(&incremental, "invalid-job", "not-supported", &["incremental"])
}

#[test]
fn a_missing_source_file_is_not_found() -> Result<()> {
    refused(&NUMBERS.replace("numbers.csv", "nothing.csv"), "not-found", "source-files", &["nothing.csv"])
}

#[test]
fn a_missing_table_of_the_warehouse_is_not_found() -> Result<()> {
    let text = "[[table]]\nname = \"g.t\"\nsql = \"SELECT * FROM other.missing\"\nmode = \"overwrite\"\n";
    refused(text, "not-found", "table", &["other.missing"])
}

#[test]
fn a_line_with_too_many_columns_fails_fast_or_is_rescued() -> Result<()> {
    let workspace = Workspace::new()?;
    workspace.file("numbers.csv", numbers_csv(100) + "101,1,2.00,surplus\n102,2,2.25\n")?;
    let job = workspace.job("columns", NUMBERS)?;
    local(&job)?.failed("data-quality", "bad-record", &["numbers.csv", "bronze.numbers"])?;
    assert_eq!(workspace.tables_with_data(), [""; 0]);

    let job = workspace.job("columns", &NUMBERS.replace("fail_fast", "permissive"))?;
    local(&job)?.succeeded()?;
    let rows = Oracle::new().rows(&workspace.table("bronze.numbers"))?;
    assert_eq!(rows.len(), 102);

    let job = workspace.job("columns", &NUMBERS.replace("fail_fast", "drop"))?;
    local(&job)?.succeeded()?;
    assert_eq!(Oracle::new().rows(&workspace.table("bronze.numbers"))?.len(), 101);
    Ok(())
}

#[test]
fn bytes_that_are_not_utf8_are_refused() -> Result<()> {
    let workspace = Workspace::new()?;
    let text = NUMBERS.replace("bucket = \"int\"", "bucket = \"string\"");
    let job = workspace.job("utf8", &text)?;
    workspace.file("numbers.csv", [numbers_csv(10).as_bytes(), b"11,\xff\xfe,1.00\n"].concat())?;
    local(&job)?.failed("data-quality", "bad-file", &["numbers.csv", "UTF-8"])?;
    assert_eq!(workspace.tables_with_data(), [""; 0]);
    Ok(())
}

#[test]
fn a_truncated_parquet_file_is_refused() -> Result<()> {
    let workspace = Workspace::new()?;
    tpch(&workspace.path().join("raw"), "parquet", "0.001")?;
    let folder = workspace.path().join("raw/orders");
    let file = std::fs::read_dir(&folder)?.next().context("no file")??.path();
    let bytes = std::fs::read(&file)?;
    std::fs::write(&file, bytes.get(..bytes.len() / 2).unwrap_or_default())?;
    let text = r#"
[[source]]
name = "orders"
kind = "files"
format = "parquet"
path = "raw/orders/"

[[table]]
name = "bronze.orders"
from = "orders"
mode = "overwrite"
"#;
    let job = workspace.job("truncated", text)?;
    let name = file.file_name().and_then(|name| name.to_str()).context("no name")?.to_owned();
    local(&job)?.failed("data-quality", "bad-file", &[&name])?;
    assert_eq!(workspace.tables_with_data(), [""; 0]);
    Ok(())
}

const CRM: &str = r#"
[connection.crm]
kind = "postgres"
url = { env = "CRM_URL" }

[[source]]
name = "numbers"
connection = "crm"
query = "SELECT n AS id, CASE WHEN n = 200000 THEN gate(n) ELSE n END AS checked FROM generate_series(1::bigint, 400000) AS n"

[[table]]
name = "bronze.numbers"
from = "numbers"
mode = "append"
"#;

#[test]
fn a_wrong_postgres_password_is_denied_and_never_printed() -> Result<()> {
    let server = Postgres::start()?;
    let workspace = Workspace::new()?;
    let job = workspace.job("denied", CRM)?;
    let url = server.url_with_password("wrong-secret");
    let run = Submit::local().env("CRM_URL", &url).arg(&job).run()?;
    let run = run.failed("denied", "source-denied", &["crm"])?;
    assert!(!run.stderr.contains("wrong-secret"), "{run}");

    let cluster = Cluster::builder().env("CRM_URL", &url).start(1)?;
    let run = cluster.submit().args(["--no-supervise"]).arg(&job).run()?;
    let run = run.failed("denied", "source-denied", &["crm"])?;
    assert!(!run.stderr.contains("wrong-secret"), "{run}");
    assert_eq!(workspace.tables_with_data(), [""; 0]);
    Ok(())
}

#[test]
fn a_variable_that_is_not_set_is_named() -> Result<()> {
    let workspace = Workspace::new()?;
    let job = workspace.job("secret", CRM)?;
    local(&job)?.failed("not-found", "secret", &["CRM_URL"])?;
    Ok(())
}

#[test]
fn a_postgres_server_that_goes_in_mid_read_is_unavailable_and_nothing_is_committed() -> Result<()> {
    let mut server = Postgres::start()?;
    let workspace = Workspace::new()?;
    let job = workspace.job("gone", CRM)?;
    let submit = Submit::local().env("CRM_URL", &server.url()).arg(&job);
    let gate = server.close_gate()?;
    let mut process = submit.start(workspace.path())?;
    gate.wait_for_visitors(1)?;
    // The gate falls with the server.
    std::mem::forget(gate);
    server.crash()?;
    let status = process.wait(lake_tests::DEADLINE)?;
    assert_eq!(status.code(), Some(6), "{}", process.stderr());
    assert!(process.stderr().contains("error[unavailable/"), "{}", process.stderr());
    assert_eq!(workspace.tables_with_data(), [""; 0]);
    Ok(())
}

fn numbers_on(bucket: &str) -> Result<(Workspace, std::path::PathBuf)> {
    let workspace = Workspace::new()?;
    workspace.file("numbers.csv", numbers_csv(100))?;
    let text = format!("[job]\nname = \"s3\"\n[warehouse]\nroot = \"s3://{bucket}/lake\"\n{NUMBERS}");
    let job = workspace.file("job.toml", text)?;
    Ok((workspace, job))
}

#[test]
fn an_object_store_that_cannot_be_reached_is_unavailable() -> Result<()> {
    let mut store = S3::start(&["lakehouse"])?;
    let environment = store.environment();
    store.kill()?;
    let (_workspace, job) = numbers_on("lakehouse")?;
    Submit::local().envs(&environment).arg(&job).run()?.failed("unavailable", "store", &["s3://lakehouse"])?;
    Ok(())
}

#[test]
fn a_bucket_that_does_not_exist_is_not_found() -> Result<()> {
    let store = S3::start(&["other"])?;
    let (_workspace, job) = numbers_on("lakehouse")?;
    let run = Submit::local().envs(&store.environment()).arg(&job).run()?;
    run.failed("not-found", "object-not-found", &["lakehouse"])?;
    Ok(())
}

#[test]
fn a_damaged_entry_of_a_tables_log_is_one_line_with_its_file() -> Result<()> {
    let workspace = Workspace::new()?;
    workspace.file("numbers.csv", numbers_csv(100))?;
    let job = workspace.job("damaged", &NUMBERS.replace("overwrite", "append"))?;
    local(&job)?.succeeded()?;
    workspace.file("warehouse/bronze/numbers/_delta_log/00000000000000000001.json", "{\"commitInfo\":\n")?;
    let run = Submit::local().env("RUST_BACKTRACE", "1").arg(&job).run()?;
    let run = run.failed("internal", "delta-log", &["bronze.numbers", "00000000000000000001.json' line 1, "])?;
    assert!(!run.stderr.contains("   0: ") && !run.stderr.contains("stack backtrace"), "{run}");
    Ok(())
}

#[test]
fn a_bucket_of_a_name_that_none_can_have_is_an_error_of_the_job() -> Result<()> {
    let (_workspace, job) = numbers_on("lh")?;
    local(&job)?.failed("invalid-job", "invalid-url", &["'lh' is not a name of a bucket"])?;
    let store = S3::start(&["other"])?;
    let (_workspace, job) = numbers_on("Lake_House")?;
    for submit in [Submit::local(), Submit::local().arg("--dry-run")] {
        let run = submit.envs(&store.environment()).arg(&job).run()?;
        run.failed("invalid-job", "url-bucket", &["Lake_House"])?;
    }
    Ok(())
}

#[test]
fn a_warehouse_where_nothing_can_be_written_is_denied() -> Result<()> {
    let workspace = Workspace::new()?;
    workspace.file("numbers.csv", numbers_csv(100))?;
    let job = workspace.job("denied", NUMBERS)?;
    let run = Submit::local().warehouse("/proc/lake").arg(&job).run()?;
    run.failed("denied", "file-denied", &["bronze.numbers", "/proc/lake"])?;
    Ok(())
}

#[test]
fn a_store_that_ignores_conditions_is_refused_before_anything_is_written() -> Result<()> {
    let store = S3::start_with(&["lakehouse"], &["--ignore-conditions"])?;
    let (_workspace, job) = numbers_on("lakehouse")?;
    let run = Submit::local().envs(&store.environment()).arg(&job).run()?;
    run.failed("invalid-job", "store-unsafe", &["If-None-Match"])?;
    assert!(!store.bucket_directory("lakehouse").join("lake/bronze/numbers").exists());
    Ok(())
}

#[test]
fn wrong_keys_of_a_store_are_denied() -> Result<()> {
    let store = S3::start(&["lakehouse"])?;
    let (_workspace, job) = numbers_on("lakehouse")?;
    let submit = Submit::local().envs(&store.environment()).env("AWS_SECRET_ACCESS_KEY", "not-the-secret");
    let run = submit.arg(&job).run()?.failed("denied", "store-denied", &["s3://lakehouse"])?;
    assert!(!run.stderr.contains("not-the-secret"), "{run}");
    Ok(())
}

#[test]
fn a_table_of_a_newer_delta_protocol_is_refused_by_readers_and_writers() -> Result<()> {
    let workspace = Workspace::new()?;
    workspace.file("numbers.csv", numbers_csv(100))?;
    let schema =
        r#"{\"type\":\"struct\",\"fields\":[{\"name\":\"id\",\"type\":\"long\",\"nullable\":true,\"metadata\":{}}]}"#;
    let log = format!(
        "{}\n{}\n",
        r#"{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["fromTheFuture"],"writerFeatures":["fromTheFuture"]}}"#,
        format_args!(
            r#"{{"metaData":{{"id":"6d3cbd5e-0d26-4d5f-9d5b-0d1d8e3c0001","format":{{"provider":"parquet","options":{{}}}},"schemaString":"{schema}","partitionColumns":[],"configuration":{{}},"createdTime":0}}}}"#
        ),
    );
    workspace.file("warehouse/bronze/numbers/_delta_log/00000000000000000000.json", &log)?;
    let job = workspace.job("future", NUMBERS)?;
    local(&job)?.failed("invalid-job", "delta-protocol", &["bronze.numbers", "fromTheFuture"])?;
    let text = "[[table]]\nname = \"g.t\"\nsql = \"SELECT * FROM bronze.numbers\"\nmode = \"overwrite\"\n";
    let job = workspace.job("future", text)?;
    local(&job)?.failed("invalid-job", "delta-protocol", &["bronze.numbers", "fromTheFuture"])?;
    assert_eq!(workspace.tables_with_data(), [""; 0]);
    Ok(())
}

/// Sorts rows that are larger than the memory it is given.
const SORT: &str = r#"
[[source]]
name = "numbers"
kind = "files"
format = "csv"
path = "numbers.csv"
schema = { id = "bigint", bucket = "int", amount = "decimal(12,2)" }

[[table]]
name = "gold.sorted"
mode = "overwrite"
sql = """
SELECT id, row_number() OVER (ORDER BY word) AS place
FROM (SELECT a.id, repeat(md5(cast(a.id * 1000 + b.bucket AS string)), 4) AS word FROM numbers AS a CROSS JOIN
      (SELECT DISTINCT bucket FROM numbers) AS b)
"""
"#;

/// The step's sort had no room: on the disk, or in the memory that it may use once nothing can be written there.
fn assert_no_room(run: Run) -> Result<()> {
    let run = run.failed("resource", "", &["gold.sorted"])?;
    let is_expected = |code: &str| run.stderr.contains(&format!("error[resource/{code}]: "));
    assert!(is_expected("disk-full") || is_expected("memory"), "{run}");
    Ok(())
}

#[test]
fn a_full_spill_directory_is_resource() -> Result<()> {
    let workspace = Workspace::new()?;
    workspace.file("numbers.csv", numbers_csv(200_000))?;
    let job = workspace.job("full", SORT)?;
    let disk = workspace.path().join("disk");
    let submit = Submit::new().args(["--deploy-mode", "local", "--driver-memory", "128m"]);
    let submit = submit.arg("--local-dir").arg(&disk).on_disk(&disk, 8 << 20);
    assert_no_room(submit.arg(&job).run()?)?;
    assert_eq!(workspace.tables_with_data(), [""; 0]);
    Ok(())
}

#[test]
fn a_full_shuffle_directory_is_resource_and_the_worker_stays_up() -> Result<()> {
    let workspace = Workspace::new()?;
    workspace.file("numbers.csv", numbers_csv(200_000))?;
    let job = workspace.job("full", SORT)?;
    let mut cluster =
        Cluster::builder().work_disk(8 << 20).worker_argument("--memory").worker_argument("512m").start(2)?;
    assert_no_room(cluster.submit().args(["--no-supervise"]).arg(&job).run()?)?;
    assert_eq!(workspace.tables_with_data(), [""; 0]);
    for number in 0..2 {
        assert!(cluster.worker(number)?.is_running(), "worker {number} has ended");
    }
    // The disk is free again and the workers are as good as before.
    let job = workspace.job("small", &NUMBERS.replace("fail_fast", "permissive"))?;
    cluster.submit().arg(&job).run()?.succeeded()?;
    Ok(())
}

#[test]
fn a_sort_larger_than_memory_spills_and_finishes() -> Result<()> {
    let workspace = Workspace::new()?;
    workspace.file("numbers.csv", numbers_csv(300_000))?;
    let job = workspace.job("large", SORT)?;
    let mut cluster = Cluster::builder().worker_argument("--memory").worker_argument("512m").start(1)?;
    cluster.submit().args(["--no-supervise"]).arg(&job).run()?.succeeded()?;
    assert_eq!(Oracle::new().count(&workspace.table("gold.sorted"))?, 3_000_000);
    let metrics = get(&cluster.worker_http_address(0)?, "/metrics")?;
    let spilled = metrics.lines().find_map(|line| line.strip_prefix("lake_worker_spilled_bytes_total "));
    let spilled: u64 = spilled.context("no figure of what was spilled")?.parse()?;
    assert!(spilled > 0, "nothing was spilled:\n{metrics}");
    Ok(())
}

/// Keeps all rows of one side in memory, and that cannot spill. The rows are larger than the memory on either side.
const CROSS_JOIN: &str = r#"
[[source]]
name = "numbers"
kind = "files"
format = "csv"
path = "numbers.csv"
schema = { id = "bigint", bucket = "int", amount = "decimal(12,2)" }

[[table]]
name = "gold.joined"
mode = "overwrite"
sql = """
WITH words AS (
    SELECT repeat(md5(cast(a.id * 1000 + b.bucket AS string)), 4) AS word
    FROM numbers AS a CROSS JOIN (SELECT DISTINCT bucket FROM numbers) AS b
)
SELECT max(a.word || b.word) AS longest FROM words AS a CROSS JOIN words AS b
"""
"#;

#[test]
fn a_join_larger_than_memory_is_resource_and_the_worker_stays_up() -> Result<()> {
    let workspace = Workspace::new()?;
    workspace.file("numbers.csv", numbers_csv(600_000))?;
    let job = workspace.job("large", CROSS_JOIN)?;
    let mut cluster = Cluster::builder().worker_argument("--memory").worker_argument("512m").start(1)?;
    // Without its limit of memory the join would take years.
    let submit = cluster.submit().args(["--no-supervise", "--conf", "job.timeout=10m"]);
    submit.arg(&job).run()?.failed("resource", "memory", &["gold.joined"])?;
    assert_eq!(workspace.tables_with_data(), [""; 0]);
    assert!(cluster.worker(0)?.is_running());
    let job = workspace.job("small", &NUMBERS.replace("fail_fast", "permissive"))?;
    cluster.submit().arg(&job).run()?.succeeded()?;
    Ok(())
}

#[test]
fn a_violated_expectation_with_action_fail_commits_nothing() -> Result<()> {
    let expect = "[[table.expect]]\nname = \"few\"\ncheck = \"id < 50\"\naction = \"fail\"\n";
    refused(&(NUMBERS.to_owned() + expect), "data-quality", "expectation", &["bronze.numbers", "few", "51"])
}

#[test]
fn a_job_of_ten_megabytes_is_refused_at_once() -> Result<()> {
    let workspace = Workspace::new()?;
    let job = workspace.file("job.toml", "# a comment\n".repeat(10 * 1024 * 1024 / 12))?;
    local(&job)?.failed("invalid-job", "too-large", &["1 MiB"])?;
    Ok(())
}

#[test]
fn a_job_file_that_does_not_exist_is_not_found() -> Result<()> {
    local(Path::new("/nowhere/job.toml"))?.failed("not-found", "job-file", &["/nowhere/job.toml"])?;
    Ok(())
}

#[test]
fn the_cluster_tells_the_same_class_as_local_mode() -> Result<()> {
    let cluster = Cluster::start()?;
    let workspace = Workspace::new()?;
    workspace.file("numbers.csv", numbers_csv(100) + "x,y\n")?;
    let missing = NUMBERS.replace("numbers.csv", "nothing.csv");
    let column =
        NUMBERS.to_owned() + "\n[[table]]\nname = \"g.t\"\nsql = \"SELECT nope FROM numbers\"\nmode = \"append\"\n";
    for (text, class) in [(NUMBERS, "data-quality"), (&missing, "not-found"), (&column, "invalid-job")] {
        let job = workspace.job("same", text)?;
        let here = local(&job)?.failed(class, "", &[])?;
        let there = cluster.submit().arg(&job).run()?.failed(class, "", &[])?;
        let head = |run: &Run| {
            let line = run.stderr.lines().find(|line| line.starts_with("error[")).unwrap_or_default();
            line.split(']').next().unwrap_or_default().to_owned()
        };
        assert_eq!(head(&here), head(&there));
    }
    assert_eq!(workspace.tables_with_data(), [""; 0]);
    Ok(())
}
