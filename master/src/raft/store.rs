//! The durable side of raft: log, votes, membership and the snapshot of the state machine, in one redb file. Edge.
//!
//! Every [`Store::save`] is one transaction with one fsync. The state machine is kept as a snapshot plus the log after
//! it, so a `Ready` costs only its entries; start-up loads the snapshot and replays the rest.
//! Never here: decisions about when to write, or what entries mean.

use std::path::Path;

use prost::Message;
use raft::eraftpb::{ConfState, Entry, HardState, Snapshot, SnapshotMetadata};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const MEMBER: &str = "member";
const HARD_STATE: &str = "hard_state";
const CONF_STATE: &str = "conf_state";
const SNAPSHOT_AT: &str = "snapshot_at";
const SNAPSHOT: &str = "snapshot";
const CACHE_BYTES: usize = 8 * 1024 * 1024;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The file system or redb refused.
    #[error(
        "raft log {path}: {source}; check the data directory's permissions and space, and that no other master uses it"
    )]
    Database { path: String, source: Box<redb::Error> },
    /// Bytes that are not what was written.
    #[error("raft log {path}: {what} is damaged; restore the data directory from a backup")]
    Damaged { path: String, what: &'static str },
    /// The directory of another member.
    #[error(
        "raft log {path} belongs to master {found}, this one is {expected}; use the --id it was made with, or another --data-dir"
    )]
    OtherMember { path: String, found: u64, expected: u64 },
}

/// A log entry in the file; raft's own type has no stable encoding in this build.
#[derive(Clone, PartialEq, Message)]
struct LogRecord {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(uint64, tag = "2")]
    term: u64,
    #[prost(uint64, tag = "3")]
    index: u64,
    #[prost(bytes = "vec", tag = "4")]
    data: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    context: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct HardStateRecord {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    vote: u64,
    #[prost(uint64, tag = "3")]
    commit: u64,
}

#[derive(Clone, PartialEq, Message)]
struct ConfStateRecord {
    #[prost(uint64, repeated, tag = "1")]
    voters: Vec<u64>,
    #[prost(uint64, repeated, tag = "2")]
    learners: Vec<u64>,
}

/// The place in the log that a snapshot stands for.
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
    /// The state machine at a position; the log up to it is dropped.
    pub(crate) snapshot: Option<(Position, Vec<u8>)>,
}

/// The open file. Owned by the raft thread.
pub(crate) struct Store {
    database: Database,
    path: String,
    hard_state: HardState,
    conf_state: ConfState,
    snapshot_at: Position,
    last_index: u64,
}

impl Store {
    /// Opens the file, or makes it for the one member `id`.
    pub(crate) fn open(file: &Path, id: u64) -> Result<Self, Error> {
        let path = file.display().to_string();
        let failed = |source: redb::Error| Error::Database { path: path.clone(), source: Box::new(source) };
        let database =
            Database::builder().set_cache_size(CACHE_BYTES).create(file).map_err(|error| failed(error.into()))?;
        let mut store = Self {
            database,
            path: path.clone(),
            hard_state: HardState::default(),
            conf_state: ConfState::default(),
            snapshot_at: Position::default(),
            last_index: 0,
        };
        store.load(id).map_err(|error| match error {
            Problem::Redb(source) => failed(*source),
            Problem::Damaged(what) => Error::Damaged { path: path.clone(), what },
            Problem::OtherMember(found) => Error::OtherMember { path: path.clone(), found, expected: id },
        })?;
        Ok(store)
    }

    /// The state machine's last snapshot and its position; `None` before the first one.
    pub(crate) fn snapshot_bytes(&self) -> Result<Option<Vec<u8>>, Error> {
        self.meta(SNAPSHOT).map_err(|source| self.failed(source))
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
        let (snapshot_at, last_index, hard_state) = self.write(batch).map_err(|source| self.failed(source))?;
        self.snapshot_at = snapshot_at;
        self.last_index = last_index;
        self.hard_state = hard_state;
        Ok(())
    }

    fn write(&self, batch: Batch<'_>) -> Result<(Position, u64, HardState), Box<redb::Error>> {
        let hard_state = batch.hard_state.unwrap_or_else(|| self.hard_state.clone());
        let mut snapshot_at = self.snapshot_at;
        let mut last_index = self.last_index;
        let transaction = self.database.begin_write().map_err(wrap)?;
        {
            let mut log = transaction.open_table(LOG).map_err(wrap)?;
            let mut meta = transaction.open_table(META).map_err(wrap)?;
            if let Some(first) = batch.entries.first() {
                log.retain_in(first.index.., |_, _| false).map_err(wrap)?;
                last_index = first.index.saturating_sub(1);
            }
            for entry in batch.entries {
                log.insert(entry.index, record(entry).encode_to_vec().as_slice()).map_err(wrap)?;
                last_index = entry.index;
            }
            meta.insert(HARD_STATE, hard_state_record(&hard_state).encode_to_vec().as_slice()).map_err(wrap)?;
            if let Some((position, bytes)) = &batch.snapshot {
                snapshot_at = *position;
                log.retain_in(..=position.index, |_, _| false).map_err(wrap)?;
                meta.insert(SNAPSHOT_AT, position.encode_to_vec().as_slice()).map_err(wrap)?;
                meta.insert(SNAPSHOT, bytes.as_slice()).map_err(wrap)?;
                last_index = last_index.max(position.index);
            }
        }
        transaction.commit().map_err(wrap)?;
        Ok((snapshot_at, last_index, hard_state))
    }

    fn load(&mut self, id: u64) -> Result<(), Problem> {
        match self.meta(MEMBER)? {
            None => self.found(id)?,
            Some(bytes) => {
                let found = <[u8; 8]>::try_from(bytes.as_slice()).map(u64::from_be_bytes);
                let found = found.map_err(|_| Problem::Damaged("the member id"))?;
                if found != id {
                    return Err(Problem::OtherMember(found));
                }
            }
        }
        let damaged = Problem::Damaged;
        let bytes = self.meta(HARD_STATE)?.ok_or(damaged("the hard state"))?;
        let record = HardStateRecord::decode(bytes.as_slice()).map_err(|_| damaged("the hard state"))?;
        self.hard_state = HardState { term: record.term, vote: record.vote, commit: record.commit };
        let bytes = self.meta(CONF_STATE)?.ok_or(damaged("the membership"))?;
        let record = ConfStateRecord::decode(bytes.as_slice()).map_err(|_| damaged("the membership"))?;
        self.conf_state = ConfState { voters: record.voters, learners: record.learners, ..ConfState::default() };
        if let Some(bytes) = self.meta(SNAPSHOT_AT)? {
            self.snapshot_at = Position::decode(bytes.as_slice()).map_err(|_| damaged("the snapshot position"))?;
        }
        let transaction = self.database.begin_read().map_err(wrap)?;
        let log = transaction.open_table(LOG).map_err(wrap)?;
        let last = log.last().map_err(wrap)?.map(|(index, _)| index.value());
        self.last_index = last.unwrap_or(0).max(self.snapshot_at.index);
        if self.hard_state.commit > self.last_index || self.hard_state.commit < self.snapshot_at.index {
            return Err(damaged("the commit index"));
        }
        Ok(())
    }

    /// Makes the tables of a group whose only member is `id`.
    fn found(&self, id: u64) -> Result<(), Problem> {
        let transaction = self.database.begin_write().map_err(wrap)?;
        {
            transaction.open_table(LOG).map_err(wrap)?;
            let mut meta = transaction.open_table(META).map_err(wrap)?;
            let members = ConfStateRecord { voters: vec![id], learners: Vec::new() };
            meta.insert(MEMBER, id.to_be_bytes().as_slice()).map_err(wrap)?;
            meta.insert(CONF_STATE, members.encode_to_vec().as_slice()).map_err(wrap)?;
            meta.insert(HARD_STATE, HardStateRecord::default().encode_to_vec().as_slice()).map_err(wrap)?;
        }
        transaction.commit().map_err(wrap)?;
        Ok(())
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
        if low <= self.snapshot_at.index {
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
        if index < self.snapshot_at.index {
            return Err(StorageError::Compacted.into());
        }
        let found = self.read(index, index.saturating_add(1), u64::MAX).map_err(other)?;
        found.first().map(|entry| entry.term).ok_or_else(|| StorageError::Unavailable.into())
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.snapshot_at.index.saturating_add(1))
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last_index)
    }

    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        if self.snapshot_at.index < request_index {
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        }
        let data = self.meta(SNAPSHOT).map_err(other)?.unwrap_or_default();
        let metadata = SnapshotMetadata {
            conf_state: Some(self.conf_state.clone()),
            index: self.snapshot_at.index,
            term: self.snapshot_at.term,
        };
        Ok(Snapshot { data, metadata: Some(metadata) })
    }
}

enum Problem {
    Redb(Box<redb::Error>),
    Damaged(&'static str),
    OtherMember(u64),
}

impl From<Box<redb::Error>> for Problem {
    fn from(error: Box<redb::Error>) -> Self {
        Self::Redb(error)
    }
}

fn wrap(error: impl Into<redb::Error>) -> Box<redb::Error> {
    Box::new(error.into())
}

fn other(error: Box<redb::Error>) -> raft::Error {
    raft::Error::Store(StorageError::Other(error))
}

fn record(entry: &Entry) -> LogRecord {
    LogRecord {
        kind: entry.entry_type,
        term: entry.term,
        index: entry.index,
        data: entry.data.clone(),
        context: entry.context.clone(),
    }
}

fn entry(record: LogRecord) -> Entry {
    Entry {
        entry_type: record.kind,
        term: record.term,
        index: record.index,
        data: record.data,
        context: record.context,
        sync_log: false,
    }
}

fn hard_state_record(state: &HardState) -> HardStateRecord {
    HardStateRecord { term: state.term, vote: state.vote, commit: state.commit }
}

#[cfg(test)]
mod tests;
