//! One worker, as its master knows it. Pure.

use lake_master_core::view::WorkerView;
use lake_proto::quantity::bytes;
use lake_record::{ApplicationRecord, ApplicationSummary, AttemptRecord, AttemptState};

use crate::application::{short, shown_name, state};
use crate::cluster::{is_here, last_sign, worker_cores, worker_memory};
use crate::frame::{Freshness, Page, Place};
use crate::html::Column::{Instant, Number, Text};
use crate::html::{
    Html, badge, dash, duration, element, facts, instant, link, nowrap, number, quantity_of_bytes, section, table,
    text, under,
};
use crate::link as to;

/// More are not listed.
const MOST_ATTEMPTS: usize = 500;

/// What the page of a worker shows.
#[derive(Debug, Clone, Copy)]
pub struct Worker<'a> {
    /// Its figures.
    pub worker: &'a WorkerView,
    /// Attempts that run on it.
    pub running: &'a [RunningAttempt],
    /// Applications whose driver is on it.
    pub drivers: &'a [ApplicationSummary],
    /// Now.
    pub now_ms: u64,
}

/// An attempt that runs, and what it is of.
#[derive(Debug, Clone, PartialEq)]
pub struct RunningAttempt {
    app_id: String,
    app_name: String,
    query_id: String,
    step: String,
    stage_id: u32,
    cores: u32,
    attempt: AttemptRecord,
    /// Its application has ended: it was told to stop.
    is_left_over: bool,
}

/// The attempts of an application that run on a worker.
pub fn running_on<'a>(
    record: &'a ApplicationRecord,
    worker_id: &'a str,
) -> impl Iterator<Item = RunningAttempt> + use<'a> {
    let stages = record.queries.iter().flat_map(|query| query.stages.iter().map(move |stage| (query, stage)));
    let attempts = stages.flat_map(|(query, stage)| stage.attempts.iter().map(move |attempt| (query, stage, attempt)));
    let is_running =
        move |attempt: &AttemptRecord| attempt.state == AttemptState::Running && attempt.worker_id == worker_id;
    attempts.filter(move |(_, _, attempt)| is_running(attempt)).map(|(query, stage, attempt)| RunningAttempt {
        app_id: record.summary.app_id.clone(),
        app_name: shown_name(&record.summary).to_owned(),
        query_id: query.query_id.clone(),
        step: query.step.clone(),
        stage_id: stage.stage_id,
        cores: stage.cores_per_task,
        attempt: attempt.clone(),
        is_left_over: record.summary.is_over(),
    })
}

/// The page.
pub fn worker(shown: &Worker<'_>) -> Page {
    let worker = shown.worker;
    let body = [shown.head(), shown.facts(), shown.attempts(), shown.drivers()];
    Page {
        title: format!("Worker {}:{}", worker.host, worker.grpc_port),
        place: Place::Cluster,
        above: vec![("Cluster".to_owned(), to::route::CLUSTER.to_owned())],
        body: body.into_iter().collect(),
        freshness: if is_here(worker) { Freshness::Live } else { Freshness::Still },
    }
}

impl Worker<'_> {
    fn head(&self) -> Html {
        let name = format!("Worker {}:{} ", self.worker.host, self.worker.grpc_port);
        let title = element("h1", &[], &[text(name), badge(self.worker.state)]);
        element("div", &[("class", "title")], &[title])
    }

    fn facts(&self) -> Html {
        let worker = self.worker;
        let zone = element("small", &[("class", "zone")], &[text("UTC")]);
        let own_page = if worker.http_port > 0 && is_here(worker) {
            let address = format!("{}:{}", worker.host, worker.http_port);
            link(&format!("http://{address}/"), address)
        } else {
            dash()
        };
        let list = facts(vec![
            ("Worker", text(&worker.worker_id)),
            ("Heard of", text(last_sign(worker, self.now_ms))),
            ("Registered", [instant(worker.registered_at_ms), text(" "), zone].into_iter().collect()),
            ("Cores", worker_cores(worker)),
            ("Memory", worker_memory(worker)),
            ("Shuffle files", text(bytes(worker.shuffle_bytes))),
            ("Disk free", text(bytes(worker.disk_free_bytes))),
            ("Ports", text(format!("gRPC {} · Flight {}", worker.grpc_port, worker.flight_port))),
            ("Its own page, with logs", own_page),
        ]);
        element("section", &[("id", "summary")], &[list])
    }

    fn attempts(&self) -> Html {
        let mut rows = Vec::new();
        for running in self.running.iter().take(MOST_ATTEMPTS) {
            let attempt = &running.attempt;
            let query = to::query(&running.app_id, &running.query_id);
            let mut name = nowrap(format!("stage {}, task {}", running.stage_id, attempt.task));
            if attempt.is_speculative {
                name.push(&under("soft small", text("beside a slow one")));
            }
            if running.is_left_over {
                name.push(&under("soft small", text("stopping: its application has ended")));
            }
            rows.push(vec![
                name,
                link(&to::application(&running.app_id), &running.app_name),
                text(&running.step),
                link(&format!("{query}#stage-{}", running.stage_id), short(&running.query_id)),
                number(running.cores),
                nowrap(duration(attempt.elapsed_ms(self.now_ms))),
                number(attempt.totals.rows),
                quantity_of_bytes(attempt.totals.bytes),
                quantity_of_bytes(attempt.totals.spilled_bytes),
            ]);
        }
        let columns = [
            Text("Task"),
            Text("Application"),
            Text("Step"),
            Text("Query"),
            Number("Cores"),
            Number("Time"),
            Number("Rows"),
            Number("Bytes"),
            Number("Spilled"),
        ];
        let remark = match self.running.len() {
            many if many > MOST_ATTEMPTS => format!("the first {MOST_ATTEMPTS} of {many}"),
            few => few.to_string(),
        };
        section("tasks", "Running tasks", remark, &[table("Running tasks", &columns, rows, "None.")])
    }

    fn drivers(&self) -> Html {
        let mut rows = Vec::new();
        for summary in self.drivers {
            let mut name = link(&to::application(&summary.app_id), shown_name(summary));
            name.push(&under("mono soft nowrap", text(&summary.driver_id)));
            let mut logs = link(&to::logs(&summary.app_id, "stdout"), "stdout");
            logs.push(&text(" · "));
            logs.push(&link(&to::logs(&summary.app_id, "stderr"), "stderr"));
            rows.push(vec![
                name,
                state(summary),
                text(format!("{} of {}", summary.attempt, summary.max_attempts)),
                quantity_of_bytes(summary.driver_memory_bytes),
                instant(summary.started_at_ms),
                nowrap(duration(summary.elapsed_ms(self.now_ms))),
                logs,
            ]);
        }
        let columns = [
            Text("Application"),
            Text("State"),
            Text("Attempt"),
            Number("Memory"),
            Instant("Started"),
            Number("Duration"),
            Text("Logs"),
        ];
        let remark = self.drivers.len().to_string();
        section("drivers", "Drivers", remark, &[table("Drivers", &columns, rows, "None.")])
    }
}

#[cfg(test)]
mod tests;
