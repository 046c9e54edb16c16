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
}
