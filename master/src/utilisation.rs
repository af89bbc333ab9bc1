//! How the cluster is used, looked at every few seconds by the leader, in memory. Edge.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lake_master_core::view;
use lake_pages::Sample;
use lake_raft::Role;
use tokio::time::MissedTickBehavior;

use crate::clock::now_ms;
use crate::master::Master;

const EVERY: Duration = Duration::from_secs(10);
/// An hour of them.
const KEPT: usize = 361;

/// Samples of one reign, the oldest first.
#[derive(Default)]
pub(crate) struct Samples {
    samples: Mutex<VecDeque<Sample>>,
}

impl Samples {
    /// All that are kept.
    pub(crate) fn all(&self) -> Vec<Sample> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    fn push(&self, sample: Sample) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.push_back(sample);
        while samples.len() > KEPT {
            samples.pop_front();
        }
    }
}

/// Looks until the master stops, while it leads.
pub(crate) async fn watch(master: Arc<Master>) {
    let mut clock = tokio::time::interval(EVERY);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = master.stop.cancelled() => return,
            _ = clock.tick() => {}
        }
        if master.raft.status().role != Role::Leader {
            continue;
        }
        let reign = master.reign();
        let (live, _) = master.live().await;
        let workers = master.raft.read(|state| view::workers(state, &live));
        reign.samples.push(Sample::of(&workers, now_ms()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_kept() {
        let samples = Samples::default();
        for at_ms in 0..1_000 {
            samples.push(Sample { at_ms, ..Sample::default() });
        }
        let kept = samples.all();
        assert_eq!((kept.len(), kept[0].at_ms, kept[KEPT - 1].at_ms), (KEPT, 1_000 - KEPT as u64, 999));
    }
}
