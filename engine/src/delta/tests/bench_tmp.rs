use super::*;
use std::time::Instant;
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bench() {
    let lake = lake(2);
    let sql = "SELECT value AS k, value % 50 AS q, CAST(value % 10000 AS DECIMAL(15,2)) AS price, CAST((value % 11) / 100.0 AS DECIMAL(15,2)) AS disc, \
      CASE WHEN value % 3 = 0 THEN 'A' WHEN value % 3 = 1 THEN 'N' ELSE 'R' END AS flag, CASE WHEN value % 2 = 0 THEN 'O' ELSE 'F' END AS status, \
      CAST('1992-01-01' AS DATE) + CAST(value % 2500 AS INT) AS shipped, 'some comment text ' || (value * 7919 % 1000003) AS comment FROM generate_series(1, 6000000)";
    let cols = lake.session.sql(sql).await.unwrap();
    let schema = Arc::new(cols.schema().as_arrow().clone());
    let new = NewTable { name: "t".into(), schema, partition_by: vec![], properties: [].into() };
    DeltaTable::create(&lake.stores, &lake.location("t"), &new).await.unwrap();
    let t0 = Instant::now();
    let batches = cols.collect().await.unwrap();
    eprintln!("generate {:?}", t0.elapsed());
    let mem = datafusion::datasource::MemTable::try_new(
        batches[0].schema(),
        batches.chunks(batches.len() / 2 + 1).map(|c| c.to_vec()).collect(),
    )
    .unwrap();
    lake.session.register_table("m", Arc::new(mem)).unwrap();
    let snap = lake.open("t").await;
    for _ in 0..2 {
        let t = Instant::now();
        let spec = WriteSpec::new(&snap, 128 << 20).unwrap();
        let rows = lake.session.sql("SELECT * FROM m").await.unwrap().create_physical_plan().await.unwrap();
        let plan = plan_write(rows, spec, 2).unwrap();
        let b = collect(plan, lake.session.task_ctx()).await.unwrap();
        eprintln!("ours write {:?}", t.elapsed());
        let _ = Written::read(&b).unwrap();
        let t = Instant::now();
        let p = lake.path("plain");
        let _ = std::fs::remove_dir_all(&p);
        lake.session
            .table("m")
            .await
            .unwrap()
            .write_parquet(p.to_str().unwrap(), datafusion::dataframe::DataFrameWriteOptions::new(), None)
            .await
            .unwrap();
        eprintln!("datafusion write {:?}", t.elapsed());
    }
    let spec = WriteSpec::new(&snap, 128 << 20).unwrap();
    let rows = lake.session.sql("SELECT * FROM m").await.unwrap().create_physical_plan().await.unwrap();
    let b = collect(plan_write(rows, spec, 2).unwrap(), lake.session.task_ctx()).await.unwrap();
    let w = Written::read(&b).unwrap();
    eprintln!("files {:?}", w.adds.iter().map(|a| a.size).collect::<Vec<_>>());
    let paths: Vec<String> = w.adds.iter().map(|a| lake.path("t").join(&a.path).to_str().unwrap().to_owned()).collect();
    commit(&lake.stores, &snap, request(Mode::Append, w.adds, 1)).await.unwrap();
    let snap = lake.open("t").await;
    lake.session.register_table("ours", Arc::new(DeltaTableProvider::new(snap))).unwrap();
    let df = lake.session.read_parquet(paths, Default::default()).await.unwrap();
    lake.session.register_table("theirs", df.into_view()).unwrap();
    for q in [
        "SELECT count(*), sum(k), min(price), max(q) FROM T",
        "SELECT flag, status, sum(q), sum(price), sum(price * (1 - disc)), avg(q), avg(price), count(*) FROM T WHERE shipped <= DATE '1998-09-02' GROUP BY flag, status ORDER BY flag, status",
        "SELECT count(*) FROM T WHERE comment LIKE '%123%'",
        "SELECT count(*) FROM T WHERE k BETWEEN 1000 AND 2000",
    ] {
        let mut answers = vec![];
        for name in ["ours", "theirs"] {
            let b = lake.session.sql(&q.replace(" T", &format!(" {name}"))).await.unwrap().collect().await.unwrap();
            answers.push(lines(&b));
            let plan = lake
                .session
                .sql(&q.replace(" T", &format!(" {name}")))
                .await
                .unwrap()
                .create_physical_plan()
                .await
                .unwrap();
            let text = datafusion::physical_plan::displayable(plan.as_ref()).indent(false).to_string();
            eprintln!(
                "{}",
                text.lines().map(|l| l.chars().take(150).collect::<String>()).collect::<Vec<_>>().join("\n")
            );
        }
        assert_eq!(answers[0], answers[1]);
        eprintln!("{:?}", answers[0][0]);
        for name in ["ours", "theirs", "ours", "theirs"] {
            let mut best = std::time::Duration::MAX;
            for _ in 0..4 {
                let t = Instant::now();
                let _ = lake.session.sql(&q.replace(" T", &format!(" {name}"))).await.unwrap().collect().await.unwrap();
                best = best.min(t.elapsed());
            }
            eprintln!("{name:8} {best:?} {}", &q[..40]);
        }
    }
}
