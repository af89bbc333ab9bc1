//! What every daemon tells of its own process, under the names that Prometheus' own libraries use. Pure.

use lake_proto::host::ProcessFigures;

use crate::declared::metrics;
use crate::page::Page;

metrics! {
    CPU = Counter "process_cpu_seconds_total" [] "User and system time of the process";
    RESIDENT = Gauge "process_resident_memory_bytes" [] "Resident memory of the process";
    VIRTUAL = Gauge "process_virtual_memory_bytes" [] "Address space of the process";
    OPEN_FILES = Gauge "process_open_fds" [] "Open file descriptors";
    MOST_FILES = Gauge "process_max_fds" [] "Open file descriptors that the process may have";
    THREADS = Gauge "process_threads" [] "Threads of the process";
    STARTED = Gauge "process_start_time_seconds" [] "When the process started, since 1970";
    BUILD = Gauge "lake_build_info" ["version"] "1, with the release that runs";
    SPANS_EXPORTED = Counter "lake_trace_spans_exported_total" [] "Spans that a collector has taken";
    SPANS_DROPPED = Counter "lake_trace_spans_dropped_total" [] "Spans that were thrown away: the collector was slow, or away";
}

/// What became of the spans of this process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spans {
    /// A collector has them.
    pub exported: u64,
    /// Nobody has them.
    pub dropped: u64,
}

/// Puts the process's metrics on a page. `version` is that of the release.
pub fn write(page: &mut Page, version: &str, figures: &ProcessFigures, spans: Spans) {
    page.value(&CPU, figures.cpu.as_secs_f64());
    page.value(&RESIDENT, figures.resident_bytes);
    page.value(&VIRTUAL, figures.virtual_bytes);
    page.value(&OPEN_FILES, figures.open_files);
    page.value(&MOST_FILES, figures.most_files);
    page.value(&THREADS, figures.threads);
    page.value(&STARTED, figures.started.as_secs_f64());
    page.family(&BUILD).value(&[version], 1_u64);
    page.value(&SPANS_EXPORTED, spans.exported);
    page.value(&SPANS_DROPPED, spans.dropped);
}
