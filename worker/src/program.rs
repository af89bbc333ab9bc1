//! The program `lake-worker`: the daemon; with `driver` as its first argument the process of one submission, with `drain`
//! the command that drains a worker. Edge.

use std::ffi::OsString;
use std::io::{self, Write, stdout};
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use lake_proto::{ErrorClass, Fault};
use lake_telemetry::{Settings, Telemetry};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::limits::Host;
use crate::config::{self, Config, LogFormat, Request};
use crate::daemon::Worker;
use crate::drivers::Program;
use crate::tasks::STACK_BYTES;
use crate::{drain_command, driver_mode};

/// What it is called. A program of several names acts by the one that it is started with.
pub(crate) const NAME: &str = "lake-worker";

/// The allocator's setting for how long freed memory stays with the process, in milliseconds.
const PURGE_DELAY: &str = "MIMALLOC_PURGE_DELAY";
const PURGE_DELAY_MS: &str = "10000";
/// Serving needs few threads; tasks have their own.
const SERVICE_THREADS: usize = 2;
/// Threads for files; each costs only what it touches.
const FILE_THREADS: usize = 64;

/// Runs the program with these arguments, the first of which is its name. It writes to stdout and stderr, and a daemon ends
/// on SIGTERM, after it was drained, and on SIGINT.
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    let mut arguments: Vec<String> = arguments.into_iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let outcome = match arguments.get(1).map(String::as_str) {
        Some("driver") => {
            arguments.remove(1);
            run_driver(arguments)
        }
        Some("drain") => {
            arguments.remove(1);
            run_drain(arguments)
        }
        _ => {
            keep_memory(&arguments);
            run_worker(arguments)
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            lake_telemetry::say_last(&fault);
            ExitCode::from(fault.class.exit_code())
        }
    }
}

/// Runs this program again with memory that is freed kept for the next task for a while: given back at once, as it is by
/// default, every batch of a stage would fault its pages in anew. The allocator reads its settings once, before `main`.
fn keep_memory(arguments: &[String]) {
    if std::env::var_os(PURGE_DELAY).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut again = std::process::Command::new(program);
    // Only returns when it fails; then tasks are a little slower.
    let _ = again.arg0(NAME).args(arguments.iter().skip(1)).env(PURGE_DELAY, PURGE_DELAY_MS).exec();
}

fn run_worker(arguments: Vec<String>) -> Result<(), Fault> {
    let config = match config::read(arguments)? {
        Request::Dump(text) => return print(&format!("{text}\n")),
        Request::Run(config) => *config,
    };
    let _telemetry = start_telemetry("lake-worker", config.log_format, &config.log_level)?;
    if let Some(remark) = Host::this().oversubscribed(config.cores, config.memory_bytes) {
        tracing::warn!("{remark}");
    }
    runtime(SERVICE_THREADS)?.block_on(Box::pin(serve(config)))
}

async fn serve(config: Config) -> Result<(), Fault> {
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let program = Program::this_executable(config.log_format, config.log_level.clone())?;
    let mut worker = Worker::start(config, program).await?;
    let bound = &worker.bound;
    let mut lines = String::new();
    for (name, port) in [("grpc", bound.grpc_port), ("flight", bound.flight_port), ("http", bound.http_port)] {
        lines.push_str(&format!("listening {name} {}:{port}\n", bound.host));
    }
    print(&lines)?;
    let draining = worker.draining.clone();
    let failed = tokio::select! {
        fault = worker.failed() => Some(fault),
        _ = interrupt.recv() => None,
        _ = terminate.recv() => drain(&mut worker, &mut terminate, &mut interrupt).await,
        () = draining.begun() => drain(&mut worker, &mut terminate, &mut interrupt).await,
    };
    tracing::info!("stopping");
    worker.stop().await;
    failed.map_or(Ok(()), Err)
}

/// Until the worker may leave, or somebody does not want to wait for that. With the part that has failed meanwhile.
async fn drain(worker: &mut Worker, terminate: &mut Signal, interrupt: &mut Signal) -> Option<Fault> {
    tokio::select! {
        failed = worker.drain() => failed,
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
    }
}

fn run_drain(arguments: Vec<String>) -> Result<(), Fault> {
    let command = drain_command::read(arguments);
    runtime(1)?.block_on(Box::pin(drain_command::run(&command, &mut stdout())))
}

fn run_driver(arguments: Vec<String>) -> Result<(), Fault> {
    let command = driver_mode::read(arguments)?;
    lake_telemetry::name_run(&command.app_id, command.arguments.driver_id.as_str());
    let _telemetry = start_telemetry("lake-driver", command.log_format, &command.log_level)?;
    let threads = std::thread::available_parallelism().map_or(SERVICE_THREADS, |cores| cores.get().clamp(1, 4));
    let runtime = runtime(threads)?;
    let outcome = runtime.block_on(Box::pin(driver_mode::run(command)));
    // A blocked file or network call must not hold up the end. Nor are threads detached, as a shutdown in the background
    // does: glibc 2.36 touches the stack of a thread that ends meanwhile, and a stack of this size is unmapped at once.
    std::mem::forget(runtime);
    outcome
}

fn runtime(threads: usize) -> Result<Runtime, Fault> {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .max_blocking_threads(FILE_THREADS)
        .thread_name("service")
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
        .map_err(|error| internal("cannot start threads", &error))
}

fn start_telemetry(service: &'static str, format: LogFormat, filter: &str) -> Result<Telemetry, Fault> {
    lake_telemetry::start(&Settings { service, format, filter })
}

fn listen(kind: SignalKind) -> Result<Signal, Fault> {
    signal(kind).map_err(|error| internal("cannot listen for signals", &error))
}

fn print(text: &str) -> Result<(), Fault> {
    let mut out = stdout().lock();
    let printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    printed.map_err(|error| internal("cannot write to stdout", &error))
}

fn internal(what: &str, error: &io::Error) -> Fault {
    Fault::new(ErrorClass::Internal, "internal", format!("{what}: {error}"))
}
