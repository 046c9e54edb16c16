//! Rows of scans on the disk: blocks of 256 of each measurement, the pyramid above them, and what is known of each
//! measurement. The layout is in docs/store.md.
//!
//! Promises: a write is one transaction for all scans that have something; reading decodes only the blocks it is asked
//! for; removing a scan is bounded work a call and goes on after a restart. Does not: know which rows are new (the book
//! does), or when to write.

use super::chunk::{self, BLOCK, Chunk};
use super::database::{Store, StoreError, begin_write, closed, failed};
use super::summary::{Head, Summary};
use crate::clock::Wall;
use crate::limits;
use redb::{ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::atomic::Ordering;

/// Scan, measurement, level, index of the first row it may hold. Level 0: a block; level n: the summaries of sixteen of
/// level n - 1.
pub(super) const POINTS: TableDefinition<(&str, &str, u8, u64), &[u8]> = TableDefinition::new("points");
/// Scan, measurement: what is known of it, JSON. With an empty measurement: a scan that was removed.
pub(super) const MEASUREMENTS: TableDefinition<(&str, &str), &[u8]> = TableDefinition::new("measurements");
/// Sixteen of one level are one of the next.
const FAN: u64 = 16;
/// Levels above the blocks: 16^8 blocks are more rows than there will ever be.
const LEVELS: u8 = 8;
/// Rows of the table that one call removes.
const REMOVED: usize = 512;

/// Rows that one entry of a level stands for: 256, 4,096, 65,536, ...
pub fn span(level: u8) -> u64 {
    BLOCK * FAN.pow(u32::from(level))
}

/// What is kept of a measurement besides its rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Its columns, as they were declared.
    pub columns: Value,
    /// Whether somebody declared them, or they are those of its rows.
    #[serde(default)]
    pub declared: bool,
    /// The index of its first row.
    pub first: u64,
    /// The index after its last row that is in a block.
    pub next: u64,
    /// Bytes of its blocks.
    #[serde(default)]
    pub bytes: u64,
    /// Whether its scan has ended.
    #[serde(default)]
    pub ended: bool,
    /// When its newest row was measured.
    pub last_at: Option<Wall>,
}

/// A removed scan: nothing of it that was published up to `through` comes back.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Removed {
    through: u64,
}

/// What one write has of a measurement.
#[derive(Clone, Debug)]
pub struct Written {
    /// The scan.
    pub scan: String,
    /// The measurement.
    pub measurement: String,
    /// What is to be known of it; `bytes` is counted here.
    pub measured: Measured,
    /// Its blocks, in order: each the rows of one block from its first on. What was there of a block is replaced.
    pub chunks: Vec<Chunk>,
}

/// A scan as far as who makes room needs to know.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// The scan.
    pub scan: String,
    /// Bytes of its rows.
    pub bytes: u64,
    /// Whether it has ended.
    pub ended: bool,
    /// When its newest row was measured.
    pub last_at: Option<Wall>,
}

impl Store {
    /// Everything of scans up to this seq is in blocks: the log may forget it, and after a crash is read from there.
    /// Goes to the disk with the next commit.
    pub fn set_points_through(&self, seq: u64) {
        self.points_through.store(seq, Ordering::Relaxed);
    }

    /// What [`Self::set_points_through`] said, as far as it is on the disk: where the next run begins.
    pub fn points_begin(&self) -> u64 {
        self.points_begin.load(Ordering::Relaxed)
    }

    /// Whether retention waits for rows to be put in blocks; says so once.
    pub fn wants_points(&self) -> bool {
        self.points_wanted.swap(false, Ordering::Relaxed)
    }

    /// Bytes of all rows of scans.
    pub fn points_bytes(&self) -> u64 {
        self.points_bytes.load(Ordering::Relaxed)
    }

    /// Writes blocks as one transaction; when this returns they are on the disk.
    ///
    /// # Errors
    /// Nothing was written.
    pub fn write_points(&self, all: &[Written]) -> Result<(), StoreError> {
        if all.is_empty() {
            return Ok(());
        }
        // Packed before the transaction, which nobody else writes beside.
        let packed: Vec<Vec<(u64, Vec<u8>)>> = all
            .iter()
            .map(|w| w.chunks.iter().map(|c| (c.first / BLOCK * BLOCK, c.encode())).collect())
            .collect();
        self.writing(|| {
            let guard = self.db.read().unwrap_or_else(|e| e.into_inner());
            let txn = begin_write(guard.as_ref().ok_or_else(closed)?)?;
            let mut total = self.points_bytes();
            {
                let mut points = txn.open_table(POINTS).map_err(failed)?;
                let mut measurements = txn.open_table(MEASUREMENTS).map_err(failed)?;
                for (written, blocks) in all.iter().zip(&packed) {
                    let id = (written.scan.as_str(), written.measurement.as_str());
                    let known = measurements.get(id).map_err(failed)?.and_then(|row| measured(row.value()));
                    let mut of = written.measured.clone();
                    of.bytes = known.map_or(0, |m| m.bytes);
                    for ((at, block), chunk) in blocks.iter().zip(&written.chunks) {
                        let before = {
                            let old =
                                points.insert((id.0, id.1, 0, *at), block.as_slice()).map_err(failed)?;
                            old.map_or(0, |old| old.value().len() as u64)
                        };
                        of.bytes = (of.bytes + block.len() as u64).saturating_sub(before);
                        total = (total + block.len() as u64).saturating_sub(before);
                        if chunk.end() % BLOCK == 0 {
                            let more = build(&mut points, id, *at)?;
                            of.bytes += more;
                            total += more;
                        }
                    }
                    let row = serde_json::to_vec(&of).map_err(|e| StoreError::Database(e.to_string()))?;
                    measurements.insert(id, row.as_slice()).map_err(failed)?;
                }
                let mut kept = txn.open_table(super::database::KEPT).map_err(failed)?;
                kept.insert(BYTES, total.to_le_bytes().as_slice()).map_err(failed)?;
            }
            txn.commit().map_err(failed)?;
            self.points_bytes.store(total, Ordering::Relaxed);
            Ok(())
        })
    }

    /// What is known of the measurements of a scan, by name.
    ///
    /// # Errors
    /// redb could not read.
    pub fn measurements(&self, scan: &str) -> Result<Vec<(String, Measured)>, StoreError> {
        let guard = self.db.read().unwrap_or_else(|e| e.into_inner());
        let txn = guard.as_ref().ok_or_else(closed)?.begin_read().map_err(failed)?;
        let table = txn.open_table(MEASUREMENTS).map_err(failed)?;
        let mut found = Vec::new();
        if table.get((scan, "")).map_err(failed)?.is_some() {
            return Ok(found);
        }
        for row in table.range((scan, "")..).map_err(failed)? {
            let (key, value) = row.map_err(failed)?;
            let (of, name) = key.value();
            if of != scan {
                break;
            }
            if let Some(measured) = measured(value.value()) {
                found.push((name.to_string(), measured));
            }
        }
        Ok(found)
    }

    /// Every scan that has rows, in order of their ids.
    ///
    /// # Errors
    /// redb could not read.
    pub fn scans_kept(&self) -> Result<Vec<Kept>, StoreError> {
        let guard = self.db.read().unwrap_or_else(|e| e.into_inner());
        let txn = guard.as_ref().ok_or_else(closed)?.begin_read().map_err(failed)?;
        let table = txn.open_table(MEASUREMENTS).map_err(failed)?;
        let mut kept: Vec<Kept> = Vec::new();
        let mut removed = String::new();
        for row in table.iter().map_err(failed)? {
            let (key, value) = row.map_err(failed)?;
            let (scan, name) = key.value();
            if name.is_empty() {
                removed = scan.to_string();
            }
            let Some(of) = measured(value.value()).filter(|_| removed != scan) else { continue };
            match kept.last_mut() {
                Some(last) if last.scan == scan => {
                    last.bytes += of.bytes;
                    last.ended &= of.ended;
                    last.last_at = last.last_at.max(of.last_at);
                }
                _ => {
                    let (scan, bytes) = (scan.to_string(), of.bytes);
                    kept.push(Kept { scan, bytes, ended: of.ended, last_at: of.last_at });
                }
            }
        }
        Ok(kept)
    }

    /// The rows of a measurement from index `from` up to before `to`, as they are in their blocks, at most `most` blocks and
    /// no more after [`limits::ROWS_READ`] of memory.
    ///
    /// # Errors
    /// redb could not read.
    pub fn read_points(
        &self,
        scan: &str,
        measurement: &str,
        (from, to): (u64, u64),
        most: usize,
    ) -> Result<Vec<Chunk>, StoreError> {
        if from >= to {
            return Ok(Vec::new());
        }
        self.reading(scan, measurement, |reader| {
            let (mut chunks, mut bytes) = (Vec::new(), 0);
            let range = (scan, measurement, 0, from / BLOCK * BLOCK)..(scan, measurement, 0, to);
            for row in reader.table.range(range).map_err(failed)?.take(most) {
                let (key, block) = row.map_err(failed)?;
                reader.read += 1;
                match Chunk::decode(block.value()) {
                    Some(chunk) => chunks.push(chunk.part(from, to)),
                    None => return Err(damaged(key.value())),
                }
                bytes += chunks.last().map_or(0, Chunk::bytes);
                if bytes >= limits::ROWS_READ {
                    break;
                }
            }
            Ok(chunks)
        })
    }

    /// Summaries of the rows of a measurement from index `from` up to before `to`, in order: each of at most `rows` rows
    /// where that is not less than a block, and of part of a block only at the ends. With less than a block it is the
    /// blocks' rows that are read, in steps of `rows`. They have spans of these `columns` only. Gives how many rows of the
    /// table were read, too.
    ///
    /// # Errors
    /// redb could not read.
    pub fn summaries(
        &self,
        scan: &str,
        measurement: &str,
        (from, to): (u64, u64),
        rows: u64,
        columns: &[&str],
    ) -> Result<(Vec<Summary>, usize), StoreError> {
        self.reading(scan, measurement, |reader| {
            let mut out = Vec::new();
            let mut at = from;
            // The level whose entries are wanted: level 1's are summaries of blocks.
            let level = (1..=LEVELS).rev().find(|level| span(level - 1) <= rows).unwrap_or(0);
            while at < to {
                let begin = out.len();
                at = reader.step(at, to, level, rows.max(1), &mut out)?;
                out.iter_mut().skip(begin).for_each(|summary: &mut Summary| summary.keep(columns));
            }
            Ok((out, reader.read))
        })
    }

    /// The index of the first row whose `t_rel` is not before `t`, among the blocks from `from` up to before `to`, to the
    /// block: the first row of the last block that begins before.
    ///
    /// # Errors
    /// redb could not read.
    pub fn block_at_time(
        &self,
        scan: &str,
        measurement: &str,
        (from, to): (u64, u64),
        t: f64,
    ) -> Result<u64, StoreError> {
        self.reading(scan, measurement, |reader| {
            let (mut low, mut high) = (from / BLOCK, to.div_ceil(BLOCK));
            while high.saturating_sub(low) > 1 {
                let middle = low + (high - low) / 2;
                let begins = reader.block_head(middle * BLOCK)?.and_then(|s| s.times).map(|t| t.first);
                if begins.is_none_or(|begins| begins >= t) { high = middle } else { low = middle }
            }
            Ok((low * BLOCK).max(from))
        })
    }

    /// A scan is to be removed: from now on nothing of it is found, and nothing that was published up to `through` comes
    /// back from the log. Its rows go with [`Self::remove_some`].
    ///
    /// # Errors
    /// Nothing was written.
    pub fn remove_scan(&self, scan: &str, through: u64) -> Result<(), StoreError> {
        self.writing(|| {
            let guard = self.db.read().unwrap_or_else(|e| e.into_inner());
            let txn = begin_write(guard.as_ref().ok_or_else(closed)?)?;
            {
                let mut measurements = txn.open_table(MEASUREMENTS).map_err(failed)?;
                let row = serde_json::to_vec(&Removed { through }).unwrap_or_default();
                measurements.insert((scan, ""), row.as_slice()).map_err(failed)?;
            }
            txn.commit().map_err(failed)
        })
    }

    /// Scans that are being removed, and up to where nothing of them comes back.
    ///
    /// # Errors
    /// redb could not read.
    pub fn removed_scans(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let guard = self.db.read().unwrap_or_else(|e| e.into_inner());
        let txn = guard.as_ref().ok_or_else(closed)?.begin_read().map_err(failed)?;
        let table = txn.open_table(MEASUREMENTS).map_err(failed)?;
        let mut found = Vec::new();
        for row in table.iter().map_err(failed)? {
            let (key, value) = row.map_err(failed)?;
            if let ((scan, ""), Ok(removed)) = (key.value(), serde_json::from_slice::<Removed>(value.value()))
            {
                found.push((scan.to_string(), removed.through));
            }
        }
        Ok(found)
    }

    /// Removes some rows of a scan that is to be removed; true when none are left. With `forget` the last thing known of
    /// it goes too: when the log has nothing of it any more that would be read again.
    ///
    /// # Errors
    /// Nothing was removed.
    pub fn remove_some(&self, scan: &str, forget: bool) -> Result<bool, StoreError> {
        self.writing(|| {
            let guard = self.db.read().unwrap_or_else(|e| e.into_inner());
            let txn = begin_write(guard.as_ref().ok_or_else(closed)?)?;
            let mut total = self.points_bytes();
            let done;
            {
                let mut points = txn.open_table(POINTS).map_err(failed)?;
                let mut measurements = txn.open_table(MEASUREMENTS).map_err(failed)?;
                let mut going = Vec::new();
                for row in points.range((scan, "", 0, 0)..).map_err(failed)?.take(REMOVED) {
                    let (key, value) = row.map_err(failed)?;
                    let (of, name, level, at) = key.value();
                    if of != scan {
                        break;
                    }
                    going.push((name.to_string(), level, at, value.value().len() as u64));
                }
                done = going.len() < REMOVED;
                for (name, level, at, bytes) in going {
                    points.remove((scan, name.as_str(), level, at)).map_err(failed)?;
                    total = total.saturating_sub(bytes);
                }
                if done {
                    let mut names = Vec::new();
                    for row in measurements.range((scan, "")..).map_err(failed)? {
                        let (key, _) = row.map_err(failed)?;
                        let (of, name) = key.value();
                        if of != scan {
                            break;
                        }
                        names.push(name.to_string());
                    }
                    for name in names.iter().filter(|name| forget || !name.is_empty()) {
                        measurements.remove((scan, name.as_str())).map_err(failed)?;
                    }
                }
                let mut kept = txn.open_table(super::database::KEPT).map_err(failed)?;
                kept.insert(BYTES, total.to_le_bytes().as_slice()).map_err(failed)?;
            }
            txn.commit().map_err(failed)?;
            self.points_bytes.store(total, Ordering::Relaxed);
            Ok(done)
        })
    }

    fn reading<T>(
        &self,
        scan: &str,
        measurement: &str,
        read: impl FnOnce(&mut Reader<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let guard = self.db.read().unwrap_or_else(|e| e.into_inner());
        let txn = guard.as_ref().ok_or_else(closed)?.begin_read().map_err(failed)?;
        let table = txn.open_table(POINTS).map_err(failed)?;
        read(&mut Reader { table: &table, scan, measurement, read: 0 })
    }
}

/// The row of `kept` that says how many bytes all rows of scans have.
pub(super) const BYTES: &str = "p:bytes";
/// The row of `kept` that says up to where everything of scans is in blocks.
pub(super) const THROUGH: &str = "p:through";

fn measured(bytes: &[u8]) -> Option<Measured> {
    serde_json::from_slice(bytes).ok()
}

fn damaged((scan, measurement, level, at): (&str, &str, u8, u64)) -> StoreError {
    StoreError::Database(format!("rows {at} of {scan}/{measurement} (level {level}) are unreadable"))
}

type Points<'t> = redb::Table<'t, (&'static str, &'static str, u8, u64), &'static [u8]>;

/// Writes the levels above a block that is whole, as far as they are whole too; gives their bytes.
fn build(points: &mut Points<'_>, (scan, name): (&str, &str), block: u64) -> Result<u64, StoreError> {
    let (mut bytes, mut at) = (0, block);
    for level in 1..=LEVELS {
        if !(at + span(level - 1)).is_multiple_of(span(level)) {
            break;
        }
        let first = at / span(level) * span(level);
        let mut entries = Vec::new();
        for n in 0..FAN {
            let key = (scan, name, level - 1, first + n * span(level - 1));
            let row = points.get(key).map_err(failed)?;
            let head = row.as_ref().and_then(|row| head_of(level - 1, row.value()));
            match head.and_then(Head::whole) {
                Some(whole) => entries.push(whole),
                // Of before there was a pyramid, or damaged: the level below is read instead.
                None => return Ok(bytes),
            }
        }
        let mut row = Vec::new();
        Head::of(entries).write(&mut row);
        let key = (scan, name, level, first);
        let old = points.insert(key, row.as_slice()).map_err(failed)?;
        let before = old.map_or(0, |old| old.value().len() as u64);
        bytes = (bytes + row.len() as u64).saturating_sub(before);
        at = first;
    }
    Ok(bytes)
}

fn head_of(level: u8, row: &[u8]) -> Option<Head> {
    if level == 0 { chunk::head(row) } else { Head::read(row) }
}

struct Reader<'a> {
    table: &'a redb::ReadOnlyTable<(&'static str, &'static str, u8, u64), &'static [u8]>,
    scan: &'a str,
    measurement: &'a str,
    /// Rows of the table read so far.
    read: usize,
}

impl Reader<'_> {
    fn row(&mut self, level: u8, at: u64) -> Result<Option<Head>, StoreError> {
        let row = self.table.get((self.scan, self.measurement, level, at)).map_err(failed)?;
        self.read += 1;
        Ok(row.and_then(|row| head_of(level, row.value())))
    }

    fn block_head(&mut self, at: u64) -> Result<Option<Summary>, StoreError> {
        Ok(self.row(0, at)?.and_then(Head::whole))
    }

    /// Summaries of what comes at `at`, as large a step as `level` allows; gives where it goes on.
    fn step(
        &mut self,
        at: u64,
        to: u64,
        level: u8,
        rows: u64,
        out: &mut Vec<Summary>,
    ) -> Result<u64, StoreError> {
        // A row of this level holds sixteen of what is wanted; one of those below is one, joined.
        for try_level in (1..=level).rev() {
            if !at.is_multiple_of(span(try_level)) || to - at < span(try_level) {
                continue;
            }
            if let Some(head) = self.row(try_level, at)? {
                if try_level == level {
                    out.extend(head.entries);
                } else {
                    out.extend(head.whole());
                }
                return Ok(at + span(try_level));
            }
        }
        let begin = at / BLOCK * BLOCK;
        let end = begin + BLOCK;
        if level > 0 && at == begin && to >= end {
            if let Some(summary) = self.block_head(begin)? {
                out.push(summary);
            }
            return Ok(end);
        }
        let row = self.table.get((self.scan, self.measurement, 0, begin)).map_err(failed)?;
        self.read += 1;
        if let Some(row) = row {
            let chunk =
                Chunk::decode(row.value()).ok_or_else(|| damaged((self.scan, self.measurement, 0, begin)))?;
            summarise(&chunk, (at, to), rows, out);
        }
        Ok(end)
    }
}

/// Summaries of the rows of a chunk from index `from` up to before `to`, in steps of `rows` that begin at multiples of it.
pub fn summarise(chunk: &Chunk, (from, to): (u64, u64), rows: u64, out: &mut Vec<Summary>) {
    let rows = rows.max(1);
    let (mut at, end) = (from.max(chunk.first), to.min(chunk.end()));
    while at < end {
        let next = ((at / rows + 1) * rows).min(end);
        let place = |index: u64| (index - chunk.first) as usize;
        out.extend(Summary::of(chunk, place(at), place(next)));
        at = next;
    }
}
