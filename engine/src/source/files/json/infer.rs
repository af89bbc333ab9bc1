//! The schema of JSON lines from samples of them. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema};
use serde_json::Value;

use crate::Result;
use crate::source::files::infer::{Sample, nothing_to_infer};
use crate::source::files::schema;
use crate::source::files::text::BYTE_ORDER_MARK;

/// What all values of a place so far are.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Shape {
    Null,
    Boolean,
    Integer,
    Double,
    Text,
    List(Box<Shape>),
    Struct(BTreeMap<String, Shape>),
}

impl Shape {
    fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Boolean,
            Value::Number(number) if number.is_i64() => Self::Integer,
            // Beyond bigint: as a double it would lose digits.
            Value::Number(number) if number.is_u64() => Self::Text,
            Value::Number(_) => Self::Double,
            Value::String(_) => Self::Text,
            Value::Array(items) => {
                Self::List(Box::new(items.iter().fold(Self::Null, |shape, item| shape.merge(Self::of(item)))))
            }
            Value::Object(members) => {
                Self::Struct(members.iter().map(|(name, value)| (name.clone(), Self::of(value))).collect())
            }
        }
    }

    /// What both are; values that have nothing in common are text.
    fn merge(self, other: Self) -> Self {
        match (self, other) {
            (Self::Null, shape) | (shape, Self::Null) => shape,
            (Self::Integer, Self::Double) | (Self::Double, Self::Integer) => Self::Double,
            (Self::List(a), Self::List(b)) => Self::List(Box::new(a.merge(*b))),
            (Self::Struct(mut a), Self::Struct(b)) => {
                for (name, shape) in b {
                    let known = a.remove(&name).unwrap_or(Self::Null);
                    a.insert(name, known.merge(shape));
                }
                Self::Struct(a)
            }
            (a, b) if a == b => a,
            _ => Self::Text,
        }
    }

    /// The column type; `text` is the type of texts in this place.
    fn data_type(&self, text: DataType) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Integer => DataType::Int64,
            Self::Double => DataType::Float64,
            Self::List(item) => DataType::List(Arc::new(Field::new_list_field(item.data_type(DataType::Utf8), true))),
            Self::Struct(members) if !members.is_empty() => DataType::Struct(fields(members, &DataType::Utf8)),
            // A struct without members has no columnar form: it is kept as its JSON text.
            Self::Struct(_) | Self::Null | Self::Text => text,
        }
    }
}

fn fields(members: &BTreeMap<String, Shape>, text: &DataType) -> Fields {
    members.iter().map(|(name, shape)| Field::new(name, shape.data_type(text.clone()), true)).collect()
}

/// The columns of all objects in the samples, by name; lines that are no objects say nothing.
///
/// # Errors
/// `invalid-job` when there is no object at all, or two members differ only in case.
pub(in super::super) fn infer(samples: &[Sample]) -> Result<Schema> {
    let mut merged = Shape::Null;
    for sample in samples {
        let text = sample.bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&sample.bytes);
        // The last line of a sample may be cut.
        let whole = if sample.is_whole { text.len() } else { memchr::memrchr(b'\n', text).unwrap_or(0) };
        for line in text.get(..whole).unwrap_or_default().split(|byte| *byte == b'\n') {
            if let Ok(value @ Value::Object(_)) = serde_json::from_slice(line) {
                merged = merged.merge(Shape::of(&value));
            }
        }
    }
    let Shape::Struct(members) = merged else {
        return Err(nothing_to_infer("no line with a JSON object (one object per line is expected)"));
    };
    if members.is_empty() {
        return Err(nothing_to_infer("only empty JSON objects"));
    }
    schema::check_names(members.keys().map(String::as_str), "the sampled JSON")?;
    Ok(Schema::new(fields(&members, &DataType::Utf8View)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inferred(text: &str) -> Result<Schema> {
        infer(&[Sample { name: "f.json".to_owned(), bytes: text.to_owned().into(), is_whole: true }])
    }

    #[test]
    fn objects_are_merged_over_all_lines() {
        let schema = inferred(
            "{\"a\":1,\"b\":{\"x\":true},\"l\":[1]}\n{\"a\":1.5,\"b\":{\"y\":\"t\"},\"l\":[null,2.5]}\nnot json\n\
             {\"c\":1}\n{\"c\":\"x\",\"n\":null,\"big\":18446744073709551615,\"e\":{}}\n",
        )
        .unwrap();
        let types: Vec<String> =
            schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect();
        assert_eq!(types[0], "a Float64");
        assert!(types[1].contains("\"x\": Boolean") && types[1].contains("\"y\": Utf8"), "{}", types[1]);
        assert_eq!(types[2..5], ["big Utf8View", "c Utf8View", "e Utf8View"]);
        assert!(types[5].starts_with("l List(Float64"), "{}", types[5]);
        assert_eq!(types[6], "n Utf8View");
    }

    #[test]
    fn text_without_objects_has_no_schema() {
        assert_eq!(inferred("[1]\n").unwrap_err().code(), "source-schema");
        assert!(inferred("{\"a\":1,\"A\":2}\n").is_err());
    }
}
