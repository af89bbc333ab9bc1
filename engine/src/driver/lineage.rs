//! Tells a catalogue what a run reads and writes, when the environment names one. Edge.
//!
//! A run of a job is one run there, and each of its steps another one inside it. Every driver of a submission tells of the
//! same runs. Never here: anything that a step waits for, or fails by.

mod columns;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::Utc;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;
use lake_job::{Pipeline, Read, Relation, SourceInput, Table, TableInput, WriteMode};
use lake_proto::ErrorClass;
use lake_proto::v1::StepRecord;
use lake_telemetry::lineage::{
    Assertion, Column, ColumnLineage, DataSet, DataSetName, Event, Job, JobKind, Lineage, Moment, Origin, Output,
    Parent, Run, Statistics, of_postgres, of_url, run_id,
};

use crate::source::postgres;
use crate::sql_type::sql_type;
use crate::stores::Stores;
use crate::{EngineError, Result};

/// What is told of one run; nothing when nobody is to be told.
pub(super) struct Told(Option<Telling>);

struct Telling {
    lineage: Arc<Lineage>,
    pipeline: Pipeline,
    /// With the job's name it is the run's identity in catalogues.
    run_number: String,
    stores: Arc<Stores>,
    open: Mutex<Open>,
}

/// Runs that have begun and not ended.
#[derive(Default)]
struct Open {
    run: bool,
    /// By position of the step.
    steps: BTreeMap<usize, Planned>,
}

/// What a step's query says, once it is planned.
#[derive(Default)]
struct Planned {
    /// Columns of what it reads, by its name in the query.
    inputs: BTreeMap<String, Vec<Column>>,
    columns: Vec<Column>,
    lineage: Vec<(String, columns::Origins)>,
}

impl Told {
    /// Nobody is told.
    pub(super) const fn nobody() -> Self {
        Self(None)
    }

    pub(super) fn new(lineage: Arc<Lineage>, pipeline: &Pipeline, run_number: i64, stores: &Arc<Stores>) -> Self {
        Self(Some(Telling {
            lineage,
            pipeline: pipeline.clone(),
            run_number: run_number.to_string(),
            stores: stores.clone(),
            open: Mutex::default(),
        }))
    }

    /// The run begins.
    pub(super) fn run_started(&self) {
        let Some(telling) = &self.0 else { return };
        telling.lock().run = true;
        telling.run(Moment::Start, None);
    }

    /// The run has ended, with this failure if any.
    pub(super) fn run_ended(&self, failure: Option<&EngineError>) {
        let Some(telling) = &self.0 else { return };
        telling.lock().run = false;
        telling.run(moment_of(failure), failure.map(ToString::to_string));
    }

    /// A step begins that was not committed before.
    pub(super) fn step_started(&self, index: usize) {
        let Some(telling) = &self.0 else { return };
        telling.lock().steps.insert(index, Planned::default());
        telling.step(Moment::Start, index, &Planned::default(), None, None);
    }

    /// What the step reads and writes is known.
    pub(super) fn step_planned(&self, index: usize, query: &LogicalPlan) {
        let Some(telling) = &self.0 else { return };
        let planned = planned(query);
        telling.lock().steps.insert(index, planned);
    }

    /// The step has ended. One that was committed before it began is not told of.
    pub(super) fn step_ended(&self, index: usize, outcome: &Result<StepRecord>) {
        let Some(telling) = &self.0 else { return };
        let Some(planned) = telling.lock().steps.remove(&index) else { return };
        let (record, failure) = (outcome.as_ref().ok(), outcome.as_ref().err());
        telling.step(moment_of(failure), index, &planned, record, failure.map(ToString::to_string));
    }
}

/// Held while a run is under way: one that is dropped in its middle was aborted.
pub(super) struct UnderWay(pub(super) Arc<Told>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let Some(telling) = &self.0.0 else { return };
        let open = std::mem::take(&mut *telling.lock());
        for (index, planned) in &open.steps {
            telling.step(Moment::Abort, *index, planned, None, None);
        }
        if open.run {
            telling.run(Moment::Abort, None);
        }
    }
}

impl Telling {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, moment: Moment, error: Option<String>) {
        let name = &self.pipeline.name;
        self.lineage.emit(&Event {
            moment,
            at: Utc::now(),
            run: Run { id: run_id(&[name.as_str(), self.run_number.as_str()]), parent: None, error },
            job: Job {
                name: name.clone(),
                kind: JobKind::Pipeline,
                sql: None,
                documentation: format!("job {name} with {} tables", self.pipeline.tables.len()),
            },
            inputs: Vec::new(),
            outputs: Vec::new(),
        });
    }

    fn step(
        &self,
        moment: Moment,
        index: usize,
        planned: &Planned,
        record: Option<&StepRecord>,
        error: Option<String>,
    ) {
        let Some(table) = self.pipeline.tables.get(index) else { return };
        let (job, name) = (&self.pipeline.name, table.name.to_string());
        let parent = Parent { run: run_id(&[job.as_str(), self.run_number.as_str()]), job: job.clone() };
        let reads = self.reads(table, planned);
        self.lineage.emit(&Event {
            moment,
            at: Utc::now(),
            run: Run {
                id: run_id(&[job.as_str(), self.run_number.as_str(), name.as_str()]),
                parent: Some(parent),
                error,
            },
            job: Job {
                name: format!("{job}.{name}"),
                kind: JobKind::Step,
                sql: match &table.input {
                    TableInput::Sql { text, .. } => Some(text.clone()),
                    TableInput::From(source) => Some(format!("SELECT * FROM {source}")),
                },
                documentation: documentation(table),
            },
            outputs: vec![output(table, planned, record, &reads)],
            inputs: reads.into_values().collect(),
        });
    }

    /// What a step reads, by the name that its query has for it.
    fn reads(&self, table: &Table, planned: &Planned) -> BTreeMap<String, DataSet> {
        let mut reads = BTreeMap::new();
        for read in &table.reads {
            let (key, name, uri) = match read {
                Read::Source(name) => match self.source(name) {
                    Some((data_set, uri)) => (name.to_lowercase(), data_set, uri),
                    None => continue,
                },
                Read::Table(name) | Read::External(name) => {
                    let own = self.pipeline.tables.iter().find(|table| table.name == *name);
                    let uri = own.map(|table| table.location.clone());
                    let uri = uri.unwrap_or_else(|| self.pipeline.external_location(name));
                    (name.to_string().to_lowercase(), of_url(&uri), uri)
                }
            };
            let alias = match read {
                Read::Source(name) => name.clone(),
                Read::Table(name) | Read::External(name) => name.to_string(),
            };
            let columns = planned.inputs.get(&key).cloned().unwrap_or_default();
            reads.insert(key, DataSet { name, alias, uri, columns, version: None });
        }
        reads
    }

    fn source(&self, name: &str) -> Option<(DataSetName, String)> {
        let source = self.pipeline.sources.iter().find(|source| source.name == name)?;
        match &source.input {
            SourceInput::Files(files) => Some((of_url(&files.path), files.path.clone())),
            SourceInput::Postgres(spec) => {
                // Where it is stands in a secret, of which only the place is told.
                let place = postgres::place(&self.stores, &spec.connection).ok()?;
                let relation = match &spec.relation {
                    Relation::Table(table) => table.clone(),
                    Relation::Query(_) => format!("query.{name}"),
                };
                let data_set = of_postgres(&place.host, place.port, &place.database, &relation);
                let uri = format!("{}/{}", data_set.namespace, place.database);
                Some((data_set, uri))
            }
        }
    }
}

fn moment_of(failure: Option<&EngineError>) -> Moment {
    match failure {
        None => Moment::Complete,
        Some(error) if error.class() == ErrorClass::Cancelled => Moment::Abort,
        Some(_) => Moment::Fail,
    }
}

fn documentation(table: &Table) -> String {
    let how = match &table.mode {
        WriteMode::Append => "appends to",
        WriteMode::Overwrite => "overwrites",
        WriteMode::ReplaceWhere { .. } => "replaces a part of",
    };
    format!("{how} {} ({})", table.name, table.origin)
}

fn output(table: &Table, planned: &Planned, record: Option<&StepRecord>, reads: &BTreeMap<String, DataSet>) -> Output {
    let is_committed = record.is_some_and(|record| record.outcome == "COMMITTED");
    let record = record.filter(|_| is_committed);
    let assertion = |found: &lake_proto::v1::ExpectationResult| Assertion {
        name: found.name.clone(),
        is_success: found.violations == 0,
    };
    let column = |(column, origins): &(String, columns::Origins)| {
        let origins = origins.iter().filter_map(|(source, transformation)| {
            let data_set = reads.get(&source.table)?.name.clone();
            Some(Origin { data_set, column: source.column.clone(), transformation: *transformation })
        });
        ColumnLineage { column: column.clone(), origins: origins.collect() }
    };
    let columns = planned.lineage.iter().map(column).filter(|column| !column.origins.is_empty());
    Output {
        data_set: DataSet {
            name: of_url(&table.location),
            alias: table.name.to_string(),
            uri: table.location.clone(),
            columns: planned.columns.clone(),
            version: record.map(|record| record.version),
        },
        statistics: record.map(|record| Statistics {
            rows: record.rows_out,
            bytes: record.bytes_out,
            files: record.files.into(),
        }),
        assertions: record.map(|record| record.expectations.iter().map(assertion).collect()).unwrap_or_default(),
        columns: columns.collect(),
    }
}

fn planned(query: &LogicalPlan) -> Planned {
    let mut inputs: BTreeMap<String, Vec<Column>> = BTreeMap::new();
    let walked = query.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let schema = scan.source.schema();
            let columns = schema.fields().iter().map(|field| column(field));
            inputs.insert(scan.table_name.to_string().to_lowercase(), columns.collect());
        }
        Ok(TreeNodeRecursion::Continue)
    });
    if let Err(error) = walked {
        tracing::debug!("the inputs of a query are not told: {error}");
    }
    Planned {
        inputs,
        columns: query.schema().fields().iter().map(|field| column(field)).collect(),
        lineage: columns::of(query),
    }
}

fn column(field: &arrow::datatypes::Field) -> Column {
    Column { name: field.name().clone(), data_type: sql_type(field.data_type()) }
}
