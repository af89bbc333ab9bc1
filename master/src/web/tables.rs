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
        lake_pages::table(&runs, &name, &wanted)
            .ok_or_else(|| format!("No step on record has written or read a table '{name}' there."))
    })
    .await
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
