//! What can be seen of the scheduler: cores by its handles, everything by the pages. Edge.

use tokio::time::Instant;

use super::Owner;
use crate::choice::Cluster;
use crate::overview::{Overview, QueryOverview, WorkerOverview};

impl Owner {
    /// Lets handles see the cores, and takes note since when there are none.
    pub(super) fn publish(&mut self) {
        let mut cluster = Cluster::default();
        for worker in self.machine.workers().filter(|worker| !worker.is_draining) {
            cluster.total = cluster.total.saturating_add(worker.cores);
            cluster.largest = cluster.largest.max(worker.cores);
        }
        let is_unmanned = cluster.total == 0;
        self.unmanned_since = is_unmanned.then(|| self.unmanned_since.unwrap_or_else(Instant::now));
        self.cluster.send_if_modified(|published| {
            let is_news = *published != cluster;
            *published = cluster;
            is_news
        });
    }

    pub(super) fn overview(&self) -> Overview {
        let workers = self.machine.workers().map(|view| WorkerOverview {
            host: self.links.get(&view.worker).map(|link| link.worker.host.clone()).unwrap_or_default(),
            worker: view.worker,
            cores: view.cores,
            used: view.used,
            is_draining: view.is_draining,
        });
        let queries = self.machine.queries().filter_map(|view| {
            let entry = self.entries.get(&view.query)?;
            let stages = entry.progress.stages(&view.stages);
            Some(QueryOverview { query: view.query, app: view.app, label: entry.label.clone(), stages })
        });
        Overview { workers: workers.collect(), queries: queries.collect() }
    }
}
