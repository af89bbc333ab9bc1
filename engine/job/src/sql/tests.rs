//! What a query reads, and what is not a query.

use super::*;

fn reads(text: &str) -> Vec<String> {
    query_reads(text).expect(text).iter().map(|read| read.parts.join(".")).collect()
}

fn problem(text: &str) -> Problem {
    query_reads(text).expect_err(text)
}

#[test]
fn joins_subqueries_and_set_operations_are_read() {
    let text = "SELECT *, (SELECT max(x) FROM s.scalar) FROM a JOIN b.c ON a.id = c.id, d
                WHERE EXISTS (SELECT 1 FROM e) AND id IN (SELECT id FROM f) AND y IN (VALUES (1))
                UNION ALL (SELECT * FROM (SELECT * FROM g) AS x) EXCEPT SELECT * FROM h ORDER BY 1;";
    assert_eq!(reads(text), ["s.scalar", "a", "b.c", "d", "e", "f", "g", "h"]);
    assert_eq!(reads("SELECT a.* FROM A AS a LEFT JOIN A AS b ON a.x = b.x"), ["A"]);
    assert!(reads("SELECT 1").is_empty());
    assert!(reads("VALUES (1), (2)").is_empty());
}

#[test]
fn common_table_expressions_are_not_read_where_they_are_in_scope() {
    assert_eq!(reads("WITH a AS (SELECT * FROM t), b AS (SELECT * FROM a) SELECT * FROM b JOIN A USING (x)"), ["t"]);
    // An expression does not see itself: this one narrows the source of the same name.
    assert_eq!(reads("WITH orders AS (SELECT * FROM orders WHERE x) SELECT * FROM orders"), ["orders"]);
    assert_eq!(reads("WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT * FROM r"), [""; 0]);
    // Outside the subquery that declares it, the name is a table again.
    assert_eq!(reads("SELECT * FROM (WITH x AS (SELECT 1) SELECT * FROM x) AS y JOIN x ON true"), ["x"]);
    assert_eq!(reads("WITH x AS (SELECT 1) SELECT * FROM s.x"), ["s.x"]);
    assert_eq!(reads("WITH x AS (SELECT 1) SELECT (SELECT max(a) FROM x) FROM t"), ["t"]);
}

#[test]
fn table_functions_are_not_read() {
    assert_eq!(reads("SELECT * FROM generate_series(1, 3) AS g, t, unnest([1, 2])"), ["t"]);
}

#[test]
fn references_tell_where_they_stand() {
    let found = query_reads("SELECT *\n  FROM a.b\n JOIN \"C\" ON true").unwrap();
    let places: Vec<(u64, u64)> = found.iter().map(|read| read.position).collect();
    assert_eq!(places, [(2, 8), (3, 7)]);
    assert_eq!(found[1].parts, ["C"]);
}

#[test]
fn anything_but_one_query_is_refused() {
    for (text, code, position) in [
        ("", Code::SqlStatement, None),
        ("-- nothing\n;", Code::SqlStatement, None),
        ("DELETE FROM t", Code::SqlStatement, Some((1, 1))),
        ("\n  INSERT INTO t SELECT 1", Code::SqlStatement, Some((2, 3))),
        ("EXPLAIN SELECT 1", Code::SqlStatement, Some((1, 1))),
        ("SELECT 1;\nSELECT 2", Code::SqlStatement, Some((2, 1))),
        ("SELECT * INTO x FROM t", Code::SqlStatement, Some((1, 15))),
        ("SELECT * FROM t TABLESAMPLE SYSTEM (10)", Code::SqlStatement, Some((1, 15))),
        ("SELECT *\nFORM t", Code::SqlSyntax, Some((2, 1))),
        ("SELECT 'abc", Code::SqlSyntax, Some((1, 8))),
        ("SELECT a,, b FROM t", Code::SqlSyntax, Some((1, 10))),
        ("SELECT (1", Code::SqlSyntax, None),
    ] {
        let problem = problem(text);
        assert_eq!(problem.code, code, "{text}: {problem:?}");
        assert!(position.is_none() || problem.position == position, "{text}: {problem:?}");
        assert!(!problem.message.contains("Line:"), "{problem:?}");
    }
}

#[test]
fn statements_too_deep_for_the_stack_are_refused_and_long_ones_are_not() {
    assert_eq!(problem(&format!("SELECT {}1", "1+".repeat(100_000))).code, Code::SqlSyntax);
    assert_eq!(problem(&format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000))).code, Code::SqlSyntax);
    assert_eq!(problem(&"SELECT 1 UNION ".repeat(50_000)).code, Code::SqlSyntax);
    assert_eq!(problem(&format!("SELECT {} 1", "NOT ".repeat(9_000))).code, Code::SqlSyntax);
    reads(&format!("SELECT {}1", "1+".repeat(4_900)));
    reads(&format!("SELECT {}1", "x AND ".repeat(4_900)));
    reads(&format!("{}SELECT 1", "SELECT 1 UNION ".repeat(3_000)));
    reads(&format!("SELECT 1::int{}", "::int".repeat(4_900)));
    reads(&format!("SELECT * FROM t WHERE x IN ({}1)", "1, ".repeat(100_000)));
}

#[test]
fn expressions_are_over_one_row() {
    for text in ["email LIKE '%@%'", "a > 0 AND b IS NOT NULL", "coalesce(x, 0) BETWEEN 1 AND 2"] {
        assert_eq!(check_expression(text), Ok(()), "{text}");
    }
    for text in ["", "a >", "a b c", "SELECT 1", "x IN (SELECT 1)", "a; b"] {
        assert!(check_expression(text).is_err(), "{text}");
    }
}

#[test]
fn postgres_queries_are_known_by_their_first_word() {
    for text in ["select 1", "/* x */ (SELECT 1)", "WITH a AS (SELECT 1) SELECT * FROM a;", "select '{}'::jsonb ? 'a'"]
    {
        assert_eq!(check_postgres_query(text), Ok(()), "{text}");
    }
    for text in ["", "drop table x", "SELECT 1; DROP TABLE x", "SELECT 'x"] {
        assert!(check_postgres_query(text).is_err(), "{text}");
    }
}
