//! `[[table]]` as it is written. Pure.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Scalar;

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
