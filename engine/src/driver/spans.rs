//! The spans of a run: application, step, query, commit. Edge: what they tell goes to logs and collectors.

use lake_telemetry::trace;
use tracing::Span;
use tracing::field::Empty;

use super::run::Run;
use crate::Result;

/// Of a whole run; part of the trace of its submission.
pub(super) fn application(app_id: &str, driver_id: &str, traceparent: &str) -> Span {
    let span =
        tracing::info_span!("application", app_id = Empty, driver_id = Empty, error.class = Empty, error.code = Empty);
    for (field, id) in [("app_id", app_id), ("driver_id", driver_id)] {
        if !id.is_empty() {
            span.record(field, id);
        }
    }
    trace::follow(&span, traceparent);
    span
}

/// Of the step at `index`.
pub(super) fn step(run: &Run, index: usize) -> Span {
    let table = run.table_name(index);
    tracing::info_span!("step", table, version = Empty, error.class = Empty, error.code = Empty)
}

/// Of the look at a step's plan before any step runs.
pub(super) fn plan(table: &str) -> Span {
    tracing::info_span!("plan", table)
}

/// Of one query of a step.
pub(super) fn query(query_id: &str, table: &str) -> Span {
    tracing::info_span!("query", query_id, table)
}

/// Of a step's commit.
pub(super) fn commit(table: &str) -> Span {
    tracing::info_span!("commit", table, version = Empty, error.class = Empty, error.code = Empty)
}

/// Notes in the current span how what it stands for has ended.
pub(super) fn ended<T>(outcome: &Result<T>, version: impl FnOnce(&T) -> Option<i64>) {
    let span = Span::current();
    match outcome {
        Ok(answer) => {
            if let Some(version) = version(answer) {
                span.record("version", version);
            }
        }
        Err(error) => {
            span.record("error.class", error.class().name());
            span.record("error.code", error.code());
        }
    }
}
