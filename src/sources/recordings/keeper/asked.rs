//! What people and the thread `peaks` ask for: marks, names, the bin, clips.

use super::super::index::Entry;
use super::super::{Clip, Op, Patch, Refusal, Refused, failed, files, refuse, sidecar, unknown};
use super::Keeper;
use crate::clock::Wall;
use crate::limits;
use crate::model::RecordingChange as Change;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What took the place of a recording that was cut is kept for this long.
const UNDO: Duration = Duration::from_secs(24 * 3600);

impl Keeper {
    pub(super) fn act(&mut self, op: Op) -> Result<Value, Refusal> {
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

    pub(super) fn entry(&self, id: &str) -> Result<Entry, Refusal> {
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
    pub(super) fn family(&self, path: &Path) -> Vec<PathBuf> {
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
}

/// The stem of a new name for the file at `path`. The name may have the extension or not, but no other one.
pub(in super::super) fn good_name(name: &str, path: &Path) -> Result<std::ffi::OsString, Refusal> {
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
