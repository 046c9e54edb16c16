//! A value stream: any number that moves.

use super::{Quality, QualityReason, Severity};
use crate::clock::Wall;
use serde::{Deserialize, Serialize};

/// How the connection behind a stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum StreamState {
    Connecting,
    Live,
    Stale,
    Fallback,
    Offline,
}

/// `stream_value`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct StreamValue {
    pub stream_id: String,
    pub value: Option<f64>,
    pub unit: Option<String>,
    pub timestamp: Wall,
    pub quality: Quality,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality_reason: Option<QualityReason>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
}

/// `stream_status`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct StreamStatus {
    pub stream_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub status: StreamState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Wall>,
    #[serde(default)]
    pub reconnects: u64,
    #[serde(default)]
    pub dropped: u64,
    /// Values since the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticks: Option<u64>,
    /// Values that a newer one overtook before it was published; they are in the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflated: Option<u64>,
}
