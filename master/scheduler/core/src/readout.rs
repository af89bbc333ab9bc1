//! What can be seen of the machine. Pure.

use lake_proto::{AppId, QueryId, WorkerId};

use crate::event::Launch;
use crate::fleet::Standing;
use crate::ids::{Attempt, AttemptRef, StageId, TaskIndex};
use crate::queries::Queries;
use crate::query::{Phase, Query};
use crate::retry::Spent;

/// The output of one done task, as a reader finds it.
#[derive(Debug)]
pub struct Input<'a, O> {
    /// The task that made it.
    pub task: TaskIndex,
    /// The attempt that won.
    pub attempt: Attempt,
    /// The worker that ran it.
    pub worker: &'a WorkerId,
    /// What it left.
    pub output: &'a O,
}

/// Counts of one stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageView {
    /// Which one.
    pub stage: StageId,
    /// All its tasks.
    pub tasks: u32,
    /// Tasks with a running attempt.
    pub running: u32,
    /// Tasks that are done.
    pub done: u32,
    /// Attempts that ended without success and were tried again.
    pub retries: u32,
}

/// One query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryView {
    /// Which one.
    pub query: QueryId,
    /// Who runs it.
    pub app: AppId,
    /// Its stages; none when it has ended and only waits for its attempts.
    pub stages: Vec<StageView>,
}

/// One worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerView {
    /// Which one.
    pub worker: WorkerId,
    /// Cores it offers.
    pub cores: u32,
    /// Cores that attempts hold.
    pub used: u32,
    /// It takes no new tasks.
    pub is_draining: bool,
}

impl<O> Queries<O> {
    /// What the tasks of `stage` left, in the order of the tasks; none unless every one of them is done.
    pub fn inputs(&self, query: &QueryId, stage: StageId) -> Option<Vec<Input<'_, O>>> {
        let Phase::Running(graph) = &self.find(query)?.phase else { return None };
        let stage = graph.stages.get(&stage).filter(|stage| stage.is_complete())?;
        let inputs = stage.outputs().map(|(task, attempt, worker, output)| Input { task, attempt, worker, output });
        Some(inputs.collect())
    }

    /// What the input of `stage` derives from: to be kept with every attempt of it that is launched at this moment, and
    /// given back when the query is attached to another leader. Zero where a further attempt of nothing above it could
    /// give other rows.
    pub fn lineage(&self, query: &QueryId, stage: StageId) -> u64 {
        let Some(Phase::Running(graph)) = self.find(query).map(|query| &query.phase) else { return 0 };
        graph.stages.get(&stage).and_then(|stage| stage.lineage).unwrap_or(0)
    }

    /// What a query that has not ended has used up of its budgets: to be kept by its driver, and given back when the query
    /// is attached to another leader.
    pub fn spent(&self, query: &QueryId) -> Option<Spent> {
        match &self.find(query)?.phase {
            Phase::Running(graph) => Some(graph.spent()),
            Phase::Ended => None,
        }
    }

    /// The stages of a query that has not ended.
    pub fn stages(&self, query: &QueryId) -> Option<Vec<StageView>> {
        self.find(query).map(view).filter(|stages| !stages.is_empty())
    }

    /// Whether the attempt decides about its task: its query has not ended, and no loss has made it obsolete.
    pub fn awaits(&self, query: &QueryId, attempt: Attempt) -> bool {
        let Some(booking) = self.ledger.get(query, attempt) else { return false };
        let Some(Phase::Running(graph)) = self.find(query).map(|query| &query.phase) else { return false };
        graph.awaits(booking.stage, booking.task, attempt)
    }

    /// Every query, in line.
    pub fn queries(&self) -> impl Iterator<Item = QueryView> {
        self.queries.values().map(|query| QueryView {
            query: query.id.clone(),
            app: query.app.clone(),
            stages: view(query),
        })
    }

    /// Every worker that is not lost.
    pub fn workers(&self) -> impl Iterator<Item = WorkerView> {
        self.fleet.iter().map(|(id, worker)| WorkerView {
            worker: id.clone(),
            cores: worker.cores,
            used: self.ledger.used_on(id),
            is_draining: worker.standing == Standing::Draining,
        })
    }

    /// Whether an attempt holds cores on a worker, or a running query has an output there that is still to be read.
    /// A draining worker that is not needed can go: only the loss of another worker could make it needed again, and
    /// then its outputs are made again. Results of ended queries are not known here.
    pub fn is_needed(&self, worker: &WorkerId) -> bool {
        let serves = |query: &Query<O>| match &query.phase {
            Phase::Running(graph) => graph.is_served_by(worker),
            Phase::Ended => false,
        };
        self.ledger.on_worker(worker).next().is_some() || self.queries.values().any(serves)
    }

    /// The attempts that hold cores on a worker, those of ended queries included.
    pub fn attempts_on(&self, worker: &WorkerId) -> impl Iterator<Item = AttemptRef> {
        self.ledger.on_worker(worker).map(|(attempt, _)| attempt)
    }

    /// The booking of an attempt that holds cores.
    pub fn booking(&self, query: &QueryId, attempt: Attempt) -> Option<Launch> {
        let booking = self.ledger.get(query, attempt)?;
        let attempt = AttemptRef { query: query.clone(), stage: booking.stage, task: booking.task, attempt };
        Some(Launch { attempt, worker: booking.worker.clone(), cores: booking.cores })
    }
}

fn view<O>(query: &Query<O>) -> Vec<StageView> {
    let Phase::Running(graph) = &query.phase else { return Vec::new() };
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let stages = graph.stages.iter().map(|(id, stage)| StageView {
        stage: *id,
        tasks: count(stage.len()),
        running: count(stage.running()),
        done: count(stage.done()),
        retries: stage.retries(),
    });
    stages.collect()
}
