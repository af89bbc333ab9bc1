//! What follows one attempt on the service threads, from its start until nothing of it is left. Edge.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lake_engine::EngineError;
use lake_proto::v1::{Ack, task_status::Outcome};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use super::attempt::{self, Attempt, AttemptId, Output};
use super::failure::Failed;
use super::{Tasks, lock, metrics, probe, status};

const STILL_ENDING: Duration = Duration::from_secs(10);

impl Tasks {
    /// Waits for an attempt's end, reports it once, and removes what nobody may read. `told` says that it was told to
    /// stop; an attempt of an earlier `life` of the worker reports nothing.
    pub(super) async fn supervise(
        self: Arc<Self>,
        id: AttemptId,
        attempt: Attempt,
        told: CancellationToken,
        life: u64,
    ) {
        let (stage, counters) = (attempt.stage, attempt.counters.clone());
        let (query, lineage) = (attempt.query.clone(), attempt.launch.lineage);
        let (ended, stop) = (CancellationToken::new(), attempt.stop.clone());
        let outcome = match self.compute.spawn(attempt::run(attempt, ended.clone().drop_guard()).in_current_span()) {
            Err(error) => Err(Failed::from(error)),
            Ok(running) => running.await.unwrap_or_else(|error| {
                Err(Failed::from(match error.try_into_panic() {
                    Ok(panic) => probe::panic_fault(panic.as_ref()),
                    Err(_) => EngineError::unavailable("worker-stopping", "this worker is stopping"),
                }))
            }),
        };
        if outcome.is_err() {
            // Not always done by the attempt itself: it may have panicked.
            stop.cancel();
            wait_ended(&ended, &id).await;
        }
        let started = lock(&self.attempts).get(&id).map_or_else(Instant::now, |entry| entry.started);
        let counted = outcome.as_ref().map(|output| output.metrics.clone()).unwrap_or_default();
        let metrics = metrics(&counters, started, counted);
        let failed = outcome.is_err();
        let outcome = self.outcome(&id, outcome, &told);
        if life == self.life.load(Ordering::Acquire) {
            // In the outbox before it is off the list, so that no heartbeat misses both.
            let task = lock(&self.attempts).get(&id).map(|entry| entry.task.clone()).unwrap_or_default();
            let status = status(&task, outcome, metrics);
            self.tally.attempt_ended(&status);
            // Held before it can be acknowledged by a leader who then goes; unless it was not wanted and ended too late.
            if !told.is_cancelled() {
                query.outputs().keep(&status, lineage);
            }
            self.outbox.task(status);
        }
        lock(&self.attempts).remove(&id);
        if failed {
            let work = self.work.clone();
            let removed = tokio::task::spawn_blocking(move || work.remove_attempt(&id.query, stage, id.number)).await;
            if let Err(error) = removed {
                tracing::error!(error = %error, "removal of an attempt's files panicked");
            }
        }
    }

    fn outcome(&self, id: &AttemptId, outcome: Result<Output, Failed>, told: &CancellationToken) -> Outcome {
        let failed = match outcome {
            Ok(output) => return Outcome::Done(output.done),
            Err(_) if self.stopping.load(Ordering::Acquire) => {
                Failed::from(EngineError::unavailable("worker-stopping", "this worker was stopped"))
            }
            Err(_) if told.is_cancelled() => return Outcome::Cancelled(Ack {}),
            Err(failed) => failed,
        };
        let (class, code) = (failed.fault.class.name(), failed.fault.code.as_str());
        Span::current().record("error.class", class).record("error.code", code);
        tracing::warn!(query_id = %id.query, attempt = id.number, error.class = class, error.code = code,
            error = %failed.fault, "a task failed");
        Outcome::Failed(failed.into_message())
    }
}

async fn wait_ended(ended: &CancellationToken, id: &AttemptId) {
    while tokio::time::timeout(STILL_ENDING, ended.cancelled()).await.is_err() {
        tracing::warn!(query_id = %id.query, attempt = id.number, "a stopped task still holds its core");
    }
}
