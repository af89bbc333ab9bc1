//! The one task that owns the stage machine, the links to workers and the queries' channels. Edge.
//!
//! It never waits for anybody: planning threads, slow workers and slow drivers have tasks of their own.

mod attach;
mod reports;
mod slow;
mod waves;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use lake_proto::v1::master_message::Message as ToWorker;
use lake_proto::{AppId, ErrorClass, Fault, QueryId, WorkerId, v1};
use lake_scheduler_core::{Action, Event, Launch, Outcome, Queries, QueryEnd, StageId};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};

use crate::choice::Cluster;
use crate::entry::{self, Answer, Entry};
use crate::handle::{Scheduler, WorkerInfo, stopped};
use crate::launch::task_ref;
use crate::links::{self, Link};
use crate::overview::{Overview, QueryOverview, WorkerOverview};
use crate::pace::TaskPolicy;
use crate::plan::QueryPlan;
use crate::services::Services;
use crate::stash::Stash;
use crate::status::TaskOutput;

/// Events that may wait for a driver that reads slowly; progress beyond this is skipped.
const WAITING_EVENTS: usize = 64;
const PROGRESS_PERIOD: Duration = Duration::from_millis(200);
/// Ids of queries that are remembered, so that none is used twice.
const REMEMBERED_QUERIES: usize = 16_384;

/// What is asked of the owner.
pub(crate) enum Message {
    WorkerAttached {
        worker: WorkerInfo,
        outbound: mpsc::Sender<v1::MasterMessage>,
    },
    WorkerLost {
        worker: WorkerId,
    },
    WorkerDraining {
        worker: WorkerId,
    },
    TaskStatus {
        worker: WorkerId,
        status: v1::TaskStatus,
    },
    /// What a worker has of queries, told when it attaches.
    Held {
        worker: WorkerId,
        held: v1::Held,
    },
    Heartbeat {
        worker: WorkerId,
        heartbeat: v1::Heartbeat,
    },
    Submit {
        submission: Box<Submission>,
        reply: oneshot::Sender<Result<mpsc::Receiver<v1::QueryEvent>, Fault>>,
    },
    ApplicationEnded {
        app: AppId,
    },
    Overview {
        reply: oneshot::Sender<Overview>,
    },
    /// Whether anything that a worker runs or holds is still needed.
    Needs {
        worker: WorkerId,
        reply: oneshot::Sender<bool>,
    },
    /// The driver is gone.
    Cancel {
        query: QueryId,
    },
    /// A wave of tasks is ready to be sent.
    Encoded {
        launches: Vec<Launch>,
        messages: Result<Vec<v1::LaunchTask>, Fault>,
    },
    /// The driver has what it wanted.
    Delivered {
        query: QueryId,
    },
}

/// A planned query.
pub(crate) struct Submission {
    pub(crate) plan: QueryPlan,
    pub(crate) label: String,
    /// W3C trace context of the query; empty = none.
    pub(crate) traceparent: String,
    pub(crate) policy: TaskPolicy,
    pub(crate) prepare: v1::PrepareQuery,
    /// For the driver.
    pub(crate) accepted: v1::QueryAccepted,
    pub(crate) start: Start,
}

/// Where a query begins.
pub(crate) enum Start {
    /// From nothing, and in the place of another one, if any.
    Fresh { replaces: Option<QueryId> },
    /// With what earlier leaders have left of it.
    Attached { attachment: u32 },
}

impl Start {
    const fn attachment(&self) -> Option<u32> {
        match self {
            Self::Fresh { .. } => None,
            Self::Attached { attachment } => Some(*attachment),
        }
    }
}

pub(crate) struct Owner {
    machine: Queries<TaskOutput>,
    links: BTreeMap<WorkerId, Link>,
    entries: BTreeMap<QueryId, Entry>,
    stash: Stash,
    used: BTreeSet<QueryId>,
    used_in_order: VecDeque<QueryId>,
    unmanned_since: Option<Instant>,
    cluster: watch::Sender<Cluster>,
    services: Services,
}

impl Owner {
    pub(crate) fn new(
        scheduler: &Scheduler,
        messages: mpsc::WeakSender<Message>,
        cluster: watch::Sender<Cluster>,
    ) -> Self {
        Self {
            machine: Queries::default(),
            links: BTreeMap::new(),
            entries: BTreeMap::new(),
            stash: Stash::default(),
            used: BTreeSet::new(),
            used_in_order: VecDeque::new(),
            unmanned_since: Some(Instant::now()),
            cluster,
            services: Services::new(scheduler, messages),
        }
    }

    /// Serves messages until the scheduler is shut down or its last handle is gone.
    pub(crate) async fn run(mut self, mut inbox: mpsc::Receiver<Message>) {
        let stop = self.services.stop.clone();
        // Also after a panic: without its owner the scheduler answers nobody.
        let _ended = stop.clone().drop_guard();
        let mut ticks = tokio::time::interval(PROGRESS_PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                message = inbox.recv() => match message {
                    Some(message) => self.serve(message),
                    None => break,
                },
                _ = ticks.tick(), if !self.entries.is_empty() || !self.stash.is_empty() => self.tick(),
            }
        }
        stop.cancel();
        for (query, entry) in self.entries {
            let Some(driver) = entry.events else { continue };
            for event in Answer::failed(stopped(&query)).events {
                // A driver that does not read sees the end of its channel.
                let _ = driver.try_send(event);
            }
        }
    }

    fn serve(&mut self, message: Message) {
        match message {
            Message::WorkerAttached { worker, outbound } => self.worker_attached(worker, outbound),
            Message::WorkerLost { worker } => self.worker_lost(worker),
            Message::WorkerDraining { worker } => self.event(Event::WorkerDraining { worker }),
            Message::TaskStatus { worker, status } => self.task_status(worker, status),
            Message::Held { worker, held } => self.held(&worker, held),
            Message::Heartbeat { worker, heartbeat } => self.heartbeat(&worker, heartbeat),
            Message::Submit { submission, reply } => {
                // The driver may be gone already; then the channel is closed and the query cancelled.
                let _ = reply.send(self.submit(*submission));
            }
            Message::ApplicationEnded { app } => {
                self.drop_remains_of(&app);
                self.event(Event::ApplicationEnded { app });
            }
            Message::Overview { reply } => {
                let _ = reply.send(self.overview());
            }
            Message::Needs { worker, reply } => {
                let _ = reply.send(self.needs(&worker));
            }
            Message::Cancel { query } => self.event(Event::QueryCancelled { query }),
            Message::Encoded { launches, messages } => self.encoded(launches, messages),
            Message::Delivered { query } => {
                if let Some(entry) = self.entries.get_mut(&query) {
                    entry.unfetched.clear();
                    self.drop_if_over(&query);
                }
            }
        }
    }

    fn worker_attached(&mut self, worker: WorkerInfo, outbound: mpsc::Sender<v1::MasterMessage>) {
        let (outbox, messages) = mpsc::channel(links::WAITING_MESSAGES);
        self.services.forward(messages, outbound);
        if let Some(link) = self.links.get_mut(&worker.id) {
            tracing::info!(worker_id = %worker.id, "the worker's stream is open again");
            link.reopen(outbox);
            for entry in self.entries.values_mut().filter(|entry| entry.prepared.contains(&worker.id)) {
                entry.doubtful.insert(worker.id.clone());
            }
            if worker.is_draining {
                self.event(Event::WorkerDraining { worker: worker.id });
            }
            return;
        }
        tracing::info!(worker_id = %worker.id, host = %worker.host, cores = worker.cores, "worker attached");
        let (id, cores, is_draining) = (worker.id.clone(), worker.cores, worker.is_draining);
        self.links.insert(id.clone(), Link::new(worker, outbox));
        self.event(Event::WorkerJoined { worker: id, cores, is_draining });
    }

    fn worker_lost(&mut self, worker: WorkerId) {
        if self.links.remove(&worker).is_some() {
            tracing::warn!(worker_id = %worker, "worker lost: what it ran and held is made again");
        }
        self.stash.lose(&worker);
        // The retries report the same rows once more.
        for lost in self.machine.attempts_on(&worker) {
            if let Some(entry) = self.entries.get_mut(&lost.query) {
                self.services.settings.tally.task_lost(entry.attempt_ended(lost.attempt));
            }
        }
        self.event(Event::WorkerLost { worker });
    }

    fn submit(&mut self, submission: Submission) -> Result<mpsc::Receiver<v1::QueryEvent>, Fault> {
        let definition = submission.plan.definition.clone();
        let query = definition.id.clone();
        let (accepted, attachment) = (submission.accepted, submission.start.attachment());
        match self.remember(&query) {
            Err(_) if attachment.is_some() => return Err(attach::over(&query)),
            remembered => remembered?,
        }
        if let Start::Fresh { replaces: Some(replaced) } = &submission.start {
            self.give_up(replaced, &definition.app);
        }
        tracing::info!(query_id = %query, app_id = %definition.app, stages = definition.stages.len(), "query submitted");
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
    fn event(&mut self, event: Event<TaskOutput>) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let mut waves: BTreeMap<(QueryId, StageId), Vec<Launch>> = BTreeMap::new();
            for action in self.machine.on_event(event) {
                match action {
                    Action::Launch(launch) => {
                        let key = (launch.attempt.query.clone(), launch.attempt.stage);
                        waves.entry(key).or_default().push(launch);
                    }
                    Action::Cancel { worker, attempt } => {
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
        let Some(entry) = self.entries.get_mut(query) else { return };
        entry.count_end(&end, &self.services.settings.tally);
        let answer = match end {
            QueryEnd::Finished(pieces) => {
                tracing::info!(query_id = %query, "query finished");
                Answer::finished(query, entry.finished_stages(), pieces, &self.links)
            }
            QueryEnd::Failed(fault) => {
                tracing::info!(query_id = %query, error.class = %fault.class, error.code = %fault.code, "query failed");
                Answer::failed(fault)
            }
        };
        entry.ended.cancel();
        entry.unfetched.clone_from(&answer.holders);
        if let Some(driver) = entry.events.take() {
            self.services.deliver(query.clone(), answer, driver);
        }
    }

    fn drop_if_over(&mut self, query: &QueryId) {
        if !self.entries.get(query).is_some_and(|entry| entry.is_retired && entry.unfetched.is_empty()) {
            return;
        }
        let prepared = self.entries.remove(query).map(|entry| entry.prepared).unwrap_or_default();
        for link in prepared.iter().filter_map(|worker| self.links.get(worker)) {
            link.send(ToWorker::DropQuery(v1::DropQuery { query_id: query.as_str().to_owned() }));
        }
    }

    fn tick(&mut self) {
        for (query, entry) in &mut self.entries {
            let Some(driver) = &entry.events else { continue };
            let Some(stages) = self.machine.stages(query).and_then(|views| entry.progress.news(&views)) else {
                continue;
            };
            // A driver that reads slowly misses progress, never results.
            let _ = driver.try_send(entry::progress(stages));
        }
        self.look_for_slow_attempts();
        self.give_up_waiting();
        self.drop_expired();
    }

    fn give_up_waiting(&mut self) {
        let grace = self.services.settings.worker_grace;
        let Some(since) = self.unmanned_since.filter(|since| since.elapsed() >= grace) else { return };
        let has_waited = |entry: &Entry| entry.submitted.max(since).elapsed() >= grace;
        let waiting: Vec<QueryId> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.events.is_some() && has_waited(entry))
            .map(|(query, _)| query.clone())
            .collect();
        for query in waiting {
            self.event(Event::WorkersAwaitedInVain { query });
        }
    }

    /// Lets handles see the cores, and takes note since when there are none.
    fn publish(&mut self) {
        let mut cluster = Cluster::default();
        for worker in self.machine.workers().filter(|worker| !worker.is_draining) {
            cluster.total = cluster.total.saturating_add(worker.cores);
            cluster.largest = cluster.largest.max(worker.cores);
        }
        let is_unmanned = cluster.total == 0;
        self.unmanned_since = is_unmanned.then(|| self.unmanned_since.unwrap_or_else(Instant::now));
        self.cluster.send_if_modified(|published| {
            let is_news = *published != cluster;
            *published = cluster;
            is_news
        });
    }

    fn needs(&self, worker: &WorkerId) -> bool {
        self.machine.is_needed(worker)
            || self.stash.needs(worker)
            || self.entries.values().any(|entry| entry.unfetched.contains(worker))
    }

    fn overview(&self) -> Overview {
        let workers = self.machine.workers().map(|view| WorkerOverview {
            host: self.links.get(&view.worker).map(|link| link.worker.host.clone()).unwrap_or_default(),
            worker: view.worker,
            cores: view.cores,
            used: view.used,
            is_draining: view.is_draining,
        });
        let queries = self.machine.queries().filter_map(|view| {
            let entry = self.entries.get(&view.query)?;
            let stages = entry.progress.stages(&view.stages);
            Some(QueryOverview { query: view.query, app: view.app, label: entry.label.clone(), stages })
        });
        Overview { workers: workers.collect(), queries: queries.collect() }
    }
}
