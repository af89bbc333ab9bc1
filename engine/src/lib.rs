//! The engine: sources and Delta tables as plans that can be cut into tasks, and the driver that runs a pipeline. Edge.
//!
//! Rooms: [`stores`] and [`session`] (how plans reach files and memory), `plain_text` (what windows read),
//! `text_decimal` (text to decimals), `moment` (what `now()` gives), [`repeatable`] (whether a stage gives the same
//! rows again), [`worklist`] (the only leaf our scans stand on), [`source`] and [`delta`] (what is read and written),
//! [`codec`] (plan nodes to bytes and back), [`runner`] (where a plan runs: this process or the cluster), [`driver`]
//! (steps in order, commits, results), [`error`] (classes that survive what others wrap them in, and messages in our
//! words), [`malformed`] (how records that do not parse are counted), [`flow`] (rows, bytes and time of nodes that read and
//! write stores), `sql_type` (types in messages).
//! Never here: HTTP, raft.

pub mod codec;
pub mod delta;
pub mod driver;
pub mod error;
pub mod flow;
pub mod malformed;
mod moment;
mod plain_text;
pub mod repeatable;
pub mod runner;
pub mod session;
pub mod source;
mod sql_type;
pub mod stores;
mod text_decimal;
pub mod worklist;

pub use error::{EngineError, Result};
