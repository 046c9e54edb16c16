//! Value streams: numbers that move, wherever they come from.
//!
//! Owns: limits and their alerts, the history of every stream, the mark of a stream that nobody feeds any more, and the
//! feeds. Promises: a value that is older than its time is said to be, by the daemon itself; the last good one is kept and
//! labelled, and never replaced by zero; history has every peak.
//! **Threads.** `streams`, which follows the log; one for each feed (`feed`). **Bounds.** So many streams have a history.

pub mod extract;
pub mod feed;
pub mod fuzz;
pub mod history;
mod line;
pub mod machine;

use self::history::{Bucket, HOUR_MS, History};
use super::follow::{Follower, Seen};
use super::{Context, monotonic, publish};
use crate::alerts::Alerts;
use crate::bus::Bus;
use crate::clock::Wall;
use crate::config::StreamRule;
use crate::limits;
use crate::model::{Quality, QualityReason, StreamState, StreamStatus, StreamValue};
use crate::store::Store;
use crate::threads::{self, Stop};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often ages are looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How often history is put on the disk; a crash loses at most this much of it, and each time costs the card some 50 KB.
const KEEP_EVERY: Duration = Duration::from_secs(15 * 60);

/// See the module above.
pub struct Streams {
    bus: Arc<Bus>,
    store: Arc<Store>,
    alerts: Arc<Alerts>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    rules: BTreeMap<String, StreamRule>,
    /// Streams whose feed records every tick itself.
    fed: BTreeSet<String>,
    known: BTreeMap<String, Known>,
}

#[derive(Default)]
struct Known {
    history: History,
    /// When its newest good value came, on the monotonic clock; none: restored, or marked already.
    heard: Option<Duration>,
    /// What it said itself: values are stale after this.
    stale_after: Option<Duration>,
    /// When it was marked stale, for its expiry.
    marked: Option<Duration>,
    /// Its status says stale.
    stale: bool,
    /// Ticks that are kept on the disk.
    kept: u64,
}

/// History of a stream over a window.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Window {
    pub items: Vec<Bucket>,
    pub oldest: Option<Wall>,
    pub newest: Option<Wall>,
    pub ticks: u64,
}

impl Streams {
    /// Reads the history and starts the thread.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(context: &Context, rules: &[StreamRule]) -> io::Result<(Arc<Streams>, JoinHandle<()>)> {
        let streams = Arc::new(Streams {
            bus: Arc::clone(&context.bus),
            store: Arc::clone(&context.store),
            alerts: Arc::clone(&context.alerts),
            inner: Mutex::default(),
        });
        streams.set_rules(rules);
        streams.restore();
        let (inner, stop) = (Arc::clone(&streams), context.stop.clone());
        let thread = threads::spawn("streams", limits::STACK, move || inner.run(&stop))?;
        Ok((streams, thread))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Takes new rules, at the start and when the configuration is loaded again.
    pub fn set_rules(&self, rules: &[StreamRule]) {
        self.lock().rules = rules.iter().map(|rule| (rule.id.clone(), rule.clone())).collect();
    }

    /// Gives a value the limits and the severity that are configured for its stream; what it says itself stays.
    pub fn judge(&self, value: &mut StreamValue) {
        let inner = self.lock();
        let Some(rule) = inner.rules.get(&value.stream_id) else { return };
        if value.unit.is_none() {
            value.unit.clone_from(&rule.unit);
        }
        if rule.limits.is_empty() || value.limits.is_some() {
            return;
        }
        value.limits = serde_json::to_value(rule.limits).ok();
        if let Some(number) = value.value.filter(|_| value.quality == Quality::Good) {
            value.severity.get_or_insert(rule.limits.judge(number).0);
        }
    }

    /// A feed records the ticks of this stream itself.
    fn fed(&self, id: &str) {
        self.lock().fed.insert(id.to_string());
    }

    fn unfed(&self, id: &str) {
        self.lock().fed.remove(id);
    }

    /// The newest value as it was restored or published.
    fn last(&self, id: &str) -> Option<StreamValue> {
        let event = self.bus.state_of(&format!("stream_value/{id}"))?;
        let mut value: StreamValue = serde_json::from_str(event.payload()).ok()?;
        value.quality = Quality::Uncertain;
        value.quality_reason = Some(QualityReason::Initial);
        Some(value)
    }

    /// Takes one value into the history.
    fn record(&self, id: &str, at: Wall, value: f64) {
        if let Some(known) = self.lock().known(id) {
            known.history.add(at.0, value);
        }
    }

    /// History from `from` to `to`, in at most about `points` spans; none when nothing is known of the stream.
    pub fn window(&self, id: &str, from: Wall, to: Wall, points: usize) -> Option<Window> {
        let inner = self.lock();
        let history = &inner.known.get(id)?.history;
        let reach = history.reach();
        Some(Window {
            items: history.window(from.0, to.0, points),
            oldest: reach.map(|(t, _)| Wall(t)),
            newest: reach.map(|(_, t)| Wall(t)),
            ticks: history.count,
        })
    }

    fn run(&self, stop: &Stop) {
        let mut follower = Follower::new(Arc::clone(&self.bus), Arc::clone(&self.store), self.bus.head().seq);
        let mut kept = Instant::now();
        loop {
            // A store that can't be read is said by the store itself; the next look goes on where this one was.
            while follower.visit(|event| self.see(event)).unwrap_or(false) {}
            self.look();
            if kept.elapsed() >= KEEP_EVERY {
                kept = Instant::now();
                self.keep();
            }
            if follower.wait(stop, LOOK) {
                break;
            }
            // Not for every tick: what comes in the meantime is taken together.
            if stop.wait(LOOK / 5) {
                break;
            }
        }
        self.keep();
    }

    fn see(&self, event: Seen<'_>) {
        if event.kind != "stream_value" {
            return;
        }
        #[derive(Deserialize)]
        struct Payload {
            #[serde(flatten)]
            value: StreamValue,
            stale_after_s: Option<f64>,
        }
        #[derive(Deserialize)]
        struct Envelope {
            payload: Payload,
        }
        let Ok(Envelope { payload: Payload { value, stale_after_s } }) = serde_json::from_str(event.data)
        else {
            return;
        };
        let (new, alert) = {
            let mut inner = self.lock();
            let fed = inner.fed.contains(&value.stream_id);
            let rule = inner.rules.get(&value.stream_id).cloned();
            let Some(known) = inner.known(&value.stream_id) else { return };
            let Some(number) = value.value.filter(|_| value.quality == Quality::Good) else {
                // Marked already, by whoever feeds it.
                known.heard = None;
                return;
            };
            if !fed {
                known.history.add(value.timestamp.0, number);
            }
            known.stale_after = stale_after_s.and_then(|s| Duration::try_from_secs_f64(s).ok());
            known.heard = Some(monotonic());
            known.marked = None;
            let was_marked = std::mem::take(&mut known.stale);
            let limit =
                rule.filter(|rule| !rule.limits.is_empty()).map(|rule| (rule.limits.judge(number), number));
            (!fed && was_marked, limit)
        };
        if new || self.bus.state_of(&format!("stream_status/{}", value.stream_id)).is_none() {
            self.say(&value.stream_id, StreamState::Live, None, value.timestamp);
        }
        if let Some(((severity, limit), number)) = alert {
            let id = format!("stream.{}.limit", value.stream_id);
            let unit = value.unit.as_deref().unwrap_or_default();
            match limit {
                Some(limit) => {
                    let word = if number > limit { "above" } else { "below" };
                    let message = format!("{} is {word} {limit} {unit}", value.stream_id);
                    self.alerts.raise(
                        &id,
                        severity,
                        message.trim_end(),
                        "The limit is that of its [[stream]] in the configuration.",
                    );
                }
                None => self.alerts.clear(&id, &format!("{} is within its limits.", value.stream_id)),
            }
        }
    }

    /// Marks what has become too old.
    fn look(&self) {
        let now = monotonic();
        let (mut stale, mut expired) = (Vec::new(), Vec::new());
        {
            let mut inner = self.lock();
            let Inner { rules, known, fed } = &mut *inner;
            for (id, known) in known.iter_mut() {
                let rule = rules.get(id);
                let after = rule.and_then(|r| r.stale_after).or(known.stale_after);
                if let (Some(heard), Some(after)) = (known.heard, after)
                    && !fed.contains(id)
                    && now.saturating_sub(heard) >= after
                {
                    known.heard = None;
                    known.marked = Some(now);
                    known.stale = true;
                    stale.push(id.clone());
                }
                let expire = rule.and_then(|r| r.expire_after);
                if let (Some(marked), Some(expire)) = (known.marked, expire)
                    && now.saturating_sub(marked) >= expire.saturating_sub(after.unwrap_or_default())
                {
                    known.marked = None;
                    expired.push(id.clone());
                }
            }
        }
        for id in stale {
            self.mark(&id, |value| {
                value.quality = Quality::Uncertain;
                value.quality_reason = Some(QualityReason::Stale);
            });
        }
        for id in expired {
            self.mark(&id, |value| {
                // The last good one stays where people can see that it is the one before.
                value.previous = value.value.take().or(value.previous);
                (value.change, value.severity) = (None, None);
                value.quality = Quality::Bad;
                value.quality_reason = Some(QualityReason::Stale);
            });
        }
    }

    fn mark(&self, id: &str, change: impl FnOnce(&mut StreamValue)) {
        let Some(event) = self.bus.state_of(&format!("stream_value/{id}")) else { return };
        let Ok(mut value) = serde_json::from_str::<StreamValue>(event.payload()) else { return };
        change(&mut value);
        publish(&self.bus, "stream_value", &value);
        self.say(id, StreamState::Stale, Some("no new value within its time"), value.timestamp);
    }

    fn say(&self, id: &str, status: StreamState, reason: Option<&str>, last_seen: Wall) {
        let old = self.bus.state_of(&format!("stream_status/{id}"));
        let old = old.and_then(|e| serde_json::from_str::<StreamStatus>(e.payload()).ok());
        let named = self.lock().rules.get(id).and_then(|rule| rule.name.clone());
        publish(
            &self.bus,
            "stream_status",
            &StreamStatus {
                stream_id: id.into(),
                name: old.as_ref().and_then(|o| o.name.clone()).or(named),
                status,
                reason: reason.map(str::to_string),
                last_seen: Some(last_seen),
                reconnects: old.as_ref().map_or(0, |o| o.reconnects),
                dropped: old.as_ref().map_or(0, |o| o.dropped),
                ticks: None,
                conflated: None,
            },
        );
    }

    /// Puts the hours that have changed on the disk, and takes those off that are no longer in memory.
    fn keep(&self) {
        let mut rows = Vec::new();
        {
            let mut inner = self.lock();
            for (id, known) in inner.known.iter_mut().filter(|(_, k)| k.kept != k.history.count) {
                let hours = known.history.hours(limits::STREAM_HOURS as usize + 1);
                for hour in known.history.take_changed().intersection(&hours) {
                    let bytes = known.history.bytes_between(hour * HOUR_MS, (hour + 1) * HOUR_MS);
                    rows.push((format!("stream/{id}/{hour:010}"), Some(bytes)));
                }
                known.kept = known.history.count;
                let old = self.store.shelf(&format!("stream/{id}/")).unwrap_or_default();
                rows.extend(
                    old.into_iter()
                        .filter(|(key, _)| hour_of(key).is_some_and(|h| !hours.contains(&h)))
                        .map(|(key, _)| (key, None)),
                );
            }
        }
        if let Err(e) = self.store.shelve(&rows) {
            log::warn!("the history of streams was not kept: {e}");
            let mut inner = self.lock();
            for (key, _) in rows {
                let id = key.strip_prefix("stream/").and_then(|rest| rest.rsplit_once('/')).map(|(id, _)| id);
                if let (Some(known), Some(hour)) = (id.and_then(|id| inner.known.get_mut(id)), hour_of(&key))
                {
                    known.history.change(hour);
                    known.kept = 0;
                }
            }
        }
    }

    fn restore(&self) {
        let rows = match self.store.shelf("stream/") {
            Ok(rows) => rows,
            Err(e) => return log::warn!("the history of streams can't be read: {e}"),
        };
        let mut bytes: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for (key, row) in rows {
            if let Some((id, _)) = key.strip_prefix("stream/").and_then(|rest| rest.rsplit_once('/')) {
                bytes.entry(id.to_string()).or_default().extend(row);
            }
        }
        let mut inner = self.lock();
        for (id, bytes) in bytes {
            if let Some(known) = inner.known(&id) {
                known.history = History::from_bytes(&bytes);
            }
        }
    }
}

impl Inner {
    /// What is known of a stream; none when there are too many.
    fn known(&mut self, id: &str) -> Option<&mut Known> {
        if !self.known.contains_key(id) && self.known.len() >= limits::STREAMS_KNOWN {
            return None;
        }
        Some(self.known.entry(id.to_string()).or_default())
    }
}

fn hour_of(key: &str) -> Option<u64> {
    key.rsplit_once('/')?.1.parse().ok()
}
