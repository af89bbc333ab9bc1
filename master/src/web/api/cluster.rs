//! Masters, workers, drivers. Edge.

use lake_api::Part;
use lake_api::cluster::{Driver, Master as Member, VersionInfo, Worker};
use lake_api::filter::{self, Filter};
use lake_api::parameter::{LIMIT, OFFSET};
use lake_master_core::view;
use lake_proto::Fault;

use super::applications::summaries;
use super::endpoint::{Answer, Call, Endpoint};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            "/version",
            "The release and the role of the master that answers, which relays nothing here.",
            &[],
            version,
        ),
        Endpoint::get("/masters", "Masters of the group.", &[LIMIT, OFFSET], masters),
        Endpoint::get("/workers", "Workers: those that are here, then those that are gone.", &[LIMIT, OFFSET], workers),
        Endpoint::get(
            "/drivers",
            "Drivers, the newest first.",
            &[filter::STATUS, filter::SEARCH, LIMIT, OFFSET],
            drivers,
        ),
    ]
}

async fn version(call: Call) -> Result<Answer<VersionInfo>, Fault> {
    let status = call.master.raft.status();
    let version = env!("CARGO_PKG_VERSION");
    Ok(Answer::new(VersionInfo::new(version, call.master.id, status.role.name(), status.term, status.applied)))
}

async fn masters(call: Call) -> Result<Answer<Vec<Member>>, Fault> {
    let page = call.query.page()?;
    let group = call.master.raft.group().await?;
    let members = group.members.into_iter().map(|found| Member {
        id: found.member.id,
        role: found.role(group.leader),
        address: found.member.address,
        matched: found.matched,
        is_active: found.is_active,
    });
    Ok(Part::of(members, page).into())
}

async fn workers(call: Call) -> Result<Answer<Vec<Worker>>, Fault> {
    let page = call.query.page()?;
    let (live, _) = call.master.live().await;
    let workers = call.master.raft.read(|state| view::workers(state, &live));
    Ok(Part::of(workers, page).map(Worker::from).into())
}

async fn drivers(call: Call) -> Result<Answer<Vec<Driver>>, Fault> {
    let (filter, page) = (Filter::of(&call.query)?, call.query.page()?);
    let part = summaries(&call.master, &filter, page).await;
    Ok(part.map(|summary| Driver::from(&summary)).into())
}
