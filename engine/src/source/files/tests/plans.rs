//! The node among others: partitions, projection, limits, the wire, and DataFusion's own readers as the oracle.

use datafusion::execution::options::CsvReadOptions;
use datafusion::physical_plan::displayable;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};

use super::*;
use crate::{codec, malformed};

const SQL: &str = "SELECT k, count(*) AS n, sum(v) AS v, min(t) AS t, max(d) AS d FROM src GROUP BY k ORDER BY k";

fn table(rows: usize) -> String {
    let mut text = "k,v,t,d\n".to_owned();
    for row in 0..rows {
        text += &format!("{},{}.25,\"t, \"\"{row}\"\"\",2024-01-{:02}\n", row % 7, row * 3, row % 28 + 1);
    }
    text
}

#[tokio::test]
async fn clean_csv_gives_what_datafusion_reads() {
    let fixture = Fixture::new();
    fixture.write("in.csv", table(100_000));
    let source = fixture.source(FileFormat::Csv, "in.csv", ParseMode::FailFast);
    let ours = fixture.rows(&source, SQL).await.unwrap();
    let path = fixture.path().join("in.csv");
    fixture.context.deregister_table("src").unwrap();
    fixture.context.register_csv("src", path.to_str().unwrap(), CsvReadOptions::new()).await.unwrap();
    let theirs = fixture.context.sql(SQL).await.unwrap().collect().await.unwrap();
    assert_eq!(ours, rows(&theirs));
}

#[tokio::test]
async fn a_plan_that_travelled_gives_the_same_rows() {
    let fixture = Fixture::new();
    fixture.write("in.csv", table(1_000));
    fixture.write("in.parquet", super::binary::parquet_bytes(&super::binary::numbers(1_000), 100));
    let parquet = "SELECT count(*) AS n FROM src WHERE id > 900 AND name LIKE 'n9%'";
    for (format, name, sql) in [(FileFormat::Csv, "in.csv", SQL), (FileFormat::Parquet, "in.parquet", parquet)] {
        let source = fixture.source(format, name, ParseMode::Permissive);
        let plan = fixture.plan(&source, sql).await.unwrap();
        let codec = codec::codec();
        let bytes = codec::encode_plan(&plan, codec.as_ref()).unwrap();
        let context = fixture.context.task_ctx();
        let travelled = codec::decode_plan(&bytes, &context, codec.as_ref()).unwrap();
        let show = |plan: &Arc<dyn ExecutionPlan>| displayable(plan.as_ref()).indent(true).to_string();
        assert_eq!(show(&plan), show(&travelled));
        let here = collect(plan, context.clone()).await.unwrap();
        assert_eq!(rows(&here), rows(&collect(travelled, context).await.unwrap()));
    }
}

#[tokio::test]
async fn a_large_file_is_cut_for_every_partition_and_a_limit_stops_early() {
    let fixture = Fixture::new();
    fixture.write("in.csv", table(200_000));
    let source = fixture.source(FileFormat::Csv, "in.csv", ParseMode::Drop);
    let plan = fixture.plan(&source, "SELECT t FROM src").await.unwrap();
    assert_eq!(plan.properties().partitioning.partition_count(), 3, "{}", displayable(plan.as_ref()).indent(true));
    assert_eq!(plan.schema().fields().len(), 1);
    let all = fixture.rows(&source, "SELECT count(*) AS n, count(DISTINCT t) AS d FROM src").await.unwrap();
    assert_eq!(all, ["n|d", "200000|200000"]);
    let few = fixture.rows(&source, "SELECT k FROM src LIMIT 5").await.unwrap();
    assert_eq!(few.len(), 6);
}

#[tokio::test]
async fn statistics_are_estimates_of_the_partition_or_the_whole() {
    let fixture = Fixture::new();
    fixture.write("in.csv", table(200_000));
    let source = fixture.source(FileFormat::Csv, "in.csv", ParseMode::Drop);
    let plan = fixture.plan(&source, "SELECT * FROM src").await.unwrap();
    let size = std::fs::metadata(fixture.path().join("in.csv")).unwrap().len();
    let of = |partition| {
        let args = StatisticsArgs::new().with_partition(partition);
        StatisticsContext::new().compute(plan.as_ref(), &args).unwrap()
    };
    let whole = of(None);
    assert_eq!(whole.total_byte_size.get_value().copied(), usize::try_from(size).ok());
    assert!(!whole.num_rows.is_exact().unwrap_or(false));
    let part = of(Some(0));
    assert_eq!(part.total_byte_size.get_value().copied(), usize::try_from(size / 3).ok());
}

#[tokio::test]
async fn records_that_do_not_parse_are_counted_once_however_often_they_are_read() {
    let fixture = Fixture::new();
    fixture.write("in/1.csv", "a,b\n1,x\n?,y\n2\n").write("in/2.csv", "a,b\n!,z\n");
    let sql = "SELECT a FROM src UNION ALL SELECT a FROM src";
    for (mode, rows, records) in
        [(ParseMode::Drop, 2, Some(3)), (ParseMode::Permissive, 8, Some(3)), (ParseMode::FailFast, 0, None)]
    {
        let mut source = fixture.source(FileFormat::Csv, "in/", mode);
        source.schema = declared(&[("a", ColumnType::BigInt), ("b", ColumnType::String)]);
        let plan = fixture.plan(&source, sql).await.unwrap();
        match collect(plan.clone(), fixture.context.task_ctx()).await {
            Ok(batches) => assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), rows),
            Err(error) => assert_eq!(mode, ParseMode::FailFast, "{error}"),
        }
        let found = malformed::found(&plan);
        assert_eq!(found.first().map(malformed::Malformed::records), records, "{mode:?}");
        assert!(found.len() < 2 && found.iter().all(|found| found.source == "src"));
    }
}

#[tokio::test]
async fn lines_that_do_not_parse_are_counted_and_judged_also_when_no_column_is_read() {
    let fixture = Fixture::new();
    let json = ["{\"a\":1,\"b\":\"x\"}", "{\"a\":2,", "no json", "[1]", "{\"a\":3}{\"a\":4}", "null", "{\"a\":5}"];
    // Enough good lines that some are decoded together, and some beside a bad one.
    let good = "{\"a\":7,\"b\":\"y\"}\n".repeat(200);
    fixture.write("in.json", format!("{good}{}\n{good}", json.join("\n")));
    fixture.write("in.csv", format!("a,b\n{}1,x\n2\n3,y,z\n4,\"open\n", "7,y\n".repeat(400)));
    for (format, name, good, bad) in
        [(FileFormat::Json, "in.json", 402_usize, 5_u64), (FileFormat::Csv, "in.csv", 401, 3)]
    {
        let total = good + usize::try_from(bad).unwrap();
        for (mode, rows) in [(ParseMode::Drop, good), (ParseMode::Permissive, total)] {
            let mut source = fixture.source(format, name, mode);
            source.schema = declared(&[("a", ColumnType::String), ("b", ColumnType::String)]);
            for sql in ["SELECT count(*) AS n FROM src", "SELECT 1 AS one FROM src"] {
                let plan = fixture.plan(&source, sql).await.unwrap();
                let batches = collect(plan.clone(), fixture.context.task_ctx()).await.unwrap();
                let found: usize = match sql.contains("count") {
                    true => super::rows(&batches)[1].parse().unwrap(),
                    false => batches.iter().map(RecordBatch::num_rows).sum(),
                };
                assert_eq!(found, rows, "{name} {mode:?} {sql}");
                let counted = malformed::found(&plan);
                assert_eq!(counted.first().map(malformed::Malformed::records), Some(bad), "{name} {mode:?} {sql}");
            }
        }
        let mut source = fixture.source(format, name, ParseMode::FailFast);
        source.schema = declared(&[("a", ColumnType::String), ("b", ColumnType::String)]);
        let error = fixture.rows(&source, "SELECT count(*) AS n FROM src").await.unwrap_err();
        assert_eq!(error.code(), "bad-record", "{error}");
        assert!(error.to_string().contains(&format!("{name}' line ")), "{error}");
    }
}
