//! Log entries and snapshots as bytes. Pure.
//!
//! JSON with a format number: readable in a damaged log, and additive by construction. The bytes of old versions are
//! test data below and must decode for ever.

use serde::{Deserialize, Serialize};

use crate::command::{Command, Stamped};
use crate::state::State;

const FORMAT: u32 = 1;

/// Bytes that this version cannot read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not JSON of the expected shape.
    #[error("{what} cannot be decoded: {source}; it is damaged or of a newer version of lake-master")]
    Shape {
        /// Entry or snapshot.
        what: &'static str,
        /// What the decoder found.
        source: serde_json::Error,
    },
    /// Of a newer version.
    #[error("{what} has format {found}, this version reads up to {FORMAT}; start the newer version of lake-master")]
    Format {
        /// Entry or snapshot.
        what: &'static str,
        /// The format in the bytes.
        found: u32,
    },
}

#[derive(Serialize, Deserialize)]
struct Entry<C> {
    format: u32,
    at_ms: u64,
    command: C,
}

#[derive(Serialize, Deserialize)]
struct Snapshot<S> {
    format: u32,
    state: S,
}

/// Bytes of a log entry; its index is not part of them.
///
/// # Errors
/// Never with the types of today.
pub fn encode_entry(at_ms: u64, command: &Command) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(&Entry { format: FORMAT, at_ms, command })
        .map_err(|source| Error::Shape { what: "log entry", source })
}

/// The command in a log entry's bytes.
///
/// # Errors
/// [`Error`] when the bytes are damaged or newer; the replica must stop.
pub fn decode_entry(index: u64, bytes: &[u8]) -> Result<Stamped, Error> {
    let what = "log entry";
    let entry: Entry<Command> = serde_json::from_slice(bytes).map_err(|source| Error::Shape { what, source })?;
    check(what, entry.format)?;
    Ok(Stamped { at_ms: entry.at_ms, index, command: entry.command })
}

/// Bytes of a snapshot.
///
/// # Errors
/// Never with the types of today.
pub fn encode_state(state: &State) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(&Snapshot { format: FORMAT, state }).map_err(|source| Error::Shape { what: "snapshot", source })
}

/// The state in a snapshot's bytes.
///
/// # Errors
/// [`Error`] when the bytes are damaged or newer; the replica must stop.
pub fn decode_state(bytes: &[u8]) -> Result<State, Error> {
    let what = "snapshot";
    let snapshot: Snapshot<State> = serde_json::from_slice(bytes).map_err(|source| Error::Shape { what, source })?;
    check(what, snapshot.format)?;
    Ok(snapshot.state.reindexed())
}

fn check(what: &'static str, found: u32) -> Result<(), Error> {
    if found > FORMAT { Err(Error::Format { what, found }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
