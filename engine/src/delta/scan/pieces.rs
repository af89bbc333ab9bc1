//! Which part of which file: files cut by row groups where there are too few, packed by bytes. Edge: reads footers
//! of the files it cuts.

use std::sync::Arc;

use chrono::DateTime;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use deltalake_core::kernel::DeletionVectorDescriptor;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectMeta;
use object_store::path::Path;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use serde::{Deserialize, Serialize};
use url::Url;

use super::readers::explained;
use crate::delta::columns::Columns;
use crate::delta::files::{LiveFile, locate};
use crate::stores::Stores;
use crate::{EngineError, Result, worklist};

/// Files smaller than this are not worth a look at their footer.
const MIN_CUT_BYTES: u64 = 8 << 20;
/// Less than this is not worth a task of its own.
const MIN_TASK_BYTES: u64 = 1 << 20;
/// Pieces per task that make an even packing likely.
const PIECES_PER_TASK: u64 = 4;
/// The fullest task may have this share of the mean in percent before files are cut.
const TOLERANCE_PERCENT: u64 = 110;
/// Footers read at once.
const FOOTERS_AT_ONCE: usize = 16;

/// A file, or some of its row groups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Piece {
    /// As in [`LiveFile::path`].
    pub(super) path: String,
    /// Size of the whole file in bytes.
    pub(super) size: u64,
    /// Creation time of the file in milliseconds.
    pub(super) modified_ms: i64,
    /// Values of the partition columns, in the order of the table's schema.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) partition: Vec<Option<String>>,
    /// Deleted rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) vector: Option<DeletionVectorDescriptor>,
    /// The row groups it is made of; `None` is all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) row_groups: Option<RowGroups>,
    /// Bytes to read.
    pub(super) bytes: u64,
}

/// Consecutive row groups of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RowGroups {
    /// The first one.
    pub(super) first: usize,
    /// How many.
    pub(super) count: usize,
    /// How many the file has.
    pub(super) total: usize,
}

impl Piece {
    fn whole(file: &LiveFile, columns: &Columns) -> Self {
        let partition = columns.list.iter().filter(|column| column.is_partition);
        let value = |physical: &String| file.partition_values.get(physical).cloned().flatten();
        Self {
            path: file.path.clone(),
            size: file.size,
            modified_ms: file.modified_ms,
            partition: partition.map(|column| value(&column.physical)).collect(),
            vector: file.deletion_vector.clone(),
            row_groups: None,
            bytes: file.size,
        }
    }
}

/// Where footers come from.
pub(super) struct Footers<'a> {
    pub(super) stores: &'a Stores,
    pub(super) table: &'a Url,
    pub(super) cache: Arc<FileMetadataCache>,
}

impl Footers<'_> {
    /// The footer of a piece's file, without page indexes.
    ///
    /// # Errors
    /// `data-quality` (code `bad-file`) when it is not a Parquet file, or not all of one; else the store's class.
    pub(super) async fn read(&self, piece: &Piece) -> Result<Arc<ParquetMetaData>> {
        let (root, path) = locate(self.table, &piece.path)?;
        let store = self.stores.store(&root)?;
        let meta = object_meta(path, piece);
        let footer = DFParquetMetadata::new(store.as_ref(), &meta)
            .with_file_metadata_cache(Some(self.cache.clone()))
            .with_page_index_policy(Some(PageIndexPolicy::Skip));
        match footer.fetch_metadata().await {
            Ok(footer) => Ok(footer),
            Err(error) => {
                let error = EngineError::from(error).within("footer");
                Err(explained(store.as_ref(), &meta, error).await)
            }
        }
    }
}

/// What the log says of the file, in object_store's terms; equal everywhere, so that footers are cached once.
pub(super) fn object_meta(location: Path, piece: &Piece) -> ObjectMeta {
    let last_modified = DateTime::from_timestamp_millis(piece.modified_ms).unwrap_or_default();
    ObjectMeta { location, last_modified, size: piece.size, e_tag: None, version: None }
}

/// Lists of pieces, one per task and at most `tasks`.
///
/// # Errors
/// As [`Footers::read`].
pub(super) async fn plan(
    files: &[LiveFile],
    columns: &Columns,
    tasks: usize,
    footers: &Footers<'_>,
) -> Result<Vec<Vec<Piece>>> {
    let total: u64 = files.iter().map(|file| file.size).sum();
    let worthwhile = usize::try_from(total / MIN_TASK_BYTES).unwrap_or(usize::MAX);
    let tasks = tasks.min(worthwhile).max(1);
    let whole: Vec<Piece> = files.iter().map(|file| Piece::whole(file, columns)).collect();
    let packed = worklist::pack(whole, tasks, |piece| piece.bytes);
    let mean = (total / tasks as u64).max(1);
    let fullest = packed.iter().map(|list| list.iter().map(|piece| piece.bytes).sum()).max().unwrap_or(0_u64);
    if tasks == 1 || fullest.saturating_mul(100) <= mean.saturating_mul(TOLERANCE_PERCENT) && packed.len() == tasks {
        return Ok(packed);
    }
    let limit = (mean / PIECES_PER_TASK).max(MIN_TASK_BYTES);
    let cut = |piece: Piece| async move {
        if piece.size < MIN_CUT_BYTES || piece.size <= limit {
            return Ok(vec![piece]);
        }
        let footer = footers.read(&piece).await?;
        Ok::<_, EngineError>(cut_by_row_groups(piece, &row_group_bytes(&footer), limit))
    };
    let pieces = futures::stream::iter(packed.into_iter().flatten()).map(cut).buffered(FOOTERS_AT_ONCE);
    let pieces: Vec<Vec<Piece>> = pieces.try_collect().await?;
    let packed = worklist::pack(pieces.into_iter().flatten().collect(), tasks, |piece| piece.bytes);
    Ok(packed.into_iter().map(join_neighbours).collect())
}

fn row_group_bytes(footer: &ParquetMetaData) -> Vec<u64> {
    footer.row_groups().iter().map(|group| u64::try_from(group.compressed_size()).unwrap_or(0)).collect()
}

fn cut_by_row_groups(piece: Piece, groups: &[u64], limit: u64) -> Vec<Piece> {
    let total = groups.len();
    if total < 2 {
        return vec![piece];
    }
    let mut pieces = Vec::new();
    let (mut first, mut bytes) = (0, 0);
    for (index, group) in groups.iter().enumerate() {
        bytes += group;
        if bytes >= limit || index + 1 == total {
            let row_groups = Some(RowGroups { first, count: index + 1 - first, total });
            pieces.push(Piece { row_groups, bytes, ..piece.clone() });
            (first, bytes) = (index + 1, 0);
        }
    }
    pieces
}

/// Pieces of one file that follow each other become one: it is opened once.
fn join_neighbours(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut joined: Vec<Piece> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        if let Some(last) = joined.last_mut().filter(|last| last.path == piece.path && last.vector == piece.vector)
            && let (Some(before), Some(after)) = (&mut last.row_groups, piece.row_groups)
            && before.first + before.count == after.first
        {
            before.count += after.count;
            last.bytes += piece.bytes;
            continue;
        }
        joined.push(piece);
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(size: u64) -> Piece {
        Piece {
            path: "f".to_owned(),
            size,
            modified_ms: 0,
            partition: vec![],
            vector: None,
            row_groups: None,
            bytes: size,
        }
    }

    #[test]
    fn cutting_keeps_every_row_group_once_and_neighbours_join_again() {
        let groups = [5, 5, 5, 20, 1, 1];
        let pieces = cut_by_row_groups(piece(37), &groups, 10);
        let ranges: Vec<_> = pieces.iter().flat_map(|piece| piece.row_groups).map(|r| (r.first, r.count)).collect();
        assert_eq!(ranges, [(0, 2), (2, 2), (4, 2)]);
        assert_eq!(pieces.iter().map(|piece| piece.bytes).sum::<u64>(), 37);
        let joined = join_neighbours(pieces);
        assert_eq!(joined.len(), 1);
        assert_eq!(joined[0].row_groups, Some(RowGroups { first: 0, count: 6, total: 6 }));
    }

    #[test]
    fn a_file_of_one_row_group_stays_whole() {
        assert_eq!(cut_by_row_groups(piece(100), &[100], 10), [piece(100)]);
    }
}
