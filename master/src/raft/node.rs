//! The thread that owns raft: its loop, in the order raft demands, and the state machine behind it. Edge.
//!
//! A `Ready` is handled so: entries and votes to disk in one fsync, then everything committed is applied, then the
//! proposers are answered. A panic or a failed write ends the process: nothing may be acknowledged after it.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use lake_master_core::{Command, Event, State, apply, codec};
use lake_proto::{ErrorClass, Fault};
use raft::eraftpb::{Entry, EntryType};
use raft::{Config, RawNode, ReadOnlyOption, StateRole};
use tokio::sync::{oneshot, watch};

use super::logger::logger;
use super::store::{Batch, Position, Store};
use super::{Role, Status, not_leader};
use crate::clock::now_ms;

const TICK: Duration = Duration::from_millis(100);
const HEARTBEAT_TICKS: usize = 2;
const ELECTION_TICKS: usize = 10;
const MAX_MESSAGE_BYTES: u64 = 1024 * 1024;
const MAX_UNCOMMITTED_BYTES: u64 = 64 * 1024 * 1024;
const MAX_COMMITTED_BYTES_PER_READY: u64 = 16 * 1024 * 1024;
const MAX_PROPOSALS_PER_READY: usize = 512;
const SNAPSHOT_EVERY_ENTRIES: u64 = 10_000;
const SNAPSHOT_EVERY_BYTES: usize = 32 * 1024 * 1024;

type Reply = oneshot::Sender<Result<Vec<Event>, Fault>>;

/// What the thread is asked.
pub(super) enum Request {
    /// Commit and apply a command.
    Propose { command: Box<Command>, reply: Reply },
    /// Take a snapshot and end.
    Stop,
}

/// Why the thread cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Store(#[from] super::store::Error),
    #[error("raft: {0}")]
    Raft(#[from] raft::Error),
    #[error(transparent)]
    Codec(#[from] codec::Error),
}

/// Everything the thread owns.
pub(super) struct Node {
    raft: RawNode<Store>,
    state: Arc<RwLock<State>>,
    publish: watch::Sender<Status>,
    /// By the id in the entry's context, because order says nothing after a change of leader.
    waiters: HashMap<[u8; 16], Reply>,
    applied: Position,
    /// Index of the first entry of this leader's term; the state is complete once it is applied.
    leads_from: Option<u64>,
    bytes_since_snapshot: usize,
    is_alone: bool,
}

impl Node {
    pub(super) fn new(
        id: u64,
        store: Store,
        state: Arc<RwLock<State>>,
        publish: watch::Sender<Status>,
    ) -> Result<Self, Error> {
        let applied = store.snapshot_at();
        let config = Config {
            id,
            applied: applied.index,
            election_tick: ELECTION_TICKS,
            heartbeat_tick: HEARTBEAT_TICKS,
            pre_vote: true,
            check_quorum: true,
            max_size_per_msg: MAX_MESSAGE_BYTES,
            max_uncommitted_size: MAX_UNCOMMITTED_BYTES,
            max_committed_size_per_ready: MAX_COMMITTED_BYTES_PER_READY,
            read_only_option: ReadOnlyOption::Safe,
            ..Config::default()
        };
        config.validate()?;
        let raft = RawNode::new(&config, store, &logger())?;
        let is_alone = raft.raft.prs().conf().voters().contains(id) && raft.raft.prs().iter().count() == 1;
        let waiters = HashMap::new();
        Ok(Self { raft, state, publish, waiters, applied, leads_from: None, bytes_since_snapshot: 0, is_alone })
    }

    /// Runs until [`Request::Stop`] or until every handle is gone. Ends the process on a panic or a failed write.
    pub(super) fn run(mut self, requests: &Receiver<Request>) {
        let _guard = AbortOnPanic;
        if let Err(error) = self.serve(requests) {
            tracing::error!(error = %error, error.class = "internal", "raft cannot go on; the process ends");
            std::process::abort();
        }
    }

    fn serve(&mut self, requests: &Receiver<Request>) -> Result<(), Error> {
        if self.is_alone {
            // Nobody else can lead: waiting for an election timeout would only delay the start.
            self.raft.campaign()?;
        }
        let mut ticked = Instant::now();
        loop {
            self.handle_ready()?;
            let wait = TICK.saturating_sub(ticked.elapsed());
            match requests.recv_timeout(wait) {
                Ok(Request::Stop) | Err(RecvTimeoutError::Disconnected) => return self.take_snapshot(),
                Ok(Request::Propose { command, reply }) => {
                    self.propose(&command, reply)?;
                    for _ in 0..MAX_PROPOSALS_PER_READY {
                        match requests.try_recv() {
                            Ok(Request::Propose { command, reply }) => self.propose(&command, reply)?,
                            Ok(Request::Stop) => return self.take_snapshot(),
                            Err(_) => break,
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                self.raft.tick();
            }
        }
    }

    fn propose(&mut self, command: &Command, reply: Reply) -> Result<(), Error> {
        if self.raft.raft.state != StateRole::Leader {
            answer(reply, Err(not_leader()));
            return Ok(());
        }
        let id = *uuid::Uuid::new_v4().as_bytes();
        let data = codec::encode_entry(now_ms(), command)?;
        match self.raft.propose(id.to_vec(), data) {
            Ok(()) => {
                self.waiters.insert(id, reply);
            }
            Err(error) => {
                let message = format!("the command was not taken: {error}; try again");
                answer(reply, Err(Fault::new(ErrorClass::Unavailable, "busy", message)));
            }
        }
        Ok(())
    }

    /// Saves, applies and publishes until nothing is left to do.
    fn handle_ready(&mut self) -> Result<(), Error> {
        while self.raft.has_ready() {
            let mut ready = self.raft.ready();
            if let Some(changed) = ready.ss() {
                let leads = changed.raft_state == StateRole::Leader;
                self.leads_from = leads.then(|| self.raft.raft.raft_log.last_index());
                if !leads {
                    self.refuse_waiters();
                }
            }
            let committed = ready.take_committed_entries();
            if !ready.entries().is_empty() || ready.hs().is_some() {
                for entry in ready.entries() {
                    self.bytes_since_snapshot = self.bytes_since_snapshot.saturating_add(entry.data.len());
                }
                let hard_state = ready.hs().cloned();
                self.raft.mut_store().save(Batch { entries: ready.entries(), hard_state, snapshot: None })?;
            }
            self.apply(committed)?;
            // Messages are for other members, and this group has none.
            let mut light = self.raft.advance(ready);
            if let Some(commit) = light.commit_index() {
                self.raft.mut_store().set_commit(commit);
            }
            self.apply(light.take_committed_entries())?;
            self.raft.advance_apply();
            self.publish();
        }
        let entries = self.applied.index.saturating_sub(self.raft.store().snapshot_at().index);
        if entries >= SNAPSHOT_EVERY_ENTRIES || self.bytes_since_snapshot >= SNAPSHOT_EVERY_BYTES {
            self.take_snapshot()?;
        }
        Ok(())
    }

    fn apply(&mut self, committed: Vec<Entry>) -> Result<(), Error> {
        for entry in committed {
            self.applied = Position { index: entry.index, term: entry.term };
            if entry.entry_type() != EntryType::EntryNormal || entry.data.is_empty() {
                // A new leader's empty entry. Membership never changes in a group of one.
                continue;
            }
            let stamped = codec::decode_entry(entry.index, &entry.data)?;
            let events = {
                let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
                apply(&mut state, stamped)
            };
            self.log(entry.index, &events);
            let id = <[u8; 16]>::try_from(entry.context.as_slice()).ok();
            if let Some(reply) = id.and_then(|id| self.waiters.remove(&id)) {
                answer(reply, Ok(events));
            }
        }
        Ok(())
    }

    fn log(&self, index: u64, events: &[Event]) {
        let is_replay = self.leads_from.is_none();
        for event in events {
            match event {
                _ if is_replay => tracing::trace!(index, ?event, "replayed"),
                Event::Ignored { .. } | Event::Rejected(_) => tracing::debug!(index, ?event, "refused"),
                Event::WorkerLost { .. } | Event::Relaunching { .. } => tracing::warn!(index, ?event, "healing"),
                _ => tracing::info!(index, ?event, "moved"),
            }
        }
    }

    fn publish(&self) {
        let raft = &self.raft.raft;
        let is_complete = self.leads_from.is_some_and(|first| self.applied.index >= first);
        let role = match raft.state {
            StateRole::Leader if is_complete => Role::Leader,
            StateRole::Follower if raft.leader_id != 0 => Role::Follower,
            StateRole::Leader | StateRole::Follower | StateRole::Candidate | StateRole::PreCandidate => Role::NoQuorum,
        };
        let status = Status { role, term: raft.term, applied: self.applied.index };
        self.publish.send_if_modified(|published| {
            let changed = *published != status;
            *published = status;
            changed
        });
    }

    /// Writes the state machine and drops the log before it.
    fn take_snapshot(&mut self) -> Result<(), Error> {
        if self.applied.index > self.raft.store().snapshot_at().index {
            let bytes = codec::encode_state(&self.state.read().unwrap_or_else(PoisonError::into_inner))?;
            let snapshot = Some((self.applied, bytes));
            self.raft.mut_store().save(Batch { snapshot, ..Batch::default() })?;
        }
        self.bytes_since_snapshot = 0;
        Ok(())
    }

    fn refuse_waiters(&mut self) {
        for (_, reply) in self.waiters.drain() {
            answer(reply, Err(not_leader()));
        }
    }
}

/// A proposer that has gone away needs no answer.
fn answer(reply: Reply, answer: Result<Vec<Event>, Fault>) {
    let _ = reply.send(answer);
}

struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}
