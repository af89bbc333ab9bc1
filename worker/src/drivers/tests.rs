//! Real child processes: `/bin/sh` in the place of the driver, its script in the place of the master URL.

use std::future::Future;
use std::os::unix::fs::symlink;

use futures::StreamExt;
use lake_proto::v1::worker_logs_server::WorkerLogs;
use lake_proto::v1::{
    DriverExited, DriverStatus, ReadLogRequest, WorkerMessage, driver_status::Outcome, worker_message::Message,
};
use tonic::Request;

use super::*;
use crate::logs::{Logs, Which};

const DEADLINE: Duration = Duration::from_secs(30);

struct Host {
    _directory: tempfile::TempDir,
    work: Arc<WorkDir>,
    outbox: Arc<Outbox>,
    drivers: Arc<Drivers>,
    logs: Logs,
}

fn host() -> Host {
    let directory = tempfile::tempdir().unwrap();
    let work = Arc::new(WorkDir::open(directory.path(), "one").unwrap());
    let outbox = Arc::new(Outbox::default());
    let shell = Program {
        executable: PathBuf::from("/bin/sh"),
        arguments: Box::new(|launch, _| vec!["-c".into(), launch.master_url.clone().into()]),
    };
    let drivers = Drivers::new(shell, work.clone(), outbox.clone());
    let logs = Logs::new(work.clone(), drivers.clone());
    Host { _directory: directory, work, outbox, drivers, logs }
}

fn launch(driver: &str, epoch: u64, script: &str) -> LaunchDriver {
    LaunchDriver {
        driver_id: driver.to_owned(),
        epoch,
        app_id: "app-1".to_owned(),
        memory_bytes: 0,
        master_url: script.to_owned(),
        traceparent: String::new(),
    }
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("it did not happen in time")
}

impl Host {
    /// Takes the next status, acknowledging it.
    async fn next(&self) -> DriverStatus {
        in_time(async {
            loop {
                let changed = self.outbox.changed();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if let Some((seq, WorkerMessage { message: Some(Message::DriverStatus(status)) })) =
                    self.outbox.next_after(0)
                {
                    self.outbox.acknowledge(seq);
                    return status;
                }
                changed.await;
            }
        })
        .await
    }

    async fn started(&self) -> u32 {
        match self.next().await.outcome.unwrap() {
            Outcome::Started(started) => started.pid,
            Outcome::Exited(exited) => panic!("it exited: {exited:?}"),
        }
    }

    async fn exited(&self) -> DriverExited {
        match self.next().await.outcome.unwrap() {
            Outcome::Exited(exited) => exited,
            Outcome::Started(started) => panic!("it started: {started:?}"),
        }
    }

    async fn read(&self, driver: &str, offset: u64, follow: bool) -> Result<String, tonic::Status> {
        let request = ReadLogRequest {
            driver_id: driver.to_owned(),
            stream: "stdout".to_owned(),
            offset,
            follow,
            ..ReadLogRequest::default()
        };
        let mut stream = self.logs.read_log(Request::new(request)).await?.into_inner();
        in_time(async {
            let mut text = Vec::new();
            while let Some(chunk) = stream.next().await {
                text.extend_from_slice(&chunk?.data);
            }
            Ok(String::from_utf8(text).unwrap())
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_is_reported_with_its_exit_code_and_its_log_stays() {
    let host = host();
    host.drivers.launch(launch("driver-1", 1, "echo $LAKE_DRIVER_ID $LAKE_DRIVER_EPOCH; echo why >&2; exit 8"));
    let pid = host.started().await;
    assert!(pid > 0);
    let exited = host.exited().await;
    assert_eq!((exited.exit_code, exited.signal, exited.failure), (Some(8), 0, None));
    assert_eq!(host.read("driver-1", 0, false).await.unwrap(), "driver-1 1\n");
    assert_eq!(host.read("driver-1", 9, true).await.unwrap(), "1\n");
    let (offset, tail) = host.logs.tail("driver-1", Which::Stderr, 2).await.unwrap();
    assert_eq!((offset, &tail[..]), (2, &b"y\n"[..]));
    assert!(host.work.root().join("app-1/driver-1/stderr").is_file());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_a_driver_ends_its_whole_group_even_children_that_ignore_sigterm() {
    let host = host();
    // The grandchild ignores SIGTERM; the shell that waits for it does not.
    host.drivers.launch(launch("driver-1", 4, "(trap '' TERM; exec sleep 1000) & echo up; wait"));
    let pid = host.started().await;
    let follower = host.read("driver-1", 0, true);
    host.drivers.kill("driver-1", 3);
    assert!(host.drivers.is_running(&"driver-1".parse().unwrap()), "an older epoch must not end a newer process");
    // A repeat of a launch changes nothing.
    host.drivers.launch(launch("driver-1", 4, "echo twice"));
    let killed = async {
        // Let it print first, so that the log shows that the follower got everything.
        in_time(async {
            while host.logs.tail("driver-1", Which::Stdout, 100).await.is_ok_and(|(_, tail)| tail.is_empty()) {
                tokio::task::yield_now().await;
            }
        })
        .await;
        host.drivers.kill("driver-1", 4);
        host.exited().await
    };
    let (text, exited) = tokio::join!(follower, killed);
    assert_eq!((exited.exit_code, exited.signal), (None, 15));
    let text = text.unwrap();
    assert_eq!(text, "up\n");
    let group = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    in_time(async {
        while rustix::process::test_kill_process_group(group).is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(host.drivers.running().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_epoch_ends_the_older_process_first() {
    let host = host();
    host.drivers.launch(launch("driver-1", 1, "exec sleep 1000"));
    host.started().await;
    host.drivers.launch(launch("driver-1", 2, "exit 0"));
    let old = host.next().await;
    assert_eq!(old.epoch, 1);
    assert!(matches!(old.outcome, Some(Outcome::Exited(DriverExited { signal: 15, .. }))));
    host.started().await;
    assert_eq!(host.exited().await.exit_code, Some(0));
    // Late news of the older launch.
    host.drivers.launch(launch("driver-1", 1, "exit 0"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_over_its_memory_is_killed_and_told_why() {
    let host = host();
    // 512 bytes and the least overhead: a shell that doubles a text passes that at once.
    let script = "x=0123456789abcdef; while :; do x=$x$x; done";
    host.drivers.launch(LaunchDriver { memory_bytes: 512, ..launch("driver-1", 1, script) });
    host.started().await;
    let exited = host.exited().await;
    let failure = exited.failure.unwrap();
    assert_eq!((exited.signal, failure.class.as_str(), failure.code.as_str()), (9, "resource", "driver-memory"));
    assert!(failure.message.contains("--driver-memory"), "{}", failure.message);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_start_is_told_and_a_stopping_worker_starts_nothing() {
    let mut host = host();
    host.drivers.launch(launch("../driver", 1, "exit 0"));
    assert_eq!(host.exited().await.failure.unwrap().code, "driver-id");
    host.drivers.launch(launch("driver-1", 1, "exec sleep 1000"));
    host.started().await;
    in_time(host.drivers.stop(DEADLINE)).await;
    let exited = host.exited().await;
    assert_eq!(exited.failure.unwrap().class, "unavailable");
    host.drivers.launch(launch("driver-2", 1, "exit 0"));
    assert_eq!(host.exited().await.failure.unwrap().code, "worker-stopping");

    let missing = Program { executable: PathBuf::from("/no/such/program"), arguments: Box::new(|_, _| Vec::new()) };
    host.drivers = Drivers::new(missing, host.work.clone(), host.outbox.clone());
    host.drivers.launch(launch("driver-3", 1, ""));
    assert_eq!(host.exited().await.failure.unwrap().code, "driver-start");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_was_given_up_ends_its_drivers_and_reports_nothing() {
    let host = host();
    host.drivers.launch(launch("driver-1", 1, "exec sleep 1000"));
    host.started().await;
    in_time(host.drivers.abandon(DEADLINE)).await;
    assert!(host.drivers.running().is_empty());
    assert!(host.outbox.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_outside_the_work_directory_are_not_read() {
    let host = host();
    let directory = host.work.root().join("app-1/driver-1");
    std::fs::create_dir_all(&directory).unwrap();
    symlink("/etc/hostname", directory.join("stdout")).unwrap();
    for driver in ["driver-1", "driver-2", "../app-1/driver-1", "driver-1\0", "/etc"] {
        let fault = Fault::from(host.read(driver, 0, false).await.unwrap_err());
        assert!(matches!(fault.code.as_str(), "no-log" | "driver-id"), "{driver:?}: {fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_log_comes_with_where_it_begins() {
    let host = host();
    host.drivers.launch(launch("driver-1", 1, "echo 0123456789"));
    host.started().await;
    assert_eq!(host.exited().await.exit_code, Some(0));
    for (offset, tail_bytes, expected) in [(0, 4, (7, "789\n")), (9, 4, (9, "9\n")), (0, 100, (0, "0123456789\n"))] {
        let (driver_id, stream) = ("driver-1".to_owned(), "stdout".to_owned());
        let request = ReadLogRequest { driver_id, stream, offset, tail_bytes, follow: false };
        let mut answer = host.logs.read_log(Request::new(request)).await.unwrap().into_inner();
        let chunk = in_time(answer.next()).await.unwrap().unwrap();
        let found = (chunk.offset, std::str::from_utf8(&chunk.data).unwrap());
        assert_eq!(found, expected, "from {offset}, the last {tail_bytes}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_followed_is_broken_off_when_the_worker_stops() {
    let host = host();
    host.drivers.launch(launch("driver-1", 1, "exec sleep 1000"));
    host.started().await;
    let (driver_id, stream) = ("driver-1".to_owned(), "stdout".to_owned());
    let request = ReadLogRequest { driver_id, stream, follow: true, ..ReadLogRequest::default() };
    let mut answer = host.logs.read_log(Request::new(request)).await.unwrap().into_inner();
    in_time(host.logs.stop(Duration::ZERO)).await;
    let fault = Fault::from(in_time(answer.next()).await.unwrap().unwrap_err());
    assert_eq!((fault.class, fault.code.as_str()), (ErrorClass::Unavailable, "worker-stopping"));
    in_time(host.drivers.stop(DEADLINE)).await;
}
