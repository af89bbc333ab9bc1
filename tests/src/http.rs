//! Reading our web pages as a browser does: HTTP/1.1 over a plain socket.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::{DEADLINE, wait_for};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

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
    let mut stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).with_context(|| format!("{address}{path} does not answer"))?;
    let answer = String::from_utf8(answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("not HTTP: {answer}"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
    Ok((status, body.to_owned()))
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
