//! One stream of a feed: what is read of a message for it, its newest tick, and how it stands.
//!
//! Owns: the counts, the pace of publishing, the age of the value. Promises: a value is no longer good once the stream is not
//! live, even one that came in the last moment; a stream is judged by its own time, so a neighbour's ticks keep nobody fresh.
//! Does not: connect, or wait.

use super::Streams;
use super::extract::{Extract, Found};
use crate::bus::Bus;
use crate::clock::Wall;
use crate::config::StreamRule;
use crate::limits;
use crate::model::{Quality, QualityReason, StreamState, StreamStatus, StreamValue};
use crate::sources::{monotonic, publish};
use serde_json::Value;
use std::time::Duration;

/// See [`Line::stands`].
const SLACK: Duration = Duration::from_millis(100);

/// Where a tick came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Socket,
    Rest,
}

/// A state, and why it is that.
pub(super) type Stands = (StreamState, Option<String>);

/// See the module above.
pub(super) struct Line {
    rule: StreamRule,
    extract: Extract,
    /// The number of its REST address.
    rest: Option<usize>,
    rest_extract: Extract,
    rest_every: Duration,
    every_tick: bool,
    interval: Duration,
    stale_after: Duration,
    last: Option<StreamValue>,
    /// The newest tick that is not published yet.
    waiting: Option<(f64, Wall)>,
    published: Option<Duration>,
    began: Duration,
    heard: Option<(Duration, Place)>,
    ticks: u64,
    conflated: u64,
    dropped: u64,
    status: Option<Stands>,
    /// When the counts were said, and what they were.
    said: Option<(Duration, [u64; 3])>,
}

impl Line {
    /// The stream of this rule, fed from `now` on; `last` is the value as it was restored. None when it has no feed.
    pub fn new(
        rule: StreamRule,
        rest: Option<usize>,
        last: Option<StreamValue>,
        now: Duration,
    ) -> Option<Line> {
        let feed = rule.feed.as_ref()?;
        Some(Line {
            extract: Extract { value: feed.value.clone(), time: feed.time.clone(), only: feed.only.clone() },
            rest,
            rest_extract: Extract {
                value: feed.rest_value.clone().unwrap_or(feed.value.clone()),
                time: feed.time.clone(),
                only: None,
            },
            rest_every: feed.rest_interval,
            every_tick: feed.every_tick,
            interval: feed.interval,
            stale_after: rule.stale_after.unwrap_or(limits::FEED_STALE),
            last,
            waiting: None,
            published: None,
            began: now,
            heard: None,
            ticks: 0,
            conflated: 0,
            dropped: 0,
            status: None,
            said: None,
            rule,
        })
    }

    /// The stream's id.
    pub fn id(&self) -> &str {
        &self.rule.id
    }

    /// Ticks since the start.
    pub fn ticks(&self) -> u64 {
        self.ticks
    }

    /// What a message of the socket has for it.
    pub fn read(&self, message: &Value) -> Found {
        self.extract.read(message)
    }

    /// A message should have had a value and has none.
    pub fn drop_one(&mut self) {
        self.dropped += 1;
    }

    /// Takes the answer of the REST address `number`; false when that is another stream's, or it has no value.
    pub fn rest_answer(&mut self, number: usize, message: &Value, streams: &Streams) -> bool {
        if self.rest != Some(number) {
            return false;
        }
        let Found::Value(value, at) = self.rest_extract.read(message) else { return false };
        self.tick(value, at.unwrap_or_else(Wall::now), Place::Rest, streams);
        true
    }

    /// A value of `at` came.
    pub fn tick(&mut self, value: f64, at: Wall, place: Place, streams: &Streams) {
        self.ticks += 1;
        self.conflated += u64::from(self.waiting.is_some());
        self.waiting = Some((value, at));
        self.heard = Some((monotonic(), place));
        streams.record(&self.rule.id, at, value);
    }

    /// Publishes at once where every tick is to be.
    pub fn publish_each(&mut self, bus: &Bus, streams: &Streams) {
        if self.every_tick {
            self.publish(bus, streams);
        }
    }

    /// Publishes the newest tick when its time has come.
    pub fn publish_due(&mut self, now: Duration, bus: &Bus, streams: &Streams) {
        if self.waiting.is_some() && self.published.is_none_or(|at| now.saturating_sub(at) >= self.interval) {
            self.published = Some(now);
            self.publish(bus, streams);
        }
    }

    fn publish(&mut self, bus: &Bus, streams: &Streams) {
        let Some((value, at)) = self.waiting.take() else { return };
        // A value from before a silence or a restart is no neighbour of this one.
        let previous = self.last.as_ref().filter(|l| l.quality == Quality::Good).and_then(|l| l.value);
        let mut next = StreamValue {
            stream_id: self.rule.id.clone(),
            value: Some(value),
            unit: self.rule.unit.clone(),
            timestamp: at,
            quality: Quality::Good,
            quality_reason: None,
            previous,
            change: previous.map(|p| value - p).filter(|c| c.is_finite()),
            limits: None,
            severity: None,
        };
        streams.judge(&mut next);
        publish(bus, "stream_value", &next);
        self.last = Some(next);
    }

    /// The last value is no longer current; one that waits is published before it is marked.
    pub fn mark(&mut self, why: QualityReason, bus: &Bus, streams: &Streams) {
        self.publish(bus, streams);
        if let Some(last) = &mut self.last {
            last.quality = if last.value.is_some() { Quality::Uncertain } else { Quality::Bad };
            last.quality_reason = Some(why);
            publish(bus, "stream_value", last);
        }
    }

    /// How it stands in a feed that stands like this; `reason`: why that is not live.
    pub fn stands(&self, feed: StreamState, open: bool, reason: Option<&str>, now: Duration) -> Stands {
        use StreamState::{Connecting, Fallback, Live, Offline, Stale};
        let as_feed = |state| (state, reason.map(str::to_string));
        let age = now.saturating_sub(self.heard.map_or(self.began, |(at, _)| at));
        let silent = || {
            let text = match feed {
                Live => {
                    format!("nothing heard of it for {:?}; its connection gives others", self.stale_after)
                }
                _ => {
                    reason.map_or_else(|| format!("nothing heard for {:?}", self.stale_after), str::to_string)
                }
            };
            (Stale, Some(text))
        };
        match (feed, self.heard) {
            (Connecting | Offline, _) => as_feed(feed),
            (Fallback, Some((_, Place::Rest))) if age < self.stale_after.max(self.rest_every * 3) => {
                as_feed(Fallback)
            }
            (Fallback, _) if !open => as_feed(Offline),
            // The feed looks at its time some milliseconds after a tick is counted here: both are old at once.
            (Live, None) if age < self.stale_after + SLACK => (Connecting, None),
            (Live, Some(_)) if age < self.stale_after + SLACK => (Live, None),
            (_, None) if age < self.stale_after => (Connecting, None),
            (_, Some(_)) if age < self.stale_after => (Live, None),
            _ => silent(),
        }
    }

    /// Takes on how it stands: marks the value when that is no longer current or no value any more, and publishes the status
    /// when it is another, or its counts are after a while.
    pub fn say(&mut self, stands: Stands, reconnects: u64, now: Duration, bus: &Bus, streams: &Streams) {
        use StreamState::{Fallback, Live};
        let is_current = |state: StreamState| matches!(state, Live | Fallback);
        let was_current = self.status.as_ref().is_some_and(|(state, _)| is_current(*state));
        // One that came in the last moment of a connection is no better.
        if !is_current(stands.0) && (was_current || self.waiting.is_some()) {
            let stale = stands.0 == StreamState::Stale;
            self.mark(if stale { QualityReason::Stale } else { QualityReason::NotConnected }, bus, streams);
        }
        self.expire(now, bus);
        let counts = [self.ticks, self.conflated, self.dropped];
        let due = match self.said {
            None => true,
            Some((at, said)) => now.saturating_sub(at) >= limits::FEED_REST && said != counts,
        };
        if self.status.as_ref() == Some(&stands) && !due {
            return;
        }
        publish(
            bus,
            "stream_status",
            &StreamStatus {
                stream_id: self.rule.id.clone(),
                name: self.rule.name.clone(),
                status: stands.0,
                reason: stands.1.clone(),
                last_seen: self.last.as_ref().map(|l| l.timestamp),
                reconnects,
                dropped: self.dropped,
                ticks: Some(self.ticks),
                conflated: Some(self.conflated),
            },
        );
        self.status = Some(stands);
        self.said = Some((now, counts));
    }

    /// A value that is older than its `expire_after` is none; the last good one stays where people see that it was before.
    fn expire(&mut self, now: Duration, bus: &Bus) {
        let since = self.heard.map_or(self.began, |(at, _)| at);
        if self.rule.expire_after.is_some_and(|expire| now.saturating_sub(since) >= expire)
            && let Some(last) = &mut self.last
            && let Some(value) = last.value.take()
        {
            last.previous = Some(value);
            (last.change, last.severity) = (None, None);
            (last.quality, last.quality_reason) = (Quality::Bad, Some(QualityReason::Stale));
            publish(bus, "stream_value", last);
        }
    }
}
