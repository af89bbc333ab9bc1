//! Workers that register, beat and do nothing else, each on a stream and a connection of its own. Edge.

use std::time::Duration;

use lake_engine::codec::VERSION;
use lake_proto::channel::connect;
use lake_proto::v1::master_message::Message;
use lake_proto::v1::worker_message::Message as FromWorker;
use lake_proto::v1::workers_client::WorkersClient;
use lake_proto::v1::{self, WorkerMessage};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at};
use tokio_stream::wrappers::ReceiverStream;

/// As the master asks for.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(2);
/// Between two tries to reach a master that is gone.
const RETRY_EVERY: Duration = Duration::from_millis(300);
const WAITING_MESSAGES: usize = 4;
const MEMORY_BYTES: u64 = 1 << 30;

/// The workers; they end when it is dropped.
pub(crate) struct Fleet {
    _tasks: JoinSet<anyhow::Result<()>>,
}

impl Fleet {
    pub(crate) fn start(master: &str, workers: u32) -> Self {
        let mut tasks = JoinSet::new();
        for number in 0..workers {
            tasks.spawn(live(master.to_owned(), number, workers));
        }
        Self { _tasks: tasks }
    }
}

/// One worker, over all lives of the master.
async fn live(master: String, number: u32, workers: u32) -> anyhow::Result<()> {
    // Connections to its address are taken by the kernel: whoever probes it finds somebody.
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut worker = Worker {
        master,
        number,
        port: u32::from(listener.local_addr()?.port()),
        id: String::new(),
        lives: 0,
        // So that they do not beat all at once.
        offset: HEARTBEAT_EVERY * number / workers.max(1),
    };
    loop {
        // A master that is gone is part of what is measured.
        drop(worker.attach().await);
        tokio::time::sleep(RETRY_EVERY).await;
    }
}

struct Worker {
    master: String,
    number: u32,
    port: u32,
    /// Empty until it is registered.
    id: String,
    /// Ids that it has had.
    lives: u32,
    offset: Duration,
}

impl Worker {
    /// Beats until the stream ends.
    async fn attach(&mut self) -> anyhow::Result<()> {
        let channel = connect(&self.master).await?;
        let (outbound, messages) = mpsc::channel(WAITING_MESSAGES);
        outbound.send(said(FromWorker::Register(self.register()))).await?;
        let mut inbound = WorkersClient::new(channel).attach(ReceiverStream::new(messages)).await?.into_inner();
        let mut beat = interval_at(Instant::now() + self.offset, HEARTBEAT_EVERY);
        loop {
            tokio::select! {
                _ = beat.tick() => outbound.send(said(FromWorker::Heartbeat(v1::Heartbeat::default()))).await?,
                message = inbound.message() => match message? {
                    Some(v1::MasterMessage { message: Some(Message::Registered(registered)) }) => {
                        self.id = registered.worker_id;
                    }
                    Some(v1::MasterMessage { message: Some(Message::Rejected(_)) }) => {
                        self.id.clear();
                        self.lives += 1;
                        return Ok(());
                    }
                    Some(_) => {}
                    None => return Ok(()),
                },
            }
        }
    }

    fn register(&self) -> v1::Register {
        v1::Register {
            instance: format!("swarm-{}-{}", self.number, self.lives),
            worker_id: self.id.clone(),
            host: "127.0.0.1".to_owned(),
            grpc_port: self.port,
            flight_port: self.port,
            http_port: self.port,
            cores: 1,
            memory_bytes: MEMORY_BYTES,
            codec_version: VERSION,
            ..v1::Register::default()
        }
    }
}

fn said(message: FromWorker) -> WorkerMessage {
    WorkerMessage { message: Some(message) }
}
