use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use arrow::datatypes::DataType;
use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, PutMultipartOptions, PutOptions,
    PutPayload, PutResult,
};

use super::super::tests::{Lake, lake, request};
use super::super::{DeltaTableProvider, WriteSpec, checkpoint_if_due, split_replace};
use super::*;
use crate::delta::replace::parse_predicate;

const COLUMNS: [(&str, DataType); 2] = [("p", DataType::Utf8), ("n", DataType::Int64)];

fn rows(part: &str, first: i64, last: i64) -> String {
    format!("SELECT '{part}' AS p, value AS n FROM generate_series({first}, {last})")
}

async fn count(lake: &Lake, snapshot: &Snapshot) -> String {
    lake.query(snapshot, "SELECT count(*) FROM t").await.remove(0)
}

#[tokio::test]
async fn a_run_commits_once_however_often_it_is_repeated() {
    let lake = lake(1);
    let empty = lake.create("t", &COLUMNS, &[]).await;
    let adds = lake.write(&empty, &rows("a", 1, 10)).await.adds;
    for mode in [Mode::Append, Mode::Overwrite] {
        let first = commit(&lake.stores, &empty, request(mode.clone(), adds.clone(), 5)).await.unwrap();
        assert_eq!(first.version(), 1);
        // From the old snapshot, as after a crash, and from the new one.
        let again = commit(&lake.stores, &empty, request(mode.clone(), adds.clone(), 5)).await.unwrap();
        assert_eq!(again, CommitOutcome::AlreadyCommitted(1));
        let snapshot = lake.open("t").await;
        let again = commit(&lake.stores, &snapshot, request(mode, adds.clone(), 5)).await.unwrap();
        assert_eq!(again, CommitOutcome::AlreadyCommitted(1));
        let older = commit(&lake.stores, &snapshot, request(Mode::Append, adds.clone(), 4)).await.unwrap_err();
        assert_eq!((older.class(), older.code()), (ErrorClass::Conflict, "delta-overtaken"));
        assert_eq!(count(&lake, &lake.open("t").await).await, "10");
    }
}

#[tokio::test]
async fn overwriting_leaves_only_the_new_rows() {
    let lake = lake(2);
    lake.create("t", &COLUMNS, &["p"]).await;
    lake.append("t", 1, &rows("a", 1, 10)).await;
    lake.append("t", 2, &rows("b", 1, 10)).await;
    let snapshot = lake.put("t", Mode::Overwrite, 3, &rows("c", 1, 3)).await;
    assert_eq!(lake.query(&snapshot, "SELECT p, count(*) FROM t GROUP BY p").await, ["c|3"]);
    let nothing = lake.put("t", Mode::Overwrite, 4, "SELECT 'x' AS p, CAST(1 AS BIGINT) AS n WHERE false").await;
    assert_eq!(count(&lake, &nothing).await, "0");
    assert_eq!(nothing.txn_version("lake/job/table").await.unwrap(), Some(4));
}

fn of_other(mode: Mode, adds: Vec<Add>, app: &str) -> CommitRequest {
    CommitRequest { txn: (app.to_owned(), 1), ..request(mode, adds, 1) }
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_appends_of_different_jobs_all_get_in() {
    let lake = lake(1);
    let empty = lake.create("t", &COLUMNS, &[]).await;
    let mut commits = Vec::new();
    for writer in 0..8 {
        let adds = lake.write(&empty, &rows("a", writer * 10, writer * 10 + 9)).await.adds;
        commits.push(commit(&lake.stores, &empty, of_other(Mode::Append, adds, &format!("job {writer}"))));
    }
    let mut versions: Vec<i64> =
        futures::future::join_all(commits).await.into_iter().map(|outcome| outcome.unwrap().version()).collect();
    versions.sort_unstable();
    assert_eq!(versions, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(count(&lake, &lake.open("t").await).await, "80");
}

#[tokio::test]
async fn racing_overwrites_conflict_and_one_wins() {
    let lake = lake(1);
    lake.create("t", &COLUMNS, &[]).await;
    let base = lake.append("t", 1, &rows("a", 1, 10)).await;
    let one = lake.write(&base, &rows("b", 1, 5)).await.adds;
    let two = lake.write(&base, &rows("c", 1, 6)).await.adds;
    let (one, two) = futures::join!(
        commit(&lake.stores, &base, of_other(Mode::Overwrite, one, "one")),
        commit(&lake.stores, &base, of_other(Mode::Overwrite, two, "two"))
    );
    let (winner, loser) = if one.is_ok() { (one, two) } else { (two, one) };
    assert_eq!(winner.unwrap(), CommitOutcome::Committed(2));
    let error = loser.unwrap_err();
    assert_eq!((error.class(), error.code()), (ErrorClass::Conflict, "delta-conflict"));
    assert!(error.to_string().contains("version 2"), "{error}");
}

#[tokio::test]
async fn an_append_that_an_overwrite_did_not_see_makes_it_conflict_but_not_the_other_way() {
    let lake = lake(1);
    lake.create("t", &COLUMNS, &[]).await;
    let base = lake.append("t", 1, &rows("a", 1, 10)).await;
    let more = lake.write(&base, &rows("b", 1, 5)).await.adds;
    let all = lake.write(&base, &rows("c", 1, 6)).await.adds;
    commit(&lake.stores, &base, of_other(Mode::Append, more.clone(), "append")).await.unwrap();
    let error = commit(&lake.stores, &base, of_other(Mode::Overwrite, all.clone(), "overwrite")).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Conflict);
    let base = lake.open("t").await;
    commit(&lake.stores, &base, of_other(Mode::Overwrite, all, "overwrite")).await.unwrap();
    let late = commit(&lake.stores, &base, of_other(Mode::Append, more, "late append")).await.unwrap();
    assert_eq!(late, CommitOutcome::Committed(4));
}

async fn replace(lake: &Lake, snapshot: &Snapshot, condition: &str) -> Replacement {
    let state = lake.session.state();
    let predicate = parse_predicate(&state, snapshot, condition).unwrap();
    split_replace(snapshot, &state, &predicate, condition).await.unwrap()
}

/// What a driver does: new rows and survivors are written, then committed together.
async fn replace_where(
    lake: &Lake,
    snapshot: &Snapshot,
    condition: &str,
    sql: &str,
    run: i64,
) -> Result<CommitOutcome> {
    let replacement = replace(lake, snapshot, condition).await;
    let mut adds = lake.write(snapshot, sql).await.adds;
    if !replacement.rewrite.is_empty() {
        let files = DeltaTableProvider::over(snapshot.clone(), replacement.rewrite.clone());
        let survivors = lake.session.read_table(Arc::new(files)).unwrap().filter(replacement.survivors()).unwrap();
        let plan = survivors.create_physical_plan().await.unwrap();
        let plan = super::super::plan_gathered_write(plan, WriteSpec::new(snapshot, 128 << 20).unwrap(), 2).unwrap();
        adds.extend(super::super::Written::read(&lake.run(plan).await.unwrap()).unwrap().adds);
    }
    commit(&lake.stores, snapshot, request(Mode::ReplaceWhere(Box::new(replacement)), adds, run)).await
}

async fn three_parts(lake: &Lake) -> Snapshot {
    lake.create("t", &COLUMNS, &["p"]).await;
    lake.append("t", 1, &rows("a", 1, 10)).await;
    lake.append("t", 2, &rows("b", 11, 20)).await;
    lake.append(
        "t",
        3,
        "SELECT 'c' AS p, CASE WHEN value = 25 THEN NULL ELSE value END AS n FROM generate_series(21, 30)",
    )
    .await
}

#[tokio::test]
async fn replacing_a_partition_rewrites_nothing() {
    let lake = lake(2);
    let snapshot = three_parts(&lake).await;
    let split = replace(&lake, &snapshot, "p = 'b'").await;
    assert_eq!((split.remove.len(), split.rewrite.len()), (1, 0));
    replace_where(&lake, &snapshot, "p = 'b'", &rows("b", 100, 102), 4).await.unwrap();
    let snapshot = lake.open("t").await;
    assert_eq!(lake.query(&snapshot, "SELECT p, count(*) FROM t GROUP BY p ORDER BY p").await, ["a|10", "b|3", "c|10"]);
}

#[tokio::test]
async fn replacing_rows_keeps_those_that_do_not_match_and_those_of_unknown_answer() {
    let lake = lake(2);
    let snapshot = three_parts(&lake).await;
    let split = replace(&lake, &snapshot, "n > 15").await;
    // File c has a NULL, so not every row of it matches, and b has rows of both kinds.
    assert_eq!((split.remove.len(), split.rewrite.len()), (0, 2));
    let whole = replace(&lake, &snapshot, "n >= 11 AND n <= 20").await;
    assert_eq!((whole.remove.len(), whole.rewrite.len()), (1, 0));
    replace_where(&lake, &snapshot, "n > 15", &rows("z", 500, 501), 4).await.unwrap();
    let snapshot = lake.open("t").await;
    let parts = lake.query(&snapshot, "SELECT p, count(*), sum(n) FROM t GROUP BY p ORDER BY p").await;
    assert_eq!(parts, ["a|10|55", "b|5|65", "c|1|", "z|2|1001"]);
}

#[tokio::test]
async fn a_replacement_minds_only_appends_that_it_could_have_replaced() {
    let lake = lake(1);
    let base = three_parts(&lake).await;
    let other = lake.write(&base, &rows("x", 1, 5)).await.adds;
    commit(&lake.stores, &base, of_other(Mode::Append, other, "other partition")).await.unwrap();
    replace_where(&lake, &base, "p = 'b'", &rows("b", 7, 7), 4).await.unwrap();
    let base = lake.open("t").await;
    let same = lake.write(&base, &rows("b", 1, 5)).await.adds;
    commit(&lake.stores, &base, of_other(Mode::Append, same, "same partition")).await.unwrap();
    let error = replace_where(&lake, &base, "p = 'b'", &rows("b", 8, 8), 5).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Conflict);
    let error = parse_predicate(&lake.session.state(), &base, "n + 1").unwrap_err();
    assert_eq!((error.class(), error.code()), (ErrorClass::InvalidJob, "predicate"));
    assert!(parse_predicate(&lake.session.state(), &base, "nope = 1").is_err());
}

#[tokio::test]
async fn changed_metadata_stops_even_an_append() {
    let lake = lake(1);
    let base = lake.create("t", &COLUMNS, &[]).await;
    let adds = lake.write(&base, &rows("a", 1, 2)).await.adds;
    let log = lake.path("t").join("_delta_log");
    let first = std::fs::read_to_string(log.join("00000000000000000000.json")).unwrap();
    let metadata = first.lines().find(|line| line.starts_with("{\"metaData\"")).unwrap();
    std::fs::write(log.join("00000000000000000001.json"), metadata).unwrap();
    let error = commit(&lake.stores, &base, request(Mode::Append, adds, 1)).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Conflict);
    assert!(error.to_string().contains("schema or properties"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tenth_version_gets_a_checkpoint_that_readers_use() {
    let lake = lake(1);
    lake.create("t", &COLUMNS, &["p"]).await;
    for run in 1..=12 {
        let snapshot = lake.append("t", run, &rows("a b%", run, run)).await;
        assert_eq!(checkpoint_if_due(&snapshot, snapshot.version()).await, run == 10);
    }
    let log = lake.path("t").join("_delta_log");
    assert!(log.join("00000000000000000010.checkpoint.parquet").exists());
    for version in 0..10 {
        std::fs::remove_file(log.join(format!("{version:020}.json"))).unwrap();
    }
    let snapshot = lake.open("t").await;
    assert_eq!(count(&lake, &snapshot).await, "12");
    assert_eq!(snapshot.txn_version("lake/job/table").await.unwrap(), Some(12));
    assert_eq!(lake.query(&snapshot, "SELECT n FROM t WHERE p = 'a b%' AND n = 3").await, ["3"]);
    assert!(snapshot.live_files().await.unwrap().iter().all(|file| file.stats.is_some()));
}

#[tokio::test]
async fn the_history_tells_what_happened() {
    let lake = lake(1);
    let base = lake.create("t", &COLUMNS, &["p"]).await;
    let adds = lake.write(&base, &rows("a", 1, 2)).await.adds;
    let metrics = [("numOutputRows".to_owned(), "2".to_owned())].into();
    let request = CommitRequest { metrics, user_metadata: Some("run 7".to_owned()), ..request(Mode::Append, adds, 7) };
    commit(&lake.stores, &base, request).await.unwrap();
    let log = std::fs::read_to_string(lake.path("t").join("_delta_log/00000000000000000001.json")).unwrap();
    let info: Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    let info = &info["commitInfo"];
    assert_eq!(info["operation"], "WRITE");
    assert_eq!(info["isBlindAppend"], true);
    assert_eq!(info["operationMetrics"]["numOutputRows"], "2");
    assert_eq!(info["operationParameters"]["partitionBy"], "[\"p\"]");
    assert_eq!(info["userMetadata"], "run 7");
    assert!(info["engineInfo"].as_str().unwrap().starts_with("lake/"));
}

/// A store whose creates of log entries go wrong as told: applied and then reported lost, or lost indeed.
#[derive(Debug)]
struct Unreliable {
    inner: Arc<dyn ObjectStore>,
    applied_but_lost: AtomicU32,
    lost: AtomicU32,
}

impl fmt::Display for Unreliable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unreliable")
    }
}

fn timeout() -> object_store::Error {
    object_store::Error::Generic { store: "test", source: "connection reset".into() }
}

fn one_less(counter: &AtomicU32) -> bool {
    counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

#[async_trait]
impl ObjectStore for Unreliable {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> object_store::Result<PutResult> {
        if one_less(&self.lost) {
            return Err(timeout());
        }
        let result = self.inner.put_opts(path, payload, options).await?;
        if one_less(&self.applied_but_lost) { Err(timeout()) } else { Ok(result) }
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.inner.get_opts(path, options).await
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        self.inner.get_ranges(path, ranges).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

async fn commit_through(lake: &Lake, applied_but_lost: u32, lost: u32) -> (Result<CommitOutcome>, Snapshot) {
    let base = lake.create("t", &COLUMNS, &[]).await;
    let adds = lake.write(&base, &rows("a", 1, 10)).await.adds;
    let store = Unreliable {
        inner: lake.stores.rooted(base.location()).unwrap(),
        applied_but_lost: applied_but_lost.into(),
        lost: lost.into(),
    };
    let attempt = Attempt::new(&base, request(Mode::Append, adds, 1)).await.unwrap();
    let outcome = attempt.run(&store, &|| Ok(())).await;
    (outcome, lake.open("t").await)
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_found_and_not_repeated() {
    let lake = lake(1);
    let (outcome, snapshot) = commit_through(&lake, 1, 0).await;
    assert_eq!(outcome.unwrap(), CommitOutcome::Committed(1));
    assert_eq!((snapshot.version(), count(&lake, &snapshot).await.as_str()), (1, "10"));
}

#[tokio::test]
async fn a_commit_that_never_arrived_is_tried_again() {
    let lake = lake(1);
    let (outcome, snapshot) = commit_through(&lake, 0, 3).await;
    assert_eq!(outcome.unwrap(), CommitOutcome::Committed(1));
    assert_eq!(count(&lake, &snapshot).await, "10");
}

#[tokio::test]
async fn a_commit_that_may_not_be_written_any_more_is_not_and_one_in_doubt_is_not_repeated() {
    let lake = lake(1);
    let base = lake.create("t", &COLUMNS, &[]).await;
    let adds = lake.write(&base, &rows("a", 1, 10)).await.adds;
    let lost = || -> Result<()> { Err(EngineError::unavailable("lease-expired", "late")) };
    let late = commit_while(&lake.stores, &base, request(Mode::Append, adds.clone(), 1), &lost).await.unwrap_err();
    assert_eq!(late.code(), "lease-expired");
    assert_eq!(lake.open("t").await.version(), 0);

    // The first write is lost on its way, and the second is not tried.
    let inner = lake.stores.rooted(base.location()).unwrap();
    let store = Unreliable { inner, applied_but_lost: 0.into(), lost: 1.into() };
    let left = AtomicU32::new(1);
    let once = || if one_less(&left) { Ok(()) } else { Err(EngineError::unavailable("lease-expired", "late")) };
    let attempt = Attempt::new(&base, request(Mode::Append, adds, 1)).await.unwrap();
    assert_eq!(attempt.run(&store, &once).await.unwrap_err().code(), "lease-expired");
    assert_eq!(lake.open("t").await.version(), 0);
}

#[tokio::test]
async fn a_store_that_stays_away_gives_its_error_and_nothing_is_committed() {
    let lake = lake(1);
    let (outcome, snapshot) = commit_through(&lake, 0, u32::MAX).await;
    let error = outcome.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Unavailable);
    assert!(error.to_string().contains("version 1"), "{error}");
    assert_eq!(snapshot.version(), 0);
}
