//! What a valid job.toml means: parameters substituted, SQL inlined, reads resolved. Pure.
//!
//! Its JSON is what a submission carries: it holds no literal secret, only [`Setting`] references.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

mod source;

pub use source::{
    Column, ColumnType, CsvOptions, FileFormat, FilesSource, ParseMode, PostgresSource, RESCUED, Relation, Source,
    SourceInput,
};

/// A whole job, ready to be executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pipeline {
    /// `job.name`: the identity for exactly-once across runs.
    pub name: String,
    /// Driver launches at most.
    pub max_attempts: u32,
    /// Wall-clock limit of one run in milliseconds.
    pub timeout_ms: Option<u64>,
    /// Limit of one attempt of a task of the cluster in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_timeout_ms: Option<u64>,
    /// Whether slow tasks of the cluster are run a second time beside the first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub speculation: bool,
    /// Every parameter with its value of this run.
    pub params: BTreeMap<String, String>,
    /// Root of the warehouse: an absolute `file://` or `s3://` URL without a trailing slash.
    pub warehouse_root: String,
    /// Storage profiles by URL prefix; the longest prefix wins.
    pub storage: BTreeMap<String, StorageProfile>,
    /// Connection profiles by name.
    pub connections: BTreeMap<String, ConnectionProfile>,
    /// Sources by the order of the file.
    pub sources: Vec<Source>,
    /// Tables in an order in which every table comes after those it reads.
    pub tables: Vec<Table>,
    /// Where tables of [`Read::External`] are, by name, when not at `<root>/<schema>/<table>`: tables of the job with
    /// a `path` that this run does not execute. [`Self::external_location`] answers for all of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub external_locations: BTreeMap<String, String>,
}

impl Pipeline {
    /// For every table the positions in [`Self::tables`] of those it reads, ascending; all of them are smaller than
    /// its own. Tables whose dependencies are done may run at once.
    pub fn dependencies(&self) -> Vec<Vec<usize>> {
        let positions: BTreeMap<&TableName, usize> =
            self.tables.iter().enumerate().map(|(index, table)| (&table.name, index)).collect();
        let needed = |table: &Table| {
            let read = table.reads.iter().filter_map(|read| match read {
                Read::Table(name) => positions.get(name).copied(),
                Read::Source(_) | Read::External(_) => None,
            });
            let mut needed: Vec<usize> = read.collect();
            needed.sort_unstable();
            needed.dedup();
            needed
        };
        self.tables.iter().map(needed).collect()
    }

    /// The tables in levels: those of one level only read tables of levels before it.
    #[cfg(test)]
    pub(crate) fn levels(&self) -> Vec<Vec<usize>> {
        let mut level_of: Vec<usize> = Vec::with_capacity(self.tables.len());
        let mut levels: Vec<Vec<usize>> = Vec::new();
        for (index, needed) in self.dependencies().iter().enumerate() {
            let below = needed.iter().filter_map(|needed| level_of.get(*needed));
            let level = below.max().map_or(0, |below| below + 1);
            level_of.push(level);
            if levels.len() <= level {
                levels.push(Vec::new());
            }
            levels.get_mut(level).into_iter().for_each(|tables| tables.push(index));
        }
        levels
    }

    /// The root of a table of the warehouse that no step of this run writes: a URL without a trailing slash.
    pub fn external_location(&self, name: &TableName) -> String {
        let own = self.external_locations.get(&name.to_string()).cloned();
        own.unwrap_or_else(|| location_under(&self.warehouse_root, name))
    }
}

/// `<root>/<schema>/<table>`, or `<root>/<table>` for a table without a schema.
pub fn location_under(root: &str, name: &TableName) -> String {
    if name.schema.is_empty() {
        format!("{root}/{}", name.table)
    } else {
        format!("{root}/{}/{}", name.schema, name.table)
    }
}

/// A value that is either written in the file or a reference to a secret, resolved where it is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Setting {
    /// Not a secret: written in job.toml.
    Literal(String),
    /// Environment variable of the process that uses it (worker or driver).
    Env(String),
    /// File of the host that uses it; surrounding whitespace is dropped.
    File(String),
}

/// How to reach an object store. Keys: `endpoint`, `region`, `access_key_id`, `secret_access_key`, `session_token`,
/// `allow_http`, `virtual_hosted_style`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageProfile {
    /// Options by key.
    pub options: BTreeMap<String, Setting>,
}

/// How to reach a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum ConnectionProfile {
    /// `url` is `postgres://user[:password]@host[:port]/database`; `password` overrides the one in the URL.
    Postgres {
        /// Connection URL.
        url: Setting,
        /// Password, when it is not in the URL.
        password: Option<Setting>,
    },
}

/// Where something stands in the job's files, for messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// job.toml or the SQL file, as the user named it.
    pub file: String,
    /// 1-based.
    pub line: u32,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// `schema.table`, or a bare table; lower case, as SQL folds names without quotes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableName {
    /// `bronze` in `bronze.customers`; empty when there is none.
    pub schema: String,
    /// `customers` in `bronze.customers`.
    pub table: String,
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.schema.is_empty() { f.write_str(&self.table) } else { write!(f, "{}.{}", self.schema, self.table) }
    }
}

/// One step: a Delta table and how it is filled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Its name.
    pub name: TableName,
    /// Absolute URL of the table's root, without a trailing slash.
    pub location: String,
    /// What fills it.
    pub input: TableInput,
    /// Names of the sources and tables its input reads; tables of the job and sources of the job by their job
    /// name, any other `a.b` is a table that exists already in the warehouse.
    pub reads: Vec<Read>,
    /// How rows are put in.
    pub mode: WriteMode,
    /// Hive partition columns.
    pub partition_by: Vec<String>,
    /// Adds `_ingested_at`, `_source`, `_run_id`.
    pub audit: bool,
    /// Checks, in the order of the file.
    pub expectations: Vec<Expectation>,
    /// A data file is closed when it has reached this size.
    pub target_file_size_bytes: u64,
    /// Delta table properties set when the table is created.
    pub properties: BTreeMap<String, String>,
    /// Its place in job.toml.
    pub origin: Origin,
}

/// The columns that `audit` adds to a table.
pub const AUDIT: [&str; 3] = ["_ingested_at", "_source", "_run_id"];

/// What fills a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TableInput {
    /// Every row of a source or table, named like a SQL table.
    From(String),
    /// A query.
    Sql {
        /// The text, parameters substituted.
        text: String,
        /// Where it begins, so that positions inside it can be told.
        origin: Origin,
        /// Column in the line of [`Self::Sql::origin`] at which it begins, 1-based; 1 in submissions of older versions.
        #[serde(default = "first_column", skip_serializing_if = "is_first_column")]
        column: u32,
    },
}

fn first_column() -> u32 {
    1
}

fn is_first_column(column: &u32) -> bool {
    *column == first_column()
}

/// Something a step reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "name", rename_all = "lowercase")]
pub enum Read {
    /// A source of this job.
    Source(String),
    /// A table that an earlier step of this job writes.
    Table(TableName),
    /// A Delta table of the warehouse that no step writes.
    External(TableName),
}

/// How rows are put into a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case")]
pub enum WriteMode {
    /// Rows are added.
    Append,
    /// The table's rows are replaced.
    Overwrite,
    /// Rows that match are replaced; every new row must match.
    ReplaceWhere {
        /// Condition over the table's columns.
        predicate: String,
        /// Where it is written; `None` in submissions of older versions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        origin: Option<Origin>,
    },
}

impl fmt::Display for WriteMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Append => f.write_str("append"),
            Self::Overwrite => f.write_str("overwrite"),
            Self::ReplaceWhere { predicate, .. } => write!(f, "replace where {predicate}"),
        }
    }
}

/// A check on every row before it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expectation {
    /// Its name in counts and messages.
    pub name: String,
    /// Boolean SQL over the step's columns; NULL counts as a violation.
    pub check: String,
    /// What a violation does.
    pub action: ExpectationAction,
    /// Where the check is written; `None` in submissions of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// What a violated expectation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExpectationAction {
    /// The row is kept and counted.
    Warn,
    /// The row is left out and counted.
    Drop,
    /// The step fails as `data-quality` and nothing is committed.
    Fail,
}

impl ExpectationAction {
    /// As job.toml spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Warn => "warn",
            Self::Drop => "drop",
            Self::Fail => "fail",
        }
    }
}
