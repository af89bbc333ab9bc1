//! Commits of steps: permitted before, recorded after. Pure.

use lake_proto::{DriverId, ErrorClass};

use super::{Stamp, rejected};
use crate::application::Permit;
use crate::event::Event;
use crate::state::State;
use crate::step::Step;

/// What an attempt wants to commit.
pub(super) struct Wanted {
    pub(super) table: String,
    pub(super) run_number: u64,
    pub(super) inputs: String,
}

/// Fenced by the epoch, and refused to an attempt that is to end: what it has not begun to commit must not appear.
///
/// The permission of an earlier attempt, or for other inputs, is replaced. Its commit may still get in before the new
/// one: then the table has this run's transaction, and the new one commits nothing.
pub(super) fn permit(
    state: &mut State,
    stamp: Stamp,
    driver: &DriverId,
    epoch: u64,
    wanted: Wanted,
    events: &mut Vec<Event>,
) {
    let Wanted { table, run_number, inputs } = wanted;
    let Some(application) = state.by_driver.get(driver).and_then(|app| state.applications.get_mut(app)) else {
        events.push(rejected(ErrorClass::NotFound, "no-such-driver", format!("{driver} is not known")));
        return;
    };
    match application.check_epoch(epoch) {
        Ok(attempt) if attempt.is_killing || application.ending.is_some() => {
            let message = format!("{} is to end; {table} is not committed", application.id);
            events.push(rejected(ErrorClass::Cancelled, "killed", message));
            return;
        }
        Ok(_) if run_number != 0 && run_number != application.run_number => {
            let message = format!(
                "{driver} wants to commit {table} as run {run_number}, but {} is run {}",
                application.id, application.run_number
            );
            events.push(rejected(ErrorClass::Internal, "internal", message));
            return;
        }
        Ok(_) => {}
        Err(fault) => {
            events.push(Event::Rejected(fault));
            return;
        }
    }
    let known = application.permits.get(&table).filter(|known| known.epoch == epoch && known.inputs == inputs);
    let permit = known.cloned().unwrap_or(Permit { index: stamp.index, epoch, inputs });
    let index = permit.index;
    application.permits.insert(table.clone(), permit);
    events.push(Event::CommitPermitted { app: application.id.clone(), table, permit: index });
}

/// Fenced by the epoch. A driver that is being killed may still record what it has committed: it is the truth.
pub(super) fn record(state: &mut State, driver: &DriverId, epoch: u64, step: Step, events: &mut Vec<Event>) {
    let Some(application) = state.by_driver.get(driver).and_then(|app| state.applications.get_mut(app)) else {
        events.push(rejected(ErrorClass::NotFound, "no-such-driver", format!("{driver} is not known")));
        return;
    };
    if let Err(fault) = application.check_epoch(epoch) {
        events.push(Event::Rejected(fault));
        return;
    }
    let table = step.table.clone();
    let is_repeat = application.steps.contains_key(&table);
    let (outcome, version) = (step.outcome.clone(), step.version);
    application.steps.entry(table.clone()).or_insert(step);
    application.permits.remove(&table);
    events.push(Event::StepRecorded { app: application.id.clone(), table, outcome, version, is_repeat });
}
