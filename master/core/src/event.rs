//! What applying a command did. Pure. Events are answers and log lines, never a source of state.

use lake_proto::{AppId, DriverId, Fault, WorkerId};

/// One consequence of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The application is known under these ids.
    Submitted {
        /// Its id.
        app: AppId,
        /// Its driver's id.
        driver: DriverId,
        /// Client mode: the epoch of the submitter as driver; 0 otherwise.
        epoch: u64,
        /// It was known before: nothing changed.
        is_repeat: bool,
    },
    /// A driver was given to a worker.
    DriverAssigned {
        /// Whose driver.
        app: AppId,
        /// Where to.
        worker: WorkerId,
        /// Log index of the assignment.
        epoch: u64,
    },
    /// A driver runs.
    DriverStarted {
        /// Whose driver.
        app: AppId,
    },
    /// A driver may commit a step.
    CommitPermitted {
        /// Of which application.
        app: AppId,
        /// The step's table.
        table: String,
        /// Log index of the permission, or of the first one of the attempt.
        permit: u64,
    },
    /// A step is on record.
    StepRecorded {
        /// Of which application.
        app: AppId,
        /// Its table.
        table: String,
        /// How it ended: `COMMITTED`, `SKIPPED` and their like.
        outcome: String,
        /// The table's version after it.
        version: i64,
        /// It was known before: the first record stays.
        is_repeat: bool,
    },
    /// How the process of a driver ended that had said itself that it was over.
    DriverExitRecorded {
        /// Which driver.
        driver: DriverId,
        /// Its attempt.
        epoch: u64,
        /// `None` when a signal ended it or it never ran.
        code: Option<i32>,
        /// 0 = none.
        signal: i32,
    },
    /// The driver will be started again.
    Relaunching {
        /// Whose driver.
        app: AppId,
        /// Why the last one ended.
        fault: Fault,
    },
    /// A running driver was asked to end.
    Killing {
        /// Whose driver.
        app: AppId,
    },
    /// An application is over.
    Ended {
        /// Which.
        app: AppId,
        /// Spark's name of its last state.
        state: &'static str,
        /// Why, when it was not success.
        fault: Option<Fault>,
    },
    /// An application was dropped, to keep the state small or on request.
    Forgotten {
        /// Which.
        app: AppId,
    },
    /// A worker takes part under this id.
    WorkerRegistered {
        /// Its id.
        worker: WorkerId,
        /// It was known before: nothing changed.
        is_repeat: bool,
    },
    /// A known worker is attached again.
    WorkerBack {
        /// Which.
        worker: WorkerId,
    },
    /// A worker does not count any more.
    WorkerLost {
        /// Which.
        worker: WorkerId,
        /// What was seen.
        reason: String,
    },
    /// A worker that drained is gone.
    WorkerLeft {
        /// Which.
        worker: WorkerId,
    },
    /// Late or repeated news that changes nothing.
    Ignored {
        /// Why.
        reason: String,
    },
    /// The command was refused; nothing changed.
    Rejected(Fault),
}
