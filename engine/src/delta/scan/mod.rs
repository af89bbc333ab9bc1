//! Reading a table: [`DeltaTableProvider`] plans, [`DeltaFilesScanExec`] reads. Edge.
//!
//! `layout` is what all pieces of a scan share and how SQL's columns become a file's; `pieces` is which files are read
//! and how they are cut; `reader` opens pieces in the task that got them, through `readers`, which keep the class of
//! what went wrong; `ids` finds columns by field id.

mod exec;
mod ids;
mod layout;
mod pieces;
mod provider;
mod reader;
mod readers;

pub use exec::DeltaFilesScanExec;
pub use provider::DeltaTableProvider;
