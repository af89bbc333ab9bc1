//! The columns of a query that nobody named: their names come from how an expression is written. Pure.
//!
//! Where a query takes columns over with `*`, they are looked for in the subqueries and common table expressions that it
//! takes them from. Tables and sources are not looked into: their columns have names.

use sqlparser::ast::{
    Cte, Expr, Ident, ObjectName, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Spanned,
    TableAlias, TableFactor, WildcardAdditionalOptions,
};

use super::parser;

/// Characters of an expression that a message shows.
const SHOWN_CHARACTERS: usize = 60;

/// An expression of a SELECT list without a name of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unnamed {
    /// The expression as SQL, on one line, cut when it is long.
    pub expression: String,
    /// `b` of `a.b`: the name of the column if `a` is a table, no name if `a` is a column with fields. `None` = the
    /// expression is computed.
    pub column: Option<String>,
    /// Line in the query, 1-based; 0 = not known.
    pub line: u64,
    /// Column in its line, 1-based, in characters; 0 = not known.
    pub position: u64,
}

/// The columns of the query in `text` that have no name of their own, in the order of the text, each expression once.
/// None for a text that is not a query.
pub fn unnamed_columns(text: &str) -> Vec<Unnamed> {
    let query = parser(text).ok().and_then(|mut parser| parser.parse_query().ok());
    let mut walk = Walk::default();
    if let Some(query) = &query {
        walk.query(query, &[]);
    }
    walk.found
}

#[derive(Default)]
struct Walk {
    found: Vec<Unnamed>,
    /// Queries that were looked into: one that is named twice gives nothing new, and names of names would take for ever.
    seen: Vec<*const Query>,
}

impl Walk {
    /// `outer`: the common table expressions that the query can name, the innermost last.
    fn query<'a>(&mut self, query: &'a Query, outer: &[&'a Cte]) {
        let address = std::ptr::from_ref(query);
        if self.seen.contains(&address) {
            return;
        }
        self.seen.push(address);
        let own = query.with.iter().flat_map(|with| &with.cte_tables);
        let scope: Vec<&Cte> = outer.iter().copied().chain(own).collect();
        let mut body = query.body.as_ref();
        // The first SELECT of a set operation names the columns.
        while let SetExpr::SetOperation { left, .. } = body {
            body = left;
        }
        match body {
            SetExpr::Select(select) => self.select(select, &scope),
            SetExpr::Query(query) => self.query(query, &scope),
            _ => {}
        }
    }

    fn select<'a>(&mut self, select: &'a Select, scope: &[&'a Cte]) {
        let factors = || {
            select
                .from
                .iter()
                .flat_map(|from| std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)))
        };
        for item in &select.projection {
            match item {
                SelectItem::UnnamedExpr(expression) => self.expression(expression),
                SelectItem::Wildcard(options) if is_whole(options) => {
                    factors().for_each(|factor| self.factor(factor, None, scope));
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options)
                    if is_whole(options) =>
                {
                    factors().for_each(|factor| self.factor(factor, last_part(name), scope));
                }
                SelectItem::ExprWithAlias { .. }
                | SelectItem::ExprWithAliases { .. }
                | SelectItem::QualifiedWildcard(..)
                | SelectItem::Wildcard(_) => {}
            }
        }
    }

    fn expression(&mut self, expression: &Expr) {
        let column = match expression {
            Expr::Nested(inner) => return self.expression(inner),
            Expr::Identifier(_) => return,
            Expr::CompoundIdentifier(parts) => parts.last().map(folded),
            _ => None,
        };
        let start = expression.span().start;
        let found = Unnamed { expression: shown(expression), column, line: start.line, position: start.column };
        if !self.found.contains(&found) {
            self.found.push(found);
        }
    }

    /// What `*`, or `wanted.*`, takes over from `factor`.
    fn factor<'a>(&mut self, factor: &'a TableFactor, wanted: Option<&Ident>, scope: &[&'a Cte]) {
        match factor {
            TableFactor::Derived { subquery, alias, .. }
                if is_wanted(alias.as_ref().map(|alias| &alias.name), wanted) && !names_columns(alias.as_ref()) =>
            {
                self.query(subquery, scope);
            }
            TableFactor::Table { name, alias, args: None, .. } => {
                let called = alias.as_ref().map(|alias| &alias.name).or_else(|| last_part(name));
                if !is_wanted(called, wanted) || names_columns(alias.as_ref()) || name.0.len() != 1 {
                    return;
                }
                let same = |cte: &&Cte| last_part(name).is_some_and(|name| is_same(&cte.alias.name, name));
                if let Some(index) = scope.iter().rposition(same)
                    && let (before, [cte, ..]) = scope.split_at(index)
                    && !names_columns(Some(&cte.alias))
                {
                    // An expression sees those before it, not itself.
                    self.query(&cte.query, before);
                }
            }
            TableFactor::NestedJoin { table_with_joins, .. } => {
                self.factor(&table_with_joins.relation, wanted, scope);
                table_with_joins.joins.iter().for_each(|join| self.factor(&join.relation, wanted, scope));
            }
            _ => {}
        }
    }
}

fn is_wanted(called: Option<&Ident>, wanted: Option<&Ident>) -> bool {
    wanted.is_none_or(|wanted| called.is_some_and(|called| is_same(called, wanted)))
}

fn is_same(one: &Ident, other: &Ident) -> bool {
    one.value.eq_ignore_ascii_case(&other.value)
}

fn names_columns(alias: Option<&TableAlias>) -> bool {
    alias.is_some_and(|alias| !alias.columns.is_empty())
}

fn last_part(name: &ObjectName) -> Option<&Ident> {
    name.0.last().and_then(|part| part.as_ident())
}

/// A `*` that leaves out, replaces and renames nothing.
fn is_whole(options: &WildcardAdditionalOptions) -> bool {
    options.opt_ilike.is_none()
        && options.opt_exclude.is_none()
        && options.opt_except.is_none()
        && options.opt_replace.is_none()
        && options.opt_rename.is_none()
}

/// As SQL folds names without quotes.
fn folded(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

fn shown(expression: &Expr) -> String {
    let text = expression.to_string();
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let cut: String = line.chars().take(SHOWN_CHARACTERS).collect();
    if cut.len() < line.len() { format!("{cut}…") } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expressions(text: &str) -> Vec<String> {
        unnamed_columns(text).into_iter().filter(|found| found.column.is_none()).map(|found| found.expression).collect()
    }

    #[test]
    fn only_computed_columns_without_an_alias_have_no_name() {
        assert_eq!(expressions("SELECT country, count(*) FROM t GROUP BY country"), ["count(*)"]);
        assert_eq!(
            expressions("SELECT a + 1, CAST(b AS INT), 'x', max(c) AS m, (d), \"e\" FROM t"),
            ["a + 1", "CAST(b AS INT)", "'x'"]
        );
        for text in [
            "SELECT *, a, t.b FROM t",
            "SELECT count(*) AS \"count(*)\" FROM t",
            "SELECT count(*) n FROM t",
            "VALUES (1, 2)",
            "DELETE FROM t",
            "SELECT (",
        ] {
            assert_eq!(expressions(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn the_first_query_of_a_set_operation_names_the_columns() {
        assert_eq!(expressions("SELECT a AS x FROM t UNION ALL SELECT max(a) FROM t"), [""; 0]);
        assert_eq!(expressions("(SELECT max(a) FROM t) UNION SELECT a FROM t EXCEPT SELECT b FROM t"), ["max(a)"]);
    }

    #[test]
    fn a_star_takes_names_over_from_subqueries_and_common_table_expressions() {
        for text in [
            "SELECT * FROM (SELECT max(a) FROM t) AS x",
            "SELECT x.* FROM (SELECT max(a) FROM t) AS x, (SELECT min(a) FROM t) AS y",
            "SELECT * FROM t JOIN (SELECT max(a) FROM t) AS x ON true",
            "WITH x AS (SELECT max(a) FROM t), y AS (SELECT * FROM X) SELECT * FROM y AS z JOIN y ON true",
            "SELECT * FROM (WITH x AS (SELECT max(a) FROM t) SELECT * FROM x) AS y",
        ] {
            assert_eq!(expressions(text), ["max(a)"], "{text}");
        }
        for text in [
            "SELECT y.* FROM (SELECT max(a) FROM t) AS x, (SELECT a FROM t) AS y",
            "SELECT * FROM (SELECT max(a) FROM t) AS x(m)",
            "WITH x(m) AS (SELECT max(a) FROM t) SELECT * FROM x",
            "WITH x AS (SELECT max(a) FROM t) SELECT * FROM s.x",
            // An expression does not see itself: the inner name is a table.
            "WITH x AS (SELECT * FROM x) SELECT * FROM x",
            "SELECT a FROM (SELECT max(a) AS a, min(a) FROM t) AS x",
            "SELECT * EXCLUDE (\"max(t.a)\") FROM (SELECT max(a) FROM t) AS x",
        ] {
            assert_eq!(expressions(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn names_of_names_are_looked_into_once() {
        let mut text = "WITH x0 AS (SELECT max(a) FROM t)".to_owned();
        for index in 1..60 {
            let before = index - 1;
            text.push_str(&format!(", x{index} AS (SELECT * FROM x{before} AS p, x{before} AS q)"));
        }
        assert_eq!(expressions(&format!("{text} SELECT * FROM x59")), ["max(a)"]);
    }

    #[test]
    fn a_field_of_a_column_is_told_from_a_column_by_who_knows_the_columns() {
        let found = unnamed_columns("SELECT t.A, s.\"City\" FROM t");
        let columns: Vec<Option<&str>> = found.iter().map(|found| found.column.as_deref()).collect();
        assert_eq!(columns, [Some("a"), Some("City")]);
    }

    #[test]
    fn places_and_long_expressions_are_fit_to_be_shown() {
        let found = unnamed_columns("SELECT a,\n  concat(b, c)\nFROM t");
        assert_eq!((found[0].line, found[0].position), (2, 3));
        let long = expressions(&format!("SELECT {}0 FROM t", "length(b) +\n ".repeat(30)));
        assert_eq!(long[0].chars().count(), SHOWN_CHARACTERS + 1, "{long:?}");
        assert!(long[0].starts_with("length(b) + length(b)") && long[0].ends_with('…'), "{long:?}");
    }
}
