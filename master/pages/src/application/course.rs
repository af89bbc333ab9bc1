//! What ran when, and the queries that did it. Pure.

use lake_proto::quantity::noun;
use lake_record::{QueryRecord, StageRecord};

use super::{Application, anchor};
use crate::draw::bars::{Bar, Lane, bars};
use crate::draw::graph::sign;
use crate::html::Column::{Instant, Number, Text};
use crate::html::{
    Html, badge, dash, duration, empty, instant, link, nowrap, number, quantity_of_bytes, scroll, section, table, text,
    under,
};
use crate::link as to;
use crate::query::state_of;

/// More lanes are not read.
const MOST_LANES: usize = 150;

pub(super) fn timeline(application: &Application<'_>) -> Html {
    let record = application.record;
    let begins = record.steps.iter().map(|step| step.started_at_ms).filter(|at_ms| *at_ms > 0);
    let from_ms = begins.chain((record.summary.started_at_ms > 0).then_some(record.summary.started_at_ms)).min();
    let body = match from_ms {
        None => empty("Nothing has started yet."),
        Some(from_ms) => {
            let ends = record.steps.iter().map(|step| step.ended_at_ms);
            let to_ms = match record.summary.ended_at_ms {
                0 => application.now_ms,
                at_ms => ends.max().unwrap_or(0).max(at_ms),
            };
            let mut lanes = lanes(application, to_ms);
            lanes.truncate(MOST_LANES);
            scroll("Timeline", bars("What ran when", &lanes, from_ms, to_ms))
        }
    };
    section("timeline", "Timeline", "steps and their stages, since the driver ran first", &[body])
}

fn lanes(application: &Application<'_>, now_ms: u64) -> Vec<Lane> {
    let record = application.record;
    let mut lanes = Vec::new();
    for step in record.steps.iter().filter(|step| step.started_at_ms > 0) {
        let took = duration(step.elapsed_ms(now_ms));
        let end_ms = if step.ended_at_ms > 0 { step.ended_at_ms } else { now_ms };
        let bar = Bar {
            start_ms: step.started_at_ms,
            end_ms,
            class: format!("bar {}", sign(&step.state).0),
            hint: format!("{}: {}, {took}", step.table, step.state),
        };
        lanes.push(Lane {
            label: step.table.clone(),
            href: anchor(&record.steps, &step.table).map(|id| format!("#{id}")),
            is_part: false,
            bars: vec![bar],
            remark: format!("{took} {}", sign(&step.state).1),
        });
        for query in record.queries_of(&step.table) {
            let href = to::query(&record.summary.app_id, &query.query_id);
            lanes.extend(query.stages.iter().filter_map(|stage| stage_lane(stage, &href, now_ms)));
        }
    }
    lanes
}

/// From the first launch of an attempt to the last end.
fn stage_lane(stage: &StageRecord, href: &str, now_ms: u64) -> Option<Lane> {
    let start_ms = stage.attempts.iter().map(|attempt| attempt.launched_at_ms).min()?;
    let took = stage.elapsed_ms(now_ms);
    let tasks = noun(u64::from(stage.tasks), "task", "tasks");
    let words = format!("{} of {} {tasks}, {}", stage.tasks_done, stage.tasks, duration(took));
    Some(Lane {
        label: format!("stage {}", stage.stage_id),
        href: Some(format!("{href}#stage-{}", stage.stage_id)),
        is_part: true,
        bars: vec![Bar {
            start_ms,
            end_ms: start_ms.saturating_add(took),
            class: format!("bar stage{}", if stage.failed().next().is_some() { " tried" } else { "" }),
            hint: format!("stage {}: {words}", stage.stage_id),
        }],
        remark: words,
    })
}

pub(super) fn queries(application: &Application<'_>) -> Html {
    let record = application.record;
    let rows: Vec<Vec<Html>> = record.queries.iter().map(|query| row(application, query)).collect();
    let columns = [
        Text("Query"),
        Text("Step"),
        Text("State"),
        Number("Stages"),
        Number("Tasks"),
        Number("Rows"),
        Number("Shuffled"),
        Number("Spilled"),
        Number("Failed attempts"),
        Instant("Accepted"),
        Number("Duration"),
    ];
    let remark = rows.len().to_string();
    let body = table("Queries", &columns, rows, "None is on record.");
    section("queries", "Queries", remark, &[body])
}

fn row(application: &Application<'_>, query: &QueryRecord) -> Vec<Html> {
    let record = application.record;
    let href = to::query(&record.summary.app_id, &query.query_id);
    let mut name = link(&href, short(&query.query_id));
    if let Some(fault) = &query.failure {
        name.push(&under("soft small", text(format!("{} · {}", fault.class, fault.code))));
    }
    let step = match anchor(&record.steps, &query.step) {
        Some(id) => link(&format!("#{id}"), &query.step),
        None => text(&query.step),
    };
    let sum = |figure: fn(&StageRecord) -> u64| query.stages.iter().map(figure).fold(0, u64::saturating_add);
    let rows = query.stages.iter().filter(|stage| stage.is_result).map(|stage| stage.totals().rows).sum::<u64>();
    let end_ms = if query.ended_at_ms > 0 { query.ended_at_ms } else { application.now_ms };
    let took = match query.accepted_at_ms {
        0 => dash(),
        at_ms => nowrap(duration(end_ms.saturating_sub(at_ms))),
    };
    vec![
        name,
        step,
        badge(state_of(query)),
        number(query.stages.len()),
        text(format!("{} / {}", sum(|stage| u64::from(stage.tasks_done)), sum(|stage| u64::from(stage.tasks)))),
        number(rows),
        quantity_of_bytes(sum(|stage| stage.totals().shuffle_write_bytes)),
        quantity_of_bytes(sum(|stage| stage.totals().spilled_bytes)),
        number(query.stages.iter().map(|stage| stage.failed().count()).sum::<usize>()),
        instant(query.accepted_at_ms),
        took,
    ]
}

/// Ids are long, and their beginning tells them apart.
pub(crate) fn short(id: &str) -> String {
    crate::draw::cut(id, 14)
}
