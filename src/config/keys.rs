//! Every key of the configuration in one table: name, type, default, meaning, and whether it takes effect without a
//! restart. The reader, the environment variables, `telltale check --keys`, `--effective` and docs/configuration.md all
//! come from it.

use super::types::{Config, Debounce, Edge, GpioPin, LineFormat, Mapping, Parity, Pull, SerialPort, Sink};
use super::value::{EDGES, PARITIES, PULLS, Setting, Type, UNBOUNDED, Value};
use crate::limits;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// One key of a `T`: of the whole configuration, of a `[[gpio]]`, a `[[serial]]` or one of its mappings.
pub struct Key<T> {
    /// The table it is in; empty at the top level.
    pub section: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its type and bounds.
    pub kind: Type,
    /// Whether it must be there.
    pub required: bool,
    /// Whether a change takes effect on reload; the others wait for the next start.
    pub live: bool,
    /// The default in words, where it isn't a value.
    pub default: Option<&'static str>,
    /// What it means, in one line.
    pub doc: &'static str,
    pub(super) get: fn(&T) -> Value,
    pub(super) set: fn(&mut T, Value),
}

impl<T> Key<T> {
    /// `store.commit`, or the name alone at the top level.
    pub fn path(&self) -> String {
        if self.section.is_empty() {
            self.name.to_string()
        } else {
            format!("{}.{}", self.section, self.name)
        }
    }

    /// The environment variable that overrides it, such as `TELLTALE_STORE_COMMIT`.
    pub fn variable(&self) -> String {
        format!("TELLTALE_{}", self.path().replace('.', "_").to_uppercase())
    }

    const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    const fn restart(mut self) -> Self {
        self.live = false;
        self
    }

    const fn default(mut self, words: &'static str) -> Self {
        self.default = Some(words);
        self
    }
}

impl<T: Default> Key<T> {
    /// The default as the file would have it, or in words.
    pub fn default_text(&self) -> String {
        if let Some(words) = self.default {
            return words.into();
        }
        if self.required {
            return "required".into();
        }
        self.kind.write(&(self.get)(&T::default())).unwrap_or_else(|| "not set".into())
    }
}

macro_rules! key {
    ($of:ty: $section:literal $name:literal, $kind:expr, $($field:ident).+, $doc:literal) => {
        Key {
            section: $section,
            name: $name,
            kind: $kind,
            required: false,
            live: true,
            default: None,
            doc: $doc,
            get: |c: &$of| Setting::value(&c.$($field).+),
            set: |c: &mut $of, v| Setting::put(&mut c.$($field).+, v),
        }
    };
}

/// A key whose value has keys of its own: the reader and the writer know it.
const fn apart<T>(section: &'static str, name: &'static str, kind: Type, doc: &'static str) -> Key<T> {
    Key {
        section,
        name,
        kind,
        required: false,
        live: true,
        default: None,
        doc,
        get: |_| Value::Nothing,
        set: |_, _| {},
    }
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}
const fn s(n: u64) -> Duration {
    Duration::from_secs(n)
}
const HOUR: Duration = s(3600);
const DAY: Duration = s(86_400);
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

/// Keys with one value, of the top level and the plain tables.
pub static KEYS: [Key<Config>; 23] = [
    key!(Config: "" "name", Type::Text(64), name, "Name of this box, shown in the page's header and title."),
    key!(Config: "" "listen", Type::Address, listen, "Address and port to serve on; \":8080\" is every IPv4 address of the box.").restart(),
    key!(Config: "" "data", Type::Path, data, "Folder of the database, the keys and the last good configuration.").restart(),
    key!(Config: "" "www", Type::Path, www, "Serve the page from this folder instead of the one built in (for developing it).").restart(),
    key!(Config: "" "bench", Type::Switch, bench, "Run the simulated bench.").restart().default("false, or true without a file"),
    key!(Config: "" "bench_seed", Type::Whole(0, UNBOUNDED), bench_seed, "Seed of the simulated bench: the same seed gives the same values.").restart(),
    key!(Config: "http" "connections", Type::Whole(4, 16_384), http.connections, "Connections that may have a thread at one time; at the cap the one idle longest is closed.").restart(),
    key!(Config: "http" "streams", Type::Whole(1, 65_536), http.streams, "Event streams that may be open at one time; a further one is told to come back later.").restart(),
    key!(Config: "http" "per_address", Type::Whole(1, 16_384), http.per_address, "Connections from one address that is not loopback.").restart(),
    key!(Config: "http" "hosts", Type::Names, http.hosts, "Names answered in Host, besides IP addresses, localhost, this host's name and its .local name.").restart(),
    key!(Config: "http" "origins", Type::Names, http.origins, "Origins of other pages that may read, and post with a key, such as \"https://panel.example\".").restart(),
    key!(Config: "access" "open_view", Type::Switch, access.open_view, "Whether anyone who reaches the port may look; acting always needs a key, except from loopback."),
    key!(Config: "access" "trust_loopback", Type::Switch, access.trust_loopback, "Whether this host itself needs no key; switch off behind a reverse proxy on the same host."),
    key!(Config: "store" "commit", Type::Duration(ms(10), s(60)), store.commit, "How long a record waits for others before it is written; longer spares the card, a power cut loses at most this much."),
    key!(Config: "store" "state_commit", Type::Duration(ms(10), HOUR), store.state_commit, "The same where only states changed."),
    key!(Config: "store" "cache", Type::Size(64 * KIB, 1024 * MIB), store.cache_bytes, "Memory for database pages.").restart(),
    key!(Config: "store" "keep", Type::Size(MIB, TIB), store.keep_bytes, "Records kept, in bytes; the oldest go first."),
    key!(Config: "store" "keep_age", Type::DurationOrNever(s(60), s(36_525 * 86_400)), store.keep_age, "Age at which records go; only while the clock is synchronised."),
    key!(Config: "push" "threads", Type::Whole(1, 16), push.threads, "Threads that write to readers.").restart().default("2, or 1 on a single core"),
    key!(Config: "push" "heartbeat", Type::Duration(ms(100), s(10)), push.heartbeat, "How often a silent stream says that it lives; the page calls a stream dead after 2.5 of these.").restart(),
    key!(Config: "push" "stall", Type::Duration(s(1), HOUR), push.stall, "A reader that takes no byte for this long is closed; it resumes where it was.").restart(),
    key!(Config: "host" "interval", Type::Duration(ms(500), HOUR), host.interval, "How often the health of the box is read."),
    key!(Config: "host" "disks", Type::Paths, host.disks, "Paths whose file systems are watched, besides that of the data folder."),
];

/// Keys of a `[[gpio]]`.
pub static GPIO_KEYS: [Key<GpioEntry>; 13] = [
    key!(GpioEntry: "gpio" "id", Type::Id, id, "Name of the source, unique among all sources.").required(),
    key!(GpioEntry: "gpio" "pin", Type::Whole(0, 27), pin, "BCM number: the number after \"GPIO\" on a pinout sheet, not the position on the header.").required(),
    key!(GpioEntry: "gpio" "pull", Type::Choice(PULLS), pull, "Bias resistor of the input."),
    key!(GpioEntry: "gpio" "active_low", Type::Switch, active_low, "Low means active, as with a contact to ground and pull = \"up\"."),
    key!(GpioEntry: "gpio" "edge", Type::Choice(EDGES), edge, "Which edges are published."),
    key!(GpioEntry: "gpio" "stable_for", Type::Duration(Duration::ZERO, s(60)), stable_for, "Debounce: a level counts once it has held this long. Not with ignore_after.").default("not set"),
    key!(GpioEntry: "gpio" "ignore_after", Type::Duration(Duration::ZERO, s(60)), ignore_after, "Debounce: the first edge counts at once, then none for this long. Not with stable_for.").default("not set"),
    key!(GpioEntry: "gpio" "recorder", Type::Id, recorder, "Becomes the status of this recorder."),
    key!(GpioEntry: "gpio" "instrument", Type::Id, instrument, "Becomes a channel of this instrument, 1 or 0."),
    key!(GpioEntry: "gpio" "stream", Type::Id, stream, "Becomes this value stream, 1 or 0."),
    key!(GpioEntry: "gpio" "topic", Type::Topic, topic, "Becomes events of type edge and level on this topic."),
    key!(GpioEntry: "gpio" "active", Type::Text(64), active, "With recorder: the status while active, such as \"recording\". With instrument: the name of the channel."),
    key!(GpioEntry: "gpio" "inactive", Type::Text(64), inactive, "With recorder: the status while not active, such as \"idle\"."),
];

/// Keys of a `[[serial]]`.
pub static SERIAL_KEYS: [Key<SerialEntry>; 18] = [
    key!(SerialEntry: "serial" "id", Type::Id, id, "Name of the source, unique among all sources.").required(),
    key!(SerialEntry: "serial" "device", Type::Path, device, "Such as \"/dev/serial/by-id/...\" (stays the same across sockets) or \"/dev/ttyAMA0\".").required(),
    key!(SerialEntry: "serial" "baud", Type::OneOf(BAUDS), baud, "Bits per second."),
    key!(SerialEntry: "serial" "data_bits", Type::Whole(5, 8), data_bits, "Data bits."),
    key!(SerialEntry: "serial" "parity", Type::Choice(PARITIES), parity, "Parity bit."),
    key!(SerialEntry: "serial" "stop_bits", Type::Whole(1, 2), stop_bits, "Stop bits."),
    key!(SerialEntry: "serial" "format", Type::Choice(&["json", "csv", "regex"]), format, "How a line is read: one JSON object, values between separators, or a regular expression.").required(),
    key!(SerialEntry: "serial" "separator", Type::Separator, separator, "With format = \"csv\": what stands between values.").default("\",\""),
    key!(SerialEntry: "serial" "pattern", Type::Pattern, pattern, "With format = \"regex\", then required: the expression; each named group is a value."),
    apart("serial", "map", Type::Mappings, "Which values are used and what they are called; without it every member, column or group under its own name.").default("[]"),
    key!(SerialEntry: "serial" "recorder", Type::Id, recorder, "The values are folded into the status of this recorder."),
    key!(SerialEntry: "serial" "instrument", Type::Id, instrument, "The values become channels of this instrument."),
    key!(SerialEntry: "serial" "stream", Type::Id, stream, "The value becomes this value stream; several values become {stream}.{name}."),
    key!(SerialEntry: "serial" "topic", Type::Topic, topic, "Each line becomes an event of type reading on this topic."),
    key!(SerialEntry: "serial" "name", Type::Text(128), name, "The name people see."),
    key!(SerialEntry: "serial" "stale_after", Type::Duration(ms(100), DAY), stale_after, "Silence after which its values are shown as stale."),
    key!(SerialEntry: "serial" "max_line", Type::Whole(16, 65_536), max_line, "Longest line in bytes; a longer one is counted and skipped."),
    key!(SerialEntry: "serial" "hello", Type::Text(1024), hello, "Sent when the port has been opened, such as \"*IDN?\\n\"."),
];

/// Keys of a mapping: `map = [{ from = "t", to = "temperature", unit = "degC" }]`.
pub static MAP_KEYS: [Key<Mapping>; 6] = [
    key!(Mapping: "serial.map" "from", Type::Text(128), from, "Member of the JSON object (dots go deeper), number of the CSV column from 0, or name of the group.").required(),
    key!(Mapping: "serial.map" "to", Type::Id, to, "The name it gets: a channel, or a member of recorder_status such as level_db or status.").required(),
    key!(Mapping: "serial.map" "unit", Type::Text(32), unit, "Its unit."),
    key!(Mapping: "serial.map" "scale", Type::Number, scale, "A number is multiplied by this, then offset is added."),
    key!(Mapping: "serial.map" "offset", Type::Number, offset, "Added after scale."),
    key!(Mapping: "serial.map" "words", Type::Words, words, "What a word becomes, such as { REC = \"recording\", STBY = \"idle\" }."),
];

/// What Linux can set by name. Source: termios(3).
const BAUDS: &[u64] = &[
    50, 75, 110, 134, 150, 200, 300, 600, 1_200, 1_800, 2_400, 4_800, 9_600, 19_200, 38_400, 57_600, 115_200,
    230_400, 460_800, 500_000, 576_000, 921_600, 1_000_000, 1_152_000, 1_500_000, 2_000_000, 2_500_000,
    3_000_000, 3_500_000, 4_000_000,
];

/// `[[gpio]]` as the file has it, before the keys are weighed against each other.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct GpioEntry {
    pub id: String,
    pub pin: u8,
    pub pull: Pull,
    pub active_low: bool,
    pub edge: Edge,
    pub stable_for: Duration,
    pub ignore_after: Duration,
    pub recorder: Option<String>,
    pub instrument: Option<String>,
    pub stream: Option<String>,
    pub topic: Option<String>,
    pub active: Option<String>,
    pub inactive: Option<String>,
}

impl Default for GpioEntry {
    fn default() -> Self {
        GpioEntry {
            id: String::new(),
            pin: 0,
            pull: Pull::Off,
            active_low: false,
            edge: Edge::Both,
            stable_for: Duration::ZERO,
            ignore_after: Duration::ZERO,
            recorder: None,
            instrument: None,
            stream: None,
            topic: None,
            active: None,
            inactive: None,
        }
    }
}

impl GpioEntry {
    /// The pin, where exactly one sink was found.
    pub(super) fn finish(self, sink: Sink) -> GpioPin {
        let debounce = match (self.stable_for, self.ignore_after) {
            (Duration::ZERO, Duration::ZERO) => Debounce::None,
            (Duration::ZERO, after) => Debounce::IgnoreAfter(after),
            (stable, _) => Debounce::StableFor(stable),
        };
        GpioPin {
            id: self.id,
            pin: self.pin,
            pull: self.pull,
            active_low: self.active_low,
            edge: self.edge,
            debounce,
            sink,
            active: self.active,
            inactive: self.inactive,
        }
    }
}

impl From<&GpioPin> for GpioEntry {
    fn from(pin: &GpioPin) -> Self {
        let mut entry = GpioEntry {
            id: pin.id.clone(),
            pin: pin.pin,
            pull: pin.pull,
            active_low: pin.active_low,
            edge: pin.edge,
            active: pin.active.clone(),
            inactive: pin.inactive.clone(),
            ..GpioEntry::default()
        };
        match pin.debounce {
            Debounce::None => {}
            Debounce::StableFor(time) => entry.stable_for = time,
            Debounce::IgnoreAfter(time) => entry.ignore_after = time,
        }
        *sink_of(
            &pin.sink,
            [&mut entry.recorder, &mut entry.instrument, &mut entry.stream, &mut entry.topic],
        ) = Some(sink_text(&pin.sink));
        entry
    }
}

/// `[[serial]]` as the file has it, before the keys are weighed against each other.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct SerialEntry {
    pub id: String,
    pub device: PathBuf,
    pub baud: u32,
    pub data_bits: u8,
    pub parity: Parity,
    pub stop_bits: u8,
    pub format: String,
    pub separator: Option<char>,
    pub pattern: Option<String>,
    pub map: Vec<Mapping>,
    pub recorder: Option<String>,
    pub instrument: Option<String>,
    pub stream: Option<String>,
    pub topic: Option<String>,
    pub name: Option<String>,
    pub stale_after: Duration,
    pub max_line: usize,
    pub hello: Option<String>,
}

impl Default for SerialEntry {
    fn default() -> Self {
        SerialEntry {
            id: String::new(),
            device: PathBuf::new(),
            baud: 9_600,
            data_bits: 8,
            parity: Parity::None,
            stop_bits: 1,
            format: String::new(),
            separator: None,
            pattern: None,
            map: Vec::new(),
            recorder: None,
            instrument: None,
            stream: None,
            topic: None,
            name: None,
            stale_after: s(10),
            max_line: limits::SERIAL_LINE,
            hello: None,
        }
    }
}

impl SerialEntry {
    /// The port, where exactly one sink was found.
    pub(super) fn finish(self, sink: Sink) -> SerialPort {
        let format = match self.format.as_str() {
            "csv" => LineFormat::Csv { separator: self.separator.unwrap_or(',') },
            "regex" => LineFormat::Regex(self.pattern.unwrap_or_default()),
            _ => LineFormat::Json,
        };
        SerialPort {
            id: self.id,
            device: self.device,
            baud: self.baud,
            data_bits: self.data_bits,
            parity: self.parity,
            stop_bits: self.stop_bits,
            format,
            map: self.map,
            sink,
            name: self.name,
            stale_after: self.stale_after,
            max_line: self.max_line,
            hello: self.hello,
        }
    }
}

impl From<&SerialPort> for SerialEntry {
    fn from(port: &SerialPort) -> Self {
        let (format, separator, pattern) = match &port.format {
            LineFormat::Json => ("json", None, None),
            LineFormat::Csv { separator } => ("csv", Some(*separator), None),
            LineFormat::Regex(pattern) => ("regex", None, Some(pattern.clone())),
        };
        let mut entry = SerialEntry {
            id: port.id.clone(),
            device: port.device.clone(),
            baud: port.baud,
            data_bits: port.data_bits,
            parity: port.parity,
            stop_bits: port.stop_bits,
            format: format.into(),
            separator,
            pattern,
            map: port.map.clone(),
            name: port.name.clone(),
            stale_after: port.stale_after,
            max_line: port.max_line,
            hello: port.hello.clone(),
            ..SerialEntry::default()
        };
        *sink_of(
            &port.sink,
            [&mut entry.recorder, &mut entry.instrument, &mut entry.stream, &mut entry.topic],
        ) = Some(sink_text(&port.sink));
        entry
    }
}

impl Default for Mapping {
    fn default() -> Self {
        Mapping {
            from: String::new(),
            to: String::new(),
            unit: None,
            scale: 1.0,
            offset: 0.0,
            words: BTreeMap::new(),
        }
    }
}

fn sink_of<'a>(
    sink: &Sink,
    [recorder, instrument, stream, topic]: [&'a mut Option<String>; 4],
) -> &'a mut Option<String> {
    match sink {
        Sink::Recorder(_) => recorder,
        Sink::Instrument(_) => instrument,
        Sink::Stream(_) => stream,
        Sink::Topic(_) => topic,
    }
}

fn sink_text(sink: &Sink) -> String {
    let (Sink::Recorder(id) | Sink::Instrument(id) | Sink::Stream(id) | Sink::Topic(id)) = sink;
    id.clone()
}

impl Setting for Option<char> {
    fn value(&self) -> Value {
        self.as_ref().map_or(Value::Nothing, Setting::value)
    }
    fn put(&mut self, value: Value) {
        let mut c = ',';
        c.put(value);
        *self = Some(c);
    }
}
