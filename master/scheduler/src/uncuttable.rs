//! Plans that are only right when all of their partitions run in one process. Pure.
//!
//! A join that collects its left side keeps, for all partitions of the right side together, which left rows have found a
//! match, and gives out the others once, at the end. Cut into tasks each of them would keep its own record and give out
//! every row that its own slice did not match: `NOT IN` would let excluded rows through, an outer join double them.

use std::sync::Arc;

use datafusion::common::JoinType;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, PartitionMode};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};

/// Whether tasks that each run some of the plan's partitions could answer other rows than one that runs them all.
pub(crate) fn is_uncuttable(plan: &Arc<dyn ExecutionPlan>) -> bool {
    is_uncuttable_join(plan.as_ref()) || plan.children().into_iter().any(is_uncuttable)
}

fn is_uncuttable_join(node: &dyn ExecutionPlan) -> bool {
    if let Some(join) = node.downcast_ref::<HashJoinExec>() {
        let collects = !matches!(join.partition_mode(), PartitionMode::Partitioned);
        return collects && gives_out_left_rows(*join.join_type()) && is_divided(join.right());
    }
    if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
        return gives_out_left_rows(*join.join_type()) && is_divided(join.right());
    }
    false
}

const fn gives_out_left_rows(join: JoinType) -> bool {
    match join {
        JoinType::Left | JoinType::Full | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => true,
        JoinType::Inner | JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => false,
    }
}

fn is_divided(side: &Arc<dyn ExecutionPlan>) -> bool {
    side.output_partitioning().partition_count() > 1
}
