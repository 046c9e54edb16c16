//! The push service as the HTTP layer sees it: streams, polls, state.

use super::pool::{Join, Mailbox, Writer};
use super::{Request, resume};
use crate::bus::Bus;
use crate::config;
use crate::limits;
use crate::model::{Cursor, TopicFilter};
use crate::store::Store;
use crate::threads::{self, Stop};
use std::any::Any;
use std::collections::HashMap;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The answer to a short poll.
#[derive(Debug)]
pub struct Poll {
    /// Envelopes, each one line of JSON, in order; a snapshot, when there is one, comes first.
    pub events: Vec<String>,
    /// Where to go on.
    pub cursor: Cursor,
    /// There is more at once.
    pub more: bool,
    /// The payload of the `gap` event as JSON, when there is one.
    pub gap: Option<String>,
}

/// What the threads of the pool, those that catch up and the service share.
pub(super) struct Hub {
    pub bus: Arc<Bus>,
    pub store: Arc<Store>,
    pub stop: Stop,
    pub heartbeat: Duration,
    pub stall: Duration,
    mailboxes: Vec<Arc<Mailbox>>,
    turn: AtomicUsize,
    /// Sockets somebody may be blocked on, to be shut when stopping.
    busy: Mutex<HashMap<u64, Arc<TcpStream>>>,
    next_busy: AtomicU64,
    /// Threads that feed readers which fell behind, at most `CATCH_UPS`; joined when stopping.
    feeders: Mutex<Vec<JoinHandle<()>>>,
}

/// See the module above.
pub struct Push {
    hub: Arc<Hub>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Push {
    /// Starts the pool.
    ///
    /// # Errors
    /// The system has no descriptor or thread left.
    pub fn start(bus: Arc<Bus>, store: Arc<Store>, settings: &config::Push) -> std::io::Result<Push> {
        let mailboxes = (0..settings.threads.max(1))
            .map(|_| Mailbox::new().map(Arc::new))
            .collect::<Result<Vec<_>, _>>()?;
        for mailbox in &mailboxes {
            let mailbox = Arc::clone(mailbox);
            bus.on_publish(move || mailbox.wake());
        }
        let hub = Arc::new(Hub {
            bus,
            store,
            stop: Stop::default(),
            heartbeat: settings.heartbeat,
            stall: settings.stall,
            mailboxes,
            turn: AtomicUsize::new(0),
            busy: Mutex::default(),
            next_busy: AtomicU64::new(0),
            feeders: Mutex::default(),
        });
        let mut handles = Vec::new();
        for (i, mailbox) in hub.mailboxes.iter().enumerate() {
            let writer = Writer::new(Arc::clone(&hub), Arc::clone(mailbox))?;
            handles.push(threads::spawn(&format!("push-{}", i + 1), limits::STACK, move || writer.run())?);
        }
        Ok(Push { hub, threads: Mutex::new(handles) })
    }

    /// Serves a stream on a socket whose response head has been written. First bytes (`retry:` and `hello`) go out at
    /// once; history is sent on the calling thread, then the socket is handed to the pool and this returns. `guard` is
    /// dropped when the stream has ended.
    pub fn serve(&self, socket: Arc<TcpStream>, request: Request, guard: Box<dyn Any + Send>) {
        let metrics = &self.hub.bus.metrics;
        metrics.streams_total.inc();
        if request.since != crate::model::Since::Nothing {
            metrics.streams_resumed_total.inc();
        }
        let left = request.limit;
        let guard: Box<dyn Any + Send> = Box::new((OpenStream::new(&self.hub), guard));
        self.hub.stream(socket, Arc::new(request), Begin::New, guard, left);
    }

    /// Answers a short poll: at most `limit` events (default 1,000), fewer when much had to be looked through.
    ///
    /// # Errors
    /// The store could not be read.
    pub fn poll(&self, request: &Request) -> Result<Poll, crate::store::StoreError> {
        let Hub { bus, store, .. } = &*self.hub;
        bus.metrics.polls_total.inc();
        let request = Request { format: super::Format::Ndjson, interval: None, ..request.clone() };
        let most = request.limit.unwrap_or(1_000).clamp(1, limits::BATCH);
        let plan = resume::plan(bus, store, &request);
        bus.metrics.gaps_total.add(plan.gaps.len() as u64);
        let mut poll = Poll {
            events: Vec::new(),
            cursor: bus.head(),
            more: false,
            gap: plan.gaps.first().map(|(g, _)| g.clone()),
        };
        let mut state_from = 0;
        if plan.snapshot || plan.at < bus.forgotten_through() {
            let (payloads, seq) = resume::snapshot(bus, &request);
            let id = resume::id_at(bus, store, plan.at).to_string();
            poll.events.extend(payloads.iter().map(|p| super::frame::envelope("snapshot", Some(&id), p)));
            state_from = seq;
        }
        let mut at = plan.at;
        let mut looked_at = 0;
        let mut count = 0;
        while count < most && looked_at < POLL_LOOK {
            let page = resume::page(bus, store, &request, at, state_from, most - count)?;
            if let Some(floor) = page.evicted {
                poll.gap.get_or_insert_with(|| {
                    let id = |seq| resume::id_at(bus, store, seq).to_string();
                    resume::gap("evicted", &id(at), &id(floor), Some(floor - at))
                });
                at = floor;
                continue;
            }
            let mut begin = 0;
            for end in &page.ends {
                let line = page.bytes[begin..*end].trim_ascii_end();
                poll.events.push(String::from_utf8_lossy(line).into_owned());
                begin = *end;
            }
            count += page.ends.len();
            looked_at += (page.through - at) as usize;
            let stuck = page.through == at;
            at = page.through;
            if page.at_head || stuck {
                break;
            }
        }
        poll.cursor = resume::id_at(bus, store, at);
        poll.more = at < bus.head().seq;
        Ok(poll)
    }

    /// The body of `GET /api/state` and the moment it shows.
    pub fn state(&self, topics: &TopicFilter) -> (Cursor, String) {
        resume::state_body(&self.hub.bus, topics)
    }

    /// Says `bye` to every reader and ends the pool.
    pub fn stop(&self) {
        self.hub.stop.stop();
        for mailbox in &self.hub.mailboxes {
            mailbox.wake();
        }
        for handle in std::mem::take(&mut *self.threads.lock().unwrap_or_else(|e| e.into_inner())) {
            threads::join(handle);
        }
        for socket in self.hub.busy.lock().unwrap_or_else(|e| e.into_inner()).values() {
            let _ = socket.shutdown(Shutdown::Both);
        }
        // Their sockets are shut, so they end by themselves; the store must not be closed under them.
        let feeders = std::mem::take(&mut *self.hub.feeders.lock().unwrap_or_else(|e| e.into_inner()));
        feeders.into_iter().for_each(threads::join);
    }
}

/// Events one poll looks through at most before it answers with `more`.
const POLL_LOOK: usize = 200_000;

/// Counts open streams.
struct OpenStream(Arc<crate::metrics::Metrics>);

impl OpenStream {
    fn new(hub: &Hub) -> OpenStream {
        hub.bus.metrics.streams.inc();
        OpenStream(Arc::clone(&hub.bus.metrics))
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.streams.dec();
    }
}

/// How a stretch on a thread of its own begins.
enum Begin {
    /// With `hello`.
    New,
    /// In the middle: bytes that are owed, then on from a seq.
    Behind(Vec<u8>, u64),
}

impl Hub {
    /// A reader that fell behind is fed from the store by a thread of its own; when there are too many of those it is
    /// closed instead and resumes from its cursor.
    pub fn catch_up(
        self: &Arc<Self>,
        socket: Arc<TcpStream>,
        request: Arc<Request>,
        at: u64,
        rest: Vec<u8>,
        guard: Box<dyn Any + Send>,
        left: Option<usize>,
    ) {
        self.bus.metrics.catch_ups_total.inc();
        let mut feeders = self.feeders.lock().unwrap_or_else(|e| e.into_inner());
        let (ended, running) = std::mem::take(&mut *feeders).into_iter().partition(JoinHandle::is_finished);
        *feeders = running;
        ended.into_iter().for_each(threads::join);
        if feeders.len() >= limits::CATCH_UPS {
            let _ = socket.shutdown(Shutdown::Both);
            return;
        }
        let (hub, held) = (Arc::clone(self), Arc::clone(&socket));
        let started = threads::spawn("catch-up", limits::CONN_STACK, move || {
            hub.stream(socket, request, Begin::Behind(rest, at), guard, left);
        });
        match started {
            Ok(feeder) => feeders.push(feeder),
            Err(_) => drop(held.shutdown(Shutdown::Both)),
        }
    }

    fn stream(
        self: &Arc<Self>,
        socket: Arc<TcpStream>,
        request: Arc<Request>,
        begin: Begin,
        guard: Box<dyn Any + Send>,
        left: Option<usize>,
    ) {
        let token = self.next_busy.fetch_add(1, Ordering::Relaxed);
        self.busy.lock().unwrap_or_else(|e| e.into_inner()).insert(token, Arc::clone(&socket));
        let caught_up =
            if self.stop.is_stopped() { None } else { self.run_to_head(&socket, &request, begin, left) };
        self.busy.lock().unwrap_or_else(|e| e.into_inner()).remove(&token);
        match caught_up {
            Some((at, left)) if left != Some(0) && !self.stop.is_stopped() => {
                let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.mailboxes.len();
                self.mailboxes[turn].join(Join { socket, request, at, guard, left });
            }
            _ => drop(socket.shutdown(Shutdown::Both)),
        }
    }

    /// Feeds a reader, blocking, until it has what was the head; gives where it stands. None when it is gone.
    fn run_to_head(
        &self,
        socket: &TcpStream,
        request: &Request,
        begin: Begin,
        mut left: Option<usize>,
    ) -> Option<(u64, Option<usize>)> {
        let _ = socket.set_write_timeout(Some(self.stall));
        let (bus, store) = (&*self.bus, &*self.store);
        let mut out = Vec::new();
        let mut at;
        let mut state_from = 0;
        match begin {
            Begin::Behind(rest, seq) => {
                out = rest;
                at = seq;
            }
            Begin::New => {
                let plan = resume::plan(bus, store, request);
                at = plan.at;
                // With a gap to tell, `hello` must not move the reader's cursor past it.
                let id = plan.gaps.is_empty().then(|| resume::id_at(bus, store, at));
                let hello = resume::hello(bus, store, request, &plan, self.heartbeat);
                resume::control(&mut out, request.format, id, "hello", Some(self.jitter()), &hello);
                for (gap, seq) in &plan.gaps {
                    bus.metrics.gaps_total.inc();
                    resume::control(
                        &mut out,
                        request.format,
                        Some(resume::id_at(bus, store, *seq)),
                        "gap",
                        None,
                        gap,
                    );
                }
                if plan.snapshot {
                    state_from = self.write_snapshot(&mut out, request, at);
                }
            }
        }
        send_all(socket, &out, self.stall)?;
        loop {
            if self.stop.is_stopped() {
                return None;
            }
            if at.max(state_from) < bus.forgotten_through() {
                out.clear();
                state_from = self.write_snapshot(&mut out, request, at);
                send_all(socket, &out, self.stall)?;
            }
            let page = match resume::page(bus, store, request, at, state_from, usize::MAX) {
                Ok(page) => page,
                Err(e) => {
                    log::warn!("a reader could not be fed from the store: {e}");
                    return None;
                }
            };
            if let Some(floor) = page.evicted {
                out.clear();
                bus.metrics.gaps_total.inc();
                let from = resume::id_at(bus, store, at);
                let to = resume::id_at(bus, store, floor);
                let gap = resume::gap("slow", &from.to_string(), &to.to_string(), Some(floor - at));
                resume::control(&mut out, request.format, Some(to), "gap", None, &gap);
                state_from = self.write_snapshot(&mut out, request, floor);
                send_all(socket, &out, self.stall)?;
                at = floor;
                continue;
            }
            let mut bytes = &page.bytes[..];
            if let Some(most) = left {
                if let Some(end) = page.ends.get(most.wrapping_sub(1)).filter(|_| most <= page.ends.len()) {
                    bytes = &bytes[..*end];
                }
                left = Some(most.saturating_sub(page.ends.len()));
            }
            send_all(socket, bytes, self.stall)?;
            let arrived = page.at_head || page.through == at;
            at = page.through;
            if arrived || left == Some(0) {
                return Some((at, left));
            }
        }
    }

    fn write_snapshot(&self, out: &mut Vec<u8>, request: &Request, at: u64) -> u64 {
        let (payloads, seq) = resume::snapshot(&self.bus, request);
        let id = resume::id_at(&self.bus, &self.store, at);
        for payload in payloads {
            resume::control(out, request.format, Some(id), "snapshot", None, &payload);
        }
        seq
    }

    /// A reader's own time to wait before it comes back: 1.5 to 4 s, so that they do not all come at once.
    pub fn jitter(&self) -> u64 {
        1_500 + u64::from(getrandom::u32().unwrap_or(1_000)) % 2_500
    }
}

/// Writes everything, waiting for the reader as long as it takes something now and then; none when it does not.
fn send_all(mut socket: &TcpStream, mut bytes: &[u8], stall: Duration) -> Option<()> {
    let deadline = Instant::now() + stall * 6;
    while !bytes.is_empty() {
        match socket.write(bytes) {
            Ok(0) => return None,
            Ok(n) => bytes = &bytes[n..],
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
        if Instant::now() > deadline {
            return None;
        }
    }
    Some(())
}
