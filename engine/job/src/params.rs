//! Parameters: what is declared, the value each one has in this run, and `${name}` in every value of the file and
//! of its SQL files. Pure: today's date is an argument.

use std::collections::BTreeMap;
use std::ops::Range;

use chrono::{Days, NaiveDate};

use crate::decode::decode;
use crate::document::text::Text;
use crate::document::{Node, Place, Value};
use crate::errors::{Code, Error, Report};
use crate::names;
use crate::spec::{Param, ParamType, Scalar};
use crate::suggest::closest;

/// The parameters of one run.
#[derive(Debug, Default)]
pub(crate) struct Params {
    /// Value by name; `None` when an error about it is already reported.
    values: BTreeMap<String, Option<String>>,
}

impl Params {
    /// The value of every parameter.
    pub(crate) fn into_values(self) -> BTreeMap<String, String> {
        self.values.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// The values of this run. `declared` are the names in the file, also of parameters whose declaration is wrong and
/// that are no longer in `section`.
pub(crate) fn resolve(
    section: Option<&Node>,
    declared: &[String],
    given: &[(String, String)],
    today: NaiveDate,
    report: &mut Report,
) -> Params {
    let mut values: BTreeMap<String, Option<String>> = declared.iter().map(|name| (name.clone(), None)).collect();
    for (name, _) in given.iter().filter(|(name, _)| !values.contains_key(name)) {
        let message = format!("the job has no parameter '{name}'{}", listed(&values));
        let mut error = Place::flag(format!("--param {name}")).error(Code::UnknownParam, "", message);
        error.suggestion = closest(name, values.keys().map(String::as_str));
        report.push(error);
    }
    for entry in section.map_or(&[][..], Node::entries) {
        let name = &entry.key;
        if !names::is_identifier(name) {
            let message = format!("'{name}' is not a parameter name: expected {}", names::RULE);
            report.push(entry.place.error(Code::InvalidName, format!("params.{name:?}"), message));
            continue;
        }
        let Ok(param) = decode::<Param>(&entry.node) else { continue };
        // The last one given wins, as on other command lines.
        let given = given.iter().rev().find(|(given, _)| given == name).map(|(_, value)| value.clone());
        if given.is_none() && matches!(&param.default, Some(Scalar::Text(text)) if text.contains("${")) {
            let message = "a default cannot refer to another parameter";
            report.push(entry.node.place_of("default").error(
                Code::ParamType,
                format!("params.{name}.default"),
                message,
            ));
            continue;
        }
        let place = match given {
            Some(_) => Place::flag(format!("--param {name}")),
            None => entry.node.place_of("default").clone(),
        };
        let key = format!("params.{name}");
        let Some(written) = given.or_else(|| param.default.as_ref().map(ToString::to_string)) else {
            let message = format!("parameter '{name}' has no default and no value was given: add --param {name}=...");
            report.push(entry.place.error(Code::MissingParam, key, message));
            continue;
        };
        match canonical(&written, param.kind, today) {
            Some(value) => _ = values.insert(name.clone(), Some(value)),
            None => {
                let message = format!("expected {}, found '{written}'", describe(param.kind));
                report.push(place.error(Code::ParamType, key, message));
            }
        }
    }
    Params { values }
}

fn listed(values: &BTreeMap<String, Option<String>>) -> String {
    let names: Vec<&str> = values.keys().map(String::as_str).collect();
    if names.is_empty() { "; it declares none".to_owned() } else { format!(", only {}", names.join(", ")) }
}

fn describe(kind: ParamType) -> &'static str {
    match kind {
        ParamType::String => "a text",
        ParamType::Int => "an integer of 64 bits",
        ParamType::Float => "a finite number",
        ParamType::Date => "a date (YYYY-MM-DD, today or yesterday)",
        ParamType::Bool => "true or false",
    }
}

fn canonical(written: &str, kind: ParamType, today: NaiveDate) -> Option<String> {
    let trimmed = written.trim();
    match kind {
        ParamType::String => Some(written.to_owned()),
        ParamType::Int => trimmed.parse::<i64>().ok().map(|number| number.to_string()),
        ParamType::Float => trimmed.parse::<f64>().ok().filter(|number| number.is_finite()).map(|n| n.to_string()),
        ParamType::Bool => trimmed.parse::<bool>().ok().map(|value| value.to_string()),
        ParamType::Date => {
            let date = match trimmed {
                "today" => Some(today),
                "yesterday" => today.checked_sub_days(Days::new(1)),
                text if text.len() == "2026-01-01".len() => NaiveDate::parse_from_str(text, "%Y-%m-%d").ok(),
                _ => None,
            };
            date.map(|date| date.format("%Y-%m-%d").to_string())
        }
    }
}

/// Replaces `${name}` in every value below `node`; `key` is the node's path.
pub(crate) fn substitute(node: &mut Node, key: &str, params: &Params, report: &mut Report) {
    match &mut node.value {
        Value::Text(text) => {
            if let Some(replaced) = substituted(text, key, params, report) {
                *text = replaced;
            }
        }
        Value::List(items) => items.iter_mut().for_each(|item| substitute(item, key, params, report)),
        Value::Table(entries) => {
            // A parameter does not refer to others.
            for entry in entries.iter_mut().filter(|entry| !key.is_empty() || entry.key != "params") {
                let path = if key.is_empty() { entry.key.clone() } else { format!("{key}.{}", entry.key) };
                substitute(&mut entry.node, &path, params, report);
            }
        }
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => {}
    }
}

/// The text with its parameters replaced; `None` when it has none. `$${` stands for `${`.
pub(crate) fn substituted(text: &Text, key: &str, params: &Params, report: &mut Report) -> Option<Text> {
    let mut pieces: Vec<(Range<usize>, String)> = Vec::new();
    let mut from = 0;
    while let Some(found) = text.text.get(from..).and_then(|rest| rest.find("${")) {
        let start = from + found;
        if start > from && text.text.as_bytes().get(start - 1) == Some(&b'$') {
            pieces.push((start - 1..start + 2, "${".to_owned()));
            from = start + 2;
            continue;
        }
        let rest = text.text.get(start + 2..).unwrap_or_default();
        let name = rest.split('}').next().unwrap_or_default();
        if name.len() == rest.len() || !names::is_identifier(name) {
            let message = "'${' does not begin a parameter: expected ${name}, or $${ for the characters themselves";
            report.push(text.place_at(start).error(Code::UnknownParam, key, message));
            from = start + 2;
            continue;
        }
        let end = start + 2 + name.len() + 1;
        match params.values.get(name) {
            Some(Some(value)) => pieces.push((start..end, value.clone())),
            Some(None) => {}
            None => report.push(unknown(text.place_at(start), name, key, params)),
        }
        from = end;
    }
    (!pieces.is_empty()).then(|| text.replaced(&pieces))
}

fn unknown(place: Place, name: &str, key: &str, params: &Params) -> Error {
    let message = format!("parameter '{name}' is not declared in [params]");
    let mut error = place.error(Code::UnknownParam, key, message);
    error.suggestion = closest(name, params.values.keys().map(String::as_str));
    error
}
