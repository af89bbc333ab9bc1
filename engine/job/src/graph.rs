//! Who reads whom: names resolved, duplicates and circles refused, tables in an order in which each one comes after
//! those it reads. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::errors::Code;
use crate::lower::Lowering;
use crate::lower::{sources, tables};
use crate::names;
use crate::pipeline::{Read, Table, TableName};
use crate::suggest::closest;

/// The tables with their reads, in order of dependency and, where that leaves a choice, of the file. Errors are in
/// the report.
pub(crate) fn resolve(
    mut drafts: Vec<tables::Draft>,
    sources: &[sources::Draft],
    lowering: &mut Lowering<'_>,
) -> Vec<Table> {
    let known_sources = check_names(&drafts, sources, lowering);
    check_locations(&drafts, lowering);
    let positions: BTreeMap<TableName, usize> =
        drafts.iter().enumerate().rev().map(|(index, draft)| (draft.name().clone(), index)).collect();
    let mut dependencies: Vec<Vec<usize>> = Vec::with_capacity(drafts.len());
    for (index, draft) in drafts.iter_mut().enumerate() {
        let mut reads: Vec<Read> = Vec::new();
        let mut needed: Vec<usize> = Vec::new();
        for reference in &draft.references {
            let Some(read) = read(reference, &known_sources, &positions, lowering) else { continue };
            if let Read::Table(name) = &read
                && let Some(position) = positions.get(name)
            {
                if *position == index {
                    let message = format!("table {name} reads itself");
                    lowering.error(&reference.place, Code::Cycle, reference.key, message);
                    continue;
                }
                needed.push(*position);
            }
            if !reads.contains(&read) {
                reads.push(read);
            }
        }
        draft.table.reads = reads;
        dependencies.push(needed);
    }
    let order = order(&drafts, &dependencies, lowering);
    let mut slots: Vec<Option<Table>> = drafts.into_iter().map(|draft| Some(draft.table)).collect();
    order.into_iter().filter_map(|index| slots.get_mut(index)?.take()).collect()
}

/// Names are unique among tables and sources together. Returns the sources' names.
fn check_names(drafts: &[tables::Draft], sources: &[sources::Draft], lowering: &mut Lowering<'_>) -> BTreeSet<String> {
    let mut first: BTreeMap<String, (&str, u32)> = BTreeMap::new();
    let named = sources
        .iter()
        .map(|draft| (draft.source.name.clone(), "source", &draft.name_place))
        .chain(drafts.iter().map(|draft| (draft.name().to_string(), "table", &draft.name_place)));
    for (name, kind, place) in named {
        if let Some((other, line)) = first.get(&name) {
            let message = format!("'{name}' is already the name of the {other} in line {line}");
            lowering.report.push(place.error(Code::DuplicateName, format!("{kind}.name"), message));
            continue;
        }
        first.insert(name, (kind, place.position().line));
    }
    sources.iter().map(|draft| draft.source.name.clone()).collect()
}

/// No table lies at or below another one's location.
fn check_locations(drafts: &[tables::Draft], lowering: &mut Lowering<'_>) {
    let mut located: Vec<(String, usize)> = drafts
        .iter()
        .enumerate()
        .filter(|(_, draft)| !draft.table.location.is_empty())
        .map(|(index, draft)| (format!("{}/", draft.table.location), index))
        .collect();
    located.sort();
    let mut outer: Option<(&str, usize)> = None;
    for (location, index) in &located {
        let Some((above, other)) = outer.filter(|(above, _)| location.starts_with(above)) else {
            outer = Some((location, *index));
            continue;
        };
        let (Some(draft), Some(other)) = (drafts.get(*index), drafts.get(other)) else { continue };
        // One name twice is one mistake.
        if draft.name() == other.name() {
            continue;
        }
        let relation = if location == above { "the location of" } else { "inside" };
        let message =
            format!("{} is {relation} table {}, {}", draft.table.location, other.name(), other.table.location);
        lowering.report.push(draft.location_place.error(Code::LocationOverlap, "table.path", message));
    }
}

fn read(
    reference: &tables::Reference,
    sources: &BTreeSet<String>,
    positions: &BTreeMap<TableName, usize>,
    lowering: &mut Lowering<'_>,
) -> Option<Read> {
    let written = reference.parts.join(".");
    let lower = written.to_ascii_lowercase();
    let name = match reference.parts.as_slice() {
        [_] | [_, _] if reference.parts.iter().all(|part| names::is_identifier(part)) => names::table_name(&lower)?,
        _ => {
            let message = format!("'{written}' names no source or table: expected a source, schema.table or table");
            lowering.error(&reference.place, Code::InvalidName, reference.key, message);
            return None;
        }
    };
    if name.schema.is_empty() && sources.contains(&name.table) {
        return Some(Read::Source(name.table));
    }
    if positions.contains_key(&name) {
        return Some(Read::Table(name));
    }
    // Declared, but wrong: that is already said.
    if lowering.declared.tables.contains(&lower)
        || (name.schema.is_empty() && lowering.declared.sources.contains(&lower))
    {
        return None;
    }
    if !name.schema.is_empty() {
        return Some(Read::External(name));
    }
    if lowering.declared.is_complete {
        unknown(reference, &written, &name, positions, lowering);
    }
    None
}

fn unknown(
    reference: &tables::Reference,
    written: &str,
    name: &TableName,
    positions: &BTreeMap<TableName, usize>,
    lowering: &mut Lowering<'_>,
) {
    let message = format!("'{written}' is neither a source nor a table of this job");
    let mut error = reference.place.error(Code::UnknownTable, reference.key, message);
    if lowering.report.has_room() {
        let qualified = positions.keys().find(|known| known.table == name.table).map(ToString::to_string);
        let declared = lowering.declared.sources.iter().chain(&lowering.declared.tables);
        error.suggestion = qualified.or_else(|| closest(written, declared.map(String::as_str)));
    }
    lowering.report.push(error);
}

/// Indexes of the tables, each after those it depends on; of those that are free, the first of the file comes first.
fn order(drafts: &[tables::Draft], dependencies: &[Vec<usize>], lowering: &mut Lowering<'_>) -> Vec<usize> {
    let mut missing: Vec<BTreeSet<usize>> =
        dependencies.iter().map(|needed| needed.iter().copied().collect()).collect();
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); dependencies.len()];
    for (index, needed) in missing.iter().enumerate() {
        for other in needed {
            readers.get_mut(*other).into_iter().for_each(|readers| readers.push(index));
        }
    }
    let mut free: BTreeSet<usize> =
        (0..missing.len()).filter(|i| missing.get(*i).is_some_and(BTreeSet::is_empty)).collect();
    let mut waiting: BTreeSet<usize> = (0..missing.len()).filter(|index| !free.contains(index)).collect();
    let mut order = Vec::with_capacity(missing.len());
    loop {
        while let Some(index) = free.pop_first() {
            order.push(index);
            for reader in readers.get(index).into_iter().flatten() {
                let Some(needed) = missing.get_mut(*reader) else { continue };
                needed.remove(&index);
                if needed.is_empty() && waiting.remove(reader) {
                    free.insert(*reader);
                }
            }
        }
        // What is left waits for a circle. It is reported and taken as done, so that a second one is found as well.
        let Some(circle) = circle(&waiting, &missing) else { return order };
        report_circle(&circle, drafts, lowering);
        for index in circle {
            waiting.remove(&index);
            free.insert(index);
        }
    }
}

/// Tables that read each other in a circle, beginning with the first of the file.
fn circle(waiting: &BTreeSet<usize>, missing: &[BTreeSet<usize>]) -> Option<Vec<usize>> {
    let mut current = *waiting.first()?;
    let mut path: Vec<usize> = Vec::new();
    let mut visited: BTreeSet<usize> = BTreeSet::new();
    while visited.insert(current) {
        path.push(current);
        current = *missing.get(current)?.iter().find(|next| waiting.contains(next))?;
    }
    let start = path.iter().position(|index| *index == current)?;
    let mut circle = path.split_off(start);
    let first = circle.iter().enumerate().min_by_key(|(_, index)| **index).map_or(0, |(position, _)| position);
    circle.rotate_left(first);
    Some(circle)
}

fn report_circle(circle: &[usize], drafts: &[tables::Draft], lowering: &mut Lowering<'_>) {
    let members: Vec<&tables::Draft> = circle.iter().filter_map(|index| drafts.get(*index)).collect();
    let (Some(first), Some(next)) = (members.first(), members.get(1)) else { return };
    let mut names: Vec<String> = members.iter().map(|draft| draft.name().to_string()).collect();
    names.extend(names.first().cloned());
    let message = format!("tables read each other in a circle: {}", names.join(" -> "));
    let next = next.name().to_string();
    let reference = first.references.iter().find(|reference| reference.parts.join(".").eq_ignore_ascii_case(&next));
    let (place, key) = reference.map_or((&first.name_place, "table.name"), |found| (&found.place, found.key));
    lowering.error(place, Code::Cycle, key, message);
}
