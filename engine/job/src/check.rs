//! Checks a tree against the schema of job.toml: unknown keys, missing keys, types, choices, ranges. Reports all of
//! it and takes out the entries of a section that are wrong, so that the others can be looked at further. Pure.
//!
//! Never here: rules between keys; that is `crate::lower`.

use serde_json::{Map, Value as Json};

use crate::document::{Node, Place, Value};
use crate::errors::{Code, Error, Report};
use crate::suggest::closest;

/// Whether the tree can be decoded after this: wrong entries of `[[table]]`, `[[source]]`, `[params]`, `[storage]` and
/// `[connection]` are gone then.
pub(crate) fn check(root: &mut Node, schema: &Json, report: &mut Report) -> bool {
    let mut checker = Checker { report };
    let sections = schema.get("properties").and_then(Json::as_object);
    let complete = checker.keys(root, schema, "");
    let Value::Table(entries) = &mut root.value else { return false };
    let mut usable = complete;
    entries.retain_mut(|entry| {
        let Some(schema) = sections.and_then(|sections| sections.get(&entry.key)) else { return false };
        usable &= checker.section(&mut entry.node, schema, &entry.key);
        true
    });
    usable
}

/// The same for one section alone.
pub(crate) fn check_section(root: &mut Node, section: &str, schema: &Json, report: &mut Report) {
    let Value::Table(entries) = &mut root.value else { return };
    let schema = schema.get("properties").and_then(|sections| sections.get(section));
    let entry = entries.iter_mut().find(|entry| entry.key == section);
    if let (Some(entry), Some(schema)) = (entry, schema) {
        Checker { report }.section(&mut entry.node, schema, section);
    }
}

struct Checker<'a> {
    report: &'a mut Report,
}

impl Checker<'_> {
    /// A table directly under the root: of a list or a map only the good entries stay.
    fn section(&mut self, node: &mut Node, schema: &Json, path: &str) -> bool {
        match (&mut node.value, schema.get("items"), schema.get("additionalProperties")) {
            (Value::List(items), Some(schema), _) => {
                items.retain_mut(|item| self.value(item, schema, path));
                true
            }
            (Value::Table(entries), _, Some(schema)) if schema.is_object() => {
                entries.retain_mut(|entry| {
                    let path = join(path, &entry.key);
                    self.value(&mut entry.node, schema, &path)
                });
                true
            }
            _ => self.value(node, schema, path),
        }
    }

    /// Whether a value fits its schema. Text from a parameter becomes the number or boolean that is wanted.
    fn value(&mut self, node: &mut Node, schema: &Json, path: &str) -> bool {
        let Some(schema) = choose(node, schema) else {
            self.wrong_type(node, schema, path);
            return false;
        };
        if let Some(words) = words(schema) {
            return self.word(node, &words, path);
        }
        let kinds = kinds(schema);
        coerce(node, &kinds);
        if !kinds.is_empty() && !kinds.iter().any(|kind| is_kind(node, kind)) {
            self.wrong_type(node, schema, path);
            return false;
        }
        match &mut node.value {
            Value::Integer(number) => {
                let number = *number;
                self.range(number, &node.place, schema, path)
            }
            Value::List(items) => match schema.get("items") {
                Some(schema) => {
                    // Every item is checked, also after a wrong one.
                    let good = items.iter_mut().filter_map(|item| self.value(item, schema, path).then_some(()));
                    let good = good.count();
                    good == items.len()
                }
                None => true,
            },
            Value::Table(_) => self.table(node, schema, path),
            Value::Text(_) | Value::Float(_) | Value::Boolean(_) => true,
        }
    }

    fn table(&mut self, node: &mut Node, schema: &Json, path: &str) -> bool {
        let mut usable = self.keys(node, schema, path);
        let properties = schema.get("properties").and_then(Json::as_object);
        let others = schema.get("additionalProperties").filter(|others| others.is_object());
        let Value::Table(entries) = &mut node.value else { return false };
        for entry in entries {
            let schema = properties.and_then(|properties| properties.get(&entry.key)).or(others);
            if let Some(schema) = schema {
                usable &= self.value(&mut entry.node, schema, &join(path, &entry.key));
            }
        }
        usable
    }

    /// Whether all keys are known and all required ones are there.
    fn keys(&mut self, node: &Node, schema: &Json, path: &str) -> bool {
        let before = self.report.count();
        let none = Map::new();
        let properties = schema.get("properties").and_then(Json::as_object).unwrap_or(&none);
        if schema.get("additionalProperties") == Some(&Json::Bool(false)) {
            for entry in node.entries().iter().filter(|entry| !properties.contains_key(&entry.key)) {
                let error = self.unknown_key(&entry.key, &entry.place, properties, path);
                self.report.push(error);
            }
        }
        let required = schema.get("required").and_then(Json::as_array);
        for key in required.into_iter().flatten().filter_map(Json::as_str) {
            if node.get(key).is_none() {
                let message = match path {
                    "" => format!("section [{key}] is missing"),
                    _ => format!("key '{key}' is missing"),
                };
                self.report.push(node.place.error(Code::MissingKey, join(path, key), message));
            }
        }
        self.report.count() == before
    }

    fn unknown_key(&self, key: &str, place: &Place, properties: &Map<String, Json>, path: &str) -> Error {
        let nested = properties.iter().find(|(_, schema)| {
            choices(schema).any(|schema| schema.get("properties").is_some_and(|keys| keys.get(key).is_some()))
        });
        let mut error = place.error(Code::UnknownKey, join(path, key), format!("unknown key '{key}'"));
        match nested {
            Some((section, _)) if !path.is_empty() => {
                error.message.push_str(&format!(", it belongs in '{section}': {section} = {{ {key} = ... }}"));
            }
            _ if self.report.has_room() => {
                error.suggestion = closest(key, properties.keys().map(String::as_str));
                if error.suggestion.is_none() {
                    let known: Vec<&str> = properties.keys().map(String::as_str).collect();
                    error.message.push_str(&format!(", expected one of: {}", known.join(", ")));
                }
            }
            _ => {}
        }
        error
    }

    fn word(&mut self, node: &Node, words: &[&str], path: &str) -> bool {
        let found = match &node.value {
            Value::Text(text) if words.contains(&text.text.as_str()) => return true,
            Value::Text(text) => format!("'{}'", text.text),
            _ => node.kind().to_owned(),
        };
        let message = format!("expected one of {}, found {found}", words.join(", "));
        let mut error = node.place.error(Code::InvalidValue, path, message);
        error.suggestion = node.text().and_then(|text| closest(&text.text, words.iter().copied()));
        self.report.push(error);
        false
    }

    fn range(&mut self, number: i64, place: &Place, schema: &Json, path: &str) -> bool {
        let minimum = schema.get("minimum").and_then(Json::as_i64).unwrap_or(i64::MIN);
        let maximum = schema.get("maximum").and_then(Json::as_i64).unwrap_or(i64::MAX);
        if (minimum..=maximum).contains(&number) {
            return true;
        }
        let expected = if minimum == maximum { minimum.to_string() } else { format!("{minimum} to {maximum}") };
        let message = format!("expected {expected}, found {number}");
        self.report.push(place.error(Code::InvalidValue, path, message));
        false
    }

    /// The value itself is not shown: it may be a secret at a wrong place.
    fn wrong_type(&mut self, node: &Node, schema: &Json, path: &str) {
        let mut expected: Vec<String> = Vec::new();
        for choice in choices(schema) {
            for kind in kinds(choice) {
                let described = match (kind, choice.get("required").and_then(Json::as_array)) {
                    ("object", Some(keys)) => {
                        let keys = keys.iter().filter_map(Json::as_str).map(|key| format!("{key} = ..."));
                        format!("{{ {} }}", keys.collect::<Vec<_>>().join(", "))
                    }
                    ("string", _) => "a text".to_owned(),
                    ("integer", _) => "an integer".to_owned(),
                    ("number", _) => "a number".to_owned(),
                    ("boolean", _) => "true or false".to_owned(),
                    ("array", _) => "a list".to_owned(),
                    ("object", None) => "a table".to_owned(),
                    (other, _) => other.to_owned(),
                };
                if !expected.contains(&described) {
                    expected.push(described);
                }
            }
        }
        let message = format!("expected {}, found {}", expected.join(" or "), node.kind());
        self.report.push(node.place.error(Code::WrongType, path, message));
    }
}

fn join(path: &str, key: &str) -> String {
    let plain = key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    let key = if plain { key.to_owned() } else { format!("{key:?}") };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

/// The schemas that a value may fit: alternatives inside alternatives are one list.
fn choices(schema: &Json) -> Box<dyn Iterator<Item = &Json> + '_> {
    match schema.get("anyOf").and_then(Json::as_array) {
        Some(list) => Box::new(list.iter().flat_map(choices)),
        None => Box::new(std::iter::once(schema)),
    }
}

/// The alternative that a value was most probably meant for.
fn choose<'a>(node: &Node, schema: &'a Json) -> Option<&'a Json> {
    if schema.get("anyOf").is_none() {
        return Some(schema);
    }
    let fits = |choice: &&Json| words(choice).is_some() || kinds(choice).iter().any(|kind| is_kind(node, kind));
    let known_keys = |choice: &&Json| {
        let properties = choice.get("properties").and_then(Json::as_object);
        node.entries().iter().filter(|entry| properties.is_some_and(|keys| keys.contains_key(&entry.key))).count()
    };
    choices(schema).filter(fits).max_by_key(known_keys)
}

/// The words a value is chosen from.
fn words(schema: &Json) -> Option<Vec<&str>> {
    let list = schema.get("oneOf")?.as_array()?;
    list.iter().map(|choice| choice.get("const").and_then(Json::as_str)).collect()
}

fn kinds(schema: &Json) -> Vec<&str> {
    match schema.get("type") {
        Some(Json::Array(kinds)) => kinds.iter().filter_map(Json::as_str).filter(|kind| *kind != "null").collect(),
        Some(Json::String(kind)) if kind != "null" => vec![kind],
        _ => Vec::new(),
    }
}

fn is_kind(node: &Node, kind: &str) -> bool {
    match &node.value {
        Value::Text(_) => kind == "string",
        Value::Integer(_) => kind == "integer" || kind == "number",
        Value::Float(_) => kind == "number",
        Value::Boolean(_) => kind == "boolean",
        Value::List(_) => kind == "array",
        Value::Table(_) => kind == "object",
    }
}

fn coerce(node: &mut Node, kinds: &[&str]) {
    let Value::Text(text) = &node.value else { return };
    if !text.is_substituted || kinds.contains(&"string") {
        return;
    }
    let written = text.text.trim();
    for kind in kinds {
        let value = match *kind {
            "integer" => written.parse().ok().map(Value::Integer),
            "number" => written.parse().ok().map(Value::Float),
            "boolean" => written.parse().ok().map(Value::Boolean),
            _ => None,
        };
        if let Some(value) = value {
            node.value = value;
            return;
        }
    }
}
