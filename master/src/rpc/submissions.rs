//! What clients call. Edge.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use lake_master_core::view::{self, ApplicationView};
use lake_master_core::{Command, DeployMode, Event, Options, QueueBound, State, Submission, admission};
use lake_proto::v1::submissions_server::Submissions;
use lake_proto::{AppId, ErrorClass, Fault, SubmissionId, WorkerId, app_name, point, v1};
use lake_telemetry::trace;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{Answers, invalid, until_stopped};
use crate::clock::now_ms;
use crate::effects;
use crate::master::Master;
use crate::reign::Reign;
use crate::worker_logs;

/// Pipelines are small; the log is not the place for data.
const MAX_PIPELINE_BYTES: usize = 16 * 1024 * 1024;
/// Names are in every list.
const MAX_NAME_BYTES: usize = 1_024;
/// How long a kill waits for the driver to be gone before it answers with the state as it is.
const KILL_PATIENCE: Duration = Duration::from_secs(3);
const WATCH_BUFFER: usize = 16;
/// Kills under way at once, when all are killed: each waits for the disks of a majority, and they wait together.
const KILLS_AT_ONCE: usize = 64;
/// An application that ended more recently stays: the leader's loop has to look at it for its history to be written.
const CLEARED_AFTER: Duration = Duration::from_secs(5);
/// Of a watcher of an application that waits, between two looks.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

pub(crate) struct Service {
    master: Arc<Master>,
}

impl Service {
    pub(crate) const fn new(master: Arc<Master>) -> Self {
        Self { master }
    }

    /// Refuses unless this master leads, also in the eyes of the others: a leader that was cut off does not know yet.
    async fn current(&self) -> Result<(), Fault> {
        self.master.raft.check_leader()?;
        self.master.raft.catch_up().await
    }

    /// Refuses what the state machine would refuse for want of room, without a log entry: a full queue must not fill
    /// the log. Only a leader of now may: another one might not know what was accepted since.
    async fn check_room(&self, submission: &Submission) -> Result<(), Fault> {
        self.master.raft.check_leader()?;
        if self.master.raft.read(|state| admission::check(state, submission)).is_ok() {
            return Ok(());
        }
        self.current().await?;
        self.master.raft.read(|state| admission::check(state, submission))
    }

    fn find(&self, id: &str) -> Result<ApplicationView, Fault> {
        self.master.raft.check_leader()?;
        self.master.raft.read(|state| view::find(state, id)).ok_or_else(|| unknown(id))
    }

    fn app_id(&self, id: &str) -> Result<AppId, Fault> {
        self.master.raft.check_leader()?;
        self.master.raft.read(|state| state.find(id).map(|app| app.id.clone())).ok_or_else(|| unknown(id))
    }

    /// Waits until `is_so` of the state, which is checked after each change, or until the master stops.
    async fn wait_until(&self, is_so: impl Fn(&State) -> bool) {
        let mut status = self.master.raft.watch();
        loop {
            status.mark_unchanged();
            if self.master.raft.read(&is_so) {
                return;
            }
            tokio::select! {
                () = self.master.stop.cancelled() => return,
                changed = status.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Tells a worker to drain; how long it waits at most.
    fn drain(&self, id: &str) -> Result<u64, Fault> {
        self.master.raft.check_leader()?;
        let worker: WorkerId = id.parse().map_err(|_| unknown_worker(id))?;
        let is_alive = |state: &State| state.worker(&worker).is_some_and(lake_master_core::Worker::is_alive);
        if !self.master.raft.read(is_alive) {
            return Err(unknown_worker(id));
        }
        let told = self.master.reign().fleet.drainable(&worker).filter(|(link, _)| effects::drain(link));
        let (_, drain_timeout_ms) = told.ok_or_else(|| {
            let message = format!("{worker} cannot be told to drain: it has no open stream to this master");
            Fault::new(ErrorClass::Unavailable, "worker-stream", message)
        })?;
        tracing::info!(worker_id = %worker, "a worker was told to drain");
        Ok(drain_timeout_ms)
    }

    async fn read_log(&self, request: v1::LogsRequest) -> Result<tonic::Streaming<v1::LogChunk>, Status> {
        if !matches!(request.stream.as_str(), "stdout" | "stderr") {
            return Err(
                invalid(format!("log stream '{}' is not known: expected stdout or stderr", request.stream)).into()
            );
        }
        let app = self.app_id(&request.id)?;
        if request.follow {
            // A driver that waits for a worker has no log yet.
            self.wait_until(|state| state.application(&app).is_none_or(|app| !app.is_waiting())).await;
        }
        let found = self.find(app.as_str())?;
        if found.worker_address.is_empty() {
            let why = if found.deploy_mode == DeployMode::Client.name() {
                "it runs in its client's process, which has its output".to_owned()
            } else {
                format!("it is {} and no worker has it", found.state)
            };
            let message = format!("{} has no log: {why}", found.driver_id);
            return Err(Fault::new(ErrorClass::NotFound, "no-log", message).into());
        }
        let mut client = worker_logs::client(&found.worker_address).await.map_err(|fault| match found.ended_at_ms {
            0 => fault.within("the driver's worker"),
            // A log goes with its worker.
            _ => {
                let message =
                    format!("the log of {} is gone: its worker does not answer any more: {fault}", found.driver_id);
                Fault::new(ErrorClass::NotFound, "no-log", message)
            }
        })?;
        let read = v1::ReadLogRequest {
            driver_id: found.driver_id,
            stream: request.stream,
            offset: request.offset,
            follow: request.follow,
            tail_bytes: 0,
        };
        Ok(client.read_log(read).await?.into_inner())
    }
}

#[tonic::async_trait]
impl Submissions for Service {
    type WatchStream = Answers<v1::WatchUpdate>;
    type LogsStream = Answers<v1::LogChunk>;

    async fn submit(&self, request: Request<v1::SubmitRequest>) -> Result<Response<v1::SubmitResponse>, Status> {
        let submission = submission(request.into_inner(), self.master.queue)?;
        self.check_room(&submission).await?;
        point::reached("submit-before-propose");
        let events = self.master.raft.propose(Command::Submit(submission)).await?;
        point::reached("submit-after-propose");
        match events.first() {
            Some(Event::Submitted { app, driver, epoch, .. }) => {
                if *epoch > 0 {
                    self.master.reign().fleet.driver_called(driver);
                }
                let (driver_id, app_id) = (driver.to_string(), app.to_string());
                Ok(Response::new(v1::SubmitResponse { driver_id, app_id, epoch: *epoch }))
            }
            other => Err(Fault::new(ErrorClass::Internal, "internal", format!("submission led to {other:?}")).into()),
        }
    }

    async fn status(&self, request: Request<v1::StatusRequest>) -> Result<Response<v1::ApplicationStatus>, Status> {
        self.current().await?;
        Ok(Response::new(self.find(&request.get_ref().id)?.into()))
    }

    async fn kill(&self, request: Request<v1::KillRequest>) -> Result<Response<v1::ApplicationStatus>, Status> {
        let app = self.app_id(&request.get_ref().id)?;
        self.master.raft.propose(Command::Kill { app: app.clone() }).await?;
        let is_over = |state: &State| state.application(&app).is_none_or(view::is_over);
        // The driver may take longer to be gone; the answer then says RUNNING, and Watch tells the end.
        let _ = tokio::time::timeout(KILL_PATIENCE, self.wait_until(is_over)).await;
        Ok(Response::new(self.find(app.as_str())?.into()))
    }

    async fn list(&self, request: Request<v1::ListRequest>) -> Result<Response<v1::ListResponse>, Status> {
        self.current().await?;
        let limit = usize::try_from(request.get_ref().limit).unwrap_or(0);
        let (live, _) = self.master.live().await;
        let applications = self.master.applications(|_| true, limit);
        let workers = self.master.raft.read(|state| view::workers(state, &live));
        Ok(Response::new(v1::ListResponse {
            applications: applications.into_iter().map(Into::into).collect(),
            workers: workers.into_iter().map(Into::into).collect(),
        }))
    }

    async fn watch(&self, request: Request<v1::StatusRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let app = self.app_id(&request.get_ref().id)?;
        let (updates, receiver) = mpsc::channel(WATCH_BUFFER);
        let reign = self.master.reign();
        let stop = reign.stop.clone();
        self.master.tasks.spawn(watch(Arc::clone(&self.master), reign, app, updates));
        Ok(Response::new(until_stopped(ReceiverStream::new(receiver), stop)))
    }

    async fn logs(&self, request: Request<v1::LogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        let chunks = self.read_log(request.into_inner()).await?;
        Ok(Response::new(until_stopped(chunks, self.master.reign().stop.clone())))
    }

    async fn drain_worker(
        &self,
        request: Request<v1::DrainWorkerRequest>,
    ) -> Result<Response<v1::DrainWorkerResponse>, Status> {
        let drain_timeout_ms = self.drain(&request.get_ref().worker_id)?;
        Ok(Response::new(v1::DrainWorkerResponse { drain_timeout_ms }))
    }

    async fn kill_all(&self, _: Request<v1::KillAllRequest>) -> Result<Response<v1::KillAllResponse>, Status> {
        self.current().await?;
        // Those that wait first: they would get the places of those that are killed.
        let apps: Vec<AppId> = self
            .master
            .raft
            .read(|state| state.waiting().chain(state.running()).map(|application| application.id.clone()).collect());
        let killed = u32::try_from(apps.len()).unwrap_or(u32::MAX);
        let kills = apps.into_iter().map(|app| self.master.raft.propose(Command::Kill { app }));
        let done: Result<Vec<_>, Fault> = stream::iter(kills).buffer_unordered(KILLS_AT_ONCE).try_collect().await;
        done?;
        Ok(Response::new(v1::KillAllResponse { killed }))
    }

    async fn clear_ended(&self, _: Request<v1::ClearEndedRequest>) -> Result<Response<v1::ClearEndedResponse>, Status> {
        self.current().await?;
        let newest_ms = now_ms().saturating_sub(u64::try_from(CLEARED_AFTER.as_millis()).unwrap_or(u64::MAX));
        let is_old = |state: &State, app: &AppId| {
            let ended = state.application(app).and_then(|application| application.phase.ended());
            ended.is_some_and(|ended| ended.at_ms <= newest_ms)
        };
        let apps: Vec<AppId> =
            self.master.raft.read(|state| state.ended().filter(|app| is_old(state, app)).cloned().collect());
        if apps.is_empty() {
            return Ok(Response::new(v1::ClearEndedResponse { cleared: 0 }));
        }
        let events = self.master.raft.propose(Command::Forget { apps }).await?;
        let cleared = events.iter().filter(|event| matches!(event, Event::Forgotten { .. })).count();
        Ok(Response::new(v1::ClearEndedResponse { cleared: u32::try_from(cleared).unwrap_or(u32::MAX) }))
    }
}

/// Sends the state now, then every change, until the application has ended or nobody listens. Whoever waits long looks
/// less often: the state changes with every command, and thousands may wait.
async fn watch(
    master: Arc<Master>,
    reign: Arc<Reign>,
    app: AppId,
    updates: mpsc::Sender<Result<v1::WatchUpdate, Status>>,
) {
    let mut status = master.raft.watch();
    let mut progress = reign.progress.watch();
    let mut last: Option<ApplicationView> = None;
    let mut version = 0;
    let mut pause = Duration::ZERO;
    loop {
        status.mark_unchanged();
        progress.mark_unchanged();
        let Some(now) = master.raft.read(|state| view::application(state, &app)) else { return };
        let is_over = now.ended_at_ms > 0;
        let (newer, steps) = reign.progress.since(&app, version);
        version = newer;
        let has_news = !steps.is_empty() || last.as_ref() != Some(&now);
        pause = match now.waits_for {
            Some(_) if !has_news => (2 * pause).clamp(SHORTEST_PAUSE, LONGEST_PAUSE),
            Some(_) | None => Duration::ZERO,
        };
        if has_news {
            let update = v1::WatchUpdate { status: Some(now.clone().into()), steps };
            if updates.send(Ok(update)).await.is_err() {
                return;
            }
            last = Some(now);
        }
        if is_over {
            return;
        }
        tokio::select! {
            () = reign.stop.cancelled() => return,
            () = updates.closed() => return,
            changed = status.changed() => if changed.is_err() { return },
            changed = progress.changed() => if changed.is_err() { return },
        }
        if !pause.is_zero() {
            tokio::select! {
                () = reign.stop.cancelled() => return,
                () = updates.closed() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

fn submission(request: v1::SubmitRequest, queue: QueueBound) -> Result<Submission, Fault> {
    let id: SubmissionId = request.submission_id.parse().map_err(|error| invalid(format!("{error}")))?;
    if request.pipeline.len() > MAX_PIPELINE_BYTES {
        let found = request.pipeline.len();
        return Err(Fault::new(
            ErrorClass::InvalidJob,
            "pipeline-too-large",
            format!(
                "the pipeline of submission {id} has {found} bytes, at most {MAX_PIPELINE_BYTES} are accepted; move data out of job.toml"
            ),
        ));
    }
    let pipeline = String::from_utf8(request.pipeline.to_vec())
        .map_err(|error| invalid(format!("the pipeline of submission {id} is not UTF-8: {error}")))?;
    if pipeline.is_empty() {
        return Err(invalid(format!("submission {id} has no pipeline")));
    }
    let options = request.options.ok_or_else(|| invalid(format!("submission {id} has no options")))?;
    let deploy_mode = match options.deploy_mode.as_str() {
        "" | "cluster" => DeployMode::Cluster,
        "client" => DeployMode::Client,
        other => return Err(invalid(format!("deploy mode '{other}' is not known: expected cluster or client"))),
    };
    if options.job_name.len() > MAX_NAME_BYTES {
        return Err(invalid(format!("submission {id} has a job name of more than {MAX_NAME_BYTES} bytes")));
    }
    if !options.name.is_empty() {
        app_name::check(&options.name)?;
    }
    if options.job_name.is_empty() {
        return Err(invalid(format!("submission {id} has no job name; it is the identity for exactly-once")));
    }
    let options = Options {
        name: if options.name.is_empty() { options.job_name.clone() } else { options.name },
        job_name: options.job_name,
        total_executor_cores: options.total_executor_cores,
        driver_memory_bytes: options.driver_memory_bytes,
        supervise: options.supervise,
        max_attempts: options.max_attempts,
        deploy_mode,
    };
    // A submitter that tells no trace has its work in the one that this request begins.
    let traceparent = trace::accepted(&request.traceparent);
    Ok(Submission { id, pipeline, options, bound: Some(queue), traceparent })
}

fn unknown(id: &str) -> Fault {
    let id: String = id.chars().take(200).collect();
    Fault::new(
        ErrorClass::NotFound,
        "no-such-application",
        format!("'{id}' is not a known application, driver or submission id; lake-submit --list shows them"),
    )
}

fn unknown_worker(id: &str) -> Fault {
    let id: String = id.chars().take(200).collect();
    let message = format!("'{id}' is not a living worker; lake-submit --list shows them");
    Fault::new(ErrorClass::NotFound, "no-such-worker", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_nobody_could_read_is_refused_as_by_the_client() {
        let request = |name: &str| v1::SubmitRequest {
            submission_id: "01993e6b-0000-7000-8000-000000000001".to_owned(),
            pipeline: b"{}".to_vec().into(),
            options: Some(v1::SubmitOptions {
                name: name.to_owned(),
                job_name: "daily".to_owned(),
                ..v1::SubmitOptions::default()
            }),
            ..v1::SubmitRequest::default()
        };
        for (name, accepted) in [("", "daily"), ("Umsätze", "Umsätze")] {
            let submission = submission(request(name), QueueBound::of(1)).unwrap();
            assert_eq!(submission.options.name, accepted);
        }
        for name in ["\u{200b}", "a\nb", "a".repeat(201).as_str()] {
            let refused = submission(request(name), QueueBound::of(1)).map(|_| ()).unwrap_err();
            assert_eq!(Err(refused), app_name::check(name), "{name:?}");
        }
    }
}
