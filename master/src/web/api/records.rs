//! Records as they are: the whole of one application, as its history file has it, and a list of all. Edge.

use lake_api::parameter::OFFSET;
use lake_api::record::{self, Recorded, Records};
use lake_proto::Fault;

use super::applications;
use super::endpoint::{Answer, Call, Endpoint, computed};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            "/records",
            "Summaries and steps of applications as their records have them, and history files that cannot be read.",
            &[record::STATUS, record::TEXT, record::LIMIT, OFFSET],
            list,
        ),
        Endpoint::get("/records/{app_id}", "The record of one application, as its history file has it.", &[], one),
    ]
}

async fn list(call: Call) -> Result<Answer<Records>, Fault> {
    let (filter, page) = record::wanted(&call.query)?;
    let (summaries, total) = call.master.summaries(&filter, page.offset, page.limit).await;
    let steps = call.master.steps().await;
    let unreadable = call.master.unreadable().await;
    computed(move || Ok(Answer::of(Records::new(summaries, total, &steps, unreadable), total))).await
}

async fn one(call: Call) -> Result<Answer<Recorded>, Fault> {
    Ok(Answer::new(Recorded(applications::record(&call).await?)))
}
