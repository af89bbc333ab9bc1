//! The way to each worker, and the watchdog over what was sent there. Edge.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ballista_core::serde::scheduler::{ExecutorMetadata, ExecutorOperatingSystemSpecification, ExecutorSpecification};
use lake_proto::{QueryId, v1};
use lake_scheduler_core::Attempt;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;

use crate::handle::WorkerInfo;

/// Messages that may wait for a worker that reads slowly; more are dropped and the watchdog or the loss of the
/// worker puts things right.
pub(crate) const WAITING_MESSAGES: usize = 4_096;
/// Heartbeats in a row that must lack an attempt.
const MISSED_HEARTBEATS: u32 = 2;

/// One attached worker.
pub(crate) struct Link {
    pub(crate) worker: WorkerInfo,
    /// As shuffle readers want it; the id is the worker's, so that a fetch failure names it.
    pub(crate) metadata: Arc<ExecutorMetadata>,
    outbox: mpsc::Sender<v1::MasterMessage>,
    /// Attempts whose launch was sent and whose end is not known.
    watched: BTreeMap<(QueryId, Attempt), Watch>,
}

struct Watch {
    sent: Instant,
    missed: u32,
}

impl Link {
    pub(crate) fn new(worker: WorkerInfo, outbox: mpsc::Sender<v1::MasterMessage>) -> Self {
        let metadata = ExecutorMetadata {
            id: worker.id.as_str().to_owned(),
            host: worker.host.clone(),
            port: worker.flight_port,
            grpc_port: worker.grpc_port,
            specification: ExecutorSpecification { vcores: worker.cores },
            os_info: ExecutorOperatingSystemSpecification::default(),
        };
        Self { worker, metadata: Arc::new(metadata), outbox, watched: BTreeMap::new() }
    }

    /// The worker's stream was opened again; what waited in the old one is lost.
    pub(crate) fn reopen(&mut self, outbox: mpsc::Sender<v1::MasterMessage>) {
        self.outbox = outbox;
        self.watched.values_mut().for_each(|watch| watch.missed = 0);
    }

    pub(crate) fn send(&self, message: v1::master_message::Message) {
        let message = v1::MasterMessage { message: Some(message) };
        match self.outbox.try_send(message) {
            // A closed stream is opened again, or the worker is declared lost.
            Ok(()) | Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(_)) => {
                tracing::warn!(worker_id = %self.worker.id, "the worker does not read, a message to it is dropped");
            }
        }
    }

    pub(crate) fn watch(&mut self, query: QueryId, attempt: Attempt, now: Instant) {
        self.watched.insert((query, attempt), Watch { sent: now, missed: 0 });
    }

    pub(crate) fn unwatch(&mut self, query: &QueryId, attempt: Attempt) {
        self.watched.remove(&(query.clone(), attempt));
    }

    /// Takes note of what the worker runs. The attempts that it should run but does not, and that are older than
    /// `patience`; they are no longer watched.
    pub(crate) fn heartbeat(
        &mut self,
        running: &BTreeSet<(QueryId, Attempt)>,
        now: Instant,
        patience: Duration,
    ) -> Vec<(QueryId, Attempt)> {
        let mut missing = Vec::new();
        for (attempt, watch) in &mut self.watched {
            watch.missed = if running.contains(attempt) { 0 } else { watch.missed + 1 };
            if watch.missed >= MISSED_HEARTBEATS && now.saturating_duration_since(watch.sent) >= patience {
                missing.push(attempt.clone());
            }
        }
        missing.iter().for_each(|attempt| {
            self.watched.remove(attempt);
        });
        missing
    }
}

/// Moves messages from the owner to the worker's stream until either side is gone.
pub(crate) async fn forward(mut messages: mpsc::Receiver<v1::MasterMessage>, stream: mpsc::Sender<v1::MasterMessage>) {
    while let Some(message) = messages.recv().await {
        if stream.send(message).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> Link {
        let (outbox, _) = mpsc::channel(1);
        let id = "worker-1".parse().unwrap();
        let (host, grpc_port, flight_port) = ("h".to_owned(), 1, 2);
        Link::new(WorkerInfo { id, host, grpc_port, flight_port, cores: 1, is_draining: false }, outbox)
    }

    fn key(attempt: u64) -> (QueryId, Attempt) {
        ("q".parse().unwrap(), Attempt(attempt))
    }

    #[test]
    fn an_attempt_is_missing_after_two_heartbeats_without_it_and_some_time() {
        let mut link = link();
        let patience = Duration::from_secs(3);
        let (early, late) = (Instant::now(), Instant::now() + patience);
        let (none, one) = (BTreeSet::new(), BTreeSet::from([key(1)]));
        link.watch(key(1).0, Attempt(1), early);
        assert!(link.heartbeat(&none, early, patience).is_empty(), "it crossed the launch on the wire");
        assert!(link.heartbeat(&none, early, patience).is_empty(), "so may this one have");
        assert!(link.heartbeat(&one, early, patience).is_empty());
        assert!(link.heartbeat(&none, late, patience).is_empty());
        assert!(link.heartbeat(&one, late, patience).is_empty(), "reported again");
        assert!(link.heartbeat(&none, late, patience).is_empty());
        assert_eq!(link.heartbeat(&none, late, patience), [key(1)]);
        assert!(link.heartbeat(&none, late, patience).is_empty(), "it is reported missing once");
    }
}
