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
                        "gpio is absent: {}; all inputs ({n}) are reported absent",
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
mod tests;
