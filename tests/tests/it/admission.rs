//! A full queue: refused with a reason and exit code 5; what was accepted stays accepted, and a place that gets free is
//! taken again.

use anyhow::Result;
use lake_tests::cluster::Cluster;
use lake_tests::fixture::{Workspace, example};
use lake_tests::http::get;
use lake_tests::submit::Submit;

/// Of the submission that is sent twice.
const ID: &str = "0198a0b1-0000-7000-8000-000000000001";

fn detached(cluster: &Cluster, workspace: &Workspace) -> Result<Submit> {
    let root = format!("file://{}", workspace.path().join("warehouse").display());
    Ok(cluster.submit().arg("--no-wait").warehouse(&root).arg(example("retail")?))
}

#[test]
fn a_full_queue_refuses_with_exit_code_5_and_goes_on_when_one_was_killed() -> Result<()> {
    let cluster = Cluster::builder().master_argument("--max-queued-applications").master_argument("3").start(0)?;
    let workspace = Workspace::new()?;
    let submit = || detached(&cluster, &workspace);

    let first = submit()?.args(["--submission-id", ID]).run()?.succeeded()?;
    let second = submit()?.run()?.succeeded()?;
    submit()?.run()?.succeeded()?;

    let texts = ["3 applications wait", "at most 3 may", "--max-queued-applications"];
    submit()?.run()?.failed("resource", "queue-full", &texts)?;
    let again = submit()?.args(["--submission-id", ID]).run()?.succeeded()?;
    assert_eq!(again.stdout, first.stdout, "a submission that was accepted got another driver");
    let metrics = get(cluster.masters.http_address(0)?, "/metrics")?;
    for line in ["lake_master_applications{state=\"SUBMITTED\"} 3\n", "lake_master_max_queued_applications 3\n"] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }

    cluster.submit().args(["--kill", second.stdout.trim()]).run()?.succeeded()?;
    submit()?.run()?.succeeded()?;
    submit()?.run()?.failed("resource", "queue-full", &[])?;
    Ok(())
}

#[test]
fn the_queue_is_as_full_after_a_restart_of_the_master() -> Result<()> {
    let mut cluster = Cluster::builder().master_argument("--max-queued-applications").master_argument("2").start(0)?;
    let workspace = Workspace::new()?;
    detached(&cluster, &workspace)?.run()?.succeeded()?;
    detached(&cluster, &workspace)?.run()?.succeeded()?;
    cluster.masters.kill(0)?;
    cluster.masters.run(0)?;
    detached(&cluster, &workspace)?.run()?.failed("resource", "queue-full", &["2 applications wait"])?;
    Ok(())
}
