//! `--only` and `--from`: which steps of a job a run executes. Pure.

use std::collections::BTreeSet;

use crate::LoadOptions;
use crate::document::Place;
use crate::errors::{Code, Report};
use crate::pipeline::{Pipeline, Read, TableName, location_under};
use crate::suggest::closest;

/// The pipeline with the selected tables only. What they read of the others is read as it stands in the warehouse.
pub(crate) fn select(pipeline: Pipeline, options: &LoadOptions, report: &mut Report) -> Option<Pipeline> {
    if options.only.is_empty() && options.from.is_none() {
        return Some(pipeline);
    }
    let before = report.count();
    if let (false, Some(from)) = (options.only.is_empty(), &options.from) {
        let message = "--only and --from exclude each other";
        report.push(Place::flag(format!("--from {from}")).error(Code::Selection, "", message));
        return None;
    }
    let mut selected: BTreeSet<TableName> = BTreeSet::new();
    for written in &options.only {
        selected.extend(find(&pipeline, "--only", written, report));
    }
    if let Some(written) = &options.from {
        selected.extend(find(&pipeline, "--from", written, report));
        // Tables come after those they read, so that one pass finds everything downstream.
        for table in &pipeline.tables {
            if table.reads.iter().any(|read| matches!(read, Read::Table(name) if selected.contains(name))) {
                selected.insert(table.name.clone());
            }
        }
    }
    (report.count() == before).then(|| keep(pipeline, &selected))
}

fn find(pipeline: &Pipeline, option: &str, written: &str, report: &mut Report) -> Option<TableName> {
    let names = || pipeline.tables.iter().map(|table| &table.name);
    let found = names().find(|name| name.to_string().eq_ignore_ascii_case(written.trim())).cloned();
    if found.is_none() {
        let known: Vec<String> = names().map(ToString::to_string).collect();
        let place = Place::flag(format!("{option} {written}"));
        let mut error = place.error(Code::Selection, "", format!("the job has no table '{written}'"));
        error.suggestion = closest(written, known.iter().map(String::as_str));
        report.push(error);
    }
    found
}

fn keep(mut pipeline: Pipeline, selected: &BTreeSet<TableName>) -> Pipeline {
    let (mut tables, left_out): (Vec<_>, Vec<_>) =
        pipeline.tables.into_iter().partition(|table| selected.contains(&table.name));
    for read in tables.iter_mut().flat_map(|table| &mut table.reads) {
        if let Read::Table(name) = read
            && !selected.contains(name)
        {
            *read = Read::External(name.clone());
        }
    }
    let reads: Vec<&Read> = tables.iter().flat_map(|table| &table.reads).collect();
    for table in left_out {
        let is_read = reads.contains(&&Read::External(table.name.clone()));
        if is_read && table.location != location_under(&pipeline.warehouse_root, &table.name) {
            pipeline.external_locations.insert(table.name.to_string(), table.location);
        }
    }
    pipeline.sources.retain(|source| reads.contains(&&Read::Source(source.name.clone())));
    drop(reads);
    pipeline.tables = tables;
    pipeline
}
