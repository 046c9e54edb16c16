//! What of the scans of programs is on the shelf: written when a status has changed, an end after its rows.

use super::one::{One, Rows, row};
use super::{Entry, External};
use crate::limits;
use crate::runner::book::BookError;
use crate::runner::lab::LabError;

impl External {
    pub(super) fn mark(&self, id: &str) {
        self.unsaved.lock().unwrap_or_else(|e| e.into_inner()).insert(id.to_string());
    }

    /// Puts the end of a scan on the shelf, after its rows are on the disk.
    ///
    /// # Errors
    /// It is not there yet; it is tried again.
    pub(super) fn save_end(&self, id: &str, entry: &Entry) -> Result<(), LabError> {
        let late = || LabError::Store(format!("the last rows of {id} are not on the disk yet; try again"));
        let through = self.rows_through(&mut entry.lock()).map_err(|_| late())?;
        if through.is_some_and(|seq| !self.context.bus.wait_durable(seq, limits::DURABLE_TIME)) {
            return Err(late());
        }
        self.save()
    }

    /// The seq that has to be committed before the end of this scan may be on the shelf; none: nothing is waited for.
    fn rows_through(&self, one: &mut One) -> Result<Option<u64>, BookError> {
        if one.rows == Rows::Waiting {
            one.rows = Rows::Through(self.book.flush(&one.kept.scan_id)?);
        }
        match one.rows {
            Rows::Through(seq) if seq > self.context.bus.committed() => Ok(Some(seq)),
            _ => {
                one.rows = Rows::Kept;
                Ok(None)
            }
        }
    }

    /// Writes what has changed on the shelf, for all who wait for it in one transaction. An end whose rows are not on the
    /// disk waits for them.
    ///
    /// # Errors
    /// Nothing was written; it is tried again.
    pub fn save(&self) -> Result<(), LabError> {
        let _saving = self.saving.lock().unwrap_or_else(|e| e.into_inner());
        let ids = std::mem::take(&mut *self.unsaved.lock().unwrap_or_else(|e| e.into_inner()));
        if ids.is_empty() {
            return Ok(());
        }
        let mut rows = Vec::new();
        for id in &ids {
            let Some(entry) = self.find(id) else { continue };
            let mut one = entry.lock();
            match self.rows_through(&mut one) {
                Ok(None) => rows.push(row(&one.kept)),
                _ => self.mark(id),
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        if let Err(e) = self.context.store.shelve(&rows) {
            self.unsaved.lock().unwrap_or_else(|e| e.into_inner()).extend(ids);
            return Err(e.into());
        }
        Ok(())
    }
}
