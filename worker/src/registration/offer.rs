//! What a worker says of itself, and whether a master knows it. Pure.

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
    },
}
