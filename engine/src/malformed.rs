//! How many records of a source did not parse, from the tasks that read them to the driver. Pure but for its
//! counters.
//!
//! A piece of a file is read again when its task is repeated, when every task reads the small side of a join, or when a
//! query names its source twice. So what travels is a number for each piece, and of two numbers for one piece the larger
//! is taken: no record is counted twice, whoever read it.
//!
//! The numbers travel with the answer of a writing task, which sees the scans of its own stage only. What was scanned in
//! another one is not known there, and the driver says so.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::physical_plan::ExecutionPlan;
use lake_job::ParseMode;
use serde::{Deserialize, Serialize};

use crate::source::files::FilesScanExec;

/// What the scans of one source found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Malformed {
    /// The source's name in the job.
    pub source: String,
    /// What became of the records.
    pub mode: ParseMode,
    /// Records that did not parse, by piece; pieces without any are left out.
    pub pieces: BTreeMap<String, u64>,
}

impl Malformed {
    /// Takes in what another task, or another scan of the same source, found.
    pub(crate) fn merge(&mut self, other: Self) {
        for (piece, records) in other.pieces {
            let known = self.pieces.entry(piece).or_default();
            *known = records.max(*known);
        }
    }

    /// Records of all pieces. In permissive mode: of those whose selected columns did not all parse.
    pub fn records(&self) -> u64 {
        self.pieces.values().sum()
    }
}

/// What one scan counts while it runs: a number for each piece that it opened.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pieces: Mutex<Vec<(String, Arc<AtomicU64>)>>,
}

impl Tally {
    /// The number of one reading of `piece`; it grows until the piece is read.
    pub(crate) fn of_piece(&self, piece: String) -> Arc<AtomicU64> {
        let records = Arc::new(AtomicU64::new(0));
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner).push((piece, records.clone()));
        records
    }

    /// The numbers so far.
    pub(crate) fn pieces(&self) -> BTreeMap<String, u64> {
        let mut found: BTreeMap<String, u64> = BTreeMap::new();
        for (piece, records) in self.pieces.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let records = records.load(Ordering::Relaxed);
            if records > 0 {
                let known = found.entry(piece.clone()).or_default();
                *known = records.max(*known);
            }
        }
        found
    }
}

/// What the scans in `plan` have found so far, one entry for each source that may have such records; whole when every
/// stream that the plan gave has ended.
pub(crate) fn found(plan: &Arc<dyn ExecutionPlan>) -> Vec<Malformed> {
    let mut found = Vec::new();
    collect(plan, &mut found);
    found
}

fn collect(plan: &Arc<dyn ExecutionPlan>, found: &mut Vec<Malformed>) {
    if let Some(scanned) = plan.downcast_ref::<FilesScanExec>().and_then(FilesScanExec::malformed) {
        add(found, scanned);
    }
    for child in plan.children() {
        collect(child, found);
    }
}

/// One entry for each source, in the order in which they first come.
pub(crate) fn add(all: &mut Vec<Malformed>, one: Malformed) {
    match all.iter_mut().find(|known| known.source == one.source) {
        Some(known) => known.merge(one),
        None => all.push(one),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str, pieces: &[(&str, u64)]) -> Malformed {
        let pieces = pieces.iter().map(|(piece, records)| ((*piece).to_owned(), *records)).collect();
        Malformed { source: name.to_owned(), mode: ParseMode::Drop, pieces }
    }

    #[test]
    fn a_piece_that_is_read_twice_is_counted_once() {
        let mut all = Vec::new();
        for found in [
            source("a", &[("f 0", 3)]),
            source("b", &[]),
            // The same piece by a repeated task, by one that stopped early, and another piece.
            source("a", &[("f 0", 3), ("f 9", 2)]),
            source("a", &[("f 0", 1)]),
        ] {
            add(&mut all, found);
        }
        let records: Vec<(&str, u64)> = all.iter().map(|found| (found.source.as_str(), found.records())).collect();
        assert_eq!(records, [("a", 5), ("b", 0)]);
    }

    #[test]
    fn a_tally_keeps_the_largest_reading_of_each_piece() {
        let tally = Tally::default();
        for (piece, records) in [("f 0", 2), ("f 0", 5), ("f 9", 0), ("f 0", 1)] {
            tally.of_piece(piece.to_owned()).store(records, Ordering::Relaxed);
        }
        assert_eq!(tally.pieces(), source("", &[("f 0", 5)]).pieces);
    }
}
