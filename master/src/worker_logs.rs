//! What drivers printed, as their workers send it. Edge.
//!
//! Never here: which worker has a log, and what is said where there is none.

use std::time::Duration;

use lake_api::logs::{Log, Source, Tail};
use lake_proto::channel::{MAX_MESSAGE_BYTES, connect};
use lake_proto::v1::worker_logs_client::WorkerLogsClient;
use lake_proto::{ErrorClass, Fault, v1};
use tokio::time::timeout;
use tonic::transport::Channel;

/// For a worker to send all of a stream.
const PATIENCE: Duration = Duration::from_secs(20);

/// The way to the logs of the worker at this address.
///
/// # Errors
/// `unavailable/connect` when nobody answers there.
pub(crate) async fn client(address: &str) -> Result<WorkerLogsClient<Channel>, Fault> {
    Ok(WorkerLogsClient::new(connect(address).await?).max_decoding_message_size(MAX_MESSAGE_BYTES))
}

/// The end of a stream, or why it is not there.
pub(crate) async fn end_of(source: Source, driver_id: String, stream: &'static str) -> Log {
    let Source { worker_id, address } = source;
    let content = match address {
        Ok(address) => match timeout(PATIENCE, read_stream(&address, driver_id, stream)).await {
            Ok(read) => read,
            Err(_) => {
                let message = format!("{worker_id} did not send it within {} s", PATIENCE.as_secs());
                Err(Fault::new(ErrorClass::Unavailable, "no-log", message))
            }
        },
        Err(fault) => Err(fault),
    };
    Log { worker_id, stream, content }
}

async fn read_stream(address: &str, driver_id: String, stream: &str) -> Result<Tail, Fault> {
    let request = v1::ReadLogRequest { driver_id, stream: stream.to_owned(), offset: 0, follow: false, tail_bytes: 0 };
    let mut chunks = client(address).await?.read_log(request).await?.into_inner();
    let mut tail = Tail::default();
    while let Some(chunk) = chunks.message().await? {
        tail.push(&chunk.data);
        tail.written_at(chunk.modified_ms);
    }
    Ok(tail)
}
