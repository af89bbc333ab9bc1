//! raft's slog records as tracing events. Edge. What raft calls news is detail to us.

use slog::{Drain, Level, Logger, OwnedKVList, Record};

/// A logger for `RawNode`.
pub(crate) fn logger() -> Logger {
    Logger::root(ToTracing, slog::o!())
}

struct ToTracing;

impl Drain for ToTracing {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &Record<'_>, _values: &OwnedKVList) -> Result<(), slog::Never> {
        match record.level() {
            Level::Critical | Level::Error => tracing::error!(target: "raft", "{}", record.msg()),
            Level::Warning => tracing::warn!(target: "raft", "{}", record.msg()),
            Level::Info | Level::Debug => tracing::debug!(target: "raft", "{}", record.msg()),
            Level::Trace => tracing::trace!(target: "raft", "{}", record.msg()),
        }
        Ok(())
    }
}
