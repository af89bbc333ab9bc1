//! Whether a commit still stands after others got in before it. Pure.
//!
//! Everything is keyed by path and deletion vector, and a remove counts whether or not it says `dataChange`: a
//! compaction that took a file away leaves nothing for our remove to hit, so both together would keep its rows.

use std::collections::BTreeSet;
use std::fmt;

use super::files::FileKey;

/// What our commit read and takes away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Intent {
    /// Files it removes.
    pub removes: BTreeSet<FileKey>,
    /// Whether it depends on no row of the table: then nothing but a change of the table itself can be in its way.
    pub is_blind: bool,
    /// Transaction application id.
    pub app_id: Option<String>,
}

/// What a commit did that got in before ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Winner {
    /// Its version.
    pub version: i64,
    /// Whether a file it added may hold rows that our commit had to see: matches its predicate, or any file for a
    /// commit that read the whole table.
    pub adds_what_we_read: bool,
    /// Files it removed.
    pub removes: BTreeSet<FileKey>,
    /// Whether it changed schema, partitioning or properties.
    pub changes_metadata: bool,
    /// Whether it changed the protocol.
    pub changes_protocol: bool,
    /// Transaction application ids.
    pub app_ids: BTreeSet<String>,
}

/// Why our commit does not stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// The table's protocol changed.
    Protocol,
    /// The table's schema, partitioning or properties changed.
    Metadata,
    /// Another run of the same application committed.
    Transaction,
    /// A file we remove is gone already.
    Removed,
    /// Rows were added that our commit should have replaced.
    Added,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Protocol => "its protocol was changed",
            Self::Metadata => "its schema or properties were changed",
            Self::Transaction => "another run of the same job wrote it",
            Self::Removed => "files that this step replaces were removed or rewritten",
            Self::Added => "rows were added that this step should have replaced",
        })
    }
}

/// Whether `ours` can come after `winner` as if it had been planned after it.
///
/// # Errors
/// The first reason why it cannot.
pub fn check(ours: &Intent, winner: &Winner) -> Result<(), Conflict> {
    if winner.changes_protocol {
        return Err(Conflict::Protocol);
    }
    if winner.changes_metadata {
        return Err(Conflict::Metadata);
    }
    if ours.app_id.as_ref().is_some_and(|id| winner.app_ids.contains(id)) {
        return Err(Conflict::Transaction);
    }
    if !ours.removes.is_disjoint(&winner.removes) {
        return Err(Conflict::Removed);
    }
    if !ours.is_blind && winner.adds_what_we_read {
        return Err(Conflict::Added);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
