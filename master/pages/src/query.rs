//! One query: its stages as a graph, their operators, how evenly the work lies, what ran where, and every attempt. Pure.

mod attempts;
mod graph;
mod skew;
mod stage;
mod timeline;

use std::collections::BTreeMap;

use lake_proto::quantity::{bytes, count};
use lake_record::{
    ApplicationRecord, AttemptRecord, AttemptState, AttemptTotals, QueryRecord, QueryState, StageRecord,
};

pub use self::attempts::Wanted;
use crate::application::{anchor, remarks, shown_name};
use crate::frame::{Freshness, Page, Place};
use crate::html::{Html, badge, cause, duration, element, facts, instant, link, text, tiles};
use crate::link as to;

/// What the page of a query shows.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// The application it belongs to.
    pub record: &'a ApplicationRecord,
    /// The query.
    pub query: &'a QueryRecord,
    /// Which attempts are listed.
    pub wanted: &'a Wanted,
    /// Now.
    pub now_ms: u64,
}

/// The page.
pub fn query(shown: &Query<'_>) -> Page {
    let query = shown.query;
    let mut body = vec![shown.head(), shown.figures(), shown.facts(), graph::section(shown)];
    body.extend(query.stages.iter().map(|stage| stage::section_of(shown, stage)));
    body.push(timeline::section_of(shown));
    body.push(attempts::section_of(shown));
    let summary = &shown.record.summary;
    Page {
        title: format!("Query {}", crate::application::short(&query.query_id)),
        place: Place::History,
        above: vec![
            ("Applications".to_owned(), to::route::HISTORY.to_owned()),
            (shown_name(summary).to_owned(), to::application(&summary.app_id)),
        ],
        body: body.into_iter().collect(),
        freshness: if query.state == QueryState::Running { Freshness::Live } else { Freshness::Still },
    }
}

pub(crate) const fn state_of(query: &QueryRecord) -> &'static str {
    match query.state {
        QueryState::Running => "RUNNING",
        QueryState::Finished => "FINISHED",
        QueryState::Failed => "FAILED",
        QueryState::Cancelled => "CANCELLED",
    }
}

pub(crate) const fn attempt_state(state: AttemptState) -> &'static str {
    match state {
        AttemptState::Running => "RUNNING",
        AttemptState::Success => "SUCCESS",
        AttemptState::Failed => "FAILED",
        AttemptState::Killed => "KILLED",
        AttemptState::Lost => "LOST",
    }
}

/// How a stage stands, in the words of its query.
fn stage_state(query: &QueryRecord, stage: &StageRecord) -> &'static str {
    match query.state {
        _ if stage.tasks > 0 && stage.tasks_done >= stage.tasks => "FINISHED",
        QueryState::Failed if stage.failed().next().is_some() => "FAILED",
        QueryState::Failed | QueryState::Cancelled => "CANCELLED",
        QueryState::Running | QueryState::Finished if stage.running() > 0 => "RUNNING",
        QueryState::Running => "PENDING",
        QueryState::Finished => "FINISHED",
    }
}

/// The attempts of a stage, each with its number within its task, from 1. Their ids count through the whole query.
fn numbered(stage: &StageRecord) -> impl Iterator<Item = (u32, &AttemptRecord)> {
    let mut launched: BTreeMap<u32, u32> = BTreeMap::new();
    stage.attempts.iter().map(move |attempt| {
        let number = launched.entry(attempt.task).or_default();
        *number += 1;
        (*number, attempt)
    })
}

/// `host:port` of a worker whose id ends in them, for a host may have several; or else its host, or its id.
fn worker_label(worker_id: &str, host: &str) -> String {
    let is_port = |port: &&str| !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit());
    let port = worker_id.rsplit_once('-').and_then(|(front, port)| {
        let is_named = front.strip_suffix(host).is_some_and(|before| before.ends_with('-'));
        Some(port).filter(is_port).filter(|_| is_named)
    });
    match (host, port) {
        ("", _) => worker_id.to_owned(),
        (host, Some(port)) => format!("{host}:{port}"),
        (host, None) => host.to_owned(),
    }
}

impl Query<'_> {
    fn head(&self) -> Html {
        let query = self.query;
        let title = element("h1", &[], &[text("Query of "), self.step(), text(" "), badge(state_of(query))]);
        let mut links = Html::default();
        links.push(&link("#stages", "Stages"));
        for stage in &query.stages {
            links.push(&link(&format!("#stage-{}", stage.stage_id), format!("Stage {}", stage.stage_id)));
        }
        links.push(&link("#timeline", "Timeline"));
        links.push(&link("#tasks", "Attempts"));
        let mut parts = vec![
            element("div", &[("class", "title")], &[title]),
            element("nav", &[("class", "within"), ("aria-label", "On this page")], &[links]),
        ];
        parts.extend(query.failure.as_ref().map(cause));
        if query.is_attached {
            let words = "It was begun under another leader: attempts of that time are not shown.";
            parts.push(element("p", &[("class", "notice")], &[text(words)]));
        }
        parts.extend(remarks(self.record));
        parts.into_iter().collect()
    }

    fn step(&self) -> Html {
        let href = to::application(&self.record.summary.app_id);
        match anchor(&self.record.steps, &self.query.step) {
            Some(id) => link(&format!("{href}#{id}"), &self.query.step),
            None => link(&href, &self.query.step),
        }
    }

    fn figures(&self) -> Html {
        let stages = &self.query.stages;
        let mut all = AttemptTotals::default();
        stages.iter().for_each(|stage| all.add(&stage.totals()));
        let tasks: u64 = stages.iter().map(|stage| u64::from(stage.tasks)).sum();
        let done: u64 = stages.iter().map(|stage| u64::from(stage.tasks_done)).sum();
        let running: usize = stages.iter().map(StageRecord::running).sum();
        let failed: usize = stages.iter().map(|stage| stage.failed().count()).sum();
        let figure = |number: usize| count(u64::try_from(number).unwrap_or(u64::MAX));
        tiles(vec![
            (self.took().map_or_else(|| "–".to_owned(), duration), "duration".to_owned()),
            (format!("{} / {}", count(done), count(tasks)), "tasks done".to_owned()),
            (figure(running), "attempts running".to_owned()),
            (figure(failed), "attempts failed".to_owned()),
            (duration(all.elapsed_ms), "time of all tasks".to_owned()),
            (bytes(all.shuffle_write_bytes), "written to shuffle files".to_owned()),
            (bytes(all.spilled_bytes), "spilled".to_owned()),
        ])
    }

    fn took(&self) -> Option<u64> {
        let end_ms = if self.query.ended_at_ms > 0 { self.query.ended_at_ms } else { self.now_ms };
        (self.query.accepted_at_ms > 0).then(|| end_ms.saturating_sub(self.query.accepted_at_ms))
    }

    fn facts(&self) -> Html {
        let zone = || element("small", &[("class", "zone")], &[text("UTC")]);
        let moment = |at_ms| [instant(at_ms), text(" "), zone()].into_iter().collect();
        let list = facts(vec![
            ("Query", text(&self.query.query_id)),
            ("Step", self.step()),
            ("Accepted", moment(self.query.accepted_at_ms)),
            ("Ended", if self.query.ended_at_ms > 0 { moment(self.query.ended_at_ms) } else { text("–") }),
            ("Expected to read", text(bytes(self.query.estimated_scan_bytes))),
        ]);
        element("section", &[("id", "summary")], &[list])
    }
}

#[cfg(test)]
mod tests;
