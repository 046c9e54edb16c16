//! The life of alerts as a table, over restarts and under any sequence.

use super::*;
use AlertState::{Acknowledged, Active, Cleared, Closed};
use Severity::{Major, Minor};
use proptest::prelude::*;

const DAY: u64 = 1_767_799_800_000;

fn at(s: u64) -> Moment {
    Moment { now: Duration::from_secs(s), wall: Wall(DAY + 1000 * s) }
}

fn condition(severity: Severity) -> Condition {
    Condition {
        by: RaisedBy::Telltale,
        severity,
        message: "It holds.".into(),
        guidance: None,
        source: None,
        value: None,
        limit: None,
        unit: None,
        latched: true,
        rule: None,
        blocks: Vec::new(),
        latch: false,
    }
}

/// What stands of `x`, and what was told.
fn stands(effects: &[Effect]) -> Option<(AlertState, u64, Severity)> {
    effects.iter().rev().find_map(|e| match e {
        Effect::Publish(a) => Some((a.state, a.occurrence, a.severity)),
        _ => None,
    })
}

fn told(effects: &[Effect]) -> Vec<News> {
    effects
        .iter()
        .filter_map(|e| match e {
            Effect::Tell(news, _) => Some(*news),
            _ => None,
        })
        .collect()
}

fn up(desk: &mut Desk, severity: Severity, s: u64) -> Vec<Effect> {
    desk.raise("x", condition(severity), at(s))
}

fn down(desk: &mut Desk, s: u64) -> Vec<Effect> {
    desk.clear("x", RaisedBy::Telltale, "x is over", at(s))
}

fn ack(desk: &mut Desk, occurrence: u64, s: u64) -> Result<AlertState, Refusal> {
    desk.acknowledge("x", occurrence, Some("eva".into()), at(s)).map(|(state, _)| state)
}

#[test]
fn an_alert_lives_and_dies_by_the_table() {
    let mut desk = Desk::default();
    assert_eq!(down(&mut desk, 0), []);
    let first = up(&mut desk, Minor, 1);
    assert_eq!((stands(&first), told(&first)), (Some((Active, 1, Minor)), vec![News::Active]));
    assert_eq!(up(&mut desk, Minor, 2), [], "one outage, one occurrence");
    assert_eq!(ack(&mut desk, 2, 3), Err(Refusal::Occurrence(1)));
    assert_eq!(ack(&mut desk, 1, 3), Ok(Acknowledged));
    assert_eq!(ack(&mut desk, 1, 3), Ok(Acknowledged), "twice is the same as once");
    let worse = up(&mut desk, Major, 4);
    assert_eq!((stands(&worse), told(&worse)), (Some((Active, 1, Major)), vec![News::Active]));
    assert_eq!(desk.alert("x").unwrap().acked_by, None);
    assert_eq!(up(&mut desk, Minor, 5), [], "the severity is the worst of the occurrence");
    assert_eq!(ack(&mut desk, 1, 6), Ok(Acknowledged));
    let over = down(&mut desk, 7);
    assert_eq!((stands(&over), told(&over)), (Some((Closed, 1, Major)), vec![News::Cleared]));
    assert_eq!(ack(&mut desk, 1, 8), Err(Refusal::Unknown));
    assert_eq!(stands(&up(&mut desk, Minor, 9)), Some((Active, 2, Minor)));
    assert_eq!(stands(&down(&mut desk, 10)), Some((Cleared, 2, Minor)));
    assert_eq!(stands(&up(&mut desk, Minor, 11)), Some((Active, 3, Minor)));
    assert_eq!(ack(&mut desk, 2, 12), Err(Refusal::Occurrence(3)), "that was another occurrence");
    down(&mut desk, 13);
    assert_eq!(ack(&mut desk, 3, 14), Ok(Closed));
    assert!(desk.alert("x").is_none());
}

#[test]
fn what_latches_is_reset_after_it_is_over() {
    let stage = "instrument/stage";
    let wish = || Condition {
        by: RaisedBy::Rule,
        blocks: vec!["instrument/*".into()],
        latch: true,
        ..condition(Major)
    };
    let blocked = |desk: &Desk| desk.blocking(stage).next().is_some();
    let mut desk = Desk::default();
    desk.raise("x", wish(), at(0));
    assert!(blocked(&desk) && desk.blocking("recorder/stage").next().is_none());
    assert_eq!(ack(&mut desk, 1, 1), Ok(Acknowledged));
    assert!(blocked(&desk), "that somebody knows does not make it safe");
    let over = desk.clear("x", RaisedBy::Rule, "over", at(2));
    assert_eq!(stands(&over), Some((Cleared, 1, Major)), "acknowledged before, but not reset");
    assert!(blocked(&desk));
    let open: Vec<Alert> = desk.alert("x").cloned().into_iter().collect();
    let mut again = Desk::new(open, at(3));
    assert!(blocked(&again), "a restart resets nothing");
    assert!(again.tick(at(500)).is_empty() && blocked(&again));
    assert_eq!(ack(&mut again, 1, 501), Ok(Closed));
    assert!(!blocked(&again));
    // Without the latch the end of the condition is enough.
    desk.raise("x", Condition { latch: false, ..wish() }, at(4));
    assert!(blocked(&desk));
    desk.clear("x", RaisedBy::Rule, "over", at(5));
    assert_eq!((desk.alert("x").map(|a| a.state), blocked(&desk)), (Some(Cleared), false));
    // What another program says blocks nothing.
    let said = Alert { blocks: vec![stage.into()], ..desk.alert("x").unwrap().clone() };
    let mut desk = Desk::default();
    let told =
        desk.adopt(Alert { state: Active, raised_by: Some(RaisedBy::Rule), latch: true, ..said }, at(6));
    assert!(!blocked(&desk));
    let Effect::Publish(cleaned) = &told[0] else { panic!("{told:?}") };
    assert!(
        cleaned.blocks.is_empty() && !cleaned.latch && cleaned.raised_by.is_none(),
        "nor after a restart"
    );
}

#[test]
fn a_latch_goes_on_whoever_else_says_the_same() {
    let stage = "instrument/stage";
    let wish =
        || Condition { by: RaisedBy::Rule, blocks: vec![stage.into()], latch: true, ..condition(Major) };
    let blocked = |desk: &Desk| desk.blocking(stage).next().is_some();
    // Telltale said it first.
    let mut desk = Desk::default();
    up(&mut desk, Major, 0);
    assert!(!blocked(&desk));
    let told = desk.raise("x", wish(), at(1));
    assert!(blocked(&desk) && matches!(&told[..], [Effect::Publish(a)] if a.latch), "{told:?}");
    down(&mut desk, 2);
    desk.clear("x", RaisedBy::Rule, "over", at(3));
    assert!(blocked(&desk), "it waits for its reset");
    // Telltale says it again meanwhile.
    up(&mut desk, Major, 4);
    assert!(blocked(&desk));
    down(&mut desk, 5);
    assert!(blocked(&desk));
    let occurrence = desk.alert("x").unwrap().occurrence;
    assert_eq!(ack(&mut desk, occurrence, 6), Ok(Closed));
    assert!(!blocked(&desk));
    // The file says something else while it stands.
    desk.raise("x", Condition { latch: false, blocks: Vec::new(), ..wish() }, at(7));
    let told = desk.confirm("x", &[stage.into()], true);
    assert!(matches!(&told[..], [Effect::Publish(a)] if a.latch && a.blocks == [stage]), "{told:?}");
    assert_eq!(desk.confirm("x", &[stage.into()], true), []);
    desk.clear("x", RaisedBy::Rule, "over", at(8));
    assert!(blocked(&desk));
}

#[test]
fn a_full_list_loses_no_latch() {
    let mut desk = Desk::default();
    for n in 0..limits::ALERTS_OPEN {
        desk.raise(&format!("a{n}"), condition(Minor), at(1));
    }
    let blocks = vec!["instrument/stage".to_string()];
    let wish = Condition { by: RaisedBy::Rule, blocks, latch: true, ..condition(Major) };
    desk.raise("x", wish, at(2));
    desk.clear("x", RaisedBy::Rule, "over", at(3));
    assert!(desk.blocking("instrument/stage").next().is_some());
}

#[test]
fn what_is_not_latched_closes_by_itself() {
    let mut desk = Desk::default();
    desk.raise("x", Condition { latched: false, ..condition(Minor) }, at(0));
    assert_eq!(stands(&down(&mut desk, 1)), Some((Closed, 1, Minor)));
}

#[test]
fn two_that_say_the_same_are_one_alert() {
    let mut desk = Desk::default();
    up(&mut desk, Major, 0);
    assert_eq!(desk.raise("x", Condition { by: RaisedBy::Rule, ..condition(Major) }, at(1)), []);
    assert_eq!(down(&mut desk, 2), [], "the rule still holds it up");
    assert!(desk.is_active("x") && desk.is_active("*") && !desk.is_active("y*"));
    assert_eq!(stands(&desk.clear("x", RaisedBy::Rule, "over", at(3))), Some((Cleared, 1, Major)));
}

#[test]
fn what_keeps_coming_back_is_one_alert() {
    let mut desk = Desk::default();
    let mut last = Vec::new();
    for n in 0..6 {
        last = up(&mut desk, Minor, n * 10);
        assert_eq!(stands(&last), Some((Active, n + 1, Minor)));
        if n < 5 {
            down(&mut desk, n * 10 + 5);
        }
    }
    let Effect::Publish(alert) = &last[0] else { panic!("{last:?}") };
    assert_eq!(alert.message, "It holds. It keeps coming back: 6 times in 10 min.");
    for n in 6..20 {
        assert_eq!(down(&mut desk, n * 10), [], "not over yet");
        assert_eq!(
            stands(&up(&mut desk, Minor, n * 10 + 5)),
            stands(&[]).or((n == 11 || n == 17).then_some((Active, 6, Minor)))
        );
    }
    assert_eq!(desk.alert("x").unwrap().count, 15);
    down(&mut desk, 200);
    assert_eq!(desk.wake(), Some(Duration::from_secs(500)));
    assert_eq!(desk.tick(at(499)), []);
    assert_eq!(stands(&desk.tick(at(500))), Some((Cleared, 6, Minor)));
    let next = up(&mut desk, Minor, 1200);
    assert_eq!(stands(&next), Some((Active, 7, Minor)));
    assert_eq!(stands(&down(&mut desk, 1201)), Some((Cleared, 7, Minor)));
}

#[test]
fn a_snoozed_alert_is_listed_and_not_told() {
    let mut desk = Desk::default();
    up(&mut desk, Minor, 0);
    assert_eq!(desk.snooze("x", 2, Snooze::Restart, None, at(1)), Err(Refusal::Occurrence(1)));
    let snoozed = desk.snooze("x", 1, Snooze::parse("1h").unwrap(), Some("eva"), at(1)).unwrap();
    assert!(
        matches!(&snoozed[0], Effect::Publish(a) if a.snoozed_until.as_deref() == Some("2026-01-07T16:30:01.000Z"))
    );
    assert_eq!(told(&down(&mut desk, 2)), []);
    let again = up(&mut desk, Minor, 3);
    assert_eq!(
        (stands(&again), told(&again)),
        (Some((Active, 2, Minor)), vec![]),
        "the snooze is the alert's"
    );
    let over = desk.tick(at(3601));
    assert_eq!(told(&over), [News::Active], "it still holds, and is told now");
    desk.snooze("x", 2, Snooze::Restart, None, at(3700)).unwrap();
    let worse = up(&mut desk, Major, 3701);
    assert_eq!(told(&worse), [News::Active], "worse breaks the snooze");
    assert_eq!(desk.alert("x").unwrap().snoozed_until, None);
    desk.snooze("x", 2, Snooze::Restart, None, at(3702)).unwrap();
    let awake = desk.snooze("x", 2, Snooze::None, None, at(3703)).unwrap();
    assert_eq!(told(&awake), [News::Active]);
}

/// A new desk from what is on the bus and on the shelf.
fn restart(desk: &mut Desk, shelf: &mut BTreeMap<String, Vec<u8>>, s: u64) -> (Desk, Vec<Effect>) {
    for (id, memory) in desk.unsaved() {
        match memory {
            Some(memory) => drop(shelf.insert(id, serde_json::to_vec(&memory).unwrap())),
            None => drop(shelf.remove(&id)),
        }
    }
    let rows = shelf.iter().map(|(id, text)| (id.clone(), serde_json::from_slice(text).unwrap())).collect();
    let open = desk.open.values().map(|e| e.alert.clone()).collect();
    let mut desk = Desk::new(open, at(s));
    let effects = desk.recall(rows, at(s));
    (desk, effects)
}

#[test]
fn a_restart_goes_on_and_never_doubles() {
    let mut desk = Desk::default();
    up(&mut desk, Major, 0);
    desk.acknowledge("x", 1, Some("eva".into()), at(1)).unwrap();
    desk.raise("r", Condition { by: RaisedBy::Rule, ..condition(Minor) }, at(1));
    desk.raise("s", condition(Minor), at(1));
    desk.snooze("s", 1, Snooze::Restart, None, at(2)).unwrap();
    desk.raise("h", condition(Minor), at(1));
    desk.snooze("h", 1, Snooze::For(Duration::from_secs(100)), None, at(2)).unwrap();
    desk.raise("gone", Condition { latched: false, ..condition(Minor) }, at(1));
    desk.clear("gone", RaisedBy::Telltale, "", at(2));
    let (mut desk, effects) = restart(&mut desk, &mut BTreeMap::new(), 50);
    assert!(
        matches!(&effects[..], [Effect::Publish(a), Effect::Tell(News::Active, _)] if a.alert_id == "s"),
        "{effects:?}"
    );
    assert_eq!(desk.alert("x").unwrap().state, Acknowledged);
    assert!(desk.alert("h").unwrap().snoozed_until.is_some());
    assert_eq!(up(&mut desk, Major, 51), [], "it goes on");
    assert_eq!(desk.raised_by_rule("r"), Some(Minor));
    assert_eq!(desk.confirm("r", &[], false), []);
    desk.raise("gone", condition(Minor), at(52));
    assert_eq!(desk.alert("gone").unwrap().occurrence, 2, "occurrences count on");
    let late = desk.tick(at(111));
    let over: BTreeSet<_> = late
        .iter()
        .filter_map(|e| match e {
            Effect::Publish(a) if a.state == Cleared => Some(a.alert_id.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(
        over,
        ["h", "s"].into(),
        "what nobody speaks of is over; a rule that is there speaks for itself"
    );
    assert_eq!(stands(&down(&mut desk, 120)), Some((Closed, 1, Major)));
}

#[test]
fn alerts_of_other_programs_are_listed_and_acknowledged() {
    let mut desk = Desk::default();
    up(&mut desk, Minor, 0);
    let mut alert = desk.alert("x").unwrap().clone();
    alert.state = Closed;
    assert_eq!(stands(&desk.adopt(alert.clone(), at(1))), Some((Active, 1, Minor)), "ours is ours");
    let door = Alert { alert_id: "door".into(), state: Active, occurrence: 7, ..alert };
    assert_eq!(told(&desk.adopt(door.clone(), at(2))), [News::Active]);
    assert_eq!(told(&desk.adopt(door.clone(), at(2))), [], "the same again is no news");
    let (state, effects) = desk.acknowledge("door", 7, None, at(3)).unwrap();
    assert_eq!((state, told(&effects)), (Acknowledged, vec![News::Acknowledged]));
    assert_eq!(desk.clear("door", RaisedBy::Telltale, "", at(4)), [], "it is not ours to end");
    assert_eq!(told(&desk.adopt(Alert { state: Closed, ..door }, at(5))), [News::Cleared]);
    assert_eq!(desk.len(), 1);
}

#[test]
fn the_list_is_bounded_and_says_so_once() {
    let mut desk = Desk::default();
    for n in 0..limits::ALERTS_OPEN + 5 {
        desk.raise(&format!("a{n}"), condition(Minor), at(1));
    }
    assert_eq!((desk.len(), desk.refused), (limits::ALERTS_OPEN + 1, 5));
    assert!(desk.is_active(FULL));
    for n in 0..limits::ALERTS_OPEN {
        desk.clear(&format!("a{n}"), RaisedBy::Telltale, "", at(2));
        desk.acknowledge(&format!("a{n}"), 1, None, at(3)).unwrap();
    }
    assert!(!desk.is_active(FULL));
    for n in 0..3000 {
        desk.raise(&format!("b{n}"), Condition { latched: false, ..condition(Minor) }, at(4));
        desk.clear(&format!("b{n}"), RaisedBy::Telltale, "", at(5));
    }
    assert!(desk.memory.len() <= limits::ALERTS_REMEMBERED);
}

#[derive(Clone, Debug)]
enum Step {
    Raise(bool, Severity),
    Clear(bool),
    Ack(u64),
    Snooze(u64, Snooze),
    Tick,
    Restart,
    Adopt(AlertState, u64),
}

fn step() -> impl Strategy<Value = (u64, Step)> {
    let severity = prop_oneof![Just(Minor), Just(Major), Just(Severity::Invalid)];
    let snooze =
        prop_oneof![Just(Snooze::None), Just(Snooze::Restart), Just(Snooze::For(Duration::from_secs(60)))];
    let state = prop_oneof![Just(Active), Just(Acknowledged), Just(Cleared), Just(Closed)];
    let step = prop_oneof![
        (any::<bool>(), severity).prop_map(|(rule, s)| Step::Raise(rule, s)),
        any::<bool>().prop_map(Step::Clear),
        (0u64..12).prop_map(Step::Ack),
        (0u64..12, snooze).prop_map(|(n, s)| Step::Snooze(n, s)),
        Just(Step::Tick),
        Just(Step::Restart),
        (state, 0u64..5).prop_map(|(s, n)| Step::Adopt(s, n)),
    ];
    (0u64..400, step)
}

proptest! {
    /// Whatever happened, it ends when its condition is over and somebody acknowledges it; occurrences never go back.
    #[test]
    fn no_sequence_leaves_an_alert_that_cannot_end(steps in proptest::collection::vec(step(), 0..80)) {
        let mut desk = Desk::default();
        let mut s = 0;
        let mut occurrence = 0;
        let mut shelf = BTreeMap::new();
        for (pause, step) in steps {
            s += pause;
            match step {
                Step::Raise(rule, severity) => {
                    let by = if rule { RaisedBy::Rule } else { RaisedBy::Telltale };
                    let effects = desk.raise("x", Condition { by, ..condition(severity) }, at(s));
                    if let Some((_, n, _)) = stands(&effects) {
                        prop_assert!(n >= occurrence);
                        occurrence = n;
                    }
                }
                Step::Clear(rule) => drop(desk.clear("x", if rule { RaisedBy::Rule } else { RaisedBy::Telltale }, "", at(s))),
                Step::Ack(n) => drop(ack(&mut desk, n, s)),
                Step::Snooze(n, snooze) => drop(desk.snooze("x", n, snooze, None, at(s))),
                Step::Tick => drop(desk.tick(at(s))),
                Step::Restart => desk = restart(&mut desk, &mut shelf, s).0,
                Step::Adopt(state, n) => {
                    let alert = Alert { alert_id: "x".into(), occurrence: n, severity: Minor, state, message: "m".into(), raised_at: at(s).wall,
                        source: None, guidance: None, value: None, limit: None, unit: None, cleared_at: None, acked_at: None, acked_by: None,
                        snoozed_until: None, latched: true, rule: None, count: 1, raised_by: None, blocks: Vec::new(), latch: false };
                    desk.adopt(alert, at(s));
                    occurrence = desk.memory.get("x").map_or(0, |m| m.occurrence);
                }
            }
        }
        desk.clear("x", RaisedBy::Rule, "", at(s));
        desk.clear("x", RaisedBy::Telltale, "", at(s));
        desk.tick(at(s + 100_000));
        if let Some(alert) = desk.alert("x").cloned() {
            if alert.raised_by.is_none() {
                desk.adopt(Alert { state: Closed, ..alert }, at(s));
            } else {
                prop_assert!(!alert.state.holds(), "{alert:?}");
                ack(&mut desk, alert.occurrence, s + 100_001).unwrap();
            }
        }
        prop_assert!(desk.alert("x").is_none());
    }
}
