//! The schema of JSON lines from samples of them. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

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
    Struct(Members),
}

/// The members of objects, in the order in which they first came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Members {
    names: Vec<String>,
    shapes: BTreeMap<String, Shape>,
}

impl Members {
    fn insert(&mut self, name: String, shape: Shape) {
        if !self.shapes.contains_key(&name) {
            self.names.push(name.clone());
        }
        self.shapes.insert(name, shape);
    }

    fn merge(&mut self, name: String, shape: Shape) {
        match self.shapes.get_mut(&name) {
            Some(known) => {
                let before = std::mem::replace(known, Shape::Null);
                *known = before.merge(shape);
            }
            None => self.insert(name, shape),
        }
    }

    fn iter(&self) -> impl Iterator<Item = (&String, &Shape)> {
        self.names.iter().filter_map(move |name| self.shapes.get_key_value(name))
    }
}

impl Shape {
    /// What both are; values that have nothing in common are text.
    fn merge(self, other: Self) -> Self {
        match (self, other) {
            (Self::Null, shape) | (shape, Self::Null) => shape,
            (Self::Integer, Self::Double) | (Self::Double, Self::Integer) => Self::Double,
            (Self::List(a), Self::List(b)) => Self::List(Box::new(a.merge(*b))),
            (Self::Struct(mut a), Self::Struct(b)) => {
                let Members { names, mut shapes } = b;
                for name in names {
                    if let Some(shape) = shapes.remove(&name) {
                        a.merge(name, shape);
                    }
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
            Self::Struct(members) if !members.names.is_empty() => DataType::Struct(fields(members, &DataType::Utf8)),
            // A struct without members has no columnar form: it is kept as its JSON text.
            Self::Struct(_) | Self::Null | Self::Text => text,
        }
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeOfValue)
    }
}

/// Not by way of a JSON value, which forgets the order of members.
struct ShapeOfValue;

impl<'de> Visitor<'de> for ShapeOfValue {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
        Ok(Shape::Boolean)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Shape, E> {
        Ok(Shape::Integer)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Shape, E> {
        // Beyond bigint: as a double it would lose digits.
        Ok(if i64::try_from(number).is_ok() { Shape::Integer } else { Shape::Text })
    }

    fn visit_f64<E>(self, _: f64) -> Result<Shape, E> {
        Ok(Shape::Double)
    }

    fn visit_str<E>(self, _: &str) -> Result<Shape, E> {
        Ok(Shape::Text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Shape, A::Error> {
        let mut merged = Shape::Null;
        while let Some(item) = items.next_element::<Shape>()? {
            merged = merged.merge(item);
        }
        Ok(Shape::List(Box::new(merged)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Shape, A::Error> {
        let mut members = Members::default();
        while let Some((name, shape)) = entries.next_entry::<String, Shape>()? {
            // Of members with one name the last one counts, as where rows are decoded.
            members.insert(name, shape);
        }
        Ok(Shape::Struct(members))
    }
}

fn fields(members: &Members, text: &DataType) -> Fields {
    members.iter().map(|(name, shape)| Field::new(name, shape.data_type(text.clone()), true)).collect()
}

/// The columns of all objects in the samples, in the order in which they first appear; lines that are no objects say
/// nothing.
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
            if let Ok(shape @ Shape::Struct(_)) = serde_json::from_slice(line) {
                merged = merged.merge(shape);
            }
        }
    }
    let Shape::Struct(members) = merged else {
        return Err(nothing_to_infer("no line with a JSON object (one object per line is expected)"));
    };
    if members.names.is_empty() {
        return Err(nothing_to_infer("only empty JSON objects"));
    }
    schema::check_names(members.names.iter().map(String::as_str), "the sampled JSON")?;
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
        assert!(types[2].starts_with("l List(Float64"), "{}", types[2]);
        assert_eq!(types[3..7], ["c Utf8View", "n Utf8View", "big Utf8View", "e Utf8View"]);
    }

    #[test]
    fn columns_come_in_the_order_in_which_they_first_appear() {
        let schema =
            inferred("{\"z\":{\"q\":1,\"b\":2},\"m\":1}\n{\"a\":[],\"m\":2,\"z\":{\"a\":1,\"b\":2}}\n").unwrap();
        let names = |fields: &Fields| fields.iter().map(|field| field.name().clone()).collect::<Vec<_>>();
        assert_eq!(names(schema.fields()), ["z", "m", "a"]);
        let DataType::Struct(inner) = schema.field(0).data_type() else { panic!("not a struct") };
        assert_eq!(names(inner), ["q", "b", "a"]);
        assert_eq!(inferred("{\"a\":\"x\",\"b\":1,\"a\":1}\n").unwrap().field(0).data_type(), &DataType::Int64);
    }

    #[test]
    fn text_without_objects_has_no_schema() {
        assert_eq!(inferred("[1]\n").unwrap_err().code(), "source-schema");
        assert!(inferred("{\"a\":1,\"A\":2}\n").is_err());
    }
}
