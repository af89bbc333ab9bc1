//! Workers that leave in order while jobs run: nothing is tried again, and none leaves before its data was read.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use lake_tests::cluster::Cluster;
use lake_tests::gated::{Gated, assert_numbers_once, gated};
use lake_tests::http::{get, wait_for_words};
use lake_tests::oracle::Oracle;
use lake_tests::process::{binary, signal};
use lake_tests::{DEADLINE, wait_for};
use rustix::process::Signal;
use serde_json::Value;

/// A second source, large enough for a query in stages and not gated, and a table that joins it with the gated one:
/// its rows wait in shuffle files until the gate opens.
const JOINED: &str = r#"
[[source]]
name = "words"
connection = "crm"
query = "SELECT n AS id, n * 3 AS triple FROM generate_series(1::bigint, 2500000) AS n"

[[table]]
name = "gold.joined"
mode = "overwrite"
sql = """
SELECT w.bucket, w.words, w.triples, n.total
FROM (SELECT id % 100 AS bucket, count(*) AS words, sum(triple) AS triples FROM words GROUP BY id % 100) AS w
JOIN (SELECT id % 100 AS bucket, sum(checked) AS total FROM numbers GROUP BY id % 100) AS n ON w.bucket = n.bucket
"""
"#;

/// The gRPC port of a worker.
fn port(cluster: &mut Cluster, worker: usize) -> Result<u64> {
    let address = cluster.worker(worker)?.listening("grpc")?;
    address.rsplit(':').next().context("no port")?.parse().context("not a port")
}

/// What the leader shows of the worker with this gRPC port.
fn shown(cluster: &Cluster, port: u64) -> Option<Value> {
    let text = get(cluster.masters.http_address(0).ok()?, "/api/v1/workers").ok()?;
    let workers: Value = serde_json::from_str(&text).ok()?;
    let is_it = |worker: &&Value| worker.get("grpc_port").and_then(Value::as_u64) == Some(port);
    workers.as_array()?.iter().find(is_it).cloned()
}

/// What the leader shows of it once it is in this state.
fn wait_for_state(cluster: &Cluster, port: u64, state: &str) -> Result<Value> {
    wait_for(&format!("the worker at port {port} to be {state}"), DEADLINE, || {
        shown(cluster, port).filter(|worker| worker.get("state").is_some_and(|found| found == state))
    })
}

/// Attempts of the application's tasks that failed or were lost, and had to be tried again.
pub(super) fn retries(cluster: &Cluster, id: &str) -> Result<u64> {
    let text = get(cluster.masters.http_address(0)?, &format!("/api/v1/applications/{id}/stages"))?;
    let stages: Vec<Value> = serde_json::from_str(&text)?;
    ensure!(!stages.is_empty(), "no stage of {id} is on record");
    Ok(stages.iter().filter_map(|stage| stage.get("numFailedTasks")?.as_u64()).sum())
}

fn has_file(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|path| path.is_file() || has_file(&path))
}

#[test]
fn a_worker_that_gets_sigterm_finishes_its_task_and_the_job_notices_nothing() -> Result<()> {
    let Gated { server, mut cluster, workspace, job } = gated("drained", "")?;
    let gate = server.close_gate()?;
    let id = cluster.submit_detached(|submit| submit.arg(&job))?;
    let visitors = gate.wait_for_visitors(1)?;
    let reader = visitors.first().and_then(|visitor| cluster.worker_with_port(*visitor)).context("no reader")?;
    let port = port(&mut cluster, reader)?;
    signal(cluster.worker(reader)?.pid(), Signal::TERM)?;

    wait_for_state(&cluster, port, "DRAINING")?;
    let list = cluster.submit().arg("--list").run()?.succeeded()?;
    assert!(list.stdout.contains("DRAINING"), "{list}");
    let master = cluster.masters.http_address(0)?.to_owned();
    let figures = ["lake_master_workers{state=\"ALIVE\"} 1", "lake_master_workers{state=\"DRAINING\"} 1"];
    wait_for_words(&master, "/metrics", &figures)?;
    wait_for_words(&master, "/", &["DRAINING"])?;
    wait_for_words(&cluster.worker_http_address(reader)?, "/", &["Draining", "Running tasks (1)"])?;
    assert_eq!(gate.wait_for_visitors(1)?, visitors, "the task was begun anew");

    gate.open()?;
    let status = cluster.wait_finished(&id)?;
    assert_eq!(status.get("attempt").and_then(Value::as_u64), Some(1), "{status}");
    assert_eq!(retries(&cluster, &id)?, 0);
    assert_numbers_once(&workspace, "bronze.numbers")?;
    let ended = cluster.worker(reader)?.wait(DEADLINE)?;
    assert!(ended.success(), "the worker ended with {ended}");
    let left = wait_for_state(&cluster, port, "DECOMMISSIONED")?;
    assert_eq!(left.get("lost_reason"), Some(&Value::Null), "{left}");
    let list = cluster.submit().arg("--list").run()?.succeeded()?;
    assert!(list.stdout.contains("DECOMMISSIONED") && !list.stdout.contains("LOST"), "{list}");
    let figures = ["lake_master_workers{state=\"DECOMMISSIONED\"} 1", "lake_master_workers{state=\"LOST\"} 0"];
    wait_for_words(&master, "/metrics", &figures)?;
    Ok(())
}

#[test]
fn a_worker_with_shuffle_data_stays_until_its_readers_have_it() -> Result<()> {
    let Gated { server, mut cluster, workspace, job } = gated("served", JOINED)?;
    let gate = server.close_gate()?;
    // The driver is the client: nothing but data holds a worker.
    let arguments = ["--deploy-mode", "client", "--only", "gold.joined"];
    let mut client = cluster.submit().args(arguments).arg(&job).start(workspace.path())?;
    let visitor = gate.wait_for_visitors(1)?.first().copied().context("no visitor")?;
    let reader = cluster.worker_with_port(visitor).context("no worker has the reader's port")?;
    let holder = 1 - reader;
    let shuffle = cluster.work_directory(holder).join("shuffle");
    wait_for("shuffle files of the other worker", DEADLINE, || has_file(&shuffle).then_some(()))?;
    let page = cluster.worker_http_address(holder)?;
    wait_for_words(&page, "/metrics", &["lake_worker_tasks_running 0"])?;

    let port = port(&mut cluster, holder)?;
    signal(cluster.worker(holder)?.pid(), Signal::TERM)?;
    let heard = |worker: &Value| worker.get("last_heartbeat_ms").and_then(Value::as_u64).unwrap_or(0);
    let mut last = heard(&wait_for_state(&cluster, port, "DRAINING")?);
    // The leader looks several times between two heartbeats.
    for _ in 0..2 {
        last = wait_for("another heartbeat of the draining worker", DEADLINE, || {
            shown(&cluster, port).map(|worker| heard(&worker)).filter(|now| *now > last)
        })?;
    }
    let draining = shown(&cluster, port).context("the worker is not shown")?;
    assert_eq!(draining.get("state").and_then(Value::as_str), Some("DRAINING"), "{draining}");
    assert!(cluster.worker(holder)?.is_running(), "it left with data that is still to be read");

    gate.open()?;
    let status = client.wait(DEADLINE)?;
    assert!(status.success(), "the client ended with {status}: {}", client.stderr());
    let ended = cluster.worker(holder)?.wait(DEADLINE)?;
    assert!(ended.success(), "the worker ended with {ended}");
    let figures = ["lake_worker_tasks_total{outcome=\"failed\"} 0", "lake_worker_tasks_total{outcome=\"cancelled\"} 0"];
    wait_for_words(&cluster.worker_http_address(reader)?, "/metrics", &figures)?;
    let rows = Oracle::new().rows(&workspace.table("gold.joined"))?;
    assert_eq!(rows.len(), 100);
    for row in &rows {
        assert_eq!(row.get(1), Some(&Value::from("25000")), "{row}");
    }
    Ok(())
}

#[test]
fn all_workers_are_replaced_while_a_job_runs_and_it_needs_no_second_attempt() -> Result<()> {
    let Gated { server, mut cluster, workspace, job } = gated("replaced", "")?;
    let gate = server.close_gate()?;
    let id = cluster.submit_detached(|submit| submit.arg(&job))?;
    gate.wait_for_visitors(1)?;
    for old in 0..2 {
        cluster.add_worker()?;
        let port = port(&mut cluster, old)?;
        signal(cluster.worker(old)?.pid(), Signal::TERM)?;
        wait_for(&format!("worker {old} to take nothing new"), DEADLINE, || {
            shown(&cluster, port).filter(|worker| worker.get("state").is_some_and(|state| state != "ALIVE"))
        })?;
    }
    cluster.wait_for_workers(2)?;
    gate.open()?;
    let status = cluster.wait_finished(&id)?;
    assert_eq!(status.get("attempt").and_then(Value::as_u64), Some(1), "{status}");
    assert_eq!(retries(&cluster, &id)?, 0);
    assert_numbers_once(&workspace, "bronze.numbers")?;
    for old in 0..2 {
        let ended = cluster.worker(old)?.wait(DEADLINE)?;
        assert!(ended.success(), "worker {old} ended with {ended}");
    }
    Ok(())
}

/// `lake-worker drain` of a worker: exit code and everything printed.
fn drain(cluster: &Cluster, id: &str) -> Result<(i32, String)> {
    let mut command = Command::new(binary("lake-worker")?);
    command.args(["drain", "--wait", "--worker", id, "--master", &cluster.master_url()]).stdin(Stdio::null());
    let output = command.output().context("cannot run lake-worker drain")?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned()))
}

#[test]
fn the_drain_command_ends_a_worker_that_has_nothing_and_refuses_one_that_is_gone() -> Result<()> {
    let mut cluster = Cluster::start()?;
    let port = port(&mut cluster, 0)?;
    let worker = shown(&cluster, port).context("the worker is not shown")?;
    let id = worker.get("worker_id").and_then(Value::as_str).context("no id")?;
    let (code, text) = drain(&cluster, id)?;
    assert!(code == 0 && text.contains(&format!("{id} is gone")), "{code}: {text}");
    let ended = cluster.worker(0)?.wait(DEADLINE)?;
    assert!(ended.success(), "the worker ended with {ended}");
    cluster.wait_for_workers(1)?;
    let (code, text) = drain(&cluster, id)?;
    assert!(code == 3 && text.contains("error[not-found/no-such-worker]"), "{code}: {text}");
    Ok(())
}
