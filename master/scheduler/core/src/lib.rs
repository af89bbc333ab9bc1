//! The stage machine: which task of which query runs where, decided as a pure function of what was reported.
//!
//! Lives here: queries, stages, tasks, attempts, where outputs are, the ledger of cores, placement, retry budgets.
//! Never here: plans, channels, clocks, randomness, I/O, unordered maps. Pure.
//!
//! Invariants, each held by the simulation in `simulation/`:
//! * the output of a stage is a map *task → one attempt*: the first success wins and nothing can be counted twice;
//! * a stage is launched only when every task of every input stage is done, and reads what is done at that moment;
//! * a task has at most two attempts that decide about it, on different workers, and the second one only because the
//!   first one straggles; when one has succeeded the other is cancelled;
//! * cores are booked per attempt and freed once, when its end is reported or its worker is lost;
//! * where a further attempt of a task may give other rows (`random()`, `LIMIT` without an order), an answer derives
//!   from one and the same attempt of it: what has read a lost output is run again before the new one is read;
//! * of what earlier leaders have left of a query, no more counts than of an undisturbed run: one output of each task, and
//!   all of it derived from the same attempts where others would give other rows;
//! * a query that has ended and whose attempts have ended leaves no state.
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]
#![warn(missing_docs)]

mod adopt;
mod event;
mod fleet;
mod ids;
mod ledger;
mod placement;
mod queries;
mod query;
mod readout;
mod retry;
mod stage;
mod stragglers;

pub use adopt::{HeldAttempt, HeldOutput, Origin, Remains};
pub use event::{Action, Event, Kept, Launch, Outcome, QueryDefinition, QueryEnd, ResultPiece, StageDefinition};
pub use ids::{Attempt, AttemptRef, StageId, TaskIndex};
pub use queries::Queries;
pub use readout::{Input, QueryView, StageView, WorkerView};
pub use retry::{
    MAX_FETCH_FAILURES, MAX_OUTPUT_LOSSES, MAX_TASK_FAILURES, MAX_WORKER_LOSSES, Spent, TASK_PAUSE, overdue,
};
pub use stragglers::{Running, Speculation, stragglers};

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
