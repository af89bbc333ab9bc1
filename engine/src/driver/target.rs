//! Where a step writes and what its rows must fulfil, as a run and a dry run plan it. Pure.

use std::sync::Arc;

use arrow::datatypes::Schema;
use chrono::{DateTime, Utc};
use datafusion::prelude::SessionContext;
use lake_job::{Table, WriteMode};
use url::Url;

use super::expectations;
use crate::delta::replace::parse_predicate;
use crate::delta::{Check, NewTable, Snapshot, WriteSpec};
use crate::{EngineError, Result, session};

/// A table that is there, or what it will be made of.
pub(super) enum Target {
    Exists(Snapshot),
    New(NewTable),
}

/// The target of a step with everything that is known of it before a row is.
pub(super) struct Destination {
    pub(super) target: Target,
    /// Without checks.
    pub(super) spec: WriteSpec,
    pub(super) checks: Vec<Check>,
}

/// Plans the writing of rows with these columns into `table`, which is `found` or not there yet. `session` is the one
/// that the step's query is planned in, and `moment` what `now()` gives there.
///
/// # Errors
/// `invalid-job`: columns, properties or partitioning that the table cannot have, a condition of an expectation or of
/// `replace_where` that does not fit its columns, with its place in job.toml.
pub(super) fn plan(
    table: &Table,
    location: &Url,
    found: Option<Snapshot>,
    columns: &Schema,
    session: &SessionContext,
    moment: DateTime<Utc>,
) -> Result<Destination> {
    let target = match found {
        Some(snapshot) => {
            check_partitioning(table, &snapshot)?;
            Target::Exists(snapshot)
        }
        None => Target::New(NewTable {
            name: table.name.to_string(),
            schema: Arc::new(columns.clone()),
            partition_by: table.partition_by.clone(),
            properties: table.properties.clone(),
        }),
    };
    let (spec, constraints) = match &target {
        Target::Exists(snapshot) => (WriteSpec::new(snapshot, table.target_file_size_bytes)?, snapshot.constraints()),
        Target::New(new) => (WriteSpec::create(location, new, table.target_file_size_bytes)?, new.constraints()),
    };
    let checks = expectations::checks(table, session, &spec, constraints)?;
    if let (WriteMode::ReplaceWhere { predicate, origin }, Target::Exists(snapshot)) = (&table.mode, &target) {
        let parsed = parse_predicate(&session::state_at(session, moment), snapshot, predicate);
        parsed.map_err(|error| expectations::at(origin.as_ref(), error))?;
    }
    Ok(Destination { target, spec, checks })
}

fn check_partitioning(table: &Table, target: &Snapshot) -> Result<()> {
    if table.partition_by.is_empty() || table.partition_by == target.partition_columns() {
        return Ok(());
    }
    let (wanted, found) = (table.partition_by.join(", "), target.partition_columns().join(", "));
    Err(EngineError::invalid(
        "partition-mismatch",
        format!(
            "partition_by is [{wanted}] but the table is partitioned by [{found}]: a table keeps what it was created with"
        ),
    ))
}
