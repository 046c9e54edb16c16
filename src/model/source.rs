//! A source: anything that feeds the bus.

use super::{Quality, QualityReason};
use crate::clock::Wall;
use serde::{Deserialize, Serialize};

/// How a source stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceState {
    /// The device is not there; tried again.
    Absent,
    /// Being opened.
    Opening,
    /// Open, nothing heard yet.
    NoData,
    /// Heard within its time.
    Ok,
    /// Not heard within its time.
    Stale,
    /// It speaks, but is not understood, or has a fault.
    Error,
    /// Switched off by configuration or because it flooded.
    Disabled,
}

/// `source_status`. `kind` is `gpio`, `serial`, `http`, `host`, `simulated`, ...
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct SourceStatus {
    pub source_id: String,
    pub kind: String,
    pub status: SourceState,
    pub quality: Quality,
    pub last_seen: Option<Wall>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality_reason: Option<QualityReason>,
    #[serde(default)]
    pub errors: u64,
    #[serde(default)]
    pub reconnects: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// What the source wants to add, such as a pin's level or a port's device.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub detail: serde_json::Map<String, serde_json::Value>,
}
