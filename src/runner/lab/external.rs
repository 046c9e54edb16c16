//! Scans that a program at the bench executes: it registers, posts rows, hears what is wanted of it in every answer, and
//! says what it has really done.
//!
//! **Promises.** A status changes when the program says so, or when it is lost; never because somebody asked. What is
//! wanted stays wanted until the program does it, also over a restart. A registration and an end are on the disk when they
//! are answered. After a restart a scan stays as it was, and its program gets a fresh lease: it may well have gone on.
//! **Blocking.** A post takes the lock of its own scan and of nothing else, and the shelf is written only when a status
//! changes. [`External::wait`] holds its caller's thread, ends with the daemon, and is bounded in number and time.
//! **Does not** keep rows (the book does) or judge them.

mod commanded;
mod door;
mod kept;
mod one;
#[cfg(test)]
mod tests;

pub use self::door::{Control, NewExternal, Posted, Registered};

use self::one::{Kept, One, Rows, Times, row, word};
use super::lease::Overdue;
use super::{Conflict, LabError, ScanDetail, last_indices, unknown};
use crate::bus::Command;
use crate::clock::Wall;
use crate::limits;
use crate::model::{CommandState, Draft, Level, QueueLog, ScanState, ScanStatus, Severity, Topic};
use crate::runner::book::{Book, BookError};
use crate::runner::data::Row;
use crate::runner::machine::{Ask, Eta, Executor, ExitReason, ScanEvent, ScanMachine};
use crate::sources::Context;
use crossbeam::channel::Sender;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, RwLock};
use std::time::{Duration, Instant};

/// Where they are on the shelf.
const SHELF: &str = "external/";
/// What can be asked of one.
const ACTIONS: [&str; 5] = ["start", "pause", "resume", "stop", "abort"];
/// While nothing but points changes, a status is published at most this often.
const STATUS_EVERY: Duration = Duration::from_millis(500);
/// The time a command has beyond that of its confirmation, so that it is ended here and not by the desk.
const GRACE: Duration = Duration::from_secs(30);

/// One scan, and what wakes those who wait for news of it.
struct Entry {
    one: Mutex<One>,
    news: Condvar,
}

impl Entry {
    fn lock(&self) -> MutexGuard<'_, One> {
        self.one.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// See the module above.
pub(super) struct External {
    context: Context,
    book: Arc<Book>,
    inbox: Sender<Command>,
    /// Ended ones that are kept.
    keep: usize,
    scans: RwLock<BTreeMap<String, Arc<Entry>>>,
    /// Those whose row on the shelf is not the newest.
    unsaved: Mutex<BTreeSet<String>>,
    /// Held while the shelf is written, so that rows are written in the order in which they came about.
    saving: Mutex<()>,
    /// Threads that wait.
    waiting: AtomicUsize,
    /// One has ended since it was last looked whether there are too many of those.
    ended: AtomicBool,
}

fn monotonic() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}

impl External {
    /// Takes up what is on the shelf. `inbox` is where commands for the scans go; whoever owns its other end calls
    /// [`External::command`].
    ///
    /// # Errors
    /// The shelf can't be read.
    pub fn open(
        context: &Context,
        book: &Arc<Book>,
        inbox: Sender<Command>,
        keep: usize,
    ) -> Result<External, crate::store::StoreError> {
        let external = External {
            context: context.clone(),
            book: Arc::clone(book),
            inbox,
            keep,
            scans: RwLock::default(),
            unsaved: Mutex::default(),
            saving: Mutex::default(),
            waiting: AtomicUsize::new(0),
            ended: AtomicBool::new(true),
        };
        let (now, boot) = (monotonic(), context.bus.time().boot());
        for (key, row) in context.store.shelf(SHELF)? {
            let Ok(mut kept) = serde_json::from_slice::<Kept>(&row) else {
                log::error!("what is kept as {key} is no scan of a program; it is left alone");
                continue;
            };
            if kept.boot != boot {
                kept.boot.clone_from(&boot);
                kept.times.at = kept.times.at.map(|_| now);
            }
            external.restore(kept, now);
        }
        Ok(external)
    }

    fn restore(&self, kept: Kept, now: Duration) {
        let id = kept.scan_id.clone();
        let mut one = One::new(kept, now);
        one.restored = true;
        let ended = one.kept.machine.is_ended();
        if !ended {
            one.kept.num_points = self.book.counts(&id);
            let done = one.points();
            one.progress.reached(done);
            one.timed = done;
            one.eta = Eta::new(Duration::ZERO, one.kept.points_total.map(|n| n.saturating_sub(done)));
            one.advance(now);
            one.eta.begin(one.kept.times.active);
            one.timed_at = one.kept.times.active;
            if one.kept.machine.pending().is_some() {
                one.lease.ask(now);
            }
            self.context.commands.own_with(&format!("scan/{id}"), &ACTIONS, self.inbox.clone());
            self.publish(&mut one, now);
        }
        self.insert(&id, one);
    }

    fn insert(&self, id: &str, one: One) {
        let entry = Arc::new(Entry { one: Mutex::new(one), news: Condvar::new() });
        self.scans.write().unwrap_or_else(|e| e.into_inner()).insert(id.to_string(), entry);
    }

    fn find(&self, id: &str) -> Option<Arc<Entry>> {
        self.scans.read().unwrap_or_else(|e| e.into_inner()).get(id).cloned()
    }

    fn all(&self) -> Vec<Arc<Entry>> {
        self.scans.read().unwrap_or_else(|e| e.into_inner()).values().cloned().collect()
    }

    /// Whether a scan of these may get more rows; none: it is none of these.
    pub fn lives(&self, id: &str) -> Option<bool> {
        let entry = self.find(id)?;
        Some(!entry.lock().kept.machine.is_ended())
    }

    /// Whether the scan is one of these.
    pub fn has(&self, id: &str) -> bool {
        self.scans.read().unwrap_or_else(|e| e.into_inner()).contains_key(id)
    }

    /// How each of them stands.
    pub fn statuses(&self) -> Vec<ScanStatus> {
        let now = monotonic();
        self.all().iter().map(|entry| entry.lock().status(now)).collect()
    }

    /// One of them.
    pub fn detail(&self, id: &str) -> Option<ScanDetail> {
        let entry = self.find(id)?;
        let one = entry.lock();
        let (status, description) = (one.status(monotonic()), one.kept.description.clone());
        drop(one);
        Some(ScanDetail::of(status, description, self.book.overview(id)))
    }

    /// How one of them stands.
    pub fn state(&self, id: &str) -> Option<ScanState> {
        let entry = self.find(id)?;
        Some(entry.lock().kept.machine.status())
    }

    /// A program wants to execute a scan. `id` is the one it is to have, unless the wish names one; `is_taken` says
    /// whether somebody else has it.
    ///
    /// # Errors
    /// The wish is not one, its id is taken, there are too many, or it could not be kept.
    pub fn register(
        &self,
        wish: NewExternal,
        id: impl FnOnce() -> Result<String, LabError>,
        is_taken: impl Fn(&str) -> bool,
    ) -> Result<Registered, LabError> {
        let now = monotonic();
        let (lease, ack) = check(&wish)?;
        let bytes = wish.description.to_string().len();
        if bytes > limits::DESCRIPTION_BYTES {
            let most = limits::DESCRIPTION_BYTES;
            let detail = format!("the scan is described by {bytes} bytes; at most {most}");
            return Err(LabError::Invalid("description", detail));
        }
        let id = match &wish.scan_id {
            None => id()?,
            Some(id) => id.clone(),
        };
        // One at a time, as each goes on the shelf and an id must not be given twice.
        let _saving = self.saving.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(entry) = self.find(&id) {
            let mut one = entry.lock();
            if one.kept.machine.is_ended() {
                return Err(
                    one.conflict("exists", format!("{id} has ended already; register another scan_id"))
                );
            }
            // Its program was started anew, or did not get the answer.
            self.hear(&mut one, now);
            self.told(&mut one, now);
            return Ok(self.registered(&one, now, false));
        }
        if is_taken(&id) {
            let detail = format!("there is a scan {id} already, and it is none of a program");
            return Err(LabError::Conflict(Box::new(Conflict {
                code: "exists",
                detail,
                ..Conflict::default()
            })));
        }
        let (mut live, mut held) = (0, bytes);
        for entry in self.all() {
            let one = entry.lock();
            if !one.kept.machine.is_ended() {
                live += 1;
                held += one.bytes;
            }
        }
        if live >= limits::EXTERNAL_SCANS {
            return Err(LabError::Full(format!("programs execute {live} scans already; at most that many")));
        }
        if held > limits::DESCRIPTIONS_BYTES {
            let most = limits::DESCRIPTIONS_BYTES / 1_000_000;
            return Err(LabError::Full(format!(
                "the descriptions of the {live} scans that programs execute have {most} MB, which is the most"
            )));
        }
        for (measurement, columns) in &wish.columns {
            self.book.declare(&id, measurement, columns.clone()).map_err(|e| refused(e, &Map::new()))?;
        }
        let mut machine = ScanMachine::new(Executor::External);
        let mut times = Times::default();
        let at = Wall::now();
        if !wish.waits {
            machine.event(ScanEvent::Started);
            times.at = Some(now);
        }
        let kept = Kept {
            scan_id: id.clone(),
            name: wish.name,
            points_total: wish.points_total,
            lease_s: lease.as_secs_f64(),
            ack_s: ack.as_secs_f64(),
            retry_of: wish.retry_of,
            description: wish.description,
            machine,
            revision: 1,
            created_at: at,
            started_at: (!wish.waits).then_some(at),
            ended_at: None,
            message: None,
            error: None,
            told: false,
            times,
            boot: self.context.bus.time().boot(),
            num_points: BTreeMap::new(),
        };
        self.context.store.shelve(&[row(&kept)])?;
        let mut one = One::new(kept, now);
        self.context.commands.own_with(&format!("scan/{id}"), &ACTIONS, self.inbox.clone());
        self.publish(&mut one, now);
        let name = one.shown();
        let what = if wish.waits { "is registered and waits to be started" } else { "is running" };
        self.line(&id, Level::Info, &format!("{name} {what}"), "scan_registered");
        let registered = self.registered(&one, now, true);
        self.insert(&id, one);
        Ok(registered)
    }

    fn registered(&self, one: &One, now: Duration, is_new: bool) -> Registered {
        let id = &one.kept.scan_id;
        Registered {
            status: one.status(now),
            last_index: last_indices(&self.book.overview(id)),
            control: one.control(),
            is_new,
        }
    }

    /// The program posts rows, by measurement. `received` is the timestamp of those that came without.
    ///
    /// # Errors
    /// There is no such scan, it does not take rows now, or the book refuses them; what came before in the same post is in.
    pub fn post(
        &self,
        id: &str,
        groups: Vec<(String, Vec<Row>)>,
        received: Wall,
    ) -> Result<Posted, LabError> {
        let entry = self.find(id).ok_or_else(|| unregistered(id))?;
        let mut one = entry.lock();
        let now = monotonic();
        let was_silent = self.hear(&mut one, now);
        if one.kept.machine.is_ended() {
            let detail = format!("{id} is {} and takes no more rows", one.word());
            return Err(one.conflict("ended", detail));
        }
        if one.kept.machine.status() == ScanState::Queued {
            self.told(&mut one, now);
            let detail = format!("{id} has not begun; confirm \"start\" with the state running first");
            return Err(one.conflict("not_started", detail));
        }
        one.advance(now);
        let mut posted = Posted { accepted: 0, duplicates: 0, last_index: None, control: one.control() };
        let many = groups.len();
        for (n, (measurement, mut rows)) in groups.into_iter().enumerate() {
            for row in &mut rows {
                row.t_rel.get_or_insert_with(|| one.since_start(row.timestamp, received));
            }
            let before = one.kept.num_points.get(&measurement).copied().unwrap_or(0);
            let after = self.expected(id, &measurement, &rows, before);
            // The status that goes with the rows counts them already; the book may still refuse them.
            let counted = one.counted();
            one.count(&measurement, after);
            let due = was_silent || one.is_due(now);
            let beside = if n + 1 == many && due { one.draft(now).into_iter().collect() } else { Vec::new() };
            let told = !beside.is_empty();
            match self.book.append(id, &measurement, rows, beside) {
                Ok(appended) => {
                    posted.accepted += appended.accepted;
                    posted.duplicates += appended.duplicates;
                    posted.last_index = appended.last_index;
                    one.dirty |= appended.accepted > 0 && !told;
                    if told {
                        one.published = Some(now);
                        one.dirty = false;
                    }
                }
                Err(e) => {
                    match before {
                        0 => drop(one.kept.num_points.remove(&measurement)),
                        _ => drop(one.kept.num_points.insert(measurement.clone(), before)),
                    }
                    one.count_back(counted);
                    self.told(&mut one, now);
                    let mut more = Map::new();
                    more.insert("measurement".into(), measurement.as_str().into());
                    more.insert("accepted".into(), posted.accepted.into());
                    more.insert("last_index".into(), json!(self.book.last_index(id, &measurement)));
                    more.insert("control".into(), json!(one.control()));
                    return Err(refused(e, &more));
                }
            }
        }
        Ok(posted)
    }

    /// How many rows the measurement has once these are in: indices are dense, so the last one says it. Never more than
    /// these would make, whatever number one of them has: the book has not judged them yet.
    fn expected(&self, id: &str, measurement: &str, rows: &[Row], before: u64) -> u64 {
        let unnumbered = rows.iter().filter(|row| row.sequence_index.is_none()).count() as u64;
        let last = rows.iter().filter_map(|row| row.sequence_index).max();
        let first = match (before, self.book.last_index(id, measurement)) {
            (1.., Some(last)) => (last + 1).saturating_sub(before),
            _ => rows.iter().filter_map(|row| row.sequence_index).min().unwrap_or(0),
        };
        let after = before.max(last.map_or(0, |last| (last + 1).saturating_sub(first))) + unnumbered;
        after.min(before + rows.len() as u64)
    }

    /// The program says what it does now.
    ///
    /// # Errors
    /// There is no such scan, it can't do that as it stands, or it could not be kept.
    pub fn report(
        &self,
        id: &str,
        state: ScanState,
        message: Option<String>,
        error: Option<String>,
    ) -> Result<(ScanStatus, Control), LabError> {
        let entry = self.find(id).ok_or_else(|| unregistered(id))?;
        let mut one = entry.lock();
        let now = monotonic();
        self.hear(&mut one, now);
        let ends = matches!(state, ScanState::Completed | ScanState::Aborted | ScanState::Failed);
        if one.kept.machine.is_ended() {
            // Ended here without it: it has cleaned up now. Otherwise it says the same once more.
            if !ends || (one.kept.told && state != one.kept.machine.status()) {
                let detail = format!("{id} is {} already", one.word());
                return Err(one.conflict("ended", detail));
            }
            if !std::mem::replace(&mut one.kept.told, true) {
                let over = format!("The bench program of {} says that it has ended.", one.shown());
                self.context.alerts.clear(&alert(id, "abort"), &over);
                self.mark(id);
            }
            let answer = (one.status(now), one.control());
            drop(one);
            self.save_end(id, &entry)?;
            return Ok(answer);
        }
        let was = (one.kept.machine.status(), one.kept.machine.pending());
        one.advance(now);
        one.kept.machine.event(ScanEvent::Confirmed(state));
        if one.kept.machine.status() != state {
            self.told(&mut one, now);
            let detail = format!("{id} is {}; it can't become {} from there", one.word(), word(state));
            return Err(one.conflict("not_now", detail));
        }
        if was == (state, one.kept.machine.pending()) {
            // It only shows that it lives.
            if one.kept.message != message {
                one.kept.message = message;
                one.dirty = true;
            }
            self.told(&mut one, now);
            return Ok((one.status(now), one.control()));
        }
        if state == ScanState::Running && was.0 == ScanState::Queued {
            one.kept.times.at = Some(now);
            one.kept.started_at = Some(Wall::now());
            one.eta.begin(Duration::ZERO);
        }
        one.kept.message = message;
        if state == ScanState::Failed {
            one.kept.error =
                Some(error.unwrap_or_else(|| "the bench program says that it has failed".into()));
        }
        if ends {
            one.kept.told = true;
        }
        self.changed(&mut one, now);
        let answer = (one.status(now), one.control());
        drop(one);
        entry.news.notify_all();
        if ends {
            self.save_end(id, &entry)?;
        } else {
            self.save()?;
        }
        Ok(answer)
    }

    /// What is wanted of the program.
    ///
    /// # Errors
    /// There is no such scan.
    pub fn control(&self, id: &str) -> Result<Control, LabError> {
        let entry = self.find(id).ok_or_else(|| unregistered(id))?;
        let mut one = entry.lock();
        let now = monotonic();
        self.hear(&mut one, now);
        self.told(&mut one, now);
        Ok(one.control())
    }

    /// The same as soon as something is, or after this time. The program counts as heard meanwhile.
    ///
    /// # Errors
    /// There is no such scan, or too many wait already.
    pub fn wait(&self, id: &str, time: Duration) -> Result<Control, LabError> {
        let entry = self.find(id).ok_or_else(|| unregistered(id))?;
        let _place = Place::take(&self.waiting)?;
        let until = Instant::now() + time.min(limits::CONTROL_WAIT);
        let mut one = entry.lock();
        loop {
            let now = monotonic();
            self.hear(&mut one, now);
            self.told(&mut one, now);
            let control = one.control();
            let left = until.saturating_duration_since(Instant::now());
            if control.pending.is_some() || left.is_zero() || self.context.stop.is_stopped() {
                return Ok(control);
            }
            // Often enough that its lease does not run out while it listens.
            let rest = left.min(Duration::from_secs_f64(one.kept.lease_s / 3.0));
            one = entry.news.wait_timeout(one, rest).unwrap_or_else(|e| e.into_inner()).0;
        }
    }

    /// The program writes into the log of its scan, also of one that is over.
    ///
    /// # Errors
    /// There is no such scan, or the bus takes nothing.
    pub fn log(&self, id: &str, lines: Vec<Draft>) -> Result<Control, LabError> {
        let control = self.control(id)?;
        self.context.bus.publish_all(lines, None).map_err(|e| LabError::Full(e.to_string()))?;
        Ok(control)
    }

    /// About once a second: leases, statuses that wait, and what is to be kept.
    pub fn tick(&self) {
        for entry in self.all() {
            // One that is being posted to at this moment is not silent.
            let Ok(mut one) = entry.one.try_lock() else { continue };
            if one.kept.machine.is_ended() {
                continue;
            }
            let now = monotonic();
            let idle = one.kept.machine.status() == ScanState::Queued && one.kept.machine.pending().is_none();
            let overdue = if idle { Vec::new() } else { one.lease.tick(now) };
            one.advance(now);
            for what in overdue {
                self.overdue(&mut one, what, now);
            }
            if one.kept.machine.is_ended() {
                drop(one);
                entry.news.notify_all();
            } else if one.dirty && one.is_due(now) {
                self.publish(&mut one, now);
            }
        }
        if self.ended.swap(false, Ordering::Relaxed) {
            self.drop_oldest();
        }
        if let Err(e) = self.save() {
            log::error!("failed to keep scans of programs: {e}");
        }
    }

    fn overdue(&self, one: &mut One, what: Overdue, now: Duration) {
        let (id, name) = (one.kept.scan_id.clone(), one.shown());
        match what {
            Overdue::Unconfirmed => {
                let ask = one.kept.machine.pending().map_or("", Ask::name);
                one.late = true;
                let seconds = one.kept.ack_s;
                self.line(
                    &id,
                    Level::Warning,
                    &format!("{ask} was not confirmed within {seconds} s"),
                    "unconfirmed",
                );
                if ask == "abort" {
                    self.context.alerts.raise(
                        &alert(&id, "abort"),
                        Severity::Major,
                        &format!("The abort of {name} is not confirmed: its bench program may still be driving outputs."),
                        "Look at the bench. If the program hangs, end it; abort once more with force ends the scan here.",
                    );
                }
                if one.kept.machine.status() == ScanState::Queued {
                    one.kept.machine.event(ScanEvent::NoAnswer);
                    one.kept.error = Some("the bench program did not begin".into());
                }
                let waiting = std::mem::take(&mut one.waiting);
                self.changed(one, now);
                for (command, _) in waiting {
                    let reason = "the bench program did not confirm";
                    self.finish(&command, CommandState::TimedOut, one, Some(reason));
                }
            }
            Overdue::Silent => {
                self.context.alerts.raise(
                    &alert(&id, "silent"),
                    Severity::Minor,
                    &format!(
                        "The bench program of {name} has been silent for more than {} s.",
                        one.kept.lease_s
                    ),
                    "Is the program still running, and does the network carry? Its values are stale.",
                );
                self.line(&id, Level::Warning, "the bench program is silent", "silent");
                self.publish(one, now);
            }
            Overdue::Lost => {
                one.kept.machine.event(ScanEvent::Failed(ExitReason::PublisherLost));
                let minutes = one.lease.silence(now).as_secs();
                one.kept.error = Some(format!("the bench program has been silent for {minutes} s"));
                self.changed(one, now);
            }
        }
    }

    /// The program speaks; true when it had been silent.
    fn hear(&self, one: &mut One, now: Duration) -> bool {
        let was_silent = one.lease.heard(now);
        let back = std::mem::take(&mut one.restored) || was_silent;
        if back && !one.kept.machine.is_ended() {
            let id = &one.kept.scan_id;
            // After a restart it may have been raised before.
            self.context.alerts.clear(&alert(id, "silent"), "Its bench program is heard again.");
        }
        if was_silent && !one.kept.machine.is_ended() {
            let id = &one.kept.scan_id;
            self.line(id, Level::Info, "the bench program is heard again", "heard");
        }
        one.dirty |= back;
        back
    }

    /// Has the status published where the program came back without rows.
    fn told(&self, one: &mut One, now: Duration) {
        if one.dirty && one.is_due(now) && !one.kept.machine.is_ended() {
            self.publish(one, now);
        }
    }

    /// The status or what is pending has changed: tells everybody, then ends the commands that waited for it.
    fn changed(&self, one: &mut One, now: Duration) {
        let id = one.kept.scan_id.clone();
        let status = one.kept.machine.status();
        one.kept.revision += 1;
        let pending = one.kept.machine.pending();
        if pending.is_none() {
            one.lease.answered();
            one.late = false;
        }
        let ended = one.kept.machine.is_ended();
        if ended {
            self.book.end(&id);
            one.rows = Rows::Waiting;
            self.ended.store(true, Ordering::Relaxed);
            one.kept.num_points = self.book.counts(&id);
            one.kept.ended_at = Some(Wall::now());
            one.progress.end(one.kept.machine.exit() == Some(ExitReason::Finished));
            self.context.commands.disown(&format!("scan/{id}"));
        }
        self.publish(one, now);
        let done = |ask: &Ask| match ask {
            Ask::Start | Ask::Resume => status == ScanState::Running,
            Ask::Pause => status == ScanState::Paused,
            Ask::Stop => status == ScanState::Completed,
            Ask::Abort => status == ScanState::Aborted,
        };
        let over = |(_, ask): &(String, Ask)| pending != Some(*ask);
        let (finished, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut one.waiting).into_iter().partition(over);
        one.waiting = waiting;
        for (command, ask) in finished {
            if done(&ask) {
                self.finish(&command, CommandState::Completed, one, None);
            } else {
                let reason = format!("{id} is {} instead", one.word());
                self.finish(&command, CommandState::Failed, one, Some(&reason));
            }
        }
        if ended {
            let over = format!("{} is {}.", one.shown(), one.word());
            self.context.alerts.clear(&alert(&id, "silent"), &over);
            let (level, why) = match (status, &one.kept.error) {
                (ScanState::Failed, Some(error)) => (Level::Error, format!(": {error}")),
                (ScanState::Failed, None) => (Level::Error, String::new()),
                _ => (Level::Info, String::new()),
            };
            self.line(&id, level, &format!("{id} is {}{why}", one.word()), "scan_ended");
            if one.kept.told {
                self.context.alerts.clear(&alert(&id, "abort"), &over);
            }
        } else if pending.is_none() {
            self.line(&id, Level::Info, &format!("{id} is {}", one.word()), "scan_status");
        }
        self.mark(&id);
    }

    fn finish(&self, command: &str, state: CommandState, one: &One, reason: Option<&str>) {
        self.context.commands.finish(command, state, Some(one.word()), reason);
    }

    fn publish(&self, one: &mut One, now: Duration) {
        one.published = Some(now);
        one.dirty = false;
        if let Some(draft) = one.draft(now)
            && let Err(e) = self.context.bus.publish(draft)
        {
            // It comes again with the next point or the next look.
            one.dirty = true;
            log::warn!("failed to publish the status of {}: {e}", one.kept.scan_id);
        }
    }

    fn line(&self, id: &str, level: Level, message: &str, code: &str) {
        let line = QueueLog {
            level,
            message: message.into(),
            timestamp: Wall::now(),
            queue_id: None,
            scan_id: Some(id.into()),
            source: Some("runner".into()),
            code: Some(code.into()),
            data: None,
        };
        if let Ok(draft) = Draft::of("queue_log", &line) {
            let _ = self.context.bus.publish(draft);
        }
    }

    /// Removes one that has ended, with its rows.
    ///
    /// # Errors
    /// It has not ended, or the shelf can't be written.
    pub fn remove(&self, id: &str) -> Result<(), LabError> {
        let entry = self.find(id).ok_or_else(|| unknown("scan", id))?;
        let one = entry.lock();
        if !one.kept.machine.is_ended() {
            let detail = format!("{id} is {}; abort it first", one.word());
            return Err(one.conflict("not_now", detail));
        }
        drop(one);
        self.forget(&[id.to_string()])
    }

    fn forget(&self, ids: &[String]) -> Result<(), LabError> {
        let _saving = self.saving.lock().unwrap_or_else(|e| e.into_inner());
        let rows: Vec<_> = ids.iter().map(|id| (format!("{SHELF}{id}"), None)).collect();
        self.context.store.shelve(&rows)?;
        let mut scans = self.scans.write().unwrap_or_else(|e| e.into_inner());
        for id in ids {
            scans.remove(id);
        }
        drop(scans);
        for id in ids {
            self.unsaved.lock().unwrap_or_else(|e| e.into_inner()).remove(id);
            // Its program never came back; there is no scan left to look at.
            self.context.alerts.clear(&alert(id, "abort"), &format!("{id} is removed."));
            self.book.forget(id);
        }
        Ok(())
    }

    fn drop_oldest(&self) {
        let mut ended: Vec<(Wall, String, usize)> = Vec::new();
        for entry in self.all() {
            // One that is being posted to at this moment has not ended, or is looked at with the next tick.
            let Ok(one) = entry.one.try_lock() else { continue };
            if one.kept.machine.is_ended() {
                let at = one.kept.ended_at.unwrap_or(one.kept.created_at);
                ended.push((at, one.kept.scan_id.clone(), one.bytes));
            }
        }
        ended.sort();
        let (mut kept, mut held) = (ended.len(), ended.iter().map(|(_, _, bytes)| bytes).sum::<usize>());
        let mut ids: Vec<String> = Vec::new();
        for (_, id, bytes) in ended {
            if kept <= self.keep && held <= limits::DESCRIPTIONS_BYTES {
                break;
            }
            kept -= 1;
            held -= bytes;
            ids.push(id);
        }
        if ids.is_empty() {
            return;
        }
        if let Err(e) = self.forget(&ids) {
            // Again with the next that ends.
            log::error!("failed to remove {} old scans: {e}", ids.len());
        }
    }

    /// The daemon stops: nobody waits any longer.
    pub fn stop(&self) {
        for entry in self.all() {
            drop(entry.lock());
            entry.news.notify_all();
        }
        // Ends that wait for their rows.
        let bus = &self.context.bus;
        if !self.unsaved.lock().unwrap_or_else(|e| e.into_inner()).is_empty()
            && !bus.wait_durable(bus.head().seq, limits::SHELF_TIME)
        {
            log::warn!("the last rows of programs' scans are not on the disk");
        }
        if let Err(e) = self.save() {
            log::error!("failed to keep scans of programs: {e}");
        }
    }
}

/// A place among the threads that wait.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(of: &'a AtomicUsize) -> Result<Place<'a>, LabError> {
        let place = Place(of);
        if of.fetch_add(1, Ordering::Relaxed) >= limits::CONTROL_WAITS {
            return Err(LabError::Full(format!(
                "{} programs wait already; ask without wait",
                limits::CONTROL_WAITS
            )));
        }
        Ok(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The id of an alert about a scan, which is an id like all others: at most 64 characters.
fn alert(id: &str, what: &str) -> String {
    let room = 64 - "scan..".len() - what.len();
    format!("scan.{}.{what}", &id[..id.len().min(room)])
}

fn unregistered(id: &str) -> LabError {
    let LabError::Unknown(detail) = unknown("scan", id) else { return unknown("scan", id) };
    LabError::Unknown(format!(
        "{detail} that a program executes; register it with POST /api/scans and \"executor\":\"external\""
    ))
}

/// What a wish must be; gives lease and time to confirm.
fn check(wish: &NewExternal) -> Result<(Duration, Duration), LabError> {
    if let Some(id) = &wish.scan_id
        && (Topic::of("scan", id).is_err() || id.contains('/'))
    {
        let shown: String = id.chars().filter(|c| !c.is_control()).take(64).collect();
        return Err(LabError::Invalid(
            "scan_id",
            format!("scan_id is {shown:?}; expected 1 to 64 characters of A-Z a-z 0-9 _ . : -"),
        ));
    }
    let (least, most) = limits::LEASES;
    let within = |name: &'static str, time: Option<Duration>| match time.unwrap_or(limits::LEASE) {
        time if (least..=most).contains(&time) => Ok(time),
        time => Err(LabError::Invalid(
            name,
            format!(
                "{name} is {}; expected {} to {} seconds",
                time.as_secs_f64(),
                least.as_secs_f64(),
                most.as_secs()
            ),
        )),
    };
    Ok((within("lease_s", wish.lease)?, within("ack_timeout_s", wish.ack)?))
}

/// What the book refuses, as an answer to the program.
fn refused(why: BookError, more: &Map<String, Value>) -> LabError {
    let mut more = more.clone();
    let mut conflict = |code: &'static str, detail: String, members: Value| {
        if let Value::Object(members) = members {
            more.extend(members);
        }
        LabError::Conflict(Box::new(Conflict { code, detail, more: more.clone(), ..Conflict::default() }))
    };
    match why {
        BookError::Conflict { measurement, index } => conflict(
            "conflict",
            format!("row {index} of {measurement} is there already with other data; rows are never changed"),
            json!({ "measurement": measurement, "sequence_index": index }),
        ),
        BookError::Gap { measurement, expected, got } => conflict(
            "gap",
            format!("row {got} of {measurement} does not follow; expected row {expected}"),
            json!({ "measurement": measurement, "expected": expected, "sequence_index": got }),
        ),
        BookError::Columns(detail) => LabError::Invalid("data", detail),
        BookError::Refused(why) => LabError::Full(why.to_string()),
        BookError::Store(e) => LabError::Store(e.to_string()),
    }
}
