//! What a stage does, in a few words for messages: the names of its operators. Pure.

use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;

/// More of them are not named.
const MOST: usize = 12;

/// The names of the plan's operators from its root on, each once. Nothing of the user's is in a name: no column, no
/// condition, no path. Shuffle writers and readers are left out, because every stage has them.
pub(crate) fn operators(plan: &Arc<dyn ExecutionPlan>) -> String {
    let mut names = Vec::new();
    collect(plan, &mut names);
    let is_cut = names.len() > MOST;
    names.truncate(MOST);
    if is_cut {
        names.push("…".to_owned());
    }
    names.join(", ")
}

fn collect(plan: &Arc<dyn ExecutionPlan>, names: &mut Vec<String>) {
    let name = plan.name();
    if !name.contains("Shuffle") && !names.iter().any(|known| known == name) {
        names.push(name.to_owned());
    }
    for child in plan.children() {
        collect(child, names);
    }
}
