//! Records of applications that have ended, as the masters' history keeps them: for pages with much on them. Edge.

use std::fs;
use std::path::Path;

use lake_record::history::name_of;
use lake_record::{
    ApplicationRecord, ApplicationSummary, AttemptRecord, AttemptState, AttemptTotals, OperatorMetrics, OperatorRecord,
    QueryRecord, QueryState, StageRecord, StepRecord, file,
};

const MINUTE_MS: u64 = 60_000;
const OPERATORS: [&str; 4] = ["ShuffleWriterExec", "FilterExec", "DeltaFilesScanExec", "WorkListExec"];
const WORKERS: u32 = 16;

/// Writes the files of `applications` applications with two tasks each into a folder, and one of a query with `tasks`
/// tasks; its application's id is printed.
///
/// # Errors
/// When the folder cannot be written.
pub(crate) fn write(folder: &Path, applications: u32, tasks: u32) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    // One a minute up to now: older ones would be deleted.
    let now_ms = u64::try_from(chrono::Utc::now().timestamp_millis())?;
    let first_ms = now_ms.saturating_sub(u64::from(applications) * MINUTE_MS + MINUTE_MS);
    let submitted = |number: u32| first_ms + u64::from(number) * MINUTE_MS;
    for number in 0..applications {
        keep(folder, &record(number, submitted(number), 2))?;
    }
    let large = record(applications, submitted(applications), tasks);
    keep(folder, &large)?;
    println!("{}", large.summary.app_id);
    Ok(())
}

fn keep(folder: &Path, record: &ApplicationRecord) -> anyhow::Result<()> {
    fs::write(folder.join(name_of(&record.summary.app_id)), file::encode(record)?)?;
    Ok(())
}

fn record(number: u32, submitted_at_ms: u64, tasks: u32) -> ApplicationRecord {
    let (started_at_ms, ended_at_ms) = (submitted_at_ms + 40, submitted_at_ms + 30_000);
    let step = |table: &str| StepRecord {
        table: table.to_owned(),
        location: format!("s3://lakehouse/{}", table.replace('.', "/")),
        mode: "overwrite".to_owned(),
        state: "COMMITTED".to_owned(),
        started_at_ms,
        ended_at_ms,
        version: Some(i64::from(number)),
        rows_in: 1_000_000,
        rows_out: 990_000,
        bytes_out: 20 << 20,
        files: 4,
        ..StepRecord::default()
    };
    ApplicationRecord {
        summary: ApplicationSummary {
            app_id: format!("app-20251009085320-{number:04}"),
            driver_id: format!("driver-20251009085320-{number:04}"),
            submission_id: format!("s-{number}"),
            name: format!("orders {number}"),
            job_name: "orders".to_owned(),
            state: "FINISHED".to_owned(),
            deploy_mode: "cluster".to_owned(),
            submitted_at_ms,
            started_at_ms,
            ended_at_ms,
            run_number: submitted_at_ms,
            attempt: 1,
            max_attempts: 3,
            worker_id: "worker-1".to_owned(),
            ..ApplicationSummary::default()
        },
        steps: vec![step("bronze.orders"), step("silver.orders")],
        queries: vec![query(tasks, started_at_ms)],
        ..ApplicationRecord::default()
    }
}

fn query(tasks: u32, started_at_ms: u64) -> QueryRecord {
    let operators = OPERATORS.iter().zip(0..).map(|(name, depth)| OperatorRecord {
        depth,
        name: (*name).to_owned(),
        detail: format!("{name}: columns=[order_id, ordered_at, customer_id, quantity]"),
        metrics: OperatorMetrics { output_rows: 1_000_000, compute_ns: 900_000_000, ..OperatorMetrics::default() },
    });
    let stage = StageRecord {
        stage_id: 1,
        tasks,
        tasks_done: tasks,
        cores_per_task: 1,
        is_result: true,
        operators: operators.collect(),
        attempts: (0..tasks).map(|task| attempt(task, started_at_ms)).collect(),
        ..StageRecord::default()
    };
    QueryRecord {
        query_id: "q-1".to_owned(),
        step: "silver.orders".to_owned(),
        state: QueryState::Finished,
        accepted_at_ms: started_at_ms,
        ended_at_ms: started_at_ms + 29_000,
        stages: vec![stage],
        ..QueryRecord::default()
    }
}

fn attempt(task: u32, started_at_ms: u64) -> AttemptRecord {
    let launched_at_ms = started_at_ms + u64::from(task / WORKERS) * 40;
    let elapsed_ms = 20 + u64::from(task % 37) * 7;
    AttemptRecord {
        task,
        attempt: u64::from(task) + 1,
        worker_id: format!("worker-{}", task % WORKERS),
        host: format!("host-{}", task % WORKERS),
        state: AttemptState::Success,
        launched_at_ms,
        ended_at_ms: launched_at_ms + elapsed_ms,
        totals: AttemptTotals { rows: 1_000 + u64::from(task), elapsed_ms, ..AttemptTotals::default() },
        ..AttemptRecord::default()
    }
}
