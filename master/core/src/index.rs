//! What can be asked of many applications without looking at all of them. Pure.
//!
//! Derived from the applications and nothing else: it is neither in snapshots nor in digests, and is made anew when a
//! state is decoded. Only [`State`](crate::State) changes it, with every move of an application.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::ops::Bound;

use lake_proto::{AppId, WorkerId};

use crate::application::Application;

/// Places in the queue are the log indexes of the submissions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Index {
    /// All applications.
    order: BTreeMap<u64, AppId>,
    /// Those that have not ended, by job. The first one of a job is the only one that may run.
    runs: BTreeMap<String, BTreeMap<u64, Run>>,
    /// Those that wait for a worker and for no earlier run, by driver memory.
    placeable: BTreeMap<u64, BTreeMap<u64, AppId>>,
    waiting: BTreeMap<u64, AppId>,
    running: BTreeMap<u64, AppId>,
    on_workers: BTreeMap<WorkerId, Load>,
    in_states: BTreeMap<&'static str, usize>,
    pipeline_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    app: AppId,
    driver_memory_bytes: u64,
    is_waiting: bool,
}

/// The drivers of one worker.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Load {
    apps: BTreeSet<AppId>,
    memory_bytes: u64,
}

impl Index {
    pub(crate) fn of<'a>(applications: impl Iterator<Item = &'a Application>) -> Self {
        let mut index = Self::default();
        for application in applications {
            index.add(application);
        }
        index
    }

    pub(crate) fn add(&mut self, application: &Application) {
        let (at, app) = (application.queued_at, &application.id);
        self.order.insert(at, app.clone());
        *self.in_states.entry(application.phase.name()).or_default() += 1;
        self.pipeline_bytes = self.pipeline_bytes.saturating_add(pipeline_bytes(application));
        if application.is_waiting() {
            self.waiting.insert(at, app.clone());
        }
        if let Some(attempt) = application.running() {
            self.running.insert(at, app.clone());
            if let Some(worker) = &attempt.worker {
                let load = self.on_workers.entry(worker.clone()).or_default();
                load.apps.insert(app.clone());
                load.memory_bytes = load.memory_bytes.saturating_add(application.driver_memory_bytes());
            }
        }
        if application.phase.ended().is_none() {
            let driver_memory_bytes = application.driver_memory_bytes();
            let run = Run { app: app.clone(), driver_memory_bytes, is_waiting: application.is_waiting() };
            self.change_runs(&application.options.job_name, |runs| drop(runs.insert(at, run)));
        }
    }

    /// Takes out an application that looks as it did when it was added.
    pub(crate) fn remove(&mut self, application: &Application) {
        let at = application.queued_at;
        self.order.remove(&at);
        self.waiting.remove(&at);
        self.running.remove(&at);
        self.pipeline_bytes = self.pipeline_bytes.saturating_sub(pipeline_bytes(application));
        take_one(&mut self.in_states, application.phase.name());
        if let Some(worker) = application.running().and_then(|attempt| attempt.worker.as_ref())
            && let Some(load) = self.on_workers.get_mut(worker)
        {
            load.apps.remove(&application.id);
            load.memory_bytes = load.memory_bytes.saturating_sub(application.driver_memory_bytes());
            if load.apps.is_empty() {
                self.on_workers.remove(worker);
            }
        }
        if application.phase.ended().is_none() {
            self.change_runs(&application.options.job_name, |runs| drop(runs.remove(&at)));
        }
    }

    /// The first run of the job may be another one afterwards, and so another one may be placed.
    fn change_runs(&mut self, job_name: &str, change: impl FnOnce(&mut BTreeMap<u64, Run>)) {
        let mut runs = self.runs.remove(job_name).unwrap_or_default();
        let before = waiting_head(&runs);
        change(&mut runs);
        let after = waiting_head(&runs);
        if before != after {
            if let Some((at, run)) = before
                && let Some(same_size) = self.placeable.get_mut(&run.driver_memory_bytes)
            {
                same_size.remove(&at);
                if same_size.is_empty() {
                    self.placeable.remove(&run.driver_memory_bytes);
                }
            }
            if let Some((at, run)) = after {
                self.placeable.entry(run.driver_memory_bytes).or_default().insert(at, run.app);
            }
        }
        if !runs.is_empty() {
            self.runs.insert(job_name.to_owned(), runs);
        }
    }

    /// All applications that were queued before `at`, the newest first.
    pub(crate) fn newest_before(&self, at: u64) -> impl Iterator<Item = &AppId> {
        self.order.range(..at).rev().map(|(_, app)| app)
    }

    /// Of the runs of a job that have not ended, the one that was submitted first.
    pub(crate) fn first_run(&self, job_name: &str) -> Option<&AppId> {
        self.runs.get(job_name)?.values().next().map(|run| &run.app)
    }

    /// Those that may be placed on a worker of this size, in the order of the queue. Costs what is taken of it, not
    /// what waits.
    pub(crate) fn placeable(&self, largest_bytes: u64) -> impl Iterator<Item = &AppId> {
        let mut heads: BinaryHeap<Reverse<(u64, u64)>> = BinaryHeap::new();
        for (size, same_size) in self.placeable.range(..=largest_bytes) {
            heads.extend(same_size.keys().next().map(|at| Reverse((*at, *size))));
        }
        std::iter::from_fn(move || {
            let Reverse((at, size)) = heads.pop()?;
            let same_size = self.placeable.get(&size)?;
            let next = same_size.range((Bound::Excluded(at), Bound::Unbounded)).next();
            heads.extend(next.map(|(at, _)| Reverse((*at, size))));
            same_size.get(&at)
        })
    }

    /// Those that wait for a worker or for an earlier run, in the order of the queue.
    pub(crate) fn waiting(&self) -> impl ExactSizeIterator<Item = &AppId> {
        self.waiting.values()
    }

    /// Those that have a driver, in the order of the queue.
    pub(crate) fn running(&self) -> impl DoubleEndedIterator<Item = &AppId> {
        self.running.values()
    }

    pub(crate) fn on_worker(&self, worker: &WorkerId) -> impl Iterator<Item = &AppId> {
        self.on_workers.get(worker).into_iter().flat_map(|load| &load.apps)
    }

    pub(crate) fn count_on_worker(&self, worker: &WorkerId) -> usize {
        self.on_workers.get(worker).map_or(0, |load| load.apps.len())
    }

    pub(crate) fn memory_used_bytes(&self, worker: &WorkerId) -> u64 {
        self.on_workers.get(worker).map_or(0, |load| load.memory_bytes)
    }

    /// How many there are, by Spark's name of the state.
    pub(crate) const fn in_states(&self) -> &BTreeMap<&'static str, usize> {
        &self.in_states
    }

    /// Pipelines that are kept, together.
    pub(crate) const fn pipeline_bytes(&self) -> u64 {
        self.pipeline_bytes
    }
}

fn waiting_head(runs: &BTreeMap<u64, Run>) -> Option<(u64, Run)> {
    runs.first_key_value().filter(|(_, run)| run.is_waiting).map(|(at, run)| (*at, run.clone()))
}

fn pipeline_bytes(application: &Application) -> u64 {
    let length = application.pipeline.as_ref().map_or(0, String::len);
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn take_one(counts: &mut BTreeMap<&'static str, usize>, name: &'static str) {
    if let Some(count) = counts.get_mut(name) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(name);
        }
    }
}
