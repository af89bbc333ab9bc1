//! Tables on disk, written and read through the plan nodes, each plan sent through the codec first.

mod features;
mod reads;
mod writes;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::TableProvider;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::SessionContext;
use deltalake_core::kernel::Add;
use tempfile::TempDir;
use url::Url;

use super::*;
use crate::codec::{codec, decode_plan, encode_plan};
use crate::session;
use crate::stores::{Profiles, Stores};

/// A warehouse in a temporary directory with a session of `tasks` partitions.
pub(super) struct Lake {
    directory: TempDir,
    pub(super) stores: Arc<Stores>,
    pub(super) session: SessionContext,
    tasks: usize,
}

pub(super) fn lake(tasks: usize) -> Lake {
    let directory = TempDir::new().unwrap();
    let stores = Arc::new(Stores::new(Profiles::default()));
    let runtime = session::runtime(256 << 20, directory.path()).unwrap();
    let session = session::session(session::local_config(tasks), runtime, stores.clone());
    Lake { directory, stores, session, tasks }
}

impl Lake {
    pub(super) fn path(&self, table: &str) -> PathBuf {
        self.directory.path().join(table)
    }

    pub(super) fn location(&self, table: &str) -> Url {
        Url::from_file_path(self.path(table)).unwrap()
    }

    pub(super) async fn create(&self, table: &str, columns: &[(&str, DataType)], partition_by: &[&str]) -> Snapshot {
        let fields: Vec<Field> = columns.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect();
        let new = NewTable {
            name: table.to_owned(),
            schema: Arc::new(Schema::new(fields)),
            partition_by: partition_by.iter().map(|name| (*name).to_owned()).collect(),
            properties: [].into(),
        };
        DeltaTable::create(&self.stores, &self.location(table), &new).await.unwrap()
    }

    pub(super) async fn open(&self, table: &str) -> Snapshot {
        DeltaTable::open(&self.stores, &self.location(table)).await.unwrap().unwrap()
    }

    /// The plan after a trip through bytes, run to its end.
    pub(super) async fn run(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Vec<RecordBatch>, crate::EngineError> {
        let codec = codec();
        let bytes = encode_plan(&plan, codec.as_ref()).unwrap();
        let plan = decode_plan(&bytes, &self.session.task_ctx(), codec.as_ref()).unwrap();
        let mut batches = Vec::new();
        for partition in 0..plan.properties().partitioning.partition_count() {
            let mut stream = plan.execute(partition, self.session.task_ctx())?;
            while let Some(batch) = futures::TryStreamExt::try_next(&mut stream).await? {
                batches.push(batch);
            }
        }
        Ok(batches)
    }

    pub(super) async fn write(&self, snapshot: &Snapshot, sql: &str) -> Written {
        let spec = WriteSpec::new(snapshot, 128 << 20).unwrap();
        self.write_with(spec, sql).await.unwrap()
    }

    pub(super) async fn write_with(&self, spec: WriteSpec, sql: &str) -> Result<Written, crate::EngineError> {
        let rows = self.session.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        let plan = plan_gathered_write(rows, spec, self.tasks)?;
        Written::read(&self.run(plan).await?)
    }

    /// Writes and commits; the table after it.
    pub(super) async fn put(&self, table: &str, mode: Mode, run: i64, sql: &str) -> Snapshot {
        let snapshot = self.open(table).await;
        let written = self.write(&snapshot, sql).await;
        let outcome = commit(&self.stores, &snapshot, request(mode, written.adds, run)).await.unwrap();
        assert!(matches!(outcome, CommitOutcome::Committed(_)), "{outcome:?}");
        self.open(table).await
    }

    pub(super) async fn append(&self, table: &str, run: i64, sql: &str) -> Snapshot {
        self.put(table, Mode::Append, run, sql).await
    }

    /// The physical plan of `sql`, in which `t` is the provider.
    pub(super) async fn plan(&self, provider: DeltaTableProvider, sql: &str) -> Arc<dyn ExecutionPlan> {
        self.session.deregister_table("t").unwrap();
        self.session.register_table("t", Arc::new(provider) as Arc<dyn TableProvider>).unwrap();
        self.session.sql(sql).await.unwrap().create_physical_plan().await.unwrap()
    }

    /// The answer of `sql` over the snapshot as table `t`, as text lines.
    pub(super) async fn query(&self, snapshot: &Snapshot, sql: &str) -> Vec<String> {
        let plan = self.plan(DeltaTableProvider::new(snapshot.clone()), sql).await;
        let codec = codec();
        let bytes = encode_plan(&plan, codec.as_ref()).unwrap();
        let decoded = decode_plan(&bytes, &self.session.task_ctx(), codec.as_ref()).unwrap();
        let travelled = lines(&collect(decoded, self.session.task_ctx()).await.unwrap());
        let direct = lines(&collect(plan, self.session.task_ctx()).await.unwrap());
        assert_eq!(travelled, direct, "a plan gives the same rows after its trip through bytes");
        direct
    }

    /// A table from a hand-written log.
    pub(super) fn hand_written(&self, table: &str, entries: &[&[serde_json::Value]]) {
        let log = self.path(table).join("_delta_log");
        std::fs::create_dir_all(&log).unwrap();
        for (version, actions) in entries.iter().enumerate() {
            let body: Vec<String> = actions.iter().map(serde_json::Value::to_string).collect();
            std::fs::write(log.join(format!("{version:020}.json")), body.join("\n")).unwrap();
        }
    }
}

pub(super) fn request(mode: Mode, adds: Vec<Add>, run: i64) -> CommitRequest {
    let metrics = [].into();
    CommitRequest { mode, adds, txn: ("lake/job/table".to_owned(), run), metrics, user_metadata: None }
}

/// Rows as text, without borders: values joined by `|`.
fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let Some(first) = batches.first() else { return vec![] };
    let text = pretty_format_batches(batches).unwrap().to_string();
    let header = if first.num_columns() == 0 { 0 } else { 1 };
    let rows = text.lines().filter(|line| line.starts_with('|')).skip(header);
    rows.map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join("|")).collect()
}

/// Every data file below a directory.
fn data_files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(data_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            found.push(path);
        }
    }
    found
}
