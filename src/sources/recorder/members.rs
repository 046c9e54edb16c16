//! What is said of one recorder, by whom: pins and ports in readings, programs in whole statuses. Pure.

use super::super::reading::{Reading, Value};
use crate::limits;
use crate::model::{LastStop, QualityReason, RecorderState};
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;

/// The name under which posts are a source; no source id may have a space.
pub(super) const HTTP: &str = "by HTTP";

/// How a source of a recorder stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Unheard,
    Live,
    Lost(QualityReason),
}

/// See the module above.
#[derive(Default)]
pub(super) struct Members {
    sources: BTreeMap<String, Standing>,
    status: Option<(String, RecorderState)>,
    /// Why it stopped, as the recorder says it, and when where it says that too.
    stop: Option<(String, LastStopSaid)>,
    /// Each with the source it came from.
    members: BTreeMap<String, (String, Json)>,
}

/// Why the last recording ended, as the recorder has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LastStopSaid {
    pub reason: String,
    pub at: Option<crate::clock::Wall>,
}

/// Members that are ours to say.
const OURS: [&str; 7] =
    ["recorder_id", "name", "timestamp", "motion", "pending", "allowed_actions", "peak_hold_db"];
/// Numbers among the members.
const NUMBERS: [&str; 13] = [
    "elapsed_s",
    "level_db",
    "threshold_db",
    "peak_db",
    "free_s",
    "noise_floor_db",
    "suggested_threshold_db",
    "trend_db_per_min",
    "uptime_s",
    "filter.avg_ms",
    "filter.peak_ms",
    "filter.budget_ms",
    "filter.budget_peak_ms",
];
const COUNTS: [&str; 3] = ["bytes", "overruns", "split_count"];
const FLAGS: [&str; 3] = ["clipped", "auto", "manual"];

impl Members {
    /// A source that may speak of it.
    pub fn expect(&mut self, source: &str) {
        self.sources.insert(source.to_string(), Standing::Unheard);
    }

    /// A source was heard.
    pub fn heard(&mut self, source: &str) {
        self.sources.insert(source.to_string(), Standing::Live);
    }

    /// A source is not heard any more: what it said goes with it.
    pub fn lost(&mut self, source: &str, why: QualityReason) {
        self.sources.insert(source.to_string(), Standing::Lost(why));
        self.members.retain(|_, (from, _)| from != source);
    }

    /// What the source that names the status last said; without one, whether anything is heard at all.
    pub fn status(&self) -> RecorderState {
        let live = |source: &str| self.sources.get(source) == Some(&Standing::Live);
        match &self.status {
            Some((source, status)) if live(source) => *status,
            None if self.sources.values().any(|s| *s == Standing::Live) => RecorderState::Idle,
            _ => RecorderState::Offline,
        }
    }

    /// Why it is offline: what became of the source that named the status.
    pub fn why_lost(&self) -> Option<QualityReason> {
        let of = |standing: &Standing| match standing {
            Standing::Lost(why) => Some(*why),
            _ => None,
        };
        match &self.status {
            Some((source, _)) => self.sources.get(source).and_then(of),
            None => self.sources.values().find_map(of),
        }
    }

    /// Why the last recording ended, as the recorder says it.
    pub fn stop(&self) -> Option<&LastStopSaid> {
        self.stop.as_ref().map(|(_, said)| said)
    }

    pub fn number(&self, name: &str) -> Option<f64> {
        self.members.get(name)?.1.as_f64()
    }

    pub fn flag(&self, name: &str) -> Option<bool> {
        self.members.get(name)?.1.as_bool()
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.members.get(name)?.1.as_str()
    }

    /// All of it as members of `recorder_status`.
    pub fn to_map(&self) -> Map<String, Json> {
        let mut all = Map::new();
        for (name, (_, value)) in &self.members {
            match name.strip_prefix("filter.") {
                Some(part) => {
                    let filter = all.entry("filter").or_insert_with(|| Map::new().into());
                    if let Json::Object(filter) = filter {
                        filter.insert(part.into(), value.clone());
                    }
                }
                None => {
                    all.insert(name.clone(), value.clone());
                }
            }
        }
        all
    }

    /// A whole status that was posted: what the last one had and this one has not is not said any more.
    pub fn post(&mut self, payload: Map<String, Json>) {
        self.members.retain(|_, (from, _)| from != HTTP);
        self.heard(HTTP);
        for (name, value) in payload {
            match name.as_str() {
                "status" => {
                    if let Ok(status) = serde_json::from_value(value) {
                        self.status = Some((HTTP.into(), status));
                    }
                }
                "last_stop" => {
                    if let Ok(stop) = serde_json::from_value::<LastStop>(value) {
                        self.stop =
                            Some((HTTP.into(), LastStopSaid { reason: stop.reason, at: Some(stop.at) }));
                    }
                }
                name if OURS.contains(&name) || value.is_null() => {}
                _ if self.members.len() < limits::CHANNELS => {
                    self.members.insert(name, (HTTP.into(), value));
                }
                _ => {}
            }
        }
    }

    /// One value of a pin or a port.
    ///
    /// # Errors
    /// One sentence that says what is wrong with it.
    pub fn take(&mut self, source: &str, reading: &Reading) -> Result<(), String> {
        let name = reading.name.as_str();
        let wrong =
            |expected: &str| Err(format!("has {name} {}; expected {expected}", shown(&reading.value)));
        let value = match (name, &reading.value) {
            (name, _) if OURS.contains(&name) => return Ok(()),
            ("last_stop", Value::Text(reason)) => {
                self.stop = Some((source.into(), LastStopSaid { reason: reason.clone(), at: None }));
                return Ok(());
            }
            ("last_stop", _) => return Ok(()),
            ("status", Value::Text(word)) => {
                let Ok(status) = serde_json::from_value(Json::from(word.to_ascii_lowercase())) else {
                    return wrong("idle, armed, recording, hold, stopped, fault or offline");
                };
                self.status = Some((source.to_string(), status));
                return Ok(());
            }
            ("status", _) => return wrong("a word"),
            (_, Value::Missing(_)) => Json::Null,
            (name, Value::Number(n)) if NUMBERS.contains(&name) => (*n).into(),
            (name, _) if NUMBERS.contains(&name) => return wrong("a number"),
            (name, Value::Number(n)) if COUNTS.contains(&name) && *n >= 0.0 && *n < u64::MAX as f64 => {
                (*n as u64).into()
            }
            ("bytes", _) => return wrong("a number of bytes"),
            (name, _) if COUNTS.contains(&name) => return wrong("a number from 0"),
            (name, Value::Flag(flag)) if FLAGS.contains(&name) => (*flag).into(),
            (name, Value::Number(n)) if FLAGS.contains(&name) => (*n != 0.0).into(),
            (name, Value::Text(_)) if FLAGS.contains(&name) => {
                return wrong("true or false, or a number");
            }
            ("mode" | "recording", Value::Text(text)) => text.clone().into(),
            ("mode" | "recording", other) => other.to_json().to_string().into(),
            ("triggers", Value::Text(text)) => text
                .split([',', ' ', ';'])
                .filter(|t| !t.is_empty())
                .map(Json::from)
                .collect::<Vec<_>>()
                .into(),
            ("triggers", _) => return wrong("words"),
            (_, other) => other.to_json(),
        };
        // What is not known is left out.
        if value.is_null() && (name == "triggers" || name.starts_with("filter.")) {
            self.members.remove(name);
            return Ok(());
        }
        if !self.members.contains_key(name) && self.members.len() >= limits::CHANNELS {
            return Err(format!("has more than {} members", limits::CHANNELS));
        }
        self.members.insert(name.to_string(), (source.to_string(), value));
        Ok(())
    }
}

fn shown(value: &Value) -> String {
    value.to_json().to_string().chars().take(40).collect()
}
