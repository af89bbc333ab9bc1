//! From launches to messages: gathering inputs, encoding on a planning thread, sending. Edge.

use std::collections::BTreeMap;

use lake_proto::v1::master_message::Message as ToWorker;
use lake_proto::{ErrorClass, Fault, QueryId, WorkerId, v1};
use lake_scheduler_core::{Event, Launch, Outcome, Queries, StageId};
use tokio::time::Instant;

use super::{Owner, account};
use crate::launch::{MapOutput, Wave};
use crate::links::Link;
use crate::status::TaskOutput;

impl Owner {
    /// Sends the tasks to a planning thread; gives them back when they cannot be described.
    pub(super) fn start_wave(
        &mut self,
        query: &QueryId,
        stage: StageId,
        launches: Vec<Launch>,
    ) -> Result<(), (Vec<Launch>, Fault)> {
        let broken = |what: String| Fault::new(ErrorClass::Internal, "stage-input", what);
        let Some(entry) = self.entries.get_mut(query) else {
            return Err((launches, broken(format!("query {query} has tasks but is not known"))));
        };
        let Some(plan) = entry.stages.get(&stage).cloned() else {
            return Err((launches, broken(format!("stage {stage} of query {query} has no plan"))));
        };
        let mut inputs = BTreeMap::new();
        for producer in plan.inputs.keys() {
            match map_outputs(&self.machine, &self.links, query, *producer) {
                Some(outputs) => inputs.insert(*producer, outputs),
                None => {
                    let what = format!("stage {stage} of query {query} starts before stage {producer} is complete");
                    return Err((launches, broken(what)));
                }
            };
        }
        for launch in &launches {
            entry.encoding.insert(launch.attempt.attempt);
            entry.progress.task_starts(stage, launch.attempt.task);
            entry.spans.launches(&entry.prepare.app_id, query, stage, plan.tasks(), launch.attempt.task);
        }
        let lineage = self.machine.lineage(query, stage);
        self.services.encode(Wave { query: query.clone(), stage: plan, inputs, lineage, launches });
        Ok(())
    }

    pub(super) fn encoded(&mut self, launches: Vec<Launch>, messages: Result<Vec<v1::LaunchTask>, Fault>) {
        // Whose query has ended or whose worker was lost meanwhile is not sent.
        let mut is_wanted = |launch: &Launch| {
            let (query, attempt) = (&launch.attempt.query, launch.attempt.attempt);
            let entry = self.entries.get_mut(query);
            entry.is_some_and(|entry| entry.encoding.remove(&attempt)) && self.machine.booking(query, attempt).is_some()
        };
        match messages {
            Ok(messages) => {
                let wanted = launches.into_iter().zip(messages).filter(|(launch, _)| is_wanted(launch));
                for (launch, message) in wanted.collect::<Vec<_>>() {
                    self.send_launch(launch, message);
                }
            }
            Err(fault) => {
                let wanted: Vec<Launch> = launches.into_iter().filter(is_wanted).collect();
                for event in failures(&wanted, &fault) {
                    self.event(event);
                }
            }
        }
    }

    fn send_launch(&mut self, launch: Launch, mut message: v1::LaunchTask) {
        let Some(link) = self.links.get_mut(&launch.worker) else { return };
        let now = Instant::now();
        if let Some(entry) = self.entries.get_mut(&launch.attempt.query) {
            entry.announce(link);
            message.app_id.clone_from(&entry.prepare.app_id);
            message.epoch = entry.prepare.epoch;
            message.traceparent = entry.spans.traceparent(launch.attempt.stage);
            if entry.pace.starts(&launch.attempt, now) {
                tracing::info!(
                    query_id = %launch.attempt.query, stage_id = %launch.attempt.stage, task_id = %launch.attempt.task,
                    attempt = %launch.attempt.attempt, worker_id = %launch.worker,
                    "a slow task gets a second attempt"
                );
            }
        }
        link.send(ToWorker::LaunchTask(message));
        let (query, stage) = (&launch.attempt.query, launch.attempt.stage.0);
        self.account.launched(query, stage, account::launched(&launch, &link.worker.host));
        link.watch(launch.attempt.query, launch.attempt.attempt, now);
    }
}

/// What the tasks of a complete stage left, and who serves it.
fn map_outputs(
    machine: &Queries<TaskOutput>,
    links: &BTreeMap<WorkerId, Link>,
    query: &QueryId,
    stage: StageId,
) -> Option<Vec<MapOutput>> {
    let mut outputs = Vec::new();
    for input in machine.inputs(query, stage)? {
        let TaskOutput::Shuffle(files) = input.output else { return None };
        let holder = links.get(input.worker)?.metadata.clone();
        outputs.push(MapOutput { task: input.task, holder, outputs: files.clone() });
    }
    Some(outputs)
}

pub(super) fn failures(launches: &[Launch], fault: &Fault) -> Vec<Event<TaskOutput>> {
    let ended = launches.iter().map(|launch| Event::AttemptEnded {
        worker: launch.worker.clone(),
        query: launch.attempt.query.clone(),
        attempt: launch.attempt.attempt,
        outcome: Outcome::Failed(fault.clone()),
    });
    ended.collect()
}
