//! What crosses between processes: messages, ids, error classes, and the one way to open a channel.
//!
//! Never here: decisions. Pure, except for [`channel`].

pub mod channel;
pub mod error;
pub mod ids;

/// Generated messages and services (`proto/*.proto`).
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, clippy::allow_attributes)]
pub mod v1 {
    tonic::include_proto!("lake.v1");
}

pub use error::{ErrorClass, Fault};
pub use ids::{AppId, DriverId, QueryId, SubmissionId, WorkerId};
