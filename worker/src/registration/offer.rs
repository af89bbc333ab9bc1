//! What a worker says of itself, and whether a master knows it. Pure.

use crate::config::Config;

/// Where a worker listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// Name or address.
    pub host: String,
    /// Port of the service for masters.
    pub grpc_port: u16,
    /// Port of Arrow Flight.
    pub flight_port: u16,
    /// Port of the page.
    pub http_port: u16,
}

/// What this worker offers and where it is reached.
#[derive(Debug, Clone)]
pub struct Offer {
    /// Name or address others reach it by.
    pub host: String,
    /// Port masters read logs from.
    pub grpc_port: u16,
    /// Port readers fetch shuffle data from.
    pub flight_port: u16,
    /// Port of the page.
    pub http_port: u16,
    /// Tasks at once.
    pub cores: u32,
    /// Memory that tasks and drivers share.
    pub memory_bytes: u64,
}

impl Offer {
    /// The offer of a worker that listens at `bound`.
    pub fn new(config: &Config, bound: &Bound) -> Self {
        let advertised = &config.advertised;
        let port = |advertised: u16, bound: u16| if advertised == 0 { bound } else { advertised };
        Self {
            host: advertised.host.clone(),
            grpc_port: port(advertised.port, bound.grpc_port),
            flight_port: port(advertised.flight_port, bound.flight_port),
            http_port: port(advertised.webui_port, bound.http_port),
            cores: config.cores,
            memory_bytes: config.memory_bytes,
        }
    }
}

/// Whether a master knows this worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// No master answers, or none leads; why the last try failed.
    Searching(String),
    /// The leading master's stream is open.
    Registered {
        /// The id it gave.
        worker_id: String,
        /// Its address.
        master: String,
        /// Where its pages are; `None` when it has not told.
        pages: Option<String>,
    },
}
