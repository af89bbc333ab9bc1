//! What `/api/v1` and the REST port answer, as functions of records and of the masters' state. Pure.
//!
//! Where Spark has the thing its shape is Spark's: the names of its monitoring API, in camel case, with its dates; what is
//! ours in such an object is in camel case too. The rest has our names, in snake case. Fields are added, never removed.
//!
//! Rooms: `application`, `filter` (lists and details), `numbering` (queries and stages under Spark's numbers), `job`,
//! `stage`, `task`, `summary`, `executor`, `environment` (Spark's), `cluster`, `step`, `table`, `lineage` (ours), `record`
//! (as history files have it), `logs` and `zip`, `submission` (Spark's protocol of submissions), `csrf` (the token of a
//! form), `parameter`, `openapi`, `failure`, `date`.
//!
//! Never here: HTTP, where the records come from, what may be asked by whom.
#![warn(missing_docs)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

pub mod application;
pub mod cluster;
pub mod csrf;
pub mod date;
pub mod environment;
pub mod executor;
pub mod failure;
pub mod filter;
pub mod job;
pub mod lineage;
pub mod logs;
mod numbering;
pub mod openapi;
pub mod parameter;
pub mod record;
pub mod stage;
pub mod step;
pub mod submission;
pub mod summary;
pub mod table;
pub mod task;
mod zip;

#[cfg(test)]
mod example;

/// The release of Spark whose shapes and protocol these are.
pub const SPARK_VERSION: &str = "4.0.0";

/// A part of a list, and how long the whole list is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part<T> {
    /// What was asked for.
    pub items: Vec<T>,
    /// How many there are.
    pub total: usize,
}

impl<T> Part<T> {
    /// The part of `all` from `page.offset` on, at most `page.limit` of it.
    pub fn of(all: impl IntoIterator<Item = T>, page: parameter::Page) -> Self {
        let mut total = 0;
        let mut items = Vec::new();
        for item in all {
            if total >= page.offset && items.len() < page.limit {
                items.push(item);
            }
            total += 1;
        }
        Self { items, total }
    }

    /// The same part of other things.
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Part<U> {
        Part { items: self.items.into_iter().map(change).collect(), total: self.total }
    }
}

/// A count for the wire.
fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
