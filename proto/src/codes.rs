//! Error codes that one crate gives and another one decides by: written once, so that neither side can change alone. Pure.
//!
//! Never here: codes that only people read; they stand where their fault is made.

/// `resource`: a query lost as many workers as it may. Another launch of its driver would take down more, so there is
/// none.
pub const WORKER_LOSSES: &str = "worker-losses";

/// `resource`: a run passed `job.timeout`. Another launch of its driver has no time left, so there is none.
pub const TIMEOUT: &str = "timeout";

/// `unavailable`: the master that ran a query stopped or leads no more. The driver goes on with it at the next leader.
pub const SCHEDULER_STOPPED: &str = "scheduler-stopped";

/// `conflict`: the leading master cuts a query otherwise than the one that began it. The driver sends it afresh.
pub const QUERY_CHANGED: &str = "query-changed";

/// `conflict`: the leading master is the one that ran a query, and has ended it. The driver sends it afresh.
pub const QUERY_OVER: &str = "query-over";

/// `unavailable`: another master than the one that was asked does not answer. To ask again, or elsewhere, would not help:
/// whoever asked the leader is told at once.
pub const NO_ANSWER: &str = "no-answer";

/// `unavailable`: the rows that one task left for another could not be read. Who writes rows meets errors of the same types,
/// and tells them apart by who it is.
pub const SHUFFLE_FETCH: &str = "shuffle-fetch";
