//! What the owner tells the account of queries, which is shown to people and decides nothing. Edge.

use std::time::Duration;

use lake_proto::{Fault, QueryId, WorkerId, v1};
use lake_record::account::AttemptEnd;
use lake_record::{AttemptRecord, QueryRecord, StageRecord};
use lake_scheduler_core::{Attempt, AttemptRef, Launch, Outcome, QueryEnd, overdue};

use super::Owner;
use crate::clock::now_ms;
use crate::plan::QueryPlan;
use crate::status::TaskOutput;

/// A query with its stages, before anything of it has run.
pub(crate) fn record(plan: &QueryPlan, request: &v1::RunQueryRequest, is_attached: bool) -> QueryRecord {
    let last = plan.definition.stages.last().map(|stage| stage.id);
    let stages = plan.definition.stages.iter().map(|stage| StageRecord {
        stage_id: stage.id.0,
        inputs: stage.inputs.iter().map(|input| input.0).collect(),
        tasks: stage.tasks,
        cores_per_task: stage.cores,
        is_result: Some(stage.id) == last,
        operators: plan.stages.get(&stage.id).map(|stage| stage.outline()).unwrap_or_default(),
        ..StageRecord::default()
    });
    QueryRecord {
        query_id: request.query_id.clone(),
        step: request.label.clone(),
        accepted_at_ms: now_ms(),
        is_attached,
        estimated_scan_bytes: request.estimated_scan_bytes,
        stages: stages.collect(),
        ..QueryRecord::default()
    }
}

/// An attempt that was just sent, or is found running, on a worker of this host.
pub(super) fn launched(launch: &Launch, host: &str) -> AttemptRecord {
    AttemptRecord {
        task: launch.attempt.task.0,
        attempt: launch.attempt.attempt.0,
        worker_id: launch.worker.as_str().to_owned(),
        host: host.to_owned(),
        launched_at_ms: now_ms(),
        ..AttemptRecord::default()
    }
}

impl Owner {
    pub(super) fn note_end(
        &mut self,
        query: &QueryId,
        attempt: Attempt,
        worker: &WorkerId,
        outcome: &Outcome<TaskOutput>,
        metrics: &v1::TaskMetrics,
    ) {
        let end = match outcome {
            Outcome::Done { .. } => AttemptEnd::Done,
            Outcome::Failed(fault) | Outcome::FailedTransiently(fault) | Outcome::FetchFailed { fault, .. } => {
                AttemptEnd::Failed(fault)
            }
            Outcome::Cancelled => AttemptEnd::Cancelled,
        };
        self.account.ended(query, attempt.0, worker, end, metrics, now_ms());
    }

    pub(super) fn note_cancel(&mut self, attempt: &AttemptRef) {
        self.account.told_to_end(&attempt.query, attempt.attempt.0, None, now_ms());
    }

    pub(super) fn note_overdue(&mut self, query: &QueryId, attempt: Attempt, limit: Duration) {
        if let Some(booking) = self.machine.booking(query, attempt) {
            let why = overdue(attempt, &booking.worker, limit);
            self.account.told_to_end(query, attempt.0, Some(&why), now_ms());
        }
    }

    pub(super) fn note_query_end(&mut self, query: &QueryId, end: &QueryEnd<TaskOutput>) {
        let failure: Option<&Fault> = match end {
            QueryEnd::Finished(_) => None,
            QueryEnd::Failed(fault) => Some(fault),
        };
        self.account.query_ended(query, failure, now_ms());
    }
}
