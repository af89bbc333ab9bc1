//! One query: its graph, which of its tasks can run, and what reports do to it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use lake_proto::{AppId, ErrorClass, Fault, QueryId, WorkerId};

use crate::event::{Outcome, QueryDefinition, ResultPiece};
use crate::ids::{Attempt, StageId, TaskIndex};
use crate::ledger::Booking;
use crate::retry::{self, Verdict};
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
    losses: u32,
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
        let graph = Graph { stages: graph, consumers, result, next_attempt: 1, losses: 0 };
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

    pub(crate) fn is_finished(&self) -> bool {
        self.stages.get(&self.result).is_some_and(Stage::is_complete)
    }

    pub(crate) fn into_results(mut self) -> Vec<ResultPiece<O>> {
        let outputs = self.stages.remove(&self.result).into_iter().flat_map(Stage::into_outputs);
        outputs.map(|(task, worker, output)| ResultPiece { task, worker, output }).collect()
    }

    /// The attempt with this booking ended.
    pub(crate) fn attempt_ended(&mut self, attempt: Attempt, booking: &Booking, outcome: Outcome<O>) -> Verdict {
        let Booking { worker, stage: id, task, .. } = booking;
        let Some(stage) = self.stages.get_mut(id) else { return Verdict::GoOn };
        match outcome {
            Outcome::Done { output, kept } => {
                stage.finish(*task, attempt, output, kept);
                Verdict::GoOn
            }
            Outcome::Failed(fault) => Verdict::Fail(fault),
            Outcome::FailedTransiently(fault) => {
                stage.reopen(*task, attempt);
                let failures = stage.count_failure(*task, worker);
                retry::after_task_failure(failures, *id, *task, fault)
            }
            Outcome::FetchFailed { producer, holder, fault } => {
                if !stage.inputs.contains(&producer) {
                    // Not something this task reads: whatever it is, it is bounded as a failure of its own.
                    stage.reopen(*task, attempt);
                    let failures = stage.count_failure(*task, worker);
                    return retry::after_task_failure(failures, *id, *task, fault);
                }
                stage.reopen(*task, attempt);
                let fetch_failures = stage.count_fetch_failure(*task);
                let producing = self.stages.get_mut(&producer);
                let output_losses = producing.map_or(0, |producing| producing.lose_outputs(&holder, attempt));
                retry::after_fetch_failure(output_losses, fetch_failures, producer, &holder, &fault)
            }
            // The query runs, so it was not us who cancelled: the worker is giving up, for example to stop.
            Outcome::Cancelled => {
                stage.reopen(*task, attempt);
                let failures = stage.count_failure(*task, worker);
                let fault = Fault::new(
                    ErrorClass::Unavailable,
                    "attempt-cancelled",
                    format!("attempt {attempt} was cancelled by worker {worker}"),
                );
                retry::after_task_failure(failures, *id, *task, fault)
            }
        }
    }

    /// The worker is gone with what it ran and held.
    pub(crate) fn worker_lost(&mut self, query: &QueryId, worker: &WorkerId) -> Verdict {
        let demanded = self.demanded();
        let mut is_hit = false;
        for (id, stage) in &mut self.stages {
            let running = stage.lose_running(worker);
            // Outputs that nobody needs now may be needed after the next loss, so they are given up as well; they
            // are made again only if that happens.
            let held = stage.lose_held(worker);
            is_hit |= running > 0 || (held > 0 && demanded.contains(id));
        }
        if !is_hit {
            return Verdict::GoOn;
        }
        self.losses += 1;
        retry::after_worker_loss(self.losses, query, worker)
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
