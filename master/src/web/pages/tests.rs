use std::collections::BTreeMap;

use lake_master_core::Step;
use lake_master_core::step::Expectation;
use lake_master_core::view::{ApplicationView, WorkerView};
use lake_proto::{ErrorClass, Fault, v1};
use lake_raft::{Group, GroupMember, Member};

const HOSTILE: &str = "<img src=x onerror=alert(1)>\"'&";

fn application(state: &'static str) -> ApplicationView {
    ApplicationView {
        submission_id: HOSTILE.to_owned(),
        app_id: "app-1".to_owned(),
        driver_id: "driver-1".to_owned(),
        name: HOSTILE.to_owned(),
        job_name: HOSTILE.to_owned(),
        state,
        is_killing: false,
        deploy_mode: "cluster",
        worker_id: "worker-1".to_owned(),
        worker_address: HOSTILE.to_owned(),
        attempt: 1,
        max_attempts: 3,
        run_number: 7,
        driver_memory_bytes: 1 << 29,
        total_executor_cores: 0,
        submitted_at_ms: 1_000,
        started_at_ms: 2_000,
        ended_at_ms: if state == "RUNNING" { 0 } else { 5_000 },
        failure: Some(Fault::new(ErrorClass::DataQuality, HOSTILE, HOSTILE)),
        waits_for: Some(HOSTILE.to_owned()),
        relaunch_reason: None,
        steps: vec![Step {
            table: HOSTILE.to_owned(),
            outcome: HOSTILE.to_owned(),
            rows_out: 12_345,
            expectations: vec![Expectation { name: HOSTILE.to_owned(), action: HOSTILE.to_owned(), violations: 3 }],
            ..Step::default()
        }],
    }
}

/// In its second attempt, or before it.
fn relaunched(state: &'static str) -> ApplicationView {
    let attempt = if state == "RUNNING" { 2 } else { 1 };
    let relaunch_reason = Some(Fault::new(ErrorClass::Unavailable, "driver-lost", HOSTILE));
    ApplicationView { attempt, failure: None, relaunch_reason, ended_at_ms: 0, ..application(state) }
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
        task_memory_bytes: 0,
        disk_free_bytes: 1,
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

fn assert_harmless(page: &str) {
    assert!(!page.contains("<img"), "{page}");
    // The content security policy would not let it take effect.
    assert!(!page.contains(" style=") && !page.contains("<style") && !page.contains("<script>"), "{page}");
    assert!(page.contains("&lt;img src=x onerror=alert(1)&gt;&quot;&#39;&amp;"));
}

#[test]
fn the_cluster_page_shows_everything_and_escapes_it() {
    let member = |id, is_voter| GroupMember {
        member: Member { id, address: HOSTILE.to_owned(), incarnation: String::new() },
        is_voter,
        matched: 90,
        is_active: id < 3,
    };
    let members = vec![member(1, true), member(2, true), member(3, false)];
    let drawn = super::cluster::Drawn {
        group: Group { leader: 1, term: 7, commit: 100, is_changing: false, members },
        workers: vec![
            worker(),
            WorkerView { state: "DRAINING", ..worker() },
            WorkerView { state: "DECOMMISSIONED", gone_at_ms: 2_000, ..worker() },
            lost_worker(),
        ],
        in_states: BTreeMap::from([("RUNNING", 1), ("SUBMITTED", 200), ("FAILED", 1)]),
        active: vec![relaunched("RUNNING")],
        completed: vec![application("FAILED")],
        running_queries: 1,
        now_ms: 6_000,
    };
    let page = drawn.html().into_string();
    assert_harmless(&page);
    for expected in [
        "3 / 4",
        "512 MiB / 1.0 GiB",
        "term 7",
        ">leader<",
        ">voter<",
        ">learner<",
        "10 entries",
        "silent",
        ">RUNNING<",
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
        "last attempt: unavailable · driver-lost",
        "<b>1</b><span>worker alive</span>",
        "<b>3 / 4</b><span>cores in use</span>",
        "<b>1</b><span>application running</span>",
        "<b>200</b><span>applications waiting</span>",
        "<b>1</b><span>query running</span>",
    ] {
        assert!(page.contains(expected), "{expected} is not in {page}");
    }
}

#[test]
fn of_many_workers_that_are_gone_the_page_shows_the_last_and_counts_all() {
    let mut workers = vec![worker()];
    workers.extend(std::iter::repeat_n(lost_worker(), 30));
    let drawn = super::cluster::Drawn {
        group: Group::default(),
        workers,
        in_states: BTreeMap::new(),
        active: Vec::new(),
        completed: Vec::new(),
        running_queries: 0,
        now_ms: 6_000,
    };
    let page = drawn.html().into_string();
    assert_eq!(page.matches(">LOST<").count(), 10);
    assert!(page.contains("1 alive · 30 lost · the last 10 that are gone are shown"), "{page}");
    for expected in ["<b>0</b><span>applications running</span>", "<b>0</b><span>queries running</span>"] {
        assert!(page.contains(expected), "{expected} is not in {page}");
    }
}

#[test]
fn a_page_has_a_name_a_way_home_and_nothing_inline() {
    let masthead = super::masthead::Masthead {
        id: 1,
        role: lake_raft::Role::Leader,
        term: 7,
        relay_id: None,
        leader: None,
        now_ms: 6_000,
    };
    let body = crate::web::html::text(HOSTILE);
    let page = super::document(HOSTILE, &masthead, &body).into_string();
    assert_harmless(&page);
    for expected in [
        "<!doctype html><html lang=\"en\">",
        "<title>&lt;img",
        "<a href=\"/\">lake master</a>",
        "<main>&lt;img",
        "role=\"alert\" hidden",
    ] {
        assert!(page.contains(expected), "{expected} is not in {page}");
    }
    // A page with an element that is not closed would not be read the same again.
    for name in ["html", "head", "body", "header", "main", "h1", "title", "p", "a", "span", "script"] {
        let opened = page.matches(&format!("<{name}>")).count() + page.matches(&format!("<{name} ")).count();
        assert_eq!(opened, page.matches(&format!("</{name}>")).count(), "{name} in {page}");
    }
}

#[test]
fn the_application_page_shows_steps_expectations_and_the_error_and_escapes_them() {
    let stage = v1::StageProgress { stage_id: 1, tasks_total: 4, tasks_done: 1, ..Default::default() };
    let progress = v1::StepProgress {
        table: "silver.b".to_owned(),
        state: "RUNNING".to_owned(),
        stages: vec![stage],
        failure: Some(Fault::new(ErrorClass::Internal, HOSTILE, HOSTILE).into()),
        ..Default::default()
    };
    let drawn = super::application::Drawn {
        application: application("FAILED"),
        progress: vec![progress],
        queries: Vec::new(),
        now_ms: 6_000,
    };
    let page = drawn.html().into_string();
    assert_harmless(&page);
    for expected in ["12,345", "3 violated", "1 of 4 tasks", "class=\"failure\"", "silver.b"] {
        assert!(page.contains(expected), "{expected} is not in {page}");
    }
}

#[test]
fn the_application_page_says_why_the_driver_is_launched_again() {
    for state in ["RELAUNCHING", "RUNNING"] {
        let application = relaunched(state);
        let drawn = super::application::Drawn { application, progress: Vec::new(), queries: Vec::new(), now_ms: 6_000 };
        let page = drawn.html().into_string();
        assert_harmless(&page);
        for expected in ["Attempt 1 ended with:", "class=\"failure\"", "driver-lost"] {
            assert!(page.contains(expected), "{state}: {expected} is not in {page}");
        }
    }
}
