//! Runs plans in this process, on DataFusion alone. Edge.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use datafusion::execution::TaskContext;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion::prelude::SessionConfig;
use futures::TryStreamExt;
use lake_proto::v1::StageProgress;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Query, QueryRunner};
use crate::session::local_config;
use crate::{EngineError, Result};

const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// This process as a place where plans run.
pub struct LocalRunner {
    cores: usize,
    runtime: Arc<RuntimeEnv>,
}

impl LocalRunner {
    /// A runner on `cores` cores with the memory and spill space of `runtime`.
    pub fn new(cores: usize, runtime: Arc<RuntimeEnv>) -> Self {
        Self { cores: cores.max(1), runtime }
    }
}

#[async_trait]
impl QueryRunner for LocalRunner {
    fn cores(&self) -> usize {
        self.cores
    }

    fn session_config(&self) -> SessionConfig {
        local_config(self.cores)
    }

    async fn run(&self, query: Query, progress: watch::Sender<Vec<StageProgress>>) -> Result<Vec<RecordBatch>> {
        let partitions = query.plan.output_partitioning().partition_count();
        let context = Arc::new(
            TaskContext::default().with_session_config(query.config.clone()).with_runtime(self.runtime.clone()),
        );
        let done = Arc::new(AtomicU32::new(0));
        // Dropping the set aborts its tasks: that is how a dropped query ends.
        let mut tasks = JoinSet::new();
        for partition in 0..partitions {
            let (plan, context, done) = (query.plan.clone(), context.clone(), done.clone());
            tasks.spawn(async move {
                let batches: Vec<RecordBatch> = plan.execute(partition, context)?.try_collect().await?;
                done.fetch_add(1, Ordering::Relaxed);
                Ok::<_, EngineError>((partition, batches))
            });
        }
        let mut outputs: Vec<Vec<RecordBatch>> = vec![Vec::new(); partitions];
        let mut tick = tokio::time::interval(PROGRESS_INTERVAL);
        let ended = loop {
            tokio::select! {
                joined = tasks.join_next() => match joined {
                    None => break Ok(()),
                    Some(Ok(Ok((partition, batches)))) => {
                        if let Some(slot) = outputs.get_mut(partition) {
                            *slot = batches;
                        }
                    }
                    Some(Ok(Err(error))) => break Err(error),
                    Some(Err(error)) => break Err(EngineError::internal(format!("a task panicked: {error}"))),
                },
                _ = tick.tick() => {
                    progress.send_replace(vec![stage(&query.plan, partitions, done.load(Ordering::Relaxed))]);
                }
            }
        };
        // What the others hold is given back before the failure is told.
        tasks.shutdown().await;
        ended?;
        progress.send_replace(vec![stage(&query.plan, partitions, done.load(Ordering::Relaxed))]);
        Ok(outputs.into_iter().flatten().collect())
    }
}

/// The whole plan as one stage; its rows are those that entered the root's child, the writer's input.
fn stage(plan: &Arc<dyn ExecutionPlan>, partitions: usize, done: u32) -> StageProgress {
    let counted = plan.children().first().map_or(plan, |child| *child);
    let rows = counted.metrics().and_then(|metrics| metrics.output_rows()).unwrap_or(0);
    let total = u32::try_from(partitions).unwrap_or(u32::MAX);
    StageProgress {
        stage_id: 1,
        tasks_total: total,
        tasks_running: total.saturating_sub(done),
        tasks_done: done,
        rows: u64::try_from(rows).unwrap_or(0),
        bytes: 0,
        retries: 0,
    }
}
