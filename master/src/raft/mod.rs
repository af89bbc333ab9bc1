//! The replicated log at arm's length: start a member, propose commands, read the state. Edge.
//!
//! One thread owns raft ([`node`]); everybody else holds a [`Raft`]. Never here: what commands mean.

mod logger;
mod node;
mod store;

use std::path::Path;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use lake_master_core::{Command, Event, State, codec};
use lake_proto::{ErrorClass, Fault};
use tokio::sync::{oneshot, watch};

use self::node::{Node, Request};
use self::store::Store;

const MAILBOX: usize = 4_096;
const PROPOSAL_TIMEOUT: Duration = Duration::from_secs(10);
const FILE: &str = "raft.redb";
const THREAD: &str = "lake-raft";

/// What this member is in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It decides, and its state has every command that was ever acknowledged.
    Leader,
    /// Another member decides.
    Follower,
    /// Nobody decides.
    NoQuorum,
}

impl Role {
    /// The name in `/readyz`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::NoQuorum => "no quorum",
        }
    }
}

/// Where raft stands; changes whenever something was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) role: Role,
    pub(crate) term: u64,
    pub(crate) applied: u64,
}

/// Handle of the raft thread. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Raft {
    mailbox: SyncSender<Request>,
    state: Arc<RwLock<State>>,
    status: watch::Receiver<Status>,
}

/// The raft thread itself, to wait for its end.
pub(crate) struct RaftThread {
    mailbox: SyncSender<Request>,
    thread: JoinHandle<()>,
}

/// Opens the log in `data_dir` and starts the member. It campaigns at once when it is alone.
///
/// # Errors
/// `internal` when the log is damaged, `resource` when the directory cannot be used.
pub(crate) fn start(data_dir: &Path, id: u64) -> Result<(Raft, RaftThread), Fault> {
    std::fs::create_dir_all(data_dir).map_err(|error| {
        let message = format!("data directory {} cannot be made: {error}", data_dir.display());
        Fault::new(ErrorClass::Resource, "data-dir", message)
    })?;
    let store = Store::open(&data_dir.join(FILE), id).map_err(|error| {
        let class = match error {
            store::Error::Database { .. } | store::Error::OtherMember { .. } => ErrorClass::Resource,
            store::Error::Damaged { .. } => ErrorClass::Internal,
        };
        Fault::new(class, "raft-log", error.to_string())
    })?;
    let damaged = |error: String| Fault::new(ErrorClass::Internal, "raft-log", error);
    let snapshot = store.snapshot_bytes().map_err(|error| damaged(error.to_string()))?;
    let state = match snapshot {
        Some(bytes) => codec::decode_state(&bytes).map_err(|error| damaged(error.to_string()))?,
        None => State::default(),
    };
    let state = Arc::new(RwLock::new(state));
    let (mailbox, requests) = sync_channel(MAILBOX);
    let (publish, status) = watch::channel(Status { role: Role::NoQuorum, term: 0, applied: 0 });
    let node = Node::new(id, store, Arc::clone(&state), publish).map_err(|error| damaged(error.to_string()))?;
    let thread =
        std::thread::Builder::new().name(THREAD.to_owned()).spawn(move || node.run(&requests)).map_err(|error| {
            Fault::new(ErrorClass::Resource, "thread", format!("cannot start the raft thread: {error}"))
        })?;
    let raft = Raft { mailbox: mailbox.clone(), state, status };
    Ok((raft, RaftThread { mailbox, thread }))
}

impl Raft {
    /// Has a command committed and applied, and answers with what it did. A repeat is as harmless as the command is.
    ///
    /// # Errors
    /// The refusal of the state machine; `unavailable` when this member does not lead or cannot reach a quorum, in
    /// which case the command may still be applied later.
    pub(crate) async fn propose(&self, command: Command) -> Result<Vec<Event>, Fault> {
        let unavailable = |code: &str, message: &str| Fault::new(ErrorClass::Unavailable, code, message);
        let (reply, answer) = oneshot::channel();
        self.mailbox.try_send(Request::Propose { command: Box::new(command), reply }).map_err(|error| match error {
            TrySendError::Full(_) => unavailable("busy", "the master has too many commands under way; try again"),
            TrySendError::Disconnected(_) => unavailable("stopping", "the master is stopping"),
        })?;
        let events = match tokio::time::timeout(PROPOSAL_TIMEOUT, answer).await {
            Ok(Ok(answer)) => answer?,
            Ok(Err(_)) => return Err(unavailable("stopping", "the master is stopping")),
            Err(_) => return Err(unavailable("no-quorum", "the masters did not agree in time; try again")),
        };
        match events.first() {
            Some(Event::Rejected(fault)) => Err(fault.clone()),
            Some(_) | None => Ok(events),
        }
    }

    /// Looks at the state. `look` must be short: commands wait for it.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where raft stands now.
    pub(crate) fn status(&self) -> Status {
        *self.status.borrow()
    }

    /// Changes of [`Self::status`].
    pub(crate) fn watch(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Refuses unless this member leads.
    ///
    /// # Errors
    /// `unavailable`, code `not-leader`.
    pub(crate) fn check_leader(&self) -> Result<(), Fault> {
        match self.status().role {
            Role::Leader => Ok(()),
            Role::Follower | Role::NoQuorum => Err(not_leader()),
        }
    }
}

impl RaftThread {
    /// Ends the thread after a last snapshot. Blocks until the file is closed.
    pub(crate) fn stop(self) {
        // A thread that is gone already has nothing left to stop.
        let _ = self.mailbox.send(Request::Stop);
        let _ = self.thread.join();
    }
}

fn not_leader() -> Fault {
    Fault::new(ErrorClass::Unavailable, "not-leader", "this master does not lead now; try again or ask another one")
}

#[cfg(test)]
mod tests;
