//! The read model: what clients, the API and the pages are shown. Pure. Nothing outside reads [`State`] for people.

mod page;

use std::collections::BTreeMap;

use lake_proto::{AppId, ErrorClass, Fault, WorkerId, v1};
use serde::Serialize;

use crate::application::{Application, DeployMode, Launch, Phase};
use crate::date;
use crate::state::State;
use crate::step::Step;
use crate::worker::{Worker, WorkerState};

pub use self::page::OpenPage;

/// What is known of workers only in memory on the leader.
pub type Live = BTreeMap<WorkerId, LiveWorker>;

/// One worker's momentary figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LiveWorker {
    /// Cores held by tasks.
    pub cores_used: u32,
    /// Last heartbeat.
    pub last_heartbeat_ms: u64,
    /// Memory its tasks use.
    pub memory_used_bytes: u64,
    /// Free space of its work dir.
    pub disk_free_bytes: u64,
    /// Task attempts that run on it, as it says.
    pub running_tasks: usize,
    /// Bytes of shuffle files that it holds for running queries.
    pub shuffle_bytes: u64,
    /// It takes nothing new and leaves when nothing of it is needed.
    pub is_draining: bool,
}

/// One application, as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApplicationView {
    /// Made by the client.
    pub submission_id: String,
    /// `app-…`.
    pub app_id: String,
    /// `driver-…`.
    pub driver_id: String,
    /// Shown to people.
    pub name: String,
    /// Run numbers are counted per job name.
    pub job_name: String,
    /// Spark's name of the state.
    pub state: &'static str,
    /// It was asked to end, and its driver is not gone yet or what that may have committed is not settled.
    pub is_killing: bool,
    /// `cluster` or `client`.
    pub deploy_mode: &'static str,
    /// Worker of the current or last attempt; empty before placement and in client mode.
    pub worker_id: String,
    /// `host:port` of that worker.
    pub worker_address: String,
    /// Driver launches so far.
    pub attempt: u32,
    /// Driver launches at most.
    pub max_attempts: u32,
    /// The version in the Delta transaction id.
    pub run_number: u64,
    /// Memory its driver holds.
    pub driver_memory_bytes: u64,
    /// Cores it may use at most; 0 = no cap.
    pub total_executor_cores: u32,
    /// When it was submitted.
    pub submitted_at_ms: u64,
    /// When a driver of it ran first; 0 = not yet.
    pub started_at_ms: u64,
    /// When it ended; 0 = not yet.
    pub ended_at_ms: u64,
    /// Why the last attempt ended, when it was not success.
    pub failure: Option<Fault>,
    /// Why it waits, when it does.
    pub waits_for: Option<String>,
    /// Why the attempt before ended, while another one is waited for or runs.
    pub relaunch_reason: Option<Fault>,
    /// What its steps left behind.
    pub steps: Vec<Step>,
}

/// One worker, as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WorkerView {
    /// `worker-…`.
    pub worker_id: String,
    /// Where others reach it.
    pub host: String,
    /// Its gRPC port.
    pub grpc_port: u16,
    /// Its Arrow Flight port.
    pub flight_port: u16,
    /// Its page.
    pub http_port: u16,
    /// Cores it offers to tasks.
    pub cores: u32,
    /// Cores held by tasks.
    pub cores_used: u32,
    /// Memory it offers to drivers.
    pub memory_bytes: u64,
    /// Memory that drivers hold.
    pub driver_memory_bytes: u64,
    /// Memory its tasks use, as it says.
    pub task_memory_bytes: u64,
    /// Free space of its work dir, as it says.
    pub disk_free_bytes: u64,
    /// Task attempts that run on it, as it says.
    pub running_tasks: usize,
    /// Bytes of shuffle files that it holds for running queries, as it says.
    pub shuffle_bytes: u64,
    /// `ALIVE`, `DRAINING`, `DECOMMISSIONED` (it drained and has left) or `LOST`.
    pub state: &'static str,
    /// Why it is lost.
    pub lost_reason: Option<String>,
    /// When it was lost or had left; 0 = it is here.
    pub gone_at_ms: u64,
    /// Drivers on it now.
    pub drivers: usize,
    /// When it registered.
    pub registered_at_ms: u64,
    /// Last heartbeat; 0 = none at this leader.
    pub last_heartbeat_ms: u64,
}

/// Whether this application is in one of its last states.
pub fn is_over(application: &Application) -> bool {
    application.phase.ended().is_some()
}

/// One application.
pub fn application(state: &State, app: &AppId) -> Option<ApplicationView> {
    state.application(app).map(|application| view_of(state, application, &room_for(state, application)))
}

/// The application with this application, driver or submission id.
pub fn find(state: &State, id: &str) -> Option<ApplicationView> {
    state.find(id).map(|application| view_of(state, application, &room_for(state, application)))
}

/// What is remembered of the launches of an application's driver, the first one first.
pub fn launches(state: &State, app: &AppId) -> Vec<Launch> {
    state.application(app).map(|application| application.launches.clone()).unwrap_or_default()
}

/// Where a list goes on: before this place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Before(u64);

impl Before {
    /// Begins with the newest.
    pub const NEWEST: Self = Self(u64::MAX);
}

/// The newest applications that are `wanted`, at most `limit`, and where the list goes on when there may be more: a long
/// one is taken in pieces, so that commands need not wait for all of it.
pub fn newest(
    state: &State,
    wanted: impl Fn(&Application) -> bool,
    before: Before,
    limit: usize,
) -> (Vec<ApplicationView>, Option<Before>) {
    let room = Room::of(state);
    let mut found = Vec::new();
    for application in state.newest_before(before.0).filter(|application| wanted(application)) {
        found.push(view_of(state, application, &room));
        if found.len() >= limit {
            return (found, Some(Before(application.queued_at)));
        }
    }
    (found, None)
}

/// At most `limit` of those that have not ended: first those with a driver, the newest first, then those that wait, in
/// the order of the queue.
pub fn active(state: &State, limit: usize) -> Vec<ApplicationView> {
    let room = Room::of(state);
    let active = state.running().rev().chain(state.waiting());
    active.take(limit).map(|application| view_of(state, application, &room)).collect()
}

/// At most `limit` of those that have ended and are kept, the last one first.
pub fn ended(state: &State, limit: usize) -> Vec<ApplicationView> {
    let room = Room::of(state);
    state.latest_ended().take(limit).map(|application| view_of(state, application, &room)).collect()
}

/// How many applications there are in a state; states in which there is none are absent.
pub fn in_states(state: &State) -> BTreeMap<&'static str, usize> {
    state.index.in_states().clone()
}

/// Every worker that is kept, living ones first, by id, then those that are gone, the latest first.
pub fn workers(state: &State, live: &Live) -> Vec<WorkerView> {
    let mut workers: Vec<&Worker> = state.workers().collect();
    workers.sort_by_key(|worker| (worker.state.gone_at_ms().map(std::cmp::Reverse), &worker.id));
    workers.into_iter().map(|worker| worker_view(state, worker, live)).collect()
}

/// Memory of the living workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Room {
    /// `None` when there is no worker.
    largest_bytes: Option<u64>,
    most_free_bytes: u64,
}

impl Room {
    fn of(state: &State) -> Self {
        let mut room = Self::default();
        for worker in state.workers().filter(|worker| worker.is_alive()) {
            let total = worker.registration.memory_bytes;
            room.largest_bytes = room.largest_bytes.max(Some(total));
            room.most_free_bytes = room.most_free_bytes.max(total.saturating_sub(state.memory_used_bytes(&worker.id)));
        }
        room
    }
}

/// Nobody asks what room there is for one that does not wait.
fn room_for(state: &State, application: &Application) -> Room {
    if application.is_waiting() { Room::of(state) } else { Room::default() }
}

fn view_of(state: &State, application: &Application, room: &Room) -> ApplicationView {
    let worker = application.phase.worker();
    let place = worker.and_then(|id| state.worker(id));
    let address = |worker: &Worker| format!("{}:{}", worker.registration.host, worker.registration.grpc_port);
    ApplicationView {
        submission_id: application.submission.to_string(),
        app_id: application.id.to_string(),
        driver_id: application.driver.to_string(),
        name: application.options.name.clone(),
        job_name: application.options.job_name.clone(),
        state: application.phase.name(),
        is_killing: application.running().is_some_and(|attempt| attempt.is_killing)
            || application.ending.as_ref().is_some_and(|verdict| verdict.class == ErrorClass::Cancelled),
        deploy_mode: application.options.deploy_mode.name(),
        worker_id: worker.map(ToString::to_string).unwrap_or_default(),
        worker_address: place.map(address).unwrap_or_default(),
        attempt: application.attempt,
        max_attempts: match application.options.deploy_mode {
            DeployMode::Cluster => application.max_attempts(),
            DeployMode::Client => 1,
        },
        run_number: application.run_number,
        driver_memory_bytes: application.driver_memory_bytes(),
        total_executor_cores: application.options.total_executor_cores,
        submitted_at_ms: application.submitted_at_ms,
        started_at_ms: application.started_at_ms.unwrap_or(0),
        ended_at_ms: application.phase.ended().map_or(0, |ended| ended.at_ms),
        failure: application.phase.fault(),
        waits_for: waits_for(state, application, room),
        relaunch_reason: application.phase.relaunch_reason().cloned(),
        steps: application.steps.values().cloned().collect(),
    }
}

fn waits_for(state: &State, application: &Application, room: &Room) -> Option<String> {
    if !application.is_waiting() {
        return None;
    }
    let earlier = state.first_run(&application.options.job_name);
    if let Some(earlier) = earlier.filter(|earlier| earlier.id != application.id) {
        return Some(format!("{}, an earlier run of the same job", earlier.id));
    }
    let wanted = application.driver_memory_bytes();
    let mib = |bytes: u64| bytes / (1024 * 1024);
    match (room.largest_bytes, &application.phase) {
        (None, _) => Some("a worker: none is registered".to_owned()),
        (Some(largest), _) if largest < wanted => {
            Some(format!("a worker with {} MiB for the driver: the largest has {} MiB", mib(wanted), mib(largest)))
        }
        (Some(_), _) if room.most_free_bytes < wanted => {
            Some(format!("{} MiB of worker memory: at most {} MiB is free", mib(wanted), mib(room.most_free_bytes)))
        }
        (Some(_), Phase::Relaunching { since_ms, not_before_ms, .. }) => {
            let what = match application.ending {
                Some(_) => "a driver that finds out what was committed",
                None => "its next attempt",
            };
            let is_held_back = not_before_ms > since_ms;
            let when = is_held_back.then(|| format!(", at {} UTC", date::time_of_day(*not_before_ms)));
            Some(format!("{what}{}", when.unwrap_or_default()))
        }
        (Some(_), _) => Some("its turn".to_owned()),
    }
}

fn worker_view(state: &State, worker: &Worker, live: &Live) -> WorkerView {
    let figures = live.get(&worker.id).copied().unwrap_or_default();
    let registration = &worker.registration;
    WorkerView {
        worker_id: worker.id.to_string(),
        host: registration.host.clone(),
        grpc_port: registration.grpc_port,
        flight_port: registration.flight_port,
        http_port: registration.http_port,
        cores: registration.cores,
        cores_used: figures.cores_used,
        memory_bytes: registration.memory_bytes,
        driver_memory_bytes: state.memory_used_bytes(&worker.id),
        task_memory_bytes: figures.memory_used_bytes,
        disk_free_bytes: figures.disk_free_bytes,
        running_tasks: figures.running_tasks,
        shuffle_bytes: figures.shuffle_bytes,
        state: match &worker.state {
            WorkerState::Alive if figures.is_draining => "DRAINING",
            WorkerState::Alive | WorkerState::Lost { .. } | WorkerState::Decommissioned { .. } => worker.state.name(),
        },
        lost_reason: match &worker.state {
            WorkerState::Alive | WorkerState::Decommissioned { .. } => None,
            WorkerState::Lost { reason, .. } => Some(reason.clone()),
        },
        gone_at_ms: worker.state.gone_at_ms().unwrap_or(0),
        drivers: state.count_drivers_on(&worker.id),
        registered_at_ms: worker.registered_at_ms,
        last_heartbeat_ms: figures.last_heartbeat_ms,
    }
}

impl From<ApplicationView> for v1::ApplicationStatus {
    fn from(view: ApplicationView) -> Self {
        Self {
            submission_id: view.submission_id,
            app_id: view.app_id,
            driver_id: view.driver_id,
            name: view.name,
            state: view.state.to_owned(),
            worker_id: view.worker_id,
            attempt: view.attempt,
            run_number: view.run_number,
            submitted_at_ms: view.submitted_at_ms,
            started_at_ms: view.started_at_ms,
            ended_at_ms: view.ended_at_ms,
            failure: view.failure.map(Into::into),
            steps: view.steps.into_iter().map(Into::into).collect(),
            worker_address: view.worker_address,
            deploy_mode: view.deploy_mode.to_owned(),
            waits_for: view.waits_for.unwrap_or_default(),
            relaunch_reason: view.relaunch_reason.map(Into::into),
        }
    }
}

impl From<WorkerView> for v1::WorkerStatus {
    fn from(view: WorkerView) -> Self {
        Self {
            worker_id: view.worker_id,
            host: view.host,
            cores: view.cores,
            cores_used: view.cores_used,
            memory_bytes: view.memory_bytes,
            state: view.state.to_owned(),
            grpc_port: u32::from(view.grpc_port),
            flight_port: u32::from(view.flight_port),
            http_port: u32::from(view.http_port),
            last_heartbeat_ms: view.last_heartbeat_ms,
        }
    }
}
