//! Which files a `replace_where` removes whole and which must be rewritten without the matching rows. Pure but for
//! reading the live files of the snapshot.

use std::sync::Arc;

use datafusion::catalog::Session;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::Expr;
use datafusion::optimizer::simplify_expressions::{ExprSimplifier, SimplifyContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CastExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, Literal, NotExpr,
};
use datafusion::physical_expr::utils::collect_columns;
use lake_proto::quantity::counted;

use super::files::LiveFile;
use super::protocol::is_true;
use super::stats;
use super::table::Snapshot;
use crate::sql_type::sql_type;
use crate::{EngineError, Result};

/// A `replace_where`, split over the files of one snapshot.
#[derive(Debug, Clone)]
pub struct Replacement {
    /// The condition, as the user wrote it.
    pub text: String,
    /// The condition over the table's columns.
    pub predicate: Expr,
    /// Files whose every row matches: removed.
    pub remove: Vec<LiveFile>,
    /// Files that may hold rows of both kinds: removed, after their surviving rows have been written again.
    pub rewrite: Vec<LiveFile>,
    matcher: Arc<dyn PhysicalExpr>,
}

impl Replacement {
    /// The condition for rows of [`Self::rewrite`] that stay: where the predicate is false or NULL.
    pub fn survivors(&self) -> Expr {
        Expr::IsNotTrue(Box::new(self.predicate.clone()))
    }

    /// Whether `file` may hold a row that matches.
    pub(super) fn may_match(&self, snapshot: &Snapshot, files: &[LiveFile]) -> Result<bool> {
        Ok(stats::may_match(snapshot.columns(), &self.matcher, files)?.contains(&true))
    }
}

/// The condition in `text` over the table's columns.
///
/// # Errors
/// `invalid-job` when it is not SQL, names no column of the table or is not boolean.
pub fn parse_predicate(state: &SessionState, snapshot: &Snapshot, text: &str) -> Result<Expr> {
    let schema = DFSchema::try_from(snapshot.scan_schema().as_ref().clone())?;
    let within = |error: EngineError| error.within(format!("condition '{text}'"));
    let predicate = state.create_logical_expr(text, &schema).map_err(|error| within(error.into()))?;
    let predicate = simplified(state, predicate, &schema).map_err(within)?;
    if predicate.is_volatile() {
        return Err(within(gives_other_answers()));
    }
    let physical = state.create_physical_expr(predicate.clone(), &schema).map_err(|error| within(error.into()))?;
    let kind = physical.data_type(schema.as_arrow())?;
    if kind == arrow::datatypes::DataType::Boolean {
        return Ok(predicate);
    }
    Err(within(EngineError::invalid("predicate", format!("it is of type {}: expected a condition", sql_type(&kind)))))
}

/// `invalid-job`: rows would be replaced by chance.
pub(crate) fn gives_other_answers() -> EngineError {
    EngineError::invalid("predicate", "it gives another answer each time it is evaluated")
}

/// With types coerced, constants (such as today's date) computed and NOT moved inwards, where statistics can decide.
fn simplified(session: &dyn Session, predicate: Expr, schema: &DFSchema) -> Result<Expr> {
    let context = SimplifyContext::builder()
        .with_schema(Arc::new(schema.clone()))
        .with_config_options(session.config().options().clone())
        .with_query_execution_start_time(session.execution_props().query_execution_start_time)
        .build();
    let simplifier = ExprSimplifier::new(context);
    Ok(simplifier.simplify(simplifier.coerce(predicate, schema)?)?)
}

/// Splits the live files of `snapshot` by `predicate`. Files without a matching row are in neither list.
///
/// # Errors
/// `invalid-job` (code `delta-cdf`) when files would have to be rewritten in a table with a change data feed, which
/// needs change files that we do not write; else the store's class.
pub async fn split_replace(
    snapshot: &Snapshot,
    session: &dyn Session,
    predicate: &Expr,
    text: &str,
) -> Result<Replacement> {
    let columns = snapshot.columns();
    let schema = DFSchema::try_from(columns.scan.as_ref().clone())?;
    let predicate = simplified(session, predicate.clone(), &schema)?;
    let opposite = simplified(session, Expr::Not(Box::new(predicate.clone())), &schema)?;
    let matcher = session.create_physical_expr(predicate.clone(), &schema)?;
    let opposite = session.create_physical_expr(opposite, &schema)?;
    let files = snapshot.live_files().await?;
    let touched: Vec<LiveFile> = {
        let matches = stats::may_match(columns, &matcher, files.iter())?;
        files.iter().zip(matches).filter(|(_, matches)| *matches).map(|(file, _)| file.clone()).collect()
    };
    let exact = stats::is_over_partitions(columns, &matcher);
    let null_free = if exact { vec![] } else { rows_cannot_be_unknown(snapshot, &matcher, &touched) };
    let contrary = if exact { vec![] } else { stats::may_match(columns, &opposite, touched.iter())? };
    let (mut remove, mut rewrite) = (Vec::new(), Vec::new());
    for (index, file) in touched.into_iter().enumerate() {
        let is_known = |list: &[bool], value: bool| list.get(index).is_some_and(|found| *found == value);
        let whole = exact || (is_known(&null_free, true) && is_known(&contrary, false));
        if whole { remove.push(file) } else { rewrite.push(file) }
    }
    if !rewrite.is_empty() && is_true(snapshot.properties(), "delta.enableChangeDataFeed") {
        return Err(EngineError::invalid(
            "delta-cdf",
            format!(
                "'{text}' matches only some rows of {} of table '{}', which has a change data feed: replacing \
                 part of a file is not supported there; use a condition over the partition columns ({})",
                counted(rewrite.len(), "file"),
                snapshot.location(),
                snapshot.partition_columns().join(", ")
            ),
        ));
    }
    Ok(Replacement { text: text.to_owned(), predicate, remove, rewrite, matcher })
}

/// For each file whether the predicate is either true or false, never NULL, on every row: it is built of operators
/// that give NULL only for NULL, and the columns it uses hold none in that file.
fn rows_cannot_be_unknown(snapshot: &Snapshot, predicate: &Arc<dyn PhysicalExpr>, files: &[LiveFile]) -> Vec<bool> {
    if !is_null_only_for_null(predicate) {
        return vec![false; files.len()];
    }
    let statistics = stats::FileStatistics::new(snapshot.columns(), files);
    let mut known = vec![true; files.len()];
    for column in collect_columns(predicate) {
        let counts = stats::exact_null_counts(&statistics, column.name());
        for (known, count) in known.iter_mut().zip(counts) {
            *known &= count == Some(0);
        }
    }
    known
}

fn is_null_only_for_null(predicate: &Arc<dyn PhysicalExpr>) -> bool {
    let mut plain = true;
    let visited = predicate.apply(|expression| {
        let node = expression.as_ref();
        plain &= match node.downcast_ref::<Literal>() {
            Some(literal) => !ScalarValue::is_null(literal.value()),
            None => {
                node.is::<Column>()
                    || node.is::<BinaryExpr>()
                    || node.is::<CastExpr>()
                    || node.is::<InListExpr>()
                    || node.is::<IsNullExpr>()
                    || node.is::<IsNotNullExpr>()
                    || node.is::<NotExpr>()
            }
        };
        Ok(if plain { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    visited.is_ok() && plain
}
