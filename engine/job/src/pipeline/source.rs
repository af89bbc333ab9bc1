//! Sources as a valid job.toml means them. Pure.

use serde::{Deserialize, Serialize};

use super::Origin;

/// The column of csv and json sources that keeps the raw line of rows that did not parse whole.
pub const RESCUED: &str = "_rescued";

/// A named input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The name SQL uses.
    pub name: String,
    /// Where its rows come from.
    pub input: SourceInput,
    /// Its place in job.toml.
    pub origin: Origin,
}

/// Where the rows of a source come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum SourceInput {
    /// Files under a path.
    Files(FilesSource),
    /// A PostgreSQL table or query.
    Postgres(PostgresSource),
}

/// Files under a path, read as one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesSource {
    /// File format.
    pub format: FileFormat,
    /// Absolute `file://` or `s3://` URL of a file, a directory (ends in `/`, read recursively) or a glob.
    pub path: String,
    /// What happens to rows that do not parse.
    pub mode: ParseMode,
    /// Declared columns; `None` = inferred from the files.
    pub schema: Option<Vec<Column>>,
    /// Format options; defaults for formats that do not use them.
    pub csv: CsvOptions,
}

/// A declared column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Column name.
    pub name: String,
    /// Type.
    #[serde(rename = "type")]
    pub data_type: ColumnType,
}

/// Types of declared columns, by their Spark SQL names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnType {
    /// 8-bit integer.
    TinyInt,
    /// 16-bit integer.
    SmallInt,
    /// 32-bit integer.
    Int,
    /// 64-bit integer.
    BigInt,
    /// 32-bit float.
    Float,
    /// 64-bit float.
    Double,
    /// Exact number, precision 1 to 38.
    Decimal {
        /// Digits in all.
        precision: u8,
        /// Digits after the point.
        scale: i8,
    },
    /// UTF-8 text.
    String,
    /// True or false.
    Boolean,
    /// Calendar day.
    Date,
    /// Instant, microseconds, UTC.
    Timestamp,
    /// Wall-clock time without zone, microseconds.
    #[serde(rename = "timestamp_ntz")]
    TimestampNtz,
    /// Bytes.
    Binary,
}

/// Format of source files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileFormat {
    /// Separated values, RFC 4180 quoting.
    Csv,
    /// One JSON object per line.
    Json,
    /// Apache Parquet.
    Parquet,
    /// Apache Avro object container files.
    Avro,
}

/// What happens to rows that do not parse; Spark's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParseMode {
    /// Fields that do not parse become NULL and the raw line goes to `_rescued` (a nullable text column that is
    /// there for csv and json).
    Permissive,
    /// The row is left out.
    Drop,
    /// The first such row fails the step.
    FailFast,
}

/// Options of `format = "csv"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CsvOptions {
    /// The first line of every file names the columns.
    pub header: bool,
    /// Separator, one ASCII character.
    pub delimiter: char,
    /// Quote, one ASCII character.
    pub quote: char,
    /// Escape inside quotes; `None` = doubled quotes only.
    pub escape: Option<char>,
    /// Text that means NULL; an empty unquoted field always does.
    pub null_value: Option<String>,
    /// Quoted fields may contain line breaks; files are then not split.
    pub multiline: bool,
    /// Lines that start with it are skipped.
    pub comment: Option<char>,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self {
            header: true,
            delimiter: ',',
            quote: '"',
            escape: None,
            null_value: None,
            multiline: false,
            comment: None,
        }
    }
}

/// A PostgreSQL table or query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostgresSource {
    /// Name of the connection profile.
    pub connection: String,
    /// What is read.
    pub relation: Relation,
    /// Column for parallel key ranges; `None` = one range (or pages of the table, when it has no such column).
    pub partition_by: Option<String>,
    /// Number of ranges.
    pub partitions: u32,
}

/// What is read from a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Relation {
    /// `schema.table` or `table`.
    Table(String),
    /// A SELECT.
    Query(String),
}
