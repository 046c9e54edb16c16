//! The way from a simulated device to the daemon: where faults strike, and what the daemon can know of the device.
//!
//! The device behind it goes on whatever happens here, as a real one does; the daemon only knows what arrived.

use super::fault::Faults;
use super::out::Out;
use super::{Moment, STEPS_PER_S};
use crate::clock::Wall;
use crate::model::{Level, Quality, QualityReason, SourceState, SourceStatus};
use crate::random::Random;

/// Of samples under the fault `drop`, this share is lost.
const LOST: f64 = 0.3;

/// One source's link and its books.
pub(super) struct Link {
    source: &'static str,
    timeout_s: f64,
    random: Random,
    faults: Faults,
    seen: Option<(f64, Wall)>,
    /// When something unreadable came last.
    garbled: Option<f64>,
    gone: bool,
    opening: bool,
    errors: u64,
    reconnects: u64,
    /// Samples lost.
    pub dropped: u64,
    last_error: Option<String>,
    reported: Option<(SourceState, u64)>,
}

impl Link {
    /// A link to `source`, stale after `timeout_s` without a sample.
    pub fn new(seed: u64, source: &'static str, timeout_s: f64) -> Self {
        Link {
            source,
            timeout_s,
            random: Random::of(seed, &format!("link {source}")),
            faults: Faults::default(),
            seen: None,
            garbled: None,
            gone: false,
            opening: true,
            errors: 0,
            reconnects: 0,
            dropped: 0,
            last_error: None,
            reported: None,
        }
    }

    /// Begins a step with the faults of this moment.
    pub fn begin(&mut self, faults: Faults) {
        self.faults = faults;
        if faults.disconnect && !self.gone {
            self.gone = true;
            self.last_error = Some("the device is gone".into());
        } else if !faults.disconnect && self.gone {
            self.gone = false;
            self.opening = true;
            self.garbled = None;
            self.reconnects += 1;
        }
    }

    /// Whether anything readable can come through.
    pub fn is_open(&self) -> bool {
        !(self.faults.disconnect || self.faults.stall || self.faults.garbage)
    }

    /// The device sent a sample: whether it arrived.
    pub fn receive(&mut self, at: Moment) -> bool {
        if self.faults.disconnect || self.faults.stall {
            return false;
        }
        if self.faults.garbage {
            self.errors += 1;
            self.garbled = Some(at.t());
            self.last_error = Some("a line could not be read: \"\u{fffd}\u{fffd}7#\\x00~\"".into());
            return false;
        }
        if self.faults.drop && self.random.chance(LOST) {
            self.dropped += 1;
            return false;
        }
        self.heard(at);
        true
    }

    /// The device showed itself in another way than by a sample.
    pub fn heard(&mut self, at: Moment) {
        if self.is_open() {
            self.seen = Some((at.t(), at.wall));
            self.opening = false;
            self.garbled = None;
        }
    }

    /// How the source stands.
    pub fn state(&self, at: Moment) -> SourceState {
        let late = |then: f64| at.t() - then > self.timeout_s;
        if self.gone {
            SourceState::Absent
        } else if self.garbled.is_some_and(|then| !late(then)) {
            SourceState::Error
        } else if self.opening {
            SourceState::Opening
        } else {
            match self.seen {
                None => SourceState::NoData,
                Some((then, _)) if late(then) => SourceState::Stale,
                Some(_) => SourceState::Ok,
            }
        }
    }

    /// How far the last value may be trusted.
    pub fn quality(&self, at: Moment) -> (Quality, Option<QualityReason>) {
        match self.state(at) {
            SourceState::Ok => (Quality::Good, None),
            SourceState::Stale => (Quality::Uncertain, Some(QualityReason::Stale)),
            SourceState::Error => (Quality::Uncertain, Some(QualityReason::CommError)),
            SourceState::Absent | SourceState::Disabled => (Quality::Bad, Some(QualityReason::NotConnected)),
            SourceState::Opening | SourceState::NoData => (Quality::Uncertain, Some(QualityReason::Initial)),
        }
    }

    /// When something readable came last.
    pub fn last_seen(&self) -> Option<Wall> {
        self.seen.map(|(_, wall)| wall)
    }

    /// How often it came back.
    pub fn reconnects(&self) -> u64 {
        self.reconnects
    }

    /// Ends a step: says how the source stands, counters at most once a second.
    pub fn report(&mut self, at: Moment, out: &mut Out) {
        let state = self.state(at);
        if let Some((last, step)) = self.reported {
            if last == state && at.step < step + STEPS_PER_S {
                return;
            }
            if last != state {
                let (level, text) = match state {
                    SourceState::Ok => (Level::Info, "answers again"),
                    SourceState::Stale => (Level::Warning, "is silent"),
                    SourceState::Error => (Level::Warning, "can't be understood"),
                    SourceState::Absent => (Level::Warning, "is gone"),
                    _ => (Level::Debug, "is being opened"),
                };
                out.log(at, level, self.source, format!("{} {text}", self.source));
            }
        }
        self.reported = Some((state, at.step));
        let (quality, quality_reason) = match (self.state(at), self.quality(at)) {
            (SourceState::Error, (_, reason)) => (Quality::Bad, reason),
            (_, known) => known,
        };
        let mut detail = serde_json::Map::new();
        if self.dropped > 0 {
            detail.insert("dropped".into(), self.dropped.into());
        }
        out.state(
            at,
            "source_status",
            self.source,
            &SourceStatus {
                source_id: self.source.into(),
                kind: "simulated".into(),
                status: state,
                quality,
                last_seen: self.last_seen(),
                quality_reason,
                errors: self.errors,
                reconnects: self.reconnects,
                last_error: self.last_error.clone(),
                detail,
            },
        );
    }
}
