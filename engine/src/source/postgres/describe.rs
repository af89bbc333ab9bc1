//! What the server says about a relation: its columns, its kind, how large it is. Edge.

use lake_job::Relation;
use tokio_postgres::types::Type;
use tokio_postgres::{Row, SimpleQueryMessage};

use super::connect::Session;
use super::sql;
use super::types::{self, Column};
use crate::{EngineError, Result};

/// A relation that can be read.
#[derive(Debug, Clone)]
pub(super) struct Described {
    /// What stands after FROM; it ends in the alias `src`.
    pub(super) from: String,
    /// Columns as they are selected.
    pub(super) columns: Vec<Column>,
    /// PostgreSQL's types of the columns.
    pub(super) types: Vec<Type>,
    /// Known of tables only: neither of views nor of queries.
    pub(super) table: Option<Table>,
    /// The planner's estimate.
    pub(super) rows: u64,
    /// The planner's estimate of one row's width times rows.
    pub(super) bytes: u64,
}

/// A relation with storage.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) oid: u32,
    /// Pages on disk, of the largest leaf when there are several.
    pub(super) pages: u64,
    /// Pages when statistics were made last; 0 = never.
    pub(super) analyzed_pages: u64,
    /// It has partitions or children.
    pub(super) has_children: bool,
    /// All its storage is of PostgreSQL's own kind, where row addresses order pages.
    pub(super) is_heap: bool,
}

struct Attribute {
    name: String,
    not_null: bool,
}

/// Reads the catalog about a relation.
///
/// # Errors
/// `not-found` for a missing table, `invalid-job` for a query that does not plan or a type without counterpart,
/// `denied` for a relation that may not be read.
pub(super) async fn describe(session: &Session, relation: &Relation) -> Result<Described> {
    let (from, table, attributes) = match relation {
        Relation::Table(name) => {
            let (from, table) = find_table(session, name).await?;
            let attributes = match &table {
                Some(table) => attributes(session, table).await?,
                None => Vec::new(),
            };
            (from, table, attributes)
        }
        Relation::Query(query) => (check_query(session, query).await?, None, Vec::new()),
    };
    let statement = format!("SELECT * FROM {from}");
    let prepared = session.client().prepare(&statement).await.map_err(|error| session.explain(&error, None))?;
    let mut columns: Vec<Column> = Vec::with_capacity(prepared.columns().len());
    let mut types = Vec::with_capacity(prepared.columns().len());
    for found in prepared.columns() {
        let not_null = attributes.iter().any(|attribute| attribute.not_null && attribute.name == found.name());
        if columns.iter().any(|column| column.name == found.name()) {
            return Err(EngineError::invalid(
                "source-column",
                format!("the query has two columns named '{}': rename one with AS", found.name()),
            ));
        }
        columns.push(types::column(found.name(), found.type_(), found.type_modifier(), !not_null)?);
        types.push(found.type_().clone());
    }
    let (rows, bytes) = estimate(session, &statement).await?;
    Ok(Described { from, columns, types, table, rows, bytes })
}

/// The collation of a table's column, quoted; `None` when it has none.
pub(super) async fn collation(session: &Session, table: &Table, column: &str) -> Result<Option<String>> {
    let sql = "SELECT format('%I.%I', n.nspname, c.collname) FROM pg_attribute a \
               JOIN pg_collation c ON c.oid = a.attcollation JOIN pg_namespace n ON n.oid = c.collnamespace \
               WHERE a.attrelid = $1 AND a.attname = $2";
    let row = session.client().query_opt(sql, &[&table.oid, &column]).await;
    match row.map_err(|error| session.explain(&error, None))? {
        Some(row) => Ok(Some(get(&row, 0)?)),
        None => Ok(None),
    }
}

/// A column of a catalog row.
///
/// # Errors
/// `internal` when it has another type.
pub(super) fn get<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a Row, index: usize) -> Result<T> {
    row.try_get(index).map_err(|error| EngineError::internal(format!("catalog column {index}: {error}")))
}

/// FROM item of a table or view, and what is known of its storage.
async fn find_table(session: &Session, name: &str) -> Result<(String, Option<Table>)> {
    let Some(oid) = find_oid(session, name).await? else {
        return Err(EngineError::not_found(
            "source-table",
            format!(
                "there is no table or view '{name}' in the database, or the connection's user may not see its schema"
            ),
        ));
    };
    let sql = "SELECT n.nspname::text, c.relname::text, c.relkind::text, c.relpages::bigint, \
               EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid) \
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1";
    let row = session.client().query_one(sql, &[&oid]).await.map_err(|error| session.explain(&error, None))?;
    let (schema, relation): (String, String) = (get(&row, 0)?, get(&row, 1)?);
    let from = format!("{}.{} AS src", sql::identifier(&schema), sql::identifier(&relation));
    let kind: String = get(&row, 2)?;
    match kind.as_str() {
        "r" | "m" | "p" => {
            let table = storage(session, oid, get(&row, 3)?, get(&row, 4)?).await?;
            Ok((from, Some(table)))
        }
        "v" | "f" => Ok((from, None)),
        _ => Err(EngineError::invalid(
            "source-table",
            format!("'{name}' is not a table or view (PostgreSQL's relkind '{kind}')"),
        )),
    }
}

/// The relation of a name as PostgreSQL reads it, or else with the letters exactly as they are written.
async fn find_oid(session: &Session, name: &str) -> Result<Option<u32>> {
    let exact = name.split_once('.').map_or_else(
        || sql::identifier(name),
        |(schema, table)| format!("{}.{}", sql::identifier(schema), sql::identifier(table)),
    );
    // PostgreSQL does not look up a name with a space outside of quotes: it fails.
    let folded = if name.contains('"') || !name.contains(char::is_whitespace) { name } else { exact.as_str() };
    let sql = "SELECT coalesce(to_regclass($1), to_regclass($2))::oid";
    let row = session.client().query_one(sql, &[&folded, &exact]).await;
    get(&row.map_err(|error| session.explain(&error, None))?, 0)
}

async fn storage(session: &Session, oid: u32, analyzed_pages: i64, has_children: bool) -> Result<Table> {
    let sql = "WITH RECURSIVE family AS ( \
                 SELECT $1::oid AS oid UNION SELECT i.inhrelid FROM pg_inherits i JOIN family f ON i.inhparent = f.oid \
               ) SELECT coalesce(max(CASE WHEN c.relkind IN ('r', 'm') THEN pg_relation_size(c.oid) END), 0) \
                        / current_setting('block_size')::bigint, \
                 bool_and(c.relkind = 'p' OR (c.relkind IN ('r', 'm') AND coalesce(am.amname = 'heap', false))) \
               FROM family f JOIN pg_class c ON c.oid = f.oid LEFT JOIN pg_am am ON am.oid = c.relam";
    let row = session.client().query_one(sql, &[&oid]).await.map_err(|error| session.explain(&error, None))?;
    let pages: i64 = get(&row, 0)?;
    Ok(Table {
        oid,
        pages: u64::try_from(pages).unwrap_or(0),
        analyzed_pages: u64::try_from(analyzed_pages).unwrap_or(0),
        has_children,
        is_heap: get(&row, 1)?,
    })
}

/// FROM item of a query that is one statement with rows.
async fn check_query(session: &Session, query: &str) -> Result<String> {
    let query = query.trim().trim_end_matches(';').trim_end();
    // Alone first: the server's positions then point into what the user wrote, and two statements are refused.
    let prepared = session.client().prepare(query).await;
    let prepared = prepared.map_err(|error| session.explain(&error, Some(query)))?;
    if prepared.columns().is_empty() || !prepared.params().is_empty() {
        return Err(EngineError::invalid(
            "source-query",
            "the query must be a SELECT with at least one column and without parameters",
        ));
    }
    // The line break ends a trailing comment.
    Ok(format!("({query}\n) AS src"))
}

async fn attributes(session: &Session, table: &Table) -> Result<Vec<Attribute>> {
    let sql = "SELECT attname::text, attnotnull FROM pg_attribute \
               WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped";
    let rows = session.client().query(sql, &[&table.oid]).await.map_err(|error| session.explain(&error, None))?;
    rows.iter().map(|row| Ok(Attribute { name: get(row, 0)?, not_null: get(row, 1)? })).collect()
}

/// The planner's rows and bytes. Uses current file sizes, so that it holds for tables that were never analyzed.
async fn estimate(session: &Session, statement: &str) -> Result<(u64, u64)> {
    let answer = session.client().simple_query(&format!("EXPLAIN (FORMAT JSON) {statement}")).await;
    let answer = answer.map_err(|error| session.explain(&error, None))?;
    let text = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    let plan: serde_json::Value = serde_json::from_str(text.unwrap_or_default()).unwrap_or_default();
    let number = |key: &str| plan.pointer(&format!("/0/Plan/{key}")).and_then(serde_json::Value::as_u64).unwrap_or(0);
    let rows = number("Plan Rows");
    Ok((rows, rows.saturating_mul(number("Plan Width").max(1))))
}
