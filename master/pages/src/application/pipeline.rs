//! The pipeline as a graph: what is read on the left, what is made of it to the right. Pure.

use std::collections::BTreeMap;

use lake_job::{FileFormat, Pipeline, Read, Source, SourceInput};
use lake_proto::quantity::{count, counted, noun};
use lake_record::{QueryState, ReadKind, StepRecord};

use super::{Application, anchor};
use crate::draw::graph::{Arrow, Node, Shape, graph, legend, sign};
use crate::html::{Html, duration, empty, section};
use crate::link as to;

/// A larger graph is neither drawn nor read.
const MOST_BOXES: usize = 300;

pub(super) fn graph_of_steps(application: &Application<'_>) -> Html {
    let record = application.record;
    let mut picture = Picture::default();
    match &record.pipeline {
        Some(pipeline) => picture.of_pipeline(pipeline, application),
        None => picture.of_steps(application),
    }
    picture.pin(&record.steps);
    let shapes: Vec<Shape> = [Shape::Source, Shape::Bronze, Shape::Silver, Shape::Gold, Shape::Plain]
        .into_iter()
        .filter(|shape| picture.nodes.iter().any(|node| node.shape == *shape))
        .collect();
    let body = match picture.nodes.len() {
        0 => vec![empty("Its job is not on record.")],
        1..=MOST_BOXES => vec![graph("Steps and what they read", &picture.nodes, &picture.arrows), legend(&shapes)],
        _ => vec![empty("It has too many steps for a picture; the table below has all.")],
    };
    section("pipeline", "Pipeline", counted(record.steps.len(), "step"), &body)
}

/// Boxes by what they stand for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Source(String),
    Table(String),
}

#[derive(Default)]
struct Picture {
    nodes: Vec<Node>,
    arrows: Vec<Arrow>,
    places: BTreeMap<Key, usize>,
}

impl Picture {
    fn of_pipeline(&mut self, pipeline: &Pipeline, application: &Application<'_>) {
        let is_read = |name: &str| {
            pipeline
                .tables
                .iter()
                .flat_map(|table| &table.reads)
                .any(|read| matches!(read, Read::Source(s) if s == name))
        };
        for source in pipeline.sources.iter().filter(|source| is_read(&source.name)) {
            self.add(Key::Source(source.name.clone()), source_node(&source.name, &kind_of(source)));
        }
        for table in &pipeline.tables {
            let name = table.name.to_string();
            self.add(Key::Table(name.clone()), step_node(application, &name));
        }
        for table in &pipeline.tables {
            for read in &table.reads {
                let key = match read {
                    Read::Source(name) => Key::Source(name.clone()),
                    Read::Table(name) | Read::External(name) => Key::Table(name.to_string()),
                };
                self.join(key, &table.name.to_string());
            }
        }
    }

    fn of_steps(&mut self, application: &Application<'_>) {
        let steps = &application.record.steps;
        for step in steps {
            self.add(Key::Table(step.table.clone()), step_node(application, &step.table));
        }
        for step in steps {
            for read in &step.reads {
                self.join(key_of(read.kind, &read.name), &step.table);
            }
        }
    }

    /// Says at the arrows which version was read.
    fn pin(&mut self, steps: &[StepRecord]) {
        for step in steps {
            for read in &step.reads {
                let from = self.places.get(&key_of(read.kind, &read.name));
                let to = self.places.get(&Key::Table(step.table.clone()));
                let (Some(version), Some(from), Some(to)) = (read.version, from, to) else { continue };
                let arrow = self.arrows.iter_mut().find(|arrow| arrow.from == *from && arrow.to == *to);
                if let Some(arrow) = arrow {
                    arrow.hint = format!("{} read version {version} of {}", step.table, read.name);
                }
            }
        }
    }

    fn add(&mut self, key: Key, node: Node) -> usize {
        let place = self.nodes.len();
        self.nodes.push(node);
        self.places.insert(key, place);
        place
    }

    fn join(&mut self, from: Key, table: &str) {
        let Some(to) = self.places.get(&Key::Table(table.to_owned())).copied() else { return };
        let from = match (self.places.get(&from).copied(), &from) {
            (Some(place), _) => place,
            (None, Key::Source(name)) => self.add(from.clone(), source_node(name, "source")),
            (None, Key::Table(name)) => self.add(from.clone(), outside_node(name)),
        };
        self.arrows.push(Arrow { from, to, hint: String::new() });
    }
}

fn key_of(kind: ReadKind, name: &str) -> Key {
    match kind {
        ReadKind::Source => Key::Source(name.to_owned()),
        ReadKind::Table => Key::Table(name.to_owned()),
    }
}

fn kind_of(source: &Source) -> String {
    match &source.input {
        SourceInput::Files(files) => match files.format {
            FileFormat::Csv => "csv files",
            FileFormat::Json => "json files",
            FileFormat::Parquet => "parquet files",
            FileFormat::Avro => "avro files",
        }
        .to_owned(),
        SourceInput::Postgres(postgres) => format!("postgres · {}", postgres.connection),
    }
}

fn source_node(name: &str, kind: &str) -> Node {
    Node {
        shape: Shape::Source,
        kind: kind.to_owned(),
        name: name.to_owned(),
        lines: Vec::new(),
        href: None,
        state: ("", ""),
        is_outside: false,
    }
}

/// A table that no step of this run writes.
fn outside_node(name: &str) -> Node {
    let shape = Shape::of_table(name);
    Node {
        shape,
        kind: format!("{} · not of this run", shape.name()),
        name: name.to_owned(),
        lines: Vec::new(),
        href: Some(to::table(name)),
        state: ("", ""),
        is_outside: true,
    }
}

fn step_node(application: &Application<'_>, name: &str) -> Node {
    let record = application.record;
    let step = record.step(name);
    let shape = Shape::of_table(name);
    let mut lines = Vec::new();
    let state = step.map_or("PENDING", |step| step.state.as_str());
    if let Some(step) = step {
        if let Some(version) = step.version {
            lines.push(format!("{} rows → v{version}", count(step.rows_out)));
        }
        let running = record.queries_of(name).filter(|query| query.state == QueryState::Running);
        let tasks = running.flat_map(|query| &query.stages).fold((0_u64, 0_u64), |(done, all), stage| {
            (done + u64::from(stage.tasks_done), all + u64::from(stage.tasks))
        });
        if tasks.1 > 0 {
            lines.push(format!("{} of {} {}", count(tasks.0), count(tasks.1), noun(tasks.1, "task", "tasks")));
        }
        let mut last = vec![state.to_lowercase().replace('_', " ")];
        if step.elapsed_ms(application.now_ms) > 0 {
            last.push(duration(step.elapsed_ms(application.now_ms)));
        }
        if step.violations() > 0 {
            last.push(format!("{} violated", count(step.violations())));
        }
        lines.push(last.join(" · "));
    }
    Node {
        shape,
        kind: shape.name().to_owned(),
        name: name.to_owned(),
        lines,
        href: anchor(&record.steps, name).map(|id| format!("#{id}")),
        state: sign(state),
        is_outside: false,
    }
}
