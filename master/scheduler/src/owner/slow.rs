//! Attempts that take long, looked for at every tick: second ones beside them, and their end when they take too long.
//! Edge.

use lake_scheduler_core::Event;
use tokio::time::Instant;

use super::Owner;

impl Owner {
    /// Tells the machine which attempts take too long and, where their application wants that, which straggle.
    pub(super) fn look_for_slow_attempts(&mut self) {
        let now = Instant::now();
        let mut events = Vec::new();
        for (query, entry) in self.entries.iter().filter(|(_, entry)| entry.events.is_some()) {
            if let Some(limit) = entry.policy.timeout {
                for attempt in entry.pace.overdue(limit, now) {
                    tracing::warn!(query_id = %query, %attempt, ?limit, "attempt runs too long and is given up");
                    events.push(Event::AttemptOverdue { query: query.clone(), attempt, limit });
                }
            }
            if entry.policy.speculation {
                let stages = self.machine.stages(query).unwrap_or_default();
                let attempts = entry.pace.stragglers(&self.services.settings.speculation, &stages, now);
                if !attempts.is_empty() {
                    events.push(Event::Stragglers { query: query.clone(), attempts });
                }
            }
        }
        for event in events {
            if let Event::AttemptOverdue { query, attempt, limit } = &event {
                self.note_overdue(query, *attempt, *limit);
            }
            self.event(event);
        }
    }
}
