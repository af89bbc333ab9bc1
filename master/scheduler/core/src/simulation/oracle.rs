//! What a query must answer, and what an output derives from.

use std::collections::BTreeMap;

use crate::{Attempt, QueryDefinition, StageId, TaskIndex};

pub(super) type Rows = BTreeMap<u64, u64>;
/// Of tasks that are not repeatable: whose content an output derives from.
pub(super) type Contents = BTreeMap<(StageId, TaskIndex), Attempt>;

#[derive(Debug, Clone, Default)]
pub(super) struct Output {
    pub(super) rows: Rows,
    pub(super) contents: Contents,
}

pub(super) const ROWS_PER_TASK: u64 = 5;

/// Takes over what another output derives from; of each task it must be the same content.
pub(super) fn derive(contents: &mut Contents, others: &Contents) {
    for (task, attempt) in others {
        let known = contents.insert(*task, *attempt);
        assert!(known.is_none_or(|known| known == *attempt), "two contents of {task:?}: {known:?} and {attempt}");
    }
}

pub(super) fn row_id(stage: StageId, task: TaskIndex, row: u64) -> u64 {
    u64::from(stage.0) * 10_000 + u64::from(task.0) * 100 + row
}

/// Every row of every source stage, as often as there are ways from its stage to the result.
pub(super) fn expected_rows(definition: &QueryDefinition) -> Rows {
    let mut ways: BTreeMap<StageId, u64> = BTreeMap::from([(definition.stages.last().unwrap().id, 1)]);
    for stage in definition.stages.iter().rev() {
        let count = ways.get(&stage.id).copied().unwrap_or(0);
        for input in &stage.inputs {
            *ways.entry(*input).or_default() += count;
        }
    }
    let mut rows = Rows::new();
    for stage in definition.stages.iter().filter(|stage| stage.inputs.is_empty()) {
        let count = ways.get(&stage.id).copied().unwrap_or(0);
        for task in (0..stage.tasks).map(TaskIndex).filter(|_| count > 0) {
            rows.extend((0..ROWS_PER_TASK).map(|row| (row_id(stage.id, task, row), count)));
        }
    }
    rows
}
