//! The account that a leader keeps of the queries of applications that have not ended. Pure: time comes as an argument.
//!
//! It is told what happens and decides nothing. Only the first end of an attempt counts, but that one which was told to end
//! is done when its worker says so.

mod query;

use std::collections::BTreeMap;
use std::sync::Arc;

use lake_proto::{AppId, Fault, QueryId, WorkerId, v1};

use self::query::Entry;
use crate::query::{AttemptRecord, QueryRecord};

/// Queries of one application that are told; a job has one or two for each step.
pub const MOST_QUERIES: usize = 5_000;

/// Every query that was accepted, of every application.
#[derive(Debug, Default)]
pub struct Account {
    /// In the order in which they were accepted.
    queries: BTreeMap<AppId, Vec<Entry>>,
    homes: BTreeMap<QueryId, Home>,
}

#[derive(Debug)]
struct Home {
    app: AppId,
    position: usize,
}

/// How an attempt ended, as its worker reports it.
#[derive(Debug, Clone, Copy)]
pub enum AttemptEnd<'a> {
    /// With an output.
    Done,
    /// Without one.
    Failed(&'a Fault),
    /// It was told to end.
    Cancelled,
}

impl Account {
    /// A query was accepted: its stages are there, without attempts.
    pub fn accepted(&mut self, app: &AppId, id: &QueryId, query: QueryRecord) {
        let queries = self.queries.entry(app.clone()).or_default();
        if queries.len() < MOST_QUERIES && !self.homes.contains_key(id) {
            self.homes.insert(id.clone(), Home { app: app.clone(), position: queries.len() });
            queries.push(Entry::new(query));
        }
    }

    /// An attempt of a task of `stage` was sent to its worker. Whether it is a second one beside another is found out here.
    pub fn launched(&mut self, query: &QueryId, stage: u32, attempt: AttemptRecord) {
        if let Some(entry) = self.entry(query) {
            entry.launched(stage, attempt);
        }
    }

    /// The output of a task that another leader had launched is taken over.
    pub fn output_taken(&mut self, query: &QueryId, stage: u32, task: u32, metrics: &v1::TaskMetrics) {
        if let Some(entry) = self.entry(query) {
            entry.done(stage, task, metrics);
        }
    }

    /// A worker says what an attempt has done so far.
    pub fn runs(&mut self, query: &QueryId, attempt: u64, metrics: &v1::TaskMetrics) {
        if let Some(entry) = self.entry(query) {
            entry.runs(attempt, metrics);
        }
    }

    /// An attempt was told to end, for want of time with a fault. It counts as ended; its worker may still say when.
    pub fn told_to_end(&mut self, query: &QueryId, attempt: u64, why: Option<&Fault>, now_ms: u64) {
        if let Some(entry) = self.entry(query) {
            entry.told_to_end(attempt, why, now_ms);
        }
    }

    /// A worker says how an attempt ended. What comes from another worker than the attempt's changes nothing.
    pub fn ended(
        &mut self,
        query: &QueryId,
        attempt: u64,
        worker: &WorkerId,
        end: AttemptEnd<'_>,
        metrics: &v1::TaskMetrics,
        now_ms: u64,
    ) {
        if let Some(entry) = self.entry(query) {
            entry.ended(attempt, worker, end, metrics, now_ms);
        }
    }

    /// A worker is gone with what it ran.
    pub fn worker_lost(&mut self, worker: &WorkerId, now_ms: u64) {
        for entry in self.queries.values_mut().flatten() {
            entry.worker_lost(worker, now_ms);
        }
    }

    /// A query has its answer, or has failed.
    pub fn query_ended(&mut self, query: &QueryId, failure: Option<&Fault>, now_ms: u64) {
        if let Some(entry) = self.entry(query) {
            entry.query_ended(failure, now_ms);
        }
    }

    /// The queries of an application as they are now. Cheap: they are copied when they change while somebody holds them.
    pub fn queries(&self, app: &AppId) -> Vec<Arc<QueryRecord>> {
        self.queries.get(app).into_iter().flatten().map(Entry::record).collect()
    }

    /// Hands out the queries of an application, and forgets it.
    pub fn close(&mut self, app: &AppId) -> Vec<Arc<QueryRecord>> {
        self.homes.retain(|_, home| home.app != *app);
        self.queries.remove(app).into_iter().flatten().map(|entry| entry.record()).collect()
    }

    fn entry(&mut self, query: &QueryId) -> Option<&mut Entry> {
        let Home { app, position } = self.homes.get(query)?;
        self.queries.get_mut(app)?.get_mut(*position)
    }
}

#[cfg(test)]
mod tests;
