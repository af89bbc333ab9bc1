//! Commits of steps: permitted before, recorded after. Pure.

use lake_proto::{DriverId, ErrorClass};

use super::{Stamp, rejected};
use crate::application::Permit;
use crate::event::Event;
use crate::state::State;
use crate::step::Step;

/// Fenced by the epoch, and refused to an attempt that is to end: what it has not begun to commit must not appear.
pub(super) fn permit(
    state: &mut State,
    stamp: Stamp,
    driver: &DriverId,
    epoch: u64,
    table: String,
    events: &mut Vec<Event>,
) {
    let Some(application) = state.by_driver.get(driver).and_then(|app| state.applications.get_mut(app)) else {
        events.push(rejected(ErrorClass::NotFound, "no-such-driver", format!("{driver} is not known")));
        return;
    };
    match application.check_epoch(epoch) {
        Ok(attempt) if attempt.is_killing => {
            let message = format!("{} was killed on request; {table} is not committed", application.id);
            events.push(rejected(ErrorClass::Cancelled, "killed", message));
            return;
        }
        Ok(_) => {}
        Err(fault) => {
            events.push(Event::Rejected(fault));
            return;
        }
    }
    let permit = application.permits.entry(table.clone()).or_insert(Permit { index: stamp.index, epoch });
    if permit.epoch != epoch {
        *permit = Permit { index: stamp.index, epoch };
    }
    events.push(Event::CommitPermitted { app: application.id.clone(), table, permit: permit.index });
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
    application.steps.entry(table.clone()).or_insert(step);
    events.push(Event::StepRecorded { app: application.id.clone(), table, is_repeat });
}
