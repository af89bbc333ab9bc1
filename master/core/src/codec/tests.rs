mod applications;

use lake_proto::{ErrorClass, Fault};

use super::*;
use crate::admission::QueueBound;
use crate::application::{DeployMode, Launch, Options, ProcessEnd};
use crate::command::{Exit, Registration, Submission};
use crate::step::{Expectation, Step};
use crate::worker::WorkerState;

/// Bytes that version 1 wrote. They are never edited; a new variant or field adds a line.
const GOLDEN: [&str; 17] = [
    r#"{"format":1,"at_ms":5,"command":{"submit":{"id":"s-1","pipeline":"{\"a\":\"é\"}","options":{"name":"n","job_name":"j","total_executor_cores":4,"driver_memory_bytes":512,"supervise":true,"max_attempts":3,"deploy_mode":"cluster"}}}}"#,
    r#"{"format":1,"at_ms":5,"command":{"assign_driver":{"driver":"driver-1","worker":"worker-1"}}}"#,
    r#"{"format":1,"at_ms":5,"command":{"driver_started":{"driver":"driver-1","epoch":9}}}"#,
    r#"{"format":1,"at_ms":5,"command":{"record_step":{"driver":"driver-1","epoch":9,"step":{"table":"a.b","outcome":"COMMITTED","version":-1,"rows_in":1,"rows_out":2,"bytes_out":3,"files":4,"elapsed_ms":5,"expectations":[{"name":"e","action":"warn","violations":6}]}}}}"#,
    r#"{"format":1,"at_ms":5,"command":{"driver_finished":{"driver":"driver-1","epoch":9,"failure":{"class":"invalid-job","code":"c","message":"m"}}}}"#,
    r#"{"format":1,"at_ms":5,"command":{"driver_exited":{"driver":"driver-1","epoch":9,"exit":{"code":null,"signal":9,"fault":null}}}}"#,
    r#"{"format":1,"at_ms":5,"command":{"driver_lost":{"driver":"driver-1","epoch":9,"reason":"r"}}}"#,
    r#"{"format":1,"at_ms":5,"command":{"kill":{"app":"app-1"}}}"#,
    r#"{"format":1,"at_ms":5,"command":{"worker_registered":{"instance":"i","host":"h","grpc_port":1,"flight_port":2,"http_port":3,"cores":4,"memory_bytes":5}}}"#,
    r#"{"format":1,"at_ms":5,"command":{"worker_back":{"worker":"worker-1"}}}"#,
    r#"{"format":1,"at_ms":5,"command":{"worker_lost":{"worker":"worker-1","reason":"r"}}}"#,
    r#"{"format":1,"at_ms":5,"command":{"permit_commit":{"driver":"driver-1","epoch":9,"table":"a.b"}}}"#,
    r#"{"format":1,"at_ms":5,"command":{"worker_left":{"worker":"worker-1"}}}"#,
    r#"{"format":1,"at_ms":5,"command":{"submit":{"id":"s-2","pipeline":"{}","options":{"name":"n","job_name":"j","total_executor_cores":4,"driver_memory_bytes":512,"supervise":true,"max_attempts":3,"deploy_mode":"cluster"},"bound":{"applications":6,"pipelines_bytes":7}}}}"#,
    r#"{"format":1,"at_ms":5,"command":{"permit_commit":{"driver":"driver-1","epoch":9,"table":"a.b","run_number":7,"inputs":"d1"}}}"#,
    r#"{"format":1,"at_ms":5,"command":{"forget":{"apps":["app-1","app-2"]}}}"#,
    r#"{"format":1,"at_ms":5,"command":{"submit":{"id":"s-3","pipeline":"{}","options":{"name":"n","job_name":"j","total_executor_cores":4,"driver_memory_bytes":512,"supervise":true,"max_attempts":3,"deploy_mode":"cluster"},"traceparent":"00-1-2-01"}}}"#,
];

/// Workers as version 1 wrote them into snapshots, and one line per state that was added since.
const GOLDEN_WORKERS: [&str; 3] =
    [r#""alive""#, r#"{"lost":{"at_ms":7,"reason":"r"}}"#, r#"{"decommissioned":{"at_ms":7}}"#];

fn commands() -> [Command; 17] {
    let driver = || "driver-1".parse().unwrap();
    let worker = || "worker-1".parse().unwrap();
    let options = Options {
        name: "n".to_owned(),
        job_name: "j".to_owned(),
        total_executor_cores: 4,
        driver_memory_bytes: 512,
        supervise: true,
        max_attempts: 3,
        deploy_mode: DeployMode::Cluster,
    };
    let step = Step {
        table: "a.b".to_owned(),
        outcome: "COMMITTED".to_owned(),
        version: -1,
        rows_in: 1,
        rows_out: 2,
        bytes_out: 3,
        files: 4,
        elapsed_ms: 5,
        expectations: vec![Expectation { name: "e".to_owned(), action: "warn".to_owned(), violations: 6 }],
    };
    let registration = Registration {
        instance: "i".to_owned(),
        host: "h".to_owned(),
        grpc_port: 1,
        flight_port: 2,
        http_port: 3,
        cores: 4,
        memory_bytes: 5,
    };
    [
        Command::Submit(Submission {
            id: "s-1".parse().unwrap(),
            pipeline: r#"{"a":"é"}"#.to_owned(),
            options: options.clone(),
            bound: None,
            traceparent: String::new(),
        }),
        Command::AssignDriver { driver: driver(), worker: worker() },
        Command::DriverStarted { driver: driver(), epoch: 9 },
        Command::RecordStep { driver: driver(), epoch: 9, step },
        Command::DriverFinished {
            driver: driver(),
            epoch: 9,
            failure: Some(Fault::new(ErrorClass::InvalidJob, "c", "m")),
        },
        Command::DriverExited { driver: driver(), epoch: 9, exit: Exit { code: None, signal: 9, fault: None } },
        Command::DriverLost { driver: driver(), epoch: 9, reason: "r".to_owned() },
        Command::Kill { app: "app-1".parse().unwrap() },
        Command::WorkerRegistered(registration),
        Command::WorkerBack { worker: worker() },
        Command::WorkerLost { worker: worker(), reason: "r".to_owned() },
        Command::PermitCommit {
            driver: driver(),
            epoch: 9,
            table: "a.b".to_owned(),
            run_number: 0,
            inputs: String::new(),
        },
        Command::WorkerLeft { worker: worker() },
        Command::Submit(Submission {
            id: "s-2".parse().unwrap(),
            pipeline: "{}".to_owned(),
            options: options.clone(),
            bound: Some(QueueBound { applications: 6, pipelines_bytes: 7 }),
            traceparent: String::new(),
        }),
        Command::PermitCommit {
            driver: driver(),
            epoch: 9,
            table: "a.b".to_owned(),
            run_number: 7,
            inputs: "d1".to_owned(),
        },
        Command::Forget { apps: vec!["app-1".parse().unwrap(), "app-2".parse().unwrap()] },
        Command::Submit(Submission {
            id: "s-3".parse().unwrap(),
            pipeline: "{}".to_owned(),
            options,
            bound: None,
            traceparent: "00-1-2-01".to_owned(),
        }),
    ]
}

#[test]
fn entries_of_version_one_decode_for_ever_and_are_still_written() {
    for (golden, command) in GOLDEN.into_iter().zip(commands()) {
        let stamped = decode_entry(7, golden.as_bytes()).unwrap();
        assert_eq!(stamped, Stamped { at_ms: 5, index: 7, command: command.clone() });
        assert_eq!(String::from_utf8(encode_entry(5, &command).unwrap()).unwrap(), golden);
    }
}

#[test]
fn workers_of_every_state_are_read_from_snapshots_for_ever_and_still_written_so() {
    let states = [
        WorkerState::Alive,
        WorkerState::Lost { at_ms: 7, reason: "r".to_owned() },
        WorkerState::Decommissioned { at_ms: 7 },
    ];
    for (golden, state) in GOLDEN_WORKERS.into_iter().zip(states) {
        let worker = format!(
            r#"{{"id":"worker-1","registration":{{"instance":"i","host":"h","grpc_port":1,"flight_port":2,"http_port":3,"cores":4,"memory_bytes":5}},"registered_at_ms":5,"state":{golden}}}"#
        );
        let bytes = format!(
            r#"{{"format":1,"state":{{"applied":1,"clock_ms":5,"accepted":0,"applications":{{}},"by_driver":{{}},"by_submission":{{}},"ended":[],"run_numbers":{{}},"workers":{{"worker-1":{worker}}}}}}}"#
        );
        let read = decode_state(bytes.as_bytes()).unwrap();
        assert_eq!(read.workers().next().unwrap().state, state);
        assert_eq!(String::from_utf8(encode_state(&read).unwrap()).unwrap(), bytes);
    }
}

#[test]
fn permits_of_snapshots_from_before_inputs_were_bound_are_read() {
    let permit: crate::application::Permit = serde_json::from_str(r#"{"index":4,"epoch":3}"#).unwrap();
    assert_eq!((permit.index, permit.epoch, permit.inputs.as_str()), (4, 3, ""));
    assert_eq!(serde_json::to_string(&permit).unwrap(), r#"{"index":4,"epoch":3}"#);
}

#[test]
fn attempts_of_snapshots_from_before_they_said_why_they_were_made_are_read() {
    let golden = r#"{"epoch":4,"worker":"worker-1","assigned_at_ms":5,"is_started":true,"is_killing":false}"#;
    let attempt: crate::application::Attempt = serde_json::from_str(golden).unwrap();
    assert_eq!((attempt.epoch, attempt.relaunch_reason.as_ref()), (4, None));
    assert_eq!(serde_json::to_string(&attempt).unwrap(), golden);
}

#[test]
fn launches_are_read_from_snapshots_for_ever_and_still_written_so() {
    let golden = [
        r#"{"number":1,"epoch":4,"worker":null,"launched_at_ms":5}"#,
        r#"{"number":2,"epoch":9,"worker":"worker-1","launched_at_ms":5,"ended_at_ms":6,"exit":{"code":2,"signal":0},"fault":{"class":"invalid-job","code":"c","message":"m"}}"#,
    ];
    let first =
        Launch { number: 1, epoch: 4, worker: None, launched_at_ms: 5, ended_at_ms: None, exit: None, fault: None };
    let second = Launch {
        number: 2,
        epoch: 9,
        worker: Some("worker-1".parse().unwrap()),
        ended_at_ms: Some(6),
        exit: Some(ProcessEnd { code: Some(2), signal: 0 }),
        fault: Some(Fault::new(ErrorClass::InvalidJob, "c", "m")),
        ..first.clone()
    };
    for (golden, launch) in golden.into_iter().zip([first, second]) {
        assert_eq!(serde_json::from_str::<Launch>(golden).unwrap(), launch);
        assert_eq!(serde_json::to_string(&launch).unwrap(), golden);
    }
}

#[test]
fn an_application_of_a_snapshot_from_before_launches_were_remembered_is_read() {
    let mut state = State::default();
    let [submit, ..] = commands();
    crate::apply(&mut state, Stamped { at_ms: 5, index: 1, command: submit });
    let bytes = encode_state(&state).unwrap();
    assert!(!String::from_utf8_lossy(&bytes).contains("launches"), "an older master reads it, too");
    assert_eq!(decode_state(&bytes).unwrap(), state);
}

#[test]
fn damaged_and_newer_bytes_are_refused_by_name() {
    let unknown = br#"{"format":1,"at_ms":5,"command":{"fly":{}}}"#;
    assert!(matches!(decode_entry(1, unknown), Err(Error::Shape { .. })));
    assert!(matches!(decode_state(b"{"), Err(Error::Shape { .. })));
    let newer = br#"{"format":2,"at_ms":5,"command":{"kill":{"app":"app-1"}}}"#;
    let message = decode_entry(1, newer).unwrap_err().to_string();
    assert_eq!(message, "log entry has format 2, this version reads up to 1; start the newer version of lake-master");
}

#[test]
fn a_state_survives_its_snapshot() {
    let mut state = State::default();
    for (number, command) in commands().into_iter().enumerate() {
        let index = u64::try_from(number).unwrap() + 1;
        crate::apply(&mut state, Stamped { at_ms: 5, index, command });
    }
    assert_eq!(decode_state(&encode_state(&state).unwrap()).unwrap(), state);
}
