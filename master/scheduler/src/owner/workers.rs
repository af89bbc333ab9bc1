//! Workers that come and go. Edge.

use lake_proto::{WorkerId, v1};
use lake_scheduler_core::Event;
use tokio::sync::mpsc;

use super::Owner;
use crate::clock::now_ms;
use crate::handle::WorkerInfo;
use crate::links::{self, Link};

impl Owner {
    pub(super) fn worker_attached(&mut self, worker: WorkerInfo, outbound: mpsc::Sender<v1::MasterMessage>) {
        let (outbox, messages) = mpsc::channel(links::WAITING_MESSAGES);
        self.services.forward(messages, outbound);
        if let Some(link) = self.links.get_mut(&worker.id) {
            tracing::info!(worker_id = %worker.id, "the worker's stream is open again");
            link.reopen(outbox);
            for entry in self.entries.values_mut().filter(|entry| entry.prepared.contains(&worker.id)) {
                entry.doubtful.insert(worker.id.clone());
            }
            if worker.is_draining {
                self.event(Event::WorkerDraining { worker: worker.id });
            }
            return;
        }
        tracing::info!(worker_id = %worker.id, host = %worker.host, cores = worker.cores, "worker attached");
        let (id, cores, is_draining) = (worker.id.clone(), worker.cores, worker.is_draining);
        self.links.insert(id.clone(), Link::new(worker, outbox));
        self.event(Event::WorkerJoined { worker: id, cores, is_draining });
    }

    pub(super) fn worker_lost(&mut self, worker: WorkerId) {
        if self.links.remove(&worker).is_some() {
            tracing::warn!(worker_id = %worker, "worker lost: what it ran and held is made again");
        }
        self.stash.lose(&worker);
        self.account.worker_lost(&worker, now_ms());
        // The retries report the same rows once more.
        for lost in self.machine.attempts_on(&worker) {
            if let Some(entry) = self.entries.get_mut(&lost.query) {
                self.services.settings.tally.task_lost(entry.attempt_ended(lost.attempt));
            }
        }
        self.event(Event::WorkerLost { worker });
    }

    pub(super) fn needs(&self, worker: &WorkerId) -> bool {
        self.machine.is_needed(worker)
            || self.stash.needs(worker)
            || self.entries.values().any(|entry| entry.unfetched.contains(worker))
    }
}
