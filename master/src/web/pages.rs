//! The pages: the cluster and one application. Edge; drawing itself is pure.

mod application;
mod cluster;
mod masthead;

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::{Html as Page, IntoResponse, Response};
use lake_master_core::view;
use lake_proto::web::{HEAD, MARK, SILENT};

use self::masthead::Masthead;
use super::html::{Html, element, text};
use super::relay::Relayed;
use crate::clock::now_ms;
use crate::master::Master;

pub(super) async fn cluster(State(master): State<Arc<Master>>, relayed: Option<Extension<Relayed>>) -> Response {
    let (live, queries) = master.live().await;
    let workers = master.raft.read(|state| view::workers(state, &live));
    let (in_states, active, completed) = master.raft.read(|state| {
        (view::in_states(state), view::active(state, cluster::SHOWN), view::ended(state, cluster::SHOWN))
    });
    let running_queries = queries.values().map(Vec::len).sum();
    // A master that is stopping knows of none.
    let group = master.raft.group().await.unwrap_or_default();
    let drawn = cluster::Drawn { group, workers, in_states, active, completed, running_queries, now_ms: now_ms() };
    page("lake master", &masthead(&master, relayed), &drawn.html())
}

pub(super) async fn application(
    State(master): State<Arc<Master>>,
    relayed: Option<Extension<Relayed>>,
    Path(id): Path<String>,
) -> Response {
    let masthead = masthead(&master, relayed);
    let found = master.raft.read(|state| Some((view::find(state, &id)?, state.find(&id)?.id.clone())));
    let Some((application, app)) = found else {
        return not_found(&masthead, &format!("'{id}' is not a known application, driver or submission id."));
    };
    let (_, progress) = master.reign().progress.since(&app, 0);
    let (_, mut queries) = master.live().await;
    let queries = queries.remove(&app).unwrap_or_default();
    let title = format!("{} · lake master", application.name);
    let drawn = application::Drawn { application, progress, queries, now_ms: now_ms() };
    page(&title, &masthead, &drawn.html())
}

/// Every path that is none of ours.
pub(super) async fn missing(
    State(master): State<Arc<Master>>,
    relayed: Option<Extension<Relayed>>,
    uri: Uri,
) -> Response {
    not_found(&masthead(&master, relayed), &format!("There is no page at '{}'.", uri.path()))
}

fn masthead(master: &Master, relayed: Option<Extension<Relayed>>) -> Masthead {
    let status = master.raft.status();
    Masthead {
        id: master.id,
        role: status.role,
        term: status.term,
        relay_id: relayed.map(|Extension(Relayed { by })| by),
        leader: master.raft.leader_address(),
        now_ms: now_ms(),
    }
}

fn not_found(masthead: &Masthead, message: &str) -> Response {
    let body = [
        element("h2", &[], &[text("Not found")]),
        element("p", &[], &[text(message)]),
        element("p", &[], &[element("a", &[("href", "/")], &[text("Workers and applications")])]),
    ];
    let page = page("not found · lake master", masthead, &element("section", &[], &body));
    (StatusCode::NOT_FOUND, page).into_response()
}

fn page(title: &str, masthead: &Masthead, body: &Html) -> Response {
    Page(document(title, masthead, body).into_string()).into_response()
}

fn document(title: &str, masthead: &Masthead, body: &Html) -> Html {
    let mut markup = Html::raw(HEAD);
    markup.push(&element("title", &[], &[text(title)]));
    markup.push(&Html::raw("</head><body>"));
    let name = element("h1", &[], &[element("a", &[("href", "/")], &[text("lake master")])]);
    markup.push(&element("header", &[], &[Html::raw(MARK), name, masthead.line()]));
    markup.push(&Html::raw(SILENT));
    markup.push(&element("main", &[], &[masthead.notice(), body.clone()]));
    markup.push(&Html::raw("</body></html>"));
    markup
}

/// A heading with a remark.
fn heading(title: &str, remark: &str) -> Html {
    element("h2", &[], &[text(title), element("small", &[], &[text(remark)])])
}

/// Text that stays on one line.
fn nowrap(content: &str) -> Html {
    element("span", &[("class", "nowrap")], &[text(content)])
}

#[cfg(test)]
mod tests;
