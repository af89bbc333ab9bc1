//! The way to the leading master from a driver. Edge.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lake_proto::channel::{connect, master_addresses};
use lake_proto::{ErrorClass, Fault};
use tokio::sync::Mutex;
use tonic::transport::Channel;

use crate::{EngineError, Result};

const CONNECT_FOR: Duration = Duration::from_secs(30);
const CONNECT_PAUSE: Duration = Duration::from_millis(300);

/// The masters of a cluster; cheap to clone.
#[derive(Clone)]
pub struct Masters {
    addresses: Arc<[String]>,
    open: Arc<Mutex<Option<Channel>>>,
}

impl Masters {
    /// The masters named in `url` (`lake://host:port,…`).
    ///
    /// # Errors
    /// `invalid-job` when the URL is not one.
    pub fn new(url: &str) -> Result<Self> {
        Ok(Self { addresses: master_addresses(url)?.into(), open: Arc::default() })
    }

    /// An open channel, tried for 30 seconds.
    ///
    /// # Errors
    /// `unavailable` when no master answers.
    pub async fn channel(&self) -> Result<Channel> {
        let mut open = self.open.lock().await;
        if let Some(channel) = open.as_ref() {
            return Ok(channel.clone());
        }
        let give_up = Instant::now() + CONNECT_FOR;
        loop {
            let mut last = None;
            for address in self.addresses.iter() {
                match connect(address).await {
                    Ok(channel) => {
                        *open = Some(channel.clone());
                        return Ok(channel);
                    }
                    Err(fault) => last = Some(fault),
                }
            }
            if Instant::now() >= give_up {
                let last = last.map_or_else(String::new, |fault| format!(": {fault}"));
                let tried = self.addresses.join(", ");
                return Err(EngineError::unavailable("no-master", format!("no master answers at {tried}{last}")));
            }
            tokio::time::sleep(CONNECT_PAUSE).await;
        }
    }

    /// Drops the channel, so that the next call looks for the leader again.
    pub async fn forget(&self) {
        *self.open.lock().await = None;
    }

    /// Makes a call that may be repeated, until a master has answered it.
    ///
    /// # Errors
    /// The answer's fault; `unavailable` when no master answered within 30 seconds.
    pub async fn call<T, F>(&self, mut call: impl FnMut(Channel) -> F) -> Result<T>
    where
        F: Future<Output = std::result::Result<tonic::Response<T>, tonic::Status>>,
    {
        let give_up = Instant::now() + CONNECT_FOR;
        loop {
            let fault = match call(self.channel().await?).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => Fault::from(status),
            };
            if fault.class != ErrorClass::Unavailable || Instant::now() >= give_up {
                return Err(fault.into());
            }
            self.forget().await;
            tokio::time::sleep(CONNECT_PAUSE).await;
        }
    }
}
