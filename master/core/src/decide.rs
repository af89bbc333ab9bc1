//! What the leader proposes: state and what it sees, to commands. Pure.

use std::collections::BTreeMap;

use crate::application::{Application, Attempt, Phase};
use crate::command::Command;
use crate::observed::{Observed, ObservedWorker};
use crate::placement::{self, Place, Waiting};
use crate::state::State;
use crate::worker::Worker;

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
        if let Some(reason) = worker_loss(worker, observed) {
            commands.push(Command::WorkerLost { worker: worker.id.clone(), reason });
        }
    }
    commands
}

fn worker_loss(worker: &Worker, observed: &Observed) -> Option<String> {
    let timeouts = &observed.timeouts;
    let seen = observed.workers.get(&worker.id);
    let is_attached = seen.is_some_and(|seen| seen.is_attached);
    if !is_attached && observed.unreachable.contains(&worker.id) {
        let has_drained = seen.is_some_and(|seen| seen.is_draining);
        let reason = if has_drained { "it was drained and has left" } else { "nobody listens at its address" };
        return Some(reason.to_owned());
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
    for application in state.applications() {
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
    let waiting = waiting(state, observed);
    if waiting.is_empty() {
        return Vec::new();
    }
    let assignments = placement::place(places(state, observed), waiting);
    assignments.into_iter().map(|(driver, worker)| Command::AssignDriver { driver, worker }).collect()
}

fn places(state: &State, observed: &Observed) -> Vec<Place> {
    let mut places: BTreeMap<_, _> = BTreeMap::new();
    for worker in state.workers().filter(|worker| worker.is_alive()) {
        if observed.workers.get(&worker.id).is_some_and(|seen| seen.is_attached && !seen.is_draining) {
            let memory_bytes = worker.registration.memory_bytes;
            let place = Place { worker: worker.id.clone(), memory_bytes, memory_used_bytes: 0, drivers: 0 };
            places.insert(worker.id.clone(), place);
        }
    }
    for application in state.applications() {
        let worker = application.running().and_then(|attempt| attempt.worker.as_ref());
        if let Some(place) = worker.and_then(|worker| places.get_mut(worker)) {
            place.memory_used_bytes = place.memory_used_bytes.saturating_add(application.driver_memory_bytes());
            place.drivers += 1;
        }
    }
    places.into_values().collect()
}

fn waiting(state: &State, observed: &Observed) -> Vec<Waiting> {
    let mut queue: Vec<&Application> = Vec::new();
    let mut first: BTreeMap<&str, u64> = BTreeMap::new();
    for application in state.applications().filter(|application| application.phase.ended().is_none()) {
        let queued_at = first.entry(&application.options.job_name).or_insert(application.queued_at);
        *queued_at = application.queued_at.min(*queued_at);
    }
    for application in state.applications() {
        let is_due = match &application.phase {
            // An earlier run of the job goes first, and to its end.
            _ if first.get(application.options.job_name.as_str()) != Some(&application.queued_at) => false,
            Phase::Submitted => true,
            Phase::Relaunching { not_before_ms, .. } => observed.now_ms >= *not_before_ms,
            Phase::Running(_) | Phase::Finished(_) | Phase::Failed { .. } | Phase::Killed(_) | Phase::Error { .. } => {
                false
            }
        };
        if is_due {
            queue.push(application);
        }
    }
    queue.sort_by_key(|application| application.queued_at);
    let waiting = |application: &Application| Waiting {
        driver: application.driver.clone(),
        memory_bytes: application.driver_memory_bytes(),
        avoid: application.phase.worker().cloned(),
    };
    queue.into_iter().map(waiting).collect()
}

#[cfg(test)]
mod tests;
