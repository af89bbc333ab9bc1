//! Drivers that are stopped, cut off or killed around their commits: they end by themselves, nothing of them gets in late,
//! and what is reported of their steps is what the tables say.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lake_proto::DRIVER_LEASE;
use lake_tests::cluster::Cluster;
use lake_tests::fixture::Workspace;
use lake_tests::gated::{Gated, assert_numbers_once, gated};
use lake_tests::oracle::Oracle;
use lake_tests::process::signal;
use lake_tests::s3::S3;
use lake_tests::{DEADLINE, wait_for};
use rustix::process::Signal;
use serde_json::Value;

/// Of each run of [`APPEND`].
const ROWS: u64 = 100;

const APPEND: &str = r#"
[[table]]
name = "bronze.numbers"
mode = "append"
sql = "SELECT value AS number FROM generate_series(1, 100)"
"#;

const TABLE: &str = "s3://lake/warehouse/bronze/numbers";

/// Whether a file of this name below `folder` has this text.
fn any_says(folder: &Path, name: &str, text: &str) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.flatten().map(|entry| entry.path()).any(|path| {
        if path.is_dir() {
            return any_says(&path, name, text);
        }
        let is_named = path.file_name().is_some_and(|found| found == name);
        is_named && std::fs::read_to_string(&path).is_ok_and(|content| content.contains(text))
    })
}

fn is_gone(pid: u32) -> bool {
    !Path::new("/proc").join(pid.to_string()).exists()
}

/// Waits until more time than a lease has passed since `since`.
fn outlast_lease(since: Instant) -> Result<()> {
    let margin = Duration::from_secs(2);
    wait_for("the end of the lease", DEADLINE, || (since.elapsed() > DRIVER_LEASE + margin).then_some(()))
}

#[test]
fn a_driver_that_was_stopped_for_longer_than_its_lease_ends_without_a_commit() -> Result<()> {
    let Gated { server, cluster, workspace, job } = gated("stopped", "")?;
    let gate = server.close_gate()?;
    let id = cluster.submit_detached(|submit| submit.arg(&job))?;
    gate.wait_for_visitors(1)?;
    let (worker, driver) = cluster.wait_for_driver()?;
    signal(driver, Signal::STOP)?;
    let stopped = Instant::now();
    // Its tasks end meanwhile, and all that is left to do is the commit.
    gate.open()?;
    outlast_lease(stopped)?;
    assert_eq!(workspace.tables_with_data(), [""; 0]);
    signal(driver, Signal::CONT)?;
    wait_for("the end of the stopped driver", DEADLINE, || is_gone(driver).then_some(()))?;
    assert!(any_says(&cluster.work_directory(worker), "stderr", "error[unavailable/lease-expired]"));
    let status = cluster.wait_finished(&id)?;
    assert_eq!(status.get("attempt").and_then(Value::as_u64), Some(2), "{status}");
    assert_numbers_once(&workspace, "bronze.numbers")?;
    Ok(())
}

#[test]
fn a_client_whose_lease_ended_while_it_was_stopped_prints_its_document_and_ends_with_its_class() -> Result<()> {
    let Gated { server, cluster, workspace, job } = gated("stopped-client", "")?;
    let gate = server.close_gate()?;
    let submit = cluster.submit().args(["--deploy-mode", "client", "--output", "json"]).arg(&job);
    let mut client = submit.start(workspace.path())?;
    gate.wait_for_visitors(1)?;
    signal(client.pid(), Signal::STOP)?;
    outlast_lease(Instant::now())?;
    signal(client.pid(), Signal::CONT)?;
    assert_eq!(client.wait(DEADLINE)?.code(), Some(6), "{}", client.stderr());
    assert!(client.stderr().contains("error[unavailable/lease-expired]"), "{}", client.stderr());
    let document: Value = serde_json::from_str(&client.stdout())?;
    for (field, expected) in [
        ("/state", Value::from("UNKNOWN")),
        ("/exit_code", Value::from(6)),
        ("/failure/class", Value::from("unavailable")),
        ("/failure/code", Value::from("lease-expired")),
    ] {
        assert_eq!(document.pointer(field), Some(&expected), "{field} of {document}");
    }
    gate.open()?;
    assert_eq!(workspace.tables_with_data(), [""; 0]);
    Ok(())
}

#[test]
fn a_driver_that_was_cut_off_and_comes_back_after_its_successor_has_finished_changes_nothing() -> Result<()> {
    let Gated { server, mut cluster, workspace, job } = gated("cut-off", "")?;
    let gate = server.close_gate()?;
    let id = cluster.submit_detached(|submit| submit.arg(&job))?;
    gate.wait_for_visitors(1)?;
    let (worker, driver) = cluster.wait_for_driver()?;
    let host = cluster.worker(worker)?.pid();
    for pid in [host, driver] {
        signal(pid, Signal::STOP)?;
    }
    let stopped = Instant::now();
    wait_for("the successor", DEADLINE, || (cluster.status(&id).ok()?.get("attempt")?.as_u64()? >= 2).then_some(()))?;
    gate.open()?;
    cluster.wait_finished(&id)?;
    outlast_lease(stopped)?;
    for pid in [driver, host] {
        signal(pid, Signal::CONT)?;
    }
    wait_for("the end of the first driver", DEADLINE, || is_gone(driver).then_some(()))?;
    assert_numbers_once(&workspace, "bronze.numbers")?;
    Ok(())
}

/// A job that appends to a table on S3, under a store with this fault.
struct Appending {
    store: S3,
    cluster: Cluster,
    _workspace: Workspace,
    job: PathBuf,
}

impl Appending {
    fn start(name: &str, fault: &str) -> Result<Self> {
        let store = S3::start_with_faults(&["lake"], 11, &[fault])?;
        let cluster = Cluster::builder().envs(&store.environment()).start(2)?;
        let workspace = Workspace::new()?;
        let job = workspace.job(name, APPEND)?;
        Ok(Self { store, cluster, _workspace: workspace, job })
    }

    fn submit(&self) -> Result<String> {
        self.cluster.submit_detached(|submit| submit.warehouse("s3://lake/warehouse").arg(&self.job))
    }

    fn kill(&self, id: &str) -> Result<()> {
        self.cluster.submit().args(["--kill", id]).run()?.succeeded()?;
        Ok(())
    }

    /// The state in which it has ended, its run number, and what it says of its step.
    fn end(&self, id: &str) -> Result<Ended> {
        let status = self.cluster.wait_for_state(id, &["FINISHED", "FAILED", "KILLED", "ERROR"])?;
        let state = status.get("state").and_then(Value::as_str).context("no state")?.to_owned();
        let run = status.get("run_number").and_then(Value::as_u64).context("no run number")?;
        let outcome = status.pointer("/steps/0/outcome").and_then(Value::as_str).map(str::to_owned);
        Ok(Ended { state, run, outcome })
    }

    fn folder(&self) -> PathBuf {
        self.store.bucket_directory("lake").join("warehouse/bronze/numbers")
    }

    fn data_files(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(self.folder()).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.ends_with(".parquet")).collect()
    }

    /// Run numbers in the table's log: of entries with rows, and of fences.
    fn log(&self) -> Result<(Vec<u64>, Vec<u64>)> {
        let (mut with_rows, mut fences) = (Vec::new(), Vec::new());
        for entry in std::fs::read_dir(self.folder().join("_delta_log"))? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let text = std::fs::read_to_string(path)?;
            let actions: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
            let run = actions.iter().find_map(|action| action.pointer("/txn/version")?.as_u64());
            let has_rows = actions.iter().any(|action| action.get("add").is_some());
            let is_fence = actions
                .iter()
                .any(|action| action.pointer("/commitInfo/operation").and_then(Value::as_str) == Some("FENCE"));
            if let Some(run) = run {
                assert_ne!(has_rows, is_fence, "{text}");
                if is_fence { fences.push(run) } else { with_rows.push(run) }
            }
        }
        Ok((with_rows, fences))
    }

    /// What is reported is what is there.
    fn assert_true(&self, ended: &[Ended]) -> Result<()> {
        let (with_rows, fences) = self.log()?;
        let count = |runs: &[u64], run: u64| runs.iter().filter(|found| **found == run).count();
        for run in ended {
            let found = (count(&with_rows, run.run), count(&fences, run.run));
            let expected = match (run.state.as_str(), run.outcome.as_deref()) {
                ("FINISHED" | "KILLED", Some("COMMITTED" | "SKIPPED")) => (1, 0),
                ("KILLED", Some("FENCED")) => (0, 1),
                ("KILLED", None) => (0, 0),
                _ => anyhow::bail!("{run:?} is not an end that can be"),
            };
            assert_eq!(found, expected, "{run:?}");
        }
        let committed = u64::try_from(with_rows.len())?;
        assert_eq!(Oracle::with(&self.store.environment()).count(TABLE)?, committed * ROWS);
        Ok(())
    }
}

#[derive(Debug)]
struct Ended {
    state: String,
    run: u64,
    outcome: Option<String>,
}

#[test]
fn a_commit_that_is_on_its_way_when_its_run_is_killed_is_kept_out_and_reported_as_fenced() -> Result<()> {
    const FAULT: &str = "delay-20000";
    let runs = Appending::start("fenced", &format!("{FAULT}:PUT:/_delta_log/00000000000000000001.json:1:1"))?;
    let id = runs.submit()?;
    wait_for("a commit on its way", DEADLINE, || (runs.store.fired(FAULT) > 0).then_some(()))?;
    runs.kill(&id)?;
    let killed = runs.end(&id)?;
    assert_eq!((killed.state.as_str(), killed.outcome.as_deref()), ("KILLED", Some("FENCED")));
    // The next run of the job is not in its way.
    let next = runs.submit()?;
    let next = runs.end(&next)?;
    assert_eq!(next.state, "FINISHED");
    runs.assert_true(&[killed, next])
}

#[test]
fn a_commit_that_got_in_before_its_driver_could_say_so_is_reported_after_a_kill() -> Result<()> {
    const FAULT: &str = "delay-4000";
    let runs = Appending::start("found", &format!("{FAULT}:PUT:/_delta_log/00000000000000000001.json:1:1"))?;
    let id = runs.submit()?;
    wait_for("a commit on its way", DEADLINE, || (runs.store.fired(FAULT) > 0).then_some(()))?;
    let (_, driver) = runs.cluster.wait_for_driver()?;
    signal(driver, Signal::STOP)?;
    let entry = runs.folder().join("_delta_log/00000000000000000001.json");
    assert!(!entry.exists(), "the driver was stopped too late");
    wait_for("the commit", DEADLINE, || entry.exists().then_some(()))?;
    // It does not hear the signal to end, and is ended after a while.
    runs.kill(&id)?;
    let killed = runs.end(&id)?;
    assert_eq!((killed.state.as_str(), killed.outcome.as_deref()), ("KILLED", Some("COMMITTED")));
    runs.assert_true(&[killed])
}

#[test]
fn runs_killed_at_any_moment_around_their_commit_are_reported_as_the_table_says() -> Result<()> {
    const RUNS: u64 = 12;
    let runs = Appending::start("racing", "delay-250:PUT:/_delta_log/0:1")?;
    let mut ended = Vec::new();
    let mut seed: u64 = 0x2545_F491_4F6C_DD1D;
    for _ in 0..RUNS {
        let before = runs.data_files();
        let id = runs.submit()?;
        wait_for("a data file", DEADLINE, || (!runs.data_files().is_subset(&before)).then_some(()))?;
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let (since, moment) = (Instant::now(), Duration::from_millis(seed % 900));
        wait_for("the moment", DEADLINE, || (since.elapsed() >= moment).then_some(()))?;
        runs.kill(&id)?;
        ended.push(runs.end(&id)?);
    }
    let killed = ended.iter().filter(|run| run.state == "KILLED").count();
    assert!(killed > 0, "every kill came too late: {ended:?}");
    runs.assert_true(&ended)
}
