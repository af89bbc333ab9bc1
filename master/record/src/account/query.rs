//! The account of one query. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lake_proto::{ErrorClass, Fault, WorkerId, v1};

use super::AttemptEnd;
use crate::query::{AttemptRecord, AttemptState, AttemptTotals, OperatorMetrics, QueryRecord, QueryState, StageRecord};

/// Characters of a fault that are kept: thousands of attempts may fail with the same long one.
const FAULT_CHARS: usize = 2_000;

#[derive(Debug)]
pub(super) struct Entry {
    record: Arc<QueryRecord>,
    /// Attempts whose worker has not said yet how they ended.
    open: BTreeMap<u64, Open>,
    /// Tasks whose output is there, by stage.
    done: BTreeMap<u32, BTreeSet<u32>>,
}

#[derive(Debug, Clone)]
struct Open {
    worker: String,
    stage: u32,
    task: u32,
    /// Where it stands among the stage's attempts; `None` when there are too many.
    position: Option<usize>,
    /// It was told to end: what it leaves does not count.
    is_told: bool,
}

impl Entry {
    pub(super) fn new(query: QueryRecord) -> Self {
        Self { record: Arc::new(query), open: BTreeMap::new(), done: BTreeMap::new() }
    }

    pub(super) fn record(&self) -> Arc<QueryRecord> {
        Arc::clone(&self.record)
    }

    pub(super) fn launched(&mut self, stage: u32, mut attempt: AttemptRecord) {
        let beside = |open: &Open| open.stage == stage && open.task == attempt.task && !open.is_told;
        attempt.is_speculative = self.open.values().any(beside);
        let mut open =
            Open { worker: attempt.worker_id.clone(), stage, task: attempt.task, position: None, is_told: false };
        let is_again = self.done.get_mut(&stage).is_some_and(|done| done.remove(&attempt.task));
        let (task, number) = (attempt.task, attempt.attempt);
        let Some(record) = self.stage(stage).filter(|record| task < record.tasks) else { return };
        if is_again {
            record.tasks_done = record.tasks_done.saturating_sub(1);
        }
        if record.attempts.len() < StageRecord::MOST_ATTEMPTS {
            open.position = Some(record.attempts.len());
            record.attempts.push(attempt);
        } else {
            record.attempts_left_out = record.attempts_left_out.saturating_add(1);
        }
        self.open.insert(number, open);
    }

    pub(super) fn runs(&mut self, attempt: u64, metrics: &v1::TaskMetrics) {
        let open = self.open.get(&attempt).cloned();
        if let Some(record) = open.as_ref().and_then(|open| self.attempt(open)) {
            record.totals = AttemptTotals::from(metrics);
        }
    }

    pub(super) fn told_to_end(&mut self, attempt: u64, why: Option<&Fault>, now_ms: u64) {
        let Some(open) = self.open.get_mut(&attempt).filter(|open| !open.is_told) else { return };
        open.is_told = true;
        let open = open.clone();
        if let Some(record) = self.attempt(&open) {
            record.state = AttemptState::Killed;
            record.ended_at_ms = now_ms;
            record.failure = why.map(shortened);
        }
    }

    pub(super) fn ended(
        &mut self,
        attempt: u64,
        worker: &WorkerId,
        end: AttemptEnd<'_>,
        metrics: &v1::TaskMetrics,
        now_ms: u64,
    ) {
        if self.open.get(&attempt).is_none_or(|open| open.worker != worker.as_str()) {
            return;
        }
        let Some(open) = self.open.remove(&attempt) else { return };
        let (state, failure) = match end {
            _ if open.is_told => (AttemptState::Killed, None),
            AttemptEnd::Done => (AttemptState::Success, None),
            AttemptEnd::Failed(fault) => (AttemptState::Failed, Some(fault)),
            AttemptEnd::Cancelled => (AttemptState::Killed, None),
        };
        if let Some(record) = self.attempt(&open) {
            record.state = state;
            record.ended_at_ms = now_ms;
            if let Some(failure) = failure {
                record.failure = Some(shortened(failure));
            }
            // One that never ran tells nothing.
            if *metrics != v1::TaskMetrics::default() {
                record.totals = AttemptTotals::from(metrics);
            }
        }
        if state == AttemptState::Success {
            self.done(open.stage, open.task, metrics);
        }
    }

    /// A task has an output that counts.
    pub(super) fn done(&mut self, stage: u32, task: u32, metrics: &v1::TaskMetrics) {
        let is_new = self.done.entry(stage).or_default().insert(task);
        let Some(record) = self.stage(stage) else { return };
        if is_new {
            record.tasks_done = record.tasks_done.saturating_add(1);
        }
        add_operators(record, metrics);
    }

    pub(super) fn worker_lost(&mut self, worker: &WorkerId, now_ms: u64) {
        let is_lost = |open: &Open| open.worker == worker.as_str();
        let lost: Vec<u64> = self.open.iter().filter(|(_, open)| is_lost(open)).map(|(number, _)| *number).collect();
        for number in lost {
            let Some(open) = self.open.remove(&number).filter(|open| !open.is_told) else { continue };
            if let Some(record) = self.attempt(&open) {
                record.state = AttemptState::Lost;
                record.ended_at_ms = now_ms;
            }
        }
    }

    pub(super) fn query_ended(&mut self, failure: Option<&Fault>, now_ms: u64) {
        let record = Arc::make_mut(&mut self.record);
        if record.state != QueryState::Running {
            return;
        }
        record.state = match failure {
            None => QueryState::Finished,
            Some(fault) if fault.class == ErrorClass::Cancelled => QueryState::Cancelled,
            Some(_) => QueryState::Failed,
        };
        record.ended_at_ms = now_ms;
        record.failure = failure.map(shortened);
    }

    fn stage(&mut self, stage: u32) -> Option<&mut StageRecord> {
        Arc::make_mut(&mut self.record).stages.iter_mut().find(|record| record.stage_id == stage)
    }

    fn attempt(&mut self, open: &Open) -> Option<&mut AttemptRecord> {
        let position = open.position?;
        self.stage(open.stage)?.attempts.get_mut(position)
    }
}

/// Adds what a task's operators did, when they are those of the stage.
fn add_operators(stage: &mut StageRecord, metrics: &v1::TaskMetrics) {
    let told = metrics.operators.iter().map(|operator| &operator.name);
    if !stage.operators.iter().map(|operator| &operator.name).eq(told) {
        return;
    }
    for (operator, told) in stage.operators.iter_mut().zip(&metrics.operators) {
        operator.metrics.add(&OperatorMetrics::from(told));
    }
}

fn shortened(fault: &Fault) -> Fault {
    let mut fault = fault.clone();
    if let Some((cut, _)) = fault.message.char_indices().nth(FAULT_CHARS) {
        fault.message.truncate(cut);
        fault.message.push('…');
    }
    fault
}
