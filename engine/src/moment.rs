//! One moment for a whole run: what `now()` and its like give. Pure.
//!
//! DataFusion takes the time of each planning. Then the steps of a run, and a driver that is launched again, would
//! each have another `current_date`, and a run over midnight would write two of them.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};

/// By name; their aliases are `current_timestamp` and `today`.
const FUNCTIONS: [&str; 3] = ["now", "current_date", "current_time"];

/// Puts the value at one moment in place of each call, in queries and in conditions, before anything is planned.
#[derive(Debug)]
pub(crate) struct Moment(pub(crate) DateTime<Utc>);

impl FunctionRewrite for Moment {
    fn name(&self) -> &str {
        "moment"
    }

    fn rewrite(&self, expression: Expr, _: &DFSchema, config: &ConfigOptions) -> Result<Transformed<Expr>> {
        let ScalarFunction { func, args } = match expression {
            Expr::ScalarFunction(call) if FUNCTIONS.contains(&call.func.name()) => call,
            other => return Ok(Transformed::no(other)),
        };
        let context = SimplifyContext::builder()
            .with_config_options(Arc::new(config.clone()))
            .with_query_execution_start_time(Some(self.0))
            .build();
        Ok(match func.simplify(args, &context)? {
            ExprSimplifyResult::Simplified(value) => Transformed::yes(value),
            ExprSimplifyResult::Original(args) => Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args })),
        })
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::util::pretty::pretty_format_batches;
    use datafusion::prelude::SessionContext;

    use crate::session;
    use crate::stores::{Profiles, Stores};

    use super::*;

    fn session_at(directory: &std::path::Path, moment: &str) -> SessionContext {
        let runtime = session::runtime(64 << 20, directory).unwrap();
        let stores = Arc::new(Stores::new(Profiles::default()));
        session::session_at(session::local_config(1), runtime, stores, moment.parse().unwrap())
    }

    #[tokio::test]
    async fn every_query_of_a_session_has_the_same_now() {
        let directory = tempfile::tempdir().unwrap();
        let session = session_at(directory.path(), "2024-02-29T23:59:58.5Z");
        let sql = "SELECT now() AS n, CURRENT_TIMESTAMP AS t, current_date AS d, today() AS e, CURRENT_TIME AS c, \
                   (SELECT max(now()) FROM (VALUES (1), (2)) AS v(x) WHERE now() > '2024-01-01') AS s";
        let mut answers = Vec::new();
        for _ in 0..2 {
            let frame = session.sql(sql).await.unwrap();
            let names: Vec<String> = frame.schema().fields().iter().map(|field| field.name().clone()).collect();
            assert_eq!(names, ["n", "t", "d", "e", "c", "s"]);
            answers.push(pretty_format_batches(&frame.collect().await.unwrap()).unwrap().to_string());
        }
        assert_eq!(answers[0], answers[1]);
        let row = answers[0].lines().nth(3).unwrap();
        let values: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let (moment, day) = ("2024-02-29T23:59:58.5", "2024-02-29");
        for (value, expected) in values.iter().zip([moment, moment, day, day, "23:59:58.5", moment]) {
            assert!(value.starts_with(expected), "{value} for {expected}");
        }
    }

    #[tokio::test]
    async fn a_column_is_named_after_the_call_and_a_condition_sees_the_same_moment() {
        let directory = tempfile::tempdir().unwrap();
        let session = session_at(directory.path(), "2024-02-29T12:00:00Z");
        let batches = session.sql("SELECT now()").await.unwrap().collect().await.unwrap();
        assert_eq!(batches[0].schema().field(0).name(), "now()");
        let schema = DFSchema::empty();
        let condition = session.parse_sql_expr("current_date = DATE '2024-02-29'", &schema).unwrap();
        let condition = session.create_physical_expr(condition, &schema).unwrap();
        let row = session.sql("SELECT 1").await.unwrap().collect().await.unwrap().remove(0);
        let value = condition.evaluate(&row).unwrap().into_array(1).unwrap();
        assert!(value.as_boolean().value(0));
    }
}
