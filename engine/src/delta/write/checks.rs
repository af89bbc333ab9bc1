//! Expectations and constraints, evaluated batch by batch. Pure.

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, prep_null_mask_filter};
use lake_proto::ErrorClass;
use lake_proto::quantity::counted;

use super::{Check, CheckKind};
use crate::sql_type::sql_type;
use crate::{EngineError, Result};

/// Violations so far, check by check.
#[derive(Debug)]
pub(super) struct Checks {
    counted: Vec<Counted>,
    failed: bool,
}

/// A check with what it has found.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) check: Check,
    /// Rows that it was evaluated on: those that no check before it has dropped.
    pub(super) checked: u64,
    pub(super) violations: u64,
}

impl Checks {
    pub(super) fn new(checks: Vec<Check>) -> Self {
        let counted = |check| Counted { check, checked: 0, violations: 0 };
        Self { counted: checks.into_iter().map(counted).collect(), failed: false }
    }

    /// The rows of `batch` that are to be written.
    ///
    /// # Errors
    /// `data-quality` (code `constraint`) when a row violates a condition of the table; `invalid-job` when a check
    /// cannot be evaluated.
    pub(super) fn apply(&mut self, batch: RecordBatch, table: &str) -> Result<RecordBatch> {
        let mut batch = batch;
        // Dropped rows are not the business of the checks after them; constraints hold for what is written.
        for late in [false, true] {
            for Counted { check, checked, violations: found } in &mut self.counted {
                if (check.kind == CheckKind::Constraint) != late {
                    continue;
                }
                let kept = kept(check, &batch)?;
                let violations = (kept.len() - kept.true_count()) as u64;
                *checked += kept.len() as u64;
                if violations == 0 {
                    continue;
                }
                *found += violations;
                match check.kind {
                    CheckKind::Warn => {}
                    CheckKind::Drop => batch = filter_record_batch(&batch, &kept)?,
                    CheckKind::Fail => self.failed = true,
                    CheckKind::Constraint => return Err(violated(&check.name, violations, table)),
                }
            }
        }
        Ok(batch)
    }

    /// Whether a `Fail` check was violated: what this task writes will not be committed.
    pub(super) fn failed(&self) -> bool {
        self.failed
    }

    /// Every check with what it has found.
    pub(super) fn counts(&self) -> impl Iterator<Item = &Counted> {
        self.counted.iter()
    }
}

/// NULL is a violation: a condition must be true.
fn kept(check: &Check, batch: &RecordBatch) -> Result<BooleanArray> {
    let within = |error: EngineError| match check.kind {
        CheckKind::Constraint => error.within(&check.name),
        CheckKind::Warn | CheckKind::Drop | CheckKind::Fail => error.within(format!("expectation '{}'", check.name)),
    };
    let value = check.expression.evaluate(batch).and_then(|value| value.into_array(batch.num_rows()));
    let value = value.map_err(|error| within(error.into()))?;
    let value = value.as_boolean_opt().ok_or_else(|| {
        within(EngineError::invalid(
            "check-type",
            format!("it is of type {}: expected a condition", sql_type(value.data_type())),
        ))
    })?;
    Ok(if value.null_count() == 0 { value.clone() } else { prep_null_mask_filter(value) })
}

/// Refuses NULL in columns that are declared without.
///
/// # Errors
/// `data-quality` (code `constraint`).
pub(super) fn not_null(batch: &RecordBatch, schema: &arrow::datatypes::Schema, table: &str) -> Result<()> {
    for (column, field) in batch.columns().iter().zip(schema.fields()) {
        if !field.is_nullable() && column.null_count() > 0 {
            let what = format!("constraint '{} NOT NULL'", field.name());
            return Err(violated(&what, column.null_count() as u64, table));
        }
    }
    Ok(())
}

fn violated(what: &str, rows: u64, table: &str) -> EngineError {
    EngineError::new(
        ErrorClass::DataQuality,
        "constraint",
        format!("{what} of table '{table}' is violated by at least {}; nothing was written", counted(rows, "row")),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int32Array;
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::logical_expr::Operator;
    use datafusion::physical_expr::expressions::{binary, col, lit};

    use super::*;

    fn batch() -> RecordBatch {
        let column = Arc::new(Int32Array::from(vec![Some(1), Some(-1), None, Some(5)]));
        RecordBatch::try_from_iter([("a", column as _)]).unwrap()
    }

    fn positive(kind: CheckKind) -> Check {
        let schema = Schema::new(vec![Field::new("a", DataType::Int32, true)]);
        let expression = binary(col("a", &schema).unwrap(), Operator::Gt, lit(0), &schema).unwrap();
        let name = if kind == CheckKind::Constraint { "constraint 'positive'" } else { "positive" };
        Check { name: name.to_owned(), expression, kind }
    }

    #[test]
    fn null_counts_as_a_violation_and_only_drop_drops() {
        for (kind, left, failed) in
            [(CheckKind::Warn, 4, false), (CheckKind::Drop, 2, false), (CheckKind::Fail, 4, true)]
        {
            let mut checks = Checks::new(vec![positive(kind)]);
            assert_eq!(checks.apply(batch(), "t").unwrap().num_rows(), left);
            assert_eq!(checks.counts().next().unwrap().violations, 2);
            assert_eq!(checks.failed(), failed);
        }
    }

    #[test]
    fn a_check_counts_the_rows_that_the_checks_before_it_have_left() {
        let kinds = [CheckKind::Warn, CheckKind::Drop, CheckKind::Warn];
        let mut checks = Checks::new(kinds.map(positive).to_vec());
        checks.apply(batch(), "t").unwrap();
        let found: Vec<(u64, u64)> = checks.counts().map(|found| (found.violations, found.checked)).collect();
        assert_eq!(found, [(2, 4), (2, 4), (0, 2)]);
    }

    #[test]
    fn constraints_see_only_rows_that_are_written() {
        let mut checks = Checks::new(vec![positive(CheckKind::Constraint), positive(CheckKind::Drop)]);
        assert_eq!(checks.apply(batch(), "t").unwrap().num_rows(), 2);
        let error = Checks::new(vec![positive(CheckKind::Constraint)]).apply(batch(), "t").unwrap_err();
        assert_eq!((error.class(), error.code()), (ErrorClass::DataQuality, "constraint"));
        let expected = "constraint 'positive' of table 't' is violated by at least 2 rows; nothing was written";
        assert_eq!(error.to_string(), expected);
    }
}
