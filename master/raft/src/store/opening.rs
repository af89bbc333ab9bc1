//! Opening the file: everything in it is read and checked once, or made. Edge.

use std::path::Path;

use prost::Message;
use raft::eraftpb::{ConfState, HardState};
#[cfg(test)]
use redb::StorageBackend;
use redb::{Database, ReadableDatabase, ReadableTable};
use uuid::Uuid;

use super::record::LogRecord;
use super::{
    CLUSTER, CONF_STATE, Error, HARD_STATE, INCARNATION, Identity, LOG, LOG_AFTER, MEMBER, MEMBERS, META, Position,
    SNAPSHOT_AT, Store, wrap,
};
use crate::member::Directory;
use crate::wire;

const CACHE_BYTES: usize = 8 * 1024 * 1024;

impl Store {
    /// Opens the file, or makes it for member `id`, which belongs to no group yet.
    pub(crate) fn open(file: &Path, id: u64) -> Result<Self, Error> {
        let path = file.display().to_string();
        let database = Database::builder().set_cache_size(CACHE_BYTES).create(file);
        Self::load(database, path, id)
    }

    /// As [`Self::open`], on another kind of disk.
    #[cfg(test)]
    pub(crate) fn open_on(disk: impl StorageBackend, id: u64) -> Result<Self, Error> {
        let database = Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(disk);
        Self::load(database, "simulated".to_owned(), id)
    }

    fn load(database: Result<Database, redb::DatabaseError>, path: String, id: u64) -> Result<Self, Error> {
        let failed = |source: redb::Error| match source {
            redb::Error::Corrupted(_) => Error::Damaged { path: path.clone(), what: "the file" },
            source => Error::Database { path: path.clone(), source: Box::new(source) },
        };
        let mut store = Self {
            database: database.map_err(|error| failed(error.into()))?,
            path: path.clone(),
            identity: Identity::default(),
            members: Directory::default(),
            hard_state: HardState::default(),
            conf_state: ConfState::default(),
            snapshot_at: Position::default(),
            log_after: Position::default(),
            last_index: 0,
        };
        store.read_all(id).map_err(|error| match error {
            Problem::Redb(source) => failed(*source),
            Problem::Damaged(what) => Error::Damaged { path: path.clone(), what },
            Problem::OtherMember(found) => Error::OtherMember { path: path.clone(), found, expected: id },
        })?;
        Ok(store)
    }

    fn read_all(&mut self, id: u64) -> Result<(), Problem> {
        match self.meta(MEMBER)? {
            None => self.make(id)?,
            Some(bytes) => {
                let found = <[u8; 8]>::try_from(bytes.as_slice()).map(u64::from_be_bytes);
                let found = found.map_err(|_| Problem::Damaged("the member id"))?;
                if found != id {
                    return Err(Problem::OtherMember(found));
                }
            }
        }
        if self.meta(INCARNATION)?.is_none() {
            self.name_incarnation()?;
        }
        self.identity = Identity {
            id,
            incarnation: self.text(INCARNATION)?.ok_or(Problem::Damaged("the incarnation"))?,
            cluster_id: self.text(CLUSTER)?,
        };
        let damaged = Problem::Damaged;
        let bytes = self.meta(HARD_STATE)?.ok_or(damaged("the hard state"))?;
        self.hard_state = raft_prost::Message::decode(bytes.as_slice()).map_err(|_| damaged("the hard state"))?;
        let bytes = self.meta(CONF_STATE)?.ok_or(damaged("the membership"))?;
        self.conf_state = wire::decode_membership(&bytes).map_err(|_| damaged("the membership"))?;
        if let Some(bytes) = self.meta(MEMBERS)? {
            self.members = wire::decode_directory(&bytes).map_err(|_| damaged("the list of members"))?;
        }
        if let Some(bytes) = self.meta(SNAPSHOT_AT)? {
            self.snapshot_at = Position::decode(bytes.as_slice()).map_err(|_| damaged("the snapshot position"))?;
        }
        self.log_after = match self.meta(LOG_AFTER)? {
            Some(bytes) => Position::decode(bytes.as_slice()).map_err(|_| damaged("the start of the log"))?,
            None => self.snapshot_at,
        };
        self.check_log()
    }

    fn check_log(&mut self) -> Result<(), Problem> {
        let transaction = self.database.begin_read().map_err(wrap)?;
        let log = transaction.open_table(LOG).map_err(wrap)?;
        let last = log.last().map_err(wrap)?.map(|(index, _)| index.value());
        self.last_index = last.unwrap_or(0).max(self.snapshot_at.index);
        let commit = self.hard_state.commit;
        if commit > self.last_index || commit < self.snapshot_at.index {
            return Err(Problem::Damaged("the commit index"));
        }
        let mut expected = self.log_after.index.saturating_add(1);
        for row in log.iter().map_err(wrap)? {
            let (index, bytes) = row.map_err(wrap)?;
            let is_whole = LogRecord::decode(bytes.value()).is_ok_and(|record| record.index == expected);
            if index.value() != expected || !is_whole {
                return Err(Problem::Damaged("an entry of the log"));
            }
            expected = expected.saturating_add(1);
        }
        if expected <= self.last_index { Err(Problem::Damaged("the end of the log")) } else { Ok(()) }
    }

    /// Makes the tables of a member that belongs to no group.
    fn make(&self, id: u64) -> Result<(), Problem> {
        let transaction = self.database.begin_write().map_err(wrap)?;
        {
            transaction.open_table(LOG).map_err(wrap)?;
            let mut meta = transaction.open_table(META).map_err(wrap)?;
            let hard_state = raft_prost::Message::encode_to_vec(&HardState::default());
            let nobody = wire::encode_membership(&ConfState::default());
            meta.insert(MEMBER, id.to_be_bytes().as_slice()).map_err(wrap)?;
            meta.insert(CONF_STATE, nobody.as_slice()).map_err(wrap)?;
            meta.insert(HARD_STATE, hard_state.as_slice()).map_err(wrap)?;
        }
        transaction.commit().map_err(wrap)?;
        Ok(())
    }

    /// For a directory of before there were groups.
    fn name_incarnation(&self) -> Result<(), Problem> {
        let transaction = self.database.begin_write().map_err(wrap)?;
        {
            let mut meta = transaction.open_table(META).map_err(wrap)?;
            meta.insert(INCARNATION, Uuid::new_v4().to_string().as_bytes()).map_err(wrap)?;
        }
        transaction.commit().map_err(wrap)?;
        Ok(())
    }

    fn text(&self, key: &'static str) -> Result<Option<String>, Problem> {
        let bytes = self.meta(key)?;
        bytes.map(String::from_utf8).transpose().map_err(|_| Problem::Damaged("the identity"))
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
