//! Sums of steps by job and table: the only labels here that users choose, and so bounded. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What stands for all jobs and tables beyond the bounds.
const OTHER: &str = "other";
/// Jobs that are told apart.
const MOST_JOBS: usize = 200;
/// Pairs of a job and a table that are told apart.
const MOST_TABLES: usize = 1_000;

/// What one step did, and what several did together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StepSums {
    /// Rows read.
    pub input_rows: u64,
    /// Rows written.
    pub output_rows: u64,
    /// Bytes of the files written.
    pub output_bytes: u64,
    /// Files written.
    pub output_files: u64,
    /// Rows that violated an expectation, counted for each of them.
    pub violations: u64,
    /// Time from the step's start to its record.
    pub elapsed_ms: u64,
}

/// The sums of a job's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepTotals {
    /// The job's name, or `other`.
    pub job: String,
    /// The table's name, or `other`.
    pub table: String,
    /// What its steps did together.
    pub sums: StepSums,
}

/// Sums by job and table since the process started. The first jobs and tables are told apart, and those that come when
/// there are as many as are told apart are summed up as `other`.
#[derive(Debug, Default)]
pub struct Steps {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    jobs: BTreeSet<String>,
    sums: BTreeMap<(String, String), StepSums>,
}

impl Steps {
    /// A step has ended.
    pub fn add(&self, job: &str, table: &str, step: StepSums) {
        let mut known = self.lock();
        let mut key = (job.to_owned(), table.to_owned());
        let is_known = known.sums.contains_key(&key);
        let has_room = known.jobs.contains(job) || known.jobs.len() < MOST_JOBS;
        if !is_known && (!has_room || known.sums.len() >= MOST_TABLES) {
            key = (OTHER.to_owned(), OTHER.to_owned());
        } else if !is_known {
            known.jobs.insert(job.to_owned());
        }
        known.sums.entry(key).or_default().add(step);
    }

    /// All of them, by job and table.
    pub fn get(&self) -> Vec<StepTotals> {
        let known = self.lock();
        let total = |((job, table), sums): (&(String, String), &StepSums)| StepTotals {
            job: job.clone(),
            table: table.clone(),
            sums: *sums,
        };
        known.sums.iter().map(total).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StepSums {
    fn add(&mut self, more: Self) {
        let fields = [
            (&mut self.input_rows, more.input_rows),
            (&mut self.output_rows, more.output_rows),
            (&mut self.output_bytes, more.output_bytes),
            (&mut self.output_files, more.output_files),
            (&mut self.violations, more.violations),
            (&mut self.elapsed_ms, more.elapsed_ms),
        ];
        for (sum, more) in fields {
            *sum = sum.saturating_add(more);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(output_rows: u64) -> StepSums {
        StepSums { output_rows, ..StepSums::default() }
    }

    fn found(steps: &Steps, job: &str, table: &str) -> Option<u64> {
        steps.get().iter().find(|total| total.job == job && total.table == table).map(|total| total.sums.output_rows)
    }

    #[test]
    fn jobs_beyond_the_bound_are_summed_up_and_those_within_stay_apart() {
        let steps = Steps::default();
        for number in 0..MOST_JOBS + 50 {
            steps.add(&format!("job-{number}"), "a.b", rows(1));
        }
        steps.add("job-7", "a.b", rows(4));
        steps.add("job-7", "a.c", rows(2));
        steps.add("job-249", "a.b", rows(3));
        assert_eq!(found(&steps, "job-7", "a.b"), Some(5));
        assert_eq!(found(&steps, "job-7", "a.c"), Some(2), "a known job gets new tables");
        assert_eq!(found(&steps, OTHER, OTHER), Some(53));
        assert_eq!(found(&steps, "job-249", "a.b"), None);
        assert_eq!(steps.get().len(), MOST_JOBS + 2);
    }

    #[test]
    fn tables_beyond_the_bound_are_summed_up_too() {
        let steps = Steps::default();
        for number in 0..MOST_TABLES + 10 {
            steps.add("wide", &format!("a.t{number}"), rows(1));
        }
        assert_eq!(steps.get().len(), MOST_TABLES + 1);
        assert_eq!(found(&steps, OTHER, OTHER), Some(10));
    }
}
