//! From a driver's request to stages: decode, choose, cut. Pure but for the time it takes; runs on planning threads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ballista_core::JobId;
use ballista_core::execution_plans::UnresolvedShuffleExec;
use ballista_core::extension::SessionConfigExt;
use ballista_core::registry::BallistaFunctionRegistry;
use ballista_scheduler::planner::{DefaultDistributedPlanner, DistributedPlanner, find_unresolved_shuffles};
use datafusion::execution::TaskContext;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;
use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use lake_engine::EngineError;
use lake_engine::codec;
use lake_engine::repeatable::is_repeatable;
use lake_engine::session::{functions, task_context, with_settings};
use lake_proto::{AppId, ErrorClass, Fault, QueryId, v1};
use lake_record::OperatorRecord;
use lake_scheduler_core::{QueryDefinition, StageDefinition, StageId};

use crate::choice::{Choice, Cluster, cap, choose};
use crate::operators::{operators, outline};
use crate::settings::SchedulerSettings;
use crate::uncuttable::is_uncuttable;

/// What planning needs and can be shared by all queries.
pub(crate) struct Planner {
    pub(crate) codec: Arc<dyn PhysicalExtensionCodec>,
    functions: BallistaFunctionRegistry,
    runtime: Arc<RuntimeEnv>,
}

/// A query, ready to be scheduled.
pub(crate) struct QueryPlan {
    pub(crate) definition: QueryDefinition,
    pub(crate) stages: BTreeMap<StageId, Arc<StagePlan>>,
}

/// One stage as a plan whose shuffle reads are not yet resolved.
pub(crate) struct StagePlan {
    pub(crate) id: StageId,
    /// With the shuffle writer at the root, unless the query is uncut.
    pub(crate) plan: Arc<dyn ExecutionPlan>,
    pub(crate) shape: Shape,
    /// What it reads.
    pub(crate) inputs: BTreeMap<StageId, Read>,
}

/// What the tasks of a stage do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Each writes its slice to shuffle files.
    Shuffle,
    /// Each answers with the rows of its slice.
    Result,
    /// The only task answers with the rows of the uncut plan.
    Whole,
}

/// What is known about an input before it exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Read {
    /// Tasks of the producing stage.
    pub(crate) tasks: u32,
    /// Partitions of its output that a reader looks at: anything beyond would be dropped silently.
    pub(crate) partitions: usize,
}

impl Planner {
    pub(crate) fn new() -> Self {
        Self { codec: codec::codec(), functions: functions(), runtime: Arc::new(RuntimeEnv::default()) }
    }

    /// # Errors
    /// `internal` when the plan does not decode or cannot be cut; the class of the planner's complaint otherwise.
    pub(crate) fn plan(
        &self,
        id: &QueryId,
        app: &AppId,
        cores_cap: Option<u32>,
        request: &v1::RunQueryRequest,
        cluster: Cluster,
        settings: &SchedulerSettings,
    ) -> Result<QueryPlan, Fault> {
        let within = |error: EngineError| Fault::from(error.within(format!("planning query {id} ({})", request.label)));
        let context = self.context(id, &request.settings);
        let plan = codec::decode_plan(&request.plan, &context, self.codec.as_ref()).map_err(within)?;
        let mut choice = choose(request.estimated_scan_bytes, cores_cap, cluster, settings);
        if choice == Choice::Cut && is_uncuttable(&plan) {
            choice = Choice::Whole { cores: cluster.largest.min(cap(cores_cap)).max(1) };
        }
        let (stages, cores) = match choice {
            Choice::Whole { cores } => (vec![whole(plan)], cores),
            Choice::Cut => (cut(id, plan, context.session_config()).map_err(within)?, 1),
        };
        let definitions = stages.iter().map(|stage| StageDefinition {
            id: stage.id,
            inputs: stage.inputs.keys().copied().collect::<BTreeSet<StageId>>(),
            tasks: stage.tasks(),
            cores,
            is_repeatable: stage.is_repeatable(),
            operators: operators(&stage.plan),
        });
        let definition = QueryDefinition { id: id.clone(), app: app.clone(), cores_cap, stages: definitions.collect() };
        Ok(QueryPlan { definition, stages: stages.into_iter().map(|stage| (stage.id, Arc::new(stage))).collect() })
    }

    fn context(&self, id: &QueryId, settings: &[v1::Setting]) -> TaskContext {
        let config = with_settings(SessionConfig::new_with_ballista(), settings);
        task_context(None, id, config, &self.functions, self.runtime.clone())
    }
}

impl StagePlan {
    /// Slices of one input partition each; the uncut plan is one slice.
    pub(crate) fn tasks(&self) -> u32 {
        match self.shape {
            Shape::Whole => 1,
            Shape::Shuffle | Shape::Result => {
                let child = self.plan.children().first().map(|child| partitions(child));
                u32::try_from(child.unwrap_or(1).max(1)).unwrap_or(u32::MAX)
            }
        }
    }

    /// Its operators, for people.
    pub(crate) fn outline(&self) -> Vec<OperatorRecord> {
        outline(&self.plan)
    }

    /// Of the last stage nothing is read before all of it is done, so a rerun of it endangers nobody.
    fn is_repeatable(&self) -> bool {
        match self.shape {
            Shape::Whole | Shape::Result => true,
            Shape::Shuffle => is_repeatable(&self.plan),
        }
    }
}

fn whole(plan: Arc<dyn ExecutionPlan>) -> StagePlan {
    StagePlan { id: StageId(1), plan, shape: Shape::Whole, inputs: BTreeMap::new() }
}

fn cut(id: &QueryId, plan: Arc<dyn ExecutionPlan>, config: &SessionConfig) -> lake_engine::Result<Vec<StagePlan>> {
    let job = JobId::new(id.as_str());
    let writers =
        DefaultDistributedPlanner::new().plan_query_stages(&job, plan, config.options()).map_err(EngineError::from)?;
    let last = writers.len().saturating_sub(1);
    let mut tasks: BTreeMap<StageId, u32> = BTreeMap::new();
    let mut stages = Vec::with_capacity(writers.len());
    for (position, writer) in writers.into_iter().enumerate() {
        let id = stage_id(writer.stage_id())?;
        let count = u32::try_from(writer.input_partition_count().max(1))
            .map_err(|_| EngineError::internal(format!("stage {id} has too many tasks")))?;
        let plan: Arc<dyn ExecutionPlan> = writer;
        let mut inputs: BTreeMap<StageId, Read> = BTreeMap::new();
        for read in find_unresolved_shuffles(&plan).map_err(EngineError::from)? {
            let producer = stage_id(read.stage_id)?;
            let produced = tasks.get(&producer).copied().ok_or_else(|| {
                EngineError::internal(format!("stage {id} reads stage {producer}, which does not come before it"))
            })?;
            let entry = inputs.entry(producer).or_insert(Read { tasks: produced, partitions: 0 });
            entry.partitions = entry.partitions.max(read_partitions(&read));
        }
        tasks.insert(id, count);
        let shape = if position == last { Shape::Result } else { Shape::Shuffle };
        let stage = StagePlan { id, plan, shape, inputs };
        debug_assert_eq!(stage.tasks(), count, "tasks are slices of the writer's input");
        stages.push(stage);
    }
    Ok(stages)
}

fn read_partitions(read: &UnresolvedShuffleExec) -> usize {
    if read.broadcast { read.upstream_partition_count } else { read.output_partition_count }
}

fn stage_id(number: usize) -> lake_engine::Result<StageId> {
    let number = u32::try_from(number).map_err(|_| EngineError::internal(format!("stage number {number}")))?;
    Ok(StageId(number))
}

pub(crate) fn partitions(plan: &Arc<dyn ExecutionPlan>) -> usize {
    plan.properties().partitioning.partition_count()
}

/// # Errors
/// `invalid-job` when the driver was built with another codec, or the id cannot name files.
pub(crate) fn check(request: &v1::RunQueryRequest) -> Result<QueryId, Fault> {
    if request.codec_version != codec::VERSION {
        let message = format!(
            "driver encodes plans with version {}, this master expects {}: run the same release everywhere",
            request.codec_version,
            codec::VERSION
        );
        return Err(Fault::new(ErrorClass::InvalidJob, "codec-version", message));
    }
    request
        .query_id
        .parse()
        .map_err(|error: lake_proto::ids::InvalidId| Fault::new(ErrorClass::InvalidJob, "query-id", error.to_string()))
}
