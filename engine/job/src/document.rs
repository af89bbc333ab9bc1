//! TOML text as a tree in which every key and value knows its place, down to the characters inside a string. Pure.
//!
//! Never here: which keys exist; that is `crate::check`.

use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::errors::{Code, Error, Position, Report};
use text::Text;

pub(crate) mod text;

/// A file's text with what is needed to tell positions in it.
#[derive(Debug)]
pub(crate) struct SourceFile {
    name: String,
    pub(crate) text: String,
    line_starts: Vec<usize>,
}

impl SourceFile {
    pub(crate) fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        let text = text.into();
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(index, _)| index + 1);
        let line_starts = std::iter::once(0).chain(breaks).collect();
        Arc::new(Self { name: name.into(), text, line_starts })
    }

    fn position(&self, offset: usize) -> Position {
        let line = self.line_starts.partition_point(|start| *start <= offset).max(1);
        let start = self.line_starts.get(line - 1).copied().unwrap_or_default();
        let column = self.text.get(start..offset).map_or(1, |before| before.chars().count() + 1);
        Position { file: self.name.clone(), line: number(line), column: number(column) }
    }
}

fn number(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Where a key, a value or a character comes from.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// A byte of a file.
    File(Arc<SourceFile>, usize),
    /// A command-line option, for example `--param ds`.
    Flag(Arc<str>),
}

impl Place {
    pub(crate) fn flag(text: impl Into<Arc<str>>) -> Self {
        Self::Flag(text.into())
    }

    pub(crate) fn position(&self) -> Position {
        match self {
            Self::File(file, offset) => file.position(*offset),
            Self::Flag(flag) => Position { file: flag.to_string(), line: 0, column: 0 },
        }
    }

    pub(crate) fn error(&self, code: Code, key: impl Into<String>, message: impl Into<String>) -> Error {
        Error { position: self.position(), key: key.into(), code, message: message.into(), suggestion: None }
    }
}

/// A value and its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// What a node holds; dates are text.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Text(Text),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    List(Vec<Node>),
    Table(Vec<Entry>),
}

/// A key, its place and its value. Entries are in the order of the file.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) place: Place,
    pub(crate) node: Node,
}

impl Node {
    /// The entries of a table; none of anything else.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Table(entries) => entries,
            _ => &[],
        }
    }

    /// The nodes of a list; none of anything else.
    pub(crate) fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.node)
    }

    pub(crate) fn text(&self) -> Option<&Text> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The place of the value of `key`, or of the node itself when it has no such key.
    pub(crate) fn place_of(&self, key: &str) -> &Place {
        self.get(key).map_or(&self.place, |node| &node.place)
    }

    /// The place of the key `key` itself.
    pub(crate) fn key_place(&self, key: &str) -> &Place {
        self.entry(key).map_or(&self.place, |entry| &entry.place)
    }

    /// What the value is, with its article.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Text(_) => "a text",
            Value::Integer(_) => "an integer",
            Value::Float(_) => "a float",
            Value::Boolean(_) => "a boolean",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }
}

/// Reads a file as TOML; `None` when it is not, and the report then says where.
pub(crate) fn parse(file: &Arc<SourceFile>, report: &mut Report) -> Option<Node> {
    let before = report.count();
    let (table, errors) = DeTable::parse_recoverable(&file.text);
    for error in errors {
        let offset = error.span().map_or(0, |span| span.start);
        report.push(Place::File(file.clone(), offset).error(Code::TomlSyntax, "", error.message()));
    }
    if report.count() > before {
        return None;
    }
    let mut builder = Builder { file, report, depth: 0 };
    let place = Place::File(file.clone(), 0);
    let value = builder.table(table.into_inner());
    (builder.report.count() == before).then_some(Node { place, value })
}

/// Reads one TOML value that was written on the command line.
pub(crate) fn parse_value(text: &str, place: &Place) -> Result<Node, Error> {
    let invalid = |message: &str| place.error(Code::Override, "", format!("not a TOML value: {message}"));
    let value = DeValue::parse(text).map_err(|error| invalid(error.message()))?;
    let mut report = Report::default();
    let file = SourceFile::new("", text);
    let node = Builder { file: &file, report: &mut report, depth: 0 }.node(value);
    if report.count() > 0 {
        return Err(invalid("a number is out of range, or values nest too deeply"));
    }
    Ok(moved(node, place))
}

fn moved(node: Node, place: &Place) -> Node {
    let value = match node.value {
        Value::Text(text) => Value::Text(Text::from_flag(text.text, place.clone())),
        Value::List(items) => Value::List(items.into_iter().map(|item| moved(item, place)).collect()),
        Value::Table(entries) => Value::Table(
            entries
                .into_iter()
                .map(|entry| Entry { key: entry.key, place: place.clone(), node: moved(entry.node, place) })
                .collect(),
        ),
        scalar @ (Value::Integer(_) | Value::Float(_) | Value::Boolean(_)) => scalar,
    };
    Node { place: place.clone(), value }
}

/// Values nest no deeper than this; the format itself needs six levels. Trees are walked by recursion.
const MAX_DEPTH: usize = 64;

struct Builder<'a> {
    file: &'a Arc<SourceFile>,
    report: &'a mut Report,
    depth: usize,
}

impl Builder<'_> {
    fn place(&self, offset: usize) -> Place {
        Place::File(self.file.clone(), offset)
    }

    fn table(&mut self, table: DeTable<'_>) -> Value {
        let mut entries: Vec<(Spanned<DeString<'_>>, Spanned<DeValue<'_>>)> = table.into_iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let entry = |(key, value): (Spanned<DeString<'_>>, Spanned<DeValue<'_>>)| Entry {
            place: self.place(key.span().start),
            key: key.into_inner().into_owned(),
            node: self.node(value),
        };
        Value::Table(entries.into_iter().map(entry).collect())
    }

    fn node(&mut self, value: Spanned<DeValue<'_>>) -> Node {
        let span = value.span();
        let place = self.place(span.start);
        if self.depth > MAX_DEPTH {
            self.report.push(place.error(Code::TomlSyntax, "", "values nest too deeply"));
            return Node { place, value: Value::Boolean(false) };
        }
        self.depth += 1;
        let value = match value.into_inner() {
            DeValue::String(text) => Value::Text(Text::from_file(text.into_owned(), self.file, span)),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::Integer(number),
                Err(_) => {
                    let message = format!("integer {} does not fit 64 bits", number.as_str());
                    self.report.push(place.error(Code::InvalidValue, "", message));
                    Value::Integer(0)
                }
            },
            DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(value) => Value::Boolean(value),
            DeValue::Datetime(date) => Value::Text(Text::from_flag(date.to_string(), place.clone())),
            DeValue::Array(items) => Value::List(items.into_iter().map(|item| self.node(item)).collect()),
            DeValue::Table(table) => self.table(table),
        };
        self.depth -= 1;
        Node { place, value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Node {
        parse(&SourceFile::new("job.toml", text), &mut Report::default()).expect("TOML")
    }

    #[test]
    fn keys_values_and_headers_know_their_place() {
        let tree = tree("[job]\nname = \"a\"\n\n[[table]]\n  name = \"b\"\n  [[table.expect]]\n  check = 'x'\n");
        let shown = |place: &Place| place.position().to_string();
        let job = tree.get("job").unwrap();
        assert_eq!(shown(job.key_place("name")), "job.toml:2:1");
        assert_eq!(shown(job.place_of("name")), "job.toml:2:8");
        let table = &tree.get("table").unwrap().items()[0];
        assert_eq!(shown(&table.place), "job.toml:4:1");
        assert_eq!(shown(&table.get("expect").unwrap().items()[0].place), "job.toml:6:3");
    }

    #[test]
    fn entries_keep_the_order_of_the_file() {
        let tree = tree("schema = { z = 'bigint', a = 'string', m = 'date' }");
        let keys: Vec<&str> = tree.get("schema").unwrap().entries().iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(keys, ["z", "a", "m"]);
    }

    #[test]
    fn every_syntax_error_is_told_with_its_place() {
        let mut report = Report::default();
        assert!(parse(&SourceFile::new("job.toml", "a = \nb = 1\nc = [1,,2]\n"), &mut report).is_none());
        let errors = report.finish(None::<()>).unwrap_err();
        let lines: Vec<u32> = errors.list().iter().map(|error| error.position.line).collect();
        assert_eq!(lines, [1, 3], "{errors}");
    }

    #[test]
    fn nesting_that_would_exhaust_the_stack_is_refused() {
        for text in [format!("{}a = 1", "a.".repeat(100_000)), format!("[{}a]", "a.".repeat(100_000))] {
            assert!(parse(&SourceFile::new("job.toml", text), &mut Report::default()).is_none());
        }
        for open in ["[", "{a=", "{a.b.c="] {
            let text = format!("x = {}", open.repeat(100_000));
            assert!(parse(&SourceFile::new("job.toml", text), &mut Report::default()).is_none());
        }
        let level = format!("{{{}a = ", "a.".repeat(78));
        for text in [format!("x = {}1{}", level.repeat(70), "}".repeat(70)), format!("x = {level}1}}")] {
            assert!(parse(&SourceFile::new("job.toml", text), &mut Report::default()).is_none());
        }
    }
}
