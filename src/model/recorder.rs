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

impl RecorderState {
    /// Whether something is being recorded: a recorder on hold still has its recording open.
    pub fn is_recording(self) -> bool {
        matches!(self, RecorderState::Recording | RecorderState::Hold)
    }

    /// As on the wire.
    pub fn word(self) -> &'static str {
        match self {
            RecorderState::Idle => "idle",
            RecorderState::Armed => "armed",
            RecorderState::Recording => "recording",
            RecorderState::Hold => "hold",
            RecorderState::Stopped => "stopped",
            RecorderState::Fault => "fault",
            RecorderState::Offline => "offline",
        }
    }
}

/// Why and when the last recording ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct LastStop {
    pub reason: String,
    pub at: Wall,
}

/// Motion, as it was told over HTTP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Motion {
    /// Whether there is some.
    pub active: bool,
    /// Since when it is so.
    pub since: Wall,
    /// It is over, but counts until then.
    pub padding_until: Option<Wall>,
    /// How often it has changed since the start.
    pub sequence: u64,
}

/// What the recorder's filters cost for each frame, in ms, and what they may.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct FilterTimes {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avg_ms: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_ms: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_ms: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_peak_ms: Option<f64>,
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
    /// The highest level since the recording began, or since it was reset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_hold_db: Option<f64>,
    /// The 95th percentile or so of the background.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise_floor_db: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggested_threshold_db: Option<f64>,
    /// How the level moves, over the last minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trend_db_per_min: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub motion: Option<Motion>,
    /// It starts by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto: Option<bool>,
    /// Somebody started what it records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manual: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<FilterTimes>,
    /// Frames that were lost on the way in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overruns: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen_url: Option<String>,
    /// It begins another recording after so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_s: Option<f64>,
    /// How often it did since the first of these recordings began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split_count: Option<u64>,
    /// How long it has been running, or heard without a break.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime_s: Option<f64>,
    /// The command whose effect is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<String>,
    /// What it can be asked for now; absent when nothing here commands it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_actions: Option<Vec<String>>,
}

impl RecorderStatus {
    /// One of which only its state is known.
    pub fn new(recorder_id: &str, name: &str, status: RecorderState, timestamp: Wall) -> Self {
        RecorderStatus {
            recorder_id: recorder_id.into(),
            name: name.into(),
            status,
            timestamp,
            mode: None,
            recording: None,
            elapsed_s: None,
            level_db: None,
            threshold_db: None,
            peak_db: None,
            clipped: None,
            bytes: None,
            triggers: Vec::new(),
            last_stop: None,
            free_s: None,
            peak_hold_db: None,
            noise_floor_db: None,
            suggested_threshold_db: None,
            trend_db_per_min: None,
            motion: None,
            auto: None,
            manual: None,
            filter: None,
            overruns: None,
            listen_url: None,
            max_s: None,
            split_count: None,
            uptime_s: None,
            pending: None,
            allowed_actions: None,
        }
    }
}
