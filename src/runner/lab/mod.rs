//! The desk of the lab: queues of scans, in order, kept over restarts; who runs which; what people ask of them.
//!
//! Owns every queue, scan and template, the thread `lab`, and one thread `run-QUEUE` for each queue that runs
//! (`runner::execute`). **Promises.** Statuses of one scan or queue are published in the order in which things happened:
//! they are folded and published under one lock, under which nothing is read from or written to a disk or an instrument.
//! What was answered with success is on the disk. Nothing that was interrupted moves again by itself: after a restart
//! what was live has failed and what ran is paused. **Bounds.** [`limits::QUEUES`], [`limits::QUEUED_SCANS`], ended
//! scans as configured. **Does not** drive instruments (it asks `sources::Instruments`) or keep rows (the book does).

mod commands;
mod desk;
mod external;
mod kept;
mod lease;
mod queues;
mod running;
mod scans;

#[cfg(test)]
mod tests;

pub(in crate::runner) use self::running::{Halted, Job};
pub(in crate::runner) use self::scans::Orders;

pub use self::commands::Judged;
use self::commands::Waiting;
use self::external::External;
pub use self::external::{Control, NewExternal, Posted, Registered};
use self::kept::ToMakeSafe;
use self::queues::Queue;
use self::scans::Scan;
use super::book::{Book, Overview};
use super::execute;
use super::machine::QueueEffect;
use super::plan::{self, Bench, Fault, Plan};
use crate::bus::Command;
use crate::clock::Wall;
use crate::config;
use crate::limits;
use crate::model::{Cursor, Draft, InstrumentStatus, Level, OnFailure, QueueState, ScanState, ScanStatus};
use crate::runner::data::Column;
use crate::sources::{ChannelOffer, Context, Offer};
use crate::store::StoreError;
use crate::threads;
use crossbeam::channel::{Receiver, Sender, bounded, select};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Instant;

/// A queue somebody wants; every member may be missing.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct NewQueue {
    /// Its id; none: `QUEUE_001` and so on.
    pub queue_id: Option<String>,
    /// The members that can be changed later.
    #[serde(flatten)]
    pub change: QueueChange,
}

/// What can be changed of a queue; what is missing stays.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct QueueChange {
    /// The name people see.
    pub name: Option<String>,
    /// What a failed scan does to it.
    pub on_failure: Option<OnFailure>,
    /// Whether a copy of a completed scan is added at its end.
    #[serde(rename = "loop")]
    pub looped: Option<bool>,
    /// Whether it starts when a scan is added.
    pub autostart: Option<bool>,
}

/// Where a scan is moved to in its queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Before that scan.
    Before(String),
    /// After that scan.
    After(String),
    /// To that place among those that wait, from 0; further than the last is the last.
    Position(usize),
}

/// Which scans are listed.
#[derive(Clone, Debug, Default)]
pub struct ScanFilter {
    /// Of this queue only.
    pub queue_id: Option<String>,
    /// With one of these statuses; empty: with any.
    pub status: Vec<ScanState>,
    /// With this in its id, name or message, in whatever case.
    pub text: Option<String>,
}

/// Part of a list of scans, the newest first.
#[derive(Clone, Debug)]
pub struct ScanPage {
    /// The scans.
    pub items: Vec<ScanStatus>,
    /// Where the next part begins; none: this was the last.
    pub next: Option<String>,
    /// How many there are in all.
    pub total: usize,
    /// The newest event when this was so.
    pub cursor: Cursor,
}

/// Everything about one scan but its rows.
#[derive(Clone, Debug)]
pub struct ScanDetail {
    /// How it stands.
    pub status: ScanStatus,
    /// What it does, as it was given.
    pub description: Value,
    /// The columns by measurement.
    pub columns: BTreeMap<String, Vec<Column>>,
    /// Rows by measurement.
    pub num_points: BTreeMap<String, u64>,
    /// The last row's number by measurement.
    pub last_index: BTreeMap<String, u64>,
}

impl ScanDetail {
    fn of(status: ScanStatus, description: Value, rows: BTreeMap<String, Overview>) -> ScanDetail {
        ScanDetail {
            status,
            description,
            last_index: last_indices(&rows),
            num_points: rows.iter().map(|(name, of)| (name.clone(), of.rows)).collect(),
            columns: rows.into_iter().map(|(name, of)| (name, of.columns)).collect(),
        }
    }
}

/// The last row's number by measurement, of those that have rows.
fn last_indices(rows: &BTreeMap<String, Overview>) -> BTreeMap<String, u64> {
    rows.iter().filter_map(|(name, of)| Some((name.clone(), of.last_index?))).collect()
}

/// Descriptions that are kept under a name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Template {
    /// Its id.
    pub template_id: String,
    /// The name people see.
    pub name: String,
    /// One scan each.
    pub descriptions: Vec<Value>,
    /// When it was kept.
    pub updated: Wall,
}

/// Why something was not done. `Display` is one sentence.
#[derive(Debug)]
pub enum LabError {
    /// There is no such queue, scan or template; 404.
    Unknown(String),
    /// A member is not what it should be, with its name; 422.
    Invalid(&'static str, String),
    /// Descriptions break rules, all of them at once: the number of the description, and its faults; 422.
    Faults(Vec<(usize, Fault)>),
    /// Not possible as things stand; 409.
    Conflict(Box<Conflict>),
    /// There are too many already; 503.
    Full(String),
    /// It could not be kept; 503.
    Store(String),
}

/// See [`LabError::Conflict`].
#[derive(Clone, Debug, Default)]
pub struct Conflict {
    /// A short stable word: `not_now`, `order_version`, `exists`, `in_use`, `gap`, `conflict`.
    pub code: &'static str,
    /// One sentence.
    pub detail: String,
    /// The status it was found in, where there is one.
    pub from: Option<&'static str>,
    /// What can be asked of it now.
    pub allowed_actions: Vec<&'static str>,
    /// The revision of a scan.
    pub revision: Option<u64>,
    /// The version and the order of a queue.
    pub order: Option<(u64, Vec<String>)>,
    /// What else the answer says, such as `expected`.
    pub more: serde_json::Map<String, Value>,
}

impl fmt::Display for LabError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LabError::Unknown(detail) | LabError::Full(detail) | LabError::Invalid(_, detail) => {
                f.write_str(detail)
            }
            LabError::Faults(faults) => match faults.as_slice() {
                [(_, only)] => write!(f, "{}: {}", only.field, only.detail),
                [(_, first), ..] => {
                    write!(f, "{} faults; the first: {}: {}", faults.len(), first.field, first.detail)
                }
                [] => f.write_str("the description is not valid"),
            },
            LabError::Conflict(conflict) => f.write_str(&conflict.detail),
            LabError::Store(detail) => write!(f, "it could not be kept: {detail}"),
        }
    }
}
impl std::error::Error for LabError {}

impl From<StoreError> for LabError {
    fn from(error: StoreError) -> Self {
        LabError::Store(error.to_string())
    }
}

/// Everything under the one lock.
#[derive(Default)]
struct Inner {
    queues: BTreeMap<String, Queue>,
    scans: BTreeMap<String, Scan>,
    templates: BTreeMap<String, Template>,
    /// Ended scans, the one that ended first at the front.
    ended: VecDeque<String>,
    /// The numbers of the next scan, queue and template.
    next: kept::Counters,
    /// Commands that are accepted and not done.
    waiting: Vec<Waiting>,
    /// Rows for the shelf, and how often rows were marked, and the count up to which they are there.
    unsaved: BTreeMap<String, Option<Vec<u8>>>,
    marked: u64,
    saved: u64,
    /// The count up to which somebody waits for them, and when the oldest of them was marked.
    wanted: u64,
    marked_at: Option<Instant>,
    /// Why the last try to put them there failed.
    not_saved: Option<String>,
    /// Scans whose rows are to be forgotten.
    forgotten: Vec<String>,
    /// When it was last looked for scans whose rows are too much.
    looked: Option<Instant>,
    /// Instruments of scans that were interrupted.
    unsafe_instruments: Vec<ToMakeSafe>,
    threads: Vec<JoinHandle<()>>,
}

/// See the module above.
pub struct Lab {
    context: Context,
    settings: config::Lab,
    book: Arc<Book>,
    /// The scans that programs execute.
    external: External,
    inner: Mutex<Inner>,
    /// Told of every change under the lock that somebody may wait for.
    changed: Condvar,
    news: (Sender<()>, Receiver<()>),
    inbox: Sender<Command>,
}

impl Lab {
    /// Takes up what was kept, and starts the thread. Everything is its own again when the context's stop is given.
    ///
    /// # Errors
    /// When the system has no thread left, or the shelf can't be read.
    pub fn start(context: &Context, settings: &config::Lab) -> io::Result<(Arc<Lab>, JoinHandle<()>)> {
        let book =
            Book::open(Arc::clone(&context.bus), Arc::clone(&context.store)).map_err(io::Error::other)?;
        let book = Arc::new(book);
        let (inbox, commands) = bounded(limits::LAB_COMMANDS);
        let external =
            External::open(context, &book, inbox.clone(), settings.keep_scans).map_err(io::Error::other)?;
        let lab = Arc::new(Lab {
            context: context.clone(),
            settings: settings.clone(),
            book,
            external,
            inner: Mutex::default(),
            changed: Condvar::new(),
            news: bounded(1),
            inbox,
        });
        lab.recall().map_err(io::Error::other)?;
        let ours = Arc::clone(&lab);
        let pages = lab.book.start(&context.stop)?;
        let thread = threads::spawn("lab", limits::STACK, move || {
            ours.run(&commands);
            threads::join(pages);
        })?;
        // An instrument that is free again may be the one that a scan waits for.
        let weak = Arc::downgrade(&lab);
        context.instruments.on_claim(move |_, by| {
            if by.is_none()
                && let Some(lab) = weak.upgrade()
            {
                lab.lock().queues.values().filter(|queue| queue.current.is_none()).for_each(Queue::poke);
            }
        });
        Ok((lab, thread))
    }

    /// What the scans measured.
    pub fn book(&self) -> &Arc<Book> {
        &self.book
    }

    /// What a description would do.
    ///
    /// # Errors
    /// Every fault of it.
    pub fn validate(&self, description: &Value) -> Result<Plan, Vec<Fault>> {
        plan::compile(description, self, self.settings.max_points)
    }

    pub(in crate::runner) fn context(&self) -> &Context {
        &self.context
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The thread `lab`.
    fn run(self: Arc<Self>, commands: &Receiver<Command>) {
        let stop = &self.context.stop;
        loop {
            let wait = if self.lock().is_busy() { limits::LAB_TICK } else { limits::LAB_IDLE_TICK };
            select! {
                recv(stop.receiver()) -> _ => break,
                recv(commands) -> command => if let Ok(command) = command
                    && !self.external.command(&command)
                {
                    self.command(&command);
                },
                recv(self.news.1) -> _ => {}
                default(wait) => {}
            }
            self.tick();
        }
        // What runs is left as it is; the next start finds it interrupted.
        let threads = std::mem::take(&mut self.lock().threads);
        threads.into_iter().for_each(threads::join);
        for command in commands.try_iter() {
            let why = Some("telltale is stopping");
            self.context.commands.finish(&command.id, crate::model::CommandState::Failed, None, why);
        }
        self.external.stop();
        self.save(true);
    }

    fn tick(self: &Arc<Self>) {
        self.save(false);
        self.external.tick();
        self.forget();
        self.make_safe();
        let now = Instant::now();
        let mut inner = self.lock();
        let (done, rest) = std::mem::take(&mut inner.threads).into_iter().partition(JoinHandle::is_finished);
        inner.threads = rest;
        let due = |told: Option<Instant>, every| told.is_none_or(|told| now.duration_since(told) >= every);
        // Only what a queue runs has news that nobody told yet.
        let late: Vec<String> = inner
            .queues
            .values()
            .filter_map(|queue| inner.scans.get(queue.current.as_ref()?))
            .filter(|scan| scan.is_live() && scan.unsaid && due(scan.told, limits::SCAN_STATUS))
            .map(|scan| scan.id.clone())
            .collect();
        late.iter().for_each(|id| self.tell_scan(&mut inner, id));
        let late: Vec<String> = inner
            .queues
            .values()
            .filter(|queue| queue.unsaid && due(queue.told, limits::QUEUE_STATUS))
            .map(|queue| queue.id.clone())
            .collect();
        late.iter().for_each(|id| self.tell_queue(&mut inner, id));
        self.overdue(&mut inner, now);
        drop(inner);
        let done: Vec<JoinHandle<()>> = done;
        done.into_iter().for_each(threads::join);
    }

    /// Publishes how a scan stands.
    fn tell_scan(&self, inner: &mut Inner, id: &str) {
        let Some(scan) = inner.scans.get_mut(id) else { return };
        let now = Instant::now();
        scan.revision += 1;
        (scan.told, scan.unsaid) = (Some(now), false);
        let draft = scan.draft(now);
        self.publish(draft);
        self.changed.notify_all();
    }

    /// Publishes how a queue stands.
    fn tell_queue(&self, inner: &mut Inner, id: &str) {
        let Some(queue) = inner.queues.get_mut(id) else { return };
        let now = Instant::now();
        (queue.told, queue.unsaid) = (Some(now), false);
        if queue.machine.status() != QueueState::Running {
            queue.running_since = None;
        } else if queue.running_since.is_none() {
            queue.running_since = Some(Wall::now());
        }
        let status = queue.status(&inner.scans, now);
        self.publish(Draft::of("queue_status", &status).inspect_err(|e| log::error!("{id}: {e}")).ok());
        self.offer_starts(inner, id);
    }

    /// Those that wait can be started alone only while their queue is not at work.
    fn offer_starts(&self, inner: &mut Inner, id: &str) {
        let Some(queue) = inner.queues.get(id) else { return };
        let busy = queue.is_busy();
        let changed: Vec<String> = queue
            .order
            .iter()
            .filter(|id| inner.scans.get(*id).is_some_and(|scan| scan.startable == busy))
            .cloned()
            .collect();
        for id in &changed {
            if let Some(scan) = inner.scans.get_mut(id) {
                scan.startable = !busy;
            }
            self.tell_scan(inner, id);
        }
    }

    fn publish(&self, draft: Option<Draft>) {
        if let Some(draft) = draft
            && let Err(e) = self.context.bus.publish(draft)
        {
            self.context.bus.metrics.source_errors_total.inc();
            log::debug!("lab: {e}");
        }
    }

    /// A line of a scan's log.
    fn say_scan(&self, scan: &Scan, level: Level, code: &str, message: &str, data: Option<Value>) {
        self.publish(scan.line(level, code, message, data));
    }

    /// A line of a queue's log.
    fn say_queue(&self, queue: &Queue, level: Level, code: &str, message: &str, scan: Option<&str>) {
        self.publish(queue.line(level, code, message, scan));
    }

    /// Does what a queue's machine wants done.
    fn perform(self: &Arc<Self>, inner: &mut Inner, queue: &str, effect: Option<QueueEffect>) {
        use super::machine::{Ask, QueueEvent};
        let Some(effect) = effect else { return };
        let ask = match effect {
            QueueEffect::StartNext => {
                self.start_thread(inner, queue);
                return;
            }
            QueueEffect::StartOver => {
                if self.start_over(inner, queue) {
                    self.start_thread(inner, queue);
                } else if let Some(queue) = inner.queues.get_mut(queue) {
                    queue.machine.event(QueueEvent::Emptied);
                }
                return;
            }
            QueueEffect::PauseScan => Ask::Pause,
            QueueEffect::ResumeScan => Ask::Resume,
            QueueEffect::StopScan => Ask::Stop,
            QueueEffect::AbortScan => Ask::Abort,
        };
        let Some(current) = inner.queues.get(queue).and_then(|queue| queue.current.clone()) else { return };
        if let Some(scan) = inner.scans.get_mut(&current) {
            let verdict = scan.machine.command(ask);
            log::debug!("{current}: {} of its queue: {verdict:?}", ask.name());
            self.tell_scan(inner, &current);
        }
        if let Some(queue) = inner.queues.get(queue) {
            queue.poke();
        }
    }

    /// A thread that runs the queue, unless it has one: that is poked.
    fn start_thread(self: &Arc<Self>, inner: &mut Inner, id: &str) {
        let Some(queue) = inner.queues.get_mut(id) else { return };
        if queue.thread.is_some() {
            return queue.poke();
        }
        let (poke, poked) = bounded(1);
        let (lab, name, stop) = (Arc::clone(self), id.to_string(), self.context.stop.clone());
        let run = move || execute::run_queue(&lab, &name, &poked, &stop);
        match threads::spawn(&format!("run-{id}"), limits::STACK, run) {
            Ok(thread) => {
                queue.thread = Some(poke);
                inner.threads.push(thread);
            }
            Err(e) => {
                let text = format!("{id} can't run: the system has no thread left ({e})");
                log::error!("{text}");
                self.say_queue(queue, Level::Error, "no_thread", &text, None);
            }
        }
    }
}

impl Inner {
    fn is_busy(&self) -> bool {
        let waits = !self.waiting.is_empty() || !self.unsaved.is_empty();
        waits || self.queues.values().any(|queue| queue.current.is_some())
    }
}

/// What there is to measure and to set: what sources offer, and what programs have posted, which can only be read.
impl Bench for Lab {
    fn instrument(&self, id: &str) -> Option<Offer> {
        let offer = self.context.instruments.find(id);
        let event = self.context.bus.state_of(&format!("instrument_status/{id}"));
        let Some(status) = event.and_then(|e| serde_json::from_str::<InstrumentStatus>(e.payload()).ok())
        else {
            return offer;
        };
        let mut offer = offer.unwrap_or_else(|| Offer {
            id: id.to_string(),
            name: status.instrument_name.clone(),
            ..Offer::default()
        });
        for (name, channel) in &status.channels {
            if offer.channel(name).is_none() {
                offer.channels.push(ChannelOffer {
                    name: name.clone(),
                    unit: channel.unit.clone(),
                    readable: true,
                    ..ChannelOffer::default()
                });
            }
        }
        Some(offer)
    }

    fn is_output(&self, gpio: &str) -> bool {
        let offer = self.context.instruments.find(gpio);
        offer
            .and_then(|offer| offer.channel(&plan::level_of(gpio).channel).map(|c| c.settable))
            .unwrap_or(false)
    }
}

fn unknown(what: &str, id: &str) -> LabError {
    let shown: String = id.chars().filter(|c| !c.is_control()).take(64).collect();
    LabError::Unknown(format!("there is no {what} {shown}"))
}

fn conflict(code: &'static str, detail: impl Into<String>) -> LabError {
    LabError::Conflict(Box::new(Conflict { code, detail: detail.into(), ..Conflict::default() }))
}
