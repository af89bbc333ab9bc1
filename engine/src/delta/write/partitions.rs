//! Which rows of a batch belong to which partition of the table. Pure.

use std::mem;
use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::datatypes::Schema;
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;

use crate::{EngineError, Result};

/// The partitions that one task has met so far, numbered from 0 in the order of their first row.
pub(super) struct Partitions {
    known: Box<dyn GroupValues>,
    /// The partition of each row of the batch at hand.
    of_row: Vec<usize>,
    /// The rows of the batch at hand by partition; empty between batches.
    members: Vec<Vec<u32>>,
}

impl Partitions {
    /// Over columns of this schema.
    pub(super) fn new(columns: &Schema) -> Result<Self> {
        let known = new_group_values(Arc::new(columns.clone()), &GroupOrdering::None)?;
        Ok(Self { known, of_row: Vec::new(), members: Vec::new() })
    }

    /// The rows of a batch with these partition columns, by partition, in the order of the batch. NULL is a value.
    pub(super) fn split(&mut self, keys: &[ArrayRef]) -> Result<Vec<(usize, UInt32Array)>> {
        self.of_row.clear();
        self.known.intern(keys, &mut self.of_row)?;
        self.members.resize_with(self.known.len(), Vec::new);
        let mut met = Vec::new();
        for (row, partition) in (0_u32..).zip(&self.of_row) {
            let members = self.members.get_mut(*partition);
            let members = members.ok_or_else(|| EngineError::internal("a row has a partition without a number"))?;
            if members.is_empty() {
                met.push(*partition);
            }
            members.push(row);
        }
        let mut take = |partition: usize| self.members.get_mut(partition).map(mem::take).unwrap_or_default();
        Ok(met.into_iter().map(|partition| (partition, UInt32Array::from(take(partition)))).collect())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, StringArray};
    use arrow::datatypes::{DataType, Field};

    use super::*;

    fn of(split: Vec<(usize, UInt32Array)>) -> Vec<(usize, Vec<u32>)> {
        split.into_iter().map(|(partition, rows)| (partition, rows.values().to_vec())).collect()
    }

    #[test]
    fn a_partition_keeps_its_number_over_batches_and_null_is_one() {
        let columns =
            Schema::new(vec![Field::new("country", DataType::Utf8, true), Field::new("year", DataType::Int32, true)]);
        let batch = |country: Vec<Option<&str>>, year: Vec<Option<i32>>| -> Vec<ArrayRef> {
            vec![Arc::new(StringArray::from(country)), Arc::new(Int32Array::from(year))]
        };
        let mut partitions = Partitions::new(&columns).unwrap();
        let first = batch(vec![Some("DE"), None, Some("DE"), Some("DE")], vec![Some(1), Some(1), Some(1), Some(2)]);
        assert_eq!(of(partitions.split(&first).unwrap()), [(0, vec![0, 2]), (1, vec![1]), (2, vec![3])]);
        let second = batch(vec![Some("FR"), Some("DE"), None], vec![None, Some(2), Some(1)]);
        assert_eq!(of(partitions.split(&second).unwrap()), [(3, vec![0]), (2, vec![1]), (1, vec![2])]);
        assert!(of(partitions.split(&batch(vec![], vec![])).unwrap()).is_empty());
    }
}
