//! Statuses that no master has acknowledged yet. Pure but for the lock.
//!
//! A status gets its number once and is sent on every connection until its number is acknowledged: the leader may
//! have died between receiving and recording it. Receivers must take a repeat as the same status. An acknowledgement
//! names one status, not everything before it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lake_proto::v1::{DriverStatus, TaskStatus, WorkerMessage, worker_message::Message};
use tokio::sync::Notify;

#[derive(Debug, Default)]
struct Kept {
    last: u64,
    pending: BTreeMap<u64, WorkerMessage>,
}

/// Numbered statuses, kept until acknowledged.
#[derive(Debug, Default)]
pub struct Outbox {
    kept: Mutex<Kept>,
    changed: Notify,
}

impl Outbox {
    /// Adds a task's status; its `seq` is set here.
    pub fn task(&self, mut status: TaskStatus) {
        self.push(|seq| {
            status.seq = seq;
            Message::TaskStatus(status)
        });
    }

    /// Adds a driver's status; its `seq` is set here.
    pub fn driver(&self, mut status: DriverStatus) {
        self.push(|seq| {
            status.seq = seq;
            Message::DriverStatus(status)
        });
    }

    /// The first status after number `cursor`.
    pub fn next_after(&self, cursor: u64) -> Option<(u64, WorkerMessage)> {
        self.lock().pending.range(cursor.saturating_add(1)..).next().map(|(seq, message)| (*seq, message.clone()))
    }

    /// Forgets the status with this number; others stay.
    pub fn acknowledge(&self, seq: u64) {
        self.lock().pending.remove(&seq);
        self.changed.notify_waiters();
    }

    /// Forgets everything: the worker it was about is no longer known. Numbers go on.
    pub fn clear(&self) {
        self.lock().pending.clear();
        self.changed.notify_waiters();
    }

    /// Statuses that wait for an acknowledgement.
    pub fn len(&self) -> usize {
        self.lock().pending.len()
    }

    /// Whether every status was acknowledged.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends at the next change. Make it before looking, then await it, and nothing is missed.
    pub fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    fn push(&self, message: impl FnOnce(u64) -> Message) {
        let mut kept = self.lock();
        kept.last += 1;
        let seq = kept.last;
        kept.pending.insert(seq, WorkerMessage { message: Some(message(seq)) });
        drop(kept);
        self.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent_after(outbox: &Outbox, mut cursor: u64) -> Vec<u64> {
        let mut sent = Vec::new();
        while let Some((seq, message)) = outbox.next_after(cursor) {
            let inner = match message.message.unwrap() {
                Message::TaskStatus(status) => status.seq,
                Message::DriverStatus(status) => status.seq,
                other => panic!("{other:?} is not a status"),
            };
            assert_eq!(inner, seq);
            sent.push(seq);
            cursor = seq;
        }
        sent
    }

    #[test]
    fn a_new_connection_gets_everything_that_was_not_acknowledged_in_order() {
        let outbox = Outbox::default();
        outbox.task(TaskStatus::default());
        outbox.driver(DriverStatus::default());
        outbox.task(TaskStatus::default());
        assert_eq!(sent_after(&outbox, 0), [1, 2, 3]);
        outbox.acknowledge(2);
        outbox.acknowledge(2);
        outbox.acknowledge(99);
        assert_eq!(sent_after(&outbox, 0), [1, 3]);
        outbox.task(TaskStatus::default());
        assert_eq!(sent_after(&outbox, 3), [4]);
        outbox.clear();
        assert!(outbox.is_empty());
        outbox.task(TaskStatus::default());
        assert_eq!(sent_after(&outbox, 0), [5]);
    }

    #[tokio::test]
    async fn a_change_between_looking_and_waiting_is_not_missed() {
        let outbox = Outbox::default();
        let changed = outbox.changed();
        tokio::pin!(changed);
        changed.as_mut().enable();
        outbox.task(TaskStatus::default());
        changed.await;
        assert_eq!(outbox.len(), 1);
    }
}
