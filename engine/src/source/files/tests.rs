//! Whole sources: real files in, rows or classed errors out.

use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::SessionContext;
use lake_job::{Column, ColumnType, CsvOptions, FileFormat, FilesSource, ParseMode};
use tempfile::TempDir;

use super::provider;
use crate::stores::{Profiles, Stores};
use crate::{EngineError, Result, session};

mod bad_input;
mod binary;
mod plans;
mod splits;
mod text;

/// A directory of source files and a session that reads them.
struct Fixture {
    directory: TempDir,
    stores: Arc<Stores>,
    context: SessionContext,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let stores = Arc::new(Stores::new(Profiles::default()));
        let runtime = session::runtime(256 << 20, directory.path()).unwrap();
        let context = session::session(session::local_config(3), runtime, stores.clone());
        Self { directory, stores, context }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn url(&self, name: &str) -> String {
        format!("file://{}/{name}", self.path().display())
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    fn source(&self, format: FileFormat, name: &str, mode: ParseMode) -> FilesSource {
        FilesSource { format, path: self.url(name), mode, schema: None, csv: CsvOptions::default() }
    }

    async fn register(&self, source: &FilesSource) -> Result<()> {
        let table = provider(self.stores.clone(), "src", source).await?;
        self.context.deregister_table("src")?;
        self.context.register_table("src", Arc::new(table))?;
        Ok(())
    }

    async fn plan(&self, source: &FilesSource, sql: &str) -> Result<Arc<dyn ExecutionPlan>> {
        self.register(source).await?;
        Ok(self.context.sql(sql).await?.create_physical_plan().await?)
    }

    async fn query(&self, source: &FilesSource, sql: &str) -> Result<Vec<RecordBatch>> {
        let plan = self.plan(source, sql).await?;
        collect(plan, self.context.task_ctx()).await.map_err(EngineError::from)
    }

    /// The result as text: header, then rows, fields separated by a bar.
    async fn rows(&self, source: &FilesSource, sql: &str) -> Result<Vec<String>> {
        Ok(rows(&self.query(source, sql).await?))
    }
}

fn rows(batches: &[RecordBatch]) -> Vec<String> {
    let table = pretty_format_batches(batches).unwrap().to_string();
    let cells = |line: &str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join("|");
    table.lines().filter(|line| !line.starts_with('+')).map(cells).collect()
}

fn declared(columns: &[(&str, ColumnType)]) -> Option<Vec<Column>> {
    let column = |(name, data_type): &(&str, ColumnType)| Column { name: (*name).to_owned(), data_type: *data_type };
    Some(columns.iter().map(column).collect())
}
