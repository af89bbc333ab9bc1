//! Calls to the masters: any address may answer, silence is retried, a broken stream is opened again. Edge.
//!
//! Never here: printing, the command line.

use std::collections::BTreeMap;
use std::time::Duration;

use lake_proto::channel::{MAX_MESSAGE_BYTES, connect};
use lake_proto::error::names_class;
use lake_proto::masters::Addresses;
use lake_proto::quantity::duration;
use lake_proto::v1::submissions_client::SubmissionsClient;
use lake_proto::v1::{
    ApplicationStatus, KillRequest, ListRequest, ListResponse, LogsRequest, StatusRequest, SubmitRequest,
    SubmitResponse, WatchUpdate,
};
use lake_proto::{ErrorClass, Fault};
use lake_telemetry::trace::traced;
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::Channel;
use tonic::{Code, Response, Status, Streaming};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A handle on the masters of one cluster.
pub struct Client {
    addresses: Addresses,
    patience: Duration,
    /// To the first address.
    open: Option<Channel>,
}

impl Client {
    /// A client of the masters in `url` (`lake://host:port[,host:port…]`). Nothing is opened yet.
    ///
    /// # Errors
    /// `invalid-job` when the URL is not one.
    pub fn new(url: &str, patience: Duration) -> Result<Self, Fault> {
        Ok(Self { addresses: Addresses::of(url)?, patience, open: None })
    }

    /// Sends a submission. A repeat with the same id and content is answered with the same driver.
    ///
    /// # Errors
    /// `unavailable` when no master answers in time; `conflict` when the id was used for another job; whatever the
    /// master refuses.
    pub async fn submit(&mut self, request: SubmitRequest) -> Result<SubmitResponse, Fault> {
        self.call(async move |mut service| service.submit(traced(request.clone())).await).await
    }

    /// The state of a submission; `id` is a driver, application or submission id.
    ///
    /// # Errors
    /// `not-found` when there is no such submission; `unavailable` when no master answers in time.
    pub async fn status(&mut self, id: &str) -> Result<ApplicationStatus, Fault> {
        self.call(async |mut service| service.status(StatusRequest { id: id.to_owned() }).await).await
    }

    /// Ends a submission. Killing one that has ended changes nothing.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn kill(&mut self, id: &str) -> Result<ApplicationStatus, Fault> {
        self.call(async |mut service| service.kill(KillRequest { id: id.to_owned() }).await).await
    }

    /// The latest submissions, at most `limit` of them, and all workers.
    ///
    /// # Errors
    /// `unavailable` when no master answers in time.
    pub async fn list(&mut self, limit: u32) -> Result<ListResponse, Fault> {
        self.call(async |mut service| service.list(ListRequest { limit }).await).await
    }

    /// Follows a submission to its end and returns its last state; a broken stream is opened again.
    ///
    /// # Errors
    /// `not-found` when there is no such submission; `unavailable` when the masters have been silent for too long.
    pub async fn follow(
        &mut self,
        id: &str,
        mut on_update: impl FnMut(&WatchUpdate),
    ) -> Result<ApplicationStatus, Fault> {
        let mut silent_since = None;
        loop {
            let request = StatusRequest { id: id.to_owned() };
            let mut updates: Streaming<WatchUpdate> =
                self.call(async |mut service| service.watch(request.clone()).await).await?;
            loop {
                let update = match updates.message().await {
                    Ok(Some(update)) => update,
                    Ok(None) => break,
                    Err(status) if is_passing(&status) => break,
                    Err(status) => return Err(status.into()),
                };
                silent_since = None;
                on_update(&update);
                if let Some(status) = update.status.filter(|status| has_ended(&status.state)) {
                    return Ok(status);
                }
            }
            self.lost_stream(&mut silent_since, id).await?;
        }
    }

    /// Hands the bytes of a driver's log (`stdout` or `stderr`) to `on_chunk`, from the start; with `follow` until the
    /// driver has ended. A broken stream goes on where it broke.
    ///
    /// # Errors
    /// `not-found` when there is no such submission or log; `unavailable` when the masters have been silent for too
    /// long; what `on_chunk` returns.
    pub async fn logs(
        &mut self,
        id: &str,
        stream: &str,
        follow: bool,
        mut on_chunk: impl FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut offset = 0;
        let mut silent_since = None;
        loop {
            let request = LogsRequest { id: id.to_owned(), stream: stream.to_owned(), offset, follow };
            // With `follow` the answer begins when the driver has a worker; a dead connection is noticed anyway.
            let limit = if follow { Duration::MAX } else { ANSWER_TIMEOUT };
            let mut chunks = self.call_within(limit, async |mut service| service.logs(request.clone()).await).await?;
            loop {
                let chunk = match chunks.message().await {
                    Ok(Some(chunk)) => chunk,
                    Ok(None) => return Ok(()),
                    Err(status) if is_passing(&status) => break,
                    Err(status) => return Err(status.into()),
                };
                silent_since = None;
                offset = chunk.offset + chunk.data.len() as u64;
                on_chunk(&chunk.data)?;
            }
            self.lost_stream(&mut silent_since, id).await?;
        }
    }

    async fn call<T>(
        &mut self,
        operation: impl AsyncFn(SubmissionsClient<Channel>) -> Result<Response<T>, Status>,
    ) -> Result<T, Fault> {
        self.call_within(ANSWER_TIMEOUT, operation).await
    }

    /// Calls until an answer comes that is final, or patience ends; each attempt may take `limit`.
    async fn call_within<T>(
        &mut self,
        limit: Duration,
        operation: impl AsyncFn(SubmissionsClient<Channel>) -> Result<Response<T>, Status>,
    ) -> Result<T, Fault> {
        let deadline = Instant::now() + self.patience;
        let mut pause = FIRST_PAUSE;
        let mut tried = BTreeMap::new();
        loop {
            let mut answer = None;
            for _ in 0..self.addresses.count() {
                match self.attempt(limit, &operation).await {
                    Ok(answer) => return Ok(answer),
                    Err(Attempt::Refused(fault)) => return Err(fault),
                    Err(Attempt::NotNow(fault)) => answer = Some(fault),
                    Err(Attempt::Silent { address, why }) => drop(tried.insert(address, why)),
                }
            }
            if Instant::now() + pause > deadline {
                // A master that answers knows better why it cannot than we do.
                return Err(answer.unwrap_or_else(|| self.no_master(&tried)));
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn attempt<T>(
        &mut self,
        limit: Duration,
        operation: &impl AsyncFn(SubmissionsClient<Channel>) -> Result<Response<T>, Status>,
    ) -> Result<T, Attempt> {
        let channel = self.channel().await?;
        let service = SubmissionsClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let status = match timeout(limit, operation(service)).await {
            Ok(Ok(answer)) => return Ok(answer.into_inner()),
            Ok(Err(status)) => status,
            Err(_) => return Err(self.silent(format!("no answer within {} s", limit.as_secs()))),
        };
        if is_transport(&status) {
            return Err(self.silent(transport_message(&status)));
        }
        if status.code() == Code::Unimplemented && !names_class(&status) {
            let message = format!(
                "{} is not the gRPC port of a lake-master (7077 by default; 8080 is its web page)",
                self.addresses.first()
            );
            return Err(Attempt::Refused(Fault::new(ErrorClass::InvalidJob, "master-url", message)));
        }
        let fault = Fault::from(status.clone());
        if fault.class != ErrorClass::Unavailable {
            return Err(Attempt::Refused(fault));
        }
        // No leader now, or not this one: another address, or the next round, may do better.
        self.open = None;
        self.addresses.redirect(&status);
        Err(Attempt::NotNow(fault))
    }

    /// The open channel, or a new one to the first address.
    async fn channel(&mut self) -> Result<Channel, Attempt> {
        if let Some(channel) = &self.open {
            return Ok(channel.clone());
        }
        match timeout(CONNECT_TIMEOUT, connect(self.addresses.first())).await {
            Ok(Ok(channel)) => {
                self.open = Some(channel.clone());
                Ok(channel)
            }
            Ok(Err(fault)) => Err(self.silent(fault.message)),
            Err(_) => Err(self.silent(format!("cannot connect within {} s", CONNECT_TIMEOUT.as_secs()))),
        }
    }

    /// The first address did not answer.
    fn silent(&mut self, why: String) -> Attempt {
        self.open = None;
        let address = self.addresses.first().to_owned();
        self.addresses.pass_on();
        Attempt::Silent { address, why }
    }

    /// A stream has broken; it may be opened again unless all have broken at once for too long.
    async fn lost_stream(&mut self, silent_since: &mut Option<Instant>, id: &str) -> Result<(), Fault> {
        self.open = None;
        if silent_since.get_or_insert_with(Instant::now).elapsed() > self.patience {
            let time = duration(self.patience);
            let message = format!("the masters have sent nothing about {id} for {time}; it may still be running");
            return Err(Fault::new(ErrorClass::Unavailable, "silent-master", message));
        }
        sleep(FIRST_PAUSE).await;
        Ok(())
    }

    fn no_master(&self, tried: &BTreeMap<String, String>) -> Fault {
        let tried: Vec<String> = tried
            .iter()
            .map(|(address, why)| if why.contains(address) { why.clone() } else { format!("{address}: {why}") })
            .collect();
        let message = format!("no master answered within {}; tried {}", duration(self.patience), tried.join("; "));
        Fault::new(ErrorClass::Unavailable, "no-master", message)
    }
}

/// Whether a submission in this state changes no more.
pub fn has_ended(state: &str) -> bool {
    matches!(state, "FINISHED" | "FAILED" | "KILLED" | "ERROR")
}

/// Why one attempt gave no answer.
enum Attempt {
    /// A final answer.
    Refused(Fault),
    /// A master answers that it cannot now.
    NotNow(Fault),
    /// Nobody answers.
    Silent { address: String, why: String },
}

/// Whether the same call may succeed a moment later, here or at another master.
fn is_passing(status: &Status) -> bool {
    is_transport(status) || Fault::from(status.clone()).class == ErrorClass::Unavailable
}

fn is_transport(status: &Status) -> bool {
    let from_transport =
        matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled | Code::Aborted);
    from_transport && !names_class(status)
}

/// The deepest cause says what happened; the layers above it only say that something did.
fn transport_message(status: &Status) -> String {
    let mut cause = std::error::Error::source(status);
    while let Some(deeper) = cause.and_then(std::error::Error::source) {
        cause = Some(deeper);
    }
    cause.map_or_else(|| status.message().to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn silence_of_all_masters_is_unavailable_and_names_every_address() {
        // Ports that were free a moment ago: nobody listens there.
        let ports: Vec<u16> =
            (0..2).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()).collect();
        let url = format!("lake://127.0.0.1:{},127.0.0.1:{}", ports[0], ports[1]);
        let mut client = Client::new(&url, Duration::from_millis(300)).unwrap();
        let fault = client.status("driver-1").await.unwrap_err();
        assert_eq!((fault.class, fault.code.as_str()), (ErrorClass::Unavailable, "no-master"));
        for port in ports {
            assert!(fault.message.contains(&port.to_string()), "{fault}");
        }
    }

    #[test]
    fn only_statuses_without_our_header_are_taken_for_the_transports() {
        assert!(is_transport(&Status::unknown("transport error")));
        assert!(!is_transport(&Status::from(Fault::new(ErrorClass::Unavailable, "no-leader", "no leader"))));
        assert!(!is_transport(&Status::unimplemented("old master")));
    }

    #[test]
    fn only_final_states_end_a_submission() {
        for state in ["FINISHED", "FAILED", "KILLED", "ERROR"] {
            assert!(has_ended(state));
        }
        for state in ["SUBMITTED", "RUNNING", "RELAUNCHING", ""] {
            assert!(!has_ended(state));
        }
    }
}
