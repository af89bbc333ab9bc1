//! What happens to the machine and what it wants done. Pure.
//!
//! `O` is what a done task leaves behind: opaque here, locations and rows at the edge.

use std::collections::BTreeSet;
use std::time::Duration;

use lake_proto::{AppId, Fault, QueryId, WorkerId};

use crate::adopt::Remains;
use crate::ids::{Attempt, AttemptRef, StageId, TaskIndex};

/// Something that was reported.
#[derive(Debug, Clone)]
pub enum Event<O> {
    /// A worker can take tasks. Repeats are ignored.
    WorkerJoined {
        /// Fresh for every life of a worker process.
        worker: WorkerId,
        /// Cores it offers; at least one is assumed.
        cores: u32,
        /// It joins as one that takes no tasks, see [`Event::WorkerDraining`].
        is_draining: bool,
    },
    /// A worker takes no new tasks; what it runs goes on and what it holds stays readable.
    WorkerDraining {
        /// Which one.
        worker: WorkerId,
    },
    /// A worker is gone with all that it ran and held. Its id never comes back.
    WorkerLost {
        /// Which one.
        worker: WorkerId,
    },
    /// A query is to be run.
    QuerySubmitted(QueryDefinition),
    /// A query that an earlier leader has run is to be run on. It must be cut as it was cut then.
    QueryAttached {
        /// The query.
        definition: QueryDefinition,
        /// What workers still hold and run of it.
        left: Remains<O>,
    },
    /// Nobody wants the query any more.
    QueryCancelled {
        /// Which one; unknown ones are ignored.
        query: QueryId,
    },
    /// The application has ended: its queries are cancelled and it is forgotten.
    ApplicationEnded {
        /// Which one.
        app: AppId,
    },
    /// An attempt ended. Late, repeated and unknown reports change nothing.
    AttemptEnded {
        /// Who reports it.
        worker: WorkerId,
        /// The attempt's query.
        query: QueryId,
        /// Which attempt.
        attempt: Attempt,
        /// How it ended.
        outcome: Outcome<O>,
    },
    /// These attempts take much longer than the other tasks of their stages: each gets a second attempt beside it, on
    /// another worker, when cores are free that no waiting task wants. What gets none now is forgotten, so that this is
    /// to be said again for as long as it holds.
    Stragglers {
        /// Their query.
        query: QueryId,
        /// Attempts that do not decide about their task, or not alone, are ignored.
        attempts: Vec<Attempt>,
    },
    /// An attempt runs longer than it may: it is cancelled and has failed for a while. Its cores stay booked until its
    /// end is reported or its worker is lost, but its task waits for neither.
    AttemptOverdue {
        /// The attempt's query.
        query: QueryId,
        /// Which attempt; ignored unless it decides about its task.
        attempt: Attempt,
        /// How long it was allowed to run.
        limit: Duration,
    },
    /// Nothing but that time has passed: tasks that waited for it are launched, see [`crate::Queries::due_at`].
    TimePassed,
    /// For as long as the edge wants to wait there has been no worker that could run anything of the query. Ignored
    /// when there is one, or an attempt of the query is still running.
    WorkersAwaitedInVain {
        /// Which one.
        query: QueryId,
    },
}

/// How an attempt ended.
#[derive(Debug, Clone)]
pub enum Outcome<O> {
    /// It did its work.
    Done {
        /// What it left.
        output: O,
        /// Where that is.
        kept: Kept,
    },
    /// It failed and would fail again: the query ends with this fault.
    Failed(Fault),
    /// It failed and may succeed elsewhere or later.
    FailedTransiently(Fault),
    /// It could not read what `producer` left on `holder`.
    FetchFailed {
        /// The input stage.
        producer: StageId,
        /// The worker that should have served it.
        holder: WorkerId,
        /// The reader's own words.
        fault: Fault,
    },
    /// It was told to end.
    Cancelled,
}

/// Where the output of a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// On the worker that ran it, and lost with that worker.
    OnWorker,
    /// Inside the report itself.
    InReport,
}

/// A query as a graph of stages.
#[derive(Debug, Clone)]
pub struct QueryDefinition {
    /// Fresh for every run.
    pub id: QueryId,
    /// Who runs it.
    pub app: AppId,
    /// Cores the application may use at once; none or zero for no limit.
    pub cores_cap: Option<u32>,
    /// Producers before consumers; the last one is the result.
    pub stages: Vec<StageDefinition>,
}

/// A stage: the same work over slices of its input.
#[derive(Debug, Clone)]
pub struct StageDefinition {
    /// Greater than the number of every input.
    pub id: StageId,
    /// The stages it reads, each of them whole before it starts.
    pub inputs: BTreeSet<StageId>,
    /// Number of slices, at least one.
    pub tasks: u32,
    /// Cores each attempt wants; it gets less when no worker is that large or the application's cap is lower.
    pub cores: u32,
    /// A further attempt of a task gives the same rows, in whatever order. Where it may not, what has read an output
    /// that is made again reads it again. Says nothing about the result stage: nobody reads that one.
    pub is_repeatable: bool,
    /// What it does, for messages: the names of its operators, without anything of the user's.
    pub operators: String,
}

/// Something that must be done now.
#[derive(Debug, Clone)]
pub enum Action<O> {
    /// Start an attempt; it reads what [`crate::Queries::inputs`] shows at this moment.
    Launch(Launch),
    /// Tell a worker to end an attempt, of a query that has ended, of a task that another attempt has done or that will be
    /// run again; its cores stay booked until the end is reported.
    Cancel {
        /// Where it runs.
        worker: WorkerId,
        /// Which one.
        attempt: AttemptRef,
    },
    /// A query was attached, and this of what was left of it counts. Everything else of it that runs is to be told to
    /// end.
    Adopted {
        /// Which query.
        query: QueryId,
        /// Whose outputs are taken for their tasks'.
        outputs: Vec<AttemptRef>,
        /// The attempts that are waited for; their cores are booked.
        attempts: Vec<AttemptRef>,
    },
    /// The query has its answer: tell its driver. Attempts of it may still be running.
    Ended {
        /// Which one.
        query: QueryId,
        /// The answer.
        end: QueryEnd<O>,
    },
    /// The query has ended, no attempt of it runs any more and nothing of it is left here: delete its files.
    Retired {
        /// Which one.
        query: QueryId,
    },
    /// The query was not taken up.
    Refused {
        /// Which one.
        query: QueryId,
        /// Why.
        fault: Fault,
    },
}

/// An attempt to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Which one.
    pub attempt: AttemptRef,
    /// Where.
    pub worker: WorkerId,
    /// Cores booked for it.
    pub cores: u32,
}

/// How a query ended.
#[derive(Debug, Clone)]
pub enum QueryEnd<O> {
    /// The output of every task of the result stage, exactly one each, in the order of the tasks.
    Finished(Vec<ResultPiece<O>>),
    /// It failed, or was cancelled (class `cancelled`).
    Failed(Fault),
}

/// The output of one task of the result stage.
#[derive(Debug, Clone)]
pub struct ResultPiece<O> {
    /// Its task.
    pub task: TaskIndex,
    /// Who made it, and holds it unless it was kept in the report.
    pub worker: WorkerId,
    /// The output.
    pub output: O,
}
