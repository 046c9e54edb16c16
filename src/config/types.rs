//! The settings the program uses, with their defaults.

mod pins;
mod ports;
mod recorder;

pub use self::pins::*;
pub use self::ports::*;
pub use self::recorder::*;

use super::lists::{AlertRule, Ntfy, Webhook};
use crate::limits;
use crate::model::Bands;
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
