//! What workers and drivers are told, and when.

use std::time::Duration;

use bytes::Bytes;
use lake_proto::v1::master_message::Message;
use lake_proto::v1::query_event::Event;
use lake_proto::{ErrorClass, v1};

use super::cluster::{Cluster, DEADLINE, EPOCH, HUGE, Reaction, app, launches, once, read_answer};
use crate::SchedulerSettings;

const COUNT: &str = "SELECT item, count(*) FROM orders GROUP BY item";

fn drops(log: &[(lake_proto::WorkerId, Message)]) -> usize {
    log.iter().filter(|(_, message)| matches!(message, Message::DropQuery(_))).count()
}

#[tokio::test]
async fn a_query_is_announced_once_to_each_worker_and_dropped_there_at_its_end() {
    let cluster = Cluster::start(&[1, 1]).await;
    cluster.answer(COUNT, HUGE).await.unwrap();
    cluster.until("two drops", |log| drops(log) == 2).await;
    for worker in ["worker-0", "worker-1"] {
        let log: Vec<_> = cluster.sent().into_iter().filter(|(id, _)| id.as_str() == worker).collect();
        assert!(matches!(&log[0].1, Message::PrepareQuery(prepare) if prepare.app_id == app().as_str()));
        assert!(matches!(log.last().unwrap().1, Message::DropQuery(_)));
        let told = |message: &Message| match message {
            Message::PrepareQuery(prepare) => Some((prepare.app_id.clone(), prepare.epoch)),
            Message::LaunchTask(launch) => Some((launch.app_id.clone(), launch.epoch)),
            _ => None,
        };
        let owner = (app().as_str().to_owned(), EPOCH);
        assert!(log.iter().filter_map(|(_, message)| told(message)).all(|told| told == owner));
        let announced = log.iter().filter(|(_, message)| matches!(message, Message::PrepareQuery(_))).count();
        assert_eq!(announced, 1);
    }
    assert_eq!(cluster.scheduler.overview().await.queries, []);
    cluster.stop().await;
}

#[tokio::test]
async fn dropping_the_channel_cancels_the_tasks_and_then_drops_the_query() {
    let mut cluster = Cluster::with(SchedulerSettings::default()).await;
    cluster.join(2, |_| Reaction::Ignore).await;
    let request = cluster.request(COUNT, HUGE).await;
    let events = cluster.submit(request).await;
    cluster.until("two tasks", |log| launches(log).len() == 2).await;
    let overview = cluster.scheduler.overview().await;
    assert_eq!(overview.workers[0].used, 2);
    assert_eq!(overview.queries[0].stages[0].tasks_running, 2);
    drop(events);
    cluster.until("a drop", |log| drops(log) == 1).await;
    let cancelled = cluster.sent().iter().filter(|(_, message)| matches!(message, Message::CancelTask(_))).count();
    assert_eq!(cancelled, 2);
    assert_eq!(cluster.scheduler.overview().await.workers[0].used, 0);
    cluster.stop().await;
}

#[tokio::test]
async fn the_end_of_an_application_cancels_its_queries() {
    let mut cluster = Cluster::with(SchedulerSettings::default()).await;
    cluster.join(1, |_| Reaction::Ignore).await;
    let request = cluster.request(COUNT, HUGE).await;
    let events = cluster.submit(request).await;
    cluster.scheduler.application_ended(app()).await;
    assert_eq!(read_answer(events).await.unwrap_err().class, ErrorClass::Cancelled);
    cluster.stop().await;
}

#[tokio::test]
async fn requests_that_cannot_be_run_are_refused() {
    let cluster = Cluster::start(&[1]).await;
    let request = cluster.request(COUNT, 0).await;
    let refused = |change: fn(&mut v1::RunQueryRequest)| {
        let mut request = request.clone();
        change(&mut request);
        let scheduler = cluster.scheduler.clone();
        async move { scheduler.run_query(app(), None, request).await.unwrap_err() }
    };
    assert_eq!(refused(|request| request.codec_version += 1).await.code, "codec-version");
    assert_eq!(refused(|request| request.query_id = "../q".to_owned()).await.code, "query-id");
    let fault = refused(|request| request.plan = b"not a plan".as_slice().into()).await;
    assert!(fault.message.contains("a step"), "{fault:?}");
    read_answer(cluster.submit(request.clone()).await).await.unwrap();
    let again = cluster.scheduler.run_query(app(), None, request.clone()).await.unwrap_err();
    assert_eq!((again.class, again.code.as_str()), (ErrorClass::InvalidJob, "query-id"));
    cluster.scheduler.shutdown().await;
    let late = cluster.scheduler.run_query(app(), None, request).await.unwrap_err();
    assert_eq!(late.class, ErrorClass::Unavailable);
}

#[tokio::test]
async fn shutdown_ends_running_queries_as_unavailable() {
    let mut cluster = Cluster::with(SchedulerSettings::default()).await;
    cluster.join(1, |_| Reaction::Ignore).await;
    let request = cluster.request(COUNT, HUGE).await;
    let events = cluster.submit(request).await;
    cluster.scheduler.shutdown().await;
    assert_eq!(read_answer(events).await.unwrap_err().class, ErrorClass::Unavailable);
}

#[tokio::test]
async fn without_workers_a_query_fails_after_the_grace() {
    let settings = SchedulerSettings { worker_grace: Duration::ZERO, ..SchedulerSettings::default() };
    let cluster = Cluster::with(settings).await;
    let fault = cluster.answer(COUNT, 0).await.unwrap_err();
    assert_eq!((fault.class, fault.code.as_str()), (ErrorClass::Unavailable, "no-workers"));
    cluster.stop().await;
}

#[tokio::test]
async fn an_attempt_that_two_heartbeats_lack_is_launched_again_elsewhere() {
    let settings = SchedulerSettings { watchdog: Duration::ZERO, ..SchedulerSettings::default() };
    let mut cluster = Cluster::with(settings).await;
    let silent = cluster.join(1, |_| Reaction::Ignore).await;
    let request = cluster.request(COUNT, 0).await;
    let events = cluster.submit(request).await;
    cluster.until("the task", |log| launches(log).len() == 1).await;
    cluster.join(1, |_| Reaction::Work).await;
    cluster.scheduler.heartbeat(silent.clone(), v1::Heartbeat::default()).await;
    cluster.scheduler.heartbeat(silent.clone(), v1::Heartbeat::default()).await;
    assert_eq!(read_answer(events).await.unwrap(), cluster.expected(COUNT).await);
    let workers: Vec<String> = launches(&cluster.sent()).iter().map(|(worker, _)| worker.to_string()).collect();
    assert_eq!(workers, ["worker-0", "worker-1"]);
    cluster.stop().await;
}

#[tokio::test]
async fn a_reported_attempt_that_nobody_knows_is_cancelled_and_a_known_one_feeds_progress() {
    let mut cluster = Cluster::with(SchedulerSettings::default()).await;
    let worker = cluster.join(1, |_| Reaction::Ignore).await;
    let request = cluster.request(COUNT, 0).await;
    let query_id = request.query_id.clone();
    let mut events = cluster.submit(request).await;
    cluster.until("the task", |log| launches(log).len() == 1).await;
    let known = v1::TaskRef { query_id, stage_id: 1, task_index: 0, attempt: 1 };
    let unknown = v1::TaskRef { attempt: 77, ..known.clone() };
    let metrics = v1::TaskMetrics { rows: 123, bytes: 456, ..v1::TaskMetrics::default() };
    let heartbeat =
        v1::Heartbeat { running: vec![known, unknown.clone()], metrics: vec![metrics], ..v1::Heartbeat::default() };
    cluster.scheduler.heartbeat(worker, heartbeat).await;
    let expected = Message::CancelTask(v1::CancelTask { task: Some(unknown) });
    cluster.until("a cancel", |log| log.iter().any(|(_, message)| *message == expected)).await;
    let is_told = async {
        loop {
            match events.recv().await.and_then(|event| event.event) {
                Some(Event::Progress(progress)) if progress.stages[0].rows == 123 => return,
                Some(_) => {}
                None => panic!("the query ended"),
            }
        }
    };
    tokio::time::timeout(DEADLINE, is_told).await.expect("progress shows the rows");
    cluster.stop().await;
}

#[tokio::test]
async fn a_worker_whose_stream_is_opened_again_goes_on_with_the_query() {
    let mut cluster = Cluster::with(SchedulerSettings::default()).await;
    let worker = cluster.join(1, |_| Reaction::Ignore).await;
    let request = cluster.request(COUNT, HUGE).await;
    let query_id = request.query_id.clone();
    let events = cluster.submit(request).await;
    cluster.until("the first task", |log| launches(log).len() == 1).await;
    cluster.reattach(&worker, 1).await;
    assert_eq!(cluster.scheduler.total_cores(), 1);
    // The first task fails on the new stream; everything after it comes there, after a new announcement.
    let task = Some(v1::TaskRef { query_id, stage_id: 1, task_index: 0, attempt: 1 });
    let failed = v1::TaskFailed { failure: None, transient: true, fetch: None };
    let status =
        v1::TaskStatus { seq: 1, task, outcome: Some(v1::task_status::Outcome::Failed(failed)), metrics: None };
    cluster.scheduler.task_status(worker, status).await;
    assert_eq!(read_answer(events).await.unwrap(), cluster.expected(COUNT).await);
    cluster.stop().await;
}

#[tokio::test]
async fn a_draining_worker_gets_no_task_and_does_not_count() {
    let mut cluster = Cluster::start(&[2]).await;
    let worker = cluster.join(1, |_| Reaction::Work).await;
    cluster.scheduler.worker_draining(worker.clone()).await;
    cluster.answer(COUNT, HUGE).await.unwrap();
    assert_eq!(cluster.scheduler.total_cores(), 2);
    assert!(launches(&cluster.sent()).iter().all(|(id, _)| *id != worker));
    assert!(!cluster.scheduler.needs(worker).await);
    cluster.stop().await;
}

#[tokio::test]
async fn results_on_workers_stay_until_the_driver_is_gone() {
    let mut cluster = Cluster::with(SchedulerSettings::default()).await;
    let worker = cluster.join(1, once(Reaction::Ignore, |_| true)).await;
    let request = cluster.request(COUNT, 0).await;
    let query_id = request.query_id.clone();
    let mut events = cluster.submit(request).await;
    cluster.until("the task", |log| launches(log).len() == 1).await;
    let task = Some(v1::TaskRef { query_id, stage_id: 1, task_index: 0, attempt: 1 });
    let done = v1::TaskDone { outputs: Vec::new(), inline_ipc: Bytes::new(), ticket: b"here".as_slice().into() };
    let status = v1::TaskStatus { seq: 1, task, outcome: Some(v1::task_status::Outcome::Done(done)), metrics: None };
    assert!(cluster.scheduler.needs(worker.clone()).await, "it runs the task");
    cluster.scheduler.task_status(worker.clone(), status).await;
    let mut location = None;
    loop {
        match events.recv().await.and_then(|event| event.event) {
            Some(Event::Result(result)) => location = result.location,
            Some(Event::Finished(finished)) => {
                assert_eq!((finished.tasks, finished.failure), (1, None));
                break;
            }
            Some(Event::Accepted(_) | Event::Progress(_)) => {}
            None => panic!("the channel ended"),
        }
    }
    assert_eq!(location.unwrap().ticket.as_ref(), b"here");
    assert_eq!(cluster.scheduler.overview().await.queries.len(), 0, "its cores are free");
    assert_eq!(drops(&cluster.sent()), 0);
    assert!(cluster.scheduler.needs(worker.clone()).await, "it has the result");
    drop(events);
    cluster.until("a drop", |log| drops(log) == 1).await;
    assert!(!cluster.scheduler.needs(worker).await);
    cluster.stop().await;
}

#[tokio::test]
async fn rows_beyond_the_limit_end_the_query_instead_of_the_master() {
    let settings = SchedulerSettings { max_inline_bytes: 10, ..SchedulerSettings::default() };
    let mut cluster = Cluster::with(settings).await;
    cluster.join(1, |_| Reaction::Work).await;
    let fault = cluster.answer(COUNT, 0).await.unwrap_err();
    assert_eq!((fault.class, fault.code.as_str()), (ErrorClass::Resource, "result-size"));
    cluster.stop().await;
}
