//! Runs plans on the cluster: sends them to the leading master and collects what its tasks answer. Edge.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

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
use lake_proto::v1::{self, ResultLocation, StageProgress, TaskResult};
use lake_proto::{ErrorClass, Fault, QueryId};
use tokio::sync::watch;

use super::{Query, QueryRunner};
use crate::codec;
use crate::driver::Masters;
use crate::session::cluster_config;
use crate::stores::Stores;
use crate::{EngineError, Result};

/// How long a query is sent again when the master went away, before it counts as lost.
const RESUBMIT_FOR: Duration = Duration::from_secs(60);
const RESUBMIT_PAUSE: Duration = Duration::from_millis(500);
const PARALLEL_FETCHES: usize = 4;

/// The cluster as a place where plans run, for one driver.
pub struct ClusterRunner {
    masters: Masters,
    driver: v1::DriverIdentity,
    cores: usize,
    stores: Arc<Stores>,
}

impl ClusterRunner {
    /// A runner for `driver`, which may use `cores` cores of the cluster.
    pub fn new(masters: Masters, driver: v1::DriverIdentity, cores: usize, stores: Arc<Stores>) -> Self {
        Self { masters, driver, cores: cores.max(1), stores }
    }

    async fn run_once(
        &self,
        query: &Query,
        id: QueryId,
        progress: &watch::Sender<Vec<StageProgress>>,
    ) -> Result<Vec<RecordBatch>> {
        let profiles =
            serde_json::to_vec(self.stores.profiles()).map_err(|error| EngineError::internal(error.to_string()))?;
        let settings = query.config.to_key_value_pairs();
        let request = v1::RunQueryRequest {
            driver: Some(self.driver.clone()),
            query_id: id.to_string(),
            label: query.label.clone(),
            plan: codec::encode_plan(&query.plan, codec::codec().as_ref())?.into(),
            codec_version: codec::VERSION,
            settings: settings.into_iter().filter_map(setting).collect(),
            profiles: profiles.into(),
            estimated_scan_bytes: query.estimated_scan_bytes,
        };
        let channel = self.masters.channel().await?;
        let mut client = v1::drivers_client::DriversClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let mut events = client.run_query(request).await.map_err(Fault::from)?.into_inner();
        let mut results = BTreeMap::new();
        while let Some(event) = events.message().await.map_err(Fault::from)? {
            match event.event {
                Some(Event::Progress(stages)) => {
                    progress.send_replace(stages.stages);
                }
                Some(Event::Result(result)) => {
                    let task = result.task_index;
                    if results.insert(task, result).is_some() {
                        return Err(EngineError::internal(format!("task {task} of query {id} answered twice")));
                    }
                }
                Some(Event::Finished(finished)) => return self.finish(finished, results).await,
                None => {}
            }
        }
        Err(EngineError::unavailable("master-lost", "the master closed the query's stream before it ended"))
    }

    async fn finish(
        &self,
        finished: v1::QueryFinished,
        results: BTreeMap<u32, TaskResult>,
    ) -> Result<Vec<RecordBatch>> {
        if let Some(failure) = finished.failure {
            return Err(EngineError(failure.into()));
        }
        let planned = usize::try_from(finished.tasks).unwrap_or(usize::MAX);
        if results.len() != planned || results.keys().copied().ne(0..finished.tasks) {
            let found = results.len();
            return Err(EngineError::internal(format!("{planned} tasks were planned but {found} answered")));
        }
        let outputs: Vec<Vec<RecordBatch>> =
            futures::stream::iter(results.into_values().map(rows)).buffered(PARALLEL_FETCHES).try_collect().await?;
        Ok(outputs.into_iter().flatten().collect())
    }
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
        let give_up = Instant::now() + RESUBMIT_FOR;
        let mut id = query.id.clone();
        loop {
            let error = match self.run_once(&query, id.clone(), &progress).await {
                Ok(batches) => return Ok(batches),
                Err(error) => error,
            };
            // Nothing of a lost query is visible before the driver's commit, so a fresh one is always right.
            let master_lost = matches!(error.code(), "master-lost" | "connect" | "rpc");
            if !master_lost || error.class() != ErrorClass::Unavailable || Instant::now() >= give_up {
                return Err(error);
            }
            tracing::warn!(query_id = %id, error.code = error.code(), "the query is sent again: {error}");
            self.masters.forget().await;
            tokio::time::sleep(RESUBMIT_PAUSE).await;
            id = fresh_query_id()?;
        }
    }
}

/// A query id that was never used.
///
/// # Errors
/// Never in practice: a UUID is a valid id.
pub fn fresh_query_id() -> Result<QueryId> {
    uuid::Uuid::new_v4().to_string().parse().map_err(|error| EngineError::internal(format!("query id: {error}")))
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
