//! Answers stay right, or failures stay classed, whatever happens to tasks and workers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lake_proto::v1::master_message::Message;
use lake_proto::{ErrorClass, v1};
use lake_scheduler_core::Speculation;

use super::cluster::{Cluster, HUGE, Reaction, Shared, launches, once, read_answer, spoil};
use crate::SchedulerSettings;

const JOIN: &str = "SELECT c.country, count(*), sum(o.amount), count(DISTINCT o.item) \
                    FROM orders o JOIN customers c ON o.customer_id = c.id GROUP BY c.country";

/// The number of attempts one undisturbed run launches.
async fn undisturbed() -> usize {
    undisturbed_on(Cluster::start(&[1, 1]).await).await
}

async fn undisturbed_on(cluster: Cluster) -> usize {
    assert_eq!(cluster.answer(JOIN, HUGE).await.unwrap(), cluster.expected(JOIN).await);
    let count = launches(&cluster.sent()).len();
    cluster.stop().await;
    count
}

#[tokio::test]
async fn a_worker_lost_at_any_task_changes_no_answer() {
    let mut undisturbed = Cluster::start(&[1, 1]).await;
    undisturbed.partition_joins();
    let tasks = undisturbed_on(undisturbed).await;
    assert!(tasks >= 8, "the query is cut into several stages, not {tasks} tasks");
    for dies_at in 0..tasks {
        let mut cluster = Cluster::with(SchedulerSettings::default()).await;
        cluster.partition_joins();
        let mut seen = 0;
        let mortal = move |_: &_| {
            seen += 1;
            if seen > dies_at { Reaction::Die } else { Reaction::Work }
        };
        cluster.join(1, mortal).await;
        cluster.join(1, |_| Reaction::Work).await;
        assert_eq!(cluster.answer(JOIN, HUGE).await.unwrap(), cluster.expected(JOIN).await, "lost at task {dies_at}");
        cluster.stop().await;
    }
}

#[tokio::test]
async fn a_worker_that_joins_after_the_only_one_was_lost_finishes_the_query() {
    let mut cluster = Cluster::with(SchedulerSettings::default()).await;
    cluster.join(1, once(Reaction::Die, |launch| launch.is_result)).await;
    let request = cluster.request(JOIN, HUGE).await;
    let events = cluster.submit(request).await;
    cluster.until("the result task", |log| launches(log).iter().any(|(_, launch)| launch.is_result)).await;
    cluster.join(2, |_| Reaction::Work).await;
    assert_eq!(read_answer(events).await.unwrap(), cluster.expected(JOIN).await);
    cluster.stop().await;
}

#[tokio::test]
async fn statuses_that_come_several_times_count_once() {
    let mut cluster = Cluster::with(SchedulerSettings::default()).await;
    cluster.join(1, |_| Reaction::Stammer).await;
    cluster.join(1, |_| Reaction::Stammer).await;
    assert_eq!(cluster.answer(JOIN, HUGE).await.unwrap(), cluster.expected(JOIN).await);
    cluster.stop().await;
}

#[tokio::test]
async fn outputs_that_vanish_are_made_again() {
    let mut cluster = Cluster::with(SchedulerSettings::default()).await;
    let shuffle = cluster.directory.path().join("shuffle");
    // Before the first result task reads, everything that any attempt has written is gone.
    let mut is_over = false;
    cluster
        .join(1, move |launch| {
            let task = launch.task.as_ref().unwrap();
            if launch.is_result && !is_over {
                is_over = true;
                (1..task.attempt).for_each(|attempt| spoil(&shuffle, &task.query_id, attempt));
            }
            Reaction::Work
        })
        .await;
    assert_eq!(cluster.answer(JOIN, HUGE).await.unwrap(), cluster.expected(JOIN).await);
    assert!(launches(&cluster.sent()).len() > undisturbed().await, "tasks were repeated");
    cluster.stop().await;
}

#[tokio::test]
async fn rows_placed_by_chance_are_all_there_once_when_their_placement_is_lost_between_two_readers() {
    const BY_CHANCE: &str = "SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY bucket ORDER BY id) AS nth \
                             FROM (SELECT id, floor(random() * 50) AS bucket FROM orders)) WHERE nth > 0";
    let mut cluster = Cluster::with(SchedulerSettings::default()).await;
    let shuffle = cluster.directory.path().join("shuffle");
    let mut results = 0;
    // The first result task has answered; before the second one reads, everything that it would read is gone.
    cluster
        .join(1, move |launch| {
            let task = launch.task.as_ref().unwrap();
            results += u32::from(launch.is_result);
            if launch.is_result && results == 2 {
                (1..task.attempt).for_each(|attempt| spoil(&shuffle, &task.query_id, attempt));
            }
            Reaction::Work
        })
        .await;
    let found = cluster.answer(BY_CHANCE, HUGE).await.unwrap();
    assert_eq!(found, cluster.expected("SELECT id FROM orders").await);
    let mut attempts: BTreeMap<u32, u32> = BTreeMap::new();
    for (_, launch) in launches(&cluster.sent()).iter().filter(|(_, launch)| launch.is_result) {
        *attempts.entry(launch.task.as_ref().unwrap().task_index).or_default() += 1;
    }
    assert_eq!(attempts, BTreeMap::from([(0, 2), (1, 2)]), "both have read the placement that counts");
    cluster.stop().await;
}

#[tokio::test]
async fn every_task_may_fail_once_for_a_while() {
    let mut cluster = Cluster::with(SchedulerSettings::default()).await;
    let failed: Shared<BTreeMap<(u32, u32), u32>> = Arc::default();
    for _ in 0..2 {
        let failed = failed.clone();
        cluster
            .join(1, move |launch| {
                let task = launch.task.as_ref().unwrap();
                let mut failed = failed.lock().unwrap();
                let count = failed.entry((task.stage_id, task.task_index)).or_default();
                *count += 1;
                if *count == 1 { Reaction::FailTransiently } else { Reaction::Work }
            })
            .await;
    }
    assert_eq!(cluster.answer(JOIN, HUGE).await.unwrap(), cluster.expected(JOIN).await);
    let attempts = launches(&cluster.sent());
    assert_eq!(attempts.len(), 2 * undisturbed().await);
    for (worker, launch) in &attempts {
        let task = launch.task.as_ref().unwrap();
        let others = attempts.iter().filter(|(_, other)| {
            let other = other.task.as_ref().unwrap();
            (other.stage_id, other.task_index) == (task.stage_id, task.task_index) && other.attempt != task.attempt
        });
        others.for_each(|(other, _)| assert_ne!(other, worker, "a retry goes to the other worker"));
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_lasting_failure_ends_the_query_with_its_class() {
    let task_pause = Duration::from_millis(100);
    let mut cluster = Cluster::with(SchedulerSettings { task_pause, ..SchedulerSettings::default() }).await;
    cluster.join(1, |_| Reaction::FailTransiently).await;
    let began = Instant::now();
    let fault = cluster.answer(JOIN, HUGE).await.unwrap_err();
    assert_eq!((fault.class, fault.code.as_str()), (ErrorClass::Unavailable, "scripted"));
    assert!(began.elapsed() >= task_pause * 3, "the third and the fourth attempt came too early");
    cluster.stop().await;
}

#[tokio::test]
async fn a_task_that_hangs_is_overtaken_on_another_worker_where_the_application_wants_that() {
    let speculation = Speculation { minimum: Duration::ZERO, ..Speculation::default() };
    let mut cluster = Cluster::with(SchedulerSettings { speculation, ..SchedulerSettings::default() }).await;
    let hangs = cluster.join(1, once(Reaction::Ignore, |_| true)).await;
    cluster.join(1, |_| Reaction::Work).await;
    let mut request = cluster.request(JOIN, HUGE).await;
    request.task_policy = Some(v1::TaskPolicy { speculation: true, task_timeout_ms: 0 });
    let events = cluster.submit(request).await;
    assert_eq!(read_answer(events).await.unwrap(), cluster.expected(JOIN).await);
    let (_, hung) = launches(&cluster.sent()).into_iter().find(|(worker, _)| *worker == hangs).unwrap();
    let cancel = (hangs, Message::CancelTask(v1::CancelTask { task: hung.task }));
    cluster.until("the end of the attempt that hangs", |log| log.contains(&cancel)).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_task_that_hangs_everywhere_ends_the_query_with_its_stage_worker_and_limit() {
    let task_timeout = Some(Duration::from_millis(1));
    let mut cluster = Cluster::with(SchedulerSettings { task_timeout, ..SchedulerSettings::default() }).await;
    cluster.join(1, |_| Reaction::Ignore).await;
    let fault = cluster.answer(JOIN, HUGE).await.unwrap_err();
    assert_eq!((fault.class, fault.code.as_str()), (ErrorClass::Resource, "task-timeout"));
    for part in ["stage 1 (", "worker-0", "1ms", "job.task_timeout"] {
        assert!(fault.message.contains(part), "{fault}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_failure_for_good_ends_the_query_at_the_first_attempt() {
    let mut cluster = Cluster::with(SchedulerSettings::default()).await;
    cluster.join(1, |_| Reaction::FailForGood).await;
    let fault = cluster.answer(JOIN, HUGE).await.unwrap_err();
    assert_eq!((fault.class, fault.code.as_str()), (ErrorClass::InvalidJob, "scripted"));
    assert_eq!(launches(&cluster.sent()).len(), 1);
    cluster.stop().await;
}

#[tokio::test]
async fn an_error_of_the_query_itself_keeps_its_class() {
    let cluster = Cluster::start(&[1, 1]).await;
    let sql = "SELECT sum(CAST(item AS BIGINT)) FROM orders GROUP BY customer_id";
    for scan_bytes in [0, HUGE] {
        let fault = cluster.answer(sql, scan_bytes).await.unwrap_err();
        assert_eq!(fault.class, ErrorClass::InvalidJob, "{fault:?}");
    }
    cluster.stop().await;
}
