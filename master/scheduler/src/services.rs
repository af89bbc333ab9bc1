//! The owner's helpers: tasks that wait for somebody, so that the owner never does. Edge.
//!
//! Every task ends with the scheduler's token. None of them can fail on its own: each reports to the owner, or has
//! nobody left to report to.

use std::future::Future;
use std::sync::Arc;

use lake_proto::{Fault, QueryId, v1};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::compute::Compute;
use crate::entry::Answer;
use crate::handle::Scheduler;
use crate::launch::Wave;
use crate::links;
use crate::owner::Message;
use crate::plan::Planner;
use crate::settings::SchedulerSettings;

pub(crate) struct Services {
    pub(crate) settings: Arc<SchedulerSettings>,
    pub(crate) stop: CancellationToken,
    tasks: TaskTracker,
    compute: Compute,
    planner: Arc<Planner>,
    /// Weak, so that the owner ends when the last handle is gone.
    owner: mpsc::WeakSender<Message>,
}

impl Services {
    pub(crate) fn new(scheduler: &Scheduler, owner: mpsc::WeakSender<Message>) -> Self {
        Self {
            settings: scheduler.settings().clone(),
            stop: scheduler.stop().clone(),
            tasks: scheduler.tasks().clone(),
            compute: scheduler.compute().clone(),
            planner: scheduler.planner().clone(),
            owner,
        }
    }

    /// Moves messages to a worker's stream.
    pub(crate) fn forward(&self, messages: mpsc::Receiver<v1::MasterMessage>, stream: mpsc::Sender<v1::MasterMessage>) {
        self.spawn("forward", links::forward(messages, stream));
    }

    /// Cancels the query when its driver goes away before it has ended.
    pub(crate) fn cancel_when_closed(
        &self,
        query: QueryId,
        driver: mpsc::Sender<v1::QueryEvent>,
        ended: CancellationToken,
    ) {
        let owner = self.owner.clone();
        self.spawn("driver-watch", async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = driver.closed() => tell(&owner, Message::Cancel { query }).await,
            }
        });
    }

    /// Makes the messages of a wave.
    pub(crate) fn encode(&self, wave: Wave) {
        let (owner, compute, planner) = (self.owner.clone(), self.compute.clone(), self.planner.clone());
        self.spawn("encode", async move {
            let launches = wave.launches.clone();
            let encoded = compute.run(move || wave.encode(planner.codec.as_ref())).await;
            let messages = encoded.and_then(|messages| messages.map_err(Fault::from));
            tell(&owner, Message::Encoded { launches, messages }).await;
        });
    }

    /// Hands a query's answer to its driver.
    pub(crate) fn deliver(&self, query: QueryId, answer: Answer, driver: mpsc::Sender<v1::QueryEvent>) {
        let (owner, retention) = (self.owner.clone(), self.settings.result_retention);
        self.spawn("deliver", async move {
            answer.deliver(driver, retention).await;
            tell(&owner, Message::Delivered { query }).await;
        });
    }

    fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        let task = async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task => {}
            }
        };
        self.tasks.spawn(task.instrument(tracing::debug_span!("scheduler", task = name)));
    }
}

async fn tell(owner: &mpsc::WeakSender<Message>, message: Message) {
    if let Some(owner) = owner.upgrade() {
        // Only fails after shutdown.
        let _ = owner.send(message).await;
    }
}
