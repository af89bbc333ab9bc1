//! What our programs tell about themselves while they run: log lines, spans of a trace, events of lineage. Edge.
//!
//! Rooms: `log` (the shape of log lines), [`trace`] (which trace a span belongs to, over processes, and its way to a
//! collector), [`lineage`] (what a run read and wrote, for catalogues), `post` (the only way out: a bounded queue with a
//! thread of its own behind it), `config` (the environment), [`environment`] (what of it people are shown).
//!
//! Never here: metrics (`lake-metrics`), and anything that a job could wait for: what cannot be delivered is dropped,
//! counted, and logged once.
#![warn(missing_docs)]

mod config;
pub mod environment;
mod fields;
pub mod lineage;
mod log;
mod post;
pub mod trace;

use std::io::{IsTerminal, Write as _, stderr};
use std::sync::OnceLock;

use chrono::Utc;
use lake_proto::{ErrorClass, Fault};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

pub use self::log::LogFormat;
use self::trace::Exporter;

/// How a program tells.
#[derive(Debug, Clone)]
pub struct Settings<'a> {
    /// The program's name, as collectors show it.
    pub service: &'static str,
    /// Shape of log lines on stderr.
    pub format: LogFormat,
    /// What is logged, as a `tracing` filter.
    pub filter: &'a str,
}

/// How this program logs, once its log is set up: the program's name and the shape of its lines.
static LOG: OnceLock<(&'static str, LogFormat)> = OnceLock::new();

/// The ids of the one run that this process is for.
static RUN: OnceLock<Vec<(&'static str, String)>> = OnceLock::new();

/// Ends with the program: what is still under way gets a moment to leave.
#[must_use = "spans that are under way are lost when it is dropped too early"]
#[derive(Debug)]
pub struct Telemetry {
    _spans: Option<Exporter>,
}

/// Sets up the log, and the export of spans when the environment asks for it. Once per process.
///
/// # Errors
/// `invalid-job` when the filter is not valid.
pub fn start(settings: &Settings<'_>) -> Result<Telemetry, Fault> {
    let filter = EnvFilter::try_new(settings.filter).map_err(|error| {
        let message = format!("--log-level '{}' is not valid: {error}", settings.filter);
        Fault::new(ErrorClass::InvalidJob, "config", message)
    })?;
    let collector = config::spans(settings.service);
    let spans = collector.clone().ok().flatten().map(Exporter::start);
    let log: Box<dyn Layer<Registry> + Send + Sync> = match settings.format {
        LogFormat::Text => Box::new(fmt::layer().with_writer(stderr).with_ansi(stderr().is_terminal())),
        LogFormat::Json => Box::new(log::Json::new(stderr)),
    };
    let layer = spans.as_ref().map(Exporter::layer);
    let set = Registry::default().with(log.with_filter(filter)).with(layer).try_init();
    set.map_err(|error| Fault::new(ErrorClass::Internal, "internal", format!("the log was set up before: {error}")))?;
    // It was not set before: the log can be set up once.
    let _ = LOG.set((settings.service, settings.format));
    if settings.format == LogFormat::Json {
        say_panics_as_json(settings.service);
    }
    match collector {
        Ok(Some(collector)) => tracing::info!(collector = collector.address.shown(), "spans are exported"),
        Ok(None) => {}
        // Not an error of this program: the variables may be meant for others.
        Err(why) => tracing::warn!("no spans are exported: {why}"),
    }
    Ok(Telemetry { _spans: spans })
}

/// Says that this process is for one run alone: lines of [`say_last`] and of panics, which have no span around them, name it
/// in JSON. The first call counts; an empty id is left out.
pub fn name_run(app_id: &str, driver_id: &str) {
    let ids = [("app_id", app_id), ("driver_id", driver_id)].into_iter().filter(|(_, id)| !id.is_empty());
    // A process has one run.
    let _ = RUN.set(ids.map(|(field, id)| (field, id.to_owned())).collect());
}

/// Says on stderr why this program ends, whatever its log leaves out: one line in the shape of its log, as text before the
/// log is set up.
pub fn say_last(fault: &Fault) {
    let (service, format) = LOG.get().copied().unwrap_or(("", LogFormat::Text));
    write(&log::last_line(format, service, run(), fault, Utc::now()));
}

fn say_panics_as_json(service: &'static str) {
    let say = move |panic: &std::panic::PanicHookInfo<'_>| {
        write(&log::panic_line(service, run(), &panic.to_string(), Utc::now()));
    };
    std::panic::set_hook(Box::new(say));
}

fn run() -> &'static [(&'static str, String)] {
    RUN.get().map(Vec::as_slice).unwrap_or_default()
}

fn write(line: &str) {
    // Nothing better to do when stderr is closed.
    let _ = stderr().write_all(line.as_bytes());
}
