//! An alert: a condition a person must know of. Open alerts are part of the state.

use crate::clock::Wall;
use serde::{Deserialize, Serialize};

/// How bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)]
pub enum Severity {
    NoAlarm,
    Minor,
    Major,
    Invalid,
}

/// Where in its life an alert is. `closed` is cleared and acknowledged: it leaves the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// The condition holds, nobody has acknowledged it.
    Active,
    /// The condition holds, somebody knows.
    Acknowledged,
    /// The condition is over, nobody has acknowledged it.
    Cleared,
    /// Over and acknowledged.
    Closed,
}

impl Severity {
    /// The word of the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Severity::NoAlarm => "NO_ALARM",
            Severity::Minor => "MINOR",
            Severity::Major => "MAJOR",
            Severity::Invalid => "INVALID",
        }
    }

    /// Reads the word of the wire.
    pub fn parse(word: &str) -> Option<Self> {
        [Severity::NoAlarm, Severity::Minor, Severity::Major, Severity::Invalid]
            .into_iter()
            .find(|s| s.word() == word)
    }
}

impl AlertState {
    /// The word of the wire.
    pub const fn word(self) -> &'static str {
        match self {
            AlertState::Active => "active",
            AlertState::Acknowledged => "acknowledged",
            AlertState::Cleared => "cleared",
            AlertState::Closed => "closed",
        }
    }

    /// Whether the condition holds.
    pub const fn holds(self) -> bool {
        matches!(self, AlertState::Active | AlertState::Acknowledged)
    }
}

/// Who raised an alert of ours. Alerts of other programs have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RaisedBy {
    /// A rule on a value.
    Rule,
    /// A part of telltale that found it itself.
    Telltale,
}

/// `alert`. A new occurrence of the same alert counts `occurrence` up; `severity` is the worst of the occurrence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Alert {
    pub alert_id: String,
    pub occurrence: u64,
    pub severity: Severity,
    pub state: AlertState,
    pub message: String,
    pub raised_at: Wall,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guidance: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleared_at: Option<Wall>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acked_at: Option<Wall>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acked_by: Option<String>,
    /// Until when it is neither delivered nor sounds: a time, or the word `restart`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snoozed_until: Option<String>,
    /// Whether it stays, once over, until somebody has acknowledged it.
    #[serde(default = "yes")]
    pub latched: bool,
    /// The rule that raised it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// How often the condition has come within this occurrence: more than 1 where it keeps coming back.
    #[serde(default = "once")]
    pub count: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raised_by: Option<RaisedBy>,
    /// Targets that take no commands while it stands, such as `instrument/stage`; a `*` stands for any id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<String>,
    /// Whether what it blocks stays blocked, once it is over, until somebody resets it (acknowledges it then).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub latch: bool,
}

impl Alert {
    /// Whether it keeps commands from `target` as it stands. Only rules of the file block.
    pub fn blocks(&self, target: &str) -> bool {
        let stands = self.state.holds() || (self.latch && self.state == AlertState::Cleared);
        stands
            && self.raised_by == Some(RaisedBy::Rule)
            && self.blocks.iter().any(|pattern| is_target(pattern, target))
    }
}

/// Whether `pattern` (`KIND/ID`, or `KIND/*` for any id) names this target.
pub fn is_target(pattern: &str, target: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(kind) if kind.ends_with('/') => target.starts_with(kind),
        _ => pattern == target,
    }
}

fn yes() -> bool {
    true
}

fn once() -> u64 {
    1
}
