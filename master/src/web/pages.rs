//! The pages: values are fetched here, and `lake_pages` draws them. Edge.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, Uri};
use axum::response::{Html, IntoResponse, Response};
use lake_master_core::view;
use lake_pages::{Active, Asked, Bad, MasterLine, Masthead, Page, RunningAttempt, Standing};
use lake_proto::{AppId, v1};
use lake_raft::{Group, Role};
use lake_record::ApplicationSummary;

use super::kill_token;
use super::relay::Relayed;
use crate::clock::now_ms;
use crate::master::Master;
use crate::records::SummaryFilter;

/// Applications whose tasks are looked for on the page of a worker.
const MOST_LOOKED_AT: usize = 200;

/// What stands behind the `?`.
pub(super) type Pairs = Query<Vec<(String, String)>>;

/// Set when another master asks for its visitor.
pub(super) type Relay = Option<Extension<Relayed>>;

pub(super) async fn cluster(State(master): State<Arc<Master>>, relayed: Relay) -> Response {
    let masthead = masthead(&master, relayed);
    let (live, queries) = master.live().await;
    let (workers, in_states, active, completed) = master.raft.read(|state| {
        (
            view::workers(state, &live),
            view::in_states(state),
            view::active(state, lake_pages::SHOWN),
            view::ended(state, lake_pages::SHOWN),
        )
    });
    let reign = master.reign();
    let told = |app_id: &str| -> Vec<v1::StepProgress> {
        app_id.parse::<AppId>().map(|app| reign.progress.since(&app, 0).1).unwrap_or_default()
    };
    let active: Vec<Active> =
        active.into_iter().map(|application| Active { steps: told(&application.app_id), application }).collect();
    // A master that is stopping knows of none.
    let group = master.raft.group().await.unwrap_or_default();
    let masters = lines(&group);
    let (running_queries, samples) = (queries.values().map(Vec::len).sum(), reign.samples.all());
    drawn(masthead, move |masthead| {
        let shown = lake_pages::Cluster {
            masters: &masters,
            term: group.term,
            workers: &workers,
            in_states: &in_states,
            active: &active,
            completed: &completed,
            running_queries,
            samples: &samples,
            now_ms: masthead.now_ms,
        };
        Ok(lake_pages::cluster(&shown))
    })
    .await
}

fn lines(group: &Group) -> Vec<MasterLine> {
    let mut lines = Vec::new();
    for member in &group.members {
        let is_leader = member.member.id == group.leader;
        lines.push(MasterLine {
            id: member.member.id,
            address: member.member.address.clone(),
            role: member.role(group.leader),
            lag: (!is_leader).then(|| group.commit.saturating_sub(member.matched)),
            is_active: member.is_active,
        });
    }
    lines
}

pub(super) async fn application(State(master): State<Arc<Master>>, relayed: Relay, Path(id): Path<String>) -> Response {
    let masthead = masthead(&master, relayed);
    let Some(record) = master.record(&id).await else { return unknown_application(&masthead, &id) };
    let token = kill_token(&master, &record.summary.app_id);
    drawn(masthead, move |masthead| {
        let kill_token = token.as_deref();
        Ok(lake_pages::application(&lake_pages::Application { record: &record, kill_token, now_ms: masthead.now_ms }))
    })
    .await
}

pub(super) async fn query(
    State(master): State<Arc<Master>>,
    relayed: Relay,
    Path((id, query)): Path<(String, String)>,
    Query(pairs): Pairs,
) -> Response {
    let masthead = masthead(&master, relayed);
    let wanted = match lake_pages::WantedAttempts::of(&Asked::new(pairs)) {
        Ok(wanted) => wanted,
        Err(why) => return bad(&masthead, &why),
    };
    let Some(record) = master.record(&id).await else { return unknown_application(&masthead, &id) };
    drawn(masthead, move |masthead| {
        let Some(query) = record.query(&query) else {
            return Err(format!("'{query}' is not a known query of {}.", record.summary.app_id));
        };
        let shown = lake_pages::Query { record: &record, query, wanted: &wanted, now_ms: masthead.now_ms };
        Ok(lake_pages::query(&shown))
    })
    .await
}

pub(super) async fn worker(State(master): State<Arc<Master>>, relayed: Relay, Path(id): Path<String>) -> Response {
    let masthead = masthead(&master, relayed);
    let (live, queries) = master.live().await;
    let workers = master.raft.read(|state| view::workers(state, &live));
    let Some(worker) = workers.into_iter().find(|worker| worker.worker_id == id) else {
        let message = format!("'{id}' is not a worker that the masters keep.");
        return not_found(&masthead, &message);
    };
    let filter = SummaryFilter { states: vec!["RUNNING".to_owned()], text: String::new() };
    let (mut drivers, _) = master.summaries(&filter, 0, usize::MAX).await;
    drivers.retain(|summary: &ApplicationSummary| summary.worker_id == id);
    let mut records = Vec::new();
    for app in queries.keys().take(MOST_LOOKED_AT) {
        records.extend(master.record(app.as_str()).await);
    }
    drawn(masthead, move |masthead| {
        let running: Vec<RunningAttempt> =
            records.iter().flat_map(|record| lake_pages::running_on(record, &worker.worker_id)).collect();
        let now_ms = masthead.now_ms;
        Ok(lake_pages::worker(&lake_pages::Worker { worker: &worker, running: &running, drivers: &drivers, now_ms }))
    })
    .await
}

pub(super) async fn history(State(master): State<Arc<Master>>, relayed: Relay, Query(pairs): Pairs) -> Response {
    let masthead = masthead(&master, relayed);
    let wanted = match lake_pages::WantedHistory::of(&Asked::new(pairs)) {
        Ok(wanted) => wanted,
        Err(why) => return bad(&masthead, &why),
    };
    let filter = SummaryFilter { states: wanted.states.clone(), text: wanted.text.clone() };
    let (applications, total) = master.summaries(&filter, wanted.window.offset, wanted.window.limit).await;
    let unreadable = master.unreadable().await;
    drawn(masthead, move |masthead| {
        Ok(lake_pages::history(&lake_pages::History {
            wanted: &wanted,
            applications: &applications,
            total,
            unreadable: &unreadable,
            now_ms: masthead.now_ms,
        }))
    })
    .await
}

/// Every path that is none of ours.
pub(super) async fn missing(State(master): State<Arc<Master>>, relayed: Relay, uri: Uri) -> Response {
    let path: String = uri.path().chars().take(200).collect();
    not_found(&masthead(&master, relayed), &format!("There is no page at '{path}'."))
}

pub(super) fn masthead(master: &Master, relayed: Relay) -> Masthead {
    let status = master.raft.status();
    Masthead {
        id: master.id,
        standing: match status.role {
            Role::Leader => Standing::Leader,
            Role::Follower => Standing::Follower,
            Role::NoQuorum => Standing::NoQuorum,
        },
        term: status.term,
        relay_id: relayed.map(|Extension(Relayed { by })| by),
        leader: master.raft.leader_address(),
        now_ms: now_ms(),
    }
}

/// Draws where it may take its time: a page of thousands of tasks does. What `draw` does not find is told on a page.
pub(super) async fn drawn(
    masthead: Masthead,
    draw: impl FnOnce(&Masthead) -> Result<Page, String> + Send + 'static,
) -> Response {
    let document = tokio::task::spawn_blocking(move || match draw(&masthead) {
        Ok(page) => (StatusCode::OK, page.document(&masthead)),
        Err(message) => (StatusCode::NOT_FOUND, lake_pages::missing(&message).document(&masthead)),
    });
    match document.await {
        Ok((status, document)) => (status, Html(document)).into_response(),
        Err(error) => {
            tracing::error!("a page could not be drawn: {error}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

pub(super) fn bad(masthead: &Masthead, why: &Bad) -> Response {
    (StatusCode::BAD_REQUEST, Html(lake_pages::bad(why).document(masthead))).into_response()
}

pub(super) fn unknown_application(masthead: &Masthead, id: &str) -> Response {
    let id: String = id.chars().take(200).collect();
    not_found(masthead, &format!("'{id}' is not a known application, driver or submission id."))
}

fn not_found(masthead: &Masthead, message: &str) -> Response {
    (StatusCode::NOT_FOUND, Html(lake_pages::missing(message).document(masthead))).into_response()
}
