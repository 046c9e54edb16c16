//! Any number of readers on one thread: drains their sockets into one buffer and counts the events of each exactly.

use crate::process::monotonic_ns;
use crate::publisher::TOPIC;
use memchr::memmem::Finder;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Ends the line that begins every event counted here.
const MARK: &[u8] = b"event: tick\n";
/// Begins the moment of publishing in a payload.
const STAMP: &[u8] = b"\"t\":";
/// What one read takes at most.
const BUFFER: usize = 512 * 1024;
/// The end of one read is looked at again with the next: marks and stamps may be cut anywhere.
const CARRY: usize = 32;

/// What the thread and its owner share.
#[derive(Default)]
struct Shared {
    delivered: AtomicU64,
    stop: AtomicBool,
}

struct Reader {
    socket: TcpStream,
    events: u64,
    /// The last bytes of the last read, after the last mark found in it.
    carry: Vec<u8>,
    open: bool,
}

/// What the readers saw.
pub struct Seen {
    /// Events of each reader.
    pub events: Vec<u64>,
    /// From publishing to here, in ns, sorted; only when asked for.
    pub latencies: Vec<u64>,
    /// Readers whose stream ended.
    pub closed: usize,
}

impl Seen {
    /// The latency that `share` of all deliveries stayed within, in ms.
    pub fn latency_ms(&self, share: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get((last as f64 * share) as usize).map_or(f64::NAN, |ns| *ns as f64 / 1e6)
    }
}

/// Readers at work.
pub struct Readers {
    shared: Arc<Shared>,
    thread: JoinHandle<Seen>,
}

/// Opens a stream of this module's topic; `query` is added. `receive` limits the kernel's buffer, for readers that are
/// to fall behind soon.
pub fn open(addr: SocketAddr, query: &str, receive: Option<usize>) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    if let Some(bytes) = receive {
        socket.set_recv_buffer_size(bytes).expect("a socket");
    }
    socket.connect(&addr.into()).expect("the server listens");
    let mut socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
    write!(
        socket,
        "GET /api/events?topics={TOPIC}{query} HTTP/1.1\r\nHost: {addr}\r\nAccept: text/event-stream\r\n\r\n"
    )
    .expect("the server reads");
    // The head by single bytes: what follows it belongs to the stream.
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte).expect("the server answers");
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head));
    socket
}

impl Readers {
    /// Opens `count` streams and begins to drain them.
    pub fn start(addr: SocketAddr, count: usize, latencies: bool) -> Readers {
        let sockets = (0..count).map(|_| open(addr, "", None)).collect();
        Readers::over(sockets, latencies)
    }

    /// The same over streams that are open.
    pub fn over(sockets: Vec<TcpStream>, latencies: bool) -> Readers {
        let shared = Arc::new(Shared::default());
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
        let readers: Vec<Reader> = sockets
            .into_iter()
            .enumerate()
            .map(|(n, socket)| {
                socket.set_nonblocking(true).expect("a socket");
                let flags = epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
                epoll::add(&epoll, &socket, epoll::EventData::new_u64(n as u64), flags).expect("epoll");
                Reader { socket, events: 0, carry: Vec::with_capacity(CARRY), open: true }
            })
            .collect();
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("readers".into());
        let thread = thread.spawn(move || drain(readers, &epoll, &theirs, latencies)).expect("a thread");
        Readers { shared, thread }
    }

    /// Events delivered to all readers so far.
    pub fn delivered(&self) -> u64 {
        self.shared.delivered.load(Ordering::Acquire)
    }

    /// Waits for so many deliveries; false when they did not come in time.
    pub fn wait_for(&self, deliveries: u64, time: Duration) -> bool {
        let begun = Instant::now();
        while self.delivered() < deliveries {
            if begun.elapsed() > time {
                return false;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        true
    }

    /// Ends them.
    pub fn stop(self) -> Seen {
        self.shared.stop.store(true, Ordering::Release);
        self.thread.join().expect("the readers' thread")
    }
}

fn drain(mut readers: Vec<Reader>, epoll: &OwnedFd, shared: &Shared, stamps: bool) -> Seen {
    let (mark, stamp) = (Finder::new(MARK), Finder::new(STAMP));
    let mut buffer = vec![0; CARRY + BUFFER];
    let mut latencies = Vec::new();
    let mut events: Vec<epoll::Event> = Vec::with_capacity(1024);
    while !shared.stop.load(Ordering::Acquire) {
        events.clear();
        let timeout = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        let _ = epoll::wait(epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout));
        let mut delivered = 0;
        for event in &events {
            let reader = &mut readers[event.data.u64() as usize];
            let kept = reader.carry.len();
            buffer[..kept].copy_from_slice(&reader.carry);
            match reader.socket.read(&mut buffer[kept..kept + BUFFER]) {
                Ok(0) => close(reader, epoll),
                Ok(n) => {
                    let text = &buffer[..kept + n];
                    let mut counted_to = 0;
                    let mut count = 0;
                    for at in mark.find_iter(text) {
                        count += 1;
                        counted_to = at + MARK.len();
                    }
                    if stamps {
                        let now = monotonic_ns();
                        counted_to = counted_to.max(take_stamps(text, &stamp, now, &mut latencies));
                    }
                    reader.events += count;
                    delivered += count;
                    reader.carry.clear();
                    reader.carry.extend(&text[counted_to.max(text.len().saturating_sub(CARRY))..]);
                }
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => close(reader, epoll),
            }
        }
        shared.delivered.fetch_add(delivered, Ordering::Release);
    }
    latencies.sort_unstable();
    Seen {
        events: readers.iter().map(|reader| reader.events).collect(),
        latencies,
        closed: readers.iter().filter(|reader| !reader.open).count(),
    }
}

fn close(reader: &mut Reader, epoll: &OwnedFd) {
    if std::mem::take(&mut reader.open) {
        let _ = epoll::delete(epoll, &reader.socket);
    }
}

/// Takes every whole stamp; gives where the last one ends, so that it is not taken again.
fn take_stamps(text: &[u8], stamp: &Finder<'_>, now: u64, latencies: &mut Vec<u64>) -> usize {
    let mut taken = 0;
    for at in stamp.find_iter(text) {
        let digits = &text[at + STAMP.len()..];
        let Some(length) = digits.iter().position(|b| !b.is_ascii_digit()) else { break };
        let sent = digits[..length].iter().fold(0, |n, b| n * 10 + u64::from(b - b'0'));
        latencies.push(now.saturating_sub(sent));
        taken = at + STAMP.len() + length;
    }
    taken
}

/// Numbers of all events up to `last`, read as an EventSource would, and the id of the newest; fewer when the stream ends
/// before.
pub fn numbers(socket: TcpStream, last: u64, time: Duration) -> (Vec<u64>, Option<String>) {
    let _ = socket.set_nonblocking(false);
    let _ = socket.set_read_timeout(Some(time));
    let (mut all, mut id, mut newest) = (Vec::new(), None, None);
    for line in BufReader::with_capacity(BUFFER, socket).lines().map_while(Result::ok) {
        if let Some(text) = line.strip_prefix("id: ") {
            id = Some(text.to_string());
        }
        if line.is_empty() {
            newest.clone_from(&id);
        }
        let number = line
            .split_once("\"payload\":{\"n\":")
            .and_then(|(_, rest)| rest.split(',').next()?.parse().ok())
            .filter(|_| line.starts_with("data: {\"type\":\"tick\""));
        if let Some(n) = number {
            all.push(n);
            newest.clone_from(&id);
            if n == last {
                break;
            }
        }
    }
    (all, newest)
}
