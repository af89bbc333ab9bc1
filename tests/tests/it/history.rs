//! What is told of applications that have ended: by the history files of a real cluster, and by its masters afterwards.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use lake_record::{ApplicationRecord, AttemptState, OperatorRecord, Origin, QueryRecord, QueryState, StepRecord};
use lake_tests::cluster::Cluster;
use lake_tests::fixture::{NUMBERS, Workspace, numbers_csv};
use lake_tests::gated::{Gated, gated};
use lake_tests::history::{path_of, written};
use lake_tests::http::{answer, get};
use lake_tests::submit::app_id;
use lake_tests::{DEADLINE, wait_for};
use serde_json::Value;

/// The job over numbers, and 1,000 of them.
fn workspace() -> Result<(Workspace, PathBuf)> {
    let workspace = Workspace::new()?;
    workspace.file("numbers.csv", numbers_csv(1_000))?;
    let job = workspace.job("history", NUMBERS)?;
    Ok((workspace, job))
}

/// Runs a job to its end; the application's id.
fn finish(cluster: &Cluster, job: &Path) -> Result<String> {
    let driver = cluster.submit_detached(|submit| submit.arg(job))?;
    app_id(&cluster.wait_finished(&driver)?)
}

/// An application as the master tells it, as soon as that comes `from` there.
fn told(cluster: &Cluster, app: &str, from: Origin) -> Result<ApplicationRecord> {
    let address = cluster.masters.http_address(0)?.to_owned();
    wait_for(&format!("{app} from {from:?}"), DEADLINE, || {
        let text = get(&address, &format!("/api/v1/records/{app}")).ok()?;
        serde_json::from_str::<ApplicationRecord>(&text).ok().filter(|record| record.origin == from)
    })
}

fn step<'a>(record: &'a ApplicationRecord, table: &str) -> Result<&'a StepRecord> {
    record.step(table).with_context(|| format!("no step {table} in {record:?}"))
}

/// The operators of a query, by name; of equal names the last one.
fn operators(query: &QueryRecord) -> BTreeMap<&str, &OperatorRecord> {
    let operators = query.stages.iter().flat_map(|stage| &stage.operators);
    operators.map(|operator| (operator.name.as_str(), operator)).collect()
}

#[test]
fn the_record_of_a_job_tells_what_it_read_ran_and_wrote_and_outlives_the_master() -> Result<()> {
    let mut cluster = Cluster::start()?;
    let (_workspace, job) = workspace()?;
    let first = finish(&cluster, &job)?;
    let second = finish(&cluster, &job)?;
    let directory = cluster.masters.data_directory(0).join("history");
    let (first, second) = (written(&directory, &first)?, written(&directory, &second)?);

    assert_eq!((second.summary.state.as_str(), second.is_partial), ("FINISHED", false));
    let [attempt] = second.attempts.as_slice() else { panic!("{:?}", second.attempts) };
    assert_eq!((attempt.number, attempt.exit_code, attempt.failure.as_ref()), (1, Some(0), None));
    assert!(attempt.ended_at_ms >= attempt.launched_at_ms && !attempt.worker_id.is_empty());
    assert_eq!(second.pipeline.as_ref().map(|pipeline| pipeline.tables.len()), Some(2));

    let bronze = step(&second, "bronze.numbers")?;
    assert_eq!((bronze.state.as_str(), bronze.rows_in, bronze.rows_out), ("COMMITTED", 1_000, 1_000));
    assert!(bronze.started_at_ms >= second.summary.submitted_at_ms && bronze.ended_at_ms >= bronze.started_at_ms);
    assert_eq!((bronze.reads[0].name.as_str(), bronze.reads[0].files), ("numbers", Some(1)));
    let expectation = &bronze.expectations[0];
    assert_eq!((expectation.violations, expectation.checked), (100, Some(1_000)));
    assert_eq!(step(&first, "bronze.numbers")?.version_before, None);
    assert_eq!(bronze.version_before, step(&first, "bronze.numbers")?.version);
    for (record, rows) in [(&first, 1_000), (&second, 2_000)] {
        let step = step(record, "bronze.numbers")?;
        let table = step.table_after.as_ref().context("no table")?;
        assert_eq!((Some(table.version), table.rows, table.operation.as_str()), (step.version, Some(rows), "WRITE"));
        assert_eq!(table.file_sizes.iter().sum::<u64>(), table.files);
        assert!(table.columns.iter().any(|column| column.name == "bucket"), "{:?}", table.columns);
        assert!(table.operation_metrics.contains_key("numFiles"), "{:?}", table.operation_metrics);
    }
    let gold = step(&second, "gold.buckets")?;
    assert_eq!((gold.reads[0].version, gold.reads[0].files.is_some()), (bronze.version, true));
    assert_eq!(gold.table_after.as_ref().and_then(|table| table.rows), Some(10));

    assert_eq!(second.queries.len(), 2);
    for query in &second.queries {
        assert_eq!((query.state, query.is_attached), (QueryState::Finished, false));
        for stage in &query.stages {
            assert_eq!(stage.tasks_done, stage.tasks, "{stage:?}");
            assert!(stage.attempts.iter().all(|attempt| attempt.state == AttemptState::Success), "{stage:?}");
            assert!(stage.attempts.iter().all(|attempt| !attempt.host.is_empty() && attempt.ended_at_ms > 0));
        }
    }
    let query = second.queries_of("bronze.numbers").next().context("no query")?;
    let scan = operators(query).get("FilesScanExec").copied().context("no scan")?;
    assert_eq!(scan.metrics.output_rows, 1_000, "{query:?}");

    cluster.masters.kill(0)?;
    cluster.masters.run(0)?;
    cluster.masters.leader()?;
    let again = told(&cluster, &second.summary.app_id, Origin::History)?;
    assert_eq!(again, second);
    Ok(())
}

#[test]
fn tasks_on_a_worker_that_was_killed_are_lost_in_the_record() -> Result<()> {
    let Gated { server, mut cluster, workspace: _workspace, job } = gated("lost-in-record", "")?;
    let gate = server.close_gate()?;
    let id = cluster.submit_detached(|submit| submit.arg(&job))?;
    let port = gate.wait_for_visitors(1)?.first().copied().context("no port")?;
    let victim = cluster.worker_with_port(port).context("no worker has the reader's port")?;
    let app = app_id(&cluster.status(&id)?)?;
    let live = told(&cluster, &app, Origin::Live)?;
    let running: usize = live.queries.iter().flat_map(|query| &query.stages).map(|stage| stage.running()).sum();
    assert!(running > 0, "{live:?}");
    // A driver that it had lives on for a while: its query is not over before the worker is lost.
    cluster.worker(victim)?.kill()?;
    gate.open()?;
    cluster.wait_finished(&id)?;
    let record = written(&cluster.masters.data_directory(0).join("history"), &app)?;
    let stages = || record.queries.iter().flat_map(|query| &query.stages);
    let of = |state: AttemptState| stages().flat_map(|stage| &stage.attempts).filter(move |it| it.state == state);
    // With a driver that ran there as well its query may be over, and the attempt told to end, before the worker is given
    // up.
    let is_driver_lost = record.attempts.iter().any(|launch| launch.failure.is_some());
    let told_to_end = || of(AttemptState::Killed).find(|_| is_driver_lost);
    let lost = of(AttemptState::Lost).next().or_else(told_to_end);
    let lost = lost.with_context(|| format!("no attempt is lost in {record:?}"))?;
    // Where the driver was lost, too, the next one has sent the query anew.
    let is_again = of(AttemptState::Success).any(|it| it.task == lost.task && it.worker_id != lost.worker_id);
    assert!(is_again, "{record:?}");
    Ok(())
}

#[test]
fn files_that_cannot_be_read_are_named_and_the_rest_is_told_by_masters_that_share_a_directory() -> Result<()> {
    let (workspace, job) = workspace()?;
    let directory = workspace.path().join("history");
    let shared = directory.to_str().context("not UTF-8")?;
    let cluster = Cluster::builder().master_argument("--history-dir").master_argument(shared).start(1)?;
    let app = finish(&cluster, &job)?;
    let record = written(&directory, &app)?;
    drop(cluster);

    let bytes = std::fs::read(path_of(&directory, &app))?;
    let start = bytes.get(..bytes.len() / 2).context("an empty file")?;
    std::fs::write(path_of(&directory, "app-20260101000000-0001"), start)?;
    std::fs::write(path_of(&directory, "app-20260101000000-0002"), &bytes)?;
    std::fs::write(directory.join("notes.txt"), "not ours")?;
    let cluster = Cluster::builder().master_argument("--history-dir").master_argument(shared).start(1)?;
    assert_eq!(told(&cluster, &app, Origin::History)?, record, "of another cluster, by its directory");
    let address = cluster.masters.http_address(0)?.to_owned();
    let list: Value = serde_json::from_str(&get(&address, "/api/v1/records")?)?;
    let unreadable = list.get("unreadable").map(Value::to_string).unwrap_or_default();
    for name in ["app-20260101000000-0001", "app-20260101000000-0002", "notes.txt"] {
        assert!(unreadable.contains(name), "{name} is not in {unreadable}");
    }
    assert_eq!(list.get("count"), Some(&Value::from(1)), "{list}");
    assert_eq!(answer(&address, "/api/v1/records/app-20260101000000-0002")?.0, 404);
    finish(&cluster, &job)?;
    Ok(())
}

#[test]
fn only_as_many_records_are_kept_as_are_asked_for() -> Result<()> {
    let (workspace, job) = workspace()?;
    let directory = workspace.path().join("history");
    let shared = directory.to_str().context("not UTF-8")?;
    let start = |most: &str| {
        let builder = Cluster::builder().master_argument("--history-dir").master_argument(shared);
        builder.master_argument("--history-max-count").master_argument(most).start(1)
    };
    let cluster = start("10")?;
    let apps = [finish(&cluster, &job)?, finish(&cluster, &job)?, finish(&cluster, &job)?];
    for app in &apps {
        written(&directory, app)?;
    }
    drop(cluster);
    let _cluster = start("1")?;
    wait_for("the older records to go", DEADLINE, || {
        let is_there = |app: &String| path_of(&directory, app).exists();
        (!is_there(&apps[0]) && !is_there(&apps[1])).then_some(())
    })?;
    assert!(path_of(&directory, &apps[2]).exists());
    Ok(())
}
