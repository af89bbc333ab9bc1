//! Newline-delimited JSON: decoding of pieces, inference. Edge (reads).

pub(super) mod decode;
pub(super) mod infer;

use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::stream::BoxStream;

use self::decode::JsonDecoder;
use super::input::{self, Blocks, Input, OpenFile};
use super::lines;
use super::text::TextPlan;
use crate::Result;

/// The rows of the lines that start in `[start, end)` of a file; a compressed file is one piece.
pub(super) fn read(
    plan: Arc<TextPlan>,
    file: OpenFile,
    start: u64,
    end: u64,
) -> BoxStream<'static, Result<RecordBatch>> {
    let compression = input::compression(&file.file.key);
    let decoder = JsonDecoder::new(plan, file.name.clone(), start);
    if compression.is_compressed() {
        let input = Input::new(Blocks::decompressed(&file, compression), 0);
        return lines::batches(input, file, u64::MAX, false, decoder);
    }
    let begin = start.saturating_sub(1);
    let input = Input::new(Blocks::stored(&file, begin, end), begin);
    lines::batches(input, file, end, start > 0, decoder)
}
