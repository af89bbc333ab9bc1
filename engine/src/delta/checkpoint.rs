//! Checkpoints of the log, so that opening a table does not read every entry. Edge.

use super::table::Snapshot;
use crate::{EngineError, Result};

const DEFAULT_INTERVAL: i64 = 10;

/// Writes a checkpoint of `version` when one is due by the table's `delta.checkpointInterval` (10 when unset). A
/// checkpoint is only a shortcut: failures are logged and nothing else. Returns whether one was written.
pub async fn checkpoint_if_due(snapshot: &Snapshot, version: i64) -> bool {
    let interval = snapshot.properties().get("delta.checkpointInterval").and_then(|text| text.parse().ok());
    let interval = interval.filter(|interval| *interval > 0).unwrap_or(DEFAULT_INTERVAL);
    if version == 0 || version % interval != 0 {
        return false;
    }
    match write(snapshot, version).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(table = %snapshot.location(), version, %error, "checkpoint was not written");
            false
        }
    }
}

async fn write(snapshot: &Snapshot, version: i64) -> Result<()> {
    let mut root = snapshot.location().clone();
    root.set_path(&format!("{}/", root.path()));
    let engine = snapshot.log_store().engine(None);
    let version = u64::try_from(version).map_err(|error| EngineError::internal(error.to_string()))?;
    let written = tokio::task::spawn_blocking(move || {
        let kernel = delta_kernel::Snapshot::builder_for(root).at_version(version).build(engine.as_ref())?;
        kernel.checkpoint(engine.as_ref(), None).map(|_| ())
    });
    let written = written.await.map_err(|error| EngineError::internal(error.to_string()))?;
    written.map_err(|error| deltalake_core::DeltaTableError::from(error).into())
}
