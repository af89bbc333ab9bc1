//! Opening a table at its latest version, to which it is pinned then. Edge: reads the log.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use delta_kernel::engine::arrow_conversion::TryIntoArrow;
use deltalake_core::DeltaTableError;
use deltalake_core::kernel::Snapshot as LogSnapshot;
use deltalake_core::logstore::{LogStoreRef, StorageConfig, default_logstore};
use futures::{StreamExt, TryStreamExt};
use lake_proto::ErrorClass;
use object_store::ObjectStore;
use object_store::path::Path;
use tokio::sync::OnceCell;
use url::Url;

use super::after::Size;
use super::columns::{Columns, Mapping};
use super::damage;
use super::files::LiveFile;
use super::protocol::Protocol;
use crate::error::{bare, words};
use crate::stores::Stores;
use crate::{EngineError, Result};

/// Files that are counted before others on the thread get their turn.
const COUNTED_AT_ONCE: usize = 10_000;

/// A table by its location.
pub struct DeltaTable;

/// What a new table is made of.
#[derive(Debug, Clone)]
pub struct NewTable {
    /// Its name, for its metadata.
    pub name: String,
    /// Its columns; turned into table types by [`super::table_schema`].
    pub schema: SchemaRef,
    /// Hive partition columns, in order.
    pub partition_by: Vec<String>,
    /// Delta table properties.
    pub properties: BTreeMap<String, String>,
}

impl NewTable {
    /// The CHECK constraints among its properties, name and SQL: they bind its first rows too.
    pub fn constraints(&self) -> Vec<(String, String)> {
        check_constraints(&self.properties).collect()
    }
}

fn check_constraints(properties: &BTreeMap<String, String>) -> impl Iterator<Item = (String, String)> {
    let constraint = |(key, sql): (&String, &String)| {
        key.strip_prefix("delta.constraints.").map(|name| (name.to_owned(), sql.clone()))
    };
    properties.iter().filter_map(constraint)
}

/// A table at one version. Cheap to clone; live files are read once, when first asked for.
#[derive(Clone)]
pub struct Snapshot {
    inner: Arc<Inner>,
}

struct Inner {
    stores: Arc<Stores>,
    location: Url,
    log: LogStoreRef,
    kernel: LogSnapshot,
    version: i64,
    columns: Columns,
    schema: SchemaRef,
    protocol: Protocol,
    properties: BTreeMap<String, String>,
    files: OnceCell<Arc<[LiveFile]>>,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.inner.location, self.inner.version)
    }
}

impl DeltaTable {
    /// The table at `location` at its latest version; `None` when there is no Delta log.
    ///
    /// # Errors
    /// `invalid-job` (code `delta-protocol`) for a table we cannot read, else the store's class.
    pub async fn open(stores: &Arc<Stores>, location: &Url) -> Result<Option<Snapshot>> {
        let location = normal(location);
        let root = stores.rooted(&location)?;
        if !has_log(root.as_ref()).await.map_err(|error| error.within(format!("cannot open table '{location}'")))? {
            return Ok(None);
        }
        let log = default_logstore(root.clone(), stores.store(&location)?, &location, &StorageConfig::default());
        let kernel = match LogSnapshot::try_new(log.as_ref(), None).await {
            Ok(kernel) => kernel,
            Err(DeltaTableError::NotATable(_)) => return Ok(None),
            Err(error) => return Err(open_error(root.as_ref(), error, &location).await),
        };
        Snapshot::new(stores.clone(), location, log, kernel).map(Some)
    }

    /// Creates the table in an empty commit of its own and opens it. Losing a race against another creation, and
    /// repeating it, is success when that table has the same columns and partitioning.
    ///
    /// # Errors
    /// `invalid-job` for columns a Delta table cannot have; `conflict` (code `delta-create`) when a different table
    /// is there already.
    pub async fn create(stores: &Arc<Stores>, location: &Url, table: &NewTable) -> Result<Snapshot> {
        super::create::create(stores, &normal(location), table).await
    }
}

/// Without a trailing slash, and `s3a` spelled `s3`.
fn normal(location: &Url) -> Url {
    let text = location.as_str().trim_end_matches('/').replacen("s3a://", "s3://", 1);
    Url::parse(&text).unwrap_or_else(|_| location.clone())
}

async fn has_log(root: &dyn ObjectStore) -> Result<bool> {
    Ok(root.list(Some(&Path::from("_delta_log"))).next().await.transpose()?.is_some())
}

async fn open_error(root: &dyn ObjectStore, error: DeltaTableError, location: &Url) -> EngineError {
    use delta_kernel::Error as Kernel;
    let unsupported = match &error {
        DeltaTableError::KernelError(error) => {
            matches!(bare(error), Kernel::Unsupported(_) | Kernel::InvalidProtocol(_))
        }
        _ => false,
    };
    if unsupported {
        let said = words::of_delta(&error);
        return EngineError::invalid("delta-protocol", format!("table '{location}' cannot be read: {said}"));
    }
    damage::explained(root, &format!("cannot open table '{location}'"), error).await
}

impl Snapshot {
    fn new(stores: Arc<Stores>, location: Url, log: LogStoreRef, kernel: LogSnapshot) -> Result<Self> {
        let damaged = |what: &str, error: &dyn fmt::Display| {
            EngineError::internal(format!("the log of table '{location}' has a {what} that does not parse: {error}"))
        };
        let protocol = serde_json::to_value(kernel.protocol()).and_then(serde_json::from_value::<Protocol>);
        let protocol = protocol.map_err(|error| damaged("protocol", &error))?;
        protocol.check_read(location.as_str())?;
        let logical: arrow::datatypes::Schema =
            kernel.schema().as_ref().try_into_arrow().map_err(|error| damaged("schema", &error))?;
        let properties: BTreeMap<String, String> =
            kernel.metadata().configuration().iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let mapping =
            Mapping::parse(properties.get("delta.columnMapping.mode").map(String::as_str), location.as_str())?;
        let columns = Columns::new(&logical, kernel.metadata().partition_columns(), mapping)?;
        let version = i64::try_from(kernel.version()).map_err(|error| damaged("version", &error))?;
        let schema = Arc::new(logical);
        let files = OnceCell::new();
        let inner = Inner { stores, location, log, kernel, version, columns, schema, protocol, properties, files };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The version it is pinned to.
    pub fn version(&self) -> i64 {
        self.inner.version
    }

    /// The table's root, without a trailing slash.
    pub fn location(&self) -> &Url {
        &self.inner.location
    }

    /// The stores it is read through.
    pub fn stores(&self) -> &Arc<Stores> {
        &self.inner.stores
    }

    /// Its columns in all their spellings.
    pub fn columns(&self) -> &Columns {
        &self.inner.columns
    }

    /// The schema writers cast to: table types and names.
    pub fn schema(&self) -> &SchemaRef {
        &self.inner.columns.table
    }

    /// The schema scans give: as [`Self::schema`] with text and bytes as views.
    pub fn scan_schema(&self) -> &SchemaRef {
        &self.inner.columns.scan
    }

    /// Hive partition columns.
    pub fn partition_columns(&self) -> &[String] {
        self.inner.kernel.metadata().partition_columns()
    }

    /// Table properties.
    pub fn properties(&self) -> &BTreeMap<String, String> {
        &self.inner.properties
    }

    /// The conditions every row must meet besides NOT NULL: CHECK constraints and column invariants, name and SQL.
    pub fn constraints(&self) -> Vec<(String, String)> {
        let checks = check_constraints(&self.inner.properties);
        let invariants = self.inner.schema.fields().iter().filter_map(|field| {
            let text = field.metadata().get("delta.invariants")?;
            let value: serde_json::Value = serde_json::from_str(text).ok()?;
            let sql = value.pointer("/expression/expression")?.as_str()?;
            Some((format!("invariant of {}", field.name()), sql.to_owned()))
        });
        checks.chain(invariants).collect()
    }

    /// Refuses tables we would damage by writing.
    ///
    /// # Errors
    /// `invalid-job`, code `delta-protocol`, naming the feature.
    pub fn check_writable(&self) -> Result<()> {
        self.inner.protocol.check_write(self.inner.location.as_str(), &self.inner.schema, &self.inner.properties)
    }

    /// The version of the last transaction of `app_id`, if it ever committed here.
    ///
    /// # Errors
    /// The store's class.
    pub async fn txn_version(&self, app_id: &str) -> Result<Option<i64>> {
        let scan = self.inner.kernel.scan_builder().build()?;
        let kernel = scan.snapshot().clone();
        let engine = self.inner.log.engine(None);
        let app_id = app_id.to_owned();
        let version = tokio::task::spawn_blocking(move || kernel.get_app_id_version(&app_id, engine.as_ref())).await;
        match version.map_err(|error| EngineError::internal(error.to_string()))? {
            Ok(version) => Ok(version),
            Err(error) => Err(self.read_error(DeltaTableError::from(error)).await),
        }
    }

    /// Whether the rows of a run, named by its transaction, are in the table.
    ///
    /// # Errors
    /// `conflict` (code `delta-overtaken`) when a later run of the same job has written the table: the log keeps only
    /// the last number, so whether the earlier rows are in is not known, and to guess would lose or double them.
    pub async fn has_committed(&self, transaction: &(String, i64)) -> Result<bool> {
        let (app_id, run) = transaction;
        match self.txn_version(app_id).await? {
            Some(done) if done > *run => Err(EngineError::new(
                ErrorClass::Conflict,
                "delta-overtaken",
                format!(
                    "run {run} cannot write table '{}': run {done} of the same job, which is a later one, has written it; \
                     runs of one job must not overlap, also not from other clusters or in local mode. Submit the job again",
                    self.location()
                ),
            )),
            done => Ok(done == Some(*run)),
        }
    }

    /// Every live data file, read from the log once.
    ///
    /// # Errors
    /// The store's class.
    pub async fn live_files(&self) -> Result<Arc<[LiveFile]>> {
        let read = || async {
            let mut views = self.inner.kernel.file_views(self.inner.log.as_ref(), None);
            let mut files: Vec<LiveFile> = Vec::new();
            loop {
                match views.try_next().await {
                    Ok(Some(view)) => files.push(LiveFile::of_view(&view)?),
                    Ok(None) => return Ok(Arc::from(files)),
                    Err(error) => return Err(self.read_error(error).await),
                }
            }
        };
        self.inner.files.get_or_try_init(read).await.cloned()
    }

    /// Counts the live files that are `wanted` on top of `size`, without keeping them.
    ///
    /// # Errors
    /// As [`Self::live_files`].
    pub(crate) async fn count(&self, mut size: Size, wanted: impl Fn(&LiveFile) -> bool) -> Result<Size> {
        if let Some(files) = self.inner.files.get() {
            for file in files.iter() {
                if wanted(file) {
                    size.add(file);
                }
            }
            return Ok(size);
        }
        let mut views = self.inner.kernel.file_views(self.inner.log.as_ref(), None);
        let mut counted: usize = 0;
        loop {
            match views.try_next().await {
                Ok(Some(view)) => {
                    let file = LiveFile::of_view(&view)?;
                    if wanted(&file) {
                        size.add(&file);
                    }
                }
                Ok(None) => return Ok(size),
                Err(error) => return Err(self.read_error(error).await),
            }
            counted += 1;
            if counted.is_multiple_of(COUNTED_AT_ONCE) {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Number of live files and their bytes, when they were read for something else.
    pub(crate) fn known_size(&self) -> Option<(u64, u64)> {
        let files = self.inner.files.get()?;
        Some((files.len() as u64, files.iter().map(|file| file.size).sum()))
    }

    /// Number of live files and their bytes.
    ///
    /// # Errors
    /// As [`Self::live_files`].
    #[cfg(test)]
    pub(crate) async fn size(&self) -> Result<(usize, u64)> {
        let files = self.live_files().await?;
        Ok((files.len(), files.iter().map(|file| file.size).sum()))
    }

    pub(crate) fn log_store(&self) -> &LogStoreRef {
        &self.inner.log
    }

    async fn read_error(&self, error: DeltaTableError) -> EngineError {
        match self.inner.stores.rooted(&self.inner.location) {
            Ok(root) => {
                let doing = format!("cannot read the log of table '{}'", self.inner.location);
                damage::explained(root.as_ref(), &doing, error).await
            }
            Err(error) => error,
        }
    }
}
