//! `lake-worker`: the daemon, or with `driver` as its first argument the process of one submission.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::process::ExitCode;

use anyhow::Context;
use lake_proto::{ErrorClass, Fault};
use lake_worker::config::{self, Config, LogFormat, Request};
use lake_worker::daemon::Worker;
use lake_worker::driver_mode;
use lake_worker::drivers::Program;
use lake_worker::tasks::STACK_BYTES;
use mimalloc::MiMalloc;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Serving needs few threads; tasks have their own.
const SERVICE_THREADS: usize = 2;
/// Threads for files; each costs only what it touches.
const FILE_THREADS: usize = 64;

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().collect();
    let is_driver = arguments.get(1).is_some_and(|argument| argument == "driver");
    let outcome = if is_driver {
        arguments.remove(1);
        run_driver(arguments)
    } else {
        run_worker(arguments)
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let fault = error.downcast_ref::<Fault>();
            let class = fault.map_or(ErrorClass::Internal, |fault| fault.class);
            let code = fault.map_or("internal", |fault| fault.code.as_str());
            // Nothing better to do when stderr is closed.
            let _ = writeln!(stderr(), "error[{class}/{code}]: {error:#}");
            ExitCode::from(class.exit_code())
        }
    }
}

fn run_worker(arguments: Vec<String>) -> anyhow::Result<()> {
    let config = match config::read(arguments)? {
        Request::Dump(text) => {
            writeln!(stdout(), "{text}")?;
            return Ok(());
        }
        Request::Run(config) => config,
    };
    start_logging(config.log_format);
    runtime(SERVICE_THREADS)?.block_on(Box::pin(serve(config)))
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
    let mut worker = Worker::start(config, Program::this_executable()?).await?;
    let offer = &worker.offer;
    let mut out = stdout().lock();
    for (name, port) in [("grpc", offer.grpc_port), ("flight", offer.flight_port), ("http", offer.http_port)] {
        writeln!(out, "listening {name} {}:{port}", offer.host)?;
    }
    out.flush()?;
    drop(out);
    let failed = tokio::select! {
        fault = worker.failed() => Some(fault),
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
    };
    tracing::info!("stopping");
    worker.stop().await;
    failed.map_or(Ok(()), |fault| Err(fault.into()))
}

fn run_driver(arguments: Vec<String>) -> anyhow::Result<()> {
    let arguments = driver_mode::read(arguments)?;
    start_logging(LogFormat::Text);
    let threads = std::thread::available_parallelism().map_or(SERVICE_THREADS, |cores| cores.get().clamp(1, 4));
    let runtime = runtime(threads)?;
    let outcome = runtime.block_on(Box::pin(driver_mode::run(arguments)));
    // A blocked file or network call must not hold up the end.
    runtime.shutdown_background();
    Ok(outcome?)
}

fn runtime(threads: usize) -> anyhow::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .max_blocking_threads(FILE_THREADS)
        .thread_name("service")
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
        .context("cannot start threads")
}

fn start_logging(format: LogFormat) {
    let filter = EnvFilter::try_from_env("LAKE_LOG").unwrap_or_else(|_| EnvFilter::new("info,ballista_core=error"));
    let logging = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    match format {
        LogFormat::Text => logging.with_ansi(stderr().is_terminal()).init(),
        LogFormat::Json => logging.json().init(),
    }
}
