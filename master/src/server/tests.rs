//! The real server in this process on port 0, spoken to with the generated clients. The workers here are gRPC
//! clients that play the worker's part of the protocol; real workers are in `lake-tests`.

mod pages;
mod records;
mod rest;
mod support;
mod web;

use std::time::Duration;

use lake_proto::v1::master_message::Message;
use lake_proto::v1::{self, driver_status, worker_message};
use lake_proto::{ErrorClass, Fault};

use self::support::{Cluster, FakeWorker, http, http_get, submission};

#[tokio::test]
async fn a_job_goes_from_submission_to_its_end() {
    let cluster = Cluster::start().await;
    let mut worker = FakeWorker::attach(&cluster, "", vec![]).await;
    let submitted = cluster.submit("s-1").await.unwrap();
    let launch = worker.launch().await;
    assert_eq!(launch.driver_id, submitted.driver_id);
    assert_eq!(launch.master_url, format!("lake://{}", cluster.address()));
    worker.started(&launch).await;

    let mut watch = cluster.watch(&submitted.driver_id).await;
    let first = watch.message().await.unwrap().unwrap();
    assert_eq!(first.status.unwrap().state, "RUNNING");

    let identity = Some(v1::DriverIdentity { driver_id: launch.driver_id.clone(), epoch: launch.epoch });
    let mut drivers = cluster.drivers().await;
    let start = v1::DriverStartRequest { driver: identity.clone() };
    let started = drivers.start(start).await.unwrap().into_inner();
    assert_eq!(started.pipeline.as_ref(), br#"{"steps":[]}"#);
    assert_eq!((started.attempt, started.steps.len()), (1, 0));
    assert!(started.cores >= 1);

    let progress = v1::StepProgress { table: "a.b".to_owned(), state: "RUNNING".to_owned(), ..Default::default() };
    let report =
        v1::DriverProgressRequest { driver: identity.clone(), steps: vec![progress.clone()], is_complete: true };
    drivers.report_progress(report).await.unwrap();
    let seen = support::until(&mut watch, |update| !update.steps.is_empty()).await;
    assert_eq!(seen.steps, [progress]);

    let step = v1::StepRecord { table: "a.b".to_owned(), outcome: "COMMITTED".to_owned(), ..Default::default() };
    let record = v1::RecordStepRequest { driver: identity.clone(), step: Some(step.clone()) };
    drivers.record_step(record.clone()).await.unwrap();
    drivers.record_step(record).await.unwrap();
    let finish = v1::DriverFinishRequest { driver: identity, failure: None };
    drivers.finish(finish.clone()).await.unwrap();
    drivers.finish(finish).await.unwrap();
    let last = support::until(&mut watch, |update| update.status.as_ref().unwrap().state == "FINISHED").await;
    assert_eq!(last.status.unwrap().steps, [step]);
    assert!(watch.message().await.unwrap().is_none());
    cluster.stop().await;
}

#[tokio::test]
async fn a_submission_sent_twice_is_one_application() {
    let cluster = Cluster::start().await;
    let first = cluster.submit("s-1").await.unwrap();
    assert_eq!(cluster.submit("s-1").await.unwrap(), first);
    let mut other = submission("s-1");
    other.pipeline = br#"{"steps":[1]}"#.as_slice().into();
    let fault = cluster.submit_request(other).await.unwrap_err();
    assert_eq!((fault.class, fault.code.as_str()), (ErrorClass::Conflict, "submission-differs"));
    assert_eq!(cluster.list().await.applications.len(), 1);
    cluster.stop().await;
}

#[tokio::test]
async fn senseless_requests_are_refused_by_class() {
    let cluster = Cluster::start().await;
    for break_it in [
        (|request: &mut v1::SubmitRequest| request.submission_id = "../x".to_owned()) as fn(&mut v1::SubmitRequest),
        |request| request.pipeline = b"\xff".as_slice().into(),
        |request| request.pipeline = b"".as_slice().into(),
        |request| request.options = None,
        |request| request.options.as_mut().unwrap().deploy_mode = "local".to_owned(),
        |request| request.options.as_mut().unwrap().job_name = String::new(),
    ] {
        let mut request = submission("s-1");
        break_it(&mut request);
        assert_eq!(cluster.submit_request(request).await.unwrap_err().class, ErrorClass::InvalidJob);
    }
    let fault = cluster.status("driver-x").await.unwrap_err();
    assert_eq!((fault.class, fault.code.as_str()), (ErrorClass::NotFound, "no-such-application"));
    let fault = cluster.status("a/../b").await.unwrap_err();
    assert_eq!(fault.class, ErrorClass::NotFound);
    cluster.stop().await;
}

#[tokio::test]
async fn every_submission_is_known_in_its_state_after_a_restart() {
    let cluster = Cluster::start().await;
    let mut worker = FakeWorker::attach(&cluster, "", vec![]).await;

    let finished = cluster.submit("s-finished").await.unwrap();
    let launch = worker.launch().await;
    cluster.finish(&launch, None).await.unwrap();
    let failed = cluster.submit("s-failed").await.unwrap();
    let launch = worker.launch().await;
    cluster.finish(&launch, Some(Fault::new(ErrorClass::DataQuality, "c", "m"))).await.unwrap();
    let running = cluster.submit("s-running").await.unwrap();
    let running_launch = worker.launch().await;
    worker.started(&running_launch).await;
    let lost = cluster.submit("s-lost").await.unwrap();
    let lost_launch = worker.launch().await;
    worker.started(&lost_launch).await;
    let killed = cluster.submit_with_memory("s-killed", 1 << 50).await.unwrap();
    cluster.kill(&killed.driver_id).await.unwrap();
    let waiting = cluster.submit_with_memory("s-waiting", 1 << 50).await.unwrap();

    let expected = [
        (&finished, "FINISHED"),
        (&failed, "FAILED"),
        (&running, "RUNNING"),
        (&lost, "RUNNING"),
        (&killed, "KILLED"),
        (&waiting, "SUBMITTED"),
    ];
    for (submitted, state) in expected {
        assert_eq!(cluster.status(&submitted.app_id).await.unwrap().state, state);
    }
    let cluster = cluster.restart().await;
    for (submitted, state) in expected {
        assert_eq!(cluster.status(&submitted.app_id).await.unwrap().state, state);
    }
    assert_eq!(cluster.submit("s-running").await.unwrap(), running);

    // The worker comes back with one of its two drivers.
    let kept = v1::RunningDriver { driver_id: running_launch.driver_id.clone(), epoch: running_launch.epoch };
    let mut again = FakeWorker::attach(&cluster, &worker.id, vec![kept.clone()]).await;
    assert_eq!(again.id, worker.id);
    again.beat_until(vec![kept], async || cluster.status(&lost.app_id).await.unwrap().attempt == 2).await;
    let relaunched = again.launch().await;
    assert_eq!(relaunched.driver_id, lost.driver_id);
    assert!(relaunched.epoch > lost_launch.epoch);
    assert_eq!(cluster.status(&running.app_id).await.unwrap().attempt, 1);
    cluster.finish(&running_launch, None).await.unwrap();
    assert_eq!(cluster.status(&running.app_id).await.unwrap().state, "FINISHED");

    // The older driver may not act any more.
    let fault = cluster.finish(&lost_launch, None).await.unwrap_err();
    assert_eq!((fault.class, fault.code.as_str()), (ErrorClass::Conflict, "stale-epoch"));
    cluster.stop().await;
}

#[tokio::test]
async fn a_worker_whose_process_is_gone_is_lost_at_once_and_its_drivers_move() {
    let cluster = Cluster::start().await;
    let mut first = FakeWorker::attach(&cluster, "", vec![]).await;
    let submitted = cluster.submit("s-1").await.unwrap();
    let launch = first.launch().await;
    first.started(&launch).await;
    let lost = first.id.clone();
    drop(first);
    let mut second = FakeWorker::attach(&cluster, "", vec![]).await;
    let relaunched = second.launch().await;
    assert_eq!(relaunched.driver_id, submitted.driver_id);
    assert!(relaunched.epoch > launch.epoch);
    let workers = cluster.list().await.workers;
    assert_eq!(workers.iter().find(|worker| worker.worker_id == lost).unwrap().state, "LOST");

    let back = FakeWorker::first_message(&cluster, &lost, vec![]).await;
    let Message::Rejected(rejected) = back else { panic!("{back:?}") };
    assert_eq!(rejected.failure.unwrap().code, "worker-lost");
    cluster.stop().await;
}

#[tokio::test]
async fn a_draining_worker_gets_no_driver_and_is_released_when_its_own_has_ended() {
    let cluster = Cluster::start().await;
    let mut first = FakeWorker::attach(&cluster, "", vec![]).await;
    cluster.submit("s-1").await.unwrap();
    let launch = first.launch().await;
    first.started(&launch).await;
    assert_eq!(cluster.drain(&first.id).await, Ok(60_000));
    let told = first.next().await;
    assert!(matches!(told, Message::Drain(_)), "{told:?}");
    first.is_draining = true;
    let kept = v1::RunningDriver { driver_id: launch.driver_id.clone(), epoch: launch.epoch };
    first.beat_until(vec![kept], async || cluster.list().await.workers[0].state == "DRAINING").await;

    let mut second = FakeWorker::attach(&cluster, "", vec![]).await;
    let submitted = cluster.submit("s-2").await.unwrap();
    assert_eq!(second.launch().await.driver_id, submitted.driver_id);
    cluster.finish(&launch, None).await.unwrap();
    first.heartbeat(vec![]).await;
    let told = first.next().await;
    assert!(matches!(told, Message::Released(_)), "{told:?}");

    let id = first.id.clone();
    drop(first);
    let has_left = |worker: &v1::WorkerStatus| worker.worker_id == id && worker.state == "DECOMMISSIONED";
    second.beat_until(vec![], async || cluster.list().await.workers.iter().any(has_left)).await;
    let fault = cluster.drain(&id).await.unwrap_err();
    assert_eq!((fault.class, fault.code.as_str()), (ErrorClass::NotFound, "no-such-worker"));
    let fault = cluster.drain("worker-x").await.unwrap_err();
    assert_eq!((fault.class, fault.code.as_str()), (ErrorClass::NotFound, "no-such-worker"));
    cluster.stop().await;
}

#[tokio::test]
async fn a_killed_driver_is_told_and_over_when_it_is_gone() {
    let cluster = Cluster::start().await;
    let mut worker = FakeWorker::attach(&cluster, "", vec![]).await;
    let submitted = cluster.submit("s-1").await.unwrap();
    let launch = worker.launch().await;
    worker.started(&launch).await;
    let driver = v1::RunningDriver { driver_id: launch.driver_id.clone(), epoch: launch.epoch };
    worker.heartbeat(vec![driver]).await;
    let (killed, ()) = tokio::join!(cluster.kill(&submitted.app_id), async {
        let Message::KillDriver(kill) = worker.next().await else { panic!("no kill") };
        assert_eq!(kill.epoch, launch.epoch);
        let gone = v1::DriverExited { exit_code: None, signal: 15, failure: None };
        worker.driver_status(&launch, driver_status::Outcome::Exited(gone)).await;
    });
    let killed = killed.unwrap();
    assert_eq!(killed.state, "KILLED");
    assert_eq!(killed.failure.unwrap().class, "cancelled");
    cluster.stop().await;
}

#[tokio::test]
async fn a_client_driver_runs_at_once_and_hears_that_it_was_killed() {
    let cluster = Cluster::start().await;
    let mut request = submission("s-1");
    request.options.as_mut().unwrap().deploy_mode = "client".to_owned();
    let submitted = cluster.submit_request(request).await.unwrap();
    assert!(submitted.epoch > 0);
    let identity = Some(v1::DriverIdentity { driver_id: submitted.driver_id.clone(), epoch: submitted.epoch });
    let mut drivers = cluster.drivers().await;
    drivers.start(v1::DriverStartRequest { driver: identity.clone() }).await.unwrap();
    let report = v1::DriverProgressRequest { driver: identity, steps: vec![], is_complete: true };
    let (_, told) = tokio::join!(cluster.kill(&submitted.app_id), async {
        loop {
            if let Err(status) = drivers.report_progress(report.clone()).await {
                let fault = Fault::from(status);
                let launch = v1::LaunchDriver {
                    driver_id: submitted.driver_id.clone(),
                    epoch: submitted.epoch,
                    ..Default::default()
                };
                cluster.finish(&launch, Some(fault.clone())).await.unwrap();
                return fault;
            }
        }
    });
    assert_eq!((told.class, told.code.as_str()), (ErrorClass::Cancelled, "killed"));
    assert_eq!(cluster.status(&submitted.app_id).await.unwrap().state, "KILLED");
    cluster.stop().await;
}

#[tokio::test]
async fn a_worker_with_another_codec_is_refused_and_a_repeated_registration_keeps_its_id() {
    let cluster = Cluster::start().await;
    let mut register = support::register("", 1, vec![]);
    register.codec_version += 1;
    let fault = FakeWorker::open(&cluster, register).await.err().unwrap();
    assert_eq!((fault.class, fault.code.as_str()), (ErrorClass::InvalidJob, "codec-version"));

    let register = support::register("", 1, vec![]);
    let first = FakeWorker::open(&cluster, register.clone()).await.unwrap();
    let second = FakeWorker::open(&cluster, register).await.unwrap();
    assert_eq!(first.id, second.id);
    assert_eq!(cluster.list().await.workers.len(), 1);
    cluster.stop().await;
}

#[tokio::test]
async fn the_log_of_a_driver_without_a_worker_is_not_found() {
    let cluster = Cluster::start().await;
    let submitted = cluster.submit("s-1").await.unwrap();
    let request = v1::LogsRequest { id: submitted.driver_id, stream: "stdout".to_owned(), offset: 0, follow: false };
    let fault = Fault::from(cluster.submissions().await.logs(request).await.err().unwrap());
    assert_eq!((fault.class, fault.code.as_str()), (ErrorClass::NotFound, "no-log"));
    cluster.stop().await;
}

#[tokio::test]
async fn the_log_of_a_driver_is_relayed_from_its_worker() {
    let cluster = Cluster::start().await;
    let mut worker = FakeWorker::with_logs(&cluster).await;
    let submitted = cluster.submit("s-1").await.unwrap();
    worker.launch().await;
    let request = v1::LogsRequest { id: submitted.app_id, stream: "stderr".to_owned(), offset: 5, follow: true };
    let mut log = cluster.submissions().await.logs(request).await.unwrap().into_inner();
    let chunk = log.message().await.unwrap().unwrap();
    assert_eq!(chunk.data.as_ref(), format!("{} stderr from 5, follow true", submitted.driver_id).as_bytes());
    assert!(log.message().await.unwrap().is_none());
    cluster.stop().await;
}

#[tokio::test]
async fn pages_api_and_probes_show_the_cluster() {
    let cluster = Cluster::start().await;
    let mut worker = FakeWorker::attach(&cluster, "", vec![]).await;
    let mut request = submission("s-1");
    request.options.as_mut().unwrap().name = "<b>bold</b>".to_owned();
    let submitted = cluster.submit_request(request).await.unwrap();
    worker.launch().await;
    let get = async |path: String| http_get(cluster.http_address(), &path).await;

    assert_eq!(get("/healthz".to_owned()).await, (200, "ok\n".to_owned()));
    assert_eq!(get("/readyz".to_owned()).await, (200, "leader\n".to_owned()));
    let (status, page) = get("/".to_owned()).await;
    assert_eq!(status, 200);
    assert!(page.contains("&lt;b&gt;bold&lt;/b&gt;") && !page.contains("<b>bold"));
    assert!(page.contains(&worker.id));
    let (status, page) = get(format!("/applications/{}", submitted.app_id)).await;
    assert_eq!(status, 200);
    assert!(page.contains(&submitted.driver_id));
    assert_eq!(get("/applications/app-x".to_owned()).await.0, 404);
    let (_, json) = get(format!("/api/v1/applications/{}", submitted.driver_id)).await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["state"], "RUNNING");
    let (_, json) = get("/api/v1/applications?status=finished,failed".to_owned()).await;
    assert_eq!(json, "[]");
    assert_eq!(get("/api/v1/applications/app-x".to_owned()).await.0, 404);
    let (_, json) = get("/api/v1/workers".to_owned()).await;
    assert!(json.contains("\"state\":\"ALIVE\""));
    let (_, json) = get("/api/v1/version".to_owned()).await;
    assert!(json.contains("\"role\":\"leader\""));
    let (_, metrics) = get("/metrics".to_owned()).await;
    assert!(metrics.contains("lake_master_applications{state=\"RUNNING\"} 1\n"), "{metrics}");
    cluster.stop().await;
}

#[tokio::test]
async fn no_path_of_the_pages_is_a_dead_end_and_every_answer_forbids_what_it_does_not_need() {
    let cluster = Cluster::start().await;
    let ask = async |method: &str, path: &str| http(cluster.http_address(), method, path).await;
    let (status, head, page) = ask("GET", "/").await;
    assert_eq!(status, 200);
    let expected = [
        "text/html",
        "script-src 'self'",
        "frame-ancestors 'none'",
        "x-content-type-options: nosniff",
        "referrer-policy: same-origin",
    ];
    for expected in expected {
        assert!(head.contains(expected), "{expected} is not in {head}");
    }
    let references: Vec<&str> = page.split("=\"/").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(references.contains(&"style.css") && references.contains(&"refresh.js"), "{references:?}");
    for reference in references {
        let (status, head, _) = ask("GET", &format!("/{reference}")).await;
        assert_eq!(status, 200, "{reference}: {head}");
    }
    assert_eq!(ask("GET", "/favicon.ico").await.0, 200);

    let (status, head, body) = ask("HEAD", "/").await;
    assert_eq!((status, body.as_str()), (200, ""), "{head}");
    let (status, head, page) = ask("GET", "/no/such/page").await;
    assert_eq!(status, 404);
    assert!(head.contains("text/html") && page.contains("<a href=\"/\">Workers and applications</a>"), "{page}");
    let (status, head, _) = ask("GET", "/api/v1/nothing").await;
    assert!(status == 404 && head.contains("application/json") && !head.contains("script-src"), "{head}");
    assert_eq!(ask("POST", "/").await.0, 405);
    cluster.stop().await;
}

#[tokio::test]
async fn stopping_ends_open_streams_and_is_quick() {
    let cluster = Cluster::start().await;
    let mut worker = FakeWorker::attach(&cluster, "", vec![]).await;
    let submitted = cluster.submit("s-1").await.unwrap();
    worker.launch().await;
    let mut watch = cluster.watch(&submitted.app_id).await;
    watch.message().await.unwrap();
    tokio::time::timeout(Duration::from_secs(4), cluster.stop()).await.unwrap();
    let end = loop {
        match watch.message().await {
            Ok(Some(_)) => {}
            other => break other,
        }
    };
    assert_eq!(Fault::from(end.unwrap_err()).class, ErrorClass::Unavailable);
    let late = v1::WorkerMessage { message: Some(worker_message::Message::Heartbeat(v1::Heartbeat::default())) };
    worker.closed(late).await;
}

#[tokio::test]
async fn a_killed_driver_that_may_have_committed_is_followed_by_one_that_settles_it() {
    let cluster = Cluster::start().await;
    let mut worker = FakeWorker::attach(&cluster, "", vec![]).await;
    let submitted = cluster.submit("s-1").await.unwrap();
    let launch = worker.launch().await;
    worker.started(&launch).await;
    let identity = |launch: &v1::LaunchDriver| {
        Some(v1::DriverIdentity { driver_id: launch.driver_id.clone(), epoch: launch.epoch })
    };
    let mut drivers = cluster.drivers().await;
    let permit = |launch: &v1::LaunchDriver| v1::PermitCommitRequest {
        driver: identity(launch),
        table: "a.b".to_owned(),
        run_number: 0,
        inputs: "digest".to_owned(),
    };
    drivers.permit_commit(permit(&launch)).await.unwrap();
    let driver = v1::RunningDriver { driver_id: launch.driver_id.clone(), epoch: launch.epoch };
    worker.heartbeat(vec![driver]).await;
    let fenced = v1::StepRecord { table: "a.b".to_owned(), outcome: "FENCED".to_owned(), ..Default::default() };
    let (killed, ()) = tokio::join!(cluster.kill(&submitted.app_id), async {
        let Message::KillDriver(_) = worker.next().await else { panic!("no kill") };
        let gone = v1::DriverExited { exit_code: None, signal: 9, failure: None };
        worker.driver_status(&launch, driver_status::Outcome::Exited(gone)).await;
        let second = worker.launch().await;
        assert!(second.epoch > launch.epoch);
        let start = v1::DriverStartRequest { driver: identity(&second) };
        assert_eq!(drivers.start(start).await.unwrap().into_inner().settle, ["a.b"]);
        let refused = Fault::from(drivers.permit_commit(permit(&second)).await.unwrap_err());
        assert_eq!((refused.class, refused.code.as_str()), (ErrorClass::Cancelled, "killed"));
        let record = v1::RecordStepRequest { driver: identity(&second), step: Some(fenced.clone()) };
        drivers.record_step(record).await.unwrap();
        drivers.finish(v1::DriverFinishRequest { driver: identity(&second), failure: None }).await.unwrap();
    });
    let killed = killed.unwrap();
    assert_eq!((killed.state.as_str(), killed.steps.as_slice()), ("KILLED", [fenced].as_slice()));
    cluster.stop().await;
}
