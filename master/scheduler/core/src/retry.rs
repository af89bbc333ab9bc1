//! How often what is tried again, and what a query ends with when that is used up. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lake_proto::{ErrorClass, Fault, QueryId, WorkerId, codes};

use crate::ids::{Attempt, StageId, TaskIndex};

/// Attempts of one task that may fail transiently; the last of them ends the query.
pub const MAX_TASK_FAILURES: u32 = 4;
/// What a task waits before its third attempt when what it needs is away, unless [`crate::Queries::new`] is told another
/// time; twice as long before the fourth. The second attempt comes at once, elsewhere: mostly it was the worker.
pub const TASK_PAUSE: Duration = Duration::from_secs(5);
/// Workers that a query loses while it needs what they run or hold; the last of them ends it.
pub const MAX_WORKER_LOSSES: u32 = 3;
/// Times the outputs of one stage may be found unreadable and made again.
pub const MAX_OUTPUT_LOSSES: u32 = 4;
/// Times one reader may find an input unreadable; above [`MAX_OUTPUT_LOSSES`], because old locations count here too.
pub const MAX_FETCH_FAILURES: u32 = 12;

/// What a query has used up of its budgets. The next leader is given it back, because it would begin with whole ones: a
/// query that kills workers, or a task that never succeeds, could go on for as long as leaders change. How often outputs
/// were unreadable is not part of it: what a new leader finds is what is there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Spent {
    /// Workers that it has lost while it needed them, each with the stages that it ran tasks of.
    pub worker_losses: BTreeMap<WorkerId, BTreeSet<StageId>>,
    /// Transient failures of its tasks, of those that have any.
    pub task_failures: BTreeMap<(StageId, TaskIndex), u32>,
}

/// Whether the query goes on.
#[derive(Debug)]
pub(crate) enum Verdict {
    GoOn,
    Fail(Fault),
}

/// The time now, and what tasks wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    /// The latest time that anything happened at.
    pub(crate) now: Duration,
    /// As [`TASK_PAUSE`].
    pub(crate) task_pause: Duration,
}

impl Clock {
    /// When a task with so many transient failures is tried again, the last of which was of this class. What is
    /// unavailable may be back later; anything else is no other for waiting.
    pub(crate) fn again_at(self, failures: u32, class: ErrorClass) -> Duration {
        match (class, failures.checked_sub(2)) {
            (ErrorClass::Unavailable, Some(doublings)) => {
                self.now.saturating_add(self.task_pause.saturating_mul(2_u32.saturating_pow(doublings)))
            }
            _ => self.now,
        }
    }
}

/// `stage` as [`named`] has it.
pub(crate) fn after_task_failure(failures: u32, stage: &str, task: TaskIndex, fault: Fault) -> Verdict {
    if failures < MAX_TASK_FAILURES {
        return Verdict::GoOn;
    }
    Verdict::Fail(fault.within(format!("task {task} of {stage} failed {failures} times, the last time with")))
}

/// `culprits` are the stages that lost workers ran tasks of, each with how many of them did.
pub(crate) fn after_worker_loss(
    losses: usize,
    query: &QueryId,
    worker: &WorkerId,
    mut culprits: Vec<(usize, String)>,
) -> Verdict {
    if losses < MAX_WORKER_LOSSES as usize {
        return Verdict::GoOn;
    }
    // Stable: of stages that are equally suspicious the one that comes first in the query is named first.
    culprits.sort_by(|(left, _), (right, _)| right.cmp(left));
    let ran: Vec<String> = culprits.iter().map(|(count, stage)| format!("{count} of them ran {stage}")).collect();
    let ran = if ran.is_empty() { "none of them ran a task of it".to_owned() } else { ran.join(", ") };
    Verdict::Fail(Fault::new(
        ErrorClass::Resource,
        codes::WORKER_LOSSES,
        format!(
            "query {query} lost {losses} workers that it needed, the last one {worker}, and is not run on more; {ran}: \
             look for the cause in the logs of the workers (memory?), then run the job again"
        ),
    ))
}

/// What an attempt fails with when it runs longer than `limit`. A limit is a quota, so its class is `resource`, as that
/// of a job that passes its own.
pub fn overdue(attempt: Attempt, worker: &WorkerId, limit: Duration) -> Fault {
    Fault::new(
        ErrorClass::Resource,
        "task-timeout",
        format!(
            "attempt {attempt} on worker {worker} did not end within the task timeout of {limit:?}: raise \
             job.task_timeout or give the job more cores, or look in the worker's log what it waits for"
        ),
    )
}

/// A stage with what it does, for messages.
pub(crate) fn named(stage: StageId, operators: &str) -> String {
    if operators.is_empty() { format!("stage {stage}") } else { format!("stage {stage} ({operators})") }
}

pub(crate) fn after_fetch_failure(
    output_losses: u32,
    fetch_failures: u32,
    producer: StageId,
    holder: &WorkerId,
    fault: &Fault,
) -> Verdict {
    if output_losses <= MAX_OUTPUT_LOSSES && fetch_failures <= MAX_FETCH_FAILURES {
        return Verdict::GoOn;
    }
    Verdict::Fail(Fault::new(
        ErrorClass::Unavailable,
        codes::SHUFFLE_FETCH,
        format!(
            "output of stage {producer} could not be read {} times, the last time from worker {holder} ({fault}): \
             check that workers reach each other's flight ports, then run the job again",
            output_losses.max(fetch_failures)
        ),
    ))
}
