//! A file source as a table: listing and schema are fixed when it is made, pieces when it is scanned. Edge.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{DFSchema, Statistics};
use datafusion::error::Result as PlanResult;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use futures::{StreamExt, TryStreamExt, stream};
use lake_job::{FileFormat, FilesSource, ParseMode};

use super::exec::{FilesScanExec, Scan, ScanSpec, csv_format};
use super::listing::{self, Listing};
use super::pieces::{self, Piece};
use super::{avro, csv, infer, json, parquet, schema};
use crate::stores::Stores;
use crate::{EngineError, Result, worklist};

const CONCURRENT_HEADERS: usize = 8;

/// The files under a path as one table.
#[derive(Debug)]
pub struct FilesProvider {
    spec: ScanSpec,
    table: SchemaRef,
    files: Files,
}

#[derive(Debug)]
enum Files {
    /// Cut by bytes, or not at all.
    Plain(Listing),
    /// Cut by row groups, whose compressed bytes are known.
    Parquet(Vec<(listing::SourceFile, Vec<u64>)>),
}

/// Lists the files of a source and learns its columns: the declared ones, or what the files say. In permissive mode
/// CSV and JSON have a last column `_rescued`, the raw line of rows that did not parse whole. `source_name` is the
/// source's name in the job, for messages and plans.
///
/// # Errors
/// `not-found` (code `source-files`) without files; `invalid-job` for a path, option or schema that cannot be;
/// `data-quality` (code `bad-file`) for files that are not of the format; the store's class.
pub async fn provider(stores: Arc<Stores>, source_name: &str, source: &FilesSource) -> Result<FilesProvider> {
    open(&stores, source_name, source).await.map_err(|error| error.within(format!("source '{source_name}'")))
}

async fn open(stores: &Stores, source_name: &str, source: &FilesSource) -> Result<FilesProvider> {
    let mut listing = listing::list(stores, &source.path).await?;
    let declared = source.schema.as_deref().map(schema::declared).transpose()?;
    let is_binary = matches!(source.format, FileFormat::Parquet | FileFormat::Avro);
    if is_binary && listing.files.len() > 1 {
        // Writers leave empty files and directory markers behind; alone, an empty file is a damaged one.
        listing.files.retain(|file| file.size > 0);
    }
    let mut spec = ScanSpec {
        source: source_name.to_owned(),
        base: listing.base.clone(),
        format: source.format,
        mode: source.mode,
        csv: source.csv.clone(),
        is_declared: declared.is_some(),
        projection: Vec::new(),
        fetch: None,
        rows: None,
        bytes: usize::try_from(listing.files.iter().map(|file| file.size).sum::<u64>()).unwrap_or(usize::MAX),
    };
    if source.format == FileFormat::Parquet {
        let footers = parquet::footers(&listing).await?;
        let table = match declared {
            Some(table) => {
                check_present(&table, &footers)?;
                table
            }
            None => infer::union(footers.iter().map(|footer| (footer.name.as_str(), &footer.schema)))?,
        };
        spec.rows = usize::try_from(footers.iter().map(|footer| footer.rows).sum::<u64>()).ok();
        let files = listing.files.into_iter().zip(footers.into_iter().map(|footer| footer.row_groups)).collect();
        return Ok(FilesProvider { table: checked(table, source_name)?, spec, files: Files::Parquet(files) });
    }
    let table = match (declared, source.format) {
        (Some(table), _) => {
            if source.format == FileFormat::Csv {
                csv_format(&spec)?;
            }
            table
        }
        (None, FileFormat::Csv) => csv::infer::infer(&infer::samples(&listing).await?, &csv_format(&spec)?)?,
        (None, FileFormat::Json) => json::infer::infer(&infer::samples(&listing).await?)?,
        (None, _) => avro_columns(&listing).await?,
    };
    let mut table = checked(table, source_name)?;
    if !is_binary && source.mode == ParseMode::Permissive {
        table = Arc::new(schema::with_rescued(&table)?);
    }
    spec.rows = Some(estimated_rows(&listing, &table));
    Ok(FilesProvider { spec, table, files: Files::Plain(listing) })
}

impl FilesProvider {
    /// Number of files that were listed, and their bytes.
    pub fn extent(&self) -> (u64, u64) {
        let files = self.listed();
        (files.len() as u64, files.iter().map(|file| file.size).sum())
    }

    fn listed(&self) -> Vec<&listing::SourceFile> {
        match &self.files {
            Files::Plain(listing) => listing.files.iter().collect(),
            Files::Parquet(files) => files.iter().map(|(file, _)| file).collect(),
        }
    }

    /// What exactly it reads: its files as they were listed, one a line. A file that is another one when it is read is
    /// refused.
    pub fn pinned(&self) -> String {
        let mut text = format!("files {}\n", self.spec.base);
        for file in self.listed() {
            let etag = file.etag.as_deref().unwrap_or_default();
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{} {} {} {etag}", file.key, file.size, file.modified_ms);
        }
        text
    }
}

fn checked(table: Schema, source_name: &str) -> Result<SchemaRef> {
    if table.fields().is_empty() {
        return Err(EngineError::invalid("source-schema", format!("the files of '{source_name}' have no columns")));
    }
    schema::check_names(table.fields().iter().map(|field| field.name().as_str()), "the source")?;
    Ok(Arc::new(table))
}

/// A declared column that no file has is a misspelt one: it would be NULL throughout.
fn check_present(table: &Schema, footers: &[parquet::Footer]) -> Result<()> {
    let missing = |name: &str| !footers.iter().any(|footer| footer.schema.column_with_name(name).is_some());
    let found = table.fields().iter().find(|field| missing(field.name()));
    match (found, footers.first()) {
        (Some(field), Some(footer)) => Err(EngineError::invalid(
            "source-schema",
            format!(
                "declared column '{}' is in none of the files; '{}' has {}",
                field.name(),
                footer.name,
                super::text::column_names(&footer.schema)
            ),
        )),
        _ => Ok(()),
    }
}

async fn avro_columns(listing: &Listing) -> Result<Schema> {
    let files: Vec<_> = infer::sampled(&listing.files).into_iter().map(|file| listing.open(file)).collect();
    if files.is_empty() {
        return Err(infer::nothing_to_infer("nothing but empty files"));
    }
    let names: Vec<String> = files.iter().map(|file| file.name.clone()).collect();
    let headers = stream::iter(files.into_iter().map(avro::columns)).buffered(CONCURRENT_HEADERS);
    let schemas: Vec<Schema> = headers.try_collect().await?;
    infer::union(names.iter().map(String::as_str).zip(&schemas))
}

/// A guess for the planner: a text field has some ten bytes, compression saves three quarters.
fn estimated_rows(listing: &Listing, table: &Schema) -> usize {
    let text = |file: &listing::SourceFile| {
        let factor = if super::input::compression(&file.key).is_compressed() { 4 } else { 1 };
        file.size.saturating_mul(factor)
    };
    let bytes: u64 = listing.files.iter().map(text).sum();
    usize::try_from(bytes / (10 * table.fields().len().max(1)) as u64).unwrap_or(usize::MAX)
}

impl FilesProvider {
    fn pieces(&self, partitions: usize) -> Vec<Piece> {
        match &self.files {
            Files::Plain(listing) => match self.spec.format {
                FileFormat::Csv => pieces::of_text(&listing.files, partitions, !self.spec.csv.multiline),
                FileFormat::Json => pieces::of_text(&listing.files, partitions, true),
                FileFormat::Parquet | FileFormat::Avro => pieces::of_whole(&listing.files),
            },
            Files::Parquet(files) => pieces::of_row_groups(files, partitions),
        }
    }
}

#[async_trait]
impl TableProvider for FilesProvider {
    fn schema(&self) -> SchemaRef {
        self.table.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn statistics(&self) -> Option<Statistics> {
        let mut statistics = Statistics::new_unknown(&self.table);
        statistics.num_rows = self.spec.rows.map_or(Precision::Absent, Precision::Inexact);
        statistics.total_byte_size = Precision::Inexact(self.spec.bytes);
        Some(statistics)
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> PlanResult<Vec<TableProviderFilterPushDown>> {
        let pushed = match self.spec.format {
            FileFormat::Parquet => TableProviderFilterPushDown::Inexact,
            FileFormat::Csv | FileFormat::Json | FileFormat::Avro => TableProviderFilterPushDown::Unsupported,
        };
        Ok(vec![pushed; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> PlanResult<Arc<dyn ExecutionPlan>> {
        let mut spec = self.spec.clone();
        spec.projection = projection.cloned().unwrap_or_else(|| (0..self.table.fields().len()).collect());
        spec.fetch = limit.filter(|_| filters.is_empty());
        let predicate = match (spec.format, conjunction(filters.to_vec())) {
            (FileFormat::Parquet, Some(filter)) => {
                let schema = DFSchema::try_from(self.table.clone())?;
                Some(state.create_physical_expr(filter, &schema)?)
            }
            _ => None,
        };
        let partitions = state.config().target_partitions();
        let packed = worklist::pack(self.pieces(partitions), partitions, Piece::bytes);
        let scan = Scan { spec, table: self.table.clone(), predicate };
        Ok(Arc::new(FilesScanExec::try_new(Arc::new(scan), worklist::leaf(&packed)?)?))
    }
}
