//! The push service as the HTTP layer sees it.

use super::Request;
use crate::bus::Bus;
use crate::model::{Cursor, SharedEvent, TopicFilter};
use std::any::Any;
use std::net::TcpStream;
use std::sync::Arc;

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

/// See the module above.
pub struct Push {
    bus: Arc<Bus>,
}

impl Push {
    /// Serves a stream on a socket whose response head has been written. First bytes (`retry:` and `hello`) go out at
    /// once; history is sent on the calling thread, then the socket is handed to the pool and this returns. `guard` is
    /// dropped when the stream has ended.
    pub fn serve(&self, socket: Arc<TcpStream>, request: Request, guard: Box<dyn Any + Send>) {
        let _ = (socket, request, guard, &self.bus);
        todo!()
    }

    /// Answers a short poll.
    pub fn poll(&self, request: &Request) -> Poll {
        let _ = request;
        todo!()
    }

    /// The state at one moment: `GET /api/state`.
    pub fn state(&self, topics: &TopicFilter) -> (Cursor, Vec<SharedEvent>) {
        let snapshot = self.bus.snapshot(topics);
        (snapshot.cursor, snapshot.state)
    }
}
