//! Which workers and drivers the leader sees: streams, heartbeats, reported drivers. In memory only. Edge.
//!
//! Never here: what silence means (`lake_master_core::decide`). Only what follows from it goes into the log.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lake_master_core::observed::Seen;
use lake_master_core::view::{Live, LiveWorker};
use lake_master_core::{Observed, ObservedWorker, State, Timeouts};
use lake_proto::{DriverId, WorkerId, v1};
use tokio::sync::{Notify, mpsc};

use crate::clock::now_ms;

/// Messages to one worker that may wait.
pub(crate) const OUTBOUND: usize = 4_096;

/// A worker's end of the stream, and where the worker reached this master.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) sender: mpsc::Sender<v1::MasterMessage>,
    /// `lake://host:port` as this worker and its drivers can use it.
    pub(crate) master_url: String,
}

struct Entry {
    seen: ObservedWorker,
    link: Link,
    /// Distinguishes this stream from an earlier one of the same worker.
    stream: u64,
    figures: LiveWorker,
    /// How long it waits at most when it drains.
    drain_timeout_ms: u64,
    /// It was told on this stream that it may leave.
    is_released: bool,
    /// It has told this leader what it holds of queries, or never will.
    has_reported: bool,
    /// Its version and settings, to be shown.
    environment: (String, Vec<v1::EffectiveSetting>),
}

#[derive(Default)]
struct Seeing {
    workers: BTreeMap<WorkerId, Entry>,
    unreachable: Vec<WorkerId>,
    calls: BTreeMap<DriverId, u64>,
    streams: u64,
}

/// Everything seen since this process began to lead.
pub(crate) struct Fleet {
    seeing: Mutex<Seeing>,
    timeouts: Timeouts,
    changed: Notify,
}

impl Fleet {
    pub(crate) fn new(timeouts: Timeouts) -> Self {
        Self { seeing: Mutex::new(Seeing::default()), timeouts, changed: Notify::new() }
    }

    /// Waits until something was seen that the leader should look at.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// A worker has opened a stream. Answers with the stream's number.
    pub(crate) fn attach(&self, worker: &WorkerId, link: Link, register: &v1::Register) -> u64 {
        let now_ms = now_ms();
        let mut seeing = self.lock();
        seeing.streams += 1;
        let stream = seeing.streams;
        seeing.unreachable.retain(|other| other != worker);
        let mut seen = ObservedWorker {
            is_attached: true,
            is_draining: register.is_draining,
            attached_at_ms: now_ms,
            heard_at_ms: now_ms,
            ..ObservedWorker::default()
        };
        report(&mut seen, &register.drivers, now_ms);
        let figures = LiveWorker { last_heartbeat_ms: now_ms, ..LiveWorker::default() };
        let drain_timeout_ms = register.drain_timeout_ms;
        // What it told on an earlier stream to this leader was not forgotten.
        let has_reported = !register.reports_held || seeing.workers.get(worker).is_some_and(|entry| entry.has_reported);
        let environment = (register.version.clone(), register.settings.clone());
        let is_released = false;
        let entry = Entry { seen, link, stream, figures, drain_timeout_ms, is_released, has_reported, environment };
        seeing.workers.insert(worker.clone(), entry);
        drop(seeing);
        self.changed.notify_one();
        stream
    }

    /// A stream has ended; `false` when a newer one has taken its place.
    pub(crate) fn detach(&self, worker: &WorkerId, stream: u64) -> bool {
        let mut seeing = self.lock();
        let Some(entry) = seeing.workers.get_mut(worker).filter(|entry| entry.stream == stream) else { return false };
        entry.seen.is_attached = false;
        true
    }

    /// What the workers have told of their versions and settings when they registered, by id.
    pub(crate) fn environments(&self) -> Vec<(WorkerId, String, Vec<v1::EffectiveSetting>)> {
        let seeing = self.lock();
        let told = seeing.workers.iter().filter(|(_, entry)| entry.seen.is_attached);
        told.map(|(id, entry)| (id.clone(), entry.environment.0.clone(), entry.environment.1.clone())).collect()
    }

    /// A probe found nobody at the worker's address.
    pub(crate) fn unreachable(&self, worker: &WorkerId) {
        let mut seeing = self.lock();
        if !seeing.unreachable.contains(worker) {
            seeing.unreachable.push(worker.clone());
        }
        drop(seeing);
        self.changed.notify_one();
    }

    /// A worker has told what it holds of queries.
    pub(crate) fn reported(&self, worker: &WorkerId) {
        if let Some(entry) = self.lock().workers.get_mut(worker) {
            entry.has_reported = true;
        }
    }

    /// Whether every worker that is alive in the state has told this leader what it holds.
    pub(crate) fn is_complete(&self, state: &State) -> bool {
        let seeing = self.lock();
        let has_reported = |id: &WorkerId| seeing.workers.get(id).is_some_and(|entry| entry.has_reported);
        state.workers().filter(|worker| worker.is_alive()).all(|worker| has_reported(&worker.id))
    }

    /// Any message but a heartbeat.
    pub(crate) fn heard(&self, worker: &WorkerId) {
        if let Some(entry) = self.lock().workers.get_mut(worker) {
            entry.seen.heard_at_ms = now_ms();
        }
    }

    /// A heartbeat. Wakes the leader when the list of drivers changed, or the worker begins to drain.
    pub(crate) fn heartbeat(&self, worker: &WorkerId, heartbeat: &v1::Heartbeat) {
        let now_ms = now_ms();
        let mut seeing = self.lock();
        let Some(entry) = seeing.workers.get_mut(worker) else { return };
        let before = (entry.seen.drivers.clone(), entry.seen.is_draining);
        report(&mut entry.seen, &heartbeat.drivers, now_ms);
        entry.seen.is_draining = heartbeat.is_draining;
        entry.figures = LiveWorker {
            last_heartbeat_ms: now_ms,
            memory_used_bytes: heartbeat.memory_used_bytes,
            disk_free_bytes: heartbeat.disk_free_bytes,
            running_tasks: heartbeat.running.len(),
            shuffle_bytes: heartbeat.shuffle_bytes,
            ..LiveWorker::default()
        };
        let has_changed = before.0 != entry.seen.drivers || before.1 != entry.seen.is_draining;
        drop(seeing);
        if has_changed {
            self.changed.notify_one();
        }
    }

    /// The open stream of a worker, and how long it waits at most when it drains.
    pub(crate) fn drainable(&self, worker: &WorkerId) -> Option<(Link, u64)> {
        let seeing = self.lock();
        let entry = seeing.workers.get(worker).filter(|entry| entry.seen.is_attached)?;
        Some((entry.link.clone(), entry.drain_timeout_ms))
    }

    /// The open stream of a worker that was not told on it that it may leave.
    pub(crate) fn unreleased(&self, worker: &WorkerId) -> Option<Link> {
        let seeing = self.lock();
        let entry = seeing.workers.get(worker).filter(|entry| entry.seen.is_attached && !entry.is_released)?;
        Some(entry.link.clone())
    }

    /// A worker was told that it may leave.
    pub(crate) fn released(&self, worker: &WorkerId) {
        if let Some(entry) = self.lock().workers.get_mut(worker) {
            entry.is_released = true;
        }
    }

    /// A driver was sent to a worker.
    pub(crate) fn sent(&self, worker: &WorkerId, driver: &DriverId, epoch: u64) {
        if let Some(entry) = self.lock().workers.get_mut(worker) {
            entry.seen.seen.insert(driver.clone(), Seen { epoch, at_ms: now_ms() });
        }
    }

    /// A driver has called.
    pub(crate) fn driver_called(&self, driver: &DriverId) {
        self.lock().calls.insert(driver.clone(), now_ms());
    }

    /// The open stream of a worker.
    pub(crate) fn link(&self, worker: &WorkerId) -> Option<Link> {
        let seeing = self.lock();
        seeing.workers.get(worker).filter(|entry| entry.seen.is_attached).map(|entry| entry.link.clone())
    }

    /// Whether a stream of this worker is open.
    pub(crate) fn is_attached(&self, worker: &WorkerId) -> bool {
        self.link(worker).is_some()
    }

    /// Takes out the workers that are not alive in the state, with their streams if these are open.
    pub(crate) fn take_lost(&self, state: &State) -> Vec<(WorkerId, Option<Link>)> {
        let mut seeing = self.lock();
        let is_lost = |id: &WorkerId| !state.worker(id).is_some_and(lake_master_core::Worker::is_alive);
        let lost: Vec<WorkerId> = seeing.workers.keys().filter(|id| is_lost(id)).cloned().collect();
        seeing.unreachable.retain(|id| !is_lost(id));
        let mut taken = Vec::new();
        for worker in lost {
            if let Some(entry) = seeing.workers.remove(&worker) {
                taken.push((worker, entry.seen.is_attached.then_some(entry.link)));
            }
        }
        taken
    }

    /// Drops what is remembered of drivers that no longer run.
    pub(crate) fn forget_drivers(&self, state: &State) {
        let mut seeing = self.lock();
        let runs = |driver: &DriverId| state.application_of(driver).is_some_and(|app| app.running().is_some());
        seeing.calls.retain(|driver, _| runs(driver));
        for entry in seeing.workers.values_mut() {
            entry.seen.seen.retain(|driver, _| runs(driver));
        }
    }

    /// What `decide` and `reconcile` look at.
    pub(crate) fn observed(&self, leading_since_ms: u64) -> Observed {
        let seeing = self.lock();
        Observed {
            now_ms: now_ms(),
            leading_since_ms,
            workers: seeing.workers.iter().map(|(id, entry)| (id.clone(), entry.seen.clone())).collect(),
            unreachable: seeing.unreachable.clone(),
            calls: seeing.calls.clone(),
            timeouts: self.timeouts,
        }
    }

    /// Momentary figures for people; cores come from the scheduler.
    pub(crate) fn live(&self) -> Live {
        let live = |entry: &Entry| LiveWorker { is_draining: entry.seen.is_draining, ..entry.figures };
        self.lock().workers.iter().map(|(id, entry)| (id.clone(), live(entry))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Seeing> {
        self.seeing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn report(seen: &mut ObservedWorker, drivers: &[v1::RunningDriver], now_ms: u64) {
    seen.heard_at_ms = now_ms;
    seen.reported_at_ms = now_ms;
    seen.drivers.clear();
    for driver in drivers {
        // An id that is not one cannot be ours.
        if let Ok(id) = driver.driver_id.parse::<DriverId>() {
            seen.seen.insert(id.clone(), Seen { epoch: driver.epoch, at_ms: now_ms });
            seen.drivers.insert(id, driver.epoch);
        }
    }
}
