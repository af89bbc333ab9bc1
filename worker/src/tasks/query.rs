//! The session of one query on this worker: settings, stores and functions its tasks share.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ballista_core::registry::BallistaFunctionRegistry;
use datafusion::execution::TaskContext;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::SessionConfig;
use lake_engine::session::{cluster_config, task_context, with_settings};
use lake_engine::stores::{Patience, Profiles, Stores};
use lake_proto::v1::PrepareQuery;
use lake_proto::{ErrorClass, Fault, QueryId};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::held::Outputs;

/// What all tasks of all queries share.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) runtime: Arc<RuntimeEnv>,
    pub(super) functions: Arc<BallistaFunctionRegistry>,
}

/// A query this worker may run tasks of.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) id: QueryId,
    /// The application it belongs to; for people.
    pub(super) app_id: String,
    /// Stops all its attempts.
    pub(super) token: CancellationToken,
    /// Its attempts, until each has really ended.
    pub(super) attempts: TaskTracker,
    seen: Mutex<BTreeSet<u64>>,
    /// What its attempts have left here.
    outputs: Mutex<Outputs>,
    session: Result<Session, Fault>,
}

#[derive(Debug)]
struct Session {
    config: SessionConfig,
    shared: Shared,
}

impl Query {
    /// The query as its master describes it. A description that is not valid fails its tasks, not the worker.
    pub(super) fn new(id: QueryId, message: &PrepareQuery, cores: usize, shared: Result<Shared, Fault>) -> Self {
        let session = shared.and_then(|shared| Ok(Session { config: config(message, cores)?, shared }));
        Self {
            id,
            app_id: message.app_id.clone(),
            token: CancellationToken::new(),
            attempts: TaskTracker::new(),
            seen: Mutex::default(),
            outputs: Mutex::default(),
            session,
        }
    }

    /// Whether this attempt is launched for the first time. Its files carry its number, so that a second run of it
    /// would write over what others may be reading.
    pub(super) fn is_new(&self, attempt: u64) -> bool {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(attempt)
    }

    /// What its attempts have left here, for the next leader.
    pub(super) fn outputs(&self) -> MutexGuard<'_, Outputs> {
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The context of one attempt.
    pub(super) fn context(&self, task: String) -> Result<Arc<TaskContext>, Fault> {
        let Session { config, shared } = self.session.as_ref().map_err(Clone::clone)?;
        let context = task_context(Some(task), &self.id, config.clone(), &shared.functions, shared.runtime.clone());
        Ok(Arc::new(context))
    }
}

fn config(message: &PrepareQuery, cores: usize) -> Result<SessionConfig, Fault> {
    let profiles: Profiles = if message.profiles.is_empty() {
        Profiles::default()
    } else {
        serde_json::from_slice(&message.profiles).map_err(|error| {
            let message = format!("storage profiles of query {} do not decode: {error}", message.query_id);
            Fault::new(ErrorClass::Internal, "profiles", message)
        })?
    };
    let config = with_settings(cluster_config(cores), &message.settings);
    Ok(config.with_extension(Arc::new(Stores::new(profiles).with_patience(Patience::Short))))
}
