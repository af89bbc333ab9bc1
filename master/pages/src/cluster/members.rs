//! Workers and masters. Pure.

use lake_master_core::view::WorkerView;
use lake_proto::quantity::{bytes, count, counted, noun};

use super::{Cluster, memory_used};
use crate::html::Column::{Number, Text};
use crate::html::{
    Html, ago, badge, dash, link, meter, nowrap, number, quantity_of_bytes, section, table, text, under,
};
use crate::link as to;

/// Workers on the page that are gone; the API has all.
const GONE_SHOWN: usize = 10;
/// In the order in which they are counted.
const WORKER_STATES: [&str; 4] = ["ALIVE", "DRAINING", "DECOMMISSIONED", "LOST"];

impl Cluster<'_> {
    pub(super) fn workers(&self) -> Html {
        let (here, gone): (Vec<_>, Vec<_>) = self.workers.iter().partition(|worker| is_here(worker));
        let shown = here.into_iter().chain(gone.iter().copied().take(GONE_SHOWN));
        let rows = shown.map(|worker| self.worker(worker)).collect();
        let columns = [
            Text("Worker"),
            Text("State"),
            Text("Cores"),
            Text("Memory"),
            Number("Tasks"),
            Number("Drivers"),
            Number("Shuffle files"),
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
        let sentence = "No worker is registered. Start one with lake-worker and this master's URL.";
        section("workers", "Workers", remarks.join(" · "), &[table("Workers", &columns, rows, sentence)])
    }

    fn worker(&self, worker: &WorkerView) -> Vec<Html> {
        let mut row = vec![worker_name(worker), badge(worker.state)];
        if is_here(worker) {
            row.extend([
                cores(worker),
                memory(worker),
                number(worker.running_tasks),
                number(worker.drivers),
                quantity_of_bytes(worker.shuffle_bytes),
                quantity_of_bytes(worker.disk_free_bytes),
            ]);
        } else {
            row.extend([text(counted(worker.cores, "core")), text(bytes(worker.memory_bytes))]);
            row.extend(std::iter::repeat_with(dash).take(4));
        }
        row.push(text(last_sign(worker, self.now_ms)));
        row
    }

    /// One master without others is the page itself.
    pub(super) fn masters(&self) -> Html {
        if self.masters.len() < 2 {
            return Html::default();
        }
        let mut rows = Vec::new();
        for master in self.masters {
            rows.push(vec![
                text(master.id.to_string()),
                badge(master.role),
                nowrap(&master.address),
                match master.lag {
                    Some(lag) => text(format!("{} {}", count(lag), noun(lag, "entry", "entries"))),
                    None => dash(),
                },
                text(if master.is_active { "active" } else { "silent" }),
            ]);
        }
        let columns = [Text("Master"), Text("Role"), Text("Address"), Number("Behind"), Text("Seen by the leader")];
        section("masters", "Masters", format!("term {}", self.term), &[table("Masters", &columns, rows, "None.")])
    }
}

pub(crate) fn cores(worker: &WorkerView) -> Html {
    let label = format!("{} / {}", worker.cores_used, worker.cores);
    meter(u64::from(worker.cores_used), u64::from(worker.cores), &label)
}

/// What drivers hold and tasks use, of what there is.
pub(crate) fn memory(worker: &WorkerView) -> Html {
    let used = memory_used(worker);
    let mut cell = meter(used, worker.memory_bytes, &format!("{} / {}", bytes(used), bytes(worker.memory_bytes)));
    if worker.driver_memory_bytes > 0 && worker.task_memory_bytes > 0 {
        let (drivers, tasks) = (bytes(worker.driver_memory_bytes), bytes(worker.task_memory_bytes));
        cell.push(&under("soft small nowrap", text(format!("drivers {drivers} · process {tasks}"))));
    }
    cell
}

fn worker_name(worker: &WorkerView) -> Html {
    let mut cell = link(&to::worker(&worker.worker_id), format!("{}:{}", worker.host, worker.grpc_port));
    cell.push(&under("mono soft nowrap", text(&worker.worker_id)));
    cell
}

/// When it was heard of last, or what became of it.
pub(crate) fn last_sign(worker: &WorkerView, now_ms: u64) -> String {
    match (&worker.lost_reason, worker.gone_at_ms, worker.last_heartbeat_ms) {
        (Some(reason), at_ms, _) => format!("lost {}: {reason}", ago(at_ms, now_ms)),
        (None, 0, 0) => "not attached yet".to_owned(),
        (None, 0, at_ms) => ago(at_ms, now_ms),
        (None, at_ms, _) => format!("drained and left {}", ago(at_ms, now_ms)),
    }
}

pub(crate) const fn is_here(worker: &WorkerView) -> bool {
    worker.gone_at_ms == 0
}
