//! What PostgreSQL's errors mean to us: SQLSTATE to class and code. By code and type, never by text. Pure.
//!
//! SQLSTATE classes: PostgreSQL manual, appendix A.

use std::error::Error as _;
use std::io;

use lake_proto::ErrorClass;
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, ErrorPosition};

use crate::EngineError;

/// Code of a snapshot that no longer exists at the server.
pub(super) const SNAPSHOT_GONE: &str = "source-snapshot";

const UNAVAILABLE: &str = "source-unavailable";

/// Class and code of an SQLSTATE.
pub(super) fn class_of(sqlstate: &str) -> (ErrorClass, &'static str) {
    match sqlstate {
        "42501" => return (ErrorClass::Denied, "source-denied"),
        "42P01" | "3F000" => return (ErrorClass::NotFound, "source-table"),
        "42703" => return (ErrorClass::NotFound, "source-column"),
        // Text that cannot be sent as UTF-8.
        "22021" | "22P05" => return (ErrorClass::DataQuality, "source-value"),
        "3D000" => return (ErrorClass::NotFound, "source-database"),
        _ => {}
    }
    match sqlstate.get(..2).unwrap_or_default() {
        "28" => (ErrorClass::Denied, "source-denied"),
        "53" => (ErrorClass::Resource, "source-resource"),
        // Connections, rolled-back transactions, locks, operators and operating systems, foreign servers.
        "08" | "40" | "55" | "57" | "58" | "HV" => (ErrorClass::Unavailable, UNAVAILABLE),
        // The query itself, or its values: a repeat fails again.
        "0A" | "21" | "22" | "23" | "25" | "2F" | "38" | "39" | "42" | "44" | "54" | "P0" => {
            (ErrorClass::InvalidJob, "source-query")
        }
        _ => (ErrorClass::Internal, "source-internal"),
    }
}

/// An error of a statement. `query` is the text that the server's position points into, when the user wrote it.
pub(super) fn of_statement(error: &Error, query: Option<&str>) -> EngineError {
    if let Some(database) = error.as_db_error() {
        let (class, code) = class_of(database.code().code());
        return EngineError::new(class, code, describe(database, query));
    }
    if error.is_closed() {
        return EngineError::unavailable(UNAVAILABLE, "the server closed the connection");
    }
    match io_cause(error) {
        Some(cause) => EngineError::unavailable(UNAVAILABLE, format!("the connection to the server failed: {cause}")),
        None => EngineError::internal(format!("the server's answer was not understood: {error}")),
    }
}

/// An error while connecting.
pub(super) fn of_connecting(error: &Error, target: &str, has_password: bool) -> EngineError {
    if let Some(database) = error.as_db_error() {
        let (class, code) = class_of(database.code().code());
        return EngineError::new(class, code, format!("{target} refused the connection: {}", describe(database, None)));
    }
    if let Some(cause) = io_cause(error) {
        return EngineError::unavailable(UNAVAILABLE, format!("{target} cannot be reached: {cause}"));
    }
    if error.is_closed() {
        return EngineError::unavailable(UNAVAILABLE, format!("{target} closed the connection during log-in"));
    }
    // What is left is log-in itself: a method that is not supported, or no password for one that wants it.
    let found = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    let hint = if has_password { "" } else { "; the connection has no password: set `password` in its profile" };
    EngineError::new(ErrorClass::Denied, "source-denied", format!("cannot log in to {target}: {found}{hint}"))
}

/// An error of `SET TRANSACTION SNAPSHOT`.
pub(super) fn of_snapshot(error: &Error) -> EngineError {
    // Invalid identifier (before and since version 16), source transaction gone, snapshot file damaged.
    let gone = error.code().is_some_and(|code| matches!(code.code(), "22023" | "42704" | "55000" | "22P02"));
    if !gone {
        return of_statement(error, None);
    }
    let found = error.as_db_error().map_or_else(String::new, |database| describe(database, None));
    EngineError::unavailable(
        SNAPSHOT_GONE,
        format!(
            "the snapshot that all tasks of this step read is gone, because the connection that held it ended or the \
             server restarted: run the step again ({found})"
        ),
    )
}

/// PostgreSQL's message with SQLSTATE and position.
fn describe(error: &DbError, query: Option<&str>) -> String {
    let mut text = format!("PostgreSQL: {} (SQLSTATE {}", error.message(), error.code().code());
    match (error.position(), query) {
        (Some(ErrorPosition::Original(position)), Some(query)) => {
            let (line, column) = line_and_column(query, *position);
            text.push_str(&format!(", line {line} column {column} of the query"));
        }
        (Some(ErrorPosition::Internal { position, query }), _) => {
            text.push_str(&format!(", character {position} of `{query}`"));
        }
        _ => {}
    }
    text.push(')');
    for (what, more) in [("detail", error.detail()), ("hint", error.hint())] {
        if let Some(more) = more {
            text.push_str(&format!("; {what}: {more}"));
        }
    }
    text
}

/// Line and column, 1-based, of a 1-based character position.
fn line_and_column(query: &str, position: u32) -> (usize, usize) {
    let before = usize::try_from(position).unwrap_or(usize::MAX).saturating_sub(1);
    let mut line = 1;
    let mut column = 1;
    for character in query.chars().take(before) {
        if character == '\n' {
            line += 1;
            column = 1;
        } else {
            column += 1;
        }
    }
    (line, column)
}

fn io_cause(error: &Error) -> Option<&io::Error> {
    let mut cause = error.source();
    while let Some(current) = cause {
        if let Some(found) = current.downcast_ref::<io::Error>() {
            return Some(found);
        }
        cause = current.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlstates_have_the_class_of_who_must_act() {
        for (sqlstate, class) in [
            ("28P01", ErrorClass::Denied),
            ("28000", ErrorClass::Denied),
            ("42501", ErrorClass::Denied),
            ("08006", ErrorClass::Unavailable),
            ("57P01", ErrorClass::Unavailable),
            ("57P03", ErrorClass::Unavailable),
            ("57014", ErrorClass::Unavailable),
            ("40001", ErrorClass::Unavailable),
            ("53300", ErrorClass::Resource),
            ("53200", ErrorClass::Resource),
            ("42601", ErrorClass::InvalidJob),
            ("22012", ErrorClass::InvalidJob),
            ("22021", ErrorClass::DataQuality),
            ("25006", ErrorClass::InvalidJob),
            ("42P01", ErrorClass::NotFound),
            ("42703", ErrorClass::NotFound),
            ("3D000", ErrorClass::NotFound),
            ("XX001", ErrorClass::Internal),
            ("", ErrorClass::Internal),
        ] {
            assert_eq!(class_of(sqlstate).0, class, "{sqlstate}");
        }
    }

    #[test]
    fn positions_count_characters_and_lines() {
        assert_eq!(line_and_column("SELECT\n ä, b", 1), (1, 1));
        assert_eq!(line_and_column("SELECT\n ä, b", 9), (2, 2));
        assert_eq!(line_and_column("SELECT\n ä, b", 12), (2, 5));
    }
}
