//! One application, in a list and in detail: Spark's fields and ours in one object. Pure.

mod shape;

use lake_proto::{Fault, v1};
use lake_record::{ApplicationRecord, ApplicationSummary, DriverAttempt, Origin};

pub use self::shape::{Application, Attempt, Detail, Killed, QueryPicture, StagePicture, StepPicture};
use crate::SPARK_VERSION;
use crate::date::Date;
use crate::failure::Problem;
use crate::step::RecordedStep;

impl Application {
    /// As lists have it.
    pub fn of_summary(summary: &ApplicationSummary, steps: Vec<RecordedStep>, now_ms: u64) -> Self {
        Self::new(summary, vec![Attempt::of_summary(summary, now_ms)], steps)
    }

    fn new(summary: &ApplicationSummary, attempts: Vec<Attempt>, steps: Vec<RecordedStep>) -> Self {
        let (is_over, summary) = (summary.is_over(), summary.clone());
        Self {
            id: summary.app_id.clone(),
            name: summary.name,
            max_cores: Some(summary.total_executor_cores).filter(|cores| *cores > 0),
            attempts,
            submission_id: summary.submission_id,
            app_id: summary.app_id,
            driver_id: summary.driver_id,
            job_name: summary.job_name,
            state: summary.state,
            is_killing: summary.is_killing,
            deploy_mode: summary.deploy_mode,
            worker_id: summary.worker_id,
            worker_address: summary.worker_address,
            attempt: summary.attempt,
            max_attempts: summary.max_attempts,
            run_number: summary.run_number,
            driver_memory_bytes: summary.driver_memory_bytes,
            total_executor_cores: summary.total_executor_cores,
            submitted_at_ms: summary.submitted_at_ms,
            started_at_ms: summary.started_at_ms,
            ended_at_ms: summary.ended_at_ms,
            relaunch_reason: summary.failure.as_ref().filter(|_| !is_over).map(Problem::from),
            failure: summary.failure.as_ref().map(Problem::from),
            waits_for: Some(summary.waits_for).filter(|reason| !reason.is_empty()),
            steps,
        }
    }
}

impl Attempt {
    fn of_summary(summary: &ApplicationSummary, now_ms: u64) -> Self {
        let started_at_ms = if summary.started_at_ms > 0 { summary.started_at_ms } else { summary.submitted_at_ms };
        Self {
            worker_id: summary.worker_id.clone(),
            failure: summary.failure.as_ref().map(Problem::from),
            ..Self::new(summary.attempt, started_at_ms, summary.ended_at_ms, now_ms)
        }
    }

    fn of_driver(driver: &DriverAttempt, now_ms: u64) -> Self {
        Self {
            worker_id: driver.worker_id.clone(),
            exit_code: driver.exit_code,
            signal: driver.signal,
            failure: driver.failure.as_ref().map(Problem::from),
            ..Self::new(driver.number, driver.launched_at_ms, driver.ended_at_ms, now_ms)
        }
    }

    fn new(number: u32, started_at_ms: u64, ended_at_ms: u64, now_ms: u64) -> Self {
        let start = Date::at(started_at_ms);
        let end = Date::if_past(ended_at_ms);
        let updated = end.unwrap_or(Date::at(now_ms));
        let until_ms = if ended_at_ms > 0 { ended_at_ms } else { now_ms };
        Self {
            attempt_id: (number > 0).then(|| number.to_string()),
            start_time: start,
            end_time: end.unwrap_or(Date::NEVER),
            last_updated: updated,
            duration: until_ms.saturating_sub(started_at_ms),
            spark_user: String::new(),
            completed: end.is_some(),
            app_spark_version: SPARK_VERSION.to_owned(),
            start_time_epoch: start.epoch_ms(),
            end_time_epoch: end.unwrap_or(Date::NEVER).epoch_ms(),
            last_updated_epoch: updated.epoch_ms(),
            worker_id: String::new(),
            exit_code: None,
            signal: 0,
            failure: None,
        }
    }
}

impl Detail {
    /// An application with what is known of it beside its record. `steps` are those that the masters keep, when they still
    /// keep the application.
    pub fn new(
        record: &ApplicationRecord,
        steps: Option<Vec<RecordedStep>>,
        progress: Vec<v1::StepProgress>,
        queries: Vec<QueryPicture>,
        now_ms: u64,
    ) -> Self {
        let mut attempts: Vec<Attempt> =
            record.attempts.iter().rev().map(|driver| Attempt::of_driver(driver, now_ms)).collect();
        if attempts.is_empty() {
            attempts.push(Attempt::of_summary(&record.summary, now_ms));
        }
        let steps = steps.unwrap_or_else(|| RecordedStep::of_records(&record.steps));
        // The last picture of a driver that is gone shows steps that run.
        let live = if record.summary.is_over() { Vec::new() } else { progress };
        Self {
            application: Application::new(&record.summary, attempts, steps),
            progress: live.into_iter().map(StepPicture::from).collect(),
            queries,
            origin: match record.origin {
                Origin::Live => "live",
                Origin::History => "history",
                Origin::Damaged => "damaged",
            },
            is_partial: record.is_partial,
        }
    }
}

impl QueryPicture {
    /// A query with its stages as the scheduler has them.
    pub fn new(query_id: String, label: String, stages: Vec<v1::StageProgress>) -> Self {
        Self { query_id, label, stages: stages.into_iter().map(StagePicture::from).collect() }
    }
}

impl From<v1::StepProgress> for StepPicture {
    fn from(step: v1::StepProgress) -> Self {
        Self {
            table: step.table,
            state: step.state,
            stages: step.stages.into_iter().map(StagePicture::from).collect(),
            failure: step.failure.map(|failure| Problem::from(&Fault::from(failure))),
        }
    }
}

impl From<v1::StageProgress> for StagePicture {
    fn from(stage: v1::StageProgress) -> Self {
        Self {
            stage_id: stage.stage_id,
            tasks_total: stage.tasks_total,
            tasks_running: stage.tasks_running,
            tasks_done: stage.tasks_done,
            rows: stage.rows,
            bytes: stage.bytes,
            retries: stage.retries,
        }
    }
}

impl From<v1::ApplicationStatus> for Killed {
    fn from(status: v1::ApplicationStatus) -> Self {
        Self { app_id: status.app_id, driver_id: status.driver_id, state: status.state }
    }
}

impl From<&ApplicationSummary> for Killed {
    fn from(summary: &ApplicationSummary) -> Self {
        Self { app_id: summary.app_id.clone(), driver_id: summary.driver_id.clone(), state: summary.state.clone() }
    }
}

#[cfg(test)]
mod tests {
    use lake_master_core::view::ApplicationView;
    use serde_json::{Value, json};

    use super::*;
    use crate::example;

    #[test]
    fn an_application_has_the_fields_that_it_had_before_and_sparks() {
        let summary = example::summary();
        let application = Application::of_summary(&summary, Vec::new(), 9_000);
        let json = serde_json::to_value(&application).unwrap();
        let before = ApplicationView {
            submission_id: summary.submission_id,
            app_id: summary.app_id,
            driver_id: summary.driver_id,
            name: summary.name,
            job_name: summary.job_name,
            state: "RUNNING",
            is_killing: false,
            deploy_mode: "cluster",
            worker_id: summary.worker_id,
            worker_address: summary.worker_address,
            attempt: summary.attempt,
            max_attempts: summary.max_attempts,
            run_number: summary.run_number,
            driver_memory_bytes: summary.driver_memory_bytes,
            total_executor_cores: summary.total_executor_cores,
            submitted_at_ms: summary.submitted_at_ms,
            started_at_ms: summary.started_at_ms,
            ended_at_ms: summary.ended_at_ms,
            failure: None,
            waits_for: None,
            relaunch_reason: None,
            steps: Vec::new(),
        };
        let Value::Object(before) = serde_json::to_value(&before).unwrap() else { panic!("not an object") };
        for (name, value) in before {
            assert_eq!(json.get(&name), Some(&value), "{name}");
        }
        assert_eq!((&json["id"], &json["maxCores"]), (&json!("app-20261121093012-0001"), &json!(4)));
    }

    #[test]
    fn an_attempt_that_runs_looks_as_in_spark() {
        let application = Application::of_summary(&example::summary(), Vec::new(), 9_000);
        assert_eq!(
            serde_json::to_value(&application.attempts).unwrap(),
            json!([{
                "attemptId": "2",
                "startTime": "1970-01-01T00:00:02.000GMT",
                "endTime": "1969-12-31T23:59:59.999GMT",
                "lastUpdated": "1970-01-01T00:00:09.000GMT",
                "duration": 7000,
                "sparkUser": "",
                "completed": false,
                "appSparkVersion": SPARK_VERSION,
                "startTimeEpoch": 2000,
                "endTimeEpoch": -1,
                "lastUpdatedEpoch": 9000,
                "workerId": "worker-1",
                "signal": 0,
            }])
        );
        let waiting = ApplicationSummary { started_at_ms: 0, attempt: 0, ..example::summary() };
        let application = Application::of_summary(&waiting, Vec::new(), 9_000);
        let attempt = application.attempts.first().unwrap();
        assert_eq!((attempt.attempt_id.as_deref(), attempt.start_time_epoch, attempt.duration), (None, 1_000, 8_000));
    }

    #[test]
    fn a_detail_has_every_attempt_the_last_one_first_and_where_it_comes_from() {
        let record = example::record();
        let stage = v1::StageProgress { stage_id: 1, tasks_total: 4, tasks_running: 1, ..Default::default() };
        let step = v1::StepProgress {
            table: "bronze.orders".to_owned(),
            state: "RUNNING".to_owned(),
            stages: vec![stage],
            ..Default::default()
        };
        let query = QueryPicture::new("q-1".to_owned(), "bronze.orders".to_owned(), vec![stage]);
        let detail = Detail::new(&record, None, vec![step], vec![query], 9_000);
        let json = serde_json::to_value(&detail).unwrap();
        let attempts: Vec<&Value> = json["attempts"].as_array().unwrap().iter().map(|a| &a["attemptId"]).collect();
        assert_eq!(attempts, ["2", "1"]);
        assert_eq!(json["attempts"][1]["exitCode"], 6);
        assert_eq!(json["attempts"][1]["failure"]["code"], "lease-expired");
        assert_eq!(json["progress"][0]["stages"][0]["tasks_running"], 1);
        assert_eq!(json["queries"][0]["label"], "bronze.orders");
        assert_eq!((&json["origin"], &json["app_id"]), (&json!("live"), &json["id"]));
        assert_eq!(json["steps"][0]["outcome"], "COMMITTED");
        let kept = Detail::new(&record, Some(Vec::new()), Vec::new(), Vec::new(), 9_000);
        assert_eq!(kept.application.steps, []);
    }

    #[test]
    fn an_application_that_is_over_makes_no_progress() {
        let running = v1::StepProgress { state: "RUNNING".to_owned(), ..Default::default() };
        let mut record = example::record();
        let progress = |record: &ApplicationRecord| {
            Detail::new(record, None, vec![running.clone()], Vec::new(), 9_000).progress.len()
        };
        assert_eq!(progress(&record), 1);
        record.summary.state = "KILLED".to_owned();
        record.summary.ended_at_ms = 8_000;
        assert_eq!(progress(&record), 0);
    }
}
