//! A socket with time limits and what has been read from it but not used yet.
//!
//! Every read and write has a deadline of its own choosing: a non-blocking attempt first, then `poll`. The socket
//! itself stays in blocking mode for whoever takes it over.

use super::Times;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SendFlags};
use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What one read takes at most.
const READ: usize = 32 * 1024;

/// See the module above.
pub(crate) struct Wire {
    pub socket: Arc<TcpStream>,
    pub times: Times,
    buffer: Vec<u8>,
    used: usize,
}

impl Wire {
    pub fn new(socket: Arc<TcpStream>, times: Times) -> Self {
        Wire { socket, times, buffer: Vec::new(), used: 0 }
    }

    /// What has been read and not used.
    pub fn unused(&self) -> &[u8] {
        &self.buffer[self.used..]
    }

    /// Marks the first `n` bytes of [`Self::unused`] as used.
    pub fn advance(&mut self, n: usize) {
        self.used = (self.used + n).min(self.buffer.len());
        if self.used == self.buffer.len() {
            self.used = 0;
            self.buffer.clear();
        }
    }

    /// Gives back the buffer's memory: an idle connection holds none.
    pub fn rest(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = Vec::new();
        }
    }

    /// Reads some more, waiting until `deadline`; 0 is the end of what the peer sends.
    pub fn fill(&mut self, deadline: Instant) -> io::Result<usize> {
        if self.used > 0 {
            self.buffer.drain(..self.used);
            self.used = 0;
        }
        let before = self.buffer.len();
        self.buffer.resize(before + READ, 0);
        let read = receive(&self.socket, &mut self.buffer[before..], deadline);
        self.buffer.truncate(before + *read.as_ref().unwrap_or(&0));
        read
    }

    /// Writes everything, waiting until `deadline`.
    pub fn write_all(&self, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            match rustix::net::send(&*self.socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => bytes = &bytes[n..],
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => ready(&self.socket, PollFlags::OUT, deadline)?,
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// Says that nothing more is sent, then takes what the peer still sends for a moment: closing with unread bytes
    /// would reset the connection and take the answer away from the peer.
    pub fn linger(&mut self) {
        self.buffer = Vec::new();
        self.used = 0;
        if self.socket.shutdown(std::net::Shutdown::Write).is_err() {
            return;
        }
        let deadline = Instant::now() + self.times.linger;
        let mut sink = [0; 16 * 1024];
        let mut left = crate::limits::LINGER_BYTES;
        while left > 0 {
            match receive(&self.socket, &mut sink, deadline) {
                Ok(n) if n > 0 => left = left.saturating_sub(n),
                _ => break,
            }
        }
    }
}

fn receive(socket: &TcpStream, into: &mut [u8], deadline: Instant) -> io::Result<usize> {
    loop {
        match rustix::net::recv(socket, &mut *into, RecvFlags::DONTWAIT) {
            Ok((n, _)) => return Ok(n),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => ready(socket, PollFlags::IN, deadline)?,
            Err(e) => return Err(e.into()),
        }
    }
}

/// Waits until the socket is ready; `TimedOut` at the deadline.
fn ready(socket: &TcpStream, flags: PollFlags, deadline: Instant) -> io::Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let mut fds = [PollFd::new(socket, flags)];
    match poll(&mut fds, Some(&timespec(left))) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

pub(crate) fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: time.as_secs() as _, tv_nsec: time.subsec_nanos() as _ }
}

/// Collects an answer into large writes, each of which has to be taken within the time of a body.
pub(crate) struct Sender<'a> {
    wire: &'a Wire,
    held: Vec<u8>,
}

impl<'a> Sender<'a> {
    pub fn new(wire: &'a Wire) -> Self {
        Sender { wire, held: Vec::new() }
    }
}

impl Write for Sender<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(bytes);
        if self.held.len() >= READ {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.wire.write_all(&self.held, Instant::now() + self.wire.times.body)?;
        self.held.clear();
        Ok(())
    }
}

/// What so many bytes add to a deadline at the slowest rate that is put up with.
pub(crate) fn time_for(bytes: usize) -> Duration {
    Duration::from_micros(bytes as u64 * 1_000_000 / crate::limits::SLOWEST_RATE)
}
