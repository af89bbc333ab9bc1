//! An application for tests: two attempts of its driver, two steps, three queries with every state of task attempts.

use std::collections::BTreeMap;

use lake_proto::{ErrorClass, Fault};
use lake_record::{
    ApplicationRecord, ApplicationSummary, AttemptRecord, AttemptState, AttemptTotals, ColumnRecord, DriverAttempt,
    ExpectationRecord, OperatorMetrics, OperatorRecord, QueryRecord, QueryState, ReadKind, ReadRecord, StageRecord,
    StepRecord, TableRecord,
};

pub(crate) fn summary() -> ApplicationSummary {
    ApplicationSummary {
        app_id: "app-20261121093012-0001".to_owned(),
        driver_id: "driver-20261121093012-0001".to_owned(),
        submission_id: "s-1".to_owned(),
        name: "orders of today".to_owned(),
        job_name: "orders".to_owned(),
        state: "RUNNING".to_owned(),
        deploy_mode: "cluster".to_owned(),
        submitted_at_ms: 1_000,
        started_at_ms: 2_000,
        run_number: 7,
        attempt: 2,
        max_attempts: 3,
        driver_memory_bytes: 512 << 20,
        total_executor_cores: 4,
        worker_id: "worker-1".to_owned(),
        worker_address: "h1:7078".to_owned(),
        ..ApplicationSummary::default()
    }
}

pub(crate) fn record() -> ApplicationRecord {
    let failure = Some(Fault::new(ErrorClass::Unavailable, "lease-expired", "no leader answered"));
    let driver = DriverAttempt { worker_id: "worker-2".to_owned(), ..DriverAttempt::default() };
    let first = DriverAttempt {
        number: 1,
        launched_at_ms: 2_000,
        ended_at_ms: 3_000,
        exit_code: Some(6),
        failure,
        ..driver.clone()
    };
    let second = DriverAttempt { number: 2, launched_at_ms: 3_500, worker_id: "worker-1".to_owned(), ..driver };
    ApplicationRecord {
        summary: summary(),
        attempts: vec![first, second],
        steps: vec![bronze(), silver()],
        queries: vec![
            query("q-1", "bronze.orders", QueryState::Finished, vec![stage(1, &[], false), stage(2, &[1], true)]),
            query("q-2", "silver.orders", QueryState::Failed, vec![failed_stage(1), empty_stage(2, &[1])]),
            query("q-3", "silver.orders", QueryState::Running, vec![running_stage(1), empty_stage(2, &[1])]),
        ],
        ..ApplicationRecord::default()
    }
}

pub(crate) fn bronze() -> StepRecord {
    let column = |name: &str, data_type: &str| ColumnRecord {
        name: name.to_owned(),
        data_type: data_type.to_owned(),
        is_nullable: true,
    };
    StepRecord {
        table: "bronze.orders".to_owned(),
        location: "s3://lake/bronze/orders".to_owned(),
        mode: "append".to_owned(),
        state: "COMMITTED".to_owned(),
        started_at_ms: 3_600,
        ended_at_ms: 5_000,
        version_before: Some(3),
        version: Some(4),
        rows_in: 100,
        rows_out: 90,
        bytes_out: 1_000,
        files: 2,
        reads: vec![ReadRecord {
            name: "orders_landing".to_owned(),
            kind: ReadKind::Source,
            location: "s3://landing/orders/".to_owned(),
            files: Some(3),
            bytes: Some(4_000),
            version: None,
        }],
        expectations: vec![ExpectationRecord {
            name: "has_id".to_owned(),
            action: "drop".to_owned(),
            violations: 10,
            checked: Some(100),
        }],
        table_after: Some(TableRecord {
            version: 4,
            committed_at_ms: 4_900,
            operation: "WRITE".to_owned(),
            operation_metrics: BTreeMap::from([("numFiles".to_owned(), "2".to_owned())]),
            columns: vec![column("id", "bigint"), column("day", "date")],
            partition_by: vec!["day".to_owned()],
            files: 12,
            bytes: 9_000,
            rows: Some(800),
            file_sizes: vec![10, 2, 0, 0, 0, 0, 0, 0],
            partitions: Some(5),
        }),
        ..StepRecord::default()
    }
}

pub(crate) fn silver() -> StepRecord {
    StepRecord {
        table: "silver.orders".to_owned(),
        location: "s3://lake/silver/orders".to_owned(),
        mode: "overwrite".to_owned(),
        state: "RUNNING".to_owned(),
        started_at_ms: 5_100,
        reads: vec![ReadRecord {
            name: "bronze.orders".to_owned(),
            kind: ReadKind::Table,
            location: "s3://lake/bronze/orders".to_owned(),
            version: Some(4),
            ..ReadRecord::default()
        }],
        ..StepRecord::default()
    }
}

pub(crate) fn query(id: &str, step: &str, state: QueryState, stages: Vec<StageRecord>) -> QueryRecord {
    let is_over = state != QueryState::Running;
    QueryRecord {
        query_id: id.to_owned(),
        step: step.to_owned(),
        state,
        accepted_at_ms: 3_700,
        ended_at_ms: if is_over { 4_800 } else { 0 },
        failure: (state == QueryState::Failed).then(|| Fault::new(ErrorClass::Resource, "memory", "no memory is left")),
        stages,
        ..QueryRecord::default()
    }
}

/// Four tasks that succeeded after 10, 20, 30 and 40 ms, with as many rows.
pub(crate) fn stage(id: u32, inputs: &[u32], is_result: bool) -> StageRecord {
    let attempts = (0..4).map(|task| attempt(task, u64::from(task), AttemptState::Success)).collect();
    StageRecord { tasks_done: 4, attempts, is_result, ..empty_stage(id, inputs) }
}

fn failed_stage(id: u32) -> StageRecord {
    let mut lost = attempt(0, 0, AttemptState::Lost);
    lost.worker_id = "worker-2".to_owned();
    let mut failed = attempt(1, 1, AttemptState::Failed);
    failed.failure = Some(Fault::new(ErrorClass::Resource, "memory", "no memory is left"));
    let again = attempt(0, 2, AttemptState::Success);
    let slow = AttemptRecord { is_speculative: true, ..attempt(2, 3, AttemptState::Killed) };
    StageRecord { tasks_done: 1, attempts: vec![lost, failed, again, slow], ..empty_stage(id, &[]) }
}

fn running_stage(id: u32) -> StageRecord {
    let mut running = attempt(1, 1, AttemptState::Running);
    running.ended_at_ms = 0;
    let done = attempt(0, 0, AttemptState::Success);
    StageRecord { tasks_done: 1, attempts: vec![done, running], ..empty_stage(id, &[]) }
}

pub(crate) fn empty_stage(id: u32, inputs: &[u32]) -> StageRecord {
    let operator = |depth: u32, name: &str| OperatorRecord {
        depth,
        name: name.to_owned(),
        detail: format!("{name}: detail"),
        metrics: OperatorMetrics { output_rows: 100, compute_ns: 5_000, spilled_bytes: 1, spills: 1 },
    };
    StageRecord {
        stage_id: id,
        inputs: inputs.to_vec(),
        tasks: 4,
        cores_per_task: 1,
        operators: vec![operator(0, "SortShuffleWriterExec"), operator(1, "FilesScanExec")],
        ..StageRecord::default()
    }
}

pub(crate) fn attempt(task: u32, number: u64, state: AttemptState) -> AttemptRecord {
    let elapsed_ms = 10 * (u64::from(task) + 1);
    AttemptRecord {
        task,
        attempt: number,
        worker_id: "worker-1".to_owned(),
        host: "h1".to_owned(),
        state,
        launched_at_ms: 4_000 + number,
        ended_at_ms: 4_010 + number + elapsed_ms,
        totals: AttemptTotals {
            rows: elapsed_ms,
            bytes: 10 * elapsed_ms,
            elapsed_ms,
            spilled_bytes: 3,
            shuffle_read_rows: 4,
            shuffle_read_bytes: 40,
            shuffle_write_rows: elapsed_ms,
            shuffle_write_bytes: 20 * elapsed_ms,
            input_rows: 5,
            input_bytes: 50,
        },
        ..AttemptRecord::default()
    }
}
