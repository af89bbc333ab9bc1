//! A query's columns as the table's: by name, cast where nothing can be lost unseen. Pure.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, RecordBatchOptions, StructArray, new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use arrow::util::display::{FormatOptions, array_value_to_string};

use crate::sql_type::sql_type;
use crate::{EngineError, Result};

/// Which input column fills which table column.
#[derive(Debug, Clone)]
pub(super) struct Alignment {
    /// For each table column the input column; `None` = NULL.
    sources: Vec<Option<usize>>,
    /// The table's columns, nullable: NOT NULL is checked after rows were dropped.
    output: SchemaRef,
}

impl Alignment {
    /// # Errors
    /// `invalid-job`: an input column that the table does not have, a column of the table that is missing, or a type
    /// that would lose values silently.
    pub(super) fn new(input: &Schema, table: &Schema) -> Result<Self> {
        let mut sources = vec![None; table.fields().len()];
        for (index, field) in input.fields().iter().enumerate() {
            let target = position(table, field.name()).ok_or_else(|| extra_column(field.name(), table))?;
            let wanted = table.field(target);
            can_store(field.data_type(), wanted.data_type(), wanted.name())?;
            match sources.get_mut(target) {
                Some(slot @ None) => *slot = Some(index),
                _ => {
                    return Err(EngineError::invalid(
                        "write-columns",
                        format!("two columns of the query go to column '{}' of the table", wanted.name()),
                    ));
                }
            }
        }
        // What we add ourselves (`_rescued`, the audit columns) comes and goes with the job's settings.
        let may_be_null = |field: &Field| field.name().starts_with('_') && field.is_nullable();
        let missing =
            table.fields().iter().zip(&sources).find(|(field, source)| source.is_none() && !may_be_null(field));
        if let Some((field, _)) = missing {
            let name = field.name();
            return Err(EngineError::invalid(
                "write-columns",
                format!(
                    "the query gives no column '{name}', which the table has; select it, or NULL AS {name} on purpose"
                ),
            ));
        }
        let output = table.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect::<Vec<_>>();
        Ok(Self { sources, output: Arc::new(Schema::new(output)) })
    }

    /// The input column that fills the table column `name`.
    pub(super) fn source_of(&self, name: &str) -> Option<usize> {
        self.sources.get(self.output.index_of(name).ok()?).copied().flatten()
    }

    /// The batch as the table's columns.
    ///
    /// # Errors
    /// `invalid-job` (code `write-cast`) naming the column whose value does not fit its type.
    pub(super) fn align(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = self.sources.iter().zip(self.output.fields()).map(|(source, field)| match source {
            Some(index) => store(batch.column(*index), field.data_type(), field.name()),
            None => Ok(new_null_array(field.data_type(), batch.num_rows())),
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(self.output.clone(), columns, &options)?)
    }
}

/// By exact name, else by the only name that differs in case.
fn position(table: &Schema, name: &str) -> Option<usize> {
    if let Ok(index) = table.index_of(name) {
        return Some(index);
    }
    let mut same = table.fields().iter().enumerate().filter(|(_, field)| field.name().eq_ignore_ascii_case(name));
    let first = same.next()?;
    same.next().is_none().then_some(first.0)
}

fn extra_column(name: &str, table: &Schema) -> EngineError {
    let known: Vec<&str> = table.fields().iter().map(|field| field.name().as_str()).collect();
    EngineError::invalid(
        "write-columns",
        format!("the query gives column '{name}', which the table does not have; its columns are {}", known.join(", ")),
    )
}

/// Whether values of `from` may be stored as `to`: nothing is rounded, cut or parsed; a value out of range is found
/// when it is cast.
fn can_store(from: &DataType, to: &DataType, path: &str) -> Result<()> {
    use DataType as T;
    let fits = match (from, to) {
        (from, to) if from == to => true,
        (T::Null, _) => true,
        (T::Dictionary(_, value), to) => return can_store(value, to, path),
        (T::Utf8 | T::LargeUtf8 | T::Utf8View, T::Utf8) => true,
        (T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_), T::Binary) => true,
        (from, T::Int8 | T::Int16 | T::Int32 | T::Int64) if from.is_integer() => true,
        (from, T::Decimal128(_, _)) if from.is_integer() => true,
        (T::Int8 | T::Int16 | T::UInt8 | T::UInt16, T::Float32 | T::Float64) => true,
        (T::Int32 | T::UInt32 | T::Float16 | T::Float32, T::Float64) | (T::Float16, T::Float32) => true,
        (
            T::Decimal32(_, scale) | T::Decimal64(_, scale) | T::Decimal128(_, scale) | T::Decimal256(_, scale),
            T::Decimal128(_, wanted),
        ) => scale <= wanted,
        (T::Date64, T::Date32) => true,
        (T::Date32, T::Timestamp(_, _)) => true,
        // SQL's times have nanoseconds, Delta's have microseconds: the difference is dropped, as everywhere.
        (T::Timestamp(_, zone), T::Timestamp(_, wanted)) => {
            return if zone.is_some() == wanted.is_some() { Ok(()) } else { Err(no_zone(zone.is_some(), path)) };
        }
        (T::Struct(from), T::Struct(to)) => return can_store_struct(from, to, path),
        (
            T::List(from) | T::LargeList(from) | T::FixedSizeList(from, _) | T::ListView(from) | T::LargeListView(from),
            T::List(to),
        ) => {
            return can_store(from.data_type(), to.data_type(), &format!("{path}.element"));
        }
        (T::Map(from, _), T::Map(to, _)) => return can_store_entries(from, to, path),
        _ => false,
    };
    if fits {
        return Ok(());
    }
    Err(EngineError::invalid(
        "write-types",
        format!(
            "column '{path}' of the query is {}, the table's is {}: values could be lost; CAST it in the query",
            sql_type(from),
            sql_type(to)
        ),
    ))
}

/// An instant and a wall-clock time are the same only in a zone that nobody has named.
fn no_zone(is_instant: bool, path: &str) -> EngineError {
    let message = if is_instant {
        format!(
            "column '{path}' of the query is timestamp, an instant, the table's is timestamp_ntz, a wall-clock time: \
             say what zone's time it is to be; CAST({path} AS TIMESTAMP) is that of UTC"
        )
    } else {
        format!(
            "column '{path}' of the query is timestamp_ntz, a wall-clock time, the table's is timestamp, an instant: \
             say in which zone it is, such as {path} AT TIME ZONE 'UTC'"
        )
    };
    EngineError::invalid("write-types", message)
}

fn can_store_struct(from: &Fields, to: &Fields, path: &str) -> Result<()> {
    for field in from {
        let (_, wanted) = to.find(field.name()).ok_or_else(|| {
            let inner = format!("{path}.{}", field.name());
            EngineError::invalid(
                "write-columns",
                format!("the query gives field '{inner}', which the table does not have"),
            )
        })?;
        can_store(field.data_type(), wanted.data_type(), &format!("{path}.{}", field.name()))?;
    }
    Ok(())
}

fn can_store_entries(from: &Field, to: &Field, path: &str) -> Result<()> {
    let (DataType::Struct(from), DataType::Struct(to)) = (from.data_type(), to.data_type()) else { return Ok(()) };
    for (side, (from, to)) in ["key", "value"].iter().zip(from.iter().zip(to)) {
        can_store(from.data_type(), to.data_type(), &format!("{path}.{side}"))?;
    }
    Ok(())
}

fn store(array: &ArrayRef, to: &DataType, path: &str) -> Result<ArrayRef> {
    if array.data_type() == to {
        return Ok(array.clone());
    }
    match (array.data_type(), to) {
        (DataType::Struct(_), DataType::Struct(fields)) => store_struct(array.as_struct(), fields, path),
        (DataType::List(_), DataType::List(item)) => {
            let list = array.as_list::<i32>();
            let values = store(list.values(), item.data_type(), path)?;
            Ok(Arc::new(ListArray::try_new(item.clone(), list.offsets().clone(), values, list.nulls().cloned())?))
        }
        (DataType::LargeList(item) | DataType::FixedSizeList(item, _), DataType::List(_))
        | (DataType::ListView(item) | DataType::LargeListView(item), DataType::List(_)) => {
            let plain = cast(array, &DataType::List(item.clone()), path)?;
            store(&plain, to, path)
        }
        (DataType::Map(_, _), DataType::Map(entries, sorted)) => store_map(array.as_map(), entries, *sorted, path),
        _ => cast(array, to, path),
    }
}

fn store_struct(array: &StructArray, fields: &Fields, path: &str) -> Result<ArrayRef> {
    let child = |field: &FieldRef| match array.column_by_name(field.name()) {
        Some(column) => store(column, field.data_type(), &format!("{path}.{}", field.name())),
        None => Ok(new_null_array(field.data_type(), array.len())),
    };
    let columns = fields.iter().map(child).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(StructArray::try_new(fields.clone(), columns, array.nulls().cloned())?))
}

fn store_map(array: &MapArray, entries: &FieldRef, sorted: bool, path: &str) -> Result<ArrayRef> {
    let DataType::Struct(pair) = entries.data_type() else {
        return Err(EngineError::internal(format!("map column '{path}' has no entries")));
    };
    let columns = pair.iter().zip(array.entries().columns());
    let columns = columns.map(|(field, column)| store(column, field.data_type(), path)).collect::<Result<Vec<_>>>()?;
    let pairs = StructArray::try_new(pair.clone(), columns, None)?;
    let map = MapArray::try_new(entries.clone(), array.offsets().clone(), pairs, array.nulls().cloned(), sorted)?;
    Ok(Arc::new(map))
}

fn cast(array: &ArrayRef, to: &DataType, path: &str) -> Result<ArrayRef> {
    let strict = CastOptions { safe: false, format_options: FormatOptions::default() };
    cast_with_options(array, to, &strict).map_err(|_| {
        let value = unfit(array, to).map_or_else(|| "a value".to_owned(), |value| format!("the value {value}"));
        EngineError::invalid(
            "write-cast",
            format!(
                "{value} of column '{path}' ({}) does not fit the table's type {}",
                sql_type(array.data_type()),
                sql_type(to)
            ),
        )
    })
}

/// The first value that a forgiving cast makes NULL.
fn unfit(array: &ArrayRef, to: &DataType) -> Option<String> {
    let forgiving = CastOptions { safe: true, format_options: FormatOptions::default() };
    let forgiven = cast_with_options(array, to, &forgiving).ok()?;
    let row = (0..array.len()).find(|row| array.is_valid(*row) && forgiven.is_null(*row))?;
    array_value_to_string(array.as_ref(), row).ok()
}

#[cfg(test)]
mod tests;
