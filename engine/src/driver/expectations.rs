//! What a step demands of its rows, and what came of it. Pure.

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::prelude::SessionContext;
use lake_job::{Expectation, ExpectationAction, Origin, ParseMode, Table, WriteMode};
use lake_proto::ErrorClass;
use lake_proto::quantity::counted;
use lake_proto::v1::ExpectationResult;

use crate::delta::{Check, CheckKind, WriteSpec, Written};
use crate::malformed::Malformed;
use crate::sql_type::sql_type;
use crate::{EngineError, Result};

/// The step's expectations, then what the table itself demands: its CHECK constraints (name and text), and that new
/// rows match what they replace.
///
/// # Errors
/// `invalid-job` naming an expectation that does not fit the table's columns or is no condition, with its place.
pub(super) fn checks(
    table: &Table,
    session: &SessionContext,
    spec: &WriteSpec,
    constraints: Vec<(String, String)>,
) -> Result<Vec<Check>> {
    let schema = DFSchema::try_from(spec.schema().as_ref().clone())?;
    let check = |name: String, text: &str, kind: CheckKind| {
        let within = |error: EngineError| error.within(format!("expectation '{name}'"));
        let expression = session
            .parse_sql_expr(text, &schema)
            .and_then(|expression| session.create_physical_expr(expression, &schema))
            .map_err(|error| within(error.into()))?;
        let found = expression.data_type(schema.as_arrow()).map_err(|error| within(error.into()))?;
        if found != DataType::Boolean {
            let message = format!("'{text}' is of type {}: expected a condition", sql_type(&found));
            return Err(within(EngineError::invalid("check-type", message)));
        }
        Ok::<_, EngineError>(Check { name, expression, kind })
    };
    let mut checks = Vec::with_capacity(table.expectations.len() + 1);
    for expectation in &table.expectations {
        let kind = match expectation.action {
            ExpectationAction::Warn => CheckKind::Warn,
            ExpectationAction::Drop => CheckKind::Drop,
            ExpectationAction::Fail => CheckKind::Fail,
        };
        let planned = check(expectation.name.clone(), &expectation.check, kind);
        checks.push(planned.map_err(|error| at(expectation.origin.as_ref(), error))?);
    }
    for (name, text) in constraints {
        checks.push(check(name, &text, CheckKind::Constraint)?);
    }
    if let WriteMode::ReplaceWhere { predicate, origin } = &table.mode {
        let planned = check(format!("replace_where: {predicate}"), predicate, CheckKind::Constraint);
        checks.push(planned.map_err(|error| at(origin.as_ref(), error))?);
    }
    Ok(checks)
}

/// The error with the place in job.toml that it is about.
pub(super) fn at(origin: Option<&Origin>, error: EngineError) -> EngineError {
    match origin {
        Some(origin) => error.within(origin),
        None => error,
    }
}

/// How often each expectation was violated, for people, and how many records of its sources did not parse.
pub(super) fn results(table: &Table, written: &Written) -> Vec<ExpectationResult> {
    let result = |expectation: &Expectation| ExpectationResult {
        name: expectation.name.clone(),
        action: expectation.action.name().to_owned(),
        violations: violations(written, &expectation.name),
    };
    let malformed = written.malformed.iter().filter(|source| source.records() > 0).map(malformed_result);
    table.expectations.iter().map(result).chain(malformed).collect()
}

/// Like an expectation of the source's author: with the actions that say what became of the rows.
fn malformed_result(source: &Malformed) -> ExpectationResult {
    let action = match source.mode {
        ParseMode::Drop => ExpectationAction::Drop,
        ParseMode::Permissive => ExpectationAction::Warn,
        ParseMode::FailFast => ExpectationAction::Fail,
    };
    ExpectationResult {
        name: format!("source {}: malformed records", source.source),
        action: action.name().to_owned(),
        violations: source.records(),
    }
}

/// Refuses rows that must not be committed.
///
/// # Errors
/// `data-quality` (code `expectation`) naming every violated expectation with action `fail`.
pub(super) fn enforce(table: &Table, written: &Written) -> Result<()> {
    let failing = |expectation: &&Expectation| {
        expectation.action == ExpectationAction::Fail && violations(written, &expectation.name) > 0
    };
    let say = |expectation: &Expectation| {
        let (name, check) = (&expectation.name, &expectation.check);
        let (violations, rows) = (violations(written, name), counted(written.input_rows, "row"));
        format!("expectation '{name}' ({check}) is violated by {violations} of {rows}")
    };
    let failed: Vec<String> = table.expectations.iter().filter(failing).map(say).collect();
    if failed.is_empty() {
        return Ok(());
    }
    let message = format!("{}; nothing was committed", failed.join("; "));
    Err(EngineError::new(ErrorClass::DataQuality, "expectation", message))
}

fn violations(written: &Written, name: &str) -> u64 {
    written.expectations.iter().filter(|count| count.name == name).map(|count| count.violations).sum()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow::datatypes::{Field, Schema};
    use lake_job::{TableInput, TableName};
    use url::Url;

    use super::*;
    use crate::delta::{ExpectationCount, NewTable};

    fn table() -> Table {
        let expectation =
            |name: &str, action| Expectation { name: name.to_owned(), check: "a > 0".to_owned(), action, origin: None };
        Table {
            name: TableName { schema: "bronze".to_owned(), table: "rows".to_owned() },
            location: "file:///lake/bronze/rows".to_owned(),
            input: TableInput::From("landing".to_owned()),
            reads: Vec::new(),
            mode: WriteMode::Append,
            partition_by: Vec::new(),
            audit: false,
            expectations: vec![expectation("positive", ExpectationAction::Drop)],
            target_file_size_bytes: 1 << 20,
            properties: BTreeMap::new(),
            origin: Origin { file: "job.toml".to_owned(), line: 1 },
        }
    }

    #[test]
    fn conditions_are_planned_over_the_columns_of_the_table_and_refused_at_their_place() {
        let columns = vec![Field::new("a", DataType::Int64, true), Field::new("day", DataType::Date32, true)];
        let new = NewTable {
            name: "bronze.rows".to_owned(),
            schema: Arc::new(Schema::new(columns)),
            partition_by: Vec::new(),
            properties: BTreeMap::new(),
        };
        let location = Url::parse("file:///lake/bronze/rows").unwrap();
        let spec = WriteSpec::create(&location, &new, 1 << 20).unwrap();
        let session = SessionContext::new();
        let origin = |line| Some(Origin { file: "job.toml".to_owned(), line });
        let mut table = table();
        assert_eq!(checks(&table, &session, &spec, Vec::new()).unwrap().len(), 1);
        for (check, code, words) in [("a + 1", "check-type", "'a + 1' is"), ("amuont > 0", "sql-plan", "amuont")] {
            table.expectations =
                vec![Expectation { check: check.to_owned(), origin: origin(12), ..table.expectations[0].clone() }];
            let error = checks(&table, &session, &spec, Vec::new()).unwrap_err();
            assert_eq!((error.class(), error.code()), (ErrorClass::InvalidJob, code), "{error}");
            let text = error.to_string();
            assert!(text.contains("job.toml:12: expectation 'positive': ") && text.contains(words), "{text}");
        }
        table.expectations.clear();
        table.mode = WriteMode::ReplaceWhere { predicate: "day + 1".to_owned(), origin: origin(7) };
        let text = checks(&table, &session, &spec, Vec::new()).unwrap_err().to_string();
        assert!(text.contains("job.toml:7: expectation 'replace_where: day + 1': "), "{text}");
    }

    #[test]
    fn malformed_records_are_told_after_the_expectations_and_only_where_there_are_some() {
        let source = |name: &str, mode, records| Malformed {
            source: name.to_owned(),
            mode,
            pieces: [("a.csv 0".to_owned(), records)].into(),
        };
        let count = ExpectationCount { name: "positive".to_owned(), action: CheckKind::Drop, violations: 4 };
        let written = Written {
            expectations: vec![count],
            malformed: vec![
                source("landing", ParseMode::Drop, 3),
                source("clean", ParseMode::Drop, 0),
                source("other", ParseMode::Permissive, 2),
            ],
            ..Written::default()
        };
        let results = results(&table(), &written);
        let told: Vec<(&str, &str, u64)> =
            results.iter().map(|result| (result.name.as_str(), result.action.as_str(), result.violations)).collect();
        let expected = [
            ("positive", "drop", 4),
            ("source landing: malformed records", "drop", 3),
            ("source other: malformed records", "warn", 2),
        ];
        assert_eq!(told, expected);
    }
}
