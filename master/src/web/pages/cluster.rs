//! The cluster at a glance: figures, workers, running and completed applications. Pure.

use std::collections::BTreeMap;

use lake_master_core::view::{ApplicationView, WorkerView};
use lake_proto::quantity::{bytes, count, noun};
use lake_raft::Group;

use super::{heading, nowrap};
use crate::web::html::Column::{Number, Text};
use crate::web::html::{Html, badge, duration, element, instant, meter, table, text};

/// Applications in each table of the page; the API has all.
pub(super) const SHOWN: usize = 100;
/// Workers on the page that are gone; the API has all.
const GONE_SHOWN: usize = 10;
/// In the order in which they are counted.
const WORKER_STATES: [&str; 4] = ["ALIVE", "DRAINING", "DECOMMISSIONED", "LOST"];
const ACTIVE: [&str; 3] = ["RUNNING", "SUBMITTED", "RELAUNCHING"];
const COMPLETED: [&str; 4] = ["FINISHED", "FAILED", "KILLED", "ERROR"];

pub(super) struct Drawn {
    pub(super) group: Group,
    pub(super) workers: Vec<WorkerView>,
    /// How many applications there are, by state.
    pub(super) in_states: BTreeMap<&'static str, usize>,
    /// [`SHOWN`] at most of those that have not ended.
    pub(super) active: Vec<ApplicationView>,
    /// [`SHOWN`] at most of those that have.
    pub(super) completed: Vec<ApplicationView>,
    pub(super) running_queries: usize,
    pub(super) now_ms: u64,
}

impl Drawn {
    pub(super) fn html(&self) -> Html {
        let mut page = self.tiles();
        page.push(&self.active());
        page.push(&self.workers());
        page.push(&self.masters());
        page.push(&self.completed());
        page
    }

    fn count(&self, states: &[&str]) -> usize {
        states.iter().filter_map(|state| self.in_states.get(*state)).sum()
    }

    fn tiles(&self) -> Html {
        let alive = || self.workers.iter().filter(|worker| worker.state == "ALIVE");
        let cores: u64 = alive().map(|worker| u64::from(worker.cores)).sum();
        let used: u64 = alive().map(|worker| u64::from(worker.cores_used)).sum();
        let memory: u64 = alive().map(|worker| worker.memory_bytes).sum();
        let driver_memory: u64 = alive().map(|worker| worker.driver_memory_bytes).sum();
        let tiles = [
            counter(alive().count(), "worker", "workers", "alive"),
            tile(&format!("{used} / {cores}"), &format!("{} in use", noun(cores, "core", "cores"))),
            tile(&bytes(driver_memory), &format!("of {} held by drivers", bytes(memory))),
            counter(self.count(&["RUNNING"]), "application", "applications", "running"),
            counter(self.count(&["SUBMITTED", "RELAUNCHING"]), "application", "applications", "waiting"),
            counter(self.running_queries, "query", "queries", "running"),
        ];
        element("ul", &[("class", "tiles")], &tiles)
    }

    fn active(&self) -> Html {
        let mut rows = Vec::new();
        for application in &self.active {
            let mut place = match (&application.waits_for, application.deploy_mode) {
                (Some(reason), _) => element("span", &[("class", "soft")], &[text(format!("waits for {reason}"))]),
                (None, "client") => element("span", &[("class", "soft")], &[text("in its client's process")]),
                (None, _) => element("span", &[("class", "mono")], &[text(&application.worker_address)]),
            };
            if let Some(fault) = &application.relaunch_reason {
                let remark = format!("last attempt: {} · {}", fault.class, fault.code);
                place.push(&element("div", &[("class", "stage")], &[text(remark)]));
            }
            rows.push(vec![
                name(application),
                state(application),
                text(format!("{} of {}", application.attempt, application.max_attempts)),
                text(count(u64::try_from(application.steps.len()).unwrap_or(0))),
                nowrap(&duration(self.now_ms.saturating_sub(application.submitted_at_ms))),
                place,
            ]);
        }
        let remark = match self.count(&ACTIVE) {
            few if few <= SHOWN => few.to_string(),
            many => format!("{SHOWN} of {many}, those with a driver first; all at /api/v1/applications"),
        };
        let columns = [
            Text("Application"),
            Text("State"),
            Text("Attempt"),
            Number("Steps done"),
            Number("Since submission"),
            Text("Driver"),
        ];
        let empty = "No application is running. Submit one with lake-submit.";
        let body = table("Running applications", &columns, rows, empty);
        element("section", &[], &[heading("Running applications", &remark), body])
    }

    fn workers(&self) -> Html {
        let mut rows = Vec::new();
        let (here, gone): (Vec<_>, Vec<_>) = self.workers.iter().partition(|worker| is_here(worker));
        for worker in here.into_iter().chain(gone.iter().copied().take(GONE_SHOWN)) {
            let (cores, memory) = if is_here(worker) {
                let cores = format!("{} / {}", worker.cores_used, worker.cores);
                let memory = format!("{} / {}", bytes(worker.driver_memory_bytes), bytes(worker.memory_bytes));
                (
                    meter(u64::from(worker.cores_used), u64::from(worker.cores), &cores),
                    meter(worker.driver_memory_bytes, worker.memory_bytes, &memory),
                )
            } else {
                (text(worker.cores.to_string()), text(bytes(worker.memory_bytes)))
            };
            rows.push(vec![
                worker_name(worker),
                badge(worker.state),
                cores,
                memory,
                text(worker.drivers.to_string()),
                nowrap(&if is_here(worker) { bytes(worker.disk_free_bytes) } else { "–".to_owned() }),
                text(self.last_sign(worker)),
            ]);
        }
        let columns = [
            Text("Worker"),
            Text("State"),
            Text("Cores"),
            Text("Memory for drivers"),
            Number("Drivers"),
            Number("Disk free"),
            Text("Heartbeat"),
        ];
        let mut remarks = Vec::new();
        for state in WORKER_STATES {
            match self.workers.iter().filter(|worker| worker.state == state).count() {
                0 => {}
                some => remarks.push(format!("{some} {}", state.to_lowercase())),
            }
        }
        if gone.len() > GONE_SHOWN {
            remarks.push(format!("the last {GONE_SHOWN} that are gone are shown, all at /api/v1/workers"));
        }
        let empty = "No worker is registered. Start one with lake-worker and this master's URL.";
        let body = table("Workers", &columns, rows, empty);
        element("section", &[], &[heading("Workers", &remarks.join(" · ")), body])
    }

    /// When it was heard of last, or what became of it.
    fn last_sign(&self, worker: &WorkerView) -> String {
        let ago = |at_ms: u64| format!("{} ago", duration(self.now_ms.saturating_sub(at_ms)));
        match (&worker.lost_reason, worker.gone_at_ms, worker.last_heartbeat_ms) {
            (Some(reason), at_ms, _) => format!("lost {}: {reason}", ago(at_ms)),
            (None, 0, 0) => "not attached yet".to_owned(),
            (None, 0, at_ms) => ago(at_ms),
            (None, at_ms, _) => format!("drained and left {}", ago(at_ms)),
        }
    }

    /// One master without others is the page itself.
    fn masters(&self) -> Html {
        if self.group.members.len() < 2 {
            return Html::default();
        }
        let mut rows = Vec::new();
        for member in &self.group.members {
            let is_leader = member.member.id == self.group.leader;
            let lag = self.group.commit.saturating_sub(member.matched);
            rows.push(vec![
                text(member.member.id.to_string()),
                badge(member.role(self.group.leader)),
                nowrap(&member.member.address),
                text(if is_leader {
                    "–".to_owned()
                } else {
                    format!("{} {}", count(lag), noun(lag, "entry", "entries"))
                }),
                text(if member.is_active { "active" } else { "silent" }),
            ]);
        }
        let columns = [Text("Master"), Text("Role"), Text("Address"), Number("Behind"), Text("Seen by the leader")];
        let remark = format!("term {}", self.group.term);
        element("section", &[], &[heading("Masters", &remark), table("Masters", &columns, rows, "")])
    }

    fn completed(&self) -> Html {
        let mut rows = Vec::new();
        for application in &self.completed {
            let started_at_ms = match application.started_at_ms {
                0 => application.submitted_at_ms,
                at_ms => at_ms,
            };
            let rows_out = application.steps.iter().map(|step| step.rows_out).sum();
            let reason = match &application.failure {
                Some(fault) => text(format!("{} · {}", fault.class, fault.code)),
                None => text(""),
            };
            rows.push(vec![
                name(application),
                state(application),
                text(application.steps.len().to_string()),
                nowrap(&count(rows_out)),
                nowrap(&duration(application.ended_at_ms.saturating_sub(started_at_ms))),
                instant(application.ended_at_ms),
                reason,
            ]);
        }
        let columns = [
            Text("Application"),
            Text("State"),
            Number("Steps"),
            Number("Rows written"),
            Number("Duration"),
            Text("Ended (UTC)"),
            Text("Reason"),
        ];
        let remark = match self.count(&COMPLETED) {
            few if few <= SHOWN => few.to_string(),
            many => format!("the last {SHOWN} of {many}; all at /api/v1/applications"),
        };
        let body = table("Completed applications", &columns, rows, "None yet.");
        element("section", &[], &[heading("Completed applications", &remark), body])
    }
}

/// A tile with a number above what it counts.
fn counter(number: usize, one: &str, many: &str, state: &str) -> Html {
    let number = u64::try_from(number).unwrap_or(u64::MAX);
    tile(&count(number), &format!("{} {state}", noun(number, one, many)))
}

fn tile(value: &str, label: &str) -> Html {
    let children = [element("b", &[], &[text(value)]), element("span", &[], &[text(label)])];
    element("li", &[("class", "tile")], &children)
}

fn name(application: &ApplicationView) -> Html {
    let link = format!("/applications/{}", application.app_id);
    let mut cell = element("a", &[("href", &link)], &[text(&application.name)]);
    cell.push(&element("div", &[("class", "mono soft nowrap")], &[text(&application.app_id)]));
    cell
}

fn state(application: &ApplicationView) -> Html {
    badge(if application.is_killing { "KILLING" } else { application.state })
}

fn worker_name(worker: &WorkerView) -> Html {
    let address = format!("{}:{}", worker.host, worker.grpc_port);
    let mut cell = if worker.http_port > 0 && is_here(worker) {
        let link = format!("http://{}:{}/", worker.host, worker.http_port);
        element("a", &[("href", &link)], &[text(address)])
    } else {
        text(address)
    };
    cell.push(&element("div", &[("class", "mono soft nowrap")], &[text(&worker.worker_id)]));
    cell
}

const fn is_here(worker: &WorkerView) -> bool {
    worker.gone_at_ms == 0
}
