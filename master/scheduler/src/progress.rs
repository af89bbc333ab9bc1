//! How far a query is: counts of the stage machine with rows and bytes from statuses and heartbeats. Pure.

use std::collections::BTreeMap;

use lake_proto::v1::{StageProgress, TaskMetrics};
use lake_scheduler_core::{Attempt, AttemptRef, StageId, StageView, TaskIndex};

/// Rows and bytes of a query's tasks.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    done: BTreeMap<(StageId, TaskIndex), Figures>,
    running: BTreeMap<Attempt, (StageId, TaskIndex, Figures)>,
    shown: Vec<StageProgress>,
}

/// Of what a task says, what is shown while it runs.
#[derive(Debug, Clone, Copy)]
struct Figures {
    rows: u64,
    bytes: u64,
}

impl From<&TaskMetrics> for Figures {
    fn from(metrics: &TaskMetrics) -> Self {
        Self { rows: metrics.rows, bytes: metrics.bytes }
    }
}

impl Progress {
    /// What an earlier attempt of the task did no longer counts.
    pub(crate) fn task_starts(&mut self, stage: StageId, task: TaskIndex) {
        self.done.remove(&(stage, task));
    }

    pub(crate) fn task_done(&mut self, stage: StageId, task: TaskIndex, metrics: &TaskMetrics) {
        self.done.insert((stage, task), metrics.into());
    }

    pub(crate) fn attempt_ended(&mut self, attempt: Attempt) {
        self.running.remove(&attempt);
    }

    pub(crate) fn attempt_runs(&mut self, attempt: &AttemptRef, metrics: &TaskMetrics) {
        self.running.insert(attempt.attempt, (attempt.stage, attempt.task, metrics.into()));
    }

    /// The stages now.
    pub(crate) fn stages(&self, views: &[StageView]) -> Vec<StageProgress> {
        let mut sums: BTreeMap<StageId, (u64, u64)> = BTreeMap::new();
        // Two attempts of a task do the same work: the one that has come further counts.
        let mut furthest: BTreeMap<(StageId, TaskIndex), &Figures> = BTreeMap::new();
        for (stage, task, metrics) in self.running.values() {
            let known = furthest.entry((*stage, *task)).or_insert(metrics);
            if known.rows < metrics.rows {
                *known = metrics;
            }
        }
        let running = furthest.iter().map(|((stage, _), metrics)| (*stage, *metrics));
        let done = self.done.iter().map(|((stage, _), metrics)| (*stage, metrics));
        for (stage, metrics) in done.chain(running) {
            let sum = sums.entry(stage).or_default();
            *sum = (sum.0.saturating_add(metrics.rows), sum.1.saturating_add(metrics.bytes));
        }
        let stages = views.iter().map(|view| {
            let (rows, bytes) = sums.get(&view.stage).copied().unwrap_or_default();
            StageProgress {
                stage_id: view.stage.0,
                tasks_total: view.tasks,
                tasks_running: view.running,
                tasks_done: view.done,
                rows,
                bytes,
                retries: view.retries,
            }
        });
        stages.collect()
    }

    /// Retries of a stage when it was last shown.
    pub(crate) fn retries(&self, stage: StageId) -> u32 {
        self.shown.iter().find(|shown| shown.stage_id == stage.0).map_or(0, |shown| shown.retries)
    }

    /// The stages now, when something has moved since this was last asked.
    pub(crate) fn news(&mut self, views: &[StageView]) -> Option<Vec<StageProgress>> {
        let stages = self.stages(views);
        if stages == self.shown {
            return None;
        }
        self.shown.clone_from(&stages);
        Some(stages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_counts_once_whether_it_runs_or_is_done_and_silence_follows_no_news() {
        let view = StageView { stage: StageId(1), tasks: 2, running: 1, done: 1, retries: 0 };
        let metrics = |rows| TaskMetrics { rows, bytes: rows * 10, ..TaskMetrics::default() };
        let mut progress = Progress::default();
        let attempt = |attempt, task| AttemptRef {
            query: "q".parse().unwrap(),
            stage: StageId(1),
            task: TaskIndex(task),
            attempt: Attempt(attempt),
        };
        progress.attempt_runs(&attempt(1, 0), &metrics(3));
        progress.attempt_runs(&attempt(2, 1), &metrics(2));
        progress.attempt_runs(&attempt(4, 1), &metrics(4));
        progress.attempt_ended(Attempt(1));
        progress.task_done(StageId(1), TaskIndex(0), &metrics(5));
        progress.task_done(StageId(1), TaskIndex(0), &metrics(5));
        let stages = progress.news(std::slice::from_ref(&view)).unwrap();
        assert_eq!((stages[0].rows, stages[0].bytes), (9, 90));
        assert_eq!(progress.news(std::slice::from_ref(&view)), None);
        progress.task_starts(StageId(1), TaskIndex(0));
        progress.attempt_runs(&attempt(3, 0), &metrics(1));
        assert_eq!(progress.news(&[view]).unwrap()[0].rows, 5, "the second attempt counts in place of the first one");
    }
}
