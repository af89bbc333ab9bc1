//! An answer that is no answer: class, code, message. Pure.

use lake_proto::{ErrorClass, Fault};
use schemars::JsonSchema;
use serde::Serialize;

/// The body of every answer that is not 2xx.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Failure {
    /// What is wrong.
    pub error: Problem,
}

/// Why something failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Problem {
    /// Who must act; docs/errors.md lists the classes.
    pub class: &'static str,
    /// Short and stable; docs/errors.md lists the codes.
    pub code: String,
    /// For a person.
    pub message: String,
}

impl From<&Fault> for Problem {
    fn from(fault: &Fault) -> Self {
        Self { class: fault.class.name(), code: fault.code.clone(), message: fault.message.clone() }
    }
}

impl From<&Fault> for Failure {
    fn from(fault: &Fault) -> Self {
        Self { error: fault.into() }
    }
}

/// Text of a stranger, cut so that an answer cannot be made long.
fn shown(text: &str) -> String {
    text.chars().take(200).collect()
}

/// `id` is no application.
pub fn unknown_application(id: &str) -> Fault {
    let message = format!("'{}' is not a known application, driver or submission id", shown(id));
    Fault::new(ErrorClass::NotFound, "no-such-application", message)
}

/// The application has no such job.
pub(crate) fn unknown_job(id: &str) -> Fault {
    Fault::new(ErrorClass::NotFound, "no-such-job", format!("the application has no job '{}'", shown(id)))
}

/// The application has no such stage, or not this attempt of it.
pub(crate) fn unknown_stage(id: &str, attempt: Option<&str>) -> Fault {
    let message = match attempt {
        Some(attempt) => {
            format!("stage '{}' has no attempt '{}': stages have attempt 0 only", shown(id), shown(attempt))
        }
        None => format!("the application has no stage '{}'", shown(id)),
    };
    Fault::new(ErrorClass::NotFound, "no-such-stage", message)
}

/// No attempt of a task of this stage has succeeded.
pub(crate) fn no_metrics(stage: u64) -> Fault {
    Fault::new(ErrorClass::NotFound, "no-metrics", format!("no task of stage {stage} has reported its figures yet"))
}

/// No kept run wrote or read this table.
pub(crate) fn unknown_table(name: &str) -> Fault {
    let message = format!("no application that is known wrote or read a table '{}'", shown(name));
    Fault::new(ErrorClass::NotFound, "no-such-table", message)
}

/// No path of the API.
pub fn unknown_path(path: &str) -> Fault {
    let message = format!("'{}' is not a path of the API; /api/v1/openapi.json lists them", shown(path));
    Fault::new(ErrorClass::NotFound, "no-such-path", message)
}

/// A path of the API, but not for this verb.
pub fn wrong_method(method: &str, path: &str) -> Fault {
    let message = format!("'{}' does not take {}", shown(path), shown(method));
    Fault::new(ErrorClass::InvalidJob, "method", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_repeats_a_part_of_what_a_stranger_wrote_only() {
        let long = "x".repeat(100_000);
        for fault in [
            unknown_application(&long),
            unknown_job(&long),
            unknown_stage(&long, None),
            unknown_stage(&long, Some(&long)),
            unknown_table(&long),
            unknown_path(&long),
            wrong_method(&long, &long),
        ] {
            assert!(fault.message.len() < 600, "{}", fault.code);
        }
    }

    #[test]
    fn a_failure_is_class_code_and_message() {
        let failure = Failure::from(&unknown_application("app-1"));
        let json = serde_json::to_string(&failure).unwrap();
        let expected = r#"{"error":{"class":"not-found","code":"no-such-application","message":"'app-1' is not a known application, driver or submission id"}}"#;
        assert_eq!(json, expected);
    }
}
