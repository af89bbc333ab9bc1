//! An S3 endpoint over a folder, for tests: signed requests, conditional puts, any port, and faults on demand.
//!
//! Prints `listening s3 <address>`. With `--ignore-conditions` it forgets `If-None-Match`, as stores do that must not
//! be used for Delta.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

mod faults;
mod gate;

#[derive(Parser)]
struct Options {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
    #[arg(long)]
    access_key: String,
    #[arg(long)]
    secret_key: String,
    /// Take every put, whatever its conditions.
    #[arg(long)]
    ignore_conditions: bool,
    /// A fault, KIND:METHOD:PATH:PROBABILITY[:TIMES]; may be repeated. Kinds: lost, lost-500, slow-down, error, conflict,
    /// expired, reset, truncated, delay-MS.
    #[arg(long = "fault")]
    faults: Vec<faults::Rule>,
    /// Decides which requests the faults hit.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Gets a line for every fault that fired.
    #[arg(long)]
    fault_log: Option<PathBuf>,
    /// Folder with one folder per bucket.
    root: PathBuf,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    std::fs::create_dir_all(&options.root)?;
    let files = FileSystem::new(&options.root).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let auth = SimpleAuth::from_single(options.access_key, options.secret_key);
    let mut builder = S3ServiceBuilder::new(gate::Gate::new(options.root, files, options.ignore_conditions));
    builder.set_auth(auth);
    let log = options.fault_log.as_deref();
    let service = faults::Faulty::new(builder.build(), options.faults, options.seed, log)?;
    let listener = TcpListener::bind(&options.listen).await.context("cannot listen")?;
    println!("listening s3 {}", listener.local_addr()?);
    let mut connections = JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await?;
        // What has ended is forgotten, or the set would grow for ever.
        while connections.try_join_next().is_some() {}
        socket.set_nodelay(true)?;
        let service = service.clone();
        connections.spawn(async move {
            // A client that hangs up is no fault of the server.
            let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
        });
    }
}
