//! A server that takes JSON documents over HTTP, as a collector of traces and a catalogue of lineage do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

const READ_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_DOCUMENT_BYTES: usize = 64 << 20;

/// One request.
#[derive(Debug, Clone)]
pub struct Posted {
    /// Path and query.
    pub path: String,
    /// Lines of the head, names in lower case.
    pub headers: Vec<String>,
    /// What was posted.
    pub document: Value,
}

/// The server. Its thread ends with the process.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    posted: Arc<Mutex<Vec<Posted>>>,
}

impl Collector {
    /// Listens on loopback.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let posted: Arc<Mutex<Vec<Posted>>> = Arc::default();
        let kept = posted.clone();
        std::thread::Builder::new().name("collector".to_owned()).spawn(move || {
            for stream in listener.incoming().map_while(std::io::Result::ok) {
                // A client that goes away in the middle has posted nothing.
                if let Ok(document) = take(stream) {
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push(document);
                }
            }
        })?;
        Ok(Self { address, posted })
    }

    /// `http://host:port`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything that was posted to a path so far, in the order of its arrival.
    pub fn posted(&self, path: &str) -> Vec<Posted> {
        let posted = self.posted.lock().unwrap_or_else(PoisonError::into_inner);
        posted.iter().filter(|posted| posted.path == path).cloned().collect()
    }
}

/// Reads one request and answers it. One at a time is enough: each document is small.
fn take(stream: TcpStream) -> Result<Posted> {
    stream.set_read_timeout(Some(READ_TIMEOUT))?;
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let mut lines = lines.into_iter();
    let request = lines.next().context("no request")?;
    let path = request.split(' ').nth(1).context("no path")?.to_owned();
    let headers: Vec<String> = lines
        .filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            Some(format!("{}: {value}", name.to_ascii_lowercase()))
        })
        .collect();
    let length = headers.iter().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    let length = length.context("no length")?;
    anyhow::ensure!(length <= MAX_DOCUMENT_BYTES, "a document of {length} bytes");
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let document = serde_json::from_slice(&body)?;
    let answer =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
    reader.into_inner().write_all(answer.as_bytes())?;
    Ok(Posted { path, headers, document })
}
