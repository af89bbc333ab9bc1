//! How our daemons serve HTTP to strangers: bounded connections, headers, bodies and patience (`serve`, `guard`), the
//! names that a request may ask for (`hosts`), whether a browser was sent here by another site (`caller`), and what a
//! browser may not do with an answer (`headers`). Edge, but `hosts`, `caller` and `headers`, which are pure.
//!
//! Never here: what is served.
#![warn(missing_docs)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod caller;
mod guard;
mod headers;
mod hosts;
mod serve;
mod stall;

pub use caller::{CSRF_HEADER, Caller, caller};
pub use guard::{Guard, harden, refusal_in_text, status_of};
pub use hosts::{Hosts, host_of, own_host_name};
pub use serve::serve;

use std::time::Duration;

/// How much of a daemon one server gives away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; more wait until one ends.
    pub connections: usize,
    /// For the head of a request to arrive, and so also between two requests of a connection.
    pub head: Duration,
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// For the body of a request to arrive.
    pub body: Duration,
    /// For a reader to take a part of its answer.
    pub stall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1_024,
            head: Duration::from_secs(15),
            body_bytes: 1 << 20,
            body: Duration::from_secs(15),
            stall: Duration::from_secs(60),
        }
    }
}
