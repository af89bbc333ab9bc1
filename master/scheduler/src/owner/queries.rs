//! Queries from their submission to their answer, and what the machine says on the way. Edge.

use std::collections::{BTreeMap, VecDeque};

use lake_proto::v1::master_message::Message as ToWorker;
use lake_proto::{ErrorClass, Fault, QueryId, v1};
use lake_scheduler_core::{Action, Event, Launch, Outcome, QueryEnd, StageId};
use tokio::sync::mpsc;

use super::{Owner, Start, Submission, attach, waves};
use crate::entry::{self, Answer, Entry};
use crate::launch::task_ref;
use crate::status::TaskOutput;

/// Events that may wait for a driver that reads slowly; progress beyond this is skipped.
const WAITING_EVENTS: usize = 64;
/// Ids of queries that are remembered, so that none is used twice.
const REMEMBERED_QUERIES: usize = 16_384;

impl Owner {
    pub(super) fn submit(&mut self, mut submission: Submission) -> Result<mpsc::Receiver<v1::QueryEvent>, Fault> {
        let definition = submission.plan.definition.clone();
        let query = definition.id.clone();
        let (accepted, attachment) = (submission.accepted, submission.start.attachment().cloned());
        match self.remember(&query) {
            Err(_) if attachment.is_some() => return Err(attach::over(&query)),
            remembered => remembered?,
        }
        if let Start::Fresh { replaces: Some(replaced) } = &submission.start {
            self.give_up(replaced, &definition.app);
        }
        tracing::info!(
            query_id = %query,
            app_id = %definition.app,
            table = submission.label,
            stages = definition.stages.len(),
            "query submitted"
        );
        self.account.accepted(&definition.app, &query, std::mem::take(&mut submission.record));
        let (events, receiver) = mpsc::channel(WAITING_EVENTS);
        // The channel is new and empty.
        let _ = events.try_send(entry::accepted(accepted));
        let ended = self.services.stop.child_token();
        self.services.cancel_when_closed(query.clone(), events.clone(), ended.clone());
        self.entries.insert(query, Entry::new(submission, events, ended));
        match attachment {
            None => self.event(Event::QuerySubmitted(definition)),
            Some(attachment) => self.attach(definition, attachment),
        }
        Ok(receiver)
    }

    fn remember(&mut self, query: &QueryId) -> Result<(), Fault> {
        if self.entries.contains_key(query) || !self.used.insert(query.clone()) {
            let message = format!("query id {query} was used before; expected a fresh UUID for every query");
            return Err(Fault::new(ErrorClass::InvalidJob, "query-id", message));
        }
        self.used_in_order.push_back(query.clone());
        if self.used_in_order.len() > REMEMBERED_QUERIES
            && let Some(oldest) = self.used_in_order.pop_front()
        {
            self.used.remove(&oldest);
        }
        Ok(())
    }

    /// Feeds the machine and does what it says, until it says nothing more.
    pub(super) fn event(&mut self, event: Event<TaskOutput>) {
        let mut events = VecDeque::from([event]);
        let now = self.began.elapsed();
        while let Some(event) = events.pop_front() {
            let mut waves: BTreeMap<(QueryId, StageId), Vec<Launch>> = BTreeMap::new();
            for action in self.machine.on_event(now, event) {
                match action {
                    Action::Launch(launch) => {
                        let key = (launch.attempt.query.clone(), launch.attempt.stage);
                        waves.entry(key).or_default().push(launch);
                    }
                    Action::Cancel { worker, attempt } => {
                        self.note_cancel(&attempt);
                        let mut entry = self.entries.get_mut(&attempt.query);
                        if let Some(entry) = &mut entry {
                            entry.attempt_ended(attempt.attempt);
                        }
                        if entry.is_some_and(|entry| entry.encoding.remove(&attempt.attempt)) {
                            let (query, attempt) = (attempt.query, attempt.attempt);
                            events.push_back(Event::AttemptEnded {
                                worker,
                                query,
                                attempt,
                                outcome: Outcome::Cancelled,
                            });
                        } else if let Some(link) = self.links.get(&worker) {
                            link.send(ToWorker::CancelTask(v1::CancelTask { task: Some(task_ref(&attempt)) }));
                        }
                    }
                    Action::Adopted { query, outputs, attempts } => self.adopted(&query, outputs, attempts),
                    Action::Ended { query, end } => self.ended(&query, end),
                    Action::Retired { query } => {
                        if let Some(entry) = self.entries.get_mut(&query) {
                            entry.is_retired = true;
                        }
                        self.drop_if_over(&query);
                    }
                    Action::Refused { query, fault } => {
                        self.ended(&query, QueryEnd::Failed(fault));
                        self.entries.remove(&query);
                    }
                }
            }
            for ((query, stage), launches) in waves {
                if let Err((launches, fault)) = self.start_wave(&query, stage, launches) {
                    events.extend(waves::failures(&launches, &fault));
                }
            }
        }
        self.publish();
    }

    fn ended(&mut self, query: &QueryId, end: QueryEnd<TaskOutput>) {
        self.note_query_end(query, &end);
        let Some(entry) = self.entries.get_mut(query) else { return };
        entry.count_end(&end, &self.services.settings.tally);
        let answer = match end {
            QueryEnd::Finished(pieces) => {
                tracing::info!(query_id = %query, app_id = %entry.app, "query finished");
                Answer::finished(query, entry.finished_stages(), pieces, &self.links)
            }
            QueryEnd::Failed(fault) => {
                tracing::info!(query_id = %query, app_id = %entry.app, error.class = %fault.class,
                    error.code = %fault.code, "query failed");
                Answer::failed(fault)
            }
        };
        entry.ended.cancel();
        entry.unfetched.clone_from(&answer.holders);
        if let Some(driver) = entry.events.take() {
            self.services.deliver(query.clone(), answer, driver);
        }
    }

    pub(super) fn drop_if_over(&mut self, query: &QueryId) {
        if !self.entries.get(query).is_some_and(|entry| entry.is_retired && entry.unfetched.is_empty()) {
            return;
        }
        let prepared = self.entries.remove(query).map(|entry| entry.prepared).unwrap_or_default();
        for link in prepared.iter().filter_map(|worker| self.links.get(worker)) {
            link.send(ToWorker::DropQuery(v1::DropQuery { query_id: query.as_str().to_owned() }));
        }
    }
}
