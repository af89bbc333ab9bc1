//! How files are cut into pieces of work. Pure.

use serde::{Deserialize, Serialize};

use super::input;
use super::listing::SourceFile;

/// A piece is not larger, so that a lost task repeats little and many tasks end together.
const LARGEST_PIECE_BYTES: u64 = 48 * 1024 * 1024;
/// A file is not cut smaller: a request and a header cost more than they bring.
const SMALLEST_PIECE_BYTES: u64 = 1024 * 1024;

/// Some rows of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Piece {
    /// The file as it was listed.
    pub file: SourceFile,
    /// Which rows.
    pub part: Part,
}

/// Which rows of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Part {
    /// All.
    Whole,
    /// The lines that start in these bytes.
    Lines {
        /// First byte.
        start: u64,
        /// Byte after the last.
        end: u64,
    },
    /// Parquet row groups.
    RowGroups {
        /// Their indexes, ascending.
        groups: Vec<usize>,
        /// Row groups of the file.
        of: usize,
        /// Their compressed bytes.
        bytes: u64,
    },
}

impl Piece {
    /// What tells it from the other pieces of its source, in every plan that is cut for as many partitions.
    pub(super) fn name(&self) -> String {
        let start = match &self.part {
            Part::Lines { start, .. } => *start,
            Part::Whole | Part::RowGroups { .. } => 0,
        };
        format!("{} {start}", self.file.key)
    }

    /// Bytes to read for it.
    pub(super) fn bytes(&self) -> u64 {
        match &self.part {
            Part::Whole => self.file.size,
            Part::Lines { start, end } => end - start,
            Part::RowGroups { bytes, .. } => *bytes,
        }
    }
}

/// Bytes of a piece, so that `partitions` tasks have equal shares of `total`.
fn target(total: u64, partitions: usize) -> u64 {
    let share = total.div_ceil(partitions.max(1) as u64);
    share.clamp(SMALLEST_PIECE_BYTES, LARGEST_PIECE_BYTES)
}

/// Equal byte ranges of text files; compressed files and those with line breaks inside records stay whole.
pub(super) fn of_text(files: &[SourceFile], partitions: usize, can_split: bool) -> Vec<Piece> {
    let target = target(files.iter().map(|file| file.size).sum(), partitions);
    let mut pieces = Vec::new();
    for file in files.iter().filter(|file| file.size > 0) {
        if !can_split || input::compression(&file.key).is_compressed() {
            pieces.push(Piece { file: file.clone(), part: Part::Whole });
            continue;
        }
        let count = file.size.div_ceil(target);
        let at = |index: u64| {
            u64::try_from(u128::from(file.size) * u128::from(index) / u128::from(count)).unwrap_or(file.size)
        };
        pieces.extend(
            (0..count)
                .map(|index| Piece { file: file.clone(), part: Part::Lines { start: at(index), end: at(index + 1) } }),
        );
    }
    pieces
}

/// Every file by itself.
pub(super) fn of_whole(files: &[SourceFile]) -> Vec<Piece> {
    files.iter().map(|file| Piece { file: file.clone(), part: Part::Whole }).collect()
}

/// Runs of neighbouring row groups; `files` come with the compressed bytes of each of theirs.
pub(super) fn of_row_groups(files: &[(SourceFile, Vec<u64>)], partitions: usize) -> Vec<Piece> {
    let target = target(files.iter().flat_map(|(_, groups)| groups).sum(), partitions);
    let mut pieces = Vec::new();
    for (file, sizes) in files {
        let mut run: Vec<usize> = Vec::new();
        let mut run_bytes = 0;
        let mut push = |groups: Vec<usize>, bytes| {
            pieces.push(Piece { file: file.clone(), part: Part::RowGroups { groups, of: sizes.len(), bytes } });
        };
        for (group, size) in sizes.iter().enumerate() {
            if !run.is_empty() && run_bytes + size > target {
                push(std::mem::take(&mut run), run_bytes);
                run_bytes = 0;
            }
            run.push(group);
            run_bytes += size;
        }
        if !run.is_empty() {
            push(run, run_bytes);
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(key: &str, size: u64) -> SourceFile {
        SourceFile { key: key.to_owned(), size, etag: None, modified_ms: 0 }
    }

    #[test]
    fn text_pieces_cover_every_byte_once_and_compressed_files_stay_whole() {
        let files = [file("a.csv", 100_000_001), file("b.csv.gz", 90_000_000), file("c.csv", 0), file("d.csv", 7)];
        let pieces = of_text(&files, 2, true);
        let ranges: Vec<(u64, u64)> = pieces
            .iter()
            .filter(|piece| piece.file.key == "a.csv")
            .map(|piece| match piece.part {
                Part::Lines { start, end } => (start, end),
                _ => panic!("not split"),
            })
            .collect();
        assert_eq!(ranges.len(), 2);
        assert_eq!((ranges[0].0, ranges[0].1, ranges[1].1), (0, ranges[1].0, 100_000_001));
        assert!(pieces.iter().any(|piece| piece.file.key == "b.csv.gz" && piece.part == Part::Whole));
        assert!(pieces.iter().all(|piece| piece.file.key != "c.csv"));
        assert_eq!(pieces.iter().map(Piece::bytes).sum::<u64>(), 190_000_008);
        assert!(of_text(&files, 2, false).iter().all(|piece| piece.part == Part::Whole));
    }

    #[test]
    fn row_groups_are_joined_up_to_a_share() {
        let files = [(file("a", 10), vec![1_000_000, 1_000_000, 9_000_000, 100]), (file("b", 1), vec![])];
        let groups: Vec<Vec<usize>> = of_row_groups(&files, 4)
            .into_iter()
            .map(|piece| match piece.part {
                Part::RowGroups { groups, .. } => groups,
                _ => panic!("not row groups"),
            })
            .collect();
        assert_eq!(groups, [vec![0, 1], vec![2], vec![3]]);
    }
}
