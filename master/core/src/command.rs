//! What may change the state. Pure.
//!
//! Commands are log entries: variants and fields are added, never renamed, and a new field has a default. The bytes
//! of old entries are test data in [`crate::codec`].

use lake_proto::{AppId, DriverId, Fault, SubmissionId, WorkerId};
use serde::{Deserialize, Serialize};

use crate::admission::QueueBound;
use crate::application::Options;
use crate::step::Step;

/// A command with the time its proposer read and the place the log gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamped {
    /// The proposing leader's clock.
    pub at_ms: u64,
    /// Index in the log: strictly increasing, the same on every replica.
    pub index: u64,
    /// What to do.
    pub command: Command,
}

/// Everything that can happen to the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Accept an application. A repeat with the same content answers as the first did.
    Submit(Submission),
    /// Give a waiting driver to a worker; the entry's index becomes the driver's epoch.
    AssignDriver {
        /// Which driver.
        driver: DriverId,
        /// Where to.
        worker: WorkerId,
    },
    /// The worker has started the process.
    DriverStarted {
        /// Which driver.
        driver: DriverId,
        /// Its attempt.
        epoch: u64,
    },
    /// A step is about to commit. A repeat with the same inputs answers as the first did; with others it is another
    /// permission, which takes the place of the first.
    PermitCommit {
        /// Which driver.
        driver: DriverId,
        /// Its attempt.
        epoch: u64,
        /// The table of the step.
        table: String,
        /// The run that the driver believes to be; 0 when it does not say.
        #[serde(default, skip_serializing_if = "is_zero")]
        run_number: u64,
        /// Digest of what the step has read; empty when the driver does not say.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        inputs: String,
    },
    /// A step has left its mark. The first record of a table stays.
    RecordStep {
        /// Which driver.
        driver: DriverId,
        /// Its attempt.
        epoch: u64,
        /// The record.
        step: Step,
    },
    /// The driver said how it ended.
    DriverFinished {
        /// Which driver.
        driver: DriverId,
        /// Its attempt.
        epoch: u64,
        /// `None` = success.
        failure: Option<Fault>,
    },
    /// The worker says that the process is gone.
    DriverExited {
        /// Which driver.
        driver: DriverId,
        /// Its attempt.
        epoch: u64,
        /// How.
        exit: Exit,
    },
    /// The leader found that nobody has the driver any more.
    DriverLost {
        /// Which driver.
        driver: DriverId,
        /// Its attempt.
        epoch: u64,
        /// What was seen, for people.
        reason: String,
    },
    /// End an application on request.
    Kill {
        /// Which.
        app: AppId,
    },
    /// A worker process wants to take part. A repeat by the same instance gets the same id.
    WorkerRegistered(Registration),
    /// A known worker has opened its stream again.
    WorkerBack {
        /// Which.
        worker: WorkerId,
    },
    /// A worker was not heard of for too long; its drivers are relaunched elsewhere.
    WorkerLost {
        /// Which.
        worker: WorkerId,
        /// What was seen, for people.
        reason: String,
    },
    /// A worker that drained is gone. Drivers that its time to drain was too short for are relaunched elsewhere.
    WorkerLeft {
        /// Which.
        worker: WorkerId,
    },
    /// Drop applications on request. Those that have not ended, or are not known, stay as they are.
    Forget {
        /// Which.
        apps: Vec<AppId>,
    },
}

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// UUIDv7 made by the client.
    pub id: SubmissionId,
    /// JSON of the pipeline, not looked into.
    pub pipeline: String,
    /// What the submitter chose.
    pub options: Options,
    /// What the queue may hold, as the proposing leader has it; `None` in entries of before there was a bound. Not part
    /// of the content that makes two submissions the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<QueueBound>,
    /// W3C trace context that the work for it belongs to; empty = none. Not part of that content either.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub traceparent: String,
}

/// What a worker says of itself when it registers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Fresh per process start and per registration after a rejection.
    pub instance: String,
    /// Where others reach it.
    pub host: String,
    /// Its gRPC port.
    pub grpc_port: u16,
    /// Its Arrow Flight port.
    pub flight_port: u16,
    /// Its page.
    pub http_port: u16,
    /// Cores it offers to tasks.
    pub cores: u32,
    /// Memory it offers to drivers.
    pub memory_bytes: u64,
}

/// How a driver process ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Exit {
    /// `None` when a signal ended it or it never ran.
    pub code: Option<i32>,
    /// 0 = none.
    pub signal: i32,
    /// The worker's finding: it could not be started, or was ended by its memory limit.
    pub fault: Option<Fault>,
}

/// Serde asks with a reference.
const fn is_zero(number: &u64) -> bool {
    *number == 0
}
