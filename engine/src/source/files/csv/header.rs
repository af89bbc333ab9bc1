//! Header lines: names, and how a file's fields map to the table's columns. Pure.

use std::collections::BTreeMap;

use arrow::datatypes::FieldRef;

use super::dialect::Dialect;
use super::tokenize::first_record;
use crate::source::files::text::BYTE_ORDER_MARK;
use crate::source::files::{schema, text};
use crate::{EngineError, Result};

/// Where a table's columns are in the records of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Layout {
    /// Fields of a record.
    pub width: usize,
    /// Per table column its field; `None` = the file does not have it, so it is NULL.
    pub fields: Vec<Option<usize>>,
    /// Fields of the header that no column takes, when their rows have to be rescued for it.
    pub unknown: Vec<String>,
}

/// Length of a byte order mark at the start of a file.
pub(in super::super) fn mark_length(text: &[u8]) -> usize {
    if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 }
}

/// The names in the first record of a file and where its data begins; `None` when more bytes are needed. An empty
/// file has no names.
pub(in super::super) fn read(text: &[u8], dialect: &Dialect, is_last: bool) -> Option<(Vec<String>, usize)> {
    if text.len() < BYTE_ORDER_MARK.len() && !is_last {
        return None;
    }
    let mark = mark_length(text);
    let rest = text.get(mark..).unwrap_or_default();
    match first_record(rest, dialect, is_last) {
        Some((names, next)) => Some((names, mark + next)),
        None => is_last.then(|| (Vec::new(), text.len())),
    }
}

/// Column names of a header: trimmed, `_c<position>` where empty, none twice.
///
/// # Errors
/// `invalid-job` naming the file and the name.
pub(in super::super) fn column_names(header: &[String], file: &str) -> Result<Vec<String>> {
    let names: Vec<String> = header
        .iter()
        .enumerate()
        .map(|(at, name)| match name.trim() {
            "" => format!("_c{at}"),
            name => name.to_owned(),
        })
        .collect();
    schema::check_names(names.iter().map(String::as_str), &format!("the header of '{file}'"))?;
    Ok(names)
}

/// The layout of a file without a header: fields by position.
pub(in super::super) fn by_position(columns: &[FieldRef]) -> Layout {
    Layout { width: columns.len(), fields: (0..columns.len()).map(Some).collect(), unknown: Vec::new() }
}

/// The layout of a file with a header. A declared schema is matched by name when the header has all its names, else
/// by position unless a name stands elsewhere (a silent mix-up). An inferred one is matched by name; what it lacks is
/// `unknown`, what the file lacks is NULL.
///
/// # Errors
/// `invalid-job` (code `csv-header`) naming the file, what it has and what was expected.
pub(in super::super) fn layout(
    columns: &[FieldRef],
    header: &[String],
    is_declared: bool,
    file: &str,
) -> Result<Layout> {
    let names = column_names(header, file)?;
    let positions: BTreeMap<String, usize> =
        names.iter().enumerate().map(|(at, name)| (name.to_lowercase(), at)).collect();
    let fields: Vec<Option<usize>> =
        columns.iter().map(|column| positions.get(&column.name().to_lowercase()).copied()).collect();
    let width = names.len();
    if !is_declared {
        let taken: Vec<usize> = fields.iter().flatten().copied().collect();
        let unknown = names.into_iter().enumerate().filter(|(at, _)| !taken.contains(at)).map(|(_, name)| name);
        return Ok(Layout { width, unknown: unknown.collect(), fields });
    }
    if fields.iter().all(Option::is_some) {
        return Ok(Layout { width, fields, unknown: Vec::new() });
    }
    let in_place = fields.iter().enumerate().all(|(at, field)| field.is_none_or(|field| field == at));
    if in_place && width == columns.len() {
        return Ok(by_position(columns));
    }
    let expected: Vec<&str> = columns.iter().map(|column| column.name().as_str()).collect();
    Err(EngineError::invalid(
        "csv-header",
        format!(
            "the header of '{file}' is {}, expected the declared columns {}; declare the columns by the header's names",
            text::shown(&names.join(",")),
            text::shown(&expected.join(","))
        ),
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field};
    use lake_job::CsvOptions;

    use super::*;

    fn columns(names: &[&str]) -> Vec<FieldRef> {
        names.iter().map(|name| Arc::new(Field::new(*name, DataType::Utf8View, true))).collect()
    }

    fn header(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn declared_columns_match_by_name_or_in_place_and_never_mix() {
        let ab = columns(&["a", "b"]);
        let fields = |names: &[&str]| layout(&ab, &header(names), true, "f").map(|layout| layout.fields);
        assert_eq!(fields(&["B", "x", " a "]).unwrap(), [Some(2), Some(0)]);
        assert_eq!(fields(&["a", "y"]).unwrap(), [Some(0), Some(1)]);
        assert_eq!(fields(&["x", "y"]).unwrap(), [Some(0), Some(1)]);
        for wrong in [&["x", "a"][..], &["a"], &["x", "y", "z"]] {
            assert_eq!(fields(wrong).unwrap_err().code(), "csv-header", "{wrong:?}");
        }
    }

    #[test]
    fn inferred_columns_match_by_name_and_know_what_they_do_not_know() {
        let layout = layout(&columns(&["a", "b"]), &header(&["c", "b"]), false, "f").unwrap();
        assert_eq!(layout, Layout { width: 2, fields: vec![None, Some(1)], unknown: vec!["c".to_owned()] });
    }

    #[test]
    fn a_header_is_found_after_mark_and_comments_and_names_are_distinct() {
        let dialect = Dialect::new(&CsvOptions { comment: Some('#'), ..CsvOptions::default() }).unwrap();
        let text = b"\xef\xbb\xbf# hello\n\na,b\n1,2\n";
        assert_eq!(read(text, &dialect, false).unwrap(), (header(&["a", "b"]), 16));
        assert_eq!(read(b"a,", &dialect, false), None);
        assert_eq!(read(b"", &dialect, true).unwrap(), (vec![], 0));
        assert!(column_names(&header(&["a", "A"]), "f").is_err());
        assert_eq!(column_names(&header(&["", "x"]), "f").unwrap(), ["_c0", "x"]);
    }
}
