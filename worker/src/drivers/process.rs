//! One child process: started in its own group, watched, ended with its group. Edge.
//!
//! Its memory is limited by watching what is resident and killing the group that has too much. `RLIMIT_AS` would
//! count the 32 MiB stacks and the allocator's reserved address space, `RLIMIT_DATA` every private mapping, touched
//! or not: a driver far below its memory would die of either, and with a failed allocation instead of a reason.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use lake_engine::error::class_of_io;
use lake_proto::v1::LaunchDriver;
use lake_proto::{ErrorClass, Fault};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::{host, program};

const LOOK_AT_MEMORY: Duration = Duration::from_millis(250);
const LEAST_OVERHEAD: u64 = 64 << 20;

/// How a driver's process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// By itself or by a signal; `code` is absent and `signal` not 0 then.
    Exited {
        /// Exit code.
        code: Option<i32>,
        /// Signal number.
        signal: i32,
    },
    /// It had more memory than it was promised, and was killed for it.
    OverMemory {
        /// What it may have.
        limit_bytes: u64,
        /// What it had.
        found_bytes: u64,
        /// The signal that ended it.
        signal: i32,
    },
    /// The operating system did not say.
    Unknown(Fault),
}

/// A running driver.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    pid: u32,
}

impl Process {
    /// Starts the program in `directory`, which is created, with its output appended to `stdout` and `stderr` there:
    /// what an earlier attempt printed stays readable. The environment is the worker's, because secret references
    /// are resolved in the driver.
    ///
    /// # Errors
    /// `unavailable`, `resource` or `denied` when it cannot be started.
    pub(super) fn start(
        executable: &Path,
        arguments: &[OsString],
        launch: &LaunchDriver,
        directory: &Path,
    ) -> Result<Self, Fault> {
        let failed = |error: &io::Error| {
            let class = match class_of_io(error.kind()) {
                // Another worker may have what is missing here.
                None | Some(ErrorClass::NotFound) => ErrorClass::Unavailable,
                Some(class) => class,
            };
            let what = format!("cannot start {} in {}: {error}", executable.display(), directory.display());
            Fault::new(class, "driver-start", what)
        };
        let spawned = || {
            fs::create_dir_all(directory)?;
            Command::new(executable)
                .arg0(program::NAME)
                .args(arguments)
                .current_dir(directory)
                .env("LAKE_DRIVER_ID", &launch.driver_id)
                .env("LAKE_APP_ID", &launch.app_id)
                .env("LAKE_DRIVER_EPOCH", launch.epoch.to_string())
                .stdin(Stdio::null())
                .stdout(append(&directory.join("stdout"))?)
                .stderr(append(&directory.join("stderr"))?)
                .process_group(0)
                .spawn()
        };
        let child = spawned().map_err(|error| failed(&error))?;
        let pid = child.id().ok_or_else(|| failed(&io::Error::other("it has no process id")))?;
        Ok(Self { child, pid })
    }

    /// The process id, which is also its group's.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for its end and reaps it. `stop` ends its group: SIGTERM, and SIGKILL after `grace`. `memory_bytes`
    /// is what it was promised, 0 for no limit.
    pub(super) async fn wait(mut self, memory_bytes: u64, stop: &CancellationToken, grace: Duration) -> End {
        let limit = memory_limit(memory_bytes);
        let mut found_over = None;
        let mut kill_at: Option<Instant> = None;
        let mut killed = false;
        let mut look = interval(LOOK_AT_MEMORY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let status = loop {
            let deadline = kill_at.unwrap_or_else(Instant::now);
            tokio::select! {
                status = self.child.wait() => break status,
                () = stop.cancelled(), if kill_at.is_none() => {
                    self.signal_group(Signal::TERM);
                    kill_at = Some(Instant::now() + grace);
                }
                () = sleep_until(deadline), if kill_at.is_some() && !killed => {
                    killed = true;
                    self.signal_group(Signal::KILL);
                }
                _ = look.tick(), if limit.is_some() && found_over.is_none() => {
                    let found = host::resident_bytes(self.pid).unwrap_or(0);
                    if limit.is_some_and(|limit| found > limit) {
                        found_over = Some(found);
                        self.signal_group(Signal::KILL);
                    }
                }
            }
        };
        // Whatever it started itself goes with it.
        self.signal_group(Signal::KILL);
        let status = match status {
            Ok(status) => status,
            Err(error) => {
                let message = format!("the end of process {} is not known: {error}", self.pid);
                return End::Unknown(Fault::new(ErrorClass::Unavailable, "driver-end", message));
            }
        };
        let signal = status.signal().unwrap_or(0);
        match (found_over, limit) {
            (Some(found_bytes), Some(limit_bytes)) => End::OverMemory { limit_bytes, found_bytes, signal },
            _ => End::Exited { code: status.code(), signal },
        }
    }

    fn signal_group(&self, signal: Signal) {
        let group = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let sent = group.map(|group| kill_process_group(group, signal));
        if let Some(Err(error)) = sent
            && error != rustix::io::Errno::SRCH
        {
            tracing::warn!(pid = self.pid, error = %error, "a driver's process group could not be signalled");
        }
    }
}

/// What may be resident: what was promised and a tenth for what no pool counts, as Spark's memory overhead.
fn memory_limit(memory_bytes: u64) -> Option<u64> {
    let overhead = (memory_bytes / 10).max(LEAST_OVERHEAD);
    (memory_bytes > 0).then(|| memory_bytes.saturating_add(overhead))
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}
