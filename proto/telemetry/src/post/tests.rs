use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver as Received, sync_channel};
use std::thread::JoinHandle;

use reqwest::Url;

use super::*;

/// Requests that may wait to be looked at.
const WAITING: usize = 64;
const DEADLINE: Duration = Duration::from_secs(20);

/// A small server over a real socket: answers each request with the next of these statuses, and the last one for ever.
pub(crate) struct Server {
    pub(crate) address: String,
    pub(crate) requests: Received<String>,
    _thread: JoinHandle<()>,
}

impl Server {
    pub(crate) fn start(statuses: &'static [u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (seen, requests) = sync_channel(WAITING);
        let thread = std::thread::spawn(move || {
            for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                let status = statuses.get(number).or(statuses.last()).copied().unwrap_or(200);
                if seen.send(answer(stream, status)).is_err() {
                    return;
                }
            }
        });
        Self { address, requests, _thread: thread }
    }

    pub(crate) fn next(&self) -> String {
        self.requests.recv_timeout(DEADLINE).unwrap()
    }
}

fn answer(mut stream: TcpStream, status: u16) -> String {
    let mut request = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        let length = text
            .to_ascii_lowercase()
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        if let (Some((_, body)), Some(length)) = (text.split_once("\r\n\r\n"), length)
            && body.len() >= length
        {
            break;
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(read) => request.extend_from_slice(&buffer[..read]),
        }
    }
    let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}");
    stream.write_all(answer.as_bytes()).unwrap();
    String::from_utf8(request).unwrap()
}

pub(crate) fn address(server: &Server) -> Address {
    Address {
        url: Url::parse(&format!("http://{}/v1/in", server.address)).unwrap(),
        headers: vec![("authorization".to_owned(), "Bearer k".to_owned())],
        timeout: Duration::from_secs(5),
    }
}

fn habits(bound: usize, batch: usize) -> Habits {
    Habits { name: "test", goods: "tests", bound, batch, linger: Duration::ZERO }
}

fn post_once(statuses: &'static [u16]) -> (Server, Result<Vec<u8>, String>) {
    let server = Server::start(statuses);
    let client = Http::new(address(&server));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answer = runtime.block_on(client.post(b"{\"a\":1}".to_vec()));
    (server, answer)
}

#[test]
fn a_document_is_posted_with_its_headers() {
    let (server, answer) = post_once(&[200]);
    assert_eq!(answer.unwrap(), b"{}");
    let request = server.next();
    let lower = request.to_ascii_lowercase();
    assert!(request.starts_with("POST /v1/in HTTP/1.1\r\n"), "{request}");
    assert!(lower.contains("\r\ncontent-type: application/json\r\n"), "{request}");
    assert!(request.contains("Bearer k") && request.ends_with("{\"a\":1}"), "{request}");
}

#[test]
fn a_disturbance_is_waited_out_and_a_refusal_is_not() {
    let (server, answer) = post_once(&[503, 429, 202]);
    assert!(answer.is_ok(), "{answer:?}");
    assert_eq!([server.next(), server.next(), server.next()].len(), 3);
    let (server, answer) = post_once(&[400]);
    let why = answer.unwrap_err();
    assert!(why.contains("/v1/in answered 400"), "{why}");
    server.next();
    assert!(server.requests.try_recv().is_err(), "it was sent again");
}

#[test]
fn a_receiver_that_is_not_there_is_named_without_secrets() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = Url::parse(&format!("http://user:secret@{nobody}/in?key=secret")).unwrap();
    let client = Http::new(Address { url, headers: Vec::new(), timeout: Duration::from_secs(5) });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let why = runtime.block_on(client.post(Vec::new())).unwrap_err();
    assert!(why.contains(&nobody.to_string()) && !why.contains("secret"), "{why}");
}

#[test]
fn what_was_handed_over_before_the_end_is_delivered_in_order_and_in_batches() {
    let batches: Arc<Mutex<Vec<Vec<u32>>>> = Arc::default();
    let (open, gate) = sync_channel::<()>(1);
    let carried = batches.clone();
    let (slot, post) = start(habits(100, 4), move |batch: Vec<u32>| {
        if carried.lock().unwrap().is_empty() {
            gate.recv().unwrap();
        }
        carried.lock().unwrap().push(batch);
        async { Ok(Receipt::default()) }
    });
    for number in 0..10 {
        slot.put(number);
    }
    open.send(()).unwrap();
    let tally = slot.tally().clone();
    drop(post);
    let batches = batches.lock().unwrap().clone();
    assert_eq!(batches.concat(), (0..10).collect::<Vec<_>>());
    assert!(batches.iter().all(|batch| batch.len() <= 4), "{batches:?}");
    assert_eq!((tally.delivered(), tally.dropped()), (10, 0));
    slot.put(11);
    assert_eq!(tally.dropped(), 1, "after the end nothing is taken");
}

#[test]
fn a_receiver_that_does_not_take_anything_costs_nobody_time_and_what_is_lost_is_counted() {
    let (open, gate) = sync_channel::<()>(1);
    let (slot, post) = start(habits(3, 1), move |_: Vec<u32>| {
        let closed = gate.recv().is_err();
        async move { if closed { Err("it was not taken".to_owned()) } else { Ok(Receipt { refused: 1 }) } }
    });
    for number in 0..100 {
        slot.put(number);
    }
    let tally = slot.tally().clone();
    assert!(tally.dropped() >= 96, "{tally:?}");
    open.send(()).unwrap();
    drop(open);
    drop(post);
    assert_eq!((tally.delivered(), tally.dropped()), (0, 100), "refused, failed and thrown away");
}
