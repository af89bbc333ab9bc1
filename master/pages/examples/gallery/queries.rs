//! Queries with stages, operators and attempts, by a generator that always gives the same.

use lake_proto::{ErrorClass, Fault};
use lake_record::{
    AttemptRecord, AttemptState, AttemptTotals, OperatorMetrics, OperatorRecord, QueryRecord, QueryState, StageRecord,
};

/// Numbers that look random (xorshift).
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound.max(1)
    }
}

/// A stage to be made.
pub(crate) struct Made {
    pub(crate) inputs: Vec<u32>,
    pub(crate) tasks: u32,
    pub(crate) done: u32,
    pub(crate) running: u32,
    pub(crate) rows: u64,
    pub(crate) task_ms: u64,
    pub(crate) start_ms: u64,
    pub(crate) operators: &'static [(u32, &'static str, &'static str)],
    /// One task has so many times the rows of the others.
    pub(crate) skew: u64,
    pub(crate) failures: u32,
}

pub(crate) const SCAN: &[(u32, &str, &str)] = &[
    (0, "ShuffleWriterExec", "ShuffleWriterExec: partitioning=Hash([customer_id@5], 16)"),
    (
        1,
        "FilterExec",
        "FilterExec: _rescued@9 IS NULL, projection=[order_id@0, ordered_at@1, customer_id@3, quantity@4]",
    ),
    (
        2,
        "DeltaFilesScanExec",
        "DeltaFilesScanExec: table=s3://lakehouse/bronze/orders, version=118, files=96, columns=[order_id, ordered_at, store_id, customer_id, quantity, unit_price]",
    ),
    (3, "WorkListExec", "DataSourceExec: partitions=16, partition_sizes=[6, 6, 6, 6]"),
];
pub(crate) const SMALL_SCAN: &[(u32, &str, &str)] = &[
    (0, "ShuffleWriterExec", "ShuffleWriterExec: partitioning=Hash([customer_id@0], 16)"),
    (1, "DeltaFilesScanExec", "DeltaFilesScanExec: table=s3://lakehouse/silver/customers, version=41, files=8"),
    (2, "WorkListExec", "DataSourceExec: partitions=4"),
];
pub(crate) const JOIN: &[(u32, &str, &str)] = &[
    (0, "ShuffleWriterExec", "ShuffleWriterExec: partitioning=Hash([order_date@0, country@1], 8)"),
    (
        1,
        "AggregateExec",
        "AggregateExec: mode=Partial, gby=[order_date@0, country@1], aggr=[sum(o.quantity * o.unit_price)]",
    ),
    (2, "HashJoinExec", "HashJoinExec: mode=Partitioned, join_type=Inner, on=[(customer_id@3, customer_id@0)]"),
    (3, "ShuffleReaderExec", "ShuffleReaderExec: stage=1"),
    (3, "ShuffleReaderExec", "ShuffleReaderExec: stage=2"),
];
pub(crate) const WRITE: &[(u32, &str, &str)] = &[
    (0, "DeltaWriteExec", "DeltaWriteExec: table=s3://lakehouse/gold/daily_revenue, target=128 MiB"),
    (1, "SortExec", "SortExec: expr=[order_date@0 ASC], preserve_partitioning=[true]"),
    (2, "AggregateExec", "AggregateExec: mode=FinalPartitioned, gby=[order_date@0, country@1]"),
    (3, "ShuffleReaderExec", "ShuffleReaderExec: stage=3"),
];

/// The hosts of the workers.
pub(crate) const HOSTS: [&str; 5] = ["h2", "h3", "h4", "h5", "h6"];

pub(crate) fn worker_id(host: &str) -> String {
    format!("worker-20261119081502-{host}-7078")
}

/// A stage with its attempts, on workers of four cores.
pub(crate) fn stage(number: u32, made: &Made, chance: &mut Chance) -> StageRecord {
    let launched = made.done + made.running + made.failures;
    let slots = 4 * HOSTS.len() as u64;
    let mut attempts = Vec::new();
    let mut free_at = vec![made.start_ms; usize::try_from(slots).unwrap_or(1)];
    for index in 0..launched {
        let heavy = if index == 3 { made.skew } else { 1 };
        let took = (made.task_ms * (70 + chance.below(60)) / 100) * heavy;
        let Some(slot) = (0..free_at.len()).min_by_key(|slot| free_at.get(*slot).copied()) else { continue };
        let start = free_at.get(slot).copied().unwrap_or_default() + chance.below(40);
        free_at.get_mut(slot).into_iter().for_each(|at| *at = start + took);
        let host = HOSTS.get(slot % HOSTS.len()).copied().unwrap_or("h2");
        let state = match index {
            failed if failed < made.failures => AttemptState::Failed,
            done if done < made.failures + made.done => AttemptState::Success,
            _ => AttemptState::Running,
        };
        let rows = made.rows * (80 + chance.below(40)) / 100 * heavy;
        let failure = (state == AttemptState::Failed).then(|| {
            let message = "s3://lakehouse/bronze/orders/part-00017.parquet cannot be read: connection reset by peer";
            Fault::new(ErrorClass::Unavailable, "store", message)
        });
        attempts.push(AttemptRecord {
            task: index.saturating_sub(made.failures),
            attempt: u64::from(index) + 1,
            worker_id: worker_id(host),
            host: host.to_owned(),
            state,
            is_speculative: index == made.failures + 7,
            launched_at_ms: start,
            ended_at_ms: if state == AttemptState::Running { 0 } else { start + took },
            totals: AttemptTotals {
                rows,
                bytes: rows * 96,
                elapsed_ms: took,
                spilled_bytes: if heavy > 1 { rows * 40 } else { 0 },
                shuffle_read_rows: if made.inputs.is_empty() { 0 } else { rows },
                shuffle_read_bytes: if made.inputs.is_empty() { 0 } else { rows * 60 },
                shuffle_write_rows: rows / 2,
                shuffle_write_bytes: rows * 31,
                input_rows: if made.inputs.is_empty() { rows } else { 0 },
                input_bytes: if made.inputs.is_empty() { rows * 44 } else { 0 },
            },
            failure,
        });
    }
    let operators = made.operators.iter().enumerate().map(|(index, (depth, name, detail))| OperatorRecord {
        depth: *depth,
        name: (*name).to_owned(),
        detail: (*detail).to_owned(),
        metrics: OperatorMetrics {
            output_rows: made.rows * u64::from(made.done) * (10 + chance.below(90)) / 100,
            compute_ns: made.task_ms * u64::from(made.done) * 1_000_000 * (5 + chance.below(60)) / 100,
            spilled_bytes: if made.skew > 1 && index == 2 { 812 << 20 } else { 0 },
            spills: if made.skew > 1 && index == 2 { 7 } else { 0 },
        },
    });
    StageRecord {
        stage_id: number,
        inputs: made.inputs.clone(),
        tasks: made.tasks,
        tasks_done: made.done,
        cores_per_task: 1,
        is_result: made.operators == WRITE,
        operators: operators.collect(),
        attempts,
        attempts_left_out: 0,
    }
}

/// A query of these stages.
pub(crate) fn query(id: &str, step: &str, state: QueryState, stages: Vec<Made>, chance: &mut Chance) -> QueryRecord {
    let begins = stages.iter().map(|made| made.start_ms).min().unwrap_or_default();
    let stages: Vec<StageRecord> = (1..).zip(&stages).map(|(number, made)| stage(number, made, chance)).collect();
    let ends = stages.iter().flat_map(|stage| &stage.attempts).map(|attempt| attempt.ended_at_ms).max();
    QueryRecord {
        query_id: id.to_owned(),
        step: step.to_owned(),
        state,
        accepted_at_ms: begins.saturating_sub(120),
        ended_at_ms: if state == QueryState::Running { 0 } else { ends.unwrap_or_default() + 40 },
        is_attached: false,
        estimated_scan_bytes: 14 << 30,
        failure: None,
        stages,
    }
}
