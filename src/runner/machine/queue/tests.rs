//! How a queue stands after each event: the table, and what every sequence must keep.

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
