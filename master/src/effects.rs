//! Carries out effects at workers. Edge. Idempotent, never edits state: an effect that gets lost is derived again.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use lake_master_core::Effect;
use lake_proto::v1::master_message::Message;
use lake_proto::{ErrorClass, Fault, WorkerId, v1};
use tokio::net::TcpStream;

use crate::liveness::Link;
use crate::master::Master;
use crate::reign::Reign;

const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Sends one effect to its worker.
pub(crate) fn execute(reign: &Reign, effect: Effect) {
    match effect {
        Effect::LaunchDriver { worker, driver, epoch, app, memory_bytes, traceparent } => {
            let Some(link) = reign.fleet.link(&worker) else { return };
            lake_proto::point::reached("leader-before-launch");
            let launch = v1::LaunchDriver {
                driver_id: driver.to_string(),
                epoch,
                app_id: app.to_string(),
                memory_bytes,
                master_url: link.master_url.clone(),
                traceparent,
            };
            if send(&link, Message::LaunchDriver(launch)) {
                reign.fleet.sent(&worker, &driver, epoch);
            }
        }
        Effect::KillDriver { worker, driver, epoch } => {
            if let Some(link) = reign.fleet.link(&worker) {
                send(&link, Message::KillDriver(v1::KillDriver { driver_id: driver.to_string(), epoch }));
            }
        }
    }
}

/// Tells a worker that it must start over under a fresh id.
pub(crate) fn reject(link: &Link, worker: &WorkerId) {
    let message = format!("{worker} was declared lost; stop its work and register again under a fresh instance");
    let fault = Fault::new(ErrorClass::Conflict, "worker-lost", message);
    send(link, Message::Rejected(v1::Rejected { failure: Some(fault.into()) }));
}

/// Tells a worker to drain. `false` when its stream is full or closed.
pub(crate) fn drain(link: &Link) -> bool {
    send(link, Message::Drain(v1::Drain {}))
}

/// Tells a draining worker, once on each stream, that it may leave.
pub(crate) fn release(reign: &Reign, worker: &WorkerId) {
    let Some(link) = reign.fleet.unreleased(worker) else { return };
    if send(&link, Message::Released(v1::Released {})) {
        tracing::info!(worker_id = %worker, "a draining worker may leave: nothing of it is needed");
        reign.fleet.released(worker);
    }
}

/// Finds out whether anybody listens at the address of each worker that should be there and is not.
pub(crate) fn probe_absent(master: &Arc<Master>, reign: &Arc<Reign>) {
    let absent = master.raft.read(|state| {
        let mut absent = Vec::new();
        for worker in state.workers().filter(|worker| worker.is_alive()) {
            if !reign.fleet.is_attached(&worker.id) {
                absent.push(worker.id.clone());
            }
        }
        absent
    });
    for worker in absent {
        probe(master, reign, worker);
    }
}

/// Finds out whether anybody listens at a worker's address. Only a refusal says that nobody does.
pub(crate) fn probe(master: &Master, reign: &Arc<Reign>, worker: WorkerId) {
    let address = master.raft.read(|state| {
        let registration = &state.worker(&worker)?.registration;
        Some((registration.host.clone(), registration.grpc_port))
    });
    let Some(address) = address else { return };
    let seer = Arc::clone(reign);
    master.tasks.spawn(async move {
        let stop = seer.stop.clone();
        let connected = tokio::time::timeout(PROBE_TIMEOUT, TcpStream::connect(address));
        let connected = tokio::select! {
            () = stop.cancelled() => return,
            connected = connected => connected,
        };
        let is_refused = matches!(connected, Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused);
        if is_refused && !seer.fleet.is_attached(&worker) {
            seer.fleet.unreachable(&worker);
        }
    });
}

/// A full or closed stream is not waited for: the next look sends again.
fn send(link: &Link, message: Message) -> bool {
    link.sender.try_send(v1::MasterMessage { message: Some(message) }).is_ok()
}
