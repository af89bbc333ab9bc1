//! What the queue takes. Pure.
//!
//! The bound travels in the command, as the leader that proposes has it: every replica refuses the same submissions,
//! also while the masters are started with different bounds.

use lake_proto::quantity::{bytes, count};
use lake_proto::{ErrorClass, Fault};
use serde::{Deserialize, Serialize};

use crate::application::DeployMode;
use crate::command::Submission;
use crate::state::State;

/// Applications that may wait when nothing else is said.
pub const DEFAULT_MAX_QUEUED: u64 = 20_000;
/// Pipelines of applications that have not ended, together: they are in memory, in every snapshot of the state, and on
/// their way to a master that lags.
pub const MAX_PIPELINES_BYTES: u64 = 256 << 20;

/// How much the masters take before something has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueBound {
    /// Applications that wait for a driver, at most.
    pub applications: u64,
    /// Pipelines of the applications that have not ended, together at most.
    pub pipelines_bytes: u64,
}

impl QueueBound {
    /// This many applications, and the bytes that every master can bear.
    pub const fn of(applications: u64) -> Self {
        Self { applications, pipelines_bytes: MAX_PIPELINES_BYTES }
    }
}

/// Whether there is room for a submission. One that is known takes none. A run in its client's process does not wait.
///
/// # Errors
/// `resource`, code `queue-full`, with what is there, the limit and what helps.
pub fn check(state: &State, submission: &Submission) -> Result<(), Fault> {
    let Some(bound) = submission.bound else { return Ok(()) };
    if state.by_submission.contains_key(&submission.id) {
        return Ok(());
    }
    let waits = match submission.options.deploy_mode {
        DeployMode::Cluster => true,
        DeployMode::Client => false,
    };
    let waiting = u64::try_from(state.waiting_count()).unwrap_or(u64::MAX);
    if waits && waiting >= bound.applications {
        return Err(full(format!(
            "{} applications wait for a driver, and at most {} may (lake-master --max-queued-applications)",
            count(waiting),
            count(bound.applications)
        )));
    }
    let size = u64::try_from(submission.pipeline.len()).unwrap_or(u64::MAX);
    let held = state.index.pipeline_bytes();
    if held.saturating_add(size) > bound.pipelines_bytes {
        return Err(full(format!(
            "the pipelines of the applications that have not ended take {}, this one {}, and together at most {} are kept",
            bytes(held),
            bytes(size),
            bytes(bound.pipelines_bytes)
        )));
    }
    Ok(())
}

fn full(what: String) -> Fault {
    let message = format!("the queue is full: {what}; submit again when some have ended, or end some with --kill");
    Fault::new(ErrorClass::Resource, "queue-full", message)
}
