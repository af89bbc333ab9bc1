//! One step: open its inputs at pinned versions, plan, run, check, commit once. Edge.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use lake_job::{ParseMode, Table, WriteMode};
use lake_proto::v1::StepRecord;
use lake_proto::{ErrorClass, point};
use tokio::sync::watch;
use tracing::Instrument;
use url::Url;

use super::planning::{estimated_scan_bytes, physical_plan};
use super::run::{Run, transaction};
use super::target::{self, Destination, Target};
use super::{expectations, gathering, inputs, record, spans};
use crate::delta::replace::parse_predicate;
use crate::delta::{
    CommitOutcome, CommitRequest, Committed, DeltaFilesScanExec, DeltaTable, DeltaTableProvider, Mode, Replacement,
    Snapshot, WriteSpec, Written, checkpoint_if_due, commit_while, committed, plan_gathered_write, plan_write,
    split_replace,
};
use crate::malformed::{self, Malformed};
use crate::runner::{Query, fresh_query_id};
use crate::session;
use crate::{EngineError, Result, worklist};

/// Runs the step at `index` of the run's pipeline to its commit.
pub(super) async fn execute(run: &Run, index: usize) -> Result<StepRecord> {
    let table = run.pipeline.tables.get(index).ok_or_else(|| EngineError::internal("no such step"))?;
    let started = Instant::now();
    tracing::info!(mode = %table.mode, "step started");
    run.begins(index);
    let location = inputs::location(&table.location)?;
    let transaction = transaction(&run.pipeline, table, run.identity.run_number);
    let target = DeltaTable::open(&run.stores, &location).await?;
    run.detail(index, |details| details.version_before = target.as_ref().map(Snapshot::version));
    if let Some(target) = &target
        && target.has_committed(&transaction).await?
    {
        let found = earlier_commit(target, target.version(), &transaction).await;
        return Ok(record::skipped(table, target.version(), found.as_ref(), started));
    }

    run.told.step_started(index);
    let step = Step { run, index, table, location };
    let (target, rows) = step.write(target).await?;
    run.update(index, |step| step.state = "COMMITTING".to_owned());
    let committing = Instant::now();
    let outcome = match expectations::enforce(table, &rows.written) {
        Ok(()) => {
            let span = spans::commit(&table.name.to_string());
            let commit = async {
                let outcome = step.commit(target, &rows, transaction.clone()).await;
                spans::ended(&outcome, |(_, outcome)| Some(outcome.version()));
                outcome
            };
            Box::pin(commit).instrument(span).await
        }
        Err(error) => {
            // The step gets no record, which would tell them.
            run.update(index, |step| step.expectations = expectations::results(table, &rows.written));
            Err(error)
        }
    };
    let commit_ms = record::elapsed_ms(committing);
    if let Err(error) = &outcome {
        step.discard(&rows, error).await;
    }
    match outcome? {
        (base, CommitOutcome::Committed(version)) => {
            run.tell_commit(index, base, version, &rows.mode, rows.written.adds.iter().chain(&rows.survivors.adds));
            Ok(StepRecord { commit_ms, ..record::committed(table, version, &rows.written, started) })
        }
        // What was written here is not what is in the table.
        (base, CommitOutcome::AlreadyCommitted(version)) => {
            let found = earlier_commit(&base, version, &transaction).await;
            Ok(record::skipped(table, version, found.as_ref(), started))
        }
    }
}

/// What an earlier attempt of the run has committed. Only to be told: that it has is known.
async fn earlier_commit(table: &Snapshot, newest: i64, transaction: &(String, i64)) -> Option<Committed> {
    let found = committed(table, newest, transaction).await;
    found.unwrap_or_else(|error| {
        tracing::warn!(error.code = error.code(), "an earlier commit of the run cannot be told: {error}");
        None
    })
}

/// What a step wrote and has not committed yet.
struct Rows {
    written: Written,
    mode: Mode,
    /// Files of `replace_where` with the rows that stay although their file goes.
    survivors: Written,
    /// Digest of what they were made from.
    inputs: String,
}

struct Step<'a> {
    run: &'a Run,
    index: usize,
    table: &'a Table,
    location: Url,
}

impl Step<'_> {
    /// Writes the step's rows as data files that no log names yet.
    async fn write(&self, target: Option<Snapshot>) -> Result<(Target, Rows)> {
        let (run, table) = (self.run, self.table);
        let moment = run.identity.moment;
        let (runtime, stores) = (run.runtime.clone(), run.stores.clone());
        let session = session::session_at(run.runner.session_config(), runtime, stores, moment);
        let pinned = inputs::register(&run.pipeline, table, &run.stores, &session, &inputs::Planned::new()).await?;
        run.detail(self.index, |details| details.reads = pinned.reads());
        let inputs = pinned.digest();
        let frame = inputs::with_audit(inputs::query(table, &session).await?, table, moment, &run.identity.run_id)?;
        run.told.step_planned(self.index, frame.logical_plan());
        let input = physical_plan(&session, frame.logical_plan()).await;
        let input = input.map_err(|error| inputs::in_query(table, error))?;
        // Planned, it is known how many files the tables have.
        run.detail(self.index, |details| details.reads = pinned.reads());
        let scanned = malformed::found(&input);
        let columns = frame.schema().as_arrow();
        let Destination { target, spec, checks } =
            target::plan(table, &self.location, target, columns, &session, moment)?;
        tracing::info!(
            table_files = DeltaFilesScanExec::files(&input).read,
            pieces = worklist::count(&input),
            estimated_bytes = estimated_scan_bytes(&input),
            "step planned"
        );
        let written = self.run_write(&session, frame.logical_plan(), input, spec.clone().with_checks(checks)).await?;
        self.tell_malformed(&scanned, &written);
        let rows = match (&table.mode, &target) {
            (WriteMode::Append, _) => Rows { written, mode: Mode::Append, survivors: Written::default(), inputs },
            (WriteMode::Overwrite, _) | (WriteMode::ReplaceWhere { .. }, Target::New(_)) => {
                Rows { written, mode: Mode::Overwrite, survivors: Written::default(), inputs }
            }
            (WriteMode::ReplaceWhere { predicate, .. }, Target::Exists(snapshot)) => {
                let state = session::state_at(&session, moment);
                let parsed = parse_predicate(&state, snapshot, predicate)?;
                let split = split_replace(snapshot, &state, &parsed, predicate).await?;
                let survivors = self.write_survivors(&session, snapshot, &split, spec).await?;
                Rows { written, mode: Mode::ReplaceWhere(Box::new(split)), survivors, inputs }
            }
        };
        Ok((target, rows))
    }

    /// A step that has fewer rows than its files, or NULL in place of what they say, must not pass unseen. `scanned` are
    /// the sources in which that may be.
    fn tell_malformed(&self, scanned: &[Malformed], written: &Written) {
        let table = self.table.name.to_string();
        for source in scanned {
            let fate = match source.mode {
                ParseMode::Drop => "left out",
                ParseMode::Permissive | ParseMode::FailFast => "kept with NULL in place of what did not parse",
            };
            let name = &source.source;
            match written.malformed.iter().find(|counted| counted.source == source.source) {
                Some(counted) if counted.records() == 0 => {}
                Some(counted) => {
                    tracing::warn!(table, source = name, records = counted.records(), "malformed records were {fate}");
                }
                None => tracing::debug!(
                    table,
                    source = name,
                    "malformed records are {fate} and not counted: the files were read in another stage than the one \
                     that writes; a table that is filled `from` the source counts them"
                ),
            }
        }
    }

    /// Rows that do not match a `replace_where` but share a file with rows that may.
    async fn write_survivors(
        &self,
        session: &SessionContext,
        snapshot: &Snapshot,
        split: &Replacement,
        spec: WriteSpec,
    ) -> Result<Written> {
        if split.rewrite.is_empty() {
            return Ok(Written::default());
        }
        let files = DeltaTableProvider::over(snapshot.clone(), split.rewrite.clone());
        let frame = session.read_table(Arc::new(files))?.filter(split.survivors())?;
        let input = physical_plan(session, frame.logical_plan()).await?;
        self.run_write(session, frame.logical_plan(), input, spec).await
    }

    async fn run_write(
        &self,
        session: &SessionContext,
        query: &LogicalPlan,
        input: Arc<dyn ExecutionPlan>,
        spec: WriteSpec,
    ) -> Result<Written> {
        let (run, index) = (self.run, self.index);
        let estimated_scan_bytes = estimated_scan_bytes(&input);
        let tasks = run.runner.cores();
        let plan = if gathering::is_needed(session, query, spec.partition_by(), tasks, estimated_scan_bytes).await {
            plan_gathered_write(input, spec, tasks)?
        } else {
            plan_write(input, spec)?
        };
        let (progress, mut watched) = watch::channel(Vec::new());
        let query = Query {
            id: fresh_query_id()?,
            label: self.table.name.to_string(),
            plan,
            config: session.copied_config(),
            estimated_scan_bytes,
        };
        let relay = async {
            while watched.changed().await.is_ok() {
                let stages = watched.borrow_and_update().clone();
                run.stages(index, stages);
            }
            std::future::pending::<()>().await;
        };
        let span = spans::query(query.id.as_str(), &query.label);
        let batches = tokio::select! {
            outcome = run.runner.run(query, progress).instrument(span) => outcome?,
            () = relay => return Err(EngineError::internal("the progress relay ended")),
        };
        Written::read(&batches)
    }

    /// The outcome with the version that it is based on.
    async fn commit(
        &self,
        target: Target,
        rows: &Rows,
        transaction: (String, i64),
    ) -> Result<(Snapshot, CommitOutcome)> {
        let (stores, commits) = (&self.run.stores, &self.run.commits);
        commits.check()?;
        point::reached("driver-before-commit");
        // Made before the permission is given: whoever must settle what a permitted step has committed finds a table.
        let base = match target {
            Target::Exists(snapshot) => snapshot,
            Target::New(new) => DeltaTable::create(stores, &self.location, &new).await?,
        };
        let permit = commits.permit(&self.table.name.to_string(), &rows.inputs).await?;
        let request = CommitRequest {
            mode: rows.mode.clone(),
            adds: rows.written.adds.iter().chain(&rows.survivors.adds).cloned().collect(),
            txn: transaction,
            metrics: BTreeMap::from([
                ("numSourceRows".to_owned(), rows.written.input_rows.to_string()),
                ("numOutputRows".to_owned(), rows.written.output_rows.to_string()),
                ("lakeCommitPermit".to_owned(), permit.to_string()),
                ("lakeCommitInputs".to_owned(), rows.inputs.clone()),
            ]),
            user_metadata: Some(self.run.identity.run_id.clone()),
        };
        let outcome = commit_while(stores, &base, request, &|| commits.check()).await?;
        point::reached("driver-after-commit");
        if let CommitOutcome::Committed(version) = outcome {
            checkpoint_if_due(&base, version).await;
        }
        Ok((base, outcome))
    }

    /// Removes data files that no commit will name. They would be harmless orphans, so a failure to remove one is
    /// only logged. After a commit of unknown outcome they stay: they may be the table's.
    async fn discard(&self, rows: &Rows, cause: &EngineError) {
        if matches!(cause.class(), ErrorClass::Unavailable | ErrorClass::Internal) {
            return;
        }
        let Ok(store) = self.run.stores.rooted(&self.location) else { return };
        for add in rows.written.adds.iter().chain(&rows.survivors.adds) {
            let path = object_store::path::Path::from(add.path.as_str());
            if let Err(error) = object_store::ObjectStoreExt::delete(&store, &path).await {
                tracing::warn!(table = %self.location, "an uncommitted file could not be removed: {error}");
            }
        }
    }
}
