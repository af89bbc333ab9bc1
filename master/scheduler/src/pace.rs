//! How long the attempts of a query have run and what its done tasks took, as the master sees it. Pure: time comes as an
//! argument.

use std::collections::BTreeMap;
use std::time::Duration;

use lake_proto::v1;
use lake_scheduler_core::{Attempt, AttemptRef, Running, Speculation, StageId, StageView, TaskIndex, stragglers};
use tokio::time::Instant;

use crate::settings::SchedulerSettings;

/// What an application has set about the attempts of its tasks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TaskPolicy {
    /// Slow attempts get a second one beside them.
    pub(crate) speculation: bool,
    /// How long an attempt may run.
    pub(crate) timeout: Option<Duration>,
}

impl TaskPolicy {
    /// What the driver wants, or else what the master has.
    pub(crate) fn new(wanted: Option<v1::TaskPolicy>, settings: &SchedulerSettings) -> Self {
        let wanted = wanted.unwrap_or_default();
        let timeout = (wanted.task_timeout_ms > 0).then(|| Duration::from_millis(wanted.task_timeout_ms));
        Self { speculation: wanted.speculation, timeout: timeout.or(settings.task_timeout) }
    }
}

/// Times of one query's attempts.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    running: BTreeMap<Attempt, Run>,
    /// What the attempts that won took.
    done: BTreeMap<StageId, BTreeMap<TaskIndex, Duration>>,
}

#[derive(Debug)]
struct Run {
    stage: StageId,
    task: TaskIndex,
    since: Instant,
}

impl Pace {
    /// The attempt is sent to its worker. Whether another one of its task runs.
    pub(crate) fn starts(&mut self, attempt: &AttemptRef, now: Instant) -> bool {
        let is_second = self.running.values().any(|run| (run.stage, run.task) == (attempt.stage, attempt.task));
        self.running.insert(attempt.attempt, Run { stage: attempt.stage, task: attempt.task, since: now });
        is_second
    }

    /// The attempt has ended or is not wanted any more. What it took, when it was sent at all.
    pub(crate) fn ends(&mut self, attempt: Attempt, now: Instant) -> Option<Duration> {
        self.running.remove(&attempt).map(|run| now.saturating_duration_since(run.since))
    }

    /// The task was done in this time.
    pub(crate) fn done(&mut self, stage: StageId, task: TaskIndex, took: Duration) {
        self.done.entry(stage).or_default().insert(task, took);
    }

    /// The attempts that run longer than `limit`.
    pub(crate) fn overdue(&self, limit: Duration, now: Instant) -> Vec<Attempt> {
        let is_overdue = |run: &Run| now.saturating_duration_since(run.since) > limit;
        self.running.iter().filter(|(_, run)| is_overdue(run)).map(|(attempt, _)| *attempt).collect()
    }

    /// The attempts that take much longer than the other tasks of their stages, which are these.
    pub(crate) fn stragglers(&self, policy: &Speculation, stages: &[StageView], now: Instant) -> Vec<Attempt> {
        let mut slow = Vec::new();
        for view in stages {
            let of_stage = self.running.iter().filter(|(_, run)| run.stage == view.stage);
            let running: Vec<Running> = of_stage
                .map(|(attempt, run)| {
                    let elapsed = now.saturating_duration_since(run.since);
                    Running { attempt: *attempt, task: run.task, elapsed }
                })
                .collect();
            let done = self.done.get(&view.stage).map(|done| done.values().copied().collect()).unwrap_or_default();
            slow.extend(stragglers(policy, view.tasks, done, &running));
        }
        slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(attempt: u64, task: u32) -> AttemptRef {
        AttemptRef { query: "q".parse().unwrap(), stage: StageId(1), task: TaskIndex(task), attempt: Attempt(attempt) }
    }

    #[test]
    fn a_slow_attempt_straggles_until_another_runs_beside_it_or_it_has_ended() {
        let second = Duration::from_secs(1);
        let start = Instant::now();
        let view = StageView { stage: StageId(1), tasks: 4, running: 1, done: 3, retries: 0 };
        let policy = Speculation::default();
        let mut pace = Pace::default();
        for task in 0..4 {
            assert!(!pace.starts(&attempt(u64::from(task), task), start));
        }
        for task in 0..3 {
            let took = pace.ends(Attempt(u64::from(task)), start + second).unwrap();
            pace.done(StageId(1), TaskIndex(task), took);
        }
        let stages = [view];
        assert_eq!(pace.stragglers(&policy, &stages, start + second), []);
        assert_eq!(pace.stragglers(&policy, &stages, start + second * 2), [Attempt(3)]);
        assert!(pace.starts(&attempt(9, 3), start + second * 2), "it is the second one");
        assert_eq!(pace.stragglers(&policy, &stages, start + second * 9), []);
        assert_eq!(pace.overdue(second * 8, start + second * 9), [Attempt(3)]);
        assert_eq!(pace.ends(Attempt(3), start + second * 9), Some(second * 9));
        assert_eq!(pace.ends(Attempt(3), start + second * 9), None);
        assert_eq!(pace.stragglers(&policy, &stages, start + second * 9), [Attempt(9)]);
        assert_eq!(pace.overdue(second * 8, start + second * 9), []);
    }

    #[test]
    fn the_limit_is_the_drivers_or_else_the_masters() {
        let of_master = Some(Duration::from_secs(9));
        let rows = [
            (None, None, None),
            (None, of_master, of_master),
            (Some(0), of_master, of_master),
            (Some(1_500), of_master, Some(Duration::from_millis(1_500))),
        ];
        for (wanted, task_timeout, expected) in rows {
            let settings = SchedulerSettings { task_timeout, ..SchedulerSettings::default() };
            let policy = wanted.map(|task_timeout_ms| v1::TaskPolicy { speculation: true, task_timeout_ms });
            let found = TaskPolicy::new(policy, &settings);
            assert_eq!(found, TaskPolicy { speculation: policy.is_some(), timeout: expected });
        }
    }
}
