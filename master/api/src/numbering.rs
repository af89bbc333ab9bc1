//! Queries and stages under numbers that are unique within the application, as Spark's jobs and stages are. Pure.
//!
//! Queries are numbered from 0 in the order in which they were accepted, stages from 0 through all queries in this order.
//! A query has all its stages from the moment it is accepted, so a number never changes while one master leads. Another
//! leader knows the queries of its own time only, and counts from 0 again.

use lake_record::{ApplicationRecord, QueryRecord, StageRecord};

use crate::count;

/// A query under its number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job<'a> {
    pub(crate) id: u64,
    pub(crate) query: &'a QueryRecord,
    /// Number of its first stage.
    first_stage: u64,
}

/// A stage under its number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stage<'a> {
    pub(crate) id: u64,
    pub(crate) stage: &'a StageRecord,
    pub(crate) job: Job<'a>,
}

/// Every query, the first one first.
pub(crate) fn jobs(record: &ApplicationRecord) -> Vec<Job<'_>> {
    let mut first_stage = 0;
    let mut jobs = Vec::with_capacity(record.queries.len());
    for (id, query) in record.queries.iter().enumerate() {
        jobs.push(Job { id: count(id), query, first_stage });
        first_stage += count(query.stages.len());
    }
    jobs
}

/// Every stage, the first one first.
pub(crate) fn stages(record: &ApplicationRecord) -> Vec<Stage<'_>> {
    jobs(record).into_iter().flat_map(Job::stages).collect()
}

/// The stage with this number.
pub(crate) fn stage(record: &ApplicationRecord, id: u64) -> Option<Stage<'_>> {
    let job = jobs(record).into_iter().rfind(|job| job.first_stage <= id && !job.query.stages.is_empty())?;
    let at = usize::try_from(id - job.first_stage).ok()?;
    job.query.stages.get(at).map(|stage| Stage { id, stage, job })
}

impl<'a> Job<'a> {
    pub(crate) fn stages(self) -> impl Iterator<Item = Stage<'a>> {
        self.query.stages.iter().zip(self.first_stage..).map(move |(stage, id)| Stage { id, stage, job: self })
    }
}

impl Stage<'_> {
    /// Numbers of the stages whose output it reads.
    pub(crate) fn parents(&self) -> Vec<u64> {
        let number = |id: &u32| self.job.stages().find(|stage| stage.stage.stage_id == *id).map(|stage| stage.id);
        self.stage.inputs.iter().filter_map(number).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    #[test]
    fn stages_are_numbered_through_all_queries() {
        let mut record = example::record();
        record.queries.insert(1, QueryRecord { query_id: "q-none".to_owned(), ..QueryRecord::default() });
        let found: Vec<(u64, &str, u32)> = stages(&record)
            .iter()
            .map(|stage| (stage.id, stage.job.query.query_id.as_str(), stage.stage.stage_id))
            .collect();
        let expected = [(0, "q-1", 1), (1, "q-1", 2), (2, "q-2", 1), (3, "q-2", 2), (4, "q-3", 1), (5, "q-3", 2)];
        assert_eq!(found, expected);
        for (id, query, stage_id) in expected {
            let found = stage(&record, id).unwrap();
            assert_eq!((found.job.query.query_id.as_str(), found.stage.stage_id), (query, stage_id));
        }
        for id in [6, u64::MAX] {
            assert!(stage(&record, id).is_none());
        }
        assert!(stage(&ApplicationRecord::default(), 0).is_none());
        assert_eq!(jobs(&record).iter().map(|job| job.id).collect::<Vec<_>>(), [0, 1, 2, 3]);
    }

    #[test]
    fn a_stage_reads_of_stages_of_its_own_query() {
        let record = example::record();
        assert_eq!(stage(&record, 3).unwrap().parents(), [2]);
        assert_eq!(stage(&record, 2).unwrap().parents(), [0; 0]);
    }
}
