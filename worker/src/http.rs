//! The worker's page, health, metrics and driver logs over HTTP. Edge: reads, never changes anything.

mod metrics;
mod page;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{Path, State as Extract};
use axum::http::{StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use lake_http::{Guard, Hosts, Limits, harden, refusal_in_text, status_of};
use lake_proto::quantity::counted;
use lake_web::{ASSETS, Asset};
use tokio::sync::watch;

use crate::drain::Drain;
use crate::drivers::Drivers;
use crate::logs::{Logs, Which};
use crate::registration::outbox::Outbox;
use crate::registration::{Offer, State};
use crate::tasks::Tasks;
use crate::workdir::WorkDir;

/// The end of a log that the page shows.
const LOG_TAIL_BYTES: u64 = 1 << 20;

/// Asked for under whatever name a scheduler or a scraper has for this worker.
const PROBES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// What the page shows.
pub struct View {
    /// What this worker offers.
    pub offer: Offer,
    /// Whether a master knows it.
    pub state: watch::Receiver<State>,
    /// Its tasks.
    pub tasks: Arc<Tasks>,
    /// Its drivers.
    pub drivers: Arc<Drivers>,
    /// Their logs.
    pub logs: Logs,
    /// Where its files are.
    pub work: Arc<WorkDir>,
    /// What no master has acknowledged yet.
    pub outbox: Arc<Outbox>,
    /// Whether it drains.
    pub draining: Drain,
    /// When it started.
    pub started: Instant,
}

/// The routes, for those who ask for one of these names.
pub fn router(view: View, hosts: Hosts) -> Router {
    let mut assets = Router::new();
    for Asset { path, content_type, content } in ASSETS {
        assets = assets.route(path, get(move || async move { ([(header::CONTENT_TYPE, content_type)], content) }));
    }
    let routes = assets
        .route("/", get(show_page))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics::show))
        .route(lake_metrics::spark::WORKER_PATH, get(metrics::show_as_spark))
        .route("/logs/{driver}/{stream}", get(show_log))
        .fallback(show_missing)
        .with_state(Arc::new(view));
    let limits = Limits::default();
    harden(routes, Guard { hosts, any_host: &PROBES, limits, refusal: refusal_in_text })
}

async fn show_page(Extract(view): Extract<Arc<View>>) -> Html<String> {
    Html(page::render(&view))
}

/// Every path that is none of ours.
async fn show_missing(Extract(view): Extract<Arc<View>>, uri: Uri) -> (StatusCode, Html<String>) {
    (StatusCode::NOT_FOUND, Html(page::missing(&view.offer, uri.path())))
}

async fn ready(Extract(view): Extract<Arc<View>>) -> (StatusCode, String) {
    match &*view.state.borrow() {
        State::Registered { worker_id, master, .. } => {
            (StatusCode::OK, format!("registered as {worker_id} at {master}\n"))
        }
        State::Searching(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not registered: {why}\n")),
    }
}

async fn show_log(Extract(view): Extract<Arc<View>>, Path((driver, stream)): Path<(String, String)>) -> Response {
    const TEXT: &str = "text/plain; charset=utf-8";
    let Some(which) = Which::named(&stream) else {
        let text = "this log is not known: expected stdout or stderr\n";
        return (StatusCode::NOT_FOUND, [(header::CONTENT_TYPE, TEXT)], text).into_response();
    };
    match view.logs.tail(&driver, which, LOG_TAIL_BYTES).await {
        Ok((0, bytes)) => ([(header::CONTENT_TYPE, TEXT)], bytes).into_response(),
        Ok((offset, bytes)) => {
            let mut text = String::new();
            let _ = writeln!(text, "... not shown before this: {} ...", counted(offset, "byte"));
            text.push_str(&String::from_utf8_lossy(&bytes));
            ([(header::CONTENT_TYPE, TEXT)], text).into_response()
        }
        Err(fault) => (status_of(fault.class), [(header::CONTENT_TYPE, TEXT)], format!("{fault}\n")).into_response(),
    }
}
