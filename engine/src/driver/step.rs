//! One step: open its inputs at pinned versions, plan, run, check, commit once. Edge.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use datafusion::common::DFSchema;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use lake_job::{ExpectationAction, Table, WriteMode};
use lake_proto::ErrorClass;
use lake_proto::v1::{ExpectationResult, StepRecord};
use tokio::sync::watch;
use url::Url;

use super::inputs;
use super::planning::{estimated_scan_bytes, physical_plan};
use super::run::Run;
use crate::delta::replace::parse_predicate;
use crate::delta::{
    Check, CheckKind, CommitOutcome, CommitRequest, DeltaTable, DeltaTableProvider, Mode, NewTable, Replacement,
    Snapshot, WriteSpec, Written, checkpoint_if_due, commit, plan_write, split_replace,
};
use crate::runner::Query;
use crate::runner::cluster::fresh_query_id;
use crate::session;
use crate::{EngineError, Result};

/// Runs the step at `index` of the run's pipeline to its commit.
pub(super) async fn execute(run: &Run, index: usize) -> Result<StepRecord> {
    let table = run.pipeline.tables.get(index).ok_or_else(|| EngineError::internal("no such step"))?;
    let started = Instant::now();
    run.update(index, |step| step.state = "RUNNING".to_owned());
    let location = inputs::location(&table.location)?;
    let transaction = (format!("lake/{}/{}", run.pipeline.name, table.name), run.identity.run_number);
    let target = DeltaTable::open(&run.stores, &location, None).await?;
    if let Some(target) = &target
        && target.txn_version(&transaction.0).await?.is_some_and(|version| version >= transaction.1)
    {
        return Ok(skipped(table, target, started));
    }

    let step = Step { run, index, table, location };
    let (target, rows) = step.write(target).await?;
    run.update(index, |step| step.state = "COMMITTING".to_owned());
    let outcome = match step.check_expectations(&rows.written) {
        Ok(()) => step.commit(target, &rows, transaction).await,
        Err(error) => Err(error),
    };
    if let Err(error) = &outcome {
        step.discard(&rows, error).await;
    }
    let outcome = outcome?;
    let written = &rows.written;
    Ok(StepRecord {
        table: table.name.to_string(),
        outcome: match outcome {
            CommitOutcome::Committed(_) => "COMMITTED".to_owned(),
            CommitOutcome::AlreadyCommitted(_) => "SKIPPED".to_owned(),
        },
        version: outcome.version(),
        rows_in: written.input_rows,
        rows_out: written.output_rows,
        bytes_out: written.output_bytes,
        files: u32::try_from(written.adds.len()).unwrap_or(u32::MAX),
        elapsed_ms: elapsed_ms(started),
        expectations: step.expectations(written),
    })
}

/// A table that is there, or what it will be made of.
enum Target {
    Exists(Snapshot),
    New(NewTable),
}

/// What a step wrote and has not committed yet.
struct Rows {
    written: Written,
    mode: Mode,
    /// Files of `replace_where` with the rows that stay although their file goes.
    survivors: Written,
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
        let session = session::session(run.runner.session_config(), run.runtime.clone(), run.stores.clone());
        inputs::register(&run.pipeline, table, &run.stores, &session, &inputs::Planned::new()).await?;
        let frame =
            inputs::with_audit(inputs::query(table, &session).await?, table, run.started, &run.identity.run_id)?;
        let input = physical_plan(&session, frame.logical_plan()).await?;
        let target = match target {
            Some(snapshot) => {
                check_partitioning(table, &snapshot)?;
                Target::Exists(snapshot)
            }
            None => Target::New(NewTable {
                name: table.name.to_string(),
                schema: Arc::new(frame.schema().as_arrow().clone()),
                partition_by: table.partition_by.clone(),
                properties: table.properties.clone(),
            }),
        };
        let spec = match &target {
            Target::Exists(snapshot) => WriteSpec::new(snapshot, table.target_file_size_bytes)?,
            Target::New(new) => WriteSpec::create(&self.location, new, table.target_file_size_bytes)?,
        };
        let constraints = match &target {
            Target::Exists(snapshot) => snapshot.constraints(),
            Target::New(_) => Vec::new(),
        };
        let checks = self.checks(&session, &spec, constraints)?;
        let written = self.run_write(&session, input, spec.clone().with_checks(checks)).await?;
        let rows = match (&table.mode, &target) {
            (WriteMode::Append, _) => Rows { written, mode: Mode::Append, survivors: Written::default() },
            (WriteMode::Overwrite, _) | (WriteMode::ReplaceWhere { .. }, Target::New(_)) => {
                Rows { written, mode: Mode::Overwrite, survivors: Written::default() }
            }
            (WriteMode::ReplaceWhere { predicate }, Target::Exists(snapshot)) => {
                let parsed = parse_predicate(&session.state(), snapshot, predicate)?;
                let split = split_replace(snapshot, &session.state(), &parsed, predicate).await?;
                let survivors = self.write_survivors(&session, snapshot, &split, spec).await?;
                Rows { written, mode: Mode::ReplaceWhere(Box::new(split)), survivors }
            }
        };
        Ok((target, rows))
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
        self.run_write(session, input, spec).await
    }

    async fn run_write(
        &self,
        session: &SessionContext,
        input: Arc<dyn ExecutionPlan>,
        spec: WriteSpec,
    ) -> Result<Written> {
        let (run, index) = (self.run, self.index);
        let estimated_scan_bytes = estimated_scan_bytes(&input);
        let plan = plan_write(input, spec, run.runner.cores())?;
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
        let batches = tokio::select! {
            outcome = run.runner.run(query, progress) => outcome?,
            () = relay => return Err(EngineError::internal("the progress relay ended")),
        };
        Written::read(&batches)
    }

    async fn commit(&self, target: Target, rows: &Rows, transaction: (String, i64)) -> Result<CommitOutcome> {
        let stores = &self.run.stores;
        let base = match target {
            Target::Exists(snapshot) => snapshot,
            Target::New(new) => DeltaTable::create(stores, &self.location, &new).await?,
        };
        let request = CommitRequest {
            mode: rows.mode.clone(),
            adds: rows.written.adds.iter().chain(&rows.survivors.adds).cloned().collect(),
            txn: transaction,
            metrics: BTreeMap::from([("numSourceRows".to_owned(), rows.written.input_rows.to_string())]),
            user_metadata: Some(self.run.identity.run_id.clone()),
        };
        let outcome = commit(stores, &base, request).await?;
        if let CommitOutcome::Committed(version) = outcome {
            checkpoint_if_due(&base, version).await;
        }
        Ok(outcome)
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

    /// The step's expectations, then what the table itself demands: its CHECK constraints (name and text), and that
    /// new rows match what they replace.
    fn checks(
        &self,
        session: &SessionContext,
        spec: &WriteSpec,
        constraints: Vec<(String, String)>,
    ) -> Result<Vec<Check>> {
        let schema = DFSchema::try_from(spec.schema().as_ref().clone())?;
        let check = |name: String, text: &str, kind: CheckKind| {
            let expression = session
                .parse_sql_expr(text, &schema)
                .and_then(|expression| session.create_physical_expr(expression, &schema))
                .map_err(|error| EngineError::from(error).within(format!("expectation '{name}'")))?;
            Ok::<_, EngineError>(Check { name, expression, kind })
        };
        let mut checks = Vec::with_capacity(self.table.expectations.len() + 1);
        for expectation in &self.table.expectations {
            let kind = match expectation.action {
                ExpectationAction::Warn => CheckKind::Warn,
                ExpectationAction::Drop => CheckKind::Drop,
                ExpectationAction::Fail => CheckKind::Fail,
            };
            checks.push(check(expectation.name.clone(), &expectation.check, kind)?);
        }
        for (name, text) in constraints {
            checks.push(check(name, &text, CheckKind::Constraint)?);
        }
        if let WriteMode::ReplaceWhere { predicate } = &self.table.mode {
            checks.push(check(format!("replace_where: {predicate}"), predicate, CheckKind::Constraint)?);
        }
        Ok(checks)
    }

    fn expectations(&self, written: &Written) -> Vec<ExpectationResult> {
        let result = |expectation: &lake_job::Expectation| ExpectationResult {
            name: expectation.name.clone(),
            action: action_name(expectation.action).to_owned(),
            violations: violations(written, &expectation.name),
        };
        self.table.expectations.iter().map(result).collect()
    }

    fn check_expectations(&self, written: &Written) -> Result<()> {
        let failing = |expectation: &&lake_job::Expectation| {
            expectation.action == ExpectationAction::Fail && violations(written, &expectation.name) > 0
        };
        let say = |expectation: &lake_job::Expectation| {
            let (name, check) = (&expectation.name, &expectation.check);
            let (violations, rows) = (violations(written, name), written.input_rows);
            format!("expectation '{name}' ({check}) is violated by {violations} of {rows} rows")
        };
        let failed: Vec<String> = self.table.expectations.iter().filter(failing).map(say).collect();
        if failed.is_empty() {
            return Ok(());
        }
        let message = format!("{}; nothing was committed", failed.join("; "));
        Err(EngineError::new(ErrorClass::DataQuality, "expectation", message))
    }
}

fn violations(written: &Written, name: &str) -> u64 {
    written.expectations.iter().filter(|count| count.name == name).map(|count| count.violations).sum()
}

fn check_partitioning(table: &Table, target: &Snapshot) -> Result<()> {
    if table.partition_by.is_empty() || table.partition_by == target.partition_columns() {
        return Ok(());
    }
    let (wanted, found) = (table.partition_by.join(", "), target.partition_columns().join(", "));
    Err(EngineError::invalid(
        "partition-mismatch",
        format!(
            "partition_by is [{wanted}] but the table is partitioned by [{found}]: a table keeps what it was created with"
        ),
    ))
}

fn skipped(table: &Table, target: &Snapshot, started: Instant) -> StepRecord {
    StepRecord {
        table: table.name.to_string(),
        outcome: "SKIPPED".to_owned(),
        version: target.version(),
        elapsed_ms: elapsed_ms(started),
        ..StepRecord::default()
    }
}

const fn action_name(action: ExpectationAction) -> &'static str {
    match action {
        ExpectationAction::Warn => "warn",
        ExpectationAction::Drop => "drop",
        ExpectationAction::Fail => "fail",
    }
}

fn elapsed_ms(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}
