//! CSV records to columns: one pass finds the fields, then each column is built by itself from the text. Batches in
//! which everything parses never leave that path. Pure.

use std::sync::Arc;

use arrow::array::{ArrayRef, new_null_array};
use lake_job::ParseMode;
use lake_proto::quantity::counted;

use super::CsvFormat;
use super::dialect::{Dialect, unquote};
use super::header::Layout;
use super::tokenize::{Limits, Malformed, Records, tokenize};
use crate::source::files::columns::{Cells, ColumnBuilder};
use crate::source::files::lines::{Decoded, RecordDecoder, Window};
use crate::source::files::text::{self, Fault, Place, TextPlan, shown};
use crate::{EngineError, Result};

/// Rows of which all columns are built before the next ones.
const GROUP_ROWS: usize = 512;

/// The decoder of one piece.
pub(in super::super) struct CsvDecoder {
    format: Arc<CsvFormat>,
    plan: Arc<TextPlan>,
    layout: Layout,
    file: String,
    piece_start: u64,
    lines_before: u64,
    records: Records,
}

impl CsvDecoder {
    /// A decoder for records laid out as `layout`, from `piece_start` of the file, before which `lines_before` line
    /// ends are counted.
    pub(super) fn new(
        format: Arc<CsvFormat>,
        plan: Arc<TextPlan>,
        layout: Layout,
        file: String,
        piece_start: u64,
        lines_before: u64,
    ) -> Self {
        Self { format, plan, layout, file, piece_start, lines_before, records: Records::default() }
    }

    fn columns(&self, text: &str, faults: &mut Vec<Fault>) -> Result<Vec<Option<ArrayRef>>> {
        let rows = self.records.len();
        let mut columns = Vec::with_capacity(self.plan.columns().len());
        for (index, field) in self.plan.columns().iter().enumerate() {
            let place = self.layout.fields.get(index).copied().flatten();
            columns.push(match place.filter(|_| self.plan.decodes(index)) {
                Some(place) => Some((ColumnBuilder::new(field.data_type(), rows)?, self.cells(text, place))),
                None => None,
            });
        }
        let mut failed = Vec::new();
        let mut scratch = String::new();
        // All columns of few rows at a time: their text and offsets stay in the cache.
        for start in (0..rows).step_by(GROUP_ROWS) {
            let group = start..(start + GROUP_ROWS).min(rows);
            for (index, column) in columns.iter_mut().enumerate() {
                let Some((builder, cells)) = column else { continue };
                builder.append(cells, group.clone(), &mut failed);
                for row in failed.drain(..) {
                    let found = cells.get(row, &mut scratch).map(shown).unwrap_or_default();
                    faults.push(Fault { row, column: Some(index), found });
                }
            }
        }
        let decoded = columns.into_iter().enumerate().map(|(index, column)| match column {
            Some((builder, _)) => Some(builder.finish()),
            // Not in this file.
            None if self.plan.decodes(index) => {
                self.plan.columns().get(index).map(|field| new_null_array(field.data_type(), rows))
            }
            None => None,
        });
        Ok(decoded.collect())
    }

    fn cells<'a>(&'a self, text: &'a str, field: usize) -> CsvCells<'a> {
        CsvCells {
            text,
            records: &self.records,
            field,
            dialect: &self.format.dialect,
            null_value: self.format.null_value.as_deref(),
        }
    }

    fn malformed(&self, faults: &mut Vec<Fault>) {
        let fault = |(row, malformed): &(usize, Malformed)| Fault {
            row: *row,
            column: None,
            found: match malformed {
                Malformed::TooFew(found) | Malformed::TooMany(found) => {
                    format!("expected {}, found {found}", counted(self.layout.width, "field"))
                }
                Malformed::OpenQuote => "a quoted field is not closed before the line ends".to_owned(),
                Malformed::AfterQuote => "a quoted field is followed by text before the next delimiter".to_owned(),
            },
        };
        faults.extend(self.records.malformed().iter().map(fault));
        if !self.layout.unknown.is_empty() {
            let found = format!(
                "the file has columns that were not seen when the schema was inferred: {}",
                shown(&self.layout.unknown.join(","))
            );
            faults.extend((0..self.records.len()).map(|row| Fault { row, column: None, found: found.clone() }));
        }
    }
}

impl RecordDecoder for CsvDecoder {
    fn decode(&mut self, window: Window<'_>) -> Result<Decoded> {
        if !self.layout.unknown.is_empty() && self.plan.mode() != ParseMode::Permissive {
            return Err(EngineError::invalid(
                "csv-header",
                format!(
                    "'{}' has columns that the files the schema was inferred from do not have: {}; declare the schema",
                    self.file,
                    shown(&self.layout.unknown.join(","))
                ),
            ));
        }
        let limits = Limits { records: self.plan.batch_rows, owned_until: window.owned_until, is_last: window.is_last };
        tokenize(window.bytes, &self.format.dialect, self.layout.width, limits, &mut self.records);
        let consumed = self.records.consumed();
        let reached_end = self.records.reached_end();
        let bytes = window.bytes.get(..consumed).unwrap_or_default();
        let place = Place {
            file: &self.file,
            piece_start: self.piece_start,
            offset: window.offset,
            lines_before: self.lines_before,
        };
        let text = text::utf8(bytes, &place)?;
        let rows = self.records.len();
        let mut batch = None;
        if rows > 0 {
            let mut faults = Vec::new();
            self.malformed(&mut faults);
            let decoded = self.columns(text, &mut faults)?;
            let raw = |row| text.get(self.records.span(row)).unwrap_or_default();
            let whereabouts = |row| place.describe(bytes, self.records.span(row).start);
            batch = Some(self.plan.assemble(rows, &decoded, &faults, raw, whereabouts)?);
        }
        self.lines_before += memchr::memchr_iter(b'\n', bytes).count() as u64;
        Ok(Decoded { consumed, batch, reached_end })
    }
}

/// One field of every record.
struct CsvCells<'a> {
    text: &'a str,
    records: &'a Records,
    field: usize,
    dialect: &'a Dialect,
    null_value: Option<&'a str>,
}

impl Cells for CsvCells<'_> {
    fn len(&self) -> usize {
        self.records.len()
    }

    #[inline]
    fn get<'a>(&'a self, row: usize, scratch: &'a mut String) -> Option<&'a str> {
        let (start, end, is_quoted) = self.records.field(row, self.field);
        if start >= end {
            return None;
        }
        let raw = self.text.get(start..end)?;
        if is_quoted {
            return unquote(raw, self.dialect, scratch);
        }
        if self.null_value == Some(raw) { None } else { Some(raw) }
    }
}
