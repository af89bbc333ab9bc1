//! Object stores by URL, built from profiles whose secrets are references resolved here, in the process that reads
//! or writes. Edge.

mod bucket;
mod credentials;
mod local;
mod patience;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lake_job::{ConnectionProfile, Setting, StorageProfile};
use lake_proto::ErrorClass;
use lake_proto::host::this_process;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use url::Url;

use self::credentials::Referenced;
pub use self::patience::Patience;
use crate::{EngineError, Result};

/// How long an unfinished upload is tried to be taken back; afterwards the store's own clean-up remains.
const CLEAN_UP_FOR: Duration = Duration::from_secs(30);

/// What a job says about stores and databases. Serializes without secrets: it travels with every query.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profiles {
    /// Storage profiles by URL prefix.
    pub storage: BTreeMap<String, StorageProfile>,
    /// Connection profiles by name.
    pub connections: BTreeMap<String, ConnectionProfile>,
}

/// The object stores and connections of one application in one process. Tasks find it as an extension of their
/// session's configuration: `context.session_config().get_extension::<Stores>()`.
pub struct Stores {
    profiles: Profiles,
    patience: Patience,
    open: Mutex<BTreeMap<String, Arc<dyn ObjectStore>>>,
    clean_ups: TaskTracker,
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stores").field("storage", &self.profiles.storage.keys()).finish_non_exhaustive()
    }
}

/// A database connection with its secrets resolved. Not serializable, never shown.
pub struct Connection {
    /// `postgres://…`
    pub url: String,
    /// Overrides the password in the URL.
    pub password: Option<String>,
}

impl Stores {
    /// Stores under these profiles; nothing is opened yet.
    pub fn new(profiles: Profiles) -> Self {
        let (patience, open) = (Patience::default(), Mutex::new(BTreeMap::new()));
        Self { profiles, patience, open, clean_ups: TaskTracker::new() }
    }

    /// The same with another patience.
    #[must_use]
    pub fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// The stores of the running task or session.
    ///
    /// # Errors
    /// `internal` when the session was made without them.
    pub fn of(context: &datafusion::execution::TaskContext) -> Result<Arc<Self>> {
        context
            .session_config()
            .get_extension::<Self>()
            .ok_or_else(|| EngineError::internal("this session has no object stores"))
    }

    /// The profiles, as they travel.
    pub fn profiles(&self) -> &Profiles {
        &self.profiles
    }

    /// The store that holds `url`, rooted at the bucket, or at `/` for files: use it with [`Self::path`].
    ///
    /// # Errors
    /// `invalid-job` for a scheme that is not `file` or `s3`, or a profile key that is not known; `not-found` for a
    /// secret reference that does not resolve.
    pub fn store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        let (prefix, profile) = self.profile(url);
        let key = format!("{}://{} {prefix}", url.scheme(), url.host_str().unwrap_or_default());
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = open.get(&key) {
            return Ok(store.clone());
        }
        let store: Arc<dyn ObjectStore> = match url.scheme() {
            "file" => Arc::new(local::SyncedFiles::new()),
            "s3" | "s3a" => Arc::new(s3(url, profile, self.patience)?),
            other => {
                return Err(EngineError::invalid(
                    "url-scheme",
                    format!("'{url}' has scheme '{other}': expected file or s3"),
                ));
            }
        };
        open.insert(key, store.clone());
        Ok(store)
    }

    /// The store rooted at `url` itself: a Delta table's root, for example.
    ///
    /// # Errors
    /// As [`Self::store`].
    pub fn rooted(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        Ok(Arc::new(PrefixStore::new(self.store(url)?, Self::path(url)?)))
    }

    /// The path of `url` inside [`Self::store`].
    ///
    /// # Errors
    /// `invalid-job` when it cannot be an object path.
    pub fn path(url: &Url) -> Result<Path> {
        Path::from_url_path(url.path())
            .map_err(|error| EngineError::invalid("object-path", format!("'{url}' is not an object path: {error}")))
    }

    /// A connection with its secrets resolved in this process.
    ///
    /// # Errors
    /// `invalid-job` when no such connection is declared, `not-found` when a secret reference does not resolve.
    pub fn connection(&self, name: &str) -> Result<Connection> {
        let Some(ConnectionProfile::Postgres { url, password }) = self.profiles.connections.get(name) else {
            return Err(EngineError::invalid("connection", format!("connection '{name}' is not declared")));
        };
        let what = format!("connection '{name}'");
        let password = password.as_ref().map(|password| resolve(password, &what)).transpose()?;
        Ok(Connection { url: resolve(url, &what)?, password })
    }

    /// Proves that the store under `url` honours create-if-absent: of two racing creates of one object exactly one
    /// may win. Delta commits stand on it.
    ///
    /// # Errors
    /// `invalid-job` (code `store-unsafe`) when both win; `unavailable`, `denied` or `not-found` (no such bucket) when
    /// the store cannot be written.
    pub async fn probe(&self, url: &Url) -> Result<()> {
        if url.scheme() == "file" {
            // Creation by hard link is atomic, and refused where the file system has none.
            return Ok(());
        }
        let store = self.store(url)?;
        let path = Self::path(url)?.join("_lake_probe").join(uuid::Uuid::new_v4().to_string().as_str());
        let create = |body: &'static str| {
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            store.put_opts(&path, body.into(), options)
        };
        let (first, second) = futures::join!(create("1"), create("2"));
        let winners = usize::from(first.is_ok()) + usize::from(second.is_ok());
        let loser = [first.err(), second.err()].into_iter().flatten().next();
        // The probe object is removed whatever the outcome; a leftover is harmless.
        let _ = store.delete(&path).await;
        match (winners, loser) {
            (1, Some(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. })) => Ok(()),
            (2, _) => Err(EngineError::invalid(
                "store-unsafe",
                format!(
                    "'{url}' ignores If-None-Match: two creates of one object both succeeded, so concurrent Delta \
                     commits could overwrite each other; use a store that supports conditional writes"
                ),
            )),
            (_, Some(error)) => {
                let error = match error {
                    // A write creates its object: what was not found is the bucket.
                    object_store::Error::NotFound { .. } => bucket::missing(url.host_str().unwrap_or_default()),
                    other => other.into(),
                };
                Err(error.within(format!("cannot write to '{url}'")))
            }
            (_, None) => Err(EngineError::internal("the store probe has neither winner nor loser")),
        }
    }

    /// Runs what takes back the writes of somebody who cannot wait for it, because it was dropped. It ends by itself,
    /// at the latest when its time is over; [`Self::cleaned_up`] waits for it. Outside a runtime nothing is done.
    pub(crate) fn clean_up(&self, task: impl Future<Output = ()> + Send + 'static) {
        let Ok(runtime) = Handle::try_current() else { return };
        let limited = async move {
            if tokio::time::timeout(CLEAN_UP_FOR, task).await.is_err() {
                tracing::warn!("unfinished uploads could not be taken back in time");
            }
        };
        self.clean_ups.spawn_on(limited, &runtime);
    }

    /// Waits until nothing is being taken back any more: for a process that is about to end.
    pub(crate) async fn cleaned_up(&self) {
        self.clean_ups.close();
        self.clean_ups.wait().await;
    }

    fn profile(&self, url: &Url) -> (String, Option<&StorageProfile>) {
        let text = url.as_str().replacen("s3a://", "s3://", 1);
        let covers = |prefix: &str| {
            text.strip_prefix(prefix.trim_end_matches('/')).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let best =
            self.profiles.storage.iter().filter(|(prefix, _)| covers(prefix)).max_by_key(|(prefix, _)| prefix.len());
        best.map_or((String::new(), None), |(prefix, profile)| (prefix.clone(), Some(profile)))
    }
}

/// The value of a setting in this process.
///
/// # Errors
/// `not-found` when the variable or file does not exist here; the message names it, the process and its host, never its
/// value.
pub fn resolve(setting: &Setting, what: &str) -> Result<String> {
    match setting {
        Setting::Literal(text) => Ok(text.clone()),
        Setting::Env(name) => std::env::var(name).map_err(|_| {
            let process = this_process();
            EngineError::not_found("secret", format!("{what}: environment variable {name} is not set in {process}"))
        }),
        Setting::File(path) => std::fs::read_to_string(path).map(|text| text.trim().to_owned()).map_err(|error| {
            let process = this_process();
            EngineError::not_found("secret", format!("{what}: secret file {path} cannot be read by {process}: {error}"))
        }),
    }
}

/// Keys that are kept in files are read again while the store is in use.
fn referenced_keys(url: &Url, profile: &StorageProfile) -> Result<Option<Referenced>> {
    let of = |key: &str| profile.options.get(key).cloned();
    let (Some(key_id), Some(secret_key)) = (of("access_key_id"), of("secret_access_key")) else { return Ok(None) };
    let token = of("session_token");
    let are_files = [Some(&key_id), Some(&secret_key), token.as_ref()];
    if !are_files.into_iter().flatten().any(|setting| matches!(setting, Setting::File(_))) {
        return Ok(None);
    }
    Referenced::new(format!("storage '{url}'"), key_id, secret_key, token).map(Some)
}

fn s3(url: &Url, profile: Option<&StorageProfile>, patience: Patience) -> Result<object_store::aws::AmazonS3> {
    let bucket = url.host_str().filter(|host| !host.is_empty());
    let bucket = bucket.ok_or_else(|| EngineError::invalid("url-bucket", format!("'{url}' names no bucket")))?;
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_client_options(ClientOptions::new().with_allow_http(true))
        .with_http_connector(bucket::Connector::new(bucket))
        .with_retry(patience.retry());
    if let Some(keys) = profile.map(|profile| referenced_keys(url, profile)).transpose()?.flatten() {
        builder = builder.with_credentials(Arc::new(keys));
    }
    for (key, setting) in profile.iter().flat_map(|profile| &profile.options) {
        let value = resolve(setting, &format!("storage '{url}' key '{key}'"))?;
        let key = match key.as_str() {
            "endpoint" => AmazonS3ConfigKey::Endpoint,
            "region" => AmazonS3ConfigKey::Region,
            "access_key_id" => AmazonS3ConfigKey::AccessKeyId,
            "secret_access_key" => AmazonS3ConfigKey::SecretAccessKey,
            "session_token" => AmazonS3ConfigKey::Token,
            "virtual_hosted_style" => AmazonS3ConfigKey::VirtualHostedStyleRequest,
            "allow_http" => continue,
            other => return Err(EngineError::invalid("storage-key", format!("storage key '{other}' is not known"))),
        };
        builder = builder.with_config(key, value);
    }
    builder.build().map_err(|error| {
        EngineError::new(ErrorClass::InvalidJob, "storage", format!("storage for '{url}' is not usable: {error}"))
    })
}
