//! A queue of scans.

use crate::clock::Wall;
use serde::{Deserialize, Serialize};

/// What a queue is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum QueueState {
    Idle,
    Running,
    Paused,
    Stopping,
    Completed,
}

/// What a queue does when a scan of it fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// It pauses.
    #[default]
    Pause,
    /// The next scan follows.
    Continue,
}

/// `queue_status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct QueueStatus {
    pub queue_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub status: QueueState,
    pub current_scan: Option<String>,
    pub completed_scans: u64,
    pub total_scans: u64,
    pub order_version: u64,
    pub timestamp: Wall,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<String>,
    #[serde(default)]
    pub failed_scans: u64,
    #[serde(default)]
    pub aborted_scans: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub order: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta_s: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_reason: Option<String>,
    #[serde(default)]
    pub allowed_actions: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
    /// A copy of a completed scan is added at its end.
    #[serde(default, rename = "loop", skip_serializing_if = "Option::is_none")]
    pub looped: Option<bool>,
    /// It starts when a scan is added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autostart: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_since: Option<Wall>,
    /// It has been removed: this is the last of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub removed: bool,
}
