//! The pool: a fixed number of threads, each with its own readers, that never wait for one of them.
//!
//! A thread waits in epoll for a wake-up (something was published, somebody joined, stop) and for sockets that take
//! bytes again. On a wake-up it reads what is new from the bus once, hands it to its groups, which encode it once, and
//! gives every reader all it has not had, in one send each. Bursts are batched: two sweeps begin at least
//! [`SWEEP`] apart.

use super::group::{Fallen, Group, Key, Sent};
use super::service::Hub;
use super::{Request, resume};
use crate::limits;
use crate::model::{Class, Cursor, Event, SharedEvent, Topic};
use crate::store::Visited;
use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::fd::OwnedFd;
use std::any::Any;
use std::collections::HashMap;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The least time between the beginnings of two sweeps: what arrives faster travels together.
const SWEEP: Duration = Duration::from_millis(2);
/// Events taken from the bus at a time.
const TAKE: usize = 8_192;
/// The wake-up's token in epoll; readers count up from 1.
const WAKE: u64 = 0;

/// A reader that has caught up to `at` and is to be served live.
pub(super) struct Join {
    pub socket: Arc<TcpStream>,
    pub request: Arc<Request>,
    pub at: u64,
    pub guard: Box<dyn Any + Send>,
    pub left: Option<usize>,
}

/// The outside of one thread of the pool.
pub(super) struct Mailbox {
    joins: Mutex<Vec<Join>>,
    wake: OwnedFd,
    /// A wake-up is on its way: another would be one system call for nothing.
    woken: AtomicBool,
}

impl Mailbox {
    pub fn new() -> std::io::Result<Mailbox> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Mailbox { joins: Mutex::default(), wake, woken: AtomicBool::new(false) })
    }

    pub fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            // A full counter means that a wake-up is pending: nothing to do.
            let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
        }
    }

    pub fn join(&self, join: Join) {
        self.joins.lock().unwrap_or_else(|e| e.into_inner()).push(join);
        self.wake();
    }
}

pub(super) struct Writer {
    hub: Arc<Hub>,
    mailbox: Arc<Mailbox>,
    epoll: OwnedFd,
    groups: Vec<Group>,
    /// Index into `groups` of the shared ones.
    shared: HashMap<Key, usize>,
    /// Which group a reader is in.
    members: HashMap<u64, usize>,
    next_token: u64,
    /// Everything up to here is in the groups.
    position: u64,
    /// Readers with more to send than one turn allowed.
    again: Vec<u64>,
}

impl Writer {
    pub fn new(hub: Arc<Hub>, mailbox: Arc<Mailbox>) -> std::io::Result<Writer> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &mailbox.wake, epoll::EventData::new_u64(WAKE), epoll::EventFlags::IN)?;
        let position = hub.bus.head().seq;
        Ok(Writer {
            hub,
            mailbox,
            epoll,
            groups: Vec::new(),
            shared: HashMap::new(),
            members: HashMap::new(),
            next_token: 1,
            position,
            again: Vec::new(),
        })
    }

    /// Runs until the hub stops.
    pub fn run(mut self) {
        let heartbeat = self.hub.heartbeat;
        let mut next_beat = Instant::now() + heartbeat;
        let mut last_sweep = Instant::now() - SWEEP;
        let mut dirty = false;
        let mut events: Vec<epoll::Event> = Vec::with_capacity(256);
        loop {
            let now = Instant::now();
            let mut until = next_beat;
            if let Some(flush) = self.groups.iter().filter_map(Group::next_flush).min() {
                until = until.min(flush);
            }
            if dirty {
                until = until.min(last_sweep + SWEEP);
            }
            if !self.again.is_empty() {
                until = now;
            }
            let wait = until.saturating_duration_since(now);
            let timeout =
                rustix::event::Timespec { tv_sec: wait.as_secs() as _, tv_nsec: wait.subsec_nanos() as _ };
            events.clear();
            let _ = epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout));
            let mut writable = std::mem::take(&mut self.again);
            for event in &events {
                let (token, flags) = (event.data.u64(), event.flags);
                if token == WAKE {
                    let _ = rustix::io::read(&self.mailbox.wake, &mut [0u8; 8]);
                    dirty = true;
                } else if flags
                    .intersects(epoll::EventFlags::RDHUP | epoll::EventFlags::HUP | epoll::EventFlags::ERR)
                {
                    self.close(token);
                } else {
                    writable.push(token);
                }
            }
            let now = Instant::now();
            for token in writable {
                self.unblock(token);
                self.send(token, now);
            }
            if self.hub.stop.is_stopped() {
                self.sweep(Instant::now());
                return self.bye();
            }
            let beat = now >= next_beat;
            let flush_due = self.groups.iter().filter_map(Group::next_flush).any(|at| at <= now);
            if beat || flush_due || (dirty && now >= last_sweep + SWEEP) {
                last_sweep = now;
                dirty = false;
                if beat {
                    next_beat = now + heartbeat;
                    self.take_new(now);
                    self.beat();
                    self.close_stalled(now);
                }
                dirty |= self.sweep(now);
            }
        }
    }

    /// New readers, new events, then a send to everybody. True when there is more at once.
    fn sweep(&mut self, now: Instant) -> bool {
        // Before anything is read: what comes from now on needs a wake-up of its own, what came before does not.
        self.mailbox.woken.store(false, Ordering::Release);
        let joins = std::mem::take(&mut *self.mailbox.joins.lock().unwrap_or_else(|e| e.into_inner()));
        let mut more = self.take_new(now);
        for join in joins {
            while self.position < join.at && self.take_new(now) {}
            self.join(join, now);
        }
        let position = self.position();
        for group in &mut self.groups {
            group.flush(position, now);
        }
        let tokens: Vec<u64> = self.members.keys().copied().collect();
        for token in tokens {
            let blocked = self
                .group_of(token)
                .and_then(|g| self.groups[g].readers.get(&token))
                .is_none_or(|r| r.blocked);
            if !blocked {
                self.send(token, now);
            }
        }
        let mut fallen = Vec::new();
        for group in &mut self.groups {
            let request = Arc::clone(&group.request);
            fallen.extend(group.trim(position).into_iter().map(|f| (Arc::clone(&request), f)));
        }
        for (request, reader) in fallen {
            self.fell(request, reader);
        }
        self.drop_empty_groups();
        more |= !self.again.is_empty();
        more
    }

    fn position(&self) -> Cursor {
        Cursor { epoch: self.hub.bus.epoch(), seq: self.position }
    }

    /// Hands what was published to the groups; true when there may be more.
    fn take_new(&mut self, now: Instant) -> bool {
        let (events, more) = match self.hub.bus.after(self.position, TAKE) {
            Ok(events) => {
                self.position = events.last().map_or(self.position, |e| e.cursor.seq);
                let more = events.len() >= TAKE;
                (events, more)
            }
            // Faster than this thread could follow and already out of memory: the store has it.
            Err(_) => (self.read_on_in_store(), true),
        };
        for group in &mut self.groups {
            for event in &events {
                group.take(event, now);
            }
        }
        more
    }

    /// Reads on in the store and moves the position.
    fn read_on_in_store(&mut self) -> Vec<SharedEvent> {
        let mut events: Vec<SharedEvent> = Vec::new();
        let visited = self.hub.store.visit_after(self.position, limits::HOT_BYTES, TAKE, |stored| {
            let Ok(topic) = Topic::parse(stored.topic) else { return };
            let id = Cursor { epoch: stored.epoch, seq: stored.seq };
            events.push(Arc::new(Event::restored(
                id,
                Class::Record,
                stored.kind.into(),
                topic,
                None,
                stored.global,
                stored.data,
            )));
        });
        match visited {
            Ok(Visited::Through(through)) => {
                let all = crate::model::TopicFilter::parse("*").unwrap_or_default();
                events.extend(self.hub.bus.state_between(self.position, through, &all));
                events.sort_by_key(|e| e.cursor.seq);
                self.position = through;
            }
            // Retention is faster than this thread: everybody is sent back to where gaps are announced.
            Ok(Visited::Evicted(_)) | Err(_) => {
                let tokens: Vec<u64> = self.members.keys().copied().collect();
                for token in tokens {
                    self.close(token);
                }
                self.position = self.hub.bus.head().seq;
            }
        }
        events
    }

    fn join(&mut self, join: Join, now: Instant) {
        let Join { socket, request, at, guard, left } = join;
        let mut before = Vec::new();
        let mut left = left;
        if at < self.position {
            match self.hub.bus.after(at, (self.position - at) as usize) {
                Ok(mut events) => {
                    self.hub.bus.only_newest(&mut events);
                    for event in events.iter().filter(|e| resume::wanted(&request, e)) {
                        if left == Some(0) {
                            break;
                        }
                        resume::encode(&mut before, request.format, event);
                        left = left.map(|n| n - 1);
                    }
                }
                Err(_) => return self.hub.catch_up(socket, request, at, Vec::new(), guard, left),
            }
        }
        let token = self.next_token;
        self.next_token += 1;
        let flags = epoll::EventFlags::RDHUP | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        if epoll::add(&self.epoll, &*socket, epoll::EventData::new_u64(token), flags).is_err() {
            return;
        }
        let key = Key::of(&request);
        let group = match key.as_ref().and_then(|key| self.shared.get(key)) {
            Some(group) => *group,
            None => {
                self.groups.push(Group::new(request, self.position));
                let group = self.groups.len() - 1;
                if let Some(key) = key {
                    self.shared.insert(key, group);
                }
                group
            }
        };
        self.groups[group].join(token, socket, guard, before, now, left);
        self.members.insert(token, group);
    }

    fn group_of(&self, token: u64) -> Option<usize> {
        self.members.get(&token).copied()
    }

    fn unblock(&mut self, token: u64) {
        if let Some(group) = self.group_of(token)
            && let Some(reader) = self.groups[group].readers.get_mut(&token)
        {
            reader.blocked = false;
        }
    }

    fn send(&mut self, token: u64, now: Instant) {
        let Some(group) = self.group_of(token) else { return };
        let mut bytes = 0;
        let sent = self.groups[group].send(token, now, &mut bytes);
        self.hub.bus.metrics.bytes_sent_total.add(bytes);
        match sent {
            Sent::All => {}
            Sent::Some => self.again.push(token),
            // Edge-triggered OUT says when it takes more.
            Sent::Blocked => {
                if let Some(reader) = self.groups[group].readers.get_mut(&token) {
                    reader.blocked = true;
                }
            }
            Sent::Gone => self.close(token),
        }
    }

    fn close(&mut self, token: u64) {
        if let Some(group) = self.members.remove(&token)
            && let Some(reader) = self.groups[group].readers.remove(&token)
        {
            let _ = epoll::delete(&self.epoll, &*reader.socket);
            let _ = reader.socket.shutdown(std::net::Shutdown::Both);
        }
    }

    fn fell(&mut self, request: Arc<Request>, fallen: Fallen) {
        let Fallen { token, reader, rest, at } = fallen;
        self.members.remove(&token);
        let _ = epoll::delete(&self.epoll, &*reader.socket);
        let left = reader.left;
        self.hub.catch_up(reader.socket, request, at, rest, reader.guard, left);
    }

    fn beat(&mut self) {
        let position = self.position();
        let payload = resume::heartbeat(position);
        for group in &mut self.groups {
            group.control(position, "heartbeat", None, &payload);
        }
    }

    fn close_stalled(&mut self, now: Instant) {
        for group in 0..self.groups.len() {
            for token in self.groups[group].stalled(now, self.hub.stall) {
                self.hub.bus.metrics.streams_stalled_total.inc();
                self.close(token);
            }
        }
    }

    fn drop_empty_groups(&mut self) {
        if self.groups.iter().all(|g| !g.readers.is_empty()) {
            return;
        }
        let old = std::mem::take(&mut self.groups);
        self.shared.clear();
        self.members.clear();
        for group in old.into_iter().filter(|g| !g.readers.is_empty()) {
            let index = self.groups.len();
            if let Some(key) = Key::of(&group.request) {
                self.shared.insert(key, index);
            }
            self.members.extend(group.readers.keys().map(|token| (*token, index)));
            self.groups.push(group);
        }
    }

    /// Tells everybody that the daemon stops, as far as their buffers take it.
    fn bye(mut self) {
        let position = self.position();
        let now = Instant::now();
        for group in &mut self.groups {
            let retry = self.hub.jitter();
            group.control(
                position,
                "bye",
                Some(retry),
                &format!(r#"{{"reason":"shutdown","retry_ms":{retry}}}"#),
            );
        }
        let tokens: Vec<u64> = self.members.keys().copied().collect();
        for token in tokens {
            self.send(token, now);
            self.close(token);
        }
        for join in std::mem::take(&mut *self.mailbox.joins.lock().unwrap_or_else(|e| e.into_inner())) {
            let _ = join.socket.shutdown(std::net::Shutdown::Both);
        }
    }
}
