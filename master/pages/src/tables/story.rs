//! What the steps of all applications tell of each table: who wrote it and who read it, when, and what it became. Pure.

use std::collections::BTreeMap;

use lake_record::{ApplicationSummary, ReadKind, ReadRecord, StepRecord, TableRecord};

use super::Runs;

/// One table: a name at a place.
#[derive(Debug, Default)]
pub(super) struct Story<'a> {
    pub(super) name: &'a str,
    /// Without a slash at its end.
    pub(super) location: &'a str,
    /// The newest application first.
    pub(super) writes: Vec<Write<'a>>,
    /// The newest application first.
    pub(super) reads: Vec<Reading<'a>>,
}

/// A step that writes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Write<'a> {
    pub(super) run: &'a ApplicationSummary,
    pub(super) step: &'a StepRecord,
}

/// A step that reads it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading<'a> {
    pub(super) run: &'a ApplicationSummary,
    pub(super) step: &'a StepRecord,
    pub(super) read: &'a ReadRecord,
}

impl Write<'_> {
    /// When it was committed, or ended otherwise.
    pub(super) fn at_ms(&self) -> u64 {
        match self.step.table_after.as_ref().map_or(0, |table| table.committed_at_ms) {
            0 => self.step.ended_at_ms,
            at_ms => at_ms,
        }
    }
}

impl Story<'_> {
    /// The table as it was at the highest version that a step has left.
    pub(super) fn last(&self) -> Option<&TableRecord> {
        self.writes.iter().filter_map(|write| write.step.table_after.as_ref()).max_by_key(|table| table.version)
    }

    /// The highest version that is known.
    pub(super) fn version(&self) -> Option<i64> {
        let written = self.writes.iter().filter_map(|write| write.step.version);
        written.chain(self.reads.iter().filter_map(|reading| reading.read.version)).max()
    }

    /// The last reading of each step that reads it, by job and table.
    pub(super) fn readers(&self) -> BTreeMap<(&str, &str), &Reading<'_>> {
        let mut readers = BTreeMap::new();
        for reading in &self.reads {
            readers.entry((reading.run.job_name.as_str(), reading.step.table.as_str())).or_insert(reading);
        }
        readers
    }

    /// The last write of each job, and how many there were.
    pub(super) fn writers(&self) -> BTreeMap<&str, (&Write<'_>, usize)> {
        let mut writers = BTreeMap::new();
        for write in &self.writes {
            writers.entry(write.run.job_name.as_str()).or_insert((write, 0)).1 += 1;
        }
        writers
    }
}

pub(super) fn without_slash(location: &str) -> &str {
    location.strip_suffix('/').unwrap_or(location)
}

/// By name, then location.
pub(super) fn stories(runs: &Runs) -> Vec<Story<'_>> {
    let mut stories: BTreeMap<(&str, &str), Story<'_>> = BTreeMap::new();
    for (run, steps) in runs {
        for step in steps.iter() {
            let key = (step.table.as_str(), without_slash(&step.location));
            stories.entry(key).or_default().writes.push(Write { run, step });
            for read in step.reads.iter().filter(|read| read.kind == ReadKind::Table) {
                let key = (read.name.as_str(), without_slash(&read.location));
                stories.entry(key).or_default().reads.push(Reading { run, step, read });
            }
        }
    }
    let named = stories.into_iter().map(|((name, location), story)| Story { name, location, ..story });
    named.collect()
}
