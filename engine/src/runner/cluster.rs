//! Runs plans on the cluster: sends them to the leading master and collects what its tasks answer. Edge.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow_flight::Ticket;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use async_trait::async_trait;
use ballista_core::extension::SessionConfigHelperExt;
use datafusion::prelude::SessionConfig;
use futures::{StreamExt, TryStreamExt};
use lake_proto::channel::{MAX_MESSAGE_BYTES, connect};
use lake_proto::v1::query_event::Event;
use lake_proto::v1::{self, QueryEvent, ResultLocation, StageProgress, TaskResult};
use lake_proto::{ErrorClass, Fault, MASTER_SEARCH, codes};
use lake_telemetry::trace::{self, traced};
use tokio::sync::watch;
use tonic::{Code, Streaming};

use super::course::{Call, Course, MAX_RESUBMISSIONS, Outlook};
use super::{Query, QueryRunner, fresh_query_id};
use crate::codec;
use crate::driver::{Masters, Turn};
use crate::session::cluster_config;
use crate::stores::Stores;
use crate::{EngineError, Result};

const PARALLEL_FETCHES: usize = 4;

/// The cluster as a place where plans run, for one driver.
pub struct ClusterRunner {
    masters: Masters,
    driver: v1::DriverIdentity,
    cores: usize,
    stores: Arc<Stores>,
    policy: v1::TaskPolicy,
}

impl ClusterRunner {
    /// A runner for `driver`, which may use `cores` cores of the cluster.
    pub fn new(masters: Masters, driver: v1::DriverIdentity, cores: usize, stores: Arc<Stores>) -> Self {
        Self { masters, driver, cores: cores.max(1), stores, policy: v1::TaskPolicy::default() }
    }

    /// The same, with what its application has set about the attempts of its tasks.
    #[must_use]
    pub fn with_policy(self, policy: v1::TaskPolicy) -> Self {
        Self { policy, ..self }
    }

    /// What every call for the query says, but for its id.
    fn request(&self, query: &Query) -> Result<v1::RunQueryRequest> {
        let profiles =
            serde_json::to_vec(self.stores.profiles()).map_err(|error| EngineError::internal(error.to_string()))?;
        let settings = query.config.to_key_value_pairs();
        Ok(v1::RunQueryRequest {
            driver: Some(self.driver.clone()),
            query_id: String::new(),
            label: query.label.clone(),
            plan: codec::encode_plan(&query.plan, codec::codec().as_ref())?.into(),
            codec_version: codec::VERSION,
            settings: settings.into_iter().filter_map(setting).collect(),
            profiles: profiles.into(),
            estimated_scan_bytes: query.estimated_scan_bytes,
            task_policy: Some(self.policy),
            replaces: String::new(),
            traceparent: trace::current(),
        })
    }

    /// Sends the query to the leading master, or attaches it there.
    ///
    /// # Errors
    /// `unavailable` when no master took it; any other class is about the query.
    async fn call(&self, mut request: v1::RunQueryRequest, call: Call) -> Result<(Streaming<QueryEvent>, Turn)> {
        let (channel, turn) = self.masters.reach().await?;
        let mut client = v1::drivers_client::DriversClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let answer = match call {
            Call::Submit { id, replaces } => {
                request.query_id = id.to_string();
                request.replaces = replaces.map(|id| id.to_string()).unwrap_or_default();
                client.run_query(traced(request)).await
            }
            Call::Attach { id, accepted, attachment, spent } => {
                request.query_id = id.to_string();
                let (query, accepted) = (Some(request), Some(accepted));
                client.attach_query(traced(v1::AttachQueryRequest { query, accepted, attachment, spent })).await
            }
        };
        let status = match answer {
            Ok(answer) => return Ok((answer.into_inner(), turn)),
            Err(status) => status,
        };
        // A master of an earlier release leads.
        if status.code() == Code::Unimplemented {
            let message = "this master attaches no queries";
            return Err(EngineError::new(ErrorClass::Conflict, codes::QUERY_CHANGED, message));
        }
        let fault = Fault::from(status.clone());
        if fault.class == ErrorClass::Unavailable {
            self.masters.redirect(turn, &status).await;
        }
        Err(fault.into())
    }
}

/// Follows a query to its end. The inner result is the query's own, as its master told it.
///
/// # Errors
/// The master, or the way to it, was lost before it told an end: `unavailable`.
async fn follow(
    mut events: Streaming<QueryEvent>,
    course: &mut Course,
    progress: &watch::Sender<Vec<StageProgress>>,
) -> Result<Result<Vec<RecordBatch>>> {
    let mut results = BTreeMap::new();
    while let Some(event) = events.message().await.map_err(Fault::from)? {
        match event.event {
            Some(Event::Accepted(accepted)) => course.taken(accepted),
            Some(Event::Progress(v1::QueryProgress { stages, spent })) => {
                course.told(spent);
                progress.send_replace(stages);
            }
            Some(Event::Result(result)) => {
                let task = result.task_index;
                if results.insert(task, result).is_some() {
                    return Ok(Err(EngineError::internal(format!(
                        "task {task} of query {} answered twice",
                        course.id()
                    ))));
                }
            }
            Some(Event::Finished(finished)) => {
                return match finished.failure.map(Fault::from) {
                    None => Ok(collect(finished.tasks, results).await),
                    Some(fault) if fault.code == codes::SCHEDULER_STOPPED => Err(fault.into()),
                    Some(fault) => Ok(Err(fault.into())),
                };
            }
            None => {}
        }
    }
    Err(EngineError::unavailable("master-lost", "the master closed the query's stream before it ended"))
}

/// The rows of all tasks, in the order of the tasks.
async fn collect(tasks: u32, results: BTreeMap<u32, TaskResult>) -> Result<Vec<RecordBatch>> {
    if results.keys().copied().ne(0..tasks) {
        let found = results.len();
        return Err(EngineError::internal(format!("{tasks} tasks were planned but {found} answered")));
    }
    let outputs: Vec<Vec<RecordBatch>> =
        futures::stream::iter(results.into_values().map(rows)).buffered(PARALLEL_FETCHES).try_collect().await?;
    Ok(outputs.into_iter().flatten().collect())
}

#[async_trait]
impl QueryRunner for ClusterRunner {
    fn cores(&self) -> usize {
        self.cores
    }

    fn session_config(&self) -> SessionConfig {
        cluster_config(self.cores)
    }

    async fn run(&self, query: Query, progress: watch::Sender<Vec<StageProgress>>) -> Result<Vec<RecordBatch>> {
        let request = self.request(&query)?;
        let mut course = Course::new(query.id.clone());
        let mut give_up = Instant::now() + MASTER_SEARCH;
        loop {
            let call = course.next_call();
            let (lost, outlook) = match self.call(request.clone(), call.clone()).await {
                Ok((events, turn)) => match follow(events, &mut course, &progress).await {
                    Ok(outcome) => return outcome,
                    Err(lost) if lost.class() != ErrorClass::Unavailable => return Err(lost),
                    Err(lost) => {
                        // A master had it, however long ago it took it: the search begins anew.
                        give_up = Instant::now() + MASTER_SEARCH;
                        self.masters.forget(turn).await;
                        (lost, course.lost(fresh_query_id()?))
                    }
                },
                Err(refusal) if is_refused(&call, &refusal) => (refusal, course.refused(fresh_query_id()?)),
                Err(lost) if lost.class() != ErrorClass::Unavailable || Instant::now() >= give_up => return Err(lost),
                Err(lost) => (lost, course.unanswered(fresh_query_id()?)),
            };
            let Outlook::Again(pause) = outlook else { return Err(hopeless(&query.label, &lost)) };
            let code = lost.code();
            tracing::warn!(query_id = %course.id(), error.code = code, "a master is looked for to run the query: {lost}");
            tokio::time::sleep(pause).await;
        }
    }
}

/// Whether the leading master says that the query cannot be attached there.
fn is_refused(call: &Call, refusal: &EngineError) -> bool {
    matches!(call, Call::Attach { .. }) && [codes::QUERY_CHANGED, codes::QUERY_OVER].contains(&refusal.code())
}

fn hopeless(label: &str, last: &EngineError) -> EngineError {
    let message = format!(
        "the query of {label} was begun anew {MAX_RESUBMISSIONS} times because the master that ran it was lost, and was \
         lost again ({last}): look into the logs of the masters, then run the job again"
    );
    EngineError::unavailable("query-lost", message)
}

fn setting(pair: ballista_core::serde::protobuf::KeyValuePair) -> Option<v1::Setting> {
    Some(v1::Setting { key: pair.key, value: pair.value? })
}

async fn rows(result: TaskResult) -> Result<Vec<RecordBatch>> {
    if let Some(location) = result.location {
        return fetch(location).await;
    }
    if result.inline_ipc.is_empty() {
        return Ok(Vec::new());
    }
    let mut batches = Vec::new();
    for batch in StreamReader::try_new(result.inline_ipc.as_ref(), None)? {
        batches.push(batch?);
    }
    Ok(batches)
}

async fn fetch(location: ResultLocation) -> Result<Vec<RecordBatch>> {
    let address = format!("{}:{}", location.host, location.flight_port);
    let mut client = FlightServiceClient::new(connect(&address).await?)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let answer = client.do_get(Ticket { ticket: location.ticket }).await.map_err(Fault::from)?;
    let data = answer.into_inner().map_err(|status| FlightError::Tonic(Box::new(status)));
    let stream = FlightRecordBatchStream::new_from_flight_data(data.boxed());
    stream.try_collect().await.map_err(|error| {
        EngineError::unavailable("result-fetch", format!("rows of a task could not be fetched from {address}: {error}"))
    })
}
