//! Queries that an earlier leader has run: what workers report of them, and their drivers that come back. Edge.

use lake_proto::v1::master_message::Message as ToWorker;
use lake_proto::{AppId, ErrorClass, Fault, QueryId, WorkerId, codes, v1};
use lake_scheduler_core::{
    Attempt, AttemptRef, Event, HeldAttempt, HeldOutput, Origin, Outcome, QueryDefinition, Remains, StageId, TaskIndex,
};
use tokio::time::Instant;

use super::{Attachment, Owner, account};
use crate::entry::Reported;
use crate::stash::{Patience, Share};
use crate::status::{self, TaskOutput};

impl Owner {
    /// A worker says what it has of every query it knows.
    pub(super) fn held(&mut self, worker: &WorkerId, held: v1::Held) {
        if !self.links.contains_key(worker) {
            return;
        }
        let settings = &self.services.settings;
        let patience = Patience { grace: settings.attach_grace, retention: settings.result_retention };
        let now = Instant::now();
        for query in held.queries {
            let Ok(id) = query.query_id.parse::<QueryId>() else { continue };
            if let Some(entry) = self.entries.get_mut(&id) {
                // What it runs of it and should not is found at its next heartbeat.
                entry.prepared.insert(worker.clone());
            } else if self.used.contains(&id) || !self.stash.hold(worker, &id, query, patience, now) {
                self.drop_at(&id, [worker.clone()]);
            }
        }
    }

    /// Goes on with a query whose entry was just made.
    pub(super) fn attach(&mut self, definition: QueryDefinition, attachment: Attachment) {
        let query = definition.id.clone();
        let shares = self.stash.take(&query, &definition.app);
        let Some(entry) = self.entries.get_mut(&query) else { return };
        entry.prepared.extend(shares.keys().cloned());
        let Attachment { number: attachment, spent } = attachment;
        let mut left = Remains { attachment, outputs: Vec::new(), attempts: Vec::new(), spent };
        let mut running: Vec<(WorkerId, v1::TaskRef)> = Vec::new();
        for (worker, Share { done, running: attempts }) in shares {
            for held in done.into_values() {
                let lineage = held.lineage;
                let Some(status) = held.status else { continue };
                let Some(origin) = status.task.as_ref().map(|task| origin(task, &worker, lineage)) else { continue };
                let Some(stage) = entry.stages.get(&origin.stage) else { continue };
                let Some(status::Report { outcome, metrics, .. }) = status::report(status) else { continue };
                let Outcome::Done { output, kept } = status::fitting(stage.shape, outcome) else { continue };
                let inline_bytes = match &output {
                    TaskOutput::Inline(rows) => rows.len() as u64,
                    TaskOutput::Shuffle(_) | TaskOutput::Ticket(_) => 0,
                };
                entry.reported.insert(origin.attempt, Reported { metrics, inline_bytes });
                left.outputs.push(HeldOutput { origin, output, kept });
            }
            for held in attempts.into_values() {
                let Some(task) = held.task else { continue };
                left.attempts.push(HeldAttempt { origin: origin(&task, &worker, held.lineage), cores: held.cores });
                running.push((worker.clone(), task));
            }
        }
        self.event(Event::QueryAttached { definition, left });
        for (worker, task) in running {
            let booking = self.machine.booking(&query, Attempt(task.attempt));
            if booking.is_none_or(|booking| booking.worker != worker)
                && let Some(link) = self.links.get(&worker)
            {
                link.send(ToWorker::CancelTask(v1::CancelTask { task: Some(task) }));
            }
        }
    }

    /// The machine has taken over these outputs and attempts.
    pub(super) fn adopted(&mut self, query: &QueryId, outputs: Vec<AttemptRef>, attempts: Vec<AttemptRef>) {
        let Some(entry) = self.entries.get_mut(query) else { return };
        tracing::info!(
            query_id = %query, app_id = %entry.app, adopted_outputs = outputs.len(),
            adopted_attempts = attempts.len(), "query re-attached"
        );
        let mut reported = std::mem::take(&mut entry.reported);
        for output in outputs {
            let Some(Reported { metrics, inline_bytes }) = reported.remove(&output.attempt) else { continue };
            entry.progress.task_done(output.stage, output.task, &metrics);
            self.account.output_taken(query, output.stage.0, output.task.0, &metrics);
            if inline_bytes > 0 {
                entry.inline_bytes.hold(output.task, inline_bytes);
            }
        }
        let now = Instant::now();
        for AttemptRef { query, attempt, .. } in attempts {
            let Some(booking) = self.machine.booking(&query, attempt) else { continue };
            if let Some(link) = self.links.get_mut(&booking.worker) {
                let stage = booking.attempt.stage.0;
                self.account.launched(&query, stage, account::launched(&booking, &link.worker.host));
                link.watch(query, attempt, now);
            }
        }
    }

    /// Nobody wants what is left of the query.
    pub(super) fn give_up(&mut self, query: &QueryId, app: &AppId) {
        let workers = self.stash.give_up(query, app);
        self.drop_at(query, workers);
    }

    /// Drops what has waited for its driver long enough.
    pub(super) fn drop_expired(&mut self) {
        for (query, workers) in self.stash.expired(Instant::now()) {
            tracing::info!(query_id = %query, workers = workers.len(), "nobody has attached the query: it is dropped");
            self.drop_at(&query, workers);
        }
    }

    /// Drops what is left of an application's queries.
    pub(super) fn drop_remains_of(&mut self, app: &AppId) {
        for (query, workers) in self.stash.of_app(app) {
            self.drop_at(&query, workers);
        }
    }

    fn drop_at(&self, query: &QueryId, workers: impl IntoIterator<Item = WorkerId>) {
        for worker in workers {
            if let Some(link) = self.links.get(&worker) {
                link.send(ToWorker::DropQuery(v1::DropQuery { query_id: query.as_str().to_owned() }));
            }
        }
    }
}

/// For a query that cannot be attached here, because this leader has run it.
pub(super) fn over(query: &QueryId) -> Fault {
    let message = format!("query {query} has ended on this master, or runs there: it must be run as a fresh query");
    Fault::new(ErrorClass::Conflict, codes::QUERY_OVER, message)
}

fn origin(task: &v1::TaskRef, worker: &WorkerId, lineage: u64) -> Origin {
    Origin {
        stage: StageId(task.stage_id),
        task: TaskIndex(task.task_index),
        attempt: Attempt(task.attempt),
        worker: worker.clone(),
        lineage,
    }
}
