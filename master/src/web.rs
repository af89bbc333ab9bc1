//! HTTP: probes, JSON API, metrics, pages. Edge. Everything is drawn from `lake_master_core::view` and records; what pages
//! look like is in `lake_pages`.

mod api;
mod environment;
mod events;
mod kill;
mod logs;
mod metrics;
mod pages;
mod relay;
mod tables;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use lake_http::{Guard, Hosts, Limits, harden, refusal_in_text};
use lake_pages::route;
use lake_proto::Fault;
use lake_raft::Role;
use lake_web::Asset;
use tracing::Instrument;

pub(crate) use self::events::MOST_LISTENERS;
pub(crate) use self::kill::kill_token;
pub(crate) use self::relay::{RELAYED_HEADERS, Relayed};
use crate::master::Master;

/// Asked for under whatever name a scheduler or a scraper has for this master.
const PROBES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Everything on --webui-port.
pub(crate) fn router(master: Arc<Master>, hosts: Hosts) -> Router {
    // Not for other masters: a stream has no end, and each of them knows when its own visitors should look again.
    let events = Router::new().route(route::EVENTS, get(events::stream)).with_state(Arc::clone(&master));
    let pages = own_router(Arc::clone(&master)).merge(events);
    let router = pages.layer(from_fn_with_state(master, relay::relay));
    harden(router, Guard { hosts, any_host: &PROBES, limits: Limits::default(), refusal }).layer(from_fn(in_span))
}

fn refusal(uri: &Uri, status: StatusCode, fault: &Fault) -> Response {
    if uri.path().starts_with("/api/") { api::failed_as(status, fault) } else { refusal_in_text(uri, status, fault) }
}

/// A detail, because pages ask again every few seconds.
async fn in_span(request: Request, next: Next) -> Response {
    let span = tracing::debug_span!("request", method = %request.method(), path = request.uri().path());
    next.run(request).instrument(span).await
}

/// What this master knows itself.
pub(crate) fn own_router(master: Arc<Master>) -> Router {
    let mut assets = Router::new();
    for Asset { path, content_type, content } in lake_pages::assets() {
        assets = assets.route(path, get(move || async move { ([(header::CONTENT_TYPE, content_type)], content) }));
    }
    assets
        .route(route::CLUSTER, get(pages::cluster))
        .route(route::APPLICATION, get(pages::application))
        .route(route::KILL, post(kill::by_form))
        .route(route::QUERY, get(pages::query))
        .route(route::LOGS, get(logs::page))
        .route(route::LOG_TEXT, get(logs::text))
        .route(route::WORKER, get(pages::worker))
        .route(route::TABLES, get(tables::all))
        .route(route::TABLE, get(tables::one))
        .route(route::LINEAGE, get(tables::lineage))
        .route(route::HISTORY, get(pages::history))
        .route(route::ENVIRONMENT, get(environment::page))
        .route(environment::OWN, get(environment::own))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics::text))
        .route(lake_metrics::spark::MASTER_PATH, get(metrics::text_as_spark))
        .nest("/api/v1", api::router())
        // What is nested does not answer at its own root with a slash.
        .route("/api/v1/", any(api::unknown))
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
