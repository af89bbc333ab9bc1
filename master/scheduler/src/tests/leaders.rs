//! Another leader goes on with what it finds on the workers.

use std::time::Duration;

use lake_proto::v1::master_message::Message;
use lake_proto::v1::query_event::Event;
use lake_proto::{ErrorClass, v1};
use tokio::sync::mpsc;

use super::cluster::{Cluster, DEADLINE, HUGE, Reaction, app, launches, read_answer};
use crate::SchedulerSettings;

const COUNT: &str = "SELECT item, count(*) FROM orders GROUP BY item";
/// Its first stage gives other rows each time, as far as anybody knows.
const BY_CHANCE: &str =
    "SELECT bucket, count(*) > 0 FROM (SELECT floor(random() * 3) AS bucket FROM orders) GROUP BY bucket";

async fn accepted(events: &mut mpsc::Receiver<v1::QueryEvent>) -> v1::QueryAccepted {
    let first = tokio::time::timeout(DEADLINE, events.recv()).await.unwrap().and_then(|event| event.event);
    match first {
        Some(Event::Accepted(accepted)) => accepted,
        other => panic!("the first event is {other:?}"),
    }
}

/// A cluster of two workers whose query has all but its two result tasks, and another leader that has none of it.
async fn interrupted(sql: &str) -> (Cluster, v1::AttachQueryRequest) {
    let mut cluster = Cluster::with(SchedulerSettings::default()).await;
    for _ in 0..2 {
        cluster.join(1, |launch| if launch.is_result { Reaction::Ignore } else { Reaction::Work }).await;
    }
    let request = cluster.request(sql, HUGE).await;
    let mut events = cluster.submit(request.clone()).await;
    let accepted = Some(accepted(&mut events).await);
    let results = |launches: Vec<(_, v1::LaunchTask)>| launches.iter().filter(|(_, launch)| launch.is_result).count();
    cluster.until("both result tasks", |log| results(launches(log)) == 2).await;
    cluster.change_leader(SchedulerSettings::default(), 1).await;
    (cluster, v1::AttachQueryRequest { query: Some(request), accepted, attachment: 1, spent: None })
}

#[tokio::test]
async fn another_leader_runs_only_what_is_missing() {
    for sql in [COUNT, BY_CHANCE] {
        let (cluster, request) = interrupted(sql).await;
        let before = launches(&cluster.sent()).len();
        let events = cluster.scheduler.attach_query(app(), None, request).await.unwrap();
        assert_eq!(read_answer(events).await.unwrap(), cluster.expected(sql).await);
        let again = launches(&cluster.sent()).split_off(before);
        assert_eq!(again.len(), 2, "{again:?}");
        for (_, launch) in again {
            assert!(launch.is_result && launch.task.is_some_and(|task| task.attempt >= 1 << 32));
            assert_eq!(launch.lineage != 0, sql == BY_CHANCE);
        }
        let told = &cluster.scheduler.queries(app()).await[0];
        assert!(told.is_attached && told.stages.iter().all(|stage| stage.tasks_done == stage.tasks));
        let attempts: usize = told.stages.iter().map(|stage| stage.attempts.len()).sum();
        assert_eq!(attempts, 2, "those of the other leader are not told");
        cluster.until("the drops", |log| log.iter().filter(|(_, sent)| is_drop(sent)).count() == 2).await;
        cluster.stop().await;
    }
}

#[tokio::test]
async fn a_driver_is_told_what_its_query_has_used_up_for_the_next_leader() {
    let mut cluster = Cluster::with(SchedulerSettings::default()).await;
    let mut attempts = 0;
    let fails_once = move |_: &v1::LaunchTask| {
        attempts += 1;
        if attempts == 1 { Reaction::FailTransiently } else { Reaction::Ignore }
    };
    cluster.join(1, fails_once).await;
    let mut events = cluster.submit(cluster.request(COUNT, 0).await).await;
    let told = async {
        while let Some(event) = events.recv().await {
            if let Some(Event::Progress(v1::QueryProgress { spent: Some(spent), .. })) = event.event
                && spent != v1::RetriesSpent::default()
            {
                return spent;
            }
        }
        panic!("the channel ends before anything is told")
    };
    let spent = tokio::time::timeout(DEADLINE, told).await.expect("nothing is told");
    assert_eq!(spent.task_failures, [v1::TaskFailures { stage_id: 1, task_index: 0, failures: 1 }]);
    assert!(spent.worker_losses.is_empty());
    cluster.stop().await;
}

#[tokio::test]
async fn a_query_that_is_cut_otherwise_or_was_run_here_is_refused() {
    let (cluster, request) = interrupted(COUNT).await;
    let mut changed = request.clone();
    changed.accepted.as_mut().unwrap().digest += 1;
    let fault = cluster.scheduler.attach_query(app(), None, changed).await.unwrap_err();
    assert_eq!((fault.class, fault.code.as_str()), (ErrorClass::Conflict, "query-changed"));
    let mut nameless = request.clone();
    nameless.attachment = 0;
    assert_eq!(cluster.scheduler.attach_query(app(), None, nameless).await.unwrap_err().code, "request");

    let events = cluster.scheduler.attach_query(app(), None, request.clone()).await.unwrap();
    read_answer(events).await.unwrap();
    let again = v1::AttachQueryRequest { attachment: 2, ..request };
    let fault = cluster.scheduler.attach_query(app(), None, again).await.unwrap_err();
    assert_eq!((fault.class, fault.code.as_str()), (ErrorClass::Conflict, "query-over"));
    cluster.stop().await;
}

#[tokio::test]
async fn what_nobody_attaches_is_dropped_after_the_grace_and_what_is_replaced_at_once() {
    let (mut cluster, request) = interrupted(COUNT).await;
    let old = request.query.unwrap();
    let mut fresh = cluster.request(COUNT, HUGE).await;
    fresh.replaces.clone_from(&old.query_id);
    cluster.submit(fresh).await;
    let dropped = |query_id: &str| Message::DropQuery(v1::DropQuery { query_id: query_id.to_owned() });
    let drops = |log: &[(_, Message)]| log.iter().filter(|(_, sent)| *sent == dropped(&old.query_id)).count();
    cluster.until("two drops", |log| drops(log) == 2).await;

    let settings = SchedulerSettings { attach_grace: Duration::ZERO, ..SchedulerSettings::default() };
    cluster.change_leader(settings, 1).await;
    cluster.until("two more drops", |log| drops(log) == 4).await;
    cluster.stop().await;
}

#[tokio::test]
async fn what_runs_of_a_query_that_waits_for_its_driver_is_not_cancelled() {
    let mut cluster = Cluster::with(SchedulerSettings::default()).await;
    let worker = cluster.join(1, |_| Reaction::Ignore).await;
    let waiting = v1::TaskRef { query_id: "waiting".to_owned(), stage_id: 1, task_index: 0, attempt: 5 };
    let unknown = v1::TaskRef { query_id: "unknown".to_owned(), ..waiting.clone() };
    let running = vec![v1::HeldAttempt { task: Some(waiting.clone()), cores: 1, lineage: 0 }];
    let held = v1::HeldQuery { query_id: "waiting".to_owned(), app_id: app().to_string(), done: vec![], running };
    cluster.scheduler.worker_holds(worker.clone(), v1::Held { queries: vec![held] }).await;
    assert!(cluster.scheduler.needs(worker.clone()).await);
    let heartbeat = v1::Heartbeat { running: vec![waiting, unknown.clone()], ..v1::Heartbeat::default() };
    cluster.scheduler.heartbeat(worker, heartbeat).await;
    let expected = Message::CancelTask(v1::CancelTask { task: Some(unknown) });
    cluster.until("a message", |log| !log.is_empty()).await;
    let sent: Vec<Message> = cluster.sent().into_iter().map(|(_, message)| message).collect();
    assert_eq!(sent, [expected]);
    cluster.stop().await;
}

fn is_drop(message: &Message) -> bool {
    matches!(message, Message::DropQuery(_))
}
