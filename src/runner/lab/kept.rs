//! What of the desk is on the shelf: written by the thread `lab` without the lock, several changes at a time; read once.

use super::queues::{KeptQueue, Queue};
use super::scans::{KeptScan, Scan};
use super::{Inner, Lab, LabError, Template};
use crate::limits;
use crate::model::{CommandState, Level, ScanState, ScanStatus};
use crate::runner::machine::{Executor, QueueEvent, ScanEvent};
use crate::runner::plan::MEASUREMENT;
use crate::sources::{Answer, Request};
use crate::store::StoreError;
use crossbeam::channel::TryRecvError;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Instant;

const SCAN: &str = "scan/";
const QUEUE: &str = "queue/";
const TEMPLATE: &str = "template/";
const NEXT: &str = "lab/next";

/// The numbers that ids are made of; one is never used again.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Counters {
    pub scan: u64,
    pub queue: u64,
    pub template: u64,
}

/// An instrument that a scan had when telltale ended.
pub(super) struct ToMakeSafe {
    scan: String,
    instrument: String,
    until: Instant,
    asked: Option<Answer>,
    /// When it is asked next: its port may not be open yet.
    again: Instant,
    /// Why the last try came to nothing.
    failed: Option<String>,
}

impl Lab {
    /// Marks a scan's row to be written.
    pub(super) fn keep_scan(&self, inner: &mut Inner, id: &str) {
        let Some(scan) = inner.scans.get(id) else { return };
        let row = serde_json::to_vec(&scan.kept(Instant::now()));
        self.mark(inner, format!("{SCAN}{id}"), row);
    }

    /// The same of a queue's.
    pub(super) fn keep_queue(&self, inner: &mut Inner, id: &str) {
        let Some(queue) = inner.queues.get(id) else { return };
        let row = serde_json::to_vec(&queue.kept());
        self.mark(inner, format!("{QUEUE}{id}"), row);
    }

    /// The same of a template's.
    pub(super) fn save_template(&self, inner: &mut Inner, template: &Template) {
        self.mark(inner, format!("{TEMPLATE}{}", template.template_id), serde_json::to_vec(template));
    }

    /// The same of the counters.
    pub(super) fn keep_counters(&self, inner: &mut Inner) {
        let row = serde_json::to_vec(&inner.next);
        self.mark(inner, NEXT.into(), row);
    }

    /// Marks rows to be taken off.
    pub(super) fn drop_row(&self, inner: &mut Inner, kind: &str, id: &str) {
        inner.unsaved.insert(format!("{kind}/{id}"), None);
        self.marked(inner);
    }

    fn mark(&self, inner: &mut Inner, key: String, row: serde_json::Result<Vec<u8>>) {
        match row {
            Ok(row) => drop(inner.unsaved.insert(key, Some(row))),
            Err(e) => log::error!("lab: {key} can't be kept: {e}"),
        }
        self.marked(inner);
    }

    fn marked(&self, inner: &mut Inner) {
        inner.marked += 1;
        inner.marked_at.get_or_insert_with(Instant::now);
        // Full: the thread has been told already.
        let _ = self.news.0.try_send(());
    }

    /// Writes what is marked: at once where somebody waits for it or it is the `last` time, else with what comes together
    /// in a moment, such as the end of a scan and the start of the next.
    pub(super) fn save(&self, last: bool) {
        let (rows, upto) = {
            let mut inner = self.lock();
            let due = inner.marked_at.is_some_and(|at| at.elapsed() >= limits::SHELF_GATHERS);
            if inner.unsaved.is_empty() || !(last || due || inner.wanted > inner.saved) {
                return;
            }
            inner.marked_at = None;
            (std::mem::take(&mut inner.unsaved), inner.marked)
        };
        let rows: Vec<(String, Option<Vec<u8>>)> = rows.into_iter().collect();
        let result = self.context.store.shelve(&rows);
        let mut inner = self.lock();
        match result {
            Ok(()) => {
                inner.saved = upto;
                if inner.not_saved.take().is_some() {
                    log::info!("lab: queues and scans are kept again");
                }
            }
            Err(e) => {
                for (key, row) in rows {
                    inner.unsaved.entry(key).or_insert(row);
                }
                // Again after a while, or when somebody waits.
                inner.marked_at = Some(Instant::now() + limits::SHELF_AGAIN);
                inner.wanted = inner.saved;
                if inner.not_saved.replace(e.to_string()).is_none() {
                    log::error!("lab: queues and scans can't be kept: {e}");
                }
            }
        }
        drop(inner);
        self.changed.notify_all();
    }

    /// Waits until everything that was marked so far is on the disk. The lock must not be held.
    pub(super) fn on_disk(&self) -> Result<(), LabError> {
        let mut inner = self.lock();
        let upto = inner.marked;
        inner.wanted = upto;
        inner.not_saved = None;
        let _ = self.news.0.try_send(());
        let until = Instant::now() + limits::SHELF_TIME;
        loop {
            if inner.saved >= upto {
                return Ok(());
            }
            if let Some(why) = &inner.not_saved {
                return Err(LabError::Store(why.clone()));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(LabError::Store("the disk takes too long".into()));
            }
            inner = self.changed.wait_timeout(inner, left).unwrap_or_else(|e| e.into_inner()).0;
        }
    }

    /// Takes up what was kept: what was live has failed, what ran is paused.
    pub(super) fn recall(self: &Arc<Self>) -> Result<(), StoreError> {
        let store = &self.context.store;
        let now = Instant::now();
        let (queues, scans) = (store.shelf(QUEUE)?, store.shelf(SCAN)?);
        let (templates, next) = (store.shelf(TEMPLATE)?, store.shelf(NEXT)?);
        let mut inner = self.lock();
        inner.next = next.first().and_then(|(_, row)| serde_json::from_slice(row).ok()).unwrap_or_default();
        for (key, row) in queues {
            match serde_json::from_slice::<KeptQueue>(&row) {
                Ok(kept) => {
                    let queue = Queue::recall(kept);
                    inner.queues.insert(queue.id.clone(), queue);
                }
                Err(e) => log::error!("lab: {key} was not understood and is left alone: {e}"),
            }
        }
        for (key, row) in templates {
            match serde_json::from_slice::<Template>(&row) {
                Ok(template) => drop(inner.templates.insert(template.template_id.clone(), template)),
                Err(e) => log::error!("lab: {key} was not understood and is left alone: {e}"),
            }
        }
        let mut ended = Vec::new();
        let mut interrupted = Vec::new();
        for (key, row) in scans {
            let kept = match serde_json::from_slice::<KeptScan>(&row) {
                Ok(kept) => kept,
                Err(e) => {
                    log::error!("lab: {key} was not understood and is left alone: {e}");
                    continue;
                }
            };
            let mut scan = Scan::recall(kept);
            if scan.is_live() && scan.machine.executor() == Executor::Builtin {
                // Its row is from its last change of status; what was told since is in the state.
                let told = self.context.bus.state_of(&format!("scan_status/{}", scan.id));
                let told = told.and_then(|event| serde_json::from_str::<ScanStatus>(event.payload()).ok());
                if let Some(told) = told.filter(|told| told.revision >= scan.revision) {
                    scan.catch_up(&told);
                }
                interrupted.push(scan.id.clone());
            }
            if scan.machine.is_ended() {
                ended.push((scan.ended_at, scan.id.clone()));
            } else {
                scan.num_points = self.book.counts(&scan.id);
            }
            inner.scans.insert(scan.id.clone(), scan);
        }
        ended.sort();
        inner.ended = ended.into_iter().map(|(_, id)| id).collect();
        for id in interrupted {
            self.interrupted(&mut inner, &id, now);
        }
        self.tidy_orders(&mut inner);
        let ids: Vec<String> = inner.queues.keys().cloned().collect();
        for id in ids {
            self.own_queue(&id);
            let order = inner.queues.get(&id).map(|queue| queue.order.clone()).unwrap_or_default();
            for scan in order {
                self.own_scan(&scan);
                if let Some(scan) = inner.scans.get_mut(&scan) {
                    scan.startable = true;
                }
                self.tell_scan(&mut inner, &scan);
            }
            self.keep_queue(&mut inner, &id);
            self.tell_queue(&mut inner, &id);
        }
        self.trim(&mut inner);
        Ok(())
    }

    /// A scan was under way when telltale ended. Its rows are there; its instruments stay as they are, or are made safe.
    fn interrupted(&self, inner: &mut Inner, id: &str, now: Instant) {
        let Some(scan) = inner.scans.get_mut(id) else { return };
        scan.machine.event(ScanEvent::Restarted);
        if let Some(done) = scan.num_points.get(MEASUREMENT) {
            scan.points_done = *done;
        }
        scan.progress.reached(scan.points_done + scan.skipped);
        let text = format!("telltale ended while it ran, after {} points", scan.points_done);
        scan.error = Some(text.clone());
        scan.message = Some(format!("Interrupted: {text}"));
        scan.freeze(now);
        let until = now + limits::MAKE_SAFE;
        let (scan_id, queue_id) = (scan.id.clone(), scan.queue.clone());
        let instruments = scan.instruments.clone();
        self.say_scan(scan, Level::Error, "interrupted", &format!("Interrupted: {text}."), None);
        for instrument in instruments {
            let scan = scan_id.clone();
            let one = ToMakeSafe { scan, instrument, until, asked: None, again: now, failed: None };
            inner.unsafe_instruments.push(one);
        }
        inner.ended.push_back(scan_id);
        if let Some(queue) = queue_id.and_then(|queue| inner.queues.get(&queue)) {
            let text = format!(
                "{} is paused: {id} was interrupted by a restart. Nothing moves until somebody resumes.",
                queue.id
            );
            self.say_queue(queue, Level::Warning, "queue_paused", &text, Some(id));
        }
        self.tell_scan(inner, id);
        self.keep_scan(inner, id);
    }

    /// Orders and scans were written together, but a row may not have been understood.
    fn tidy_orders(&self, inner: &mut Inner) {
        let scans = &inner.scans;
        for queue in inner.queues.values_mut() {
            let waits = |id: &String| {
                scans.get(id).is_some_and(|scan| {
                    scan.machine.status() == ScanState::Queued && scan.queue.as_ref() == Some(&queue.id)
                })
            };
            let before = queue.order.len();
            queue.order.retain(waits);
            if queue.order.len() != before {
                queue.order_version += 1;
            }
            if queue.order.is_empty() {
                queue.machine.event(QueueEvent::Emptied);
            }
        }
        // A queued scan that no order has, such as one of a queue that is gone.
        let lost: Vec<String> = scans
            .values()
            .filter(|scan| {
                scan.machine.status() == ScanState::Queued
                    && scan.machine.executor() == Executor::Builtin
                    && !inner.queues.values().any(|queue| queue.order.contains(&scan.id))
            })
            .map(|scan| scan.id.clone())
            .collect();
        for id in lost {
            log::warn!("lab: {id} waits in no queue any more and is removed");
            inner.scans.remove(&id);
            self.drop_row(inner, "scan", &id);
        }
    }

    /// Lets the oldest ended scans go.
    pub(super) fn trim(&self, inner: &mut Inner) {
        let bytes = |id: &String| inner.scans.get(id).map_or(0, |scan| scan.bytes);
        let mut held: usize = inner.ended.iter().map(bytes).sum();
        while held > limits::DESCRIPTIONS_BYTES
            && let Some(oldest) = inner.ended.pop_front()
        {
            held = held.saturating_sub(inner.scans.get(&oldest).map_or(0, |scan| scan.bytes));
            log::info!(
                "lab: {oldest} and its rows are forgotten: the descriptions of ended scans are too large"
            );
            self.forget_scan(inner, &oldest);
        }
        while inner.ended.len() > self.settings.keep_scans
            && let Some(oldest) = inner.ended.pop_front()
        {
            log::info!(
                "lab: {oldest} and its rows are forgotten: {} ended scans are kept",
                self.settings.keep_scans
            );
            self.forget_scan(inner, &oldest);
        }
    }

    /// Takes an ended scan and its rows away.
    pub(super) fn forget_scan(&self, inner: &mut Inner, id: &str) {
        inner.scans.remove(id);
        inner.ended.retain(|ended| ended != id);
        inner.forgotten.push(id.to_string());
        self.drop_row(inner, "scan", id);
    }

    /// Removes the rows of scans that are gone, and scans whose rows are too much; by the thread, without the lock.
    pub(super) fn forget(&self) {
        let keep = self.settings.keep;
        if self.book.bytes() > keep && self.may_look() {
            match self.book.surplus(keep, |id| self.lives(id)) {
                Ok(surplus) => surplus.iter().for_each(|id| self.make_room(id)),
                Err(e) => log::debug!("failed to look for rows that are too much: {e}"),
            }
        }
        let gone = std::mem::take(&mut self.lock().forgotten);
        for id in gone {
            self.book.forget(&id);
        }
    }

    /// Whether it is time to look again for scans whose rows are too much: each look reads what is known of all of them.
    fn may_look(&self) -> bool {
        let mut inner = self.lock();
        let due = inner.looked.is_none_or(|at| at.elapsed() >= limits::SURPLUS_AGAIN);
        if due {
            inner.looked = Some(Instant::now());
        }
        due
    }

    /// Whether a scan may get more rows; none of one that is known here no more, or never was.
    fn lives(&self, id: &str) -> Option<bool> {
        self.external.lives(id).or_else(|| {
            let inner = self.lock();
            inner.scans.get(id).map(|scan| !scan.machine.is_ended())
        })
    }

    /// Forgets a scan that does not live, with its rows.
    fn make_room(&self, id: &str) {
        if self.external.has(id) {
            if let Err(e) = self.external.remove(id) {
                log::debug!("{id} can't be forgotten: {e}");
                return;
            }
        } else {
            let mut inner = self.lock();
            if inner.ended.contains(&id.to_string()) {
                self.forget_scan(&mut inner, id);
            } else if inner.scans.contains_key(id) {
                return;
            } else {
                inner.forgotten.push(id.to_string());
            }
        }
        log::info!("lab: {id} and its rows are forgotten: {} bytes of rows are kept", self.settings.keep);
    }

    /// Brings instruments of interrupted scans into their safe state, where it is configured what that is: again and
    /// again, as a port is opened only after a while.
    pub(super) fn make_safe(&self) {
        let mut list = std::mem::take(&mut self.lock().unsafe_instruments);
        if list.is_empty() {
            return;
        }
        let now = Instant::now();
        list.retain_mut(|one| {
            let is_over = now >= one.until;
            let failed = match one.asked.as_ref().map(|answer| answer.from.try_recv()) {
                None if is_over && one.failed.is_none() => return false,
                None if is_over => one.failed.take(),
                None => {
                    if now >= one.again
                        && let Some(offer) = self.context.instruments.find(&one.instrument)
                        && !offer.safe.is_empty()
                    {
                        one.again = now + limits::MAKE_SAFE_AGAIN;
                        one.asked = self.context.instruments.ask(&one.instrument, Request::Safe).ok();
                    }
                    return true;
                }
                Some(Err(TryRecvError::Empty)) if !is_over => return true,
                Some(Err(TryRecvError::Empty)) => Some("it did not answer in time".into()),
                Some(Ok(outcome)) if outcome.state == CommandState::Completed => None,
                Some(ended) => {
                    let why =
                        ended.map_or("it went away".into(), |outcome| outcome.reason.unwrap_or_default());
                    if !is_over {
                        (one.asked, one.failed) = (None, Some(why));
                        return true;
                    }
                    Some(why)
                }
            };
            let (level, text) = match failed {
                None => (Level::Info, String::new()),
                Some(why) => (Level::Error, why),
            };
            let id = &one.instrument;
            let text = if level == Level::Info {
                format!("{id} was brought into its safe state.")
            } else {
                format!("{id} could not be brought into its safe state: {text}")
            };
            if let Some(scan) = self.lock().scans.get(&one.scan) {
                self.say_scan(scan, level, "made_safe", &text, None);
            }
            false
        });
        self.lock().unsafe_instruments.append(&mut list);
    }
}
