//! Delta tables: snapshots, distributed scan and write, commits. Edge.
//!
//! Rooms: [`table`] (opening; [`Snapshot`]) and `create`, [`protocol`] (what we can read and write), [`columns`],
//! `types` and `rename` (logical, scan and file schemas, and arrays between them), [`files`] and [`stats`] (live data
//! files and which of them a predicate can touch), [`scan`] and [`write`] (plan nodes) with `wire` (their bytes),
//! [`commit`] with [`conflict`] and [`replace`] (the only way into the log), `committed` and `fence` (what became of a
//! commit), `after` (what a commit has made of a table), [`checkpoint`], `log` (entries of the log), `damage` (what is
//! wrong with them) and `dv` (deletion vectors).
//!
//! delta-rs gives snapshots, action types and the data file writer; none of its plans and none of its commit loop is
//! used. Never here: SQL planning, sources, what a step means.

mod after;
pub mod checkpoint;
pub mod columns;
pub mod commit;
mod committed;
pub mod conflict;
mod create;
mod damage;
mod dv;
mod fence;
pub mod files;
mod log;
pub mod protocol;
mod rename;
pub mod replace;
pub mod scan;
pub mod stats;
pub mod table;
mod types;
mod wire;
pub mod write;

pub(crate) use after::{Size, Stays, history, size_after};
pub use checkpoint::checkpoint_if_due;
pub use columns::Columns;
pub(crate) use commit::commit_while;
pub use commit::{CommitOutcome, CommitRequest, Mode, commit};
pub use committed::{Committed, committed};
pub use fence::{Settled, settle};
pub use files::LiveFile;
pub use replace::{Replacement, split_replace};
pub use scan::{DeltaFilesScanExec, DeltaTableProvider};
pub use table::{DeltaTable, NewTable, Snapshot};
pub use types::table_schema;
pub use write::{
    Check, CheckKind, DeltaWriteExec, ExpectationCount, WriteSpec, Written, is_actions, plan_gathered_write, plan_write,
};

#[cfg(test)]
mod tests;
