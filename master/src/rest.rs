//! The REST port: submissions as a Spark Standalone master takes them. Edge: every master answers, the leader decides.
//!
//! What is asked and answered is in `lake_api::submission`.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{get, post};
use lake_api::submission::{self, Reply};
use lake_http::{Caller, Guard, Hosts, Limits, caller, harden};
use lake_proto::{ErrorClass, Fault};
use lake_raft::Role;
use uuid::Uuid;

use crate::at_leader::AtLeader;
use crate::master::Master;

const JSON: HeaderValue = HeaderValue::from_static("application/json;charset=utf-8");
/// Asked by whatever name a scheduler has for this master.
const PROBES: [&str; 1] = ["/v1/submissions/readyz"];

/// Everything on --rest-port.
pub(crate) fn router(master: Arc<Master>, hosts: Hosts) -> Router {
    let router = Router::new()
        .route("/v1/submissions/create", post(create))
        .route("/v1/submissions/status/{id}", get(status))
        .route("/v1/submissions/kill/{id}", post(kill))
        .route("/v1/submissions/killall", post(kill_all))
        .route("/v1/submissions/clear", post(clear))
        .route("/v1/submissions/readyz", get(ready))
        .method_not_allowed_fallback(async || answer(submission::refused(405, "this action has another HTTP method")))
        .fallback(async |uri: Uri| answer(submission::unknown_path(uri.path())))
        .with_state(master)
        .layer(from_fn(programs_only));
    harden(router, Guard { hosts, any_host: &PROBES, limits: Limits::default(), refusal })
}

fn refusal(_: &Uri, status: StatusCode, fault: &Fault) -> Response {
    let text = format!("error[{}/{}]: {fault}", fault.class, fault.code);
    answer(submission::refused(status.as_u16(), &text))
}

fn answer(reply: Reply) -> Response {
    let mut response = Response::new(reply.body.into());
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// No page of ours is on this port, so no browser has anything to change here.
async fn programs_only(request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    match is_of_a_program(request.headers(), host) {
        Ok(()) => next.run(request).await,
        Err(fault) => answer(submission::failed(&fault)),
    }
}

fn is_of_a_program(headers: &HeaderMap, host: &str) -> Result<(), Fault> {
    match caller(headers, host)? {
        Caller::Program => Ok(()),
        Caller::Page => {
            let message = "a page of a browser may not change anything on this port";
            Err(Fault::new(ErrorClass::Denied, "cross-site", message))
        }
    }
}

async fn create(State(master): State<Arc<Master>>, body: Bytes) -> Response {
    let today = chrono::Utc::now().date_naive();
    // Reading a job parses all its SQL.
    let read = move || submission::create(&body, Uuid::now_v7().to_string(), today);
    let created = match tokio::task::spawn_blocking(read).await {
        Ok(Ok(created)) => created,
        Ok(Err(fault)) => return answer(submission::failed(&fault)),
        Err(error) => {
            let message = format!("the job was not read: {error}");
            return answer(submission::failed(&Fault::new(ErrorClass::Internal, "internal", message)));
        }
    };
    let submitted = match AtLeader::find(&master).await {
        Ok(leader) => leader.submit(created.request).await,
        Err(fault) => Err(fault),
    };
    answer(match submitted {
        Ok(submitted) => submission::created(&submitted.driver_id, &created.unknown_fields),
        Err(fault) if fault.class == ErrorClass::Unavailable => submission::failed(&fault),
        Err(fault) => submission::not_created(&fault),
    })
}

async fn status(State(master): State<Arc<Master>>, Path(id): Path<String>) -> Response {
    let found = match AtLeader::find(&master).await {
        Ok(leader) => leader.status(&id).await,
        Err(fault) => Err(fault),
    };
    answer(match found {
        Ok(found) => submission::status(&found),
        Err(fault) if fault.class == ErrorClass::NotFound => match master.record(&id).await {
            Some(record) => submission::past_status(&record.summary),
            None => submission::unknown_status(&id),
        },
        Err(fault) => submission::failed(&fault),
    })
}

async fn kill(State(master): State<Arc<Master>>, Path(id): Path<String>) -> Response {
    answer(killed(&master, &id).await.unwrap_or_else(|fault| match fault.class {
        ErrorClass::NotFound => submission::nothing_to_kill(&id),
        _ => submission::failed(&fault),
    }))
}

async fn killed(master: &Arc<Master>, id: &str) -> Result<Reply, Fault> {
    let found = AtLeader::find(master).await?.status(id).await?;
    if found.ended_at_ms > 0 {
        return Ok(submission::nothing_to_kill(id));
    }
    AtLeader::find(master).await?.kill(id).await?;
    Ok(submission::killed(id))
}

async fn kill_all(State(master): State<Arc<Master>>) -> Response {
    let killed = match AtLeader::find(&master).await {
        Ok(leader) => leader.kill_all().await,
        Err(fault) => Err(fault),
    };
    answer(match killed {
        Ok(_) => submission::all_killed(),
        Err(fault) => submission::failed(&fault),
    })
}

async fn clear(State(master): State<Arc<Master>>) -> Response {
    let cleared = match AtLeader::find(&master).await {
        Ok(leader) => leader.clear_ended().await,
        Err(fault) => Err(fault),
    };
    answer(match cleared {
        Ok(_) => submission::cleared(),
        Err(fault) => submission::failed(&fault),
    })
}

async fn ready(State(master): State<Arc<Master>>) -> Response {
    answer(match master.raft.status().role {
        Role::Leader | Role::Follower => submission::ready(),
        Role::NoQuorum => submission::not_ready(),
    })
}
