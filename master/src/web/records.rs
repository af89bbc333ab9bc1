//! Records as they are: the whole of one application, as its history file has it, and a list of all. JSON. Edge.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use lake_api::failure::unknown_application;
use lake_proto::{ErrorClass, Fault};
use lake_record::{ApplicationSummary, StepRecord};
use serde::{Deserialize, Serialize};

use super::api::{TOTAL, failed};
use crate::master::Master;
use crate::records::SummaryFilter;

/// Summaries of one answer.
const MOST: usize = 1_000;

#[derive(Deserialize)]
pub(super) struct Page {
    /// Spark's names of states, separated by commas, any case.
    status: Option<String>,
    /// In the name or an id.
    text: Option<String>,
    offset: Option<usize>,
    limit: Option<usize>,
}

#[derive(Serialize)]
pub(super) struct Records {
    /// The newest first: those not over, then those that have ended.
    applications: Vec<Entry>,
    /// How many there are, on all pages.
    count: usize,
    unreadable: Vec<Unreadable>,
}

#[derive(Serialize)]
struct Entry {
    #[serde(flatten)]
    summary: ApplicationSummary,
    /// None of one that has not begun, or ended long ago.
    steps: Vec<StepRecord>,
}

#[derive(Serialize)]
struct Unreadable {
    file: String,
    why: String,
}

pub(super) async fn list(State(master): State<Arc<Master>>, page: Result<Query<Page>, QueryRejection>) -> Response {
    let page = match page {
        Ok(Query(page)) => page,
        Err(refused) => return failed(&Fault::new(ErrorClass::InvalidJob, "parameter", refused.body_text())),
    };
    let states = page.status.iter().flat_map(|list| list.split(',')).map(|state| state.trim().to_ascii_uppercase());
    let filter = SummaryFilter { states: states.collect(), text: page.text.unwrap_or_default() };
    let limit = page.limit.unwrap_or(MOST).min(MOST);
    let (summaries, count) = master.summaries(&filter, page.offset.unwrap_or(0), limit).await;
    let steps = master.steps().await;
    let steps: BTreeMap<&str, &[StepRecord]> =
        steps.iter().map(|(summary, steps)| (summary.app_id.as_str(), steps.as_ref())).collect();
    let entry = |summary: ApplicationSummary| {
        let steps = steps.get(summary.app_id.as_str()).map(|steps| steps.to_vec()).unwrap_or_default();
        Entry { summary, steps }
    };
    let unreadable = master.unreadable().await.into_iter().map(|(file, why)| Unreadable { file, why }).collect();
    let records = Records { applications: summaries.into_iter().map(entry).collect(), count, unreadable };
    ([(TOTAL, count.to_string())], Json(records)).into_response()
}

pub(super) async fn one(State(master): State<Arc<Master>>, Path(id): Path<String>) -> Response {
    match master.record(&id).await {
        Some(record) => Json(record.as_ref()).into_response(),
        None => failed(&unknown_application(&id)),
    }
}
