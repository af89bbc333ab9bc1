//! What crosses between processes: messages, ids, error classes, the one way to open a channel; and what more than one
//! of our programs must say in the same words: quantities, pages, defaults.
//!
//! Never here: decisions. Pure, except for [`channel`], [`host`] and [`point`].

pub mod channel;
pub mod error;
pub mod host;
pub mod ids;
pub mod masters;
pub mod point;
pub mod quantity;
pub mod web;

/// Generated messages and services (`proto/*.proto`).
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes,
    reason = "generated code"
)]
pub mod v1 {
    tonic::include_proto!("lake.v1");
}

pub use error::{ErrorClass, Fault};
pub use ids::{AppId, DriverId, QueryId, SubmissionId, WorkerId};

/// Memory of a driver whose submission names none.
pub const DEFAULT_DRIVER_MEMORY_BYTES: u64 = 512 << 20;

/// Launches of a driver, the first one included, when the job says nothing.
pub const DEFAULT_MAX_ATTEMPTS: u32 = 3;
