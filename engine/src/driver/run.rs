//! Which step next: every step starts when the steps it reads have ended, independent ones at once. Edge.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use datafusion::execution::runtime_env::RuntimeEnv;
use lake_job::Pipeline;
use lake_proto::v1::{StageProgress, StepProgress, StepRecord};
use lake_proto::{ErrorClass, codes};
use lake_telemetry::lineage::Lineage;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::Instrument;

use super::details::{self, Questions, now_ms};
use super::lineage::{Told, UnderWay};
use super::{inputs, spans, step};
use crate::runner::QueryRunner;
use crate::session::{local_config, session_at};
use crate::stores::Stores;
use crate::{EngineError, Result};

/// What a run is called in the tables it writes, and when it takes place: the same for every attempt of it.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    /// `_run_id` of audited rows: the application's id.
    pub(super) run_id: String,
    /// The version in the Delta transaction id.
    pub(super) run_number: i64,
    /// What `now()` gives in its queries, and `_ingested_at` of audited rows.
    pub(super) moment: DateTime<Utc>,
}

/// One run of a pipeline.
pub(super) struct Run {
    pub(super) pipeline: Pipeline,
    pub(super) identity: Identity,
    pub(super) stores: Arc<Stores>,
    pub(super) runtime: Arc<RuntimeEnv>,
    pub(super) runner: Arc<dyn QueryRunner>,
    pub(super) commits: Arc<dyn Commits>,
    pub(super) progress: watch::Sender<Vec<StepProgress>>,
    /// What is being found out for its record.
    pub(super) questions: Questions,
    /// What catalogues are told.
    pub(super) told: Arc<Told>,
}

/// Who is asked before a step commits, and told after.
#[async_trait]
pub(super) trait Commits: Send + Sync {
    /// The permission to commit a step, asked for as late as possible: whoever lost the run does not get it. A repeat
    /// with the same `inputs` (a digest of what the step has read) is answered as the first one. The number goes into the
    /// commit's information; 0 = nobody had to be asked.
    ///
    /// # Errors
    /// `conflict` when another attempt has the run, `cancelled` when it is to end, `unavailable` when nobody can say.
    async fn permit(&self, table: &str, inputs: &str) -> Result<u64>;

    /// Asked right before each write into a table's log: whether this process may still take itself for the run's driver.
    /// It looks at a clock, so that also a process that was stopped in between finds out.
    ///
    /// # Errors
    /// `unavailable` (code `lease-expired`) when it may not.
    fn check(&self) -> Result<()>;

    /// Keeps what a step left behind, so that it is not run again.
    ///
    /// # Errors
    /// As [`Self::permit`].
    async fn record(&self, step: StepRecord) -> Result<()>;

    /// Whether anybody keeps a record of the run, for which more is told than its steps need.
    fn keeps_records(&self) -> bool;
}

impl Run {
    pub(super) fn new(
        pipeline: Pipeline,
        identity: Identity,
        stores: Arc<Stores>,
        runtime: Arc<RuntimeEnv>,
        runner: Arc<dyn QueryRunner>,
        commits: Arc<dyn Commits>,
        progress: watch::Sender<Vec<StepProgress>>,
    ) -> Self {
        let pending = |table: &lake_job::Table| StepProgress {
            table: table.name.to_string(),
            state: "PENDING".to_owned(),
            details: Some(details::planned(table)),
            ..StepProgress::default()
        };
        progress.send_replace(pipeline.tables.iter().map(pending).collect());
        let (questions, told) = (Questions::default(), Arc::new(Told::nobody()));
        Self { pipeline, identity, stores, runtime, runner, commits, progress, questions, told }
    }

    /// The same, of which this catalogue is told.
    #[must_use]
    pub(super) fn told_to(mut self, lineage: Option<Arc<Lineage>>) -> Self {
        if let Some(lineage) = lineage {
            let run_number = self.identity.run_number;
            self.told = Arc::new(Told::new(lineage, &self.pipeline, run_number, &self.stores));
        }
        self
    }

    /// Runs every step that is not in `recorded`; each result is recorded before steps that read it start.
    /// After a failure no further step starts; those that run are finished.
    ///
    /// # Errors
    /// The first failure.
    pub(super) async fn execute(self, recorded: Vec<StepRecord>) -> Result<Vec<StepRecord>> {
        let timeout = self.pipeline.timeout_ms;
        let name = self.pipeline.name.clone();
        let steps = self.execute_steps(recorded);
        match timeout {
            None => steps.await,
            Some(limit) => {
                tokio::time::timeout(std::time::Duration::from_millis(limit), steps).await.map_err(|_| {
                    let message = format!("job '{name}' did not end within its timeout of {} s", limit / 1000);
                    EngineError::new(ErrorClass::Resource, codes::TIMEOUT, message)
                })?
            }
        }
    }

    async fn execute_steps(self, recorded: Vec<StepRecord>) -> Result<Vec<StepRecord>> {
        let run = Arc::new(self);
        run.told.run_started();
        let _under_way = UnderWay(run.told.clone());
        let outcome = run.clone().execute_planned(recorded).await;
        run.told.run_ended(outcome.as_ref().err());
        outcome
    }

    async fn execute_planned(self: Arc<Self>, recorded: Vec<StepRecord>) -> Result<Vec<StepRecord>> {
        let run = self;
        run.probe_stores().await?;
        run.check_plans().await?;
        let mut waits = run.pipeline.dependencies();
        let mut finished: Vec<StepRecord> = Vec::new();
        let mut started: Vec<bool> = vec![false; waits.len()];
        for (index, table) in run.pipeline.tables.iter().enumerate() {
            let name = table.name.to_string();
            if let Some(earlier) = recorded.iter().find(|step| step.table == name) {
                run.show(index, earlier.clone());
                finished.push(earlier.clone());
                mark_ended(&mut waits, index);
                if let Some(slot) = started.get_mut(index) {
                    *slot = true;
                }
            }
        }
        let mut running: JoinSet<(usize, Result<StepRecord>)> = JoinSet::new();
        let mut failure: Option<EngineError> = None;
        loop {
            if failure.is_none() {
                for (index, slot) in started.iter_mut().enumerate() {
                    if !*slot && waits.get(index).is_some_and(Vec::is_empty) {
                        *slot = true;
                        let (run, span) = (run.clone(), spans::step(&run, index));
                        let execution = async move {
                            let outcome = step::execute(&run, index).await;
                            spans::ended(&outcome, |record| Some(record.version));
                            (index, outcome)
                        };
                        running.spawn(execution.instrument(span));
                    }
                }
            }
            let Some(joined) = running.join_next().await else { break };
            let (index, outcome) =
                joined.map_err(|error| EngineError::internal(format!("a step panicked: {error}")))?;
            let outcome = match outcome {
                Ok(step) => run.commits.record(step.clone()).await.map(|()| step),
                Err(error) => Err(error),
            };
            run.told.step_ended(index, &outcome);
            match outcome {
                Ok(step) => {
                    run.ended(index, step.clone());
                    finished.push(step);
                    mark_ended(&mut waits, index);
                }
                Err(error) => {
                    run.failed(index, &error);
                    let table = run.pipeline.tables.get(index);
                    let place = table.map(|table| format!("table {} ({})", table.name, table.origin));
                    failure.get_or_insert(error.within(place.unwrap_or_default()));
                }
            }
        }
        run.questions.answered(details::PATIENCE).await;
        match failure {
            Some(error) => Err(error),
            None => Ok(finished),
        }
    }

    /// Every store that is written must honour create-if-absent; asked once per store, before anything runs.
    async fn probe_stores(&self) -> Result<()> {
        let mut probes = BTreeMap::new();
        for table in &self.pipeline.tables {
            let url = inputs::location(&table.location)?;
            let key = format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default());
            // Where the credentials must allow writing: the warehouse, or the table's own folder outside of it.
            let in_warehouse = table.location.starts_with(&self.pipeline.warehouse_root);
            let probed = if in_warehouse { inputs::location(&self.pipeline.warehouse_root)? } else { url };
            probes.entry(key).or_insert(probed);
        }
        for url in probes.values() {
            self.stores.probe(url).await?;
        }
        Ok(())
    }

    /// Plans every step, so that a mistake in the last one is found before the first one writes.
    async fn check_plans(&self) -> Result<()> {
        let mut planned = inputs::Planned::new();
        for (index, table) in self.pipeline.tables.iter().enumerate() {
            let (runtime, stores) = (self.runtime.clone(), self.stores.clone());
            let session = session_at(local_config(1), runtime, stores, self.identity.moment);
            let planning = inputs::plan(&self.pipeline, table, &self.stores, &session, &planned);
            match planning.instrument(spans::plan(&table.name.to_string())).await {
                Ok(step) => planned.insert(table.name.clone(), step.columns),
                Err(error) => {
                    self.failed(index, &error);
                    return Err(error.within(format!("table {} ({})", table.name, table.origin)));
                }
            };
        }
        Ok(())
    }

    /// The table that the step at `index` writes.
    pub(super) fn table_name(&self, index: usize) -> String {
        self.pipeline.tables.get(index).map(|table| table.name.to_string()).unwrap_or_default()
    }

    pub(super) fn update(&self, index: usize, change: impl FnOnce(&mut StepProgress)) {
        self.progress.send_modify(|steps| {
            if let Some(step) = steps.get_mut(index) {
                change(step);
            }
        });
    }

    /// The step at `index` begins.
    pub(super) fn begins(&self, index: usize) {
        self.update(index, |step| {
            step.state = "RUNNING".to_owned();
            step.details.get_or_insert_default().started_at_ms = now_ms();
        });
    }

    pub(super) fn stages(&self, index: usize, stages: Vec<StageProgress>) {
        self.update(index, |step| step.stages = stages);
    }

    fn ended(&self, index: usize, record: StepRecord) {
        let table = self.table_name(index);
        let StepRecord { version, rows_out: rows, files, bytes_out: bytes, elapsed_ms, .. } = record;
        if record.outcome == "SKIPPED" {
            tracing::info!(
                table,
                version,
                rows,
                files,
                bytes,
                elapsed_ms,
                "step skipped: the run has committed it before"
            );
        } else {
            tracing::info!(table, version, rows, files, bytes, elapsed_ms, "step committed");
        }
        self.show(index, record);
    }

    fn show(&self, index: usize, record: StepRecord) {
        self.update(index, |step| {
            step.state = record.outcome.clone();
            step.record = Some(record);
            details::end(step);
        });
    }

    fn failed(&self, index: usize, error: &EngineError) {
        let table = self.table_name(index);
        let (class, code) = (error.class(), error.code());
        // A step that ends because its run does has not failed.
        let is_killed = class == ErrorClass::Cancelled;
        if is_killed {
            tracing::info!(table, error.class = %class, error.code = code, "step killed: {error}");
        } else {
            tracing::error!(table, error.class = %class, error.code = code, "step failed: {error}");
        }
        self.update(index, |step| {
            step.state = if is_killed { "KILLED" } else { "FAILED" }.to_owned();
            step.failure = Some(error.0.clone().into());
            details::end(step);
        });
    }
}

/// Application id and version of the transaction with which a run commits to a table.
pub(super) fn transaction(pipeline: &Pipeline, table: &lake_job::Table, run_number: i64) -> (String, i64) {
    (format!("lake/{}/{}", pipeline.name, table.name), run_number)
}

fn mark_ended(waits: &mut [Vec<usize>], ended: usize) {
    for wait in waits {
        wait.retain(|index| *index != ended);
    }
}
