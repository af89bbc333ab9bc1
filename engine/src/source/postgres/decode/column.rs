//! The values of one column, one buffer per kind of value. Pure.

use std::mem;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, Decimal128Array, ListArray, NullBufferBuilder,
    PrimitiveArray, StringArray,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, Date32Type, Field, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use uuid::Uuid;

use super::super::types::Wire;
use super::{Bad, field, numeric, temporal};

/// One growing column.
pub(super) struct ColumnBuilder {
    nulls: NullBufferBuilder,
    values: Values,
}

enum Values {
    Bool(BooleanBufferBuilder),
    Int2(Vec<i16>),
    Int4(Vec<i32>),
    Int8(Vec<i64>),
    Oid(Vec<i64>),
    Float4(Vec<f32>),
    Float8(Vec<f64>),
    Numeric { values: Vec<i128>, precision: u8, scale: i8 },
    Date(Vec<i32>),
    Timestamp { values: Vec<i64>, utc: bool },
    Time(Texts),
    Uuid(Texts),
    Text(Texts),
    Jsonb(Texts),
    Bytea(Texts),
    List { ends: Vec<i32>, elements: Box<ColumnBuilder> },
}

/// Values of varying length, one after the other.
struct Texts {
    ends: Vec<i32>,
    bytes: Vec<u8>,
}

impl ColumnBuilder {
    /// An empty column with room for `rows`.
    pub(super) fn new(wire: &Wire, rows: usize) -> Self {
        let values = match wire {
            Wire::Bool => Values::Bool(BooleanBufferBuilder::new(rows)),
            Wire::Int2 => Values::Int2(Vec::with_capacity(rows)),
            Wire::Int4 => Values::Int4(Vec::with_capacity(rows)),
            Wire::Int8 => Values::Int8(Vec::with_capacity(rows)),
            Wire::Oid => Values::Oid(Vec::with_capacity(rows)),
            Wire::Float4 => Values::Float4(Vec::with_capacity(rows)),
            Wire::Float8 => Values::Float8(Vec::with_capacity(rows)),
            Wire::Numeric { precision, scale } => {
                Values::Numeric { values: Vec::with_capacity(rows), precision: *precision, scale: *scale }
            }
            Wire::Date => Values::Date(Vec::with_capacity(rows)),
            Wire::Timestamp => Values::Timestamp { values: Vec::with_capacity(rows), utc: false },
            Wire::TimestampTz => Values::Timestamp { values: Vec::with_capacity(rows), utc: true },
            Wire::Time => Values::Time(Texts::new(rows, temporal::TIME_LENGTH)),
            Wire::Uuid => Values::Uuid(Texts::new(rows, uuid::fmt::Hyphenated::LENGTH)),
            Wire::Text => Values::Text(Texts::new(rows, 16)),
            Wire::Jsonb => Values::Jsonb(Texts::new(rows, 64)),
            Wire::Bytea => Values::Bytea(Texts::new(rows, 16)),
            Wire::List(element) => {
                Values::List { ends: starting_with_zero(rows), elements: Box::new(Self::new(element, rows)) }
            }
        };
        Self { nulls: NullBufferBuilder::new(rows), values }
    }

    /// Adds a value in its binary form, or NULL.
    #[inline]
    pub(super) fn append(&mut self, value: Option<&[u8]>) -> Result<(), Bad> {
        match value {
            Some(value) => {
                self.append_value(value)?;
                self.nulls.append_non_null();
            }
            None => {
                self.append_blank();
                self.nulls.append_null();
            }
        }
        Ok(())
    }

    /// The column so far; it is empty afterwards, with room for `rows`.
    pub(super) fn finish(&mut self, rows: usize) -> Result<ArrayRef, Bad> {
        let nulls = self.nulls.finish();
        let array: ArrayRef = match &mut self.values {
            Values::Bool(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Int2(values) => Arc::new(primitive::<Int16Type>(values, nulls, rows)?),
            Values::Int4(values) => Arc::new(primitive::<Int32Type>(values, nulls, rows)?),
            Values::Int8(values) | Values::Oid(values) => Arc::new(primitive::<Int64Type>(values, nulls, rows)?),
            Values::Float4(values) => Arc::new(primitive::<Float32Type>(values, nulls, rows)?),
            Values::Float8(values) => Arc::new(primitive::<Float64Type>(values, nulls, rows)?),
            Values::Numeric { values, precision, scale } => {
                let array: Decimal128Array = primitive(values, nulls, rows)?;
                let array = array.with_precision_and_scale(*precision, *scale);
                Arc::new(array.map_err(|_| Bad::Malformed("a decimal of impossible precision"))?)
            }
            Values::Date(values) => Arc::new(primitive::<Date32Type>(values, nulls, rows)?),
            Values::Timestamp { values, utc } => {
                let array: PrimitiveArray<TimestampMicrosecondType> = primitive(values, nulls, rows)?;
                Arc::new(array.with_timezone_opt(utc.then_some("UTC")))
            }
            Values::Time(texts) | Values::Uuid(texts) | Values::Text(texts) | Values::Jsonb(texts) => {
                let (ends, bytes) = texts.take(rows);
                let array = StringArray::try_new(ends, bytes.into(), nulls);
                Arc::new(array.map_err(|_| Bad::Value("text that is not UTF-8".to_owned()))?)
            }
            Values::Bytea(texts) => {
                let (ends, bytes) = texts.take(rows);
                let array = BinaryArray::try_new(ends, bytes.into(), nulls);
                Arc::new(array.map_err(|_| Bad::Malformed("bytes of impossible lengths"))?)
            }
            Values::List { ends, elements } => {
                let ends = offsets(mem::replace(ends, starting_with_zero(rows)));
                let values = elements.finish(rows)?;
                let element = Arc::new(Field::new_list_field(values.data_type().clone(), true));
                let array = ListArray::try_new(element, ends, values, nulls);
                Arc::new(array.map_err(|_| Bad::Malformed("an array of impossible lengths"))?)
            }
        };
        Ok(array)
    }

    #[inline]
    fn append_value(&mut self, value: &[u8]) -> Result<(), Bad> {
        match &mut self.values {
            Values::Bool(values) => values.append(fixed::<1>(value)? != [0]),
            Values::Int2(values) => values.push(i16::from_be_bytes(fixed(value)?)),
            Values::Int4(values) => values.push(i32::from_be_bytes(fixed(value)?)),
            Values::Int8(values) => values.push(i64::from_be_bytes(fixed(value)?)),
            Values::Oid(values) => values.push(i64::from(u32::from_be_bytes(fixed(value)?))),
            Values::Float4(values) => values.push(f32::from_be_bytes(fixed(value)?)),
            Values::Float8(values) => values.push(f64::from_be_bytes(fixed(value)?)),
            Values::Numeric { values, precision, scale } => values.push(numeric::decimal(value, *precision, *scale)?),
            Values::Date(values) => values.push(temporal::date(i32::from_be_bytes(fixed(value)?))?),
            Values::Timestamp { values, .. } => {
                values.push(temporal::timestamp(i64::from_be_bytes(fixed(value)?))?);
            }
            Values::Time(texts) => texts.push(&temporal::time(i64::from_be_bytes(fixed(value)?))?)?,
            Values::Uuid(texts) => {
                let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
                let text = Uuid::from_bytes(fixed(value)?).hyphenated().encode_lower(&mut text);
                texts.push(text.as_bytes())?;
            }
            Values::Text(texts) | Values::Bytea(texts) => texts.push(value)?,
            Values::Jsonb(texts) => match value.split_first() {
                Some((1, text)) => texts.push(text)?,
                _ => return Err(Bad::Malformed("jsonb of an unknown version")),
            },
            Values::List { ends, elements } => {
                let count = append_elements(value, elements)?;
                let end = ends.last().copied().unwrap_or(0).checked_add(count);
                ends.push(end.ok_or(Bad::Malformed("too many elements in one batch"))?);
            }
        }
        Ok(())
    }

    /// Fills the place of a NULL.
    #[inline]
    fn append_blank(&mut self) {
        match &mut self.values {
            Values::Bool(values) => values.append(false),
            Values::Int2(values) => values.push(0),
            Values::Int4(values) | Values::Date(values) => values.push(0),
            Values::Int8(values) | Values::Oid(values) | Values::Timestamp { values, .. } => values.push(0),
            Values::Float4(values) => values.push(0.0),
            Values::Float8(values) => values.push(0.0),
            Values::Numeric { values, .. } => values.push(0),
            Values::Time(texts)
            | Values::Uuid(texts)
            | Values::Text(texts)
            | Values::Jsonb(texts)
            | Values::Bytea(texts) => texts.ends.push(texts.ends.last().copied().unwrap_or(0)),
            Values::List { ends, .. } => ends.push(ends.last().copied().unwrap_or(0)),
        }
    }
}

impl Texts {
    fn new(rows: usize, expected_length: usize) -> Self {
        Self { ends: starting_with_zero(rows), bytes: Vec::with_capacity(rows * expected_length) }
    }

    #[inline]
    fn push(&mut self, value: &[u8]) -> Result<(), Bad> {
        self.bytes.extend_from_slice(value);
        let end = i32::try_from(self.bytes.len()).map_err(|_| Bad::Malformed("more than 2 GiB in one batch"))?;
        self.ends.push(end);
        Ok(())
    }

    fn take(&mut self, rows: usize) -> (OffsetBuffer<i32>, Vec<u8>) {
        let room = Vec::with_capacity(self.bytes.len());
        let bytes = mem::replace(&mut self.bytes, room);
        (offsets(mem::replace(&mut self.ends, starting_with_zero(rows))), bytes)
    }
}

/// The elements of a binary array value; their number.
fn append_elements(value: &[u8], elements: &mut ColumnBuilder) -> Result<i32, Bad> {
    const SHORT: Bad = Bad::Malformed("an array that is shorter than its header says");
    let (dimensions, left) = value.split_first_chunk::<4>().ok_or(SHORT)?;
    // Flags and element type are known from the column.
    let left = left.get(8..).ok_or(SHORT)?;
    match i32::from_be_bytes(*dimensions) {
        0 => return Ok(0),
        1 => {}
        more => return Err(Bad::Value(format!("an array of {more} dimensions, and a list has one"))),
    }
    let (count, left) = left.split_first_chunk::<4>().ok_or(SHORT)?;
    let count = i32::from_be_bytes(*count);
    // The lower bound has no counterpart.
    let mut left = left.get(4..).ok_or(SHORT)?;
    for _ in 0..count {
        let (element, next) = field(left).ok_or(SHORT)?;
        elements.append(element)?;
        left = next;
    }
    if left.is_empty() && count >= 0 { Ok(count) } else { Err(SHORT) }
}

#[inline]
fn fixed<const N: usize>(value: &[u8]) -> Result<[u8; N], Bad> {
    value.try_into().map_err(|_| Bad::Malformed("a value of the wrong length"))
}

fn primitive<T: ArrowPrimitiveType>(
    values: &mut Vec<T::Native>,
    nulls: Option<arrow::buffer::NullBuffer>,
    rows: usize,
) -> Result<PrimitiveArray<T>, Bad> {
    let values = ScalarBuffer::from(mem::replace(values, Vec::with_capacity(rows)));
    PrimitiveArray::try_new(values, nulls).map_err(|_| Bad::Malformed("columns of different lengths"))
}

fn starting_with_zero(rows: usize) -> Vec<i32> {
    let mut ends = Vec::with_capacity(rows + 1);
    ends.push(0);
    ends
}

/// Offsets begin with zero and never fall: they are sums of lengths.
fn offsets(ends: Vec<i32>) -> OffsetBuffer<i32> {
    OffsetBuffer::new(ScalarBuffer::from(ends))
}
