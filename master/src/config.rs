//! What the daemon can be told: flags, environment, a TOML file, in this order of strength. Edge.
//!
//! The only place that reads the environment. Everything is checked here, before anything starts.

mod cli;
mod place;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use lake_master_core::admission::DEFAULT_MAX_QUEUED;
use lake_proto::v1::EffectiveSetting;
use lake_proto::{ErrorClass, Fault};
use lake_raft::Directory;
use lake_record::history::Retention;
pub use lake_telemetry::LogFormat;

pub use self::cli::{Action, parse};
pub(crate) use self::place::check as check_place;

/// Effective settings of a master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Host to bind, and to be reached at by workers and drivers. Default `127.0.0.1`.
    pub host: String,
    /// gRPC port; 0 takes a free one. Default 7077.
    pub port: u16,
    /// Port of the page, the API and the metrics; 0 takes a free one. Default 8080.
    pub webui_port: u16,
    /// Names beside its own under which the page, the API and the REST port are asked for; one that begins with a dot
    /// stands for all below it, `*` for all. Default empty.
    pub webui_allowed_hosts: Vec<String>,
    /// Port of Spark's submission REST API; 0 takes a free one, `None` serves none. Default 6066.
    pub rest_port: Option<u16>,
    /// Where the replicated log is. Default `lake-master-data`.
    pub data_dir: PathBuf,
    /// Where the records of applications that have ended are: a directory, or a URL with the scheme `file` or `s3`. The
    /// masters of a group may share it. Default `history` in [`Self::data_dir`].
    pub history_dir: Option<String>,
    /// Records of applications that ended longer ago are deleted; zero = never. Default 30 days.
    pub history_max_age: Duration,
    /// Records that are kept, those of the applications that ended last. 1 to 1,000,000. Default 10,000.
    pub history_max_count: u64,
    /// This master's number in its group, from 1. Default 1.
    pub id: u64,
    /// All masters of the group, with this one; empty for a group of one. Default empty.
    pub peers: Directory,
    /// It is added to a group that exists. Default false.
    pub join: bool,
    /// Applications that may wait for a driver; more are refused. 1 to 1,000,000. Default 20,000.
    pub max_queued_applications: u64,
    /// Shape of the log lines on stderr. Default `text`.
    pub log_format: LogFormat,
    /// What is logged, as a `tracing` filter. Default `info`.
    pub log_level: String,
    /// All of these with where they come from, to be shown. Empty when nothing was parsed.
    pub effective: Vec<EffectiveSetting>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 7077,
            webui_port: 8080,
            webui_allowed_hosts: Vec::new(),
            rest_port: Some(6066),
            data_dir: PathBuf::from("lake-master-data"),
            history_dir: None,
            history_max_age: Duration::from_secs(30 * 86_400),
            history_max_count: 10_000,
            id: 1,
            peers: Directory::default(),
            join: false,
            max_queued_applications: DEFAULT_MAX_QUEUED,
            log_format: LogFormat::Text,
            log_level: "info".to_owned(),
            effective: Vec::new(),
        }
    }
}

impl Config {
    /// Where the history is.
    pub(crate) fn history_location(&self) -> String {
        let own = || self.data_dir.join("history").display().to_string();
        self.history_dir.clone().unwrap_or_else(own)
    }

    /// What is kept of the history.
    pub(crate) fn retention(&self) -> Retention {
        Retention {
            max_age_ms: u64::try_from(self.history_max_age.as_millis()).unwrap_or(u64::MAX),
            most: usize::try_from(self.history_max_count).unwrap_or(usize::MAX),
        }
    }

    /// The addresses to bind, found by name if need be.
    ///
    /// # Errors
    /// `invalid-job` when the host is not known.
    pub(crate) async fn bind_address(&self, port: u16) -> Result<SocketAddr, Fault> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let unknown = |why: String| invalid(format!("--host '{}' cannot be resolved: {why}", self.host));
        let mut addresses = tokio::net::lookup_host((host, port)).await.map_err(|error| unknown(error.to_string()))?;
        addresses.next().ok_or_else(|| unknown("no address".to_owned()))
    }
}

fn invalid(message: String) -> Fault {
    Fault::new(ErrorClass::InvalidJob, "config", message)
}

#[cfg(test)]
mod tests;
