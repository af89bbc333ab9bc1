//! What the daemon can be told: flags, environment, a TOML file, in this order of strength. Edge.
//!
//! The only place that reads the environment. Everything is checked here, before anything starts.

mod cli;

use std::net::SocketAddr;
use std::path::PathBuf;

use lake_master_core::admission::DEFAULT_MAX_QUEUED;
use lake_proto::{ErrorClass, Fault};
use lake_raft::Directory;
pub use lake_telemetry::LogFormat;

pub use self::cli::{Action, parse};

/// Effective settings of a master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Host to bind, and to be reached at by workers and drivers. Default `127.0.0.1`.
    pub host: String,
    /// gRPC port; 0 takes a free one. Default 7077.
    pub port: u16,
    /// Port of the page, the API and the metrics; 0 takes a free one. Default 8080.
    pub webui_port: u16,
    /// Where the replicated log is. Default `lake-master-data`.
    pub data_dir: PathBuf,
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
}

impl Default for Config {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 7077,
            webui_port: 8080,
            data_dir: PathBuf::from("lake-master-data"),
            id: 1,
            peers: Directory::default(),
            join: false,
            max_queued_applications: DEFAULT_MAX_QUEUED,
            log_format: LogFormat::Text,
            log_level: "info".to_owned(),
        }
    }
}

impl Config {
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
