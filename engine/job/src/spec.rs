//! job.toml as it is written: one type per table of the file, every key of the format, also those that a later
//! version executes. `docs/job.schema.json` is generated from these types, and the reader checks files against the
//! same schema, so a key exists in one place only. Pure.
//!
//! Never here: what a key means or which keys go together; that is the `lower` module.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;

mod source;
mod table;

pub use source::{Column, Columns, Csv, FileFormat, OrderedMap, ParseMode, Source, SourceKind};
pub use table::{Action, Evolution, Expectation, Table, WriteMode};

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
    /// On a cluster, an attempt of a task that runs this long is given up and the task is tried again on another
    /// worker; the fourth failure of a task ends the step. No limit by default.
    pub task_timeout: Option<String>,
    /// On a cluster, a task that takes much longer than the others of its stage is run a second time on another worker
    /// with free cores; what is done first counts.
    #[schemars(extend("default" = false))]
    pub speculation: Option<bool>,
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
