//! A stage with Spark's fields. Pure.
//!
//! A stage has attempt 0 only: when outputs are lost, its tasks get further attempts, and the stage stays the same.

mod shape;

use std::collections::BTreeMap;

use lake_proto::Fault;
use lake_record::{ApplicationRecord, AttemptState, AttemptTotals, OperatorRecord, QueryState};

pub use self::shape::{ExecutorStageSummary, Operator, StageData, Status};
use crate::date::Date;
use crate::failure::unknown_stage;
use crate::job::killed_summary;
use crate::numbering::{self, Stage};
use crate::parameter::{Kind, Parameter, Query};
use crate::{Part, count};

/// Spark's states of a stage.
pub const STATUS: Parameter = Parameter {
    name: "status",
    kind: Kind::Words(&["active", "complete", "pending", "failed", "skipped"]),
    about: "States of stages.",
};

/// Stages of an application, the last one first.
///
/// # Errors
/// `invalid-job/parameter` for a state that is none.
pub fn list(record: &ApplicationRecord, query: &Query) -> Result<Part<StageData>, Fault> {
    let (wanted, page) = (query.words(&STATUS)?, query.page()?);
    let is_wanted = |stage: &Stage<'_>| {
        wanted.is_empty() || wanted.iter().any(|word| word.eq_ignore_ascii_case(status_of(stage).name()))
    };
    let stages = numbering::stages(record).into_iter().rev().filter(is_wanted);
    Ok(Part::of(stages, page).map(|stage| data(&stage)))
}

/// Every attempt of the stage with this number: one.
///
/// # Errors
/// `not-found/no-such-stage`.
pub fn attempts(record: &ApplicationRecord, id: &str) -> Result<Vec<StageData>, Fault> {
    Ok(vec![detail(&find(record, id, "0")?)])
}

/// An attempt of the stage with this number.
///
/// # Errors
/// `not-found/no-such-stage`.
pub fn one(record: &ApplicationRecord, id: &str, attempt: &str) -> Result<StageData, Fault> {
    find(record, id, attempt).map(|stage| detail(&stage))
}

/// The stage with this number, when its attempt is 0.
///
/// # Errors
/// `not-found/no-such-stage`.
pub(crate) fn find<'a>(record: &'a ApplicationRecord, id: &str, attempt: &str) -> Result<Stage<'a>, Fault> {
    let number = id.parse::<u64>().ok().and_then(|number| numbering::stage(record, number));
    let stage = number.ok_or_else(|| unknown_stage(id, None))?;
    if attempt == "0" { Ok(stage) } else { Err(unknown_stage(id, Some(attempt))) }
}

pub(crate) fn status_of(stage: &Stage<'_>) -> Status {
    let has_begun = !stage.stage.attempts.is_empty() || stage.stage.attempts_left_out > 0;
    let is_done = stage.stage.tasks_done >= stage.stage.tasks && stage.stage.tasks > 0;
    match (stage.job.query.state, is_done, has_begun) {
        (_, true, _) => Status::Complete,
        (QueryState::Running, false, true) => Status::Active,
        (QueryState::Running, false, false) => Status::Pending,
        (QueryState::Failed | QueryState::Cancelled, false, true) => Status::Failed,
        (QueryState::Failed | QueryState::Cancelled, false, false) | (QueryState::Finished, false, _) => {
            Status::Skipped
        }
    }
}

fn detail(stage: &Stage<'_>) -> StageData {
    let operators = stage.stage.operators.iter().map(Operator::from).collect();
    StageData { executor_summary: Some(by_worker(stage)), operators: Some(operators), ..data(stage) }
}

fn data(numbered: &Stage<'_>) -> StageData {
    let (stage, query) = (numbered.stage, numbered.job.query);
    let status = status_of(numbered);
    let mut totals = AttemptTotals::default();
    stage.attempts.iter().for_each(|attempt| totals.add(&attempt.totals));
    let in_state = |state: AttemptState| count(stage.attempts.iter().filter(|attempt| attempt.state == state).count());
    let sum = |figure: fn(&OperatorRecord) -> u64| stage.operators.iter().map(figure).fold(0, u64::saturating_add);
    let is_over = !matches!(status, Status::Active | Status::Pending);
    let last_end = stage.attempts.iter().map(|attempt| attempt.ended_at_ms).max().filter(|_| is_over);
    let root = stage.operators.first().map_or("stage", |root| root.name.as_str());
    StageData {
        status,
        stage_id: numbered.id,
        attempt_id: 0,
        num_tasks: u64::from(stage.tasks),
        num_active_tasks: in_state(AttemptState::Running),
        num_complete_tasks: in_state(AttemptState::Success),
        num_failed_tasks: in_state(AttemptState::Failed) + in_state(AttemptState::Lost),
        num_killed_tasks: in_state(AttemptState::Killed),
        num_completed_indices: u64::from(stage.tasks_done),
        submission_time: Date::if_past(query.accepted_at_ms),
        first_task_launched_time: stage
            .attempts
            .iter()
            .map(|attempt| attempt.launched_at_ms)
            .min()
            .and_then(Date::if_past),
        completion_time: last_end.and_then(Date::if_past),
        failure_reason: failure_reason(numbered, status),
        executor_run_time: totals.elapsed_ms,
        executor_cpu_time: sum(|operator| operator.metrics.compute_ns),
        result_size: 0,
        jvm_gc_time: 0,
        memory_bytes_spilled: 0,
        disk_bytes_spilled: totals.spilled_bytes,
        input_bytes: totals.input_bytes,
        input_records: totals.input_rows,
        output_bytes: if stage.is_result { totals.bytes } else { 0 },
        output_records: if stage.is_result { totals.rows } else { 0 },
        shuffle_read_bytes: totals.shuffle_read_bytes,
        shuffle_read_records: totals.shuffle_read_rows,
        shuffle_write_bytes: totals.shuffle_write_bytes,
        shuffle_write_records: totals.shuffle_write_rows,
        name: format!("{root} of {}", query.step),
        description: query.step.clone(),
        details: tree(&stage.operators),
        scheduling_pool: "default",
        rdd_ids: Vec::new(),
        accumulator_updates: Vec::new(),
        killed_tasks_summary: killed_summary(in_state(AttemptState::Killed)),
        resource_profile_id: 0,
        parent_ids: numbered.parents(),
        executor_summary: None,
        job_id: numbered.job.id,
        query_id: query.query_id.clone(),
        query_stage_id: stage.stage_id,
        cores_per_task: stage.cores_per_task,
        attempts_left_out: stage.attempts_left_out,
        operators: None,
    }
}

/// Why its last attempt failed, or its query.
fn failure_reason(stage: &Stage<'_>, status: Status) -> Option<String> {
    let last = stage.stage.failed().filter_map(|attempt| attempt.failure.as_ref()).last();
    let reason = last.or(stage.job.query.failure.as_ref()).filter(|_| status == Status::Failed)?;
    Some(reason.to_string())
}

fn tree(operators: &[OperatorRecord]) -> String {
    /// Deeper ones are not indented further.
    const DEEPEST: u32 = 50;
    let mut lines = String::new();
    for operator in operators {
        for _ in 0..operator.depth.min(DEEPEST) {
            lines.push_str("  ");
        }
        lines.push_str(&operator.detail);
        lines.push('\n');
    }
    lines
}

fn by_worker(stage: &Stage<'_>) -> BTreeMap<String, ExecutorStageSummary> {
    let mut by_worker: BTreeMap<String, ExecutorStageSummary> = BTreeMap::new();
    for attempt in &stage.stage.attempts {
        let summary = by_worker.entry(attempt.worker_id.clone()).or_default();
        let totals = &attempt.totals;
        match attempt.state {
            AttemptState::Running => {}
            AttemptState::Success => summary.succeeded_tasks += 1,
            AttemptState::Failed | AttemptState::Lost => summary.failed_tasks += 1,
            AttemptState::Killed => summary.killed_tasks += 1,
        }
        let mut add = vec![
            (&mut summary.task_time, totals.elapsed_ms),
            (&mut summary.input_bytes, totals.input_bytes),
            (&mut summary.input_records, totals.input_rows),
            (&mut summary.shuffle_read, totals.shuffle_read_bytes),
            (&mut summary.shuffle_read_records, totals.shuffle_read_rows),
            (&mut summary.shuffle_write, totals.shuffle_write_bytes),
            (&mut summary.shuffle_write_records, totals.shuffle_write_rows),
            (&mut summary.disk_bytes_spilled, totals.spilled_bytes),
        ];
        if stage.stage.is_result {
            add.push((&mut summary.output_bytes, totals.bytes));
            add.push((&mut summary.output_records, totals.rows));
        }
        for (sum, more) in add {
            *sum = sum.saturating_add(more);
        }
    }
    by_worker
}

impl From<&OperatorRecord> for Operator {
    fn from(operator: &OperatorRecord) -> Self {
        Self {
            depth: operator.depth,
            name: operator.name.clone(),
            detail: operator.detail.clone(),
            output_rows: operator.metrics.output_rows,
            compute_ns: operator.metrics.compute_ns,
            spilled_bytes: operator.metrics.spilled_bytes,
            spills: operator.metrics.spills,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    fn ids(written: &str) -> Vec<u64> {
        let part = list(&example::record(), &Query::of(written)).unwrap();
        part.items.iter().map(|stage| stage.stage_id).collect()
    }

    #[test]
    fn stages_are_listed_by_sparks_states() {
        assert_eq!(ids(""), [5, 4, 3, 2, 1, 0]);
        assert_eq!(ids("status=complete"), [1, 0]);
        assert_eq!(ids("status=FAILED"), [2]);
        assert_eq!(ids("status=skipped"), [3]);
        assert_eq!(ids("status=active"), [4]);
        assert_eq!(ids("status=pending&status=active"), [5, 4]);
        assert_eq!(ids("limit=2&offset=3"), [2, 1]);
        assert!(list(&example::record(), &Query::of("status=lazy")).is_err());
    }

    #[test]
    fn a_stage_has_its_sums_its_tree_and_its_failure() {
        let stage = one(&example::record(), "2", "0").unwrap();
        assert_eq!((stage.job_id, stage.query_id.as_str(), stage.query_stage_id), (1, "q-2", 1));
        assert_eq!((stage.num_failed_tasks, stage.num_killed_tasks, stage.num_complete_tasks), (2, 1, 1));
        assert_eq!(stage.executor_run_time, 10 + 20 + 10 + 30);
        assert_eq!((stage.executor_cpu_time, stage.input_records, stage.input_bytes), (10_000, 20, 200));
        assert_eq!((stage.output_records, stage.shuffle_write_records), (0, 70));
        assert_eq!(stage.failure_reason.as_deref(), Some("no memory is left"));
        assert_eq!(stage.name, "SortShuffleWriterExec of silver.orders");
        assert_eq!(stage.details, "SortShuffleWriterExec: detail\n  FilesScanExec: detail\n");
        assert_eq!(stage.first_task_launched_time, Some(Date::at(4_000)));
        assert_eq!(stage.completion_time, Some(Date::at(4_043)));
        let summary = stage.executor_summary.unwrap();
        let tasks = |worker: &str| {
            let found = &summary[worker];
            (found.succeeded_tasks, found.failed_tasks, found.killed_tasks, found.task_time)
        };
        assert_eq!((tasks("worker-1"), tasks("worker-2")), ((1, 1, 1, 60), (0, 1, 0, 10)));
    }

    #[test]
    fn a_result_has_output_and_no_shuffle_output_is_called_one() {
        let stage = one(&example::record(), "1", "0").unwrap();
        assert_eq!((stage.output_records, stage.output_bytes), (100, 1_000));
        assert_eq!(stage.parent_ids, [0]);
        assert_eq!(stage.executor_summary.unwrap()["worker-1"].output_records, 100);
        let running = one(&example::record(), "4", "0").unwrap();
        assert_eq!((running.completion_time, running.num_active_tasks), (None, 1));
    }

    #[test]
    fn a_stage_or_attempt_that_is_not_there_is_not_found() {
        let record = example::record();
        for (id, attempt) in [("6", "0"), ("-1", "0"), ("x", "0"), ("0", "1"), ("0", "-1"), ("0", "00")] {
            assert_eq!(one(&record, id, attempt).unwrap_err().code, "no-such-stage", "{id}/{attempt}");
        }
        assert_eq!(attempts(&record, "0").unwrap().len(), 1);
    }
}
