//! What the leader proposes: state and what it sees, to commands. Pure.

use crate::application::{Application, Attempt, Phase};
use crate::command::Command;
use crate::observed::{Observed, ObservedWorker};
use crate::placement::{self, Place, Waiting};
use crate::state::State;
use crate::worker::Worker;

/// So that what was decided is carried out before more is, however many wait.
const ASSIGNMENTS_AT_ONCE: usize = 64;

/// Losses first, since they free drivers; then assignments for those that wait.
pub fn decide(state: &State, observed: &Observed) -> Vec<Command> {
    let mut commands = lost_workers(state, observed);
    if commands.is_empty() {
        commands = lost_drivers(state, observed);
    }
    if commands.is_empty() {
        commands = assignments(state, observed);
    }
    commands
}

fn lost_workers(state: &State, observed: &Observed) -> Vec<Command> {
    let mut commands = Vec::new();
    for worker in state.workers().filter(|worker| worker.is_alive()) {
        let id = || worker.id.clone();
        if has_left(worker, observed) {
            commands.push(Command::WorkerLeft { worker: id() });
        } else if let Some(reason) = worker_loss(worker, observed) {
            commands.push(Command::WorkerLost { worker: id(), reason });
        }
    }
    commands
}

/// Whether its process is gone. An open stream says more than a probe.
fn is_gone(worker: &Worker, observed: &Observed) -> bool {
    let is_attached = observed.workers.get(&worker.id).is_some_and(|seen| seen.is_attached);
    !is_attached && observed.unreachable.contains(&worker.id)
}

/// Whether it is gone as somebody wanted.
fn has_left(worker: &Worker, observed: &Observed) -> bool {
    is_gone(worker, observed) && observed.workers.get(&worker.id).is_some_and(|seen| seen.is_draining)
}

fn worker_loss(worker: &Worker, observed: &Observed) -> Option<String> {
    let timeouts = &observed.timeouts;
    let seen = observed.workers.get(&worker.id);
    if is_gone(worker, observed) {
        return Some("nobody listens at its address".to_owned());
    }
    let silent_ms = |since_ms: u64| observed.now_ms.saturating_sub(since_ms);
    match seen {
        None => {
            // It registered with a leader before this one, or just now and has not attached yet.
            let since_ms = observed.leading_since_ms.max(worker.registered_at_ms);
            (silent_ms(since_ms) > timeouts.recovery_ms)
                .then(|| format!("it did not come back within {} ms", timeouts.recovery_ms))
        }
        Some(seen) => (silent_ms(seen.heard_at_ms) > timeouts.worker_ms)
            .then(|| format!("no heartbeat for {} ms", timeouts.worker_ms)),
    }
}

fn lost_drivers(state: &State, observed: &Observed) -> Vec<Command> {
    let mut commands = Vec::new();
    for application in state.running() {
        let Some(attempt) = application.running() else { continue };
        if let Some(reason) = driver_loss(application, attempt, observed) {
            let (driver, epoch) = (application.driver.clone(), attempt.epoch);
            commands.push(Command::DriverLost { driver, epoch, reason });
        }
    }
    commands
}

fn driver_loss(application: &Application, attempt: &Attempt, observed: &Observed) -> Option<String> {
    let Some(worker) = &attempt.worker else {
        return silence(application, attempt, observed);
    };
    // A worker that is not attached is judged as a whole.
    let seen = observed.workers.get(worker).filter(|seen| seen.is_attached)?;
    if seen.lists(&application.driver, attempt.epoch) {
        // A process that is there and does nothing, for example because it was stopped. One that is to end is ended by
        // its worker, whatever it does.
        let is_expected = attempt.is_started && !attempt.is_killing;
        return is_expected.then(|| silence(application, attempt, observed)).flatten();
    }
    let sign = seen.seen_at_ms(&application.driver, attempt.epoch);
    if attempt.is_killing && sign.is_none() && !attempt.is_started && was_assigned_here(attempt, seen) {
        return Some("it was killed before it was started".to_owned());
    }
    let since_ms = match (sign, attempt.is_started || attempt.is_killing) {
        (Some(at_ms), _) => at_ms,
        (None, true) => seen.attached_at_ms,
        // Never sent in this attachment: reconcile sends it.
        (None, false) => return None,
    };
    let is_absent =
        seen.reported_at_ms > since_ms && observed.now_ms.saturating_sub(since_ms) > observed.timeouts.driver_ms;
    is_absent.then(|| format!("{worker} does not run it"))
}

fn silence(application: &Application, attempt: &Attempt, observed: &Observed) -> Option<String> {
    let heard_ms = observed.calls.get(&application.driver).copied().unwrap_or(0);
    let since_ms = heard_ms.max(observed.leading_since_ms).max(attempt.assigned_at_ms);
    let is_silent = observed.now_ms.saturating_sub(since_ms) > observed.timeouts.silence_ms;
    is_silent.then(|| format!("it did not call for {} ms", observed.timeouts.silence_ms))
}

/// Whether the assignment was made while this stream was open, so that no launch of it can be under way unseen.
pub(crate) const fn was_assigned_here(attempt: &Attempt, seen: &ObservedWorker) -> bool {
    attempt.assigned_at_ms >= seen.attached_at_ms
}

fn assignments(state: &State, observed: &Observed) -> Vec<Command> {
    let mut largest_bytes = None;
    for worker in taking(state, observed) {
        largest_bytes = largest_bytes.max(Some(worker.registration.memory_bytes));
    }
    let Some(largest_bytes) = largest_bytes else { return Vec::new() };
    let mut waiting = waiting(state, observed, largest_bytes).peekable();
    if waiting.peek().is_none() {
        return Vec::new();
    }
    let assignments = placement::place(places(state, observed), waiting);
    assignments.into_iter().map(|(driver, worker)| Command::AssignDriver { driver, worker }).collect()
}

/// Workers that take drivers.
fn taking<'a>(state: &'a State, observed: &'a Observed) -> impl Iterator<Item = &'a Worker> {
    let attached = observed.workers.iter().filter(|(_, seen)| seen.is_attached && !seen.is_draining);
    attached.filter_map(|(id, _)| state.worker(id)).filter(|worker| worker.is_alive())
}

fn places(state: &State, observed: &Observed) -> Vec<Place> {
    let place = |worker: &Worker| Place {
        worker: worker.id.clone(),
        memory_bytes: worker.registration.memory_bytes,
        memory_used_bytes: state.memory_used_bytes(&worker.id),
        drivers: state.count_drivers_on(&worker.id),
    };
    taking(state, observed).map(place).collect()
}

/// Those whose turn may have come, in the order of the queue. An earlier run of the job goes first, and to its end.
/// A driver that fits no worker even when all are empty is passed over; what waits behind these few is not looked at.
fn waiting(state: &State, observed: &Observed, largest_bytes: u64) -> impl Iterator<Item = Waiting> {
    let now_ms = observed.now_ms;
    let is_due = move |application: &&Application| match &application.phase {
        Phase::Submitted => true,
        Phase::Relaunching { not_before_ms, .. } => now_ms >= *not_before_ms,
        Phase::Running(_) | Phase::Finished(_) | Phase::Failed { .. } | Phase::Killed(_) | Phase::Error { .. } => false,
    };
    let waiting = |application: &Application| Waiting {
        driver: application.driver.clone(),
        memory_bytes: application.driver_memory_bytes(),
        avoid: application.phase.worker().cloned(),
    };
    state.placeable(largest_bytes).filter(is_due).take(ASSIGNMENTS_AT_ONCE).map(waiting)
}

#[cfg(test)]
mod tests;
