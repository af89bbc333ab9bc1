use super::*;
use crate::asked::Asked;
use crate::fixture::{attempt, record, stage};
use crate::sound::{ESCAPED, assert_sound};

fn asked(pairs: &[(&str, &str)]) -> Wanted {
    let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Wanted::of(&Asked::new(pairs)).unwrap()
}

fn drawn(query: &QueryRecord, wanted: &[(&str, &str)]) -> String {
    let record = record();
    let page = super::query(&Query { record: &record, query, wanted: &asked(wanted), now_ms: 66_000 });
    let page = page.body.into_string();
    assert_sound(&page);
    page
}

fn many(attempts: u32) -> QueryRecord {
    let attempt = |task: u32| AttemptRecord {
        host: format!("h{}", task % 16),
        worker_id: format!("worker-{}", task % 16),
        ..attempt(task, AttemptState::Success)
    };
    let attempts = (0..attempts).map(attempt).collect();
    QueryRecord { query_id: "q".to_owned(), stages: vec![stage(1, Vec::new(), attempts)], ..QueryRecord::default() }
}

#[test]
fn the_page_shows_stages_operators_tasks_and_attempts_and_escapes_them() {
    let record = record();
    let page = drawn(&record.queries[0], &[]);
    assert!(page.contains(ESCAPED), "{page}");
    for expected in [
        "HashJoinExec",
        "54,321",
        "75.0 %",
        "└ ",
        "stage 2 · result",
        "2 of 2 tasks",
        "stage 1 → stage 2: 1,800 rows, 8.0 KiB",
        "1 attempt failed with",
        "1 attempt was lost with a worker",
        "begun under another leader",
        "beside a slow one",
        "1.9 s",
        "10 more attempts were counted and not kept",
        "class=\"task c2 failed\"",
        "Failures first",
        "7.0 GiB",
    ] {
        assert!(page.contains(expected), "{expected} is not in {page}");
    }
}

#[test]
fn ten_thousand_tasks_are_less_than_a_megabyte() {
    let query = many(10_000);
    let page = drawn(&query, &[]);
    assert!(page.len() < 1 << 20, "{} bytes", page.len());
    assert!(page.contains("10,000 attempts by worker, as how many ran at once"), "it is not aggregated");
    assert!(page.contains("1–100 of 10,000"), "it is not paged");
    let most = drawn(&query, &[("limit", "1000")]);
    assert!(most.len() < 1 << 20, "{} bytes", most.len());
    let two_thousand = drawn(&many(2_000), &[]);
    assert_eq!(two_thousand.matches("<rect class=\"task ").count(), 2_000);
    assert!(two_thousand.len() < 1 << 20, "{} bytes", two_thousand.len());
}

#[test]
fn attempts_come_in_the_order_that_is_asked_for() {
    let mut query = many(3);
    for (attempt, rows) in query.stages[0].attempts.iter_mut().zip([20, 30, 10]) {
        attempt.totals.rows = rows;
    }
    query.stages[0].attempts[2].state = AttemptState::Failed;
    let order = |wanted: &[(&str, &str)]| -> Vec<usize> {
        let page = drawn(&query, wanted);
        let list = page.split("id=\"tasks\"").nth(1).unwrap();
        let mut found: Vec<(usize, usize)> =
            (0..3).filter_map(|task| Some((list.find(&format!("stage 1, task {task}<"))?, task))).collect();
        found.sort_unstable();
        found.into_iter().map(|(_, task)| task).collect()
    };
    assert_eq!(order(&[]), [0, 1, 2]);
    assert_eq!(order(&[("sort", "rows")]), [1, 0, 2]);
    assert_eq!(order(&[("sort", "rows"), ("order", "asc")]), [2, 0, 1]);
    assert_eq!(order(&[("sort", "failures")]), [2, 0, 1]);
    assert_eq!(order(&[("limit", "1"), ("offset", "1")]), [1]);
    assert_eq!(order(&[("stage", "2")]), [0_usize; 0]);
}

#[test]
fn a_sorted_column_leads_to_the_other_direction() {
    let page = drawn(&many(3), &[("sort", "rows"), ("stage", "1")]);
    assert!(page.contains("?stage=1&amp;sort=rows&amp;order=asc#tasks\">Rows ↓</a>"), "{page}");
    assert!(page.contains("aria-sort=\"descending\""), "{page}");
    let page = drawn(&many(3), &[("sort", "rows"), ("order", "asc")]);
    assert!(page.contains("?sort=rows#tasks\">Rows ↑</a>"), "{page}");
}

#[test]
fn what_cannot_be_asked_for_is_refused() {
    for pair in [("sort", "x"), ("order", "up"), ("stage", "-1"), ("limit", "1001"), ("offset", "x")] {
        let asked = Asked::new(vec![(pair.0.to_owned(), pair.1.to_owned())]);
        assert!(Wanted::of(&asked).is_err(), "{pair:?}");
    }
}

#[test]
fn a_query_without_stages_is_a_page_too() {
    let page = drawn(&QueryRecord { query_id: "q".to_owned(), ..QueryRecord::default() }, &[]);
    assert!(page.contains("Its stages are not on record.") && page.contains("No task was launched yet."), "{page}");
}

#[test]
fn a_stage_stands_as_its_tasks_and_its_query_do() {
    let of = |state: QueryState, attempts: Vec<AttemptRecord>, done: u32| {
        let query = QueryRecord { state, ..QueryRecord::default() };
        let stage = StageRecord { tasks: 2, tasks_done: done, attempts, ..StageRecord::default() };
        stage_state(&query, &stage)
    };
    let one = |state| vec![attempt(0, state)];
    assert_eq!(of(QueryState::Running, Vec::new(), 0), "PENDING");
    assert_eq!(of(QueryState::Running, one(AttemptState::Running), 0), "RUNNING");
    assert_eq!(of(QueryState::Running, one(AttemptState::Success), 2), "FINISHED");
    assert_eq!(of(QueryState::Failed, one(AttemptState::Failed), 0), "FAILED");
    assert_eq!(of(QueryState::Failed, one(AttemptState::Success), 1), "CANCELLED");
    assert_eq!(of(QueryState::Cancelled, Vec::new(), 0), "CANCELLED");
    assert_eq!(of(QueryState::Finished, Vec::new(), 0), "FINISHED");
}

#[test]
fn an_attempt_has_its_number_within_its_task_and_not_its_id_in_the_query() {
    let with_id = |task: u32, id: u64| AttemptRecord { attempt: id, ..attempt(task, AttemptState::Success) };
    let attempts = vec![with_id(0, 5), with_id(1, 6), with_id(0, 7)];
    let stage = stage(1, Vec::new(), attempts);
    let numbers: Vec<(u32, u64)> = numbered(&stage).map(|(number, attempt)| (number, attempt.attempt)).collect();
    assert_eq!(numbers, [(1, 5), (1, 6), (2, 7)]);
    let query = QueryRecord { query_id: "q".to_owned(), stages: vec![stage], ..QueryRecord::default() };
    let page = drawn(&query, &[]);
    assert_eq!(page.matches(">attempt 1</span>").count(), 2, "{page}");
    assert!(page.contains("title=\"id 7 in the query\">attempt 2</span>"), "{page}");
    assert!(page.contains("stage 1 task 0 attempt 2: SUCCESS") && !page.contains("attempt 7"), "{page}");
}

#[test]
fn workers_of_one_host_are_told_apart_by_their_ports() {
    for (id, host, label) in [
        ("worker-20261121093012-h1-7078", "h1", "h1:7078"),
        ("worker-20261121093012-lake-w-1.example-7078", "lake-w-1.example", "lake-w-1.example:7078"),
        ("worker-20261121093012-10.0.0.7-40001", "10.0.0.7", "10.0.0.7:40001"),
        ("worker-20261121093012-h1-7078", "h2", "h2"),
        ("worker-20261121093012-xh1-7078", "h1", "h1"),
        ("worker-20261121093012-h1-7o78", "h1", "h1"),
        ("worker-1", "", "worker-1"),
        ("", "h1", "h1"),
    ] {
        assert_eq!(worker_label(id, host), label, "{id}");
    }
    let on = |task: u32, port: u16| AttemptRecord {
        worker_id: format!("worker-1-h1-{port}"),
        host: "h1".to_owned(),
        ..attempt(task, AttemptState::Success)
    };
    let stages = vec![stage(1, Vec::new(), vec![on(0, 7078), on(1, 7079)])];
    let page = drawn(&QueryRecord { query_id: "q".to_owned(), stages, ..QueryRecord::default() }, &[]);
    assert!(page.matches(">h1:7078<").count() > 1 && page.matches(">h1:7079<").count() > 1, "{page}");
}
