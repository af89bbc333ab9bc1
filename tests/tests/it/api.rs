//! The REST APIs as programs use them: every documented path after a real run, submissions as at a Spark master, at whichever
//! master of a group.

use std::process::Command;

use anyhow::{Context, Result};
use lake_tests::cluster::Cluster;
use lake_tests::fixture::{Workspace, numbers_csv};
use lake_tests::http::{Answer, get, request};
use lake_tests::{DEADLINE, schema, wait_for};
use serde_json::{Value, json};

const JOB: &str = r#"
[[source]]
name = "numbers"
kind = "files"
format = "csv"
path = "numbers.csv"
schema = { id = "bigint", bucket = "int", amount = "decimal(12,2)" }

[[table]]
name = "bronze.numbers"
from = "numbers"
mode = "overwrite"

  [[table.expect]]
  name = "even"
  check = "id % 2 = 0"
  action = "warn"

[[table]]
name = "gold.buckets"
mode = "overwrite"
sql = "SELECT bucket, count(*) AS numbers FROM bronze.numbers GROUP BY bucket"
"#;

const JSON: (&str, &str) = ("Content-Type", "application/json;charset=UTF-8");

/// The list at a path of the API.
fn list(address: &str, path: &str) -> Result<Vec<Value>> {
    let answer: Value = serde_json::from_str(&get(address, path)?)?;
    answer.as_array().cloned().with_context(|| format!("{path} is not a list: {answer}"))
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value.get(key).and_then(Value::as_str).with_context(|| format!("no {key} in {value}"))
}

/// A cluster with a run of [`JOB`] that has finished, and the run's application.
fn finished() -> Result<(Cluster, Workspace, String)> {
    let cluster = Cluster::start()?;
    let workspace = Workspace::new()?;
    workspace.file("numbers.csv", numbers_csv(1_000))?;
    let job = workspace.job("documented", JOB)?;
    let id = cluster.submit_detached(|submit| submit.arg(&job))?;
    let status = cluster.wait_finished(&id)?;
    let app = text(&status, "app_id")?.to_owned();
    Ok((cluster, workspace, app))
}

#[test]
fn every_documented_path_answers_what_its_schema_says() -> Result<()> {
    let (cluster, workspace, app) = finished()?;
    let address = cluster.masters.http_address(0)?;
    let root = format!("/api/v1/applications/{app}");
    // What is told of an application that has ended is put together when it has.
    let stage = wait_for("a stage whose tasks have told their figures", DEADLINE, || {
        let stages = list(address, &format!("{root}/stages?status=complete")).ok()?;
        let done = stages.iter().find(|stage| stage.get("numCompleteTasks").and_then(Value::as_u64) > Some(0))?;
        done.get("stageId").and_then(Value::as_u64)
    })?;
    wait_for("the table that the run wrote", DEADLINE, || get(address, "/api/v1/tables/bronze.numbers").ok())?;
    let document: Value = serde_json::from_str(&get(address, "/api/v1/openapi.json")?)?;
    let paths = document.get("paths").and_then(Value::as_object).context("no paths")?;
    assert!(paths.len() > 20, "{} paths are documented", paths.len());
    let mut zips = 0;
    for (template, operations) in paths {
        let Some(operation) = operations.get("get") else { continue };
        let path = template
            .replace("{app_id}", &app)
            .replace("{stage_id}", &stage.to_string())
            .replace("{attempt}", "0")
            .replace("{job_id}", "0")
            .replace("{name}", "bronze.numbers");
        assert!(!path.contains('{'), "{template} has a part that this test does not choose");
        let answer = request(address, &format!("GET {path}"), &[], "")?;
        assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
        let content = operation.pointer("/responses/200/content").and_then(Value::as_object).context("no content")?;
        let (content_type, described) = content.iter().next().context("no content type")?;
        assert_eq!(answer.header("content-type"), Some(content_type.as_str()), "{path}");
        match described.get("schema") {
            Some(expected) => {
                let body = answer.json()?;
                if let Err(why) = schema::check(&document, expected, &body) {
                    anyhow::bail!("{path} does not answer what is documented: {why}\n{body:#}");
                }
            }
            None => {
                assert_zip(&workspace, &answer, &app)?;
                zips += 1;
            }
        }
    }
    assert_eq!(zips, 1);
    // What is refused is documented, too.
    let refused = request(address, &format!("GET {root}/stages?limit=0"), &[], "")?;
    assert_eq!(refused.status, 400);
    let failure = document.pointer("/components/responses/Failure/content/application~1json/schema");
    schema::check(&document, failure.context("no Failure")?, &refused.json()?).map_err(anyhow::Error::msg)
}

/// Read by a reader that is not ours.
fn assert_zip(workspace: &Workspace, answer: &Answer, app: &str) -> Result<()> {
    let disposition = answer.header("content-disposition").unwrap_or_default();
    assert!(disposition.contains(&format!("{app}.zip")), "{disposition}");
    let path = workspace.file("logs.zip", &answer.body)?;
    let script = "import json, sys, zipfile\n\
                  archive = zipfile.ZipFile(sys.argv[1])\n\
                  assert archive.testzip() is None\n\
                  print(json.dumps({name: archive.read(name).decode() for name in archive.namelist()}))";
    let python = std::env::var("LAKE_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let output = Command::new(python).args(["-c", script]).arg(&path).output()?;
    anyhow::ensure!(output.status.success(), "zipfile: {}", String::from_utf8_lossy(&output.stderr));
    let files: Value = serde_json::from_slice(&output.stdout)?;
    let application: Value = serde_json::from_str(text(&files, "application.json")?)?;
    assert_eq!(application.pointer("/summary/app_id").and_then(Value::as_str), Some(app));
    let files = files.as_object().context("no files")?;
    let has_log = |stream: &str| files.keys().any(|name| name.starts_with("worker-") && name.ends_with(stream));
    assert!(has_log("/stdout.txt") && has_log("/stderr.txt"), "{:?}", files.keys());
    assert!(!files.contains_key("missing.txt"), "{:?}", files.get("missing.txt"));
    Ok(())
}

#[test]
fn a_run_is_told_with_sparks_fields_and_ours() -> Result<()> {
    let (cluster, _workspace, app) = finished()?;
    let address = cluster.masters.http_address(0)?;
    let root = format!("/api/v1/applications/{app}");
    let jobs = wait_for("both queries", DEADLINE, || {
        list(address, &format!("{root}/jobs?status=succeeded")).ok().filter(|jobs| jobs.len() == 2)
    })?;
    let names: Vec<&str> = jobs.iter().filter_map(|job| job.get("name").and_then(Value::as_str)).collect();
    assert_eq!(names, ["gold.buckets", "bronze.numbers"], "the last one first: {jobs:?}");
    let detail: Value = serde_json::from_str(&get(address, &root)?)?;
    assert_eq!(detail.pointer("/attempts/0/completed"), Some(&Value::Bool(true)), "{detail}");
    assert_eq!(detail.get("state"), Some(&json!("FINISHED")));
    let steps = list(address, &format!("{root}/steps"))?;
    let bronze = steps.iter().find(|step| step.get("table") == Some(&json!("bronze.numbers"))).context("no bronze")?;
    assert_eq!((bronze.get("state"), bronze.get("rows_out")), (Some(&json!("COMMITTED")), Some(&json!(1_000))));
    assert_eq!(bronze.pointer("/expectations/0/violations"), Some(&json!(500)), "{bronze}");
    let completed = list(address, "/api/v1/applications?status=completed&minDate=2020-01-01")?;
    assert_eq!(completed.first().and_then(|found| found.get("id")), Some(&json!(app)));
    assert_eq!(list(address, "/api/v1/applications?status=running")?.len(), 0);
    let lineage: Value = serde_json::from_str(&get(address, "/api/v1/lineage?table=gold.buckets")?)?;
    let edges = lineage.get("edges").and_then(Value::as_array).map(Vec::len);
    assert_eq!(edges, Some(2), "{lineage}");
    Ok(())
}

/// A submission of a job whose source is an absolute path.
fn envelope(name: &str) -> String {
    let text = format!(
        "[job]\nname = \"{name}\"\n\n[warehouse]\nroot = \"/warehouse\"\n\n{}",
        JOB.replace("numbers.csv", "/nowhere/numbers.csv")
    );
    json!({
        "action": "CreateSubmissionRequest",
        "appResource": "",
        "mainClass": "",
        "appArgs": [],
        "clientSparkVersion": "4.0.0",
        "environmentVariables": { "SPARK_ENV_LOADED": "1" },
        "sparkProperties": { "lake.job": text, "spark.app.name": name },
    })
    .to_string()
}

#[test]
fn a_spark_client_submits_polls_and_kills_at_whichever_master() -> Result<()> {
    // Without a worker everything waits, until it is killed.
    let cluster = Cluster::builder().masters(3).start(0)?;
    let leader = cluster.masters.leader()?;
    let followers: Vec<usize> = (0..3).filter(|master| *master != leader).collect();
    let [first, second] = followers[..] else { anyhow::bail!("{followers:?}") };
    let post = |at: usize, path: &str, body: &str| -> Result<Value> {
        let answer =
            request(cluster.masters.rest_address(at)?, &format!("POST /v1/submissions/{path}"), &[JSON], body)?;
        anyhow::ensure!(answer.status == 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
        answer.json()
    };
    let state = |at: usize, id: &str| -> Result<Option<String>> {
        let answer = request(cluster.masters.rest_address(at)?, &format!("GET /v1/submissions/status/{id}"), &[], "")?;
        // As Airflow takes it apart.
        let line = answer.text()?.lines().find(|line| line.contains("driverState")).map(str::to_owned);
        Ok(line.and_then(|line| Some(line.split(" : ").nth(1)?.replace([',', '"'], "").trim().to_owned())))
    };
    let created = post(first, "create", &envelope("of-rest"))?;
    let id = text(&created, "submissionId")?.to_owned();
    assert!(id.starts_with("driver-"), "{created}");
    for at in 0..3 {
        assert_eq!(state(at, &id)?.as_deref(), Some("SUBMITTED"), "at master {at}");
    }
    assert_eq!(post(second, &format!("kill/{id}"), "")?.get("success"), Some(&Value::Bool(true)));
    for at in 0..3 {
        assert_eq!(state(at, &id)?.as_deref(), Some("KILLED"), "at master {at}");
    }

    let mut ids = Vec::new();
    for number in 0..3 {
        ids.push(text(&post(first, "create", &envelope(&format!("of-rest-{number}")))?, "submissionId")?.to_owned());
    }
    // A program ends one through the page's port of a follower, then all that are left.
    let by_json = format!("POST /api/v1/applications/{}/kill", ids[0]);
    let killed = request(cluster.masters.http_address(first)?, &by_json, &[], "")?;
    assert_eq!((killed.status, killed.json()?.get("state").cloned()), (200, Some(json!("KILLED"))));
    let forged = [("Origin", "http://attacker.example")];
    let by_form = format!("POST /applications/{}/kill", ids[1]);
    for request_line in [&by_form, &by_json] {
        assert_eq!(request(cluster.masters.http_address(second)?, request_line, &forged, "")?.status, 403);
    }
    assert_eq!(state(leader, &ids[1])?.as_deref(), Some("SUBMITTED"));
    post(second, "killall", "")?;
    for id in &ids {
        assert_eq!(state(first, id)?.as_deref(), Some("KILLED"));
    }
    assert_eq!(post(first, "clear", "")?.get("success"), Some(&Value::Bool(true)));
    Ok(())
}
