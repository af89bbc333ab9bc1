//! The daemon: binds the ports, starts the parts, and ends them in order. Edge.
//!
//! A part that fails at the start ends the process; a part that fails later ends it too, because a worker that only
//! half works is worse than one that is restarted.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arrow_flight::flight_service_server::FlightServiceServer;
use futures::FutureExt;
use lake_http::{Hosts, Limits, own_host_name};
use lake_proto::channel::{MAX_MESSAGE_BYTES, master_addresses};
use lake_proto::v1::EffectiveSetting;
use lake_proto::v1::worker_logs_server::WorkerLogsServer;
use lake_proto::{ErrorClass, Fault};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use uuid::Uuid;

use crate::config::{self, Config};
use crate::drain::Drain;
use crate::drivers::{Drivers, Program};
use crate::flight::ShuffleFlight;
use crate::http::{self, View};
use crate::logs::Logs;
use crate::registration::outbox::Outbox;
use crate::registration::{Bound, Offer, Registration, State};
use crate::tasks::Tasks;
use crate::workdir::{WorkDir, janitor};

/// Longer than the grace between SIGTERM and SIGKILL of a driver.
const STOP_PATIENCE: Duration = Duration::from_secs(12);
const FLUSH_PATIENCE: Duration = Duration::from_secs(3);

/// A worker that serves.
pub struct Worker {
    /// Where it listens, with the ports it really has.
    pub bound: Bound,
    /// Where it is reached, and what it offers.
    pub offer: Offer,
    /// Whether a master knows it.
    pub state: watch::Receiver<State>,
    /// Begun by a master that wants it to drain; [`Worker::drain`] is then to be called.
    pub draining: Drain,
    drain_timeout: Duration,
    tasks: Arc<Tasks>,
    drivers: Arc<Drivers>,
    outbox: Arc<Outbox>,
    logs: Logs,
    servers: Parts,
    /// Ends last: when a master sees the end of its stream, nobody listens at the worker's ports any more.
    registration: Parts,
    broken: mpsc::Receiver<Fault>,
}

impl Worker {
    /// Opens the work directory, binds the ports and starts everything. Returns when the worker serves; it looks for
    /// a master from then on.
    ///
    /// # Errors
    /// `resource` when a port cannot be bound, and what [`WorkDir::open`] and the master URL say.
    pub async fn start(config: Config, program: Program) -> Result<Self, Fault> {
        let masters = master_addresses(&config.master_url)?;
        let work = Arc::new(open(&config).await?);
        let sockets = Sockets::bind(&config).await?;
        let bound = sockets.bound(&config.host)?;
        let (offer, hosts) = (Offer::new(&config, &bound), hosts_of(&config));

        let outbox = Arc::new(Outbox::default());
        let tasks = Tasks::new(config.cores, config.memory_bytes, work.clone(), outbox.clone());
        let drivers = Drivers::new(program, work.clone(), outbox.clone());
        let logs = Logs::new(work.clone(), drivers.clone());
        let (state, shown) = watch::channel(State::Searching(String::new()));
        let draining = Drain::default();
        let view = View {
            offer: offer.clone(),
            state: shown.clone(),
            tasks: tasks.clone(),
            drivers: drivers.clone(),
            logs: logs.clone(),
            work: work.clone(),
            outbox: outbox.clone(),
            draining: draining.clone(),
            started: Instant::now(),
        };
        let registration = Registration {
            masters,
            offer: offer.clone(),
            outbox: outbox.clone(),
            tasks: tasks.clone(),
            drivers: drivers.clone(),
            work: work.clone(),
            drain: draining.clone(),
            drain_timeout: config.drain_timeout,
            settings: told_settings(config.effective, &offer, &bound),
            state,
        };

        let (breaks, broken) = mpsc::channel(4);
        let servers = Parts::new(breaks.clone());
        servers.start("the grpc server", serve_logs(sockets.grpc, logs.clone()));
        let shuffle = ShuffleFlight::new(work.shuffle(), tasks.fence().clone(), tasks.tally().clone());
        servers.start("the flight server", serve_flight(sockets.flight, shuffle));
        servers.start("the http server", serve_http(sockets.web, view, hosts));
        servers.start("the sweep", sweep(work, config.work_dir_ttl, tasks.clone(), drivers.clone()));
        let registered = Parts::new(breaks);
        registered.start("the registration", registration.run());
        Ok(Self {
            bound,
            offer,
            state: shown,
            draining,
            drain_timeout: config.drain_timeout,
            tasks,
            drivers,
            outbox,
            logs,
            servers,
            registration: registered,
            broken,
        })
    }

    /// Ends with the first part that fails, which none should.
    pub async fn failed(&mut self) -> Fault {
        first_failure(&mut self.broken).await
    }

    /// Takes nothing new and goes on with what it has. Ends when the leading master says that nothing of it is needed
    /// any more, when its time is over, or with the part that has failed. A worker that no master knows and that has
    /// nothing does not wait.
    pub async fn drain(&mut self) -> Option<Fault> {
        self.draining.begin();
        let is_registered = matches!(*self.state.borrow(), State::Registered { .. });
        let is_empty = self.tasks.queries().is_empty() && self.drivers.running().is_empty();
        if self.drain_timeout.is_zero() || (is_empty && !is_registered) {
            return None;
        }
        tracing::info!(timeout_s = self.drain_timeout.as_secs(), "draining");
        tokio::select! {
            fault = first_failure(&mut self.broken) => Some(fault),
            () = self.draining.released() => {
                tracing::info!("nothing of this worker is needed any more");
                None
            }
            () = tokio::time::sleep(self.drain_timeout) => {
                self.tell_what_is_left();
                None
            }
        }
    }

    /// That something is still needed is known of a leading master alone; without one nobody says so.
    fn tell_what_is_left(&self) {
        let (tasks, drivers) = (self.tasks.running().len(), self.drivers.running().len());
        let (reports, shuffle_bytes) = (self.outbox.len(), self.tasks.shuffle_bytes());
        match &*self.state.borrow() {
            State::Registered { master, .. } => {
                tracing::warn!(
                    tasks,
                    drivers,
                    undelivered_reports = reports,
                    shuffle_bytes,
                    master,
                    "the time to drain is over, and the master has not said that nothing of this worker is needed"
                );
            }
            State::Searching(why) => {
                tracing::warn!(
                    tasks,
                    drivers,
                    undelivered_reports = reports,
                    shuffle_bytes,
                    "the time to drain is over, and no master answers that could release this worker: {why}"
                );
            }
        }
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
        self.logs.stop(FLUSH_PATIENCE).await;
        self.servers.end().await;
        self.registration.end().await;
    }
}

/// The worker's ports.
struct Sockets {
    grpc: TcpListener,
    flight: TcpListener,
    web: TcpListener,
}

impl Sockets {
    async fn bind(config: &Config) -> Result<Self, Fault> {
        let grpc = bind(&config.host, config.port).await?;
        let flight = bind(&config.host, config.flight_port).await?;
        let web = bind(&config.host, config.webui_port).await?;
        let address = grpc.local_addr().map_err(|error| internal(error.to_string()))?;
        config::check_bound(config, address.ip())?;
        Ok(Self { grpc, flight, web })
    }

    fn bound(&self, host: &str) -> Result<Bound, Fault> {
        Ok(Bound {
            host: host.to_owned(),
            grpc_port: port_of(&self.grpc)?,
            flight_port: port_of(&self.flight)?,
            http_port: port_of(&self.web)?,
        })
    }
}

/// What this worker runs with, as it is told: with the ports that were bound where any was asked for, and what the
/// environment says beside the settings.
fn told_settings(mut settings: Vec<EffectiveSetting>, offer: &Offer, bound: &Bound) -> Vec<EffectiveSetting> {
    for setting in &mut settings {
        let port = match setting.key.as_str() {
            "port" => bound.grpc_port,
            "flight_port" => bound.flight_port,
            "webui_port" => bound.http_port,
            "advertise_port" => offer.grpc_port,
            "advertise_flight_port" => offer.flight_port,
            "advertise_webui_port" => offer.http_port,
            _ => continue,
        };
        setting.value = port.to_string();
    }
    for (key, value) in lake_telemetry::environment::shown() {
        settings.push(EffectiveSetting { key, value: format!("{value:?}"), origin: "environment".to_owned() });
    }
    settings
}

/// Parts that end together.
struct Parts {
    tracker: TaskTracker,
    closed: CancellationToken,
    breaks: mpsc::Sender<Fault>,
}

impl Parts {
    fn new(breaks: mpsc::Sender<Fault>) -> Self {
        Self { tracker: TaskTracker::new(), closed: CancellationToken::new(), breaks }
    }

    async fn end(self) {
        self.closed.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// Runs a part until the worker ends; its failure, its end and its panic are the worker's.
    fn start<E: std::fmt::Display + Send>(
        &self,
        name: &'static str,
        part: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let (closed, breaks) = (self.closed.clone(), self.breaks.clone());
        self.tracker.spawn(async move {
            // Nothing of a part that panicked is used again: the worker ends.
            let ended = tokio::select! {
                () = closed.cancelled() => return,
                ended = AssertUnwindSafe(part).catch_unwind() => ended,
            };
            let why = match ended {
                Ok(Ok(())) => "it ended".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "it panicked".to_owned(),
            };
            // The first failure is enough; nobody reads a second.
            let _ = breaks.try_send(internal(format!("{name} failed: {why}")));
        });
    }
}

async fn first_failure(broken: &mut mpsc::Receiver<Fault>) -> Fault {
    broken.recv().await.unwrap_or_else(|| internal("every part of the worker has ended".to_owned()))
}

async fn open(config: &Config) -> Result<WorkDir, Fault> {
    let (path, instance) = (config.work_dir.clone(), Uuid::new_v4().to_string());
    let opened = tokio::task::spawn_blocking(move || WorkDir::open(&path, &instance)).await;
    opened.map_err(|error| internal(error.to_string()))?
}

/// The names that the page is asked for by.
fn hosts_of(config: &Config) -> Hosts {
    let own = [Some(config.host.clone()), own_host_name()].into_iter().flatten();
    Hosts::new(own.chain(config.webui_allowed_hosts.iter().cloned()), |_| false)
}

async fn bind(host: &str, port: u16) -> Result<TcpListener, Fault> {
    TcpListener::bind((host, port)).await.map_err(|error| {
        let hint = if error.kind() == io::ErrorKind::AddrInUse { "; use another port or 0" } else { "" };
        Fault::new(ErrorClass::Resource, "bind", format!("cannot listen on {host}:{port}: {error}{hint}"))
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

/// Until it is dropped.
async fn serve_http(listener: TcpListener, view: View, hosts: Hosts) -> io::Result<()> {
    let never = CancellationToken::new();
    lake_http::serve(listener, http::router(view, hosts), Limits::default(), never).await;
    Ok(())
}

/// Sweeps the work directory now and every [`janitor::INTERVAL`].
async fn sweep(work: Arc<WorkDir>, ttl: Duration, tasks: Arc<Tasks>, drivers: Arc<Drivers>) -> Result<(), Infallible> {
    let mut turn = tokio::time::interval(janitor::INTERVAL);
    loop {
        turn.tick().await;
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
