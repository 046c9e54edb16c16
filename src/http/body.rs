//! The body of a request, read from the wire under limits of size and time.
//!
//! Promises: never more in memory than asked for; a body that comes too slowly ends the request. The silence between
//! two bytes is bounded, and for bodies that are read whole also the sum, at the slowest rate that is put up with.

use super::chunk::Chunks;
use super::head::Framing;
use super::problem::{Problem, problem};
use super::wire::{Wire, time_for};
use crate::limits;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

enum Left {
    Length(u64),
    Chunked(Chunks),
}

/// A body not read yet, or in part.
pub(crate) struct Body<'w> {
    wire: &'w mut Wire,
    left: Left,
    /// `100 Continue` is still owed.
    owes_continue: bool,
    failed: bool,
}

impl<'w> Body<'w> {
    pub fn new(wire: &'w mut Wire, framing: Framing, expects_continue: bool) -> Self {
        let left = match framing {
            Framing::Empty => Left::Length(0),
            Framing::Length(n) => Left::Length(n),
            Framing::Chunked => Left::Chunked(Chunks::default()),
        };
        Body { wire, left, owes_continue: expects_continue, failed: false }
    }

    /// The length, where the head says it.
    pub fn length(&self) -> Option<u64> {
        match self.left {
            Left::Length(n) => Some(n),
            Left::Chunked(_) => None,
        }
    }

    pub fn is_done(&self) -> bool {
        match &self.left {
            Left::Length(n) => *n == 0,
            Left::Chunked(chunks) => chunks.is_done(),
        }
    }

    /// Appends what comes next; 0 is the end of the body.
    ///
    /// # Errors
    /// 408 when nothing comes in time, 400 when the coding is broken or the peer goes away.
    pub fn read(&mut self, out: &mut Vec<u8>) -> Result<usize, Problem> {
        let deadline = Instant::now() + self.wire.times.body;
        self.read_by(out, deadline)
    }

    fn read_by(&mut self, out: &mut Vec<u8>, deadline: Instant) -> Result<usize, Problem> {
        let before = out.len();
        while out.len() == before && !self.is_done() {
            if self.wire.unused().is_empty() {
                if std::mem::take(&mut self.owes_continue) {
                    self.wire
                        .write_all(b"HTTP/1.1 100 Continue\r\n\r\n", deadline)
                        .map_err(|e| self.fault(&e))?;
                }
                match self.wire.fill(deadline) {
                    Ok(0) => {
                        return Err(self.fail(problem(
                            400,
                            "body_cut",
                            "Body cut short",
                            "the connection ended before the body did",
                        )));
                    }
                    Ok(_) => {}
                    Err(e) => return Err(self.fault(&e)),
                }
            }
            let unused = self.wire.unused();
            let used = match &mut self.left {
                Left::Length(n) => {
                    let take = (*n).min(unused.len() as u64) as usize;
                    out.extend_from_slice(&unused[..take]);
                    *n -= take as u64;
                    take
                }
                Left::Chunked(chunks) => match chunks.decode(unused, out) {
                    Ok(used) => used,
                    Err(e) => {
                        return Err(self.fail(problem(
                            400,
                            "malformed_chunk",
                            "Malformed chunked body",
                            format!("{}; expected the chunked coding of RFC 9112", e.0),
                        )));
                    }
                },
            };
            self.wire.advance(used);
        }
        Ok(out.len() - before)
    }

    /// Reads the whole body of at most `most` bytes, holding a share of `budget` meanwhile.
    ///
    /// # Errors
    /// 413 when it is larger, 503 when too many large bodies are being read, and those of [`Self::read`].
    pub fn whole<'b>(&mut self, most: usize, budget: &'b Budget) -> Result<Whole<'b>, Problem> {
        self.whole_after(Vec::new(), most, budget)
    }

    /// The same when its beginning has been read already.
    pub fn whole_after<'b>(
        &mut self,
        bytes: Vec<u8>,
        most: usize,
        budget: &'b Budget,
    ) -> Result<Whole<'b>, Problem> {
        let too_large = || {
            problem(
                413,
                "body_too_large",
                "Body too large",
                format!("the body has more than {most} bytes; send less, or NDJSON as application/x-ndjson"),
            )
            .with("limit", most)
        };
        if self.length().is_some_and(|n| n > most as u64) {
            return Err(too_large());
        }
        let mut whole = Whole { bytes, share: 0, budget };
        let started = Instant::now();
        loop {
            let now = Instant::now();
            // Small bodies are those of people and pages, some of whom nobody knows: they get little time in sum.
            let sum =
                if most <= limits::SMALL_BODY { self.wire.times.body / 4 } else { self.wire.times.body * 2 };
            let by = (now + self.wire.times.body).min(started + sum + time_for(whole.bytes.len()));
            if self.read_by(&mut whole.bytes, by)? == 0 {
                return Ok(whole);
            }
            if whole.bytes.len() > most {
                return Err(too_large());
            }
            whole.grow()?;
        }
    }

    /// Reads off a small rest so that the connection can go on; false when it has to end.
    pub fn finish(mut self) -> bool {
        if self.is_done() {
            return true;
        }
        // A client that waits for 100 Continue may or may not send its body now: nobody can tell what comes next.
        if self.failed || self.owes_continue || self.length().is_some_and(|n| n > limits::DRAIN_BYTES) {
            return false;
        }
        let deadline = Instant::now() + self.wire.times.linger;
        let mut sink = Vec::new();
        let mut sum = 0;
        while sum <= limits::DRAIN_BYTES {
            sink.clear();
            match self.read_by(&mut sink, deadline) {
                Ok(0) => return true,
                Ok(n) => sum += n as u64,
                Err(_) => return false,
            }
        }
        false
    }

    fn fail(&mut self, problem: Problem) -> Problem {
        self.failed = true;
        problem
    }

    fn fault(&mut self, e: &io::Error) -> Problem {
        self.fail(if e.kind() == io::ErrorKind::TimedOut {
            problem(
                408,
                "body_timeout",
                "Body too slow",
                format!("no more of the body came within {:?}", self.wire.times.body),
            )
        } else {
            problem(400, "body_cut", "Body cut short", "the connection broke before the body ended")
        })
    }
}

/// Bytes of bodies in memory at one time, over all connections.
#[derive(Debug, Default)]
pub(crate) struct Budget(AtomicUsize);

/// A body in memory; gives its share of the budget back when dropped.
#[derive(Debug)]
pub(crate) struct Whole<'b> {
    bytes: Vec<u8>,
    share: usize,
    budget: &'b Budget,
}

impl Whole<'_> {
    fn grow(&mut self) -> Result<(), Problem> {
        let more = self.bytes.len() - self.share;
        self.share = self.bytes.len();
        if self.budget.0.fetch_add(more, Ordering::Relaxed) + more > limits::BODIES_BYTES {
            return Err(problem(
                503,
                "too_many_bodies",
                "Too many large bodies",
                "too many large bodies are being read; try again",
            )
            .retry_after(1));
        }
        Ok(())
    }
}

impl Drop for Whole<'_> {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.share, Ordering::Relaxed);
    }
}

impl std::ops::Deref for Whole<'_> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}
