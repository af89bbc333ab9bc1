//! The last driver of an application that ended while an attempt of it may have been committing: it runs no step, it
//! finds out what became of them. Edge.

use std::sync::Arc;
use std::time::Instant;

use lake_job::{Pipeline, Table};
use lake_proto::ErrorClass;
use lake_proto::v1::StepRecord;

use super::run::{Commits, Identity, transaction};
use super::{inputs, record};
use crate::delta::{DeltaTable, Settled, settle};
use crate::stores::Stores;
use crate::{EngineError, Result};

/// Settles and records the steps of `tables`, each whether or not the others can be settled.
///
/// # Errors
/// The first failure: `not-found` when a table is gone, else the store's class.
pub(super) async fn execute(
    pipeline: &Pipeline,
    identity: &Identity,
    stores: &Arc<Stores>,
    commits: &dyn Commits,
    tables: &[String],
) -> Result<()> {
    let mut failure = None;
    for name in tables {
        let table = pipeline.tables.iter().find(|table| table.name.to_string() == *name);
        let settled = match table {
            Some(table) => step(pipeline, table, identity, stores).await,
            None => Err(EngineError::internal(format!("no step writes {name}"))),
        };
        let recorded = match settled {
            Ok(record) => {
                tracing::info!(table = name, outcome = record.outcome, version = record.version, "settled");
                commits.record(record).await
            }
            Err(error) => Err(error.within(format!("settling table {name}"))),
        };
        if let Err(error) = recorded {
            failure.get_or_insert(error);
        }
    }
    failure.map_or(Ok(()), Err)
}

async fn step(pipeline: &Pipeline, table: &Table, identity: &Identity, stores: &Arc<Stores>) -> Result<StepRecord> {
    let started = Instant::now();
    let location = inputs::location(&table.location)?;
    let Some(snapshot) = DeltaTable::open(stores, &location).await? else {
        // It was there when the commit was permitted.
        let message = format!("there is no Delta table at {location} any more");
        return Err(EngineError::new(ErrorClass::NotFound, "table", message));
    };
    let transaction = transaction(pipeline, table, identity.run_number);
    let settled = settle(stores, &snapshot, transaction, &identity.run_id).await?;
    let mut record =
        StepRecord { table: table.name.to_string(), elapsed_ms: record::elapsed_ms(started), ..StepRecord::default() };
    match settled {
        Settled::Committed(committed) => {
            record = record::with(record, &committed);
            record.outcome = "COMMITTED".to_owned();
        }
        Settled::Fenced { version } => {
            record.outcome = "FENCED".to_owned();
            record.version = version;
        }
    }
    Ok(record)
}
