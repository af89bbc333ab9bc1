//! Log lines of what applying commands did. What a line says is a pure function of the event; only [`write`] writes.

use lake_master_core::{Event, State};
use lake_proto::{AppId, Fault};

/// How much a line matters to whoever reads the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Weight {
    /// Nothing has changed.
    #[default]
    Detail,
    /// A state moved.
    Moved,
    /// The cluster helped itself.
    Healed,
    /// Somebody's run has come to nothing.
    Failed,
}

/// A log line: its ids and values are fields, so that lines are found by them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Line<'a> {
    weight: Weight,
    message: &'static str,
    app_id: Option<&'a str>,
    driver_id: Option<&'a str>,
    worker_id: Option<&'a str>,
    epoch: Option<u64>,
    table: Option<&'a str>,
    outcome: Option<&'a str>,
    version: Option<i64>,
    state: Option<&'a str>,
    exit_code: Option<i32>,
    signal: Option<i32>,
    error: Option<&'a Fault>,
    reason: Option<&'a str>,
}

macro_rules! emit {
    ($level:ident, $index:ident, $term:ident, $line:ident) => {
        tracing::$level!(
            index = $index,
            term = $term,
            app_id = $line.app_id,
            driver_id = $line.driver_id,
            worker_id = $line.worker_id,
            epoch = $line.epoch,
            table = $line.table,
            outcome = $line.outcome,
            version = $line.version,
            state = $line.state,
            exit_code = $line.exit_code,
            signal = $line.signal,
            error.class = $line.error.map(|fault| fault.class.name()),
            error.code = $line.error.map(|fault| fault.code.as_str()),
            reason = $line.reason.or($line.error.map(|fault| fault.message.as_str())),
            "{}",
            $line.message
        )
    };
}

/// Logs one event of the entry at this index and term. Where it is applied after the member that leads, or once more after
/// a restart, it is a detail.
pub(super) fn write(index: u64, term: u64, event: &Event, state: &State, is_replay: bool) {
    let line = line(event, &|app| state.application(app).map(|application| application.driver.as_str()));
    match line.weight {
        _ if is_replay => emit!(trace, index, term, line),
        Weight::Detail => emit!(debug, index, term, line),
        Weight::Moved => emit!(info, index, term, line),
        Weight::Healed | Weight::Failed => emit!(warn, index, term, line),
    }
}

/// The line of an event. `driver_of` knows the drivers of applications that are kept.
fn line<'a>(event: &'a Event, driver_of: &dyn Fn(&AppId) -> Option<&'a str>) -> Line<'a> {
    let blank = |weight, message| Line { weight, message, ..Line::default() };
    let of = |app: &'a AppId, weight, message| Line {
        app_id: Some(app.as_str()),
        driver_id: driver_of(app),
        ..blank(weight, message)
    };
    let moved = |is_repeat: bool| if is_repeat { Weight::Detail } else { Weight::Moved };
    match event {
        Event::Submitted { app, driver, epoch, is_repeat } => Line {
            driver_id: Some(driver.as_str()),
            // Of a client's driver only.
            epoch: (*epoch != 0).then_some(*epoch),
            ..of(
                app,
                moved(*is_repeat),
                if *is_repeat { "application submitted again" } else { "application submitted" },
            )
        },
        Event::DriverAssigned { app, worker, epoch } => {
            Line { worker_id: Some(worker.as_str()), epoch: Some(*epoch), ..of(app, Weight::Moved, "driver assigned") }
        }
        Event::DriverStarted { app } => of(app, Weight::Moved, "driver started"),
        Event::CommitPermitted { app, table, .. } => {
            Line { table: Some(table), ..of(app, Weight::Moved, "commit permitted") }
        }
        Event::StepRecorded { app, table, outcome, version, is_repeat } => Line {
            table: Some(table),
            outcome: Some(outcome),
            version: Some(*version),
            ..of(app, moved(*is_repeat), if *is_repeat { "step recorded again" } else { "step recorded" })
        },
        Event::DriverExitRecorded { driver, epoch, code, signal } => Line {
            driver_id: Some(driver.as_str()),
            epoch: Some(*epoch),
            exit_code: *code,
            signal: (*signal != 0).then_some(*signal),
            ..blank(Weight::Moved, "driver exited")
        },
        Event::Relaunching { app, fault } => {
            Line { error: Some(fault), ..of(app, Weight::Healed, "driver is launched again") }
        }
        Event::Killing { app } => of(app, Weight::Moved, "driver told to end"),
        Event::Ended { app, state, fault } => {
            let weight = if matches!(*state, "FAILED" | "ERROR") { Weight::Failed } else { Weight::Moved };
            Line { state: Some(state), error: fault.as_ref(), ..of(app, weight, "application ended") }
        }
        Event::Forgotten { app } => of(app, Weight::Moved, "application forgotten"),
        Event::WorkerRegistered { worker, is_repeat } => Line {
            worker_id: Some(worker.as_str()),
            ..blank(moved(*is_repeat), if *is_repeat { "worker registered again" } else { "worker registered" })
        },
        Event::WorkerBack { worker } => {
            Line { worker_id: Some(worker.as_str()), ..blank(Weight::Moved, "worker attached again") }
        }
        Event::WorkerLost { worker, reason } => {
            Line { worker_id: Some(worker.as_str()), reason: Some(reason), ..blank(Weight::Healed, "worker lost") }
        }
        Event::WorkerLeft { worker } => {
            Line { worker_id: Some(worker.as_str()), ..blank(Weight::Moved, "worker left") }
        }
        Event::Ignored { reason } => Line { reason: Some(reason), ..blank(Weight::Detail, "command ignored") },
        Event::Rejected(fault) => Line { error: Some(fault), ..blank(Weight::Detail, "command refused") },
    }
}

#[cfg(test)]
mod tests {
    use lake_proto::{DriverId, ErrorClass, WorkerId};

    use super::*;

    fn app() -> AppId {
        "app-1".parse().unwrap()
    }

    fn driver() -> DriverId {
        "driver-1".parse().unwrap()
    }

    fn worker() -> WorkerId {
        "worker-1".parse().unwrap()
    }

    fn fault() -> Fault {
        Fault::new(ErrorClass::Unavailable, "worker-lost", "it is gone")
    }

    fn recorded(is_repeat: bool) -> Event {
        let (table, outcome) = ("a.b".to_owned(), "COMMITTED".to_owned());
        Event::StepRecorded { app: app(), table, outcome, version: 7, is_repeat }
    }

    /// Application, driver and worker.
    type Ids = [Option<&'static str>; 3];

    const OF_APPLICATION: Ids = [Some("app-1"), Some("driver-1"), None];
    const OF_WORKER: Ids = [None, None, Some("worker-1")];

    fn table() -> Vec<(Event, Weight, &'static str, Ids)> {
        use Weight::{Detail, Failed, Healed, Moved};
        let submitted = |is_repeat| Event::Submitted { app: app(), driver: driver(), epoch: 0, is_repeat };
        let registered = |is_repeat| Event::WorkerRegistered { worker: worker(), is_repeat };
        let assigned = Event::DriverAssigned { app: app(), worker: worker(), epoch: 9 };
        let permitted = Event::CommitPermitted { app: app(), table: "a.b".to_owned(), permit: 9 };
        let ended = |state| Event::Ended { app: app(), state, fault: (state != "FINISHED").then(fault) };
        let lost = Event::WorkerLost { worker: worker(), reason: "silent".to_owned() };
        vec![
            (submitted(false), Moved, "application submitted", OF_APPLICATION),
            (submitted(true), Detail, "application submitted again", OF_APPLICATION),
            (assigned, Moved, "driver assigned", [Some("app-1"), Some("driver-1"), Some("worker-1")]),
            (Event::DriverStarted { app: app() }, Moved, "driver started", OF_APPLICATION),
            (permitted, Moved, "commit permitted", OF_APPLICATION),
            (recorded(false), Moved, "step recorded", OF_APPLICATION),
            (recorded(true), Detail, "step recorded again", OF_APPLICATION),
            (
                Event::DriverExitRecorded { driver: driver(), epoch: 9, code: Some(4), signal: 0 },
                Moved,
                "driver exited",
                [None, Some("driver-1"), None],
            ),
            (Event::Relaunching { app: app(), fault: fault() }, Healed, "driver is launched again", OF_APPLICATION),
            (Event::Killing { app: app() }, Moved, "driver told to end", OF_APPLICATION),
            (ended("FINISHED"), Moved, "application ended", OF_APPLICATION),
            (ended("KILLED"), Moved, "application ended", OF_APPLICATION),
            (ended("FAILED"), Failed, "application ended", OF_APPLICATION),
            (ended("ERROR"), Failed, "application ended", OF_APPLICATION),
            (Event::Forgotten { app: app() }, Moved, "application forgotten", OF_APPLICATION),
            (registered(false), Moved, "worker registered", OF_WORKER),
            (registered(true), Detail, "worker registered again", OF_WORKER),
            (Event::WorkerBack { worker: worker() }, Moved, "worker attached again", OF_WORKER),
            (lost, Healed, "worker lost", OF_WORKER),
            (Event::WorkerLeft { worker: worker() }, Moved, "worker left", OF_WORKER),
            (Event::Ignored { reason: "late".to_owned() }, Detail, "command ignored", [None; 3]),
            (Event::Rejected(fault()), Detail, "command refused", [None; 3]),
        ]
    }

    #[test]
    fn each_kind_of_event_is_one_line_with_its_ids_as_fields() {
        for (event, weight, message, ids) in table() {
            let line = line(&event, &|_| Some("driver-1"));
            let found = (line.weight, line.message, [line.app_id, line.driver_id, line.worker_id]);
            assert_eq!(found, (weight, message, ids), "{event:?}");
            let fault = match &event {
                Event::Relaunching { fault, .. } | Event::Rejected(fault) => Some(fault),
                Event::Ended { fault, .. } => fault.as_ref(),
                _ => None,
            };
            assert_eq!(line.error, fault, "{event:?}");
            let reason = match &event {
                Event::WorkerLost { reason, .. } | Event::Ignored { reason } => Some(reason.as_str()),
                _ => None,
            };
            assert_eq!(line.reason, reason, "{event:?}");
        }
    }

    #[test]
    fn a_line_has_the_values_of_its_event_and_of_a_forgotten_application_no_driver() {
        let assigned = Event::DriverAssigned { app: app(), worker: worker(), epoch: 9 };
        let line_of_assigned = line(&assigned, &|_| None);
        assert_eq!((line_of_assigned.epoch, line_of_assigned.driver_id), (Some(9), None));
        let permitted = Event::CommitPermitted { app: app(), table: "a.b".to_owned(), permit: 9 };
        assert_eq!(line(&permitted, &|_| None).table, Some("a.b"));
        let ended = Event::Ended { app: app(), state: "KILLED", fault: None };
        assert_eq!(line(&ended, &|_| None).state, Some("KILLED"));
        let committed = recorded(false);
        let line_of_step = line(&committed, &|_| None);
        assert_eq!((line_of_step.outcome, line_of_step.version), (Some("COMMITTED"), Some(7)));
        for (code, signal, expected) in [(Some(4), 0, (Some(4), None)), (None, 9, (None, Some(9)))] {
            let exited = Event::DriverExitRecorded { driver: driver(), epoch: 9, code, signal };
            let line_of_exit = line(&exited, &|_| None);
            assert_eq!((line_of_exit.exit_code, line_of_exit.signal), expected);
        }
    }
}
