//! What a run has committed, as the log tells it. Edge: reads the log.

use std::ops::RangeInclusive;

use object_store::ObjectStore;

use super::log::{Entry, read};
use super::table::Snapshot;
use crate::Result;

/// Entries that are looked at for a commit that is only to be told: others may write the table often.
const ENTRIES: i64 = 1000;

/// What one commit put into its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The version that it made.
    pub version: i64,
    /// Data files it added.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Rows that its step had before any was left out; 0 when the commit does not say.
    pub input_rows: u64,
    /// New rows in its files; 0 when the commit does not say.
    pub output_rows: u64,
}

impl Committed {
    /// What the entry of `version` says.
    pub(super) fn of(version: i64, entry: &Entry) -> Self {
        let bytes: i64 = entry.adds.iter().map(|add| add.size).sum();
        let metric = |name: &str| entry.metrics.get(name).copied().unwrap_or(0);
        Self {
            version,
            files: entry.adds.len(),
            bytes: u64::try_from(bytes).unwrap_or(0),
            input_rows: metric("numSourceRows"),
            output_rows: metric("numOutputRows"),
        }
    }
}

/// What the run `txn` has committed to the table, at `newest` or before it; `None` when that entry is not in the log
/// any more, or far back.
///
/// # Errors
/// The store's class; `internal` for a damaged entry.
pub async fn committed(snapshot: &Snapshot, newest: i64, txn: &(String, i64)) -> Result<Option<Committed>> {
    let root = snapshot.stores().rooted(snapshot.location())?;
    let found = find(root.as_ref(), newest.saturating_sub(ENTRIES).max(0)..=newest, txn).await?;
    Ok(found.filter(|(_, entry)| !entry.is_fence).map(|(version, entry)| Committed::of(version, &entry)))
}

/// The last one of the entries of `versions` that has the transaction; they are read down to one that is not there.
pub(super) async fn find(
    root: &dyn ObjectStore,
    versions: RangeInclusive<i64>,
    txn: &(String, i64),
) -> Result<Option<(i64, Entry)>> {
    for version in versions.rev() {
        let Some(entry) = read(root, version).await? else { break };
        if entry.has(txn) {
            return Ok(Some((version, entry)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;

    use super::super::tests::{lake, request};
    use super::super::{CommitRequest, Mode, commit};
    use super::*;

    #[tokio::test]
    async fn a_commit_behind_others_is_told_with_its_own_figures() {
        let lake = lake(1);
        lake.create("t", &[("n", DataType::Int64)], &[]).await;
        let rows = "SELECT value AS n FROM generate_series(1, 10)";
        let written = lake.write(&lake.open("t").await, rows).await;
        let metrics = [("numSourceRows".to_owned(), "12".to_owned()), ("numOutputRows".to_owned(), "10".to_owned())];
        let first = request(Mode::Append, written.adds.clone(), 7);
        let first = CommitRequest { metrics: metrics.into(), ..first };
        commit(&lake.stores, &lake.open("t").await, first).await.unwrap();
        let adds = lake.write(&lake.open("t").await, rows).await.adds;
        let other = CommitRequest { txn: ("other".to_owned(), 1), ..request(Mode::Append, adds, 1) };
        commit(&lake.stores, &lake.open("t").await, other).await.unwrap();

        let (snapshot, txn) = (lake.open("t").await, request(Mode::Append, Vec::new(), 7).txn);
        let found = committed(&snapshot, 2, &txn).await.unwrap();
        let bytes = written.output_bytes;
        assert_eq!(found, Some(Committed { version: 1, files: 1, bytes, input_rows: 12, output_rows: 10 }));
        let other = committed(&snapshot, 2, &("other".to_owned(), 1)).await.unwrap().unwrap();
        assert_eq!((other.version, other.files, other.output_rows), (2, 1, 0), "figures that nobody has told");
        assert_eq!(committed(&snapshot, 2, &(txn.0, 8)).await.unwrap(), None);
    }
}
