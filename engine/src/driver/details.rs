//! What a driver tells of its steps for the record of the run: when they ran, what they read, and what their tables have
//! become. For people: nothing is decided by it, and no step waits for it. Edge.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::Utc;
use deltalake_core::kernel::Add;
use lake_job::Table;
use lake_proto::v1::{NamedFigure, StepDetails, StepProgress, TableAfter, TableColumn, TableSize};
use tokio::task::JoinSet;

use super::run::Run;
use crate::delta::{LiveFile, Mode, Size, Snapshot, Stays, history, size_after};
use crate::sql_type::sql_type;
use crate::{EngineError, Result};

/// How long the end of a run waits for what is still being found out of its tables.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// Columns that are told of a table.
const MOST_COLUMNS: usize = 1_000;

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    u64::try_from(Utc::now().timestamp_millis()).unwrap_or(0)
}

/// What job.toml says of a step.
pub(super) fn planned(table: &Table) -> StepDetails {
    let (location, mode) = (table.location.clone(), table.mode.to_string());
    StepDetails { location, mode, ..StepDetails::default() }
}

/// The step ends now, if it has begun: one that an earlier attempt has recorded has not.
pub(super) fn end(step: &mut StepProgress) {
    if let Some(details) = step.details.as_mut().filter(|details| details.started_at_ms > 0) {
        details.ended_at_ms = now_ms();
    }
}

/// What is being found out while the run goes on.
#[derive(Debug, Default)]
pub(super) struct Questions {
    asked: Mutex<JoinSet<()>>,
}

impl Questions {
    fn ask(&self, question: impl Future<Output = ()> + Send + 'static) {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).spawn(question);
    }

    /// Waits for the answers, not for long. What is not answered by then is not told.
    pub(super) async fn answered(&self, patience: Duration) {
        let mut asked = std::mem::take(&mut *self.asked.lock().unwrap_or_else(PoisonError::into_inner));
        let all = async { while asked.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, all).await.is_err() {
            tracing::debug!("the run ends before all is known of its tables");
        }
    }
}

impl Run {
    /// Changes what is told of the step at `index`.
    pub(super) fn detail(&self, index: usize, change: impl FnOnce(&mut StepDetails)) {
        self.update(index, |step| change(step.details.get_or_insert_default()));
    }

    /// The step has committed `version` on top of `base`, with these files: what its table is now is told at once, how
    /// large it is as soon as that is known.
    pub(super) fn tell_commit<'a>(
        &self,
        index: usize,
        base: Snapshot,
        version: i64,
        mode: &Mode,
        adds: impl IntoIterator<Item = &'a Add>,
    ) {
        if !self.commits.keeps_records() {
            return;
        }
        self.detail(index, |details| details.table_after = Some(outline(&base, version)));
        let counted = Size::of_adds(adds);
        let (stays, progress) = (stays(mode), self.progress.clone());
        self.questions.ask(async move {
            let (said, size) = tokio::join!(history(&base, version), after(&base, version, stays, counted));
            let said = told(&base, said).unwrap_or_default();
            let size = told(&base, size).flatten();
            progress.send_modify(|steps| {
                let details = steps.get_mut(index).and_then(|step| step.details.as_mut());
                let Some(table) = details.and_then(|details| details.table_after.as_mut()) else { return };
                table.committed_at_ms = said.committed_at_ms;
                table.operation = said.operation;
                let figures = said.metrics.into_iter().map(|(name, value)| NamedFigure { name, value });
                table.operation_metrics = figures.collect();
                table.size = size.map(|size| size_of(&base, &size));
            });
        });
    }
}

async fn after(base: &Snapshot, version: i64, stays: Stays, added: Result<Size>) -> Result<Option<Size>> {
    size_after(base, version, stays, added?).await
}

/// What could be found out. That something could not is no fault of the run.
fn told<T>(table: &Snapshot, found: Result<T>) -> Option<T> {
    let unknown = |error: &EngineError| {
        tracing::debug!(table = %table.location(), error.code = error.code(), "a table is not told of: {error}");
    };
    found.inspect_err(unknown).ok()
}

/// Of the files that were there, those that a commit leaves.
fn stays(mode: &Mode) -> Stays {
    match mode {
        Mode::Append | Mode::Fence => Stays::Everything,
        Mode::Overwrite => Stays::Nothing,
        Mode::ReplaceWhere(replacement) => {
            let removed = replacement.remove.iter().chain(&replacement.rewrite);
            Stays::AllBut(removed.map(LiveFile::key).collect::<BTreeSet<_>>())
        }
    }
}

/// What is known of the table without a look at its log. A commit of a step changes no column.
fn outline(base: &Snapshot, version: i64) -> TableAfter {
    let columns = base.schema().fields().iter().take(MOST_COLUMNS).map(|field| TableColumn {
        name: field.name().clone(),
        data_type: sql_type(field.data_type()),
        is_nullable: field.is_nullable(),
    });
    TableAfter {
        version,
        columns: columns.collect(),
        partition_by: base.partition_columns().to_vec(),
        ..TableAfter::default()
    }
}

fn size_of(table: &Snapshot, size: &Size) -> TableSize {
    TableSize {
        files: size.files,
        bytes: size.bytes,
        rows: size.rows(),
        file_sizes: size.by_size().to_vec(),
        partitions: size.partitions().filter(|_| !table.partition_columns().is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};
    use url::Url;

    use super::*;
    use crate::delta::{DeltaTable, NewTable};
    use crate::stores::{Profiles, Stores};

    #[tokio::test]
    async fn a_table_is_outlined_by_its_columns_before_its_files_are_counted() {
        let directory = tempfile::tempdir().unwrap();
        let stores = Arc::new(Stores::new(Profiles::default()));
        let columns = vec![Field::new("n", DataType::Int64, false), Field::new("day", DataType::Date32, true)];
        let new = NewTable {
            name: "t".to_owned(),
            schema: Arc::new(Schema::new(columns)),
            partition_by: vec!["day".to_owned()],
            properties: [].into(),
        };
        let location = Url::from_file_path(directory.path().join("t")).unwrap();
        let table = DeltaTable::create(&stores, &location, &new).await.unwrap();
        let told = outline(&table, 7);
        let names: Vec<(&str, &str)> =
            told.columns.iter().map(|column| (column.name.as_str(), column.data_type.as_str())).collect();
        assert_eq!(names, [("n", "bigint"), ("day", "date")]);
        assert_eq!((told.version, told.partition_by), (7, vec!["day".to_owned()]));
        assert_eq!(told.size, None);
        assert_eq!(size_of(&table, &Size::default()).partitions, Some(0));
    }

    #[tokio::test]
    async fn a_run_waits_for_answers_and_not_for_ever() {
        let questions = Questions::default();
        let (answer, mut answered) = tokio::sync::oneshot::channel();
        questions.ask(async move {
            answer.send(()).unwrap();
        });
        questions.answered(Duration::from_secs(60)).await;
        assert_eq!(answered.try_recv(), Ok(()));
        questions.ask(std::future::pending());
        questions.answered(Duration::ZERO).await;
    }
}
