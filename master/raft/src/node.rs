//! One member's raft, in the order that raft demands, and the state machine behind it. No thread, no clock.
//!
//! A `Ready` is handled so: what may leave early leaves, entries and votes go to disk in one fsync, everything
//! committed is applied, then what promises durability leaves and the proposers are answered. After an error nothing
//! may be acknowledged any more: the caller ends the process.

mod lines;
mod membership;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use lake_master_core::{Command, Event, State, apply, codec};
use lake_metrics::Moves;
use lake_proto::{ErrorClass, Fault};
use raft::eraftpb::{Entry, EntryType, Message, MessageType, Snapshot};
use raft::{Config, RawNode, ReadOnlyOption, SnapshotStatus, StateRole};
use tokio::sync::oneshot;

pub(crate) use self::membership::Change;
pub use self::membership::{Group, GroupMember};
use crate::logger::logger;
use crate::member::Directory;
use crate::store::{Batch, Cut, Keep, Position, Store};
use crate::{Role, Status, wire};

const HEARTBEAT_TICKS: usize = 2;
/// The shortest silence, in ticks, after which a member asks to lead; the longest is twice as long.
pub(crate) const ELECTION_TICKS: usize = 10;
const MAX_MESSAGE_BYTES: u64 = 1024 * 1024;
const MAX_UNCOMMITTED_BYTES: u64 = 64 * 1024 * 1024;
const MAX_COMMITTED_BYTES_PER_READY: u64 = 16 * 1024 * 1024;
const SNAPSHOT_EVERY_ENTRIES: u64 = 10_000;
const SNAPSHOT_EVERY_BYTES: usize = 32 * 1024 * 1024;
/// Entries before a snapshot that stay for members that lag a little.
const LOG_TAIL: u64 = 5_000;

/// Who waits for a proposal.
pub(crate) type Reply = oneshot::Sender<Result<Vec<Event>, Fault>>;
/// Who waits until this member has applied everything that was acknowledged before it asked.
pub(crate) type ReadReply = oneshot::Sender<Result<(), Fault>>;

type WaiterId = [u8; 16];

/// Why a member cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    #[error("raft: {0}")]
    Raft(#[from] raft::Error),
    #[error(transparent)]
    Codec(#[from] codec::Error),
    #[error(transparent)]
    Undecodable(#[from] wire::Undecodable),
}

/// Everything the raft thread owns.
pub(crate) struct Node {
    raw: RawNode<Store>,
    state: Arc<RwLock<State>>,
    members: Directory,
    /// By the id in the entry's context, because order says nothing after a change of leader.
    waiters: HashMap<WaiterId, Reply>,
    /// Asked of the leader, not answered yet.
    reads: HashMap<WaiterId, ReadReply>,
    /// Answered with an index that is not applied yet.
    reads_at: BTreeMap<u64, Vec<ReadReply>>,
    applied: Position,
    /// Index of the first entry of this leader's term; the state is complete once it is applied.
    leads_from: Option<u64>,
    bytes_since_snapshot: usize,
    /// The membership changed: it is saved with the state before anything else is acknowledged.
    must_cut: bool,
    moves: Arc<Moves>,
}

impl Node {
    /// A member of a founded group. `election_ticks` is the range the silence before an election is taken from.
    pub(crate) fn new(
        store: Store,
        state: Arc<RwLock<State>>,
        moves: Arc<Moves>,
        election_ticks: std::ops::Range<usize>,
    ) -> Result<Self, Error> {
        let applied = store.snapshot_at();
        let members = store.members().clone();
        let config = Config {
            id: store.identity().id,
            applied: applied.index,
            election_tick: ELECTION_TICKS,
            min_election_tick: election_ticks.start,
            max_election_tick: election_ticks.end,
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
        Ok(Self {
            raw: RawNode::new(&config, store, &logger())?,
            state,
            members,
            waiters: HashMap::new(),
            reads: HashMap::new(),
            reads_at: BTreeMap::new(),
            applied,
            leads_from: None,
            bytes_since_snapshot: 0,
            must_cut: false,
            moves,
        })
    }

    /// Whether nobody else votes: then waiting for an election timeout would only delay the start.
    pub(crate) fn is_alone(&self) -> bool {
        let progress = self.raw.raft.prs();
        progress.conf().voters().contains(self.raw.raft.id) && progress.iter().count() == 1
    }

    /// Asks to lead now.
    pub(crate) fn campaign(&mut self) -> Result<(), Error> {
        Ok(self.raw.campaign()?)
    }

    /// A unit of raft's time has passed.
    pub(crate) fn tick(&mut self) {
        self.raw.tick();
    }

    /// Takes a message of another member. One that makes no sense is dropped: raft repeats what matters.
    pub(crate) fn step(&mut self, message: Message) {
        let (from, kind) = (message.from, message.msg_type());
        // Followers would hand proposals on and answer nothing.
        if kind == MessageType::MsgPropose {
            return;
        }
        if let Err(error) = self.raw.step(message) {
            tracing::debug!(from, ?kind, "a raft message was dropped: {error}");
        }
    }

    /// Proposes a command that was stamped with `at_ms`.
    pub(crate) fn propose(&mut self, at_ms: u64, command: &Command, reply: Reply) -> Result<(), Error> {
        if self.raw.raft.state != StateRole::Leader || self.raw.raft.lead_transferee.is_some() {
            answer(reply, Err(not_leader()));
            return Ok(());
        }
        let id = *uuid::Uuid::new_v4().as_bytes();
        let data = codec::encode_entry(at_ms, command)?;
        match self.raw.propose(id.to_vec(), data) {
            Ok(()) => {
                self.waiters.insert(id, reply);
            }
            Err(error) => answer(reply, Err(busy(&error))),
        }
        Ok(())
    }

    /// Answers once everything that was acknowledged before now is applied here. Raft may drop the question in silence
    /// while the leader changes; the asker repeats it.
    pub(crate) fn read_index(&mut self, reply: ReadReply) {
        let id = *uuid::Uuid::new_v4().as_bytes();
        self.reads.retain(|_, reply| !reply.is_closed());
        self.reads.insert(id, reply);
        self.raw.read_index(id.to_vec());
    }

    /// A member could not be reached.
    pub(crate) fn unreachable(&mut self, id: u64) {
        self.raw.report_unreachable(id);
    }

    /// A snapshot has arrived at a member, or not.
    pub(crate) fn snapshot_sent(&mut self, to: u64, has_arrived: bool) {
        let status = if has_arrived { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
        self.raw.report_snapshot(to, status);
    }

    /// Gives leadership to the member that has most of the log, if there is another voter.
    pub(crate) fn hand_over(&mut self) {
        let raft = &self.raw.raft;
        if raft.state != StateRole::Leader {
            return;
        }
        let others = raft.prs().iter().filter(|(id, _)| **id != raft.id && raft.prs().conf().voters().contains(**id));
        if let Some((id, _)) = others.max_by_key(|(_, progress)| (progress.recent_active, progress.matched)) {
            let id = *id;
            self.raw.transfer_leader(id);
        }
    }

    /// Where raft stands.
    pub(crate) fn status(&self) -> Status {
        let raft = &self.raw.raft;
        let is_complete = self.leads_from.is_some_and(|first| self.applied.index >= first);
        let role = match raft.state {
            StateRole::Leader if is_complete => Role::Leader,
            StateRole::Follower if raft.leader_id != 0 => Role::Follower,
            StateRole::Leader | StateRole::Follower | StateRole::Candidate | StateRole::PreCandidate => Role::NoQuorum,
        };
        Status { role, term: raft.term, applied: self.applied.index, leader: raft.leader_id }
    }

    /// The members as applied here.
    pub(crate) const fn members(&self) -> &Directory {
        &self.members
    }

    /// Saves, applies and answers until nothing is left to do. Messages for other members go to `send`.
    pub(crate) fn handle_ready(&mut self, send: &mut impl FnMut(Message)) -> Result<(), Error> {
        while self.raw.has_ready() {
            let mut ready = self.raw.ready();
            if let Some(changed) = ready.ss() {
                let leads = changed.raft_state == StateRole::Leader;
                self.leads_from = leads.then(|| self.raw.raft.raft_log.last_index());
                if !leads {
                    self.refuse_waiters();
                }
            }
            for read in ready.take_read_states() {
                self.read_known(&read.request_ctx, read.index);
            }
            ready.take_messages().into_iter().for_each(&mut *send);
            let snapshot = (!ready.snapshot().is_empty()).then(|| ready.snapshot().clone());
            if !ready.entries().is_empty() || ready.hs().is_some() || snapshot.is_some() {
                for entry in ready.entries() {
                    self.bytes_since_snapshot = self.bytes_since_snapshot.saturating_add(entry.data.len());
                }
                let cut = snapshot.map(|snapshot| self.restore(snapshot)).transpose()?;
                let restored = cut.as_ref().map(|cut| cut.state.len());
                let hard_state = ready.hs().cloned();
                self.raw.mut_store().save(Batch { entries: ready.entries(), hard_state, cut })?;
                restored.into_iter().for_each(|bytes| self.moves.snapshot_written(bytes));
            }
            self.apply(ready.take_committed_entries())?;
            ready.take_persisted_messages().into_iter().for_each(&mut *send);
            let mut light = self.raw.advance(ready);
            if let Some(commit) = light.commit_index() {
                self.raw.mut_store().set_commit(commit);
            }
            light.take_messages().into_iter().for_each(&mut *send);
            self.apply(light.take_committed_entries())?;
            self.raw.advance_apply();
            self.answer_reads();
            if self.must_cut {
                self.cut(Keep::Tail(0))?;
            }
        }
        let entries = self.applied.index.saturating_sub(self.raw.store().snapshot_at().index);
        if entries >= SNAPSHOT_EVERY_ENTRIES || self.bytes_since_snapshot >= SNAPSHOT_EVERY_BYTES {
            self.cut(Keep::Tail(LOG_TAIL))?;
        }
        Ok(())
    }

    /// Saves the state before an orderly end, so that the next start replays nothing.
    pub(crate) fn close(&mut self) -> Result<(), Error> {
        self.cut(Keep::Tail(LOG_TAIL))
    }

    /// Drops the log before now, so that members that lag need the snapshot.
    #[cfg(test)]
    pub(crate) fn cut_all(&mut self) -> Result<(), Error> {
        self.cut(Keep::Tail(0))
    }

    fn apply(&mut self, committed: Vec<Entry>) -> Result<(), Error> {
        for entry in committed {
            self.applied = Position { index: entry.index, term: entry.term };
            let events = match entry.entry_type() {
                EntryType::EntryNormal if entry.data.is_empty() => continue, // of a new leader
                EntryType::EntryNormal => {
                    let stamped = codec::decode_entry(entry.index, &entry.data)?;
                    let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
                    apply(&mut state, stamped)
                }
                EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => {
                    self.apply_change(&entry)?;
                    Vec::new()
                }
            };
            self.log(entry.index, &events);
            let id = WaiterId::try_from(entry.context.as_slice()).ok();
            if let Some(reply) = id.and_then(|id| self.waiters.remove(&id)) {
                answer(reply, Ok(events));
            }
        }
        Ok(())
    }

    /// Takes over the state and the membership of the leader's snapshot.
    fn restore(&mut self, snapshot: Snapshot) -> Result<Cut, Error> {
        let data = <wire::SnapshotData as prost::Message>::decode(snapshot.data.as_slice())
            .map_err(|_| wire::Undecodable("a snapshot"))?;
        let state = if data.state.is_empty() { State::default() } else { codec::decode_state(&data.state)? };
        let metadata = snapshot.metadata.unwrap_or_default();
        self.applied = Position { index: metadata.index, term: metadata.term };
        self.members = wire::directory(data.members);
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
        self.bytes_since_snapshot = 0;
        Ok(Cut {
            at: self.applied,
            state: data.state,
            conf_state: metadata.conf_state.unwrap_or_default(),
            members: self.members.clone(),
            log: Keep::Nothing,
        })
    }

    fn cut(&mut self, log: Keep) -> Result<(), Error> {
        if self.applied.index > self.raw.store().snapshot_at().index {
            let state = codec::encode_state(&self.state.read().unwrap_or_else(PoisonError::into_inner))?;
            let conf_state = self.raw.raft.prs().conf().to_conf_state();
            let bytes = state.len();
            let cut = Cut { at: self.applied, state, conf_state, members: self.members.clone(), log };
            self.raw.mut_store().save(Batch { cut: Some(cut), ..Batch::default() })?;
            self.moves.snapshot_written(bytes);
        }
        self.bytes_since_snapshot = 0;
        self.must_cut = false;
        Ok(())
    }

    fn log(&self, index: u64, events: &[Event]) {
        let is_replay = self.leads_from.is_none();
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            // Entries of earlier leaders were counted by them, or are applied again after a restart.
            if self.leads_from.is_some_and(|first| index > first) {
                count(&self.moves, event);
            }
            lines::write(index, self.applied.term, event, &state, is_replay);
        }
    }

    fn read_known(&mut self, id: &[u8], index: u64) {
        let reply = WaiterId::try_from(id).ok().and_then(|id| self.reads.remove(&id));
        if let Some(reply) = reply {
            self.reads_at.entry(index).or_default().push(reply);
        }
    }

    fn answer_reads(&mut self) {
        let later = self.reads_at.split_off(&self.applied.index.saturating_add(1));
        for reply in std::mem::replace(&mut self.reads_at, later).into_values().flatten() {
            // An asker that has gone away needs no answer.
            let _ = reply.send(Ok(()));
        }
    }

    fn refuse_waiters(&mut self) {
        for (_, reply) in self.waiters.drain() {
            answer(reply, Err(not_leader()));
        }
    }
}

/// What the state machine did on the member that leads: the others count nothing, so that nothing is counted twice.
fn count(moves: &Moves, event: &Event) {
    match event {
        Event::Submitted { is_repeat: false, .. } => moves.submissions.add_one(),
        Event::DriverAssigned { .. } => moves.driver_launches.add_one(),
        Event::Relaunching { fault, .. } => moves.driver_relaunches.add_one(fault.class),
        Event::Ended { state, fault, .. } => {
            moves.application_ended(state, fault.as_ref().map(|fault| fault.class));
        }
        Event::WorkerRegistered { is_repeat: false, .. } => moves.worker_registrations.add_one(),
        Event::WorkerLost { .. } => moves.worker_losses.add_one(),
        Event::WorkerLeft { .. } => moves.worker_departures.add_one(),
        Event::Submitted { is_repeat: true, .. }
        | Event::WorkerRegistered { is_repeat: true, .. }
        | Event::DriverStarted { .. }
        | Event::CommitPermitted { .. }
        | Event::StepRecorded { .. }
        | Event::DriverExitRecorded { .. }
        | Event::Killing { .. }
        | Event::Forgotten { .. }
        | Event::WorkerBack { .. }
        | Event::Ignored { .. }
        | Event::Rejected(_) => {}
    }
}

/// A proposer that has gone away needs no answer.
fn answer(reply: Reply, answer: Result<Vec<Event>, Fault>) {
    let _ = reply.send(answer);
}

fn busy(error: &raft::Error) -> Fault {
    Fault::new(ErrorClass::Unavailable, "busy", format!("the command was not taken: {error}; try again"))
}

fn not_leader() -> Fault {
    Fault::new(ErrorClass::Unavailable, "not-leader", "this master does not lead now; try again or ask another one")
}
