//! What became of a command.

use serde::{Deserialize, Serialize};

/// How a command stands. Only `accepted` may still change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandState {
    /// Taken; its effect has not been seen.
    Accepted,
    /// Its effect was observed.
    Completed,
    /// Refused before anything was done.
    Rejected,
    /// Tried, and did not work.
    Failed,
    /// Its effect was not observed in time.
    TimedOut,
    /// A later command made it meaningless.
    Superseded,
}

/// `command_result`, on the target's topic.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct CommandResult {
    pub command_id: String,
    pub action: String,
    pub target: String,
    pub state: CommandState,
    /// The target's status after it, when known.
    pub status: Option<String>,
    pub latency_ms: u64,
    pub reason: Option<String>,
    /// Why a move did not arrive, for programs: `stopped_externally`, `limit`, `not_in_tolerance`, `timeout`,
    /// `device_error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}
