//! The cluster, a worker, the environment and what goes wrong.

use std::collections::BTreeMap;

use lake_master_core::Step;
use lake_master_core::view::{ApplicationView, WorkerView};
use lake_pages::{Active, Cluster, Daemon, MasterLine, Masthead, Sample, Setting, Standing};
use lake_proto::{ErrorClass, Fault, v1};

use super::queries::{Chance, HOSTS, worker_id};
use super::{NOW_MS, Shown, leader, shown};

pub(crate) fn worker(host: &str, index: u32) -> WorkerView {
    let state = match index {
        3 => "DRAINING",
        5 => "DECOMMISSIONED",
        6 => "LOST",
        _ => "ALIVE",
    };
    WorkerView {
        worker_id: worker_id(host),
        host: host.to_owned(),
        grpc_port: 7078,
        flight_port: 7079,
        http_port: 8081,
        cores: 16,
        cores_used: [16, 12, 9, 2, 0, 0, 0].get(usize::try_from(index).unwrap_or(0)).copied().unwrap_or(0),
        memory_bytes: 64 << 30,
        driver_memory_bytes: u64::from(index % 3) << 29,
        task_memory_bytes: u64::from(44 - index * 7) << 30,
        disk_free_bytes: u64::from(820 - index * 90) << 30,
        running_tasks: [16, 12, 9, 2, 0, 0, 0].get(usize::try_from(index).unwrap_or(0)).copied().unwrap_or(0),
        shuffle_bytes: u64::from(7 - index) * 3_456_789_012,
        state,
        lost_reason: (state == "LOST").then(|| "no heartbeat for 5 s and nobody at its address".to_owned()),
        gone_at_ms: if matches!(state, "LOST" | "DECOMMISSIONED") { NOW_MS - 3_700_000 } else { 0 },
        drivers: usize::try_from(index % 3).unwrap_or(0),
        registered_at_ms: NOW_MS - 178_000_000,
        last_heartbeat_ms: NOW_MS - 400 - u64::from(index) * 310,
    }
}

fn workers() -> Vec<WorkerView> {
    (0..).zip(HOSTS.into_iter().chain(["h7", "h8"])).map(|(index, host)| worker(host, index)).collect()
}

fn application(number: u32, name: &str, state: &'static str, ago_ms: u64, steps: usize) -> ApplicationView {
    let is_over = !matches!(state, "RUNNING" | "SUBMITTED" | "RELAUNCHING");
    let submitted_at_ms = NOW_MS - ago_ms;
    let app_id = format!("app-20261121{:02}{:02}12-{number:04}", 9 - ago_ms / 3_600_000 % 9, 59 - ago_ms / 60_000 % 60);
    ApplicationView {
        submission_id: format!("0193a-{number}"),
        driver_id: app_id.replace("app", "driver"),
        app_id,
        name: name.to_owned(),
        job_name: name.to_owned(),
        state,
        is_killing: false,
        deploy_mode: if number.is_multiple_of(5) { "client" } else { "cluster" },
        worker_id: if state == "SUBMITTED" || number.is_multiple_of(5) { String::new() } else { worker_id("h3") },
        worker_address: if state == "SUBMITTED" { String::new() } else { "h3:7078".to_owned() },
        attempt: 1,
        max_attempts: 3,
        run_number: submitted_at_ms,
        driver_memory_bytes: 1 << 29,
        total_executor_cores: 0,
        submitted_at_ms,
        started_at_ms: if state == "SUBMITTED" { 0 } else { submitted_at_ms + 40 },
        ended_at_ms: if is_over { submitted_at_ms + 42_000 + u64::from(number) * 1_777 } else { 0 },
        failure: match state {
            "FAILED" => Some(Fault::new(ErrorClass::DataQuality, "expectation", "has_category: 12 rows violate it")),
            "KILLED" => Some(Fault::new(ErrorClass::Cancelled, "killed", "killed on request")),
            _ => None,
        },
        waits_for: (state == "SUBMITTED")
            .then(|| "a worker with 8192 MiB for the driver: the largest has 4096 MiB".to_owned()),
        relaunch_reason: None,
        steps: (0..steps)
            .map(|index| Step { table: format!("t{index}"), rows_out: 1_234_567, ..Step::default() })
            .collect(),
    }
}

fn active() -> Vec<Active> {
    let step = |table: &str, state: &str, done, total| v1::StepProgress {
        table: table.to_owned(),
        state: state.to_owned(),
        stages: vec![v1::StageProgress { tasks_total: total, tasks_done: done, ..v1::StageProgress::default() }],
        ..v1::StepProgress::default()
    };
    let steps = vec![step("t4", "RUNNING", 37, 96), step("t5", "PENDING", 0, 0), step("t6", "PENDING", 0, 0)];
    let one = vec![step("t0", "RUNNING", 3, 16)];
    vec![
        Active { application: application(42, "retail", "RUNNING", 95_000, 4), steps },
        Active { application: application(41, "customers", "RUNNING", 12_000, 0), steps: one },
        Active { application: application(45, "adhoc-report", "RUNNING", 3_000, 0), steps: Vec::new() },
        Active { application: application(46, "month-end", "SUBMITTED", 340_000, 0), steps: Vec::new() },
    ]
}

fn samples() -> Vec<Sample> {
    let mut chance = Chance(77);
    let mut used = 20_i64;
    let mut samples = Vec::new();
    for index in (0..330_u64).rev() {
        let drift = i64::try_from(chance.below(15)).unwrap_or(0) - 7 + if (80..160).contains(&index) { 1 } else { 0 };
        used = (used + drift).clamp(0, 80);
        let cores_used = u64::try_from(used).unwrap_or(0);
        let cores_total = if index > 210 { 64 } else { 80 };
        samples.push(Sample {
            at_ms: NOW_MS - index * 10_000,
            cores_total,
            cores_used: cores_used.min(cores_total),
            memory_total_bytes: cores_total << 32,
            memory_used_bytes: (cores_used << 31) + (20 << 30),
        });
    }
    samples
}

fn environment() -> Vec<Daemon> {
    let setting = |(key, value, origin): (&str, &str, &str)| Setting {
        key: key.to_owned(),
        value: value.to_owned(),
        origin: origin.to_owned(),
    };
    let daemon = |name: String, version: &str, settings: &[(&str, &str, &str)]| Daemon {
        name,
        version: version.to_owned(),
        settings: settings.iter().copied().map(setting).collect(),
    };
    let master = [
        ("host", "\"h1\"", "flag"),
        ("port", "7077", "default"),
        ("webui_port", "8080", "default"),
        ("data_dir", "\"/var/lib/lake\"", "file"),
        ("peers", "\"1@h1:7077,2@h9:7077,3@h10:7077\"", "file"),
        ("history_dir", "\"s3://lakehouse/history\"", "environment"),
        ("log_level", "\"info\"", "default"),
    ];
    let worker = [
        ("host", "h2", "environment"),
        ("cores", "16", "default"),
        ("memory", "64g", "flag"),
        ("work_dir", "/data/lake/work", "file"),
        ("drain_timeout", "60s", "default"),
    ];
    vec![
        daemon("master 1".to_owned(), "0.1.0", &master),
        daemon(worker_id("h2"), "0.1.0", &worker),
        daemon(worker_id("h3"), "0.1.0", &worker),
    ]
}

pub(crate) fn pages() -> Vec<Shown> {
    let line = |id, role, lag, is_active| MasterLine { id, address: format!("h{id}:7077"), role, lag, is_active };
    let masters =
        [line(1, "leader", None, true), line(9, "voter", Some(2), true), line(10, "learner", Some(1_204), false)];
    let mut completed = Vec::new();
    for number in 1..=14_u32 {
        let state = match number {
            3 => "FAILED",
            7 => "KILLED",
            _ => "FINISHED",
        };
        let name = ["retail", "customers", "finance-close", "events"].get(usize::try_from(number % 4).unwrap_or(0));
        let ago_ms = u64::from(number) * 1_260_000;
        completed.push(application(40 - number, name.copied().unwrap_or("retail"), state, ago_ms, 7));
    }
    let busy = Cluster {
        masters: &masters,
        term: 4,
        workers: &workers(),
        in_states: &BTreeMap::from([("RUNNING", 3), ("SUBMITTED", 1), ("FINISHED", 212), ("FAILED", 9), ("KILLED", 1)]),
        active: &active(),
        completed: &completed,
        running_queries: 3,
        samples: &samples(),
        now_ms: NOW_MS,
    };
    let idle = Cluster {
        masters: &[],
        term: 1,
        workers: &[],
        in_states: &BTreeMap::new(),
        active: &[],
        completed: &[],
        running_queries: 0,
        samples: &[],
        now_ms: NOW_MS,
    };
    let mut relayed = shown("/?relayed", "cluster-relayed", lake_pages::cluster(&idle));
    relayed.masthead = Masthead { standing: Standing::Leader, relay_id: Some(9), ..leader() };
    vec![
        shown("/", "cluster", lake_pages::cluster(&busy)),
        relayed,
        shown("/environment", "environment", lake_pages::environment(&environment())),
        shown("/missing", "missing", lake_pages::missing("There is no page at '/missing'.")),
    ]
}
