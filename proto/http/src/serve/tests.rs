use std::net::SocketAddr;

use axum::body::Bytes;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::*;
use crate::{Guard, Hosts, harden, refusal_in_text};

/// More than any of these tests waits for.
const PATIENCE: Duration = Duration::from_secs(30);

struct Served {
    address: SocketAddr,
    stop: CancellationToken,
    server: JoinSet<()>,
}

async fn served(limits: Limits) -> Served {
    let router = Router::new()
        .route("/", get(async || "page\n"))
        .route("/healthz", get(async || "ok\n"))
        .route("/length", post(async |body: Bytes| format!("{}\n", body.len())));
    let hosts = Hosts::new(["h1".to_owned()], |_| false);
    let router = harden(router, Guard { hosts, any_host: &["/healthz"], limits, refusal: refusal_in_text });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let mut server = JoinSet::new();
    server.spawn(serve(listener, router, limits, stop.clone()));
    Served { address, stop, server }
}

impl Served {
    async fn open(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends it and reads until the server closes the connection.
    async fn ask(&self, request: &[u8]) -> String {
        let mut stream = self.open().await;
        stream.write_all(request).await.unwrap();
        rest(&mut stream).await
    }

    async fn end(mut self) {
        self.stop.cancel();
        timeout(PATIENCE, self.server.join_next()).await.unwrap().unwrap().unwrap();
    }
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A connection that is reset with unread input has said what it had to say before.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8(answer).unwrap()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

#[tokio::test]
async fn hosts_methods_and_probes_are_answered_as_documented() {
    let server = served(Limits::default()).await;
    for (request, expected) in [
        ("GET / HTTP/1.1\r\nHost: h1:8080\r\nConnection: close\r\n\r\n", "200"),
        ("GET / HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n", "200"),
        ("GET / HTTP/1.1\r\nHost: attacker.example\r\n\r\n", "421"),
        ("GET /healthz HTTP/1.1\r\nHost: attacker.example\r\nConnection: close\r\n\r\n", "200"),
        ("GET /healthz HTTP/1.0\r\n\r\n", "200"),
        ("GET /%2e%2e/healthz HTTP/1.1\r\nHost: attacker.example\r\n\r\n", "421"),
        ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", "400"),
        ("GET /%ff HTTP/1.1\r\nHost: h1\r\n\r\n", "400"),
        ("GET /%c3%bc%zz HTTP/1.1\r\nHost: h1\r\nConnection: close\r\n\r\n", "404"),
        ("DELETE / HTTP/1.1\r\nHost: h1\r\nConnection: close\r\n\r\n", "405"),
        ("GET /length HTTP/1.1\r\nHost: h1\r\nConnection: close\r\n\r\n", "405"),
        // The preface of HTTP/2: its sender could not read an answer in HTTP/1.1, so the connection is closed.
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ""),
        ("\0\u{1}\u{2}\r\n\r\n", "400"),
    ] {
        let answer = server.ask(request.as_bytes()).await;
        assert_eq!(status(&answer), expected, "{request:?}: {answer}");
    }
    let answer = server.ask(b"GET / HTTP/1.1\r\nHost: attacker.example\r\n\r\n").await;
    assert!(answer.contains("error[denied/host]: ") && answer.contains("--webui-allowed-hosts"), "{answer}");
    server.end().await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_whether_it_says_so_or_not() {
    let server = served(Limits { body_bytes: 10, ..Limits::default() }).await;
    let head = "POST /length HTTP/1.1\r\nHost: h1\r\nConnection: close\r\n";
    for (rest, expected) in [
        ("Content-Length: 10\r\n\r\n0123456789", "200"),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n", "200"),
        ("Content-Length: 11\r\n\r\n", "413"),
        ("Content-Length: 99999999999999999999\r\n\r\n", "400"),
        ("Content-Length: -1\r\n\r\n", "400"),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n6\r\n567890\r\n0\r\n\r\n", "413"),
    ] {
        let answer = server.ask(format!("{head}{rest}").as_bytes()).await;
        assert_eq!(status(&answer), expected, "{rest:?}: {answer}");
    }
    server.end().await;
}

#[tokio::test]
async fn heads_and_bodies_that_do_not_come_end_their_connection() {
    let short = Duration::from_millis(100);
    let server = served(Limits { head: short, body: short, ..Limits::default() }).await;
    // Nothing at all, half a line, half a head: closed, with or without a word.
    for request in [&b""[..], b"GET / HT", b"GET / HTTP/1.1\r\nHost: h1\r\nX-Slow: 1"] {
        let answer = server.ask(request).await;
        assert!(matches!(status(&answer), "" | "408"), "{answer}");
    }
    let answer = server.ask(b"POST /length HTTP/1.1\r\nHost: h1\r\nContent-Length: 5\r\n\r\n012").await;
    assert_eq!(status(&answer), "408", "{answer}");
    assert!(answer.contains("error[unavailable/body-timeout]: "), "{answer}");
    // A connection that was used and waits for its next request is closed as well.
    let answer = server.ask(b"GET / HTTP/1.1\r\nHost: h1\r\n\r\n").await;
    assert_eq!(status(&answer), "200", "{answer}");
    server.end().await;
}

#[tokio::test]
async fn a_head_without_end_is_cut_at_a_bound() {
    let server = served(Limits { head: Duration::from_secs(3_600), ..Limits::default() }).await;
    let mut stream = server.open().await;
    let flood = async {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: h1\r\nX-Long: ").await?;
        for _ in 0..256 {
            stream.write_all(&[b'x'; 64 << 10]).await?;
        }
        Ok::<(), io::Error>(())
    };
    // It may be cut before everything is sent.
    let _ = timeout(PATIENCE, flood).await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(matches!(status(&answer), "431" | ""), "{answer}");
    server.end().await;
}

#[tokio::test]
async fn connections_above_the_cap_wait_for_a_place() {
    let server = served(Limits { connections: 2, ..Limits::default() }).await;
    let mut open = [server.open().await, server.open().await];
    let mut third = Box::pin(server.ask(b"GET / HTTP/1.1\r\nHost: h1\r\nConnection: close\r\n\r\n"));
    for _ in 0..5 {
        for stream in &mut open {
            stream.write_all(b"GET / HTTP/1.1\r\nHost: h1\r\n\r\n").await.unwrap();
            let mut answer = [0; 4_096];
            tokio::select! {
                biased;
                read = timeout(PATIENCE, stream.read(&mut answer)) => assert!(read.unwrap().unwrap() > 0),
                answer = third.as_mut() => panic!("a third connection was served: {answer}"),
            }
            assert!(answer.starts_with(b"HTTP/1.1 200"));
        }
    }
    drop(open);
    let answer = timeout(PATIENCE, third).await.unwrap();
    assert_eq!(status(&answer), "200", "{answer}");
    server.end().await;
}

#[tokio::test]
async fn a_stop_waits_for_what_is_being_answered_and_for_nobody_else() {
    let server = served(Limits::default()).await;
    let mut busy = server.open().await;
    busy.write_all(b"POST /length HTTP/1.1\r\nHost: h1\r\nContent-Length: 3\r\n\r\n01").await.unwrap();
    let mut idle = server.open().await;
    idle.write_all(b"GET / HTTP/1.1\r\nHost: h1\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    timeout(PATIENCE, idle.read_exact(&mut answer)).await.unwrap().unwrap();
    server.stop.cancel();
    rest(&mut idle).await;
    busy.write_all(b"2").await.unwrap();
    let answer = rest(&mut busy).await;
    assert!(status(&answer) == "200" && answer.ends_with("3\n"), "{answer}");
    server.end().await;
}
