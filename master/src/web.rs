//! HTTP: probes, JSON API, metrics, pages. Edge. Everything is drawn from `lake_master_core::view`.

mod api;
mod html;
mod metrics;
mod pages;
mod relay;
mod style;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use lake_proto::web::HARDENING;
use lake_raft::Role;

use crate::master::Master;

const CONTENT_SECURITY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Everything on --webui-port.
pub(crate) fn router(master: Arc<Master>) -> Router {
    own_router(Arc::clone(&master)).layer(from_fn_with_state(master, relay::relay)).layer(map_response(harden))
}

/// What this master knows itself.
pub(crate) fn own_router(master: Arc<Master>) -> Router {
    Router::new()
        .route("/", get(pages::cluster))
        .route("/applications/{id}", get(pages::application))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics::text))
        .nest("/api/v1", api::router())
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
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY));
    response
}
