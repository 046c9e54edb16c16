//! A group: readers with the same subscription, and the one encoded log they share.
//!
//! A reader is a socket and an offset into the log. Pure but for the sends: time and events are passed in.

use super::resume::{self, wanted};
use super::{Format, Request};
use crate::limits;
use crate::model::{Class, Cursor, SharedEvent, TopicFilter};
use rustix::net::SendFlags;
use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What makes two readers members of the same group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    topics: TopicFilter,
    types: Option<Vec<String>>,
    format: Format,
}

impl Key {
    /// None for a reader with an `interval`: what it is owed depends on when it came, so it is a group of its own.
    pub fn of(request: &Request) -> Option<Key> {
        let shared =
            || Key { topics: request.topics.clone(), types: request.types.clone(), format: request.format };
        request.interval.is_none().then(shared)
    }
}

/// One reader that has caught up.
pub(super) struct Reader {
    pub socket: Arc<TcpStream>,
    /// Dropped with the reader; counts streams elsewhere.
    pub guard: Box<dyn Any + Send>,
    /// Its place in the group's log.
    offset: u64,
    /// Bytes it is owed before the log's.
    before: Vec<u8>,
    /// The kernel takes no more; a wake-up comes when it does.
    pub blocked: bool,
    /// When it last took a byte, or had nothing to take.
    pub progress: Instant,
    /// Events it still gets; then the stream ends.
    pub left: Option<usize>,
}

/// What became of a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// It has everything.
    All,
    /// It has what one turn allows, and takes more.
    Some,
    /// The kernel's buffer is full.
    Blocked,
    /// It is gone, or has all it asked for.
    Gone,
}

/// A reader that fell behind what the group keeps.
pub(super) struct Fallen {
    pub token: u64,
    pub reader: Reader,
    /// The rest of the frame it was in the middle of.
    pub rest: Vec<u8>,
    /// The event that frame ends with.
    pub at: u64,
}

struct Pending {
    /// When the key was last sent.
    sent: Instant,
    event: Option<SharedEvent>,
}

/// See the module above.
pub(super) struct Group {
    pub request: Arc<Request>,
    pub readers: HashMap<u64, Reader>,
    buffer: Vec<u8>,
    /// The offset of the first byte of `buffer`.
    start: u64,
    /// The end offset of each frame in `buffer`, the seq it brings a reader to, and whether it counts for a `limit`.
    marks: VecDeque<(u64, u64, bool)>,
    /// The seq at `start`.
    start_seq: u64,
    pending: HashMap<Arc<str>, Pending>,
}

impl Group {
    pub fn new(request: Arc<Request>, at: u64) -> Group {
        Group {
            request,
            readers: HashMap::new(),
            buffer: Vec::new(),
            start: 0,
            marks: VecDeque::new(),
            start_seq: at,
            pending: HashMap::new(),
        }
    }

    fn end(&self) -> u64 {
        self.start + self.buffer.len() as u64
    }

    /// Adds a reader that has everything up to the group's position but for `before`.
    pub fn join(
        &mut self,
        token: u64,
        socket: Arc<TcpStream>,
        guard: Box<dyn Any + Send>,
        before: Vec<u8>,
        now: Instant,
        left: Option<usize>,
    ) {
        let reader =
            Reader { socket, guard, offset: self.end(), before, blocked: false, progress: now, left };
        self.readers.insert(token, reader);
    }

    /// Appends an event that the group's subscription covers, or keeps it back when its key was sent lately.
    pub fn take(&mut self, event: &SharedEvent, now: Instant) {
        if !wanted(&self.request, event) {
            return;
        }
        if let (Some(interval), Class::State, Some(key)) = (self.request.interval, event.class, &event.key) {
            match self.pending.get_mut(key) {
                Some(pending) if now.duration_since(pending.sent) < interval => {
                    pending.event = Some(Arc::clone(event));
                    return;
                }
                Some(pending) => *pending = Pending { sent: now, event: None },
                None => drop(self.pending.insert(Arc::clone(key), Pending { sent: now, event: None })),
            }
        }
        resume::encode(&mut self.buffer, self.request.format, event);
        self.mark(event.cursor.seq, true);
    }

    fn mark(&mut self, seq: u64, counts: bool) {
        self.marks.push_back((self.end(), seq, counts));
    }

    /// Sends the state that was kept back and is due. Its `id:` is the group's position, so that ids never go back.
    pub fn flush(&mut self, position: Cursor, now: Instant) {
        let Some(interval) = self.request.interval else { return };
        let due: Vec<_> = self
            .pending
            .values_mut()
            .filter(|p| p.event.is_some() && now.duration_since(p.sent) >= interval)
            .filter_map(|p| {
                p.sent = now;
                p.event.take()
            })
            .collect();
        self.append_kept(due, position);
    }

    fn append_kept(&mut self, mut events: Vec<SharedEvent>, position: Cursor) {
        events.sort_by_key(|e| e.cursor.seq);
        for event in events {
            match self.request.format {
                Format::Sse => super::frame::write(
                    &mut self.buffer,
                    Some(&position.to_string()),
                    &event.kind,
                    None,
                    event.data(),
                ),
                Format::Ndjson => resume::encode(&mut self.buffer, Format::Ndjson, &event),
            }
            self.mark(position.seq, true);
        }
    }

    /// When the next state that is kept back is due.
    pub fn next_flush(&self) -> Option<Instant> {
        let interval = self.request.interval?;
        self.pending.values().filter(|p| p.event.is_some()).map(|p| p.sent + interval).min()
    }

    /// Appends a control event.
    pub fn control(&mut self, position: Cursor, kind: &str, retry_ms: Option<u64>, payload: &str) {
        resume::control(&mut self.buffer, self.request.format, Some(position), kind, retry_ms, payload);
        self.mark(position.seq, false);
    }

    /// Gives a reader what it can take without waiting.
    pub fn send(&mut self, token: u64, now: Instant, sent_bytes: &mut u64) -> Sent {
        let end = self.end();
        let Some(reader) = self.readers.get_mut(&token) else { return Sent::Gone };
        let mut until = end;
        if let Some(left) = reader.left {
            let mut counted = self.marks.iter().filter(|(at, _, counts)| *counts && *at > reader.offset);
            if let Some((at, ..)) = counted.nth(left.saturating_sub(1)) {
                until = *at;
            }
            if left == 0 {
                until = reader.offset;
            }
        }
        let mut budget = limits::SEND_BYTES;
        loop {
            let slice = if reader.before.is_empty() {
                &self.buffer[(reader.offset - self.start) as usize..(until - self.start) as usize]
            } else {
                &reader.before[..]
            };
            if slice.is_empty() {
                reader.progress = now;
                let done = reader.left.is_some() && (until < end || reader.left == Some(0));
                return if done { Sent::Gone } else { Sent::All };
            }
            if budget == 0 {
                return Sent::Some;
            }
            let slice = &slice[..slice.len().min(budget)];
            match rustix::net::send(&*reader.socket, slice, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(0) => return Sent::Gone,
                Ok(n) => {
                    *sent_bytes += n as u64;
                    budget -= n;
                    reader.progress = now;
                    if reader.before.is_empty() {
                        reader.offset += n as u64;
                        if let Some(left) = &mut reader.left {
                            let from = reader.offset - n as u64;
                            *left -= self
                                .marks
                                .iter()
                                .filter(|(at, _, c)| *c && *at > from && *at <= reader.offset)
                                .count()
                                .min(*left);
                        }
                    } else {
                        reader.before.drain(..n);
                        if reader.before.is_empty() {
                            reader.before = Vec::new();
                        }
                    }
                }
                Err(rustix::io::Errno::AGAIN) => return Sent::Blocked,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return Sent::Gone,
            }
        }
    }

    /// Forgets what every reader has; takes out the readers that are further behind than the group keeps.
    pub fn trim(&mut self, position: Cursor) -> Vec<Fallen> {
        let slowest = self.readers.values().map(|r| r.offset).min().unwrap_or(self.end());
        let mut fallen = Vec::new();
        if slowest == self.end() {
            self.forget_through(slowest);
        } else if self.buffer.len() > limits::GROUP_BYTES {
            let keep_from = self.end() - (limits::GROUP_BYTES / 2) as u64;
            // To the end of a frame, so that what is kept begins with a whole one.
            let keep_from =
                self.marks.iter().map(|(end, ..)| *end).find(|end| *end >= keep_from).unwrap_or(self.end());
            let tokens: Vec<u64> =
                self.readers.iter().filter(|(_, r)| r.offset < keep_from).map(|(t, _)| *t).collect();
            for token in tokens {
                fallen.extend(self.fall(token, position));
            }
            self.forget_through(keep_from);
        }
        fallen
    }

    /// Takes a reader out with the rest of its frame and what was kept back from it.
    fn fall(&mut self, token: u64, position: Cursor) -> Option<Fallen> {
        let mut reader = self.readers.remove(&token)?;
        let mut rest = std::mem::take(&mut reader.before);
        let begun = self.marks.iter().rev().find(|(end, ..)| *end <= reader.offset);
        let (mut at, frame_begin) = begun.map_or((self.start_seq, self.start), |(end, seq, _)| (*seq, *end));
        if reader.offset > frame_begin
            && let Some((end, seq, _)) = self.marks.iter().find(|(end, ..)| *end > reader.offset)
        {
            rest.extend(&self.buffer[(reader.offset - self.start) as usize..(*end - self.start) as usize]);
            at = *seq;
        }
        // With an interval the group has one reader: what was kept back for it up to `at` is owed now.
        if self.request.interval.is_some() {
            let owed = self
                .pending
                .values_mut()
                .filter(|p| p.event.as_ref().is_some_and(|e| e.cursor.seq <= at))
                .filter_map(|p| p.event.take());
            for event in owed.collect::<Vec<_>>() {
                match self.request.format {
                    Format::Sse => {
                        let id = Cursor { epoch: position.epoch, seq: at };
                        super::frame::write(
                            &mut rest,
                            Some(&id.to_string()),
                            &event.kind,
                            None,
                            event.data(),
                        );
                    }
                    Format::Ndjson => resume::encode(&mut rest, Format::Ndjson, &event),
                }
            }
        }
        Some(Fallen { token, reader, rest, at })
    }

    fn forget_through(&mut self, offset: u64) {
        while let Some((_, seq, _)) = self.marks.front().filter(|(end, ..)| *end <= offset) {
            self.start_seq = *seq;
            self.marks.pop_front();
        }
        if offset == self.end() {
            self.buffer.clear();
            if self.buffer.capacity() > 64 * 1024 {
                self.buffer = Vec::new();
            }
        } else {
            self.buffer.drain(..(offset - self.start) as usize);
        }
        self.start = offset;
    }

    /// Readers that are blocked and have taken nothing for too long.
    pub fn stalled(&self, now: Instant, limit: Duration) -> Vec<u64> {
        self.readers
            .iter()
            .filter(|(_, r)| r.blocked && now.duration_since(r.progress) > limit)
            .map(|(t, _)| *t)
            .collect()
    }
}
