//! The thread that owns a member: a mailbox, a clock, and the end of the process when it cannot go on. Edge.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lake_master_core::Command;
use lake_metrics::Moves;
use raft::eraftpb::Message;
use tokio::sync::{oneshot, watch};

use crate::Status;
use crate::member::Directory;
use crate::node::{Change, Error, Group, Node, ReadReply, Reply};
use crate::peers::Outbound;
use crate::service::Desk;
use crate::start::reachable;

const TICK: Duration = Duration::from_millis(100);
/// Requests taken together, so that they share an fsync.
const MAX_REQUESTS_PER_READY: usize = 512;

/// What the thread is asked.
pub(crate) enum Request {
    /// Commit and apply a command.
    Propose { command: Box<Command>, reply: Reply },
    /// Commit and apply a change of members.
    Change { change: Change, reply: Reply },
    /// Wait until everything acknowledged before now is applied.
    ReadIndex { reply: ReadReply },
    /// Look at the group.
    Group { reply: oneshot::Sender<Group> },
    /// Messages of another member.
    Step(Vec<Message>),
    /// A member could not be reached.
    Unreachable(u64),
    /// A snapshot has arrived at a member, or not.
    SnapshotSent { to: u64, has_arrived: bool },
    /// Give leadership to another member.
    HandOver,
    /// Take a snapshot and end.
    Stop,
}

pub(crate) struct Thread {
    pub(crate) node: Node,
    pub(crate) outbound: Outbound,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) members: watch::Sender<Directory>,
    pub(crate) moves: Arc<Moves>,
    /// The masters as the operator lists them.
    pub(crate) listed: Directory,
    pub(crate) desk: Arc<Desk>,
}

impl Thread {
    /// Runs until [`Request::Stop`] or until every handle is gone. Ends the process on a panic or a failed write.
    pub(crate) fn run(mut self, requests: &Receiver<Request>) {
        let _guard = AbortOnPanic;
        if let Err(error) = self.serve(requests) {
            tracing::error!(error = %error, error.class = "internal", "raft cannot go on; the process ends");
            std::process::abort();
        }
    }

    fn serve(&mut self, requests: &Receiver<Request>) -> Result<(), Error> {
        if self.node.is_alone() {
            self.node.campaign()?;
        }
        let mut ticked = Instant::now();
        loop {
            self.handle_ready()?;
            let wait = TICK.saturating_sub(ticked.elapsed());
            match requests.recv_timeout(wait) {
                Ok(request) => {
                    let more = std::iter::from_fn(|| requests.try_recv().ok()).take(MAX_REQUESTS_PER_READY);
                    for request in std::iter::once(request).chain(more) {
                        if matches!(request, Request::Stop) {
                            return self.node.close();
                        }
                        self.handle(request)?;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return self.node.close(),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                self.node.tick();
            }
        }
    }

    fn handle(&mut self, request: Request) -> Result<(), Error> {
        match request {
            Request::Propose { command, reply } => self.node.propose(now_ms(), &command, reply)?,
            Request::Change { change, reply } => self.node.propose_change(&change, reply),
            Request::ReadIndex { reply } => self.node.read_index(reply),
            // An asker that has gone away needs no answer.
            Request::Group { reply } => drop(reply.send(self.node.group())),
            Request::Step(messages) => messages.into_iter().for_each(|message| self.node.step(message)),
            Request::Unreachable(id) => self.node.unreachable(id),
            Request::SnapshotSent { to, has_arrived } => self.node.snapshot_sent(to, has_arrived),
            Request::HandOver => self.node.hand_over(),
            Request::Stop => {}
        }
        Ok(())
    }

    fn handle_ready(&mut self) -> Result<(), Error> {
        let outbound = &self.outbound;
        self.node.handle_ready(&mut |message| outbound.send(message))?;
        let members = reachable(self.node.members(), &self.listed);
        if publish(&self.members, &members) {
            self.desk.know(&members);
        }
        let status = self.node.status();
        if status.leader != self.status.borrow().leader {
            self.moves.leader_changes.add_one();
            tell_leader(&status, self.node.members());
        }
        publish(&self.status, &status);
        Ok(())
    }
}

/// Every member says whom it follows, so that each log has the story of the group.
fn tell_leader(status: &Status, members: &Directory) {
    let (leader, term) = (status.leader, status.term);
    match members.get(leader) {
        None if leader == 0 => tracing::info!(term, "no leader is known"),
        member => {
            let address = member.map(|member| member.address.as_str());
            tracing::info!(leader, term, address, "leader changed");
        }
    }
}

/// Answers whether the value is another one than before.
fn publish<T: PartialEq + Clone>(channel: &watch::Sender<T>, value: &T) -> bool {
    channel.send_if_modified(|published| {
        let changed = published != value;
        if changed {
            published.clone_from(value);
        }
        changed
    })
}

/// Milliseconds since 1970: the stamp of proposals. The state machine does not let it step back.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}
