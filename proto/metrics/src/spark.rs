//! A few figures as Spark's Prometheus servlet shows them, at its paths: boards that were drawn for Spark find them. Pure.
//!
//! Never on the page of [`crate::Page`]: Spark's names break Prometheus' rules for names, and have no `# TYPE`.

use std::fmt::Write as _;

use crate::{master, worker};

/// Where a Spark master has them.
pub const MASTER_PATH: &str = "/metrics/master/prometheus";
/// Where a Spark worker has them.
pub const WORKER_PATH: &str = "/metrics/prometheus";

const MEBIBYTE: u64 = 1 << 20;

/// The page of a Spark master.
pub fn master(figures: &master::Figures) -> String {
    let alive = figures.workers.get("ALIVE").copied().unwrap_or_default();
    page(
        "master",
        &[
            ("aliveWorkers", number(alive)),
            ("apps", number(figures.applications_in(&["RUNNING"]))),
            ("waitingApps", number(figures.applications_in(&["SUBMITTED", "RELAUNCHING"]))),
            ("workers", number(figures.workers.values().sum())),
        ],
    )
}

/// The page of a Spark worker.
pub fn worker(figures: &worker::Figures) -> String {
    let cores = u64::from(figures.cores);
    page(
        "worker",
        &[
            ("coresFree", cores.saturating_sub(figures.cores_used)),
            ("coresUsed", figures.cores_used),
            // Spark has one for each application that a worker runs tasks of.
            ("executors", number(figures.applications)),
            ("memFree_MB", figures.memory_bytes.saturating_sub(figures.reserved_bytes) / MEBIBYTE),
            ("memUsed_MB", figures.reserved_bytes / MEBIBYTE),
        ],
    )
}

/// Every gauge twice, as Spark does it.
fn page(source: &str, gauges: &[(&str, u64)]) -> String {
    let mut text = String::new();
    for (name, value) in gauges {
        for form in ["Number", "Value"] {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "metrics_{source}_{name}_{form}{{type=\"gauges\"}} {value}");
        }
    }
    text
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
