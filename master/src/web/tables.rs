//! Pages of tables and of what they are made of. Edge.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::Response;
use lake_pages::{Asked, WantedLineage, WantedTable, WantedTables};

use super::pages::{Pairs, Relay, bad, drawn, masthead};
use crate::master::Master;

pub(super) async fn all(State(master): State<Arc<Master>>, relayed: Relay, Query(pairs): Pairs) -> Response {
    let masthead = masthead(&master, relayed);
    let wanted = match WantedTables::of(&Asked::new(pairs)) {
        Ok(wanted) => wanted,
        Err(why) => return bad(&masthead, &why),
    };
    let runs = master.steps().await;
    drawn(masthead, move |_| Ok(lake_pages::tables(&runs, &wanted))).await
}

pub(super) async fn one(
    State(master): State<Arc<Master>>,
    relayed: Relay,
    Path(name): Path<String>,
    Query(pairs): Pairs,
) -> Response {
    let masthead = masthead(&master, relayed);
    let wanted = match WantedTable::of(&Asked::new(pairs)) {
        Ok(wanted) => wanted,
        Err(why) => return bad(&masthead, &why),
    };
    let runs = master.steps().await;
    drawn(masthead, move |_| {
        lake_pages::table(&runs, &name, &wanted).ok_or_else(|| no_such_table(&name, wanted.location()))
    })
    .await
}

fn no_such_table(name: &str, location: &str) -> String {
    let place = if location.is_empty() { String::new() } else { format!(" at '{location}'") };
    format!("No step on record has written or read a table '{name}'{place}.")
}

pub(super) async fn lineage(State(master): State<Arc<Master>>, relayed: Relay, Query(pairs): Pairs) -> Response {
    let masthead = masthead(&master, relayed);
    let wanted = match WantedLineage::of(&Asked::new(pairs)) {
        Ok(wanted) => wanted,
        Err(why) => return bad(&masthead, &why),
    };
    let runs = master.steps().await;
    drawn(masthead, move |_| {
        let unknown = || format!("No step on record has written or read a table '{}'.", wanted.table());
        lake_pages::lineage(&runs, &wanted).ok_or_else(unknown)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_is_not_there_is_named_with_the_place_that_was_asked_for() {
        let sentence = "No step on record has written or read a table 'nope'";
        assert_eq!(no_such_table("nope", ""), format!("{sentence}."));
        assert_eq!(no_such_table("nope", "s3://lake/x"), format!("{sentence} at 's3://lake/x'."));
    }
}
