//! All queries together: events in, actions out. Pure.

use std::collections::BTreeMap;
use std::mem;
use std::time::Duration;

use lake_proto::{AppId, ErrorClass, Fault, QueryId, WorkerId};

use crate::event::{Action, Event, Launch, Outcome, QueryDefinition, QueryEnd};
use crate::fleet::{Fleet, Standing};
use crate::ids::{Attempt, AttemptRef};
use crate::ledger::Ledger;
use crate::placement::Round;
use crate::query::{Phase, Query};
use crate::retry::{Clock, TASK_PAUSE, Verdict};

mod slow;

/// Every query of every application, the workers, and the cores in use.
#[derive(Debug)]
pub struct Queries<O> {
    pub(crate) fleet: Fleet,
    pub(crate) ledger: Ledger,
    applications: BTreeMap<AppId, Application>,
    /// In line: by application in the order of their first query, then by query.
    pub(crate) queries: BTreeMap<Turn, Query<O>>,
    turns: BTreeMap<QueryId, Turn>,
    next_turn: u64,
    clock: Clock,
    due_at: Option<Duration>,
}

/// A place in line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn {
    application: u64,
    query: u64,
}

#[derive(Debug)]
struct Application {
    turn: u64,
    cores_cap: Option<u32>,
}

impl<O> Default for Queries<O> {
    fn default() -> Self {
        Self::new(TASK_PAUSE)
    }
}

impl<O> Queries<O> {
    /// No workers and no queries. `task_pause` as [`TASK_PAUSE`].
    pub fn new(task_pause: Duration) -> Self {
        Self {
            fleet: Fleet::default(),
            ledger: Ledger::default(),
            applications: BTreeMap::new(),
            queries: BTreeMap::new(),
            turns: BTreeMap::new(),
            next_turn: 0,
            clock: Clock { now: Duration::ZERO, task_pause },
            due_at: None,
        }
    }

    /// Takes note of what happened and says what to do. Total: what is late, repeated or unknown changes nothing. `now` is
    /// counted from any moment that is the same for all calls.
    pub fn on_event(&mut self, now: Duration, event: Event<O>) -> Vec<Action<O>> {
        self.clock.now = self.clock.now.max(now);
        let mut actions = Vec::new();
        let mut stragglers = None;
        match event {
            Event::WorkerJoined { worker, cores, is_draining } => {
                let standing = if is_draining { Standing::Draining } else { Standing::Alive };
                self.fleet.join(worker, cores, standing);
            }
            Event::WorkerDraining { worker } => self.fleet.drain(&worker),
            Event::WorkerLost { worker } => self.worker_lost(&worker, &mut actions),
            Event::QuerySubmitted(definition) => {
                self.enlist(definition, &mut actions);
            }
            Event::QueryAttached { definition, left } => self.attach(definition, left, &mut actions),
            Event::QueryCancelled { query } => self.cancel(&query, &mut actions),
            Event::ApplicationEnded { app } => self.application_ended(&app, &mut actions),
            Event::AttemptEnded { worker, query, attempt, outcome } => {
                self.attempt_ended(&worker, &query, attempt, outcome, &mut actions);
            }
            Event::Stragglers { query, attempts } => stragglers = Some((query, attempts)),
            Event::AttemptOverdue { query, attempt, limit } => self.overdue(&query, attempt, limit, &mut actions),
            Event::TimePassed => {}
            Event::WorkersAwaitedInVain { query } => self.give_up_waiting(&query, &mut actions),
        }
        let mut round = Round::new(&self.fleet, &self.ledger);
        self.launch(&mut round, &mut actions);
        // In the same round, so that they get what waiting tasks leave, and nothing that is reserved for one.
        if let Some((query, attempts)) = stragglers {
            self.speculate(&query, &attempts, &mut round, &mut actions);
        }
        actions
    }

    /// When the next of the tasks that wait for time to pass may be launched: [`Event::TimePassed`] is due then. None when
    /// there is none, or when no core is free, so that the next event says more.
    pub const fn due_at(&self) -> Option<Duration> {
        self.due_at
    }

    pub(crate) fn find(&self, query: &QueryId) -> Option<&Query<O>> {
        self.queries.get(self.turns.get(query)?)
    }

    #[cfg(test)]
    pub(crate) fn has_queries(&self) -> bool {
        !self.queries.is_empty() || !self.turns.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn has_applications(&self) -> bool {
        !self.applications.is_empty()
    }

    /// Gives the query its place in line, unless it is refused.
    pub(crate) fn enlist(&mut self, definition: QueryDefinition, actions: &mut Vec<Action<O>>) -> Option<Turn> {
        let id = definition.id.clone();
        let app = definition.app.clone();
        let cores_cap = definition.cores_cap.filter(|cap| *cap > 0);
        if self.turns.contains_key(&id) {
            let message = format!("query id {id} is in use; expected a fresh UUID for every query");
            let fault = Fault::new(ErrorClass::InvalidJob, "query-id", message);
            actions.push(Action::Refused { query: id, fault });
            return None;
        }
        let query = match Query::new(definition) {
            Ok(query) => query,
            Err(fault) => {
                actions.push(Action::Refused { query: id, fault });
                return None;
            }
        };
        let number = self.next_turn;
        self.next_turn += 1;
        let application = self.applications.entry(app).or_insert(Application { turn: number, cores_cap });
        application.cores_cap = cores_cap;
        let turn = Turn { application: application.turn, query: number };
        self.turns.insert(id, turn);
        self.queries.insert(turn, query);
        Some(turn)
    }

    fn attempt_ended(
        &mut self,
        worker: &WorkerId,
        id: &QueryId,
        attempt: Attempt,
        outcome: Outcome<O>,
        actions: &mut Vec<Action<O>>,
    ) {
        // What holds no cores has been reported before, or was lost with its worker.
        let Some(booking) = self.ledger.release(id, attempt, worker) else { return };
        let Some(turn) = self.turns.get(id).copied() else { return };
        let Some(query) = self.queries.get_mut(&turn) else { return };
        match &mut query.phase {
            Phase::Ended => self.retire_if_idle(turn, actions),
            Phase::Running(graph) => {
                let rival = graph.rival(attempt, &booking);
                match graph.attempt_ended(self.clock, attempt, &booking, outcome) {
                    Verdict::Fail(fault) => self.fail(turn, fault, actions),
                    Verdict::GoOn if graph.is_finished() => self.finish(turn, actions),
                    Verdict::GoOn => {
                        // The task is done without it.
                        let beaten = rival.filter(|rival| !graph.awaits(booking.stage, booking.task, *rival));
                        actions.extend(beaten.and_then(|beaten| self.ledger.cancel(id, beaten)));
                        self.restart_readers(turn, actions);
                    }
                }
            }
        }
    }

    fn worker_lost(&mut self, worker: &WorkerId, actions: &mut Vec<Action<O>>) {
        if !self.fleet.lose(worker) {
            return;
        }
        self.ledger.release_worker(worker);
        let turns: Vec<Turn> = self.queries.keys().copied().collect();
        for turn in turns {
            let Some(query) = self.queries.get_mut(&turn) else { continue };
            match &mut query.phase {
                Phase::Ended => self.retire_if_idle(turn, actions),
                Phase::Running(graph) => match graph.worker_lost(&query.id, worker) {
                    Verdict::Fail(fault) => self.fail(turn, fault, actions),
                    Verdict::GoOn => self.restart_readers(turn, actions),
                },
            }
        }
    }

    /// Takes back what has read outputs that were lost and will be made again with other rows.
    fn restart_readers(&mut self, turn: Turn, actions: &mut Vec<Action<O>>) {
        let Some(query) = self.queries.get_mut(&turn) else { return };
        let Phase::Running(graph) = &mut query.phase else { return };
        for attempt in graph.restart_readers() {
            actions.extend(self.ledger.cancel(&query.id, attempt));
        }
    }

    fn cancel(&mut self, query: &QueryId, actions: &mut Vec<Action<O>>) {
        if let Some(turn) = self.turns.get(query).copied() {
            let message = format!("query {query} was cancelled");
            self.fail(turn, Fault::new(ErrorClass::Cancelled, "query-cancelled", message), actions);
        }
    }

    fn application_ended(&mut self, app: &AppId, actions: &mut Vec<Action<O>>) {
        self.applications.remove(app);
        let ended: Vec<QueryId> =
            self.queries.values().filter(|query| query.app == *app).map(|query| query.id.clone()).collect();
        for query in ended {
            self.cancel(&query, actions);
        }
    }

    fn give_up_waiting(&mut self, query: &QueryId, actions: &mut Vec<Action<O>>) {
        let has_hope = self.fleet.placeable().next().is_some() || self.ledger.of_query(query).next().is_some();
        let Some(turn) = self.turns.get(query).copied().filter(|_| !has_hope) else { return };
        let message = format!(
            "no worker is registered to run query {query}: start a worker, or look why they cannot reach the master, \
             then run the job again"
        );
        self.fail(turn, Fault::new(ErrorClass::Unavailable, "no-workers", message), actions);
    }

    pub(crate) fn finish(&mut self, turn: Turn, actions: &mut Vec<Action<O>>) {
        let Some(query) = self.queries.get_mut(&turn) else { return };
        if let Phase::Running(graph) = mem::replace(&mut query.phase, Phase::Ended) {
            let end = QueryEnd::Finished(graph.into_results());
            actions.push(Action::Ended { query: query.id.clone(), end });
        }
        self.stop(turn, actions);
    }

    fn fail(&mut self, turn: Turn, fault: Fault, actions: &mut Vec<Action<O>>) {
        let Some(query) = self.queries.get_mut(&turn) else { return };
        if let Phase::Running(_) = mem::replace(&mut query.phase, Phase::Ended) {
            actions.push(Action::Ended { query: query.id.clone(), end: QueryEnd::Failed(fault) });
            self.stop(turn, actions);
        }
    }

    /// Cancels what still runs of a query that has ended.
    fn stop(&mut self, turn: Turn, actions: &mut Vec<Action<O>>) {
        let Some(query) = self.queries.get(&turn) else { return };
        for (attempt, booking) in self.ledger.of_query(&query.id) {
            actions.push(Action::Cancel { worker: booking.worker.clone(), attempt });
        }
        self.retire_if_idle(turn, actions);
    }

    fn retire_if_idle(&mut self, turn: Turn, actions: &mut Vec<Action<O>>) {
        let Some(query) = self.queries.get(&turn) else { return };
        if self.ledger.of_query(&query.id).next().is_some() {
            return;
        }
        if let Some(query) = self.queries.remove(&turn) {
            self.turns.remove(&query.id);
            actions.push(Action::Retired { query: query.id });
        }
    }

    /// Gives free cores to the queries in line.
    fn launch(&mut self, round: &mut Round, actions: &mut Vec<Action<O>>) {
        self.due_at = None;
        let largest = round.largest();
        for query in self.queries.values_mut() {
            if round.is_over() {
                return;
            }
            let Phase::Running(graph) = &mut query.phase else { continue };
            let cap = self.applications.get(&query.app).and_then(|application| application.cores_cap);
            let cap = cap.unwrap_or(u32::MAX);
            for (id, task) in graph.launchable() {
                if round.is_over() {
                    return;
                }
                let Some(stage) = graph.stages.get(&id) else { continue };
                let not_before = stage.not_before(task);
                if self.clock.now < not_before {
                    self.due_at = Some(self.due_at.map_or(not_before, |due| due.min(not_before)));
                    continue;
                }
                let cores = stage.cores.min(largest).min(cap);
                if self.ledger.used_by(&query.app).saturating_add(cores) > cap {
                    break;
                }
                let Some(avoid) = stage.avoid(task) else { continue };
                let Some(worker) = round.place(cores, avoid) else { continue };
                let attempt = graph.next_attempt();
                let lineage = graph.input_lineage(id);
                if let Some(stage) = graph.stages.get_mut(&id) {
                    stage.lineage = lineage;
                    stage.start(task, attempt, worker.clone());
                }
                let attempt = AttemptRef { query: query.id.clone(), stage: id, task, attempt };
                self.ledger.book(&attempt, &worker, &query.app, cores);
                actions.push(Action::Launch(Launch { attempt, worker, cores }));
            }
        }
    }
}
