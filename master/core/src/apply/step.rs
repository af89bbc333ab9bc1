//! Recording steps. Pure.

use lake_proto::{DriverId, ErrorClass};

use super::rejected;
use crate::event::Event;
use crate::state::State;
use crate::step::Step;

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
