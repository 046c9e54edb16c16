//! Instruments that speak SCPI over a serial line, or any language in which a line asks and a line answers. Pure.
//!
//! **Promises.** One question is under way at a time. After a time-out the input is dropped and, where the device says
//! who it is, nothing is believed until it has said so again: a late answer is taken neither for the next one nor for who
//! it is, also when several come at once. A set is checked against its limits before a byte is sent, and is done when it has arrived (`drive`). A device that is not the
//! one expected is neither asked nor set. Requests go before polling, and stopping before all else, also before a device
//! that did not answer has said again who it is; while a set is on its way the rest of the instrument is asked and set as
//! ever. Does not: handle service requests, or more than one
//! instrument on a line.
//!
//! Sources: IEEE 488.2-1992 8.7.9 and 8.7.10 (blocks), 7.7.4 (`#H`, `#Q`, `#B`), 10.3 (`*CLS`), 10.14 (`*IDN?`);
//! SCPI-99 volume 2, 21.8 (`SYSTem:ERRor?`, `0,"No error"`).

mod answers;
mod drive;
mod heard;
mod request;
#[cfg(test)]
mod tests;

use self::answers::{Answer, Answers, value_of};
use self::drive::{Drive, Purpose, Verdict, command_of, moves_of, readback_query};
use super::pending::{No, Pending, ended, failed};
use super::protocol::{Action, Finish, Motion, Protocol};
use crate::config::{self, ScpiChannel, place_of_value};
use crate::limits;
use crate::model::{CommandState, QualityReason};
use crate::sources::instruments::{ChannelOffer, Failure, Offer, Request, Setting};
use crate::sources::reading::{Reading, Value};
use regex_lite::Regex;
use serde_json::json;
use std::time::Duration;

/// Quiet after a time-out, so that most late answers fall into it.
const QUIET: Duration = Duration::from_millis(100);
/// How often a wrong device is asked again who it is.
const WRONG_AGAIN: Duration = Duration::from_secs(5);
/// Late answers that are reckoned with at most: the oldest of more are not coming any more.
const OWED: u32 = 8;
/// Time-outs in a row after which the instrument counts as gone, and a query's channels as without a value.
const MISSES: u32 = 3;
/// How often settings are asked.
const SETTINGS: Duration = Duration::from_secs(60);
/// A poll that is overdue by this much, or by three of its own periods, goes before the next request: whoever asks
/// without a pause must not make the rest of an instrument go stale.
const STARVED: Duration = Duration::from_secs(2);

/// See the module above.
pub struct Scpi {
    config: config::Scpi,
    expect: Option<Regex>,
    asks: Vec<Ask>,
    state: State,
    /// What has the line until it is done, or on its way.
    job: Option<Job>,
    /// What has been sent and has not arrived, between two looks.
    under_way: Vec<Drive>,
    /// By channel: what it read back last, and the number it was set to and has arrived at.
    stands: Vec<Option<f64>>,
    arrived: Vec<Option<f64>>,
    pending: Pending<Job>,
    answers: Answers,
    idn: Option<String>,
    standing: Standing,
    /// The instrument is shown as a wrong one, perhaps from before the port was opened again.
    said_wrong: bool,
    /// Since a time-out it has not said who it is.
    adrift: bool,
    /// So many questions ended without their answer, which may be on its way still: in order, as they were asked.
    owed: u32,
    /// What came last instead of who it is, to the question under way and to the one before it. A late answer comes once;
    /// another device says the same again.
    late: Option<String>,
    stranger: Option<String>,
    /// Until then a line on which something comes unasked is heard out before the next question.
    settles_by: Duration,
    misses: u32,
    lost: bool,
    rounds: u32,
    /// The error queue is looked into next.
    errors: Option<Drain>,
    /// When settings are asked next, and which of them.
    settings_due: Duration,
    settings_next: usize,
    settings: Vec<Reading>,
    /// When it is asked anything, having nothing to be polled.
    alive_due: Duration,
    last_sent: String,
}

/// A query that is polled, and the channels that share its answer.
struct Ask {
    query: String,
    channels: Vec<usize>,
    /// Of these it says whether they move.
    movers: Vec<usize>,
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
    Setting,
    Errors(Drain),
    /// The next of what has the line.
    Job,
    /// Its last command is acknowledged.
    Ack,
    /// Of a request that was given up.
    Nobody,
}

/// The error queue on its way to being empty.
#[derive(Clone, Debug)]
struct Drain {
    /// So many more are read.
    left: u32,
    found: Vec<String>,
    /// For what has the line; else because it was time.
    of_job: bool,
}

impl Drain {
    fn new(of_job: bool) -> Drain {
        Drain { left: limits::SCPI_ERRORS, found: Vec::new(), of_job }
    }
}

/// A request, from when it waits until it has ended.
#[derive(Clone, Debug)]
enum Job {
    Drive(Box<Drive>),
    Read(Read),
    Query { id: String, text: String },
}

/// Channels that are read, by their queries.
#[derive(Clone, Debug)]
struct Read {
    id: String,
    queries: Vec<(String, Vec<usize>)>,
    next: usize,
    readings: Vec<Reading>,
    faults: Vec<String>,
}

impl Job {
    fn id(&self) -> &str {
        match self {
            Job::Drive(drive) => &drive.id,
            Job::Read(Read { id, .. }) | Job::Query { id, .. } => id,
        }
    }

    /// It goes before all else, and ends sets.
    fn is_urgent(&self) -> bool {
        matches!(self, Job::Drive(drive) if matches!(drive.purpose, Purpose::Stop | Purpose::Safe))
    }

    /// It has something left to send that goes before all else.
    fn stops_now(&self) -> bool {
        self.is_urgent() && matches!(self, Job::Drive(drive) if !drive.commands.is_empty())
    }

    fn clears(&self) -> bool {
        matches!(self, Job::Drive(drive) if drive.purpose == Purpose::Clear)
    }

    fn is_set(&self) -> bool {
        matches!(self, Job::Drive(drive) if drive.purpose == Purpose::Set)
    }

    /// It may be done with a device that is not the one expected: somebody wants to see what it is.
    fn is_harmless(&self) -> bool {
        match self {
            Job::Query { .. } => true,
            Job::Drive(drive) => matches!(drive.purpose, Purpose::Write | Purpose::Clear),
            Job::Read(_) => false,
        }
    }
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
            let every = channel.poll.unwrap_or(config.poll);
            for (query, of_value) in [(&channel.moving, false), (&channel.get, true)] {
                let Some(query) = query else { continue };
                let at = asks.iter().position(|ask| ask.query == *query).unwrap_or_else(|| {
                    asks.push(Ask {
                        query: query.clone(),
                        channels: Vec::new(),
                        movers: Vec::new(),
                        every,
                        due: Duration::ZERO,
                        misses: 0,
                    });
                    asks.len() - 1
                });
                if let Some(ask) = asks.get_mut(at) {
                    ask.every = ask.every.min(every);
                    if of_value { &mut ask.channels } else { &mut ask.movers }.push(n);
                }
            }
        }
        Ok(Scpi {
            answers: Answers::new(&config.read_end),
            config: config.clone(),
            expect,
            asks,
            state: State::Closed,
            job: None,
            under_way: Vec::new(),
            stands: vec![None; config.channels.len()],
            arrived: vec![None; config.channels.len()],
            pending: Pending::default(),
            idn: None,
            standing: Standing::Unknown,
            said_wrong: false,
            adrift: false,
            owed: 0,
            late: None,
            stranger: None,
            settles_by: Duration::ZERO,
            misses: 0,
            lost: false,
            rounds: 0,
            errors: None,
            settings_due: Duration::ZERO,
            settings_next: 0,
            settings: Vec::new(),
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
                State::Asked { .. } => self.timed_out(now, &mut actions),
                State::Free { from } if now < *from => return actions,
                State::Free { .. } => {
                    if !self.next(now, &mut actions) {
                        return actions;
                    }
                }
            }
        }
    }

    /// Does what is to be done next on the free line; false when there is nothing.
    fn next(&mut self, now: Duration, actions: &mut Vec<Action>) -> bool {
        let identify = !self.config.identify.is_empty();
        let is_wrong = matches!(self.standing, Standing::Wrong { .. });
        let again = match &self.standing {
            Standing::Unknown => identify,
            Standing::Known => self.adrift && identify,
            Standing::Wrong { again, .. } => now >= *again,
        };
        // Stopping asks nothing: it goes before the question who it is, to the device that was there last.
        let stops = self.job.as_ref().is_some_and(Job::is_urgent);
        if self.standing == Standing::Known && self.job.as_ref().is_some_and(Job::stops_now) {
            self.go_on(now, actions);
        } else if self.standing != Standing::Unknown
            && !stops
            && let Some((_, job)) = self.pending.next(Job::is_urgent)
        {
            self.grant(job, now, actions);
        } else if again {
            let identify = self.config.identify.clone();
            self.ask_it(Question::Identify, &identify, now, actions);
        } else if self.job.is_some() {
            self.go_on(now, actions);
        } else if let Some(n) = self.starved(now).filter(|_| !is_wrong) {
            self.poll(n, now, actions);
        } else if let Some((_, job)) = self.pending.next(|job| is_free(job, &self.under_way)) {
            self.grant(job, now, actions);
        } else if is_wrong {
            return false;
        } else if let Some(n) = self.under_way.iter().position(|drive| now >= drive.look_at) {
            self.job = Some(Job::Drive(Box::new(self.under_way.remove(n))));
            self.go_on(now, actions);
        } else if let Some(drain) = self.errors.take() {
            self.ask_errors(drain, now, actions);
        } else if let Some(n) = self.most_due(now) {
            if n == 0 && !self.config.errors.is_empty() {
                self.rounds += 1;
                if self.rounds >= self.config.errors_every {
                    self.rounds = 0;
                    self.errors = Some(Drain::new(false));
                }
            }
            self.poll(n, now, actions);
        } else if let Some(query) = self.setting_due(now) {
            self.ask_it(Question::Setting, &query, now, actions);
        } else if self.asks.is_empty() && now >= self.alive_due {
            // It has nothing to be polled; whether it is there is worth a question.
            self.alive_due = now + self.config.poll;
            if !self.config.errors.is_empty() {
                self.ask_errors(Drain::new(false), now, actions);
            } else if identify {
                let identify = self.config.identify.clone();
                self.ask_it(Question::Identify, &identify, now, actions);
            } else {
                return false;
            }
        } else {
            return false;
        }
        true
    }

    /// The query whose time has come.
    fn most_due(&self, now: Duration) -> Option<usize> {
        let (n, ask) = self.asks.iter().enumerate().min_by_key(|(_, ask)| ask.due)?;
        (now >= ask.due).then_some(n)
    }

    /// One that requests have kept waiting for too long.
    fn starved(&self, now: Duration) -> Option<usize> {
        let n = self.most_due(now)?;
        let ask = self.asks.get(n)?;
        (now >= ask.due + (ask.every * 3).max(STARVED)).then_some(n)
    }

    fn poll(&mut self, n: usize, now: Duration, actions: &mut Vec<Action>) {
        let Some(ask) = self.asks.get_mut(n) else { return };
        // A round that is late is not made up for.
        ask.due = if now < ask.due + ask.every { ask.due + ask.every } else { now + ask.every };
        let query = ask.query.clone();
        self.ask_it(Question::Poll(n), &query, now, actions);
    }

    fn setting_due(&self, now: Duration) -> Option<String> {
        if now < self.settings_due {
            return None;
        }
        self.config.settings.values().nth(self.settings_next).cloned()
    }

    /// A request whose turn has come.
    fn grant(&mut self, mut job: Job, now: Duration, actions: &mut Vec<Action>) {
        if let Standing::Wrong { why, .. } = &self.standing
            && !job.is_harmless()
        {
            actions.push(ended(job.id(), CommandState::Rejected, Some(why.clone())));
            return;
        }
        if job.is_urgent() {
            self.end_sets(actions);
            self.arrived.fill(None);
        }
        if let Job::Drive(drive) = &mut job {
            for leg in &mut drive.legs {
                let stands = self.stands.get(leg.channel).copied().flatten();
                let before = self.arrived.get_mut(leg.channel).and_then(Option::take);
                // Set to the same again it is there already, as near as it ever comes.
                if let Some(from) = stands.filter(|_| leg.target().is_some() && before != leg.target()) {
                    leg.begins(from);
                }
            }
        }
        self.job = Some(job);
        self.go_on(now, actions);
    }

    /// What is on its way has been stopped by somebody; whatever has the line ends with it.
    fn end_sets(&mut self, actions: &mut Vec<Action>) {
        const WHY: &str = "it was told to stop";
        let job = self.job.take();
        self.disown_errors();
        let mut ends: Vec<String> = job.map(|job| job.id().to_string()).into_iter().collect();
        ends.extend(self.under_way.extract_if(.., |d| d.purpose == Purpose::Set).map(|drive| drive.id));
        ends.extend(self.pending.withdraw(|_, job| job.is_set()));
        actions.extend(ends.iter().map(|id| failed(id, Failure::StoppedExternally, WHY.into())));
    }

    /// What the device has still to complain of is not the fault of what has the line next.
    fn disown_errors(&mut self) {
        if let Some(drain) = &mut self.errors {
            drain.of_job = false;
        }
    }

    /// The next step of what has the line.
    fn go_on(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let Some(job) = &mut self.job else { return };
        let query = match job {
            Job::Query { text, .. } => text.clone(),
            Job::Read(read) => match read.queries.get(read.next) {
                Some((query, _)) => query.clone(),
                None => return self.end_read(actions),
            },
            Job::Drive(drive) => {
                if let Some(command) = drive.commands.pop_front() {
                    drive.sent = now + self.config.gap;
                    drive.checked = self.config.errors.is_empty();
                    let begun = if drive.commands.is_empty() { drive.legs.clone() } else { Vec::new() };
                    if self.config.set_answers {
                        self.ask_it(Question::Ack, &command, now, actions);
                    } else {
                        self.state = State::Free { from: now + self.config.gap };
                        actions.push(self.send(&command));
                    }
                    for leg in begun {
                        let target = leg.target();
                        if let (Some(channel), true) =
                            (self.config.channels.get(leg.channel), target.is_some())
                        {
                            let channel = channel.name.clone();
                            actions.push(Action::Motion(Motion { channel, target, moving: None }));
                        }
                    }
                    return;
                }
                let first = (!std::mem::replace(&mut drive.checked, true)).then(|| Drain::new(true));
                if let Some(drain) = first.or(self.errors.take_if(|drain| drain.of_job)) {
                    return self.ask_errors(drain, now, actions);
                }
                let waits = drive.arrive && !drive.queries.is_empty();
                match drive.queries.get(drive.asked).filter(|_| waits) {
                    Some(query) => query.clone(),
                    None => return self.end_drive(actions),
                }
            }
        };
        self.ask_it(Question::Job, &query, now, actions);
    }

    /// A drive without a look ends.
    fn end_drive(&mut self, actions: &mut Vec<Action>) {
        let Some(Job::Drive(drive)) = self.job.take() else { return };
        if !drive.errors.is_empty() {
            let reason = format!("the device reports {}", drive.errors.join("; "));
            actions.push(failed(&drive.id, Failure::DeviceError, reason));
            return;
        }
        let asked = !self.config.errors.is_empty();
        if drive.purpose == Purpose::Clear {
            actions.push(Action::Readings(vec![word("error", "")]));
        }
        let reason = match drive.purpose {
            Purpose::Clear if asked => None,
            Purpose::Set if drive.arrive => Some("the device took it; it can't be read back"),
            _ if asked => Some("sent; the device reports no error"),
            _ => Some("sent; this device can't be asked for its errors"),
        };
        actions.push(ended(&drive.id, CommandState::Completed, reason.map(str::to_string)));
    }

    fn end_read(&mut self, actions: &mut Vec<Action>) {
        let Some(Job::Read(read)) = self.job.take() else { return };
        let faulty = !read.faults.is_empty();
        actions.push(Action::Finish(Finish {
            id: read.id,
            state: if faulty { CommandState::Failed } else { CommandState::Completed },
            code: faulty.then_some(Failure::DeviceError),
            reason: faulty.then(|| read.faults.join("; ")),
            readings: read.readings,
            text: None,
        }));
    }

    fn ask_errors(&mut self, drain: Drain, now: Duration, actions: &mut Vec<Action>) {
        let query = self.config.errors.clone();
        self.ask_it(Question::Errors(drain), &query, now, actions);
    }

    fn ask_it(&mut self, question: Question, text: &str, now: Duration, actions: &mut Vec<Action>) {
        if let Question::Identify = question {
            self.stranger = self.late.take();
        }
        self.answers.begin();
        self.state = State::Asked { question, deadline: now + self.config.timeout, heard: 0 };
        actions.push(self.send(text));
    }

    fn send(&mut self, text: &str) -> Action {
        self.last_sent = text.to_string();
        Action::Send([text.as_bytes(), self.config.write_end.as_bytes()].concat())
    }

    fn timed_out(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let free = State::Free { from: now + self.config.gap.max(QUIET) };
        let asked = self.last_sent.clone();
        let State::Asked { question, heard, .. } = std::mem::replace(&mut self.state, free) else { return };
        actions.extend([Action::Count("timeouts", 1), Action::Flush]);
        if heard > 0 {
            let line = self.answers.half().to_vec();
            let why = format!("does not end within {:?} of the last byte", self.config.timeout);
            actions.push(Action::Bad { line, why });
        }
        self.answers.begin();
        self.adrift = true;
        self.settles_by = now + self.config.timeout;
        // The answer to this question may have been taken for a late one: then none is owed.
        if !matches!(question, Question::Identify) || self.late.is_none() {
            self.owed = (self.owed + 1).min(OWED);
        }
        self.misses = self.misses.saturating_add(1);
        if !self.config.clear.is_empty() {
            let clear = self.config.clear.clone();
            actions.push(self.send(&clear));
        }
        let no_answer = format!("no answer to `{asked}` within {:?}", self.config.timeout);
        match question {
            Question::Identify => {
                // The one that was there last can be stopped still.
                if self.misses >= MISSES && self.standing != Standing::Known {
                    self.standing = Standing::Unknown;
                }
                if self.job.as_ref().is_some_and(|job| job.is_urgent() && !job.stops_now()) {
                    // It was sent; whether it worked nobody says. The next stop does not wait for that.
                    self.drop_job(actions, format!("it was sent, but there is {no_answer}"));
                }
            }
            Question::Poll(n) => {
                if let Some(ask) = self.asks.get_mut(n) {
                    ask.misses = ask.misses.saturating_add(1);
                    if ask.misses >= MISSES && self.misses < MISSES && !ask.channels.is_empty() {
                        let channels = ask.channels.clone();
                        actions.push(Action::Readings(self.missing(&channels, QualityReason::CommError)));
                    }
                }
            }
            Question::Setting => self.setting_heard(None, now, actions),
            Question::Errors(drain) if drain.of_job => match &mut self.job {
                // Whether it has worked shows when it is read back.
                Some(Job::Drive(drive)) if !drive.queries.is_empty() && drive.arrive => {
                    drive.errors = drain.found;
                }
                _ => self.drop_job(actions, no_answer),
            },
            Question::Errors(_) | Question::Nobody => {}
            // What else is to be sent to stop it is sent; then it is looked at.
            Question::Ack if self.job.as_ref().is_some_and(Job::is_urgent) => {}
            Question::Ack | Question::Job => self.drop_job(actions, no_answer),
        }
        if self.misses >= MISSES && !self.lost {
            self.lost = true;
            actions.push(Action::Lost(QualityReason::NotConnected));
        }
    }

    /// What had the line was not answered.
    fn drop_job(&mut self, actions: &mut Vec<Action>, why: String) {
        if let Some(job) = self.job.take() {
            actions.push(failed(job.id(), Failure::Timeout, why));
        }
    }

    fn missing(&self, channels: &[usize], why: QualityReason) -> Vec<Reading> {
        let named = channels.iter().filter_map(|n| self.config.channels.get(*n));
        named.map(|channel| reading(channel, Value::Missing(why))).collect()
    }
}

/// It may begin although these are on their way: it sets none of their channels.
fn is_free(job: &Job, under_way: &[Drive]) -> bool {
    match job {
        Job::Drive(drive) => !under_way.iter().any(|other| other.touches(drive)),
        _ => true,
    }
}

impl Protocol for Scpi {
    fn opened(&mut self, now: Duration) -> Vec<Action> {
        self.answers.begin();
        // What the port sends by way of greeting needs its pause as well.
        self.state = State::Free { from: now + self.config.gap };
        self.idn = None;
        self.standing = if self.config.identify.is_empty() { Standing::Known } else { Standing::Unknown };
        (self.adrift, self.misses, self.lost, self.rounds) = (false, 0, false, 0);
        (self.owed, self.late, self.stranger) = (0, None, None);
        // It may have been set by hand, or be another one.
        self.stands.fill(None);
        self.arrived.fill(None);
        self.settles_by = now + self.config.timeout;
        self.errors = None;
        self.alive_due = now;
        (self.settings_due, self.settings_next) = (now, 0);
        self.settings.clear();
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
        if let State::Free { from } = &mut self.state
            && now < self.settles_by
        {
            // We, or whoever had the line before us, were not answered in time: what is left of that comes first.
            *from = (*from).max((now + self.config.gap.max(QUIET)).min(self.settles_by));
        }
        let mut actions = Vec::new();
        for byte in bytes {
            if let Some(answer) = self.answers.feed(*byte) {
                self.answered(answer, now, &mut actions);
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
                let looks = self.under_way.iter().map(|drive| drive.look_at).min();
                let settings = (!self.config.settings.is_empty()).then_some(self.settings_due);
                let polls = match self.asks.iter().map(|ask| ask.due).min() {
                    None => Some(self.alive_due),
                    polls => polls,
                };
                let next = match &self.standing {
                    Standing::Unknown if identify => *from,
                    Standing::Known if self.adrift && identify => *from,
                    _ if self.job.is_some() => *from,
                    _ if self.pending.any(|job| job.is_urgent() || is_free(job, &self.under_way)) => *from,
                    Standing::Wrong { again, .. } => *again,
                    _ if self.errors.is_some() => *from,
                    _ => [looks, settings, polls].into_iter().flatten().min()?,
                };
                Some(next.max(*from))
            }
        }
    }

    fn offer(&self) -> Option<Offer> {
        let channels = self.config.channels.iter().map(|channel| ChannelOffer {
            name: channel.name.clone(),
            unit: channel.unit.clone(),
            settable: channel.set.is_some(),
            readable: readback_query(channel).is_some(),
            min: channel.min,
            max: channel.max,
            tolerance: channel.tolerance,
            settle: channel.settle,
            words: channel.words.values().cloned().collect(),
            moves: channel.moving.is_some(),
            bands: channel.bands(),
        });
        let movement = match self.config.kind.as_deref() {
            Some(kind) => kind == "movement",
            None => self.config.channels.iter().any(|c| c.moving.is_some()),
        };
        Some(Offer {
            channels: channels.collect(),
            stops: !self.config.stop.is_empty(),
            queries: true,
            safe: self.config.safe.clone(),
            timeout: self.config.timeout,
            gap: self.config.gap,
            movement,
            ..Offer::default()
        })
    }

    fn ask(&mut self, id: &str, request: &Request, now: Duration) -> Vec<Action> {
        let job = self.job_of(id, request);
        let is_open = !matches!(self.state, State::Closed);
        let mut actions = self.pending.admit(id, is_open, job, now);
        actions.extend(self.go(now));
        actions
    }

    fn give_up(&mut self, id: &str) {
        self.pending.withdraw(|waiting, _| waiting == id);
        self.under_way.retain(|drive| drive.id != id);
        if self.job.take_if(|job| job.id() == id).is_none() {
            return;
        }
        // What was asked is answered all the same, and what the device has to complain of is still to be heard.
        self.disown_errors();
        if let State::Asked { question, .. } = &mut self.state {
            match question {
                Question::Job | Question::Ack => *question = Question::Nobody,
                Question::Errors(drain) => drain.of_job = false,
                _ => {}
            }
        }
    }

    fn taken(&mut self) -> Vec<String> {
        self.pending.taken(|job| job.is_urgent() || job.clears())
    }

    fn actions(&self) -> Vec<&'static str> {
        let mut actions = vec!["query"];
        if self.config.channels.iter().any(|c| c.set.is_some()) {
            actions.extend(["set", "move"]);
        }
        for (text, action) in [(&self.config.clear, "clear_error"), (&self.config.stop, "stop")] {
            if !text.is_empty() {
                actions.push(action);
            }
        }
        if !self.config.safe.is_empty() {
            actions.push("safe");
        }
        actions
    }

    fn closed(&mut self) -> Vec<Action> {
        const WHY: &str = "the port was closed";
        self.state = State::Closed;
        self.errors = None;
        let job = self.job.take().map(|job| job.id().to_string());
        let drives = self.under_way.drain(..).map(|drive| drive.id);
        let ends: Vec<String> = job.into_iter().chain(drives).collect();
        let mut actions: Vec<Action> =
            ends.iter().map(|id| failed(id, Failure::DeviceError, WHY.into())).collect();
        actions.extend(self.pending.fail(WHY));
        actions
    }
}

fn reading(channel: &ScpiChannel, value: Value) -> Reading {
    Reading { name: channel.name.clone(), value, unit: channel.unit.clone() }
}

/// Takes note of what a channel reads back, where this query asks for that.
fn note(stands: &mut [Option<f64>], n: usize, channel: &ScpiChannel, query: &str, value: &Value) {
    if let (Some(stands), true) = (stands.get_mut(n), readback_query(channel) == Some(query)) {
        *stands = value.as_number().or(*stands);
    }
}

fn motion_of(channel: &ScpiChannel, moves: bool) -> Action {
    Action::Motion(Motion { channel: channel.name.clone(), target: None, moving: Some(moves) })
}

fn word(name: &str, text: &str) -> Reading {
    Reading { name: name.into(), value: Value::Text(text.into()), unit: None }
}

fn shortened(text: &str) -> String {
    text.chars().take(limits::BAD_LINE).collect()
}
