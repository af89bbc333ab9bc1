//! A stage and its tasks: the only place where a task's state moves. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lake_proto::WorkerId;

use crate::event::{Kept, StageDefinition};
use crate::ids::{Attempt, StageId, TaskIndex};

/// Where a task is.
#[derive(Debug)]
pub(crate) enum TaskState<O> {
    Pending,
    /// The first success of either decides.
    Running {
        first: Runner,
        second: Option<Runner>,
    },
    Done {
        attempt: Attempt,
        worker: WorkerId,
        output: O,
        kept: Kept,
    },
}

/// An attempt that runs, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Runner {
    pub(crate) attempt: Attempt,
    pub(crate) worker: WorkerId,
}

#[derive(Debug)]
pub(crate) struct Task<O> {
    state: TaskState<O>,
    /// Transient failures of its own.
    failures: u32,
    /// Times an input could not be read.
    fetch_failures: u32,
    /// Not launched before.
    not_before: Duration,
    /// Workers it failed on, or whose copy of its output could not be read.
    avoid: BTreeSet<WorkerId>,
}

#[derive(Debug)]
pub(crate) struct Stage<O> {
    pub(crate) inputs: BTreeSet<StageId>,
    pub(crate) cores: u32,
    /// A further attempt of a task gives the same rows.
    pub(crate) is_repeatable: bool,
    /// What it does, for messages.
    pub(crate) operators: String,
    /// What its input derives from: of every task that runs or is done. None when nothing of it was ever launched.
    pub(crate) lineage: Option<u64>,
    tasks: BTreeMap<TaskIndex, Task<O>>,
    pending: BTreeSet<TaskIndex>,
    done: usize,
    /// Attempts that ended without success and were tried again.
    retries: u32,
    /// Times its outputs were found unreadable.
    output_losses: u32,
}

impl<O> Stage<O> {
    pub(crate) fn new(definition: StageDefinition) -> Self {
        let indexes = || (0..definition.tasks).map(TaskIndex);
        let task = || Task {
            state: TaskState::Pending,
            failures: 0,
            fetch_failures: 0,
            not_before: Duration::ZERO,
            avoid: BTreeSet::new(),
        };
        Self {
            tasks: indexes().map(|index| (index, task())).collect(),
            pending: indexes().collect(),
            inputs: definition.inputs,
            cores: definition.cores.max(1),
            is_repeatable: definition.is_repeatable,
            operators: definition.operators,
            lineage: None,
            done: 0,
            retries: 0,
            output_losses: 0,
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.done == self.tasks.len()
    }

    /// Whether no task runs or is done.
    pub(crate) fn is_pending(&self) -> bool {
        self.pending.len() == self.tasks.len()
    }

    pub(crate) fn done(&self) -> usize {
        self.done
    }

    pub(crate) fn running(&self) -> usize {
        self.tasks.len() - self.done - self.pending.len()
    }

    pub(crate) fn retries(&self) -> u32 {
        self.retries
    }

    pub(crate) fn len(&self) -> usize {
        self.tasks.len()
    }

    pub(crate) fn pending(&self) -> impl Iterator<Item = TaskIndex> {
        self.pending.iter().copied()
    }

    /// Whether there is such a task, and it neither runs nor is done.
    pub(crate) fn is_pending_task(&self, index: TaskIndex) -> bool {
        self.pending.contains(&index)
    }

    pub(crate) fn avoid(&self, index: TaskIndex) -> Option<&BTreeSet<WorkerId>> {
        self.tasks.get(&index).map(|task| &task.avoid)
    }

    /// What done tasks left, in the order of the tasks.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = (TaskIndex, Attempt, &WorkerId, &O)> {
        self.tasks.iter().filter_map(|(index, task)| match &task.state {
            TaskState::Done { attempt, worker, output, .. } => Some((*index, *attempt, worker, output)),
            TaskState::Pending | TaskState::Running { .. } => None,
        })
    }

    /// What done tasks left, taken out of the stage.
    pub(crate) fn into_outputs(self) -> impl Iterator<Item = (TaskIndex, WorkerId, O)> {
        self.tasks.into_iter().filter_map(|(index, task)| match task.state {
            TaskState::Done { worker, output, .. } => Some((index, worker, output)),
            TaskState::Pending | TaskState::Running { .. } => None,
        })
    }

    /// Pending → running.
    pub(crate) fn start(&mut self, index: TaskIndex, attempt: Attempt, worker: WorkerId) {
        self.set(index, TaskState::Running { first: Runner { attempt, worker }, second: None });
    }

    /// Where no second attempt beside this one may run: where it runs itself, and what the task avoids. None unless the
    /// task waits for this attempt and no other.
    pub(crate) fn avoid_beside(&self, index: TaskIndex, attempt: Attempt) -> Option<BTreeSet<WorkerId>> {
        let task = self.tasks.get(&index)?;
        match &task.state {
            TaskState::Running { first, second: None } if first.attempt == attempt => {
                let mut avoid = task.avoid.clone();
                avoid.insert(first.worker.clone());
                Some(avoid)
            }
            TaskState::Running { .. } | TaskState::Pending | TaskState::Done { .. } => None,
        }
    }

    /// One running attempt → two.
    pub(crate) fn start_beside(&mut self, index: TaskIndex, attempt: Attempt, worker: WorkerId) {
        if let Some(Task { state: TaskState::Running { second: second @ None, .. }, .. }) = self.tasks.get_mut(&index) {
            *second = Some(Runner { attempt, worker });
        } else {
            debug_assert!(false, "task {index} does not run alone");
        }
    }

    /// The attempt that runs beside this one.
    pub(crate) fn rival(&self, index: TaskIndex, attempt: Attempt) -> Option<Attempt> {
        match &self.tasks.get(&index)?.state {
            TaskState::Running { first, second: Some(second) } if first.attempt == attempt => Some(second.attempt),
            TaskState::Running { first, second: Some(second) } if second.attempt == attempt => Some(first.attempt),
            TaskState::Running { .. } | TaskState::Pending | TaskState::Done { .. } => None,
        }
    }

    /// Running → done, also when another attempt runs beside it; nothing when another one has won.
    pub(crate) fn finish(&mut self, index: TaskIndex, attempt: Attempt, output: O, kept: Kept) {
        if let Some(worker) = self.runner(index, attempt) {
            self.set(index, TaskState::Done { attempt, worker, output, kept });
        }
    }

    /// Whether the task waits for this attempt. One that was superseded runs on until its worker has ended
    /// it, and its end means nothing.
    pub(crate) fn awaits(&self, index: TaskIndex, attempt: Attempt) -> bool {
        self.runner(index, attempt).is_some()
    }

    /// The attempt ended without success: two running attempts → the other one, one → pending. Nothing when the task
    /// does not wait for it.
    pub(crate) fn reopen(&mut self, index: TaskIndex, attempt: Attempt) {
        if !self.awaits(index, attempt) {
            return;
        }
        let state = self.tasks.get(&index).map(|task| &task.state);
        let other = state.and_then(|state| state.runners().find(|runner| runner.attempt != attempt));
        let next = match other.cloned() {
            Some(first) => TaskState::Running { first, second: None },
            None => TaskState::Pending,
        };
        self.retries += 1;
        self.set(index, next);
    }

    /// Counts a transient failure on `worker`; how many there have been.
    pub(crate) fn count_failure(&mut self, index: TaskIndex, worker: &WorkerId) -> u32 {
        self.tasks.get_mut(&index).map_or(0, |task| {
            task.avoid.insert(worker.clone());
            task.failures += 1;
            task.failures
        })
    }

    /// Transient failures of the tasks that have any.
    pub(crate) fn failures(&self) -> impl Iterator<Item = (TaskIndex, u32)> {
        self.tasks.iter().filter(|(_, task)| task.failures > 0).map(|(index, task)| (*index, task.failures))
    }

    /// The task had so many transient failures under an earlier leader.
    pub(crate) fn recall_failures(&mut self, index: TaskIndex, failures: u32) {
        if let Some(task) = self.tasks.get_mut(&index) {
            task.failures = task.failures.max(failures);
        }
    }

    /// The task is not launched before this time.
    pub(crate) fn hold_back(&mut self, index: TaskIndex, until: Duration) {
        if let Some(task) = self.tasks.get_mut(&index) {
            task.not_before = until;
        }
    }

    pub(crate) fn not_before(&self, index: TaskIndex) -> Duration {
        self.tasks.get(&index).map_or(Duration::ZERO, |task| task.not_before)
    }

    /// Counts a failed read by this task; how many there have been.
    pub(crate) fn count_fetch_failure(&mut self, index: TaskIndex) -> u32 {
        self.tasks.get_mut(&index).map_or(0, |task| {
            task.fetch_failures += 1;
            task.fetch_failures
        })
    }

    /// The outputs on `worker` of attempts before `reader` cannot be read: done → pending. Later attempts were not
    /// yet there when `reader` was launched, so it says nothing about them. How often this has happened.
    pub(crate) fn lose_outputs(&mut self, worker: &WorkerId, reader: Attempt) -> u32 {
        let lost = self.select(|state| {
            matches!(state, TaskState::Done { worker: holder, attempt, kept: Kept::OnWorker, .. }
                if holder == worker && *attempt < reader)
        });
        if !lost.is_empty() {
            self.output_losses += 1;
        }
        for index in lost {
            self.set(index, TaskState::Pending);
            if let Some(task) = self.tasks.get_mut(&index) {
                task.avoid.insert(worker.clone());
            }
        }
        self.output_losses
    }

    /// The worker is gone: what it ran is pending again, unless an attempt runs elsewhere. How many attempts there were.
    pub(crate) fn lose_running(&mut self, lost: &WorkerId) -> usize {
        let on_lost = |runner: &&Runner| runner.worker == *lost;
        let attempts: Vec<(TaskIndex, Attempt)> = self
            .tasks
            .iter()
            .flat_map(|(index, task)| task.state.runners().filter(on_lost).map(|runner| (*index, runner.attempt)))
            .collect();
        attempts.iter().for_each(|(index, attempt)| self.reopen(*index, *attempt));
        attempts.len()
    }

    /// The worker is gone: what it held is pending again. How many there were.
    pub(crate) fn lose_held(&mut self, lost: &WorkerId) -> usize {
        let indexes = self
            .select(|state| matches!(state, TaskState::Done { worker, kept: Kept::OnWorker, .. } if worker == lost));
        indexes.iter().for_each(|index| self.set(*index, TaskState::Pending));
        indexes.len()
    }

    /// Whether anything of it is on `worker` and would be lost with it.
    pub(crate) fn is_held_by(&self, worker: &WorkerId) -> bool {
        self.tasks.values().any(|task| match &task.state {
            TaskState::Done { worker: holder, kept, .. } => *kept == Kept::OnWorker && holder == worker,
            TaskState::Pending | TaskState::Running { .. } => false,
        })
    }

    /// What was read will be made again with other rows: what runs and what is done, wherever its output is kept, is
    /// pending again. No failure of any task. The attempts that ran.
    pub(crate) fn restart(&mut self) -> Vec<Attempt> {
        let mut superseded = Vec::new();
        for (index, task) in &mut self.tasks {
            if matches!(task.state, TaskState::Pending) {
                continue;
            }
            superseded.extend(task.state.runners().map(|runner| runner.attempt));
            task.state = TaskState::Pending;
            self.pending.insert(*index);
        }
        self.done = 0;
        self.retries += u32::try_from(superseded.len()).unwrap_or(u32::MAX);
        superseded
    }

    fn select(&self, is_meant: impl Fn(&TaskState<O>) -> bool) -> Vec<TaskIndex> {
        self.tasks.iter().filter(|(_, task)| is_meant(&task.state)).map(|(index, _)| *index).collect()
    }

    fn runner(&self, index: TaskIndex, expected: Attempt) -> Option<WorkerId> {
        let mut runners = self.tasks.get(&index)?.state.runners();
        runners.find(|runner| runner.attempt == expected).map(|runner| runner.worker.clone())
    }

    fn set(&mut self, index: TaskIndex, state: TaskState<O>) {
        let Some(task) = self.tasks.get_mut(&index) else {
            debug_assert!(false, "task {index} does not exist");
            return;
        };
        match &task.state {
            TaskState::Pending => {
                self.pending.remove(&index);
            }
            TaskState::Running { .. } => {}
            TaskState::Done { .. } => self.done -= 1,
        }
        match &state {
            TaskState::Pending => {
                self.pending.insert(index);
            }
            TaskState::Running { .. } => {}
            TaskState::Done { .. } => self.done += 1,
        }
        task.state = state;
    }
}

impl<O> TaskState<O> {
    /// The attempts that the task waits for.
    fn runners(&self) -> impl Iterator<Item = &Runner> {
        let runners = match self {
            Self::Running { first, second } => [Some(first), second.as_ref()],
            Self::Pending | Self::Done { .. } => [None, None],
        };
        runners.into_iter().flatten()
    }
}
