use lake_job::Pipeline;
use serde_json::json;

use super::*;

const JOB_TEXT: &str = r#"
[job]
name = "orders"
max_attempts = 5

[params]
ds = { type = "date", default = "today" }

[warehouse]
root = "s3://lake"

[[source]]
name = "landing"
kind = "files"
format = "csv"
path = "s3://landing/ds=${ds}/"

[[table]]
name = "bronze.orders"
from = "landing"
mode = "append"

[[table]]
name = "silver.orders"
sql = "SELECT * FROM bronze.orders"
mode = "overwrite"
"#;

fn asked(request: &Value) -> Result<Created, Fault> {
    let today = NaiveDate::from_ymd_opt(2026, 11, 21).unwrap();
    create(request.to_string().as_bytes(), "fresh".to_owned(), today)
}

fn request(arguments: &[&str], properties: &[(&str, &str)]) -> Value {
    let mut all: BTreeMap<&str, &str> = BTreeMap::from([(JOB, JOB_TEXT)]);
    all.extend(properties.iter().copied());
    json!({
        "action": "CreateSubmissionRequest",
        "appResource": "",
        "mainClass": "",
        "appArgs": arguments,
        "clientSparkVersion": "4.0.0",
        "environmentVariables": { "SPARK_ENV_LOADED": "1" },
        "sparkProperties": all,
    })
}

fn pipeline(created: &Created) -> Pipeline {
    serde_json::from_slice(&created.request.pipeline).unwrap()
}

#[test]
fn a_job_in_sparks_envelope_is_what_lake_submit_would_send() {
    let created = asked(&request(&[], &[])).unwrap();
    let options = created.request.options.clone().unwrap();
    assert_eq!(created.request.submission_id, "fresh");
    assert_eq!((options.name.as_str(), options.job_name.as_str()), ("orders", "orders"));
    assert_eq!((options.max_attempts, options.supervise, options.deploy_mode.as_str()), (5, true, "cluster"));
    assert_eq!((options.total_executor_cores, options.driver_memory_bytes), (0, DEFAULT_DRIVER_MEMORY_BYTES));
    assert_eq!(created.unknown_fields, [""; 0]);
    let pipeline = pipeline(&created);
    assert_eq!((pipeline.params["ds"].as_str(), pipeline.tables.len()), ("2026-11-21", 2));
}

#[test]
fn properties_and_arguments_choose_what_options_would() {
    let properties = [
        ("spark.app.name", "shown"),
        ("spark.cores.max", "4"),
        ("spark.driver.memory", "2g"),
        ("spark.driver.supervise", "false"),
        ("spark.submit.deployMode", "cluster"),
        ("spark.executor.memory", "8g"),
        ("lake.submissionId", "s-7"),
        ("lake.conf.warehouse.root", "s3://other"),
    ];
    let arguments = ["--param", "ds=2026-01-01", "--only=bronze.orders", "--full-refresh"];
    let created = asked(&request(&arguments, &properties)).unwrap();
    let options = created.request.options.clone().unwrap();
    assert_eq!((options.name.as_str(), options.job_name.as_str()), ("shown", "orders"));
    assert_eq!((options.total_executor_cores, options.driver_memory_bytes), (4, 2 << 30));
    assert_eq!((options.supervise, options.max_attempts), (false, 1));
    assert_eq!(created.request.submission_id, "s-7");
    let found = pipeline(&created);
    assert_eq!((found.params["ds"].as_str(), found.warehouse_root.as_str()), ("2026-01-01", "s3://other"));
    assert_eq!(found.tables.len(), 1);
    let plain = asked(&request(&["ds=2026-02-02", "--from", "silver.orders"], &[])).unwrap();
    assert_eq!(pipeline(&plain).params["ds"], "2026-02-02");
    assert_eq!(pipeline(&plain).tables.len(), 1);
}

#[test]
fn fields_that_nobody_knows_are_named() {
    let mut with_more = request(&[], &[]);
    with_more["mood"] = json!("good");
    assert_eq!(asked(&with_more).unwrap().unknown_fields, ["mood"]);
}

#[test]
fn what_cannot_be_run_is_refused_with_what_to_do() {
    let with = |field: &str, value: Value| {
        let mut request = request(&[], &[]);
        request[field] = value;
        request
    };
    let without_job = json!({ "action": "CreateSubmissionRequest" });
    for (request, words) in [
        (json!([]), "expected a JSON object"),
        (with("action", json!("KillSubmissionRequest")), "expected CreateSubmissionRequest"),
        (with("appArgs", json!({})), "malformed request"),
        (with("sparkProperties", json!({ "lake.job": 1 })), "malformed request"),
        (with("appResource", json!("file:/tmp/app.jar")), "appResource is 'file:/tmp/app.jar'"),
        (with("environmentVariables", json!({ "PASSWORD": "x" })), "environmentVariables has 'PASSWORD'"),
        (without_job, "sparkProperties[\"lake.job\"]"),
        (request(&["--conf"], &[]), "'--conf' is not known"),
        (request(&["--param"], &[]), "--param needs a value"),
        (request(&["plain"], &[]), "'plain' is not name=value"),
        (request(&[], &[("lake.jobs", "x")]), "'lake.jobs' is not known"),
        (request(&[], &[("spark.cores.max", "-1")]), "spark.cores.max is '-1'"),
        (request(&[], &[("spark.driver.memory", "much")]), "spark.driver.memory is 'much'"),
        (request(&[], &[("spark.driver.supervise", "yes")]), "expected true or false"),
        (request(&[], &[("spark.submit.deployMode", "client")]), "expected cluster"),
    ] {
        let fault = asked(&request).unwrap_err();
        assert_eq!((fault.class, fault.code.as_str()), (ErrorClass::InvalidJob, "request"), "{fault}");
        assert!(fault.message.contains(words), "{words} is not in {fault}");
    }
    assert!(create(b"{", String::new(), NaiveDate::MIN).unwrap_err().message.contains("malformed request"));
    assert!(create(b"\xff", String::new(), NaiveDate::MIN).is_err());
}

#[test]
fn a_job_that_needs_the_senders_files_is_refused_at_its_line() {
    let relative = JOB_TEXT.replace("s3://landing/ds=${ds}/", "landing.csv");
    let fault = asked(&request(&[], &[(JOB, &relative)])).unwrap_err();
    assert_eq!((fault.class, fault.code.as_str()), (ErrorClass::InvalidJob, "invalid-url"));
    assert!(fault.message.contains("job.toml:16") && fault.message.contains("'landing.csv'"), "{fault}");
    let file = JOB_TEXT.replace("sql = \"SELECT * FROM bronze.orders\"", "sql_file = \"silver.sql\"");
    let fault = asked(&request(&[], &[(JOB, &file)])).unwrap_err();
    assert_eq!(fault.code, "sql-file");
    assert!(fault.message.contains("write the query in 'sql'"), "{fault}");
    let absolute = JOB_TEXT.replace("s3://landing/ds=${ds}/", "/data/landing.csv");
    assert!(asked(&request(&[], &[(JOB, &absolute)])).is_ok());
    let warehouse = JOB_TEXT.replace("s3://lake", "warehouse");
    assert_eq!(asked(&request(&[], &[(JOB, &warehouse)])).unwrap_err().code, "invalid-url");
}

#[test]
fn what_is_wrong_with_a_job_is_told_as_lake_submit_tells_it() {
    let misspelt = JOB_TEXT.replace("mode = \"append\"", "mdoe = \"append\"");
    let fault = asked(&request(&[], &[(JOB, &misspelt)])).unwrap_err();
    assert_eq!(fault.code, "missing-key");
    assert!(fault.message.contains("did you mean 'mode'?"), "{fault}");
    let said = crate::submission::failed(&fault).body;
    assert!(said.contains("error[invalid-job/missing-key]: job.toml:"), "{said}");
    assert!(!said.contains("error[missing-key]"), "the code is said once: {said}");
    let missing = asked(&request(&["ds=not-a-day"], &[])).unwrap_err();
    assert_eq!(missing.code, "param-type");
}
