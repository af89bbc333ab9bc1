//! Which table is made of which, across all jobs. Pure.

use std::collections::{BTreeMap, BTreeSet};

use lake_record::story::{Runs, Story, without_slash};
use lake_record::{ReadKind, StepRecord};

use super::search;
use crate::asked::{Asked, Bad};
use crate::draw::graph::{Arrow, Node, Shape, graph, legend, sign};
use crate::frame::{Page, Place};
use crate::html::{Html, element, empty, heading, section, text};
use crate::link::{self as to, route};

/// A larger graph is neither drawn nor read.
const MOST_BOXES: usize = 300;

/// Which part of the lineage is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Name or location of a table or source.
    table: String,
    text: String,
}

impl Wanted {
    /// As asked by `table`, a whole name or location, or `text`, a part of a name.
    ///
    /// # Errors
    /// When one of them is not valid, or something else is asked for.
    pub fn of(asked: &Asked) -> Result<Self, Bad> {
        asked.only(&["table", "text"])?;
        Ok(Self { table: asked.text("table")?, text: asked.text("text")? })
    }

    /// The table that is asked for; empty = none.
    pub fn table(&self) -> &str {
        &self.table
    }
}

/// What is made or read: a table or a source, at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Thing<'a> {
    is_table: bool,
    name: &'a str,
    location: &'a str,
}

/// Who makes what of what, as the newest run of each job has done it.
#[derive(Default)]
struct Web<'a> {
    /// Jobs and the last state by what they make.
    things: BTreeMap<Thing<'a>, (BTreeSet<&'a str>, &'a str)>,
    /// The job that does it, by what is read and what is made of it.
    arrows: BTreeMap<(Thing<'a>, Thing<'a>), &'a str>,
}

impl<'a> Web<'a> {
    fn of(runs: &'a Runs) -> Self {
        let mut web = Self::default();
        let mut seen: BTreeSet<(&str, Thing<'_>)> = BTreeSet::new();
        for (run, steps) in runs {
            for step in steps.iter().filter(|step| step.state != "PENDING") {
                let made = table_of(step);
                // Runs come with the newest first: an older one tells what is no longer so.
                if !seen.insert((&run.job_name, made)) {
                    continue;
                }
                let entry = web.things.entry(made).or_default();
                entry.0.insert(&run.job_name);
                if entry.1.is_empty() {
                    entry.1 = &step.state;
                }
                for read in &step.reads {
                    let location = without_slash(&read.location);
                    let thing = Thing { is_table: read.kind == ReadKind::Table, name: &read.name, location };
                    web.things.entry(thing).or_default();
                    web.arrows.entry((thing, made)).or_insert(&run.job_name);
                }
            }
        }
        web
    }

    /// Only these, and what they are made of or make.
    fn near(&mut self, is_wanted: impl Fn(&Thing<'_>) -> bool) {
        let mut kept: BTreeSet<Thing<'_>> = self.things.keys().copied().filter(|thing| is_wanted(thing)).collect();
        for (from, to) in self.arrows.keys() {
            if is_wanted(from) || is_wanted(to) {
                kept.extend([*from, *to]);
            }
        }
        self.things.retain(|thing, _| kept.contains(thing));
        self.arrows.retain(|(from, to), _| kept.contains(from) && kept.contains(to));
    }

    fn drawn(&self, label: &str) -> Vec<Html> {
        if self.things.len() > MOST_BOXES {
            return vec![empty("These are too many for a picture: search for one.")];
        }
        if self.things.is_empty() {
            return vec![empty("No step has read or written a table like this.")];
        }
        let places: BTreeMap<Thing<'_>, usize> =
            self.things.keys().enumerate().map(|(place, thing)| (*thing, place)).collect();
        let nodes: Vec<Node> = self.things.iter().map(|(thing, (jobs, state))| node(thing, jobs, state)).collect();
        let mut arrows = Vec::new();
        for ((from, to), job) in &self.arrows {
            if let (Some(from), Some(to)) = (places.get(from), places.get(to)) {
                arrows.push(Arrow { from: *from, to: *to, hint: format!("by job {job}") });
            }
        }
        let shapes = [Shape::Source, Shape::Bronze, Shape::Silver, Shape::Gold, Shape::Plain];
        let used: Vec<Shape> =
            shapes.into_iter().filter(|shape| nodes.iter().any(|node| node.shape == *shape)).collect();
        vec![graph(label, &nodes, &arrows), legend(&used)]
    }
}

fn table_of(step: &StepRecord) -> Thing<'_> {
    Thing { is_table: true, name: &step.table, location: without_slash(&step.location) }
}

fn node(thing: &Thing<'_>, jobs: &BTreeSet<&str>, state: &str) -> Node {
    if !thing.is_table {
        return Node {
            shape: Shape::Source,
            kind: "source".to_owned(),
            name: thing.name.to_owned(),
            lines: vec![end_of(thing.location)],
            href: None,
            state: ("", ""),
            is_outside: false,
        };
    }
    let shape = Shape::of_table(thing.name);
    let line = match jobs.iter().copied().collect::<Vec<_>>().as_slice() {
        [] => "no job on record writes it".to_owned(),
        [job] => format!("job {job}"),
        [job, others @ ..] => format!("jobs {job} and {} more", others.len()),
    };
    Node {
        shape,
        kind: shape.name().to_owned(),
        name: thing.name.to_owned(),
        lines: vec![line],
        href: Some(to::asked(&to::table(thing.name), &[("location", thing.location.to_owned())])),
        state: sign(state),
        is_outside: jobs.is_empty(),
    }
}

/// What tells places apart is at their end.
fn end_of(location: &str) -> String {
    const MOST: usize = 30;
    let letters = location.chars().count();
    if letters <= MOST {
        return location.to_owned();
    }
    let end: String = location.chars().skip(letters - MOST + 1).collect();
    format!("…{end}")
}

/// The page of all of it; `None` when a table is asked for that no step has read or written.
pub fn lineage(runs: &Runs, wanted: &Wanted) -> Option<Page> {
    let mut web = Web::of(runs);
    let words = wanted.text.to_lowercase();
    if !wanted.table.is_empty() {
        let location = without_slash(&wanted.table);
        let is_asked = |thing: &Thing<'_>| thing.name == wanted.table || thing.location == location;
        if !web.things.keys().any(is_asked) {
            return None;
        }
        web.near(is_asked);
    }
    if !words.is_empty() {
        web.near(|thing| thing.name.to_lowercase().contains(&words));
    }
    let remark = match words.is_empty() && wanted.table.is_empty() {
        true => "as the last run of each job has made it",
        false => "what is called so, with what it is made of and what is made of it",
    };
    let mut parts = vec![heading("Tables and what they are made of", remark)];
    parts.extend(web.drawn("Lineage across jobs"));
    let searched = if wanted.text.is_empty() { &wanted.table } else { &wanted.text };
    let body = [
        element("h1", &[], &[text("Lineage")]),
        search(route::LINEAGE, "Name of a table or source", searched),
        element("section", &[("id", "lineage")], &parts),
    ];
    Some(Page::top("Lineage".to_owned(), Place::Lineage, body.into_iter().collect()))
}

/// One table with what it is made of and what is made of it.
pub(super) fn around(runs: &Runs, story: &Story<'_>) -> Html {
    let mut web = Web::of(runs);
    web.near(|thing| thing.is_table && thing.name == story.name && thing.location == story.location);
    section("lineage", "Lineage", "one step back and one forth", &web.drawn("Lineage of this table"))
}
