//! What a step's SQL can name: its sources and tables, registered in the step's session. Edge.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use chrono::{DateTime, Utc};
use datafusion::catalog::{MemorySchemaProvider, TableProvider};
use datafusion::common::{ScalarValue, TableReference};
use datafusion::datasource::empty::EmptyTable;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::lit;
use datafusion::prelude::{DataFrame, SQLOptions, SessionContext};
use lake_job::{Pipeline, Read, Relation, SourceInput, Table, TableInput, TableName};
use lake_proto::ErrorClass;
use lake_proto::v1::StepRead;
use sha2::{Digest, Sha256};
use url::Url;

use super::target::{self, Destination};
use crate::delta::{DeltaTable, DeltaTableProvider, Snapshot, table_schema};
use crate::source::{files, postgres};
use crate::stores::{Profiles, Stores};
use crate::{EngineError, Result};

/// Columns of tables that do not exist yet, because an earlier step of the same job would create them.
pub(super) type Planned = BTreeMap<TableName, SchemaRef>;

/// What a step reads, exactly: for each name the version of a table, the listing of a source's files, or the snapshot of
/// a database.
#[derive(Debug, Default)]
pub(super) struct Pinned {
    what: BTreeMap<String, String>,
    /// The same for people, in the order of job.toml.
    told: Vec<Told>,
}

/// One thing that is read, for people.
#[derive(Debug)]
struct Told {
    read: StepRead,
    table: Option<Snapshot>,
}

impl Pinned {
    /// What is read, as far as it is known now: the files of a table are counted when it is planned.
    pub(super) fn reads(&self) -> Vec<StepRead> {
        let told = self.told.iter().map(|Told { read, table }| match table.as_ref().and_then(Snapshot::known_size) {
            Some((files, bytes)) => StepRead { files: Some(files), bytes: Some(bytes), ..read.clone() },
            None => read.clone(),
        });
        told.collect()
    }

    /// SHA-256 over all of it, each part with its length, in hexadecimal: equal only for equal inputs.
    pub(super) fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for part in self.what.iter().flat_map(|(name, what)| [name, what]) {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part.as_bytes());
        }
        hash.finalize().iter().fold(String::new(), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// What a job says about stores and databases.
pub(super) fn profiles(pipeline: &Pipeline) -> Profiles {
    Profiles { storage: pipeline.storage.clone(), connections: pipeline.connections.clone() }
}

/// A table's location as a URL.
pub(super) fn location(text: &str) -> Result<Url> {
    Url::parse(text).map_err(|error| EngineError::invalid("url", format!("'{text}' is not a URL: {error}")))
}

/// Registers everything `table` reads, tables at their newest version, and says what that is. `planned` stands in for
/// tables that do not exist yet.
pub(super) async fn register(
    pipeline: &Pipeline,
    table: &Table,
    stores: &Arc<Stores>,
    session: &SessionContext,
    planned: &Planned,
) -> Result<Pinned> {
    let mut pinned = Pinned::default();
    for read in &table.reads {
        let (reference, Input { provider, what, told }) = match read {
            Read::Source(name) => (TableReference::bare(name.to_lowercase()), source(pipeline, name, stores).await?),
            Read::Table(name) => {
                let step = pipeline.tables.iter().find(|step| step.name == *name);
                let step = step.ok_or_else(|| EngineError::internal(format!("no step writes {name}")))?;
                (reference(name), delta(name, &step.location, stores, planned).await?)
            }
            Read::External(name) => {
                let location = pipeline.external_location(name);
                (reference(name), delta(name, &location, stores, planned).await?)
            }
        };
        add_schema(session, &reference)?;
        pinned.what.insert(reference.to_string(), what);
        pinned.told.push(told);
        session.register_table(reference, provider)?;
    }
    Ok(pinned)
}

/// The step's query over what [`register`] registered.
///
/// # Errors
/// `invalid-job` when the SQL does not plan, with its place.
pub(super) async fn query(table: &Table, session: &SessionContext) -> Result<DataFrame> {
    match &table.input {
        TableInput::From(name) => Ok(session.table(by_name(name)).await?),
        TableInput::Sql { text, .. } => {
            let only_reads = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
            session.sql_with_options(text, only_reads).await.map_err(|error| {
                let position = sql_position(&error);
                in_sql(table, position, error.into())
            })
        }
    }
}

/// The error with the place of the step's query, when it is about the query.
pub(super) fn in_query(table: &Table, error: EngineError) -> EngineError {
    if error.class() == ErrorClass::InvalidJob { in_sql(table, None, error) } else { error }
}

/// The error with its place: `position` is the line and column in the step's SQL, which begins somewhere in a file.
pub(super) fn in_sql(table: &Table, position: Option<(u32, u32)>, error: EngineError) -> EngineError {
    let TableInput::Sql { origin, column: begin, .. } = &table.input else { return error };
    match position {
        None => error.within(origin),
        Some((line, column)) => {
            let column = if line > 1 { column } else { column.saturating_add(begin.saturating_sub(1)) };
            let line = origin.line.saturating_add(line.saturating_sub(1));
            error.within(format!("{}:{line}:{column}", origin.file))
        }
    }
}

/// A step as it is planned without running it.
pub(super) struct PlannedStep {
    /// Its query.
    pub(super) frame: DataFrame,
    /// The columns its rows have in the table, if the step creates it.
    pub(super) columns: SchemaRef,
    /// Where they would go.
    pub(super) destination: Destination,
}

/// Plans a step without running it: its query, its target, expectations and `replace_where`, so that a mistake in any
/// step is found before the first one writes.
///
/// # Errors
/// What the step would fail with before its first task.
pub(super) async fn plan(
    pipeline: &Pipeline,
    table: &Table,
    stores: &Arc<Stores>,
    session: &SessionContext,
    planned: &Planned,
) -> Result<PlannedStep> {
    // Whether something plans does not depend on the time.
    let moment = DateTime::UNIX_EPOCH;
    register(pipeline, table, stores, session, planned).await?;
    let frame = with_audit(query(table, session).await?, table, moment, "")?;
    let columns = table_schema(frame.schema().as_arrow())?;
    let at = location(&table.location)?;
    let found = DeltaTable::open(stores, &at).await?;
    let destination = target::plan(table, &at, found, frame.schema().as_arrow(), session, moment)?;
    Ok(PlannedStep { frame, columns, destination })
}

/// `_ingested_at` (the run's moment, the same for every row and every attempt of a step), `_source` and `_run_id`.
pub(super) fn with_audit(frame: DataFrame, table: &Table, moment: DateTime<Utc>, run_id: &str) -> Result<DataFrame> {
    if !table.audit {
        return Ok(frame);
    }
    let ingested = ScalarValue::TimestampMicrosecond(Some(moment.timestamp_micros()), Some("UTC".into()));
    let frame = frame.with_column("_ingested_at", lit(ingested))?;
    let frame = frame.with_column("_source", lit(source_names(table)))?;
    Ok(frame.with_column("_run_id", lit(run_id))?)
}

/// Line and column inside the SQL text, where DataFusion knows them.
fn sql_position(error: &DataFusionError) -> Option<(u32, u32)> {
    if let DataFusionError::SQL(error, _) = error.find_root() {
        return parser_position(&error.to_string());
    }
    let start = error.diagnostic()?.span?.start;
    let position = (u32::try_from(start.line).ok()?, u32::try_from(start.column).ok()?);
    (position.0 > 0).then_some(position)
}

/// The parser tells the place of an error in its text only, in one fixed form.
fn parser_position(text: &str) -> Option<(u32, u32)> {
    let (_, place) = text.rsplit_once(" at Line: ")?;
    let (line, column) = place.split_once(", Column: ")?;
    Some((line.parse().ok()?, column.parse().ok()?))
}

/// What the audit column `_source` says about a step's rows: the names it reads.
fn source_names(table: &Table) -> String {
    let name = |read: &Read| match read {
        Read::Source(name) => name.clone(),
        Read::Table(name) | Read::External(name) => name.to_string(),
    };
    table.reads.iter().map(name).collect::<Vec<_>>().join(",")
}

fn reference(name: &TableName) -> TableReference {
    let table = name.table.to_lowercase();
    if name.schema.is_empty() {
        TableReference::bare(table)
    } else {
        TableReference::partial(name.schema.to_lowercase(), table)
    }
}

fn by_name(name: &str) -> TableReference {
    let name = name.to_lowercase();
    match name.split_once('.') {
        Some((schema, table)) => TableReference::partial(schema, table),
        None => TableReference::bare(name),
    }
}

fn add_schema(session: &SessionContext, reference: &TableReference) -> Result<()> {
    let Some(schema) = reference.schema() else { return Ok(()) };
    let catalog_name = session.copied_config().options().catalog.default_catalog.clone();
    let catalog = session.catalog(&catalog_name);
    let catalog = catalog.ok_or_else(|| EngineError::internal("the session has no catalog"))?;
    if catalog.schema(schema).is_none() {
        catalog.register_schema(schema, Arc::new(MemorySchemaProvider::new()))?;
    }
    Ok(())
}

/// Something to be read, and what exactly it is.
struct Input {
    provider: Arc<dyn TableProvider>,
    what: String,
    told: Told,
}

async fn source(pipeline: &Pipeline, name: &str, stores: &Arc<Stores>) -> Result<Input> {
    let source = pipeline.sources.iter().find(|source| source.name == name);
    let source = source.ok_or_else(|| EngineError::internal(format!("no source '{name}' in the job")))?;
    let told = |read: StepRead| Told { read: StepRead { name: name.to_owned(), ..read }, table: None };
    let opened: Result<Input> = match &source.input {
        SourceInput::Files(spec) => files::provider(stores.clone(), name, spec).await.map(|it| {
            let (files, bytes) = it.extent();
            let location = spec.path.clone();
            let read = StepRead { location, files: Some(files), bytes: Some(bytes), ..StepRead::default() };
            Input { what: it.pinned(), provider: Arc::new(it), told: told(read) }
        }),
        SourceInput::Postgres(spec) => postgres::provider(stores.clone(), name, spec).await.map(|it| {
            let relation = match &spec.relation {
                Relation::Table(table) => table.as_str(),
                Relation::Query(_) => "query",
            };
            // A connection is told by its name: its URL may hold a password.
            let read = StepRead { location: format!("{}/{relation}", spec.connection), ..StepRead::default() };
            Input { what: it.pinned(), provider: Arc::new(it), told: told(read) }
        }),
    };
    opened.map_err(|error| error.within(&source.origin))
}

async fn delta(name: &TableName, at: &str, stores: &Arc<Stores>, planned: &Planned) -> Result<Input> {
    let at = location(at)?;
    let read = StepRead { name: name.to_string(), is_table: true, location: at.to_string(), ..StepRead::default() };
    let opened = DeltaTable::open(stores, &at).await;
    if let Some(snapshot) = opened.map_err(|error| error.within(format!("reading table {name}")))? {
        let what = format!("delta {at} version {}", snapshot.version());
        let read = StepRead { version: Some(snapshot.version()), ..read };
        let told = Told { read, table: Some(snapshot.clone()) };
        return Ok(Input { provider: Arc::new(DeltaTableProvider::new(snapshot)), what, told });
    }
    if let Some(schema) = planned.get(name) {
        let (what, told) = ("planned".to_owned(), Told { read, table: None });
        return Ok(Input { provider: Arc::new(EmptyTable::new(schema.clone())), what, told });
    }
    let message = format!("table {name} does not exist: there is no Delta table at {at}");
    Err(EngineError::new(ErrorClass::NotFound, "table", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parser_tells_the_place_of_an_error_in_its_text() {
        let text = "sql parser error: Expected: ), found: FROM at Line: 2, Column: 17";
        assert_eq!(parser_position(text), Some((2, 17)));
        assert_eq!(parser_position("sql parser error: recursion limit exceeded"), None);
    }

    #[test]
    fn a_digest_changes_with_every_part_of_the_inputs_and_with_nothing_else() {
        let pinned = |parts: &[(&str, &str)]| {
            let what = parts.iter().map(|(name, what)| ((*name).to_owned(), (*what).to_owned())).collect();
            Pinned { what, told: Vec::new() }.digest()
        };
        let one = pinned(&[("a", "version 1"), ("b", "snapshot 2")]);
        assert_eq!(one.len(), 64);
        assert_eq!(pinned(&[("b", "snapshot 2"), ("a", "version 1")]), one);
        for other in [
            pinned(&[]),
            pinned(&[("a", "version 1")]),
            pinned(&[("a", "version 2"), ("b", "snapshot 2")]),
            pinned(&[("a", "version 1b"), ("", "snapshot 2")]),
        ] {
            assert_ne!(other, one);
        }
    }
}
