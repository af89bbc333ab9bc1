//! The pages: the cluster and one application. Edge; drawing itself is pure.

mod application;
mod cluster;

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{Html as Page, IntoResponse, Response};
use lake_master_core::view;
use lake_raft::Status;

use super::html::{Html, element, instant, text};
use super::style::{MARK, REFRESH, STYLE};
use crate::clock::now_ms;
use crate::master::Master;

pub(super) async fn cluster(State(master): State<Arc<Master>>) -> Response {
    let (live, queries) = master.live().await;
    let workers = master.raft.read(|state| view::workers(state, &live));
    let (in_states, active, completed) = master.raft.read(|state| {
        (view::in_states(state), view::active(state, cluster::SHOWN), view::ended(state, cluster::SHOWN))
    });
    let running_queries = queries.values().map(Vec::len).sum();
    // A master that is stopping knows of none.
    let group = master.raft.group().await.unwrap_or_default();
    let drawn = cluster::Drawn { group, workers, in_states, active, completed, running_queries, now_ms: now_ms() };
    page("lake master", master.raft.status(), drawn.html())
}

pub(super) async fn application(State(master): State<Arc<Master>>, Path(id): Path<String>) -> Response {
    let found = master.raft.read(|state| Some((view::find(state, &id)?, state.find(&id)?.id.clone())));
    let Some((application, app)) = found else {
        let message =
            element("p", &[], &[text(format!("'{id}' is not a known application, driver or submission id."))]);
        let back = element("p", &[], &[element("a", &[("href", "/")], &[text("All applications")])]);
        let body = element("section", &[], &[element("h2", &[], &[text("Not found")]), message, back]);
        return (StatusCode::NOT_FOUND, page("not found", master.raft.status(), body)).into_response();
    };
    let (_, progress) = master.reign().progress.since(&app, 0);
    let (_, mut queries) = master.live().await;
    let queries = queries.remove(&app).unwrap_or_default();
    let title = application.name.clone();
    let drawn = application::Drawn { application, progress, queries, now_ms: now_ms() };
    page(&title, master.raft.status(), drawn.html())
}

fn page(title: &str, status: Status, body: Html) -> Response {
    let at = format!("{} · term {} · {} UTC", status.role.name(), status.term, instant(now_ms()));
    let mut markup = Html::raw("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">");
    markup.push(&Html::raw("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"));
    markup.push(&element("title", &[], &[text(title)]));
    markup.push(&element("style", &[], &[Html::raw(STYLE)]));
    markup.push(&Html::raw("</head><body>"));
    let name = element("h1", &[], &[element("a", &[("href", "/")], &[text("lake master")])]);
    let at = element("span", &[("class", "at")], &[text(at)]);
    markup.push(&element("header", &[], &[Html::raw(MARK), name, at]));
    markup.push(&element("main", &[], &[body]));
    markup.push(&element("script", &[], &[Html::raw(REFRESH)]));
    markup.push(&Html::raw("</body></html>"));
    Page(markup.into_string()).into_response()
}

/// A heading with a remark.
fn heading(title: &str, remark: &str) -> Html {
    element("h2", &[], &[text(title), element("small", &[], &[text(remark)])])
}

#[cfg(test)]
mod tests;
