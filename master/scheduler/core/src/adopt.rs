//! Going on with a query that an earlier leader has run: which of what is left of it counts. Pure.
//!
//! An attempt that some worker still holds or runs is taken over when its input is the input of this query as it is put
//! together here. Where every attempt gives the same rows that is always so. Where it is not, the *lineage* tells: a
//! number that stands for the attempts that an input derives from, computed when a stage is launched and kept by the
//! worker beside the attempt. Stages are taken over from the sources down; what has read an attempt that is not
//! taken over, directly or further down, has another lineage and is run again.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use lake_proto::WorkerId;

use crate::event::{Action, Kept, QueryDefinition};
use crate::ids::{Attempt, AttemptRef, StageId, TaskIndex};
use crate::queries::Queries;
use crate::query::{Graph, Phase};
use crate::retry::Spent;

/// What earlier leaders have left of a query, as its workers report it.
#[derive(Debug, Clone)]
pub struct Remains<O> {
    /// How often the query has been attached, this time included. Attempts that are launched from now on have numbers
    /// from `attachment << 32`, which no earlier leader has given.
    pub attachment: u32,
    /// Outputs that are still there. Several of one task are possible: only one of them counts.
    pub outputs: Vec<HeldOutput<O>>,
    /// Attempts that still run.
    pub attempts: Vec<HeldAttempt>,
    /// As [`Queries::spent`] was at an earlier leader, the later the better.
    pub spent: Spent,
}

/// An output that a worker holds.
#[derive(Debug, Clone)]
pub struct HeldOutput<O> {
    /// Whose it is.
    pub origin: Origin,
    /// The output.
    pub output: O,
    /// Where it is.
    pub kept: Kept,
}

/// An attempt that a worker runs.
#[derive(Debug, Clone)]
pub struct HeldAttempt {
    /// Which one.
    pub origin: Origin,
    /// Cores it was given; at least one is assumed.
    pub cores: u32,
}

/// An attempt of an earlier leader.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Its stage.
    pub stage: StageId,
    /// Its task.
    pub task: TaskIndex,
    /// The attempt itself.
    pub attempt: Attempt,
    /// Who ran it, or runs it.
    pub worker: WorkerId,
    /// As [`Queries::lineage`] was when it was launched.
    pub lineage: u64,
}

/// What was taken over.
struct Taken {
    outputs: Vec<Origin>,
    attempts: Vec<HeldAttempt>,
}

impl<O> Queries<O> {
    /// Takes up a query with what is left of it. What comes from workers that are not here is ignored.
    pub(crate) fn attach(&mut self, definition: QueryDefinition, left: Remains<O>, actions: &mut Vec<Action<O>>) {
        let Some(turn) = self.enlist(definition, actions) else { return };
        let Some(query) = self.queries.get_mut(&turn) else { return };
        let Phase::Running(graph) = &mut query.phase else { return };
        let fleet = &self.fleet;
        let taken = graph.adopt(left, |worker| fleet.knows(worker));
        let is_finished = graph.is_finished();
        let named = |origin: &Origin| AttemptRef {
            query: query.id.clone(),
            stage: origin.stage,
            task: origin.task,
            attempt: origin.attempt,
        };
        for held in &taken.attempts {
            self.ledger.book(&named(&held.origin), &held.origin.worker, &query.app, held.cores.max(1));
        }
        actions.push(Action::Adopted {
            query: query.id.clone(),
            outputs: taken.outputs.iter().map(named).collect(),
            attempts: taken.attempts.iter().map(|held| named(&held.origin)).collect(),
        });
        if is_finished {
            self.finish(turn, actions);
        }
    }
}

impl<O> Graph<O> {
    fn adopt(&mut self, left: Remains<O>, is_known: impl Fn(&WorkerId) -> bool) -> Taken {
        self.recall(left.spent);
        let first = self.count_from(left.attachment);
        let is_usable = |origin: &Origin| origin.attempt < first && is_known(&origin.worker);
        let mut outputs: BTreeMap<StageId, Vec<HeldOutput<O>>> = BTreeMap::new();
        for held in left.outputs.into_iter().filter(|held| is_usable(&held.origin)) {
            outputs.entry(held.origin.stage).or_default().push(held);
        }
        let mut attempts: BTreeMap<StageId, Vec<HeldAttempt>> = BTreeMap::new();
        for held in left.attempts.into_iter().filter(|held| is_usable(&held.origin)) {
            attempts.entry(held.origin.stage).or_default().push(held);
        }
        let mut taken = Taken { outputs: Vec::new(), attempts: Vec::new() };
        let stages: Vec<StageId> = self.stages.keys().copied().collect();
        // Producers have smaller numbers, so their content is decided before their readers'.
        for id in stages {
            let lineage = self.input_lineage(id);
            let (Some(lineage), Some(stage)) = (lineage, self.stages.get_mut(&id)) else { continue };
            stage.lineage = Some(lineage);
            let is_of_it = |origin: &Origin| origin.lineage == lineage;
            let mut outputs = outputs.remove(&id).unwrap_or_default();
            // An earlier output of a task may have been found unreadable.
            outputs.sort_by_key(|held| (held.origin.task, Reverse(held.origin.attempt)));
            for HeldOutput { origin, output, kept } in outputs.into_iter().filter(|held| is_of_it(&held.origin)) {
                if stage.is_pending_task(origin.task) {
                    stage.start(origin.task, origin.attempt, origin.worker.clone());
                    stage.finish(origin.task, origin.attempt, output, kept);
                    taken.outputs.push(origin);
                }
            }
            let mut attempts = attempts.remove(&id).unwrap_or_default();
            attempts.sort_by_key(|held| (held.origin.task, held.origin.attempt));
            for held in attempts.into_iter().filter(|held| is_of_it(&held.origin)) {
                if stage.is_pending_task(held.origin.task) {
                    stage.start(held.origin.task, held.origin.attempt, held.origin.worker.clone());
                    taken.attempts.push(held);
                }
            }
        }
        taken
    }

    /// What the input of a stage derives from, of all that could have come out differently: zero when there is nothing
    /// of the kind. `None` while an attempt that it would derive from is not decided.
    pub(crate) fn input_lineage(&self, id: StageId) -> Option<u64> {
        let mut lineage = Lineage::default();
        for input in &self.stages.get(&id)?.inputs {
            let producer = self.stages.get(input)?;
            if producer.is_repeatable {
                // With the same input it gives the same rows, whether they are there now or not.
                match producer.lineage? {
                    0 => {}
                    derived => lineage.add([u64::from(input.0), derived]),
                }
            } else if producer.is_complete() {
                for (task, attempt, _, _) in producer.outputs() {
                    lineage.add([u64::from(input.0) << 32 | u64::from(task.0), attempt.0]);
                }
            } else {
                return None;
            }
        }
        Some(lineage.0)
    }
}

/// A running hash. Equal numbers stand for equal attempts: that two lineages of one query meet by chance is as likely as
/// that two of its files have the same checksum.
#[derive(Debug, Default)]
struct Lineage(u64);

impl Lineage {
    fn add(&mut self, words: [u64; 2]) {
        for word in words {
            self.0 = mix(self.0.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ mix(word.wrapping_add(1))).max(1);
        }
    }
}

/// The last step of SplitMix64: every bit of the result depends on every bit of the argument.
const fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
