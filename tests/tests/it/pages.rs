//! What a person, a script and Prometheus see of a running cluster, read as they read it.

use anyhow::{Context, Result};
use lake_tests::cluster::Cluster;
use lake_tests::gated::{Gated, gated};
use lake_tests::http::{answer, get, wait_for_event, wait_for_words};
use serde_json::Value;

#[test]
fn a_running_query_is_on_the_pages_of_its_master_and_its_worker() -> Result<()> {
    let Gated { server, mut cluster, workspace: _workspace, job } = gated("watched", "")?;
    let gate = server.close_gate()?;
    let id = cluster.submit_detached(|submit| submit.arg(&job))?;
    let port = gate.wait_for_visitors(1)?.first().copied().context("no port")?;
    let reader = cluster.worker_with_port(port).context("no worker has the reader's port")?;
    let status = cluster.status(&id)?;
    let text = |key: &str| status.get(key).and_then(Value::as_str).map(str::to_owned).with_context(|| key.to_owned());
    let (app_id, driver_worker) = (text("app_id")?, text("worker_id")?);

    let master = cluster.masters.http_address(0)?.to_owned();
    wait_for_words(&master, "/", &["watched", &app_id, "RUNNING", &driver_worker, "ALIVE"])?;
    let applications: Value = serde_json::from_str(&get(&master, "/api/v1/applications")?)?;
    let application = applications.get(0).context("no application")?;
    assert_eq!(application.get("app_id").and_then(Value::as_str), Some(app_id.as_str()), "{applications}");
    assert_eq!(application.get("state").and_then(Value::as_str), Some("RUNNING"), "{applications}");
    let path = format!("/applications/{app_id}");
    wait_for_words(&master, &path, &["watched", "bronze.numbers", "RUNNING"])?;
    let step = r#""table":"bronze.numbers","state":"RUNNING""#;
    wait_for_words(&master, &format!("/api/v1{path}"), &[step, r#""tasks_running":1"#])?;
    let figures = [
        "lake_master_is_leader 1",
        "lake_master_applications{state=\"RUNNING\"} 1",
        "lake_master_workers{state=\"ALIVE\"} 2",
        "lake_master_queries 1",
    ];
    wait_for_words(&master, "/metrics", &figures)?;

    wait_for_event(&master, "/events", "change")?;

    let page = wait_for_words(&master, &path, &[&format!("href=\"{path}/queries/")])?;
    let link = page.split("href=\"").find(|rest| rest.starts_with(&format!("{path}/queries/"))).context("no query")?;
    let query = link.split(['"', '#']).next().context("no end of the link")?;
    wait_for_words(&master, query, &["RUNNING", "stage 1", "0 of 1 task", "Timeline", "1 attempt by worker"])?;
    assert_eq!(answer(&master, &format!("{query}?limit=0"))?.0, 400);
    assert_eq!(answer(&master, &format!("{path}/queries/no-such"))?.0, 404);
    wait_for_words(&master, &format!("/workers/{driver_worker}"), &[&app_id, "Drivers", "Shuffle files"])?;
    wait_for_words(&master, &format!("{path}/logs?stream=stderr"), &["stderr of watched", "data-next="])?;
    wait_for_words(&master, "/environment", &["master 1", &driver_worker, "drain_timeout", "default"])?;

    let worker = cluster.worker_http_address(reader)?;
    let port = worker.rsplit(':').next().context("no port")?;
    let settings = get(&master, "/environment")?;
    assert!(settings.contains(&format!(">{port}<")), "the port that was bound is not told: {settings}");
    wait_for_words(&worker, "/", &["registered at", &app_id, "Running tasks (1)"])?;
    wait_for_words(&worker, "/metrics", &["lake_worker_registered 1", "lake_worker_tasks_running 1"])?;
    gate.open()?;
    cluster.wait_finished(&id)?;
    wait_for_words(&master, &path, &["FINISHED", "COMMITTED"])?;
    wait_for_words(&master, query, &["FINISHED", "1 of 1 task"])?;
    wait_for_words(&master, "/tables", &["bronze.numbers", "watched"])?;
    wait_for_words(&master, "/tables/bronze.numbers", &["COMMITTED", &app_id, "WRITE"])?;
    wait_for_words(&master, "/lineage", &["bronze.numbers", "job watched"])?;
    wait_for_words(&master, "/history?state=finished&text=watched", &[&app_id])?;
    let (status, page) = answer(&master, "/tables/no.such")?;
    assert!(status == 404 && page.contains("Workers and applications"), "{status}: {page}");
    Ok(())
}

#[test]
fn a_follower_shows_the_leaders_page_and_says_whose_it_is() -> Result<()> {
    let cluster = Cluster::builder().masters(3).start(1)?;
    let leader = cluster.masters.leader()?;
    let follower = (0..3).find(|master| *master != leader).context("no follower")?;
    let asked = cluster.masters.http_address(follower)?;
    let (talks_to, comes_from) = (
        format!("You talk to master {}", follower + 1),
        format!("relayed from the leader, master {} at {}", leader + 1, cluster.masters.address(leader)?),
    );
    wait_for_words(asked, "/", &[&talks_to, &comes_from, "ALIVE"])?;
    let (status, page) = answer(asked, "/no-such-page")?;
    assert!(status == 404 && page.contains(&comes_from), "{status}: {page}");
    let version = get(asked, "/api/v1/version")?;
    assert!(
        version.contains("\"role\":\"follower\"") && version.contains(&format!("\"id\":{}", follower + 1)),
        "{version}"
    );
    let environment = wait_for_words(asked, "/environment", &[&comes_from, "webui_port"])?;
    for master in 1..=3 {
        assert!(environment.contains(&format!("master {master}")), "{environment}");
    }
    wait_for_event(asked, "/events", "change")?;
    let own = get(cluster.masters.http_address(leader)?, "/")?;
    assert!(own.contains(&format!("master {} · leader", leader + 1)) && !own.contains("relayed"), "{own}");
    Ok(())
}
