//! Which worker an attempt runs on: the one with most free cores, ties by id. Pure.

use std::collections::{BTreeMap, BTreeSet};

use lake_proto::WorkerId;

use crate::fleet::Fleet;
use crate::ledger::Ledger;

/// Free cores during one round of launches.
#[derive(Debug)]
pub(crate) struct Round {
    slots: BTreeMap<WorkerId, Slot>,
}

#[derive(Debug)]
struct Slot {
    cores: u32,
    free: u32,
    /// Kept free for a task that was earlier in line and needs more cores than are free now.
    reserved: bool,
}

impl Round {
    pub(crate) fn new(fleet: &Fleet, ledger: &Ledger) -> Self {
        let slots = fleet.placeable().map(|(id, worker)| {
            let free = worker.cores.saturating_sub(ledger.used_on(id));
            (id.clone(), Slot { cores: worker.cores, free, reserved: false })
        });
        Self { slots: slots.collect() }
    }

    /// Whether nothing more can be placed in this round.
    pub(crate) fn is_over(&self) -> bool {
        self.slots.values().all(|slot| slot.free == 0 || slot.reserved)
    }

    /// Cores of the largest worker; zero when there is none.
    pub(crate) fn largest(&self) -> u32 {
        self.slots.values().map(|slot| slot.cores).max().unwrap_or(0)
    }

    /// Takes `cores` of a worker that is not in `avoid`, or of any when only those are large enough. When none has
    /// that many free, an attempt that needs several reserves a worker, so that smaller ones behind it in line
    /// cannot starve it.
    pub(crate) fn place(&mut self, cores: u32, avoid: &BTreeSet<WorkerId>) -> Option<WorkerId> {
        let fits = |slot: &Slot| slot.cores >= cores;
        let others = self.slots.iter().any(|(id, slot)| fits(slot) && !avoid.contains(id));
        let eligible = self
            .slots
            .iter_mut()
            .filter(|(id, slot)| fits(slot) && !slot.reserved && (!others || !avoid.contains(*id)));
        // Ascending ids and a strict comparison: of equally free workers the first wins.
        let mut best: Option<(&WorkerId, &mut Slot)> = None;
        for (id, slot) in eligible {
            if best.as_ref().is_none_or(|(_, other)| slot.free > other.free) {
                best = Some((id, slot));
            }
        }
        let (id, slot) = best?;
        if slot.free >= cores {
            slot.free -= cores;
            return Some(id.clone());
        }
        slot.reserved = cores > 1;
        None
    }

    /// As [`Self::place`] for what nobody waits for: never on a worker in `avoid`, and nothing is reserved for it.
    pub(crate) fn place_elsewhere(&mut self, cores: u32, avoid: &BTreeSet<WorkerId>) -> Option<WorkerId> {
        let fits = |slot: &Slot| slot.free >= cores && !slot.reserved;
        // Of equally free workers the last one would win, so the ids are taken from behind.
        let others = self.slots.iter_mut().rev().filter(|(id, slot)| fits(slot) && !avoid.contains(*id));
        let (id, slot) = others.max_by_key(|(_, slot)| slot.free)?;
        slot.free -= cores;
        Some(id.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Standing;
    use proptest::prelude::*;

    fn worker(number: usize) -> WorkerId {
        format!("worker-{number}").parse().unwrap()
    }

    fn round(cores: &[u32]) -> Round {
        let mut fleet = Fleet::default();
        for (number, cores) in cores.iter().enumerate() {
            fleet.join(worker(number), *cores, Standing::Alive);
        }
        Round::new(&fleet, &Ledger::default())
    }

    #[test]
    fn tasks_spread_over_the_workers_with_most_free_cores() {
        let mut round = round(&[2, 3, 2]);
        let none = BTreeSet::new();
        let placed: Vec<_> = std::iter::from_fn(|| round.place(1, &none)).collect();
        assert_eq!(placed, [1, 0, 1, 2, 0, 1, 2].map(worker));
        assert!(round.is_over());
    }

    #[test]
    fn a_worker_to_avoid_is_used_only_when_it_is_the_only_one() {
        let avoid = BTreeSet::from([worker(0)]);
        let mut two = round(&[4, 1]);
        assert_eq!(two.place(1, &avoid), Some(worker(1)));
        assert_eq!(two.place(1, &avoid), None, "it waits for the other worker");
        assert_eq!(round(&[4]).place(1, &avoid), Some(worker(0)));
    }

    #[test]
    fn what_nobody_waits_for_gets_no_worker_that_it_avoids_and_none_that_is_reserved() {
        let avoid = BTreeSet::from([worker(0)]);
        let mut alone = round(&[4]);
        assert_eq!(alone.place_elsewhere(1, &avoid), None, "also when it is the only one");
        let mut three = round(&[9, 2, 2]);
        assert_eq!(three.place_elsewhere(1, &avoid), Some(worker(1)));
        assert_eq!(three.place_elsewhere(1, &avoid), Some(worker(2)));
        assert_eq!(three.place(2, &avoid), None, "reserves worker 1");
        assert_eq!(three.place_elsewhere(1, &avoid), Some(worker(2)));
        assert_eq!(three.place_elsewhere(1, &avoid), None);
        assert_eq!(three.place_elsewhere(10, &BTreeSet::new()), None, "and reserves nothing itself");
        assert_eq!(three.place(9, &BTreeSet::new()), Some(worker(0)));
    }

    #[test]
    fn a_large_task_in_front_reserves_a_worker() {
        let mut round = round(&[4, 2]);
        let none = BTreeSet::new();
        assert_eq!(round.place(1, &none), Some(worker(0)));
        assert_eq!(round.place(4, &none), None);
        assert_eq!(round.place(1, &none), Some(worker(1)));
        assert_eq!(round.place(1, &none), Some(worker(1)));
        assert_eq!(round.place(1, &none), None, "the free cores of worker 0 are reserved");
    }

    proptest! {
        #[test]
        fn a_round_never_gives_more_than_a_worker_has(
            sizes in prop::collection::vec(1_u32..6, 1..5),
            wanted in prop::collection::vec((1_u32..6, 0_usize..5), 0..40),
        ) {
            let mut round = round(&sizes);
            let mut used = vec![0_u32; sizes.len()];
            for (cores, avoided) in wanted {
                let avoid = BTreeSet::from([worker(avoided)]);
                if let Some(placed) = round.place(cores, &avoid) {
                    let number = (0..sizes.len()).find(|number| worker(*number) == placed).unwrap();
                    used[number] += cores;
                    prop_assert!(used[number] <= sizes[number]);
                    let others = sizes.iter().enumerate().any(|(n, size)| n != avoided && *size >= cores);
                    prop_assert!(number != avoided || !others);
                }
            }
        }
    }
}
