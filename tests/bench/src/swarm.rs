//! Many workers that only beat, and many submissions that only wait, against one real master: what it costs, and how
//! long a restart takes. Edge.
//!
//! `scripts/chaos` calls it. The submissions ask for more driver memory than any worker has, so that they stay queued.

mod fleet;
mod master;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use lake_proto::channel::{MAX_MESSAGE_BYTES, connect};
use lake_proto::v1;
use lake_proto::v1::submissions_client::SubmissionsClient;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use self::fleet::Fleet;
use self::master::Master;

/// More than any worker has.
const DRIVER_MEMORY_BYTES: u64 = 1 << 50;
/// Submissions in the first and in the last window.
const WINDOW: usize = 1_000;
/// Looks at the lists and the page.
const LOOKS: usize = 20;
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(10);

pub(crate) struct Options {
    /// `lake-master`.
    pub(crate) program: PathBuf,
    /// For the master's data and log.
    pub(crate) folder: PathBuf,
    /// Whose pipeline is submitted.
    pub(crate) job: PathBuf,
    pub(crate) workers: u32,
    pub(crate) submissions: u32,
    /// Connections that submit at once.
    pub(crate) submitters: u32,
    /// How long the master is watched while nothing but heartbeats comes.
    pub(crate) seconds: u64,
    /// The core that the master may use.
    pub(crate) core: Option<u32>,
}

/// Prints one JSON document.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let pipeline = pipeline(&options.job)?;
    let mut master = Master::start(&options.program, &options.folder, options.core).await?;
    let fleet = Fleet::start(&master.grpc, options.workers);
    let mut client = client(&master.grpc).await?;
    let attached_s = wait_for_workers(&mut client, options.workers).await?;
    let beating_cpu = master.cpu_share(Duration::from_secs(options.seconds)).await?;

    let (cpu_before, started) = (master.cpu_seconds()?, Instant::now());
    let took = submit(options, &master.grpc, &pipeline).await?;
    let submitting_s = started.elapsed().as_secs_f64();
    let submitting_cpu = (master.cpu_seconds()? - cpu_before) / submitting_s;
    let queued_cpu = master.cpu_share(Duration::from_secs(options.seconds)).await?;
    let shown = looks(&mut client, &master).await?;
    let (rss_mb, peak_mb) = master.memory_mb()?;
    let data_mb = master.data_mb()?;

    let last = format!("swarm-{}", options.submissions.saturating_sub(1));
    let restart = restart(&mut master, &last, options).await?;
    let (rss_after_mb, _) = master.memory_mb()?;
    let document = json!({
        "workers": options.workers,
        "submissions": options.submissions,
        "pipeline_bytes": pipeline.len(),
        "attached_s": attached_s,
        "cpu": { "beating": beating_cpu, "submitting": submitting_cpu, "queued": queued_cpu },
        "submit": {
            "seconds": submitting_s,
            "first": window(&took[..WINDOW.min(took.len())]),
            "last": window(&took[took.len().saturating_sub(WINDOW)..]),
            "all": window(&took),
        },
        "shown": shown,
        "rss_mb": rss_mb,
        "peak_rss_mb": peak_mb,
        "data_mb": data_mb,
        "restart": restart,
        "rss_after_restart_mb": rss_after_mb,
    });
    println!("{document}");
    drop(fleet);
    master.kill().await
}

/// What `lake-submit` would send of this job.
fn pipeline(job: &Path) -> anyhow::Result<Vec<u8>> {
    let today = chrono::Utc::now().date_naive();
    let options = lake_job::LoadOptions::new(today, std::env::current_dir()?);
    let pipeline = lake_job::load(job, &options).map_err(|errors| anyhow::anyhow!("{}: {errors}", job.display()))?;
    Ok(serde_json::to_vec(&pipeline)?)
}

async fn client(address: &str) -> anyhow::Result<SubmissionsClient<Channel>> {
    Ok(SubmissionsClient::new(connect(address).await?).max_decoding_message_size(MAX_MESSAGE_BYTES))
}

/// The time of each submission, in the order in which they were sent.
async fn submit(options: &Options, address: &str, pipeline: &[u8]) -> anyhow::Result<Vec<Duration>> {
    let next = Arc::new(AtomicU32::new(0));
    let mut submitters = JoinSet::new();
    for _ in 0..options.submitters.max(1) {
        let mut client = client(address).await?;
        let (next, pipeline, submissions) = (Arc::clone(&next), pipeline.to_vec(), options.submissions);
        submitters.spawn(async move {
            let mut took = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= submissions {
                    return anyhow::Ok(took);
                }
                let request = request(number, &pipeline);
                let started = Instant::now();
                client.submit(request).await.with_context(|| format!("submission {number}"))?;
                took.push((number, started.elapsed()));
            }
        });
    }
    let mut took = Vec::new();
    while let Some(done) = submitters.join_next().await {
        took.extend(done??);
    }
    took.sort_unstable();
    Ok(took.into_iter().map(|(_, took)| took).collect())
}

fn request(number: u32, pipeline: &[u8]) -> v1::SubmitRequest {
    let options = v1::SubmitOptions {
        name: format!("swarm {number}"),
        job_name: format!("swarm_{number}"),
        driver_memory_bytes: DRIVER_MEMORY_BYTES,
        supervise: true,
        max_attempts: 3,
        deploy_mode: "cluster".to_owned(),
        ..v1::SubmitOptions::default()
    };
    v1::SubmitRequest {
        submission_id: format!("swarm-{number}"),
        pipeline: pipeline.to_vec().into(),
        options: Some(options),
        ..v1::SubmitRequest::default()
    }
}

/// Seconds until every worker is alive and has been heard.
async fn wait_for_workers(client: &mut SubmissionsClient<Channel>, workers: u32) -> anyhow::Result<f64> {
    let started = Instant::now();
    loop {
        let listed = client.list(v1::ListRequest { limit: 1 }).await;
        let heard = listed.map_or(0, |answer| {
            let is_heard = |worker: &&v1::WorkerStatus| worker.state == "ALIVE" && worker.last_heartbeat_ms > 0;
            answer.into_inner().workers.iter().filter(is_heard).count()
        });
        if heard >= usize::try_from(workers)? {
            return Ok(started.elapsed().as_secs_f64());
        }
        anyhow::ensure!(started.elapsed() < PATIENCE, "{heard} of {workers} workers are there");
        tokio::time::sleep(10 * POLL).await;
    }
}

/// How long the latest applications, and the page, take.
async fn looks(client: &mut SubmissionsClient<Channel>, master: &Master) -> anyhow::Result<Value> {
    let (mut list, mut page, mut page_bytes) = (Vec::new(), Vec::new(), 0);
    for _ in 0..LOOKS {
        let started = Instant::now();
        client.list(v1::ListRequest { limit: 100 }).await?;
        list.push(started.elapsed());
        let started = Instant::now();
        page_bytes = master.get("/").await?.len();
        page.push(started.elapsed());
    }
    Ok(json!({ "list": window(&list), "page": window(&page), "page_bytes": page_bytes }))
}

/// kill -9, and what has come back when.
async fn restart(master: &mut Master, last: &str, options: &Options) -> anyhow::Result<Value> {
    master.kill().await?;
    let started = Instant::now();
    master.start_again().await?;
    while !master.get("/readyz").await.is_ok_and(|answer| answer.ends_with("leader\n")) {
        anyhow::ensure!(started.elapsed() < PATIENCE, "the master does not lead again");
        tokio::time::sleep(POLL).await;
    }
    let leads_s = started.elapsed().as_secs_f64();
    let mut client = client(&master.grpc).await?;
    if options.submissions > 0 {
        client.status(v1::StatusRequest { id: last.to_owned() }).await.context("the last submission is lost")?;
    }
    let answers_s = started.elapsed().as_secs_f64();
    let workers_s = answers_s + wait_for_workers(&mut client, options.workers).await?;
    let listed = client.list(v1::ListRequest { limit: 0 }).await?.into_inner();
    let lost = usize::try_from(options.submissions)?.saturating_sub(listed.applications.len());
    let gone = listed.workers.iter().filter(|worker| worker.state != "ALIVE").count();
    Ok(json!({
        "leads_s": leads_s,
        "answers_s": answers_s,
        "workers_s": workers_s,
        "submissions_lost": lost,
        "workers_given_up": gone,
    }))
}

fn window(took: &[Duration]) -> Value {
    let mut sorted = took.to_vec();
    sorted.sort_unstable();
    let at = |permille: usize| {
        let position = sorted.len().saturating_sub(1) * permille / 1_000;
        sorted.get(position).map_or(0.0, |took| took.as_secs_f64() * 1_000.0)
    };
    json!({ "count": sorted.len(), "p50_ms": at(500), "p99_ms": at(990), "max_ms": at(1_000) })
}
