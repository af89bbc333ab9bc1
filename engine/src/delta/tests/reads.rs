//! Files and row groups found, skipped, cut and limited.

use arrow::array::{ArrayRef, Int64Array, StringArray};
use datafusion::common::stats::Precision;
use datafusion::physical_plan::displayable;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use super::*;
use crate::worklist;

/// Pieces that a plan reads, task by task, as JSON.
pub(super) async fn pieces(plan: &Arc<dyn ExecutionPlan>, lake: &Lake) -> Vec<Vec<serde_json::Value>> {
    let mut found = Vec::new();
    let mut nodes = vec![plan.clone()];
    while let Some(node) = nodes.pop() {
        if node.is::<DeltaFilesScanExec>() {
            let work = node.children()[0].clone();
            for partition in 0..work.properties().partitioning.partition_count() {
                let stream = work.execute(partition, lake.session.task_ctx()).unwrap();
                let batches = datafusion::physical_plan::common::collect(stream).await.unwrap();
                found.push(batches.iter().flat_map(|batch| worklist::pieces(batch).unwrap()).collect());
            }
        }
        nodes.extend(node.children().into_iter().cloned());
    }
    found
}

async fn files_read(lake: &Lake, snapshot: &Snapshot, sql: &str) -> usize {
    let plan = lake.plan(DeltaTableProvider::new(snapshot.clone()), sql).await;
    pieces(&plan, lake).await.iter().flatten().count()
}

async fn numbers(lake: &Lake) -> Snapshot {
    lake.create("t", &[("p", DataType::Utf8), ("n", DataType::Int64), ("s", DataType::Utf8)], &["p"]).await;
    for (run, part) in ["a", "b", "c"].iter().enumerate() {
        let first = run * 100;
        let sql = format!(
            "SELECT '{part}' AS p, value AS n, 'row ' || value AS s FROM generate_series({first}, {})",
            first + 99
        );
        lake.append("t", i64::try_from(run).unwrap() + 1, &sql).await;
    }
    lake.append("t", 10, "SELECT CAST(NULL AS VARCHAR) AS p, CAST(1000 AS BIGINT) AS n, 'null' AS s").await
}

#[tokio::test]
async fn only_files_that_can_match_are_read() {
    let lake = lake(1);
    let snapshot = numbers(&lake).await;
    for (filter, files) in [
        ("true", 4),
        ("p = 'a'", 1),
        ("p IS NULL", 1),
        ("upper(p) = 'B'", 1),
        ("p <> 'a'", 2),
        ("n = 150", 1),
        ("n BETWEEN 90 AND 110", 2),
        ("n > 5000", 0),
        ("n IS NULL", 0),
        ("p = 'a' AND n > 150", 0),
        ("p = 'a' OR n > 150", 4),
        ("s LIKE 'row 2%'", 4),
        ("s = 'zzz'", 0),
        ("p IN ('a', 'c')", 2),
    ] {
        let sql = format!("SELECT n FROM t WHERE {filter}");
        let read = files_read(&lake, &snapshot, &sql).await;
        assert!(read <= files, "{filter}: {read} files");
        let all: Vec<String> = lake.query(&snapshot, &format!("SELECT count(*) FROM t WHERE {filter}")).await;
        let checked = lake.query(&snapshot, &format!("SELECT sum(CASE WHEN {filter} THEN 1 ELSE 0 END) FROM t")).await;
        assert_eq!(all, checked, "{filter}");
    }
    assert_eq!(files_read(&lake, &snapshot, "SELECT n FROM t WHERE p = 'b' OR p IS NULL").await, 2);
}

#[tokio::test]
async fn partition_filters_are_exact_and_others_stay_above_the_scan() {
    let lake = lake(1);
    let snapshot = numbers(&lake).await;
    let plan = lake.plan(DeltaTableProvider::new(snapshot.clone()), "SELECT n FROM t WHERE p = 'a' AND n > 10").await;
    let text = displayable(plan.as_ref()).indent(false).to_string();
    assert!(text.contains("FilterExec: n@") && !text.contains("FilterExec: p@"), "{text}");
    assert!(text.contains("predicate=n@0 > 10"), "{text}");
    let plan = lake.plan(DeltaTableProvider::new(snapshot), "SELECT n FROM t WHERE p = 'a' LIMIT 5").await;
    let text = displayable(plan.as_ref()).indent(false).to_string();
    assert!(text.contains("limit=5"), "{text}");
}

#[tokio::test]
async fn a_limit_reads_no_more_files_than_it_needs() {
    let lake = lake(4);
    let snapshot = numbers(&lake).await;
    assert_eq!(lake.query(&snapshot, "SELECT count(*) FROM (SELECT n FROM t LIMIT 150)").await, ["150"]);
    let read = files_read(&lake, &snapshot, "SELECT n FROM t LIMIT 50").await;
    assert!(read <= 2, "{read} files for 50 rows");
    assert_eq!(files_read(&lake, &snapshot, "SELECT n FROM t WHERE n > 5 LIMIT 50").await, 4);
    assert_eq!(lake.query(&snapshot, "SELECT n FROM t ORDER BY n DESC LIMIT 2").await, ["1000", "299"]);
}

#[tokio::test]
async fn estimates_come_from_the_log() {
    let lake = lake(2);
    let snapshot = numbers(&lake).await;
    let plan = lake.plan(DeltaTableProvider::new(snapshot), "SELECT n FROM t").await;
    let statistics = StatisticsContext::new().compute(plan.as_ref(), &StatisticsArgs::new()).unwrap();
    assert_eq!(statistics.num_rows, Precision::Inexact(301));
    assert_eq!(statistics.total_byte_size, Precision::Inexact(301 * 8));
    let column = &statistics.column_statistics[0];
    assert_eq!(column.min_value, Precision::Inexact(datafusion::common::ScalarValue::Int64(Some(0))));
    assert_eq!(column.max_value, Precision::Inexact(datafusion::common::ScalarValue::Int64(Some(1000))));
}

/// One file of many row groups, added to the table by hand.
fn big_file(path: &Path, rows: i64, rows_per_group: usize) {
    let properties = WriterProperties::builder()
        .set_compression(parquet::basic::Compression::UNCOMPRESSED)
        .set_dictionary_enabled(false)
        .set_max_row_group_row_count(Some(rows_per_group))
        .build();
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(|n| format!("text number {n:030}"))));
    let batch = RecordBatch::try_from_iter([("n", numbers), ("s", texts)]).unwrap();
    let mut writer =
        ArrowWriter::try_new(std::fs::File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

async fn one_big_file(lake: &Lake) -> Snapshot {
    let snapshot = lake.create("t", &[("n", DataType::Int64), ("s", DataType::Utf8)], &[]).await;
    let path = lake.path("t").join("big.parquet");
    big_file(&path, 400_000, 10_000);
    let size = i64::try_from(std::fs::metadata(&path).unwrap().len()).unwrap();
    let add = Add { path: "big.parquet".to_owned(), size, data_change: true, ..Add::default() };
    commit(&lake.stores, &snapshot, request(Mode::Append, vec![add], 1)).await.unwrap();
    lake.open("t").await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_big_file_is_shared_by_all_tasks_and_every_row_read_once() {
    let sql = "SELECT count(*), count(DISTINCT n), sum(n), max(s) FROM t WHERE n % 3 = 0";
    let single = lake(1);
    let expected = single.query(&one_big_file(&single).await, sql).await;
    let lake = lake(4);
    let snapshot = one_big_file(&lake).await;
    let plan = lake.plan(DeltaTableProvider::new(snapshot.clone()), "SELECT n FROM t").await;
    let tasks = pieces(&plan, &lake).await;
    assert_eq!(tasks.len(), 4);
    let bytes = |task: &Vec<serde_json::Value>| task.iter().filter_map(|piece| piece["bytes"].as_u64()).sum::<u64>();
    let (least, most) = (tasks.iter().map(bytes).min().unwrap(), tasks.iter().map(bytes).max().unwrap());
    assert!(most < least * 2, "uneven: {least} to {most}");
    assert_eq!(lake.query(&snapshot, sql).await, expected);
    let few = "SELECT count(*) FROM t WHERE n BETWEEN 123456 AND 123999";
    assert_eq!(lake.query(&snapshot, few).await, ["544"]);
}

#[tokio::test]
async fn batches_have_the_size_of_the_session() {
    let lake = lake(1);
    let snapshot = one_big_file(&lake).await;
    let plan = lake.plan(DeltaTableProvider::new(snapshot), "SELECT n, s FROM t").await;
    let batches = lake.run(plan).await.unwrap();
    assert!(batches.iter().all(|batch| batch.num_rows() <= 8192));
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 400_000);
    assert_eq!(batches[0].schema().field(1).data_type(), &DataType::Utf8View);
}

#[tokio::test]
async fn a_snapshot_stays_at_the_version_it_was_opened_at() {
    let lake = lake(1);
    let before = numbers(&lake).await;
    let after = lake.append("t", 11, "SELECT 'd' AS p, CAST(2000 AS BIGINT) AS n, 'new' AS s").await;
    for (snapshot, version, rows) in [(&before, 4, "301"), (&after, 5, "302")] {
        assert_eq!(snapshot.version(), version);
        assert_eq!(lake.query(snapshot, "SELECT count(*) FROM t").await, [rows]);
    }
}

#[tokio::test]
async fn a_missing_data_file_is_named() {
    let lake = lake(1);
    let snapshot = numbers(&lake).await;
    std::fs::remove_file(&data_files(&lake.path("t"))[0]).unwrap();
    let plan = lake.plan(DeltaTableProvider::new(snapshot), "SELECT sum(n) FROM t").await;
    let error = lake.run(plan).await.unwrap_err();
    assert_eq!(error.class(), lake_proto::ErrorClass::NotFound, "{error}");
    assert!(error.to_string().contains(".parquet"), "{error}");
}

#[tokio::test]
async fn a_damaged_data_file_is_a_bad_file_and_not_read_again() {
    let lake = lake(1);
    let snapshot = numbers(&lake).await;
    let files = data_files(&lake.path("t")).into_iter();
    let file = files.max_by_key(|file| std::fs::metadata(file).unwrap().len()).unwrap();
    let name = file.file_name().unwrap().to_str().unwrap().to_owned();
    let whole = std::fs::read(&file).unwrap();
    let damaged = |from: usize, to: usize| {
        let mut bytes = whole.clone();
        bytes[from..to].fill(0xff);
        bytes
    };
    let size = whole.len();
    for (what, bytes, text) in [
        ("cut off", whole[..size / 2].to_vec(), name.as_str()),
        ("empty", vec![], name.as_str()),
        ("without magic", damaged(size - 4, size), name.as_str()),
        ("with a broken footer", damaged(size - 8, size - 4), name.as_str()),
        ("with broken pages", damaged(20, 200), lake.location("t").as_str()),
    ] {
        std::fs::write(&file, bytes).unwrap();
        // Footers are kept in the memory of a runtime.
        let fresh = super::lake(1);
        let plan = fresh.plan(DeltaTableProvider::new(snapshot.clone()), "SELECT sum(n), max(s) FROM t").await;
        let error = fresh.run(plan).await.unwrap_err();
        assert_eq!((error.class(), error.code()), (lake_proto::ErrorClass::DataQuality, "bad-file"), "{what}: {error}");
        assert!(!error.is_transient() && error.to_string().contains(text), "{what}: {error}");
    }
}

#[tokio::test]
async fn joins_push_their_filters_into_the_scan_and_stay_right() {
    let lake = lake(2);
    let snapshot = numbers(&lake).await;
    let sql = "SELECT count(*), sum(a.n) FROM t a JOIN t b ON a.n = b.n AND b.s = 'row 7' WHERE a.p = 'a'";
    assert_eq!(lake.query(&snapshot, sql).await, ["1|7"]);
}
