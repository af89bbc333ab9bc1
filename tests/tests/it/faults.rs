//! Kills at chosen moments. PostgreSQL's gate holds a read in its middle, so that the moment is certain; every test
//! also shows that the fault has happened.

use anyhow::{Context, Result};
use lake_tests::gated::{GATED, Gated, ROWS, assert_numbers_once, gated};
use lake_tests::oracle::Oracle;
use lake_tests::process::signal;
use lake_tests::submit::Submit;
use lake_tests::{DEADLINE, wait_for};
use rustix::process::Signal;
use serde_json::Value;

const GOLD: &str = r#"
[[table]]
name = "gold.numbers"
mode = "overwrite"
sql = "SELECT id % 100 AS bucket, count(*) AS numbers, sum(checked) AS total FROM numbers GROUP BY id % 100"
"#;

#[test]
fn a_worker_killed_in_mid_query_changes_nothing_in_the_result() -> Result<()> {
    let Gated { server, mut cluster, workspace, job } = gated("mid-query", GOLD)?;
    let gate = server.close_gate()?;
    let id = cluster.submit_detached(|submit| submit.args(["--only", "gold.numbers"]).arg(&job))?;
    let ports = gate.wait_for_visitors(1)?;
    let port = ports.first().copied().context("no port")?;
    let victim = cluster.worker_with_port(port).context("no worker has the reader's port")?;
    cluster.kill_worker(victim)?;
    gate.open()?;
    cluster.wait_finished(&id)?;
    let rows = Oracle::new().rows(&workspace.table("gold.numbers"))?;
    assert_eq!(rows.len(), 100);
    for row in &rows {
        assert_eq!(row.get(1), Some(&Value::from("4000")), "{row}");
    }
    assert_eq!(Oracle::new().data_commits(&workspace.table("gold.numbers"))?.len(), 1);
    Ok(())
}

#[test]
fn a_worker_killed_in_mid_write_leaves_orphans_and_one_commit_with_every_row_once() -> Result<()> {
    let Gated { server, mut cluster, workspace, job } = gated("mid-write", "")?;
    let gate = server.close_gate()?;
    let id = cluster.submit_detached(|submit| submit.arg(&job))?;
    let ports = gate.wait_for_visitors(1)?;
    let written = wait_for("a finished data file", DEADLINE, || {
        let files = workspace.data_files("bronze.numbers");
        (!files.is_empty()).then_some(files)
    })?;
    let port = ports.first().copied().context("no port")?;
    let victim = cluster.worker_with_port(port).context("no worker has the reader's port")?;
    cluster.kill_worker(victim)?;
    gate.open()?;
    cluster.wait_finished(&id)?;
    let commit = assert_numbers_once(&workspace, "bronze.numbers")?;
    let orphan = |name: &String| !commit.added.iter().any(|path| path.ends_with(name.as_str()));
    assert!(written.iter().any(orphan), "the fault came too late: no file of the killed worker is an orphan");
    Ok(())
}

#[test]
fn a_task_that_waits_for_ever_ends_the_job_with_its_limit_and_commits_nothing() -> Result<()> {
    let Gated { server, cluster, workspace, job } = gated("task-timeout", "")?;
    let gate = server.close_gate()?;
    let submit = cluster.submit().args(["--no-supervise", "--conf", "job.task_timeout=2s"]);
    let run = submit.arg(&job).run()?;
    run.failed("resource", "task-timeout", &["failed 4 times", "stage 1 (", "job.task_timeout"])?;
    gate.open()?;
    assert_eq!(workspace.tables_with_data(), [""; 0]);
    Ok(())
}

#[test]
fn a_driver_killed_before_its_commit_is_started_again_and_no_row_is_there_twice() -> Result<()> {
    let Gated { server, cluster, workspace, job } = gated("before-commit", "")?;
    let gate = server.close_gate()?;
    let id = cluster.submit_detached(|submit| submit.arg(&job))?;
    gate.wait_for_visitors(1)?;
    let (_, driver) = cluster.wait_for_driver()?;
    assert_eq!(workspace.tables_with_data(), [""; 0]);
    signal(driver, Signal::KILL)?;
    wait_for("the second launch of the driver", DEADLINE, || {
        let status = cluster.status(&id).ok()?;
        (status.get("attempt")?.as_u64()? >= 2).then_some(())
    })?;
    gate.open()?;
    cluster.wait_finished(&id)?;
    assert_numbers_once(&workspace, "bronze.numbers")?;
    Ok(())
}

#[test]
fn a_driver_killed_after_a_commit_skips_that_step_and_finishes_the_others() -> Result<()> {
    let first = r#"
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
    let Gated { server, cluster, workspace, job } = gated("after-commit", first)?;
    workspace.file("words.csv", "id,word\n1,one\n2,two\n")?;
    let gate = server.close_gate()?;
    let id = cluster.submit_detached(|submit| submit.arg(&job))?;
    gate.wait_for_visitors(1)?;
    wait_for("the first step's commit", DEADLINE, || {
        workspace.tables_with_data().contains(&"bronze.words".to_owned()).then_some(())
    })?;
    let (_, driver) = cluster.wait_for_driver()?;
    signal(driver, Signal::KILL)?;
    gate.open()?;
    let status = cluster.wait_finished(&id)?;
    assert!(status.get("attempt").and_then(Value::as_u64) >= Some(2), "{status}");
    assert_numbers_once(&workspace, "bronze.numbers")?;
    assert_eq!(Oracle::new().rows(&workspace.table("bronze.words"))?.len(), 2);
    assert_eq!(Oracle::new().data_commits(&workspace.table("bronze.words"))?.len(), 1);
    Ok(())
}

#[test]
fn the_same_submission_sent_twice_runs_once_and_another_job_under_its_id_is_refused() -> Result<()> {
    let Gated { server, cluster, workspace, job } = gated("twice", "")?;
    let id = uuid::Uuid::now_v7().to_string();
    server.close_gate()?.open()?;
    let first = cluster.submit_detached(|submit| submit.args(["--submission-id", &id]).arg(&job))?;
    let second = cluster.submit_detached(|submit| submit.args(["--submission-id", &id]).arg(&job))?;
    assert_eq!(first, second);
    cluster.wait_finished(&first)?;
    let third = cluster.submit().args(["--submission-id", &id]).arg(&job).run()?.succeeded()?;
    assert!(third.stderr.contains(&first), "{third}");
    assert_numbers_once(&workspace, "bronze.numbers")?;
    let other = workspace.job("twice", &GATED.replace("append", "overwrite"))?;
    let run = cluster.submit().args(["--submission-id", &id]).arg(&other).run()?;
    run.failed("conflict", "submission-differs", &[&first])?;
    Ok(())
}

#[test]
fn a_restarted_master_knows_every_submission_and_brings_the_open_ones_to_their_end() -> Result<()> {
    let Gated { server, mut cluster, workspace, job: gated_job } = gated("gated", "")?;
    let words = workspace.file("words.csv", "id,word\n1,one\n")?;
    let small = |name: &str, path: &str| {
        format!(
            "[job]\nname = \"{name}\"\n[warehouse]\nroot = \"warehouse\"\n[[source]]\nname = \"words\"\n\
             kind = \"files\"\nformat = \"csv\"\npath = \"{path}\"\n[[table]]\nname = \"{name}.words\"\n\
             from = \"words\"\nmode = \"append\"\n"
        )
    };
    let path = words.display().to_string();
    let finished_job = workspace.file("finished.toml", small("finished", &path))?;
    let failed_job = workspace.file("failed.toml", small("failed", "missing.csv"))?;

    let finished = cluster.submit_detached(|submit| submit.arg(&finished_job))?;
    cluster.wait_finished(&finished)?;
    let failed = cluster.submit_detached(|submit| submit.args(["--no-supervise"]).arg(&failed_job))?;
    cluster.wait_for_state(&failed, &["FAILED"])?;
    let gate = server.close_gate()?;
    let running = cluster.submit_detached(|submit| submit.arg(&gated_job))?;
    gate.wait_for_visitors(1)?;
    // No worker has that much memory: it waits to be placed.
    let submitted = cluster.submit_detached(|submit| submit.args(["--driver-memory", "900g"]).arg(&finished_job))?;
    let killed = cluster.submit_detached(|submit| submit.args(["--driver-memory", "900g"]).arg(&finished_job))?;
    cluster.submit().args(["--kill", &killed]).run()?.succeeded()?;
    cluster.wait_for_state(&killed, &["KILLED"])?;

    cluster.masters.kill(0)?;
    assert!(!cluster.masters.answers(0));
    cluster.masters.run(0)?;
    cluster.wait_for_workers(2)?;
    for (id, states) in [
        (&finished, &["FINISHED"][..]),
        (&failed, &["FAILED"]),
        (&killed, &["KILLED"]),
        (&submitted, &["SUBMITTED"]),
        (&running, &["RUNNING", "RELAUNCHING"]),
    ] {
        cluster.wait_for_state(id, states)?;
    }
    gate.open()?;
    cluster.wait_finished(&running)?;
    assert_numbers_once(&workspace, "bronze.numbers")?;
    cluster.submit().args(["--kill", &submitted]).run()?.succeeded()?;
    cluster.wait_for_state(&submitted, &["KILLED"])?;
    assert_eq!(Oracle::new().rows(&workspace.table("finished.words"))?.len(), 1);
    Ok(())
}

#[test]
fn a_client_that_waits_survives_a_restart_of_the_master() -> Result<()> {
    let Gated { server, mut cluster, workspace, job } = gated("waiting", "")?;
    let gate = server.close_gate()?;
    let mut client = cluster.submit().arg(&job).start(workspace.path())?;
    gate.wait_for_visitors(1)?;
    cluster.masters.kill(0)?;
    cluster.masters.run(0)?;
    gate.open()?;
    let status = client.wait(DEADLINE)?;
    assert_eq!(status.code(), Some(0), "{}", client.stderr());
    assert_numbers_once(&workspace, "bronze.numbers")?;
    Ok(())
}

#[test]
fn a_killed_submission_ends_its_query_and_commits_nothing() -> Result<()> {
    let Gated { server, cluster, workspace, job } = gated("killed", "")?;
    let gate = server.close_gate()?;
    let mut client = cluster.submit().arg(&job).start(workspace.path())?;
    gate.wait_for_visitors(1)?;
    let run = cluster.submit().args(["--list", "--output", "json"]).run()?.succeeded()?.json()?;
    let id = run.pointer("/applications/0/driver_id").and_then(Value::as_str).context("no driver id")?.to_owned();
    let kill = cluster.submit().args(["--kill", &id]).run()?.succeeded()?;
    assert!(kill.stdout.contains("\"success\" : true"), "{kill}");
    cluster.wait_for_state(&id, &["KILLED"])?;
    assert_eq!(client.wait(DEADLINE)?.code(), Some(7), "{}", client.stderr());
    wait_for("the end of the driver", DEADLINE, || cluster.drivers().is_empty().then_some(()))?;
    gate.open()?;
    assert_eq!(workspace.tables_with_data(), [""; 0]);
    Ok(())
}

#[test]
fn ctrl_c_detaches_and_the_job_goes_on() -> Result<()> {
    let Gated { server, cluster, workspace, job } = gated("detached", "")?;
    let gate = server.close_gate()?;
    let mut client = cluster.submit().arg(&job).start(workspace.path())?;
    gate.wait_for_visitors(1)?;
    signal(client.pid(), Signal::INT)?;
    assert_eq!(client.wait(DEADLINE)?.code(), Some(130));
    let text = client.stderr();
    let kill = text.lines().find(|line| line.contains("--kill driver-")).context("it does not say how to kill")?;
    let id = kill.rsplit(' ').next().context("no id")?.to_owned();
    gate.open()?;
    cluster.wait_finished(&id)?;
    assert_numbers_once(&workspace, "bronze.numbers")?;
    Ok(())
}

#[test]
fn a_signal_ends_a_run_in_this_process_as_cancelled_and_nothing_of_it_is_left() -> Result<()> {
    let Gated { server, cluster, workspace, job } = gated("ended", "")?;
    for (at, (mode, kind)) in
        [("local", Signal::TERM), ("local", Signal::INT), ("client", Signal::TERM), ("client", Signal::INT)]
            .into_iter()
            .enumerate()
    {
        let place = format!("{mode} {kind:?}");
        let gate = server.close_gate()?;
        let spills = workspace.path().join(format!("spills-{at}"));
        let submit = if mode == "local" { Submit::local() } else { cluster.submit().args(["--deploy-mode", mode]) };
        let submit = submit.env("CRM_URL", &server.url()).args(["--output", "json", "--local-dir"]).arg(&spills);
        let mut client = submit.arg(&job).start(&workspace.path().join(format!("client-{at}")))?;
        gate.wait_for_visitors(1)?;
        let folders = || std::fs::read_dir(&spills).map(|entries| entries.count());
        assert_eq!(folders()?, 1, "{place}");
        signal(client.pid(), kind)?;
        assert_eq!(client.wait(DEADLINE)?.code(), Some(7), "{place}: {}", client.stderr());
        assert_eq!(folders()?, 0, "{place}");
        assert!(client.stderr().contains("error[cancelled/"), "{place}: {}", client.stderr());
        let document: Value = serde_json::from_str(&client.stdout())?;
        assert_eq!(document.get("state"), Some(&Value::from("KILLED")), "{place}: {document}");
        assert_eq!(document.get("exit_code"), Some(&Value::from(7)), "{place}: {document}");
        gate.open()?;
    }
    assert_eq!(workspace.tables_with_data(), [""; 0]);
    Ok(())
}

#[test]
fn overlapping_submissions_of_one_job_run_one_after_the_other_and_all_their_rows_are_there() -> Result<()> {
    let Gated { server, cluster, workspace, job } = gated("overlapping", "")?;
    let gate = server.close_gate()?;
    let first = cluster.submit_detached(|submit| submit.arg(&job))?;
    gate.wait_for_visitors(1)?;
    let second = cluster.submit_detached(|submit| submit.arg(&job))?;
    let waiting = cluster.status(&second)?;
    assert_eq!(waiting.get("state"), Some(&Value::from("SUBMITTED")), "{waiting}");
    gate.open()?;
    cluster.wait_finished(&first)?;
    cluster.wait_finished(&second)?;
    let table = workspace.table("bronze.numbers");
    assert_eq!(Oracle::new().count(&table)?, 2 * ROWS);
    assert_eq!(Oracle::new().data_commits(&table)?.len(), 2);
    Ok(())
}
