//! What the masters agree on: ordered maps, counters, and the caps that keep it small. Pure.

use std::collections::{BTreeMap, VecDeque};

use lake_proto::{AppId, DriverId, SubmissionId, WorkerId};
use serde::{Deserialize, Serialize};

use crate::application::Application;
use crate::event::Event;
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
        let open = |application: &&Application| {
            application.options.job_name == job_name && application.phase.ended().is_none()
        };
        self.applications.values().filter(open).min_by_key(|application| application.queued_at)
    }

    /// The worker with this id.
    pub fn worker(&self, id: &WorkerId) -> Option<&Worker> {
        self.workers.get(id)
    }

    /// Memory that the drivers on this worker hold.
    pub fn memory_used_bytes(&self, worker: &WorkerId) -> u64 {
        self.drivers_on(worker).fold(0, |sum: u64, app| sum.saturating_add(app.driver_memory_bytes()))
    }

    /// Applications whose driver is on this worker now.
    pub fn drivers_on<'a>(&'a self, worker: &'a WorkerId) -> impl Iterator<Item = &'a Application> {
        self.applications
            .values()
            .filter(move |app| app.running().is_some_and(|attempt| attempt.worker.as_ref() == Some(worker)))
    }

    /// Files an application among the ended ones and drops the oldest above the cap.
    pub(crate) fn retire(&mut self, app: &AppId, events: &mut Vec<Event>) {
        if let Some(application) = self.applications.get_mut(app) {
            application.pipeline = None;
        }
        self.ended.push_back(app.clone());
        while self.ended.len() > MAX_ENDED_APPLICATIONS {
            let Some(oldest) = self.ended.pop_front() else { break };
            if let Some(forgotten) = self.applications.remove(&oldest) {
                self.by_driver.remove(&forgotten.driver);
                self.by_submission.remove(&forgotten.submission);
            }
            events.push(Event::Forgotten { app: oldest });
        }
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
