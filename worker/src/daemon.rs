//! The daemon: binds the ports, starts the parts, and ends them in order. Edge.
//!
//! A part that fails at the start ends the process; a part that fails later ends it too, because a worker that only
//! half works is worse than one that is restarted.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arrow_flight::flight_service_server::FlightServiceServer;
use axum::serve::ListenerExt;
use lake_proto::channel::{MAX_MESSAGE_BYTES, master_addresses};
use lake_proto::v1::worker_logs_server::WorkerLogsServer;
use lake_proto::{ErrorClass, Fault};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use uuid::Uuid;

use crate::config::Config;
use crate::drivers::{Drivers, Program};
use crate::flight::ShuffleFlight;
use crate::http::{self, View};
use crate::logs::Logs;
use crate::registration::outbox::Outbox;
use crate::registration::{Offer, Registration, State};
use crate::tasks::Tasks;
use crate::workdir::{WorkDir, janitor};

/// Longer than the grace between SIGTERM and SIGKILL of a driver.
const STOP_PATIENCE: Duration = Duration::from_secs(12);
const FLUSH_PATIENCE: Duration = Duration::from_secs(3);

/// A worker that serves.
pub struct Worker {
    /// Where it is reached, with the ports it really has.
    pub offer: Offer,
    /// Whether a master knows it.
    pub state: watch::Receiver<State>,
    tasks: Arc<Tasks>,
    drivers: Arc<Drivers>,
    outbox: Arc<Outbox>,
    tracker: TaskTracker,
    closed: CancellationToken,
    broken: mpsc::Receiver<Fault>,
}

impl Worker {
    /// Opens the work directory, binds the ports and starts everything. Returns when the worker serves; it looks for
    /// a master from then on.
    ///
    /// # Errors
    /// `unavailable` when a port cannot be bound, and what [`WorkDir::open`] and the master URL say.
    pub async fn start(config: Config, program: Program) -> Result<Self, Fault> {
        let masters = master_addresses(&config.master_url)?;
        let instance = Uuid::new_v4().to_string();
        let path = config.work_dir.clone();
        let work = tokio::task::spawn_blocking(move || WorkDir::open(&path, &instance)).await;
        let work = Arc::new(work.map_err(|error| internal(error.to_string()))??);

        let grpc = bind(&config.host, config.port).await?;
        let flight = bind(&config.host, config.flight_port).await?;
        let web = bind(&config.host, config.webui_port).await?;
        let offer = Offer {
            host: config.host.clone(),
            grpc_port: port_of(&grpc)?,
            flight_port: port_of(&flight)?,
            http_port: port_of(&web)?,
            cores: config.cores,
            memory_bytes: config.memory_bytes,
        };

        let outbox = Arc::new(Outbox::default());
        let tasks = Tasks::new(config.cores, config.memory_bytes, work.clone(), outbox.clone());
        let drivers = Drivers::new(program, work.clone(), outbox.clone());
        let logs = Logs::new(work.clone(), drivers.clone());
        let (state, shown) = watch::channel(State::Searching(String::new()));
        let view = View {
            offer: offer.clone(),
            state: shown.clone(),
            tasks: tasks.clone(),
            drivers: drivers.clone(),
            logs: logs.clone(),
            work: work.clone(),
            started: Instant::now(),
        };
        let registration = Registration {
            masters,
            offer: offer.clone(),
            outbox: outbox.clone(),
            tasks: tasks.clone(),
            drivers: drivers.clone(),
            work: work.clone(),
            state,
        };

        let closed = CancellationToken::new();
        let tracker = TaskTracker::new();
        let (breaks, broken) = mpsc::channel(4);
        let parts = Parts { tracker: tracker.clone(), closed: closed.clone(), breaks };
        parts.start("grpc", serve_logs(grpc, logs));
        parts.start("flight", serve_flight(flight, ShuffleFlight::new(work.shuffle())));
        parts.start("http", serve_http(web, view));
        tracker.spawn(registration.run(closed.clone()));
        tracker.spawn(sweep(work, config.work_dir_ttl, tasks.clone(), drivers.clone(), closed.clone()));
        tracker.close();
        Ok(Self { offer, state: shown, tasks, drivers, outbox, tracker, closed, broken })
    }

    /// Ends with the first part that fails, which none should.
    pub async fn failed(&mut self) -> Fault {
        self.broken.recv().await.unwrap_or_else(|| internal("every part of the worker has ended".to_owned()))
    }

    /// Orderly end: no new work, tasks stopped, drivers' groups ended, statuses delivered if a master listens.
    pub async fn stop(self) {
        tokio::join!(self.tasks.stop(STOP_PATIENCE), self.drivers.stop(STOP_PATIENCE));
        if matches!(*self.state.borrow(), State::Registered { .. }) {
            let delivered = async {
                loop {
                    let changed = self.outbox.changed();
                    tokio::pin!(changed);
                    changed.as_mut().enable();
                    if self.outbox.is_empty() {
                        break;
                    }
                    changed.await;
                }
            };
            if tokio::time::timeout(FLUSH_PATIENCE, delivered).await.is_err() {
                tracing::warn!(statuses = self.outbox.len(), "the master has not acknowledged everything");
            }
        }
        self.closed.cancel();
        self.tracker.wait().await;
    }
}

struct Parts {
    tracker: TaskTracker,
    closed: CancellationToken,
    breaks: mpsc::Sender<Fault>,
}

impl Parts {
    /// Runs a server until the worker ends; its failure is the worker's.
    fn start<E: std::fmt::Display + Send>(
        &self,
        name: &'static str,
        part: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let (closed, breaks) = (self.closed.clone(), self.breaks.clone());
        self.tracker.spawn(async move {
            let ended = tokio::select! {
                () = closed.cancelled() => return,
                ended = part => ended,
            };
            let why = ended.err().map_or_else(|| "it ended".to_owned(), |error| error.to_string());
            // The first failure is enough; nobody reads a second.
            let _ = breaks.try_send(internal(format!("the {name} server failed: {why}")));
        });
    }
}

async fn bind(host: &str, port: u16) -> Result<TcpListener, Fault> {
    TcpListener::bind((host, port)).await.map_err(|error| {
        let hint = if error.kind() == io::ErrorKind::AddrInUse { "; use another port or 0" } else { "" };
        Fault::new(ErrorClass::Unavailable, "bind", format!("cannot listen on {host}:{port}: {error}{hint}"))
    })
}

fn port_of(listener: &TcpListener) -> Result<u16, Fault> {
    listener.local_addr().map(|address| address.port()).map_err(|error| internal(error.to_string()))
}

async fn serve_logs(listener: TcpListener, logs: Logs) -> Result<(), tonic::transport::Error> {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Server::builder().add_service(WorkerLogsServer::new(logs)).serve_with_incoming(incoming).await
}

async fn serve_flight(listener: TcpListener, service: ShuffleFlight) -> Result<(), tonic::transport::Error> {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let service = FlightServiceServer::new(service)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    Server::builder().add_service(service).serve_with_incoming(incoming).await
}

async fn serve_http(listener: TcpListener, view: View) -> io::Result<()> {
    let listener = listener.tap_io(|stream| {
        // Without it every answer waits for the reader's delayed acknowledgement; a failure only costs time.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, http::router(view)).await
}

/// Sweeps the work directory now and every [`janitor::INTERVAL`].
async fn sweep(work: Arc<WorkDir>, ttl: Duration, tasks: Arc<Tasks>, drivers: Arc<Drivers>, closed: CancellationToken) {
    let mut turn = tokio::time::interval(janitor::INTERVAL);
    loop {
        tokio::select! {
            () = closed.cancelled() => return,
            _ = turn.tick() => {}
        }
        let running = drivers.shown().into_iter().filter(|driver| driver.end.is_none());
        let in_use =
            janitor::InUse { applications: running.map(|driver| driver.app_id).collect(), queries: tasks.queries() };
        let work = work.clone();
        let swept = tokio::task::spawn_blocking(move || janitor::sweep(&work, ttl, SystemTime::now(), &in_use)).await;
        match swept {
            Ok(removed) if removed.is_empty() => {}
            Ok(removed) => tracing::info!(directories = removed.len(), "old directories were removed"),
            Err(error) => tracing::error!(error = %error, "the sweep of the work directory panicked"),
        }
    }
}

fn internal(message: String) -> Fault {
    Fault::new(ErrorClass::Internal, "worker", message)
}
