//! Which worker ran what when. Pure.

use std::collections::BTreeMap;

use lake_proto::quantity::counted;
use lake_record::{AttemptRecord, AttemptState, StageRecord};

use super::{Query, attempt_state, numbered, worker_label};
use crate::draw::tracks::{Span, Track, densities, spans};
use crate::html::{Html, duration, element, empty, scroll, section, text};
use crate::link as to;

/// More attempts are drawn as how many ran at once.
const MOST_SPANS: usize = 2_000;
/// More workers are not drawn.
const MOST_TRACKS: usize = 64;
/// Colours in drawing.css.
const COLOURS: u32 = 8;

pub(super) fn section_of(shown: &Query<'_>) -> Html {
    let stages = &shown.query.stages;
    let all = || stages.iter().flat_map(|stage| numbered(stage).map(move |(number, attempt)| (stage, number, attempt)));
    let attempts = all().count();
    let Some(from_ms) = all().map(|(_, _, attempt)| attempt.launched_at_ms).filter(|at_ms| *at_ms > 0).min() else {
        return section("timeline", "Timeline", "", &[empty("No task was launched yet.")]);
    };
    let to_ms = all().map(|(_, _, attempt)| end_ms(attempt, shown.now_ms)).max().unwrap_or(from_ms);
    let mut by_worker: BTreeMap<(&str, &str), Vec<Span>> = BTreeMap::new();
    let is_each = attempts <= MOST_SPANS;
    for (stage, number, attempt) in all() {
        let spans = by_worker.entry((&attempt.host, &attempt.worker_id)).or_default();
        spans.push(span_of(stage, attempt, is_each.then_some(number), shown.now_ms));
    }
    let workers = by_worker.len();
    let mut tracks = Vec::new();
    for ((host, worker), spans) in by_worker.into_iter().take(MOST_TRACKS) {
        tracks.push(Track {
            label: worker_label(worker, host),
            hint: worker.to_owned(),
            href: to::worker(worker),
            spans,
        });
    }
    let picture = if is_each { spans(&tracks, from_ms, to_ms) } else { densities(&tracks, from_ms, to_ms) };
    let mut remark = format!("{} by worker", counted(attempts, "attempt"));
    if !is_each {
        remark.push_str(", as how many ran at once");
    }
    if workers > MOST_TRACKS {
        remark.push_str(&format!(", on the first {MOST_TRACKS} of {workers} workers"));
    }
    let mut body = vec![scroll("Timeline", picture)];
    if is_each {
        body.push(legend(stages));
    }
    section("timeline", "Timeline", remark, &body)
}

fn end_ms(attempt: &AttemptRecord, now_ms: u64) -> u64 {
    if attempt.ended_at_ms > 0 { attempt.ended_at_ms } else { now_ms.max(attempt.launched_at_ms) }
}

/// With a hint where the number of the attempt within its task is given.
fn span_of(stage: &StageRecord, attempt: &AttemptRecord, number: Option<u32>, now_ms: u64) -> Span {
    let words = |number: u32| {
        format!(
            "stage {} task {} attempt {number}: {}, {}",
            stage.stage_id,
            attempt.task,
            attempt_state(attempt.state),
            duration(attempt.elapsed_ms(now_ms))
        )
    };
    let hint = number.map(words).unwrap_or_default();
    Span {
        start_ms: attempt.launched_at_ms,
        end_ms: end_ms(attempt, now_ms),
        colour: stage.stage_id % COLOURS,
        has_failed: matches!(attempt.state, AttemptState::Failed | AttemptState::Lost),
        is_running: attempt.state == AttemptState::Running,
        hint,
    }
}

fn legend(stages: &[StageRecord]) -> Html {
    let mut list = Html::default();
    let mut add = |class: String, label: String| {
        let key = element("span", &[("class", &class), ("aria-hidden", "true")], &[]);
        list.push(&element("li", &[], &[key, text(label)]));
    };
    for stage in stages {
        add(format!("key c{}", stage.stage_id % COLOURS), format!("stage {}", stage.stage_id));
    }
    add("key failed".to_owned(), "failed or lost: outlined".to_owned());
    element("ul", &[("class", "legend")], &[list])
}
