//! What our daemons tell Prometheus: every metric with its meaning, the figures behind them, and the text. Pure.
//!
//! Rooms: `declared` (what a metric is), [`process`], [`master`] and [`worker`] (every metric, one file for each kind of
//! daemon, and how its figures become text), [`spark`] (the same under Spark's names), `page` (the text format),
//! `instrument` (counters and histograms that may be moved from anywhere), `steps` (sums by job and table), [`check`] (a
//! strict reader, for tests).
//!
//! Never here: where figures come from, HTTP. A label has a bounded number of values, or it is not one.
#![warn(missing_docs)]

pub mod check;
mod declared;
mod instrument;
pub mod master;
mod moves;
mod page;
pub mod process;
pub mod spark;
mod steps;
mod tally;
pub mod worker;

pub use declared::{Kind, Metric};
pub use instrument::{ByClass, Counter, Distribution, Gauge, Histogram, Outcomes};
pub use moves::Moves;
pub use page::{CONTENT_TYPE, Page, Value};
pub use steps::{StepSums, StepTotals, Steps};
pub use tally::{Ending, Tally};

#[cfg(test)]
mod tests;
