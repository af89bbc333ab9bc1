//! A TCP proxy on loopback that slows, holds, cuts or refuses connections when it is told to, and counts how often it has.
//!
//! What is held is kept and goes on when the proxy passes again, ends of connections included: as with a network that was
//! cut and has healed, nothing is missing in the middle of a stream. Two threads per connection, std alone.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{Read, Result, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const BUFFER_BYTES: usize = 64 * 1024;

/// A direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From those who connect to the target.
    Up,
    /// From the target back.
    Down,
}

/// What happens to the bytes of a direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rule {
    /// They go on at once.
    #[default]
    Pass,
    /// Every piece goes on after this time.
    Delay(Duration),
    /// They wait until the rule is another one.
    Hold,
}

/// What has happened so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Connections that were taken.
    pub connections: u64,
    /// Connections that were closed at once.
    pub refused: u64,
    /// Connections that were ended in their middle.
    pub cut: u64,
    /// Pieces of a stream that came late.
    pub delayed: u64,
    /// Pieces of a stream that had to wait for another rule.
    pub held: u64,
}

/// The proxy, ended with its connections when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Listens on `listen` (port 0 for any) for connections to `target`. The seed decides where [`Self::break_after`]
    /// breaks.
    ///
    /// # Errors
    /// When the address cannot be listened on, or there is no thread for it.
    pub fn start(listen: &str, target: &str, seed: u64) -> Result<Self> {
        let listener = TcpListener::bind(listen)?;
        let address = listener.local_addr()?;
        // Never 0, which the generator could not leave.
        let state = State { dice: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1, ..State::default() };
        let shared = Arc::new(Shared { target: target.to_owned(), state: Mutex::new(state), changed: Condvar::new() });
        let accepting = shared.clone();
        Builder::new().name("proxy".to_owned()).spawn(move || accept(&accepting, &listener))?;
        Ok(Self { address, shared })
    }

    /// `host:port` at which it listens.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// What happens from now on to the bytes of one direction, those that wait included.
    pub fn set(&self, way: Way, rule: Rule) {
        self.shared.change(|state| *state.rule(way) = rule);
    }

    /// The same rule for both directions.
    pub fn set_both(&self, rule: Rule) {
        self.shared.change(|state| (state.up, state.down) = (rule, rule));
    }

    /// Whether new connections are closed at once.
    pub fn refuse(&self, refuses: bool) {
        self.shared.change(|state| state.refuses = refuses);
    }

    /// Every new connection ends after a number of bytes in this range, or lasts as long as it likes.
    pub fn break_after(&self, bytes: Option<RangeInclusive<u64>>) {
        self.shared.change(|state| state.breaks_after = bytes);
    }

    /// Ends every open connection in its middle; answers with how many.
    pub fn cut(&self) -> u64 {
        self.shared.change(State::cut)
    }

    /// What has happened so far.
    pub fn counts(&self) -> Counts {
        self.shared.lock().counts
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.change(|state| {
            state.has_ended = true;
            state.cut();
        });
        // Wakes the thread that accepts; without it, it ends with the process.
        let _ = TcpStream::connect(self.address);
    }
}

#[derive(Debug, Default)]
struct State {
    up: Rule,
    down: Rule,
    refuses: bool,
    breaks_after: Option<RangeInclusive<u64>>,
    open: BTreeMap<u64, Connection>,
    dice: u64,
    counts: Counts,
    has_ended: bool,
}

#[derive(Debug)]
struct Connection {
    client: TcpStream,
    target: TcpStream,
    bytes_left: u64,
}

impl State {
    const fn rule(&mut self, way: Way) -> &mut Rule {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }

    fn cut(&mut self) -> u64 {
        let cut = self.open.len() as u64;
        for connection in std::mem::take(&mut self.open).into_values() {
            connection.close();
        }
        self.counts.cut += cut;
        cut
    }

    fn close(&mut self, id: u64) {
        if let Some(connection) = self.open.remove(&id) {
            connection.close();
        }
    }

    /// How many bytes a new connection lasts.
    fn draw(&mut self) -> u64 {
        let Some(range) = self.breaks_after.clone() else { return u64::MAX };
        self.dice ^= self.dice >> 12;
        self.dice ^= self.dice << 25;
        self.dice ^= self.dice >> 27;
        let span = range.end().saturating_sub(*range.start()).saturating_add(1);
        range.start() + (self.dice.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16) % span
    }
}

impl Connection {
    fn close(self) {
        // An end that is gone already needs none.
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.target.shutdown(Shutdown::Both);
    }
}

#[derive(Debug)]
struct Shared {
    target: String,
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let answer = change(&mut self.lock());
        self.changed.notify_all();
        answer
    }

    /// Waits until a piece of a connection may go on; `false` when the connection has ended.
    fn let_pass(&self, id: u64, way: Way, bytes: u64) -> bool {
        let arrived = Instant::now();
        let (mut was_held, mut was_delayed) = (false, false);
        let mut state = self.lock();
        while state.open.contains_key(&id) {
            match *state.rule(way) {
                Rule::Pass => break,
                Rule::Hold => {
                    state.counts.held += u64::from(!was_held);
                    was_held = true;
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                Rule::Delay(time) => {
                    state.counts.delayed += u64::from(!was_delayed);
                    was_delayed = true;
                    let left = time.saturating_sub(arrived.elapsed());
                    if left.is_zero() {
                        break;
                    }
                    let waited = self.changed.wait_timeout(state, left);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
        let Some(connection) = state.open.get_mut(&id) else { return false };
        connection.bytes_left = connection.bytes_left.saturating_sub(bytes);
        let lasts = connection.bytes_left > 0;
        if !lasts {
            state.counts.cut += 1;
            state.close(id);
        }
        lasts
    }
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    let mut last = 0;
    loop {
        // Nothing but a lack of files or memory, after which the next one may do.
        let Ok((client, _)) = listener.accept() else { continue };
        if shared.lock().has_ended {
            return;
        }
        let is_refused = shared.change(|state| {
            state.counts.refused += u64::from(state.refuses);
            state.refuses
        });
        if !is_refused {
            last += 1;
            // A target that does not answer is a connection that ends at once.
            let _ = connect(shared, last, client);
        }
    }
}

fn connect(shared: &Arc<Shared>, id: u64, client: TcpStream) -> Result<()> {
    let address = shared.target.to_socket_addrs()?.next().ok_or(std::io::ErrorKind::AddrNotAvailable)?;
    let target = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
    client.set_nodelay(true)?;
    target.set_nodelay(true)?;
    let ends =
        [(Way::Up, client.try_clone()?, target.try_clone()?), (Way::Down, target.try_clone()?, client.try_clone()?)];
    shared.change(|state| {
        state.counts.connections += 1;
        let bytes_left = state.draw();
        state.open.insert(id, Connection { client, target, bytes_left });
    });
    for (way, from, to) in ends {
        let pumping = shared.clone();
        Builder::new().name("proxy-pump".to_owned()).spawn(move || pump(&pumping, id, way, from, to))?;
    }
    Ok(())
}

fn pump(shared: &Shared, id: u64, way: Way, mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = from.read(&mut buffer).unwrap_or(0);
        // The end of a stream waits as its bytes do.
        if !shared.let_pass(id, way, read as u64) || read == 0 {
            break;
        }
        if buffer.get(..read).is_none_or(|bytes| to.write_all(bytes).is_err()) {
            break;
        }
    }
    shared.lock().close(id);
    shared.changed.notify_all();
}
