//! What a reader asks for.

use crate::model::{Role, Since, TopicFilter};
use std::time::Duration;

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// `text/event-stream`.
    Sse,
    /// `application/x-ndjson`: one envelope a line.
    Ndjson,
}

/// One request for events: `GET /api/events`.
#[derive(Clone, Debug)]
pub struct Request {
    /// `topics=`.
    pub topics: TopicFilter,
    /// `types=`: only these event types; sorted, without doubles.
    pub types: Option<Vec<String>>,
    /// `interval=`: state at most this often per key, the latest wins.
    pub interval: Option<Duration>,
    /// SSE or NDJSON.
    pub format: Format,
    /// Where to go on.
    pub since: Since,
    /// `state=`: a snapshot first. Default: when no cursor is given.
    pub state: Option<bool>,
    /// `limit=`: for polls, the most events in one answer; for streams, end after so many.
    pub limit: Option<usize>,
    /// What the reader may do; told in `hello`.
    pub role: Role,
}
