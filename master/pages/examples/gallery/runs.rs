//! Applications, their queries, tables and history.

use std::collections::BTreeMap;
use std::sync::Arc;

use lake_pages::{
    Application, History, Logs, Query, RunningAttempt, Tail, WantedAttempts, WantedHistory, WantedLineage, WantedTable,
    WantedTables, Worker,
};
use lake_proto::{ErrorClass, Fault};
use lake_record::{
    ApplicationRecord, ApplicationSummary, ColumnRecord, DriverAttempt, ExpectationRecord, Origin, QueryState,
    ReadKind, ReadRecord, StepRecord, TableRecord,
};

use super::queries::{Chance, JOIN, Made, SCAN, SMALL_SCAN, WRITE, query, worker_id};
use super::{NOW_MS, Shown, asked, jobs, shown};

type Run = (Arc<ApplicationSummary>, Arc<[StepRecord]>);

fn summary(number: u64, job: &str, state: &str, started_at_ms: u64) -> ApplicationSummary {
    let is_over = !matches!(state, "RUNNING" | "SUBMITTED" | "RELAUNCHING");
    let app_id = format!("app-20261121092837-{number:04}");
    ApplicationSummary {
        driver_id: app_id.replace("app", "driver"),
        app_id,
        submission_id: format!("0193a3f2-7b1c-7e4a-9d51-{number:012}"),
        name: job.to_owned(),
        job_name: job.to_owned(),
        state: state.to_owned(),
        is_killing: false,
        deploy_mode: "cluster".to_owned(),
        submitted_at_ms: started_at_ms - 60,
        started_at_ms,
        ended_at_ms: if is_over { started_at_ms + 74_000 } else { 0 },
        run_number: started_at_ms,
        attempt: 2,
        max_attempts: 3,
        driver_memory_bytes: 1 << 29,
        total_executor_cores: 48,
        failure: None,
        waits_for: String::new(),
        worker_id: worker_id("h3"),
        worker_address: "h3:7078".to_owned(),
    }
}

fn read(name: &str, kind: ReadKind, location: &str, version: Option<i64>) -> ReadRecord {
    let files = if kind == ReadKind::Source { Some(24) } else { Some(96) };
    ReadRecord {
        name: name.to_owned(),
        kind,
        location: location.to_owned(),
        version,
        files,
        bytes: Some(3_456_789_012),
    }
}

fn of_table(name: &str, version: i64) -> ReadRecord {
    let location = format!("s3://lakehouse/{}", name.replace('.', "/"));
    read(name, ReadKind::Table, &location, Some(version))
}

fn expectation(name: &str, action: &str, violations: u64, checked: u64) -> ExpectationRecord {
    ExpectationRecord { name: name.to_owned(), action: action.to_owned(), violations, checked: Some(checked) }
}

fn step(table: &str, state: &str, start_ms: u64, took_ms: u64, version: i64, reads: Vec<ReadRecord>) -> StepRecord {
    let is_done = state == "COMMITTED";
    let mut chance = Chance(u64::try_from(table.len()).unwrap_or(1) * 7_919 + u64::try_from(version).unwrap_or(1));
    let rows = 900_000 + chance.below(40_000_000);
    let column = |name: &str, data_type: &str, is_nullable| ColumnRecord {
        name: name.to_owned(),
        data_type: data_type.to_owned(),
        is_nullable,
    };
    let figures = BTreeMap::from([
        ("numFiles".to_owned(), "48".to_owned()),
        ("numOutputRows".to_owned(), rows.to_string()),
        ("numOutputBytes".to_owned(), (rows * 33).to_string()),
    ]);
    StepRecord {
        table: table.to_owned(),
        location: format!("s3://lakehouse/{}", table.replace('.', "/")),
        mode: if table.starts_with("bronze") { "append" } else { "overwrite" }.to_owned(),
        state: state.to_owned(),
        started_at_ms: if state == "PENDING" { 0 } else { start_ms },
        ended_at_ms: if is_done || state == "FAILED" { start_ms + took_ms } else { 0 },
        version_before: (state != "PENDING").then_some(version - 1),
        version: is_done.then_some(version),
        rows_in: if state == "PENDING" { 0 } else { rows + 1_234 },
        rows_out: if is_done { rows } else { 0 },
        bytes_out: if is_done { rows * 33 } else { 0 },
        files: if is_done { 48 } else { 0 },
        reads: if state == "PENDING" { Vec::new() } else { reads },
        expectations: Vec::new(),
        failure: None,
        table_after: is_done.then(|| TableRecord {
            version,
            committed_at_ms: start_ms + took_ms - 20,
            operation: "WRITE".to_owned(),
            operation_metrics: figures,
            columns: vec![
                column("order_id", "bigint", false),
                column("ordered_at", "timestamp", true),
                column("order_date", "date", false),
                column("quantity", "int", true),
                column("unit_price", "decimal(10,2)", true),
                column("customer_id", "string", true),
            ],
            partition_by: if table == "silver.orders" { vec!["order_date".to_owned()] } else { Vec::new() },
            files: 431,
            bytes: 38_654_705_664,
            rows: Some(rows * 30),
            file_sizes: vec![3, 17, 42, 96, 211, 58, 3, 1],
            partitions: Some(31),
        }),
        ..StepRecord::default()
    }
}

/// The steps of the retail job at one moment of it: those before `running` are committed.
fn steps(start_ms: u64, version: i64, running: usize) -> Vec<StepRecord> {
    let landing = |name: &str| read(name, ReadKind::Source, "s3://lakehouse/landing/orders/ds=2026-11-21/", None);
    let customers = read("shop_customers", ReadKind::Source, "shop/public.customers", None);
    let planned = [
        ("bronze.orders", 0, 14_000, vec![landing("orders_landing")]),
        ("bronze.customers", 0, 6_200, vec![customers]),
        ("silver.products", 0, 1_900, vec![landing("products_landing")]),
        ("silver.customers", 6_200, 5_300, vec![of_table("bronze.customers", version)]),
        ("silver.orders", 14_000, 31_000, vec![of_table("bronze.orders", version + 77)]),
        (
            "gold.daily_revenue",
            45_000,
            26_000,
            vec![of_table("silver.orders", version), of_table("silver.customers", version)],
        ),
        (
            "gold.top_products",
            45_000,
            19_000,
            vec![
                of_table("silver.orders", version),
                of_table("silver.products", version),
                of_table("reference.calendar", 3),
            ],
        ),
    ];
    let mut steps = Vec::new();
    for (index, (table, after_ms, took_ms, reads)) in planned.into_iter().enumerate() {
        let state = match index {
            done if done < running => "COMMITTED",
            now if now == running => "RUNNING",
            _ => "PENDING",
        };
        let version = if table == "bronze.orders" { version + 77 } else { version };
        let mut made = step(table, state, start_ms + after_ms, took_ms, version, reads);
        if state == "COMMITTED" {
            made.expectations = match table {
                "silver.orders" => vec![
                    expectation("has_order_id", "drop", 12 * u64::try_from(version % 5).unwrap_or(0), made.rows_in),
                    expectation("quantity_is_positive", "drop", 1_222, made.rows_in),
                    expectation(
                        "has_customer",
                        "warn",
                        88_123 + 7_000 * u64::try_from(version % 7).unwrap_or(0),
                        made.rows_in,
                    ),
                ],
                "silver.products" => vec![expectation("has_category", "fail", 0, 412)],
                "silver.customers" => vec![expectation("email_has_at", "drop", 0, 120_331)],
                _ => Vec::new(),
            };
        }
        steps.push(made);
    }
    steps
}

fn launches(start_ms: u64, is_over: bool) -> Vec<DriverAttempt> {
    let lost = Fault::new(
        ErrorClass::Unavailable,
        "worker-lost",
        "worker-20261119081502-h8-7078, which ran the driver, was lost: no heartbeat for 5 s",
    );
    vec![
        DriverAttempt {
            number: 1,
            epoch: 4_411,
            worker_id: worker_id("h8"),
            launched_at_ms: start_ms,
            ended_at_ms: start_ms + 3_100,
            exit_code: None,
            signal: 0,
            failure: Some(lost),
        },
        DriverAttempt {
            number: 2,
            epoch: 4_420,
            worker_id: worker_id("h3"),
            launched_at_ms: start_ms + 3_400,
            ended_at_ms: if is_over { start_ms + 74_000 } else { 0 },
            exit_code: is_over.then_some(0),
            signal: 0,
            failure: None,
        },
    ]
}

fn join(start_ms: u64, is_over: bool) -> Vec<Made> {
    let made = |inputs, tasks, rows, task_ms, start_ms, operators| Made {
        inputs,
        tasks,
        done: tasks,
        running: 0,
        rows,
        task_ms,
        start_ms,
        operators,
        skew: 1,
        failures: 0,
    };
    let mut stages = vec![
        Made { failures: 2, ..made(vec![], 96, 410_000, 1_650, start_ms, SCAN) },
        made(vec![], 8, 15_000, 700, start_ms + 300, SMALL_SCAN),
        Made { skew: 9, ..made(vec![1, 2], 32, 520_000, 2_100, start_ms + 9_400, JOIN) },
        made(vec![3], 8, 90_000, 1_200, start_ms + 30_000, WRITE),
    ];
    if !is_over {
        let joins = Made { done: 21, running: 11, ..stages.remove(2) };
        let writes = Made { done: 0, running: 0, ..stages.remove(2) };
        stages.extend([joins, writes]);
    }
    stages
}

fn running(chance: &mut Chance) -> ApplicationRecord {
    let start_ms = NOW_MS - 71_000;
    let mut steps = steps(start_ms + 3_400, 41, 5);
    if let Some(last) = steps.last_mut() {
        last.state = "RUNNING".to_owned();
        last.started_at_ms = start_ms + 50_000;
    }
    let bronze = |id: &str, step: &str, at_ms| {
        let made = Made {
            inputs: vec![],
            tasks: 24,
            done: 24,
            running: 0,
            rows: 300_000,
            task_ms: 2_100,
            start_ms: at_ms,
            operators: SCAN,
            skew: 1,
            failures: 0,
        };
        (id.to_owned(), step.to_owned(), made)
    };
    let mut queries = Vec::new();
    for (id, step, made) in [
        bronze("9b1f5c1e-0001-4f3a-8f1e-1c2d3e4f5a6b", "bronze.orders", start_ms + 3_500),
        bronze("2c7d5c1e-0002-4f3a-8f1e-1c2d3e4f5a6b", "silver.orders", start_ms + 17_600),
    ] {
        queries.push(query(&id, &step, QueryState::Finished, vec![made], chance));
    }
    let joined = join(NOW_MS - 22_000, false);
    queries.push(query(
        "f03a5c1e-0003-4f3a-8f1e-1c2d3e4f5a6b",
        "gold.daily_revenue",
        QueryState::Running,
        joined,
        chance,
    ));
    ApplicationRecord {
        summary: summary(42, "retail", "RUNNING", start_ms),
        origin: Origin::Live,
        is_partial: false,
        pipeline: jobs::pipeline(jobs::RETAIL),
        attempts: launches(start_ms, false),
        steps,
        queries,
    }
}

fn failed() -> ApplicationRecord {
    let start_ms = NOW_MS - 9_000_000;
    let mut summary = summary(17, "retail", "FAILED", start_ms);
    let fault = Fault::new(
        ErrorClass::DataQuality,
        "expectation",
        "table silver.products: expectation has_category (category <> '') is violated by 12 of 412 rows; nothing was committed",
    );
    summary.failure = Some(fault.clone());
    let mut steps = steps(start_ms, 40, 3);
    for step in &mut steps {
        if step.table == "silver.products" {
            *step = StepRecord {
                state: "FAILED".to_owned(),
                failure: Some(fault.clone()),
                version: None,
                rows_out: 0,
                table_after: None,
                expectations: vec![expectation("has_category", "fail", 12, 412)],
                ..step.clone()
            };
        } else if step.state == "RUNNING" {
            step.state = "NOT_RUN".to_owned();
            step.started_at_ms = 0;
        }
    }
    ApplicationRecord {
        summary,
        origin: Origin::History,
        is_partial: true,
        pipeline: jobs::pipeline(jobs::RETAIL),
        attempts: launches(start_ms, true),
        steps,
        queries: Vec::new(),
    }
}

/// Three months of three jobs.
fn past() -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for day in 0..40_u64 {
        let start_ms = NOW_MS - 200_000 - day * 86_400_000;
        let version = 41 - i64::try_from(day).unwrap_or(0);
        if version > 0 {
            runs.push((
                Arc::new(summary(41 - day, "retail", "FINISHED", start_ms)),
                steps(start_ms, version, 7).into(),
            ));
        }
        if day % 7 == 0 {
            let close = step(
                "gold.month_close",
                "COMMITTED",
                start_ms,
                8_000,
                9 - i64::try_from(day / 7).unwrap_or(0),
                vec![of_table("gold.daily_revenue", version.max(1)), of_table("finance.ledger", 12)],
            );
            runs.push((Arc::new(summary(500 + day, "finance-close", "FINISHED", start_ms + 1)), vec![close].into()));
        }
    }
    runs
}

fn history() -> Vec<ApplicationSummary> {
    let mut all = Vec::new();
    for number in 0..1_000_u64 {
        let state = match number % 23 {
            5 => "FAILED",
            11 => "KILLED",
            _ => "FINISHED",
        };
        let job = ["retail", "customers", "finance-close", "events"][usize::try_from(number % 4).unwrap_or(0)];
        let mut summary = summary(9_999 - number, job, state, NOW_MS - 400_000 - number * 1_234_567);
        summary.attempt = 1;
        if state == "FAILED" {
            summary.failure =
                Some(Fault::new(ErrorClass::Resource, "driver-memory", "the driver took more than it asked for"));
        }
        all.push(summary);
    }
    all
}

pub(crate) fn pages() -> Vec<Shown> {
    let mut chance = Chance(4_711);
    let running = running(&mut chance);
    let failed = failed();
    let app = |record: &ApplicationRecord| format!("/applications/{}", record.summary.app_id);
    let nothing = asked(&[]);
    let mut pages = Vec::new();
    let application = Application { record: &running, kill_token: Some("made-up"), now_ms: NOW_MS };
    pages.push(shown(app(&running), "application-running", lake_pages::application(&application)));
    let application = Application { record: &failed, kill_token: None, now_ms: NOW_MS };
    pages.push(shown(app(&failed), "application-failed", lake_pages::application(&application)));

    let Ok(attempts) = WantedAttempts::of(&nothing) else { return pages };
    for (index, one) in running.queries.iter().enumerate() {
        let page = Query { record: &running, query: one, wanted: &attempts, now_ms: NOW_MS };
        let path = format!("{}/queries/{}", app(&running), one.query_id);
        pages.push(shown(path, &format!("query-{}", index + 1), lake_pages::query(&page)));
    }
    let large = Made {
        inputs: vec![],
        tasks: 10_000,
        done: 9_900,
        running: 20,
        rows: 40_000,
        task_ms: 900,
        start_ms: NOW_MS - 500_000,
        operators: SCAN,
        skew: 20,
        failures: 7,
    };
    let large =
        query("ffff5c1e-0003-4f3a-8f1e-1c2d3e4f5a6b", "bronze.orders", QueryState::Running, vec![large], &mut chance);
    let page = Query { record: &running, query: &large, wanted: &attempts, now_ms: NOW_MS };
    pages.push(shown("/large", "query-10000-tasks", lake_pages::query(&page)));

    pages.extend(worker_and_log(&running));
    pages.extend(tables());
    let Ok(wanted) = WantedHistory::of(&asked(&[("state", "FAILED"), ("state", "FINISHED")])) else { return pages };
    let all = history();
    let unreadable = [
        ("app-20260103110000-0007.jsonl.zst".to_owned(), "damaged: it has no summary".to_owned()),
        (
            "app-20261001000000-0001.jsonl.zst".to_owned(),
            "written by a newer release: format 2, this one reads up to 1".to_owned(),
        ),
    ];
    let some = all.get(..100).unwrap_or_default();
    let page = History { wanted: &wanted, applications: some, total: 1_000, unreadable: &unreadable, now_ms: NOW_MS };
    pages.push(shown("/history", "history", lake_pages::history(&page)));
    pages
}

fn worker_and_log(running: &ApplicationRecord) -> Vec<Shown> {
    let view = super::cluster::worker("h3", 1);
    let attempts: Vec<RunningAttempt> = lake_pages::running_on(running, &view.worker_id).collect();
    let drivers = [running.summary.clone()];
    let page = Worker { worker: &view, running: &attempts, drivers: &drivers, now_ms: NOW_MS };
    let mut lines = String::new();
    for second in 0..60 {
        lines.push_str(&format!(
            "2026-11-21T09:29:{second:02}.1{second:02}Z  INFO step{{table=gold.daily_revenue}}: tasks move done={} of=96\n",
            second + 12
        ));
    }
    let tail = Tail { content: lines, offset: 81_920, end: 90_112 };
    let log = Logs { summary: &running.summary, stream: "stderr", tail: Ok(&tail) };
    let gone = Fault::new(
        ErrorClass::NotFound,
        "no-log",
        "the log of driver-20261121092837-0042 is gone: its worker does not answer any more",
    );
    let lost = Logs { summary: &running.summary, stream: "stdout", tail: Err(&gone) };
    let path = format!("/applications/{}/logs", running.summary.app_id);
    vec![
        shown(format!("/workers/{}", view.worker_id), "worker", lake_pages::worker(&page)),
        shown(format!("{path}?stream=stderr"), "log", lake_pages::logs(&log)),
        shown(format!("{path}?stream=stdout"), "log-gone", lake_pages::logs(&lost)),
    ]
}

fn tables() -> Vec<Shown> {
    let runs = past();
    let nothing = asked(&[]);
    let mut pages = Vec::new();
    if let Ok(wanted) = WantedTables::of(&nothing) {
        pages.push(shown("/tables", "tables", lake_pages::tables(&runs, &wanted)));
    }
    if let Ok(wanted) = WantedTable::of(&nothing) {
        for name in ["silver.orders", "gold.daily_revenue", "reference.calendar"] {
            if let Some(page) = lake_pages::table(&runs, name, &wanted) {
                pages.push(shown(format!("/tables/{name}"), &format!("table-{name}"), page));
            }
        }
    }
    if let Ok(wanted) = WantedLineage::of(&nothing)
        && let Some(page) = lake_pages::lineage(&runs, &wanted)
    {
        pages.push(shown("/lineage", "lineage", page));
    }
    pages
}
