//! `CAST(text AS decimal)` without a copy of every text: what silver tables do with every amount. Pure.
//!
//! Arrow's kernel splits each text into vectors and strings before it reads a digit. Here a batch of plain numbers
//! (`-12.50`, no more decimals than the type has) is read digit by digit; any other batch is given to that kernel whole,
//! so that values, roundings and errors are its own.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayAccessor, ArrayRef, AsArray, Decimal128Array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, FieldRef};
use arrow::util::display::FormatOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, ExprSchemable, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, TryCast, Volatility,
};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// Digits that an `i64` always holds.
const MAX_DIGITS: usize = 18;

static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(ScalarUDF::from(TextToDecimal::new())));

/// The function; every process that decodes plans must know it.
pub(crate) fn function() -> Arc<ScalarUDF> {
    FUNCTION.clone()
}

/// Puts the function in place of the casts, after every rule that looks into casts.
#[derive(Debug)]
pub(crate) struct TextDecimals;

impl OptimizerRule for TextDecimals {
    fn name(&self) -> &str {
        "text_decimals"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        // What a scan is given is for pruning, which knows casts and not this function.
        if matches!(plan, LogicalPlan::TableScan(_)) {
            return Ok(Transformed::no(plan));
        }
        let names = NamePreserver::new(&plan);
        let schemas: Vec<Arc<DFSchema>> = plan.inputs().into_iter().map(|input| input.schema().clone()).collect();
        plan.map_expressions(|expression| {
            let name = names.save(&expression);
            let rewritten = expression.transform_up(|expression| rewrite(expression, &schemas))?;
            Ok(rewritten.update_data(|expression| name.restore(expression)))
        })
    }
}

fn rewrite(expression: Expr, schemas: &[Arc<DFSchema>]) -> Result<Transformed<Expr>> {
    let (inner, field, is_try) = match &expression {
        Expr::Cast(Cast { expr, field }) => (expr, field, false),
        Expr::TryCast(TryCast { expr, field }) => (expr, field, true),
        _ => return Ok(Transformed::no(expression)),
    };
    let DataType::Decimal128(precision, scale @ 0..) = *field.data_type() else {
        return Ok(Transformed::no(expression));
    };
    // An expression whose columns are not of one input, such as an outer reference, is left alone.
    let is_text = |schema: &Arc<DFSchema>| matches!(inner.get_type(schema.as_ref()), Ok(kind) if is_text(&kind));
    if precision > DECIMAL128_MAX_PRECISION || !schemas.iter().any(is_text) {
        return Ok(Transformed::no(expression));
    }
    let target = Expr::Literal(ScalarValue::Decimal128(None, precision, scale), None);
    let args = vec![inner.as_ref().clone(), target, Expr::Literal(ScalarValue::Boolean(Some(is_try)), None)];
    Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction { func: function(), args })))
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// `(text, NULL of the decimal type, whether what is no number is NULL)`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct TextToDecimal {
    signature: Signature,
}

impl TextToDecimal {
    fn new() -> Self {
        Self { signature: Signature::any(3, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for TextToDecimal {
    fn name(&self) -> &str {
        "lake_text_to_decimal"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        internal_err!("the type of {} is its second argument's", self.name())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let ([text, target, _], [_, _, is_try]) = (args.arg_fields, args.scalar_arguments) else {
            return internal_err!("{} takes 3 arguments", self.name());
        };
        let is_nullable = text.is_nullable() || !matches!(is_try, Some(ScalarValue::Boolean(Some(false))));
        Ok(Arc::new(Field::new(self.name(), target.data_type().clone(), is_nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let target = args.return_type().clone();
        let [text, _, is_try] = args.args.as_slice() else {
            return internal_err!("{} takes 3 arguments", self.name());
        };
        let is_try = matches!(is_try, ColumnarValue::Scalar(ScalarValue::Boolean(Some(true))));
        match text {
            ColumnarValue::Array(texts) => Ok(ColumnarValue::Array(cast(texts, &target, is_try)?)),
            ColumnarValue::Scalar(text) => {
                let value = cast(&text.to_array()?, &target, is_try)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&value, 0)?))
            }
        }
    }
}

fn cast(texts: &ArrayRef, target: &DataType, is_try: bool) -> Result<ArrayRef> {
    if let DataType::Decimal128(precision, scale) = *target {
        let plain = match texts.data_type() {
            DataType::Utf8View => plain_decimals(texts.as_string_view(), precision, scale),
            DataType::Utf8 => plain_decimals(texts.as_string::<i32>(), precision, scale),
            DataType::LargeUtf8 => plain_decimals(texts.as_string::<i64>(), precision, scale),
            _ => None,
        };
        if let Some(values) = plain {
            return Ok(Arc::new(values.with_precision_and_scale(precision, scale)?));
        }
    }
    let options = CastOptions { safe: is_try, format_options: FormatOptions::default() };
    Ok(cast_with_options(texts, target, &options)?)
}

/// None when any of the texts is not a plain number of the type.
fn plain_decimals<'a>(texts: impl ArrayAccessor<Item = &'a str>, precision: u8, scale: i8) -> Option<Decimal128Array> {
    let scale = usize::try_from(scale).ok()?;
    let whole_digits = usize::from(precision).checked_sub(scale)?;
    let mut values: Vec<i128> = Vec::with_capacity(texts.len());
    for row in 0..texts.len() {
        let value =
            if texts.is_null(row) { 0 } else { plain_decimal(texts.value(row).as_bytes(), whole_digits, scale)? };
        values.push(i128::from(value));
    }
    Some(Decimal128Array::new(values.into(), texts.logical_nulls()))
}

/// `[+-]digits[.digits]` times ten to the power of `scale`, when that is exact and within the type.
fn plain_decimal(text: &[u8], whole_digits: usize, scale: usize) -> Option<i64> {
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let whole = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (before, rest) = digits.split_at_checked(whole)?;
    let after = match rest {
        [] => rest,
        [b'.', after @ ..] if !after.is_empty() => after,
        _ => return None,
    };
    if before.is_empty() || before.len() > whole_digits || after.len() > scale || before.len() + scale > MAX_DIGITS {
        return None;
    }
    let mut value: i64 = 0;
    for byte in before.iter().chain(after) {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i64::from(byte - b'0');
    }
    let missing = u32::try_from(scale - after.len()).ok()?;
    let value = value * 10_i64.checked_pow(missing)?;
    Some(if is_negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use arrow::array::{StringArray, StringViewArray};
    use proptest::prelude::*;

    use super::*;

    fn by_arrow(texts: &ArrayRef, target: &DataType, is_try: bool) -> std::result::Result<ArrayRef, String> {
        let options = CastOptions { safe: is_try, format_options: FormatOptions::default() };
        cast_with_options(texts, target, &options).map_err(|error| error.to_string())
    }

    fn agrees(texts: &[Option<String>], precision: u8, scale: i8) {
        let target = DataType::Decimal128(precision, scale);
        let views: ArrayRef = Arc::new(StringViewArray::from_iter(texts));
        let plain: ArrayRef = Arc::new(StringArray::from_iter(texts));
        for texts in [&views, &plain] {
            for is_try in [false, true] {
                let expected = by_arrow(texts, &target, is_try);
                let found = cast(texts, &target, is_try).map_err(|error| error.to_string());
                match (found, expected) {
                    (Ok(found), Ok(expected)) => assert_eq!(&found, &expected),
                    (Err(found), Err(expected)) => assert!(found.contains(&expected), "{found} for {expected}"),
                    (found, expected) => panic!("{found:?} for {expected:?}"),
                }
            }
        }
    }

    #[test]
    fn numbers_and_what_is_none_are_cast_as_arrow_casts_them() {
        let texts = [
            "0",
            "-0",
            "12.5",
            "+7",
            "-1.25",
            "1.255",
            "",
            ".5",
            "5.",
            "1e3",
            " 1",
            "abc",
            "1.2.3",
            "--1",
            "+",
            "-",
            "999.99",
            "1000",
            "0001.5",
            "99999999999999999999",
        ];
        for text in texts {
            agrees(&[Some(text.to_owned()), None], 5, 2);
            agrees(&[Some("1.5".to_owned()), Some(text.to_owned())], 38, 10);
            agrees(&[Some(text.to_owned())], 18, 0);
        }
        agrees(&[], 5, 2);
    }

    proptest! {
        #[test]
        fn any_text_is_cast_as_arrow_casts_it(
            texts in prop::collection::vec(prop::option::of("[+-]?[0-9]{0,20}(\\.[0-9]{0,6})?"), 0..6),
            precision in 1_u8..=38,
            scale in 0_i8..=12,
        ) {
            agrees(&texts, precision, scale.min(i8::try_from(precision).unwrap()));
        }
    }
}
