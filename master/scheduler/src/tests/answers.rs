//! Every shape of query, cut and whole, against plain DataFusion.

use super::cluster::{Cluster, HUGE};

const QUERIES: [&str; 12] = [
    "SELECT count(*), sum(amount), min(item), max(item) FROM orders",
    "SELECT item, count(*), sum(amount), count(DISTINCT customer_id) FROM orders GROUP BY item",
    "SELECT c.country, count(*), sum(o.amount) FROM orders o JOIN customers c ON o.customer_id = c.id GROUP BY c.country",
    "SELECT o.id, c.name FROM orders o LEFT JOIN customers c ON o.customer_id = c.id AND c.country = 'DE'",
    "SELECT c.name FROM customers c WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.id)",
    "SELECT id, row_number() OVER (PARTITION BY item ORDER BY amount DESC, id) AS rank FROM orders",
    "SELECT id, sum(amount) OVER (ORDER BY id) AS running FROM orders",
    "SELECT id FROM orders WHERE item IS NULL UNION ALL SELECT id FROM customers UNION ALL SELECT max(id) FROM orders",
    "SELECT item FROM orders UNION SELECT name FROM customers",
    "SELECT id, amount FROM orders ORDER BY amount DESC, id LIMIT 17",
    "SELECT count(*) FROM orders WHERE amount > (SELECT avg(amount) FROM orders)",
    "SELECT * FROM orders WHERE id < 0",
];

async fn compare(cores: &[u32], scan_bytes: u64) {
    compare_on(Cluster::start(cores).await, scan_bytes).await;
}

async fn compare_on(cluster: Cluster, scan_bytes: u64) {
    for sql in QUERIES {
        let answer = cluster.answer(sql, scan_bytes).await.unwrap_or_else(|fault| panic!("{sql}: {fault:?}"));
        assert_eq!(answer, cluster.expected(sql).await, "{sql}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn cut_over_two_workers_of_one_core_all_answers_are_right() {
    compare(&[1, 1], HUGE).await;
}

#[tokio::test]
async fn cut_over_uneven_workers_all_answers_are_right() {
    compare(&[3, 1], HUGE).await;
}

#[tokio::test]
async fn with_partitioned_joins_all_answers_are_right() {
    let mut cluster = Cluster::start(&[1, 1]).await;
    cluster.partition_joins();
    compare_on(cluster, HUGE).await;
}

#[tokio::test]
async fn queries_that_run_at_once_get_their_own_answers_and_leave_nothing() {
    let cluster = Cluster::start(&[2, 1]).await;
    let answers = futures::future::join_all(QUERIES.iter().map(|sql| cluster.answer(sql, HUGE))).await;
    for (sql, answer) in QUERIES.iter().zip(answers) {
        assert_eq!(answer.unwrap(), cluster.expected(sql).await, "{sql}");
    }
    let overview = cluster.scheduler.overview().await;
    assert_eq!(overview.queries, []);
    assert!(overview.workers.iter().all(|worker| worker.used == 0), "{overview:?}");
    cluster.stop().await;
}

#[tokio::test]
async fn uncut_all_answers_are_right() {
    compare(&[1, 1], 0).await;
}

#[tokio::test]
async fn a_tiny_query_is_one_task_of_one_core_and_a_huge_one_uses_all_workers() {
    let cluster = Cluster::start(&[1, 1]).await;
    let sql = QUERIES[2];
    cluster.answer(sql, 0).await.unwrap();
    let launches = super::cluster::launches(&cluster.sent());
    assert_eq!(launches.len(), 1);
    assert!(launches[0].1.is_result && launches[0].1.cores == 1);
    cluster.answer(sql, HUGE).await.unwrap();
    let launches = super::cluster::launches(&cluster.sent());
    let workers: std::collections::BTreeSet<_> = launches[1..].iter().map(|(worker, _)| worker).collect();
    assert_eq!(workers.len(), 2);
    cluster.stop().await;
}
