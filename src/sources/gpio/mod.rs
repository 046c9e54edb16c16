//! Pins: inputs through [`Pins`], one thread for all of them, and outputs on another (`output`).
//!
//! **Promises.** Every edge the kernel reports is counted, in its order for each pin; it is told alone or together with
//! others (`records`). Edges the kernel or the hardware lost are counted (`lost_edges`), never made up: a gap in the
//! kernel's numbering counts, and once a second each level is read again; when it is not the one that counts and no
//! edge explains it, the level that was read is taken over as a level, not as an edge. **Signals** interrupt a wait,
//! which is then repeated (see [`super::hardware`]). **Bounds.** A pin with more edges than its `flood` is parked, with
//! an alert, for a minute and then longer and longer (`flood`); what a pin says is published at most once in its
//! `interval`, the newest level counts.
//! Both edges are always asked of the kernel, whichever are published: the level must be right in any case.

mod debounce;
mod flood;
mod meter;
mod output;
mod records;

pub use self::output::Held;
pub(super) use self::output::OutputSource;

use self::debounce::{Change, Debouncer};
use self::flood::Flood;
use self::meter::Meter;
use self::output::{LEVEL, level_of};
use self::records::{Batch, Records};
use super::fold::{Feed, Fold, publish_on};
use super::hardware::{OpenPins, PinEvent, Pins, PinsError};
use super::inputs::Until;
use super::instruments::{ChannelOffer, Instruments, Offer, Outcome, Request};
use super::monotonic;
use super::publish::Report;
use super::reading::{Reading, Value};
use crate::alerts::Alerts;
use crate::bus::Bus;
use crate::clock::Wall;
use crate::config::{Edge, EdgeRecords, GpioPin, Measure, Sink};
use crate::limits;
use crate::model::{CommandState, QualityReason, Severity, SourceState};
use serde_json::{Map, json};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The longest wait for an edge: how late a stop is noticed.
const WAIT: Duration = Duration::from_millis(200);
/// How often levels are read again, refused pins tried again and counters told; an alert changes no more often.
const CHECK: Duration = Duration::from_secs(1);
/// How long an edge that explains another level may be under way.
const CONFIRM: Duration = Duration::from_millis(10);
/// How often a chip that failed is opened again, at most.
const RETRY_MOST: Duration = Duration::from_secs(60);

/// What the pins of a configuration speak to.
#[derive(Clone)]
pub(super) struct Desk {
    pub bus: Arc<Bus>,
    pub fold: Arc<Fold>,
    pub alerts: Arc<Alerts>,
    pub instruments: Arc<Instruments>,
}

/// All the inputs of a configuration.
pub(super) struct GpioSource {
    lines: Vec<Line>,
    /// Which line has a pin.
    by_pin: [Option<u8>; 256],
    opener: Arc<dyn OpenPins>,
    desk: Desk,
}

/// One input.
struct Line {
    config: GpioPin,
    feed: Option<Feed>,
    report: Report,
    standing: Standing,
    debouncer: Debouncer,
    meter: Meter,
    records: Records,
    flood: Flood,
    /// Since when it has not flooded.
    calm_since: Duration,
    /// The kernel's number of the last edge; it starts at 1.
    seqno: u32,
    /// Edges that count, and how many of them were told by their count.
    edges: u64,
    counted: u64,
    lost: u64,
    /// Losses found by reading the level again, which a later gap in the numbers will show once more.
    owed: u32,
    /// The last check found another level; it must outlive one more wait.
    suspect: bool,
    /// What it says has changed since it was published then.
    unsaid: Option<Duration>,
    published: Option<Duration>,
    /// Something was counted since the counters were told.
    touched: bool,
    /// The last rate that was told was none.
    still: bool,
    /// Whether its alert is raised, and since when it is so.
    alert: Option<(bool, Duration)>,
    said: Option<String>,
    /// The alert of its loss is raised.
    missed: bool,
    /// What whoever asks for it is told.
    known: Arc<Mutex<Known>>,
}

/// An input as it stands, for those who ask.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    active: bool,
    /// How often it became active.
    count: u64,
    is_read: bool,
}

impl Known {
    fn answer(self, request: &Request) -> Outcome {
        let rejected = |why: String| Outcome::not(CommandState::Rejected, why);
        let Request::Read { channels } = request else {
            return rejected("an input can only be read".into());
        };
        if !self.is_read {
            return Outcome::not(CommandState::Failed, "device_error: the input is not read now");
        }
        let mut readings = Vec::new();
        for name in channels {
            let value = match name.as_str() {
                LEVEL => f64::from(u8::from(self.active)),
                COUNT => self.count as f64,
                other => {
                    return rejected(format!("{other:?} is no channel of an input; expected level or count"));
                }
            };
            readings.push(Reading { name: name.clone(), value: Value::Number(value), unit: None });
        }
        Outcome::done(readings)
    }
}

/// How often an input became active, as a channel.
const COUNT: &str = "count";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Claimed,
    Refused,
    Parked,
}

/// One moment on both clocks.
#[derive(Clone, Copy)]
struct Now {
    mono: Duration,
    wall: Wall,
}

impl Now {
    fn read() -> Now {
        Now { mono: monotonic(), wall: Wall::now() }
    }

    /// The wall time of a moment before this one.
    fn wall_of(self, at: Duration) -> Wall {
        Wall(self.wall.0.saturating_sub(self.mono.saturating_sub(at).as_millis() as u64))
    }
}

impl GpioSource {
    /// The inputs among `pins`; their targets are announced at once. None: there are none.
    pub fn new(pins: &[GpioPin], opener: Arc<dyn OpenPins>, desk: Desk) -> Option<Self> {
        let inputs = pins.iter().filter(|pin| pin.output.is_none());
        let lines: Vec<Line> = inputs.take(limits::GPIO_PINS).cloned().map(Line::new).collect();
        let mut by_pin = [None; 256];
        for (n, line) in lines.iter().enumerate() {
            if let Some(feed) = &line.feed {
                desk.fold.expect(feed);
            }
            by_pin[usize::from(line.config.pin)] = u8::try_from(n).ok();
        }
        (!lines.is_empty()).then_some(GpioSource { lines, by_pin, opener, desk })
    }

    /// Serves the pins until it is over.
    pub fn run(mut self, until: &Until) {
        for line in &self.lines {
            let id = line.config.id.clone();
            let known = Arc::clone(&line.known);
            let count = ChannelOffer { name: COUNT.into(), readable: true, ..ChannelOffer::default() };
            let channels = vec![level_of(LEVEL, false), count];
            let offer = Offer { name: id.clone(), id, channels, ..Offer::default() };
            self.desk.instruments.offer_known(offer, move |request| {
                let known = *known.lock().unwrap_or_else(|e| e.into_inner());
                known.answer(request)
            });
        }
        self.serve_all(until);
        for line in &self.lines {
            self.desk.instruments.withdraw(&line.config.id);
        }
    }

    fn serve_all(&mut self, until: &Until) {
        let mut retry = CHECK;
        let mut said = String::new();
        while !until.is_over() {
            let failed = match self.opener.open() {
                Ok(mut pins) => {
                    said.clear();
                    retry = CHECK;
                    match self.serve(&mut *pins, until) {
                        Ok(()) => break,
                        Err(e) => e.to_string(),
                    }
                }
                Err(PinsError::NoBoard) => {
                    let n = self.lines.len();
                    log::warn!(
                        "gpio is absent: {}; {n} configured inputs are reported absent",
                        PinsError::NoBoard
                    );
                    self.all(SourceState::Absent, &PinsError::NoBoard.to_string());
                    return;
                }
                Err(e) => e.to_string(),
            };
            if failed != said {
                self.desk.bus.metrics.source_errors_total.inc();
                log::error!("gpio can't be used: {failed}; trying again");
                said.clone_from(&failed);
            }
            self.all(SourceState::Error, &failed);
            for line in &mut self.lines {
                line.miss(&failed, &self.desk);
            }
            if until.wait(retry) {
                break;
            }
            retry = (retry * 3 / 2).min(RETRY_MOST);
        }
        for line in &mut self.lines {
            if let Some(batch) = line.records.rest() {
                line.tell_batch(&batch, Now::read(), &self.desk);
            }
        }
        // A reload, not the end: whatever is configured next must not be taken for these.
        if !until.daemon.is_stopped() {
            self.all(SourceState::Disabled, "the configuration was loaded again");
        }
    }

    /// All pins are in this state.
    fn all(&mut self, state: SourceState, why: &str) {
        for line in &mut self.lines {
            line.report.state(state);
            line.report.faults(u64::from(state == SourceState::Error), 0, Some(why));
            line.report.flush(&self.desk.bus);
            line.lost_to(QualityReason::NotConnected, &self.desk);
            line.standing = Standing::Refused;
            line.know();
        }
    }

    fn serve(&mut self, pins: &mut dyn Pins, until: &Until) -> io::Result<()> {
        let desk = &self.desk;
        for line in &mut self.lines {
            line.standing = Standing::Refused;
            line.claim(pins, desk);
        }
        let mut check = monotonic() + CHECK;
        let mut events = Vec::new();
        let (mut look, mut confirm) = (false, false);
        while !until.is_over() {
            let now = monotonic();
            let due = self.lines.iter().filter_map(Line::deadline).chain([check]).min();
            // Whole milliseconds, upwards: the chip's clock for waiting is no finer, and 0 would spin.
            let wait = due.map_or(WAIT, |due| due.saturating_sub(now)).min(WAIT);
            let wait = match (confirm, look) {
                (true, _) => CONFIRM,
                (_, true) => Duration::ZERO,
                _ => Duration::from_millis(wait.as_micros().div_ceil(1000) as u64),
            };
            events.clear();
            pins.wait(wait, &mut events)?;
            let now = Now::read();
            for event in &events {
                let line = self.by_pin.get(usize::from(event.pin)).copied().flatten();
                if let Some(line) = line.and_then(|n| self.lines.get_mut(usize::from(n))) {
                    line.edge(*event, now, pins, desk);
                }
            }
            for line in &mut self.lines {
                line.pass(now, desk);
                line.know();
            }
            // Levels are only compared when no edge is waiting to be read: it would explain the difference.
            if events.is_empty() && (look || confirm) {
                (look, confirm) = (false, false);
                for line in &mut self.lines {
                    confirm |= line.check(pins, now, desk);
                }
            }
            if now.mono >= check {
                check = now.mono + CHECK;
                look = true;
                for line in &mut self.lines {
                    line.every_second(now, pins, desk);
                }
            }
        }
        Ok(())
    }
}

impl Line {
    fn new(config: GpioPin) -> Self {
        let feed = config.sink.clone().map(|sink| Feed {
            source: config.id.clone(),
            sink,
            name: None,
            timeout: None,
            several: false,
        });
        let mut report = Report::new(&config.id, "gpio", CHECK);
        report.detail("pin", config.pin);
        Line {
            debouncer: Debouncer::new(config.debounce, false),
            meter: Meter::new(config.window),
            records: Records::default(),
            flood: Flood::new(config.flood),
            calm_since: Duration::ZERO,
            config,
            feed,
            report,
            standing: Standing::Refused,
            seqno: 0,
            edges: 0,
            counted: 0,
            lost: 0,
            owed: 0,
            suspect: false,
            unsaid: None,
            published: None,
            touched: false,
            still: true,
            alert: None,
            said: None,
            missed: false,
            known: Arc::default(),
        }
    }

    /// Brings what those are told who ask up to date.
    fn know(&self) {
        let known = Known {
            active: self.active(),
            count: self.meter.count,
            is_read: self.standing == Standing::Claimed,
        };
        *self.known.lock().unwrap_or_else(|e| e.into_inner()) = known;
    }

    /// When it has something to do though no edge comes.
    fn deadline(&self) -> Option<Duration> {
        [self.debouncer.deadline(), self.records.deadline(), self.unsaid].into_iter().flatten().min()
    }

    /// Takes the pin, reads it, and tells its level.
    fn claim(&mut self, pins: &mut dyn Pins, desk: &Desk) {
        let level = match pins.claim(self.config.pin, self.config.pull) {
            Ok(()) => pins.level(self.config.pin).unwrap_or(false),
            Err(e) => {
                let said = e.to_string();
                if self.said.as_ref() != Some(&said) {
                    desk.bus.metrics.source_errors_total.inc();
                    log::error!("gpio {}: pin {} can't be used: {said}", self.config.id, self.config.pin);
                    self.report.faults(1, 0, Some(&said));
                    self.miss(&said, desk);
                    self.said = Some(said);
                }
                self.standing = Standing::Refused;
                self.report.state(SourceState::Error);
                self.report.flush(&desk.bus);
                return;
            }
        };
        log::info!(
            "gpio {}: pin {} is {}",
            self.config.id,
            self.config.pin,
            if level { "high" } else { "low" }
        );
        let now = Now::read();
        self.said = None;
        self.standing = Standing::Claimed;
        self.seqno = 0;
        self.debouncer = Debouncer::new(self.config.debounce, level);
        self.meter.broken();
        self.flood.taken(now.mono);
        self.calm_since = now.mono;
        self.report.faults(0, 0, None);
        self.report.state(SourceState::Ok);
        if std::mem::take(&mut self.missed) {
            let id = &self.config.id;
            desk.alerts.clear(&format!("source.{id}"), &format!("The input {id} is read again."));
        }
        self.tell_level("start", now, desk);
        self.tell_counters(now, desk);
    }

    /// An edge from the kernel.
    fn edge(&mut self, event: PinEvent, now: Now, pins: &mut dyn Pins, desk: &Desk) {
        if self.standing != Standing::Claimed {
            return;
        }
        self.suspect = false;
        self.touched = true;
        let gap = event.seqno.wrapping_sub(self.seqno).wrapping_sub(1);
        self.seqno = event.seqno;
        // More than half the range is a number that went back: not a count of anything.
        let gap = if gap > u32::MAX / 2 { 0 } else { gap };
        self.lose(u64::from(gap.saturating_sub(self.owed)));
        self.owed = 0;
        for change in self.debouncer.edge(event.rising, event.at).into_iter().flatten() {
            self.changed(change, now, desk);
        }
        if let Some(time) = self.flood.edges(gap.saturating_add(1), event.at) {
            self.park(time, pins, desk);
        }
    }

    fn lose(&mut self, edges: u64) {
        if edges > 0 {
            self.lost += edges;
            self.meter.broken();
        }
    }

    /// A level that counts, with its edge.
    fn changed(&mut self, change: Change, now: Now, desk: &Desk) {
        let wanted = match self.config.edge {
            Edge::Both => true,
            Edge::Rising => change.high,
            Edge::Falling => !change.high,
        };
        self.edges += u64::from(wanted);
        self.meter.changed(change.high != self.config.active_low, change.at);
        let Some(Sink::Topic(_)) = &self.config.sink else { return self.say(now, desk) };
        if wanted && self.config.edges == EdgeRecords::Each {
            let told = self.records.edge(change.high, change.at);
            if let Some(batch) = &told.before {
                self.tell_batch(batch, now, desk);
            }
            if told.alone {
                let mut payload = self.level(now.wall_of(change.at));
                payload.insert("edge".into(), if change.high { "rising" } else { "falling" }.into());
                payload.insert("count".into(), self.edges.into());
                payload.insert("timestamp_mono_ns".into(), (change.at.as_nanos() as u64).into());
                self.publish("edge", &payload, desk);
            }
        }
        self.say(now, desk);
    }

    /// Time has passed.
    fn pass(&mut self, now: Now, desk: &Desk) {
        if let Some(change) = self.debouncer.tick(now.mono) {
            self.changed(change, now, desk);
        }
        if let Some(batch) = self.records.due(now.mono) {
            self.tell_batch(&batch, now, desk);
        }
        if self.unsaid.is_some_and(|due| now.mono >= due) {
            self.say(now, desk);
        }
        if self.touched && self.report.is_due(now.mono) {
            self.tell_counters(now, desk);
        }
    }

    fn every_second(&mut self, now: Now, pins: &mut dyn Pins, desk: &Desk) {
        match self.standing {
            Standing::Refused => self.claim(pins, desk),
            Standing::Parked if self.flood.is_over(now.mono) => self.claim(pins, desk),
            _ => {}
        }
        if self.standing == Standing::Claimed {
            if self.flood.is_well_again(now.mono) {
                let id = &self.config.id;
                desk.alerts.clear(&format!("gpio.{id}.flood"), &format!("The input {id} is calm again."));
            }
            self.flood.forgive(now.mono.saturating_sub(self.calm_since));
            // A rate falls by itself, and what is counted is told now and then.
            let falls = self.config.value == Measure::Rate && !self.still;
            let counts = self.config.edges == EdgeRecords::Count && self.counted != self.edges;
            if falls || counts {
                self.say(now, desk);
            }
        }
        self.tell_counters(now, desk);
    }

    /// Says what it has to say, when it is time; remembers it otherwise.
    fn say(&mut self, now: Now, desk: &Desk) {
        if let Some(last) = self.published
            && now.mono.saturating_sub(last) < self.interval()
        {
            self.unsaid = Some(last + self.interval());
            return;
        }
        self.published = Some(now.mono);
        self.unsaid = None;
        self.watch(now, desk);
        match &self.config.sink {
            Some(Sink::Recorder(_) | Sink::Instrument(_) | Sink::Stream(_)) => {
                let reading = self.reading(now);
                if let Some(feed) = &self.feed {
                    desk.fold.update(feed, &[reading], now.wall);
                }
            }
            Some(_) if self.config.edges == EdgeRecords::Count && self.counted != self.edges => {
                let mut payload = self.level(now.wall);
                payload.insert("edges".into(), (self.edges - self.counted).into());
                payload.insert("count".into(), self.edges.into());
                payload.insert("pulses".into(), self.meter.count.into());
                payload.insert("rate_hz".into(), round(self.meter.rate(now.mono)).into());
                self.counted = self.edges;
                self.publish("edge_count", &payload, desk);
            }
            _ => {}
        }
    }

    /// The least time between two things it says.
    fn interval(&self) -> Duration {
        match self.config.edges {
            EdgeRecords::Each => self.config.interval,
            EdgeRecords::Count => self.config.interval.max(CHECK),
        }
    }

    /// Its alert, if it has one: at once, and then at most once a second.
    fn watch(&mut self, now: Now, desk: &Desk) {
        let Some(alert) = &self.config.alert else { return };
        let active = self.debouncer.high() != self.config.active_low;
        match self.alert {
            Some((raised, _)) if raised == active => return,
            Some((_, since)) if now.mono.saturating_sub(since) < CHECK => {
                self.unsaid = Some(since + CHECK);
                return;
            }
            _ => self.alert = Some((active, now.mono)),
        }
        let id = format!("gpio.{}", self.config.id);
        if active {
            desk.alerts.raise(&id, alert.severity, &alert.message, &alert.guidance);
        } else {
            desk.alerts.clear(&id, &format!("{}: no longer.", alert.message));
        }
    }

    /// A level that was read, without an edge.
    fn tell_level(&mut self, reason: &str, now: Now, desk: &Desk) {
        if let Some(Sink::Topic(_)) = &self.config.sink {
            let mut payload = self.level(now.wall);
            payload.insert("reason".into(), reason.into());
            self.publish("level", &payload, desk);
        }
        self.published = None;
        self.say(now, desk);
    }

    fn tell_batch(&mut self, batch: &Batch, now: Now, desk: &Desk) {
        let mut payload = self.level(now.wall_of(batch.last));
        payload.insert("edges".into(), batch.count.into());
        payload.insert("rising".into(), batch.rising.into());
        payload.insert("count".into(), self.edges.into());
        payload.insert("from".into(), json!(now.wall_of(batch.first)));
        payload.insert("first_mono_ns".into(), (batch.first.as_nanos() as u64).into());
        payload.insert("offsets_us".into(), json!(batch.offsets_us));
        self.publish("edge_batch", &payload, desk);
    }

    fn publish(&self, kind: &str, payload: &Map<String, serde_json::Value>, desk: &Desk) {
        if let Some(Sink::Topic(topic)) = &self.config.sink {
            publish_on(&desk.bus, kind, topic, payload);
        }
    }

    /// Reads the level again. True when it is another one and must be confirmed.
    fn check(&mut self, pins: &dyn Pins, now: Now, desk: &Desk) -> bool {
        let suspect = self.suspect;
        self.suspect = false;
        if self.standing != Standing::Claimed || !self.debouncer.is_quiet() {
            return false;
        }
        let Some(level) = pins.level(self.config.pin).filter(|level| *level != self.debouncer.high()) else {
            return false;
        };
        if !suspect {
            self.suspect = true;
            return true;
        }
        self.debouncer.correct(level);
        self.owed = self.owed.saturating_add(1);
        self.lose(1);
        self.tell_level("reread", now, desk);
        self.tell_counters(now, desk);
        false
    }

    fn park(&mut self, time: Duration, pins: &mut dyn Pins, desk: &Desk) {
        let (id, pin, most) = (&self.config.id, self.config.pin, self.config.flood);
        let why = format!("more than {most} edges a second: it chatters or floats; parked for {time:?}");
        log::error!("gpio {id}: pin {pin} has {why}");
        desk.bus.metrics.source_errors_total.inc();
        desk.alerts.raise(
            &format!("gpio.{id}.flood"),
            Severity::Major,
            &format!("The input {id} (pin {pin}) floods: more than {most} edges a second."),
            "Is the contact connected, and does the pin have a pull resistor? It is tried again by itself.",
        );
        pins.release(pin);
        self.standing = Standing::Parked;
        self.debouncer.correct(self.debouncer.high());
        self.meter.broken();
        self.report.state(SourceState::Disabled);
        self.report.faults(1, 0, Some(&why));
        if let Some(batch) = self.records.rest() {
            self.tell_batch(&batch, Now::read(), desk);
        }
        self.tell_counters(Now::read(), desk);
        self.lost_to(QualityReason::DeviceError, desk);
    }

    /// It can't be read: an alert, once an outage.
    fn miss(&mut self, why: &str, desk: &Desk) {
        if self.missed {
            return;
        }
        self.missed = true;
        let id = &self.config.id;
        desk.alerts.raise(
            &format!("source.{id}"),
            Severity::Major,
            &format!("The input {id} can't be read: {why}."),
            "See docs/hardware.md, Pins. It is tried again by itself.",
        );
    }

    fn lost_to(&mut self, why: QualityReason, desk: &Desk) {
        self.unsaid = None;
        self.published = None;
        if let Some(feed) = &self.feed {
            desk.fold.lost(feed, why);
        }
    }

    fn active(&self) -> bool {
        self.debouncer.high() != self.config.active_low
    }

    /// What the pin says to its recorder, instrument or stream.
    fn reading(&mut self, now: Now) -> Reading {
        let active = self.active();
        if let Some(Sink::Recorder(_)) = &self.config.sink {
            let word = if active {
                self.config.active.as_deref().unwrap_or("recording")
            } else {
                self.config.inactive.as_deref().unwrap_or("idle")
            };
            return Reading { name: "status".into(), value: Value::Text(word.into()), unit: None };
        }
        let (value, unit) = match self.config.value {
            Measure::Level => (Value::Number(f64::from(u8::from(active))), None),
            Measure::Count => (Value::Number(self.meter.count as f64), None),
            Measure::Rate => {
                let rate = round(self.meter.rate(now.mono));
                self.still = rate == 0.0;
                (Value::Number(rate), Some("Hz"))
            }
            Measure::Pulse => match self.meter.pulse {
                Some(pulse) => (Value::Number(millis(pulse.last)), Some("ms")),
                None => (Value::Missing(QualityReason::Initial), Some("ms")),
            },
        };
        let name = self.config.active.clone().unwrap_or_else(|| self.config.id.clone());
        Reading { name, value, unit: unit.map(str::to_string) }
    }

    fn level(&self, at: Wall) -> Map<String, serde_json::Value> {
        let mut payload = Map::new();
        payload.insert("source_id".into(), self.config.id.clone().into());
        payload.insert("timestamp".into(), json!(at));
        payload.insert("pin".into(), self.config.pin.into());
        payload.insert("level".into(), u8::from(self.debouncer.high()).into());
        payload.insert("active".into(), self.active().into());
        payload.insert("lost".into(), self.lost.into());
        payload
    }

    /// The counters of `source_status`, when something has changed.
    fn tell_counters(&mut self, now: Now, desk: &Desk) {
        self.touched = false;
        if self.standing == Standing::Refused {
            return self.report.flush(&desk.bus);
        }
        let mut all = vec![
            ("level", json!(u8::from(self.debouncer.high()))),
            ("active", json!(self.active())),
            ("edges", json!(self.edges)),
            ("pulses", json!(self.meter.count)),
            ("rate_hz", json!(round(self.meter.rate(now.mono)))),
            ("lost_edges", json!(self.lost)),
        ];
        if let Some(pulse) = self.meter.pulse {
            all.push(("pulse_ms", json!(millis(pulse.last))));
            all.push(("pulse_min_ms", json!(millis(pulse.shortest))));
            all.push(("pulse_max_ms", json!(millis(pulse.longest))));
        }
        let mut changed = false;
        for (name, value) in all {
            changed |= self.report.changes(name, value);
        }
        if changed {
            self.report.seen(now.wall);
        }
        self.report.flush(&desk.bus);
    }
}

/// A thousandth of a Hz is more than any of this is good for.
fn round(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

/// Milliseconds, to a microsecond.
fn millis(time: Duration) -> f64 {
    time.as_micros() as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::super::hardware::fake::FakePins;
    use super::*;
    use crate::bus::Start;
    use crate::config::{PinAlert, Pull};
    use crate::metrics::Metrics;
    use crate::threads::{self, Stop};
    use serde_json::Value as Json;
    use std::thread::JoinHandle;
    use std::time::Instant;

    fn pin(id: &str, number: u8, sink: Sink) -> GpioPin {
        GpioPin {
            id: id.into(),
            pin: number,
            pull: Pull::Up,
            active_low: true,
            sink: Some(sink),
            interval: Duration::ZERO,
            ..GpioPin::default()
        }
    }

    struct Running {
        bus: Arc<Bus>,
        instruments: Arc<Instruments>,
        until: Until,
        thread: Option<JoinHandle<()>>,
    }

    impl Running {
        fn start(pins: Vec<GpioPin>, board: &FakePins) -> Running {
            let bus =
                Arc::new(Bus::new(Start { epoch: 1, ..Start::default() }, Arc::new(Metrics::default())));
            let instruments = Arc::<Instruments>::default();
            let desk = Desk {
                instruments: Arc::clone(&instruments),
                bus: Arc::clone(&bus),
                fold: Arc::new(Fold::new(Arc::clone(&bus))),
                alerts: Arc::new(Alerts::new(Arc::clone(&bus))),
            };
            let source = GpioSource::new(&pins, Arc::new(board.clone()), desk).unwrap();
            let until = Until { daemon: Stop::default(), set: Stop::default() };
            let inner = until.clone();
            let thread = threads::spawn("gpio", 256 * 1024, move || source.run(&inner)).unwrap();
            Running { bus, instruments, until, thread: Some(thread) }
        }

        fn state(&self, key: &str) -> Json {
            let event = self.bus.state_of(key);
            event.map_or(Json::Null, |e| serde_json::from_str::<Json>(e.data()).unwrap()["payload"].clone())
        }

        fn records(&self, kind: &str) -> Vec<Json> {
            let all = self.bus.after(0, 100_000).unwrap();
            let ours = all.iter().filter(|e| &*e.kind == kind);
            ours.map(|e| serde_json::from_str::<Json>(e.data()).unwrap()["payload"].clone()).collect()
        }

        #[track_caller]
        fn until(&self, what: &str, mut check: impl FnMut(&Self) -> bool) {
            let start = Instant::now();
            while !check(self) {
                assert!(start.elapsed() < Duration::from_secs(10), "waited for {what}");
                std::thread::yield_now();
            }
        }

        fn end(&mut self) {
            self.until.set.stop();
            threads::join(self.thread.take().unwrap());
        }
    }

    impl Drop for Running {
        fn drop(&mut self) {
            if self.thread.is_some() {
                self.end();
            }
        }
    }

    #[test]
    fn an_edge_becomes_a_record_and_a_status() {
        let board = FakePins::default();
        let run = Running::start(vec![pin("door", 17, Sink::Topic("app/door".into()))], &board);
        run.until("the level at the start", |r| r.records("level").len() == 1);
        assert_eq!(board.claimed(17), Some(Pull::Up));
        let start = &run.records("level")[0];
        assert_eq!(
            (&start["level"], &start["active"], &start["reason"]),
            (&json!(1), &json!(false), &json!("start"))
        );
        board.set(17, false);
        board.set(17, true);
        run.until("two edges", |r| r.records("edge").len() == 2);
        let first = &run.records("edge")[0];
        assert_eq!(
            (&first["edge"], &first["active"], &first["count"], &first["pin"]),
            (&json!("falling"), &json!(true), &json!(1), &json!(17))
        );
        assert!(first["timestamp_mono_ns"].as_u64().unwrap() > 0);
        run.until("the counters", |r| r.state("source_status/door")["detail"]["edges"] == 2);
        assert_eq!(run.state("source_status/door")["status"], "ok");
    }

    #[test]
    fn an_input_is_an_instrument_that_is_read() {
        let board = FakePins::default();
        let run = Running::start(vec![pin("door", 17, Sink::Topic("app/door".into()))], &board);
        let read = |channels: &[&str]| {
            let channels = channels.iter().map(ToString::to_string).collect();
            let answer = run.instruments.ask("door", Request::Read { channels }).ok()?;
            answer.from.try_recv().ok()
        };
        let values = |channels: &[&str]| -> Option<Vec<Value>> {
            Some(read(channels)?.readings.into_iter().map(|reading| reading.value).collect())
        };
        let numbers = |level: f64, count: f64| Some(vec![Value::Number(level), Value::Number(count)]);
        run.until("it to be read", |_| values(&[LEVEL, COUNT]) == numbers(0.0, 0.0));
        board.set(17, false);
        run.until("the edge", |_| values(&[LEVEL, COUNT]) == numbers(1.0, 1.0));
        assert_eq!(read(&["colour"]).unwrap().state, CommandState::Rejected);
        let answer = run.instruments.ask("door", Request::Safe).unwrap();
        assert_eq!(answer.from.try_recv().unwrap().state, CommandState::Rejected);
    }

    #[test]
    fn every_sink_is_fed() {
        let board = FakePins::default();
        let mut channel = pin("valve", 6, Sink::Instrument("rig".into()));
        channel.active = Some("open".into());
        let pins = vec![
            pin("rec", 5, Sink::Recorder("r".into())),
            channel,
            pin("flow", 7, Sink::Stream("flow".into())),
        ];
        let run = Running::start(pins, &board);
        run.until("the start", |r| r.state("stream_value/flow")["value"] == 0.0);
        assert_eq!(run.state("recorder_status/r")["status"], "idle");
        for number in [5, 6, 7] {
            board.set(number, false);
        }
        run.until("the last", |r| r.state("stream_value/flow")["value"] == 1.0);
        assert_eq!(run.state("recorder_status/r")["status"], "recording");
        assert_eq!(run.state("instrument_status/rig")["channels"]["open"]["value"], 1.0);
    }

    #[test]
    fn edges_that_were_lost_are_counted_once_and_not_made_up() {
        let board = FakePins::default();
        let run = Running::start(vec![pin("p", 4, Sink::Topic("app/p".into()))], &board);
        run.until("the start", |r| r.records("level").len() == 1);
        // The kernel dropped two edges, the next one shows the gap.
        board.lose_edge(4);
        board.lose_edge(4);
        board.set(4, false);
        run.until("the gap", |r| r.state("source_status/p")["detail"]["lost_edges"] == 2);
        // An edge vanished and no further one comes: reading the level again finds it.
        board.set_silently(4, true);
        board.lose_edge(4);
        run.until("the re-read level", |r| r.records("level").len() == 2);
        let reread = &run.records("level")[1];
        assert_eq!(
            (&reread["reason"], &reread["level"], &reread["lost"]),
            (&json!("reread"), &json!(1), &json!(3))
        );
        // Its gap in the numbers is the same loss.
        board.set(4, false);
        run.until("the next edge", |r| r.records("edge").len() == 2);
        assert_eq!(run.records("edge")[1]["lost"], 3);
    }

    #[test]
    fn off_a_board_every_pin_is_absent() {
        let board = FakePins::absent();
        let mut run = Running::start(
            vec![pin("a", 4, Sink::Recorder("r".into())), pin("b", 5, Sink::Topic("app/b".into()))],
            &board,
        );
        run.until("absence", |r| r.state("source_status/b")["status"] == "absent");
        let a = run.state("source_status/a");
        assert_eq!(
            (&a["status"], &a["quality"], &a["quality_reason"]),
            (&json!("absent"), &json!("bad"), &json!("not_connected"))
        );
        assert_eq!(run.state("recorder_status/r")["status"], "offline");
        run.end();
    }

    #[test]
    fn a_pin_that_is_not_there_leaves_the_others_alone() {
        let board = FakePins::default();
        let run = Running::start(
            vec![pin("no", 64, Sink::Topic("app/n".into())), pin("yes", 5, Sink::Topic("app/y".into()))],
            &board,
        );
        run.until("the good one", |r| r.state("source_status/yes")["status"] == "ok");
        let no = run.state("source_status/no");
        assert_eq!((&no["status"], &no["last_error"]), (&json!("error"), &json!("this board has no pin 64")));
    }

    #[test]
    fn a_chip_that_fails_is_opened_again() {
        let board = FakePins::default();
        let run = Running::start(vec![pin("p", 4, Sink::Stream("s".into()))], &board);
        run.until("the start", |r| r.state("source_status/p")["status"] == "ok");
        board.fail();
        run.until("the fault", |r| r.state("stream_status/s")["status"] == "offline");
        run.until("the recovery", |r| r.state("source_status/p")["status"] == "ok");
        board.set(4, false);
        run.until("an edge", |r| r.state("stream_value/s")["value"] == 1.0);
    }

    #[test]
    fn a_flood_parks_its_pin_only() {
        let board = FakePins::default();
        let bad = GpioPin { flood: 100, ..pin("bad", 4, Sink::Stream("bad".into())) };
        let run = Running::start(vec![bad, pin("good", 5, Sink::Stream("good".into()))], &board);
        run.until("the start", |r| r.state("source_status/good")["status"] == "ok");
        for n in 0..=500 {
            board.set(4, n % 2 == 1);
        }
        run.until("the end of it", |r| r.state("source_status/bad")["status"] == "disabled");
        assert_eq!(board.claimed(4), None);
        let alert = run.state("alert/gpio.bad.flood");
        assert_eq!((&alert["state"], &alert["severity"]), (&json!("active"), &json!("MAJOR")));
        assert!(run.state("source_status/bad")["last_error"].as_str().unwrap().contains("parked for 60s"));
        board.set(5, false);
        run.until("the good one", |r| r.state("stream_value/good")["value"] == 1.0);
    }

    #[test]
    fn many_edges_are_told_together_and_none_is_lost() {
        let board = FakePins::default();
        let run = Running::start(vec![pin("p", 4, Sink::Topic("app/p".into()))], &board);
        run.until("the start", |r| r.records("level").len() == 1);
        for n in 0..300 {
            board.set(4, n % 2 == 1);
        }
        run.until("the rest", |r| !r.records("edge_batch").is_empty());
        let told: u64 = run.records("edge_batch").iter().map(|b| b["edges"].as_u64().unwrap()).sum();
        let alone = run.records("edge").len() as u64;
        assert_eq!((told + alone, alone), (300, u64::from(limits::GPIO_EDGES)));
        let last = run.records("edge_batch").pop().unwrap();
        assert_eq!((&last["count"], &last["lost"]), (&json!(300), &json!(0)));
        assert_eq!(last["offsets_us"].as_array().unwrap().len() as u64, last["edges"]);
    }

    #[test]
    fn counts_rates_and_pulses_are_measured() {
        let board = FakePins::default();
        let of = |id: &str, number, value| GpioPin { value, ..pin(id, number, Sink::Stream(id.into())) };
        let counted = GpioPin { edges: EdgeRecords::Count, ..pin("e", 7, Sink::Topic("app/e".into())) };
        let pins = vec![
            of("n", 4, Measure::Count),
            of("hz", 5, Measure::Rate),
            of("ms", 6, Measure::Pulse),
            counted,
        ];
        let run = Running::start(pins, &board);
        run.until("the start", |r| r.state("stream_value/ms")["quality_reason"] == "initial");
        for _ in 0..3 {
            for number in [4, 5, 6, 7] {
                board.set(number, false);
            }
            std::thread::sleep(Duration::from_millis(10));
            for number in [4, 5, 6, 7] {
                board.set(number, true);
            }
        }
        run.until("the count", |r| r.state("stream_value/n")["value"] == 3.0);
        run.until("the last pulse", |r| {
            r.state("stream_value/ms")["value"].as_f64().is_some_and(|ms| ms >= 10.0)
        });
        assert_eq!(
            (&run.state("stream_value/hz")["unit"], &run.state("stream_value/ms")["unit"]),
            (&json!("Hz"), &json!("ms"))
        );
        run.until("the counted edges", |r| {
            r.records("edge_count").iter().map(|c| c["edges"].as_u64().unwrap()).sum::<u64>() == 6
        });
        assert!(run.records("edge").is_empty());
        let end = run.records("edge_count").pop().unwrap();
        assert_eq!((&end["count"], &end["pulses"]), (&json!(6), &json!(3)));
        run.until("the counters", |r| r.state("source_status/hz")["detail"]["pulses"] == 3);
        run.until("rest", |r| r.state("stream_value/hz")["value"] == 0.0);
    }

    #[test]
    fn what_it_says_has_an_interval_and_the_newest_counts() {
        let board = FakePins::default();
        let slow = GpioPin { interval: Duration::from_millis(300), ..pin("s", 4, Sink::Stream("s".into())) };
        let run = Running::start(vec![slow], &board);
        run.until("the start", |r| r.state("stream_value/s")["value"] == 0.0);
        let begun = run.bus.head().seq;
        for n in 0..200 {
            board.set(4, n % 2 == 1);
        }
        board.set(4, false);
        run.until("the newest", |r| r.state("stream_value/s")["value"] == 1.0);
        let said = run.bus.after(begun, 10_000).unwrap();
        assert!(said.iter().filter(|e| &*e.kind == "stream_value").count() <= 2, "it says little");
    }

    #[test]
    fn an_alert_follows_the_pin() {
        let board = FakePins::default();
        let alert = PinAlert {
            severity: Severity::Minor,
            message: "The lid is open".into(),
            guidance: String::new(),
        };
        let lid = GpioPin { sink: None, alert: Some(alert), ..pin("lid", 4, Sink::Stream("x".into())) };
        let run = Running::start(vec![lid], &board);
        run.until("the start", |r| r.state("source_status/lid")["status"] == "ok");
        assert_eq!(run.state("alert/gpio.lid"), Json::Null);
        board.set(4, false);
        run.until("the alert", |r| r.state("alert/gpio.lid")["state"] == "active");
        assert_eq!(run.state("alert/gpio.lid")["message"], "The lid is open");
        // It chatters: the alert does not.
        for _ in 0..50 {
            board.set(4, true);
            board.set(4, false);
        }
        board.set(4, true);
        run.until("the end", |r| r.state("alert/gpio.lid")["state"] == "cleared");
        assert!(run.records("alert").len() <= 3, "{:?}", run.records("alert"));
    }

    #[test]
    fn an_outage_is_one_alert() {
        let board = FakePins::default();
        let run = Running::start(vec![pin("p", 4, Sink::Stream("s".into()))], &board);
        run.until("the start", |r| r.state("source_status/p")["status"] == "ok");
        board.fail();
        run.until("the alert", |r| r.state("alert/source.p")["state"] == "active");
        run.until("the recovery", |r| r.state("alert/source.p")["state"] == "cleared");
        assert_eq!(run.records("alert").len(), 2);
    }

    #[test]
    fn a_reload_says_that_the_old_ones_are_gone() {
        let board = FakePins::default();
        let mut run = Running::start(vec![pin("p", 4, Sink::Instrument("i".into()))], &board);
        run.until("the start", |r| r.state("instrument_status/i")["status"] == "connected");
        run.end();
        assert_eq!(run.state("instrument_status/i")["status"], "disconnected");
        assert_eq!(run.state("source_status/p")["status"], "disabled");
    }
}
