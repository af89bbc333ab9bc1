//! From the file as written to the [`Pipeline`]: what keys mean, which go together, what this version executes. Pure:
//! SQL files arrive through a function.
//!
//! Never here: keys and types (`crate::check`), who reads whom ([`crate::graph`]).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::decode::decode;
use crate::document::text::Text;
use crate::document::{Node, Place};
use crate::errors::{Code, Error, Report};
use crate::params::Params;
use crate::pipeline::{Origin, Pipeline};
use crate::suggest::closest;
use crate::{LoadOptions, SqlFiles, graph, location, names, select, spec, sql, units};

mod profiles;
pub(crate) mod properties;
pub(crate) mod sources;
pub(crate) mod tables;

/// One job on its way from the file to its meaning: what every part needs, and what is wrong so far.
pub(crate) struct Lowering<'a> {
    pub(crate) options: &'a LoadOptions,
    /// job.toml as the user named it.
    pub(crate) file: &'a str,
    /// Absolute folder of job.toml.
    pub(crate) folder: PathBuf,
    pub(crate) params: Params,
    pub(crate) sql_files: &'a SqlFiles<'a>,
    pub(crate) declared: Declared,
    pub(crate) report: Report,
}

/// Names that the file declares, also those of entries that are wrong: nobody is told that they do not exist.
#[derive(Debug, Default)]
pub(crate) struct Declared {
    pub(crate) tables: BTreeSet<String>,
    pub(crate) sources: BTreeSet<String>,
    pub(crate) connections: BTreeSet<String>,
    /// False when an entry has no readable name.
    pub(crate) is_complete: bool,
}

impl Declared {
    /// The names in a tree that is not checked yet.
    pub(crate) fn of(root: &Node) -> Self {
        let mut is_complete = true;
        let mut list = |section: &str| -> BTreeSet<String> {
            let items = root.get(section).map_or(&[][..], Node::items);
            let named = items.iter().filter_map(|item| item.get("name")?.text());
            let names: Vec<String> = named.map(|text| text.text.to_ascii_lowercase()).collect();
            is_complete &= names.len() == items.len();
            names.into_iter().collect()
        };
        let (tables, sources) = (list("table"), list("source"));
        let connections = root.get("connection").map_or(&[][..], Node::entries);
        let connections = connections.iter().map(|entry| entry.key.clone()).collect();
        Self { tables, sources, connections, is_complete }
    }
}

impl Lowering<'_> {
    pub(crate) fn error(&mut self, place: &Place, code: Code, key: &str, message: impl Into<String>) {
        self.report.push(place.error(code, key, message));
    }

    fn not_supported(&mut self, place: &Place, key: &str, what: &str, executed: &str) {
        let message = format!("{what} is not executed by this version of lake{executed}");
        self.error(place, Code::NotSupported, key, message);
    }

    /// Reports a problem inside the SQL `text`, at the place where it was written.
    fn sql_problem(&mut self, text: &Text, key: &str, problem: sql::Problem) {
        let place = match problem.position {
            Some((line, column)) => text.place_at_line(line, column),
            None => text.place_at(0),
        };
        self.error(&place, problem.code, key, problem.message);
    }

    fn location(&mut self, written: &str, place: &Place, key: &str) -> Option<String> {
        // What is typed on a command line is relative to where it is typed.
        let folder: &Path = match place {
            Place::File(..) => &self.folder,
            Place::Flag(_) => &self.options.working_directory,
        };
        location::resolve(written, folder).map_err(|message| self.error(place, Code::InvalidUrl, key, message)).ok()
    }

    /// Whether SQL is worth parsing: with a parameter missing in it, its errors would say nothing.
    fn is_substituted(&self, text: &Text) -> bool {
        self.report.count() == 0 || !text.text.contains("${")
    }
}

fn origin(place: &Place) -> Origin {
    let position = place.position();
    Origin { file: position.file, line: position.line }
}

/// The pipeline of a checked tree; `None`, or errors in the report, when it has none.
pub(crate) fn lower(root: &Node, lowering: &mut Lowering<'_>) -> Option<Pipeline> {
    let file: spec::File = match decode(root) {
        Ok(file) => file,
        Err(failure) => {
            lowering.error(&root.place, Code::InvalidValue, "", failure.to_string());
            return None;
        }
    };
    let name = job_name(&file.job, root, lowering);
    let timeout_ms = limit(file.job.timeout.as_deref(), "timeout", root, lowering);
    let task_timeout_ms = limit(file.job.task_timeout.as_deref(), "task_timeout", root, lowering);
    let warehouse = root.get("warehouse")?;
    let root_place = warehouse.place_of("root");
    let warehouse_root = lowering.location(&file.warehouse.root, root_place, "warehouse.root");
    let warehouse_root = warehouse_root.map(|url| url.trim_end_matches('/').to_owned());
    if warehouse_root.as_deref().is_some_and(has_pattern) {
        lowering.error(root_place, Code::InvalidUrl, "warehouse.root", "expected a folder, found a pattern");
    }

    let storage = profiles::storage(&file.storage, root.get("storage"), lowering);
    let connections = profiles::connections(&file.connection, root.get("connection"), lowering);
    let source_nodes = root.get("source").map_or(&[][..], Node::items);
    let sources: Vec<_> = file.source.iter().zip(source_nodes).map(|(s, n)| sources::source(s, n, lowering)).collect();
    let table_nodes = root.get("table").map_or(&[][..], Node::items);
    if table_nodes.is_empty() && lowering.declared.tables.is_empty() && lowering.report.count() == 0 {
        let message = "the job fills no table: expected at least one [[table]]";
        lowering.error(&root.place, Code::MissingKey, "table", message);
    }
    let mut drafts = Vec::new();
    for (table, node) in file.table.iter().zip(table_nodes) {
        drafts.extend(tables::draft(table, node, warehouse_root.as_deref(), lowering));
    }
    let sources: Vec<sources::Draft> = sources.into_iter().flatten().collect();
    for (table, node) in file.table.iter().zip(table_nodes) {
        properties::stats_columns(table, node, &sources, lowering);
    }
    let tables = graph::resolve(drafts, &sources, lowering);
    if lowering.report.count() > 0 {
        return None;
    }
    let pipeline = Pipeline {
        name,
        max_attempts: file.job.max_attempts.unwrap_or(lake_proto::DEFAULT_MAX_ATTEMPTS),
        timeout_ms,
        task_timeout_ms,
        speculation: file.job.speculation.unwrap_or(false),
        params: std::mem::take(&mut lowering.params).into_values(),
        warehouse_root: warehouse_root?,
        storage,
        connections,
        sources: sources.into_iter().map(|draft| draft.source).collect(),
        tables,
        external_locations: BTreeMap::new(),
    };
    select::select(pipeline, lowering.options, &mut lowering.report)
}

fn job_name(job: &spec::Job, root: &Node, lowering: &mut Lowering<'_>) -> String {
    let (name, place) = match &lowering.options.name {
        Some(name) => (name.clone(), Place::flag("--name")),
        None => (job.name.clone(), root.get("job").map_or(&root.place, |job| job.place_of("name")).clone()),
    };
    if !names::is_job_name(&name) {
        let message = format!(
            "'{name}' is not a job name: expected letters, digits, '_', '-' or '.', at most 128, not beginning with '.' \
             or '-'"
        );
        lowering.error(&place, Code::InvalidName, "job.name", message);
    }
    name
}

/// The milliseconds of `job.<key>`.
fn limit(written: Option<&str>, key: &str, root: &Node, lowering: &mut Lowering<'_>) -> Option<u64> {
    let written = written?;
    let limit = units::duration_ms(written).and_then(|limit| match limit {
        0 => Err("expected a duration above zero; leave the key out for no limit".to_owned()),
        limit => Ok(limit),
    });
    let place = root.get("job").map_or(&root.place, |job| job.place_of(key));
    limit.map_err(|message| lowering.error(place, Code::InvalidValue, &format!("job.{key}"), message)).ok()
}

fn has_pattern(url: &str) -> bool {
    url.contains(['*', '[', ']', '{', '}']) || url.contains("%3F") || url.contains("%7B")
}

fn suggest<'a>(mut error: Error, found: &str, known: impl IntoIterator<Item = &'a String>, report: &mut Report) {
    if report.has_room() {
        error.suggestion = closest(found, known.into_iter().map(String::as_str));
    }
    report.push(error);
}
