//! What is told of a run, and its JSON. Pure.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::names::DataSetName;

const PRODUCER: &str = concat!("https://lake.invalid/lake/", env!("CARGO_PKG_VERSION"));
const SPECIFICATION: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";
const FACETS: &str = "https://openlineage.io/spec/facets";
/// Longer messages are cut: catalogues keep them in columns.
const MOST_MESSAGE_CHARACTERS: usize = 4_000;

/// A moment in the life of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// It begins.
    Start,
    /// It has done what it was to do.
    Complete,
    /// It has failed.
    Fail,
    /// It was told to end, or taken over.
    Abort,
}

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// What happens.
    pub moment: Moment,
    /// When.
    pub at: DateTime<Utc>,
    /// To which run.
    pub run: Run,
    /// Of which job.
    pub job: Job,
    /// What it reads.
    pub inputs: Vec<DataSet>,
    /// What it writes.
    pub outputs: Vec<Output>,
}

/// One run of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Unique.
    pub id: Uuid,
    /// The run that it is a part of.
    pub parent: Option<Parent>,
    /// Why it ended, when it was not success.
    pub error: Option<String>,
}

/// The run that another one is a part of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// Its id.
    pub run: Uuid,
    /// Name of its job.
    pub job: String,
}

/// What runs again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Unique in its namespace.
    pub name: String,
    /// What it is.
    pub kind: JobKind,
    /// The text of its query.
    pub sql: Option<String>,
    /// For people.
    pub documentation: String,
}

/// What a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobKind {
    /// A job.toml.
    Pipeline,
    /// One table of it.
    Step,
}

/// A table, or files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DataSet {
    /// Which one.
    pub name: DataSetName,
    /// What it is called in its job.
    pub alias: String,
    /// Where it is. Never a credential.
    pub uri: String,
    /// Its columns; none when they are not known.
    pub columns: Vec<Column>,
    /// Its version.
    pub version: Option<i64>,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type as SQL writes it.
    pub data_type: String,
}

/// A data set that is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// Which one.
    pub data_set: DataSet,
    /// What was written.
    pub statistics: Option<Statistics>,
    /// What was demanded of the rows, and whether they fulfil it.
    pub assertions: Vec<Assertion>,
    /// Where its columns come from; those of which that is not known are left out.
    pub columns: Vec<ColumnLineage>,
}

/// How much was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statistics {
    /// Rows.
    pub rows: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// Files.
    pub files: u64,
}

/// A demand on rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assertion {
    /// Its name.
    pub name: String,
    /// Every row fulfils it.
    pub is_success: bool,
}

/// Where a column comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnLineage {
    /// Its name.
    pub column: String,
    /// The columns that it is made of.
    pub origins: Vec<Origin>,
}

/// A column that another one is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Whose column.
    pub data_set: DataSetName,
    /// Its name.
    pub column: String,
    /// What was made of it.
    pub transformation: Transformation,
}

/// What is made of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transformation {
    /// Nothing: its values are there as they are.
    Identity,
    /// Other values, of the same row.
    Expression,
    /// One value of many rows.
    Aggregation,
}

impl Event {
    /// The event as catalogues read it; `namespace` is that of the jobs.
    pub(crate) fn to_json(&self, namespace: &str) -> Value {
        json!({
            "eventType": match self.moment {
                Moment::Start => "START",
                Moment::Complete => "COMPLETE",
                Moment::Fail => "FAIL",
                Moment::Abort => "ABORT",
            },
            "eventTime": self.at.to_rfc3339_opts(SecondsFormat::Millis, true),
            "producer": PRODUCER,
            "schemaURL": SPECIFICATION,
            "run": {"runId": self.run.id.to_string(), "facets": self.run.facets(namespace)},
            "job": {"namespace": namespace, "name": self.job.name, "facets": self.job.facets()},
            "inputs": self.inputs.iter().map(input).collect::<Vec<_>>(),
            "outputs": self.outputs.iter().map(output).collect::<Vec<_>>(),
        })
    }
}

impl Run {
    fn facets(&self, namespace: &str) -> Value {
        let version = env!("CARGO_PKG_VERSION");
        let mut facets = Facets::default();
        facets.add(
            "processing_engine",
            "1-1-1/ProcessingEngineRunFacet",
            json!({"name": "lake", "version": version, "openlineageAdapterVersion": version}),
        );
        if let Some(parent) = &self.parent {
            let parent = json!({
                "run": {"runId": parent.run.to_string()},
                "job": {"namespace": namespace, "name": parent.job},
            });
            facets.add("parent", "1-0-1/ParentRunFacet", parent);
        }
        if let Some(error) = &self.error {
            let message: String = error.chars().take(MOST_MESSAGE_CHARACTERS).collect();
            let error = json!({"message": message, "programmingLanguage": "RUST"});
            facets.add("errorMessage", "1-0-1/ErrorMessageRunFacet", error);
        }
        facets.0.into()
    }
}

impl Job {
    fn facets(&self) -> Value {
        let kind = match self.kind {
            JobKind::Pipeline => "PIPELINE",
            JobKind::Step => "STEP",
        };
        let mut facets = Facets::default();
        facets.add(
            "jobType",
            "2-0-3/JobTypeJobFacet",
            json!({"processingType": "BATCH", "integration": "LAKE", "jobType": kind}),
        );
        facets.add("documentation", "1-0-1/DocumentationJobFacet", json!({"description": self.documentation}));
        if let Some(sql) = &self.sql {
            facets.add("sql", "1-0-1/SQLJobFacet", json!({"query": sql}));
        }
        facets.0.into()
    }
}

fn input(data_set: &DataSet) -> Value {
    let DataSetName { namespace, name } = &data_set.name;
    json!({"namespace": namespace, "name": name, "facets": Value::from(data_set.facets().0)})
}

fn output(output: &Output) -> Value {
    let DataSetName { namespace, name } = &output.data_set.name;
    let mut facets = output.data_set.facets();
    if !output.columns.is_empty() {
        let fields: Map<String, Value> =
            output.columns.iter().map(|column| (column.column.clone(), column.to_json())).collect();
        facets.add("columnLineage", "1-2-0/ColumnLineageDatasetFacet", json!({"fields": fields}));
    }
    if !output.assertions.is_empty() {
        // The standard knows this facet for what is read. Here the rows are checked on their way into the table, which is
        // not read by the run: as an input it would be taken for its own source.
        let assertion = |assertion: &Assertion| json!({"assertion": assertion.name, "success": assertion.is_success});
        let assertions: Vec<Value> = output.assertions.iter().map(assertion).collect();
        let name = "1-0-1/DataQualityAssertionsDatasetFacet";
        facets.add("dataQualityAssertions", name, json!({"assertions": assertions}));
    }
    let mut written = Facets::default();
    if let Some(Statistics { rows, bytes, files }) = output.statistics {
        let statistics = json!({"rowCount": rows, "size": bytes, "fileCount": files});
        written.add("outputStatistics", "1-0-2/OutputStatisticsOutputDatasetFacet", statistics);
    }
    json!({
        "namespace": namespace, "name": name,
        "facets": Value::from(facets.0),
        "outputFacets": Value::from(written.0),
    })
}

impl DataSet {
    fn facets(&self) -> Facets {
        let mut facets = Facets::default();
        let source = json!({"name": self.name.namespace, "uri": self.uri});
        facets.add("dataSource", "1-0-1/DatasourceDatasetFacet", source);
        if !self.alias.is_empty() {
            let alias = json!([{"namespace": self.name.namespace, "name": self.alias, "type": "TABLE"}]);
            facets.add("symlinks", "1-0-1/SymlinksDatasetFacet", json!({"identifiers": alias}));
        }
        if !self.columns.is_empty() {
            let field = |column: &Column| json!({"name": column.name, "type": column.data_type});
            let fields: Vec<Value> = self.columns.iter().map(field).collect();
            facets.add("schema", "1-1-1/SchemaDatasetFacet", json!({"fields": fields}));
        }
        if let Some(version) = self.version {
            let version = json!({"datasetVersion": version.to_string()});
            facets.add("version", "1-0-1/DatasetVersionDatasetFacet", version);
        }
        facets
    }
}

impl ColumnLineage {
    fn to_json(&self) -> Value {
        let origin = |origin: &Origin| {
            let subtype = match origin.transformation {
                Transformation::Identity => "IDENTITY",
                Transformation::Expression => "TRANSFORMATION",
                Transformation::Aggregation => "AGGREGATION",
            };
            json!({
                "namespace": origin.data_set.namespace, "name": origin.data_set.name, "field": origin.column,
                "transformations": [{"type": "DIRECT", "subtype": subtype, "description": "", "masking": false}],
            })
        };
        json!({"inputFields": self.origins.iter().map(origin).collect::<Vec<_>>()})
    }
}

#[derive(Default)]
struct Facets(Map<String, Value>);

impl Facets {
    /// `schema` is the version and the name of its definition.
    fn add(&mut self, key: &str, schema: &str, mut facet: Value) {
        let definition = schema.rsplit('/').next().unwrap_or_default();
        if let Some(fields) = facet.as_object_mut() {
            fields.insert("_producer".to_owned(), PRODUCER.into());
            fields.insert("_schemaURL".to_owned(), format!("{FACETS}/{schema}.json#/$defs/{definition}").into());
        }
        self.0.insert(key.to_owned(), facet);
    }
}
