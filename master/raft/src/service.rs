//! What the other members send. Edge: checks who speaks, decodes, puts it into the mailbox.

use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};

use lake_proto::v1::raft_peers_server::RaftPeers;
use lake_proto::{ErrorClass, Fault, v1};
use tokio::sync::oneshot;
use tonic::{Request, Response, Status, Streaming};

use crate::PROTOCOL;
use crate::founding::{Founded, other_protocol};
use crate::member::Directory;
use crate::thread::Request as Ask;
use crate::wire;

/// The largest snapshot that is taken in.
const MAX_SNAPSHOT_BYTES: usize = 1024 * 1024 * 1024;

/// What this member is to the others, as it changes while it starts.
pub(crate) struct Desk {
    /// Without the cluster, which is in the phase.
    pub(crate) id: u64,
    pub(crate) incarnation: String,
    pub(crate) address: String,
    pub(crate) phase: Mutex<Phase>,
}

pub(crate) enum Phase {
    /// Waits for the others; what its --peers say.
    Founding(Directory),
    /// Waits to be taken in: the first message of a leader tells the group.
    Joining(Option<oneshot::Sender<Founded>>),
    /// Takes part.
    Member { cluster_id: String, members: Directory, raft: SyncSender<Ask> },
}

/// The service; cheap to clone.
#[derive(Clone)]
pub struct PeersService {
    pub(crate) desk: Arc<Desk>,
}

impl Desk {
    pub(crate) fn set(&self, phase: Phase) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    /// Keeps the list that senders are checked against as the log has it.
    pub(crate) fn know(&self, newer: &Directory) {
        if let Phase::Member { members, .. } = &mut *self.phase.lock().unwrap_or_else(PoisonError::into_inner) {
            members.clone_from(newer);
        }
    }

    fn hello(&self) -> v1::PeerHello {
        let (cluster_id, members) = match &*self.phase.lock().unwrap_or_else(PoisonError::into_inner) {
            Phase::Founding(peers) => (String::new(), wire::records(peers)),
            Phase::Joining(_) => (String::new(), Vec::new()),
            Phase::Member { cluster_id, members, .. } => (cluster_id.clone(), wire::records(members)),
        };
        v1::PeerHello {
            identity: Some(v1::PeerIdentity {
                protocol: PROTOCOL,
                cluster_id,
                id: self.id,
                incarnation: self.incarnation.clone(),
            }),
            address: self.address.clone(),
            members,
        }
    }

    /// The mailbox, when the sender is a member of this group and means this incarnation.
    fn admit(&self, from: Option<v1::PeerIdentity>, to: u64, to_incarnation: &str) -> Result<SyncSender<Ask>, Fault> {
        let from = from.unwrap_or_default();
        if from.protocol != PROTOCOL {
            return Err(other_protocol(from.id, from.protocol));
        }
        // A member that joins knows only the addresses of the others.
        if to != self.id || !(to_incarnation.is_empty() || to_incarnation == self.incarnation) {
            let message = format!(
                "the message is for master {to} with another data directory; this is master {} and its directory is not \
                 the one that the group knows",
                self.id
            );
            return Err(Fault::new(ErrorClass::Denied, "other-incarnation", message));
        }
        match &mut *self.phase.lock().unwrap_or_else(PoisonError::into_inner) {
            Phase::Founding(_) => Err(not_yet("waits for the other masters of its group")),
            Phase::Joining(taken_in) => {
                if let Some(taken_in) = taken_in.take() {
                    // A start that has ended needs no group.
                    let _ = taken_in.send(Founded { cluster_id: from.cluster_id, members: Directory::default() });
                }
                Err(not_yet("has just been taken into a group"))
            }
            Phase::Member { cluster_id, .. } if *cluster_id != from.cluster_id => {
                let message = format!(
                    "master {} belongs to group {cluster_id}, the sender to {}; each group needs its own addresses and \
                     data directories",
                    self.id, from.cluster_id
                );
                Err(Fault::new(ErrorClass::Denied, "other-cluster", message))
            }
            Phase::Member { members, raft, .. } => match members.get(from.id) {
                // One that is only listed by the operator has no incarnation yet.
                Some(known) if !known.incarnation.is_empty() && known.incarnation != from.incarnation => {
                    let message = format!(
                        "master {} comes with another data directory than the one that its group knows; remove it and let \
                         it join under a new --id",
                        from.id
                    );
                    Err(Fault::new(ErrorClass::Denied, "other-incarnation", message))
                }
                // A member that this one has not heard of yet was added by an entry that is on its way.
                Some(_) | None => Ok(raft.clone()),
            },
        }
    }
}

#[tonic::async_trait]
impl RaftPeers for PeersService {
    async fn hello(&self, request: Request<v1::PeerHello>) -> Result<Response<v1::PeerHello>, Status> {
        let from = request.into_inner().identity.unwrap_or_default();
        if from.protocol != PROTOCOL {
            return Err(other_protocol(from.id, from.protocol).into());
        }
        Ok(Response::new(self.desk.hello()))
    }

    async fn send(&self, request: Request<v1::RaftMessages>) -> Result<Response<v1::Ack>, Status> {
        let request = request.into_inner();
        let raft = self.desk.admit(request.identity, request.to, &request.to_incarnation)?;
        let mut messages = Vec::with_capacity(request.messages.len());
        for bytes in &request.messages {
            messages.push(wire::decode(bytes).map_err(|error| undecodable(&error))?);
        }
        put(&raft, messages)?;
        Ok(Response::new(v1::Ack {}))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<v1::RaftSnapshotPart>>,
    ) -> Result<Response<v1::Ack>, Status> {
        let mut parts = request.into_inner();
        let mut bytes = Vec::new();
        let mut raft = None;
        while let Some(part) = parts.message().await? {
            if raft.is_none() {
                raft = Some(self.desk.admit(part.identity, part.to, &part.to_incarnation)?);
            }
            if bytes.len().saturating_add(part.data.len()) > MAX_SNAPSHOT_BYTES {
                let message = format!("the snapshot is larger than {MAX_SNAPSHOT_BYTES} bytes");
                return Err(Fault::new(ErrorClass::Resource, "snapshot-too-large", message).into());
            }
            bytes.extend_from_slice(&part.data);
        }
        let raft = raft.ok_or_else(|| Fault::new(ErrorClass::InvalidJob, "request", "the snapshot has no parts"))?;
        put(&raft, vec![wire::decode(&bytes).map_err(|error| undecodable(&error))?])?;
        Ok(Response::new(v1::Ack {}))
    }
}

/// A full mailbox loses the messages; raft repeats them.
fn put(raft: &SyncSender<Ask>, messages: Vec<raft::eraftpb::Message>) -> Result<(), Fault> {
    raft.try_send(Ask::Step(messages)).map_err(|_| Fault::new(ErrorClass::Unavailable, "busy", "the mailbox is full"))
}

fn not_yet(what: &str) -> Fault {
    Fault::new(ErrorClass::Unavailable, "not-ready", format!("this master {what}"))
}

fn undecodable(error: &wire::Undecodable) -> Fault {
    Fault::new(ErrorClass::InvalidJob, "request", error.to_string())
}
