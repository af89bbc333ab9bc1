//! From a stage and the outputs of its inputs to the bytes of its tasks. Pure; runs on planning threads.
//!
//! Traps: a missing map output reads as empty, so locations are built from complete inputs only and counted; a
//! partition beyond what a reader looks at would be dropped, so it is refused.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ballista_core::JobId;
use ballista_core::execution_plans::{ShuffleReaderExec, compute_global_output_partition_ids};
use ballista_core::serde::scheduler::{ExecutorMetadata, PartitionId, PartitionLocation, PartitionStats};
use ballista_scheduler::planner::remove_unresolved_shuffles;
use ballista_scheduler::state::task_builder::restrict_plan_to_partitions;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use lake_engine::{EngineError, codec};
use lake_proto::{QueryId, v1};
use lake_scheduler_core::{AttemptRef, Launch, StageId, TaskIndex};

use crate::plan::{Read, Shape, StagePlan, partitions};

/// Tasks of one stage that are launched together, and what they read.
pub(crate) struct Wave {
    pub(crate) query: QueryId,
    pub(crate) stage: Arc<StagePlan>,
    pub(crate) inputs: BTreeMap<StageId, Vec<MapOutput>>,
    /// What the inputs derive from, where it matters.
    pub(crate) lineage: u64,
    pub(crate) launches: Vec<Launch>,
}

/// What one done task left, and who serves it.
pub(crate) struct MapOutput {
    pub(crate) task: TaskIndex,
    pub(crate) holder: Arc<ExecutorMetadata>,
    pub(crate) outputs: Arc<[v1::ShuffleOutput]>,
}

/// Locations of one input: output partition → files.
type Locations = HashMap<usize, Vec<PartitionLocation>>;

impl Wave {
    /// The messages, in the order of the launches.
    ///
    /// # Errors
    /// `internal` when an input is not complete or the plan cannot be resolved, restricted or encoded.
    pub(crate) fn encode(&self, codec: &dyn PhysicalExtensionCodec) -> lake_engine::Result<Vec<v1::LaunchTask>> {
        let within = |error: EngineError| {
            error.within(format!("preparing tasks of stage {} of query {}", self.stage.id, self.query))
        };
        let resolved = self.resolve().map_err(within)?;
        let tasks = self.launches.iter().map(|launch| self.task(&resolved, launch, codec).map_err(within));
        tasks.collect()
    }

    fn resolve(&self) -> lake_engine::Result<Arc<dyn ExecutionPlan>> {
        let mut locations: HashMap<usize, Locations> = HashMap::new();
        for (stage, read) in &self.stage.inputs {
            let outputs = self.inputs.get(stage).map(Vec::as_slice).unwrap_or_default();
            locations.insert(number(stage.0), locate(&self.query, *stage, *read, outputs)?);
        }
        if locations.is_empty() {
            return Ok(self.stage.plan.clone());
        }
        let resolved = remove_unresolved_shuffles(self.stage.plan.clone(), &locations).map_err(EngineError::from)?;
        conserve(&resolved, &locations)?;
        Ok(resolved)
    }

    fn task(
        &self,
        resolved: &Arc<dyn ExecutionPlan>,
        launch: &Launch,
        codec: &dyn PhysicalExtensionCodec,
    ) -> lake_engine::Result<v1::LaunchTask> {
        let (plan, outputs) = match self.stage.shape {
            Shape::Whole => (resolved.clone(), (0..partitions(resolved)).collect()),
            Shape::Shuffle | Shape::Result => {
                let slice = [number(launch.attempt.task.0)];
                let outputs = compute_global_output_partition_ids(resolved, &slice);
                (restrict_plan_to_partitions(resolved.clone(), &slice)?, outputs)
            }
        };
        let is_result = self.stage.shape != Shape::Shuffle;
        let plan = if self.stage.shape == Shape::Result { under_writer(&plan)? } else { plan };
        Ok(v1::LaunchTask {
            task: Some(task_ref(&launch.attempt)),
            plan: codec::encode_plan(&plan, codec)?.into(),
            cores: launch.cores,
            is_result,
            output_partitions: outputs.into_iter().map(|partition| partition as u64).collect(),
            // The owner knows whose query it is, and says so when it sends the message.
            app_id: String::new(),
            epoch: 0,
            lineage: self.lineage,
            traceparent: String::new(),
        })
    }
}

/// The attempt on the wire.
pub(crate) fn task_ref(attempt: &AttemptRef) -> v1::TaskRef {
    v1::TaskRef {
        query_id: attempt.query.as_str().to_owned(),
        stage_id: attempt.stage.0,
        task_index: attempt.task.0,
        attempt: attempt.attempt.0,
    }
}

fn under_writer(plan: &Arc<dyn ExecutionPlan>) -> lake_engine::Result<Arc<dyn ExecutionPlan>> {
    match plan.children().as_slice() {
        [child] => Ok((*child).clone()),
        children => Err(EngineError::internal(format!(
            "result stage has {} with {} children at its root; expected a shuffle writer with one",
            plan.name(),
            children.len()
        ))),
    }
}

fn locate(query: &QueryId, stage: StageId, read: Read, outputs: &[MapOutput]) -> lake_engine::Result<Locations> {
    let expected = (0..read.tasks).map(TaskIndex);
    if !outputs.iter().map(|output| output.task).eq(expected) {
        return Err(EngineError::internal(format!(
            "input stage {stage} has outputs of {} tasks; expected exactly one of each of {}",
            outputs.len(),
            read.tasks
        )));
    }
    let job = JobId::new(query.as_str());
    let mut locations = Locations::new();
    for map in outputs {
        for output in map.outputs.iter() {
            let partition = usize::try_from(output.partition_id).ok().filter(|id| *id < read.partitions);
            let partition = partition.ok_or_else(|| {
                EngineError::internal(format!(
                    "task {} of input stage {stage} wrote partition {}; its readers look at {} partitions",
                    map.task, output.partition_id, read.partitions
                ))
            })?;
            locations.entry(partition).or_default().push(PartitionLocation {
                map_partition_id: number(map.task.0),
                partition_id: PartitionId::new(&job, number(stage.0), partition),
                executor_meta: (*map.holder).clone(),
                partition_stats: PartitionStats::new(
                    Some(output.num_rows),
                    Some(output.num_batches),
                    Some(output.num_bytes),
                ),
                file_id: output.file_id,
                is_sort_shuffle: output.is_sort_shuffle,
            });
        }
    }
    Ok(locations)
}

/// Every reader of a stage reads every file of it: one that were left out would be rows that are missing.
fn conserve(resolved: &Arc<dyn ExecutionPlan>, locations: &HashMap<usize, Locations>) -> lake_engine::Result<()> {
    if let Some(reader) = resolved.downcast_ref::<ShuffleReaderExec>() {
        let written: usize = locations.get(&reader.stage_id).into_iter().flat_map(HashMap::values).map(Vec::len).sum();
        let read: usize = reader.partition.iter().map(Vec::len).sum();
        if read != written {
            return Err(EngineError::internal(format!(
                "stage {} wrote {written} outputs with rows, a reader of it gets {read}",
                reader.stage_id
            )));
        }
    }
    resolved.children().into_iter().try_for_each(|child| conserve(child, locations))
}

fn number(id: u32) -> usize {
    id as usize
}
