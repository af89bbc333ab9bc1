//! One stage: its operators with what they did, and how evenly its tasks did it. Pure.

use std::collections::BTreeMap;

use lake_proto::Fault;
use lake_proto::quantity::{count, counted, noun};
use lake_record::{OperatorRecord, StageRecord};

use super::{Query, skew, stage_state};
use crate::html::Column::{Number, Text};
use crate::html::{
    Html, badge, duration, element, failure, heading, link, meter, number, quantity_of_bytes, share, table, text, under,
};
use crate::link as to;

/// Kinds of failures that are shown with their message.
const FAILURES_SHOWN: usize = 3;

pub(super) fn section_of(shown: &Query<'_>, stage: &StageRecord) -> Html {
    let id = format!("stage-{}", stage.stage_id);
    let mut inputs = stage.inputs.iter().map(|input| link(&format!("#stage-{input}"), format!("stage {input}")));
    let mut line = Vec::new();
    if let Some(first) = inputs.next() {
        line.extend([text("Reads "), first]);
        line.extend(inputs.flat_map(|other| [text(", "), other]));
        line.push(text(" · "));
    }
    let cores = u64::from(stage.cores_per_task);
    line.push(text(format!(
        "{} of {} {} done, {} running, {} per task · ",
        count(u64::from(stage.tasks_done)),
        count(u64::from(stage.tasks)),
        noun(u64::from(stage.tasks), "task", "tasks"),
        stage.running(),
        counted(cores, "core")
    )));
    line.push(link(&attempts_of(shown, stage), "its attempts"));
    let mut parts = vec![
        heading(format!("Stage {}", stage.stage_id), super::graph::main_work(stage)),
        element(
            "p",
            &[("class", "soft")],
            &[badge(stage_state(shown.query, stage)), text(" ")].into_iter().chain(line).collect::<Vec<_>>(),
        ),
    ];
    parts.extend(failures(stage));
    parts.push(operators(stage));
    parts.push(skew::of(stage));
    element("section", &[("id", &id)], &parts)
}

fn attempts_of(shown: &Query<'_>, stage: &StageRecord) -> String {
    let path = to::query(&shown.record.summary.app_id, &shown.query.query_id);
    format!("{}#tasks", to::asked(&path, &[("stage", stage.stage_id.to_string())]))
}

/// What failed, each cause once.
fn failures(stage: &StageRecord) -> Vec<Html> {
    let mut causes: BTreeMap<(&str, &str), (usize, &Fault)> = BTreeMap::new();
    let mut lost = 0_usize;
    for attempt in stage.failed() {
        match &attempt.failure {
            Some(fault) => causes.entry((fault.class.name(), &fault.code)).or_insert((0, fault)).0 += 1,
            None => lost += 1,
        }
    }
    let mut parts = Vec::new();
    let kinds = causes.len();
    for (times, fault) in causes.into_values().take(FAILURES_SHOWN) {
        parts.push(element("p", &[("class", "soft")], &[text(format!("{} failed with", counted(times, "attempt")))]));
        parts.push(failure(fault));
    }
    if kinds > FAILURES_SHOWN {
        parts.push(element("p", &[("class", "soft")], &[text(format!("and {} other causes", kinds - FAILURES_SHOWN))]));
    }
    if lost > 0 {
        let words = format!(
            "{} lost with a worker",
            if lost == 1 { "1 attempt was".to_owned() } else { format!("{lost} attempts were") }
        );
        parts.push(element("p", &[("class", "soft")], &[text(words)]));
    }
    parts
}

/// Scans of ours. What stands directly below one of them is the list of its pieces, of which nothing is to be told.
const SCANS: [&str; 3] = ["DeltaFilesScanExec", "FilesScanExec", "PostgresScanExec"];

/// The operators that do something.
pub(super) fn working(stage: &StageRecord) -> Vec<&OperatorRecord> {
    let mut shown = Vec::new();
    let mut above: Option<&OperatorRecord> = None;
    for operator in &stage.operators {
        let is_list = operator.name == "DataSourceExec"
            && above.is_some_and(|scan| {
                SCANS.contains(&scan.name.as_str()) && operator.depth.checked_sub(1) == Some(scan.depth)
            });
        if !is_list {
            shown.push(operator);
        }
        above = Some(operator);
    }
    shown
}

fn operators(stage: &StageRecord) -> Html {
    let shown = working(stage);
    let all: u64 = shown.iter().map(|operator| operator.metrics.compute_ns).fold(0, u64::saturating_add);
    let most = shown.iter().map(|operator| operator.metrics.compute_ns).max().unwrap_or(0);
    let rows = shown.into_iter().map(|operator| row(operator, all, most)).collect();
    let columns = [
        Text("Operator"),
        Number("Rows out"),
        Text("Time on all cores"),
        Number("Share"),
        Number("Spills"),
        Number("Spilled"),
    ];
    table("Operators", &columns, rows, "Its plan is not on record.")
}

fn row(operator: &OperatorRecord, all: u64, most: u64) -> Vec<Html> {
    let metrics = &operator.metrics;
    let mut name = element(
        "span",
        &[("class", "tree")],
        &[text(branch(operator.depth)), element("b", &[], &[text(&operator.name)])],
    );
    if !operator.detail.is_empty() {
        name.push(&under("detail mono soft", text(&operator.detail)));
    }
    vec![
        name,
        number(metrics.output_rows),
        meter(metrics.compute_ns, most, &duration(metrics.compute_ns / 1_000_000)),
        text(share(metrics.compute_ns, all)),
        number(metrics.spills),
        quantity_of_bytes(metrics.spilled_bytes),
    ]
}

/// A line for each operator around this one.
fn branch(depth: u32) -> String {
    // Deeper ones stand where the 40th does.
    match usize::try_from(depth.min(40)).unwrap_or(40) {
        0 => String::new(),
        depth => format!("{}└ ", "  ".repeat(depth - 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_pieces_below_a_scan_is_left_out_and_another_source_is_not() {
        let operator =
            |(depth, name): (u32, &str)| OperatorRecord { depth, name: name.to_owned(), ..Default::default() };
        let operators = [
            (0, "UnionExec"),
            (1, "DeltaFilesScanExec"),
            (2, "DataSourceExec"),
            (1, "FilesScanExec"),
            (2, "DataSourceExec"),
            (1, "PostgresScanExec"),
            (2, "DataSourceExec"),
            (1, "DataSourceExec"),
            (1, "FilesScanExec"),
            (1, "DataSourceExec"),
        ];
        let stage = StageRecord { operators: operators.map(operator).to_vec(), ..StageRecord::default() };
        let shown: Vec<(u32, &str)> = working(&stage).iter().map(|shown| (shown.depth, shown.name.as_str())).collect();
        assert_eq!(
            shown,
            [
                (0, "UnionExec"),
                (1, "DeltaFilesScanExec"),
                (1, "FilesScanExec"),
                (1, "PostgresScanExec"),
                (1, "DataSourceExec"),
                (1, "FilesScanExec"),
                (1, "DataSourceExec"),
            ]
        );
        assert_eq!(super::operators(&stage).into_string().matches("DataSourceExec").count(), 2);
    }
}
