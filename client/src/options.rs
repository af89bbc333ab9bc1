//! The command line of `lake-submit`. A flag wins over its environment variable. Edge: the only place that reads the
//! environment.
//!
//! Never here: what a verb does.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgGroup, Parser, ValueEnum};
use lake_proto::{ERROR_LOG_FILTER, LOG_FILTER, quantity};
use tracing_subscriber::EnvFilter;

/// Submits a job to a lake cluster and follows it to its end, or runs it in this process.
///
/// Exit codes: 0 success, 2 invalid-job, 3 not-found, 4 conflict, 5 resource, 6 unavailable, 7 cancelled,
/// 8 data-quality, 9 denied, 70 internal, 130 detached by SIGINT (Ctrl-C) or SIGTERM while the
/// job goes on in the cluster; a job in this process is cancelled by them.
#[derive(Debug, Clone, Parser)]
#[command(name = "lake-submit", version, max_term_width = 100)]
#[command(group(ArgGroup::new("verb").args(["job", "status", "kill", "logs", "list"]).required(true)))]
pub struct Options {
    /// The job to run.
    #[arg(value_name = "job.toml")]
    pub job: Option<PathBuf>,

    /// Print the state of a submission (driver, application or submission id).
    #[arg(long, value_name = "ID")]
    pub status: Option<String>,

    /// End a submission.
    #[arg(long, value_name = "ID")]
    pub kill: Option<String>,

    /// Print the log of a submission's driver.
    #[arg(long, value_name = "ID")]
    pub logs: Option<String>,

    /// List the latest submissions and the workers.
    #[arg(long)]
    pub list: bool,

    /// Go on printing the log until the driver has ended.
    #[arg(short, long, conflicts_with_all = ["job", "status", "kill", "list"])]
    pub follow: bool,

    /// Which of the driver's outputs to print.
    #[arg(long, value_enum, default_value = "stderr", env = "LAKE_LOG_STREAM", value_name = "NAME")]
    pub log_stream: LogStream,

    /// The masters: `lake://host:port[,host:port...]`; `spark://` means the same.
    #[arg(long, value_name = "URL", default_value = "lake://127.0.0.1:7077", env = "LAKE_MASTER")]
    pub master: String,

    /// Where the driver runs: on a worker, in this process with the cluster's workers, or all of it in this process.
    #[arg(long, value_enum, value_name = "MODE", default_value = "cluster", env = "LAKE_DEPLOY_MODE")]
    pub deploy_mode: DeployMode,

    /// Value of a parameter of the job; may be repeated. Several in the environment variable: one a line.
    #[arg(
        long = "param",
        value_name = "NAME=VALUE",
        value_parser = parse_pair,
        value_delimiter = '\n',
        env = "LAKE_PARAM"
    )]
    pub params: Vec<(String, String)>,

    /// Override of a key of job.toml, for example `warehouse.root=/data/lake`; may be repeated.
    #[arg(
        long = "conf",
        value_name = "KEY=VALUE",
        value_parser = parse_pair,
        value_delimiter = '\n',
        env = "LAKE_CONF"
    )]
    pub overrides: Vec<(String, String)>,

    /// Run only these tables.
    #[arg(long, value_name = "TABLE,...", value_delimiter = ',', env = "LAKE_ONLY")]
    pub only: Vec<String>,

    /// Run this table and everything that depends on it.
    #[arg(long, value_name = "TABLE", env = "LAKE_FROM")]
    pub from: Option<String>,

    /// Fill every table from scratch.
    #[arg(long, env = "LAKE_FULL_REFRESH", value_parser = BoolishValueParser::new())]
    pub full_refresh: bool,

    /// Check and plan the job, show its steps, and change nothing.
    #[arg(long, env = "LAKE_DRY_RUN", value_parser = BoolishValueParser::new(), conflicts_with = "no_wait")]
    pub dry_run: bool,

    /// Print the driver's id and leave; in cluster mode only.
    #[arg(long, env = "LAKE_NO_WAIT", value_parser = BoolishValueParser::new())]
    pub no_wait: bool,

    /// Start the driver again when it was lost or failed for a reason that may pass; this is the default.
    #[arg(long, overrides_with = "no_supervise")]
    pub supervise: bool,

    /// Start the driver once.
    #[arg(long, env = "LAKE_NO_SUPERVISE", value_parser = BoolishValueParser::new(), overrides_with = "supervise")]
    pub no_supervise: bool,

    /// Name of the application in lists and the web page; default: the job's name.
    #[arg(long, env = "LAKE_NAME")]
    pub name: Option<String>,

    /// Cores the application may use at once; default: all. In local mode: threads.
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..),
        env = "LAKE_TOTAL_EXECUTOR_CORES"
    )]
    pub total_executor_cores: Option<u32>,

    /// Memory of the driver, in local mode of the whole run: `512m`, `8g`. Default: 512m, local: 60 % of the host's.
    #[arg(long, value_name = "SIZE", value_parser = parse_memory, env = "LAKE_DRIVER_MEMORY")]
    pub driver_memory: Option<u64>,

    /// Directory for spilled data in local and client mode; default: the system's temporary directory.
    #[arg(long, value_name = "DIR", env = "LAKE_LOCAL_DIR")]
    pub local_dir: Option<PathBuf>,

    /// Identity of this submission: the same one sent twice runs once. A UUID; default: a fresh one.
    #[arg(long, value_name = "UUID", env = "LAKE_SUBMISSION_ID")]
    pub submission_id: Option<uuid::Uuid>,

    /// How long the masters may be silent before giving up.
    #[arg(
        long,
        value_name = "SECONDS",
        value_parser = parse_seconds,
        default_value = "30",
        env = "LAKE_CONNECT_TIMEOUT"
    )]
    pub connect_timeout: Duration,

    /// After success, print the first 20 rows of this table of the job, and how many it has; may be repeated.
    #[arg(long, value_name = "TABLE", env = "LAKE_SHOW", conflicts_with_all = ["no_wait", "dry_run"])]
    pub show: Vec<String>,

    /// What to print on standard output: text, or one JSON document. Progress goes to standard error.
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text", env = "LAKE_OUTPUT")]
    pub output: Output,

    /// Say more: the log of this process, progress as lines.
    #[arg(short, long, env = "LAKE_VERBOSE", value_parser = BoolishValueParser::new())]
    pub verbose: bool,

    /// What this process logs: a level, or a filter such as `info,lake_engine=debug`. Default: error, with -v info.
    #[arg(long, value_name = "FILTER", value_parser = parse_filter, env = "LAKE_LOG")]
    pub log_level: Option<String>,
}

impl Options {
    /// What this process logs, as a valid `tracing` filter.
    pub fn log_filter(&self) -> &str {
        self.log_level.as_deref().unwrap_or(if self.verbose { LOG_FILTER } else { ERROR_LOG_FILTER })
    }
}

/// What standard error can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terminal {
    /// Lines that were written can be drawn again.
    Redrawn {
        /// Also in colours.
        coloured: bool,
    },
    /// Lines only follow each other: a file, a pipe, a terminal that can do no more.
    Appended,
}

impl Terminal {
    /// What is behind this process's standard error; `TERM=dumb` and `NO_COLOR` are heeded.
    pub fn of_this_process() -> Self {
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if !std::io::stderr().is_terminal() || is_dumb {
            return Self::Appended;
        }
        Self::Redrawn { coloured: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) }
    }
}

/// Where the driver runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeployMode {
    /// On a worker.
    Cluster,
    /// In this process; its queries run on the workers.
    Client,
    /// In this process, and its queries too.
    Local,
}

impl DeployMode {
    /// Its name on the command line and on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Client => "client",
            Self::Local => "local",
        }
    }
}

/// What standard output gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people and for scripts written for spark-submit.
    Text,
    /// One document.
    Json,
}

/// An output of a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogStream {
    /// What the driver logs.
    Stderr,
    /// What it prints.
    Stdout,
}

impl LogStream {
    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stderr => "stderr",
            Self::Stdout => "stdout",
        }
    }
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

fn parse_memory(text: &str) -> Result<u64, String> {
    match quantity::parse_bytes(text)? {
        bytes if bytes >= 1 << 20 => Ok(bytes),
        _ => Err(format!("'{text}' is less than 1m")),
    }
}

fn parse_filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.trim_end_matches('s').parse().map_err(|_| "expected a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options, clap::Error> {
        Options::try_parse_from([&["lake-submit"], arguments].concat())
    }

    #[test]
    fn the_definition_is_consistent() {
        <Options as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn verbs_exclude_each_other_and_one_is_needed() {
        for arguments in [&["job.toml"][..], &["--status", "a"], &["--kill", "a"], &["--logs", "a", "-f"], &["--list"]]
        {
            assert!(parse(arguments).is_ok(), "{arguments:?}");
        }
        for arguments in [&[][..], &["job.toml", "--list"], &["--status", "a", "--kill", "a"], &["--list", "-f"]] {
            assert_eq!(parse(arguments).unwrap_err().exit_code(), 2, "{arguments:?}");
        }
    }

    #[test]
    fn every_flag_of_a_submission_is_read() {
        let options = parse(&[
            "--master",
            "spark://a:1,b:2",
            "--deploy-mode",
            "client",
            "--param",
            "ds=2026-01-01",
            "--param",
            "q=a=b,c",
            "--only",
            "a.b,c.d",
            "--from",
            "a.b",
            "--full-refresh",
            "--no-supervise",
            "--name",
            "n",
            "--total-executor-cores",
            "3",
            "--driver-memory",
            "2g",
            "--conf",
            "warehouse.root=/x",
            "--output",
            "json",
            "-v",
            "job.toml",
        ])
        .unwrap();
        assert_eq!(options.deploy_mode, DeployMode::Client);
        assert_eq!(options.params, [("ds".into(), "2026-01-01".into()), ("q".into(), "a=b,c".into())]);
        assert_eq!(options.overrides, [("warehouse.root".into(), "/x".into())]);
        assert_eq!(options.only, ["a.b", "c.d"]);
        assert_eq!((options.driver_memory, options.total_executor_cores), (Some(2 << 30), Some(3)));
        assert!(options.no_supervise && options.full_refresh && options.verbose && !options.no_wait);
        assert_eq!(options.connect_timeout, Duration::from_secs(30));
    }

    #[test]
    fn the_last_of_supervise_and_no_supervise_wins() {
        assert!(!parse(&["job.toml", "--no-supervise", "--supervise"]).unwrap().no_supervise);
        assert!(parse(&["job.toml", "--supervise", "--no-supervise"]).unwrap().no_supervise);
    }

    #[test]
    fn the_log_is_quiet_unless_it_is_asked_for_and_a_broken_filter_is_refused() {
        let filter = |arguments: &[&str]| parse(arguments).unwrap().log_filter().to_owned();
        assert_eq!(filter(&["job.toml", "--log-level", "info,lake_engine=debug"]), "info,lake_engine=debug");
        assert_eq!(filter(&["job.toml", "--log-level", "warn", "-v"]), "warn");
        assert_eq!(filter(&["job.toml", "-v"]), LOG_FILTER);
        assert_eq!(parse(&["job.toml", "--log-level", "lake_engine=loud"]).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn sizes_follow_spark() {
        assert_eq!(parse_memory("512m"), Ok(512 << 20));
        assert_eq!(parse_memory("8G"), Ok(8 << 30));
        assert_eq!(parse_memory("1048576"), Ok(1 << 20));
        for text in ["", "m", "1x", "-1g", "1k", "99999999999t"] {
            assert!(parse_memory(text).is_err(), "{text}");
        }
    }
}
