//! The log as the book reads it: rows that were not appended here, after a start and when others publish them.
//!
//! Promises: a row of the log is taken once, in the order of the log, and one that does not fit the numbering is left an event. At a
//! failure it goes on from where it began; what it had taken by then is known.

use super::{Book, BookError, frames, lock};
use crate::clock::Wall;
use crate::runner::data::Row;
use crate::sources::follow::Follower;
use crate::store::StoreError;
use std::sync::atomic::Ordering;

impl Book {
    /// Takes rows from the log that were not appended here: after a start, and those that others published.
    pub(super) fn follow(&self) -> Result<(), StoreError> {
        let Some(mut follower) = lock(&self.follower).take() else { return Ok(()) };
        let followed = self.follow_with(&mut follower);
        *lock(&self.follower) = Some(follower);
        followed
    }

    fn follow_with(&self, follower: &mut Follower) -> Result<(), StoreError> {
        let mut since_write = 0;
        loop {
            // Taken first, worked on after: a read of the log is not held up by reads of scans.
            let mut seen: Vec<(u64, String, Wall, String)> = Vec::new();
            let before = follower.seq();
            let more = follower.visit(|event| {
                if event.kind.starts_with("data_") && !self.is_own(event.seq) {
                    seen.extend(
                        payload(event.data)
                            .map(|(at, text)| (event.seq, event.kind.to_string(), at, text.to_string())),
                    );
                }
            })?;
            since_write += seen.len();
            let at = follower.seq();
            for (seq, kind, at, text) in seen {
                if let Some((scan, measurement, rows)) = frames::read(&kind, &text, at)
                    && let Err(e) = self.take(&scan, &measurement, rows, seq)
                {
                    // All of it again the next time; what was taken is known then.
                    follower.rewind(before);
                    return Err(e);
                }
            }
            self.followed.store(at, Ordering::Relaxed);
            if !more {
                return Ok(());
            }
            if since_write > 50_000 {
                // A long log: its rows are written on the way.
                since_write = 0;
                self.write(true)?;
            }
        }
    }

    fn is_own(&self, seq: u64) -> bool {
        let mut own = lock(&self.own);
        while let Some(entry) = own.first_entry() {
            match (*entry.key(), *entry.get()) {
                (last, _) if last < seq => drop(entry.remove()),
                (_, first) => return first <= seq,
            }
        }
        false
    }

    /// Rows of an event that was published elsewhere or in an earlier run.
    fn take(&self, scan: &str, measurement: &str, rows: Vec<Row>, seq: u64) -> Result<(), StoreError> {
        if lock(&self.removed).get(scan).is_some_and(|removal| seq <= removal.through) {
            return Ok(());
        }
        let taken = self.with(scan, |scan, ledger| {
            let waits = ledger.holds();
            let entered = self.enter(scan, ledger, measurement, rows, true)?;
            if let (Some(_), false, Ok(page)) = (entered.from, waits, ledger.page(measurement)) {
                let end = page.next;
                page.told(seq, end);
            }
            Ok(())
        });
        match taken {
            Err(BookError::Store(e)) => Err(e),
            // What is no row of a scan stays what it is: an event.
            _ => Ok(()),
        }
    }
}

/// The time and the payload of an envelope.
fn payload(envelope: &str) -> Option<(Wall, &str)> {
    #[derive(serde::Deserialize)]
    struct Envelope<'a> {
        timestamp: Wall,
        #[serde(borrow)]
        payload: &'a serde_json::value::RawValue,
    }
    let envelope: Envelope<'_> = serde_json::from_str(envelope).ok()?;
    Some((envelope.timestamp, envelope.payload.get()))
}
