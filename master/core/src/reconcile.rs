//! Desired state against what workers report, to effects. Pure.
//!
//! Effects are idempotent and derived anew each time, so a lost or doubled one is harmless and a new leader has
//! nothing to replay.

use lake_proto::{AppId, DriverId, WorkerId};

use crate::application::{Application, Attempt, Phase};
use crate::decide::was_assigned_here;
use crate::observed::{Observed, ObservedWorker};
use crate::state::State;

/// Something to be done at a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Start this attempt. Workers ignore one they have had.
    LaunchDriver {
        /// Where.
        worker: WorkerId,
        /// Which driver.
        driver: DriverId,
        /// Its attempt.
        epoch: u64,
        /// Whose.
        app: AppId,
        /// Its memory limit.
        memory_bytes: u64,
        /// W3C trace context of its submission; empty = none.
        traceparent: String,
    },
    /// End this attempt. Workers ignore one they do not have.
    KillDriver {
        /// Where.
        worker: WorkerId,
        /// Which driver.
        driver: DriverId,
        /// Its attempt.
        epoch: u64,
    },
}

/// What must be done at the attached workers.
pub fn reconcile(state: &State, observed: &Observed) -> Vec<Effect> {
    let mut effects = Vec::new();
    for (worker, seen) in observed.workers.iter().filter(|(_, seen)| seen.is_attached) {
        launches(state, worker, seen, &mut effects);
        kills(state, observed, worker, seen, &mut effects);
    }
    effects
}

fn launches(state: &State, worker: &WorkerId, seen: &ObservedWorker, effects: &mut Vec<Effect>) {
    for application in state.drivers_on(worker) {
        let Some(attempt) = application.running() else { continue };
        if !attempt.is_started && !attempt.is_killing && must_send(application, attempt, seen) {
            effects.push(Effect::LaunchDriver {
                worker: worker.clone(),
                driver: application.driver.clone(),
                epoch: attempt.epoch,
                app: application.id.clone(),
                memory_bytes: application.driver_memory_bytes(),
                traceparent: application.traceparent.clone(),
            });
        }
    }
}

/// An assignment older than the stream may have been sent on an earlier one: the worker's repeated statuses and its
/// first heartbeat come first.
fn must_send(application: &Application, attempt: &Attempt, seen: &ObservedWorker) -> bool {
    let is_known_there = seen.lists(&application.driver, attempt.epoch);
    let was_sent = seen.seen_at_ms(&application.driver, attempt.epoch).is_some();
    let is_settled = was_assigned_here(attempt, seen) || seen.reported_at_ms > seen.attached_at_ms;
    !is_known_there && !was_sent && is_settled
}

fn kills(state: &State, observed: &Observed, worker: &WorkerId, seen: &ObservedWorker, effects: &mut Vec<Effect>) {
    for (driver, epoch) in &seen.drivers {
        if must_end(state, observed, driver, *epoch) {
            effects.push(Effect::KillDriver { worker: worker.clone(), driver: driver.clone(), epoch: *epoch });
        }
    }
}

/// A driver that has reported its end is given a moment to be gone by itself.
fn must_end(state: &State, observed: &Observed, driver: &DriverId, epoch: u64) -> bool {
    let Some(application) = state.application_of(driver) else { return true };
    let over_since_ms = match &application.phase {
        Phase::Running(attempt) if attempt.epoch == epoch => return attempt.is_killing,
        Phase::Running(attempt) => attempt.assigned_at_ms,
        Phase::Submitted => application.submitted_at_ms,
        Phase::Relaunching { since_ms, .. } => *since_ms,
        Phase::Finished(ended) | Phase::Killed(ended) | Phase::Failed { ended, .. } | Phase::Error { ended, .. } => {
            ended.at_ms
        }
    };
    observed.now_ms.saturating_sub(over_since_ms) > observed.timeouts.linger_ms
}
