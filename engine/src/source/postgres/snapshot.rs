//! The snapshot that the driver exports and every task reads: a transaction that stays open while anybody needs it.
//! Edge.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use datafusion::common::runtime::SpawnedTask;
use tracing::Instrument;

use super::connect::Session;
use super::errors;
use crate::{EngineError, Result};

const PING_EVERY: Duration = Duration::from_secs(30);

/// An exported snapshot. It exists at the server until the last clone of its `Arc` is dropped.
pub(super) struct Snapshot {
    id: String,
    lost: Arc<OnceLock<EngineError>>,
    _keeper: SpawnedTask<()>,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Snapshot").field(&self.id).finish()
    }
}

impl Snapshot {
    /// Begins the transaction and exports what it sees; the session goes on to be used for planning.
    ///
    /// # Errors
    /// The server's class.
    pub(super) async fn export(session: &Session) -> Result<String> {
        session.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let row = session.client().query_one("SELECT pg_export_snapshot()", &[]).await;
        let row = row.map_err(|error| session.explain(&error, None))?;
        row.try_get(0).map_err(|error| errors::of_statement(&error, None))
    }

    /// Takes over the session that exported `id` and keeps its transaction open.
    pub(super) fn hold(session: Session, id: String) -> Arc<Self> {
        let lost = Arc::new(OnceLock::new());
        let span = tracing::info_span!("postgres_snapshot", snapshot = %id);
        // It is aborted, and with it the session closed, when the snapshot is dropped. When the server goes away it
        // ends by itself, leaving the reason in `lost`.
        let keeper = SpawnedTask::spawn(keep(session, Arc::clone(&lost)).instrument(span));
        Arc::new(Self { id, lost, _keeper: keeper })
    }

    /// The identifier for `SET TRANSACTION SNAPSHOT`.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Whether it is still there, as far as this process knows.
    ///
    /// # Errors
    /// `unavailable` with code `source-snapshot` when its connection is lost.
    pub(super) fn check(&self) -> Result<()> {
        match self.lost.get() {
            None => Ok(()),
            Some(reason) => Err(EngineError::unavailable(
                errors::SNAPSHOT_GONE,
                format!("the connection that holds the snapshot of this step is lost: run the step again ({reason})"),
            )),
        }
    }
}

async fn keep(session: Session, lost: Arc<OnceLock<EngineError>>) {
    loop {
        tokio::time::sleep(PING_EVERY).await;
        if let Err(error) = session.run("SELECT 1").await {
            tracing::warn!(error.class = %error.class(), error.code = error.code(), %error, "snapshot lost");
            let _ = lost.set(error);
            break;
        }
    }
}
