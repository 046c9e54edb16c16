//! The thread `recordings`: watches the folder, keeps the index, does what is asked, clears what is too much.
//!
//! Everything comes down to one question, asked again and again: what is at this path now? inotify says when to ask it of
//! which path, a walk asks it of all of them at the start, after lost events, and every now and then for shares that tell nothing.

use super::files::{self, Changes, Stat, Watcher};
use super::index::{self, Entry, Index, Marks};
use super::retention::{self, Item, Now, Plan, Rules, Why};
use super::wav::{self, Length};
use super::work::Work;
use super::{Clip, Op, Patch, Recordings, Refusal, Refused, Request, failed, refuse, sidecar, unknown};
use crate::clock::Wall;
use crate::config;
use crate::limits;
use crate::model::{Level, Recording, RecordingChange as Change, Severity, SourceState, WaveformState};
use crate::sources::inputs::Until;
use crate::sources::publish::Report;
use crate::sources::{monotonic, publish};
use crossbeam::channel::Receiver;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long it waits for something to happen; a stop is noticed within that.
const TURN: Duration = Duration::from_millis(250);
/// Rest after changes, so that a hundred writes are one look; requests are heard meanwhile.
const REST: Duration = Duration::from_millis(150);
/// A closed file that has not changed for this long is finished; growing ones are looked at this often.
const CLOSED_STILL: Duration = Duration::from_millis(400);
/// What is gone from its path for this long has gone, and has no other name.
const GONE: Duration = Duration::from_millis(300);
/// How often it is looked whether the folder is still there.
const LOOK: Duration = Duration::from_secs(1);
/// How often the growth of one file is told.
const TELL: Duration = Duration::from_secs(10);
/// How often an absent folder is looked for, the drop folder is read, the disk is measured.
const SEEK: Duration = Duration::from_secs(2);
/// A walk follows another after this long at the earliest.
const WALK_REST: Duration = Duration::from_secs(1);
/// A file with a wrong header is left alone until it has been still for this long.
const REPAIR_STILL: Duration = Duration::from_secs(60);
/// What took the place of a recording that was cut is kept for this long.
const UNDO: Duration = Duration::from_secs(24 * 3600);
/// Headers and sidecars read in one turn, so that nobody waits long behind a folder full of new files.
const EXAMINED: usize = 64;
/// Times before 2020 are those of a clock that was not set: they say nothing of an age.
const NO_CLOCK: Wall = Wall(1_577_836_800_000);

/// See the module above.
pub(super) struct Keeper {
    hub: Arc<Recordings>,
    settings: config::Recordings,
    root: PathBuf,
    requests: Receiver<Request>,
    wake: Arc<OwnedFd>,
    watcher: Option<Watcher>,
    report: Report,
    attached: bool,
    /// Rows of the store.
    rows: HashMap<String, Marks>,
    dirty: BTreeSet<PathBuf>,
    closed: BTreeSet<PathBuf>,
    /// What is no longer at its path, and since when.
    missing: BTreeMap<PathBuf, Duration>,
    growing: BTreeSet<Arc<str>>,
    examine: VecDeque<Arc<str>>,
    /// To be put right when they have been still for long enough.
    wrong: BTreeMap<Arc<str>, Duration>,
    /// What waits in the drop folder: since when, and how it was then.
    dropped: BTreeMap<PathBuf, (Duration, Stat)>,
    held: Vec<(Item, Why)>,
    walk: u32,
    rescan: bool,
    walked: Duration,
    looked: Duration,
    checked: Duration,
    sought: Duration,
    retained: Duration,
    /// Changes told in this second, and those that were too many.
    told: (Duration, u32, u64),
    overflows: u64,
    beyond: u64,
    error: Option<String>,
    store_error: bool,
}

impl Keeper {
    pub fn new(
        hub: Arc<Recordings>,
        settings: config::Recordings,
        root: PathBuf,
        requests: Receiver<Request>,
        wake: Arc<OwnedFd>,
    ) -> Keeper {
        let mut report = Report::new("recordings", "recordings", Duration::from_secs(2));
        report.detail("folder", root.to_string_lossy());
        Keeper {
            hub,
            settings,
            root,
            requests,
            wake,
            watcher: None,
            report,
            attached: false,
            rows: HashMap::new(),
            dirty: BTreeSet::new(),
            closed: BTreeSet::new(),
            missing: BTreeMap::new(),
            growing: BTreeSet::new(),
            examine: VecDeque::new(),
            wrong: BTreeMap::new(),
            dropped: BTreeMap::new(),
            held: Vec::new(),
            walk: 0,
            rescan: false,
            walked: Duration::ZERO,
            looked: Duration::ZERO,
            checked: Duration::ZERO,
            sought: Duration::ZERO,
            retained: Duration::ZERO,
            told: (Duration::ZERO, 0, 0),
            overflows: 0,
            beyond: 0,
            error: None,
            store_error: false,
        }
    }

    /// Until it is over.
    pub fn run(mut self, until: &Until) {
        while !until.is_over() {
            let now = monotonic();
            self.folder(now);
            let mut busy = false;
            if self.attached {
                busy = self.changes();
                self.look(now);
                self.examine_some();
            }
            let requests: Vec<Request> = self.requests.try_iter().collect();
            for request in requests {
                let answer = self.act(request.op);
                if let Some(to) = request.answer {
                    let _ = to.try_send(answer);
                }
            }
            if self.attached {
                self.seek(now);
                self.retain(now, false);
            }
            self.say(now);
            self.wait(busy);
        }
        self.hub.lock().hand = None;
        // A reload, not the end: whatever is configured next must not be taken for this.
        if !until.daemon.is_stopped() {
            self.report.state(SourceState::Disabled);
            self.report.flush(&self.hub.bus);
        }
    }

    /// Waits for a request, and unless there was one just now for a change.
    fn wait(&self, busy: bool) {
        if !self.examine.is_empty() {
            return;
        }
        let mut fds = vec![PollFd::new(&*self.wake, PollFlags::IN)];
        if let Some(watcher) = self.watcher.as_ref().filter(|_| !busy) {
            fds.push(PollFd::new(&watcher.fd, PollFlags::IN));
        }
        let time = if busy { REST } else { TURN };
        let time = Timespec { tv_sec: 0, tv_nsec: time.subsec_nanos() as _ };
        // Interrupted or not: the loop looks again.
        let _ = poll(&mut fds, Some(&time));
        let _ = rustix::io::read(&*self.wake, &mut [0; 8]);
    }

    // ---- the folder ----

    /// Comes and goes with the folder.
    fn folder(&mut self, now: Duration) {
        if self.attached {
            if now < self.checked + LOOK {
                return;
            }
            self.checked = now;
            if self.root.is_dir() {
                return;
            }
            log::warn!("recordings: the folder `{}` is gone; waiting for it", self.root.display());
            self.leave();
            self.sought = now;
        } else if self.sought == Duration::ZERO || now >= self.sought + SEEK {
            self.sought = now;
            if self.is_bench() {
                let _ = std::fs::create_dir_all(&self.root);
            }
            if self.root.is_dir() {
                self.attach(now);
            } else {
                if self.error.is_none() {
                    log::warn!("recordings: there is no folder `{}`; waiting for it", self.root.display());
                }
                self.absent();
            }
        }
    }

    fn is_bench(&self) -> bool {
        self.root == self.hub.data.join(super::BENCH_FOLDER)
    }

    fn absent(&mut self) {
        self.error = Some(format!("there is no folder `{}`", self.root.display()));
        self.report.state(SourceState::Absent);
    }

    /// The folder is gone: so is what is known of it. Marks are kept.
    fn leave(&mut self) {
        let mut shared = self.hub.lock();
        shared.index = Index::default();
        shared.live.clear();
        shared.folder.disk = None;
        drop(shared);
        self.attached = false;
        self.watcher = None;
        self.dirty.clear();
        self.closed.clear();
        self.missing.clear();
        self.growing.clear();
        self.examine.clear();
        self.wrong.clear();
        self.absent();
    }

    /// The folder is there: reads what is in it, without telling of each.
    fn attach(&mut self, now: Duration) {
        self.report.state(SourceState::Opening);
        match self.hub.store.shelf(PREFIX) {
            Ok(rows) => {
                let row = |(key, value): (String, Vec<u8>)| {
                    Some((key.strip_prefix(PREFIX)?.to_string(), serde_json::from_slice(&value).ok()?))
                };
                self.rows = rows.into_iter().filter_map(row).collect();
            }
            Err(e) => log::error!("recordings: failed to read what was marked: {e}"),
        }
        self.attached = true;
        self.error = None;
        self.watcher = match Watcher::new() {
            Ok(watcher) => Some(watcher),
            Err(e) => {
                log::warn!(
                    "recordings: the folder can't be watched, so it is read every {:?}: {e}",
                    SEEK * 5
                );
                None
            }
        };
        let mut binned = Vec::new();
        files::walk_bin(&self.root, &self.settings.extensions, |id, path, stat| {
            binned.push((id, path, stat))
        });
        for (id, path, stat) in binned {
            self.remember_binned(id, path, stat);
        }
        self.walk(now, true);
        self.forget_missing();
        // What came between the walk and the watch.
        self.rescan = true;
        let stored = self.stored_peaks();
        let mut shared = self.hub.lock();
        let ready: Vec<Arc<str>> = shared
            .index
            .iter()
            .filter(|e| stored.contains(&(e.id.to_string(), e.stat.bytes, e.stat.modified_ns)))
            .map(|e| Arc::clone(&e.id))
            .collect();
        ready.iter().for_each(|id| shared.index.change(id, |e| e.waveform = WaveformState::Ready));
        let (count, took) = (shared.index.len(), monotonic().saturating_sub(now));
        drop(shared);
        log::info!("recordings: {count} in `{}`, read in {} ms", self.root.display(), took.as_millis());
        self.retained = now;
        self.report.state(SourceState::Ok);
    }

    /// The recordings, as they were, whose peaks are stored.
    fn stored_peaks(&self) -> BTreeSet<(String, u64, u64)> {
        let Ok(entries) = std::fs::read_dir(self.hub.data.join(super::PEAKS_FOLDER)) else {
            return BTreeSet::new();
        };
        let names = entries.flatten().filter_map(|e| e.file_name().into_string().ok());
        let parts = names.filter_map(|name| {
            let mut parts = name.strip_suffix(".peaks")?.split('.');
            let id = parts.next()?.to_string();
            let mut number = || u64::from_str_radix(parts.next()?, 16).ok();
            Some((id, number()?, number()?))
        });
        parts.take(limits::RECORDINGS).collect()
    }

    fn remember_binned(&mut self, id: String, path: PathBuf, stat: Stat) {
        let marks = self.rows.get(&id);
        let mut entry = Entry::new(id.as_str().into(), path.into(), stat);
        // Without a row: since the folder was made for it.
        let since = || files::folder_time(&self.root.join(files::BIN).join(&id));
        entry.binned_at = Some(marks.and_then(|m| m.binned_at).unwrap_or_else(since));
        if let Some(marks) = marks {
            entry.pinned = marks.pinned;
            entry.label = marks.label.as_deref().map(Into::into);
            entry.keep_until = marks.keep_until;
        }
        let id = Arc::clone(&entry.id);
        // Several files of one id: only the first is the recording.
        let mut shared = self.hub.lock();
        if shared.index.get(&id).is_none() && shared.index.put(entry) {
            self.examine.push_back(id);
        }
    }

    /// Rows of files that were missing at two starts go.
    fn forget_missing(&mut self) {
        let shared = self.hub.lock();
        let missing: Vec<String> =
            self.rows.keys().filter(|id| shared.index.get(id).is_none()).cloned().collect();
        drop(shared);
        let mut changed = Vec::new();
        for id in missing {
            let Some(marks) = self.rows.get_mut(&id) else { continue };
            let value = if marks.missing {
                self.rows.remove(&id);
                None
            } else {
                marks.missing = true;
                serde_json::to_vec(marks).ok()
            };
            changed.push((format!("{PREFIX}{id}"), value));
        }
        self.shelve(&changed);
    }

    /// Asks of every path what is there.
    fn walk(&mut self, now: Duration, first: bool) {
        self.rescan = false;
        self.walked = now;
        self.walk = self.walk.wrapping_add(1);
        self.beyond = 0;
        let mut found = Vec::new();
        let walked =
            files::walk(&self.root, self.settings.subfolders, &self.settings.extensions, |path, stat| {
                found.push((path, stat));
            });
        let walked = match walked {
            Ok(walked) => walked,
            Err(e) => {
                self.error = Some(format!("failed to read `{}`: {e}", self.root.display()));
                self.report.state(SourceState::Error);
                return;
            }
        };
        if first {
            files::clear_parts(&self.root, &walked.folders);
        }
        if let Some(watcher) = &mut self.watcher
            && let Err(e) = watcher.watch(&self.root, &walked.folders)
        {
            if self.error.is_none() {
                log::warn!(
                    "recordings: not every folder can be watched; what changes there is seen later: {e}"
                );
            }
            self.error = Some(format!("not every folder can be watched: {e}"));
        } else {
            self.error = walked.unreadable;
            self.report.state(SourceState::Ok);
        }
        self.report.detail("links_passed_over", walked.links);
        for (path, stat) in found {
            self.observe(path, stat, now, first);
        }
        let shared = self.hub.lock();
        let gone: Vec<Arc<str>> = shared
            .index
            .iter()
            .filter(|e| e.seen != self.walk && e.binned_at.is_none())
            .map(|e| Arc::clone(&e.id))
            .collect();
        drop(shared);
        for id in gone {
            self.check_gone(&id);
        }
    }

    /// Takes what the watch says; true when there was something.
    fn changes(&mut self) -> bool {
        let changes = self.watcher.as_mut().map_or_else(Changes::default, Watcher::take);
        let now = monotonic();
        self.overflows += u64::from(changes.rescan && changes.files.is_empty());
        self.rescan |= changes.rescan;
        let any = changes.rescan || !changes.files.is_empty();
        self.dirty.extend(changes.files);
        self.closed.extend(changes.closed);
        let every = if self.watcher.is_some() { self.settings.rescan } else { SEEK * 5 };
        if (self.rescan && now >= self.walked + WALK_REST) || now >= self.walked + every {
            self.walk(now, false);
        }
        let dirty = std::mem::take(&mut self.dirty);
        let (there, gone): (Vec<_>, Vec<_>) = dirty
            .into_iter()
            .map(|path| {
                let stat = files::stat(&self.root.join(&path));
                (path, stat)
            })
            .partition(|(_, stat)| stat.is_some());
        // What is there first: what has gone from another name may be among it.
        for (path, stat) in there {
            if !files::is_recording(&path, &self.settings.extensions) {
                self.beside(&path);
            } else if let Some(stat) = stat {
                self.observe(path, stat, now, false);
            }
        }
        for (path, _) in gone {
            self.missing.entry(path).or_insert(now);
        }
        // A folder that is not watched yet may be where they went.
        if !self.rescan {
            let due = self.missing.iter().filter(|(_, since)| now >= **since + GONE);
            for path in due.map(|(path, _)| path.clone()).collect::<Vec<_>>() {
                self.missing.remove(&path);
                let id = self.hub.lock().index.at(&path).map(|e| Arc::clone(&e.id));
                match id {
                    Some(id) => self.check_gone(&id),
                    None => self.beside(&path),
                }
            }
        }
        for path in std::mem::take(&mut self.closed) {
            let mut shared = self.hub.lock();
            if let Some(id) = shared.index.at(&path).map(|e| Arc::clone(&e.id)) {
                shared.index.change(&id, |e| e.closed = true);
            }
        }
        any
    }

    /// A sidecar came or went: its recordings say something else.
    fn beside(&mut self, path: &Path) {
        if !sidecar::is_one(path) {
            return;
        }
        let shared = self.hub.lock();
        let stem = path.with_extension("");
        // `a.wav.json` is of `a.wav`, `a.json` of everything called `a`.
        let mut of: Vec<Arc<str>> = shared.index.at(&stem).map(|e| Arc::clone(&e.id)).into_iter().collect();
        for extension in &self.settings.extensions {
            let sibling = shared.index.at(&path.with_extension(extension));
            of.extend(sibling.map(|e| Arc::clone(&e.id)));
        }
        drop(shared);
        for id in of {
            if self.examine_one(&id) {
                self.tell(&id, Change::Labelled, None);
            }
        }
    }

    /// What is at this path now.
    fn observe(&mut self, path: PathBuf, stat: Stat, now: Duration, first: bool) {
        let shared = self.hub.lock();
        let at = shared.index.at(&path).map(|e| (Arc::clone(&e.id), e.stat, e.growing));
        let same = shared.index.of_file(&stat).map(|e| (Arc::clone(&e.id), e.place()));
        drop(shared);
        match (at, same) {
            (Some((id, was, _)), _) if (was.dev, was.ino) == (stat.dev, stat.ino) => {
                let changed = was != stat;
                let walk = self.walk;
                self.change(&id, |e| e.seen = walk);
                if changed {
                    self.grew(&id, stat, now);
                }
            }
            // Another file took its name, and that file is one we know: it was renamed over it.
            (Some((old, ..)), Some((id, place))) if id != old && self.moved_away(&place, &stat) => {
                self.lose(&old, "replaced by another file");
                self.moved(&id, path, stat);
            }
            // Another file took its name.
            (Some((id, ..)), _) => {
                let walk = self.walk;
                self.rekey(&id, |e| {
                    e.seen = walk;
                    e.wav = None;
                    e.error = None;
                    e.repaired = true;
                    e.stat.ino = stat.ino;
                    e.stat.dev = stat.dev;
                });
                self.hub.lock().live.remove(&id);
                self.grew(&id, stat, now);
            }
            (None, Some((id, place))) if self.moved_away(&place, &stat) => self.moved(&id, path, stat),
            (None, _) => self.add(path, stat, now, first),
        }
    }

    /// Whether the file is no longer where it was.
    fn moved_away(&self, place: &Path, stat: &Stat) -> bool {
        files::stat(&self.root.join(place)).is_none_or(|s| (s.dev, s.ino) != (stat.dev, stat.ino))
    }

    fn add(&mut self, path: PathBuf, stat: Stat, now: Duration, first: bool) {
        let text = index::to_text(&path);
        // A row that has its path, or one whose file was renamed while nobody looked.
        let row = |(id, marks): (&String, &Marks)| (id.clone(), marks.clone());
        let by_path = self.rows.iter().find(|(_, m)| m.path == text && m.binned_at.is_none());
        let known = by_path.map(row).or_else(|| {
            let same =
                |m: &Marks| (m.ino, m.bytes, m.modified_ns) == (stat.ino, stat.bytes, stat.modified_ns);
            let lost = |m: &Marks| files::stat(&self.root.join(index::from_text(&m.path))).is_none();
            self.rows.iter().find(|(_, m)| m.binned_at.is_none() && same(m) && lost(m)).map(row)
        });
        let mut shared = self.hub.lock();
        let known = known.filter(|(id, _)| shared.index.get(id).is_none());
        let id = match &known {
            Some((id, _)) => id.as_str().into(),
            None => shared.index.free_id(&path, |id| self.rows.contains_key(id)),
        };
        let mut entry = Entry::new(Arc::clone(&id), path.into(), stat);
        entry.seen = self.walk;
        entry.from_start = first;
        entry.changed = now;
        entry.told = now;
        // Still being written, for all we know, unless it has been still since before it was found.
        let still = Wall::now().0.saturating_sub(stat.modified_ns / 1_000_000);
        entry.growing = u128::from(still) < self.settings.still_after.as_millis();
        if let Some((_, marks)) = &known {
            entry.pinned = marks.pinned;
            entry.label = marks.label.as_deref().map(Into::into);
            entry.keep_until = marks.keep_until;
        }
        if entry.growing {
            self.growing.insert(Arc::clone(&id));
        }
        let room = shared.index.put(entry);
        drop(shared);
        if !room {
            if self.beyond == 0 {
                log::warn!("recordings: there are more than {}; the rest is not listed", limits::RECORDINGS);
            }
            self.beyond += 1;
            return;
        }
        if known.is_some_and(|(_, marks)| marks.path != text || marks.missing) {
            self.keep(&id);
        }
        if first {
            self.examine.push_back(id);
        } else {
            self.examine_one(&id);
            self.tell(&id, Change::Added, None);
        }
    }

    /// It has another size, or another time.
    fn grew(&mut self, id: &Arc<str>, stat: Stat, now: Duration) {
        let mut tell = false;
        self.rekey(id, |e| {
            tell = !e.growing || now >= e.told + TELL;
            e.stat = stat;
            e.growing = true;
            e.changed = now;
            e.closed = false;
            e.waveform = WaveformState::None;
            if tell {
                e.told = now;
            }
        });
        self.wrong.remove(id);
        self.growing.insert(Arc::clone(id));
        self.examine_one(id);
        if tell {
            self.tell(id, Change::Growing, None);
        }
    }

    /// It is at another path now.
    fn moved(&mut self, id: &Arc<str>, path: PathBuf, stat: Stat) {
        let (mut from_bin, mut old, walk) = (false, PathBuf::new(), self.walk);
        self.rekey(id, |e| {
            from_bin = e.binned_at.take().is_some();
            old = e.path.to_path_buf();
            e.path = path.into();
            e.stat = stat;
            e.seen = walk;
        });
        self.examine_one(id);
        self.keep(id);
        let was = format!("was {}", old.display());
        self.tell(id, if from_bin { Change::Restored } else { Change::Renamed }, Some(&was));
    }

    /// Whether it is gone, or has only another name.
    fn check_gone(&mut self, id: &Arc<str>) {
        let shared = self.hub.lock();
        let Some(entry) = shared.index.get(id) else { return };
        let place = entry.place();
        drop(shared);
        if files::stat(&self.root.join(&place)).is_some() {
            return;
        }
        // The whole folder may be gone: then nobody deleted anything.
        if !self.root.is_dir() {
            return;
        }
        self.lose(id, "deleted by others");
    }

    /// It is no longer there.
    fn lose(&mut self, id: &Arc<str>, why: &str) {
        let mut shared = self.hub.lock();
        let Some(entry) = shared.index.get(id) else { return };
        let recording = shared.index.show(entry, &self.settings);
        shared.index.take(id);
        shared.live.remove(id);
        drop(shared);
        self.forget(&[Arc::clone(id)]);
        if self.may_tell() {
            self.hub.tell_of(recording, Change::Purged, Some(why));
        }
    }

    /// Changes what is no part of a key of the index.
    fn change(&self, id: &str, how: impl FnOnce(&mut Entry)) {
        self.hub.lock().index.change(id, how);
    }

    /// Changes anything.
    fn rekey(&self, id: &str, how: impl FnOnce(&mut Entry)) {
        let mut shared = self.hub.lock();
        if let Some(mut entry) = shared.index.take(id) {
            how(&mut entry);
            shared.index.put(entry);
        }
    }

    // ---- what grows, what is new ----

    /// Looks at what grows.
    fn look(&mut self, now: Duration) {
        if now < self.looked + CLOSED_STILL {
            return;
        }
        self.looked = now;
        for id in self.growing.clone() {
            let shared = self.hub.lock();
            let Some(entry) = shared.index.get(&id).filter(|e| e.binned_at.is_none()).cloned() else {
                self.growing.remove(&id);
                continue;
            };
            drop(shared);
            match files::stat(&self.root.join(&*entry.path)) {
                Some(stat) if stat != entry.stat => self.observe(entry.path.to_path_buf(), stat, now, false),
                Some(_) => {
                    let still = if entry.closed { CLOSED_STILL } else { self.settings.still_after };
                    if now >= entry.changed + still {
                        self.finish(&id);
                    }
                }
                None => self.rescan = true,
            }
        }
        let due: Vec<Arc<str>> =
            self.wrong.iter().filter(|(_, at)| **at <= now).map(|(id, _)| Arc::clone(id)).collect();
        for id in due {
            self.wrong.remove(&id);
            self.change(&id, |e| e.repaired = true);
            let _ = self.hub.later.0.try_send(Work::Repair(id));
        }
    }

    fn finish(&mut self, id: &Arc<str>) {
        self.growing.remove(id);
        self.change(id, |e| e.growing = false);
        self.examine_one(id);
        let shared = self.hub.lock();
        let wav = shared.index.get(id).is_some_and(|e| e.wav.is_some_and(|w| w.coding.is_some()));
        drop(shared);
        self.tell(id, Change::Finished, None);
        if wav {
            // Its bytes are still in memory: now is when it costs least.
            self.hub.want_peaks(id, false);
        }
    }

    fn examine_some(&mut self) {
        for _ in 0..EXAMINED {
            let Some(id) = self.examine.pop_front() else { return };
            self.examine_one(&id);
        }
    }

    /// Reads its header and what stands beside it; true when something was news.
    fn examine_one(&mut self, id: &Arc<str>) -> bool {
        let shared = self.hub.lock();
        let Some(entry) = shared.index.get(id) else { return false };
        let (place, extension, old) = (entry.place(), files::extension(&entry.path), entry.clone());
        drop(shared);
        let path = self.root.join(place);
        let read = files::open(&path).map_err(|e| format!("failed to open: {e}")).and_then(|file| {
            let length = file.metadata().map_or(0, |m| m.len());
            if extension == "wav" { wav::read(&file, length).map(Some) } else { Ok(None) }
        });
        let (wav, error) = match read {
            Ok(wav) => (wav, None),
            // The header comes with the first bytes; until then nothing is wrong.
            Err(_) if old.growing && old.stat.bytes < 44 => (None, None),
            Err(e) => (None, Some(e.into_boxed_str())),
        };
        let sidecar = sidecar::read(&path);
        let sidecar = (sidecar != sidecar::Sidecar::default()).then(|| Box::new(sidecar));
        let news = sidecar != old.sidecar;
        let newly_failed = error.is_some() && old.error.is_none() && !old.growing;
        if let Some(wav) = &wav
            && wav.length == Length::Wrong
            && self.settings.repair
            && old.from_start
            && !old.growing
            && !old.repaired
            && old.binned_at.is_none()
        {
            let still = Wall::now().0.saturating_sub(old.stat.modified_ns / 1_000_000);
            let wait = REPAIR_STILL.saturating_sub(Duration::from_millis(still));
            self.wrong.insert(Arc::clone(id), monotonic() + wait);
        }
        self.rekey(id, |e| {
            e.wav = wav;
            e.error = error;
            e.sidecar = sidecar;
        });
        if newly_failed && !old.from_start {
            self.tell(id, Change::Failed, None);
        }
        news
    }

    // ---- what is asked ----

    fn act(&mut self, op: Op) -> Result<Value, Refusal> {
        if !self.attached {
            let detail = format!("the folder `{}` is not there at the moment", self.root.display());
            return Err(refuse(Refused::Failed, "absent", detail));
        }
        match op {
            Op::Patch(id, patch) => {
                let id = self.known(&id)?;
                self.patch(&id, patch)?;
                self.answer(&id)
            }
            Op::Bin(id) => {
                let id = self.known(&id)?;
                self.bin(&id, None)?;
                self.answer(&id)
            }
            Op::Purge(id) => {
                let id = self.known(&id)?;
                let entry = self.entry(&id)?;
                if entry.binned_at.is_none() {
                    let detail = "only what is in the bin can be removed for good; delete it first";
                    return Err(refuse(Refused::Conflict, "not_binned", detail));
                }
                if entry.pinned {
                    return Err(refuse(Refused::Conflict, "pinned", "it is pinned; unpin it first"));
                }
                self.remove(&entry, "removed from the bin")
                    .map_err(|e| failed("failed to remove it from the bin", &e))?;
                self.forget(std::slice::from_ref(&id));
                Ok(json!({ "recording_id": &*id, "purged": true }))
            }
            Op::EmptyBin => {
                let shared = self.hub.lock();
                let all: Vec<Entry> =
                    shared.index.iter().filter(|e| e.binned_at.is_some() && !e.pinned).cloned().collect();
                drop(shared);
                let (count, bytes) = self.remove_all(all.into_iter().map(|e| (e, "the bin was emptied")));
                self.report_purge(count, bytes, "the bin was emptied");
                Ok(json!({ "purged": count, "bytes": bytes }))
            }
            Op::RunHeld => {
                if self.held.is_empty() {
                    return Err(refuse(Refused::Conflict, "nothing_held", "there is no purge that waits"));
                }
                Ok(self.retain_now(true))
            }
            Op::Clipped(id, part, sidecar, clip) => {
                let id = self.known(&id)?;
                let new = self.clipped(&id, &part, &sidecar, &clip)?;
                self.answer(&new)
            }
            Op::Look(id, reason) => {
                let id = self.known(&id)?;
                if let Some(stat) = files::stat(&self.root.join(self.entry(&id)?.place())) {
                    self.rekey(&id, |e| e.stat = stat);
                }
                self.examine_one(&id);
                self.tell(&id, Change::Finished, Some(reason));
                Ok(Value::Null)
            }
        }
    }

    fn known(&self, id: &str) -> Result<Arc<str>, Refusal> {
        self.hub.lock().index.get(id).map(|e| Arc::clone(&e.id)).ok_or_else(|| unknown(id))
    }

    fn entry(&self, id: &str) -> Result<Entry, Refusal> {
        self.hub.lock().index.get(id).cloned().ok_or_else(|| unknown(id))
    }

    fn answer(&self, id: &str) -> Result<Value, Refusal> {
        let shared = self.hub.lock();
        let entry = shared.index.get(id).ok_or_else(|| unknown(id))?;
        let recording = shared.index.show(entry, &self.settings);
        drop(shared);
        serde_json::to_value(recording).map_err(|e| refuse(Refused::Failed, "internal", e.to_string()))
    }

    fn patch(&mut self, id: &Arc<str>, patch: Patch) -> Result<(), Refusal> {
        let entry = self.entry(id)?;
        let name = entry.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(expected) = patch.if_name.filter(|expected| *expected != name) {
            let detail = format!("if_name is {expected:?}; it is called {name:?} now");
            return Err(refuse(Refused::Conflict, "changed", detail));
        }
        if patch.restore {
            self.restore(id)?;
        }
        if let Some(new) = patch.name.filter(|new| *new != name) {
            self.rename(id, &new)?;
        }
        if let Some(label) = patch.label {
            let label = label.map(|l| l.trim().to_string()).filter(|l| !l.is_empty());
            if label.as_ref().is_some_and(|l| l.len() > limits::LABEL_BYTES || l.contains(char::is_control)) {
                let detail =
                    format!("label is too long or no plain text; at most {} bytes", limits::LABEL_BYTES);
                return Err(refuse(Refused::Invalid, "bad_label", detail));
            }
            if label.as_deref() != self.entry(id)?.label.as_deref() {
                self.mark(id, |e| e.label = label.map(Into::into))?;
                self.tell(id, Change::Labelled, None);
            }
        }
        if let Some(pinned) = patch.pinned
            && pinned != self.entry(id)?.pinned
        {
            self.mark(id, |e| e.pinned = pinned)?;
            self.tell(id, if pinned { Change::Pinned } else { Change::Unpinned }, None);
        }
        Ok(())
    }

    /// The file and what belongs to it alone: its sidecars, and those of its stem when no other recording has that stem.
    fn family(&self, path: &Path) -> Vec<PathBuf> {
        let shared = self.hub.lock();
        let siblings = self.settings.extensions.iter().map(|e| path.with_extension(e));
        let shares = siblings.filter(|p| p != path).any(|p| shared.index.at(&p).is_some());
        drop(shared);
        let [json, text, stem_json, stem_text] = sidecar::names(path);
        let mut family = vec![path.to_path_buf(), json, text];
        if !shares {
            family.extend([stem_json, stem_text]);
        }
        family.retain(|p| files::stat(&self.root.join(p)).is_some());
        family
    }

    fn rename(&mut self, id: &Arc<str>, name: &str) -> Result<(), Refusal> {
        let entry = self.entry(id)?;
        let stem = good_name(name, &entry.path)?;
        if entry.binned_at.is_some() {
            return Err(refuse(Refused::Conflict, "binned", "it is in the bin; restore it first"));
        }
        if entry.growing {
            return Err(refuse(Refused::Conflict, "growing", "it is still being recorded"));
        }
        // Everything of this stem keeps together.
        let old_stem = entry.path.file_stem().unwrap_or_default().to_os_string();
        let folder = entry.path.parent().unwrap_or(Path::new("")).to_path_buf();
        let shared = self.hub.lock();
        let siblings = self.settings.extensions.iter().map(|e| entry.path.with_extension(e));
        let of_stem: Vec<PathBuf> = std::iter::once(entry.path.to_path_buf())
            .chain(siblings.filter(|p| **p != *entry.path && shared.index.at(p).is_some()))
            .collect();
        drop(shared);
        let mut old: Vec<PathBuf> =
            of_stem.iter().flat_map(|p| [vec![p.clone()], sidecar::names(p).to_vec()].concat()).collect();
        old.sort();
        old.dedup();
        old.retain(|p| files::stat(&self.root.join(p)).is_some());
        let renamed = |path: &Path| {
            use std::os::unix::ffi::OsStrExt;
            let rest = path.file_name()?.as_bytes().strip_prefix(old_stem.as_bytes())?;
            let mut new = std::ffi::OsString::from(&stem);
            new.push(std::ffi::OsStr::from_bytes(rest));
            Some(folder.join(new))
        };
        let moves: Vec<(PathBuf, PathBuf)> = old
            .iter()
            .filter_map(|from| Some((self.root.join(from), self.root.join(renamed(from)?))))
            .collect();
        files::rename_all(&moves).map_err(|e| match e.kind() {
            std::io::ErrorKind::AlreadyExists => refuse(
                Refused::Conflict,
                "exists",
                format!("there is a file called {name:?}, or one beside it, already"),
            ),
            _ => failed("failed to rename it", &e),
        })?;
        for path in of_stem {
            let shared = self.hub.lock();
            let id = shared.index.at(&path).map(|e| Arc::clone(&e.id));
            drop(shared);
            let (Some(id), Some(new)) = (id, renamed(&path)) else { continue };
            let stat = files::stat(&self.root.join(&new)).unwrap_or(entry.stat);
            self.moved(&id, new, stat);
        }
        Ok(())
    }

    fn bin(&mut self, id: &Arc<str>, keep_until: Option<Wall>) -> Result<(), Refusal> {
        let entry = self.entry(id)?;
        let no = |code, detail| Err(refuse(Refused::Conflict, code, detail));
        if entry.binned_at.is_some() {
            return no("binned", "it is in the bin already; delete with purge=true to remove it for good");
        }
        if entry.pinned {
            return no("pinned", "it is pinned; unpin it first");
        }
        if entry.growing {
            return no("growing", "it is still being recorded");
        }
        let to = self.root.join(files::BIN).join(&**id);
        let family = self.family(&entry.path);
        std::fs::create_dir_all(to.join(entry.path.parent().unwrap_or(Path::new(""))))
            .and_then(|()| {
                let moves: Vec<_> = family.iter().map(|p| (self.root.join(p), to.join(p))).collect();
                files::rename_all(&moves)
            })
            .map_err(|e| failed("failed to move it to the bin", &e))?;
        let now = Wall::now();
        self.rekey(id, |e| {
            e.binned_at = Some(now);
            e.keep_until = keep_until;
        });
        self.hub.lock().live.remove(id);
        // The folder of the bin says the same: a store that fails loses only the time.
        self.keep(id);
        self.tell(id, Change::Binned, None);
        Ok(())
    }

    fn restore(&mut self, id: &Arc<str>) -> Result<(), Refusal> {
        let entry = self.entry(id)?;
        if entry.binned_at.is_none() {
            return Err(refuse(Refused::Conflict, "not_binned", "it is not in the bin"));
        }
        let from = self.root.join(files::BIN).join(&**id);
        let target = self.root.join(&*entry.path);
        let target = files::free_name(target);
        let move_back = || {
            if let Some(folder) = target.parent() {
                std::fs::create_dir_all(folder)?;
            }
            files::rename(&from.join(&*entry.path), &target)?;
            let besides = sidecar::names(&from.join(&*entry.path)).into_iter().zip(sidecar::names(&target));
            for (beside, to) in besides.filter(|(beside, _)| files::stat(beside).is_some()) {
                // What stands in its place meanwhile is newer.
                let _ = files::rename(&beside, &to);
            }
            std::io::Result::Ok(())
        };
        move_back().map_err(|e| failed("failed to restore it", &e))?;
        let _ = std::fs::remove_dir_all(&from);
        let path = target.strip_prefix(&self.root).unwrap_or(&target).to_path_buf();
        let stat = files::stat(&target).unwrap_or(entry.stat);
        self.rekey(id, |e| e.keep_until = None);
        self.moved(id, path, stat);
        Ok(())
    }

    fn clipped(
        &mut self,
        id: &Arc<str>,
        part: &Path,
        beside: &Value,
        clip: &Clip,
    ) -> Result<Arc<str>, Refusal> {
        let entry = self.entry(id)?;
        let path = match &clip.name {
            Some(name) => {
                let mut file = good_name(name, &entry.path)?;
                file.push(".");
                file.push(entry.path.extension().unwrap_or_default());
                entry.path.with_file_name(file)
            }
            None if clip.overwrite => entry.path.to_path_buf(),
            None => {
                let mut name = entry.path.file_stem().unwrap_or_default().to_os_string();
                name.push(format!("-{:.1}s-{:.1}s.wav", clip.start_s, clip.end_s));
                files::free_name(self.root.join(entry.path.with_file_name(name)))
                    .strip_prefix(&self.root)
                    .map(Path::to_path_buf)
                    .unwrap_or_default()
            }
        };
        if files::stat(&self.root.join(&path)).is_some() && !(clip.overwrite && *path == *entry.path) {
            return Err(refuse(Refused::Conflict, "exists", "there is a file of this name already"));
        }
        if clip.overwrite {
            let until = Wall(Wall::now().0.saturating_add(UNDO.as_millis() as u64));
            self.bin(id, Some(until))?;
        }
        files::rename(part, &self.root.join(&path)).map_err(|e| failed("failed to name the clip", &e))?;
        let [json, ..] = sidecar::names(&path);
        if let Err(e) = files::write_new(&self.root.join(json), beside.to_string().as_bytes()) {
            log::warn!("recordings: failed to write what a clip was cut from: {e}");
        }
        let stat = files::stat(&self.root.join(&path))
            .ok_or_else(|| refuse(Refused::Failed, "file_failed", "the clip is gone already"))?;
        let mut shared = self.hub.lock();
        let new = shared.index.free_id(&path, |id| self.rows.contains_key(id));
        let mut made = Entry::new(Arc::clone(&new), path.into(), stat);
        made.seen = self.walk;
        if !shared.index.put(made) {
            return Err(refuse(Refused::Failed, "too_many", "there are too many recordings for another one"));
        }
        drop(shared);
        self.examine_one(&new);
        self.keep(&new);
        self.tell(&new, Change::Clipped, Some(&format!("cut from {}", entry.path.display())));
        self.hub.want_peaks(&new, false);
        Ok(new)
    }

    // ---- what is kept in the store ----

    /// Changes a mark, on the disk first.
    fn mark(&mut self, id: &Arc<str>, how: impl FnOnce(&mut Entry)) -> Result<(), Refusal> {
        let mut entry = self.entry(id)?;
        how(&mut entry);
        let row = self.row(&entry);
        self.hub.store.shelve(&[row]).map_err(|e| {
            refuse(Refused::Failed, "store_failed", format!("it could not be kept: {e}; is the disk full?"))
        })?;
        let (pinned, label) = (entry.pinned, entry.label.clone());
        self.note(&entry);
        self.change(id, |e| {
            e.pinned = pinned;
            e.label = label;
        });
        Ok(())
    }

    /// Keeps what has changed already; a store that fails is said once.
    fn keep(&mut self, id: &Arc<str>) {
        let Ok(entry) = self.entry(id) else { return };
        if entry.marks().as_ref() == self.rows.get(&**id) {
            return;
        }
        let row = self.row(&entry);
        self.note(&entry);
        self.shelve(&[row]);
    }

    fn row(&self, entry: &Entry) -> (String, Option<Vec<u8>>) {
        let value = entry.marks().and_then(|marks| serde_json::to_vec(&marks).ok());
        (format!("{PREFIX}{}", entry.id), value)
    }

    fn note(&mut self, entry: &Entry) {
        match entry.marks() {
            Some(marks) => drop(self.rows.insert(entry.id.to_string(), marks)),
            None => drop(self.rows.remove(&*entry.id)),
        }
    }

    fn forget(&mut self, ids: &[Arc<str>]) {
        let rows: Vec<_> = ids
            .iter()
            .filter(|id| self.rows.remove(&***id).is_some())
            .map(|id| (format!("{PREFIX}{id}"), None))
            .collect();
        self.shelve(&rows);
    }

    fn shelve(&mut self, rows: &[(String, Option<Vec<u8>>)]) {
        match self.hub.store.shelve(rows) {
            Ok(()) => self.store_error = false,
            Err(e) if !self.store_error => {
                self.store_error = true;
                log::error!("recordings: marks could not be kept: {e}");
            }
            Err(_) => {}
        }
    }

    // ---- retention ----

    /// Now and then.
    fn retain(&mut self, now: Duration, at_once: bool) {
        if at_once || now >= self.retained + self.settings.interval {
            self.retained = now;
            self.retain_now(false);
        }
    }

    /// Makes the plan and carries it out; `confirmed`: what was held, too.
    fn retain_now(&mut self, confirmed: bool) -> Value {
        let disk = files::disk(&self.root);
        let total = disk.map_or(0, |(total, ..)| total);
        let rules = Rules {
            keep_age: self.settings.keep_age,
            keep_bytes: self.settings.keep_bytes,
            floor: self.settings.free_floor.of(total),
            bin_age: self.settings.bin_age,
        };
        let now = Now {
            wall: Wall::now(),
            age_trusted: self.hub.bus.time().age_may_be_trusted(),
            free: disk.map(|(.., free)| free),
        };
        let shared = self.hub.lock();
        let items: Vec<Item> = shared.index.iter().map(item).collect();
        drop(shared);
        let mut plan = retention::plan(&items, &rules, &now);
        if confirmed {
            // What was shown to whoever confirmed, as far as it still has to go.
            let held: BTreeSet<Arc<str>> = self.held.drain(..).map(|(item, _)| item.id).collect();
            let (go, stay) = plan.held.drain(..).partition(|(item, _)| held.contains(&item.id));
            plan.held = stay;
            plan.purge.extend::<Vec<_>>(go);
        }
        let (count, bytes) = self.carry_out(&plan, confirmed);
        self.hold(plan);
        json!({ "purged": count, "bytes": bytes })
    }

    fn carry_out(&mut self, plan: &Plan, confirmed: bool) -> (u64, u64) {
        if plan.purge.is_empty() {
            return (0, 0);
        }
        let mut reasons: Vec<&str> = Vec::new();
        let shared = self.hub.lock();
        let most = if confirmed { limits::RECORDINGS } else { limits::PURGES };
        let all: Vec<(Entry, &str)> = plan
            .purge
            .iter()
            .take(most)
            .filter_map(|(item, why)| Some((shared.index.get(&item.id)?.clone(), why.words())))
            .collect();
        drop(shared);
        for (_, why) in &all {
            if !reasons.contains(why) {
                reasons.push(why);
            }
        }
        let (count, bytes) = self.remove_all(all.into_iter());
        self.report_purge(count, bytes, &reasons.join(", "));
        if plan.purge.len() > most {
            // The rest in the next turn.
            self.retained = Duration::ZERO;
        }
        (count, bytes)
    }

    fn hold(&mut self, plan: Plan) {
        let bytes: u64 = plan.held.iter().map(|(item, _)| item.bytes).sum();
        let sentence = (!plan.held.is_empty()).then(|| {
            format!(
                "Retention would remove {} of {} recordings that are not pinned, {} of {}: more than half, so it waits for \
                 somebody to confirm it",
                plan.held.len(),
                plan.of.0,
                megabytes(bytes),
                megabytes(plan.of.1)
            )
        });
        let before = std::mem::replace(&mut self.hub.lock().folder.held, sentence.clone());
        self.held = plan.held;
        match (sentence, before) {
            (Some(sentence), _) => self.hub.alerts.raise(
                HELD,
                Severity::Minor,
                &format!("{sentence}."),
                "Look at the recordings: pin or copy what matters, then confirm the purge there, or change [recordings] in the \
                 configuration.",
            ),
            (None, Some(_)) => self.hub.alerts.clear(HELD, "No purge of recordings waits any more."),
            (None, None) => {}
        }
    }

    /// Removes them; gives how many and their bytes.
    fn remove_all<'w>(&mut self, all: impl Iterator<Item = (Entry, &'w str)>) -> (u64, u64) {
        let (mut count, mut bytes, mut gone) = (0, 0, Vec::new());
        for (entry, why) in all {
            match self.remove(&entry, why) {
                Ok(()) => {
                    count += 1;
                    bytes += entry.stat.bytes;
                    gone.push(Arc::clone(&entry.id));
                }
                Err(e) => {
                    if self.error.is_none() {
                        log::error!("recordings: failed to remove `{}`: {e}", entry.path.display());
                    }
                    self.error = Some(format!("failed to remove `{}`: {e}", entry.path.display()));
                }
            }
        }
        self.forget(&gone);
        (count, bytes)
    }

    /// Removes the files of one, for good.
    fn remove(&mut self, entry: &Entry, why: &str) -> std::io::Result<()> {
        if entry.binned_at.is_some() {
            std::fs::remove_dir_all(self.root.join(files::BIN).join(&*entry.id))?;
        } else {
            let family = self.family(&entry.path);
            std::fs::remove_file(self.root.join(&*entry.path))?;
            for path in family.iter().filter(|p| **p != *entry.path) {
                let _ = std::fs::remove_file(self.root.join(path));
            }
        }
        let mut shared = self.hub.lock();
        let recording: Option<Recording> =
            shared.index.get(&entry.id).map(|e| shared.index.show(e, &self.settings));
        shared.index.take(&entry.id);
        shared.live.remove(&entry.id);
        drop(shared);
        let _ = std::fs::remove_file(self.hub.peaks_path(&entry.id, &entry.stat));
        if let Some(recording) = recording
            && self.may_tell()
        {
            self.hub.tell_of(recording, Change::Purged, Some(why));
        }
        Ok(())
    }

    fn report_purge(&self, count: u64, bytes: u64, why: &str) {
        if count > 0 {
            let what = if count == 1 {
                "1 recording was removed"
            } else {
                &format!("{count} recordings were removed")
            };
            self.log(&format!("{what}, {}: {why}", megabytes(bytes)));
        }
    }

    fn log(&self, message: &str) {
        log::info!("recordings: {message}");
        let line = json!({ "level": Level::Info, "message": message, "timestamp": Wall::now(), "source": "recordings" });
        publish(&self.hub.bus, "log", &line);
    }

    // ---- what else there is to do ----

    /// The drop folder and the disk.
    fn seek(&mut self, now: Duration) {
        if now < self.sought + SEEK {
            return;
        }
        self.sought = now;
        let disk = files::disk(&self.root);
        self.hub.lock().folder.disk = disk;
        let floor = self.settings.free_floor.of(disk.map_or(0, |(total, ..)| total));
        if disk.is_some_and(|(.., free)| free < floor / 2) {
            // In need nobody waits for the interval.
            self.retain(now, now >= self.retained + SEEK * 5);
        }
        let Some(folder) = self.settings.drop_folder.clone() else { return };
        let Ok(entries) = std::fs::read_dir(&folder) else { return };
        let mut there = BTreeMap::new();
        for entry in entries.flatten().take(limits::DROPPED) {
            let path = entry.path();
            if files::is_recording(&path, &self.settings.extensions)
                && let Some(stat) = files::stat(&path)
            {
                let since =
                    self.dropped.get(&path).filter(|(_, was)| *was == stat).map_or(now, |(at, _)| *at);
                there.insert(path, (since, stat));
            }
        }
        for (path, (since, _)) in &mut there {
            if now >= *since + self.settings.drop_after
                && self.hub.later.0.try_send(Work::Ingest(path.clone())).is_ok()
            {
                // Not again until it has had its time.
                *since = now + Duration::from_secs(60);
            }
        }
        self.dropped = there;
    }

    fn tell(&mut self, id: &Arc<str>, change: Change, reason: Option<&str>) {
        if self.may_tell() {
            self.hub.tell(id, change, reason);
        }
    }

    /// Thousands of changes at once are told as one line: whoever lists them reads the list again.
    fn may_tell(&mut self) -> bool {
        let now = monotonic();
        if now >= self.told.0 + Duration::from_secs(1) {
            let (.., unsaid) = std::mem::replace(&mut self.told, (now, 0, 0));
            if unsaid > 0 {
                self.log(&format!("{unsaid} more changes of recordings; read the list again"));
            }
        }
        self.told.1 += 1;
        let may = self.told.1 <= limits::CHANGES_TOLD;
        self.told.2 += u64::from(!may);
        may
    }

    fn say(&mut self, now: Duration) {
        if self.told.2 > 0 && now >= self.told.0 + Duration::from_secs(1) {
            self.may_tell();
        }
        let shared = self.hub.lock();
        let files = shared.index.len();
        drop(shared);
        self.report.detail("files", files);
        self.report.detail("growing", self.growing.len());
        self.report
            .detail("watch", if self.watcher.is_some() { "inotify" } else { "by reading it now and then" });
        self.report.detail("events_lost", self.overflows);
        if self.beyond > 0 {
            self.report.detail("not_listed", self.beyond);
        }
        self.report.faults(u64::from(self.error.is_some()), 0, self.error.as_deref());
        self.report.flush(&self.hub.bus);
    }
}

/// Rows of the store.
const PREFIX: &str = "recording/";
/// The alert of a purge that waits.
const HELD: &str = "recordings.purge_held";

fn item(entry: &Entry) -> Item {
    let began = entry.started().max(entry.modified());
    Item {
        id: Arc::clone(&entry.id),
        bytes: entry.stat.bytes,
        began: if began < NO_CLOCK { Wall(0) } else { began },
        pinned: entry.pinned,
        growing: entry.growing,
        binned_at: entry.binned_at,
        keep_until: entry.keep_until,
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// The stem of a new name for the file at `path`. The name may have the extension or not, but no other one.
pub(super) fn good_name(name: &str, path: &Path) -> Result<std::ffi::OsString, Refusal> {
    let extension = files::extension(path);
    let stem = match name.rsplit_once('.') {
        Some((stem, end)) if end.to_lowercase() == extension => stem,
        _ => name,
    };
    let bad = stem.is_empty()
        || stem.len() > limits::NAME_BYTES
        || stem.starts_with('.')
        || stem.trim() != stem
        || stem.contains(|c: char| c.is_control() || "/\\:*?\"<>|".contains(c));
    if bad {
        let detail = format!(
            "name is {:?}; expected 1 to {} bytes without / \\ : * ? \" < > | and no point or space at its ends",
            name.chars().filter(|c| !c.is_control()).take(60).collect::<String>(),
            limits::NAME_BYTES
        );
        return Err(refuse(Refused::Invalid, "bad_name", detail));
    }
    Ok(stem.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_recording_may_have() {
        let path = Path::new("day/owl.WAV");
        for (name, stem) in
            [("fox", "fox"), ("fox.wav", "fox"), ("a.b", "a.b"), ("Uhu \u{e4}.Wav", "Uhu \u{e4}")]
        {
            assert_eq!(good_name(name, path).unwrap(), stem);
        }
        for name in ["", ".wav", ".hidden", "a/b", "..", "a\nb", " a", &"x".repeat(300)] {
            assert_eq!(good_name(name, path).unwrap_err().kind, Refused::Invalid, "{name:?}");
        }
    }
}
