//! `lake-worker driver …`: the child process that runs one submission. Edge.
//!
//! It ends with the exit code of its error's class, and it does not outlive its worker: a worker that died is declared
//! lost, and its drivers run elsewhere by then.

use std::ffi::OsString;
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use lake_engine::driver::{DriverArgs, run_attached};
use lake_proto::v1::LaunchDriver;
use lake_proto::{DriverId, ErrorClass, Fault, last_word};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{DEFAULT_LOG_LEVEL, LogFormat};

const LOOK_AT_PARENT: Duration = Duration::from_secs(1);

#[derive(Debug, Parser)]
#[command(name = "lake-worker driver", about = "Runs one submission; started by the worker")]
struct Flags {
    /// The driver's id
    #[arg(long)]
    driver_id: String,
    /// The application whose driver it is, for its log
    #[arg(long, default_value = "")]
    app_id: String,
    /// The log index of its assignment
    #[arg(long)]
    epoch: u64,
    /// Masters it may talk to
    #[arg(long)]
    master: String,
    /// Its directory
    #[arg(long)]
    work_dir: PathBuf,
    /// Memory it may use, in bytes; 0 for no limit
    #[arg(long)]
    memory: u64,
    /// Shape of log lines
    #[arg(long, value_enum, default_value = "text")]
    log_format: LogFormat,
    /// What is logged, as a filter
    #[arg(long, default_value = DEFAULT_LOG_LEVEL)]
    log_level: String,
    /// Trace context of the submission
    #[arg(long, default_value = "")]
    traceparent: String,
    /// Process that it must not outlive
    #[arg(long)]
    parent: Option<u32>,
}

/// A driver's command line.
#[derive(Debug)]
pub struct Command {
    /// What the driver runs with.
    pub arguments: DriverArgs,
    /// The application whose driver it is.
    pub app_id: String,
    /// Shape of log lines.
    pub log_format: LogFormat,
    /// What is logged, as a `tracing` filter.
    pub log_level: String,
    /// The worker's process id.
    pub parent: Option<u32>,
}

/// The command line of a driver, after the program's name. It logs as its worker does.
pub fn arguments(launch: &LaunchDriver, directory: &Path, log_format: LogFormat, log_level: &str) -> Vec<OsString> {
    let epoch = launch.epoch.to_string();
    let memory = launch.memory_bytes.to_string();
    let parent = std::process::id().to_string();
    let pairs: [(&str, OsString); 10] = [
        ("--driver-id", launch.driver_id.clone().into()),
        ("--app-id", launch.app_id.clone().into()),
        ("--epoch", epoch.into()),
        ("--master", launch.master_url.clone().into()),
        ("--work-dir", directory.into()),
        ("--memory", memory.into()),
        ("--log-format", log_format.name().into()),
        ("--log-level", log_level.into()),
        ("--traceparent", launch.traceparent.clone().into()),
        ("--parent", parent.into()),
    ];
    let mut arguments = vec![OsString::from("driver")];
    for (name, value) in pairs {
        arguments.push(name.into());
        arguments.push(value);
    }
    arguments
}

/// Reads the command line (with the program's name first). Prints usage and ends the process when it is not valid.
///
/// # Errors
/// `invalid-job` when the driver id is not one.
pub fn read(arguments: Vec<String>) -> Result<Command, Fault> {
    let flags = Flags::parse_from(arguments);
    let driver_id: DriverId =
        flags.driver_id.parse().map_err(|error| Fault::new(ErrorClass::InvalidJob, "driver-id", format!("{error}")))?;
    let arguments = DriverArgs {
        master_url: flags.master,
        driver_id,
        epoch: flags.epoch,
        work_dir: flags.work_dir,
        memory_bytes: flags.memory,
        traceparent: flags.traceparent,
    };
    Ok(Command {
        arguments,
        app_id: flags.app_id,
        log_format: flags.log_format,
        log_level: flags.log_level,
        parent: flags.parent,
    })
}

/// Runs the submission to its end.
///
/// # Errors
/// What the driver ended with; `cancelled` after SIGTERM or SIGINT, `unavailable` when the worker is gone.
pub async fn run(command: Command) -> Result<(), Fault> {
    let failed = |error: std::io::Error| {
        Fault::new(ErrorClass::Internal, "signals", format!("cannot listen for signals: {error}"))
    };
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let killed = || Fault::new(ErrorClass::Cancelled, "driver-killed", "the driver was told to end");
    tokio::select! {
        outcome = Box::pin(run_attached(command.arguments, lease_ended)) => outcome,
        _ = terminate.recv() => Err(killed()),
        _ = interrupt.recv() => Err(killed()),
        () = orphaned(command.parent) => {
            Err(Fault::new(ErrorClass::Unavailable, "worker-lost", "the worker of this driver is gone"))
        }
    }
}

/// Ends this process, whatever hangs in it.
fn lease_ended(reason: Fault) {
    last_word::end(reason.class.exit_code(), || lake_telemetry::say_last(&reason))
}

/// Ends when the parent is another process than `parent`, by default the one there is now.
async fn orphaned(parent: Option<u32>) {
    let parent = parent.unwrap_or_else(parent_id);
    while parent_id() == parent {
        tokio::time::sleep(LOOK_AT_PARENT).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_reads_what_its_worker_writes() {
        let launch = LaunchDriver {
            driver_id: "driver-1".to_owned(),
            epoch: 9,
            app_id: "app-1".to_owned(),
            memory_bytes: 512,
            master_url: "lake://m:1".to_owned(),
            traceparent: "00-1-2-01".to_owned(),
        };
        let written = arguments(&launch, Path::new("/work/app-1/driver-1"), LogFormat::Json, "debug");
        assert_eq!(written.first().unwrap(), "driver");
        let command = read(written.into_iter().map(|text| text.into_string().unwrap()).collect()).unwrap();
        assert_eq!((command.log_level.as_str(), command.parent), ("debug", Some(std::process::id())));
        assert_eq!(command.log_format, LogFormat::Json);
        assert_eq!(command.app_id, "app-1");
        let read = command.arguments;
        assert_eq!((read.driver_id.as_str(), read.epoch, read.memory_bytes), ("driver-1", 9, 512));
        assert_eq!((read.master_url.as_str(), read.work_dir.to_str().unwrap()), ("lake://m:1", "/work/app-1/driver-1"));
        assert_eq!(read.traceparent, "00-1-2-01");
    }
}
