//! The only builder of sessions: settings for plans that can be cut into tasks, memory, spill directory, stores. Edge.

use std::path::Path;
use std::sync::Arc;

use ballista_core::extension::{SessionConfigExt, SessionConfigHelperExt};
use ballista_core::registry::BallistaFunctionRegistry;
use ballista_core::serde::protobuf::KeyValuePair;
use chrono::{DateTime, Utc};
use datafusion::execution::TaskContext;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::optimizer::Analyzer;
use datafusion::prelude::{SessionConfig, SessionContext};
use lake_proto::{QueryId, v1};

use crate::Result;
use crate::moment::Moment;
use crate::plain_text::PlainText;
use crate::stores::Stores;
use crate::text_decimal::{self, TextDecimals};

/// Spill files that one merge reads at once; more of them are merged in several passes. Each has a reader with buffers
/// of its own.
const SPILL_MERGE_FAN_IN: usize = 16;

/// Settings for plans that run on the cluster: everything Ballista's stages need, with hash joins (a build side that
/// fits a task's memory) and no compression of shuffle files.
pub fn cluster_config(cores: usize) -> SessionConfig {
    with_defaults(SessionConfig::new_with_ballista(), cores)
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
    with_defaults(SessionConfig::new(), cores)
}

/// What holds wherever a plan runs.
fn with_defaults(config: SessionConfig, cores: usize) -> SessionConfig {
    config
        .with_target_partitions(cores.max(1))
        .with_information_schema(false)
        // Without one, `TIMESTAMP WITH TIME ZONE` would be a wall-clock time.
        .set_str("datafusion.execution.time_zone", "UTC")
        // So that an error in a query has its place.
        .set_bool("datafusion.sql_parser.collect_spans", true)
}

/// `config` with the settings of a query as they travelled.
pub fn with_settings(config: SessionConfig, settings: &[v1::Setting]) -> SessionConfig {
    let pair = |setting: &v1::Setting| KeyValuePair { key: setting.key.clone(), value: Some(setting.value.clone()) };
    config.update_from_key_value_pair(&settings.iter().map(pair).collect::<Vec<_>>())
}

/// What plans of the cluster may call.
pub fn functions() -> BallistaFunctionRegistry {
    let mut functions = BallistaFunctionRegistry::default();
    let function = text_decimal::function();
    functions.scalar_functions.insert(function.name().to_owned(), function);
    functions
}

/// What a plan of the cluster is decoded with and run in: `task` is the attempt that runs it, none where it is only
/// planned.
pub fn task_context(
    task: Option<String>,
    query: &QueryId,
    config: SessionConfig,
    functions: &BallistaFunctionRegistry,
    runtime: Arc<RuntimeEnv>,
) -> TaskContext {
    TaskContext::new(
        task,
        query.to_string(),
        config,
        functions.scalar_functions.clone(),
        functions.higher_order_functions.clone(),
        functions.aggregate_functions.clone(),
        functions.window_functions.clone(),
        runtime,
    )
}

/// Memory and spill space that all tasks of a process share.
///
/// # Errors
/// `internal` when the environment cannot be built.
pub fn runtime(memory_bytes: usize, spill_directory: &Path) -> Result<Arc<RuntimeEnv>> {
    let disk = DiskManagerBuilder::default()
        .with_mode(DiskManagerMode::Directories(vec![spill_directory.to_owned()]))
        .with_max_spill_merge_fan_in(SPILL_MERGE_FAN_IN);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(memory_bytes)))
        .with_disk_manager_builder(disk)
        .build_arc()?;
    Ok(runtime)
}

/// A session to look at something: `now()` in it is this moment. Sessions of a run are of [`session_at`].
pub fn session(config: SessionConfig, runtime: Arc<RuntimeEnv>, stores: Arc<Stores>) -> SessionContext {
    session_at(config, runtime, stores, Utc::now())
}

/// A session for planning and, in local mode, running, in which `now()` and its like give `moment` in every query.
pub fn session_at(
    config: SessionConfig,
    runtime: Arc<RuntimeEnv>,
    stores: Arc<Stores>,
    moment: DateTime<Utc>,
) -> SessionContext {
    let mut analyzer = Analyzer::new();
    // First, so that the rules after it coerce types as they are.
    analyzer.rules.insert(0, Arc::new(PlainText));
    analyzer.add_function_rewrite(Arc::new(Moment(moment)));
    let mut builder = SessionStateBuilder::new()
        .with_config(config.with_extension(stores))
        .with_runtime_env(runtime)
        .with_default_features()
        .with_optimizer_rule(Arc::new(TextDecimals));
    *builder.analyzer() = Some(analyzer);
    SessionContext::new_with_state(builder.build())
}

/// The session's state for what is simplified without being analyzed, with the same `moment` as [`session_at`].
pub fn state_at(session: &SessionContext, moment: DateTime<Utc>) -> SessionState {
    let mut state = session.state();
    state.execution_props_mut().query_execution_start_time = Some(moment);
    state
}
