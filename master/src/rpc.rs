//! The gRPC services. Edge: decode, propose or read, encode. One file per service.

mod drivers;
mod members;
mod pages;
pub(crate) mod submissions;
mod workers;

use std::pin::Pin;
use std::sync::Arc;

use axum::extract::{Request as HttpRequest, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::{Next, from_fn, map_response_with_state};
use axum::response::Response as HttpResponse;
use futures::{Stream, StreamExt};
use lake_proto::channel::MAX_MESSAGE_BYTES;
use lake_proto::masters::LEADER_HEADER;
use lake_proto::v1::drivers_server::DriversServer;
use lake_proto::v1::members_server::MembersServer;
use lake_proto::v1::pages_server::PagesServer;
use lake_proto::v1::raft_peers_server::RaftPeersServer;
use lake_proto::v1::submissions_server::SubmissionsServer;
use lake_proto::v1::workers_server::WorkersServer;
use lake_proto::{ErrorClass, Fault};
use lake_raft::{PeersService, Role};
use lake_telemetry::trace;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::service::RoutesBuilder;
use tracing::Instrument;

use crate::master::Master;
use crate::web;

/// Calls that belong to a run and come once or a few times in it. The others would be most of what is traced: messages of
/// raft, heartbeats, signs of life.
const TRACED: [&str; 8] = [
    "/lake.v1.Submissions/Submit",
    "/lake.v1.Submissions/Kill",
    "/lake.v1.Drivers/Start",
    "/lake.v1.Drivers/PermitCommit",
    "/lake.v1.Drivers/RecordStep",
    "/lake.v1.Drivers/Finish",
    "/lake.v1.Drivers/RunQuery",
    "/lake.v1.Drivers/AttachQuery",
];

/// What services answer streams with.
pub(crate) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// All services.
pub(crate) fn services(master: &Arc<Master>, peers: PeersService) -> tonic::service::Routes {
    let mut routes = RoutesBuilder::default();
    let submissions = SubmissionsServer::new(submissions::Service::new(Arc::clone(master)));
    let drivers = DriversServer::new(drivers::Service::new(Arc::clone(master)));
    let workers = WorkersServer::new(workers::Service::new(Arc::clone(master)));
    routes
        .add_service(
            submissions.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES),
        )
        .add_service(drivers.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(workers.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES));
    let peers = RaftPeersServer::new(peers);
    let pages = PagesServer::new(pages::Service::new(web::own_router(Arc::clone(master))));
    routes
        .add_service(peers.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(MembersServer::new(members::Service::new(Arc::clone(master))))
        .add_service(pages.max_encoding_message_size(MAX_MESSAGE_BYTES));
    let redirecting = map_response_with_state(Arc::clone(master), name_leader);
    routes.routes().into_axum_router().layer(redirecting).layer(from_fn(in_span)).into()
}

/// Calls of runs have a span each, in the trace of their caller.
async fn in_span(request: HttpRequest, next: Next) -> HttpResponse {
    let path = request.uri().path();
    if !TRACED.contains(&path) {
        return next.run(request).await;
    }
    let span = tracing::info_span!("request", method = path);
    let caller = request.headers().get(trace::HEADER).and_then(|context| context.to_str().ok());
    trace::follow(&span, caller.unwrap_or_default());
    next.run(request).instrument(span).await
}

/// A refusal by a master that does not lead says who does.
async fn name_leader(State(master): State<Arc<Master>>, mut response: HttpResponse) -> HttpResponse {
    if master.raft.status().role != Role::Leader
        && let Some(leader) = master.raft.leader_address().and_then(|address| HeaderValue::from_str(&address).ok())
    {
        response.headers_mut().insert(HeaderName::from_static(LEADER_HEADER), leader);
    }
    response
}

/// The stream until the master stops, which ends it as `unavailable`, so that the caller looks for a master again.
fn until_stopped<T: Send + 'static>(
    stream: impl Stream<Item = Result<T, Status>> + Send + 'static,
    stop: CancellationToken,
) -> Answers<T> {
    let state = Some((Box::pin(stream), stop));
    Box::pin(futures::stream::unfold(state, |state| async {
        let (mut stream, stop) = state?;
        tokio::select! {
            biased;
            () = stop.cancelled() => Some((Err(stopping().into()), None)),
            item = stream.next() => item.map(|item| (item, Some((stream, stop)))),
        }
    }))
}

fn stopping() -> Fault {
    Fault::new(ErrorClass::Unavailable, "stopping", "the master is stopping; look for the leading one again")
}

fn invalid(message: String) -> Fault {
    Fault::new(ErrorClass::InvalidJob, "request", message)
}
