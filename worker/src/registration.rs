//! The stream to the leading master: found in any start order, opened again for ever, with nothing lost between. Edge.
//!
//! One task owns the connection. Running tasks and drivers do not notice that it breaks: they go on, and their
//! statuses wait in the [`outbox`]. Only `Rejected` ends them, because then the master has given this worker up and
//! runs their work elsewhere.

mod offer;
pub mod outbox;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use lake_proto::channel::{MAX_MESSAGE_BYTES, connect};
use lake_proto::v1::workers_client::WorkersClient;
use lake_proto::v1::{
    EffectiveSetting, Heartbeat, MasterMessage, Register, Registered, WorkerMessage, master_message, worker_message,
};
use lake_proto::{ErrorClass, Fault};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use uuid::Uuid;

pub use self::offer::{Bound, Offer, State};
use self::outbox::Outbox;
use crate::drain::Drain;
use crate::drivers::Drivers;
use crate::host;
use crate::tasks::Tasks;
use crate::workdir::WorkDir;

/// Messages to the master that may wait for the network.
const OUTBOUND: usize = 64;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(2);
const ABANDON_PATIENCE: Duration = Duration::from_secs(30);

/// What the registration needs of the worker.
pub struct Registration {
    /// Addresses of all masters.
    pub masters: Vec<String>,
    /// What is offered.
    pub offer: Offer,
    /// Statuses to deliver.
    pub outbox: Arc<Outbox>,
    /// Gets queries, launches and cancels.
    pub tasks: Arc<Tasks>,
    /// Gets drivers.
    pub drivers: Arc<Drivers>,
    /// For the free space in heartbeats.
    pub work: Arc<WorkDir>,
    /// Told to the master, and by the master.
    pub drain: Drain,
    /// How long it waits at most for its release.
    pub drain_timeout: Duration,
    /// What it runs with, to be shown.
    pub settings: Vec<EffectiveSetting>,
    /// Where the state is shown.
    pub state: watch::Sender<State>,
}

/// Why a connection ended.
enum End {
    /// It did not come to a registration.
    Unreachable(Fault),
    /// It broke after one.
    Lost(Fault),
    /// The master gave this worker up.
    Rejected(Fault),
}

/// Who this worker is to the master.
struct Identity {
    instance: String,
    worker_id: String,
}

impl Identity {
    fn fresh() -> Self {
        Self { instance: Uuid::new_v4().to_string(), worker_id: String::new() }
    }
}

impl Registration {
    /// Keeps the worker registered; never ends.
    pub async fn run(self) -> Result<(), Infallible> {
        let mut identity = Identity::fresh();
        let mut pause = FIRST_PAUSE;
        loop {
            for address in &self.masters {
                match self.attach(address, &mut identity).await {
                    End::Unreachable(fault) => self.searching(&fault),
                    End::Lost(fault) => {
                        self.searching(&fault);
                        pause = FIRST_PAUSE;
                    }
                    End::Rejected(fault) => {
                        self.searching(&fault);
                        if !identity.worker_id.is_empty() {
                            self.start_over().await;
                            if self.drain.has_begun() {
                                // Nothing is left here that anybody could need; it comes back under no other id.
                                self.drain.release();
                                return std::future::pending().await;
                            }
                            identity = Identity::fresh();
                            pause = FIRST_PAUSE;
                        }
                    }
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Says so once, not at every try.
    fn searching(&self, fault: &Fault) {
        let before = self.state.send_replace(State::Searching(fault.message.clone()));
        match before {
            State::Registered { worker_id, master, .. } => {
                tracing::warn!(worker_id, master, error.class = fault.class.name(), error = %fault,
                    "the master is lost, looking for one");
            }
            State::Searching(why) if why.is_empty() => {
                tracing::info!(error = %fault, "no master yet, looking for one");
            }
            State::Searching(_) => {}
        }
    }

    async fn start_over(&self) {
        tokio::join!(self.tasks.abandon(ABANDON_PATIENCE), self.drivers.abandon(ABANDON_PATIENCE));
        self.outbox.clear();
    }

    async fn attach(&self, address: &str, identity: &mut Identity) -> End {
        let (outbound, mut inbound) = match self.open(address, identity).await {
            Ok(streams) => streams,
            Err(fault) => return End::Unreachable(fault),
        };
        let first = match timeout(ANSWER_TIMEOUT, inbound.message()).await {
            Ok(Ok(Some(MasterMessage { message: Some(message) }))) => message,
            Ok(Ok(_)) => return End::Unreachable(closed_by(address)),
            Ok(Err(status)) => return End::Unreachable(status.into()),
            Err(_) => return End::Unreachable(unavailable(format!("{address} does not answer a registration"))),
        };
        let registered = match first {
            master_message::Message::Registered(registered) => registered,
            master_message::Message::Rejected(rejected) => return End::Rejected(reason(rejected.failure)),
            _ => return End::Unreachable(unavailable(format!("{address} did not answer the registration"))),
        };
        identity.worker_id.clone_from(&registered.worker_id);
        tracing::info!(worker_id = registered.worker_id, master = address, "registered");
        self.state.send_replace(State::Registered {
            worker_id: registered.worker_id.clone(),
            master: address.to_owned(),
            pages: pages_of(address, registered.webui_port),
        });
        // Reading and writing never wait for each other, or two full buffers would stop both sides.
        tokio::select! {
            end = self.read(inbound, address) => end,
            end = self.write(outbound, &registered, address) => end,
        }
    }

    async fn open(
        &self,
        address: &str,
        identity: &Identity,
    ) -> Result<(mpsc::Sender<WorkerMessage>, Streaming<MasterMessage>), Fault> {
        let channel = connect(address).await?;
        let mut client = WorkersClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let (outbound, receiver) = mpsc::channel(OUTBOUND);
        let register = WorkerMessage { message: Some(worker_message::Message::Register(self.register(identity))) };
        outbound.send(register).await.map_err(|_| closed_by(address))?;
        let answer = timeout(ANSWER_TIMEOUT, client.attach(ReceiverStream::new(receiver)))
            .await
            .map_err(|_| unavailable(format!("{address} does not answer a registration")))??;
        Ok((outbound, answer.into_inner()))
    }

    fn register(&self, identity: &Identity) -> Register {
        Register {
            instance: identity.instance.clone(),
            worker_id: identity.worker_id.clone(),
            host: self.offer.host.clone(),
            grpc_port: u32::from(self.offer.grpc_port),
            flight_port: u32::from(self.offer.flight_port),
            http_port: u32::from(self.offer.http_port),
            cores: self.offer.cores,
            memory_bytes: self.offer.memory_bytes,
            codec_version: lake_engine::codec::VERSION,
            running: self.tasks.running().into_iter().map(|running| running.task).collect(),
            drivers: self.drivers.running(),
            is_draining: self.drain.has_begun(),
            drain_timeout_ms: u64::try_from(self.drain_timeout.as_millis()).unwrap_or(u64::MAX),
            reports_held: true,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            settings: self.settings.clone(),
        }
    }

    async fn read(&self, mut inbound: Streaming<MasterMessage>, address: &str) -> End {
        loop {
            let message = match inbound.message().await {
                Ok(Some(MasterMessage { message: Some(message) })) => message,
                // A message this version does not know.
                Ok(Some(MasterMessage { message: None })) => continue,
                Ok(None) => return End::Lost(closed_by(address)),
                Err(status) => return End::Lost(status.into()),
            };
            match message {
                master_message::Message::Ack(ack) => self.outbox.acknowledge(ack.seq),
                master_message::Message::PrepareQuery(prepare) => self.tasks.prepare(&prepare),
                master_message::Message::LaunchTask(launch) => self.tasks.launch(launch),
                master_message::Message::CancelTask(cancel) => self.tasks.cancel(&cancel.task.unwrap_or_default()),
                master_message::Message::DropQuery(drop) => self.tasks.drop_query(&drop.query_id),
                master_message::Message::LaunchDriver(launch) => self.drivers.launch(launch),
                master_message::Message::KillDriver(kill) => self.drivers.kill(&kill.driver_id, kill.epoch),
                master_message::Message::Drain(_) => self.drain.begin(),
                master_message::Message::Released(_) => self.drain.release(),
                master_message::Message::Registered(_) => {}
                master_message::Message::Rejected(rejected) => return End::Rejected(reason(rejected.failure)),
            }
        }
    }

    async fn write(&self, outbound: mpsc::Sender<WorkerMessage>, registered: &Registered, address: &str) -> End {
        let every = match registered.heartbeat_ms {
            0 => DEFAULT_HEARTBEAT,
            ms => Duration::from_millis(u64::from(ms)),
        };
        let mut beat = interval(every);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        if registered.wants_held {
            // Before any status: an attempt that it names may end at once.
            let held = worker_message::Message::Held(self.tasks.held());
            if outbound.send(WorkerMessage { message: Some(held) }).await.is_err() {
                return End::Lost(closed_by(address));
            }
        }
        let mut cursor = 0;
        // The first heartbeat goes out at once.
        let mut is_told = self.drain.has_begun();
        loop {
            let changed = self.outbox.changed();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.flush(&outbound, &mut cursor).await.is_err() {
                return End::Lost(closed_by(address));
            }
            tokio::select! {
                () = changed => {}
                () = self.drain.begun(), if !is_told => {
                    is_told = true;
                    beat.reset_immediately();
                }
                _ = beat.tick() => {
                    // An attempt missing from this heartbeat has its status in the outbox: that goes first.
                    let heartbeat = self.heartbeat();
                    let message = WorkerMessage { message: Some(worker_message::Message::Heartbeat(heartbeat)) };
                    if self.flush(&outbound, &mut cursor).await.is_err() || outbound.send(message).await.is_err() {
                        return End::Lost(closed_by(address));
                    }
                }
            }
        }
    }

    async fn flush(
        &self,
        outbound: &mpsc::Sender<WorkerMessage>,
        cursor: &mut u64,
    ) -> Result<(), mpsc::error::SendError<WorkerMessage>> {
        while let Some((seq, message)) = self.outbox.next_after(*cursor) {
            outbound.send(message).await?;
            *cursor = seq;
        }
        Ok(())
    }

    fn heartbeat(&self) -> Heartbeat {
        let mut heartbeat = Heartbeat {
            memory_used_bytes: host::resident_bytes(std::process::id()).unwrap_or(0),
            disk_free_bytes: host::disk(self.work.root()).free_bytes,
            drivers: self.drivers.running(),
            is_draining: self.drain.has_begun(),
            shuffle_bytes: self.tasks.shuffle_bytes(),
            ..Heartbeat::default()
        };
        for running in self.tasks.running() {
            heartbeat.running.push(running.task);
            heartbeat.metrics.push(running.metrics);
        }
        heartbeat
    }
}

/// Where the pages of the master at this address are, which has them at another port of its host.
fn pages_of(address: &str, port: u32) -> Option<String> {
    let (host, _) = address.rsplit_once(':').filter(|_| port > 0)?;
    Some(format!("http://{host}:{port}/"))
}

fn reason(failure: Option<lake_proto::v1::Failure>) -> Fault {
    failure.map_or_else(|| unavailable("the master no longer knows this worker".to_owned()), Fault::from)
}

fn closed_by(address: &str) -> Fault {
    unavailable(format!("{address} closed the connection"))
}

fn unavailable(message: String) -> Fault {
    Fault::new(ErrorClass::Unavailable, "master-lost", message)
}

#[cfg(test)]
mod tests;
