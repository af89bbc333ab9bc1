//! Whether a JSON value fits a schema of an OpenAPI 3.1 document: the part of JSON Schema 2020-12 that our documents use. A
//! keyword that is not known here is an error, so that nothing passes unseen.

use serde_json::{Map, Value};

/// Keywords that describe and do not restrict.
const REMARKS: [&str; 6] = ["description", "title", "examples", "default", "format", "deprecated"];
const KNOWN: [&str; 16] = [
    "$ref",
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "prefixItems",
    "minItems",
    "maxItems",
    "enum",
    "const",
    "anyOf",
    "oneOf",
    "allOf",
    "minimum",
    "maximum",
];

/// Checks a value against a schema of `document`. A property that the schema does not have is an error.
///
/// # Errors
/// Where the value does not fit, and why.
pub fn check(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    Checker { document }.check(schema, value, "$")
}

struct Checker<'a> {
    document: &'a Value,
}

impl Checker<'_> {
    fn check(&self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        let schema = match schema {
            Value::Bool(true) => return Ok(()),
            Value::Object(schema) => schema,
            other => return Err(format!("{at}: {other} is not a schema")),
        };
        let is_known = |key: &&String| KNOWN.contains(&key.as_str()) || REMARKS.contains(&key.as_str());
        if let Some(unknown) = schema.keys().find(|key| !is_known(key)) {
            return Err(format!("{at}: the keyword '{unknown}' is not known to this checker"));
        }
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let target = reference.strip_prefix('#').and_then(|pointer| self.document.pointer(pointer));
            self.check(target.ok_or_else(|| format!("{at}: {reference} leads nowhere"))?, value, at)?;
        }
        self.check_type(schema, value, at)?;
        self.check_choice(schema, value, at)?;
        check_range(schema, value, at)?;
        match value {
            Value::Object(fields) => self.check_object(schema, fields, at),
            Value::Array(items) => self.check_array(schema, items, at),
            _ => Ok(()),
        }
    }

    fn check_type(&self, schema: &Map<String, Value>, value: &Value, at: &str) -> Result<(), String> {
        let wanted: Vec<&str> = match schema.get("type") {
            None => return Ok(()),
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            Some(other) => return Err(format!("{at}: {other} is not a type")),
        };
        let fits = wanted.iter().any(|wanted| match *wanted {
            "null" => value.is_null(),
            "boolean" => value.is_boolean(),
            "string" => value.is_string(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            _ => false,
        });
        if fits { Ok(()) } else { Err(format!("{at}: expected {}, found {value}", wanted.join(" or "))) }
    }

    fn check_choice(&self, schema: &Map<String, Value>, value: &Value, at: &str) -> Result<(), String> {
        if let Some(Value::Array(allowed)) = schema.get("enum")
            && !allowed.contains(value)
        {
            return Err(format!("{at}: {value} is none of {allowed:?}"));
        }
        if schema.get("const").is_some_and(|wanted| wanted != value) {
            return Err(format!("{at}: {value} is not the one value that is allowed"));
        }
        let branches = |key: &str| schema.get(key).and_then(Value::as_array).into_iter().flatten();
        for branch in branches("allOf") {
            self.check(branch, value, at)?;
        }
        for (key, most) in [("anyOf", usize::MAX), ("oneOf", 1)] {
            let failed: Vec<String> = branches(key).filter_map(|branch| self.check(branch, value, at).err()).collect();
            let fitting = branches(key).count() - failed.len();
            if schema.contains_key(key) && (fitting == 0 || fitting > most) {
                return Err(format!("{at}: {fitting} branches of {key} fit {value}: {}", failed.join("; ")));
            }
        }
        Ok(())
    }

    fn check_object(&self, schema: &Map<String, Value>, fields: &Map<String, Value>, at: &str) -> Result<(), String> {
        for name in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            if !fields.contains_key(name) {
                return Err(format!("{at}: '{name}' is missing"));
            }
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, field) in fields {
            let at = format!("{at}.{name}");
            match (properties.and_then(|properties| properties.get(name)), schema.get("additionalProperties")) {
                (Some(property), _) => self.check(property, field, &at)?,
                (None, Some(Value::Bool(false))) => return Err(format!("{at}: no such property is allowed")),
                (None, Some(additional)) => self.check(additional, field, &at)?,
                (None, None) if properties.is_some() => return Err(format!("{at}: it is not documented")),
                (None, None) => {}
            }
        }
        Ok(())
    }

    fn check_array(&self, schema: &Map<String, Value>, items: &[Value], at: &str) -> Result<(), String> {
        let bound = |key: &str| schema.get(key).and_then(Value::as_u64).and_then(|bound| usize::try_from(bound).ok());
        if bound("minItems").is_some_and(|least| items.len() < least)
            || bound("maxItems").is_some_and(|most| items.len() > most)
        {
            return Err(format!("{at}: {} items are too few or too many", items.len()));
        }
        let prefix = schema.get("prefixItems").and_then(Value::as_array).cloned().unwrap_or_default();
        for (index, item) in items.iter().enumerate() {
            let at = format!("{at}[{index}]");
            if let Some(schema) = prefix.get(index).or_else(|| schema.get("items")) {
                self.check(schema, item, &at)?;
            }
        }
        Ok(())
    }
}

fn check_range(schema: &Map<String, Value>, value: &Value, at: &str) -> Result<(), String> {
    let Some(number) = value.as_f64() else { return Ok(()) };
    let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
    if bound("minimum").is_some_and(|least| number < least) || bound("maximum").is_some_and(|most| number > most) {
        return Err(format!("{at}: {value} is out of range"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_fits_passes_and_what_does_not_is_told_with_its_place() {
        let document = json!({ "components": { "schemas": {
            "Pair": { "type": "array", "prefixItems": [{ "type": "string" }, { "type": "integer" }], "minItems": 2, "maxItems": 2 },
            "Thing": {
                "type": "object",
                "description": "A thing.",
                "required": ["id"],
                "properties": {
                    "id": { "type": "integer", "format": "uint64", "minimum": 0 },
                    "name": { "type": ["string", "null"] },
                    "state": { "enum": ["GOOD", "BAD"] },
                    "pairs": { "type": "array", "items": { "$ref": "#/components/schemas/Pair" } },
                    "counts": { "type": "object", "additionalProperties": { "type": "integer" } },
                    "part": { "anyOf": [{ "$ref": "#/components/schemas/Thing" }, { "type": "null" }] },
                    "any": true,
                },
            },
        }}});
        let schema = json!({ "$ref": "#/components/schemas/Thing" });
        let good = json!({
            "id": 1, "name": null, "state": "GOOD", "pairs": [["a", 1]], "counts": { "x": 1 }, "part": { "id": 2 }, "any": [1],
        });
        assert_eq!(check(&document, &schema, &good), Ok(()));
        for (value, expected) in [
            (json!([]), "$: expected object, found []"),
            (json!({}), "$: 'id' is missing"),
            (json!({ "id": -1 }), "$.id: -1 is out of range"),
            (json!({ "id": 1.5 }), "$.id: expected integer, found 1.5"),
            (json!({ "id": 1, "name": 2 }), "$.name: expected string or null, found 2"),
            (json!({ "id": 1, "state": "UGLY" }), "$.state: \"UGLY\" is none of"),
            (json!({ "id": 1, "pairs": [["a"]] }), "$.pairs[0]: 1 items are too few or too many"),
            (json!({ "id": 1, "pairs": [["a", "b"]] }), "$.pairs[0][1]: expected integer"),
            (json!({ "id": 1, "counts": { "x": "y" } }), "$.counts.x: expected integer"),
            (json!({ "id": 1, "part": { "id": "x" } }), "$.part: 0 branches of anyOf fit"),
            (json!({ "id": 1, "surplus": 1 }), "$.surplus: it is not documented"),
        ] {
            let found = check(&document, &schema, &value).unwrap_err();
            assert!(found.starts_with(expected), "{value}: {found}");
        }
        let unknown = check(&document, &json!({ "pattern": "x" }), &json!("x")).unwrap_err();
        assert!(unknown.contains("'pattern' is not known"), "{unknown}");
        assert!(check(&document, &json!({ "$ref": "#/none" }), &json!(1)).is_err());
        assert!(check(&document, &json!({ "oneOf": [true, { "type": "string" }] }), &json!("x")).is_err());
    }
}
