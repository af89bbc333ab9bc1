//! Every attempt of a query's tasks, in pieces and in the order that is asked for. Pure.

use std::cmp::Reverse;

use lake_proto::quantity::count;
use lake_record::{AttemptRecord, AttemptState, StageRecord};

use super::{Query, attempt_state, numbered, worker_label};
use crate::asked::{Asked, Bad, Window};
use crate::html::Column::{self, Text};
use crate::html::{
    Html, Order, badge, dash, duration, element, heading, instant, link, nowrap, number, quantity_of_bytes, span,
    table, text, under,
};
use crate::link as to;

const LIMIT: usize = 100;
const MOST: usize = 1_000;
/// `failures` puts what failed or was lost first.
const SORTS: [&str; 9] =
    ["launched", "task", "time", "rows", "bytes", "spilled", "shuffle_read", "shuffle_written", "failures"];

/// Which attempts are listed, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    stage: Option<u32>,
    sort: &'static str,
    is_ascending: bool,
    window: Window,
}

impl Wanted {
    /// As asked by `stage`, `sort`, `order`, `offset` and `limit`.
    ///
    /// # Errors
    /// When one of them is not valid, or something else is asked for.
    pub fn of(asked: &Asked) -> Result<Self, Bad> {
        asked.only(&["stage", "sort", "order", "offset", "limit"])?;
        let stage = asked.number("stage", 0, 1_000_000)?.map(|stage| u32::try_from(stage).unwrap_or(u32::MAX));
        let sort = asked.word("sort", &SORTS)?;
        let order = asked.word("order", if is_ascending_first(sort) { &["asc", "desc"] } else { &["desc", "asc"] })?;
        Ok(Self { stage, sort, is_ascending: order == "asc", window: Window::of(asked, LIMIT, MOST)? })
    }

    /// What links to other pieces keep.
    fn kept(&self) -> Vec<(&'static str, String)> {
        let order = match (self.is_ascending, is_ascending_first(self.sort)) {
            (true, true) | (false, false) => "",
            (true, false) => "asc",
            (false, true) => "desc",
        };
        vec![
            ("stage", self.stage.map(|stage| stage.to_string()).unwrap_or_default()),
            ("sort", if self.sort == "launched" { String::new() } else { self.sort.to_owned() }),
            ("order", order.to_owned()),
            ("limit", if self.window.limit == LIMIT { String::new() } else { self.window.limit.to_string() }),
        ]
    }
}

/// What one wants to see first of these is the largest.
fn is_ascending_first(sort: &str) -> bool {
    matches!(sort, "launched" | "task")
}

/// An attempt with its stage and its number within its task.
type Line<'a> = (&'a StageRecord, u32, &'a AttemptRecord);

pub(super) fn section_of(shown: &Query<'_>) -> Html {
    let wanted = shown.wanted;
    let path = to::query(&shown.record.summary.app_id, &shown.query.query_id);
    let stages = shown.query.stages.iter().filter(|stage| wanted.stage.is_none_or(|id| id == stage.stage_id));
    let left_out: u64 = stages.clone().map(|stage| stage.attempts_left_out).sum();
    let mut lines: Vec<Line<'_>> =
        stages.flat_map(|stage| numbered(stage).map(move |(number, attempt)| (stage, number, attempt))).collect();
    sort(&mut lines, wanted, shown.now_ms);
    let total = lines.len();
    let window = wanted.window;
    let piece = lines.into_iter().skip(window.offset).take(window.limit);
    let rows: Vec<Vec<Html>> = piece.map(|line| row(line, shown.now_ms)).collect();
    let remark = window.remark(rows.len(), total);
    let mut parts = vec![heading("Attempts", remark), filters(shown, &path)];
    if left_out > 0 {
        let words = format!("{} more attempts were counted and not kept: there were too many.", count(left_out));
        parts.push(element("p", &[("class", "notice")], &[text(words)]));
    }
    let with_anchor = |href: String| format!("{href}#tasks");
    parts.push(table("Attempts", &columns(wanted, &path, with_anchor), rows, "None."));
    parts.push(window.turns("Pieces of the list of attempts", &path, &wanted.kept(), total));
    element("section", &[("id", "tasks")], &parts)
}

/// Links to the attempts of one stage, and to those that failed.
fn filters(shown: &Query<'_>, path: &str) -> Html {
    let wanted = shown.wanted;
    let mut links = Html::default();
    let mut add = |label: String, stage: Option<u32>, sort: &str| {
        let stage_id = stage.map(|stage| stage.to_string()).unwrap_or_default();
        let href = format!("{}#tasks", to::asked(path, &[("stage", stage_id), ("sort", sort.to_owned())]));
        let is_this = wanted.stage == stage && (sort == "failures") == (wanted.sort == "failures");
        let mut attributes = vec![("href", href.as_str())];
        if is_this {
            attributes.push(("aria-current", "true"));
        }
        links.push(&element("a", &attributes, &[text(label)]));
    };
    add("All stages".to_owned(), None, "");
    for stage in &shown.query.stages {
        add(format!("Stage {}", stage.stage_id), Some(stage.stage_id), "");
    }
    add("Failures first".to_owned(), wanted.stage, "failures");
    element("nav", &[("class", "within"), ("aria-label", "Which attempts")], &[links])
}

fn columns(wanted: &Wanted, path: &str, finish: impl Fn(String) -> String) -> Vec<Column> {
    let sorted = |title: &'static str, sort: &'static str| {
        let is_this = wanted.sort == sort;
        let is_ascending = if is_this { !wanted.is_ascending } else { is_ascending_first(sort) };
        let other = Wanted { sort, is_ascending, window: Window { offset: 0, ..wanted.window }, ..wanted.clone() };
        Column::Sorted {
            title,
            href: finish(to::asked(path, &other.kept())),
            order: match (is_this, wanted.is_ascending) {
                (false, _) => Order::No,
                (true, true) => Order::Ascending,
                (true, false) => Order::Descending,
            },
        }
    };
    vec![
        Text("Task"),
        Text("State"),
        Text("Worker"),
        Column::Instant("Launched"),
        sorted("Time", "time"),
        sorted("Rows", "rows"),
        sorted("Bytes", "bytes"),
        sorted("Shuffle read", "shuffle_read"),
        sorted("Shuffle written", "shuffle_written"),
        sorted("Spilled", "spilled"),
        Text("Cause"),
    ]
}

fn sort(lines: &mut [Line<'_>], wanted: &Wanted, now_ms: u64) {
    let figure = |(_, _, attempt): &Line<'_>| match wanted.sort {
        "time" => took(attempt, now_ms),
        "rows" => attempt.totals.rows,
        "bytes" => attempt.totals.bytes,
        "spilled" => attempt.totals.spilled_bytes,
        "shuffle_read" => attempt.totals.shuffle_read_bytes,
        "shuffle_written" => attempt.totals.shuffle_write_bytes,
        "failures" => u64::from(matches!(attempt.state, AttemptState::Failed | AttemptState::Lost)),
        "task" => u64::from(attempt.task),
        _ => attempt.launched_at_ms,
    };
    // What is equal stands in the order of stages and launches.
    if wanted.is_ascending {
        lines.sort_by_key(figure);
    } else {
        lines.sort_by_key(|line| Reverse(figure(line)));
    }
}

/// Time on the worker, as far as it has told it.
fn took(attempt: &AttemptRecord, now_ms: u64) -> u64 {
    match attempt.totals.elapsed_ms {
        0 => attempt.elapsed_ms(now_ms),
        ms => ms,
    }
}

fn row((stage, number_in_task, attempt): Line<'_>, now_ms: u64) -> Vec<Html> {
    let mut name = nowrap(format!("stage {}, task {}", stage.stage_id, attempt.task));
    let id = format!("id {} in the query", attempt.attempt);
    let which = element("span", &[("title", &id)], &[text(format!("attempt {number_in_task}"))]);
    name.push(&under("soft small nowrap", which));
    let mut state = badge(attempt_state(attempt.state));
    if attempt.is_speculative {
        state.push(&under("soft small", text("beside a slow one")));
    }
    let worker = if attempt.worker_id.is_empty() {
        dash()
    } else {
        link(&to::worker(&attempt.worker_id), worker_label(&attempt.worker_id, &attempt.host))
    };
    let totals = &attempt.totals;
    vec![
        name,
        state,
        worker,
        instant(attempt.launched_at_ms),
        nowrap(duration(took(attempt, now_ms))),
        number(totals.rows),
        quantity_of_bytes(totals.bytes),
        quantity_of_bytes(totals.shuffle_read_bytes),
        quantity_of_bytes(totals.shuffle_write_bytes),
        quantity_of_bytes(totals.spilled_bytes),
        match &attempt.failure {
            Some(fault) => {
                let mut cell = nowrap(format!("{} · {}", fault.class, fault.code));
                cell.push(&under("small wrap", span("soft", crate::draw::cut(&fault.message, 400))));
                cell
            }
            None => text(""),
        },
    ]
}
