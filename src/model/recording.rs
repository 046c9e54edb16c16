//! A recording: a file that a recorder left behind, and what is known of it.

use crate::clock::Wall;
use serde::{Deserialize, Serialize};

/// What happened at a place in a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MarkerKind {
    /// What made the recorder start, or go on.
    Trigger,
    /// Where it fell silent.
    Release,
    /// Something moved, from `at_s` to `until_s`.
    Motion,
}

/// A place or a span in a recording, in seconds from its beginning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Marker {
    pub at_s: f64,
    #[serde(default)]
    pub until_s: Option<f64>,
    pub kind: MarkerKind,
    #[serde(default)]
    pub label: Option<String>,
}

/// A recording of the same name with another extension, such as the Opus beside a WAV.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Sibling {
    pub recording_id: String,
    pub extension: String,
}

/// Whether the peaks of a recording are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WaveformState {
    /// Computed and stored.
    Ready,
    /// Being computed, or waiting for it.
    Pending,
    /// Nobody has asked for them.
    None,
    /// The format is not read here, or the file could not be.
    Failed,
}

/// What `recording_changed` says has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum RecordingChange {
    Added,
    Growing,
    Finished,
    Renamed,
    /// Its label, or what a file beside it says, is another.
    Labelled,
    Pinned,
    Unpinned,
    Binned,
    Restored,
    Purged,
    /// Its peaks are there.
    Waveform,
    Clipped,
    Failed,
}

/// One recording. Sizes in bytes, lengths in seconds; null is not known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Recording {
    pub recording_id: String,
    /// The name of the file; bytes that are no text are shown as such.
    pub name: String,
    /// The same with its folders, from the recordings folder.
    pub path: String,
    /// `YYYY-MM-DD`, UTC.
    pub day: String,
    /// In small letters, without the point.
    pub extension: String,
    pub bytes: u64,
    pub modified: Wall,
    pub started_at: Wall,
    pub duration_s: Option<f64>,
    pub growing: bool,
    pub pinned: bool,
    pub label: Option<String>,
    pub binned_at: Option<Wall>,
    pub sample_rate: Option<u32>,
    pub channels: Option<u16>,
    pub bits: Option<u16>,
    pub recorder_id: Option<String>,
    pub triggers: Vec<String>,
    pub end_reason: Option<String>,
    pub waveform: WaveformState,
    /// Whether a browser can play it.
    pub playable: bool,
    pub siblings: Vec<Sibling>,
    pub markers: Vec<Marker>,
    /// The beginning of what was said.
    pub transcript: Option<String>,
    /// Why it can't be read.
    pub error: Option<String>,
}

/// `recording_changed`. `recording` is how it stands afterwards, and for `purged` how it stood last.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct RecordingChanged {
    pub recording_id: String,
    pub change: RecordingChange,
    pub recording: Recording,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
