//! How long this process may take itself for its run's driver: until [`DRIVER_LEASE`] after it last asked a leader that
//! a majority has confirmed. Edge: a clock and a thread.
//!
//! The clock counts time in which the host was suspended, and a thread of its own watches it, so that a runtime that is
//! stuck does not keep a driver alive that is given up. What happens at the end is the program's: the thread calls it. The
//! lease makes that drivers end; that no row is committed twice does not hang on it, but on the table's transactions: see
//! docs/adr/0005-fencing.md.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Builder, Thread, park_timeout};
use std::time::Duration;

use lake_proto::host::BootClock;
use lake_proto::{DRIVER_LEASE, ErrorClass, Fault};

use crate::{EngineError, Result};

/// How often the clock is looked at: a thread's own waiting stands still in a suspended host.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The lease; whoever commits asks it.
#[derive(Debug)]
pub(super) struct Lease {
    clock: BootClock,
    length: Duration,
    /// When the renewal was asked for: on the boot clock, in milliseconds.
    renewed_ms: AtomicU64,
    /// The run has ended, and nobody watches any more.
    is_over: AtomicBool,
}

/// When a renewal was asked for. The answer may be late: the leader has spoken at this time at the earliest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked(Duration);

/// Keeps the thread that watches the lease. Dropped when the run has ended.
pub(super) struct Held {
    lease: Arc<Lease>,
    watcher: Thread,
}

impl Lease {
    /// A lease that begins now. When it is over before the run, `ended` is called with the reason, on the thread that
    /// watches.
    ///
    /// # Errors
    /// `resource` when the clock or a thread is not to be had.
    pub(super) fn hold(ended: impl FnOnce(Fault) + Send + 'static) -> Result<Held> {
        Self::begin(DRIVER_LEASE, ended)
    }

    fn begin(length: Duration, ended: impl FnOnce(Fault) + Send + 'static) -> Result<Held> {
        let failed = |error: std::io::Error| {
            EngineError::new(ErrorClass::Resource, "threads", format!("a driver cannot watch its lease: {error}"))
        };
        let clock = BootClock::open().map_err(failed)?;
        let renewed_ms = AtomicU64::new(millis(clock.now().map_err(failed)?));
        let lease = Arc::new(Self { clock, length, renewed_ms, is_over: AtomicBool::new(false) });
        let watched = lease.clone();
        let watcher = Builder::new().name("lease".to_owned()).spawn(move || watch(&watched, ended)).map_err(failed)?;
        Ok(Held { lease, watcher: watcher.thread().clone() })
    }

    /// To be called before a leader is asked.
    pub(super) fn ask(&self) -> Asked {
        // Without a clock the answer renews nothing.
        Asked(self.clock.now().unwrap_or_default())
    }

    /// A confirmed leader has answered.
    pub(super) fn renew(&self, asked: Asked) {
        self.renewed_ms.fetch_max(millis(asked.0), Ordering::AcqRel);
    }

    /// # Errors
    /// `unavailable` (code `lease-expired`) when it is over.
    pub(super) fn check(&self) -> Result<()> {
        if self.left().is_zero() { Err(expired(self.length)) } else { Ok(()) }
    }

    fn left(&self) -> Duration {
        let renewed = Duration::from_millis(self.renewed_ms.load(Ordering::Acquire));
        // A clock that cannot be read any more has run out.
        self.clock.now().map_or(Duration::ZERO, |now| (renewed + self.length).saturating_sub(now))
    }
}

impl Held {
    pub(super) fn lease(&self) -> &Arc<Lease> {
        &self.lease
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.lease.is_over.store(true, Ordering::Release);
        self.watcher.unpark();
    }
}

fn watch(lease: &Lease, ended: impl FnOnce(Fault)) {
    loop {
        let left = lease.left();
        if lease.is_over.load(Ordering::Acquire) {
            return;
        }
        if left.is_zero() {
            return ended(expired(lease.length).into());
        }
        park_timeout(left.min(LOOK_EVERY));
    }
}

fn expired(length: Duration) -> EngineError {
    EngineError::unavailable(
        "lease-expired",
        format!(
            "no leading master has answered this driver for {} s, or its process was stopped for so long: another one may \
             have its run by now, so it ends",
            length.as_secs()
        ),
    )
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{RecvTimeoutError, channel};
    use std::time::Instant;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(30);

    #[test]
    fn a_lease_that_is_not_renewed_calls_its_end_with_the_reason_and_forbids_to_commit_before_that() {
        let (ended, end) = channel();
        let held = Lease::begin(Duration::from_millis(1_500), move |reason| ended.send(reason).unwrap()).unwrap();
        let lease = held.lease().clone();
        lease.check().unwrap();
        let from = Instant::now();
        while from.elapsed() < Duration::from_secs(2) {
            lease.renew(lease.ask());
            assert_eq!(end.recv_timeout(Duration::from_millis(20)), Err(RecvTimeoutError::Timeout));
            lease.check().unwrap();
        }
        let reason = end.recv_timeout(DEADLINE).unwrap();
        assert_eq!((reason.class, reason.code.as_str()), (ErrorClass::Unavailable, "lease-expired"));
        let error = lease.check().unwrap_err();
        assert_eq!((error.class(), error.code()), (ErrorClass::Unavailable, "lease-expired"));
    }

    #[test]
    fn an_answer_renews_from_when_it_was_asked_for_and_an_older_one_does_not_shorten() {
        let held = Lease::begin(Duration::from_secs(60), |_| {}).unwrap();
        let lease = held.lease();
        let asked = lease.ask();
        lease.renew(Asked(asked.0 + Duration::from_secs(40)));
        assert!(lease.left() > Duration::from_secs(90));
        lease.renew(asked);
        assert!(lease.left() > Duration::from_secs(90));
        let late = Lease::begin(Duration::from_secs(60), |_| {}).unwrap();
        late.lease().renewed_ms.store(0, Ordering::Release);
        late.lease().renew(Asked(late.lease().ask().0.saturating_sub(Duration::from_secs(61))));
        assert!(late.lease().check().is_err());
    }

    #[test]
    fn a_run_that_has_ended_has_no_lease_that_could_end_the_process() {
        let (ended, end) = channel();
        drop(Lease::begin(Duration::from_millis(300), move |reason| ended.send(reason).unwrap()).unwrap());
        // The thread is gone, and its sender with it.
        assert_eq!(end.recv_timeout(DEADLINE), Err(RecvTimeoutError::Disconnected));
    }
}
