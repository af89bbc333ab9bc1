//! Workers as the masters know them: who registered with what, and whether they still count. Pure.
//!
//! Never here: heartbeats, cores in use, running tasks. Those live in memory on the leader.

use lake_proto::WorkerId;
use serde::{Deserialize, Serialize};

use crate::command::Registration;

/// One life of a worker process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// `worker-YYYYMMDDHHMMSS-HOST-PORT`.
    pub id: WorkerId,
    /// What it said of itself.
    pub registration: Registration,
    /// When it registered.
    pub registered_at_ms: u64,
    /// Whether it still counts.
    pub state: WorkerState,
}

impl Worker {
    /// Whether drivers and tasks may be given to it.
    pub fn is_alive(&self) -> bool {
        matches!(self.state, WorkerState::Alive)
    }
}

/// Names as in Spark's `WorkerState`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// Counts.
    Alive,
    /// Declared lost; the process must register again under a fresh id.
    Lost {
        /// When.
        at_ms: u64,
        /// Why, for people.
        reason: String,
    },
    /// It drained and has left, as somebody wanted.
    Decommissioned {
        /// When.
        at_ms: u64,
    },
}

impl WorkerState {
    /// The name on the wire.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Alive => "ALIVE",
            Self::Lost { .. } => "LOST",
            Self::Decommissioned { .. } => "DECOMMISSIONED",
        }
    }

    /// When it ceased to count; `None` while it does.
    pub const fn gone_at_ms(&self) -> Option<u64> {
        match self {
            Self::Alive => None,
            Self::Lost { at_ms, .. } | Self::Decommissioned { at_ms } => Some(*at_ms),
        }
    }
}
