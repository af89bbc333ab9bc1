//! What follows one driver: waits for its turn, starts it, reports its start and its end. Edge.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use lake_proto::v1::{DriverExited, DriverStarted, DriverStatus, LaunchDriver, driver_status::Outcome};
use lake_proto::{AppId, DriverId, ErrorClass, Fault};
use tokio_util::sync::CancellationToken;

use super::process::{End, Process};
use super::{Drivers, GRACE, REMEMBERED, lock};

impl Drivers {
    /// Runs a driver from its start to its end, when the processes of its older epochs are gone.
    pub(super) async fn supervise(
        self: Arc<Self>,
        driver: DriverId,
        app: AppId,
        launch: LaunchDriver,
        stop: CancellationToken,
        older: Vec<CancellationToken>,
        life: u64,
    ) {
        for gone in older {
            gone.cancelled().await;
        }
        let exited = self.run(&driver, &app, &launch, &stop, life).await;
        let end = describe(&exited);
        tracing::info!(driver_id = %driver, app_id = %app, epoch = launch.epoch, end, "a driver ended");
        if life == self.life.load(Ordering::Acquire) {
            // In the outbox before it is off the list, so that no heartbeat misses both.
            self.report_end(&launch, exited);
        }
        if let Some(mut entry) = lock(&self.running).remove(&(driver, launch.epoch)) {
            entry.shown.end = Some(end);
            let mut ended = lock(&self.ended);
            ended.push_back(entry.shown);
            while ended.len() > REMEMBERED {
                ended.pop_front();
            }
            entry.gone.cancel();
        }
    }

    async fn run(
        &self,
        driver: &DriverId,
        app: &AppId,
        launch: &LaunchDriver,
        stop: &CancellationToken,
        life: u64,
    ) -> DriverExited {
        if stop.is_cancelled() {
            return failed(Fault::new(
                ErrorClass::Cancelled,
                "driver-killed",
                "the driver was killed before its start",
            ));
        }
        let started = self.work.driver(app, driver).and_then(|directory| {
            let arguments = (self.program.arguments)(launch, &directory);
            Process::start(&self.program.executable, &arguments, launch, &directory)
        });
        let process = match started {
            Ok(process) => process,
            Err(fault) => return failed(fault),
        };
        let pid = process.pid();
        tracing::info!(driver_id = %driver, app_id = %app, epoch = launch.epoch, pid, "a driver started");
        if let Some(entry) = lock(&self.running).get_mut(&(driver.clone(), launch.epoch)) {
            entry.shown.pid = pid;
        }
        if life == self.life.load(Ordering::Acquire) {
            self.report(launch, Outcome::Started(DriverStarted { pid }));
        }
        let end = process.wait(launch.memory_bytes, stop, GRACE).await;
        self.exited(end)
    }

    fn exited(&self, end: End) -> DriverExited {
        match end {
            End::Exited { code, signal } => {
                let stopped = self.stopping.load(Ordering::Acquire) && code != Some(0);
                DriverExited { exit_code: code, signal, failure: stopped.then(|| stopping().into()) }
            }
            End::OverMemory { limit_bytes, found_bytes, signal } => {
                let message = format!(
                    "the driver used {found_bytes} bytes of memory, more than its limit of {limit_bytes}: submit with \
                     a larger --driver-memory"
                );
                let fault = Fault::new(ErrorClass::Resource, "driver-memory", message);
                DriverExited { exit_code: None, signal, failure: Some(fault.into()) }
            }
            End::Unknown(fault) => failed(fault),
        }
    }

    /// Tells the master how a driver ended.
    pub(super) fn report_end(&self, launch: &LaunchDriver, exited: DriverExited) {
        self.report(launch, Outcome::Exited(exited));
    }

    fn report(&self, launch: &LaunchDriver, outcome: Outcome) {
        self.outbox.driver(DriverStatus {
            seq: 0,
            driver_id: launch.driver_id.clone(),
            epoch: launch.epoch,
            outcome: Some(outcome),
        });
    }
}

/// The end of a driver that never ran, or of which nothing else is known.
pub(super) fn failed(fault: Fault) -> DriverExited {
    DriverExited { exit_code: None, signal: 0, failure: Some(fault.into()) }
}

/// What a driver of a worker that was stopped ends with.
pub(super) fn stopping() -> Fault {
    Fault::new(ErrorClass::Unavailable, "worker-stopping", "the worker of this driver was stopped")
}

fn describe(exited: &DriverExited) -> String {
    let how = match (exited.exit_code, exited.signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, 0) => "not started".to_owned(),
        (None, signal) => format!("signal {signal}"),
    };
    exited.failure.as_ref().map_or_else(|| how.clone(), |failure| format!("{how}: {}", failure.message))
}
