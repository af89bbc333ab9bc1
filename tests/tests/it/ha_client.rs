//! `lake-submit` and the masters: silence, wrong addresses, more than one address.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use anyhow::Result;
use lake_tests::cluster::Cluster;
use lake_tests::submit::Submit;

/// A port at which nobody listens.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

#[test]
fn masters_that_are_not_there_are_tried_for_the_given_time_and_named() -> Result<()> {
    let (one, two) = (free_port()?, free_port()?);
    let started = Instant::now();
    let url = format!("lake://127.0.0.1:{one},127.0.0.1:{two}");
    let run = Submit::new().args(["--master", &url, "--connect-timeout", "2", "--list"]).run()?;
    run.failed("unavailable", "no-master", &[&one.to_string(), &two.to_string(), "LAKE_MASTER"])?;
    assert!(started.elapsed() < Duration::from_secs(20));
    Ok(())
}

#[test]
fn a_master_that_listens_behind_a_dead_address_is_found() -> Result<()> {
    let cluster = Cluster::builder().start(0)?;
    let url = format!("lake://127.0.0.1:{},{}", free_port()?, cluster.master_url().trim_start_matches("lake://"));
    Submit::new().args(["--master", &url, "--list"]).run()?.succeeded()?;
    Ok(())
}

#[test]
fn the_environment_names_the_master_and_a_flag_wins_over_it() -> Result<()> {
    let cluster = Cluster::builder().start(0)?;
    let dead = format!("lake://127.0.0.1:{}", free_port()?);
    let list = || Submit::new().args(["--connect-timeout", "2", "--list"]);
    list().env("LAKE_MASTER", &cluster.master_url()).run()?.succeeded()?;
    list().env("LAKE_MASTER", &dead).run()?.failed("unavailable", "no-master", &[])?;
    list().env("LAKE_MASTER", &dead).args(["--master", &cluster.master_url()]).run()?.succeeded()?;
    Ok(())
}

#[test]
fn ids_that_nobody_knows_are_not_found() -> Result<()> {
    let cluster = Cluster::builder().start(0)?;
    for verb in ["--status", "--kill", "--logs"] {
        cluster.submit().args([verb, "driver-20200101000000-0001"]).run()?.failed("not-found", "", &["driver-2020"])?;
    }
    Ok(())
}
