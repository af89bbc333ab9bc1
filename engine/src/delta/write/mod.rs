//! Writing rows into data files: [`plan_write`] puts [`DeltaWriteExec`] on top of a query, tasks answer with rows of
//! actions, [`Written`] reads them back in the driver. Nothing here touches the log. Edge.
//!
//! `align` turns a query's columns into the table's, `checks` evaluates expectations and constraints, `layout` says how
//! rows lie in files, `partitions` tells rows of different partitions apart, `sink` owns the open files of one task and
//! `uploads` their way to the store, `outcome` is what it answers.

mod align;
mod checks;
mod exec;
mod layout;
mod outcome;
mod partitions;
mod sink;
mod uploads;

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, Partitioning};
use serde::{Deserialize, Serialize};
use url::Url;

pub use exec::DeltaWriteExec;
pub use outcome::{ExpectationCount, Written, is_actions};

use super::columns::{Columns, Mapping};
use super::create::planned_schema;
use super::table::{NewTable, Snapshot};
use crate::{EngineError, Result};

/// Columns with statistics when the table does not say: the protocol's default.
const INDEXED_COLUMNS: i64 = 32;
/// Length of the random directory names that hide mapped column names.
const PREFIX_LENGTH: usize = 2;

/// How rows become data files of one table.
#[derive(Debug, Clone)]
pub struct WriteSpec {
    pub(crate) target: Target,
    /// Evaluated on every row, in this order.
    pub checks: Vec<Check>,
}

/// The part of a [`WriteSpec`] that is plain data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Target {
    pub(crate) location: Url,
    /// Table names and types: what rows are cast to and checks are over.
    pub(crate) schema: SchemaRef,
    /// The same columns as files name them.
    pub(crate) physical: SchemaRef,
    /// Partition columns by table name, in the order of the log.
    pub(crate) partition_by: Vec<String>,
    pub(crate) file_bytes: NonZeroU64,
    pub(crate) compression: Codec,
    /// Columns with statistics, -1 for all.
    pub(crate) indexed_columns: i64,
    /// Columns with statistics by physical name; overrides `indexed_columns`.
    pub(crate) stats_columns: Option<Vec<String>>,
    /// Length of random directory names; `None` = Hive directories.
    pub(crate) prefix_length: Option<usize>,
}

/// Compression of data files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Codec {
    Snappy,
    Zstd,
    Gzip,
    Lz4,
    None,
}

/// A condition on every row.
#[derive(Debug, Clone)]
pub struct Check {
    /// Its name in counts and messages.
    pub name: String,
    /// Boolean, over [`WriteSpec::schema`]; NULL is a violation.
    pub expression: Arc<dyn PhysicalExpr>,
    /// What a violation does.
    pub kind: CheckKind,
}

/// What a violated [`Check`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckKind {
    /// The row is written and counted.
    Warn,
    /// The row is left out and counted.
    Drop,
    /// The row is counted; the driver must not commit. Nothing more is written by that task.
    Fail,
    /// The task fails at once: conditions of the table itself.
    Constraint,
}

impl WriteSpec {
    /// For the table of `snapshot`, files closed at about `file_bytes`.
    ///
    /// # Errors
    /// `invalid-job` for a table that we cannot write or a property with an unusable value.
    pub fn new(snapshot: &Snapshot, file_bytes: u64) -> Result<Self> {
        snapshot.check_writable()?;
        Self::build(
            snapshot.location(),
            snapshot.columns(),
            snapshot.partition_columns(),
            snapshot.properties(),
            file_bytes,
        )
    }

    /// For a table that does not exist yet and will be created as `table` at `location`, so that nothing is there
    /// when its first step fails.
    ///
    /// # Errors
    /// As [`super::DeltaTable::create`].
    pub fn create(location: &Url, table: &NewTable, file_bytes: u64) -> Result<Self> {
        let schema = planned_schema(table)?;
        let columns = Columns::new(&schema, &table.partition_by, Mapping::None)?;
        Self::build(location, &columns, &table.partition_by, &table.properties, file_bytes)
    }

    fn build(
        location: &Url,
        columns: &Columns,
        partition_by: &[String],
        properties: &BTreeMap<String, String>,
        file_bytes: u64,
    ) -> Result<Self> {
        let property = |key: &str| properties.get(key).map(String::as_str);
        let unusable = |key: &str, value: &str, expected: &str| {
            EngineError::invalid(
                "delta-property",
                format!("table '{}' has {key} = '{value}': expected {expected}", location),
            )
        };
        let compression = match property("delta.parquet.compression.codec").unwrap_or("snappy") {
            "snappy" => Codec::Snappy,
            "zstd" => Codec::Zstd,
            "gzip" => Codec::Gzip,
            "lz4" => Codec::Lz4,
            "none" | "uncompressed" => Codec::None,
            other => {
                let expected = "snappy, zstd, gzip, lz4 or none";
                return Err(unusable("delta.parquet.compression.codec", other, expected));
            }
        };
        let key = "delta.dataSkippingNumIndexedCols";
        let indexed_columns = match property(key) {
            None => INDEXED_COLUMNS,
            Some(text) => match text.parse() {
                Ok(count) if count >= -1 => count,
                _ => return Err(unusable(key, text, "-1 or a number of columns")),
            },
        };
        let physical = |name: &str| columns.find(name).map_or(name.to_owned(), |column| column.physical.clone());
        let stats_columns = property("delta.dataSkippingStatsColumns")
            .map(|list| list.split(',').map(|name| physical(name.trim().trim_matches('`'))).collect());
        let mapped = columns.mapping != Mapping::None;
        let target = Target {
            location: location.clone(),
            schema: columns.table.clone(),
            physical: columns.physical.clone(),
            partition_by: partition_by.to_vec(),
            file_bytes: NonZeroU64::new(file_bytes).unwrap_or(NonZeroU64::MIN),
            compression,
            indexed_columns,
            stats_columns,
            prefix_length: mapped.then_some(PREFIX_LENGTH),
        };
        Ok(Self { target, checks: Vec::new() })
    }

    /// The table's partition columns.
    pub fn partition_by(&self) -> &[String] {
        &self.target.partition_by
    }

    /// The columns that checks are over: the table's.
    pub fn schema(&self) -> &SchemaRef {
        &self.target.schema
    }

    /// With these checks, evaluated in this order.
    #[must_use]
    pub fn with_checks(mut self, checks: Vec<Check>) -> Self {
        self.checks = checks;
        self
    }
}

/// A plan that writes the rows of `input`. Every input partition writes its own files, one for each partition of the
/// table that it meets.
///
/// # Errors
/// `invalid-job` (code `write-columns` or `write-types`) when the columns of `input` do not fit the table.
pub fn plan_write(input: Arc<dyn ExecutionPlan>, spec: WriteSpec) -> Result<Arc<dyn ExecutionPlan>> {
    Ok(Arc::new(DeltaWriteExec::new(spec, input)?))
}

/// As [`plan_write`], after the rows of a partitioned table were brought together by partition, over `tasks` tasks: few
/// files, of which a task has few open.
///
/// # Errors
/// As [`plan_write`].
pub fn plan_gathered_write(
    input: Arc<dyn ExecutionPlan>,
    spec: WriteSpec,
    tasks: usize,
) -> Result<Arc<dyn ExecutionPlan>> {
    let alignment = align::Alignment::new(&input.schema(), &spec.target.schema)?;
    let mut input = input;
    if !spec.target.partition_by.is_empty() && (tasks > 1 || input.output_partitioning().partition_count() > 1) {
        let schema = input.schema();
        let keys = spec.target.partition_by.iter().filter_map(|name| alignment.source_of(name));
        let key = |index: usize| Arc::new(Column::new(schema.field(index).name(), index)) as Arc<dyn PhysicalExpr>;
        let keys: Vec<_> = keys.map(key).collect();
        if !keys.is_empty() {
            input = Arc::new(RepartitionExec::try_new(input, Partitioning::Hash(keys, tasks.max(1)))?);
        }
    }
    plan_write(input, spec)
}
