//! HTTP: probes, JSON API, metrics, pages. Edge. Everything is drawn from `lake_master_core::view`.

mod api;
mod html;
mod kill;
mod metrics;
mod pages;
mod relay;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use lake_http::{Guard, Hosts, Limits, guard, refusal_in_text};
use lake_proto::Fault;
use lake_proto::web::{ASSETS, Asset, HARDENING, content_security};
use lake_raft::Role;

pub(crate) use self::kill::kill_token;
pub(crate) use self::relay::{RELAYED_HEADERS, Relayed};
use crate::master::Master;

/// Asked for under whatever name a scheduler or a scraper has for this master.
const PROBES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Everything on --webui-port.
pub(crate) fn router(master: Arc<Master>, hosts: Hosts) -> Router {
    let router = own_router(Arc::clone(&master)).layer(from_fn_with_state(master, relay::relay));
    let guarded = guard(router, Guard { hosts, any_host: &PROBES, limits: Limits::default(), refusal });
    guarded.layer(map_response(harden))
}

fn refusal(uri: &Uri, status: StatusCode, fault: &Fault) -> Response {
    if uri.path().starts_with("/api/") { api::failed_as(status, fault) } else { refusal_in_text(uri, status, fault) }
}

/// What this master knows itself.
pub(crate) fn own_router(master: Arc<Master>) -> Router {
    let mut assets = Router::new();
    for Asset { path, content_type, content } in ASSETS {
        assets = assets.route(path, get(move || async move { ([(header::CONTENT_TYPE, content_type)], content) }));
    }
    assets
        .route("/", get(pages::cluster))
        .route("/applications/{id}", get(pages::application))
        .route("/applications/{id}/kill", post(kill::by_form))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics::text))
        .nest("/api/v1", api::router())
        .fallback(pages::missing)
        .with_state(master)
}

async fn ready(State(master): State<Arc<Master>>) -> Response {
    let role = master.raft.status().role;
    let status = match role {
        Role::Leader | Role::Follower => StatusCode::OK,
        Role::NoQuorum => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, format!("{}\n", role.name())).into_response()
}

async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in HARDENING {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let policy = HeaderValue::from_static(content_security(content_type));
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}
