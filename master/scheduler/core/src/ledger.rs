//! Who holds which cores. Pure.
//!
//! A booking is made when an attempt is launched and removed once. What is not in the ledger does not run: that is
//! how late, repeated and invented reports are told from real ones.

use std::collections::BTreeMap;

use lake_proto::{AppId, QueryId, WorkerId};

use crate::event::Action;
use crate::ids::{Attempt, AttemptRef, StageId, TaskIndex};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Booking {
    pub(crate) worker: WorkerId,
    pub(crate) app: AppId,
    pub(crate) stage: StageId,
    pub(crate) task: TaskIndex,
    pub(crate) cores: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    bookings: BTreeMap<(QueryId, Attempt), Booking>,
    by_worker: BTreeMap<WorkerId, u32>,
    by_app: BTreeMap<AppId, u32>,
}

impl Ledger {
    pub(crate) fn book(&mut self, attempt: &AttemptRef, worker: &WorkerId, app: &AppId, cores: u32) {
        let booking =
            Booking { worker: worker.clone(), app: app.clone(), stage: attempt.stage, task: attempt.task, cores };
        let previous = self.bookings.insert((attempt.query.clone(), attempt.attempt), booking);
        debug_assert!(previous.is_none(), "attempt {attempt:?} was booked twice");
        *self.by_worker.entry(worker.clone()).or_default() += cores;
        *self.by_app.entry(app.clone()).or_default() += cores;
    }

    /// Frees what the attempt holds on this worker; nothing when it holds nothing there.
    pub(crate) fn release(&mut self, query: &QueryId, attempt: Attempt, worker: &WorkerId) -> Option<Booking> {
        let key = (query.clone(), attempt);
        if self.bookings.get(&key).is_none_or(|booking| booking.worker != *worker) {
            return None;
        }
        let booking = self.bookings.remove(&key)?;
        subtract(&mut self.by_worker, &booking.worker, booking.cores);
        subtract(&mut self.by_app, &booking.app, booking.cores);
        Some(booking)
    }

    /// Frees everything on a worker.
    pub(crate) fn release_worker(&mut self, worker: &WorkerId) {
        let attempts: Vec<(QueryId, Attempt)> =
            self.on_worker(worker).map(|(attempt, _)| (attempt.query, attempt.attempt)).collect();
        for (query, attempt) in attempts {
            self.release(&query, attempt, worker);
        }
    }

    pub(crate) fn used_on(&self, worker: &WorkerId) -> u32 {
        self.by_worker.get(worker).copied().unwrap_or(0)
    }

    pub(crate) fn used_by(&self, app: &AppId) -> u32 {
        self.by_app.get(app).copied().unwrap_or(0)
    }

    pub(crate) fn get(&self, query: &QueryId, attempt: Attempt) -> Option<&Booking> {
        self.bookings.get(&(query.clone(), attempt))
    }

    /// What tells the worker of an attempt that holds cores to end it. They stay booked.
    pub(crate) fn cancel<O>(&self, query: &QueryId, attempt: Attempt) -> Option<Action<O>> {
        let booking = self.get(query, attempt)?;
        let attempt = AttemptRef { query: query.clone(), stage: booking.stage, task: booking.task, attempt };
        Some(Action::Cancel { worker: booking.worker.clone(), attempt })
    }

    /// The attempts of a query that hold cores.
    pub(crate) fn of_query(&self, query: &QueryId) -> impl Iterator<Item = (AttemptRef, &Booking)> {
        let first = (query.clone(), Attempt(0));
        let last = (query.clone(), Attempt(u64::MAX));
        self.bookings.range(first..=last).map(named)
    }

    /// The attempts on a worker that hold cores.
    pub(crate) fn on_worker(&self, worker: &WorkerId) -> impl Iterator<Item = (AttemptRef, &Booking)> {
        self.bookings.iter().filter(move |(_, booking)| booking.worker == *worker).map(named)
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.bookings.is_empty() && self.by_worker.is_empty() && self.by_app.is_empty()
    }

    /// The sums, counted anew.
    #[cfg(test)]
    pub(crate) fn audit(&self) {
        let mut by_worker: BTreeMap<WorkerId, u32> = BTreeMap::new();
        let mut by_app: BTreeMap<AppId, u32> = BTreeMap::new();
        for booking in self.bookings.values() {
            *by_worker.entry(booking.worker.clone()).or_default() += booking.cores;
            *by_app.entry(booking.app.clone()).or_default() += booking.cores;
        }
        assert_eq!(by_worker, self.by_worker);
        assert_eq!(by_app, self.by_app);
    }
}

fn named<'a>(((query, attempt), booking): (&'a (QueryId, Attempt), &'a Booking)) -> (AttemptRef, &'a Booking) {
    let attempt = AttemptRef { query: query.clone(), stage: booking.stage, task: booking.task, attempt: *attempt };
    (attempt, booking)
}

fn subtract<K: Ord>(sums: &mut BTreeMap<K, u32>, key: &K, cores: u32) {
    if let Some(sum) = sums.get_mut(key) {
        debug_assert!(*sum >= cores, "more cores are freed than were booked");
        *sum = sum.saturating_sub(cores);
        if *sum == 0 {
            sums.remove(key);
        }
    }
}
