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

/// `alert`. A new occurrence of the same alert counts `occurrence` up.
#[derive(Clone, Debug, Serialize, Deserialize)]
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
}
