//! The workers that tasks can be placed on. Pure.

use std::collections::BTreeMap;

use lake_proto::WorkerId;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Alive,
    Draining,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Worker {
    pub(crate) cores: u32,
    pub(crate) standing: Standing,
}

#[derive(Debug, Default)]
pub(crate) struct Fleet {
    workers: BTreeMap<WorkerId, Worker>,
}

impl Fleet {
    pub(crate) fn join(&mut self, worker: WorkerId, cores: u32, standing: Standing) {
        self.workers.entry(worker).or_insert(Worker { cores: cores.max(1), standing });
    }

    pub(crate) fn drain(&mut self, worker: &WorkerId) {
        if let Some(worker) = self.workers.get_mut(worker) {
            worker.standing = Standing::Draining;
        }
    }

    /// Whether it was known.
    pub(crate) fn lose(&mut self, worker: &WorkerId) -> bool {
        self.workers.remove(worker).is_some()
    }

    pub(crate) fn knows(&self, worker: &WorkerId) -> bool {
        self.workers.contains_key(worker)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&WorkerId, &Worker)> {
        self.workers.iter()
    }

    /// Those that take new tasks.
    pub(crate) fn placeable(&self) -> impl Iterator<Item = (&WorkerId, &Worker)> {
        self.workers.iter().filter(|(_, worker)| worker.standing == Standing::Alive)
    }
}
