//! Rows of binary COPY into record batches: bytes go straight into column buffers. Pure.
//!
//! Format: PostgreSQL manual, "COPY, Binary Format". The server sends one message per row, but nothing here relies on
//! it: chunks may end anywhere.

mod column;
mod numeric;
mod temporal;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use lake_proto::ErrorClass;

use self::column::ColumnBuilder;
use super::types::{Column, schema};
use crate::{EngineError, Result};

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// A batch ends early when its values reach this many bytes: rows of large values must not fill the memory.
const MAX_BATCH_BYTES: usize = 32 << 20;

/// Why a value cannot be read.
#[derive(Debug, PartialEq, Eq)]
enum Bad {
    /// The bytes are not what the type's send function writes.
    Malformed(&'static str),
    /// PostgreSQL's value has no counterpart in the column's type.
    Value(String),
}

/// Collects rows until [`Self::is_full`], then gives them as a batch.
pub(super) struct Decoder {
    schema: SchemaRef,
    columns: Vec<ColumnBuilder>,
    max_rows: usize,
    rows: usize,
    bytes: usize,
    /// The beginning of a row whose end has not arrived.
    rest: Vec<u8>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Header,
    Rows,
    Ended,
}

impl Decoder {
    /// A decoder for batches of at most `max_rows` rows of these columns.
    pub(super) fn new(columns: &[Column], max_rows: usize) -> Self {
        let max_rows = max_rows.max(1);
        Self {
            schema: schema(columns),
            columns: columns.iter().map(|column| ColumnBuilder::new(&column.wire, max_rows)).collect(),
            max_rows,
            rows: 0,
            bytes: 0,
            rest: Vec::new(),
            state: State::Header,
        }
    }

    /// Whether [`Self::batch`] should be taken before more is fed.
    pub(super) fn is_full(&self) -> bool {
        self.rows >= self.max_rows || self.bytes >= MAX_BATCH_BYTES
    }

    /// Whether no row is waiting.
    pub(super) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Reads the rows of a chunk.
    ///
    /// # Errors
    /// `data-quality` (code `source-value`) for a value without counterpart, naming column and value; `internal` for
    /// bytes that are not binary COPY.
    pub(super) fn feed(&mut self, chunk: &[u8]) -> Result<()> {
        self.bytes += chunk.len();
        if self.rest.is_empty() {
            let left = self.consume(chunk)?;
            self.rest.extend_from_slice(left);
            return Ok(());
        }
        let mut joined = std::mem::take(&mut self.rest);
        joined.extend_from_slice(chunk);
        let left = self.consume(&joined)?;
        self.rest = left.to_vec();
        Ok(())
    }

    /// Ends one COPY; the next chunk begins another one.
    ///
    /// # Errors
    /// `unavailable` when the server stopped before the trailer: rows would be missing.
    pub(super) fn end_copy(&mut self) -> Result<()> {
        if self.state != State::Ended || !self.rest.is_empty() {
            return Err(EngineError::unavailable("source-unavailable", "the server ended its answer in mid-row"));
        }
        self.state = State::Header;
        Ok(())
    }

    /// The rows so far.
    ///
    /// # Errors
    /// `data-quality` for text that is not UTF-8, or a NULL in a column that must not have one.
    pub(super) fn batch(&mut self) -> Result<RecordBatch> {
        let mut arrays = Vec::with_capacity(self.columns.len());
        for (column, field) in self.columns.iter_mut().zip(self.schema.fields()) {
            let array = column.finish(self.max_rows).map_err(|bad| self::bad_value(bad, field.name()))?;
            if !field.is_nullable() && array.null_count() > 0 {
                let bad = Bad::Value("NULL in a column that is declared NOT NULL".to_owned());
                return Err(bad_value(bad, field.name()));
            }
            arrays.push(array);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        self.rows = 0;
        self.bytes = 0;
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)?)
    }

    /// Reads whole rows and returns what is left.
    fn consume<'a>(&mut self, mut data: &'a [u8]) -> Result<&'a [u8]> {
        if self.state == State::Header {
            match header(data)? {
                Some(left) => data = left,
                None => return Ok(data),
            }
            self.state = State::Rows;
        }
        while self.state == State::Rows {
            let Some((count, fields)) = data.split_first_chunk::<2>() else { return Ok(data) };
            let count = i16::from_be_bytes(*count);
            if count == -1 {
                self.state = State::Ended;
                data = fields;
                break;
            }
            if usize::try_from(count) != Ok(self.columns.len()) {
                return Err(malformed(&format!("{count} fields in a row of {}", self.columns.len())));
            }
            if !is_whole(fields, self.columns.len())? {
                return Ok(data);
            }
            data = self.row(fields)?;
            self.rows += 1;
        }
        if data.is_empty() { Ok(data) } else { Err(malformed("bytes after the trailer")) }
    }

    /// Reads the fields of one row that is there to its end.
    fn row<'a>(&mut self, mut fields: &'a [u8]) -> Result<&'a [u8]> {
        for (index, column) in self.columns.iter_mut().enumerate() {
            let (value, left) = field(fields).ok_or_else(|| malformed("a row is shorter than its fields"))?;
            fields = left;
            if let Err(bad) = column.append(value) {
                let name = self.schema.fields().get(index).map_or("?", |field| field.name().as_str());
                return Err(bad_value(bad, name));
            }
        }
        Ok(fields)
    }
}

/// What follows the file header; `None` when more bytes are needed.
fn header(data: &[u8]) -> Result<Option<&[u8]>> {
    let Some((signature, left)) = data.split_at_checked(SIGNATURE.len()) else { return Ok(None) };
    if signature != SIGNATURE {
        return Err(malformed("no COPY signature"));
    }
    let Some((flags, left)) = left.split_first_chunk::<4>() else { return Ok(None) };
    if u32::from_be_bytes(*flags) & 0xffff_0000 != 0 {
        return Err(malformed("unknown critical flags"));
    }
    let Some((extension, left)) = left.split_first_chunk::<4>() else { return Ok(None) };
    let extension = usize::try_from(u32::from_be_bytes(*extension)).map_err(|_| malformed("a large header"))?;
    Ok(left.get(extension..))
}

/// Whether all fields of a row are there.
fn is_whole(mut data: &[u8], fields: usize) -> Result<bool> {
    for _ in 0..fields {
        let Some((length, left)) = data.split_first_chunk::<4>() else { return Ok(false) };
        let length = match i32::from_be_bytes(*length) {
            -1 => 0,
            length => usize::try_from(length).map_err(|_| malformed("a negative length"))?,
        };
        match left.get(length..) {
            Some(left) => data = left,
            None => return Ok(false),
        }
    }
    Ok(true)
}

/// A length-prefixed value (`None` for NULL) and what follows it.
fn field(data: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (length, left) = data.split_first_chunk::<4>()?;
    match i32::from_be_bytes(*length) {
        -1 => Some((None, left)),
        length => {
            let (value, left) = left.split_at_checked(usize::try_from(length).ok()?)?;
            Some((Some(value), left))
        }
    }
}

fn malformed(what: &str) -> EngineError {
    EngineError::internal(format!("the server's binary COPY is not understood: {what}"))
}

fn bad_value(bad: Bad, column: &str) -> EngineError {
    match bad {
        Bad::Malformed(what) => malformed(&format!("column '{column}': {what}")),
        Bad::Value(what) => EngineError::new(
            ErrorClass::DataQuality,
            "source-value",
            format!("column '{column}' holds {what}; filter or cast it with a `query` in place of the table"),
        ),
    }
}

#[cfg(test)]
mod tests;
