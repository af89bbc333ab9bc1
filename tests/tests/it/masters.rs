//! Three masters as real processes: their leader killed, stopped in order and frozen; members lost and added.

use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lake_tests::cluster::Cluster;
use lake_tests::fixture::Workspace;
use lake_tests::oracle::Oracle;
use lake_tests::postgres::Postgres;
use lake_tests::process::{Process, binary, signal};
use lake_tests::submit::Submit;
use lake_tests::{DEADLINE, wait_for};
use rustix::process::Signal;
use serde_json::Value;

/// A source that stops in its middle while the gate is closed, and a table of it.
const JOB: &str = r#"
[connection.crm]
kind = "postgres"
url = { env = "CRM_URL" }

[[source]]
name = "numbers"
connection = "crm"
query = "SELECT n AS id, CASE WHEN n = 30000 THEN gate(n) ELSE n END AS checked FROM generate_series(1::bigint, 40000) AS n"

[[table]]
name = "bronze.numbers"
from = "numbers"
mode = "append"

[[table]]
name = "gold.numbers"
mode = "overwrite"
sql = "SELECT id % 100 AS bucket, count(*) AS numbers FROM bronze.numbers GROUP BY id % 100"
"#;

/// The part of [`JOB`] that waits; a job without it goes through.
const GATE: &str = "CASE WHEN n = 30000 THEN gate(n) ELSE n END";
const ROWS: usize = 40_000;

fn group(server: &Postgres) -> Result<Cluster> {
    Cluster::builder().masters(3).env("CRM_URL", &server.url()).start(2)
}

/// Every row once, in one commit, and the gold table of it.
fn assert_right(workspace: &Workspace) -> Result<()> {
    let oracle = Oracle::new();
    let bronze = workspace.table("bronze.numbers");
    assert_eq!(oracle.rows(&bronze)?.len(), ROWS);
    let commits: Vec<_> = oracle.commits(&bronze)?.into_iter().filter(|commit| !commit.added.is_empty()).collect();
    assert_eq!(commits.len(), 1, "{commits:?}");
    let gold = oracle.rows(&workspace.table("gold.numbers"))?;
    assert_eq!(gold.len(), 100);
    assert!(gold.iter().all(|row| row.get(1) == Some(&Value::from("400"))), "{gold:?}");
    Ok(())
}

#[test]
fn the_leader_killed_in_mid_query_loses_nothing_and_its_client_goes_on() -> Result<()> {
    let server = Postgres::start()?;
    let mut cluster = group(&server)?;
    let workspace = Workspace::new()?;
    let job = workspace.job("leader-killed", JOB)?;
    let gate = server.close_gate()?;
    let mut client = cluster.submit().arg(&job).start(cluster.directory())?;
    gate.wait_for_visitors(1)?;
    let leader = cluster.masters.leader()?;
    cluster.masters.kill(leader)?;
    let next = cluster.masters.leader()?;
    assert_ne!(next, leader, "the fault did not happen");
    // The one task of the query goes on where it was.
    wait_for("the query to be attached", DEADLINE, || {
        cluster.masters.log(next).ok()?.contains("adopted_outputs=0 adopted_attempts=1").then_some(())
    })?;
    gate.open()?;
    let status = client.wait(DEADLINE)?;
    assert!(status.success(), "the client that waited ended with {status}: {}", client.stderr());
    assert_right(&workspace)
}

#[test]
fn a_rolling_restart_of_all_masters_is_not_noticed_by_a_job() -> Result<()> {
    let server = Postgres::start()?;
    let mut cluster = group(&server)?;
    let workspace = Workspace::new()?;
    let job = workspace.job("rolling", JOB)?;
    let gate = server.close_gate()?;
    let id = cluster.submit_detached(|submit| submit.arg(&job))?;
    gate.wait_for_visitors(1)?;
    for master in 0..3 {
        cluster.masters.stop(master)?;
        cluster.masters.run(master)?;
        cluster.masters.wait_for_role(master, &["leader", "follower"])?;
    }
    gate.open()?;
    let status = cluster.wait_for_state(&id, &["FINISHED", "FAILED", "ERROR"])?;
    assert_eq!(status.get("state"), Some(&Value::from("FINISHED")), "{status}");
    assert_right(&workspace)
}

#[test]
fn a_frozen_leader_is_replaced_and_follows_when_it_wakes() -> Result<()> {
    let server = Postgres::start()?;
    let cluster = group(&server)?;
    let frozen = cluster.masters.leader()?;
    let pid = cluster.masters.pid(frozen)?;
    signal(pid, Signal::STOP)?;
    let next = cluster.masters.leader_but(frozen)?;
    let workspace = Workspace::new()?;
    let job = workspace.job("frozen", &JOB.replace(GATE, "n"))?;
    // Through a follower's address alone: it names the leader.
    let follower = (0..3).find(|master| *master != frozen && *master != next).context("no follower")?;
    let url = format!("lake://{}", cluster.masters.address(follower)?);
    let run = Submit::new().args(["--master", &url]).arg(&job).run()?;
    assert_eq!(run.code, 0, "{run}");
    signal(pid, Signal::CONT)?;
    cluster.masters.wait_for_role(frozen, &["follower"])?;
    assert_right(&workspace)
}

#[test]
fn without_a_majority_nothing_is_accepted_and_with_it_everything_goes_on() -> Result<()> {
    let server = Postgres::start()?;
    let mut cluster = group(&server)?;
    let leader = cluster.masters.leader()?;
    for master in (0..3).filter(|master| *master != leader) {
        cluster.masters.kill(master)?;
    }
    cluster.masters.wait_for_role(leader, &["no quorum"])?;
    let workspace = Workspace::new()?;
    let job = workspace.job("minority", &JOB.replace(GATE, "n"))?;
    let run = cluster.submit().args(["--connect-timeout", "2s"]).arg(&job).run()?;
    assert_eq!(run.code, 6, "a submission without a majority ended with {run}");
    for master in (0..3).filter(|master| *master != leader) {
        cluster.masters.run(master)?;
    }
    let run = cluster.submit().arg(&job).run()?;
    assert_eq!(run.code, 0, "{run}");
    assert_right(&workspace)
}

#[test]
fn a_master_that_lost_its_disk_is_refused_and_joins_under_a_new_number() -> Result<()> {
    let mut cluster = Cluster::builder().masters(3).start(1)?;
    let leader = cluster.masters.leader()?;
    let lost = (0..3).find(|master| *master != leader).context("no follower")?;
    cluster.masters.kill(lost)?;
    std::fs::remove_dir_all(cluster.masters.data_directory(lost))?;
    let refusal = cluster.masters.run_that_refuses(lost)?;
    assert!(refusal.contains("error[denied/other-incarnation]") && refusal.contains("members remove"), "{refusal}");

    let number = lost + 1;
    let (code, text) = cluster.masters.operate(&["remove", &number.to_string()])?;
    assert_eq!(code, 0, "{text}");
    let joined = cluster.masters.join()?;
    let address = cluster.masters.address(joined)?.to_owned();
    let (code, text) = cluster.masters.operate(&["add", &format!("4@{address}")])?;
    assert_eq!(code, 0, "{text}");
    let row = text.lines().find(|line| line.starts_with('4')).context("no row of the new master")?;
    assert!(row.contains("voter"), "{text}");

    // It counts: with it and one more of three there is a majority.
    cluster.masters.kill(leader)?;
    cluster.masters.leader_but(leader)?;
    let (code, text) = cluster.masters.operate(&["list"])?;
    assert_eq!(code, 0, "{text}");
    Ok(())
}

#[test]
fn adding_a_master_that_is_not_there_fails_within_seconds_and_names_its_address() -> Result<()> {
    let cluster = Cluster::builder().start(0)?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let since = Instant::now();
    let (code, text) = cluster.masters.operate(&["add", &format!("2@{address}")])?;
    assert!(since.elapsed() < Duration::from_secs(5), "it took {:?}", since.elapsed());
    assert_eq!(code, 6, "{text}");
    assert!(text.contains("error[unavailable/no-answer]") && text.contains(&address), "{text}");
    let (code, text) = cluster.masters.operate(&["list"])?;
    assert_eq!(code, 0, "{text}");
    assert!(!text.contains(&address), "{text}");
    Ok(())
}

#[test]
fn a_master_that_is_not_where_its_peers_look_for_it_is_refused_with_both_addresses() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut command = Command::new(binary("lake-master")?);
    command.args(["--host", "127.0.0.1", "--port", "0", "--webui-port", "0", "--id", "2"]);
    command.args(["--peers", "1@127.0.0.1:7077,2@localhost:7177"]).arg("--data-dir").arg(directory.path().join("data"));
    let mut master = Process::start("master", command, directory.path())?;
    assert_eq!(master.wait(DEADLINE)?.code(), Some(2), "{}", master.stderr());
    let said = master.stderr();
    assert!(said.contains("error[invalid-job/config]: --host 127.0.0.1 --port 0 puts master 2 at"), "{said}");
    assert!(said.contains("but --peers lists it at localhost:7177"), "{said}");
    assert!(!said.contains("waiting for all masters"), "{said}");
    Ok(())
}
