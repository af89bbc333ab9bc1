//! What CSV and JSON have in common after decoding: rows with faults are kept, left out or fatal, and the columns a
//! query asked for are put together. Pure.
//!
//! Which rows there are never depends on which columns are asked for: where the mode looks at faults, every column
//! that can fail is decoded.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, StringViewBuilder, new_null_array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use lake_job::ParseMode;
use lake_proto::ErrorClass;

use super::columns;
use crate::sql_type::sql_type;
use crate::{EngineError, Result};

/// What some writers put before UTF-8 text.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Characters of an offending text that a message shows.
const SHOWN_CHARACTERS: usize = 80;

/// How decoded rows become batches.
#[derive(Debug, Clone)]
pub(super) struct TextPlan {
    columns: Vec<FieldRef>,
    mode: ParseMode,
    /// Output columns: an index into `columns`, or their number for the rescued one.
    projection: Vec<usize>,
    output: SchemaRef,
    /// Rows with faults so far.
    malformed: Arc<AtomicU64>,
    /// Records per batch at most.
    pub batch_rows: usize,
}

/// Something wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// Row within the batch.
    pub row: usize,
    /// The column whose value it is, when it is one column's.
    pub column: Option<usize>,
    /// What was found.
    pub found: String,
}

/// Where a batch's text stands in its file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// The file's name.
    pub file: &'a str,
    /// Byte offset of the piece the lines are counted from.
    pub piece_start: u64,
    /// Byte offset of the batch's text.
    pub offset: u64,
    /// Line ends of the piece before the batch's text.
    pub lines_before: u64,
}

impl Place<'_> {
    /// `line 7`, or the byte and the line within the piece when lines before it were not counted.
    pub(super) fn describe(&self, text: &[u8], start: usize) -> String {
        let before = text.get(..start).unwrap_or_default();
        let line = self.lines_before + memchr::memchr_iter(b'\n', before).count() as u64 + 1;
        if self.piece_start == 0 {
            return format!("'{}' line {line}", self.file);
        }
        let byte = self.offset + start as u64;
        format!("'{}' byte {byte} (line {line} from byte {})", self.file, self.piece_start)
    }
}

impl TextPlan {
    /// A plan for the table columns of `schema` (the rescued one is its last in permissive mode), of which
    /// `projection` is put out.
    ///
    /// # Errors
    /// `internal` for a projection beyond the schema.
    pub(super) fn new(schema: &SchemaRef, mode: ParseMode, projection: &[usize], batch_rows: usize) -> Result<Self> {
        let rescued = usize::from(mode == ParseMode::Permissive);
        let columns = schema.fields().iter().take(schema.fields().len().saturating_sub(rescued)).cloned().collect();
        let output = Arc::new(schema.project(projection)?);
        let (projection, malformed) = (projection.to_vec(), Arc::default());
        Ok(Self { columns, mode, projection, output, malformed, batch_rows: batch_rows.max(1) })
    }

    /// The same plan, adding the rows with faults to `malformed`.
    #[must_use]
    pub(super) fn counting(mut self, malformed: Arc<AtomicU64>) -> Self {
        self.malformed = malformed;
        self
    }

    /// The columns of the files.
    pub(super) fn columns(&self) -> &[FieldRef] {
        &self.columns
    }

    /// What happens to faulty rows.
    pub(super) fn mode(&self) -> ParseMode {
        self.mode
    }

    /// Whether faults change the output.
    pub(super) fn minds_faults(&self) -> bool {
        self.mode != ParseMode::Permissive || self.projection.contains(&self.columns.len())
    }

    /// Whether the column has to be decoded.
    pub(super) fn decodes(&self, column: usize) -> bool {
        let can_fail = self.columns.get(column).is_some_and(|field| !columns::is_text(field.data_type()));
        self.projection.contains(&column) || (can_fail && self.minds_faults())
    }

    /// The batch of `rows` decoded rows: `decoded` has an array for every column that [`Self::decodes`], `raw` gives
    /// a row's own text, `place` says where a row stands.
    ///
    /// # Errors
    /// `data-quality` (code `bad-record`) for the first fault in fail-fast mode.
    pub(super) fn assemble<'a>(
        &self,
        rows: usize,
        decoded: &[Option<ArrayRef>],
        faults: &[Fault],
        raw: impl Fn(usize) -> &'a str,
        place: impl Fn(usize) -> String,
    ) -> Result<RecordBatch> {
        let mut faulty: BTreeMap<usize, &Fault> = BTreeMap::new();
        for fault in faults {
            faulty.entry(fault.row).or_insert(fault);
        }
        if self.mode == ParseMode::FailFast
            && let Some(fault) = faulty.values().next()
        {
            return Err(self.bad_record(fault, &place(fault.row)));
        }
        self.malformed.fetch_add(faulty.len() as u64, Ordering::Relaxed);
        let mut arrays = Vec::with_capacity(self.projection.len());
        for column in &self.projection {
            let array = match decoded.get(*column) {
                Some(Some(array)) => array.clone(),
                Some(None) => return Err(EngineError::internal(format!("column {column} was not decoded"))),
                None => rescued(rows, &faulty, &raw),
            };
            arrays.push(array);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(self.output.clone(), arrays, &options)?;
        if self.mode != ParseMode::Drop || faulty.is_empty() {
            return Ok(batch);
        }
        let kept: BooleanArray = (0..rows).map(|row| Some(!faulty.contains_key(&row))).collect();
        Ok(filter_record_batch(&batch, &kept)?)
    }

    fn bad_record(&self, fault: &Fault, place: &str) -> EngineError {
        let column = fault.column.and_then(|column| self.columns.get(column));
        let what = match column {
            Some(field) => {
                format!("column '{}' expects {}, found {}", field.name(), sql_type(field.data_type()), fault.found)
            }
            None => fault.found.clone(),
        };
        let remedy = "correct the file, or set mode = \"permissive\" or \"drop\"";
        EngineError::new(ErrorClass::DataQuality, "bad-record", format!("{place}: {what}; {remedy}"))
    }
}

fn rescued<'a>(rows: usize, faulty: &BTreeMap<usize, &Fault>, raw: impl Fn(usize) -> &'a str) -> ArrayRef {
    if faulty.is_empty() {
        return new_null_array(&DataType::Utf8View, rows);
    }
    let mut builder = StringViewBuilder::with_capacity(rows);
    for row in 0..rows {
        builder.append_option(faulty.contains_key(&row).then(|| raw(row)));
    }
    Arc::new(builder.finish())
}

/// The bytes of a batch as text.
///
/// # Errors
/// `data-quality` (code `bad-file`) naming the file and the place of the first byte that is not UTF-8.
pub(super) fn utf8<'a>(bytes: &'a [u8], place: &Place<'_>) -> Result<&'a str> {
    std::str::from_utf8(bytes).map_err(|error| {
        let valid = error.valid_up_to();
        let byte = bytes.get(valid).copied().unwrap_or_default();
        let message = format!("{}: byte 0x{byte:02x} is not UTF-8; convert the file", place.describe(bytes, valid));
        EngineError::new(ErrorClass::DataQuality, "bad-file", message)
    })
}

/// A text for messages: quoted, on one line, cut.
pub(super) fn shown(text: &str) -> String {
    let cut: String = text.chars().take(SHOWN_CHARACTERS).collect();
    let rest = if cut.len() < text.len() { "…" } else { "" };
    format!("{cut:?}{rest}")
}

/// The names and types of a schema, for the plan's display.
pub(super) fn column_names(schema: &Schema) -> String {
    schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray, Int64Array};
    use arrow::datatypes::Field;

    use super::*;

    fn plan(mode: ParseMode, projection: &[usize]) -> TextPlan {
        let mut fields = vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Utf8View, true)];
        if mode == ParseMode::Permissive {
            fields.push(Field::new("_rescued", DataType::Utf8View, true));
        }
        TextPlan::new(&Arc::new(Schema::new(fields)), mode, projection, 10).unwrap()
    }

    fn assemble(plan: &TextPlan) -> Result<RecordBatch> {
        let decoded = [Some(Arc::new(Int64Array::from(vec![Some(1), None])) as ArrayRef), None];
        let faults = [Fault { row: 1, column: Some(0), found: "\"x\"".to_owned() }];
        plan.assemble(2, &decoded, &faults, |row| ["1,p", "x,q"][row], |row| format!("line {row}"))
    }

    #[test]
    fn a_faulty_row_is_rescued_left_out_or_fatal() {
        let batch = assemble(&plan(ParseMode::Permissive, &[2, 0])).unwrap();
        assert_eq!(batch.column(0).as_string_view().iter().collect::<Vec<_>>(), [None, Some("x,q")]);
        assert!(batch.column(1).is_null(1));
        assert_eq!(assemble(&plan(ParseMode::Drop, &[0])).unwrap().num_rows(), 1);
        assert_eq!(assemble(&plan(ParseMode::Drop, &[])).unwrap().num_rows(), 1);
        let malformed = Arc::new(AtomicU64::new(0));
        let counting = plan(ParseMode::Drop, &[]).counting(malformed.clone());
        assemble(&counting).and_then(|_| assemble(&counting)).unwrap();
        assert_eq!(malformed.load(Ordering::Relaxed), 2);
        let error = assemble(&plan(ParseMode::FailFast, &[])).unwrap_err();
        assert_eq!((error.class(), error.code()), (ErrorClass::DataQuality, "bad-record"));
        assert!(error.to_string().starts_with("line 1: column 'a' expects bigint, found \"x\""), "{error}");
    }

    #[test]
    fn columns_that_can_fail_are_decoded_where_faults_matter() {
        assert!(plan(ParseMode::Drop, &[]).decodes(0));
        assert!(!plan(ParseMode::Drop, &[]).decodes(1));
        assert!(!plan(ParseMode::Permissive, &[1]).decodes(0));
        assert!(plan(ParseMode::Permissive, &[2]).decodes(0));
    }
}
