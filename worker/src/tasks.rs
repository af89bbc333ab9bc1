//! Tasks: what a master launched here, until each attempt has really ended. Edge.
//!
//! An attempt runs on the compute threads; a supervisor on the service threads waits for it, reports it once, and
//! removes what nobody may read. An attempt that failed or was cancelled is reported, and so its cores freed, only
//! when the last of its streams is gone.

mod attempt;
mod brake;
mod clients;
mod compute;
mod failure;
mod held;
mod operators;
mod probe;
mod query;
mod result;
mod supervise;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lake_engine::EngineError;
use lake_engine::session;
use lake_metrics::worker::Tally;
use lake_proto::v1::{
    Held, HeldAttempt, HeldQuery, LaunchTask, PrepareQuery, TaskMetrics, TaskRef, TaskStatus, task_status::Outcome,
};
use lake_proto::{ErrorClass, Fault, QueryId};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use self::attempt::{Attempt, AttemptId};
use self::clients::Clients;
use self::compute::Compute;
pub use self::compute::STACK_BYTES;
use self::failure::Failed;
use self::probe::Counters;
use self::query::{Query, Shared};
use crate::fence::Fence;
use crate::registration::outbox::Outbox;
use crate::workdir::WorkDir;

/// Rows that are told to a leader when it asks what is held, in bytes: they travel in one message.
const HELD_ROWS_BYTES: usize = 64 << 20;

/// A running attempt, for heartbeats and people.
#[derive(Debug, Clone)]
pub struct Running {
    /// Which attempt.
    pub task: TaskRef,
    /// Its application; for people.
    pub app_id: String,
    /// Cores it holds.
    pub cores: u32,
    /// What it has produced so far.
    pub metrics: TaskMetrics,
    /// It was told to end: its query or its application is over, or another attempt has done it.
    pub is_stopping: bool,
}

#[derive(Debug)]
struct Entry {
    task: TaskRef,
    app_id: String,
    cores: u32,
    lineage: u64,
    token: CancellationToken,
    counters: Arc<Counters>,
    started: Instant,
}

/// The tasks of this worker.
#[derive(Debug)]
pub struct Tasks {
    cores: usize,
    memory_bytes: u64,
    work: Arc<WorkDir>,
    outbox: Arc<Outbox>,
    compute: Compute,
    clients: Arc<Clients>,
    fence: Arc<Fence>,
    shared: Mutex<Option<Shared>>,
    queries: Mutex<BTreeMap<QueryId, Arc<Query>>>,
    attempts: Mutex<BTreeMap<AttemptId, Entry>>,
    tally: Arc<Tally>,
    stopping: AtomicBool,
    // Supervisors and removals; they run on the service threads.
    service: Handle,
    tracker: TaskTracker,
    // Grows when the master gives this worker up: attempts of an earlier life report nothing.
    life: AtomicU64,
}

impl Tasks {
    /// No task yet. Must be called on the service runtime.
    pub fn new(cores: u32, memory_bytes: u64, work: Arc<WorkDir>, outbox: Arc<Outbox>) -> Arc<Self> {
        let cores = usize::try_from(cores).unwrap_or(1);
        Arc::new(Self {
            cores,
            memory_bytes,
            work,
            outbox,
            compute: Compute::new(cores),
            clients: Arc::new(Clients::default()),
            fence: Arc::default(),
            shared: Mutex::new(None),
            queries: Mutex::default(),
            attempts: Mutex::default(),
            tally: Arc::default(),
            stopping: AtomicBool::new(false),
            service: Handle::current(),
            tracker: TaskTracker::new(),
            life: AtomicU64::new(0),
        })
    }

    /// Makes a query known. A repeat changes nothing. What is wrong with it is told by its first task. Attempts of earlier
    /// drivers of its application stop.
    pub fn prepare(&self, message: &PrepareQuery) {
        let id: QueryId = match message.query_id.parse() {
            Ok(id) => id,
            Err(error) => {
                tracing::error!(error = %error, "a query was not prepared");
                return;
            }
        };
        let over = self.fence.announced(&id, &message.app_id, message.epoch);
        let mut queries = lock(&self.queries);
        for query in over.iter().filter_map(|query| queries.get(query)) {
            tracing::warn!(query_id = %query.id, app_id = query.app_id, "the query's driver was replaced, its tasks stop");
            query.token.cancel();
        }
        queries.entry(id).or_insert_with_key(|id| {
            Arc::new(Query::new(id.clone(), message, self.cores, self.shared().map_err(Fault::from)))
        });
    }

    /// Starts an attempt. A repeat changes nothing, whether the attempt still runs or has ended; every other call is
    /// answered by exactly one status in the outbox.
    pub fn launch(self: &Arc<Self>, launch: LaunchTask) {
        let task = launch.task.clone().unwrap_or_default();
        let refused = |error: EngineError| {
            let failed = Failed::from(error);
            self.report(&task, Outcome::Failed(failed.into_message()), TaskMetrics::default());
        };
        let Ok(query_id) = task.query_id.parse::<QueryId>() else {
            return refused(EngineError::internal(format!("query id '{}' is not valid", task.query_id)));
        };
        if self.stopping.load(Ordering::Acquire) {
            return refused(EngineError::unavailable("worker-stopping", "this worker is stopping"));
        }
        let Some(query) = lock(&self.queries).get(&query_id).cloned() else {
            let message = format!("query {query_id} was not prepared on this worker");
            return refused(EngineError::unavailable("query-unknown", message));
        };
        if !query.is_new(task.attempt) {
            return;
        }
        if let Err(stale) = self.fence.check(&launch.app_id, launch.epoch) {
            return refused(stale.into());
        }
        let id = AttemptId { query: query_id, number: task.attempt };
        let counters = Arc::new(Counters::default());
        let entry = Entry {
            task: task.clone(),
            app_id: query.app_id.clone(),
            cores: launch.cores,
            lineage: launch.lineage,
            token: query.token.child_token(),
            counters: counters.clone(),
            started: Instant::now(),
        };
        let told = entry.token.clone();
        lock(&self.attempts).insert(id.clone(), entry);
        let attempt = Attempt {
            query: query.clone(),
            stage: task.stage_id,
            number: task.attempt,
            launch,
            counters,
            stop: told.child_token(),
            clients: self.clients.clone(),
            work: self.work.clone(),
        };
        let life = self.life.load(Ordering::Acquire);
        let span = attempt.span();
        let supervised = Arc::clone(self).supervise(id, attempt, told, life).instrument(span);
        query.attempts.spawn_on(self.tracker.track_future(supervised), &self.service);
    }

    /// Tells an attempt to stop; it reports when it has. One that has ended is not held any more: its master has no use
    /// for it.
    pub fn cancel(&self, task: &TaskRef) {
        let Ok(query) = task.query_id.parse::<QueryId>() else { return };
        if let Some(query) = lock(&self.queries).get(&query) {
            query.outputs().forget(task.attempt);
        }
        if let Some(entry) = lock(&self.attempts).get(&AttemptId { query, number: task.attempt }) {
            entry.token.cancel();
        }
    }

    /// Forgets a query: its attempts stop, and its files go when they have ended.
    pub fn drop_query(self: &Arc<Self>, query_id: &str) {
        let Ok(id) = query_id.parse::<QueryId>() else { return };
        let query = lock(&self.queries).remove(&id);
        self.fence.forget(&id);
        if let Some(query) = &query {
            query.token.cancel();
            query.attempts.close();
        }
        let work = self.work.clone();
        let removed = async move {
            if let Some(query) = query {
                query.attempts.wait().await;
            }
            let removed = tokio::task::spawn_blocking(move || work.remove_query(&id)).await;
            if let Err(error) = removed {
                tracing::error!(error = %error, "removal of a query's files panicked");
            }
        };
        self.tracker.spawn_on(removed, &self.service);
    }

    /// Stops everything because the master no longer knows this worker; nothing of it is reported. Ends when all
    /// attempts have, or after `patience`.
    pub async fn abandon(self: &Arc<Self>, patience: Duration) {
        self.life.fetch_add(1, Ordering::AcqRel);
        let queries: Vec<QueryId> = lock(&self.queries).keys().cloned().collect();
        for query in queries {
            self.drop_query(query.as_str());
        }
        self.wait_idle(patience).await;
    }

    /// Takes no more tasks and stops the running ones; each is reported as lost with the worker. Ends when all have
    /// ended, or after `patience`.
    pub async fn stop(&self, patience: Duration) {
        self.stopping.store(true, Ordering::Release);
        for entry in lock(&self.attempts).values() {
            entry.token.cancel();
        }
        self.wait_idle(patience).await;
    }

    /// Bytes of the shuffle files that are held for queries.
    pub fn shuffle_bytes(&self) -> u64 {
        lock(&self.queries).values().map(|query| query.outputs().shuffle_bytes()).sum()
    }

    /// The attempts running now, in a fixed order.
    pub fn running(&self) -> Vec<Running> {
        lock(&self.attempts)
            .values()
            .map(|entry| Running {
                task: entry.task.clone(),
                app_id: entry.app_id.clone(),
                cores: entry.cores,
                metrics: metrics(&entry.counters, entry.started, so_far(&entry.counters)),
                is_stopping: entry.token.is_cancelled(),
            })
            .collect()
    }

    /// What a leader may go on with: of every query that was not dropped, what has been left here and what runs.
    pub fn held(&self) -> Held {
        // What ends in between is then in both lists, never in none.
        let mut running: BTreeMap<QueryId, Vec<HeldAttempt>> = BTreeMap::new();
        for (id, entry) in lock(&self.attempts).iter().filter(|(_, entry)| !entry.token.is_cancelled()) {
            let (task, cores, lineage) = (Some(entry.task.clone()), entry.cores, entry.lineage);
            running.entry(id.query.clone()).or_default().push(HeldAttempt { task, cores, lineage });
        }
        let queries: Vec<Arc<Query>> = lock(&self.queries).values().cloned().collect();
        let mut room = HELD_ROWS_BYTES;
        let held = queries.iter().map(|query| HeldQuery {
            query_id: query.id.to_string(),
            app_id: query.app_id.clone(),
            done: query.outputs().all(&mut room),
            running: running.remove(&query.id).unwrap_or_default(),
        });
        Held { queries: held.collect() }
    }

    /// Queries that are prepared and not dropped.
    pub fn queries(&self) -> BTreeSet<String> {
        lock(&self.queries).keys().map(ToString::to_string).collect()
    }

    /// Which drivers' tasks and files are still wanted.
    pub fn fence(&self) -> &Arc<Fence> {
        &self.fence
    }

    /// What was counted here since the start.
    pub fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// Bytes that tasks may reserve in the pool they share.
    pub fn memory_limit(&self) -> u64 {
        pool_bytes(self.memory_bytes)
    }

    /// Bytes that tasks have reserved in the pool they share.
    pub fn memory_used(&self) -> u64 {
        let shared = lock(&self.shared);
        let reserved = shared.as_ref().map_or(0, |shared| shared.runtime.memory_pool.reserved());
        u64::try_from(reserved).unwrap_or(u64::MAX)
    }

    fn report(&self, task: &TaskRef, outcome: Outcome, metrics: TaskMetrics) {
        self.outbox.task(status(task, outcome, metrics));
    }

    fn shared(&self) -> Result<Shared, EngineError> {
        let mut shared = lock(&self.shared);
        if let Some(shared) = shared.as_ref() {
            return Ok(shared.clone());
        }
        let memory = usize::try_from(self.memory_limit())
            .map_err(|_| EngineError::new(ErrorClass::Resource, "memory", "the memory setting is too large"))?;
        let made = Shared {
            runtime: session::runtime(memory, &self.work.spill())?,
            functions: Arc::new(session::functions()),
        };
        *shared = Some(made.clone());
        Ok(made)
    }

    async fn wait_idle(&self, patience: Duration) {
        self.tracker.close();
        let idle = tokio::time::timeout(patience, self.tracker.wait()).await;
        self.tracker.reopen();
        if idle.is_err() {
            tracing::warn!(attempts = lock(&self.attempts).len(), "tasks did not end in time");
        }
    }
}

/// The rest is for what no pool counts: merge and upload buffers, decoders, the allocator.
const fn pool_bytes(memory_bytes: u64) -> u64 {
    memory_bytes / 5 * 3
}

fn status(task: &TaskRef, outcome: Outcome, metrics: TaskMetrics) -> TaskStatus {
    TaskStatus { seq: 0, task: Some(task.clone()), outcome: Some(outcome), metrics: Some(metrics) }
}

/// What the attempt's plan has read and written so far.
fn so_far(counters: &Counters) -> TaskMetrics {
    counters.plan().as_ref().map(operators::crossings).unwrap_or_default()
}

/// What the attempt's streams have counted, together with what its plan has `told`: either counts, never both.
fn metrics(counters: &Counters, started: Instant, told: TaskMetrics) -> TaskMetrics {
    TaskMetrics {
        rows: counters.rows().saturating_add(told.rows),
        bytes: counters.bytes().saturating_add(told.bytes),
        elapsed_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        ..told
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
