//! Where a key is cut: from the server's statistics, a sample, or its ends. Edge.
//!
//! Every way asks the server for cuts in the key's own order, collation included.

use tokio_postgres::Row;

use super::connect::Session;
use super::describe::{self, Described, Table, get};
use super::ranges::{Key, KeyKind, Piece, page_pieces, weighted_cuts};
use super::sql;
use crate::Result;

/// Pages that a sample reads.
const SAMPLE_PAGES: u64 = 1_000;
/// The first version that reads a range of row addresses without reading the whole table.
const CTID_RANGE_VERSION: u32 = 14;

/// Pieces by ranges of `key`.
///
/// # Errors
/// The server's class.
pub(super) async fn key_pieces(
    session: &Session,
    relation: &Described,
    key: &Key,
    partitions: u32,
) -> Result<Vec<Piece>> {
    if partitions <= 1 {
        return Ok(key.pieces(Vec::new()));
    }
    let mut cuts = Vec::new();
    if let Some(table) = &relation.table {
        // Statistics of a table that has grown since describe its old part.
        if table.analyzed_pages > 0 && table.pages <= table.analyzed_pages + table.analyzed_pages / 4 {
            cuts = from_statistics(session, table, key, partitions).await?;
        }
        if cuts.is_empty() {
            cuts = from_sample(session, relation, table, key, partitions).await?;
        }
    }
    if cuts.is_empty() {
        cuts = match key.kind {
            KeyKind::Ordinal => percentiles(session, &relation.from, key, partitions).await?,
            _ => from_ends(session, &relation.from, key, partitions).await?,
        };
    }
    if !are_in_order(session, &relation.from, key, &cuts).await? {
        tracing::warn!(key = key.column, "cuts are not in the order of the key: read as one piece");
        cuts.clear();
    }
    Ok(key.pieces(cuts))
}

/// Pieces by pages of a table; one piece where row addresses are no help.
pub(super) fn pages(session: &Session, relation: &Described, partitions: u32) -> Vec<Piece> {
    match &relation.table {
        Some(table) if table.is_heap && session.server_version >= CTID_RANGE_VERSION => {
            page_pieces(table.pages, partitions)
        }
        _ => vec![Piece { condition: None }],
    }
}

/// Cuts from the histogram and the most common values, weighted by their frequencies.
async fn from_statistics(session: &Session, table: &Table, key: &Key, partitions: u32) -> Result<Vec<String>> {
    let collate = match describe::collation(session, table, &key.column).await? {
        Some(collation) => format!(" COLLATE {collation}"),
        None => String::new(),
    };
    let kind = &key.sql_type;
    let statement = format!(
        "WITH s AS ( \
           SELECT s.histogram_bounds::text::{kind}[] AS bounds, s.most_common_vals::text::{kind}[] AS common, \
                  s.most_common_freqs AS frequencies, s.null_frac \
           FROM pg_stats s JOIN pg_class c ON c.relname = s.tablename \
             JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = s.schemaname \
           WHERE c.oid = $1 AND s.attname = $2 AND s.inherited = $3 \
         ), v AS ( \
           SELECT unnest(bounds) AS value, greatest(1 - null_frac \
             - coalesce((SELECT sum(f) FROM unnest(frequencies) f), 0), 0)::float8 / cardinality(bounds) AS weight \
           FROM s UNION ALL SELECT unnest(common), unnest(frequencies)::float8 FROM s \
         ) SELECT v.value::text AS cut, v.weight FROM v ORDER BY v.value{collate}"
    );
    let rows = session.client().query(&statement, &[&table.oid, &key.column, &table.has_children]).await;
    let rows = rows.map_err(|error| session.explain(&error, None))?;
    let values: Vec<(String, f64)> = rows.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?))).collect::<Result<_>>()?;
    Ok(weighted_cuts(&values, partitions))
}

/// Quantiles of the rows of some pages.
async fn from_sample(
    session: &Session,
    relation: &Described,
    table: &Table,
    key: &Key,
    partitions: u32,
) -> Result<Vec<String>> {
    if !table.is_heap {
        return Ok(Vec::new());
    }
    let sample = if table.pages <= SAMPLE_PAGES {
        String::new()
    } else {
        // In millionths of a per cent, so that it is a plain number.
        let share = SAMPLE_PAGES.saturating_mul(100_000_000) / table.pages;
        format!(" TABLESAMPLE SYSTEM ({}.{:06}) REPEATABLE (1)", share / 1_000_000, share % 1_000_000)
    };
    percentiles(session, &format!("{}{sample}", relation.from), key, partitions).await
}

/// Exact quantiles of what `from` gives.
async fn percentiles(session: &Session, from: &str, key: &Key, partitions: u32) -> Result<Vec<String>> {
    let fractions: Vec<String> =
        (1..partitions).map(|cut| format!("{}", f64::from(cut) / f64::from(partitions))).collect();
    let expression = &key.expression;
    let statement = format!(
        "SELECT q.value::text FROM (SELECT percentile_disc({}::float8[]) WITHIN GROUP (ORDER BY {expression}) AS cuts \
         FROM {from} WHERE {expression} IS NOT NULL) p, unnest(p.cuts) WITH ORDINALITY AS q(value, place) \
         WHERE q.value IS NOT NULL ORDER BY q.place",
        sql::literal(&format!("{{{}}}", fractions.join(",")))
    );
    texts(session, &statement).await
}

/// Ranges of equal width between the smallest and the largest value.
async fn from_ends(session: &Session, from: &str, key: &Key, partitions: u32) -> Result<Vec<String>> {
    let (cut, filter) = match key.kind {
        KeyKind::Integer => ("trunc(low::numeric + (high::numeric - low::numeric) * cut / parts)", ""),
        KeyKind::Numeric | KeyKind::Ordinal => ("low + (high - low) * cut / parts", ""),
        KeyKind::Date => ("low + ((high - low)::bigint * cut / parts)::integer", " WHERE isfinite({key})"),
        KeyKind::Timestamp => ("low + (high - low) * (cut::float8 / parts)", " WHERE isfinite({key})"),
    };
    let key = &key.expression;
    let filter = filter.replace("{key}", key);
    let statement = format!(
        "SELECT ({cut})::text FROM (SELECT min({key}) AS low, max({key}) AS high FROM {from}{filter}) ends, \
         generate_series(1, {partitions} - 1) AS cut, (SELECT {partitions} AS parts) p \
         WHERE low IS NOT NULL ORDER BY cut"
    );
    texts(session, &statement).await
}

/// Whether the server orders the cuts as they are listed, by the comparison that the ranges will use. Everything
/// stands on it: ranges between cuts in another order overlap, and their rows would be read twice.
async fn are_in_order(session: &Session, from: &str, key: &Key, cuts: &[String]) -> Result<bool> {
    let literals: Vec<String> = cuts.iter().map(|cut| sql::literal(cut)).collect();
    // The empty half of the union gives the values the key's type and collation.
    let statement = format!(
        "SELECT coalesce(bool_and(o.before <= o.value), true) FROM ( \
           SELECT u.value, lag(u.value) OVER (ORDER BY u.place) AS before FROM ( \
             SELECT {} AS value, 0::bigint AS place FROM {from} WHERE false UNION ALL \
             SELECT c.value::{}, c.place FROM unnest(ARRAY[{}]::text[]) WITH ORDINALITY AS c(value, place) \
           ) u \
         ) o",
        key.expression,
        key.sql_type,
        literals.join(", ")
    );
    let row = session.client().query_one(&statement, &[]).await.map_err(|error| session.explain(&error, None))?;
    get(&row, 0)
}

async fn texts(session: &Session, statement: &str) -> Result<Vec<String>> {
    let rows = session.client().query(statement, &[]).await.map_err(|error| session.explain(&error, None))?;
    rows.iter().map(|row: &Row| get(row, 0)).collect()
}
