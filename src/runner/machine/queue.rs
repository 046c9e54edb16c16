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
mod tests {
    use super::*;
    use QueueState::{Completed, Idle, Paused, Running, Stopping};
    use std::collections::BTreeMap;

    fn events() -> Vec<QueueEvent> {
        let mut events = vec![
            QueueEvent::Added,
            QueueEvent::Emptied,
            QueueEvent::ScanStarted,
            QueueEvent::ScanPaused,
            QueueEvent::ScanResumed,
            QueueEvent::Restarted,
        ];
        for state in [ScanState::Completed, ScanState::Aborted, ScanState::Failed] {
            for (then_continue, more) in [(false, false), (false, true), (true, false), (true, true)] {
                events.push(QueueEvent::ScanEnded { state, then_continue, more });
            }
        }
        events
    }

    fn ways(from: QueueMachine) -> Vec<(String, QueueMachine, Option<QueueEffect>)> {
        let mut ways = Vec::new();
        for ask in Ask::ALL {
            for mode in [PauseMode::Checkpoint, PauseMode::AfterScan] {
                let mut to = from;
                let (verdict, effect) = to.command(ask, mode);
                if verdict == Verdict::Accepted {
                    ways.push((format!("{} {mode:?}", ask.name()), to, effect));
                }
            }
        }
        let mut cleared = from;
        if cleared.clear() == Verdict::Accepted {
            ways.push(("clear".to_string(), cleared, None));
        }
        for event in events() {
            let mut to = from;
            let effect = to.event(event);
            if to != from || effect.is_some() {
                ways.push((format!("{event:?}"), to, effect));
            }
        }
        ways
    }

    type Reached = BTreeMap<String, (QueueMachine, Vec<(String, QueueMachine, Option<QueueEffect>)>)>;

    fn reachable(start: QueueMachine) -> Reached {
        let mut found = Reached::new();
        let mut open = vec![start];
        while let Some(state) = open.pop() {
            let ways = ways(state);
            if found.insert(format!("{state:?}"), (state, ways.clone())).is_none() {
                open.extend(ways.into_iter().map(|(_, to, _)| to));
            }
        }
        found
    }

    fn rests(state: &QueueMachine) -> bool {
        matches!(state.status, Idle | Completed) && !state.has_scan()
    }

    fn can_reach(found: &Reached, goal: impl Fn(&QueueMachine) -> bool) -> usize {
        let mut good: Vec<&String> = Vec::new();
        loop {
            let more: Vec<&String> = found
                .iter()
                .filter(|(name, (state, ways))| {
                    !good.contains(name)
                        && (goal(state) || ways.iter().any(|(_, to, _)| good.contains(&&format!("{to:?}"))))
                })
                .map(|(name, _)| name)
                .collect();
            if more.is_empty() {
                return good.len();
            }
            good.extend(more);
        }
    }

    #[test]
    fn every_state_of_every_kind_of_queue_holds_what_the_machine_promises() {
        for (on_failure, looped, autostart) in
            [OnFailure::Pause, OnFailure::Continue].into_iter().flat_map(|on_failure| {
                [(false, false), (false, true), (true, false), (true, true)].map(|(l, a)| (on_failure, l, a))
            })
        {
            let found = reachable(QueueMachine::new(on_failure, looped, autostart));
            let transitions: usize = found.values().map(|(_, ways)| ways.len()).sum();
            println!(
                "{on_failure:?} loop={looped} autostart={autostart}: {} states, {transitions} transitions",
                found.len()
            );
            assert_eq!(can_reach(&found, rests), found.len(), "a queue that can never rest");
            assert_eq!(can_reach(&found, |q| q.status == Running), found.len(), "a queue that can never run");
            for (state, ways) in found.values() {
                // What stands is true.
                assert!(!(matches!(state.status, Idle | Completed) && state.has_scan()), "{state:?}");
                assert!(state.status != Stopping || state.has_scan(), "{state:?}");
                assert_eq!(state.status == Paused, state.pause_reason.is_some(), "{state:?}");
                assert!(state.pending.is_none() || state.has_scan(), "nothing can confirm it: {state:?}");
                // A live scan can always be aborted, once.
                if state.has_scan() {
                    let verdict = QueueMachine::command(&mut { *state }, Ask::Abort, PauseMode::Checkpoint).0;
                    let expected =
                        if state.pending == Some(Ask::Abort) { Verdict::Already } else { Verdict::Accepted };
                    assert_eq!(verdict, expected, "{state:?}");
                }
                for ask in Ask::ALL {
                    for mode in [PauseMode::Checkpoint, PauseMode::AfterScan] {
                        let mut after = *state;
                        let (verdict, effect) = after.command(ask, mode);
                        if verdict != Verdict::Accepted {
                            assert_eq!((after, effect), (*state, None), "{state:?} {ask:?}");
                        } else {
                            assert!(after != *state, "{state:?} {ask:?}");
                        }
                        if mode == PauseMode::Checkpoint {
                            assert_eq!(
                                verdict == Verdict::Accepted,
                                state.allowed().contains(&ask.name()),
                                "{state:?} {ask:?}"
                            );
                        }
                    }
                }
                // What waits can always be taken out, and the scan under way is left alone.
                let mut cleared = *state;
                let verdict = cleared.clear();
                assert_eq!(verdict == Verdict::Accepted, state.waiting, "{state:?}");
                assert_eq!(verdict == Verdict::Accepted, state.allowed().contains(&"clear"), "{state:?}");
                assert!(!cleared.waiting && !cleared.may_start(), "{state:?}");
                assert!(cleared.current == state.current && cleared.pending == state.pending, "{state:?}");
                assert_eq!(cleared.clear(), Verdict::Already, "{state:?}");
                for (input, to, effect) in ways {
                    let of_scan = matches!(
                        effect,
                        Some(
                            QueueEffect::PauseScan
                                | QueueEffect::ResumeScan
                                | QueueEffect::StopScan
                                | QueueEffect::AbortScan
                        )
                    );
                    assert!(!of_scan || state.has_scan(), "{state:?} {input} {effect:?}");
                    let starts = matches!(effect, Some(QueueEffect::StartNext | QueueEffect::StartOver));
                    assert!(!starts || (to.status == Running && !to.has_scan()), "{state:?} {input} {to:?}");
                    assert!(*effect != Some(QueueEffect::StartNext) || to.may_start(), "{state:?} {input}");
                    // Nothing moves after a restart before somebody says so.
                    if input == "Restarted" {
                        assert!(!to.may_start() && !to.has_scan(), "{state:?} {to:?}");
                    }
                }
            }
        }
    }

    fn queue() -> QueueMachine {
        QueueMachine::new(OnFailure::Pause, false, false)
    }

    fn running() -> QueueMachine {
        let mut queue = queue();
        queue.event(QueueEvent::Added);
        assert_eq!(ask(&mut queue, Ask::Start), (Verdict::Accepted, Some(QueueEffect::StartNext)));
        queue.event(QueueEvent::ScanStarted);
        queue
    }

    fn ask(queue: &mut QueueMachine, ask: Ask) -> (Verdict, Option<QueueEffect>) {
        queue.command(ask, PauseMode::Checkpoint)
    }

    fn ended(state: ScanState, more: bool) -> QueueEvent {
        QueueEvent::ScanEnded { state, then_continue: false, more }
    }

    fn paused_with_scan() -> QueueMachine {
        let mut queue = running();
        ask(&mut queue, Ask::Pause);
        queue.event(QueueEvent::ScanPaused);
        queue
    }

    fn stopping() -> QueueMachine {
        let mut queue = running();
        ask(&mut queue, Ask::Stop);
        queue
    }

    fn completed() -> QueueMachine {
        let mut queue = running();
        queue.event(ended(ScanState::Completed, false));
        queue
    }

    #[test]
    fn what_a_command_does_in_each_state() {
        use Verdict::{Accepted as Y, Already as O, Impossible as N};
        let mut filled = queue();
        filled.event(QueueEvent::Added);
        let mut paused = queue();
        ask(&mut paused, Ask::Pause);
        // start, pause, resume, stop, abort
        let table = [
            ("empty", queue(), Idle, [N, Y, O, O, O]),
            ("idle", filled, Idle, [Y, Y, O, O, O]),
            ("running", running(), Running, [O, Y, O, Y, Y]),
            ("paused", paused, Paused, [N, O, Y, Y, O]),
            ("paused in a scan", paused_with_scan(), Paused, [N, O, Y, Y, Y]),
            ("stopping", stopping(), Stopping, [N, O, Y, O, Y]),
            ("completed", completed(), Completed, [N, N, N, O, O]),
        ];
        for (name, state, status, verdicts) in table {
            assert_eq!(state.status(), status, "{name}");
            for (command, expected) in Ask::ALL.into_iter().zip(verdicts) {
                assert_eq!(ask(&mut { state }, command).0, expected, "{name} {command:?}");
            }
        }
    }

    #[test]
    fn a_pause_is_true_only_when_the_scan_is_paused() {
        let mut queue = running();
        assert_eq!(ask(&mut queue, Ask::Pause), (Verdict::Accepted, Some(QueueEffect::PauseScan)));
        assert_eq!((queue.status(), queue.pending()), (Running, Some(Ask::Pause)));
        assert_eq!(ask(&mut queue, Ask::Resume), (Verdict::Accepted, Some(QueueEffect::ResumeScan)));
        assert_eq!((queue.status(), queue.pending()), (Running, None));
        ask(&mut queue, Ask::Pause);
        queue.event(QueueEvent::ScanPaused);
        assert_eq!((queue.status(), queue.pause_reason()), (Paused, Some(PauseReason::User)));
        assert_eq!(ask(&mut queue, Ask::Resume), (Verdict::Accepted, Some(QueueEffect::ResumeScan)));
        assert_eq!((queue.status(), queue.pending()), (Paused, Some(Ask::Resume)));
        queue.event(QueueEvent::ScanResumed);
        assert_eq!((queue.status(), queue.pause_reason()), (Running, None));
    }

    #[test]
    fn a_pause_after_the_scan_leaves_the_scan_alone() {
        let mut queue = running();
        assert_eq!(queue.command(Ask::Pause, PauseMode::AfterScan), (Verdict::Accepted, None));
        // Sooner is another wish; later is none.
        assert_eq!(
            { queue }.command(Ask::Pause, PauseMode::Checkpoint),
            (Verdict::Accepted, Some(QueueEffect::PauseScan))
        );
        assert_eq!(queue.command(Ask::Pause, PauseMode::AfterScan), (Verdict::Already, None));
        assert_eq!({ queue }.command(Ask::Resume, PauseMode::Checkpoint), (Verdict::Accepted, None));
        assert_eq!(queue.event(ended(ScanState::Completed, true)), None);
        assert_eq!((queue.status(), queue.pause_reason()), (Paused, Some(PauseReason::User)));
        assert_eq!(ask(&mut queue, Ask::Resume), (Verdict::Accepted, Some(QueueEffect::StartNext)));
    }

    #[test]
    fn the_last_point_before_a_pause_completes_the_scan_and_pauses_the_queue() {
        let mut queue = running();
        ask(&mut queue, Ask::Pause);
        assert_eq!(queue.event(ended(ScanState::Completed, true)), None);
        assert_eq!(queue.status(), Paused);
    }

    #[test]
    fn aborting_the_current_scan_pauses_the_queue_unless_told_to_go_on() {
        let aborted =
            |then_continue, more| QueueEvent::ScanEnded { state: ScanState::Aborted, then_continue, more };
        let mut queue = running();
        assert_eq!(queue.event(aborted(false, true)), None);
        assert_eq!((queue.status(), queue.pause_reason()), (Paused, Some(PauseReason::ScanAborted)));
        let mut queue = running();
        assert_eq!(queue.event(aborted(true, true)), Some(QueueEffect::StartNext));
        assert_eq!(queue.status(), Running);
        let mut queue = running();
        assert_eq!(queue.event(aborted(true, false)), None);
        assert_eq!(queue.status(), Completed);
        let mut queue = paused_with_scan();
        assert_eq!(queue.event(aborted(true, true)), Some(QueueEffect::StartNext));
        // An abort of the queue itself pauses it, whatever the scan was told.
        let mut queue = running();
        assert_eq!(ask(&mut queue, Ask::Abort), (Verdict::Accepted, Some(QueueEffect::AbortScan)));
        assert_eq!((queue.status(), queue.pending()), (Running, Some(Ask::Abort)));
        assert_eq!(queue.event(aborted(true, true)), None);
        assert_eq!(queue.status(), Paused);
    }

    #[test]
    fn a_failure_pauses_or_not() {
        let mut queue = running();
        assert_eq!(queue.event(ended(ScanState::Failed, true)), None);
        assert_eq!((queue.status(), queue.pause_reason()), (Paused, Some(PauseReason::ScanFailed)));
        let mut queue = running();
        queue.on_failure = OnFailure::Continue;
        assert_eq!(queue.event(ended(ScanState::Failed, true)), Some(QueueEffect::StartNext));
        assert_eq!(queue.event(QueueEvent::ScanStarted), None);
        assert_eq!(queue.event(ended(ScanState::Failed, false)), None);
        assert_eq!(queue.status(), Completed);
    }

    #[test]
    fn stopping_ends_with_the_current_scan_and_can_be_taken_back() {
        let mut queue = stopping();
        assert_eq!(ask(&mut queue, Ask::Resume), (Verdict::Accepted, None));
        assert_eq!(queue.status(), Running);
        let mut queue = stopping();
        assert_eq!(ask(&mut queue, Ask::Abort), (Verdict::Accepted, Some(QueueEffect::AbortScan)));
        assert_eq!(queue.event(ended(ScanState::Aborted, true)), None);
        assert_eq!(queue.status(), Idle);
        // A paused scan that holds the bench is stopped as well.
        let mut queue = paused_with_scan();
        assert_eq!(ask(&mut queue, Ask::Stop), (Verdict::Accepted, Some(QueueEffect::StopScan)));
        assert_eq!(queue.status(), Stopping);
        queue.event(ended(ScanState::Completed, true));
        assert_eq!(queue.status(), Idle);
        ask(&mut queue, Ask::Start);
        assert_eq!(ask(&mut queue, Ask::Stop), (Verdict::Accepted, None));
        assert_eq!(queue.status(), Idle, "nothing ran yet");
    }

    #[test]
    fn a_loop_starts_over_unless_nothing_completes() {
        let mut queue = running();
        (queue.looped, queue.on_failure) = (true, OnFailure::Continue);
        assert_eq!(queue.event(ended(ScanState::Completed, false)), Some(QueueEffect::StartOver));
        queue.event(QueueEvent::Added);
        queue.event(QueueEvent::ScanStarted);
        assert_eq!(queue.event(ended(ScanState::Failed, false)), None);
        assert_eq!(queue.status(), Completed);
        // Nothing could be put in once more.
        let mut queue = running();
        queue.looped = true;
        queue.event(ended(ScanState::Completed, false));
        queue.event(QueueEvent::Emptied);
        assert_eq!(queue.status(), Completed);
    }

    #[test]
    fn scans_that_come_start_an_idle_queue_only_with_autostart() {
        let mut plain = completed();
        assert_eq!(plain.event(QueueEvent::Added), None);
        assert_eq!(plain.status(), Idle);
        let mut auto = QueueMachine::new(OnFailure::Pause, false, true);
        assert_eq!(auto.event(QueueEvent::Added), Some(QueueEffect::StartNext));
        let mut paused = QueueMachine::new(OnFailure::Pause, false, true);
        ask(&mut paused, Ask::Pause);
        assert_eq!(paused.event(QueueEvent::Added), None);
        assert_eq!(paused.status(), Paused);
    }

    #[test]
    fn one_scan_started_alone_does_not_start_the_others() {
        let mut queue = queue();
        queue.event(QueueEvent::Added);
        queue.event(QueueEvent::ScanStarted);
        assert_eq!((queue.status(), queue.pending()), (Running, Some(Ask::Pause)));
        assert_eq!(queue.event(ended(ScanState::Completed, true)), None);
        assert_eq!(queue.status(), Paused);
        let mut last = self::queue();
        last.event(QueueEvent::Added);
        last.event(QueueEvent::Emptied);
        last.event(QueueEvent::ScanStarted);
        last.event(ended(ScanState::Completed, false));
        assert_eq!(last.status(), Completed);
    }

    #[test]
    fn a_queue_is_cleared_beside_the_scan_that_runs() {
        let two = || {
            let mut queue = running();
            queue.event(QueueEvent::Added);
            queue
        };
        let mut queue = two();
        assert_eq!((queue.clear(), queue.status()), (Verdict::Accepted, Running));
        assert_eq!(queue.event(ended(ScanState::Completed, false)), None);
        assert_eq!(queue.status(), Completed);
        // Its instruments were not free yet: nothing is left to be started.
        let mut waits = self::queue();
        waits.event(QueueEvent::Added);
        ask(&mut waits, Ask::Start);
        assert_eq!((waits.clear(), waits.status()), (Verdict::Accepted, Completed));
        let mut paused = two();
        paused.event(QueueEvent::ScanPaused);
        assert_eq!((paused.clear(), paused.status()), (Verdict::Accepted, Paused));
        assert_eq!(self::queue().clear(), Verdict::Already);
    }

    #[test]
    fn after_a_restart_what_ran_is_paused() {
        let mut idle = queue();
        idle.event(QueueEvent::Restarted);
        assert_eq!(idle.status(), Idle);
        let scan_paused = || {
            let mut queue = running();
            queue.event(QueueEvent::ScanPaused);
            queue
        };
        for (mut queue, status, reason) in [
            (running(), Paused, Some(PauseReason::Restart)),
            (stopping(), Idle, None),
            (paused_with_scan(), Paused, Some(PauseReason::User)),
            (scan_paused(), Paused, Some(PauseReason::ScanFailed)),
        ] {
            assert_eq!(queue.event(QueueEvent::Restarted), None);
            assert_eq!((queue.status(), queue.pause_reason()), (status, reason));
            assert!(!queue.has_scan());
        }
        let text = serde_json::to_string(&running()).unwrap();
        assert_eq!(serde_json::from_str::<QueueMachine>(&text).unwrap(), running(), "{text}");
    }
}
