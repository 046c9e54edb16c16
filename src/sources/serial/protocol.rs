//! What is spoken on a port, without the port: a protocol is given bytes and time and says what is to be done.
//!
//! Promises: no I/O, no clock of its own (`now` is the monotonic clock), bounded memory, and no input makes it panic.
//! It does its own framing. The port's loop owns the device and its life, and knows who asked for what.

use super::super::instruments::{Failure, Offer, Request};
use super::super::reading::Reading;
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

    /// What its instrument can be asked, without its id and name; none: nothing, it only talks.
    fn offer(&self) -> Option<Offer> {
        None
    }

    /// A request to its instrument, under an id of the caller's. It ends with one [`Action::Finish`] of that id, sooner or
    /// later: at the latest when the port is closed.
    fn ask(&mut self, id: &str, request: &Request, now: Duration) -> Vec<Action>;

    /// Nobody waits for this request any more: it need not end, and what was not sent of it is not sent.
    fn give_up(&mut self, _id: &str) {}

    /// Somebody has taken its instrument: commands of others that have not been begun are not done any more, but for those
    /// that stop it. Gives their ids.
    fn taken(&mut self) -> Vec<String> {
        Vec::new()
    }

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
    /// How a channel moves.
    Motion(Motion),
    /// What changes seldom was read.
    Settings(Vec<Reading>),
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
    /// How a request ended.
    Finish(Finish),
    /// Drop what waits in the port's input.
    Flush,
}

/// How a channel moves, as far as something new is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Motion {
    /// Which.
    pub channel: String,
    /// Where it was sent.
    pub target: Option<f64>,
    /// Whether it moves.
    pub moving: Option<bool>,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Finish {
    /// The caller's id of it.
    pub id: String,
    /// How.
    pub state: CommandState,
    /// Why it did not arrive, where one of them says so.
    pub code: Option<Failure>,
    /// One sentence.
    pub reason: Option<String>,
    /// What was read.
    pub readings: Vec<Reading>,
    /// The answer of a query.
    pub text: Option<String>,
}
