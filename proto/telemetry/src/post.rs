//! The only way out: a bounded queue, a thread of its own behind it, HTTP (`http`) or a file. Edge.
//!
//! Nobody waits for it. What does not fit into the queue, or cannot be delivered, is dropped and counted, and the first of a
//! row of failures is logged. A thread of its own, because it outlives the runtimes of a program's parts and must not take
//! anything from them.

mod http;

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver as Ended, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio_util::sync::CancellationToken;

pub(crate) use self::http::{Address, Http};

/// How long the end of a program may wait for what is under way.
const LAST_PATIENCE: Duration = Duration::from_secs(2);

/// What became of what was handed over.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    delivered: AtomicU64,
    dropped: AtomicU64,
}

impl Tally {
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// How a queue is emptied.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Habits {
    /// Name of the thread.
    pub(crate) name: &'static str,
    /// What it carries, in the plural.
    pub(crate) goods: &'static str,
    /// How many may wait.
    pub(crate) bound: usize,
    /// How many are delivered together at most.
    pub(crate) batch: usize,
    /// How long the first one waits for others.
    pub(crate) linger: Duration,
}

/// What a delivery comes to.
pub(crate) type Delivered = Result<Receipt, String>;

/// The receiver's answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Receipt {
    /// Of a batch, those that it took notice of and threw away.
    pub(crate) refused: u64,
}

/// The end of the queue that is filled; cheap to clone.
#[derive(Debug)]
pub(crate) struct Slot<T> {
    queue: Sender<T>,
    tally: Arc<Tally>,
    is_told: Arc<AtomicBool>,
    name: &'static str,
}

/// The thread. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Post {
    closing: CancellationToken,
    ended: Mutex<Ended<()>>,
    name: &'static str,
}

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        let (queue, tally, is_told) = (self.queue.clone(), self.tally.clone(), self.is_told.clone());
        Self { queue, tally, is_told, name: self.name }
    }
}

impl<T> Slot<T> {
    /// Hands over, without waiting.
    pub(crate) fn put(&self, item: T) {
        if self.queue.try_send(item).is_err() {
            self.tally.dropped.fetch_add(1, Ordering::Relaxed);
            if !self.is_told.swap(true, Ordering::Relaxed) {
                tracing::warn!(what = self.name, "more is told than can be delivered: the rest is dropped and counted");
            }
        }
    }

    pub(crate) fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }
}

/// Starts the thread. `carry` delivers one batch.
pub(crate) fn start<T, C, F>(habits: Habits, carry: C) -> (Slot<T>, Post)
where
    T: Send + 'static,
    C: FnMut(Vec<T>) -> F + Send + 'static,
    F: Future<Output = Delivered>,
{
    let (queue, waiting) = mpsc::channel(habits.bound);
    let (tally, closing) = (Arc::new(Tally::default()), CancellationToken::new());
    let (done, ended) = sync_channel(1);
    let slot = Slot { queue, tally: tally.clone(), is_told: Arc::default(), name: habits.name };
    let post = Post { closing: closing.clone(), ended: Mutex::new(ended), name: habits.name };
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(deliver(habits, waiting, closing, tally, carry)),
            Err(error) => tracing::warn!(what = habits.name, "nothing is delivered: {error}"),
        }
        // Whoever has stopped waiting does not need it.
        let _ = done.send(());
    };
    if let Err(error) = std::thread::Builder::new().name(habits.name.to_owned()).spawn(work) {
        tracing::warn!(what = habits.name, "nothing is delivered: {error}");
    }
    (slot, post)
}

impl Post {
    /// Closes the queue, and waits a moment for what is in it. A repeat does nothing.
    pub(crate) fn close(&self) {
        if self.closing.is_cancelled() {
            return;
        }
        self.closing.cancel();
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.recv_timeout(LAST_PATIENCE) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!(what = self.name, "not everything could be delivered in time");
        }
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        self.close();
    }
}

async fn deliver<T, C, F>(
    habits: Habits,
    mut waiting: Receiver<T>,
    closing: CancellationToken,
    tally: Arc<Tally>,
    mut carry: C,
) where
    C: FnMut(Vec<T>) -> F,
    F: Future<Output = Delivered>,
{
    let (mut is_failing, mut is_over) = (false, false);
    while !is_over {
        let mut batch = Vec::new();
        tokio::select! {
            first = waiting.recv() => match first {
                Some(first) => batch.push(first),
                None => break,
            },
            // Nothing more comes; what is there is delivered below.
            () = closing.cancelled() => {
                waiting.close();
                is_over = true;
            }
        }
        // Whether it is over or not, the others that wait are taken along.
        let _ = tokio::time::timeout(habits.linger, closing.cancelled()).await;
        loop {
            while batch.len() < habits.batch {
                let Ok(next) = waiting.try_recv() else { break };
                batch.push(next);
            }
            if batch.is_empty() {
                break;
            }
            let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
            match carry(std::mem::take(&mut batch)).await {
                Ok(receipt) => {
                    if is_failing {
                        tracing::info!(what = habits.name, "{} are delivered again", habits.goods);
                    }
                    is_failing = false;
                    tally.delivered.fetch_add(count.saturating_sub(receipt.refused), Ordering::Relaxed);
                    tally.dropped.fetch_add(receipt.refused.min(count), Ordering::Relaxed);
                }
                Err(why) => {
                    tally.dropped.fetch_add(count, Ordering::Relaxed);
                    if !is_failing {
                        tracing::warn!(
                            what = habits.name,
                            "{} cannot be delivered, and are dropped: {why}",
                            habits.goods
                        );
                    }
                    is_failing = true;
                }
            }
        }
    }
    waiting.close();
    tally.dropped.fetch_add(u64::try_from(waiting.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
}

#[cfg(test)]
pub(crate) mod tests;
