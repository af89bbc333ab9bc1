//! Which draining workers have no driver left. Pure.
//!
//! Never here: tasks and their outputs, which the scheduler knows.

use lake_proto::WorkerId;

use crate::observed::Observed;
use crate::state::State;

/// The attached workers that drain, to which no driver is assigned and which list none. A driver that was assigned is
/// waited for even before it is sent; one that the state has given up, until its process is gone.
pub fn drained(state: &State, observed: &Observed) -> Vec<WorkerId> {
    let mut drained = Vec::new();
    for (worker, seen) in &observed.workers {
        let is_waiting = seen.is_attached && seen.is_draining;
        if is_waiting && seen.drivers.is_empty() && state.count_drivers_on(worker) == 0 {
            drained.push(worker.clone());
        }
    }
    drained
}
