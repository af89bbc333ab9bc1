//! Messages to the other members: one queue and one connection each, loss instead of waiting. Edge.

use std::collections::BTreeMap;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lake_proto::channel::{MAX_MESSAGE_BYTES, connect};
use lake_proto::v1::raft_peers_client::RaftPeersClient;
use lake_proto::{ErrorClass, Fault, codes, v1};
use raft::eraftpb::{Message, MessageType};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Channel;

use crate::member::{Directory, Member};
use crate::thread::Request;
use crate::wire;

/// Messages to one member that may wait; raft repeats what is dropped.
const QUEUE: usize = 1_024;
const MAX_BATCH: usize = 128;
const SEND_TIMEOUT: Duration = Duration::from_secs(2);
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(60);
const SNAPSHOT_PART_BYTES: usize = 1024 * 1024;
/// After a failure nothing is tried for this long.
const PAUSE: Duration = Duration::from_millis(200);

/// The queues. The raft thread puts messages in; a message for somebody unknown is dropped.
#[derive(Clone, Default)]
pub(crate) struct Outbound {
    queues: Arc<Mutex<BTreeMap<u64, mpsc::Sender<Message>>>>,
}

impl Outbound {
    pub(crate) fn send(&self, message: Message) {
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = queues.get(&message.to) {
            // A full queue drops the message.
            let _ = queue.try_send(message);
        }
    }

    fn set(&self, queues: BTreeMap<u64, mpsc::Sender<Message>>) {
        *self.queues.lock().unwrap_or_else(PoisonError::into_inner) = queues;
    }
}

/// Keeps one sender per other member, as the directory changes.
pub(crate) struct Peers {
    pub(crate) identity: v1::PeerIdentity,
    pub(crate) outbound: Outbound,
    pub(crate) members: watch::Receiver<Directory>,
    pub(crate) raft: SyncSender<Request>,
    pub(crate) stop: CancellationToken,
    /// Its senders; each ends when its queue is dropped, or with `stop`.
    pub(crate) tasks: TaskTracker,
}

impl Peers {
    pub(crate) async fn run(mut self) {
        let mut senders: BTreeMap<u64, (Member, mpsc::Sender<Message>)> = BTreeMap::new();
        loop {
            let members = self.members.borrow_and_update().clone();
            // Dropping a queue ends its sender.
            senders.retain(|id, (member, _)| members.get(*id) == Some(member));
            for member in members.iter().filter(|member| member.id != self.identity.id) {
                senders.entry(member.id).or_insert_with(|| (member.clone(), self.start(member.clone())));
            }
            self.outbound.set(senders.iter().map(|(id, (_, queue))| (*id, queue.clone())).collect());
            tokio::select! {
                () = self.stop.cancelled() => break,
                changed = self.members.changed() => if changed.is_err() { break },
            }
        }
        self.outbound.set(BTreeMap::new());
    }

    fn start(&self, to: Member) -> mpsc::Sender<Message> {
        let (queue, messages) = mpsc::channel(QUEUE);
        let sender = Sender { identity: self.identity.clone(), to, raft: self.raft.clone(), channel: None };
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(sender.run(messages)));
        queue
    }
}

/// Sends to one member. Ends when its queue is dropped.
struct Sender {
    identity: v1::PeerIdentity,
    to: Member,
    raft: SyncSender<Request>,
    channel: Option<Channel>,
}

impl Sender {
    async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        let mut is_reachable = true;
        let mut batch = Vec::new();
        while messages.recv_many(&mut batch, MAX_BATCH).await > 0 {
            let sent = self.send_all(std::mem::take(&mut batch)).await;
            match &sent {
                Ok(()) if !is_reachable => {
                    tracing::info!(member = self.to.id, address = self.to.address, "a master is reachable again");
                }
                Err(fault) if is_reachable => {
                    let (member, address) = (self.to.id, self.to.address.as_str());
                    tracing::warn!(member, address, "a master is not reachable: {fault}");
                }
                Ok(()) | Err(_) => {}
            }
            is_reachable = sent.is_ok();
            if !is_reachable {
                self.channel = None;
                self.tell(Request::Unreachable(self.to.id));
                tokio::time::sleep(PAUSE).await;
                // What waited is old by now.
                while messages.try_recv().is_ok() {}
            }
        }
    }

    async fn send_all(&mut self, batch: Vec<Message>) -> Result<(), Fault> {
        let (snapshots, small): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|message| message.msg_type() == MessageType::MsgSnapshot);
        let mut sent = if small.is_empty() { Ok(()) } else { self.send(&small).await };
        for snapshot in snapshots {
            let installed = self.install(&snapshot).await;
            self.tell(Request::SnapshotSent { to: self.to.id, has_arrived: installed.is_ok() });
            sent = sent.and(installed);
        }
        sent
    }

    async fn send(&mut self, messages: &[Message]) -> Result<(), Fault> {
        let request = v1::RaftMessages {
            identity: Some(self.identity.clone()),
            to: self.to.id,
            to_incarnation: self.to.incarnation.clone(),
            messages: messages.iter().map(|message| wire::encode(message).into()).collect(),
        };
        let mut service = self.service().await?;
        within(SEND_TIMEOUT, service.send(request)).await
    }

    async fn install(&mut self, snapshot: &Message) -> Result<(), Fault> {
        let bytes = wire::encode(snapshot);
        tracing::info!(member = self.to.id, bytes = bytes.len(), "a snapshot is sent");
        let mut parts = Vec::new();
        for data in bytes.chunks(SNAPSHOT_PART_BYTES) {
            let is_first = parts.is_empty();
            parts.push(v1::RaftSnapshotPart {
                identity: is_first.then(|| self.identity.clone()),
                to: self.to.id,
                to_incarnation: self.to.incarnation.clone(),
                data: data.to_vec().into(),
            });
        }
        let mut service = self.service().await?;
        within(SNAPSHOT_TIMEOUT, service.install_snapshot(tokio_stream::iter(parts))).await
    }

    async fn service(&mut self) -> Result<RaftPeersClient<Channel>, Fault> {
        let channel = match &self.channel {
            Some(channel) => channel.clone(),
            None => self.channel.insert(connect(&self.to.address).await?).clone(),
        };
        Ok(RaftPeersClient::new(channel)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
            .max_decoding_message_size(MAX_MESSAGE_BYTES))
    }

    /// A full mailbox loses the news; the next failure repeats it.
    fn tell(&self, news: Request) {
        let _ = self.raft.try_send(news);
    }
}

async fn within(
    limit: Duration,
    call: impl Future<Output = Result<tonic::Response<v1::Ack>, tonic::Status>>,
) -> Result<(), Fault> {
    match timeout(limit, call).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(status)) => Err(status.into()),
        Err(_) => {
            let message = format!("no answer within {} s", limit.as_secs());
            Err(Fault::new(ErrorClass::Unavailable, codes::NO_ANSWER, message))
        }
    }
}
