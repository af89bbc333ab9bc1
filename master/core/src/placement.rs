//! Which waiting driver goes to which worker. Pure, over plain numbers.
//!
//! First come, first served. A driver that would fit a worker if others ended keeps its turn: nobody behind it is
//! placed before it, so that large drivers are not starved by small ones. A driver that fits no worker even when all
//! are empty is passed over. Drivers are spread: the worker with the most memory left takes it; ties go to the
//! smaller number of drivers, then to the id. A relaunched driver prefers another worker than its last.

use std::cmp::Reverse;

use lake_proto::{DriverId, WorkerId};

/// A worker that may take drivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) worker: WorkerId,
    pub(crate) memory_bytes: u64,
    pub(crate) memory_used_bytes: u64,
    pub(crate) drivers: usize,
}

impl Place {
    const fn memory_free_bytes(&self) -> u64 {
        self.memory_bytes.saturating_sub(self.memory_used_bytes)
    }
}

/// A driver that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) driver: DriverId,
    pub(crate) memory_bytes: u64,
    pub(crate) avoid: Option<WorkerId>,
}

/// Assignments for `waiting`, which is in the order of the queue. Nobody behind the first one without a place is
/// looked at.
pub(crate) fn place(mut places: Vec<Place>, waiting: impl IntoIterator<Item = Waiting>) -> Vec<(DriverId, WorkerId)> {
    let mut assignments = Vec::new();
    let largest = places.iter().map(|place| place.memory_bytes).max();
    for driver in waiting {
        let fits_when_empty = largest.is_some_and(|largest| largest >= driver.memory_bytes);
        if !fits_when_empty {
            continue;
        }
        let fitting = places.iter_mut().filter(|place| place.memory_free_bytes() >= driver.memory_bytes);
        let Some(place) = fitting.min_by(|one, other| preference(&driver, one).cmp(&preference(&driver, other))) else {
            break;
        };
        place.memory_used_bytes = place.memory_used_bytes.saturating_add(driver.memory_bytes);
        place.drivers += 1;
        assignments.push((driver.driver, place.worker.clone()));
    }
    assignments
}

/// The smallest is taken.
fn preference<'a>(driver: &Waiting, place: &'a Place) -> (bool, Reverse<u64>, usize, &'a WorkerId) {
    let is_avoided = driver.avoid.as_ref() == Some(&place.worker);
    (is_avoided, Reverse(place.memory_free_bytes()), place.drivers, &place.worker)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn places(sizes: &[(u64, u64)]) -> Vec<Place> {
        let place = |(number, (total, used)): (usize, &(u64, u64))| Place {
            worker: format!("worker-{number}").parse().unwrap(),
            memory_bytes: *total,
            memory_used_bytes: *used,
            drivers: 0,
        };
        sizes.iter().enumerate().map(place).collect()
    }

    fn waiting(sizes: &[u64]) -> Vec<Waiting> {
        let driver = |(number, size): (usize, &u64)| Waiting {
            driver: format!("driver-{number:04}").parse().unwrap(),
            memory_bytes: *size,
            avoid: None,
        };
        sizes.iter().enumerate().map(driver).collect()
    }

    fn named(assignments: &[(DriverId, WorkerId)]) -> Vec<(&str, &str)> {
        assignments.iter().map(|(driver, worker)| (driver.as_str(), worker.as_str())).collect()
    }

    #[test]
    fn equal_drivers_are_spread_over_equal_workers() {
        let assignments = place(places(&[(4, 0), (4, 0)]), waiting(&[1, 1, 1]));
        let expected = [("driver-0000", "worker-0"), ("driver-0001", "worker-1"), ("driver-0002", "worker-0")];
        assert_eq!(named(&assignments), expected);
    }

    #[test]
    fn a_large_driver_keeps_its_turn_and_an_impossible_one_does_not() {
        assert_eq!(named(&place(places(&[(4, 2)]), waiting(&[3, 1]))), []);
        assert_eq!(named(&place(places(&[(4, 2)]), waiting(&[5, 1]))), [("driver-0001", "worker-0")]);
    }

    #[test]
    fn a_relaunched_driver_goes_elsewhere_unless_there_is_no_other_place() {
        let mut queue = waiting(&[1]);
        queue[0].avoid = Some("worker-0".parse().unwrap());
        assert_eq!(named(&place(places(&[(9, 0), (2, 0)]), queue.clone())), [("driver-0000", "worker-1")]);
        assert_eq!(named(&place(places(&[(9, 0)]), queue)), [("driver-0000", "worker-0")]);
    }

    proptest! {
        #[test]
        fn no_worker_is_overcommitted_and_the_queue_keeps_its_order(
            sizes in vec((0_u64..20, 0_u64..10), 0..6),
            queue in vec(1_u64..12, 0..20),
        ) {
            let before = places(&sizes);
            let assignments = place(before.clone(), waiting(&queue));

            let mut used: BTreeMap<WorkerId, u64> = BTreeMap::new();
            for (driver, worker) in &assignments {
                let number: usize = driver.as_str()["driver-".len()..].parse().unwrap();
                *used.entry(worker.clone()).or_default() += queue[number];
            }
            for place in &before {
                let added = used.get(&place.worker).copied().unwrap_or(0);
                prop_assert!(added <= place.memory_bytes.saturating_sub(place.memory_used_bytes));
            }

            // Whoever is placed has before it only drivers that are placed or that no worker can ever take.
            let largest = sizes.iter().map(|(total, _)| *total).max().unwrap_or(0);
            let placed: Vec<String> = assignments.iter().map(|(driver, _)| driver.to_string()).collect();
            prop_assert!(placed.is_sorted());
            if let Some(last) = placed.last() {
                for (number, size) in queue.iter().enumerate() {
                    let name = format!("driver-{number:04}");
                    if name < *last {
                        prop_assert!(placed.contains(&name) || *size > largest);
                    }
                }
            }

            // Nobody who could be placed next was left out.
            let first_left = queue.iter().enumerate().find(|(number, size)| {
                !placed.contains(&format!("driver-{number:04}")) && **size <= largest
            });
            if let Some((_, size)) = first_left {
                for place in &before {
                    let added = used.get(&place.worker).copied().unwrap_or(0);
                    prop_assert!(place.memory_bytes.saturating_sub(place.memory_used_bytes + added) < *size);
                }
            }
            // The same question has the same answer.
            prop_assert_eq!(place(before, waiting(&queue)), assignments);
        }
    }
}
