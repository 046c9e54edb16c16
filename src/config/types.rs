//! The settings the program uses, with their defaults.

use super::lists::modbus::Modbus;
use super::lists::nmea::Nmea;
use super::lists::scpi::Scpi;
use super::lists::{AlertRule, Ntfy, Webhook};
use crate::limits;
use crate::model::{Bands, Severity};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Shown in the page's header, such as `van 3`.
    pub name: String,
    /// Where to serve.
    pub listen: SocketAddr,
    /// The folder of the database, the keys and the last good configuration.
    pub data: PathBuf,
    /// Serve the page from this folder instead of the one built in.
    pub www: Option<PathBuf>,
    /// Run the simulated bench.
    pub bench: bool,
    /// Seed of the simulated bench.
    pub bench_seed: u64,
    /// `[http]`.
    pub http: Http,
    /// `[access]`.
    pub access: Access,
    /// `[store]`.
    pub store: Store,
    /// `[push]`.
    pub push: Push,
    /// `[signals]`.
    pub signals: Signals,
    /// `[host]`.
    pub host: Host,
    /// `[recordings]`.
    pub recordings: Recordings,
    /// `[time]`.
    pub time: Time,
    /// `[alerts]`.
    pub alerts: Alerts,
    /// `[lab]`.
    pub lab: Lab,
    /// `[[gpio]]`.
    pub gpio: Vec<GpioPin>,
    /// `[[serial]]`.
    pub serial: Vec<SerialPort>,
    /// `[[service]]`.
    pub services: Vec<Service>,
    /// `[[recorder]]`.
    pub recorder: Vec<Recorder>,
    /// `[[stream]]`.
    pub streams: Vec<StreamRule>,
    /// `[[alert]]`.
    pub alert: Vec<AlertRule>,
    /// `[[webhook]]`.
    pub webhook: Vec<Webhook>,
    /// `[[ntfy]]`.
    pub ntfy: Vec<Ntfy>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            name: "telltale".into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            data: PathBuf::from("telltale-data"),
            www: None,
            bench: false,
            bench_seed: 42,
            http: Http::default(),
            access: Access::default(),
            store: Store::default(),
            push: Push::default(),
            signals: Signals::default(),
            host: Host::default(),
            recordings: Recordings::default(),
            time: Time::default(),
            services: Vec::new(),
            alerts: Alerts::default(),
            lab: Lab::default(),
            gpio: Vec::new(),
            serial: Vec::new(),
            recorder: Vec::new(),
            streams: Vec::new(),
            alert: Vec::new(),
            webhook: Vec::new(),
            ntfy: Vec::new(),
        }
    }
}

impl Config {
    /// What runs without a file: the simulated bench.
    pub fn bench() -> Self {
        let generate = ["alpha", "beta", "gamma", "delta"].map(String::from).to_vec();
        let signals = Signals { generate, live: true, ..Signals::default() };
        Config { bench: true, signals, ..Config::default() }
    }
}

/// `[http]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Http {
    /// Connections that may have a thread at one time.
    pub connections: usize,
    /// Streams that may be open at one time.
    pub streams: usize,
    /// Connections from one address that is not loopback.
    pub per_address: usize,
    /// Names in `Host` that are answered besides IP addresses, `localhost`, this host's name and `<it>.local`.
    pub hosts: Vec<String>,
    /// Origins besides our own that may read and post with a key.
    pub origins: Vec<String>,
}

impl Default for Http {
    fn default() -> Self {
        Http {
            connections: limits::CONNECTIONS,
            streams: limits::STREAMS,
            per_address: limits::PER_ADDRESS,
            hosts: Vec::new(),
            origins: Vec::new(),
        }
    }
}

/// `[access]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Access {
    /// Whether anyone who reaches the port may look. Acting always needs a key, except from loopback.
    pub open_view: bool,
    /// Whether loopback needs no key. Switch off behind a reverse proxy on the same host.
    pub trust_loopback: bool,
}

impl Default for Access {
    fn default() -> Self {
        Access { open_view: true, trust_loopback: true }
    }
}

/// `[store]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Store {
    /// How long a record waits for others before it is committed.
    pub commit: Duration,
    /// The same where only state has changed. Long, because the health of an otherwise idle box changes all the time and
    /// every commit costs the card some 40 KB, while state is shown as uncertain after a restart in any case.
    pub state_commit: Duration,
    /// redb's page cache, in bytes.
    pub cache_bytes: usize,
    /// Bytes of records that are kept; the oldest go first.
    pub keep_bytes: u64,
    /// Age of records that are kept; only applied while the clock is synchronised.
    pub keep_age: Option<Duration>,
}

impl Default for Store {
    fn default() -> Self {
        Store {
            commit: Duration::from_secs(1),
            state_commit: Duration::from_secs(30),
            cache_bytes: 4 * 1024 * 1024,
            keep_bytes: 512 * 1024 * 1024,
            keep_age: None,
        }
    }
}

/// `[push]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Push {
    /// Threads that write to readers.
    pub threads: usize,
    /// How often a heartbeat is sent.
    pub heartbeat: Duration,
    /// A reader that takes no byte for this long is closed.
    pub stall: Duration,
}

impl Default for Push {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        Push { threads: cores.clamp(1, 2), heartbeat: limits::HEARTBEAT, stall: limits::READER_STALL }
    }
}

/// `[signals]`: the generator, and how samples are judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Signals {
    /// Ids of the signals that are generated.
    pub generate: Vec<String>,
    /// Whether they run from the start.
    pub live: bool,
    /// Seconds between batches.
    pub interval_s: f64,
    /// Samples in a batch.
    pub batch_size: u64,
    /// The same seed gives the same samples.
    pub seed: u64,
    /// Samples before one that it is judged by.
    pub window: usize,
    /// Deviations from which a sample is an anomaly.
    pub threshold: f64,
    /// Whether a signal may be reset.
    pub allow_reset: bool,
}

impl Default for Signals {
    fn default() -> Self {
        Signals {
            generate: Vec::new(),
            live: false,
            interval_s: 2.0,
            batch_size: 100,
            seed: 42,
            window: 50,
            threshold: 4.5,
            allow_reset: false,
        }
    }
}

/// `[host]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    /// How often the box's health is read.
    pub interval: Duration,
    /// Paths whose file systems are watched, besides that of the data folder.
    pub disks: Vec<PathBuf>,
}

impl Default for Host {
    fn default() -> Self {
        Host { interval: Duration::from_secs(5), disks: Vec::new() }
    }
}

/// `[recordings]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Recordings {
    /// The folder that is watched; none: recordings are off.
    pub folder: Option<PathBuf>,
    /// Whether its sub-folders are.
    pub subfolders: bool,
    /// Of files whose sidecar does not say which recorder made them.
    pub recorder: Option<String>,
    /// Of files that are recordings, in small letters.
    pub extensions: Vec<String>,
    /// How long a file that nobody has closed must not change to be finished.
    pub still_after: Duration,
    /// How often the folder is read though nothing was heard of a change.
    pub rescan: Duration,
    /// Age at which recordings go; only while the clock can be believed.
    pub keep_age: Option<Duration>,
    /// Bytes of recordings that are kept.
    pub keep_bytes: Option<u64>,
    /// What shall stay free on the disk.
    pub free_floor: Share,
    /// How long something stays in the bin.
    pub bin_age: Option<Duration>,
    /// How often retention looks.
    pub interval: Duration,
    /// Files put here are taken in.
    pub drop_folder: Option<PathBuf>,
    /// Once they have not changed for this long.
    pub drop_after: Duration,
    /// Whether headers that a crash left wrong are put right.
    pub repair: bool,
}

impl Default for Recordings {
    fn default() -> Self {
        let extensions = ["wav", "mp3", "ogg", "opus", "flac", "m4a", "webm"];
        Recordings {
            folder: None,
            subfolders: true,
            recorder: None,
            extensions: extensions.map(String::from).to_vec(),
            still_after: Duration::from_secs(5),
            rescan: Duration::from_secs(300),
            keep_age: None,
            keep_bytes: None,
            free_floor: Share::Bytes(0),
            bin_age: Some(Duration::from_secs(30 * 86_400)),
            interval: Duration::from_secs(60),
            drop_folder: None,
            drop_after: Duration::from_secs(5),
            repair: true,
        }
    }
}

impl Recordings {
    /// What of it is about retention, for the page.
    pub fn retention_json(&self) -> serde_json::Value {
        let seconds = |time: Option<Duration>| time.map(|t| t.as_secs());
        serde_json::json!({
            "keep_age_s": seconds(self.keep_age),
            "keep_bytes": self.keep_bytes,
            "free_floor": self.free_floor.to_string(),
            "bin_age_s": seconds(self.bin_age),
            "interval_s": self.interval.as_secs(),
        })
    }
}

/// A part of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// So many bytes.
    Bytes(u64),
    /// Of the whole, 0 to 100.
    Percent(u8),
}

impl Share {
    /// In bytes, of a disk of `total`.
    pub fn of(self, total: u64) -> u64 {
        match self {
            Share::Bytes(n) => n,
            Share::Percent(n) => total / 100 * u64::from(n),
        }
    }
}

/// `[time]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Time {
    /// What may say what time it is while no network time is there, such as `gps`.
    pub from: Vec<String>,
}

/// `[alerts]`: the built-in rules, and what messages say of this box.
#[derive(Clone, Debug, PartialEq)]
pub struct Alerts {
    /// Ids of built-in rules that are not judged; a `*` at the end stands for any end.
    pub off: Vec<String>,
    /// Address of this box's page, for links in messages.
    pub base_url: Option<String>,
    /// Free space of a file system below which it is minor, in percent.
    pub disk_minor: f64,
    /// Free space below which it is major, in percent.
    pub disk_major: f64,
    /// Temperature above which it is minor, in degrees Celsius.
    pub temperature_minor: f64,
    /// Temperature above which it is major, in degrees Celsius.
    pub temperature_major: f64,
    /// Memory of this process above which it is minor, in bytes.
    pub memory: u64,
    /// Bytes this process may write in a day.
    pub written_today: u64,
    /// How long the clock may be unsynchronised.
    pub clock_unsynced: Duration,
    /// How long a source may be lost before its alert.
    pub source_lost: Duration,
}

impl Default for Alerts {
    fn default() -> Self {
        Alerts {
            off: Vec::new(),
            base_url: None,
            disk_minor: 10.0,
            disk_major: 5.0,
            temperature_minor: 80.0,
            temperature_major: 85.0,
            memory: 256 << 20,
            written_today: 2 << 30,
            clock_unsynced: Duration::from_secs(600),
            source_lost: Duration::from_secs(3),
        }
    }
}

/// `[lab]`: queues and scans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lab {
    /// Points of one scan.
    pub max_points: u64,
    /// Time for an abort until the scan has ended.
    pub abort_after: Duration,
    /// Ended scans that are kept, with their data.
    pub keep_scans: usize,
    /// Bytes of their rows.
    pub keep: u64,
}

impl Default for Lab {
    fn default() -> Self {
        Lab {
            max_points: 100_000,
            abort_after: Duration::from_secs(10),
            keep_scans: 1_000,
            keep: 1024 * 1024 * 1024,
        }
    }
}

/// What a reading becomes: `recorder = "rec1"`, `instrument = "psu"`, `stream = "temp"` or `topic = "app/x"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    /// Folded into that recorder's `recorder_status`.
    Recorder(String),
    /// Folded into that instrument's `instrument_status` as channels.
    Instrument(String),
    /// Published as `stream_value` of that stream (several columns: `{id}.{column}`).
    Stream(String),
    /// Published as `reading` on that topic under `app/`.
    Topic(String),
}

/// How one field of a line becomes a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapping {
    /// The column's number (CSV, from 0), member (JSON, dots go deeper) or group (regex).
    pub from: String,
    /// The name it gets: a channel, or a member of `recorder_status` such as `level_db` or `status`.
    pub to: String,
    /// Its unit.
    pub unit: Option<String>,
    /// The number is multiplied by this, then `offset` is added.
    pub scale: f64,
    /// See `scale`.
    pub offset: f64,
    /// For words: what they become, such as `REC = "recording"`.
    pub words: BTreeMap<String, String>,
}

/// `[[service]]`: a unit of systemd that is watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Its name here.
    pub name: String,
    /// The unit, such as `recorder.service`.
    pub unit: String,
    /// What people see.
    pub title: Option<String>,
    /// What may be done to it: `start`, `stop`, `restart`.
    pub can: Vec<String>,
}

/// `[[stream]]`: what is known of a value stream, and the feed it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamRule {
    /// Id of the stream.
    pub id: String,
    /// The name people see.
    pub name: Option<String>,
    /// Its unit, where the source gives none.
    pub unit: Option<String>,
    /// Warning and alarm limits.
    pub limits: Bands,
    /// A value older than this is stale.
    pub stale_after: Option<Duration>,
    /// A value older than this is no value any more.
    pub expire_after: Option<Duration>,
    /// Where it comes from; none: from a serial port, a pin or a publisher.
    pub feed: Option<Feed>,
}

/// A WebSocket that gives values, and REST where it does not.
#[derive(Clone, Debug, PartialEq)]
pub struct Feed {
    /// `ws://` or `wss://`; streams with the same one share a connection.
    pub url: String,
    /// Texts sent once it is open.
    pub subscribe: Vec<String>,
    /// Path of the value in a message.
    pub value: String,
    /// Path of its time.
    pub time: Option<String>,
    /// Only messages that have this text at this path.
    pub only: Option<(String, String)>,
    /// `http://` or `https://`, asked while the socket gives nothing.
    pub rest: Option<String>,
    /// Path of the value in its answer; none: as in a message.
    pub rest_value: Option<String>,
    /// How often it is asked.
    pub rest_interval: Duration,
    /// Every tick is published; otherwise the newest at most once in `interval`.
    pub every_tick: bool,
    /// See `every_tick`.
    pub interval: Duration,
}

/// Bias of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Pull {
    Off,
    Up,
    Down,
}

/// Which edges count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Edge {
    Rising,
    Falling,
    Both,
}

/// How a chattering contact is calmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Debounce {
    /// Every edge counts.
    None,
    /// A level counts when it has held this long.
    StableFor(Duration),
    /// The first edge counts at once, then none for this long.
    IgnoreAfter(Duration),
}

/// What becomes of a pin's edges on a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdgeRecords {
    /// Each is a record, as long as there are few; then a record holds many.
    Each,
    /// They are counted, and the count is a record now and then.
    Count,
}

/// What a pin says to its stream or instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// 1 while active, else 0.
    Level,
    /// How often it became active since the start.
    Count,
    /// How often it becomes active, in Hz.
    Rate,
    /// How long it was active the last time, in ms.
    Pulse,
}

/// What a pin is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Direction {
    Input,
    Output,
}

/// A level to be driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Drive {
    Low,
    High,
    /// As it is.
    Keep,
}

impl Drive {
    /// True is high; none keeps what there is.
    pub fn high(self) -> Option<bool> {
        match self {
            Drive::Low => Some(false),
            Drive::High => Some(true),
            Drive::Keep => None,
        }
    }
}

/// What is particular to an output.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// The level it has before it drives for the first time.
    pub initial: Drive,
    /// The level it is left with at the end.
    pub safe: Drive,
    /// The longest pulse that may be asked for.
    pub pulse_max: Duration,
}

/// An alert that is raised while a pin is active.
#[derive(Clone, Debug, PartialEq)]
pub struct PinAlert {
    /// How bad.
    pub severity: Severity,
    /// What has happened.
    pub message: String,
    /// What to do.
    pub guidance: String,
}

/// `[[gpio]]`: one pin.
#[derive(Clone, Debug, PartialEq)]
pub struct GpioPin {
    /// Id of the source, unique.
    pub id: String,
    /// BCM number, as printed on pinout sheets after "GPIO".
    pub pin: u8,
    /// Set when it is an output.
    pub output: Option<Output>,
    /// Bias.
    pub pull: Pull,
    /// Low means active.
    pub active_low: bool,
    /// Which edges are published.
    pub edge: Edge,
    /// See [`Debounce`].
    pub debounce: Debounce,
    /// What it becomes; an alert or an output need not become anything else.
    pub sink: Option<Sink>,
    /// For a recorder: the status while active, such as `recording`. For an instrument: the channel's name.
    pub active: Option<String>,
    /// For a recorder: the status while not active.
    pub inactive: Option<String>,
    /// See [`EdgeRecords`].
    pub edges: EdgeRecords,
    /// See [`Measure`].
    pub value: Measure,
    /// The time over which a rate is measured.
    pub window: Duration,
    /// What it says is published at most this often.
    pub interval: Duration,
    /// Edges a second past which it is parked.
    pub flood: u32,
    /// Raised while it is active.
    pub alert: Option<PinAlert>,
}

impl Default for GpioPin {
    fn default() -> Self {
        GpioPin {
            id: String::new(),
            pin: 0,
            output: None,
            pull: Pull::Off,
            active_low: false,
            edge: Edge::Both,
            debounce: Debounce::None,
            sink: None,
            active: None,
            inactive: None,
            edges: EdgeRecords::Each,
            value: Measure::Level,
            window: Duration::from_secs(1),
            interval: limits::GPIO_INTERVAL,
            flood: limits::GPIO_FLOOD,
            alert: None,
        }
    }
}

/// How a command reaches a recorder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// An output becomes active or not.
    Level {
        /// Source id of the output.
        pin: String,
        /// Whether it becomes active.
        active: bool,
    },
    /// An output is active for a time.
    Pulse {
        /// Source id of the output.
        pin: String,
        /// For this long.
        time: Duration,
    },
    /// A port sends something.
    Serial {
        /// Source id of the port.
        port: String,
        /// What.
        send: String,
    },
    /// A request over HTTP, which succeeds with any 2xx.
    Http {
        /// Where.
        url: String,
        /// Usually POST.
        method: String,
        /// The body.
        body: String,
    },
}

/// What confirms a command to a recorder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfirmBy {
    /// Its status, whoever tells it.
    Status,
    /// Only what is posted to `/api/recorders/{id}/state`.
    Http,
}

/// `[[recorder]]`: what is known of a recorder besides what pins and ports say of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorder {
    /// Its id, as the sinks of pins and ports name it.
    pub id: String,
    /// The name people see.
    pub name: Option<String>,
    /// How it is started; none: it can't be.
    pub start: Option<Effect>,
    /// How it is stopped.
    pub stop: Option<Effect>,
    /// How it begins another recording.
    pub split: Option<Effect>,
    /// How it is made to start by itself.
    pub auto_on: Option<Effect>,
    /// And made not to.
    pub auto_off: Option<Effect>,
    /// What confirms a command.
    pub confirm: ConfirmBy,
    /// The time a command has to show its effect.
    pub confirm_within: Duration,
    /// Silence after which what was posted of it no longer counts.
    pub stale_after: Duration,
    /// The recorder splits by itself after this long; shown.
    pub split_after: Option<Duration>,
    /// Where it can be listened to; shown.
    pub listen_url: Option<String>,
}

impl Default for Recorder {
    fn default() -> Self {
        Recorder {
            id: String::new(),
            name: None,
            start: None,
            stop: None,
            split: None,
            auto_on: None,
            auto_off: None,
            confirm: ConfirmBy::Status,
            confirm_within: limits::COMMAND_TIME,
            stale_after: limits::RECORDER_STALE,
            split_after: None,
            listen_url: None,
        }
    }
}

impl Recorder {
    /// The effect of an action with these parameters, where one is configured.
    pub fn effect(&self, action: &str, on: bool) -> Option<&Effect> {
        match (action, on) {
            ("start", _) => self.start.as_ref(),
            ("stop", _) => self.stop.as_ref(),
            ("split", _) => self.split.as_ref(),
            ("auto", true) => self.auto_on.as_ref(),
            ("auto", false) => self.auto_off.as_ref(),
            _ => None,
        }
    }

    /// Every effect with the name of its key.
    pub fn effects(&self) -> impl Iterator<Item = (&'static str, &Effect)> {
        [
            ("start", &self.start),
            ("stop", &self.stop),
            ("split", &self.split),
            ("auto_on", &self.auto_on),
            ("auto_off", &self.auto_off),
        ]
        .into_iter()
        .filter_map(|(name, effect)| Some((name, effect.as_ref()?)))
    }
}

/// Parity bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Parity {
    None,
    Even,
    Odd,
}

/// How a line is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineFormat {
    /// One JSON object a line.
    Json,
    /// Values between `separator`.
    Csv {
        /// Usually `,`.
        separator: char,
    },
    /// A regular expression with named groups.
    Regex(String),
}

/// What holds a sender back while the receiver is busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowControl {
    /// Nothing.
    None,
    /// XON and XOFF among the bytes.
    Software,
    /// The lines RTS and CTS.
    Hardware,
}

/// Which USB adapter: `0403:6001`, `0403:6001:A50285BI`, with `@1` after either for the second of its interfaces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsbRule {
    /// Of the vendor.
    pub vid: u16,
    /// Of the product.
    pub pid: u16,
    /// Where several of a kind are plugged in.
    pub serial: Option<String>,
    /// Of an adapter with several ports.
    pub interface: Option<u8>,
}

impl std::str::FromStr for UsbRule {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (ids, interface) = match text.rsplit_once('@') {
            Some((ids, interface)) => (ids, Some(interface.parse().map_err(|_| ())?)),
            None => (text, None),
        };
        let mut parts = ids.splitn(3, ':');
        let mut id = || {
            let part = parts.next().filter(|p| p.len() == 4 && p.bytes().all(|b| b.is_ascii_hexdigit()));
            part.and_then(|p| u16::from_str_radix(p, 16).ok()).ok_or(())
        };
        let (vid, pid) = (id()?, id()?);
        let serial = parts.next().map(str::to_string);
        if serial.as_ref().is_some_and(String::is_empty) {
            return Err(());
        }
        Ok(UsbRule { vid, pid, serial, interface })
    }
}

impl std::fmt::Display for UsbRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04x}:{:04x}", self.vid, self.pid)?;
        self.serial.as_ref().map_or(Ok(()), |serial| write!(f, ":{serial}"))?;
        self.interface.map_or(Ok(()), |interface| write!(f, "@{interface}"))
    }
}

/// A capture, or any file of bytes, in place of a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay {
    /// The file.
    pub file: PathBuf,
    /// 1 is as it was, 10 ten times as fast, 0 as fast as it is taken.
    pub rate: f64,
    /// From the beginning again at the end.
    pub again: bool,
}

/// Where the bytes of a port come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Device {
    /// Such as `/dev/serial/by-id/...` or `/dev/ttyAMA0`. Kept as it is written and resolved at every opening.
    Path(PathBuf),
    /// Looked for among the adapters at every opening.
    Usb(UsbRule),
    /// No device.
    Replay(Replay),
    /// A device of the simulated bench, under this name; no file can ask for it.
    Simulated(PathBuf),
    /// A device of a device file of pyvisa-sim.
    Visa(Visa),
    /// `tcp://HOST:PORT`: a raw socket, as of an instrument (often port 5025) or a terminal server. Host and port, as
    /// written.
    Tcp(String),
}

impl Device {
    /// What a `device` that is a socket begins with.
    pub const TCP: &str = "tcp://";
}

/// `sim:FILE#RESOURCE`: a simulated device, and the file that says what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visa {
    /// The file, as it is written.
    pub file: PathBuf,
    /// Which of the file's resources; none: its first serial one.
    pub resource: Option<String>,
}

impl Visa {
    /// What a `device` of this kind begins with.
    pub const PREFIX: &str = "sim:";

    /// Reads `FILE` or `FILE#RESOURCE`, what stands behind the prefix; `None` without a file.
    pub fn parse(text: &str) -> Option<Visa> {
        let (file, resource) = match text.rsplit_once('#') {
            Some((file, resource)) => (file, Some(resource.trim().to_string())),
            None => (text, None),
        };
        if file.is_empty() || resource.as_deref() == Some("") {
            return None;
        }
        Some(Visa { file: file.into(), resource })
    }
}

impl std::fmt::Display for Visa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", Visa::PREFIX, self.file.display())?;
        match &self.resource {
            Some(resource) => write!(f, "#{resource}"),
            None => Ok(()),
        }
    }
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Device::Path(path) | Device::Simulated(path) => path.display().fmt(f),
            Device::Usb(rule) => write!(f, "usb {rule}"),
            Device::Tcp(address) => write!(f, "{}{address}", Device::TCP),
            Device::Replay(replay) => replay.file.display().fmt(f),
            Device::Visa(visa) => visa.fmt(f),
        }
    }
}

/// What is spoken on a port.
#[allow(clippy::large_enum_variant, reason = "one of them for each port")]
#[derive(Clone, Debug, PartialEq)]
pub enum ProtocolConfig {
    /// Lines, each with values.
    Line(LineConfig),
    /// An instrument that is asked and set.
    Scpi(Scpi),
    /// A receiver or a sensor that talks by itself.
    Nmea(Nmea),
    /// A line of Modbus devices that are asked and set.
    Modbus(Modbus),
}

impl ProtocolConfig {
    /// Whether more than one value is known to come, so that streams get a name for each.
    pub fn gives_several(&self) -> bool {
        match self {
            ProtocolConfig::Line(line) => line.map.len() > 1,
            ProtocolConfig::Scpi(scpi) => scpi.channels.len() > 1,
            ProtocolConfig::Nmea(nmea) => nmea.values.len() != 1,
            ProtocolConfig::Modbus(modbus) => modbus.registers.len() > 1,
        }
    }
}

/// How lines are told apart and read.
#[derive(Clone, Debug, PartialEq)]
pub struct LineConfig {
    /// How a line is read.
    pub format: LineFormat,
    /// Which of it is used; empty: every member, group or column under its own name.
    pub map: Vec<Mapping>,
    /// The longest line, in bytes.
    pub max_line: usize,
    /// What ends a line; none: LF, CRLF or CR.
    pub terminator: Option<String>,
    /// A line that begins with this says nothing.
    pub comment: Option<String>,
    /// So many lines after each opening are a heading.
    pub skip_lines: u32,
}

impl LineConfig {
    /// Lines of this format, all else as the file has it by default.
    pub fn of(format: LineFormat) -> Self {
        LineConfig {
            format,
            map: Vec::new(),
            max_line: crate::limits::SERIAL_LINE,
            terminator: None,
            comment: None,
            skip_lines: 0,
        }
    }
}

/// A record of what goes over a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// The file; the one before it has `.old` after its name.
    pub file: PathBuf,
    /// Of both together, in bytes.
    pub limit: u64,
}

/// `[[serial]]`: one port.
#[derive(Clone, Debug, PartialEq)]
pub struct SerialPort {
    /// Id of the source, unique.
    pub id: String,
    /// See [`Device`].
    pub device: Device,
    /// Bits per second.
    pub baud: u32,
    /// 5 to 8.
    pub data_bits: u8,
    /// Parity.
    pub parity: Parity,
    /// 1 or 2.
    pub stop_bits: u8,
    /// See [`FlowControl`].
    pub flow: FlowControl,
    /// What is spoken.
    pub protocol: ProtocolConfig,
    /// What it becomes.
    pub sink: Sink,
    /// The name people see.
    pub name: Option<String>,
    /// Silence after which it is stale.
    pub stale_after: Duration,
    /// Sent when the port has been opened, such as `*IDN?\n`.
    pub hello: Option<String>,
    /// Whether its loss is an alert.
    pub alert: bool,
    /// Readings a second; more are counted and dropped.
    pub max_rate: u32,
    /// What goes over it is kept.
    pub capture: Option<Capture>,
}

impl SerialPort {
    /// A port with these, all else as the file has it by default.
    pub fn of(id: &str, device: Device, protocol: ProtocolConfig, sink: Sink) -> Self {
        SerialPort {
            id: id.into(),
            device,
            baud: 9_600,
            data_bits: 8,
            parity: Parity::None,
            stop_bits: 1,
            flow: FlowControl::None,
            protocol,
            sink,
            name: None,
            stale_after: Duration::from_secs(10),
            hello: None,
            alert: true,
            max_rate: crate::limits::SERIAL_READINGS,
            capture: None,
        }
    }
}
