//! A master in this process, and clients that play a worker's part.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lake_proto::channel::connect;
use lake_proto::v1::drivers_client::DriversClient;
use lake_proto::v1::master_message::Message;
use lake_proto::v1::submissions_client::SubmissionsClient;
use lake_proto::v1::worker_logs_server::{WorkerLogs, WorkerLogsServer};
use lake_proto::v1::workers_client::WorkersClient;
use lake_proto::v1::{self, driver_status, worker_message};
use lake_proto::{ErrorClass, Fault};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use crate::config::Config;
use crate::master::Master;
use crate::server::{Server, start};

const PATIENCE: Duration = Duration::from_secs(20);
const HEARTBEAT_EVERY: Duration = Duration::from_millis(500);

pub(super) struct Cluster {
    server: Server,
    directory: TempDir,
}

impl Cluster {
    pub(super) async fn start() -> Self {
        Self::in_directory(tempfile::tempdir().unwrap()).await
    }

    /// The token of a form that ends this application.
    pub(super) fn kill_token(&self, app_id: &str) -> String {
        self.server.kill_token(app_id).unwrap()
    }

    async fn in_directory(directory: TempDir) -> Self {
        let data_dir = directory.path().join("data");
        let config = Config { port: 0, webui_port: 0, rest_port: Some(0), data_dir, ..Config::default() };
        Self { server: start(&config).await.unwrap(), directory }
    }

    /// A new process on the same directory, as far as the state is concerned.
    pub(super) async fn restart(self) -> Self {
        self.server.stop().await;
        Self::in_directory(self.directory).await
    }

    pub(super) async fn stop(self) {
        self.server.stop().await;
    }

    pub(super) fn master(&self) -> &Master {
        &self.server.master
    }

    /// Where its history files are.
    pub(super) fn history(&self) -> PathBuf {
        self.directory.path().join("data/history")
    }

    pub(super) fn address(&self) -> String {
        self.server.grpc_address.to_string()
    }

    pub(super) fn http_address(&self) -> SocketAddr {
        self.server.http_address
    }

    pub(super) fn rest_address(&self) -> SocketAddr {
        self.server.rest_address.unwrap()
    }

    pub(super) async fn submissions(&self) -> SubmissionsClient<Channel> {
        SubmissionsClient::new(connect(&self.address()).await.unwrap())
    }

    pub(super) async fn drivers(&self) -> DriversClient<Channel> {
        DriversClient::new(connect(&self.address()).await.unwrap())
    }

    pub(super) async fn submit(&self, id: &str) -> Result<v1::SubmitResponse, Fault> {
        self.submit_request(submission(id)).await
    }

    pub(super) async fn submit_with_memory(&self, id: &str, bytes: u64) -> Result<v1::SubmitResponse, Fault> {
        let mut request = submission(id);
        request.options.as_mut().unwrap().driver_memory_bytes = bytes;
        self.submit_request(request).await
    }

    pub(super) async fn submit_request(&self, request: v1::SubmitRequest) -> Result<v1::SubmitResponse, Fault> {
        Ok(self.submissions().await.submit(request).await?.into_inner())
    }

    pub(super) async fn status(&self, id: &str) -> Result<v1::ApplicationStatus, Fault> {
        let request = v1::StatusRequest { id: id.to_owned() };
        Ok(self.submissions().await.status(request).await?.into_inner())
    }

    pub(super) async fn kill(&self, id: &str) -> Result<v1::ApplicationStatus, Fault> {
        Ok(self.submissions().await.kill(v1::KillRequest { id: id.to_owned() }).await?.into_inner())
    }

    /// Has a worker drained; how long it waits at most.
    pub(super) async fn drain(&self, worker_id: &str) -> Result<u64, Fault> {
        let request = v1::DrainWorkerRequest { worker_id: worker_id.to_owned() };
        Ok(self.submissions().await.drain_worker(request).await?.into_inner().drain_timeout_ms)
    }

    pub(super) async fn list(&self) -> v1::ListResponse {
        self.submissions().await.list(v1::ListRequest { limit: 0 }).await.unwrap().into_inner()
    }

    pub(super) async fn watch(&self, id: &str) -> Streaming<v1::WatchUpdate> {
        let request = v1::StatusRequest { id: id.to_owned() };
        self.submissions().await.watch(request).await.unwrap().into_inner()
    }

    pub(super) async fn finish(&self, launch: &v1::LaunchDriver, failure: Option<Fault>) -> Result<(), Fault> {
        let driver = Some(v1::DriverIdentity { driver_id: launch.driver_id.clone(), epoch: launch.epoch });
        let request = v1::DriverFinishRequest { driver, failure: failure.map(Into::into) };
        self.drivers().await.finish(request).await?;
        Ok(())
    }
}

pub(super) fn submission(id: &str) -> v1::SubmitRequest {
    v1::SubmitRequest {
        submission_id: id.to_owned(),
        pipeline: br#"{"steps":[]}"#.as_slice().into(),
        options: Some(v1::SubmitOptions {
            name: "customers".to_owned(),
            job_name: format!("job of {id}"),
            total_executor_cores: 0,
            driver_memory_bytes: 1 << 20,
            supervise: true,
            max_attempts: 3,
            deploy_mode: "cluster".to_owned(),
        }),
        traceparent: String::new(),
    }
}

pub(super) fn register(worker_id: &str, grpc_port: u16, drivers: Vec<v1::RunningDriver>) -> v1::Register {
    static INSTANCES: AtomicU32 = AtomicU32::new(0);
    v1::Register {
        instance: format!("instance-{}", INSTANCES.fetch_add(1, Ordering::Relaxed)),
        worker_id: worker_id.to_owned(),
        host: "127.0.0.1".to_owned(),
        grpc_port: u32::from(grpc_port),
        flight_port: 1,
        http_port: 1,
        cores: 2,
        memory_bytes: 1 << 30,
        codec_version: lake_scheduler::CODEC_VERSION,
        running: vec![],
        drivers,
        is_draining: false,
        drain_timeout_ms: 60_000,
        reports_held: false,
        version: "0.0.1".to_owned(),
        settings: vec![v1::EffectiveSetting {
            key: "cores".to_owned(),
            value: "2".to_owned(),
            origin: "flag".to_owned(),
        }],
    }
}

/// The next update for which `is_it`.
pub(super) async fn until(
    watch: &mut Streaming<v1::WatchUpdate>,
    is_it: impl Fn(&v1::WatchUpdate) -> bool,
) -> v1::WatchUpdate {
    loop {
        let update = tokio::time::timeout(PATIENCE, watch.message()).await.unwrap().unwrap().unwrap();
        if is_it(&update) {
            return update;
        }
    }
}

pub(super) struct FakeWorker {
    pub(super) id: String,
    outbound: mpsc::Sender<v1::WorkerMessage>,
    inbound: Streaming<v1::MasterMessage>,
    /// Its address answers as long as it lives.
    _listener: Option<TcpListener>,
    /// Its logs, as long as it lives.
    serving: JoinSet<Result<(), tonic::transport::Error>>,
    seq: u64,
    /// As its heartbeats say.
    pub(super) is_draining: bool,
}

impl FakeWorker {
    pub(super) async fn attach(cluster: &Cluster, worker_id: &str, drivers: Vec<v1::RunningDriver>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut worker = Self::open(cluster, register(worker_id, port, drivers)).await.unwrap();
        worker._listener = Some(listener);
        worker
    }

    /// A worker that also serves logs.
    pub(super) async fn with_logs(cluster: &Cluster) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let logs = WorkerLogsServer::new(FakeLogs);
        let serving = tonic::transport::Server::builder().add_service(logs);
        let mut worker = Self::open(cluster, register("", port, vec![])).await.unwrap();
        worker.serving.spawn(serving.serve_with_incoming(TcpIncoming::from(listener)));
        worker
    }

    pub(super) async fn open(cluster: &Cluster, register: v1::Register) -> Result<Self, Fault> {
        let (outbound, inbound, first) = Self::call(cluster, register).await?;
        match first {
            Message::Registered(registered) => {
                let (id, serving) = (registered.worker_id, JoinSet::new());
                Ok(Self { id, outbound, inbound, _listener: None, serving, seq: 0, is_draining: false })
            }
            other => Err(Fault::new(ErrorClass::Internal, "not-registered", format!("{other:?}"))),
        }
    }

    pub(super) async fn first_message(cluster: &Cluster, worker_id: &str, drivers: Vec<v1::RunningDriver>) -> Message {
        Self::call(cluster, register(worker_id, 1, drivers)).await.unwrap().2
    }

    async fn call(
        cluster: &Cluster,
        register: v1::Register,
    ) -> Result<(mpsc::Sender<v1::WorkerMessage>, Streaming<v1::MasterMessage>, Message), Fault> {
        let (outbound, messages) = mpsc::channel(16);
        let first = v1::WorkerMessage { message: Some(worker_message::Message::Register(register)) };
        outbound.send(first).await.unwrap();
        let mut client = WorkersClient::new(connect(&cluster.address()).await?);
        let mut inbound = client.attach(ReceiverStream::new(messages)).await?.into_inner();
        let first = inbound.message().await?.unwrap().message.unwrap();
        Ok((outbound, inbound, first))
    }

    /// The next message that is not an acknowledgement; beats meanwhile.
    pub(super) async fn next(&mut self) -> Message {
        let wait = async {
            loop {
                match self.inbound.message().await.unwrap().unwrap().message.unwrap() {
                    Message::Ack(_) => {}
                    other => return other,
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap()
    }

    pub(super) async fn launch(&mut self) -> v1::LaunchDriver {
        match self.next().await {
            Message::LaunchDriver(launch) => launch,
            other => panic!("expected a launch, found {other:?}"),
        }
    }

    pub(super) async fn send(&self, message: worker_message::Message) {
        self.outbound.send(v1::WorkerMessage { message: Some(message) }).await.unwrap();
    }

    pub(super) async fn heartbeat(&self, drivers: Vec<v1::RunningDriver>) {
        let heartbeat = v1::Heartbeat { drivers, is_draining: self.is_draining, ..Default::default() };
        self.send(worker_message::Message::Heartbeat(heartbeat)).await;
    }

    /// Sends heartbeats until `is_so`.
    pub(super) async fn beat_until(&self, drivers: Vec<v1::RunningDriver>, is_so: impl AsyncFn() -> bool) {
        let beats = async {
            let mut beat = tokio::time::interval(HEARTBEAT_EVERY);
            loop {
                beat.tick().await;
                self.heartbeat(drivers.clone()).await;
                if is_so().await {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, beats).await.unwrap();
    }

    pub(super) async fn started(&mut self, launch: &v1::LaunchDriver) {
        self.driver_status(launch, driver_status::Outcome::Started(v1::DriverStarted { pid: 1 })).await;
    }

    /// Reports and waits for the acknowledgement.
    pub(super) async fn driver_status(&mut self, launch: &v1::LaunchDriver, outcome: driver_status::Outcome) {
        self.seq += 1;
        let status = v1::DriverStatus {
            seq: self.seq,
            driver_id: launch.driver_id.clone(),
            epoch: launch.epoch,
            outcome: Some(outcome),
        };
        self.send(worker_message::Message::DriverStatus(status)).await;
        let acknowledged = async {
            loop {
                match self.inbound.message().await.unwrap().unwrap().message.unwrap() {
                    Message::Ack(ack) if ack.seq == self.seq => return,
                    Message::Ack(_) | Message::KillDriver(_) => {}
                    other => panic!("expected an acknowledgement, found {other:?}"),
                }
            }
        };
        tokio::time::timeout(PATIENCE, acknowledged).await.unwrap();
    }

    /// Waits until the master has closed the stream.
    pub(super) async fn closed(mut self, late: v1::WorkerMessage) {
        let _ = self.outbound.send(late).await;
        let wait = async { while let Ok(Some(_)) = self.inbound.message().await {} };
        tokio::time::timeout(PATIENCE, wait).await.unwrap();
    }
}

pub(super) async fn http_get(address: SocketAddr, path: &str) -> (u16, String) {
    let (status, _, body) = http(address, "GET", path).await;
    (status, body)
}

/// Status, head and body of an answer.
pub(super) async fn http(address: SocketAddr, method: &str, path: &str) -> (u16, String, String) {
    send(address, &format!("{method} {path}"), &[("Host", &address.to_string())], "").await
}

/// As [`http`], with these headers alone, and a body.
pub(super) async fn send(
    address: SocketAddr,
    method_and_path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut request = format!("{method_and_path} HTTP/1.1\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        request.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    request.push_str("\r\n");
    request.push_str(body);
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), body.to_owned())
}

/// Answers with what it was asked.
struct FakeLogs;

#[tonic::async_trait]
impl WorkerLogs for FakeLogs {
    type ReadLogStream = tokio_stream::Once<Result<v1::LogChunk, Status>>;

    async fn read_log(&self, request: Request<v1::ReadLogRequest>) -> Result<Response<Self::ReadLogStream>, Status> {
        let v1::ReadLogRequest { driver_id, stream, offset, follow, tail_bytes } = request.into_inner();
        let mut data = format!("{driver_id} {stream} from {offset}, follow {follow}");
        if tail_bytes > 0 {
            data.push_str(&format!(", the last {tail_bytes}"));
        }
        let data = data.into_bytes().into();
        Ok(Response::new(tokio_stream::once(Ok(v1::LogChunk { data, offset, modified_ms: 0 }))))
    }
}
