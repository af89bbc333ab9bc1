//! The 22 queries on both sides. Edge.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, bail};
use arrow::array::RecordBatch;
use serde_json::json;
use url::Url;

use crate::answers;
use crate::cluster::Cluster;
use crate::local;

const TABLES: [&str; 8] = ["lineitem", "orders", "customer", "part", "partsupp", "supplier", "nation", "region"];

pub(crate) struct Options {
    pub(crate) master: String,
    pub(crate) tables: Url,
    pub(crate) sql: PathBuf,
    pub(crate) runs: usize,
    pub(crate) cores: usize,
    pub(crate) only: Vec<u8>,
    pub(crate) json: PathBuf,
}

struct Figures {
    query: u8,
    local: Vec<f64>,
    cluster: Vec<f64>,
    rows: usize,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let session = local::session(options.cores);
    local::register(&session, &options.tables, &TABLES).await?;
    let cluster = Cluster::attach(&options.master, &options.tables, &TABLES, options.cores).await?;
    let mut figures = Vec::new();
    for query in 1..=22_u8 {
        if !options.only.is_empty() && !options.only.contains(&query) {
            continue;
        }
        let file = options.sql.join(format!("q{query:02}.sql"));
        let text = std::fs::read_to_string(&file).with_context(|| format!("{}", file.display()))?;
        // The job's queries name tables by schema; here they are bare.
        let text = text.replace("tpch.", "");
        let text = text.trim().trim_end_matches(';');
        let mut row = Figures { query, local: Vec::new(), cluster: Vec::new(), rows: 0 };
        for _ in 0..options.runs.max(1) {
            let (seconds, expected) = timed(local::query(&session, text)).await?;
            row.local.push(seconds);
            let (seconds, found) =
                timed(cluster.query(text)).await.with_context(|| format!("q{query} on the cluster"))?;
            row.cluster.push(seconds);
            let (expected, found) = (answers::rows(&expected)?, answers::rows(&found)?);
            if !answers::agree(&expected, &found) {
                bail!("q{query}: the cluster's answer differs ({} rows, expected {})", found.len(), expected.len());
            }
            row.rows = found.len();
        }
        let (local, cluster) = (best(&row.local), best(&row.cluster));
        println!(
            "q{query:02}  in-process {local:8.3} s  cluster {cluster:8.3} s  ratio {:5.2}  {} rows",
            cluster / local,
            row.rows
        );
        figures.push(row);
    }
    cluster.detach().await?;
    let local: f64 = figures.iter().map(|row| best(&row.local)).sum();
    let cluster: f64 = figures.iter().map(|row| best(&row.cluster)).sum();
    println!(
        "sum  in-process {local:8.3} s  cluster {cluster:8.3} s  ratio {:5.2}  all answers equal",
        cluster / local
    );
    let queries: Vec<_> = figures
        .iter()
        .map(|row| json!({ "query": row.query, "in_process_s": row.local, "cluster_s": row.cluster, "rows": row.rows }))
        .collect();
    let document = json!({ "in_process_s": local, "cluster_s": cluster, "ratio": cluster / local, "queries": queries });
    std::fs::write(&options.json, serde_json::to_vec_pretty(&document)?)?;
    Ok(())
}

async fn timed(
    query: impl Future<Output = anyhow::Result<Vec<RecordBatch>>>,
) -> anyhow::Result<(f64, Vec<RecordBatch>)> {
    let started = Instant::now();
    let batches = query.await?;
    Ok((started.elapsed().as_secs_f64(), batches))
}

fn best(seconds: &[f64]) -> f64 {
    seconds.iter().copied().fold(f64::INFINITY, f64::min)
}
