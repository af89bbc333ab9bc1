//! Where a plan lets its task be stopped: at joins that make many rows of few. Pure.
//!
//! Such a join, and a filter over it that lets nothing pass, can be busy for hours without waiting for anything: nobody
//! above gets a batch, so nobody above can stop it. A cooperative node over it gives the thread up from time to time, and
//! then the probe at the root sees that it was told to stop.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;

/// The plan with a brake over each of its joins.
///
/// # Errors
/// Those of nodes that are made anew with other inputs.
pub(super) fn put(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let braked = plan.transform_up(|node| {
        if is_join(&node) {
            return Ok(Transformed::yes(Arc::new(CooperativeExec::new(node)) as Arc<_>));
        }
        Ok(Transformed::no(node))
    })?;
    Ok(braked.data)
}

/// Whether the node is a brake. Planners put cooperative nodes over leaves only.
pub(super) fn is_one(node: &Arc<dyn ExecutionPlan>) -> bool {
    node.downcast_ref::<CooperativeExec>().is_some_and(|node| is_join(node.input()))
}

fn is_join(node: &Arc<dyn ExecutionPlan>) -> bool {
    node.name().ends_with("JoinExec")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use datafusion::common::runtime::SpawnedTask;
    use datafusion::physical_plan::collect;
    use datafusion::prelude::SessionContext;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::tasks::probe::{Counters, ProbeExec, Watch};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_join_under_a_filter_that_lets_nothing_pass_ends_when_told() {
        let session = SessionContext::new();
        let sql =
            "SELECT * FROM generate_series(1, 10000000) a(x), generate_series(1, 10000000) b(y) WHERE x * y % 7 = 8";
        let plan = session.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let watch = Watch::new(stop.clone(), Arc::new(Counters::default()), ended.clone().drop_guard());
        let probed = Arc::new(ProbeExec::new(put(plan).unwrap(), Arc::new(watch)));
        let running = SpawnedTask::spawn(collect(probed, session.task_ctx()));
        // It is busy, or not yet: both must end.
        tokio::task::yield_now().await;
        stop.cancel();
        let result = tokio::time::timeout(Duration::from_secs(60), running.join()).await.unwrap().unwrap();
        assert!(result.unwrap_err().to_string().contains("told to stop"));
        tokio::time::timeout(Duration::from_secs(60), ended.cancelled()).await.unwrap();
    }
}
