//! The spans of a run: application, step, query, commit. Edge: what they tell goes to logs and collectors.
//!
//! None has a field `version`: the Delta kernel records the versions of the tables that it reads under this name into the
//! span that it finds, and its own spans are filtered out.

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
    tracing::info_span!("step", table, table_version = Empty, error.class = Empty, error.code = Empty)
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
    tracing::info_span!("commit", table, table_version = Empty, error.class = Empty, error.code = Empty)
}

/// Notes in the current span how what it stands for has ended.
pub(super) fn ended<T>(outcome: &Result<T>, version: impl FnOnce(&T) -> Option<i64>) {
    let span = Span::current();
    match outcome {
        Ok(answer) => {
            if let Some(version) = version(answer) {
                span.record("table_version", version);
            }
        }
        Err(error) => {
            span.record("error.class", error.class().name());
            span.record("error.code", error.code());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_version_that_the_kernel_tells_of_another_table_is_not_that_of_the_commit() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber =
            tracing_subscriber::fmt().without_time().with_ansi(false).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            let span = commit("a.b");
            let _span = span.enter();
            // As it does while its own span is filtered out.
            Span::current().record("version", 4711);
            ended(&Ok(7_i64), |version| Some(*version));
            tracing::info!("said");
        });
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("table_version=7") && !text.contains("4711"), "{text}");
    }
}
