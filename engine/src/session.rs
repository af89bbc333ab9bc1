//! The only builder of sessions: settings for plans that can be cut into tasks, memory, spill directory, stores.

use std::path::Path;
use std::sync::Arc;

use ballista_core::extension::SessionConfigExt;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::Result;
use crate::stores::Stores;

/// Settings for plans that run on the cluster: everything Ballista's stages need, with hash joins (a build side that
/// fits a task's memory) and no compression of shuffle files.
pub fn cluster_config(cores: usize) -> SessionConfig {
    SessionConfig::new_with_ballista()
        .with_target_partitions(cores.max(1))
        .with_information_schema(false)
        .set_str("ballista.planner.adaptive.enabled", "false")
        .set_str("ballista.shuffle.compression.codec", "none")
        .set_str("ballista.shuffle.sort_based.batch_size", "65536")
        // Retries inside the reader would hold a core for seconds before a lost worker is noticed.
        .set_str("ballista.client.io_retries_times", "1")
        .set_str("ballista.client.io_retry_wait_time_ms", "200")
        .set_bool("datafusion.optimizer.prefer_hash_join", true)
}

/// Settings for plans that run in this process.
pub fn local_config(cores: usize) -> SessionConfig {
    SessionConfig::new().with_target_partitions(cores.max(1)).with_information_schema(false)
}

/// Memory and spill space that all tasks of a process share.
///
/// # Errors
/// `internal` when the environment cannot be built.
pub fn runtime(memory_bytes: usize, spill_directory: &Path) -> Result<Arc<RuntimeEnv>> {
    let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Directories(vec![spill_directory.to_owned()]));
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(memory_bytes)))
        .with_disk_manager_builder(disk)
        .build_arc()?;
    Ok(runtime)
}

/// A session for planning and, in local mode, running.
pub fn session(config: SessionConfig, runtime: Arc<RuntimeEnv>, stores: Arc<Stores>) -> SessionContext {
    let state = SessionStateBuilder::new()
        .with_config(config.with_extension(stores))
        .with_runtime_env(runtime)
        .with_default_features()
        .build();
    SessionContext::new_with_state(state)
}
