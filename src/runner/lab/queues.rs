//! One queue as the desk knows it: its order, its machine, who runs it, and what of it is kept.

use super::scans::{Scan, round};
use crate::clock::Wall;
use crate::model::{Draft, Level, OnFailure, QueueLog, QueueState, QueueStatus, Topic};
use crate::runner::machine::{QueueEvent, QueueMachine};
use crossbeam::channel::Sender;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// See the module above.
pub(super) struct Queue {
    pub id: String,
    pub name: Option<String>,
    pub machine: QueueMachine,
    /// Those that wait, the next first.
    pub order: Vec<String>,
    pub current: Option<String>,
    pub order_version: u64,
    pub completed: u64,
    pub failed: u64,
    pub aborted: u64,
    /// Scans of this pass that have ended, for a loop.
    pub pass: Vec<String>,
    pub running_since: Option<Wall>,
    /// Pokes its thread, while it has one.
    pub thread: Option<Sender<()>>,
    /// Somebody started this one alone.
    pub only: Option<String>,
    /// The current one was started alone.
    pub alone: bool,
    pub told: Option<Instant>,
    pub unsaid: bool,
}

impl Queue {
    pub fn new(id: String, name: Option<String>, machine: QueueMachine) -> Queue {
        Queue {
            id,
            name,
            machine,
            order: Vec::new(),
            current: None,
            order_version: 1,
            completed: 0,
            failed: 0,
            aborted: 0,
            pass: Vec::new(),
            running_since: None,
            thread: None,
            only: None,
            alone: false,
            told: None,
            unsaid: true,
        }
    }

    /// The scan that its thread is to run now.
    pub fn next(&self) -> Option<&String> {
        if self.current.is_some() {
            return None;
        }
        match &self.only {
            Some(only) => self.order.iter().find(|id| *id == only),
            None if self.machine.may_start() => self.order.first(),
            None => None,
        }
    }

    /// Whether a scan of it can't be started alone.
    pub fn is_busy(&self) -> bool {
        matches!(self.machine.status(), QueueState::Running | QueueState::Stopping)
            || self.machine.has_scan()
            || self.only.is_some()
    }

    /// A new batch: what has ended does not count any more.
    pub fn count_anew(&mut self) {
        (self.completed, self.failed, self.aborted) = (0, 0, 0);
        self.pass.clear();
    }

    /// Wakes whoever runs it.
    pub fn poke(&self) {
        if let Some(thread) = &self.thread {
            // Full: it has been poked already.
            let _ = thread.try_send(());
        }
    }

    /// Scans of it, ended ones of this batch included.
    pub fn total(&self) -> u64 {
        let live = self.order.len() + usize::from(self.current.is_some());
        self.completed + self.failed + self.aborted + live as u64
    }

    /// As it is told.
    pub fn status(&self, scans: &BTreeMap<String, Scan>, now: Instant) -> QueueStatus {
        let total = self.total();
        let ended = (self.completed + self.failed + self.aborted) as f64;
        let current = self.current.as_ref().and_then(|id| scans.get(id));
        let share = current.and_then(Scan::share).unwrap_or(0.0);
        let left = |scan: &Scan| scan.left(now).map(|(left, _)| left);
        let waiting: Option<Duration> = self.order.iter().filter_map(|id| scans.get(id)).map(left).sum();
        let eta = match current {
            Some(scan) => left(scan).zip(waiting).map(|(scan, waiting)| scan + waiting),
            None => waiting,
        };
        let runs = self.machine.status() == QueueState::Running;
        let name = |word: &str| word.to_string();
        QueueStatus {
            queue_id: self.id.clone(),
            name: self.name.clone(),
            status: self.machine.status(),
            current_scan: self.current.clone(),
            completed_scans: self.completed,
            total_scans: total,
            order_version: self.order_version,
            timestamp: Wall::now(),
            pending: self.machine.pending().map(|ask| name(ask.name())),
            failed_scans: self.failed,
            aborted_scans: self.aborted,
            order: self.current.iter().chain(&self.order).cloned().collect(),
            progress: (total > 0).then(|| round((ended + share) / total as f64, 6)),
            eta_s: eta.filter(|_| runs).map(|eta| round(eta.as_secs_f64(), 1)),
            pause_reason: self.machine.pause_reason().map(|reason| name(reason.name())),
            allowed_actions: self.machine.allowed().into_iter().map(name).collect(),
            on_failure: Some(self.machine.on_failure),
            looped: Some(self.machine.looped),
            autostart: Some(self.machine.autostart),
            running_since: self.running_since.filter(|_| runs),
            removed: false,
        }
    }

    /// A line of its log.
    pub fn line(&self, level: Level, code: &str, message: &str, scan: Option<&str>) -> Option<Draft> {
        let line = QueueLog {
            level,
            message: message.to_string(),
            timestamp: Wall::now(),
            queue_id: Some(self.id.clone()),
            scan_id: scan.map(str::to_string),
            source: Some("runner".into()),
            code: Some(code.to_string()),
            data: None,
        };
        Draft::on("queue_log", Topic::of("queue", &self.id).ok(), &line).ok()
    }

    /// What of it is kept.
    pub fn kept(&self) -> KeptQueue {
        KeptQueue {
            queue_id: self.id.clone(),
            name: self.name.clone(),
            machine: self.machine,
            order: self.order.clone(),
            current: self.current.clone(),
            order_version: self.order_version,
            counts: (self.completed, self.failed, self.aborted),
            pass: self.pass.clone(),
        }
    }

    /// As it was kept, after a restart: its scan has been interrupted.
    pub fn recall(kept: KeptQueue) -> Queue {
        let mut machine = kept.machine;
        machine.event(QueueEvent::Restarted);
        let (completed, failed, aborted) = kept.counts;
        Queue {
            order: kept.order,
            order_version: kept.order_version,
            completed,
            failed: failed + u64::from(kept.current.is_some()),
            aborted,
            pass: kept.pass,
            ..Queue::new(kept.queue_id, kept.name, machine)
        }
    }
}

/// A queue on the shelf.
#[derive(Serialize, Deserialize)]
pub(super) struct KeptQueue {
    queue_id: String,
    name: Option<String>,
    machine: QueueMachine,
    order: Vec<String>,
    current: Option<String>,
    order_version: u64,
    /// Completed, failed, aborted.
    counts: (u64, u64, u64),
    #[serde(default)]
    pass: Vec<String>,
}

/// A machine for a queue as somebody wants it.
pub(super) fn machine(
    on_failure: Option<OnFailure>,
    looped: Option<bool>,
    autostart: Option<bool>,
) -> QueueMachine {
    QueueMachine::new(on_failure.unwrap_or_default(), looped.unwrap_or(false), autostart.unwrap_or(false))
}
