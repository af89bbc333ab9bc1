//! HTTP: probes, JSON API, metrics, pages. Edge. Everything is drawn from `lake_master_core::view`.

mod api;
mod html;
mod metrics;
mod pages;
mod style;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::master::Master;
use crate::raft::Role;

const CONTENT_SECURITY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Everything on --webui-port.
pub(crate) fn router(master: Arc<Master>) -> Router {
    Router::new()
        .route("/", get(pages::cluster))
        .route("/applications/{id}", get(pages::application))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics::text))
        .nest("/api/v1", api::router())
        .layer(map_response(harden))
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
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(HeaderName::from_static("referrer-policy"), HeaderValue::from_static("no-referrer"));
    response
}
