//! Stages as a graph: what is read on the left, the answer on the right. Pure.

use std::collections::BTreeMap;

use lake_proto::quantity::{bytes, count, counted, noun};
use lake_record::StageRecord;

use super::{Query, stage_state};
use crate::draw::graph::{Arrow, Node, Shape, graph, sign};
use crate::html::{Html, duration, empty};

pub(super) fn section(shown: &Query<'_>) -> Html {
    let stages = &shown.query.stages;
    let places: BTreeMap<u32, usize> =
        stages.iter().enumerate().map(|(place, stage)| (stage.stage_id, place)).collect();
    let nodes: Vec<Node> = stages.iter().map(|stage| node(shown, stage)).collect();
    let mut arrows = Vec::new();
    for (to, stage) in stages.iter().enumerate() {
        for input in &stage.inputs {
            let Some(from) = places.get(input).copied() else { continue };
            let totals = stages.get(from).map(StageRecord::totals).unwrap_or_default();
            let (rows, size) = (counted(totals.shuffle_write_rows, "row"), bytes(totals.shuffle_write_bytes));
            arrows
                .push(Arrow { from, to, hint: format!("stage {input} → stage {}: {rows}, {size}", stage.stage_id) });
        }
    }
    let body = if nodes.is_empty() {
        empty("Its stages are not on record.")
    } else {
        graph("Stages and what they read of each other", &nodes, &arrows)
    };
    crate::html::section("stages", "Stages", stages.len().to_string(), &[body])
}

fn node(shown: &Query<'_>, stage: &StageRecord) -> Node {
    let totals = stage.totals();
    let tasks = noun(u64::from(stage.tasks), "task", "tasks");
    let mut lines =
        vec![format!("{} of {} {tasks}", count(u64::from(stage.tasks_done)), count(u64::from(stage.tasks)))];
    let rows = if stage.is_result { totals.rows } else { totals.shuffle_write_rows.max(totals.rows) };
    lines.push(format!("{} · {}", counted(rows, "row"), duration(stage.elapsed_ms(shown.now_ms))));
    if totals.shuffle_write_bytes > 0 {
        lines.push(format!("writes {}", bytes(totals.shuffle_write_bytes)));
    }
    if totals.spilled_bytes > 0 {
        lines.push(format!("spilled {}", bytes(totals.spilled_bytes)));
    }
    Node {
        shape: if stage.is_result { Shape::Silver } else { Shape::Plain },
        kind: format!("stage {}{}", stage.stage_id, if stage.is_result { " · result" } else { "" }),
        name: main_work(stage),
        lines,
        href: Some(format!("#stage-{}", stage.stage_id)),
        state: sign(stage_state(shown.query, stage)),
        is_outside: false,
    }
}

/// The one or two operators that say what a stage does: those that took most of its time, or the outermost ones.
pub(super) fn main_work(stage: &StageRecord) -> String {
    let mut by_time = super::stage::working(stage);
    by_time.sort_by_key(|operator| std::cmp::Reverse(operator.metrics.compute_ns));
    let mut names: Vec<&str> = Vec::new();
    for operator in by_time {
        let name = operator.name.strip_suffix("Exec").unwrap_or(&operator.name);
        if !names.contains(&name) && names.len() < 2 {
            names.push(name);
        }
    }
    if names.is_empty() { "plan not on record".to_owned() } else { names.join(" · ") }
}
