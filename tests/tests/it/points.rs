//! Processes that die at a named point (`lake_proto::point`): between two steps that no kill from outside can tell apart.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use lake_tests::cluster::Cluster;
use lake_tests::fixture::Workspace;
use lake_tests::oracle::Oracle;
use lake_tests::process::signal;
use lake_tests::submit::Submit;
use lake_tests::{DEADLINE, wait_for};
use rustix::process::Signal;
use serde_json::Value;

const JOB: &str = r#"
[[source]]
name = "words"
kind = "files"
format = "csv"
path = "words.csv"
schema = { id = "bigint", word = "string" }

[[table]]
name = "bronze.words"
from = "words"
mode = "append"
"#;

/// A job of two rows, and the files of the points that were reached.
struct Fault {
    workspace: Workspace,
    job: PathBuf,
}

impl Fault {
    fn new(name: &str) -> Result<Self> {
        let workspace = Workspace::new()?;
        workspace.file("words.csv", "id,word\n1,one\n2,two\n")?;
        std::fs::create_dir(workspace.path().join("fired"))?;
        let job = workspace.job(name, JOB)?;
        Ok(Self { workspace, job })
    }

    fn environment(&self, points: &str) -> BTreeMap<String, String> {
        let directory = self.workspace.path().join("fired").display().to_string();
        [("LAKE_FAULT_POINTS", points.to_owned()), ("LAKE_FAULT_DIR", directory)]
            .map(|(name, value)| (name.to_owned(), value))
            .into()
    }

    /// The process that was the first to reach a point.
    fn fired(&self, point: &str) -> Option<u32> {
        let file = self.workspace.path().join("fired").join(format!("{point}.1"));
        std::fs::read_to_string(file).ok()?.parse().ok()
    }

    /// Both rows once, in one commit with one transaction.
    fn assert_right(&self) -> Result<()> {
        let table = self.workspace.table("bronze.words");
        assert_eq!(Oracle::new().rows(&table)?.len(), 2);
        let commits: Vec<_> =
            Oracle::new().commits(&table)?.into_iter().filter(|commit| !commit.added.is_empty()).collect();
        assert!(commits.len() == 1 && commits.iter().all(|commit| commit.transactions.len() == 1), "{commits:?}");
        Ok(())
    }
}

#[test]
fn a_driver_that_dies_around_its_commit_is_started_again_and_the_rows_are_there_once() -> Result<()> {
    for point in ["driver-before-commit", "commit-before-put", "driver-after-commit"] {
        let fault = Fault::new(point)?;
        let cluster = Cluster::builder().envs(&fault.environment(&format!("{point}=kill"))).start(1)?;
        let id = cluster.submit_detached(|submit| submit.arg(&fault.job))?;
        let status = cluster.wait_finished(&id)?;
        assert!(fault.fired(point).is_some(), "{point} was not reached");
        assert_eq!(status.get("attempt").and_then(Value::as_u64), Some(2), "{point}: {status}");
        fault.assert_right()?;
    }
    Ok(())
}

#[test]
fn a_driver_frozen_inside_its_commit_and_woken_commits_once() -> Result<()> {
    let fault = Fault::new("frozen")?;
    let cluster = Cluster::builder().envs(&fault.environment("commit-before-put=stop")).start(1)?;
    let id = cluster.submit_detached(|submit| submit.arg(&fault.job))?;
    let driver = wait_for("the driver to freeze", DEADLINE, || fault.fired("commit-before-put"))?;
    assert_eq!(fault.workspace.tables_with_data(), [""; 0]);
    signal(driver, Signal::CONT)?;
    cluster.wait_finished(&id)?;
    fault.assert_right()
}

#[test]
fn a_leader_that_dies_before_its_answer_or_its_launch_has_one_application_and_runs_it() -> Result<()> {
    for point in ["submit-before-propose", "submit-after-propose", "leader-before-launch"] {
        let fault = Fault::new(point)?;
        let environment = fault.environment(&format!("{point}=kill"));
        let cluster = Cluster::builder().masters(3).envs(&environment).start(1)?;
        let leader = cluster.masters.leader()?;
        let victim = cluster.masters.pid(leader)?;
        // Asked first: a follower would get to the first point too.
        let (first, others) = (cluster.masters.address(leader)?, cluster.master_url());
        let url = others.replacen("lake://", &format!("lake://{first},"), 1);
        let submit = Submit::new().envs(&environment).args(["--master", &url]);
        let run = submit.arg(&fault.job).run()?.succeeded().context(point)?;
        assert_eq!(fault.fired(point), Some(victim), "{point} was not reached: {run}");
        assert_ne!(cluster.masters.leader()?, leader, "{point}");
        let list = cluster.submit().args(["--list", "--output", "json"]).run()?.succeeded()?.json()?;
        let applications = list.get("applications").and_then(Value::as_array).map(Vec::len);
        assert_eq!(applications, Some(1), "{point}: {list}");
        fault.assert_right()?;
    }
    Ok(())
}
