//! How one scan stands.
//!
//! Six states that say what is, and beside them what has been asked but has not happened. The runner's own scans
//! ([`Executor::Builtin`]) move at their checkpoints; those of programs elsewhere ([`Executor::External`]) move only when
//! the program says so. The last point or an error is not the end: the scan stays as it is while its cleanup runs, and
//! [`ScanEvent::CleanedUp`] ends it.

use super::{Ask, Verdict};
use crate::model::ScanState;
use serde::{Deserialize, Serialize};

/// Who carries a scan out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Executor {
    /// The runner of this daemon.
    Builtin,
    /// A program that reports to this daemon.
    External,
}

impl Executor {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Executor::Builtin => "builtin",
            Executor::External => "external",
        }
    }
}

/// Why a scan has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitReason {
    /// It did all it was to do.
    Finished,
    /// Somebody stopped it; what it has is good.
    StoppedEarly,
    /// Somebody aborted it.
    UserAbort,
    /// A step failed.
    Error,
    /// A condition of `abort_if` held.
    Limit,
    /// An alert kept what it drives from taking commands.
    Interlock,
    /// Something took too long.
    Timeout,
    /// The daemon or the machine went down in the middle.
    Interrupted,
    /// The program that carried it out is silent.
    PublisherLost,
}

impl ExitReason {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            ExitReason::Finished => "finished",
            ExitReason::StoppedEarly => "stopped_early",
            ExitReason::UserAbort => "user_abort",
            ExitReason::Error => "error",
            ExitReason::Limit => "limit",
            ExitReason::Interlock => "interlock",
            ExitReason::Timeout => "timeout",
            ExitReason::Interrupted => "interrupted",
            ExitReason::PublisherLost => "publisher_lost",
        }
    }
}

/// What happens to a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanEvent {
    /// It runs: its queue took it, or its program began without being told.
    Started,
    /// Between two points: the only place where a pause takes effect.
    Checkpoint,
    /// After a pause: every set-point is applied again and has settled.
    Reapplied,
    /// Every point is behind it; the cleanup follows.
    LastPoint,
    /// The cleanup is done, or has failed, or was skipped by force: the scan ends now.
    CleanedUp,
    /// A step failed in a way that ends the scan; the cleanup follows. A scan that is queued, or a program's, ends at once.
    Failed(ExitReason),
    /// A step failed, and a pause follows.
    PausedByError,
    /// The program that carries it out says how it stands.
    Confirmed(ScanState),
    /// That program has been silent for too long.
    NoAnswer,
    /// The daemon has come up and finds the scan as it stood. Its owner need not tell of a program's scan, which may
    /// well be running on.
    Restarted,
}

/// See the module above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanMachine {
    status: ScanState,
    pending: Option<Ask>,
    /// Set with the end, and before it while the cleanup after the last point or an error runs.
    exit: Option<ExitReason>,
    executor: Executor,
    forced: bool,
}

impl ScanMachine {
    /// A scan that waits.
    pub fn new(executor: Executor) -> ScanMachine {
        ScanMachine { status: ScanState::Queued, pending: None, exit: None, executor, forced: false }
    }

    /// What it is doing.
    pub fn status(&self) -> ScanState {
        self.status
    }

    /// What has been asked and has not happened.
    pub fn pending(&self) -> Option<Ask> {
        self.pending
    }

    /// Why it has ended; none while it lives.
    pub fn exit(&self) -> Option<ExitReason> {
        self.exit.filter(|_| self.is_ended())
    }

    /// Who carries it out.
    pub fn executor(&self) -> Executor {
        self.executor
    }

    /// Whether it has ended. Nothing changes it any more.
    pub fn is_ended(&self) -> bool {
        matches!(self.status, ScanState::Completed | ScanState::Aborted | ScanState::Failed)
    }

    /// Whether no point follows, since the last one is taken or a step has failed; an abort or a stop that is pending
    /// leads there as well.
    pub fn is_ending(&self) -> bool {
        self.exit.is_some() || matches!(self.pending, Some(Ask::Stop | Ask::Abort))
    }

    /// Whether the cleanup is to be skipped.
    pub fn is_forced(&self) -> bool {
        self.forced
    }

    /// A command.
    pub fn command(&mut self, ask: Ask) -> Verdict {
        use ScanState::{Aborted, Completed, Failed, Paused, Queued, Running};
        let external = self.executor == Executor::External;
        match (self.status, self.pending, ask) {
            // What is so already, or pending.
            (_, Some(pending), ask) if pending == ask => Verdict::Already,
            (Running, None, Ask::Start | Ask::Resume)
            | (Paused, None, Ask::Pause)
            | (Completed, None, Ask::Stop)
            | (Aborted, None, Ask::Abort) => Verdict::Already,
            // What waits.
            (Queued, None, Ask::Start) if external => self.ask(ask),
            (Queued, None, Ask::Start) => self.stand(Running),
            (Queued, None, Ask::Abort) => self.end(Aborted, ExitReason::UserAbort),
            (Queued, Some(Ask::Start), Ask::Abort) => self.ask(ask),
            // Taken back.
            (Running, Some(Ask::Pause), Ask::Resume) | (Paused, Some(Ask::Resume), Ask::Pause) => {
                self.pending = None;
                Verdict::Accepted
            }
            (Running, None, Ask::Pause) | (Paused, None, Ask::Resume) => self.ask(ask),
            (Running, None | Some(Ask::Pause), Ask::Stop)
            | (Paused, None | Some(Ask::Resume), Ask::Stop)
            | (Running | Paused, _, Ask::Abort) => self.ask(ask),
            (Queued | Running | Paused | Completed | Aborted | Failed, ..) => Verdict::Impossible,
        }
    }

    /// An abort with `force`: while an abort is pending it skips the cleanup; else it is an abort like any other, so that
    /// only the second one leaves things as they are.
    pub fn force(&mut self) -> Verdict {
        if self.pending != Some(Ask::Abort) {
            return self.command(Ask::Abort);
        }
        if self.forced {
            return Verdict::Already;
        }
        self.forced = true;
        Verdict::Accepted
    }

    /// Something has happened. True when it changed anything; an event that makes no sense in this state is ignored.
    pub fn event(&mut self, event: ScanEvent) -> bool {
        let before = *self;
        if !self.is_ended() {
            match self.executor {
                _ if event == ScanEvent::Restarted => self.restarted(),
                Executor::Builtin => self.of_runner(event),
                Executor::External => self.of_program(event),
            }
        }
        *self != before
    }

    /// The commands that would be accepted, by name.
    pub fn allowed(&self) -> Vec<&'static str> {
        let accepted = |ask: &Ask| ScanMachine::command(&mut { *self }, *ask) == Verdict::Accepted;
        Ask::ALL.into_iter().filter(accepted).map(Ask::name).collect()
    }

    fn of_runner(&mut self, event: ScanEvent) {
        use ScanState::{Aborted, Completed, Failed, Paused, Queued, Running};
        match (self.status, self.pending, event) {
            (Queued, None, ScanEvent::Started) => {
                self.stand(Running);
            }
            (Queued, _, ScanEvent::Failed(reason)) => {
                self.end(Failed, reason);
            }
            (Queued, ..) => {}
            (_, Some(Ask::Abort), ScanEvent::CleanedUp) if !self.has_failed() => {
                self.end(Aborted, ExitReason::UserAbort);
            }
            (_, pending, ScanEvent::CleanedUp) => match (self.exit, pending) {
                (Some(ExitReason::Finished), _) => {
                    self.end(Completed, ExitReason::Finished);
                }
                (Some(reason), _) => {
                    self.end(Failed, reason);
                }
                (None, Some(Ask::Stop)) => {
                    self.end(Completed, ExitReason::StoppedEarly);
                }
                // Nobody has asked it to end.
                (None, _) => {}
            },
            // What ends it first is the reason, and an abort is not made a failure by an error on its way out.
            (_, _, ScanEvent::LastPoint | ScanEvent::Failed(_)) if self.exit.is_some() => {}
            (Running, pending, ScanEvent::LastPoint) if pending != Some(Ask::Abort) => {
                self.exit = Some(ExitReason::Finished);
            }
            (Running | Paused, pending, ScanEvent::Failed(reason)) if pending != Some(Ask::Abort) => {
                self.exit = Some(reason);
            }
            _ if self.is_ending() => {}
            (Running, _, ScanEvent::PausedByError)
            | (Running, Some(Ask::Pause), ScanEvent::Checkpoint)
            | (Paused, Some(Ask::Resume), ScanEvent::PausedByError) => {
                self.stand(Paused);
            }
            (Paused, Some(Ask::Resume), ScanEvent::Reapplied) => {
                self.stand(Running);
            }
            _ => {}
        }
    }

    fn of_program(&mut self, event: ScanEvent) {
        use ScanState::{Aborted, Completed, Failed, Paused, Queued, Running};
        // An end that is asked for stays asked for until the program confirms it.
        let kept = self.pending.filter(|ask| matches!(ask, Ask::Stop | Ask::Abort));
        match (self.status, event) {
            (Queued, ScanEvent::Started | ScanEvent::Confirmed(Running)) => {
                (self.status, self.pending) = (Running, kept);
            }
            (Paused, ScanEvent::Confirmed(Running)) => (self.status, self.pending) = (Running, kept),
            (Running, ScanEvent::Confirmed(Paused)) => (self.status, self.pending) = (Paused, kept),
            (Running | Paused, ScanEvent::Confirmed(Completed)) => {
                let stopped = self.pending == Some(Ask::Stop);
                self.end(Completed, if stopped { ExitReason::StoppedEarly } else { ExitReason::Finished });
            }
            (_, ScanEvent::Confirmed(Aborted)) => {
                self.end(Aborted, ExitReason::UserAbort);
            }
            (_, ScanEvent::Confirmed(Failed)) => {
                self.end(Failed, ExitReason::Error);
            }
            (_, ScanEvent::Failed(reason)) => {
                self.end(Failed, reason);
            }
            // One that waits for somebody to start it may be silent.
            (Queued, ScanEvent::NoAnswer) if self.pending.is_none() => {}
            (_, ScanEvent::NoAnswer) => {
                self.end(Failed, ExitReason::PublisherLost);
            }
            _ => {}
        }
    }

    fn restarted(&mut self) {
        match (self.status, self.pending) {
            (ScanState::Queued, Some(Ask::Abort)) => {
                self.end(ScanState::Aborted, ExitReason::UserAbort);
            }
            (ScanState::Queued, _) => self.pending = None,
            _ => {
                self.end(ScanState::Failed, ExitReason::Interrupted);
            }
        }
    }

    fn has_failed(&self) -> bool {
        self.exit.is_some_and(|reason| reason != ExitReason::Finished)
    }

    fn ask(&mut self, ask: Ask) -> Verdict {
        self.pending = Some(ask);
        Verdict::Accepted
    }

    fn stand(&mut self, status: ScanState) -> Verdict {
        (self.status, self.pending) = (status, None);
        Verdict::Accepted
    }

    fn end(&mut self, status: ScanState, reason: ExitReason) -> Verdict {
        (self.status, self.pending, self.exit) = (status, None, Some(reason));
        Verdict::Accepted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ScanState::{Aborted, Completed, Failed, Paused, Queued, Running};
    use std::collections::BTreeMap;

    const EVENTS: [ScanEvent; 17] = [
        ScanEvent::Started,
        ScanEvent::Checkpoint,
        ScanEvent::Reapplied,
        ScanEvent::LastPoint,
        ScanEvent::CleanedUp,
        ScanEvent::Failed(ExitReason::Error),
        ScanEvent::Failed(ExitReason::Limit),
        ScanEvent::Failed(ExitReason::Timeout),
        ScanEvent::PausedByError,
        ScanEvent::Confirmed(Queued),
        ScanEvent::Confirmed(Running),
        ScanEvent::Confirmed(Paused),
        ScanEvent::Confirmed(Completed),
        ScanEvent::Confirmed(Aborted),
        ScanEvent::Confirmed(Failed),
        ScanEvent::NoAnswer,
        ScanEvent::Restarted,
    ];

    /// Every way out of a state: the input's name and where it leads.
    fn ways(from: ScanMachine) -> Vec<(String, ScanMachine)> {
        let mut ways = Vec::new();
        for ask in Ask::ALL {
            let mut to = from;
            if to.command(ask) == Verdict::Accepted {
                ways.push((ask.name().to_string(), to));
            }
        }
        let mut to = from;
        if to.force() == Verdict::Accepted {
            ways.push(("force".to_string(), to));
        }
        for event in EVENTS {
            let mut to = from;
            if to.event(event) {
                ways.push((format!("{event:?}"), to));
            }
        }
        ways
    }

    type Reached = BTreeMap<String, (ScanMachine, Vec<(String, ScanMachine)>)>;

    fn reachable(executor: Executor) -> Reached {
        let mut found = Reached::new();
        let mut open = vec![ScanMachine::new(executor)];
        while let Some(state) = open.pop() {
            let ways = ways(state);
            if found.insert(format!("{state:?}"), (state, ways.clone())).is_none() {
                open.extend(ways.into_iter().map(|(_, to)| to));
            }
        }
        found
    }

    /// The states from which `goal` is within reach.
    fn can_reach(found: &Reached, goal: impl Fn(&ScanMachine) -> bool) -> usize {
        let mut good: Vec<&String> = Vec::new();
        loop {
            let more: Vec<&String> = found
                .iter()
                .filter(|(name, (state, ways))| {
                    !good.contains(name)
                        && (goal(state) || ways.iter().any(|(_, to)| good.contains(&&format!("{to:?}"))))
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
    fn every_state_of_both_executors_holds_what_the_machine_promises() {
        for executor in [Executor::Builtin, Executor::External] {
            let found = reachable(executor);
            let transitions: usize = found.values().map(|(_, ways)| ways.len()).sum();
            println!("{executor:?}: {} states, {transitions} transitions", found.len());
            assert_eq!(can_reach(&found, ScanMachine::is_ended), found.len(), "a live state cannot end");
            for (state, ways) in found.values() {
                if state.is_ended() {
                    assert!(ways.is_empty(), "{state:?} goes on: {ways:?}");
                    assert!(state.exit().is_some() && state.pending().is_none(), "{state:?}");
                } else {
                    assert_eq!(state.exit(), None);
                    let abort = ScanMachine::command(&mut { *state }, Ask::Abort);
                    let expected = if state.pending() == Some(Ask::Abort) {
                        Verdict::Already
                    } else {
                        Verdict::Accepted
                    };
                    assert_eq!(abort, expected, "{state:?}");
                }
                for ask in Ask::ALL {
                    let mut after = *state;
                    let verdict = after.command(ask);
                    assert_eq!(verdict == Verdict::Accepted, after != *state, "{state:?} {ask:?}");
                    assert_eq!(
                        verdict == Verdict::Accepted,
                        state.allowed().contains(&ask.name()),
                        "{state:?} {ask:?}"
                    );
                }
                for (input, to) in ways {
                    // Only the runner, a program or force may end it in another way than it was asked to.
                    assert!(to.forced || !state.forced, "{state:?} {input}");
                    assert_eq!(to.executor, state.executor);
                }
            }
        }
    }

    #[test]
    fn status_and_pending_are_the_fourteen_of_the_table() {
        let mut pairs: Vec<String> = [Executor::Builtin, Executor::External]
            .into_iter()
            .flat_map(|executor| reachable(executor).into_values())
            .map(|(state, _)| match state.pending() {
                Some(ask) => format!("{:?}+{}", state.status(), ask.name()).to_lowercase(),
                None => format!("{:?}", state.status()).to_lowercase(),
            })
            .collect();
        pairs.sort();
        pairs.dedup();
        assert_eq!(
            pairs,
            [
                "aborted",
                "completed",
                "failed",
                "paused",
                "paused+abort",
                "paused+resume",
                "paused+stop",
                "queued",
                "queued+abort",
                "queued+start",
                "running",
                "running+abort",
                "running+pause",
                "running+stop",
            ]
        );
    }

    fn at(executor: Executor, status: ScanState, pending: Option<Ask>) -> ScanMachine {
        ScanMachine { status, pending, exit: None, executor, forced: false }
    }

    #[test]
    fn what_a_command_does_in_each_state_of_the_runner() {
        use Verdict::{Accepted as Y, Already as O, Impossible as N};
        // start, pause, resume, stop, abort
        let table = [
            (Queued, None, [Y, N, N, N, Y]),
            (Running, None, [O, Y, O, Y, Y]),
            (Running, Some(Ask::Pause), [N, O, Y, Y, Y]),
            (Running, Some(Ask::Stop), [N, N, N, O, Y]),
            (Running, Some(Ask::Abort), [N, N, N, N, O]),
            (Paused, None, [N, O, Y, Y, Y]),
            (Paused, Some(Ask::Resume), [N, Y, O, Y, Y]),
            (Paused, Some(Ask::Stop), [N, N, N, O, Y]),
            (Paused, Some(Ask::Abort), [N, N, N, N, O]),
            (Completed, None, [N, N, N, O, N]),
            (Aborted, None, [N, N, N, N, O]),
            (Failed, None, [N, N, N, N, N]),
        ];
        for (status, pending, verdicts) in table {
            for (ask, expected) in Ask::ALL.into_iter().zip(verdicts) {
                let mut scan = at(Executor::Builtin, status, pending);
                assert_eq!(scan.command(ask), expected, "{status:?} {pending:?} {ask:?}");
            }
        }
    }

    #[test]
    fn a_pause_takes_effect_at_a_checkpoint_and_can_be_taken_back() {
        let mut scan = ScanMachine::new(Executor::Builtin);
        assert!(scan.event(ScanEvent::Started));
        assert!(!scan.event(ScanEvent::Checkpoint));
        scan.command(Ask::Pause);
        assert_eq!((scan.status(), scan.pending()), (Running, Some(Ask::Pause)));
        assert_eq!(scan.allowed(), ["resume", "stop", "abort"]);
        assert_eq!(scan.command(Ask::Resume), Verdict::Accepted);
        assert_eq!((scan.status(), scan.pending()), (Running, None));
        scan.command(Ask::Pause);
        assert!(scan.event(ScanEvent::Checkpoint));
        assert_eq!(scan.status(), Paused);
        scan.command(Ask::Resume);
        assert_eq!((scan.status(), scan.pending()), (Paused, Some(Ask::Resume)));
        assert_eq!(scan.command(Ask::Pause), Verdict::Accepted);
        assert_eq!((scan.status(), scan.pending()), (Paused, None));
        scan.command(Ask::Resume);
        assert!(scan.event(ScanEvent::Reapplied));
        assert_eq!(scan.status(), Running);
    }

    #[test]
    fn each_end_has_its_reason() {
        let ended = |inputs: &[Input]| {
            let mut scan = ScanMachine::new(Executor::Builtin);
            scan.event(ScanEvent::Started);
            for input in inputs {
                match *input {
                    Input::Ask(ask) => assert_eq!(scan.command(ask), Verdict::Accepted),
                    Input::Event(event) => {
                        scan.event(event);
                    }
                }
            }
            (scan.status(), scan.exit())
        };
        use Input::{Ask as A, Event as E};
        use ScanEvent::{Checkpoint, CleanedUp, LastPoint};
        let error = E(ScanEvent::Failed(ExitReason::Error));
        let cleaned = E(CleanedUp);
        let table: Vec<(Vec<Input>, ScanState, ExitReason)> = vec![
            (vec![E(LastPoint), cleaned], Completed, ExitReason::Finished),
            (vec![A(Ask::Pause), E(LastPoint), cleaned], Completed, ExitReason::Finished),
            (vec![A(Ask::Stop), cleaned], Completed, ExitReason::StoppedEarly),
            // It was asked to stop, and had every point already.
            (vec![E(LastPoint), A(Ask::Stop), cleaned], Completed, ExitReason::Finished),
            (vec![A(Ask::Abort), cleaned], Aborted, ExitReason::UserAbort),
            (vec![A(Ask::Abort), error, cleaned], Aborted, ExitReason::UserAbort),
            (vec![A(Ask::Stop), A(Ask::Abort), cleaned], Aborted, ExitReason::UserAbort),
            (vec![E(LastPoint), A(Ask::Abort), cleaned], Aborted, ExitReason::UserAbort),
            (vec![error, cleaned], Failed, ExitReason::Error),
            // An abort in the cleanup of a failed scan does not hide the failure.
            (vec![error, A(Ask::Abort), cleaned], Failed, ExitReason::Error),
            (vec![A(Ask::Stop), error, cleaned], Failed, ExitReason::Error),
            (vec![E(ScanEvent::Failed(ExitReason::Limit)), cleaned], Failed, ExitReason::Limit),
            (vec![A(Ask::Pause), E(Checkpoint), A(Ask::Stop), cleaned], Completed, ExitReason::StoppedEarly),
            (vec![A(Ask::Pause), E(Checkpoint), A(Ask::Abort), cleaned], Aborted, ExitReason::UserAbort),
            (vec![A(Ask::Pause), E(Checkpoint), A(Ask::Resume), error, cleaned], Failed, ExitReason::Error),
            (vec![E(ScanEvent::Restarted)], Failed, ExitReason::Interrupted),
            (vec![A(Ask::Pause), E(Checkpoint), E(ScanEvent::Restarted)], Failed, ExitReason::Interrupted),
        ];
        for (inputs, status, reason) in table {
            assert_eq!(ended(&inputs), (status, Some(reason)), "{inputs:?}");
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Input {
        Ask(Ask),
        Event(ScanEvent),
    }

    #[test]
    fn a_scan_that_waits_is_aborted_at_once_and_survives_a_restart() {
        let mut scan = ScanMachine::new(Executor::Builtin);
        assert_eq!(scan.allowed(), ["start", "abort"]);
        assert!(!scan.event(ScanEvent::Restarted));
        assert_eq!(scan.status(), Queued);
        assert_eq!(scan.command(Ask::Abort), Verdict::Accepted);
        assert_eq!((scan.status(), scan.exit()), (Aborted, Some(ExitReason::UserAbort)));
    }

    #[test]
    fn only_the_second_abort_can_be_forced() {
        let mut scan = at(Executor::Builtin, Running, None);
        assert_eq!(scan.force(), Verdict::Accepted);
        assert!(!scan.is_forced() && scan.pending() == Some(Ask::Abort));
        assert_eq!(scan.force(), Verdict::Accepted);
        assert!(scan.is_forced());
        assert_eq!(scan.force(), Verdict::Already);
        assert!(scan.event(ScanEvent::CleanedUp));
        assert_eq!(scan.status(), Aborted);
        assert_eq!(at(Executor::Builtin, Failed, None).force(), Verdict::Impossible);
    }

    #[test]
    fn an_error_pauses_or_fails_but_never_in_the_way_of_an_end() {
        let mut scan = at(Executor::Builtin, Running, None);
        assert!(scan.event(ScanEvent::PausedByError));
        assert_eq!(scan.status(), Paused);
        // The set-points cannot be applied again: the operator gets another try.
        scan.command(Ask::Resume);
        assert!(scan.event(ScanEvent::PausedByError));
        assert_eq!((scan.status(), scan.pending()), (Paused, None));
        let mut aborting = at(Executor::Builtin, Running, Some(Ask::Abort));
        assert!(!aborting.event(ScanEvent::PausedByError));
        let mut stopping = at(Executor::Builtin, Running, Some(Ask::Stop));
        assert!(!stopping.event(ScanEvent::Checkpoint));
    }

    #[test]
    fn a_program_s_scan_moves_only_when_the_program_says_so() {
        let mut scan = ScanMachine::new(Executor::External);
        assert_eq!(scan.command(Ask::Start), Verdict::Accepted);
        assert_eq!((scan.status(), scan.pending()), (Queued, Some(Ask::Start)));
        assert_eq!(scan.command(Ask::Start), Verdict::Already);
        assert!(scan.event(ScanEvent::Confirmed(Running)));
        scan.command(Ask::Pause);
        assert!(!scan.event(ScanEvent::Checkpoint));
        assert!(scan.event(ScanEvent::Confirmed(Paused)));
        scan.command(Ask::Resume);
        assert!(!scan.event(ScanEvent::Reapplied));
        assert!(scan.event(ScanEvent::Confirmed(Running)));
        scan.command(Ask::Abort);
        // It pauses on its way out: the abort is still pending.
        assert!(scan.event(ScanEvent::Confirmed(Paused)));
        assert_eq!((scan.status(), scan.pending()), (Paused, Some(Ask::Abort)));
        assert!(!scan.event(ScanEvent::CleanedUp));
        assert!(scan.event(ScanEvent::Confirmed(Aborted)));
        assert_eq!(scan.exit(), Some(ExitReason::UserAbort));
    }

    #[test]
    fn a_silent_program_loses_its_scan_unless_nobody_has_started_it() {
        let mut waits = ScanMachine::new(Executor::External);
        assert!(!waits.event(ScanEvent::NoAnswer));
        waits.command(Ask::Start);
        assert!(waits.event(ScanEvent::NoAnswer));
        assert_eq!((waits.status(), waits.exit()), (Failed, Some(ExitReason::PublisherLost)));
        let mut told = at(Executor::External, Queued, Some(Ask::Start));
        told.command(Ask::Abort);
        assert_eq!((told.status(), told.pending()), (Queued, Some(Ask::Abort)));
        // It began before it heard of the abort.
        assert!(told.event(ScanEvent::Confirmed(Running)));
        assert_eq!((told.status(), told.pending()), (Running, Some(Ask::Abort)));
    }

    #[test]
    fn it_can_be_kept_and_read_back() {
        let mut scan = at(Executor::External, Running, None);
        scan.command(Ask::Stop);
        let text = serde_json::to_string(&scan).unwrap();
        assert_eq!(serde_json::from_str::<ScanMachine>(&text).unwrap(), scan, "{text}");
    }
}
