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

/// From, to; what is not set has no end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Limits {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
}

/// The limits of a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChannelLimits {
    /// It may be set to these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<Limits>,
    /// Outside these its value is MINOR.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<Limits>,
    /// Outside these its value is MAJOR.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm: Option<Limits>,
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
    /// Whether it moves, where it tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving: Option<bool>,
    /// It stands still within the tolerance of its target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_position: Option<bool>,
    /// How far it may be from its target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<f64>,
    /// It can be set.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub settable: bool,
    /// The words it knows instead of numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<ChannelLimits>,
    /// When value, quality or severity last became different; that telltale was started again is no difference.
    pub last_changed: Wall,
    /// When it was last read, changed or not.
    pub last_updated: Wall,
    /// After how many seconds without a reading it counts as stale; 0 is never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<f64>,
}

impl Default for Channel {
    /// Nothing is known of it.
    fn default() -> Self {
        Channel {
            value: None,
            text: None,
            unit: None,
            target: None,
            quality: Quality::Bad,
            quality_reason: None,
            severity: None,
            moving: None,
            in_position: None,
            tolerance: None,
            settable: false,
            words: Vec::new(),
            limits: None,
            last_changed: Wall(0),
            last_updated: Wall(0),
            timeout_s: None,
        }
    }
}

/// `instrument_status`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct InstrumentStatus {
    pub instrument_id: serde_json::Value,
    pub instrument_name: String,
    /// `movement` or `measurement`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    pub status: InstrumentState,
    /// For programs: 0 not connected, 100 in order, 200 a value is beyond its limits, 300 at work, 400 an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_code: Option<u32>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_text: Option<String>,
    /// It is there, even if it says nothing of use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected: Option<bool>,
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
    /// When the settings were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings_updated: Option<Wall>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_by: Option<String>,
}
