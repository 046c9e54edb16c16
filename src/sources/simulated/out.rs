//! What one step of the bench says, in order, before it is published.

use super::Moment;
use crate::model::{Draft, Level, LogLine};
use serde::Serialize;
use serde_json::Value;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// State that has not changed is published again this often, so that its times stay true. Seconds.
const REFRESH_S: f64 = 10.0;

/// Collects what is said. Remembers of each state key what was said last, so that nothing is said twice.
#[derive(Default)]
pub(super) struct Out {
    drafts: Vec<Draft>,
    said: HashMap<String, (u64, f64)>,
}

impl Out {
    /// What was said since the last call.
    pub fn take(&mut self) -> Vec<Draft> {
        std::mem::take(&mut self.drafts)
    }

    /// Publishes a record.
    pub fn record(&mut self, kind: &str, payload: &impl Serialize) {
        self.draft(kind, Draft::of(kind, payload));
    }

    /// Publishes a state, when it differs in more than its times from what was published last, or that was long ago.
    pub fn state(&mut self, at: Moment, kind: &str, id: &str, payload: &impl Serialize) {
        let Ok(value) = serde_json::to_value(payload) else { return };
        let print = fingerprint(&value);
        let key = format!("{kind}/{id}");
        match self.said.get(&key) {
            Some((last, when)) if *last == print && at.t() - when < REFRESH_S => return,
            _ => {}
        }
        self.said.insert(key, (print, at.t()));
        self.draft(kind, Draft::checked(kind, None, value));
    }

    /// Publishes a state that was just measured, changed or not: its age is news.
    pub fn fresh(&mut self, at: Moment, kind: &str, id: &str, payload: &impl Serialize) {
        self.said.remove(&format!("{kind}/{id}"));
        self.state(at, kind, id, payload);
    }

    /// Publishes a state for the last time: scans and jobs come for ever, the state keeps the last of those that ended.
    pub fn retire(&mut self, kind: &str, id: &str, payload: &impl Serialize) {
        self.said.remove(&format!("{kind}/{id}"));
        self.draft(kind, Draft::of(kind, payload).map(Draft::retired));
    }

    /// A line of the log.
    pub fn log(&mut self, at: Moment, level: Level, source: &str, message: impl Into<String>) {
        let line =
            LogLine { level, message: message.into(), timestamp: at.wall, source: Some(source.into()) };
        self.record("log", &line);
    }

    fn draft(&mut self, kind: &str, draft: Result<Draft, crate::model::DraftError>) {
        match draft {
            Ok(draft) => self.drafts.push(draft),
            // A fault of the bench itself; its tests look for it.
            Err(e) => {
                debug_assert!(false, "{kind}: {e}");
                log::error!("the simulated bench made a wrong {kind}: {e}");
            }
        }
    }
}

/// A hash of everything but the times that move though nothing happens.
fn fingerprint(value: &Value) -> u64 {
    fn feed(value: &Value, hasher: &mut DefaultHasher) {
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    if !matches!(name.as_str(), "timestamp" | "last_updated" | "last_seen" | "updated") {
                        name.hash(hasher);
                        feed(member, hasher);
                    }
                }
            }
            Value::Array(items) => {
                items.len().hash(hasher);
                items.iter().for_each(|item| feed(item, hasher));
            }
            Value::Number(n) => n.as_f64().map(f64::to_bits).hash(hasher),
            Value::String(text) => text.hash(hasher),
            Value::Bool(b) => b.hash(hasher),
            Value::Null => 0_u8.hash(hasher),
        }
    }
    let mut hasher = DefaultHasher::new();
    feed(value, &mut hasher);
    hasher.finish()
}
