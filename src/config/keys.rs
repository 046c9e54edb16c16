//! Every key of the configuration in one table: name, type, default, meaning, and whether it takes effect without a
//! restart. The reader, the environment variables, `telltale check --keys`, `--effective` and docs/configuration.md all
//! come from it.

use super::types::Config;
use super::value::{Type, UNBOUNDED, Value};
use std::time::Duration;

/// One key of a `T`: of the whole configuration, of a `[[list]]`'s entry (`lists`) or of something within one.
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

    pub(super) const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    pub(super) const fn restart(mut self) -> Self {
        self.live = false;
        self
    }

    pub(super) const fn default(mut self, words: &'static str) -> Self {
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
        $crate::config::keys::Key {
            section: $section,
            name: $name,
            kind: $kind,
            required: false,
            live: true,
            default: None,
            doc: $doc,
            get: |c: &$of| $crate::config::value::Setting::value(&c.$($field).+),
            set: |c: &mut $of, v| $crate::config::value::Setting::put(&mut c.$($field).+, v),
        }
    };
}

pub(super) use key;

/// A key whose value has keys of its own: the reader and the writer know it.
pub(super) const fn apart<T>(
    section: &'static str,
    name: &'static str,
    kind: Type,
    doc: &'static str,
) -> Key<T> {
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

pub(super) const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}
pub(super) const fn s(n: u64) -> Duration {
    Duration::from_secs(n)
}
pub(super) const HOUR: Duration = s(3600);
pub(super) const DAY: Duration = s(86_400);
pub(super) const KIB: u64 = 1 << 10;
pub(super) const MIB: u64 = 1 << 20;
pub(super) const TIB: u64 = 1 << 40;

/// Keys with one value, of the top level and the plain tables; those of `[[lists]]` are in `lists`.
pub static KEYS: &[Key<Config>] = &[
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
    key!(Config: "signals" "generate", Type::Ids, signals.generate, "Ids of synthetic signals, such as [\"alpha\"]; the bench without a file has four.").restart().default("[]"),
    key!(Config: "signals" "live", Type::Switch, signals.live, "Whether they run from the start; the page can pause them.").restart().default("false, or true without a file"),
    key!(Config: "signals" "interval_s", Type::Between(1.0, 60.0), signals.interval_s, "Seconds between batches.").restart(),
    key!(Config: "signals" "batch_size", Type::Whole(1, 1_000), signals.batch_size, "Samples in a batch.").restart(),
    key!(Config: "signals" "seed", Type::Whole(0, UNBOUNDED), signals.seed, "The same seed gives the same samples.").restart(),
    key!(Config: "signals" "window", Type::Whole(2, 1_000), signals.window, "Samples before one that it is judged by, also for signals that are posted.").restart(),
    key!(Config: "signals" "threshold", Type::Between(0.5, 20.0), signals.threshold, "Standard deviations from their mean from which a sample is an anomaly.").restart(),
    key!(Config: "signals" "allow_reset", Type::Switch, signals.allow_reset, "Whether a signal may be reset: its samples are then no longer shown.").restart(),
    key!(Config: "host" "interval", Type::Duration(ms(500), HOUR), host.interval, "How often the health of the box is read."),
    key!(Config: "host" "disks", Type::Paths, host.disks, "Paths whose file systems are watched, besides that of the data folder."),
    key!(Config: "recordings" "folder", Type::Path, recordings.folder, "Folder that recorders write into; it is watched, listed and cleared. Without it there are no recordings."),
    key!(Config: "recordings" "subfolders", Type::Switch, recordings.subfolders, "Whether its sub-folders, such as one a day, are too."),
    key!(Config: "recordings" "recorder", Type::Id, recordings.recorder, "Id of the recorder of files whose sidecar names none."),
    key!(Config: "recordings" "extensions", Type::Names, recordings.extensions, "Extensions of files that are recordings."),
    key!(Config: "recordings" "still_after", Type::Duration(s(1), HOUR), recordings.still_after, "A file that its writer has not closed counts as finished when it has not changed for this long."),
    key!(Config: "recordings" "rescan", Type::Duration(s(5), DAY), recordings.rescan, "How often the folder is read though nothing was heard of a change, for network shares and lost events."),
    key!(Config: "recordings" "keep_age", Type::DurationOrNever(s(60), s(36_525 * 86_400)), recordings.keep_age, "Age at which recordings go, oldest first, never a pinned one; only while the clock is synchronised."),
    key!(Config: "recordings" "keep_bytes", Type::Size(MIB, 1024 * TIB), recordings.keep_bytes, "Bytes of recordings outside the bin that are kept; the oldest go first."),
    key!(Config: "recordings" "free_floor", Type::Share, recordings.free_floor, "What shall stay free on their disk, in bytes or percent; below it the bin goes first, then the oldest."),
    key!(Config: "recordings" "bin_age", Type::DurationOrNever(DAY, s(36_525 * 86_400)), recordings.bin_age, "How long something stays in the bin."),
    key!(Config: "recordings" "interval", Type::Duration(s(1), DAY), recordings.interval, "How often it is looked whether something has to go."),
    key!(Config: "recordings" "drop_folder", Type::Path, recordings.drop_folder, "Recordings put into this folder are moved into `folder`."),
    key!(Config: "recordings" "drop_after", Type::Duration(s(1), HOUR), recordings.drop_after, "Once they have not changed for this long."),
    key!(Config: "recordings" "repair", Type::Switch, recordings.repair, "Whether the header of a WAV that a crash left behind is put right; samples are never changed."),
    key!(Config: "time" "from", Type::SomeOf(&["gps"]), time.from, "What may say what time it is while no network time is there: \"gps\", a receiver with a fix."),
    key!(Config: "alerts" "off", Type::Names, alerts.off, "Ids of built-in rules that are not judged, such as \"clock.unsynced\"; a * at the end stands for any end."),
    key!(Config: "alerts" "base_url", Type::Text(256), alerts.base_url, "Address of this box's page, for links in messages, such as \"http://van3.local:8080\"."),
    key!(Config: "alerts" "disk_minor", Type::Between(0.0, 100.0), alerts.disk_minor, "disk.*: free space in percent below which it is MINOR."),
    key!(Config: "alerts" "disk_major", Type::Between(0.0, 100.0), alerts.disk_major, "disk.*: free space in percent below which it is MAJOR."),
    key!(Config: "alerts" "temperature_minor", Type::Between(0.0, 150.0), alerts.temperature_minor, "temperature: degrees Celsius of the processor above which it is MINOR."),
    key!(Config: "alerts" "temperature_major", Type::Between(0.0, 150.0), alerts.temperature_major, "temperature: degrees Celsius above which it is MAJOR."),
    key!(Config: "alerts" "memory", Type::Size(16 * MIB, TIB), alerts.memory, "memory: what telltale itself may take."),
    key!(Config: "alerts" "written_today", Type::Size(MIB, 1000 * TIB), alerts.written_today, "store.written: what telltale may write to the card in a day."),
    key!(Config: "alerts" "clock_unsynced", Type::Duration(s(1), s(30 * 86_400)), alerts.clock_unsynced, "clock.unsynced: how long the clock may be without a time source."),
    key!(Config: "alerts" "source_lost", Type::Duration(Duration::ZERO, DAY), alerts.source_lost, "source.*: how long a source may be lost first."),
    key!(Config: "lab" "max_points", Type::Whole(1, 10_000_000), lab.max_points, "Points of one scan; a description of more is refused.").restart(),
    key!(Config: "lab" "abort_after", Type::Duration(s(1), s(600)), lab.abort_after, "Time that an aborted scan has to clean up; then an alert says that the abort is not confirmed.").restart(),
    key!(Config: "lab" "keep_scans", Type::Whole(1, 10_000), lab.keep_scans, "Ended scans that are kept with their data; the one that ended longest ago goes first.").restart(),
    key!(Config: "lab" "keep", Type::Size(MIB, 1024 * TIB), lab.keep, "Bytes of the rows of scans that are kept on the disk; those of the scan that ended longest ago go first.").restart(),
];
