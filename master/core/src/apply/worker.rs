//! Workers come, come back and are lost. Pure.

use lake_proto::ids::InvalidId;
use lake_proto::{ErrorClass, WorkerId};

use super::{Stamp, driver, rejected};
use crate::command::Registration;
use crate::date;
use crate::event::Event;
use crate::state::State;
use crate::worker::{Worker, WorkerState};

const MAX_HOST_IN_ID: usize = 64;

/// A worker that is started again under an address takes the place of the one that had it.
pub(super) fn registered(state: &mut State, stamp: Stamp, registration: Registration, events: &mut Vec<Event>) {
    let known = state.workers.values().find(|worker| worker.registration.instance == registration.instance);
    if let Some(worker) = known {
        events.push(match &worker.state {
            WorkerState::Alive => Event::WorkerRegistered { worker: worker.id.clone(), is_repeat: true },
            gone @ (WorkerState::Lost { .. } | WorkerState::Decommissioned { .. }) => start_over(&worker.id, gone),
        });
        return;
    }
    let id = match fresh_id(state, stamp.at_ms, &registration) {
        Ok(id) => id,
        Err(error) => {
            events.push(rejected(ErrorClass::Internal, "internal", error.to_string()));
            return;
        }
    };
    for replaced in alive_at(state, &registration) {
        let reason = format!("{id} registered under its address");
        lost(state, stamp, &replaced, reason, events);
    }
    let worker = Worker { id: id.clone(), registration, registered_at_ms: stamp.at_ms, state: WorkerState::Alive };
    state.workers.insert(id.clone(), worker);
    events.push(Event::WorkerRegistered { worker: id, is_repeat: false });
}

pub(super) fn back(state: &mut State, worker: &WorkerId, events: &mut Vec<Event>) {
    events.push(match state.workers.get(worker).map(|worker| &worker.state) {
        Some(WorkerState::Alive) => Event::WorkerBack { worker: worker.clone() },
        Some(gone @ (WorkerState::Lost { .. } | WorkerState::Decommissioned { .. })) => start_over(worker, gone),
        None => rejected(
            ErrorClass::NotFound,
            "no-such-worker",
            format!("{worker} is not known to this cluster; register again under a fresh instance"),
        ),
    });
}

pub(super) fn lost(state: &mut State, stamp: Stamp, worker: &WorkerId, reason: String, events: &mut Vec<Event>) {
    let Some(entry) = living(state, worker, events) else { return };
    entry.state = WorkerState::Lost { at_ms: stamp.at_ms, reason: reason.clone() };
    events.push(Event::WorkerLost { worker: worker.clone(), reason: reason.clone() });
    driver::worker_lost(state, stamp, worker, &reason, events);
    state.forget_gone_workers();
}

pub(super) fn left(state: &mut State, stamp: Stamp, worker: &WorkerId, events: &mut Vec<Event>) {
    let Some(entry) = living(state, worker, events) else { return };
    entry.state = WorkerState::Decommissioned { at_ms: stamp.at_ms };
    events.push(Event::WorkerLeft { worker: worker.clone() });
    driver::worker_lost(state, stamp, worker, "its time to drain was over", events);
    state.forget_gone_workers();
}

/// The worker, unless it is gone already or was never here.
fn living<'a>(state: &'a mut State, worker: &WorkerId, events: &mut Vec<Event>) -> Option<&'a mut Worker> {
    let Some(entry) = state.workers.get_mut(worker) else {
        events.push(Event::Ignored { reason: format!("{worker} is not known") });
        return None;
    };
    if !entry.is_alive() {
        events.push(Event::Ignored { reason: format!("{worker} is {} already", entry.state.name()) });
        return None;
    }
    Some(entry)
}

/// The answer to a worker that was given up and is there.
fn start_over(worker: &WorkerId, gone: &WorkerState) -> Event {
    let why = match gone {
        WorkerState::Lost { reason, .. } => format!("was declared lost ({reason})"),
        WorkerState::Alive | WorkerState::Decommissioned { .. } => "has drained and left".to_owned(),
    };
    let message = format!("{worker} {why}; stop its work and register again under a fresh instance");
    rejected(ErrorClass::Conflict, "worker-lost", message)
}

fn alive_at(state: &State, registration: &Registration) -> Vec<WorkerId> {
    let same_place =
        |other: &Registration| other.host == registration.host && other.grpc_port == registration.grpc_port;
    let alive = state.workers.values().filter(|worker| worker.is_alive());
    alive.filter(|worker| same_place(&worker.registration)).map(|worker| worker.id.clone()).collect()
}

/// Ids become file names, so a host's other characters are replaced; a number tells two of one second apart.
fn fresh_id(state: &State, at_ms: u64, registration: &Registration) -> Result<WorkerId, InvalidId> {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '.') { c } else { '_' };
    let host: String = registration.host.chars().take(MAX_HOST_IN_ID).map(allowed).collect();
    let stem = format!("worker-{}-{host}-{}", date::compact(at_ms), registration.grpc_port);
    let mut id = WorkerId::try_from(stem.clone())?;
    let mut number: u64 = 2;
    while state.workers.contains_key(&id) {
        id = WorkerId::try_from(format!("{stem}-{number}"))?;
        number += 1;
    }
    Ok(id)
}
