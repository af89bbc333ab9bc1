//! A whole worker in this process against a master that is a test.

use std::future::Future;
use std::path::Path;

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow::ipc::reader::StreamReader;
use arrow_flight::Ticket;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use ballista_core::execution_plans::sort_shuffle::SortShuffleConfig;
use ballista_core::execution_plans::{ShuffleReaderExec, SortShuffleWriterExec};
use ballista_core::serde::scheduler::{
    ExecutorMetadata, ExecutorOperatingSystemSpecification, ExecutorSpecification, PartitionId, PartitionLocation,
    PartitionStats,
};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::physical_expr::expressions::col;
use datafusion::physical_plan::{ExecutionPlan, Partitioning};
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use futures::TryStreamExt;
use lake_engine::{codec, session};
use lake_proto::v1::workers_server::{Workers, WorkersServer};
use lake_proto::v1::{
    CancelTask, DropQuery, HeldAttempt, HeldOutput, HeldQuery, LaunchTask, PrepareQuery, Rejected, Released, Setting,
    StatusAck, TaskDone, TaskRef, TaskStatus, task_status::Outcome,
};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use super::*;
use crate::config::{Advertised, Config, DEFAULT_LOG_LEVEL, LogFormat};
use crate::daemon::Worker;
use crate::drivers::Program;

const DEADLINE: Duration = Duration::from_secs(60);
const ROWS: i64 = 20_000;
/// Of every launch.
const LINEAGE: u64 = 77;

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("it did not happen in time")
}

/// One open stream of a worker.
struct Connection {
    from: Streaming<WorkerMessage>,
    to: mpsc::Sender<Result<MasterMessage, Status>>,
    register: Register,
}

#[derive(Clone)]
struct Master {
    connections: mpsc::Sender<Connection>,
    streams: TaskTracker,
}

#[tonic::async_trait]
impl Workers for Master {
    type AttachStream = ReceiverStream<Result<MasterMessage, Status>>;

    async fn attach(&self, request: Request<Streaming<WorkerMessage>>) -> Result<Response<Self::AttachStream>, Status> {
        let mut from = request.into_inner();
        let connections = self.connections.clone();
        let (to, answers) = mpsc::channel(64);
        // The stream must be answered before its first message can be relied on.
        self.streams.spawn(async move {
            if let Ok(Some(WorkerMessage { message: Some(worker_message::Message::Register(register)) })) =
                from.message().await
            {
                let _ = connections.send(Connection { from, to, register }).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}

struct Cluster {
    directory: tempfile::TempDir,
    worker: Worker,
    connections: mpsc::Receiver<Connection>,
    _master: JoinSet<Result<(), tonic::transport::Error>>,
}

async fn cluster() -> Cluster {
    cluster_with(Advertised { host: "127.0.0.1".to_owned(), port: 0, flight_port: 0, webui_port: 0 }).await
}

async fn cluster_with(advertised: Advertised) -> Cluster {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, connections) = mpsc::channel(8);
    let service = WorkersServer::new(Master { connections: sender, streams: TaskTracker::new() });
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let mut master = JoinSet::new();
    master.spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
    let config = Config {
        host: "127.0.0.1".to_owned(),
        port: 0,
        flight_port: 0,
        webui_port: 0,
        advertised,
        webui_allowed_hosts: Vec::new(),
        cores: 2,
        memory_bytes: 1 << 30,
        work_dir: directory.path().join("work"),
        work_dir_ttl: Duration::from_secs(3600),
        // Longer than any test: it ends when it is released.
        drain_timeout: Duration::from_secs(600),
        // The first address is nobody's.
        master_url: format!("lake://127.0.0.1:1,127.0.0.1:{port}"),
        log_format: LogFormat::Text,
        log_level: DEFAULT_LOG_LEVEL.to_owned(),
        effective: Vec::new(),
    };
    let shell = Program {
        executable: "/bin/sh".into(),
        arguments: Box::new(|launch, _| vec!["-c".into(), launch.master_url.clone().into()]),
    };
    let worker = Worker::start(config, shell).await.unwrap();
    Cluster { directory, worker, connections, _master: master }
}

impl Cluster {
    async fn accept(&mut self, worker_id: &str) -> Connection {
        let connection = in_time(self.connections.recv()).await.unwrap();
        let registered =
            Registered { worker_id: worker_id.to_owned(), heartbeat_ms: 50, wants_held: true, webui_port: 8080 };
        connection.send(master_message::Message::Registered(registered)).await;
        connection
    }
}

impl Connection {
    async fn send(&self, message: master_message::Message) {
        in_time(self.to.send(Ok(MasterMessage { message: Some(message) }))).await.unwrap();
    }

    async fn message(&mut self) -> worker_message::Message {
        in_time(self.from.message()).await.unwrap().unwrap().message.unwrap()
    }

    /// The first message of a stream.
    async fn held(&mut self) -> Vec<HeldQuery> {
        match self.message().await {
            worker_message::Message::Held(held) => held.queries,
            other => panic!("expected what is held, found {other:?}"),
        }
    }

    async fn status(&mut self) -> TaskStatus {
        loop {
            if let worker_message::Message::TaskStatus(status) = self.message().await {
                return status;
            }
        }
    }

    async fn heartbeat(&mut self) -> Heartbeat {
        loop {
            if let worker_message::Message::Heartbeat(heartbeat) = self.message().await {
                return heartbeat;
            }
        }
    }

    async fn acknowledge(&self, status: &TaskStatus) {
        self.send(master_message::Message::Ack(StatusAck { seq: status.seq })).await;
    }

    /// The next status is a success and is acknowledged.
    async fn done(&mut self) -> TaskDone {
        let status = self.status().await;
        self.acknowledge(&status).await;
        match status.outcome.unwrap() {
            Outcome::Done(done) => done,
            other => panic!("expected success, found {other:?}"),
        }
    }

    async fn prepare(&self, settings: &[(&str, &str)]) {
        let settings = settings.iter().map(|(key, value)| Setting { key: (*key).into(), value: (*value).into() });
        self.send(master_message::Message::PrepareQuery(PrepareQuery {
            query_id: "q1".to_owned(),
            settings: settings.collect(),
            app_id: "app-1".to_owned(),
            ..PrepareQuery::default()
        }))
        .await;
    }

    async fn launch(&self, stage: u32, attempt: u64, plan: Arc<dyn ExecutionPlan>, is_result: bool) {
        self.send(master_message::Message::LaunchTask(LaunchTask {
            task: Some(task(stage, attempt)),
            plan: codec::encode_plan(&plan, codec::codec().as_ref()).unwrap().into(),
            cores: 2,
            is_result,
            output_partitions: vec![0, 1],
            lineage: LINEAGE,
            ..LaunchTask::default()
        }))
        .await;
    }
}

fn task(stage: u32, attempt: u64) -> TaskRef {
    TaskRef { query_id: "q1".to_owned(), stage_id: stage, task_index: 0, attempt }
}

fn write_parquet(path: &Path) {
    let schema = Arc::new(Schema::new(vec![Field::new("v", DataType::Int64, false)]));
    let values = Int64Array::from_iter_values(0..ROWS);
    let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(values)]).unwrap();
    let mut writer = ArrowWriter::try_new(std::fs::File::create(path).unwrap(), schema, None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

async fn plan(directory: &Path, sql: &str) -> Arc<dyn ExecutionPlan> {
    let path = directory.join("t.parquet");
    if !path.exists() {
        write_parquet(&path);
    }
    let context = SessionContext::new_with_config(session::cluster_config(2));
    context.register_parquet("t", path.to_str().unwrap(), ParquetReadOptions::default()).await.unwrap();
    context.sql(sql).await.unwrap().create_physical_plan().await.unwrap()
}

fn shuffled(input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    let keys = Partitioning::Hash(vec![col("v", &input.schema()).unwrap()], 2);
    let config = SortShuffleConfig::new(true, 8192);
    Arc::new(SortShuffleWriterExec::try_new("q1".into(), 1, input, String::new(), keys, config).unwrap())
}

fn reader(input: &Arc<dyn ExecutionPlan>, done: &TaskDone, flight_port: u16) -> Arc<dyn ExecutionPlan> {
    let mut partitions: Vec<Vec<PartitionLocation>> = vec![Vec::new(), Vec::new()];
    for output in &done.outputs {
        let partition = usize::try_from(output.partition_id).unwrap();
        partitions[partition].push(PartitionLocation {
            map_partition_id: 0,
            partition_id: PartitionId::new(&"q1".into(), 1, partition),
            executor_meta: ExecutorMetadata {
                id: "worker-1".to_owned(),
                host: "127.0.0.1".to_owned(),
                port: flight_port,
                grpc_port: 0,
                specification: ExecutorSpecification::default(),
                os_info: ExecutorOperatingSystemSpecification::default(),
            },
            partition_stats: PartitionStats::new(
                Some(output.num_rows),
                Some(output.num_batches),
                Some(output.num_bytes),
            ),
            file_id: output.file_id,
            is_sort_shuffle: output.is_sort_shuffle,
        });
    }
    let keys = Partitioning::Hash(vec![col("v", &input.schema()).unwrap()], 2);
    Arc::new(ShuffleReaderExec::try_new(1, partitions, input.schema(), keys).unwrap())
}

fn inline(done: &TaskDone) -> Vec<i64> {
    assert!(done.ticket.is_empty());
    let reader = StreamReader::try_new(&done.inline_ipc[..], None).unwrap();
    values(&reader.map(Result::unwrap).collect::<Vec<_>>())
}

fn values(batches: &[RecordBatch]) -> Vec<i64> {
    let columns = batches.iter().map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec());
    let mut values: Vec<i64> = columns.flatten().collect();
    values.sort_unstable();
    values
}

async fn fetch(port: u16, ticket: bytes::Bytes) -> Result<Vec<RecordBatch>, FlightError> {
    let mut client = FlightServiceClient::new(connect(&format!("127.0.0.1:{port}")).await.unwrap());
    let answer = client.do_get(Ticket { ticket }).await.map_err(|status| FlightError::Tonic(Box::new(status)))?;
    FlightRecordBatchStream::new_from_flight_data(answer.into_inner().map_err(FlightError::from)).try_collect().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_of_two_stages_gives_its_rows_over_flight_inline_and_by_ticket() {
    let mut cluster = cluster().await;
    let flight_port = cluster.worker.offer.flight_port;
    let shuffle = cluster.directory.path().join("work/shuffle");
    let mut master = cluster.accept("worker-1").await;
    assert_eq!((master.register.cores, master.register.codec_version), (2, codec::VERSION));
    master.prepare(&[("ballista.shuffle.force_remote_read", "true")]).await;

    let scan = plan(cluster.directory.path(), "SELECT v FROM t WHERE v < 5000").await;
    master.launch(1, 3, shuffled(scan.clone()), false).await;
    let written = master.done().await;
    assert_eq!(written.outputs.iter().map(|output| output.num_rows).sum::<u64>(), 5000);
    assert!(written.outputs.iter().all(|output| output.file_id == Some(3) && output.is_sort_shuffle));

    master.launch(2, 4, reader(&scan, &written, flight_port), true).await;
    assert_eq!(inline(&master.done().await), (0..5000).collect::<Vec<_>>());

    let many = plan(cluster.directory.path(), "SELECT a.v FROM t a, t b WHERE b.v < 20").await;
    master.launch(3, 5, many, true).await;
    let filed = master.done().await;
    assert!(filed.inline_ipc.is_empty() && !filed.ticket.is_empty());
    let rows = values(&fetch(flight_port, filed.ticket.clone()).await.unwrap());
    assert_eq!(rows.len(), usize::try_from(ROWS * 20).unwrap());
    assert_eq!((rows.first(), rows.last()), (Some(&0), Some(&(ROWS - 1))));

    // Locations of a worker that has nothing: the failure names it and the stage.
    let mut lost = written.clone();
    lost.outputs.iter_mut().for_each(|output| output.file_id = Some(99));
    master.launch(2, 6, reader(&scan, &lost, flight_port), true).await;
    let status = master.status().await;
    master.acknowledge(&status).await;
    let Some(Outcome::Failed(failed)) = status.outcome else { panic!("expected a failure") };
    let fetch_failure = failed.fetch.unwrap();
    assert_eq!((fetch_failure.worker_id.as_str(), fetch_failure.stage_id), ("worker-1", 1));
    assert!(failed.transient);

    master.send(master_message::Message::DropQuery(DropQuery { query_id: "q1".to_owned() })).await;
    in_time(async {
        while shuffle.join("q1").exists() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(fetch(flight_port, filed.ticket).await.is_err());
    in_time(cluster.worker.stop()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statuses_survive_a_broken_stream_and_attempts_run_on_under_the_same_id() {
    let mut cluster = cluster().await;
    let mut master = cluster.accept("worker-1").await;
    let first = master.register.clone();
    assert_eq!(first.worker_id, "");
    master.prepare(&[]).await;
    let endless = "SELECT value FROM generate_series(1, 4000000000000) WHERE random() < 0.01";
    let endless = plan(cluster.directory.path(), endless).await;
    master.launch(1, 1, endless, true).await;
    let short = plan(cluster.directory.path(), "SELECT v FROM t WHERE v < 3").await;
    master.launch(1, 2, short, true).await;
    let lost = master.status().await;
    drop(master);

    let mut master = cluster.accept("worker-1").await;
    assert_eq!((master.register.instance.as_str(), master.register.worker_id.as_str()), (&*first.instance, "worker-1"));
    assert_eq!(master.register.running, [task(1, 1)]);
    let held = master.held().await;
    assert_eq!(held.len(), 1);
    assert_eq!((held[0].query_id.as_str(), held[0].app_id.as_str()), ("q1", "app-1"));
    let running = HeldAttempt { task: Some(task(1, 1)), cores: 2, lineage: LINEAGE };
    assert_eq!(held[0].running, [running]);
    let done = HeldOutput { status: Some(TaskStatus { seq: 0, ..lost.clone() }), lineage: LINEAGE };
    assert_eq!(held[0].done, std::slice::from_ref(&done));
    let repeated = master.status().await;
    assert_eq!(repeated, lost);
    master.acknowledge(&repeated).await;
    loop {
        let heartbeat = master.heartbeat().await;
        assert_eq!(heartbeat.running, [task(1, 1)]);
        assert_eq!(heartbeat.metrics.len(), 1);
        if heartbeat.metrics.iter().all(|metrics| metrics.rows > 0) {
            break;
        }
    }

    master.send(master_message::Message::CancelTask(CancelTask { task: Some(task(1, 1)) })).await;
    let cancelled = master.status().await;
    assert!(matches!(cancelled.outcome, Some(Outcome::Cancelled(_))), "{cancelled:?}");
    master.acknowledge(&cancelled).await;
    while !master.heartbeat().await.running.is_empty() {}
    drop(master);

    // What was acknowledged is still held, what was cancelled is not.
    let mut master = cluster.accept("worker-1").await;
    assert_eq!(master.held().await[0].done, [done]);
    master.send(master_message::Message::CancelTask(CancelTask { task: Some(task(1, 2)) })).await;
    master
        .send(master_message::Message::PrepareQuery(PrepareQuery { query_id: "q2".to_owned(), ..Default::default() }))
        .await;
    // It is answered after the cancel was read.
    master
        .send(master_message::Message::LaunchTask(LaunchTask { task: Some(task(1, 3)), ..LaunchTask::default() }))
        .await;
    let failed = master.status().await;
    master.acknowledge(&failed).await;
    drop(master);
    let mut master = cluster.accept("worker-1").await;
    let held = master.held().await;
    assert_eq!(held.len(), 2, "also of a query of which nothing is here");
    assert!(held.iter().all(|query| query.done.is_empty() && query.running.is_empty()), "{held:?}");
    let stage = cluster.directory.path().join("work/shuffle/q1/1/1/result.arrow");
    in_time(async {
        while stage.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    in_time(cluster.worker.stop()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejected_worker_drops_everything_and_comes_back_as_a_fresh_one() {
    let mut cluster = cluster().await;
    let mut master = cluster.accept("worker-1").await;
    let first = master.register.clone();
    master.prepare(&[]).await;
    let short = plan(cluster.directory.path(), "SELECT v FROM t WHERE v < 3").await;
    master.launch(1, 1, short, true).await;
    master.status().await;
    let endless = "SELECT value FROM generate_series(1, 4000000000000) WHERE random() < 0.01";
    master.launch(1, 2, plan(cluster.directory.path(), endless).await, true).await;
    while master.heartbeat().await.running.is_empty() {}
    master.send(master_message::Message::Rejected(Rejected { failure: None })).await;

    let mut master = cluster.accept("worker-2").await;
    assert_ne!(master.register.instance, first.instance);
    assert_eq!((master.register.worker_id.as_str(), master.register.running.len()), ("", 0));
    assert_eq!(master.held().await, []);
    // Neither the status that was not acknowledged nor the one of the stopped attempt.
    assert!(matches!(master.message().await, worker_message::Message::Heartbeat(_)));
    assert!(cluster.worker.state.borrow().clone() == State::Searching(String::new()) || is_worker_2(&cluster.worker));
    in_time(cluster.worker.stop()).await;
}

fn is_worker_2(worker: &Worker) -> bool {
    matches!(&*worker.state.borrow(), State::Registered { worker_id, .. } if worker_id == "worker-2")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draining_worker_tells_every_master_and_leaves_when_it_is_released() {
    let mut cluster = cluster().await;
    let mut master = cluster.accept("worker-1").await;
    assert_eq!((master.register.is_draining, master.register.drain_timeout_ms), (false, 600_000));
    assert!(!master.heartbeat().await.is_draining);
    master.send(master_message::Message::Released(Released {})).await;
    master.send(master_message::Message::Drain(lake_proto::v1::Drain {})).await;
    in_time(cluster.worker.draining.begun()).await;
    while !master.heartbeat().await.is_draining {}
    assert!(get(cluster.worker.offer.http_port, "/metrics").await.contains("lake_worker_draining 1"));
    drop(master);

    let master = cluster.accept("worker-1").await;
    assert!(master.register.is_draining);
    in_time(cluster.worker.state.wait_for(|state| matches!(state, State::Registered { .. }))).await.unwrap();
    let (failed, ()) =
        tokio::join!(in_time(cluster.worker.drain()), master.send(master_message::Message::Released(Released {})));
    assert_eq!(failed, None);
    in_time(cluster.worker.stop()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_was_given_up_or_is_not_known_and_has_nothing_drains_at_once() {
    let mut unknown = cluster().await;
    assert_eq!(in_time(unknown.worker.drain()).await, None);
    in_time(unknown.worker.stop()).await;

    let mut cluster = cluster().await;
    let mut master = cluster.accept("worker-1").await;
    master.heartbeat().await;
    let rejected = async {
        while !master.heartbeat().await.is_draining {}
        master.send(master_message::Message::Rejected(Rejected { failure: None })).await;
    };
    let (failed, ()) = tokio::join!(in_time(cluster.worker.drain()), rejected);
    assert_eq!(failed, None);
    assert!(cluster.connections.try_recv().is_err(), "it came back under another id");
    in_time(cluster.worker.stop()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_registers_where_it_is_to_be_reached_and_listens_where_it_is_bound() {
    let advertised = Advertised { host: "h2".to_owned(), port: 27078, flight_port: 0, webui_port: 28081 };
    let mut cluster = cluster_with(advertised).await;
    let bound = cluster.worker.bound.clone();
    let register = cluster.accept("worker-1").await.register;
    assert_eq!((register.host.as_str(), register.grpc_port, register.http_port), ("h2", 27078, 28081));
    assert_eq!(register.flight_port, u32::from(bound.flight_port));
    assert_eq!(bound.host, "127.0.0.1");
    assert!(get(bound.http_port, "/").await.contains("lake worker h2:27078"));
    in_time(cluster.worker.stop()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_answers_and_readiness_follows_the_registration() {
    let mut cluster = cluster().await;
    let port = cluster.worker.offer.http_port;
    assert!(get(port, "/healthz").await.contains("200 OK"));
    let _master = cluster.accept("worker-1").await;
    in_time(async {
        while !get(port, "/readyz").await.contains("registered as worker-1") {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let page = get(port, "/").await;
    assert!(page.contains("worker-1") && page.contains("default-src 'none'"), "{page}");
    assert!(page.contains("href=\"http://127.0.0.1:8080/\""), "no link to the master's pages: {page}");
    assert!(get(port, "/metrics").await.contains("lake_worker_registered 1"));
    assert!(get(port, "/logs/driver-1/stdout").await.contains("404 Not Found"));
    assert!(get(port, "/logs/..%2f..%2fetc/stdout").await.contains("400 Bad Request"));
    in_time(cluster.worker.stop()).await;
}

#[test]
fn the_pages_of_a_master_are_at_its_host_and_the_port_that_it_has_told() {
    let expected = |url: &str| Some(url.to_owned());
    assert_eq!(pages_of("m1:7077", 8080), expected("http://m1:8080/"));
    assert_eq!(pages_of("[::1]:7077", 8080), expected("http://[::1]:8080/"));
    assert_eq!(pages_of("m1:7077", 0), None, "a master of an older release tells none");
}

async fn get(port: u16, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    in_time(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}
