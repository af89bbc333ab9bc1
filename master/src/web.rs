//! HTTP: probes, JSON API, metrics, pages. Edge. Everything is drawn from `lake_master_core::view`.

mod api;
mod html;
mod metrics;
mod pages;
mod relay;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use lake_proto::web::{ASSETS, Asset, HARDENING, content_security};
use lake_raft::Role;
use tracing::Instrument;

pub(crate) use self::relay::Relayed;
use crate::master::Master;

/// Everything on --webui-port.
pub(crate) fn router(master: Arc<Master>) -> Router {
    own_router(Arc::clone(&master))
        .layer(from_fn_with_state(master, relay::relay))
        .layer(map_response(harden))
        .layer(from_fn(in_span))
}

/// A detail, because pages ask again every few seconds.
async fn in_span(request: Request, next: Next) -> Response {
    let span = tracing::debug_span!("request", method = %request.method(), path = request.uri().path());
    next.run(request).instrument(span).await
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
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics::text))
        .route(lake_metrics::spark::MASTER_PATH, get(metrics::text_as_spark))
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
