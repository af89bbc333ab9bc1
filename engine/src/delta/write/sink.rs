//! The open data files of one task. Edge.
//!
//! Every file is named by a fresh uuid, so attempts of a task never meet. Files are streamed to the store while they
//! are written; what is not committed is an orphan, and what is not finished is aborted when the sink is dropped.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::take_record_batch;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use deltalake_core::datafile::writer::PartitionWriter;
use deltalake_core::kernel::Add;
use object_store::ObjectStore;

use super::Target;
use super::layout::Layout;
use super::partitions::Partitions;
use super::uploads::{Failure, Uploads};
use crate::stores::Stores;
use crate::{EngineError, Result};

/// Files open at once in one task; the one that waited longest is closed first.
const OPEN_FILES: usize = 128;
/// What an open file holds at most, in row groups: the one being filled, the encoded one before it, and its parts on
/// their way to the store.
const ROW_GROUPS_HELD: usize = 3;

/// Writes batches of one table into data files.
pub(super) struct Sink {
    stores: Arc<Stores>,
    store: Arc<dyn ObjectStore>,
    failure: Arc<Failure>,
    layout: Layout,
    /// `None` for a table without partitions: all its rows are of partition 0.
    partitions: Option<Partitions>,
    open: BTreeMap<usize, OpenFile>,
    adds: Vec<Add>,
    memory: MemoryReservation,
    clock: u64,
}

struct OpenFile {
    writer: PartitionWriter,
    held: usize,
    used: u64,
}

impl Sink {
    /// # Errors
    /// As [`Stores::rooted`].
    pub(super) fn new(target: Target, context: &TaskContext, partition: usize) -> Result<Self> {
        let stores = Stores::of(context)?;
        let failure = Arc::new(Failure::default());
        let store = Arc::new(Uploads::new(stores.rooted(&target.location)?, failure.clone()));
        let consumer = MemoryConsumer::new(format!("DeltaWriteExec[{partition}]")).with_can_spill(true);
        let memory = consumer.register(context.memory_pool());
        let layout = Layout::new(target, context.memory_pool().as_ref())?;
        let partitions = layout.partitions()?;
        Ok(Self {
            stores,
            store,
            failure,
            layout,
            partitions,
            open: BTreeMap::new(),
            adds: Vec::new(),
            memory,
            clock: 0,
        })
    }

    /// Takes the rows of `batch`, which has the table's columns.
    ///
    /// # Errors
    /// The store's class; `resource` (code `memory`) when not even one file's buffer fits the memory pool.
    pub(super) async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let rows = self.layout.rows(batch)?;
        let keys = self.layout.keys(batch);
        let Some(partitions) = &mut self.partitions else {
            return self.write_partition(0, &[], 0, &rows).await;
        };
        for (partition, members) in partitions.split(&keys)? {
            let first = members.values().first().map_or(0, |row| *row as usize);
            if members.len() == rows.num_rows() {
                self.write_partition(partition, &keys, first, &rows).await?;
            } else {
                self.write_partition(partition, &keys, first, &take_record_batch(&rows, &members)?).await?;
            }
        }
        Ok(())
    }

    /// `rows` are all of `partition`; its values stand in row `first` of `keys`.
    async fn write_partition(
        &mut self,
        partition: usize,
        keys: &[ArrayRef],
        first: usize,
        rows: &RecordBatch,
    ) -> Result<()> {
        self.clock += 1;
        if !self.open.contains_key(&partition) {
            if self.open.len() >= OPEN_FILES {
                let oldest = self.open.iter().min_by_key(|(_, file)| file.used).map(|(partition, _)| *partition);
                self.close_file(oldest).await?;
            }
            self.open_file(partition, keys, first)?;
        }
        self.reserve(partition, rows.get_array_memory_size()).await?;
        if !self.open.contains_key(&partition) {
            // Its own file had to go to make room.
            self.open_file(partition, keys, first)?;
        }
        let file = self.open.get_mut(&partition).ok_or_else(|| EngineError::internal("an open data file was lost"))?;
        file.used = self.clock;
        let written = file.writer.write(rows).await;
        self.check()?;
        written.map_err(|error| write_error(error, &self.layout.target))
    }

    fn open_file(&mut self, partition: usize, keys: &[ArrayRef], first: usize) -> Result<()> {
        let writer = self.layout.open_file(self.store.clone(), self.layout.values(keys, first)?)?;
        self.open.insert(partition, OpenFile { writer, held: 0, used: self.clock });
        Ok(())
    }

    /// Whether all uploads so far have gone well.
    fn check(&self) -> Result<()> {
        self.failure.check().map_err(|error| within(error, &self.layout.target))
    }

    /// Accounts for `bytes` more in the buffers of the partition's file; closes the fullest files when memory is short.
    async fn reserve(&mut self, partition: usize, bytes: usize) -> Result<()> {
        loop {
            let limit = self.layout.row_group_bytes * ROW_GROUPS_HELD;
            let Some(file) = self.open.get_mut(&partition) else { return Ok(()) };
            let growth = (file.held + bytes).min(limit).saturating_sub(file.held);
            let Err(error) = self.memory.try_grow(growth) else {
                file.held += growth;
                return Ok(());
            };
            let fullest = self.open.iter().filter(|(_, file)| file.held > 0).max_by_key(|(_, file)| file.held);
            match fullest.map(|(partition, _)| *partition) {
                Some(fullest) => self.close_file(Some(fullest)).await?,
                None => return Err(EngineError::from(error).within("a data file's buffer does not fit")),
            }
        }
    }

    async fn close_file(&mut self, partition: Option<usize>) -> Result<()> {
        let Some(file) = partition.and_then(|partition| self.open.remove(&partition)) else { return Ok(()) };
        let closed = file.writer.close().await;
        self.memory.shrink(file.held);
        self.check()?;
        self.adds.extend(closed.map_err(|error| write_error(error, &self.layout.target))?);
        Ok(())
    }

    /// Finishes every file.
    ///
    /// # Errors
    /// The store's class.
    pub(super) async fn close(mut self) -> Result<Vec<Add>> {
        let partitions: Vec<usize> = self.open.keys().copied().collect();
        for partition in partitions {
            self.close_file(Some(partition)).await?;
        }
        Ok(mem::take(&mut self.adds))
    }

    /// Gives up what is not finished; finished files stay behind as orphans.
    pub(super) async fn abort(mut self) {
        abort_files(mem::take(&mut self.open)).await;
    }
}

async fn abort_files(open: BTreeMap<usize, OpenFile>) {
    for (_, file) in open {
        if let Err(error) = file.writer.abort().await {
            tracing::warn!(%error, "upload of a data file could not be aborted");
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let open = mem::take(&mut self.open);
        if open.is_empty() {
            return;
        }
        // A dropped query cannot wait.
        self.stores.clean_up(abort_files(open));
    }
}

/// The store's own class where there is one.
fn write_error(error: deltalake_core::DeltaTableError, target: &Target) -> EngineError {
    within(EngineError::from(error), target)
}

fn within(error: EngineError, target: &Target) -> EngineError {
    error.within(format!("cannot write to table '{}'", target.location))
}
