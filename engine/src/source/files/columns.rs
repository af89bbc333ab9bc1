//! Columns of text cells to Arrow arrays: a cell that does not parse becomes NULL and its row is reported. Pure.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BinaryViewBuilder, BooleanBuilder, PrimitiveBuilder, StringBuilder, StringViewArray,
    StringViewBuilder, new_null_array,
};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimeUnit, TimestampMicrosecondType,
};

use super::values;
use crate::{EngineError, Result};

/// Bytes of the blocks that long texts of a view column are copied to.
const VIEW_BLOCK_BYTES: u32 = 256 * 1024;

/// A column of text. The scratch string lends a place for values that have to be unescaped.
pub(super) trait Cells {
    /// Number of rows.
    fn len(&self) -> usize;
    /// The text of a row; `None` is NULL.
    fn get<'a>(&'a self, row: usize, scratch: &'a mut String) -> Option<&'a str>;
}

impl Cells for StringViewArray {
    fn len(&self) -> usize {
        arrow::array::Array::len(self)
    }

    fn get<'a>(&'a self, row: usize, _: &'a mut String) -> Option<&'a str> {
        arrow::array::Array::is_valid(self, row).then(|| self.value(row))
    }
}

/// Whether every text is a value of the type, so that building it cannot fail.
pub(super) fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8View | DataType::Utf8 | DataType::Binary | DataType::BinaryView | DataType::Null)
}

/// Whether [`build`] has rules for the type.
pub(super) fn is_scalar(data_type: &DataType) -> bool {
    is_text(data_type)
        || matches!(
            data_type,
            DataType::Boolean
                | DataType::Int8
                | DataType::Int16
                | DataType::Int32
                | DataType::Int64
                | DataType::Float32
                | DataType::Float64
                | DataType::Date32
                | DataType::Decimal128(..)
                | DataType::Timestamp(TimeUnit::Microsecond, _)
        )
}

/// The array of the cells; rows whose text is not a value of the type are NULL and appended to `failed`.
///
/// # Errors
/// `internal` for a type that has no text form here.
pub(super) fn build(data_type: &DataType, cells: &impl Cells, failed: &mut Vec<usize>) -> Result<ArrayRef> {
    let mut column = ColumnBuilder::new(data_type, cells.len())?;
    column.append(cells, 0..cells.len(), failed);
    Ok(column.finish())
}

/// An array that grows by groups of cells.
pub(super) enum ColumnBuilder {
    Null(DataType, usize),
    StringView(StringViewBuilder),
    String(StringBuilder),
    Binary(BinaryBuilder),
    BinaryView(BinaryViewBuilder),
    Boolean(BooleanBuilder),
    Int8(PrimitiveBuilder<Int8Type>),
    Int16(PrimitiveBuilder<Int16Type>),
    Int32(PrimitiveBuilder<Int32Type>),
    Int64(PrimitiveBuilder<Int64Type>),
    Float32(PrimitiveBuilder<Float32Type>),
    Float64(PrimitiveBuilder<Float64Type>),
    Date(PrimitiveBuilder<Date32Type>),
    Decimal(PrimitiveBuilder<Decimal128Type>, u8, i8),
    Timestamp(PrimitiveBuilder<TimestampMicrosecondType>),
    TimestampNtz(PrimitiveBuilder<TimestampMicrosecondType>),
}

impl ColumnBuilder {
    /// An empty column with room for `rows`.
    ///
    /// # Errors
    /// `internal` for a type that has no text form here.
    pub(super) fn new(data_type: &DataType, rows: usize) -> Result<Self> {
        Ok(match data_type {
            DataType::Null => Self::Null(DataType::Null, 0),
            DataType::Utf8View => {
                Self::StringView(StringViewBuilder::with_capacity(rows).with_fixed_block_size(VIEW_BLOCK_BYTES))
            }
            DataType::Utf8 => Self::String(StringBuilder::with_capacity(rows, rows * 16)),
            DataType::Binary => Self::Binary(BinaryBuilder::with_capacity(rows, rows * 16)),
            DataType::BinaryView => Self::BinaryView(BinaryViewBuilder::with_capacity(rows)),
            DataType::Boolean => Self::Boolean(BooleanBuilder::with_capacity(rows)),
            DataType::Int8 => Self::Int8(PrimitiveBuilder::with_capacity(rows)),
            DataType::Int16 => Self::Int16(PrimitiveBuilder::with_capacity(rows)),
            DataType::Int32 => Self::Int32(PrimitiveBuilder::with_capacity(rows)),
            DataType::Int64 => Self::Int64(PrimitiveBuilder::with_capacity(rows)),
            DataType::Float32 => Self::Float32(PrimitiveBuilder::with_capacity(rows)),
            DataType::Float64 => Self::Float64(PrimitiveBuilder::with_capacity(rows)),
            DataType::Date32 => Self::Date(PrimitiveBuilder::with_capacity(rows)),
            DataType::Decimal128(precision, scale) => {
                let builder = PrimitiveBuilder::with_capacity(rows).with_data_type(data_type.clone());
                Self::Decimal(builder, *precision, *scale)
            }
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                let builder = PrimitiveBuilder::with_capacity(rows).with_data_type(data_type.clone());
                if zone.is_some() { Self::Timestamp(builder) } else { Self::TimestampNtz(builder) }
            }
            other => return Err(EngineError::internal(format!("text cannot be read as {other}"))),
        })
    }

    /// Adds some rows of the cells; those whose text is not a value of the type are NULL and appended to `failed`.
    pub(super) fn append(&mut self, cells: &impl Cells, rows: Range<usize>, failed: &mut Vec<usize>) {
        match self {
            Self::Null(_, count) => *count += rows.len(),
            Self::StringView(builder) => texts(cells, rows, |text| builder.append_option(text)),
            Self::String(builder) => texts(cells, rows, |text| builder.append_option(text)),
            Self::Binary(builder) => texts(cells, rows, |text| builder.append_option(text)),
            Self::BinaryView(builder) => texts(cells, rows, |text| builder.append_option(text)),
            Self::Boolean(builder) => {
                parsed(cells, rows, failed, values::boolean, |value| builder.append_option(value));
            }
            Self::Int8(builder) => primitives(builder, cells, rows, failed, narrow),
            Self::Int16(builder) => primitives(builder, cells, rows, failed, narrow),
            Self::Int32(builder) => primitives(builder, cells, rows, failed, narrow),
            Self::Int64(builder) => primitives(builder, cells, rows, failed, values::integer),
            Self::Float32(builder) => primitives(builder, cells, rows, failed, values::float),
            Self::Float64(builder) => primitives(builder, cells, rows, failed, values::double),
            Self::Date(builder) => primitives(builder, cells, rows, failed, values::date),
            Self::Decimal(builder, precision, scale) => {
                let (precision, scale) = (*precision, *scale);
                primitives(builder, cells, rows, failed, |text| values::decimal(text, precision, scale));
            }
            Self::Timestamp(builder) => primitives(builder, cells, rows, failed, values::timestamp),
            Self::TimestampNtz(builder) => primitives(builder, cells, rows, failed, values::timestamp_ntz),
        }
    }

    /// The array of all rows that were added.
    pub(super) fn finish(self) -> ArrayRef {
        match self {
            Self::Null(data_type, rows) => new_null_array(&data_type, rows),
            Self::StringView(mut builder) => Arc::new(builder.finish()),
            Self::String(mut builder) => Arc::new(builder.finish()),
            Self::Binary(mut builder) => Arc::new(builder.finish()),
            Self::BinaryView(mut builder) => Arc::new(builder.finish()),
            Self::Boolean(mut builder) => Arc::new(builder.finish()),
            Self::Int8(mut builder) => Arc::new(builder.finish()),
            Self::Int16(mut builder) => Arc::new(builder.finish()),
            Self::Int32(mut builder) => Arc::new(builder.finish()),
            Self::Int64(mut builder) => Arc::new(builder.finish()),
            Self::Float32(mut builder) => Arc::new(builder.finish()),
            Self::Float64(mut builder) => Arc::new(builder.finish()),
            Self::Date(mut builder) => Arc::new(builder.finish()),
            Self::Decimal(mut builder, ..) => Arc::new(builder.finish()),
            Self::Timestamp(mut builder) | Self::TimestampNtz(mut builder) => Arc::new(builder.finish()),
        }
    }
}

fn narrow<N: TryFrom<i64>>(text: &str) -> Option<N> {
    values::integer(text).and_then(|value| N::try_from(value).ok())
}

fn texts(cells: &impl Cells, rows: Range<usize>, mut append: impl FnMut(Option<&str>)) {
    let mut scratch = String::new();
    for row in rows {
        append(cells.get(row, &mut scratch));
    }
}

fn parsed<V>(
    cells: &impl Cells,
    rows: Range<usize>,
    failed: &mut Vec<usize>,
    parse: impl Fn(&str) -> Option<V>,
    mut append: impl FnMut(Option<V>),
) {
    let mut scratch = String::new();
    for row in rows {
        let text = cells.get(row, &mut scratch);
        let value = text.and_then(&parse);
        if text.is_some() && value.is_none() {
            failed.push(row);
        }
        append(value);
    }
}

fn primitives<T: ArrowPrimitiveType>(
    builder: &mut PrimitiveBuilder<T>,
    cells: &impl Cells,
    rows: Range<usize>,
    failed: &mut Vec<usize>,
    parse: impl Fn(&str) -> Option<T::Native>,
) {
    parsed(cells, rows, failed, parse, |value| builder.append_option(value));
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};

    use super::*;

    #[test]
    fn cells_that_do_not_parse_are_null_and_reported_and_nulls_are_not() {
        let cells = StringViewArray::from(vec![Some("127"), Some("128"), None, Some("x")]);
        let mut failed = Vec::new();
        let array = build(&DataType::Int8, &cells, &mut failed).unwrap();
        assert_eq!(failed, [1, 3]);
        assert_eq!(array.null_count(), 3);
        assert_eq!(array.as_primitive::<Int8Type>().value(0), 127);
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        assert_eq!(build(&utc, &cells, &mut Vec::new()).unwrap().data_type(), &utc);
    }
}
