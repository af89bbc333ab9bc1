//! What the integration tests stand on: real daemons, a real PostgreSQL server, a real S3 endpoint, and readers of the
//! results that we did not write.
//!
//! Rooms: [`process`] (starting and ending programs), [`cluster`] (workers and their [`masters`]), [`submit`] (`lake-submit`),
//! [`postgres`], [`s3`], [`proxy`] (connections that break), [`oracle`] (reading tables back with Python's deltalake),
//! [`http`] (our web pages), [`browser`] (the same with a real browser), [`schema`] (whether JSON fits a schema),
//! [`collector`] (what is told to others), [`fixture`] (input files and jobs), [`gated`] (a job that stops in its middle),
//! [`history`] (history files).
//! Never here: mocks of our own daemons, sleeps; [`wait_for`] waits for conditions.

pub mod browser;
pub mod cluster;
pub mod collector;
pub mod fixture;
pub mod gated;
pub mod history;
pub mod http;
pub mod masters;
pub mod oracle;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod s3;
pub mod schema;
pub mod submit;

use std::time::{Duration, Instant};

/// How long anything in a test may take before it has failed.
pub const DEADLINE: Duration = Duration::from_secs(120);

const POLL: Duration = Duration::from_millis(20);

/// Asks until `condition` has an answer.
///
/// # Errors
/// When there is none within `deadline`; the message names `what`.
pub fn wait_for<T>(what: &str, deadline: Duration, mut condition: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    let started = Instant::now();
    loop {
        if let Some(answer) = condition() {
            return Ok(answer);
        }
        anyhow::ensure!(started.elapsed() < deadline, "waited {} s in vain for {what}", deadline.as_secs());
        std::thread::park_timeout(POLL);
    }
}
