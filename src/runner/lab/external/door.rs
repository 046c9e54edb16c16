//! What the routes hand in and get back, and the lab's door to it.

use super::super::{Lab, LabError};
use crate::clock::Wall;
use crate::model::{Draft, ScanState, ScanStatus};
use crate::runner::data::{Column, Row};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// A scan that a program wants to execute.
#[derive(Clone, Debug, Default)]
pub struct NewExternal {
    /// Its id; the id of one of its own that lives goes on with that. None: the next number.
    pub scan_id: Option<String>,
    /// The name people see.
    pub name: Option<String>,
    /// How many points it will have.
    pub points_total: Option<u64>,
    /// The columns it knows beforehand, by measurement.
    pub columns: BTreeMap<String, Vec<Column>>,
    /// It speaks at least this often; none: 30 s.
    pub lease: Option<Duration>,
    /// It does what it is asked within this time; none: 30 s.
    pub ack: Option<Duration>,
    /// It begins when somebody starts it, not at once.
    pub waits: bool,
    /// The scan it repeats.
    pub retry_of: Option<String>,
    /// All of it as it was sent.
    pub description: Value,
}

/// What came of a registration.
#[derive(Clone, Debug)]
pub struct Registered {
    /// How the scan stands.
    pub status: ScanStatus,
    /// The last row there is, by measurement.
    pub last_index: BTreeMap<String, u64>,
    /// What is wanted of the program.
    pub control: Control,
    /// False: the scan was there and goes on.
    pub is_new: bool,
}

/// What is wanted of a program; part of every answer to it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Control {
    /// `start`, `pause`, `resume`, `stop`, `abort`, or nothing. It is `abort` as well once the scan has ended here and the
    /// program has not said that it knows.
    pub pending: Option<&'static str>,
    /// The command that asked for it.
    pub command_id: Option<String>,
    /// How the scan stands here.
    pub status: ScanState,
    /// The longest the program may be silent.
    pub lease_s: f64,
}

/// What came of a post.
#[derive(Clone, Debug)]
pub struct Posted {
    /// Rows that are new.
    pub accepted: u64,
    /// Rows that had been posted before.
    pub duplicates: u64,
    /// The last row of the measurement that was posted last.
    pub last_index: Option<u64>,
    /// What is wanted of the program.
    pub control: Control,
}

impl Lab {
    /// A program registers a scan that it executes, or goes on with one of its own.
    ///
    /// # Errors
    /// The wish is not one, its id is taken, there are too many, or it could not be kept.
    pub fn register(&self, wish: NewExternal) -> Result<Registered, LabError> {
        let next = || {
            let id = {
                let mut inner = self.lock();
                let id = self.new_scan_id(&mut inner);
                self.keep_counters(&mut inner);
                id
            };
            self.on_disk()?;
            Ok(id)
        };
        self.external.register(wish, next, |id| self.lock().scans.contains_key(id))
    }

    /// Whether a program executes the scan.
    pub fn is_external(&self, scan: &str) -> bool {
        self.external.has(scan)
    }

    /// Waits until what was posted of a scan is on the disk; false when that takes longer than `time`, or its rows still
    /// wait to be published.
    pub fn wait_durable(&self, scan: &str, time: Duration) -> bool {
        // Rows of a fast scan may wait for each other.
        match self.book.flush(scan) {
            Ok(seq) => self.external.context.bus.wait_durable(seq, time),
            Err(e) => {
                log::debug!("rows of {scan} are not published yet: {e}");
                false
            }
        }
    }

    /// Whether there is such a scan here.
    pub fn knows_scan(&self, id: &str) -> bool {
        self.external.has(id) || self.lock().scans.contains_key(id)
    }

    /// A program posts rows, by measurement; `received` is the timestamp of those that came without.
    ///
    /// # Errors
    /// There is no such scan, it does not take rows now, or rows are refused; what came before in the same post is in.
    pub fn post_rows(
        &self,
        scan: &str,
        groups: Vec<(String, Vec<Row>)>,
        received: Wall,
    ) -> Result<Posted, LabError> {
        self.external.post(scan, groups, received)
    }

    /// A program says what it does now.
    ///
    /// # Errors
    /// There is no such scan, it can't do that as it stands, or it could not be kept.
    pub fn report(
        &self,
        scan: &str,
        state: ScanState,
        message: Option<String>,
        error: Option<String>,
    ) -> Result<(ScanStatus, Control), LabError> {
        self.external.report(scan, state, message, error)
    }

    /// What is wanted of a program.
    ///
    /// # Errors
    /// There is no such scan.
    pub fn control(&self, scan: &str) -> Result<Control, LabError> {
        self.external.control(scan)
    }

    /// The same as soon as something is, or after this time.
    ///
    /// # Errors
    /// There is no such scan, or too many wait already.
    pub fn wait_control(&self, scan: &str, time: Duration) -> Result<Control, LabError> {
        self.external.wait(scan, time)
    }

    /// A program writes into the log of its scan.
    ///
    /// # Errors
    /// There is no such scan, or the bus takes nothing.
    pub fn log_lines(&self, scan: &str, lines: Vec<Draft>) -> Result<Control, LabError> {
        self.external.log(scan, lines)
    }
}
