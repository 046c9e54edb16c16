//! Receivers and sensors that speak NMEA 0183. Pure.
//!
//! **Promises.** Every sentence with the right checksum is counted once, whatever is before, after or between, and none
//! is made up of the halves of two. What the `nmea` crate reads becomes values; the rest, proprietary or unknown, is
//! counted by its type. Values of one moment are published together, no more often than configured. Without a fix there
//! is no position and no time. Does not: set a clock, send anything, or read AIS.
//!
//! Sources: the description of the sentences at gpsd.gitlab.io/gpsd/NMEA.html (NMEA 0183 itself is not public); the trap
//! of merged sentences is told there too, and in the crate's `SENTENCE_MAX_LEN`.

use super::pending::ended;
use super::protocol::{Action, Protocol};
use crate::config;
use crate::limits;
use crate::model::{CommandState, QualityReason};
use crate::sources::instruments::Request;
use crate::sources::reading::{Reading, Value};
use chrono::{Datelike, Timelike};
use nmea::sentences::gsa::GsaMode2;
use nmea::sentences::mwv::{MwvReference, MwvWindSpeedUnits};
use nmea::sentences::rmc::RmcStatusOfFix;
use nmea::sentences::{FixType, GgaData, GnsData, RmcData};
use nmea::{ParseResult, parse_str};
use std::collections::BTreeMap;
use std::time::Duration;

/// A pause after which the sentences of one moment are complete: receivers send them in one go.
const PAUSE: Duration = Duration::from_millis(150);
/// A moment without a time of day and without a pause after it is over by then.
const MOMENT_MOST: Duration = Duration::from_secs(2);
/// A receiver's second is not always ours: this much of `interval` is enough.
const ENOUGH: f64 = 0.8;
/// Satellites of a system that has not been heard of for this long are not in view.
const IN_VIEW: Duration = Duration::from_secs(10);
/// GPS weeks roll over every 19.6 years; a receiver that got it wrong is years in the past. Earlier than this is no time.
const FIRST_YEAR: i32 = 2020;
/// Metres a second in a knot. Source: SI brochure, 9th edition, table 8 (of the 8th).
const KNOT: f64 = 1852.0 / 3600.0;

/// See the module above.
pub struct Nmea {
    config: config::Nmea,
    framer: Framer,
    open: bool,
    types: BTreeMap<String, u64>,
    types_told: bool,
    moment: Moment,
    /// While sentences wait to be published: when the first of them came, and when the last byte did.
    dirty: Option<(Duration, Duration)>,
    /// The values of a whole moment that wait for the interval.
    ready: Option<Vec<Reading>>,
    published: Option<Duration>,
    /// By talker: satellites in view, and when they were told.
    in_view: BTreeMap<String, (u16, Duration)>,
    date: Option<(i32, u32, u32)>,
}

/// What has been said of one moment.
#[derive(Debug, Default, PartialEq)]
struct Moment {
    /// The time of day as the sentences write it, in milliseconds.
    clock: Option<u32>,
    quality: Option<FixType>,
    /// Whether RMC or GLL calls it valid, where GGA and GNS are not sent.
    valid: Option<bool>,
    /// 0 for no fix, 2 or 3.
    dims: Option<u8>,
    /// By talker, satellites in view.
    in_view: BTreeMap<String, u16>,
    values: BTreeMap<&'static str, (Value, &'static str)>,
    said: bool,
}

impl Nmea {
    /// A reader for these settings.
    pub fn new(config: &config::Nmea) -> Self {
        Nmea {
            framer: Framer::new(config.max_sentence as usize, config.checksum == "required"),
            config: config.clone(),
            open: false,
            types: BTreeMap::new(),
            types_told: true,
            moment: Moment::default(),
            dirty: None,
            ready: None,
            published: None,
            in_view: BTreeMap::new(),
            date: None,
        }
    }

    fn take(&mut self, frame: Frame, now: Duration) -> Vec<Action> {
        let bad = |counter, line: Vec<u8>, why: &str| {
            vec![Action::Count(counter, 1), Action::Bad { line, why: why.to_string() }]
        };
        match frame {
            Frame::Good(text) => self.good(&text, now),
            Frame::Garbage(n) => vec![Action::Count("garbage_bytes", n)],
            Frame::Overlong(line) => {
                bad("overlong", line, &format!("is longer than {} bytes", self.config.max_sentence))
            }
            Frame::Cut(line) => bad("cut", line, "is cut off"),
            Frame::BadChecksum(line) => bad("bad_checksum", line, "has a wrong checksum"),
            Frame::NoChecksum(line) => bad("no_checksum", line, "has no checksum"),
        }
    }

    /// A sentence whose checksum is right.
    fn good(&mut self, text: &str, now: Duration) -> Vec<Action> {
        if is_merged(text) {
            let why = "is two sentences in one, though its checksum is right".to_string();
            return vec![Action::Count("merged", 1), Action::Bad { line: text.into(), why }];
        }
        let mut actions = vec![Action::Count("sentences", 1)];
        self.count_type(text);
        if text.starts_with('!') {
            actions.extend([Action::Count("other", 1), Action::Heard]);
            return actions;
        }
        if self.depth(text) || self.satellites_in_view(text) {
            actions.push(Action::Heard);
            self.touched(now);
            return actions;
        }
        let parsed = match parse_str(text) {
            Ok(parsed) => parsed,
            Err(nmea::Error::ParsingError(_)) if known(text).is_some() => {
                let why = "can't be read, though its checksum is right".to_string();
                actions.extend([Action::Count("unread", 1), Action::Bad { line: text.into(), why }]);
                return actions;
            }
            // A type that the crate does not know, a proprietary one, or a longer one than it takes.
            Err(_) => {
                actions.extend([Action::Count("other", 1), Action::Heard]);
                return actions;
            }
        };
        actions.push(Action::Heard);
        let clock = match &parsed {
            ParseResult::GGA(d) => d.fix_time,
            ParseResult::RMC(d) => d.fix_time,
            ParseResult::GNS(d) => d.fix_time,
            ParseResult::GLL(d) => d.fix_time,
            ParseResult::ZDA(d) => d.utc_time,
            _ => None,
        };
        let clock = clock.map(milliseconds);
        if clock.is_some() && self.moment.clock.is_some() && clock != self.moment.clock {
            actions.extend(self.complete(now));
        }
        if clock.is_some() {
            self.moment.clock = clock;
        }
        if self.merge(parsed) {
            self.touched(now);
        }
        actions
    }

    /// Something of value came.
    fn touched(&mut self, now: Duration) {
        let since = self.dirty.map_or(now, |(since, _)| since);
        self.dirty = Some((since, now));
    }

    /// When the present moment is over, if nothing more comes.
    fn over_at(&self) -> Option<Duration> {
        self.dirty.map(|(since, last)| (last + PAUSE).min(since + MOMENT_MOST))
    }

    fn count_type(&mut self, text: &str) {
        let name: String = text.chars().skip(1).take_while(|c| c.is_ascii_alphanumeric()).take(10).collect();
        let full = self.types.len() >= limits::NMEA_TYPES && !self.types.contains_key(&name);
        let name = if full { "others".to_string() } else { name };
        *self.types.entry(name).or_default() += 1;
        self.types_told = false;
    }

    /// Takes in what a sentence says of the present moment; false when there is nothing of value in it.
    fn merge(&mut self, parsed: ParseResult) -> bool {
        match parsed {
            ParseResult::GGA(data) => self.gga(&data),
            ParseResult::GNS(data) => self.gns(&data),
            ParseResult::RMC(data) => self.rmc(&data),
            ParseResult::GLL(data) => {
                self.moment.valid.get_or_insert(data.valid);
                self.position(data.latitude, data.longitude);
            }
            ParseResult::VTG(data) => {
                self.motion(data.speed_over_ground, data.true_course);
            }
            ParseResult::GSA(data) => {
                let dims = match data.mode2 {
                    GsaMode2::NoFix => 0,
                    GsaMode2::Fix2D => 2,
                    GsaMode2::Fix3D => 3,
                };
                // One GSA for each system: the best of them is what the fix is.
                self.moment.dims = self.moment.dims.max(Some(dims));
                if !self.moment.values.contains_key("hdop") {
                    self.put("hdop", exact(data.hdop), "");
                }
            }
            ParseResult::ZDA(data) => {
                self.date = data.utc_date().map(|date| (date.year(), date.month(), date.day()));
            }
            ParseResult::HDT(data) => self.put("heading", exact(data.heading), "deg"),
            ParseResult::MTW(data) => self.put("water_temperature", data.temperature, "degC"),
            ParseResult::MWV(data) if data.data_valid => {
                let speed =
                    exact(data.wind_speed).zip(data.wind_speed_units).map(|(speed, unit)| match unit {
                        MwvWindSpeedUnits::KilometersPerHour => speed / 3.6,
                        MwvWindSpeedUnits::MetersPerSecond => speed,
                        MwvWindSpeedUnits::Knots => speed * KNOT,
                        MwvWindSpeedUnits::MilesPerHour => speed * 0.447_04,
                    });
                let angle = match data.reference {
                    Some(MwvReference::Theoretical) => "wind_direction",
                    _ => "wind_angle",
                };
                self.put(angle, exact(data.wind_direction), "deg");
                self.put("wind_speed", speed.map(rounded), "m/s");
            }
            _ => return false,
        }
        self.moment.said = true;
        true
    }

    fn gga(&mut self, data: &GgaData) {
        self.moment.quality = data.fix_type;
        self.position(data.latitude, data.longitude);
        self.put("altitude", exact(data.altitude), "m");
        self.put("hdop", exact(data.hdop), "");
        self.satellites(data.fix_satellites.map(f64::from));
    }

    fn gns(&mut self, data: &GnsData) {
        // GGA tells more kinds of a fix.
        self.moment.quality = self.moment.quality.or(Some(data.faa_modes.into()));
        self.position(data.lat, data.lon);
        self.put("altitude", exact(data.alt), "m");
        self.put("hdop", exact(data.hdop), "");
        self.satellites(Some(f64::from(data.nsattelites)));
    }

    fn rmc(&mut self, data: &RmcData) {
        self.moment.valid = Some(data.status_of_fix != RmcStatusOfFix::Invalid);
        if data.status_of_fix == RmcStatusOfFix::Differential {
            self.moment.quality = self.moment.quality.or(Some(FixType::DGps));
        }
        self.position(data.lat, data.lon);
        self.motion(data.speed_over_ground, data.true_course);
        if let Some(date) = data.fix_date {
            self.date = Some((date.year(), date.month(), date.day()));
        }
    }

    fn satellites(&mut self, used: Option<f64>) {
        // GGA stops at 12 in old receivers; GNS does not.
        let before = self.moment.values.get("satellites_used").and_then(|(v, _)| v.as_number());
        let most = [before, used].into_iter().flatten().reduce(f64::max);
        self.put("satellites_used", most, "");
    }

    fn position(&mut self, lat: Option<f64>, lon: Option<f64>) {
        let on_earth = |lat: &f64, lon: &f64| lat.abs() <= 90.0 && lon.abs() <= 180.0;
        let place = lat.zip(lon).filter(|(lat, lon)| on_earth(lat, lon));
        let round = |degrees: f64| (degrees * 1e8).round() / 1e8;
        self.put("lat", place.map(|(lat, _)| round(lat)), "deg");
        self.put("lon", place.map(|(_, lon)| round(lon)), "deg");
    }

    fn motion(&mut self, knots: Option<f32>, course: Option<f32>) {
        if knots.is_some() || !self.moment.values.contains_key("speed") {
            self.put("speed", exact(knots).map(|knots| rounded(knots * KNOT)), "m/s");
        }
        if course.is_some() || !self.moment.values.contains_key("course") {
            self.put("course", exact(course), "deg");
        }
    }

    /// `$SDDPT,2.4,-0.5,...`: read here, as the crate refuses a sounder that counts from the keel.
    fn depth(&mut self, text: &str) -> bool {
        let mut fields = fields_of(text, "DPT");
        let mut number = || fields.next().and_then(|f| f.parse::<f64>().ok()).filter(|n| n.is_finite());
        let (Some(depth), offset) = (number(), number()) else { return false };
        self.put("depth", Some(rounded(depth + offset.unwrap_or(0.0))), "m");
        self.moment.said = true;
        true
    }

    /// `$GPGSV,3,1,10,...`: read here for the one number that is wanted of it; the crate refuses what u-blox sends for
    /// no satellites (`$GLGSV,1,1,00`). A system has a group for each signal, with the satellites of that signal: the
    /// largest is the system's.
    fn satellites_in_view(&mut self, text: &str) -> bool {
        let Some(n) = fields_of(text, "GSV").nth(2).and_then(|f| f.parse::<u16>().ok()) else { return false };
        let talker: String = text.chars().skip(1).take(2).collect();
        let most = self.moment.in_view.entry(talker).or_default();
        *most = n.min(999).max(*most);
        self.moment.said = true;
        true
    }

    fn put(&mut self, name: &'static str, number: Option<f64>, unit: &'static str) {
        let value = number.map_or(Value::Missing(QualityReason::Nan), Value::number);
        self.moment.values.insert(name, (value, unit));
    }

    /// The moment is over: its values are ready, and are published when it is time.
    fn complete(&mut self, now: Duration) -> Vec<Action> {
        self.dirty = None;
        let moment = std::mem::take(&mut self.moment);
        if moment.said {
            for (talker, n) in &moment.in_view {
                self.in_view.insert(talker.clone(), (*n, now));
            }
            self.in_view.retain(|_, (_, at)| now.saturating_sub(*at) < IN_VIEW);
            self.ready = Some(self.values_of(moment));
        }
        self.publish(now)
    }

    fn values_of(&self, moment: Moment) -> Vec<Reading> {
        let told = moment.quality.is_some() || moment.valid.is_some() || moment.dims.is_some();
        let has_fix = match (moment.quality, moment.valid) {
            (Some(quality), valid) => quality != FixType::Invalid && valid != Some(false),
            (None, Some(valid)) => valid,
            (None, None) => moment.dims.is_some_and(|dims| dims > 0),
        };
        let mut readings = Vec::new();
        let wanted = |name: &str| {
            self.config.values.is_empty() || self.config.values.iter().any(|wanted| wanted == name)
        };
        let mut add = |name: &str, value: Value, unit: &str| {
            if wanted(name) {
                let unit = (!unit.is_empty()).then(|| unit.to_string());
                readings.push(Reading { name: name.into(), value, unit });
            }
        };
        if told {
            let word = match moment.quality {
                _ if !has_fix => "none",
                Some(FixType::DGps) => "DGPS",
                Some(FixType::Pps) => "PPS",
                Some(FixType::Rtk) => "RTK",
                Some(FixType::FloatRtk) => "RTK float",
                Some(FixType::Estimated) => "estimated",
                Some(FixType::Manual) => "manual",
                Some(FixType::Simulation) => "simulated",
                _ => match moment.dims {
                    Some(2) => "2D",
                    Some(3) => "3D",
                    _ => "fix",
                },
            };
            add("fix", Value::Text(word.into()), "");
        }
        for (name, (value, unit)) in moment.values {
            let needs_fix = matches!(name, "lat" | "lon" | "altitude" | "speed" | "course" | "hdop");
            // What a receiver without a fix writes there is its last position, or nothing.
            let value =
                if needs_fix && told && !has_fix { Value::Missing(QualityReason::Nan) } else { value };
            add(name, value, unit);
        }
        if !moment.in_view.is_empty() {
            let all: u32 = self.in_view.values().map(|(n, _)| u32::from(*n)).sum();
            add("satellites_in_view", Value::Number(f64::from(all)), "");
        }
        if let (Some(clock), Some((year, month, day))) = (moment.clock, self.date)
            && told
        {
            let real = has_fix && year >= FIRST_YEAR;
            let time = real.then(|| rfc3339(year, month, day, clock));
            add("time", time.map_or(Value::Missing(QualityReason::Nan), Value::Text), "");
        }
        readings
    }

    fn publish(&mut self, now: Duration) -> Vec<Action> {
        if now < self.publish_from() {
            return Vec::new();
        }
        let Some(readings) = self.ready.take() else { return Vec::new() };
        self.published = Some(now);
        let mut actions = Vec::new();
        if !readings.is_empty() {
            actions.push(Action::Readings(readings));
        }
        if !std::mem::replace(&mut self.types_told, true) {
            actions.push(Action::Detail("sentence_types", serde_json::json!(self.types)));
        }
        actions
    }

    fn publish_from(&self) -> Duration {
        self.published.map_or(Duration::ZERO, |last| last + self.config.interval.mul_f64(ENOUGH))
    }
}

impl Protocol for Nmea {
    fn opened(&mut self, _now: Duration) -> Vec<Action> {
        self.framer.begin();
        self.open = true;
        self.moment = Moment::default();
        (self.dirty, self.ready) = (None, None);
        self.in_view.clear();
        self.date = None;
        Vec::new()
    }

    fn received(&mut self, bytes: &[u8], now: Duration) -> Vec<Action> {
        let mut actions = Vec::new();
        // A slow line takes longer for a sentence than the pause is long.
        if let Some((_, last)) = &mut self.dirty {
            *last = now;
        }
        for frame in self.framer.feed(bytes) {
            actions.extend(self.take(frame, now));
        }
        actions.extend(self.tick(now));
        actions
    }

    fn tick(&mut self, now: Duration) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.over_at().is_some_and(|over| now >= over) {
            actions.extend(self.complete(now));
        }
        actions.extend(self.publish(now));
        if !self.types_told && now >= self.publish_from() {
            // Only unknown sentences come: they are counted for people all the same.
            self.types_told = true;
            actions.push(Action::Detail("sentence_types", serde_json::json!(self.types)));
        }
        actions
    }

    fn wake(&self) -> Option<Duration> {
        let publish = self.ready.as_ref().map(|_| self.publish_from());
        [self.over_at(), publish].into_iter().flatten().min()
    }

    fn ask(&mut self, id: &str, _request: &Request, _now: Duration) -> Vec<Action> {
        vec![ended(id, CommandState::Rejected, Some("a receiver takes no commands".into()))]
    }

    fn actions(&self) -> Vec<&'static str> {
        Vec::new()
    }

    fn closed(&mut self) -> Vec<Action> {
        self.open = false;
        (self.dirty, self.ready) = (None, None);
        self.framer.finish().map(|frame| self.take(frame, Duration::ZERO)).unwrap_or_default()
    }
}

/// The fields of a sentence of this type, after its name; none of another.
fn fields_of<'t>(text: &'t str, kind: &str) -> impl Iterator<Item = &'t str> {
    let body = text.split('*').next().unwrap_or_default();
    let is_it = body.get(3..).is_some_and(|rest| rest.strip_prefix(kind).is_some_and(|r| r.starts_with(',')));
    body.split(',').skip(1).filter(move |_| is_it && !body.starts_with("$P"))
}

/// A number that was written with few digits, without what `f32` adds to them.
fn exact(number: Option<f32>) -> Option<f64> {
    number.and_then(|n| n.to_string().parse().ok())
}

fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

/// The time of day in milliseconds.
fn milliseconds(time: chrono::NaiveTime) -> u32 {
    time.num_seconds_from_midnight() * 1000 + time.nanosecond() / 1_000_000
}

fn rfc3339(year: i32, month: u32, day: u32, clock: u32) -> String {
    let (s, ms) = (clock / 1000, clock % 1000);
    let (h, m, s) = (s / 3600, s / 60 % 60, s % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{ms:03}Z")
}

/// Types that every receiver sends and the crate reads, with the most fields they have, the name counted. GSA has 12
/// satellites, or 24 with some receivers.
const KNOWN: [(&str, usize); 8] =
    [("GGA", 15), ("RMC", 14), ("GLL", 8), ("VTG", 10), ("GSA", 31), ("GSV", 21), ("GNS", 14), ("ZDA", 7)];

/// What their names begin with.
const TALKERS: [&str; 9] = ["GP", "GN", "GL", "GA", "GB", "BD", "GQ", "GI", "QZ"];

/// The type of a sentence that should be readable, and its most fields.
fn known(text: &str) -> Option<(&'static str, usize)> {
    let head = text.split(',').next()?.strip_prefix('$')?;
    KNOWN.into_iter().find(|(kind, _)| head.len() == 5 && head.ends_with(kind) && !head.starts_with('P'))
}

/// Two sentences run into one, with some of the fields and the line end between them lost, and a checksum that fits:
/// receivers were seen to send such.
fn is_merged(text: &str) -> bool {
    let Some((_, most)) = known(text) else { return false };
    let header = |field: &str| {
        let tail = field.get(field.len().saturating_sub(5)..).unwrap_or_default();
        let talker = tail.get(..2).is_some_and(|t| TALKERS.contains(&t));
        talker && tail.get(2..).is_some_and(|t| KNOWN.iter().any(|(kind, _)| *kind == t))
    };
    let mut fields = text.split(',').skip(1);
    text.split(',').count() > most || fields.any(header)
}

/// A piece of what came.
#[derive(Clone, Debug, PartialEq)]
enum Frame {
    /// With a right checksum; one is put on where none is required and none was sent.
    Good(String),
    /// So many bytes outside of sentences.
    Garbage(u64),
    Overlong(Vec<u8>),
    Cut(Vec<u8>),
    BadChecksum(Vec<u8>),
    NoChecksum(Vec<u8>),
}

/// Bytes into sentences: from `$` or `!` to the checksum, or to the line end where there is none.
#[derive(Debug)]
struct Framer {
    most: usize,
    required: bool,
    state: Hunt,
    garbage: u64,
}

#[derive(Debug, PartialEq)]
enum Hunt {
    /// Just opened: what comes up to the next line end or `$` may be the rest of a sentence.
    Joining,
    Outside,
    Inside(Vec<u8>),
    /// After a sentence that was too long, up to its end.
    Skipping,
}

impl Framer {
    fn new(most: usize, required: bool) -> Self {
        Framer { most, required, state: Hunt::Joining, garbage: 0 }
    }

    fn begin(&mut self) {
        (self.state, self.garbage) = (Hunt::Joining, 0);
    }

    /// The port is closed: the sentence that was under way.
    fn finish(&mut self) -> Option<Frame> {
        let state = std::mem::replace(&mut self.state, Hunt::Joining);
        self.garbage = 0;
        match state {
            Hunt::Inside(line) if is_sentence(&line) => Some(Frame::Cut(line)),
            _ => None,
        }
    }

    fn feed(&mut self, bytes: &[u8]) -> Vec<Frame> {
        let mut frames = Vec::new();
        for byte in bytes {
            self.byte(*byte, &mut frames);
        }
        // A talker that never sends a sentence is counted all the same.
        if self.garbage >= 4096 {
            frames.push(Frame::Garbage(std::mem::take(&mut self.garbage)));
        }
        frames
    }

    fn byte(&mut self, byte: u8, frames: &mut Vec<Frame>) {
        let line_end = matches!(byte, b'\r' | b'\n');
        match (&mut self.state, byte) {
            (Hunt::Inside(line), b'$') => {
                let line = std::mem::take(line);
                self.cut(line, frames);
                self.state = Hunt::Inside(vec![byte]);
            }
            (_, b'$') | (Hunt::Joining | Hunt::Outside, b'!') => {
                if self.garbage > 0 {
                    frames.push(Frame::Garbage(std::mem::take(&mut self.garbage)));
                }
                self.state = Hunt::Inside(vec![byte]);
            }
            (Hunt::Joining | Hunt::Skipping, _) if line_end => self.state = Hunt::Outside,
            (Hunt::Joining | Hunt::Skipping, _) => {}
            (Hunt::Outside, _) => self.garbage += u64::from(!line_end),
            (Hunt::Inside(line), _) if line_end => {
                let line = std::mem::take(line);
                self.state = Hunt::Outside;
                self.ended(line, frames);
            }
            (Hunt::Inside(line), b' '..=b'~') if line.len() < self.most => {
                line.push(byte);
                if let [.., b'*', high, low] = line[..]
                    && high.is_ascii_hexdigit()
                    && low.is_ascii_hexdigit()
                {
                    let line = std::mem::take(line);
                    self.state = Hunt::Outside;
                    self.judge(line, frames);
                }
            }
            (Hunt::Inside(line), b' '..=b'~') => {
                frames.push(Frame::Overlong(std::mem::take(line)));
                self.state = Hunt::Skipping;
            }
            // Neither text nor a line end: binary data, or noise.
            (Hunt::Inside(line), _) => {
                let line = std::mem::take(line);
                self.state = Hunt::Outside;
                self.garbage += 1;
                self.cut(line, frames);
            }
        }
    }

    /// The next one begins, or noise, before this one has ended.
    fn cut(&mut self, line: Vec<u8>, frames: &mut Vec<Frame>) {
        if is_sentence(&line) {
            frames.push(Frame::Cut(line));
        } else {
            self.garbage += line.len() as u64;
        }
    }

    /// A line end without a checksum before it.
    fn ended(&mut self, line: Vec<u8>, frames: &mut Vec<Frame>) {
        if !is_sentence(&line) {
            self.garbage += line.len() as u64;
        } else if line.contains(&b'*') {
            frames.push(Frame::BadChecksum(line));
        } else if self.required {
            frames.push(Frame::NoChecksum(line));
        } else {
            let text = String::from_utf8_lossy(&line).into_owned();
            let sum = checksum(line.get(1..).unwrap_or_default());
            frames.push(Frame::Good(format!("{text}*{sum:02X}")));
        }
    }

    /// A sentence with a checksum at its end.
    fn judge(&mut self, line: Vec<u8>, frames: &mut Vec<Frame>) {
        if !is_sentence(&line) {
            self.garbage += line.len() as u64;
            return;
        }
        if has_right_checksum(&line) {
            frames.push(Frame::Good(String::from_utf8_lossy(&line).into_owned()));
            return;
        }
        // `!` begins a sentence as well, but may also be text: where it makes a right one, it began one.
        let inner = line.iter().enumerate().skip(1).filter(|(_, b)| **b == b'!').map(|(at, _)| at);
        for at in inner {
            let (before, rest) = line.split_at(at);
            if is_sentence(rest) && has_right_checksum(rest) {
                self.cut(before.to_vec(), frames);
                frames.push(Frame::Good(String::from_utf8_lossy(rest).into_owned()));
                return;
            }
        }
        frames.push(Frame::BadChecksum(line));
    }
}

/// Whether it begins as a sentence does: two to ten capitals and digits, then a comma.
fn is_sentence(line: &[u8]) -> bool {
    let name = line.iter().skip(1).take_while(|b| b.is_ascii_uppercase() || b.is_ascii_digit()).count();
    (2..=10).contains(&name) && line.get(name + 1) == Some(&b',')
}

fn checksum(body: &[u8]) -> u8 {
    body.iter().fold(0, |sum, byte| sum ^ byte)
}

fn has_right_checksum(line: &[u8]) -> bool {
    let Some((body, sum)) = line.split_last_chunk::<3>() else { return false };
    let sum = std::str::from_utf8(sum.get(1..).unwrap_or_default()).ok();
    let sum = sum.and_then(|text| u8::from_str_radix(text, 16).ok());
    sum == body.get(1..).map(checksum)
}

#[cfg(test)]
mod tests;
