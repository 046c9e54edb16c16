//! An audio or data recorder.

use crate::clock::Wall;
use serde::{Deserialize, Serialize};

/// What a recorder is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum RecorderState {
    Idle,
    Armed,
    Recording,
    Hold,
    Stopped,
    Fault,
    Offline,
}

/// Why and when the last recording ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct LastStop {
    pub reason: String,
    pub at: Wall,
}

/// `recorder_status`. Levels in dBFS, times in seconds, sizes in bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct RecorderStatus {
    pub recorder_id: String,
    pub name: String,
    pub status: RecorderState,
    pub timestamp: Wall,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elapsed_s: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level_db: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold_db: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_db: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clipped: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub triggers: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_stop: Option<LastStop>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_s: Option<f64>,
}
