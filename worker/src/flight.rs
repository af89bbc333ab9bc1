//! The Arrow Flight service: shuffle files to the readers of other workers, results to drivers. Edge.
//!
//! Ballista's own service does the reading, because it and the readers must agree about bytes; it builds paths from
//! whatever text a ticket holds, so it gets to see only tickets that [`ticket`] has checked.

pub mod ticket;

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::pin::Pin;

use arrow::ipc::reader::StreamReader;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, SchemaResult, Ticket,
};
use ballista_executor::flight_service::BallistaFlightService;
use futures::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use self::ticket::ResultTicket;

const BLOCK_TRANSPORT: &str = "IO_BLOCK_TRANSPORT";
/// Batches read ahead of a slow reader.
const READ_AHEAD: usize = 2;

type Answer<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Serves what lies below one shuffle directory, and nothing else.
#[derive(Clone)]
pub struct ShuffleFlight {
    shuffle: PathBuf,
    inner: BallistaFlightService,
}

impl ShuffleFlight {
    /// `shuffle` must be canonical.
    pub fn new(shuffle: PathBuf) -> Self {
        let inner = BallistaFlightService::new(shuffle.to_string_lossy().into_owned());
        Self { shuffle, inner }
    }

    async fn result(&self, ticket: &ResultTicket) -> Result<Response<Answer<FlightData>>, Status> {
        let path = ticket.file(&self.shuffle)?;
        let opened = tokio::task::spawn_blocking(move || {
            StreamReader::try_new(BufReader::with_capacity(1 << 20, File::open(path)?), None)
        });
        let reader = opened
            .await
            .map_err(|_| Status::internal("the result file could not be read"))?
            .map_err(|_| Status::not_found("the result file could not be read"))?;
        let schema = reader.schema();
        let (sender, receiver) = mpsc::channel(READ_AHEAD);
        // Ends with the file, or when the reader of the answer goes away.
        drop(tokio::task::spawn_blocking(move || {
            for batch in reader {
                let is_last = batch.is_err();
                if sender.blocking_send(batch.map_err(FlightError::from)).is_err() || is_last {
                    return;
                }
            }
        }));
        let encoded = FlightDataEncoderBuilder::new().with_schema(schema).build(ReceiverStream::new(receiver));
        let answer = encoded.map(|data| data.map_err(|_| Status::internal("the result file could not be read")));
        Ok(Response::new(Box::pin(answer)))
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
        ticket::check_fetch(&self.shuffle, ticket)?;
        let answer = self.inner.do_get(request).await.map_err(|error| silent(&error))?;
        Ok(answer.map(|stream| Box::pin(stream.map(|item| item.map_err(|error| silent(&error)))) as Answer<_>))
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        let action = request.get_ref();
        if action.r#type != BLOCK_TRANSPORT {
            return Err(Status::unimplemented("only block transport of shuffle files is served"));
        }
        ticket::check_fetch(&self.shuffle, &action.body)?;
        let answer = self.inner.do_action(request).await.map_err(|error| silent(&error))?;
        Ok(answer.map(|stream| Box::pin(stream.map(|item| item.map_err(|error| silent(&error)))) as Answer<_>))
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

fn not_served() -> Status {
    Status::unimplemented("this service only hands out shuffle files and results")
}

/// Ballista's messages name paths of this host: they go to the log, the reader gets the code.
fn silent(error: &Status) -> Status {
    tracing::warn!(error = %error, "a shuffle file was not served");
    Status::new(error.code(), "the shuffle file could not be read")
}
