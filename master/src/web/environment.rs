//! What the daemons run with: this master knows its own settings and those that its workers told when they registered, and
//! asks the other masters for theirs. Edge.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use futures::future::join_all;
use lake_pages::{Daemon, Setting};
use lake_raft::Member;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::pages::{Relay, drawn, masthead};
use super::relay;
use crate::master::Master;

/// Where every master tells what it runs with itself.
pub(super) const OWN: &str = "/environment/own";
const PATIENCE: Duration = Duration::from_secs(2);

/// What one master runs with, as others are told.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Told {
    version: String,
    settings: Vec<ToldSetting>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ToldSetting {
    key: String,
    value: String,
    origin: String,
}

pub(super) async fn page(State(master): State<Arc<Master>>, relayed: Relay) -> Response {
    let masthead = masthead(&master, relayed);
    let members: Vec<Member> = master.raft.members().iter().filter(|member| member.id != master.id).cloned().collect();
    let others = join_all(members.iter().map(asked)).await;
    let mut daemons = vec![Daemon {
        name: format!("master {}", master.id),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        settings: master.settings.clone(),
    }];
    for (member, told) in members.iter().zip(others) {
        daemons.push(of_master(member, told));
    }
    for (worker, version, settings) in master.reign().fleet.environments() {
        let settings = settings.into_iter().map(Setting::from).collect();
        daemons.push(Daemon { name: worker.to_string(), version, settings });
    }
    drawn(masthead, move |_| Ok(lake_pages::environment(&daemons))).await
}

pub(super) async fn own(State(master): State<Arc<Master>>) -> Json<Told> {
    let told = |setting: &Setting| ToldSetting {
        key: setting.key.clone(),
        value: lake_pages::shown_value(&setting.key, &setting.value),
        origin: setting.origin.clone(),
    };
    Json(Told { version: env!("CARGO_PKG_VERSION").to_owned(), settings: master.settings.iter().map(told).collect() })
}

/// What another master says, if it does.
async fn asked(member: &Member) -> Option<Told> {
    let answer = timeout(PATIENCE, relay::fetch(&member.address, OWN.to_owned(), 0)).await.ok()?.ok()?;
    serde_json::from_slice(&answer.body).ok()
}

fn of_master(member: &Member, told: Option<Told>) -> Daemon {
    let Told { version, settings } = told.unwrap_or_else(|| Told { version: String::new(), settings: Vec::new() });
    let setting = |told: ToldSetting| Setting { key: told.key, value: told.value, origin: told.origin };
    Daemon {
        name: format!("master {} at {}", member.id, member.address),
        version,
        settings: settings.into_iter().map(setting).collect(),
    }
}
