//! Names of jobs, tables, sources, columns and parameters. Pure.

use crate::pipeline::TableName;

/// What a plain name looks like.
pub(crate) const RULE: &str = "a letter or '_', then letters, digits or '_', at most 128";

const MAX_LENGTH: usize = 128;

/// Whether SQL can use the text as a name without quotes.
pub(crate) fn is_identifier(text: &str) -> bool {
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    first && text.len() <= MAX_LENGTH && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether the text can name a job: it becomes a part of transaction ids and file names.
pub(crate) fn is_job_name(text: &str) -> bool {
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    first && text.len() <= MAX_LENGTH && text.chars().all(allowed)
}

/// `schema.table` or `table`, in lower case: names compare as in SQL.
pub(crate) fn table_name(text: &str) -> Option<TableName> {
    let (schema, table) = text.split_once('.').unwrap_or(("", text));
    let valid = is_identifier(table) && (is_identifier(schema) || !text.contains('.'));
    valid.then(|| TableName { schema: schema.to_ascii_lowercase(), table: table.to_ascii_lowercase() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_names_have_one_or_two_plain_parts() {
        assert_eq!(table_name("Bronze.Customers").unwrap().to_string(), "bronze.customers");
        assert_eq!(table_name("customers").unwrap().to_string(), "customers");
        for text in ["", ".", "a.", ".a", "a.b.c", "a b", "a-b", "1a", "é", "a/../b", &"x".repeat(129)] {
            assert_eq!(table_name(text), None, "{text:?}");
        }
    }

    #[test]
    fn job_names_can_be_file_names() {
        assert!(is_job_name("customers-2.daily_1"));
        for text in ["", ".hidden", "-x", "a/b", "a b", "é"] {
            assert!(!is_job_name(text), "{text:?}");
        }
    }
}
