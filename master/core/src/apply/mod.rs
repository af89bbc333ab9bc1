//! The only way to change the state. Pure, total and infallible: a command that cannot be followed is an event.
//!
//! One file per entity; this one only dispatches.

mod driver;
mod step;
mod submission;
mod worker;

#[cfg(test)]
mod tests;

use lake_proto::{ErrorClass, Fault};

use crate::command::{Command, Stamped};
use crate::event::Event;
use crate::state::State;

/// Follows a command. Every replica does it with the same commands in the same order and so has the same state.
///
/// A command whose index is not above the last one was applied before and is ignored.
pub fn apply(state: &mut State, stamped: Stamped) -> Vec<Event> {
    let Stamped { at_ms, index, command } = stamped;
    if index <= state.applied {
        return vec![Event::Ignored { reason: format!("log entry {index} was applied before") }];
    }
    state.applied = index;
    state.clock_ms = state.clock_ms.max(at_ms);
    let stamp = Stamp { at_ms: state.clock_ms, index };
    let mut events = Vec::new();
    match command {
        Command::Submit(submission) => submission::submit(state, stamp, submission, &mut events),
        Command::AssignDriver { driver, worker } => driver::assign(state, stamp, &driver, &worker, &mut events),
        Command::DriverStarted { driver, epoch } => driver::started(state, stamp, &driver, epoch, &mut events),
        Command::PermitCommit { driver, epoch, table, run_number, inputs } => {
            let wanted = step::Wanted { table, run_number, inputs };
            step::permit(state, stamp, &driver, epoch, wanted, &mut events);
        }
        Command::RecordStep { driver, epoch, step } => step::record(state, &driver, epoch, step, &mut events),
        Command::DriverFinished { driver, epoch, failure } => {
            driver::finished(state, stamp, &driver, epoch, failure, &mut events);
        }
        Command::DriverExited { driver, epoch, exit } => {
            driver::exited(state, stamp, &driver, epoch, exit, &mut events);
        }
        Command::DriverLost { driver, epoch, reason } => {
            driver::lost(state, stamp, &driver, epoch, &reason, &mut events);
        }
        Command::Kill { app } => driver::kill(state, stamp, &app, &mut events),
        Command::WorkerRegistered(registration) => worker::registered(state, stamp, registration, &mut events),
        Command::WorkerBack { worker } => worker::back(state, &worker, &mut events),
        Command::WorkerLost { worker, reason } => worker::lost(state, stamp, &worker, reason, &mut events),
        Command::WorkerLeft { worker } => worker::left(state, stamp, &worker, &mut events),
        Command::Forget { apps } => submission::forget(state, &apps, &mut events),
    }
    events
}

/// When a command happens, for all that it does.
#[derive(Debug, Clone, Copy)]
struct Stamp {
    at_ms: u64,
    index: u64,
}

fn rejected(class: ErrorClass, code: &str, message: impl Into<String>) -> Event {
    Event::Rejected(Fault::new(class, code, message))
}
