//! Applications: one per submission, with the driver that runs it and every state it can be in. Pure.

use std::collections::BTreeMap;

use lake_proto::{
    AppId, DEFAULT_DRIVER_MEMORY_BYTES, DEFAULT_MAX_ATTEMPTS, DriverId, ErrorClass, Fault, SubmissionId, WorkerId,
};
use serde::{Deserialize, Serialize};

use crate::step::Step;

/// Launches beyond [`Application::max_attempts`] of drivers that only settle what earlier ones may have committed.
pub const SETTLING_LAUNCHES: u32 = 3;

/// Where the driver runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeployMode {
    /// On a worker that the master chooses.
    Cluster,
    /// In the submitting process.
    Client,
}

impl DeployMode {
    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Client => "client",
        }
    }
}

/// What the submitter chose. Part of the submission's identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Shown to people.
    pub name: String,
    /// Identity for exactly-once: run numbers are counted per job name.
    pub job_name: String,
    /// 0 = no cap.
    pub total_executor_cores: u32,
    /// 0 = [`DEFAULT_DRIVER_MEMORY_BYTES`].
    pub driver_memory_bytes: u64,
    /// Relaunch a driver that was lost or failed with a retryable class.
    pub supervise: bool,
    /// Launches at most; 0 = [`DEFAULT_MAX_ATTEMPTS`].
    pub max_attempts: u32,
    /// Where the driver runs.
    pub deploy_mode: DeployMode,
}

/// One submission and everything the masters keep of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Application {
    /// `app-YYYYMMDDHHMMSS-NNNN`.
    pub id: AppId,
    /// `driver-YYYYMMDDHHMMSS-NNNN`.
    pub driver: DriverId,
    /// The id its submitter made.
    pub submission: SubmissionId,
    /// SHA-256 over pipeline and options: what makes a second submission the same one.
    pub digest: String,
    /// What the submitter chose.
    pub options: Options,
    /// JSON of the pipeline, not looked into; dropped when the application has ended.
    pub pipeline: Option<String>,
    /// W3C trace context that the work for it belongs to; empty = none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub traceparent: String,
    /// The version in the Delta transaction id, the same for every attempt.
    pub run_number: u64,
    /// Log index of the submission: the order of the queue.
    pub queued_at: u64,
    /// When it was submitted.
    pub submitted_at_ms: u64,
    /// When a driver of it ran first.
    pub started_at_ms: Option<u64>,
    /// Driver launches so far.
    pub attempt: u32,
    /// What is remembered of them, the first one first; those of before this was kept are missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub launches: Vec<Launch>,
    /// What its steps left behind, by table.
    pub steps: BTreeMap<String, Step>,
    /// Steps that an attempt was permitted to commit and that are not on record, by table.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub permits: BTreeMap<String, Permit>,
    /// Why it ends, while a driver is still to find out what became of [`Self::unsettled`]: no step of it is run or
    /// permitted any more. See docs/adr/0005-fencing.md.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Fault>,
    /// Where it stands.
    pub phase: Phase,
}

/// The right to commit one step, given through the log before the commit: whoever lost the application cannot get it.
/// It is gone when the step is on record. One that was given cannot be taken back: whether its commit got in is decided
/// by the table's transaction alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permit {
    /// Log index of the permission.
    pub index: u64,
    /// The attempt that has it.
    pub epoch: u64,
    /// Digest of what the step has read; empty when the driver did not say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub inputs: String,
}

/// Names as in Spark's `DriverState`; what exists in one state only sits in its variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Waits for a worker.
    Submitted,
    /// A driver has it.
    Running(Attempt),
    /// The last driver was lost or may be tried again; waits for a worker.
    Relaunching {
        /// Why the last attempt ended.
        fault: Fault,
        /// When it ended.
        since_ms: u64,
        /// Not placed before.
        not_before_ms: u64,
        /// Worker of the last attempt: another one is preferred.
        last_worker: Option<WorkerId>,
        /// Epoch of the last attempt.
        last_epoch: u64,
    },
    /// Every step is committed.
    Finished(Ended),
    /// The driver said why not, or was lost too often.
    Failed {
        /// When and where.
        ended: Ended,
        /// Why.
        fault: Fault,
    },
    /// Ended on request.
    Killed(Ended),
    /// No driver could be started.
    Error {
        /// When and where.
        ended: Ended,
        /// Why.
        fault: Fault,
    },
}

/// One life of a driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Log index of the assignment: strictly increasing, so that an older driver is recognised and refused.
    pub epoch: u64,
    /// `None` in client mode.
    pub worker: Option<WorkerId>,
    /// When it was assigned.
    pub assigned_at_ms: u64,
    /// The process was seen running.
    pub is_started: bool,
    /// It was asked to end; the application is killed as soon as the process is gone.
    pub is_killing: bool,
    /// Why the attempt before it ended; `None` in the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relaunch_reason: Option<Fault>,
}

/// One launch of the driver, for people: nothing is decided by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// From 1.
    pub number: u32,
    /// Log index of the assignment.
    pub epoch: u64,
    /// `None` in client mode.
    pub worker: Option<WorkerId>,
    /// When it was assigned.
    pub launched_at_ms: u64,
    /// When its end was known; `None` while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at_ms: Option<u64>,
    /// How its process ended, as its worker says it, which may be after its end was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<ProcessEnd>,
    /// Why it ended, when it was not success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
}

/// The end of a driver process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessEnd {
    /// `None` when a signal ended it or it never ran.
    pub code: Option<i32>,
    /// 0 = none.
    pub signal: i32,
}

/// How an application's last attempt is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// When.
    pub at_ms: u64,
    /// Worker of the last attempt.
    pub worker: Option<WorkerId>,
    /// Epoch of the last attempt; 0 when there was none.
    pub epoch: u64,
}

impl Application {
    /// Memory its driver holds on a worker.
    pub const fn driver_memory_bytes(&self) -> u64 {
        match self.options.driver_memory_bytes {
            0 => DEFAULT_DRIVER_MEMORY_BYTES,
            bytes => bytes,
        }
    }

    /// Driver launches at most.
    pub const fn max_attempts(&self) -> u32 {
        match self.options.max_attempts {
            0 => DEFAULT_MAX_ATTEMPTS,
            attempts => attempts,
        }
    }

    /// Tables of the steps that an attempt was permitted to commit and of which nobody has said what came of them.
    pub fn unsettled(&self) -> impl Iterator<Item = &String> {
        self.permits.keys().filter(|table| !self.steps.contains_key(*table))
    }

    /// The attempt that has it now.
    pub const fn running(&self) -> Option<&Attempt> {
        match &self.phase {
            Phase::Running(attempt) => Some(attempt),
            Phase::Submitted
            | Phase::Relaunching { .. }
            | Phase::Finished(_)
            | Phase::Failed { .. }
            | Phase::Killed(_)
            | Phase::Error { .. } => None,
        }
    }

    /// Remembers that its driver is launched; the attempt is counted already. As many are kept as it may be launched.
    pub(crate) fn launch(&mut self, epoch: u64, worker: Option<WorkerId>, at_ms: u64) {
        let (number, launched_at_ms) = (self.attempt, at_ms);
        self.launches.push(Launch {
            number,
            epoch,
            worker,
            launched_at_ms,
            ended_at_ms: None,
            exit: None,
            fault: None,
        });
    }

    /// Remembers how the launch of `epoch` ended. The first word counts.
    pub(crate) fn launch_ended(&mut self, epoch: u64, at_ms: u64, fault: Option<Fault>) {
        let open = self.launches.iter_mut().find(|launch| launch.epoch == epoch && launch.ended_at_ms.is_none());
        if let Some(launch) = open {
            launch.ended_at_ms = Some(at_ms);
            launch.fault = fault;
        }
    }

    /// Remembers how the process of the launch of `epoch` ended. Whether that is news.
    pub(crate) fn process_ended(&mut self, epoch: u64, end: ProcessEnd) -> bool {
        let unknown = self.launches.iter_mut().find(|launch| launch.epoch == epoch && launch.exit.is_none());
        unknown.map(|launch| launch.exit = Some(end)).is_some()
    }

    /// Whether it waits for a worker.
    pub const fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Submitted | Phase::Relaunching { .. })
    }

    /// Checks that `epoch` is the one of the attempt that has the application now.
    ///
    /// # Errors
    /// `conflict`, code `stale-epoch`, when another attempt has it or none.
    pub fn check_epoch(&self, epoch: u64) -> Result<&Attempt, Fault> {
        match self.running() {
            Some(attempt) if attempt.epoch == epoch => Ok(attempt),
            Some(attempt) => Err(self.stale(epoch, &format!("epoch {} has it now", attempt.epoch))),
            None => Err(self.stale(epoch, &format!("the application is {}", self.phase.name()))),
        }
    }

    fn stale(&self, epoch: u64, found: &str) -> Fault {
        Fault::new(
            ErrorClass::Conflict,
            "stale-epoch",
            format!("{} of epoch {epoch} may not act any more: {found}; this driver must end", self.driver),
        )
    }
}

impl Phase {
    /// Spark's name of the state.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Submitted => "SUBMITTED",
            Self::Running(_) => "RUNNING",
            Self::Relaunching { .. } => "RELAUNCHING",
            Self::Finished(_) => "FINISHED",
            Self::Failed { .. } => "FAILED",
            Self::Killed(_) => "KILLED",
            Self::Error { .. } => "ERROR",
        }
    }

    /// When and where the last attempt ended, if it is over for good.
    pub const fn ended(&self) -> Option<&Ended> {
        match self {
            Self::Submitted | Self::Running(_) | Self::Relaunching { .. } => None,
            Self::Finished(ended) | Self::Killed(ended) | Self::Failed { ended, .. } | Self::Error { ended, .. } => {
                Some(ended)
            }
        }
    }

    /// Epoch of the current or last attempt; 0 when there was none.
    pub const fn epoch(&self) -> u64 {
        match self {
            Self::Submitted => 0,
            Self::Running(attempt) => attempt.epoch,
            Self::Relaunching { last_epoch, .. } => *last_epoch,
            Self::Finished(ended) | Self::Killed(ended) | Self::Failed { ended, .. } | Self::Error { ended, .. } => {
                ended.epoch
            }
        }
    }

    /// Worker of the current or last attempt.
    pub const fn worker(&self) -> Option<&WorkerId> {
        match self {
            Self::Submitted => None,
            Self::Running(attempt) => attempt.worker.as_ref(),
            Self::Relaunching { last_worker, .. } => last_worker.as_ref(),
            Self::Finished(ended) | Self::Killed(ended) | Self::Failed { ended, .. } | Self::Error { ended, .. } => {
                ended.worker.as_ref()
            }
        }
    }

    /// Why the attempt before ended, while another one is waited for or runs.
    pub const fn relaunch_reason(&self) -> Option<&Fault> {
        match self {
            Self::Running(attempt) => attempt.relaunch_reason.as_ref(),
            Self::Relaunching { fault, .. } => Some(fault),
            Self::Submitted | Self::Finished(_) | Self::Failed { .. } | Self::Killed(_) | Self::Error { .. } => None,
        }
    }

    /// Why the last attempt ended, when it was not success.
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::Submitted | Self::Running(_) | Self::Finished(_) => None,
            Self::Relaunching { fault, .. } | Self::Failed { fault, .. } | Self::Error { fault, .. } => {
                Some(fault.clone())
            }
            Self::Killed(_) => Some(killed()),
        }
    }
}

/// Why a killed application, and its driver, ended.
pub(crate) fn killed() -> Fault {
    Fault::new(ErrorClass::Cancelled, "killed", "the application was killed on request")
}
