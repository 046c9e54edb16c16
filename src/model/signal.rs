//! A sampled signal.

use crate::clock::Wall;
use serde::{Deserialize, Serialize};

/// One sample. `z` is its distance from the rolling mean in standard deviations.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct SignalEvent {
    pub seq: u64,
    pub t: Wall,
    pub value: Option<f64>,
    #[serde(default)]
    pub anomaly: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub z: Option<f64>,
    /// How good its source says it is, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<f64>,
}

/// Counts since the signal began.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct SignalTotals {
    pub events: u64,
    pub anomalies: u64,
}

/// `signal_batch`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct SignalBatch {
    pub signal_id: String,
    pub events: Vec<SignalEvent>,
    pub totals: SignalTotals,
}

/// Statistics of the window.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct SignalStats {
    pub mean: Option<f64>,
    pub std: Option<f64>,
    pub min: Option<f64>,
    pub max: Option<f64>,
}

/// `signal_status`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct SignalStatus {
    pub signal_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub live: bool,
    pub interval_s: f64,
    pub batch_size: u64,
    pub seed: u64,
    pub total_events: u64,
    pub stats: SignalStats,
    pub anomalies: u64,
    /// Samples before one that it is judged by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<u64>,
    /// Deviations from which a sample is an anomaly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// `generated` or `outside`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The number of the next sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_seq: Option<u64>,
    /// Samples before this number are no longer shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_seq: Option<u64>,
    /// What may be asked of it as it stands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_actions: Vec<String>,
    /// The time of the newest sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated: Option<Wall>,
}
