//! One query: its graph, which of its tasks can run, and what reports do to it. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lake_proto::{AppId, ErrorClass, Fault, QueryId, WorkerId};

use crate::event::{Outcome, QueryDefinition, ResultPiece};
use crate::ids::{Attempt, StageId, TaskIndex};
use crate::ledger::Booking;
use crate::retry::{self, Clock, Spent, Verdict};
use crate::stage::Stage;

#[derive(Debug)]
pub(crate) struct Query<O> {
    pub(crate) id: QueryId,
    pub(crate) app: AppId,
    pub(crate) phase: Phase<O>,
}

#[derive(Debug)]
pub(crate) enum Phase<O> {
    Running(Graph<O>),
    /// Its driver has the answer; attempts of it may still hold cores.
    Ended,
}

#[derive(Debug)]
pub(crate) struct Graph<O> {
    pub(crate) stages: BTreeMap<StageId, Stage<O>>,
    consumers: BTreeMap<StageId, BTreeSet<StageId>>,
    result: StageId,
    next_attempt: u64,
    /// Workers that it has lost while it needed them, each with the stages that it ran tasks of.
    losses: BTreeMap<WorkerId, BTreeSet<StageId>>,
}

impl<O> Query<O> {
    /// # Errors
    /// `internal` when the stages are not a graph with producers before consumers.
    pub(crate) fn new(definition: QueryDefinition) -> Result<Self, Fault> {
        let QueryDefinition { id, app, stages, cores_cap: _ } = definition;
        let invalid = |what: String| {
            Fault::new(ErrorClass::Internal, "stage-graph", format!("stages of query {id} are not a graph: {what}"))
        };
        let mut graph = BTreeMap::new();
        let mut consumers: BTreeMap<StageId, BTreeSet<StageId>> = BTreeMap::new();
        let result = stages.last().map(|stage| stage.id).ok_or_else(|| invalid("there is none".to_owned()))?;
        for stage in stages {
            let number = stage.id;
            if stage.tasks == 0 {
                return Err(invalid(format!("stage {number} has no task")));
            }
            for input in &stage.inputs {
                if *input >= number || !graph.contains_key(input) {
                    return Err(invalid(format!("stage {number} reads stage {input}, which does not come before it")));
                }
                consumers.entry(*input).or_default().insert(number);
            }
            if graph.insert(number, Stage::new(stage)).is_some() {
                return Err(invalid(format!("stage {number} exists twice")));
            }
        }
        if graph.last_key_value().is_some_and(|(last, _)| *last != result) {
            return Err(invalid(format!("the result stage {result} does not have the greatest number")));
        }
        let graph = Graph { stages: graph, consumers, result, next_attempt: 1, losses: BTreeMap::new() };
        Ok(Self { id, app, phase: Phase::Running(graph) })
    }
}

impl<O> Graph<O> {
    /// Tasks whose inputs are complete and whose output somebody still needs, in the order of stages and tasks.
    pub(crate) fn launchable(&self) -> Vec<(StageId, TaskIndex)> {
        let demanded = self.demanded();
        let mut tasks = Vec::new();
        for (id, stage) in &self.stages {
            if demanded.contains(id) && self.is_ready(stage) {
                tasks.extend(stage.pending().map(|task| (*id, task)));
            }
        }
        tasks
    }

    pub(crate) fn next_attempt(&mut self) -> Attempt {
        let attempt = Attempt(self.next_attempt);
        self.next_attempt += 1;
        attempt
    }

    /// Attempts from now on have numbers that no leader before the `attachment`-th has given; the first of them.
    pub(crate) fn count_from(&mut self, attachment: u32) -> Attempt {
        self.next_attempt = self.next_attempt.max(u64::from(attachment) << 32);
        Attempt(self.next_attempt)
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.stages.get(&self.result).is_some_and(Stage::is_complete)
    }

    pub(crate) fn into_results(mut self) -> Vec<ResultPiece<O>> {
        let outputs = self.stages.remove(&self.result).into_iter().flat_map(Stage::into_outputs);
        outputs.map(|(task, worker, output)| ResultPiece { task, worker, output }).collect()
    }

    /// The attempt with this booking ended.
    pub(crate) fn attempt_ended(
        &mut self,
        clock: Clock,
        attempt: Attempt,
        booking: &Booking,
        outcome: Outcome<O>,
    ) -> Verdict {
        let Booking { worker, stage: id, task, .. } = booking;
        let Some(stage) = self.stages.get_mut(id).filter(|stage| stage.awaits(*task, attempt)) else {
            // Superseded: another attempt decides, also when this one failed or could not read its input.
            return Verdict::GoOn;
        };
        let try_again = |stage: &mut Stage<_>, fault: Fault| {
            stage.reopen(*task, attempt);
            let failures = stage.count_failure(*task, worker);
            stage.hold_back(*task, clock.again_at(failures, fault.class));
            retry::after_task_failure(failures, &retry::named(*id, &stage.operators), *task, fault)
        };
        match outcome {
            Outcome::Done { output, kept } => {
                stage.finish(*task, attempt, output, kept);
                Verdict::GoOn
            }
            // What was exhausted says little without what exhausted it.
            Outcome::Failed(fault) if fault.class == ErrorClass::Resource => {
                Verdict::Fail(fault.within(format!("task {task} of {}", retry::named(*id, &stage.operators))))
            }
            Outcome::Failed(fault) => Verdict::Fail(fault),
            Outcome::FailedTransiently(fault) => try_again(stage, fault),
            Outcome::FetchFailed { producer, holder, fault } => {
                if !stage.inputs.contains(&producer) {
                    // Not something this task reads: whatever it is, it is bounded as a failure of its own.
                    return try_again(stage, fault);
                }
                stage.reopen(*task, attempt);
                let fetch_failures = stage.count_fetch_failure(*task);
                let producing = self.stages.get_mut(&producer);
                let output_losses = producing.map_or(0, |producing| producing.lose_outputs(&holder, attempt));
                retry::after_fetch_failure(output_losses, fetch_failures, producer, &holder, &fault)
            }
            // The query runs, so it was not us who cancelled: the worker is giving up, for example to stop.
            Outcome::Cancelled => {
                let message = format!("attempt {attempt} was cancelled by worker {worker}");
                try_again(stage, Fault::new(ErrorClass::Unavailable, "attempt-cancelled", message))
            }
        }
    }

    /// The attempt with this booking runs longer than it may. None when the task does not wait for it.
    pub(crate) fn overdue(
        &mut self,
        clock: Clock,
        attempt: Attempt,
        booking: &Booking,
        limit: Duration,
    ) -> Option<Verdict> {
        if !self.awaits(booking.stage, booking.task, attempt) {
            return None;
        }
        let fault = retry::overdue(attempt, &booking.worker, limit);
        Some(self.attempt_ended(clock, attempt, booking, Outcome::FailedTransiently(fault)))
    }

    /// Where no second attempt beside this one may run; none when it must not have one, or it would read what is being
    /// made again, or nobody needs its output any more.
    pub(crate) fn avoid_beside(&self, attempt: Attempt, booking: &Booking) -> Option<BTreeSet<WorkerId>> {
        let stage = self.stages.get(&booking.stage)?;
        let is_wanted = self.is_ready(stage) && self.demanded().contains(&booking.stage);
        stage.avoid_beside(booking.task, attempt).filter(|_| is_wanted)
    }

    /// The attempt that runs beside this one, if any.
    pub(crate) fn rival(&self, attempt: Attempt, booking: &Booking) -> Option<Attempt> {
        self.stages.get(&booking.stage)?.rival(booking.task, attempt)
    }

    /// The worker is gone with what it ran and held.
    pub(crate) fn worker_lost(&mut self, query: &QueryId, worker: &WorkerId) -> Verdict {
        let demanded = self.demanded();
        let mut is_hit = false;
        let mut ran = BTreeSet::new();
        for (id, stage) in &mut self.stages {
            let running = stage.lose_running(worker);
            if running > 0 {
                ran.insert(*id);
            }
            // Outputs that nobody needs now may be needed after the next loss, so they are given up as well; they
            // are made again only if that happens.
            let held = stage.lose_held(worker);
            is_hit |= running > 0 || (held > 0 && demanded.contains(id));
        }
        if !is_hit {
            return Verdict::GoOn;
        }
        self.losses.entry(worker.clone()).or_default().extend(ran);
        let culprits = self.stages.iter().map(|(id, stage)| {
            let lost = self.losses.values().filter(|ran| ran.contains(id)).count();
            (lost, retry::named(*id, &stage.operators))
        });
        let culprits = culprits.filter(|(lost, _)| *lost > 0).collect();
        retry::after_worker_loss(self.losses.len(), query, worker, culprits)
    }

    /// What it has used up of its budgets.
    pub(crate) fn spent(&self) -> Spent {
        let failures = |(id, stage): (&StageId, &Stage<O>)| {
            let id = *id;
            stage.failures().map(move |(task, failures)| ((id, task), failures)).collect::<Vec<_>>()
        };
        let task_failures = self.stages.iter().flat_map(failures).collect();
        Spent { worker_losses: self.losses.clone(), task_failures }
    }

    /// It had used up so much under an earlier leader.
    pub(crate) fn recall(&mut self, spent: Spent) {
        self.losses.extend(spent.worker_losses);
        for ((id, task), failures) in spent.task_failures {
            if let Some(stage) = self.stages.get_mut(&id) {
                stage.recall_failures(task, failures);
            }
        }
    }

    /// Whether `worker` holds an output that somebody still reads, or will read.
    pub(crate) fn is_served_by(&self, worker: &WorkerId) -> bool {
        let demanded = self.demanded();
        self.stages.iter().any(|(id, stage)| demanded.contains(id) && stage.is_held_by(worker))
    }

    /// Sees to it that no two attempts of a task that is not repeatable are both read: while such a task is to be made
    /// again, nothing below its stage runs or is done. What nobody will read is not made again, so what has read it
    /// stays valid. The attempts that ran and are superseded.
    pub(crate) fn restart_readers(&mut self) -> Vec<Attempt> {
        let mut superseded = Vec::new();
        if self.stages.values().all(|stage| stage.is_repeatable) {
            return superseded;
        }
        loop {
            let readers = self.readers_of_other_rows();
            if readers.is_empty() {
                return superseded;
            }
            // What is restarted wants its inputs again, and may be the first to want one that is lost.
            for id in readers {
                superseded.extend(self.stages.get_mut(&id).map(Stage::restart).unwrap_or_default());
            }
        }
    }

    /// The stages that read, directly or further down, what will be made again with other rows, and that have begun.
    fn readers_of_other_rows(&self) -> BTreeSet<StageId> {
        let demanded = self.demanded();
        let mut below: BTreeSet<StageId> = BTreeSet::new();
        // Producers have smaller numbers, so they are decided before their consumers.
        for (id, stage) in &self.stages {
            let is_made_again = !stage.is_repeatable && !stage.is_complete() && demanded.contains(id);
            if is_made_again || below.contains(id) {
                below.extend(self.consumers.get(id).into_iter().flatten());
            }
        }
        below.retain(|id| self.stages.get(id).is_some_and(|stage| !stage.is_pending()));
        below
    }

    /// Whether the attempt decides about its task.
    pub(crate) fn awaits(&self, id: StageId, task: TaskIndex, attempt: Attempt) -> bool {
        self.stages.get(&id).is_some_and(|stage| stage.awaits(task, attempt))
    }

    fn is_ready(&self, stage: &Stage<O>) -> bool {
        stage.inputs.iter().all(|input| self.stages.get(input).is_some_and(Stage::is_complete))
    }

    /// The result stage and, from there, every input of a stage that is not complete.
    fn demanded(&self) -> BTreeSet<StageId> {
        let mut demanded = BTreeSet::from([self.result]);
        // Consumers have greater numbers, so they are decided before their inputs.
        for id in self.stages.keys().rev() {
            let consumers = self.consumers.get(id).into_iter().flatten();
            let is_incomplete = |stage: &StageId| self.stages.get(stage).is_some_and(|stage| !stage.is_complete());
            if consumers.into_iter().any(|consumer| demanded.contains(consumer) && is_incomplete(consumer)) {
                demanded.insert(*id);
            }
        }
        demanded
    }
}
