//! What the masters agree on: ordered maps, counters, and the caps that keep it small. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lake_proto::{AppId, DriverId, SubmissionId, WorkerId};
use serde::{Deserialize, Serialize};

use crate::application::{Application, Phase};
use crate::event::Event;
use crate::index::Index;
use crate::worker::Worker;

/// Ended applications that are kept; older ones live only in the history.
pub const MAX_ENDED_APPLICATIONS: usize = 1_000;
/// Workers that were lost or have left and are kept for people to see.
pub const MAX_GONE_WORKERS: usize = 100;

/// The replicated state. Only [`crate::apply()`] changes it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct State {
    /// Index of the last command that was applied.
    pub(crate) applied: u64,
    /// The latest time seen in a command: clocks of leaders may step back, this does not.
    pub(crate) clock_ms: u64,
    /// Applications accepted so far; the number in their ids.
    pub(crate) accepted: u64,
    pub(crate) applications: BTreeMap<AppId, Application>,
    pub(crate) by_driver: BTreeMap<DriverId, AppId>,
    pub(crate) by_submission: BTreeMap<SubmissionId, AppId>,
    /// Ended applications, the oldest first.
    pub(crate) ended: VecDeque<AppId>,
    /// Last run number by job name.
    pub(crate) run_numbers: BTreeMap<String, u64>,
    pub(crate) workers: BTreeMap<WorkerId, Worker>,
    /// Follows from the applications; [`Self::reindexed`] makes it.
    #[serde(skip)]
    pub(crate) index: Index,
}

impl State {
    /// Index of the last command that was applied.
    pub const fn applied(&self) -> u64 {
        self.applied
    }

    /// Every application, by id.
    pub fn applications(&self) -> impl DoubleEndedIterator<Item = &Application> {
        self.applications.values()
    }

    /// Applications that were queued before this log index, the newest first.
    pub(crate) fn newest_before(&self, index: u64) -> impl Iterator<Item = &Application> {
        self.index.newest_before(index).filter_map(|app| self.applications.get(app))
    }

    /// Every worker, by id; those that are gone too, for a while.
    pub fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.workers.values()
    }

    /// The application with this id.
    pub fn application(&self, id: &AppId) -> Option<&Application> {
        self.applications.get(id)
    }

    /// The application of this driver.
    pub fn application_of(&self, driver: &DriverId) -> Option<&Application> {
        self.applications.get(self.by_driver.get(driver)?)
    }

    /// The application with this application, driver or submission id.
    pub fn find(&self, id: &str) -> Option<&Application> {
        let by_app = id.parse::<AppId>().ok().filter(|app| self.applications.contains_key(app));
        let by_driver = || self.by_driver.get(&id.parse::<DriverId>().ok()?).cloned();
        let by_submission = || self.by_submission.get(&id.parse::<SubmissionId>().ok()?).cloned();
        self.applications.get(&by_app.or_else(by_driver).or_else(by_submission)?)
    }

    /// Of the runs of a job that have not ended, the one that was submitted first: the only one that may run. Two at
    /// once could not both be exactly once, since a table keeps one transaction number per job.
    pub(crate) fn first_run(&self, job_name: &str) -> Option<&Application> {
        self.applications.get(self.index.first_run(job_name)?)
    }

    /// Applications that have a driver, in the order of the queue.
    pub fn running(&self) -> impl DoubleEndedIterator<Item = &Application> {
        self.index.running().filter_map(|app| self.applications.get(app))
    }

    /// Applications that wait for a worker or for an earlier run of their job, in the order of the queue.
    pub fn waiting(&self) -> impl Iterator<Item = &Application> {
        self.index.waiting().filter_map(|app| self.applications.get(app))
    }

    /// Applications that have ended and are kept, the last one first.
    pub fn latest_ended(&self) -> impl Iterator<Item = &Application> {
        self.ended.iter().rev().filter_map(|app| self.applications.get(app))
    }

    /// Applications that have ended and are kept, the oldest first.
    pub fn ended(&self) -> impl ExactSizeIterator<Item = &AppId> {
        self.ended.iter()
    }

    /// How many wait.
    pub fn waiting_count(&self) -> usize {
        self.index.waiting().len()
    }

    /// Applications that may be placed on a worker of this size, in the order of the queue.
    pub(crate) fn placeable(&self, largest_bytes: u64) -> impl Iterator<Item = &Application> {
        self.index.placeable(largest_bytes).filter_map(|app| self.applications.get(app))
    }

    /// The worker with this id.
    pub fn worker(&self, id: &WorkerId) -> Option<&Worker> {
        self.workers.get(id)
    }

    /// Memory that the drivers on this worker hold.
    pub fn memory_used_bytes(&self, worker: &WorkerId) -> u64 {
        self.index.memory_used_bytes(worker)
    }

    /// Applications whose driver is on this worker now.
    pub fn drivers_on(&self, worker: &WorkerId) -> impl Iterator<Item = &Application> {
        self.index.on_worker(worker).filter_map(|app| self.applications.get(app))
    }

    /// How many they are.
    pub fn count_drivers_on(&self, worker: &WorkerId) -> usize {
        self.index.count_on_worker(worker)
    }

    /// The state with its index, which does not travel.
    pub(crate) fn reindexed(self) -> Self {
        Self { index: Index::of(self.applications.values()), ..self }
    }

    /// Takes in a new application.
    pub(crate) fn insert(&mut self, application: Application) {
        self.index.add(&application);
        self.by_driver.insert(application.driver.clone(), application.id.clone());
        self.by_submission.insert(application.submission.clone(), application.id.clone());
        self.applications.insert(application.id.clone(), application);
    }

    /// Moves an application to another phase: nothing else may, because the index follows here. The pipeline of one
    /// that has ended is not needed any more.
    pub(crate) fn enter(&mut self, app: &AppId, phase: Phase) {
        let Some(application) = self.applications.get_mut(app) else { return };
        self.index.remove(application);
        if phase.ended().is_some() {
            application.pipeline = None;
        }
        application.phase = phase;
        self.index.add(application);
    }

    /// Files an application among the ended ones and drops the oldest above the cap.
    pub(crate) fn retire(&mut self, app: &AppId, events: &mut Vec<Event>) {
        self.ended.push_back(app.clone());
        while self.ended.len() > MAX_ENDED_APPLICATIONS {
            let Some(oldest) = self.ended.pop_front() else { break };
            self.drop_ended(oldest, events);
        }
    }

    /// Drops those of the applications that have ended.
    pub(crate) fn forget(&mut self, apps: &[AppId], events: &mut Vec<Event>) {
        let apps: BTreeSet<&AppId> = apps.iter().collect();
        let (gone, kept): (VecDeque<AppId>, VecDeque<AppId>) =
            std::mem::take(&mut self.ended).into_iter().partition(|app| apps.contains(app));
        self.ended = kept;
        for app in gone {
            self.drop_ended(app, events);
        }
    }

    /// An application that is no longer among [`Self::ended`].
    fn drop_ended(&mut self, app: AppId, events: &mut Vec<Event>) {
        if let Some(forgotten) = self.applications.remove(&app) {
            self.index.remove(&forgotten);
            self.by_driver.remove(&forgotten.driver);
            self.by_submission.remove(&forgotten.submission);
        }
        events.push(Event::Forgotten { app });
    }

    /// Drops the workers above the cap that are gone, the earliest first.
    pub(crate) fn forget_gone_workers(&mut self) {
        let mut gone: Vec<(u64, WorkerId)> = Vec::new();
        for worker in self.workers.values() {
            if let Some(at_ms) = worker.state.gone_at_ms() {
                gone.push((at_ms, worker.id.clone()));
            }
        }
        gone.sort();
        let surplus = gone.len().saturating_sub(MAX_GONE_WORKERS);
        for (_, worker) in gone.into_iter().take(surplus) {
            self.workers.remove(&worker);
        }
    }
}
