//! Recorders that obey, that fail and that keep silent, as tables and under any sequence.

use super::*;
use crate::config::Effect as How;
use proptest::prelude::*;
use std::collections::HashMap;

const fn s(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn rules() -> Recorder {
    let how = || Some(How::Level { pin: "p".into(), active: true });
    Recorder {
        id: "r".into(),
        start: how(),
        stop: how(),
        split: how(),
        auto_on: how(),
        auto_off: how(),
        ..Recorder::default()
    }
}

fn seen(status: RecorderState, recording: &str) -> Seen {
    let recording = Some(recording.to_string()).filter(|name| !name.is_empty());
    Seen { status: Some(status), recording, posted: true, ..Seen::default() }
}

enum Do {
    See(RecorderState, &'static str),
    Ask(&'static str, Action),
    Fail(&'static str),
    Wait,
}
use Do::{Ask, Fail, See, Wait};
use RecorderState::{Armed, Hold, Idle, Offline, Recording};

/// Plays steps, a second each; gives what was sent, and how each command ended.
fn play(machine: &mut Machine, steps: &[(u64, Do)]) -> (Vec<&'static str>, HashMap<String, CommandState>) {
    let (mut sent, mut ends) = (Vec::new(), HashMap::new());
    for (at, step) in steps {
        let input = match step {
            See(status, name) => Input::Seen(Box::new(seen(*status, name))),
            Ask(id, action) => Input::Command(id.to_string(), *action),
            Fail(id) => Input::Sent(id.to_string(), Err("no such pin".into())),
            Wait => Input::Tick,
        };
        for effect in machine.step(input, s(*at), Wall(at * 1_000)) {
            match effect {
                Effect::Send(_, action) => sent.push(action.word()),
                Effect::Finish(id, state, _) => {
                    assert!(ends.insert(id, state).is_none(), "a command ends once");
                }
                Effect::Say(_) => {}
            }
        }
    }
    (sent, ends)
}

#[test]
fn commands_end_by_what_is_seen() {
    use CommandState::*;
    type Row<'a> = (&'a str, &'a [(u64, Do)], &'a [&'a str], &'a [(&'a str, CommandState)]);
    let table: &[Row] = &[
        (
            "started when it records",
            &[(0, See(Idle, "")), (1, Ask("a", Action::Start)), (2, See(Idle, "")), (3, See(Recording, "x"))],
            &["start"],
            &[("a", Completed)],
        ),
        (
            "not obeyed",
            &[(0, See(Idle, "")), (1, Ask("a", Action::Start)), (10, Wait), (11, Wait)],
            &["start"],
            &[("a", TimedOut)],
        ),
        (
            "stopped when it does not, and is heard",
            &[
                (0, See(Recording, "x")),
                (1, Ask("a", Action::Stop)),
                (2, See(Recording, "x")),
                (3, See(Armed, "")),
            ],
            &["stop"],
            &[("a", Completed)],
        ),
        (
            "gone is not stopped",
            &[(0, See(Recording, "x")), (1, Ask("a", Action::Stop)), (2, See(Offline, ""))],
            &["stop"],
            &[("a", Failed)],
        ),
        (
            "split is another recording",
            &[
                (0, See(Recording, "x")),
                (1, Ask("a", Action::Split)),
                (2, See(Recording, "x")),
                (3, See(Recording, "y")),
            ],
            &["split"],
            &[("a", Completed)],
        ),
        (
            "a recorder that names nothing splits with a pause",
            &[
                (0, See(Recording, "")),
                (1, Ask("a", Action::Split)),
                (2, See(Idle, "")),
                (3, See(Recording, "")),
            ],
            &["split"],
            &[("a", Completed)],
        ),
        ("nothing to split", &[(0, See(Idle, "")), (1, Ask("a", Action::Split))], &[], &[("a", Rejected)]),
        ("offline", &[(1, Ask("a", Action::Start))], &[], &[("a", Rejected)]),
        ("so already", &[(0, See(Recording, "")), (1, Ask("a", Action::Start))], &[], &[("a", Completed)]),
        (
            "overtaken by its opposite, which is sent though nothing is recorded yet",
            &[
                (0, See(Idle, "")),
                (1, Ask("a", Action::Start)),
                (2, Ask("b", Action::Stop)),
                (3, See(Idle, "")),
            ],
            &["start", "stop"],
            &[("a", Superseded), ("b", Completed)],
        ),
        (
            "twice the same is sent once",
            &[
                (0, See(Idle, "")),
                (1, Ask("a", Action::Start)),
                (2, Ask("b", Action::Start)),
                (3, See(Recording, "")),
            ],
            &["start"],
            &[("a", Completed), ("b", Completed)],
        ),
        (
            "what can't be sent fails, and whoever relied on it",
            &[(0, See(Idle, "")), (1, Ask("a", Action::Start)), (1, Ask("b", Action::Start)), (1, Fail("a"))],
            &["start"],
            &[("a", Failed), ("b", Failed)],
        ),
        (
            "armed is automatic",
            &[(0, See(Idle, "")), (1, Ask("a", Action::Auto(true))), (2, See(Armed, ""))],
            &["auto"],
            &[("a", Completed)],
        ),
    ];
    for (name, steps, sent, ends) in table {
        let (was_sent, did_end) = play(&mut Machine::new(rules()), steps);
        assert_eq!(was_sent, *sent, "{name}");
        let expected: HashMap<String, CommandState> =
            ends.iter().map(|(id, state)| (id.to_string(), *state)).collect();
        assert_eq!(did_end, expected, "{name}");
    }
}

#[test]
fn only_a_post_confirms_where_it_is_configured() {
    let mut machine = Machine::new(Recorder { confirm: ConfirmBy::Http, ..rules() });
    play(&mut machine, &[(0, See(Idle, "")), (1, Ask("a", Action::Start))]);
    let by_pin = Seen { posted: false, ..seen(Recording, "") };
    assert!(
        !machine
            .step(Input::Seen(Box::new(by_pin)), s(2), Wall(0))
            .iter()
            .any(|e| matches!(e, Effect::Finish(..)))
    );
    let (_, ends) = play(&mut machine, &[(3, See(Recording, ""))]);
    assert_eq!(ends["a"], CommandState::Completed);
}

#[test]
fn why_it_stopped_is_derived_unless_it_says_so() {
    let stop = |steps: &[(u64, Do)]| {
        let mut machine = Machine::new(rules());
        play(&mut machine, steps);
        machine.shown(s(99)).last_stop.map(|stop| (stop.reason, stop.at.0 / 1_000))
    };
    let said = |reason: &str, at| Some((reason.to_string(), at));
    assert_eq!(stop(&[(0, See(Idle, ""))]), None);
    assert_eq!(stop(&[(0, See(Recording, "")), (5, See(Idle, ""))]), said("stopped by the recorder", 5));
    assert_eq!(stop(&[(0, See(Recording, "")), (4, See(Hold, "")), (5, See(Armed, ""))]), said("silence", 5));
    assert_eq!(stop(&[(0, See(Recording, "")), (5, See(RecorderState::Fault, ""))]), said("fault", 5));
    assert_eq!(stop(&[(0, See(Recording, "")), (5, See(Offline, ""))]), said("source lost", 5));
    assert_eq!(
        stop(&[(0, See(Recording, "")), (1, Ask("a", Action::Stop)), (5, See(Idle, ""))]),
        said("manual stop", 5)
    );
    assert_eq!(stop(&[(0, See(Recording, "x")), (5, See(Recording, "y"))]), said("split", 5));
    let mut machine = Machine::new(rules());
    play(&mut machine, &[(0, See(Recording, ""))]);
    let stale = Seen { why_lost: Some(QualityReason::Stale), ..seen(Offline, "") };
    machine.step(Input::Seen(Box::new(stale)), s(11), Wall(11_000));
    assert_eq!(machine.shown(s(11)).last_stop.unwrap().reason, "status stale");
    let mut machine = Machine::new(rules());
    play(&mut machine, &[(0, See(Recording, ""))]);
    let its_own = LastStopSaid { reason: "card full".into(), at: Some(Wall(7)) };
    let full = Seen { stop: Some(its_own), ..seen(Idle, "") };
    machine.step(Input::Seen(Box::new(full)), s(11), Wall(11_000));
    let stop = machine.shown(s(11)).last_stop.unwrap();
    assert_eq!((stop.reason.as_str(), stop.at), ("card full", Wall(7)));
}

#[test]
fn elapsed_is_counted_where_the_recorder_does_not() {
    let mut machine = Machine::new(rules());
    play(&mut machine, &[(10, See(Idle, "")), (20, See(Recording, "x"))]);
    assert!(machine.counts());
    assert_eq!(machine.shown(s(25)).elapsed_s, Some(5.0));
    // Lost and heard again: the same recording went on.
    play(&mut machine, &[(30, See(Offline, "")), (300, See(Recording, "x"))]);
    let shown = machine.shown(s(301));
    assert_eq!((shown.elapsed_s, shown.last_stop, shown.uptime_s), (Some(281.0), None, Some(1.0)));
    play(&mut machine, &[(310, See(Recording, "y"))]);
    let shown = machine.shown(s(315));
    assert_eq!((shown.elapsed_s, shown.splits), (Some(5.0), 1));
    let its_own = Seen { elapsed_s: Some(77.5), ..seen(Recording, "y") };
    machine.step(Input::Seen(Box::new(its_own)), s(320), Wall(0));
    assert!(!machine.counts());
    assert_eq!(machine.shown(s(330)).elapsed_s, Some(77.5));
}

#[test]
fn a_restart_in_a_recording_is_told_from_its_end() {
    let restored = |name: &str, steps: &[(u64, Do)]| {
        let mut machine = Machine::new(rules());
        machine.restore(None, Some((Some(name.to_string()), Wall(500))));
        play(&mut machine, steps);
        let shown = machine.shown(s(60));
        (shown.last_stop.map(|stop| (stop.reason, stop.at)), shown.elapsed_s)
    };
    let interrupted = Some(("interrupted by restart".to_string(), Wall(500)));
    assert_eq!(
        restored("x", &[(1, See(Recording, "x"))]),
        (None, None),
        "it went on; since when is not known"
    );
    assert_eq!(restored("x", &[(1, See(Idle, ""))]), (interrupted.clone(), None));
    assert_eq!(restored("x", &[(1, See(Recording, "y"))]), (interrupted, Some(59.0)));
    assert_eq!(restored("x", &[(1, See(Offline, ""))]), (None, None), "nothing is known yet");
}

#[test]
fn levels_have_a_trend_and_peaks_are_held() {
    let mut machine = Machine::new(rules());
    for n in 0..80u64 {
        let mut heard = seen(Armed, "");
        heard.level_db = Some(-60.0 + n as f64 * 0.1);
        heard.clipped = n == 3;
        machine.step(Input::Seen(Box::new(heard)), s(n), Wall(0));
        if n < 10 {
            assert_eq!(machine.shown(s(n)).trend_db_per_min, None);
        }
    }
    let shown = machine.shown(s(80));
    assert_eq!((shown.trend_db_per_min, shown.clipped), (Some(6.0), true));
    assert!((shown.peak_hold_db.unwrap() + 52.1).abs() < 1e-9);
    machine.step(Input::Reset, s(81), Wall(0));
    let shown = machine.shown(s(81));
    assert_eq!((shown.peak_hold_db, shown.clipped), (None, false));
}

#[test]
fn what_can_be_asked_for_follows_what_it_does() {
    let mut machine = Machine::new(rules());
    assert_eq!(machine.shown(s(0)).actions, Vec::<&str>::new());
    play(&mut machine, &[(0, See(Idle, ""))]);
    assert_eq!(machine.shown(s(0)).actions, ["start", "auto"]);
    play(&mut machine, &[(1, Ask("a", Action::Start))]);
    let shown = machine.shown(s(1));
    assert_eq!((shown.actions, shown.pending), (vec!["start", "stop", "auto"], Some("start")));
    play(&mut machine, &[(2, See(Recording, ""))]);
    assert_eq!(machine.shown(s(2)).actions, ["stop", "split", "auto"]);
    let mut mute = Machine::new(Recorder { id: "r".into(), ..Recorder::default() });
    play(&mut mute, &[(0, See(Recording, ""))]);
    assert_eq!(mute.shown(s(0)).actions, Vec::<&str>::new());
}

proptest! {
    /// Whatever comes: every command ends once and in time, and nothing grows without bound.
    #[test]
    fn every_command_ends(steps in proptest::collection::vec((0u64..4, 0u8..12, 0u8..3), 1..200)) {
        let mut machine = Machine::new(rules());
        let (mut now, mut asked, mut ended) = (0, 0, HashMap::new());
        let states = [Idle, Armed, Recording, Hold, Offline, RecorderState::Fault];
        for (n, (gap, kind, name)) in steps.iter().enumerate() {
            now += gap;
            let input = match kind {
                0..=5 => Input::Seen(Box::new(seen(states[usize::from(*kind)], ["", "a", "b"][usize::from(*name)]))),
                6..=10 => {
                    asked += 1;
                    let all = [Action::Start, Action::Stop, Action::Split, Action::Auto(true), Action::Auto(false)];
                    Input::Command(n.to_string(), all[usize::from(*kind - 6)])
                }
                _ => Input::Tick,
            };
            for effect in machine.step(input, s(now), Wall(now)) {
                if let Effect::Finish(id, ..) = effect {
                    prop_assert!(ended.insert(id, ()).is_none());
                }
            }
            prop_assert!(machine.pending.len() <= limits::RECORDER_PENDING && machine.levels.len() <= 121);
        }
        for effect in machine.step(Input::Tick, s(now + 60), Wall(0)) {
            if let Effect::Finish(id, ..) = effect {
                prop_assert!(ended.insert(id, ()).is_none());
            }
        }
        prop_assert_eq!(ended.len(), asked);
        prop_assert_eq!(machine.deadline(), None);
    }
}
