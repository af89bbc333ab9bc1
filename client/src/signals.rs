//! Signals that ask this process to end. Edge.
//!
//! Never here: what is done about them.

use std::future::pending;

use lake_proto::{ErrorClass, Fault};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGINT and SIGTERM. They end this process at once until they are caught; then they do nothing but what is done when
/// [`Self::next`] answers, for as long as the process lives.
#[derive(Debug, Default)]
pub(crate) struct Signals(Option<Caught>);

#[derive(Debug)]
struct Caught {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From now on none of them is lost.
    ///
    /// # Errors
    /// `internal` when the operating system refuses.
    pub(crate) fn catch(&mut self) -> Result<(), Fault> {
        let failed = |error: std::io::Error| {
            Fault::new(ErrorClass::Internal, "signals", format!("cannot listen for signals: {error}"))
        };
        let interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let terminate = signal(SignalKind::terminate()).map_err(failed)?;
        self.0 = Some(Caught { interrupt, terminate });
        Ok(())
    }

    /// Waits for the next one that is caught; its name.
    pub(crate) async fn next(&mut self) -> &'static str {
        match &mut self.0 {
            Some(caught) => tokio::select! {
                _ = caught.interrupt.recv() => "SIGINT",
                _ = caught.terminate.recv() => "SIGTERM",
            },
            None => pending().await,
        }
    }
}
