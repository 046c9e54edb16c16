//! Signals: sampled values with rolling statistics, from the generator and from outside, on the same way.
//!
//! Owns: every signal's window, counts and newest samples. Promises: an anomaly is flagged when the sample is published,
//! by the samples before it; a pause loses nothing, as counting goes on where it stopped, across restarts as well; what
//! is posted from outside is judged, counted and shown like what is generated. Live is off unless configured.
//! **Threads.** `signals`, which waits for its clock and for commands; `samples`, which keeps the index of what was. **Bounds.** So many
//! signals, so many samples of each in memory; older ones are in the store.
//! Does not: invent samples for a signal that is posted, or tell the page what the generator put in.

pub mod generator;
pub mod index;
pub mod rolling;
pub mod samples;

use self::generator::Generator;
use self::rolling::{Rolling, THRESHOLD, WINDOW};
use self::samples::{Page, Samples, Wanted};
use super::{Context, publish};
use crate::bus::{Bus, Command, Commands};
use crate::clock::Wall;
use crate::config;
use crate::limits;
use crate::model::{
    CommandState, Draft, DraftError, PAYLOAD_BYTES, SignalBatch, SignalEvent, SignalStats, SignalStatus,
    SignalTotals,
};
use crate::store::StoreError;
use crate::threads::{self, Stop};
use crossbeam::channel::{Receiver, Sender, bounded};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bounds of what may be asked for.
pub const INTERVAL_S: (f64, f64) = (1.0, 60.0);
/// The greatest number of a sample: the last one that programs with floating-point numbers alone can count to.
pub const MOST_SEQ: u64 = (1 << 53) - 1;
/// See [`INTERVAL_S`].
pub const BATCH: (u64, u64) = (1, 1_000);

/// See the module above.
pub struct Signals {
    bus: Arc<Bus>,
    commands: Arc<Commands>,
    settings: config::Signals,
    /// Where what is no longer in memory is read; none in tests.
    samples: Option<Arc<Samples>>,
    /// Where commands go.
    to: Sender<Command>,
    all: Mutex<BTreeMap<String, Signal>>,
}

/// One signal.
#[derive(Clone)]
struct Signal {
    name: Option<String>,
    /// None: samples come from outside.
    generator: Option<Generator>,
    rolling: Rolling,
    live: bool,
    interval_s: f64,
    batch_size: u64,
    seed: u64,
    may_reset: bool,
    /// The number of the next sample.
    next: u64,
    totals: SignalTotals,
    /// Samples before this number are no longer shown: the signal was reset.
    since: u64,
    recent: VecDeque<SignalEvent>,
    /// When the next batch is due.
    due: Option<Instant>,
}

impl Signals {
    /// Goes on from what the bus restored; starts the generator's thread where signals are configured.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(
        context: &Context,
        settings: &config::Signals,
    ) -> io::Result<(Arc<Signals>, [JoinHandle<()>; 2])> {
        let (samples, samples_thread) = Samples::start(context)?;
        let (to, from) = bounded(limits::SIGNAL_COMMANDS);
        let signals = Arc::new(Signals {
            bus: Arc::clone(&context.bus),
            commands: Arc::clone(&context.commands),
            settings: settings.clone(),
            samples: Some(samples),
            to,
            all: Mutex::default(),
        });
        {
            let mut all = signals.lock();
            for name in &settings.generate {
                let mut signal = signals.restored(name);
                signal.generator = Some(Generator::new(settings.seed, name));
                signal.live = settings.live;
                signals.introduce(name, &signal);
                signal.publish_status(name, &signals.bus);
                all.insert(name.clone(), signal);
            }
        }
        let (inner, stop) = (Arc::clone(&signals), context.stop.clone());
        let thread = threads::spawn("signals", limits::STACK, move || inner.run(&from, &stop))?;
        Ok((signals, [thread, samples_thread]))
    }

    /// Without a thread.
    #[cfg(test)]
    pub fn alone(bus: Arc<Bus>) -> Signals {
        let commands = Arc::new(Commands::new(Arc::clone(&bus)));
        let (to, _) = bounded(1);
        let settings = config::Signals { window: 4, threshold: 3.0, ..config::Signals::default() };
        Signals { bus, commands, settings, samples: None, to, all: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Signal>> {
        self.all.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// A signal as an earlier run left it, or a new one.
    fn restored(&self, id: &str) -> Signal {
        let settings = &self.settings;
        let mut signal = Signal {
            name: None,
            generator: None,
            rolling: Rolling::new(settings.window, settings.threshold),
            live: false,
            interval_s: settings.interval_s,
            batch_size: settings.batch_size,
            seed: settings.seed,
            may_reset: settings.allow_reset,
            next: 0,
            totals: SignalTotals::default(),
            since: 0,
            recent: VecDeque::new(),
            due: None,
        };
        let event = self.bus.state_of(&format!("signal_status/{id}"));
        let status = event.and_then(|e| serde_json::from_str::<SignalStatus>(e.payload()).ok());
        if let Some(status) = status {
            signal.name = status.name;
            signal.totals = SignalTotals { events: status.total_events, anomalies: status.anomalies };
            signal.next = status.next_seq.unwrap_or(status.total_events);
            signal.since = status.since_seq.unwrap_or(0);
            signal.rolling.set(
                status.window.unwrap_or(settings.window as u64) as usize,
                status.threshold.unwrap_or(settings.threshold),
            );
        }
        signal
    }

    fn introduce(&self, id: &str, signal: &Signal) {
        let actions: &[&str] = if signal.generator.is_some() {
            &["live", "batch", "settings", "reset"]
        } else {
            &["settings", "reset"]
        };
        self.commands.own_with(&format!("signal/{id}"), actions, self.to.clone());
    }

    fn run(&self, commands: &Receiver<Command>, stop: &Stop) {
        loop {
            let now = Instant::now();
            let next = {
                let mut all = self.lock();
                for (id, signal) in all.iter_mut().filter(|(_, s)| s.live && s.generator.is_some()) {
                    let interval = Duration::from_secs_f64(signal.interval_s);
                    let due = *signal.due.get_or_insert(now);
                    if now >= due {
                        // Late by more than a batch: those are left out, not made up in a burst.
                        signal.due = Some(if now > due + interval { now + interval } else { due + interval });
                        signal.generate(id, &self.bus);
                    }
                }
                all.values().filter(|s| s.live).filter_map(|s| s.due).min()
            };
            let wait = next.map_or(limits::SIGNAL_REST, |due| due.saturating_duration_since(Instant::now()));
            crossbeam::channel::select! {
                recv(stop.receiver()) -> _ => return,
                recv(commands) -> command => match command {
                    Ok(command) => self.command(&command),
                    Err(_) => return,
                },
                default(wait.min(limits::SIGNAL_REST)) => {}
            }
        }
    }

    fn command(&self, command: &Command) {
        let id = command.target.strip_prefix("signal/").unwrap_or_default();
        let outcome = {
            let mut all = self.lock();
            match all.get_mut(id) {
                Some(signal) => {
                    let outcome = signal.obey(id, command, &self.bus);
                    signal.publish_status(id, &self.bus);
                    outcome.map(|()| if signal.live { "live" } else { "paused" })
                }
                None => Err(format!("there is no signal {id}")),
            }
        };
        match outcome {
            Ok(status) => self.commands.finish(&command.id, CommandState::Completed, Some(status), None),
            Err(why) => self.commands.finish(&command.id, CommandState::Rejected, None, Some(&why)),
        }
    }

    /// Begins to take samples from outside; others wait until it is dropped, so that numbers have no gap.
    pub fn session(&self) -> Session<'_> {
        Session { signals: self, all: self.lock(), drafts: BTreeMap::new(), taken: 0 }
    }

    /// Samples of one signal, from memory where that is enough, and how many it has had; none when it is not known.
    ///
    /// # Errors
    /// The store could not be read.
    pub fn events(&self, id: &str, mut wanted: Wanted) -> Result<Option<(Page, u64)>, StoreError> {
        let Some((recent, since, total)) = self.recent(id) else { return Ok(None) };
        wanted.range.since = since;
        let Some(samples) = &self.samples else { return Ok(None) };
        Ok(Some((samples.page(id, &wanted, recent)?, total)))
    }

    /// The samples in memory, the oldest first, with whether there are no earlier ones; the number of the first that is
    /// shown; and how many there were since.
    fn recent(&self, id: &str) -> Option<((Vec<SignalEvent>, bool), u64, u64)> {
        let all = self.lock();
        // One from outside that was not heard of since the start is known by its status.
        let restored = || self.bus.state_of(&format!("signal_status/{id}")).map(|_| self.restored(id));
        let signal = all.get(id).cloned().or_else(restored)?;
        let complete = signal.totals.events == signal.recent.len() as u64;
        let events: Vec<_> = signal.recent.into();
        Some(((events, complete), signal.since, signal.totals.events))
    }
}

/// Samples from outside on their way: see [`Signals::session`].
pub struct Session<'a> {
    signals: &'a Signals,
    all: MutexGuard<'a, BTreeMap<String, Signal>>,
    drafts: BTreeMap<String, Signal>,
    /// Samples so far.
    taken: usize,
}

/// Why samples from outside are not taken.
#[derive(Debug)]
pub enum NotFilled {
    /// What is wrong, in one sentence.
    Wrong(String),
    /// More than [`limits::SIGNAL_POST`] in one session.
    TooMany,
    /// They make no event.
    Draft(DraftError),
}

/// What a `signal_batch` has around its samples: the names of `events` and `totals`, and two counts.
const FRAME: usize = 128;
/// What else is said in an event whose samples need several: each of them repeats it.
const SAID: usize = PAYLOAD_BYTES / 2;

/// How long the JSON of this is.
fn text_bytes(value: &impl Serialize) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Counting does not fail, and a JSON value always has a text.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

impl Session<'_> {
    /// Numbers, judges and counts the samples of a `signal_batch` from outside. Whatever the publisher said itself
    /// (`seq`, `t`, `z`, `anomaly`, `totals`) stays. What does not fit into one event comes as several, in order: each
    /// with the totals as they are after it, and with whatever else was said. They are for one step of the bus.
    ///
    /// # Errors
    /// A sample that is none or has no room in an event, too many samples, or too many signals.
    pub fn fill(
        &mut self,
        id: &str,
        mut payload: Map<String, Value>,
        now: Wall,
    ) -> Result<Vec<Draft>, NotFilled> {
        if !self.drafts.contains_key(id) {
            let signal = match self.all.get(id) {
                Some(signal) => signal.clone(),
                None if self.all.len() + self.drafts.len() >= limits::SIGNALS => {
                    return Err(NotFilled::Wrong(format!(
                        "there are {} signals already; no new one is taken",
                        limits::SIGNALS
                    )));
                }
                None => self.signals.restored(id),
            };
            self.drafts.insert(id.to_string(), signal);
        }
        let (Some(signal), Some(Value::Array(events))) = (self.drafts.get_mut(id), payload.remove("events"))
        else {
            return Err(NotFilled::Wrong("events is no array; expected samples".into()));
        };
        self.taken += events.len();
        if self.taken > limits::SIGNAL_POST {
            return Err(NotFilled::TooMany);
        }
        let said = text_bytes(&payload) + FRAME;
        let room = PAYLOAD_BYTES.saturating_sub(said);
        let (mut parts, mut part, mut bytes) = (Vec::new(), Vec::new(), 0);
        for (n, mut event) in events.into_iter().enumerate() {
            let judged =
                signal.judge(&mut event, now).map_err(|why| NotFilled::Wrong(format!("sample {n}{why}")))?;
            let size = text_bytes(&event) + 1;
            if bytes + size > room && !part.is_empty() {
                if said > SAID {
                    return Err(NotFilled::Wrong(format!(
                        "do not fit into one event, and what is said besides them takes {said} bytes; expected at most {SAID}"
                    )));
                }
                parts.push(signal.batch(&payload, std::mem::take(&mut part))?);
                bytes = 0;
            }
            bytes += size;
            part.push(event);
            signal.count(judged);
        }
        parts.push(signal.batch(&payload, part)?);
        Ok(parts)
    }

    /// They were published: the counts hold, and the signals' status is said.
    pub fn keep(mut self) {
        for (id, signal) in std::mem::take(&mut self.drafts) {
            if !self.all.contains_key(&id) {
                self.signals.introduce(&id, &signal);
            }
            signal.publish_status(&id, &self.signals.bus);
            self.all.insert(id, signal);
        }
    }
}

impl Signal {
    /// Fills in what a sample from outside lacks, and judges it. An error goes on after "sample 3".
    fn judge(&mut self, event: &mut Value, now: Wall) -> Result<SignalEvent, String> {
        if event.is_number() || event.is_null() {
            *event = serde_json::json!({ "value": event.take() });
        }
        let Value::Object(members) = event else {
            return Err(format!(" is {event}; expected a number or an object with a value"));
        };
        members.entry("seq").or_insert_with(|| self.next.into());
        members.entry("t").or_insert_with(|| now.rfc3339().into());
        members.entry("value").or_insert(Value::Null);
        let judged = self.rolling.take(members.get("value").and_then(Value::as_f64));
        members.entry("anomaly").or_insert_with(|| judged.anomaly.into());
        if let Some(z) = judged.z {
            members.entry("z").or_insert_with(|| round(z, 1e4).into());
        }
        let event = SignalEvent::deserialize(&*event).map_err(|e| format!(": {e}"))?;
        if event.seq > MOST_SEQ {
            return Err(format!(": seq is {}; expected at most {MOST_SEQ}", event.seq));
        }
        self.next = self.next.max(event.seq + 1);
        Ok(event)
    }

    /// A `signal_batch` of these samples, with what else its publisher said and the totals as they are now.
    fn batch(&self, said: &Map<String, Value>, events: Vec<Value>) -> Result<Draft, NotFilled> {
        let mut payload = said.clone();
        payload.insert("events".into(), events.into());
        let totals = serde_json::to_value(&self.totals).unwrap_or_default();
        payload.entry("totals").or_insert(totals);
        Draft::checked("signal_batch", None, Value::Object(payload)).map_err(NotFilled::Draft)
    }

    /// Publishes `batch_size` samples, the last of them now.
    fn generate(&mut self, id: &str, bus: &Bus) {
        let Some(generator) = &self.generator else { return };
        let apart_ms = 1000.0 * self.interval_s / self.batch_size as f64;
        let now = Wall::now().0;
        let samples: Vec<_> = (0..self.batch_size).map(|n| (n, generator.sample(self.next + n))).collect();
        let mut events = Vec::with_capacity(samples.len());
        for (n, sample) in samples {
            let judged = self.rolling.take(sample.value);
            let before_ms = (self.batch_size - 1 - n) as f64 * apart_ms;
            let event = SignalEvent {
                seq: self.next,
                t: Wall(now.saturating_sub(before_ms as u64)),
                value: sample.value,
                anomaly: judged.anomaly,
                z: judged.z.map(|z| round(z, 100.0)),
                quality: Some(sample.quality),
            };
            self.next += 1;
            self.count(event.clone());
            events.push(event);
        }
        publish(
            bus,
            "signal_batch",
            &SignalBatch { signal_id: id.into(), events, totals: self.totals.clone() },
        );
        self.publish_status(id, bus);
    }

    fn count(&mut self, event: SignalEvent) {
        self.totals.events += 1;
        self.totals.anomalies += u64::from(event.anomaly);
        if self.recent.len() >= limits::SIGNAL_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(event);
    }

    fn obey(&mut self, id: &str, command: &Command, bus: &Bus) -> Result<(), String> {
        let number = |name: &str, (low, high): (f64, f64), now: f64| match command.params.get(name) {
            None | Some(Value::Null) => Ok(now),
            Some(value) => match value.as_f64().filter(|v| (low..=high).contains(v)) {
                Some(value) => Ok(value),
                None => Err(format!("{name} is {value}; expected a number from {low} to {high}")),
            },
        };
        let bounds = (BATCH.0 as f64, BATCH.1 as f64);
        let interval_s = number("interval_s", INTERVAL_S, self.interval_s)?;
        let batch_size = number("batch_size", bounds, self.batch_size as f64)? as u64;
        let window =
            number("window", (WINDOW.0 as f64, WINDOW.1 as f64), self.rolling.window() as f64)? as usize;
        let threshold = number("threshold", THRESHOLD, self.rolling.threshold())?;
        let on = command.params.get("on").and_then(Value::as_bool);
        match command.action.as_str() {
            "live" if on.is_none() => return Err("expected \"on\": true or false".into()),
            "batch" if self.live => {
                return Err("the signal is live; single batches are for when it is paused".into());
            }
            "reset" if !self.may_reset => {
                return Err(
                    "resetting is not allowed; signals.allow_reset = true in the configuration allows it"
                        .into(),
                );
            }
            "reset" if command.params.get("confirm").and_then(Value::as_str) != Some(id) => {
                return Err(format!(
                    "expected \"confirm\": \"{id}\", as the samples will no longer be shown"
                ));
            }
            _ => {}
        }
        (self.interval_s, self.batch_size) = (interval_s, batch_size);
        self.rolling.set(window, threshold);
        match command.action.as_str() {
            "live" => {
                self.live = on.unwrap_or(self.live);
                self.due = None;
            }
            "batch" => self.generate(id, bus),
            "reset" => {
                self.since = self.next;
                self.totals = SignalTotals::default();
                self.recent.clear();
                self.rolling.clear();
            }
            _ => {}
        }
        Ok(())
    }

    /// What may be asked of it as it stands.
    fn allowed(&self) -> Vec<String> {
        let generated = self.generator.is_some();
        let all = [
            ("live", generated),
            ("batch", generated && !self.live),
            ("settings", true),
            ("reset", self.may_reset),
        ];
        all.into_iter().filter(|(_, may)| *may).map(|(action, _)| action.to_string()).collect()
    }

    fn publish_status(&self, id: &str, bus: &Bus) {
        let stats = self.rolling.stats();
        let of = |pick: fn(&rolling::Stats) -> f64| stats.as_ref().map(|s| round(pick(s), 1e6));
        publish(
            bus,
            "signal_status",
            &SignalStatus {
                signal_id: id.into(),
                name: self.name.clone(),
                live: self.live,
                interval_s: self.interval_s,
                batch_size: self.batch_size,
                seed: self.seed,
                total_events: self.totals.events,
                stats: SignalStats {
                    mean: of(|s| s.mean),
                    std: of(|s| s.std),
                    min: of(|s| s.min),
                    max: of(|s| s.max),
                },
                anomalies: self.totals.anomalies,
                window: Some(self.rolling.window() as u64),
                threshold: Some(self.rolling.threshold()),
                source: Some(if self.generator.is_some() { "generated" } else { "outside" }.into()),
                next_seq: Some(self.next),
                since_seq: Some(self.since),
                allowed_actions: self.allowed(),
                updated: self.recent.back().map(|e| e.t),
            },
        );
    }
}

/// Adding zero turns -0 into 0.
fn round(value: f64, scale: f64) -> f64 {
    (value * scale).round() / scale + 0.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::Start;
    use crate::metrics::Metrics;
    use serde_json::json;

    fn bus() -> Arc<Bus> {
        Arc::new(Bus::new(Start { epoch: 1, ..Start::default() }, Arc::new(Metrics::default())))
    }

    fn status(bus: &Bus, id: &str) -> Value {
        let event = bus.state_of(&format!("signal_status/{id}"));
        event.map_or(Value::Null, |e| serde_json::from_str(e.payload()).unwrap())
    }

    fn posted(signals: &Signals, payload: Value, keep: bool) -> Vec<Value> {
        let Value::Object(mut payload) = payload else { panic!() };
        payload.insert("signal_id".into(), "t".into());
        let mut session = signals.session();
        let drafts = session.fill("t", payload, Wall(1_767_799_800_000)).unwrap();
        if keep {
            session.keep();
        }
        drafts.iter().map(|draft| serde_json::from_str(&draft.payload).unwrap()).collect()
    }

    fn post(signals: &Signals, payload: Value, keep: bool) -> Value {
        let [payload] = posted(signals, payload, keep).try_into().unwrap();
        payload
    }

    #[test]
    fn what_does_not_fit_into_one_event_comes_as_several() {
        let bus = bus();
        let signals = Signals::alone(Arc::clone(&bus));
        let samples: Vec<_> =
            (0..5_000).map(|n| if n % 900 == 899 { 99.5 } else { f64::from(n % 4) }).collect();
        let parts = posted(&signals, json!({ "events": samples, "note": "x".repeat(500) }), true);
        assert!((7..=10).contains(&parts.len()), "{} events", parts.len());
        let (mut next, mut anomalies) = (0, 0);
        for (n, part) in parts.iter().enumerate() {
            let bytes = part.to_string().len();
            assert!(bytes <= PAYLOAD_BYTES, "{bytes}");
            assert!(
                bytes > PAYLOAD_BYTES - 400 || n + 1 == parts.len(),
                "{bytes} bytes leave room for a sample"
            );
            assert_eq!((&part["signal_id"], part["note"].as_str().map(str::len)), (&json!("t"), Some(500)));
            for event in part["events"].as_array().unwrap() {
                assert_eq!((&event["seq"], event["value"].as_f64()), (&json!(next), Some(samples[next])));
                next += 1;
                anomalies += u64::from(event["anomaly"] == true);
            }
            assert_eq!(part["totals"], json!({ "events": next, "anomalies": anomalies }));
        }
        assert_eq!((next, anomalies), (5_000, 5));
        assert_eq!(status(&bus, "t")["total_events"], 5_000);
        // What is said besides is in each of them: 200 KB became events of 3 GB.
        let besides = json!({ "events": vec![1; 40_000], "note": "x".repeat(PAYLOAD_BYTES - 400) });
        let Value::Object(besides) = besides else { panic!() };
        let refused = signals.session().fill("t", besides, Wall(0));
        assert!(matches!(&refused, Err(NotFilled::Wrong(why)) if why.contains("besides")));
        // One that has no room even alone, and more than may come at a time.
        let large = json!({ "events": [1, { "value": 2, "note": "x".repeat(PAYLOAD_BYTES) }] });
        let many = json!({ "events": vec![1; limits::SIGNAL_POST + 1] });
        for (bad, of_size) in [(large, true), (many, false)] {
            let Value::Object(payload) = bad else { panic!() };
            match signals.session().fill("t", payload, Wall(0)) {
                Err(NotFilled::Draft(_)) => assert!(of_size),
                Err(NotFilled::TooMany) => assert!(!of_size),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(status(&bus, "t")["total_events"], 5_000);
    }

    #[test]
    fn samples_from_outside_are_numbered_judged_and_counted() {
        let bus = bus();
        let signals = Signals::alone(Arc::clone(&bus));
        let first = post(&signals, json!({ "events": [0, 1, { "value": 0 }, 1] }), true);
        assert_eq!((&first["events"][3]["seq"], &first["totals"]["events"]), (&json!(3), &json!(4)));
        // What was not published is not counted.
        post(&signals, json!({ "events": [9] }), false);
        let second = post(
            &signals,
            json!({ "events": [2.5, null, { "value": 0, "anomaly": true, "z": -7.5 }] }),
            true,
        );
        let events = &second["events"];
        assert_eq!(
            (&events[0]["seq"], &events[0]["z"], &events[0]["anomaly"]),
            (&json!(4), &json!(4.0), &json!(true))
        );
        assert_eq!((&events[1]["value"], &events[1]["anomaly"]), (&Value::Null, &json!(false)));
        assert_eq!(events[2]["z"], -7.5, "what the publisher says stays");
        assert_eq!(second["totals"], json!({ "events": 7, "anomalies": 2 }));
        let status = status(&bus, "t");
        assert_eq!((&status["total_events"], &status["source"]), (&json!(7), &json!("outside")));
        assert_eq!(
            signals.recent("t").map(|((e, all), since, n)| (e.len(), all, since, n)),
            Some((7, true, 0, 7))
        );
    }

    #[test]
    fn counting_goes_on_after_a_restart() {
        let bus = bus();
        post(&Signals::alone(Arc::clone(&bus)), json!({ "events": [1, 2, 3] }), true);
        let again = post(&Signals::alone(Arc::clone(&bus)), json!({ "events": [4] }), true);
        assert_eq!((&again["events"][0]["seq"], &again["totals"]["events"]), (&json!(3), &json!(4)));
    }

    #[test]
    fn what_is_no_sample_is_refused() {
        let signals = Signals::alone(bus());
        for bad in [
            json!({ "events": ["x"] }),
            json!({ "events": [{ "value": "high" }] }),
            json!({ "events": [{ "t": 3 }] }),
            json!({ "events": [{ "seq": -1 }] }),
        ] {
            let Value::Object(payload) = bad else { panic!() };
            match signals.session().fill("t", payload, Wall(0)) {
                Err(NotFilled::Wrong(why)) => assert!(why.starts_with("sample 0"), "{why}"),
                other => panic!("{other:?}"),
            }
        }
    }

    /// The number after the greatest there is was computed: a panic, or numbering from 0 again.
    #[test]
    fn a_number_beyond_all_bounds_is_refused() {
        let bus = bus();
        let signals = Signals::alone(Arc::clone(&bus));
        let refused = |bad: Value| {
            let Value::Object(payload) = bad else { panic!() };
            match signals.session().fill("t", payload, Wall(0)) {
                Err(NotFilled::Wrong(why)) => assert!(why.contains("seq"), "{why}"),
                other => panic!("{other:?}"),
            }
        };
        for seq in [u64::MAX, MOST_SEQ + 1] {
            refused(json!({ "events": [{ "value": 1, "seq": seq }] }));
        }
        post(&signals, json!({ "events": [{ "value": 1, "seq": MOST_SEQ }] }), true);
        refused(json!({ "events": [1] }));
    }

    #[test]
    fn commands_are_weighed() {
        let bus = bus();
        let signals = Signals::alone(Arc::clone(&bus));
        let mut signal = signals.restored("a");
        signal.generator = Some(Generator::new(1, "a"));
        let mut ask = |action: &str, params: Value, may_reset: bool| {
            let params = params.as_object().unwrap().clone();
            let command = Command {
                id: "c".into(),
                target: "signal/a".into(),
                action: action.into(),
                params,
                by: None,
                reason: None,
            };
            signal.may_reset = may_reset;
            signal.obey("a", &command, &bus)?;
            Ok::<_, String>((signal.live, signal.totals.events, signal.since, signal.rolling.window()))
        };
        assert_eq!(ask("batch", json!({ "batch_size": 7 }), false), Ok((false, 7, 0, 4)));
        assert_eq!(ask("live", json!({ "on": true, "interval_s": 60 }), false), Ok((true, 7, 0, 4)));
        assert!(ask("batch", json!({}), false).unwrap_err().contains("is live"));
        assert!(ask("live", json!({}), false).unwrap_err().contains("expected \"on\""));
        assert!(
            ask("live", json!({ "on": true, "interval_s": 0.5 }), false)
                .unwrap_err()
                .contains("from 1 to 60")
        );
        assert_eq!(ask("settings", json!({ "window": 9, "threshold": 2 }), false), Ok((true, 7, 0, 9)));
        assert!(ask("reset", json!({ "confirm": "a" }), false).unwrap_err().contains("allow_reset"));
        assert!(ask("reset", json!({}), true).unwrap_err().contains("confirm"));
        assert_eq!(ask("reset", json!({ "confirm": "a" }), true), Ok((true, 0, 7, 9)));
    }
}
