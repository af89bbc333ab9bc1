//! Workers that promise more than their host has.

use std::num::NonZeroUsize;
use std::process::Command;

use anyhow::Result;
use lake_proto::quantity::counted;
use lake_tests::DEADLINE;
use lake_tests::process::{Process, binary};
use tempfile::TempDir;

/// A worker without a master, with a name that tells its files from those of another one.
fn worker(directory: &TempDir, name: &str, arguments: &[&str]) -> Result<Process> {
    let mut command = Command::new(binary("lake-worker")?);
    command.args(["--host", "127.0.0.1", "--port", "0", "--flight-port", "0", "--webui-port", "0", "--memory", "512m"]);
    command.args(arguments).arg("--work-dir").arg(directory.path().join(name)).arg("lake://127.0.0.1:1");
    Process::start(name, command, directory.path())
}

#[test]
fn a_worker_that_promises_more_than_its_host_has_says_so_in_one_line_and_far_more_is_refused() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let mut more = worker(&directory, "more", &["--cores", &(2 * cores).to_string()])?;
    more.listening("http")?;
    let said = more.stderr();
    let remark = format!("this worker promises {}, of which this host has {cores}", counted(2 * cores, "core"));
    assert_eq!(said.lines().filter(|line| line.contains(&remark) && line.contains("WARN")).count(), 1, "{said}");

    let mut as_many = worker(&directory, "as-many", &["--cores", &cores.to_string()])?;
    as_many.listening("http")?;
    assert!(!as_many.stderr().contains("promises"), "{}", as_many.stderr());

    for (name, arguments, expected) in [
        ("cores", ["--cores", "100000"], "error[invalid-job/config]: cores is 100000: this host has "),
        ("memory", ["--memory", "900t"], "error[invalid-job/config]: memory is 900 TiB: this host has "),
    ] {
        let mut refused = worker(&directory, name, &arguments)?;
        assert_eq!(refused.wait(DEADLINE)?.code(), Some(2), "{}", refused.stderr());
        assert!(refused.stderr().contains(expected), "{}", refused.stderr());
    }
    Ok(())
}
