//! The cluster at a glance: how much of it is used, what runs, what has ended, who serves. Pure.

mod applications;
mod members;
mod usage;

use std::collections::BTreeMap;

use lake_master_core::view::{ApplicationView, WorkerView};
use lake_proto::quantity::{bytes, count};
use lake_proto::v1;

pub(crate) use self::members::{cores as worker_cores, is_here, last_sign, memory as worker_memory};
use crate::frame::{Page, Place};
use crate::html::{Html, element, text, tiles};

/// Applications in each table of the page; the history has all.
pub const SHOWN: usize = 100;
const ACTIVE: [&str; 3] = ["RUNNING", "SUBMITTED", "RELAUNCHING"];
const COMPLETED: [&str; 4] = ["FINISHED", "FAILED", "KILLED", "ERROR"];

/// What the page of the cluster shows.
#[derive(Debug, Clone)]
pub struct Cluster<'a> {
    /// The group of masters.
    pub masters: &'a [MasterLine],
    /// Its term.
    pub term: u64,
    /// Every worker that is kept, as `lake_master_core::view::workers` orders them.
    pub workers: &'a [WorkerView],
    /// How many applications there are, by state.
    pub in_states: &'a BTreeMap<&'static str, usize>,
    /// [`SHOWN`] at most of those that have not ended.
    pub active: &'a [Active],
    /// [`SHOWN`] at most of those that have.
    pub completed: &'a [ApplicationView],
    /// Queries that run now.
    pub running_queries: usize,
    /// How the cluster was used, the oldest first.
    pub samples: &'a [Sample],
    /// Now.
    pub now_ms: u64,
}

/// One master of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterLine {
    /// Its number.
    pub id: u64,
    /// `host:port`.
    pub address: String,
    /// leader, voter or learner.
    pub role: &'static str,
    /// Entries of the log that it lacks; `None` of the leader.
    pub lag: Option<u64>,
    /// The leader hears it.
    pub is_active: bool,
}

/// An application that has not ended, with what its driver has told of its steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Active {
    /// As the masters know it.
    pub application: ApplicationView,
    /// Every step that its driver has told of.
    pub steps: Vec<v1::StepProgress>,
}

/// What the living workers offered and what of it was used, at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sample {
    /// When.
    pub at_ms: u64,
    /// Cores.
    pub cores_total: u64,
    /// Cores that tasks held.
    pub cores_used: u64,
    /// Memory.
    pub memory_total_bytes: u64,
    /// Memory that drivers and tasks held.
    pub memory_used_bytes: u64,
}

impl Sample {
    /// Of these workers.
    pub fn of(workers: &[WorkerView], at_ms: u64) -> Self {
        let mut sample = Self { at_ms, ..Self::default() };
        // What is used and what is offered is of the same workers: those that take work.
        for worker in workers.iter().filter(|worker| worker.state == "ALIVE") {
            sample.cores_total += u64::from(worker.cores);
            sample.cores_used += u64::from(worker.cores_used);
            sample.memory_total_bytes = sample.memory_total_bytes.saturating_add(worker.memory_bytes);
            sample.memory_used_bytes = sample.memory_used_bytes.saturating_add(memory_used(worker));
        }
        sample
    }
}

fn memory_used(worker: &WorkerView) -> u64 {
    worker.driver_memory_bytes.saturating_add(worker.task_memory_bytes)
}

/// The page.
pub fn cluster(cluster: &Cluster<'_>) -> Page {
    let body = [
        element("h1", &[], &[text("Cluster")]),
        cluster.figures(),
        usage::section(cluster.samples, cluster.now_ms),
        cluster.running(),
        cluster.workers(),
        cluster.masters(),
        cluster.ended(),
    ];
    Page::top("Cluster".to_owned(), Place::Cluster, body.into_iter().collect())
}

impl Cluster<'_> {
    fn count(&self, states: &[&str]) -> usize {
        states.iter().filter_map(|state| self.in_states.get(*state)).sum()
    }

    fn figures(&self) -> Html {
        let now = Sample::of(self.workers, self.now_ms);
        let alive = self.workers.iter().filter(|worker| worker.state == "ALIVE").count();
        let tasks: usize = self.workers.iter().map(|worker| worker.running_tasks).sum();
        let figure = |number: usize| count(u64::try_from(number).unwrap_or(u64::MAX));
        tiles(vec![
            (figure(alive), "workers alive".to_owned()),
            (format!("{} / {}", now.cores_used, now.cores_total), "cores in use".to_owned()),
            (bytes(now.memory_used_bytes), format!("of {} memory in use", bytes(now.memory_total_bytes))),
            (figure(self.count(&["RUNNING"])), "applications running".to_owned()),
            (figure(self.count(&["SUBMITTED", "RELAUNCHING"])), "applications waiting".to_owned()),
            (figure(self.running_queries), "queries running".to_owned()),
            (figure(tasks), "tasks running".to_owned()),
        ])
    }
}

#[cfg(test)]
mod tests;
