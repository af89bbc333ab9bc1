//! What a query has used up of its budgets, on the way to its driver and back to the next leader. Pure.

use lake_proto::v1;
use lake_scheduler_core::{Spent, StageId, TaskIndex};

/// For the driver.
pub(crate) fn told(spent: Spent) -> v1::RetriesSpent {
    let worker_losses = spent.worker_losses.into_iter().map(|(worker, stages)| v1::WorkerLoss {
        worker_id: worker.to_string(),
        stage_ids: stages.into_iter().map(|stage| stage.0).collect(),
    });
    let task_failures = spent.task_failures.into_iter().map(|((stage, task), failures)| v1::TaskFailures {
        stage_id: stage.0,
        task_index: task.0,
        failures,
    });
    v1::RetriesSpent { worker_losses: worker_losses.collect(), task_failures: task_failures.collect() }
}

/// As an earlier leader has told it. What names nothing is left out.
pub(crate) fn recalled(spent: v1::RetriesSpent) -> Spent {
    let mut recalled = Spent::default();
    for loss in spent.worker_losses {
        let Ok(worker) = loss.worker_id.parse() else { continue };
        recalled.worker_losses.insert(worker, loss.stage_ids.into_iter().map(StageId).collect());
    }
    for task in spent.task_failures {
        recalled.task_failures.insert((StageId(task.stage_id), TaskIndex(task.task_index)), task.failures);
    }
    recalled
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn what_was_told_is_recalled() {
        let spent = Spent {
            worker_losses: BTreeMap::from([("w1".parse().unwrap(), BTreeSet::from([StageId(1), StageId(3)]))]),
            task_failures: BTreeMap::from([((StageId(1), TaskIndex(0)), 2), ((StageId(2), TaskIndex(7)), 1)]),
        };
        assert_eq!(recalled(told(spent.clone())), spent);
        let mut nameless = told(spent);
        nameless.worker_losses[0].worker_id = "../w1".to_owned();
        assert!(recalled(nameless).worker_losses.is_empty());
    }
}
