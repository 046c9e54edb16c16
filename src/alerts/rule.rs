//! One rule on one value, as a pure machine: what was heard and when goes in, raise and clear come out.
//!
//! Promises: nothing that is not known (no number, NaN, a value marked as not current) is taken for within limits or
//! for beyond them: it is no data, ends what was pending and leaves what was raised. Whatever came before, a value
//! within limits that is heard for `clear_delay` ends the alert. Time is the monotonic clock, given by the caller.

use crate::config::{AlertLimits, AlertRule, AlertTest};
use crate::model::{Selector, Severity};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
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
    /// Where it is on its way to, for a channel that was sent somewhere.
    pub heading: Option<f64>,
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

impl Verdict {
    /// Both must hold. What is not known leaves it open, unless the other one does not hold.
    fn and(self, other: Verdict) -> Verdict {
        match (self, other) {
            (Verdict::Fine, _) | (_, Verdict::Fine) => Verdict::Fine,
            (Verdict::Unknown, _) | (_, Verdict::Unknown) => Verdict::Unknown,
            (Verdict::Beyond(..), Verdict::Beyond(..)) => self,
        }
    }

    /// One of them may hold on the way: the worse one counts.
    fn or(self, other: Verdict) -> Verdict {
        match (self, other) {
            (Verdict::Beyond(..), _) => self,
            (_, Verdict::Beyond(..)) => other,
            (Verdict::Unknown, _) | (_, Verdict::Unknown) => Verdict::Unknown,
            (Verdict::Fine, Verdict::Fine) => Verdict::Fine,
        }
    }
}

/// What would become of a rule if channels were set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prospect {
    /// It would not hold, neither on the way nor there.
    Clear,
    /// It would hold.
    Holds,
    /// Nobody knows.
    Unknown,
    /// It holds now and would not hold there.
    LeadsOut,
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
    /// The same of the values of `and`.
    also: BTreeMap<usize, (Heard, Duration)>,
    began: Duration,
    /// When it was last within limits and then beyond: for `count`.
    begins: VecDeque<Duration>,
    since: Duration,
    /// When it was last judged: what was too old then is nothing to wait for.
    judged: Duration,
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
            also: BTreeMap::new(),
            began: now,
            begins: VecDeque::new(),
            since: now,
            judged: now,
        }
    }

    /// Values that were heard by this one, before a reload, are as old as they were.
    pub fn grow_as_old_as(&mut self, before: &Machine) {
        if before.heard.is_some() && self.heard.is_some() {
            self.heard = before.heard;
        }
        for (n, (_, at)) in &mut self.also {
            if let Some((_, then)) = before.also.get(n) {
                *at = *then;
            }
        }
    }

    /// Something was heard. Call [`Machine::settle`] then.
    pub fn hear(&mut self, heard: Heard, now: Duration) {
        if heard.live || self.heard.is_none() {
            self.heard = Some(now);
        }
        self.last = Some(heard);
    }

    /// Something was heard of the value of a further condition, counted from 0; none: it is not there any more.
    pub fn hear_also(&mut self, n: usize, heard: Option<Heard>, now: Duration) {
        match heard {
            Some(heard) => drop(self.also.insert(n, (heard, now))),
            None => drop(self.also.remove(&n)),
        }
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
        self.judged = now;
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
        let also = match rule.stale_after {
            Some(time) if self.verdict != Verdict::Unknown => {
                self.also.values().map(|(_, at)| *at + time).filter(|at| *at >= self.judged).min()
            }
            _ => None,
        };
        // One more, so that what is over by then is over. With `and` what is too old may change nothing: once judged it is
        // not waited for again.
        let age = age.filter(|at| *at >= self.judged);
        let late = [age, also].into_iter().flatten().map(|at| at + Duration::from_millis(1));
        phase.into_iter().chain(late).min()
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

    /// Whether it is not known if it holds.
    pub fn is_unknown(&self) -> bool {
        self.verdict == Verdict::Unknown
    }

    /// What would become of it if values were set to what `to` says; the others stay as they are known to be. On the
    /// way a value is anything between where it is, where it is heading and where it is sent.
    pub fn prospect(
        &self,
        rule: &AlertRule,
        to: impl Fn(&Selector) -> Option<Heeded>,
        now: Duration,
    ) -> Prospect {
        let tests =
            std::iter::once((&rule.value, &rule.test)).chain(rule.and.iter().map(|w| (&w.value, &w.test)));
        let (mut way, mut there, mut is) = (Vec::new(), Vec::new(), Vec::new());
        for (n, (selector, test)) in tests.enumerate() {
            let known = match n {
                0 => self.judge_own(rule, now, false),
                n => self.judge_also(rule, n - 1, test, now),
            };
            // Instruments take their words in any case.
            let one = |value: Heeded, held| {
                let value = as_written(value, test);
                let heard = Heard { value, good: true, live: true, heading: None };
                judge_value(test, rule, &heard, held)
            };
            // A switch may be said as a word and as a number.
            let at = |value: Heeded, held| match other_name(&value) {
                Some(other) => match (one(value, held), one(other, held)) {
                    (Verdict::Unknown, known) | (known, Verdict::Unknown) => known,
                    (one, other) => one.or(other),
                },
                None => one(value, held),
            };
            let heard =
                if n == 0 { self.last.as_ref() } else { self.also.get(&(n - 1)).map(|(heard, _)| heard) };
            let heading = heard.and_then(|heard| heard.heading).map(|n| at(Heeded::Number(n), false));
            let passes = heading.map_or(known, |heading| known.or(heading));
            is.push(known);
            match to(selector).filter(|_| !matches!(test, AlertTest::Stale(_) | AlertTest::Absent(_))) {
                Some(value) if may_be_any(&value, test) => {
                    way.push(passes.or(Verdict::Unknown));
                    there.push(Verdict::Unknown);
                }
                Some(value) => {
                    way.push(passes.or(at(value.clone(), false)));
                    there.push(at(value, true));
                }
                None => {
                    way.push(passes);
                    there.push(passes);
                }
            }
        }
        let all =
            |verdicts: Vec<Verdict>| verdicts.into_iter().reduce(Verdict::and).unwrap_or(Verdict::Unknown);
        let (way, there, is) = (all(way), all(there), all(is));
        match (is, way, there) {
            (Verdict::Beyond(..), _, Verdict::Fine) => Prospect::LeadsOut,
            (_, Verdict::Beyond(..), _) => Prospect::Holds,
            (_, Verdict::Unknown, _) => Prospect::Unknown,
            (_, Verdict::Fine, _) => Prospect::Clear,
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
        let also = rule.and.iter().enumerate().map(|(n, when)| self.judge_also(rule, n, &when.test, now));
        also.fold(self.judge_own(rule, now, held), Verdict::and)
    }

    /// A further condition.
    fn judge_also(&self, rule: &AlertRule, n: usize, test: &AlertTest, now: Duration) -> Verdict {
        let Some((heard, at)) = self.also.get(&n).filter(|(heard, _)| heard.live) else {
            return Verdict::Unknown;
        };
        let late = rule.stale_after.is_some_and(|time| now.saturating_sub(*at) > time);
        if late { Verdict::Unknown } else { judge_value(test, rule, heard, false) }
    }

    /// The value that the rule is named after.
    fn judge_own(&self, rule: &AlertRule, now: Duration, held: bool) -> Verdict {
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
                judge_value(test, rule, heard, held)
            }
        }
    }
}

/// A value that was heard, by itself. A word that is marked as not current still says what it says, but where something
/// is blocked it can't say that all is well.
fn judge_value(test: &AlertTest, rule: &AlertRule, heard: &Heard, held: bool) -> Verdict {
    let of_word = |holds: bool| match holds {
        true => Verdict::Beyond(rule.severity, None),
        false if heard.good || rule.blocks.is_empty() => Verdict::Fine,
        false => Verdict::Unknown,
    };
    match (test, &heard.value) {
        (_, Heeded::Nothing) => Verdict::Unknown,
        (AlertTest::Limits(limits), Heeded::Number(n)) if heard.good && n.is_finite() => {
            of_limits(limits, rule, *n, held)
        }
        (AlertTest::Limits(_), _) => Verdict::Unknown,
        (AlertTest::Is(words), value) => of_word(is_among(value, words)),
        (AlertTest::IsNot(words), value) => of_word(!is_among(value, words)),
        (AlertTest::Stale(_) | AlertTest::Absent(_), _) => Verdict::Unknown,
    }
}

/// `on` and 1, `off` and 0: what else a switch may be called.
fn other_name(value: &Heeded) -> Option<Heeded> {
    Some(match value {
        Heeded::Word(word) if is_word(word, ["on", "true"]) => Heeded::Number(1.0),
        Heeded::Word(word) if is_word(word, ["off", "false"]) => Heeded::Number(0.0),
        Heeded::Number(n) if *n == 1.0 => Heeded::Word("on".into()),
        Heeded::Number(n) if *n == 0.0 => Heeded::Word("off".into()),
        _ => return None,
    })
}

fn is_word(word: &str, any: [&str; 2]) -> bool {
    any.iter().any(|one| word.eq_ignore_ascii_case(one))
}

/// Instruments take the number that they are sent for a word as well; which word that is nobody knows here.
fn may_be_any(value: &Heeded, test: &AlertTest) -> bool {
    let (Heeded::Number(_), AlertTest::Is(words) | AlertTest::IsNot(words)) = (value, test) else {
        return false;
    };
    let is_number = |word: &String| word.parse::<f64>().is_ok();
    !words.iter().any(|word| is_number(word) || other_name(&Heeded::Word(word.clone())).is_some())
}

/// A word as the test has it.
fn as_written(value: Heeded, test: &AlertTest) -> Heeded {
    match (&value, test) {
        (Heeded::Word(word), AlertTest::Is(words) | AlertTest::IsNot(words)) => {
            let same = words.iter().find(|known| known.eq_ignore_ascii_case(word)).cloned();
            same.map_or(value, Heeded::Word)
        }
        _ => value,
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
        let to =
            |selector: &Selector| (selector.channel_of("stage") == Some("y")).then_some(Heeded::Number(2.0));
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
}
