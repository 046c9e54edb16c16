//! What is spoken on a port, as a machine without I/O: bytes, time and commands go in, [`Action`]s come out. The port's
//! thread does the I/O and the life cycle; a protocol does its own framing and never touches a clock.
//!
//! **Promises of the port's thread.** `opened` comes first and again after each re-opening; bytes come in order; `tick`
//! comes about when [`Protocol::wake`] asks for it and at least every 0.2 s; a pause on the wire shows as a `tick`
//! with no `received` since the one before. Actions are done in their order. `now` is the monotonic clock.

use crate::bus::Command;
use crate::model::{CommandState, QualityReason};
use crate::sources::reading::Reading;
use serde_json::Value as Json;
use std::time::Duration;

/// A protocol on one port.
pub trait Protocol: Send {
    /// The port is open (again): what to send first. Whatever was half read is to be forgotten.
    fn opened(&mut self, now: Duration) -> Vec<Action>;

    /// Bytes came.
    fn received(&mut self, bytes: &[u8], now: Duration) -> Vec<Action>;

    /// Time passed and nothing came.
    fn tick(&mut self, now: Duration) -> Vec<Action>;

    /// When `tick` is wanted next; none: whenever.
    fn wake(&self) -> Option<Duration>;

    /// A command for the instrument that this source feeds; it ends with an [`Action::Finish`] of its id, sooner or later.
    fn command(&mut self, command: &Command, now: Duration) -> Vec<Action>;

    /// The commands it takes; empty: none.
    fn actions(&self) -> Vec<&'static str>;

    /// The port is gone: what is under way fails.
    fn closed(&mut self) -> Vec<Action>;
}

/// What a protocol wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Send these bytes.
    Send(Vec<u8>),
    /// Values were read. Counts as heard.
    Readings(Vec<Reading>),
    /// Something was understood, with no value in it.
    Heard,
    /// Something was not understood.
    Bad {
        /// What came, or its beginning.
        line: Vec<u8>,
        /// Why, to follow "it": `is not JSON`.
        why: String,
    },
    /// Adds to a counter that `source_status.detail` shows.
    Count(&'static str, u64),
    /// Sets a member of `source_status.detail`.
    Detail(&'static str, Json),
    /// The readings are not current although the port is open: an instrument does not answer.
    Lost(QualityReason),
    /// A command has ended.
    Finish {
        /// The command's id.
        id: String,
        /// How.
        state: CommandState,
        /// The instrument's status after it, when known.
        status: Option<String>,
        /// Why, unless it worked.
        reason: Option<String>,
    },
    /// Drop what waits in the port's input.
    Flush,
}
