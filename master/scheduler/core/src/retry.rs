//! How often what is tried again, and what a query ends with when that is used up. Pure.

use lake_proto::{ErrorClass, Fault, QueryId, WorkerId};

use crate::ids::{StageId, TaskIndex};

/// Attempts of one task that may fail transiently; the last of them ends the query.
pub const MAX_TASK_FAILURES: u32 = 4;
/// Workers a query may lose while it needs what they run or hold.
pub const MAX_WORKER_LOSSES: u32 = 3;
/// Times the outputs of one stage may be found unreadable and made again.
pub const MAX_OUTPUT_LOSSES: u32 = 4;
/// Times one reader may find an input unreadable; above [`MAX_OUTPUT_LOSSES`], because old locations count here too.
pub const MAX_FETCH_FAILURES: u32 = 12;

/// Whether the query goes on.
#[derive(Debug)]
pub(crate) enum Verdict {
    GoOn,
    Fail(Fault),
}

pub(crate) fn after_task_failure(failures: u32, stage: StageId, task: TaskIndex, fault: Fault) -> Verdict {
    if failures < MAX_TASK_FAILURES {
        return Verdict::GoOn;
    }
    Verdict::Fail(fault.within(format!("task {task} of stage {stage} failed {failures} times, the last time with")))
}

pub(crate) fn after_worker_loss(losses: u32, query: &QueryId, worker: &WorkerId) -> Verdict {
    if losses <= MAX_WORKER_LOSSES {
        return Verdict::GoOn;
    }
    Verdict::Fail(Fault::new(
        ErrorClass::Resource,
        "worker-losses",
        format!(
            "query {query} lost {losses} workers that it needed, the last one {worker}; expected at most \
             {MAX_WORKER_LOSSES}: look for the cause in the logs of the workers (memory?), then run the job again"
        ),
    ))
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
        "shuffle-fetch",
        format!(
            "output of stage {producer} could not be read {} times, the last time from worker {holder} ({fault}): \
             check that workers reach each other's flight ports, then run the job again",
            output_losses.max(fetch_failures)
        ),
    ))
}
