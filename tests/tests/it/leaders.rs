//! A query goes on under the next leader, and what was done of it is not done again.

use anyhow::{Context, Result};
use lake_tests::cluster::Cluster;
use lake_tests::fixture::Workspace;
use lake_tests::oracle::Oracle;
use lake_tests::postgres::Postgres;
use lake_tests::{DEADLINE, wait_for};

use crate::repeatable::{JOB, NUMBERS, assert_ids_once, ids_csv};

const TABLE: &str = "gold.pairs";

/// What a master says when it goes on with a query: how many outputs and running attempts it has taken over.
fn adopted(log: &str) -> Option<(u64, u64)> {
    let line = log.lines().find(|line| line.contains("query re-attached"))?;
    let field = |name: &str| line.split_whitespace().find_map(|word| word.strip_prefix(name))?.parse::<u64>().ok();
    Some((field("adopted_outputs=")?, field("adopted_attempts=")?))
}

#[test]
fn nothing_that_was_done_before_the_leader_was_killed_is_done_again() -> Result<()> {
    let server = Postgres::start()?;
    server.psql("crm", NUMBERS)?;
    let mut cluster = Cluster::builder().masters(3).env("CRM_URL", &server.url()).start(2)?;
    let workspace = Workspace::new()?;
    workspace.file("ids.csv", ids_csv())?;
    let job = workspace.job("next-leader", JOB)?;
    let gate = server.close_gate()?;
    let id = cluster.submit_detached(|submit| submit.arg(&job))?;
    gate.wait_for_visitors(1)?;
    let written = wait_for("the data file of the reader that is not held", DEADLINE, || {
        let files = workspace.data_files(TABLE);
        (!files.is_empty()).then_some(files)
    })?;
    let leader = cluster.masters.leader()?;
    cluster.masters.kill(leader)?;
    let next = cluster.masters.leader_but(leader)?;
    let (outputs, attempts) =
        wait_for("the query to be attached", DEADLINE, || adopted(&cluster.masters.log(next).ok()?))?;
    assert!(outputs > 0, "the query was not cut");
    assert!(attempts > 0, "the reader at the gate was not taken over");
    gate.open()?;
    cluster.wait_finished(&id)?;
    let url = workspace.table(TABLE);
    assert_ids_once(&url)?;
    let commits = Oracle::new().commits(&url)?;
    let added: Vec<&String> = commits.iter().flat_map(|commit| &commit.added).collect();
    let is_committed = |name: &String| added.iter().any(|path| path.ends_with(name.as_str()));
    assert!(written.iter().all(is_committed), "what had answered was run again: {written:?}, {added:?}");
    assert_eq!(workspace.data_files(TABLE).len(), added.len(), "an attempt has written in vain");
    Ok(())
}

#[test]
fn a_master_that_comes_back_goes_on_with_the_query() -> Result<()> {
    let server = Postgres::start()?;
    server.psql("crm", NUMBERS)?;
    let mut cluster = Cluster::builder().env("CRM_URL", &server.url()).start(2)?;
    let workspace = Workspace::new()?;
    workspace.file("ids.csv", ids_csv())?;
    let job = workspace.job("same-master", JOB)?;
    let gate = server.close_gate()?;
    let id = cluster.submit_detached(|submit| submit.arg(&job))?;
    gate.wait_for_visitors(1)?;
    cluster.masters.kill(0)?;
    cluster.masters.run(0)?;
    let (_, attempts) = wait_for("the query to be attached", DEADLINE, || adopted(&cluster.masters.log(0).ok()?))?;
    assert!(attempts > 0, "the reader at the gate was not taken over");
    let victim = (0..2).find(|worker| !cluster.drivers().iter().any(|(host, _)| host == worker));
    // The loss of a worker afterwards is a loss like any other.
    cluster.kill_worker(victim.context("both workers have a driver")?)?;
    gate.open()?;
    cluster.wait_finished(&id)?;
    assert_ids_once(&workspace.table(TABLE))
}
