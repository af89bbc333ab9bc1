//! A worker behind mapped ports, as in a container: others reach it only where it says, which a proxy forwards.

use std::net::TcpListener;

use anyhow::{Context, Result};
use lake_tests::cluster::Cluster;
use lake_tests::fixture::{Workspace, example};
use lake_tests::http::get;
use lake_tests::proxy::Proxy;
use serde_json::Value;

/// A port that was free a moment ago, and a proxy that forwards to it.
fn mapped() -> Result<(String, Proxy)> {
    let target = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    Ok((target.port().to_string(), Proxy::start("127.0.0.1:0", &target.to_string(), 1)?))
}

fn port(proxy: &Proxy) -> String {
    proxy.address().rsplit(':').next().unwrap_or_default().to_owned()
}

#[test]
fn a_worker_behind_mapped_ports_is_reached_at_the_ports_that_it_advertises() -> Result<()> {
    let ((grpc_inside, grpc), (flight_inside, flight), (web_inside, web)) = (mapped()?, mapped()?, mapped()?);
    let cluster = [
        ["--host", "0.0.0.0"],
        ["--port", &grpc_inside],
        ["--flight-port", &flight_inside],
        ["--webui-port", &web_inside],
        ["--advertise-host", "localhost"],
        ["--advertise-port", &port(&grpc)],
        ["--advertise-flight-port", &port(&flight)],
        ["--advertise-webui-port", &port(&web)],
    ]
    .concat()
    .into_iter()
    .fold(Cluster::builder(), |builder, argument| builder.worker_argument(argument));
    let mut cluster = cluster.start(1)?;
    assert_eq!(cluster.worker(0)?.listening("grpc")?, format!("0.0.0.0:{grpc_inside}"));

    let list = cluster.submit().args(["--list", "--output", "json"]).run()?.succeeded()?.json()?;
    let worker = list.pointer("/workers/0").context("no worker")?;
    assert_eq!(worker.get("host"), Some(&Value::from("localhost")));
    for (field, proxy) in [("grpc_port", &grpc), ("flight_port", &flight), ("http_port", &web)] {
        assert_eq!(worker.get(field).map(Value::to_string), Some(port(proxy)), "{field}");
    }
    let id = worker.get("worker_id").and_then(Value::as_str).context("no worker_id")?;
    let page = get(cluster.masters.http_address(0)?, &format!("/workers/{id}"))?;
    assert!(page.contains(&format!("href=\"http://localhost:{}/\"", port(&web))), "{page}");

    // The master reads a log where the worker says that it is reached.
    let workspace = Workspace::new()?;
    let root = format!("file://{}", workspace.path().join("lake").display());
    let job = example("retail")?;
    let id = cluster.submit_detached(|submit| submit.warehouse(&root).arg(&job))?;
    cluster.wait_finished(&id)?;
    assert_eq!(grpc.counts().connections, 0);
    cluster.submit().args(["--logs", &id]).run()?.succeeded()?;
    assert!(grpc.counts().connections > 0, "the log did not come through the mapped port");
    Ok(())
}
