//! The relations that a query names. Pure.

use std::ops::ControlFlow;

use sqlparser::ast::{ObjectName, Query, Select, SetExpr, Spanned, Statement, TableFactor, Visitor};

use super::{Problem, Reference, known_location, statement};

/// Collects relations that are not common table expressions in scope.
#[derive(Default)]
pub(super) struct Reads {
    pub(super) found: Vec<Reference>,
    scopes: Vec<Scope>,
    /// Names of table functions, by identity: they look like relations to the walk.
    functions: Vec<*const ObjectName>,
}

/// The common table expressions of a query that is being walked.
#[derive(Default)]
struct Scope {
    /// Name and, to know it again, the address of its query.
    expressions: Vec<(String, *const Query)>,
    /// How many of them can be named: those before the one being walked, all of them in the body.
    visible: usize,
    is_recursive: bool,
}

impl Reads {
    fn is_in_scope(&self, name: &str) -> bool {
        let mut visible = self.scopes.iter().flat_map(|scope| scope.expressions.iter().take(scope.visible));
        visible.any(|(known, _)| known.eq_ignore_ascii_case(name))
    }
}

impl Visitor for Reads {
    type Break = Problem;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Problem> {
        if let SetExpr::Table(_) = query.body.as_ref() {
            return ControlFlow::Break(statement("expected a SELECT, found TABLE", None));
        }
        let with = query.with.as_ref();
        let expressions: Vec<(String, *const Query)> = with
            .iter()
            .flat_map(|with| &with.cte_tables)
            .map(|cte| (cte.alias.name.value.clone(), std::ptr::from_ref(cte.query.as_ref())))
            .collect();
        let is_recursive = with.is_some_and(|with| with.recursive);
        let visible = if is_recursive { expressions.len() } else { 0 };
        self.scopes.push(Scope { expressions, visible, is_recursive });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<Problem> {
        self.scopes.pop();
        if let Some(scope) = self.scopes.last_mut().filter(|scope| !scope.is_recursive) {
            let index = scope.expressions.iter().position(|(_, known)| std::ptr::eq(*known, query));
            scope.visible = index.map_or(scope.visible, |index| index + 1);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Problem> {
        match &select.into {
            Some(into) => ControlFlow::Break(statement(
                "expected a SELECT without INTO: the step's table is filled by its rows",
                known_location(into.name.span().start),
            )),
            None => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_statement(&mut self, _: &Statement) -> ControlFlow<Problem> {
        ControlFlow::Break(statement("expected a SELECT, found a statement inside it that changes data", None))
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Problem> {
        if let TableFactor::Table { name, sample: Some(_), .. } = factor {
            let place = known_location(name.span().start);
            return ControlFlow::Break(statement(
                "expected a table without TABLESAMPLE, which is not supported",
                place,
            ));
        }
        if let TableFactor::Table { name, args: Some(_), .. } = factor {
            self.functions.push(std::ptr::from_ref(name));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<Problem> {
        if self.functions.iter().any(|function| std::ptr::eq(*function, name)) {
            return ControlFlow::Continue(());
        }
        let reference = Reference::new(name);
        let is_expression = matches!(reference.parts.as_slice(), [name] if self.is_in_scope(name));
        if !is_expression && !self.found.iter().any(|known| known.parts == reference.parts) {
            self.found.push(reference);
        }
        ControlFlow::Continue(())
    }
}
