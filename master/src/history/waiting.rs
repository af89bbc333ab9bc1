//! Records of applications that have ended and are not in the directory yet. Pure: time comes as an argument.
//!
//! Each waits a moment, because the end of a driver's process is known after the end of its run; and for as long as the
//! directory cannot be written.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lake_proto::AppId;
use lake_record::ApplicationRecord;
use tokio::time::Instant;

/// How long the end of a process is waited for.
const SETTLES_FOR: Duration = Duration::from_secs(10);
/// Task attempts of all that wait: of more, records lose their queries, the oldest first.
const MOST_ATTEMPTS: usize = 1_000_000;

/// By application, which is the order of submission.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    records: BTreeMap<AppId, Entry>,
}

#[derive(Debug)]
struct Entry {
    record: Arc<ApplicationRecord>,
    since: Instant,
}

impl Waiting {
    /// A record is to be written. One with queries takes the place of one without.
    pub(super) fn put(&mut self, app: AppId, record: Arc<ApplicationRecord>, now: Instant) {
        let has_more = |known: &Entry| !known.record.is_partial && record.is_partial;
        if self.records.get(&app).is_some_and(has_more) {
            return;
        }
        self.records.insert(app, Entry { record, since: now });
        self.make_room();
    }

    /// It is written, or will never be.
    pub(super) fn remove(&mut self, app: &AppId) {
        self.records.remove(app);
    }

    pub(super) fn contains(&self, app: &AppId) -> bool {
        self.records.contains_key(app)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The record with this application, driver or submission id.
    pub(super) fn find(&self, id: &str) -> Option<Arc<ApplicationRecord>> {
        let is_meant = |record: &&Arc<ApplicationRecord>| {
            let summary = &record.summary;
            [&summary.app_id, &summary.driver_id, &summary.submission_id].into_iter().any(|known| known == id)
        };
        self.records.values().map(|entry| &entry.record).find(is_meant).cloned()
    }

    /// All of them, the last one that was submitted first.
    pub(super) fn newest(&self) -> impl Iterator<Item = &Arc<ApplicationRecord>> {
        self.records.values().rev().map(|entry| &entry.record)
    }

    /// The next one that may be written: its drivers' processes have ended as far as `is_settled` knows, or were waited
    /// for.
    pub(super) fn due(
        &self,
        now: Instant,
        is_settled: impl Fn(&AppId) -> bool,
    ) -> Option<(AppId, Arc<ApplicationRecord>)> {
        let is_due = |(app, entry): &(&AppId, &Entry)| {
            now.saturating_duration_since(entry.since) >= SETTLES_FOR || is_settled(app)
        };
        self.records.iter().find(is_due).map(|(app, entry)| (app.clone(), Arc::clone(&entry.record)))
    }

    fn make_room(&mut self) {
        let attempts = |record: &ApplicationRecord| -> usize {
            record.queries.iter().flat_map(|query| &query.stages).map(|stage| stage.attempts.len()).sum()
        };
        let mut all: usize = self.records.values().map(|entry| attempts(&entry.record)).sum();
        for entry in self.records.values_mut() {
            if all <= MOST_ATTEMPTS {
                return;
            }
            all -= attempts(&entry.record);
            let record = Arc::make_mut(&mut entry.record);
            record.queries = Vec::new();
            record.is_partial = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use lake_record::{ApplicationSummary, AttemptRecord, QueryRecord, StageRecord};

    use super::*;

    fn app(number: u32) -> AppId {
        format!("app-{number}").parse().unwrap()
    }

    fn record(number: u32, attempts: usize, is_partial: bool) -> Arc<ApplicationRecord> {
        let stage = StageRecord { attempts: vec![AttemptRecord::default(); attempts], ..StageRecord::default() };
        let query = QueryRecord { stages: vec![stage], ..QueryRecord::default() };
        let summary = ApplicationSummary {
            app_id: app(number).to_string(),
            driver_id: format!("driver-{number}"),
            ..ApplicationSummary::default()
        };
        Arc::new(ApplicationRecord { summary, is_partial, queries: vec![query], ..ApplicationRecord::default() })
    }

    #[test]
    fn a_record_waits_until_its_process_has_ended_but_not_for_long() {
        let mut waiting = Waiting::default();
        let now = Instant::now();
        waiting.put(app(1), record(1, 0, false), now);
        waiting.put(app(2), record(2, 0, false), now);
        assert!(waiting.due(now, |_| false).is_none());
        assert_eq!(waiting.due(now, |settled| *settled == app(2)).unwrap().0, app(2));
        assert_eq!(waiting.due(now + SETTLES_FOR, |_| false).unwrap().0, app(1));
        waiting.remove(&app(1));
        assert!(!waiting.contains(&app(1)) && !waiting.is_empty());
        assert_eq!(waiting.find("driver-2").unwrap().summary.app_id, "app-2");
        assert!(waiting.find("driver-1").is_none());
        assert_eq!(waiting.newest().count(), 1);
    }

    #[test]
    fn the_leader_that_saw_all_of_an_application_has_the_last_word() {
        let mut waiting = Waiting::default();
        let now = Instant::now();
        for (is_partial, expected) in [(true, true), (false, false), (true, false)] {
            waiting.put(app(1), record(1, 0, is_partial), now);
            assert_eq!(waiting.find("app-1").unwrap().is_partial, expected);
        }
    }

    #[test]
    fn what_waits_too_long_loses_its_queries_the_oldest_first() {
        let mut waiting = Waiting::default();
        let now = Instant::now();
        for number in 1..=3 {
            waiting.put(app(number), record(number, MOST_ATTEMPTS / 2, false), now);
        }
        let told: Vec<(bool, usize)> =
            waiting.newest().map(|record| (record.is_partial, record.queries.len())).collect();
        assert_eq!(told, [(false, 1), (false, 1), (true, 0)]);
    }
}
