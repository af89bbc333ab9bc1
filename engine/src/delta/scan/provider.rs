//! A pinned table as DataFusion sees it. Edge: reads the live files, and footers of those it cuts.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::conjunction_opt;
use datafusion::physical_plan::ExecutionPlan;

use super::exec::{DeltaFilesScanExec, ScannedFiles};
use super::layout::Layout;
use super::pieces::{Footers, plan};
use crate::delta::files::LiveFile;
use crate::delta::stats;
use crate::delta::table::Snapshot;
use crate::worklist;

/// A table at one version, or some of its files.
#[derive(Clone)]
pub struct DeltaTableProvider {
    snapshot: Snapshot,
    files: Option<Arc<[LiveFile]>>,
}

impl fmt::Debug for DeltaTableProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeltaTableProvider({:?})", self.snapshot)
    }
}

impl DeltaTableProvider {
    /// Every row of the snapshot.
    pub fn new(snapshot: Snapshot) -> Self {
        Self { snapshot, files: None }
    }

    /// The rows of `files` only, which are live in the snapshot: the survivors of a replacement, for example.
    pub fn over(snapshot: Snapshot, files: Vec<LiveFile>) -> Self {
        Self { snapshot, files: Some(files.into()) }
    }

    async fn files(&self) -> crate::Result<Arc<[LiveFile]>> {
        match &self.files {
            Some(files) => Ok(files.clone()),
            None => self.snapshot.live_files().await,
        }
    }

    fn is_exact(&self, filter: &Expr) -> bool {
        let columns = self.snapshot.columns();
        let used = filter.column_refs();
        let is_partition = |name: &str| columns.find(name).is_some_and(|column| column.is_partition);
        !used.is_empty() && used.iter().all(|column| is_partition(&column.name)) && !filter.is_volatile()
    }

    /// Files that can hold a row for which every filter is true.
    fn pruned(&self, files: &[LiveFile], filters: &[Arc<dyn PhysicalExpr>]) -> crate::Result<Vec<LiveFile>> {
        let columns = self.snapshot.columns();
        let (exact, bounded): (Vec<_>, Vec<_>) =
            filters.iter().cloned().partition(|filter| stats::is_over_partitions(columns, filter));
        let mut kept = files.to_vec();
        for filter in exact.into_iter().chain(conjunction_opt(bounded)) {
            let mut matches = stats::may_match(columns, &filter, kept.iter())?.into_iter();
            kept.retain(|_| matches.next().unwrap_or(true));
        }
        Ok(kept)
    }
}

/// The first files that hold `limit` rows, when the log says so.
fn enough(files: Vec<LiveFile>, limit: usize) -> Vec<LiveFile> {
    let mut rows = 0;
    let mut count = 0;
    for file in &files {
        if rows >= limit as u64 {
            break;
        }
        rows += stats::live_rows(file).unwrap_or(0);
        count += 1;
    }
    files.into_iter().take(count).collect()
}

#[async_trait]
impl TableProvider for DeltaTableProvider {
    fn schema(&self) -> SchemaRef {
        self.snapshot.scan_schema().clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| {
            if filter.is_volatile() {
                TableProviderFilterPushDown::Unsupported
            } else if self.is_exact(filter) {
                TableProviderFilterPushDown::Exact
            } else {
                TableProviderFilterPushDown::Inexact
            }
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let columns = self.snapshot.columns();
        let schema = DFSchema::try_from(columns.scan.as_ref().clone())?;
        let physical = |filter: &Expr| session.create_physical_expr(filter.clone(), &schema);
        let filters_exact = filters.iter().all(|filter| self.is_exact(filter));
        let filters = filters.iter().map(physical).collect::<Result<Vec<_>>>()?;
        let all = self.files().await?;
        let mut files = self.pruned(&all, &filters)?;
        if let Some(limit) = limit.filter(|_| filters_exact) {
            files = enough(files, limit);
        }
        let every: Vec<usize> = (0..columns.list.len()).collect();
        let projection = projection.unwrap_or(&every);
        let layout = Layout::new(self.snapshot.location(), columns, projection)?;
        let on_rows = filters.iter().filter(|filter| !stats::is_over_partitions(columns, filter));
        let on_rows = on_rows.map(|filter| layout.to_source(filter, columns)).collect::<Result<Vec<_>>>()?;
        let predicate = conjunction_opt(on_rows.into_iter().flatten());
        let statistics = stats::estimate(columns, &files, projection);
        let footers = Footers {
            stores: self.snapshot.stores(),
            table: self.snapshot.location(),
            cache: session.runtime_env().cache_manager.get_file_metadata_cache(),
        };
        let pieces = plan(&files, columns, session.config().target_partitions(), &footers).await?;
        let work = worklist::leaf(&pieces)?;
        let scan = DeltaFilesScanExec::new(Arc::new(layout), predicate, statistics, work);
        Ok(Arc::new(scan.with_files(ScannedFiles { read: files.len(), total: all.len() })))
    }
}
