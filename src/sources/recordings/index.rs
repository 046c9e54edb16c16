//! The index: every recording there is, in memory, and the questions asked of it. Does no I/O and knows no threads.
//!
//! **Ids.** The id of a recording comes from the path under which it was first seen, so that nothing has to be written for
//! a file that nobody has touched; one that was renamed, pinned, labelled or binned has a row in the store that holds its id.
//! **Bounds.** At most [`limits::RECORDINGS`]; what is said in all of them together is at most [`limits::TRANSCRIPTS_BYTES`], and beyond
//! that only the beginnings are kept.

use super::files::{self, Stat};
use super::sidecar::{self, Sidecar};
use super::wav::Wav;
use crate::clock::Wall;
use crate::config;
use crate::limits;
use crate::model::{Recording, Sibling, WaveformState};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What people decided about a recording; a row of the store when there is anything to keep.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Marks {
    /// The path from the folder, or the one it had before it was binned. Bytes that are no text are in percent.
    pub path: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub pinned: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binned_at: Option<Wall>,
    /// Not removed by itself before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_until: Option<Wall>,
    /// By these it is found again when it was renamed while telltale did not run.
    pub ino: u64,
    pub bytes: u64,
    pub modified_ns: u64,
    /// It was not there at the last start.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub missing: bool,
}

/// One recording.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub id: Arc<str>,
    /// From the folder; of a binned one, the path it had.
    pub path: Arc<Path>,
    pub stat: Stat,
    pub growing: bool,
    /// When it changed last, by the monotonic clock.
    pub changed: Duration,
    /// Its writer has closed it since.
    pub closed: bool,
    /// When its growth was last told.
    pub told: Duration,
    /// There when telltale started, or when the folder came.
    pub from_start: bool,
    /// Its header was, or will not be, put right.
    pub repaired: bool,
    pub wav: Option<Wav>,
    pub sidecar: Option<Box<Sidecar>>,
    pub pinned: bool,
    pub label: Option<Box<str>>,
    pub binned_at: Option<Wall>,
    pub keep_until: Option<Wall>,
    pub waveform: WaveformState,
    pub error: Option<Box<str>>,
    /// Which walk saw it last.
    pub seen: u32,
}

impl Entry {
    pub fn new(id: Arc<str>, path: Arc<Path>, stat: Stat) -> Entry {
        Entry {
            id,
            path,
            stat,
            growing: false,
            changed: Duration::ZERO,
            closed: false,
            told: Duration::ZERO,
            from_start: false,
            repaired: false,
            wav: None,
            sidecar: None,
            pinned: false,
            label: None,
            binned_at: None,
            keep_until: None,
            waveform: WaveformState::None,
            error: None,
            seen: 0,
        }
    }

    /// Where it is, from the folder.
    pub fn place(&self) -> PathBuf {
        if self.binned_at.is_some() {
            Path::new(files::BIN).join(&*self.id).join(&self.path)
        } else {
            self.path.to_path_buf()
        }
    }

    /// Milliseconds of its sound.
    pub fn duration_ms(&self) -> Option<u64> {
        self.wav.as_ref().and_then(Wav::duration_ms)
    }

    /// When it changed last, as the disk says.
    pub fn modified(&self) -> Wall {
        Wall(self.stat.modified_ns / 1_000_000)
    }

    /// When it began: as its recorder says, as its name says, or by its end and its length.
    pub fn started(&self) -> Wall {
        if let Some(at) = self.sidecar.as_ref().and_then(|s| s.started_at) {
            return at;
        }
        if let Some(at) = self.path.file_name().and_then(|name| time_in(name.as_bytes())) {
            return at;
        }
        Wall(self.modified().0.saturating_sub(self.duration_ms().unwrap_or(0)))
    }

    fn transcript(&self) -> Option<&str> {
        self.sidecar.as_ref()?.transcript.as_deref()
    }

    fn triggers(&self) -> &[Box<str>] {
        self.sidecar.as_ref().map_or(&[], |s| &s.triggers)
    }

    fn mentions(&self, text: &str) -> bool {
        let within = |part: &str| part.to_lowercase().contains(text);
        within(&self.path.to_string_lossy())
            || self.label.as_deref().is_some_and(within)
            || self.transcript().is_some_and(within)
    }

    /// What has to be kept of it in the store; none when its path says it all.
    pub fn marks(&self) -> Option<Marks> {
        let marks = Marks {
            path: to_text(&self.path),
            pinned: self.pinned,
            label: self.label.as_deref().map(String::from),
            binned_at: self.binned_at,
            keep_until: self.keep_until,
            ino: self.stat.ino,
            bytes: self.stat.bytes,
            modified_ns: self.stat.modified_ns,
            missing: false,
        };
        let plain = !marks.pinned && marks.label.is_none() && marks.binned_at.is_none();
        (!plain || *self.id != *id_of(&self.path, 0)).then_some(marks)
    }
}

/// The id of a path; `again` counts up where an id is taken.
pub(super) fn id_of(path: &Path, again: u32) -> String {
    let mut hash = Sha256::new();
    hash.update(path.as_os_str().as_bytes());
    if again > 0 {
        hash.update([0]);
        hash.update(again.to_le_bytes());
    }
    format!("r{}", hex(&hash.finalize()[..8]))
}

/// In hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A path as text that [`from_text`] reads back exactly.
pub(super) fn to_text(path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes();
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(&chunk.valid().replace('%', "%25"));
        chunk.invalid().iter().for_each(|b| text.push_str(&format!("%{b:02x}")));
    }
    text
}

/// See [`to_text`].
pub(super) fn from_text(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let hex = behind.get(..2).filter(|_| *first == b'%').and_then(|h| std::str::from_utf8(h).ok());
        if let Some(byte) = hex.and_then(|h| u8::from_str_radix(h, 16).ok()) {
            bytes.push(byte);
            rest = &behind[2..];
        } else {
            bytes.push(*first);
            rest = behind;
        }
    }
    PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes))
}

/// A time in a name, such as `rec1-20260107T153000Z.wav`; only where it says that it is UTC.
fn time_in(name: &[u8]) -> Option<Wall> {
    let digits = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_digit);
    name.windows(16).find_map(|w| {
        let fits = digits(&w[..8]) && w[8] == b'T' && digits(&w[9..15]) && w[15] == b'Z';
        let t = fits.then(|| std::str::from_utf8(w).ok())??;
        let text =
            format!("{}-{}-{}T{}:{}:{}Z", &t[..4], &t[4..6], &t[6..8], &t[9..11], &t[11..13], &t[13..15]);
        Wall::parse(&text)
    })
}

/// What a list is sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Sort {
    #[default]
    Started,
    Name,
    Length,
    Size,
    Updated,
}

/// A question for a list of recordings.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Query {
    /// In the name, the label, the path or the transcript.
    pub text: Option<String>,
    /// `YYYY-MM-DD`.
    pub day: Option<String>,
    pub from: Option<Wall>,
    pub to: Option<Wall>,
    pub min_s: Option<f64>,
    pub max_s: Option<f64>,
    pub extension: Option<String>,
    pub trigger: Option<String>,
    pub pinned: Option<bool>,
    /// What is in the bin, rather than what is not.
    pub bin: bool,
    pub sort: Sort,
    pub descending: bool,
    pub limit: usize,
    pub cursor: Option<Place>,
}

impl Default for Query {
    fn default() -> Self {
        Query {
            text: None,
            day: None,
            from: None,
            to: None,
            min_s: None,
            max_s: None,
            extension: None,
            trigger: None,
            pinned: None,
            bin: false,
            sort: Sort::Started,
            descending: true,
            limit: 100,
            cursor: None,
        }
    }
}

impl Query {
    fn passes(&self, entry: &Entry) -> bool {
        let seconds = || entry.duration_ms().map(|ms| ms as f64 / 1000.0);
        entry.binned_at.is_some() == self.bin
            && self.pinned.is_none_or(|pinned| pinned == entry.pinned)
            && self.extension.as_ref().is_none_or(|e| *e == files::extension(&entry.path))
            && self.from.is_none_or(|from| entry.started() >= from)
            && self.to.is_none_or(|to| entry.started() <= to)
            && self.day.as_ref().is_none_or(|day| *day == day_of(entry.started()))
            && self.min_s.is_none_or(|min| seconds().is_some_and(|s| s >= min))
            && self.max_s.is_none_or(|max| seconds().is_some_and(|s| s <= max))
            && self.trigger.as_ref().is_none_or(|t| entry.triggers().iter().any(|has| **has == **t))
            && self.text.as_ref().is_none_or(|text| entry.mentions(text))
    }

    fn key<'e>(&self, entry: &'e Entry) -> Key<'e> {
        let number = match self.sort {
            Sort::Name => {
                let name = entry.path.file_name().map_or(&[][..], OsStrExt::as_bytes);
                return (0, name, &entry.id);
            }
            Sort::Started => entry.started().0,
            Sort::Length => entry.duration_ms().map_or(0, |ms| ms + 1),
            Sort::Size => entry.stat.bytes,
            Sort::Updated => entry.stat.modified_ns,
        };
        (number, &[], &entry.id)
    }
}

/// What a list is in order of: a number or a name, and the id where they are the same.
type Key<'e> = (u64, &'e [u8], &'e str);

/// Where a page of a list ended: the next one begins behind it, whatever was added or taken away meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    number: u64,
    name: Vec<u8>,
    id: String,
}

impl Place {
    /// As text for the wire.
    pub fn text(&self) -> String {
        format!("{:x}-{}-{}", self.number, hex(&self.name), self.id)
    }

    /// Reads [`Self::text`].
    pub fn parse(text: &str) -> Option<Place> {
        let mut parts = text.splitn(3, '-');
        let number = u64::from_str_radix(parts.next()?, 16).ok()?;
        let name = parts.next()?.as_bytes();
        let digit = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
        let name = name
            .chunks(2)
            .map(|pair| match pair {
                [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
                _ => None,
            })
            .collect::<Option<_>>()?;
        let id = parts.next().filter(|id| id.len() <= 64)?.to_string();
        Some(Place { number, name, id })
    }
}

/// So many, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Sum {
    pub count: u64,
    pub bytes: u64,
}

impl Sum {
    fn add(&mut self, entry: &Entry) {
        self.count += 1;
        self.bytes += entry.stat.bytes;
    }
}

/// One day and how many began on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Day {
    pub day: String,
    pub count: u64,
}

/// One page of a list.
#[derive(Clone, Debug, Default, Serialize)]
#[allow(missing_docs)]
pub struct Page {
    pub items: Vec<Recording>,
    pub next: Option<String>,
    /// How many match, and their bytes.
    pub total: u64,
    pub bytes: u64,
    /// To choose from: of all that are not in the bin, or of all in the bin.
    pub days: Vec<Day>,
    pub extensions: BTreeSet<String>,
    pub triggers: BTreeSet<String>,
}

/// What there is in sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub live: Sum,
    pub pinned: Sum,
    pub bin: Sum,
}

/// See the module above.
#[derive(Debug, Default)]
pub(super) struct Index {
    entries: HashMap<Arc<str>, Entry>,
    by_path: HashMap<Arc<Path>, Arc<str>>,
    by_file: HashMap<(u64, u64), Arc<str>>,
    transcripts: usize,
}

impl Index {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn get(&self, id: &str) -> Option<&Entry> {
        self.entries.get(id)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// One that is not in the bin.
    pub fn at(&self, path: &Path) -> Option<&Entry> {
        self.by_path.get(path).and_then(|id| self.entries.get(id))
    }

    pub fn of_file(&self, stat: &Stat) -> Option<&Entry> {
        self.by_file.get(&(stat.dev, stat.ino)).and_then(|id| self.entries.get(id))
    }

    /// Puts one in, or another in its place. False when there is no room for a new one.
    pub fn put(&mut self, mut entry: Entry) -> bool {
        if self.take(&entry.id).is_none() && self.entries.len() >= limits::RECORDINGS {
            return false;
        }
        if let Some(text) = entry.sidecar.as_mut().and_then(|s| s.transcript.as_mut()) {
            if self.transcripts + text.len() > limits::TRANSCRIPTS_BYTES {
                *text = sidecar::excerpt(text).into();
            }
            self.transcripts += text.len();
        }
        if entry.binned_at.is_none() {
            self.by_path.insert(Arc::clone(&entry.path), Arc::clone(&entry.id));
        }
        self.by_file.insert((entry.stat.dev, entry.stat.ino), Arc::clone(&entry.id));
        self.entries.insert(Arc::clone(&entry.id), entry);
        true
    }

    /// Takes one out.
    pub fn take(&mut self, id: &str) -> Option<Entry> {
        let entry = self.entries.remove(id)?;
        self.transcripts -= entry.transcript().map_or(0, str::len);
        if entry.binned_at.is_none() && self.by_path.get(&entry.path).is_some_and(|at| **at == *id) {
            self.by_path.remove(&entry.path);
        }
        let file = (entry.stat.dev, entry.stat.ino);
        if self.by_file.get(&file).is_some_and(|of| **of == *id) {
            self.by_file.remove(&file);
        }
        Some(entry)
    }

    /// Changes what is no part of a key.
    pub fn change(&mut self, id: &str, how: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.entries.get_mut(id) {
            how(entry);
        }
    }

    /// An id that is free, for a new recording at `path`.
    pub fn free_id(&self, path: &Path, taken: impl Fn(&str) -> bool) -> Arc<str> {
        let mut again = 0;
        loop {
            let id = id_of(path, again);
            if !self.entries.contains_key(&*id) && !taken(&id) {
                return id.into();
            }
            again += 1;
        }
    }

    /// As others see it.
    pub fn show(&self, entry: &Entry, settings: &config::Recordings) -> Recording {
        let extension = files::extension(&entry.path);
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let sidecar = entry.sidecar.as_deref();
        let others = settings.extensions.iter().filter(|e| **e != extension && entry.binned_at.is_none());
        let siblings = others.filter_map(|e| {
            let id = self.by_path.get(&*entry.path.with_extension(e))?;
            Some(Sibling { recording_id: id.to_string(), extension: e.clone() })
        });
        Recording {
            recording_id: entry.id.to_string(),
            name: name(&entry.path),
            path: entry.path.to_string_lossy().into_owned(),
            day: day_of(entry.started()),
            bytes: entry.stat.bytes,
            modified: entry.modified(),
            started_at: entry.started(),
            duration_s: entry.duration_ms().map(|ms| ms as f64 / 1000.0),
            growing: entry.growing,
            pinned: entry.pinned,
            label: entry.label.as_deref().map(String::from),
            binned_at: entry.binned_at,
            sample_rate: entry.wav.map(|w| w.rate),
            channels: entry.wav.map(|w| w.channels),
            bits: entry.wav.map(|w| w.bits),
            recorder_id: sidecar
                .and_then(|s| s.recorder_id.as_deref())
                .or(settings.recorder.as_deref())
                .map(String::from),
            triggers: entry.triggers().iter().map(|t| t.to_string()).collect(),
            end_reason: sidecar.and_then(|s| s.end_reason.as_deref()).map(String::from),
            waveform: entry.waveform,
            playable: playable(&extension),
            siblings: siblings.collect(),
            markers: sidecar.map(|s| s.markers.clone()).unwrap_or_default(),
            transcript: entry.transcript().map(sidecar::excerpt),
            error: entry.error.as_deref().map(String::from),
            extension,
        }
    }

    /// What there is in sum.
    pub fn sums(&self) -> Sums {
        let mut sums = Sums::default();
        for entry in self.entries.values() {
            if entry.binned_at.is_some() { &mut sums.bin } else { &mut sums.live }.add(entry);
            if entry.pinned && entry.binned_at.is_none() {
                sums.pinned.add(entry);
            }
        }
        sums
    }

    /// The ids of all that match, in order, as far as `most`.
    pub fn ids(&self, query: &Query, most: usize) -> Vec<Arc<str>> {
        let mut found: Vec<&Entry> = self.entries.values().filter(|e| query.passes(e)).collect();
        found.sort_unstable_by(|a, b| query.key(a).cmp(&query.key(b)));
        if query.descending {
            found.reverse();
        }
        found.into_iter().take(most).map(|e| Arc::clone(&e.id)).collect()
    }

    /// One page of a list.
    pub fn page(&self, query: &Query, settings: &config::Recordings) -> Page {
        let mut page = Page::default();
        let mut days: BTreeMap<u64, u64> = BTreeMap::new();
        let mut found = Vec::new();
        for entry in self.entries.values().filter(|e| (e.binned_at.is_some()) == query.bin) {
            *days.entry(entry.started().0 / 86_400_000).or_default() += 1;
            let extension = entry.path.extension().unwrap_or_default().to_string_lossy();
            if !page.extensions.contains(&*extension) {
                page.extensions.insert(extension.to_lowercase());
            }
            for trigger in entry.triggers() {
                if !page.triggers.contains(&**trigger) && page.triggers.len() < limits::TRIGGER_WORDS {
                    page.triggers.insert(trigger.to_string());
                }
            }
            if query.passes(entry) {
                page.total += 1;
                page.bytes += entry.stat.bytes;
                found.push((query.key(entry), entry));
            }
        }
        let newest = days.into_iter().rev().take(366);
        page.days = newest.map(|(day, count)| Day { day: day_of(Wall(day * 86_400_000)), count }).collect();
        if let Some(place) = &query.cursor {
            let key = (place.number, &*place.name, &*place.id);
            found.retain(|(k, _)| if query.descending { *k < key } else { *k > key });
        }
        type Found<'f> = (Key<'f>, &'f Entry);
        let order = |a: &Found<'_>, b: &Found<'_>| {
            if query.descending { b.0.cmp(&a.0) } else { a.0.cmp(&b.0) }
        };
        // Only what is shown has to be in order.
        let more = found.len() > query.limit && query.limit > 0;
        if more {
            found.select_nth_unstable_by(query.limit - 1, order);
            found.truncate(query.limit);
        }
        found.sort_unstable_by(order);
        if more && let Some(((number, name, id), _)) = found.last() {
            page.next = Some(Place { number: *number, name: name.to_vec(), id: id.to_string() }.text());
        }
        page.items = found.into_iter().map(|(_, entry)| self.show(entry, settings)).collect();
        page
    }
}

/// `YYYY-MM-DD`, UTC.
fn day_of(at: Wall) -> String {
    let mut text = at.rfc3339();
    text.truncate(10);
    text
}

/// Whether browsers play files of this extension.
fn playable(extension: &str) -> bool {
    matches!(extension, "wav" | "mp3" | "ogg" | "opus" | "flac" | "m4a" | "webm")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(path: &str, day: u64, bytes: u64) -> Entry {
        let path: Arc<Path> = Path::new(path).into();
        let stat = Stat { dev: 1, ino: bytes, bytes, modified_ns: day * 86_400_000_000_000 };
        Entry::new(id_of(&path, 0).into(), path, stat)
    }

    fn index(count: u64) -> Index {
        let mut index = Index::default();
        for n in 0..count {
            // Several of one day, so that the id decides.
            assert!(index.put(entry(&format!("d/{n:05}.wav"), n / 3, n)));
        }
        index
    }

    fn settings() -> config::Recordings {
        config::Recordings::default()
    }

    #[test]
    fn pages_follow_each_other_whatever_comes_between() {
        let mut index = index(1000);
        for (sort, descending) in [
            (Sort::Started, true),
            (Sort::Started, false),
            (Sort::Name, true),
            (Sort::Size, false),
            (Sort::Length, true),
            (Sort::Updated, true),
        ] {
            let mut query = Query { sort, descending, limit: 77, ..Query::default() };
            let whole = index.ids(&query, 10_000);
            let mut seen = Vec::new();
            loop {
                let page = index.page(&query, &settings());
                assert_eq!(page.total, index.len() as u64);
                seen.extend(page.items.iter().map(|r| r.recording_id.clone()));
                // Something new at the front does not shift what follows.
                let new = format!("new/{}-{sort:?}-{descending}.wav", seen.len());
                if descending && sort == Sort::Started {
                    index.put(entry(&new, 9_999, 1));
                }
                let Some(next) = page.next else { break };
                query.cursor = Some(Place::parse(&next).unwrap());
            }
            assert_eq!(seen.len(), whole.len());
            assert!(seen.iter().zip(&whole).all(|(a, b)| **a == **b), "{sort:?} {descending}");
        }
    }

    #[test]
    fn questions_are_answered() {
        let mut index = Index::default();
        let mut a = entry("2026/owl-20260107T153000Z.wav", 20_000, 10);
        a.label = Some("Barn".into());
        a.sidecar = Some(Box::new(Sidecar {
            triggers: vec!["level".into()],
            transcript: Some("the Quick fox".into()),
            ..Sidecar::default()
        }));
        let mut b = entry("2026/owl-20260107T153000Z.opus", 20_000, 20);
        b.pinned = true;
        let mut c = entry("gone.wav", 3, 30);
        c.binned_at = Some(Wall(5));
        for e in [a, b, c] {
            index.put(e);
        }
        let ask = |query: Query| {
            let page = index.page(&query, &settings());
            page.items.iter().map(|r| r.extension.clone()).collect::<Vec<_>>().join(",")
        };
        let q = Query::default;
        let text = |t: &str| Query { text: Some(t.into()), ..q() };
        for (name, query, expected) in [
            ("all", q(), "opus,wav"),
            ("label", text("barn"), "wav"),
            ("transcript", text("quick"), "wav"),
            ("path", text("2026/owl"), "opus,wav"),
            ("nothing", text("wolf"), ""),
            ("day", Query { day: Some("2026-01-07".into()), ..q() }, "opus,wav"),
            ("other day", Query { day: Some("2026-01-08".into()), ..q() }, ""),
            ("from", Query { from: Wall::parse("2026-01-07T15:30:00Z"), ..q() }, "opus,wav"),
            ("to", Query { to: Wall::parse("2026-01-07T15:29:59Z"), ..q() }, ""),
            ("trigger", Query { trigger: Some("level".into()), ..q() }, "wav"),
            ("extension", Query { extension: Some("opus".into()), ..q() }, "opus"),
            ("pinned", Query { pinned: Some(true), ..q() }, "opus"),
            ("not pinned", Query { pinned: Some(false), ..q() }, "wav"),
            ("bin", Query { bin: true, ..q() }, "wav"),
            ("no length is known", Query { min_s: Some(0.0), ..q() }, ""),
        ] {
            // Two with the same start: by id, so say it sorted.
            let mut got: Vec<_> = ask(query).split(',').map(String::from).collect();
            got.sort();
            assert_eq!(got.join(","), expected, "{name}");
        }
        let page = index.page(&q(), &settings());
        assert_eq!(page.days, [Day { day: "2026-01-07".into(), count: 2 }]);
        assert_eq!(page.items[0].siblings.len(), 1);
        assert_ne!(page.items[0].siblings[0].extension, page.items[0].extension);
        let sums = index.sums();
        assert_eq!((sums.live.bytes, sums.pinned.count, sums.bin), (30, 1, Sum { count: 1, bytes: 30 }));
    }

    #[test]
    fn transcripts_of_all_together_are_bounded() {
        let mut index = Index::default();
        let text = "x".repeat(limits::TRANSCRIPT_BYTES);
        let count = limits::TRANSCRIPTS_BYTES / text.len() + 10;
        for n in 0..count {
            let mut e = entry(&format!("{n}.wav"), 1, n as u64);
            e.sidecar =
                Some(Box::new(Sidecar { transcript: Some(text.as_str().into()), ..Sidecar::default() }));
            index.put(e);
        }
        assert!(index.transcripts <= limits::TRANSCRIPTS_BYTES + 10 * limits::EXCERPT_CHARS);
        let ids: Vec<_> = index.iter().map(|e| Arc::clone(&e.id)).collect();
        ids.iter().for_each(|id| drop(index.take(id)));
        assert_eq!((index.transcripts, index.by_path.len(), index.by_file.len()), (0, 0, 0));
    }

    #[test]
    fn only_what_somebody_touched_is_kept_in_the_store() {
        let mut e = entry("a.wav", 1, 1);
        assert_eq!(e.marks(), None);
        e.path = Path::new("b.wav").into();
        assert_eq!(e.marks().unwrap().path, "b.wav");
        let mut e = entry("a.wav", 1, 1);
        e.pinned = true;
        assert!(e.marks().unwrap().pinned);
    }

    #[test]
    fn times_in_names() {
        assert_eq!(time_in(b"rec1-20260107T153000Z-12.wav"), Wall::parse("2026-01-07T15:30:00Z"));
        for name in ["20260107T153000.wav", "20261307T153000Z", "x"] {
            assert_eq!(time_in(name.as_bytes()), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_path_is_kept_exactly(bytes in proptest::collection::vec(1u8.., 1..60)) {
            let path = PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes));
            prop_assert_eq!(from_text(&to_text(&path)), path);
        }

        #[test]
        fn any_text_is_read_as_a_place_or_not(text in "\\PC{0,60}", number: u64, name in proptest::collection::vec(any::<u8>(), 0..20)) {
            let _ = Place::parse(&text);
            let _ = from_text(&text);
            let place = Place { number, name, id: "r-1".into() };
            prop_assert_eq!(Place::parse(&place.text()), Some(place));
        }
    }
}
