//! `[[recorder]]`: how a recorder is told, and what confirms it.

use crate::limits;
use std::time::Duration;

/// How a command reaches a recorder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// An output becomes active or not.
    Level {
        /// Source id of the output.
        pin: String,
        /// Whether it becomes active.
        active: bool,
    },
    /// An output is active for a time.
    Pulse {
        /// Source id of the output.
        pin: String,
        /// For this long.
        time: Duration,
    },
    /// A port sends something.
    Serial {
        /// Source id of the port.
        port: String,
        /// What.
        send: String,
    },
    /// A request over HTTP, which succeeds with any 2xx.
    Http {
        /// Where.
        url: String,
        /// Usually POST.
        method: String,
        /// The body.
        body: String,
    },
}

/// What confirms a command to a recorder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfirmBy {
    /// Its status, whoever tells it.
    Status,
    /// Only what is posted to `/api/recorders/{id}/state`.
    Http,
}

/// `[[recorder]]`: what is known of a recorder besides what pins and ports say of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorder {
    /// Its id, as the sinks of pins and ports name it.
    pub id: String,
    /// The name people see.
    pub name: Option<String>,
    /// How it is started; none: it can't be.
    pub start: Option<Effect>,
    /// How it is stopped.
    pub stop: Option<Effect>,
    /// How it begins another recording.
    pub split: Option<Effect>,
    /// How it is made to start by itself.
    pub auto_on: Option<Effect>,
    /// And made not to.
    pub auto_off: Option<Effect>,
    /// What confirms a command.
    pub confirm: ConfirmBy,
    /// The time a command has to show its effect.
    pub confirm_within: Duration,
    /// Silence after which what was posted of it no longer counts.
    pub stale_after: Duration,
    /// The recorder splits by itself after this long; shown.
    pub split_after: Option<Duration>,
    /// Where it can be listened to; shown.
    pub listen_url: Option<String>,
}

impl Default for Recorder {
    fn default() -> Self {
        Recorder {
            id: String::new(),
            name: None,
            start: None,
            stop: None,
            split: None,
            auto_on: None,
            auto_off: None,
            confirm: ConfirmBy::Status,
            confirm_within: limits::COMMAND_TIME,
            stale_after: limits::RECORDER_STALE,
            split_after: None,
            listen_url: None,
        }
    }
}

impl Recorder {
    /// The effect of an action with these parameters, where one is configured.
    pub fn effect(&self, action: &str, on: bool) -> Option<&Effect> {
        match (action, on) {
            ("start", _) => self.start.as_ref(),
            ("stop", _) => self.stop.as_ref(),
            ("split", _) => self.split.as_ref(),
            ("auto", true) => self.auto_on.as_ref(),
            ("auto", false) => self.auto_off.as_ref(),
            _ => None,
        }
    }

    /// Every effect with the name of its key.
    pub fn effects(&self) -> impl Iterator<Item = (&'static str, &Effect)> {
        [
            ("start", &self.start),
            ("stop", &self.stop),
            ("split", &self.split),
            ("auto_on", &self.auto_on),
            ("auto_off", &self.auto_off),
        ]
        .into_iter()
        .filter_map(|(name, effect)| Some((name, effect.as_ref()?)))
    }
}
