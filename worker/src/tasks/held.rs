//! What a query has left on this worker, for a leader to whom it is attached again. Pure.

use std::collections::BTreeMap;

use lake_proto::v1::task_status::Outcome;
use lake_proto::v1::{HeldOutput, TaskStatus};

/// Rows of one query that are kept after they were reported, in bytes. Beyond it they are not, and a leader that never
/// saw the report has their tasks run again.
const INLINE_BYTES: usize = 8 << 20;

/// Outputs of one query, by attempt.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    outputs: BTreeMap<u64, HeldOutput>,
    inline_bytes: usize,
    shuffle_bytes: u64,
}

impl Outputs {
    /// Keeps what a status reports as done; any other status leaves nothing. `lineage` is the launch's.
    pub(super) fn keep(&mut self, status: &TaskStatus, lineage: u64) {
        let (Some(task), Some(Outcome::Done(done))) = (&status.task, &status.outcome) else { return };
        let inline_bytes = self.inline_bytes.saturating_add(done.inline_ipc.len());
        if inline_bytes > INLINE_BYTES {
            return;
        }
        self.inline_bytes = inline_bytes;
        let held = HeldOutput { status: Some(TaskStatus { seq: 0, ..status.clone() }), lineage };
        self.shuffle_bytes = self.shuffle_bytes.saturating_add(shuffle_bytes(&held));
        self.outputs.insert(task.attempt, held);
    }

    /// The master does not want this attempt.
    pub(super) fn forget(&mut self, attempt: u64) {
        if let Some(held) = self.outputs.remove(&attempt) {
            self.inline_bytes = self.inline_bytes.saturating_sub(inline_bytes(&held));
            self.shuffle_bytes = self.shuffle_bytes.saturating_sub(shuffle_bytes(&held));
        }
    }

    /// Bytes of the shuffle files of all of them.
    pub(super) const fn shuffle_bytes(&self) -> u64 {
        self.shuffle_bytes
    }

    /// All of them, in the order of the attempts, but for rows that do not fit into `room`, which they take.
    pub(super) fn all(&self, room: &mut usize) -> Vec<HeldOutput> {
        let mut all = Vec::with_capacity(self.outputs.len());
        for held in self.outputs.values() {
            if let Some(left) = room.checked_sub(inline_bytes(held)) {
                *room = left;
                all.push(held.clone());
            }
        }
        all
    }
}

fn shuffle_bytes(held: &HeldOutput) -> u64 {
    match held.status.as_ref().and_then(|status| status.outcome.as_ref()) {
        Some(Outcome::Done(done)) => done.outputs.iter().map(|output| output.num_bytes).sum(),
        Some(Outcome::Failed(_) | Outcome::Cancelled(_)) | None => 0,
    }
}

fn inline_bytes(held: &HeldOutput) -> usize {
    match held.status.as_ref().and_then(|status| status.outcome.as_ref()) {
        Some(Outcome::Done(done)) => done.inline_ipc.len(),
        Some(Outcome::Failed(_) | Outcome::Cancelled(_)) | None => 0,
    }
}

#[cfg(test)]
mod tests {
    use lake_proto::v1::{Ack, ShuffleOutput, TaskDone, TaskRef};

    use super::*;

    fn status(attempt: u64, outcome: Outcome) -> TaskStatus {
        let task = TaskRef { query_id: "q1".to_owned(), stage_id: 1, task_index: 0, attempt };
        TaskStatus { seq: 9, task: Some(task), outcome: Some(outcome), metrics: None }
    }

    fn done(bytes: usize) -> Outcome {
        Outcome::Done(TaskDone { inline_ipc: vec![0; bytes].into(), ..TaskDone::default() })
    }

    fn attempts(outputs: &Outputs) -> Vec<(u64, u64)> {
        let number = |held: &HeldOutput| held.status.as_ref().and_then(|status| status.task.as_ref()).unwrap().attempt;
        outputs.all(&mut { usize::MAX }).iter().map(|held| (number(held), held.lineage)).collect()
    }

    #[test]
    fn shuffle_files_are_counted_as_long_as_they_are_held() {
        let written = |bytes: &[u64]| {
            let outputs = bytes.iter().map(|bytes| ShuffleOutput { num_bytes: *bytes, ..ShuffleOutput::default() });
            Outcome::Done(TaskDone { outputs: outputs.collect(), ..TaskDone::default() })
        };
        let mut outputs = Outputs::default();
        assert_eq!(outputs.shuffle_bytes(), 0);
        outputs.keep(&status(1, written(&[10, 20])), 5);
        outputs.keep(&status(2, written(&[5])), 5);
        outputs.keep(&status(3, done(7)), 5);
        assert_eq!(outputs.shuffle_bytes(), 35, "rows are in memory and not in files");
        outputs.forget(1);
        outputs.forget(1);
        assert_eq!(outputs.shuffle_bytes(), 5);
    }

    #[test]
    fn what_is_done_is_held_until_its_attempt_is_not_wanted_and_rows_up_to_a_limit() {
        let mut outputs = Outputs::default();
        outputs.keep(&status(1, done(0)), 5);
        outputs.keep(&status(2, Outcome::Cancelled(Ack {})), 5);
        outputs.keep(&status(3, done(INLINE_BYTES)), 5);
        outputs.keep(&status(4, done(1)), 5);
        outputs.keep(&status(5, done(0)), 6);
        assert_eq!(attempts(&outputs), [(1, 5), (3, 5), (5, 6)], "4 is beyond the limit");
        assert!(
            outputs
                .all(&mut { usize::MAX })
                .iter()
                .all(|held| held.status.as_ref().is_some_and(|status| status.seq == 0))
        );
        outputs.forget(1);
        outputs.forget(3);
        assert_eq!(attempts(&outputs), [(5, 6)]);
        outputs.keep(&status(6, done(2)), 6);
        outputs.keep(&status(7, done(INLINE_BYTES - 2)), 6);
        assert_eq!(attempts(&outputs), [(5, 6), (6, 6), (7, 6)], "the room of 3 is free");
        let mut room = 3;
        assert_eq!(outputs.all(&mut room).len(), 2);
        assert_eq!(room, 1);
    }
}
