//! The program `lake-master`: flags, logs, signals. Edge.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use lake_proto::{ErrorClass, Fault};
use lake_telemetry::{Settings, Telemetry};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{self, Action, Config};

/// Plans recurse deeply. The pages are touched only when they are used.
const STACK_BYTES: usize = 32 * 1024 * 1024;
const SERVICE_THREADS: usize = 2;
const MAX_BLOCKING_THREADS: usize = 4;

/// Runs the program with these arguments, the first of which is its name. It writes to stdout and stderr, and ends on
/// SIGTERM and SIGINT.
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            lake_telemetry::say_last(&fault);
            ExitCode::from(fault.class.exit_code())
        }
    }
}

fn run(arguments: Vec<OsString>) -> Result<(), Fault> {
    let action = config::parse(arguments)?;
    if let Action::Print(text) = &action {
        return print(text);
    }
    let _telemetry = match &action {
        Action::Run(config) => Some(start_telemetry(config)?),
        Action::Members(_) | Action::Print(_) => None,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(SERVICE_THREADS)
        .max_blocking_threads(MAX_BLOCKING_THREADS)
        .thread_name("lake-master")
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
        .map_err(|error| internal(format!("the runtime cannot start: {error}")))?;
    match action {
        Action::Run(config) => runtime.block_on(serve(&config)),
        Action::Members(members) => print(&runtime.block_on(members.run())?),
        Action::Print(_) => Ok(()),
    }
}

async fn serve(config: &Config) -> Result<(), Fault> {
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut server = crate::start(config).await?;
    let rest = server.rest_address.map(|address| format!("listening rest {address}\n")).unwrap_or_default();
    print(&format!("listening grpc {}\nlistening http {}\n{rest}", server.grpc_address, server.http_address))?;
    let ended = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        ended = server.failed() => ended,
    };
    tracing::info!("stopping");
    server.stop().await;
    ended
}

fn listen(kind: SignalKind) -> Result<tokio::signal::unix::Signal, Fault> {
    signal(kind).map_err(|error| internal(format!("signals cannot be received: {error}")))
}

fn start_telemetry(config: &Config) -> Result<Telemetry, Fault> {
    lake_telemetry::start(&Settings { service: "lake-master", format: config.log_format, filter: &config.log_level })
}

fn print(text: &str) -> Result<(), Fault> {
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| internal(format!("stdout cannot be written: {error}")))
}

fn internal(message: String) -> Fault {
    Fault::new(ErrorClass::Internal, "internal", message)
}
