//! Jobs, stages, tasks and executors of an application, in Spark's shape. Edge.

use lake_api::executor::{self, ExecutorSummary, Which};
use lake_api::job::{self, JobData};
use lake_api::parameter::{LIMIT, OFFSET};
use lake_api::stage::{self, StageData};
use lake_api::summary::{self, TaskMetricDistributions};
use lake_api::task::{self, TaskData};
use lake_master_core::view;
use lake_proto::Fault;

use super::applications::record;
use super::endpoint::{Answer, Call, Endpoint, computed};
use crate::clock::now_ms;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            "/applications/{app_id}/jobs",
            "Its queries, as Spark's jobs, the last one first.",
            &[job::STATUS, LIMIT, OFFSET],
            jobs,
        ),
        Endpoint::get("/applications/{app_id}/jobs/{job_id}", "One of its queries.", &[], one_job),
        Endpoint::get(
            "/applications/{app_id}/stages",
            "Stages of all its queries, the last one first.",
            &[stage::STATUS, LIMIT, OFFSET],
            stages,
        ),
        Endpoint::get("/applications/{app_id}/stages/{stage_id}", "Attempts of a stage: one.", &[], attempts),
        Endpoint::get(
            "/applications/{app_id}/stages/{stage_id}/{attempt}",
            "A stage; its attempt is 0.",
            &[],
            one_stage,
        ),
        Endpoint::get(
            "/applications/{app_id}/stages/{stage_id}/{attempt}/taskSummary",
            "How the figures of a stage's tasks lie.",
            &[summary::QUANTILES],
            task_summary,
        ),
        Endpoint::get(
            "/applications/{app_id}/stages/{stage_id}/{attempt}/taskList",
            "Attempts of a stage's tasks.",
            &[task::LENGTH, OFFSET, task::SORT_BY, task::STATUS],
            task_list,
        ),
        Endpoint::get(
            "/applications/{app_id}/executors",
            "Its driver and the workers that run something of it and are there.",
            &[LIMIT, OFFSET],
            executors,
        ),
        Endpoint::get(
            "/applications/{app_id}/allexecutors",
            "Its driver and all workers that ever ran something of it.",
            &[LIMIT, OFFSET],
            all_executors,
        ),
    ]
}

async fn jobs(call: Call) -> Result<Answer<Vec<JobData>>, Fault> {
    let record = record(&call).await?;
    computed(move || Ok(job::list(&record, &call.query)?.into())).await
}

async fn one_job(call: Call) -> Result<Answer<JobData>, Fault> {
    let record = record(&call).await?;
    computed(move || Ok(Answer::new(job::find(&record, call.part("job_id"))?))).await
}

async fn stages(call: Call) -> Result<Answer<Vec<StageData>>, Fault> {
    let record = record(&call).await?;
    computed(move || Ok(stage::list(&record, &call.query)?.into())).await
}

async fn attempts(call: Call) -> Result<Answer<Vec<StageData>>, Fault> {
    let record = record(&call).await?;
    computed(move || Ok(Answer::new(stage::attempts(&record, call.part("stage_id"))?))).await
}

async fn one_stage(call: Call) -> Result<Answer<StageData>, Fault> {
    let record = record(&call).await?;
    computed(move || Ok(Answer::new(stage::one(&record, call.part("stage_id"), call.part("attempt"))?))).await
}

async fn task_summary(call: Call) -> Result<Answer<TaskMetricDistributions>, Fault> {
    let record = record(&call).await?;
    computed(move || {
        let (stage, attempt) = (call.part("stage_id"), call.part("attempt"));
        Ok(Answer::new(summary::of(&record, stage, attempt, &call.query)?))
    })
    .await
}

async fn task_list(call: Call) -> Result<Answer<Vec<TaskData>>, Fault> {
    let record = record(&call).await?;
    computed(move || {
        let (stage, attempt) = (call.part("stage_id"), call.part("attempt"));
        Ok(task::list(&record, stage, attempt, &call.query, now_ms())?.into())
    })
    .await
}

async fn executors(call: Call) -> Result<Answer<Vec<ExecutorSummary>>, Fault> {
    listed(call, Which::Present).await
}

async fn all_executors(call: Call) -> Result<Answer<Vec<ExecutorSummary>>, Fault> {
    listed(call, Which::All).await
}

async fn listed(call: Call, which: Which) -> Result<Answer<Vec<ExecutorSummary>>, Fault> {
    let record = record(&call).await?;
    let (live, _) = call.master.live().await;
    let workers = call.master.raft.read(|state| view::workers(state, &live));
    computed(move || Ok(executor::list(&record, &workers, which, &call.query)?.into())).await
}
