//! The life of a driver: assigned, started, ended in one of many ways, relaunched or not. Pure.

use lake_proto::{AppId, DriverId, ErrorClass, Fault, WorkerId, codes};

use super::{Stamp, rejected};
use crate::application::{Application, Attempt, DeployMode, Ended, Phase, ProcessEnd, SETTLING_LAUNCHES, killed};
use crate::command::Exit;
use crate::event::Event;
use crate::state::State;
use crate::step::{Step, UNKNOWN};

/// Wait before a driver that failed (not: was lost) is started again; doubled with each attempt.
const RELAUNCH_DELAY_MS: u64 = 1_000;
/// The same where something was unavailable: with the time that a driver itself tries, three launches outlast a store
/// that is away for a minute. See docs/operations.md.
const UNAVAILABLE_DELAY_MS: u64 = 5_000;
const MAX_RELAUNCH_DELAY_MS: u64 = 30_000;
/// What another launch would only repeat, whatever its class says: a query that took its workers down would take down
/// more, and a run that has used up its time has none left.
const NOT_AGAIN: [&str; 2] = [codes::WORKER_LOSSES, codes::TIMEOUT];

/// Why an attempt is over.
enum Cause {
    /// The driver or its exit code named a failure.
    Failed(Fault),
    /// The process or its worker is gone, without a word.
    Lost(Fault),
    /// It never ran.
    NotStarted(Fault),
}

pub(super) fn assign(state: &mut State, stamp: Stamp, driver: &DriverId, worker: &WorkerId, events: &mut Vec<Event>) {
    let refused = |message: String| rejected(ErrorClass::Conflict, "not-assignable", message);
    let Some(app) = state.by_driver.get(driver).cloned() else {
        events.push(unknown(driver));
        return;
    };
    let job_name = state.applications.get(&app).map(|application| application.options.job_name.as_str());
    if let Some(earlier) = job_name.and_then(|name| state.first_run(name)).filter(|earlier| earlier.id != app) {
        events.push(refused(format!("{driver} waits for {}, an earlier run of the same job", earlier.id)));
        return;
    }
    let used = state.memory_used_bytes(worker);
    let Some(place) = state.workers.get(worker).filter(|place| place.is_alive()) else {
        events.push(refused(format!("{worker} is not alive, so {driver} cannot be placed on it")));
        return;
    };
    let free = place.registration.memory_bytes.saturating_sub(used);
    let Some(application) = state.applications.get_mut(&app) else {
        events.push(unknown(driver));
        return;
    };
    if !application.is_waiting() {
        events.push(refused(format!("{driver} is {}, not waiting", application.phase.name())));
        return;
    }
    if application.driver_memory_bytes() > free {
        let wanted = application.driver_memory_bytes();
        events.push(refused(format!("{driver} needs {wanted} bytes of memory, {worker} has {free} left")));
        return;
    }
    application.attempt = application.attempt.saturating_add(1);
    application.launch(stamp.index, Some(worker.clone()), stamp.at_ms);
    let attempt = Attempt {
        epoch: stamp.index,
        worker: Some(worker.clone()),
        assigned_at_ms: stamp.at_ms,
        is_started: false,
        is_killing: false,
        relaunch_reason: application.phase.relaunch_reason().cloned(),
    };
    state.enter(&app, Phase::Running(attempt));
    events.push(Event::DriverAssigned { app, worker: worker.clone(), epoch: stamp.index });
}

pub(super) fn started(state: &mut State, stamp: Stamp, driver: &DriverId, epoch: u64, events: &mut Vec<Event>) {
    let Some((application, attempt)) = current(state, driver, epoch) else {
        events.push(late(driver, epoch));
        return;
    };
    if attempt.is_started {
        events.push(Event::Ignored { reason: format!("{driver} is known to have started") });
        return;
    }
    application.started_at_ms.get_or_insert(stamp.at_ms);
    let app = application.id.clone();
    state.enter(&app, Phase::Running(Attempt { is_started: true, ..attempt }));
    events.push(Event::DriverStarted { app });
}

/// The driver's own word. Success counts even when it was being killed: everything is committed. A repeat by the
/// attempt that ended last changes nothing.
pub(super) fn finished(
    state: &mut State,
    stamp: Stamp,
    driver: &DriverId,
    epoch: u64,
    failure: Option<Fault>,
    events: &mut Vec<Event>,
) {
    let application = match state.by_driver.get(driver).and_then(|app| state.applications.get(app)) {
        None => {
            events.push(unknown(driver));
            return;
        }
        Some(application) => application,
    };
    if application.running().is_none() && epoch != 0 && application.phase.epoch() == epoch {
        // The answer to the first report was lost, or the worker's news of the exit came first.
        events.push(late(driver, epoch));
        return;
    }
    let (app, attempt) = match application.check_epoch(epoch) {
        Ok(attempt) => (application.id.clone(), attempt.clone()),
        Err(fault) => {
            events.push(Event::Rejected(fault));
            return;
        }
    };
    let ended = || Ended { at_ms: stamp.at_ms, worker: attempt.worker.clone(), epoch };
    let application = state.applications.get_mut(&app);
    if let (None, Some(application)) = (&failure, application) {
        application.launch_ended(epoch, stamp.at_ms, None);
    }
    let ending = state.applications.get(&app).and_then(|application| application.ending.clone());
    match (failure, ending) {
        (None, Some(fault)) => end(state, &app, ended_with(ended(), fault), events),
        (None, None) => end(state, &app, Phase::Finished(ended()), events),
        (Some(fault), _) => attempt_over(state, stamp, &app, attempt, Cause::Failed(fault), events),
    }
}

/// The process is gone. News of an attempt that is over already changes nothing.
pub(super) fn exited(
    state: &mut State,
    stamp: Stamp,
    driver: &DriverId,
    epoch: u64,
    exit: Exit,
    events: &mut Vec<Event>,
) {
    let end = ProcessEnd { code: exit.code, signal: exit.signal };
    let is_news = state
        .by_driver
        .get(driver)
        .and_then(|app| state.applications.get_mut(app))
        .is_some_and(|application| application.process_ended(epoch, end));
    let Some((application, attempt)) = current(state, driver, epoch) else {
        // The driver said itself that it was over, before its process was.
        events.push(if is_news { exit_recorded(driver, epoch, end) } else { late(driver, epoch) });
        return;
    };
    let app = application.id.clone();
    let cause = cause_of_exit(driver, &attempt, exit);
    attempt_over(state, stamp, &app, attempt, cause, events);
}

pub(super) fn lost(
    state: &mut State,
    stamp: Stamp,
    driver: &DriverId,
    epoch: u64,
    reason: &str,
    events: &mut Vec<Event>,
) {
    let Some((application, attempt)) = current(state, driver, epoch) else {
        events.push(late(driver, epoch));
        return;
    };
    let app = application.id.clone();
    let fault = Fault::new(ErrorClass::Unavailable, "driver-lost", format!("{driver} was lost: {reason}"));
    attempt_over(state, stamp, &app, attempt, Cause::Lost(fault), events);
}

/// A waiting application ends at once, unless an attempt of it may have committed something: a driver settles that
/// first. A running one ends when its driver is gone.
pub(super) fn kill(state: &mut State, stamp: Stamp, app: &AppId, events: &mut Vec<Event>) {
    let Some(application) = state.applications.get_mut(app) else {
        events.push(rejected(ErrorClass::NotFound, "no-such-application", format!("{app} is not known")));
        return;
    };
    if application.ending.is_some() {
        events.push(Event::Ignored { reason: format!("{app} is ending already") });
        return;
    }
    match &mut application.phase {
        Phase::Submitted | Phase::Relaunching { .. } => {
            let ended = Ended {
                at_ms: stamp.at_ms,
                worker: application.phase.worker().cloned(),
                epoch: application.phase.epoch(),
            };
            settle_and_end(state, app, Phase::Killed(ended), events);
        }
        Phase::Running(attempt) => {
            if attempt.is_killing {
                events.push(Event::Ignored { reason: format!("{app} is being killed already") });
            } else {
                attempt.is_killing = true;
                events.push(Event::Killing { app: app.clone() });
            }
        }
        Phase::Finished(_) | Phase::Failed { .. } | Phase::Killed(_) | Phase::Error { .. } => {
            let reason = format!("{app} is {} already", application.phase.name());
            events.push(Event::Ignored { reason });
        }
    }
}

/// The drivers of a worker that is gone.
pub(super) fn worker_lost(state: &mut State, stamp: Stamp, worker: &WorkerId, reason: &str, events: &mut Vec<Event>) {
    let mut lost: Vec<(AppId, DriverId, Attempt)> = Vec::new();
    for application in state.drivers_on(worker) {
        if let Some(attempt) = application.running() {
            lost.push((application.id.clone(), application.driver.clone(), attempt.clone()));
        }
    }
    for (app, driver, attempt) in lost {
        let message = format!("{driver} was lost with {worker}: {reason}");
        let fault = Fault::new(ErrorClass::Unavailable, "worker-lost", message);
        attempt_over(state, stamp, &app, attempt, Cause::Lost(fault), events);
    }
}

impl Cause {
    const fn fault(&self) -> &Fault {
        match self {
            Self::Failed(fault) | Self::Lost(fault) | Self::NotStarted(fault) => fault,
        }
    }
}

/// The relaunch rule, in one place.
fn attempt_over(state: &mut State, stamp: Stamp, app: &AppId, attempt: Attempt, cause: Cause, events: &mut Vec<Event>) {
    let Some(application) = state.applications.get_mut(app) else { return };
    let ended = Ended { at_ms: stamp.at_ms, worker: attempt.worker.clone(), epoch: attempt.epoch };
    let why = if attempt.is_killing { killed() } else { cause.fault().clone() };
    application.launch_ended(attempt.epoch, stamp.at_ms, Some(why));
    if attempt.is_killing {
        settle_and_end(state, app, Phase::Killed(ended), events);
        return;
    }
    let may_retry = match &cause {
        Cause::Lost(_) => true,
        Cause::Failed(fault) | Cause::NotStarted(fault) => {
            fault.class.is_retryable() && !NOT_AGAIN.contains(&fault.code.as_str())
        }
    };
    let has_attempts = match &application.ending {
        None => may_relaunch(application),
        Some(_) => application.unsettled().next().is_some() && may_settle(application),
    };
    if may_retry && has_attempts {
        let delay_ms = match &cause {
            Cause::Lost(_) => 0,
            Cause::Failed(fault) | Cause::NotStarted(fault) => relaunch_delay_ms(fault.class, application.attempt),
        };
        let (Cause::Lost(fault) | Cause::Failed(fault) | Cause::NotStarted(fault)) = cause;
        let phase = Phase::Relaunching {
            fault: fault.clone(),
            since_ms: stamp.at_ms,
            not_before_ms: stamp.at_ms.saturating_add(delay_ms),
            last_worker: attempt.worker,
            last_epoch: attempt.epoch,
        };
        state.enter(app, phase);
        events.push(Event::Relaunching { app: app.clone(), fault });
        return;
    }
    if let Some(verdict) = application.ending.clone() {
        // This driver was only to settle. It has, or nobody is left that could.
        end(state, app, ended_with(ended, verdict), events);
        return;
    }
    let phase = match cause {
        Cause::Failed(fault) if fault.class == ErrorClass::Cancelled => Phase::Killed(ended),
        Cause::Failed(fault) | Cause::Lost(fault) => Phase::Failed { ended, fault },
        Cause::NotStarted(fault) => Phase::Error { ended, fault },
    };
    settle_and_end(state, app, phase, events);
}

/// Ends an application in `phase`. When an attempt of it was permitted to commit a step that is not on record, another
/// driver first finds out what came of it, and sees to it that no attempt commits it later.
fn settle_and_end(state: &mut State, app: &AppId, phase: Phase, events: &mut Vec<Event>) {
    let Some(application) = state.applications.get_mut(app) else { return };
    let must_settle = application.unsettled().next().is_some() && may_settle(application);
    let (Some(ended), Some(fault), true) = (phase.ended().cloned(), phase.fault(), must_settle) else {
        return end(state, app, phase, events);
    };
    application.ending = Some(fault.clone());
    let settling = Phase::Relaunching {
        fault: fault.clone(),
        since_ms: ended.at_ms,
        not_before_ms: ended.at_ms,
        last_worker: ended.worker,
        last_epoch: ended.epoch,
    };
    state.enter(app, settling);
    events.push(Event::Relaunching { app: app.clone(), fault });
}

/// The last phase of an application that a driver was to settle before it ended with `verdict`.
fn ended_with(ended: Ended, verdict: Fault) -> Phase {
    if verdict.class == ErrorClass::Cancelled { Phase::Killed(ended) } else { Phase::Failed { ended, fault: verdict } }
}

fn may_relaunch(application: &Application) -> bool {
    has_place(application) && application.options.supervise && application.attempt < application.max_attempts()
}

fn may_settle(application: &Application) -> bool {
    has_place(application) && application.attempt < application.max_attempts().saturating_add(SETTLING_LAUNCHES)
}

const fn has_place(application: &Application) -> bool {
    match application.options.deploy_mode {
        DeployMode::Cluster => true,
        // The submitter was the driver: nobody else can start it.
        DeployMode::Client => false,
    }
}

pub(super) fn relaunch_delay_ms(class: ErrorClass, attempt: u32) -> u64 {
    let first_ms = if class == ErrorClass::Unavailable { UNAVAILABLE_DELAY_MS } else { RELAUNCH_DELAY_MS };
    let doublings = attempt.saturating_sub(1).min(16);
    first_ms.saturating_mul(1 << doublings).min(MAX_RELAUNCH_DELAY_MS)
}

fn end(state: &mut State, app: &AppId, phase: Phase, events: &mut Vec<Event>) {
    let Some(application) = state.applications.get_mut(app) else { return };
    let unknown: Vec<String> = application.unsettled().cloned().collect();
    for table in unknown {
        let step = Step { table: table.clone(), outcome: UNKNOWN.to_owned(), ..Step::default() };
        application.steps.insert(table, step);
    }
    application.permits.clear();
    application.ending = None;
    events.push(Event::Ended { app: app.clone(), state: phase.name(), fault: phase.fault() });
    state.enter(app, phase);
    state.retire(app, events);
}

fn cause_of_exit(driver: &DriverId, attempt: &Attempt, exit: Exit) -> Cause {
    if let Some(fault) = exit.fault {
        return if attempt.is_started { Cause::Failed(fault) } else { Cause::NotStarted(fault) };
    }
    let Some(code) = exit.code else {
        let message = format!("{driver} was ended by signal {} before it reported its end", exit.signal);
        return Cause::Lost(Fault::new(ErrorClass::Unavailable, "driver-lost", message));
    };
    let class = ErrorClass::from_exit_code(code).unwrap_or(ErrorClass::Internal);
    let message = format!(
        "{driver} exited with code {code} before it reported its end; its log (lake-submit --logs {driver}) has the cause"
    );
    Cause::Failed(Fault::new(class, "driver-exited", message))
}

fn current<'a>(state: &'a mut State, driver: &DriverId, epoch: u64) -> Option<(&'a mut Application, Attempt)> {
    let app = state.by_driver.get(driver)?;
    let application = state.applications.get_mut(app)?;
    let attempt = application.check_epoch(epoch).ok()?.clone();
    Some((application, attempt))
}

fn unknown(driver: &DriverId) -> Event {
    rejected(ErrorClass::NotFound, "no-such-driver", format!("{driver} is not known"))
}

fn exit_recorded(driver: &DriverId, epoch: u64, end: ProcessEnd) -> Event {
    Event::DriverExitRecorded { driver: driver.clone(), epoch, code: end.code, signal: end.signal }
}

fn late(driver: &DriverId, epoch: u64) -> Event {
    Event::Ignored { reason: format!("{driver} of epoch {epoch} is over already") }
}
