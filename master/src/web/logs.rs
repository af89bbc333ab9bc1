//! What drivers printed, from their workers: as a page, and as text. Edge. Ids and names of streams come in, never paths.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures::TryStreamExt;
use lake_http::status_of;
use lake_pages::{Asked, TAIL_BYTES, Tail};
use lake_proto::{ErrorClass, Fault, v1};
use lake_record::ApplicationSummary;
use tokio::time::timeout;
use tonic::Streaming;

use super::pages::{Pairs, Relay, bad, drawn, masthead, unknown_application};
use crate::master::Master;
use crate::worker_logs;

/// A worker that does not answer for longer is not waited for.
const PATIENCE: Duration = Duration::from_secs(3);
/// Bytes of one answer to who follows a log.
const MOST_BYTES: usize = 1 << 20;
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Where in a log to begin.
#[derive(Clone, Copy)]
enum Begin {
    At(u64),
    /// So many bytes before the end.
    BeforeEnd(u64),
}

pub(super) async fn page(
    State(master): State<Arc<Master>>,
    relayed: Relay,
    Path(id): Path<String>,
    Query(pairs): Pairs,
) -> Response {
    let masthead = masthead(&master, relayed);
    let stream = match lake_pages::stream_of(&Asked::new(pairs)) {
        Ok(stream) => stream,
        Err(why) => return bad(&masthead, &why),
    };
    let Some(record) = master.record(&id).await else { return unknown_application(&masthead, &id) };
    let tail = tail(&record.summary, stream).await;
    drawn(masthead, move |_| {
        Ok(lake_pages::logs(&lake_pages::Logs { summary: &record.summary, stream, tail: tail.as_ref() }))
    })
    .await
}

/// A part of a log from `offset` on, or with `download` all of it.
pub(super) async fn text(
    State(master): State<Arc<Master>>,
    relayed: Relay,
    Path(id): Path<String>,
    Query(pairs): Pairs,
) -> Response {
    let masthead = masthead(&master, relayed);
    let asked = Asked::new(pairs);
    let (stream, offset) = match (lake_pages::stream_of(&asked), lake_pages::offset_of(&asked)) {
        (Ok(stream), Ok(offset)) => (stream, offset),
        (Err(why), _) | (_, Err(why)) => return bad(&masthead, &why),
    };
    let Some(record) = master.record(&id).await else { return unknown_application(&masthead, &id) };
    let summary = &record.summary;
    let answer = match asked.has("download") {
        true => open(summary, stream, Begin::At(0)).await.map(|chunks| download(summary, stream, chunks)),
        false => part(summary, stream, offset).await.map(IntoResponse::into_response),
    };
    let mut response = answer.unwrap_or_else(|fault| (status_of(fault.class), format!("{fault}\n")).into_response());
    response.headers_mut().insert(header::CONTENT_TYPE, TEXT);
    response
}

/// The whole log as a file, passed on as it comes.
fn download(summary: &ApplicationSummary, stream: &str, chunks: Streaming<v1::LogChunk>) -> Response {
    let mut response = Body::from_stream(chunks.map_ok(|chunk| chunk.data)).into_response();
    let name = format!("attachment; filename=\"{}.{stream}.log\"", summary.driver_id);
    if let Ok(name) = HeaderValue::from_str(&name) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    }
    response
}

/// The end of a log.
async fn tail(summary: &ApplicationSummary, stream: &str) -> Result<Tail, Fault> {
    let mut chunks = open(summary, stream, Begin::BeforeEnd(TAIL_BYTES)).await?;
    let mut bytes = Vec::new();
    let mut begins = None;
    while let Some(chunk) = next(&mut chunks).await? {
        begins.get_or_insert(chunk.offset);
        bytes.extend_from_slice(&chunk.data);
        // It grows while it is read; the script goes on from there.
        if bytes.len() >= MOST_BYTES {
            break;
        }
    }
    let offset = begins.unwrap_or(0);
    let end = offset.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    Ok(Tail { content: String::from_utf8_lossy(&bytes).into_owned(), offset, end })
}

async fn part(summary: &ApplicationSummary, stream: &str, offset: u64) -> Result<Vec<u8>, Fault> {
    let mut chunks = open(summary, stream, Begin::At(offset)).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = next(&mut chunks).await? {
        bytes.extend_from_slice(&chunk.data);
        if bytes.len() >= MOST_BYTES {
            break;
        }
    }
    Ok(bytes)
}

async fn next(chunks: &mut Streaming<v1::LogChunk>) -> Result<Option<v1::LogChunk>, Fault> {
    match timeout(PATIENCE, chunks.message()).await {
        Ok(chunk) => Ok(chunk?),
        Err(_) => Err(silent("it did not go on")),
    }
}

/// Begins to read a log where the last attempt of the driver ran.
async fn open(summary: &ApplicationSummary, stream: &str, begin: Begin) -> Result<Streaming<v1::LogChunk>, Fault> {
    if summary.worker_address.is_empty() {
        let why = match (summary.deploy_mode.as_str(), summary.is_over()) {
            ("client", _) => "it runs in its client's process, which has its output",
            (_, true) => "the worker it ran on is not known any more",
            (_, false) => "no worker has it yet",
        };
        let message = format!("{} has no log here: {why}", summary.driver_id);
        return Err(Fault::new(ErrorClass::NotFound, "no-log", message));
    }
    let gone = |fault: Fault| match summary.is_over() {
        // A log goes with its worker.
        true => {
            let message =
                format!("the log of {} is gone: its worker does not answer any more: {fault}", summary.driver_id);
            Fault::new(ErrorClass::NotFound, "no-log", message)
        }
        false => fault.within("the driver's worker"),
    };
    let (offset, tail_bytes) = match begin {
        Begin::At(offset) => (offset, 0),
        Begin::BeforeEnd(bytes) => (0, bytes),
    };
    let request = v1::ReadLogRequest {
        driver_id: summary.driver_id.clone(),
        stream: stream.to_owned(),
        offset,
        follow: false,
        tail_bytes,
    };
    let answer = async {
        let mut client = worker_logs::client(&summary.worker_address).await.map_err(gone)?;
        Ok(client.read_log(request).await?.into_inner())
    };
    timeout(PATIENCE, answer).await.unwrap_or_else(|_| Err(silent("it does not answer")))
}

fn silent(what: &str) -> Fault {
    let message = format!("the driver's worker sends no log: {what} within {} s", PATIENCE.as_secs());
    Fault::new(ErrorClass::Unavailable, "no-log", message)
}
