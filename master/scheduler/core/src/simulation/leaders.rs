//! Another leader: it knows the workers that attach to it, and what they report.

use std::mem;

use lake_proto::{QueryId, WorkerId};

use super::world::{Running, World};
use crate::{Event, HeldAttempt, HeldOutput, Kept, Launch, Origin, Outcome, Remains, Spent};

impl World {
    /// The leader is gone, perhaps with a worker, and another one puts together what the others have. Drivers attach
    /// again in any order; the reports of some workers never come.
    pub(super) fn change_leader(&mut self) {
        let workers: Vec<WorkerId> = self.workers.keys().cloned().collect();
        if self.random.percent(40) && !workers.is_empty() {
            let victim = workers[self.random.index(workers.len())].clone();
            self.faults += 1;
            self.kill(&victim);
        }
        self.leaders += 1;
        let before = mem::take(&mut self.machine);
        self.adopted.clear();
        let running = mem::take(&mut self.running);
        // What the old leader had seen and what never reached it look the same from here. Losses are the new one's to
        // find.
        let under_way = mem::take(&mut self.in_flight);
        self.in_flight = under_way.into_iter().filter(|event| matches!(event, Event::AttemptEnded { .. })).collect();
        self.in_flight.retain(|_| self.random.percent(70));

        let alive: Vec<(WorkerId, u32)> = self.workers.iter().map(|(id, cores)| (id.clone(), *cores)).collect();
        let mut reporting = Vec::new();
        for (worker, cores) in alive {
            let is_draining = before.workers().any(|view| view.worker == worker && view.is_draining);
            self.event(Event::WorkerJoined { worker: worker.clone(), cores, is_draining });
            if self.random.percent(85) {
                reporting.push(worker);
            }
        }
        // What had its answer is of no interest to anybody.
        self.retired.extend(self.ended.iter().cloned());
        let mut attaching: Vec<QueryId> = self.queries.keys().filter(|id| !self.ended.contains(*id)).cloned().collect();
        while !attaching.is_empty() {
            let query = attaching.swap_remove(self.random.index(attaching.len()));
            let mut left = self.remains(&query, &running, &reporting);
            // The driver was told, or the leader was gone before it could.
            if self.random.percent(85) {
                left.spent = before.spent(&query).unwrap_or_default();
            }
            let spent = left.spent.clone();
            let definition = self.queries[&query].definition.clone();
            self.event(Event::QueryAttached { definition, left });
            assert!(
                self.machine.spent(&query).is_none_or(|now| now == spent),
                "query {query} began with another budget"
            );
        }
        self.orphan(running);
    }

    fn remains(
        &mut self,
        query: &QueryId,
        running: &[Running],
        reporting: &[WorkerId],
    ) -> Remains<super::oracle::Output> {
        let mut left =
            Remains { attachment: self.leaders, outputs: Vec::new(), attempts: Vec::new(), spent: Spent::default() };
        for held in self.held.iter().filter(|held| held.attempt.query == *query && reporting.contains(&held.worker)) {
            let origin = Origin {
                stage: held.attempt.stage,
                task: held.attempt.task,
                attempt: held.attempt.attempt,
                worker: held.worker.clone(),
                lineage: held.lineage,
            };
            // Its end may come after the report, which then says that it runs.
            let number = held.attempt.attempt;
            let is_end = |event: &Event<_>| {
                matches!(event, Event::AttemptEnded { query, attempt, outcome: Outcome::Done { .. }, .. }
                    if *query == held.attempt.query && *attempt == number)
            };
            if self.in_flight.iter().any(is_end) && self.random.percent(50) {
                left.attempts.push(HeldAttempt { origin, cores: 1 });
            } else if held.kept == Kept::OnWorker || self.random.percent(70) {
                // Rows inside a report are not held for ever.
                left.outputs.push(HeldOutput { origin, output: held.output.clone(), kept: held.kept });
            }
        }
        for running in running.iter().filter(|running| !running.cancelled && !running.is_orphan) {
            let Launch { attempt, worker, cores } = &running.launch;
            if attempt.query == *query && reporting.contains(worker) {
                let (stage, task, number) = (attempt.stage, attempt.task, attempt.attempt);
                let origin = Origin { stage, task, attempt: number, worker: worker.clone(), lineage: running.lineage };
                left.attempts.push(HeldAttempt { origin, cores: *cores });
            }
        }
        // In any order.
        for index in (1..left.outputs.len()).rev() {
            let other = self.random.index(index + 1);
            left.outputs.swap(index, other);
        }
        left
    }

    /// What was not taken over ends now, or later without anybody who waits for it.
    fn orphan(&mut self, running: Vec<Running>) {
        for mut running in running {
            let attempt = &running.launch.attempt;
            if self.machine.booking(&attempt.query, attempt.attempt).is_some() {
                // A query that needed nothing more was over at once, and told what it had taken over to end.
                running.cancelled |= !self.machine.awaits(&attempt.query, attempt.attempt);
                self.running.push(running);
            } else if self.random.percent(40) {
                (running.is_orphan, running.cancelled) = (true, true);
                self.running.push(running);
            }
        }
    }
}
