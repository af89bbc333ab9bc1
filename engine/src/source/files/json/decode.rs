//! JSON lines to columns. Lines go through Arrow's decoder many at a time, every value as its own text, so that
//! numbers are parsed exactly and by the same rules as in CSV; only a group of lines with a fault is halved until the
//! lines that have it are alone. Pure.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray, new_null_array};
use arrow::compute::{CastOptions, cast_with_options, concat};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::ReaderBuilder;
use memchr::memchr;
use serde_json::Value;

use crate::source::files::columns::{self, is_scalar, is_text};
use crate::source::files::lines::{Decoded, RecordDecoder, Window};
use crate::source::files::text::{self, BYTE_ORDER_MARK, Fault, Place, TextPlan, shown};
use crate::{EngineError, Result};

/// Groups of lines this small are taken line by line when one of them has a fault.
const SMALL_GROUP: usize = 8;

/// The decoder of one piece.
pub(super) struct JsonDecoder {
    plan: Arc<TextPlan>,
    /// The columns to decode, as indexes into the plan's.
    wanted: Vec<usize>,
    /// The wanted columns with text for every scalar.
    as_text: SchemaRef,
    file: String,
    piece_start: u64,
    lines_before: u64,
}

impl JsonDecoder {
    /// A decoder for the lines of a file from `piece_start`.
    pub(super) fn new(plan: Arc<TextPlan>, file: String, piece_start: u64) -> Self {
        let wanted: Vec<usize> = (0..plan.columns().len()).filter(|column| plan.decodes(*column)).collect();
        let fields = wanted.iter().filter_map(|column| plan.columns().get(*column));
        let fields: Vec<Field> =
            fields.map(|field| Field::new(field.name(), text_type(field.data_type()), true)).collect();
        Self { plan, wanted, as_text: Arc::new(Schema::new(fields)), file, piece_start, lines_before: 0 }
    }

    /// The wanted columns of the lines, one array each.
    fn columns(&self, lines: &[&str], faults: &mut Vec<Fault>) -> Result<Vec<ArrayRef>> {
        let mut parts: Vec<Vec<ArrayRef>> = vec![Vec::new(); self.wanted.len()];
        self.group(lines, 0, &mut parts, faults)?;
        let join = |arrays: Vec<ArrayRef>| match arrays.as_slice() {
            [array] => Ok(array.clone()),
            several => concat(&several.iter().map(AsRef::as_ref).collect::<Vec<_>>()),
        };
        Ok(parts.into_iter().map(join).collect::<Result<_, ArrowError>>()?)
    }

    fn group(
        &self,
        lines: &[&str],
        first_row: usize,
        parts: &mut [Vec<ArrayRef>],
        faults: &mut Vec<Fault>,
    ) -> Result<()> {
        if let Ok(columns) = parse(&self.as_text, lines)
            && let Some(built) = self.build(&columns, first_row, faults)?
        {
            parts.iter_mut().zip(built).for_each(|(part, array)| part.push(array));
            return Ok(());
        }
        if lines.len() > SMALL_GROUP {
            let (before, after) = lines.split_at_checked(lines.len() / 2).unwrap_or((lines, &[]));
            self.group(before, first_row, parts, faults)?;
            return self.group(after, first_row + before.len(), parts, faults);
        }
        // Whether a line is fine must not depend on the lines around it: alone, it is tried in the same way first.
        if lines.len() > 1 {
            return lines
                .iter()
                .enumerate()
                .try_for_each(|(at, line)| self.group(std::slice::from_ref(line), first_row + at, parts, faults));
        }
        for line in lines {
            let row = self.line(line, first_row, faults)?;
            parts.iter_mut().zip(row).for_each(|(part, array)| part.push(array));
        }
        Ok(())
    }

    /// The text columns as their types, or `None` when a nested value does not fit.
    fn build(&self, columns: &[ArrayRef], first_row: usize, faults: &mut Vec<Fault>) -> Result<Option<Vec<ArrayRef>>> {
        let mut built = Vec::with_capacity(columns.len());
        let mut found = Vec::new();
        for (array, column) in columns.iter().zip(&self.wanted) {
            let Some(field) = self.plan.columns().get(*column) else { return Ok(None) };
            match self.typed(array, field, *column, first_row, &mut found)? {
                Some(array) => built.push(array),
                None => return Ok(None),
            }
        }
        faults.append(&mut found);
        Ok(Some(built))
    }

    fn typed(
        &self,
        array: &ArrayRef,
        field: &Field,
        column: usize,
        first_row: usize,
        faults: &mut Vec<Fault>,
    ) -> Result<Option<ArrayRef>> {
        if field.data_type() == array.data_type() {
            return Ok(Some(array.clone()));
        }
        if !is_scalar(field.data_type()) {
            let strict = CastOptions { safe: false, ..CastOptions::default() };
            return Ok(cast_with_options(array, field.data_type(), &strict).ok());
        }
        let Some(cells) = array.as_string_view_opt() else {
            return Err(EngineError::internal(format!("column '{}' was not decoded as text", field.name())));
        };
        let mut failed = Vec::new();
        let built = columns::build(field.data_type(), cells, &mut failed)?;
        faults.extend(failed.into_iter().map(|row| Fault {
            row: first_row + row,
            column: Some(column),
            found: shown(cells.value(row)),
        }));
        Ok(Some(built))
    }

    /// One line with a fault: every column that can be read from it, NULL for the others.
    fn line(&self, line: &str, row: usize, faults: &mut Vec<Fault>) -> Result<Vec<ArrayRef>> {
        let object = match serde_json::from_str::<Value>(line) {
            Ok(Value::Object(object)) => object,
            Ok(other) => {
                faults.push(Fault {
                    row,
                    column: None,
                    found: format!("expected a JSON object, found {}", kind(&other)),
                });
                return Ok(self.nulls());
            }
            Err(error) => {
                let found = format!("expected one JSON object on the line, found {}: {error}", shown(line));
                faults.push(Fault { row, column: None, found });
                return Ok(self.nulls());
            }
        };
        let mut arrays = Vec::with_capacity(self.wanted.len());
        for (at, column) in self.wanted.iter().enumerate() {
            let Some(field) = self.plan.columns().get(*column) else { continue };
            let value = object.get(field.name()).unwrap_or(&Value::Null);
            let alone = Arc::new(self.as_text.project(&[at])?);
            let mut found = Vec::new();
            let parsed = match parse(&alone, &[line]).ok().and_then(|columns| columns.into_iter().next()) {
                Some(array) => self.typed(&array, field, *column, row, &mut found)?,
                // A text column takes a nested value as JSON, as in Spark.
                None if is_text(field.data_type()) && (value.is_object() || value.is_array()) => {
                    let cells = StringViewArray::from_iter_values([value.to_string()]);
                    Some(columns::build(field.data_type(), &cells, &mut Vec::new())?)
                }
                None => None,
            };
            faults.append(&mut found);
            arrays.push(parsed.unwrap_or_else(|| {
                faults.push(Fault { row, column: Some(*column), found: shown(&value.to_string()) });
                new_null_array(field.data_type(), 1)
            }));
        }
        Ok(arrays)
    }

    fn nulls(&self) -> Vec<ArrayRef> {
        let fields = self.wanted.iter().filter_map(|column| self.plan.columns().get(*column));
        fields.map(|field| new_null_array(field.data_type(), 1)).collect()
    }
}

impl RecordDecoder for JsonDecoder {
    fn decode(&mut self, window: Window<'_>) -> Result<Decoded> {
        let mark = window.offset == 0 && window.bytes.starts_with(BYTE_ORDER_MARK);
        let begin = if mark { BYTE_ORDER_MARK.len() } else { 0 };
        let (spans, consumed, reached_end) = spans(&window, begin, self.plan.batch_rows);
        let bytes = window.bytes.get(..consumed).unwrap_or_default();
        let place = Place {
            file: &self.file,
            piece_start: self.piece_start,
            offset: window.offset,
            lines_before: self.lines_before,
        };
        let text = text::utf8(bytes, &place)?;
        let mut batch = None;
        if !spans.is_empty() {
            let lines: Vec<&str> = spans.iter().filter_map(|span| text.get(span.clone())).collect();
            let mut faults = Vec::new();
            let mut decoded = vec![None; self.plan.columns().len()];
            // Also when no column is wanted: a line that holds no object is counted in every mode.
            for (array, column) in self.columns(&lines, &mut faults)?.into_iter().zip(&self.wanted) {
                if let Some(place) = decoded.get_mut(*column) {
                    *place = Some(array);
                }
            }
            let raw = |row: usize| lines.get(row).copied().unwrap_or_default();
            let whereabouts = |row: usize| place.describe(bytes, spans.get(row).map_or(0, |span| span.start));
            batch = Some(self.plan.assemble(lines.len(), &decoded, &faults, raw, whereabouts)?);
        }
        self.lines_before += memchr::memchr_iter(b'\n', bytes).count() as u64;
        Ok(Decoded { consumed, batch, reached_end })
    }
}

/// Lines that are not blank and start before the limit, the bytes they take, and whether the limit was reached.
fn spans(window: &Window<'_>, begin: usize, most: usize) -> (Vec<Range<usize>>, usize, bool) {
    let mut spans = Vec::new();
    let mut position = begin;
    while spans.len() < most && position < window.bytes.len() && position < window.owned_until {
        let rest = window.bytes.get(position..).unwrap_or_default();
        let length = match memchr(b'\n', rest) {
            Some(at) => at + 1,
            None if window.is_last => rest.len(),
            None => break,
        };
        let line = rest.get(..length).unwrap_or_default().trim_ascii_end();
        if !line.trim_ascii_start().is_empty() {
            spans.push(position..position + line.len());
        }
        position += length;
    }
    (spans, position, position >= window.owned_until)
}

/// The text columns of lines that hold exactly one object each.
fn parse(schema: &SchemaRef, lines: &[&str]) -> Result<Vec<ArrayRef>, ArrowError> {
    let mut decoder = ReaderBuilder::new(schema.clone())
        .with_batch_size(lines.len() + 1)
        .with_coerce_primitive(true)
        .build_decoder()?;
    for (at, line) in lines.iter().enumerate() {
        let consumed = decoder.decode(line.as_bytes())?;
        if consumed != line.len() || decoder.len() != at + 1 || decoder.has_partial_record() {
            return Err(ArrowError::JsonError("a line does not hold one object".to_owned()));
        }
    }
    let batch = decoder.flush()?;
    Ok(batch.map(|batch| batch.columns().to_vec()).unwrap_or_default())
}

/// The type with text for every scalar: views where nothing has to be cast, plain text inside nested types.
fn text_type(data_type: &DataType) -> DataType {
    if is_scalar(data_type) { DataType::Utf8View } else { nested_text_type(data_type) }
}

fn nested_text_type(data_type: &DataType) -> DataType {
    let inner = |field: &Field| field.clone().with_data_type(nested_text_type(field.data_type()));
    match data_type {
        DataType::List(field) => DataType::List(Arc::new(inner(field))),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|field| inner(field)).collect::<Fields>()),
        _ => DataType::Utf8,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
