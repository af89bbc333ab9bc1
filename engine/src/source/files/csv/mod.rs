//! CSV: its dialects, tokenizer, headers, decoding of pieces, inference. Edge (reads).

pub(super) mod decode;
pub(super) mod dialect;
pub(super) mod header;
pub(super) mod infer;
mod scanner;
pub(super) mod tokenize;

use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::stream::{self, BoxStream, StreamExt};

use self::decode::CsvDecoder;
use self::dialect::Dialect;
use self::header::Layout;
use super::input::{self, Blocks, Input, OpenFile};
use super::lines;
use super::text::TextPlan;
use crate::Result;

/// How the files of a source are read.
#[derive(Debug, Clone)]
pub(super) struct CsvFormat {
    /// Characters with a meaning.
    pub dialect: Dialect,
    /// The first record of a file names its fields.
    pub has_header: bool,
    /// The columns were declared, not inferred.
    pub is_declared: bool,
    /// Unquoted text that means NULL.
    pub null_value: Option<String>,
}

/// The rows of the records that start in `[start, end)` of a file; a compressed file is one piece.
pub(super) async fn read(
    format: Arc<CsvFormat>,
    plan: Arc<TextPlan>,
    file: OpenFile,
    start: u64,
    end: u64,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let compression = input::compression(&file.file.key);
    if compression.is_compressed() || start == 0 {
        let (blocks, end) = if compression.is_compressed() {
            (Blocks::decompressed(&file, compression), u64::MAX)
        } else {
            (Blocks::stored(&file, 0, end), end)
        };
        let mut input = Input::new(blocks, 0);
        let (layout, lines) = skip_header(&format, &plan, &file, &mut input).await?;
        let Some(layout) = layout else { return Ok(stream::empty().boxed()) };
        let decoder = CsvDecoder::new(format, plan, layout, file.name.clone(), 0, lines);
        return Ok(lines::batches(input, file, end, false, decoder));
    }
    let (layout, data_start) = if format.has_header {
        let mut head = Input::new(Blocks::stored(&file, 0, 0), 0);
        let (layout, _) = skip_header(&format, &plan, &file, &mut head).await?;
        let Some(layout) = layout else { return Ok(stream::empty().boxed()) };
        (layout, head.offset())
    } else {
        (header::by_position(plan.columns()), 0)
    };
    if data_start >= end {
        return Ok(stream::empty().boxed());
    }
    // The header's end is the start of a line; any other start may lie within one.
    let skips_line = start > data_start;
    let begin = if skips_line { start - 1 } else { data_start };
    let input = Input::new(Blocks::stored(&file, begin, end), begin);
    let decoder = CsvDecoder::new(format, plan, layout, file.name.clone(), start.max(data_start), 0);
    Ok(lines::batches(input, file, end, skips_line, decoder))
}

/// Reads past the byte order mark and the header. Returns the file's layout (`None` for an empty file) and the line
/// ends that were passed.
async fn skip_header(
    format: &CsvFormat,
    plan: &TextPlan,
    file: &OpenFile,
    input: &mut Input,
) -> Result<(Option<Layout>, u64)> {
    loop {
        let window = input.window().clone();
        if !format.has_header && (window.len() >= 3 || input.is_last()) {
            input.consume(header::mark_length(&window));
            return Ok((Some(header::by_position(plan.columns())), 0));
        }
        if format.has_header
            && let Some((names, next)) = header::read(&window, &format.dialect, input.is_last())
        {
            if names.is_empty() {
                return Ok((None, 0));
            }
            let head = window.get(..next).unwrap_or_default();
            if std::str::from_utf8(head).is_err() {
                return Err(file.bad("its header is not UTF-8; convert the file"));
            }
            let layout = header::layout(plan.columns(), &names, format.is_declared, &file.name)?;
            let lines = memchr::memchr_iter(b'\n', head).count() as u64;
            input.consume(next);
            return Ok((Some(layout), lines));
        }
        input.grow(file).await?;
    }
}
