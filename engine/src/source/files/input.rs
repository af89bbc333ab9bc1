//! The bytes of one file, or of a range of it, as a growing window: fetched ahead by an own task while the reader
//! decodes, decompressed on the blocking pool, pinned to the version that was listed. Edge; never here: records.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::common::runtime::SpawnedTask;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use futures::{StreamExt, stream};
use lake_proto::ErrorClass;
use object_store::{GetOptions, GetRange, ObjectStore};
use tokio::sync::mpsc;

use super::listing::SourceFile;
use crate::error::{find_classed, find_own};
use crate::{EngineError, Result};

/// Bytes of one request; a record larger than a few of them still works.
const BLOCK_BYTES: u64 = 4 * 1024 * 1024;
/// First request beyond the end of a range, for the rest of its last line.
const TAIL_BYTES: u64 = 64 * 1024;
/// Requests in flight, and blocks waiting for the decoder.
const FETCH_AHEAD: usize = 2;
/// A record may not be larger.
const RECORD_LIMIT_BYTES: usize = 256 * 1024 * 1024;

/// A file with the store that holds it.
#[derive(Debug, Clone)]
pub(super) struct OpenFile {
    /// Where the bytes are.
    pub store: Arc<dyn ObjectStore>,
    /// What was listed.
    pub file: SourceFile,
    /// Its name in messages: the whole URL.
    pub name: String,
}

impl OpenFile {
    /// The bytes of a range; refuses them when the file is not the one that was listed.
    ///
    /// # Errors
    /// `conflict` (code `file-changed`) when the file was changed or removed since; otherwise the store's class.
    pub(super) async fn range(&self, range: Range<u64>) -> Result<Bytes> {
        let length = range.end - range.start;
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            if_match: self.file.etag.clone(),
            ..GetOptions::default()
        };
        let answer = self.store.get_opts(&self.file.path(), options).await.map_err(|error| self.failed(&error))?;
        if answer.meta.size != self.file.size {
            return Err(self.changed(&format!("it has {} bytes, listed were {}", answer.meta.size, self.file.size)));
        }
        let bytes = answer.bytes().await.map_err(|error| self.failed(&error))?;
        if bytes.len() as u64 != length {
            return Err(self.changed(&format!("{length} bytes were asked for, {} came", bytes.len())));
        }
        Ok(bytes)
    }

    /// A store error with the file's name.
    pub(super) fn failed(&self, error: &object_store::Error) -> EngineError {
        match error {
            object_store::Error::Precondition { .. } => self.changed("its version is another one"),
            object_store::Error::NotFound { .. } => self.changed("it is gone"),
            other => {
                let cause = find_classed(other);
                let cause = cause.unwrap_or_else(|| EngineError::unavailable("store", other.to_string()));
                cause.within(format!("cannot read '{}'", self.name))
            }
        }
    }

    /// `conflict`: the file is not the one that was listed.
    pub(super) fn changed(&self, how: &str) -> EngineError {
        EngineError::new(
            ErrorClass::Conflict,
            "file-changed",
            format!(
                "'{}' changed while it was read: {how}; run the step again when its writer has finished",
                self.name
            ),
        )
    }

    /// `data-quality`: the file's bytes are not what its format says.
    pub(super) fn bad(&self, what: impl std::fmt::Display) -> EngineError {
        EngineError::new(ErrorClass::DataQuality, "bad-file", format!("'{}' cannot be read: {what}", self.name))
    }
}

/// The compression that a file name's ending says.
pub(super) fn compression(path: &str) -> FileCompressionType {
    let (_, ending) = path.rsplit_once('.').unwrap_or_default();
    match ending.to_ascii_lowercase().as_str() {
        "gz" | "gzip" => FileCompressionType::GZIP,
        "bz2" => FileCompressionType::BZIP2,
        "zst" | "zstd" => FileCompressionType::ZSTD,
        "xz" => FileCompressionType::XZ,
        _ => FileCompressionType::UNCOMPRESSED,
    }
}

/// A block, or the word that there are no more: a fetcher that dies must not look like the end of the file.
pub(super) type Block = Result<Option<Bytes>>;

/// Blocks of a file in order, fetched by a task that ends with this value.
pub(super) struct Blocks {
    receiver: mpsc::Receiver<Block>,
    _fetcher: SpawnedTask<()>,
}

impl Blocks {
    /// The file's own bytes from `start`; `end` is where the reader expects to stop, requests beyond it are small.
    pub(super) fn stored(file: &OpenFile, start: u64, end: u64) -> Self {
        let (sender, receiver) = mpsc::channel(FETCH_AHEAD);
        let file = file.clone();
        let fetcher = SpawnedTask::spawn(async move {
            let requests = ranges(start, end, file.file.size).map(|range| file.range(range));
            let mut answers = stream::iter(requests).buffered(FETCH_AHEAD);
            while let Some(answer) = answers.next().await {
                let failed = answer.is_err();
                if sender.send(answer.map(Some)).await.is_err() || failed {
                    return;
                }
            }
            // A reader that is gone needs no end.
            let _ = sender.send(Ok(None)).await;
        });
        Self { receiver, _fetcher: fetcher }
    }

    /// The file's decompressed bytes from its start.
    pub(super) fn decompressed(file: &OpenFile, compression: FileCompressionType) -> Self {
        let (sender, receiver) = mpsc::channel(FETCH_AHEAD);
        let stored = Self::stored(file, 0, file.file.size);
        let file = file.clone();
        // The blocking task ends when its reader is gone: its next send fails.
        let fetcher = SpawnedTask::spawn_blocking(move || {
            let answer = decompress(stored, compression, &sender).map_err(|error| {
                find_own(&error)
                    .unwrap_or_else(|| file.bad(format!("its compressed data is damaged or cut off ({error})")))
            });
            let _ = sender.blocking_send(answer.map(|()| None));
        });
        Self { receiver, _fetcher: fetcher }
    }

    /// The next block; `None` at the end.
    ///
    /// # Errors
    /// What fetching or decompressing met.
    pub(super) async fn next(&mut self) -> Block {
        self.receiver.recv().await.unwrap_or_else(|| Err(fetcher_lost()))
    }
}

/// [`Blocks`] as a blocking reader.
pub(super) struct BlocksReader {
    blocks: Blocks,
    block: Bytes,
    finished: bool,
}

impl BlocksReader {
    pub(super) fn new(blocks: Blocks) -> Self {
        Self { blocks, block: Bytes::new(), finished: false }
    }
}

impl Read for BlocksReader {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        while self.block.is_empty() && !self.finished {
            match self.blocks.receiver.blocking_recv() {
                Some(Ok(Some(block))) => self.block = block,
                Some(Ok(None)) => self.finished = true,
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => return Err(io::Error::other(fetcher_lost())),
            }
        }
        let length = target.len().min(self.block.len());
        let part = self.block.split_to(length);
        target.iter_mut().zip(&part).for_each(|(to, from)| *to = *from);
        Ok(length)
    }
}

/// A window over blocks that grows at its end and is consumed from its start.
pub(super) struct Input {
    blocks: Blocks,
    window: Bytes,
    offset: u64,
    is_last: bool,
}

impl Input {
    /// A window that begins at `offset` of the (decompressed) file.
    pub(super) fn new(blocks: Blocks, offset: u64) -> Self {
        Self { blocks, window: Bytes::new(), offset, is_last: false }
    }

    /// The bytes that are there and not consumed.
    pub(super) fn window(&self) -> &Bytes {
        &self.window
    }

    /// Where the window begins in the (decompressed) file.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether nothing follows the window.
    pub(super) fn is_last(&self) -> bool {
        self.is_last
    }

    /// Drops bytes at the start of the window.
    pub(super) fn consume(&mut self, bytes: usize) {
        let bytes = bytes.min(self.window.len());
        let _ = self.window.split_to(bytes);
        self.offset += bytes as u64;
    }

    /// Makes the window larger, or learns that it is the last one.
    ///
    /// # Errors
    /// What fetching met; `data-quality` when the window already holds one record too large to be one.
    pub(super) async fn grow(&mut self, file: &OpenFile) -> Result<()> {
        match self.blocks.next().await? {
            None => self.is_last = true,
            Some(block) if self.window.is_empty() => self.window = block,
            Some(block) => {
                if self.window.len() > RECORD_LIMIT_BYTES {
                    let start = self.offset;
                    return Err(file.bad(format!(
                        "the record at byte {start} is larger than {RECORD_LIMIT_BYTES} bytes; check quotes and line ends"
                    )));
                }
                let mut joined = Vec::with_capacity(self.window.len() + block.len());
                joined.extend_from_slice(&self.window);
                joined.extend_from_slice(&block);
                self.window = joined.into();
            }
        }
        Ok(())
    }
}

/// Requests that cover a file from `start`: whole blocks up to `end`, then growing ones to the end of the file.
fn ranges(start: u64, end: u64, size: u64) -> impl Iterator<Item = Range<u64>> + Send {
    let mut next = start;
    let mut tail = TAIL_BYTES;
    std::iter::from_fn(move || {
        if next >= size {
            return None;
        }
        let begin = next;
        next = if begin < end {
            (begin + BLOCK_BYTES).min(end).min(size)
        } else {
            let next = (begin + tail).min(size);
            tail = (tail * 4).min(BLOCK_BYTES);
            next
        };
        Some(begin..next)
    })
}

fn decompress(stored: Blocks, compression: FileCompressionType, sender: &mpsc::Sender<Block>) -> Result<(), io::Error> {
    let mut reader = compression.convert_read(BlocksReader::new(stored)).map_err(io::Error::other)?;
    loop {
        let mut block = Vec::new();
        let limit = BLOCK_BYTES / 4;
        (&mut reader).take(limit).read_to_end(&mut block)?;
        if block.is_empty() || sender.blocking_send(Ok(Some(block.into()))).is_err() {
            return Ok(());
        }
    }
}

fn fetcher_lost() -> EngineError {
    EngineError::internal("the task that fetches a file ended without saying so")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_cover_the_file_once_and_are_small_beyond_the_expected_end() {
        let all: Vec<Range<u64>> = ranges(10, 5_000_000, 9_000_000).collect();
        assert_eq!(all[0], 10..10 + BLOCK_BYTES);
        assert_eq!(all[1].end, 5_000_000);
        assert_eq!(all[2], 5_000_000..5_000_000 + TAIL_BYTES);
        assert_eq!(all.last().map(|range| range.end), Some(9_000_000));
        assert!(all.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert_eq!(ranges(5, 5, 5).count(), 0);
    }

    #[test]
    fn endings_say_the_compression() {
        assert_eq!(compression("a/b.csv.GZ"), FileCompressionType::GZIP);
        assert_eq!(compression("a/b.zst"), FileCompressionType::ZSTD);
        assert_eq!(compression("a.gz/b.csv"), FileCompressionType::UNCOMPRESSED);
        assert_eq!(compression("gz"), FileCompressionType::UNCOMPRESSED);
    }
}
