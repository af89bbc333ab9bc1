//! What workers have of queries that no driver has attached to this leader. Pure.
//!
//! A leader that is new knows no query; the drivers come to it one by one. What their workers report meanwhile waits
//! here, for a while: what is not asked for by then is dropped there.

use std::collections::BTreeMap;
use std::time::Duration;

use lake_proto::v1::task_status::Outcome;
use lake_proto::{AppId, QueryId, WorkerId, v1};
use lake_scheduler_core::Attempt;
use tokio::time::Instant;

use crate::status;

/// Queries beyond this are not kept: their workers drop them at once, and they are run again.
const MAX_QUERIES: usize = 4_096;

/// Queries that wait for their drivers.
#[derive(Debug, Default)]
pub(crate) struct Stash {
    queries: BTreeMap<QueryId, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    app: String,
    until: Instant,
    shares: BTreeMap<WorkerId, Share>,
}

/// What one worker has of one query.
#[derive(Debug, Default)]
pub(crate) struct Share {
    pub(crate) done: BTreeMap<Attempt, v1::HeldOutput>,
    pub(crate) running: BTreeMap<Attempt, v1::HeldAttempt>,
}

/// How long queries wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// From the first report of a worker that has it.
    pub(crate) grace: Duration,
    /// When rows wait on workers to be fetched: a driver that was told where may be fetching them.
    pub(crate) retention: Duration,
}

impl Stash {
    pub(crate) fn is_empty(&self) -> bool {
        self.queries.is_empty()
    }

    /// Takes what a worker reports; what it reported of the query before is replaced. `false` when there is no room.
    pub(crate) fn hold(
        &mut self,
        worker: &WorkerId,
        id: &QueryId,
        held: v1::HeldQuery,
        patience: Patience,
        now: Instant,
    ) -> bool {
        if self.queries.len() >= MAX_QUERIES && !self.queries.contains_key(id) {
            return false;
        }
        let mut share = Share::default();
        let mut is_fetchable = false;
        for output in held.done {
            let Some(status) = &output.status else { continue };
            let Some(attempt) = status.task.as_ref().map(|task| Attempt(task.attempt)) else { continue };
            let waits = |outcome: &Outcome| matches!(outcome, Outcome::Done(done) if !done.ticket.is_empty());
            is_fetchable |= status.outcome.as_ref().is_some_and(waits);
            share.done.insert(attempt, output);
        }
        for attempt in held.running {
            let Some(number) = attempt.task.as_ref().map(|task| Attempt(task.attempt)) else { continue };
            // It may have ended while the report was put together.
            if !share.done.contains_key(&number) {
                share.running.insert(number, attempt);
            }
        }
        let until = now + if is_fetchable { patience.retention } else { patience.grace };
        let waiting = self.queries.entry(id.clone()).or_insert_with(|| Waiting {
            app: held.app_id,
            until,
            shares: BTreeMap::new(),
        });
        if is_fetchable {
            waiting.until = waiting.until.max(until);
        }
        waiting.shares.insert(worker.clone(), share);
        true
    }

    /// An attempt has ended whose query may be here.
    pub(crate) fn note(&mut self, worker: &WorkerId, status: &v1::TaskStatus) {
        let Some((id, attempt)) = status.task.as_ref().and_then(status::attempt) else { return };
        let share = self.queries.get_mut(&id).and_then(|waiting| waiting.shares.get_mut(worker));
        let Some(share) = share else { return };
        // One that was not reported as running is held already, or its lineage is not known.
        let Some(running) = share.running.remove(&attempt) else { return };
        if let Some(Outcome::Done(_)) = &status.outcome {
            let output = v1::HeldOutput { status: Some(status.clone()), lineage: running.lineage };
            share.done.insert(attempt, output);
        }
    }

    /// Whether the query waits here, and the worker has reported of it.
    pub(crate) fn knows(&self, query: &QueryId, worker: &WorkerId) -> bool {
        self.queries.get(query).is_some_and(|waiting| waiting.shares.contains_key(worker))
    }

    /// Whether a worker has anything of a query that waits.
    pub(crate) fn needs(&self, worker: &WorkerId) -> bool {
        let mut shares = self.queries.values().filter_map(|waiting| waiting.shares.get(worker));
        shares.any(|share| !share.done.is_empty() || !share.running.is_empty())
    }

    /// Takes a query out for its driver. Workers whose query of this name is another application's have nothing of it.
    pub(crate) fn take(&mut self, query: &QueryId, app: &AppId) -> BTreeMap<WorkerId, Share> {
        let Some(mut waiting) = self.queries.remove(query) else { return BTreeMap::new() };
        if waiting.app != app.as_str() {
            waiting.shares.values_mut().for_each(|share| *share = Share::default());
        }
        waiting.shares
    }

    /// The worker is gone with all that it had.
    pub(crate) fn lose(&mut self, worker: &WorkerId) {
        self.queries.retain(|_, waiting| {
            waiting.shares.remove(worker);
            !waiting.shares.is_empty()
        });
    }

    /// Takes out a query of `app` that is not wanted any more; the workers that are to drop it.
    pub(crate) fn give_up(&mut self, query: &QueryId, app: &AppId) -> Vec<WorkerId> {
        let is_its = self.queries.get(query).is_some_and(|waiting| waiting.app == app.as_str());
        let waiting = is_its.then(|| self.queries.remove(query)).flatten();
        waiting.map(|waiting| waiting.shares.into_keys().collect()).unwrap_or_default()
    }

    /// Takes out what has waited long enough, with the workers that are to drop it.
    pub(crate) fn expired(&mut self, now: Instant) -> Vec<(QueryId, Vec<WorkerId>)> {
        self.take_out(|waiting| waiting.until <= now)
    }

    /// Takes out the queries of an application that has ended, with the workers that are to drop them.
    pub(crate) fn of_app(&mut self, app: &AppId) -> Vec<(QueryId, Vec<WorkerId>)> {
        self.take_out(|waiting| waiting.app == app.as_str())
    }

    fn take_out(&mut self, is_meant: impl Fn(&Waiting) -> bool) -> Vec<(QueryId, Vec<WorkerId>)> {
        let meant = self.queries.iter().filter(|(_, waiting)| is_meant(waiting));
        let meant: Vec<QueryId> = meant.map(|(query, _)| query.clone()).collect();
        let mut taken = Vec::new();
        for query in meant {
            if let Some(waiting) = self.queries.remove(&query) {
                taken.push((query, waiting.shares.into_keys().collect()));
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience { grace: Duration::from_secs(60), retention: Duration::from_secs(600) };

    fn worker(number: u32) -> WorkerId {
        format!("worker-{number}").parse().unwrap()
    }

    fn query() -> QueryId {
        "q".parse().unwrap()
    }

    fn app(name: &str) -> AppId {
        name.parse().unwrap()
    }

    fn done(attempt: u64, ticket: &'static [u8]) -> v1::TaskStatus {
        let task = v1::TaskRef { query_id: "q".to_owned(), stage_id: 1, task_index: 0, attempt };
        let done = v1::TaskDone { ticket: ticket.into(), ..v1::TaskDone::default() };
        let outcome = Some(Outcome::Done(done));
        v1::TaskStatus { seq: 0, task: Some(task), outcome, metrics: None }
    }

    /// One output and one attempt that runs.
    fn held(ticket: &'static [u8]) -> v1::HeldQuery {
        let running = v1::HeldAttempt { task: done(2, b"").task, cores: 1, lineage: 7 };
        v1::HeldQuery {
            query_id: "q".to_owned(),
            app_id: "app-1".to_owned(),
            done: vec![v1::HeldOutput { status: Some(done(1, ticket)), lineage: 7 }],
            running: vec![running],
        }
    }

    #[test]
    fn what_ends_meanwhile_is_held_with_its_lineage_or_forgotten() {
        let mut stash = Stash::default();
        assert!(stash.hold(&worker(1), &query(), held(b""), PATIENCE, Instant::now()));
        let failed = v1::TaskStatus { outcome: None, ..done(2, b"") };
        stash.note(&worker(2), &failed);
        assert!(stash.knows(&query(), &worker(1)) && !stash.knows(&query(), &worker(2)));
        stash.note(&worker(1), &done(2, b""));
        stash.note(&worker(1), &done(3, b""));
        let shares = stash.take(&query(), &app("app-1"));
        let share = shares.get(&worker(1)).unwrap();
        let held: Vec<(u64, u64)> = share.done.iter().map(|(attempt, held)| (attempt.0, held.lineage)).collect();
        assert_eq!(held, [(1, 7), (2, 7)], "of attempt 3 nothing is known");
        assert!(share.running.is_empty() && stash.is_empty());

        stash.hold(&worker(1), &query(), self::held(b""), PATIENCE, Instant::now());
        stash.note(&worker(1), &failed);
        let shares = stash.take(&query(), &app("app-1"));
        assert_eq!(shares.get(&worker(1)).map(|share| (share.done.len(), share.running.len())), Some((1, 0)));
    }

    #[test]
    fn what_nobody_asks_for_is_given_back_after_the_grace_and_results_later() {
        let mut stash = Stash::default();
        stash.hold(&worker(1), &query(), held(b""), PATIENCE, Instant::now());
        assert!(stash.needs(&worker(1)));
        assert!(stash.expired(Instant::now()).is_empty());
        let late = Instant::now() + Duration::from_secs(61);
        stash.hold(&worker(2), &query(), held(b"rows"), PATIENCE, Instant::now());
        assert!(stash.expired(late).is_empty(), "somebody may be fetching the rows");
        let expired = stash.expired(late + PATIENCE.retention);
        assert_eq!(expired, [(query(), vec![worker(1), worker(2)])]);
    }

    #[test]
    fn only_the_application_that_ran_a_query_gets_at_it() {
        let mut stash = Stash::default();
        stash.hold(&worker(1), &query(), held(b""), PATIENCE, Instant::now());
        assert!(stash.give_up(&query(), &app("app-2")).is_empty());
        assert!(stash.of_app(&app("app-2")).is_empty());
        let shares = stash.take(&query(), &app("app-2"));
        assert!(shares.get(&worker(1)).is_some_and(|share| share.done.is_empty() && share.running.is_empty()));
        stash.hold(&worker(1), &query(), held(b""), PATIENCE, Instant::now());
        stash.hold(&worker(2), &query(), held(b""), PATIENCE, Instant::now());
        stash.lose(&worker(2));
        assert_eq!(stash.give_up(&query(), &app("app-1")), [worker(1)]);
    }
}
