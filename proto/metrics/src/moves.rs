//! What a member of the masters' group counts of its replicated log. Pure. One for the life of a process; what the state
//! machine did is counted by the member that led when it did it, so that the sum over the group is right.

use lake_proto::ErrorClass;

use crate::instrument::{ByClass, Counter, Gauge, Histogram};

const PROPOSAL_SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Last states of applications, by Spark's names.
pub(crate) const LAST_STATES: [&str; 4] = ["FINISHED", "FAILED", "KILLED", "ERROR"];

/// The counters.
#[derive(Debug)]
pub struct Moves {
    /// Times another member, or none, led than before, as seen here.
    pub leader_changes: Counter,
    /// From a proposal here to its application.
    pub proposal_seconds: Histogram,
    /// Snapshots of the state that were written, own ones and the leader's.
    pub snapshots: Counter,
    /// Size of the last one.
    pub snapshot_bytes: Gauge,
    /// Submissions that were accepted; a repeat is not one more.
    pub submissions: Counter,
    /// Drivers that were given to a worker.
    pub driver_launches: Counter,
    /// Drivers that will be started again, by why the last one ended.
    pub driver_relaunches: ByClass,
    /// Workers that registered under a new id.
    pub worker_registrations: Counter,
    /// Workers that were given up.
    pub worker_losses: Counter,
    /// Workers that drained and left.
    pub worker_departures: Counter,
    pub(crate) ended: [Counter; LAST_STATES.len()],
    pub(crate) failures: ByClass,
}

impl Default for Moves {
    fn default() -> Self {
        Self {
            leader_changes: Counter::default(),
            proposal_seconds: Histogram::new(PROPOSAL_SECONDS),
            snapshots: Counter::default(),
            snapshot_bytes: Gauge::default(),
            submissions: Counter::default(),
            driver_launches: Counter::default(),
            driver_relaunches: ByClass::default(),
            worker_registrations: Counter::default(),
            worker_losses: Counter::default(),
            worker_departures: Counter::default(),
            ended: Default::default(),
            failures: ByClass::default(),
        }
    }
}

impl Moves {
    /// A snapshot of so many bytes is on disk.
    pub fn snapshot_written(&self, bytes: usize) {
        self.snapshots.add_one();
        self.snapshot_bytes.set(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// An application is over, in this state and, when it was not success, because of an error of this class.
    pub fn application_ended(&self, state: &str, class: Option<ErrorClass>) {
        let counted = LAST_STATES.iter().zip(&self.ended).find(|(name, _)| **name == state);
        if let Some((_, counter)) = counted {
            counter.add_one();
        }
        if let Some(class) = class {
            self.failures.add_one(class);
        }
    }
}
