//! Work lists: the only leaf our scans stand on. Pure.
//!
//! Ballista restricts a task to its slice only for leaves it knows; a custom multi-partition leaf would be read
//! whole by every task, silently duplicating rows. So every scan is an interior node over an in-memory table whose
//! rows describe pieces of work, and that table is what gets sliced.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{EngineError, Result};

/// The only column of a work list.
const PIECE: &str = "piece";

/// A leaf with one partition per inner list and one row per piece.
///
/// # Errors
/// `internal` when a piece does not serialize.
pub fn leaf<P: Serialize>(partitions: &[Vec<P>]) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = Arc::new(Schema::new(vec![Field::new(PIECE, DataType::Utf8, false)]));
    let mut batches = Vec::with_capacity(partitions.len().max(1));
    for pieces in partitions {
        let mut rows = Vec::with_capacity(pieces.len());
        for piece in pieces {
            rows.push(serde_json::to_string(piece).map_err(|error| EngineError::internal(error.to_string()))?);
        }
        batches.push(vec![RecordBatch::try_new(schema.clone(), vec![Arc::new(StringArray::from(rows))])?]);
    }
    if batches.is_empty() {
        batches.push(vec![RecordBatch::new_empty(schema.clone())]);
    }
    let source = MemorySourceConfig::try_new(&batches, schema, None)?;
    Ok(DataSourceExec::from_data_source(source))
}

/// The pieces in one batch of a work list.
///
/// # Errors
/// `internal` when the batch is not one of [`leaf`] with the same piece type.
pub fn pieces<P: DeserializeOwned>(batch: &RecordBatch) -> Result<Vec<P>> {
    let column = batch.columns().first().and_then(|column| column.as_string_opt::<i32>());
    let column = column.ok_or_else(|| EngineError::internal("work list batch has no piece column"))?;
    let mut pieces = Vec::with_capacity(column.len());
    for text in column.iter().flatten() {
        let piece = serde_json::from_str(text)
            .map_err(|error| EngineError::internal(format!("work list piece does not decode: {error}")))?;
        pieces.push(piece);
    }
    Ok(pieces)
}

/// The pieces of all work lists of a plan.
pub(crate) fn count(plan: &Arc<dyn ExecutionPlan>) -> usize {
    let children = plan.children();
    if !children.is_empty() {
        return children.into_iter().map(count).sum();
    }
    let is_list = plan.schema().fields().len() == 1 && plan.schema().field(0).name() == PIECE;
    let statistics = is_list.then(|| StatisticsContext::new().compute(plan.as_ref(), &StatisticsArgs::new()).ok());
    statistics.flatten().and_then(|statistics| statistics.num_rows.get_value().copied()).unwrap_or(0)
}

/// Spreads pieces over at most `partitions` lists of nearly equal weight: heaviest first, each to the lightest list.
/// Deterministic; never returns an empty list beside a full one, and one empty list for no pieces.
pub fn pack<P>(pieces: Vec<P>, partitions: usize, weight: impl Fn(&P) -> u64) -> Vec<Vec<P>> {
    let lists = partitions.clamp(1, pieces.len().max(1));
    let mut weighed: Vec<(u64, usize, P)> =
        pieces.into_iter().enumerate().map(|(index, piece)| (weight(&piece).max(1), index, piece)).collect();
    weighed.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut packed: Vec<(u64, Vec<(usize, P)>)> = (0..lists).map(|_| (0, Vec::new())).collect();
    for (weight, index, piece) in weighed {
        if let Some(lightest) = packed.iter_mut().min_by_key(|list| list.0) {
            lightest.0 += weight;
            lightest.1.push((index, piece));
        }
    }
    packed
        .into_iter()
        .map(|(_, mut list)| {
            list.sort_by_key(|(index, _)| *index);
            list.into_iter().map(|(_, piece)| piece).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_keeps_every_piece_once_and_balances_weights() {
        let packed = pack(vec![7_u64, 1, 1, 1, 6, 2], 3, |weight| *weight);
        let sums: Vec<u64> = packed.iter().map(|list| list.iter().sum()).collect();
        assert_eq!(sums, [7, 6, 5]);
        assert_eq!(pack(Vec::<u64>::new(), 4, |w| *w), vec![Vec::<u64>::new()]);
        assert_eq!(pack(vec![1_u64], 4, |w| *w), vec![vec![1]]);
    }

    #[test]
    fn pieces_survive_the_leaf() {
        let batch = {
            let schema = Arc::new(Schema::new(vec![Field::new("piece", DataType::Utf8, false)]));
            RecordBatch::try_new(schema, vec![Arc::new(StringArray::from(vec!["[1,2]", "[3]"]))]).unwrap()
        };
        assert_eq!(pieces::<Vec<u32>>(&batch).unwrap(), [vec![1, 2], vec![3]]);
        assert!(leaf::<u32>(&[]).unwrap().properties().partitioning.partition_count() == 1);
        assert_eq!(count(&leaf(&[vec![1, 2], vec![3]]).unwrap()), 3);
        assert_eq!(count(&leaf::<u32>(&[]).unwrap()), 0);
    }
}
