//! Avro object container files, read whole on the blocking pool. Edge.

use std::io::{BufReader, Read};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow_avro::reader::ReaderBuilder;
use datafusion::common::runtime::SpawnedTask;
use futures::stream::{self, BoxStream, StreamExt};
use lake_proto::ErrorClass;
use tokio::sync::mpsc;

use super::input::{Blocks, BlocksReader, OpenFile};
use super::schema;
use crate::error::{find_own, words};
use crate::sql_type::sql_type;
use crate::{EngineError, Result};

/// Batches that wait for their consumer.
const BATCHES_AHEAD: usize = 2;
const SYNC_BYTES: usize = 16;

/// The columns of a file, as they are read, from its header.
///
/// # Errors
/// `data-quality` (code `bad-file`) naming a file that is no Avro file; the store's class.
pub(super) async fn columns(file: OpenFile) -> Result<Schema> {
    let blocks = Blocks::stored(&file, 0, 0);
    let header = SpawnedTask::spawn_blocking(move || {
        let reader = BufReader::new(BlocksReader::new(blocks));
        let reader = ReaderBuilder::new().with_utf8_view(true).build(reader).map_err(|error| damaged(&file, &error))?;
        let stored = arrow::array::RecordBatchReader::schema(&reader);
        let readable = |field: &Arc<Field>| Field::new(field.name(), schema::readable(field.data_type()), true);
        Ok(Schema::new(stored.fields().iter().map(readable).collect::<Vec<_>>()))
    });
    header.await.unwrap_or_else(|error| Err(EngineError::internal(format!("reading an Avro header: {error}"))))
}

/// The rows of a file as `output` columns: by name, cast, NULL where the file has none.
pub(super) fn read(file: OpenFile, output: SchemaRef, batch_rows: usize) -> BoxStream<'static, Result<RecordBatch>> {
    let (sender, receiver) = mpsc::channel::<Result<Option<RecordBatch>>>(BATCHES_AHEAD);
    let blocks = Blocks::stored(&file, 0, file.file.size);
    // The blocking task ends when its consumer is gone: its next send fails.
    let task = SpawnedTask::spawn_blocking(move || {
        let answer = decode(&file, blocks, &output, batch_rows, &sender).map(|()| None);
        let _ = sender.blocking_send(answer);
    });
    let lost = || EngineError::internal("the task that decodes an Avro file ended without saying so");
    stream::try_unfold((receiver, task), move |(mut receiver, task)| async move {
        let batch = receiver.recv().await.unwrap_or_else(|| Err(lost()))?;
        Ok(batch.map(|batch| (batch, (receiver, task))))
    })
    .boxed()
}

fn decode(
    file: &OpenFile,
    blocks: Blocks,
    output: &SchemaRef,
    batch_rows: usize,
    sender: &mpsc::Sender<Result<Option<RecordBatch>>>,
) -> Result<()> {
    let tail = Arc::new(std::sync::Mutex::new(Vec::new()));
    let reader = BufReader::new(TailReader { inner: BlocksReader::new(blocks), tail: tail.clone() });
    let builder = ReaderBuilder::new().with_utf8_view(true).with_batch_size(batch_rows);
    let mut reader = builder.build(reader).map_err(|error| damaged(file, &error))?;
    for batch in reader.by_ref() {
        let batch = batch.map_err(|error| damaged(file, &error))?;
        if sender.blocking_send(shaped(file, &batch, output).map(Some)).is_err() {
            return Ok(());
        }
    }
    // The reader takes the end of the bytes for the end of the file, also within a block.
    let tail = tail.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if tail.as_slice() != reader.avro_header().sync() {
        return Err(file.bad("it is cut off: it does not end with its sync marker"));
    }
    Ok(())
}

fn shaped(file: &OpenFile, batch: &RecordBatch, output: &SchemaRef) -> Result<RecordBatch> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(output.fields().len());
    for field in output.fields() {
        let column = match batch.column_by_name(field.name()) {
            None => new_null_array(field.data_type(), batch.num_rows()),
            Some(column) => cast_with_options(column, field.data_type(), &strict).map_err(|error| {
                EngineError::new(
                    ErrorClass::DataQuality,
                    "bad-record",
                    format!(
                        "'{}' column '{}' cannot be read as {}: {}",
                        file.name,
                        field.name(),
                        sql_type(field.data_type()),
                        words::of_arrow(&error)
                    ),
                )
            })?,
        };
        columns.push(column);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(output.clone(), columns, &options)?)
}

fn damaged(file: &OpenFile, error: &ArrowError) -> EngineError {
    let own = match error {
        ArrowError::ExternalError(inner) => find_own(inner.as_ref()),
        ArrowError::IoError(_, inner) => find_own(inner),
        _ => None,
    };
    own.unwrap_or_else(|| file.bad(words::of_arrow(error)))
}

/// Remembers the last bytes that passed.
struct TailReader {
    inner: BlocksReader,
    tail: Arc<std::sync::Mutex<Vec<u8>>>,
}

impl Read for TailReader {
    fn read(&mut self, target: &mut [u8]) -> std::io::Result<usize> {
        let length = self.inner.read(target)?;
        let read = target.get(..length).unwrap_or_default();
        let mut tail = self.tail.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        tail.extend_from_slice(read.get(length.saturating_sub(SYNC_BYTES)..).unwrap_or_default());
        let surplus = tail.len().saturating_sub(SYNC_BYTES);
        tail.drain(..surplus);
        Ok(length)
    }
}
