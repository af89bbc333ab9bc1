//! Column names and types of CSV files from samples of them, by rules like Spark's. Pure.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

use super::CsvFormat;
use super::dialect::unquote;
use super::header;
use super::tokenize::{Limits, Records, first_record, tokenize};
use crate::source::files::infer::{Sample, nothing_to_infer};
use crate::source::files::schema::UTC;
use crate::source::files::text::{self, Place};
use crate::source::files::values;
use crate::{EngineError, Result};

/// What all values of a column so far are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Kind {
    /// Nothing but NULL.
    #[default]
    Null,
    Boolean,
    Integer,
    Double,
    Date,
    Timestamp,
    Text,
}

impl Kind {
    fn of(text: &str) -> Self {
        if values::integer(text).is_some() {
            Self::Integer
        } else if is_whole_number(text) {
            // Digits that no bigint holds would lose some of them as a double.
            Self::Text
        } else if values::looks_like_double(text) {
            Self::Double
        } else if values::looks_like_boolean(text) {
            Self::Boolean
        } else if values::looks_like_date(text) {
            Self::Date
        } else if values::looks_like_timestamp(text) {
            Self::Timestamp
        } else {
            Self::Text
        }
    }

    fn merge(self, other: Self) -> Self {
        match (self, other) {
            (Self::Null, kind) | (kind, Self::Null) => kind,
            (a, b) if a == b => a,
            (Self::Integer, Self::Double) | (Self::Double, Self::Integer) => Self::Double,
            (Self::Date, Self::Timestamp) | (Self::Timestamp, Self::Date) => Self::Timestamp,
            _ => Self::Text,
        }
    }

    fn data_type(self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Integer => DataType::Int64,
            Self::Double => DataType::Float64,
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
            Self::Null | Self::Text => DataType::Utf8View,
        }
    }
}

fn is_whole_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// The columns of all samples by name, in the order in which they first appear; a column whose values agree on no
/// type is text.
///
/// # Errors
/// `invalid-job` for a header with a name twice, or samples without any record; `data-quality` for bytes that are not
/// UTF-8.
pub(in super::super) fn infer(samples: &[Sample], format: &CsvFormat) -> Result<Schema> {
    let mut names: Vec<String> = Vec::new();
    let mut kinds: BTreeMap<String, Kind> = BTreeMap::new();
    for sample in samples {
        let Some((header, data_start)) = columns_of(sample, format, &names)? else { continue };
        for name in &header {
            if !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                names.push(name.clone());
            }
        }
        for (name, kind) in header.iter().zip(kinds_of(sample, format, header.len(), data_start)?) {
            let known = kinds.entry(name.to_lowercase()).or_default();
            *known = known.merge(kind);
        }
    }
    if names.is_empty() {
        return Err(nothing_to_infer("no header and no record"));
    }
    let field = |name: &String| {
        let kind = kinds.get(&name.to_lowercase()).copied().unwrap_or_default();
        Field::new(name, kind.data_type(), true)
    };
    Ok(Schema::new(names.iter().map(field).collect::<Vec<_>>()))
}

/// The sample's column names and where its data begins; `None` when it is empty.
fn columns_of(sample: &Sample, format: &CsvFormat, known: &[String]) -> Result<Option<(Vec<String>, usize)>> {
    if format.has_header {
        let Some((header, data_start)) = header::read(&sample.bytes, &format.dialect, sample.is_whole) else {
            return Err(EngineError::invalid(
                "source-schema",
                format!("the header of '{}' does not end within {} bytes", sample.name, sample.bytes.len()),
            ));
        };
        let names = header::column_names(&header, &sample.name)?;
        return Ok((!names.is_empty()).then_some((names, data_start)));
    }
    let data_start = header::mark_length(&sample.bytes);
    if !known.is_empty() {
        // Without names only the position says which column it is: the first file decides how many there are.
        return Ok(Some((known.to_vec(), data_start)));
    }
    let rest = sample.bytes.get(data_start..).unwrap_or_default();
    let first = first_record(rest, &format.dialect, sample.is_whole);
    Ok(first.map(|(fields, _)| ((0..fields.len()).map(|at| format!("_c{at}")).collect(), data_start)))
}

fn kinds_of(sample: &Sample, format: &CsvFormat, width: usize, data_start: usize) -> Result<Vec<Kind>> {
    let bytes = sample.bytes.get(data_start..).unwrap_or_default();
    let limits = Limits { records: usize::MAX, owned_until: usize::MAX, is_last: sample.is_whole };
    let mut records = Records::default();
    tokenize(bytes, &format.dialect, width, limits, &mut records);
    let place = Place { file: &sample.name, piece_start: 0, offset: data_start as u64, lines_before: 0 };
    let text = text::utf8(bytes.get(..records.consumed()).unwrap_or_default(), &place)?;
    let mut kinds = vec![Kind::Null; width];
    let mut scratch = String::new();
    for record in 0..records.len() {
        for (at, kind) in kinds.iter_mut().enumerate() {
            let (start, end, is_quoted) = records.field(record, at);
            let Some(raw) = text.get(start..end).filter(|raw| !raw.is_empty()) else { continue };
            let value = if is_quoted { unquote(raw, &format.dialect, &mut scratch) } else { Some(raw) };
            let is_null = !is_quoted && format.null_value.as_deref() == Some(raw);
            if let Some(value) = value.filter(|_| !is_null && *kind != Kind::Text) {
                *kind = kind.merge(Kind::of(value));
            }
        }
    }
    Ok(kinds)
}

#[cfg(test)]
mod tests {
    use lake_job::CsvOptions;

    use super::super::dialect::Dialect;
    use super::*;

    fn inferred(texts: &[&str], has_header: bool) -> Result<Vec<(String, String)>> {
        let format = CsvFormat {
            dialect: Dialect::new(&CsvOptions::default()).unwrap(),
            has_header,
            is_declared: false,
            null_value: Some("NA".to_owned()),
        };
        let sample =
            |text: &&str| Sample { name: "f.csv".to_owned(), bytes: (*text).to_owned().into(), is_whole: true };
        let schema = infer(&texts.iter().map(sample).collect::<Vec<_>>(), &format)?;
        let name = |field: &std::sync::Arc<Field>| (field.name().clone(), crate::sql_type::sql_type(field.data_type()));
        Ok(schema.fields().iter().map(name).collect())
    }

    #[test]
    fn values_that_agree_give_a_type_and_others_are_text() {
        let text = "i,d,b,day,at,t,big,none,z\n\
                    1,1,true,2024-01-01,2024-01-01 10:00:00,1,99999999999999999999,,007\n\
                    NA,2.5,FALSE,,2024-01-01,x,1,NA,8\n";
        let types: Vec<String> = inferred(&[text], true).unwrap().into_iter().map(|(_, kind)| kind).collect();
        let expected = ["bigint", "double", "boolean", "date", "timestamp", "string", "string", "string", "bigint"];
        assert_eq!(types, expected);
    }

    #[test]
    fn files_are_merged_by_name_and_an_empty_one_says_nothing() {
        let columns = inferred(&["", "a,b\n1,2\n", "B,c\n2.5,x\n"], true).unwrap();
        let expected = [("a", "bigint"), ("b", "double"), ("c", "string")];
        assert_eq!(columns, expected.map(|(name, kind)| (name.to_owned(), kind.to_owned())));
        assert_eq!(inferred(&["1,x\n2,y\n"], false).unwrap()[1], ("_c1".to_owned(), "string".to_owned()));
        assert_eq!(inferred(&[""], true).unwrap_err().code(), "source-schema");
        assert!(inferred(&["a,A\n"], true).unwrap_err().to_string().contains("'A' twice"));
    }
}
