//! What must hold after every event, and at the end.

use std::collections::BTreeSet;

use lake_proto::{QueryId, WorkerId};

use super::{Running, Tally, World};
use crate::{Attempt, AttemptRef, Event, Launch, StageId};

impl World {
    /// Only what ran too long, what another attempt was faster than and what reads a stage that is not repeatable is ever
    /// told to end while its query goes on, and only once.
    pub(super) fn check_superseded(&mut self, attempt: &AttemptRef) {
        assert!(!self.machine.awaits(&attempt.query, attempt.attempt), "{attempt:?} is cancelled and awaited");
        let is_known = |running: &Running| running.launch.attempt == *attempt && running.cancelled;
        assert!(!self.running.iter().any(is_known), "{attempt:?} is cancelled twice");
        let key = (attempt.query.clone(), attempt.attempt);
        if self.overdue.contains(&key) {
            self.tally.overdue += 1;
            return;
        }
        let is_first = |((query, _), first): (&(QueryId, Attempt), &Attempt)| (query, first) == (&key.0, &key.1);
        if self.copies.iter().any(is_first) {
            self.tally.overtaken += 1;
            return;
        }
        if self.copies.contains_key(&key) {
            return;
        }
        self.tally.superseded += 1;
        let stages = &self.queries[&attempt.query].definition.stages;
        let mut at_risk: BTreeSet<StageId> = BTreeSet::new();
        for stage in stages {
            let reads = |input: &StageId| {
                at_risk.contains(input) || stages.iter().any(|other| other.id == *input && !other.is_repeatable)
            };
            if stage.inputs.iter().any(reads) {
                at_risk.insert(stage.id);
            }
        }
        assert!(at_risk.contains(&attempt.stage), "{attempt:?} reads nothing that could change");
    }

    /// The attempts that decide about their tasks.
    pub(super) fn awaited(&self) -> Vec<(AttemptRef, WorkerId)> {
        let workers = self.machine.workers().map(|view| view.worker);
        let held = workers.flat_map(|worker| {
            self.machine.attempts_on(&worker).map(|attempt| (attempt, worker.clone())).collect::<Vec<_>>()
        });
        held.filter(|(attempt, _)| self.machine.awaits(&attempt.query, attempt.attempt)).collect()
    }

    pub(in super::super) fn check(&self) {
        self.machine.ledger.audit();
        for running in &self.running {
            let AttemptRef { query, attempt, .. } = &running.launch.attempt;
            assert!(running.cancelled || self.machine.awaits(query, *attempt), "{:?} runs in vain", running.launch);
        }
        let awaited = self.awaited();
        for (attempt, worker) in &awaited {
            let beside: Vec<_> = awaited.iter().filter(|(other, _)| other.is_beside(attempt)).collect();
            assert!(beside.len() <= 1, "{attempt:?} runs beside {beside:?}");
            assert!(beside.iter().all(|(_, other)| other != worker), "{attempt:?} and {beside:?} share a worker");
        }
        for worker in self.machine.workers() {
            // Another query may have been given the cores of an attempt before that was taken over.
            let launched = worker.used - self.taken_over(|launch| launch.worker == worker.worker);
            assert!(launched <= worker.cores, "{worker:?} is overbooked");
            let real: u32 = self
                .running
                .iter()
                .filter(|running| running.launch.worker == worker.worker && !running.is_orphan)
                .map(|running| running.launch.cores)
                .sum();
            assert!(real <= worker.used, "{worker:?} runs more than is booked");
        }
        for (app, cap) in &self.caps {
            let of_app = |launch: &Launch| self.queries[&launch.attempt.query].definition.app == *app;
            let used = self.machine.ledger.used_by(app) - self.taken_over(of_app);
            assert!(*cap == 0 || used <= *cap, "{app} uses {used} cores of {cap}");
        }
    }

    /// Cores that are booked for attempts of earlier leaders.
    fn taken_over(&self, is_meant: impl Fn(&Launch) -> bool) -> u32 {
        let booked = self.adopted.iter().filter_map(|(query, attempt)| self.machine.booking(query, *attempt));
        booked.filter(|launch| is_meant(launch)).map(|launch| launch.cores).sum()
    }

    pub(super) fn check_end(mut self) -> Tally {
        assert_eq!(self.ended.len(), self.queries.len(), "not every query has ended");
        assert_eq!(self.retired, self.ended, "not every query has left");
        assert!(self.machine.ledger.is_empty());
        for app in self.caps.keys().cloned().collect::<Vec<_>>() {
            self.event(Event::ApplicationEnded { app });
        }
        assert!(!self.machine.has_applications());
        self.tally.leaders = u64::from(self.leaders);
        self.tally
    }
}

impl AttemptRef {
    /// Whether it is another attempt of the same task.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        let task = |attempt: &Self| (attempt.query.clone(), attempt.stage, attempt.task);
        task(self) == task(other) && self.attempt != other.attempt
    }
}
