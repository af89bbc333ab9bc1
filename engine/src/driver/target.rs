//! Where a step writes and what its rows must fulfil, as a run and a dry run plan it. Pure.

use std::sync::Arc;

use arrow::datatypes::Schema;
use chrono::{DateTime, Utc};
use datafusion::prelude::SessionContext;
use lake_job::{Table, TableInput, Unnamed, WriteMode, unnamed_columns};
use lake_proto::quantity::counted;
use url::Url;

use super::{expectations, inputs};
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
/// `invalid-job`: columns, names of columns, properties or partitioning that the table cannot have, a condition of an
/// expectation or of `replace_where` that does not fit its columns, with its place in job.toml.
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
        None => {
            check_names(table, columns)?;
            Target::New(NewTable {
                name: table.name.to_string(),
                schema: Arc::new(columns.clone()),
                partition_by: table.partition_by.clone(),
                properties: table.properties.clone(),
            })
        }
    };
    let (spec, constraints) = match &target {
        Target::Exists(snapshot) => (WriteSpec::new(snapshot, table.target_file_size_bytes)?, snapshot.constraints()),
        Target::New(new) => (WriteSpec::create(location, new, table.target_file_size_bytes)?, new.constraints()),
    };
    let checks = expectations::checks(table, session, &spec, constraints)?;
    if let (WriteMode::ReplaceWhere { predicate, .. }, Target::Exists(snapshot)) = (&table.mode, &target) {
        let parsed = parse_predicate(&session::state_at(session, moment), snapshot, predicate);
        parsed.map_err(|error| expectations::in_replace_where(table, error))?;
    }
    Ok(Destination { target, spec, checks })
}

/// A table keeps its columns, so a name that comes from how an expression happens to be written would stay with it.
fn check_names(table: &Table, columns: &Schema) -> Result<()> {
    let TableInput::Sql { text, .. } = &table.input else { return Ok(()) };
    // A field of a column looks like a column of a table; but it is not one.
    let is_nameless = |found: &Unnamed| match &found.column {
        Some(column) => columns.field_with_name(column).is_err(),
        None => true,
    };
    let nameless: Vec<Unnamed> = unnamed_columns(text).into_iter().filter(is_nameless).collect();
    let Some(first) = nameless.first() else { return Ok(()) };
    let aliased: Vec<String> = nameless.iter().map(|found| format!("{} AS …", found.expression)).collect();
    let message = match aliased.as_slice() {
        [one] => format!("a column of table {} would have no name of its own; give it a name: {one}", table.name),
        several => format!(
            "{} of table {} would have no names of their own; give each a name: {}",
            counted(several.len(), "column"),
            table.name,
            several.join(", ")
        ),
    };
    let line = u32::try_from(first.line).ok().filter(|line| *line > 0);
    let position = line.zip(u32::try_from(first.position).ok());
    Err(inputs::in_sql(table, position, EngineError::invalid("delta-column", message)))
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
