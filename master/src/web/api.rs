//! `/api/v1`: JSON, fields are added and never removed. Edge.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use lake_master_core::view::{self, ApplicationView, WorkerView};
use lake_proto::{ErrorClass, Fault, v1};
use lake_raft::GroupMember;
use serde::{Deserialize, Serialize};

use crate::master::Master;

pub(super) fn router() -> Router<Arc<Master>> {
    Router::new()
        .route("/version", get(version))
        .route("/applications", get(applications))
        .route("/applications/{id}", get(application))
        .route("/workers", get(workers))
        .route("/masters", get(masters))
        .fallback(async || failed(Fault::new(ErrorClass::NotFound, "no-such-path", "this path is not part of the API")))
}

#[derive(Serialize)]
struct Version {
    version: &'static str,
    /// Number of the master that answers.
    id: u64,
    role: &'static str,
    term: u64,
    applied: u64,
}

async fn version(State(master): State<Arc<Master>>) -> Json<Version> {
    let status = master.raft.status();
    Json(Version {
        version: env!("CARGO_PKG_VERSION"),
        id: master.id,
        role: status.role.name(),
        term: status.term,
        applied: status.applied,
    })
}

#[derive(Deserialize)]
struct Filter {
    /// Spark's names of states, separated by commas, any case.
    status: Option<String>,
    /// 0 or absent = all.
    limit: Option<usize>,
}

async fn applications(State(master): State<Arc<Master>>, Query(filter): Query<Filter>) -> Json<Vec<ApplicationView>> {
    let is_wanted = |state: &str| match &filter.status {
        Some(wanted) => wanted.split(',').any(|wanted| wanted.trim().eq_ignore_ascii_case(state)),
        None => true,
    };
    let found =
        master.applications(|application| is_wanted(application.phase.name()), filter.limit.unwrap_or_default());
    Json(found)
}

#[derive(Serialize)]
struct Detail {
    #[serde(flatten)]
    application: ApplicationView,
    /// As its driver reported it last; empty after a restart of the master.
    progress: Vec<StepPicture>,
    /// Running now.
    queries: Vec<QueryPicture>,
}

async fn application(State(master): State<Arc<Master>>, Path(id): Path<String>) -> Response {
    let found = master.raft.read(|state| Some((view::find(state, &id)?, state.find(&id)?.id.clone())));
    let Some((application, app)) = found else {
        return failed(Fault::new(ErrorClass::NotFound, "no-such-application", format!("'{id}' is not known")));
    };
    let (_, steps) = master.reign().progress.since(&app, 0);
    let (_, mut queries) = master.live().await;
    let queries = queries.remove(&app).unwrap_or_default();
    Json(Detail {
        application,
        progress: steps.into_iter().map(StepPicture::from).collect(),
        queries: queries
            .into_iter()
            .map(|query| QueryPicture {
                query_id: query.query.to_string(),
                label: query.label,
                stages: query.stages.into_iter().map(StagePicture::from).collect(),
            })
            .collect(),
    })
    .into_response()
}

async fn workers(State(master): State<Arc<Master>>) -> Json<Vec<WorkerView>> {
    let (live, _) = master.live().await;
    Json(master.raft.read(|state| view::workers(state, &live)))
}

#[derive(Serialize)]
struct MasterPicture {
    id: u64,
    address: String,
    role: &'static str,
    /// Index of the last log entry known to be on its disk; 0 where this is not known.
    matched: u64,
    is_active: bool,
}

async fn masters(State(master): State<Arc<Master>>) -> Response {
    match master.raft.group().await {
        Ok(group) => {
            let picture = |member: GroupMember| MasterPicture {
                id: member.member.id,
                role: member.role(group.leader),
                address: member.member.address,
                matched: member.matched,
                is_active: member.is_active,
            };
            Json(group.members.into_iter().map(picture).collect::<Vec<_>>()).into_response()
        }
        Err(fault) => failed(fault),
    }
}

#[derive(Serialize)]
struct StepPicture {
    table: String,
    state: String,
    stages: Vec<StagePicture>,
    failure: Option<Fault>,
}

#[derive(Serialize)]
struct StagePicture {
    stage_id: u32,
    tasks_total: u32,
    tasks_running: u32,
    tasks_done: u32,
    rows: u64,
    bytes: u64,
    retries: u32,
}

#[derive(Serialize)]
struct QueryPicture {
    query_id: String,
    label: String,
    stages: Vec<StagePicture>,
}

impl From<v1::StepProgress> for StepPicture {
    fn from(step: v1::StepProgress) -> Self {
        Self {
            table: step.table,
            state: step.state,
            stages: step.stages.into_iter().map(StagePicture::from).collect(),
            failure: step.failure.map(Fault::from),
        }
    }
}

impl From<v1::StageProgress> for StagePicture {
    fn from(stage: v1::StageProgress) -> Self {
        Self {
            stage_id: stage.stage_id,
            tasks_total: stage.tasks_total,
            tasks_running: stage.tasks_running,
            tasks_done: stage.tasks_done,
            rows: stage.rows,
            bytes: stage.bytes,
            retries: stage.retries,
        }
    }
}

#[derive(Serialize)]
struct Failure {
    error: Fault,
}

fn failed(fault: Fault) -> Response {
    let status = StatusCode::from_u16(fault.class.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(Failure { error: fault })).into_response()
}
