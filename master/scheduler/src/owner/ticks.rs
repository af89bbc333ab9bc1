//! What is due from time to time. Edge.

use lake_proto::QueryId;
use lake_scheduler_core::Event;

use super::Owner;
use crate::entry::{self, Entry};
use crate::spent;

impl Owner {
    pub(super) fn tick(&mut self) {
        for (query, entry) in &mut self.entries {
            let Some(driver) = &entry.events else { continue };
            let Some(stages) = self.machine.stages(query).and_then(|views| entry.progress.news(&views)) else {
                continue;
            };
            // A driver that reads slowly misses progress, never results.
            let spent = self.machine.spent(query).map(spent::told);
            let _ = driver.try_send(entry::progress(stages, spent));
        }
        if self.machine.due_at().is_some_and(|due| due <= self.began.elapsed()) {
            self.event(Event::TimePassed);
        }
        self.look_for_slow_attempts();
        self.give_up_waiting();
        self.drop_expired();
    }

    fn give_up_waiting(&mut self) {
        let grace = self.services.settings.worker_grace;
        let Some(since) = self.unmanned_since.filter(|since| since.elapsed() >= grace) else { return };
        let has_waited = |entry: &Entry| entry.submitted.max(since).elapsed() >= grace;
        let waiting: Vec<QueryId> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.events.is_some() && has_waited(entry))
            .map(|(query, _)| query.clone())
            .collect();
        for query in waiting {
            self.event(Event::WorkersAwaitedInVain { query });
        }
    }
}
