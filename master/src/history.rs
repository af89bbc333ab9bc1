//! The history: what is told of applications that have ended, also after a restart of all masters. Edge.
//!
//! One file for each application, in a directory that masters may share. The leader writes it when the application has
//! ended; every master knows what is there and reads whole records when somebody asks for them. Nothing waits for the
//! directory: what cannot be written waits here, what cannot be read is told by its name.
//!
//! Rooms: [`directory`](self::directory) (a disk or a store), `keeper` (the task that writes, lists, reads and deletes),
//! `waiting` (what is not written yet), `cache` (what was read a moment ago). What files are and which are kept is decided
//! in `lake_record::history`.

mod cache;
mod directory;
mod keeper;
mod waiting;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lake_proto::{AppId, Fault};
use lake_record::history::{Index, Retention, Told};
use lake_record::{ApplicationRecord, ApplicationSummary, Origin, StepRecord, file};
use tokio::sync::Notify;
use tokio::time::Instant;

pub(crate) use self::keeper::{refresh, write};

use self::cache::Cache;
use self::directory::Directory;
use self::waiting::Waiting;

/// Shared by reference; every part guards itself.
pub(crate) struct History {
    directory: Directory,
    retention: Retention,
    index: Mutex<Index>,
    cache: Mutex<Cache>,
    waiting: Mutex<Waiting>,
    bell: Notify,
}

/// An application that has ended, as lists show it.
pub(crate) type Ended = (Arc<ApplicationSummary>, Arc<[StepRecord]>);

impl History {
    /// The history in a directory; nothing is read yet.
    ///
    /// # Errors
    /// `invalid-job`, code `config`, when there can be no directory.
    pub(crate) fn open(location: &str, retention: Retention) -> Result<Self, Fault> {
        Ok(Self {
            directory: Directory::open(location)?,
            retention,
            index: Mutex::default(),
            cache: Mutex::default(),
            waiting: Mutex::default(),
            bell: Notify::new(),
        })
    }

    /// An application has ended, and this is its record: it is written when that is possible.
    pub(crate) fn add(&self, app: AppId, record: ApplicationRecord) {
        lock(&self.waiting).put(app, Arc::new(record), Instant::now());
        self.bell.notify_one();
    }

    /// Whether there is a record of this application, written or not.
    pub(crate) fn has(&self, app: &AppId) -> bool {
        lock(&self.waiting).contains(app) || lock(&self.index).has_file(app)
    }

    /// The whole record with this application, driver or submission id. What cannot be read of it is left out, and told by
    /// its origin.
    pub(crate) async fn record(&self, id: &str) -> Option<Arc<ApplicationRecord>> {
        if let Some(record) = lock(&self.waiting).find(id) {
            return Some(record);
        }
        let told = lock(&self.index).find(id).cloned()?;
        if let Some(record) = lock(&self.cache).get(&told.name) {
            return Some(record);
        }
        let bytes = match self.directory.read(&told.name, file::MOST_FILE_BYTES).await {
            Ok(bytes) => bytes,
            Err(fault) => {
                // It may be there another time.
                tracing::warn!(file = told.name, error.class = %fault.class, "a history file is not read: {fault}");
                return Some(Arc::new(damaged(&told)));
            }
        };
        let decoded = tokio::task::spawn_blocking(move || file::decode(&bytes)).await;
        let record = decoded.ok().and_then(Result::ok).unwrap_or_else(|| damaged(&told));
        if record.origin == Origin::Damaged {
            lock(&self.index).found_damaged(&told.name);
        }
        let record = Arc::new(record);
        lock(&self.cache).put(&told.name, Arc::clone(&record));
        Some(record)
    }

    /// What is known of the applications that have ended, in no order.
    pub(crate) fn ended(&self) -> Vec<Ended> {
        let mut ended: Vec<Ended> = Vec::new();
        let waiting = lock(&self.waiting);
        let index = lock(&self.index);
        let is_waiting = |id: &str| !waiting.is_empty() && id.parse().is_ok_and(|app| waiting.contains(&app));
        for told in index.newest().filter(|told| !is_waiting(&told.summary.app_id)) {
            ended.push((Arc::clone(&told.summary), Arc::clone(&told.steps)));
        }
        for record in waiting.newest() {
            ended.push((Arc::new(record.summary.clone()), record.steps.clone().into()));
        }
        ended
    }

    /// Files that cannot be read, or not wholly, and why.
    pub(crate) fn unreadable(&self) -> Vec<(String, String)> {
        lock(&self.index).unreadable().map(|(name, why)| (name.to_owned(), why.to_owned())).collect()
    }
}

/// What is known of an application whose file was there and cannot be read.
fn damaged(told: &Told) -> ApplicationRecord {
    ApplicationRecord {
        summary: told.summary.as_ref().clone(),
        origin: Origin::Damaged,
        is_partial: true,
        steps: told.steps.to_vec(),
        ..ApplicationRecord::default()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
