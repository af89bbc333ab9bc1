//! What the operators of a task have done, for people: read from the plan that ran, once it has succeeded. Pure.

use std::sync::Arc;

use ballista_core::execution_plans::ShuffleReaderExec;
use ballista_core::serde::protobuf::PartitionStats;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::MetricsSet;
use lake_engine::flow;
use lake_proto::v1::{OperatorMetrics, TaskMetrics};

use super::brake;

/// Larger plans are not told operator by operator: each task would send them.
const MOST_OPERATORS: usize = 500;

/// Figures of the plan from its root on, inputs after their consumer. Probe, brakes and shuffle writer are not part of it,
/// so that the operators are those of the master's plan of the stage. Rows and bytes are those that it wrote into a table.
pub(super) fn figures(plan: &Arc<dyn ExecutionPlan>) -> TaskMetrics {
    let mut figures = TaskMetrics::default();
    collect(plan, &mut figures);
    if figures.operators.len() > MOST_OPERATORS {
        figures.operators = Vec::new();
    }
    figures
}

/// What the scans of the plan have read and what it has written into a table, so far: of a plan that runs, too.
pub(super) fn crossings(plan: &Arc<dyn ExecutionPlan>) -> TaskMetrics {
    let mut figures = TaskMetrics::default();
    let mut open = vec![plan];
    while let Some(node) = open.pop() {
        cross(node, &mut figures);
        open.extend(node.children());
    }
    figures
}

fn cross(node: &Arc<dyn ExecutionPlan>, figures: &mut TaskMetrics) {
    if let Some(read) = flow::read(node.as_ref()) {
        figures.input_rows = figures.input_rows.saturating_add(read.rows);
        figures.input_bytes = figures.input_bytes.saturating_add(read.bytes);
    }
    if let Some(written) = flow::written(node.as_ref()) {
        figures.rows = figures.rows.saturating_add(written.rows);
        figures.bytes = figures.bytes.saturating_add(written.bytes);
    }
}

fn collect(plan: &Arc<dyn ExecutionPlan>, figures: &mut TaskMetrics) {
    if brake::is_one(plan) {
        plan.children().into_iter().for_each(|child| collect(child, figures));
        return;
    }
    let metrics = plan.metrics().unwrap_or_default();
    let operator = OperatorMetrics {
        name: plan.name().to_owned(),
        output_rows: number(metrics.output_rows()),
        compute_ns: number(metrics.elapsed_compute()),
        spilled_bytes: spilled_bytes(&metrics),
        spills: number(metrics.spill_count()),
    };
    if let Some(reader) = plan.downcast_ref::<ShuffleReaderExec>() {
        figures.shuffle_read_rows = figures.shuffle_read_rows.saturating_add(operator.output_rows);
        figures.shuffle_read_bytes = figures.shuffle_read_bytes.saturating_add(file_bytes(reader));
    }
    cross(plan, figures);
    figures.spilled_bytes = figures.spilled_bytes.saturating_add(operator.spilled_bytes);
    if figures.operators.len() <= MOST_OPERATORS {
        figures.operators.push(operator);
    }
    for child in plan.children() {
        collect(child, figures);
    }
}

/// Bytes of the files that the reader reads, as they were written. What Ballista's reader counts is memory, buffers that
/// batches share more than once, and of files on this worker nothing.
fn file_bytes(reader: &ShuffleReaderExec) -> u64 {
    let read = if reader.broadcast { 1 } else { reader.partition.len() };
    let files = reader.partition.iter().take(read).flatten();
    let bytes = files.map(|file| {
        let told: PartitionStats = file.partition_stats.into();
        u64::try_from(told.num_bytes).unwrap_or(0)
    });
    bytes.fold(0, u64::saturating_add)
}

/// Bytes that went to local disk for want of memory. Shuffle writers count them under a name of their own.
pub(super) fn spilled_bytes(metrics: &MetricsSet) -> u64 {
    let of_writer = metrics.sum_by_name("spill_bytes").map(|bytes| bytes.as_usize());
    number(metrics.spilled_bytes()).saturating_add(number(of_writer))
}

fn number(figure: Option<usize>) -> u64 {
    figure.and_then(|figure| u64::try_from(figure).ok()).unwrap_or(0)
}
