//! How the figures of a stage's tasks lie, at the quantiles that are asked for. Spark's fields. Pure.

use lake_proto::Fault;
use lake_record::{ApplicationRecord, AttemptRecord, AttemptState, at_quantile};
use schemars::JsonSchema;
use serde::Serialize;

use crate::failure::no_metrics;
use crate::parameter::{Kind, Parameter, Query};
use crate::stage::find;

/// Spark's parameter.
pub const QUANTILES: Parameter = Parameter {
    name: "quantiles",
    kind: Kind::Quantiles { default: "0.05,0.25,0.5,0.75,0.95" },
    about: "Which shares of the tasks lie below the figures that are wanted.",
};

/// Figures at each quantile, of the attempts that succeeded. Where nothing is measured there is 0.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskMetricDistributions {
    /// The quantiles, as they were asked for.
    pub quantiles: Vec<f64>,
    /// Milliseconds from launch to the news of the end.
    pub duration: Vec<f64>,
    /// Not measured.
    pub executor_deserialize_time: Vec<f64>,
    /// Not measured.
    pub executor_deserialize_cpu_time: Vec<f64>,
    /// Milliseconds on the worker.
    pub executor_run_time: Vec<f64>,
    /// Not measured by attempt.
    pub executor_cpu_time: Vec<f64>,
    /// Not measured.
    pub result_size: Vec<f64>,
    /// There is no garbage collector.
    pub jvm_gc_time: Vec<f64>,
    /// Not measured.
    pub result_serialization_time: Vec<f64>,
    /// Results travel with the end of the attempt.
    pub getting_result_time: Vec<f64>,
    /// Milliseconds on the way to the worker and back.
    pub scheduler_delay: Vec<f64>,
    /// Not measured.
    pub peak_execution_memory: Vec<f64>,
    /// Not measured.
    pub memory_bytes_spilled: Vec<f64>,
    /// Bytes written to local disk for want of memory.
    pub disk_bytes_spilled: Vec<f64>,
    /// Not measured by attempt.
    pub input_metrics: InputMetricDistributions,
    /// Of a result.
    pub output_metrics: OutputMetricDistributions,
    /// Read of other stages.
    pub shuffle_read_metrics: ShuffleReadMetricDistributions,
    /// Written for other stages.
    pub shuffle_write_metrics: ShuffleWriteMetricDistributions,
    /// Rows that an attempt gave.
    pub rows: Vec<f64>,
    /// Their bytes in memory.
    pub bytes: Vec<f64>,
}

/// Spark's fields.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InputMetricDistributions {
    /// Bytes that scans read of stores and databases.
    pub bytes_read: Vec<f64>,
    /// Rows that scans gave.
    pub records_read: Vec<f64>,
}

/// Spark's fields.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutputMetricDistributions {
    /// Bytes of the rows of a result, or of the files that were written.
    pub bytes_written: Vec<f64>,
    /// Rows of a result, or those that were written.
    pub records_written: Vec<f64>,
}

/// Spark's fields.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShuffleReadMetricDistributions {
    /// Bytes read of other stages.
    pub read_bytes: Vec<f64>,
    /// Rows read of other stages.
    pub read_records: Vec<f64>,
    /// Not measured.
    pub remote_blocks_fetched: Vec<f64>,
    /// Not measured.
    pub local_blocks_fetched: Vec<f64>,
    /// Not measured.
    pub fetch_wait_time: Vec<f64>,
    /// As `readBytes`.
    pub remote_bytes_read: Vec<f64>,
    /// Not measured.
    pub remote_bytes_read_to_disk: Vec<f64>,
    /// Not measured.
    pub total_blocks_fetched: Vec<f64>,
}

/// Spark's fields.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShuffleWriteMetricDistributions {
    /// Bytes of shuffle files.
    pub write_bytes: Vec<f64>,
    /// Rows in shuffle files.
    pub write_records: Vec<f64>,
    /// Not measured.
    pub write_time: Vec<f64>,
}

/// How the figures of a stage's tasks lie.
///
/// # Errors
/// `not-found` for a stage that is not there, or of which no task has succeeded; `invalid-job/parameter` for quantiles
/// that are none.
pub fn of(
    record: &ApplicationRecord,
    stage: &str,
    attempt: &str,
    query: &Query,
) -> Result<TaskMetricDistributions, Fault> {
    let found = find(record, stage, attempt)?;
    let quantiles = query.quantiles(&QUANTILES)?;
    let is_result = found.stage.is_result;
    let succeeded: Vec<&AttemptRecord> =
        found.stage.attempts.iter().filter(|attempt| attempt.state == AttemptState::Success).collect();
    if succeeded.is_empty() {
        return Err(no_metrics(found.id));
    }
    let at = |figure: &dyn Fn(&AttemptRecord) -> u64| {
        let mut sorted: Vec<u64> = succeeded.iter().map(|attempt| figure(attempt)).collect();
        sorted.sort_unstable();
        quantiles.iter().map(|quantile| number(at_quantile(&sorted, *quantile))).collect::<Vec<f64>>()
    };
    let none = || vec![0.0; quantiles.len()];
    let output = |figure: u64| if is_result { figure } else { 0 };
    Ok(TaskMetricDistributions {
        duration: at(&|attempt| attempt.elapsed_ms(attempt.ended_at_ms)),
        executor_deserialize_time: none(),
        executor_deserialize_cpu_time: none(),
        executor_run_time: at(&|attempt| attempt.totals.elapsed_ms),
        executor_cpu_time: none(),
        result_size: none(),
        jvm_gc_time: none(),
        result_serialization_time: none(),
        getting_result_time: none(),
        scheduler_delay: at(&|attempt| {
            attempt.elapsed_ms(attempt.ended_at_ms).saturating_sub(attempt.totals.elapsed_ms)
        }),
        peak_execution_memory: none(),
        memory_bytes_spilled: none(),
        disk_bytes_spilled: at(&|attempt| attempt.totals.spilled_bytes),
        input_metrics: InputMetricDistributions {
            bytes_read: at(&|attempt| attempt.totals.input_bytes),
            records_read: at(&|attempt| attempt.totals.input_rows),
        },
        output_metrics: OutputMetricDistributions {
            bytes_written: at(&|attempt| output(attempt.totals.bytes)),
            records_written: at(&|attempt| output(attempt.totals.rows)),
        },
        shuffle_read_metrics: ShuffleReadMetricDistributions {
            read_bytes: at(&|attempt| attempt.totals.shuffle_read_bytes),
            read_records: at(&|attempt| attempt.totals.shuffle_read_rows),
            remote_blocks_fetched: none(),
            local_blocks_fetched: none(),
            fetch_wait_time: none(),
            remote_bytes_read: at(&|attempt| attempt.totals.shuffle_read_bytes),
            remote_bytes_read_to_disk: none(),
            total_blocks_fetched: none(),
        },
        shuffle_write_metrics: ShuffleWriteMetricDistributions {
            write_bytes: at(&|attempt| attempt.totals.shuffle_write_bytes),
            write_records: at(&|attempt| attempt.totals.shuffle_write_rows),
            write_time: none(),
        },
        rows: at(&|attempt| attempt.totals.rows),
        bytes: at(&|attempt| attempt.totals.bytes),
        quantiles,
    })
}

/// Figures beyond 2^53 lose their last digits, which nobody looks at.
const fn number(figure: u64) -> f64 {
    figure as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    fn run_times(written: &str) -> Vec<f64> {
        of(&example::record(), "0", "0", &Query::of(written)).unwrap().executor_run_time
    }

    #[test]
    fn figures_lie_where_spark_finds_them() {
        assert_eq!(run_times("quantiles=0,0.24,0.25,0.5,0.75,0.99,1"), [10.0, 10.0, 20.0, 30.0, 40.0, 40.0, 40.0]);
        assert_eq!(run_times(""), [10.0, 20.0, 30.0, 40.0, 40.0]);
        assert_eq!(run_times("quantiles=1.0,0.0"), [40.0, 10.0]);
    }

    #[test]
    fn every_list_is_as_long_as_the_quantiles() {
        let found = of(&example::record(), "1", "0", &Query::of("quantiles=0.5,0.9")).unwrap();
        let json = serde_json::to_value(&found).unwrap();
        let mut lists = 0;
        let mut open = vec![&json];
        while let Some(value) = open.pop() {
            match value {
                serde_json::Value::Object(fields) => open.extend(fields.values()),
                serde_json::Value::Array(items) => {
                    assert_eq!(items.len(), 2);
                    lists += 1;
                }
                other => panic!("{other}"),
            }
        }
        assert_eq!(lists, 31);
        assert_eq!(found.output_metrics.records_written, [30.0, 40.0]);
        assert_eq!((found.duration, found.scheduler_delay), (vec![40.0, 50.0], vec![10.0, 10.0]));
    }

    #[test]
    fn what_is_not_there_or_no_share_is_refused() {
        let record = example::record();
        let code = |stage: &str, written: &str| of(&record, stage, "0", &Query::of(written)).unwrap_err().code;
        assert_eq!(code("5", ""), "no-metrics");
        assert_eq!(code("6", ""), "no-such-stage");
        for written in ["quantiles=-0.5", "quantiles=2", "quantiles=a", "quantiles=NaN"] {
            assert_eq!(code("0", written), "parameter", "{written}");
        }
    }
}
