//! One scan as the desk knows it: how it stands, how far it is, when, and what of it is kept.

use crate::clock::Wall;
use crate::model::{Draft, Level, QueueLog, ScanMore, ScanState, ScanStatus, Topic};
use crate::runner::data::Column;
use crate::runner::machine::{Ask, Basis, Eta, Executor, ExitReason, Progress, ScanMachine};
use crate::runner::plan::Plan;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Which part of it is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The steps of `before`.
    Startup,
    /// The points.
    Main,
    /// `after` and `always`.
    Cleanup,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Phase::Startup => "startup",
            Phase::Main => "main",
            Phase::Cleanup => "cleanup",
        }
    }
}

/// How long a scan has lasted, and how much of that it was not paused.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Run {
    begun: Option<Instant>,
    /// It stands since.
    stands: Option<Instant>,
    paused: Duration,
    /// What it came to, once it has ended.
    ended: Option<(Duration, Duration)>,
}

impl Run {
    pub fn begin(&mut self, now: Instant) {
        self.begun.get_or_insert(now);
    }

    /// Pauses do not count as active from here on.
    pub fn stand(&mut self, now: Instant) {
        self.stands.get_or_insert(now);
    }

    pub fn go_on(&mut self, now: Instant) {
        if let Some(since) = self.stands.take() {
            self.paused += now.saturating_duration_since(since);
        }
    }

    pub fn end(&mut self, now: Instant) {
        if self.begun.is_some() && self.ended.is_none() {
            self.ended = Some((self.elapsed(now), self.active(now)));
        }
    }

    pub fn elapsed(&self, now: Instant) -> Duration {
        match (self.ended, self.begun) {
            (Some((elapsed, _)), _) => elapsed,
            (None, Some(begun)) => now.saturating_duration_since(begun),
            (None, None) => Duration::ZERO,
        }
    }

    pub fn active(&self, now: Instant) -> Duration {
        if let Some((_, active)) = self.ended {
            return active;
        }
        let stands = self.stands.map(|since| now.saturating_duration_since(since)).unwrap_or_default();
        self.elapsed(now).saturating_sub(self.paused + stands)
    }
}

/// See the module above.
pub(super) struct Scan {
    pub id: String,
    pub queue: Option<String>,
    pub name: String,
    pub machine: ScanMachine,
    pub description: Arc<Value>,
    /// Bytes of that as text.
    pub bytes: usize,
    /// Of its only measurement, where its plan is known.
    pub columns: Vec<Column>,
    pub instruments: Vec<String>,
    pub points_total: Option<u64>,
    pub planned: Duration,
    pub created_at: Wall,
    pub started_at: Option<Wall>,
    pub ended_at: Option<Wall>,
    pub phase: Option<Phase>,
    pub points_done: u64,
    pub skipped: u64,
    pub repeat_index: Option<u64>,
    pub progress: Progress,
    /// What `progress` was before a restart, where it is no longer counted.
    pub frozen: Option<f64>,
    pub step: Option<String>,
    pub message: Option<String>,
    pub prompt: Option<String>,
    pub error: Option<String>,
    pub caused_by: Option<String>,
    pub retry_of: Option<String>,
    pub blocked_by: Option<String>,
    pub late_ms: Option<u64>,
    pub run: Run,
    pub eta: Eta,
    pub num_points: BTreeMap<String, u64>,
    pub revision: u64,
    pub told: Option<Instant>,
    /// Something changed since it was told.
    pub unsaid: bool,
    /// Its queue is not at work.
    pub startable: bool,
    /// The point under way is to be left out.
    pub skip: bool,
    /// Its abort said that the queue goes on.
    pub then_continue: bool,
    /// An alert of it is raised.
    pub alerted: bool,
    /// An alert says that its abort is not confirmed.
    pub abort_alerted: bool,
}

impl Scan {
    /// One that waits.
    pub fn new(id: String, queue: Option<String>, executor: Executor, name: &str) -> Scan {
        Scan {
            id,
            queue,
            name: name.to_string(),
            machine: ScanMachine::new(executor),
            description: Arc::new(Value::Null),
            bytes: 0,
            columns: Vec::new(),
            instruments: Vec::new(),
            points_total: None,
            planned: Duration::ZERO,
            created_at: Wall::now(),
            started_at: None,
            ended_at: None,
            phase: None,
            points_done: 0,
            skipped: 0,
            repeat_index: None,
            progress: Progress::new(None),
            frozen: None,
            step: None,
            message: None,
            prompt: None,
            error: None,
            caused_by: None,
            retry_of: None,
            blocked_by: None,
            late_ms: None,
            run: Run::default(),
            eta: Eta::new(Duration::ZERO, None),
            num_points: BTreeMap::new(),
            revision: 0,
            told: None,
            unsaid: true,
            startable: true,
            skip: false,
            then_continue: false,
            alerted: false,
            abort_alerted: false,
        }
    }

    /// What its plan says of it.
    pub fn take_plan(&mut self, plan: &Plan) {
        self.columns.clone_from(&plan.columns);
        self.instruments = plan.instruments.iter().cloned().collect();
        self.set_total(plan.points_total, plan.planned);
    }

    pub fn set_total(&mut self, total: Option<u64>, planned: Duration) {
        self.points_total = total;
        self.planned = planned;
        self.progress = Progress::new(total);
        self.eta = Eta::new(planned, total);
    }

    /// One more point is behind it.
    pub fn passed(&mut self, now: Instant) {
        self.progress.reached(self.points_done + self.skipped);
        self.eta.point(self.run.active(now));
        self.unsaid = true;
    }

    /// Whether it runs or is paused.
    pub fn is_live(&self) -> bool {
        matches!(self.machine.status(), ScanState::Running | ScanState::Paused)
    }

    /// It has ended: everything about time and progress stays as it is.
    pub fn freeze(&mut self, now: Instant) {
        self.run.end(now);
        self.progress.end(self.machine.exit() == Some(ExitReason::Finished));
        self.ended_at = Some(Wall::now());
        (self.step, self.prompt, self.blocked_by) = (None, None, None);
    }

    pub fn share(&self) -> Option<f64> {
        self.frozen.or_else(|| self.progress.value()).map(|share| round(share, 6))
    }

    /// What can be asked of it now.
    pub fn allowed(&self) -> Vec<&'static str> {
        let mut allowed = self.machine.allowed();
        if !self.startable {
            allowed.retain(|action| *action != "start");
        }
        if self.may_skip() {
            allowed.push("skip_point");
        }
        allowed
    }

    pub fn may_skip(&self) -> bool {
        self.is_live()
            && self.machine.executor() == Executor::Builtin
            && !self.machine.is_ending()
            && self.phase == Some(Phase::Main)
    }

    /// What is left, while it runs or waits.
    pub fn left(&self, now: Instant) -> Option<(Duration, Basis)> {
        match self.machine.status() {
            ScanState::Queued => self.points_total.map(|_| (self.planned, Basis::Planned)),
            ScanState::Running => self.eta.left(self.run.active(now), false),
            _ => None,
        }
    }

    /// As it is told.
    pub fn status(&self, now: Instant) -> ScanStatus {
        let begun = self.run.begun.is_some() || self.run.ended.is_some();
        let left = self.left(now);
        let ended = self.machine.is_ended();
        ScanStatus {
            scan_id: self.id.clone(),
            status: self.machine.status(),
            pending: self.machine.pending().map(|ask| ask.name().to_string()),
            progress: self.share(),
            allowed_actions: self.allowed().into_iter().map(str::to_string).collect(),
            revision: self.revision,
            timestamp: Wall::now(),
            queue_id: self.queue.clone(),
            name: Some(self.name.clone()),
            executor: Some(self.machine.executor().name().to_string()),
            phase: self.phase.filter(|_| !ended).map(|phase| phase.name().to_string()),
            points_done: Some(self.points_done),
            points_total: self.points_total,
            message: self.message.clone().or_else(|| self.doing()),
            elapsed_s: begun.then(|| round(self.run.elapsed(now).as_secs_f64(), 3)),
            active_s: begun.then(|| round(self.run.active(now).as_secs_f64(), 3)),
            eta_s: left.map(|(left, _)| round(left.as_secs_f64(), 1)),
            exit_reason: self.machine.exit().map(|reason| reason.name().to_string()),
            error: self.error.clone(),
            num_points: self.num_points.clone(),
            more: ScanMore {
                repeat_index: self.repeat_index,
                current_step: self.step.clone(),
                created_at: Some(self.created_at),
                started_at: self.started_at,
                ended_at: self.ended_at,
                eta_basis: left.map(|(_, basis)| basis.name().to_string()),
                caused_by: self.caused_by.clone(),
                retry_of: self.retry_of.clone(),
                blocked_by: self.blocked_by.clone(),
                skipped: Some(self.skipped).filter(|n| *n > 0),
                late_ms: self.late_ms,
                prompt: self.prompt.clone(),
                ..ScanMore::default()
            },
        }
    }

    /// One line of what it does.
    fn doing(&self) -> Option<String> {
        let passed = self.points_done + self.skipped;
        let of = self.points_total.map(|total| format!("/{total}")).unwrap_or_default();
        match (self.machine.status(), self.phase) {
            (ScanState::Queued, _) => self.blocked_by.as_ref().map(|by| format!("Waiting: {by}")),
            (ScanState::Running, Some(Phase::Startup)) => Some("Starting".into()),
            (ScanState::Running | ScanState::Paused, Some(Phase::Cleanup)) => Some("Cleaning up".into()),
            (ScanState::Running, _) => match self.points_total {
                Some(total) => Some(format!("Measuring point {}{of}", (passed + 1).min(total))),
                None => Some(format!("Measuring point {}", passed + 1)),
            },
            (ScanState::Paused, _) => Some(match (&self.prompt, &self.error) {
                (Some(prompt), _) => prompt.clone(),
                (None, Some(error)) => format!("Paused: {error}"),
                (None, None) => format!("Paused after {passed}{of} points"),
            }),
            _ => Some(format!("{passed}{of} points")),
        }
    }

    /// As an event. What has ended stays part of the state for a while only.
    pub fn draft(&self, now: Instant) -> Option<Draft> {
        match Draft::of("scan_status", &self.status(now)) {
            Ok(draft) if self.machine.is_ended() => Some(draft.retired()),
            Ok(draft) => Some(draft),
            Err(e) => {
                log::error!("{}: its status can't be published: {e}", self.id);
                None
            }
        }
    }

    /// A line of its log.
    pub fn line(&self, level: Level, code: &str, message: &str, data: Option<Value>) -> Option<Draft> {
        let message: String = message.chars().take(crate::limits::LOG_CHARS).collect();
        let line = QueueLog {
            level,
            message,
            timestamp: Wall::now(),
            queue_id: self.queue.clone(),
            scan_id: Some(self.id.clone()),
            source: Some("runner".into()),
            code: Some(code.to_string()),
            data,
        };
        Draft::on("queue_log", Topic::of("scan", &self.id).ok(), &line).ok()
    }

    /// What of it is kept.
    pub fn kept(&self, now: Instant) -> KeptScan {
        KeptScan {
            scan_id: self.id.clone(),
            queue_id: self.queue.clone(),
            name: self.name.clone(),
            machine: self.machine,
            description: Arc::clone(&self.description),
            columns: self.columns.clone(),
            instruments: self.instruments.clone(),
            points_total: self.points_total,
            planned_s: self.planned.as_secs_f64(),
            created_at: self.created_at,
            started_at: self.started_at,
            ended_at: self.ended_at,
            points_done: self.points_done,
            skipped: self.skipped,
            progress: self.share(),
            message: self.message.clone(),
            error: self.error.clone(),
            caused_by: self.caused_by.clone(),
            retry_of: self.retry_of.clone(),
            late_ms: self.late_ms,
            run: self
                .started_at
                .map(|_| (self.run.elapsed(now).as_secs_f64(), self.run.active(now).as_secs_f64())),
            num_points: self.num_points.clone(),
            revision: self.revision,
        }
    }

    /// How far it was when it was last told, of one whose row was kept before.
    pub fn catch_up(&mut self, told: &ScanStatus) {
        self.revision = self.revision.max(told.revision);
        if let Some((elapsed, active)) = told.elapsed_s.zip(told.active_s) {
            self.run.ended = Some((seconds(elapsed), seconds(active)));
        }
        self.skipped = self.skipped.max(told.more.skipped.unwrap_or(0));
        self.late_ms = self.late_ms.max(told.more.late_ms);
    }

    /// As it was kept.
    pub fn recall(kept: KeptScan) -> Scan {
        let mut scan = Scan::new(kept.scan_id, kept.queue_id, kept.machine.executor(), &kept.name);
        scan.set_total(kept.points_total, seconds(kept.planned_s));
        Scan {
            machine: kept.machine,
            bytes: kept.description.to_string().len(),
            description: kept.description,
            columns: kept.columns,
            instruments: kept.instruments,
            created_at: kept.created_at,
            started_at: kept.started_at,
            ended_at: kept.ended_at,
            points_done: kept.points_done,
            skipped: kept.skipped,
            frozen: kept.progress.filter(|_| kept.machine.is_ended()),
            message: kept.message,
            error: kept.error,
            caused_by: kept.caused_by,
            retry_of: kept.retry_of,
            late_ms: kept.late_ms,
            run: Run {
                ended: kept.run.map(|(elapsed, active)| (seconds(elapsed), seconds(active))),
                ..Run::default()
            },
            num_points: kept.num_points,
            revision: kept.revision,
            ..scan
        }
    }
}

/// A scan on the shelf.
#[derive(Serialize, Deserialize)]
pub(super) struct KeptScan {
    pub scan_id: String,
    queue_id: Option<String>,
    name: String,
    machine: ScanMachine,
    description: Arc<Value>,
    #[serde(default)]
    columns: Vec<Column>,
    #[serde(default)]
    instruments: Vec<String>,
    points_total: Option<u64>,
    planned_s: f64,
    created_at: Wall,
    started_at: Option<Wall>,
    ended_at: Option<Wall>,
    points_done: u64,
    skipped: u64,
    progress: Option<f64>,
    message: Option<String>,
    error: Option<String>,
    caused_by: Option<String>,
    retry_of: Option<String>,
    late_ms: Option<u64>,
    /// Elapsed and active seconds so far.
    run: Option<(f64, f64)>,
    num_points: BTreeMap<String, u64>,
    revision: u64,
}

/// What was asked of a scan, to whoever carries it out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::runner) struct Orders {
    /// What is pending.
    pub ask: Option<Ask>,
    /// The clean-up is to be skipped.
    pub force: bool,
    /// The point is to be skipped.
    pub skip: bool,
}

pub(super) fn seconds(s: f64) -> Duration {
    Duration::try_from_secs_f64(s).unwrap_or_default()
}

/// Rounded to so many digits.
pub(super) fn round(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}
