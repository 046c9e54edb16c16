//! How sources speak on the bus: a refused event is counted and said once, and a source's own status is published
//! when it changes and no more often than people can read it.

use crate::bus::Bus;
use crate::clock::Wall;
use crate::model::{Draft, Quality, QualityReason, SourceState, SourceStatus, Topic};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use serde_json::{Map, Value};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The kernel's monotonic clock, which also stamps edges.
pub(super) fn monotonic() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}

/// Publishes one payload of one of our types.
pub(super) fn publish<T: Serialize>(bus: &Bus, kind: &str, payload: &T) {
    publish_to(bus, kind, None, payload);
}

/// The same on a topic.
pub(super) fn publish_to<T: Serialize>(bus: &Bus, kind: &str, topic: Option<Topic>, payload: &T) {
    /// Whether the bus refused the last event of any source: said once.
    static REFUSED: AtomicBool = AtomicBool::new(false);
    match Draft::on(kind, topic, payload) {
        Ok(draft) => match bus.publish(draft) {
            Ok(_) => {
                if REFUSED.swap(false, Ordering::Relaxed) {
                    log::info!("events of sources are taken again");
                }
            }
            Err(e) => {
                bus.metrics.source_errors_total.inc();
                if !REFUSED.swap(true, Ordering::Relaxed) {
                    log::error!("events of sources are lost: {e}");
                }
            }
        },
        // Our own payload, so a fault of a configured name or a size; it comes back with every reading.
        Err(e) => {
            bus.metrics.source_errors_total.inc();
            log::debug!("{kind} not published: {e}");
        }
    }
}

/// One source's `source_status`.
pub(super) struct Report {
    status: SourceStatus,
    every: Duration,
    published: Option<Duration>,
    dirty: bool,
}

impl Report {
    /// The report of a source of this kind. Changes of its detail alone are published at most once in `every`.
    pub fn new(source_id: &str, kind: &str, every: Duration) -> Self {
        let status = SourceStatus {
            source_id: source_id.into(),
            kind: kind.into(),
            status: SourceState::Opening,
            quality: Quality::Uncertain,
            last_seen: None,
            quality_reason: Some(QualityReason::Initial),
            errors: 0,
            reconnects: 0,
            last_error: None,
            detail: Map::new(),
        };
        Report { status, every, published: None, dirty: false }
    }

    /// Sets the state and the quality that goes with it; published at once when it is another.
    pub fn state(&mut self, state: SourceState) {
        let (quality, reason) = match state {
            SourceState::Ok => (Quality::Good, None),
            SourceState::Opening | SourceState::NoData => (Quality::Uncertain, Some(QualityReason::Initial)),
            SourceState::Stale => (Quality::Uncertain, Some(QualityReason::Stale)),
            SourceState::Absent => (Quality::Bad, Some(QualityReason::NotConnected)),
            SourceState::Error => (Quality::Bad, Some(QualityReason::CommError)),
            SourceState::Disabled => (Quality::Bad, Some(QualityReason::ConfigError)),
        };
        if self.status.status != state {
            self.published = None;
        }
        self.dirty |= self.published.is_none();
        self.status.status = state;
        self.status.quality = quality;
        self.status.quality_reason = reason;
    }

    /// It was heard just now.
    pub fn seen(&mut self, at: Wall) {
        self.status.last_seen = Some(at);
        self.dirty = true;
    }

    /// Sets the counters and the last error.
    pub fn faults(&mut self, errors: u64, reconnects: u64, last_error: Option<&str>) {
        let last_error = last_error.map(str::to_string);
        self.dirty |= (self.status.errors, self.status.reconnects) != (errors, reconnects)
            || self.status.last_error != last_error;
        self.status.errors = errors;
        self.status.reconnects = reconnects;
        self.status.last_error = last_error;
    }

    /// Sets one member of `detail`.
    pub fn detail(&mut self, name: &str, value: impl Into<Value>) {
        self.changes(name, value);
    }

    /// Sets one member of `detail`; says whether it is another value.
    pub fn changes(&mut self, name: &str, value: impl Into<Value>) -> bool {
        let value = value.into();
        let changed = self.status.detail.get(name) != Some(&value);
        if changed {
            self.status.detail.insert(name.into(), value);
            self.dirty = true;
        }
        changed
    }

    /// Whether it would be published now if there were something new.
    pub fn is_due(&self, now: Duration) -> bool {
        self.published.is_none_or(|last| now.saturating_sub(last) >= self.every)
    }

    /// Publishes it when there is something new and it is time.
    pub fn flush(&mut self, bus: &Bus) {
        let now = monotonic();
        if self.dirty && self.published.is_none_or(|last| now.saturating_sub(last) >= self.every) {
            self.published = Some(now);
            self.dirty = false;
            publish(bus, "source_status", &self.status);
        }
    }
}
