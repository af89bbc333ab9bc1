//! The spans of a query's stages: what workers' attempts belong to. Edge: what they tell goes to logs and collectors.

use std::collections::{BTreeMap, BTreeSet};

use lake_proto::QueryId;
use lake_scheduler_core::{StageId, TaskIndex};
use lake_telemetry::trace;
use tracing::Span;

/// Open from a stage's first launch until all its tasks are done; again when an output of it was lost.
#[derive(Debug)]
pub(crate) struct StageSpans {
    /// Of the query, as its driver has it.
    traceparent: String,
    open: BTreeMap<StageId, Open>,
    /// Stages all of whose tasks were done once: what is launched of them later makes lost outputs again.
    complete: BTreeSet<StageId>,
}

#[derive(Debug)]
struct Open {
    span: Span,
    left: BTreeSet<TaskIndex>,
}

impl StageSpans {
    pub(crate) const fn new(traceparent: String) -> Self {
        Self { traceparent, open: BTreeMap::new(), complete: BTreeSet::new() }
    }

    /// A task of a stage is launched, which has so many tasks.
    pub(crate) fn launches(&mut self, app_id: &str, query: &QueryId, stage: StageId, tasks: u32, task: TaskIndex) {
        let (traceparent, is_complete) = (&self.traceparent, self.complete.contains(&stage));
        let open = self.open.entry(stage).or_insert_with(|| {
            let span = tracing::info_span!(parent: None, "stage", app_id, query_id = %query, stage_id = stage.0, tasks);
            trace::follow(&span, traceparent);
            let left = if is_complete { BTreeSet::new() } else { (0..tasks).map(TaskIndex).collect() };
            Open { span, left }
        });
        open.left.insert(task);
    }

    /// A task is done; its stage ends with the last one.
    pub(crate) fn task_done(&mut self, stage: StageId, task: TaskIndex) {
        let Some(open) = self.open.get_mut(&stage) else { return };
        open.left.remove(&task);
        if open.left.is_empty() {
            self.open.remove(&stage);
            self.complete.insert(stage);
        }
    }

    /// The query has ended, and so have its stages.
    pub(crate) fn close(&mut self) {
        self.open.clear();
    }

    /// The trace context of a stage, or of the query where no spans are exported here.
    pub(crate) fn traceparent(&self, stage: StageId) -> String {
        let own = self.open.get(&stage).map(|open| trace::of(&open.span)).unwrap_or_default();
        if own.is_empty() { self.traceparent.clone() } else { own }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_open_while_a_task_of_it_is_under_way_and_the_querys_context_stands_in() {
        let mut spans = StageSpans::new("00-1-2-01".to_owned());
        let (query, stage): (QueryId, StageId) = ("q".parse().unwrap(), StageId(3));
        spans.launches("app-1", &query, stage, 2, TaskIndex(0));
        assert_eq!(spans.traceparent(stage), "00-1-2-01", "nothing is exported in this test");
        spans.task_done(stage, TaskIndex(0));
        spans.task_done(stage, TaskIndex(0));
        assert!(spans.open.contains_key(&stage), "the other task waits for a core");
        spans.launches("app-1", &query, stage, 2, TaskIndex(1));
        spans.task_done(stage, TaskIndex(1));
        assert!(spans.open.is_empty());
        spans.launches("app-1", &query, stage, 2, TaskIndex(0));
        spans.task_done(stage, TaskIndex(0));
        assert!(spans.open.is_empty(), "only the lost output is made again");
        spans.launches("app-1", &query, stage, 2, TaskIndex(1));
        spans.close();
        assert!(spans.open.is_empty());
    }
}
