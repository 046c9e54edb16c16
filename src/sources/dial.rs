//! Connections to other hosts: by a thread of their own (`dial-ID`), as the system's resolver may hang for as long as it
//! likes, and whoever wants the connection has a stop to listen to.
//!
//! **Promises.** Dialling never waits. **Threads.** Nobody waits for a dialler at the end: it holds nothing but its
//! sockets, and ends with its work. Does not: see to it that a source has only one of a kind at a time; the source does.

use crate::{limits, threads};
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Addresses of one name that are tried.
const ADDRESSES: usize = 4;

/// Does `work` for the source `id` by a thread of its own. What comes of it `work` hands over itself, where it does not wait
/// for anybody to take it.
///
/// # Errors
/// When the system has no thread left.
pub(super) fn dial(id: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    // The kernel shows 15 characters of a thread's name.
    let name: String = format!("dial-{id}").chars().take(15).collect();
    threads::spawn(&name, limits::STACK, work).map(drop)
}

/// Looks up a name and connects to the first of its addresses that answers, each within `time`.
///
/// # Errors
/// The name is not found, or the failure of the last address.
pub(super) fn connect(address: impl ToSocketAddrs, time: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()?.take(ADDRESSES) {
        match TcpStream::connect_timeout(&address, time) {
            Ok(stream) => return Ok(stream),
            Err(e) => last = e,
        }
    }
    Err(last)
}
