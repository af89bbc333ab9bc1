//! The rows of a final stage: an Arrow IPC stream, in memory up to a limit and in a file beyond it.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::ipc::writer::StreamWriter;
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use futures::{StreamExt, TryStreamExt};
use lake_engine::delta::is_actions;
use tokio::sync::mpsc;

use super::probe::panic_fault;

/// Results up to this size travel inside the task's status.
pub(super) const INLINE_BYTES: usize = 1 << 20;

/// Where the rows of a result task are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// The whole stream.
    Inline(Vec<u8>),
    /// In the file that was asked for.
    Filed,
}

/// What can go wrong, by who is to blame.
#[derive(Debug)]
pub(super) enum Error {
    /// A stream of the plan.
    Plan(DataFusionError),
    /// The result file.
    Writer(DataFusionError),
}

/// Executes all partitions of `plan`, at most `cores` at once, and keeps their rows. Rows that describe actions of a
/// table stay in memory whatever their size, because losing them would lose the data files they name.
pub(super) async fn collect(
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    cores: usize,
    file: PathBuf,
) -> Result<Rows, Error> {
    let schema = plan.schema();
    let limit = if is_actions(&schema) { usize::MAX } else { INLINE_BYTES };
    let written = |error: arrow::error::ArrowError| Error::Writer(error.into());
    let mut writer = StreamWriter::try_new(Spool::new(limit, file), &schema).map_err(written)?;

    let cores = cores.max(1);
    let (batches, mut received) = mpsc::channel(cores * 2);
    let partitions = plan.properties().output_partitioning().partition_count();
    let running = SpawnedTask::spawn(async move {
        futures::stream::iter(0..partitions)
            .map(|partition| {
                let drained = drain(plan.clone(), partition, context.clone(), batches.clone());
                async move { join(SpawnedTask::spawn(drained)).await }
            })
            .buffer_unordered(cores)
            .try_collect::<()>()
            .await
    });
    while let Some(batch) = received.recv().await {
        writer.write(&batch).map_err(written)?;
    }
    join(running).await.map_err(Error::Plan)?;
    let spool = writer.into_inner().map_err(written)?;
    spool.finish().map_err(|error| Error::Writer(error.into()))
}

async fn drain(
    plan: Arc<dyn ExecutionPlan>,
    partition: usize,
    context: Arc<TaskContext>,
    batches: mpsc::Sender<RecordBatch>,
) -> Result<(), DataFusionError> {
    let mut stream = plan.execute(partition, context)?;
    while let Some(batch) = stream.try_next().await? {
        // The receiver is gone only when the result file failed, which is told by itself.
        if batches.send(batch).await.is_err() {
            break;
        }
    }
    Ok(())
}

async fn join(task: SpawnedTask<Result<(), DataFusionError>>) -> Result<(), DataFusionError> {
    task.join().await.unwrap_or_else(|error| {
        Err(match error.try_into_panic() {
            Ok(panic) => panic_fault(panic.as_ref()).into(),
            Err(_) => super::probe::cancelled().into(),
        })
    })
}

/// Memory that turns into a file when it grows beyond its limit.
struct Spool {
    limit: usize,
    path: PathBuf,
    memory: Vec<u8>,
    file: Option<BufWriter<File>>,
}

impl Spool {
    fn new(limit: usize, path: PathBuf) -> Self {
        Self { limit, path, memory: Vec::new(), file: None }
    }

    fn finish(mut self) -> io::Result<Rows> {
        match self.file.take() {
            None => Ok(Rows::Inline(self.memory)),
            Some(mut file) => {
                file.flush()?;
                Ok(Rows::Filed)
            }
        }
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(file) = self.file.as_mut() {
            return file.write(bytes);
        }
        if self.memory.len().saturating_add(bytes.len()) <= self.limit {
            self.memory.extend_from_slice(bytes);
            return Ok(bytes.len());
        }
        if let Some(parent) = self.path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&self.path)?);
        file.write_all(&std::mem::take(&mut self.memory))?;
        let written = file.write(bytes)?;
        self.file = Some(file);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_turns_into_a_file_exactly_at_its_limit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("q/1/2/result.arrow");
        let mut spool = Spool::new(4, path.clone());
        spool.write_all(b"1234").unwrap();
        assert_eq!(spool.finish().unwrap(), Rows::Inline(b"1234".to_vec()));
        assert!(!path.exists());
        let mut spool = Spool::new(4, path.clone());
        spool.write_all(b"123").unwrap();
        spool.write_all(b"45").unwrap();
        spool.write_all(b"6").unwrap();
        assert_eq!(spool.finish().unwrap(), Rows::Filed);
        assert_eq!(fs::read(path).unwrap(), b"123456");
    }
}
