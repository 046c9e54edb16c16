//! What goes when there is too much of it, and what of that waits for somebody to confirm it.

use super::super::index::Entry;
use super::super::retention::{Item, Now, Plan, Rules};
use super::super::{files, retention};
use super::Keeper;
use crate::clock::Wall;
use crate::limits;
use crate::model::{Recording, RecordingChange as Change, Severity};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Times before 2020 are those of a clock that was not set: they say nothing of an age.
const NO_CLOCK: Wall = Wall(1_577_836_800_000);
/// The alert of a purge that waits.
const HELD: &str = "recordings.purge_held";

impl Keeper {
    /// Now and then.
    pub(super) fn retain(&mut self, now: Duration, at_once: bool) {
        if at_once || now >= self.retained + self.settings.interval {
            self.retained = now;
            self.retain_now(false);
        }
    }

    /// Makes the plan and carries it out; `confirmed`: what was held, too.
    pub(super) fn retain_now(&mut self, confirmed: bool) -> Value {
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
    pub(super) fn remove_all<'w>(&mut self, all: impl Iterator<Item = (Entry, &'w str)>) -> (u64, u64) {
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
    pub(super) fn remove(&mut self, entry: &Entry, why: &str) -> std::io::Result<()> {
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

    pub(super) fn report_purge(&self, count: u64, bytes: u64, why: &str) {
        if count > 0 {
            let what = if count == 1 {
                "1 recording was removed"
            } else {
                &format!("{count} recordings were removed")
            };
            self.log(&format!("{what}, {}: {why}", megabytes(bytes)));
        }
    }
}

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
