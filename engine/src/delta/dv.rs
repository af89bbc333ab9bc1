//! Deletion vectors: rows of a data file that are gone. Loaded where the file is read. Edge.
//!
//! Format: Delta protocol, "Deletion Vectors": a magic number and a portable 64-bit roaring bitmap, either inline in
//! base 85 or in a file between its length and a CRC-32.

use deltalake_core::kernel::{DeletionVectorDescriptor, StorageType};
use object_store::ObjectStoreExt;
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use roaring::RoaringTreemap;
use url::Url;

use super::files::locate;
use crate::stores::Stores;
use crate::{EngineError, Result};

const MAGIC: u32 = 1_681_511_377;
/// Characters of a base-85 UUID at the end of a relative path.
const UUID_LENGTH: usize = 20;
const LENGTH_BYTES: u64 = 4;
const CRC_BYTES: u64 = 4;

/// The deleted row numbers that `descriptor` names.
///
/// # Errors
/// `internal` (code `deletion-vector`) when it does not decode or does not hold as many rows as the log says; else
/// the store's class.
pub(super) async fn load(
    stores: &Stores,
    table: &Url,
    descriptor: &DeletionVectorDescriptor,
) -> Result<RoaringTreemap> {
    let size = u64::try_from(descriptor.size_in_bytes).map_err(|_| damaged("it has a negative size"))?;
    let rows = match descriptor.storage_type {
        StorageType::Inline => {
            let bytes = z85::decode(&descriptor.path_or_inline_dv).map_err(|error| damaged(&error.to_string()))?;
            // Base 85 pads to a multiple of four bytes.
            let length = usize::try_from(size).unwrap_or(usize::MAX).min(bytes.len());
            decode(bytes.get(..length).unwrap_or_default())?
        }
        StorageType::UuidRelativePath => {
            from_file(stores, table, &relative_path(descriptor)?, descriptor, size).await?
        }
        StorageType::AbsolutePath => from_file(stores, table, &descriptor.path_or_inline_dv, descriptor, size).await?,
    };
    if i64::try_from(rows.len()) != Ok(descriptor.cardinality) {
        return Err(damaged(&format!("the log says {} rows, it holds {}", descriptor.cardinality, rows.len())));
    }
    Ok(rows)
}

/// `<prefix>/deletion_vector_<uuid>.bin` of a descriptor of type `u`.
pub(super) fn relative_path(descriptor: &DeletionVectorDescriptor) -> Result<String> {
    let text = &descriptor.path_or_inline_dv;
    let parts = text.len().checked_sub(UUID_LENGTH).and_then(|at| text.split_at_checked(at));
    let (prefix, encoded) = parts.ok_or_else(|| damaged(&format!("'{text}' is too short for a path")))?;
    let bytes = z85::decode(encoded).map_err(|error| damaged(&error.to_string()))?;
    let uuid = uuid::Uuid::from_slice(&bytes).map_err(|error| damaged(&error.to_string()))?;
    let separator = if prefix.is_empty() { "" } else { "/" };
    Ok(format!("{prefix}{separator}deletion_vector_{uuid}.bin"))
}

async fn from_file(
    stores: &Stores,
    table: &Url,
    path: &str,
    descriptor: &DeletionVectorDescriptor,
    size: u64,
) -> Result<RoaringTreemap> {
    let (root, path) = locate(table, path)?;
    let start = u64::try_from(descriptor.offset.unwrap_or(1)).map_err(|_| damaged("it has a negative offset"))?;
    let range = start..start + LENGTH_BYTES + size + CRC_BYTES;
    let bytes = stores.store(&root)?.get_range(&path, range).await?;
    let short = || damaged(&format!("file '{path}' ends before it does"));
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(short)?;
    if u64::from(u32::from_be_bytes(*length)) != size {
        return Err(damaged(&format!("file '{path}' gives another size than the log")));
    }
    let (body, checksum) = rest.split_last_chunk::<4>().ok_or_else(short)?;
    if body.len() as u64 != size {
        return Err(short());
    }
    if crc32fast::hash(body) != u32::from_be_bytes(*checksum) {
        return Err(damaged(&format!("file '{path}' has a wrong checksum")));
    }
    decode(body)
}

fn decode(bytes: &[u8]) -> Result<RoaringTreemap> {
    let (magic, bitmap) = bytes.split_first_chunk::<4>().ok_or_else(|| damaged("it is empty"))?;
    if u32::from_le_bytes(*magic) != MAGIC {
        return Err(damaged("its format is not the portable one"));
    }
    RoaringTreemap::deserialize_from(bitmap).map_err(|error| damaged(&error.to_string()))
}

fn damaged(why: &str) -> EngineError {
    EngineError::new(
        lake_proto::ErrorClass::Internal,
        "deletion-vector",
        format!("a deletion vector cannot be read: {why}"),
    )
}

/// The rows of one row group that stay, or `None` when all do. `first` is the number of its first row in the file.
pub(super) fn surviving(deleted: &RoaringTreemap, first: u64, rows: u64) -> Option<RowSelection> {
    let end = first + rows;
    let mut selectors = Vec::new();
    let mut next = first;
    let length = |from: u64, to: u64| usize::try_from(to - from).unwrap_or(usize::MAX);
    let mut doomed = deleted.iter();
    doomed.advance_to(first);
    for row in doomed.take_while(|row| *row < end) {
        if row > next {
            selectors.push(RowSelector::select(length(next, row)));
        }
        selectors.push(RowSelector::skip(1));
        next = row + 1;
    }
    if selectors.is_empty() {
        return None;
    }
    if next < end {
        selectors.push(RowSelector::select(length(next, end)));
    }
    // Neighbouring skips are merged by the conversion.
    Some(RowSelection::from(selectors))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::stores::Profiles;

    /// Bytes of a deletion vector: magic and bitmap.
    pub(in crate::delta) fn encode(rows: &[u64]) -> Vec<u8> {
        let mut bytes = MAGIC.to_le_bytes().to_vec();
        rows.iter().copied().collect::<RoaringTreemap>().serialize_into(&mut bytes).unwrap();
        bytes
    }

    /// An inline descriptor of these rows.
    pub(in crate::delta) fn inline(rows: &[u64]) -> DeletionVectorDescriptor {
        let mut bytes = encode(rows);
        let size = bytes.len();
        bytes.resize(size.next_multiple_of(4), 0);
        DeletionVectorDescriptor {
            storage_type: StorageType::Inline,
            path_or_inline_dv: z85::encode(&bytes),
            offset: None,
            size_in_bytes: i32::try_from(size).unwrap(),
            cardinality: i64::try_from(rows.len()).unwrap(),
        }
    }

    #[tokio::test]
    async fn an_inline_vector_gives_its_rows_and_a_wrong_count_is_refused() {
        let stores = Stores::new(Profiles::default());
        let table = Url::parse("file:///t").unwrap();
        let mut descriptor = inline(&[0, 3, 5_000_000_000]);
        let rows = load(&stores, &table, &descriptor).await.unwrap();
        assert_eq!(rows.iter().collect::<Vec<_>>(), [0, 3, 5_000_000_000]);
        descriptor.cardinality = 2;
        assert_eq!(load(&stores, &table, &descriptor).await.unwrap_err().code(), "deletion-vector");
    }

    #[tokio::test]
    async fn the_example_of_the_protocol_decodes() {
        let descriptor = DeletionVectorDescriptor {
            storage_type: StorageType::Inline,
            path_or_inline_dv: "^Bg9^0rr910000000000iXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L".to_owned(),
            offset: None,
            size_in_bytes: 44,
            cardinality: 6,
        };
        let table = Url::parse("file:///t").unwrap();
        let rows = load(&Stores::new(Profiles::default()), &table, &descriptor).await.unwrap();
        assert_eq!(rows.iter().collect::<Vec<_>>(), [3, 4, 7, 11, 18, 29]);
    }

    #[test]
    fn only_rows_of_the_row_group_are_skipped() {
        let deleted: RoaringTreemap = [2_u64, 10, 11, 13].into_iter().collect();
        assert!(surviving(&deleted, 3, 7).is_none());
        let selectors: Vec<RowSelector> = surviving(&deleted, 10, 5).unwrap().into();
        assert_eq!(
            selectors,
            [RowSelector::skip(2), RowSelector::select(1), RowSelector::skip(1), RowSelector::select(1)]
        );
    }

    #[test]
    fn a_relative_path_is_prefix_and_uuid() {
        let mut descriptor = inline(&[1]);
        descriptor.path_or_inline_dv = "ab^-aqEH.-t@S}K{vb[*k^".to_owned();
        assert_eq!(relative_path(&descriptor).unwrap(), "ab/deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin");
    }
}
