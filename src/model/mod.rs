//! The vocabulary: plain types, no I/O. One noun a file; names are those of the wire (docs/api.md).

mod alert;
mod bands;
mod command;
mod cursor;
mod detection;
mod event;
mod health;
mod instrument;
mod job;
mod kind;
mod log;
mod quality;
mod queue;
mod recorder;
mod recording;
mod role;
mod scan;
mod selector;
mod service;
mod signal;
mod source;
mod stream;
mod topic;

pub use self::alert::{Alert, AlertState, RaisedBy, Severity, is_target};
pub use self::bands::Bands;
pub use self::command::{CommandResult, CommandState};
pub use self::cursor::{Cursor, Since};
pub use self::detection::{BoundingBox, Detection, DetectionSummary};
pub use self::event::{Class, Draft, DraftError, Event, Fault, PAYLOAD_BYTES, SharedEvent};
pub use self::health::{Disk, SystemHealth};
pub use self::instrument::{Channel, ChannelLimits, InstrumentState, InstrumentStatus, Limits};
pub use self::job::{JobState, JobStatus};
pub use self::kind::{Global, KINDS, Kind, TopicRule, find_kind};
pub use self::log::{Level, LogLine, QueueLog};
pub use self::quality::{Quality, QualityReason};
pub use self::queue::{OnFailure, QueueState, QueueStatus};
pub use self::recorder::{FilterTimes, LastStop, Motion, RecorderState, RecorderStatus};
pub use self::recording::{
    Marker, MarkerKind, Recording, RecordingChange, RecordingChanged, Sibling, WaveformState,
};
pub use self::role::Role;
pub use self::scan::{DataBatch, DataPoint, ScanMore, ScanState, ScanStatus};
pub use self::selector::{Picked, Selector};
pub use self::service::ServiceStatus;
pub use self::signal::{SignalBatch, SignalEvent, SignalStats, SignalStatus, SignalTotals};
pub use self::source::{SourceState, SourceStatus};
pub use self::stream::{StreamState, StreamStatus, StreamValue};
pub(crate) use self::topic::is_id;
pub use self::topic::{Topic, TopicError, TopicFilter};

/// Reads a payload as the Rust type of its event type: wrong enums and wrong shapes are found here.
fn kind_check(name: &str, payload: &serde_json::Value) -> Result<(), String> {
    use serde::Deserialize;
    fn is<'a, T: Deserialize<'a>>(payload: &'a serde_json::Value) -> Result<(), String> {
        T::deserialize(payload).map(drop).map_err(|e| e.to_string())
    }
    match name {
        "recorder_status" => is::<RecorderStatus>(payload),
        "job_status" => is::<JobStatus>(payload),
        "instrument_status" => is::<InstrumentStatus>(payload),
        "queue_status" => is::<QueueStatus>(payload),
        "scan_status" => is::<ScanStatus>(payload),
        "data_point" => is::<DataPoint>(payload),
        "data_batch" => is::<DataBatch>(payload),
        "queue_log" => is::<QueueLog>(payload),
        "log" => is::<LogLine>(payload),
        "signal_batch" => is::<SignalBatch>(payload),
        "signal_status" => is::<SignalStatus>(payload),
        "stream_value" => is::<StreamValue>(payload),
        "stream_status" => is::<StreamStatus>(payload),
        "detection" => is::<Detection>(payload),
        "detection_summary" => is::<DetectionSummary>(payload),
        "alert" => is::<Alert>(payload),
        "service_status" => is::<ServiceStatus>(payload),
        "source_status" => is::<SourceStatus>(payload),
        "system_health" => is::<SystemHealth>(payload),
        "command_result" => is::<CommandResult>(payload),
        _ => Ok(()),
    }
}
