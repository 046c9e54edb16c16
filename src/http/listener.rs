//! The listening socket, the accept thread and the register of connections.
//!
//! Promises: the accept thread ends only when told to, whatever `accept` says; there are never more connection threads
//! than the cap and a few that are ending; at the cap the connection that has been idle longest without a request in
//! hand gives way, so that a flood of idle ones locks nobody out. A connection is *idle* until its whole head is there:
//! one that sends its head by the byte is as idle as one that sends nothing.

use super::connection;
use super::server::Shared;
use super::wire::timespec;
use crate::{limits, threads};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How many may be open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caps {
    pub connections: usize,
    pub per_address: usize,
    pub streams: usize,
}

impl Caps {
    /// Raises the limit of descriptors as far as it goes and fits the configured caps into it.
    pub fn fit(http: &crate::config::Http) -> Caps {
        let limit = getrlimit(Resource::Nofile);
        if limit.current != limit.maximum {
            // Failing is no harm: the caps are made to fit what there is.
            let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
        }
        let there_are = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |n| n as usize);
        let caps = Caps::fit_into(http, there_are);
        if caps.connections < http.connections || caps.streams < http.streams {
            log::warn!(
                "the limit of {there_are} descriptors allows {} connections and {} streams, not the {} and {} configured; raise LimitNOFILE",
                caps.connections,
                caps.streams,
                http.connections,
                http.streams
            );
        }
        caps
    }

    fn fit_into(http: &crate::config::Http, descriptors: usize) -> Caps {
        let free = descriptors.saturating_sub(limits::DESCRIPTORS_KEPT).max(8);
        let connections = http.connections.min((free / 2).max(4)).max(1);
        let streams = http.streams.min(free.saturating_sub(connections)).max(1);
        Caps { connections, per_address: http.per_address.max(1), streams }
    }
}

const IDLE: u8 = 0;
const BUSY: u8 = 1;
const SENDING: u8 = 2;
const STREAM: u8 = 3;
/// An answer that has not been taken after this many milliseconds no longer keeps its connection from giving way.
const PATIENCE_MS: u64 = 5_000;

/// One open connection.
pub(crate) struct Entry {
    id: u64,
    pub socket: Arc<TcpStream>,
    pub peer: SocketAddr,
    state: AtomicU8,
    /// Milliseconds since the register was made.
    since: AtomicU64,
    leaving: AtomicBool,
}

struct Slot {
    entry: Arc<Entry>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Inner {
    next: u64,
    open: HashMap<u64, Slot>,
    ended: Vec<JoinHandle<()>>,
}

/// Every connection with a thread.
pub(crate) struct Register {
    started: Instant,
    inner: Mutex<Inner>,
    one_ended: Condvar,
}

impl Default for Register {
    fn default() -> Self {
        Register { started: Instant::now(), inner: Mutex::default(), one_ended: Condvar::new() }
    }
}

/// Why a connection was not taken.
enum Full {
    /// Nobody is idle: told 503.
    Busy,
    /// No thread to be had.
    NoThread(io::Error),
}

impl Register {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn now(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// The request is in hand: this connection does not give way any more.
    pub fn busy(&self, entry: &Entry) {
        entry.state.store(BUSY, Ordering::Relaxed);
    }

    /// The answer is out.
    pub fn idle(&self, entry: &Entry) {
        entry.since.store(self.now(), Ordering::Relaxed);
        entry.state.store(IDLE, Ordering::Relaxed);
    }

    /// The answer is on its way: how long that takes is up to the peer.
    pub fn sending(&self, entry: &Entry) {
        entry.since.store(self.now(), Ordering::Relaxed);
        entry.state.store(SENDING, Ordering::Relaxed);
    }

    /// The push layer has the socket: it ends it, not we.
    pub fn stream(&self, entry: &Entry) {
        entry.state.store(STREAM, Ordering::Relaxed);
    }

    /// Starts a thread for a connection, making room where there is none.
    fn admit(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        socket: &Arc<TcpStream>,
        peer: SocketAddr,
    ) -> Result<(), Full> {
        let caps = shared.caps;
        let mut inner = self.lock();
        let address = group(peer.ip());
        let staying =
            |inner: &Inner| inner.open.values().filter(|s| !s.entry.leaving.load(Ordering::Relaxed)).count();
        if !address.is_loopback() {
            let own =
                |s: &&Slot| group(s.entry.peer.ip()) == address && !s.entry.leaving.load(Ordering::Relaxed);
            if inner.open.values().filter(own).count() >= caps.per_address
                && !evict(shared, &inner, |e| group(e.peer.ip()) == address)
            {
                return Err(Full::Busy);
            }
        }
        if staying(&inner) >= caps.connections && !evict(shared, &inner, |_| true) {
            return Err(Full::Busy);
        }
        // Those told to leave need a moment; their number is bounded too.
        let deadline = Instant::now() + Duration::from_millis(200);
        while inner.open.len() >= caps.connections + LEAVING {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Full::Busy);
            }
            inner = self.one_ended.wait_timeout(inner, left).unwrap_or_else(|e| e.into_inner()).0;
        }
        inner.next += 1;
        let id = inner.next;
        let entry = Arc::new(Entry {
            id,
            socket: Arc::clone(socket),
            peer,
            state: AtomicU8::new(IDLE),
            since: AtomicU64::new(self.now()),
            leaving: AtomicBool::new(false),
        });
        // The lock is held while the thread starts, so that it can't end before it is on the list.
        let (theirs, shared) = (Arc::clone(&entry), Arc::clone(shared));
        let thread = threads::spawn("conn", limits::CONN_STACK, move || {
            let _leave = Leave(&shared, &theirs);
            connection::run(&shared, &theirs);
        })
        .map_err(Full::NoThread)?;
        inner.open.insert(id, Slot { entry, thread });
        Ok(())
    }

    fn reap(&self) {
        let ended = std::mem::take(&mut self.lock().ended);
        ended.into_iter().for_each(threads::join);
    }

    /// Ends every connection: idle ones at once, those with a request in hand after `patience`.
    pub fn close(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut inner = self.lock();
        loop {
            let late = Instant::now() >= deadline;
            for slot in inner.open.values() {
                if late || slot.entry.state.load(Ordering::Relaxed) == IDLE {
                    let _ = slot.entry.socket.shutdown(Shutdown::Both);
                }
            }
            if inner.open.is_empty() || Instant::now() > deadline + patience {
                break;
            }
            inner = self
                .one_ended
                .wait_timeout(inner, Duration::from_millis(20))
                .unwrap_or_else(|e| e.into_inner())
                .0;
        }
        if !inner.open.is_empty() {
            log::warn!("{} connections did not end in time", inner.open.len());
        }
        drop(inner);
        self.reap();
    }
}

/// Connections that were told to leave and have not yet, at most.
const LEAVING: usize = 32;

/// Ends the connection that has been idle longest, if there is one.
fn evict(shared: &Shared, inner: &Inner, among: impl Fn(&Entry) -> bool) -> bool {
    let now = shared.register.now();
    let idle = |e: &&Arc<Entry>| {
        let gives_way = match e.state.load(Ordering::Relaxed) {
            IDLE => true,
            SENDING => now.saturating_sub(e.since.load(Ordering::Relaxed)) > PATIENCE_MS,
            _ => false,
        };
        gives_way && !e.leaving.load(Ordering::Relaxed) && among(e)
    };
    let longest = inner
        .open
        .values()
        .map(|s| &s.entry)
        .filter(idle)
        .min_by_key(|e| (e.since.load(Ordering::Relaxed), e.id));
    let Some(entry) = longest else { return false };
    entry.leaving.store(true, Ordering::Relaxed);
    let _ = entry.socket.shutdown(Shutdown::Both);
    shared.metrics().connections_evicted_total.inc();
    true
}

/// One host: an IPv4 address, or the /64 that an IPv6 host has to itself.
pub(crate) fn group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & (u128::MAX << 64))),
        other => other,
    }
}

/// Takes a connection off the list when its thread ends, also by a panic.
struct Leave<'a>(&'a Arc<Shared>, &'a Entry);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        let Leave(shared, entry) = self;
        let mut inner = shared.register.lock();
        if let Some(slot) = inner.open.remove(&entry.id) {
            inner.ended.push(slot.thread);
        }
        drop(inner);
        shared.metrics().connections.dec();
        shared.register.one_ended.notify_all();
        shared.waker.wake();
    }
}

/// Gets the accept thread out of its wait.
pub(crate) struct Waker(OwnedFd);

impl Waker {
    pub fn new() -> io::Result<Waker> {
        Ok(Waker(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?))
    }

    pub fn wake(&self) {
        // Full means it is awake already.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    fn clear(&self) {
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

/// Opens the listening socket.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// The accept thread.
pub(crate) fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    let mut failing = false;
    while !shared.is_stopping() {
        let mut fds = [PollFd::new(listener, PollFlags::IN), PollFd::new(&shared.waker.0, PollFlags::IN)];
        // After a failure the wait is short and only for the waker: the listener would be ready at once again.
        let waited = if failing {
            poll(&mut fds[1..], Some(&timespec(Duration::from_millis(50))))
        } else {
            poll(&mut fds, None)
        };
        if let Err(e) = waited
            && e != rustix::io::Errno::INTR
        {
            // Out of kernel memory: the only error left, and waiting is all that can be done.
            std::thread::sleep(Duration::from_millis(50));
        }
        shared.waker.clear();
        shared.register.reap();
        for _ in 0..64 {
            match listener.accept() {
                Ok((socket, peer)) => {
                    if std::mem::take(&mut failing) {
                        log::info!("connections are accepted again");
                    }
                    take(shared, socket, peer);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::Interrupted
                            | io::ErrorKind::ConnectionAborted
                            | io::ErrorKind::ConnectionReset
                    ) => {}
                Err(e) => {
                    if !std::mem::replace(&mut failing, true) {
                        log::error!(
                            "failed to accept a connection: {e}; idle ones give way until it works again"
                        );
                    }
                    evict(shared, &shared.register.lock(), |_| true);
                    break;
                }
            }
        }
    }
    shared.register.reap();
}

fn take(shared: &Arc<Shared>, socket: TcpStream, peer: SocketAddr) {
    let metrics = shared.metrics();
    metrics.connections_total.inc();
    tune(&socket);
    let socket = Arc::new(socket);
    metrics.connections.inc();
    if let Err(full) = shared.register.admit(shared, &socket, peer) {
        metrics.connections.dec();
        metrics.connections_refused_total.inc();
        if let Full::NoThread(e) = full
            && !shared.no_thread.swap(true, Ordering::Relaxed)
        {
            log::error!("failed to start a thread for a connection: {e}; told 503, this is said once");
        }
        refuse(&socket);
    }
}

/// What the answer is to a connection that can't be taken; never waits.
fn refuse(mut socket: &TcpStream) {
    const BODY: &str = r#"{"type":"too_many_connections","title":"Too many connections","status":503,"detail":"every connection is in use; try again in a second"}"#;
    let text = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\nRetry-After: 1\r\nConnection: close\r\n\r\n{BODY}",
        BODY.len()
    );
    if socket.set_nonblocking(true).is_ok() {
        let _ = socket.write_all(text.as_bytes());
    }
    let _ = socket.shutdown(Shutdown::Write);
}

/// No waiting to fill packets; a peer that is gone is noticed within about 20 s while something is sent, and within
/// about two minutes when nothing is.
fn tune(socket: &TcpStream) {
    let _ = socket.set_nodelay(true);
    let socket = SockRef::from(socket);
    let _ = socket.set_tcp_user_timeout(Some(limits::PEER_GONE));
    let probe = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(20))
        .with_retries(3);
    let _ = socket.set_tcp_keepalive(&probe);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_fit_into_few_descriptors() {
        let http = crate::config::Http::default();
        for descriptors in [0, 10, 64, 256, 1024, 1_048_576, usize::MAX] {
            let caps = Caps::fit_into(&http, descriptors);
            assert!(caps.connections >= 1 && caps.streams >= 1, "{descriptors}: {caps:?}");
            assert!(caps.connections <= http.connections && caps.streams <= http.streams);
            assert!(
                descriptors < 64 || caps.connections + caps.streams + limits::DESCRIPTORS_KEPT <= descriptors,
                "{descriptors}: {caps:?}"
            );
        }
    }

    #[test]
    fn one_host_is_one_address() {
        let of = |text: &str| group(text.parse().unwrap());
        assert_eq!(of("2001:db8::1:2:3:4"), of("2001:db8::5:6:7:8"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert!(of("::ffff:127.0.0.1").is_loopback() && of("::1").is_loopback());
    }
}
