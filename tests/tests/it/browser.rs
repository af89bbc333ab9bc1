//! The pages in a real browser. What is done there and what must be seen is in `tests/src/browser/`; what goes on in the
//! cluster meanwhile is here.

use std::path::Path;

use anyhow::{Context, Result};
use lake_tests::browser::Browser;
use lake_tests::cluster::Cluster;
use lake_tests::fixture::{NUMBERS, Workspace, numbers_csv};
use lake_tests::gated::{GATED, Gated, gated};
use lake_tests::history::written;
use lake_tests::http::request;
use lake_tests::postgres::Postgres;
use lake_tests::submit::app_id;
use serde_json::{Value, json};

/// Two steps, one after the other, each with a gate in its middle.
const TWO_GATES: &str = r#"
[connection.crm]
kind = "postgres"
url = { env = "CRM_URL" }

[[source]]
name = "early"
connection = "crm"
query = "SELECT n AS id, CASE WHEN n = 3 THEN gate(n) ELSE n END AS checked FROM generate_series(1::bigint, 5) AS n"

[[source]]
name = "late"
connection = "crm"
query = "SELECT n AS id, CASE WHEN n = 3 THEN late_gate(n) ELSE n END AS checked FROM generate_series(1::bigint, 5) AS n"

[[table]]
name = "bronze.early"
from = "early"
mode = "append"

[[table]]
name = "gold.late"
mode = "overwrite"
sql = "SELECT late.id, before.checked FROM late JOIN bronze.early AS before ON before.id = late.id"
"#;

/// Text that a browser would run, were it taken for markup.
const HOSTILE: &str = "<img src=x onerror=\"window.harmed = true\">";

const JSON: (&str, &str) = ("Content-Type", "application/json;charset=UTF-8");

fn master(cluster: &Cluster) -> Result<String> {
    Ok(format!("http://{}", cluster.masters.http_address(0)?))
}

/// Submits a job; the driver's id and the application's.
fn submitted(cluster: &Cluster, job: &Path) -> Result<(String, String)> {
    let driver = cluster.submit_detached(|submit| submit.arg(job))?;
    let app = app_id(&cluster.status(&driver)?)?;
    Ok((driver, app))
}

/// Submits a job with a name that no command line of ours takes, as programs that speak Spark's REST protocol can choose it.
fn submitted_as(cluster: &Cluster, job: &Path, folder: &Path, name: &str) -> Result<(String, String)> {
    let folder = folder.to_str().context("not UTF-8")?;
    // By REST no folder of the job is known: every path is an absolute one.
    let text = std::fs::read_to_string(job)?
        .replace("root = \"warehouse\"", &format!("root = \"{folder}/warehouse\""))
        .replace("path = \"numbers.csv\"", &format!("path = \"{folder}/numbers.csv\""));
    let body = json!({
        "action": "CreateSubmissionRequest",
        "appResource": "",
        "sparkProperties": { "lake.job": text, "spark.app.name": name },
    });
    let address = cluster.masters.rest_address(0)?;
    let created = request(address, "POST /v1/submissions/create", &[JSON], &body.to_string())?.json()?;
    let driver = created.get("submissionId").and_then(Value::as_str).with_context(|| created.to_string())?.to_owned();
    let app = app_id(&cluster.status(&driver)?)?;
    Ok((driver, app))
}

#[test]
fn a_page_follows_its_application_by_itself_and_keeps_what_the_reader_has_open_selected_and_scrolled() -> Result<()> {
    let server = Postgres::start()?;
    let cluster = Cluster::builder().env("CRM_URL", &server.url()).start(2)?;
    let workspace = Workspace::new()?;
    let job = workspace.job("followed", TWO_GATES)?;
    let gate = server.close_gate()?;
    let late_gate = server.close_late_gate()?;
    let (driver, app) = submitted(&cluster, &job)?;
    gate.wait_for_visitors(1)?;
    let arguments = json!({ "master": master(&cluster)?, "app_id": app, "held": "bronze.early", "waits": "gold.late" });
    let mut browser = Browser::start("watch", &arguments)?;
    browser.wait_for("held")?;
    gate.open()?;
    late_gate.wait_for_visitors(1)?;
    browser.wait_for("selected")?;
    late_gate.open()?;
    cluster.wait_finished(&driver)?;
    browser.finish()
}

#[test]
fn an_application_is_killed_by_the_button_on_its_page_also_without_scripts_and_by_no_other_site() -> Result<()> {
    let Gated { server, cluster, workspace, job } = gated("killed", "")?;
    let gate = server.close_gate()?;
    let (first_driver, first) = submitted(&cluster, &job)?;
    // Another job: of one and the same, the second run would wait for the first.
    let (second_driver, second) = submitted(&cluster, &workspace.job("killed-too", GATED)?)?;
    gate.wait_for_visitors(2)?;
    Browser::run("kill", &json!({ "master": master(&cluster)?, "first": first, "second": second }))?;
    for driver in [first_driver, second_driver] {
        cluster.wait_for_state(&driver, &["KILLED"])?;
    }
    gate.open()
}

#[test]
fn every_page_is_sound_in_light_and_dark_on_a_phone_by_keys_without_scripts_and_after_a_restart() -> Result<()> {
    let mut cluster = Cluster::start()?;
    let workspace = Workspace::new()?;
    workspace.file("numbers.csv", numbers_csv(1_000))?;
    let job = workspace.job("looked-at", NUMBERS)?;
    let (driver, app) = submitted_as(&cluster, &job, workspace.path(), HOSTILE)?;
    cluster.wait_finished(&driver)?;
    let column = HOSTILE.replace('"', "\\\"\\\"");
    let failing = format!(
        "{NUMBERS}\n[[table]]\nname = \"gold.never\"\nmode = \"overwrite\"\nsql = \"SELECT \\\"{column}\\\" FROM numbers\"\n"
    );
    let job = workspace.job("failing", &failing)?;
    let (driver, failed) = submitted(&cluster, &job)?;
    cluster.wait_for_state(&driver, &["FAILED", "ERROR"])?;
    let histories = cluster.masters.data_directory(0).join("history");
    for app in [&app, &failed] {
        written(&histories, app)?;
    }

    let arguments = json!({
        "master": master(&cluster)?, "app_id": app, "operators": ["FilesScanExec", "DeltaWriteExec"],
    });
    let mut browser = Browser::start("restart", &arguments)?;
    browser.wait_for("open")?;
    cluster.masters.kill(0)?;
    browser.wait_for("lost")?;
    cluster.masters.run(0)?;
    cluster.masters.leader()?;
    cluster.wait_for_workers(2)?;
    browser.finish()?;

    let arguments = json!({
        "master": master(&cluster)?, "app_id": app, "failed_id": failed, "hostile": HOSTILE,
    });
    Browser::run("sweep", &arguments)
}
