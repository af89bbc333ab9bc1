//! Settling what became of a run's commit when whoever made it cannot be asked. Edge.
//!
//! The log decides. Either an entry has the run's transaction, then that says it all; or a fence is committed: an entry
//! with the transaction and without rows. A commit that is still on its way was planned on an older version, meets the
//! fence before it gets in, and fails as a conflict.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::commit::{CommitOutcome, CommitRequest, Mode, commit};
use super::committed::{Committed, find};
use super::table::Snapshot;
use crate::stores::Stores;
use crate::{EngineError, Result};

/// What became of a run's commit to a table, for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Its rows are in the table.
    Committed(Committed),
    /// They are not and will not be.
    Fenced {
        /// The version that keeps them out.
        version: i64,
    },
}

/// Finds out whether the run `txn` has committed to the table, and if not, sees to it that it never will. A repeat gives
/// the same answer. `run_id` goes into the table's history.
///
/// # Errors
/// As [`commit`]: after `conflict` and `unavailable` a repeat from a new snapshot settles it; `internal` when the log
/// has the transaction and not the entry any more that would tell what it was.
pub async fn settle(stores: &Arc<Stores>, snapshot: &Snapshot, txn: (String, i64), run_id: &str) -> Result<Settled> {
    let fence = CommitRequest {
        mode: Mode::Fence,
        adds: Vec::new(),
        txn: txn.clone(),
        metrics: BTreeMap::new(),
        user_metadata: Some(run_id.to_owned()),
    };
    let newest = match commit(stores, snapshot, fence).await? {
        CommitOutcome::Committed(version) => return Ok(Settled::Fenced { version }),
        CommitOutcome::AlreadyCommitted(version) => version,
    };
    let root = stores.rooted(snapshot.location())?;
    match find(root.as_ref(), 0..=newest, &txn).await? {
        Some((version, entry)) if entry.is_fence => Ok(Settled::Fenced { version }),
        Some((version, entry)) => Ok(Settled::Committed(Committed::of(version, &entry))),
        None => {
            let (app_id, run) = txn;
            Err(EngineError::internal(format!(
                "table '{}' has transaction {run} of '{app_id}', and the log entry with it is not there any more",
                snapshot.location()
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;
    use lake_proto::ErrorClass;

    use super::super::tests::{lake, request};
    use super::*;

    const COLUMNS: [(&str, DataType); 1] = [("n", DataType::Int64)];
    const ROWS: &str = "SELECT value AS n FROM generate_series(1, 10)";

    fn txn(run: i64) -> (String, i64) {
        request(Mode::Append, Vec::new(), run).txn
    }

    #[tokio::test]
    async fn a_fence_keeps_out_every_commit_of_the_run_that_is_still_on_its_way() {
        let lake = lake(1);
        lake.create("t", &COLUMNS, &[]).await;
        let base = lake.append("t", 1, ROWS).await;
        for (run, mode) in [(2, Mode::Append), (3, Mode::Overwrite)] {
            let base = if run == 2 { base.clone() } else { lake.open("t").await };
            let adds = lake.write(&base, ROWS).await.adds;
            let fenced = settle(&lake.stores, &base, txn(run), "app-1").await.unwrap();
            assert_eq!(fenced, Settled::Fenced { version: run });
            assert_eq!(settle(&lake.stores, &base, txn(run), "app-1").await.unwrap_err().class(), ErrorClass::Conflict);
            let newer = lake.open("t").await;
            assert_eq!(settle(&lake.stores, &newer, txn(run), "app-1").await.unwrap(), fenced, "a repeat");

            let late = commit(&lake.stores, &base, request(mode, adds, run)).await.unwrap_err();
            assert_eq!((late.class(), late.code()), (ErrorClass::Conflict, "delta-conflict"));
        }
        let snapshot = lake.open("t").await;
        assert_eq!(lake.query(&snapshot, "SELECT count(*) FROM t").await, ["10"]);
        // The next run is not in the way of a fence.
        lake.append("t", 4, ROWS).await;
    }

    #[tokio::test]
    async fn a_commit_that_got_in_is_found_with_its_version_also_behind_others() {
        let lake = lake(1);
        let base = lake.create("t", &COLUMNS, &[]).await;
        lake.append("t", 7, ROWS).await;
        let adds = lake.write(&lake.open("t").await, ROWS).await.adds;
        let other = CommitRequest { txn: ("other".to_owned(), 1), ..request(Mode::Append, adds, 1) };
        commit(&lake.stores, &lake.open("t").await, other).await.unwrap();
        for snapshot in [base, lake.open("t").await] {
            let found = settle(&lake.stores, &snapshot, txn(7), "app-1").await.unwrap();
            let Settled::Committed(Committed { version: 1, files: 1, bytes, .. }) = found else { panic!("{found:?}") };
            assert!(bytes > 0);
        }
        assert_eq!(lake.open("t").await.version(), 2, "a fence was committed");
    }
}
