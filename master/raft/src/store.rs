//! The durable side of raft: log, votes, membership and the snapshot of the state machine, in one redb file. Edge.
//!
//! Every [`Store::save`] is one transaction with one fsync. The state machine is kept as a snapshot plus the log after
//! it, so a `Ready` costs only its entries; start-up loads the snapshot and replays the rest. The membership on disk is
//! always that of the snapshot, since the replay changes it again.
//! Never here: decisions about when to write, or what entries mean.

mod opening;
mod record;

use prost::Message;
use raft::eraftpb::{ConfState, Entry, HardState, Snapshot, SnapshotMetadata};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use self::record::{LogRecord, entry, record};
use crate::member::Directory;
use crate::wire::{self, SnapshotData};

const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// The snapshot of the state machine in pieces. A table of its own: redb writes a whole leaf again whenever one of its
/// values changes, and the hard state changes with every batch.
const PARTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("snapshot");
/// Pieces and what redb adds to them fill its pages, whose sizes are powers of two.
const PART_BYTES: usize = 1024 * 1024 - 1024;
const MEMBER: &str = "member";
const INCARNATION: &str = "incarnation";
const CLUSTER: &str = "cluster";
const MEMBERS: &str = "members";
const HARD_STATE: &str = "hard_state";
const CONF_STATE: &str = "conf_state";
const SNAPSHOT_AT: &str = "snapshot_at";
const LOG_AFTER: &str = "log_after";
/// Where earlier versions had the snapshot: read while nothing newer is there.
const SNAPSHOT: &str = "snapshot";

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The file system or redb refused.
    #[error(
        "raft log {path}: {source}; check the data directory's permissions and space, and that no other master uses it"
    )]
    Database { path: String, source: Box<redb::Error> },
    /// Bytes that are not what was written.
    #[error(
        "raft log {path}: {what} is damaged; restore the data directory from a backup, or in a group of several remove \
         this master with 'lake-master members remove' and let it join under a new --id with an empty --data-dir"
    )]
    Damaged { path: String, what: &'static str },
    /// The directory of another member.
    #[error(
        "raft log {path} belongs to master {found}, this one is {expected}; use the --id it was made with, or another --data-dir"
    )]
    OtherMember { path: String, found: u64, expected: u64 },
}

/// A place in the log.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Position {
    #[prost(uint64, tag = "1")]
    pub(crate) index: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) term: u64,
}

/// What one `Ready` leaves behind.
#[derive(Default)]
pub(crate) struct Batch<'a> {
    /// To append; a conflicting tail is dropped.
    pub(crate) entries: &'a [Entry],
    /// Term, vote and commit index.
    pub(crate) hard_state: Option<HardState>,
    /// The state machine at a position.
    pub(crate) cut: Option<Cut>,
}

/// The state machine and the membership at a position of the log.
pub(crate) struct Cut {
    pub(crate) at: Position,
    pub(crate) state: Vec<u8>,
    pub(crate) conf_state: ConfState,
    pub(crate) members: Directory,
    pub(crate) log: Keep,
}

/// What a cut leaves of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Everything after it and this many entries before it, for members that lag a little.
    Tail(u64),
    /// Nothing: it came from the leader and replaces what was here.
    Nothing,
}

/// What was decided when the directory was made, and when the group was founded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) id: u64,
    pub(crate) incarnation: String,
    /// `None` until the group is founded, or this member has been taken into it.
    pub(crate) cluster_id: Option<String>,
}

/// The open file. Owned by the raft thread.
pub(crate) struct Store {
    database: Database,
    path: String,
    identity: Identity,
    members: Directory,
    hard_state: HardState,
    conf_state: ConfState,
    snapshot_at: Position,
    /// The entry before the first one that is kept.
    log_after: Position,
    last_index: u64,
}

impl Store {
    /// Who this is.
    pub(crate) const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The members at the last cut.
    pub(crate) const fn members(&self) -> &Directory {
        &self.members
    }

    /// Makes this member part of a group. `voters` is empty for one that joins: the group will tell it.
    pub(crate) fn found(&mut self, cluster_id: &str, members: Directory, voters: Vec<u64>) -> Result<(), Error> {
        let conf_state = ConfState { voters, ..ConfState::default() };
        let write = || -> Result<(), Box<redb::Error>> {
            let transaction = self.database.begin_write().map_err(wrap)?;
            {
                let mut meta = transaction.open_table(META).map_err(wrap)?;
                meta.insert(CLUSTER, cluster_id.as_bytes()).map_err(wrap)?;
                meta.insert(MEMBERS, wire::encode_directory(&members).as_slice()).map_err(wrap)?;
                meta.insert(CONF_STATE, wire::encode_membership(&conf_state).as_slice()).map_err(wrap)?;
            }
            transaction.commit().map_err(wrap)
        };
        write().map_err(|source| self.failed(source))?;
        self.identity.cluster_id = Some(cluster_id.to_owned());
        self.members = members;
        self.conf_state = conf_state;
        Ok(())
    }

    /// The state machine's last snapshot; `None` before the first one.
    pub(crate) fn snapshot_bytes(&self) -> Result<Option<Vec<u8>>, Error> {
        self.snapshot_parts().map_err(|source| self.failed(source))
    }

    /// Where the last snapshot was taken.
    pub(crate) const fn snapshot_at(&self) -> Position {
        self.snapshot_at
    }

    /// The commit index, in memory; the next [`Self::save`] writes it.
    pub(crate) fn set_commit(&mut self, commit: u64) {
        self.hard_state.commit = commit;
    }

    /// Writes a batch in one transaction. It is on disk when this returns; after an error nothing may be acknowledged
    /// any more and the process must end.
    pub(crate) fn save(&mut self, batch: Batch<'_>) -> Result<(), Error> {
        let written = self.write(&batch).map_err(|source| self.failed(source))?;
        self.hard_state = written.hard_state;
        self.last_index = written.last_index;
        self.log_after = written.log_after;
        if let Some(cut) = batch.cut {
            self.snapshot_at = cut.at;
            self.conf_state = cut.conf_state;
            self.members = cut.members;
        }
        Ok(())
    }

    fn write(&self, batch: &Batch<'_>) -> Result<Written, Box<redb::Error>> {
        let mut written = Written {
            hard_state: batch.hard_state.clone().unwrap_or_else(|| self.hard_state.clone()),
            last_index: self.last_index,
            log_after: self.log_after,
        };
        if let Some(cut) = &batch.cut {
            written.log_after = self.log_after(cut)?;
            written.hard_state.commit = written.hard_state.commit.max(cut.at.index);
        }
        let transaction = self.database.begin_write().map_err(wrap)?;
        {
            let mut log = transaction.open_table(LOG).map_err(wrap)?;
            let mut meta = transaction.open_table(META).map_err(wrap)?;
            if let Some(cut) = &batch.cut {
                match cut.log {
                    Keep::Tail(_) => log.retain_in(..=written.log_after.index, |_, _| false).map_err(wrap)?,
                    Keep::Nothing => log.retain(|_, _| false).map_err(wrap)?,
                }
                meta.insert(SNAPSHOT_AT, cut.at.encode_to_vec().as_slice()).map_err(wrap)?;
                meta.insert(LOG_AFTER, written.log_after.encode_to_vec().as_slice()).map_err(wrap)?;
                meta.remove(SNAPSHOT).map_err(wrap)?;
                let mut parts = transaction.open_table(PARTS).map_err(wrap)?;
                parts.retain(|_, _| false).map_err(wrap)?;
                for (number, part) in (0_u64..).zip(cut.state.chunks(PART_BYTES)) {
                    parts.insert(number, part).map_err(wrap)?;
                }
                meta.insert(CONF_STATE, wire::encode_membership(&cut.conf_state).as_slice()).map_err(wrap)?;
                meta.insert(MEMBERS, wire::encode_directory(&cut.members).as_slice()).map_err(wrap)?;
                written.last_index = match cut.log {
                    Keep::Tail(_) => written.last_index.max(cut.at.index),
                    Keep::Nothing => cut.at.index,
                };
            }
            if let Some(first) = batch.entries.first() {
                log.retain_in(first.index.., |_, _| false).map_err(wrap)?;
                written.last_index = first.index.saturating_sub(1);
            }
            for entry in batch.entries {
                log.insert(entry.index, record(entry).encode_to_vec().as_slice()).map_err(wrap)?;
                written.last_index = entry.index;
            }
            let hard_state = raft_prost::Message::encode_to_vec(&written.hard_state);
            meta.insert(HARD_STATE, hard_state.as_slice()).map_err(wrap)?;
        }
        lake_proto::point::fails("raft-write").map_err(|error| Box::new(redb::Error::Io(error)))?;
        transaction.commit().map_err(wrap)?;
        Ok(written)
    }

    /// The entry before the first one that stays after `cut`.
    fn log_after(&self, cut: &Cut) -> Result<Position, Box<redb::Error>> {
        let Keep::Tail(kept) = cut.log else { return Ok(cut.at) };
        let index = cut.at.index.saturating_sub(kept);
        if index <= self.log_after.index {
            return Ok(self.log_after);
        }
        let found = self.read(index, index.saturating_add(1), u64::MAX)?;
        // An entry that is missing would be a gap: then nothing before the cut can be served.
        Ok(found.first().map_or(cut.at, |entry| Position { index, term: entry.term }))
    }

    fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, Box<redb::Error>> {
        let transaction = self.database.begin_read().map_err(wrap)?;
        let table = match transaction.open_table(META) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(wrap(error)),
        };
        let found = table.get(key).map_err(wrap)?;
        Ok(found.map(|bytes| bytes.value().to_vec()))
    }

    fn snapshot_parts(&self) -> Result<Option<Vec<u8>>, Box<redb::Error>> {
        let transaction = self.database.begin_read().map_err(wrap)?;
        let parts = match transaction.open_table(PARTS) {
            Ok(parts) => parts,
            Err(redb::TableError::TableDoesNotExist(_)) => return self.meta(SNAPSHOT),
            Err(error) => return Err(wrap(error)),
        };
        let mut state = Vec::new();
        for row in parts.iter().map_err(wrap)? {
            let (_, part) = row.map_err(wrap)?;
            state.extend_from_slice(part.value());
        }
        Ok(Some(state))
    }

    fn read(&self, low: u64, high: u64, max_bytes: u64) -> Result<Vec<Entry>, Box<redb::Error>> {
        let transaction = self.database.begin_read().map_err(wrap)?;
        let log = transaction.open_table(LOG).map_err(wrap)?;
        let mut entries = Vec::new();
        let mut size: u64 = 0;
        for row in log.range(low..high).map_err(wrap)? {
            let (_, bytes) = row.map_err(wrap)?;
            size = size.saturating_add(u64::try_from(bytes.value().len()).unwrap_or(u64::MAX));
            if size > max_bytes && !entries.is_empty() {
                break;
            }
            // An entry that does not decode ends the list; raft sees the gap as unavailable and stops.
            let Ok(record) = LogRecord::decode(bytes.value()) else { break };
            entries.push(entry(record));
        }
        Ok(entries)
    }

    fn failed(&self, source: Box<redb::Error>) -> Error {
        Error::Database { path: self.path.clone(), source }
    }
}

/// What is true once a batch is on disk.
struct Written {
    hard_state: HardState,
    last_index: u64,
    log_after: Position,
}

impl Storage for Store {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.conf_state.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.log_after.index {
            return Err(StorageError::Compacted.into());
        }
        let entries = self.read(low, high, max_size.into().unwrap_or(u64::MAX)).map_err(other)?;
        let is_gapless = entries.iter().zip(low..).all(|(entry, index)| entry.index == index);
        if entries.is_empty() && low < high || !is_gapless {
            return Err(StorageError::Unavailable.into());
        }
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.snapshot_at.index {
            return Ok(self.snapshot_at.term);
        }
        if index == self.log_after.index {
            return Ok(self.log_after.term);
        }
        if index < self.log_after.index {
            return Err(StorageError::Compacted.into());
        }
        let found = self.read(index, index.saturating_add(1), u64::MAX).map_err(other)?;
        found.first().map(|entry| entry.term).ok_or_else(|| StorageError::Unavailable.into())
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.log_after.index.saturating_add(1))
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last_index)
    }

    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        if self.snapshot_at.index < request_index {
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        }
        let state = self.snapshot_parts().map_err(other)?.unwrap_or_default();
        let data = SnapshotData { members: wire::records(&self.members), state }.encode_to_vec();
        let metadata = SnapshotMetadata {
            conf_state: Some(self.conf_state.clone()),
            index: self.snapshot_at.index,
            term: self.snapshot_at.term,
        };
        Ok(Snapshot { data, metadata: Some(metadata) })
    }
}

fn wrap(error: impl Into<redb::Error>) -> Box<redb::Error> {
    Box::new(error.into())
}

fn other(error: Box<redb::Error>) -> raft::Error {
    raft::Error::Store(StorageError::Other(error))
}

#[cfg(test)]
mod tests;
