//! One scan of a program: how it stands, how far it is and since when, what of it is kept.

use super::super::lease::Lease;
use super::super::{Conflict, LabError};
use super::{Control, SHELF, STATUS_EVERY};
use crate::clock::Wall;
use crate::limits;
use crate::model::{Draft, Quality, QualityReason, ScanMore, ScanState, ScanStatus};
use crate::runner::machine::{Ask, Basis, Eta, Executor, ExitReason, Progress, ScanMachine};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long it has been going on, on the monotonic clock.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Times {
    pub(super) elapsed: Duration,
    pub(super) active: Duration,
    /// Up to when the two are counted; none: it has not begun.
    pub(super) at: Option<Duration>,
}

impl Times {
    /// Counts on, of a scan that has stood like this since the last time.
    pub(super) fn advance(&mut self, status: ScanState, now: Duration) {
        let Some(at) = self.at else { return };
        if matches!(status, ScanState::Running | ScanState::Paused) {
            let more = now.saturating_sub(at);
            self.elapsed += more;
            if status == ScanState::Running {
                self.active += more;
            }
            self.at = Some(now);
        }
    }
}

/// What is kept of one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) scan_id: String,
    pub(super) name: Option<String>,
    pub(super) points_total: Option<u64>,
    pub(super) lease_s: f64,
    pub(super) ack_s: f64,
    pub(super) retry_of: Option<String>,
    pub(super) description: Value,
    pub(super) machine: ScanMachine,
    pub(super) revision: u64,
    pub(super) created_at: Wall,
    pub(super) started_at: Option<Wall>,
    pub(super) ended_at: Option<Wall>,
    pub(super) message: Option<String>,
    pub(super) error: Option<String>,
    /// The program itself has said that it is over.
    pub(super) told: bool,
    pub(super) times: Times,
    /// The boot in which the times were counted.
    pub(super) boot: String,
    pub(super) num_points: BTreeMap<String, u64>,
}

/// Where the rows of one that has ended are; an end is never on the disk before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// On the disk, or it has not ended.
    Kept,
    /// In the log up to this seq.
    Through(u64),
    /// Some may wait to be published.
    Waiting,
}

pub(super) struct One {
    pub(super) kept: Kept,
    /// How long its description is, as text.
    pub(super) bytes: usize,
    pub(super) lease: Lease,
    pub(super) progress: Progress,
    pub(super) eta: Eta,
    /// Points that `eta` has heard of, and when it did last.
    pub(super) timed: u64,
    pub(super) timed_at: Duration,
    /// Commands that wait for the program, all of them for what is pending.
    pub(super) waiting: Vec<(String, Ask)>,
    /// What it was asked it has not done in time.
    pub(super) late: bool,
    /// It is known from before a restart only.
    pub(super) restored: bool,
    pub(super) published: Option<Duration>,
    /// Points have come since.
    pub(super) dirty: bool,
    pub(super) rows: Rows,
}

/// How far it was before rows that may be refused.
pub(super) struct Counted {
    progress: Progress,
    eta: Eta,
    timed: u64,
    timed_at: Duration,
}

fn tenths(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}

impl One {
    pub(super) fn new(kept: Kept, now: Duration) -> One {
        let time = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or(limits::LEASE);
        let mut progress = Progress::new(kept.points_total);
        let mut one = One {
            lease: Lease::new(time(kept.lease_s), time(kept.ack_s), now),
            eta: Eta::new(Duration::ZERO, kept.points_total),
            timed: 0,
            timed_at: Duration::ZERO,
            waiting: Vec::new(),
            late: false,
            restored: false,
            published: None,
            dirty: false,
            rows: Rows::Kept,
            progress,
            bytes: kept.description.to_string().len(),
            kept,
        };
        if one.kept.machine.is_ended() {
            progress.reached(one.points());
            progress.end(one.kept.machine.exit() == Some(ExitReason::Finished));
            one.progress = progress;
        }
        one
    }

    pub(super) fn advance(&mut self, now: Duration) {
        self.kept.times.advance(self.kept.machine.status(), now);
    }

    pub(super) fn ack(&self) -> Duration {
        Duration::try_from_secs_f64(self.kept.ack_s).unwrap_or(limits::LEASE)
    }

    pub(super) fn word(&self) -> &'static str {
        word(self.kept.machine.status())
    }

    pub(super) fn shown(&self) -> String {
        match &self.kept.name {
            Some(name) => format!("{} ({name})", self.kept.scan_id),
            None => self.kept.scan_id.clone(),
        }
    }

    /// Points so far: where several measurements are taken at each, those of the longest.
    pub(super) fn points(&self) -> u64 {
        self.kept.num_points.values().copied().max().unwrap_or(0)
    }

    pub(super) fn count(&mut self, measurement: &str, rows: u64) {
        match self.kept.num_points.get_mut(measurement) {
            Some(count) => *count = rows,
            None => drop(self.kept.num_points.insert(measurement.to_string(), rows)),
        }
        let points = self.points();
        self.progress.reached(points);
        // Rows that come together were measured one after the other.
        let active = self.kept.times.active;
        let new = points.saturating_sub(self.timed);
        let from = self.timed_at;
        for n in 1..=new {
            self.eta.point(from + active.saturating_sub(from).mul_f64(n as f64 / new as f64));
        }
        if new > 0 {
            (self.timed, self.timed_at) = (points, active);
        }
    }

    /// What [`One::count`] changes, but for the rows of the measurement.
    pub(super) fn counted(&self) -> Counted {
        Counted { progress: self.progress, eta: self.eta.clone(), timed: self.timed, timed_at: self.timed_at }
    }

    /// As it was then.
    pub(super) fn count_back(&mut self, counted: Counted) {
        let Counted { progress, eta, timed, timed_at } = counted;
        (self.progress, self.eta, self.timed, self.timed_at) = (progress, eta, timed, timed_at);
    }

    /// When the row was measured, on the scan's own clock: by its time where the program says one, as rows may come late.
    pub(super) fn since_start(&self, at: Wall, received: Wall) -> f64 {
        let elapsed = self.kept.times.elapsed;
        let said = self.kept.started_at.filter(|_| at != received);
        let since = said.map_or(elapsed, |began| Duration::from_millis(at.0.saturating_sub(began.0)));
        (since.min(elapsed).as_secs_f64() * 1e3).round() / 1e3
    }

    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.published.is_none_or(|last| now.saturating_sub(last) >= STATUS_EVERY)
    }

    pub(super) fn control(&self) -> Control {
        let kept = &self.kept;
        let pending = match kept.machine.pending() {
            Some(ask) => Some(ask),
            None if kept.machine.is_ended() && !kept.told => Some(Ask::Abort),
            None => None,
        };
        Control {
            pending: pending.map(Ask::name),
            command_id: self.waiting.last().map(|(id, _)| id.clone()),
            status: kept.machine.status(),
            lease_s: kept.lease_s,
        }
    }

    pub(super) fn conflict(&self, code: &'static str, detail: String) -> LabError {
        let mut more = Map::new();
        more.insert("control".into(), json!(self.control()));
        LabError::Conflict(Box::new(Conflict {
            code,
            detail,
            from: Some(self.word()),
            allowed_actions: self.kept.machine.allowed(),
            revision: Some(self.kept.revision),
            more,
            ..Conflict::default()
        }))
    }

    pub(super) fn status(&self, now: Duration) -> ScanStatus {
        let kept = &self.kept;
        let machine = &kept.machine;
        let mut times = kept.times;
        times.advance(machine.status(), now);
        let running = machine.status() == ScanState::Running;
        let left = self.eta.left(times.active, !running).filter(|(_, basis)| *basis == Basis::Observed);
        let (quality, quality_reason) = match (self.lease.is_silent(), self.restored) {
            _ if machine.is_ended() => (None, None),
            (true, _) => (Some(Quality::Uncertain), Some(QualityReason::Stale)),
            (false, true) => (Some(Quality::Uncertain), Some(QualityReason::Initial)),
            (false, false) => (None, None),
        };
        let message = match machine.pending() {
            _ if self.lease.is_silent() && !machine.is_ended() => {
                Some(format!("the bench program has been silent for more than {} s", kept.lease_s))
            }
            Some(ask) if self.late => Some(format!("the bench program did not confirm {}", ask.name())),
            Some(ask) => {
                Some(format!("{} asked for; the bench program has not confirmed it yet", ask.name()))
            }
            None if self.restored && !machine.is_ended() => {
                Some("telltale was restarted; the bench program has not been heard since".into())
            }
            None => kept.message.clone(),
        };
        ScanStatus {
            scan_id: kept.scan_id.clone(),
            status: machine.status(),
            pending: machine.pending().map(|ask| ask.name().to_string()),
            progress: self.progress.value(),
            allowed_actions: machine.allowed().into_iter().map(str::to_string).collect(),
            revision: kept.revision,
            timestamp: Wall::now(),
            queue_id: None,
            name: kept.name.clone(),
            executor: Some(Executor::External.name().into()),
            phase: matches!(machine.status(), ScanState::Running | ScanState::Paused).then(|| "main".into()),
            points_done: Some(self.points()),
            points_total: kept.points_total,
            message,
            elapsed_s: times.at.map(|_| tenths(times.elapsed)),
            active_s: times.at.map(|_| tenths(times.active)),
            eta_s: left.map(|(time, _)| tenths(time)),
            exit_reason: machine.exit().map(|why| why.name().to_string()),
            error: kept.error.clone(),
            num_points: kept.num_points.clone(),
            more: ScanMore {
                created_at: Some(kept.created_at),
                started_at: kept.started_at,
                ended_at: kept.ended_at,
                eta_basis: left.map(|(_, basis)| basis.name().to_string()),
                retry_of: kept.retry_of.clone(),
                lease_s: Some(kept.lease_s),
                quality,
                quality_reason,
                ..ScanMore::default()
            },
        }
    }

    pub(super) fn draft(&self, now: Duration) -> Option<Draft> {
        match Draft::of("scan_status", &self.status(now)) {
            Ok(draft) if self.kept.machine.is_ended() => Some(draft.retired()),
            Ok(draft) => Some(draft),
            Err(e) => {
                log::error!("the status of {} can't be published: {e}", self.kept.scan_id);
                None
            }
        }
    }
}

pub(super) fn row(kept: &Kept) -> (String, Option<Vec<u8>>) {
    // Strings, numbers and names always become JSON.
    (format!("{SHELF}{}", kept.scan_id), Some(serde_json::to_vec(kept).unwrap_or_default()))
}

pub(super) fn word(state: ScanState) -> &'static str {
    match state {
        ScanState::Queued => "queued",
        ScanState::Running => "running",
        ScanState::Paused => "paused",
        ScanState::Completed => "completed",
        ScanState::Aborted => "aborted",
        ScanState::Failed => "failed",
    }
}
