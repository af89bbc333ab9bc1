//! `--conf a.b=v`: values from the command line take the place of those in the file before anything is checked. Pure.

use toml_edit::Key;

use crate::document::text::Text;
use crate::document::{Entry, Node, Place, Value, parse_value};
use crate::errors::{Code, Error, Report};
use crate::suggest::closest;

/// Sets every override, later ones over earlier ones. An entry of `[[table]]` or `[[source]]` is addressed by its
/// name: `table."silver.customers".mode=append`.
pub(crate) fn apply(root: &mut Node, overrides: &[(String, String)], report: &mut Report) {
    for (path, value) in overrides {
        let place = Place::flag(format!("--conf {path}"));
        if let Err(error) = set(root, path, value, &place) {
            report.push(error);
        }
    }
}

fn set(root: &mut Node, path: &str, value: &str, place: &Place) -> Result<(), Error> {
    let invalid = |message: &str| place.error(Code::Override, "", message);
    let keys = Key::parse(path).map_err(|_| invalid("expected a dotted key, for example warehouse.root"))?;
    if keys.len() > 8 {
        return Err(invalid("a key has more parts than any key of the format"));
    }
    let written = value.trim_start();
    let new = match written.starts_with(['[', '{', '"', '\'']) {
        true => parse_value(written.trim_end(), place)?,
        false => Node { place: place.clone(), value: Value::Text(Text::from_flag(value.to_owned(), place.clone())) },
    };
    let mut target = root;
    for key in &keys {
        target = step(target, key.get(), place)?;
    }
    *target = new;
    Ok(())
}

fn step<'a>(node: &'a mut Node, key: &str, place: &Place) -> Result<&'a mut Node, Error> {
    let kind = node.kind();
    match &mut node.value {
        Value::Table(entries) => {
            let index = entries.iter().position(|entry| entry.key == key).unwrap_or_else(|| {
                let node = Node { place: place.clone(), value: Value::Table(Vec::new()) };
                entries.push(Entry { key: key.to_owned(), place: place.clone(), node });
                entries.len() - 1
            });
            entries.get_mut(index).map(|entry| &mut entry.node)
        }
        Value::List(items) => {
            let names: Vec<String> = items.iter().map(|item| name(item).to_owned()).collect();
            let found = items.iter_mut().find(|item| name(item).eq_ignore_ascii_case(key));
            if found.is_none() {
                let message = format!("no entry of the list is named '{key}'");
                let mut error = place.error(Code::Override, "", message);
                error.suggestion = closest(key, names.iter().map(String::as_str));
                return Err(error);
            }
            found
        }
        Value::Text(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => None,
    }
    .ok_or_else(|| place.error(Code::Override, "", format!("'{key}' is looked for inside {kind}")))
}

fn name(item: &Node) -> &str {
    item.get("name").and_then(Node::text).map_or("", |text| &text.text)
}
