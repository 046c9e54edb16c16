//! The book: the rows that scans measure, from the moment they are told to the disk, and read back as a page, a chart, a
//! file or a replay.
//!
//! **Promises.** The rows of a measurement are numbered from 0 or 1 without a gap; the same row given twice is one row. Rows
//! and what is published beside them are one step on the bus. A row is durable through the log (within its commit window)
//! and moves from there into blocks of its own; after a kill at any moment it is there once. The log never forgets a row
//! that is in no block. What is read is of one moment and never loads a long scan as a whole.
//! **Does not**: run scans, know their states, or decide when data has to go: the lab does.
//! **Bounds** are in `limits`: `BOOK_BYTES`, `BOOK_SCANS`, `COLUMNS`, `ROWS_*`.
//!
//! Rows of a fast scan wait for each other up to [`limits::ROWS_HELD`] and are told as one `data_batch`. The book's thread
//! tells them, writes blocks, and follows the log for rows that others published (a `data_point` posted to `/api/events`):
//! they are kept too where their numbering has no gap.

mod blocks;
pub mod chart;
pub mod export;
mod follow;
mod frames;
mod ledger;
pub mod playback;
pub mod rows;

pub use self::frames::row;
use self::ledger::{Checked, Ledger, cells, check_columns, same};
pub use self::rows::{Page, View};
use crate::bus::{Bus, Refused};
use crate::limits;
use crate::model::{Draft, Topic};
use crate::runner::data::{Column, Row};
use crate::sources::follow::Follower;
use crate::store::{BLOCK, Chunk, Store, StoreError};
use crate::threads::{self, Stop};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A scan that neither ends nor gets rows for so long, and that nobody knows, is over.
const QUIET: Duration = Duration::from_secs(3_600);
/// Our own events whose rows need not be read from the log; more of them are read and found to be known.
const OWN: usize = 10_000;

/// What came of appending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// New rows.
    pub accepted: u64,
    /// Rows that were there.
    pub duplicates: u64,
    /// The index of the last row of the measurement.
    pub last_index: Option<u64>,
}

/// What there is of a measurement besides its rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overview {
    /// Its columns.
    pub columns: Vec<Column>,
    /// How many rows.
    pub rows: u64,
    /// The index of the last one.
    pub last_index: Option<u64>,
}

/// Why nothing was appended.
#[derive(Debug)]
pub enum BookError {
    /// A row of this number is there with other values: 409.
    Conflict {
        /// Its measurement.
        measurement: String,
        /// Its number.
        index: u64,
    },
    /// Rows are missing before this one: 409 `gap`.
    Gap {
        /// Its measurement.
        measurement: String,
        /// The number that comes next.
        expected: u64,
        /// The number that was given.
        got: u64,
    },
    /// A row that does not fit its columns, in one sentence: 422.
    Columns(String),
    /// The bus takes nothing now.
    Refused(Refused),
    /// The store can't be read.
    Store(StoreError),
}

impl fmt::Display for BookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BookError::Conflict { measurement, index } => {
                write!(f, "row {index} of {measurement} is there already, with other values")
            }
            BookError::Gap { measurement, expected, got } => {
                write!(f, "row {got} of {measurement} was sent; expected {expected}")
            }
            BookError::Columns(why) => f.write_str(why),
            BookError::Refused(why) => why.fmt(f),
            BookError::Store(why) => why.fmt(f),
        }
    }
}
impl std::error::Error for BookError {}

impl From<StoreError> for BookError {
    fn from(e: StoreError) -> Self {
        BookError::Store(e)
    }
}

/// See the module above.
pub struct Book {
    bus: Arc<Bus>,
    store: Arc<Store>,
    scans: Mutex<HashMap<String, Arc<Mutex<Ledger>>>>,
    /// Scans with rows that wait to be told.
    holding: Mutex<BTreeSet<String>>,
    /// Events of ours that the follower has not come to: the last seq of each, and the first.
    own: Mutex<BTreeMap<u64, u64>>,
    /// Scans that are being removed.
    removed: Mutex<HashMap<String, Removal>>,
    opened: Instant,
    /// Scans that have not ended and are not in memory any more, since when.
    let_go: Mutex<HashMap<String, Instant>>,
    /// Taken by the thread while it works; none while it does.
    follower: Mutex<Option<Follower>>,
    /// Where it is.
    followed: AtomicU64,
    /// Something has ended: blocks are written at the next look.
    ended: AtomicBool,
    /// Nothing waits any more: the daemon stops.
    stopping: AtomicBool,
    written: Mutex<Instant>,
    /// Bytes of rows that came since blocks were written, about.
    fresh_bytes: AtomicU64,
    /// From so many on they are put into blocks that are not full; twice as many are refused.
    room: usize,
    /// Held by who writes blocks, from looking at what there is until it is on the disk; nobody else waits for it.
    writer: Mutex<()>,
}

impl Book {
    /// The book over a store, with what of the log is in no block yet. Before the writer thread begins.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn open(bus: Arc<Bus>, store: Arc<Store>) -> Result<Book, StoreError> {
        let begin = store.points_begin();
        // From here on the log keeps what is in no block.
        store.set_points_through(begin);
        let removed = store.removed_scans()?.into_iter();
        let removed = removed.map(|(scan, through)| (scan, Removal { through, empty: false })).collect();
        let follower = Follower::new(Arc::clone(&bus), Arc::clone(&store), begin);
        let book = Book {
            room: limits::BOOK_BYTES.min(bus.room() / 2),
            bus,
            store,
            scans: Mutex::default(),
            holding: Mutex::default(),
            own: Mutex::default(),
            removed: Mutex::new(removed),
            opened: Instant::now(),
            let_go: Mutex::default(),
            follower: Mutex::new(Some(follower)),
            followed: AtomicU64::new(begin),
            ended: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            written: Mutex::new(Instant::now()),
            fresh_bytes: AtomicU64::new(0),
            writer: Mutex::default(),
        };
        book.follow()?;
        // What was committed before this start has been looked through: retention need not wait for the first blocks.
        let scans: Vec<_> = lock(&book.scans).iter().map(|(id, l)| (id.clone(), Arc::clone(l))).collect();
        book.let_log_go(book.bus.committed().min(book.followed.load(Ordering::Relaxed)), &scans);
        Ok(book)
    }

    /// Starts the thread `book`, which tells what waits, writes blocks and removes what is to go. It ends with `stop`, after
    /// everything that waited was told.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(self: &Arc<Self>, stop: &Stop) -> std::io::Result<JoinHandle<()>> {
        let (book, stop) = (Arc::clone(self), stop.clone());
        threads::spawn("book", limits::STACK, move || {
            let mut failing = false;
            loop {
                let stopping = stop.wait(limits::ROWS_HELD);
                book.tick();
                if stopping {
                    // Who appends from now on, while others stop, does not wait for us.
                    book.stopping.store(true, Ordering::SeqCst);
                    book.tick();
                    return;
                }
                match book.work() {
                    Ok(()) => failing = false,
                    Err(e) if !failing => {
                        failing = true;
                        log::error!("failed to put rows of scans in blocks, they stay in the log: {e}");
                    }
                    Err(_) => {}
                }
            }
        })
    }

    /// Declares the columns of a measurement, before its first row. The same again is nothing; others are refused once there
    /// are rows.
    ///
    /// # Errors
    /// The columns are wrong, there are rows with others, or they can't be written.
    pub fn declare(&self, scan_id: &str, measurement: &str, columns: Vec<Column>) -> Result<(), BookError> {
        check_columns(&columns)?;
        let new = self.with(scan_id, |_, ledger| {
            let page = ledger.page(measurement)?;
            if page.declared && page.columns == columns {
                return Ok(page.fresh);
            }
            if page.next > 0 {
                let said = format!("{measurement} has rows already; its columns stay as they are");
                return Err(BookError::Columns(said));
            }
            (page.columns, page.declared, page.fresh) = (columns, true, true);
            Ok(true)
        })?;
        if !new {
            return Ok(());
        }
        // On the disk when this returns: the log, which rows are read from after a kill, says nothing of units.
        let _writer = lock(&self.writer);
        let written = self.with(scan_id, |scan, ledger| {
            let ended = ledger.ended;
            let page = ledger.page(measurement)?;
            Ok(page.written(scan, measurement, page.stored, ended))
        })?;
        Ok(self.write_batch(&[written])?)
    }

    /// Appends rows and publishes them with what is `beside` them (a status, lines) as one step; all or none. Rows that are
    /// there with the same values are left out. With no rows, what waits is told, then `beside`.
    ///
    /// # Errors
    /// Nothing was appended or published.
    pub fn append(
        &self,
        scan_id: &str,
        measurement: &str,
        rows: Vec<Row>,
        beside: Vec<Draft>,
    ) -> Result<Appended, BookError> {
        // Rows come faster than they can be put in blocks: as with a log that lags, whoever sends waits.
        if !rows.is_empty() && self.fresh_bytes.load(Ordering::Relaxed) > 2 * self.room as u64 {
            return Err(BookError::Refused(Refused::Lagging));
        }
        self.with(scan_id, |scan, ledger| {
            let appended = if rows.is_empty() {
                Entered {
                    appended: Appended { last_index: last(ledger, measurement), ..Appended::default() },
                    from: None,
                }
            } else {
                self.enter(scan, ledger, measurement, rows, false)?
            };
            let new = appended.from.is_some();
            self.bus.metrics.scan_rows_duplicate_total.add(appended.appended.duplicates);
            if new {
                // Before the look at whether all stops: the last tick after that finds it.
                lock(&self.holding).insert(scan.to_string());
            }
            if beside.is_empty() && (!new || self.may_wait(ledger)) {
                self.bus.metrics.scan_rows_total.add(appended.appended.accepted);
                return Ok(appended.appended);
            }
            if let Err(why) = self.tell(scan, ledger, beside) {
                if let (Some((from, learnt)), Ok(page)) = (appended.from, ledger.page(measurement)) {
                    page.cut(from);
                    page.columns.truncate(page.columns.len() - learnt);
                    if page.next == 0 && !page.declared {
                        ledger.pages.remove(measurement);
                    }
                }
                return Err(BookError::Refused(why));
            }
            self.bus.metrics.scan_rows_total.add(appended.appended.accepted);
            Ok(appended.appended)
        })
    }

    /// Tells the rows of a scan that wait, and gives the seq that holds all of them: once that is committed, they are on
    /// the disk.
    ///
    /// # Errors
    /// They wait on: the bus takes nothing, or the scan can't be read.
    pub fn flush(&self, scan_id: &str) -> Result<u64, BookError> {
        self.with(scan_id, |scan, ledger| {
            if ledger.holds() {
                self.tell(scan, ledger, Vec::new()).map_err(BookError::Refused)?;
            }
            Ok(self.bus.head().seq)
        })
    }

    /// Has a scan in memory, so that appending to it a moment later reads nothing from the disk.
    ///
    /// # Errors
    /// It can't be read.
    pub fn keep_ready(&self, scan_id: &str) -> Result<(), BookError> {
        self.with(scan_id, |_, _| Ok(()))
    }

    /// Each measurement as it stands, all of one moment.
    pub fn overview(&self, scan_id: &str) -> BTreeMap<String, Overview> {
        let of = |ledger: &Ledger, name: &String, page: &ledger::Page| Overview {
            columns: page.columns.clone(),
            rows: page.next - page.first.unwrap_or(page.next),
            last_index: last(ledger, name),
        };
        self.look(scan_id, |l| l.pages.iter().map(|(name, page)| (name.clone(), of(l, name, page))).collect())
    }

    /// Rows of each measurement.
    pub fn counts(&self, scan_id: &str) -> BTreeMap<String, u64> {
        let count = |page: &ledger::Page| page.next - page.first.unwrap_or(page.next);
        self.look(scan_id, |l| l.pages.iter().map(|(name, page)| (name.clone(), count(page))).collect())
    }

    /// The columns of each measurement.
    pub fn measurements(&self, scan_id: &str) -> BTreeMap<String, Vec<Column>> {
        self.look(scan_id, |l| l.pages.iter().map(|(name, p)| (name.clone(), p.columns.clone())).collect())
    }

    /// The index of the last row of a measurement.
    pub fn last_index(&self, scan_id: &str, measurement: &str) -> Option<u64> {
        self.look(scan_id, |ledger| last(ledger, measurement))
    }

    /// The scan has ended: what waits is told now, its rows go into blocks soon.
    pub fn end(&self, scan_id: &str) {
        let ended = self.with(scan_id, |scan, ledger| {
            if ledger.pages.is_empty() {
                return Ok(());
            }
            ledger.ended = true;
            if let Err(why) = self.tell(scan, ledger, Vec::new()) {
                log::warn!("the last rows of {scan} wait: {why}");
            }
            Ok(())
        });
        if let Err(e) = ended {
            log::error!("failed to end the rows of {scan_id}: {e}");
        }
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Removes the rows of a scan: none is found from now on, their room is given back bit by bit.
    pub fn forget(&self, scan_id: &str) {
        let through = self.bus.head().seq;
        lock(&self.removed).insert(scan_id.to_string(), Removal { through, empty: false });
        if let Some(ledger) = lock(&self.scans).remove(scan_id) {
            let mut ledger = lock(&ledger);
            ledger.gone = true;
            ledger.pages.clear();
        }
        lock(&self.holding).remove(scan_id);
        if let Err(e) = self.store.remove_scan(scan_id, through) {
            log::error!("failed to remove the rows of {scan_id}: {e}");
        }
    }

    /// Bytes of all rows on the disk.
    pub fn bytes(&self) -> u64 {
        self.store.points_bytes()
    }

    /// Scans that have to go so that no more than `keep` bytes of rows are on the disk, those that ended longest ago first.
    /// Empty while there is room, or is being made. `lives` says of a scan whether it may get more rows, and nothing of one
    /// it does not know: such a one, which programs only publish as events, is over when it has been quiet for an hour.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn surplus(
        &self,
        keep: u64,
        lives: impl Fn(&str) -> Option<bool>,
    ) -> Result<Vec<String>, StoreError> {
        let mut bytes = self.bytes();
        if bytes <= keep || lock(&self.removed).values().any(|removal| !removal.empty) {
            return Ok(Vec::new());
        }
        let mut kept = self.store.scans_kept()?;
        kept.retain(|k| match lives(&k.scan) {
            Some(lives) => !lives,
            None => k.ended || self.is_quiet(&k.scan),
        });
        kept.sort_by_key(|k| (!k.ended, k.last_at));
        let mut going = Vec::new();
        for scan in kept {
            if bytes <= keep {
                break;
            }
            bytes = bytes.saturating_sub(scan.bytes);
            going.push(scan.scan);
        }
        Ok(going)
    }

    /// Whether nothing was heard of a scan for [`QUIET`], as far as this run can say.
    fn is_quiet(&self, scan: &str) -> bool {
        if lock(&self.scans).contains_key(scan) {
            return false;
        }
        let since = lock(&self.let_go).get(scan).copied().unwrap_or(self.opened);
        since.elapsed() >= QUIET
    }

    /// Tells rows that have waited long enough. The thread does this ten times a second; nobody else needs to.
    pub fn tick(&self) {
        let holding: Vec<String> = lock(&self.holding).iter().cloned().collect();
        for scan in holding {
            let told = self
                .with(&scan, |scan, ledger| self.tell(scan, ledger, Vec::new()).map_err(BookError::Refused));
            if let Err(e) = told {
                // They wait on; appending is refused by the same bus.
                log::debug!("rows of {scan} wait on: {e}");
            }
        }
    }

    // ---- under the lock of a scan ----

    /// Runs `act` on a scan, which is read from the disk where it is not in memory.
    fn with<T>(
        &self,
        scan: &str,
        act: impl FnOnce(&str, &mut Ledger) -> Result<T, BookError>,
    ) -> Result<T, BookError> {
        loop {
            let ledger = self.ledger(scan)?;
            let mut ledger = lock(&ledger);
            // It was let go between finding and locking it.
            if !ledger.gone {
                ledger.used = Instant::now();
                return act(scan, &mut ledger);
            }
        }
    }

    fn ledger(&self, scan: &str) -> Result<Arc<Mutex<Ledger>>, BookError> {
        if let Some(ledger) = lock(&self.scans).get(scan) {
            return Ok(Arc::clone(ledger));
        }
        if lock(&self.removed).contains_key(scan) {
            let said = format!("the data of {scan} was deleted; its id can't be used again yet");
            return Err(BookError::Columns(said));
        }
        let loaded = self.load(scan, |_| true)?;
        let mut scans = lock(&self.scans);
        let ledger = scans.entry(scan.to_string()).or_insert_with(|| Arc::new(Mutex::new(loaded)));
        Ok(Arc::clone(ledger))
    }

    /// A scan as the disk has it, with the last block of the measurements that `wanted` names where that is not full.
    fn load(&self, scan: &str, wanted: impl Fn(&str) -> bool) -> Result<Ledger, BookError> {
        let topic = Topic::of("scan", scan).map_err(|e| BookError::Columns(e.to_string()))?;
        let mut known = Vec::new();
        for (name, measured) in self.store.measurements(scan)? {
            let begin = measured.next / BLOCK * BLOCK;
            let last = if wanted(&name) {
                self.store.read_points(scan, &name, (begin, measured.next), 1)?.pop()
            } else {
                None
            };
            known.push((name, measured, last));
        }
        Ok(Ledger::new(topic, known))
    }

    /// Looks at a scan without its rows and without keeping it in memory.
    fn look<T: Default>(&self, scan: &str, look: impl FnOnce(&Ledger) -> T) -> T {
        let known = lock(&self.scans).get(scan).cloned();
        if let Some(ledger) = known {
            return look(&lock(&ledger));
        }
        if lock(&self.removed).contains_key(scan) {
            return T::default();
        }
        match self.load(scan, |_| false) {
            Ok(ledger) => look(&ledger),
            Err(e) => {
                log::debug!("failed to look up the rows of {scan}: {e}");
                T::default()
            }
        }
    }

    /// Puts new rows on their page. With `loose` (rows of the log) what does not fit is left out instead.
    fn enter(
        &self,
        scan: &str,
        ledger: &mut Ledger,
        measurement: &str,
        rows: Vec<Row>,
        loose: bool,
    ) -> Result<Entered, BookError> {
        let was_there = ledger.pages.contains_key(measurement);
        let page = ledger.page(measurement)?;
        let mut learnt = Vec::new();
        let mut new: Vec<Checked> = Vec::new();
        let mut appended = Appended::default();
        let mut known: Option<Chunk> = None;
        let checked = rows.into_iter().try_for_each(|row| {
            let row = match page.check(row, &mut learnt) {
                Err(_) if loose => return Ok(()),
                checked => checked?,
            };
            let first = page.first.or_else(|| new.first().map(|r| r.index.unwrap_or(0)));
            let next = match first {
                Some(first) => page.next.max(first) + new.len() as u64,
                // The first one says where numbering begins.
                None => row.index.filter(|n| *n <= 1).unwrap_or(0),
            };
            match row.index {
                Some(got) if got > next && loose => {}
                Some(got) if got > next => {
                    return Err(BookError::Gap { measurement: measurement.into(), expected: next, got });
                }
                Some(got) if got < next => {
                    appended.duplicates += 1;
                    if !loose && !self.is_same(scan, measurement, page, &new, &mut known, &row, got)? {
                        return Err(BookError::Conflict { measurement: measurement.into(), index: got });
                    }
                }
                _ => new.push(Checked { index: Some(next), ..row }),
            }
            Ok(())
        });
        if let Err(e) = checked {
            if !was_there {
                ledger.pages.remove(measurement);
            }
            return Err(e);
        }
        let Some(first) = new.first().and_then(|row| row.index) else {
            appended.last_index = page.next.checked_sub(1).filter(|_| page.first.is_some());
            return Ok(Entered { appended, from: None });
        };
        let learnt_count = learnt.len();
        page.columns.extend(learnt);
        if page.first.is_none() {
            (page.next, page.told, page.stored) = (first, first, first);
        }
        new.iter().for_each(|row| page.push(row));
        let bytes: usize = new.iter().map(Checked::bytes).sum();
        self.fresh_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        appended.accepted = new.len() as u64;
        appended.last_index = page.next.checked_sub(1);
        Ok(Entered { appended, from: Some((first, learnt_count)) })
    }

    /// Whether the row of this index that is there says the same.
    #[allow(clippy::too_many_arguments)]
    fn is_same(
        &self,
        scan: &str,
        measurement: &str,
        page: &ledger::Page,
        new: &[Checked],
        known: &mut Option<Chunk>,
        row: &Checked,
        index: u64,
    ) -> Result<bool, BookError> {
        let mine: Vec<_> = row.cells.iter().map(|(name, cell)| (&**name, cell)).collect();
        if let Some(other) = new.iter().find(|other| other.index == Some(index)) {
            let other: Vec<_> = other.cells.iter().map(|(name, cell)| (&**name, cell)).collect();
            return Ok(same(&mine, &other));
        }
        if let Some(other) = page.cells(index) {
            return Ok(same(&mine, &other));
        }
        if known.as_ref().is_none_or(|c| !(c.first..c.end()).contains(&index)) {
            let begin = index / BLOCK * BLOCK;
            *known = self.store.read_points(scan, measurement, (begin, begin + BLOCK), 1)?.pop();
        }
        // Before the first row there is none to compare with.
        Ok(known
            .as_ref()
            .is_some_and(|c| (c.first..c.end()).contains(&index) && same(&mine, &cells(c, index))))
    }

    /// Whether new rows may wait for others: when some were told a moment ago.
    fn may_wait(&self, ledger: &Ledger) -> bool {
        !self.stopping.load(Ordering::SeqCst)
            && ledger.last_frame.is_some_and(|at| at.elapsed() < limits::ROWS_HELD)
            && ledger.pages.values().all(|p| p.next - p.told < limits::BATCH as u64)
    }

    /// Publishes what waits of a scan, and what is beside it.
    fn tell(&self, scan: &str, ledger: &mut Ledger, beside: Vec<Draft>) -> Result<(), Refused> {
        let mut drafts = Vec::new();
        let mut ends = Vec::new();
        for (name, page) in &ledger.pages {
            for rows in page.rows(page.told, page.next) {
                for frame in frames::frames(&ledger.topic, scan, name, &rows) {
                    drafts.push(frame.draft);
                    ends.push((name.clone(), frame.end));
                }
            }
        }
        drafts.extend(beside);
        if !drafts.is_empty() {
            let count = drafts.len() as u64;
            let published = self.bus.publish_all(drafts, None)?;
            let first = (published.cursor.seq + 1).saturating_sub(count);
            if !ends.is_empty() {
                let mut own = lock(&self.own);
                own.insert(first + ends.len() as u64 - 1, first);
                if own.len() > OWN {
                    own.pop_first();
                }
                ledger.last_frame = Some(Instant::now());
            }
            for (n, (name, end)) in ends.into_iter().enumerate() {
                if let Some(page) = ledger.pages.get_mut(&name) {
                    page.told(first + n as u64, end);
                }
            }
        }
        lock(&self.holding).remove(scan);
        Ok(())
    }

    // ---- the thread ----

    /// One look of the thread: follows the log, writes blocks when it is time, removes what is to go.
    ///
    /// # Errors
    /// The store failed; what was to be written is written another time.
    pub fn work(&self) -> Result<(), StoreError> {
        self.follow()?;
        self.remove()?;
        // At every look: retention must not wait for blocks where no row does. First what is committed, then who has rows.
        let most = self.bus.committed().min(self.followed.load(Ordering::Relaxed));
        let scans: Vec<_> = lock(&self.scans).iter().map(|(id, l)| (id.clone(), Arc::clone(l))).collect();
        self.let_log_go(most, &scans);
        let wanted = self.store.wants_points();
        let ended = self.ended.swap(false, Ordering::Relaxed);
        let due = lock(&self.written).elapsed() >= limits::ROWS_WRITTEN
            || self.fresh_bytes.load(Ordering::Relaxed) > self.room as u64;
        if (ended || wanted || due)
            && let Err(e) = self.write(wanted)
        {
            self.ended.store(ended, Ordering::Relaxed);
            return Err(e);
        }
        Ok(())
    }
}

impl fmt::Debug for Book {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Book").finish_non_exhaustive()
    }
}

/// A scan that is being removed.
#[derive(Clone, Copy, Debug)]
struct Removal {
    /// Nothing of it that was published up to here counts.
    through: u64,
    /// Its rows are gone from the disk.
    empty: bool,
}

struct Entered {
    appended: Appended,
    /// The index of the first new row and how many columns were learnt; none when nothing was new.
    from: Option<(u64, usize)>,
}

fn last(ledger: &Ledger, measurement: &str) -> Option<u64> {
    let page = ledger.pages.get(measurement)?;
    page.first.and_then(|_| page.next.checked_sub(1))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

#[cfg(test)]
mod crash;
#[cfg(test)]
mod tests;
