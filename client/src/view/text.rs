//! A step's progress in words. Pure.

use std::time::Duration;

use lake_proto::quantity::{bytes, count, counted, duration, noun};
use lake_proto::v1::{ExpectationResult, StageProgress, StepProgress, StepRecord};
use lake_proto::{ErrorClass, Fault, visible};

use crate::remedy::remedy;
use crate::report::headline;

/// Whether a step in this state changes no more in this attempt of the driver.
pub(super) fn has_ended(state: &str) -> bool {
    is_recorded(state) || matches!(state, "FAILED" | "KILLED" | "NOT_RUN")
}

/// Whether a step in this state changes no more, also when the driver is launched again: that begins with every step
/// anew, but leaves out what is on record.
pub(super) fn is_recorded(state: &str) -> bool {
    matches!(state, "COMMITTED" | "SKIPPED" | "FENCED" | "UNKNOWN")
}

/// What the step does or has done.
pub(super) fn step(step: &StepProgress) -> String {
    match step.state.as_str() {
        "PENDING" => "waiting".to_owned(),
        "RUNNING" => running(&step.stages),
        "COMMITTING" => "committing".to_owned(),
        "COMMITTED" => step.record.as_ref().map_or_else(|| "committed".to_owned(), committed),
        "SKIPPED" => "skipped: this run has already committed it".to_owned(),
        "KILLED" => "killed with the run".to_owned(),
        "NOT_RUN" => "not run: the run had ended before".to_owned(),
        "FENCED" => "not committed, and it never will be: the run was ended before".to_owned(),
        "UNKNOWN" => "nobody could find out whether it was committed".to_owned(),
        "FAILED" => format!("failed: {}", visible::lines(&headline(&fault(step)))),
        other => other.to_lowercase(),
    }
}

/// The next thing to do after the step's failure.
pub(super) fn next(step: &StepProgress) -> &'static str {
    remedy(&fault(step))
}

/// One stage of a step.
pub(super) fn stage(stage: &StageProgress) -> String {
    let tasks = noun(u64::from(stage.tasks_total), "task", "tasks");
    let mut text = format!("stage {}  {}/{} {tasks}", stage.stage_id, stage.tasks_done, stage.tasks_total);
    if stage.tasks_running > 0 {
        text.push_str(&format!(" ({} running)", stage.tasks_running));
    }
    if stage.rows > 0 {
        text.push_str(&format!("  {}  {}", counted(stage.rows, "row"), bytes(stage.bytes)));
    }
    if stage.retries > 0 {
        text.push_str(&format!("  {} retried", stage.retries));
    }
    text
}

fn running(stages: &[StageProgress]) -> String {
    let done: u64 = stages.iter().map(|stage| u64::from(stage.tasks_done)).sum();
    let total: u64 = stages.iter().map(|stage| u64::from(stage.tasks_total)).sum();
    match total {
        0 => "running".to_owned(),
        _ => {
            let tasks = noun(total, "task", "tasks");
            let stages = counted(stages.len(), "stage");
            format!("running  {done}/{total} {tasks} in {stages}")
        }
    }
}

fn committed(record: &StepRecord) -> String {
    let mut text = format!(
        "committed version {}  {} in {}  {}  {}",
        record.version,
        counted(record.rows_out, "row"),
        counted(record.files, "file"),
        bytes(record.bytes_out),
        duration(Duration::from_millis(record.elapsed_ms)),
    );
    for result in record.expectations.iter().filter(|result| result.violations > 0) {
        text.push_str("  ");
        text.push_str(&violations(result));
    }
    text
}

fn violations(result: &ExpectationResult) -> String {
    let fate = match result.action.as_str() {
        "warn" => "flagged",
        "drop" => "dropped",
        _ => "violated",
    };
    format!("[{}: {} {fate}]", result.name, count(result.violations))
}

fn fault(step: &StepProgress) -> Fault {
    let unknown = || Fault::new(ErrorClass::Internal, "no-reason", "the step failed without a reason");
    step.failure.clone().map_or_else(unknown, Fault::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_committed_step_shows_version_rows_files_and_violations() {
        let expectations = vec![
            ExpectationResult { name: "email".into(), action: "drop".into(), violations: 3, checked: None },
            ExpectationResult { name: "country".into(), action: "warn".into(), violations: 0, checked: None },
        ];
        let record = StepRecord {
            version: 4,
            rows_out: 1200,
            files: 2,
            bytes_out: 2048,
            elapsed_ms: 1500,
            expectations,
            ..StepRecord::default()
        };
        let progress = StepProgress { state: "COMMITTED".into(), record: Some(record), ..StepProgress::default() };
        assert_eq!(step(&progress), "committed version 4  1,200 rows in 2 files  2.0 KiB  1.5 s  [email: 3 dropped]");
    }

    #[test]
    fn one_of_a_thing_is_not_called_many() {
        let stage_of_one =
            StageProgress { stage_id: 1, tasks_total: 1, tasks_done: 1, rows: 1, ..StageProgress::default() };
        assert_eq!(stage(&stage_of_one), "stage 1  1/1 task  1 row  0 B");
        let running = StepProgress { state: "RUNNING".into(), stages: vec![stage_of_one], ..StepProgress::default() };
        assert_eq!(step(&running), "running  1/1 task in 1 stage");
        let record = StepRecord { rows_out: 1, files: 1, ..StepRecord::default() };
        let committed = StepProgress { state: "COMMITTED".into(), record: Some(record), ..StepProgress::default() };
        assert_eq!(step(&committed), "committed version 0  1 row in 1 file  0 B  0 ms");
    }

    #[test]
    fn a_running_stage_shows_tasks_rows_and_retries() {
        let progress = StageProgress {
            stage_id: 2,
            tasks_total: 8,
            tasks_running: 2,
            tasks_done: 3,
            rows: 1000,
            bytes: 4096,
            retries: 1,
        };
        assert_eq!(stage(&progress), "stage 2  3/8 tasks (2 running)  1,000 rows  4.0 KiB  1 retried");
    }

    #[test]
    fn a_step_that_was_killed_with_its_run_has_ended_and_not_failed() {
        let killed = StepProgress { state: "KILLED".into(), ..StepProgress::default() };
        assert_eq!(step(&killed), "killed with the run");
        assert!(has_ended(&killed.state) && !is_recorded(&killed.state));
        let waited = StepProgress { state: "NOT_RUN".into(), ..StepProgress::default() };
        assert_eq!(step(&waited), "not run: the run had ended before");
        assert!(has_ended(&waited.state) && !is_recorded(&waited.state));
    }

    #[test]
    fn a_failed_step_shows_its_class() {
        let failure = Fault::new(ErrorClass::DataQuality, "expectation", "email: 3 rows violate it");
        let progress =
            StepProgress { state: "FAILED".into(), failure: Some(failure.into()), ..StepProgress::default() };
        assert_eq!(step(&progress), "failed: error[data-quality/expectation]: email: 3 rows violate it");
        assert!(has_ended(&progress.state) && !is_recorded(&progress.state));
    }
}
