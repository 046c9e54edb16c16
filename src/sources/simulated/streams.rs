//! Two value streams: the mains frequency and the level of a tank.

use super::link::Link;
use super::out::Out;
use super::{Device, Moment, STEP_S, STEPS_PER_S, round};
use crate::clock::Wall;
use crate::model::{Quality, Severity, SourceState, StreamState, StreamStatus, StreamValue};
use crate::random::Random;
use serde_json::json;

/// What makes one stream differ from another.
struct Shape {
    id: &'static str,
    name: &'static str,
    unit: &'static str,
    digits: i32,
    /// Steps between two values.
    every: u64,
    /// Low and high.
    warning: (f64, f64),
    /// Low and high.
    alarm: (f64, f64),
}

/// One stream.
pub(super) struct Stream {
    shape: Shape,
    random: Random,
    /// The slow part of the value.
    drift: f64,
    /// A tank fills or drains.
    filling: bool,
    last: Option<(f64, Wall)>,
    previous: Option<f64>,
}

/// Both.
pub(super) fn streams(seed: u64) -> Vec<Stream> {
    let shapes = [
        Shape {
            id: "grid_hz",
            name: "Mains frequency",
            unit: "Hz",
            digits: 3,
            every: 3,
            warning: (49.9, 50.1),
            alarm: (49.8, 50.2),
        },
        Shape {
            id: "tank_level",
            name: "Water tank",
            unit: "%",
            digits: 1,
            every: 4,
            warning: (25.0, 90.0),
            alarm: (15.0, 95.0),
        },
    ];
    shapes
        .into_iter()
        .map(|shape| Stream {
            random: Random::of(seed, shape.id),
            drift: if shape.id == "tank_level" { 45.0 } else { 0.0 },
            filling: false,
            last: None,
            previous: None,
            shape,
        })
        .collect()
}

impl Stream {
    /// The physics of one step.
    fn value(&mut self) -> f64 {
        if self.shape.id == "tank_level" {
            let flow = if self.filling { 1.1 } else { -0.45 };
            self.drift += (flow + 0.1 * self.random.gauss()) * STEP_S;
            if self.drift < 14.0 {
                self.filling = true;
            } else if self.drift > 86.0 {
                self.filling = false;
            }
            self.drift = self.drift.clamp(0.0, 100.0);
            self.drift + 0.05 * self.random.gauss()
        } else {
            // Drawn back to 0 within about half a minute, pushed about at every step.
            self.drift += -self.drift * STEP_S / 30.0 + 0.0055 * self.random.gauss();
            50.0 + self.drift + 0.002 * self.random.gauss()
        }
    }

    fn severity(&self, value: f64) -> Severity {
        let outside = |(low, high): (f64, f64)| value < low || value > high;
        match (outside(self.shape.alarm), outside(self.shape.warning)) {
            (true, _) => Severity::Major,
            (_, true) => Severity::Minor,
            _ => Severity::NoAlarm,
        }
    }
}

impl Device for Stream {
    fn source(&self) -> &'static str {
        self.shape.id
    }

    fn timeout_s(&self) -> f64 {
        5.0
    }

    fn step(&mut self, at: Moment, link: &mut Link, out: &mut Out) {
        let value = round(self.value(), self.shape.digits);
        let fresh = at.every(self.shape.every) && link.receive(at);
        if fresh {
            self.previous = self.last.map(|(value, _)| value);
            self.last = Some((value, at.wall));
        }
        if !(fresh || at.every(STEPS_PER_S)) {
            return;
        }
        let (quality, quality_reason) = link.quality(at);
        let known = (quality != Quality::Bad).then_some(self.last).flatten();
        let shape = &self.shape;
        // Told at the time of the value, also when it is told again as stale: an old number is never made young.
        let timestamp = self.last.map_or(at.wall, |(_, wall)| wall);
        if self.last.is_some() || quality == Quality::Bad {
            let say = if fresh { Out::fresh } else { Out::state };
            say(
                out,
                at,
                "stream_value",
                shape.id,
                &StreamValue {
                    stream_id: shape.id.into(),
                    value: known.map(|(value, _)| value),
                    unit: Some(shape.unit.into()),
                    timestamp,
                    quality,
                    quality_reason,
                    previous: self.previous,
                    change: known.and_then(|(value, _)| Some(round(value - self.previous?, shape.digits))),
                    limits: Some(json!({
                        "warning": { "low": shape.warning.0, "high": shape.warning.1 },
                        "alarm": { "low": shape.alarm.0, "high": shape.alarm.1 },
                    })),
                    severity: Some(match known {
                        Some((value, _)) if quality == Quality::Good => self.severity(value),
                        _ => Severity::Invalid,
                    }),
                },
            );
        }
        let (status, reason) = match link.state(at) {
            SourceState::Ok => (StreamState::Live, None),
            SourceState::Stale => (StreamState::Stale, Some("nothing was heard within 5 s")),
            SourceState::Error => (StreamState::Stale, Some("what it sends can't be read")),
            SourceState::Absent | SourceState::Disabled => (StreamState::Offline, Some("the device is gone")),
            SourceState::Opening | SourceState::NoData => (StreamState::Connecting, None),
        };
        if at.every(STEPS_PER_S) || status != StreamState::Live {
            out.state(
                at,
                "stream_status",
                shape.id,
                &StreamStatus {
                    stream_id: shape.id.into(),
                    name: Some(shape.name.into()),
                    status,
                    reason: reason.map(str::to_string),
                    last_seen: link.last_seen(),
                    reconnects: link.reconnects(),
                    dropped: link.dropped,
                    ticks: None,
                    conflated: None,
                },
            );
        }
    }
}
