//! The database: opening, committing, reading. The tables are in docs/store.md.

use super::block;
pub use super::block::Stored;
use super::points;
use super::trail::Newest;
use crate::bus::{Batch, Start};
use crate::clock::{ClockMemory, Corrections, Wall};
use crate::config;
use crate::limits;
use crate::model::{Class, Cursor, Event, SharedEvent, Topic};
#[cfg(test)]
use redb::StorageBackend;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

/// Blocks of records by the seq of their last record.
const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
/// Everything that is kept as its newest value: `m` meta, `t` the clock, `s:{key}` state, `r:{key}` idempotency,
/// `e:{epoch}` epochs, `p:...` the rows of scans.
pub(super) const KEPT: TableDefinition<&str, &[u8]> = TableDefinition::new("kept");
/// What modules put aside themselves, by their own keys: see [`Store::shelve`].
const SHELF: TableDefinition<&str, &[u8]> = TableDefinition::new("shelf");
/// Raised when the layout changes; a newer number than this program knows is refused, never rewritten. 2: packed
/// samples and trails, which begin at the row `x`.
const VERSION: u32 = 2;
/// Epochs whose ends are remembered; an id of an older one is unknown.
const EPOCHS: usize = 4_096;
/// Blocks that one commit removes more than it adds, at most: the log falls to a lowered limit without stalling
/// acquisition's durability, and however fast it grows, it does not grow past the limit.
const EVICT: usize = 64;

/// Why the store can't do it.
#[derive(Debug)]
pub enum StoreError {
    /// Another process has the database.
    InUse(PathBuf),
    /// Written by a newer telltale.
    Newer(u32),
    /// The folder or the file can't be used.
    Io(PathBuf, String),
    /// redb says no.
    Database(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::InUse(path) => {
                write!(f, "{} is in use by another telltale", path.display())
            }
            StoreError::Newer(version) => write!(
                f,
                "the database has layout {version}, this telltale knows {VERSION}; install the newer telltale again"
            ),
            StoreError::Io(path, e) => write!(f, "failed to use {}: {e}", path.display()),
            StoreError::Database(e) => write!(f, "the database failed: {e}"),
        }
    }
}
impl std::error::Error for StoreError {}

pub(super) fn failed(e: impl Into<redb::Error>) -> StoreError {
    StoreError::Database(e.into().to_string())
}

/// The row `m`: little-endian numbers in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Meta {
    version: u32,
    /// The epoch of the last start.
    epoch: u64,
    /// The last committed seq.
    head: u64,
    /// The last seq whose records retention removed; 0 when none was.
    floor: u64,
    /// Bytes of all blocks.
    bytes: u64,
    /// The seq of the newest last value of a state key that was dropped.
    forgotten: u64,
}

impl Meta {
    fn encode(self) -> [u8; 44] {
        let mut out = [0; 44];
        out[..4].copy_from_slice(&self.version.to_le_bytes());
        for (i, n) in [self.epoch, self.head, self.floor, self.bytes, self.forgotten].into_iter().enumerate()
        {
            out[4 + 8 * i..12 + 8 * i].copy_from_slice(&n.to_le_bytes());
        }
        out
    }

    fn decode(bytes: &[u8]) -> Option<Meta> {
        let number = |i: usize| Some(u64::from_le_bytes(bytes.get(4 + 8 * i..12 + 8 * i)?.try_into().ok()?));
        let version = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?);
        Some(Meta {
            version,
            epoch: number(0)?,
            head: number(1)?,
            floor: number(2)?,
            bytes: number(3)?,
            forgotten: number(4)?,
        })
    }
}

/// What opening found.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: Store,
    /// What the bus goes on from.
    pub start: Start,
    /// Where a database that could not be opened was moved to, and why it could not.
    pub set_aside: Option<(PathBuf, String)>,
}

/// See the module above.
#[derive(Debug)]
pub struct Store {
    place: Place,
    /// None while it is being opened again after an error of the disk.
    pub(super) db: RwLock<Option<Database>>,
    meta: Mutex<Meta>,
    epochs: Mutex<Epochs>,
    /// The newest block on each trail.
    newest: Mutex<Newest>,
    /// Blocks up to this seq have no trails.
    untrailed: u64,
    settings: RwLock<config::Store>,
    /// Bytes of all rows of scans.
    pub(super) points_bytes: AtomicU64,
    /// Up to here all rows of scans are in blocks; the log keeps what comes after. [`u64::MAX`]: nobody keeps rows.
    pub(super) points_through: AtomicU64,
    /// The same as it is on the disk.
    pub(super) points_begin: AtomicU64,
    /// Retention would remove what is not in blocks yet.
    pub(super) points_wanted: AtomicBool,
}

#[derive(Debug)]
enum Place {
    File(PathBuf),
    /// Tests give their own; it can't be opened twice.
    #[cfg_attr(not(test), allow(dead_code))]
    Backend,
}

/// First seq of each remembered epoch; the last of one is before the first of the next.
#[derive(Debug, Default)]
struct Epochs {
    first: std::collections::BTreeMap<u64, u64>,
}

/// What the store knows of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochRange {
    /// The seq of its first event.
    pub first: u64,
    /// The last committed seq of it; one less than `first` when nothing was.
    pub last: u64,
}

impl Store {
    /// Opens `{data}/telltale.redb`, or makes it, and begins a new epoch, on the disk before this returns.
    ///
    /// A file that redb can't open (damaged beyond repair) is renamed and a new one begun: the box must serve.
    ///
    /// # Errors
    /// The database is in use, newer than this program, or the folder can't be written.
    pub fn open(data: &Path, settings: &config::Store) -> Result<Opened, StoreError> {
        std::fs::create_dir_all(data).map_err(|e| StoreError::Io(data.into(), e.to_string()))?;
        let path = data.join("telltale.redb");
        let mut set_aside = None;
        let db = match open_file(&path, settings.cache_bytes) {
            Ok(db) => db,
            Err(StoreError::Database(why)) => {
                let aside = data.join(format!("telltale.redb.broken-{}", Wall::now().0));
                std::fs::rename(&path, &aside).map_err(|e| StoreError::Io(path.clone(), e.to_string()))?;
                set_aside = Some((aside, why));
                open_file(&path, settings.cache_bytes)?
            }
            Err(e) => return Err(e),
        };
        let (store, start) = Store::begin(Place::File(path), db, settings)?;
        Ok(Opened { store, start, set_aside })
    }

    /// The same on any redb backend: what the crash tests use.
    #[cfg(test)]
    pub(crate) fn open_backend(
        backend: impl StorageBackend,
        settings: &config::Store,
    ) -> Result<Opened, StoreError> {
        let db = Database::builder()
            .set_cache_size(settings.cache_bytes)
            .create_with_backend(backend)
            .map_err(failed)?;
        let (store, start) = Store::begin(Place::Backend, db, settings)?;
        Ok(Opened { store, start, set_aside: None })
    }

    fn begin(place: Place, db: Database, settings: &config::Store) -> Result<(Store, Start), StoreError> {
        let mut start = Start::default();
        let mut epochs = Epochs::default();
        let txn = begin_write(&db)?;
        let mut meta;
        let untrailed;
        let newest;
        let (points_bytes, points_begin);
        {
            txn.open_table(points::POINTS).map_err(failed)?;
            txn.open_table(points::MEASUREMENTS).map_err(failed)?;
            newest = newest_of(&txn.open_table(LOG).map_err(failed)?)?;
            txn.open_table(SHELF).map_err(failed)?;
            let mut kept = txn.open_table(KEPT).map_err(failed)?;
            meta = match kept.get("m").map_err(failed)? {
                Some(row) => Meta::decode(row.value())
                    .ok_or_else(|| StoreError::Database("its meta row is unreadable".into()))?,
                None => Meta { version: VERSION, epoch: first_epoch(), ..Meta::default() },
            };
            if meta.version > VERSION {
                return Err(StoreError::Newer(meta.version));
            }
            meta.version = VERSION;
            let known = kept.get("x").map_err(failed)?.map(|row| number(row.value()));
            untrailed = known.unwrap_or(meta.head);
            if known.is_none() {
                kept.insert("x", untrailed.to_le_bytes().as_slice()).map_err(failed)?;
            }
            let of = |key: &str| Ok(kept.get(key).map_err(failed)?.map_or(0, |row| number(row.value())));
            (points_bytes, points_begin) = (of(points::BYTES)?, of(points::THROUGH)?);
            start.clock = match kept.get("t").map_err(failed)? {
                Some(row) => {
                    let memory = serde_json::from_slice::<ClockMemory>(row.value());
                    memory.inspect_err(|e| log::warn!("what was known of the clock is unreadable: {e}")).ok()
                }
                None => None,
            };
            let mut remembered = Vec::new();
            for row in kept.iter().map_err(failed)? {
                let (key, value) = row.map_err(failed)?;
                let (key, value) = (key.value(), value.value());
                if let Some(key) = key.strip_prefix("s:") {
                    match block::entries(&block::expand(value)).next().and_then(|stored| restore(stored, key))
                    {
                        Some(event) => start.state.push(Arc::new(event)),
                        None => log::warn!("state row {key:?} is unreadable and left out"),
                    }
                } else if let Some(key) = key.strip_prefix("r:") {
                    remembered.push((key.to_string(), number(value)));
                } else if let Some(epoch) = key.strip_prefix("e:").and_then(|e| e.parse().ok()) {
                    epochs.first.insert(epoch, number(value));
                }
            }
            remembered.sort_by_key(|(_, seq)| *seq);
            meta.epoch += 1;
            kept.insert(epoch_key(meta.epoch).as_str(), (meta.head + 1).to_le_bytes().as_slice())
                .map_err(failed)?;
            epochs.first.insert(meta.epoch, meta.head + 1);
            while epochs.first.len() > EPOCHS
                && let Some((oldest, _)) = epochs.first.pop_first()
            {
                kept.remove(epoch_key(oldest).as_str()).map_err(failed)?;
            }
            let surplus = remembered.len().saturating_sub(limits::IDEMPOTENCY_KEYS);
            for (key, _) in remembered.drain(..surplus) {
                kept.remove(format!("r:{key}").as_str()).map_err(failed)?;
            }
            start.remembered = remembered;
            kept.insert("m", meta.encode().as_slice()).map_err(failed)?;
        }
        txn.commit().map_err(failed)?;
        (start.epoch, start.head, start.forgotten) = (meta.epoch, meta.head, meta.forgotten);
        let store = Store {
            place,
            db: RwLock::new(Some(db)),
            meta: Mutex::new(meta),
            epochs: Mutex::new(epochs),
            newest: Mutex::new(newest),
            untrailed,
            settings: RwLock::new(settings.clone()),
            points_bytes: AtomicU64::new(points_bytes),
            points_through: AtomicU64::new(u64::MAX),
            points_begin: AtomicU64::new(points_begin),
            points_wanted: AtomicBool::new(false),
        };
        Ok((store, start))
    }

    /// Takes new limits of retention.
    pub fn set_settings(&self, settings: &config::Store) {
        *self.settings.write().unwrap_or_else(|e| e.into_inner()) = settings.clone();
    }

    /// The settings in force.
    pub fn settings(&self) -> config::Store {
        self.settings.read().unwrap_or_else(|e| e.into_inner()).clone()
    }

    fn meta(&self) -> Meta {
        *self.meta.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The last seq whose records retention has removed.
    pub fn floor(&self) -> u64 {
        self.meta().floor
    }

    /// Bytes of all stored records.
    pub fn bytes(&self) -> u64 {
        self.meta().bytes
    }

    /// What is known of an epoch; none when it is not of this database, or too long ago.
    pub fn epoch(&self, epoch: u64) -> Option<EpochRange> {
        let head = self.meta().head;
        let epochs = self.epochs.lock().unwrap_or_else(|e| e.into_inner());
        let first = *epochs.first.get(&epoch)?;
        let last = epochs.first.get(&(epoch + 1)).map_or(head, |next| next - 1);
        Some(EpochRange { first, last })
    }

    /// The epoch that wrote `seq`: the newest one that began at or before it.
    pub fn epoch_of(&self, seq: u64) -> u64 {
        let epochs = self.epochs.lock().unwrap_or_else(|e| e.into_inner());
        epochs.first.iter().rev().find(|(_, first)| **first <= seq).map_or(0, |(epoch, _)| *epoch)
    }

    /// Writes a batch; when this returns it is on the disk. `purge_by_age` is false while the clock can't be trusted.
    ///
    /// # Errors
    /// Nothing of the batch was written. redb wants to be opened anew after an error of the disk; the next call does.
    pub(crate) fn commit(&self, batch: &Batch, purge_by_age: bool) -> Result<Committed, StoreError> {
        self.writing(|| self.try_commit(batch, purge_by_age))
    }

    /// Runs what writes, on a database that is opened again where it was closed after an error.
    pub(super) fn writing<T>(&self, write: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.reopen_if_needed()?;
        let result = write();
        if result.is_err() && matches!(self.place, Place::File(_)) {
            *self.db.write().unwrap_or_else(|e| e.into_inner()) = None;
        }
        result
    }

    fn try_commit(&self, batch: &Batch, purge_by_age: bool) -> Result<Committed, StoreError> {
        let guard = self.db.read().unwrap_or_else(|e| e.into_inner());
        let db = guard.as_ref().ok_or_else(closed)?;
        let settings = self.settings();
        let now = Wall::now().0;
        let mut meta = self.meta();
        let mut newest = *self.newest.lock().unwrap_or_else(|e| e.into_inner());
        let mut committed = Committed::default();
        let points_through = self.points_through.load(Ordering::Relaxed);
        let txn = begin_write(db)?;
        {
            let mut log = txn.open_table(LOG).map_err(failed)?;
            // After an error of the disk the commit may have been made all the same: what is there is not written again.
            let fresh = batch.records.partition_point(|e| e.cursor.seq <= meta.head);
            let mut added = 0;
            for records in chunks(&batch.records[fresh..]) {
                let Some(last) = records.last() else { continue };
                let bytes = block::encode_log(batch.through.epoch, now, records, &mut newest);
                meta.bytes += bytes.len() as u64;
                committed.records += records.len() as u64;
                added += 1;
                log.insert(last.cursor.seq, bytes.as_slice()).map_err(failed)?;
            }
            let oldest_kept = settings
                .keep_age
                .filter(|_| purge_by_age)
                .map(|age| Wall(now.saturating_sub(age.as_millis() as u64)));
            let keep = Keep { bytes: settings.keep_bytes, since: oldest_kept };
            for going in keep.going(&log, meta.bytes, EVICT + added, &batch.corrections)? {
                if going.last > points_through {
                    // Rows of scans that are in no block yet: they are put in one first.
                    self.points_wanted.store(true, Ordering::Relaxed);
                    break;
                }
                log.remove(going.last).map_err(failed)?;
                meta.floor = going.last;
                meta.bytes -= going.size;
                committed.evicted += going.records;
            }
        }
        {
            let mut kept = txn.open_table(KEPT).map_err(failed)?;
            for (key, event) in &batch.state {
                let key = format!("s:{key}");
                match event {
                    Some(event) => {
                        let bytes = block::encode_one(event.cursor.epoch, now, event);
                        kept.insert(key.as_str(), bytes.as_slice()).map_err(failed)?;
                    }
                    None => drop(kept.remove(key.as_str()).map_err(failed)?),
                }
            }
            // Many numbers of one producer in one batch: the last counts.
            let remembered: HashMap<_, _> =
                batch.remembered.iter().map(|(key, seq)| (key.as_str(), *seq)).collect();
            for (key, seq) in remembered {
                kept.insert(format!("r:{key}").as_str(), seq.to_le_bytes().as_slice()).map_err(failed)?;
            }
            for key in &batch.forgotten {
                kept.remove(format!("r:{key}").as_str()).map_err(failed)?;
            }
            if let Some(memory) = &batch.clock {
                let bytes = serde_json::to_vec(memory).map_err(|e| StoreError::Database(e.to_string()))?;
                kept.insert("t", bytes.as_slice()).map_err(failed)?;
            }
            if points_through != u64::MAX {
                kept.insert(points::THROUGH, points_through.to_le_bytes().as_slice()).map_err(failed)?;
            }
            meta.head = batch.through.seq;
            meta.forgotten = batch.forgotten_through;
            kept.insert("m", meta.encode().as_slice()).map_err(failed)?;
        }
        txn.commit().map_err(failed)?;
        if points_through != u64::MAX {
            self.points_begin.store(points_through, Ordering::Relaxed);
        }
        *self.meta.lock().unwrap_or_else(|e| e.into_inner()) = meta;
        *self.newest.lock().unwrap_or_else(|e| e.into_inner()) = newest;
        Ok(committed)
    }

    /// Makes the blocks those of a store from before there were trails.
    #[cfg(test)]
    pub(super) fn forget_trails(&self) {
        let guard = self.db.read().unwrap();
        let txn = guard.as_ref().unwrap().begin_write().unwrap();
        {
            let mut log = txn.open_table(LOG).unwrap();
            let rows: Vec<_> = log
                .iter()
                .unwrap()
                .map(|r| r.map(|(k, v)| (k.value(), v.value().to_vec())).unwrap())
                .collect();
            for (last, block) in rows {
                log.insert(last, block::without_trails(&block).as_slice()).unwrap();
            }
            txn.open_table(KEPT).unwrap().remove("x").unwrap();
        }
        txn.commit().unwrap();
    }

    #[cfg(test)]
    pub(crate) fn close_as_after_an_error(&self) {
        *self.db.write().unwrap() = None;
    }

    fn reopen_if_needed(&self) -> Result<(), StoreError> {
        let mut db = self.db.write().unwrap_or_else(|e| e.into_inner());
        if db.is_none()
            && let Place::File(path) = &self.place
        {
            let opened = open_file(path, self.settings().cache_bytes)?;
            // What the disk holds is the truth: a commit that failed half-way may have been made after all.
            let txn = opened.begin_read().map_err(failed)?;
            let kept = txn.open_table(KEPT).map_err(failed)?;
            if let Some(meta) = kept.get("m").map_err(failed)?.and_then(|row| Meta::decode(row.value())) {
                *self.meta.lock().unwrap_or_else(|e| e.into_inner()) = meta;
            }
            let newest = newest_of(&txn.open_table(LOG).map_err(failed)?)?;
            *self.newest.lock().unwrap_or_else(|e| e.into_inner()) = newest;
            drop((kept, txn));
            *db = Some(opened);
        }
        Ok(())
    }

    /// Visits stored records after `seq` in order, until about `most_bytes` of them or `most` were visited.
    ///
    /// `visit` must not block: a read transaction is open while it runs.
    ///
    /// # Errors
    /// redb could not read.
    pub fn visit_after(
        &self,
        seq: u64,
        most_bytes: usize,
        most: usize,
        mut visit: impl FnMut(Stored<'_>),
    ) -> Result<Visited, StoreError> {
        let guard = self.db.read().unwrap_or_else(|e| e.into_inner());
        let db = guard.as_ref().ok_or_else(closed)?;
        let txn = db.begin_read().map_err(failed)?;
        let meta = {
            let kept = txn.open_table(KEPT).map_err(failed)?;
            kept.get("m").map_err(failed)?.and_then(|row| Meta::decode(row.value())).unwrap_or_default()
        };
        if meta.floor > seq {
            return Ok(Visited::Evicted(meta.floor));
        }
        let log = txn.open_table(LOG).map_err(failed)?;
        let (mut bytes, mut count, mut through) = (0, 0, seq);
        for row in log.range(seq + 1..).map_err(failed)? {
            let (last, block) = row.map_err(failed)?;
            for stored in block::entries(&block::expand(block.value())).filter(|stored| stored.seq > seq) {
                if bytes >= most_bytes || count >= most {
                    return Ok(Visited::Through(through));
                }
                bytes += stored.data.len();
                count += 1;
                through = stored.seq;
                visit(stored);
            }
            through = last.value();
        }
        Ok(Visited::Through(meta.head.max(seq)))
    }

    /// A read transaction's table of the log and the meta row, for `search`.
    pub(super) fn with_log<T>(
        &self,
        read: impl FnOnce(&redb::ReadOnlyTable<u64, &'static [u8]>, LogEnds) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let guard = self.db.read().unwrap_or_else(|e| e.into_inner());
        let txn = guard.as_ref().ok_or_else(closed)?.begin_read().map_err(failed)?;
        let kept = txn.open_table(KEPT).map_err(failed)?;
        let meta =
            kept.get("m").map_err(failed)?.and_then(|row| Meta::decode(row.value())).unwrap_or_default();
        let log = txn.open_table(LOG).map_err(failed)?;
        read(&log, LogEnds { floor: meta.floor, untrailed: self.untrailed })
    }

    /// The rows of the shelf whose key begins with `prefix`, in order of their keys.
    ///
    /// # Errors
    /// redb could not read.
    pub fn shelf(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let guard = self.db.read().unwrap_or_else(|e| e.into_inner());
        let txn = guard.as_ref().ok_or_else(closed)?.begin_read().map_err(failed)?;
        let shelf = txn.open_table(SHELF).map_err(failed)?;
        let mut rows = Vec::new();
        for row in shelf.range(prefix..).map_err(failed)? {
            let (key, value) = row.map_err(failed)?;
            if !key.value().starts_with(prefix) {
                break;
            }
            rows.push((key.value().to_string(), value.value().to_vec()));
        }
        Ok(rows)
    }

    /// Puts rows on the shelf, or takes them off where there is no value, as one transaction that is on the disk when
    /// this returns. For what changes seldom and must survive: each call costs the card some 40 KB. Keys begin with
    /// a word of their owner and a slash, such as `recording/`.
    ///
    /// # Errors
    /// Nothing was written.
    pub fn shelve(&self, rows: &[(String, Option<Vec<u8>>)]) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        self.writing(|| self.try_shelve(rows))
    }

    fn try_shelve(&self, rows: &[(String, Option<Vec<u8>>)]) -> Result<(), StoreError> {
        let guard = self.db.read().unwrap_or_else(|e| e.into_inner());
        let txn = begin_write(guard.as_ref().ok_or_else(closed)?)?;
        {
            let mut shelf = txn.open_table(SHELF).map_err(failed)?;
            for (key, value) in rows {
                match value {
                    Some(value) => drop(shelf.insert(key.as_str(), value.as_slice()).map_err(failed)?),
                    None => drop(shelf.remove(key.as_str()).map_err(failed)?),
                }
            }
        }
        txn.commit().map_err(failed)
    }

    /// Whether the store can be read: what `/readyz` asks.
    pub fn check(&self) -> Result<(), StoreError> {
        self.visit_after(u64::MAX - 1, 0, 0, |_| ()).map(drop)
    }
}

/// Where the log begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogEnds {
    /// The last seq that retention removed.
    pub floor: u64,
    /// Blocks up to this seq have no trails.
    pub untrailed: u64,
}

/// How far a visit came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visited {
    /// Everything up to this seq has been visited: the last committed one when nothing is left.
    Through(u64),
    /// Nothing was visited, as retention has removed records up to this seq.
    Evicted(u64),
}

/// What a commit did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Committed {
    pub records: u64,
    pub evicted: u64,
}

pub(super) fn closed() -> StoreError {
    StoreError::Database("it is closed after an error of the disk and will be opened again".into())
}

fn open_file(path: &Path, cache_bytes: usize) -> Result<Database, StoreError> {
    let opened = Database::builder()
        .set_cache_size(cache_bytes)
        .set_repair_callback(|session| {
            log::warn!("repairing the database: {:.0} %", session.progress() * 100.0)
        })
        .create(path);
    opened.map_err(|e| match e {
        redb::DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(path.into()),
        redb::DatabaseError::Storage(redb::StorageError::Io(e))
            if !matches!(e.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof) =>
        {
            StoreError::Io(path.into(), e.to_string())
        }
        other => failed(other),
    })
}

pub(super) fn begin_write(db: &Database) -> Result<WriteTransaction, StoreError> {
    let mut txn = db.begin_write().map_err(failed)?;
    // Without it a power cut means walking the whole file at the next start.
    txn.set_quick_repair(true);
    Ok(txn)
}

/// The newest block on each trail, as the last block says.
fn newest_of(log: &impl ReadableTable<u64, &'static [u8]>) -> Result<Newest, StoreError> {
    let last = log.last().map_err(failed)?;
    let trails =
        last.and_then(|(seq, block)| Some(block::trails(seq.value(), block.value())?.after(seq.value())));
    Ok(trails.unwrap_or_default())
}

/// What is kept.
struct Keep {
    bytes: u64,
    /// Older ones go; none while the clock can't be trusted.
    since: Option<Wall>,
}

/// A block that goes.
struct Going {
    last: u64,
    size: u64,
    records: u64,
}

impl Keep {
    /// The oldest blocks, as far as they go, at most `most`. `bytes` is the sum of all.
    ///
    /// A block whose time nobody vouches for is older than those behind it, so it goes by age with the first of them that
    /// does; alone it only goes by size.
    fn going(
        &self,
        log: &redb::Table<'_, u64, &'static [u8]>,
        mut bytes: u64,
        most: usize,
        corrections: &Corrections,
    ) -> Result<Vec<Going>, StoreError> {
        let (mut going, mut sure) = (Vec::new(), 0);
        for row in log.iter().map_err(failed)?.take(most) {
            let (last, block) = row.map_err(failed)?;
            let (last, block) = (last.value(), block.value());
            let size = block.len() as u64;
            let too_much = bytes > self.bytes && bytes > size;
            if !too_much && self.since.is_none() {
                break;
            }
            // What goes by size alone need not be unpacked.
            let too_old = self.since.filter(|_| !too_much).and_then(|since| {
                let block = block::expand(block);
                let newest = block::entries(&block).last()?;
                corrections.known_time(newest.seq, newest.data).map(|time| time < since)
            });
            if !too_much && too_old == Some(false) {
                break;
            }
            bytes = bytes.saturating_sub(size);
            going.push(Going { last, size, records: block::count(block) });
            if too_much || too_old == Some(true) {
                sure = going.len();
            }
        }
        going.truncate(sure);
        Ok(going)
    }
}

/// Records cut into blocks of about 32 KB: small enough to be read and evicted one by one.
fn chunks(records: &[SharedEvent]) -> impl Iterator<Item = &[SharedEvent]> {
    let mut rest = records;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut bytes = 0;
        let take = rest.iter().take_while(|e| {
            let room = bytes < 32 * 1024;
            bytes += e.data().len();
            room
        });
        let (chunk, left) = rest.split_at(take.count());
        rest = left;
        Some(chunk)
    })
}

fn restore(stored: Stored<'_>, key: &str) -> Option<Event> {
    let topic = Topic::parse(stored.topic).ok()?;
    let cursor = Cursor { epoch: stored.epoch, seq: stored.seq };
    let class = if stored.kind == "alert" { Class::Record } else { stored.class };
    let mut event = Event::restored(
        cursor,
        class,
        stored.kind.into(),
        topic,
        Some(key.into()),
        stored.global,
        stored.data,
    );
    event.open = Some(!stored.retired);
    Some(event)
}

/// A random number to begin with, so that an id of another database is told from ours; below 2^32 to stay readable.
fn first_epoch() -> u64 {
    u64::from(getrandom::u32().unwrap_or(Wall::now().0 as u32))
}

fn epoch_key(epoch: u64) -> String {
    format!("e:{epoch:020}")
}

fn number(bytes: &[u8]) -> u64 {
    bytes.try_into().map(u64::from_le_bytes).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shelf_keeps_what_is_put_there() {
        let dir = tempfile::tempdir().unwrap();
        let settings = config::Store::default();
        let store = Store::open(dir.path(), &settings).unwrap().store;
        let row = |key: &str, value: &str| (key.to_string(), Some(value.as_bytes().to_vec()));
        store.shelve(&[row("a/2", "two"), row("a/1", "one"), row("ab", "no"), row("b/1", "other")]).unwrap();
        store.shelve(&[("a/2".into(), None), row("a/3", "three")]).unwrap();
        drop(store);
        let store = Store::open(dir.path(), &settings).unwrap().store;
        let keys: Vec<_> =
            store.shelf("a/").unwrap().into_iter().map(|(k, v)| (k, String::from_utf8(v).unwrap())).collect();
        assert_eq!(keys, [("a/1".into(), "one".into()), ("a/3".into(), "three".into())]);
    }
}
