//! Instruments that speak SCPI over a serial line, or any language in which a line asks and a line answers. Pure.
//!
//! **Promises.** One question is under way at a time. After a time-out the input is dropped and, where the device says
//! who it is, nothing is believed until it has said so again: a late answer is never taken for the next one. A set is
//! checked against its limits before a byte is sent, and is done when its read-back agrees. A device that is not the one
//! expected is neither asked nor set. Does not: handle service requests, or more than one instrument on a line.
//!
//! Sources: IEEE 488.2-1992 8.7.9 and 8.7.10 (blocks), 7.7.4 (`#H`, `#Q`, `#B`), 10.3 (`*CLS`), 10.14 (`*IDN?`);
//! SCPI-99 volume 2, 21.8 (`SYSTem:ERRor?`, `0,"No error"`).

use super::pending::{Pending, ended};
use super::protocol::{Action, Protocol};
use crate::bus::Command;
use crate::config::{self, ScpiChannel, place_of_value};
use crate::limits;
use crate::model::{CommandState, QualityReason};
use crate::sources::reading::{Reading, Value};
use regex_lite::Regex;
use serde_json::{Value as Json, json};
use std::time::Duration;

/// Quiet after a time-out, so that most late answers fall into it.
const QUIET: Duration = Duration::from_millis(100);
/// How often a wrong device is asked again who it is.
const WRONG_AGAIN: Duration = Duration::from_secs(5);
/// Time between two looks whether a set has arrived.
const READBACK_AGAIN: Duration = Duration::from_millis(100);
/// Time-outs in a row after which the instrument counts as gone, and a query's channels as without a value.
const MISSES: u32 = 3;
/// The longest answer that a manual query gives back, in characters.
const SHOWN: usize = 1000;

/// See the module above.
pub struct Scpi {
    config: config::Scpi,
    expect: Option<Regex>,
    asks: Vec<Ask>,
    state: State,
    /// What comes next once the line is free, before anything else.
    chain: Option<Step>,
    answers: Answers,
    pending: Pending<Wish>,
    idn: Option<String>,
    standing: Standing,
    /// The instrument is shown as a wrong one, perhaps from before the port was opened again.
    said_wrong: bool,
    /// Since a time-out it has not said who it is.
    adrift: bool,
    misses: u32,
    lost: bool,
    rounds: u32,
    /// When it is asked anything, having nothing to be polled.
    alive_due: Duration,
    last_sent: String,
}

/// A query that is polled, and the channels that share its answer.
struct Ask {
    query: String,
    channels: Vec<usize>,
    every: Duration,
    due: Duration,
    misses: u32,
}

#[derive(Debug)]
enum State {
    Closed,
    /// Something may be sent from then on.
    Free {
        from: Duration,
    },
    Asked {
        question: Question,
        deadline: Duration,
        /// Bytes of the answer so far.
        heard: usize,
    },
}

#[derive(Clone, Debug, PartialEq)]
enum Standing {
    Unknown,
    Known,
    Wrong { why: String, again: Duration },
}

#[derive(Clone, Debug)]
enum Question {
    Identify,
    Poll(usize),
    Errors { left: u32, found: Vec<String>, then: Then },
    Readback(Set),
    Manual { id: String, text: String },
}

/// What follows an emptied error queue.
#[derive(Clone, Debug)]
enum Then {
    Nothing,
    Readback(Set),
    Clear { id: String },
    Wrote { id: String },
}

#[derive(Clone, Debug)]
enum Step {
    Ask(Question),
    Set(Set),
}

/// A set under way.
#[derive(Clone, Debug)]
struct Set {
    id: String,
    channel: usize,
    wanted: Wanted,
    command: String,
    /// What the error queue had to say.
    errors: Vec<String>,
    until: Duration,
    /// It was looked at and had not arrived.
    again: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Wanted {
    Number { value: f64, tolerance: f64 },
    Word(String),
}

#[derive(Debug)]
enum Wish {
    Set { channel: usize, wanted: Wanted, command: String },
    Manual(String),
    Clear,
}

impl Scpi {
    /// # Errors
    /// One sentence, when the configuration can't be used.
    pub fn new(config: &config::Scpi) -> Result<Self, String> {
        let expect = config
            .expect
            .as_deref()
            .map(|e| Regex::new(e).map_err(|why| format!("expect {e:?} can't be used: {why}")))
            .transpose()?;
        let mut asks: Vec<Ask> = Vec::new();
        for (n, channel) in config.channels.iter().enumerate() {
            if let Some(set) = &channel.set {
                place_of_value(set).map_err(|why| format!("set {set:?} can't be used: {why}"))?;
            }
            let Some(query) = &channel.get else { continue };
            let every = channel.poll.unwrap_or(config.poll);
            match asks.iter_mut().find(|ask| ask.query == *query) {
                Some(ask) => {
                    ask.channels.push(n);
                    ask.every = ask.every.min(every);
                }
                None => asks.push(Ask {
                    query: query.clone(),
                    channels: vec![n],
                    every,
                    due: Duration::ZERO,
                    misses: 0,
                }),
            }
        }
        Ok(Scpi {
            answers: Answers::new(&config.read_end),
            config: config.clone(),
            expect,
            asks,
            state: State::Closed,
            chain: None,
            pending: Pending::default(),
            idn: None,
            standing: Standing::Unknown,
            said_wrong: false,
            adrift: false,
            misses: 0,
            lost: false,
            rounds: 0,
            alive_due: Duration::ZERO,
            last_sent: String::new(),
        })
    }

    /// Does what can be done now.
    fn go(&mut self, now: Duration) -> Vec<Action> {
        let mut actions = self.pending.expire(now);
        loop {
            match &self.state {
                State::Closed => return actions,
                State::Asked { deadline, .. } if now < *deadline => return actions,
                State::Asked { .. } => actions.extend(self.timed_out(now)),
                State::Free { from } if now < *from => return actions,
                State::Free { .. } => match self.next_step(now, &mut actions) {
                    Some(step) => actions.extend(self.start(step, now)),
                    None => return actions,
                },
            }
        }
    }

    /// What is to be done next, if anything.
    fn next_step(&mut self, now: Duration, actions: &mut Vec<Action>) -> Option<Step> {
        let identify = !self.config.identify.is_empty();
        let again = match &self.standing {
            Standing::Unknown => identify,
            Standing::Known => self.adrift && identify,
            Standing::Wrong { again, .. } => now >= *again,
        };
        if again {
            return Some(Step::Ask(Question::Identify));
        }
        // While a set settles, what is due is asked between two looks at it.
        if let Some(Step::Ask(Question::Readback(set))) = &mut self.chain
            && std::mem::take(&mut set.again)
            && let Some(n) = self.due(now)
        {
            return Some(Step::Ask(Question::Poll(n)));
        }
        if let Some(step) = self.chain.take() {
            return Some(step);
        }
        let (late, wish) = self.pending.next(now);
        actions.extend(late);
        if let Some((id, wish)) = wish {
            return self.granted(id, wish, actions);
        }
        if matches!(self.standing, Standing::Wrong { .. }) {
            return None;
        }
        if self.asks.is_empty() {
            if now < self.alive_due {
                return None;
            }
            self.alive_due = now + self.config.poll;
            return match (self.config.errors.is_empty(), identify) {
                (false, _) => Some(Step::Ask(self.errors(Then::Nothing))),
                (true, true) => Some(Step::Ask(Question::Identify)),
                (true, false) => None,
            };
        }
        let n = self.due(now)?;
        if n == 0 {
            self.rounds += 1;
            if self.rounds >= self.config.errors_every && !self.config.errors.is_empty() {
                self.rounds = 0;
                self.chain = Some(Step::Ask(self.errors(Then::Nothing)));
            }
        }
        Some(Step::Ask(Question::Poll(n)))
    }

    /// The query whose time has come.
    fn due(&mut self, now: Duration) -> Option<usize> {
        let (n, ask) = self.asks.iter_mut().enumerate().min_by_key(|(_, ask)| ask.due)?;
        if now < ask.due {
            return None;
        }
        // A round that is late is not made up for.
        ask.due = if now < ask.due + ask.every { ask.due + ask.every } else { now + ask.every };
        Some(n)
    }

    /// A command whose turn has come.
    fn granted(&self, id: String, wish: Wish, actions: &mut Vec<Action>) -> Option<Step> {
        match wish {
            Wish::Set { channel, wanted, command } => {
                if let Standing::Wrong { why, .. } = &self.standing {
                    actions.push(ended(&id, CommandState::Rejected, Some(why.clone())));
                    return None;
                }
                let until = Duration::ZERO;
                Some(Step::Set(Set { id, channel, wanted, command, errors: Vec::new(), until, again: false }))
            }
            Wish::Manual(text) => Some(Step::Ask(Question::Manual { id, text })),
            Wish::Clear => Some(Step::Ask(Question::Manual { id, text: self.config.clear.clone() })),
        }
    }

    fn errors(&self, then: Then) -> Question {
        Question::Errors { left: limits::SCPI_ERRORS, found: Vec::new(), then }
    }

    fn start(&mut self, step: Step, now: Duration) -> Vec<Action> {
        let free = State::Free { from: now + self.config.gap };
        let question = match step {
            Step::Set(mut set) => {
                let text = set.command.clone();
                self.state = free;
                if let Some(channel) = self.config.channels.get(set.channel) {
                    set.until = now + self.config.gap + channel.settle;
                }
                self.chain = Some(if self.config.errors.is_empty() {
                    Step::Ask(Question::Readback(set))
                } else {
                    Step::Ask(self.errors(Then::Readback(set)))
                });
                return vec![self.send(&text)];
            }
            // A command that is no question has no answer; the error queue tells whether it was understood.
            Step::Ask(Question::Manual { id, text }) if !text.contains('?') => {
                self.state = free;
                let mut actions = vec![self.send(&text)];
                let then = if text == self.config.clear { Then::Clear { id } } else { Then::Wrote { id } };
                if self.config.errors.is_empty() {
                    actions.extend(self.emptied(None, then));
                } else {
                    self.chain = Some(Step::Ask(self.errors(then)));
                }
                return actions;
            }
            Step::Ask(question) => question,
        };
        let text = match &question {
            Question::Identify => self.config.identify.clone(),
            Question::Poll(n) => self.asks.get(*n).map(|ask| ask.query.clone()).unwrap_or_default(),
            Question::Errors { .. } => self.config.errors.clone(),
            Question::Readback(set) => self.readback_query(set.channel).unwrap_or_default().to_string(),
            Question::Manual { text, .. } => text.clone(),
        };
        if let Question::Readback(set) = &question
            && text.is_empty()
        {
            let reason = match set.errors.is_empty() {
                true => "the device took it; it can't be read back".to_string(),
                false => format!("the device reports {}", set.errors.join("; ")),
            };
            let state = if set.errors.is_empty() { CommandState::Completed } else { CommandState::Failed };
            return vec![ended(&set.id, state, Some(reason))];
        }
        self.answers.begin();
        self.state = State::Asked { question, deadline: now + self.config.timeout, heard: 0 };
        vec![self.send(&text)]
    }

    fn send(&mut self, text: &str) -> Action {
        self.last_sent = text.to_string();
        Action::Send([text.as_bytes(), self.config.write_end.as_bytes()].concat())
    }

    fn readback_query(&self, channel: usize) -> Option<&str> {
        let channel = self.config.channels.get(channel)?;
        channel.readback.as_deref().or(channel.get.as_deref())
    }

    fn timed_out(&mut self, now: Duration) -> Vec<Action> {
        let free = State::Free { from: now + self.config.gap.max(QUIET) };
        let State::Asked { question, heard, .. } = std::mem::replace(&mut self.state, free) else {
            return Vec::new();
        };
        let mut actions = vec![Action::Count("timeouts", 1), Action::Flush];
        if heard > 0 {
            let line = self.answers.half().to_vec();
            let why = format!("does not end within {:?} of the last byte", self.config.timeout);
            actions.push(Action::Bad { line, why });
        }
        self.answers.begin();
        self.adrift = true;
        self.misses = self.misses.saturating_add(1);
        if !self.config.clear.is_empty() {
            let clear = self.config.clear.clone();
            actions.push(self.send(&clear));
        }
        let no_answer = |text: &str| Some(format!("no answer to `{text}` within {:?}", self.config.timeout));
        match question {
            Question::Identify => {
                if self.misses >= MISSES {
                    // Whoever answers next may be another device.
                    self.idn = None;
                    self.standing = Standing::Unknown;
                }
            }
            Question::Poll(n) => {
                if let Some(ask) = self.asks.get_mut(n) {
                    ask.misses = ask.misses.saturating_add(1);
                    if ask.misses >= MISSES && self.misses < MISSES {
                        let channels = ask.channels.clone();
                        actions.push(Action::Readings(self.missing(&channels, QualityReason::CommError)));
                    }
                }
            }
            Question::Errors { found, then, .. } => match then {
                Then::Readback(mut set) => {
                    set.errors = found;
                    self.chain = Some(Step::Ask(Question::Readback(set)));
                }
                Then::Clear { id } | Then::Wrote { id } => {
                    actions.push(ended(&id, CommandState::Failed, no_answer(&self.config.errors)));
                }
                Then::Nothing => {}
            },
            Question::Readback(set) => {
                let query = self.readback_query(set.channel).unwrap_or_default();
                actions.push(ended(&set.id, CommandState::Failed, no_answer(query)));
            }
            Question::Manual { id, text } => {
                actions.push(ended(&id, CommandState::Failed, no_answer(&text)));
            }
        }
        if self.misses >= MISSES && !self.lost {
            self.lost = true;
            actions.push(Action::Lost(QualityReason::NotConnected));
        }
        actions
    }

    fn missing(&self, channels: &[usize], why: QualityReason) -> Vec<Reading> {
        let named = channels.iter().filter_map(|n| self.config.channels.get(*n));
        named.map(|channel| reading(channel, Value::Missing(why))).collect()
    }

    /// One whole answer.
    fn answered(&mut self, answer: Answer, now: Duration) -> Vec<Action> {
        if !self.last_sent.is_empty() && answer.line == self.last_sent.as_bytes() {
            return vec![Action::Count("echoes", 1)];
        }
        let question = match std::mem::replace(&mut self.state, State::Free { from: now + self.config.gap }) {
            State::Asked { question, .. } => question,
            other => {
                self.state = other;
                return vec![Action::Count("unasked", 1)];
            }
        };
        let mut actions = Vec::new();
        if answer.skipped > 0 {
            actions.push(Action::Count("blocks_skipped", 1));
        }
        if answer.overlong {
            actions.push(Action::Count("overlong", 1));
        }
        if let Question::Identify = question {
            actions.extend(self.identified(&answer, now));
            return actions;
        }
        self.misses = 0;
        self.lost = false;
        match question {
            Question::Identify => {}
            Question::Poll(n) => actions.extend(self.polled(n, &answer)),
            Question::Errors { left, found, then } => {
                actions.extend(self.error_heard(left, found, then, &answer));
            }
            Question::Readback(set) => actions.extend(self.read_back(set, &answer, now)),
            Question::Manual { id, .. } => {
                actions.push(Action::Heard);
                actions.push(ended(&id, CommandState::Completed, Some(answer.shown())));
            }
        }
        actions
    }

    fn identified(&mut self, answer: &Answer, now: Duration) -> Vec<Action> {
        let deadline = now + self.config.timeout;
        let Some(text) = answer.text() else {
            self.state = State::Asked { question: Question::Identify, deadline, heard: 0 };
            return vec![answer.bad("is not text")];
        };
        if self.adrift && self.idn.as_ref().is_some_and(|known| *known != text) {
            // An answer to what was asked before the time-out; who it is is still to come.
            self.state = State::Asked { question: Question::Identify, deadline, heard: 0 };
            return vec![Action::Count("late", 1)];
        }
        self.adrift = false;
        self.misses = 0;
        self.lost = false;
        let mut actions = vec![Action::Heard];
        if self.idn.as_ref() != Some(&text) {
            actions.push(Action::Detail("idn", text.clone().into()));
        }
        let fits = self.expect.as_ref().is_none_or(|e| e.is_match(&text));
        let was_wrong = matches!(self.standing, Standing::Wrong { .. });
        if fits {
            self.standing = Standing::Known;
            if std::mem::take(&mut self.said_wrong) {
                actions.push(Action::Readings(vec![word("status", "connected"), word("error", "")]));
            }
        } else {
            let expect = self.config.expect.as_deref().unwrap_or_default();
            let why = format!(
                "it answers `{}` to `{}`, which does not match `{expect}`: is another device plugged in here?",
                shortened(&text),
                self.config.identify
            );
            if !was_wrong || self.idn.as_ref() != Some(&text) {
                let all: Vec<usize> = (0..self.config.channels.len()).collect();
                let mut readings = self.missing(&all, QualityReason::DeviceError);
                readings.extend([word("status", "error"), word("error", &why)]);
                self.said_wrong = true;
                actions.push(Action::Count("wrong_device", 1));
                actions.push(Action::Readings(readings));
            }
            if let Some(step) = self.chain.take() {
                actions.extend(dropped(step, CommandState::Rejected, &why));
            }
            self.standing = Standing::Wrong { why, again: now + WRONG_AGAIN };
        }
        self.idn = Some(text);
        actions
    }

    fn polled(&mut self, n: usize, answer: &Answer) -> Vec<Action> {
        let Some(ask) = self.asks.get_mut(n) else { return Vec::new() };
        ask.misses = 0;
        let (mut readings, mut bad, mut good) = (Vec::new(), None, 0);
        for channel in ask.channels.iter().filter_map(|n| self.config.channels.get(*n)) {
            match value_of(channel, answer, channel.part) {
                Ok(value) => {
                    good += 1;
                    readings.push(reading(channel, value));
                }
                Err(why) => {
                    bad.get_or_insert_with(|| answer.bad(&format!("{why} (asked {})", ask.query)));
                    readings.push(reading(channel, Value::Missing(QualityReason::CommError)));
                }
            }
        }
        // With nothing understood at all the values stay and go stale, as with any line that is not understood.
        let readings = (good > 0).then_some(Action::Readings(readings));
        readings.into_iter().chain(bad).collect()
    }

    fn error_heard(&mut self, left: u32, mut found: Vec<String>, then: Then, answer: &Answer) -> Vec<Action> {
        let text = answer.text().unwrap_or_default();
        let code = text.split(',').next().and_then(|code| code.trim().parse::<i64>().ok());
        let Some(code) = code else {
            let mut actions = vec![answer.bad(&format!("is no error number (asked {})", self.config.errors))];
            actions.extend(self.emptied(Some(found), then));
            return actions;
        };
        let mut actions = vec![Action::Heard];
        if code == 0 {
            actions.extend(self.emptied(Some(found), then));
            return actions;
        }
        let shown = shortened(&text);
        actions.push(Action::Count("device_errors", 1));
        actions.push(Action::Detail("last_device_error", json!(shown)));
        actions.push(Action::Readings(vec![word("error", &shown)]));
        found.push(shown);
        if left > 1 {
            self.chain = Some(Step::Ask(Question::Errors { left: left - 1, found, then }));
        } else {
            actions.extend(self.emptied(Some(found), then));
        }
        actions
    }

    /// The error queue is empty, or is no use; `None`: there is none.
    fn emptied(&mut self, found: Option<Vec<String>>, then: Then) -> Vec<Action> {
        let asked = found.is_some();
        let found = found.unwrap_or_default();
        let reports = |found: &[String]| Some(format!("the device reports {}", found.join("; ")));
        match then {
            Then::Nothing => Vec::new(),
            Then::Readback(mut set) => {
                set.errors = found;
                self.chain = Some(Step::Ask(Question::Readback(set)));
                Vec::new()
            }
            Then::Clear { id } if found.is_empty() => {
                let reason = (!asked).then(|| "sent; this device can't be asked for its errors".to_string());
                vec![Action::Readings(vec![word("error", "")]), ended(&id, CommandState::Completed, reason)]
            }
            Then::Wrote { id } if found.is_empty() => {
                let reason = match asked {
                    true => "sent; the device reports no error",
                    false => "sent; this device can't be asked for its errors",
                };
                vec![ended(&id, CommandState::Completed, Some(reason.into()))]
            }
            Then::Clear { id } | Then::Wrote { id } => {
                vec![ended(&id, CommandState::Failed, reports(&found))]
            }
        }
    }

    fn read_back(&mut self, mut set: Set, answer: &Answer, now: Duration) -> Vec<Action> {
        let Some(channel) = self.config.channels.get(set.channel) else { return Vec::new() };
        let part = if channel.readback.is_some() { None } else { channel.part };
        let value = match value_of(channel, answer, part) {
            Ok(value) => value,
            Err(why) => {
                let reason = Some(format!("the read-back `{}` {why}", shortened(&answer.shown())));
                return vec![answer.bad(&why), ended(&set.id, CommandState::Failed, reason)];
            }
        };
        let mut actions = vec![Action::Readings(vec![reading(channel, value.clone())])];
        let unit = channel.unit.as_ref().map(|u| format!(" {u}")).unwrap_or_default();
        let agrees = match (&set.wanted, &value) {
            (Wanted::Number { value: wanted, tolerance }, value) => {
                value.as_number().is_some_and(|is| (is - wanted).abs() <= *tolerance)
            }
            (Wanted::Word(wanted), Value::Text(is)) => is.eq_ignore_ascii_case(wanted),
            (Wanted::Word(wanted), value) => {
                value.as_number().zip(wanted.parse::<f64>().ok()).is_some_and(|(a, b)| a == b)
            }
        };
        let errors = match set.errors.is_empty() {
            true => String::new(),
            false => format!("; the device reports {}", set.errors.join("; ")),
        };
        let wanted = match &set.wanted {
            Wanted::Number { value, .. } => value.to_string(),
            Wanted::Word(word) => word.clone(),
        };
        if agrees {
            let reason = (!errors.is_empty()).then(|| format!("{} is {wanted}{unit}{errors}", channel.name));
            actions.push(ended(&set.id, CommandState::Completed, reason));
        } else if now < set.until && set.errors.is_empty() {
            self.state = State::Free { from: now + self.config.gap.max(READBACK_AGAIN) };
            set.again = true;
            self.chain = Some(Step::Ask(Question::Readback(set)));
        } else {
            let is = match &value {
                Value::Missing(_) => "no value".to_string(),
                Value::Text(text) => text.clone(),
                other => other.to_json().to_string(),
            };
            let reason =
                format!("set {} to {wanted}{unit}, but it reads back {is}{unit}{errors}", channel.name);
            actions.push(ended(&set.id, CommandState::Failed, Some(reason)));
        }
        actions
    }

    /// A set as it would be sent.
    fn wish_to_set(&self, params: &serde_json::Map<String, Json>) -> Result<Wish, String> {
        let settable = || {
            let all = self.config.channels.iter().filter(|c| c.set.is_some()).map(|c| c.name.as_str());
            all.collect::<Vec<_>>().join(", ")
        };
        let name = params.get("channel").and_then(Json::as_str).unwrap_or_default();
        let found = self.config.channels.iter().enumerate().find(|(_, c)| c.name == name);
        let Some((n, channel)) = found.filter(|(_, c)| c.set.is_some()) else {
            return Err(format!("`channel` is {name:?}; expected one that can be set: {}", settable()));
        };
        let value = params.get("value").unwrap_or(&Json::Null);
        let (text, wanted) = text_to_send(channel, value)?;
        let (before, _, after) = place_of_value(channel.set.as_deref().unwrap_or_default())?;
        Ok(Wish::Set { channel: n, wanted, command: format!("{before}{text}{after}") })
    }
}

/// The value as it is sent, and what the read-back has to be.
fn text_to_send(channel: &ScpiChannel, value: &Json) -> Result<(String, Wanted), String> {
    let unit = channel.unit.as_ref().map(|u| format!(" {u}")).unwrap_or_default();
    let number = match value {
        Json::Number(n) => n.as_f64(),
        Json::Bool(on) if channel.words.is_empty() => Some(f64::from(u8::from(*on))),
        Json::String(text) => text.trim().parse::<f64>().ok().filter(|n| n.is_finite()),
        _ => None,
    };
    let word = match value {
        Json::String(text) => Some(text.trim().to_string()),
        Json::Bool(on) => Some(if *on { "on" } else { "off" }.to_string()),
        Json::Number(n) => Some(n.to_string()),
        _ => None,
    };
    if let Some(word) = &word
        && let Some((sent, word)) =
            channel.words.iter().find(|(sent, w)| w.eq_ignore_ascii_case(word) || *sent == word)
    {
        return Ok((sent.clone(), Wanted::Word(word.clone())));
    }
    if !channel.words.is_empty() {
        let words: Vec<_> = channel.words.values().map(String::as_str).collect();
        return Err(format!("`value` is {value}; expected one of {}", words.join(", ")));
    }
    if let Some(number) = number {
        let (min, max) = (channel.min, channel.max);
        if min.is_some_and(|min| number < min) || max.is_some_and(|max| number > max) {
            let range = match (min, max) {
                (Some(min), Some(max)) => format!("{min} to {max}{unit}"),
                (Some(min), None) => format!("at least {min}{unit}"),
                (_, max) => format!("at most {}{unit}", max.unwrap_or_default()),
            };
            return Err(format!("{} {number}{unit} is outside its limits: {range}", channel.name));
        }
        let raw = (number - channel.offset) / channel.scale;
        if !raw.is_finite() {
            return Err(format!("{number} can't be sent"));
        }
        let (_, decimals, _) = place_of_value(channel.set.as_deref().unwrap_or_default())?;
        // Plus zero, so that there is no minus zero.
        let (text, step) = match decimals {
            None => ((raw + 0.0).to_string(), 0.0),
            Some(n) => (format!("{:.n$}", raw + 0.0), 0.5 * 10f64.powi(-(n as i32)) * channel.scale.abs()),
        };
        let span = [Some(number), min, max].into_iter().flatten().fold(0.0_f64, |most, n| most.max(n.abs()));
        let tolerance = channel.tolerance.unwrap_or(span * 0.01).max(step).max(1e-9 * span);
        return Ok((text, Wanted::Number { value: number, tolerance }));
    }
    let numbers_only = channel.unit.is_some() || channel.min.is_some() || channel.max.is_some();
    match word {
        Some(word) if !numbers_only => {
            if word.is_empty() || word.len() > 64 || word.contains(|c: char| c.is_control() || c == ';') {
                return Err(format!("`value` is {word:?}; expected a word of at most 64 bytes, without ;"));
            }
            Ok((word.clone(), Wanted::Word(word)))
        }
        _ => Err(format!("`value` is {value}; expected a number")),
    }
}

impl Protocol for Scpi {
    fn opened(&mut self, now: Duration) -> Vec<Action> {
        self.answers.begin();
        // What the port sends by way of greeting needs its pause as well.
        self.state = State::Free { from: now + self.config.gap };
        self.chain = None;
        self.idn = None;
        self.standing = if self.config.identify.is_empty() { Standing::Known } else { Standing::Unknown };
        (self.adrift, self.misses, self.lost, self.rounds) = (false, 0, false, 0);
        self.alive_due = now;
        for ask in &mut self.asks {
            (ask.due, ask.misses) = (now, 0);
        }
        let mut actions = vec![Action::Flush];
        actions.extend(self.go(now));
        actions
    }

    fn received(&mut self, bytes: &[u8], now: Duration) -> Vec<Action> {
        if let State::Closed = self.state {
            return Vec::new();
        }
        let mut actions = Vec::new();
        for byte in bytes {
            if let Some(answer) = self.answers.feed(*byte) {
                actions.extend(self.answered(answer, now));
            }
        }
        let talks_on = self.answers.is_endless();
        if let State::Asked { deadline, heard, .. } = &mut self.state {
            *heard = self.answers.heard();
            if *heard > 0 && !talks_on {
                *deadline = now + self.config.timeout;
            }
        }
        actions.extend(self.go(now));
        actions
    }

    fn tick(&mut self, now: Duration) -> Vec<Action> {
        self.go(now)
    }

    fn wake(&self) -> Option<Duration> {
        match &self.state {
            State::Closed => None,
            State::Asked { deadline, .. } => Some(*deadline),
            State::Free { from } => {
                let identify = !self.config.identify.is_empty();
                let next = match &self.standing {
                    Standing::Unknown if identify => *from,
                    Standing::Known if self.adrift && identify => *from,
                    _ if self.chain.is_some() || !self.pending.is_empty() => *from,
                    Standing::Wrong { again, .. } => *again,
                    _ if self.asks.is_empty() => self.alive_due,
                    _ => self.asks.iter().map(|ask| ask.due).min()?,
                };
                Some(next.max(*from))
            }
        }
    }

    fn command(&mut self, command: &Command, now: Duration) -> Vec<Action> {
        let rejected = |why: String| vec![ended(&command.id, CommandState::Rejected, Some(why))];
        if let State::Closed = self.state {
            return vec![ended(&command.id, CommandState::Failed, Some("the port is not open".into()))];
        }
        let wish = match command.action.as_str() {
            "set" => match self.wish_to_set(&command.params) {
                Ok(wish) => wish,
                Err(why) => return rejected(why),
            },
            "query" => {
                let text = command.params.get("command").and_then(Json::as_str).unwrap_or_default().trim();
                if text.is_empty() || text.len() > 256 || text.contains(char::is_control) {
                    return rejected(format!(
                        "`command` is {:?}; expected a line of 1 to 256 bytes, such as \"MEAS:VOLT?\"",
                        shortened(text)
                    ));
                }
                Wish::Manual(text.to_string())
            }
            "clear_error" if !self.config.clear.is_empty() => Wish::Clear,
            other => return rejected(format!("an instrument has no {other:?}")),
        };
        let mut actions = self.pending.push(&command.id, wish, now);
        actions.extend(self.go(now));
        actions
    }

    fn actions(&self) -> Vec<&'static str> {
        let mut actions = vec!["query"];
        if self.config.channels.iter().any(|c| c.set.is_some()) {
            actions.push("set");
        }
        if !self.config.clear.is_empty() {
            actions.push("clear_error");
        }
        actions
    }

    fn closed(&mut self) -> Vec<Action> {
        const WHY: &str = "the port was closed";
        let mut actions = Vec::new();
        if let State::Asked { question, .. } = std::mem::replace(&mut self.state, State::Closed) {
            actions.extend(dropped(Step::Ask(question), CommandState::Failed, WHY));
        }
        if let Some(step) = self.chain.take() {
            actions.extend(dropped(step, CommandState::Failed, WHY));
        }
        actions.extend(self.pending.fail(WHY));
        actions
    }
}

/// What a step was for ends here.
fn dropped(step: Step, state: CommandState, why: &str) -> Option<Action> {
    let id = match step {
        Step::Set(set)
        | Step::Ask(Question::Readback(set) | Question::Errors { then: Then::Readback(set), .. }) => set.id,
        Step::Ask(
            Question::Manual { id, .. }
            | Question::Errors { then: Then::Clear { id } | Then::Wrote { id }, .. },
        ) => id,
        Step::Ask(_) => return None,
    };
    Some(ended(&id, state, Some(why.to_string())))
}

fn reading(channel: &ScpiChannel, value: Value) -> Reading {
    Reading { name: channel.name.clone(), value, unit: channel.unit.clone() }
}

fn word(name: &str, text: &str) -> Reading {
    Reading { name: name.into(), value: Value::Text(text.into()), unit: None }
}

fn shortened(text: &str) -> String {
    text.chars().take(limits::BAD_LINE).collect()
}

/// The value that a channel takes from an answer.
fn value_of(channel: &ScpiChannel, answer: &Answer, part: Option<u32>) -> Result<Value, String> {
    let piece = match part {
        None => answer.line.as_slice(),
        Some(n) => {
            parts(&answer.line).into_iter().nth(n as usize).ok_or_else(|| format!("has no part {n}"))?
        }
    };
    if answer.overlong {
        return Err(format!("is longer than {} bytes", limits::SERIAL_LINE));
    }
    if let Some(before) = piece.iter().position(|b| *b == BLOCK) {
        // Blocks are numbered over the whole answer.
        let start = piece.as_ptr() as usize - answer.line.as_ptr() as usize + before;
        let n = answer.line.iter().take(start).filter(|b| **b == BLOCK).count();
        let block = answer.blocks.get(n).ok_or("has a broken block")?;
        return match block {
            Block { whole: true, data } => Ok(match printable(data) {
                Some(text) => scaled(channel, Value::text(&text)),
                None => Value::Number(data.len() as f64),
            }),
            Block { whole: false, .. } => {
                Err(format!("has a block of more than {} bytes", limits::SCPI_BLOCK))
            }
        };
    }
    if channel.block {
        return Err("is not a block".into());
    }
    let text = printable(piece).ok_or("is not text")?;
    let text = text.trim();
    let text = ['"', '\''].iter().find_map(|q| text.strip_prefix(*q)?.strip_suffix(*q)).unwrap_or(text);
    let number = number_in(text);
    let same = |key: &str| {
        key.eq_ignore_ascii_case(text) || number.zip(key.parse::<f64>().ok()).is_some_and(|(a, b)| a == b)
    };
    if let Some((_, word)) = channel.words.iter().find(|(key, _)| same(key)) {
        return Ok(Value::text(word));
    }
    if text.is_empty() {
        return Err("is empty".into());
    }
    let wants_number = channel.unit.is_some() || channel.scale != 1.0 || channel.offset != 0.0;
    match number {
        Some(number) => Ok(scaled(channel, Value::number(number))),
        None if wants_number => {
            // A unit behind the number, as meters for people have it: `12.05 VDC`.
            let end = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || matches!(c, ' ' | '%'));
            match number_in(end) {
                Some(number) if text.len() - end.len() <= 8 => Ok(scaled(channel, Value::number(number))),
                _ => Err("is no number".into()),
            }
        }
        None => Ok(Value::Text(text.to_string())),
    }
}

fn scaled(channel: &ScpiChannel, value: Value) -> Value {
    match value {
        Value::Number(number) => {
            let number = number * channel.scale + channel.offset;
            if number.is_finite() { Value::Number(number) } else { Value::Missing(QualityReason::Overrange) }
        }
        other => other,
    }
}

/// A decimal number, or one that is not: `#HFF`, `#Q17`, `#B101`.
fn number_in(text: &str) -> Option<f64> {
    let radix = |digits: &str, radix| u64::from_str_radix(digits, radix).ok().map(|n| n as f64);
    let text = text.trim();
    let based = text.strip_prefix('#').and_then(|rest| {
        let digits = rest.get(1..)?;
        match rest.as_bytes().first()? {
            b'H' | b'h' => radix(digits, 16),
            b'Q' | b'q' => radix(digits, 8),
            b'B' | b'b' => radix(digits, 2),
            _ => None,
        }
    });
    based.or_else(|| text.parse::<f64>().ok())
}

/// The parts of `1;2;3`, or without a semicolon of `1,2,3`; not inside quotes.
fn parts(line: &[u8]) -> Vec<&[u8]> {
    let split = |by: u8| {
        let mut quoted = false;
        line.split(move |b| {
            quoted ^= *b == b'"';
            !quoted && *b == by
        })
        .collect::<Vec<_>>()
    };
    let all = split(b';');
    if all.len() > 1 { all } else { split(b',') }
}

/// As text, if it is; tabs are.
fn printable(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    (!text.contains(|c: char| c.is_control() && c != '\t')).then(|| text.to_string())
}

/// Stands for a block within a line.
const BLOCK: u8 = 0;

#[derive(Clone, Debug, PartialEq)]
struct Block {
    data: Vec<u8>,
    /// It was within the bound.
    whole: bool,
}

/// A line, with its blocks taken out.
#[derive(Clone, Debug, Default, PartialEq)]
struct Answer {
    /// [`BLOCK`] stands where a block was.
    line: Vec<u8>,
    blocks: Vec<Block>,
    overlong: bool,
    /// Bytes of blocks that were too long.
    skipped: usize,
}

impl Answer {
    fn text(&self) -> Option<String> {
        let text = printable(&self.line)?.trim().to_string();
        (!text.is_empty()).then_some(text)
    }

    /// For people.
    fn shown(&self) -> String {
        let mut blocks = self.blocks.iter();
        let mut out = String::new();
        for c in String::from_utf8_lossy(&self.line).chars() {
            match (c, blocks.as_slice()) {
                ('\0', [_, ..]) => {
                    let Some(block) = blocks.next() else { continue };
                    match printable(&block.data) {
                        Some(text) if block.whole => out.push_str(&text),
                        _ => {
                            let size = if block.whole { block.data.len() } else { self.skipped };
                            out.push_str(&format!("(block of {size} bytes)"));
                        }
                    }
                }
                (c, _) if c.is_control() && c != '\t' => out.extend(c.escape_debug()),
                (c, _) => out.push(c),
            }
        }
        out.chars().take(SHOWN).collect()
    }

    fn bad(&self, why: &str) -> Action {
        Action::Bad { line: self.line.clone(), why: why.to_string() }
    }
}

/// Bytes into answers.
#[derive(Debug)]
struct Answers {
    end: Vec<u8>,
    answer: Answer,
    mode: Mode,
    quoted: bool,
    /// Bytes since the last answer.
    heard: usize,
}

#[derive(Debug, PartialEq)]
enum Mode {
    Text,
    /// After a `#` where a block may begin.
    Hash,
    /// Digits of the length.
    Length {
        digits: u32,
        length: usize,
    },
    /// What is left of a block; kept, or too long for that.
    Data {
        left: usize,
        kept: bool,
    },
    /// `#0`: to the end of the line.
    Rest,
}

impl Answers {
    fn new(end: &str) -> Self {
        let end = if end.is_empty() { b"\n".to_vec() } else { end.as_bytes().to_vec() };
        Answers { end, answer: Answer::default(), mode: Mode::Text, quoted: false, heard: 0 }
    }

    /// Forgets what was half heard.
    fn begin(&mut self) {
        self.answer = Answer::default();
        self.mode = Mode::Text;
        self.quoted = false;
        self.heard = 0;
    }

    fn heard(&self) -> usize {
        self.heard
    }

    fn half(&self) -> &[u8] {
        self.answer.line.get(..self.answer.line.len().min(limits::BAD_LINE)).unwrap_or_default()
    }

    /// It talks on without an end, so that waiting for one is no use.
    fn is_endless(&self) -> bool {
        self.answer.overlong || self.heard > limits::SCPI_SKIP
    }

    fn feed(&mut self, byte: u8) -> Option<Answer> {
        self.heard += 1;
        match &mut self.mode {
            Mode::Data { left, kept } => {
                *left = left.saturating_sub(1);
                let over = *left == 0;
                if *kept {
                    if let Some(block) = self.answer.blocks.last_mut() {
                        block.data.push(byte);
                    }
                } else {
                    self.answer.skipped += 1;
                }
                if over {
                    self.mode = Mode::Text;
                }
                return None;
            }
            Mode::Rest => {
                let Some(block) = self.answer.blocks.last_mut() else {
                    self.mode = Mode::Text;
                    return None;
                };
                if block.data.len() >= limits::SCPI_BLOCK + self.end.len() {
                    block.whole = false;
                    self.answer.skipped += block.data.len() - self.end.len();
                    block.data.drain(..block.data.len() - self.end.len());
                }
                block.data.push(byte);
                if block.data.ends_with(&self.end) {
                    block.data.truncate(block.data.len() - self.end.len());
                    if self.end == b"\n" && block.data.last() == Some(&b'\r') {
                        block.data.pop();
                    }
                    if !block.whole {
                        self.answer.skipped += block.data.len();
                        block.data.clear();
                    }
                    return Some(self.finish());
                }
                return None;
            }
            Mode::Length { digits, length } => {
                if let Some(digit) = (byte as char).to_digit(10) {
                    *length = *length * 10 + digit as usize;
                    *digits -= 1;
                    if *digits > 0 {
                        return None;
                    }
                    let (left, kept) = (*length, *length <= limits::SCPI_BLOCK);
                    self.answer.line.push(BLOCK);
                    self.answer.blocks.push(Block { data: Vec::new(), whole: kept });
                    self.mode = match left {
                        0 => Mode::Text,
                        _ if left > limits::SCPI_SKIP || self.answer.blocks.len() > limits::FIELDS => {
                            // A header that lies: what follows is read as text, and is a fault.
                            self.answer.overlong = true;
                            Mode::Text
                        }
                        _ => Mode::Data { left, kept },
                    };
                    return None;
                }
                // Not a block after all.
                self.answer.line.extend_from_slice(b"#?");
                self.mode = Mode::Text;
            }
            Mode::Hash => {
                self.mode = Mode::Text;
                match byte {
                    b'0' => {
                        self.answer.line.push(BLOCK);
                        self.answer.blocks.push(Block { data: Vec::new(), whole: true });
                        self.mode = Mode::Rest;
                        return None;
                    }
                    b'1'..=b'9' => {
                        self.mode = Mode::Length { digits: u32::from(byte - b'0'), length: 0 };
                        return None;
                    }
                    _ => self.answer.line.push(b'#'),
                }
            }
            Mode::Text => {}
        }
        self.text(byte)
    }

    fn text(&mut self, byte: u8) -> Option<Answer> {
        let line = &mut self.answer.line;
        let before = line.iter().rev().find(|b| **b != b' ');
        if byte == b'#' && !self.quoted && matches!(before, None | Some(b';' | b',')) {
            self.mode = Mode::Hash;
            return None;
        }
        // A zero on the line is what switching a device on sounds like, and our own sign for a block.
        if byte == BLOCK {
            return None;
        }
        self.quoted ^= byte == b'"';
        line.push(byte);
        if line.ends_with(&self.end) {
            line.truncate(line.len() - self.end.len());
            if self.end == b"\n" && line.last() == Some(&b'\r') {
                line.pop();
            }
            while line.first().is_some_and(|b| matches!(b, b'\r' | b'\n')) {
                line.remove(0);
            }
            if line.is_empty() && !self.answer.overlong {
                self.begin();
                return None;
            }
            return Some(self.finish());
        }
        if line.len() > limits::SERIAL_LINE {
            self.answer.overlong = true;
            let keep = self.end.len();
            line.drain(..line.len() - keep);
            self.answer.blocks.clear();
        }
        None
    }

    fn finish(&mut self) -> Answer {
        let answer = std::mem::take(&mut self.answer);
        self.begin();
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::{Replies, Rig, golden, ms};
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// A supply for the tests: what it is set to and asked for.
    #[derive(Default)]
    struct Supply {
        values: BTreeMap<String, String>,
        errors: Vec<String>,
        /// Asked and not answered.
        deaf: Vec<String>,
        idn: String,
    }

    impl Supply {
        fn new() -> Supply {
            let values = [("VOLT", "1.0000E+00"), ("CURR", "+5.0E-01"), ("OUTP", "0")];
            Supply {
                values: values.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
                idn: "ACME,PS100,1234,1.0".into(),
                ..Supply::default()
            }
        }

        fn hear(&mut self, sent: &[u8]) -> Replies {
            let text = String::from_utf8(sent.to_vec()).unwrap();
            let text = text.strip_suffix('\n').expect("a line");
            if self.deaf.iter().any(|d| text.starts_with(d.as_str())) {
                return Vec::new();
            }
            let answer = match text {
                "*IDN?" => self.idn.clone(),
                "*CLS" => {
                    self.errors.clear();
                    return Vec::new();
                }
                "SYST:ERR?" => {
                    if self.errors.is_empty() {
                        "0,\"No error\"".into()
                    } else {
                        self.errors.remove(0)
                    }
                }
                other => match other.strip_suffix('?') {
                    Some(name) => match self.values.get(name) {
                        Some(value) => value.clone(),
                        None => {
                            self.errors.push("-113,\"Undefined header\"".into());
                            return Vec::new();
                        }
                    },
                    None => {
                        let (name, value) = other.split_once(' ').unwrap_or((other, ""));
                        if value.parse::<f64>().is_ok_and(|v| v > 30.0) {
                            self.errors.push("-222,\"Data out of range\"".into());
                        } else {
                            self.values.insert(name.into(), value.into());
                        }
                        return Vec::new();
                    }
                },
            };
            vec![(ms(5), format!("{answer}\r\n").into_bytes())]
        }
    }

    fn channel(name: &str, get: &str) -> ScpiChannel {
        ScpiChannel { name: name.into(), get: Some(get.into()), ..ScpiChannel::default() }
    }

    fn supply_config() -> config::Scpi {
        let mut volts = channel("volts", "VOLT?");
        volts.unit = Some("V".into());
        volts.set = Some("VOLT {:.3}".into());
        (volts.min, volts.max) = (Some(0.0), Some(40.0));
        let mut output = channel("output", "OUTP?");
        output.set = Some("OUTP {}".into());
        output.words = [("1".to_string(), "on".to_string()), ("0".into(), "off".into())].into();
        config::Scpi { channels: vec![volts, channel("amps", "CURR?"), output], ..config::Scpi::default() }
    }

    fn rig(config: &config::Scpi, supply: &mut Supply) -> Rig<Scpi> {
        let mut rig = Rig::new(Scpi::new(config).unwrap());
        rig.open(&mut |sent| supply.hear(sent));
        rig
    }

    const QUIET: [&str; 3] = ["heard", "flush", "detail idn"];

    #[test]
    fn it_is_identified_and_polled() {
        let mut supply = Supply::new();
        let mut rig = rig(&supply_config(), &mut supply);
        rig.run(ms(500), &mut |s| supply.hear(s));
        assert_eq!(
            rig.took(),
            [
                "flush",
                "send *IDN?\\n",
                "heard",
                "detail idn \"ACME,PS100,1234,1.0\"",
                "send VOLT?\\n",
                "readings volts=Number(1.0) V",
                "send CURR?\\n",
                "readings amps=Number(0.5)",
                "send OUTP?\\n",
                "readings output=Text(\"off\")",
            ]
        );
        rig.run(ms(10_000), &mut |s| supply.hear(s));
        let log = rig.took();
        assert_eq!(log.iter().filter(|l| *l == "send VOLT?\\n").count(), 10, "once a second");
        assert_eq!(log.iter().filter(|l| *l == "send SYST:ERR?\\n").count(), 1, "every ten rounds");
    }

    #[test]
    fn a_set_is_checked_sent_and_read_back() {
        let mut supply = Supply::new();
        let mut rig = rig(&supply_config(), &mut supply);
        rig.run(ms(500), &mut |s| supply.hear(s));
        rig.took();
        rig.command("1", "set", json!({ "channel": "volts", "value": 41 }), &mut |s| supply.hear(s));
        rig.command("2", "set", json!({ "channel": "amps", "value": 1 }), &mut |s| supply.hear(s));
        rig.command("3", "set", json!({ "channel": "output", "value": "maybe" }), &mut |s| supply.hear(s));
        rig.command("4", "set", json!({ "channel": "volts", "value": "1; OUTP 1" }), &mut |s| supply.hear(s));
        assert_eq!(
            rig.took(),
            [
                "finish 1 rejected: volts 41 V is outside its limits: 0 to 40 V",
                "finish 2 rejected: `channel` is \"amps\"; expected one that can be set: volts, output",
                "finish 3 rejected: `value` is \"maybe\"; expected one of off, on",
                "finish 4 rejected: `value` is \"1; OUTP 1\"; expected a number",
            ],
            "nothing is sent"
        );
        rig.command("5", "set", json!({ "channel": "volts", "value": 12.5 }), &mut |s| supply.hear(s));
        rig.run(ms(200), &mut |s| supply.hear(s));
        assert_eq!(
            rig.said(&QUIET),
            [
                "send VOLT 12.500\\n",
                "send SYST:ERR?\\n",
                "send VOLT?\\n",
                "readings volts=Number(12.5) V",
                "finish 5 completed",
            ]
        );
        rig.command("6", "set", json!({ "channel": "output", "value": true }), &mut |s| supply.hear(s));
        rig.run(ms(200), &mut |s| supply.hear(s));
        assert!(rig.took().contains(&"finish 6 completed".to_string()));
        assert_eq!(supply.values["OUTP"], "1");
    }

    #[test]
    fn a_set_that_does_not_take_fails_with_both_numbers() {
        let mut supply = Supply::new();
        let mut rig = rig(&supply_config(), &mut supply);
        rig.run(ms(500), &mut |s| supply.hear(s));
        rig.took();
        // It refuses and says so.
        rig.command("1", "set", json!({ "channel": "volts", "value": 35 }), &mut |s| supply.hear(s));
        rig.run(ms(400), &mut |s| supply.hear(s));
        let log = rig.took();
        let end = "finish 1 failed: set volts to 35 V, but it reads back 1.0 V; the device reports -222,\"Data out of range\"";
        assert!(log.contains(&end.to_string()), "{log:#?}");
        assert!(log.contains(&"readings error=Text(\"-222,\\\"Data out of range\\\"\")".to_string()));
        // It takes it, and does not do it: looked at again and again as long as it may settle.
        let mut stuck = |sent: &[u8]| {
            if sent == b"VOLT 2.000\n" { Vec::new() } else { supply.hear(sent) }
        };
        rig.command("2", "set", json!({ "channel": "volts", "value": 2 }), &mut stuck);
        rig.run(ms(1500), &mut stuck);
        let log = rig.took();
        assert!(log.contains(&"finish 2 failed: set volts to 2 V, but it reads back 1.0 V".to_string()));
        let looks = log.iter().filter(|l| *l == "send VOLT?\\n").count();
        assert!((8..=12).contains(&looks), "{looks} looks");
    }

    #[test]
    fn the_rest_is_asked_while_a_set_settles() {
        let mut supply = Supply::new();
        let mut config = supply_config();
        config.poll = ms(200);
        config.channels[0].settle = ms(2000);
        config.channels[0].readback = Some("MEAS?".into());
        supply.values.insert("MEAS".into(), "0".into());
        let mut rig = rig(&config, &mut supply);
        rig.run(ms(500), &mut |s| supply.hear(s));
        rig.took();
        rig.command("1", "set", json!({ "channel": "volts", "value": 2 }), &mut |s| supply.hear(s));
        rig.run(ms(1000), &mut |s| supply.hear(s));
        let log = rig.took();
        let count = |line: &str| log.iter().filter(|l| *l == line).count();
        assert!((2..=6).contains(&count("send CURR?\\n")), "{log:#?}");
        assert!((3..=9).contains(&count("send MEAS?\\n")), "{log:#?}");
        assert!(!log.iter().any(|l| l.starts_with("finish")));
        supply.values.insert("MEAS".into(), "2".into());
        rig.run(ms(300), &mut |s| supply.hear(s));
        assert!(rig.took().contains(&"finish 1 completed".to_string()));
    }

    #[test]
    fn manual_queries_and_clearing() {
        let mut supply = Supply::new();
        supply.errors = vec!["-350,\"Queue overflow\"".into()];
        let mut rig = rig(&supply_config(), &mut supply);
        rig.run(ms(500), &mut |s| supply.hear(s));
        rig.took();
        let mut device = |s: &[u8]| supply.hear(s);
        rig.command("1", "query", json!({ "command": " CURR? " }), &mut device);
        rig.command("2", "clear_error", json!({}), &mut device);
        rig.command("3", "query", json!({ "command": "SYST:BEEP" }), &mut device);
        rig.command("4", "query", json!({ "command": "A\nB" }), &mut device);
        rig.command("5", "query", json!({}), &mut device);
        rig.command("6", "fly", json!({}), &mut device);
        rig.run(ms(500), &mut device);
        let log = rig.said(&["send", "heard", "readings error"]);
        assert_eq!(
            log,
            [
                "finish 4 rejected: `command` is \"A\\nB\"; expected a line of 1 to 256 bytes, such as \"MEAS:VOLT?\"",
                "finish 5 rejected: `command` is \"\"; expected a line of 1 to 256 bytes, such as \"MEAS:VOLT?\"",
                "finish 6 rejected: an instrument has no \"fly\"",
                "finish 1 completed: +5.0E-01",
                "finish 2 completed",
                "finish 3 completed: sent; the device reports no error",
            ]
        );
        assert_eq!(rig.protocol.actions(), ["query", "set", "clear_error"]);
    }

    #[test]
    fn a_wrong_device_is_told_and_neither_asked_nor_set() {
        let mut config = supply_config();
        config.expect = Some("PS2\\d\\d".into());
        let mut supply = Supply::new();
        let mut rig = rig(&config, &mut supply);
        rig.run(ms(3000), &mut |s| supply.hear(s));
        rig.command("1", "set", json!({ "channel": "volts", "value": 1 }), &mut |s| supply.hear(s));
        let log = rig.took();
        let why = "it answers `ACME,PS100,1234,1.0` to `*IDN?`, which does not match `PS2\\d\\d`: is another device plugged in here?";
        assert_eq!(
            log,
            [
                "flush".to_string(),
                "send *IDN?\\n".into(),
                "heard".into(),
                "detail idn \"ACME,PS100,1234,1.0\"".into(),
                "count wrong_device 1".into(),
                format!(
                    "readings volts=Missing(DeviceError) V, amps=Missing(DeviceError), output=Missing(DeviceError), status=Text(\"error\"), error=Text({why:?})"
                ),
                format!("finish 1 rejected: {why}"),
            ]
        );
        // The right one is plugged in.
        rig.close();
        supply.idn = "ACME,PS250,99,1.0".into();
        rig.open(&mut |s| supply.hear(s));
        rig.run(ms(200), &mut |s| supply.hear(s));
        let log = rig.took();
        assert!(
            log.contains(&"readings status=Text(\"connected\"), error=Text(\"\")".to_string()),
            "{log:?}"
        );
        assert!(log.contains(&"readings volts=Number(1.0) V".to_string()));
    }

    #[test]
    fn a_late_answer_is_never_taken_for_the_next_one() {
        let mut supply = Supply::new();
        let config = config::Scpi { timeout: ms(300), ..supply_config() };
        let mut rig = rig(&config, &mut supply);
        // From now on the voltage takes 450 ms to be answered: after the time-out, and after the quiet.
        let mut slow = |sent: &[u8]| -> Replies {
            let late = if sent == b"VOLT?\n" { ms(445) } else { ms(0) };
            supply.hear(sent).into_iter().map(|(after, bytes)| (after + late, bytes)).collect()
        };
        rig.run(ms(5000), &mut slow);
        let log = rig.took();
        assert!(log.contains(&"count timeouts 1".to_string()), "{log:#?}");
        for line in log.iter().filter(|l| l.starts_with("readings")) {
            let good = [
                "readings amps=Number(0.5)",
                "readings output=Text(\"off\")",
                "readings volts=Missing(CommError) V",
            ];
            assert!(good.contains(&line.as_str()), "{line}");
        }
        assert!(log.contains(&"count late 1".to_string()) || log.contains(&"count unasked 1".to_string()));
        assert!(!log.iter().any(|l| l.starts_with("lost")), "the device answers all else");
    }

    #[test]
    fn three_time_outs_in_a_row_are_a_loss_and_it_comes_back_by_itself() {
        let mut supply = Supply::new();
        let config = config::Scpi { timeout: ms(200), ..supply_config() };
        let mut rig = rig(&config, &mut supply);
        rig.run(ms(500), &mut |s| supply.hear(s));
        rig.took();
        rig.run(ms(2000), &mut |_| Vec::new());
        rig.command("1", "set", json!({ "channel": "volts", "value": 1 }), &mut |_| Vec::new());
        rig.run(ms(12_000), &mut |_| Vec::new());
        let log = rig.said(&["send", "flush"]);
        assert_eq!(log.iter().filter(|l| *l == "lost not_connected").count(), 1, "{log:?}");
        assert!(log.iter().any(|l| l.starts_with("finish 1 timed_out")), "{log:?}");
        rig.run(ms(2000), &mut |s| supply.hear(s));
        let log = rig.took();
        assert!(log.contains(&"readings volts=Number(1.0) V".to_string()));
        assert!(!log.iter().any(|l| l.starts_with("send VOLT ")), "what timed out is not done later");
    }

    #[test]
    fn what_is_under_way_fails_when_the_port_closes() {
        let mut supply = Supply::new();
        let mut rig = rig(&supply_config(), &mut supply);
        rig.run(ms(500), &mut |s| supply.hear(s));
        for id in ["1", "2"] {
            rig.command(id, "query", json!({ "command": "CURR?" }), &mut |_| Vec::new());
        }
        rig.took();
        rig.close();
        assert_eq!(
            rig.took(),
            ["finish 1 failed: the port was closed", "finish 2 failed: the port was closed"]
        );
        rig.command("3", "query", json!({ "command": "CURR?" }), &mut |_| Vec::new());
        assert_eq!(rig.took(), ["finish 3 failed: the port is not open"]);
        assert_eq!(rig.protocol.wake(), None);
    }

    fn answers(bytes: &[u8]) -> Vec<Answer> {
        let mut reader = Answers::new("\n");
        bytes.iter().filter_map(|b| reader.feed(*b)).collect()
    }

    #[test]
    fn answers_are_taken_apart() {
        let one = |bytes: &[u8]| answers(bytes).into_iter().next().unwrap();
        assert_eq!(one(b"\r\n\n1.5\r\n").line, b"1.5");
        assert_eq!(answers(b"1\n2\r\n\r\n3").len(), 2);
        let block = one(b"#15he\nlo\r\n");
        assert_eq!((&block.line[..], &block.blocks[0].data[..]), (&b"\0"[..], &b"he\nlo"[..]));
        let mixed = one(b"1.5;#206\x00\x01\x02\x03\x04\x05,#12ok;3\n");
        assert_eq!(mixed.line, b"1.5;\0,\0;3");
        assert_eq!(mixed.blocks.iter().map(|b| b.data.len()).collect::<Vec<_>>(), [6, 2]);
        assert_eq!(one(b"#0any\x01thing\r\n").blocks[0].data, b"any\x01thing");
        assert_eq!(one(b"#10\n").blocks[0].data, b"");
        assert_eq!(one(b"#HFF\n").line, b"#HFF");
        assert_eq!(one(b"\"#15\";x\n").line, b"\"#15\";x", "not inside quotes");
        assert_eq!(one(b"#9x\n").line, b"#?x");
        let big = format!("#6{:06}{}\n7\n", limits::SCPI_BLOCK + 1, "x".repeat(limits::SCPI_BLOCK + 1));
        let got = answers(big.as_bytes());
        assert_eq!(
            (got[0].skipped, got[0].blocks[0].whole, &got[1].line[..]),
            (limits::SCPI_BLOCK + 1, false, &b"7"[..])
        );
        assert!(one(b"#9999999999liar\n").overlong);
        let long = format!("{}\n8\n", "y".repeat(5000));
        let got = answers(long.as_bytes());
        assert!(got[0].overlong && got[1].line == b"8");
    }

    #[test]
    fn values_of_answers() {
        let value = |change: &dyn Fn(&mut ScpiChannel), bytes: &[u8]| {
            let mut channel = channel("c", "C?");
            change(&mut channel);
            let part = channel.part;
            value_of(&channel, &answers(bytes)[0], part)
        };
        let plain = |_: &mut ScpiChannel| {};
        let volts = |c: &mut ScpiChannel| c.unit = Some("V".into());
        let part = |n| move |c: &mut ScpiChannel| c.part = Some(n);
        let number = |n| Ok(Value::Number(n));
        let table: Vec<(Result<Value, String>, Result<Value, String>)> = vec![
            (value(&plain, b"+1.2345E+00\n"), number(1.2345)),
            (value(&plain, b"9.91E37\n"), Ok(Value::Missing(QualityReason::Nan))),
            (value(&plain, b"-9.9E37\n"), Ok(Value::Missing(QualityReason::Overrange))),
            (value(&plain, b"#HFF\n"), number(255.0)),
            (value(&plain, b"#B101\n"), number(5.0)),
            (value(&plain, b"\"CH1\"\n"), Ok(Value::Text("CH1".into()))),
            (value(&volts, b"12.05 VDC\n"), number(12.05)),
            (value(&volts, b"OVERLOAD\n"), Err("is no number".into())),
            (value(&volts, b"\xff\xfe1\n"), Err("is not text".into())),
            (value(&plain, b"\x1b[2J\n"), Err("is not text".into())),
            (value(&part(1), b"1;2.5;3\n"), number(2.5)),
            (value(&part(0), b"\"a;b\",7\n"), Ok(Value::Text("a;b".into()))),
            (value(&part(3), b"1;2;3\n"), Err("has no part 3".into())),
            (value(&|c| c.block = true, b"#212+1.25E+00...\n"), Ok(Value::Text("+1.25E+00...".into()))),
            (value(&|c| c.block = true, b"#14\x00\x01\x02\x03\n"), number(4.0)),
            (value(&|c| c.block = true, b"1.5\n"), Err("is not a block".into())),
            (value(&|c| (c.scale, c.offset) = (1000.0, 1.0), b"0.5\n"), number(501.0)),
        ];
        for (n, (is, wanted)) in table.into_iter().enumerate() {
            assert_eq!(is, wanted, "row {n}");
        }
    }

    /// Sessions in tests/golden/scpi: `> line` is what the device waits for, `< line` what it answers then; escapes as in
    /// Rust. `name.out` is all that comes of it in three seconds.
    #[test]
    fn golden_sessions() {
        let dmm = config::Scpi {
            expect: Some("3446".into()),
            poll: ms(1000),
            timeout: ms(500),
            channels: vec![
                ScpiChannel { unit: Some("V".into()), ..channel("volts", "MEAS:VOLT:DC?") },
                ScpiChannel {
                    part: Some(0),
                    unit: Some("Hz".into()),
                    ..channel("frequency", "FETC:FREQ?;PER?")
                },
                ScpiChannel { part: Some(1), unit: Some("s".into()), ..channel("period", "FETC:FREQ?;PER?") },
                ScpiChannel { block: true, ..channel("trace", "DATA:LAST?") },
            ],
            errors_every: 1,
            ..config::Scpi::default()
        };
        for (name, config) in [("multimeter", &dmm), ("supply", &supply_config())] {
            let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/scpi");
            let text = std::fs::read_to_string(folder.join(format!("{name}.session"))).unwrap();
            let mut script: Vec<(String, Vec<Vec<u8>>)> = Vec::new();
            for line in text.lines() {
                if let Some(wanted) = line.strip_prefix("> ") {
                    script.push((wanted.into(), Vec::new()));
                } else if let Some(answer) = line.strip_prefix("< ") {
                    script.last_mut().unwrap().1.push(unescape(answer));
                }
            }
            let mut device = |sent: &[u8]| -> Replies {
                let line = String::from_utf8_lossy(sent).trim_end().to_string();
                let Some(at) = script.iter().position(|(wanted, _)| *wanted == line) else {
                    return Vec::new();
                };
                script.remove(at).1.into_iter().map(|bytes| (ms(3), bytes)).collect()
            };
            let mut rig = Rig::new(Scpi::new(config).unwrap());
            rig.open(&mut device);
            rig.run(ms(3000), &mut device);
            golden(&format!("scpi/{name}"), &format!("{}\n", rig.took().join("\n")));
        }
    }

    fn unescape(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let mut chars = text.bytes();
        while let Some(b) = chars.next() {
            match (b, b == b'\\') {
                (_, false) => out.push(b),
                _ => match chars.next() {
                    Some(b'n') => out.push(b'\n'),
                    Some(b'r') => out.push(b'\r'),
                    Some(b'x') => {
                        let digits = [chars.next().unwrap(), chars.next().unwrap()];
                        out.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
                    }
                    other => panic!("escape {other:?}"),
                },
            }
        }
        out
    }

    proptest! {
        /// However the bytes of an answer are cut, the same comes of them.
        #[test]
        fn chunks_do_not_matter(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0usize..300) {
            let whole = answers(&bytes);
            let mut reader = Answers::new("\n");
            let (a, b) = bytes.split_at(cut.min(bytes.len()));
            let parts: Vec<Answer> = a.iter().chain(b).filter_map(|byte| reader.feed(*byte)).collect();
            prop_assert_eq!(whole, parts);
        }

        /// A number that is set comes back as itself.
        #[test]
        fn what_is_sent_reads_back(value in -1e6f64..1e6, scale in prop::sample::select(vec![1.0, 1000.0, 0.001])) {
            let channel = ScpiChannel { set: Some("V {}".into()), scale, ..channel("v", "V?") };
            let (text, wanted) = text_to_send(&channel, &json!(value)).unwrap();
            let answer = &answers(format!("{text}\n").as_bytes())[0];
            let Wanted::Number { tolerance, .. } = wanted else { panic!("{wanted:?}") };
            let back = value_of(&channel, answer, None).unwrap().as_number().unwrap();
            prop_assert!((back - value).abs() <= tolerance, "{} became {}", value, back);
        }
    }
}
