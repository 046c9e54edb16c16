//! The event types of the wire: one table that says, for each, its class, its topic and its key.

use super::Class;

/// One row of the table of event types.
#[derive(Debug)]
pub struct Kind {
    /// The `type` on the wire.
    pub name: &'static str,
    /// Whether it is kept as its latest value, as a record, or not at all.
    pub class: Class,
    /// The topic: `scan/{scan_id}` takes the id from the payload; a plain word is the topic itself.
    pub topic: TopicRule,
    /// The payload field whose value, with the type, is the state key. For records: what it is called in the topic.
    pub id_field: &'static str,
    /// Whether it belongs to `global`.
    pub global: Global,
    /// Payload fields that must be there.
    pub mandatory: &'static [&'static str],
}

/// Where an event type is published.
#[derive(Debug, PartialEq, Eq)]
pub enum TopicRule {
    /// `{0}/{value of the id field}`.
    ById(&'static str),
    /// Always this topic.
    Fixed(&'static str),
    /// The publisher names it (`command_result`: the target's topic; `queue_log`: its queue's or scan's).
    Given,
}

/// Whether an event is part of `global`.
#[derive(Debug, PartialEq, Eq)]
pub enum Global {
    /// Always.
    Yes,
    /// Never.
    No,
    /// When its `level` is WARNING, ERROR or CRITICAL.
    FromWarning,
}

use Class::{Record, State};
use Global::{FromWarning, No, Yes};
use TopicRule::{ById, Fixed, Given};

const fn row(
    name: &'static str,
    class: Class,
    topic: TopicRule,
    id_field: &'static str,
    global: Global,
    mandatory: &'static [&'static str],
) -> Kind {
    Kind { name, class, topic, id_field, global, mandatory }
}

/// Every event type that is published; the control events (`hello`, `heartbeat`, `snapshot`, `gap`, `bye`) are made
/// by the push layer and are not here.
pub static KINDS: [Kind; 22] = [
    row(
        "recorder_status",
        State,
        ById("recorder"),
        "recorder_id",
        Yes,
        &["recorder_id", "name", "status", "timestamp"],
    ),
    row(
        "recording_changed",
        Record,
        Fixed("recordings"),
        "recording_id",
        Yes,
        &["recording_id", "change", "recording"],
    ),
    row("job_status", State, ById("job"), "job_id", Yes, &["job_id", "kind", "status", "progress"]),
    row(
        "instrument_status",
        State,
        ById("instrument"),
        "instrument_id",
        Yes,
        &["instrument_id", "instrument_name", "status", "timestamp"],
    ),
    row(
        "queue_status",
        State,
        ById("queue"),
        "queue_id",
        Yes,
        &[
            "queue_id",
            "status",
            "current_scan",
            "completed_scans",
            "total_scans",
            "order_version",
            "timestamp",
        ],
    ),
    row(
        "scan_status",
        State,
        ById("scan"),
        "scan_id",
        Yes,
        &["scan_id", "status", "pending", "progress", "allowed_actions", "revision", "timestamp"],
    ),
    row(
        "data_point",
        Record,
        ById("scan"),
        "scan_id",
        No,
        &["scan_id", "measurement", "sequence_index", "data"],
    ),
    row(
        "data_batch",
        Record,
        ById("scan"),
        "scan_id",
        No,
        &["scan_id", "measurement", "first_index", "data"],
    ),
    row("queue_log", Record, Given, "", FromWarning, &["level", "message", "timestamp"]),
    row("log", Record, Fixed("log"), "", FromWarning, &["level", "message", "timestamp"]),
    row("signal_batch", Record, ById("signal"), "signal_id", No, &["signal_id", "events", "totals"]),
    row(
        "signal_status",
        State,
        ById("signal"),
        "signal_id",
        Yes,
        &["signal_id", "live", "interval_s", "batch_size", "seed", "total_events", "stats", "anomalies"],
    ),
    row(
        "stream_value",
        State,
        ById("stream"),
        "stream_id",
        No,
        &["stream_id", "value", "unit", "timestamp", "quality"],
    ),
    row("stream_status", State, ById("stream"), "stream_id", Yes, &["stream_id", "status"]),
    row(
        "detection",
        Record,
        Fixed("detections"),
        "detection_id",
        No,
        &["detection_id", "label", "confidence", "timestamp"],
    ),
    row(
        "detection_summary",
        State,
        Fixed("detections"),
        "",
        Yes,
        &["total", "unique_skus", "unique_labels", "mean_confidence", "discrepancies", "updated"],
    ),
    row(
        "alert",
        Record,
        Fixed("alerts"),
        "alert_id",
        Yes,
        &["alert_id", "occurrence", "severity", "state", "message", "raised_at"],
    ),
    row("service_status", State, Fixed("services"), "name", Yes, &["name", "status", "since"]),
    row(
        "source_status",
        State,
        Fixed("system"),
        "source_id",
        Yes,
        &["source_id", "kind", "status", "quality", "last_seen"],
    ),
    row("system_health", State, Fixed("system"), "", Yes, &["uptime_s", "cpu", "memory"]),
    row("config_changed", State, Fixed("system"), "", Yes, &["revision", "sections", "applied", "error"]),
    row(
        "command_result",
        Record,
        Given,
        "command_id",
        Yes,
        &["command_id", "action", "target", "state", "status", "latency_ms", "reason"],
    ),
];

/// Names that nobody may publish: control events, and EventSource's own.
pub(crate) const RESERVED: [&str; 8] =
    ["hello", "heartbeat", "snapshot", "gap", "bye", "open", "error", "message"];

/// The row of a type, if it is one of ours.
pub fn find_kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}
