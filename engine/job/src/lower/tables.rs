//! `[[table]]`: everything about a step but who it reads from. Pure.

use std::collections::BTreeSet;
use std::path::Path;

use lake_proto::quantity::parse_bytes;

use super::{Lowering, has_pattern, origin, properties};
use crate::document::text::Text;
use crate::document::{Node, Place, SourceFile};
use crate::errors::Code;
use crate::pipeline::{Expectation, ExpectationAction, Table, TableInput, TableName, WriteMode};
use crate::{MAX_FILE_BYTES, location, names, params, spec, sql};

const DEFAULT_FILE_SIZE: u64 = 128 << 20;
const FILE_SIZES: std::ops::RangeInclusive<u64> = 1 << 10..=64 << 30;

/// A step whose reads are not resolved yet.
pub(crate) struct Draft {
    /// The step, with no reads.
    pub(crate) table: Table,
    pub(crate) name_place: Place,
    pub(crate) location_place: Place,
    pub(crate) references: Vec<Reference>,
}

/// A name that the step reads.
pub(crate) struct Reference {
    pub(crate) parts: Vec<String>,
    pub(crate) place: Place,
    /// `table.from`, `table.sql` or `table.sql_file`.
    pub(crate) key: &'static str,
}

/// A step; `None` when nothing can be said about it. Errors are in the report.
pub(super) fn draft(
    written: &spec::Table,
    node: &Node,
    warehouse_root: Option<&str>,
    lowering: &mut Lowering<'_>,
) -> Option<Draft> {
    let name_place = node.place_of("name").clone();
    let name = names::table_name(&written.name);
    if name.is_none() {
        let message =
            format!("'{}' is not a table name: expected schema.table or table, each {}", written.name, names::RULE);
        lowering.error(&name_place, Code::InvalidName, "table.name", message);
    }
    let location = match (&written.path, &name) {
        (Some(path), _) => own_location(path, node, lowering),
        (None, Some(name)) => warehouse_root.map(|root| crate::pipeline::location_under(root, name)),
        (None, None) => None,
    };
    let mode = mode(written, node, lowering);
    refuse_later_keys(written, node, lowering);
    let partition_by = partition_by(written, node, lowering);
    let expectations = expectations(written, node, lowering);
    let target_file_size_bytes = target_file_size(written, node, lowering);
    let properties = properties::properties(written, node, lowering);
    let input = input(written, node, lowering);
    let (name, (input, references)) = (name?, input?);
    let table = Table {
        name,
        location: location.unwrap_or_default(),
        input,
        reads: Vec::new(),
        // An error is in the report when there is none.
        mode: mode.unwrap_or(WriteMode::Append),
        partition_by,
        audit: written.audit.unwrap_or(false),
        expectations,
        target_file_size_bytes,
        properties,
        origin: origin(&node.place),
    };
    let location_place = if written.path.is_some() { node.place_of("path") } else { &name_place }.clone();
    Some(Draft { table, name_place, location_place, references })
}

fn own_location(path: &str, node: &Node, lowering: &mut Lowering<'_>) -> Option<String> {
    let place = node.place_of("path");
    let location = lowering.location(path, place, "table.path")?;
    if has_pattern(&location) {
        lowering.error(place, Code::InvalidUrl, "table.path", "expected a folder, found a pattern");
    }
    Some(location.trim_end_matches('/').to_owned())
}

fn mode(written: &spec::Table, node: &Node, lowering: &mut Lowering<'_>) -> Option<WriteMode> {
    let predicate = written.replace_where.as_ref();
    if let Some(text) = node.get("replace_where").and_then(Node::text).filter(|text| lowering.is_substituted(text))
        && let Err(problem) = sql::check_expression(&text.text)
    {
        lowering.sql_problem(text, "table.replace_where", problem);
    }
    if predicate.is_some() && written.mode != spec::WriteMode::ReplaceWhere {
        let message = "'replace_where' goes with mode = \"replace_where\"";
        lowering.error(node.key_place("replace_where"), Code::KeyCombination, "table.replace_where", message);
    }
    let executed = ", which executes append, overwrite and replace_where";
    let mode = match (written.mode, predicate) {
        (spec::WriteMode::Append, _) => WriteMode::Append,
        (spec::WriteMode::Overwrite, _) => WriteMode::Overwrite,
        (spec::WriteMode::ReplaceWhere, Some(predicate)) => WriteMode::ReplaceWhere {
            predicate: predicate.clone(),
            origin: Some(origin(node.place_of("replace_where"))),
        },
        (spec::WriteMode::ReplaceWhere, None) => {
            let message = "mode = \"replace_where\" needs the condition: replace_where = \"day = '2026-01-01'\"";
            lowering.error(node.place_of("mode"), Code::MissingKey, "table.replace_where", message);
            return None;
        }
        (spec::WriteMode::Merge, _) => {
            lowering.not_supported(node.place_of("mode"), "table.mode", "mode = \"merge\"", executed);
            return None;
        }
        (spec::WriteMode::Scd2, _) => {
            lowering.not_supported(node.place_of("mode"), "table.mode", "mode = \"scd2\"", executed);
            return None;
        }
    };
    Some(if lowering.options.full_refresh { WriteMode::Overwrite } else { mode })
}

/// Keys of the format that a later version executes: refused, never ignored.
fn refuse_later_keys(written: &spec::Table, node: &Node, lowering: &mut Lowering<'_>) {
    for (key, modes) in
        [("keys", "modes merge and scd2"), ("sequence_by", "modes merge and scd2"), ("delete_when", "mode merge")]
    {
        if node.entry(key).is_some() {
            let what = format!("'{key}', a key of {modes},");
            lowering.not_supported(node.key_place(key), &format!("table.{key}"), &what, "");
        }
    }
    let evolution = match written.evolve {
        Some(spec::Evolution::AddColumns) => "evolve = \"add_columns\"",
        Some(spec::Evolution::Overwrite) => "evolve = \"overwrite\"",
        Some(spec::Evolution::None) | None => return,
    };
    lowering.not_supported(node.place_of("evolve"), "table.evolve", evolution, ", which executes evolve = \"none\"");
}

fn partition_by(written: &spec::Table, node: &Node, lowering: &mut Lowering<'_>) -> Vec<String> {
    let items = node.get("partition_by").map_or(&[][..], Node::items);
    let mut seen = BTreeSet::new();
    for (column, item) in written.partition_by.iter().zip(items) {
        if column.trim().is_empty() || column.chars().any(|c| c.is_control() || c == '/') {
            let message = format!("expected a column name, found {column:?}");
            lowering.error(&item.place, Code::InvalidName, "table.partition_by", message);
        }
        if !seen.insert(column.to_lowercase()) {
            let message = format!("column '{column}' is listed twice");
            lowering.error(&item.place, Code::DuplicateName, "table.partition_by", message);
        }
    }
    written.partition_by.clone()
}

fn expectations(written: &spec::Table, node: &Node, lowering: &mut Lowering<'_>) -> Vec<Expectation> {
    let nodes = node.get("expect").map_or(&[][..], Node::items);
    let mut seen = BTreeSet::new();
    let mut expectations = Vec::new();
    for (expect, node) in written.expect.iter().zip(nodes) {
        let name_place = node.place_of("name");
        if !names::is_identifier(&expect.name) {
            let message = format!("'{}' is not a name: expected {}", expect.name, names::RULE);
            lowering.error(name_place, Code::InvalidName, "table.expect.name", message);
        } else if !seen.insert(expect.name.to_ascii_lowercase()) {
            let message = format!("the table has another expectation named '{}'", expect.name);
            lowering.error(name_place, Code::DuplicateName, "table.expect.name", message);
        }
        if let Some(text) = node.get("check").and_then(Node::text).filter(|text| lowering.is_substituted(text))
            && let Err(problem) = sql::check_expression(&text.text)
        {
            lowering.sql_problem(text, "table.expect.check", problem);
        }
        let action = match expect.action {
            spec::Action::Warn => ExpectationAction::Warn,
            spec::Action::Drop => ExpectationAction::Drop,
            spec::Action::Fail => ExpectationAction::Fail,
            spec::Action::Quarantine => {
                let executed = ", which executes warn, drop and fail";
                let what = "action = \"quarantine\"";
                lowering.not_supported(node.place_of("action"), "table.expect.action", what, executed);
                continue;
            }
        };
        let origin = Some(origin(node.place_of("check")));
        expectations.push(Expectation { name: expect.name.clone(), check: expect.check.clone(), action, origin });
    }
    expectations
}

fn target_file_size(written: &spec::Table, node: &Node, lowering: &mut Lowering<'_>) -> u64 {
    let Some(text) = &written.target_file_size else { return DEFAULT_FILE_SIZE };
    let size = parse_bytes(text).and_then(|size| match FILE_SIZES.contains(&size) {
        true => Ok(size),
        false => Err(format!("expected a size from 1KiB to 64GiB, found '{text}'")),
    });
    let place = node.place_of("target_file_size");
    size.map_err(|message| lowering.error(place, Code::InvalidValue, "table.target_file_size", message))
        .unwrap_or(DEFAULT_FILE_SIZE)
}

fn input(written: &spec::Table, node: &Node, lowering: &mut Lowering<'_>) -> Option<(TableInput, Vec<Reference>)> {
    match (&written.from, &written.sql, &written.sql_file) {
        (Some(from), None, None) => from_input(from, node.place_of("from"), lowering),
        (None, Some(_), None) => {
            let text = node.get("sql").and_then(Node::text)?;
            sql_input(text, "table.sql", lowering)
        }
        (None, None, Some(path)) => {
            let text = read_sql_file(path, node.place_of("sql_file"), lowering)?;
            sql_input(&text, "table.sql_file", lowering)
        }
        _ => {
            let given: Vec<&str> =
                ["from", "sql", "sql_file"].into_iter().filter(|k| node.entry(k).is_some()).collect();
            let found = if given.is_empty() { "none".to_owned() } else { given.join(" and ") };
            let place = given.get(1).map_or(&node.place, |key| node.key_place(key));
            let message = format!("expected exactly one of 'from', 'sql' and 'sql_file', found {found}");
            lowering.error(place, Code::KeyCombination, "table", message);
            None
        }
    }
}

fn from_input(from: &str, place: &Place, lowering: &mut Lowering<'_>) -> Option<(TableInput, Vec<Reference>)> {
    let Some(name) = names::table_name(from) else {
        let message = format!("'{from}' names no source or table: expected a source, schema.table or table");
        lowering.error(place, Code::InvalidName, "table.from", message);
        return None;
    };
    let parts = from.split('.').map(str::to_owned).collect();
    let reference = Reference { parts, place: place.clone(), key: "table.from" };
    Some((TableInput::From(name.to_string()), vec![reference]))
}

fn sql_input(text: &Text, key: &'static str, lowering: &mut Lowering<'_>) -> Option<(TableInput, Vec<Reference>)> {
    if !lowering.is_substituted(text) {
        return None;
    }
    match sql::query_reads(&text.text) {
        Ok(reads) => {
            let reference = |read: sql::Reference| Reference {
                place: text.place_at_line(read.position.0, read.position.1),
                parts: read.parts,
                key,
            };
            let references = reads.into_iter().map(reference).collect();
            let begins = text.place_at(0);
            let column = begins.position().column.max(1);
            Some((TableInput::Sql { text: text.text.clone(), origin: origin(&begins), column }, references))
        }
        Err(problem) => {
            lowering.sql_problem(text, key, problem);
            None
        }
    }
}

fn read_sql_file(path: &str, place: &Place, lowering: &mut Lowering<'_>) -> Option<Text> {
    let key = "table.sql_file";
    let absolute = location::normal(&lowering.folder.join(path));
    let text = match (lowering.sql_files)(&absolute) {
        Ok(text) => text,
        Err(reason) => {
            let message = format!("SQL file '{path}' cannot be read: {reason}");
            lowering.error(place, Code::SqlFile, key, message);
            return None;
        }
    };
    // As the user would name it: next to job.toml, however that was named.
    let shown = Path::new(lowering.file).parent().unwrap_or(Path::new("")).join(path).display().to_string();
    if text.len() > MAX_FILE_BYTES {
        lowering.error(place, Code::TooLarge, key, format!("{shown} has {} bytes, expected at most 1 MiB", text.len()));
        return None;
    }
    let file = SourceFile::new(shown, text.strip_prefix('\u{feff}').unwrap_or(&text));
    let text = Text::whole(&file);
    let replaced = params::substituted(&text, key, &lowering.params, &mut lowering.report);
    Some(replaced.unwrap_or(text))
}

impl Draft {
    pub(crate) fn name(&self) -> &TableName {
        &self.table.name
    }
}
