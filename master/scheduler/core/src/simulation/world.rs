//! Workers, queries, reports under way and faults of one seed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lake_proto::{AppId, ErrorClass, Fault, QueryId, WorkerId, codes};

use crate::{
    Action, Attempt, AttemptRef, Event, Kept, Launch, Outcome, Queries, QueryDefinition, QueryEnd, StageDefinition,
    StageId, TaskIndex,
};

use super::oracle::{Contents, Output, ROWS_PER_TASK, Rows, derive, expected_rows, row_id};

mod checks;
mod faults;

const MAX_STEPS: u32 = 20_000;

/// SplitMix64.
pub(super) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(super) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap()
    }

    pub(super) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}

pub(super) struct Running {
    pub(super) launch: Launch,
    /// As the machine said it when it was launched.
    pub(super) lineage: u64,
    /// No leader waits for it any more, and its cores are booked nowhere.
    pub(super) is_orphan: bool,
    /// What the reader saw when it was launched.
    inputs: Vec<(StageId, WorkerId, Attempt)>,
    pub(super) cancelled: bool,
}

/// What came to pass in one seed.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Queries that finished.
    pub(super) finished: u64,
    /// Attempts that were cancelled although their query went on, because of what they had read.
    pub(super) superseded: u64,
    /// Second attempts beside a running one.
    pub(super) copies: u64,
    /// Tasks that were done by the second attempt while the first one still ran.
    pub(super) overtaken: u64,
    /// Attempts that ran too long.
    pub(super) overdue: u64,
    /// Times when only tasks that wait for time to pass were left.
    pub(super) waited: u64,
    /// Changes of the leader.
    pub(super) leaders: u64,
    /// Outputs that a leader has taken over from an earlier one.
    pub(super) reused: u64,
}

pub(super) struct Submitted {
    pub(super) definition: QueryDefinition,
    pub(super) cancelled: bool,
    pub(super) user_error: bool,
}

/// What a worker says to another leader that it has.
pub(super) struct Held {
    pub(super) attempt: AttemptRef,
    pub(super) worker: WorkerId,
    pub(super) lineage: u64,
    pub(super) output: Output,
    pub(super) kept: Kept,
}

pub(super) struct World {
    pub(super) random: Random,
    pub(super) machine: Queries<Output>,
    pub(super) now: Duration,
    pub(super) workers: BTreeMap<WorkerId, u32>,
    pub(super) caps: BTreeMap<AppId, u32>,
    pub(super) running: Vec<Running>,
    pub(super) in_flight: Vec<Event<Output>>,
    pub(super) files: BTreeMap<(QueryId, Attempt), (WorkerId, Output)>,
    pub(super) used_attempts: BTreeSet<(QueryId, Attempt)>,
    /// What workers would report as held to another leader: also of files that have vanished, and of attempts that no
    /// leader waited for.
    pub(super) held: Vec<Held>,
    /// Attempts that a leader has taken over as running.
    pub(super) adopted: BTreeSet<(QueryId, Attempt)>,
    /// How many leaders have come after the first; none ever when the world has only one.
    pub(super) leaders: u32,
    pub(super) leaders_change: bool,
    pub(super) queries: BTreeMap<QueryId, Submitted>,
    pub(super) ended: BTreeSet<QueryId>,
    pub(super) retired: BTreeSet<QueryId>,
    /// Tasks for which a second attempt beside a running one is welcome at this moment.
    pub(super) slow: BTreeSet<(QueryId, StageId, TaskIndex)>,
    /// Of each second attempt the first one.
    pub(super) copies: BTreeMap<(QueryId, Attempt), Attempt>,
    pub(super) overdue: BTreeSet<(QueryId, Attempt)>,
    pub(super) tally: Tally,
    pub(super) next_worker: u32,
    pub(super) next_query: u32,
    pub(super) faults: u32,
    pub(super) budget: u32,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let budget = if seed.is_multiple_of(4) { 0 } else { u32::try_from(random.below(25)).unwrap() };
        Self {
            random,
            machine: Queries::default(),
            now: Duration::ZERO,
            workers: BTreeMap::new(),
            caps: BTreeMap::new(),
            running: Vec::new(),
            in_flight: Vec::new(),
            files: BTreeMap::new(),
            used_attempts: BTreeSet::new(),
            held: Vec::new(),
            adopted: BTreeSet::new(),
            leaders: 0,
            leaders_change: false,
            queries: BTreeMap::new(),
            ended: BTreeSet::new(),
            retired: BTreeSet::new(),
            slow: BTreeSet::new(),
            copies: BTreeMap::new(),
            overdue: BTreeSet::new(),
            tally: Tally::default(),
            next_worker: 0,
            next_query: 0,
            faults: 0,
            budget,
        }
    }

    /// A world in which the leader changes now and then.
    pub(super) fn with_leader_changes(seed: u64) -> Self {
        Self { leaders_change: true, ..Self::new(seed) }
    }

    pub(super) fn run(mut self) -> Tally {
        for app in 0..=self.random.below(2) {
            let cap = u32::try_from(self.random.below(4)).unwrap();
            self.caps.insert(format!("app-{app}").parse().unwrap(), cap);
        }
        let queries = 1 + self.random.below(4);
        for _ in 0..=self.random.below(3) {
            self.join();
        }
        for _ in 0..queries {
            if self.random.percent(70) {
                self.submit();
            }
        }
        let mut steps = 0;
        loop {
            if self.is_idle() && u64::from(self.next_query) < queries {
                self.submit();
            }
            if self.is_idle()
                && let Some(due) = self.machine.due_at()
            {
                assert!(due > self.now, "a task that is due was not launched: {:?}", self.machine);
                self.now = due;
                self.tally.waited += 1;
                self.event(Event::TimePassed);
            }
            if self.is_idle() && self.machine.has_queries() {
                // Only a missing worker may hold things up.
                let is_stuck = self.machine.workers().any(|worker| !worker.is_draining);
                assert!(!is_stuck, "queries wait although workers are idle: {:?}", self.machine);
                if self.budget > 0 && self.random.percent(10) {
                    self.budget -= 1;
                    self.faults += 1;
                    let waiting: Vec<QueryId> = self.machine.queries().map(|view| view.query).collect();
                    for query in waiting {
                        self.event(Event::WorkersAwaitedInVain { query });
                    }
                } else {
                    self.join();
                }
            }
            if !self.machine.has_queries() && self.is_idle() && u64::from(self.next_query) >= queries {
                break;
            }
            steps += 1;
            assert!(steps < MAX_STEPS, "no end after {steps} steps");
            self.step();
        }
        self.check_end()
    }

    fn is_idle(&self) -> bool {
        self.running.is_empty() && self.in_flight.is_empty()
    }

    fn step(&mut self) {
        if self.random.percent(10) {
            self.now += Duration::from_millis(self.random.below(8_000));
            self.event(Event::TimePassed);
        }
        if self.budget > 0 && self.random.percent(12) {
            self.budget -= 1;
            self.fault();
        }
        if self.random.percent(10) {
            self.release();
        }
        if self.random.percent(10) {
            self.speculate();
        }
        if self.leaders_change && self.budget > 0 && self.random.percent(6) {
            self.budget -= 1;
            self.change_leader();
        }
        if self.random.percent(50) && !self.in_flight.is_empty() {
            let index = self.random.index(self.in_flight.len());
            let event =
                if self.random.percent(15) { self.in_flight[index].clone() } else { self.in_flight.swap_remove(index) };
            self.event(event);
        } else if !self.running.is_empty() {
            let index = self.random.index(self.running.len());
            let attempt = self.running.swap_remove(index);
            self.work(attempt);
        }
    }

    fn submit(&mut self) {
        let id: QueryId = format!("query-{}", self.next_query).parse().unwrap();
        self.next_query += 1;
        let apps: Vec<AppId> = self.caps.keys().cloned().collect();
        let app = apps[self.random.index(apps.len())].clone();
        let count = 1 + self.random.below(5);
        let mut stages: Vec<StageDefinition> = Vec::new();
        for number in 0..count {
            let mut inputs = BTreeSet::new();
            for _ in 0..self.random.below(3) {
                if number > 0 {
                    inputs.insert(stages[self.random.index(stages.len())].id);
                }
            }
            let cores = if self.random.percent(15) { 1 + u32::try_from(self.random.below(4)).unwrap() } else { 1 };
            let tasks = 1 + u32::try_from(self.random.below(4)).unwrap();
            let id = StageId(u32::try_from(number).unwrap() + 1);
            let is_repeatable = self.random.percent(65);
            stages.push(StageDefinition { id, inputs, tasks, cores, is_repeatable, operators: String::new() });
        }
        let definition = QueryDefinition { id: id.clone(), cores_cap: Some(self.caps[&app]), app, stages };
        let submitted = Submitted { definition: definition.clone(), cancelled: false, user_error: false };
        self.queries.insert(id, submitted);
        self.event(Event::QuerySubmitted(definition));
    }

    /// The attempt does its work, or finds that it cannot.
    pub(super) fn work(&mut self, attempt: Running) {
        let AttemptRef { query, stage, task, attempt: number } = attempt.launch.attempt.clone();
        if attempt.cancelled && self.random.percent(70) {
            self.report(&attempt.launch, Outcome::Cancelled);
            return;
        }
        let definition = &self.queries[&query].definition;
        let stage = definition.stages.iter().find(|candidate| candidate.id == stage).unwrap().clone();
        let mut output = Output::default();
        if stage.inputs.is_empty() {
            for row in 0..ROWS_PER_TASK {
                output.rows.insert(row_id(stage.id, task, row), 1);
            }
        }
        for (producer, holder, input) in &attempt.inputs {
            let Some((_, file)) = self.files.get(&(query.clone(), *input)) else {
                let fault = Fault::new(ErrorClass::Unavailable, codes::SHUFFLE_FETCH, "the file is gone");
                let outcome = Outcome::FetchFailed { producer: *producer, holder: holder.clone(), fault };
                self.report(&attempt.launch, outcome);
                return;
            };
            for (row, count) in &file.rows {
                if row % u64::from(stage.tasks) == u64::from(task.0) {
                    *output.rows.entry(*row).or_default() += count;
                }
            }
            derive(&mut output.contents, &file.contents);
        }
        if !stage.is_repeatable {
            output.contents.insert((stage.id, task), number);
        }
        let is_result = definition.stages.last().unwrap().id == stage.id;
        let kept = if is_result && self.random.percent(50) { Kept::InReport } else { Kept::OnWorker };
        self.files.insert((query, number), (attempt.launch.worker.clone(), output.clone()));
        let worker = attempt.launch.worker.clone();
        let held = Held {
            attempt: attempt.launch.attempt.clone(),
            worker,
            lineage: attempt.lineage,
            output: output.clone(),
            kept,
        };
        self.held.push(held);
        self.report(&attempt.launch, Outcome::Done { output, kept });
    }

    pub(super) fn report(&mut self, launch: &Launch, outcome: Outcome<Output>) {
        let worker = launch.worker.clone();
        let AttemptRef { query, attempt, .. } = launch.attempt.clone();
        self.in_flight.push(Event::AttemptEnded { worker, query, attempt, outcome });
    }

    pub(super) fn event(&mut self, event: Event<Output>) {
        let actions = self.machine.on_event(self.now, event);
        for action in actions {
            self.act(action);
        }
        self.check();
    }

    fn act(&mut self, action: Action<Output>) {
        match action {
            Action::Launch(launch) => {
                let AttemptRef { query, stage, attempt, .. } = launch.attempt.clone();
                assert!(!self.ended.contains(&query), "an attempt of an ended query is launched");
                assert!(self.used_attempts.insert((query.clone(), attempt)), "attempt {attempt} is used twice");
                let first = self.awaited().into_iter().find(|(other, _)| other.is_beside(&launch.attempt));
                if let Some((first, worker)) = first {
                    assert_ne!(worker, launch.worker, "two attempts of a task run on one worker");
                    let task = (query.clone(), stage, launch.attempt.task);
                    assert!(self.slow.remove(&task), "{task:?} has another attempt and does not straggle");
                    self.copies.insert((query.clone(), attempt), first.attempt);
                    self.tally.copies += 1;
                }
                let stages = &self.queries[&query].definition.stages;
                let stage = stages.iter().find(|candidate| candidate.id == stage).unwrap();
                let mut inputs = Vec::new();
                for producer in &stage.inputs {
                    let expected = stages.iter().find(|candidate| candidate.id == *producer).unwrap().tasks;
                    let found = self.machine.inputs(&query, *producer).expect("launched before its input is complete");
                    let tasks: BTreeSet<TaskIndex> = found.iter().map(|input| input.task).collect();
                    assert_eq!(tasks, (0..expected).map(TaskIndex).collect());
                    assert_eq!(found.len(), tasks.len());
                    inputs.extend(found.iter().map(|input| (*producer, input.worker.clone(), input.attempt)));
                }
                // A message to a worker that has just died is lost with it.
                if self.workers.contains_key(&launch.worker) {
                    let lineage = self.machine.lineage(&query, stage.id);
                    self.running.push(Running { launch, lineage, is_orphan: false, inputs, cancelled: false });
                }
            }
            Action::Cancel { worker, attempt } => {
                if !self.ended.contains(&attempt.query) {
                    self.check_superseded(&attempt);
                }
                let running = self.running.iter_mut().find(|running| running.launch.attempt == attempt);
                if let Some(running) = running {
                    assert_eq!(running.launch.worker, worker);
                    running.cancelled = true;
                }
            }
            Action::Adopted { query, outputs, attempts } => {
                assert!(self.queries.contains_key(&query));
                self.tally.reused += outputs.len() as u64;
                self.adopted.extend(attempts.into_iter().map(|attempt| (attempt.query, attempt.attempt)));
            }
            Action::Ended { query, end } => self.ended(query, end),
            Action::Retired { query } => {
                assert!(self.ended.contains(&query));
                assert!(self.retired.insert(query), "a query retires twice");
            }
            Action::Refused { query, fault } => panic!("query {query} was refused: {fault}"),
        }
    }

    fn ended(&mut self, query: QueryId, end: QueryEnd<Output>) {
        assert!(self.ended.insert(query.clone()), "a query ends twice");
        let submitted = &self.queries[&query];
        match end {
            QueryEnd::Finished(pieces) => {
                self.tally.finished += 1;
                let mut rows = Rows::new();
                let mut contents = Contents::new();
                for piece in &pieces {
                    for (row, count) in &piece.output.rows {
                        *rows.entry(*row).or_default() += count;
                    }
                    derive(&mut contents, &piece.output.contents);
                }
                let tasks: Vec<TaskIndex> = pieces.iter().map(|piece| piece.task).collect();
                let expected = submitted.definition.stages.last().unwrap().tasks;
                assert_eq!(tasks, (0..expected).map(TaskIndex).collect::<Vec<_>>());
                assert_eq!(rows, expected_rows(&submitted.definition), "query {query} counted wrongly");
            }
            QueryEnd::Failed(fault) => match fault.class {
                ErrorClass::Cancelled => assert!(submitted.cancelled),
                ErrorClass::InvalidJob => assert!(submitted.user_error),
                _ => assert!(self.faults > 0, "query {query} failed without any fault: {fault}"),
            },
        }
    }
}
