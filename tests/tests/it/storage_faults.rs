//! An object store that refuses, stalls, breaks off and loses its answers. Every test shows that its faults have fired
//! and compares the tables row by row.

use anyhow::Result;
use lake_tests::cluster::Cluster;
use lake_tests::fixture::Workspace;
use lake_tests::oracle::Oracle;
use lake_tests::s3::S3;
use serde_json::Value;

const JOB: &str = r#"
[[table]]
name = "bronze.numbers"
mode = "append"
sql = "SELECT value AS number, md5(CAST(value AS varchar)) AS word FROM generate_series(1, 20000)"

[[table]]
name = "silver.numbers"
mode = "overwrite"
sql = "SELECT number % 100 AS bucket, word FROM bronze.numbers"
partition_by = ["bucket"]

[[table]]
name = "gold.numbers"
mode = "replace_where"
replace_where = "bucket >= 0"
sql = "SELECT bucket, count(*) AS numbers FROM silver.numbers GROUP BY bucket"
"#;

/// Runs the job on a cluster over a store with faults; the server is given back for its count of faults.
fn run(name: &str, faults: &[&str]) -> Result<(lake_tests::submit::Run, S3, Workspace)> {
    let store = S3::start_with_faults(&["lake"], 7, faults)?;
    let cluster = Cluster::builder().envs(&store.environment()).start(2)?;
    let workspace = Workspace::new()?;
    let job = workspace.job(name, JOB)?;
    // One attempt of the driver: what its tasks and commits do is what is tested.
    let run = cluster.submit().warehouse("s3://lake/warehouse").arg("--no-supervise").arg(&job).run()?;
    Ok((run, store, workspace))
}

/// Every number once, and one commit with data per table.
fn assert_right(store: &S3) -> Result<()> {
    let oracle = Oracle::with(&store.environment());
    assert_eq!(oracle.rows("s3://lake/warehouse/bronze/numbers")?.len(), 20_000);
    assert_eq!(oracle.rows("s3://lake/warehouse/silver/numbers")?.len(), 20_000);
    let gold = oracle.rows("s3://lake/warehouse/gold/numbers")?;
    assert_eq!(gold.len(), 100);
    assert!(gold.iter().all(|row| row.get(1) == Some(&Value::from("200"))), "{gold:?}");
    for table in ["bronze", "silver", "gold"] {
        let commits = oracle.commits(&format!("s3://lake/warehouse/{table}/numbers"))?;
        let with_data = commits.iter().filter(|commit| !commit.added.is_empty()).count();
        assert_eq!(with_data, 1, "{table}: {commits:?}");
    }
    Ok(())
}

#[test]
fn a_commit_whose_answer_is_lost_is_one_commit_and_a_success() -> Result<()> {
    for kind in ["lost", "lost-500"] {
        let (run, store, _workspace) = run(kind, &[&format!("{kind}:PUT:/_delta_log/0:0.7")])?;
        assert_eq!(run.code, 0, "{kind}: {run}");
        assert!(store.fired(kind) > 0, "the fault did not happen");
        assert_right(&store)?;
    }
    Ok(())
}

#[test]
fn refusals_resets_and_half_answers_are_tried_again() -> Result<()> {
    let faults = ["slow-down:*:/lake/:0.05", "error:*:/lake/:0.05", "reset:*:/lake/:0.03", "truncated:GET:/lake/:0.05"];
    let (run, store, _workspace) = run("refusals", &faults)?;
    assert_eq!(run.code, 0, "{run}");
    let fired: Vec<usize> = ["slow-down", "error", "reset", "truncated"].map(|kind| store.fired(kind)).into();
    assert!(fired.iter().all(|count| *count > 0), "{fired:?}");
    assert_right(&store)
}

#[test]
fn a_store_that_is_away_when_a_job_starts_delays_the_job_and_does_not_end_it() -> Result<()> {
    let mut store = S3::start_with_faults(&["lake"], 7, &["slow-down:*:/lake/:1"])?;
    let cluster = Cluster::builder().envs(&store.environment()).start(2)?;
    let workspace = Workspace::new()?;
    let job = workspace.job("away", JOB)?;
    let id = cluster.submit_detached(|submit| submit.warehouse("s3://lake/warehouse").arg(&job))?;
    // The driver has tried for a while and given up its first launch.
    let status = cluster.wait_for_state(&id, &["RELAUNCHING", "FINISHED", "FAILED", "ERROR"])?;
    let text = |status: &Value, field: &str| status.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    assert_eq!(text(&status, "state"), "RELAUNCHING", "{status}");
    assert!(text(&status, "waits_for").starts_with("its next attempt, at "), "{status}");
    assert!(store.fired("slow-down") > 0, "the fault did not happen");
    store.heal()?;
    let status = cluster.wait_finished(&id)?;
    assert_eq!(status.get("attempt").and_then(Value::as_u64), Some(2), "{status}");
    assert_right(&store)
}

#[test]
fn a_store_that_takes_no_file_for_a_while_costs_a_task_some_of_its_attempts() -> Result<()> {
    // More than the retries of two attempts, fewer than those of three.
    let (run, store, _workspace) = run("for-a-while", &["slow-down:PUT:.parquet:1:20"])?;
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(store.fired("slow-down"), 20);
    assert_right(&store)
}

#[test]
fn a_store_that_refuses_for_ever_is_unavailable_and_expired_keys_are_denied() -> Result<()> {
    let (run, store, _workspace) = run("for-ever", &["slow-down:PUT:.parquet:1"])?;
    run.failed("unavailable", "", &["bronze.numbers"])?;
    assert!(store.fired("slow-down") > 0);

    let (run, store, _workspace) = self::run("expired", &["expired:PUT:.parquet:1"])?;
    run.failed("denied", "", &["bronze.numbers"])?;
    assert!(store.fired("expired") > 0);
    Ok(())
}
