//! One bidirectional stream per worker. Edge.
//!
//! A status is acknowledged when the scheduler has it or raft has committed it, never before; a stream on which that
//! fails is closed, so that the worker repeats it.

use std::sync::Arc;
use std::time::Duration;

use lake_master_core::{Command, Event, Exit, Registration};
use lake_proto::v1::workers_server::Workers;
use lake_proto::v1::{driver_status, master_message, worker_message};
use lake_proto::{DriverId, ErrorClass, Fault, WorkerId, v1};
use lake_scheduler::{CODEC_VERSION, WorkerInfo};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::TcpConnectInfo;
use tonic::{Request, Response, Status, Streaming};

use super::{Answers, invalid, until_stopped};
use crate::effects;
use crate::liveness::{Link, OUTBOUND};
use crate::master::Master;
use crate::reign::Reign;

const HEARTBEAT_MS: u32 = 2_000;
const FIRST_MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct Service {
    master: Arc<Master>,
}

impl Service {
    pub(super) const fn new(master: Arc<Master>) -> Self {
        Self { master }
    }

    /// The URL under which this worker and its drivers reach the masters.
    fn master_url(&self, request: &Request<Streaming<v1::WorkerMessage>>) -> String {
        let members = self.master.raft.members();
        if members.len() > 1 {
            let addresses: Vec<&str> = members.iter().map(|member| member.address.as_str()).collect();
            return format!("lake://{}", addresses.join(","));
        }
        let local = request.extensions().get::<TcpConnectInfo>().and_then(TcpConnectInfo::local_addr);
        match (&self.master.reachable_host, local) {
            (None, Some(address)) => format!("lake://{address}"),
            (host, _) => format!("lake://{}:{}", host.as_deref().unwrap_or("127.0.0.1"), self.master.ports.grpc),
        }
    }

    /// The worker's id: fresh, or the one it had; [`Refusal::StartOver`] when that is gone.
    async fn admit(&self, register: &v1::Register) -> Result<WorkerId, Refusal> {
        let command = if register.worker_id.is_empty() {
            Command::WorkerRegistered(registration(register)?)
        } else {
            let worker = register.worker_id.parse().map_err(|error| invalid(format!("{error}")))?;
            Command::WorkerBack { worker }
        };
        match self.master.raft.propose(command).await {
            Ok(events) => {
                let id = events.into_iter().find_map(|event| match event {
                    Event::WorkerRegistered { worker, .. } | Event::WorkerBack { worker } => Some(worker),
                    _ => None,
                });
                let lost = || Fault::new(ErrorClass::Internal, "internal", "a registration led to no worker id");
                id.ok_or_else(|| Refusal::Later(lost()))
            }
            Err(fault) if matches!(fault.class, ErrorClass::Conflict | ErrorClass::NotFound) => {
                Err(Refusal::StartOver(fault))
            }
            Err(fault) => Err(Refusal::Later(fault)),
        }
    }
}

enum Refusal {
    /// Its id is gone: stop all work and come back under a fresh one.
    StartOver(Fault),
    /// Try again.
    Later(Fault),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Later(fault)
    }
}

#[tonic::async_trait]
impl Workers for Service {
    type AttachStream = Answers<v1::MasterMessage>;

    async fn attach(
        &self,
        request: Request<Streaming<v1::WorkerMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        self.master.raft.check_leader()?;
        let master_url = self.master_url(&request);
        let mut inbound = request.into_inner();
        let register = first_message(&mut inbound).await?;
        check_codec(&register)?;
        let worker = match self.admit(&register).await {
            Ok(worker) => worker,
            Err(Refusal::Later(fault)) => return Err(fault.into()),
            Err(Refusal::StartOver(fault)) => {
                let rejected = v1::Rejected { failure: Some(fault.into()) };
                let only = to_worker(master_message::Message::Rejected(rejected));
                return Ok(Response::new(Box::pin(tokio_stream::once(Ok(only)))));
            }
        };
        let (sender, outbound) = mpsc::channel(OUTBOUND);
        let registered = v1::Registered {
            worker_id: worker.to_string(),
            heartbeat_ms: HEARTBEAT_MS,
            wants_held: true,
            webui_port: u32::from(self.master.ports.http),
        };
        // The channel is new and empty.
        let _ = sender.try_send(to_worker(master_message::Message::Registered(registered)));
        let info = worker_info(&worker, &register)?;
        let link = Link { sender: sender.clone(), master_url };
        let reign = self.master.reign();
        reign.scheduler.worker_attached(info, sender.clone()).await;
        let stream = reign.fleet.attach(&worker, link, &register);
        if !register.reports_held {
            // Nothing that it runs can be taken over: the scheduler tells it to end what is not known here.
            let running = v1::Heartbeat {
                metrics: vec![v1::TaskMetrics::default(); register.running.len()],
                running: register.running,
                ..v1::Heartbeat::default()
            };
            reign.scheduler.heartbeat(worker.clone(), running).await;
        }
        let stop = reign.stop.clone();
        let reader = Reader { master: Arc::clone(&self.master), reign, worker, stream, sender };
        self.master.tasks.spawn(reader.run(inbound));
        let outbound = ReceiverStream::new(outbound).map(Ok);
        Ok(Response::new(until_stopped(outbound, stop)))
    }
}

/// Reads what one worker sends, until its stream ends.
struct Reader {
    master: Arc<Master>,
    reign: Arc<Reign>,
    worker: WorkerId,
    stream: u64,
    sender: mpsc::Sender<v1::MasterMessage>,
}

impl Reader {
    async fn run(self, mut inbound: Streaming<v1::WorkerMessage>) {
        loop {
            let message = tokio::select! {
                () = self.reign.stop.cancelled() => return,
                () = self.sender.closed() => break,
                message = inbound.message() => message,
            };
            let Ok(Some(v1::WorkerMessage { message })) = message else { break };
            // One that this version does not know.
            let Some(message) = message else { continue };
            if let Err(fault) = self.handle(message).await {
                tracing::warn!(worker_id = %self.worker, error.class = %fault.class, "the stream is closed: {fault}");
                break;
            }
        }
        if self.reign.fleet.detach(&self.worker, self.stream) {
            tracing::warn!(worker_id = %self.worker, "the stream of a worker has ended");
            effects::probe(&self.master, &self.reign, self.worker);
        }
    }

    async fn handle(&self, message: worker_message::Message) -> Result<(), Fault> {
        match message {
            worker_message::Message::Register(_) => {
                Err(invalid(format!("{} registered twice on one stream", self.worker)))
            }
            worker_message::Message::Held(held) => {
                self.reign.fleet.heard(&self.worker);
                // In this order: whoever finds that all have reported finds the reports.
                self.reign.scheduler.worker_holds(self.worker.clone(), held).await;
                self.reign.fleet.reported(&self.worker);
                Ok(())
            }
            worker_message::Message::Heartbeat(heartbeat) => {
                if heartbeat.is_draining {
                    // Before the leader's loop can see it. A repeat changes nothing.
                    self.reign.scheduler.worker_draining(self.worker.clone()).await;
                }
                self.reign.fleet.heartbeat(&self.worker, &heartbeat);
                self.reign.scheduler.heartbeat(self.worker.clone(), heartbeat).await;
                Ok(())
            }
            worker_message::Message::TaskStatus(status) => {
                self.reign.fleet.heard(&self.worker);
                let seq = status.seq;
                self.reign.scheduler.task_status(self.worker.clone(), status).await;
                self.acknowledge(seq).await
            }
            worker_message::Message::DriverStatus(status) => {
                self.reign.fleet.heard(&self.worker);
                let seq = status.seq;
                if let Some(command) = driver_command(status) {
                    match self.master.raft.propose(command).await {
                        // Nothing about it will be different another time.
                        Ok(_) => {}
                        Err(fault) if fault.class != ErrorClass::Unavailable => {
                            tracing::warn!(worker_id = %self.worker, "a driver status was refused: {fault}");
                        }
                        Err(fault) => return Err(fault),
                    }
                }
                self.acknowledge(seq).await
            }
        }
    }

    async fn acknowledge(&self, seq: u64) -> Result<(), Fault> {
        let ack = to_worker(master_message::Message::Ack(v1::StatusAck { seq }));
        let closed = |_| Fault::new(ErrorClass::Unavailable, "worker-stream", "the worker has closed its stream");
        self.sender.send(ack).await.map_err(closed)
    }
}

fn to_worker(message: master_message::Message) -> v1::MasterMessage {
    v1::MasterMessage { message: Some(message) }
}

async fn first_message(inbound: &mut Streaming<v1::WorkerMessage>) -> Result<v1::Register, Status> {
    let first = tokio::time::timeout(FIRST_MESSAGE_TIMEOUT, inbound.message())
        .await
        .map_err(|_| invalid("a worker opened a stream and did not register".to_owned()))??;
    match first.and_then(|first| first.message) {
        Some(worker_message::Message::Register(register)) => Ok(register),
        _ => Err(invalid("a worker's first message must be its registration".to_owned()).into()),
    }
}

fn check_codec(register: &v1::Register) -> Result<(), Fault> {
    if register.codec_version == CODEC_VERSION {
        return Ok(());
    }
    Err(Fault::new(
        ErrorClass::InvalidJob,
        "codec-version",
        format!(
            "the worker at {}:{} has plan codec {}, this master has {CODEC_VERSION}; run the same version on both",
            register.host, register.grpc_port, register.codec_version
        ),
    ))
}

fn registration(register: &v1::Register) -> Result<Registration, Fault> {
    if register.instance.is_empty() || register.host.is_empty() {
        return Err(invalid("a worker registered without instance or host".to_owned()));
    }
    Ok(Registration {
        instance: register.instance.clone(),
        host: register.host.clone(),
        grpc_port: port(register.grpc_port)?,
        flight_port: port(register.flight_port)?,
        http_port: port(register.http_port)?,
        cores: register.cores,
        memory_bytes: register.memory_bytes,
    })
}

fn worker_info(worker: &WorkerId, register: &v1::Register) -> Result<WorkerInfo, Fault> {
    Ok(WorkerInfo {
        id: worker.clone(),
        host: register.host.clone(),
        grpc_port: port(register.grpc_port)?,
        flight_port: port(register.flight_port)?,
        cores: register.cores,
        is_draining: register.is_draining,
    })
}

fn port(number: u32) -> Result<u16, Fault> {
    u16::try_from(number).map_err(|_| invalid(format!("{number} is not a port")))
}

/// `None` for a status this version does not know.
fn driver_command(status: v1::DriverStatus) -> Option<Command> {
    let driver: DriverId = status.driver_id.parse().ok()?;
    let epoch = status.epoch;
    match status.outcome? {
        driver_status::Outcome::Started(_) => Some(Command::DriverStarted { driver, epoch }),
        driver_status::Outcome::Exited(exited) => {
            let exit = Exit { code: exited.exit_code, signal: exited.signal, fault: exited.failure.map(Fault::from) };
            Some(Command::DriverExited { driver, epoch, exit })
        }
    }
}
