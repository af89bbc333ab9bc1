//! The JSON Schema of job.toml, generated from [`crate::spec`], as the reader checks files; the one that is published
//! for editors is made from it by a test. Pure.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::spec;

/// The schema that the reader checks a file against: no references, values after substitution.
pub(crate) fn of_file() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
        let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
        settings.into_generator().into_root_schema_for::<spec::File>().to_value()
    });
    &SCHEMA
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Map, json};

    use super::*;

    /// The text of `docs/job.schema.json`: as the reader's schema, and every value that is not text may also be written
    /// as `"${param}"`.
    fn published() -> String {
        let mut schema = of_file().clone();
        allow_params(&mut schema);
        // Independent of whether some crate of the build lets maps keep their order.
        schema.sort_all_objects();
        let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
        text.push('\n');
        text
    }

    fn allow_params(schema: &mut Value) {
        match schema {
            Value::Object(object) => {
                for value in object.values_mut() {
                    allow_params(value);
                }
                if is_scalar_that_is_not_text(object) || is_choice_of_words(object) {
                    let mut described = Map::new();
                    for key in ["description", "default"] {
                        described.extend(object.remove_entry(key));
                    }
                    let param = json!({ "type": "string", "pattern": "\\$\\{[A-Za-z_][A-Za-z0-9_]*\\}" });
                    described.insert("anyOf".to_owned(), json!([std::mem::take(object), param]));
                    *object = described;
                }
            }
            Value::Array(list) => list.iter_mut().for_each(allow_params),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn is_scalar_that_is_not_text(object: &Map<String, Value>) -> bool {
        let names = |kind: &Value| matches!(kind.as_str(), Some("integer" | "number" | "boolean"));
        match object.get("type") {
            Some(Value::Array(kinds)) => kinds.iter().any(names),
            Some(kind) => names(kind),
            None => false,
        }
    }

    fn is_choice_of_words(object: &Map<String, Value>) -> bool {
        let constant = |choice: &Value| choice.get("const").is_some();
        object.get("oneOf").and_then(Value::as_array).is_some_and(|choices| choices.iter().all(constant))
    }

    /// Run with `LAKE_WRITE_SCHEMA=1` to rewrite the file.
    #[test]
    fn the_published_schema_is_the_one_of_the_types() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/job.schema.json");
        let generated = published();
        if std::env::var_os("LAKE_WRITE_SCHEMA").is_some() {
            std::fs::write(&path, &generated).unwrap();
        }
        let published = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(published == generated, "docs/job.schema.json is out of date: LAKE_WRITE_SCHEMA=1 rewrites it");
    }
}
