//! Rules on values that come and go: limits, words, silence, causes, and any sequence at all.

use super::*;
use crate::config::AlertWhen;
use proptest::prelude::*;

fn rule(test: AlertTest) -> AlertRule {
    AlertRule::new("r", Selector::parse("stream/x").unwrap(), test)
}

fn limits(above: Option<f64>, major_above: Option<f64>, below: Option<f64>) -> AlertTest {
    AlertTest::Limits(AlertLimits { above, major_above, below, major_below: None })
}

fn s(n: f64) -> Duration {
    Duration::from_secs_f64(n)
}

fn number(n: f64) -> Heard {
    Heard { value: Heeded::Number(n), good: true, live: true, heading: None }
}

fn word(w: &str) -> Heard {
    Heard { value: Heeded::Word(w.into()), good: true, live: true, heading: None }
}

/// One row: at this second, this was heard (or nothing), and this is what comes of it and how it stands then.
type Row = (f64, Option<Heard>, Option<Change>, Standing);

fn table(rule: &AlertRule, rows: &[Row]) {
    let mut machine = Machine::new(s(0.0), None);
    for (n, (at, heard, change, standing)) in rows.iter().enumerate() {
        if let Some(heard) = heard.clone() {
            machine.hear(heard, s(*at));
        }
        assert_eq!(machine.settle(rule, s(*at), false), *change, "row {n} of {:?}", rule.test);
        assert_eq!(machine.standing(), *standing, "row {n} of {:?}", rule.test);
    }
}

fn raise(severity: Severity, limit: Option<f64>) -> Option<Change> {
    Some(Change::Raise { severity, limit })
}

use Severity::{Major, Minor};
use Standing::{Firing, NoData, Ok as Fine, Pending};

#[test]
fn above_with_hysteresis_and_a_second_limit() {
    let rule = AlertRule { hysteresis: 2.0, ..rule(limits(Some(30.0), Some(40.0), None)) };
    table(
        &rule,
        &[
            (0.0, None, None, NoData),
            (1.0, Some(number(30.0)), None, Fine),
            (2.0, Some(number(29.0)), None, Fine),
            (3.0, Some(number(30.1)), raise(Minor, Some(30.0)), Firing),
            (4.0, Some(number(28.5)), None, Firing),
            (5.0, Some(number(f64::NAN)), None, Firing),
            (6.0, Some(number(41.0)), Some(Change::Worse { severity: Major, limit: Some(40.0) }), Firing),
            (7.0, Some(number(35.0)), None, Firing),
            (8.0, Some(number(41.0)), None, Firing),
            (9.0, Some(number(28.0)), Some(Change::Clear), Fine),
            (10.0, Some(number(29.0)), None, Fine),
            (11.0, Some(number(50.0)), raise(Major, Some(40.0)), Firing),
        ],
    );
}

#[test]
fn outside_of_two_limits() {
    let rule = AlertRule { hysteresis: 0.5, ..rule(limits(Some(51.0), None, Some(49.0))) };
    table(
        &rule,
        &[
            (0.0, Some(number(50.0)), None, Fine),
            (1.0, Some(number(48.9)), raise(Minor, Some(49.0)), Firing),
            (2.0, Some(number(49.4)), None, Firing),
            (3.0, Some(number(49.5)), Some(Change::Clear), Fine),
            (4.0, Some(number(51.1)), raise(Minor, Some(51.0)), Firing),
            (5.0, Some(number(50.0)), Some(Change::Clear), Fine),
        ],
    );
}

#[test]
fn it_must_hold_and_must_be_over() {
    let rule = AlertRule { delay: s(10.0), clear_delay: s(5.0), ..rule(limits(Some(1.0), None, None)) };
    table(
        &rule,
        &[
            (0.0, Some(number(2.0)), None, Pending),
            (9.0, Some(number(0.0)), None, Fine),
            (10.0, Some(number(2.0)), None, Pending),
            // What is not known does not hold.
            (15.0, Some(number(f64::NAN)), None, NoData),
            (16.0, Some(number(2.0)), None, Pending),
            (25.9, None, None, Pending),
            (26.0, None, raise(Minor, Some(1.0)), Firing),
            (27.0, Some(number(0.0)), None, Firing),
            (30.0, Some(number(2.0)), None, Firing),
            (31.0, Some(number(0.0)), None, Firing),
            (33.0, Some(number(f64::INFINITY)), None, Firing),
            (34.0, Some(number(0.0)), None, Firing),
            (38.9, None, None, Firing),
            (39.0, None, Some(Change::Clear), Fine),
        ],
    );
}

#[test]
fn so_many_times_within() {
    let rule = AlertRule { count: 3, within: s(60.0), ..rule(limits(Some(1.0), None, None)) };
    table(
        &rule,
        &[
            (0.0, Some(number(2.0)), None, Pending),
            (1.0, Some(number(0.0)), None, Fine),
            (5.0, Some(number(2.0)), None, Pending),
            (6.0, Some(number(0.0)), None, Fine),
            (70.0, Some(number(2.0)), None, Pending),
            (71.0, Some(number(0.0)), None, Fine),
            (75.0, Some(number(2.0)), None, Pending),
            (76.0, Some(number(0.0)), None, Fine),
            (79.0, Some(number(2.0)), raise(Minor, Some(1.0)), Firing),
            (80.0, Some(number(0.0)), None, Firing),
            (139.0, None, None, Firing),
            (140.0, None, Some(Change::Clear), Fine),
            // Holding all the time counts, too.
            (200.0, Some(number(2.0)), None, Pending),
            (260.0, None, raise(Minor, Some(1.0)), Firing),
        ],
    );
}

#[test]
fn words() {
    let is = rule(AlertTest::Is(vec!["fault".into(), "offline".into()]));
    table(
        &is,
        &[
            (0.0, Some(word("idle")), None, Fine),
            (1.0, Some(word("fault")), raise(Minor, None), Firing),
            (2.0, Some(word("offline")), None, Firing),
            (
                3.0,
                Some(Heard { value: Heeded::Nothing, good: false, live: true, heading: None }),
                None,
                Firing,
            ),
            (4.0, Some(word("idle")), Some(Change::Clear), Fine),
        ],
    );
    let is_not = rule(AlertTest::IsNot(vec!["live".into(), "7".into()]));
    table(
        &is_not,
        &[
            (0.0, Some(word("live")), None, Fine),
            (1.0, Some(word("stale")), raise(Minor, None), Firing),
            (2.0, Some(number(7.0)), Some(Change::Clear), Fine),
        ],
    );
}

#[test]
fn stale_and_absent() {
    let bad = Heard { good: false, ..number(1.0) };
    let restored = Heard { live: false, ..number(1.0) };
    table(
        &rule(AlertTest::Stale(s(10.0))),
        &[
            (0.0, None, None, NoData),
            (50.0, None, None, NoData),
            (50.0, Some(restored.clone()), None, NoData),
            (60.1, None, raise(Minor, None), Firing),
            (61.0, Some(number(1.0)), Some(Change::Clear), Fine),
            (71.0, None, None, Fine),
            (71.1, None, raise(Minor, None), Firing),
            (72.0, Some(number(2.0)), Some(Change::Clear), Fine),
            (73.0, Some(bad), raise(Minor, None), Firing),
        ],
    );
    table(
        &rule(AlertTest::Absent(s(10.0))),
        &[
            (0.0, Some(restored), None, NoData),
            (10.0, None, None, NoData),
            (10.1, None, raise(Minor, None), Firing),
            (
                11.0,
                Some(Heard { value: Heeded::Nothing, good: false, live: true, heading: None }),
                Some(Change::Clear),
                Fine,
            ),
            (21.1, None, raise(Minor, None), Firing),
        ],
    );
}

#[test]
fn a_value_that_is_too_old_is_no_data() {
    let rule = AlertRule { stale_after: Some(s(5.0)), delay: s(8.0), ..rule(limits(Some(1.0), None, None)) };
    table(
        &rule,
        &[
            (0.0, Some(number(2.0)), None, Pending),
            (5.1, None, None, NoData),
            (20.0, None, None, NoData),
            (21.0, Some(number(0.0)), None, Fine),
            (27.0, None, None, NoData),
        ],
    );
}

#[test]
fn what_is_too_old_and_changes_nothing_is_not_waited_for() {
    let low = AlertTest::Limits(AlertLimits { below: Some(5.0), ..AlertLimits::default() });
    let when = AlertWhen { value: Selector::parse("stream/y").unwrap(), test: low };
    let tests = [limits(Some(1.0), None, None), AlertTest::Stale(s(5.0))];
    for test in tests {
        let stale_after = matches!(test, AlertTest::Limits(_)).then_some(s(5.0));
        let rule = AlertRule { stale_after, and: vec![when.clone()], ..rule(test) };
        let mut machine = Machine::new(s(0.0), None);
        machine.hear(number(0.0), s(0.0));
        machine.hear_also(0, Some(number(9.0)), s(3.0));
        machine.settle(&rule, s(3.0), false);
        for _ in 0..4 {
            let Some(at) = machine.wake(&rule) else { break };
            machine.settle(&rule, at, false);
            assert!(machine.wake(&rule).is_none_or(|next| next > at), "{rule:?}: at once again");
        }
    }
}

#[test]
fn one_cause_one_alert() {
    let rule = rule(limits(Some(1.0), None, None));
    let mut machine = Machine::new(s(0.0), None);
    machine.hear(number(2.0), s(0.0));
    assert_eq!(machine.settle(&rule, s(0.0), true), None);
    assert_eq!(machine.settle(&rule, s(1.0), false), raise(Minor, Some(1.0)));
    assert_eq!(machine.settle(&rule, s(2.0), true), None, "what is raised stays");
    assert_eq!(machine.standing(), Firing);
}

#[test]
fn what_was_raised_before_a_restart_is_judged_again() {
    let rule = rule(limits(Some(1.0), None, None));
    let mut machine = Machine::new(s(0.0), Some(Minor));
    machine.hear(Heard { live: false, ..number(0.0) }, s(0.0));
    assert_eq!(machine.settle(&rule, s(0.0), false), None, "restored is not current");
    machine.hear(number(2.0), s(1.0));
    assert_eq!(machine.settle(&rule, s(1.0), false), None, "not a second time");
    machine.hear(number(0.0), s(2.0));
    assert_eq!(machine.settle(&rule, s(2.0), false), Some(Change::Clear));
}

fn channel(name: &str) -> Selector {
    Selector::parse(&format!("instrument/stage/{name}")).unwrap()
}

/// x above 50 while y is below 5.
fn collision() -> AlertRule {
    let low = AlertLimits { below: Some(5.0), ..AlertLimits::default() };
    AlertRule {
        value: channel("x"),
        and: vec![AlertWhen { value: channel("y"), test: AlertTest::Limits(low) }],
        blocks: vec!["instrument/stage".into()],
        ..rule(limits(Some(50.0), None, None))
    }
}

fn at(x: Option<f64>, y: Option<f64>) -> Machine {
    let mut machine = Machine::new(s(0.0), None);
    if let Some(x) = x {
        machine.hear(number(x), s(0.0));
    }
    machine.hear_also(0, y.map(number), s(0.0));
    machine
}

#[test]
fn both_must_hold_and_one_that_does_not_is_enough_to_know() {
    let rule = collision();
    for (x, y, standing) in [
        (Some(60.0), Some(2.0), Firing),
        (Some(60.0), Some(5.0), Fine),
        (Some(40.0), Some(2.0), Fine),
        (Some(40.0), None, Fine),
        (None, Some(9.0), Fine),
        (Some(60.0), None, NoData),
        (None, Some(2.0), NoData),
        (None, None, NoData),
    ] {
        let mut machine = at(x, y);
        machine.settle(&rule, s(1.0), false);
        assert_eq!(machine.standing(), standing, "{x:?} {y:?}");
    }
    let mut machine = at(Some(60.0), Some(2.0));
    assert_eq!(machine.settle(&rule, s(1.0), false), raise(Minor, Some(50.0)));
    machine.hear_also(0, None, s(2.0));
    assert_eq!(machine.settle(&rule, s(2.0), false), None, "what is not known clears nothing");
    machine.hear_also(0, Some(number(9.0)), s(3.0));
    assert_eq!(machine.settle(&rule, s(3.0), false), Some(Change::Clear));
    let old = AlertRule { stale_after: Some(s(5.0)), ..rule };
    let mut machine = at(Some(60.0), Some(9.0));
    machine.settle(&old, s(1.0), false);
    assert_eq!((machine.standing(), machine.wake(&old)), (Fine, Some(s(5.001))));
    machine.settle(&old, s(5.001), false);
    assert_eq!(machine.standing(), NoData);
}

#[test]
fn where_a_move_would_lead_is_known_before_it_begins() {
    use Prospect::{Clear, Holds, LeadsOut, Unknown};
    let rule = AlertRule { hysteresis: 2.0, ..collision() };
    let (none, x, y) = (None, Some("x"), Some("y"));
    for (from, moves, expected) in [
        ((Some(10.0), Some(2.0)), &[(x, 40.0)][..], Clear),
        ((Some(10.0), Some(2.0)), &[(x, 60.0)], Holds),
        ((Some(10.0), Some(9.0)), &[(x, 60.0)], Clear),
        ((Some(60.0), Some(9.0)), &[(y, 2.0)], Holds),
        // Which of them arrives first is not known.
        ((Some(10.0), Some(2.0)), &[(x, 60.0), (y, 9.0)], Holds),
        ((Some(10.0), Some(9.0)), &[(x, 60.0), (y, 6.0)], Clear),
        // The way out: beyond the hysteresis only.
        ((Some(60.0), Some(2.0)), &[(x, 10.0)], LeadsOut),
        ((Some(60.0), Some(2.0)), &[(y, 9.0)], LeadsOut),
        ((Some(60.0), Some(2.0)), &[(x, 49.0)], Holds),
        ((Some(60.0), Some(2.0)), &[(x, 55.0)], Holds),
        ((Some(60.0), Some(2.0)), &[(none, 1.0)], Holds),
        // What is not known stays so.
        ((Some(10.0), None), &[(x, 60.0)], Unknown),
        ((Some(10.0), None), &[(x, 40.0)], Clear),
        ((Some(10.0), None), &[(y, 9.0)], Clear),
        ((None, Some(2.0)), &[(x, 60.0)], Holds),
        ((None, Some(2.0)), &[(x, 40.0)], Unknown),
    ] {
        let mut machine = at(from.0, from.1);
        machine.settle(&rule, s(0.0), false);
        let to = |selector: &Selector| {
            let channel = selector.channel_of("stage");
            moves.iter().find(|(name, _)| *name == channel).map(|(_, to)| Heeded::Number(*to))
        };
        assert_eq!(machine.prospect(&rule, to, s(1.0)), expected, "{from:?} {moves:?}");
    }
}

#[test]
fn what_is_on_its_way_counts_as_there() {
    let rule = collision();
    let mut machine = at(None, Some(9.0));
    machine.hear(Heard { heading: Some(60.0), ..number(10.0) }, s(0.0));
    let to = |selector: &Selector| (selector.channel_of("stage") == Some("y")).then_some(Heeded::Number(2.0));
    assert_eq!(machine.prospect(&rule, to, s(0.0)), Prospect::Holds);
    machine.hear(number(10.0), s(1.0));
    assert_eq!(machine.prospect(&rule, to, s(1.0)), Prospect::Clear);
}

#[test]
fn a_word_that_is_not_current_does_not_say_that_all_is_well() {
    let free = rule(AlertTest::Is(vec!["open".into()]));
    let blocking = AlertRule { blocks: vec!["instrument/laser".into()], ..free.clone() };
    for (rule, text, good, standing) in [
        (&free, "closed", false, Fine),
        (&blocking, "closed", true, Fine),
        (&blocking, "closed", false, NoData),
        (&blocking, "open", false, Firing),
    ] {
        let mut machine = Machine::new(s(0.0), None);
        machine.hear(Heard { good, ..word(text) }, s(0.0));
        machine.settle(rule, s(0.0), false);
        assert_eq!(machine.standing(), standing, "{text} {good}");
    }
}

fn a_rule() -> impl Strategy<Value = AlertRule> {
    let test = prop_oneof![
        (-5.0..5.0f64, 0.0..3.0f64).prop_map(|(a, more)| limits(Some(a), Some(a + more), None)),
        (-5.0..0.0f64, 0.0..5.0f64).prop_map(|(low, high)| limits(Some(high), None, Some(low))),
        Just(AlertTest::Is(vec!["bad".into()])),
        Just(AlertTest::IsNot(vec!["fine".into()])),
        (1u64..50).prop_map(|n| AlertTest::Stale(Duration::from_secs(n))),
        (1u64..50).prop_map(|n| AlertTest::Absent(Duration::from_secs(n))),
    ];
    (test, 0.0..2.0f64, 0u64..30, 0u64..30, 1u32..4, 1u64..60, proptest::option::of(1u64..20)).prop_map(
        |(test, hysteresis, delay, clear, count, within, stale)| AlertRule {
            hysteresis,
            delay: Duration::from_secs(delay),
            clear_delay: Duration::from_secs(clear),
            count,
            within: Duration::from_secs(within),
            stale_after: stale.map(Duration::from_secs),
            ..rule(test)
        },
    )
}

fn heard() -> impl Strategy<Value = Heard> {
    let value = prop_oneof![
        (-10.0..10.0f64).prop_map(Heeded::Number),
        Just(Heeded::Number(f64::NAN)),
        Just(Heeded::Number(f64::INFINITY)),
        prop_oneof![Just("bad"), Just("fine"), Just("odd")].prop_map(|w| Heeded::Word(w.into())),
        Just(Heeded::Nothing),
    ];
    (value, any::<bool>(), any::<bool>()).prop_map(|(value, good, live)| Heard {
        value,
        good,
        live,
        heading: None,
    })
}

proptest! {
    /// Raises and clears alternate, nothing is raised by what is not known, and whatever came before can end.
    #[test]
    fn no_sequence_leaves_an_alert_that_cannot_end(
        rule in a_rule(),
        raised: bool,
        inputs in proptest::collection::vec((0u64..40_000, proptest::option::of(heard()), any::<bool>()), 0..60),
    ) {
        let mut machine = Machine::new(Duration::ZERO, raised.then_some(Minor));
        let mut open = raised;
        let mut now = Duration::ZERO;
        for (pause, heard, held_back) in inputs {
            now += Duration::from_millis(pause);
            let unknown = heard.as_ref().is_some_and(|h| match (&rule.test, &h.value) {
                (AlertTest::Limits(_), Heeded::Number(n)) => !n.is_finite() || !h.good,
                (AlertTest::Limits(_), _) => true,
                _ => false,
            });
            if let Some(heard) = heard {
                machine.hear(heard, now);
            }
            match machine.settle(&rule, now, held_back) {
                Some(Change::Raise { .. }) => {
                    prop_assert!(!open && !held_back && !unknown);
                    open = true;
                }
                Some(Change::Clear) => {
                    prop_assert!(open && !unknown);
                    open = false;
                }
                Some(Change::Worse { .. }) => prop_assert!(open && !unknown),
                None => {}
            }
            prop_assert_eq!(open, machine.standing() == Firing);
            prop_assert!(machine.wake(&rule).is_none_or(|at| at + Duration::from_secs(120) > now));
        }
        // Fine, and heard often enough, for long enough.
        let fine = match &rule.test {
            AlertTest::Limits(l) => {
                let low = l.below.map_or(l.above.unwrap_or(0.0) - 5.0, |low| (low + l.above.unwrap_or(low)) / 2.0);
                number(low)
            }
            AlertTest::Is(_) => word("odd"),
            AlertTest::IsNot(_) => word("fine"),
            _ => number(0.0),
        };
        for _ in 0..200 {
            now += Duration::from_millis(900);
            machine.hear(fine.clone(), now);
            if machine.settle(&rule, now, true) == Some(Change::Clear) {
                open = false;
            }
        }
        prop_assert!(!open, "{machine:?}");
    }
}
