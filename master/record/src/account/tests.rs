use lake_proto::ErrorClass;

use super::*;
use crate::query::{AttemptState, OperatorRecord, QueryState, StageRecord};

struct Scene {
    account: Account,
    app: AppId,
    query: QueryId,
}

/// One query with a stage of two tasks that a result stage of one task reads.
fn scene() -> Scene {
    let operators = |names: &[&str]| {
        let operator = |name: &&str| OperatorRecord { name: (*name).to_owned(), ..OperatorRecord::default() };
        names.iter().map(operator).collect()
    };
    let stages = vec![
        StageRecord { stage_id: 1, tasks: 2, operators: operators(&["FilterExec", "Scan"]), ..StageRecord::default() },
        StageRecord { stage_id: 2, inputs: vec![1], tasks: 1, is_result: true, ..StageRecord::default() },
    ];
    let (app, query): (AppId, QueryId) = ("app-1".parse().unwrap(), "q1".parse().unwrap());
    let mut account = Account::default();
    account.accepted(&app, &query, QueryRecord { query_id: "q1".to_owned(), stages, ..QueryRecord::default() });
    Scene { account, app, query }
}

fn worker(number: u32) -> WorkerId {
    format!("worker-{number}").parse().unwrap()
}

fn metrics(rows: u64, names: &[&str]) -> v1::TaskMetrics {
    let operator = |name: &&str| v1::OperatorMetrics {
        name: (*name).to_owned(),
        output_rows: rows,
        compute_ns: 5,
        ..v1::OperatorMetrics::default()
    };
    v1::TaskMetrics {
        rows,
        shuffle_write_rows: rows,
        operators: names.iter().map(operator).collect(),
        ..Default::default()
    }
}

const PLAN: [&str; 2] = ["FilterExec", "Scan"];

fn fault(code: &str) -> Fault {
    Fault::new(ErrorClass::Unavailable, code, "away")
}

impl Scene {
    fn launch(&mut self, task: u32, attempt: u64, on: u32) {
        let launched = AttemptRecord {
            task,
            attempt,
            worker_id: worker(on).to_string(),
            launched_at_ms: attempt * 10,
            ..AttemptRecord::default()
        };
        self.account.launched(&self.query, 1, launched);
    }

    fn end(&mut self, attempt: u64, on: u32, end: AttemptEnd<'_>, metrics: &v1::TaskMetrics) {
        self.account.ended(&self.query, attempt, &worker(on), end, metrics, attempt * 10 + 5);
    }

    fn stage(&self) -> StageRecord {
        self.account.queries(&self.app)[0].stages[0].clone()
    }

    /// Attempt, state, end, and whether it was a second one, of each attempt.
    fn attempts(&self) -> Vec<(u64, AttemptState, u64, bool)> {
        let told =
            |attempt: &AttemptRecord| (attempt.attempt, attempt.state, attempt.ended_at_ms, attempt.is_speculative);
        self.stage().attempts.iter().map(told).collect()
    }
}

#[test]
fn attempts_are_told_from_their_launch_to_the_first_end_that_their_worker_reports() {
    let mut scene = scene();
    scene.launch(0, 1, 1);
    scene.launch(1, 2, 2);
    scene.account.runs(&scene.query, 1, &metrics(3, &[]));
    assert_eq!(scene.stage().attempts[0].totals.rows, 3);
    scene.end(1, 2, AttemptEnd::Done, &metrics(9, &PLAN));
    assert_eq!(scene.attempts()[0].1, AttemptState::Running, "another worker's word");
    scene.end(1, 1, AttemptEnd::Done, &metrics(9, &PLAN));
    scene.end(1, 1, AttemptEnd::Failed(&fault("late")), &metrics(1, &[]));
    scene.end(2, 2, AttemptEnd::Failed(&fault("io")), &v1::TaskMetrics::default());
    scene.end(7, 2, AttemptEnd::Done, &metrics(9, &PLAN));
    let expected = [(1, AttemptState::Success, 15, false), (2, AttemptState::Failed, 25, false)];
    assert_eq!(scene.attempts(), expected);
    let stage = scene.stage();
    assert_eq!((stage.tasks_done, stage.totals().shuffle_write_rows), (1, 9));
    assert_eq!(stage.attempts[1].failure.as_ref().map(|fault| fault.code.as_str()), Some("io"));
    assert_eq!(stage.operators[1].metrics.output_rows, 9);
}

#[test]
fn of_two_attempts_of_a_task_the_loser_was_killed_whatever_it_says_afterwards() {
    let mut scene = scene();
    scene.launch(0, 1, 1);
    scene.launch(0, 2, 2);
    scene.end(2, 2, AttemptEnd::Done, &metrics(4, &PLAN));
    scene.account.told_to_end(&scene.query, 1, None, 26);
    assert_eq!(scene.attempts()[0], (1, AttemptState::Killed, 26, false), "nobody waits for its worker");
    scene.end(1, 1, AttemptEnd::Done, &metrics(4, &PLAN));
    assert_eq!(scene.attempts(), [(1, AttemptState::Killed, 15, false), (2, AttemptState::Success, 25, true)]);
    let stage = scene.stage();
    assert_eq!((stage.tasks_done, stage.operators[0].metrics.output_rows), (1, 4));
}

#[test]
fn an_attempt_that_took_too_long_says_so_and_the_next_one_is_no_second_beside_it() {
    let mut scene = scene();
    scene.launch(0, 1, 1);
    scene.account.told_to_end(&scene.query, 1, Some(&fault("task-timeout")), 12);
    scene.launch(0, 2, 2);
    scene.end(1, 1, AttemptEnd::Cancelled, &v1::TaskMetrics::default());
    let stage = scene.stage();
    assert_eq!(stage.attempts[0].failure.as_ref().map(|fault| fault.code.as_str()), Some("task-timeout"));
    assert_eq!(scene.attempts(), [(1, AttemptState::Killed, 15, false), (2, AttemptState::Running, 0, false)]);
}

#[test]
fn a_lost_worker_loses_what_it_ran_and_an_output_that_is_made_again_is_not_there_meanwhile() {
    let mut scene = scene();
    scene.launch(0, 1, 1);
    scene.launch(1, 2, 1);
    scene.end(1, 1, AttemptEnd::Done, &metrics(4, &PLAN));
    scene.account.worker_lost(&worker(1), 30);
    assert_eq!(scene.attempts(), [(1, AttemptState::Success, 15, false), (2, AttemptState::Lost, 30, false)]);
    scene.launch(0, 3, 2);
    assert_eq!(scene.stage().tasks_done, 0);
    scene.end(3, 2, AttemptEnd::Done, &metrics(4, &PLAN));
    assert_eq!(scene.stage().tasks_done, 1);
    scene.end(2, 1, AttemptEnd::Done, &metrics(4, &PLAN));
    assert_eq!(scene.attempts()[1].1, AttemptState::Lost);
}

#[test]
fn metrics_of_another_plan_are_left_out() {
    let mut scene = scene();
    for (attempt, names) in [(1, &["Scan", "FilterExec"][..]), (2, &["FilterExec"]), (3, &PLAN)] {
        scene.launch(0, attempt, 1);
        scene.end(attempt, 1, AttemptEnd::Done, &metrics(4, names));
    }
    assert_eq!(scene.stage().operators[0].metrics.output_rows, 4);
}

#[test]
fn what_another_leader_has_left_counts_without_an_attempt() {
    let mut scene = scene();
    scene.account.output_taken(&scene.query, 1, 1, &metrics(6, &PLAN));
    scene.account.output_taken(&scene.query, 1, 1, &metrics(0, &[]));
    let stage = scene.stage();
    assert_eq!((stage.tasks_done, stage.attempts.len(), stage.operators[0].metrics.output_rows), (1, 0, 6));
}

#[test]
fn attempts_beyond_the_bound_are_counted_and_their_work_too() {
    let mut scene = scene();
    let most = u64::try_from(StageRecord::MOST_ATTEMPTS).unwrap();
    for attempt in 1..=most + 2 {
        scene.launch(0, attempt, 1);
        scene.end(attempt, 1, AttemptEnd::Failed(&fault("io")), &v1::TaskMetrics::default());
    }
    scene.launch(0, most + 3, 1);
    scene.end(most + 3, 1, AttemptEnd::Done, &metrics(4, &PLAN));
    let stage = scene.stage();
    assert_eq!((stage.attempts.len(), stage.attempts_left_out), (StageRecord::MOST_ATTEMPTS, 3));
    assert_eq!((stage.tasks_done, stage.operators[0].metrics.output_rows), (1, 4));
}

#[test]
fn a_query_ends_once_and_is_handed_out_with_its_application() {
    for (failure, expected) in [
        (None, QueryState::Finished),
        (Some(fault("io")), QueryState::Failed),
        (Some(Fault::new(ErrorClass::Cancelled, "query-cancelled", "")), QueryState::Cancelled),
    ] {
        let Scene { mut account, app, query } = scene();
        account.query_ended(&query, failure.as_ref(), 50);
        account.query_ended(&query, Some(&fault("late")), 60);
        let before = account.queries(&app);
        let queries = account.close(&app);
        assert_eq!(queries, before);
        assert_eq!((queries[0].state, queries[0].ended_at_ms, &queries[0].failure), (expected, 50, &failure));
        assert!(account.queries(&app).is_empty() && account.close(&app).is_empty());
        // Its id is free, and late words about it change nothing.
        account.query_ended(&query, None, 70);
        assert!(account.homes.is_empty() && account.queries.is_empty());
    }
}

#[test]
fn long_faults_are_cut_at_a_character() {
    let mut scene = scene();
    scene.launch(0, 1, 1);
    let long = Fault::new(ErrorClass::Internal, "c", "é".repeat(5_000));
    scene.end(1, 1, AttemptEnd::Failed(&long), &v1::TaskMetrics::default());
    let message = scene.stage().attempts[0].failure.clone().unwrap().message;
    assert_eq!(message.chars().count(), 2_001);
}
