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

const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Sends one effect to its worker.
pub(crate) fn execute(master: &Master, effect: Effect) {
    match effect {
        Effect::LaunchDriver { worker, driver, epoch, app, memory_bytes } => {
            let Some(link) = master.fleet.link(&worker) else { return };
            let launch = v1::LaunchDriver {
                driver_id: driver.to_string(),
                epoch,
                app_id: app.to_string(),
                memory_bytes,
                master_url: link.master_url.clone(),
            };
            if send(&link, Message::LaunchDriver(launch)) {
                master.fleet.sent(&worker, &driver, epoch);
            }
        }
        Effect::KillDriver { worker, driver, epoch } => {
            if let Some(link) = master.fleet.link(&worker) {
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

/// Finds out whether anybody listens at the address of each worker that should be there and is not.
pub(crate) fn probe_absent(master: &Arc<Master>) {
    let absent = master.raft.read(|state| {
        let mut absent = Vec::new();
        for worker in state.workers().filter(|worker| worker.is_alive()) {
            if !master.fleet.is_attached(&worker.id) {
                absent.push(worker.id.clone());
            }
        }
        absent
    });
    for worker in absent {
        probe(master, worker);
    }
}

/// Finds out whether anybody listens at a worker's address. Only a refusal says that nobody does.
pub(crate) fn probe(master: &Arc<Master>, worker: WorkerId) {
    let address = master.raft.read(|state| {
        let registration = &state.worker(&worker)?.registration;
        Some((registration.host.clone(), registration.grpc_port))
    });
    let Some(address) = address else { return };
    let seer = Arc::clone(master);
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
