//! Attempts of the tasks of a stage, with Spark's fields. Pure.

mod shape;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use lake_proto::Fault;
use lake_record::{ApplicationRecord, AttemptRecord, AttemptState};

pub use self::shape::{
    AttemptStateName, InputMetrics, OutputMetrics, ShuffleReadMetrics, ShuffleWriteMetrics, TaskData, TaskMetrics,
};
use crate::Part;
use crate::date::Date;
use crate::failure::Problem;
use crate::parameter::{Kind, MOST_ITEMS, Parameter, Query};
use crate::stage::find;

/// How many items the list has at most; Spark's name and default.
pub const LENGTH: Parameter = Parameter {
    name: "length",
    kind: Kind::Integer { least: 1, most: MOST_ITEMS, default: 20 },
    about: "How many items the answer has at most.",
};

/// What the list is ordered by.
pub const SORT_BY: Parameter = Parameter {
    name: "sortBy",
    kind: Kind::Words(&[
        "ID",
        "runtime",
        "-runtime",
        "INCREASING_RUNTIME",
        "DECREASING_RUNTIME",
        "launchTime",
        "-launchTime",
        "rows",
        "-rows",
        "bytes",
        "-bytes",
        "spill",
        "-spill",
        "shuffleRead",
        "-shuffleRead",
        "shuffleWrite",
        "-shuffleWrite",
    ]),
    about: "What the list is ordered by; with '-' the largest first. Without it, by launch.",
};

/// Spark's states of a task, and `lost`.
pub const STATUS: Parameter = Parameter {
    name: "status",
    kind: Kind::Words(&["running", "success", "killed", "failed", "lost", "unknown"]),
    about: "States of attempts. 'failed' has those that were lost with their worker, 'lost' has only them.",
};

/// Attempts of the tasks of a stage.
///
/// # Errors
/// `not-found/no-such-stage`; `invalid-job/parameter` for what cannot be asked for.
pub fn list(
    record: &ApplicationRecord,
    stage: &str,
    attempt: &str,
    query: &Query,
    now_ms: u64,
) -> Result<Part<TaskData>, Fault> {
    let stage = find(record, stage, attempt)?.stage;
    let (wanted, page) = (query.words(&STATUS)?, query.page_of(&LENGTH)?);
    let order = query.word(&SORT_BY)?.unwrap_or("ID");
    let mut seen: BTreeMap<u32, u64> = BTreeMap::new();
    let mut attempts: Vec<(u64, &AttemptRecord)> = Vec::new();
    for attempt in &stage.attempts {
        let seen = seen.entry(attempt.task).or_default();
        if wanted.is_empty() || wanted.iter().any(|word| is_in(attempt.state, word)) {
            attempts.push((*seen, attempt));
        }
        *seen += 1;
    }
    sort(&mut attempts, order, now_ms);
    let is_result = stage.is_result;
    Ok(Part::of(attempts, page).map(|(number, attempt)| data(number, attempt, is_result, now_ms)))
}

fn is_in(state: AttemptState, word: &str) -> bool {
    match state {
        AttemptState::Lost => word.eq_ignore_ascii_case("lost") || word.eq_ignore_ascii_case("failed"),
        AttemptState::Running | AttemptState::Success | AttemptState::Failed | AttemptState::Killed => {
            word.eq_ignore_ascii_case(spark_state(state))
        }
    }
}

/// By the figure that `order` names; those that have the same stay in the order of their launch.
fn sort(attempts: &mut [(u64, &AttemptRecord)], order: &str, now_ms: u64) {
    let order = match order.to_ascii_uppercase().as_str() {
        "ID" => return,
        "INCREASING_RUNTIME" => "RUNTIME".to_owned(),
        "DECREASING_RUNTIME" => "-RUNTIME".to_owned(),
        other => other.to_owned(),
    };
    let (figure, is_descending) = match order.strip_prefix('-') {
        Some(figure) => (figure, true),
        None => (order.as_str(), false),
    };
    let key = |(_, attempt): &(u64, &AttemptRecord)| match figure {
        "LAUNCHTIME" => attempt.launched_at_ms,
        "ROWS" => attempt.totals.rows,
        "BYTES" => attempt.totals.bytes,
        "SPILL" => attempt.totals.spilled_bytes,
        "SHUFFLEREAD" => attempt.totals.shuffle_read_bytes,
        "SHUFFLEWRITE" => attempt.totals.shuffle_write_bytes,
        _ => attempt.elapsed_ms(now_ms),
    };
    if is_descending {
        attempts.sort_by_key(|attempt| Reverse(key(attempt)));
    } else {
        attempts.sort_by_key(key);
    }
}

/// Spark has no word for an attempt that was lost with its worker.
const fn spark_state(state: AttemptState) -> &'static str {
    match state {
        AttemptState::Running => "RUNNING",
        AttemptState::Success => "SUCCESS",
        AttemptState::Failed | AttemptState::Lost => "FAILED",
        AttemptState::Killed => "KILLED",
    }
}

fn data(number: u64, attempt: &AttemptRecord, is_result: bool, now_ms: u64) -> TaskData {
    let totals = &attempt.totals;
    let elapsed_ms = attempt.elapsed_ms(now_ms);
    let output = |figure: u64| if is_result { figure } else { 0 };
    TaskData {
        task_id: attempt.attempt,
        index: attempt.task,
        attempt: number,
        partition_id: attempt.task,
        launch_time: Date::at(attempt.launched_at_ms),
        duration: elapsed_ms,
        executor_id: attempt.worker_id.clone(),
        host: attempt.host.clone(),
        status: spark_state(attempt.state),
        task_locality: "ANY",
        speculative: attempt.is_speculative,
        accumulator_updates: Vec::new(),
        error_message: attempt.failure.as_ref().map(ToString::to_string),
        task_metrics: TaskMetrics {
            executor_run_time: totals.elapsed_ms,
            disk_bytes_spilled: totals.spilled_bytes,
            input_metrics: InputMetrics { bytes_read: totals.input_bytes, records_read: totals.input_rows },
            output_metrics: OutputMetrics { bytes_written: output(totals.bytes), records_written: output(totals.rows) },
            shuffle_read_metrics: ShuffleReadMetrics {
                remote_bytes_read: totals.shuffle_read_bytes,
                records_read: totals.shuffle_read_rows,
                ..ShuffleReadMetrics::default()
            },
            shuffle_write_metrics: ShuffleWriteMetrics {
                bytes_written: totals.shuffle_write_bytes,
                records_written: totals.shuffle_write_rows,
                ..ShuffleWriteMetrics::default()
            },
            ..TaskMetrics::default()
        },
        executor_logs: BTreeMap::new(),
        scheduler_delay: if attempt.ended_at_ms > 0 { elapsed_ms.saturating_sub(totals.elapsed_ms) } else { 0 },
        getting_result_time: 0,
        state: match attempt.state {
            AttemptState::Running => AttemptStateName::Running,
            AttemptState::Success => AttemptStateName::Success,
            AttemptState::Failed => AttemptStateName::Failed,
            AttemptState::Killed => AttemptStateName::Killed,
            AttemptState::Lost => AttemptStateName::Lost,
        },
        rows: totals.rows,
        bytes: totals.bytes,
        failure: attempt.failure.as_ref().map(Problem::from),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::example;

    fn listed(stage: &str, written: &str) -> Vec<u64> {
        let part = list(&example::record(), stage, "0", &Query::of(written), 9_000).unwrap();
        part.items.iter().map(|task| task.task_id).collect()
    }

    #[test]
    fn an_attempt_has_sparks_fields() {
        let part = list(&example::record(), "2", "0", &Query::of(""), 9_000).unwrap();
        assert_eq!(
            part.items.iter().map(|task| (task.index, task.attempt)).collect::<Vec<_>>(),
            [(0, 0), (1, 0), (0, 1), (2, 0)]
        );
        let json = serde_json::to_value(&part.items[1]).unwrap();
        let expected = json!({
            "taskId": 1,
            "index": 1,
            "attempt": 0,
            "partitionId": 1,
            "launchTime": "1970-01-01T00:00:04.001GMT",
            "duration": 30,
            "executorId": "worker-1",
            "host": "h1",
            "status": "FAILED",
            "taskLocality": "ANY",
            "speculative": false,
            "accumulatorUpdates": [],
            "errorMessage": "no memory is left",
            "taskMetrics": {
                "executorDeserializeTime": 0,
                "executorDeserializeCpuTime": 0,
                "executorRunTime": 20,
                "executorCpuTime": 0,
                "resultSize": 0,
                "jvmGcTime": 0,
                "resultSerializationTime": 0,
                "memoryBytesSpilled": 0,
                "diskBytesSpilled": 3,
                "peakExecutionMemory": 0,
                "inputMetrics": { "bytesRead": 50, "recordsRead": 5 },
                "outputMetrics": { "bytesWritten": 0, "recordsWritten": 0 },
                "shuffleReadMetrics": {
                    "remoteBlocksFetched": 0,
                    "localBlocksFetched": 0,
                    "fetchWaitTime": 0,
                    "remoteBytesRead": 40,
                    "remoteBytesReadToDisk": 0,
                    "localBytesRead": 0,
                    "recordsRead": 4,
                },
                "shuffleWriteMetrics": { "bytesWritten": 400, "writeTime": 0, "recordsWritten": 20 },
            },
            "executorLogs": {},
            "schedulerDelay": 10,
            "gettingResultTime": 0,
            "state": "FAILED",
            "rows": 20,
            "bytes": 200,
            "failure": { "class": "resource", "code": "memory", "message": "no memory is left" },
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn attempts_are_sorted_filtered_and_cut() {
        assert_eq!(listed("0", ""), [0, 1, 2, 3]);
        assert_eq!(listed("0", "sortBy=-runtime&length=2"), [3, 2]);
        assert_eq!(listed("0", "sortBy=DECREASING_RUNTIME&offset=1&length=1"), [2]);
        assert_eq!(listed("0", "sortBy=runtime&length=1"), [0]);
        for figure in ["-rows", "-bytes", "-shuffleWrite", "-launchtime"] {
            assert_eq!(listed("0", &format!("sortBy={figure}")), [3, 2, 1, 0], "{figure}");
        }
        // Where all have the same figure, they stay as they were sent.
        assert_eq!(listed("0", "sortBy=-spill"), [0, 1, 2, 3]);
        assert_eq!(listed("2", "status=failed"), [0, 1]);
        assert_eq!(listed("2", "status=lost"), [0]);
        assert_eq!(listed("2", "status=KILLED,success"), [2, 3]);
        assert_eq!(listed("4", "status=running"), [1]);
        assert_eq!(listed("5", ""), [0; 0]);
    }

    #[test]
    fn a_running_attempt_has_run_until_now() {
        let part = list(&example::record(), "4", "0", &Query::of("status=running"), 9_000).unwrap();
        let task = &part.items[0];
        assert_eq!((task.duration, task.scheduler_delay, task.status), (4_999, 0, "RUNNING"));
    }

    #[test]
    fn what_cannot_be_asked_for_is_refused() {
        let record = example::record();
        for written in
            ["length=0", "length=1001", "length=-1", "sortBy=luck", "sortBy=ID,runtime", "status=x", "offset=-1"]
        {
            let fault = list(&record, "0", "0", &Query::of(written), 9_000).unwrap_err();
            assert_eq!(fault.code, "parameter", "{written}");
        }
        for (stage, attempt) in [("9", "0"), ("0", "1"), ("..", "0")] {
            assert_eq!(list(&record, stage, attempt, &Query::of(""), 9_000).unwrap_err().code, "no-such-stage");
        }
    }
}
