//! A snapshot with an application in every phase and every field set, as version 1 wrote it.

use std::collections::{BTreeMap, VecDeque};

use lake_proto::{AppId, ErrorClass, Fault};

use crate::application::{Application, Attempt, DeployMode, Ended, Options, Permit, Phase};
use crate::codec::{decode_state, encode_state};
use crate::command::Registration;
use crate::invariants;
use crate::state::State;
use crate::step::{Expectation, FENCED, Step, UNKNOWN};
use crate::worker::{Worker, WorkerState};

/// Never edited: masters that are upgraded read such bytes. A field or phase that is added later gets a file of its own.
const GOLDEN: &str = include_str!("applications.json");

const JOB: &str = "customers";
const FIRST_RUN: u64 = 1_795_253_412_000;

fn fault(class: ErrorClass, code: &str) -> Fault {
    Fault::new(class, code, format!("table \"silver.é\": {code}\nwas found"))
}

fn step(table: &str, outcome: &str) -> Step {
    let expectation = |name: &str, action: &str, violations| Expectation {
        name: name.to_owned(),
        action: action.to_owned(),
        violations,
    };
    Step {
        table: table.to_owned(),
        outcome: outcome.to_owned(),
        version: 41,
        rows_in: 1_000_001,
        rows_out: 999_998,
        bytes_out: 5_000_000_000,
        files: 17,
        elapsed_ms: 61_234,
        expectations: vec![expectation("email_has_at", "drop", 3), expectation("has_country", "warn", 0)],
    }
}

fn steps(list: &[(&str, &str)]) -> BTreeMap<String, Step> {
    list.iter().map(|(table, outcome)| ((*table).to_owned(), step(table, outcome))).collect()
}

fn ended(number: u64) -> Ended {
    Ended { at_ms: FIRST_RUN + 90_000, worker: Some("worker-1".parse().unwrap()), epoch: 10 + number }
}

/// The place of the application in the queue follows from its number.
fn application(number: u64, phase: Phase) -> Application {
    let is_over = phase.ended().is_some();
    Application {
        id: format!("app-20261121093012-{number:04}").parse().unwrap(),
        driver: format!("driver-20261121093012-{number:04}").parse().unwrap(),
        submission: format!("01993e6b-0000-7000-8000-00000000000{number}").parse().unwrap(),
        digest: format!("{number:064x}"),
        options: Options {
            name: format!("nightly {number}"),
            job_name: JOB.to_owned(),
            total_executor_cores: 8,
            driver_memory_bytes: 1 << 29,
            supervise: true,
            max_attempts: 4,
            deploy_mode: DeployMode::Cluster,
        },
        pipeline: (!is_over).then(|| r#"{"name":"customers","tables":["ü"]}"#.to_owned()),
        run_number: FIRST_RUN + number,
        queued_at: number,
        submitted_at_ms: FIRST_RUN,
        started_at_ms: Some(FIRST_RUN + 1_000),
        attempt: 2,
        steps: steps(&[("bronze.customers", "COMMITTED"), ("silver.customers", "SKIPPED")]),
        permits: BTreeMap::new(),
        traceparent: String::new(),
        launches: Vec::new(),
        ending: None,
        phase,
    }
}

fn state() -> State {
    let failed = Phase::Failed { ended: ended(1), fault: fault(ErrorClass::DataQuality, "expectation") };
    let error = Phase::Error { ended: ended(4), fault: fault(ErrorClass::Denied, "driver-start") };
    let running = Phase::Running(Attempt {
        epoch: 20,
        worker: Some("worker-1".parse().unwrap()),
        assigned_at_ms: FIRST_RUN + 30_000,
        is_started: true,
        is_killing: true,
        relaunch_reason: Some(fault(ErrorClass::Unavailable, "worker-lost")),
    });
    let relaunching = Phase::Relaunching {
        fault: fault(ErrorClass::Cancelled, "killed"),
        since_ms: FIRST_RUN + 40_000,
        not_before_ms: FIRST_RUN + 41_000,
        last_worker: Some("worker-2".parse().unwrap()),
        last_epoch: 16,
    };
    let permit = |index, inputs: &str| Permit { index, epoch: 16, inputs: inputs.to_owned() };
    let permits = [("gold.a", permit(18, "d1e2")), ("gold.b", permit(19, ""))];
    let permits: BTreeMap<String, Permit> =
        permits.into_iter().map(|(table, permit)| (table.to_owned(), permit)).collect();
    let finished = application(3, Phase::Finished(ended(3)));
    let settling = application(6, relaunching);
    let all = [
        application(1, failed),
        Application {
            steps: steps(&[("bronze.customers", FENCED), ("gold.a", UNKNOWN)]),
            ..application(2, Phase::Killed(ended(2)))
        },
        Application {
            options: Options {
                supervise: false,
                max_attempts: 1,
                deploy_mode: DeployMode::Client,
                ..finished.options.clone()
            },
            ..finished
        },
        application(4, error),
        Application { permits: permits.clone(), ..application(5, running) },
        Application {
            options: Options { job_name: "orders".to_owned(), ..settling.options.clone() },
            permits,
            ending: Some(fault(ErrorClass::Cancelled, "killed")),
            ..settling
        },
        Application { started_at_ms: None, attempt: 0, steps: BTreeMap::new(), ..application(7, Phase::Submitted) },
    ];
    let ids = |wanted: fn(&Application) -> bool| all.iter().filter(move |app| wanted(app)).map(|app| app.id.clone());
    let ended: VecDeque<AppId> = ids(|application| application.phase.ended().is_some()).collect();
    let workers = [(1, WorkerState::Alive), (2, WorkerState::Lost { at_ms: FIRST_RUN, reason: "silent".to_owned() })];
    let state = State {
        applied: 23,
        clock_ms: FIRST_RUN + 90_000,
        accepted: 7,
        by_driver: all.iter().map(|application| (application.driver.clone(), application.id.clone())).collect(),
        by_submission: all.iter().map(|application| (application.submission.clone(), application.id.clone())).collect(),
        ended,
        run_numbers: BTreeMap::from([(JOB.to_owned(), FIRST_RUN + 7), ("orders".to_owned(), FIRST_RUN + 6)]),
        workers: workers.into_iter().map(|(number, state)| worker(number, state)).map(|w| (w.id.clone(), w)).collect(),
        applications: all.into_iter().map(|application| (application.id.clone(), application)).collect(),
        ..State::default()
    };
    state.reindexed()
}

fn worker(number: u16, state: WorkerState) -> Worker {
    Worker {
        id: format!("worker-{number}").parse().unwrap(),
        registration: Registration {
            instance: format!("instance-{number}"),
            host: format!("h{number}"),
            grpc_port: 7078,
            flight_port: 7079,
            http_port: 8081,
            cores: 16,
            memory_bytes: 64 << 30,
        },
        registered_at_ms: FIRST_RUN - 1_000,
        state,
    }
}

#[test]
fn applications_in_every_phase_are_read_from_snapshots_for_ever_and_still_written_so() {
    let expected = state();
    invariants::check(&expected).unwrap();
    let golden = GOLDEN.trim_end();
    assert_eq!(decode_state(golden.as_bytes()).unwrap(), expected);
    assert_eq!(String::from_utf8(encode_state(&expected).unwrap()).unwrap(), golden);
}
