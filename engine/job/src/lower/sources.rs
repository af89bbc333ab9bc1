//! `[[source]]`. Pure.

use std::collections::BTreeSet;

use super::{Lowering, origin, suggest};
use crate::document::{Node, Place};
use crate::errors::Code;
use crate::pipeline::{
    Column, CsvOptions, FileFormat, FilesSource, ParseMode, PostgresSource, RESCUED, Relation, Source, SourceInput,
};
use crate::suggest::closest;
use crate::{names, spec, sql, units};

const DEFAULT_PARTITIONS: u32 = 8;

const FILES_KEYS: [&str; 6] = ["format", "path", "mode", "schema", "csv", "incremental"];
const POSTGRES_KEYS: [&str; 5] = ["connection", "table", "query", "partition_by", "partitions"];

/// A source and the place of its name.
pub(crate) struct Draft {
    pub(crate) source: Source,
    pub(crate) name_place: Place,
}

/// A source; `None` when an error about it is in the report.
pub(super) fn source(written: &spec::Source, node: &Node, lowering: &mut Lowering<'_>) -> Option<Draft> {
    let before = lowering.report.count();
    let name_place = node.place_of("name").clone();
    if !names::is_identifier(&written.name) {
        let message = format!("'{}' is not a source name: expected {}", written.name, names::RULE);
        lowering.error(&name_place, Code::InvalidName, "source.name", message);
    }
    let kind = written.kind.unwrap_or(match written.connection {
        Some(_) => spec::SourceKind::Postgres,
        None => spec::SourceKind::Files,
    });
    let (input, other_keys, kind_name) = match kind {
        spec::SourceKind::Files => {
            (files(written, node, lowering).map(SourceInput::Files), &POSTGRES_KEYS[..], "files")
        }
        spec::SourceKind::Postgres => {
            (postgres(written, node, lowering).map(SourceInput::Postgres), &FILES_KEYS[..], "postgres")
        }
    };
    for key in other_keys.iter().filter(|key| node.entry(key).is_some()) {
        let message = format!("'{key}' does not go with kind = \"{kind_name}\"");
        lowering.error(node.key_place(key), Code::KeyCombination, &format!("source.{key}"), message);
    }
    let source = Source { name: written.name.to_ascii_lowercase(), input: input?, origin: origin(&node.place) };
    (lowering.report.count() == before).then_some(Draft { source, name_place })
}

fn missing(node: &Node, key: &str, kind: &str, lowering: &mut Lowering<'_>) {
    let message = format!("key '{key}' is missing: a source of kind {kind} needs it");
    lowering.error(&node.place, Code::MissingKey, &format!("source.{key}"), message);
}

fn files(written: &spec::Source, node: &Node, lowering: &mut Lowering<'_>) -> Option<FilesSource> {
    if written.incremental == Some(true) {
        let place = node.key_place("incremental");
        lowering.not_supported(
            place,
            "source.incremental",
            "incremental = true",
            ", which reads all files in each run",
        );
    }
    if written.format.is_none() {
        missing(node, "format", "files", lowering);
    }
    let Some(path) = &written.path else {
        missing(node, "path", "files", lowering);
        return None;
    };
    let path = lowering.location(path, node.place_of("path"), "source.path");
    let format = match written.format? {
        spec::FileFormat::Csv => FileFormat::Csv,
        spec::FileFormat::Json => FileFormat::Json,
        spec::FileFormat::Parquet => FileFormat::Parquet,
        spec::FileFormat::Avro => FileFormat::Avro,
    };
    let is_text = matches!(format, FileFormat::Csv | FileFormat::Json);
    if written.mode.is_some() && !is_text {
        let message = "'mode' goes with csv and json; a row of another format that cannot be read fails the step";
        lowering.error(node.key_place("mode"), Code::KeyCombination, "source.mode", message);
    }
    if written.csv.is_some() && format != FileFormat::Csv {
        lowering.error(node.key_place("csv"), Code::KeyCombination, "source.csv", "'csv' goes with format = \"csv\"");
    }
    let mode = match written.mode {
        Some(spec::ParseMode::Permissive) => ParseMode::Permissive,
        Some(spec::ParseMode::Drop) => ParseMode::Drop,
        Some(spec::ParseMode::FailFast) => ParseMode::FailFast,
        None if is_text => ParseMode::Permissive,
        None => ParseMode::FailFast,
    };
    let schema = written.schema.as_ref().map(|written| columns(written, node, mode, lowering));
    let csv = written.csv.as_ref().map_or_else(CsvOptions::default, |csv| csv_options(csv, node, lowering));
    Some(FilesSource { format, path: path?, mode, schema, csv })
}

fn columns(written: &spec::Columns, node: &Node, mode: ParseMode, lowering: &mut Lowering<'_>) -> Vec<Column> {
    let Some(schema) = node.get("schema") else { return Vec::new() };
    let written: Vec<(&String, &String, Place, Place)> = match written {
        spec::Columns::Map(map) => {
            let places = schema.entries().iter().map(|entry| (entry.place.clone(), entry.node.place.clone()));
            map.0
                .iter()
                .zip(places)
                .map(|((name, kind), (place, type_place))| (name, kind, place, type_place))
                .collect()
        }
        spec::Columns::List(list) => {
            let places =
                schema.items().iter().map(|item| (item.place_of("name").clone(), item.place_of("type").clone()));
            list.iter()
                .zip(places)
                .map(|(column, (place, kind))| (&column.name, &column.data_type, place, kind))
                .collect()
        }
    };
    if written.is_empty() {
        let message = "expected at least one column; leave the key out to infer the columns from the files";
        lowering.error(&schema.place, Code::InvalidValue, "source.schema", message);
    }
    let mut seen = BTreeSet::new();
    let mut columns = Vec::new();
    for (name, kind, place, type_place) in written {
        let key = format!("source.schema.{name}");
        if name.trim().is_empty() {
            lowering.error(&place, Code::InvalidName, "source.schema", "expected a column name, found an empty text");
        }
        if !seen.insert(name.to_lowercase()) {
            lowering.error(&place, Code::DuplicateName, &key, format!("column '{name}' is declared twice"));
        }
        if mode == ParseMode::Permissive && name.eq_ignore_ascii_case(RESCUED) {
            let message = format!("'{RESCUED}' is the column that mode = \"permissive\" keeps bad rows in");
            lowering.error(&place, Code::InvalidName, &key, message);
        }
        match units::column_type(kind) {
            Some(data_type) => columns.push(Column { name: name.clone(), data_type }),
            None => {
                let message = format!("'{kind}' is not a type, expected one of {}", units::COLUMN_TYPES.join(", "));
                let mut error = type_place.error(Code::InvalidValue, key, message);
                error.suggestion = closest(kind, units::COLUMN_TYPES);
                lowering.report.push(error);
            }
        }
    }
    columns
}

fn csv_options(written: &spec::Csv, node: &Node, lowering: &mut Lowering<'_>) -> CsvOptions {
    let default = CsvOptions::default();
    let Some(csv) = node.get("csv") else { return default };
    let mut character = |key: &str, value: &Option<String>| -> Option<char> {
        let text = value.as_ref()?;
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            (Some(c), None) if c.is_ascii() && !matches!(c, '\n' | '\r' | '\0') => Some(c),
            _ => {
                let message = format!("expected one ASCII character that is not a line break, found {text:?}");
                lowering.error(csv.place_of(key), Code::InvalidValue, &format!("source.csv.{key}"), message);
                None
            }
        }
    };
    let delimiter = character("delimiter", &written.delimiter).unwrap_or(default.delimiter);
    let quote = character("quote", &written.quote).unwrap_or(default.quote);
    // An escape that is the quote itself is how doubled quotes are written elsewhere.
    let escape = character("escape", &written.escape).filter(|escape| *escape != quote);
    let comment = character("comment", &written.comment);
    let used = [("delimiter", Some(delimiter)), ("quote", Some(quote)), ("escape", escape), ("comment", comment)];
    for (index, (key, value)) in used.iter().enumerate() {
        let same = used.iter().take(index).find(|(_, other)| value.is_some() && other == value);
        if let Some((other, _)) = same {
            let message = format!("'{key}' and '{other}' are the same character");
            lowering.error(csv.place_of(key), Code::KeyCombination, &format!("source.csv.{key}"), message);
        }
    }
    CsvOptions {
        header: written.header.unwrap_or(default.header),
        delimiter,
        quote,
        escape,
        null_value: written.null_value.clone(),
        multiline: written.multiline.unwrap_or(default.multiline),
        comment,
    }
}

fn postgres(written: &spec::Source, node: &Node, lowering: &mut Lowering<'_>) -> Option<PostgresSource> {
    let Some(connection) = &written.connection else {
        missing(node, "connection", "postgres", lowering);
        return None;
    };
    if !lowering.declared.connections.contains(connection) {
        let message = format!("no [connection.{connection}] is declared");
        let error = node.place_of("connection").error(Code::UnknownConnection, "source.connection", message);
        suggest(error, connection, &lowering.declared.connections, &mut lowering.report);
    }
    let relation = match (&written.table, &written.query) {
        (Some(table), None) => {
            if table.trim().is_empty() || table.chars().any(char::is_control) {
                let message = format!("expected schema.table or table, found {table:?}");
                lowering.error(node.place_of("table"), Code::InvalidName, "source.table", message);
            }
            Relation::Table(table.trim().to_owned())
        }
        (None, Some(query)) => {
            if let Some(text) = node.get("query").and_then(Node::text).filter(|text| lowering.is_substituted(text))
                && let Err(problem) = sql::check_postgres_query(&text.text)
            {
                lowering.sql_problem(text, "source.query", problem);
            }
            Relation::Query(query.trim().trim_end_matches(';').trim_end().to_owned())
        }
        (found, _) => {
            let found = if found.is_some() { "both" } else { "none" };
            let message = format!("expected exactly one of 'table' and 'query', found {found}");
            lowering.error(&node.place, Code::KeyCombination, "source", message);
            return None;
        }
    };
    let partition_by = written.partition_by.as_ref();
    if partition_by.is_some_and(|column| column.trim().is_empty()) {
        let message = "expected a column name, found an empty text";
        lowering.error(node.place_of("partition_by"), Code::InvalidName, "source.partition_by", message);
    }
    let partitions = written.partitions.unwrap_or(if partition_by.is_some() { DEFAULT_PARTITIONS } else { 1 });
    if partitions > 1 && partition_by.is_none() && matches!(relation, Relation::Query(_)) {
        let message = "a query is read in parallel by ranges of a column: add partition_by, or leave 'partitions' out";
        lowering.error(node.place_of("partitions"), Code::KeyCombination, "source.partitions", message);
    }
    Some(PostgresSource { connection: connection.clone(), relation, partition_by: partition_by.cloned(), partitions })
}
