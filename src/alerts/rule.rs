//! One rule on one value, as a pure machine: what was heard and when goes in, raise and clear come out.
//!
//! Promises: nothing that is not known (no number, NaN, a value marked as not current) is taken for within limits or
//! for beyond them: it is no data, ends what was pending and leaves what was raised. Whatever came before, a value
//! within limits that is heard for `clear_delay` ends the alert. Time is the monotonic clock, given by the caller.

use crate::config::{AlertLimits, AlertRule, AlertTest};
use crate::model::Severity;
use serde_json::Value;
use std::collections::VecDeque;
use std::time::Duration;

/// What was heard of the value.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// The value.
    pub value: Heeded,
    /// Whether it is marked as current.
    pub good: bool,
    /// Whether it is from this run: what was restored is known, but not heard.
    pub live: bool,
}

/// A value as rules see it.
#[derive(Clone, Debug, PartialEq)]
pub enum Heeded {
    /// A finite number.
    Number(f64),
    /// A word; switches are `true` and `false`.
    Word(String),
    /// There is none.
    Nothing,
}

impl Heeded {
    /// Reads a member of a payload.
    pub fn of(value: &Value) -> Self {
        match value {
            Value::Number(n) => n.as_f64().filter(|n| n.is_finite()).map_or(Heeded::Nothing, Heeded::Number),
            Value::String(word) => Heeded::Word(word.clone()),
            Value::Bool(on) => Heeded::Word(on.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => Heeded::Nothing,
        }
    }
}

/// What comes out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// It holds.
    Raise {
        /// How bad.
        severity: Severity,
        /// The limit it is beyond.
        limit: Option<f64>,
    },
    /// It has become worse.
    Worse {
        /// How bad now.
        severity: Severity,
        /// The limit it is beyond.
        limit: Option<f64>,
    },
    /// It is over.
    Clear,
}

/// What is to be said of a rule that is asked how it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Within limits.
    Ok,
    /// Beyond, not yet for long enough.
    Pending,
    /// Raised.
    Firing,
    /// Nobody knows.
    NoData,
}

impl Standing {
    /// The word of the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Standing::Ok => "ok",
            Standing::Pending => "pending",
            Standing::Firing => "firing",
            Standing::NoData => "no data",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Fine,
    Beyond(Severity, Option<f64>),
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Quiet,
    /// Beyond since.
    Pending(Duration),
    Firing {
        severity: Severity,
        /// Worse than that since.
        worse: Option<Duration>,
        /// Over since.
        over: Option<Duration>,
    },
}

/// See the module above.
#[derive(Debug)]
pub struct Machine {
    phase: Phase,
    verdict: Verdict,
    last: Option<Heard>,
    /// When the value was last heard; for what was restored, when this machine began.
    heard: Option<Duration>,
    began: Duration,
    /// When it was last within limits and then beyond: for `count`.
    begins: VecDeque<Duration>,
    since: Duration,
}

impl Machine {
    /// A machine that begins at `now`. With `raised` its alert is active already, from before a restart or a reload.
    pub fn new(now: Duration, raised: Option<Severity>) -> Self {
        let phase = match raised {
            Some(severity) => Phase::Firing { severity, worse: None, over: None },
            None => Phase::Quiet,
        };
        Machine {
            phase,
            verdict: Verdict::Unknown,
            last: None,
            heard: None,
            began: now,
            begins: VecDeque::new(),
            since: now,
        }
    }

    /// Something was heard. Call [`Machine::settle`] then.
    pub fn hear(&mut self, heard: Heard, now: Duration) {
        if heard.live || self.heard.is_none() {
            self.heard = Some(now);
        }
        self.last = Some(heard);
    }

    /// The value is no longer there at all.
    pub fn gone(&mut self, now: Duration) -> Option<Change> {
        self.last = None;
        self.heard = None;
        self.began = now;
        self.verdict = Verdict::Unknown;
        self.begins.clear();
        let firing = matches!(self.phase, Phase::Firing { .. });
        self.enter(Phase::Quiet, now);
        firing.then_some(Change::Clear)
    }

    /// Judges what is known at `now`. While `held_back` nothing new is raised.
    pub fn settle(&mut self, rule: &AlertRule, now: Duration, held_back: bool) -> Option<Change> {
        let firing = match self.phase {
            Phase::Firing { severity, .. } => Some(severity),
            _ => None,
        };
        let verdict = self.judge(rule, now, firing.is_some());
        let before = std::mem::replace(&mut self.verdict, verdict);
        let begins = matches!(verdict, Verdict::Beyond(..)) && !matches!(before, Verdict::Beyond(..));
        if begins && rule.count > 1 {
            self.begins.push_back(now);
            if self.begins.len() > rule.count as usize {
                self.begins.pop_front();
            }
        }
        while self.begins.front().is_some_and(|at| now.saturating_sub(*at) > rule.within) {
            self.begins.pop_front();
        }
        match (self.phase, verdict) {
            (Phase::Quiet | Phase::Pending(_), Verdict::Beyond(severity, limit)) => {
                if held_back {
                    self.enter(Phase::Quiet, now);
                    return None;
                }
                let since = match self.phase {
                    Phase::Pending(since) => since,
                    _ => now,
                };
                let long_enough = if rule.count > 1 {
                    self.begins.len() >= rule.count as usize || now.saturating_sub(since) >= rule.within
                } else {
                    now.saturating_sub(since) >= rule.delay
                };
                if long_enough {
                    self.enter(Phase::Firing { severity, worse: None, over: None }, now);
                    return Some(Change::Raise { severity, limit });
                }
                if self.phase == Phase::Quiet {
                    self.enter(Phase::Pending(now), now);
                }
                None
            }
            (Phase::Quiet | Phase::Pending(_), Verdict::Fine | Verdict::Unknown) => {
                if self.phase != Phase::Quiet || before != verdict {
                    self.enter(Phase::Quiet, now);
                }
                None
            }
            (Phase::Firing { severity, worse, .. }, Verdict::Beyond(is, limit)) => {
                let worse = if is > severity { worse.or(Some(now)) } else { None };
                if worse.is_some_and(|since| now.saturating_sub(since) >= rule.delay) {
                    self.phase = Phase::Firing { severity: is, worse: None, over: None };
                    return Some(Change::Worse { severity: is, limit });
                }
                self.phase = Phase::Firing { severity, worse, over: None };
                None
            }
            (Phase::Firing { severity, .. }, Verdict::Unknown) => {
                self.phase = Phase::Firing { severity, worse: None, over: None };
                None
            }
            (Phase::Firing { severity, over, .. }, Verdict::Fine) => {
                let since = over.unwrap_or(now);
                if now.saturating_sub(since) >= over_for(rule) {
                    self.begins.clear();
                    self.enter(Phase::Quiet, now);
                    return Some(Change::Clear);
                }
                self.phase = Phase::Firing { severity, worse: None, over: Some(since) };
                None
            }
        }
    }

    /// When the passing of time alone may change something, on the caller's clock.
    pub fn wake(&self, rule: &AlertRule) -> Option<Duration> {
        let phase = match self.phase {
            Phase::Quiet => None,
            Phase::Pending(since) => Some(since + if rule.count > 1 { rule.within } else { rule.delay }),
            Phase::Firing { worse, over, .. } => {
                over.map(|since| since + over_for(rule)).or(worse.map(|since| since + rule.delay))
            }
        };
        let beyond = matches!(self.verdict, Verdict::Beyond(..));
        let age = match &rule.test {
            AlertTest::Stale(time) if !beyond => self.heard.map(|at| at + *time),
            AlertTest::Absent(time) if !beyond => Some(self.heard.unwrap_or(self.began) + *time),
            AlertTest::Stale(_) | AlertTest::Absent(_) => None,
            _ if self.verdict == Verdict::Unknown => None,
            _ => rule.stale_after.and_then(|time| Some(self.heard? + time)),
        };
        // One more, so that what is over by then is over.
        let age = age.map(|at| at + Duration::from_millis(1));
        [phase, age].into_iter().flatten().min()
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        match (self.phase, self.verdict) {
            (Phase::Firing { .. }, _) => Standing::Firing,
            (Phase::Pending(_), _) => Standing::Pending,
            (Phase::Quiet, Verdict::Unknown) => Standing::NoData,
            (Phase::Quiet, _) => Standing::Ok,
        }
    }

    /// Since when it stands so.
    pub fn since(&self) -> Duration {
        self.since
    }

    /// What was heard last.
    pub fn last(&self) -> Option<&Heeded> {
        self.last.as_ref().map(|heard| &heard.value)
    }

    fn enter(&mut self, phase: Phase, now: Duration) {
        self.phase = phase;
        self.since = now;
    }

    fn judge(&self, rule: &AlertRule, now: Duration, held: bool) -> Verdict {
        let age = |at: Duration| now.saturating_sub(at);
        let beyond = |holds: bool| match holds {
            true => Verdict::Beyond(rule.severity, None),
            false => Verdict::Fine,
        };
        match &rule.test {
            AlertTest::Absent(time) => {
                let live = self.last.as_ref().is_some_and(|heard| heard.live);
                match self.heard {
                    Some(at) if live => beyond(age(at) > *time),
                    _ => {
                        let waited = age(self.began) > *time;
                        if waited { beyond(true) } else { Verdict::Unknown }
                    }
                }
            }
            AlertTest::Stale(time) => match (&self.last, self.heard) {
                (Some(heard), Some(at)) if heard.live => beyond(!heard.good || age(at) > *time),
                // Known from before the restart: its source is given the time to speak.
                (Some(_), Some(at)) if age(at) > *time => beyond(true),
                _ => Verdict::Unknown,
            },
            test => {
                let Some(heard) = self.last.as_ref().filter(|heard| heard.live) else {
                    return Verdict::Unknown;
                };
                let late = rule.stale_after.is_some_and(|time| self.heard.is_none_or(|at| age(at) > time));
                if late {
                    return Verdict::Unknown;
                }
                match (test, &heard.value) {
                    (_, Heeded::Nothing) => Verdict::Unknown,
                    (AlertTest::Limits(limits), Heeded::Number(n)) if heard.good && n.is_finite() => {
                        of_limits(limits, rule, *n, held)
                    }
                    (AlertTest::Limits(_), _) => Verdict::Unknown,
                    (AlertTest::Is(words), value) => beyond(is_among(value, words)),
                    (AlertTest::IsNot(words), value) => beyond(!is_among(value, words)),
                    (AlertTest::Stale(_) | AlertTest::Absent(_), _) => Verdict::Unknown,
                }
            }
        }
    }
}

/// How long it must be over: what is counted in a time has not come back in that time.
fn over_for(rule: &AlertRule) -> Duration {
    if rule.count > 1 { rule.clear_delay.max(rule.within) } else { rule.clear_delay }
}

fn of_limits(limits: &AlertLimits, rule: &AlertRule, n: f64, held: bool) -> Verdict {
    let above = |limit: Option<f64>| limit.filter(|limit| n > *limit);
    let below = |limit: Option<f64>| limit.filter(|limit| n < *limit);
    if let Some(limit) = above(limits.major_above).or(below(limits.major_below)) {
        return Verdict::Beyond(Severity::Major.max(rule.severity), Some(limit));
    }
    // Where only the second limit of a side is given, it is that side's first, too.
    let first_above = limits.above.or(limits.major_above);
    let first_below = limits.below.or(limits.major_below);
    if let Some(limit) = above(first_above).or(below(first_below)) {
        return Verdict::Beyond(rule.severity, Some(limit));
    }
    // Between two limits some room is left in which it is over, however wide the hysteresis.
    let room = first_above.zip(first_below).map_or(f64::INFINITY, |(above, below)| (above - below) * 0.49);
    let back = rule.hysteresis.min(room);
    let near = first_above
        .filter(|limit| n > *limit - back)
        .or(first_below.filter(|limit| n < *limit + back))
        .filter(|_| held);
    match near {
        Some(limit) => Verdict::Beyond(rule.severity, Some(limit)),
        None => Verdict::Fine,
    }
}

fn is_among(value: &Heeded, words: &[String]) -> bool {
    match value {
        Heeded::Word(word) => words.contains(word),
        Heeded::Number(n) => words.iter().any(|word| word.parse() == Ok(*n)),
        Heeded::Nothing => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Selector;
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
        Heard { value: Heeded::Number(n), good: true, live: true }
    }

    fn word(w: &str) -> Heard {
        Heard { value: Heeded::Word(w.into()), good: true, live: true }
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
                (3.0, Some(Heard { value: Heeded::Nothing, good: false, live: true }), None, Firing),
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
                    Some(Heard { value: Heeded::Nothing, good: false, live: true }),
                    Some(Change::Clear),
                    Fine,
                ),
                (21.1, None, raise(Minor, None), Firing),
            ],
        );
    }

    #[test]
    fn a_value_that_is_too_old_is_no_data() {
        let rule =
            AlertRule { stale_after: Some(s(5.0)), delay: s(8.0), ..rule(limits(Some(1.0), None, None)) };
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
        (value, any::<bool>(), any::<bool>()).prop_map(|(value, good, live)| Heard { value, good, live })
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
}
