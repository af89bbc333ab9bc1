//! This master's metrics over HTTP: what they are and how they look is in `lake_metrics`. Edge: asks the parts and the host.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use lake_master_core::view::{self, WorkerView};
use lake_metrics::{CONTENT_TYPE, Page, master as metrics, process, spark};
use lake_raft::{Group, Role};
use lake_scheduler::QueryOverview;
use lake_telemetry::trace;
use tokio::time::timeout;

use crate::master::Master;

/// A master that waits for its group does not answer what it knows of it.
const GROUP_TIMEOUT: Duration = Duration::from_millis(500);

/// Our metrics.
pub(super) async fn text(State(master): State<Arc<Master>>) -> Response {
    let mut page = Page::new();
    metrics::write(&mut page, &figures(&master).await, master.raft.moves(), &master.tally);
    let trace::Counts { exported, dropped } = trace::counts();
    let spans = process::Spans { exported, dropped };
    process::write(&mut page, env!("CARGO_PKG_VERSION"), &lake_proto::host::process_figures(), spans);
    answer(page.into_text())
}

/// A few of them under Spark's names.
pub(super) async fn text_as_spark(State(master): State<Arc<Master>>) -> Response {
    answer(spark::master(&figures(&master).await))
}

fn answer(text: String) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response()
}

async fn figures(master: &Master) -> metrics::Figures {
    let status = master.raft.status();
    let group = timeout(GROUP_TIMEOUT, master.raft.group()).await.ok().and_then(Result::ok).unwrap_or_default();
    let (live, queries) = master.live().await;
    let (applications, workers) = master.raft.read(|state| (view::in_states(state), view::workers(state, &live)));
    let queries: Vec<&QueryOverview> = queries.values().flatten().collect();
    let (tasks_running, tasks_waiting) = tasks(&queries);
    // Figures of use and of offer are about the same workers: those that take work.
    let alive: Vec<&WorkerView> = workers.iter().filter(|worker| worker.state == "ALIVE").collect();
    let mut by_state: BTreeMap<&'static str, usize> = BTreeMap::new();
    for worker in &workers {
        *by_state.entry(worker.state).or_default() += 1;
    }
    metrics::Figures {
        uptime: master.started.elapsed(),
        role: match status.role {
            Role::Leader => metrics::Role::Leader,
            Role::Follower => metrics::Role::Follower,
            Role::NoQuorum => metrics::Role::NoQuorum,
        },
        term: status.term,
        committed: group.commit,
        applied: status.applied,
        members: members(&group, status.role == Role::Leader),
        applications,
        max_queued: master.queue.applications,
        workers: by_state,
        cores: alive.iter().map(|worker| u64::from(worker.cores)).sum(),
        cores_used: alive.iter().map(|worker| u64::from(worker.cores_used)).sum(),
        memory_bytes: alive.iter().map(|worker| worker.memory_bytes).sum(),
        driver_memory_bytes: alive.iter().map(|worker| worker.driver_memory_bytes).sum(),
        queries: queries.len(),
        tasks_running,
        tasks_waiting,
    }
}

/// Only the leader knows how far the others are.
fn members(group: &Group, leads: bool) -> Vec<metrics::Member> {
    let member = |known: &lake_raft::GroupMember| metrics::Member {
        id: known.member.id,
        is_voter: known.is_voter,
        lag: leads.then(|| group.commit.saturating_sub(known.matched)),
        is_active: leads.then_some(known.is_active),
    };
    group.members.iter().map(member).collect()
}

/// Tasks of these queries that run, and that are neither done nor running.
fn tasks(queries: &[&QueryOverview]) -> (u64, u64) {
    let (mut running, mut waiting) = (0, 0);
    for stage in queries.iter().flat_map(|query| &query.stages) {
        running += u64::from(stage.tasks_running);
        waiting += u64::from(stage.tasks_total.saturating_sub(stage.tasks_done).saturating_sub(stage.tasks_running));
    }
    (running, waiting)
}
