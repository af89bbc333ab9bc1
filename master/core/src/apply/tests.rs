//! Every move has a row: from, command, to, events.

use lake_proto::{AppId, DriverId, ErrorClass, Fault, WorkerId, v1};

use super::apply;
use crate::admission::QueueBound;
use crate::application::{DeployMode, Options, Phase};
use crate::command::{Command, Exit, Registration, Stamped, Submission};
use crate::event::Event;
use crate::invariants;
use crate::state::{MAX_ENDED_APPLICATIONS, MAX_GONE_WORKERS, State};
use crate::step::Step;
use crate::view;

const NOON_MS: u64 = 1_795_253_412_000;

struct Cluster {
    state: State,
    index: u64,
    now_ms: u64,
}

impl Cluster {
    fn new() -> Self {
        Self { state: State::default(), index: 0, now_ms: NOON_MS }
    }

    fn apply(&mut self, command: Command) -> Vec<Event> {
        self.index += 1;
        self.now_ms += 1;
        let events = apply(&mut self.state, Stamped { at_ms: self.now_ms, index: self.index, command });
        invariants::check(&self.state).unwrap();
        events
    }

    fn submit(&mut self, number: u32) -> (AppId, DriverId) {
        self.send(submission(number))
    }

    fn submit_job(&mut self, number: u32, job_name: &str) -> (AppId, DriverId) {
        let mut submission = submission(number);
        submission.options.job_name = job_name.to_owned();
        self.send(submission)
    }

    fn send(&mut self, submission: Submission) -> (AppId, DriverId) {
        match self.apply(Command::Submit(submission)).remove(0) {
            Event::Submitted { app, driver, .. } => (app, driver),
            other => panic!("{other:?}"),
        }
    }

    fn worker(&mut self, number: u32) -> WorkerId {
        match self.apply(Command::WorkerRegistered(registration(number))).remove(0) {
            Event::WorkerRegistered { worker, .. } => worker,
            other => panic!("{other:?}"),
        }
    }

    fn phase(&self, app: &AppId) -> &'static str {
        self.state.application(app).unwrap().phase.name()
    }
}

fn submission(number: u32) -> Submission {
    let options = Options {
        name: format!("job {number}"),
        job_name: "customers".to_owned(),
        total_executor_cores: 0,
        driver_memory_bytes: 100,
        supervise: true,
        max_attempts: 2,
        deploy_mode: DeployMode::Cluster,
    };
    Submission {
        id: format!("submission-{number}").parse().unwrap(),
        pipeline: "{}".to_owned(),
        options,
        bound: None,
        traceparent: String::new(),
    }
}

fn registration(number: u32) -> Registration {
    Registration {
        instance: format!("instance-{number}"),
        host: "10.0.0.1".to_owned(),
        grpc_port: u16::try_from(7000 + number).unwrap(),
        flight_port: 1,
        http_port: 2,
        cores: 2,
        memory_bytes: 250,
    }
}

fn fault(class: ErrorClass) -> Fault {
    Fault::new(class, "some-code", "what was found")
}

fn code(events: &[Event]) -> &str {
    match events {
        [Event::Rejected(fault)] => &fault.code,
        other => panic!("expected one rejection, found {other:?}"),
    }
}

/// The states a row can start from. The driver under test is on `worker` with epoch `epoch`.
#[derive(Debug, Clone, Copy, PartialEq)]
enum At {
    Submitted,
    Assigned,
    Started,
    Killing,
    Relaunching,
    LastAttempt,
    Finished,
}

struct Scene {
    cluster: Cluster,
    app: AppId,
    driver: DriverId,
    worker: WorkerId,
    epoch: u64,
}

fn scene(from: At) -> Scene {
    let mut cluster = Cluster::new();
    let worker = cluster.worker(1);
    let (app, driver) = cluster.submit(1);
    let mut epoch = 0;
    let mut assign = |cluster: &mut Cluster| {
        cluster.apply(Command::AssignDriver { driver: driver.clone(), worker: worker.clone() });
        epoch = cluster.index;
        epoch
    };
    if from != At::Submitted {
        let epoch = assign(&mut cluster);
        if from != At::Assigned {
            cluster.apply(Command::DriverStarted { driver: driver.clone(), epoch });
        }
        match from {
            At::Killing => {
                cluster.apply(Command::Kill { app: app.clone() });
            }
            At::Relaunching | At::LastAttempt => {
                let exit = Exit { code: None, signal: 9, fault: None };
                cluster.apply(Command::DriverExited { driver: driver.clone(), epoch, exit });
                if from == At::LastAttempt {
                    let epoch = assign(&mut cluster);
                    cluster.apply(Command::DriverStarted { driver: driver.clone(), epoch });
                }
            }
            At::Finished => {
                cluster.apply(Command::DriverFinished { driver: driver.clone(), epoch, failure: None });
            }
            At::Submitted | At::Assigned | At::Started => {}
        }
    }
    Scene { cluster, app, driver, worker, epoch }
}

/// What happens to the driver under test.
#[derive(Debug, Clone, Copy)]
enum Then {
    Assign,
    Start,
    Step,
    Succeed,
    Fail(ErrorClass),
    ExitWith(i32),
    DieBySignal,
    CannotStart(ErrorClass),
    Lose,
    LoseWorker,
    Kill,
}

fn command(scene: &Scene, then: Then) -> Command {
    let (driver, epoch, worker) = (scene.driver.clone(), scene.epoch, scene.worker.clone());
    let finished = |failure| Command::DriverFinished { driver: driver.clone(), epoch, failure };
    let exited = |exit| Command::DriverExited { driver: driver.clone(), epoch, exit };
    match then {
        Then::Assign => Command::AssignDriver { driver, worker },
        Then::Start => Command::DriverStarted { driver, epoch },
        Then::Step => {
            let (table, outcome) = ("bronze.a".to_owned(), "COMMITTED".to_owned());
            let step = Step { table, outcome, version: 7, ..Step::default() };
            Command::RecordStep { driver, epoch, step }
        }
        Then::Succeed => finished(None),
        Then::Fail(class) => finished(Some(fault(class))),
        Then::ExitWith(code) => exited(Exit { code: Some(code), signal: 0, fault: None }),
        Then::DieBySignal => exited(Exit { code: None, signal: 9, fault: None }),
        Then::CannotStart(class) => exited(Exit { code: None, signal: 0, fault: Some(fault(class)) }),
        Then::Lose => Command::DriverLost { driver, epoch, reason: "gone".to_owned() },
        Then::LoseWorker => Command::WorkerLost { worker, reason: "silent".to_owned() },
        Then::Kill => Command::Kill { app: scene.app.clone() },
    }
}

fn names(events: &[Event]) -> String {
    let name = |event: &Event| {
        let text = format!("{event:?}");
        text.split([' ', '(']).next().unwrap_or_default().to_owned()
    };
    events.iter().map(name).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_move_of_a_driver() {
    use At::{Assigned, Finished, Killing, LastAttempt, Relaunching, Started, Submitted};
    use ErrorClass::{Cancelled, Conflict, Internal, InvalidJob, Resource, Unavailable};
    let rows = [
        (Submitted, Then::Assign, "RUNNING", "DriverAssigned"),
        (Submitted, Then::Start, "SUBMITTED", "Ignored"),
        (Submitted, Then::Step, "SUBMITTED", "Rejected"),
        (Submitted, Then::Succeed, "SUBMITTED", "Rejected"),
        (Submitted, Then::ExitWith(0), "SUBMITTED", "Ignored"),
        (Submitted, Then::Lose, "SUBMITTED", "Ignored"),
        (Submitted, Then::LoseWorker, "SUBMITTED", "WorkerLost"),
        (Submitted, Then::Kill, "KILLED", "Ended"),
        (Assigned, Then::Assign, "RUNNING", "Rejected"),
        (Assigned, Then::Start, "RUNNING", "DriverStarted"),
        (Assigned, Then::Step, "RUNNING", "StepRecorded"),
        (Assigned, Then::Succeed, "FINISHED", "Ended"),
        (Assigned, Then::CannotStart(Internal), "ERROR", "Ended"),
        (Assigned, Then::CannotStart(Resource), "RELAUNCHING", "Relaunching"),
        (Assigned, Then::Lose, "RELAUNCHING", "Relaunching"),
        (Assigned, Then::LoseWorker, "RELAUNCHING", "WorkerLost Relaunching"),
        (Assigned, Then::Kill, "RUNNING", "Killing"),
        (Started, Then::Assign, "RUNNING", "Rejected"),
        (Started, Then::Start, "RUNNING", "Ignored"),
        (Started, Then::Step, "RUNNING", "StepRecorded"),
        (Started, Then::Succeed, "FINISHED", "Ended"),
        (Started, Then::Fail(InvalidJob), "FAILED", "Ended"),
        (Started, Then::Fail(Conflict), "RELAUNCHING", "Relaunching"),
        (Started, Then::Fail(Unavailable), "RELAUNCHING", "Relaunching"),
        (Started, Then::Fail(Cancelled), "KILLED", "Ended"),
        (Started, Then::ExitWith(0), "FAILED", "Ended"),
        (Started, Then::ExitWith(2), "FAILED", "Ended"),
        (Started, Then::ExitWith(6), "RELAUNCHING", "Relaunching"),
        (Started, Then::ExitWith(101), "FAILED", "Ended"),
        (Started, Then::DieBySignal, "RELAUNCHING", "Relaunching"),
        (Started, Then::CannotStart(Resource), "RELAUNCHING", "Relaunching"),
        (Started, Then::CannotStart(Internal), "FAILED", "Ended"),
        (Started, Then::Lose, "RELAUNCHING", "Relaunching"),
        (Started, Then::LoseWorker, "RELAUNCHING", "WorkerLost Relaunching"),
        (Started, Then::Kill, "RUNNING", "Killing"),
        (Killing, Then::Assign, "RUNNING", "Rejected"),
        (Killing, Then::Step, "RUNNING", "StepRecorded"),
        (Killing, Then::Succeed, "FINISHED", "Ended"),
        (Killing, Then::Fail(Unavailable), "KILLED", "Ended"),
        (Killing, Then::ExitWith(7), "KILLED", "Ended"),
        (Killing, Then::DieBySignal, "KILLED", "Ended"),
        (Killing, Then::Lose, "KILLED", "Ended"),
        (Killing, Then::LoseWorker, "KILLED", "WorkerLost Ended"),
        (Killing, Then::Kill, "RUNNING", "Ignored"),
        (Relaunching, Then::Assign, "RUNNING", "DriverAssigned"),
        (Relaunching, Then::Start, "RELAUNCHING", "Ignored"),
        (Relaunching, Then::Step, "RELAUNCHING", "Rejected"),
        (Relaunching, Then::Succeed, "RELAUNCHING", "Ignored"),
        (Relaunching, Then::ExitWith(0), "RELAUNCHING", "Ignored"),
        (Relaunching, Then::LoseWorker, "RELAUNCHING", "WorkerLost"),
        (Relaunching, Then::Kill, "KILLED", "Ended"),
        (LastAttempt, Then::Fail(Unavailable), "FAILED", "Ended"),
        (LastAttempt, Then::DieBySignal, "FAILED", "Ended"),
        (LastAttempt, Then::LoseWorker, "FAILED", "WorkerLost Ended"),
        (LastAttempt, Then::Lose, "FAILED", "Ended"),
        (Finished, Then::Assign, "FINISHED", "Rejected"),
        (Finished, Then::Start, "FINISHED", "Ignored"),
        (Finished, Then::Step, "FINISHED", "Rejected"),
        (Finished, Then::Succeed, "FINISHED", "Ignored"),
        (Finished, Then::ExitWith(0), "FINISHED", "DriverExitRecorded"),
        (Finished, Then::LoseWorker, "FINISHED", "WorkerLost"),
        (Finished, Then::Kill, "FINISHED", "Ignored"),
    ];
    for (from, then, to, expected) in rows {
        let mut scene = scene(from);
        let command = command(&scene, then);
        let events = scene.cluster.apply(command);
        assert_eq!(scene.cluster.phase(&scene.app), to, "{from:?} {then:?}: {events:?}");
        assert_eq!(names(&events), expected, "{from:?} {then:?}: {events:?}");
    }
}

#[test]
fn what_another_launch_would_only_repeat_is_not_launched_again() {
    for code in ["worker-losses", "timeout"] {
        let mut scene = scene(At::Started);
        let (driver, epoch) = (scene.driver.clone(), scene.epoch);
        let failure = Some(Fault::new(ErrorClass::Resource, code, "m"));
        scene.cluster.apply(Command::DriverFinished { driver, epoch, failure });
        assert_eq!(scene.cluster.phase(&scene.app), "FAILED", "{code}");
    }
}

/// Number, whether it is over, exit code and signal, and code of the fault, of a launch that is remembered.
type Told = (u32, bool, Option<(Option<i32>, i32)>, Option<String>);

fn launches(scene: &Scene) -> Vec<Told> {
    let launches = view::launches(&scene.cluster.state, &scene.app);
    let told = launches.into_iter().map(|launch| {
        let exit = launch.exit.map(|end| (end.code, end.signal));
        (launch.number, launch.ended_at_ms.is_some(), exit, launch.fault.map(|fault| fault.code))
    });
    told.collect()
}

#[test]
fn every_launch_of_a_driver_is_remembered_with_its_end_and_what_its_worker_says_of_the_process() {
    let mut scene = scene(At::Started);
    let worker = scene.worker.clone();
    let launch = view::launches(&scene.cluster.state, &scene.app).remove(0);
    assert_eq!((launch.epoch, launch.worker, launch.ended_at_ms), (scene.epoch, Some(worker), None));
    let steps = [
        (Then::DieBySignal, vec![(1, true, Some((None, 9)), Some("driver-lost"))]),
        (Then::Assign, vec![(1, true, Some((None, 9)), Some("driver-lost")), (2, false, None, None)]),
        (
            Then::Fail(ErrorClass::InvalidJob),
            vec![(1, true, Some((None, 9)), Some("driver-lost")), (2, true, None, Some("some-code"))],
        ),
        (
            Then::ExitWith(2),
            vec![(1, true, Some((None, 9)), Some("driver-lost")), (2, true, Some((Some(2), 0)), Some("some-code"))],
        ),
    ];
    for (then, expected) in steps {
        let next = command(&scene, then);
        scene.cluster.apply(next);
        if matches!(then, Then::Assign) {
            scene.epoch = scene.cluster.index;
        }
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(number, is_over, exit, code)| (number, is_over, exit, code.map(str::to_owned)))
            .collect();
        assert_eq!(launches(&scene), expected, "{then:?}");
    }
    assert_eq!(scene.cluster.phase(&scene.app), "FAILED");
}

#[test]
fn a_launch_ends_in_one_way_only() {
    for (from, then, exit, code) in [
        (At::Started, Then::Succeed, None, None),
        (At::Started, Then::LoseWorker, None, Some("worker-lost")),
        (At::Started, Then::Lose, None, Some("driver-lost")),
        (At::Assigned, Then::CannotStart(ErrorClass::Internal), Some((None, 0)), Some("some-code")),
        (At::Killing, Then::ExitWith(7), Some((Some(7), 0)), Some("killed")),
        (At::Killing, Then::Succeed, None, None),
    ] {
        let mut scene = scene(from);
        let next = command(&scene, then);
        scene.cluster.apply(next);
        assert_eq!(launches(&scene), [(1, true, exit, code.map(str::to_owned))], "{from:?} {then:?}");
    }
    // Killed while it waits: the launch before has ended long ago, and there is no other.
    let mut scene = scene(At::Relaunching);
    let kill = command(&scene, Then::Kill);
    scene.cluster.apply(kill);
    assert_eq!(launches(&scene), [(1, true, Some((None, 9)), Some("driver-lost".to_owned()))]);
}

#[test]
fn a_relaunched_driver_says_why_the_attempt_before_ended_until_the_application_is_over() {
    let mut scene = scene(At::Started);
    let reason = |scene: &Scene| {
        let view = view::application(&scene.cluster.state, &scene.app).unwrap();
        let status = v1::ApplicationStatus::from(view.clone());
        assert_eq!(status.relaunch_reason.map(Fault::from), view.relaunch_reason);
        (view.state, view.relaunch_reason.map(|fault| fault.code), view.failure.map(|fault| fault.code))
    };
    assert_eq!(reason(&scene), ("RUNNING", None, None));
    let code = || Some("some-code".to_owned());
    let rows = [
        (Then::Fail(ErrorClass::Conflict), "RELAUNCHING", code(), code()),
        (Then::Assign, "RUNNING", code(), None),
        (Then::Start, "RUNNING", code(), None),
        (Then::Kill, "RUNNING", code(), None),
        (Then::DieBySignal, "KILLED", None, Some("killed".to_owned())),
    ];
    for (then, state, relaunch_reason, failure) in rows {
        let next = command(&scene, then);
        scene.cluster.apply(next);
        if matches!(then, Then::Assign) {
            scene.epoch = scene.cluster.index;
        }
        assert_eq!(reason(&scene), (state, relaunch_reason, failure), "{then:?}");
    }
}

#[test]
fn an_older_epoch_may_neither_record_nor_finish() {
    let mut scene = scene(At::Started);
    let old = scene.epoch;
    let lost = command(&scene, Then::Lose);
    scene.cluster.apply(lost);
    let assign = command(&scene, Then::Assign);
    scene.cluster.apply(assign);
    scene.epoch = old;
    for then in [Then::Step, Then::Succeed, Then::Fail(ErrorClass::InvalidJob)] {
        let late = command(&scene, then);
        assert_eq!(code(&scene.cluster.apply(late)), "stale-epoch");
    }
    for expected in ["DriverExitRecorded", "Ignored"] {
        let late = command(&scene, Then::ExitWith(2));
        assert_eq!(names(&scene.cluster.apply(late)), expected, "it is remembered once");
    }
    assert_eq!(scene.cluster.phase(&scene.app), "RUNNING");
    assert!(scene.cluster.state.application(&scene.app).unwrap().steps.is_empty());
}

#[test]
fn only_the_attempt_that_has_the_application_and_is_not_to_end_may_commit() {
    let mut scene = scene(At::Started);
    let permit = |scene: &Scene| Command::PermitCommit {
        driver: scene.driver.clone(),
        epoch: scene.epoch,
        table: "bronze.a".to_owned(),
        run_number: 0,
        inputs: String::new(),
    };
    let wanted = permit(&scene);
    let first = scene.cluster.apply(wanted.clone());
    let [Event::CommitPermitted { permit: index, .. }] = first.as_slice() else { panic!("{first:?}") };
    assert_eq!(scene.cluster.apply(wanted.clone()), first, "a repeat is the same permission");

    let lost = command(&scene, Then::Lose);
    scene.cluster.apply(lost);
    assert_eq!(code(&scene.cluster.apply(wanted)), "stale-epoch");
    let assign = command(&scene, Then::Assign);
    scene.cluster.apply(assign);
    scene.epoch = scene.cluster.index;
    let wanted = permit(&scene);
    let events = scene.cluster.apply(wanted.clone());
    assert!(matches!(events.as_slice(), [Event::CommitPermitted { permit, .. }] if permit > index), "{events:?}");

    let app = scene.app.clone();
    scene.cluster.apply(Command::Kill { app });
    assert_eq!(code(&scene.cluster.apply(wanted)), "killed");
}

fn permit(scene: &Scene, inputs: &str) -> Command {
    Command::PermitCommit {
        driver: scene.driver.clone(),
        epoch: scene.epoch,
        table: "bronze.a".to_owned(),
        run_number: scene.cluster.state.application(&scene.app).unwrap().run_number,
        inputs: inputs.to_owned(),
    }
}

fn permitted(events: &[Event]) -> u64 {
    match events {
        [Event::CommitPermitted { permit, .. }] => *permit,
        other => panic!("expected a permission, found {other:?}"),
    }
}

#[test]
fn a_permission_binds_run_step_and_inputs_and_other_inputs_take_its_place() {
    let mut scene = scene(At::Started);
    let wanted = permit(&scene, "one");
    let first = permitted(&scene.cluster.apply(wanted.clone()));
    assert_eq!(permitted(&scene.cluster.apply(wanted)), first, "a repeat is the same permission");
    let other = permit(&scene, "two");
    let second = permitted(&scene.cluster.apply(other));
    assert!(second > first);
    let permits = &scene.cluster.state.application(&scene.app).unwrap().permits;
    assert_eq!(permits.len(), 1);
    assert_eq!((permits["bronze.a"].index, permits["bronze.a"].inputs.as_str()), (second, "two"));

    let mut strange = permit(&scene, "two");
    if let Command::PermitCommit { run_number, .. } = &mut strange {
        *run_number += 1;
    }
    assert_eq!(code(&scene.cluster.apply(strange)), "internal", "another run");

    let step = command(&scene, Then::Step);
    scene.cluster.apply(step);
    assert!(scene.cluster.state.application(&scene.app).unwrap().permits.is_empty(), "it is on record");
}

/// A scene whose driver was permitted to commit and has not recorded it.
fn permitted_scene(from: At) -> Scene {
    let mut scene = scene(from);
    let wanted = permit(&scene, "one");
    permitted(&scene.cluster.apply(wanted));
    scene
}

/// The driver that settles, placed and started.
fn settling(scene: &mut Scene) {
    let assign = command(scene, Then::Assign);
    assert_eq!(names(&scene.cluster.apply(assign)), "DriverAssigned");
    scene.epoch = scene.cluster.index;
    let start = command(scene, Then::Start);
    scene.cluster.apply(start);
}

fn outcome_of_step(scene: &Scene) -> Option<&str> {
    let steps = &scene.cluster.state.application(&scene.app).unwrap().steps;
    steps.get("bronze.a").map(|step| step.outcome.as_str())
}

#[test]
fn a_killed_application_is_over_only_when_a_permitted_step_is_settled() {
    for then in [Then::ExitWith(7), Then::DieBySignal, Then::Lose, Then::LoseWorker, Then::Fail(ErrorClass::Cancelled)]
    {
        let mut scene = permitted_scene(At::Started);
        let kill = command(&scene, Then::Kill);
        scene.cluster.apply(kill.clone());
        let gone = command(&scene, then);
        scene.cluster.apply(gone);
        assert_eq!(scene.cluster.phase(&scene.app), "RELAUNCHING", "{then:?}");
        assert_eq!(names(&scene.cluster.apply(kill)), "Ignored");
        if matches!(then, Then::LoseWorker) {
            scene.worker = scene.cluster.worker(2);
        }
        settling(&mut scene);
        let wanted = permit(&scene, "one");
        assert_eq!(code(&scene.cluster.apply(wanted)), "killed", "nothing new is committed");
        let fenced = Step { table: "bronze.a".to_owned(), outcome: crate::step::FENCED.to_owned(), ..Step::default() };
        let record = Command::RecordStep { driver: scene.driver.clone(), epoch: scene.epoch, step: fenced };
        scene.cluster.apply(record);
        let done = command(&scene, Then::Succeed);
        assert_eq!(names(&scene.cluster.apply(done)), "Ended");
        assert_eq!(scene.cluster.phase(&scene.app), "KILLED");
        assert_eq!(outcome_of_step(&scene), Some("FENCED"));
    }
}

#[test]
fn what_an_earlier_attempt_may_have_committed_is_settled_too() {
    // Killed while it waits for its next attempt.
    let mut scene = permitted_scene(At::Started);
    for then in [Then::DieBySignal, Then::Kill] {
        let next = command(&scene, then);
        scene.cluster.apply(next);
        assert_eq!(scene.cluster.phase(&scene.app), "RELAUNCHING", "{then:?}");
    }
    settling(&mut scene);
    let record = command(&scene, Then::Step);
    scene.cluster.apply(record);
    // The record is there and only the driver's last word is lost.
    let lost = command(&scene, Then::DieBySignal);
    assert_eq!(names(&scene.cluster.apply(lost)), "Ended");
    assert_eq!((scene.cluster.phase(&scene.app), outcome_of_step(&scene)), ("KILLED", Some("COMMITTED")));

    // Out of attempts: the reason stays.
    let mut scene = permitted_scene(At::LastAttempt);
    let lost = command(&scene, Then::Fail(ErrorClass::Unavailable));
    scene.cluster.apply(lost);
    assert_eq!(scene.cluster.phase(&scene.app), "RELAUNCHING");
    settling(&mut scene);
    let record = command(&scene, Then::Step);
    scene.cluster.apply(record);
    let done = command(&scene, Then::Succeed);
    scene.cluster.apply(done);
    assert_eq!(scene.cluster.phase(&scene.app), "FAILED");
    let fault = scene.cluster.state.application(&scene.app).unwrap().phase.fault().unwrap();
    assert_eq!((fault.class, fault.code.as_str()), (ErrorClass::Unavailable, "some-code"));
}

#[test]
fn a_step_that_nobody_could_settle_is_unknown_and_says_so() {
    let mut scene = permitted_scene(At::Started);
    let kill = command(&scene, Then::Kill);
    scene.cluster.apply(kill);
    let gone = command(&scene, Then::DieBySignal);
    scene.cluster.apply(gone);
    let mut launches = 0;
    while scene.cluster.phase(&scene.app) == "RELAUNCHING" {
        settling(&mut scene);
        launches += 1;
        let lost = command(&scene, Then::DieBySignal);
        scene.cluster.apply(lost);
    }
    // Two attempts are allowed, of which one was used.
    assert_eq!(launches, 1 + crate::application::SETTLING_LAUNCHES);
    assert_eq!((scene.cluster.phase(&scene.app), outcome_of_step(&scene)), ("KILLED", Some("UNKNOWN")));

    // A fault that will not go away is not tried again.
    let mut scene = permitted_scene(At::Started);
    for then in [Then::Kill, Then::DieBySignal] {
        let next = command(&scene, then);
        scene.cluster.apply(next);
    }
    settling(&mut scene);
    let denied = command(&scene, Then::Fail(ErrorClass::Denied));
    scene.cluster.apply(denied);
    assert_eq!((scene.cluster.phase(&scene.app), outcome_of_step(&scene)), ("KILLED", Some("UNKNOWN")));
}

#[test]
fn a_client_that_is_gone_leaves_what_it_may_have_committed_unknown() {
    let mut cluster = Cluster::new();
    let mut submission = submission(1);
    submission.options.deploy_mode = DeployMode::Client;
    let Event::Submitted { app, driver, epoch, .. } = cluster.apply(Command::Submit(submission)).remove(0) else {
        panic!("refused");
    };
    let table = "bronze.a".to_owned();
    let wanted = Command::PermitCommit { driver: driver.clone(), epoch, table, run_number: 0, inputs: String::new() };
    permitted(&cluster.apply(wanted));
    cluster.apply(Command::DriverLost { driver, epoch, reason: "silent".to_owned() });
    assert_eq!(cluster.phase(&app), "FAILED");
    assert_eq!(cluster.state.application(&app).unwrap().steps["bronze.a"].outcome, "UNKNOWN");
}

#[test]
fn steps_survive_a_relaunch_and_the_first_record_stays() {
    let mut scene = scene(At::Started);
    let step = command(&scene, Then::Step);
    scene.cluster.apply(step);
    let lost = command(&scene, Then::DieBySignal);
    scene.cluster.apply(lost);
    let assign = command(&scene, Then::Assign);
    scene.cluster.apply(assign);
    scene.epoch = scene.cluster.index;
    let driver = scene.driver.clone();
    let step = Step { table: "bronze.a".to_owned(), version: 99, ..Step::default() };
    let events = scene.cluster.apply(Command::RecordStep { driver, epoch: scene.epoch, step });
    assert!(matches!(events.as_slice(), [Event::StepRecorded { is_repeat: true, .. }]));
    let application = scene.cluster.state.application(&scene.app).unwrap();
    assert_eq!(application.steps["bronze.a"].version, 7);
    assert_eq!(application.attempt, 2);
}

#[test]
fn a_submission_sent_twice_is_one_application_and_a_different_one_is_refused() {
    let mut cluster = Cluster::new();
    let first = cluster.submit(1);
    assert_eq!(cluster.submit(1), first);
    let mut other = submission(1);
    other.pipeline.push(' ');
    assert_eq!(code(&cluster.apply(Command::Submit(other))), "submission-differs");
    let mut other = submission(1);
    other.options.max_attempts += 1;
    assert_eq!(code(&cluster.apply(Command::Submit(other))), "submission-differs");
    assert_eq!(cluster.state.applications().count(), 1);
    assert_eq!(cluster.state.find("submission-1").unwrap().id, first.0);
    assert_eq!(cluster.state.find(first.1.as_str()).unwrap().id, first.0);
    assert_eq!(cluster.state.find(first.0.as_str()).unwrap().id, first.0);
    assert!(cluster.state.find("nothing").is_none());
}

#[test]
fn ids_carry_the_utc_time_and_a_number() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.submit(1).0.as_str(), "app-20261121093012-0001");
    assert_eq!(cluster.submit(2).1.as_str(), "driver-20261121093012-0002");
    assert_eq!(cluster.worker(1).as_str(), "worker-20261121093012-10.0.0.1-7001");
}

#[test]
fn run_numbers_rise_per_job_name_even_when_the_clock_steps_back() {
    let mut cluster = Cluster::new();
    let (first, _) = cluster.submit(1);
    cluster.now_ms -= 1_000_000;
    let (second, _) = cluster.submit(2);
    let number = |app: &AppId| cluster.state.application(app).unwrap().run_number;
    assert_eq!(number(&first), NOON_MS + 1);
    assert_eq!(number(&second), NOON_MS + 2);
}

#[test]
fn a_client_driver_runs_at_once_and_is_never_relaunched() {
    let mut cluster = Cluster::new();
    let mut submission = submission(1);
    submission.options.deploy_mode = DeployMode::Client;
    let Event::Submitted { app, driver, epoch, .. } = cluster.apply(Command::Submit(submission.clone())).remove(0)
    else {
        panic!("refused");
    };
    assert_eq!(epoch, cluster.index);
    assert_eq!(cluster.phase(&app), "RUNNING");
    let again = cluster.apply(Command::Submit(submission));
    assert_eq!(again, [Event::Submitted { app: app.clone(), driver: driver.clone(), epoch, is_repeat: true }]);
    cluster.apply(Command::DriverLost { driver, epoch, reason: "silent".to_owned() });
    assert_eq!(cluster.phase(&app), "FAILED");
}

#[test]
fn supervise_off_means_one_attempt() {
    let mut cluster = Cluster::new();
    let worker = cluster.worker(1);
    let mut submission = submission(1);
    submission.options.supervise = false;
    let Event::Submitted { app, driver, .. } = cluster.apply(Command::Submit(submission)).remove(0) else {
        panic!("refused");
    };
    cluster.apply(Command::AssignDriver { driver, worker: worker.clone() });
    cluster.apply(Command::WorkerLost { worker, reason: "silent".to_owned() });
    assert_eq!(cluster.phase(&app), "FAILED");
    assert_eq!(cluster.state.application(&app).unwrap().phase.fault().unwrap().code, "worker-lost");
}

fn bounded(number: u32, bound: QueueBound) -> Submission {
    let mut submission = submission(number);
    submission.options.job_name = format!("job {number}");
    submission.bound = Some(bound);
    submission
}

#[test]
fn a_full_queue_refuses_with_a_reason_and_takes_the_next_when_one_has_left() {
    let bound = QueueBound::of(2);
    let mut cluster = Cluster::new();
    let first = cluster.send(bounded(1, bound));
    cluster.send(bounded(2, bound));

    let events = cluster.apply(Command::Submit(bounded(3, bound)));
    let [Event::Rejected(fault)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((fault.class, fault.code.as_str()), (ErrorClass::Resource, "queue-full"));
    for part in ["2 applications wait", "at most 2 may", "--max-queued-applications", "--kill"] {
        assert!(fault.message.contains(part), "{fault}");
    }
    assert_eq!(cluster.state.waiting_count(), 2);
    // What was accepted is answered, whatever waits.
    assert_eq!(cluster.send(bounded(1, bound)), first);
    // A run in its client's process does not wait.
    let mut client = bounded(4, bound);
    client.options.deploy_mode = DeployMode::Client;
    cluster.send(client);

    // A leader that was started with another bound decides with its own.
    let (third, _) = cluster.send(bounded(3, QueueBound::of(3)));
    cluster.apply(Command::Kill { app: first.0 });
    cluster.apply(Command::Kill { app: third });
    cluster.send(bounded(5, bound));
}

#[test]
fn a_driver_that_is_placed_leaves_the_queue_and_one_that_waits_again_comes_back_to_it() {
    let bound = QueueBound::of(1);
    let mut cluster = Cluster::new();
    let worker = cluster.worker(1);
    let (_, driver) = cluster.send(bounded(1, bound));
    assert_eq!(code(&cluster.apply(Command::Submit(bounded(2, bound)))), "queue-full");
    cluster.apply(Command::AssignDriver { driver, worker: worker.clone() });
    let (_, second) = cluster.send(bounded(2, bound));
    cluster.apply(Command::AssignDriver { driver: second, worker: worker.clone() });
    cluster.apply(Command::WorkerLost { worker, reason: "silent".to_owned() });
    assert_eq!(cluster.state.waiting_count(), 2);
    assert_eq!(code(&cluster.apply(Command::Submit(bounded(3, bound)))), "queue-full");
}

#[test]
fn pipelines_are_taken_up_to_a_size_together_and_those_of_ended_applications_do_not_count() {
    let bound = QueueBound { applications: 10, pipelines_bytes: 100 };
    let sized = |number: u32, length: usize| Submission { pipeline: "x".repeat(length), ..bounded(number, bound) };
    let mut cluster = Cluster::new();
    let (first, _) = cluster.send(sized(1, 60));
    cluster.send(sized(2, 40));
    let events = cluster.apply(Command::Submit(sized(3, 1)));
    assert_eq!(code(&events), "queue-full");
    let [Event::Rejected(fault)] = events.as_slice() else { panic!("{events:?}") };
    assert!(fault.message.contains("take 100 B, this one 1 B") && fault.message.contains("at most 100 B"), "{fault}");
    cluster.apply(Command::Kill { app: first });
    cluster.send(sized(3, 60));
}

#[test]
fn a_worker_has_one_id_per_instance_and_none_after_it_was_lost() {
    let mut cluster = Cluster::new();
    let worker = cluster.worker(1);
    assert_eq!(cluster.worker(1), worker);
    assert_eq!(names(&cluster.apply(Command::WorkerBack { worker: worker.clone() })), "WorkerBack");
    cluster.apply(Command::WorkerLost { worker: worker.clone(), reason: "silent".to_owned() });
    assert_eq!(code(&cluster.apply(Command::WorkerBack { worker: worker.clone() })), "worker-lost");
    assert_eq!(code(&cluster.apply(Command::WorkerRegistered(registration(1)))), "worker-lost");
    let again = Command::WorkerLost { worker: worker.clone(), reason: "silent".to_owned() };
    assert_eq!(names(&cluster.apply(again)), "Ignored");
    let stranger = Command::WorkerBack { worker: "worker-x".parse().unwrap() };
    assert_eq!(code(&cluster.apply(stranger)), "no-such-worker");

    let mut fresh = registration(1);
    fresh.instance = "instance-fresh".to_owned();
    let Event::WorkerRegistered { worker: second, .. } = cluster.apply(Command::WorkerRegistered(fresh)).remove(0)
    else {
        panic!("refused");
    };
    assert_eq!(second.as_str(), format!("{worker}-2"));
}

#[test]
fn a_worker_started_again_at_its_address_replaces_the_old_one() {
    let mut scene = scene(At::Started);
    let mut fresh = registration(1);
    fresh.instance = "instance-fresh".to_owned();
    let events = scene.cluster.apply(Command::WorkerRegistered(fresh));
    assert_eq!(names(&events), "WorkerLost Relaunching WorkerRegistered");
    assert!(!scene.cluster.state.worker(&scene.worker).unwrap().is_alive());
}

#[test]
fn a_run_waits_for_the_earlier_runs_of_its_job_and_a_client_is_refused_meanwhile() {
    let mut cluster = Cluster::new();
    let worker = cluster.worker(1);
    let (first_app, first) = cluster.submit(1);
    let (_, second) = cluster.submit(2);
    let assign = |driver: &DriverId| Command::AssignDriver { driver: driver.clone(), worker: worker.clone() };
    assert_eq!(code(&cluster.apply(assign(&second))), "not-assignable");
    assert_eq!(names(&cluster.apply(assign(&first))), "DriverAssigned");
    assert_eq!(code(&cluster.apply(assign(&second))), "not-assignable");

    let mut client = submission(3);
    client.options.deploy_mode = DeployMode::Client;
    assert_eq!(code(&cluster.apply(Command::Submit(client.clone()))), "job-under-way");

    let epoch = cluster.state.application(&first_app).unwrap().running().unwrap().epoch;
    cluster.apply(Command::DriverFinished { driver: first, epoch, failure: None });
    assert_eq!(names(&cluster.apply(assign(&second))), "DriverAssigned");
    client.options.job_name = "another".to_owned();
    assert_eq!(names(&cluster.apply(Command::Submit(client))), "Submitted");
}

#[test]
fn memory_of_a_worker_is_not_given_twice() {
    let mut cluster = Cluster::new();
    let worker = cluster.worker(1);
    let drivers: Vec<DriverId> = (1..=3).map(|number| cluster.submit_job(number, &format!("job-{number}")).1).collect();
    for driver in &drivers[..2] {
        let assign = Command::AssignDriver { driver: driver.clone(), worker: worker.clone() };
        assert_eq!(names(&cluster.apply(assign)), "DriverAssigned");
    }
    let assign = Command::AssignDriver { driver: drivers[2].clone(), worker: worker.clone() };
    assert_eq!(code(&cluster.apply(assign)), "not-assignable");
    assert_eq!(cluster.state.memory_used_bytes(&worker), 200);
}

#[test]
fn ended_applications_and_lost_workers_are_kept_up_to_their_caps() {
    let mut cluster = Cluster::new();
    let (oldest, _) = cluster.submit(0);
    cluster.apply(Command::Kill { app: oldest.clone() });
    for number in 1..=u32::try_from(MAX_ENDED_APPLICATIONS).unwrap() {
        let (app, _) = cluster.submit(number);
        assert_eq!(cluster.state.application(&app).unwrap().phase, Phase::Submitted);
        let events = apply(
            &mut cluster.state,
            Stamped { at_ms: cluster.now_ms, index: cluster.index + 1, command: Command::Kill { app } },
        );
        cluster.index += 1;
        let expected = if number == 1_000 { "Ended Forgotten" } else { "Ended" };
        assert_eq!(names(&events), expected);
    }
    assert!(cluster.state.application(&oldest).is_none());
    assert!(cluster.state.find("submission-0").is_none());

    for number in 0..u32::try_from(MAX_GONE_WORKERS).unwrap() + 5 {
        let worker = cluster.worker(number);
        cluster.apply(match number % 2 {
            0 => Command::WorkerLost { worker, reason: "silent".to_owned() },
            _ => Command::WorkerLeft { worker },
        });
    }
    assert_eq!(cluster.state.workers().count(), MAX_GONE_WORKERS);
}

#[test]
fn applications_are_forgotten_on_request_when_they_have_ended_and_their_runs_are_still_counted() {
    let mut cluster = Cluster::new();
    let (ended, _) = cluster.submit_job(1, "job");
    cluster.apply(Command::Kill { app: ended.clone() });
    let (other, _) = cluster.submit_job(2, "other");
    cluster.apply(Command::Kill { app: other.clone() });
    let (waiting, _) = cluster.submit_job(3, "job");
    let last = cluster.state.application(&waiting).unwrap().run_number;

    let unknown: AppId = "app-none".parse().unwrap();
    let apps = vec![unknown, waiting.clone(), ended.clone()];
    assert_eq!(cluster.apply(Command::Forget { apps: apps.clone() }), [Event::Forgotten { app: ended.clone() }]);
    assert!(cluster.state.application(&ended).is_none() && cluster.state.find("submission-1").is_none());
    assert_eq!(cluster.state.ended().collect::<Vec<_>>(), [&other]);
    assert!(cluster.state.application(&waiting).is_some());
    assert_eq!(names(&cluster.apply(Command::Forget { apps })), "Ignored");

    let (next, _) = cluster.submit_job(4, "job");
    assert!(cluster.state.application(&next).unwrap().run_number > last);
}

#[test]
fn a_failed_driver_waits_longer_before_each_attempt_and_a_lost_one_does_not() {
    let not_before = |then: Then| {
        let mut scene = scene(At::Started);
        let over = command(&scene, then);
        scene.cluster.apply(over);
        let now_ms = scene.cluster.now_ms;
        match &scene.cluster.state.application(&scene.app).unwrap().phase {
            Phase::Relaunching { not_before_ms, .. } => not_before_ms - now_ms,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(not_before(Then::Fail(ErrorClass::Unavailable)), 5_000);
    assert_eq!(not_before(Then::Fail(ErrorClass::Conflict)), 1_000);
    assert_eq!(not_before(Then::DieBySignal), 0);
    let delays = |class| [1, 2, 3, u32::MAX].map(|attempt| super::driver::relaunch_delay_ms(class, attempt));
    assert_eq!(delays(ErrorClass::Unavailable), [5_000, 10_000, 20_000, 30_000]);
    assert_eq!(delays(ErrorClass::Resource), [1_000, 2_000, 4_000, 30_000]);
}

#[test]
fn an_entry_seen_twice_is_ignored() {
    let mut cluster = Cluster::new();
    cluster.submit(1);
    let before = cluster.state.clone();
    let stamped = Stamped { at_ms: NOON_MS, index: 1, command: Command::Submit(submission(2)) };
    assert_eq!(names(&apply(&mut cluster.state, stamped)), "Ignored");
    assert_eq!(cluster.state, before);
}

#[test]
fn a_repeat_in_another_trace_is_the_same_submission_and_the_first_trace_stays() {
    let mut cluster = Cluster::new();
    let first = Submission { traceparent: "00-1-2-01".to_owned(), ..submission(1) };
    cluster.apply(Command::Submit(first));
    let events = cluster.apply(Command::Submit(Submission { traceparent: "00-3-4-01".to_owned(), ..submission(1) }));
    let [Event::Submitted { app, is_repeat: true, .. }] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(cluster.state.application(app).unwrap().traceparent, "00-1-2-01");
}
