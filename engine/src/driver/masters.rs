//! The way to the leading master from a driver. Edge.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lake_proto::channel::connect;
use lake_proto::masters::Addresses;
use lake_proto::{ErrorClass, Fault};
use tokio::sync::Mutex;
use tonic::Status;
use tonic::transport::Channel;

use crate::{EngineError, Result};

const CONNECT_FOR: Duration = Duration::from_secs(30);
const CONNECT_PAUSE: Duration = Duration::from_millis(300);

/// The masters of a cluster; cheap to clone.
#[derive(Clone)]
pub struct Masters {
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    addresses: Addresses,
    /// To the first address.
    open: Option<Channel>,
}

impl Masters {
    /// The masters named in `url` (`lake://host:port,…`).
    ///
    /// # Errors
    /// `invalid-job` when the URL is not one.
    pub fn new(url: &str) -> Result<Self> {
        let shared = Shared { addresses: Addresses::of(url)?, open: None };
        Ok(Self { shared: Arc::new(Mutex::new(shared)) })
    }

    /// An open channel, tried for 30 seconds.
    ///
    /// # Errors
    /// `unavailable` when no master answers.
    pub async fn channel(&self) -> Result<Channel> {
        let mut shared = self.shared.lock().await;
        if let Some(channel) = &shared.open {
            return Ok(channel.clone());
        }
        let give_up = Instant::now() + CONNECT_FOR;
        loop {
            let mut last = String::new();
            for _ in 0..shared.addresses.count() {
                match connect(shared.addresses.first()).await {
                    Ok(channel) => {
                        shared.open = Some(channel.clone());
                        return Ok(channel);
                    }
                    Err(fault) => last = format!(": {fault}"),
                }
                shared.addresses.pass_on();
            }
            if Instant::now() >= give_up {
                let tried: Vec<&str> = shared.addresses.iter().collect();
                let tried = tried.join(", ");
                return Err(EngineError::unavailable("no-master", format!("no master answers at {tried}{last}")));
            }
            tokio::time::sleep(CONNECT_PAUSE).await;
        }
    }

    /// Drops the channel: the next call looks for the leader again, at another master first.
    pub async fn forget(&self) {
        let mut shared = self.shared.lock().await;
        shared.open = None;
        shared.addresses.pass_on();
    }

    /// As [`Self::forget`], for a master that answered: it may have named the leader.
    pub(super) async fn redirect(&self, status: &Status) {
        let mut shared = self.shared.lock().await;
        shared.open = None;
        shared.addresses.redirect(status);
    }

    /// Makes a call that may be repeated, until a master has answered it.
    ///
    /// # Errors
    /// The answer's fault; `unavailable` when no master answered within 30 seconds.
    pub async fn call<T, F>(&self, mut call: impl FnMut(Channel) -> F) -> Result<T>
    where
        F: Future<Output = std::result::Result<tonic::Response<T>, Status>>,
    {
        let give_up = Instant::now() + CONNECT_FOR;
        loop {
            let status = match call(self.channel().await?).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => status,
            };
            let fault = Fault::from(status.clone());
            if fault.class != ErrorClass::Unavailable || Instant::now() >= give_up {
                return Err(fault.into());
            }
            self.redirect(&status).await;
            tokio::time::sleep(CONNECT_PAUSE).await;
        }
    }
}
