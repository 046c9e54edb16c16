//! How a queue stands: scans one after the other.
//!
//! Five states, and what is pending beside them. A queue follows its current scan: it is paused when that scan is, and an
//! abort of that scan pauses it, unless the command said to go on. Nothing goes back into a queue by itself, and after
//! a restart nothing moves before somebody resumes. Which scan comes next, and whether its instruments are free, is the
//! owner's; he tells with [`QueueEvent::Added`] and [`QueueEvent::Emptied`] whether any waits.

use super::{Ask, Verdict};
use crate::model::{OnFailure, QueueState, ScanState};
use serde::{Deserialize, Serialize};

/// When a pause of a queue takes effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseMode {
    /// At the next point of the current scan.
    #[default]
    Checkpoint,
    /// After the current scan.
    AfterScan,
}

/// Why a queue is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseReason {
    /// Somebody paused it.
    User,
    /// Its current scan is paused: by somebody, by an error, or for a prompt.
    ScanPaused,
    /// A scan failed.
    ScanFailed,
    /// A scan was aborted.
    ScanAborted,
    /// The daemon was started again while the queue was running.
    Restart,
}

impl PauseReason {
    /// Its name on the wire (`pause_reason`).
    pub fn name(self) -> &'static str {
        match self {
            PauseReason::User => "user",
            PauseReason::ScanPaused => "scan_paused",
            PauseReason::ScanFailed => "scan_failed",
            PauseReason::ScanAborted => "scan_aborted",
            PauseReason::Restart => "restart",
        }
    }
}

/// What happens to a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueEvent {
    /// A scan came into the order.
    Added,
    /// No scan waits any more: the last one was removed, or has just been started.
    Emptied,
    /// A scan runs: after [`QueueEffect::StartNext`], or because somebody started this one alone.
    ScanStarted,
    /// The current scan is paused.
    ScanPaused,
    /// The current scan runs again, or a pause of it was taken back.
    ScanResumed,
    /// The current scan has ended.
    ScanEnded {
        /// How.
        state: ScanState,
        /// It was aborted with `then: continue`.
        then_continue: bool,
        /// Another one waits.
        more: bool,
    },
    /// The daemon has come up and finds the queue as it stood.
    Restarted,
}

/// What the owner has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueEffect {
    /// Start the first scan that waits, as soon as its instruments are free and the queue still runs; then tell of it.
    StartNext,
    /// Put the scans of this pass into the queue once more, as new ones, and start the first; with none to put in, tell
    /// that it is empty.
    StartOver,
    /// Ask the current scan to pause (it may have a resume pending, which that takes back).
    PauseScan,
    /// Ask the current scan to resume (it may have a pause pending, which that takes back).
    ResumeScan,
    /// Ask the current scan to stop.
    StopScan,
    /// Ask the current scan to abort.
    AbortScan,
}

/// The scan a queue is busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Current {
    None,
    Running,
    Paused,
}

/// See the module above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueMachine {
    status: QueueState,
    pending: Option<Ask>,
    pause_mode: PauseMode,
    pause_reason: Option<PauseReason>,
    current: Current,
    waiting: bool,
    /// A scan of this pass has completed: without one a loop would spin.
    completed_one: bool,
    /// What a failed scan does.
    pub on_failure: OnFailure,
    /// After the last scan the first comes again.
    #[serde(rename = "loop")]
    pub looped: bool,
    /// A scan that comes into an idle queue starts it.
    pub autostart: bool,
}

type Answer = (Verdict, Option<QueueEffect>);

const ALREADY: Answer = (Verdict::Already, None);
const IMPOSSIBLE: Answer = (Verdict::Impossible, None);

impl QueueMachine {
    /// An empty queue.
    pub fn new(on_failure: OnFailure, looped: bool, autostart: bool) -> QueueMachine {
        QueueMachine {
            status: QueueState::Idle,
            pending: None,
            pause_mode: PauseMode::Checkpoint,
            pause_reason: None,
            current: Current::None,
            waiting: false,
            completed_one: false,
            on_failure,
            looped,
            autostart,
        }
    }

    /// What it is doing.
    pub fn status(&self) -> QueueState {
        self.status
    }

    /// What has been asked and has not happened.
    pub fn pending(&self) -> Option<Ask> {
        self.pending
    }

    /// When the pause that is pending takes effect.
    pub fn pause_mode(&self) -> PauseMode {
        self.pause_mode
    }

    /// Why it is paused; none when it is not.
    pub fn pause_reason(&self) -> Option<PauseReason> {
        self.pause_reason
    }

    /// Whether it has a scan that lives (running or paused).
    pub fn has_scan(&self) -> bool {
        self.current != Current::None
    }

    /// Whether the owner may start the scan that is first.
    pub fn may_start(&self) -> bool {
        self.status == QueueState::Running && !self.has_scan() && self.waiting
    }

    /// A command; `mode` counts for a pause only.
    pub fn command(&mut self, ask: Ask, mode: PauseMode) -> (Verdict, Option<QueueEffect>) {
        use QueueState::{Completed, Idle, Paused, Running, Stopping};
        match (self.status, ask) {
            (Paused, Ask::Pause) | (Stopping, Ask::Stop) if self.pending == Some(Ask::Abort) => ALREADY,
            (_, ask) if self.pending == Some(ask) && ask != Ask::Pause => ALREADY,
            _ if self.pending == Some(Ask::Abort) => IMPOSSIBLE,

            (Idle | Completed, Ask::Start) if self.waiting => {
                self.completed_one = false;
                self.run(Some(QueueEffect::StartNext))
            }
            (Idle | Completed | Paused | Stopping, Ask::Start) => IMPOSSIBLE,
            (Running, Ask::Start) => ALREADY,

            (Idle, Ask::Pause) => self.paused(PauseReason::User),
            (Running, Ask::Pause) => self.pause(mode),
            (Paused, Ask::Pause) if self.pending == Some(Ask::Resume) => {
                self.pending = None;
                (Verdict::Accepted, Some(QueueEffect::PauseScan))
            }
            (Paused | Stopping, Ask::Pause) => ALREADY,
            (Completed, Ask::Pause | Ask::Resume) => IMPOSSIBLE,

            (Running, Ask::Resume) if self.pending == Some(Ask::Pause) => self.take_pause_back(Running),
            (Idle | Running, Ask::Resume) => ALREADY,
            (Paused, Ask::Resume) => self.resume(),
            (Stopping, Ask::Resume) => match self.current {
                // A scan that paused meanwhile would leave a running queue that stands still.
                Current::Paused => self.run(Some(QueueEffect::ResumeScan)),
                _ => self.run(None),
            },

            (Idle | Stopping | Completed, Ask::Stop) => ALREADY,
            (Running, Ask::Stop) if !self.has_scan() => self.stand(Idle, None),
            (Running, Ask::Stop) if self.pending == Some(Ask::Pause) => self.take_pause_back(Stopping),
            (Running, Ask::Stop) => self.stand(Stopping, None),
            (Paused, Ask::Stop) if !self.has_scan() => self.stand(Idle, None),
            (Paused, Ask::Stop) => self.stand(Stopping, Some(QueueEffect::StopScan)),

            (Running, Ask::Abort) if !self.has_scan() => self.paused(PauseReason::User),
            (Running | Paused | Stopping, Ask::Abort) if self.has_scan() => {
                self.pending = Some(Ask::Abort);
                (Verdict::Accepted, Some(QueueEffect::AbortScan))
            }
            (Idle | Running | Paused | Stopping | Completed, Ask::Abort) => ALREADY,
        }
    }

    /// All that waits is taken out; the scan under way goes on. A queue that was to start one of them is through.
    pub fn clear(&mut self) -> Verdict {
        if !self.waiting {
            return Verdict::Already;
        }
        self.event(QueueEvent::Emptied);
        Verdict::Accepted
    }

    /// Something has happened; what follows from it, if anything. An event that makes no sense in this state is ignored.
    pub fn event(&mut self, event: QueueEvent) -> Option<QueueEffect> {
        use QueueState::{Completed, Idle, Paused, Running, Stopping};
        match (event, self.status) {
            (QueueEvent::Added, Idle | Completed) => {
                self.waiting = true;
                if self.autostart {
                    self.completed_one = false;
                    return self.run(Some(QueueEffect::StartNext)).1;
                }
                self.stand(Idle, None);
            }
            (QueueEvent::Added, _) => self.waiting = true,
            (QueueEvent::Emptied, status) => {
                self.waiting = false;
                if status == Running && !self.has_scan() {
                    self.stand(Completed, None);
                }
            }
            (QueueEvent::ScanStarted, _) if self.has_scan() => {}
            (QueueEvent::ScanStarted, Idle | Completed | Paused) => {
                // Started alone: the others wait on.
                self.run(None);
                self.current = Current::Running;
                if self.waiting {
                    (self.pending, self.pause_mode) = (Some(Ask::Pause), PauseMode::AfterScan);
                }
            }
            (QueueEvent::ScanStarted, _) => self.current = Current::Running,
            (QueueEvent::ScanPaused | QueueEvent::ScanResumed, _) if !self.has_scan() => {}
            (QueueEvent::ScanPaused, status) => {
                self.current = Current::Paused;
                match (status, self.pending) {
                    (Running, Some(Ask::Abort)) => {}
                    (Running, Some(Ask::Pause)) => {
                        self.paused(PauseReason::User);
                    }
                    (Running, _) => {
                        self.paused(PauseReason::ScanPaused);
                    }
                    (Paused, Some(Ask::Resume)) => self.pending = None,
                    _ => {}
                }
            }
            (QueueEvent::ScanResumed, status) => {
                self.current = Current::Running;
                match (status, self.pending, self.pause_mode) {
                    (Running, Some(Ask::Pause), PauseMode::Checkpoint) => self.pending = None,
                    (Paused, pending, _) => {
                        self.run(None);
                        self.pending = pending.filter(|ask| *ask == Ask::Abort);
                    }
                    _ => {}
                }
            }
            (QueueEvent::ScanEnded { state, then_continue, more }, _) if self.has_scan() => {
                return self.ended(state, then_continue, more);
            }
            (QueueEvent::ScanEnded { more, .. }, _) => self.waiting = more,
            (QueueEvent::Restarted, Running) => {
                self.paused(PauseReason::Restart);
                self.current = Current::None;
            }
            // It was to stop after its scan, and that is over.
            (QueueEvent::Restarted, Stopping) => {
                self.stand(Idle, None);
                self.current = Current::None;
            }
            // Whoever paused it did so before the restart; a scan that was paused has failed now.
            (QueueEvent::Restarted, Paused) if self.has_scan() => {
                let by_user = self.pause_reason == Some(PauseReason::User);
                self.paused(if by_user { PauseReason::User } else { PauseReason::ScanFailed });
                self.current = Current::None;
            }
            (QueueEvent::Restarted, _) => {}
        }
        None
    }

    /// The commands that would be accepted, by name.
    pub fn allowed(&self) -> Vec<&'static str> {
        let accepted = |ask: &Ask| {
            QueueMachine::command(&mut { *self }, *ask, PauseMode::Checkpoint).0 == Verdict::Accepted
        };
        let clear = (QueueMachine::clear(&mut { *self }) == Verdict::Accepted).then_some("clear");
        Ask::ALL.into_iter().filter(accepted).map(Ask::name).chain(clear).collect()
    }

    fn ended(&mut self, state: ScanState, then_continue: bool, more: bool) -> Option<QueueEffect> {
        use QueueState::{Idle, Paused, Running, Stopping};
        self.waiting = more;
        self.current = Current::None;
        self.completed_one |= state == ScanState::Completed;
        let pending = self.pending.take();
        match (self.status, pending) {
            (Running, Some(Ask::Abort)) | (Paused, Some(Ask::Abort)) => {
                self.paused(PauseReason::ScanAborted);
                None
            }
            (Running, Some(Ask::Pause)) => {
                self.paused(PauseReason::User);
                None
            }
            (Stopping, _) => {
                self.stand(Idle, None);
                None
            }
            // The scan was paused, and the queue with it; whoever aborts such a scan says whether the queue goes on.
            (Paused, None) if !(state == ScanState::Aborted && then_continue) => None,
            (Running | Paused, _) => self.next(state, then_continue),
            (QueueState::Idle | QueueState::Completed, _) => None,
        }
    }

    /// A scan of a queue that is to go on has ended.
    fn next(&mut self, state: ScanState, then_continue: bool) -> Option<QueueEffect> {
        match state {
            ScanState::Failed if self.on_failure == OnFailure::Pause => {
                self.paused(PauseReason::ScanFailed);
                None
            }
            ScanState::Aborted if !then_continue => {
                self.paused(PauseReason::ScanAborted);
                None
            }
            _ if self.waiting => self.run(Some(QueueEffect::StartNext)).1,
            _ if self.looped && self.completed_one => {
                self.completed_one = false;
                self.run(Some(QueueEffect::StartOver)).1
            }
            _ => {
                self.stand(QueueState::Completed, None);
                None
            }
        }
    }

    fn pause(&mut self, mode: PauseMode) -> Answer {
        match (self.pending, self.current) {
            (_, Current::None) => self.paused(PauseReason::User),
            // It comes at the next point, or was to come later and is wanted sooner.
            (Some(Ask::Pause), _)
                if self.pause_mode == PauseMode::Checkpoint || mode == PauseMode::AfterScan =>
            {
                ALREADY
            }
            _ => {
                (self.pending, self.pause_mode) = (Some(Ask::Pause), mode);
                (Verdict::Accepted, (mode == PauseMode::Checkpoint).then_some(QueueEffect::PauseScan))
            }
        }
    }

    fn take_pause_back(&mut self, status: QueueState) -> Answer {
        let told = self.pause_mode == PauseMode::Checkpoint;
        self.stand(status, told.then_some(QueueEffect::ResumeScan))
    }

    fn resume(&mut self) -> Answer {
        match self.current {
            Current::None if self.waiting => self.run(Some(QueueEffect::StartNext)),
            Current::None => self.stand(QueueState::Idle, None),
            Current::Running | Current::Paused => {
                self.pending = Some(Ask::Resume);
                (Verdict::Accepted, Some(QueueEffect::ResumeScan))
            }
        }
    }

    fn run(&mut self, effect: Option<QueueEffect>) -> Answer {
        self.stand(QueueState::Running, effect)
    }

    fn paused(&mut self, reason: PauseReason) -> Answer {
        self.stand(QueueState::Paused, None);
        self.pause_reason = Some(reason);
        (Verdict::Accepted, None)
    }

    fn stand(&mut self, status: QueueState, effect: Option<QueueEffect>) -> Answer {
        self.status = status;
        self.pending = None;
        self.pause_mode = PauseMode::Checkpoint;
        self.pause_reason = None;
        (Verdict::Accepted, effect)
    }
}

#[cfg(test)]
mod tests;
