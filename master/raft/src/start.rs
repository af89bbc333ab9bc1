//! From a directory to a member that takes part. Edge.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use std::thread::JoinHandle;

use lake_master_core::{State, codec};
use lake_metrics::Moves;
use lake_proto::{ErrorClass, Fault, v1};
use sha2::{Digest, Sha256};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::founding::{Founded, found};
use crate::member::{Directory, Member};
use crate::node::{ELECTION_TICKS, Node};
use crate::peers::{Outbound, Peers};
use crate::service::{Desk, PeersService, Phase};
use crate::store::{self, Store};
use crate::thread::{Request, Thread};
use crate::{PROTOCOL, Raft, Role, Status};

const MAILBOX: usize = 4_096;
const FILE: &str = "raft.redb";
const THREAD: &str = "lake-raft";

/// How a member starts.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the log is.
    pub data_dir: PathBuf,
    /// This member's number, from 1.
    pub id: u64,
    /// `host:port` of its gRPC server, for the others.
    pub address: String,
    /// `host:port` of its HTTP server, for the others.
    /// All masters of the group with this one, as the operator lists them; empty for a group of one.
    pub peers: Directory,
    /// It is added to a group that exists.
    pub joins: bool,
}

/// A member whose file is open and which does not take part yet.
pub struct Starting {
    options: Options,
    store: Store,
    state: Arc<RwLock<State>>,
    moves: Arc<Moves>,
    desk: Arc<Desk>,
    mailbox: SyncSender<Request>,
    requests: Receiver<Request>,
    status: watch::Sender<Status>,
    members: watch::Sender<Directory>,
    group_key: Arc<OnceLock<[u8; 32]>>,
}

/// The raft thread itself, to wait for its end.
pub struct RaftThread {
    mailbox: SyncSender<Request>,
    thread: JoinHandle<()>,
    /// Ends the connections to the other members.
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Opens the log. The service must be served before [`Starting::start`] is awaited: the others ask it.
///
/// # Errors
/// `internal` when the log is damaged, `resource` when the directory cannot be used or is another member's.
pub fn open(options: Options) -> Result<(Raft, PeersService, Starting), Fault> {
    std::fs::create_dir_all(&options.data_dir).map_err(|error| {
        let message = format!("data directory {} cannot be made: {error}", options.data_dir.display());
        Fault::new(ErrorClass::Resource, "data-dir", message)
    })?;
    let store = Store::open(&options.data_dir.join(FILE), options.id).map_err(|error| {
        let class = match error {
            store::Error::Database { .. } | store::Error::OtherMember { .. } => ErrorClass::Resource,
            store::Error::Damaged { .. } => ErrorClass::Internal,
        };
        Fault::new(class, "raft-log", error.to_string())
    })?;
    let snapshot = store.snapshot_bytes().map_err(|error| damaged(&error))?;
    let state = match snapshot.filter(|bytes| !bytes.is_empty()) {
        Some(bytes) => codec::decode_state(&bytes).map_err(|error| damaged(&error))?,
        None => State::default(),
    };
    let state = Arc::new(RwLock::new(state));
    let desk = Arc::new(Desk {
        id: options.id,
        incarnation: store.identity().incarnation.clone(),
        address: options.address.clone(),
        phase: Mutex::new(Phase::Founding(options.peers.clone())),
    });
    let (mailbox, requests) = sync_channel(MAILBOX);
    let nowhere = Status { role: Role::NoQuorum, term: 0, applied: store.snapshot_at().index, leader: 0 };
    let (status, watch_status) = watch::channel(nowhere);
    let (members, watch_members) = watch::channel(options.peers.clone());
    let group_key = Arc::default();
    let moves: Arc<Moves> = Arc::default();
    let raft = Raft {
        mailbox: mailbox.clone(),
        state: Arc::clone(&state),
        status: watch_status,
        members: watch_members,
        group_key: Arc::clone(&group_key),
        moves: Arc::clone(&moves),
    };
    let service = PeersService { desk: Arc::clone(&desk) };
    Ok((raft, service, Starting { options, store, state, moves, desk, mailbox, requests, status, members, group_key }))
}

impl Starting {
    /// Founds the group with the others, or waits to be taken in, then takes part. Answers at once for a member of a
    /// founded group and for a group of one.
    ///
    /// # Errors
    /// As [`open`]; `invalid-job` when the masters' lists differ; `denied` when the group knows this member with
    /// another data directory or not at all.
    pub async fn start(mut self) -> Result<RaftThread, Fault> {
        if self.store.identity().cluster_id.is_none() {
            let me = Member {
                id: self.options.id,
                address: self.options.address.clone(),
                incarnation: self.store.identity().incarnation.clone(),
            };
            let founded = if self.options.joins {
                wait_to_be_taken_in(&self.desk, &self.options.address).await?
            } else if self.options.peers.len() > 1 {
                found(&me, &self.options.peers).await?
            } else {
                let members: Directory = [me].into_iter().collect();
                Founded { cluster_id: members.cluster_id(), members }
            };
            let voters = founded.members.iter().map(|member| member.id).collect();
            self.store.found(&founded.cluster_id, founded.members, voters).map_err(|error| damaged(&error))?;
            tracing::info!(cluster = founded.cluster_id, "this master belongs to a group now");
        }
        self.run()
    }

    fn run(self) -> Result<RaftThread, Fault> {
        let identity = self.store.identity().clone();
        let cluster_id = identity.cluster_id.unwrap_or_default();
        let key = Sha256::new().chain_update("lake group key\0").chain_update(&cluster_id).finalize();
        // Only a member that has just started gets here, once.
        let _ = self.group_key.set(key.into());
        let outbound = Outbound::default();
        let (moves, ticks) = (Arc::clone(&self.moves), ELECTION_TICKS..2 * ELECTION_TICKS);
        let node = Node::new(self.store, self.state, moves, ticks).map_err(|error| damaged(&error))?;
        let mut listed = self.options.peers;
        let (address, incarnation) = (self.options.address, identity.incarnation.clone());
        listed.insert(Member { id: identity.id, address, incarnation });
        let members = reachable(node.members(), &listed);
        self.members.send_replace(members.clone());
        self.desk.set(Phase::Member { cluster_id: cluster_id.clone(), members, raft: self.mailbox.clone() });
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let peers = Peers {
            identity: v1::PeerIdentity {
                protocol: PROTOCOL,
                cluster_id,
                id: identity.id,
                incarnation: identity.incarnation,
            },
            outbound: outbound.clone(),
            members: self.members.subscribe(),
            raft: self.mailbox.clone(),
            stop: stop.clone(),
            tasks: tasks.clone(),
        };
        tasks.spawn(peers.run());
        let thread = Thread {
            node,
            outbound,
            status: self.status,
            members: self.members,
            moves: self.moves,
            listed,
            desk: self.desk,
        };
        let requests = self.requests;
        let thread = std::thread::Builder::new().name(THREAD.to_owned()).spawn(move || thread.run(&requests)).map_err(
            |error| Fault::new(ErrorClass::Resource, "thread", format!("cannot start the raft thread: {error}")),
        )?;
        Ok(RaftThread { mailbox: self.mailbox, thread, stop, tasks })
    }
}

async fn wait_to_be_taken_in(desk: &Desk, address: &str) -> Result<Founded, Fault> {
    let (taken_in, answer) = oneshot::channel();
    desk.set(Phase::Joining(Some(taken_in)));
    tracing::info!("waiting to be added; run 'lake-master members add {}@{address}'", desk.id);
    answer.await.map_err(|_| Fault::new(ErrorClass::Unavailable, "stopping", "the master is stopping"))
}

impl RaftThread {
    /// Takes a last snapshot and ends, with the connections to the other members. Answers when the file is closed.
    pub async fn stop(self) {
        let (mailbox, thread) = (self.mailbox, self.thread);
        let closed = tokio::task::spawn_blocking(move || {
            // A thread that is gone already has nothing left to stop.
            let _ = mailbox.send(Request::Stop);
            thread.join()
        });
        if !matches!(closed.await, Ok(Ok(()))) {
            tracing::warn!("the raft thread did not end in order");
        }
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// The members as the log has them, at the addresses that the operator listed last.
pub(crate) fn reachable(members: &Directory, listed: &Directory) -> Directory {
    let mut reachable = members.clone();
    for peer in listed.iter() {
        let incarnation = members.get(peer.id).map_or_else(String::new, |member| member.incarnation.clone());
        reachable.insert(Member { incarnation, ..peer.clone() });
    }
    reachable
}

fn damaged(error: &dyn std::error::Error) -> Fault {
    Fault::new(ErrorClass::Internal, "raft-log", error.to_string())
}
