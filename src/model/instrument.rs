//! A measuring or moving instrument and its channels.

use super::{Quality, QualityReason, Severity};
use crate::clock::Wall;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What an instrument is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum InstrumentState {
    Connected,
    Idle,
    Moving,
    Measuring,
    Error,
    Disconnected,
}

/// One value of an instrument, with what is needed to judge it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Channel {
    pub value: Option<f64>,
    /// Text instead of a number, for channels that answer words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<f64>,
    pub quality: Quality,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality_reason: Option<QualityReason>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// When value, quality or severity last became different.
    pub last_changed: Wall,
    /// When it was last read, changed or not.
    pub last_updated: Wall,
    /// After how many seconds without a reading it counts as stale; 0 is never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<f64>,
}

/// `instrument_status`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct InstrumentStatus {
    pub instrument_id: serde_json::Value,
    pub instrument_name: String,
    pub status: InstrumentState,
    pub timestamp: Wall,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub position: BTreeMap<String, Option<f64>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub target: BTreeMap<String, Option<f64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_moving: Option<bool>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub channels: BTreeMap<String, Channel>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_by: Option<String>,
}
