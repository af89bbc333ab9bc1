//! What a predicate can find in which file, and how much a table holds: from partition values and the statistics of
//! the log. Pure.
//!
//! Statistics are bounds, not truths: text may be cut, instants are cut to milliseconds, and a file with a deletion
//! vector still has the statistics of all its rows. Everything here errs towards reading a file.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::{Column, ColumnStatistics, ScalarValue, Statistics};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use serde_json::Value;

use super::columns::{Columns, TableColumn};
use super::files::{LiveFile, partition_value};
use crate::Result;

/// Decimal digits that a JSON number keeps exactly.
const EXACT_DIGITS: u8 = 15;
/// What a text of unknown length is taken to occupy.
const TEXT_BYTES: u64 = 24;

#[derive(Clone, Copy)]
enum Bound {
    Min,
    Max,
}

/// The statistics of files, parsed.
pub(crate) struct FileStatistics<'a> {
    columns: &'a Columns,
    files: Vec<(&'a LiveFile, Option<Value>)>,
}

impl<'a> FileStatistics<'a> {
    pub(crate) fn new(columns: &'a Columns, files: impl IntoIterator<Item = &'a LiveFile>) -> Self {
        let parse = |file: &'a LiveFile| {
            let stats = file.stats.as_deref().and_then(|text| serde_json::from_str(text).ok());
            (file, stats)
        };
        Self { columns, files: files.into_iter().map(parse).collect() }
    }

    fn column(&self, name: &str) -> Option<(&'a TableColumn, &'a Field)> {
        let index = self.columns.list.iter().position(|column| column.name == name)?;
        Some((self.columns.list.get(index)?, self.columns.scan.fields().get(index)?))
    }

    fn array(
        &self,
        kind: &DataType,
        value: impl Fn(&LiveFile, Option<&Value>) -> Option<ScalarValue>,
    ) -> Option<ArrayRef> {
        let null = ScalarValue::try_from(kind).ok()?;
        let values = self.files.iter().map(|(file, stats)| value(file, stats.as_ref()).unwrap_or_else(|| null.clone()));
        ScalarValue::iter_to_array(values).ok()
    }

    fn bounds(&self, name: &str, bound: Bound) -> Option<ArrayRef> {
        let (column, field) = self.column(name)?;
        let kind = field.data_type();
        if self.files.is_empty() || kind.is_nested() {
            return None;
        }
        self.array(kind, |file, stats| {
            if column.is_partition {
                return typed_partition_value(file, column, kind);
            }
            bound_of(stats?, &column.physical, kind, bound)
        })
    }
}

fn typed_partition_value(file: &LiveFile, column: &TableColumn, kind: &DataType) -> Option<ScalarValue> {
    let text = file.partition_values.get(&column.physical)?;
    partition_value(text.as_deref(), kind).ok()
}

impl PruningStatistics for FileStatistics<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(&column.name, Bound::Min)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(&column.name, Bound::Max)
    }

    fn num_containers(&self) -> usize {
        self.files.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let (column, field) = self.column(&column.name)?;
        let counts = self.files.iter().map(|(file, stats)| {
            let rows = stats.as_ref().and_then(num_records);
            if column.is_partition {
                let value = typed_partition_value(file, column, field.data_type())?;
                return if value.is_null() { rows } else { Some(0) };
            }
            null_count(stats.as_ref()?, &column.physical)
        });
        Some(Arc::new(counts.collect::<UInt64Array>()))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(self.files.iter().map(|(_, stats)| num_records(stats.as_ref()?)).collect::<UInt64Array>()))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

fn num_records(stats: &Value) -> Option<u64> {
    stats.get("numRecords")?.as_u64()
}

/// NULLs among all rows of the file. With loose bounds only "none" and "all" can be trusted.
fn null_count(stats: &Value, physical: &str) -> Option<u64> {
    let count = stats.get("nullCount")?.get(physical)?.as_u64()?;
    let tight = stats.get("tightBounds").and_then(Value::as_bool).unwrap_or(true);
    let trusted = tight || count == 0 || num_records(stats) == Some(count);
    trusted.then_some(count)
}

fn bound_of(stats: &Value, physical: &str, kind: &DataType, bound: Bound) -> Option<ScalarValue> {
    let side = match bound {
        Bound::Min => "minValues",
        Bound::Max => "maxValues",
    };
    let value = stats.get(side)?.get(physical)?;
    match (kind, value) {
        (DataType::Utf8View, Value::String(text)) => Some(ScalarValue::Utf8View(Some(text.clone()))),
        (DataType::Boolean, Value::Bool(value)) => Some(ScalarValue::Boolean(Some(*value))),
        (DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64, Value::Number(number)) => {
            ScalarValue::Int64(Some(number.as_i64()?)).cast_to(kind).ok().filter(|value| !value.is_null())
        }
        // NaN counts as the largest number, and Parquet writers leave it out of their statistics.
        (DataType::Float32 | DataType::Float64, Value::Number(number)) if matches!(bound, Bound::Min) => {
            ScalarValue::Float64(Some(number.as_f64()?)).cast_to(kind).ok()
        }
        (DataType::Decimal128(precision, _), Value::Number(number)) if *precision <= EXACT_DIGITS => {
            ScalarValue::try_from_string(number.to_string(), kind).ok()
        }
        (DataType::Date32, Value::String(text)) => {
            ScalarValue::try_from_string(text.get(..10).unwrap_or(text).to_owned(), kind).ok()
        }
        (DataType::Timestamp(TimeUnit::Microsecond, _), Value::String(text)) => {
            let value = ScalarValue::try_from_string(text.clone(), kind).ok()?;
            Some(widened(value, bound))
        }
        _ => None,
    }
}

/// Writers cut instants to milliseconds, so a maximum without finer digits may stand for any later microsecond.
fn widened(value: ScalarValue, bound: Bound) -> ScalarValue {
    match (value, bound) {
        (ScalarValue::TimestampMicrosecond(Some(micros), zone), Bound::Max) if micros % 1000 == 0 => {
            ScalarValue::TimestampMicrosecond(Some(micros.saturating_add(999)), zone)
        }
        (value, _) => value,
    }
}

/// For each file whether `predicate` (over the scan schema) may hold for one of its rows.
///
/// # Errors
/// `internal` when a partition value in the log does not have its column's type.
pub(crate) fn may_match<'a>(
    columns: &Columns,
    predicate: &Arc<dyn PhysicalExpr>,
    files: impl IntoIterator<Item = &'a LiveFile>,
) -> Result<Vec<bool>> {
    let files: Vec<&LiveFile> = files.into_iter().collect();
    if files.is_empty() {
        return Ok(Vec::new());
    }
    if is_over_partitions(columns, predicate) {
        return partitions_that_match(columns, predicate, &files);
    }
    let all = vec![true; files.len()];
    let Ok(pruning) =
        PruningPredicateBuilder::new().with_file_schema(columns.scan.clone()).try_build(predicate.clone())
    else {
        return Ok(all);
    };
    if pruning.always_true() {
        return Ok(all);
    }
    let statistics = FileStatistics::new(columns, files);
    // A predicate that pruning cannot evaluate is simply evaluated on the rows.
    Ok(pruning.prune(&statistics).unwrap_or(all))
}

/// Whether every column of the predicate is a partition column, so that it is constant within a file.
pub(crate) fn is_over_partitions(columns: &Columns, predicate: &Arc<dyn PhysicalExpr>) -> bool {
    let used = collect_columns(predicate);
    let is_partition = |name: &str| columns.find(name).is_some_and(|column| column.is_partition);
    used.iter().all(|column| is_partition(column.name()))
}

/// For each file whether a predicate over partition columns is true for its partition: exact for every row of it.
fn partitions_that_match(
    columns: &Columns,
    predicate: &Arc<dyn PhysicalExpr>,
    files: &[&LiveFile],
) -> Result<Vec<bool>> {
    let mut fields = Vec::new();
    let mut arrays = Vec::new();
    for (column, field) in columns.list.iter().zip(columns.scan.fields()).filter(|(column, _)| column.is_partition) {
        let value = |file: &&LiveFile| {
            let text = file.partition_values.get(&column.physical).and_then(|text| text.as_deref());
            partition_value(text, field.data_type())
        };
        let values = files.iter().map(value).collect::<Result<Vec<_>>>()?;
        arrays.push(ScalarValue::iter_to_array(values)?);
        fields.push(field.as_ref().clone().with_nullable(true));
    }
    let schema = Arc::new(Schema::new(fields));
    let options = RecordBatchOptions::new().with_row_count(Some(files.len()));
    let batch = RecordBatch::try_new_with_options(schema.clone(), arrays, &options)?;
    let predicate = reassign_expr_columns(predicate.clone(), &schema)?;
    let matches = predicate.evaluate(&batch)?.into_array(files.len())?;
    let matches = matches.as_boolean();
    Ok((0..files.len()).map(|row| matches.is_valid(row) && matches.value(row)).collect())
}

/// NULLs of a column file by file, where the log knows.
pub(crate) fn exact_null_counts(statistics: &FileStatistics<'_>, name: &str) -> Vec<Option<u64>> {
    let unknown = || vec![None; statistics.files.len()];
    let Some(counts) = statistics.null_counts(&Column::from_name(name)) else { return unknown() };
    counts.as_primitive_opt::<arrow::datatypes::UInt64Type>().map_or_else(unknown, |counts| counts.iter().collect())
}

/// Rows of a file that are left after its deletion vector, when the log knows.
pub(crate) fn live_rows(file: &LiveFile) -> Option<u64> {
    let stats: Value = serde_json::from_str(file.stats.as_deref()?).ok()?;
    Some(num_records(&stats)?.saturating_sub(file.deleted_rows()))
}

/// Estimates for join planning over the projected columns; all inexact.
pub(crate) fn estimate(columns: &Columns, files: &[LiveFile], projection: &[usize]) -> Statistics {
    let statistics = FileStatistics::new(columns, files);
    let rows = statistics
        .files
        .iter()
        .map(|(file, stats)| Some(stats.as_ref().and_then(num_records)?.saturating_sub(file.deleted_rows())));
    let rows: Option<u64> = rows.sum();
    let fields: Vec<&Field> =
        projection.iter().filter_map(|index| columns.scan.fields().get(*index)).map(|field| field.as_ref()).collect();
    let width: u64 = fields.iter().map(|field| width_of(field.data_type())).sum();
    let file_bytes: u64 = files.iter().map(|file| file.size).sum();
    let bytes = rows.map_or(file_bytes, |rows| rows.saturating_mul(width));
    let count = |value: u64| Precision::Inexact(usize::try_from(value).unwrap_or(usize::MAX));
    let column_statistics = fields.iter().map(|field| column_estimate(&statistics, field.name())).collect();
    Statistics { num_rows: rows.map_or(Precision::Absent, count), total_byte_size: count(bytes), column_statistics }
}

fn width_of(kind: &DataType) -> u64 {
    kind.primitive_width().map_or(TEXT_BYTES, |width| width as u64)
}

fn column_estimate(statistics: &FileStatistics<'_>, name: &str) -> ColumnStatistics {
    let mut estimate = ColumnStatistics::new_unknown();
    let extreme = |bound: Bound| {
        let array = statistics.bounds(name, bound).filter(|array| array.null_count() == 0)?;
        let mut best: Option<ScalarValue> = None;
        for row in 0..array.len() {
            let value = ScalarValue::try_from_array(&array, row).ok()?;
            let better = best.as_ref().is_none_or(|best| match bound {
                Bound::Min => value < *best,
                Bound::Max => value > *best,
            });
            if better {
                best = Some(value);
            }
        }
        best
    };
    if let Some(value) = extreme(Bound::Min) {
        estimate.min_value = Precision::Inexact(value);
    }
    if let Some(value) = extreme(Bound::Max) {
        estimate.max_value = Precision::Inexact(value);
    }
    let nulls = statistics.null_counts(&Column::from_name(name)).filter(|nulls| nulls.null_count() == 0);
    if let Some(nulls) = nulls {
        let total: u64 = nulls.as_primitive::<arrow::datatypes::UInt64Type>().values().iter().sum();
        estimate.null_count = Precision::Inexact(usize::try_from(total).unwrap_or(usize::MAX));
    }
    estimate
}

#[cfg(test)]
mod tests;
