//! Every application that is known: those that run, that have ended, and those of before, from history files. Pure.

use lake_record::ApplicationSummary;

use crate::application::{shown_name, state};
use crate::asked::{Asked, Bad, Window};
use crate::frame::{Page, Place};
use crate::html::Column::{Instant, Number, Text};
use crate::html::{
    Html, dash, duration, element, heading, instant, link, nowrap, section, span, table, text, under, void,
};
use crate::link::{self as to, route};

const LIMIT: usize = 100;
const MOST: usize = 1_000;
const STATES: [&str; 7] = ["RUNNING", "SUBMITTED", "RELAUNCHING", "FINISHED", "FAILED", "KILLED", "ERROR"];

/// Which applications are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// In one of these states, upper case; empty = all.
    pub states: Vec<String>,
    /// With this in their name or id; empty = all.
    pub text: String,
    /// Which of them.
    pub window: Window,
}

impl Wanted {
    /// As asked by `state`, which may be there several times, `text`, `offset` and `limit`.
    ///
    /// # Errors
    /// When one of them is not valid, or something else is asked for.
    pub fn of(asked: &Asked) -> Result<Self, Bad> {
        asked.only(&["state", "text", "offset", "limit"])?;
        let mut states = Vec::new();
        for state in asked.all("state") {
            let known = STATES.into_iter().find(|known| known.eq_ignore_ascii_case(state));
            let Some(known) = known else {
                return Err(Bad(format!(
                    "'state' is '{}': expected {}",
                    crate::draw::cut(state, 100),
                    STATES.join(", ")
                )));
            };
            if !states.iter().any(|state| state == known) {
                states.push(known.to_owned());
            }
        }
        Ok(Self { states, text: asked.text("text")?, window: Window::of(asked, LIMIT, MOST)? })
    }

    fn kept(&self) -> Vec<(&'static str, String)> {
        let mut kept: Vec<_> = self.states.iter().map(|state| ("state", state.clone())).collect();
        kept.push(("text", self.text.clone()));
        kept.push(("limit", if self.window.limit == LIMIT { String::new() } else { self.window.limit.to_string() }));
        kept
    }
}

/// What the page of the history shows.
#[derive(Debug, Clone, Copy)]
pub struct History<'a> {
    /// What was asked for.
    pub wanted: &'a Wanted,
    /// These of them, the newest first.
    pub applications: &'a [ApplicationSummary],
    /// How many there are.
    pub total: usize,
    /// History files that could not be read: name and why.
    pub unreadable: &'a [(String, String)],
    /// Now.
    pub now_ms: u64,
}

/// The page.
pub fn history(history: &History<'_>) -> Page {
    let body = [element("h1", &[], &[text("Applications")]), history.form(), history.list(), history.unreadable()];
    Page::top("Applications".to_owned(), Place::History, body.into_iter().collect())
}

impl History<'_> {
    fn form(&self) -> Html {
        let wanted = self.wanted;
        let words = [
            ("type", "search"),
            ("name", "text"),
            ("value", wanted.text.as_str()),
            ("placeholder", "Name or id"),
            ("aria-label", "Name or id"),
        ];
        let mut parts = vec![void("input", &words)];
        let mut boxes = vec![element("legend", &[], &[text("State")])];
        for state in STATES {
            let mut attributes = vec![("type", "checkbox"), ("name", "state"), ("value", state)];
            if wanted.states.iter().any(|wanted| wanted == state) {
                attributes.push(("checked", ""));
            }
            boxes.push(element(
                "label",
                &[],
                &[void("input", &attributes), text(format!(" {}", state.to_lowercase()))],
            ));
        }
        parts.push(element("fieldset", &[], &boxes));
        parts.push(element("button", &[], &[text("Search")]));
        if !wanted.states.is_empty() || !wanted.text.is_empty() {
            parts.push(link(route::HISTORY, "Show all"));
        }
        element(
            "form",
            &[("method", "get"), ("action", route::HISTORY), ("class", "search"), ("role", "search")],
            &parts,
        )
    }

    fn list(&self) -> Html {
        let rows: Vec<Vec<Html>> = self.applications.iter().map(|summary| row(summary, self.now_ms)).collect();
        let columns = [
            Text("Application"),
            Text("Job"),
            Text("State"),
            Instant("Submitted"),
            Number("Duration"),
            Text("Attempt"),
            Text("Reason"),
        ];
        let remark = self.wanted.window.remark(rows.len(), self.total);
        let body = table("Applications", &columns, rows, "No application is like this.");
        let turns = self.wanted.window.turns("Pieces of the list", route::HISTORY, &self.wanted.kept(), self.total);
        element("section", &[("id", "list")], &[heading("Found", remark), body, turns])
    }

    fn unreadable(&self) -> Html {
        if self.unreadable.is_empty() {
            return Html::default();
        }
        let rows = self.unreadable.iter().map(|(name, why)| vec![span("mono", name), text(why)]).collect();
        let body = table("Unreadable", &[Text("File"), Text("Why")], rows, "None.");
        section("unreadable", "History files that cannot be read", self.unreadable.len().to_string(), &[body])
    }
}

fn row(summary: &ApplicationSummary, now_ms: u64) -> Vec<Html> {
    let mut name = link(&to::application(&summary.app_id), shown_name(summary));
    name.push(&under("mono soft nowrap", text(&summary.app_id)));
    let reason = match (&summary.failure, summary.waits_for.as_str()) {
        (Some(fault), _) => text(format!("{} · {}", fault.class, fault.code)),
        (None, "") => text(""),
        (None, waits_for) => span("soft", format!("waits for {waits_for}")),
    };
    vec![
        name,
        text(&summary.job_name),
        state(summary),
        instant(summary.submitted_at_ms),
        match summary.elapsed_ms(now_ms) {
            0 => dash(),
            ms => nowrap(duration(ms)),
        },
        text(format!("{} of {}", summary.attempt, summary.max_attempts)),
        reason,
    ]
}

#[cfg(test)]
mod tests;
