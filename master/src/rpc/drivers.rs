//! What drivers call. Edge. Every call is fenced by the driver's epoch.

use std::sync::Arc;
use std::time::Duration;

use lake_master_core::{Application, Attempt, Command, Event, State, Step, Timeouts};
use lake_proto::v1::drivers_server::Drivers;
use lake_proto::{AppId, DriverId, ErrorClass, Fault, v1};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{Answers, invalid, stopping, until_stopped};
use crate::master::Master;
use crate::reign::Reign;

/// How long a query that is attached waits for what workers have of it.
const REPORTS_WITHIN: Duration = Duration::from_secs(15);
/// From the moment at which a worker counts as lost until the masters have agreed on it: the leader's next look, and a
/// write on the disks of a majority.
const AGREED_WITHIN: Duration = Duration::from_secs(2);
// Shorter, a query would go on before it is decided whether a worker comes back to a new leader, and what one that is
// merely late holds and runs of it would be done again.
const _: () = {
    let recovery = Duration::from_millis(Timeouts::DEFAULT.recovery_ms);
    assert!(REPORTS_WITHIN.as_millis() >= recovery.as_millis() + AGREED_WITHIN.as_millis());
};
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(super) struct Service {
    master: Arc<Master>,
}

impl Service {
    pub(super) const fn new(master: Arc<Master>) -> Self {
        Self { master }
    }

    /// Who calls, by the words of the request alone.
    fn caller(&self, identity: Option<&v1::DriverIdentity>) -> Result<(DriverId, u64), Fault> {
        self.master.raft.check_leader()?;
        let identity = identity.ok_or_else(|| invalid("the call names no driver".to_owned()))?;
        let driver = identity.driver_id.parse().map_err(|error| invalid(format!("{error}")))?;
        Ok((driver, identity.epoch))
    }

    /// Lets the attempt that has the application now look at it, unless it is to end.
    fn admitted<R>(&self, driver: &DriverId, epoch: u64, look: impl FnOnce(&Application) -> R) -> Result<R, Fault> {
        let looked: Result<R, Fault> = self.master.raft.read(|state| {
            let application = state.application_of(driver).ok_or_else(|| unknown(driver))?;
            let attempt = application.check_epoch(epoch)?;
            check_wanted(application, attempt)?;
            Ok(look(application))
        });
        let looked = looked?;
        self.master.reign().fleet.driver_called(driver);
        Ok(looked)
    }

    fn runner(&self, identity: Option<&v1::DriverIdentity>) -> Result<Runner, Fault> {
        let (driver, epoch) = self.caller(identity)?;
        self.admitted(&driver, epoch, |application| {
            let cap = application.options.total_executor_cores;
            Runner { app: application.id.clone(), cap: (cap > 0).then_some(cap) }
        })
    }

    /// A step that was on record before is not one more.
    fn count_step(&self, driver: &DriverId, step: &v1::StepRecord, events: &[Event]) {
        if events.iter().any(|event| matches!(event, Event::StepRecorded { is_repeat: false, .. })) {
            let job = |state: &State| state.application_of(driver).map(|app| app.options.job_name.clone());
            self.master.tally.step_recorded(&self.master.raft.read(job).unwrap_or_default(), step);
        }
    }

    /// Waits until every worker has told what it holds, or was given up. One that takes too long is not waited for: what
    /// it holds is made again, and what it runs is told to end when it comes.
    async fn wait_for_reports(&self, reign: &Reign) -> Result<(), Fault> {
        let give_up = Instant::now() + REPORTS_WITHIN;
        // A worker that is given up rings no bell here: the state is looked at.
        let mut looks = tokio::time::interval(LOOK_EVERY);
        while !self.master.raft.read(|state| reign.fleet.is_complete(state)) && Instant::now() < give_up {
            tokio::select! {
                () = reign.stop.cancelled() => return Err(stopping()),
                _ = looks.tick() => {}
            }
        }
        Ok(())
    }
}

#[tonic::async_trait]
impl Drivers for Service {
    type RunQueryStream = Answers<v1::QueryEvent>;
    type AttachQueryStream = Answers<v1::QueryEvent>;

    async fn start(
        &self,
        request: Request<v1::DriverStartRequest>,
    ) -> Result<Response<v1::DriverStartResponse>, Status> {
        let (driver, epoch) = self.caller(request.get_ref().driver.as_ref())?;
        self.master.confirm().await?;
        let total = self.master.reign().scheduler.total_cores();
        Ok(Response::new(self.admitted(&driver, epoch, |application| answer(application, total))?))
    }

    /// The answer renews the driver's lease.
    async fn report_progress(
        &self,
        request: Request<v1::DriverProgressRequest>,
    ) -> Result<Response<v1::DriverProgressResponse>, Status> {
        let request = request.into_inner();
        let (driver, epoch) = self.caller(request.driver.as_ref())?;
        self.master.confirm().await?;
        let app = self.admitted(&driver, epoch, |application| application.id.clone())?;
        let wants_all = self.master.reign().progress.report(&app, request.steps, request.is_complete);
        Ok(Response::new(v1::DriverProgressResponse { wants_all }))
    }

    async fn permit_commit(
        &self,
        request: Request<v1::PermitCommitRequest>,
    ) -> Result<Response<v1::PermitCommitResponse>, Status> {
        let request = request.into_inner();
        let (driver, epoch) = self.caller(request.driver.as_ref())?;
        let v1::PermitCommitRequest { table, run_number, inputs, .. } = request;
        let command = Command::PermitCommit { driver, epoch, table, run_number, inputs };
        let events = self.master.raft.propose(command).await?;
        let permit = events.into_iter().find_map(|event| match event {
            Event::CommitPermitted { permit, .. } => Some(permit),
            _ => None,
        });
        let permit = permit.ok_or_else(|| Fault::new(ErrorClass::Internal, "internal", "no permission came of it"))?;
        Ok(Response::new(v1::PermitCommitResponse { permit }))
    }

    async fn record_step(&self, request: Request<v1::RecordStepRequest>) -> Result<Response<v1::Ack>, Status> {
        let request = request.into_inner();
        let (driver, epoch) = self.caller(request.driver.as_ref())?;
        let step = request.step.ok_or_else(|| invalid(format!("{driver} recorded no step")))?;
        // A driver that is to end may still record what it has committed, so only the state machine's fence counts.
        let command = Command::RecordStep { driver: driver.clone(), epoch, step: Step::from(step.clone()) };
        let events = self.master.raft.propose(command).await?;
        self.count_step(&driver, &step, &events);
        Ok(Response::new(v1::Ack {}))
    }

    async fn finish(&self, request: Request<v1::DriverFinishRequest>) -> Result<Response<v1::Ack>, Status> {
        let request = request.into_inner();
        let (driver, epoch) = self.caller(request.driver.as_ref())?;
        let failure = request.failure.map(Fault::from);
        self.master.raft.propose(Command::DriverFinished { driver, epoch, failure }).await?;
        Ok(Response::new(v1::Ack {}))
    }

    async fn run_query(&self, request: Request<v1::RunQueryRequest>) -> Result<Response<Self::RunQueryStream>, Status> {
        let request = request.into_inner();
        let caller = self.runner(request.driver.as_ref())?;
        let reign = self.master.reign();
        self.master.tally.query_accepted();
        // Planning is a large future; it lives on the heap.
        let events = Box::pin(reign.scheduler.run_query(caller.app, caller.cap, request)).await?;
        Ok(Response::new(relayed(&reign, events)))
    }

    async fn attach_query(
        &self,
        request: Request<v1::AttachQueryRequest>,
    ) -> Result<Response<Self::AttachQueryStream>, Status> {
        let request = request.into_inner();
        let identity = request.query.as_ref().and_then(|query| query.driver.as_ref());
        let caller = self.runner(identity)?;
        let reign = self.master.reign();
        self.wait_for_reports(&reign).await?;
        let events = Box::pin(reign.scheduler.attach_query(caller.app, caller.cap, request)).await?;
        Ok(Response::new(relayed(&reign, events)))
    }
}

/// Who runs a query.
struct Runner {
    app: AppId,
    cap: Option<u32>,
}

/// The query's events until this master does not lead any more.
fn relayed(reign: &Reign, events: mpsc::Receiver<v1::QueryEvent>) -> Answers<v1::QueryEvent> {
    until_stopped(ReceiverStream::new(events).map(Ok), reign.stop.clone())
}

fn answer(application: &Application, total_cores: u32) -> v1::DriverStartResponse {
    let options = &application.options;
    let cores = match options.total_executor_cores {
        0 => total_cores,
        cap => total_cores.min(cap),
    };
    v1::DriverStartResponse {
        app_id: application.id.to_string(),
        run_number: application.run_number,
        attempt: application.attempt,
        pipeline: application.pipeline.clone().unwrap_or_default().into(),
        options: Some(v1::SubmitOptions {
            name: options.name.clone(),
            job_name: options.job_name.clone(),
            total_executor_cores: options.total_executor_cores,
            driver_memory_bytes: application.driver_memory_bytes(),
            supervise: options.supervise,
            max_attempts: application.max_attempts(),
            deploy_mode: options.deploy_mode.name().to_owned(),
        }),
        steps: application.steps.values().cloned().map(Into::into).collect(),
        cores: cores.max(1),
        submitted_at_ms: application.submitted_at_ms,
        settle: match &application.ending {
            Some(_) => application.unsettled().cloned().collect(),
            None => Vec::new(),
        },
    }
}

fn check_wanted(application: &Application, attempt: &Attempt) -> Result<(), Fault> {
    if attempt.is_killing {
        let message = format!("{} was killed on request; this driver must end", application.id);
        return Err(Fault::new(ErrorClass::Cancelled, "killed", message));
    }
    Ok(())
}

fn unknown(driver: &DriverId) -> Fault {
    Fault::new(ErrorClass::NotFound, "no-such-driver", format!("{driver} is not known to this cluster"))
}

#[cfg(test)]
mod tests {
    use lake_proto::MASTER_SEARCH;
    use lake_scheduler::SchedulerSettings;

    use super::*;

    #[test]
    fn what_is_left_of_a_query_is_kept_until_its_driver_has_found_the_leader_and_waited_for_the_workers() {
        // Else a driver that finds its leader late would have all of its query run again, for nothing.
        assert!(SchedulerSettings::default().attach_grace >= MASTER_SEARCH + REPORTS_WITHIN);
    }
}
