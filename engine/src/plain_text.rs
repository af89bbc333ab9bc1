//! Windows over plain text. Pure.
//!
//! A window keeps rows of the past as slices of concatenated batches. A slice or concatenation of a view array holds
//! every buffer that its parts came from, so a window over views would hold, outside the memory pool, all text it has
//! ever seen. Below a window text and bytes are therefore plain arrays, which are copied when they are concatenated.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, TableReference};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, Window, cast};
use datafusion::optimizer::AnalyzerRule;

/// Casts the view columns below windows to plain ones, and back above them: nothing else of a plan sees another type,
/// so that neither outer references nor schemas elsewhere have to change. Windows that stand on each other are
/// between one pair of casts. A plan that has been through it stays as it is.
#[derive(Debug)]
pub(crate) struct PlainText;

impl AnalyzerRule for PlainText {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let rewritten = plan.transform_down_with_subqueries(|node| match node {
            LogicalPlan::Window(window) if reads_views(&window) => over_plain_text(window).map(Transformed::yes),
            other => Ok(Transformed::no(other)),
        })?;
        Ok(rewritten.data)
    }

    fn name(&self) -> &'static str {
        "plain_text"
    }
}

fn reads_views(window: &Window) -> bool {
    window.input.schema().fields().iter().any(|field| plain_type(field.data_type()) != *field.data_type())
}

fn plain_type(kind: &DataType) -> DataType {
    match kind {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        other => other.clone(),
    }
}

/// The same rows with the same types.
fn over_plain_text(window: Window) -> Result<LogicalPlan> {
    let types: Vec<DataType> = window.schema.fields().iter().map(|field| field.data_type().clone()).collect();
    retyped(with_plain_input(window)?, &types)
}

fn with_plain_input(window: Window) -> Result<LogicalPlan> {
    let input = match Arc::unwrap_or_clone(window.input) {
        LogicalPlan::Window(below) => with_plain_input(below)?,
        other => other,
    };
    let types: Vec<DataType> = input.schema().fields().iter().map(|field| plain_type(field.data_type())).collect();
    let input = retyped(input, &types)?;
    Ok(LogicalPlan::Window(Window::try_new(window.window_expr, Arc::new(input))?))
}

/// The plan with these types of columns, one for each; their qualifiers and names stay.
fn retyped(plan: LogicalPlan, types: &[DataType]) -> Result<LogicalPlan> {
    if plan.schema().fields().iter().map(|field| field.data_type()).eq(types) {
        return Ok(plan);
    }
    let column = |((table, field), wanted): ((Option<&TableReference>, &FieldRef), &DataType)| {
        let column = Expr::Column(Column::from((table, field)));
        if field.data_type() == wanted {
            return column;
        }
        cast(column, wanted.clone()).alias_qualified(table.cloned(), field.name())
    };
    let columns: Vec<Expr> = plan.schema().iter().zip(types).map(column).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?))
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, BinaryViewArray, Int64Array, RecordBatch, StringViewArray};
    use arrow::util::pretty::pretty_format_batches;
    use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
    use datafusion::datasource::MemTable;
    use datafusion::physical_plan::{ExecutionPlan, collect};
    use datafusion::prelude::SessionContext;

    use super::*;
    use crate::session;
    use crate::stores::{Profiles, Stores};

    /// A session with the table `t`: text `a` and `b`, bytes `c`, number `n`.
    fn session_with_t(directory: &std::path::Path) -> SessionContext {
        let runtime = session::runtime(64 << 20, directory).unwrap();
        let stores = Arc::new(Stores::new(Profiles::default()));
        let session = session::session(session::local_config(2), runtime, stores);
        let long = "a text that is longer than what a view holds itself";
        let a = StringViewArray::from(vec![Some("x"), Some(long), Some("x"), None, Some(long)]);
        let b = StringViewArray::from(vec![Some("3"), Some("2"), Some("1"), Some("1"), Some("1")]);
        let c = BinaryViewArray::from_iter_values([b"p", b"q", b"r", b"s", b"t"]);
        let columns: [(&str, ArrayRef); 4] = [
            ("a", Arc::new(a)),
            ("b", Arc::new(b)),
            ("c", Arc::new(c)),
            ("n", Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5]))),
        ];
        let columns = columns.map(|(name, column)| (name, column, true));
        let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap();
        session.register_table("t", Arc::new(table)).unwrap();
        session
    }

    /// The types that windows of the plan read.
    fn read_by_windows(plan: &Arc<dyn ExecutionPlan>) -> Vec<DataType> {
        let mut types = Vec::new();
        plan.apply(|node| {
            if node.name().contains("WindowAgg") {
                let input = node.children()[0].schema();
                types.extend(input.fields().iter().map(|field| field.data_type().clone()));
            }
            Ok(TreeNodeRecursion::Continue)
        })
        .unwrap();
        types
    }

    /// Rows as text, values joined by `|`.
    async fn rows(sql: &str) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let session = session_with_t(directory.path());
        let frame = session.sql(sql).await.unwrap();
        let expected: Vec<DataType> = frame.schema().fields().iter().map(|field| field.data_type().clone()).collect();
        let plan = frame.create_physical_plan().await.unwrap();
        let found: Vec<DataType> = plan.schema().fields().iter().map(|field| field.data_type().clone()).collect();
        assert_eq!(found, expected, "what is above a window keeps its types");
        let read = read_by_windows(&plan);
        assert!(!read.is_empty(), "the plan has a window");
        assert!(!read.iter().any(|kind| plain_type(kind) != *kind), "{read:?}");
        let batches = collect(plan, session.task_ctx()).await.unwrap();
        let text = pretty_format_batches(&batches).unwrap().to_string();
        let lines = text.lines().filter(|line| line.starts_with('|')).skip(1);
        lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join("|")).collect()
    }

    #[tokio::test]
    async fn a_window_over_text_reads_plain_columns_and_gives_the_same_rows() {
        let found = rows(
            "SELECT n, b, c, rn FROM (SELECT *, row_number() OVER (PARTITION BY a ORDER BY b) rn FROM t) ORDER BY n",
        )
        .await;
        assert_eq!(found, ["1|3|70|2", "2|2|71|2", "3|1|72|1", "4|1|73|1", "5|1|74|1"]);
        let all = rows("SELECT *, row_number() OVER (PARTITION BY a ORDER BY b) rn FROM t").await;
        assert_eq!(all.len(), 5);
    }

    #[tokio::test]
    async fn the_first_row_of_each_group_is_found_and_can_be_joined_by_text() {
        let first = "(SELECT *, row_number() OVER (PARTITION BY a ORDER BY b) rn FROM t) o";
        assert_eq!(rows(&format!("SELECT n, b FROM {first} WHERE rn = 1 ORDER BY n")).await, ["3|1", "4|1", "5|1"]);
        // References from a subquery to what is above a window, a join, and a union with a table as it is.
        let exists = "EXISTS (SELECT 1 FROM t WHERE t.a = o.a)";
        let exists = format!("SELECT n FROM {first} WHERE rn = 1 AND {exists} ORDER BY n");
        assert_eq!(rows(&exists).await, ["3", "5"]);
        let joined = format!("SELECT o.n FROM {first} JOIN t ON t.a = o.a AND t.b = o.b WHERE rn = 1 ORDER BY o.n");
        assert_eq!(rows(&joined).await, ["3", "5"]);
        let union = format!("SELECT b FROM {first} WHERE rn = 1 UNION ALL SELECT b FROM t WHERE n = 1 ORDER BY b");
        assert_eq!(rows(&union).await, ["1", "1", "1", "3"]);
    }

    #[tokio::test]
    async fn windows_on_windows_and_inside_subqueries_read_plain_columns_too() {
        let three = "SELECT n, lag(b) OVER (PARTITION BY a ORDER BY n) AS earlier_b, \
            count(*) OVER (PARTITION BY b) AS same_b, \
            max(a) OVER (ORDER BY n ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS most_a FROM t";
        let found = rows(&format!("SELECT n, earlier_b, same_b, most_a = 'x' FROM ({three}) ORDER BY n")).await;
        assert_eq!(found, ["1||1|true", "2||1|true", "3|3|3|true", "4||3|true", "5|2|3|true"]);
        let within = "SELECT n FROM t WHERE b IN \
            (SELECT b FROM (SELECT b, row_number() OVER (ORDER BY b DESC) rn FROM t) WHERE rn = 1)";
        assert_eq!(rows(within).await, ["1"]);
    }
}
