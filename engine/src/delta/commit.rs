//! The only way into the log of an existing table. Edge.
//!
//! A commit is one object created under the next version if nothing is there. Whatever comes back but plain success
//! is doubt, and doubt is settled by reading: our transaction in an entry means that this run's rows are in the
//! table. So every commit carries a transaction, and repeating one never adds rows twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use deltalake_core::kernel::{Add, CommitInfo, Remove, Transaction};
use lake_proto::ErrorClass;
use object_store::ObjectStore;
use serde_json::{Value, json};

use super::conflict::{Conflict, Intent, Winner, check};
use super::files::{FileKey, LiveFile};
use super::log::{COMMIT_ID, Draft, Entry, FENCE, Put, put, read};
use super::replace::Replacement;
use super::table::Snapshot;
use crate::stores::Stores;
use crate::{EngineError, Result};

/// How commits name their writer.
pub(super) const ENGINE: &str = concat!("lake/", env!("CARGO_PKG_VERSION"));

/// Doubtful writes of one version before the error is given back.
const DOUBTS: u32 = 4;
/// Entries of others before we give up: a table so busy needs its writers ordered.
const LOST_RACES: u32 = 1000;
const BACKOFF: Duration = Duration::from_millis(100);

/// What the new rows replace.
#[derive(Debug, Clone)]
pub enum Mode {
    /// Nothing.
    Append,
    /// Every row of the snapshot.
    Overwrite,
    /// The rows that match: the files of the split are removed; the caller has rewritten the survivors of
    /// [`Replacement::rewrite`] into `adds`.
    ReplaceWhere(Box<Replacement>),
    /// Nothing, and there are no new rows: only the transaction is taken, so that no commit with it can follow.
    Fence,
}

/// Asked right before each write of a log entry, which only happens when the answer is `Ok`.
pub(crate) type MayWrite<'a> = &'a (dyn Fn() -> Result<()> + Send + Sync);

/// What to commit.
#[derive(Debug, Clone)]
pub struct CommitRequest {
    /// What the new rows replace.
    pub mode: Mode,
    /// Files that tasks have written.
    pub adds: Vec<Add>,
    /// Application id and version of the transaction: `lake/<job>/<table>` and the run number.
    pub txn: (String, i64),
    /// Metrics for the table's history, besides those computed here.
    pub metrics: BTreeMap<String, String>,
    /// The run, for the table's history.
    pub user_metadata: Option<String>,
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitOutcome {
    /// This call committed, as this version.
    Committed(i64),
    /// The same run had committed before, at the latest as this version: nothing was added.
    AlreadyCommitted(i64),
}

impl CommitOutcome {
    /// The version in which the run's rows are visible.
    pub fn version(self) -> i64 {
        match self {
            Self::Committed(version) | Self::AlreadyCommitted(version) => version,
        }
    }
}

/// Commits `request` on top of `snapshot`. A repeat with the same transaction commits nothing.
///
/// # Errors
/// `conflict` (code `delta-conflict`) when another commit got in that this one cannot follow: plan the step again; also
/// (code `delta-overtaken`) when a later run of the same job has written the table;
/// `invalid-job` for a table that may not be written so; else the store's class: the commit may or may not be there,
/// and repeating the step settles it.
pub async fn commit(stores: &Arc<Stores>, snapshot: &Snapshot, request: CommitRequest) -> Result<CommitOutcome> {
    commit_while(stores, snapshot, request, &|| Ok(())).await
}

/// As [`commit`], as long as it may.
///
/// # Errors
/// As [`commit`]; that of `may_write`, after which the commit is not there, unless an earlier write of it is in doubt.
pub(crate) async fn commit_while(
    stores: &Arc<Stores>,
    snapshot: &Snapshot,
    request: CommitRequest,
    may_write: MayWrite<'_>,
) -> Result<CommitOutcome> {
    snapshot.check_writable()?;
    if snapshot.has_committed(&request.txn).await? {
        return Ok(CommitOutcome::AlreadyCommitted(snapshot.version()));
    }
    let root = stores.rooted(snapshot.location())?;
    let attempt = Attempt::new(snapshot, request).await?;
    attempt.run(root.as_ref(), may_write).await
}

/// One commit on its way into the log.
struct Attempt<'a> {
    snapshot: &'a Snapshot,
    request: CommitRequest,
    intent: Intent,
    id: String,
    body: Bytes,
}

impl<'a> Attempt<'a> {
    async fn new(snapshot: &'a Snapshot, request: CommitRequest) -> Result<Self> {
        let removed = removed_files(snapshot, &request.mode).await?;
        if !removed.is_empty() && super::protocol::is_true(snapshot.properties(), "delta.appendOnly") {
            return Err(EngineError::invalid(
                "delta-append-only",
                format!("table '{}' is append-only: its rows cannot be replaced", snapshot.location()),
            ));
        }
        let intent = Intent {
            removes: removed.iter().map(LiveFile::key).collect(),
            is_blind: matches!(request.mode, Mode::Append | Mode::Fence),
            app_id: Some(request.txn.0.clone()),
        };
        let id = uuid::Uuid::new_v4().to_string();
        let body = draft(snapshot, &request, &removed, &id)?.encode()?;
        Ok(Self { snapshot, request, intent, id, body })
    }

    async fn run(&self, root: &dyn ObjectStore, may_write: MayWrite<'_>) -> Result<CommitOutcome> {
        let mut version = self.snapshot.version() + 1;
        let mut doubts = 0;
        for _ in 0..LOST_RACES {
            while let Some(entry) = read(root, version).await? {
                if let Some(outcome) = self.recognise(version, &entry) {
                    return Ok(outcome);
                }
                self.follow(version, &entry)?;
                version += 1;
                doubts = 0;
            }
            lake_proto::point::reached("commit-before-put");
            may_write()?;
            match put(root, version, self.body.clone()).await {
                Put::Written => return Ok(CommitOutcome::Committed(version)),
                Put::Exists => {}
                Put::Doubtful(error) => {
                    doubts += 1;
                    // The write may still arrive: reading decides, and the same version is tried again, where only
                    // one of the two can win.
                    if doubts >= DOUBTS || !error.is_transient() {
                        return self.settle(root, version, error).await;
                    }
                    tracing::warn!(table = %self.snapshot.location(), version, %error, "commit in doubt");
                    tokio::time::sleep(BACKOFF * 2_u32.pow(doubts)).await;
                }
            }
        }
        Err(self.conflict(version, "too many other writers"))
    }

    /// Our transaction in an entry means that the rows are in, unless it is a fence, which is there to keep them out.
    fn recognise(&self, version: i64, entry: &Entry) -> Option<CommitOutcome> {
        if entry.commit_id.as_deref() == Some(self.id.as_str()) {
            return Some(CommitOutcome::Committed(version));
        }
        let is_done = entry.has(&self.request.txn) && !entry.is_fence;
        is_done.then_some(CommitOutcome::AlreadyCommitted(version))
    }

    fn follow(&self, version: i64, entry: &Entry) -> Result<()> {
        let winner = Winner {
            version,
            adds_what_we_read: self.reads_any(&entry.adds)?,
            removes: entry.removes.iter().map(key_of_remove).collect(),
            changes_metadata: entry.changes_metadata,
            changes_protocol: entry.changes_protocol,
            app_ids: entry.txns.iter().map(|txn| txn.app_id.clone()).collect(),
        };
        check(&self.intent, &winner).map_err(|conflict: Conflict| self.conflict(version, &conflict.to_string()))
    }

    fn reads_any(&self, adds: &[Add]) -> Result<bool> {
        match &self.request.mode {
            Mode::Append | Mode::Fence => Ok(false),
            Mode::Overwrite => Ok(!adds.is_empty()),
            Mode::ReplaceWhere(replacement) => {
                let files = adds.iter().map(LiveFile::of_add).collect::<Result<Vec<_>>>()?;
                replacement.may_match(self.snapshot, &files)
            }
        }
    }

    /// The last look before an error is given back.
    async fn settle(&self, root: &dyn ObjectStore, version: i64, error: EngineError) -> Result<CommitOutcome> {
        if let Ok(Some(entry)) = read(root, version).await
            && let Some(outcome) = self.recognise(version, &entry)
        {
            return Ok(outcome);
        }
        Err(error.within(format!("cannot commit version {version} of table '{}'", self.snapshot.location())))
    }

    fn conflict(&self, version: i64, why: &str) -> EngineError {
        EngineError::new(
            ErrorClass::Conflict,
            "delta-conflict",
            format!(
                "table '{}' was written by others while this step ran: version {version} came after version {}, on \
                 which the step is based, and {why}; run the step again",
                self.snapshot.location(),
                self.snapshot.version()
            ),
        )
    }
}

fn key_of_remove(remove: &Remove) -> FileKey {
    FileKey::new(remove.path.clone(), remove.deletion_vector.as_ref())
}

async fn removed_files(snapshot: &Snapshot, mode: &Mode) -> Result<Vec<LiveFile>> {
    Ok(match mode {
        Mode::Append | Mode::Fence => Vec::new(),
        Mode::Overwrite => snapshot.live_files().await?.to_vec(),
        Mode::ReplaceWhere(replacement) => replacement.remove.iter().chain(&replacement.rewrite).cloned().collect(),
    })
}

fn draft(snapshot: &Snapshot, request: &CommitRequest, removed: &[LiveFile], id: &str) -> Result<Draft> {
    let now_ms = chrono::Utc::now().timestamp_millis();
    let (operation, mode, predicate) = match &request.mode {
        Mode::Append => ("WRITE", "Append", None),
        Mode::Overwrite => ("WRITE", "Overwrite", None),
        Mode::ReplaceWhere(replacement) => ("WRITE", "Overwrite", Some(replacement.text.clone())),
        Mode::Fence => (FENCE, "Append", None),
    };
    let partition_by = serde_json::to_string(snapshot.partition_columns())
        .map_err(|error| EngineError::internal(error.to_string()))?;
    let mut parameters: BTreeMap<String, Value> =
        [("mode".to_owned(), json!(mode)), ("partitionBy".to_owned(), json!(partition_by))].into();
    parameters.extend(predicate.map(|predicate| ("predicate".to_owned(), json!(predicate))));
    let info = CommitInfo {
        timestamp: Some(now_ms),
        operation: Some(operation.to_owned()),
        operation_parameters: Some(parameters.into_iter().collect()),
        read_version: u64::try_from(snapshot.version()).ok(),
        is_blind_append: Some(matches!(request.mode, Mode::Append | Mode::Fence)),
        engine_info: Some(ENGINE.to_owned()),
        user_metadata: request.user_metadata.clone(),
        info: [("operationMetrics".to_owned(), metrics(request, removed)), (COMMIT_ID.to_owned(), json!(id))].into(),
        ..CommitInfo::default()
    };
    let (app_id, version) = &request.txn;
    Ok(Draft {
        info,
        protocol: None,
        metadata: None,
        txn: Some(Transaction::new_with_last_update(app_id, *version, Some(now_ms))),
        removes: removed.iter().map(|file| file.remove(now_ms)).collect(),
        adds: request.adds.clone(),
    })
}

/// Spark's names, values as text.
fn metrics(request: &CommitRequest, removed: &[LiveFile]) -> Value {
    let added_bytes: i64 = request.adds.iter().map(|add| add.size).sum();
    let removed_bytes: u64 = removed.iter().map(|file| file.size).sum();
    let mut metrics: BTreeMap<String, String> = [
        ("numFiles".to_owned(), request.adds.len().to_string()),
        ("numOutputBytes".to_owned(), added_bytes.to_string()),
        ("numRemovedFiles".to_owned(), removed.len().to_string()),
        ("numRemovedBytes".to_owned(), removed_bytes.to_string()),
    ]
    .into();
    metrics.extend(request.metrics.clone());
    json!(metrics)
}

#[cfg(test)]
mod tests;
