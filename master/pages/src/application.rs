//! One application: how it stands, its pipeline as a graph, steps, what was read and checked, what ran when. Pure.

mod attempts;
mod course;
mod job;
mod pipeline;
mod quality;
mod steps;

use lake_proto::quantity::{bytes, count};
use lake_record::{ApplicationRecord, ApplicationSummary, Origin, StepRecord};

use crate::frame::{Freshness, Page, Place};
use crate::html::{
    Html, badge, duration, element, facts, failure, instant, is_on_request, link, nowrap, text, tiles, void,
};
use crate::link as to;

pub(crate) use self::course::short;
pub(crate) use self::steps::{figures, versions};

/// Name of the hidden field of the form that kills an application.
pub const TOKEN_FIELD: &str = "csrf";

/// What the page of an application shows.
#[derive(Debug, Clone, Copy)]
pub struct Application<'a> {
    /// All that is known of it.
    pub record: &'a ApplicationRecord,
    /// What the form that kills it must carry; `None` = it cannot be killed from here.
    pub kill_token: Option<&'a str>,
    /// Now.
    pub now_ms: u64,
}

/// The page.
pub fn application(application: &Application<'_>) -> Page {
    let record = application.record;
    let body = [
        application.head(),
        application.figures(),
        application.facts(),
        pipeline::graph_of_steps(application),
        steps::steps(application),
        course::timeline(application),
        quality::expectations(record),
        quality::reads(record),
        course::queries(application),
        attempts::attempts(application),
        job::job(record),
    ];
    Page {
        title: shown_name(&record.summary).to_owned(),
        place: Place::History,
        above: vec![("Applications".to_owned(), to::route::HISTORY.to_owned())],
        body: body.into_iter().collect(),
        freshness: if record.origin == Origin::Live { Freshness::Live } else { Freshness::Still },
    }
}

/// Its name; its id when it has none.
pub(crate) fn shown_name(summary: &ApplicationSummary) -> &str {
    if summary.name.is_empty() { &summary.app_id } else { &summary.name }
}

pub(crate) fn state(summary: &ApplicationSummary) -> Html {
    badge(if summary.is_killing { "KILLING" } else { &summary.state })
}

/// Where a page has the step that writes this table.
pub(crate) fn anchor(steps: &[StepRecord], table: &str) -> Option<String> {
    steps.iter().position(|step| step.table == table).map(step_id)
}

pub(crate) fn step_id(index: usize) -> String {
    format!("step-{}", index + 1)
}

impl Application<'_> {
    fn head(&self) -> Html {
        let summary = &self.record.summary;
        let name = element("h1", &[], &[text(shown_name(summary)), text(" "), state(summary)]);
        let mut links = Html::default();
        for (label, id) in [
            ("Pipeline", "#pipeline"),
            ("Steps", "#steps"),
            ("Timeline", "#timeline"),
            ("Data quality", "#quality"),
            ("Inputs", "#reads"),
            ("Queries", "#queries"),
            ("Driver", "#attempts"),
            ("Job", "#job"),
        ] {
            links.push(&link(id, label));
        }
        let mut parts = vec![
            element("div", &[("class", "title")], &[name, self.kill_form()]),
            element("nav", &[("class", "within"), ("aria-label", "On this page")], &[links]),
        ];
        if !summary.waits_for.is_empty() {
            parts.push(element("p", &[("class", "soft")], &[text(format!("Waits for {}.", summary.waits_for))]));
        }
        if let Some(fault) = &summary.failure {
            if !summary.is_over() {
                parts.push(element("p", &[("class", "soft")], &[text("The launch before ended with:")]));
            }
            parts.push(if is_on_request(fault) {
                element("p", &[("class", "notice calm")], &[text(&fault.message)])
            } else {
                failure(fault)
            });
        }
        parts.extend(remarks(self.record));
        parts.into_iter().collect()
    }

    fn kill_form(&self) -> Html {
        let summary = &self.record.summary;
        let Some(token) = self.kill_token.filter(|_| !summary.is_over() && !summary.is_killing) else {
            return Html::default();
        };
        let field = void("input", &[("type", "hidden"), ("name", TOKEN_FIELD), ("value", token)]);
        let label = format!("Kill {}", shown_name(summary));
        let button = element("button", &[("class", "danger"), ("aria-label", &label)], &[text("Kill")]);
        let question =
            format!("Kill {} ({})? What its steps have committed stays.", shown_name(summary), summary.app_id);
        let action = to::kill(&summary.app_id);
        element("form", &[("method", "post"), ("action", &action), ("data-confirm", &question)], &[field, button])
    }

    fn figures(&self) -> Html {
        let record = self.record;
        let done = record.steps.iter().filter(|step| is_settled(step)).count();
        let planned = record.pipeline.as_ref().map_or(0, |pipeline| pipeline.tables.len()).max(record.steps.len());
        let sum = |figure: fn(&StepRecord) -> u64| record.steps.iter().map(figure).fold(0, u64::saturating_add);
        let ran = match record.summary.elapsed_ms(self.now_ms) {
            0 => "–".to_owned(),
            ms => duration(ms),
        };
        tiles(vec![
            (ran, "duration".to_owned()),
            (format!("{done} / {planned}"), "steps done".to_owned()),
            (count(sum(|step| step.rows_in)), "rows checked".to_owned()),
            (count(sum(|step| step.rows_out)), "rows written".to_owned()),
            (bytes(sum(|step| step.bytes_out)), "written".to_owned()),
            (count(sum(StepRecord::violations)), "violations".to_owned()),
        ])
    }

    fn facts(&self) -> Html {
        let summary = &self.record.summary;
        let cores = match summary.total_executor_cores {
            0 => "no cap".to_owned(),
            cap => cap.to_string(),
        };
        let place = match (summary.worker_id.as_str(), summary.deploy_mode.as_str()) {
            ("", "client") => text("in its client's process"),
            ("", _) => text("–"),
            (worker, _) => {
                let mut place = link(&to::worker(worker), worker);
                place.push(&text(format!(" ({})", summary.worker_address)));
                place
            }
        };
        let mut logs = link(&to::logs(&summary.app_id, "stdout"), "stdout");
        logs.push(&text(" · "));
        logs.push(&link(&to::logs(&summary.app_id, "stderr"), "stderr"));
        let list = facts(vec![
            ("Application", text(&summary.app_id)),
            ("Driver", text(&summary.driver_id)),
            ("Submission", text(&summary.submission_id)),
            ("Job", text(&summary.job_name)),
            ("Run number", text(summary.run_number.to_string())),
            ("Deploy mode", text(&summary.deploy_mode)),
            ("Worker of the driver", place),
            ("Attempt", text(format!("{} of {}", summary.attempt, summary.max_attempts))),
            ("Driver memory", nowrap(bytes(summary.driver_memory_bytes))),
            ("Cores at most", text(cores)),
            ("Submitted", moment(summary.submitted_at_ms)),
            ("Started", moment(summary.started_at_ms)),
            ("Ended", moment(summary.ended_at_ms)),
            ("Logs of the driver", logs),
        ]);
        element("section", &[("id", "summary")], &[list])
    }
}

/// A moment with its zone.
fn moment(at_ms: u64) -> Html {
    if at_ms == 0 {
        return instant(0);
    }
    let zone = element("small", &[("class", "zone")], &[text("UTC")]);
    [instant(at_ms), text(" "), zone].into_iter().collect()
}

/// How much the record can tell.
pub(crate) fn remarks(record: &ApplicationRecord) -> Option<Html> {
    let words = match (record.origin, record.is_partial) {
        (Origin::Damaged, _) => "Read from a history file that is damaged: what could be read of it is shown.",
        (Origin::Live | Origin::History, true) => {
            "Another master led while it ran: queries of that time are not shown."
        }
        (Origin::Live | Origin::History, false) => return None,
    };
    Some(element("p", &[("class", "notice")], &[text(words)]))
}

/// Nothing of the step can change any more.
fn is_settled(step: &StepRecord) -> bool {
    matches!(step.state.as_str(), "COMMITTED" | "SKIPPED" | "FENCED")
}

#[cfg(test)]
mod tests;
