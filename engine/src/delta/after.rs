//! What a commit has made of a table, for people: nothing is decided by it, so it is found out after the commit, and may be
//! left out. Edge (reads the log).

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use deltalake_core::kernel::Add;
use lake_proto::quantity::{FILE_SIZE_BOUNDS, file_size_bucket};
use object_store::{GetOptions, GetRange};
use serde::Deserialize;

use super::files::{FileKey, LiveFile};
use super::log::entry_path;
use super::table::{DeltaTable, Snapshot};
use crate::{EngineError, Result};

/// An entry begins with its `commitInfo`, which is shorter than this.
const INFO_BYTES: u64 = 64 << 10;
/// Different partitions that are counted; more are not told.
const MOST_PARTITIONS: usize = 1_000_000;

/// Live data files of a table, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    rows: u64,
    has_files_without_rows: bool,
    by_size: [u64; FILE_SIZE_BOUNDS.len() + 1],
    /// Hashes of partition values: that two of them meet is as likely as that nobody looks at the number.
    partitions: BTreeSet<u64>,
}

/// Which files of the snapshot that a step is based on are still there after its commit.
#[derive(Debug)]
pub(crate) enum Stays {
    /// The table was overwritten, or is new.
    Nothing,
    /// Rows were added.
    Everything,
    /// But these.
    AllBut(BTreeSet<FileKey>),
}

/// What the table's history says of a commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct History {
    pub(crate) committed_at_ms: u64,
    pub(crate) operation: String,
    pub(crate) metrics: BTreeMap<String, String>,
}

/// The first line of an entry.
#[derive(Deserialize)]
struct FirstLine {
    #[serde(rename = "commitInfo")]
    said: Said,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Said {
    timestamp: u64,
    operation: String,
    operation_metrics: BTreeMap<String, serde_json::Value>,
}

/// Of the statistics of a file, what is counted.
#[derive(Deserialize)]
struct Counted {
    #[serde(rename = "numRecords")]
    rows: Option<u64>,
}

impl Size {
    /// Counts one more file.
    pub(crate) fn add(&mut self, file: &LiveFile) {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(file.size);
        if let Some(count) = self.by_size.get_mut(file_size_bucket(file.size)) {
            *count += 1;
        }
        let counted = file.stats.as_deref().and_then(|text| serde_json::from_str::<Counted>(text).ok());
        match counted.and_then(|counted| counted.rows) {
            Some(rows) => self.rows = self.rows.saturating_add(rows.saturating_sub(file.deleted_rows())),
            None => self.has_files_without_rows = true,
        }
        if self.partitions.len() <= MOST_PARTITIONS {
            let mut hasher = DefaultHasher::new();
            file.partition_values.hash(&mut hasher);
            self.partitions.insert(hasher.finish());
        }
    }

    /// Of the files that a commit brings in.
    ///
    /// # Errors
    /// `internal` when the size of one is negative.
    pub(crate) fn of_adds<'a>(adds: impl IntoIterator<Item = &'a Add>) -> Result<Self> {
        let mut size = Self::default();
        for add in adds {
            size.add(&LiveFile::of_add(add)?);
        }
        Ok(size)
    }

    /// Rows by the statistics; `None` when a file has none.
    pub(crate) fn rows(&self) -> Option<u64> {
        (!self.has_files_without_rows).then_some(self.rows)
    }

    /// How many files there are of each size, by [`FILE_SIZE_BOUNDS`].
    pub(crate) fn by_size(&self) -> &[u64] {
        &self.by_size
    }

    /// Different partitions that have files; `None` when they are too many. One where the table has no partition columns.
    pub(crate) fn partitions(&self) -> Option<u64> {
        (self.partitions.len() <= MOST_PARTITIONS).then_some(self.partitions.len() as u64)
    }
}

/// The live files of the table at `version`, which a commit has made of `base`: what `stays`, and what it has `added`.
/// `None` when others have committed in between or since, so that this is not known.
///
/// # Errors
/// The store's class.
pub(crate) async fn size_after(base: &Snapshot, version: i64, stays: Stays, added: Size) -> Result<Option<Size>> {
    if version != base.version() + 1 {
        let newest = DeltaTable::open(base.stores(), base.location()).await?;
        let Some(table) = newest.filter(|table| table.version() == version) else { return Ok(None) };
        return table.count(Size::default(), |_| true).await.map(Some);
    }
    let size = match stays {
        Stays::Nothing => added,
        Stays::Everything => base.count(added, |_| true).await?,
        Stays::AllBut(removed) => base.count(added, |file| !removed.contains(&file.key())).await?,
    };
    Ok(Some(size))
}

/// What the table's history says of its commit `version`.
///
/// # Errors
/// The store's class; `internal` when the entry does not begin with what it should.
pub(crate) async fn history(table: &Snapshot, version: i64) -> Result<History> {
    let root = table.stores().rooted(table.location())?;
    let options = GetOptions { range: Some(GetRange::Bounded(0..INFO_BYTES)), ..GetOptions::default() };
    let bytes = root.get_opts(&entry_path(version), options).await?.bytes().await?;
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let FirstLine { said } = serde_json::from_slice(line).map_err(|error| {
        EngineError::internal(format!("entry {version} of table '{}' has no commitInfo: {error}", table.location()))
    })?;
    let text = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    Ok(History {
        committed_at_ms: said.timestamp,
        operation: said.operation,
        metrics: said.operation_metrics.into_iter().map(|(name, value)| (name, text(value))).collect(),
    })
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;

    use super::super::tests::{lake, request};
    use super::super::{CommitOutcome, Mode, commit};
    use super::*;

    const COLUMNS: [(&str, DataType); 1] = [("n", DataType::Int64)];
    const ROWS: &str = "SELECT value AS n FROM generate_series(1, 10)";

    /// As it is read from the log.
    async fn read(table: &Snapshot) -> Size {
        table.count(Size::default(), |_| true).await.unwrap()
    }

    #[tokio::test]
    async fn sizes_that_are_reckoned_are_those_that_the_log_gives() {
        let lake = lake(1);
        let new = lake.create("t", &COLUMNS, &[]).await;
        for (run, mode) in [(1, Mode::Append), (2, Mode::Append), (3, Mode::Overwrite)] {
            let base = lake.open("t").await;
            let adds = lake.write(&base, ROWS).await.adds;
            let added = Size::of_adds(&adds).unwrap();
            let stays = if matches!(mode, Mode::Append) { Stays::Everything } else { Stays::Nothing };
            let outcome = commit(&lake.stores, &base, request(mode, adds, run)).await.unwrap();
            assert_eq!(outcome, CommitOutcome::Committed(run));
            let reckoned = size_after(&base, run, stays, added).await.unwrap().unwrap();
            assert_eq!(reckoned, read(&lake.open("t").await).await);
            assert_eq!(reckoned.rows(), Some(if run == 2 { 20 } else { 10 }));
            assert_eq!(reckoned.by_size().iter().sum::<u64>(), reckoned.files);
            assert_eq!(reckoned.partitions(), Some(1));
        }
        let base = lake.open("t").await;
        let removed = base.live_files().await.unwrap().iter().map(LiveFile::key).collect();
        let nothing = size_after(&base, 4, Stays::AllBut(removed), Size::default()).await.unwrap();
        assert_eq!(nothing, Some(Size::default()));
        // Others have committed meanwhile: only the newest version can be counted.
        let newest = size_after(&new, 3, Stays::Everything, Size::default()).await.unwrap();
        assert_eq!(newest, Some(read(&base).await));
        assert_eq!(size_after(&new, 2, Stays::Everything, Size::default()).await.unwrap(), None);
    }

    #[tokio::test]
    async fn the_history_of_a_commit_is_told_as_the_log_has_it() {
        let lake = lake(1);
        lake.create("t", &COLUMNS, &[]).await;
        let table = lake.append("t", 1, ROWS).await;
        let told = history(&table, 1).await.unwrap();
        assert_eq!(told.operation, "WRITE");
        assert!(told.committed_at_ms > 0);
        assert_eq!(told.metrics.get("numFiles").map(String::as_str), Some("1"), "{told:?}");
        assert!(history(&table, 9).await.is_err());
    }
}
