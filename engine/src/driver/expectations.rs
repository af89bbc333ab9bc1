//! What a step demands of its rows, and what came of it. Pure.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::prelude::SessionContext;
use lake_job::{Expectation, ExpectationAction, Origin, ParseMode, Table, WriteMode};
use lake_proto::ErrorClass;
use lake_proto::quantity::{count, counted};
use lake_proto::v1::ExpectationResult;

use crate::delta::replace::gives_other_answers;
use crate::delta::{Check, CheckKind, WriteSpec, Written};
use crate::malformed::Malformed;
use crate::sql_type::sql_type;
use crate::{EngineError, Result};

/// The step's expectations, then what the table itself demands: its CHECK constraints (name and text), and that new
/// rows match what they replace.
///
/// # Errors
/// `invalid-job` naming an expectation, constraint or `replace_where` that does not fit the table's columns or is no
/// condition over one row, with its place.
pub(super) fn checks(
    table: &Table,
    session: &SessionContext,
    spec: &WriteSpec,
    constraints: Vec<(String, String)>,
) -> Result<Vec<Check>> {
    let conditions = Conditions { session, schema: DFSchema::try_from(spec.schema().as_ref().clone())? };
    let mut checks = Vec::with_capacity(table.expectations.len() + constraints.len() + 1);
    for expectation in &table.expectations {
        let Expectation { name, check, action, origin } = expectation;
        let kind = match action {
            ExpectationAction::Warn => CheckKind::Warn,
            ExpectationAction::Drop => CheckKind::Drop,
            ExpectationAction::Fail => CheckKind::Fail,
        };
        let planned = conditions.parse(check).and_then(|condition| conditions.plan(check, condition));
        let within = |error: EngineError| at(origin.as_ref(), error.within(format!("expectation '{name}'")));
        checks.push(Check { name: name.clone(), expression: planned.map_err(within)?, kind });
    }
    for (name, text) in constraints {
        let planned = conditions.parse(&text).and_then(|condition| conditions.plan(&text, condition));
        let name = format!("constraint '{name}'");
        let expression = planned.map_err(|error| error.within(format!("{name} of table {}", table.name)))?;
        checks.push(Check { name, expression, kind: CheckKind::Constraint });
    }
    if let WriteMode::ReplaceWhere { predicate, .. } = &table.mode {
        let planned = conditions.parse(predicate).and_then(|condition| {
            if condition.is_volatile() {
                return Err(gives_other_answers().within(format!("'{predicate}'")));
            }
            conditions.plan(predicate, condition)
        });
        let expression = planned.map_err(|error| in_replace_where(table, error))?;
        checks.push(Check { name: format!("replace_where ({predicate})"), expression, kind: CheckKind::Constraint });
    }
    Ok(checks)
}

/// The error as one of the step's `replace_where`, with its place.
pub(super) fn in_replace_where(table: &Table, error: EngineError) -> EngineError {
    let origin = match &table.mode {
        WriteMode::ReplaceWhere { origin, .. } => origin.as_ref(),
        WriteMode::Append | WriteMode::Overwrite => None,
    };
    at(origin, error.within(format!("replace_where of table {}", table.name)))
}

/// What plans conditions over the columns of a table.
struct Conditions<'a> {
    session: &'a SessionContext,
    schema: DFSchema,
}

impl Conditions<'_> {
    fn parse(&self, text: &str) -> Result<Expr> {
        let condition = self.session.parse_sql_expr(text, &self.schema)?;
        match beyond_a_row(&condition) {
            Some(what) => {
                let message = format!("'{text}' uses {what}: expected a condition over the columns of one row");
                Err(EngineError::invalid("check-type", message))
            }
            None => Ok(condition),
        }
    }

    fn plan(&self, text: &str, condition: Expr) -> Result<Arc<dyn PhysicalExpr>> {
        let expression = self.session.create_physical_expr(condition, &self.schema)?;
        let found = expression.data_type(self.schema.as_arrow())?;
        if found == DataType::Boolean {
            return Ok(expression);
        }
        let message = format!("'{text}' is of type {}: expected a condition", sql_type(&found));
        Err(EngineError::invalid("check-type", message))
    }
}

/// What in the condition needs more rows than one, or makes more of one.
fn beyond_a_row(condition: &Expr) -> Option<String> {
    let mut found = None;
    let walked = condition.apply(|node| {
        found = match node {
            Expr::AggregateFunction(call) => Some(format!("the aggregate function {}", call.func.name())),
            Expr::WindowFunction(call) => Some(format!("the window function {}", call.fun.name())),
            Expr::Unnest(_) => Some("unnest".to_owned()),
            _ => None,
        };
        Ok(if found.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    walked.ok().and(found)
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
    let result = |expectation: &Expectation| {
        let (violations, checked) = found(written, &expectation.name);
        let (name, action) = (expectation.name.clone(), expectation.action.name().to_owned());
        ExpectationResult { name, action, violations, checked: Some(checked) }
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
        checked: None,
    }
}

/// Refuses rows that must not be committed.
///
/// # Errors
/// `data-quality` (code `expectation`) naming every violated expectation with action `fail`.
pub(super) fn enforce(table: &Table, written: &Written) -> Result<()> {
    let failing = |expectation: &&Expectation| {
        expectation.action == ExpectationAction::Fail && found(written, &expectation.name).0 > 0
    };
    let say = |expectation: &Expectation| {
        let (name, check) = (&expectation.name, &expectation.check);
        let (violations, checked) = found(written, name);
        format!("expectation '{name}' ({check}) is violated by {} of {}", count(violations), counted(checked, "row"))
    };
    let failed: Vec<String> = table.expectations.iter().filter(failing).map(say).collect();
    if failed.is_empty() {
        return Ok(());
    }
    let message = format!("{}; nothing was committed", failed.join("; "));
    Err(EngineError::new(ErrorClass::DataQuality, "expectation", message))
}

/// Rows that violate the expectation, and rows that it was evaluated on.
fn found(written: &Written, name: &str) -> (u64, u64) {
    let of_it = written.expectations.iter().filter(|count| count.name == name);
    of_it.fold((0, 0), |(violations, checked), count| (violations + count.violations, checked + count.checked))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

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

    /// Of a table with the columns `a` and `day`.
    fn spec() -> WriteSpec {
        let columns = vec![Field::new("a", DataType::Int64, true), Field::new("day", DataType::Date32, true)];
        let new = NewTable {
            name: "bronze.rows".to_owned(),
            schema: Arc::new(Schema::new(columns)),
            partition_by: Vec::new(),
            properties: BTreeMap::new(),
        };
        WriteSpec::create(&Url::parse("file:///lake/bronze/rows").unwrap(), &new, 1 << 20).unwrap()
    }

    #[test]
    fn conditions_are_planned_over_the_columns_of_the_table_and_refused_at_their_place() {
        let (session, spec) = (SessionContext::new(), spec());
        let origin = |line| Some(Origin { file: "job.toml".to_owned(), line });
        let mut table = table();
        assert_eq!(checks(&table, &session, &spec, Vec::new()).unwrap().len(), 1);
        for (check, code, words) in [
            ("a + 1", "check-type", "'a + 1' is of type bigint: expected a condition"),
            ("a", "check-type", "'a' is of type bigint"),
            ("NULL", "check-type", "'NULL' is of type void"),
            ("'yes'", "check-type", "''yes'' is of type string"),
            ("amuont > 0", "sql-plan", "there is no column 'amuont': expected one of a, day"),
            ("count(a) > 0", "check-type", "'count(a) > 0' uses the aggregate function count: expected a condition"),
            ("sum(a) OVER () > 0", "check-type", "uses the window function sum"),
            ("a + true > 1", "sql-plan", "bigint + boolean"),
        ] {
            table.expectations =
                vec![Expectation { check: check.to_owned(), origin: origin(12), ..table.expectations[0].clone() }];
            let error = checks(&table, &session, &spec, Vec::new()).unwrap_err();
            assert_eq!((error.class(), error.code()), (ErrorClass::InvalidJob, code), "{error}");
            let text = error.to_string();
            assert!(text.starts_with("job.toml:12: expectation 'positive': ") && text.contains(words), "{text}");
            for word in ["Int64", "Utf8", "Date32", " { ", "error:", "planning", "\n"] {
                assert!(!text.contains(word), "{word} in {text}");
            }
        }
        table.expectations.clear();
        let error = checks(&table, &session, &spec, vec![("few".to_owned(), "b < 5".to_owned())]).unwrap_err();
        assert!(error.to_string().starts_with("constraint 'few' of table bronze.rows: there is no column"), "{error}");
    }

    #[test]
    fn a_replace_where_is_called_so_and_gives_one_answer_for_a_row() {
        let (session, spec, mut table) = (SessionContext::new(), spec(), table());
        table.expectations.clear();
        let origin = Some(Origin { file: "job.toml".to_owned(), line: 7 });
        for (predicate, code, words) in [
            ("a + 1", "check-type", "'a + 1' is of type bigint"),
            ("a", "check-type", "'a' is of type bigint: expected a condition"),
            ("b > 1", "sql-plan", "there is no column 'b'"),
            ("random() < 0.5", "predicate", "another answer each time"),
            ("a = 1 OR CAST(uuid() AS VARCHAR) = 'x'", "predicate", "another answer each time"),
            ("max(a) > 1", "check-type", "the aggregate function max"),
        ] {
            table.mode = WriteMode::ReplaceWhere { predicate: predicate.to_owned(), origin: origin.clone() };
            let error = checks(&table, &session, &spec, Vec::new()).unwrap_err();
            assert_eq!((error.class(), error.code()), (ErrorClass::InvalidJob, code), "{error}");
            let text = error.to_string();
            assert!(text.starts_with("job.toml:7: replace_where of table bronze.rows: "), "{text}");
            assert!(text.contains(words), "{text}");
        }
        table.mode = WriteMode::ReplaceWhere { predicate: "day < current_date()".to_owned(), origin };
        assert_eq!(
            checks(&table, &session, &spec, Vec::new()).unwrap()[0].name,
            "replace_where (day < current_date())"
        );
    }

    #[test]
    fn malformed_records_are_told_after_the_expectations_and_only_where_there_are_some() {
        let source = |name: &str, mode, records| Malformed {
            source: name.to_owned(),
            mode,
            pieces: [("a.csv 0".to_owned(), records)].into(),
        };
        let count =
            ExpectationCount { name: "positive".to_owned(), action: CheckKind::Drop, checked: 9, violations: 4 };
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

    #[test]
    fn both_numbers_of_a_violated_expectation_are_written_alike() {
        let mut table = table();
        table.expectations[0].action = ExpectationAction::Fail;
        let (name, action) = ("positive".to_owned(), CheckKind::Fail);
        let count = ExpectationCount { name, action, checked: 795_872, violations: 79_917 };
        let written = Written { expectations: vec![count], ..Written::default() };
        let error = enforce(&table, &written).unwrap_err();
        let expected = "expectation 'positive' (a > 0) is violated by 79,917 of 795,872 rows; nothing was committed";
        assert_eq!(error.to_string(), expected);
    }
}
