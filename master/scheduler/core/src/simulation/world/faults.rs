//! What goes wrong, and workers that come and go.

use std::time::Duration;

use lake_proto::{ErrorClass, Fault, QueryId, WorkerId};

use super::{Running, World};
use crate::{Attempt, AttemptRef, Event, Outcome};

impl World {
    pub(super) fn fault(&mut self) {
        match self.random.below(11) {
            0..=2 => {
                let victims: Vec<WorkerId> = self.workers.keys().cloned().collect();
                if victims.is_empty() {
                    return;
                }
                self.faults += 1;
                let victim = victims[self.random.index(victims.len())].clone();
                self.kill(&victim);
            }
            3 => self.join(),
            4 => {
                let victims: Vec<WorkerId> = self.workers.keys().cloned().collect();
                if !victims.is_empty() {
                    let worker = victims[self.random.index(victims.len())].clone();
                    self.event(Event::WorkerDraining { worker });
                }
            }
            5..=6 => {
                let files: Vec<(QueryId, Attempt)> = self.files.keys().cloned().collect();
                if !files.is_empty() {
                    self.faults += 1;
                    self.files.remove(&files[self.random.index(files.len())]);
                }
            }
            7 => {
                let ids: Vec<QueryId> = self.queries.keys().cloned().collect();
                if !ids.is_empty() {
                    let query = ids[self.random.index(ids.len())].clone();
                    self.queries.get_mut(&query).unwrap().cancelled = true;
                    self.event(Event::QueryCancelled { query });
                }
            }
            8 => {
                if let Some(attempt) = self.any_attempt() {
                    self.faults += 1;
                    let AttemptRef { query, attempt, .. } = attempt;
                    self.overdue.insert((query.clone(), attempt));
                    let limit = Duration::from_secs(1);
                    self.event(Event::AttemptOverdue { query: query.clone(), attempt, limit });
                    assert!(!self.machine.awaits(&query, attempt));
                }
            }
            // A report from nowhere.
            9 => {
                let worker = format!("worker-{}", self.random.below(6)).parse().unwrap();
                let query = format!("query-{}", self.random.below(4)).parse().unwrap();
                let attempt = Attempt(1_000_000 + self.random.below(10));
                self.event(Event::AttemptEnded { worker, query, attempt, outcome: Outcome::Cancelled });
            }
            _ => {
                let index = self.running.len();
                if index > 0 {
                    let index = self.random.index(index);
                    let attempt = self.running.swap_remove(index);
                    self.faults += 1;
                    let fault = if self.random.percent(25) {
                        self.queries.get_mut(&attempt.launch.attempt.query).unwrap().user_error = true;
                        Outcome::Failed(Fault::new(ErrorClass::InvalidJob, "sql-runtime", "the user's fault"))
                    } else {
                        Outcome::FailedTransiently(Fault::new(ErrorClass::Unavailable, "store", "for a while"))
                    };
                    self.report(&attempt.launch, fault);
                }
            }
        }
    }

    pub(in super::super) fn join(&mut self) {
        let worker: WorkerId = format!("worker-{}", self.next_worker).parse().unwrap();
        self.next_worker += 1;
        let cores = 1 + u32::try_from(self.random.below(3)).unwrap();
        self.workers.insert(worker.clone(), cores);
        self.event(Event::WorkerJoined { worker, cores, is_draining: false });
    }

    pub(in super::super) fn kill(&mut self, worker: &WorkerId) {
        self.workers.remove(worker);
        let (dying, others): (Vec<Running>, Vec<Running>) =
            std::mem::take(&mut self.running).into_iter().partition(|attempt| attempt.launch.worker == *worker);
        self.running = others;
        // Some of its attempts still end and report it, before the loss is noticed or after.
        for attempt in dying {
            if self.random.percent(30) {
                self.work(attempt);
            }
        }
        self.files.retain(|_, (holder, _)| holder != worker);
        self.held.retain(|held| held.worker != *worker);
        if self.random.percent(50) {
            self.event(Event::WorkerLost { worker: worker.clone() });
        } else {
            self.in_flight.push(Event::WorkerLost { worker: worker.clone() });
        }
    }

    /// A draining worker that is not needed leaves with its files. That is no fault: no query may notice it.
    pub(super) fn release(&mut self) {
        let draining = self.machine.workers().filter(|worker| worker.is_draining).map(|worker| worker.worker);
        let leaving = draining.into_iter().find(|worker| !self.machine.is_needed(worker));
        let Some(worker) = leaving.filter(|worker| self.workers.contains_key(worker)) else { return };
        self.running.retain(|running| !running.is_orphan || running.launch.worker != worker);
        assert!(self.running.iter().all(|running| running.launch.worker != worker), "{worker} left with an attempt");
        self.workers.remove(&worker);
        self.held.retain(|held| held.worker != worker);
        self.files.retain(|_, (holder, _)| *holder != worker);
        let actions = self.machine.on_event(self.now, Event::WorkerLost { worker });
        assert!(actions.is_empty(), "a worker that was not needed is missed: {actions:?}");
        self.check();
    }

    /// Some attempts are said to straggle, also such as have been superseded. That is no fault: nothing may fail of it.
    pub(super) fn speculate(&mut self) {
        let Some(AttemptRef { query, .. }) = self.any_attempt() else { return };
        let running: Vec<AttemptRef> = self.running.iter().map(|running| running.launch.attempt.clone()).collect();
        let slow: Vec<AttemptRef> = running.into_iter().filter(|attempt| attempt.query == query).collect();
        self.slow = slow.iter().map(|attempt| (query.clone(), attempt.stage, attempt.task)).collect();
        let attempts = slow.iter().map(|attempt| attempt.attempt).collect();
        self.event(Event::Stragglers { query, attempts });
        self.slow.clear();
    }

    pub(super) fn any_attempt(&mut self) -> Option<AttemptRef> {
        if self.running.is_empty() {
            return None;
        }
        let index = self.random.index(self.running.len());
        Some(self.running[index].launch.attempt.clone())
    }
}
