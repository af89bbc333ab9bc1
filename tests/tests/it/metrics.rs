//! What Prometheus reads of real daemons, judged by its own tools.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use lake_metrics::check::{Checked, check};
use lake_tests::cluster::Cluster;
use lake_tests::fixture::{Workspace, example, project};
use lake_tests::http::get;
use lake_tests::{DEADLINE, wait_for};

/// Runs promtool with this on its standard input; what it prints when it is content.
fn promtool(arguments: &[&str], input: &str) -> Result<String> {
    let mut command = Command::new("promtool");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot run promtool: scripts/test installs it (Debian: prometheus)")?;
    let mut stdin = child.stdin.take().context("no stdin")?;
    stdin.write_all(input.as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    anyhow::ensure!(output.status.success(), "promtool {arguments:?}: {said}\n{input}");
    Ok(said)
}

/// A page of metrics that promtool and our own reader are content with.
fn metrics(address: &str) -> Result<Checked> {
    let text = get(address, "/metrics")?;
    let said = promtool(&["check", "metrics"], &text)?;
    anyhow::ensure!(said.trim().is_empty(), "promtool complains about {address}: {said}\n{text}");
    check(&text).map_err(|why| anyhow::anyhow!("{address}: {why}"))
}

fn sum(page: &Checked, start: &str) -> f64 {
    page.samples.iter().filter(|(series, _)| series.starts_with(start)).map(|(_, value)| value).sum()
}

#[test]
fn promtool_is_content_with_every_page_and_the_figures_are_those_of_the_run() -> Result<()> {
    let workspace = Workspace::new()?;
    let mut cluster = Cluster::start()?;
    let root = format!("file://{}", workspace.path().join("lake").display());
    cluster.submit().warehouse(&root).arg(example("retail")?).run()?.succeeded()?;

    let address = cluster.masters.http_address(0)?.to_owned();
    // The driver's process may end after its run has.
    let master = wait_for("the end of the run in the master's metrics", DEADLINE, || {
        let page = metrics(&address).ok()?;
        (page.samples.get("lake_master_applications_ended_total{state=\"FINISHED\"}") == Some(&1.0)).then_some(page)
    })?;
    for (series, expected) in [
        ("lake_master_is_leader", 1.0),
        ("lake_master_role{role=\"leader\"}", 1.0),
        ("lake_master_raft_voters", 1.0),
        ("lake_master_raft_member_lag_entries{member=\"1\"}", 0.0),
        ("lake_master_submissions_total", 1.0),
        ("lake_master_driver_launches_total", 1.0),
        ("lake_master_worker_registrations_total", 2.0),
        ("lake_master_worker_losses_total", 0.0),
        ("lake_master_workers{state=\"ALIVE\"}", 2.0),
        ("lake_master_cores", 2.0),
        ("lake_master_cores_free", 2.0),
        ("lake_master_queries", 0.0),
        ("lake_steps_total{outcome=\"COMMITTED\"}", 6.0),
        ("lake_commit_duration_seconds_count", 6.0),
        ("lake_step_duration_seconds_count", 6.0),
        ("lake_step_output_rows_total{job_name=\"retail\",table=\"bronze.orders\"}", 811.0),
        ("lake_step_violations_total{job_name=\"retail\",table=\"silver.products\"}", 0.0),
    ] {
        assert_eq!(master.samples.get(series), Some(&expected), "{series}");
    }
    assert!(sum(&master, "lake_step_violations_total{job_name=\"retail\",table=\"silver.orders\"}") > 0.0);
    let queries = sum(&master, "lake_query_duration_seconds_count{outcome=\"finished\"}");
    assert!(queries >= 6.0 && queries == sum(&master, "lake_master_queries_total"), "{queries} queries");
    assert!(sum(&master, "lake_master_raft_proposal_seconds_count") > 6.0);
    assert!(sum(&master, "process_resident_memory_bytes") > 1e6 && sum(&master, "process_open_fds") > 5.0);

    let mut tasks = 0.0;
    for worker in 0..2 {
        let address = cluster.worker_http_address(worker)?;
        let page = metrics(&address)?;
        assert_eq!(page.samples.get("lake_worker_registered"), Some(&1.0));
        assert_eq!(page.samples.get("lake_worker_task_failures_total{class=\"internal\"}"), Some(&0.0));
        assert!(sum(&page, "lake_worker_disk_free_bytes") > 0.0 && sum(&page, "lake_worker_memory_pool_bytes") > 0.0);
        tasks += sum(&page, "lake_worker_tasks_total{outcome=\"done\"}");
        let spark = get(&address, "/metrics/prometheus")?;
        assert!(spark.contains("metrics_worker_coresFree_Value{type=\"gauges\"} 1\n"), "{spark}");
    }
    assert!(
        tasks >= 6.0 && tasks == sum(&master, "lake_task_duration_seconds_count{outcome=\"done\"}"),
        "{tasks} tasks"
    );
    let spark = get(&address, "/metrics/master/prometheus")?;
    assert!(spark.contains("metrics_master_aliveWorkers_Value{type=\"gauges\"} 2\n"), "{spark}");
    Ok(())
}

#[test]
fn a_follower_tells_of_itself_and_only_the_leader_of_the_others() -> Result<()> {
    let cluster = Cluster::builder().masters(3).start(0)?;
    let leader = cluster.masters.leader()?;
    for master in 0..3 {
        let page = metrics(cluster.masters.http_address(master)?)?;
        let leads = master == leader;
        assert_eq!(page.samples.get("lake_master_is_leader"), Some(&if leads { 1.0 } else { 0.0 }));
        assert_eq!(page.samples.get("lake_master_raft_voters"), Some(&3.0));
        let lags = page.samples.keys().filter(|series| series.starts_with("lake_master_raft_member_lag")).count();
        assert_eq!(lags, if leads { 3 } else { 0 }, "{page:?}");
    }
    Ok(())
}

#[test]
fn promtool_is_content_with_the_alerts_and_the_configuration() -> Result<()> {
    let folder = project()?.join("docker/prometheus");
    for (what, file) in [("rules", "alerts.yml"), ("config", "prometheus.yml")] {
        let path = folder.join(file).display().to_string();
        let said = promtool(&["check", what, &path], "")?;
        assert!(said.contains("SUCCESS"), "{said}");
    }
    Ok(())
}
