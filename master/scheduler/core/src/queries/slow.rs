//! Attempts that take long: second ones beside them, and their end when they take too long. Pure.

use std::time::Duration;

use lake_proto::QueryId;

use super::Queries;
use crate::event::{Action, Launch};
use crate::ids::{Attempt, AttemptRef};
use crate::placement::Round;
use crate::query::{Phase, Query};
use crate::retry::Verdict;

impl<O> Queries<O> {
    /// Starts second attempts beside those that straggle.
    pub(super) fn speculate(
        &mut self,
        id: &QueryId,
        attempts: &[Attempt],
        round: &mut Round,
        actions: &mut Vec<Action<O>>,
    ) {
        let largest = round.largest();
        let query = self.turns.get(id).and_then(|turn| self.queries.get_mut(turn));
        let Some(Query { app, phase: Phase::Running(graph), .. }) = query else { return };
        let cap = self.applications.get(app).and_then(|application| application.cores_cap).unwrap_or(u32::MAX);
        for slow in attempts {
            let Some(booking) = self.ledger.get(id, *slow) else { continue };
            let (stage_id, task) = (booking.stage, booking.task);
            let Some(avoid) = graph.avoid_beside(*slow, booking) else { continue };
            let Some(stage) = graph.stages.get(&stage_id) else { continue };
            let cores = stage.cores.min(largest).min(cap);
            if self.ledger.used_by(app).saturating_add(cores) > cap {
                continue;
            }
            let Some(worker) = round.place_elsewhere(cores, &avoid) else { continue };
            let attempt = graph.next_attempt();
            if let Some(stage) = graph.stages.get_mut(&stage_id) {
                stage.start_beside(task, attempt, worker.clone());
            }
            let attempt = AttemptRef { query: id.clone(), stage: stage_id, task, attempt };
            self.ledger.book(&attempt, &worker, app, cores);
            actions.push(Action::Launch(Launch { attempt, worker, cores }));
        }
    }

    /// Gives an attempt up that runs longer than it may.
    pub(super) fn overdue(&mut self, id: &QueryId, attempt: Attempt, limit: Duration, actions: &mut Vec<Action<O>>) {
        let Some(booking) = self.ledger.get(id, attempt).cloned() else { return };
        let Some(turn) = self.turns.get(id).copied() else { return };
        let Some(Phase::Running(graph)) = self.queries.get_mut(&turn).map(|query| &mut query.phase) else { return };
        match graph.overdue(self.clock, attempt, &booking, limit) {
            None => {}
            Some(Verdict::Fail(fault)) => self.fail(turn, fault, actions),
            Some(Verdict::GoOn) => actions.extend(self.ledger.cancel(id, attempt)),
        }
    }
}
