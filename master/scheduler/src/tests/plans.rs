//! How queries are cut: stages, their inputs and their tasks.

use lake_proto::v1;

use super::cluster::{Cluster, HUGE, app};
use crate::SchedulerSettings;
use crate::choice::Cluster as Cores;
use crate::cut;
use crate::plan::{Planner, QueryPlan, Shape, check};

async fn plan(sql: &str, scan_bytes: u64) -> QueryPlan {
    let cluster = Cluster::start(&[]).await;
    let request: v1::RunQueryRequest = cluster.request(sql, scan_bytes).await;
    let id = check(&request).unwrap();
    let cores = Cores { total: 2, largest: 1 };
    let plan = Planner::new().plan(&id, &app(), None, &request, cores, &SchedulerSettings::default());
    cluster.stop().await;
    plan.unwrap()
}

/// `1: 2 tasks`, `2: 4 tasks reads 1 (2 tasks, 4 partitions)` and so on.
async fn graph(sql: &str) -> Vec<String> {
    let plan = plan(sql, HUGE).await;
    let describe = |stage: &crate::plan::StagePlan| {
        let reads = stage.inputs.iter().map(|(id, read)| format!("{id} ({}x{})", read.tasks, read.partitions));
        let reads: Vec<String> = reads.collect();
        let reads = if reads.is_empty() { String::new() } else { format!(" reads {}", reads.join(", ")) };
        let shape = if stage.shape == Shape::Result { " result" } else { "" };
        format!("{}: {} tasks{reads}{shape}", stage.id, stage.tasks())
    };
    plan.stages.values().map(|stage| describe(stage)).collect()
}

#[tokio::test]
async fn an_aggregate_has_a_partial_and_a_final_stage() {
    let expected = ["1: 2 tasks", "2: 2 tasks reads 1 (2x2) result"];
    assert_eq!(graph("SELECT item, count(*) FROM orders GROUP BY item").await, expected);
}

#[tokio::test]
async fn a_total_is_collected_by_one_task() {
    let expected = ["1: 2 tasks", "2: 1 tasks reads 1 (2x2) result"];
    assert_eq!(graph("SELECT count(amount) FROM orders WHERE amount > 1").await, expected);
}

#[tokio::test]
async fn a_join_with_a_small_table_broadcasts_it() {
    let expected = ["1: 2 tasks", "2: 2 tasks reads 1 (2x2) result"];
    assert_eq!(graph("SELECT o.id, c.name FROM orders o JOIN customers c ON o.customer_id = c.id").await, expected);
}

#[tokio::test]
async fn a_window_is_shuffled_by_its_partition() {
    let expected = ["1: 2 tasks", "2: 2 tasks reads 1 (2x2) result"];
    assert_eq!(graph("SELECT row_number() OVER (PARTITION BY item ORDER BY id) FROM orders").await, expected);
}

#[tokio::test]
async fn the_branches_of_a_union_are_tasks_of_one_stage() {
    let expected = ["1: 4 tasks result"];
    assert_eq!(graph("SELECT id FROM orders UNION ALL SELECT id FROM customers").await, expected);
}

#[tokio::test]
async fn stages_whose_rows_depend_on_chance_or_on_the_order_of_a_shuffle_are_known() {
    let rows = [
        ("SELECT item, count(*) FROM orders GROUP BY item", vec![true, true]),
        ("SELECT item, count(*) FROM orders WHERE random() < 0.5 GROUP BY item", vec![false, true]),
        (
            "SELECT amount, count(*) FROM (SELECT item, sum(id) AS amount FROM orders GROUP BY item) GROUP BY amount",
            vec![true, true, true],
        ),
        (
            "SELECT id, count(*) FROM (SELECT item, first_value(id) AS id FROM orders GROUP BY item) GROUP BY id",
            vec![false, false, true],
        ),
        // Nobody reads the last stage while it runs.
        ("SELECT item, random() FROM orders", vec![true]),
    ];
    for (sql, expected) in rows {
        let stages = plan(sql, HUGE).await.definition.stages;
        let found: Vec<bool> = stages.iter().map(|stage| stage.is_repeatable).collect();
        assert_eq!(found, expected, "{sql}");
    }
}

#[tokio::test]
async fn a_join_that_gives_out_unmatched_rows_of_a_collected_side_is_not_cut() {
    // NOT IN over nullable columns: each task would let through what its own slice does not exclude.
    let sql = "SELECT name FROM customers WHERE country NOT IN (SELECT item FROM orders)";
    let plan = plan(sql, HUGE).await;
    let shapes: Vec<Shape> = plan.stages.values().map(|stage| stage.shape).collect();
    assert_eq!(shapes, [Shape::Whole]);
}

#[tokio::test]
async fn a_stage_is_described_by_its_operators_and_nothing_of_the_users() {
    let sql = "SELECT item, count(*) FROM orders WHERE item <> 'secret' GROUP BY item ORDER BY item";
    let stages = plan(sql, HUGE).await.definition.stages;
    let found: Vec<&str> = stages.iter().map(|stage| stage.operators.as_str()).collect();
    assert!(found[0].contains("AggregateExec") && found[0].contains("FilterExec"), "{found:?}");
    assert!(found[1].contains("AggregateExec") && !found[1].contains("FilterExec"), "{found:?}");
    for operators in found {
        assert!(!["secret", "item", "orders", "Shuffle"].iter().any(|word| operators.contains(word)), "{operators}");
    }
}

#[tokio::test]
async fn a_small_query_is_not_cut() {
    let plan = plan("SELECT item, count(*) FROM orders GROUP BY item", 1_000).await;
    assert_eq!(plan.stages.len(), 1);
    assert_eq!(plan.stages.values().next().unwrap().shape, Shape::Whole);
    assert_eq!(plan.definition.stages[0].cores, 1);
}

#[tokio::test]
async fn masters_of_one_build_cut_a_query_alike_and_see_when_they_do_not() {
    let cluster = Cluster::start(&[]).await;
    let sql = "SELECT c.country, count(*) FROM orders o JOIN customers c ON o.customer_id = c.id GROUP BY c.country";
    let cut = |request: &v1::RunQueryRequest, total| {
        let cores = Cores { total, largest: 1 };
        let id = check(request).unwrap();
        let plan = Planner::new().plan(&id, &app(), None, request, cores, &SchedulerSettings::default()).unwrap();
        cut::accepted(&plan, cores)
    };
    let request = cluster.request(sql, 100 << 20).await;
    let first = cut(&request, 4);
    assert_eq!((first.total_cores, first.largest_cores), (4, 1));
    assert_eq!(cut(&request, 4), first);
    assert_ne!(cut(&request, 1).digest, first.digest, "one core is not worth a cut");
    let mut other = cluster.request(&sql.replace("count(*)", "max(o.id)"), 100 << 20).await;
    other.query_id.clone_from(&request.query_id);
    assert_ne!(cut(&other, 4).digest, first.digest, "the same stages do other work");
    cluster.stop().await;
}
