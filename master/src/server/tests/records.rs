//! What a master tells of applications: while they run, when they have ended, and after a restart.

use std::sync::Arc;
use std::time::Duration;

use lake_proto::v1::{self, driver_status};
use lake_proto::{ErrorClass, Fault};
use lake_record::{ApplicationRecord, Origin};
use tokio::time::MissedTickBehavior;

use super::support::{Cluster, FakeWorker, http_get};
use crate::records::SummaryFilter;

const PATIENCE: Duration = Duration::from_secs(20);

/// Asks until there is an answer.
async fn eventually<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    let asking = async {
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// The record of this application, as soon as it is as it should be.
async fn record(cluster: &Cluster, id: &str, is_so: impl Fn(&ApplicationRecord) -> bool) -> Arc<ApplicationRecord> {
    let ask = async || cluster.master().record(id).await.filter(|record| is_so(record));
    eventually("a record", ask).await
}

fn identity(launch: &v1::LaunchDriver) -> Option<v1::DriverIdentity> {
    Some(v1::DriverIdentity { driver_id: launch.driver_id.clone(), epoch: launch.epoch })
}

fn step(table: &str, state: &str) -> v1::StepProgress {
    let reads = vec![v1::StepRead { name: "landing".to_owned(), files: Some(3), ..v1::StepRead::default() }];
    let details = v1::StepDetails { started_at_ms: 5, reads, ..v1::StepDetails::default() };
    v1::StepProgress {
        table: table.to_owned(),
        state: state.to_owned(),
        details: Some(details),
        ..v1::StepProgress::default()
    }
}

async fn report(cluster: &Cluster, launch: &v1::LaunchDriver, steps: Vec<v1::StepProgress>, is_complete: bool) -> bool {
    let report = v1::DriverProgressRequest { driver: identity(launch), steps, is_complete };
    cluster.drivers().await.report_progress(report).await.unwrap().into_inner().wants_all
}

async fn exit(worker: &mut FakeWorker, launch: &v1::LaunchDriver, code: i32) {
    let exited = v1::DriverExited { exit_code: Some(code), signal: 0, failure: None };
    worker.driver_status(launch, driver_status::Outcome::Exited(exited)).await;
}

#[tokio::test]
async fn what_a_driver_has_told_is_there_while_it_runs_and_after_a_restart() {
    let cluster = Cluster::start().await;
    let mut worker = FakeWorker::attach(&cluster, "", vec![]).await;
    let submitted = cluster.submit("s-1").await.unwrap();
    let launch = worker.launch().await;
    worker.started(&launch).await;
    assert!(report(&cluster, &launch, vec![step("a.b", "RUNNING")], false).await, "it wants all steps");
    assert!(!report(&cluster, &launch, vec![step("a.b", "RUNNING"), step("c.d", "PENDING")], true).await);

    let live = record(&cluster, &submitted.driver_id, |record| record.steps.len() == 2).await;
    assert_eq!((live.origin, live.is_partial, live.summary.state.as_str()), (Origin::Live, false, "RUNNING"));
    assert_eq!((live.attempts.len(), live.attempts[0].ended_at_ms), (1, 0));
    assert_eq!(live.steps[0].reads[0].files, Some(3));

    let failure = Fault::new(ErrorClass::DataQuality, "expectation", "3 rows");
    cluster.finish(&launch, Some(failure.clone())).await.unwrap();
    exit(&mut worker, &launch, 8).await;
    let written = cluster.history().join(format!("{}.jsonl.zst", submitted.app_id));
    eventually("its file", async || written.exists().then_some(())).await;

    let cluster = cluster.restart().await;
    let read = record(&cluster, "s-1", |record| record.origin == Origin::History).await;
    assert_eq!((read.summary.state.as_str(), read.is_partial), ("FAILED", false));
    assert_eq!(read.summary.failure, Some(failure));
    assert_eq!((read.attempts[0].exit_code, read.attempts[0].worker_id.as_str()), (Some(8), worker.id.as_str()));
    let steps: Vec<(&str, &str)> = read.steps.iter().map(|step| (step.table.as_str(), step.state.as_str())).collect();
    assert_eq!(steps, [("a.b", "FAILED"), ("c.d", "NOT_RUN")], "what ran has failed with it");
    let (status, json) = http_get(cluster.http_address(), &format!("/api/v1/records/{}", submitted.app_id)).await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((status, &json["origin"], &json["steps"][0]["reads"][0]["files"]), (200, &"history".into(), &3.into()));
    cluster.stop().await;
}

/// Ids of all applications in lists, and how many there are.
async fn listed(cluster: &Cluster, filter: &SummaryFilter, offset: usize, limit: usize) -> (Vec<String>, usize) {
    let (summaries, count) = cluster.master().summaries(filter, offset, limit).await;
    (summaries.into_iter().map(|summary| summary.app_id).collect(), count)
}

#[tokio::test]
async fn lists_have_open_applications_before_ended_ones_and_the_newest_first() {
    let cluster = Cluster::start().await;
    let mut apps = Vec::new();
    for number in 0..4 {
        let submitted = cluster.submit_with_memory(&format!("s-{number}"), 1 << 50).await.unwrap();
        apps.push(submitted.app_id);
    }
    cluster.kill(&apps[1]).await.unwrap();
    cluster.kill(&apps[3]).await.unwrap();
    let all = SummaryFilter::default();
    let expected: Vec<String> = [2, 0, 3, 1].map(|at| apps[at].clone()).into();
    assert_eq!(listed(&cluster, &all, 0, 10).await, (expected.clone(), 4));
    assert_eq!(listed(&cluster, &all, 1, 2).await, (expected[1..3].to_vec(), 4));
    assert_eq!(listed(&cluster, &all, 3, 10).await, (expected[3..].to_vec(), 4));
    assert_eq!(listed(&cluster, &all, 9, 10).await, (vec![], 4));
    let killed = SummaryFilter { states: vec!["KILLED".to_owned()], text: String::new() };
    assert_eq!(listed(&cluster, &killed, 0, 1).await, (vec![apps[3].clone()], 2));
    let named = SummaryFilter { states: vec![], text: apps[0].clone() };
    assert_eq!(listed(&cluster, &named, 0, 9).await, (vec![apps[0].clone()], 1));

    // Killed before a driver of it ran: nothing is missing of it.
    let kept = record(&cluster, &apps[3], |record| record.summary.state == "KILLED").await;
    assert_eq!((kept.is_partial, kept.attempts.len(), kept.summary.attempt), (false, 0, 0));
    assert_eq!(cluster.master().record("app-x").await, None);
    let (status, json) = http_get(cluster.http_address(), "/api/v1/records?status=killed&limit=1").await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((status, &json["count"], &json["applications"][0]["app_id"]), (200, &2.into(), &apps[3].clone().into()));
    assert_eq!(http_get(cluster.http_address(), "/api/v1/records/app-x").await.0, 404);
    cluster.stop().await;
}

#[tokio::test]
async fn an_application_that_another_leader_began_is_told_in_part() {
    let cluster = Cluster::start().await;
    let mut worker = FakeWorker::attach(&cluster, "", vec![]).await;
    let submitted = cluster.submit("s-1").await.unwrap();
    let launch = worker.launch().await;
    worker.started(&launch).await;
    let recorded = v1::StepRecord { table: "a.b".to_owned(), outcome: "COMMITTED".to_owned(), ..Default::default() };
    let request = v1::RecordStepRequest { driver: identity(&launch), step: Some(recorded) };
    cluster.drivers().await.record_step(request).await.unwrap();

    let cluster = cluster.restart().await;
    let live = record(&cluster, &submitted.app_id, |record| record.is_partial).await;
    assert_eq!((live.origin, live.steps[0].state.as_str()), (Origin::Live, "COMMITTED"));
    cluster.finish(&launch, None).await.unwrap();
    let is_written = |record: &ApplicationRecord| record.origin == Origin::History;
    let ended = record(&cluster, &submitted.app_id, is_written).await;
    assert!(ended.is_partial && ended.summary.state == "FINISHED", "{ended:?}");
    let steps = cluster.master().steps().await;
    assert_eq!((steps.len(), steps[0].1[0].table.as_str()), (1, "a.b"));
    cluster.stop().await;
}
