//! Tables that applications wrote or read, and what is made of what. Edge.

use lake_api::lineage::{self, Lineage};
use lake_api::parameter::{LIMIT, OFFSET};
use lake_api::table::{self, Table, TableDetail};
use lake_proto::Fault;

use super::endpoint::{Answer, Call, Endpoint, computed};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            "/tables",
            "Delta tables that known applications wrote or read, by name.",
            &[table::SEARCH, LIMIT, OFFSET],
            list,
        ),
        Endpoint::get(
            "/tables/{name}",
            "One table; limit and offset are of its versions.",
            &[table::LOCATION, LIMIT, OFFSET],
            one,
        ),
        Endpoint::get(
            "/lineage",
            "Which tables are made of which; limit and offset are of the edges.",
            &[lineage::TABLE, LIMIT, OFFSET],
            graph,
        ),
    ]
}

async fn list(call: Call) -> Result<Answer<Vec<Table>>, Fault> {
    let runs = call.master.steps().await;
    computed(move || Ok(table::list(&runs, &call.query)?.into())).await
}

async fn one(call: Call) -> Result<Answer<TableDetail>, Fault> {
    let runs = call.master.steps().await;
    computed(move || Ok(Answer::new(table::find(&runs, call.part("name"), &call.query)?))).await
}

async fn graph(call: Call) -> Result<Answer<Lineage>, Fault> {
    let runs = call.master.steps().await;
    computed(move || {
        let (graph, edges) = lineage::of(&runs, &call.query)?;
        Ok(Answer::of(graph, edges))
    })
    .await
}
