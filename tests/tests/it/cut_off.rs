//! Workers whose way to the master is held, healed and broken by a proxy. Every test shows that it was.

use std::path::Path;

use anyhow::{Context, Result};
use lake_tests::cluster::Cluster;
use lake_tests::fixture::Workspace;
use lake_tests::gated::{GATED, assert_numbers_once};
use lake_tests::http::wait_for_words;
use lake_tests::postgres::Postgres;
use lake_tests::process::{Process, signal};
use lake_tests::proxy::{Proxy, Rule};
use lake_tests::{DEADLINE, wait_for};
use rustix::process::Signal;
use serde_json::Value;

use crate::drain::retries;

/// A master, a proxy before it, and `workers` workers that know only the proxy.
fn behind_a_proxy(server: &Postgres, workers: usize) -> Result<(Cluster, Proxy)> {
    let mut cluster = Cluster::builder().env("CRM_URL", &server.url()).start(0)?;
    let proxy = Proxy::start("127.0.0.1:0", cluster.masters.address(0)?, 1)?;
    for _ in 0..workers {
        cluster.add_worker_through(&format!("lake://{}", proxy.address()))?;
    }
    cluster.wait_for_workers(workers)?;
    Ok((cluster, proxy))
}

/// Submits with the driver in the client, which reaches the master without the proxy and outlives every worker.
fn start(cluster: &Cluster, workspace: &Workspace, job: &Path) -> Result<Process> {
    cluster.submit().args(["--deploy-mode", "client"]).arg(job).start(workspace.path())
}

#[test]
fn a_worker_that_was_cut_off_comes_back_with_a_result_that_nobody_takes() -> Result<()> {
    let server = Postgres::start()?;
    let (mut cluster, proxy) = behind_a_proxy(&server, 1)?;
    let workspace = Workspace::new()?;
    let job = workspace.job("cut-off", GATED)?;
    let gate = server.close_gate()?;
    let mut client = start(&cluster, &workspace, &job)?;
    gate.wait_for_visitors(1)?;
    let stale = wait_for("a finished data file", DEADLINE, || {
        let files = workspace.data_files("bronze.numbers");
        (!files.is_empty()).then_some(files)
    })?;
    let other = cluster.add_worker()?;
    cluster.wait_for_workers(2)?;

    proxy.set_both(Rule::Hold);
    // Its task was given to the other worker, which stands at the gate too.
    gate.wait_for_visitors(2)?;
    cluster.wait_for_workers(1)?;
    assert!(proxy.counts().held > 0, "the fault did not happen: {:?}", proxy.counts());

    // The one that is cut off is the first to be done, and the master hears of it first.
    let frozen = cluster.worker(other)?.pid();
    signal(frozen, Signal::STOP)?;
    gate.open()?;
    let page = cluster.worker_http_address(0)?;
    wait_for_words(&page, "/metrics", &["lake_worker_tasks_total{outcome=\"done\"} 1"])?;
    proxy.set_both(Rule::Pass);
    // It was declared lost, so this is another registration than the first one, under a fresh id.
    wait_for("the worker that was cut off to register again", DEADLINE, || {
        let log = cluster.worker(0).ok()?.stderr();
        (log.matches("registered worker_id=").count() >= 2).then_some(())
    })?;
    signal(frozen, Signal::CONT)?;

    let status = client.wait(DEADLINE)?;
    assert!(status.success(), "the client ended with {status}: {}", client.stderr());
    let commit = assert_numbers_once(&workspace, "bronze.numbers")?;
    let is_orphan = |name: &String| !commit.added.iter().any(|path| path.ends_with(name.as_str()));
    assert!(stale.iter().all(is_orphan), "the stale result was taken: {stale:?}, {:?}", commit.added);
    cluster.wait_for_workers(2)
}

#[test]
fn a_stream_to_the_master_that_breaks_again_and_again_costs_no_task_and_no_row() -> Result<()> {
    const CUTS: usize = 10;
    let server = Postgres::start()?;
    let (cluster, proxy) = behind_a_proxy(&server, 2)?;
    let workspace = Workspace::new()?;
    let job = workspace.job("broken-streams", GATED)?;
    let gate = server.close_gate()?;
    let mut client = start(&cluster, &workspace, &job)?;
    gate.wait_for_visitors(1)?;
    let cut = || -> Result<()> {
        let before = proxy.counts().connections;
        let cut = proxy.cut();
        assert!(cut > 0, "no connection to cut");
        wait_for("the workers to be back", DEADLINE, || (proxy.counts().connections >= before + cut).then_some(()))
    };
    for _ in 0..CUTS {
        cut()?;
        cluster.wait_for_workers(2)?;
    }
    let run = cluster.submit().args(["--list", "--output", "json"]).run()?.succeeded()?.json()?;
    let id = run.pointer("/applications/0/driver_id").and_then(Value::as_str).context("no application")?.to_owned();
    gate.open()?;
    // Now with statuses under way.
    for _ in 0..3 {
        cut()?;
    }
    let status = client.wait(DEADLINE)?;
    assert!(status.success(), "the client ended with {status}: {}", client.stderr());
    assert!(proxy.counts().cut >= CUTS as u64, "{:?}", proxy.counts());
    assert_eq!(retries(&cluster, &id)?, 0, "a broken stream has cost a task");
    assert_numbers_once(&workspace, "bronze.numbers")?;
    Ok(())
}
