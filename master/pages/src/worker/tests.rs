use super::*;
use crate::fixture::{record, summary};
use crate::sound::{ESCAPED, HOSTILE, assert_sound};

fn view(state: &'static str) -> WorkerView {
    WorkerView {
        worker_id: HOSTILE.to_owned(),
        host: HOSTILE.to_owned(),
        grpc_port: 7078,
        flight_port: 7079,
        http_port: 8081,
        cores: 4,
        cores_used: 3,
        memory_bytes: 1 << 30,
        driver_memory_bytes: 1 << 29,
        task_memory_bytes: 0,
        disk_free_bytes: 5 << 30,
        running_tasks: 1,
        shuffle_bytes: 7 << 20,
        state,
        lost_reason: None,
        gone_at_ms: if state == "ALIVE" { 0 } else { 3_000 },
        drivers: 1,
        registered_at_ms: 1_000,
        last_heartbeat_ms: 4_000,
    }
}

#[test]
fn a_worker_shows_what_runs_on_it_and_escapes_it() {
    let record = record();
    let running: Vec<RunningAttempt> = running_on(&record, HOSTILE).collect();
    assert_eq!(running.len(), 1, "one attempt runs, the others have ended");
    assert_eq!(running_on(&record, "worker-2").count(), 0);
    let view = view("ALIVE");
    let shown = Worker { worker: &view, running: &running, drivers: &[summary("RUNNING")], now_ms: 6_000 };
    let page = worker(&shown).body.into_string();
    assert_sound(&page);
    assert!(page.contains(ESCAPED), "{page}");
    for expected in ["stage 2, task 0", "1.0 s", "7.0 MiB", "gRPC 7078 · Flight 7079", "3 / 4", ":8081/\"", "2.0 s ago"]
    {
        assert!(page.contains(expected), "{expected} is not in {page}");
    }
}

#[test]
fn what_still_runs_of_an_application_that_has_ended_is_said_to_stop() {
    let (mut record, view) = (record(), view("ALIVE"));
    for (ended_at_ms, is_said) in [(0, false), (5_000, true)] {
        record.summary.ended_at_ms = ended_at_ms;
        let running: Vec<RunningAttempt> = running_on(&record, HOSTILE).collect();
        let page = worker(&Worker { worker: &view, running: &running, drivers: &[], now_ms: 6_000 }).body.into_string();
        assert_sound(&page);
        assert_eq!(page.contains("stopping: its application has ended"), is_said, "{page}");
    }
}

#[test]
fn a_worker_that_has_gone_has_no_page_of_its_own() {
    let view = view("DECOMMISSIONED");
    let page = worker(&Worker { worker: &view, running: &[], drivers: &[], now_ms: 6_000 }).body.into_string();
    assert_sound(&page);
    assert!(page.contains("drained and left 3.0 s ago") && !page.contains("http://"), "{page}");
}
