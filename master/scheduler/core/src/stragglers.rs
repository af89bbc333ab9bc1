//! Which attempts take much longer than the other tasks of their stage. Pure: time comes as an argument.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::{Attempt, TaskIndex};

/// When an attempt straggles. As `spark.speculation.quantile`, `.multiplier` and `.minTaskRuntime`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Speculation {
    /// Tasks of the stage that must be done before anything can be said about the others, in percent.
    pub quantile_percent: u32,
    /// What the median of the done tasks took, times this, in percent: who runs longer straggles.
    pub multiplier_percent: u32,
    /// Who runs shorter does not straggle, however short the others are: a second attempt costs a core, and the time to
    /// send it.
    pub minimum: Duration,
}

impl Default for Speculation {
    fn default() -> Self {
        Self { quantile_percent: 75, multiplier_percent: 150, minimum: Duration::from_secs(1) }
    }
}

/// An attempt that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// Which one.
    pub attempt: Attempt,
    /// Its task.
    pub task: TaskIndex,
    /// For how long it has run.
    pub elapsed: Duration,
}

/// The attempts of a stage of `tasks` tasks that straggle, but those of tasks that have two running attempts already.
/// `done` is what the successful attempts took, in any order.
pub fn stragglers(policy: &Speculation, tasks: u32, mut done: Vec<Duration>, running: &[Running]) -> Vec<Attempt> {
    let wanted = (u64::from(tasks) * u64::from(policy.quantile_percent) / 100).max(1);
    if (done.len() as u64) < wanted {
        return Vec::new();
    }
    done.sort_unstable();
    let Some(median) = done.get(done.len() / 2) else { return Vec::new() };
    let limit = (median.saturating_mul(policy.multiplier_percent) / 100).max(policy.minimum);
    let mut attempts: BTreeMap<TaskIndex, u32> = BTreeMap::new();
    for run in running {
        *attempts.entry(run.task).or_default() += 1;
    }
    let is_slow = |run: &&Running| run.elapsed > limit && attempts.get(&run.task) == Some(&1);
    running.iter().filter(is_slow).map(|run| run.attempt).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_straggles_when_most_of_the_stage_is_done_and_took_much_less() {
        let policy = Speculation { minimum: Duration::from_millis(100), ..Speculation::default() };
        // Tasks of the stage, milliseconds of the done ones, of the running ones, which of those straggle.
        type Row<'a> = (u32, &'a [u64], &'a [u64], &'a [u64]);
        let rows: [Row<'_>; 13] = [
            (4, &[1_000, 1_000, 1_000], &[1_501], &[0]),
            (4, &[1_000, 1_000, 1_000], &[1_500], &[]),
            (4, &[1_000, 1_000], &[90_000, 90_000], &[]),
            (8, &[1_000; 6], &[1_400, 90_000], &[1]),
            (8, &[1_000; 6], &[1_600, 90_000], &[0, 1]),
            (4, &[], &[90_000], &[]),
            // The median, not the mean: one that took long does not excuse another.
            (4, &[1_000, 50_000, 1_000], &[2_000], &[0]),
            (5, &[1_000, 9_000, 1_000, 9_000], &[12_000], &[]),
            (5, &[1_000, 9_000, 1_000, 9_000], &[13_501], &[0]),
            // Short ones are left alone.
            (4, &[10, 10, 10], &[100], &[]),
            (4, &[0, 0, 0], &[101], &[0]),
            // Of two tasks one is enough, and of one none is left to run.
            (2, &[1_000], &[2_000], &[0]),
            (1, &[], &[90_000], &[]),
        ];
        for (tasks, done, running, expected) in rows {
            let runs = running.iter().zip(0..).map(|(elapsed, index)| Running {
                attempt: Attempt(index),
                task: TaskIndex(u32::try_from(index).unwrap()),
                elapsed: Duration::from_millis(*elapsed),
            });
            let done_in: Vec<Duration> = done.iter().copied().map(Duration::from_millis).collect();
            let found = stragglers(&policy, tasks, done_in, &runs.collect::<Vec<_>>());
            let expected: Vec<Attempt> = expected.iter().copied().map(Attempt).collect();
            assert_eq!(found, expected, "{tasks} tasks, done {done:?}, running {running:?}");
        }
    }

    #[test]
    fn a_task_with_two_attempts_gets_no_third() {
        let run = |attempt, task| {
            let elapsed = Duration::from_secs(60);
            Running { attempt: Attempt(attempt), task: TaskIndex(task), elapsed }
        };
        let done = vec![Duration::from_secs(1); 6];
        let running = [run(7, 6), run(8, 7), run(9, 6)];
        assert_eq!(stragglers(&Speculation::default(), 8, done, &running), [Attempt(8)]);
    }

    #[test]
    fn the_multiplied_median_saturates() {
        let policy = Speculation { quantile_percent: 0, multiplier_percent: u32::MAX, minimum: Duration::ZERO };
        let running = [Running { attempt: Attempt(1), task: TaskIndex(0), elapsed: Duration::from_secs(60) }];
        assert_eq!(stragglers(&policy, u32::MAX, vec![Duration::MAX], &running), []);
    }
}
