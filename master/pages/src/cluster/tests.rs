use lake_master_core::Step;
use lake_master_core::step::Expectation;
use lake_proto::{ErrorClass, Fault};

use super::*;
use crate::fixture::fault;
use crate::sound::{ESCAPED, HOSTILE, assert_sound};

fn application(state: &'static str) -> ApplicationView {
    ApplicationView {
        submission_id: HOSTILE.to_owned(),
        app_id: HOSTILE.to_owned(),
        driver_id: HOSTILE.to_owned(),
        name: HOSTILE.to_owned(),
        job_name: HOSTILE.to_owned(),
        state,
        is_killing: false,
        deploy_mode: "cluster",
        worker_id: HOSTILE.to_owned(),
        worker_address: HOSTILE.to_owned(),
        attempt: 1,
        max_attempts: 3,
        run_number: 7,
        driver_memory_bytes: 1 << 29,
        total_executor_cores: 0,
        submitted_at_ms: 1_000,
        started_at_ms: 2_000,
        ended_at_ms: if state == "RUNNING" { 0 } else { 5_000 },
        failure: Some(fault()),
        waits_for: (state == "SUBMITTED").then(|| HOSTILE.to_owned()),
        relaunch_reason: Some(Fault::new(ErrorClass::Unavailable, "driver-lost", HOSTILE)),
        steps: vec![Step {
            table: HOSTILE.to_owned(),
            outcome: HOSTILE.to_owned(),
            rows_out: 12_345,
            expectations: vec![Expectation { name: HOSTILE.to_owned(), action: HOSTILE.to_owned(), violations: 3 }],
            ..Step::default()
        }],
    }
}

fn worker() -> WorkerView {
    WorkerView {
        worker_id: HOSTILE.to_owned(),
        host: HOSTILE.to_owned(),
        grpc_port: 1,
        flight_port: 2,
        http_port: 3,
        cores: 4,
        cores_used: 3,
        memory_bytes: 1 << 30,
        driver_memory_bytes: 1 << 29,
        task_memory_bytes: 1 << 28,
        disk_free_bytes: 5 << 30,
        running_tasks: 3,
        shuffle_bytes: 7 << 20,
        state: "ALIVE",
        lost_reason: None,
        gone_at_ms: 0,
        drivers: 1,
        registered_at_ms: 0,
        last_heartbeat_ms: 4_000,
    }
}

fn lost_worker() -> WorkerView {
    WorkerView { state: "LOST", lost_reason: Some(HOSTILE.to_owned()), gone_at_ms: 1_000, ..worker() }
}

fn progress(table: &str, state: &str) -> v1::StepProgress {
    let stage = v1::StageProgress { stage_id: 1, tasks_total: 8, tasks_done: 3, ..Default::default() };
    v1::StepProgress { table: table.to_owned(), state: state.to_owned(), stages: vec![stage], ..Default::default() }
}

fn drawn(workers: &[WorkerView], active: &[Active], samples: &[Sample]) -> String {
    let member = |id, role, lag, is_active| MasterLine { id, address: HOSTILE.to_owned(), role, lag, is_active };
    let shown = Cluster {
        masters: &[
            member(1, "leader", None, true),
            member(2, "voter", Some(10), true),
            member(3, "learner", Some(1), false),
        ],
        term: 7,
        workers,
        in_states: &BTreeMap::from([("RUNNING", 1), ("SUBMITTED", 200), ("FAILED", 1)]),
        active,
        completed: &[application("FAILED")],
        running_queries: 1,
        samples,
        now_ms: 6_000,
    };
    let page = cluster(&shown).body.into_string();
    assert_sound(&page);
    page
}

#[test]
fn the_cluster_page_shows_everything_and_escapes_it() {
    let workers = [
        worker(),
        WorkerView { state: "DRAINING", ..worker() },
        WorkerView { state: "DECOMMISSIONED", gone_at_ms: 2_000, ..worker() },
        lost_worker(),
    ];
    let steps = vec![progress(HOSTILE, "COMMITTED"), progress("a", "RUNNING"), progress("b", "PENDING")];
    let active = [
        Active { application: application("RUNNING"), steps },
        Active { application: application("SUBMITTED"), steps: Vec::new() },
    ];
    let page = drawn(&workers, &active, &[]);
    assert!(page.contains(ESCAPED), "{page}");
    for expected in [
        "3 / 4",
        "768 MiB / 1.0 GiB",
        "drivers 512 MiB · process 256 MiB",
        "7.0 MiB",
        "term 7",
        ">leader<",
        ">voter<",
        ">learner<",
        "10 entries",
        "1 entry<",
        "silent",
        ">RUNNING<",
        "1 of 3 steps",
        "6 of 16 tasks",
        "no figures yet",
        ">DRAINING<",
        ">DECOMMISSIONED<",
        "drained and left 4.0 s ago",
        "lost 5.0 s ago: &lt;img",
        "1 alive · 1 draining · 1 decommissioned · 1 lost<",
        "<th scope=\"col\">Worker</th>",
        ">FAILED<",
        "data-quality",
        "3.0 s",
        "100 of 201, those with a driver first",
        "waits for &lt;img",
        "last attempt: unavailable · driver-lost",
    ] {
        assert!(page.contains(expected), "{expected} is not in {page}");
    }
}

#[test]
fn of_many_workers_that_are_gone_the_page_shows_the_last_and_counts_all() {
    let mut workers = vec![worker()];
    workers.extend(std::iter::repeat_n(lost_worker(), 30));
    let page = drawn(&workers, &[], &[]);
    assert_eq!(page.matches(">LOST<").count(), 10);
    assert!(page.contains("1 alive · 30 lost · the last 10 that are gone are shown"), "{page}");
}

#[test]
fn use_is_of_living_workers_and_drawn_over_the_last_hour() {
    let workers = [worker(), lost_worker(), WorkerView { state: "DRAINING", ..worker() }];
    let now = Sample::of(&workers, 6_000);
    let expected =
        Sample { at_ms: 6_000, cores_total: 4, cores_used: 3, memory_total_bytes: 1 << 30, memory_used_bytes: 3 << 28 };
    assert_eq!(now, expected);
    let samples = [Sample { at_ms: 1_000, cores_used: 1, ..now }, now];
    let page = drawn(&workers, &[], &samples);
    assert!(page.contains("3 cores of 4 cores now, 3 cores at most, 50.0 % on average"), "{page}");
    assert!(page.contains("768 MiB of 1.0 GiB now"), "{page}");
}
