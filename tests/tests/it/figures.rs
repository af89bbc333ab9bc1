//! What tasks tell of themselves: rows and bytes that they read and wrote, and the time it took, against what is in the
//! table.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use lake_tests::cluster::Cluster;
use lake_tests::fixture::{Workspace, numbers_csv};
use lake_tests::http::get;
use lake_tests::submit::{Submit, app_id};
use lake_tests::{DEADLINE, wait_for};
use serde_json::{Value, json};

/// What both jobs over numbers begin with.
const BRONZE: &str = r#"
[[source]]
name = "numbers"
kind = "files"
format = "csv"
path = "numbers-*.csv"
schema = { id = "bigint", bucket = "int", amount = "decimal(12,2)" }

[[table]]
name = "bronze.numbers"
from = "numbers"
mode = "overwrite"
"#;
const EVEN: &str = r#"
[[table]]
name = "silver.even"
mode = "overwrite"
sql = "SELECT * FROM bronze.numbers WHERE id % 2 = 0"
"#;
const ROWS: u32 = 900;
const WRITTEN: usize = FILES * ROWS as usize;
const FILES: usize = 3;

/// The only stage of the query that wrote `table`, once it has told its figures.
fn stage_of(address: &str, root: &str, table: &str) -> Result<Value> {
    wait_for("the figures of a writing stage", DEADLINE, || {
        let stages: Vec<Value> = serde_json::from_str(&get(address, &format!("{root}/stages")).ok()?).ok()?;
        let stage = stages.into_iter().find(|stage| {
            stage.get("description") == Some(&json!(table))
                && number(stage, "/outputRecords").is_ok_and(|rows| rows > 0)
        })?;
        let path = format!("{root}/stages/{}/0", stage.get("stageId")?);
        serde_json::from_str(&get(address, &path).ok()?).ok()
    })
}

fn number(value: &Value, pointer: &str) -> Result<usize> {
    let found = value.pointer(pointer).and_then(Value::as_u64).with_context(|| format!("no {pointer} in {value}"))?;
    Ok(usize::try_from(found)?)
}

/// Bytes of the data files under a table's folder.
fn data_bytes(folder: &Path) -> Result<usize> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().ends_with(".parquet") {
            bytes += usize::try_from(entry.metadata()?.len())?;
        }
    }
    Ok(bytes)
}

#[test]
fn a_task_that_writes_a_table_tells_what_it_wrote_and_what_it_read() -> Result<()> {
    let cluster = Cluster::start()?;
    let workspace = Workspace::new()?;
    let csv = numbers_csv(ROWS);
    for file in 0..FILES {
        workspace.file(&format!("numbers-{file}.csv"), &csv)?;
    }
    let job = workspace.job("figures", &[BRONZE, EVEN].concat())?;
    let id = cluster.submit_detached(|submit| submit.arg(&job))?;
    let status = cluster.wait_finished(&id)?;
    let app = app_id(&status)?;
    let address = cluster.masters.http_address(0)?;
    let root = format!("/api/v1/applications/{app}");

    let bronze = stage_of(address, &root, "bronze.numbers")?;
    assert_eq!(number(&bronze, "/outputRecords")?, WRITTEN, "{bronze}");
    assert_eq!(number(&bronze, "/inputRecords")?, WRITTEN, "{bronze}");
    assert_eq!(number(&bronze, "/inputBytes")?, FILES * csv.len(), "{bronze}");
    let written = data_bytes(&workspace.path().join("warehouse/bronze/numbers"))?;
    assert_eq!(number(&bronze, "/outputBytes")?, written, "{bronze}");
    let operators = bronze.get("operators").and_then(Value::as_array).context("no operators")?;
    for name in ["DeltaWriteExec", "FilesScanExec"] {
        let operator = operators.iter().find(|operator| operator.get("name") == Some(&json!(name)));
        let operator = operator.with_context(|| format!("no {name} in {bronze}"))?;
        assert_eq!(number(operator, "/outputRows")?, WRITTEN, "{operator}");
        assert!(number(operator, "/computeNs")? > 0, "{operator}");
    }

    let silver = stage_of(address, &root, "silver.even")?;
    assert_eq!(number(&silver, "/outputRecords")?, WRITTEN / 2, "{silver}");
    assert_eq!(number(&silver, "/inputRecords")?, WRITTEN, "{silver}");
    let read = number(&silver, "/inputBytes")?;
    assert!(read > 0 && read <= written, "{read} of {written} bytes: {silver}");

    // Task by task it is the same.
    let path = format!("{root}/stages/{}/0/taskList", number(&bronze, "/stageId")?);
    let tasks: Vec<Value> = serde_json::from_str(&get(address, &path)?)?;
    let sum = |pointer: &str| tasks.iter().map(|task| number(task, pointer)).sum::<Result<usize>>();
    assert_eq!(sum("/taskMetrics/outputMetrics/recordsWritten")?, WRITTEN, "{tasks:?}");
    assert_eq!(sum("/taskMetrics/outputMetrics/bytesWritten")?, written, "{tasks:?}");
    assert_eq!(sum("/taskMetrics/inputMetrics/recordsRead")?, WRITTEN, "{tasks:?}");
    assert_eq!(sum("/taskMetrics/inputMetrics/bytesRead")?, FILES * csv.len(), "{tasks:?}");
    Ok(())
}

/// Of a source that is large enough for a query over it to be cut.
const CUT: &str = r#"
[[source]]
name = "wide"
kind = "files"
format = "csv"
path = "wide.csv"
schema = { bucket = "int", padding = "string" }

[[table]]
name = "gold.buckets"
mode = "overwrite"
sql = "SELECT bucket, count(*) AS numbers FROM wide GROUP BY bucket"
"#;
const WIDE_LINES: usize = 70_000;

#[test]
fn what_one_stage_has_written_the_next_one_has_read_from_whichever_worker() -> Result<()> {
    let cluster = Cluster::start()?;
    let workspace = Workspace::new()?;
    let padding = "x".repeat(1_000);
    let lines = (0..WIDE_LINES).map(|line| format!("{},{padding}\n", line % 10));
    workspace.file("wide.csv", "bucket,padding\n".to_owned() + &lines.collect::<String>())?;
    let job = workspace.job("cut", CUT)?;
    let id = cluster.submit_detached(|submit| submit.arg(&job))?;
    let app = app_id(&cluster.wait_finished(&id)?)?;
    let address = cluster.masters.http_address(0)?;
    let root = format!("/api/v1/applications/{app}");
    let last = stage_of(address, &root, "gold.buckets")?;
    assert_eq!(number(&last, "/outputRecords")?, 10, "{last}");
    let stages: Vec<Value> = serde_json::from_str(&get(address, &format!("{root}/stages"))?)?;
    let total = |pointer: &str| stages.iter().map(|stage| number(stage, pointer)).sum::<Result<usize>>();
    assert_eq!(total("/inputRecords")?, WIDE_LINES, "{stages:?}");
    assert!(total("/shuffleWriteBytes")? > 0, "{stages:?}");
    assert_eq!(total("/shuffleReadBytes")?, total("/shuffleWriteBytes")?, "{stages:?}");
    assert_eq!(total("/shuffleReadRecords")?, total("/shuffleWriteRecords")?, "{stages:?}");
    Ok(())
}

/// Its second step fails: of 10 numbers the first check drops 5, and 2 of those that are left are not small.
const STRICT: &str = r#"
[[table]]
name = "silver.numbers"
mode = "overwrite"
sql = "SELECT * FROM bronze.numbers"

  [[table.expect]]
  name = "odd"
  check = "id % 2 = 1"
  action = "drop"

  [[table.expect]]
  name = "small"
  check = "id < 6"
  action = "fail"
"#;

#[test]
fn a_step_that_an_expectation_fails_is_told_with_its_counts_of_the_rows_that_reached_it() -> Result<()> {
    let cluster = Cluster::start()?;
    let workspace = Workspace::new()?;
    workspace.file("numbers-0.csv", numbers_csv(10))?;
    let job = workspace.job("strict", &[BRONZE, STRICT].concat())?;
    for submit in [cluster.submit(), Submit::local()] {
        let told = submit.arg(&job).args(["--output", "json"]).run()?.json()?;
        assert_eq!(told.get("exit_code"), Some(&json!(8)), "{told}");
        let message = told.pointer("/failure/message").and_then(Value::as_str).unwrap_or_default();
        assert!(message.contains("expectation 'small' (id < 6) is violated by 2 of 5 rows"), "{message}");
        let steps = told.pointer("/failed_steps").and_then(Value::as_array).context("no failed_steps")?;
        let [failed] = steps.as_slice() else { anyhow::bail!("{told}") };
        assert_eq!(
            (failed.get("table"), failed.get("state")),
            (Some(&json!("silver.numbers")), Some(&json!("FAILED")))
        );
        let expected = json!([
            { "name": "odd", "action": "drop", "violations": 5, "checked": 10 },
            { "name": "small", "action": "fail", "violations": 2, "checked": 5 },
        ]);
        assert_eq!(failed.get("expectations"), Some(&expected), "{told}");
    }
    Ok(())
}
