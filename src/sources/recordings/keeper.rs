//! The thread `recordings`: watches the folder, keeps the index, does what is asked, clears what is too much.
//!
//! Everything comes down to one question, asked again and again: what is at this path now? inotify says when to ask it of
//! which path, a walk asks it of all of them at the start, after lost events, and every now and then for shares that tell nothing. `found`
//! is what came of it, `asked` what people want, `purge` what retention removes.

mod asked;
mod found;
mod purge;

pub(super) use self::asked::good_name;

use super::files::{Stat, Watcher};
use super::index::{Entry, Index, Marks};
use super::retention::{Item, Why};
use super::work::Work;
use super::{Recordings, Refusal, Refused, Request, files, refuse};
use crate::clock::Wall;
use crate::model::{Level, RecordingChange as Change, SourceState, WaveformState};
use crate::sources::inputs::Until;
use crate::sources::publish::Report;
use crate::sources::{monotonic, publish};
use crate::{config, limits};
use crossbeam::channel::Receiver;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long it waits for something to happen; a stop is noticed within that.
const TURN: Duration = Duration::from_millis(250);
/// Rest after changes, so that a hundred writes are one look; requests are heard meanwhile.
const REST: Duration = Duration::from_millis(150);
/// How often it is looked whether the folder is still there.
const LOOK: Duration = Duration::from_secs(1);
/// How often an absent folder is looked for, the drop folder is read, the disk is measured.
const SEEK: Duration = Duration::from_secs(2);

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
