//! A query, which is what Spark calls a job. Pure.

use std::collections::BTreeMap;

use lake_proto::Fault;
use lake_record::{ApplicationRecord, AttemptState, QueryState};
use schemars::JsonSchema;
use serde::Serialize;

use crate::date::Date;
use crate::failure::{Problem, unknown_job};
use crate::numbering::{self, Job};
use crate::parameter::{Kind, Page, Parameter, Query};
use crate::stage::{Status, status_of};
use crate::{Part, count};

/// Spark's states of a job.
pub const STATUS: Parameter = Parameter {
    name: "status",
    kind: Kind::Words(&["running", "succeeded", "failed", "unknown"]),
    about: "States of jobs.",
};

/// A job. Spark's fields; ours come last.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobData {
    /// From 0, in the order in which the application's queries were accepted.
    pub job_id: u64,
    /// The table whose step it belongs to.
    pub name: String,
    /// When it was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub submission_time: Option<Date>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Date>,
    /// Numbers of its stages.
    pub stage_ids: Vec<u64>,
    /// Always empty.
    pub job_tags: Vec<String>,
    /// RUNNING, SUCCEEDED or FAILED.
    pub status: &'static str,
    /// Tasks of all its stages.
    pub num_tasks: u64,
    /// Attempts that run.
    pub num_active_tasks: u64,
    /// Attempts that succeeded.
    pub num_completed_tasks: u64,
    /// Tasks of stages that were not needed.
    pub num_skipped_tasks: u64,
    /// Attempts that failed, or were lost with their worker.
    pub num_failed_tasks: u64,
    /// Attempts that were told to end.
    pub num_killed_tasks: u64,
    /// Tasks that are done.
    pub num_completed_indices: u64,
    /// Stages that run.
    pub num_active_stages: u64,
    /// Stages that are done.
    pub num_completed_stages: u64,
    /// Stages that were not needed.
    pub num_skipped_stages: u64,
    /// Stages that failed.
    pub num_failed_stages: u64,
    /// Attempts that were told to end, by the reason.
    pub killed_tasks_summary: BTreeMap<String, u64>,
    /// Unique over all applications.
    pub query_id: String,
    /// RUNNING, FINISHED, FAILED or CANCELLED.
    pub query_state: QueryStateName,
    /// Another master led when it began: attempts of that time are not known.
    pub is_attached: bool,
    /// Bytes its scans were expected to read.
    pub estimated_scan_bytes: u64,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Problem>,
}

/// How a query stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum QueryStateName {
    /// Its tasks run or wait for cores.
    Running,
    /// Its driver has the answer.
    Finished,
    /// It failed.
    Failed,
    /// Its driver does not want it any more.
    Cancelled,
}

/// Jobs of an application, the last one first.
///
/// # Errors
/// `invalid-job/parameter` for a state that is none.
pub fn list(record: &ApplicationRecord, query: &Query) -> Result<Part<JobData>, Fault> {
    let (wanted, page): (Vec<&str>, Page) = (query.words(&STATUS)?, query.page()?);
    let is_wanted =
        |job: &Job<'_>| wanted.is_empty() || wanted.iter().any(|word| word.eq_ignore_ascii_case(status(job)));
    let jobs = numbering::jobs(record).into_iter().rev().filter(is_wanted);
    Ok(Part::of(jobs, page).map(|job| data(&job)))
}

/// The job with this number.
///
/// # Errors
/// `not-found/no-such-job`.
pub fn find(record: &ApplicationRecord, id: &str) -> Result<JobData, Fault> {
    let number = id.parse::<u64>().ok();
    let found = number.and_then(|number| numbering::jobs(record).into_iter().find(|job| job.id == number));
    found.map(|job| data(&job)).ok_or_else(|| unknown_job(id))
}

const fn status(job: &Job<'_>) -> &'static str {
    match job.query.state {
        QueryState::Running => "RUNNING",
        QueryState::Finished => "SUCCEEDED",
        QueryState::Failed | QueryState::Cancelled => "FAILED",
    }
}

fn data(job: &Job<'_>) -> JobData {
    let query = job.query;
    let in_state = |state: AttemptState| {
        let attempts = query.stages.iter().flat_map(|stage| &stage.attempts);
        count(attempts.filter(|attempt| attempt.state == state).count())
    };
    let stages = |wanted: Status| job.stages().filter(move |stage| status_of(stage) == wanted);
    let killed = in_state(AttemptState::Killed);
    JobData {
        job_id: job.id,
        name: query.step.clone(),
        submission_time: Date::if_past(query.accepted_at_ms),
        completion_time: Date::if_past(query.ended_at_ms),
        stage_ids: job.stages().map(|stage| stage.id).collect(),
        job_tags: Vec::new(),
        status: status(job),
        num_tasks: query.stages.iter().map(|stage| u64::from(stage.tasks)).sum(),
        num_active_tasks: in_state(AttemptState::Running),
        num_completed_tasks: in_state(AttemptState::Success),
        num_skipped_tasks: stages(Status::Skipped).map(|stage| u64::from(stage.stage.tasks)).sum(),
        num_failed_tasks: in_state(AttemptState::Failed) + in_state(AttemptState::Lost),
        num_killed_tasks: killed,
        num_completed_indices: query.stages.iter().map(|stage| u64::from(stage.tasks_done)).sum(),
        num_active_stages: count(stages(Status::Active).count()),
        num_completed_stages: count(stages(Status::Complete).count()),
        num_skipped_stages: count(stages(Status::Skipped).count()),
        num_failed_stages: count(stages(Status::Failed).count()),
        killed_tasks_summary: killed_summary(killed),
        query_id: query.query_id.clone(),
        query_state: match query.state {
            QueryState::Running => QueryStateName::Running,
            QueryState::Finished => QueryStateName::Finished,
            QueryState::Failed => QueryStateName::Failed,
            QueryState::Cancelled => QueryStateName::Cancelled,
        },
        is_attached: query.is_attached,
        estimated_scan_bytes: query.estimated_scan_bytes,
        failure: query.failure.as_ref().map(Problem::from),
    }
}

/// Spark counts by the reason; ours is not known.
pub(crate) fn killed_summary(killed: u64) -> BTreeMap<String, u64> {
    if killed == 0 { BTreeMap::new() } else { BTreeMap::from([("not wanted any more".to_owned(), killed)]) }
}

#[cfg(test)]
mod tests {
    use lake_proto::ErrorClass;
    use serde_json::json;

    use super::*;
    use crate::example;

    fn ids(written: &str) -> Vec<u64> {
        let part = list(&example::record(), &Query::of(written)).unwrap();
        part.items.iter().map(|job| job.job_id).collect()
    }

    #[test]
    fn a_query_is_a_job_with_sparks_fields() {
        let json = serde_json::to_value(find(&example::record(), "1").unwrap()).unwrap();
        let expected = json!({
            "jobId": 1,
            "name": "silver.orders",
            "submissionTime": "1970-01-01T00:00:03.700GMT",
            "completionTime": "1970-01-01T00:00:04.800GMT",
            "stageIds": [2, 3],
            "jobTags": [],
            "status": "FAILED",
            "numTasks": 8,
            "numActiveTasks": 0,
            "numCompletedTasks": 1,
            "numSkippedTasks": 4,
            "numFailedTasks": 2,
            "numKilledTasks": 1,
            "numCompletedIndices": 1,
            "numActiveStages": 0,
            "numCompletedStages": 0,
            "numSkippedStages": 1,
            "numFailedStages": 1,
            "killedTasksSummary": { "not wanted any more": 1 },
            "queryId": "q-2",
            "queryState": "FAILED",
            "isAttached": false,
            "estimatedScanBytes": 0,
            "failure": { "class": "resource", "code": "memory", "message": "no memory is left" },
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn jobs_are_listed_the_last_one_first_by_state_and_in_parts() {
        assert_eq!(ids(""), [2, 1, 0]);
        assert_eq!(ids("status=running"), [2]);
        assert_eq!(ids("status=SUCCEEDED,failed"), [1, 0]);
        assert_eq!(ids("limit=1&offset=1"), [1]);
        assert_eq!(ids("offset=1000000000"), [0; 0]);
        assert_eq!(list(&example::record(), &Query::of("limit=1")).unwrap().total, 3);
        assert!(list(&example::record(), &Query::of("status=maybe")).is_err());
    }

    #[test]
    fn a_job_that_is_not_there_is_not_found() {
        for id in ["3", "-1", "x", "", "18446744073709551616", "../1"] {
            let fault = find(&example::record(), id).unwrap_err();
            assert_eq!((fault.class, fault.code.as_str()), (ErrorClass::NotFound, "no-such-job"), "{id}");
        }
    }
}
