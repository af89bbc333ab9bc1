//! job.toml as it is written: one type per table of the file, every key of the format, also those that a later
//! version executes. `docs/job.schema.json` is generated from these types, and the reader checks files against the
//! same schema, so a key exists in one place only. Pure.
//!
//! Never here: what a key means or which keys go together; that is the `lower` module.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A job of lake: sources, tables and how each table is filled. Every text may contain `${param}`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "job.toml, version 1")]
pub struct File {
    /// What the job is called and how it is run.
    pub job: Job,
    /// Parameters by name, given with `--param name=value`.
    #[serde(default)]
    pub params: BTreeMap<String, Param>,
    /// Where tables are kept.
    pub warehouse: Warehouse,
    /// How to reach object stores, by URL prefix (`s3://bucket` or `s3://bucket/path`); the longest prefix wins.
    /// A store without a profile uses the environment of the worker.
    #[serde(default)]
    pub storage: BTreeMap<String, Storage>,
    /// How to reach databases, by name.
    #[serde(default)]
    pub connection: BTreeMap<String, Connection>,
    /// Named inputs.
    #[serde(default)]
    pub source: Vec<Source>,
    /// Delta tables that the job fills, one step each.
    #[serde(default)]
    pub table: Vec<Table>,
}

/// What the job is called and how it is run.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// The job's identity: runs of one name are numbered, and no run is committed twice. Letters, digits, `_`, `-`
    /// and `.`.
    pub name: String,
    /// Version of this format.
    #[schemars(range(min = 1, max = 1), extend("default" = 1))]
    pub version: Option<u32>,
    /// How many times the driver is started before the job has failed.
    #[schemars(range(min = 1, max = 100), extend("default" = 3))]
    pub max_attempts: Option<u32>,
    /// The job is cancelled when it has run this long: `90s`, `30m`, `1h30m`, `2d`. No limit by default.
    pub timeout: Option<String>,
}

/// A parameter.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Param {
    /// What values it takes.
    #[serde(rename = "type")]
    pub kind: ParamType,
    /// Its value when none is given; without a default it is required. Dates may be `today` or `yesterday`.
    pub default: Option<Scalar>,
    /// What it is for.
    pub description: Option<String>,
}

/// Type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ParamType {
    /// Any text.
    String,
    /// A whole number of 64 bits.
    Int,
    /// A finite number.
    Float,
    /// `YYYY-MM-DD`, `today` or `yesterday`.
    Date,
    /// `true` or `false`.
    Bool,
}

/// Where tables are kept.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Warehouse {
    /// Table `a.b` is at `<root>/a/b`. An `s3://` or `file://` URL, or a path relative to the folder of job.toml.
    pub root: String,
}

/// A value, or where to find it. Secrets must be references: they are resolved in the process that uses them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Value {
    /// The value itself; refused for secrets.
    Text(String),
    /// A reference to an environment variable.
    Env(EnvReference),
    /// A reference to a file.
    File(FileReference),
}

/// A reference to an environment variable of the process that uses it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvReference {
    /// The variable's name.
    pub env: String,
}

/// A reference to a file on the host that uses it; white space around its content is dropped.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileReference {
    /// The file's absolute path.
    pub file: String,
}

/// How to reach an object store.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Storage {
    /// URL of the service, for stores that are not AWS.
    pub endpoint: Option<Value>,
    /// Region.
    pub region: Option<Value>,
    /// Access key. A secret: a reference.
    pub access_key_id: Option<Value>,
    /// Secret key. A secret: a reference.
    pub secret_access_key: Option<Value>,
    /// Token of temporary credentials. A secret: a reference.
    pub session_token: Option<Value>,
    /// Whether an `http://` endpoint is allowed.
    pub allow_http: Option<bool>,
    /// Whether the bucket is part of the host name instead of the path.
    pub virtual_hosted_style: Option<bool>,
}

/// How to reach a database.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    /// Which database.
    pub kind: ConnectionKind,
    /// `postgres://user@host:port/database`. With a password in it, it is a secret: a reference.
    pub url: Value,
    /// Password. A secret: a reference.
    pub password: Option<Value>,
}

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConnectionKind {
    /// PostgreSQL.
    Postgres,
}

/// A named input: files, or a table or query of a database.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The name that SQL and `from` use; no schema.
    pub name: String,
    /// What it is. Default: `postgres` with `connection`, otherwise `files`.
    pub kind: Option<SourceKind>,
    /// files: the format. Required.
    pub format: Option<FileFormat>,
    /// files: a file, a folder (ends in `/`, read with its subfolders) or a pattern (`*`, `**`, `?`). Required. A URL
    /// or a path relative to the folder of job.toml.
    pub path: Option<String>,
    /// files, csv and json: what happens to rows that do not parse. Default: permissive.
    pub mode: Option<ParseMode>,
    /// files: column names and types, in order; inferred from the files when absent.
    pub schema: Option<Columns>,
    /// files, csv: how values are separated and quoted.
    pub csv: Option<Csv>,
    /// files: each file is read once, ever. Not executed in this version.
    pub incremental: Option<bool>,
    /// postgres: name of the connection. Required.
    pub connection: Option<String>,
    /// postgres: the table to read, `schema.table` or `table`. This or `query`.
    pub table: Option<String>,
    /// postgres: the SELECT to run there. This or `table`.
    pub query: Option<String>,
    /// postgres: column whose ranges are read in parallel.
    pub partition_by: Option<String>,
    /// postgres: number of parallel ranges. Default: 8 with `partition_by`, otherwise 1.
    #[schemars(range(min = 1, max = 10000))]
    pub partitions: Option<u32>,
}

/// What a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// Files under a path.
    Files,
    /// A table or query of a PostgreSQL database.
    Postgres,
}

/// Format of source files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FileFormat {
    /// Separated values.
    Csv,
    /// One JSON object a line.
    Json,
    /// Apache Parquet.
    Parquet,
    /// Apache Avro.
    Avro,
}

/// What happens to rows that do not parse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParseMode {
    /// What does not parse is NULL, and the raw line is kept in `_rescued`.
    Permissive,
    /// The row is left out.
    Drop,
    /// The step fails.
    FailFast,
}

/// How values are separated and quoted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Csv {
    /// The first line of every file names the columns.
    #[schemars(extend("default" = true))]
    pub header: Option<bool>,
    /// Separator, one ASCII character.
    #[schemars(extend("default" = ","))]
    pub delimiter: Option<String>,
    /// Quote, one ASCII character.
    #[schemars(extend("default" = "\""))]
    pub quote: Option<String>,
    /// Escape inside quotes, one ASCII character. Default: quotes are doubled.
    pub escape: Option<String>,
    /// Text that means NULL, besides an empty field without quotes.
    pub null_value: Option<String>,
    /// Quoted values may contain line breaks; a file is then read by one task.
    #[schemars(extend("default" = false))]
    pub multiline: Option<bool>,
    /// Lines that begin with this ASCII character are skipped.
    pub comment: Option<String>,
}

/// Columns in order: `{ id = "bigint", name = "string" }` or `[{ name = "id", type = "bigint" }]`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Columns {
    /// Type by name, in the order of the file.
    Map(OrderedMap),
    /// A list of columns.
    List(Vec<Column>),
}

/// A column.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type by Spark SQL name: `bigint`, `decimal(10,2)`, `timestamp`, …
    #[serde(rename = "type")]
    pub data_type: String,
}

/// A map of texts that keeps the order of the file.
#[derive(Debug, Default, JsonSchema)]
pub struct OrderedMap(#[schemars(with = "BTreeMap<String, String>")] pub Vec<(String, String)>);

impl<'de> Deserialize<'de> for OrderedMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = OrderedMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<OrderedMap, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(OrderedMap(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// A Delta table and how it is filled.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// `schema.table` or `table`.
    pub name: String,
    /// Where it is, when not at `<warehouse.root>/<schema>/<table>`.
    pub path: Option<String>,
    /// Filled with every row of this source or table. Exactly one of `from`, `sql` and `sql_file`.
    pub from: Option<String>,
    /// Filled with the rows of this query.
    pub sql: Option<String>,
    /// Filled with the rows of the query in this file, relative to the folder of job.toml.
    pub sql_file: Option<String>,
    /// How rows are put in.
    pub mode: WriteMode,
    /// mode replace_where: the condition over the table's columns that says which rows are replaced.
    pub replace_where: Option<String>,
    /// Columns that the table is partitioned by.
    #[serde(default)]
    pub partition_by: Vec<String>,
    /// Adds the columns `_ingested_at`, `_source` and `_run_id`.
    #[schemars(extend("default" = false))]
    pub audit: Option<bool>,
    /// Checks of every row before it is written.
    #[serde(default)]
    pub expect: Vec<Expectation>,
    /// A data file is closed when it has this size: `64MiB`, `1GB`.
    #[schemars(extend("default" = "128MiB"))]
    pub target_file_size: Option<String>,
    /// Delta table properties, set when the table is created.
    #[serde(default)]
    pub properties: BTreeMap<String, Scalar>,
    /// What happens when the columns have changed. This version executes `none`.
    #[schemars(extend("default" = "none"))]
    pub evolve: Option<Evolution>,
    /// modes merge and scd2: columns that identify a row. Not executed in this version.
    pub keys: Option<Vec<String>>,
    /// modes merge and scd2: the row with the highest value wins. Not executed in this version.
    pub sequence_by: Option<String>,
    /// mode merge: rows that fulfil it are deleted. Not executed in this version.
    pub delete_when: Option<String>,
}

/// How rows are put into a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WriteMode {
    /// Rows are added.
    Append,
    /// The table's rows are replaced.
    Overwrite,
    /// Rows that fulfil `replace_where` are replaced.
    ReplaceWhere,
    /// Rows are inserted, updated and deleted by `keys`. Not executed in this version.
    Merge,
    /// Every version of a row is kept with its validity. Not executed in this version.
    Scd2,
}

/// What happens when the columns have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Evolution {
    /// The step fails.
    None,
    /// New columns are added. Not executed in this version.
    AddColumns,
    /// The schema is replaced. Not executed in this version.
    Overwrite,
}

/// A check of every row.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// Its name in counts and messages.
    pub name: String,
    /// A condition over the columns of the row; NULL is a violation.
    pub check: String,
    /// What a violation does.
    pub action: Action,
}

/// What a violated expectation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// The row is kept and counted.
    Warn,
    /// The row is left out and counted.
    Drop,
    /// The row goes to a side table. Not executed in this version.
    Quarantine,
    /// The step fails and nothing is committed.
    Fail,
}

/// Text, a number or true or false.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Scalar {
    /// Text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
    /// True or false.
    Boolean(bool),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number}"),
            Self::Boolean(value) => write!(f, "{value}"),
        }
    }
}
