//! What workers and drivers report, as parts of a record. Pure.

use lake_proto::v1;

use crate::query::{AttemptTotals, OperatorMetrics};
use crate::step::{ExpectationRecord, ReadKind, ReadRecord};
use crate::table::{ColumnRecord, TableRecord};

impl From<&v1::TaskMetrics> for AttemptTotals {
    fn from(metrics: &v1::TaskMetrics) -> Self {
        Self {
            rows: metrics.rows,
            bytes: metrics.bytes,
            elapsed_ms: metrics.elapsed_ms,
            spilled_bytes: metrics.spilled_bytes,
            shuffle_read_rows: metrics.shuffle_read_rows,
            shuffle_read_bytes: metrics.shuffle_read_bytes,
            shuffle_write_rows: metrics.shuffle_write_rows,
            shuffle_write_bytes: metrics.shuffle_write_bytes,
            input_rows: metrics.input_rows,
            input_bytes: metrics.input_bytes,
        }
    }
}

impl From<&v1::OperatorMetrics> for OperatorMetrics {
    fn from(metrics: &v1::OperatorMetrics) -> Self {
        Self {
            output_rows: metrics.output_rows,
            compute_ns: metrics.compute_ns,
            spilled_bytes: metrics.spilled_bytes,
            spills: metrics.spills,
        }
    }
}

impl From<&v1::StepRead> for ReadRecord {
    fn from(read: &v1::StepRead) -> Self {
        Self {
            name: read.name.clone(),
            kind: if read.is_table { ReadKind::Table } else { ReadKind::Source },
            location: read.location.clone(),
            version: read.version,
            files: read.files,
            bytes: read.bytes,
        }
    }
}

impl From<&v1::ExpectationResult> for ExpectationRecord {
    fn from(result: &v1::ExpectationResult) -> Self {
        Self {
            name: result.name.clone(),
            action: result.action.clone(),
            violations: result.violations,
            checked: result.checked,
        }
    }
}

impl From<&v1::TableAfter> for TableRecord {
    fn from(after: &v1::TableAfter) -> Self {
        let columns = after.columns.iter().map(|column| ColumnRecord {
            name: column.name.clone(),
            data_type: column.data_type.clone(),
            is_nullable: column.is_nullable,
        });
        let figures = after.operation_metrics.iter().map(|figure| (figure.name.clone(), figure.value.clone()));
        let size = after.size.clone().unwrap_or_default();
        Self {
            version: after.version,
            committed_at_ms: after.committed_at_ms,
            operation: after.operation.clone(),
            operation_metrics: figures.collect(),
            columns: columns.collect(),
            partition_by: after.partition_by.clone(),
            files: size.files,
            bytes: size.bytes,
            rows: size.rows,
            file_sizes: size.file_sizes,
            partitions: size.partitions,
        }
    }
}
