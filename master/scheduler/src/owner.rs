//! The one task that owns the stage machine, the links to workers and the queries' channels. Edge.
//!
//! It never waits for anybody: planning threads, slow workers and slow drivers have tasks of their own.

pub(crate) mod account;
mod attach;
mod queries;
mod readout;
mod reports;
mod slow;
mod ticks;
mod waves;
mod workers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use lake_proto::{AppId, Fault, QueryId, WorkerId, v1};
use lake_record::QueryRecord;
use lake_record::account::Account;
use lake_scheduler_core::{Event, Launch, Queries, Spent};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};

use crate::choice::Cluster;
use crate::entry::{Answer, Entry};
use crate::handle::{Scheduler, WorkerInfo, stopped};
use crate::links::Link;
use crate::overview::Overview;
use crate::pace::TaskPolicy;
use crate::plan::QueryPlan;
use crate::services::Services;
use crate::stash::Stash;
use crate::status::TaskOutput;

const PROGRESS_PERIOD: Duration = Duration::from_millis(200);

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
    /// The account of its queries is handed out.
    ApplicationEnded {
        app: AppId,
        reply: oneshot::Sender<Vec<Arc<QueryRecord>>>,
    },
    Queries {
        app: AppId,
        reply: oneshot::Sender<Vec<Arc<QueryRecord>>>,
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
    /// For people.
    pub(crate) record: QueryRecord,
    pub(crate) start: Start,
}

/// Where a query begins.
pub(crate) enum Start {
    /// From nothing, and in the place of another one, if any.
    Fresh { replaces: Option<QueryId> },
    /// With what earlier leaders have left of it.
    Attached(Attachment),
}

/// What the driver of a query says of it to another leader.
#[derive(Debug, Clone)]
pub(crate) struct Attachment {
    /// How often it has been attached, this time included.
    pub(crate) number: u32,
    /// As an earlier leader has told it.
    pub(crate) spent: Spent,
}

impl Start {
    const fn attachment(&self) -> Option<&Attachment> {
        match self {
            Self::Fresh { .. } => None,
            Self::Attached(attachment) => Some(attachment),
        }
    }
}

pub(crate) struct Owner {
    machine: Queries<TaskOutput>,
    /// The machine counts time from here.
    began: Instant,
    links: BTreeMap<WorkerId, Link>,
    entries: BTreeMap<QueryId, Entry>,
    stash: Stash,
    account: Account,
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
            machine: Queries::new(scheduler.settings().task_pause),
            began: Instant::now(),
            links: BTreeMap::new(),
            entries: BTreeMap::new(),
            stash: Stash::default(),
            account: Account::default(),
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
            Message::ApplicationEnded { app, reply } => {
                self.drop_remains_of(&app);
                self.event(Event::ApplicationEnded { app: app.clone() });
                // Nobody may want it.
                let _ = reply.send(self.account.close(&app));
            }
            Message::Queries { app, reply } => {
                let _ = reply.send(self.account.queries(&app));
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
}
