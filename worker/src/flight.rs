//! The Arrow Flight service: shuffle files to the readers of other workers, results to drivers. Edge.
//!
//! Ballista's own service does the reading, because it and the readers must agree about bytes; it builds paths from
//! whatever text a ticket holds, so it gets to see only tickets that [`ticket`] has checked. A ticket is bound to the epoch
//! of the driver that its query was announced with, see [`crate::fence`].

pub mod ticket;

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, SchemaResult, Ticket,
};
use ballista_executor::flight_service::BallistaFlightService;
use datafusion::common::runtime::SpawnedTask;
use futures::{Stream, TryStreamExt};
use lake_metrics::worker::Tally;
use lake_proto::{ErrorClass, Fault};
use tonic::{Request, Response, Status, Streaming};

use self::ticket::ResultTicket;
use crate::fence::Fence;

const BLOCK_TRANSPORT: &str = "IO_BLOCK_TRANSPORT";

type ResultReader = StreamReader<BufReader<File>>;
type Answer<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Serves what lies below one shuffle directory, and nothing else; and nothing of a driver that was replaced.
#[derive(Clone)]
pub struct ShuffleFlight {
    shuffle: PathBuf,
    fence: Arc<Fence>,
    tally: Arc<Tally>,
    inner: BallistaFlightService,
}

impl ShuffleFlight {
    /// `shuffle` must be canonical.
    pub fn new(shuffle: PathBuf, fence: Arc<Fence>, tally: Arc<Tally>) -> Self {
        let inner = BallistaFlightService::new(shuffle.to_string_lossy().into_owned());
        Self { shuffle, fence, tally, inner }
    }

    /// The answer, of which is counted what its reader takes.
    fn counted<T: Send + 'static>(
        &self,
        answer: impl Stream<Item = Result<T, Status>> + Send + 'static,
        bytes: fn(&T) -> usize,
    ) -> Answer<T> {
        self.tally.shuffle_reads.add_one();
        let tally = Arc::clone(&self.tally);
        let counted = answer.inspect_ok(move |item| {
            tally.shuffle_served_bytes.add(u64::try_from(bytes(item)).unwrap_or(u64::MAX));
        });
        Box::pin(counted)
    }

    async fn result(&self, ticket: &ResultTicket) -> Result<Response<Answer<FlightData>>, Status> {
        self.fence.check_query(ticket.query())?;
        let path = ticket.file(&self.shuffle)?;
        let opened = SpawnedTask::spawn_blocking(move || {
            StreamReader::try_new(BufReader::with_capacity(1 << 20, File::open(path)?), None)
        });
        let opened = opened.join().await.map_err(|error| FlightError::from_external_error(Box::new(error)));
        let reader = opened.and_then(|opened| opened.map_err(FlightError::from)).map_err(|error| unread(&error))?;
        let encoded = FlightDataEncoderBuilder::new().with_schema(reader.schema()).build(batches(reader));
        Ok(Response::new(self.counted(encoded.map_err(|error| unread(&error)), flight_bytes)))
    }
}

#[tonic::async_trait]
impl FlightService for ShuffleFlight {
    type HandshakeStream = Answer<HandshakeResponse>;
    type ListFlightsStream = Answer<FlightInfo>;
    type DoGetStream = Answer<FlightData>;
    type DoPutStream = Answer<PutResult>;
    type DoActionStream = Answer<arrow_flight::Result>;
    type ListActionsStream = Answer<ActionType>;
    type DoExchangeStream = Answer<FlightData>;

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let ticket = &request.get_ref().ticket;
        if let Some(result) = ResultTicket::parse(ticket) {
            return self.result(&result?).await;
        }
        self.fence.check_query(&ticket::check_fetch(&self.shuffle, ticket)?)?;
        let answer = self.inner.do_get(request).await.map_err(|error| silent(&error))?;
        Ok(answer.map(|stream| self.counted(stream.map_err(|error| silent(&error)), flight_bytes)))
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        let action = request.get_ref();
        if action.r#type != BLOCK_TRANSPORT {
            return Err(Status::unimplemented("only block transport of shuffle files is served"));
        }
        self.fence.check_query(&ticket::check_fetch(&self.shuffle, &action.body)?)?;
        let answer = self.inner.do_action(request).await.map_err(|error| silent(&error))?;
        Ok(answer.map(|stream| self.counted(stream.map_err(|error| silent(&error)), part_bytes)))
    }

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        Err(not_served())
    }

    async fn list_flights(&self, _: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        Err(not_served())
    }

    async fn get_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        Err(not_served())
    }

    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        Err(not_served())
    }

    async fn get_schema(&self, _: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        Err(not_served())
    }

    async fn do_put(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        Err(not_served())
    }

    async fn do_exchange(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoExchangeStream>, Status> {
        Err(not_served())
    }

    async fn list_actions(&self, _: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        Err(not_served())
    }
}

/// The rows of a result file. The answer owns the read: when its reader goes away, no more than one batch is read.
fn batches(reader: ResultReader) -> impl Stream<Item = Result<RecordBatch, FlightError>> + Send + 'static {
    futures::stream::try_unfold(reader, |mut reader| async move {
        let read = SpawnedTask::spawn_blocking(move || reader.next().map(|batch| (batch, reader)));
        match read.join().await {
            Ok(None) => Ok(None),
            Ok(Some((batch, reader))) => Ok(Some((batch?, reader))),
            Err(error) => Err(FlightError::from_external_error(Box::new(error))),
        }
    })
}

fn flight_bytes(data: &FlightData) -> usize {
    data.data_header.len() + data.data_body.len()
}

fn part_bytes(part: &arrow_flight::Result) -> usize {
    part.body.len()
}

fn not_served() -> Status {
    Status::unimplemented("this service only hands out shuffle files and results")
}

/// A result file that is there and cannot be read: what is wrong with it goes to the log.
fn unread(error: &FlightError) -> Status {
    tracing::warn!(error = %error, "a result file was not served");
    Fault::new(ErrorClass::Unavailable, "result-fetch", "the result file could not be read").into()
}

/// Ballista's messages name paths of this host: they go to the log, the reader gets the code. Whatever it is, a reader
/// of shuffle files takes it for a failed fetch.
fn silent(error: &Status) -> Status {
    tracing::warn!(error = %error, "a shuffle file was not served");
    Status::new(error.code(), "the shuffle file could not be read")
}
