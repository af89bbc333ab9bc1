//! What the author of a job is told: by the results of a run, and by a dry run before it.

use anyhow::{Context, Result};
use lake_tests::cluster::Cluster;
use lake_tests::fixture::{Workspace, numbers_csv};
use lake_tests::s3::S3;
use lake_tests::submit::{Run, Submit};
use serde_json::Value;

const NUMBERS: &str = r#"
[[source]]
name = "numbers"
format = "csv"
path = "numbers.csv"
mode = "drop"
schema = { id = "bigint", bucket = "int", amount = "decimal(12,2)" }

[[table]]
name = "bronze.numbers"
from = "numbers"
mode = "overwrite"
"#;

/// Name, action and count of the expectations of the only step.
fn expectations(run: &Run) -> Result<Vec<(String, String, u64)>> {
    let document = run.json()?;
    let found = document.pointer("/steps/0/expectations").and_then(Value::as_array).context("no expectations")?;
    let text = |result: &Value, key: &str| result.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let count = |result: &Value| result.get("violations").and_then(Value::as_u64).unwrap_or_default();
    Ok(found.iter().map(|result| (text(result, "name"), text(result, "action"), count(result))).collect())
}

#[test]
fn records_that_do_not_parse_are_counted_in_the_result() -> Result<()> {
    let workspace = Workspace::new()?;
    workspace.file("numbers.csv", numbers_csv(100) + "101,1,2.00,surplus\n?,2,2.25\n102,2,2.25\n")?;
    let cluster = Cluster::start()?;
    for (mode, action) in [("drop", "drop"), ("permissive", "warn")] {
        let job = workspace.job(mode, &NUMBERS.replace("\"drop\"", &format!("{mode:?}")))?;
        for submit in [Submit::local(), cluster.submit()] {
            let run = submit.args(["--output", "json"]).arg(&job).run()?.succeeded()?;
            let expected = ("source numbers: malformed records".to_owned(), action.to_owned(), 2);
            assert_eq!(expectations(&run)?, [expected], "{mode}");
        }
        // The second run replaces the table, so that the columns of the next mode fit.
        std::fs::remove_dir_all(workspace.path().join("warehouse"))?;
    }
    Ok(())
}

/// A dry run of the numbers with `keys` for the table is refused with the words in `texts`, and a run alike.
fn refused(keys: &str, code: &str, texts: &[&str]) -> Result<()> {
    let workspace = Workspace::new()?;
    workspace.file("numbers.csv", numbers_csv(10))?;
    let job = workspace.job("author", &NUMBERS.replace("mode = \"overwrite\"", keys))?;
    Submit::local().arg("--dry-run").arg(&job).run()?.failed("invalid-job", code, texts)?;
    Submit::local().arg(&job).run()?.failed("invalid-job", code, texts)?;
    assert_eq!(workspace.tables_with_data(), [""; 0], "half-done");
    Ok(())
}

#[test]
fn a_dry_run_plans_conditions_and_names_their_line() -> Result<()> {
    let expect = "mode = \"append\"\n[[table.expect]]\nname = \"few\"\ncheck = \"bucket + 1\"\naction = \"drop\"";
    refused(expect, "check-type", &["job.toml:21: expectation 'few'", "bucket + 1"])?;
    let expect = expect.replace("bucket + 1", "bukcet > 1");
    refused(&expect, "sql-plan", &["job.toml:21: expectation 'few'", "bukcet"])?;
    let predicate = "mode = \"replace_where\"\nreplace_where = \"id + 1\"";
    let told = "job.toml:19: replace_where of table bronze.numbers: 'id + 1' is of type bigint: expected a condition";
    refused(predicate, "check-type", &[told])?;
    refused(&predicate.replace("id + 1", "random() < 0.5"), "predicate", &["another answer each time"])
}

#[test]
fn a_dry_run_compares_the_columns_with_the_table_that_is_there() -> Result<()> {
    let workspace = Workspace::new()?;
    workspace.file("numbers.csv", numbers_csv(10))?;
    let job = workspace.job("author", NUMBERS)?;
    Submit::local().arg(&job).run()?.succeeded()?;
    let job = workspace.job("author", &NUMBERS.replace("bucket = \"int\"", "bukcet = \"int\""))?;
    workspace.file("numbers.csv", "id,bukcet,amount\n1,1,0.25\n")?;
    let run = Submit::local().arg("--dry-run").arg(&job).run()?;
    run.failed("invalid-job", "write-columns", &["bukcet", "bronze.numbers"])?;
    Ok(())
}

#[test]
fn a_bucket_that_does_not_exist_is_not_found_by_a_dry_run_and_by_a_source() -> Result<()> {
    let store = S3::start(&["other"])?;
    let workspace = Workspace::new()?;
    workspace.file("numbers.csv", numbers_csv(10))?;
    let job = workspace.job("bucket", NUMBERS)?;
    let dry_run = Submit::local().envs(&store.environment()).arg("--dry-run");
    let run = dry_run.warehouse("s3://lakehouse/lake").arg(&job).run()?;
    run.failed("not-found", "object-not-found", &["no bucket 'lakehouse'"])?;
    for path in ["s3://landing/numbers/", "s3://landing/numbers.csv", "s3://landing/*.csv"] {
        let job = workspace.job("bucket", &NUMBERS.replace("numbers.csv", path))?;
        let run = Submit::local().envs(&store.environment()).arg(&job).run()?;
        run.failed("not-found", "object-not-found", &["no bucket 'landing'", "source 'numbers'"])?;
    }
    Ok(())
}

#[test]
fn an_error_of_a_worker_names_file_and_line_and_where_a_secret_was_looked_up() -> Result<()> {
    let workspace = Workspace::new()?;
    workspace.file("numbers.csv", numbers_csv(100) + "101,1,2.00,surplus\n")?;
    let cluster = Cluster::start()?;
    let job = workspace.job("lines", &NUMBERS.replace("\"drop\"", "\"fail_fast\""))?;
    let place = "numbers.csv' line 102: expected 3 fields, found 4";
    for submit in [Submit::local(), cluster.submit()] {
        submit.arg(&job).run()?.failed("data-quality", "bad-record", &[place, "bronze.numbers"])?;
    }
    let storage = "[storage.\"s3://lake\"]\nregion = { env = \"NO_SUCH_REGION\" }\n";
    let job = workspace.job("secret", &(NUMBERS.replace("numbers.csv", "s3://lake/numbers/") + storage))?;
    let texts = ["NO_SUCH_REGION is not set in ", " on host '"];
    cluster.submit().arg(&job).run()?.failed("not-found", "secret", &texts)?;
    Ok(())
}

#[test]
fn a_warehouse_that_is_full_is_an_error_and_no_panic() -> Result<()> {
    let workspace = Workspace::new()?;
    workspace.file("numbers.csv", numbers_csv(2_000_000))?;
    let warehouse = workspace.path().join("warehouse");
    std::fs::create_dir_all(&warehouse)?;
    let job = workspace.job("full", NUMBERS)?;
    let run = Submit::local().on_disk(&warehouse, 4 << 20).arg(&job).run()?;
    let run = run.failed("resource", "disk-full", &["bronze.numbers"])?;
    assert!(!run.stderr.contains("panicked"), "{run}");
    Ok(())
}
