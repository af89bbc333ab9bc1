//! One application: where it stands, its steps with what they wrote and what their expectations found. Pure.

use std::collections::BTreeMap;

use lake_master_core::Step;
use lake_master_core::view::ApplicationView;
use lake_proto::quantity::{bytes, count, counted, noun};
use lake_proto::{Fault, v1};
use lake_scheduler::QueryOverview;

use super::{heading, nowrap};
use crate::web::html::Column::{Number, Text};
use crate::web::html::{Html, badge, duration, element, failure, instant, meter, table, text};

pub(super) struct Drawn {
    pub(super) application: ApplicationView,
    pub(super) progress: Vec<v1::StepProgress>,
    pub(super) queries: Vec<QueryOverview>,
    pub(super) now_ms: u64,
}

impl Drawn {
    pub(super) fn html(&self) -> Html {
        let mut page = self.summary();
        page.push(&self.steps());
        if !self.queries.is_empty() {
            page.push(&self.queries());
        }
        page
    }

    fn summary(&self) -> Html {
        let application = &self.application;
        let state = badge(if application.is_killing { "KILLING" } else { application.state });
        let title = element("h2", &[], &[text(&application.name), text(" "), state]);
        let end_ms = if application.ended_at_ms > 0 { application.ended_at_ms } else { self.now_ms };
        let ran = match application.started_at_ms {
            0 => "–".to_owned(),
            started_at_ms => duration(end_ms.saturating_sub(started_at_ms)),
        };
        let cores = match application.total_executor_cores {
            0 => "no cap".to_owned(),
            cap => cap.to_string(),
        };
        let place = match (application.worker_id.as_str(), application.deploy_mode) {
            ("", "client") => "in its client's process".to_owned(),
            ("", _) => "–".to_owned(),
            (worker, _) => format!("{worker} ({})", application.worker_address),
        };
        let facts = [
            ("Application", text(&application.app_id)),
            ("Driver", text(&application.driver_id)),
            ("Submission", text(&application.submission_id)),
            ("Job", text(&application.job_name)),
            ("Run number", text(application.run_number.to_string())),
            ("Deploy mode", text(application.deploy_mode)),
            ("Worker of the driver", text(place)),
            ("Attempt", text(format!("{} of {}", application.attempt, application.max_attempts))),
            ("Driver memory", text(bytes(application.driver_memory_bytes))),
            ("Cores at most", text(cores)),
            ("Submitted (UTC)", instant(application.submitted_at_ms)),
            ("Started (UTC)", instant(application.started_at_ms)),
            ("Ended (UTC)", instant(application.ended_at_ms)),
            ("Duration", text(ran)),
        ];
        let mut list = Html::default();
        for (term, value) in facts {
            let pair = [element("dt", &[], &[text(term)]), element("dd", &[], &[value])];
            list.push(&element("div", &[], &pair));
        }
        let mut parts = vec![title];
        if let Some(reason) = &application.waits_for {
            parts.push(element("p", &[("class", "soft")], &[text(format!("Waits for {reason}."))]));
        }
        match (&application.relaunch_reason, &application.failure) {
            (Some(reason), _) => {
                let words = format!("Attempt {} ended with:", self.ended_attempt());
                parts.push(element("p", &[("class", "soft")], &[text(words)]));
                parts.push(failure(reason));
            }
            (None, Some(fault)) => parts.push(failure(fault)),
            (None, None) => {}
        }
        parts.push(element("dl", &[], &[list]));
        element("section", &[], &parts)
    }

    /// The last attempt that is over; one that is waited for is not counted yet.
    fn ended_attempt(&self) -> u32 {
        let application = &self.application;
        application.attempt.saturating_sub(u32::from(application.state == "RUNNING"))
    }

    /// Steps on record and steps in progress, one line per table.
    fn steps(&self) -> Html {
        let mut lines: BTreeMap<&str, (Option<&Step>, Option<&v1::StepProgress>)> = BTreeMap::new();
        for step in &self.application.steps {
            lines.entry(&step.table).or_default().0 = Some(step);
        }
        for step in &self.progress {
            lines.entry(&step.table).or_default().1 = Some(step);
        }
        let mut rows = Vec::new();
        for (name, (record, progress)) in &lines {
            rows.push(step_row(name, *record, *progress));
        }
        let columns = [
            Text("Table"),
            Text("State"),
            Number("Rows in"),
            Number("Rows out"),
            Number("Bytes"),
            Number("Files"),
            Number("Version"),
            Number("Duration"),
            Text("Expectations"),
        ];
        let body = table("Steps", &columns, rows, "No step has started yet.");
        element("section", &[], &[heading("Steps", &lines.len().to_string()), body])
    }

    fn queries(&self) -> Html {
        let mut rows = Vec::new();
        for query in &self.queries {
            let name = element("span", &[("class", "mono")], &[text(query.query.as_str())]);
            rows.push(vec![text(&query.label), name, stages(&query.stages)]);
        }
        let body = table("Running queries", &[Text("Step"), Text("Query"), Text("Stages")], rows, "");
        element("section", &[], &[heading("Running queries", &self.queries.len().to_string()), body])
    }
}

fn step_row(table: &str, record: Option<&Step>, progress: Option<&v1::StepProgress>) -> Vec<Html> {
    let state = match (record, progress) {
        (Some(record), _) => record.outcome.as_str(),
        (None, Some(progress)) => progress.state.as_str(),
        (None, None) => "",
    };
    let mut name = element("strong", &[], &[text(table)]);
    if let (None, Some(progress)) = (record, progress) {
        name.push(&stages(&progress.stages));
        if let Some(fault) = progress.failure.clone() {
            name.push(&failure(&Fault::from(fault)));
        }
    }
    let mut row = vec![name, badge(state)];
    match record {
        Some(record) => row.extend([
            text(count(record.rows_in)),
            text(count(record.rows_out)),
            nowrap(&bytes(record.bytes_out)),
            text(count(u64::from(record.files))),
            text(record.version.to_string()),
            nowrap(&duration(record.elapsed_ms)),
            expectations(record),
        ]),
        None => row.extend(std::iter::repeat_n(text("–"), 7)),
    }
    row
}

fn expectations(step: &Step) -> Html {
    let mut lines = Html::default();
    for expectation in &step.expectations {
        let found = match expectation.violations {
            0 => "holds".to_owned(),
            violations => format!("{} violated ({})", count(violations), expectation.action),
        };
        lines.push(&element("div", &[], &[text(format!("{}: {found}", expectation.name))]));
    }
    if lines.is_empty() { text("–") } else { lines }
}

fn stages(stages: &[v1::StageProgress]) -> Html {
    let mut lines = Html::default();
    for stage in stages {
        let retries = match stage.retries {
            0 => String::new(),
            count => format!(" · {count} tried again"),
        };
        let label = format!(
            "stage {}: {} of {} {}, {} running · {} · {}{retries}",
            stage.stage_id,
            stage.tasks_done,
            stage.tasks_total,
            noun(u64::from(stage.tasks_total), "task", "tasks"),
            stage.tasks_running,
            counted(stage.rows, "row"),
            bytes(stage.bytes)
        );
        let bar = meter(u64::from(stage.tasks_done), u64::from(stage.tasks_total), &label);
        lines.push(&element("div", &[("class", "stage")], &[bar]));
    }
    lines
}
