//! What is told of queries, while they run and afterwards.

use std::sync::Arc;
use std::time::Duration;

use lake_proto::v1;
use lake_record::{AttemptState, QueryRecord, QueryState};
use lake_scheduler_core::Speculation;

use super::cluster::{Cluster, HUGE, Reaction, app, launches, once, read_answer};
use crate::SchedulerSettings;

const COUNT: &str = "SELECT item, count(*) FROM orders GROUP BY item";

async fn only(cluster: &Cluster) -> Arc<QueryRecord> {
    let mut queries = cluster.scheduler.queries(app()).await;
    assert_eq!(queries.len(), 1);
    queries.remove(0)
}

fn states(query: &QueryRecord) -> Vec<(String, AttemptState)> {
    let attempts = query.stages.iter().flat_map(|stage| &stage.attempts);
    attempts.map(|attempt| (attempt.worker_id.clone(), attempt.state)).collect()
}

#[tokio::test]
async fn a_query_is_told_with_stages_operators_and_attempts_until_its_application_has_ended() {
    let cluster = Cluster::start(&[1, 1]).await;
    cluster.answer(COUNT, HUGE).await.unwrap();
    let query = only(&cluster).await;
    assert_eq!((query.step.as_str(), query.state, query.is_attached), ("a step", QueryState::Finished, false));
    assert!(query.accepted_at_ms > 0 && query.ended_at_ms >= query.accepted_at_ms);
    assert!(query.stages.len() > 1 && query.stages.last().unwrap().is_result);
    for stage in &query.stages {
        assert_eq!((stage.tasks_done, stage.attempts.len()), (stage.tasks, stage.tasks as usize), "{stage:?}");
        let is_reader = stage.operators.iter().any(|operator| operator.name == "ShuffleReaderExec");
        assert_eq!(is_reader, !stage.inputs.is_empty(), "{:?}", stage.operators);
        assert!(stage.operators.iter().all(|operator| operator.detail.starts_with(&operator.name)));
        for attempt in &stage.attempts {
            assert_eq!((attempt.state, attempt.host.as_str()), (AttemptState::Success, "127.0.0.1"));
            assert!(attempt.launched_at_ms >= query.accepted_at_ms && attempt.ended_at_ms >= attempt.launched_at_ms);
            assert_eq!((attempt.totals.rows, attempt.totals.bytes), (1, 8), "as its worker says");
        }
    }
    assert_eq!(cluster.scheduler.application_ended(app()).await, [query]);
    assert!(cluster.scheduler.queries(app()).await.is_empty());
    assert!(cluster.scheduler.application_ended(app()).await.is_empty());
    cluster.stop().await;
}

#[tokio::test]
async fn attempts_on_a_lost_worker_are_lost_and_those_that_failed_say_why() {
    let mut cluster = Cluster::with(SchedulerSettings::default()).await;
    let lost = cluster.join(1, |_| Reaction::Die).await;
    let fails = cluster.join(1, once(Reaction::FailTransiently, |_| true)).await;
    let request = cluster.request(COUNT, HUGE).await;
    let events = cluster.submit(request).await;
    cluster.until("a task on each worker", |log| launches(log).len() >= 2).await;
    cluster.join(1, |_| Reaction::Work).await;
    assert_eq!(read_answer(events).await.unwrap(), cluster.expected(COUNT).await);
    let query = only(&cluster).await;
    let states = states(&query);
    assert!(states.contains(&(lost.to_string(), AttemptState::Lost)), "{states:?}");
    assert!(states.contains(&(fails.to_string(), AttemptState::Failed)), "{states:?}");
    let failed = query.stages.iter().flat_map(|stage| &stage.attempts).find_map(|attempt| attempt.failure.as_ref());
    assert_eq!(failed.map(|fault| fault.code.as_str()), Some("scripted"));
    assert!(query.stages.iter().all(|stage| stage.tasks_done == stage.tasks));
    cluster.stop().await;
}

#[tokio::test]
async fn an_attempt_that_was_overtaken_was_killed_and_the_other_one_is_a_second() {
    let speculation = Speculation { minimum: Duration::ZERO, ..Speculation::default() };
    let mut cluster = Cluster::with(SchedulerSettings { speculation, ..SchedulerSettings::default() }).await;
    let hangs = cluster.join(1, once(Reaction::Ignore, |_| true)).await;
    cluster.join(1, |_| Reaction::Work).await;
    let mut request = cluster.request(COUNT, HUGE).await;
    request.task_policy = Some(v1::TaskPolicy { speculation: true, task_timeout_ms: 0 });
    let events = cluster.submit(request).await;
    read_answer(events).await.unwrap();
    let (_, hung) = launches(&cluster.sent()).into_iter().find(|(worker, _)| *worker == hangs).unwrap();
    let hung = hung.task.unwrap();
    let query = only(&cluster).await;
    let stage = query.stages.iter().find(|stage| stage.stage_id == hung.stage_id).unwrap();
    let of_task = stage.attempts.iter().filter(|attempt| attempt.task == hung.task_index);
    let told: Vec<(AttemptState, bool)> = of_task.map(|attempt| (attempt.state, attempt.is_speculative)).collect();
    assert_eq!(told, [(AttemptState::Killed, false), (AttemptState::Success, true)]);
    cluster.stop().await;
}

#[tokio::test]
async fn a_query_that_is_given_up_was_cancelled_with_what_it_ran() {
    let mut cluster = Cluster::with(SchedulerSettings::default()).await;
    cluster.join(1, |_| Reaction::Ignore).await;
    let request = cluster.request(COUNT, HUGE).await;
    let events = cluster.submit(request).await;
    cluster.until("a task", |log| launches(log).len() == 1).await;
    let running = only(&cluster).await;
    assert_eq!((running.state, running.stages[0].running()), (QueryState::Running, 1));
    let told = cluster.scheduler.application_ended(app()).await;
    assert_eq!(told[0].state, QueryState::Cancelled);
    assert_eq!(told[0].stages[0].attempts[0].state, AttemptState::Killed);
    assert!(told[0].stages[0].attempts[0].ended_at_ms > 0);
    drop(events);
    cluster.stop().await;
}
