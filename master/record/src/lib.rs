//! What is told of an application: the one model that pages, API, metrics and history files share. Pure.
//!
//! Rooms: `application` (one submission and its driver's attempts), `step` (one table of the pipeline), `table` (what a
//! Delta table was after a step), `query` (stages, operators and task attempts of one physical plan), `quantile` (many
//! attempts in five numbers), `file` (the bytes of a history file); how records come about: [`account`] (what a scheduler
//! is told of queries), `steps` (steps from three sides), `wire` (what workers and drivers report); [`history`] (what is
//! known of many files), [`story`] (what steps of many applications tell of one table).
//!
//! Never here: how anything looks, where records are kept, and what the masters replicate. Every type decodes from what an
//! older release wrote: fields are added with a default, never renamed.
//!
//! Instants are milliseconds since 1970 in UTC, and 0 is "not yet"; durations are milliseconds; sizes are bytes.

pub mod account;
mod application;
pub mod file;
pub mod history;
mod quantile;
mod query;
mod step;
mod steps;
pub mod story;
mod table;
mod wire;

/// What was submitted, as records have it.
pub use lake_job::Pipeline;

pub use application::{ApplicationRecord, ApplicationSummary, DriverAttempt, Origin};
pub use quantile::{Distribution, at_quantile, distribution};
pub use query::{
    AttemptRecord, AttemptState, AttemptTotals, OperatorMetrics, OperatorRecord, QueryRecord, QueryState, StageRecord,
};
pub use step::{ExpectationRecord, ReadKind, ReadRecord, StepRecord};
pub use steps::StepSources;
pub use table::{ColumnRecord, SIZE_BUCKETS, TableRecord, size_bucket};
