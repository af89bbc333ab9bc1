use super::*;

use std::sync::mpsc::{Receiver, channel};

const PATIENCE: Duration = Duration::from_secs(10);

/// Sends back what it gets, and tells how many connections it has seen.
fn echo() -> (String, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (seen, connections) = channel();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            if seen.send(()).is_err() {
                return;
            }
            std::thread::spawn(move || {
                let mut buffer = [0; 1024];
                while let Ok(read @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..read]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, connections)
}

fn client(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn say(stream: &mut TcpStream, text: &str) -> Result<String> {
    stream.write_all(text.as_bytes())?;
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer)?;
    Ok(String::from_utf8(answer).unwrap())
}

fn wait(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

#[test]
fn what_is_held_arrives_whole_when_the_proxy_passes_again() {
    let (target, _connections) = echo();
    let proxy = Proxy::start("127.0.0.1:0", &target, 1).unwrap();
    let mut stream = client(&proxy);
    assert_eq!(say(&mut stream, "one").unwrap(), "one");
    for way in [Way::Up, Way::Down] {
        let before = proxy.counts().held;
        proxy.set(way, Rule::Hold);
        stream.write_all(b"two").unwrap();
        wait("a held piece", || proxy.counts().held == before + 1);
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        stream.read_exact(&mut [0; 3]).unwrap_err();
        proxy.set(way, Rule::Pass);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answer = [0; 3];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"two");
    }
    assert_eq!(proxy.counts().cut, 0);
}

#[test]
fn cut_refused_and_delayed_connections_are_counted_and_later_ones_pass() {
    let (target, connections) = echo();
    let proxy = Proxy::start("127.0.0.1:0", &target, 1).unwrap();
    let mut stream = client(&proxy);
    assert_eq!(say(&mut stream, "one").unwrap(), "one");
    assert_eq!(proxy.cut(), 1);
    assert!(say(&mut stream, "two").is_err());

    proxy.refuse(true);
    assert!(say(&mut client(&proxy), "three").is_err());
    wait("the refusal", || proxy.counts().refused == 1);

    proxy.refuse(false);
    proxy.set_both(Rule::Delay(Duration::from_millis(30)));
    let started = Instant::now();
    assert_eq!(say(&mut client(&proxy), "four").unwrap(), "four");
    assert!(started.elapsed() >= Duration::from_millis(60));
    assert!(proxy.counts().delayed >= 2);
    assert_eq!(connections.try_iter().count(), 2, "the target saw a connection that was refused");
    assert_eq!((proxy.counts().connections, proxy.counts().cut), (2, 1));
}

#[test]
fn a_connection_breaks_after_as_many_bytes_as_the_seed_says() {
    let (target, _connections) = echo();
    let lasted = |seed| {
        let proxy = Proxy::start("127.0.0.1:0", &target, seed).unwrap();
        proxy.break_after(Some(100..=1_000));
        (0..5)
            .map(|_| {
                let mut stream = client(&proxy);
                (0_u32..).take_while(|_| say(&mut stream, "x").is_ok()).count()
            })
            .collect::<Vec<_>>()
    };
    let first = lasted(7);
    // Each byte passes twice.
    assert!(first.iter().all(|bytes| (49..=500).contains(bytes)), "{first:?}");
    assert_eq!(first, lasted(7));
    assert_ne!(first, lasted(8));
}
