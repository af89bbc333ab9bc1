//! The worker's metrics in Prometheus text. All of them are declared here; no label is unbounded.
//! Pure but for what it asks the host.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use super::View;
use crate::host;
use crate::registration::State;

/// The text of one scrape.
pub(super) fn render(view: &View) -> String {
    let running = view.tasks.running();
    let cores: u64 = running.iter().map(|attempt| u64::from(attempt.cores)).sum();
    let drivers = view.drivers.running().len();
    let registered = matches!(*view.state.borrow(), State::Registered { .. });
    let disk = host::disk(view.work.root());
    let resident = host::resident_bytes(std::process::id()).unwrap_or(0);

    let mut text = String::new();
    let gauges: [(&str, &str, u64); 11] = [
        ("registered", "1 while a master knows this worker", u64::from(registered)),
        ("draining", "1 while it takes nothing new and waits until it may leave", u64::from(view.draining.has_begun())),
        ("cores", "cores offered", u64::from(view.offer.cores)),
        ("cores_used", "cores held by running tasks", cores),
        ("tasks_running", "task attempts running", count(running.len())),
        ("drivers_running", "driver processes", count(drivers)),
        ("memory_bytes", "memory offered", view.offer.memory_bytes),
        ("memory_reserved_bytes", "memory reserved by tasks", view.tasks.memory_used()),
        ("resident_memory_bytes", "resident memory of the worker process", resident),
        ("disk_free_bytes", "bytes free below the work directory", disk.free_bytes),
        ("uptime_seconds", "seconds since the start", view.started.elapsed().as_secs()),
    ];
    for (name, help, value) in gauges {
        let _ = writeln!(text, "# HELP lake_worker_{name} {help}");
        let _ = writeln!(text, "# TYPE lake_worker_{name} gauge\nlake_worker_{name} {value}");
    }
    let totals = view.tasks.totals();
    let _ = writeln!(text, "# HELP lake_worker_tasks_total task attempts that ended");
    let _ = writeln!(text, "# TYPE lake_worker_tasks_total counter");
    for (outcome, total) in [("done", &totals.done), ("failed", &totals.failed), ("cancelled", &totals.cancelled)] {
        let _ = writeln!(text, "lake_worker_tasks_total{{outcome=\"{outcome}\"}} {}", total.load(Ordering::Relaxed));
    }
    let _ = writeln!(text, "# HELP lake_worker_spilled_bytes_total bytes spilled by task attempts that are done");
    let _ = writeln!(text, "# TYPE lake_worker_spilled_bytes_total counter");
    let _ = writeln!(text, "lake_worker_spilled_bytes_total {}", totals.spilled_bytes.load(Ordering::Relaxed));
    text
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
