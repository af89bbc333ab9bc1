//! `/metrics` in Prometheus' text format: names and labels, nothing else. Edge.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use lake_master_core::view;
use lake_raft::Role;

use crate::master::Master;

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
const WORKER_STATES: [&str; 4] = ["ALIVE", "DRAINING", "DECOMMISSIONED", "LOST"];
const STATES: [&str; 7] = ["SUBMITTED", "RUNNING", "RELAUNCHING", "FINISHED", "FAILED", "KILLED", "ERROR"];

pub(super) async fn text(State(master): State<Arc<Master>>) -> Response {
    let status = master.raft.status();
    let (live, queries) = master.live().await;
    let (in_states, workers) = master.raft.read(|state| (view::in_states(state), view::workers(state, &live)));
    let mut page = Page(String::new());

    page.family("lake_master_is_leader", "gauge", "1 when this master leads");
    page.value("lake_master_is_leader", "", u64::from(status.role == Role::Leader));
    page.family("lake_master_raft_term", "gauge", "Raft term");
    page.value("lake_master_raft_term", "", status.term);
    page.family("lake_master_raft_applied_index", "counter", "Index of the last applied log entry");
    page.value("lake_master_raft_applied_index", "", status.applied);

    page.family("lake_master_applications", "gauge", "Applications the masters keep, by state");
    for state in STATES {
        let in_state = in_states.get(state).copied().unwrap_or_default();
        page.value("lake_master_applications", &format!("{{state=\"{state}\"}}"), count(in_state));
    }
    page.family("lake_master_max_queued_applications", "gauge", "Applications that may wait before more are refused");
    page.value("lake_master_max_queued_applications", "", master.queue.applications);

    page.family("lake_master_workers", "gauge", "Workers the masters keep, by state");
    for state in WORKER_STATES {
        let in_state = workers.iter().filter(|worker| worker.state == state).count();
        page.value("lake_master_workers", &format!("{{state=\"{state}\"}}"), count(in_state));
    }
    // Figures of use and of offer are about the same workers: those that take work.
    let alive = workers.iter().filter(|worker| worker.state == "ALIVE");
    page.family("lake_master_cores", "gauge", "Cores that living workers offer");
    page.value("lake_master_cores", "", alive.clone().map(|worker| u64::from(worker.cores)).sum());
    page.family("lake_master_cores_used", "gauge", "Cores that tasks hold");
    page.value("lake_master_cores_used", "", alive.clone().map(|worker| u64::from(worker.cores_used)).sum());
    page.family("lake_master_memory_bytes", "gauge", "Memory that living workers offer to drivers");
    page.value("lake_master_memory_bytes", "", alive.clone().map(|worker| worker.memory_bytes).sum());
    page.family("lake_master_driver_memory_bytes", "gauge", "Memory that drivers hold");
    page.value("lake_master_driver_memory_bytes", "", alive.map(|worker| worker.driver_memory_bytes).sum());

    page.family("lake_master_queries", "gauge", "Queries that run now");
    page.value("lake_master_queries", "", count(queries.values().map(Vec::len).sum()));
    page.family("lake_master_queries_total", "counter", "Queries received since the start");
    page.value("lake_master_queries_total", "", master.queries_total.load(Ordering::Relaxed));
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], page.0).into_response()
}

struct Page(String);

// Writing to a String cannot fail.
impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn value(&mut self, name: &str, labels: &str, value: u64) {
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}

fn count(items: usize) -> u64 {
    u64::try_from(items).unwrap_or(u64::MAX)
}
