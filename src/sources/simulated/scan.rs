//! One scan of the simulated queue: its state machine, pure.
//!
//! `status` is what is so, `pending` what was asked and has not happened. A pause is taken at the next point, a stop or
//! an abort after the cleanup; progress freezes where a scan ends.

use super::{STEP_S, round};
use crate::clock::Wall;
use crate::model::{ScanMore, ScanState, ScanStatus};
use std::collections::BTreeMap;

/// Steps from one point to the next: 4 points a second.
pub(super) const POINT_STEPS: u64 = 2;
/// Steps of the ramp before the first point, of the cleanup after the last, and to settle after a pause.
const STARTUP_STEPS: u64 = 10;
const CLEANUP_STEPS: u64 = 6;
const SETTLE_STEPS: u64 = 5;
/// The measurement's name on the wire.
pub(super) const MEASUREMENT: &str = "iv";

/// What can be asked of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Pause,
    Resume,
    Stop,
    Abort,
}

impl Ask {
    pub fn parse(text: &str) -> Option<Ask> {
        [Ask::Pause, Ask::Resume, Ask::Stop, Ask::Abort].into_iter().find(|ask| ask.word() == text)
    }

    pub fn word(self) -> &'static str {
        match self {
            Ask::Pause => "pause",
            Ask::Resume => "resume",
            Ask::Stop => "stop",
            Ask::Abort => "abort",
        }
    }
}

/// What came of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is so already.
    Already,
    /// It is pending.
    Pending,
    /// It happened at once; what was pending before is void.
    Done,
    /// It can't be.
    Impossible,
}

/// What one step brought.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Happening {
    /// Time to measure this point, at this voltage.
    Point(u64, f64),
    Paused,
    Resumed,
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Startup,
    Main,
    Cleanup,
}

/// One scan.
#[derive(Clone, Debug)]
pub(super) struct Scan {
    pub id: String,
    pub name: String,
    pub status: ScanState,
    pub pending: Option<Ask>,
    pub points_done: u64,
    pub points_total: u64,
    pub error: Option<String>,
    exit_reason: Option<&'static str>,
    /// The voltage of the last point.
    top_volts: f64,
    /// It fails when so many points are done.
    fails_at: Option<u64>,
    phase: Phase,
    /// Steps until the phase, the point or the settling is over.
    left: u64,
    elapsed: u64,
    active: u64,
    revision: u64,
}

impl Scan {
    /// A scan in the queue.
    pub fn queued(
        id: String,
        name: String,
        points_total: u64,
        top_volts: f64,
        fails_at: Option<u64>,
    ) -> Self {
        Scan {
            id,
            name,
            status: ScanState::Queued,
            pending: None,
            points_done: 0,
            points_total,
            error: None,
            exit_reason: None,
            top_volts,
            fails_at,
            phase: Phase::Startup,
            left: STARTUP_STEPS,
            elapsed: 0,
            active: 0,
            revision: 0,
        }
    }

    /// Its turn has come.
    pub fn start(&mut self) {
        self.status = ScanState::Running;
        self.revision += 1;
    }

    pub fn is_over(&self) -> bool {
        matches!(self.status, ScanState::Completed | ScanState::Aborted | ScanState::Failed)
    }

    /// What may be asked now.
    pub fn allowed(&self) -> &'static [&'static str] {
        match (self.status, self.pending) {
            (ScanState::Queued, _) => &["abort"],
            (_, Some(Ask::Abort)) => &[],
            (ScanState::Running | ScanState::Paused, Some(Ask::Stop)) => &["abort"],
            (ScanState::Running, Some(Ask::Pause)) => &["resume", "stop", "abort"],
            (ScanState::Running, _) => &["pause", "stop", "abort"],
            (ScanState::Paused, Some(Ask::Resume)) => &["pause", "stop", "abort"],
            (ScanState::Paused, _) => &["resume", "stop", "abort"],
            _ => &[],
        }
    }

    /// Asks for something.
    pub fn ask(&mut self, ask: Ask) -> Answer {
        let already = self.pending == Some(ask)
            || match ask {
                Ask::Pause => self.status == ScanState::Paused && self.pending.is_none(),
                Ask::Resume => self.status == ScanState::Running && self.pending.is_none(),
                Ask::Stop | Ask::Abort => false,
            };
        if already && !self.is_over() {
            return Answer::Already;
        }
        if !self.allowed().contains(&ask.word()) {
            return Answer::Impossible;
        }
        self.revision += 1;
        match (self.status, ask) {
            (ScanState::Queued, _) => {
                self.end(ScanState::Aborted, "user_abort");
                Answer::Done
            }
            // What is pending is taken back before it happened.
            (ScanState::Running, Ask::Resume) | (ScanState::Paused, Ask::Pause) => {
                self.pending = None;
                Answer::Done
            }
            (_, Ask::Resume) => {
                self.pending = Some(ask);
                self.left = SETTLE_STEPS;
                Answer::Pending
            }
            (_, Ask::Pause) => {
                self.pending = Some(ask);
                Answer::Pending
            }
            (_, Ask::Stop | Ask::Abort) => {
                self.pending = Some(ask);
                if self.phase != Phase::Cleanup {
                    self.clean_up();
                }
                Answer::Pending
            }
        }
    }

    /// One step of time.
    pub fn step(&mut self) -> Option<Happening> {
        if matches!(self.status, ScanState::Queued) || self.is_over() {
            return None;
        }
        self.elapsed += 1;
        let waits = self.status == ScanState::Paused && self.pending.is_none();
        if waits {
            return None;
        }
        if self.status == ScanState::Running {
            self.active += 1;
        }
        self.left = self.left.saturating_sub(1);
        if self.left > 0 {
            return None;
        }
        self.revision += 1;
        match (self.phase, self.pending) {
            (Phase::Cleanup, pending) => {
                match pending {
                    _ if self.error.is_some() => self.end(ScanState::Failed, "error"),
                    Some(Ask::Abort) => self.end(ScanState::Aborted, "user_abort"),
                    Some(Ask::Stop) => self.end(ScanState::Completed, "stopped_early"),
                    _ => self.end(ScanState::Completed, "finished"),
                }
                Some(Happening::Ended)
            }
            (_, Some(Ask::Resume)) => {
                self.status = ScanState::Running;
                self.pending = None;
                self.left = if self.phase == Phase::Startup { STARTUP_STEPS } else { POINT_STEPS };
                Some(Happening::Resumed)
            }
            (_, Some(Ask::Pause)) => {
                self.status = ScanState::Paused;
                self.pending = None;
                Some(Happening::Paused)
            }
            _ => {
                self.phase = Phase::Main;
                Some(self.point())
            }
        }
    }

    fn point(&mut self) -> Happening {
        let index = self.points_done;
        self.points_done += 1;
        self.left = POINT_STEPS;
        if self.fails_at == Some(self.points_done) {
            self.error = Some("dmm: no answer to `READ?` within 2 s (2 retries)".into());
            self.clean_up();
        } else if self.points_done == self.points_total {
            self.clean_up();
        }
        Happening::Point(index, self.volts(index))
    }

    fn clean_up(&mut self) {
        self.phase = Phase::Cleanup;
        self.left = CLEANUP_STEPS;
    }

    fn end(&mut self, status: ScanState, reason: &'static str) {
        self.status = status;
        self.pending = None;
        self.exit_reason = Some(reason);
    }

    /// The voltage of a point.
    pub fn volts(&self, index: u64) -> f64 {
        round(self.top_volts * index as f64 / (self.points_total.max(2) - 1) as f64, 4)
    }

    /// The voltage the supply is asked for now: that of the next point, 0 outside the main phase.
    pub fn drives(&self) -> f64 {
        match self.phase {
            Phase::Main => self.volts(self.points_done.min(self.points_total - 1)),
            _ => 0.0,
        }
    }

    /// Seconds since its start, by the steps.
    pub fn elapsed_s(&self) -> f64 {
        self.elapsed as f64 * STEP_S
    }

    /// Seconds it still takes when nobody interferes.
    pub fn left_s(&self) -> f64 {
        let steps = match (self.status, self.phase) {
            (ScanState::Completed | ScanState::Aborted | ScanState::Failed, _) => 0,
            (_, Phase::Cleanup) => self.left,
            (_, phase) => {
                let startup = if phase == Phase::Startup { self.left } else { 0 };
                startup + (self.points_total - self.points_done) * POINT_STEPS + CLEANUP_STEPS
            }
        };
        steps as f64 * STEP_S
    }

    /// 0 to 1; 1 only when it is completed with every point.
    pub fn progress(&self) -> f64 {
        round(self.points_done as f64 / self.points_total as f64, 4)
    }

    /// As it goes on the wire.
    pub fn on_wire(&self, queue_id: &str, at: Wall) -> ScanStatus {
        let running = self.status == ScanState::Running;
        let phase = match self.phase {
            _ if self.status == ScanState::Queued || self.is_over() => None,
            Phase::Startup => Some("startup"),
            Phase::Main => Some("main"),
            Phase::Cleanup => Some("cleanup"),
        };
        let message = match (self.status, self.phase) {
            (ScanState::Queued, _) => "Waits for its turn".into(),
            (ScanState::Running, Phase::Startup) => "Ramping to 0 V".into(),
            (ScanState::Running, Phase::Main) => {
                format!(
                    "Measuring point {}/{}",
                    (self.points_done + 1).min(self.points_total),
                    self.points_total
                )
            }
            (ScanState::Running, Phase::Cleanup) => "Ramping down".into(),
            (ScanState::Paused, _) => format!("Paused after point {}", self.points_done),
            _ => format!("{} of {} points", self.points_done, self.points_total),
        };
        let mut num_points = BTreeMap::new();
        if self.is_over() {
            num_points.insert(MEASUREMENT.to_string(), self.points_done);
        }
        ScanStatus {
            scan_id: self.id.clone(),
            status: self.status,
            pending: self.pending.map(|ask| ask.word().into()),
            progress: Some(self.progress()),
            allowed_actions: self.allowed().iter().map(|a| (*a).to_string()).collect(),
            revision: self.revision,
            timestamp: at,
            queue_id: Some(queue_id.into()),
            name: Some(self.name.clone()),
            executor: Some("simulated".into()),
            phase: phase.map(str::to_string),
            points_done: Some(self.points_done),
            points_total: Some(self.points_total),
            message: Some(message),
            elapsed_s: Some(round(self.elapsed_s(), 1)),
            active_s: Some(round(self.active as f64 * STEP_S, 1)),
            eta_s: running.then(|| round(self.left_s(), 1)),
            exit_reason: self.exit_reason.map(str::to_string),
            error: self.error.clone(),
            num_points,
            more: ScanMore::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn running() -> Scan {
        let mut scan = Scan::queued("S".into(), "n".into(), 5, 1.0, None);
        scan.start();
        scan
    }

    fn until(scan: &mut Scan, wanted: Happening) -> u64 {
        (1..1000).find(|_| scan.step() == Some(wanted)).expect("it happens")
    }

    #[test]
    fn a_scan_measures_every_point_once_and_ends() {
        let mut scan = running();
        let mut points = Vec::new();
        loop {
            match scan.step() {
                Some(Happening::Point(index, volts)) => points.push((index, volts)),
                Some(Happening::Ended) => break,
                _ => {}
            }
        }
        assert_eq!(points, [(0, 0.0), (1, 0.25), (2, 0.5), (3, 0.75), (4, 1.0)]);
        assert_eq!((scan.status, scan.progress()), (ScanState::Completed, 1.0));
        assert_eq!(scan.allowed(), &[] as &[&str]);
    }

    #[test]
    fn a_pause_is_pending_until_the_next_point_and_can_be_taken_back() {
        let mut scan = running();
        until(&mut scan, Happening::Point(1, 0.25));
        assert_eq!(scan.ask(Ask::Pause), Answer::Pending);
        assert_eq!((scan.status, scan.pending), (ScanState::Running, Some(Ask::Pause)));
        assert_eq!(scan.ask(Ask::Pause), Answer::Already);
        assert_eq!(scan.ask(Ask::Resume), Answer::Done);
        assert_eq!(scan.ask(Ask::Pause), Answer::Pending);
        until(&mut scan, Happening::Paused);
        assert_eq!((scan.status, scan.points_done), (ScanState::Paused, 2));
        assert!((0..100).all(|_| scan.step().is_none()), "nothing moves while it is paused");
        assert_eq!(scan.ask(Ask::Resume), Answer::Pending);
        assert_eq!(scan.status, ScanState::Paused);
        until(&mut scan, Happening::Resumed);
        until(&mut scan, Happening::Point(2, 0.5));
    }

    #[test]
    fn an_abort_freezes_progress() {
        let mut scan = running();
        until(&mut scan, Happening::Point(2, 0.5));
        assert_eq!(scan.ask(Ask::Abort), Answer::Pending);
        assert_eq!(scan.ask(Ask::Resume), Answer::Impossible);
        until(&mut scan, Happening::Ended);
        assert_eq!((scan.status, scan.progress()), (ScanState::Aborted, 0.6));
        assert_eq!(scan.ask(Ask::Abort), Answer::Impossible);
    }

    #[test]
    fn a_failing_scan_fails_where_it_is() {
        let mut scan = Scan::queued("S".into(), "n".into(), 5, 1.0, Some(3));
        scan.start();
        until(&mut scan, Happening::Ended);
        assert_eq!((scan.status, scan.points_done), (ScanState::Failed, 3));
    }

    proptest! {
        /// Whatever is asked when: what is allowed is never impossible, what is not allowed changes nothing, progress
        /// never falls, and after the last question the scan still comes to an end (resumed if need be).
        #[test]
        fn any_order_of_questions_keeps_the_rules(asks in proptest::collection::vec((0_u64..12, 0_usize..4), 0..40)) {
            let mut scan = running();
            let mut progress = 0.0;
            for (wait, which) in asks {
                for _ in 0..wait {
                    scan.step();
                }
                prop_assert!(scan.progress() >= progress);
                progress = scan.progress();
                let ask = [Ask::Pause, Ask::Resume, Ask::Stop, Ask::Abort][which];
                let allowed = scan.allowed().contains(&ask.word());
                let before = (scan.status, scan.pending);
                match scan.ask(ask) {
                    Answer::Impossible | Answer::Already => {
                        prop_assert!(!allowed);
                        prop_assert_eq!(before, (scan.status, scan.pending));
                    }
                    Answer::Pending | Answer::Done => prop_assert!(allowed),
                }
            }
            for _ in 0..500 {
                scan.step();
                if scan.status == ScanState::Paused {
                    scan.ask(Ask::Resume);
                }
            }
            prop_assert!(scan.is_over());
            prop_assert!(scan.status == ScanState::Completed || scan.progress() < 1.0 || scan.status == ScanState::Aborted);
        }
    }
}
