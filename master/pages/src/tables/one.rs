//! One table: what it is, how it became so, whether it was good, who makes and reads it. Pure.

use std::collections::BTreeMap;

use lake_proto::quantity::{bytes, count, counted};
use lake_record::story::{Runs, Story, Write, stories, without_slash};
use lake_record::{SIZE_BUCKETS, TableRecord};

use super::{href, lineage};
use crate::application::{figures, shown_name, versions};
use crate::asked::{Asked, Bad, Window};
use crate::draw::charts::histogram;
use crate::draw::graph::Shape;
use crate::draw::strip::sparkline;
use crate::frame::{Freshness, Page, Place};
use crate::html::Column::{Instant, Number, Text};
use crate::html::{
    Html, badge, dash, element, empty, facts, heading, instant, link, number, optional, section, share, span,
    table as table_of, text, under,
};
use crate::link::{self as to, route};

const LIMIT: usize = 50;
const MOST: usize = 1_000;
/// Runs in the line of an expectation.
const RUNS_SHOWN: usize = 30;

/// Which part of a table's story is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    location: String,
    window: Window,
}

impl Wanted {
    /// As asked by `location`, `offset` and `limit`.
    ///
    /// # Errors
    /// When one of them is not valid, or something else is asked for.
    pub fn of(asked: &Asked) -> Result<Self, Bad> {
        asked.only(&["location", "offset", "limit"])?;
        Ok(Self { location: asked.text("location")?, window: Window::of(asked, LIMIT, MOST)? })
    }

    /// Where the table is that is asked for; empty = anywhere.
    pub fn location(&self) -> &str {
        &self.location
    }
}

/// The page of a table; `None` when no step wrote or read one of that name.
pub fn table(runs: &Runs, name: &str, wanted: &Wanted) -> Option<Page> {
    let all = stories(runs);
    let same_name: Vec<&Story<'_>> = all.iter().filter(|story| story.name == name).collect();
    let is_asked = |story: &&&Story<'_>| story.location == without_slash(&wanted.location);
    let story = if wanted.location.is_empty() {
        // The one that was written last.
        same_name.iter().max_by_key(|story| story.begun().next().map(Write::at_ms))
    } else {
        same_name.iter().find(is_asked)
    };
    let story = *story?;
    let body = [
        head(story, &same_name, &all),
        summary(story),
        columns(story),
        history(story, wanted, &all),
        sizes(story),
        expectations(story),
        users(story),
        lineage::around(runs, story),
    ];
    Some(Page {
        title: name.to_owned(),
        place: Place::Tables,
        above: vec![("Tables".to_owned(), route::TABLES.to_owned())],
        body: body.into_iter().collect(),
        freshness: Freshness::Live,
    })
}

fn head(story: &Story<'_>, same_name: &[&Story<'_>], all: &[Story<'_>]) -> Html {
    let layer = element("span", &[("class", "badge")], &[text(Shape::of_table(story.name).name())]);
    let title = element("h1", &[], &[text(story.name), text(" "), layer]);
    let mut parts = vec![element("div", &[("class", "title")], &[title])];
    if same_name.len() > 1 {
        let mut links = vec![text("There are tables of this name at several places: ")];
        for (index, other) in same_name.iter().enumerate() {
            if index > 0 {
                links.push(text(", "));
            }
            links.push(if other.location == story.location {
                element("strong", &[], &[text(other.location)])
            } else {
                link(&href(other, all), other.location)
            });
        }
        parts.push(element("p", &[("class", "notice")], &links));
    }
    parts.into_iter().collect()
}

fn summary(story: &Story<'_>) -> Html {
    let last = story.last();
    let zone = element("small", &[("class", "zone")], &[text("UTC")]);
    let moment = |at_ms| [instant(at_ms), text(" "), zone].into_iter().collect();
    let partitions = last.filter(|table| !table.partition_by.is_empty()).map(|table| {
        let known = table.partitions.map(|some| format!(" ({})", counted(some, "partition"))).unwrap_or_default();
        text(format!("{}{known}", table.partition_by.join(", ")))
    });
    let list = facts(vec![
        ("Location", span("mono wrap", story.location)),
        ("Version", optional(story.version(), |version| text(version.to_string()))),
        ("Committed", optional(last.map(|table| table.committed_at_ms), moment)),
        ("Last operation", optional(last, |table| text(&table.operation))),
        ("Rows", optional(last.and_then(|table| table.rows), number)),
        ("Data files", optional(last, |table| number(table.files))),
        ("Size", optional(last, |table| text(bytes(table.bytes)))),
        ("Mean size of a file", optional(last, |table| text(bytes(table.bytes / table.files.max(1))))),
        ("Partitioned by", optional(partitions, |words| words)),
    ]);
    element("section", &[("id", "summary")], &[list])
}

fn columns(story: &Story<'_>) -> Html {
    let last = story.last();
    let is_partition = |table: &TableRecord, name: &str| table.partition_by.iter().any(|column| column == name);
    let mut rows = Vec::new();
    if let Some(table) = last {
        for column in &table.columns {
            rows.push(vec![
                span("mono", &column.name),
                span("mono", &column.data_type),
                text(if column.is_nullable { "may be NULL" } else { "NOT NULL" }),
                text(if is_partition(table, &column.name) { "partition" } else { "" }),
            ]);
        }
    }
    let remark = last.map(|table| format!("{} at version {}", table.columns.len(), table.version)).unwrap_or_default();
    let heads = [Text("Column"), Text("Type"), Text("NULL"), Text("Role")];
    section("columns", "Columns", remark, &[table_of("Columns", &heads, rows, "Nobody has told its columns.")])
}

fn history(story: &Story<'_>, wanted: &Wanted, all: &[Story<'_>]) -> Html {
    let window = wanted.window;
    let total = story.begun().count();
    let rows: Vec<Vec<Html>> = story.begun().skip(window.offset).take(window.limit).map(written).collect();
    let heads = [
        Number("Version"),
        Text("Operation"),
        Text("Run"),
        Text("State"),
        Instant("Committed"),
        Number("Rows written"),
        Number("Bytes"),
        Number("Files"),
        Text("Checks"),
        Text("Metrics of the commit"),
    ];
    let remark = window.remark(rows.len(), total);
    let body = table_of("Versions", &heads, rows, "No step on record has written it.");
    let turns = window.turns("Pieces of the list of versions", &href(story, all), &[], total);
    element("section", &[("id", "versions")], &[heading("Versions", remark), body, turns])
}

fn written(write: &Write<'_>) -> Vec<Html> {
    let (run, step) = (write.run, write.step);
    let after = step.table_after.as_ref();
    let mut metrics = Html::default();
    for (key, value) in after.iter().flat_map(|table| &table.operation_metrics) {
        metrics.push(&under("small nowrap", text(format!("{key} {}", figure(value)))));
    }
    let mut name = link(&to::application(&run.app_id), shown_name(run));
    name.push(&under("mono soft nowrap small", text(&run.app_id)));
    let [_, rows, size, files] = figures(step);
    vec![
        versions(step),
        after.map_or_else(dash, |table| text(&table.operation)),
        name,
        badge(&step.state),
        instant(write.at_ms()),
        rows,
        size,
        files,
        super::checks(step),
        if metrics.is_empty() {
            dash()
        } else {
            element("details", &[], &[element("summary", &[], &[text("Show")]), metrics])
        },
    ]
}

/// Figures in commits are text.
fn figure(value: &str) -> String {
    value.parse().map_or_else(|_| value.to_owned(), count)
}

fn sizes(story: &Story<'_>) -> Html {
    let told = story.last().filter(|table| table.file_sizes.iter().any(|files| *files > 0));
    let Some(table) = told else {
        return section("files", "Sizes of its files", "", &[empty("Nobody has told the sizes of its files.")]);
    };
    let mut names: Vec<String> = SIZE_BUCKETS.iter().map(|bound| format!("≤ {}", short(*bound))).collect();
    names.push(format!("> {}", short(SIZE_BUCKETS.last().copied().unwrap_or_default())));
    let buckets: Vec<(String, u64)> = names.into_iter().zip(table.file_sizes.iter().copied()).collect();
    let words: Vec<String> = buckets.iter().map(|(name, files)| format!("{name}: {files}")).collect();
    let chart = histogram(&format!("Data files by size: {}", words.join(", ")), &buckets);
    let remark = format!("{} at version {}", counted(table.files, "data file"), table.version);
    section("files", "Sizes of its files", remark, &[element("div", &[("class", "scroll")], &[chart])])
}

/// Bounds are whole numbers of their unit.
fn short(bound: u64) -> String {
    bytes(bound).replace(".0 ", " ")
}

fn expectations(story: &Story<'_>) -> Html {
    // From the oldest run to the newest.
    type Check<'a> = (&'a Write<'a>, u64, Option<u64>, &'a str);
    let mut found: BTreeMap<&str, Vec<Check<'_>>> = BTreeMap::new();
    for write in story.writes.iter().take(RUNS_SHOWN).rev() {
        for expectation in &write.step.expectations {
            let line = (write, expectation.violations, expectation.checked, expectation.action.as_str());
            found.entry(&expectation.name).or_default().push(line);
        }
    }
    let mut rows = Vec::new();
    for (name, runs) in &found {
        let shares: Vec<f64> = runs.iter().map(|(_, violations, checked, _)| part(*violations, *checked)).collect();
        let violated = runs.iter().filter(|(_, violations, _, _)| *violations > 0).count();
        let Some((newest, violations, checked, action)) = runs.last() else { continue };
        let hint = format!("{name}: violated in {violated} of the last {}", counted(runs.len(), "run"));
        let sign = if *violations == 0 { span("good", "✓ holds") } else { span("warn", "✕ violated") };
        rows.push(vec![
            text(name),
            text(action),
            sign,
            number(*violations),
            optional(*checked, |checked| text(share(*violations, checked))),
            sparkline(&shares, &hint),
            text(format!("{violated} of {}", runs.len())),
            link(&to::application(&newest.run.app_id), shown_name(newest.run)),
        ]);
    }
    let heads = [
        Text("Expectation"),
        Text("Action"),
        Text("Last result"),
        Number("Violations"),
        Number("Share"),
        Text("From run to run"),
        Number("Runs violated"),
        Text("Last run"),
    ];
    let remark = format!("over the last {} runs at most", RUNS_SHOWN);
    let body = table_of("Expectations", &heads, rows, "No step that wrote it has an expectation.");
    section("quality", "Data quality", remark, &[body])
}

fn part(violations: u64, checked: Option<u64>) -> f64 {
    match checked {
        Some(checked) if checked > 0 => (violations as f64) / (checked as f64),
        Some(_) | None if violations > 0 => 1.0,
        Some(_) | None => 0.0,
    }
}

fn users(story: &Story<'_>) -> Html {
    let mut rows = Vec::new();
    for (job, (write, times)) in story.writers() {
        rows.push(vec![
            text(job),
            text("writes"),
            text(&write.step.mode),
            link(&to::application(&write.run.app_id), shown_name(write.run)),
            instant(write.at_ms()),
            optional(write.step.version, |version| text(version.to_string())),
            number(times),
        ]);
    }
    for ((job, step), reading) in story.readers() {
        let times = story.reads.iter().filter(|other| other.run.job_name == job && other.step.table == step).count();
        rows.push(vec![
            text(job),
            text("reads"),
            link(&to::table(step), step),
            link(&to::application(&reading.run.app_id), shown_name(reading.run)),
            instant(reading.step.started_at_ms),
            optional(reading.read.version, |version| text(version.to_string())),
            number(times),
        ]);
    }
    let heads = [
        Text("Job"),
        Text("Does"),
        Text("How, or into which table"),
        Text("Last run"),
        Instant("When"),
        Number("Version"),
        Number("Runs"),
    ];
    section("users", "Who writes and reads it", "", &[table_of("Users", &heads, rows, "Nobody on record.")])
}
