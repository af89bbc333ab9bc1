//! Reading our web pages as a browser does: HTTP/1.1 over a plain socket.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::{DEADLINE, wait_for};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The status line and the headers, names in lower case as our servers write them.
    pub head: String,
    /// What follows.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    ///
    /// # Errors
    /// When it is none.
    pub fn text(&self) -> Result<&str> {
        std::str::from_utf8(&self.body).context("not a text")
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it is none.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("not JSON: {}", self.head))
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }
}

/// What `address` answers to `GET /path` or `POST /path`, with these headers beside the host, and this body.
///
/// # Errors
/// When nothing answers there.
pub fn request(address: &str, method_and_path: &str, headers: &[(&str, &str)], body: &str) -> Result<Answer> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    let mut request = format!("{method_and_path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        request.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    write!(stream, "{request}\r\n{body}")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).with_context(|| format!("{address} does not answer {method_and_path}"))?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").context("not HTTP: no end of the head")?;
    let body = answer.split_off(end + 4);
    let head = String::from_utf8(answer)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
    Ok(Answer { status, head, body })
}

/// What is served at `path` of `address` (`host:port`).
///
/// # Errors
/// When nothing answers there, or with another status than 200.
pub fn get(address: &str, path: &str) -> Result<String> {
    let (status, body) = answer(address, path)?;
    anyhow::ensure!(status == 200, "{address}{path} answered {status}: {body}");
    Ok(body)
}

/// Status and body of what is served there.
///
/// # Errors
/// When nothing answers there.
pub fn answer(address: &str, path: &str) -> Result<(u16, String)> {
    let answer = request(address, &format!("GET {path}"), &[], "")?;
    Ok((answer.status, answer.text()?.to_owned()))
}

/// Waits for an event of this name in the stream of events at `path`.
///
/// # Errors
/// When nothing answers there, or no such event comes in time.
pub fn wait_for_event(address: &str, path: &str, name: &str) -> Result<()> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n\r\n")?;
    let expected = format!("event: {name}");
    let mut text = String::new();
    let mut piece = [0; 1024];
    while !text.contains(&expected) {
        let length = stream.read(&mut piece).with_context(|| format!("no {name} came from {address}{path}: {text}"))?;
        anyhow::ensure!(length > 0, "{address}{path} ended before {name}: {text}");
        text.push_str(&String::from_utf8_lossy(piece.get(..length).unwrap_or_default()));
    }
    Ok(())
}

/// What is served there, as soon as it contains all `words`.
///
/// # Errors
/// With the last answer, when it does not in time.
pub fn wait_for_words(address: &str, path: &str, words: &[&str]) -> Result<String> {
    let mut last = String::new();
    let found = wait_for(&format!("{words:?} on {address}{path}"), DEADLINE, || {
        last = get(address, path).unwrap_or_else(|error| format!("{error:#}"));
        words.iter().all(|word| last.contains(word)).then(|| last.clone())
    });
    found.with_context(|| format!("the last answer was {last}"))
}
