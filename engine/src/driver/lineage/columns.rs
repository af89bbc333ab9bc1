//! Which columns of its tables a query's columns are made of. Pure: a walk over the logical plan.
//!
//! Told are columns whose values end up in a column, not those that only decide which rows there are (`WHERE`, `JOIN`,
//! `GROUP BY` of others). Where a plan has a node that this does not know, nothing is told of what comes through it: a
//! lineage that is not there is better than a wrong one.

use std::collections::BTreeMap;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, JoinType};
use datafusion::logical_expr::{Distinct, Expr, Join, LogicalPlan};
use lake_telemetry::lineage::Transformation;

/// A column of something that is read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Source {
    /// As the query names it, folded.
    pub(super) table: String,
    /// As the table names it.
    pub(super) column: String,
}

/// What a column is made of.
pub(super) type Origins = BTreeMap<Source, Transformation>;

/// The query's columns, in order, each with what it is made of; of some that is nothing, such as literals.
pub(super) fn of(query: &LogicalPlan) -> Vec<(String, Origins)> {
    let names = query.schema().fields().iter().map(|field| field.name().clone());
    names.zip(origins(query)).collect()
}

/// One for each column of the plan.
fn origins(plan: &LogicalPlan) -> Vec<Origins> {
    let found = match plan {
        LogicalPlan::TableScan(scan) => {
            let table = scan.table_name.to_string().to_lowercase();
            let itself = |column: &str| {
                Origins::from([(Source { table: table.clone(), column: column.to_owned() }, Transformation::Identity)])
            };
            scan.projected_schema.fields().iter().map(|field| itself(field.name())).collect()
        }
        LogicalPlan::Projection(projection) => of_expressions(&projection.expr, &projection.input),
        LogicalPlan::Aggregate(aggregate) => {
            let input = origins(&aggregate.input);
            let expressions = aggregate.group_expr.iter().chain(&aggregate.aggr_expr);
            expressions.map(|expression| of_expression(expression, aggregate.input.schema(), &input)).collect()
        }
        LogicalPlan::Window(window) => {
            let mut all = origins(&window.input);
            let schema = window.input.schema();
            let made: Vec<Origins> =
                window.window_expr.iter().map(|expression| of_expression(expression, schema, &all)).collect();
            all.extend(made);
            all
        }
        LogicalPlan::Join(join) => of_join(join),
        LogicalPlan::Union(union) => {
            let mut all = vec![Origins::new(); plan.schema().fields().len()];
            for input in &union.inputs {
                for (column, more) in all.iter_mut().zip(origins(input)) {
                    add(column, more, Transformation::Identity);
                }
            }
            all
        }
        LogicalPlan::Distinct(Distinct::On(distinct)) => of_expressions(&distinct.select_expr, &distinct.input),
        LogicalPlan::Distinct(Distinct::All(input)) => origins(input),
        LogicalPlan::Unnest(unnest) => {
            let input = origins(&unnest.input);
            let of_column = |index: &usize| {
                let mut made = Origins::new();
                add(&mut made, input.get(*index).cloned().unwrap_or_default(), Transformation::Expression);
                made
            };
            unnest.dependency_indices.iter().map(of_column).collect()
        }
        LogicalPlan::Filter(filter) => origins(&filter.input),
        LogicalPlan::Sort(sort) => origins(&sort.input),
        LogicalPlan::Limit(limit) => origins(&limit.input),
        LogicalPlan::Repartition(repartition) => origins(&repartition.input),
        LogicalPlan::SubqueryAlias(alias) => origins(&alias.input),
        LogicalPlan::Subquery(subquery) => origins(&subquery.subquery),
        _ => Vec::new(),
    };
    let columns = plan.schema().fields().len();
    if found.len() == columns { found } else { vec![Origins::new(); columns] }
}

fn of_join(join: &Join) -> Vec<Origins> {
    let (mut left, mut right) = (origins(&join.left), origins(&join.right));
    match join.join_type {
        JoinType::LeftSemi | JoinType::LeftAnti => left,
        JoinType::RightSemi | JoinType::RightAnti => right,
        // The mark says whether there was a match.
        JoinType::LeftMark => {
            left.push(Origins::new());
            left
        }
        JoinType::RightMark => {
            right.push(Origins::new());
            right
        }
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {
            left.extend(right);
            left
        }
    }
}

fn of_expressions(expressions: &[Expr], input: &LogicalPlan) -> Vec<Origins> {
    let known = origins(input);
    expressions.iter().map(|expression| of_expression(expression, input.schema(), &known)).collect()
}

/// What an expression over columns of `schema` is made of, whose own origins are `input`.
fn of_expression(expression: &Expr, schema: &DFSchema, input: &[Origins]) -> Origins {
    let kind = kind(expression);
    let mut found = Origins::new();
    let walked = expression.apply(|node| {
        match node {
            Expr::Column(column) => {
                let known = schema.maybe_index_of_column(column).and_then(|index| input.get(index));
                add(&mut found, known.cloned().unwrap_or_default(), kind);
            }
            Expr::ScalarSubquery(subquery) => {
                let first = origins(&subquery.subquery).into_iter().next();
                add(&mut found, first.unwrap_or_default(), kind);
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    });
    // The walk itself has no errors.
    if walked.is_ok() { found } else { Origins::new() }
}

fn kind(expression: &Expr) -> Transformation {
    match expression {
        Expr::Column(_) => Transformation::Identity,
        Expr::Alias(alias) => kind(&alias.expr),
        Expr::AggregateFunction(_) | Expr::WindowFunction(_) => Transformation::Aggregation,
        _ => Transformation::Expression,
    }
}

/// Adds `more`, of which something of this `kind` is made: the more is done to a column on its way, the more counts.
fn add(found: &mut Origins, more: Origins, kind: Transformation) {
    for (source, before) in more {
        let made = before.max(kind);
        let known = found.entry(source).or_insert(made);
        *known = made.max(*known);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::catalog::MemorySchemaProvider;
    use datafusion::common::TableReference;
    use datafusion::datasource::empty::EmptyTable;
    use datafusion::prelude::SessionContext;

    use super::*;

    fn session() -> SessionContext {
        let session = SessionContext::new();
        let catalog = session.catalog("datafusion").unwrap();
        catalog.register_schema("bronze", Arc::new(MemorySchemaProvider::new())).unwrap();
        let table = |columns: &[(&str, DataType)]| {
            let fields: Vec<Field> = columns.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect();
            Arc::new(EmptyTable::new(Arc::new(Schema::new(fields))))
        };
        let orders = table(&[("id", DataType::Int64), ("shop", DataType::Int64), ("price", DataType::Float64)]);
        session.register_table(TableReference::partial("bronze", "orders"), orders).unwrap();
        let shops = table(&[("id", DataType::Int64), ("City", DataType::Utf8)]);
        session.register_table(TableReference::bare("shops"), shops).unwrap();
        session
    }

    /// `column <- table.column kind, …` for each column of the query.
    async fn told(sql: &str) -> Vec<String> {
        let frame = session().sql(sql).await.unwrap();
        let told = of(frame.logical_plan()).into_iter().map(|(column, origins)| {
            let origin =
                |(source, kind): (&Source, &Transformation)| format!("{}.{} {kind:?}", source.table, source.column);
            format!("{column} <- {}", origins.iter().map(origin).collect::<Vec<_>>().join(", "))
        });
        told.collect()
    }

    #[tokio::test]
    async fn columns_expressions_and_aggregates_are_told_apart() {
        let rows = [
            (
                "SELECT id, price AS amount FROM bronze.orders",
                vec!["id <- bronze.orders.id Identity", "amount <- bronze.orders.price Identity"],
            ),
            (
                "SELECT id + shop AS n, 'x' AS x FROM bronze.orders WHERE price > 1",
                vec!["n <- bronze.orders.id Expression, bronze.orders.shop Expression", "x <- "],
            ),
            (
                "SELECT shop, sum(price) / count(*) AS mean FROM bronze.orders GROUP BY shop",
                vec!["shop <- bronze.orders.shop Identity", "mean <- bronze.orders.price Aggregation"],
            ),
            (
                "SELECT id, row_number() OVER (PARTITION BY shop ORDER BY price) AS place FROM bronze.orders",
                vec![
                    "id <- bronze.orders.id Identity",
                    "place <- bronze.orders.price Aggregation, bronze.orders.shop Aggregation",
                ],
            ),
        ];
        for (sql, expected) in rows {
            assert_eq!(told(sql).await, expected, "{sql}");
        }
    }

    #[tokio::test]
    async fn columns_are_followed_through_joins_unions_and_nested_queries() {
        let rows = [
            (
                "WITH paid AS (SELECT shop, upper(\"City\") AS city, price FROM bronze.orders AS o \
                 JOIN shops AS s ON o.shop = s.id) \
                 SELECT city, max(price) AS most FROM paid GROUP BY city ORDER BY most LIMIT 3",
                vec!["city <- shops.City Expression", "most <- bronze.orders.price Aggregation"],
            ),
            (
                "SELECT id FROM bronze.orders UNION ALL SELECT id * 2 FROM shops",
                vec!["id <- bronze.orders.id Identity, shops.id Expression"],
            ),
            (
                "SELECT DISTINCT id FROM shops WHERE id IN (SELECT shop FROM bronze.orders)",
                vec!["id <- shops.id Identity"],
            ),
            (
                "SELECT id, (SELECT max(price) FROM bronze.orders) AS most FROM shops",
                vec!["id <- shops.id Identity", "most <- bronze.orders.price Aggregation"],
            ),
            ("SELECT * FROM (VALUES (1), (2)) AS t(n)", vec!["n <- "]),
        ];
        for (sql, expected) in rows {
            assert_eq!(told(sql).await, expected, "{sql}");
        }
    }

    #[tokio::test]
    async fn columns_that_are_added_to_a_frame_are_made_of_nothing() {
        use datafusion::logical_expr::lit;

        let frame = session().table("shops").await.unwrap().with_column("_run_id", lit("app-1")).unwrap();
        let told = of(frame.logical_plan());
        let made: Vec<(&str, usize)> = told.iter().map(|(name, origins)| (name.as_str(), origins.len())).collect();
        assert_eq!(made, [("id", 1), ("City", 1), ("_run_id", 0)]);
    }
}
