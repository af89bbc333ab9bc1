//! SQL of a job, as far as a job must understand it: one query, what it reads; an expression over a row. Parsed as the
//! engine parses it. Pure.
//!
//! Never here: columns and types; the engine plans with real schemas.

mod columns;
mod reads;

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Ident, ObjectName, Query, Spanned, Statement, Visit, Visitor};
use sqlparser::dialect::{GenericDialect, PostgreSqlDialect};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

pub use self::columns::{Unnamed, unnamed_columns};
use self::reads::Reads;
use crate::errors::Code;

/// How many levels of operators a statement may nest. Trees are walked and freed by recursion, here and in the engine.
const MAX_DEPTH: usize = 10_000;

/// Why a text is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) code: Code,
    pub(crate) message: String,
    /// Line and column in the text, 1-based; `None` = the text as a whole.
    pub(crate) position: Option<(u64, u64)>,
}

/// A table that a query names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    /// Parts of the name: `["bronze", "customers"]`.
    pub(crate) parts: Vec<String>,
    /// Line and column in the text, 1-based.
    pub(crate) position: (u64, u64),
}

impl Reference {
    fn new(name: &ObjectName) -> Self {
        let idents = name.0.iter().filter_map(|part| part.as_ident());
        let parts = idents.map(|ident: &Ident| ident.value.clone()).collect();
        let start = name.span().start;
        Self { parts, position: (start.line, start.column) }
    }
}

/// The tables that the one query in `text` reads, each name once, in the order of the text.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn query_reads(text: &str) -> Result<Vec<Reference>, Problem> {
    let mut parser = parser(text)?;
    while parser.consume_token(&Token::SemiColon) {}
    if parser.peek_token().token == Token::EOF {
        return Err(statement("expected a SELECT, found no statement", None));
    }
    let first = parser.peek_token();
    let parsed = parser.parse_statement().map_err(|error| syntax(&error, &parser))?;
    let Statement::Query(query) = parsed else {
        return Err(statement(&format!("expected a SELECT, found {}", first.token), Some(first.span.start)));
    };
    while parser.consume_token(&Token::SemiColon) {}
    let after = parser.peek_token();
    if after.token != Token::EOF {
        return Err(match is_statement_start(&after) {
            true => statement("expected one statement, found another one", Some(after.span.start)),
            false => Problem {
                code: Code::SqlSyntax,
                message: format!("expected the end of the statement, found {}", after.token),
                position: known(after.span.start),
            },
        });
    }
    let mut reads = Reads::default();
    match query.visit(&mut reads) {
        ControlFlow::Continue(()) => Ok(reads.found),
        ControlFlow::Break(problem) => Err(problem),
    }
}

/// Whether `text` is an expression over the columns of one row.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn check_expression(text: &str) -> Result<(), Problem> {
    struct NoQueries;
    impl Visitor for NoQueries {
        type Break = ();

        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }

    let mut parser = parser(text)?;
    if parser.peek_token().token == Token::EOF {
        return Err(Problem {
            code: Code::SqlSyntax,
            message: "expected a condition, found none".into(),
            position: None,
        });
    }
    let expression: Expr = parser.parse_expr().map_err(|error| syntax(&error, &parser))?;
    let after = parser.peek_token();
    if after.token != Token::EOF {
        let message = format!("expected one condition, found {} after it", after.token);
        return Err(Problem { code: Code::SqlSyntax, message, position: known(after.span.start) });
    }
    match expression.visit(&mut NoQueries) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(statement("expected a condition over the columns of a row, found a query", None)),
    }
}

/// Whether `text` is one query in PostgreSQL's dialect, by its first word: the server parses the rest.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn check_postgres_query(text: &str) -> Result<(), Problem> {
    let dialect = PostgreSqlDialect {};
    let tokens = Tokenizer::new(&dialect, text).tokenize_with_location().map_err(|error| Problem {
        code: Code::SqlSyntax,
        message: error.message,
        position: known(error.location),
    })?;
    let mut tokens = tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_)));
    let Some(first) = tokens.find(|token| token.token != Token::LParen) else {
        return Err(statement("expected a SELECT, found no statement", None));
    };
    if !is_word(&first, &["SELECT", "WITH", "VALUES", "TABLE"]) {
        return Err(statement(&format!("expected a SELECT, found {}", first.token), known_location(first.span.start)));
    }
    let mut rest = tokens.skip_while(|token| token.token != Token::SemiColon);
    match rest.find(|token| !matches!(token.token, Token::SemiColon | Token::EOF)) {
        Some(token) => Err(statement("expected one statement, found another one", known_location(token.span.start))),
        None => Ok(()),
    }
}

fn known_location(location: Location) -> Option<Location> {
    (location.line > 0).then_some(location)
}

fn known(location: Location) -> Option<(u64, u64)> {
    known_location(location).map(|location| (location.line, location.column))
}

fn statement(message: &str, location: Option<Location>) -> Problem {
    Problem { code: Code::SqlStatement, message: message.to_owned(), position: location.and_then(known) }
}

fn is_word(token: &TokenWithSpan, words: &[&str]) -> bool {
    matches!(&token.token, Token::Word(word) if words.iter().any(|known| known.eq_ignore_ascii_case(&word.value)))
}

fn is_statement_start(token: &TokenWithSpan) -> bool {
    let starts = ["SELECT", "WITH", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "ALTER", "MERGE", "SET", "COPY"];
    is_word(token, &starts)
}

fn parser(text: &str) -> Result<Parser<'static>, Problem> {
    static DIALECT: GenericDialect = GenericDialect {};
    let tokens = Tokenizer::new(&DIALECT, text).tokenize_with_location().map_err(|error| Problem {
        code: Code::SqlSyntax,
        message: lower_first(&error.message),
        position: known(error.location),
    })?;
    check_depth(&tokens)?;
    Ok(Parser::new(&DIALECT).with_tokens_with_locations(tokens))
}

/// Operators in a row make a tree as deep as they are many. What stands between two commas, parentheses included, is
/// at least as long as its tree is deep.
fn check_depth(tokens: &[TokenWithSpan]) -> Result<(), Problem> {
    let mut open: Vec<usize> = Vec::new();
    let mut depth = 0;
    for token in tokens {
        match token.token {
            Token::Whitespace(_) => {}
            Token::LParen | Token::LBracket | Token::LBrace => open.push(depth),
            Token::RParen | Token::RBracket | Token::RBrace => depth = open.pop().map_or(depth, |base| base + 1),
            Token::Comma => depth = open.last().copied().unwrap_or(0),
            _ => depth += 1,
        }
        if depth > MAX_DEPTH {
            return Err(Problem {
                code: Code::SqlSyntax,
                message: format!("expected a statement that nests at most {MAX_DEPTH} operators deep"),
                position: known(token.span.start),
            });
        }
    }
    Ok(())
}

/// The parser tells the place of an error in its text only, in one fixed form.
fn syntax(error: &ParserError, parser: &Parser<'_>) -> Problem {
    let text = match error {
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => text.as_str(),
        ParserError::RecursionLimitExceeded => "expected a statement that nests less deeply",
    };
    let (message, position) = match text.rsplit_once(" at Line: ") {
        Some((message, place)) => {
            let place = place.split_once(", Column: ");
            let numbers = place.and_then(|(line, column)| Some((line.parse().ok()?, column.parse().ok()?)));
            (message, numbers)
        }
        None => (text, None),
    };
    let position = position.or_else(|| known(parser.get_current_token().span.start));
    Problem { code: Code::SqlSyntax, message: lower_first(message), position }
}

fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_lowercase().chain(characters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
