//! Pages of a master in this process, and what belongs to them.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{Cluster, FakeWorker, http, http_get};

const PATIENCE: Duration = Duration::from_secs(20);

/// Asks for a stream of events.
async fn listen(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /events HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// What comes until `words`, or until the stream ends.
async fn read_until(stream: &mut TcpStream, words: &str) -> String {
    let read = async {
        let mut text = Vec::new();
        loop {
            let mut piece = [0; 4_096];
            let length = stream.read(&mut piece).await.unwrap_or(0);
            text.extend_from_slice(&piece[..length]);
            let so_far = String::from_utf8_lossy(&text).into_owned();
            if length == 0 || so_far.contains(words) {
                return so_far;
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.unwrap()
}

#[tokio::test]
async fn every_page_of_the_navigation_is_there_and_none_takes_what_it_cannot_mean() {
    let cluster = Cluster::start().await;
    let get = async |path: &str| http_get(cluster.http_address(), path).await;
    for (path, expected) in [
        ("/", "No worker is registered."),
        ("/tables", "No step has written or read"),
        ("/lineage", "No step has read or written"),
        ("/history", "No application is like this."),
        ("/environment", "master 1"),
    ] {
        let (status, page) = get(path).await;
        assert!(status == 200 && page.contains(expected), "{path}: {status}: {page}");
        assert!(page.contains("<nav class=\"pages\""), "{path}: {page}");
    }
    for path in [
        "/history?limit=0",
        "/history?limit=99999999",
        "/history?state=dead",
        "/history?status=failed",
        "/tables?txt=x",
        "/applications/app-1/logs?steam=stdout",
        "/history?offset=-1",
        "/tables?offset=x",
        "/lineage?text=%3Cb%3E&text=x&limit",
        "/applications/app-1/logs?stream=..%2f..%2fetc%2fpasswd",
        "/applications/app-1/logs/text?stream=stdout&offset=-5",
        "/applications/app-1/queries/q?sort=beauty",
    ] {
        let (status, page) = get(path).await;
        let expected = if path.starts_with("/lineage") { 200 } else { 400 };
        assert_eq!(status, expected, "{path}: {page}");
        assert!(!page.contains("<b>"), "{path}: {page}");
    }
    for path in [
        "/tables/no.such",
        "/lineage?table=nope",
        "/workers/worker-x",
        "/applications/app-x",
        "/applications/app-x/logs",
        "/applications/app-x/queries/q",
        "/applications/..%2f..%2fetc",
        "/workers/%3Cb%3E",
    ] {
        let (status, page) = get(path).await;
        assert_eq!(status, 404, "{path}: {page}");
        assert!(page.contains("<a href=\"/\">Workers and applications</a>") && !page.contains("<b>"), "{path}: {page}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_worker_and_its_driver_have_pages_and_the_worker_says_what_it_runs_with() {
    let cluster = Cluster::start().await;
    let mut worker = FakeWorker::attach(&cluster, "", vec![]).await;
    let submitted = cluster.submit("s-1").await.unwrap();
    worker.launch().await;
    let (status, page) = http_get(cluster.http_address(), &format!("/workers/{}", worker.id)).await;
    assert!(status == 200 && page.contains(&submitted.driver_id), "{status}: {page}");
    let (status, page) = http_get(cluster.http_address(), "/environment").await;
    assert!(status == 200 && page.contains(&worker.id) && page.contains("different versions"), "{status}: {page}");
    let (status, own) = http_get(cluster.http_address(), "/environment/own").await;
    assert!(status == 200 && own.contains("\"version\""), "{status}: {own}");
    let (status, list) = http_get(cluster.http_address(), "/history?state=running&text=CUSTOMERS").await;
    assert!(status == 200 && list.contains(&submitted.app_id), "{status}: {list}");
    cluster.stop().await;
}

#[tokio::test]
async fn a_log_is_read_at_its_worker_as_a_page_in_parts_and_whole() {
    let cluster = Cluster::start().await;
    let mut worker = FakeWorker::with_logs(&cluster).await;
    let submitted = cluster.submit("s-1").await.unwrap();
    worker.launch().await;
    let (app, driver) = (&submitted.app_id, &submitted.driver_id);
    let ask = async |path: &str| http(cluster.http_address(), "GET", &format!("/applications/{app}{path}")).await;

    let (status, head, page) = ask("/logs?stream=stderr").await;
    assert!(status == 200 && head.contains("text/html"), "{head}");
    let tail = format!("{driver} stderr from 0, follow false, the last {}", lake_pages::TAIL_BYTES);
    assert!(page.contains(&tail) && page.contains(&format!("data-next=\"{}\"", tail.len())), "{page}");

    let (status, head, text) = ask("/logs/text?stream=stdout&offset=5").await;
    assert!(status == 200 && head.contains("text/plain") && !head.contains("script-src"), "{head}");
    assert_eq!(text, format!("{driver} stdout from 5, follow false"));

    let (status, head, whole) = ask("/logs/text?stream=stdout&download=1").await;
    assert!(status == 200 && head.contains(&format!("attachment; filename=\"{driver}.stdout.log\"")), "{head}");
    assert!(whole.contains(&format!("{driver} stdout from 0, follow false")), "{whole}");
    cluster.stop().await;
}

#[tokio::test]
async fn a_driver_without_a_worker_has_no_log_and_its_page_says_why() {
    let cluster = Cluster::start().await;
    let submitted = cluster.submit("s-1").await.unwrap();
    let path = format!("/applications/{}/logs", submitted.app_id);
    let (status, page) = http_get(cluster.http_address(), &path).await;
    assert!(status == 200 && page.contains("no worker has it yet"), "{status}: {page}");
    let (status, text) = http_get(cluster.http_address(), &format!("{path}/text")).await;
    assert!(status == 404 && text.contains("no worker has it yet"), "{status}: {text}");
    cluster.stop().await;
}

#[tokio::test]
async fn pages_are_told_when_to_look_again_and_the_stream_ends_with_the_master() {
    let cluster = Cluster::start().await;
    let mut events = listen(cluster.http_address()).await;
    let head = read_until(&mut events, "\r\n\r\n").await;
    assert!(head.contains("200 OK") && head.contains("text/event-stream"), "{head}");
    cluster.submit("s-1").await.unwrap();
    let told = read_until(&mut events, "event: change\ndata: look again").await;
    assert!(told.contains("event: change"), "{told}");
    cluster.stop().await;
    let ended = tokio::time::timeout(PATIENCE, events.read_to_end(&mut Vec::new())).await;
    assert!(matches!(ended, Ok(Ok(_))), "the stream is still open");
}
