//! The handle to the scheduler: cheap to clone, hides the owner's channel. Edge.

use std::sync::Arc;

use lake_proto::{AppId, ErrorClass, Fault, QueryId, WorkerId, codes, v1};
use lake_record::QueryRecord;
use lake_telemetry::trace;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::choice::Cluster;
use crate::compute::Compute;
use crate::cut;
use crate::overview::Overview;
use crate::owner::{Attachment, Message, Owner, Start, Submission, account};
use crate::pace::TaskPolicy;
use crate::plan::{self, Planner, QueryPlan};
use crate::settings::SchedulerSettings;
use crate::spent;

/// Messages that may wait for the owner; senders beyond this wait for a place.
const WAITING_MESSAGES: usize = 1_024;

/// A worker that has attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerInfo {
    /// Fresh for every life of the worker.
    pub id: WorkerId,
    /// Where other workers and drivers reach it.
    pub host: String,
    /// Its own service.
    pub grpc_port: u16,
    /// Where shuffle files and results are fetched.
    pub flight_port: u16,
    /// Cores it offers to tasks.
    pub cores: u32,
    /// It takes no tasks, see [`Scheduler::worker_draining`].
    pub is_draining: bool,
}

/// The scheduler. Calls after [`Scheduler::shutdown`] do nothing, or fail as `unavailable`.
#[derive(Clone)]
pub struct Scheduler {
    messages: mpsc::Sender<Message>,
    cluster: watch::Receiver<Cluster>,
    planner: Arc<Planner>,
    compute: Compute,
    settings: Arc<SchedulerSettings>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Scheduler {
    /// Starts the owner task on the current runtime.
    pub fn start(settings: SchedulerSettings) -> Self {
        let settings = Arc::new(settings);
        let (messages, inbox) = mpsc::channel(WAITING_MESSAGES);
        let (published, cluster) = watch::channel(Cluster::default());
        let planner = Arc::new(Planner::new());
        let compute = Compute::start(settings.planning_threads);
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let scheduler = Self { messages, cluster, planner, compute, settings, stop, tasks };
        // The owner must not keep its own inbox open.
        let owner = Owner::new(&scheduler, scheduler.messages.downgrade(), published);
        scheduler.tasks.spawn(owner.run(inbox));
        scheduler
    }

    /// Waits until the scheduler has ended, in order or by a panic of its owner.
    pub async fn ended(&self) {
        self.stop.cancelled().await;
    }

    /// Ends every query as `unavailable` and every task of the scheduler. Returns when they have ended.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// A worker can take tasks, unless it drains; what is meant for it goes to `outbound`. For an id that is attached
    /// already the stream is replaced, and nothing else changes but that it may drain now.
    pub async fn worker_attached(&self, worker: WorkerInfo, outbound: mpsc::Sender<v1::MasterMessage>) {
        self.tell(Message::WorkerAttached { worker, outbound }).await;
    }

    /// A worker is gone with all that it ran and held. Its id must not come back.
    pub async fn worker_lost(&self, worker: WorkerId) {
        self.tell(Message::WorkerLost { worker }).await;
    }

    /// A worker takes no new tasks; what it runs goes on.
    pub async fn worker_draining(&self, worker: WorkerId) {
        self.tell(Message::WorkerDraining { worker }).await;
    }

    /// Whether a worker runs a task, has rows that a task will read, or a result that its driver has not fetched. `true`
    /// after shutdown, when nobody knows.
    pub async fn needs(&self, worker: WorkerId) -> bool {
        let (reply, answer) = oneshot::channel();
        self.tell(Message::Needs { worker, reply }).await;
        answer.await.unwrap_or(true)
    }

    /// A worker reports the end of an attempt. May be called again with the same status: acknowledge it to the
    /// worker when this returns.
    pub async fn task_status(&self, worker: WorkerId, status: v1::TaskStatus) {
        self.tell(Message::TaskStatus { worker, status }).await;
    }

    /// A worker reports what it runs.
    pub async fn heartbeat(&self, worker: WorkerId, heartbeat: v1::Heartbeat) {
        self.tell(Message::Heartbeat { worker, heartbeat }).await;
    }

    /// A worker that has just attached says what it holds and runs of queries. Before this what it runs of a query that
    /// is not known here is told to end.
    pub async fn worker_holds(&self, worker: WorkerId, held: v1::Held) {
        self.tell(Message::Held { worker, held }).await;
    }

    /// Runs a query of `app`, which may use `cores_cap` cores at once (none or zero: all). The first event says how it
    /// was cut. Progress comes at most every 200 ms; at the end come one result per task of the final stage and
    /// `finished`, or `finished` with a failure. Dropping the receiver cancels the query. While results wait on workers
    /// to be fetched, the channel stays open after `finished`: the files go when the receiver is dropped.
    ///
    /// # Errors
    /// `invalid-job` for another codec version, an invalid id or one that was used before; the class of the
    /// planner's complaint; `unavailable` after shutdown.
    pub async fn run_query(
        &self,
        app: AppId,
        cores_cap: Option<u32>,
        request: v1::RunQueryRequest,
    ) -> Result<mpsc::Receiver<v1::QueryEvent>, Fault> {
        let replaces = request.replaces.parse().ok();
        Box::pin(self.start_query(app, cores_cap, request, None, Start::Fresh { replaces })).await
    }

    /// As [`Self::run_query`], for a query that an earlier leader has run: what the workers that have told it
    /// ([`Self::worker_holds`]) have of it is not done again. A worker that tells it later is told to end what it runs.
    ///
    /// # Errors
    /// As [`Self::run_query`]; `conflict` when the query cannot go on here, and is to be run afresh.
    pub async fn attach_query(
        &self,
        app: AppId,
        cores_cap: Option<u32>,
        request: v1::AttachQueryRequest,
    ) -> Result<mpsc::Receiver<v1::QueryEvent>, Fault> {
        let v1::AttachQueryRequest { query, accepted, attachment: number, spent } = request;
        let (Some(query), Some(accepted), 1..) = (query, accepted, number) else {
            let message = "a query is attached without its request, its cut or its number of attachments";
            return Err(Fault::new(ErrorClass::InvalidJob, "request", message));
        };
        // A driver of an earlier release says nothing of what is spent.
        let spent = spent.map(spent::recalled).unwrap_or_default();
        let start = Start::Attached(Attachment { number, spent });
        Box::pin(self.start_query(app, cores_cap, query, Some(accepted), start)).await
    }

    async fn start_query(
        &self,
        app: AppId,
        cores_cap: Option<u32>,
        request: v1::RunQueryRequest,
        before: Option<v1::QueryAccepted>,
        start: Start,
    ) -> Result<mpsc::Receiver<v1::QueryEvent>, Fault> {
        let id = plan::check(&request)?;
        let cluster = before.as_ref().map_or_else(|| *self.cluster.borrow(), cut::figures);
        let (planner, settings) = (self.planner.clone(), self.settings.clone());
        let (planned, request) = {
            let (id, app) = (id.clone(), app.clone());
            let is_attached = before.is_some();
            let work = move || {
                let plan = planner.plan(&id, &app, cores_cap, &request, cluster, &settings);
                let told = |plan: QueryPlan| {
                    (cut::accepted(&plan, cluster), account::record(&plan, &request, is_attached), plan)
                };
                (plan.map(told), request)
            };
            self.compute.run(work).await?
        };
        let (accepted, record, plan) = planned?;
        if let Some(before) = &before {
            cut::check(&id, before, &accepted)?;
        }
        let epoch = request.driver.as_ref().map_or(0, |driver| driver.epoch);
        let submission = Submission {
            plan,
            label: request.label,
            traceparent: trace::accepted(&request.traceparent),
            policy: TaskPolicy::new(request.task_policy, &self.settings),
            prepare: v1::PrepareQuery {
                query_id: id.as_str().to_owned(),
                settings: request.settings,
                profiles: request.profiles,
                app_id: app.as_str().to_owned(),
                epoch,
            },
            accepted,
            record,
            start,
        };
        let (reply, answer) = oneshot::channel();
        self.tell(Message::Submit { submission: Box::new(submission), reply }).await;
        answer.await.map_err(|_| stopped(&id))?
    }

    /// Cancels all queries of the application and forgets it. What is told of them, in the order in which they were
    /// accepted: the last word about an application. Nothing after a repeat and after shutdown.
    pub async fn application_ended(&self, app: AppId) -> Vec<Arc<QueryRecord>> {
        let (reply, answer) = oneshot::channel();
        self.tell(Message::ApplicationEnded { app, reply }).await;
        answer.await.unwrap_or_default()
    }

    /// What is told of an application's queries now, in the order in which they were accepted.
    pub async fn queries(&self, app: AppId) -> Vec<Arc<QueryRecord>> {
        let (reply, answer) = oneshot::channel();
        self.tell(Message::Queries { app, reply }).await;
        answer.await.unwrap_or_default()
    }

    /// Cores of all workers that take tasks.
    pub fn total_cores(&self) -> u32 {
        self.cluster.borrow().total
    }

    /// What the UI shows; empty after shutdown.
    pub async fn overview(&self) -> Overview {
        let (reply, answer) = oneshot::channel();
        self.tell(Message::Overview { reply }).await;
        answer.await.unwrap_or_default()
    }

    pub(crate) fn planner(&self) -> &Arc<Planner> {
        &self.planner
    }

    pub(crate) fn compute(&self) -> &Compute {
        &self.compute
    }

    pub(crate) fn settings(&self) -> &Arc<SchedulerSettings> {
        &self.settings
    }

    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    async fn tell(&self, message: Message) {
        // Only fails after shutdown, when nothing is to be done any more.
        let _ = self.messages.send(message).await;
    }
}

pub(crate) fn stopped(query: &QueryId) -> Fault {
    let message = format!("query {query} cannot run: this master is not scheduling any more; ask the leader");
    Fault::new(ErrorClass::Unavailable, codes::SCHEDULER_STOPPED, message)
}
