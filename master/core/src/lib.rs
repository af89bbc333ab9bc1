//! The cluster's state machine. Pure.
//!
//! Lives here: what the masters agree on ([`State`]), the only way to change it ([`apply()`]), what the leader derives
//! from it ([`decide()`], [`reconcile()`], [`drained()`]) and what people are shown of it ([`view`]).
//! Never here: async code, clocks, randomness, unordered maps, I/O, log lines. Time arrives inside commands and
//! observations.
//!
//! Four verbs, never mixed: *decide* (leader: state + observed → commands), *apply* (every replica, total and
//! infallible), *reconcile* (leader: desired + observed → effects), *execute* (outside, in `lake-master`).
#![warn(missing_docs)]

pub mod admission;
pub mod application;
mod apply;
pub mod codec;
pub mod command;
mod date;
pub mod decide;
pub mod digest;
pub mod drain;
pub mod event;
mod index;
pub mod invariants;
pub mod observed;
mod placement;
pub mod reconcile;
#[cfg(test)]
mod simulation;
pub mod state;
pub mod step;
pub mod view;
pub mod worker;

pub use admission::QueueBound;
pub use application::{Application, Attempt, DeployMode, Launch, Options, Phase, ProcessEnd};
pub use apply::apply;
pub use command::{Command, Exit, Registration, Stamped, Submission};
pub use decide::decide;
pub use drain::drained;
pub use event::Event;
pub use observed::{Observed, ObservedWorker, Timeouts};
pub use reconcile::{Effect, reconcile};
pub use state::State;
pub use step::Step;
pub use worker::{Worker, WorkerState};
