//! Applications: lists, details, steps, environment, logs, kills. Edge.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;
use lake_api::Part;
use lake_api::application::{Application, Detail, Killed, QueryPicture};
use lake_api::environment::{self, ApplicationEnvironmentInfo};
use lake_api::failure::unknown_application;
use lake_api::filter::{self, Filter};
use lake_api::logs::{self, Log, STREAMS, Source, Tail};
use lake_api::parameter::{LIMIT, OFFSET, Page};
use lake_api::step::{RecordedStep, StepDetail};
use lake_master_core::view;
use lake_proto::channel::{MAX_MESSAGE_BYTES, connect};
use lake_proto::v1::worker_logs_client::WorkerLogsClient;
use lake_proto::{AppId, ErrorClass, Fault, v1};
use lake_record::{ApplicationRecord, ApplicationSummary};
use tokio::time::timeout;

use super::LOGS_PATIENCE;
use super::endpoint::{Answer, Call, Download, Endpoint, computed};
use crate::clock::now_ms;
use crate::master::Master;
use crate::records::SummaryFilter;
use crate::web::kill::kill;

/// Applications that are looked at before others get their turn, where dates have to be looked at.
const LOOKED_AT: usize = 1_000;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            "/applications",
            "Applications: those that have not ended, then those that have, the newest first.",
            &[
                filter::STATUS,
                filter::SEARCH,
                filter::MIN_DATE,
                filter::MAX_DATE,
                filter::MIN_END_DATE,
                filter::MAX_END_DATE,
                LIMIT,
                OFFSET,
            ],
            list,
        ),
        Endpoint::get(
            "/applications/{app_id}",
            "One application, by its id or that of its driver or submission.",
            &[],
            one,
        ),
        Endpoint::post(
            "/applications/{app_id}/kill",
            "Ends an application. From a page, the header X-Lake-Csrf has the token of its form.",
            end,
        ),
        Endpoint::get("/applications/{app_id}/steps", "Its steps, in the order of the job.", &[LIMIT, OFFSET], steps),
        Endpoint::get("/applications/{app_id}/environment", "What it was started with.", &[], environment),
        Endpoint::download(
            "/applications/{app_id}/logs",
            "What it was, and the last 8 MiB of each stream of its drivers.",
            "application/zip",
            logs,
        ),
    ]
}

/// The record of the application that the path names.
pub(super) async fn record(call: &Call) -> Result<Arc<ApplicationRecord>, Fault> {
    let id = call.part("app_id");
    call.master.record(id).await.ok_or_else(|| unknown_application(id))
}

/// A part of the applications that `filter` wants.
pub(super) async fn summaries(master: &Master, filter: &Filter, page: Page) -> Part<ApplicationSummary> {
    let wanted = SummaryFilter { states: filter.states.clone(), text: filter.text.clone() };
    if !filter.has_dates() {
        let (items, total) = master.summaries(&wanted, page.offset, page.limit).await;
        return Part { items, total };
    }
    let mut admitted = Vec::new();
    let mut offset = 0;
    loop {
        let (some, total) = master.summaries(&wanted, offset, LOOKED_AT).await;
        let is_last = some.len() < LOOKED_AT || offset + some.len() >= total;
        offset += some.len();
        admitted.extend(some.into_iter().filter(|summary| filter.admits(summary)));
        if is_last {
            return Part::of(admitted, page);
        }
    }
}

async fn list(call: Call) -> Result<Answer<Vec<Application>>, Fault> {
    let (filter, page) = (Filter::of(&call.query)?, call.query.page()?);
    let part = summaries(&call.master, &filter, page).await;
    let mut steps = recorded_steps(&call.master, &part.items).await;
    let now_ms = now_ms();
    let applications = part.map(|summary| {
        let steps = steps.remove(&summary.app_id).unwrap_or_default();
        Application::of_summary(&summary, steps, now_ms)
    });
    Ok(applications.into())
}

/// What the steps of these applications left behind: as the masters keep it, or as it was told when they ended.
async fn recorded_steps(master: &Master, summaries: &[ApplicationSummary]) -> BTreeMap<String, Vec<RecordedStep>> {
    let mut steps: BTreeMap<String, Vec<RecordedStep>> = BTreeMap::new();
    for summary in summaries {
        if let Some(kept) = kept_steps(master, &summary.app_id) {
            steps.insert(summary.app_id.clone(), kept);
        }
    }
    if steps.len() < summaries.len() {
        for (summary, told) in master.steps().await {
            steps.entry(summary.app_id.clone()).or_insert_with(|| RecordedStep::of_records(&told));
        }
    }
    steps
}

fn kept_steps(master: &Master, app_id: &str) -> Option<Vec<RecordedStep>> {
    master.raft.read(|state| Some(state.find(app_id)?.steps.values().map(RecordedStep::from).collect()))
}

async fn one(call: Call) -> Result<Answer<Detail>, Fault> {
    let record = record(&call).await?;
    let kept = kept_steps(&call.master, &record.summary.app_id);
    let (mut progress, mut pictures) = (Vec::new(), Vec::new());
    if let Ok(app) = record.summary.app_id.parse::<AppId>() {
        progress = call.master.reign().progress.since(&app, 0).1;
        let (_, mut queries) = call.master.live().await;
        for query in queries.remove(&app).unwrap_or_default() {
            pictures.push(QueryPicture::new(query.query.to_string(), query.label, query.stages));
        }
    }
    Ok(Answer::new(Detail::new(&record, kept, progress, pictures, now_ms())))
}

async fn end(call: Call) -> Result<Answer<Killed>, Fault> {
    kill(&call.master, call.part("app_id"), &call.headers, None).await.map(Answer::new)
}

async fn steps(call: Call) -> Result<Answer<Vec<StepDetail>>, Fault> {
    let (page, record, now_ms) = (call.query.page()?, record(&call).await?, now_ms());
    Ok(Part::of(&record.steps, page).map(|step| StepDetail::new(step, now_ms)).into())
}

async fn environment(call: Call) -> Result<Answer<ApplicationEnvironmentInfo>, Fault> {
    let record = record(&call).await?;
    computed(move || Ok(Answer::new(environment::of(&record, env!("CARGO_PKG_VERSION"))))).await
}

async fn logs(call: Call) -> Result<Download, Fault> {
    let record = record(&call).await?;
    let workers = call.master.raft.read(|state| view::workers(state, &view::Live::new()));
    let mut reads = Vec::new();
    for source in logs::sources(&record, &workers) {
        for stream in STREAMS {
            reads.push(read_log(source.clone(), record.summary.driver_id.clone(), stream));
        }
    }
    let logs = join_all(reads).await;
    let name = format!("{}.zip", record.summary.app_id);
    computed(move || Ok(Download { name, content: logs::archive(&record, logs) })).await
}

async fn read_log(source: Source, driver_id: String, stream: &'static str) -> Log {
    let Source { worker_id, address } = source;
    let content = match address {
        Ok(address) => match timeout(LOGS_PATIENCE, read_stream(&address, driver_id, stream)).await {
            Ok(read) => read,
            Err(_) => {
                let message = format!("{worker_id} did not send it within {} s", LOGS_PATIENCE.as_secs());
                Err(Fault::new(ErrorClass::Unavailable, "no-log", message))
            }
        },
        Err(fault) => Err(fault),
    };
    Log { worker_id, stream, content }
}

async fn read_stream(address: &str, driver_id: String, stream: &str) -> Result<Tail, Fault> {
    let channel = connect(address).await?;
    let mut client = WorkerLogsClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let request = v1::ReadLogRequest { driver_id, stream: stream.to_owned(), offset: 0, follow: false, tail_bytes: 0 };
    let mut chunks = client.read_log(request).await?.into_inner();
    let mut tail = Tail::default();
    while let Some(chunk) = chunks.message().await? {
        tail.push(&chunk.data);
        tail.written_at(chunk.modified_ms);
    }
    Ok(tail)
}
