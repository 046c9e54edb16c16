//! Rows on their way into blocks, and out of memory, the log and the disk.
//!
//! Promises: only rows whose events are committed go into a block; the log is let go up to the oldest row that is in none, and a scan
//! leaves memory when all of it is on the disk. One transaction, and one step of removing, is bounded.

use super::ledger::Ledger;
use super::{Book, QUIET, Removal, lock};
use crate::limits;
use crate::store::{StoreError, Written};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Blocks that one transaction writes at most; what is more comes in the next.
const BLOCKS_AT_ONCE: usize = 2_000;
/// A scan that was not used for so long and is all on the disk is let go from memory.
const IDLE: Duration = Duration::from_secs(60);

impl Book {
    /// Writes full blocks of all scans; those of ended ones, of rows that have waited for long, and with `all` everything.
    pub(super) fn write(&self, all: bool) -> Result<(), StoreError> {
        let _writer = lock(&self.writer);
        let committed = self.bus.committed();
        let followed = self.followed.load(Ordering::Relaxed);
        let scans: Vec<(String, Arc<Mutex<Ledger>>)> =
            lock(&self.scans).iter().map(|(id, ledger)| (id.clone(), Arc::clone(ledger))).collect();
        let bytes: usize = scans.iter().map(|(_, ledger)| lock(ledger).bytes()).sum();
        let crowded = all || bytes > self.room || scans.len() > limits::BOOK_SCANS;
        let mut batch: Vec<Written> = Vec::new();
        let mut blocks = 0;
        for (id, ledger) in &scans {
            let ledger = lock(ledger);
            if ledger.gone {
                continue;
            }
            for (name, page) in &ledger.pages {
                let old = page.waits_since.is_some_and(|since| since.elapsed() > limits::ROWS_IN_LOG);
                let ends = ledger.ended && !ledger.end_written;
                let to = page.storable(committed, crowded || ends || old);
                if to > page.stored || page.fresh || ends {
                    let written = page.written(id, name, to, ledger.ended);
                    blocks += written.chunks.len();
                    batch.push(written);
                }
            }
            drop(ledger);
            if blocks > BLOCKS_AT_ONCE {
                self.write_batch(&std::mem::take(&mut batch))?;
                blocks = 0;
            }
        }
        self.write_batch(&batch)?;
        *lock(&self.written) = Instant::now();
        // What is left was not committed to the log yet.
        let left: usize = scans.iter().map(|(_, ledger)| lock(ledger).fresh_bytes()).sum();
        self.fresh_bytes.store(left as u64, Ordering::Relaxed);
        let mut waiting = 0;
        for (_, ledger) in &scans {
            waiting += lock(ledger).pages.values().map(|page| page.next - page.stored).sum::<u64>();
        }
        self.bus.metrics.scan_rows_waiting.set(waiting);
        self.bus.metrics.scan_rows_bytes.set(self.bytes());
        self.let_log_go(committed.min(followed), &scans);
        self.let_go(&scans, crowded);
        Ok(())
    }

    /// The log may forget what is up to `most` and in blocks.
    pub(super) fn let_log_go(&self, most: u64, scans: &[(String, Arc<Mutex<Ledger>>)]) {
        let oldest = scans.iter().filter_map(|(_, ledger)| lock(ledger).oldest());
        let through = oldest.map(|seq| seq.saturating_sub(1)).chain([most]).min().unwrap_or(most);
        self.store.set_points_through(through);
    }

    pub(super) fn write_batch(&self, batch: &[Written]) -> Result<(), StoreError> {
        self.store.write_points(batch)?;
        for written in batch {
            let Some(ledger) = lock(&self.scans).get(&written.scan).cloned() else { continue };
            let mut ledger = lock(&ledger);
            if let Some(page) = ledger.pages.get_mut(&written.measurement) {
                page.is_written(written.measured.next);
                page.fresh &= page.columns.len() != written.measured.columns.as_array().map_or(0, Vec::len);
            }
            let all = ledger.pages.values().all(|page| page.stored == page.next);
            ledger.end_written |= written.measured.ended && all;
        }
        Ok(())
    }

    /// Lets go of scans that are on the disk and that nobody uses.
    fn let_go(&self, scans: &[(String, Arc<Mutex<Ledger>>)], crowded: bool) {
        let mut order: Vec<(Instant, &String)> = Vec::new();
        for (id, ledger) in scans {
            let ledger = lock(ledger);
            if ledger.is_stored() && (crowded || ledger.ended || ledger.used.elapsed() > IDLE) {
                order.push((ledger.used, id));
            }
        }
        order.sort();
        let mut map = lock(&self.scans);
        let mut since = lock(&self.let_go);
        since.retain(|id, at| at.elapsed() < QUIET && !map.contains_key(id));
        for (_, id) in order {
            let Some(ledger) = map.get(id).cloned() else { continue };
            // Held by somebody: it is in use.
            if let Ok(mut ledger) = ledger.try_lock()
                && ledger.is_stored()
            {
                ledger.gone = true;
                map.remove(id);
                if !ledger.ended && since.len() < limits::BOOK_SCANS {
                    since.insert(id.clone(), Instant::now());
                }
            }
        }
    }

    /// Gives back room of what was removed.
    pub(super) fn remove(&self) -> Result<(), StoreError> {
        let removed: Vec<(String, Removal)> =
            lock(&self.removed).iter().map(|(id, removal)| (id.clone(), *removal)).collect();
        for (scan, removal) in removed {
            // Once the log is never read from before it again, nothing has to be known of it any more.
            let forget = self.store.points_begin() >= removal.through;
            if removal.empty && !forget {
                continue;
            }
            let empty = self.store.remove_some(&scan, forget)?;
            if empty && forget {
                lock(&self.removed).remove(&scan);
            } else if let Some(removal) = lock(&self.removed).get_mut(&scan) {
                removal.empty = empty;
            }
            // One bounded step a look.
            return Ok(());
        }
        Ok(())
    }
}
