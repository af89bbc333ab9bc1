use std::collections::BTreeMap;
use std::time::Duration;

use lake_proto::v1::task_status::Outcome;
use lake_proto::{ErrorClass, Fault, host, v1};
use proptest::prelude::*;

use crate::check::{Checked, check};
use crate::{Ending, Metric, Moves, Page, Tally, master, process, spark, worker};

fn master_page(figures: &master::Figures, moves: &Moves, tally: &Tally) -> Checked {
    let mut page = Page::new();
    master::write(&mut page, figures, moves, tally);
    process::write(&mut page, "0.1.0", &host::process_figures(), process::Spans { exported: 5, dropped: 1 });
    check(&page.into_text()).unwrap()
}

fn worker_page(figures: &worker::Figures, tally: &worker::Tally) -> Checked {
    let mut page = Page::new();
    worker::write(&mut page, figures, tally);
    process::write(&mut page, "0.1.0", &host::process_figures(), process::Spans::default());
    check(&page.into_text()).unwrap()
}

/// Every metric that was declared is on the page, and nothing else.
fn assert_complete(page: &Checked, declared: &[&[Metric]]) {
    let declared: BTreeMap<&str, &str> =
        declared.iter().flat_map(|all| all.iter()).map(|metric| (metric.name, metric.kind.name())).collect();
    let found: BTreeMap<&str, &str> = page.kinds.iter().map(|(name, kind)| (name.as_str(), kind.as_str())).collect();
    assert_eq!(found, declared);
}

fn leader() -> master::Figures {
    let member =
        |id, lag, is_active| master::Member { id, is_voter: id < 3, lag: Some(lag), is_active: Some(is_active) };
    master::Figures {
        uptime: Duration::from_millis(1_500),
        role: master::Role::Leader,
        term: 7,
        members: vec![member(1, 0, true), member(2, 12, false), member(3, 400, true)],
        applications: BTreeMap::from([("RUNNING", 2), ("SUBMITTED", 3), ("RELAUNCHING", 1), ("FINISHED", 9)]),
        workers: BTreeMap::from([("ALIVE", 2), ("LOST", 1)]),
        cores: 8,
        cores_used: 3,
        ..master::Figures::default()
    }
}

fn step(table: &str, outcome: &str) -> v1::StepRecord {
    let violated = v1::ExpectationResult { violations: 2, ..v1::ExpectationResult::default() };
    v1::StepRecord {
        table: table.to_owned(),
        outcome: outcome.to_owned(),
        rows_in: 10,
        rows_out: 8,
        bytes_out: 100,
        files: 1,
        elapsed_ms: 2_500,
        commit_ms: 30,
        expectations: vec![violated.clone(), violated],
        ..v1::StepRecord::default()
    }
}

#[test]
fn a_masters_page_has_every_metric_and_keeps_every_rule() {
    let (moves, tally) = (Moves::default(), Tally::default());
    for figures in [master::Figures::default(), leader()] {
        assert_complete(&master_page(&figures, &moves, &tally), &[master::ALL, process::ALL]);
    }
}

#[test]
fn a_masters_page_tells_what_it_was_given() {
    let (moves, tally) = (Moves::default(), Tally::default());
    moves.snapshot_written(4_096);
    moves.application_ended("FAILED", Some(ErrorClass::DataQuality));
    moves.application_ended("FINISHED", None);
    moves.driver_relaunches.add_one(ErrorClass::Unavailable);
    moves.proposal_seconds.observe(Duration::from_millis(3));
    tally.query_accepted();
    tally.query_ended(None, Duration::from_secs(2));
    tally.query_ended(Some(&Fault::new(ErrorClass::Cancelled, "c", "m")), Duration::from_secs(9_000));
    tally.task_ended(Ending::Done, Duration::from_millis(20));
    tally.task_ended(Ending::Failed(ErrorClass::Resource), Duration::from_secs(1));
    tally.task_ended(Ending::Lost, Duration::ZERO);
    tally.step_recorded("nightly \"v2\"", &step("a.b", "COMMITTED"));
    tally.step_recorded("nightly \"v2\"", &step("a.b", "COMMITTED"));
    tally.step_recorded("other", &step("a.b", "SKIPPED"));
    tally.step_recorded("other", &step("a.b", "SOMETHING NEW"));
    let page = master_page(&leader(), &moves, &tally);
    let rows = [
        ("lake_master_uptime_seconds", 1.5),
        ("lake_master_is_leader", 1.0),
        ("lake_master_role{role=\"leader\"}", 1.0),
        ("lake_master_role{role=\"no_quorum\"}", 0.0),
        ("lake_master_raft_voters", 2.0),
        ("lake_master_raft_member_lag_entries{member=\"3\"}", 400.0),
        ("lake_master_raft_member_active{member=\"2\"}", 0.0),
        ("lake_master_raft_snapshot_bytes", 4_096.0),
        ("lake_master_raft_proposal_seconds_bucket{le=\"0.005\"}", 1.0),
        ("lake_master_queued_applications", 4.0),
        ("lake_master_applications{state=\"RUNNING\"}", 2.0),
        ("lake_master_applications{state=\"KILLED\"}", 0.0),
        ("lake_master_applications_ended_total{state=\"FAILED\"}", 1.0),
        ("lake_master_application_failures_total{class=\"data-quality\"}", 1.0),
        ("lake_master_driver_relaunches_total{class=\"unavailable\"}", 1.0),
        ("lake_master_workers{state=\"LOST\"}", 1.0),
        ("lake_master_cores_free", 5.0),
        ("lake_master_queries_total", 1.0),
        ("lake_query_duration_seconds_sum{outcome=\"finished\"}", 2.0),
        ("lake_query_duration_seconds_bucket{outcome=\"cancelled\",le=\"7200\"}", 0.0),
        ("lake_query_duration_seconds_count{outcome=\"cancelled\"}", 1.0),
        ("lake_task_duration_seconds_bucket{outcome=\"done\",le=\"0.01\"}", 0.0),
        ("lake_task_duration_seconds_bucket{outcome=\"done\",le=\"0.05\"}", 1.0),
        ("lake_task_duration_seconds_count{outcome=\"lost\"}", 1.0),
        ("lake_task_failures_total{class=\"resource\"}", 1.0),
        ("lake_steps_total{outcome=\"COMMITTED\"}", 2.0),
        ("lake_steps_total{outcome=\"SKIPPED\"}", 1.0),
        ("lake_steps_total{outcome=\"UNKNOWN\"}", 1.0),
        ("lake_commit_duration_seconds_count", 2.0),
        ("lake_step_output_rows_total{job_name=\"nightly \\\"v2\\\"\",table=\"a.b\"}", 16.0),
        ("lake_step_violations_total{job_name=\"nightly \\\"v2\\\"\",table=\"a.b\"}", 8.0),
        ("lake_step_elapsed_seconds_total{job_name=\"nightly \\\"v2\\\"\",table=\"a.b\"}", 5.0),
        ("lake_trace_spans_dropped_total", 1.0),
        ("lake_build_info{version=\"0.1.0\"}", 1.0),
    ];
    for (series, expected) in rows {
        assert_eq!(page.samples.get(series), Some(&expected), "{series}");
    }
}

#[test]
fn a_workers_page_has_every_metric_and_counts_attempts_by_their_statuses() {
    let tally = worker::Tally::default();
    assert_complete(&worker_page(&worker::Figures::default(), &tally), &[worker::ALL, process::ALL]);
    let metrics = v1::TaskMetrics { rows: 5, elapsed_ms: 700, spilled_bytes: 64, ..v1::TaskMetrics::default() };
    let ended = |outcome| v1::TaskStatus { outcome, metrics: Some(metrics.clone()), ..v1::TaskStatus::default() };
    let file = v1::ShuffleOutput { num_bytes: 1_000, ..v1::ShuffleOutput::default() };
    let done = v1::TaskDone { outputs: vec![file, file], ..v1::TaskDone::default() };
    tally.attempt_ended(&ended(Some(Outcome::Done(done))));
    tally.attempt_ended(&ended(Some(Outcome::Cancelled(v1::Ack {}))));
    let failure = Some(Fault::new(ErrorClass::Unavailable, "shuffle-fetch", "gone").into());
    tally.attempt_ended(&ended(Some(Outcome::Failed(v1::TaskFailed { failure, ..v1::TaskFailed::default() }))));
    tally.attempt_ended(&ended(None));
    tally.shuffle_served_bytes.add(77);
    let figures = worker::Figures { is_registered: true, tasks_running: 2, ..worker::Figures::default() };
    let page = worker_page(&figures, &tally);
    let rows = [
        ("lake_worker_registered", 1.0),
        ("lake_worker_tasks_running", 2.0),
        ("lake_worker_tasks_total{outcome=\"done\"}", 1.0),
        ("lake_worker_tasks_total{outcome=\"failed\"}", 1.0),
        ("lake_worker_tasks_total{outcome=\"cancelled\"}", 1.0),
        ("lake_worker_task_failures_total{class=\"unavailable\"}", 1.0),
        ("lake_worker_task_duration_seconds_bucket{outcome=\"done\",le=\"1\"}", 1.0),
        ("lake_worker_output_rows_total", 5.0),
        ("lake_worker_spilled_bytes_total", 64.0),
        ("lake_worker_shuffle_written_bytes_total", 2_000.0),
        ("lake_worker_shuffle_served_bytes_total", 77.0),
    ];
    for (series, expected) in rows {
        assert_eq!(page.samples.get(series), Some(&expected), "{series}");
    }
}

#[test]
fn spark_finds_its_own_names() {
    let text = spark::master(&leader());
    for line in [
        "metrics_master_aliveWorkers_Value{type=\"gauges\"} 2\n",
        "metrics_master_workers_Number{type=\"gauges\"} 3\n",
        "metrics_master_apps_Value{type=\"gauges\"} 2\n",
        "metrics_master_waitingApps_Value{type=\"gauges\"} 4\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    let figures = worker::Figures {
        cores: 4,
        cores_used: 3,
        applications: 2,
        memory_bytes: 10 << 20,
        reserved_bytes: 4 << 20,
        ..worker::Figures::default()
    };
    let text = spark::worker(&figures);
    for line in [
        "coresFree_Value{type=\"gauges\"} 1\n",
        "executors_Number{type=\"gauges\"} 2\n",
        "memFree_MB_Value{type=\"gauges\"} 6\n",
    ] {
        assert!(text.contains(&format!("metrics_worker_{line}")), "{line} in {text}");
    }
}

proptest! {
    #[test]
    fn no_name_of_a_job_or_table_breaks_the_page(job in any::<String>(), table in any::<String>()) {
        // Prometheus reads lines; what else is a control character is the job's name all the same.
        let (job, table) = (job.replace('\r', ""), table.replace('\r', ""));
        let tally = Tally::default();
        tally.step_recorded(&job, &step(&table, "COMMITTED"));
        let page = master_page(&master::Figures::default(), &Moves::default(), &tally);
        let is_there = page.samples.keys().any(|series| series.starts_with("lake_step_input_rows_total{"));
        prop_assert!(is_there);
    }
}
