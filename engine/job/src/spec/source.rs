//! `[[source]]` as it is written. Pure.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

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
    /// files: a file, a folder (ends in `/`, read with its subfolders) or a pattern (`*`, `**`, `?`, `{a,b}`).
    /// Required. A URL or a path relative to the folder of job.toml.
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
