//! Records in which every text is hostile. For tests.

use std::collections::BTreeMap;

use lake_proto::{ErrorClass, Fault};
use lake_record::{
    ApplicationRecord, ApplicationSummary, AttemptRecord, AttemptState, AttemptTotals, ColumnRecord, DriverAttempt,
    ExpectationRecord, OperatorMetrics, OperatorRecord, QueryRecord, QueryState, ReadKind, ReadRecord, StageRecord,
    StepRecord, TableRecord,
};

use crate::sound::HOSTILE;

fn hostile() -> String {
    HOSTILE.to_owned()
}

pub(crate) fn fault() -> Fault {
    Fault::new(ErrorClass::DataQuality, HOSTILE, HOSTILE)
}

pub(crate) fn summary(state: &str) -> ApplicationSummary {
    let is_over = !matches!(state, "RUNNING" | "SUBMITTED" | "RELAUNCHING");
    ApplicationSummary {
        app_id: hostile(),
        driver_id: hostile(),
        submission_id: hostile(),
        name: hostile(),
        job_name: hostile(),
        state: state.to_owned(),
        is_killing: false,
        deploy_mode: "cluster".to_owned(),
        submitted_at_ms: 1_000,
        started_at_ms: 2_000,
        ended_at_ms: if is_over { 65_000 } else { 0 },
        run_number: 7,
        attempt: 2,
        max_attempts: 3,
        driver_memory_bytes: 1 << 29,
        total_executor_cores: 0,
        failure: Some(fault()),
        waits_for: hostile(),
        worker_id: hostile(),
        worker_address: hostile(),
    }
}

/// A committed step that reads a source and a table.
pub(crate) fn step(table: &str) -> StepRecord {
    let read = |name: &str, kind, version| ReadRecord {
        name: name.to_owned(),
        kind,
        location: hostile(),
        version,
        files: Some(12),
        bytes: Some(3 << 20),
    };
    let expectation = |name: &str, action: &str, violations| ExpectationRecord {
        name: name.to_owned(),
        action: action.to_owned(),
        violations,
        checked: Some(10_000),
    };
    StepRecord {
        table: table.to_owned(),
        location: hostile(),
        mode: hostile(),
        state: "COMMITTED".to_owned(),
        started_at_ms: 3_000,
        ended_at_ms: 45_000,
        version_before: Some(3),
        version: Some(4),
        rows_in: 12_345,
        rows_out: 12_000,
        bytes_out: 5 << 20,
        files: 3,
        reads: vec![read(HOSTILE, ReadKind::Source, None), read("bronze.orders", ReadKind::Table, Some(9))],
        expectations: vec![expectation(HOSTILE, "drop", 345), expectation("holds", "fail", 0)],
        failure: Some(fault()),
        table_after: Some(TableRecord {
            version: 4,
            committed_at_ms: 44_000,
            operation: hostile(),
            operation_metrics: BTreeMap::from([
                (hostile(), hostile()),
                ("numOutputRows".to_owned(), "12000".to_owned()),
            ]),
            columns: vec![
                ColumnRecord { name: hostile(), data_type: hostile(), is_nullable: true },
                ColumnRecord { name: "day".to_owned(), data_type: "date".to_owned(), is_nullable: false },
            ],
            partition_by: vec!["day".to_owned()],
            files: 40,
            bytes: 5 << 30,
            rows: Some(1_234_567),
            file_sizes: vec![1, 2, 3, 4, 5, 6, 7, 12],
            partitions: Some(31),
        }),
        ..StepRecord::default()
    }
}

pub(crate) fn attempt(task: u32, state: AttemptState) -> AttemptRecord {
    let launched_at_ms = 5_000 + u64::from(task) * 10;
    AttemptRecord {
        task,
        attempt: u64::from(task) + 1,
        worker_id: hostile(),
        host: hostile(),
        state,
        is_speculative: task == 1,
        launched_at_ms,
        ended_at_ms: if state == AttemptState::Running { 0 } else { launched_at_ms + 2_000 },
        totals: AttemptTotals {
            rows: 1_000,
            bytes: 1 << 20,
            elapsed_ms: 1_900,
            spilled_bytes: 1 << 19,
            shuffle_read_rows: 10,
            shuffle_read_bytes: 2_048,
            shuffle_write_rows: 900,
            shuffle_write_bytes: 4_096,
            input_rows: 20,
            input_bytes: 8_192,
        },
        failure: matches!(state, AttemptState::Failed).then(fault),
    }
}

pub(crate) fn stage(stage_id: u32, inputs: Vec<u32>, attempts: Vec<AttemptRecord>) -> StageRecord {
    let operator = |depth, name: &str, compute_ns| OperatorRecord {
        depth,
        name: name.to_owned(),
        detail: hostile(),
        metrics: OperatorMetrics { output_rows: 54_321, compute_ns, spilled_bytes: 1 << 21, spills: 2 },
    };
    let done = attempts.iter().filter(|attempt| attempt.state == AttemptState::Success).count();
    StageRecord {
        stage_id,
        inputs,
        tasks: u32::try_from(attempts.len()).unwrap(),
        tasks_done: u32::try_from(done).unwrap(),
        cores_per_task: 1,
        is_result: stage_id > 1,
        operators: vec![operator(0, "HashJoinExec", 3_000_000_000), operator(1, HOSTILE, 1_000_000_000)],
        attempts,
        attempts_left_out: 5,
    }
}

pub(crate) fn query() -> QueryRecord {
    let first = vec![attempt(0, AttemptState::Success), attempt(1, AttemptState::Success)];
    let second =
        vec![attempt(0, AttemptState::Running), attempt(1, AttemptState::Failed), attempt(2, AttemptState::Lost)];
    QueryRecord {
        query_id: hostile(),
        step: HOSTILE.to_owned(),
        state: QueryState::Running,
        accepted_at_ms: 4_000,
        ended_at_ms: 0,
        is_attached: true,
        estimated_scan_bytes: 7 << 30,
        failure: Some(fault()),
        stages: vec![stage(1, Vec::new(), first), stage(2, vec![1], second)],
    }
}

pub(crate) fn record() -> ApplicationRecord {
    let attempt = |number, exit_code, signal, ended_at_ms| DriverAttempt {
        number,
        epoch: 5,
        worker_id: hostile(),
        launched_at_ms: 2_000,
        ended_at_ms,
        exit_code,
        signal,
        failure: (ended_at_ms > 0).then(fault),
    };
    ApplicationRecord {
        summary: summary("RUNNING"),
        is_partial: true,
        attempts: vec![attempt(1, None, 9, 2_500), attempt(2, None, 0, 0)],
        steps: vec![step(HOSTILE), StepRecord { state: "PENDING".to_owned(), ..step("gold.daily") }],
        queries: vec![query()],
        ..ApplicationRecord::default()
    }
}
