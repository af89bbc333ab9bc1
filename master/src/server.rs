//! Wiring: what starts in which order, and ends in the opposite one. Edge.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use lake_http::{Hosts, Limits, host_of, own_host_name};
use lake_master_core::QueueBound;
use lake_pages::Setting;
use lake_proto::{ErrorClass, Fault};
use lake_raft::{PeersService, Raft, RaftThread, Role, Starting};
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;

use crate::config::{Config, check_place};
use crate::history::{self, History};
use crate::leader;
use crate::master::{Master, Ports};
use crate::{rest, rpc, utilisation, web};

const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
const LEADERSHIP_TIMEOUT: Duration = Duration::from_secs(30);
/// How long open requests may take to end.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// A master that serves.
pub struct Server {
    /// Where gRPC is.
    pub grpc_address: SocketAddr,
    /// Where HTTP is.
    pub http_address: SocketAddr,
    /// Where Spark's submission API is, unless it is not served.
    pub rest_address: Option<SocketAddr>,
    master: Arc<Master>,
    /// Empty until this master belongs to a group.
    raft: Arc<Mutex<Option<RaftThread>>>,
    servers: JoinSet<Result<(), Fault>>,
}

/// Binds, recovers the state, serves. A master without others answers when it leads, one of a group at once.
///
/// # Errors
/// `invalid-job` for a host that is not known, or that is not where --peers lists this master, `resource` for a port or
/// directory in use, `internal` for a damaged log.
pub async fn start(config: &Config) -> Result<Server, Fault> {
    let grpc = bind(config, config.port, "--port").await?;
    let http = bind(config, config.webui_port, "--webui-port").await?;
    let rest = match config.rest_port {
        Some(port) => Some(bind(config, port, "--rest-port").await?),
        None => None,
    };
    let (grpc_address, http_address) = (local(&grpc)?, local(&http)?);
    let rest_address = rest.as_ref().map(local).transpose()?;
    check_place(config, grpc_address).await?;

    let options = lake_raft::Options {
        data_dir: config.data_dir.clone(),
        id: config.id,
        address: advertised(config, grpc_address.port()),
        peers: config.peers.clone(),
        joins: config.join,
    };
    let opened = tokio::task::spawn_blocking(move || lake_raft::open(options)).await;
    let (raft, peers, starting) = opened.map_err(|error| unreadable(&config.data_dir, &error))??;
    say_start(config, grpc_address, http_address, rest_address);
    let reachable_host = (!grpc_address.ip().is_unspecified()).then(|| url_host(&config.host));
    let queue = QueueBound::of(config.max_queued_applications);
    let hosts = hosts(config, &raft);
    let history = History::open(&config.history_location(), config.retention())?;
    let ports = Ports { grpc: grpc_address.port(), http: http_address.port() };
    let settings = told_settings(config, ports, rest_address);
    let master = Master::new(raft, config.id, reachable_host, ports, queue, history, settings);
    master.tasks.spawn(history::refresh(Arc::clone(&master)));
    master.tasks.spawn(history::write(Arc::clone(&master)));
    master.tasks.spawn(utilisation::watch(Arc::clone(&master)));

    let mut servers = JoinSet::new();
    servers.spawn(serve_grpc(Arc::clone(&master), peers, grpc));
    servers.spawn(serve_http(web::router(Arc::clone(&master), hosts.clone()), http, master.stop.clone()));
    if let Some(listener) = rest {
        servers.spawn(serve_http(rest::router(Arc::clone(&master), hosts), listener, master.stop.clone()));
    }
    servers.spawn(lead(Arc::clone(&master)));
    let raft = Arc::default();
    let is_alone = config.peers.len() <= 1 && !config.join;
    if config.peers.len() > 1 && config.peers.len().is_multiple_of(2) {
        let masters = config.peers.len();
        tracing::warn!(masters, "an even number of masters survives no more losses than one master less");
    }
    if is_alone {
        take_part(starting, Arc::clone(&raft)).await?;
    } else {
        let (stop, raft) = (master.stop.clone(), Arc::clone(&raft));
        servers.spawn(async move {
            if let Some(started) = stop.run_until_cancelled(take_part(starting, raft)).await {
                started?;
            }
            stop.cancelled().await;
            Ok(())
        });
    }
    let server = Server { grpc_address, http_address, rest_address, master, raft, servers };
    if is_alone {
        server.wait_for_leadership().await?;
    }
    Ok(server)
}

/// The first line of a master's log: who it is, whether it will ever lead or not.
fn say_start(config: &Config, grpc: SocketAddr, http: SocketAddr, rest: Option<SocketAddr>) {
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        member = config.id,
        address = advertised(config, grpc.port()),
        grpc = %grpc,
        http = %http,
        rest = rest.map(tracing::field::display),
        masters = config.peers.len().max(1),
        joins = config.join,
        "master starts"
    );
}

/// What this master runs with, as it is told: with the ports that were bound where any was asked for, and what the
/// environment says beside the settings.
fn told_settings(config: &Config, ports: Ports, rest: Option<SocketAddr>) -> Vec<Setting> {
    let mut settings: Vec<Setting> = config.effective.iter().cloned().map(Into::into).collect();
    for setting in &mut settings {
        let port = match setting.key.as_str() {
            "port" => Some(ports.grpc),
            "webui_port" => Some(ports.http),
            "rest_port" => rest.map(|address| address.port()),
            _ => None,
        };
        if let Some(port) = port {
            setting.value = port.to_string();
        }
    }
    for (key, value) in lake_telemetry::environment::shown() {
        settings.push(Setting { key, value: format!("{value:?}"), origin: "environment".to_owned() });
    }
    settings
}

/// Founds or joins the group, which may take until the other masters are there.
async fn take_part(starting: Starting, raft: Arc<Mutex<Option<RaftThread>>>) -> Result<(), Fault> {
    let thread = starting.start().await?;
    *raft.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
    Ok(())
}

/// The leader's loop ends with the master, or it has failed.
async fn lead(master: Arc<Master>) -> Result<(), Fault> {
    let stop = master.stop.clone();
    leader::lead(master).await;
    if stop.is_cancelled() { Ok(()) } else { Err(internal("the leader's loop ended".to_owned())) }
}

impl Server {
    async fn wait_for_leadership(&self) -> Result<(), Fault> {
        let mut status = self.master.raft.watch();
        let leads = status.wait_for(|status| status.role == Role::Leader);
        match tokio::time::timeout(LEADERSHIP_TIMEOUT, leads).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Fault::new(
                ErrorClass::Unavailable,
                "no-quorum",
                format!("this master did not get to lead within {} s", LEADERSHIP_TIMEOUT.as_secs()),
            )),
        }
    }

    #[cfg(test)]
    fn kill_token(&self, app_id: &str) -> Option<String> {
        web::kill_token(&self.master, app_id)
    }

    /// Waits until a server ends by itself, which only happens when it fails.
    ///
    /// # Errors
    /// Why it failed.
    pub async fn failed(&mut self) -> Result<(), Fault> {
        let ended = tokio::select! {
            ended = self.servers.join_next() => ended,
            () = scheduler_failed(&self.master) => return Err(internal("the scheduler ended".to_owned())),
        };
        match ended {
            Some(Ok(ended)) => ended,
            Some(Err(error)) => Err(internal(format!("a server ended: {error}"))),
            None => std::future::pending().await,
        }
    }

    /// Hands leadership over, then ends streams, servers, scheduler and raft, in this order. Drivers and workers go on
    /// and find the next master.
    pub async fn stop(mut self) {
        // While it still hears the others: the next leader is there before anybody looks for it.
        self.master.raft.hand_over().await;
        self.master.stop.cancel();
        self.master.tasks.close();
        let ended = async {
            while self.servers.join_next().await.is_some() {}
            self.master.tasks.wait().await;
            self.master.end_reign().await;
        };
        if tokio::time::timeout(STOP_PATIENCE, ended).await.is_err() {
            tracing::warn!("requests were still open after {} s and are cut", STOP_PATIENCE.as_secs());
        }
        self.servers.abort_all();
        let raft = self.raft.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The last snapshot is written here.
        if let Some(raft) = raft {
            raft.stop().await;
        }
    }
}

/// Waits until the scheduler has ended though its reign goes on.
async fn scheduler_failed(master: &Master) {
    let mut reigns = master.reigns();
    loop {
        let reign = Arc::clone(&reigns.borrow_and_update());
        tokio::select! {
            () = reign.scheduler.ended(), if !reign.stop.is_cancelled() => {
                if !reign.stop.is_cancelled() {
                    return;
                }
            }
            changed = reigns.changed() => if changed.is_err() { std::future::pending().await },
        }
    }
}

async fn serve_grpc(master: Arc<Master>, peers: PeersService, listener: TcpListener) -> Result<(), Fault> {
    let stop = master.stop.clone();
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .add_routes(rpc::services(&master, peers))
        .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
        .await
        .map_err(|error| internal(format!("the gRPC server ended: {error}")))
}

async fn serve_http(router: Router, listener: TcpListener, stop: CancellationToken) -> Result<(), Fault> {
    lake_http::serve(listener, router, Limits::default(), stop).await;
    Ok(())
}

/// The names under which this master is asked by HTTP: its own, those of its host, those of its group, who may show its
/// pages, and what the operator adds.
fn hosts(config: &Config, raft: &Raft) -> Hosts {
    let own = [Some(config.host.clone()), own_host_name()].into_iter().flatten();
    let raft = raft.clone();
    let is_a_master = move |name: &str| raft.members().iter().any(|member| host_of(&member.address) == name);
    Hosts::new(own.chain(config.webui_allowed_hosts.iter().cloned()), is_a_master)
}

async fn bind(config: &Config, port: u16, flag: &str) -> Result<TcpListener, Fault> {
    let address = config.bind_address(port).await?;
    TcpListener::bind(address).await.map_err(|error| {
        let message = format!("{address} cannot be bound: {error}; choose another {flag} or --host");
        Fault::new(ErrorClass::Resource, "bind", message)
    })
}

fn local(listener: &TcpListener) -> Result<SocketAddr, Fault> {
    listener.local_addr().map_err(|error| internal(format!("a bound socket has no address: {error}")))
}

/// Where the other masters reach this one: as --peers says, or at its own host.
fn advertised(config: &Config, port: u16) -> String {
    match config.peers.get(config.id) {
        Some(listed) => listed.address.clone(),
        None => format!("{}:{port}", url_host(&config.host)),
    }
}

/// A host as it stands in a URL.
fn url_host(host: &str) -> String {
    let is_bare_v6 = host.contains(':') && !host.starts_with('[');
    if is_bare_v6 { format!("[{host}]") } else { host.to_owned() }
}

/// The reader of the log's file panics on some damages.
fn unreadable(data_dir: &Path, error: &JoinError) -> Fault {
    let message = format!(
        "the raft log in {} is damaged and cannot be read ({error}); restore the directory from a backup, or in a group of \
         several remove this master with 'lake-master members remove' and let it join under a new --id with an empty \
         --data-dir",
        data_dir.display()
    );
    Fault::new(ErrorClass::Internal, "raft-log", message)
}

fn internal(message: String) -> Fault {
    Fault::new(ErrorClass::Internal, "internal", message)
}

#[cfg(test)]
mod tests;
