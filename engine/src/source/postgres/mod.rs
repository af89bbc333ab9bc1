//! PostgreSQL tables and queries as sources. Edge.
//!
//! [`provider`] runs on the driver: it opens a read-only transaction, exports its snapshot, reads what the relation
//! looks like and where its key can be cut. [`PostgresScanExec`] runs in tasks: each joins the snapshot and reads its
//! pieces by binary COPY straight into Arrow buffers. So all tasks see one state of the database, however long the
//! step takes and whatever is written meanwhile; the snapshot lives as long as the provider or a plan made from it.
//!
//! Rooms: `connect`, `snapshot`, `describe`, `bounds`, `scan` (edge: they talk to the server); `types`, `ranges`,
//! `filter`, `decode`, `errors`, `sql` (pure). Never here: writing to a database.

mod bounds;
mod connect;
mod decode;
mod describe;
mod errors;
mod filter;
mod ranges;
mod scan;
mod snapshot;
mod sql;
mod types;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session as PlanningSession, TableProvider};
use datafusion::error::Result as PlanResult;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use lake_job::PostgresSource;

pub use self::scan::PostgresScanExec;

pub(crate) use self::connect::Place;
use self::connect::Session;
use self::describe::Described;
use self::ranges::{Key, Piece};
use self::scan::ScanSpec;
use self::snapshot::Snapshot;
use self::types::Column;
use crate::stores::Stores;
use crate::{EngineError, Result};

/// A relation under one exported snapshot. Keeps the snapshot's connection open; so does every plan made from it.
#[derive(Debug)]
pub struct PostgresProvider {
    source: String,
    connection: String,
    from: String,
    columns: Vec<Column>,
    schema: SchemaRef,
    pieces: Vec<Piece>,
    is_stored: bool,
    rows: u64,
    bytes: u64,
    snapshot: Arc<Snapshot>,
}

/// Where the database of a connection is, without going there.
///
/// # Errors
/// As the connection's: it is not declared, its secret does not resolve, or its URL is not one.
pub(crate) fn place(stores: &Stores, connection: &str) -> Result<Place> {
    connect::place(&stores.connection(connection)?, connection)
}

/// Connects to the source's database, exports a snapshot and describes the relation under it. A repeat makes another
/// snapshot.
///
/// # Errors
/// All begin with the source's name. `denied` for a refused log-in or a relation that may not be read; `unavailable`
/// when the server cannot be reached; `not-found` for a missing database, table, or column; `invalid-job` for a query
/// that does not plan, a column type without counterpart, a key that rows cannot be divided by, or a URL that wants
/// TLS.
pub async fn provider(stores: Arc<Stores>, source_name: &str, spec: &PostgresSource) -> Result<PostgresProvider> {
    Box::pin(open(&stores, source_name, spec)).await.map_err(|error| error.within(format!("source '{source_name}'")))
}

async fn open(stores: &Stores, source_name: &str, spec: &PostgresSource) -> Result<PostgresProvider> {
    let connection = stores.connection(&spec.connection)?;
    let session = Session::open(&connection, &spec.connection).await?;
    let snapshot = Snapshot::export(&session).await?;
    let relation = describe::describe(&session, &spec.relation).await?;
    let pieces = match &spec.partition_by {
        Some(column) => {
            let key = key(&relation, column)?;
            bounds::key_pieces(&session, &relation, &key, spec.partitions).await?
        }
        None => bounds::pages(&session, &relation, spec.partitions),
    };
    tracing::debug!(source = source_name, %snapshot, pieces = pieces.len(), rows = relation.rows, "source described");
    Ok(PostgresProvider {
        source: source_name.to_owned(),
        connection: spec.connection.clone(),
        schema: types::schema(&relation.columns),
        from: relation.from,
        columns: relation.columns,
        pieces,
        is_stored: relation.table.is_some_and(|table| table.is_heap),
        rows: relation.rows,
        bytes: relation.bytes,
        snapshot: Snapshot::hold(session, snapshot),
    })
}

/// The column that rows are divided by.
fn key(relation: &Described, column: &str) -> Result<Key> {
    let found = relation.columns.iter().zip(&relation.types).find(|(candidate, _)| candidate.name == column);
    let Some((_, found)) = found else {
        let names: Vec<&str> = relation.columns.iter().map(|column| column.name.as_str()).collect();
        return Err(EngineError::not_found(
            "source-column",
            format!("partition_by names column '{column}', and the columns are {}", names.join(", ")),
        ));
    };
    Key::new(column, found).ok_or_else(|| {
        EngineError::invalid(
            "source-key",
            format!(
                "partition_by column '{column}' has type {found}: rows are divided by integer, numeric, date, \
                 timestamp, uuid or text columns; name one, or leave partition_by out to divide a table by its pages"
            ),
        )
    })
}

impl PostgresProvider {
    /// What exactly it reads: a relation under a snapshot. No two snapshots of a server have the same name.
    pub fn pinned(&self) -> String {
        format!("postgres {} {} snapshot {}", self.connection, self.from, self.snapshot.id())
    }
}

#[cfg(test)]
impl PostgresProvider {
    /// Rows as the server's planner estimates them.
    fn estimated_rows(&self) -> u64 {
        self.rows
    }

    /// Pieces that can be read at once.
    fn pieces(&self) -> usize {
        self.pieces.len()
    }
}

#[async_trait]
impl TableProvider for PostgresProvider {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn PlanningSession,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> PlanResult<Arc<dyn ExecutionPlan>> {
        self.snapshot.check().map_err(|error| error.within(format!("source '{}'", self.source)))?;
        let columns: Vec<Column> = match projection {
            Some(indexes) => indexes.iter().filter_map(|index| self.columns.get(*index)).cloned().collect(),
            None => self.columns.clone(),
        };
        let conditions: Vec<String> =
            filters.iter().filter_map(|condition| filter::translate(condition, &self.columns)).collect();
        // The estimate holds for all columns; a projection reads its share of them.
        let share = |bytes: u64| bytes * (columns.len() as u64).max(1) / (self.columns.len() as u64).max(1);
        let spec = ScanSpec {
            source: self.source.clone(),
            connection: self.connection.clone(),
            snapshot: self.snapshot.id().to_owned(),
            from: self.from.clone(),
            filter: (!conditions.is_empty()).then(|| conditions.join(" AND ")),
            limit: limit.and_then(|limit| u64::try_from(limit).ok()),
            is_stored: self.is_stored,
            rows: self.rows,
            bytes: share(self.bytes),
            columns,
        };
        let scan = PostgresScanExec::new(spec, &self.pieces, Arc::clone(&self.snapshot))?;
        Ok(Arc::new(scan))
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> PlanResult<Vec<TableProviderFilterPushDown>> {
        let support = filters.iter().map(|condition| match filter::translate(condition, &self.columns) {
            Some(_) => TableProviderFilterPushDown::Inexact,
            None => TableProviderFilterPushDown::Unsupported,
        });
        Ok(support.collect())
    }
}

#[cfg(test)]
mod tests;
