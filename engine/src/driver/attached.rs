//! A driver under a master: takes its pipeline from there, reports there, runs its queries on the workers. Edge.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use lake_job::Pipeline;
use lake_proto::v1::drivers_client::DriversClient;
use lake_proto::v1::{self, DriverIdentity, StepProgress, StepRecord};
use lake_proto::{DriverId, ErrorClass, Fault};
use lake_telemetry::lineage::{Catalogue, Lineage};
use lake_telemetry::trace::traced;
use tokio::sync::watch;
use tonic::transport::Channel;
use tracing::{Instrument, Span};

use super::inputs::profiles;
use super::lease::Lease;
use super::masters::Masters;
use super::run::{Commits, Identity, Run};
use super::{settle, spans};
use crate::runner::cluster::ClusterRunner;
use crate::session;
use crate::stores::Stores;
use crate::{EngineError, Result};

const REPORT_INTERVAL: Duration = Duration::from_millis(200);
const SIGN_OF_LIFE: Duration = Duration::from_secs(4);
/// A leader that does not answer a report for so long is looked for anew: the lease must outlast two such failures.
const REPORT_TIMEOUT: Duration = Duration::from_secs(3);
/// As long as an election takes.
const LAST_REPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Who this driver is and what it may use.
#[derive(Debug, Clone)]
pub struct DriverArgs {
    /// `lake://host:port,…`
    pub master_url: String,
    /// Its id.
    pub driver_id: DriverId,
    /// The log index of its assignment: every call carries it, and a newer driver's is higher.
    pub epoch: u64,
    /// Its own folder.
    pub work_dir: PathBuf,
    /// Memory it may use.
    pub memory_bytes: u64,
    /// W3C trace context of its submission; empty = none, or the current span's.
    pub traceparent: String,
}

/// Runs a submission to its end and reports the end to the master. The caller exits with the fault's class.
///
/// When no confirmed leader has answered for [`lake_proto::DRIVER_LEASE`] while it runs, `lease_ended` is called with the
/// reason, on a thread of its own, which also runs when this runtime hangs. It is to end the process: another driver may
/// have the run by then.
///
/// # Errors
/// Whatever ended the run; `conflict` when a newer driver has taken over, `not-found` when the master gave this one up.
pub async fn run_attached(args: DriverArgs, lease_ended: impl FnOnce(Fault) + Send + 'static) -> Result<(), Fault> {
    let span = spans::application("", args.driver_id.as_str(), &args.traceparent);
    Box::pin(attached(args, lease_ended)).instrument(span).await
}

async fn attached(args: DriverArgs, lease_ended: impl FnOnce(Fault) + Send + 'static) -> Result<(), Fault> {
    let masters = Masters::new(&args.master_url)?;
    let driver = DriverIdentity { driver_id: args.driver_id.to_string(), epoch: args.epoch };
    let catalogue = Catalogue::of_environment();
    let outcome = run(&args, &masters, &driver, catalogue.lineage(), lease_ended).await;
    spans::ended(&outcome, |()| None);
    let failure = outcome.as_ref().err().map(|error| error.0.clone().into());
    let finish = v1::DriverFinishRequest { driver: Some(driver), failure };
    let reported = masters.call(|channel| {
        let finish = finish.clone();
        async move { client(channel).finish(traced(finish)).await }
    });
    let reported = reported.await;
    // Only now: nobody waits for a catalogue.
    catalogue.close().await;
    if let Err(error) = reported {
        tracing::error!(error.code = error.code(), "the end of the run could not be reported: {error}");
        outcome?;
        return Err(error.into());
    }
    outcome.map_err(Fault::from)
}

async fn run(
    args: &DriverArgs,
    masters: &Masters,
    driver: &DriverIdentity,
    lineage: Option<Arc<Lineage>>,
    lease_ended: impl FnOnce(Fault) + Send + 'static,
) -> Result<()> {
    let held = Lease::hold(lease_ended)?;
    let lease = held.lease();
    let request = v1::DriverStartRequest { driver: Some(driver.clone()) };
    let start = masters
        .call(|channel| {
            let (request, lease) = (request.clone(), lease.clone());
            async move {
                let asked = lease.ask();
                let answer = client(channel).start(traced(request)).await;
                if answer.is_ok() {
                    lease.renew(asked);
                }
                answer
            }
        })
        .await?;
    Span::current().record("app_id", start.app_id.as_str());
    tracing::info!(attempt = start.attempt, run_number = start.run_number, "this driver has the application");
    let pipeline: Pipeline = serde_json::from_slice(&start.pipeline)
        .map_err(|error| EngineError::internal(format!("the submission does not decode: {error}")))?;
    let run_number = i64::try_from(start.run_number)
        .map_err(|_| EngineError::internal(format!("run number {} is out of range", start.run_number)))?;

    let stores = Arc::new(Stores::new(profiles(&pipeline)));
    let identity = Identity { run_id: start.app_id, run_number, moment: moment(start.submitted_at_ms) };
    let commits = Arc::new(AtMaster {
        masters: masters.clone(),
        driver: driver.clone(),
        run_number: start.run_number,
        lease: lease.clone(),
    });
    let (progress, watched) = watch::channel(Vec::new());
    if !start.settle.is_empty() {
        let settled = settle::execute(&pipeline, &identity, &stores, &*commits, &start.settle);
        let outcome = tokio::select! {
            outcome = settled => outcome,
            ended = report_progress(masters, driver, watched, lease) => Err(ended),
        };
        drop(progress);
        return outcome;
    }
    let spill_directory = args.work_dir.join("spill");
    std::fs::create_dir_all(&spill_directory)?;
    let memory = usize::try_from(args.memory_bytes).unwrap_or(usize::MAX);
    let runtime = session::runtime(memory / 2, &spill_directory)?;
    let cores = usize::try_from(start.cores).unwrap_or(1);
    let policy = v1::TaskPolicy {
        speculation: pipeline.speculation,
        task_timeout_ms: pipeline.task_timeout_ms.unwrap_or_default(),
    };
    let runner = ClusterRunner::new(masters.clone(), driver.clone(), cores, stores.clone()).with_policy(policy);
    let runner = Arc::new(runner);
    let run = Run::new(pipeline, identity, stores, runtime, runner, commits, progress).told_to(lineage);

    let outcome = tokio::select! {
        outcome = run.execute(start.steps) => outcome,
        ended = report_progress(masters, driver, watched.clone(), lease) => return Err(ended),
    };
    let steps = watched.borrow().clone();
    send_last_picture(masters, driver, steps).await;
    outcome.map(|_| ())
}

/// When the submission was made, by the master's log: a driver that is launched again has the same. This moment when the
/// master does not say, being older.
fn moment(submitted_at_ms: u64) -> DateTime<Utc> {
    let submitted = i64::try_from(submitted_at_ms).ok().filter(|millis| *millis > 0);
    submitted.and_then(DateTime::from_timestamp_millis).unwrap_or_else(Utc::now)
}

fn client(channel: Channel) -> DriversClient<Channel> {
    DriversClient::new(channel)
        .max_decoding_message_size(lake_proto::channel::MAX_MESSAGE_BYTES)
        .max_encoding_message_size(lake_proto::channel::MAX_MESSAGE_BYTES)
}

/// The replicated log permits commits and keeps records.
struct AtMaster {
    masters: Masters,
    driver: DriverIdentity,
    run_number: u64,
    lease: Arc<Lease>,
}

#[async_trait]
impl Commits for AtMaster {
    async fn permit(&self, table: &str, inputs: &str) -> Result<u64> {
        let request = v1::PermitCommitRequest {
            driver: Some(self.driver.clone()),
            table: table.to_owned(),
            run_number: self.run_number,
            inputs: inputs.to_owned(),
        };
        let permit = self.masters.call(|channel| {
            let request = request.clone();
            async move { client(channel).permit_commit(traced(request)).await }
        });
        Ok(permit.await?.permit)
    }

    fn check(&self) -> Result<()> {
        self.lease.check()
    }

    async fn record(&self, step: StepRecord) -> Result<()> {
        let request = v1::RecordStepRequest { driver: Some(self.driver.clone()), step: Some(step) };
        let recorded = self.masters.call(|channel| {
            let request = request.clone();
            async move { client(channel).record_step(traced(request)).await }
        });
        recorded.await.map(|_| ())
    }

    fn keeps_records(&self) -> bool {
        true
    }
}

/// Sends the steps that changed, and a sign of life when none did: each answer renews the lease, and a driver that says
/// nothing for [`lake_proto::DRIVER_SILENCE`] counts as lost. All steps are sent again to a leader that has not had them.
/// Returns only when the master says that this driver is to end: killed, replaced by a newer one, or given up as lost.
async fn report_progress(
    masters: &Masters,
    driver: &DriverIdentity,
    mut watched: watch::Receiver<Vec<StepProgress>>,
    lease: &Lease,
) -> EngineError {
    let mut sent: Vec<StepProgress> = Vec::new();
    loop {
        let now = watched.borrow_and_update().clone();
        let changed: Vec<StepProgress> = now.iter().filter(|step| !sent.contains(step)).cloned().collect();
        let report = Report { is_complete: sent.is_empty(), steps: changed };
        let asked = lease.ask();
        let turn = masters.turn().await;
        let answer = tokio::time::timeout(REPORT_TIMEOUT, send_progress(masters, driver, &report)).await;
        tokio::time::sleep(REPORT_INTERVAL).await;
        match answer {
            Ok(Ok(v1::DriverProgressResponse { wants_all: true })) if !report.is_complete => {
                lease.renew(asked);
                sent = Vec::new();
            }
            Ok(Ok(_)) => {
                lease.renew(asked);
                sent = now;
                // A closed channel is the run's end, which the other branch of the select sees.
                let _ = tokio::time::timeout(SIGN_OF_LIFE, watched.changed()).await;
            }
            Ok(Err(error)) if is_told_to_end(error.class()) => return error,
            Ok(Err(error)) => tracing::debug!(error.code = error.code(), "progress was not taken: {error}"),
            Err(_) => {
                tracing::debug!("the master does not answer a report of progress");
                masters.forget(turn).await;
            }
        }
    }
}

/// Whether the master will never take anything from this driver again.
const fn is_told_to_end(class: ErrorClass) -> bool {
    matches!(class, ErrorClass::Cancelled | ErrorClass::Conflict | ErrorClass::Denied | ErrorClass::NotFound)
}

/// Steps of a run, for the master.
struct Report {
    steps: Vec<StepProgress>,
    /// They are all steps.
    is_complete: bool,
}

impl Report {
    fn request(&self, driver: &DriverIdentity) -> v1::DriverProgressRequest {
        let (driver, steps) = (Some(driver.clone()), self.steps.clone());
        v1::DriverProgressRequest { driver, steps, is_complete: self.is_complete }
    }
}

async fn send_progress(
    masters: &Masters,
    driver: &DriverIdentity,
    report: &Report,
) -> Result<v1::DriverProgressResponse> {
    let (channel, turn) = masters.reach().await?;
    match client(channel).report_progress(report.request(driver)).await {
        Ok(answer) => Ok(answer.into_inner()),
        Err(status) => {
            masters.redirect(turn, &status).await;
            Err(Fault::from(status).into())
        }
    }
}

/// The last picture, which the interval may have missed, and of which the leader makes the record of the run: also when
/// that is another one just now. Only a picture: its loss changes nothing.
async fn send_last_picture(masters: &Masters, driver: &DriverIdentity, steps: Vec<StepProgress>) {
    let request = Report { steps, is_complete: true }.request(driver);
    let sent = masters.call(|channel| {
        let request = request.clone();
        async move { client(channel).report_progress(request).await }
    });
    match tokio::time::timeout(LAST_REPORT_TIMEOUT, sent).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!(error.code = error.code(), "the last progress was not taken: {error}"),
        Err(_) => tracing::warn!("no master has taken the last progress in time"),
    }
}

#[cfg(test)]
mod tests {
    use lake_proto::DRIVER_LEASE;

    use super::*;

    #[test]
    fn the_lease_outlasts_two_masters_in_turn_that_do_not_answer() {
        assert!((SIGN_OF_LIFE + REPORT_INTERVAL + REPORT_TIMEOUT) * 2 < DRIVER_LEASE);
    }
}
