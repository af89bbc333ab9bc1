//! Whether the tasks of a stage give the same rows when they are run again. Pure.
//!
//! A map output that is lost and comes out differently the second time loses or doubles rows when some of its readers
//! have used the first rows and others use the second ones. So the stage machine wants to know which stages may do
//! that (Spark: SPARK-23207, the output determinism of an RDD).
//!
//! What counts is the set of rows, not their order: shuffle files are read in any order anyway. The order counts where
//! an operator chooses or numbers rows by it. So every node has an [`Order`], from the leaves up: the rows of a scan
//! come in the same order each time; those of a shuffle read, a join or a merge come in any.
//!
//! A wrong yes loses rows; a wrong no only repeats work, and only after a loss. So what is not known here is a no.

use std::collections::BTreeSet;
use std::sync::Arc;

use ballista_core::execution_plans::{
    ShuffleReaderExec, ShuffleWriterExec, SortShuffleWriterExec, UnresolvedShuffleExec,
};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::logical_expr::{Volatility, WindowFrame, WindowFrameUnits};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::window::{
    PlainAggregateWindowExpr, SlidingAggregateWindowExpr, StandardWindowExpr, WindowExpr,
};
use datafusion::physical_expr::{LexOrdering, Partitioning, PhysicalExpr};
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::buffer::BufferExec;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::scalar_subquery::ScalarSubqueryExec;
use datafusion::physical_plan::sorts::partial_sort::PartialSortExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::union::{InterleaveExec, UnionExec};
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec, WindowUDFExpr};

use crate::delta::DeltaFilesScanExec;
use crate::source::files::FilesScanExec;
use crate::source::postgres::PostgresScanExec;

/// Aggregates whose result does not depend on the order of their input.
const ANY_ORDER: [&str; 12] = [
    "approx_distinct",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "count",
    "grouping",
    "max",
    "median",
    "min",
    "regr_count",
];
/// Those whose result does not when it is exact. Over floating-point numbers the last bits do, and a row that is placed
/// by them (`GROUP BY round(avg(x))`) goes to another partition the second time.
const ANY_ORDER_IF_EXACT: [&str; 2] = ["avg", "sum"];
/// Window functions that give rows with equal keys the same value.
const EQUAL_FOR_PEERS: [&str; 4] = ["cume_dist", "dense_rank", "percent_rank", "rank"];

/// Whether every task of the stage gives the same set of rows each time it is run over the same input. The stage's
/// leaves are scans and shuffle reads; with or without the shuffle writer at the root.
pub fn is_repeatable(stage: &Arc<dyn ExecutionPlan>) -> bool {
    order(stage).is_some()
}

/// In what order the rows of a partition come when the same rows come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// Always in the same one; rows that are equal in all columns cannot be told apart.
    Same,
    /// In any.
    Any,
}

/// None when not even the rows are the same.
fn order(node: &Arc<dyn ExecutionPlan>) -> Option<Order> {
    let inputs: Vec<Order> = node.children().into_iter().map(order).collect::<Option<_>>()?;
    if calls_volatile(node) {
        return None;
    }
    let input = if inputs.contains(&Order::Any) { Order::Any } else { Order::Same };
    if node.children().is_empty() {
        return leaf(node);
    }
    if let Some(sort) = node.downcast_ref::<SortExec>() {
        return sorted(node, sort.expr(), sort.fetch().map(|_| input));
    }
    if let Some(sort) = node.downcast_ref::<PartialSortExec>() {
        return sorted(node, sort.expr(), sort.fetch().map(|_| input));
    }
    if let Some(merge) = node.downcast_ref::<SortPreservingMergeExec>() {
        return sorted(node, merge.expr(), merge.fetch().map(|_| merged(node, input)));
    }
    if let Some(aggregate) = node.downcast_ref::<AggregateExec>() {
        return aggregated(aggregate, input);
    }
    if let Some(windows) = windows(node) {
        return (input == Order::Same || windows.iter().all(|window| is_decided_by_keys(window.as_ref())))
            .then_some(input);
    }
    if let Some(scan) = node.downcast_ref::<PostgresScanExec>() {
        return scan.is_repeatable().then_some(Order::Any);
    }
    if let Some(repartition) = node.downcast_ref::<RepartitionExec>() {
        // Others than these deal batches out in the order in which they come.
        let by_value = matches!(repartition.partitioning(), Partitioning::Hash(..) | Partitioning::Range(_));
        return (by_value || input == Order::Same).then_some(Order::Any);
    }
    if node.is::<ScalarSubqueryExec>() {
        // The other inputs are single values.
        return inputs.first().copied();
    }
    let output = if is_row_by_row(node) || node.is::<UnionExec>() {
        input
    } else if node.is::<CoalescePartitionsExec>() {
        merged(node, input)
    } else if is_join(node) || node.is::<InterleaveExec>() {
        Order::Any
    } else {
        return None;
    };
    limited(node, output)
}

fn leaf(node: &Arc<dyn ExecutionPlan>) -> Option<Order> {
    if node.is::<EmptyExec>() || node.is::<PlaceholderRowExec>() {
        return Some(Order::Same);
    }
    if let Some(source) = node.downcast_ref::<DataSourceExec>() {
        let is_in_memory = source.data_source().downcast_ref::<MemorySourceConfig>().is_some();
        return limited(node, if is_in_memory { Order::Same } else { Order::Any });
    }
    (node.is::<UnresolvedShuffleExec>() || node.is::<ShuffleReaderExec>()).then_some(Order::Any)
}

/// Rows with equal keys come in any order, unless the keys are all there is. `chosen_from` is the order of the rows of
/// which only the first ones are kept.
fn sorted(node: &Arc<dyn ExecutionPlan>, keys: &LexOrdering, chosen_from: Option<Order>) -> Option<Order> {
    let columns: BTreeSet<usize> =
        keys.iter().filter_map(|key| key.expr.downcast_ref::<Column>()).map(Column::index).collect();
    if columns.len() == node.schema().fields().len() {
        return Some(Order::Same);
    }
    match chosen_from {
        None => Some(Order::Any),
        Some(Order::Same) => Some(Order::Same),
        Some(Order::Any) => None,
    }
}

/// The order of several partitions that become one.
fn merged(node: &Arc<dyn ExecutionPlan>, input: Order) -> Order {
    let is_one = node.children().iter().all(|child| child.properties().partitioning.partition_count() == 1);
    if is_one { input } else { Order::Any }
}

/// Keeping only the first rows is a choice by their order.
fn limited(node: &Arc<dyn ExecutionPlan>, order: Order) -> Option<Order> {
    let is_limit = node.fetch().is_some() || node.is::<GlobalLimitExec>() || node.is::<LocalLimitExec>();
    (!is_limit || order == Order::Same).then_some(order)
}

fn aggregated(aggregate: &AggregateExec, input: Order) -> Option<Order> {
    // Which groups it keeps depends on how its input comes in batches.
    if aggregate.limit_options().is_some() {
        return None;
    }
    if input == Order::Any && !aggregate.aggr_expr().iter().all(|function| takes_any_order(function)) {
        return None;
    }
    // Without groups it is one row.
    Some(if aggregate.group_expr().is_true_no_grouping() { Order::Same } else { Order::Any })
}

fn takes_any_order(function: &AggregateFunctionExpr) -> bool {
    let name = function.fun().name();
    if ANY_ORDER.contains(&name) {
        return true;
    }
    if ANY_ORDER_IF_EXACT.contains(&name) {
        return !function.field().data_type().is_floating();
    }
    // `array_agg(x ORDER BY x)`: values with equal keys are equal.
    let keys = function.order_bys();
    let is_key = |argument: &Arc<dyn PhysicalExpr>| keys.iter().any(|key| &key.expr == argument);
    !keys.is_empty() && function.expressions().iter().all(|argument| argument.is::<Literal>() || is_key(argument))
}

fn windows(node: &Arc<dyn ExecutionPlan>) -> Option<&[Arc<dyn WindowExpr>]> {
    let bounded = node.downcast_ref::<BoundedWindowAggExec>().map(BoundedWindowAggExec::window_expr);
    bounded.or_else(|| node.downcast_ref::<WindowAggExec>().map(WindowAggExec::window_expr))
}

/// Whether rows with equal keys get the same value, whichever comes first. Where the keys are all columns, the sort
/// below has seen to the order.
fn is_decided_by_keys(window: &dyn WindowExpr) -> bool {
    if let Some(function) = window_function(window) {
        return EQUAL_FOR_PEERS.contains(&function.fun().name());
    }
    window_aggregate(window).is_some_and(takes_any_order) && holds_whole_peers(window.get_window_frame())
}

fn holds_whole_peers(frame: &WindowFrame) -> bool {
    frame.units != WindowFrameUnits::Rows || (frame.start_bound.is_unbounded() && frame.end_bound.is_unbounded())
}

fn window_function(window: &dyn WindowExpr) -> Option<&WindowUDFExpr> {
    window.as_any().downcast_ref::<StandardWindowExpr>()?.get_standard_func_expr().as_any().downcast_ref()
}

fn window_aggregate(window: &dyn WindowExpr) -> Option<&AggregateFunctionExpr> {
    let plain = window.as_any().downcast_ref::<PlainAggregateWindowExpr>();
    let sliding = window.as_any().downcast_ref::<SlidingAggregateWindowExpr>();
    plain
        .map(PlainAggregateWindowExpr::get_aggregate_expr)
        .or_else(|| sliding.map(SlidingAggregateWindowExpr::get_aggregate_expr))
}

/// Rows in, rows out, each by itself and in the order in which they come; or only some of the first ones.
fn is_row_by_row(node: &Arc<dyn ExecutionPlan>) -> bool {
    let is_ours = node.is::<DeltaFilesScanExec>() || node.is::<FilesScanExec>();
    let is_writer = node.is::<ShuffleWriterExec>() || node.is::<SortShuffleWriterExec>();
    let is_limit = node.is::<GlobalLimitExec>() || node.is::<LocalLimitExec>();
    let is_plain = node.is::<FilterExec>() || node.is::<ProjectionExec>() || node.is::<UnnestExec>();
    is_ours || is_writer || is_limit || is_plain || node.is::<CooperativeExec>() || node.is::<BufferExec>()
}

fn is_join(node: &Arc<dyn ExecutionPlan>) -> bool {
    node.is::<HashJoinExec>()
        || node.is::<SortMergeJoinExec>()
        || node.is::<NestedLoopJoinExec>()
        || node.is::<CrossJoinExec>()
}

/// Whether the node, not what is below it, calls a function that answers differently each time.
fn calls_volatile(node: &Arc<dyn ExecutionPlan>) -> bool {
    let mut found = false;
    let visited = node.apply_expressions(&mut |expression| {
        found |= is_volatile(expression);
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    if found || visited.is_err() {
        return true;
    }
    if let Some(aggregate) = node.downcast_ref::<AggregateExec>() {
        return aggregate.aggr_expr().iter().any(|function| is_volatile_aggregate(function));
    }
    windows(node).unwrap_or_default().iter().any(|window| {
        let function = window_function(window.as_ref()).map(|function| function.fun().signature().volatility);
        function == Some(Volatility::Volatile) || window_aggregate(window.as_ref()).is_some_and(is_volatile_aggregate)
    })
}

fn is_volatile_aggregate(function: &AggregateFunctionExpr) -> bool {
    function.fun().signature().volatility == Volatility::Volatile
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
    use datafusion::common::tree_node::{Transformed, TreeNode};
    use datafusion::datasource::MemTable;
    use datafusion::prelude::SessionContext;

    use super::*;
    use crate::session;
    use crate::stores::{Profiles, Stores};

    /// A session of `partitions` with the table `t` of as many: numbers `a` and `b`, floating-point `f`.
    fn session_with_t(directory: &std::path::Path, partitions: usize) -> SessionContext {
        let runtime = session::runtime(64 << 20, directory).unwrap();
        let stores = Arc::new(Stores::new(Profiles::default()));
        let session = session::session(session::local_config(partitions), runtime, stores);
        let columns: [(&str, ArrayRef); 3] = [
            ("a", Arc::new(Int64Array::from(vec![1, 1, 2]))),
            ("b", Arc::new(Int64Array::from(vec![1, 2, 2]))),
            ("f", Arc::new(Float64Array::from(vec![0.1, 0.2, 0.3]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let table = MemTable::try_new(batch.schema(), vec![vec![batch]; partitions]).unwrap();
        session.register_table("t", Arc::new(table)).unwrap();
        session
    }

    async fn plan(sql: &str, partitions: usize) -> Arc<dyn ExecutionPlan> {
        let directory = tempfile::tempdir().unwrap();
        let session = session_with_t(directory.path(), partitions);
        session.sql(sql).await.unwrap().create_physical_plan().await.unwrap()
    }

    /// The plan over a shuffle read in place of each leaf.
    fn over_shuffle(plan: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        let replaced = plan.transform_up(|node| {
            if !node.children().is_empty() {
                return Ok(Transformed::no(node));
            }
            let partitioning = node.properties().partitioning.clone();
            let read: Arc<dyn ExecutionPlan> = Arc::new(UnresolvedShuffleExec::new(1, node.schema(), partitioning));
            Ok(Transformed::yes(read))
        });
        replaced.unwrap().data
    }

    #[tokio::test]
    async fn what_depends_on_chance_or_on_the_order_of_a_shuffle_is_not_repeatable() {
        let rows = [
            // query, over a scan, over a shuffle
            ("SELECT a, b + 1 FROM t WHERE a > 1", true, true),
            ("SELECT a, now() FROM t", true, true),
            ("SELECT a, random() FROM t", false, false),
            ("SELECT a FROM t WHERE random() < 0.5", false, false),
            ("SELECT a, sum(random()) FROM t GROUP BY a", false, false),
            ("SELECT a, uuid() FROM t ORDER BY a", false, false),
            ("SELECT b FROM t WHERE a > 1 LIMIT 3", true, false),
            ("SELECT * FROM t ORDER BY a", true, true),
            ("SELECT * FROM t ORDER BY a LIMIT 3", true, false),
            ("SELECT a, b FROM t ORDER BY a, b LIMIT 3", true, true),
            ("SELECT a, count(*), sum(b), max(f) FROM t GROUP BY a", true, true),
            ("SELECT a, sum(f) FROM t GROUP BY a", true, false),
            ("SELECT a, first_value(b) FROM t GROUP BY a", true, false),
            ("SELECT a, array_agg(b) FROM t GROUP BY a", true, false),
            ("SELECT a, array_agg(b ORDER BY b) FROM t GROUP BY a", true, true),
            ("SELECT a, count(*) FROM t GROUP BY a ORDER BY 2, 1 LIMIT 3", true, true),
            ("SELECT a, count(*) FROM t GROUP BY a ORDER BY 2 LIMIT 3", false, false),
            // Sorted by the window's keys, of which other columns may have ties.
            ("SELECT a, f, row_number() OVER (PARTITION BY a ORDER BY b) FROM t", false, false),
            ("SELECT a, b, row_number() OVER (PARTITION BY a ORDER BY b) FROM t", true, true),
            ("SELECT a, f, rank() OVER (PARTITION BY a ORDER BY b) FROM t", true, true),
            ("SELECT a, f, count(*) OVER (PARTITION BY a) FROM t", true, true),
            ("SELECT a, b, sum(f) OVER (PARTITION BY a) FROM t", false, false),
            ("SELECT f, sum(b) OVER (ORDER BY a ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t", false, false),
            ("SELECT x.a, y.b FROM t x JOIN t y ON x.a = y.a", true, true),
            ("SELECT a FROM t UNION ALL SELECT b FROM t", true, true),
        ];
        for (sql, over_a_scan, over_a_shuffle) in rows {
            let plan = plan(sql, 1).await;
            assert_eq!(is_repeatable(&plan), over_a_scan, "{sql} over a scan: {plan:?}");
            let plan = over_shuffle(plan);
            assert_eq!(is_repeatable(&plan), over_a_shuffle, "{sql} over a shuffle: {plan:?}");
        }
    }

    #[tokio::test]
    async fn what_is_chosen_from_several_partitions_is_repeatable_only_when_nothing_else_could_be() {
        assert!(!is_repeatable(&plan("SELECT * FROM t ORDER BY a LIMIT 3", 3).await));
        assert!(is_repeatable(&plan("SELECT a, b FROM t ORDER BY a, b LIMIT 3", 3).await));
        assert!(!is_repeatable(&plan("SELECT b FROM t WHERE a > 1 LIMIT 3", 3).await));
        assert!(is_repeatable(&plan("SELECT b FROM t WHERE a > 1", 3).await));
        assert!(is_repeatable(&plan("SELECT a, count(*) FROM t GROUP BY a", 3).await));
    }
}
