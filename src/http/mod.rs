//! HTTP: connections, routes, static files, access.
//!
//! The connection loop is ours and `tiny_http` is the message layer (`Method`, `Header`, `StatusCode`,
//! `Response::raw_print`): its own server has no bound on heads, no timeouts, and loses its port for good when
//! descriptors run out. Here: one accept thread, one small thread per connection, heads by `httparse` under a deadline
//! and a byte limit, bodies under limits, the connection idle longest gives way at the cap. A request for a stream
//! ends its thread: the socket goes to the push pool.
//!
//! Promises: outside bytes never panic and never take unbounded memory or time; every refusal is a problem document
//! that says what was sent and what was expected. Does not keep events, decide their order, or write to streams.

mod access;
mod assets;
mod body;
mod chunk;
mod connection;
mod head;
mod listener;
mod problem;
mod query;
mod range;
mod reply;
mod request;
mod router;
mod routes;
mod server;
mod wire;

pub use self::problem::Problem;
pub use self::server::{Parts, Reload, Server};

use crate::limits;
use std::time::Duration;

/// Time limits of a connection. `TELLTALE_HTTP_TIMES=head,idle,body,linger` in milliseconds shortens them for tests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub head: Duration,
    pub idle: Duration,
    pub body: Duration,
    pub linger: Duration,
}

impl Times {
    fn from_environment() -> Times {
        let text = std::env::var("TELLTALE_HTTP_TIMES").unwrap_or_default();
        let mut given = text.split(',').map(|ms| ms.trim().parse().ok().map(Duration::from_millis));
        let mut next = |default| given.next().flatten().unwrap_or(default);
        Times {
            head: next(limits::HEAD_TIME),
            idle: next(limits::IDLE_TIME),
            body: next(limits::BODY_TIME),
            linger: next(limits::LINGER_TIME),
        }
    }
}
