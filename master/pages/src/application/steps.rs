//! Steps with what they read and wrote. Pure.

use lake_proto::quantity::{bytes, counted, noun};
use lake_record::{QueryState, StageRecord, StepRecord};

use super::{Application, step_id};
use crate::html::Column::{Instant, Number, Text};
use crate::html::{
    Html, badge, cause, dash, duration, element, instant, link, meter, nowrap, number, optional, quantity_of_bytes,
    section, span, table, text, under,
};
use crate::link as to;

pub(super) fn steps(application: &Application<'_>) -> Html {
    let steps = &application.record.steps;
    let rows = steps.iter().enumerate().map(|(index, step)| row(application, index, step)).collect();
    let columns = [
        Text("Table"),
        Text("State"),
        Number("Rows checked"),
        Number("Rows out"),
        Number("Bytes"),
        Number("Files"),
        Number("Version"),
        Instant("Started"),
        Number("Duration"),
        Text("Expectations"),
    ];
    let body = table("Steps", &columns, rows, "No step has started yet.");
    section("steps", "Steps", steps.len().to_string(), &[body])
}

fn row(application: &Application<'_>, index: usize, step: &StepRecord) -> Vec<Html> {
    let name = element("strong", &[("id", &step_id(index))], &[link(&to::table(&step.table), &step.table)]);
    let mut cell = vec![name];
    if !step.mode.is_empty() {
        cell.push(under("soft small", text(&step.mode)));
    }
    let queries = application.record.queries_of(&step.table);
    for query in queries.filter(|query| query.state == QueryState::Running) {
        let href = to::query(&application.record.summary.app_id, &query.query_id);
        cell.extend(query.stages.iter().map(|stage| progress(stage, &href)));
    }
    if let Some(fault) = &step.failure {
        cell.push(cause(fault));
    }
    let elapsed = match step.elapsed_ms(application.now_ms) {
        0 => dash(),
        ms => nowrap(duration(ms)),
    };
    let mut row = vec![cell.into_iter().collect(), badge(&step.state)];
    row.extend(figures(step));
    row.extend([versions(step), instant(step.started_at_ms), elapsed, expectations(step)]);
    row
}

/// Rows checked, and rows, bytes and files written. Of a step that has not committed a zero is nothing that was measured.
pub(crate) fn figures(step: &StepRecord) -> [Html; 4] {
    let is_measured =
        !matches!(step.state.as_str(), "PENDING" | "NOT_RUN" | "FAILED" | "KILLED" | "FENCED" | "UNKNOWN");
    let known = |figure: u64| (is_measured || figure > 0).then_some(figure);
    [
        optional(known(step.rows_in), number),
        optional(known(step.rows_out), number),
        optional(known(step.bytes_out), quantity_of_bytes),
        optional(known(step.files), number),
    ]
}

/// `3 → 4`.
pub(crate) fn versions(step: &StepRecord) -> Html {
    match (step.version_before, step.version) {
        (Some(before), Some(after)) => nowrap(format!("{before} → {after}")),
        (None, Some(after)) => nowrap(format!("→ {after}")),
        (Some(before), None) => nowrap(format!("{before} →")),
        (None, None) => dash(),
    }
}

fn progress(stage: &StageRecord, href: &str) -> Html {
    let totals = stage.totals();
    let failed = match stage.failed().count() {
        0 => String::new(),
        some => format!(" · {}", counted(some, "failed attempt")),
    };
    let label = format!(
        "stage {}: {} of {} {}, {} running · {} · {}{failed}",
        stage.stage_id,
        stage.tasks_done,
        stage.tasks,
        noun(u64::from(stage.tasks), "task", "tasks"),
        stage.running(),
        counted(totals.rows, "row"),
        bytes(totals.bytes)
    );
    let bar = meter(u64::from(stage.tasks_done), u64::from(stage.tasks), &label);
    under("stage", element("a", &[("href", href)], &[bar]))
}

/// How many hold, and what was violated.
fn expectations(step: &StepRecord) -> Html {
    if step.expectations.is_empty() {
        return dash();
    }
    let holds = step.expectations.iter().filter(|found| found.violations == 0).count();
    let mut cell = Vec::new();
    if holds > 0 {
        cell.push(under("nowrap", span("good", format!("✓ {holds} {}", if holds == 1 { "holds" } else { "hold" }))));
    }
    for found in step.expectations.iter().filter(|found| found.violations > 0) {
        let sign = if found.action == "fail" { "bad" } else { "warn" };
        let words =
            format!("✕ {}: {} violated ({})", found.name, lake_proto::quantity::count(found.violations), found.action);
        cell.push(under("", span(sign, words)));
    }
    cell.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(state: &str, rows_in: u64, written: u64) -> [String; 4] {
        let (rows_out, bytes_out, files) = (written, written, written);
        figures(&StepRecord { state: state.to_owned(), rows_in, rows_out, bytes_out, files, ..StepRecord::default() })
            .map(Html::into_string)
    }

    #[test]
    fn a_step_that_committed_nothing_has_dashes_and_the_rows_that_it_checked() {
        for state in ["PENDING", "NOT_RUN", "FAILED", "KILLED", "FENCED", "UNKNOWN"] {
            assert_eq!(shown(state, 0, 0), ["–", "–", "–", "–"], "{state}");
        }
        assert_eq!(shown("FAILED", 412, 0), ["412", "–", "–", "–"]);
    }

    #[test]
    fn a_step_that_committed_no_rows_says_so() {
        let zero = ["0", "0", "<span class=\"nowrap\">0 B</span>", "0"];
        assert_eq!(shown("COMMITTED", 0, 0), zero);
        assert_eq!(shown("COMMITTED", 1_000, 2)[..2], ["1,000", "2"]);
    }
}
