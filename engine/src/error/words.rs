//! What an error of the engines below us says, told from its type where the type says more than its text. Pure.

use std::error::Error;

use arrow::error::ArrowError;
use datafusion::common::utils::datafusion_strsim::levenshtein;
use datafusion::common::{Column, SchemaError};
use datafusion::error::DataFusionError;
use datafusion::parquet::errors::ParquetError;
use datafusion::sql::sqlparser::parser::ParserError;
use deltalake_core::DeltaTableError;

use super::find::{KernelError, bare};
use super::plain::{lower_first, plain, unqualified};

/// Columns that a message lists.
const COLUMNS_SHOWN: usize = 30;

/// What DataFusion says. Of several mistakes in one statement, all.
pub(crate) fn of_datafusion(error: &DataFusionError) -> String {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => of_datafusion(inner),
        DataFusionError::Shared(inner) => of_datafusion(inner),
        DataFusionError::Collection(errors) => {
            let mut texts: Vec<String> = Vec::with_capacity(errors.len());
            for text in errors.iter().map(of_datafusion) {
                if !texts.contains(&text) {
                    texts.push(text);
                }
            }
            texts.join("; ")
        }
        DataFusionError::SchemaError(error, _) => of_schema(error),
        DataFusionError::SQL(error, _) => of_parser(error),
        DataFusionError::ArrowError(error, _) => of_arrow(error),
        DataFusionError::ParquetError(error) => of_parquet(error),
        DataFusionError::External(error) => of_any(error.as_ref()),
        DataFusionError::NotImplemented(text) => format!("not supported: {}", plain(text)),
        other => plain(&other.message()),
    }
}

/// What Arrow says.
pub(crate) fn of_arrow(error: &ArrowError) -> String {
    match error {
        ArrowError::ExternalError(inner) => of_any(inner.as_ref()),
        ArrowError::DivideByZero => "division by zero".to_owned(),
        other => plain(&other.to_string()),
    }
}

/// What the Parquet reader says.
pub(crate) fn of_parquet(error: &ParquetError) -> String {
    match error {
        ParquetError::External(inner) => of_any(inner.as_ref()),
        other => plain(&other.to_string()),
    }
}

/// What delta-rs says, or the kernel below it.
pub(crate) fn of_delta(error: &DeltaTableError) -> String {
    match error {
        DeltaTableError::KernelError(error) => of_kernel(error),
        DeltaTableError::Arrow { source } => of_arrow(source),
        DeltaTableError::Parquet { source } => of_parquet(source),
        other => plain(&other.to_string()),
    }
}

fn of_kernel(error: &KernelError) -> String {
    match bare(error) {
        KernelError::Arrow(error) => of_arrow(error),
        KernelError::Parquet(error) => of_parquet(error),
        other => plain(&other.to_string()),
    }
}

fn of_any(error: &(dyn Error + 'static)) -> String {
    if let Some(error) = error.downcast_ref::<DataFusionError>() {
        of_datafusion(error)
    } else if let Some(error) = error.downcast_ref::<ArrowError>() {
        of_arrow(error)
    } else if let Some(error) = error.downcast_ref::<ParquetError>() {
        of_parquet(error)
    } else {
        plain(&error.to_string())
    }
}

fn of_parser(error: &ParserError) -> String {
    let text = match error {
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => text.as_str(),
        ParserError::RecursionLimitExceeded => "expected a statement that nests less deeply",
    };
    // The place is told before the message, by the line of the job's file.
    lower_first(text.rsplit_once(" at Line: ").map_or(text, |(text, _)| text))
}

fn of_schema(error: &SchemaError) -> String {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => no_column(field, valid_fields),
        SchemaError::DuplicateQualifiedField { qualifier, name } => {
            format!("column '{name}' is there twice as one of '{qualifier}': name one of the two otherwise, with AS")
        }
        SchemaError::DuplicateUnqualifiedField { name } => {
            format!("column '{name}' is there twice: name one of the two otherwise, with AS")
        }
        SchemaError::AmbiguousReference { field } => {
            format!("column '{}' may be one of several tables: put the name of its table before it", field.name)
        }
    }
}

fn no_column(field: &Column, valid: &[Column]) -> String {
    let mut text = format!("there is no column '{}'", unqualified(field.flat_name()));
    if valid.is_empty() {
        return text;
    }
    let is_of_one_table = valid.windows(2).all(|pair| matches!(pair, [one, other] if one.relation == other.relation));
    let shown = |column: &Column| {
        let name = Column::new_unqualified(column.name.clone());
        if is_of_one_table { name.quoted_flat_name() } else { column.quoted_flat_name() }
    };
    let mut names: Vec<String> = valid.iter().take(COLUMNS_SHOWN).map(shown).collect();
    if valid.len() > COLUMNS_SHOWN {
        names.push(format!("and {} more", valid.len() - COLUMNS_SHOWN));
    }
    text.push_str(&format!(": expected one of {}", names.join(", ")));
    if let Some(closest) = closest(&field.name, valid) {
        text.push_str(&format!("; did you mean '{}'?", shown(closest)));
        if closest.name.eq_ignore_ascii_case(&field.name) && closest.name != field.name {
            text.push_str(" A name with capital letters stands in double quotes");
        }
    }
    text
}

/// The column whose name needs the fewest changes, and not more than half of it.
fn closest<'a>(wanted: &str, columns: &'a [Column]) -> Option<&'a Column> {
    let column = columns.iter().min_by_key(|column| distance(wanted, column))?;
    let longest = wanted.chars().count().max(column.name.chars().count());
    (distance(wanted, column) * 2 <= longest).then_some(column)
}

fn distance(wanted: &str, column: &Column) -> usize {
    levenshtein(&wanted.to_lowercase(), &column.name.to_lowercase())
}
