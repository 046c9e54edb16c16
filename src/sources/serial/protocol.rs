//! What is spoken on a port, without the port: a protocol is given bytes and time and says what is to be done.
//!
//! Promises: no I/O, no clock of its own (`now` is the monotonic clock), bounded memory, and no input makes it panic.
//! It does its own framing. The port's loop owns the device and its life.

use super::super::reading::Reading;
use crate::bus::Command;
use crate::model::{CommandState, QualityReason};
use serde_json::Value as Json;
use std::time::Duration;

/// See the module above.
pub trait Protocol: Send {
    /// The port is open, again or for the first time: what is half read is forgotten; gives what to send first.
    fn opened(&mut self, now: Duration) -> Vec<Action>;

    /// Bytes came.
    fn received(&mut self, bytes: &[u8], now: Duration) -> Vec<Action>;

    /// Time has passed.
    fn tick(&mut self, now: Duration) -> Vec<Action>;

    /// When [`Protocol::tick`] is wanted next at the latest; none: whenever it suits.
    fn wake(&self) -> Option<Duration> {
        None
    }

    /// A command for this source's instrument, one of [`Protocol::actions`]. It ends with [`Action::Finish`].
    fn command(&mut self, command: &Command, now: Duration) -> Vec<Action>;

    /// The commands it takes, such as `set` and `query`.
    fn actions(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// The port is gone: ends what was under way.
    fn closed(&mut self) -> Vec<Action>;
}

/// What a protocol wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Write these bytes.
    Send(Vec<u8>),
    /// These values were read.
    Readings(Vec<Reading>),
    /// The device was understood, though it said nothing of value.
    Heard,
    /// This was not understood, and why: a few words that follow "the line".
    Bad {
        /// What came.
        line: Vec<u8>,
        /// Why it is no use.
        why: String,
    },
    /// Adds to a counter in the source's `detail`.
    Count(&'static str, u64),
    /// Sets a member of the source's `detail`.
    Detail(&'static str, Json),
    /// What it last read is not current any more, although the port is open.
    Lost(QualityReason),
    /// How a command ended.
    Finish {
        /// Of the command.
        id: String,
        /// How.
        state: CommandState,
        /// The state it led to, or the answer of a query.
        status: Option<String>,
        /// One sentence.
        reason: Option<String>,
    },
    /// Drop what waits in the port's input.
    Flush,
}
