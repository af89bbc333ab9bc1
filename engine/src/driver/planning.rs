//! Logical to physical plan: join strategy by what fits memory, and what the scans will read. Pure.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion::prelude::SessionContext;

use crate::{EngineError, Result};

/// A hash join's build side cannot spill; above this estimate per partition a join sorts and merges instead.
const MAX_BUILD_BYTES: usize = 1 << 30;

/// The physical plan: hash joins, unless a build side is expected not to fit a task's memory.
///
/// # Errors
/// `invalid-job` when the query does not plan.
pub async fn physical_plan(session: &SessionContext, query: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
    if query.exists(|node| Ok(matches!(node, LogicalPlan::RecursiveQuery(_))))? {
        return Err(EngineError::invalid("sql-unsupported", "WITH RECURSIVE that names itself is not supported"));
    }
    let plan = session.state().create_physical_plan(query).await?;
    if !has_large_build_side(&plan)? {
        return Ok(plan);
    }
    let mut state = session.state();
    state.config_mut().options_mut().optimizer.prefer_hash_join = false;
    Ok(state.create_physical_plan(query).await?)
}

/// Bytes the plan's scans are expected to read. Unknown sizes count as large, so that they are not run as one task.
pub fn estimated_scan_bytes(plan: &Arc<dyn ExecutionPlan>) -> u64 {
    const UNKNOWN: u64 = 4 << 30;
    let children = plan.children();
    // Our scans stand on a work list leaf whose own size says nothing.
    let is_scan = children.iter().all(|child| child.children().is_empty());
    if !is_scan && !children.is_empty() {
        return children.into_iter().map(estimated_scan_bytes).fold(0, u64::saturating_add);
    }
    let statistics = StatisticsContext::new().compute(plan.as_ref(), &StatisticsArgs::new()).ok();
    let bytes = statistics.and_then(|statistics| statistics.total_byte_size.get_value().copied());
    bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(UNKNOWN)
}

fn has_large_build_side(plan: &Arc<dyn ExecutionPlan>) -> Result<bool> {
    let mut found = false;
    plan.apply(|node| {
        if let Some(join) = node.downcast_ref::<HashJoinExec>() {
            let build = join.left();
            let partitions = match join.partition_mode() {
                PartitionMode::Partitioned => build.output_partitioning().partition_count().max(1),
                PartitionMode::CollectLeft | PartitionMode::Auto => 1,
            };
            let bytes = StatisticsContext::new().compute(build.as_ref(), &StatisticsArgs::new())?.total_byte_size;
            found |= bytes.get_value().is_some_and(|bytes| bytes / partitions > MAX_BUILD_BYTES);
        }
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}
