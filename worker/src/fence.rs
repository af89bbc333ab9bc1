//! Which driver of each application is the last one, as far as this worker has heard: the driver's epoch is the log
//! index of its assignment, so a higher one is a later one. Pure but for its lock.
//!
//! A master announces every query with its application and the epoch of the driver that runs it, and every task says them
//! again. A query is bound to the epoch it was announced with. Shuffle files and results lie under the id of their query,
//! and a ticket names that id: so the epoch of a ticket is that of the query it names, and nothing had to be added to
//! Ballista's tickets, which only our own planner and this worker make. A ticket of a query that is not announced here
//! any more is not judged; its files are removed with it. A task that reads files of its own host does so without a
//! ticket, and is refused itself.
//!
//! This keeps a driver that was replaced from using cores and reading rows of its successor's cluster for long. That its
//! commit is not there twice is the table's business.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lake_proto::{ErrorClass, Fault, QueryId};

/// Applications whose last epoch is remembered; those heard of first are forgotten first.
const REMEMBERED: usize = 10_000;

/// Shared by what runs tasks and what serves their files.
#[derive(Debug, Default)]
pub struct Fence {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The highest epoch, by application.
    highest: BTreeMap<String, u64>,
    in_order: VecDeque<String>,
    queries: BTreeMap<QueryId, Owner>,
}

#[derive(Debug, Clone)]
struct Owner {
    app: String,
    epoch: u64,
}

impl Fence {
    /// A query was announced. Answers with the announced queries of earlier drivers of its application, which are over.
    /// Epoch 0 says nothing: then nothing is compared.
    pub fn announced(&self, query: &QueryId, app: &str, epoch: u64) -> Vec<QueryId> {
        let mut known = self.lock();
        known.queries.entry(query.clone()).or_insert_with(|| Owner { app: app.to_owned(), epoch });
        if !known.raise(app, epoch) {
            return Vec::new();
        }
        let is_over = |owner: &Owner| owner.app == app && owner.epoch > 0 && owner.epoch < epoch;
        known.queries.iter().filter(|(_, owner)| is_over(owner)).map(|(query, _)| query.clone()).collect()
    }

    /// A query was dropped.
    pub fn forget(&self, query: &QueryId) {
        self.lock().queries.remove(query);
    }

    /// Whether a driver of this epoch may still use this worker.
    ///
    /// # Errors
    /// `conflict` (code `stale-epoch`) when a later driver of the application has been heard of.
    pub fn check(&self, app: &str, epoch: u64) -> Result<(), Fault> {
        self.lock().check(app, epoch)
    }

    /// Whether the files of this query may still be read.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn check_query(&self, query: &QueryId) -> Result<(), Fault> {
        let known = self.lock();
        known.queries.get(query).map_or(Ok(()), |owner| known.check(&owner.app, owner.epoch))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Whether this is the highest epoch so far, and a later driver than the one before.
    fn raise(&mut self, app: &str, epoch: u64) -> bool {
        if epoch == 0 {
            return false;
        }
        if let Some(highest) = self.highest.get_mut(app) {
            let is_later = epoch > *highest;
            *highest = epoch.max(*highest);
            return is_later;
        }
        self.highest.insert(app.to_owned(), epoch);
        self.in_order.push_back(app.to_owned());
        while self.in_order.len() > REMEMBERED {
            if let Some(first) = self.in_order.pop_front() {
                self.highest.remove(&first);
            }
        }
        // Queries of it may have been announced and its epoch forgotten since.
        true
    }

    fn check(&self, app: &str, epoch: u64) -> Result<(), Fault> {
        match self.highest.get(app) {
            Some(highest) if epoch > 0 && epoch < *highest => Err(Fault::new(
                ErrorClass::Conflict,
                "stale-epoch",
                format!("the driver of {app} with epoch {epoch} was replaced: epoch {highest} has its run now"),
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(number: u64) -> QueryId {
        format!("q{number}").parse().unwrap()
    }

    fn is_stale(answer: Result<(), Fault>) -> bool {
        match answer {
            Ok(()) => false,
            Err(fault) => {
                assert_eq!((fault.class, fault.code.as_str()), (ErrorClass::Conflict, "stale-epoch"));
                true
            }
        }
    }

    #[test]
    fn a_later_driver_shuts_out_the_earlier_ones_of_its_application_only() {
        let fence = Fence::default();
        assert_eq!(fence.announced(&query(1), "app-1", 5), []);
        assert_eq!(fence.announced(&query(2), "app-1", 5), []);
        assert_eq!(fence.announced(&query(3), "app-2", 4), []);
        assert!(!is_stale(fence.check_query(&query(1))));
        assert_eq!(fence.announced(&query(4), "app-1", 9), [query(1), query(2)]);
        assert_eq!(fence.announced(&query(4), "app-1", 9), [], "a repeat");
        for number in [1, 2] {
            assert!(is_stale(fence.check_query(&query(number))));
        }
        for number in [3, 4] {
            assert!(!is_stale(fence.check_query(&query(number))));
        }
        assert!(is_stale(fence.check("app-1", 8)) && !is_stale(fence.check("app-1", 9)));
        assert_eq!(fence.announced(&query(5), "app-1", 5), [], "late");
        assert!(is_stale(fence.check_query(&query(5))));
        fence.forget(&query(5));
        assert!(!is_stale(fence.check_query(&query(5))), "its files are gone with it");
    }

    #[test]
    fn an_epoch_that_is_not_told_is_not_compared() {
        let fence = Fence::default();
        fence.announced(&query(1), "app-1", 0);
        assert_eq!(fence.announced(&query(2), "app-1", 5), []);
        assert!(!is_stale(fence.check_query(&query(1))) && !is_stale(fence.check("app-1", 0)));
        assert!(!is_stale(fence.check_query(&query(7))), "never announced");
    }

    #[test]
    fn what_is_remembered_of_applications_is_bounded() {
        let fence = Fence::default();
        for number in 0..=REMEMBERED {
            fence.announced(&query(0), &format!("app-{number}"), 5);
        }
        assert_eq!(fence.lock().highest.len(), REMEMBERED);
        assert!(!is_stale(fence.check("app-0", 1)) && is_stale(fence.check("app-1", 1)));
    }
}
