//! Wiring: what starts in which order, and ends in the opposite one. Edge.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt;
use lake_proto::{ErrorClass, Fault};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::transport::server::TcpIncoming;

use crate::config::Config;
use crate::leader;
use crate::master::Master;
use crate::raft::{self, RaftThread, Role};
use crate::{rpc, web};

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
    master: Arc<Master>,
    raft: RaftThread,
    servers: JoinSet<Result<(), Fault>>,
}

/// Binds, recovers the state, leads, serves. Answers when the master is ready.
///
/// # Errors
/// `invalid-job` for a host that is not known, `resource` for a port or directory in use, `internal` for a damaged
/// log.
pub async fn start(config: &Config) -> Result<Server, Fault> {
    let grpc = bind(config, config.port, "--port").await?;
    let http = bind(config, config.webui_port, "--webui-port").await?;
    let (grpc_address, http_address) = (local(&grpc)?, local(&http)?);

    let (data_dir, id) = (config.data_dir.clone(), config.id);
    let opened = tokio::task::spawn_blocking(move || raft::start(&data_dir, id)).await;
    let (raft, thread) = opened.map_err(|error| internal(format!("the log could not be opened: {error}")))??;
    let reachable_host = (!grpc_address.ip().is_unspecified()).then(|| url_host(&config.host));
    let master = Master::new(raft, reachable_host, grpc_address.port());

    let mut servers = JoinSet::new();
    servers.spawn(serve_grpc(Arc::clone(&master), grpc));
    servers.spawn(serve_http(Arc::clone(&master), http));
    master.tasks.spawn(leader::lead(Arc::clone(&master)));
    let server = Server { grpc_address, http_address, master, raft: thread, servers };
    server.wait_for_leadership().await?;
    Ok(server)
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

    /// Waits until a server ends by itself, which only happens when it fails.
    ///
    /// # Errors
    /// Why it failed.
    pub async fn failed(&mut self) -> Result<(), Fault> {
        match self.servers.join_next().await {
            Some(Ok(ended)) => ended,
            Some(Err(error)) => Err(internal(format!("a server ended: {error}"))),
            None => std::future::pending().await,
        }
    }

    /// Ends streams, servers, scheduler and raft, in this order. Drivers and workers go on and find the next master.
    pub async fn stop(mut self) {
        self.master.stop.cancel();
        self.master.tasks.close();
        let ended = async {
            while self.servers.join_next().await.is_some() {}
            self.master.tasks.wait().await;
            self.master.scheduler.shutdown().await;
        };
        if tokio::time::timeout(STOP_PATIENCE, ended).await.is_err() {
            tracing::warn!("requests were still open after {} s and are cut", STOP_PATIENCE.as_secs());
        }
        self.servers.abort_all();
        let raft = self.raft;
        // The last snapshot is written here.
        if tokio::task::spawn_blocking(move || raft.stop()).await.is_err() {
            tracing::warn!("the raft thread did not end in order");
        }
    }
}

async fn serve_grpc(master: Arc<Master>, listener: TcpListener) -> Result<(), Fault> {
    let stop = master.stop.clone();
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .add_routes(rpc::services(&master))
        .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
        .await
        .map_err(|error| internal(format!("the gRPC server ended: {error}")))
}

async fn serve_http(master: Arc<Master>, listener: TcpListener) -> Result<(), Fault> {
    let stop = master.stop.clone();
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::trace!("nodelay: {error}");
        }
    });
    axum::serve(listener, web::router(master))
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
        .map_err(|error| internal(format!("the HTTP server ended: {error}")))
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

/// A host as it stands in a URL.
fn url_host(host: &str) -> String {
    let is_bare_v6 = host.contains(':') && !host.starts_with('[');
    if is_bare_v6 { format!("[{host}]") } else { host.to_owned() }
}

fn internal(message: String) -> Fault {
    Fault::new(ErrorClass::Internal, "internal", message)
}

#[cfg(test)]
mod tests;
