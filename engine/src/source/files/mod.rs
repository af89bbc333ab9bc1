//! Files as sources: csv, json, parquet and avro under a URL, read as work lists. Edge.
//!
//! [`provider`] lists and learns the schema, [`FilesProvider`] plans pieces, [`FilesScanExec`] reads them in tasks.
//! Rooms: `listing` and `glob` (which files), `infer` (samples, unions), `pieces` (how work is cut), `input` (bytes,
//! fetched ahead), `lines` (bytes to batches), `values` and `columns` (text to types), `text` (what a faulty row
//! becomes), one per format, `exec` and `wire` (the node and its bytes).
//! Never here: databases, Delta tables, writing.

mod avro;
mod columns;
mod csv;
mod exec;
mod glob;
mod infer;
mod input;
mod json;
mod lines;
mod listing;
mod parquet;
mod pieces;
mod provider;
mod schema;
mod text;
mod values;
mod wire;

#[cfg(test)]
mod tests;

pub use exec::FilesScanExec;
pub use provider::{FilesProvider, provider};
