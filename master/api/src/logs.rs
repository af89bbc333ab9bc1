//! The archive of an application: what it was, and what its drivers have printed. Pure.

use std::collections::{BTreeMap, VecDeque};

use lake_master_core::view::WorkerView;
use lake_proto::{ErrorClass, Fault};
use lake_record::ApplicationRecord;

use crate::zip::Zip;

/// The streams of a driver.
pub const STREAMS: [&str; 2] = ["stdout", "stderr"];
/// Of each stream, the end is in the archive.
pub const MOST_BYTES: usize = 8 << 20;
/// Workers beyond these are named and not asked: an archive is bounded.
const MOST_WORKERS: usize = 8;

/// A worker that has, or had, logs of an application's driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its id.
    pub worker_id: String,
    /// `host:port` of its gRPC server, or why it cannot be asked.
    pub address: Result<String, Fault>,
}

/// Workers that an application's driver ran on, the last one first.
pub fn sources(record: &ApplicationRecord, workers: &[WorkerView]) -> Vec<Source> {
    let attempts = record.attempts.iter().rev().map(|attempt| attempt.worker_id.as_str());
    let mut sources: Vec<Source> = Vec::new();
    for worker_id in std::iter::once(record.summary.worker_id.as_str()).chain(attempts) {
        if worker_id.is_empty() || sources.iter().any(|source| source.worker_id == worker_id) {
            continue;
        }
        let worker = workers.iter().find(|worker| worker.worker_id == worker_id && worker.gone_at_ms == 0);
        let gone = |why: &str| Err(Fault::new(ErrorClass::NotFound, "no-log", why));
        let address = match worker {
            _ if sources.len() >= MOST_WORKERS => gone("the drivers ran on more workers than are asked"),
            Some(worker) => Ok(format!("{}:{}", worker.host, worker.grpc_port)),
            None => gone("the worker is gone, and its logs with it"),
        };
        sources.push(Source { worker_id: worker_id.to_owned(), address });
    }
    sources
}

/// The end of a stream, whose start is let go.
#[derive(Debug, Default)]
pub struct Tail {
    bytes: VecDeque<u8>,
    left_out: u64,
    modified_ms: u64,
}

impl Tail {
    /// More of the stream.
    pub fn push(&mut self, more: &[u8]) {
        self.bytes.extend(more);
        let surplus = self.bytes.len().saturating_sub(MOST_BYTES);
        self.bytes.drain(..surplus);
        self.left_out = self.left_out.saturating_add(crate::count(surplus));
    }

    /// The file was written then, or later; 0 = not told.
    pub fn written_at(&mut self, at_ms: u64) {
        self.modified_ms = self.modified_ms.max(at_ms);
    }

    fn into_bytes(self) -> Vec<u8> {
        let mut bytes = match self.left_out {
            0 => Vec::new(),
            left_out => format!("... not shown before this: {left_out} bytes ...\n").into_bytes(),
        };
        bytes.extend(self.bytes);
        bytes
    }
}

/// One stream, or why it is not there.
#[derive(Debug)]
pub struct Log {
    /// Where it is from.
    pub worker_id: String,
    /// Which.
    pub stream: &'static str,
    /// Its end.
    pub content: Result<Tail, Fault>,
}

/// The archive: `application.json`, each stream as `<worker>/stdout.txt` or `stderr.txt`, and `missing.txt` when some are
/// not there.
pub fn archive(record: &ApplicationRecord, logs: Vec<Log>) -> Vec<u8> {
    let mut zip = Zip::default();
    let mut missing = String::new();
    // The queries are what makes a record large, and the API has them.
    let head = ApplicationRecord {
        summary: record.summary.clone(),
        origin: record.origin,
        is_partial: record.is_partial,
        pipeline: record.pipeline.clone(),
        attempts: record.attempts.clone(),
        steps: record.steps.clone(),
        queries: Vec::new(),
    };
    let content = match serde_json::to_vec_pretty(&head) {
        Ok(content) => content,
        Err(error) => error.to_string().into_bytes(),
    };
    let summary = &record.summary;
    let last_ms = summary.ended_at_ms.max(summary.started_at_ms).max(summary.submitted_at_ms);
    let mut add = |name: &str, content: &[u8], at_ms: u64| zip.add(name, content, at_ms);
    add("application.json", &content, last_ms);
    let mut by_name: BTreeMap<String, Log> = BTreeMap::new();
    for log in logs {
        by_name.insert(format!("{}/{}.txt", file_name(&log.worker_id), log.stream), log);
    }
    if by_name.is_empty() {
        missing.push_str("no driver of this application ran on a worker: a client has the output of its own process\n");
    }
    for (name, log) in by_name {
        match log.content {
            Ok(content) => {
                let at_ms = if content.modified_ms > 0 { content.modified_ms } else { last_ms };
                if !add(&name, &content.into_bytes(), at_ms) {
                    missing.push_str(&format!("{name}: it does not fit into this archive\n"));
                }
            }
            Err(fault) => missing.push_str(&format!("{name}: error[{}/{}]: {fault}\n", fault.class, fault.code)),
        }
    }
    if !missing.is_empty() {
        add("missing.txt", missing.as_bytes(), last_ms);
    }
    zip.finish()
}

/// Ids are checked when they are made; a record that was read from a file may have another one.
fn file_name(id: &str) -> String {
    let name: String = id
        .chars()
        .take(128)
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '.') { c } else { '_' })
        .collect();
    if name.starts_with('.') { name.replacen('.', "_", 1) } else { name }
}

#[cfg(test)]
mod tests {
    use lake_record::DriverAttempt;

    use super::*;
    use crate::example;

    fn worker(id: &str, gone_at_ms: u64) -> WorkerView {
        WorkerView {
            worker_id: id.to_owned(),
            host: "h1".to_owned(),
            grpc_port: 7078,
            flight_port: 0,
            http_port: 0,
            cores: 0,
            cores_used: 0,
            memory_bytes: 0,
            driver_memory_bytes: 0,
            task_memory_bytes: 0,
            disk_free_bytes: 0,
            running_tasks: 0,
            shuffle_bytes: 0,
            state: "ALIVE",
            lost_reason: None,
            gone_at_ms,
            drivers: 0,
            registered_at_ms: 0,
            last_heartbeat_ms: 0,
        }
    }

    #[test]
    fn every_worker_that_had_the_driver_is_asked_unless_it_is_gone() {
        let found = sources(&example::record(), &[worker("worker-1", 0), worker("worker-2", 5), worker("worker-3", 0)]);
        let [first, second] = found.try_into().unwrap();
        assert_eq!((first.worker_id.as_str(), first.address), ("worker-1", Ok("h1:7078".to_owned())));
        assert_eq!((second.worker_id.as_str(), second.address.unwrap_err().code.as_str()), ("worker-2", "no-log"));
        let mut many = example::record();
        let attempt = |number: u32| DriverAttempt { worker_id: format!("w-{number}"), ..DriverAttempt::default() };
        many.attempts = (0..20).map(attempt).collect();
        let workers: Vec<WorkerView> = (0..20).map(|number| worker(&format!("w-{number}"), 0)).collect();
        assert_eq!(sources(&many, &workers).iter().filter(|source| source.address.is_ok()).count(), MOST_WORKERS - 1);
    }

    #[test]
    fn the_end_of_a_long_log_is_kept_and_says_so() {
        let mut tail = Tail::default();
        tail.push(&[b'a'; 10]);
        tail.push(&vec![b'b'; MOST_BYTES - 3]);
        tail.push(b"c");
        let bytes = tail.into_bytes();
        assert!(bytes.starts_with(b"... not shown before this: 8 bytes ...\naabbb"));
        assert!(bytes.ends_with(b"bc"));
        assert_eq!(Tail::default().into_bytes(), b"");
    }

    #[test]
    fn an_archive_has_what_there_is_and_says_what_is_missing() {
        let mut content = Tail::default();
        content.push(b"printed");
        content.written_at(1_795_253_412_000);
        content.written_at(0);
        let log = |worker_id: &str, stream, content| Log { worker_id: worker_id.to_owned(), stream, content };
        let gone = Fault::new(ErrorClass::NotFound, "no-log", "gone");
        let logs = vec![log("worker-1", "stdout", Ok(content)), log("../../etc", "stderr", Err(gone))];
        let bytes = archive(&example::record(), logs);
        let text = String::from_utf8_lossy(&bytes);
        for expected in [
            "application.json",
            "\"app_id\": \"app-20261121093012-0001\"",
            "_._.._etc/stderr.txt: error[not-found/no-log]: gone",
        ] {
            assert!(text.contains(expected), "{expected} is not in {text}");
        }
        // The name, when it was written, the content.
        let written =
            [&b"worker-1/stdout.txtUT\x05\x00\x01"[..], &1_795_253_412_u32.to_le_bytes(), b"printed"].concat();
        assert!(bytes.windows(written.len()).any(|window| window == written), "{text}");
        assert!(!text.contains("../") && !text.contains("q-1"));
        assert!(
            String::from_utf8_lossy(&archive(&example::record(), vec![])).contains("no driver of this application")
        );
    }
}
