//! Records that were read from files a moment ago, because pages are read again and again. Pure.

use std::collections::VecDeque;
use std::sync::Arc;

use lake_record::ApplicationRecord;

/// Records that are kept.
const MOST: usize = 16;
/// Task attempts in them: a record with millions of them is kept alone.
const MOST_ATTEMPTS: usize = 500_000;

/// The record that was asked for last first.
#[derive(Debug, Default)]
pub(super) struct Cache {
    records: VecDeque<Kept>,
}

#[derive(Debug)]
struct Kept {
    name: String,
    attempts: usize,
    record: Arc<ApplicationRecord>,
}

impl Cache {
    /// The record of this file.
    pub(super) fn get(&mut self, name: &str) -> Option<Arc<ApplicationRecord>> {
        let at = self.records.iter().position(|kept| kept.name == name)?;
        let kept = self.records.remove(at)?;
        let record = Arc::clone(&kept.record);
        self.records.push_front(kept);
        Some(record)
    }

    /// Keeps the record of a file; others make room.
    pub(super) fn put(&mut self, name: &str, record: Arc<ApplicationRecord>) {
        self.forget(name);
        let stages = record.queries.iter().flat_map(|query| &query.stages);
        let attempts = stages.map(|stage| stage.attempts.len()).sum();
        self.records.push_front(Kept { name: name.to_owned(), attempts, record });
        while self.records.len() > MOST || (self.records.len() > 1 && self.attempts() > MOST_ATTEMPTS) {
            self.records.pop_back();
        }
    }

    /// The file is gone.
    pub(super) fn forget(&mut self, name: &str) {
        self.records.retain(|kept| kept.name != name);
    }

    fn attempts(&self) -> usize {
        self.records.iter().map(|kept| kept.attempts).sum()
    }
}

#[cfg(test)]
mod tests {
    use lake_record::{AttemptRecord, QueryRecord, StageRecord};

    use super::*;

    fn record(attempts: usize) -> Arc<ApplicationRecord> {
        let stage = StageRecord { attempts: vec![AttemptRecord::default(); attempts], ..StageRecord::default() };
        let query = QueryRecord { stages: vec![stage], ..QueryRecord::default() };
        Arc::new(ApplicationRecord { queries: vec![query], ..ApplicationRecord::default() })
    }

    #[test]
    fn what_was_not_asked_for_longest_makes_room_and_so_does_what_is_too_large_together() {
        let mut cache = Cache::default();
        for number in 0..MOST {
            cache.put(&number.to_string(), record(1));
        }
        assert!(cache.get("0").is_some());
        cache.put("next", record(1));
        assert!(cache.get("1").is_none() && cache.get("0").is_some());
        cache.put("large", record(MOST_ATTEMPTS));
        assert!(cache.get("large").is_some() && cache.get("0").is_none(), "it is kept, alone");
        cache.forget("large");
        assert!(cache.get("large").is_none());
    }
}
