//! Folds readings into the state that people see: a recorder, an instrument or a stream may be fed by several pins
//! and ports, and each publishes the whole.
//!
//! **Promises.** Payloads of one target are published in the order in which they were merged: the merge and the
//! publish happen under one lock (the bus does no I/O). What a silent source last said is never shown as current:
//! its channels and streams become `uncertain`, its members of a recorder go, and the target's own status says so.
//! What was restored from before a restart is shown as `uncertain`/`initial` until its source speaks; channels that
//! no source has spoken of once all have been heard are dropped.
//! **Bounds.** A target has at most [`limits::CHANNELS`] values; more are refused, one by one.

mod instrument;

use self::instrument::{Instrument, Standing};
use super::instruments::{Instruments, Offer};
use super::publish;
use super::reading::{Reading, Value};
use super::recorder::Recorders;
use super::serial::protocol::Motion;
use crate::bus::Bus;
use crate::clock::Wall;
use crate::config::Sink;
use crate::limits;
use crate::model::{
    Channel, InstrumentStatus, Quality, QualityReason, Severity, StreamState, StreamStatus, StreamValue,
    Topic, TopicFilter,
};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// One source and what its readings become.
#[derive(Clone, Debug)]
pub struct Feed {
    /// The source's id.
    pub source: String,
    /// What its readings become.
    pub sink: Sink,
    /// The name people see.
    pub name: Option<String>,
    /// Silence after which its values are stale; none when it is watched all the time.
    pub timeout: Option<Duration>,
    /// It has more than one column, so that its streams are `{id}.{column}`.
    pub several: bool,
}

/// What became of readings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// How many were used.
    pub used: usize,
    /// Why others were not, one sentence each.
    pub refused: Vec<String>,
}

impl Taken {
    pub(super) fn note(&mut self, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => self.used += 1,
            Err(why) => self.refused.push(why),
        }
    }
}

/// See the module above.
pub struct Fold {
    bus: Arc<Bus>,
    recorders: Arc<Recorders>,
    streams: Option<Arc<super::streams::Streams>>,
    instruments: Arc<Instruments>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    instruments: BTreeMap<String, Instrument>,
    streams: BTreeMap<String, Streams>,
}

#[derive(Default)]
struct Streams {
    several: bool,
    reconnects: u64,
    values: BTreeMap<String, Stream>,
}

struct Stream {
    status: StreamState,
    last: StreamValue,
}

impl Fold {
    /// A fold that publishes on `bus`, with recorders of its own that nobody commands.
    #[cfg(test)]
    pub fn new(bus: Arc<Bus>) -> Self {
        let commands = Arc::new(crate::bus::Commands::new(Arc::clone(&bus)));
        let recorders = Recorders::new(Arc::clone(&bus), commands, Arc::default());
        Fold::with(bus, Arc::new(recorders), None, Arc::default())
    }

    /// A fold that publishes on `bus` and has `recorders` fold what is said of them.
    /// `streams` gives values the limits that are configured; `instruments` knows who has taken which.
    pub fn with(
        bus: Arc<Bus>,
        recorders: Arc<Recorders>,
        streams: Option<Arc<super::streams::Streams>>,
        instruments: Arc<Instruments>,
    ) -> Self {
        Fold { bus, recorders, streams, instruments, inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Makes a source known before it speaks: its target appears as not heard yet, with what was restored.
    pub fn expect(&self, feed: &Feed) {
        let mut inner = self.lock();
        match &feed.sink {
            Sink::Recorder(id) => self.recorders.expect(id, feed),
            Sink::Instrument(id) => {
                let restored = self.restored(&format!("instrument_status/{id}"));
                let instrument = inner.instruments.entry(id.clone()).or_default();
                if instrument.sources.is_empty()
                    && let Some(old) =
                        restored.and_then(|p| serde_json::from_value::<InstrumentStatus>(p).ok())
                {
                    instrument.restore(old);
                }
                instrument.sources.insert(feed.source.clone(), Standing::Unheard);
                name_it(&mut instrument.name, feed, id);
                self.publish_instrument(id, instrument);
            }
            Sink::Stream(id) => {
                let streams = inner.streams.entry(id.clone()).or_default();
                streams.several |= feed.several;
                let prefix = format!("{id}.");
                let all = TopicFilter::parse("stream/*").unwrap_or_default();
                for event in self.bus.snapshot(&all).state.iter().filter(|e| &*e.kind == "stream_value") {
                    let Some(old) =
                        payload(event.data()).and_then(|p| serde_json::from_value::<StreamValue>(p).ok())
                    else {
                        continue;
                    };
                    if old.stream_id != *id && !old.stream_id.starts_with(&prefix) {
                        continue;
                    }
                    let last = StreamValue {
                        quality: if old.value.is_some() { Quality::Uncertain } else { Quality::Bad },
                        quality_reason: Some(QualityReason::Initial),
                        ..old
                    };
                    publish(&self.bus, "stream_value", &last);
                    streams
                        .values
                        .insert(last.stream_id.clone(), Stream { status: StreamState::Connecting, last });
                }
                if streams.values.is_empty() && !streams.several {
                    self.publish_stream_status(feed, id, StreamState::Connecting, None, None, 0);
                }
                for (id, stream) in &streams.values {
                    self.publish_stream_status(feed, id, stream.status, None, Some(stream.last.timestamp), 0);
                }
            }
            Sink::Topic(_) => {}
        }
    }

    /// Takes in what a source has read at `at`. A source of which nothing could be used counts as not heard.
    pub fn update(&self, feed: &Feed, readings: &[Reading], at: Wall) -> Taken {
        let mut taken = Taken::default();
        let mut inner = self.lock();
        match &feed.sink {
            Sink::Recorder(id) => taken = self.recorders.update(id, feed, readings, at),
            Sink::Instrument(id) => {
                let instrument = inner.instruments.entry(id.clone()).or_default();
                readings.iter().for_each(|reading| taken.note(instrument.take(feed, reading, at)));
                if taken.used > 0 {
                    instrument.heard(&feed.source);
                    name_it(&mut instrument.name, feed, id);
                    self.publish_instrument(id, instrument);
                }
            }
            Sink::Stream(id) => {
                let streams = inner.streams.entry(id.clone()).or_default();
                self.update_streams(feed, id, streams, readings, at, &mut taken);
            }
            Sink::Topic(topic) => {
                self.publish_reading(feed, topic, readings, at);
                taken.used = readings.len();
            }
        }
        taken
    }

    /// A source is not heard any more, and why.
    pub fn lost(&self, feed: &Feed, why: QualityReason) {
        let mut inner = self.lock();
        match &feed.sink {
            Sink::Recorder(id) => self.recorders.lost(id, feed, why),
            Sink::Instrument(id) => {
                let Some(instrument) = inner.instruments.get_mut(id) else { return };
                instrument.lost(&feed.source, why, Wall::now());
                self.publish_instrument(id, instrument);
            }
            Sink::Stream(id) => {
                let Some(streams) = inner.streams.get_mut(id) else { return };
                let status = if why == QualityReason::NotConnected {
                    StreamState::Offline
                } else {
                    StreamState::Stale
                };
                if status == StreamState::Offline
                    && streams.values.values().any(|s| s.status == StreamState::Live)
                {
                    streams.reconnects += 1;
                }
                for (id, stream) in &mut streams.values {
                    stream.status = status;
                    stream.last.quality =
                        if stream.last.value.is_some() { Quality::Uncertain } else { Quality::Bad };
                    stream.last.quality_reason = Some(why);
                    publish(&self.bus, "stream_value", &stream.last);
                    let seen = Some(stream.last.timestamp);
                    self.publish_stream_status(feed, id, status, Some(why), seen, streams.reconnects);
                }
                if streams.values.is_empty() && !streams.several {
                    self.publish_stream_status(feed, id, status, Some(why), None, streams.reconnects);
                }
            }
            Sink::Topic(_) => {}
        }
    }

    fn restored(&self, key: &str) -> Option<Json> {
        payload(self.bus.state_of(key)?.data())
    }

    fn publish_instrument(&self, id: &str, instrument: &Instrument) {
        let used_by = self.instruments.used_by(id);
        publish(&self.bus, "instrument_status", &instrument.told(id, used_by, Wall::now()));
    }

    /// What the configuration says of an instrument.
    pub fn describe(&self, id: &str, offer: &Offer) {
        let mut inner = self.lock();
        let instrument = inner.instruments.entry(id.to_string()).or_default();
        instrument.describe(offer);
        self.publish_instrument(id, instrument);
    }

    /// How a channel of an instrument moves; published when it is new.
    pub fn motion(&self, feed: &Feed, motion: &Motion) {
        let Sink::Instrument(id) = &feed.sink else { return };
        let mut inner = self.lock();
        if let Some(instrument) = inner.instruments.get_mut(id)
            && instrument.moved(motion)
        {
            self.publish_instrument(id, instrument);
        }
    }

    /// What changes seldom of an instrument.
    pub fn settings(&self, feed: &Feed, settings: &[Reading]) {
        let Sink::Instrument(id) = &feed.sink else { return };
        let mut inner = self.lock();
        if let Some(instrument) = inner.instruments.get_mut(id) {
            instrument.set(settings, Wall::now());
            self.publish_instrument(id, instrument);
        }
    }

    /// Shows nobody as having what was restored as somebody's.
    pub fn unclaimed(&self) {
        let all = TopicFilter::parse("instrument/*").unwrap_or_default();
        for event in &self.bus.snapshot(&all).state {
            let told = payload(event.data()).filter(|told| told.get("used_by").is_some());
            if let Some(id) = told.as_ref().and_then(|told| told.get("instrument_id")?.as_str()) {
                self.claimed(id);
            }
        }
    }

    /// Somebody took or gave back an instrument: shows it, also in what a program has said of one.
    pub fn claimed(&self, id: &str) {
        let inner = self.lock();
        if let Some(instrument) = inner.instruments.get(id) {
            return self.publish_instrument(id, instrument);
        }
        drop(inner);
        self.instruments.retell(&self.bus, id);
    }

    fn update_streams(
        &self,
        feed: &Feed,
        id: &str,
        streams: &mut Streams,
        readings: &[Reading],
        at: Wall,
        taken: &mut Taken,
    ) {
        let numbers: Vec<&Reading> = readings.iter().filter(|r| !matches!(r.value, Value::Text(_))).collect();
        if numbers.is_empty() {
            taken.note(Err("has no number".into()));
        }
        streams.several |= numbers.len() > 1;
        for reading in numbers {
            let stream_id =
                if streams.several { as_id(&format!("{id}.{}", reading.name)) } else { id.to_string() };
            if !streams.values.contains_key(&stream_id) && streams.values.len() >= limits::CHANNELS {
                taken.note(Err(format!("has more than {} columns", limits::CHANNELS)));
                continue;
            }
            let (value, quality, reason) = judged(&reading.value);
            let old = streams.values.get(&stream_id);
            // A value from before a silence or a restart is no neighbour of this one.
            let previous = old.filter(|s| s.status == StreamState::Live).and_then(|s| s.last.value);
            let was_live = old.is_some_and(|s| s.status == StreamState::Live);
            let mut last = StreamValue {
                stream_id: stream_id.clone(),
                value,
                unit: reading.unit.clone(),
                timestamp: at,
                quality,
                quality_reason: reason,
                previous,
                change: value.zip(previous).map(|(now, before)| now - before).filter(|c| c.is_finite()),
                limits: None,
                severity: None,
            };
            if let Some(streams) = &self.streams {
                streams.judge(&mut last);
            }
            taken.note(Ok(()));
            publish(&self.bus, "stream_value", &last);
            if !was_live {
                self.publish_stream_status(
                    feed,
                    &stream_id,
                    StreamState::Live,
                    None,
                    Some(at),
                    streams.reconnects,
                );
            }
            streams.values.insert(stream_id, Stream { status: StreamState::Live, last });
        }
    }

    fn publish_stream_status(
        &self,
        feed: &Feed,
        id: &str,
        status: StreamState,
        why: Option<QualityReason>,
        last_seen: Option<Wall>,
        reconnects: u64,
    ) {
        let reason = why.and_then(|why| json!(why).as_str().map(str::to_string));
        let name = feed.name.clone();
        let stream_id = id.to_string();
        publish(
            &self.bus,
            "stream_status",
            &StreamStatus {
                stream_id,
                name,
                status,
                reason,
                last_seen,
                reconnects,
                dropped: 0,
                ticks: None,
                conflated: None,
            },
        );
    }

    /// `reading` on a topic under `app/`: source_id, timestamp, data{}; quality{} for what is missing, unit{}.
    fn publish_reading(&self, feed: &Feed, topic: &str, readings: &[Reading], at: Wall) {
        let mut payload = Map::new();
        payload.insert("source_id".into(), feed.source.clone().into());
        payload.insert("timestamp".into(), json!(at));
        let data: Map<String, Json> = readings.iter().map(|r| (r.name.clone(), r.value.to_json())).collect();
        payload.insert("data".into(), data.into());
        let quality: Map<String, Json> = readings
            .iter()
            .filter_map(|r| match r.value {
                Value::Missing(why) => Some((r.name.clone(), json!(why))),
                _ => None,
            })
            .collect();
        if !quality.is_empty() {
            payload.insert("quality".into(), quality.into());
        }
        let unit: Map<String, Json> =
            readings.iter().filter_map(|r| Some((r.name.clone(), r.unit.clone()?.into()))).collect();
        if !unit.is_empty() {
            payload.insert("unit".into(), unit.into());
        }
        publish_on(&self.bus, "reading", topic, &payload);
    }
}

/// Publishes one of the publisher's own types on a topic under `app/`.
pub(super) fn publish_on(bus: &Bus, kind: &str, topic: &str, payload: &Map<String, Json>) {
    match Topic::parse(topic) {
        Ok(topic) => super::publish_to(bus, kind, Some(topic), payload),
        Err(e) => log::warn!("{kind} not published: {e}"),
    }
}

fn judged(value: &Value) -> (Option<f64>, Quality, Option<QualityReason>) {
    match value {
        Value::Missing(why) => (None, Quality::Bad, Some(*why)),
        value => (value.as_number(), Quality::Good, None),
    }
}

fn initial(mut channel: Channel) -> Channel {
    doubt(&mut channel, QualityReason::Initial);
    channel
}

/// A value that may not be the present one.
fn doubt(channel: &mut Channel, why: QualityReason) {
    let has_value = channel.value.is_some() || channel.text.is_some();
    channel.quality = if has_value { Quality::Uncertain } else { Quality::Bad };
    channel.quality_reason = Some(why);
    channel.severity = Some(Severity::Invalid);
}

fn name_it(name: &mut String, feed: &Feed, id: &str) {
    if let Some(given) = &feed.name {
        name.clone_from(given);
    } else if name.is_empty() {
        *name = id.to_string();
    }
}

fn payload(envelope: &str) -> Option<Json> {
    let mut envelope: Map<String, Json> = serde_json::from_str(envelope).ok()?;
    envelope.remove("payload")
}

/// A device's own name made fit for an id: other characters become `_`, at most 64.
fn as_id(text: &str) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-') { c } else { '_' };
    text.chars().map(fit).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::Start;
    use crate::metrics::Metrics;

    fn bus() -> Arc<Bus> {
        Arc::new(Bus::new(Start { epoch: 1, ..Start::default() }, Arc::new(Metrics::default())))
    }

    fn feed(source: &str, sink: Sink) -> Feed {
        let timeout = Some(Duration::from_secs(5));
        Feed { source: source.into(), sink, name: None, timeout, several: false }
    }

    fn number(name: &str, value: f64) -> Reading {
        Reading { name: name.into(), value: Value::number(value), unit: None }
    }

    fn word(name: &str, value: &str) -> Reading {
        Reading { name: name.into(), value: Value::Text(value.into()), unit: None }
    }

    fn state(bus: &Bus, key: &str) -> Json {
        payload(bus.state_of(key).unwrap_or_else(|| panic!("no state {key}")).data()).unwrap()
    }

    #[test]
    fn a_pin_and_a_port_make_one_recorder() {
        let bus = bus();
        let fold = Fold::new(Arc::clone(&bus));
        let pin = feed("pin", Sink::Recorder("rec1".into()));
        let port = feed("port", Sink::Recorder("rec1".into()));
        fold.expect(&pin);
        fold.expect(&port);
        assert_eq!(state(&bus, "recorder_status/rec1")["status"], "offline");
        assert!(
            fold.update(&port, &[number("level_db", -12.5), number("clipped", 0.0)], Wall(1))
                .refused
                .is_empty()
        );
        assert_eq!(
            state(&bus, "recorder_status/rec1")["status"],
            "idle",
            "heard, but nobody says what it does"
        );
        assert!(fold.update(&pin, &[word("status", "RECORDING")], Wall(2)).refused.is_empty());
        let all = state(&bus, "recorder_status/rec1");
        assert_eq!(
            (&all["status"], &all["level_db"], &all["clipped"]),
            (&json!("recording"), &json!(-12.5), &json!(false))
        );
        // The port goes silent: its level goes, the pin still knows the status.
        fold.lost(&port, QualityReason::Stale);
        let all = state(&bus, "recorder_status/rec1");
        assert_eq!((&all["status"], all.get("level_db")), (&json!("recording"), None));
        fold.lost(&pin, QualityReason::NotConnected);
        assert_eq!(state(&bus, "recorder_status/rec1")["status"], "offline");
    }

    #[test]
    fn what_does_not_fit_a_recorder_is_refused_and_the_rest_taken() {
        let bus = bus();
        let fold = Fold::new(Arc::clone(&bus));
        let port = feed("port", Sink::Recorder("r".into()));
        let refused = fold.update(
            &port,
            &[
                word("level_db", "loud"),
                word("status", "dancing"),
                number("bytes", -1.0),
                number("free_s", 60.0),
            ],
            Wall(1),
        );
        assert_eq!((refused.used, refused.refused.len()), (1, 3), "{refused:?}");
        assert_eq!(state(&bus, "recorder_status/r")["free_s"], 60.0);
        let triggers = fold.update(&port, &[word("triggers", "VOX, GPI1")], Wall(1));
        assert!(triggers.refused.is_empty());
        assert_eq!(state(&bus, "recorder_status/r")["triggers"], json!(["VOX", "GPI1"]));
        let gone = Reading { name: "triggers".into(), value: Value::Missing(QualityReason::Nan), unit: None };
        assert!(fold.update(&port, &[gone], Wall(1)).refused.is_empty());
        assert_eq!(state(&bus, "recorder_status/r").get("triggers"), None);
    }

    #[test]
    fn channels_carry_quality_and_two_times() {
        let bus = bus();
        let fold = Fold::new(Arc::clone(&bus));
        let psu = feed("psu", Sink::Instrument("psu".into()));
        fold.expect(&psu);
        assert_eq!(state(&bus, "instrument_status/psu")["status"], "disconnected");
        fold.update(&psu, &[number("volts", 12.0), number("amps", f64::NAN)], Wall(1_000));
        fold.update(&psu, &[number("volts", 12.0)], Wall(2_000));
        let all = state(&bus, "instrument_status/psu");
        let volts = &all["channels"]["volts"];
        assert_eq!(all["status"], "connected");
        assert_eq!((&volts["value"], &volts["quality"]), (&json!(12.0), &json!("good")));
        assert_eq!(
            (&volts["last_changed"], &volts["last_updated"]),
            (&json!(Wall(1_000)), &json!(Wall(2_000)))
        );
        assert_eq!(volts["timeout_s"], 5.0);
        let amps = &all["channels"]["amps"];
        assert_eq!(
            (&amps["value"], &amps["quality"], &amps["quality_reason"]),
            (&Json::Null, &json!("bad"), &json!("nan"))
        );
        fold.lost(&psu, QualityReason::Stale);
        let all = state(&bus, "instrument_status/psu");
        assert_eq!(all["status"], "error");
        assert_eq!(all["channels"]["volts"]["quality"], "uncertain");
        assert_eq!(all["channels"]["volts"]["quality_reason"], "stale");
        assert_eq!(all["channels"]["volts"]["value"], 12.0);
        fold.update(&psu, &[word("status", "homing"), number("position.x", 3.0)], Wall(3_000));
        let all = state(&bus, "instrument_status/psu");
        assert_eq!((&all["status"], &all["position"]["x"]), (&json!("moving"), &json!(3.0)));
    }

    #[test]
    fn an_instrument_says_who_uses_it() {
        let bus = bus();
        let fold = Fold::new(Arc::clone(&bus));
        let psu = feed("psu", Sink::Instrument("psu".into()));
        let used_by = || state(&bus, "instrument_status/psu").get("used_by").cloned();
        fold.update(&psu, &[word("used_by", "SCAN_001")], Wall(1));
        assert_eq!(used_by(), Some(json!("SCAN_001")));
        fold.update(&psu, &[word("used_by", "NONE")], Wall(2));
        assert_eq!(used_by(), None);
        fold.update(&psu, &[word("used_by", "SCAN_002")], Wall(3));
        fold.lost(&psu, QualityReason::NotConnected);
        assert_eq!(used_by(), None, "nobody knows");
    }

    #[test]
    fn what_was_restored_is_not_shown_as_current() {
        let bus = bus();
        let first = Fold::new(Arc::clone(&bus));
        let (a, b) = (feed("a", Sink::Instrument("i".into())), feed("b", Sink::Instrument("i".into())));
        first.update(&a, &[number("x", 1.0), number("gone", 1.0)], Wall(1));
        first.update(&b, &[number("y", 2.0)], Wall(1));
        let temp = feed("t", Sink::Stream("temp".into()));
        first.update(&temp, &[number("v", 20.0)], Wall(1));
        // The next run: the bus has what was stored.
        let second = Fold::new(Arc::clone(&bus));
        for feed in [&a, &b, &temp] {
            second.expect(feed);
        }
        let all = state(&bus, "instrument_status/i");
        assert_eq!(
            (&all["status"], &all["channels"]["x"]["quality"]),
            (&json!("disconnected"), &json!("uncertain"))
        );
        assert_eq!(all["channels"]["y"]["quality_reason"], "initial");
        let stream = state(&bus, "stream_value/temp");
        assert_eq!((&stream["value"], &stream["quality_reason"]), (&json!(20.0), &json!("initial")));
        assert_eq!(state(&bus, "stream_status/temp")["status"], "connecting");
        second.update(&a, &[number("x", 1.5)], Wall(2));
        let all = state(&bus, "instrument_status/i");
        assert_eq!(
            (&all["channels"]["x"]["quality"], &all["channels"]["y"]["quality"]),
            (&json!("good"), &json!("uncertain"))
        );
        second.update(&b, &[number("y", 2.5)], Wall(2));
        let all = state(&bus, "instrument_status/i");
        assert_eq!(all["channels"].get("gone"), None, "all have spoken, nobody of it");
        second.update(&temp, &[number("v", 21.0)], Wall(2));
        let stream = state(&bus, "stream_value/temp");
        assert_eq!(
            (&stream["value"], stream.get("previous"), &stream["quality"]),
            (&json!(21.0), None, &json!("good"))
        );
    }

    #[test]
    fn streams_one_or_several() {
        let bus = bus();
        let fold = Fold::new(Arc::clone(&bus));
        let one = feed("t", Sink::Stream("temp".into()));
        fold.expect(&one);
        fold.update(&one, &[number("whatever", 20.0), word("id", "A1")], Wall(1));
        fold.update(&one, &[number("whatever", 20.5), word("id", "A1")], Wall(2));
        let value = state(&bus, "stream_value/temp");
        assert_eq!(
            (&value["value"], &value["previous"], &value["change"]),
            (&json!(20.5), &json!(20.0), &json!(0.5))
        );
        assert_eq!(state(&bus, "stream_status/temp")["status"], "live");
        fold.lost(&one, QualityReason::NotConnected);
        assert_eq!(state(&bus, "stream_value/temp")["quality"], "uncertain");
        assert_eq!(state(&bus, "stream_status/temp")["status"], "offline");
        assert_eq!(state(&bus, "stream_status/temp")["reason"], "not_connected");
        let two = feed("w", Sink::Stream("wind".into()));
        fold.update(&two, &[number("m/s", 3.0), number("dir", 270.0)], Wall(1));
        assert_eq!(state(&bus, "stream_value/wind.m_s")["value"], 3.0);
        assert_eq!(state(&bus, "stream_value/wind.dir")["value"], 270.0);
        assert_eq!(fold.update(&two, &[word("a", "b")], Wall(2)).refused, ["has no number"]);
    }

    #[test]
    fn a_device_that_invents_names_is_bounded() {
        let bus = bus();
        let fold = Fold::new(Arc::clone(&bus));
        for sink in [Sink::Instrument("i".into()), Sink::Recorder("i".into()), Sink::Stream("i".into())] {
            let feed = feed("s", sink);
            let many: Vec<_> = (0..limits::CHANNELS + 10).map(|n| number(&format!("c{n}"), 1.0)).collect();
            assert_eq!(fold.update(&feed, &many, Wall(1)).refused.len(), 10);
        }
        let kept = state(&bus, "instrument_status/i")["channels"].as_object().unwrap().len();
        assert_eq!(kept, limits::CHANNELS);
    }
}
