//! What workers report: ends of attempts and heartbeats. Edge.

use std::collections::BTreeSet;
use std::time::Duration;

use lake_proto::v1::master_message::Message as ToWorker;
use lake_proto::{ErrorClass, Fault, QueryId, WorkerId, v1};
use lake_scheduler_core::{Attempt, Event, Outcome};
use tokio::time::Instant;

use super::Owner;
use crate::status::{self, TaskOutput};

impl Owner {
    pub(super) fn task_status(&mut self, worker: WorkerId, status: v1::TaskStatus) {
        self.stash.note(&worker, &status);
        let Some(report) = status::report(status) else {
            tracing::warn!(worker_id = %worker, "a status names no valid attempt");
            return;
        };
        let status::Report { query, attempt, mut outcome, metrics } = report;
        let elapsed = Duration::from_millis(metrics.elapsed_ms);
        if let Some(link) = self.links.get_mut(&worker) {
            link.unwatch(&query, attempt);
        }
        let booking = self.machine.booking(&query, attempt).filter(|booking| booking.worker == worker);
        // One that was superseded leaves nothing behind.
        let booking = booking.filter(|_| self.machine.awaits(&query, attempt));
        if let Some(entry) = self.entries.get_mut(&query) {
            let took = entry.attempt_ended(attempt);
            if let Some(booking) = booking {
                if let Some(stage) = entry.stages.get(&booking.attempt.stage) {
                    outcome = status::fitting(stage.shape, outcome);
                }
                if let Outcome::Done { output, .. } = &outcome {
                    let (stage, task) = (booking.attempt.stage, booking.attempt.task);
                    entry.progress.task_done(stage, task, &metrics);
                    entry.spans.task_done(stage, task);
                    if let Some(took) = took {
                        entry.pace.done(stage, task, took);
                    }
                    if let TaskOutput::Inline(rows) = output {
                        entry.inline_bytes.hold(booking.attempt.task, rows.len() as u64);
                    }
                }
                if entry.inline_bytes.total() > self.services.settings.max_inline_bytes {
                    outcome = Outcome::Failed(too_large(&query, self.services.settings.max_inline_bytes));
                }
            }
        }
        log_outcome(&worker, &query, attempt, &outcome);
        self.note_end(&query, attempt, &worker, &outcome, &metrics);
        // A status may come again after its stream was opened anew: it is counted while its attempt is known.
        if self.machine.booking(&query, attempt).is_some_and(|booking| booking.worker == worker) {
            self.services.settings.tally.task_ended(status::ending(&outcome), elapsed);
        }
        self.event(Event::AttemptEnded { worker, query, attempt, outcome });
    }

    pub(super) fn heartbeat(&mut self, worker: &WorkerId, heartbeat: v1::Heartbeat) {
        let Some(link) = self.links.get_mut(worker) else { return };
        let mut running = BTreeSet::new();
        let metrics = heartbeat.metrics.into_iter().map(Some).chain(std::iter::repeat(None));
        for (task, metrics) in heartbeat.running.into_iter().zip(metrics) {
            let named = status::attempt(&task);
            let booking = named.as_ref().and_then(|(query, attempt)| self.machine.booking(query, *attempt));
            let booking = booking.filter(|booking| booking.worker == *worker);
            let wanted = booking.filter(|booking| self.machine.awaits(&booking.attempt.query, booking.attempt.attempt));
            if let (Some(booking), Some(metrics)) = (&wanted, metrics)
                && let Some(entry) = self.entries.get_mut(&booking.attempt.query)
            {
                entry.progress.attempt_runs(&booking.attempt, &metrics);
                self.account.runs(&booking.attempt.query, booking.attempt.attempt.0, &metrics);
            }
            let waits = named.as_ref().is_some_and(|(query, _)| self.stash.knows(query, worker));
            if wanted.is_none() && !waits {
                // Unknown, superseded, or of a query that has ended: told once or again.
                link.send(ToWorker::CancelTask(v1::CancelTask { task: Some(task) }));
            }
            running.extend(named);
        }
        for (query, attempt) in link.heartbeat(&running, Instant::now(), self.services.settings.watchdog) {
            tracing::warn!(worker_id = %worker, query_id = %query, %attempt, "the worker does not run an attempt");
            let message = format!("worker {worker} does not run attempt {attempt} of query {query} any more");
            let outcome = Outcome::FailedTransiently(Fault::new(ErrorClass::Unavailable, "attempt-vanished", message));
            if let Some(entry) = self.entries.get_mut(&query) {
                self.services.settings.tally.task_lost(entry.attempt_ended(attempt));
            }
            self.note_end(&query, attempt, worker, &outcome, &v1::TaskMetrics::default());
            self.event(Event::AttemptEnded { worker: worker.clone(), query, attempt, outcome });
        }
    }
}

fn too_large(query: &QueryId, limit: u64) -> Fault {
    let message = format!("query {query} answers with more than {limit} bytes of rows inside its statuses");
    Fault::new(ErrorClass::Resource, "result-size", message)
}

fn log_outcome(worker: &WorkerId, query: &QueryId, attempt: Attempt, outcome: &Outcome<TaskOutput>) {
    match outcome {
        Outcome::Done { .. } | Outcome::Cancelled => {
            tracing::debug!(worker_id = %worker, query_id = %query, %attempt, "attempt ended");
        }
        Outcome::Failed(fault) | Outcome::FailedTransiently(fault) | Outcome::FetchFailed { fault, .. } => {
            tracing::warn!(
                worker_id = %worker, query_id = %query, %attempt,
                error.class = %fault.class, error.code = %fault.code, error = %fault, "attempt failed"
            );
        }
    }
}
