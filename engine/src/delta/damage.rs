//! What is wrong with a log that the kernel cannot read: it tells neither the file nor the line. Edge: reads the log,
//! only after a failure.

use std::collections::BTreeMap;

use deltalake_core::DeltaTableError;
use futures::TryStreamExt;
use lake_proto::ErrorClass;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use super::log;
use crate::EngineError;
use crate::error::{BAD_FILE, find_classed, words};

/// Code of a log that is damaged.
pub(super) const DAMAGED: &str = "delta-log";
/// How a Parquet file begins and ends.
const MAGIC: &[u8] = b"PAR1";
/// Magic, length of the footer and magic again: no Parquet file is smaller.
const SMALLEST_PARQUET_BYTES: u64 = 12;

/// The error behind `doing`, such as opening a table, whose log is below `root`: the store's when it does not answer,
/// else `internal`, with the file that is damaged when there is one.
pub(super) async fn explained(root: &dyn ObjectStore, doing: &str, error: DeltaTableError) -> EngineError {
    let (classed, said) = (find_classed(&error), words::of_delta(&error));
    if let Some(classed) = classed.filter(|classed| classed.code() != BAD_FILE) {
        return classed.within(doing);
    }
    // Only to say more: a store that fails now has not made the log unreadable.
    let damage = find(root).await.ok().flatten();
    match damage {
        Some(damage) => EngineError::new(ErrorClass::Internal, DAMAGED, damage).within(doing),
        None => EngineError::new(ErrorClass::Internal, "delta", said).within(doing),
    }
}

/// The first file that cannot be read among those that make up the newest version, and why.
async fn find(root: &dyn ObjectStore) -> crate::Result<Option<String>> {
    let files: Vec<ObjectMeta> = root.list(Some(&Path::from("_delta_log"))).try_collect().await?;
    let mut commits: BTreeMap<u64, &ObjectMeta> = BTreeMap::new();
    let mut checkpoints: BTreeMap<u64, Vec<&ObjectMeta>> = BTreeMap::new();
    for file in &files {
        match file.location.filename().and_then(entry) {
            Some((version, "json")) => _ = commits.insert(version, file),
            Some((version, ending)) if ending.starts_with("checkpoint") && ending.ends_with("parquet") => {
                checkpoints.entry(version).or_default().push(file);
            }
            _ => {}
        }
    }
    let mut next = 0;
    if let Some((version, parts)) = checkpoints.last_key_value() {
        for part in parts {
            if let Some(why) = parquet_damage(root, part).await? {
                return Ok(Some(format!("its log is damaged: '{}' {why}", part.location)));
            }
        }
        next = version + 1;
    }
    for (version, file) in commits.range(next..) {
        if *version != next {
            let missing = log::entry_path(i64::try_from(next).unwrap_or(i64::MAX));
            return Ok(Some(format!("its log is damaged: '{missing}' is missing")));
        }
        next += 1;
        let body = root.get(&file.location).await?.bytes().await?;
        if body.trim_ascii().is_empty() {
            return Ok(Some(format!("its log is damaged: '{}' is empty", file.location)));
        }
        if let Err(error) = log::parse(&body) {
            return Ok(Some(format!("its log is damaged: '{}' {error}", file.location)));
        }
    }
    Ok(None)
}

/// Version and ending of a file of the log: `00000000000000000003.json`.
fn entry(name: &str) -> Option<(u64, &str)> {
    let (version, ending) = name.split_once('.')?;
    let is_version = version.len() == 20 && version.bytes().all(|byte| byte.is_ascii_digit());
    Some((version.parse().ok().filter(|_| is_version)?, ending))
}

/// Why the file is not a whole Parquet file, as far as its ends tell.
async fn parquet_damage(root: &dyn ObjectStore, file: &ObjectMeta) -> crate::Result<Option<&'static str>> {
    if file.size < SMALLEST_PARQUET_BYTES {
        return Ok(Some("is cut off"));
    }
    let end = root.get_range(&file.location, file.size - MAGIC.len() as u64..file.size).await?;
    Ok((end != MAGIC).then_some("is cut off, or not a Parquet file"))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;

    use super::super::tests::{Lake, lake};
    use super::super::{DeltaTable, Snapshot, checkpoint_if_due};
    use super::*;

    async fn three_commits(lake: &Lake) -> Snapshot {
        lake.create("t", &[("n", DataType::Int64)], &[]).await;
        for run in 1..3 {
            lake.append("t", run, "SELECT value AS n FROM generate_series(1, 3)").await;
        }
        lake.append("t", 3, "SELECT value AS n FROM generate_series(1, 3)").await
    }

    async fn error_of(lake: &Lake) -> EngineError {
        let error = DeltaTable::open(&lake.stores, &lake.location("t")).await.unwrap_err();
        let text = error.to_string();
        assert_eq!((error.class(), error.code()), (ErrorClass::Internal, DAMAGED), "{text}");
        assert!(!text.contains('\n') && text.contains(lake.location("t").as_str()), "{text}");
        assert!(text.len() < 400, "{text}");
        error
    }

    #[tokio::test]
    async fn a_damaged_commit_is_one_line_with_table_file_and_line() {
        let lake = lake(1);
        let opened = three_commits(&lake).await;
        let entry = lake.path("t/_delta_log/00000000000000000003.json");
        let whole = std::fs::read_to_string(&entry).unwrap();
        std::fs::write(&entry, whole.replacen("{\"txn\"", "{\"txn", 1)).unwrap();
        let text = error_of(&lake).await.to_string();
        assert!(text.contains("'_delta_log/00000000000000000003.json' line 2, "), "{text}");
        // Whoever has the table open already meets it when it reads the files.
        let read = opened.live_files().await.unwrap_err();
        assert_eq!(read.code(), DAMAGED, "{read}");
        assert!(read.to_string().contains("00000000000000000003.json"), "{read}");

        std::fs::write(&entry, whole.get(..whole.len() / 2).unwrap()).unwrap();
        assert!(error_of(&lake).await.to_string().contains("00000000000000000003.json"));
    }

    #[tokio::test]
    async fn a_commit_that_is_missing_is_named() {
        let lake = lake(1);
        three_commits(&lake).await;
        std::fs::remove_file(lake.path("t/_delta_log/00000000000000000002.json")).unwrap();
        let text = error_of(&lake).await.to_string();
        assert!(text.contains("'_delta_log/00000000000000000002.json' is missing"), "{text}");
    }

    #[tokio::test]
    async fn a_checkpoint_that_is_cut_off_is_named() {
        let lake = lake(1);
        let mut snapshot = lake.create("t", &[("n", DataType::Int64)], &[]).await;
        for run in 1..=10 {
            snapshot = lake.append("t", run, "SELECT CAST(1 AS BIGINT) AS n").await;
        }
        assert!(checkpoint_if_due(&snapshot, 10).await);
        let checkpoint = lake.path("t/_delta_log/00000000000000000010.checkpoint.parquet");
        let bytes = std::fs::read(&checkpoint).unwrap();
        std::fs::write(&checkpoint, &bytes[..bytes.len() / 2]).unwrap();
        let text = error_of(&lake).await.to_string();
        assert!(text.contains("00000000000000000010.checkpoint.parquet' is cut off"), "{text}");
    }

    #[test]
    fn files_of_the_log_are_known_by_their_names() {
        assert_eq!(entry("00000000000000000003.json"), Some((3, "json")));
        assert_eq!(entry("00000000000000000010.checkpoint.parquet"), Some((10, "checkpoint.parquet")));
        for name in ["_last_checkpoint", "3.json", "0000000000000000000x.json", "00000000000000000003"] {
            assert_eq!(entry(name), None, "{name}");
        }
    }
}
