//! What the owner keeps for one query beside the stage machine, and how its answer reaches the driver. Edge.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lake_metrics::Tally;
use lake_proto::{AppId, Fault, QueryId, WorkerId, v1};
use lake_scheduler_core::{Attempt, QueryEnd, ResultPiece, StageId, StageView, TaskIndex};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::links::Link;
use crate::owner::Submission;
use crate::pace::{Pace, TaskPolicy};
use crate::plan::StagePlan;
use crate::progress::Progress;
use crate::spans::StageSpans;
use crate::status::TaskOutput;

/// One query.
pub(crate) struct Entry {
    pub(crate) submitted: Instant,
    pub(crate) app: AppId,
    pub(crate) label: String,
    pub(crate) stages: BTreeMap<StageId, Arc<StagePlan>>,
    pub(crate) prepare: v1::PrepareQuery,
    /// Workers that know the query and must be told to drop it.
    pub(crate) prepared: BTreeSet<WorkerId>,
    /// Workers whose stream was opened anew: the query is announced again before their next task.
    pub(crate) doubtful: BTreeSet<WorkerId>,
    /// Attempts whose message is being made.
    pub(crate) encoding: BTreeSet<Attempt>,
    pub(crate) progress: Progress,
    pub(crate) policy: TaskPolicy,
    pub(crate) pace: Pace,
    pub(crate) spans: StageSpans,
    /// Rows held here for the answer.
    pub(crate) inline_bytes: InlineBytes,
    /// Gone once the answer is on its way.
    pub(crate) events: Option<mpsc::Sender<v1::QueryEvent>>,
    /// Cancelled when the query has ended.
    pub(crate) ended: CancellationToken,
    /// No attempt of it runs any more.
    pub(crate) is_retired: bool,
    /// Of outputs that earlier leaders have left, until it is decided which of them count.
    pub(crate) reported: BTreeMap<Attempt, Reported>,
    /// Workers that have rows of the answer, until its driver needs nothing from them any more.
    pub(crate) unfetched: BTreeSet<WorkerId>,
}

impl Entry {
    pub(crate) fn new(submission: Submission, events: mpsc::Sender<v1::QueryEvent>, ended: CancellationToken) -> Self {
        Self {
            submitted: Instant::now(),
            app: submission.plan.definition.app,
            label: submission.label,
            stages: submission.plan.stages,
            prepare: submission.prepare,
            prepared: BTreeSet::new(),
            doubtful: BTreeSet::new(),
            encoding: BTreeSet::new(),
            progress: Progress::default(),
            policy: submission.policy,
            pace: Pace::default(),
            spans: StageSpans::new(submission.traceparent),
            inline_bytes: InlineBytes::default(),
            events: Some(events),
            ended,
            is_retired: false,
            reported: BTreeMap::new(),
            unfetched: BTreeSet::new(),
        }
    }

    /// Announces the query to the worker unless it knows it.
    pub(crate) fn announce(&mut self, link: &Link) {
        let is_new = self.prepared.insert(link.worker.id.clone());
        if self.doubtful.remove(&link.worker.id) || is_new {
            link.send(v1::master_message::Message::PrepareQuery(self.prepare.clone()));
        }
    }

    /// The attempt has ended, or nobody waits for it any more. How long it has run, when it was sent at all.
    pub(crate) fn attempt_ended(&mut self, attempt: Attempt) -> Option<Duration> {
        self.progress.attempt_ended(attempt);
        self.pace.ends(attempt, Instant::now())
    }

    /// The query has ended, for the first time or again.
    pub(crate) fn count_end(&mut self, end: &QueryEnd<TaskOutput>, tally: &Tally) {
        if self.events.is_some() {
            let failure = match end {
                QueryEnd::Finished(_) => None,
                QueryEnd::Failed(fault) => Some(fault),
            };
            tally.query_ended(failure, self.submitted.elapsed());
        }
        self.spans.close();
    }

    /// The stages of a query that has finished: everything is done.
    pub(crate) fn finished_stages(&self) -> Vec<v1::StageProgress> {
        let views = self.stages.values().map(|stage| StageView {
            stage: stage.id,
            tasks: stage.tasks(),
            running: 0,
            done: stage.tasks(),
            retries: self.progress.retries(stage.id),
        });
        self.progress.stages(&views.collect::<Vec<_>>())
    }
}

/// An output that was reported by its worker, not to this leader.
pub(crate) struct Reported {
    pub(crate) metrics: v1::TaskMetrics,
    /// Rows of the answer; none when the rows are elsewhere.
    pub(crate) inline_bytes: u64,
}

/// How much of the answer is held here, by task: what a task is run again for takes the place of what it left before.
#[derive(Debug, Default)]
pub(crate) struct InlineBytes {
    by_task: BTreeMap<TaskIndex, u64>,
    total: u64,
}

impl InlineBytes {
    pub(crate) fn hold(&mut self, task: TaskIndex, bytes: u64) {
        let before = self.by_task.insert(task, bytes).unwrap_or(0);
        self.total = self.total.saturating_sub(before).saturating_add(bytes);
    }

    pub(crate) const fn total(&self) -> u64 {
        self.total
    }
}

/// What the driver gets at the end of a query.
pub(crate) struct Answer {
    pub(crate) events: Vec<v1::QueryEvent>,
    /// Workers on which some of the rows wait.
    pub(crate) holders: BTreeSet<WorkerId>,
}

impl Answer {
    pub(crate) fn failed(fault: Fault) -> Self {
        let finished = v1::QueryFinished { tasks: 0, failure: Some(fault.into()) };
        Self { events: vec![event(v1::query_event::Event::Finished(finished))], holders: BTreeSet::new() }
    }

    pub(crate) fn finished(
        query: &QueryId,
        stages: Vec<v1::StageProgress>,
        pieces: Vec<ResultPiece<TaskOutput>>,
        links: &BTreeMap<WorkerId, Link>,
    ) -> Self {
        let mut answer = Self { events: Vec::with_capacity(pieces.len() + 2), holders: BTreeSet::new() };
        answer.events.push(progress(stages, None));
        let tasks = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
        for piece in pieces {
            let mut result = v1::TaskResult { task_index: piece.task.0, ..v1::TaskResult::default() };
            match (piece.output, links.get(&piece.worker)) {
                (TaskOutput::Inline(rows), _) => result.inline_ipc = rows,
                (TaskOutput::Ticket(ticket), Some(link)) => {
                    answer.holders.insert(link.worker.id.clone());
                    let (host, flight_port) = (link.worker.host.clone(), u32::from(link.worker.flight_port));
                    result.location = Some(v1::ResultLocation { host, flight_port, ticket });
                }
                (TaskOutput::Ticket(_) | TaskOutput::Shuffle(_), _) => {
                    let message = format!("task {} of query {query} finished but nobody holds its rows", piece.task);
                    let fault = Fault::new(lake_proto::ErrorClass::Internal, "result-lost", message);
                    return Self::failed(fault);
                }
            }
            answer.events.push(event(v1::query_event::Event::Result(result)));
        }
        let finished = v1::QueryFinished { tasks, failure: None };
        answer.events.push(event(v1::query_event::Event::Finished(finished)));
        answer
    }

    /// Hands the answer over, and waits until its driver has fetched what waits on workers. Ends early when the
    /// driver is gone.
    pub(crate) async fn deliver(self, driver: mpsc::Sender<v1::QueryEvent>, retention: Duration) {
        for event in self.events {
            if driver.send(event).await.is_err() {
                return;
            }
        }
        if !self.holders.is_empty() {
            // A driver that never goes away loses its results after a while, so that disks do not fill.
            let _ = tokio::time::timeout(retention, driver.closed()).await;
        }
    }
}

/// The event that shows the stages, and what the query has used up of its budgets while it runs.
pub(crate) fn progress(stages: Vec<v1::StageProgress>, spent: Option<v1::RetriesSpent>) -> v1::QueryEvent {
    event(v1::query_event::Event::Progress(v1::QueryProgress { stages, spent }))
}

/// The event that says how the query was cut.
pub(crate) fn accepted(accepted: v1::QueryAccepted) -> v1::QueryEvent {
    event(v1::query_event::Event::Accepted(accepted))
}

fn event(event: v1::query_event::Event) -> v1::QueryEvent {
    v1::QueryEvent { event: Some(event) }
}
