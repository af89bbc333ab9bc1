//! Drivers: child processes of this worker, one per submission, each in its own process group. Edge.
//!
//! A supervisor task per driver starts it, reports its start and its end, and ends its group when told. It does not
//! notice that the master is gone. What a driver prints goes to files, so that nothing waits for a reader.

mod process;
mod supervisor;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use lake_proto::v1::{LaunchDriver, RunningDriver};
use lake_proto::{AppId, DriverId, ErrorClass, Fault};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::supervisor::{failed, stopping};
use crate::config::LogFormat;
use crate::driver_mode::arguments;
use crate::registration::outbox::Outbox;
use crate::workdir::WorkDir;

/// Ended drivers the page remembers.
const REMEMBERED: usize = 100;
/// Time between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(10);

/// What a driver is started with. Its arguments follow from the launch and the driver's directory.
pub struct Program {
    /// What to run.
    pub executable: PathBuf,
    /// Its arguments.
    pub arguments: Arguments,
}

/// Arguments from the launch and the driver's directory.
pub type Arguments = Box<dyn Fn(&LaunchDriver, &Path) -> Vec<OsString> + Send + Sync>;

impl Program {
    /// This executable in child mode: `lake-worker driver …`, with this shape and filter of its log.
    ///
    /// # Errors
    /// `internal` when the executable's path cannot be found.
    pub fn this_executable(log_format: LogFormat, log_level: String) -> Result<Self, Fault> {
        let executable = std::env::current_exe().map_err(|error| {
            Fault::new(ErrorClass::Internal, "executable", format!("cannot find this executable: {error}"))
        })?;
        let arguments =
            move |launch: &LaunchDriver, directory: &Path| arguments(launch, directory, log_format, &log_level);
        Ok(Self { executable, arguments: Box::new(arguments) })
    }
}

/// One driver, for people.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Its id.
    pub driver_id: String,
    /// Its application.
    pub app_id: String,
    /// The log index of its assignment.
    pub epoch: u64,
    /// Process id; 0 before the start.
    pub pid: u32,
    /// Memory it was promised; 0 is no limit.
    pub memory_bytes: u64,
    /// When it was launched.
    pub since: SystemTime,
    /// How it ended; `None` while it runs.
    pub end: Option<String>,
}

#[derive(Debug)]
struct Entry {
    shown: Shown,
    stop: CancellationToken,
    gone: CancellationToken,
}

/// The drivers of this worker.
pub struct Drivers {
    program: Program,
    work: Arc<WorkDir>,
    outbox: Arc<Outbox>,
    running: Mutex<BTreeMap<(DriverId, u64), Entry>>,
    ended: Mutex<VecDeque<Shown>>,
    stopping: AtomicBool,
    // Grows when the master gives this worker up: drivers of an earlier life report nothing.
    life: AtomicU64,
    service: Handle,
    tracker: TaskTracker,
}

impl Drivers {
    /// No driver yet. Must be called on the service runtime.
    pub fn new(program: Program, work: Arc<WorkDir>, outbox: Arc<Outbox>) -> Arc<Self> {
        Arc::new(Self {
            program,
            work,
            outbox,
            running: Mutex::default(),
            ended: Mutex::default(),
            stopping: AtomicBool::new(false),
            life: AtomicU64::new(0),
            service: Handle::current(),
            tracker: TaskTracker::new(),
        })
    }

    /// Starts a driver. A repeat of one that runs, or an older epoch of it, changes nothing; a newer epoch ends the
    /// older process first.
    pub fn launch(self: &Arc<Self>, launch: LaunchDriver) {
        let (driver, app) = match ids(&launch) {
            Ok(ids) => ids,
            Err(fault) => {
                tracing::error!(driver_id = launch.driver_id, error = %fault, "a driver was not started");
                return self.report_end(&launch, failed(fault));
            }
        };
        if self.stopping.load(Ordering::Acquire) {
            return self.report_end(&launch, failed(stopping()));
        }
        let entry = Entry {
            shown: Shown {
                driver_id: driver.to_string(),
                app_id: app.to_string(),
                epoch: launch.epoch,
                pid: 0,
                memory_bytes: launch.memory_bytes,
                since: SystemTime::now(),
                end: None,
            },
            stop: CancellationToken::new(),
            gone: CancellationToken::new(),
        };
        let stop = entry.stop.clone();
        let mut older = Vec::new();
        {
            let mut running = lock(&self.running);
            for ((_, epoch), entry) in running.range((driver.clone(), 0)..=(driver.clone(), u64::MAX)) {
                if *epoch >= launch.epoch {
                    return;
                }
                entry.stop.cancel();
                older.push(entry.gone.clone());
            }
            running.insert((driver.clone(), launch.epoch), entry);
        }
        let life = self.life.load(Ordering::Acquire);
        let supervised = Arc::clone(self).supervise(driver, app, launch, stop, older, life);
        self.tracker.spawn_on(supervised, &self.service);
    }

    /// Ends a driver's process group, up to and including this epoch. Nothing happens to one that is not running.
    pub fn kill(&self, driver_id: &str, epoch: u64) {
        let Ok(driver) = driver_id.parse::<DriverId>() else { return };
        for (_, entry) in lock(&self.running).range((driver.clone(), 0)..=(driver, epoch)) {
            entry.stop.cancel();
        }
    }

    /// What runs now, for the master.
    pub fn running(&self) -> Vec<RunningDriver> {
        let running = lock(&self.running);
        running.keys().map(|(driver, epoch)| RunningDriver { driver_id: driver.to_string(), epoch: *epoch }).collect()
    }

    /// Whether a process of this driver runs or is about to.
    pub fn is_running(&self, driver: &DriverId) -> bool {
        lock(&self.running).range((driver.clone(), 0)..=(driver.clone(), u64::MAX)).next().is_some()
    }

    /// Running drivers and the last that ended, for people.
    pub fn shown(&self) -> Vec<Shown> {
        let mut shown: Vec<Shown> = lock(&self.running).values().map(|entry| entry.shown.clone()).collect();
        shown.extend(lock(&self.ended).iter().rev().cloned());
        shown
    }

    /// Ends all drivers because the master no longer knows this worker; nothing is reported. Returns when they have
    /// ended, or after `patience`.
    pub async fn abandon(&self, patience: Duration) {
        self.life.fetch_add(1, Ordering::AcqRel);
        self.end_all(patience).await;
    }

    /// Takes no more drivers and ends the running ones; each is reported as lost with the worker.
    pub async fn stop(&self, patience: Duration) {
        self.stopping.store(true, Ordering::Release);
        self.end_all(patience).await;
    }

    async fn end_all(&self, patience: Duration) {
        for entry in lock(&self.running).values() {
            entry.stop.cancel();
        }
        self.tracker.close();
        let idle = tokio::time::timeout(patience, self.tracker.wait()).await;
        self.tracker.reopen();
        if idle.is_err() {
            tracing::warn!(drivers = lock(&self.running).len(), "drivers did not end in time");
        }
    }
}

fn ids(launch: &LaunchDriver) -> Result<(DriverId, AppId), Fault> {
    let invalid = |error: &dyn std::fmt::Display| Fault::new(ErrorClass::InvalidJob, "driver-id", error.to_string());
    let driver = launch.driver_id.parse().map_err(|error| invalid(&error))?;
    let app = launch.app_id.parse().map_err(|error| invalid(&error))?;
    Ok((driver, app))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
