//! Every metric of a worker, what it counts, and its page. Pure.

use std::time::Duration;

use lake_proto::v1::task_status::Outcome;
use lake_proto::{ErrorClass, Fault, v1};

use crate::declared::metrics;
use crate::instrument::{ByClass, Counter, Outcomes};
use crate::page::Page;
use crate::tally::TASK_SECONDS_BOUNDS;

metrics! {
    UPTIME = Gauge "lake_worker_uptime_seconds" [] "Time since this worker started";
    REGISTERED = Gauge "lake_worker_registered" [] "1 while a master knows this worker";
    DRAINING = Gauge "lake_worker_draining" [] "1 while it takes nothing new and waits until it may leave";
    CORES = Gauge "lake_worker_cores" [] "Cores offered";
    CORES_USED = Gauge "lake_worker_cores_used" [] "Cores that running task attempts hold";
    TASKS_RUNNING = Gauge "lake_worker_tasks_running" [] "Task attempts that run now";
    TASKS = Counter "lake_worker_tasks_total" ["outcome"] "Task attempts that ended";
    TASK_SECONDS = Histogram "lake_worker_task_duration_seconds" ["outcome"] "Time of task attempts by how they ended";
    TASK_FAILURES = Counter "lake_worker_task_failures_total" ["class"] "Task attempts that failed, by class of error";
    ROWS = Counter "lake_worker_output_rows_total" [] "Rows that task attempts which are done gave, or wrote into a table";
    QUERIES = Gauge "lake_worker_queries" [] "Queries that it may get tasks of, or has files of";
    STATUSES_WAITING = Gauge "lake_worker_statuses_waiting" [] "Ends of tasks and drivers that no master has acknowledged yet";
    DRIVERS_RUNNING = Gauge "lake_worker_drivers_running" [] "Driver processes that run now";
    DRIVERS_RESIDENT = Gauge "lake_worker_drivers_resident_memory_bytes" [] "Resident memory of its driver processes";
    MEMORY = Gauge "lake_worker_memory_bytes" [] "Memory offered";
    MEMORY_POOL = Gauge "lake_worker_memory_pool_bytes" [] "Memory that task attempts may reserve together before they spill";
    MEMORY_RESERVED = Gauge "lake_worker_memory_reserved_bytes" [] "Memory that task attempts have reserved";
    SPILLED = Counter "lake_worker_spilled_bytes_total" [] "Bytes that task attempts which are done wrote to local disk for want of memory";
    SHUFFLE_WRITTEN = Counter "lake_worker_shuffle_written_bytes_total" [] "Bytes of shuffle files of task attempts that are done";
    SHUFFLE_READS = Counter "lake_worker_shuffle_reads_total" [] "Reads of shuffle files and results by other processes that were answered";
    SHUFFLE_SERVED = Counter "lake_worker_shuffle_served_bytes_total" [] "Bytes of shuffle files and results that other processes have read";
    DISK_FREE = Gauge "lake_worker_disk_free_bytes" [] "Bytes free below the work directory";
    DISK_SIZE = Gauge "lake_worker_disk_size_bytes" [] "Size of the file system of the work directory";
}

const OUTCOMES: [&str; 3] = ["done", "failed", "cancelled"];

/// What a worker looks like at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Since it started.
    pub uptime: Duration,
    /// A master knows it.
    pub is_registered: bool,
    /// It takes nothing new.
    pub is_draining: bool,
    /// Cores offered.
    pub cores: u32,
    /// Cores that attempts hold.
    pub cores_used: u64,
    /// Attempts that run.
    pub tasks_running: usize,
    /// Applications of which an attempt runs.
    pub applications: usize,
    /// Queries that were announced and not dropped.
    pub queries: usize,
    /// Statuses that were not acknowledged.
    pub statuses_waiting: usize,
    /// Driver processes.
    pub drivers_running: usize,
    /// Their resident memory.
    pub drivers_resident_bytes: u64,
    /// Memory offered.
    pub memory_bytes: u64,
    /// What attempts may reserve.
    pub pool_bytes: u64,
    /// What they have reserved.
    pub reserved_bytes: u64,
    /// Free below the work directory.
    pub disk_free_bytes: u64,
    /// Size of that file system.
    pub disk_size_bytes: u64,
}

/// What a worker counts. One for the life of a process.
#[derive(Debug)]
pub struct Tally {
    /// Reads of shuffle files and results by other processes.
    pub shuffle_reads: Counter,
    /// Bytes that they got.
    pub shuffle_served_bytes: Counter,
    tasks: Outcomes<3>,
    failures: ByClass,
    rows: Counter,
    spilled_bytes: Counter,
    shuffle_written_bytes: Counter,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            shuffle_reads: Counter::default(),
            shuffle_served_bytes: Counter::default(),
            tasks: Outcomes::new(OUTCOMES, TASK_SECONDS_BOUNDS),
            failures: ByClass::default(),
            rows: Counter::default(),
            spilled_bytes: Counter::default(),
            shuffle_written_bytes: Counter::default(),
        }
    }
}

impl Tally {
    /// An attempt has ended, as its status tells.
    pub fn attempt_ended(&self, status: &v1::TaskStatus) {
        let metrics = status.metrics.as_ref();
        let outcome = match &status.outcome {
            Some(Outcome::Done(done)) => {
                if let Some(metrics) = metrics {
                    self.rows.add(metrics.rows);
                    self.spilled_bytes.add(metrics.spilled_bytes);
                }
                let written = done.outputs.iter().fold(0, |sum: u64, file| sum.saturating_add(file.num_bytes));
                self.shuffle_written_bytes.add(written);
                "done"
            }
            Some(Outcome::Cancelled(_)) => "cancelled",
            Some(Outcome::Failed(failed)) => {
                let class = failed.failure.clone().map_or(ErrorClass::Internal, |failure| Fault::from(failure).class);
                self.failures.add_one(class);
                "failed"
            }
            None => return,
        };
        self.tasks.observe(outcome, Duration::from_millis(metrics.map_or(0, |metrics| metrics.elapsed_ms)));
    }
}

/// Puts a worker's metrics on a page.
pub fn write(page: &mut Page, figures: &Figures, tally: &Tally) {
    page.value(&UPTIME, figures.uptime.as_secs_f64());
    page.value(&REGISTERED, figures.is_registered);
    page.value(&DRAINING, figures.is_draining);
    page.value(&CORES, figures.cores);
    page.value(&CORES_USED, figures.cores_used);
    page.value(&TASKS_RUNNING, figures.tasks_running);
    let tasks = tally.tasks.get();
    let mut counts = page.family(&TASKS);
    for (outcome, distribution) in &tasks {
        counts.value(&[outcome], distribution.count);
    }
    let mut times = page.family(&TASK_SECONDS);
    for (outcome, distribution) in &tasks {
        times.distribution(&[outcome], distribution);
    }
    let mut failures = page.family(&TASK_FAILURES);
    for (class, count) in tally.failures.all() {
        failures.value(&[class.name()], count);
    }
    page.value(&ROWS, tally.rows.get());
    page.value(&QUERIES, figures.queries);
    page.value(&STATUSES_WAITING, figures.statuses_waiting);
    page.value(&DRIVERS_RUNNING, figures.drivers_running);
    page.value(&DRIVERS_RESIDENT, figures.drivers_resident_bytes);
    page.value(&MEMORY, figures.memory_bytes);
    page.value(&MEMORY_POOL, figures.pool_bytes);
    page.value(&MEMORY_RESERVED, figures.reserved_bytes);
    page.value(&SPILLED, tally.spilled_bytes.get());
    page.value(&SHUFFLE_WRITTEN, tally.shuffle_written_bytes.get());
    page.value(&SHUFFLE_READS, tally.shuffle_reads.get());
    page.value(&SHUFFLE_SERVED, tally.shuffle_served_bytes.get());
    page.value(&DISK_FREE, figures.disk_free_bytes);
    page.value(&DISK_SIZE, figures.disk_size_bytes);
}
