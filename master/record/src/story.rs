//! What the steps of all applications tell of each table: who wrote it and who read it, when, and what it became. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{ApplicationSummary, ReadKind, ReadRecord, StepRecord, TableRecord};

/// Steps of applications, the newest application first.
pub type Runs = [(Arc<ApplicationSummary>, Arc<[StepRecord]>)];

/// One table.
#[derive(Debug, Default)]
pub struct Story<'a> {
    /// What its steps call it.
    pub name: &'a str,
    /// Where it is.
    pub location: &'a str,
    /// The newest application first.
    pub writes: Vec<Write<'a>>,
    /// The newest application first.
    pub reads: Vec<Reading<'a>>,
}

/// A step that writes it.
#[derive(Debug, Clone, Copy)]
pub struct Write<'a> {
    /// The application of the step.
    pub run: &'a ApplicationSummary,
    /// The step.
    pub step: &'a StepRecord,
}

/// A step that reads it.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// The application of the step.
    pub run: &'a ApplicationSummary,
    /// The step.
    pub step: &'a StepRecord,
    /// What it read.
    pub read: &'a ReadRecord,
}

/// Every table, ordered by name and location: another name or another place is another table. Locations are without a
/// slash at their end, and may be empty.
pub fn stories(runs: &Runs) -> Vec<Story<'_>> {
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

/// Every table that has a location, by that: it is one table, whatever it is called. Locations are without a slash at their
/// end.
pub fn stories_by_location(runs: &Runs) -> BTreeMap<&str, Story<'_>> {
    let mut stories: BTreeMap<&str, Story<'_>> = BTreeMap::new();
    for (run, steps) in runs {
        for step in steps.iter() {
            if !step.location.is_empty() {
                let location = without_slash(&step.location);
                let story = stories.entry(location).or_insert_with(|| Story::of(&step.table, location));
                // Who writes a table knows its name better than who reads it.
                if story.writes.is_empty() {
                    story.name = &step.table;
                }
                story.writes.push(Write { run, step });
            }
            for read in step.reads.iter().filter(|read| read.kind == ReadKind::Table && !read.location.is_empty()) {
                let location = without_slash(&read.location);
                let story = stories.entry(location).or_insert_with(|| Story::of(&read.name, location));
                story.reads.push(Reading { run, step, read });
            }
        }
    }
    stories
}

/// A location without a slash at its end, as [`stories`] has it.
pub fn without_slash(location: &str) -> &str {
    location.strip_suffix('/').unwrap_or(location)
}

impl Write<'_> {
    /// When it was committed, or ended otherwise.
    pub fn at_ms(&self) -> u64 {
        match self.step.table_after.as_ref().map_or(0, |table| table.committed_at_ms) {
            0 => self.step.ended_at_ms,
            at_ms => at_ms,
        }
    }
}

impl<'a> Story<'a> {
    fn of(name: &'a str, location: &'a str) -> Self {
        Self { name, location, ..Self::default() }
    }

    /// The steps that wrote it, or tried to: without those that wait or never began.
    pub fn begun(&self) -> impl Iterator<Item = &Write<'a>> {
        self.writes.iter().filter(|write| write.step.has_begun())
    }

    /// The table as it was at the highest version that a step has left.
    pub fn last(&self) -> Option<&TableRecord> {
        self.writes.iter().filter_map(|write| write.step.table_after.as_ref()).max_by_key(|table| table.version)
    }

    /// The highest version that a step has named.
    pub fn version(&self) -> Option<i64> {
        let written = self.writes.iter().filter_map(|write| write.step.version);
        written.chain(self.reads.iter().filter_map(|reading| reading.read.version)).max()
    }

    /// The last reading of each step that reads it, by job and table.
    pub fn readers(&self) -> BTreeMap<(&str, &str), &Reading<'_>> {
        let mut readers = BTreeMap::new();
        for reading in &self.reads {
            readers.entry((reading.run.job_name.as_str(), reading.step.table.as_str())).or_insert(reading);
        }
        readers
    }

    /// The last write of each job, and how many there were.
    pub fn writers(&self) -> BTreeMap<&str, (&Write<'_>, usize)> {
        let mut writers = BTreeMap::new();
        for write in self.begun() {
            writers.entry(write.run.job_name.as_str()).or_insert((write, 0)).1 += 1;
        }
        writers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A job writes a table, and another one reads it under another name and with a slash behind its location.
    fn runs() -> Vec<(Arc<ApplicationSummary>, Arc<[StepRecord]>)> {
        let run = |job: &str| Arc::new(ApplicationSummary { job_name: job.to_owned(), ..Default::default() });
        let made = |table: &str, location: &str, version| StepRecord {
            table: table.to_owned(),
            location: location.to_owned(),
            version: Some(version),
            ..Default::default()
        };
        let read = ReadRecord {
            name: "orders".to_owned(),
            kind: ReadKind::Table,
            location: "s3://lake/orders/".to_owned(),
            version: Some(7),
            ..Default::default()
        };
        let reader = StepRecord { reads: vec![read], ..made("gold.days", "", 1) };
        vec![
            (run("report"), Arc::from([reader])),
            (run("shop"), Arc::from([made("bronze.orders", "s3://lake/orders", 6)])),
            (run("shop"), Arc::from([made("bronze.orders", "s3://lake/orders", 5)])),
        ]
    }

    #[test]
    fn tables_of_another_name_or_place_are_others() {
        let runs = runs();
        let all = stories(&runs);
        let told: Vec<_> = all.iter().map(|story| (story.name, story.location, story.version())).collect();
        assert_eq!(
            told,
            [
                ("bronze.orders", "s3://lake/orders", Some(6)),
                ("gold.days", "", Some(1)),
                ("orders", "s3://lake/orders", Some(7)),
            ]
        );
        assert_eq!(all[0].writers().get("shop").map(|(write, times)| (write.step.version, *times)), Some((Some(6), 2)));
        assert!(all[2].readers().contains_key(&("report", "gold.days")));
    }

    #[test]
    fn what_never_began_has_not_written() {
        let mut runs = runs();
        let in_state = |state: &str| StepRecord { state: state.to_owned(), ..runs[1].1[0].clone() };
        let steps: Arc<[StepRecord]> = Arc::from(["NOT_RUN", "FAILED", "PENDING", "COMMITTED"].map(in_state));
        runs[1].1 = steps;
        let all = stories(&runs[1..2]);
        let states: Vec<&str> = all[0].begun().map(|write| write.step.state.as_str()).collect();
        assert_eq!((all[0].writes.len(), states), (4, vec!["FAILED", "COMMITTED"]));
    }

    #[test]
    fn by_location_it_is_one_table_whatever_it_is_called_and_without_one_none() {
        let runs = runs();
        let all = stories_by_location(&runs);
        let told: Vec<_> = all.values().map(|story| (story.name, story.location, story.version())).collect();
        assert_eq!(told, [("bronze.orders", "s3://lake/orders", Some(7))]);
    }
}
