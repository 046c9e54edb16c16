//! The desk of the lab: queues of scans, in order, kept over restarts; who runs which; what people ask of them.
//!
//! Owns every queue, scan and template, the thread `lab`, and one thread `run-QUEUE` for each queue that runs
//! (`runner::execute`). **Promises.** Statuses of one scan or queue are published in the order in which things happened:
//! they are folded and published under one lock, under which nothing is read from or written to a disk or an instrument.
//! What was answered with success is on the disk. Nothing that was interrupted moves again by itself: after a restart
//! what was live has failed and what ran is paused. **Bounds.** [`limits::QUEUES`], [`limits::QUEUED_SCANS`], ended
//! scans as configured. **Does not** drive instruments (it asks `sources::Instruments`) or keep rows (the book does).

mod external;
mod lease;

pub use self::external::{Control, NewExternal, Posted, Registered};

use self::external::External;
use crate::bus::Command;
use crate::config;
use crate::limits;
use crate::model::{Cursor, OnFailure, QueueStatus, ScanState, ScanStatus};
use crate::runner::book::Book;
use crate::runner::data::Column;
use crate::runner::plan::{Fault, Plan};
use crate::sources::Context;
use crate::store::StoreError;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

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
    pub updated: crate::clock::Wall,
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

/// See the module above.
pub struct Lab {
    context: Context,
    settings: config::Lab,
    book: Arc<Book>,
    external: External,
}

impl Lab {
    /// Takes up what was kept, and starts the thread.
    ///
    /// # Errors
    /// When the system has no thread left, or the shelf can't be read.
    pub fn start(context: &Context, settings: &config::Lab) -> io::Result<(Arc<Lab>, JoinHandle<()>)> {
        let book =
            Book::open(Arc::clone(&context.bus), Arc::clone(&context.store)).map_err(io::Error::other)?;
        let book = Arc::new(book);
        let (to, inbox) = crossbeam::channel::bounded::<Command>(limits::LAB_COMMANDS);
        let external = External::open(context, &book, to, settings.keep_scans).map_err(io::Error::other)?;
        let lab = Arc::new(Lab { context: context.clone(), settings: settings.clone(), book, external });
        let (stop, desk) = (context.stop.clone(), Arc::clone(&lab));
        let thread = crate::threads::spawn("lab", limits::STACK, move || {
            let tick = crossbeam::channel::tick(std::time::Duration::from_millis(100));
            let mut n = 0_u32;
            loop {
                crossbeam::select! {
                    recv(stop.receiver()) -> _ => break,
                    recv(inbox) -> command => if let Ok(command) = command {
                        desk.external.command(&command);
                    },
                    recv(tick) -> _ => {
                        desk.book.tick();
                        n = n.wrapping_add(1);
                        if n % 10 == 0 {
                            desk.external.tick();
                        }
                    }
                }
            }
            desk.external.stop();
        })?;
        Ok((lab, thread))
    }

    /// The rows.
    pub fn book(&self) -> &Arc<Book> {
        &self.book
    }

    fn next_scan(&self) -> Result<String, LabError> {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
        Ok(format!("SCAN_{:03}", NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)))
    }

    fn has_scan(&self, _id: &str) -> bool {
        false
    }

    /// What a description would do.
    ///
    /// # Errors
    /// Every fault of it.
    pub fn validate(&self, _description: &Value) -> Result<Plan, Vec<Fault>> {
        let _ = (&self.context, &self.settings);
        Err(Vec::new())
    }

    /// Makes a queue.
    ///
    /// # Errors
    /// Its id is taken or not one, or there are too many.
    pub fn create_queue(&self, _wish: NewQueue) -> Result<QueueStatus, LabError> {
        Err(LabError::Full("not yet".into()))
    }

    /// Changes a queue.
    ///
    /// # Errors
    /// There is no such queue.
    pub fn change_queue(&self, id: &str, _change: QueueChange) -> Result<QueueStatus, LabError> {
        Err(unknown("queue", id))
    }

    /// Removes a queue with the scans that wait in it.
    ///
    /// # Errors
    /// There is no such queue, or it is at work.
    pub fn remove_queue(&self, id: &str) -> Result<(), LabError> {
        Err(unknown("queue", id))
    }

    /// Adds scans to a queue, all or none.
    ///
    /// # Errors
    /// There is no such queue, a description has faults, or the queue is full.
    pub fn add_scans(
        &self,
        queue: &str,
        _descriptions: Vec<Value>,
        _front: bool,
        _by: Option<&str>,
    ) -> Result<(Vec<ScanStatus>, u64), LabError> {
        Err(unknown("queue", queue))
    }

    /// Moves a scan that waits.
    ///
    /// # Errors
    /// There is no such queue or scan, it does not wait, or somebody else has changed the order.
    pub fn move_scan(
        &self,
        queue: &str,
        _scan: &str,
        _to: &Place,
        _order_version: u64,
    ) -> Result<QueueStatus, LabError> {
        Err(unknown("queue", queue))
    }

    /// A new scan that does the same, in the same queue.
    ///
    /// # Errors
    /// There is no such scan, it has not ended, or its queue is gone.
    pub fn requeue(&self, scan: &str, _front: bool, _by: Option<&str>) -> Result<ScanStatus, LabError> {
        Err(unknown("scan", scan))
    }

    /// Takes a scan that waits out of its queue, or removes one that has ended with its rows.
    ///
    /// # Errors
    /// There is no such scan, or it is live.
    pub fn remove_scan(&self, scan: &str, _by: Option<&str>) -> Result<(), LabError> {
        self.external.remove(scan)
    }

    /// One scan.
    pub fn scan(&self, id: &str) -> Option<ScanDetail> {
        self.external.detail(id)
    }

    /// Scans, the newest first.
    pub fn scans(&self, _filter: &ScanFilter, _cursor: Option<&str>, _limit: usize) -> ScanPage {
        let cursor = self.context.bus.head();
        let items = self.external.statuses();
        ScanPage { total: items.len(), items, next: None, cursor }
    }

    /// The scans of a queue: its order, then those that have ended, the newest first; and the version of the order.
    pub fn scans_of(&self, _queue: &str) -> Option<(Vec<ScanStatus>, u64)> {
        None
    }

    /// Every queue.
    pub fn queues(&self) -> Vec<QueueStatus> {
        Vec::new()
    }

    /// One queue.
    pub fn queue(&self, _id: &str) -> Option<QueueStatus> {
        None
    }

    /// Every template.
    pub fn templates(&self) -> Vec<Template> {
        Vec::new()
    }

    /// Keeps descriptions under a name; with the id of one there is, in its place.
    ///
    /// # Errors
    /// The id is not one, there are no descriptions, or there are too many templates.
    pub fn keep_template(
        &self,
        _id: Option<String>,
        _name: &str,
        _descriptions: Vec<Value>,
    ) -> Result<Template, LabError> {
        Err(LabError::Full("not yet".into()))
    }

    /// Forgets a template.
    ///
    /// # Errors
    /// There is none.
    pub fn remove_template(&self, id: &str) -> Result<(), LabError> {
        Err(unknown("template", id))
    }
}

fn unknown(what: &str, id: &str) -> LabError {
    let shown: String = id.chars().filter(|c| !c.is_control()).take(64).collect();
    LabError::Unknown(format!("there is no {what} {shown}"))
}
