//! Spark's protocol of submissions, as the REST port of a Spark Standalone master speaks it: what is asked (`create`) and what
//! is answered. Pure.
//!
//! A submission is called by the id of its driver here, as in Spark. Answers have Spark's fields in Spark's order and are
//! laid out as Spark lays them out: programs take them apart line by line.

mod create;
mod layout;

use lake_proto::{Fault, v1};
use lake_record::ApplicationSummary;
use serde::Serialize;

pub use self::create::{Created, create};
use crate::SPARK_VERSION;

/// Version of the protocol, and the start of every path.
pub const PROTOCOL: &str = "v1";
/// The status of an answer to another version.
const UNKNOWN_PROTOCOL: u16 = 468;
const OK: u16 = 200;

/// An answer with its HTTP status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// JSON.
    pub body: String,
}

/// Names and their order are Spark's: the alphabet's.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    driver_state: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    highest_protocol_version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    server_spark_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    submission_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    success: Option<bool>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    unknown_fields: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    worker_host_port: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker_id: Option<&'a str>,
}

impl Message<'_> {
    fn of(action: &'static str, is_success: bool) -> Self {
        Self { action, success: Some(is_success), server_spark_version: SPARK_VERSION, ..Self::default() }
    }

    fn reply(&self, status: u16) -> Reply {
        Reply { status, body: layout::text(self) }
    }
}

/// A submission was accepted.
pub fn created(driver_id: &str, unknown_fields: &[String]) -> Reply {
    let message = Some(format!("Driver successfully submitted as {driver_id}"));
    let answer = Message::of("CreateSubmissionResponse", true);
    Message { message, submission_id: Some(driver_id), unknown_fields, ..answer }.reply(OK)
}

/// A submission was understood and not accepted.
pub fn not_created(fault: &Fault) -> Reply {
    Message { message: Some(text_of(fault)), ..Message::of("CreateSubmissionResponse", false) }.reply(OK)
}

/// How a driver stands.
pub fn status(found: &v1::ApplicationStatus) -> Reply {
    let failure = found.failure.clone().map(|failure| text_of(&Fault::from(failure)));
    Message {
        driver_state: Some(&found.state),
        submission_id: Some(&found.driver_id),
        worker_id: Some(found.worker_id.as_str()).filter(|text| !text.is_empty()),
        worker_host_port: Some(found.worker_address.as_str()).filter(|text| !text.is_empty()),
        message: failure,
        ..Message::of("SubmissionStatusResponse", true)
    }
    .reply(OK)
}

/// How a driver stood when its application ended, which the masters do not keep any more.
pub fn past_status(summary: &ApplicationSummary) -> Reply {
    status(&v1::ApplicationStatus {
        driver_id: summary.driver_id.clone(),
        state: summary.state.clone(),
        worker_id: summary.worker_id.clone(),
        worker_address: summary.worker_address.clone(),
        failure: summary.failure.clone().map(Into::into),
        ..v1::ApplicationStatus::default()
    })
}

/// Nobody knows this driver. Spark says no more than that.
pub fn unknown_status(id: &str) -> Reply {
    Message { submission_id: Some(id), ..Message::of("SubmissionStatusResponse", false) }.reply(OK)
}

/// A driver was told to end.
pub fn killed(id: &str) -> Reply {
    let message = Some(format!("Kill request for {id} submitted"));
    Message { message, submission_id: Some(id), ..Message::of("KillSubmissionResponse", true) }.reply(OK)
}

/// There is no driver to be ended.
pub fn nothing_to_kill(id: &str) -> Reply {
    let message = Some(format!("Driver {id} has already finished or does not exist"));
    Message { message, submission_id: Some(id), ..Message::of("KillSubmissionResponse", false) }.reply(OK)
}

/// Every driver was told to end.
pub fn all_killed() -> Reply {
    let message = Some("Kill request for all drivers submitted.".to_owned());
    Message { message, ..Message::of("KillAllSubmissionResponse", true) }.reply(OK)
}

/// Applications that have ended were dropped.
pub fn cleared() -> Reply {
    Message { message: Some(String::new()), ..Message::of("ClearResponse", true) }.reply(OK)
}

/// Somebody leads.
pub fn ready() -> Reply {
    Message { message: Some(String::new()), ..Message::of("ReadyzResponse", true) }.reply(OK)
}

/// Nobody leads.
pub fn not_ready() -> Reply {
    Message { success: None, message: Some("Master is not ready.".to_owned()), ..Message::of("ErrorResponse", false) }
        .reply(503)
}

/// A request that was not followed: it is wrong, or no master can follow it now.
pub fn failed(fault: &Fault) -> Reply {
    refused(fault.class.http_status(), &text_of(fault))
}

/// As [`failed`], with a status of its own and in Spark's words.
pub fn refused(status: u16, message: &str) -> Reply {
    Message { success: None, message: Some(message.to_owned()), ..Message::of("ErrorResponse", false) }.reply(status)
}

/// A path that is none, in Spark's words.
pub fn unknown_path(path: &str) -> Reply {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (what, is_other_version) = match parts.as_slice() {
        [] => ("Missing protocol version.".to_owned(), false),
        [PROTOCOL] => ("Missing the /submissions prefix.".to_owned(), false),
        [PROTOCOL, "submissions", "kill"] => ("Submission ID is missing in kill request.".to_owned(), false),
        [PROTOCOL, "submissions", "status"] => ("Submission ID is missing in status request.".to_owned(), false),
        [PROTOCOL, ..] => {
            let actions = "/create, /kill, /killall, /clear, /status or /readyz";
            (format!("Missing an action: please specify one of {actions}."), false)
        }
        [version, ..] => {
            (format!("Unknown protocol version '{}'.", version.chars().take(100).collect::<String>()), true)
        }
    };
    let message =
        Some(format!("{what} Please submit requests through http://[host]:[port]/{PROTOCOL}/submissions/..."));
    let highest_protocol_version = is_other_version.then_some(PROTOCOL);
    let answer = Message { success: None, message, highest_protocol_version, ..Message::of("ErrorResponse", false) };
    answer.reply(if is_other_version { UNKNOWN_PROTOCOL } else { 400 })
}

fn text_of(fault: &Fault) -> String {
    format!("error[{}/{}]: {fault}", fault.class, fault.code)
}

#[cfg(test)]
mod tests {
    use lake_proto::ErrorClass;
    use serde_json::Value;

    use super::*;
    use crate::example;

    #[test]
    fn a_status_is_laid_out_as_airflow_takes_it_apart() {
        let found = v1::ApplicationStatus {
            driver_id: "driver-1".to_owned(),
            state: "RUNNING".to_owned(),
            worker_id: "worker-1".to_owned(),
            worker_address: "h1:7078".to_owned(),
            ..v1::ApplicationStatus::default()
        };
        let expected = "{\n  \"action\" : \"SubmissionStatusResponse\",\n  \"driverState\" : \"RUNNING\",\n  \
                        \"serverSparkVersion\" : \"4.0.0\",\n  \"submissionId\" : \"driver-1\",\n  \"success\" : true,\n  \
                        \"workerHostPort\" : \"h1:7078\",\n  \"workerId\" : \"worker-1\"\n}";
        let reply = status(&found);
        assert_eq!((reply.status, reply.body.as_str()), (200, expected));
        // As airflow.providers.apache.spark.hooks.spark_submit does it.
        let line = reply.body.lines().find(|line| line.contains("driverState")).unwrap().trim();
        assert_eq!(line.split(" : ").nth(1).unwrap().replace([',', '"'], ""), "RUNNING");
    }

    #[test]
    fn answers_have_sparks_fields_and_statuses() {
        let fault = Fault::new(ErrorClass::Resource, "queue-full", "too many wait");
        let unknown = ["mood".to_owned()];
        let failure = Some(Fault::new(ErrorClass::DataQuality, "expectation", "rows are wrong"));
        let past = ApplicationSummary { state: "FAILED".to_owned(), failure, ..example::summary() };
        for (reply, status, expected) in [
            (
                created("driver-1", &unknown),
                200,
                r#"{"action":"CreateSubmissionResponse","message":"Driver successfully submitted as driver-1","serverSparkVersion":"4.0.0","submissionId":"driver-1","success":true,"unknownFields":["mood"]}"#,
            ),
            (
                not_created(&fault),
                200,
                r#"{"action":"CreateSubmissionResponse","message":"error[resource/queue-full]: too many wait","serverSparkVersion":"4.0.0","success":false}"#,
            ),
            (
                past_status(&past),
                200,
                r#"{"action":"SubmissionStatusResponse","driverState":"FAILED","message":"error[data-quality/expectation]: rows are wrong","serverSparkVersion":"4.0.0","submissionId":"driver-20261121093012-0001","success":true,"workerHostPort":"h1:7078","workerId":"worker-1"}"#,
            ),
            (
                unknown_status("driver-9"),
                200,
                r#"{"action":"SubmissionStatusResponse","serverSparkVersion":"4.0.0","submissionId":"driver-9","success":false}"#,
            ),
            (
                killed("driver-1"),
                200,
                r#"{"action":"KillSubmissionResponse","message":"Kill request for driver-1 submitted","serverSparkVersion":"4.0.0","submissionId":"driver-1","success":true}"#,
            ),
            (
                nothing_to_kill("driver-9"),
                200,
                r#"{"action":"KillSubmissionResponse","message":"Driver driver-9 has already finished or does not exist","serverSparkVersion":"4.0.0","submissionId":"driver-9","success":false}"#,
            ),
            (
                all_killed(),
                200,
                r#"{"action":"KillAllSubmissionResponse","message":"Kill request for all drivers submitted.","serverSparkVersion":"4.0.0","success":true}"#,
            ),
            (cleared(), 200, r#"{"action":"ClearResponse","message":"","serverSparkVersion":"4.0.0","success":true}"#),
            (ready(), 200, r#"{"action":"ReadyzResponse","message":"","serverSparkVersion":"4.0.0","success":true}"#),
            (
                not_ready(),
                503,
                r#"{"action":"ErrorResponse","message":"Master is not ready.","serverSparkVersion":"4.0.0"}"#,
            ),
            (
                failed(&fault),
                429,
                r#"{"action":"ErrorResponse","message":"error[resource/queue-full]: too many wait","serverSparkVersion":"4.0.0"}"#,
            ),
        ] {
            assert_eq!(reply.status, status, "{}", reply.body);
            let found: Value = serde_json::from_str(&reply.body).unwrap();
            assert_eq!(found.to_string(), expected);
        }
    }

    #[test]
    fn paths_that_are_none_are_told_apart() {
        for (path, status, words) in [
            ("/", 400, "Missing protocol version."),
            ("/v1", 400, "Missing the /submissions prefix."),
            ("/v1/submissions/", 400, "Missing an action"),
            ("/v1/submissions/fly/x", 400, "Missing an action"),
            ("/v1/submissions/status/", 400, "Submission ID is missing in status request."),
            ("/v1/submissions/kill", 400, "Submission ID is missing in kill request."),
            ("/v2/submissions/create", 468, "Unknown protocol version 'v2'."),
            ("/../v1/submissions/create", 468, "Unknown protocol version '..'."),
        ] {
            let reply = unknown_path(path);
            assert_eq!(reply.status, status, "{path}");
            assert!(
                reply.body.contains(words) && reply.body.contains("http://[host]:[port]/v1/submissions/"),
                "{path}"
            );
            assert_eq!(reply.body.contains("\"highestProtocolVersion\" : \"v1\""), status == 468, "{path}");
        }
        assert!(unknown_path(&"x".repeat(100_000)).body.len() < 1_000);
    }
}
