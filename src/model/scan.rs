//! A scan and the points it measures.

use super::{Quality, QualityReason};
use crate::clock::Wall;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// How a scan stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum ScanState {
    Queued,
    Running,
    Paused,
    Completed,
    Aborted,
    Failed,
}

/// `scan_status`. `progress` is 0 to 1 and freezes when a scan ends early.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ScanStatus {
    pub scan_id: String,
    pub status: ScanState,
    pub pending: Option<String>,
    pub progress: Option<f64>,
    pub allowed_actions: Vec<String>,
    pub revision: u64,
    pub timestamp: Wall,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points_done: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points_total: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elapsed_s: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_s: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta_s: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub num_points: BTreeMap<String, u64>,
    #[serde(flatten)]
    pub more: ScanMore,
}

/// The members of a `scan_status` that only some scans have: those of the lab's own runner and of external programs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ScanMore {
    /// Which pass of a repeated scan, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat_index: Option<u64>,
    /// Such as `set psu.voltage = 2.25 V`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_step: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Wall>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Wall>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Wall>,
    /// `planned` or `observed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta_basis: Option<String>,
    /// What an aborted or failed one was caused by, such as the id of a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caused_by: Option<String>,
    /// The scan that it repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<String>,
    /// Why it waits although it is its turn, such as `dmm is used by SCAN_004`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_by: Option<String>,
    /// Points left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<u64>,
    /// The worst delay of a point so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_ms: Option<u64>,
    /// What an operator has to confirm by resuming.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// External: the longest it may be silent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_s: Option<f64>,
    /// External: `uncertain` while its program is silent, or has not been heard since a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<Quality>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality_reason: Option<QualityReason>,
}

/// `data_point`. `data` maps a column to a number, text, a flag, an array of numbers, or null.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct DataPoint {
    pub scan_id: String,
    pub measurement: String,
    pub sequence_index: u64,
    pub data: BTreeMap<String, Json>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub t_rel: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Wall>,
    /// Of the columns whose value is not good: `quality/reason`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub quality: BTreeMap<String, String>,
    /// How much later than planned it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_ms: Option<u64>,
}

/// `data_batch`: several points, a column each.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct DataBatch {
    pub scan_id: String,
    pub measurement: String,
    pub first_index: u64,
    pub data: BTreeMap<String, Vec<Json>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub t_rel: Vec<Option<f64>>,
    /// Of the first row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Wall>,
    /// Milliseconds from there to the time of each row.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after_ms: Vec<i64>,
    /// By index, for the rows that have any.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub quality: BTreeMap<u64, BTreeMap<String, String>>,
    /// By index, for the rows that have it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub late_ms: BTreeMap<u64, u64>,
}
