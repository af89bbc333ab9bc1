//! The end of a seed: the faults stop, and everything that was acknowledged must be there.

use std::collections::BTreeSet;

use tokio::sync::oneshot;

use super::{Count, Waiting, World, submission};

const PATIENCE_TICKS: u32 = 2_000;

impl World {
    /// The faults stop: the group must come to a leader and to equal states that have everything acknowledged.
    pub(in super::super) fn heal_and_check(mut self) -> Count {
        self.cut.clear();
        for id in self.ids(false) {
            self.start(id);
        }
        let mut done = None;
        for tick in 0..PATIENCE_TICKS {
            self.now_ms += 10;
            for id in self.ids(true) {
                // No two clocks go alike: members of equal patience that tick together would split the votes for ever.
                if !self.random.one_in(4) {
                    self.node(id).tick();
                    self.settle(id);
                }
            }
            while !self.network.is_empty() {
                let message = self.network.remove(0);
                self.deliver(message);
            }
            self.collect();
            let Some(leader) = self.leader() else { continue };
            match done {
                None => {
                    let (reply, answer) = oneshot::channel();
                    let at_ms = self.now_ms;
                    self.node(leader).propose(at_ms, &submission("last", 1), reply).unwrap();
                    self.waiting.push(Waiting::Submission("last".to_owned(), answer));
                    self.settle(leader);
                    done = self.acknowledged.contains_key("last").then_some(tick);
                }
                Some(_) if self.is_level() => break,
                Some(_) => {}
            }
        }
        assert!(self.acknowledged.contains_key("last"), "the group did not come back within {PATIENCE_TICKS} ticks");
        assert!(self.is_level(), "the members did not become equal within {PATIENCE_TICKS} ticks");
        for id in self.members() {
            let state = self.hosts[&id].state.read().unwrap();
            for (name, app) in &self.acknowledged {
                let found = state.find(name).unwrap_or_else(|| panic!("member {id} has lost {name}"));
                assert_eq!(found.id, *app, "member {id} has another application for {name}");
            }
        }
        self.count
    }

    /// The members as the leader has them.
    fn members(&mut self) -> Vec<u64> {
        let Some(leader) = self.leader() else { return Vec::new() };
        self.node(leader).members().iter().map(|member| member.id).collect()
    }

    fn is_level(&mut self) -> bool {
        let members = self.members();
        let mut applied = BTreeSet::new();
        for id in &members {
            match &self.hosts[id].node {
                Some(node) => drop(applied.insert(node.status().applied)),
                None => return false,
            }
        }
        applied.len() == 1
    }
}
