//! The worker's metrics over HTTP: what they are and how they look is in `lake_metrics`. Edge: asks the parts and the host.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State as Extract;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use lake_metrics::{CONTENT_TYPE, Page, process, spark, worker};
use lake_telemetry::trace;

use super::View;
use crate::host;
use crate::registration::State;

/// Our metrics.
pub(super) async fn show(Extract(view): Extract<Arc<View>>) -> Response {
    let mut page = Page::new();
    worker::write(&mut page, &figures(&view), view.tasks.tally());
    let trace::Counts { exported, dropped } = trace::counts();
    let spans = process::Spans { exported, dropped };
    process::write(&mut page, env!("CARGO_PKG_VERSION"), &lake_proto::host::process_figures(), spans);
    answer(page.into_text())
}

/// A few of them under Spark's names.
pub(super) async fn show_as_spark(Extract(view): Extract<Arc<View>>) -> Response {
    answer(spark::worker(&figures(&view)))
}

fn answer(text: String) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response()
}

fn figures(view: &View) -> worker::Figures {
    let running = view.tasks.running();
    let applications: BTreeSet<&str> = running.iter().map(|attempt| attempt.app_id.as_str()).collect();
    let drivers = view.drivers.shown();
    let pids = drivers.iter().filter(|driver| driver.end.is_none() && driver.pid > 0).map(|driver| driver.pid);
    let disk = host::disk(view.work.root());
    worker::Figures {
        uptime: view.started.elapsed(),
        is_registered: matches!(*view.state.borrow(), State::Registered { .. }),
        is_draining: view.draining.has_begun(),
        cores: view.offer.cores,
        cores_used: running.iter().map(|attempt| u64::from(attempt.cores)).sum(),
        tasks_running: running.len(),
        applications: applications.len(),
        queries: view.tasks.queries().len(),
        statuses_waiting: view.outbox.len(),
        drivers_running: view.drivers.running().len(),
        drivers_resident_bytes: pids.filter_map(host::resident_bytes).sum(),
        memory_bytes: view.offer.memory_bytes,
        pool_bytes: view.tasks.memory_limit(),
        reserved_bytes: view.tasks.memory_used(),
        disk_free_bytes: disk.free_bytes,
        disk_size_bytes: disk.total_bytes,
    }
}
