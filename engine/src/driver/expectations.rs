//! What a step demands of its rows, and what came of it. Pure.

use datafusion::common::DFSchema;
use datafusion::prelude::SessionContext;
use lake_job::{Expectation, ExpectationAction, Table, WriteMode};
use lake_proto::ErrorClass;
use lake_proto::quantity::noun;
use lake_proto::v1::ExpectationResult;

use crate::delta::{Check, CheckKind, WriteSpec, Written};
use crate::{EngineError, Result};

/// The step's expectations, then what the table itself demands: its CHECK constraints (name and text), and that new
/// rows match what they replace.
///
/// # Errors
/// `invalid-job` naming an expectation that does not fit the table's columns.
pub(super) fn checks(
    table: &Table,
    session: &SessionContext,
    spec: &WriteSpec,
    constraints: Vec<(String, String)>,
) -> Result<Vec<Check>> {
    let schema = DFSchema::try_from(spec.schema().as_ref().clone())?;
    let check = |name: String, text: &str, kind: CheckKind| {
        let expression = session
            .parse_sql_expr(text, &schema)
            .and_then(|expression| session.create_physical_expr(expression, &schema))
            .map_err(|error| EngineError::from(error).within(format!("expectation '{name}'")))?;
        Ok::<_, EngineError>(Check { name, expression, kind })
    };
    let mut checks = Vec::with_capacity(table.expectations.len() + 1);
    for expectation in &table.expectations {
        let kind = match expectation.action {
            ExpectationAction::Warn => CheckKind::Warn,
            ExpectationAction::Drop => CheckKind::Drop,
            ExpectationAction::Fail => CheckKind::Fail,
        };
        checks.push(check(expectation.name.clone(), &expectation.check, kind)?);
    }
    for (name, text) in constraints {
        checks.push(check(name, &text, CheckKind::Constraint)?);
    }
    if let WriteMode::ReplaceWhere { predicate } = &table.mode {
        checks.push(check(format!("replace_where: {predicate}"), predicate, CheckKind::Constraint)?);
    }
    Ok(checks)
}

/// How often each expectation was violated, for people.
pub(super) fn results(table: &Table, written: &Written) -> Vec<ExpectationResult> {
    let result = |expectation: &Expectation| ExpectationResult {
        name: expectation.name.clone(),
        action: expectation.action.name().to_owned(),
        violations: violations(written, &expectation.name),
    };
    table.expectations.iter().map(result).collect()
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
        let (violations, rows) = (violations(written, name), written.input_rows);
        format!("expectation '{name}' ({check}) is violated by {violations} of {rows} {}", noun(rows, "row", "rows"))
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
