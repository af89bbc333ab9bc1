//! The steps of an application, put together from what is on record, what its driver says and what was submitted. Pure.

use std::collections::BTreeMap;

use lake_job::{Pipeline, Read, Relation, SourceInput, Table};
use lake_proto::{ErrorClass, Fault, v1};

use crate::step::{ReadKind, ReadRecord, StepRecord};
use crate::table::TableRecord;

/// What is known of an application's steps, from three sides.
#[derive(Debug, Clone, Copy, Default)]
pub struct StepSources<'a> {
    /// What was submitted; `None` when that is not kept any more.
    pub pipeline: Option<&'a Pipeline>,
    /// What is in the replicated log.
    pub recorded: &'a [v1::StepRecord],
    /// The driver's last picture.
    pub progress: &'a [v1::StepProgress],
}

impl StepSources<'_> {
    /// The steps of an application that has not ended, in the order of the pipeline.
    pub fn steps(&self) -> Vec<StepRecord> {
        let recorded: BTreeMap<&str, &v1::StepRecord> =
            self.recorded.iter().map(|step| (step.table.as_str(), step)).collect();
        let progress: BTreeMap<&str, &v1::StepProgress> =
            self.progress.iter().map(|step| (step.table.as_str(), step)).collect();
        let mut steps: Vec<StepRecord> = self.pipeline.map(of_pipeline).unwrap_or_default();
        let told = self.progress.iter().map(|step| &step.table).chain(self.recorded.iter().map(|step| &step.table));
        for table in told {
            if !steps.iter().any(|step| step.table == *table) {
                steps.push(StepRecord { table: table.clone(), state: "PENDING".to_owned(), ..StepRecord::default() });
            }
        }
        for step in &mut steps {
            if let Some(progress) = progress.get(step.table.as_str()) {
                take_progress(step, progress);
            }
            if let Some(recorded) = recorded.get(step.table.as_str()) {
                take_recorded(step, recorded);
            }
        }
        steps
    }

    /// The steps of an application that has ended with `failure`, or well. What still ran failed with it, or was killed with
    /// it: then nothing is wrong with the step. What waited never began, and never will.
    pub fn steps_at_the_end(&self, failure: Option<&Fault>, ended_at_ms: u64) -> Vec<StepRecord> {
        let is_cancelled = |fault: &Fault| fault.class == ErrorClass::Cancelled;
        let with_it = if failure.is_some_and(is_cancelled) { "KILLED" } else { "FAILED" };
        let mut steps = self.steps();
        for step in steps.iter_mut().filter(|step| step.state == "PENDING") {
            step.state = "NOT_RUN".to_owned();
        }
        // So says a driver of an older release of what was cancelled.
        for step in steps.iter_mut().filter(|step| step.state == "FAILED") {
            if step.failure.as_ref().is_some_and(is_cancelled) {
                step.state = "KILLED".to_owned();
            }
        }
        for step in steps.iter_mut().filter(|step| matches!(step.state.as_str(), "RUNNING" | "COMMITTING")) {
            step.state = with_it.to_owned();
            if step.ended_at_ms == 0 {
                step.ended_at_ms = ended_at_ms;
            }
            if step.failure.is_none() {
                let unknown = || Fault::new(ErrorClass::Internal, "step-end", "nobody said how the step ended");
                step.failure = Some(failure.cloned().unwrap_or_else(unknown));
            }
        }
        steps
    }
}

fn of_pipeline(pipeline: &Pipeline) -> Vec<StepRecord> {
    let step = |table: &Table| StepRecord {
        table: table.name.to_string(),
        location: table.location.clone(),
        mode: table.mode.to_string(),
        state: "PENDING".to_owned(),
        reads: table.reads.iter().map(|read| planned_read(pipeline, read)).collect(),
        ..StepRecord::default()
    };
    pipeline.tables.iter().map(step).collect()
}

/// What a step will read, as far as job.toml says it.
fn planned_read(pipeline: &Pipeline, read: &Read) -> ReadRecord {
    let (name, kind, location) = match read {
        Read::Source(name) => (name.clone(), ReadKind::Source, source_location(pipeline, name)),
        Read::Table(name) => {
            let table = pipeline.tables.iter().find(|table| table.name == *name);
            (name.to_string(), ReadKind::Table, table.map(|table| table.location.clone()).unwrap_or_default())
        }
        Read::External(name) => (name.to_string(), ReadKind::Table, pipeline.external_location(name)),
    };
    ReadRecord { name, kind, location, ..ReadRecord::default() }
}

/// Where a source of the job is: never a credential, because job.toml has references in their place, and connections are
/// named here.
fn source_location(pipeline: &Pipeline, name: &str) -> String {
    let source = pipeline.sources.iter().find(|source| source.name == *name);
    match source.map(|source| &source.input) {
        Some(SourceInput::Files(files)) => files.path.clone(),
        Some(SourceInput::Postgres(postgres)) => {
            let relation = match &postgres.relation {
                Relation::Table(table) => table.as_str(),
                Relation::Query(_) => "query",
            };
            format!("{}/{relation}", postgres.connection)
        }
        None => String::new(),
    }
}

fn take_progress(step: &mut StepRecord, progress: &v1::StepProgress) {
    step.state.clone_from(&progress.state);
    step.failure = progress.failure.clone().map(Fault::from);
    if let Some(record) = &progress.record {
        take_recorded(step, record);
    }
    if step.expectations.is_empty() {
        step.expectations = progress.expectations.iter().map(Into::into).collect();
        // Of a step that a violated expectation has failed, nothing else tells how many there were.
        let checked = progress.expectations.iter().filter_map(|found| found.checked).max();
        step.rows_in = step.rows_in.max(checked.unwrap_or(0));
    }
    let Some(details) = &progress.details else { return };
    step.started_at_ms = details.started_at_ms;
    step.ended_at_ms = details.ended_at_ms;
    step.version_before = details.version_before;
    step.table_after = details.table_after.as_ref().map(TableRecord::from);
    if !details.location.is_empty() {
        step.location.clone_from(&details.location);
        step.mode.clone_from(&details.mode);
    }
    if !details.reads.is_empty() {
        step.reads = details.reads.iter().map(ReadRecord::from).collect();
    }
}

fn take_recorded(step: &mut StepRecord, recorded: &v1::StepRecord) {
    step.state.clone_from(&recorded.outcome);
    step.version = (recorded.outcome != "UNKNOWN").then_some(recorded.version);
    step.rows_in = recorded.rows_in;
    step.rows_out = recorded.rows_out;
    step.bytes_out = recorded.bytes_out;
    step.files = u64::from(recorded.files);
    step.took_ms = recorded.elapsed_ms;
    step.failure = None;
    // The log does not say how many rows were checked; the driver may have.
    let is_known = recorded.expectations.len() == step.expectations.len();
    if !is_known || recorded.expectations.iter().any(|result| result.checked.is_some()) {
        step.expectations = recorded.expectations.iter().map(Into::into).collect();
    }
}

#[cfg(test)]
mod tests;
