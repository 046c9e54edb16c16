//! What is in the folder: found, growing, moved, gone, and what is in its header and beside it.

use super::super::files::{Changes, Stat, Watcher};
use super::super::index::{Entry, Marks};
use super::super::wav::Length;
use super::super::work::Work;
use super::super::{files, index, sidecar, wav};
use super::{Keeper, SEEK};
use crate::clock::Wall;
use crate::limits;
use crate::model::{RecordingChange as Change, SourceState, WaveformState};
use crate::sources::monotonic;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A closed file that has not changed for this long is finished; growing ones are looked at this often.
const CLOSED_STILL: Duration = Duration::from_millis(400);
/// What is gone from its path for this long has gone, and has no other name.
const GONE: Duration = Duration::from_millis(300);
/// How often the growth of one file is told.
const TELL: Duration = Duration::from_secs(10);
/// A walk follows another after this long at the earliest.
const WALK_REST: Duration = Duration::from_secs(1);
/// A file with a wrong header is left alone until it has been still for this long.
const REPAIR_STILL: Duration = Duration::from_secs(60);
/// Headers and sidecars read in one turn, so that nobody waits long behind a folder full of new files.
const EXAMINED: usize = 64;

impl Keeper {
    /// Asks of every path what is there.
    pub(super) fn walk(&mut self, now: Duration, first: bool) {
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
    pub(super) fn changes(&mut self) -> bool {
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
    pub(super) fn moved(&mut self, id: &Arc<str>, path: PathBuf, stat: Stat) {
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
    pub(super) fn change(&self, id: &str, how: impl FnOnce(&mut Entry)) {
        self.hub.lock().index.change(id, how);
    }

    /// Changes anything.
    pub(super) fn rekey(&self, id: &str, how: impl FnOnce(&mut Entry)) {
        let mut shared = self.hub.lock();
        if let Some(mut entry) = shared.index.take(id) {
            how(&mut entry);
            shared.index.put(entry);
        }
    }

    // ---- what grows, what is new ----

    /// Looks at what grows.
    pub(super) fn look(&mut self, now: Duration) {
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

    pub(super) fn examine_some(&mut self) {
        for _ in 0..EXAMINED {
            let Some(id) = self.examine.pop_front() else { return };
            self.examine_one(&id);
        }
    }

    /// Reads its header and what stands beside it; true when something was news.
    pub(super) fn examine_one(&mut self, id: &Arc<str>) -> bool {
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
}
