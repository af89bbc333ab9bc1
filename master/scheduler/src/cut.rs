//! How a query was cut, in a form that another leader can compare with its own cut. Pure.
//!
//! Two leaders must not take each other's tasks for their own unless these do the same work. Equal digests say that, for
//! masters of one build: the same stages, each of them the same plan over the same slices.

use std::hash::{DefaultHasher, Hash, Hasher};

use datafusion::physical_plan::displayable;
use lake_engine::codec;
use lake_proto::{ErrorClass, Fault, QueryId, codes, v1};

use crate::choice::Cluster;
use crate::plan::QueryPlan;

/// What the driver is told of the cut.
pub(crate) fn accepted(plan: &QueryPlan, cluster: Cluster) -> v1::QueryAccepted {
    v1::QueryAccepted { total_cores: cluster.total, largest_cores: cluster.largest, digest: digest(plan) }
}

/// The figures that an earlier leader has cut with.
pub(crate) const fn figures(accepted: &v1::QueryAccepted) -> Cluster {
    Cluster { total: accepted.total_cores, largest: accepted.largest_cores }
}

/// # Errors
/// `conflict` when the query is not cut as it was.
pub(crate) fn check(query: &QueryId, before: &v1::QueryAccepted, now: &v1::QueryAccepted) -> Result<(), Fault> {
    if before == now {
        return Ok(());
    }
    let message = format!(
        "query {query} is cut otherwise by this master than by the one that began it (digest {:016x}, expected {:016x}): \
         it must be run as a fresh query",
        now.digest, before.digest
    );
    Err(Fault::new(ErrorClass::Conflict, codes::QUERY_CHANGED, message))
}

fn digest(plan: &QueryPlan) -> u64 {
    // Other builds may hash otherwise. They then refuse each other's queries, which is safe.
    let mut hasher = DefaultHasher::new();
    codec::VERSION.hash(&mut hasher);
    for stage in &plan.definition.stages {
        (stage.id, &stage.inputs, stage.tasks, stage.cores, stage.is_repeatable).hash(&mut hasher);
    }
    for stage in plan.stages.values() {
        displayable(stage.plan.as_ref()).indent(false).to_string().hash(&mut hasher);
    }
    hasher.finish()
}
