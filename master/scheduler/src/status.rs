//! What a worker reports about an attempt, as the stage machine understands it. Pure.

use std::sync::Arc;

use bytes::Bytes;
use lake_metrics::Ending;
use lake_proto::{ErrorClass, Fault, QueryId, v1};
use lake_scheduler_core::{Attempt, Kept, Outcome, StageId};

use crate::plan::Shape;

/// What a done task left behind.
#[derive(Debug, Clone)]
pub(crate) enum TaskOutput {
    /// Shuffle files.
    Shuffle(Arc<[v1::ShuffleOutput]>),
    /// The rows themselves, as an Arrow IPC stream.
    Inline(Bytes),
    /// The rows, on the worker.
    Ticket(Bytes),
}

/// A status whose ids are valid.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) query: QueryId,
    pub(crate) attempt: Attempt,
    pub(crate) outcome: Outcome<TaskOutput>,
    pub(crate) metrics: v1::TaskMetrics,
}

/// The ids of an attempt, when they are valid.
pub(crate) fn attempt(task: &v1::TaskRef) -> Option<(QueryId, Attempt)> {
    Some((task.query_id.parse().ok()?, Attempt(task.attempt)))
}

/// None when the status names no valid attempt.
pub(crate) fn report(status: v1::TaskStatus) -> Option<Report> {
    let task = status.task?;
    let (query, attempt) = attempt(&task)?;
    let outcome = match status.outcome {
        Some(v1::task_status::Outcome::Done(done)) => self::done(done),
        Some(v1::task_status::Outcome::Failed(failed)) => self::failed(failed),
        Some(v1::task_status::Outcome::Cancelled(_)) => Outcome::Cancelled,
        None => Outcome::Failed(Fault::new(
            ErrorClass::Internal,
            "task-status",
            format!("status of attempt {attempt} of query {query} has no outcome: run the same release everywhere"),
        )),
    };
    Some(Report { query, attempt, outcome, metrics: status.metrics.unwrap_or_default() })
}

/// How an attempt ended, as it is counted.
pub(crate) const fn ending(outcome: &Outcome<TaskOutput>) -> Ending {
    match outcome {
        Outcome::Done { .. } => Ending::Done,
        Outcome::Cancelled => Ending::Cancelled,
        Outcome::Failed(fault) | Outcome::FailedTransiently(fault) | Outcome::FetchFailed { fault, .. } => {
            Ending::Failed(fault.class)
        }
    }
}

/// A stage that writes files must report files, and the result stage rows.
pub(crate) fn fitting(shape: Shape, outcome: Outcome<TaskOutput>) -> Outcome<TaskOutput> {
    let Outcome::Done { output, .. } = &outcome else { return outcome };
    let (expected, fits) = match (shape, output) {
        (Shape::Shuffle, output) => ("shuffle files", matches!(output, TaskOutput::Shuffle(_))),
        (Shape::Result | Shape::Whole, output) => ("rows", !matches!(output, TaskOutput::Shuffle(_))),
    };
    if fits {
        return outcome;
    }
    let message = format!("a task is reported as done without {expected}: run the same release everywhere");
    Outcome::Failed(Fault::new(ErrorClass::Internal, "task-output", message))
}

fn done(done: v1::TaskDone) -> Outcome<TaskOutput> {
    if !done.ticket.is_empty() {
        return Outcome::Done { output: TaskOutput::Ticket(done.ticket), kept: Kept::OnWorker };
    }
    if !done.inline_ipc.is_empty() {
        return Outcome::Done { output: TaskOutput::Inline(done.inline_ipc), kept: Kept::InReport };
    }
    Outcome::Done { output: TaskOutput::Shuffle(done.outputs.into()), kept: Kept::OnWorker }
}

fn failed(failed: v1::TaskFailed) -> Outcome<TaskOutput> {
    let unknown = || Fault::new(ErrorClass::Internal, "task-failed", "a task failed and its worker did not say why");
    let fault = failed.failure.map_or_else(unknown, Fault::from);
    if let Some(fetch) = failed.fetch {
        return match fetch.worker_id.parse() {
            Ok(holder) => Outcome::FetchFailed { producer: StageId(fetch.stage_id), holder, fault },
            Err(_) => Outcome::FailedTransiently(fault),
        };
    }
    if failed.transient { Outcome::FailedTransiently(fault) } else { Outcome::Failed(fault) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(outcome: Option<v1::task_status::Outcome>) -> v1::TaskStatus {
        let task = v1::TaskRef { query_id: "q".to_owned(), stage_id: 1, task_index: 2, attempt: 3 };
        v1::TaskStatus { seq: 1, task: Some(task), outcome, metrics: None }
    }

    fn outcome(failed: v1::TaskFailed) -> Outcome<TaskOutput> {
        report(status(Some(v1::task_status::Outcome::Failed(failed)))).unwrap().outcome
    }

    #[test]
    fn statuses_become_outcomes() {
        let failure =
            Some(v1::Failure { class: "unavailable".to_owned(), code: "io".to_owned(), message: String::new() });
        let failed = |transient, fetch| v1::TaskFailed { failure: failure.clone(), transient, fetch };
        let fetch = |worker: &str| Some(v1::FetchFailure { worker_id: worker.to_owned(), stage_id: 7 });
        assert!(matches!(outcome(failed(false, None)), Outcome::Failed(fault) if fault.code == "io"));
        assert!(matches!(outcome(failed(true, None)), Outcome::FailedTransiently(_)));
        assert!(matches!(outcome(failed(false, fetch("w"))), Outcome::FetchFailed { producer: StageId(7), .. }));
        assert!(matches!(outcome(failed(false, fetch("../w"))), Outcome::FailedTransiently(_)));
        assert!(matches!(report(status(None)).unwrap().outcome, Outcome::Failed(_)));
        let mut nameless = status(None);
        nameless.task = None;
        assert!(report(nameless).is_none());
    }

    #[test]
    fn only_inline_rows_survive_their_worker() {
        let done = |inline_ipc: &'static [u8], ticket: &'static [u8]| {
            let (inline_ipc, ticket) = (Bytes::from_static(inline_ipc), Bytes::from_static(ticket));
            let done = v1::TaskDone { outputs: Vec::new(), inline_ipc, ticket };
            report(status(Some(v1::task_status::Outcome::Done(done)))).unwrap().outcome
        };
        assert!(matches!(done(b"rows", b""), Outcome::Done { kept: Kept::InReport, .. }));
        assert!(matches!(done(b"", b"ticket"), Outcome::Done { kept: Kept::OnWorker, .. }));
        assert!(matches!(done(b"", b""), Outcome::Done { output: TaskOutput::Shuffle(_), kept: Kept::OnWorker }));
    }
}
