//! What depends on chance or on the clock is decided once, whatever is lost in between.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use lake_tests::cluster::Cluster;
use lake_tests::fixture::Workspace;
use lake_tests::oracle::Oracle;
use lake_tests::postgres::Postgres;
use lake_tests::process::signal;
use lake_tests::{DEADLINE, wait_for};
use rustix::process::Signal;
use serde_json::Value;

const IDS: u64 = 10_000;

/// Each number from `first` to `last` once. The planner believes that there are so many that no query over them is
/// small enough to run uncut; it is not inlined, so that it goes on to believe it.
pub(super) const NUMBERS: &str = "CREATE FUNCTION numbers(first bigint, last bigint) RETURNS SETOF bigint LANGUAGE plpgsql \
                       VOLATILE ROWS 100000000 AS $$ BEGIN RETURN QUERY SELECT generate_series(first, last); END $$";

/// Every id gets one of a thousand buckets by chance and meets it once: in the task that reads the upper half of them,
/// which stops before the gate, or in the one that reads the lower half. Both read the same ids, which one stage has
/// written as shuffle files.
pub(super) const JOB: &str = r#"
[connection.crm]
kind = "postgres"
url = { env = "CRM_URL" }

[[source]]
name = "upper_half"
connection = "crm"
query = "SELECT CASE WHEN n = 900 THEN gate(n) ELSE n END AS bucket FROM numbers(500, 999) AS n"

[[source]]
name = "lower_half"
connection = "crm"
query = "SELECT n AS bucket FROM numbers(0, 499) AS n"

[[source]]
name = "ids"
kind = "files"
format = "csv"
path = "ids.csv"
schema = { id = "bigint" }

[[table]]
name = "gold.pairs"
mode = "overwrite"
sql = """
SELECT i.id, b.bucket
FROM (SELECT id, CAST(floor(random() * 1000) AS BIGINT) AS bucket FROM ids) i
JOIN (SELECT bucket FROM upper_half UNION ALL SELECT bucket FROM lower_half) b ON i.bucket = b.bucket
"""
"#;

pub(super) fn ids_csv() -> String {
    let mut text = "id\n".to_owned();
    for id in 1..=IDS {
        text.push_str(&format!("{id}\n"));
    }
    text
}

/// Whether the folder holds a shuffle file, at any depth.
fn holds_shuffle_file(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|path| {
        let is_file = path.extension().is_some_and(|extension| extension == "arrow");
        is_file || (path.is_dir() && holds_shuffle_file(&path))
    })
}

/// Every id of [`ids_csv`] is in the table of [`JOB`], once.
pub(super) fn assert_ids_once(table: &str) -> Result<()> {
    let rows = Oracle::new().rows(table)?;
    let number = |value: &Value| value.as_str().context("no text")?.parse::<u64>().context("no number");
    let mut ids = rows.iter().map(|row| number(row.get(0).context("no id")?)).collect::<Result<Vec<u64>>>()?;
    ids.sort_unstable();
    assert!(ids.iter().copied().eq(1..=IDS), "{} rows, expected each of 1..={IDS} once", ids.len());
    Ok(())
}

#[test]
fn rows_placed_by_chance_are_all_there_once_after_a_worker_was_lost_between_their_readers() -> Result<()> {
    let server = Postgres::start()?;
    server.psql("crm", NUMBERS)?;
    let mut cluster = Cluster::builder().env("CRM_URL", &server.url()).start(2)?;
    let workspace = Workspace::new()?;
    workspace.file("ids.csv", ids_csv())?;
    let job = workspace.job("by-chance", JOB)?;
    let gate = server.close_gate()?;
    // The driver is the client, so that the loss of a worker is not the loss of the driver.
    let submit = cluster.submit().args(["--deploy-mode", "client"]).env("CRM_URL", &server.url()).arg(&job);
    let mut client = submit.start(workspace.path())?;
    gate.wait_for_visitors(1)?;
    let written = wait_for("the data file of the reader that is not held", DEADLINE, || {
        let files = workspace.data_files("gold.pairs");
        (!files.is_empty()).then_some(files)
    })?;
    // The ids as both readers have read them are lost, while one of the two has done its work.
    let victim = (0..2).find(|worker| holds_shuffle_file(&cluster.work_directory(*worker)));
    cluster.kill_worker(victim.context("no worker holds a shuffle file: the query was not cut")?)?;
    gate.open()?;
    let status = client.wait(DEADLINE)?;
    assert_eq!(status.code(), Some(0), "{}", client.stderr());
    let url = workspace.table("gold.pairs");
    assert_ids_once(&url)?;
    let commits = Oracle::new().commits(&url)?;
    let added: Vec<&String> = commits.iter().flat_map(|commit| &commit.added).collect();
    let is_orphan = |name: &String| !added.iter().any(|path| path.ends_with(name.as_str()));
    assert!(written.iter().all(is_orphan), "what had read the lost ids was not run again: {written:?}, {added:?}");
    Ok(())
}

#[test]
fn every_step_of_a_run_has_the_same_now_also_after_its_driver_was_lost() -> Result<()> {
    const STEPS: &str = r#"
[connection.crm]
kind = "postgres"
url = { env = "CRM_URL" }

[[source]]
name = "held"
connection = "crm"
query = "SELECT gate(1) AS one"

[[source]]
name = "one"
kind = "files"
format = "csv"
path = "one.csv"
schema = { one = "bigint" }

[[table]]
name = "bronze.early"
mode = "overwrite"
sql = "SELECT CAST(now() AS VARCHAR) AS moment, CAST(current_date AS VARCHAR) AS day FROM one"

[[table]]
name = "bronze.late"
mode = "overwrite"
sql = "SELECT CAST(current_timestamp AS VARCHAR) AS moment, CAST(today() AS VARCHAR) AS day FROM held WHERE one = 1"
"#;
    let server = Postgres::start()?;
    let cluster = Cluster::builder().env("CRM_URL", &server.url()).start(2)?;
    let workspace = Workspace::new()?;
    workspace.file("one.csv", "one\n1\n")?;
    let job = workspace.job("moments", STEPS)?;
    let gate = server.close_gate()?;
    let id = cluster.submit_detached(|submit| submit.arg(&job))?;
    gate.wait_for_visitors(1)?;
    wait_for("the first step's commit", DEADLINE, || {
        workspace.tables_with_data().contains(&"bronze.early".to_owned()).then_some(())
    })?;
    let (_, driver) = cluster.wait_for_driver()?;
    signal(driver, Signal::KILL)?;
    gate.open()?;
    let status = cluster.wait_finished(&id)?;
    assert!(status.get("attempt").and_then(Value::as_u64) >= Some(2), "{status}");
    let mut moments = BTreeSet::new();
    for table in ["bronze.early", "bronze.late"] {
        let rows = Oracle::new().rows(&workspace.table(table))?;
        assert_eq!(rows.len(), 1, "{table}: {rows:?}");
        moments.extend(rows.iter().map(Value::to_string));
    }
    assert_eq!(moments.len(), 1, "{moments:?}");
    Ok(())
}
