//! Delta tables that applications wrote or read, by what their steps told. Ours. Pure.

use std::collections::{BTreeMap, BTreeSet};

use lake_proto::Fault;
use lake_record::story::{Reading, Runs, Story, stories_by_location, without_slash};
use lake_record::{ApplicationSummary, SIZE_BUCKETS, StepRecord};
use schemars::JsonSchema;
use serde::Serialize;

use crate::Part;
use crate::failure::unknown_table;
use crate::parameter::{Kind, Page, Parameter, Query};
use crate::step::Column;

/// Part of a name or location.
pub const SEARCH: Parameter =
    Parameter { name: "search", kind: Kind::Text, about: "What the name or the location of the table has in it." };

/// Which of several tables of one name.
pub const LOCATION: Parameter = Parameter {
    name: "location",
    kind: Kind::Text,
    about: "Root of the table, where several have one name. Without it, the one that was committed last.",
};

/// A table, as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Table {
    /// Its name in the jobs that write it, or else read it.
    pub name: String,
    /// Its root: what makes it this table.
    pub location: String,
    /// The last version that was told; null when nobody has told one.
    pub version: Option<i64>,
    /// When that version was committed; 0 = not told.
    pub committed_at_ms: u64,
    /// Delta's name of the operation that made it; empty = not told.
    pub operation: String,
    /// Live data files; null = not told.
    pub files: Option<u64>,
    /// Their bytes.
    pub bytes: Option<u64>,
    /// Their rows.
    pub rows: Option<u64>,
    /// Its partition columns.
    pub partition_by: Vec<String>,
    /// Jobs that write it.
    pub written_by: Vec<String>,
    /// Jobs that read it.
    pub read_by: Vec<String>,
}

/// A table in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TableDetail {
    /// As in lists.
    #[serde(flatten)]
    pub table: Table,
    /// Its columns, in order; empty = not told.
    pub columns: Vec<Column>,
    /// Different values of the partition columns; null = not told.
    pub partitions: Option<u64>,
    /// Upper bounds of the sizes that `file_sizes` counts, in bytes; the last number there is of larger files.
    pub file_size_bounds: Vec<u64>,
    /// Live files by size; empty = not told.
    pub file_sizes: Vec<u64>,
    /// What wrote it, the last one first; the part that was asked for.
    pub versions: Vec<Version>,
    /// What read it last, by job and step.
    pub readers: Vec<Reader>,
    /// Roots of other tables of this name.
    pub other_locations: Vec<String>,
}

/// A step that wrote a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Version {
    /// The version it made; null when it made none, or has not said it.
    pub version: Option<i64>,
    /// COMMITTED SKIPPED FAILED …
    pub state: String,
    /// When it was committed; 0 = not told.
    pub committed_at_ms: u64,
    /// Delta's name of the operation; empty = not told.
    pub operation: String,
    /// Delta's operation metrics, as in the commit.
    pub operation_metrics: BTreeMap<String, String>,
    /// The application of the step.
    pub app_id: String,
    /// Its job.
    pub job_name: String,
    /// The version in the Delta transaction id.
    pub run_number: u64,
    /// Rows written.
    pub rows_out: u64,
    /// Bytes of the files written.
    pub bytes_out: u64,
    /// Files written.
    pub files: u64,
    /// What its expectations found.
    pub expectations: Vec<crate::step::ExpectationDetail>,
}

/// A step that read a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Reader {
    /// The job.
    pub job_name: String,
    /// The table that its step writes.
    pub step: String,
    /// The last application of this job.
    pub app_id: String,
    /// The version that it read.
    pub version: Option<i64>,
}

/// Tables by name.
///
/// # Errors
/// `invalid-job/parameter` for a page that is none.
pub fn list(runs: &Runs, query: &Query) -> Result<Part<Table>, Fault> {
    let page = query.page()?;
    let wanted = query.text(&SEARCH).unwrap_or_default().to_lowercase();
    let mut tables: Vec<Story<'_>> = stories_by_location(runs).into_values().collect();
    tables.sort_by_key(|table| (table.name, table.location));
    let has_it = |table: &Story<'_>| {
        table.name.to_lowercase().contains(&wanted) || table.location.to_lowercase().contains(&wanted)
    };
    Ok(Part::of(tables.into_iter().filter(has_it), page).map(|table| overview(&table)))
}

/// The table of this name.
///
/// # Errors
/// `not-found/no-such-table`; `invalid-job/parameter` for a page that is none.
pub fn find(runs: &Runs, name: &str, query: &Query) -> Result<TableDetail, Fault> {
    let page = query.page()?;
    let (location, known) = (query.text(&LOCATION).map(without_slash), stories_by_location(runs));
    let named: Vec<&Story<'_>> = known.values().filter(|table| table.name == name).collect();
    let wanted = named.iter().filter(|table| location.is_none_or(|location| table.location == location));
    let found = wanted.max_by_key(|table| table.last().map(|after| after.committed_at_ms));
    let found = found.ok_or_else(|| unknown_table(name))?;
    let others = named.iter().filter(|table| table.location != found.location);
    let others = others.map(|table| table.location.to_owned()).collect();
    Ok(detail(found, page, others))
}

fn overview(story: &Story<'_>) -> Table {
    let last = story.last();
    let jobs = |names: BTreeSet<&str>| names.into_iter().map(str::to_owned).collect();
    Table {
        name: story.name.to_owned(),
        location: story.location.to_owned(),
        version: story.version().max(last.map(|after| after.version)),
        committed_at_ms: last.map_or(0, |after| after.committed_at_ms),
        operation: last.map(|after| after.operation.clone()).unwrap_or_default(),
        files: last.map(|after| after.files),
        bytes: last.map(|after| after.bytes),
        rows: last.and_then(|after| after.rows),
        partition_by: last.map(|after| after.partition_by.clone()).unwrap_or_default(),
        written_by: jobs(story.writes.iter().map(|write| write.run.job_name.as_str()).collect()),
        read_by: jobs(story.reads.iter().map(|reading| reading.run.job_name.as_str()).collect()),
    }
}

fn detail(story: &Story<'_>, page: Page, other_locations: Vec<String>) -> TableDetail {
    let last = story.last();
    TableDetail {
        table: overview(story),
        columns: last.map(|after| after.columns.iter().map(Column::from).collect()).unwrap_or_default(),
        partitions: last.and_then(|after| after.partitions),
        file_size_bounds: SIZE_BUCKETS.to_vec(),
        file_sizes: last.map(|after| after.file_sizes.clone()).unwrap_or_default(),
        versions: Part::of(story.begun(), page).map(|write| version(write.run, write.step)).items,
        readers: story.readers().into_values().map(reader).collect(),
        other_locations,
    }
}

fn reader(reading: &Reading<'_>) -> Reader {
    Reader {
        job_name: reading.run.job_name.clone(),
        step: reading.step.table.clone(),
        app_id: reading.run.app_id.clone(),
        version: reading.read.version,
    }
}

fn version(application: &ApplicationSummary, step: &StepRecord) -> Version {
    let after = step.table_after.as_ref();
    Version {
        version: step.version.or(after.map(|after| after.version)),
        state: step.state.clone(),
        committed_at_ms: after.map_or(step.ended_at_ms, |after| after.committed_at_ms),
        operation: after.map(|after| after.operation.clone()).unwrap_or_default(),
        operation_metrics: after.map(|after| after.operation_metrics.clone()).unwrap_or_default(),
        app_id: application.app_id.clone(),
        job_name: application.job_name.clone(),
        run_number: application.run_number,
        rows_out: step.rows_out,
        bytes_out: step.bytes_out,
        files: step.files,
        expectations: step.expectations.iter().map(Into::into).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::example;

    /// The example, after an earlier run of the job, and one of another job that writes a table of the same name.
    pub(crate) fn runs() -> Vec<(Arc<ApplicationSummary>, Arc<[StepRecord]>)> {
        let older = ApplicationSummary { app_id: "app-0".to_owned(), run_number: 6, ..example::summary() };
        let mut before = example::bronze();
        before.version = Some(3);
        before.table_after.iter_mut().for_each(|after| {
            after.version = 3;
            after.committed_at_ms = 10;
        });
        let other = ApplicationSummary { job_name: "other".to_owned(), ..older.clone() };
        let elsewhere = StepRecord { location: "s3://else/orders".to_owned(), table_after: None, ..before.clone() };
        vec![
            (Arc::new(example::summary()), Arc::from([example::bronze(), example::silver()])),
            (Arc::new(older), Arc::from([before])),
            (Arc::new(other), Arc::from([elsewhere])),
        ]
    }

    #[test]
    fn tables_are_known_by_their_location() {
        let all = list(&runs(), &Query::of("")).unwrap();
        let names: Vec<(&str, &str)> =
            all.items.iter().map(|table| (table.name.as_str(), table.location.as_str())).collect();
        assert_eq!(
            names,
            [
                ("bronze.orders", "s3://else/orders"),
                ("bronze.orders", "s3://lake/bronze/orders"),
                ("silver.orders", "s3://lake/silver/orders"),
            ]
        );
        let table = &all.items[1];
        assert_eq!(
            (table.version, table.committed_at_ms, table.rows, table.files),
            (Some(4), 4_900, Some(800), Some(12))
        );
        assert_eq!(
            (table.written_by.as_slice(), table.read_by.as_slice()),
            (&["orders".to_owned()][..], &["orders".to_owned()][..])
        );
        assert_eq!(all.items[0].version, Some(3));
        let found = list(&runs(), &Query::of("search=SILVER")).unwrap();
        assert_eq!((found.total, found.items[0].name.as_str(), found.items[0].version), (1, "silver.orders", None));
        assert_eq!(list(&runs(), &Query::of("limit=1&offset=1")).unwrap().items.len(), 1);
    }

    #[test]
    fn a_table_has_its_versions_the_last_one_first_and_its_readers() {
        let runs = runs();
        let found = find(&runs, "bronze.orders", &Query::of("")).unwrap();
        assert_eq!(found.table.location, "s3://lake/bronze/orders");
        assert_eq!(found.other_locations, ["s3://else/orders"]);
        assert_eq!(found.versions.iter().map(|version| version.version).collect::<Vec<_>>(), [Some(4), Some(3)]);
        assert_eq!(found.versions[0].expectations[0].violations, 10);
        assert_eq!((found.versions[0].operation.as_str(), found.versions[1].run_number), ("WRITE", 6));
        assert_eq!(
            found.readers,
            [Reader {
                job_name: "orders".to_owned(),
                step: "silver.orders".to_owned(),
                app_id: "app-20261121093012-0001".to_owned(),
                version: Some(4),
            }]
        );
        assert_eq!((found.file_sizes.len(), found.file_size_bounds.len()), (8, 7));
        assert_eq!(found.columns.len(), 2);
        let mut with_another = runs.clone();
        let waits = StepRecord { state: "NOT_RUN".to_owned(), ..with_another[1].1[0].clone() };
        let newest = Arc::clone(&with_another[0].0);
        with_another.insert(0, (newest, Arc::from([waits])));
        let same = find(&with_another, "bronze.orders", &Query::of("")).unwrap();
        assert_eq!(same.versions.len(), 2, "a step that never began is no version");
        let second = find(&runs, "bronze.orders", &Query::of("offset=1&limit=1")).unwrap();
        assert_eq!(second.versions.len(), 1);
        let elsewhere = find(&runs, "bronze.orders", &Query::of("location=s3://else/orders")).unwrap();
        assert_eq!((elsewhere.table.location.as_str(), elsewhere.columns.len()), ("s3://else/orders", 0));
    }

    #[test]
    fn a_table_that_nobody_wrote_or_read_is_not_found() {
        for (name, written) in [("gold.none", ""), ("../bronze.orders", ""), ("bronze.orders", "location=s3://none")] {
            assert_eq!(find(&runs(), name, &Query::of(written)).unwrap_err().code, "no-such-table", "{name}");
        }
        assert_eq!(find(&[], "a", &Query::of("limit=0")).unwrap_err().code, "parameter");
    }
}
