//! What `lake-submit` prints in the end: the outcome as one JSON document, failures as text, and the JSON-like lines
//! of spark-submit. Pure.
//!
//! Never here: writing to a stream.

use lake_proto::v1::{ApplicationStatus, ExpectationResult, StepProgress, StepRecord};
use lake_proto::visible::{is_obeyed, lines};
use lake_proto::{ErrorClass, Fault};
use serde::Serialize;
use serde_json::{Value, json};

use crate::remedy::remedy;

/// Why a verb failed: at least one fault, the first decides the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    first: Fault,
    others: Vec<Fault>,
}

impl Failed {
    /// Several faults at once: everything that is wrong with a job.
    pub fn all(first: Fault, others: Vec<Fault>) -> Self {
        Self { first, others }
    }

    /// The fault that decides.
    pub fn first(&self) -> &Fault {
        &self.first
    }

    /// All of them, the deciding one first.
    pub fn faults(&self) -> impl Iterator<Item = &Fault> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// `error[class/code]: message` for each fault, then what to do next.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for fault in self.faults() {
            text.push_str(&lines(&headline(fault)));
            text.push('\n');
        }
        text.push_str("  next: ");
        text.push_str(remedy(&self.first));
        text.push('\n');
        text
    }

    /// The document of a verb other than a submission: `{"exit_code": n, "failure": {…}}`.
    pub fn to_json(&self) -> Value {
        json!({ "exit_code": self.first.class.exit_code(), "failure": Failure::from(self) })
    }
}

impl From<Fault> for Failed {
    fn from(first: Fault) -> Self {
        Self { first, others: Vec::new() }
    }
}

/// `error[class/code]: message`
pub fn headline(fault: &Fault) -> String {
    format!("error[{}/{}]: {}", fault.class, fault.code, fault.message)
}

/// The document that `--output json` prints for a submission. Fields are added, never renamed.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Name of the application; null when job.toml could not be read.
    pub name: Option<String>,
    /// FINISHED, FAILED, KILLED, ERROR; SUBMITTED with `--no-wait`; DETACHED after SIGINT (Ctrl-C) or SIGTERM; NOT_SUBMITTED when the job
    /// was refused before it ran.
    pub state: String,
    /// The code this process exits with.
    pub exit_code: u8,
    /// cluster, client or local.
    pub deploy_mode: &'static str,
    /// UUID of the submission; null in local mode.
    pub submission_id: Option<String>,
    /// Null in local mode and before the master has answered.
    pub driver_id: Option<String>,
    /// As `driver_id`.
    pub app_id: Option<String>,
    /// The version in the Delta transactions of this run; null when unknown.
    pub run_number: Option<u64>,
    /// Launches of the driver; null when unknown.
    pub attempt: Option<u32>,
    /// From the start of this process to now.
    pub elapsed_ms: u64,
    /// Steps that are on record, in the order of the job's pipeline.
    pub steps: Vec<Step>,
    /// Steps that have failed or were killed, as far as this process was told. They are on no record.
    pub failed_steps: Vec<FailedStep>,
    /// Why it failed; null after success.
    pub failure: Option<Failure>,
}

/// What a step left behind.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// Its table.
    pub table: String,
    /// COMMITTED, SKIPPED, FENCED or UNKNOWN.
    pub outcome: String,
    /// Version of the Delta table.
    pub version: i64,
    /// Rows read by the step's query.
    pub rows_in: u64,
    /// Rows written.
    pub rows_out: u64,
    /// Bytes written.
    pub bytes_out: u64,
    /// Files written.
    pub files: u32,
    /// Wall-clock time.
    pub elapsed_ms: u64,
    /// Counts of violations.
    pub expectations: Vec<Expectation>,
}

/// A step that ended without a commit.
#[derive(Debug, Clone, Serialize)]
pub struct FailedStep {
    /// Its table.
    pub table: String,
    /// FAILED or KILLED.
    pub state: String,
    /// Why; null when that was not told.
    pub failure: Option<Fault>,
    /// What its expectations found, when they are why.
    pub expectations: Vec<Expectation>,
}

/// Result of one expectation.
#[derive(Debug, Clone, Serialize)]
pub struct Expectation {
    /// Its name.
    pub name: String,
    /// warn, drop or fail.
    pub action: String,
    /// Rows that violated it.
    pub violations: u64,
    /// Rows it was evaluated on; null when that is not known.
    pub checked: Option<u64>,
}

/// A failure in the document.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    /// One of the closed list of classes.
    pub class: ErrorClass,
    /// Stable short name.
    pub code: String,
    /// What was expected and what was found.
    pub message: String,
    /// The next thing to do.
    pub remedy: &'static str,
    /// Everything that is wrong, the failure itself first, when a job was refused.
    pub errors: Vec<Fault>,
}

impl From<&Failed> for Failure {
    fn from(failed: &Failed) -> Self {
        let fault = failed.first().clone();
        let remedy = remedy(&fault);
        let errors = failed.faults().cloned().collect();
        Self { class: fault.class, code: fault.code, message: fault.message, remedy, errors }
    }
}

impl From<&StepRecord> for Step {
    fn from(record: &StepRecord) -> Self {
        Self {
            table: record.table.clone(),
            outcome: record.outcome.clone(),
            version: record.version,
            rows_in: record.rows_in,
            rows_out: record.rows_out,
            bytes_out: record.bytes_out,
            files: record.files,
            elapsed_ms: record.elapsed_ms,
            expectations: record.expectations.iter().map(Expectation::from).collect(),
        }
    }
}

impl From<&StepProgress> for FailedStep {
    fn from(step: &StepProgress) -> Self {
        Self {
            table: step.table.clone(),
            state: step.state.clone(),
            failure: step.failure.clone().map(Fault::from),
            expectations: step.expectations.iter().map(Expectation::from).collect(),
        }
    }
}

impl From<&ExpectationResult> for Expectation {
    fn from(result: &ExpectationResult) -> Self {
        Self {
            name: result.name.clone(),
            action: result.action.clone(),
            violations: result.violations,
            checked: result.checked,
        }
    }
}

/// The exit code of a submission in its last state.
pub fn exit_code(status: &ApplicationStatus) -> u8 {
    match (status.state.as_str(), &status.failure) {
        ("FINISHED", _) => 0,
        ("KILLED", _) => ErrorClass::Cancelled.exit_code(),
        (_, Some(failure)) => Fault::from(failure.clone()).class.exit_code(),
        (_, None) => ErrorClass::Internal.exit_code(),
    }
}

/// Why a submission in its last state has failed; `None` when it has not.
pub fn fault_of(status: &ApplicationStatus) -> Option<Fault> {
    let id = &status.driver_id;
    match (status.state.as_str(), &status.failure) {
        ("FINISHED", _) => None,
        ("KILLED", _) => Some(Fault::new(ErrorClass::Cancelled, "killed", format!("{id} was killed on request"))),
        (_, Some(failure)) => Some(failure.clone().into()),
        (state, None) => {
            let message = format!("{id} ended as {state} without a reason");
            Some(Fault::new(ErrorClass::Internal, "no-reason", message))
        }
    }
}

/// Why the attempt before ended, while another one is waited for or runs.
pub fn relaunch(status: &ApplicationStatus) -> Option<String> {
    let fault = Fault::from(status.relaunch_reason.clone()?);
    // One that is waited for is not counted yet.
    let ended = status.attempt.saturating_sub(u32::from(status.state == "RUNNING"));
    Some(format!("attempt {ended} ended with {}", headline(&fault)))
}

/// A submission's state as JSON, for `--output json`.
pub fn status_json(status: &ApplicationStatus) -> Value {
    let steps: Vec<Step> = status.steps.iter().map(Step::from).collect();
    let failure = status.failure.clone().map(Fault::from);
    let relaunch_reason = status.relaunch_reason.clone().map(Fault::from);
    json!({
        "name": status.name,
        "state": status.state,
        "submission_id": status.submission_id,
        "driver_id": status.driver_id,
        "app_id": status.app_id,
        "deploy_mode": status.deploy_mode,
        "worker_id": status.worker_id,
        "worker_address": status.worker_address,
        "attempt": status.attempt,
        "run_number": status.run_number,
        "submitted_at_ms": status.submitted_at_ms,
        "started_at_ms": status.started_at_ms,
        "ended_at_ms": status.ended_at_ms,
        "waits_for": status.waits_for,
        "relaunch_reason": relaunch_reason,
        "steps": steps,
        "failure": failure,
    })
}

/// A submission's state in the form of `spark-submit --status`, which Airflow's operator takes apart.
pub fn spark_status(status: &ApplicationStatus) -> String {
    let failure = status.failure.clone().map(Fault::from);
    let mut fields = vec![
        ("action", json!("SubmissionStatusResponse")),
        ("driverState", json!(status.state)),
        ("serverSparkVersion", json!(concat!("lake-", env!("CARGO_PKG_VERSION")))),
        ("submissionId", json!(status.driver_id)),
        ("success", json!(true)),
        ("workerHostPort", json!(status.worker_address)),
        ("workerId", json!(status.worker_id)),
    ];
    if let Some(message) = relaunch(status).or_else(|| failure.as_ref().map(headline)) {
        fields.insert(2, ("message", json!(message)));
    }
    spark_lines(&fields)
}

/// The answer to `spark-submit --kill`.
pub fn spark_kill(status: &ApplicationStatus) -> String {
    let id = &status.driver_id;
    let (success, message) = match status.state.as_str() {
        "FINISHED" | "FAILED" | "ERROR" => (false, format!("{id} has already ended as {}", status.state)),
        "KILLED" => (true, format!("{id} is killed")),
        _ => (true, format!("kill request for {id} submitted")),
    };
    spark_lines(&[
        ("action", json!("KillSubmissionResponse")),
        ("message", json!(message)),
        ("serverSparkVersion", json!(concat!("lake-", env!("CARGO_PKG_VERSION")))),
        ("submissionId", json!(id)),
        ("success", json!(success)),
    ])
}

/// An object with ` : ` between name and value, one field a line: scripts split there.
fn spark_lines(fields: &[(&str, Value)]) -> String {
    let lines: Vec<String> = fields.iter().map(|(name, value)| format!("  \"{name}\" : {}", visible(value))).collect();
    format!("{{\n{}\n}}", lines.join(",\n"))
}

/// A value as JSON, with escapes also for what JSON would leave to the terminal.
fn visible(value: &Value) -> String {
    let mut text = String::new();
    for c in value.to_string().chars() {
        // Only strings have such characters, and all of them are in the first plane.
        if is_obeyed(c) { text.push_str(&format!("\\u{:04x}", u32::from(c))) } else { text.push(c) }
    }
    text
}

#[cfg(test)]
mod tests {
    use lake_proto::v1;

    use super::*;

    fn status(state: &str, failure: Option<Fault>) -> ApplicationStatus {
        ApplicationStatus {
            driver_id: "driver-20261121093012-0001".to_owned(),
            state: state.to_owned(),
            failure: failure.map(v1::Failure::from),
            ..ApplicationStatus::default()
        }
    }

    #[test]
    fn airflows_way_to_read_a_status_works() {
        let text = spark_status(&status("RUNNING", None));
        assert!(text.lines().any(|line| line.contains("submissionId")));
        let line = text.lines().find(|line| line.contains("driverState")).unwrap();
        let state = line.split(" : ").nth(1).unwrap().replace([',', '"'], "");
        assert_eq!(state.trim(), "RUNNING");
        assert!(serde_json::from_str::<Value>(&text).is_ok());
    }

    #[test]
    fn what_a_terminal_would_obey_is_shown_in_errors_and_in_a_status_that_is_still_json() {
        let message = "no 'a\u{1b}[2J\u{202e}b\u{9b}'\nsecond line";
        let fault = Fault::new(ErrorClass::NotFound, "table", message);
        let text = Failed::from(fault.clone()).to_text();
        assert!(text.contains("no 'a\\u{1b}[2J\\u{202e}b\\u{9b}'\nsecond line"), "{text}");
        let status = spark_status(&status("FAILED", Some(fault)));
        assert!(!status.chars().any(|c| c != '\n' && is_obeyed(c)), "{status}");
        let document: Value = serde_json::from_str(&status).unwrap();
        let said = document.get("message").and_then(Value::as_str).unwrap();
        assert!(said.ends_with(message), "{said}");
    }

    #[test]
    fn a_status_says_why_the_driver_is_launched_again() {
        let reason = Fault::new(ErrorClass::Unavailable, "driver-lost", "it was lost");
        for (state, attempt, failure) in [("RELAUNCHING", 1, Some(reason.clone())), ("RUNNING", 2, None)] {
            let relaunch_reason = Some(reason.clone().into());
            let status = ApplicationStatus { attempt, relaunch_reason, ..status(state, failure) };
            let words = "attempt 1 ended with error[unavailable/driver-lost]: it was lost";
            assert_eq!(relaunch(&status).as_deref(), Some(words));
            let document: Value = serde_json::from_str(&spark_status(&status)).unwrap();
            assert_eq!(document.get("message"), Some(&json!(words)), "{state}");
            assert_eq!(status_json(&status).pointer("/relaunch_reason/code"), Some(&json!("driver-lost")));
        }
        let first = status("RUNNING", None);
        assert_eq!((relaunch(&first), status_json(&first).get("relaunch_reason")), (None, Some(&Value::Null)));
    }

    #[test]
    fn the_exit_code_tells_the_class_of_the_failure() {
        assert_eq!(exit_code(&status("FINISHED", None)), 0);
        assert_eq!(exit_code(&status("KILLED", None)), 7);
        assert_eq!(exit_code(&status("ERROR", None)), 70);
        for class in ErrorClass::ALL {
            assert_eq!(exit_code(&status("FAILED", Some(Fault::new(class, "c", "m")))), class.exit_code());
        }
    }

    #[test]
    fn a_failure_names_class_code_message_and_the_next_thing_to_do() {
        let first = Fault::new(ErrorClass::InvalidJob, "unknown-key", "job.toml:3:1: unknown key 'x'");
        let other = Fault::new(ErrorClass::InvalidJob, "cycle", "job.toml:9:1: a reads a");
        let text = Failed::all(first, vec![other]).to_text();
        let expected = "error[invalid-job/unknown-key]: job.toml:3:1: unknown key 'x'\n\
                        error[invalid-job/cycle]: job.toml:9:1: a reads a\n  next: ";
        assert!(text.starts_with(expected), "{text}");
    }
}
