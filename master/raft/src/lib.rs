//! The replicated log at arm's length: open a member, found or join its group, propose commands, read the state. Edge.
//!
//! One thread owns raft ([`thread`]); everybody else holds a [`Raft`]. The member itself ([`node`]) has neither thread
//! nor clock, so that the seeded simulation runs the same code. Never here: what commands mean.
#![warn(missing_docs)]

mod founding;
mod logger;
mod member;
mod node;
mod operate;
mod peers;
mod service;
#[cfg(test)]
mod simulation;
mod start;
mod store;
mod thread;
mod wire;

use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use lake_master_core::{Command, Event, State};
use lake_metrics::Moves;
use lake_proto::{ErrorClass, Fault};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout};

pub use self::member::{Directory, Member};
pub use self::node::{Group, GroupMember};
pub use self::service::PeersService;
pub use self::start::{Options, RaftThread, Starting, open};
use self::thread::Request;

/// Version of what members say to each other; both ends must have the same.
const PROTOCOL: u32 = 1;
const PROPOSAL_TIMEOUT: Duration = Duration::from_secs(10);
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(1);
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Raft drops a read question in silence while the leader changes.
const READ_REPEAT: Duration = Duration::from_millis(500);

/// What this member is in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It decides, and its state has every command that was ever acknowledged.
    Leader,
    /// Another member decides.
    Follower,
    /// Nobody decides, as far as this member knows.
    NoQuorum,
}

impl Role {
    /// The name in `/readyz`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::NoQuorum => "no quorum",
        }
    }
}

/// Where raft stands; changes whenever something was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// What this member is.
    pub role: Role,
    /// raft's term.
    pub term: u64,
    /// Index of the last entry applied here.
    pub applied: u64,
    /// The member that leads; 0 = nobody known.
    pub leader: u64,
}

/// Handle of a member. Cheap to clone.
#[derive(Clone)]
pub struct Raft {
    mailbox: SyncSender<Request>,
    state: Arc<RwLock<State>>,
    status: watch::Receiver<Status>,
    members: watch::Receiver<Directory>,
    group_key: Arc<OnceLock<[u8; 32]>>,
    moves: Arc<Moves>,
}

impl Raft {
    /// Has a command committed and applied, and answers with what it did. A repeat is as harmless as the command is.
    ///
    /// # Errors
    /// The refusal of the state machine; `unavailable` when this member does not lead or cannot reach a quorum, in
    /// which case the command may still be applied later.
    pub async fn propose(&self, command: Command) -> Result<Vec<Event>, Fault> {
        let (reply, answer) = oneshot::channel();
        let proposed = Instant::now();
        self.put(Request::Propose { command: Box::new(command), reply })?;
        let events = agreed(answer).await?;
        self.moves.proposal_seconds.observe(proposed.elapsed());
        match events.first() {
            Some(Event::Rejected(fault)) => Err(fault.clone()),
            Some(_) | None => Ok(events),
        }
    }

    /// Waits until this member, leader or not, has applied everything that was acknowledged before the call, so that a
    /// [`Self::read`] after it is linearizable.
    ///
    /// # Errors
    /// `unavailable` when no quorum confirms the leader in time.
    pub async fn catch_up(&self) -> Result<(), Fault> {
        let deadline = Instant::now() + READ_TIMEOUT;
        while Instant::now() < deadline {
            let (reply, answer) = oneshot::channel();
            self.put(Request::ReadIndex { reply })?;
            if let Ok(Ok(answer)) = timeout(READ_REPEAT, answer).await {
                return answer;
            }
        }
        Err(no_quorum())
    }

    /// What every member of the group has, now and after any restart, and nobody else unless he speaks gRPC with them: it
    /// follows from the random names of the data directories that the group was founded with. `None` before this member
    /// belongs to a group.
    pub fn group_key(&self) -> Option<[u8; 32]> {
        self.group_key.get().copied()
    }

    /// Looks at the state. `look` must be short: commands wait for it.
    pub fn read<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where raft stands now.
    pub fn status(&self) -> Status {
        *self.status.borrow()
    }

    /// Changes of [`Self::status`].
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// What was counted here since the start.
    pub fn moves(&self) -> &Moves {
        &self.moves
    }

    /// The members, with the addresses under which this one reaches them.
    pub fn members(&self) -> Directory {
        self.members.borrow().clone()
    }

    /// `host:port` of the leader, unless nobody is known to lead.
    pub fn leader_address(&self) -> Option<String> {
        self.members.borrow().get(self.status().leader).map(|member| member.address.clone())
    }

    /// Gives leadership to another member, if this one leads and there is another; waits a second at most.
    pub async fn hand_over(&self) {
        let mut status = self.status.clone();
        if status.borrow().role != Role::Leader || self.members.borrow().len() < 2 {
            return;
        }
        if self.put(Request::HandOver).is_ok() {
            let handed_over = status.wait_for(|status| status.role != Role::Leader);
            if timeout(HAND_OVER_TIMEOUT, handed_over).await.is_err() {
                tracing::warn!("no other master took over in time");
            }
        }
    }

    /// Refuses unless this member leads.
    ///
    /// # Errors
    /// `unavailable`, code `not-leader`; the message names the leader when it is known.
    pub fn check_leader(&self) -> Result<(), Fault> {
        if self.status().role == Role::Leader {
            return Ok(());
        }
        let message = match self.leader_address() {
            Some(address) => format!("this master does not lead now; the leader is at {address}"),
            None => "no master leads now; try again".to_owned(),
        };
        Err(Fault::new(ErrorClass::Unavailable, "not-leader", message))
    }

    fn put(&self, request: Request) -> Result<(), Fault> {
        self.mailbox.try_send(request).map_err(|error| match error {
            TrySendError::Full(_) => unavailable("busy", "the master has too many commands under way; try again"),
            TrySendError::Disconnected(_) => stopping(),
        })
    }
}

/// The answer to a proposal.
async fn agreed(answer: oneshot::Receiver<Result<Vec<Event>, Fault>>) -> Result<Vec<Event>, Fault> {
    match timeout(PROPOSAL_TIMEOUT, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(stopping()),
        Err(_) => Err(no_quorum()),
    }
}

fn unavailable(code: &str, message: &str) -> Fault {
    Fault::new(ErrorClass::Unavailable, code, message)
}

fn stopping() -> Fault {
    unavailable("stopping", "the master is stopping")
}

fn no_quorum() -> Fault {
    unavailable("no-quorum", "the masters did not agree in time; try again")
}

#[cfg(test)]
mod tests;
