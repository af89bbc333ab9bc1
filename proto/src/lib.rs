//! What crosses between processes: messages, ids, error classes, the one way to open a channel; and what more than one
//! of our programs must say in the same words: quantities, pages, defaults, how long silence is borne.
//!
//! Never here: decisions. Pure, except for [`channel`], [`host`], [`last_word`] and [`point`].

pub mod app_name;
pub mod channel;
pub mod codes;
pub mod error;
pub mod host;
pub mod ids;
pub mod last_word;
pub mod masters;
pub mod point;
pub mod quantity;
pub mod visible;

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

use std::time::Duration;

/// A driver that no confirmed leader has heard for so long ends itself, measured on a clock that counts suspended time.
pub const DRIVER_LEASE: Duration = Duration::from_secs(15);

/// A driver that the leader has not heard for so long is given up. Longer than [`DRIVER_LEASE`] by more than clocks and
/// messages can be late, so that a driver that lives has ended itself before its successor starts.
pub const DRIVER_SILENCE: Duration = Duration::from_secs(30);

/// A driver whose query has lost its master looks so long for one that takes it; then the query counts as lost.
pub const MASTER_SEARCH: Duration = Duration::from_secs(30);

/// Memory of a driver whose submission names none.
pub const DEFAULT_DRIVER_MEMORY_BYTES: u64 = 512 << 20;

/// What processes that run the engine log when nothing else is asked for, as a `tracing` filter. The engines below ours
/// tell every file that they look at, and Ballista every lost fetch as an error of its own; what the log reader says, with
/// pages of backtrace, is in the error that it returns.
pub const LOG_FILTER: &str = "info,ballista_core=error,buoyant_kernel=off,datafusion=warn,deltalake=warn";
/// As [`LOG_FILTER`], where only errors are wanted.
pub const ERROR_LOG_FILTER: &str = "error,buoyant_kernel=off";

/// Launches of a driver, the first one included, when the job says nothing.
pub const DEFAULT_MAX_ATTEMPTS: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_has_ended_itself_long_before_it_is_given_up() {
        assert!(DRIVER_LEASE + Duration::from_secs(10) <= DRIVER_SILENCE);
    }
}
