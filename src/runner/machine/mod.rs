//! How scans and queues stand, and what may be asked of them: two state machines and the figures that follow a scan.
//!
//! Pure: a command or an event goes in, a new state and at most one effect come out. Threads, instruments, the store and
//! the bus are their owner's. Promises: a state says what is, never what was asked for (that is `pending`); abort is
//! possible in every live state in which it is not pending already; an ended scan never changes again.

mod eta;
mod progress;
mod queue;
mod scan;

pub use eta::{Basis, Eta};
pub use progress::Progress;
pub use queue::{PauseMode, PauseReason, QueueEffect, QueueEvent, QueueMachine};
pub use scan::{Executor, ExitReason, ScanEvent, ScanMachine};

use serde::{Deserialize, Serialize};

/// What can be asked of a scan or of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ask {
    /// Begin.
    Start,
    /// Halt at the next checkpoint.
    Pause,
    /// Go on; it also takes back a pause that is pending.
    Resume,
    /// A scan: end before the next point, as a success. A queue: end after the current scan.
    Stop,
    /// End now, with the cleanup.
    Abort,
}

impl Ask {
    /// All of them, in the order they are listed in.
    pub const ALL: [Ask; 5] = [Ask::Start, Ask::Pause, Ask::Resume, Ask::Stop, Ask::Abort];

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Ask::Start => "start",
            Ask::Pause => "pause",
            Ask::Resume => "resume",
            Ask::Stop => "stop",
            Ask::Abort => "abort",
        }
    }

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<Ask> {
        Ask::ALL.into_iter().find(|ask| ask.name() == name)
    }
}

/// What becomes of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is taken: the state or what is pending has changed (202).
    Accepted,
    /// What it asks for is so, or pending, already: nothing has changed (200).
    Already,
    /// It makes no sense in this state: nothing has changed (409).
    Impossible,
}
