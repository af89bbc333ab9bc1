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
    turn: Turn,
}

/// Which choice of a master a call was made with. Who fails with an older one than the present changes nothing: of
/// several queries whose leader is gone each would undo what another one has just learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Turn(u64);

impl Masters {
    /// The masters named in `url` (`lake://host:port,…`).
    ///
    /// # Errors
    /// `invalid-job` when the URL is not one.
    pub fn new(url: &str) -> Result<Self> {
        let shared = Shared { addresses: Addresses::of(url)?, open: None, turn: Turn::default() };
        Ok(Self { shared: Arc::new(Mutex::new(shared)) })
    }

    /// An open channel, tried for 30 seconds.
    ///
    /// # Errors
    /// `unavailable` when no master answers.
    pub async fn channel(&self) -> Result<Channel> {
        self.reach().await.map(|(channel, _)| channel)
    }

    /// As [`Self::channel`], and what to give up with it.
    pub(crate) async fn reach(&self) -> Result<(Channel, Turn)> {
        let mut shared = self.shared.lock().await;
        if let Some(channel) = &shared.open {
            return Ok((channel.clone(), shared.turn));
        }
        let give_up = Instant::now() + CONNECT_FOR;
        loop {
            let mut last = String::new();
            for _ in 0..shared.addresses.count() {
                match connect(shared.addresses.first()).await {
                    Ok(channel) => {
                        shared.open = Some(channel.clone());
                        return Ok((channel, shared.turn));
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

    /// The present choice of a master.
    pub(super) async fn turn(&self) -> Turn {
        self.shared.lock().await.turn
    }

    /// Drops the channel: the next call looks for the leader again, at another master first.
    pub(crate) async fn forget(&self, turn: Turn) {
        self.give_up(turn, Addresses::pass_on).await;
    }

    /// As [`Self::forget`], for a master that answered: it may have named the leader.
    pub(crate) async fn redirect(&self, turn: Turn, status: &Status) {
        self.give_up(turn, |addresses| addresses.redirect(status)).await;
    }

    async fn give_up(&self, turn: Turn, choose: impl FnOnce(&mut Addresses)) {
        let mut shared = self.shared.lock().await;
        if shared.turn == turn {
            shared.turn = Turn(turn.0 + 1);
            shared.open = None;
            choose(&mut shared.addresses);
        }
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
            let (channel, turn) = self.reach().await?;
            let status = match call(channel).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => status,
            };
            let fault = Fault::from(status.clone());
            if fault.class != ErrorClass::Unavailable || Instant::now() >= give_up {
                return Err(fault.into());
            }
            self.redirect(turn, &status).await;
            tokio::time::sleep(CONNECT_PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn first(masters: &Masters) -> String {
        masters.shared.lock().await.addresses.first().to_owned()
    }

    #[tokio::test]
    async fn of_several_that_lost_the_same_master_only_the_first_chooses_another() {
        let masters = Masters::new("lake://a:1,b:2,c:3").unwrap();
        let lost = masters.turn().await;
        masters.forget(lost).await;
        masters.forget(lost).await;
        assert_eq!(first(&masters).await, "b:2");
        let mut status = Status::unavailable("not the leader");
        status.metadata_mut().insert(lake_proto::masters::LEADER_HEADER, "c:3".parse().unwrap());
        let asked = masters.turn().await;
        masters.redirect(asked, &status).await;
        masters.redirect(asked, &Status::unavailable("no leader yet")).await;
        masters.forget(lost).await;
        assert_eq!(first(&masters).await, "c:3");
    }
}
