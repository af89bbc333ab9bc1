//! What the leader sees but never replicates: streams, heartbeats, drivers that workers report. Pure values.

use std::collections::BTreeMap;

use lake_proto::{DRIVER_SILENCE, DriverId, WorkerId};

/// How long silence is borne.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// A worker without heartbeat or stream.
    pub worker_ms: u64,
    /// A worker that has not come back to a new leader.
    pub recovery_ms: u64,
    /// A driver that its attached worker does not report.
    pub driver_ms: u64,
    /// A driver that does not call: longer than its lease, so that it has ended itself by then if it lives.
    pub silence_ms: u64,
    /// A driver process that has reported its end may take this long to be gone.
    pub linger_ms: u64,
}

impl Timeouts {
    /// What leaders use.
    pub const DEFAULT: Self = Self {
        worker_ms: 4_000,
        recovery_ms: 10_000,
        driver_ms: 6_000,
        silence_ms: DRIVER_SILENCE.as_secs() * 1_000,
        linger_ms: 5_000,
    };
}

impl Default for Timeouts {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Everything seen at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// Now.
    pub now_ms: u64,
    /// When this leader began to lead.
    pub leading_since_ms: u64,
    /// Workers that have attached to this leader.
    pub workers: BTreeMap<WorkerId, ObservedWorker>,
    /// Workers at whose address a probe found nobody listening.
    pub unreachable: Vec<WorkerId>,
    /// Last call of each driver.
    pub calls: BTreeMap<DriverId, u64>,
    /// How long silence is borne.
    pub timeouts: Timeouts,
}

/// One worker as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObservedWorker {
    /// Its stream is open.
    pub is_attached: bool,
    /// It takes nothing new and waits to be released.
    pub is_draining: bool,
    /// When the stream was opened last.
    pub attached_at_ms: u64,
    /// Last message of any kind.
    pub heard_at_ms: u64,
    /// Last message that listed its drivers: registration or heartbeat.
    pub reported_at_ms: u64,
    /// The drivers it listed last, with their epochs.
    pub drivers: BTreeMap<DriverId, u64>,
    /// Since the stream was opened: epoch, and when it was sent there or listed last.
    pub seen: BTreeMap<DriverId, Seen>,
}

/// Last sign of a driver on its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its attempt.
    pub epoch: u64,
    /// When it was sent or listed last.
    pub at_ms: u64,
}

impl ObservedWorker {
    /// Whether it lists this attempt.
    pub fn lists(&self, driver: &DriverId, epoch: u64) -> bool {
        self.drivers.get(driver) == Some(&epoch)
    }

    /// When this attempt was sent or listed last since the stream was opened.
    pub fn seen_at_ms(&self, driver: &DriverId, epoch: u64) -> Option<u64> {
        self.seen.get(driver).filter(|seen| seen.epoch == epoch).map(|seen| seen.at_ms)
    }
}
