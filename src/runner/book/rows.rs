//! Rows read back: a view of one measurement at one moment, and pages of it.

use super::{Book, lock};
use crate::limits;
use crate::runner::data::Column;
use crate::store::{Chunk, StoreError};
use std::sync::Arc;

/// Blocks that are read at a time.
const BLOCKS: usize = 16;

/// A measurement at one moment. Rows that are in memory are in it; the others are read when asked for.
#[derive(Clone, Debug)]
pub struct View {
    /// The scan.
    pub scan: String,
    /// The measurement.
    pub measurement: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// The index of the first row.
    pub first: u64,
    /// The index after the last row.
    pub next: u64,
    /// Whether the scan has ended.
    pub ended: bool,
    /// Rows that were in memory, shared with the book.
    pub(super) tail: Vec<Arc<Chunk>>,
    store: Arc<crate::store::Store>,
}

/// Rows that follow each other, as `GET .../data` gives them.
#[derive(Clone, Debug)]
pub struct Page {
    /// In order; each has at least one row.
    pub chunks: Vec<Chunk>,
    /// The index to go on with; none at the end.
    pub next: Option<u64>,
}

impl Book {
    /// A measurement of a scan as it is now; without a name `main`, or else the first. None when there is no such scan or
    /// measurement.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn view(&self, scan: &str, measurement: Option<&str>) -> Result<Option<View>, StoreError> {
        if lock(&self.removed).contains_key(scan) {
            return Ok(None);
        }
        let known = lock(&self.scans).get(scan).cloned();
        let made = match &known {
            Some(ledger) => self.view_of(scan, measurement, &lock(ledger)),
            None => match self.load(scan, |name| measurement.is_none_or(|wanted| wanted == name)) {
                Ok(ledger) => self.view_of(scan, measurement, &ledger),
                Err(super::BookError::Store(e)) => return Err(e),
                // What is no id is the id of no scan.
                Err(_) => None,
            },
        };
        Ok(made)
    }

    /// A measurement that has no rows yet.
    pub fn blank(&self, scan: &str, measurement: &str, columns: Vec<Column>) -> View {
        View {
            scan: scan.into(),
            measurement: measurement.into(),
            columns,
            first: 0,
            next: 0,
            ended: false,
            tail: Vec::new(),
            store: Arc::clone(&self.store),
        }
    }

    fn view_of(&self, scan: &str, measurement: Option<&str>, ledger: &super::Ledger) -> Option<View> {
        let name = match measurement {
            Some(name) => name,
            None if ledger.pages.contains_key(crate::runner::plan::MEASUREMENT) => {
                crate::runner::plan::MEASUREMENT
            }
            None => ledger.pages.keys().next()?,
        };
        let page = ledger.pages.get(name)?;
        Some(View {
            scan: scan.into(),
            measurement: name.into(),
            columns: page.columns.clone(),
            first: page.first.unwrap_or(0),
            next: page.next,
            ended: ledger.ended,
            tail: page.chunks.iter().cloned().collect(),
            store: Arc::clone(&self.store),
        })
    }
}

impl View {
    /// How many rows.
    pub fn len(&self) -> u64 {
        self.next - self.first.min(self.next)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The index of the last row.
    pub fn last_index(&self) -> Option<u64> {
        (!self.is_empty()).then(|| self.next - 1)
    }

    /// The unit of a column.
    pub fn unit(&self, name: &str) -> Option<&str> {
        self.columns.iter().find(|c| c.name == name)?.unit.as_deref()
    }

    /// Up to here rows are read from the store.
    pub(super) fn in_store(&self) -> u64 {
        self.tail.first().map_or(self.next, |chunk| chunk.first)
    }

    pub(super) fn store(&self) -> &crate::store::Store {
        &self.store
    }

    /// The rows from index `from` on, at most `limit`, and no more than about [`limits::ROWS_READ`] of memory.
    ///
    /// # Errors
    /// The store can't be read, or the rows were removed meanwhile.
    pub fn rows(&self, from: u64, limit: u64) -> Result<Page, StoreError> {
        let mut at = from.max(self.first);
        let to = at.saturating_add(limit).min(self.next);
        let (mut chunks, mut bytes) = (Vec::new(), 0);
        while at < to && bytes < limits::ROWS_READ {
            let stored = self.in_store().min(to);
            let some = if at < stored {
                self.store.read_points(&self.scan, &self.measurement, (at, stored), BLOCKS)?
            } else {
                // One at a time: they may be large.
                self.tail.iter().find(|c| c.end() > at).map(|c| c.part(at, to)).into_iter().collect()
            };
            let before = at;
            for chunk in some {
                if chunk.first != at || chunk.is_empty() || bytes >= limits::ROWS_READ {
                    break;
                }
                bytes += chunk.bytes();
                at = chunk.end();
                chunks.push(chunk);
            }
            if at == before {
                return Err(StoreError::Database(format!(
                    "rows {at} to {to} of {}/{} are not there any more",
                    self.scan, self.measurement
                )));
            }
        }
        Ok(Page { chunks, next: (at < self.next && limit > 0).then_some(at) })
    }
}
