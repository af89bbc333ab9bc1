//! `CreateSubmissionRequest`: a job in Spark's envelope. Pure.
//!
//! The job travels as text, in `sparkProperties["lake.job"]`: a self-contained job.toml. There is no program to be shipped,
//! and a path of the sender's host means nothing here, so `appResource` stays empty and paths of the job are absolute.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use lake_job::LoadOptions;
use lake_proto::{DEFAULT_DRIVER_MEMORY_BYTES, ErrorClass, Fault, quantity, v1};
use serde::Deserialize;
use serde_json::Value;

/// The text of the job.
const JOB: &str = "lake.job";
/// Makes a repeat harmless: the same id and the same job are the same submission.
const SUBMISSION_ID: &str = "lake.submissionId";
/// What stands before a key of the job that gets another value.
const CONF: &str = "lake.conf.";
/// What Spark's own client sends where there is no resource.
const NO_RESOURCE: [&str; 2] = ["", "spark-internal"];

const FIELDS: [&str; 8] = [
    "action",
    "appArgs",
    "appResource",
    "clientSparkVersion",
    "environmentVariables",
    "mainClass",
    "message",
    "sparkProperties",
];

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Request {
    action: String,
    app_resource: Option<String>,
    app_args: Option<Vec<String>>,
    spark_properties: Option<BTreeMap<String, String>>,
    environment_variables: Option<BTreeMap<String, String>>,
}

/// What is to be submitted.
#[derive(Debug, Clone, PartialEq)]
pub struct Created {
    /// As `lake-submit` would send it.
    pub request: v1::SubmitRequest,
    /// Fields of the request that nobody knows here.
    pub unknown_fields: Vec<String>,
}

/// The submission in the body of a request. `fresh_id` is its id unless it names one itself.
///
/// # Errors
/// `invalid-job` for a body that is not such a request, or a job that is wrong, with all that is wrong with it.
pub fn create(body: &[u8], fresh_id: String, today: NaiveDate) -> Result<Created, Fault> {
    let malformed = |error: serde_json::Error| invalid(format!("malformed request: {error}"));
    let value: Value = serde_json::from_slice(body).map_err(malformed)?;
    let fields = value.as_object().ok_or_else(|| invalid("malformed request: expected a JSON object".to_owned()))?;
    let unknown_fields = fields.keys().filter(|name| !FIELDS.contains(&name.as_str())).cloned().collect();
    let request = Request::deserialize(&value).map_err(malformed)?;
    if request.action != "CreateSubmissionRequest" {
        let found: String = request.action.chars().take(100).collect();
        return Err(invalid(format!("the action is '{found}': expected CreateSubmissionRequest")));
    }
    let mut properties = request.spark_properties.unwrap_or_default();
    check_resource(request.app_resource.as_deref().unwrap_or_default())?;
    check_environment(&request.environment_variables.unwrap_or_default())?;
    let text = properties.remove(JOB).ok_or_else(|| {
        invalid(format!(
            "there is no job: put the text of a job.toml into sparkProperties[\"{JOB}\"], with its SQL in 'sql' instead of \
             'sql_file', and absolute paths"
        ))
    })?;
    let mut load = LoadOptions::new(today, "");
    arguments(request.app_args.unwrap_or_default(), &mut load)?;
    let mut submit =
        Submit { id: fresh_id, name: None, cores: 0, memory: DEFAULT_DRIVER_MEMORY_BYTES, supervise: true };
    for (key, value) in properties {
        submit.property(&key, value, &mut load)?;
    }
    let no_files =
        |_: &std::path::Path| Err("a job that comes by REST has no files: write the query in 'sql'".to_owned());
    let pipeline = lake_job::parse("job.toml", &text, &load, &no_files)?;
    let json = serde_json::to_vec(&pipeline)
        .map_err(|error| Fault::new(ErrorClass::Internal, "json", format!("the job has no JSON form: {error}")))?;
    let options = v1::SubmitOptions {
        name: submit.name.unwrap_or_else(|| pipeline.name.clone()),
        job_name: pipeline.name,
        total_executor_cores: submit.cores,
        driver_memory_bytes: submit.memory,
        supervise: submit.supervise,
        max_attempts: if submit.supervise { pipeline.max_attempts } else { 1 },
        deploy_mode: "cluster".to_owned(),
    };
    let request = v1::SubmitRequest {
        submission_id: submit.id,
        pipeline: json.into(),
        options: Some(options),
        // The REST protocol of Spark has no trace context.
        traceparent: String::new(),
    };
    Ok(Created { request, unknown_fields })
}

fn check_resource(resource: &str) -> Result<(), Fault> {
    if NO_RESOURCE.contains(&resource) {
        return Ok(());
    }
    let shown: String = resource.chars().take(200).collect();
    Err(invalid(format!(
        "appResource is '{shown}': no jar, Python file or path is run here; leave it empty and put the text of a job.toml into \
         sparkProperties[\"{JOB}\"]"
    )))
}

/// Spark's own are about its JVMs. Others would be expected to reach the driver.
fn check_environment(variables: &BTreeMap<String, String>) -> Result<(), Fault> {
    match variables.keys().find(|name| !name.starts_with("SPARK_")) {
        None => Ok(()),
        Some(name) => {
            let shown: String = name.chars().take(100).collect();
            Err(invalid(format!(
                "environmentVariables has '{shown}', which no driver would get: use a parameter of the job, or a variable of \
                 the workers"
            )))
        }
    }
}

/// What stands after the job on a command line: `--param name=value`, or only `name=value`, as our `spark-submit` has it.
fn arguments(given: Vec<String>, load: &mut LoadOptions) -> Result<(), Fault> {
    let mut given = given.into_iter();
    while let Some(argument) = given.next() {
        let (name, inline) = match argument.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name.to_owned(), Some(value.to_owned())),
            _ => (argument, None),
        };
        let mut value =
            || inline.clone().or_else(|| given.next()).ok_or_else(|| invalid(format!("appArgs: {name} needs a value")));
        match name.as_str() {
            "--param" => load.params.push(parameter(&value()?)?),
            "--only" => load.only.extend(value()?.split(',').map(|table| table.trim().to_owned())),
            "--from" => load.from = Some(value()?),
            "--full-refresh" if inline.is_none() => load.full_refresh = true,
            option if option.starts_with('-') => {
                let shown: String = option.chars().take(100).collect();
                let expected = "--param name=value, --only, --from or --full-refresh";
                return Err(invalid(format!("appArgs: '{shown}' is not known: expected {expected}")));
            }
            plain => load.params.push(parameter(plain)?),
        }
    }
    Ok(())
}

fn parameter(text: &str) -> Result<(String, String), Fault> {
    let pair = text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    pair.ok_or_else(|| {
        let shown: String = text.chars().take(100).collect();
        invalid(format!("appArgs: '{shown}' is not name=value"))
    })
}

/// What properties choose.
struct Submit {
    id: String,
    name: Option<String>,
    cores: u32,
    memory: u64,
    supervise: bool,
}

impl Submit {
    /// Properties of Spark without meaning here are passed over, as by our `spark-submit`; misspelt ones of ours are not.
    fn property(&mut self, key: &str, value: String, load: &mut LoadOptions) -> Result<(), Fault> {
        let wrong = |expected: &str| {
            let shown: String = value.chars().take(100).collect();
            invalid(format!("sparkProperties: {key} is '{shown}': expected {expected}"))
        };
        match key {
            SUBMISSION_ID => self.id = value,
            "spark.app.name" => self.name = Some(value).filter(|name| !name.is_empty()),
            "spark.cores.max" => self.cores = value.trim().parse().map_err(|_| wrong("a number of cores"))?,
            "spark.driver.memory" => self.memory = quantity::parse_bytes(&value).map_err(|error| wrong(&error))?,
            "spark.driver.supervise" => self.supervise = value.trim().parse().map_err(|_| wrong("true or false"))?,
            "spark.submit.deployMode" if value != "cluster" => return Err(wrong("cluster")),
            _ => match key.strip_prefix(CONF) {
                Some(conf) => load.overrides.push((conf.to_owned(), value)),
                None if key.starts_with("lake.") => {
                    let shown: String = key.chars().take(100).collect();
                    let known = format!("{JOB}, {SUBMISSION_ID} or {CONF}<key of job.toml>");
                    return Err(invalid(format!("sparkProperties: '{shown}' is not known: expected {known}")));
                }
                None => {}
            },
        }
        Ok(())
    }
}

fn invalid(message: String) -> Fault {
    Fault::new(ErrorClass::InvalidJob, "request", message)
}

#[cfg(test)]
mod tests;
