//! `--list`. Edge.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use lake_proto::Fault;
use lake_proto::quantity::{bytes, duration};
use lake_proto::v1::{ApplicationStatus, ListResponse, WorkerStatus};
use lake_proto::visible::one_line;
use serde_json::{Value, json};

use super::{client, print};
use crate::options::{Options, Output};
use crate::report::status_json;

const LIMIT: u32 = 100;

pub(super) async fn run(options: &Options) -> Result<(), Fault> {
    let answer = client(options)?.list(LIMIT).await?;
    match options.output {
        Output::Text => print(&text(&answer)),
        Output::Json => print(&document(&answer)),
    }
}

fn document(answer: &ListResponse) -> Value {
    let applications: Vec<Value> = answer.applications.iter().map(status_json).collect();
    let workers: Vec<Value> = answer.workers.iter().map(worker_json).collect();
    json!({ "applications": applications, "workers": workers })
}

fn worker_json(worker: &WorkerStatus) -> Value {
    json!({
        "worker_id": worker.worker_id,
        "host": worker.host,
        "state": worker.state,
        "cores": worker.cores,
        "cores_used": worker.cores_used,
        "memory_bytes": worker.memory_bytes,
        "grpc_port": worker.grpc_port,
        "flight_port": worker.flight_port,
        "http_port": worker.http_port,
        "last_heartbeat_ms": worker.last_heartbeat_ms,
    })
}

fn text(answer: &ListResponse) -> String {
    let mut applications = vec![["DRIVER", "STATE", "NAME", "SUBMITTED", "DURATION"].map(str::to_owned)];
    applications.extend(answer.applications.iter().map(application_row));
    let mut workers = vec![["WORKER", "STATE", "CORES", "MEMORY", "ADDRESS"].map(str::to_owned)];
    workers.extend(answer.workers.iter().map(worker_row));
    format!("{}\n{}", table(&applications), table(&workers).trim_end())
}

fn application_row(status: &ApplicationStatus) -> [String; 5] {
    let ended = status.ended_at_ms.checked_sub(status.started_at_ms).filter(|_| status.started_at_ms > 0);
    [
        status.driver_id.clone(),
        status.state.clone(),
        one_line(&status.name),
        time(status.submitted_at_ms),
        ended.map_or_else(|| "-".to_owned(), |ms| duration(Duration::from_millis(ms))),
    ]
}

fn worker_row(worker: &WorkerStatus) -> [String; 5] {
    [
        one_line(&worker.worker_id),
        worker.state.clone(),
        format!("{}/{}", worker.cores_used, worker.cores),
        bytes(worker.memory_bytes),
        format!("{}:{}", one_line(&worker.host), worker.grpc_port),
    ]
}

fn time(milliseconds: u64) -> String {
    let instant = i64::try_from(milliseconds).ok().and_then(DateTime::from_timestamp_millis);
    instant.map_or_else(|| "-".to_owned(), |instant| instant.to_rfc3339_opts(SecondsFormat::Secs, true))
}

fn table(rows: &[[String; 5]]) -> String {
    let mut widths = [0; 5];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_aligned_and_show_running_and_ended_applications() {
        let running = ApplicationStatus {
            driver_id: "driver-20261121093012-0001".into(),
            state: "RUNNING".into(),
            name: "customers".into(),
            submitted_at_ms: 1_795_253_412_000,
            started_at_ms: 1_795_253_412_500,
            ..ApplicationStatus::default()
        };
        let ended = ApplicationStatus { state: "FINISHED".into(), ended_at_ms: 1_795_253_413_000, ..running.clone() };
        let worker = WorkerStatus { worker_id: "worker-1".into(), cores: 4, ..WorkerStatus::default() };
        let text = text(&ListResponse { applications: vec![running, ended], workers: vec![worker] });
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("DRIVER                      STATE     NAME"), "{text}");
        assert!(lines[1].ends_with('-') && lines[2].ends_with("500 ms"), "{text}");
        assert!(lines[5].contains("0/4"), "{text}");
    }

    #[test]
    fn a_name_or_host_cannot_steer_the_terminal_or_break_its_row() {
        let application = ApplicationStatus { name: "a\u{1b}[2J\n\u{202e}b".into(), ..ApplicationStatus::default() };
        let worker = WorkerStatus { host: "h\u{2066}1".into(), grpc_port: 7, ..WorkerStatus::default() };
        let text = text(&ListResponse { applications: vec![application], workers: vec![worker] });
        assert!(text.contains("a\\u{1b}[2J\\u{a}\\u{202e}b") && text.contains("h\\u{2066}1:7"), "{text}");
        assert_eq!(text.lines().count(), 5, "{text}");
    }
}
