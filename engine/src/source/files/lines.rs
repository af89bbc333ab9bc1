//! From bytes to batches: feeds a decoder with windows of whole lines and hands out its batches. Edge.

use arrow::array::RecordBatch;
use futures::stream::{self, BoxStream, StreamExt};
use memchr::memchr;

use super::input::{Input, OpenFile};
use crate::{EngineError, Result};

/// What a decoder sees: bytes that begin at the start of a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// Where they begin in the (decompressed) file.
    pub offset: u64,
    /// Records that start here or later belong to another piece.
    pub owned_until: usize,
    /// Nothing follows.
    pub is_last: bool,
}

/// What a decoder made of a window.
#[derive(Debug)]
pub(super) struct Decoded {
    /// Bytes that need not be seen again; 0 = the window holds no whole record.
    pub consumed: usize,
    /// Rows, if any.
    pub batch: Option<RecordBatch>,
    /// The next record belongs to another piece.
    pub reached_end: bool,
}

/// Turns windows into batches. Two of them: CSV and JSON.
pub(super) trait RecordDecoder: Send + 'static {
    /// Decodes whole records from the start of the window, at most one batch.
    ///
    /// # Errors
    /// `data-quality` for bytes or records that the mode does not forgive.
    fn decode(&mut self, window: Window<'_>) -> Result<Decoded>;
}

/// The batches of the records that start before `end`. With `skip_line` the input begins one byte before the piece,
/// so that a line which starts exactly at its beginning is told from the rest of one that another piece owns.
pub(super) fn batches<D: RecordDecoder>(
    input: Input,
    file: OpenFile,
    end: u64,
    skip_line: bool,
    decoder: D,
) -> BoxStream<'static, Result<RecordBatch>> {
    let lines = Lines { input, file, end, skip_line, decoder, finished: false };
    stream::try_unfold(lines, |mut lines| async move { Ok(lines.next().await?.map(|batch| (batch, lines))) }).boxed()
}

struct Lines<D> {
    input: Input,
    file: OpenFile,
    end: u64,
    skip_line: bool,
    decoder: D,
    finished: bool,
}

impl<D: RecordDecoder> Lines<D> {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        if self.skip_line {
            self.skip_line = false;
            self.skip_first_line().await?;
        }
        while !self.finished {
            let decoded = self.decoder.decode(Window {
                bytes: self.input.window(),
                offset: self.input.offset(),
                owned_until: usize::try_from(self.end.saturating_sub(self.input.offset())).unwrap_or(usize::MAX),
                is_last: self.input.is_last(),
            })?;
            self.input.consume(decoded.consumed);
            self.finished = decoded.reached_end || (self.input.is_last() && self.input.window().is_empty());
            if let Some(batch) = decoded.batch.filter(|batch| batch.num_rows() > 0) {
                return Ok(Some(batch));
            }
            if decoded.consumed == 0 && !self.finished {
                if self.input.is_last() {
                    return Err(EngineError::internal(format!("the end of '{}' was not decoded", self.file.name)));
                }
                self.input.grow(&self.file).await?;
            }
        }
        Ok(None)
    }

    async fn skip_first_line(&mut self) -> Result<()> {
        loop {
            if let Some(at) = memchr(b'\n', self.input.window()) {
                self.input.consume(at + 1);
                return Ok(());
            }
            self.input.consume(usize::MAX);
            if self.input.is_last() {
                return Ok(());
            }
            self.input.grow(&self.file).await?;
        }
    }
}
