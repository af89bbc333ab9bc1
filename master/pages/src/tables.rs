//! Delta tables as the steps of all applications have left them. Pure.

mod lineage;
mod one;

use lake_proto::quantity::{bytes, count};
use lake_record::StepRecord;
use lake_record::story::{Runs, Story, stories};

pub use self::lineage::{Wanted as WantedLineage, lineage};
pub use self::one::{Wanted as WantedTable, table};
use crate::asked::{Asked, Bad, Window};
use crate::draw::graph::Shape;
use crate::frame::{Page, Place};
use crate::html::Column::{Instant, Number, Text};
use crate::html::{
    Html, dash, element, heading, instant, link, number, optional, quantity_of_bytes, span, table as table_of, text,
    tiles, under, void,
};
use crate::link::{self as to, route};

const LIMIT: usize = 200;
const MOST: usize = 1_000;

/// Which tables are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    text: String,
    window: Window,
}

impl Wanted {
    /// As asked by `text`, `offset` and `limit`.
    ///
    /// # Errors
    /// When one of them is not valid, or something else is asked for.
    pub fn of(asked: &Asked) -> Result<Self, Bad> {
        asked.only(&["text", "offset", "limit"])?;
        Ok(Self { text: asked.text("text")?, window: Window::of(asked, LIMIT, MOST)? })
    }
}

/// The page of all tables.
pub fn tables(runs: &Runs, wanted: &Wanted) -> Page {
    let all = stories(runs);
    let words = wanted.text.to_lowercase();
    let is_wanted = |story: &&Story<'_>| {
        words.is_empty() || story.name.to_lowercase().contains(&words) || story.location.to_lowercase().contains(&words)
    };
    let found: Vec<&Story<'_>> = all.iter().filter(is_wanted).collect();
    let piece = found.iter().skip(wanted.window.offset).take(wanted.window.limit);
    let rows: Vec<Vec<Html>> = piece.map(|story| row(story, &all)).collect();
    let columns = [
        Text("Table"),
        Text("Layer"),
        Number("Version"),
        Number("Rows"),
        Number("Files"),
        Number("Size"),
        Instant("Last written"),
        Text("By job"),
        Text("Last checks"),
        Number("Read by steps"),
    ];
    let remark = wanted.window.remark(rows.len(), found.len());
    let sentence = "No step has written or read a table like this.";
    let list = table_of("Tables", &columns, rows, sentence);
    let kept = [("text", wanted.text.clone())];
    let turns = wanted.window.turns("Pieces of the list of tables", route::TABLES, &kept, found.len());
    let body = [
        element("h1", &[], &[text("Tables")]),
        figures(&all),
        search(route::TABLES, "Name or location", &wanted.text),
        element("section", &[("id", "list")], &[heading("Tables", remark), list, turns]),
    ];
    Page::top("Tables".to_owned(), Place::Tables, body.into_iter().collect())
}

fn figures(all: &[Story<'_>]) -> Html {
    let sum = |figure: fn(&Story<'_>) -> u64| all.iter().map(figure).fold(0, u64::saturating_add);
    let figure = |number: usize| count(u64::try_from(number).unwrap_or(u64::MAX));
    let written = all.iter().filter(|story| !story.writes.is_empty()).count();
    tiles(vec![
        (figure(written), "tables written".to_owned()),
        (figure(all.len() - written), "tables only read".to_owned()),
        (count(sum(|story| story.last().map_or(0, |table| table.files))), "data files".to_owned()),
        (bytes(sum(|story| story.last().map_or(0, |table| table.bytes))), "in data files".to_owned()),
    ])
}

/// A form that asks for what contains some text.
fn search(action: &str, label: &str, words: &str) -> Html {
    let field = [("type", "search"), ("name", "text"), ("value", words), ("placeholder", label), ("aria-label", label)];
    let mut parts = vec![void("input", &field), element("button", &[], &[text("Search")])];
    if !words.is_empty() {
        parts.push(link(action, "Show all"));
    }
    element("form", &[("method", "get"), ("action", action), ("class", "search"), ("role", "search")], &parts)
}

/// Where the page of this table is. A name alone may stand for tables of several warehouses.
fn href(story: &Story<'_>, all: &[Story<'_>]) -> String {
    let same_name = all.iter().filter(|other| other.name == story.name).count();
    let location = if same_name > 1 { story.location.to_owned() } else { String::new() };
    to::asked(&to::table(story.name), &[("location", location)])
}

fn row(story: &Story<'_>, all: &[Story<'_>]) -> Vec<Html> {
    let mut name = link(&href(story, all), story.name);
    name.push(&under("mono soft small wrap", text(story.location)));
    let last = story.last();
    let newest = story.begun().next();
    vec![
        name,
        text(Shape::of_table(story.name).name()),
        optional(story.version(), |version| text(version.to_string())),
        optional(last.and_then(|table| table.rows), number),
        optional(last, |table| number(table.files)),
        optional(last, |table| quantity_of_bytes(table.bytes)),
        instant(newest.map_or(0, |write| write.at_ms())),
        optional(newest, |write| link(&to::application(&write.run.app_id), &write.run.job_name)),
        optional(newest, |write| checks(write.step)),
        number(story.readers().len()),
    ]
}

/// How many expectations held, and how many did not.
fn checks(step: &StepRecord) -> Html {
    let violated = step.expectations.iter().filter(|found| found.violations > 0).count();
    match (step.expectations.len(), violated) {
        (0, _) => dash(),
        (all, 0) => span("good", format!("✓ {all} {}", if all == 1 { "holds" } else { "hold" })),
        (all, some) => span("warn", format!("✕ {some} of {all} violated")),
    }
}

#[cfg(test)]
mod tests;
