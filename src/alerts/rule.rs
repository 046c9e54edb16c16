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
mod tests;
